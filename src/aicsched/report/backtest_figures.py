"""The pictures of a backtest, each an SVG text with units on its axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from aicsched.errors import ConfigError
from aicsched.report.figures import WIDTH_IN, days_axis
from aicsched.report.style import AFTER, BAND, INK, OTHER, PAST, draw
from aicsched.report.words import clock, number, short
from aicsched.slots import HOUR_S

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike, NDArray

    from aicsched.domain.carbon import CarbonSeries
    from aicsched.forecast.measure import ZoneRun
    from aicsched.forecast.result import BacktestResult

    Array = NDArray[np.float64]

__all__ = ["calibration", "draw_backtest", "error_by_lead", "fan_chart", "savings"]

PAST_H: Final = 72
_FAINT: Final = "#b4bac3"
_BANDS: Final = ((0.1, 0.9, 0.5), (0.25, 0.75, 0.6))
_FANS: Final = 4
_ROW_IN: Final = 2.2


def draw_backtest(
    result: BacktestResult, series: Mapping[str, CarbonSeries], *, rival: BacktestResult | None = None
) -> dict[str, str]:
    """Draw every picture of a backtest.

    Parameters
    ----------
    result : BacktestResult
        With its forecasts (``keep_forecasts=True``).
    series : mapping of str to CarbonSeries
        What it was run on.
    rival : BacktestResult, optional
        Another model on the same zones and issue times.

    Returns
    -------
    dict of str to str
        SVG texts by name: ``error``, ``calibration``, ``savings`` and ``fan``.

    Raises
    ------
    ConfigError
        The forecasts were not kept.
    """
    return {
        "error": error_by_lead(result, rival=rival),
        "savings": savings(result, rival=rival),
        "calibration": calibration(result),
        "fan": fan_chart(result, series),
    }


def _runs(result: BacktestResult) -> Mapping[str, ZoneRun]:
    if not result.runs:
        msg = f"the backtest of {result.model} kept no forecasts to draw"
        raise ConfigError(msg, hint="run it with keep_forecasts=True")
    return result.runs


def _mean_over_rows(values: Array) -> Array:
    """Average over rows what is known, NaN where nothing is."""
    known = np.isfinite(values)
    count = known.sum(axis=0)
    return np.where(count > 0, np.where(known, values, 0.0).sum(axis=0) / np.maximum(count, 1), np.nan)


def _known_mean(values: ArrayLike) -> float:
    """Average what is known, NaN where nothing is."""
    return float(_mean_over_rows(np.ravel(np.asarray(values, dtype=np.float64))[:, None])[0])


def _highest(*values: Array) -> float:
    """Return the highest known value, 1 where nothing is."""
    known = np.concatenate([np.ravel(item) for item in values])
    known = known[np.isfinite(known)]
    return float(known.max()) if known.size else 1.0


# ---------------------------------------------------------------- error by lead
def _error_percent(run: ZoneRun) -> Array:
    """Return the mean absolute percentage error of each slot ahead."""
    actual = np.where(run.actual_g_per_kwh > 0, run.actual_g_per_kwh, np.nan)
    return _mean_over_rows(100.0 * np.abs(run.mean_g_per_kwh - actual) / actual)


def error_by_lead(result: BacktestResult, *, rival: BacktestResult | None = None) -> str:
    """Draw how the error grows with the time ahead: each zone faint, their mean bold.

    Parameters
    ----------
    result : BacktestResult
        With its forecasts.
    rival : BacktestResult, optional
        Another model, of which the mean is drawn.

    Returns
    -------
    str
        SVG.

    Raises
    ------
    ConfigError
        The forecasts were not kept.
    """
    curves = np.array([_error_percent(run) for run in _runs(result).values()])
    step_h = next(iter(result.runs.values())).step_s / HOUR_S
    hours = (np.arange(result.horizon) + 0.5) * step_h
    other = (
        None
        if rival is None
        else _mean_over_rows(np.array([_error_percent(run) for run in _runs(rival).values()]))
    )
    mean = _mean_over_rows(curves)

    def paint(figure: Figure) -> None:
        axes = figure.add_axes((0.065, 0.15, 0.77, 0.82))
        for curve in curves:
            axes.plot(hours, curve, color=_FAINT, linewidth=0.7)
        lines = [(mean, AFTER, f"{result.model}: {number(_known_mean(mean), 1)} %", "-")]
        if rival is not None and other is not None:
            lines.append((other, OTHER, f"{rival.model}: {number(_known_mean(other), 1)} %", "--"))
        for line, colour, _, style in lines:
            axes.plot(hours, line, color=colour, linewidth=2.0, linestyle=style)
        shown = [curves] if other is None else [curves, other]
        axes.set_ylim(0, _highest(*shown) * 1.05 or 1.0)
        axes.set_xlim(0, result.horizon * step_h)
        axes.set_xticks(np.arange(0, result.horizon * step_h + 1, 24 if result.horizon * step_h > 24 else 6))
        axes.set_xlabel("hours ahead")
        axes.set_ylabel("mean absolute error [%]")
        zones = "one zone" if len(curves) == 1 else f"each of {len(curves)} zones"
        _name_ends(figure, axes, [(line, name, colour) for line, colour, name, _ in lines], zones, curves)

    return draw("error", "Error of the forecast by hours ahead", (WIDTH_IN, 3.0), paint)


def _name_ends(
    figure: Figure, axes: Axes, lines: list[tuple[Array, str, str]], zones: str, curves: Array
) -> None:
    """Name lines beside their ends, in the order of their heights, none on another."""
    _, top = axes.get_ylim()
    # A line of which nothing is known has no height: its name stands at the bottom.
    named = [(np.nan_to_num(_known_mean(line[-24:])) / top, name, colour) for line, name, colour in lines]
    named.append((_highest(curves[:, -1]) / top, zones, PAST))
    named.sort()
    room = 0.075
    spots: list[float] = []
    for height, _, _ in named:
        spots.append(max(height, spots[-1] + room) if spots else height)
    over = max(0.0, spots[-1] - 0.97)
    for spot, (_, name, colour) in zip(spots, named, strict=True):
        weight = "bold" if colour != PAST else "normal"
        figure.text(
            0.845, 0.15 + 0.82 * (spot - over), short(name, 22), color=colour, va="center", weight=weight
        )


# ---------------------------------------------------------------- savings
def savings(result: BacktestResult, *, rival: BacktestResult | None = None) -> str:
    """Draw how much of the best possible saving jobs keep that believe the forecasts.

    Parameters
    ----------
    result : BacktestResult
        Of any model.
    rival : BacktestResult, optional
        Another model.

    Returns
    -------
    str
        SVG; a row a zone, the best on top.
    """
    window = list(next(iter(result.zones.values())).concordance)[-1]
    kinds = (
        (f"saving_share_of_oracle_{window}", f"A 4-hour job within {window[:-1]} h"),
        (
            f"interruptible_saving_share_of_oracle_{window}",
            f"A job that may pause, a quarter of {window[:-1]} h",
        ),
    )
    share = {zone: item.regret.get(kinds[0][0], float("nan")) for zone, item in result.zones.items()}
    zones = sorted(share, key=lambda zone: (not np.isfinite(share[zone]), -share[zone]))
    height = 0.21 * len(zones) + 0.85

    def paint(figure: Figure) -> None:
        for index, (key, title) in enumerate(kinds):
            axes = figure.add_axes((0.1 + 0.455 * index, 0.5 / height, 0.43, (height - 0.85) / height))
            rows = np.arange(len(zones))
            ours = [100 * result.zones[zone].regret.get(key, float("nan")) for zone in zones]
            axes.barh(rows, ours, height=0.62, color=AFTER)
            low = min([0.0, *(value for value in ours if np.isfinite(value))])
            if rival is not None:
                theirs = [
                    100 * rival.zones[zone].regret.get(key, float("nan")) if zone in rival.zones else np.nan
                    for zone in zones
                ]
                axes.scatter(theirs, rows, marker="|", s=100, linewidths=2.2, color=OTHER)
                low = min([low, *(value for value in theirs if np.isfinite(value))])
            axes.set_yticks(rows, [short(zone, 14) for zone in zones] if index == 0 else [""] * len(zones))
            axes.set_ylim(len(zones) - 0.4, -0.6)
            axes.set_xlim(low * 1.05, 100)
            axes.grid(visible=False, axis="y")
            axes.set_title(title)
            axes.set_xlabel("share of the saving with perfect foresight [%]")

    return draw("savings", "Share of the best possible saving by zone", (WIDTH_IN, height), paint)


# ---------------------------------------------------------------- calibration
def calibration(result: BacktestResult) -> str:
    """Draw whether quantiles and bands hold what they promise.

    Parameters
    ----------
    result : BacktestResult
        Of a model with quantiles.

    Returns
    -------
    str
        SVG of three panels: nominal against observed shares, and how often the 80 %
        band holds by lead day and by hour of the day; zones faint, their mean bold.
    """
    items = list(result.zones.values())
    levels = 100 * np.array([float(level) for level in items[0].calibration])
    observed = 100 * np.array(
        [[_known_mean(shares) for shares in item.calibration.values()] for item in items]
    )
    by_day = 100 * np.array([item.coverage80 for item in items])
    by_hour = 100 * np.array([item.coverage80_by_hour for item in items])
    shares = np.concatenate([by_day.ravel(), by_hour.ravel()])
    low = min(60.0, 5 * np.floor(np.nanmin(shares) / 5)) if np.isfinite(shares).any() else 0.0

    def paint(figure: Figure) -> None:
        left = figure.add_axes((0.065, 0.17, 0.265, 0.71))
        left.plot([0, 100], [0, 100], color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
        for row in observed:
            left.plot(levels, row, color=_FAINT, linewidth=0.7)
        left.plot(levels, _mean_over_rows(observed), color=AFTER, linewidth=2.0, marker="o", markersize=4)
        left.set_xlim(0, 100)
        left.set_ylim(0, 100)
        left.set_title("Quantiles")
        left.set_xlabel("promised share below [%]")
        left.set_ylabel("observed share below [%]")
        middle = figure.add_axes((0.405, 0.17, 0.235, 0.71))
        days = np.arange(1, by_day.shape[1] + 1)
        _coverage(middle, days, by_day, low)
        middle.set_xlim(0.7, by_day.shape[1] + 0.3)
        middle.set_xticks(days)
        middle.set_title("80 % band by lead day")
        middle.set_xlabel("lead day")
        middle.set_ylabel("inside the band [%]")
        right = figure.add_axes((0.7, 0.17, 0.285, 0.71))
        _coverage(right, np.arange(24) + 0.5, by_hour, low)
        right.set_xlim(0, 24)
        right.set_xticks(np.arange(0, 25, 6))
        right.set_title("80 % band by hour of the day")
        right.set_xlabel("hour [UTC]")

    return draw("calibration", "Promised and observed shares", (WIDTH_IN, 2.9), paint)


def _coverage(axes: Axes, x: NDArray[Any], by_zone: Array, low: float) -> None:
    axes.axhline(80, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
    for row in by_zone:
        axes.plot(x, row, color=_FAINT, linewidth=0.7)
    axes.plot(x, _mean_over_rows(by_zone), color=AFTER, linewidth=2.0)
    axes.set_ylim(low, 100)


# ---------------------------------------------------------------- single forecasts
def fan_chart(
    result: BacktestResult, series: Mapping[str, CarbonSeries], *, zones: tuple[str, ...] = ()
) -> str:
    """Draw a typical forecast of some zones: its bands, and what then came.

    Parameters
    ----------
    result : BacktestResult
        With its forecasts.
    series : mapping of str to CarbonSeries
        What it was run on.
    zones : tuple of str
        Which; by default four, from the one foreseen best to the worst.

    Returns
    -------
    str
        SVG; of each zone the forecast whose error is its median one.

    Raises
    ------
    ConfigError
        The forecasts were not kept.
    """
    runs = _runs(result)
    chosen = zones or _telling(result)
    rows = -(-len(chosen) // 2)
    height = _ROW_IN * rows + 0.08

    def paint(figure: Figure) -> None:
        for index, zone in enumerate(chosen):
            bottom = 1 - (_ROW_IN * (index // 2 + 1) - 0.28) / height
            axes = figure.add_axes((0.065 + 0.5 * (index % 2), bottom, 0.425, 1.55 / height))
            errors = _mean_over_rows(result.zones[zone].per_origin["mape"].T)
            typical = int(np.argsort(errors)[(len(errors) - 1) // 2])
            _fan(axes, runs[zone], series[zone], typical, named=index == 0)
            when = clock(int(runs[zone].issue_times_s[typical]), year=True)
            axes.set_title(f"{short(zone, 20)}, {when}: {number(float(errors[typical]), 1)} % error")

    return draw("fan", "Typical forecasts and what came", (WIDTH_IN, height), paint)


def _telling(result: BacktestResult) -> tuple[str, ...]:
    """Choose zones from the best to the worst, evenly."""
    order = sorted(result.zones, key=lambda zone: _known_mean(result.zones[zone].mape))
    picks = np.linspace(0, len(order) - 1, min(_FANS, len(order))).round().astype(int)
    return tuple(order[pick] for pick in picks.tolist())


def _fan(axes: Axes, run: ZoneRun, series: CarbonSeries, row: int, *, named: bool) -> None:
    issue_s = int(run.issue_times_s[row])
    end_s = issue_s + run.step_s * run.mean_g_per_kwh.shape[1]
    start_s = max(series.slots.start_s, issue_s - PAST_H * HOUR_S)
    past = series.window(series.slots.between(start_s, issue_s))
    now_h, span_h = (issue_s - start_s) / HOUR_S, (end_s - start_s) / HOUR_S
    ahead = now_h + (np.arange(run.mean_g_per_kwh.shape[1]) + 0.5) * run.step_s / HOUR_S
    behind = (past.slots.starts_s() + run.step_s / 2 - start_s) / HOUR_S
    axes.plot(behind, past.values_g_per_kwh, color=PAST, linewidth=1.0)
    peaks = [past.values_g_per_kwh, run.actual_g_per_kwh[row], run.mean_g_per_kwh[row]]
    for low, high, alpha in _BANDS:
        below, above = run.quantile(low)[row], run.quantile(high)[row]
        if np.isfinite(above).all():
            axes.fill_between(ahead, below, above, color=BAND, alpha=alpha, linewidth=0)
            peaks.append(above)
    axes.plot(ahead, run.actual_g_per_kwh[row], color=OTHER, linewidth=1.2)
    axes.plot(ahead, run.mean_g_per_kwh[row], color=AFTER, linewidth=1.5)
    axes.axvline(now_h, color=INK, linewidth=0.8)
    axes.set_ylim(0, _highest(*peaks) * (1.36 if named else 1.1) or 1.0)
    axes.set_ylabel("g CO₂e per kWh")
    days_axis(axes, start_s, end_s, most=8)
    if named:
        at = axes.get_xaxis_transform()
        for x, y, words, colour, side in (
            (now_h - 2, 0.97, "measured past", PAST, "right"),
            (now_h + 2, 0.97, _band_words(run), AFTER, "left"),
            (span_h, 0.86, "what came", OTHER, "right"),
        ):
            axes.text(x, y, words, color=colour, ha=side, va="top", transform=at, fontsize=8.5)


def _band_words(run: ZoneRun) -> str:
    half = np.isfinite(run.quantile(0.25)).all() and np.isfinite(run.quantile(0.75)).all()
    return "forecast, 80 and 50 % bands" if half else "forecast, 80 % band"

"""The page of a backtest: figures, tables and pictures in one file that loads nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aicsched.files import write_text
from aicsched.report.backtest_figures import draw_backtest
from aicsched.report.html import template
from aicsched.report.tables import Table
from aicsched.report.words import clock, number, percent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aicsched.domain.carbon import CarbonSeries
    from aicsched.forecast.result import BacktestResult

__all__ = ["render_backtest", "write_backtest_report"]

_TEMPLATE = "backtest.html.j2"
_MEAN = "all zones (mean)"


def _finite(values: list[float]) -> float | None:
    known = [value for value in values if np.isfinite(value)]
    return sum(known) / len(known) if known else None


def _window(result: BacktestResult) -> str:
    """Return the label of the whole horizon, e.g. ``96h``."""
    return list(next(iter(result.zones.values())).concordance)[-1]


def _by_zone(result: BacktestResult) -> list[tuple[str, dict[str, Any]]]:
    rows = [(zone, item.measures()) for zone, item in result.zones.items()]
    return [*rows, (_MEAN, result.mean())] if len(rows) > 1 else rows


def _headline(result: BacktestResult, rival: BacktestResult | None) -> str:
    """Say in one sentence how good the model is."""
    mean, window = result.mean(), _window(result)
    start = f"{result.model} misses by {number(_finite(mean['mape']), 1)} % on average over {window[:-1]} h"
    if rival is not None:
        start += f", {rival.model} by {number(_finite(rival.mean()['mape']), 1)} %"
    saved, best = (
        mean["regret"].get(f"{name}_{window}", 0.0) for name in ("saving_share", "oracle_saving_share")
    )
    if best > 0:
        start += f"; a 4-hour job keeps {percent(saved / best, 0)} of the best possible saving"
    return f"{start}."


def _tiles(result: BacktestResult) -> list[tuple[str, str, str]]:
    mean, worst, window = result.mean(), result.worst(), _window(result)
    days = [number(value, 1) for value in mean["mape"]]
    made = [
        (f"{number(_finite(mean['mape']), 2)} %", "mean absolute error", f"by lead day {' / '.join(days)} %"),
        (f"{number(mean['mape_p95'], 1)} %", "error of a bad forecast", "95th percentile over issue times"),
    ]
    held = _finite(mean["coverage80"])
    if held is not None:
        lowest = min(value for value in worst["coverage80"] if np.isfinite(value))
        remark = f"{percent(lowest, 1)} in the worst zone and day"
        made.append((percent(held, 1), "inside the 80 % band", remark))
    remark = f"within {window[:-1]} h; half is guessing"
    made.append((percent(mean["concordance"][window], 1), "of hours in the right order", remark))
    made.append((f"{result.cpu_s_per_fit * 1e3:.0f} ms", "CPU to learn and forecast", "one zone, one core"))
    return made


def _error_table(result: BacktestResult) -> Table:
    days = range(1, len(result.mean()["mape"]) + 1)
    columns = (
        ("Grid zone", "name"),
        *((f"MAPE day {day} [%]", "number") for day in days),
        ("95th percentile [%]", "number"),
        ("MAE [g/kWh]", "number"),
        ("MASE", "number"),
        ("right order", "number"),
    )
    rows = tuple(
        (
            zone,
            *(number(value, 2) for value in item["mape"]),
            number(item["mape_p95"], 1),
            number(_finite(item["mae"]), 1),
            number(_finite(item["mase"]), 2),
            percent(item["concordance"][_window(result)], 1),
        )
        for zone, item in _by_zone(result)
    )
    caption = f"Errors of {result.model} over {result.origins} issue times."
    return _table(caption, columns, rows)


def _scheduling_table(result: BacktestResult) -> Table:
    window = _window(result)
    columns = [("Grid zone", "name")]
    keys: list[str] = []
    for kind, words in (("", "4-hour job"), ("interruptible_", "job that may pause")):
        for name, what in (
            ("saving_share", "saves"),
            ("oracle_saving_share", "could save"),
            ("extra_share", "emits beyond the best"),
        ):
            columns.append((f"{words}: {what}", "number"))
            keys.append(f"{kind}{name}_{window}")
    rows = tuple(
        (zone, *(percent(item["regret"].get(key, float("nan")), 1) for key in keys))
        for zone, item in _by_zone(result)
    )
    caption = f"Savings against starting at once, within {window[:-1]} h."
    return _table(caption, tuple(columns), rows)


def _bands_table(result: BacktestResult) -> Table:
    days = range(1, len(result.mean()["coverage80"]) + 1)
    columns = (
        ("Grid zone", "name"),
        *((f"inside the 80 % band, day {day}", "number") for day in days),
        ("width [% of the mean]", "number"),
        ("pinball loss [% of the mean]", "number"),
    )
    rows = tuple(
        (
            zone,
            *(percent(value, 1) for value in item["coverage80"]),
            number(_finite(item["width80_percent"]), 1),
            number(_finite(item["pinball_percent"]), 2),
        )
        for zone, item in _by_zone(result)
    )
    return _table("How often the band held, and how wide it was.", columns, rows)


def _table(caption: str, columns: tuple[tuple[str, str], ...], rows: tuple[tuple[str, ...], ...]) -> Table:
    return Table(caption=caption, columns=columns, rows=rows, strong=len(rows) - 1 if len(rows) > 1 else -1)


def _captions(result: BacktestResult, rival: BacktestResult | None) -> dict[str, str]:
    period = f"{clock(result.start_s, year=True)} to {clock(result.end_s, year=True)}"
    made_up = " Synthetic data." if result.synthetic else ""
    beside = f" Dashed orange: {rival.model}." if rival is not None else ""
    mark = f" Orange marks: {rival.model}." if rival is not None else ""
    source = f" {result.origins} issue times, {period}.{made_up}"
    return {
        "error": f"Grey: each zone; blue: the mean of all zones, {result.model}.{beside}{source}",
        "savings": f"Blue: {result.model}; 100 % is perfect foresight, 0 starting at once.{mark}{source}",
        "calibration": f"Grey: each zone; blue: the mean of all zones; dashed: what was promised.{source}",
        "fan": "Of each zone the forecast with its median error, from the zone foreseen best to the worst. "
        f"Blue: forecast by {result.model} with its bands; orange: what came, not known to it.{made_up}",
    }


def _notes(result: BacktestResult) -> list[str]:
    notes: list[str] = []
    for zone, item in result.zones.items():
        if item.refused:
            notes.append(f"{zone}: {item.refused} forecasts were refused, since too much past is missing.")
        notes += [f"{zone}: {count} forecasts carry the flag {flag}." for flag, count in item.flags.items()]
    return notes


def render_backtest(
    result: BacktestResult, series: Mapping[str, CarbonSeries], *, rival: BacktestResult | None = None
) -> str:
    """Write the page of a backtest.

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
    str
        HTML; the same text for the same result, CPU time aside.

    Raises
    ------
    ConfigError
        The forecasts were not kept.
    """
    sources = sorted({item.source for item in series.values()})
    kinds = " and ".join(sorted({str(item.kind) for item in series.values()}))
    period = f"{clock(result.start_s, year=True)} to {clock(result.end_s, year=True)}"
    zones = "1 zone" if len(result.zones) == 1 else f"{len(result.zones)} zones"
    return template(_TEMPLATE).render(
        title="aicsched: a forecaster tried on the past",
        headline=_headline(result, rival),
        facts=f"{zones}, {result.origins} issue times from {period}, {kinds} carbon intensity.",
        synthetic=result.synthetic,
        tiles=_tiles(result),
        figures=draw_backtest(result, series, rival=rival),
        captions=_captions(result, rival),
        tables={
            "error": _error_table(result),
            "scheduling": _scheduling_table(result),
            "bands": _bands_table(result),
        },
        notes=[*_notes(result), *(f"Source: {source}" for source in sources)],
    )


def write_backtest_report(
    result: BacktestResult,
    series: Mapping[str, CarbonSeries],
    path: str | Path,
    *,
    rival: BacktestResult | None = None,
) -> Path:
    """Write the page of a backtest to a file, whole or not at all.

    Parameters
    ----------
    result : BacktestResult
        With its forecasts (``keep_forecasts=True``).
    series : mapping of str to CarbonSeries
        What it was run on.
    path : str or Path
        Where; its folder must exist.
    rival : BacktestResult, optional
        Another model on the same zones and issue times.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ConfigError
        The forecasts were not kept.
    OutputError
        The file can't be written there.
    """
    return write_text(Path(path), render_backtest(result, series, rival=rival))

"""Measure a forecaster on the past, from many origins, as a scheduler would feel it."""

from __future__ import annotations

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from aicsched.errors import ConfigError, SlotError
from aicsched.forecast import metrics
from aicsched.forecast.base import DAY_S, LEVELS
from aicsched.forecast.intervals import AdaptiveBand
from aicsched.forecast.issue import covariates_for, foresee, known_past
from aicsched.forecast.zones import AUTO, make_forecaster
from aicsched.slots import HOUR_S, format_time

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from aicsched.domain.carbon import CarbonSeries
    from aicsched.domain.forecast import Forecast
    from aicsched.forecast.base import Covariates

    Array = NDArray[np.float64]

__all__ = ["BacktestResult", "ZoneResult", "backtest"]

REFIT_DAYS: Final = 30
_JOB_H: Final = 4
_BAND: Final = (0.1, 0.9)
_BY_LEAD_DAY: Final = ("mape", "mae", "mase", "coverage80", "width80", "pinball")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ZoneResult:
    """What one zone's forecasts were worth.

    Parameters
    ----------
    mape, mae, mase, coverage80, width80, pinball : tuple of float
        One value a lead day, each the mean over origins: percent, g/kWh, 1, share
        inside the 80 % band, g/kWh, g/kWh (mean of the band's two ends).
    concordance : dict of str to float
        Mean share of slot pairs in the right order, within ``"24h"`` and the whole
        horizon, e.g. ``"96h"``.
    regret : dict of str to float
        Of a 4-hour job within the same windows: ``extra_share_24h`` (emissions
        beyond the oracle's when it starts where the forecast says),
        ``now_extra_share_24h`` (when it starts at once) and
        ``saving_share_of_oracle_24h`` (saved against starting at once, over what
        the oracle saves); the same with ``_96h``.
    fits : int
        How often the model learned.
    fit_cpu_s : float
        CPU time of learning, each with its first forecast of the whole horizon [s].
    cpu_s : float
        CPU time of all learning and forecasting [s].
    """

    mape: tuple[float, ...]
    mae: tuple[float, ...]
    mase: tuple[float, ...]
    coverage80: tuple[float, ...]
    width80: tuple[float, ...]
    pinball: tuple[float, ...]
    concordance: dict[str, float]
    regret: dict[str, float]
    fits: int
    fit_cpu_s: float
    cpu_s: float

    def as_dict(self) -> dict[str, Any]:
        """Return what was measured as plain values, without times.

        Returns
        -------
        dict
            Lists by lead day, and ``concordance`` and ``regret``.
        """
        by_day = {name: list(getattr(self, name)) for name in _BY_LEAD_DAY}
        return {**by_day, "concordance": dict(self.concordance), "regret": dict(self.regret)}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BacktestResult:
    """What a forecaster was worth on some zones.

    Parameters
    ----------
    model : str
        Its name.
    start_s, end_s : int
        First and last issue time, seconds since the epoch.
    horizon : int
        Slots forecast from each.
    origins : int
        How many issue times.
    zones : dict of str to ZoneResult
        Per zone.
    """

    model: str
    start_s: int
    end_s: int
    horizon: int
    origins: int
    zones: dict[str, ZoneResult]

    @property
    def cpu_s_per_fit(self) -> float:
        """CPU time of learning once and forecasting the whole horizon once [s]: all else is deterministic."""
        fits = sum(item.fits for item in self.zones.values())
        return sum(item.fit_cpu_s for item in self.zones.values()) / max(fits, 1)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values: ``zones.{zone}`` and ``mean`` with equal keys.

        Returns
        -------
        dict
            ``model``, ``start``, ``end``, ``horizon``, ``origins``, ``zones``,
            ``mean`` and ``cpu_s_per_fit``; see `ZoneResult` for the keys of a zone.
            A figure that can't be known is None.
        """
        zones = {name: item.as_dict() for name, item in self.zones.items()}
        return _plain(
            {
                "model": self.model,
                "start": format_time(self.start_s),
                "end": format_time(self.end_s),
                "horizon": self.horizon,
                "origins": self.origins,
                "zones": zones,
                "mean": _mean(list(zones.values())),
                "cpu_s_per_fit": self.cpu_s_per_fit,
            }
        )

    def frame(self) -> pd.DataFrame:
        """Return a tidy frame of what was measured.

        Returns
        -------
        pandas.DataFrame
            Columns ``grid_zone``, ``lead_day`` (0 where a figure is of a whole window),
            ``metric`` and ``value``.
        """
        import pandas as pd  # noqa: PLC0415 - takes a second, and is for notebooks only

        rows: list[tuple[str, int, str, float]] = []
        for zone, item in self.zones.items():
            for metric in _BY_LEAD_DAY:
                rows += [(zone, day + 1, metric, value) for day, value in enumerate(getattr(item, metric))]
            rows += [(zone, 0, f"concordance_{window}", value) for window, value in item.concordance.items()]
            rows += [(zone, 0, name, value) for name, value in item.regret.items()]
        return pd.DataFrame(rows, columns=["grid_zone", "lead_day", "metric", "value"])


def _mean(items: list[Any]) -> Any:  # noqa: ANN401 - the same shape as the items
    """Average equal structures of numbers, leaving out what is NaN."""
    if isinstance(items[0], dict):
        return {name: _mean([item[name] for item in items]) for name in items[0]}
    if isinstance(items[0], list):
        return [_mean(list(column)) for column in zip(*items, strict=True)]
    return float(np.nanmean(items)) if np.isfinite(items).any() else float("nan")


def _plain(value: Any) -> Any:  # noqa: ANN401 - the same shape as the value
    """Turn NaN, which JSON has no word for, into None."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


class _Plan(NamedTuple):
    """What is the same for all zones; a process takes it as it is."""

    model: str
    start_s: int
    end_s: int
    horizon: int
    every_s: int
    refit_days: int
    levels: tuple[float, ...]

    def issue_times_s(self) -> range:
        return range(self.start_s, self.end_s + 1, self.every_s)


class _Run(NamedTuple):
    """One zone's forecasts beside what came, one row an origin."""

    actual: Array
    mean: Array
    low: Array
    high: Array
    fits: int
    fit_cpu_s: float
    cpu_s: float


def _forecasts(series: CarbonSeries, covariates: Covariates | None, plan: _Plan) -> _Run:
    forecaster = make_forecaster(plan.model, levels=plan.levels)
    per_day = DAY_S // series.slots.step_s
    band = AdaptiveBand(-(-plan.horizon // per_day), per_day)
    made: list[Forecast] = []
    fits, fit_cpu_s, cpu_s, fitted_s = 0, 0.0, 0.0, -1
    for issue_s in plan.issue_times_s():
        began = time.process_time()
        history = known_past(series, issue_s)
        learns = fitted_s < 0 or issue_s - fitted_s >= plan.refit_days * DAY_S
        if learns:
            forecaster.fit(history, covariates=covariates_for(series, covariates))
            fits, fitted_s = fits + 1, issue_s
        else:
            forecaster.update(history)
        band.learn(history)
        made.append(band.widened(foresee(forecaster, history, at_s=issue_s, horizon=plan.horizon)))
        spent = time.process_time() - began
        cpu_s += spent
        fit_cpu_s += spent if learns else 0.0
    actual = [series.window(item.slots).values_g_per_kwh for item in made]
    means = [item.mean_g_per_kwh for item in made]
    low, high = ([item.quantile(level) for item in made] for level in _BAND)
    return _Run(np.stack(actual), np.stack(means), np.stack(low), np.stack(high), fits, fit_cpu_s, cpu_s)


def _zone(series: CarbonSeries, covariates: Covariates | None, plan: _Plan) -> ZoneResult:
    run = _forecasts(series, covariates, plan)
    per_day = DAY_S // series.slots.step_s
    scale = metrics.seasonal_step(series.before(plan.start_s).values_g_per_kwh, per_day)
    by_day: dict[str, list[float]] = {name: [] for name in _BY_LEAD_DAY}
    for first in range(0, plan.horizon, per_day):
        cut = slice(first, min(first + per_day, plan.horizon))
        parts = zip(run.actual, run.mean, run.low, run.high, strict=True)
        rows = [_of_day(a[cut], m[cut], low[cut], high[cut], scale) for a, m, low, high in parts]
        for name, value in _mean(rows).items():
            by_day[name].append(value)
    order, regret = _of_windows(run, per_day)
    return ZoneResult(
        **{name: tuple(values) for name, values in by_day.items()},
        concordance=order,
        regret=regret,
        fits=run.fits,
        fit_cpu_s=run.fit_cpu_s,
        cpu_s=run.cpu_s,
    )


def _of_day(actual: Array, mean: Array, low: Array, high: Array, scale: float) -> dict[str, float]:
    """Measure one origin's lead day."""
    losses = metrics.pinball(actual, low, _BAND[0]) + metrics.pinball(actual, high, _BAND[1])
    return {
        "mape": metrics.mape(actual, mean),
        "mae": metrics.mae(actual, mean),
        "mase": metrics.mase(actual, mean, scale),
        "coverage80": metrics.coverage_share(actual, low, high),
        "width80": metrics.mean_width(low, high),
        "pinball": losses / 2,
    }


def _of_windows(run: _Run, per_day: int) -> tuple[dict[str, float], dict[str, float]]:
    """Measure order and regret within a day and the whole horizon."""
    horizon, length = run.actual.shape[1], max(1, _JOB_H * per_day // 24)
    order: dict[str, float] = {}
    regret: dict[str, float] = {}
    for slots in sorted({min(per_day, horizon), horizon}):
        label = f"{slots * 24 / per_day:g}h"
        actual, mean = run.actual[:, :slots], run.mean[:, :slots]
        order[label] = _mean(metrics.concordance(actual, mean).tolist())
        if slots >= length:
            lost = metrics.window_regret(actual, mean, length)
            for name in ("extra_share", "now_extra_share", "saving_share_of_oracle"):
                regret[f"{name}_{label}"] = getattr(lost, name)
    return order, regret


def _refuse(series: Mapping[str, CarbonSeries], plan: _Plan) -> None:
    """Refuse what can't be backtested before any time is spent on it."""
    if not series:
        msg = "there is no series to backtest on"
        raise SlotError(msg, hint="give at least one zone")
    if plan.end_s < plan.start_s:
        msg = f"the backtest ends {format_time(plan.end_s)}, before it starts {format_time(plan.start_s)}"
        raise SlotError(msg, hint="swap start and end")
    if min(plan.horizon, plan.every_s, plan.refit_days) < 1:
        choice = f"horizon {plan.horizon}, every {plan.every_s} s, refit every {plan.refit_days} days"
        msg = f"{choice}: all must be positive"
        raise ConfigError(msg, hint="use for example 96 slots, 24 h and 30 days")
    if not set(_BAND) <= set(plan.levels):
        msg = f"the quantile levels {plan.levels} leave out {_BAND[0]} and {_BAND[1]}"
        raise ConfigError(msg, hint="a backtest measures the 80 % band between them", value=plan.levels)
    for zone, item in series.items():
        needed_s = plan.issue_times_s()[-1] + plan.horizon * item.slots.step_s
        if plan.start_s <= item.slots.start_s or needed_s > item.slots.end_s:
            known = f"{format_time(item.slots.start_s)} to {format_time(item.slots.end_s)}"
            span = f"{format_time(plan.start_s)} to {format_time(plan.end_s)}"
            msg = f"{zone}: forecasts from {span} need values up to {format_time(needed_s)}, known is {known}"
            raise SlotError(
                msg, hint="choose issue times inside the data, a horizon before its end", value=needed_s
            )
        if (plan.start_s - item.slots.start_s) % item.slots.step_s or plan.every_s % item.slots.step_s:
            when = f"{format_time(plan.start_s)} every {plan.every_s / HOUR_S:g} h"
            msg = f"{zone}: issue times from {when} are no slot starts"
            raise SlotError(msg, hint=f"its slots are {item.slots.step_s} s long", value=plan.start_s)


def backtest(  # noqa: PLR0913 - one keyword per choice
    series: Mapping[str, CarbonSeries],
    *,
    model: str = AUTO,
    start_s: int,
    end_s: int,
    horizon: int = 96,
    every_h: int = 24,
    refit_days: int = REFIT_DAYS,
    covariates: Mapping[str, Covariates] | None = None,
    levels: Sequence[float] = LEVELS,
    jobs: int = 1,
    progress: Callable[[str], None] = lambda _zone: None,
) -> BacktestResult:
    """Forecast again and again from the past, and compare with what came.

    From each issue time only what was known then is used: nothing within the
    availability lag of a series, and of revised values those read by then. The bands
    adapt to the forecasts whose outcome has come to be known.

    Parameters
    ----------
    series : mapping of str to CarbonSeries
        Per zone; the past before `start_s` is what the model learns from first.
    model : str
        Name of the forecaster.
    start_s, end_s : int
        First and last issue time, seconds since the epoch.
    horizon : int
        Slots per forecast.
    every_h : int
        Hours between issue times.
    refit_days : int
        Days between learnings; in between the weights stay and the data are new.
    covariates : mapping of str to Covariates, optional
        What the model may know beside the intensities, per zone; zones may be left out.
    levels : sequence of float
        Quantile levels, with 0.1 and 0.9 among them.
    jobs : int
        Processes to use; results don't depend on it. A script that asks for more
        than one must guard its start with ``if __name__ == "__main__"``.
    progress : callable, optional
        Told each zone that is done.

    Returns
    -------
    BacktestResult
        Per zone and on average.

    Raises
    ------
    SlotError
        The data don't cover the issue times and their horizon; the message says what they cover.
    ConfigError
        A choice is out of range, or there is no such model.
    AicschedError
        A zone can't be forecast.
    """
    plan = _Plan(model, start_s, end_s, horizon, every_h * HOUR_S, refit_days, tuple(levels))
    _refuse(series, plan)
    make_forecaster(model, levels=plan.levels)
    offered = covariates or {}
    results: dict[str, ZoneResult] = {}
    if jobs == 1:
        for zone, item in series.items():
            results[zone] = _zone(item, offered.get(zone), plan)
            progress(zone)
    else:
        # Fresh processes: forking one that has threads (BLAS has) may deadlock.
        with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
            call = partial(_zone, plan=plan)
            running = {zone: pool.submit(call, item, offered.get(zone)) for zone, item in series.items()}
            for zone, future in running.items():
                results[zone] = future.result()
                progress(zone)
    return BacktestResult(
        model=model,
        start_s=start_s,
        end_s=end_s,
        horizon=horizon,
        origins=len(plan.issue_times_s()),
        zones=results,
    )

"""Measure a forecaster on the past, from many issue times, as a scheduler would feel it.

The issue times are cut where the model learns anew; each part is forecast by
itself, wherever an executor runs it, and can be kept in a checkpoint. Bands adapt
afterwards, in order of time, to the forecasts whose outcome has come to be known.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import numpy as np

import aicsched
from aicsched.domain.forecast import Forecast
from aicsched.errors import ConfigError, SignalGap, SlotError
from aicsched.executor import Executor, ProcessExecutor, SerialExecutor
from aicsched.forecast import metrics
from aicsched.forecast.base import DAY_S, LEVELS, Covariates, Forecaster
from aicsched.forecast.checkpoint import Checkpoint, code_digest, digest
from aicsched.forecast.intervals import AdaptiveBand
from aicsched.forecast.issue import covariates_for, foresee, known_past
from aicsched.forecast.measure import ZoneResult, ZoneRun, measure
from aicsched.forecast.result import BacktestResult
from aicsched.forecast.zones import AUTO, make_forecaster
from aicsched.slots import HOUR_S, SlotGrid, format_time

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from aicsched.domain.carbon import CarbonSeries

    Array = NDArray[np.float64]

__all__ = ["BacktestResult", "ForecasterFactory", "ZoneResult", "ZoneRun", "backtest"]

REFIT_DAYS: Final = 7
_BAND: Final = (0.1, 0.9)
# A part is at least so many forecasts: sending a zone's data to a process costs as much as some of them.
_PART_ORIGINS: Final = 15


class ForecasterFactory(Protocol):
    """What makes a forecaster for given quantile levels: as a rule its class."""

    def __call__(self, *, levels: Sequence[float]) -> Forecaster:
        """Return a new one."""
        ...


class _Plan(NamedTuple):
    """What is the same for all zones."""

    model: str | ForecasterFactory
    start_s: int
    end_s: int
    horizon: int
    every_s: int
    refit_days: int
    levels: tuple[float, ...]

    def issue_times_s(self) -> range:
        return range(self.start_s, self.end_s + 1, self.every_s)

    def make(self) -> Forecaster:
        if isinstance(self.model, str):
            return make_forecaster(self.model, levels=self.levels)
        return self.model(levels=self.levels)

    def parts(self) -> list[tuple[int, ...]]:
        """Return the issue times, cut where the model learns anew."""
        made: list[list[int]] = []
        fitted_s = 0
        for issue_s in self.issue_times_s():
            learns = not made or issue_s - fitted_s >= self.refit_days * DAY_S
            fitted_s = issue_s if learns else fitted_s
            if not made or (learns and len(made[-1]) >= _PART_ORIGINS):
                made.append([])
            made[-1].append(issue_s)
        return [tuple(part) for part in made]


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """Some issue times of one zone; a process takes it as it is."""

    series: CarbonSeries
    covariates: Covariates | None
    plan: _Plan
    issue_times_s: tuple[int, ...]
    version: str

    def key(self, code: str) -> str:
        """Return a digest of everything that its forecasts depend on."""
        plan, past = self.plan, self.series.known_at(self.issue_times_s[-1])
        choices = (plan.model, plan.horizon, plan.refit_days, plan.levels, self.issue_times_s)
        return digest(code, past, self.covariates, *choices)


class _Made(NamedTuple):
    """A part's forecasts, one row an issue time; those that were refused are NaN."""

    mean: Array
    quantiles: Array
    fits: int
    fit_cpu_s: float
    cpu_s: float
    flags: tuple[str, ...]

    def arrays(self) -> dict[str, NDArray[Any]]:
        numbers = np.array([self.fits, self.fit_cpu_s, self.cpu_s])
        return {
            "mean": self.mean,
            "quantiles": self.quantiles,
            "numbers": numbers,
            "flags": np.array(self.flags, dtype=np.str_),
        }

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]]) -> _Made:
        fits, fit_cpu_s, cpu_s = arrays["numbers"].tolist()
        flags = tuple(arrays["flags"].tolist())
        return cls(arrays["mean"], arrays["quantiles"], int(fits), fit_cpu_s, cpu_s, flags)


def _forecast_part(part: _Part) -> _Made:
    """Forecast from each of a part's issue times, learning anew where the plan says so."""
    if part.version != aicsched.__version__:
        msg = f"this worker runs aicsched {aicsched.__version__}, and the backtest {part.version}"
        raise ConfigError(msg, hint="install the same version on every worker", value=aicsched.__version__)
    plan, count = part.plan, len(part.issue_times_s)
    means = np.full((count, plan.horizon), np.nan)
    quantiles = np.full((count, len(plan.levels), plan.horizon), np.nan)
    flags: list[str] = []
    fits, fit_cpu_s, cpu_s, fitted_s = 0, 0.0, 0.0, -1
    forecaster = plan.make()
    for row, issue_s in enumerate(part.issue_times_s):
        began = time.process_time()
        learns = fitted_s < 0 or issue_s - fitted_s >= plan.refit_days * DAY_S
        try:
            history = known_past(part.series, issue_s)
            if learns:
                offered = covariates_for(part.series, part.covariates)
                forecaster = plan.make().fit(history, covariates=offered)
            else:
                forecaster = forecaster.update(history)
            made = foresee(forecaster, history, at_s=issue_s, horizon=plan.horizon)
        except SignalGap:
            fitted_s = -1 if learns else fitted_s
            continue
        spent = time.process_time() - began
        cpu_s += spent
        if learns:
            fits, fitted_s, fit_cpu_s = fits + 1, issue_s, fit_cpu_s + spent
        means[row], quantiles[row] = made.mean_g_per_kwh, made.quantiles_g_per_kwh
        # What stands behind a colon differs from forecast to forecast: a count of slots, a lead day.
        flags += {flag.partition(":")[0] for flag in made.flags}
    return _Made(means, quantiles, fits, fit_cpu_s, cpu_s, tuple(flags))


def _run_of(series: CarbonSeries, plan: _Plan, parts: list[_Made]) -> tuple[ZoneRun, int]:
    """Put a zone's parts together and let the bands adapt; return also how many forecasts were refused."""
    means = np.concatenate([part.mean for part in parts])
    quantiles = np.concatenate([part.quantiles for part in parts])
    made = np.isfinite(means.sum(axis=1))
    times_s = np.array(plan.issue_times_s(), dtype=np.int64)[made]
    per_day = DAY_S // series.slots.step_s
    band = AdaptiveBand(-(-plan.horizon // per_day), per_day)
    rows: list[Forecast] = []
    for issue_s, mean, levels in zip(times_s.tolist(), means[made], quantiles[made], strict=True):
        band.learn(known_past(series, issue_s))
        raw = Forecast(
            grid_zone=series.grid_zone,
            kind=series.kind,
            slots=SlotGrid(issue_s, series.slots.step_s, plan.horizon),
            issue_time_s=issue_s,
            mean_g_per_kwh=mean,
            levels=plan.levels,
            quantiles_g_per_kwh=levels,
            model=str(plan.model),
            source=series.source,
        )
        rows.append(band.widened(raw))
    actual = [series.window(item.slots).values_g_per_kwh for item in rows]
    run = ZoneRun(
        step_s=series.slots.step_s,
        issue_times_s=times_s,
        actual_g_per_kwh=np.stack(actual),
        mean_g_per_kwh=means[made],
        levels=plan.levels,
        quantiles_g_per_kwh=np.stack([item.quantiles_g_per_kwh for item in rows]),
        scale_g_per_kwh=metrics.seasonal_step(series.before(plan.start_s).values_g_per_kwh, per_day),
    )
    return run, int(len(made) - made.sum())


def _zone(
    series: CarbonSeries, covariates: Covariates | None, plan: _Plan, parts: list[_Made]
) -> tuple[ZoneRun, ZoneResult]:
    if not any(np.isfinite(part.mean).any() for part in parts):
        # Every forecast was refused: the last one says why, in the model's own words.
        issue_s = plan.issue_times_s()[-1]
        past = known_past(series, issue_s)
        refusing = plan.make().fit(past, covariates=covariates_for(series, covariates))
        foresee(refusing, past, at_s=issue_s, horizon=plan.horizon)
    run, refused = _run_of(series, plan, parts)
    result = measure(
        run,
        refused=refused,
        flags=dict(sorted(Counter(flag for part in parts for flag in part.flags).items())),
        fits=sum(part.fits for part in parts),
        fit_cpu_s=sum(part.fit_cpu_s for part in parts),
        cpu_s=sum(part.cpu_s for part in parts),
    )
    return run, result


class _Work:
    """The parts of a backtest, those that are done and those to do."""

    def __init__(self, parts: Mapping[str, list[_Part]], checkpoint: Checkpoint | None, code: str) -> None:
        self.names = [(zone, index) for zone, items in parts.items() for index in range(len(items))]
        self.parts = parts
        self.checkpoint = checkpoint
        self.keys: dict[tuple[str, int], str] = {}
        self.done: dict[tuple[str, int], _Made] = {}
        if checkpoint is not None:
            for zone, index in self.names:
                key = self.keys[zone, index] = parts[zone][index].key(code)
                kept = checkpoint.load(key)
                if kept is not None:
                    self.done[zone, index] = _Made.of(kept)

    def run(self, executor: Executor, progress: Callable[[str, int, int], None]) -> None:
        todo = [name for name in self.names if name not in self.done]
        if self.done:
            progress("", len(self.done), len(self.names))
        calls = [self.parts[zone][index] for zone, index in todo]
        for at, made in executor.map_unordered(_forecast_part, calls):
            name = todo[at]
            self.done[name] = made
            if self.checkpoint is not None:
                self.checkpoint.save(self.keys[name], made.arrays())
            progress(name[0], len(self.done), len(self.names))


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
    steps = sorted({item.slots.step_s for item in series.values()})
    if len(steps) > 1:
        msg = f"the series have different steps ({', '.join(f'{step} s' for step in steps)})"
        raise SlotError(msg, hint="backtest zones of one step together", value=steps)
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
    model: str | ForecasterFactory = AUTO,
    start_s: int,
    end_s: int,
    horizon: int = 96,
    every_h: int = 24,
    refit_days: int = REFIT_DAYS,
    covariates: Mapping[str, Covariates] | None = None,
    levels: Sequence[float] = LEVELS,
    jobs: int = 1,
    executor: Executor | None = None,
    checkpoint: str | Path | None = None,
    keep_forecasts: bool = False,
    progress: Callable[[str, int, int], None] = lambda _zone, _done, _total: None,
) -> BacktestResult:
    """Forecast again and again from the past, and compare with what came.

    From each issue time only what was known then is used: nothing within the
    availability lag of a series, and of revised values those read by then. The bands
    adapt to the forecasts whose outcome has come to be known. Where too much of the
    past is missing, no forecast is made, and the result says how often.

    Parameters
    ----------
    series : mapping of str to CarbonSeries
        Per zone, all of one step; the past before `start_s` is what the model learns from first.
    model : str or callable
        Name of the forecaster, or what makes one when called with ``levels``: its class.
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
    executor : Executor, optional
        Where the work runs instead, e.g. a `DaskExecutor`.
    checkpoint : str or Path, optional
        Folder in which finished parts are kept. The same backtest with the same
        folder goes on where the last one ended, with the same result; a change of
        data, model, choices or code finds nothing there.
    keep_forecasts : bool
        True keeps the forecasts themselves, for pictures.
    progress : callable, optional
        Told the zone of each part that is done, how many parts are done and how many there are.

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
    ExecutorError, OutputError
        Workers died; the checkpoint can't be written.
    AicschedError
        A zone can't be forecast.
    """
    plan = _Plan(model, start_s, end_s, horizon, every_h * HOUR_S, refit_days, tuple(levels))
    _refuse(series, plan)
    example = plan.make()
    offered = covariates or {}
    parts = {
        zone: [
            _Part(item, offered.get(zone), plan, times_s, aicsched.__version__) for times_s in plan.parts()
        ]
        for zone, item in series.items()
    }
    kept = None if checkpoint is None else Checkpoint(Path(checkpoint))
    work = _Work(parts, kept, "" if kept is None else code_digest(example))
    work.run(executor or (SerialExecutor() if jobs == 1 else ProcessExecutor(jobs)), progress)
    made = {
        zone: _zone(item, offered.get(zone), plan, [work.done[zone, at] for at in range(len(parts[zone]))])
        for zone, item in series.items()
    }
    return BacktestResult(
        model=example.name,
        start_s=start_s,
        end_s=end_s,
        horizon=horizon,
        origins=len(plan.issue_times_s()),
        zones={zone: result for zone, (_, result) in made.items()},
        runs={zone: run for zone, (run, _) in made.items()} if keep_forecasts else {},
        synthetic=any(item.synthetic for item in series.values()),
    )

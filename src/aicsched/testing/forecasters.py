"""What a forecaster must do, whoever wrote it."""

from __future__ import annotations

import pickle
import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from aicsched.domain.carbon import CarbonSeries, IntensityKind
from aicsched.domain.forecast import Forecast
from aicsched.domain.source_mix import SourceMix
from aicsched.errors import AicschedError, NotFitted
from aicsched.forecast.base import DAY_S, LEVELS, Covariates
from aicsched.forecast.metrics import coverage_share, mean_width
from aicsched.forecast.weather import WeatherVintages
from aicsched.slots import HOUR_S, SlotGrid, format_time
from aicsched.testing.examples import EXAMPLE_START_S, require

if TYPE_CHECKING:
    from collections.abc import Callable

    from aicsched.forecast.base import Forecaster

    Make = Callable[..., Forecaster]

__all__ = ["check_forecaster"]

_TEST_DAYS: Final = 7
_CLOSE: Final = 1e-9
# A daily shape that swings by two thirds: one hour aside misses by more than 12 %.
_SWING: Final = 0.67
_SHAPE_LIMIT: Final = 0.08
_LEVELS: Final = (0.05, 0.25, 0.5, 0.75, 0.95)
_LONG_H: Final = 21 * 24


def _series(
    days: int, *, level: float = 300.0, noise: float = 0.01, step_s: int = HOUR_S, seed: int = 0
) -> CarbonSeries:
    """Make a daily shape whose peak is at 19:00 UTC, with noise in proportion."""
    count = days * DAY_S // step_s
    hours = (np.arange(count) + 0.5) * step_s / HOUR_S
    shape = 1 + _SWING * np.cos(2 * np.pi * (hours - 19) / 24)
    values = level * shape * (1 + noise * np.random.default_rng(seed).normal(size=count))
    return CarbonSeries(
        grid_zone="example",
        kind=IntensityKind.MARGINAL,
        slots=SlotGrid(EXAMPLE_START_S, step_s, count),
        values_g_per_kwh=values,
        source="example",
        synthetic=True,
    )


def _with(series: CarbonSeries, values: np.ndarray[Any, np.dtype[np.float64]]) -> CarbonSeries:
    return replace(series, values_g_per_kwh=values, quality=None)


def _changed_after(series: CarbonSeries, issue_s: int) -> CarbonSeries:
    """Return the same past with another future."""
    values = np.array(series.values_g_per_kwh)
    first = (issue_s - series.slots.start_s) // series.slots.step_s
    values[first:] = values[first:][::-1] * 1.7 + 50.0
    return _with(series, values)


def _weather(days: int) -> WeatherVintages:
    """Make a wind forecast a day at 00:00 UTC, 96 h far."""
    rng = np.random.default_rng(3)
    return WeatherVintages(
        variables=("temperature", "wind_speed"),
        issue_times_s=EXAMPLE_START_S + DAY_S * np.arange(days, dtype=np.int64),
        step_h=3,
        values=np.stack([rng.uniform(270, 300, (days, 32)), rng.uniform(1, 12, (days, 32))], axis=1),
        source="example",
    )


def _mix(series: CarbonSeries) -> SourceMix:
    """Make a mix of coal and wind that explains the intensity."""
    coal_mw = np.clip(series.values_g_per_kwh, 1.0, 999.0)
    return SourceMix(
        sources=("coal", "wind"),
        slots=series.slots,
        generation_mw=np.stack([coal_mw, 1000.0 - coal_mw]),
        source="example",
    )


def _same(one: Forecast, other: Forecast) -> bool:
    means = np.allclose(one.mean_g_per_kwh, other.mean_g_per_kwh, rtol=_CLOSE, atol=0)
    return means and np.allclose(one.quantiles_g_per_kwh, other.quantiles_g_per_kwh, rtol=_CLOSE, atol=0)


def _error_share(made: Forecast, series: CarbonSeries) -> float:
    actual = series.window(made.slots).values_g_per_kwh
    return float(np.abs(made.mean_g_per_kwh / actual - 1).mean())


def _answer(call: Callable[[], Forecast], when: str) -> Forecast | None:
    """Return a forecast, None where it is refused with an error of ours, and stop at any other fault."""
    try:
        return call()
    except AicschedError as error:
        require(bool(error.message), f"{when}: an error must say what is wrong")
        return None
    except Exception as error:
        msg = f"{when}: {type(error).__name__} came out ({error}); raise one of aicsched.errors"
        raise AssertionError(msg) from error


def _must(call: Callable[[], Forecast], when: str) -> Forecast:
    """Return a forecast that may not be refused."""
    try:
        return call()
    except Exception as error:
        msg = f"{when} must be answered, and {type(error).__name__} came out ({error})"
        raise AssertionError(msg) from error


def _must_refuse(call: Callable[[], Forecast], when: str) -> None:
    require(_answer(call, when) is None, f"{when} must be refused with one of aicsched.errors")


def check_forecaster(make: Make, *, days: int = 84, update_equals_fit: bool = False) -> None:
    """Check a forecaster: what `Forecaster` promises and every caller relies on.

    It is fitted some fifty times on series of up to `days` days.

    Parameters
    ----------
    make : callable
        Makes a fresh one, without arguments or with ``levels``: the class itself, as a rule.
    days : int
        How much history it gets [days]; more than it needs.
    update_equals_fit : bool
        True checks that `update` gives just what `fit` on the longer history would.

    Raises
    ------
    AssertionError
        A rule is broken; the sentence says which.

    Notes
    -----
    The rules: a forecast covers exactly the slots from the issue time on and carries
    the history's zone, kind and labels; it is in the units of the history, positive,
    in step with the clock in UTC, and right on a plain daily shape, hourly or finer;
    nothing after the issue time changes it, be it intensities, weather or mix; equal
    input gives equal output, whatever random state and whatever was asked before;
    a fitted model survives pickling; quantiles are at the levels asked for and hold
    about what they promise; `update` takes in new values; gaps, zeros, short and
    empty histories and impossible requests end in a sound forecast or an error of
    `aicsched.errors`, never in another exception.
    """
    series = _series(days)
    issue_s = series.slots.end_s - _TEST_DAYS * DAY_S
    _check_protocol(make, series, issue_s)
    _check_facts(make, series, issue_s)
    _check_accuracy(make, days)
    _check_repeatable(make, series, issue_s)
    _check_no_look_ahead(make, series, issue_s)
    _check_covariates(make, series, issue_s, days)
    _check_quantiles(make, days)
    _check_update(make, days, equals_fit=update_equals_fit)
    _check_bad_histories(make, series, issue_s)


def _fitted(make: Make, series: CarbonSeries, issue_s: int) -> Forecaster:
    return make().fit(series.before(issue_s))


def _check_protocol(make: Make, series: CarbonSeries, issue_s: int) -> None:
    model, past = make(), series.before(issue_s)
    require(bool(getattr(model, "name", "")), "a forecaster must have a name")
    try:
        model.predict(issue_s, 24)
    except NotFitted:
        pass
    except Exception as error:
        msg = f"predict before fit must raise NotFitted, not {type(error).__name__}"
        raise AssertionError(msg) from error
    else:
        require(rule=False, sentence="predict before fit must raise NotFitted")
    require(model.fit(past) is model, "fit must return self")
    require(model.update(past) is model, "update must return self")
    _must_refuse(lambda: model.predict(issue_s, 0), "a horizon of 0 slots")
    _must_refuse(lambda: model.predict(issue_s + HOUR_S // 2, 24), "an issue time between two slots")
    _must_refuse(lambda: model.predict(issue_s + DAY_S, 24), "an issue time behind the history's end")


def _check_facts(make: Make, series: CarbonSeries, issue_s: int) -> None:
    model = _fitted(make, series, issue_s)
    for horizon in (1, 24, 96, _LONG_H):
        when = f"a horizon of {horizon} slots"

        def call(horizon: int = horizon) -> Forecast:
            return model.predict(issue_s, horizon)

        # Three weeks may be too far; a day may not.
        made = _answer(call, when) if horizon == _LONG_H else _must(call, when)
        if made is None:
            continue
        require(isinstance(made, Forecast), f"{when}: predict must return a Forecast")
        wanted = SlotGrid(issue_s, HOUR_S, horizon)
        where = f"{format_time(made.slots.start_s)} by {made.slots.step_s} s, {len(made.slots)} slots"
        require(
            made.slots == wanted, f"{when}: it must cover just the slots from the issue time on, not {where}"
        )
        require(made.issue_time_s == issue_s, f"{when}: it must carry its issue time")
        facts = (made.grid_zone, made.kind, made.source, made.synthetic)
        right = (series.grid_zone, series.kind, series.source, series.synthetic)
        require(facts == right, f"{when}: it must carry the history's zone, kind, source and label: {right}")
        require(bool(made.model), f"{when}: it must carry its model's name")
        require(bool((made.mean_g_per_kwh > 0).all()), f"{when}: intensities must be positive")
        require(bool((made.quantiles_g_per_kwh >= 0).all()), f"{when}: quantiles must not be negative")


def _check_accuracy(make: Make, days: int) -> None:
    hourly = [("in g/kWh", 300.0, 0), ("of a clean grid", 20.0, 0), ("of a dirty grid", 1000.0, 0)]
    hourly += [("issued at 13:00", 300.0, 13)]
    cases = [(words, level, HOUR_S, hour) for words, level, hour in hourly]
    cases += [("by half-hours", 300.0, HOUR_S // 2, 0), ("by quarter-hours", 300.0, HOUR_S // 4, 7)]
    for words, level, step_s, hour in cases:
        series = _series(days, level=level, step_s=step_s)
        issue_s = series.slots.end_s - _TEST_DAYS * DAY_S + hour * HOUR_S
        horizon = 2 * DAY_S // step_s

        def call(series: CarbonSeries = series, issue_s: int = issue_s, horizon: int = horizon) -> Forecast:
            return _fitted(make, series, issue_s).predict(issue_s, horizon)

        # Finer steps than an hour may be refused; a wrong answer to them may not be given.
        when = f"a history {words}"
        made = _answer(call, when) if step_s < HOUR_S else _must(call, when)
        if made is not None:
            wanted = SlotGrid(issue_s, step_s, horizon)
            require(made.slots == wanted, f"a forecast {words} must be on the history's slots")
            error = _error_share(made, series)
            require(error < _SHAPE_LIMIT, f"a plain daily shape {words} is missed by {error:.0%} on average")


def _check_no_look_ahead(make: Make, series: CarbonSeries, issue_s: int) -> None:
    other = _changed_after(series, issue_s)
    right = _must(lambda: _fitted(make, series, issue_s).predict(issue_s, 48), "an issue time at the end")

    def late(whole: CarbonSeries) -> Forecast:
        return make().fit(whole).predict(issue_s, 48)

    def later(whole: CarbonSeries) -> Forecast:
        return _fitted(make, series, issue_s).update(whole).predict(issue_s, 48)

    for call, words in ((late, "fit"), (later, "update")):
        when = f"an issue time before the end of what {words} was given"
        one, two = _answer(lambda call=call: call(series), when), _answer(lambda call=call: call(other), when)
        require((one is None) == (two is None), f"{when}: values behind it decide whether it is refused")
        if one is not None and two is not None:
            require(_same(one, two), f"{when}: values behind it change the forecast")
            require(_same(one, right), f"{when}: the forecast must be that of its own past")


def _check_covariates(make: Make, series: CarbonSeries, issue_s: int, days: int) -> None:
    vintages, mix = _weather(days), _mix(series)
    after = vintages.issue_times_s > issue_s
    later = replace(vintages, values=np.where(after[:, None, None], vintages.values + 9.0, vintages.values))
    first = (issue_s - mix.slots.start_s) // mix.slots.step_s
    power = np.array(mix.generation_mw)
    power[:, first:] = power[::-1, first:]
    other_mix = replace(mix, generation_mw=power)
    unknown = replace(vintages, values=np.full_like(vintages.values, np.nan))
    unknown_mix = replace(mix, generation_mw=np.full_like(power, np.nan))
    past = series.before(issue_s)

    def call(**offered: Any) -> Forecast:
        return make().fit(past, covariates=Covariates(**offered)).predict(issue_s, 96)

    # What is offered, what of it is not known yet at the issue time, and what is not known at all.
    for words, name, given, changed, empty in (
        ("a weather forecast issued after the issue time", "weather", vintages, later, unknown),
        ("the source mix after the issue time", "mix", mix, other_mix, unknown_mix),
    ):
        made, other = (
            _must(lambda each=each, name=name: call(**{name: each}), f"offered {name}")
            for each in (given, changed)
        )
        require(_same(made, other), f"{words} changes the forecast")
        blind = _must(
            lambda name=name, empty=empty: call(**{name: empty}), f"{name} of which nothing is known"
        )
        error = _error_share(blind, series)
        require(error < _SHAPE_LIMIT, f"{name} of which nothing is known costs the forecast {error:.0%}")
    require(_same(call(), make().fit(past).predict(issue_s, 96)), "empty covariates must count as none")


def _check_repeatable(make: Make, series: CarbonSeries, issue_s: int) -> None:
    made: list[Forecast] = []
    for seed in (1, 2):
        # A model that draws from global random state without a seed of its own shows here.
        np.random.seed(seed)  # noqa: NPY002 - the state that others may draw from
        random.seed(seed)
        made.append(_fitted(make, series, issue_s).predict(issue_s, 96))
    require(_same(*made), "equal input must give equal output")
    model = _fitted(make, series, issue_s)
    model.predict(issue_s, 24)
    require(_same(model.predict(issue_s, 96), made[0]), "what was asked before must not change a forecast")
    try:
        copied: Forecaster = pickle.loads(pickle.dumps(model))  # noqa: S301 - made here
    except Exception as error:
        msg = f"a fitted forecaster must survive pickling ({type(error).__name__}: {error})"
        raise AssertionError(msg) from error
    again = _must(lambda: copied.predict(issue_s, 96), "a pickled forecaster")
    require(_same(again, made[0]), "a pickled forecaster must forecast the same")
    used = make().fit(_series(40, level=700.0, seed=5)).fit(series.before(issue_s))
    require(_same(used.predict(issue_s, 96), made[0]), "fit must forget what it was fitted on before")


def _check_quantiles(make: Make, days: int) -> None:
    series = _series(days + _TEST_DAYS, noise=0.08, seed=2)
    first_s = series.slots.end_s - 2 * _TEST_DAYS * DAY_S
    made = _fitted(make, series, first_s).predict(first_s, 24)
    require(made.levels == LEVELS, f"without a choice quantiles must be at the levels {LEVELS}")
    model = make(levels=_LEVELS).fit(series.before(first_s))
    times_s = range(first_s, series.slots.end_s - 4 * DAY_S, DAY_S)
    forecasts = [model.update(series.before(time_s)).predict(time_s, 96) for time_s in times_s]
    require(forecasts[0].levels == _LEVELS, f"with levels={_LEVELS} quantiles must be at these")
    held: list[float] = []
    width: list[float] = []
    for item in forecasts:
        actual = series.window(item.slots).values_g_per_kwh
        low, high = item.quantile(0.05), item.quantile(0.95)
        held.append(coverage_share(actual, low, high))
        width.append(mean_width(low, high) / float(actual.mean()))
        middle = item.quantile(0.5)
        inside = (low <= middle) & (middle <= high)
        require(bool(inside.all()), "quantiles must rise with their levels")
    require(float(np.mean(held)) > 0.7, f"a 90 % band held {np.mean(held):.0%} of the values")
    require(float(np.mean(width)) < 1.0, f"a 90 % band of 8 % noise is {np.mean(width):.0%} of the mean wide")


def _check_update(make: Make, days: int, *, equals_fit: bool) -> None:
    series = _series(days + 2 * _TEST_DAYS)
    values = np.array(series.values_g_per_kwh)
    values[days * 24 :] *= 0.5
    cleaner = _with(series, values)
    issue_s = series.slots.end_s - 2 * DAY_S
    model = _fitted(make, cleaner, series.slots.start_s + days * DAY_S)
    made = model.update(cleaner.before(issue_s)).predict(issue_s, 48)
    actual = float(cleaner.window(made.slots).values_g_per_kwh.mean())
    moved = float(made.mean_g_per_kwh.mean())
    require(
        abs(moved - actual) < abs(moved - 2 * actual),
        "update must take in new values: after twelve days of half the intensity it foresees the old one",
    )
    if equals_fit:
        fitted = _fitted(make, cleaner, issue_s).predict(issue_s, 48)
        require(_same(made, fitted), "update must give what fit on the longer history gives")


def _check_bad_histories(make: Make, series: CarbonSeries, issue_s: int) -> None:
    def foresee(history: CarbonSeries) -> Forecast:
        return make().fit(history).predict(history.slots.end_s, 48)

    past = series.before(issue_s)
    _must_refuse(lambda: foresee(past.before(past.slots.start_s + 2 * HOUR_S)), "two hours of history")
    _must_refuse(lambda: foresee(past.before(past.slots.start_s)), "an empty history")
    _must_refuse(
        lambda: foresee(_with(past, np.full(len(past.slots), np.nan))), "a history of which nothing is known"
    )
    rng = np.random.default_rng(4)
    values = np.array(past.values_g_per_kwh)
    values[rng.random(len(values)) < 0.02] = np.nan
    values[-9 * 24 : -9 * 24 + 6] = np.nan
    values[-1] = past.values_g_per_kwh[-1]
    made = _answer(lambda: foresee(_with(past, values)), "a history with gaps")
    if made is not None:
        error = _error_share(made, series)
        require(error < 2 * _SHAPE_LIMIT, f"a few gaps cost the forecast {error:.0%}")
    values[-3 * 24 :] = np.nan
    made = _answer(lambda: foresee(_with(past, values)), "a history without its last three days")
    require(made is None or bool(made.flags), "a history without its last three days must leave a flag")
    zeros = np.array(past.values_g_per_kwh)
    zeros[12::24] = 0.0
    made = _answer(lambda: foresee(_with(past, zeros)), "intensities of 0")
    require(
        made is None or bool((made.mean_g_per_kwh >= 0).all()), "intensities of 0 must not give negative ones"
    )

"""Check suites for plug-ins: what a source, a forecaster or a policy must do.

Third parties run them in their own tests; we run them on our own classes::

    from aicsched.testing import check_forecaster

    def test_mine() -> None:
        check_forecaster(MyForecaster)

A suite raises AssertionError with one sentence at the first rule that is broken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from aicsched.domain.carbon import CarbonSeries, IntensityKind
from aicsched.domain.fleet import Fleet, Region
from aicsched.domain.job import Job
from aicsched.errors import AicschedError, NotFitted, UnknownZone
from aicsched.forecast import forecast_zones
from aicsched.place.check import check
from aicsched.place.problem import build_problem
from aicsched.slots import HOUR_S, SlotGrid

if TYPE_CHECKING:
    from collections.abc import Callable

    from aicsched.forecast.base import Forecaster
    from aicsched.place.policies import Policy
    from aicsched.place.problem import Problem
    from aicsched.signals.base import CarbonSource

__all__ = [
    "check_forecaster",
    "check_policy",
    "check_source",
    "example_fleet",
    "example_jobs",
    "example_problem",
    "example_series",
]

_START_S = 1_767_225_600  # 2026-01-01T00:00Z, a Thursday
_DAYS = 42


def _require(rule: bool, sentence: str) -> None:  # noqa: FBT001 - an assertion that -O can't remove
    if not rule:
        raise AssertionError(sentence)


def example_series(*, zone: str = "example", days: int = _DAYS, seed: int = 0) -> CarbonSeries:
    """Make an hourly series with a daily shape and noise.

    Parameters
    ----------
    zone : str
        Name of the zone.
    days : int
        Length [days].
    seed : int
        Seed of the noise.

    Returns
    -------
    CarbonSeries
        Average intensity around 300 g/kWh, marked synthetic.
    """
    hours = np.arange(24 * days)
    noise = np.random.default_rng(seed).normal(0, 10, hours.size)
    values = 300 + 80 * np.cos(2 * np.pi * (hours - 19) / 24) + noise
    return CarbonSeries(
        grid_zone=zone,
        kind=IntensityKind.AVERAGE,
        slots=SlotGrid(_START_S, HOUR_S, hours.size),
        values_g_per_kwh=values,
        source="example",
        synthetic=True,
    )


def example_fleet() -> Fleet:
    """Make two regions with room for the example jobs.

    Returns
    -------
    Fleet
        Regions ``east`` and ``west`` on zones of the same names.
    """
    regions = tuple(
        Region(name=name, grid_zone=name, capacity_vcpus=8.0, power_w_per_vcpu=4.0, pue=1.2)
        for name in ("east", "west")
    )
    return Fleet(regions=regions, source="example", synthetic=True)


def example_jobs(start_s: int, *, count: int = 12) -> tuple[Job, ...]:
    """Make a small queue that fits the example fleet.

    Parameters
    ----------
    start_s : int
        First release, seconds since the epoch.
    count : int
        How many.

    Returns
    -------
    tuple of Job
        One to three hours long, due a day after their release.
    """
    return tuple(
        Job(
            job_id=f"job-{index}",
            vcpus=1.0 + index % 3,
            duration_s=HOUR_S * (1 + index % 3),
            release_s=start_s + HOUR_S * (index % 5),
            deadline_s=start_s + HOUR_S * (index % 5 + 24),
            home_region=("east", "west")[index % 2],
            suspendable=index % 4 == 0,
        )
        for index in range(count)
    )


def example_problem() -> Problem:
    """Lay the example jobs out on the example fleet, with a forecast of the example series.

    Returns
    -------
    Problem
        Over 48 hours.
    """
    history = {zone: example_series(zone=zone, seed=seed) for seed, zone in enumerate(("east", "west"))}
    start_s = history["east"].slots.end_s
    forecasts = forecast_zones(history, at_s=start_s, horizon=48)
    return build_problem(example_jobs(start_s), example_fleet(), forecasts, SlotGrid(start_s, HOUR_S, 48))


def check_source(source: CarbonSource) -> None:
    """Check a carbon source.

    Parameters
    ----------
    source : CarbonSource
        With at least one zone.

    Raises
    ------
    AssertionError
        A rule is broken.
    """
    zones = source.zones()
    _require(bool(zones), "a source must name at least one zone")
    _require(len(set(zones)) == len(zones), "a source must name each zone once")
    _require(bool(source.source_id), "a source must have an id")
    series = source.read(zones[0])
    _require(series.grid_zone == zones[0], "read(zone) must give that zone")
    _require(bool(series.source), "a series must name its source")
    again = source.read(zones[0])
    same = np.array_equal(series.values_g_per_kwh, again.values_g_per_kwh, equal_nan=True)
    _require(same, "reading twice must give the same values")
    part = SlotGrid(series.slots.start_s, series.slots.step_s, min(24, len(series.slots)))
    window = source.read(zones[0], part)
    _require(window.slots == part, "read(zone, window) must give exactly that window")
    head = series.values_g_per_kwh[: len(part)]
    _require(
        np.array_equal(window.values_g_per_kwh, head, equal_nan=True), "a window must hold the same values"
    )
    try:
        source.read("no-such-zone-anywhere")
    except UnknownZone:
        return
    _require(rule=False, sentence="an unknown zone must raise UnknownZone")


def check_forecaster(make: Callable[[], Forecaster]) -> None:
    """Check a forecaster.

    Parameters
    ----------
    make : callable
        Makes a fresh one without arguments: the class itself, as a rule.

    Raises
    ------
    AssertionError
        A rule is broken.
    """
    series = example_series()
    issue_s = series.slots.end_s - 4 * 24 * HOUR_S
    past = series.before(issue_s)
    try:
        make().predict(issue_s, 24)
    except NotFitted:
        pass
    else:
        _require(rule=False, sentence="predict before fit must raise NotFitted")
    model = make()
    _require(model.fit(past) is model, "fit must return self")
    forecast = model.predict(issue_s, 48)
    _require(forecast.slots == SlotGrid(issue_s, HOUR_S, 48), "the forecast must start at the issue time")
    _require(bool((forecast.mean_g_per_kwh > 0).all()), "intensities must be positive")
    _require(forecast.issue_time_s == issue_s, "the forecast must carry its issue time")
    again = make().fit(past).predict(issue_s, 48)
    _require(
        np.array_equal(forecast.mean_g_per_kwh, again.mean_g_per_kwh), "equal input must give equal output"
    )
    leaked = make().fit(series.before(issue_s)).predict(issue_s, 48).mean_g_per_kwh
    _require(np.array_equal(leaked, forecast.mean_g_per_kwh), "nothing after the issue time may be used")
    actual = series.window(forecast.slots).values_g_per_kwh
    error = float(np.abs(forecast.mean_g_per_kwh / actual - 1).mean())
    _require(error < 0.25, f"a plain daily shape is missed by {error:.0%} on average")
    _refuses_short_history(make, series)


def _refuses_short_history(make: Callable[[], Forecaster], series: CarbonSeries) -> None:
    short = series.before(series.slots.start_s + 2 * HOUR_S)
    try:
        make().fit(short).predict(short.slots.end_s, 24)
    except AicschedError:
        return
    _require(rule=False, sentence="two hours of history must be refused with one of our errors")


def check_policy(make: Callable[[], Policy]) -> None:
    """Check a placement policy.

    Parameters
    ----------
    make : callable
        Makes a fresh one without arguments.

    Raises
    ------
    AssertionError
        A rule is broken.
    PlanRefused
        Its plan breaks a hard limit.
    """
    history = {zone: example_series(zone=zone, seed=seed) for seed, zone in enumerate(("east", "west"))}
    start_s = history["east"].slots.end_s
    forecasts = forecast_zones(history, at_s=start_s, horizon=48)
    fleet, jobs, slots = example_fleet(), example_jobs(start_s), SlotGrid(start_s, HOUR_S, 48)
    policy = make()
    problem = build_problem(jobs, fleet, forecasts, slots)
    plan = policy.plan(problem)
    check(jobs, fleet, forecasts, slots, plan)
    _require(plan.policy == policy.name, "a plan must carry its policy's name")
    _require(make().plan(problem).assignments == plan.assignments, "equal input must give equal plans")

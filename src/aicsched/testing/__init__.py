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

from aicsched.domain.fleet import Fleet, Region
from aicsched.domain.job import Job
from aicsched.errors import UnknownZone
from aicsched.forecast import forecast_zones
from aicsched.place.check import check
from aicsched.place.problem import build_problem
from aicsched.slots import HOUR_S, SlotGrid
from aicsched.testing.examples import example_series, require
from aicsched.testing.forecasters import check_forecaster
from aicsched.testing.online import check_online_policy

if TYPE_CHECKING:
    from collections.abc import Callable

    from aicsched.place.policies import Policy
    from aicsched.place.problem import Problem
    from aicsched.signals.base import CarbonSource

__all__ = [
    "check_forecaster",
    "check_online_policy",
    "check_policy",
    "check_source",
    "example_fleet",
    "example_jobs",
    "example_problem",
    "example_series",
]


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
    require(bool(zones), "a source must name at least one zone")
    require(len(set(zones)) == len(zones), "a source must name each zone once")
    require(bool(source.source_id), "a source must have an id")
    series = source.read(zones[0])
    require(series.grid_zone == zones[0], "read(zone) must give that zone")
    require(bool(series.source), "a series must name its source")
    again = source.read(zones[0])
    same = np.array_equal(series.values_g_per_kwh, again.values_g_per_kwh, equal_nan=True)
    require(same, "reading twice must give the same values")
    part = SlotGrid(series.slots.start_s, series.slots.step_s, min(24, len(series.slots)))
    window = source.read(zones[0], part)
    require(window.slots == part, "read(zone, window) must give exactly that window")
    head = series.values_g_per_kwh[: len(part)]
    require(
        np.array_equal(window.values_g_per_kwh, head, equal_nan=True), "a window must hold the same values"
    )
    try:
        source.read("no-such-zone-anywhere")
    except UnknownZone:
        return
    require(rule=False, sentence="an unknown zone must raise UnknownZone")


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
    require(plan.policy == policy.name, "a plan must carry its policy's name")
    require(make().plan(problem).assignments == plan.assignments, "equal input must give equal plans")

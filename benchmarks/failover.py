"""Failover plans by prices and bundles against HiGHS on the compact programme, same instances, same run.

Instances are drawn here: lognormal demands, K distinct regions a service, costs of
which no two are equal, so that nothing can be merged; capacity 1.75 times the
demand, uneven. The rival solves the compact linear programme (2 S K variables), as
scipy's linprog calls it, by interior point and, up to 3,000 services, by simplex. Every plan
passes the independent validator. A second table lives through a week: every region
lost in every hour.
"""

from __future__ import annotations

import importlib
import os
import time
from typing import Any

import numpy as np

from aicsched.domain.carbon import IntensityKind
from aicsched.domain.fleet import Fleet, Region
from aicsched.domain.forecast import Forecast
from aicsched.domain.service import Service
from aicsched.place.failover import (
    FailoverMode,
    FailoverProblem,
    build_failover,
    solve_failover,
)
from aicsched.place.failover.check import check_failover, replay
from aicsched.slots import HOUR_S, SlotGrid
from benchmarks.tables import Table

TITLE = "Failover: services that outlive the loss of any one region"
_GAP = 1e-4
# Services, regions, regions a service, failure groups, and whether the rival runs.
_FULL = (
    (100, 20, 5, 20, True), (1_000, 20, 5, 20, True), (10_000, 20, 5, 20, True), (10_000, 20, 5, 10, True),
    (100_000, 20, 5, 20, False),
)  # fmt: skip
_SMOKE = ((400, 12, 5, 12, True), (400, 12, 5, 6, True))
_MOST_SIMPLEX = 3_000


def _drawn(services: int, regions: int, width: int, groups: int, seed: int = 0) -> FailoverProblem:
    rng = np.random.default_rng(seed)
    demand = np.round(rng.lognormal(1.5, 1.2, services), 2) + 0.1
    group = np.arange(regions) % groups
    allowed = np.argsort(rng.random((services, regions)), axis=1)[:, :width]
    watts = rng.uniform(1.5, 4, regions) * rng.uniform(1.1, 1.5, regions)
    grams = watts * rng.uniform(30, 700, regions) / 1000
    capacity = rng.uniform(0.6, 1.4, regions)
    return FailoverProblem(
        service_ids=tuple(f"s{index}" for index in range(services)),
        regions=tuple(f"r{index}" for index in range(regions)),
        groups=tuple(f"g{index}" for index in range(groups)),
        group=group,
        capacity_vcpus=capacity * demand.sum() * 1.75 / capacity.sum(),
        demand_vcpus=demand,
        allowed=allowed,
        use_g=grams[allowed] * (1 + 0.1 * rng.random(allowed.shape)),
        idle_g=0.2 * grams,
    )


def _compact(problem: FailoverProblem) -> tuple[Any, ...]:
    """Lay the compact programme out, without a Python loop over services."""
    from scipy.sparse import coo_array, vstack

    services, width = problem.allowed.shape
    cells = services * width
    cell = np.arange(cells)
    region, owner = problem.allowed.ravel(), np.repeat(np.arange(services), width)
    one = np.ones(cells)
    below = coo_array((np.r_[one, -one], (np.r_[cell, cell], np.r_[cell, cells + cell])), (cells, 2 * cells))
    room = coo_array((one, (region, cells + cell)), (len(problem.regions), 2 * cells))
    group = problem.group[problem.allowed]
    # One row a service and column: what is left when the group of that column is lost.
    lost, kept = np.divmod(np.arange(width * width), width)
    alive = group[:, kept] != group[:, lost]
    rows = (np.arange(services)[:, None] * width + lost)[alive]
    columns = cells + (np.arange(services)[:, None] * width + kept)[alive]
    survive = coo_array((-np.ones(len(rows)), (rows, columns)), (cells, 2 * cells))
    upper = vstack([below, room, survive]).tocsr()
    limits = np.r_[np.zeros(cells), problem.capacity_vcpus, -np.repeat(problem.demand_vcpus, width)]
    equal = coo_array((one, (owner, cell)), (services, 2 * cells)).tocsr()
    cost = np.r_[problem.use_g.ravel(), problem.idle_g[region]]
    return cost, upper, limits, equal, problem.demand_vcpus


def _rival(problem: FailoverProblem, method: str) -> tuple[float, float]:
    from scipy.optimize import linprog

    solver: Any = linprog
    cost, upper, limits, equal, demand = _compact(problem)
    begun = time.process_time()
    found: Any = solver(cost, A_ub=upper, b_ub=limits, A_eq=equal, b_eq=demand, method=method)
    spent = time.process_time() - begun
    assert found.status == 0, found.message
    return float(found.fun), spent


def _compare(services: int, regions: int, width: int, groups: int, rival: bool) -> tuple[Any, ...]:  # noqa: FBT001
    problem = _drawn(services, regions, width, groups)
    begun = time.process_time()
    plan = solve_failover(problem, gap=_GAP)
    ours_s = time.process_time() - begun
    check_failover(plan)
    proof = plan.certificate
    assert proof.gap <= _GAP, f"the proven gap is {proof.gap}"
    theirs: dict[str, tuple[float, float]] = {}
    if rival:
        theirs["ipm"] = _rival(problem, "highs-ipm")
        if services <= _MOST_SIMPLEX:
            theirs["simplex"] = _rival(problem, "highs-ds")
        best_g = theirs["ipm"][0]
        assert proof.lower_bound_g <= best_g * (1 + 1e-6), "our bound lies above the rival's plan"
        assert plan.total_g <= best_g * (1 + _GAP + 1e-6), "our plan is not within the gap of the rival's"
    fastest_s = min((spent for _, spent in theirs.values()), default=None)
    reserve = (plan.used_vcpus.sum() + plan.spare_vcpus.sum()) / problem.demand_vcpus.sum()
    return (
        f"{services:,} × {regions}, K = {width}, {groups} groups",
        ours_s,
        proof.gap,
        plan.total_g / theirs["ipm"][0] - 1 if rival else None,
        theirs["ipm"][1] if rival else None,
        theirs["simplex"][1] if "simplex" in theirs else None,
        fastest_s / ours_s if fastest_s else None,
        float(reserve),
    )


def _shared(services: int, regions: int, width: int, groups: int) -> tuple[Any, ...]:
    problem = _drawn(services, regions, width, groups)
    made: list[Any] = []
    for mode, gap in ((FailoverMode.DEDICATED, _GAP), (FailoverMode.SHARED, 1e-3)):
        begun = time.process_time()
        plan = solve_failover(problem, mode, gap=gap)
        spent = time.process_time() - begun
        check_failover(plan)
        made += [
            spent,
            plan.certificate.gap,
            plan.total_g,
            plan.spare_vcpus.sum() / problem.demand_vcpus.sum(),
        ]
    assert made[6] <= made[2] * (1 + 1e-4), "sharing the reserve costs more than owning it"
    name = f"{services:,} × {regions}, K = {width}, {groups} groups"
    return (name, made[0], made[4], made[5], made[3], made[7], made[6] / made[2])


def _week(services: int) -> tuple[Any, ...]:
    """Lose every region in every hour of a week, with demand that follows the day."""
    rng = np.random.default_rng(2)
    slots = SlotGrid(0, HOUR_S, 168)
    hours = np.arange(168)
    regions: list[Region] = []
    forecasts: dict[str, Forecast] = {}
    for index in range(20):
        mean = rng.uniform(40, 600) * (1 + 0.3 * np.cos(2 * np.pi * (hours - rng.integers(24)) / 24))
        forecasts[f"z{index}"] = Forecast(
            grid_zone=f"z{index}", kind=IntensityKind.AVERAGE, slots=slots, issue_time_s=0,
            mean_g_per_kwh=mean, levels=(), quantiles_g_per_kwh=np.zeros((0, 168)), model="drawn",
            source="drawn", synthetic=True,
        )  # fmt: skip
        regions.append(
            Region(
                name=f"r{index}", grid_zone=f"z{index}", capacity_vcpus=services * 10 * 1.75 / 20, pue=1.2,
                power_w_per_vcpu=float(rng.uniform(1.5, 4)), latitude_deg=float(rng.uniform(-35, 60)),
                longitude_deg=18.0 * index - 180,
            )
        )  # fmt: skip

    def day(place: int) -> list[float]:
        return (0.55 + 0.45 * np.cos(2 * np.pi * (np.arange(24) - 14 + 1.2 * place) / 24)).tolist()

    work = [
        Service(
            service_id=f"s{index}", vcpus=float(rng.uniform(1, 15)), home_region=f"r{index % 20}",
            hourly_share=tuple(day(index % 20)),
            latency_limit_ms=float(rng.choice([90, 150, 400])),
        )
        for index in range(services)
    ]  # fmt: skip
    plan = solve_failover(build_failover(work, Fleet(regions=tuple(regions)), forecasts, slots), gap=_GAP)
    lived = replay(plan, work, slots)
    assert not lived.violated, lived.violations
    gap = plan.certificate.gap
    return (
        f"{services:,} services",
        lived.losses,
        lived.served,
        lived.violated,
        gap,
        lived.least_spare_vcpus,
    )


def run(*, smoke: bool) -> list[Table]:
    """Compare on instances of growing size, share the reserve, and live through a week.

    Parameters
    ----------
    smoke : bool
        Small instances only.

    Returns
    -------
    list of Table
        CPU seconds with their ratio, what sharing saves, and violations.
    """
    importlib.import_module("ortools.linear_solver.pywraplp")  # imports are not what is measured
    importlib.import_module("scipy.optimize")
    kernels = os.environ.get("AICSCHED_KERNELS", "auto")
    cases = _SMOKE if smoke else _FULL
    return [
        Table(
            "Least grams, each service with its own reserve",
            (
                "services × regions", "ours [CPU s]", "ours: proven gap", "ours over HiGHS",
                "HiGHS IPM [CPU s]", "HiGHS simplex [CPU s]", "ratio, fastest rival / ours",
                "reserved / demand",
            ),
            [_compare(*case) for case in cases],
            f"Gap asked for: {_GAP:g}. Kernels: {kernels} (numpy below 2·10⁸ steps a call).",
        ),
        Table(
            "A reserve of one's own against one that is shared among losses (gap 1e-3)",
            (
                "services × regions", "own [CPU s]", "shared [CPU s]", "shared: proven gap",
                "own spare / demand", "shared spare / demand", "grams ratio, shared / own",
            ),
            [_shared(400, 12, 5, 12)] if smoke else [_shared(1_000, 20, 5, 20), _shared(10_000, 20, 5, 20)],
        ),
        Table(
            "Every region lost in every hour of a week",
            ("case", "losses", "services served", "violations", "proven gap", "least room left [vCPUs]"),
            [_week(300 if smoke else 10_000)],
        ),
    ]  # fmt: skip

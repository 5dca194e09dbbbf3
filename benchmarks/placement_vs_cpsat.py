"""Our ladder against a plain time-indexed CP-SAT model, on the same instances in the same run.

The instances are drawn here: six grids with daily and weekly shapes, jobs of
1 to 4 threads and 1 to 12 h, demand about 0.6 of all capacity; how many of the
largest job a region holds is stated with each. The rival is the model that one writes first: one Boolean a
job, region and start, capacity per region and slot. It gets several times our
CPU seconds, in its own deterministic time.
"""

from __future__ import annotations

import importlib
import time
from typing import Any

import numpy as np

from aicsched.domain.carbon import IntensityKind
from aicsched.domain.fleet import Fleet, Region
from aicsched.domain.forecast import Forecast
from aicsched.domain.job import Job
from aicsched.place.check import check
from aicsched.place.choice import costs_g, to_placement
from aicsched.place.cpsat import count_columns, solve_exact
from aicsched.place.policies import make_policy
from aicsched.place.problem import build_problem
from aicsched.place.solve import solve
from aicsched.slots import HOUR_S, SlotGrid

TITLE = "Placement: prices and repair against a time-indexed CP-SAT model"
_LARGEST_VCPUS = 4
_MEAN_VCPU_H = 2.5 * 6.5
# Jobs, regions, slots [h], and how much deterministic time the rival gets.
_FULL = ((60, 3, 48, 30.0), (800, 3, 72, 60.0), (2160, 6, 96, 60.0))
_SMOKE = ((24, 2, 24, 2.0),)


def _forecasts(regions: int, slots: SlotGrid) -> dict[str, Forecast]:
    hours = np.arange(len(slots))
    made: dict[str, Forecast] = {}
    for index in range(regions):
        daily = 0.25 * np.cos(2 * np.pi * (hours - 5 * index - 19) / 24)
        wind = 0.15 * np.cos(2 * np.pi * hours / (60 + 11 * index) + index)
        mean = (80.0 + 90.0 * index) * (1 + daily + wind)
        made[f"z{index}"] = Forecast(
            grid_zone=f"z{index}",
            kind=IntensityKind.AVERAGE,
            slots=slots,
            issue_time_s=slots.start_s,
            mean_g_per_kwh=mean,
            levels=(),
            quantiles_g_per_kwh=np.zeros((0, len(slots))),
            model="drawn",
            source="drawn",
            synthetic=True,
        )
    return made


def _jobs(count: int, regions: int, slots: SlotGrid, seed: int = 0) -> list[Job]:
    rng = np.random.default_rng(seed)
    made: list[Job] = []
    for index in range(count):
        hours = int(rng.integers(1, 13))
        release_h = int(rng.integers(0, len(slots) - hours - 1))
        slack_h = int(rng.choice((2, 6, 12, 24)))
        made.append(
            Job(
                job_id=f"job-{index:05d}",
                vcpus=float(rng.integers(1, _LARGEST_VCPUS + 1)),
                duration_s=hours * HOUR_S,
                release_s=slots.start_s + release_h * HOUR_S,
                deadline_s=slots.start_s + min(len(slots), release_h + hours + slack_h) * HOUR_S,
                home_region=f"r{rng.integers(0, regions)}",
                suspendable=bool(rng.random() < 1 / 4),
                data_gb=float(rng.lognormal()),
            )
        )
    return made


def _instance(count: int, regions: int, hours: int) -> tuple[Any, ...]:
    slots = SlotGrid(0, HOUR_S, hours)
    # Demand is 0.6 of the capacity of all slots, which the ends of the horizon make 0.7 in its middle.
    capacity = max(count * _MEAN_VCPU_H / 0.6 / regions / hours, 2.0 * _LARGEST_VCPUS)
    fleet = Fleet(
        regions=tuple(
            Region(
                name=f"r{index}",
                grid_zone=f"z{index}",
                capacity_vcpus=float(np.ceil(capacity)),
                power_w_per_vcpu=4.0,
                pue=1.2,
                transfer_g_per_gb=5.0,
            )
            for index in range(regions)
        )
    )
    return _jobs(count, regions, slots), fleet, _forecasts(regions, slots), slots


def _compare(count: int, regions: int, hours: int, limit: float) -> dict[str, Any]:
    jobs, fleet, forecasts, slots = _instance(count, regions, hours)
    problem = build_problem(jobs, fleet, forecasts, slots)
    begun = time.process_time()
    plan = solve(problem)
    ours_s = time.process_time() - begun
    check(jobs, fleet, forecasts, slots, plan)
    begun = time.process_time()
    rival = solve_exact(problem, gap=0.002, limit=limit)
    theirs_s = time.process_time() - begun
    rival_g = float("inf")
    if rival.choice is not None:
        check(jobs, fleet, forecasts, slots, to_placement(problem, rival.choice, policy="cp-sat"))
        rival_g = float(costs_g(problem, rival.choice).sum())
    greedy_g = make_policy("lowest_window_anywhere").plan(problem).total_g
    bound_g = max(plan.certificate.lower_bound_g, rival.bound_g)
    assert plan.certificate.lower_bound_g <= rival_g * (1 + 1e-9), "our bound lies above the rival's plan"
    assert plan.total_g <= greedy_g * (1 + 1e-9), "the plan is worse than a greedy one"
    return {
        "columns": count_columns(problem),
        "capacity over largest job": float(problem.capacity_vcpus.max() / problem.vcpus.max()),
        "demand share": float((problem.vcpus * problem.n_slots).sum() / problem.capacity_vcpus.sum()),
        "ours: method": plan.certificate.method,
        "ours: gap": plan.certificate.gap,
        "ours: CPU s": ours_s,
        "CP-SAT: gap by its own bound": (rival_g - rival.bound_g) / rival.bound_g
        if rival.bound_g > 0
        else None,
        "CP-SAT: CPU s": theirs_s,
        "ours over the best bound": plan.total_g / bound_g - 1,
        "CP-SAT over the best bound": rival_g / bound_g - 1,
        "greedy over the best bound": greedy_g / bound_g - 1,
        "CPU s ratio, CP-SAT / ours": theirs_s / ours_s,
    }


def run(*, smoke: bool) -> dict[str, Any]:
    """Compare both on instances of growing size.

    Parameters
    ----------
    smoke : bool
        One small instance only.

    Returns
    -------
    dict
        Per instance gaps, CPU seconds and their ratio.
    """
    importlib.import_module("ortools.sat.python.cp_model")  # its import is not what is measured
    return {
        f"{count} jobs x {regions} regions x {hours} h": _compare(count, regions, hours, limit)
        for count, regions, hours, limit in (_SMOKE if smoke else _FULL)
    }

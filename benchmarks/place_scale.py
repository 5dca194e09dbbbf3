"""Plans with a proof as the number of jobs grows: gap, CPU seconds and memory beside the direct linear model.

Lengths and threads are drawn from the Alibaba PAI trace as GAIA hands it on
(``workloads/gaia/pai-100k.csv.gz`` below ``$AICSCHED_SHARED``, or a folder ``shared``
beside the repository), intensities from thirteen zones in October 2021; where neither is
there, both are drawn from distributions like theirs. Threads are cut at 8 a job, demand is
0.7 of capacity, slack is even from 0 to twice its mean, and data of e^N(0, 1) GB costs
5 g/GB away from home. The rival is HiGHS on the relaxation of the direct, time-indexed
model, which gives no plan, only the bound.
"""

from __future__ import annotations

import os
import resource
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aicsched.domain.carbon import frozen_array
from aicsched.place.choice import costs_g
from aicsched.place.cpsat import count_columns, solve_exact
from aicsched.place.insertion import build_by_insertion
from aicsched.place.policies import GREEDY
from aicsched.place.problem import Problem
from aicsched.place.solve import solve
from aicsched.slots import HOUR_S, SlotGrid

if TYPE_CHECKING:
    from aicsched.domain.placement import Placement

TITLE = "Placement at scale: a proven gap where direct models end"
_WATTS = 10.0
_G_PER_GB = 5.0
# Jobs, regions, hours, mean slack [h], largest job [threads], gap to stop at, whether HiGHS is asked, too.
_FULL = (
    (200, 5, 96, 12, 8, 0.005, True),
    (2_000, 5, 96, 12, 8, 0.005, True),
    (20_000, 5, 96, 12, 8, 0.005, False),
    (100_000, 20, 168, 24, 8, 0.01, False),
)
_SMOKE = ((150, 3, 48, 6, 8, 0.05, True),)
# Jobs, regions, hours, largest job, how many times our CPU seconds each rival gets, and whether HiGHS and
# SCIP are asked, too.
_LUMPS = ((100, 5, 48, 64, 1.0, False), (400, 5, 96, 64, 10.0, True))
_SMOKE_LUMPS = ((20, 2, 24, 8, 1.0, True),)
# Jobs, regions, hours, largest job, mean slacks [h], and draws: regions hold just the largest job.
_SMALL = (100, 5, 48, 64, (6, 12), (0, 1, 2))
_SMOKE_SMALL = (30, 2, 24, 16, (6,), (0,))
_MOST_RIVAL_S = 60.0


def _root() -> Path:
    return Path(os.environ.get("AICSCHED_SHARED") or Path(__file__).resolve().parents[2] / "shared") / "data"


def _sizes(count: int, most: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, str]:
    trace = _root() / "workloads" / "gaia" / "pai-100k.csv.gz"
    if not trace.is_file():
        # Half of the jobs are shorter than an hour, one in a hundred longer than a day; most hold one thread.
        hours = np.exp(rng.normal(-0.4, 1.5, count))
        vcpus = np.exp(np.maximum(rng.normal(-0.6, 1.4, count), 0.0))
        return np.clip(np.ceil(hours), 1, 24), np.clip(np.round(vcpus), 1, most), "drawn"
    import pandas as pd

    rows = pd.read_csv(trace)
    picked = rows.iloc[rng.choice(len(rows), count, replace=len(rows) < count)]
    hours = np.clip(np.ceil(picked["length"].to_numpy()), 1, 24)
    return hours, np.clip(picked["cpus"].to_numpy(), 1, most), "PAI trace, 13 zones"


def _intensities(regions: int, hours: int) -> np.ndarray:
    files = sorted((_root() / "carbon").glob("ccast13_*.parquet"))
    files = [file for file in files if "wx96" not in file.name and "firsttier" not in file.name]
    slots = np.arange(hours)
    if not files:
        shape = [0.25 * np.cos(2 * np.pi * (slots - 5 * index - 19) / 24) for index in range(regions)]
        return np.array([(80.0 + 60.0 * index) * (1 + row) for index, row in enumerate(shape)])
    import pyarrow.parquet as pq

    rows = []
    for index in range(regions):
        column = pq.read_table(files[index % len(files)], columns=["ci_lifecycle"]).column(0).to_numpy()
        # A second region on one grid looks at another month.
        begin = 24 * (274 + 365 + 30 * (index // len(files))) % (len(column) - hours)
        rows.append(column[begin : begin + hours].astype(np.float64))
    return np.array(rows)


def instance(
    count: int, regions: int, hours: int, slack: int, most: int, seed: int = 0
) -> tuple[Problem, str]:
    """Make a problem of a size.

    Parameters
    ----------
    count, regions, hours : int
        Jobs, regions and slots.
    slack : int
        Mean slack [h].
    most : int
        Threads of the largest job.
    seed : int
        Of the draw.

    Returns
    -------
    tuple of Problem, str
        The problem, and where its numbers come from.
    """
    rng = np.random.default_rng(seed)
    length, vcpus, origin = _sizes(count, most, rng)
    length = length.astype(np.int64)
    spare = rng.integers(0, 2 * slack + 1, count)
    first = np.maximum((rng.random(count) * (hours - length - spare + 1)).astype(np.int64), 0)
    home = rng.integers(0, regions, count)
    transfer = np.repeat((rng.lognormal(size=count) * _G_PER_GB)[:, None], regions, axis=1)
    transfer[np.arange(count), home] = 0.0
    capacity = max(np.ceil((vcpus * length).sum() / 0.7 / regions / hours), 2.0 * most)
    return Problem(
        slots=SlotGrid(0, HOUR_S, hours),
        job_ids=tuple(f"job-{index}" for index in range(count)),
        regions=tuple(f"r{index}" for index in range(regions)),
        resources=("vcpus",),
        demand=frozen_array(vcpus[:, None]),
        n_slots=frozen_array(length, np.int64),
        first=frozen_array(first, np.int64),
        last=frozen_array(np.minimum(first + length + spare, hours), np.int64),
        suspendable=frozen_array(np.zeros(count), np.bool_),
        energy_kwh_per_w=frozen_array(vcpus / 1000.0),
        home=frozen_array(home, np.int64),
        allowed=frozen_array(np.ones((count, regions)), np.bool_),
        transfer_g=frozen_array(transfer),
        watt_factor_w=frozen_array(np.full(regions, _WATTS)),
        g_per_kwh=frozen_array(_intensities(regions, hours)),
        capacity=frozen_array(np.full((1, regions, hours), capacity)),
        order=frozen_array(np.zeros((0, 2)), np.int64),
    ), origin


def _direct(problem: Problem) -> tuple[np.ndarray, Any, Any]:
    """Write the direct model of jobs in one piece down: cost per column, room rows, and one row a job."""
    from scipy.sparse import csr_array

    jobs, regions, slots = problem.shape
    cost, rows, columns, values = [], [], [], []
    once: list[int] = []
    for job in range(jobs):
        length = int(problem.n_slots[job])
        for region in range(regions):
            for start in range(int(problem.first[job]), int(problem.last[job]) - length + 1):
                cost.append(problem.cost_g(job, region, range(start, start + length)))
                rows += [region * slots + slot for slot in range(start, start + length)]
                columns += [len(once)] * length
                values += [float(problem.vcpus[job])] * length
                once.append(job)
    count = len(once)
    room = csr_array((values, (rows, columns)), shape=(regions * slots, count))
    each = csr_array((np.ones(count), (once, np.arange(count))), shape=(jobs, count))
    return np.array(cost), room, each


def relaxation_g(problem: Problem) -> float:
    """Solve the relaxation of the direct model with HiGHS.

    Parameters
    ----------
    problem : Problem
        Without jobs in pieces.

    Returns
    -------
    float
        Its optimum, which no plan can beat [g].
    """
    from scipy.optimize import linprog

    cost, room, each = _direct(problem)
    find: Any = linprog
    found = find(
        cost,
        A_ub=room,
        b_ub=problem.capacity[0].ravel(),
        A_eq=each,
        b_eq=np.ones(each.shape[0]),
        method="highs-ds",
    )
    assert found.status == 0, found.message
    return float(found.fun)


def _highs_g(problem: Problem, limit_s: float) -> tuple[float | None, float]:
    """Ask HiGHS for a plan of the direct model: its grams, and its CPU seconds."""
    from scipy.optimize import Bounds, LinearConstraint, milp

    cost, room, each = _direct(problem)
    begun = time.process_time()
    find: Any = milp
    found = find(
        cost,
        integrality=np.ones(len(cost)),
        bounds=Bounds(0, 1),
        constraints=(LinearConstraint(room, ub=problem.capacity[0].ravel()), LinearConstraint(each, 1, 1)),
        options={"time_limit": limit_s},
    )
    return (None if found.x is None else float(found.fun)), time.process_time() - begun


def _scip_g(problem: Problem, limit_s: float) -> tuple[float | None, float]:
    """Ask SCIP for a plan of the direct model: its grams, and its CPU seconds."""
    from ortools.linear_solver import pywraplp

    cost, room, each = _direct(problem)
    begun = time.process_time()
    solver: Any = pywraplp.Solver.CreateSolver("SCIP")
    solver.SetTimeLimit(int(1000 * limit_s))
    columns = [solver.BoolVar("") for _ in cost]
    for matrix, most, least in (
        (room, problem.capacity[0].ravel(), np.zeros(room.shape[0])),
        (each, np.ones(each.shape[0]), np.ones(each.shape[0])),
    ):
        for row in range(matrix.shape[0]):
            line = solver.Constraint(float(least[row]), float(most[row]))
            span = slice(matrix.indptr[row], matrix.indptr[row + 1])
            for index, value in zip(matrix.indices[span], matrix.data[span], strict=True):
                line.SetCoefficient(columns[index], float(value))
    solver.Minimize(solver.Sum([float(here) * column for here, column in zip(cost, columns, strict=True)]))
    status = solver.Solve()
    found = status in {pywraplp.Solver.OPTIMAL, pywraplp.Solver.FEASIBLE}
    return (solver.Objective().Value() if found else None), time.process_time() - begun


def _lumps(count: int, regions: int, hours: int, most: int) -> Problem:
    """Make large jobs: a region holds hardly more than a few of the largest."""
    problem, _ = instance(count, regions, hours, 12, most)
    rng = np.random.default_rng(5)
    vcpus = np.clip(np.round(np.exp(rng.normal(0.65 * np.log(most), 1.0, count))), 1, most)
    capacity = max(np.ceil((vcpus * problem.n_slots).sum() / 0.7 / regions / hours), float(most))
    return replace(
        problem,
        demand=frozen_array(vcpus[:, None]),
        energy_kwh_per_w=frozen_array(vcpus / 1000.0),
        capacity=frozen_array(np.full(problem.capacity.shape, capacity)),
    )


def _lump_row(count: int, regions: int, hours: int, most: int, times: float, *, ask: bool) -> dict[str, Any]:
    problem = _lumps(count, regions, hours, most)
    begun = time.process_time()
    plan = solve(problem, gap=0.0)
    ours_s = time.process_time() - begun
    assert abs(_checked_g(problem, plan) / plan.total_g - 1) < 1e-9
    begun = time.process_time()
    rival = solve_exact(problem, limit=max(times * ours_s, 1.0))
    theirs_s = time.process_time() - begun
    rival_g = float(costs_g(problem, rival.choice).sum()) if rival.choice is not None else None
    bound_g = max(plan.certificate.lower_bound_g, rival.bound_g)
    others: dict[str, Any] = {}
    for name, ask_g in (("HiGHS", _highs_g), ("SCIP", _scip_g)) if ask else ():
        total_g, spent_s = ask_g(problem, max(times * ours_s, 1.0))
        others[f"{name}: CPU s"] = spent_s
        others[f"{name} over the best bound"] = total_g / bound_g - 1 if total_g is not None else None
        assert total_g is None or total_g >= bound_g * (1 - 1e-6), f"{name} lies below the bound"
    return {
        "columns": count_columns(problem),
        "capacity over largest job": float(problem.capacity.max() / problem.vcpus.max()),
        "demand share": float((problem.vcpus * problem.n_slots).sum() / problem.capacity.sum()),
        "ours: method": plan.certificate.method,
        "ours: proven gap": plan.certificate.gap,
        "ours: CPU s": ours_s,
        "CP-SAT: CPU s": theirs_s,
        "ours over the best bound": plan.total_g / bound_g - 1,
        "CP-SAT over the best bound": rival_g / bound_g - 1 if rival_g else None,
        "ratio, CP-SAT / ours [g]": rival_g / plan.total_g if rival_g else None,
        **others,
    }


def _small_row(count: int, regions: int, hours: int, slack: int, most: int, seed: int) -> dict[str, Any]:
    """Solve a small problem to the end, beside HiGHS and CP-SAT on the direct model."""
    problem, _ = instance(count, regions, hours, slack, most, seed)
    largest = float(problem.vcpus.max())
    problem = replace(problem, capacity=frozen_array(np.full(problem.capacity.shape, largest)))
    begun = time.process_time()
    plan = solve(problem, gap=0.0)
    ours_s = time.process_time() - begun
    assert abs(_checked_g(problem, plan) / plan.total_g - 1) < 1e-9
    highs_g, highs_s = _highs_g(problem, _MOST_RIVAL_S)
    begun = time.process_time()
    exact = solve_exact(problem)
    exact_s = time.process_time() - begun
    exact_g = float(costs_g(problem, exact.choice).sum()) if exact.choice is not None else None
    assert highs_g is None or plan.total_g <= highs_g * (1 + 1e-6), "HiGHS found a better plan"
    return {
        "columns": count_columns(problem),
        "demand share": float((problem.vcpus * problem.n_slots).sum() / problem.capacity.sum()),
        "ours: status": plan.certificate.status,
        "ours: CPU s": ours_s,
        "HiGHS: CPU s": highs_s,
        "HiGHS over ours": highs_g / plan.total_g - 1 if highs_g else None,
        "CP-SAT: CPU s": exact_s,
        "CP-SAT over ours": exact_g / plan.total_g - 1 if exact_g else None,
        "ratio, CP-SAT / ours [CPU s]": exact_s / ours_s,
    }


def _checked_g(problem: Problem, plan: Placement) -> float:
    """Recompute a plan's grams and its load, slot by slot, in plain Python."""
    used: dict[tuple[str, int], float] = {}
    total = 0.0
    index = {name: row for row, name in enumerate(problem.regions)}
    for job, row in enumerate(plan.assignments):
        place = index[row.region]
        assert row.slot_indices[0] >= problem.first[job]
        assert row.slot_indices[-1] < problem.last[job]
        assert len(row.slot_indices) == problem.n_slots[job]
        for slot in row.slot_indices:
            used[row.region, slot] = used.get((row.region, slot), 0.0) + float(problem.vcpus[job])
            total += float(problem.vcpus[job]) * _WATTS / 1000.0 * float(problem.g_per_kwh[place, slot])
        total += float(problem.transfer_g[job, place])
    most = float(problem.capacity[0, 0, 0])
    assert max(used.values()) <= most * (1 + 1e-6), "a region holds more than there is"
    return total


def _changed(problem: Problem) -> Problem:
    """Give one job in a hundred other threads and another home."""
    rng = np.random.default_rng(1)
    hit = rng.random(len(problem.job_ids)) < 0.01
    vcpus = np.where(hit, np.roll(problem.vcpus, 1), problem.vcpus)
    transfer = np.where(hit[:, None], np.roll(problem.transfer_g, 1, axis=1), problem.transfer_g)
    return replace(
        problem,
        demand=frozen_array(vcpus[:, None]),
        energy_kwh_per_w=frozen_array(vcpus / 1000.0),
        transfer_g=frozen_array(transfer),
    )


def _row(
    count: int, regions: int, hours: int, slack: int, most: int, gap: float, *, ask: bool
) -> dict[str, Any]:
    problem, origin = instance(count, regions, hours, slack, most)
    seen: list[tuple[float, float]] = []
    begun = time.process_time()
    plan = solve(
        problem,
        gap=gap,
        progress=lambda best, bound: seen.append((best / bound - 1, time.process_time() - begun)),
    )
    ours_s = time.process_time() - begun
    assert abs(_checked_g(problem, plan) / plan.total_g - 1) < 1e-9
    at = {
        goal: next((spent for reached, spent in seen if reached <= goal), None) for goal in (0.05, 0.02, 0.01)
    }
    order = np.lexsort((np.arange(count), problem.first)).tolist()
    greedy_g = None
    if count <= 2_000:
        choice, left = build_by_insertion(problem, order, GREEDY["lowest_window_anywhere"])
        greedy_g = float(costs_g(problem, choice).sum()) if not left else None
    rival_s = None
    if ask:
        begun = time.process_time()
        rival_g = relaxation_g(problem)
        rival_s = time.process_time() - begun
        assert plan.certificate.lower_bound_g <= plan.total_g * (1 + 1e-9)
        assert rival_g <= plan.total_g * (1 + 1e-9), "the plan lies below the relaxation"
    changed = _changed(problem)
    begun = time.process_time()
    again = solve(changed, gap=max(gap, plan.certificate.gap), start=plan)
    again_s = time.process_time() - begun
    _checked_g(changed, again)
    return {
        "from": origin,
        "columns": count_columns(problem),
        "capacity over largest job": float(problem.capacity.max() / problem.vcpus.max()),
        "mean slack [h]": float((problem.last - problem.first - problem.n_slots).mean()),
        "proven gap": plan.certificate.gap,
        "CPU s": ours_s,
        "to 5 % [CPU s]": at[0.05],
        "to 2 % [CPU s]": at[0.02],
        "to 1 % [CPU s]": at[0.01],
        "greedy over the bound": greedy_g / plan.certificate.lower_bound_g - 1 if greedy_g else None,
        "1 % changed: gap": again.certificate.gap,
        "1 % changed: CPU s": again_s,
        "ratio, anew / changed": ours_s / again_s,
        "HiGHS, bound only [CPU s]": rival_s,
        "HiGHS / ours": rival_s / ours_s if rival_s else None,
        "peak memory so far [GB]": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    }


def run(*, smoke: bool) -> dict[str, Any]:
    """Plan instances of growing size.

    Parameters
    ----------
    smoke : bool
        One small instance only.

    Returns
    -------
    dict
        Per instance gap, CPU seconds and ratios.
    """
    # Kernels are compiled and scipy is loaded before anything is measured.
    warm, _ = instance(3000, 3, 48, 6, 8)
    if not smoke:
        solve(warm, gap=0.001)
    made: dict[str, Any] = {}
    for count, regions, hours, slack, most, gap, ask in _SMOKE if smoke else _FULL:
        made[f"{count} x {regions} x {hours}"] = _row(count, regions, hours, slack, most, gap, ask=ask)
    for count, regions, hours, most, times, ask in _SMOKE_LUMPS if smoke else _LUMPS:
        key = f"large jobs: {count} x {regions} x {hours}"
        made[key] = _lump_row(count, regions, hours, most, times, ask=ask)
    count, regions, hours, most, slacks, seeds = _SMOKE_SMALL if smoke else _SMALL
    small = {
        f"slack {slack} h, draw {seed}": _small_row(count, regions, hours, slack, most, seed)
        for slack in slacks
        for seed in seeds
    }
    assert all(row["ours: status"] == "optimal" for row in small.values()), small
    if smoke:
        assert all(row.get("proven gap", 0.0) <= 0.06 for row in made.values()), made
    made[f"small, to the end: {count} x {regions} x {hours}, capacity = largest job"] = small
    return made

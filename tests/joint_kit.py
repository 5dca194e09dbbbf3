"""Joint problems for tests, and the whole programme that scipy's branch and bound solves as their oracle."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from aicsched.domain.fleet import Fleet, Region
from aicsched.domain.forecast import Forecast
from aicsched.domain.job import Job
from aicsched.domain.service import Service
from aicsched.place.joint import GivesWay, JointProblem, ReserveFor, build_joint
from aicsched.slots import HOUR_S, SlotGrid
from tests.place_kit import forecast

World = tuple[list[Service], list[Job], Fleet, dict[str, Forecast], SlotGrid]


def world(
    services: int, jobs: int, regions: int, hours: int, *, seed: int = 0, room: float = 2.2, groups: int = 0
) -> World:
    """Draw services with a day of their own, and jobs of which some may be suspended."""
    rng = np.random.default_rng(seed)
    slots = SlotGrid(0, HOUR_S, hours)
    work = [
        Service(
            service_id=f"s{index}",
            vcpus=round(float(rng.uniform(2, 8)), 1),
            home_region=f"r{index % regions}",
            hourly_share=tuple(np.round(rng.uniform(0.3, 1.0, 24), 2).tolist()),
        )
        for index in range(services)
    ]
    queue: list[Job] = []
    for index in range(jobs):
        long, first = int(rng.integers(1, max(2, hours // 3))), int(rng.integers(0, max(1, hours // 3)))
        last = min(hours, first + long + int(rng.integers(1, hours)))
        queue.append(
            Job(
                job_id=f"j{index}",
                vcpus=float(rng.integers(1, 5)),
                duration_s=long * HOUR_S,
                release_s=first * HOUR_S,
                deadline_s=last * HOUR_S,
                home_region=f"r{index % regions}",
                suspendable=bool(rng.random() < 0.5),
            )
        )
    demand = sum(item.vcpus for item in work)
    load = sum(item.vcpus * item.duration_s for item in queue) / (hours * HOUR_S)
    weight = rng.uniform(0.7, 1.3, regions)
    threads = weight / weight.sum() * (demand * room + load)
    fleet = Fleet(
        regions=tuple(
            Region(
                name=f"r{index}",
                grid_zone=f"z{index}",
                capacity_vcpus=float(np.round(threads[index], 1)),
                power_w_per_vcpu=float(rng.uniform(2, 4)),
                pue=1.2,
                failure_group=f"g{index % groups}" if groups else "",
            )
            for index in range(regions)
        )
    )
    curves = {
        f"z{index}": forecast(
            f"z{index}", np.round(rng.uniform(50, 600) * rng.uniform(0.6, 1.4, hours)).tolist()
        )
        for index in range(regions)
    }
    return work, queue, fleet, curves, slots


def joint(made: World, gives_way: GivesWay, reserve_for: ReserveFor) -> JointProblem:
    return build_joint(*made, gives_way=gives_way, reserve_for=reserve_for)


def _columns(problem: JointProblem) -> list[tuple[int, int, tuple[int, ...]]]:
    batch = problem.batch
    made: list[tuple[int, int, tuple[int, ...]]] = []
    for job in range(len(batch.job_ids)):
        needs, window = int(batch.n_slots[job]), range(int(batch.first[job]), int(batch.last[job]))
        runs = (
            combinations(window, needs)
            if batch.suspendable[job]
            else (tuple(range(at, at + needs)) for at in window if at + needs <= window.stop)
        )
        slots = list(runs)
        made += [
            (job, region, run) for region in np.flatnonzero(batch.allowed[job]).tolist() for run in slots
        ]
    return made


def by_branch_and_bound(problem: JointProblem) -> float | None:
    """Solve services and whole jobs in one programme: its optimum [g], or None where it has no plan."""
    services, batch = problem.services, problem.batch
    cells = [(row, int(region)) for row, at in np.argwhere(services.allowed >= 0).tolist()
             for region in [services.allowed[row, at]]]  # fmt: skip
    use = {(row, int(services.allowed[row, at])): services.use_g[row, at]
           for row, at in np.argwhere(services.allowed >= 0).tolist()}  # fmt: skip
    columns, count = _columns(problem), len(cells)
    width = 2 * count + len(columns)
    cost = [problem.hours * use[cell] for cell in cells]
    cost += [problem.hours * services.idle_g[region] for _, region in cells]
    cost += [batch.cost_g(job, region, run) for job, region, run in columns]
    rows: list[Any] = []
    low: list[float] = []
    high: list[float] = []

    def add(terms: dict[int, float], least: float, most: float) -> None:
        row = np.zeros(width)
        for at, value in terms.items():
            row[at] += value
        rows.append(row)
        low.append(least)
        high.append(most)

    for index in range(count):
        add({index: 1.0, count + index: -1.0}, -np.inf, 0.0)
    for row, demand in enumerate(services.demand_vcpus.tolist()):
        mine = [index for index, cell in enumerate(cells) if cell[0] == row]
        add(dict.fromkeys(mine, 1.0), demand, demand)
        for group in range(len(services.groups)):
            left = [count + index for index in mine if services.group[cells[index][1]] != group]
            add(dict.fromkeys(left, 1.0), demand, np.inf)
    for job in range(len(batch.job_ids)):
        add({2 * count + at: 1.0 for at, item in enumerate(columns) if item[0] == job}, 1.0, 1.0)
    stays = {"none": [True] * len(batch.job_ids), "all": [False] * len(batch.job_ids)}
    firm = stays.get(str(problem.gives_way), [not one for one in batch.suspendable])
    for region, threads in enumerate(services.capacity_vcpus.tolist()):
        here = [index for index, cell in enumerate(cells) if cell[1] == region]
        for slot in range(len(batch.slots)):
            runs = [
                (2 * count + at, float(batch.vcpus[item[0]]), firm[item[0]])
                for at, item in enumerate(columns)
                if item[1] == region and slot in item[2]
            ]
            quota = float(batch.capacity_vcpus[region, slot])
            add({at: vcpus for at, vcpus, _ in runs}, -np.inf, quota)
            used = {index: float(problem.share[cells[index][0], slot]) for index in here}
            add(used | {at: vcpus for at, vcpus, _ in runs}, -np.inf, threads)
            whole = str(problem.reserve_for) == "peak"
            add({count + index: 1.0 for index in here}, -np.inf, threads)
            held = {count + index: 1.0 if whole else used[index] for index in here}
            add(held | {at: vcpus for at, vcpus, stay in runs if stay}, -np.inf, threads)
    found = milp(
        cost,
        constraints=LinearConstraint(np.array(rows), low, high),
        bounds=Bounds(0.0, np.inf),
        integrality=np.r_[np.zeros(2 * count), np.ones(len(columns))],
        options={"mip_rel_gap": 1e-9},
    )
    return float(found.fun) if found.status == 0 else None

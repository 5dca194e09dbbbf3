"""Failover problems for tests, and the compact linear programme that scipy solves as their oracle."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import coo_array

from aicsched.place.failover import FailoverMode, FailoverProblem


def problem_of(
    demand: Any, allowed: Any, capacity: Any, *, groups: Any = None, use_g: Any = None, idle_g: Any = None
) -> FailoverProblem:
    """Make a problem; by default every region fails alone, and costs rise with its index."""
    capacity, allowed = np.asarray(capacity, float), np.asarray(allowed)
    group = np.arange(len(capacity)) if groups is None else np.asarray(groups)
    use = np.where(allowed >= 0, allowed + 1.0, 0.0) if use_g is None else use_g
    return FailoverProblem(
        service_ids=tuple(f"s{index}" for index in range(len(allowed))),
        regions=tuple(f"r{index}" for index in range(len(capacity))),
        groups=tuple(f"g{index}" for index in range(int(group.max()) + 1)),
        group=group,
        capacity_vcpus=capacity,
        demand_vcpus=np.asarray(demand, float),
        allowed=allowed,
        use_g=use,
        idle_g=np.full(len(capacity), 0.25) if idle_g is None else idle_g,
    )


def drawn(
    services: int,
    regions: int,
    width: int,
    *,
    seed: int = 0,
    room: float = 1.75,
    groups: int | None = None,
    ragged: bool = True,
) -> FailoverProblem:
    """Draw a problem in which no two services have the same costs."""
    rng = np.random.default_rng(seed)
    demand = np.round(rng.lognormal(1.5, 1.2, services), 2) + 0.1
    group = np.arange(regions) % (groups or regions)
    allowed = np.full((services, width), -1)
    for row in range(services):
        while True:
            count = int(rng.integers(2, width + 1)) if ragged else width
            chosen = rng.choice(regions, count, replace=False)
            if len(set(group[chosen].tolist())) > 1:
                break
        allowed[row, :count] = chosen
    grams = rng.uniform(30, 700, regions) * rng.uniform(1.5, 4, regions) * rng.uniform(1.1, 1.5, regions)
    use = np.where(allowed >= 0, grams[allowed] / 1000 * (1 + 0.1 * rng.random(allowed.shape)), 0.0)
    capacity = rng.uniform(0.6, 1.4, regions)
    capacity *= demand.sum() * room / capacity.sum()
    return problem_of(demand, allowed, capacity, groups=group, use_g=use, idle_g=0.2 * grams / 1000)


class _Rows:
    """Rows of a sparse matrix as they come."""

    def __init__(self) -> None:
        self.at: list[tuple[int, int, float]] = []
        self.limits: list[float] = []

    def add(self, terms: dict[int, float], limit: float) -> None:
        self.at += [(len(self.limits), column, value) for column, value in terms.items()]
        self.limits.append(limit)

    def matrix(self, columns: int) -> Any:
        row, column, value = zip(*self.at, strict=True)
        return coo_array((value, (row, column)), shape=(len(self.limits), columns)).tocsr()


def by_scipy(problem: FailoverProblem, mode: FailoverMode, *, method: str = "highs") -> float | None:
    """Solve the compact programme: its optimum [g/h], or None where it has no plan."""
    made = _dedicated(problem) if mode is FailoverMode.DEDICATED else _shared(problem)
    cost, upper, equal = made
    found = linprog(
        cost, A_ub=upper.matrix(len(cost)), b_ub=upper.limits, A_eq=equal.matrix(len(cost)),
        b_eq=equal.limits, method=method,
    )  # fmt: skip
    return float(found.fun) if found.status == 0 else None


def _cells(problem: FailoverProblem) -> list[tuple[int, int, int]]:
    return [
        (row, at, int(problem.allowed[row, at])) for row, at in np.argwhere(problem.allowed >= 0).tolist()
    ]


def _dedicated(problem: FailoverProblem) -> tuple[list[float], _Rows, _Rows]:
    cells = _cells(problem)
    count = len(cells)  # used first, then reserved
    cost = [float(problem.use_g[row, at]) for row, at, _ in cells]
    cost += [float(problem.idle_g[region]) for _, _, region in cells]
    upper, equal = _Rows(), _Rows()
    mine: dict[int, list[int]] = {}
    there: dict[int, dict[int, float]] = {}
    for index, (row, _, region) in enumerate(cells):
        mine.setdefault(row, []).append(index)
        there.setdefault(region, {})[count + index] = 1.0
        upper.add({index: 1.0, count + index: -1.0}, 0.0)
    for region, terms in there.items():
        upper.add(terms, float(problem.capacity_vcpus[region]))
    for row, indices in mine.items():
        demand = float(problem.demand_vcpus[row])
        equal.add(dict.fromkeys(indices, 1.0), demand)
        for group in {int(problem.group[cells[index][2]]) for index in indices}:
            left = [count + i for i in indices if int(problem.group[cells[i][2]]) != group]
            upper.add(dict.fromkeys(left, -1.0), -demand)
    return cost, upper, equal


def _shared(problem: FailoverProblem) -> tuple[list[float], _Rows, _Rows]:
    cells = _cells(problem)
    moves = [
        (one, other)
        for one, (row, _, region) in enumerate(cells)
        for other, (owner, _, refuge) in enumerate(cells)
        if owner == row and problem.group[refuge] != problem.group[region]
    ]
    count, regions = len(cells), len(problem.regions)
    cost = [float(problem.use_g[row, at] + problem.idle_g[region]) for row, at, region in cells]
    cost += [0.0] * len(moves) + problem.idle_g.tolist()
    spare = count + len(moves)
    upper, equal = _Rows(), _Rows()
    mine: dict[int, dict[int, float]] = {}
    works: dict[int, dict[int, float]] = {}
    for index, (row, _, region) in enumerate(cells):
        mine.setdefault(row, {})[index] = 1.0
        works.setdefault(region, {})[index] = 1.0
        out = {count + at: 1.0 for at, (one, _) in enumerate(moves) if one == index}
        equal.add({**out, index: -1.0}, 0.0)
    for row, terms in mine.items():
        equal.add(terms, float(problem.demand_vcpus[row]))
    for region in range(regions):
        upper.add({**works.get(region, {}), spare + region: 1.0}, float(problem.capacity_vcpus[region]))
        for group in range(len(problem.groups)):
            into = {
                count + at: 1.0
                for at, (one, other) in enumerate(moves)
                if cells[other][2] == region and problem.group[cells[one][2]] == group
            }
            upper.add({**into, spare + region: -1.0}, 0.0)
    return cost, upper, equal

"""Small reassignment problems drawn at random, and their optimum by trying every assignment."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from aicsched.place.reassign import PriceBound, Reassignment, build_reassignment, costs_of, violations_of

if TYPE_CHECKING:
    from numpy.typing import NDArray


def drawn(seed: int, *, processes: int = 6, machines: int = 3, resources: int = 2) -> Reassignment:
    """Draw a problem with every kind of limit and cost, whose present assignment keeps all limits."""
    rng = np.random.default_rng(seed)
    services = max(processes - 2, 1)
    while True:
        need = rng.integers(1, 9, (processes, resources))
        home = rng.integers(0, machines, processes)
        used = np.zeros((machines, resources), dtype=np.int64)
        np.add.at(used, home, need)
        capacity = used + rng.integers(0, 12, used.shape)
        service = rng.integers(0, services, processes)
        for process in range(processes):
            while any(home[:process][service[:process] == service[process]] == home[process]):
                service[process] += 1
        problem = build_reassignment(
            need=need,
            home=home,
            capacity=capacity,
            safety_capacity=rng.integers(0, 2 + 2 * used.sum(axis=0) // machines, used.shape),
            service=service,
            location=rng.integers(0, min(machines, 2), machines),
            neighbourhood=rng.integers(0, min(machines, 2), machines),
            process_move_cost=rng.integers(0, 6, processes),
            machine_move_cost=rng.integers(0, 4, (machines, machines)),
            load_weight=rng.integers(0, 5, resources),
            transient=rng.random(resources) < 0.4,
            min_locations=np.where(rng.random(service.max() + 1) < 0.1, 2, 0),
            dependencies=rng.integers(0, service.max() + 1, (int(rng.integers(0, 3)), 2)),
            balance=[(0, 1, int(rng.integers(0, 3)), int(rng.integers(0, 4)))] * int(rng.integers(0, 2)),
            move_weights=(1, int(rng.integers(0, 4)), 2),
        )
        if not violations_of(problem, home):
            return problem


def best_of_all(problem: Reassignment) -> int:
    """Find the least cost of any feasible assignment, by the checker alone."""
    processes, machines, _, _ = problem.shape
    every = itertools.product(range(machines), repeat=processes)
    return min(costs_of(problem, each).total for each in every if not violations_of(problem, each))


def _on_grid(prices: NDArray[np.float64], grid: int, most: list[list[int]] | None = None) -> list[list[int]]:
    """Round prices to parts of a cost, from 0 to at most their weights."""
    rounded = [[max(round(price * grid), 0) for price in row] for row in prices.tolist()]
    if most is None:
        return rounded
    return [
        [min(x, top * grid) for x, top in zip(*rows, strict=True)] for rows in zip(rounded, most, strict=True)
    ]


def added_up(problem: Reassignment, bound: PriceBound, grid: int = 4096) -> int:
    """Add a bound up from its prices alone, in Python's integers and by other code than its maker's.

    Any prices in range prove something: each process's cheapest machine, less what the limits are
    worth. Every feasible plan costs at least as much as that.
    """
    machines, transient, balances = (
        range(problem.shape[1]),
        problem.transient.tolist(),
        problem.balance.tolist(),
    )
    load = _on_grid(bound.load_price, grid, [problem.load_weight.tolist() for _ in machines])
    even = _on_grid(bound.balance_price, grid, [[row[3] for _ in machines] for row in balances])
    room, place = _on_grid(bound.room_price, grid), _on_grid(bound.place_price, grid)
    need, home, safe = problem.need.tolist(), problem.home.tolist(), problem.safety_capacity.tolist()
    # Who leaves goes on holding transient resources, so those homed on a machine fill it for good.
    free = problem.capacity.tolist()
    for process, machine in enumerate(home):
        for r, held in enumerate(transient):
            free[machine][r] -= need[process][r] * held
    total = -sum(sum(row) for row in place)
    for machine, capacity in enumerate(problem.capacity.tolist()):
        for r in range(len(transient)):
            total -= load[machine][r] * safe[machine][r] + room[machine][r] * free[machine][r]
        for row, (first, second, target, _) in enumerate(balances):
            total += even[row][machine] * (target * capacity[first] - capacity[second])
    fares = (problem.process_move_cost * problem.move_weights[0]).tolist()
    travel = (problem.machine_move_cost * problem.move_weights[2]).tolist()

    def price(process: int, machine: int) -> int:
        stays, uses = machine == home[process], need[process]
        cost = place[problem.service[process]][machine]
        for r, use in enumerate(uses):
            cost += use * (load[machine][r] + (0 if stays and transient[r] else room[machine][r]))
        for row, (first, second, target, _) in enumerate(balances):
            cost += even[row][machine] * (uses[second] - target * uses[first])
        return cost + (0 if stays else grid * (fares[process] + travel[home[process]][machine]))

    for process, uses in enumerate(need):
        fits = [all(use <= left for use, left in zip(uses, free[m], strict=True)) for m in machines]
        total += min(price(process, m) for m in machines if fits[m] or m == home[process])
    return max(-(-total // grid), 0)

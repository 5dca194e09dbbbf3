"""Small reassignment problems drawn at random, and their optimum by trying every assignment."""

from __future__ import annotations

import itertools

import numpy as np

from aicsched.place.reassign import Reassignment, build_reassignment, costs_of, violations_of


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

"""What holds for every reassignment problem: plans keep all limits, and no plan beats a bound."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from aicsched.place.reassign import check_assignment, costs_of, lower_bound, solve, violations_of
from tests.reassign_kit import drawn

SEEDS = st.integers(0, 10**6)


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.integers(1, 25), st.integers(1, 6), st.integers(2, 4))
def test_plans_are_feasible_no_dearer_than_staying_and_not_below_the_bound(
    seed: int, processes: int, machines: int, resources: int
) -> None:
    problem = drawn(seed, processes=processes, machines=machines, resources=resources)
    plan = solve(problem, seed=seed, iterations=600)
    costs = check_assignment(problem, plan.assignment, total=plan.cost, bound=plan.lower_bound)
    assert costs.total <= plan.home_cost == costs_of(problem, problem.home).total
    assert plan.gap >= 0


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_no_feasible_assignment_costs_less_than_a_bound(seed: int) -> None:
    problem = drawn(seed, processes=6, machines=3)
    bounds = [lower_bound(problem, relax=relax).value for relax in (False, True)]
    rng = np.random.default_rng(seed)
    for _ in range(60):
        some = np.where(rng.random(6) < 0.5, problem.home, rng.integers(0, 3, 6))
        if not violations_of(problem, some):
            assert costs_of(problem, some).total >= max(bounds)


@settings(max_examples=20, deadline=None)
@given(SEEDS)
def test_the_order_of_processes_changes_no_cost(seed: int) -> None:
    problem = drawn(seed, processes=8, machines=4)
    order = np.random.default_rng(seed).permutation(8)
    shuffled = replace(
        problem,
        need=problem.need[order],
        service=problem.service[order],
        home=problem.home[order],
        process_move_cost=problem.process_move_cost[order],
    )
    some = solve(problem, seed=1, iterations=300).assignment
    assert costs_of(problem, some) == costs_of(shuffled, some[order])
    assert lower_bound(problem, relax=False).value == lower_bound(shuffled, relax=False).value


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.integers(2, 50))
def test_a_unit_of_another_size_changes_no_plan(seed: int, size: int) -> None:
    problem = drawn(seed, processes=8, machines=4)
    larger = replace(
        problem,
        need=problem.need * size,
        capacity=problem.capacity * size,
        safety_capacity=problem.safety_capacity * size,
    )
    some = solve(problem, seed=1, iterations=300).assignment
    assert not violations_of(larger, some)
    before, after = costs_of(problem, some), costs_of(larger, some)
    assert (after.load, after.balance) == (size * before.load, size * before.balance)
    assert (after.process_move, after.machine_move) == (before.process_move, before.machine_move)

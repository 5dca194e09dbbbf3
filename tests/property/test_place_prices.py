"""Prices bound every plan, and repairs never make one worse: whatever the numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aicsched.place.check import check
from aicsched.place.choice import costs_g, loads_g, overfull, pointers, to_placement
from aicsched.place.insertion import Room
from aicsched.place.master import Master, columns_of, near_columns, solve_columns, split_jobs
from aicsched.place.policies import GREEDY, greedy_choice
from aicsched.place.pricing import Oracle
from aicsched.place.problem import build_problem
from aicsched.place.repair import improve
from tests.place_kit import CURVES, GRID, crowd, fleet

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aicsched.place.master import Column

JOBS = crowd()
SITES = fleet(24.0, 24.0)
PROBLEM = build_problem(JOBS, SITES, CURVES, GRID)
ORACLE = Oracle(PROBLEM)

prices = st.lists(st.floats(0.0, 20.0), min_size=16, max_size=16).map(
    lambda flat: np.array(flat).reshape(2, 8)
)


@settings(max_examples=60, deadline=None)
@given(prices)
def test_any_prices_bound_every_plan_from_below(prices_g: np.ndarray) -> None:
    bound_g = ORACLE.price(prices_g).bound_g
    for name in GREEDY:
        choice, left_out = greedy_choice(PROBLEM, name)
        assert not left_out
        assert bound_g <= costs_g(PROBLEM, choice).sum() + 1e-6


@settings(max_examples=60, deadline=None)
@given(prices)
def test_the_oracle_finds_what_a_plain_search_finds(prices_g: np.ndarray) -> None:
    priced = ORACLE.price(prices_g)
    assert priced.reduced_g == pytest.approx(
        costs_g(PROBLEM, priced.choice) + loads_g(PROBLEM, priced.choice, prices_g), abs=1e-9
    )
    roomy = Room(build_problem(JOBS, fleet(999.0, 999.0), CURVES, GRID), prices_g=prices_g)
    for job in range(len(JOBS)):
        found = roomy.cheapest_anywhere(job)
        assert found is not None
        assert found[0] == pytest.approx(priced.reduced_g[job], abs=1e-9)


@settings(max_examples=25, deadline=None)
@given(prices, st.integers(0, 1000), st.sampled_from(sorted(GREEDY)))
def test_repairs_stay_feasible_and_never_cost_more(prices_g: np.ndarray, seed: int, name: str) -> None:
    choice, _ = greedy_choice(PROBLEM, name)
    before_g = costs_g(PROBLEM, choice).sum()
    kept = choice.copy()
    better = improve(PROBLEM, choice, prices_g, ORACLE.price(prices_g), seed=seed, rounds=60)
    assert costs_g(PROBLEM, better).sum() <= before_g + 1e-9
    assert not overfull(PROBLEM, better)
    check(JOBS, SITES, CURVES, GRID, to_placement(PROBLEM, better, policy="repair"))
    assert np.array_equal(kept.slots, choice.slots)


def test_a_repair_stops_at_its_target_and_where_nothing_is_to_gain() -> None:
    choice, _ = greedy_choice(PROBLEM, "no_wait")
    none = np.zeros((2, 8))
    same = improve(PROBLEM, choice, none, ORACLE.price(none), seed=0, rounds=50, target_g=float("inf"))
    assert np.array_equal(same.slots, choice.slots)
    roomy = build_problem(JOBS, fleet(999.0, 999.0), CURVES, GRID)
    best = Oracle(roomy).price(none)
    same = improve(roomy, best.choice, none, best, seed=0, rounds=50)
    assert np.array_equal(same.slots, best.choice.slots)


@settings(max_examples=20, deadline=None)
@given(st.lists(prices, min_size=1, max_size=5), prices)
def test_near_columns_are_distinct_few_and_the_cheapest(known: list[np.ndarray], at_g: np.ndarray) -> None:
    answers = [ORACLE.price(item).choice for item in known]
    every = {column for one in answers for column in columns_of(PROBLEM, one, costs_g(PROBLEM, one))}
    kept = near_columns(PROBLEM, answers, at_g, per_job=2)
    assert len(set(kept)) == len(kept)

    def priced(job: int, columns: Iterable[Column]) -> list[float]:
        return sorted(
            column.cost_g + PROBLEM.vcpus[job] * at_g[column.region, list(column.slots)].sum()
            for column in columns
            if column.job == job
        )

    for job in range(len(JOBS)):
        assert priced(job, kept) == pytest.approx(priced(job, every)[:2], abs=1e-9)


def test_the_relaxation_lies_between_its_bound_and_every_plan() -> None:
    choices = [greedy_choice(PROBLEM, name)[0] for name in GREEDY]
    master = Master(PROBLEM, penalty_g=1e4)
    for choice in choices:
        master.add(columns_of(PROBLEM, choice, costs_g(PROBLEM, choice)))
    relaxed = master.solve()
    answer = ORACLE.price(relaxed.prices_g)
    for _ in range(50):
        answer = ORACLE.price(relaxed.prices_g)
        assert answer.bound_g <= relaxed.objective_g + 1e-6
        if not master.add(columns_of(PROBLEM, answer.choice, costs_g(PROBLEM, answer.choice))):
            break
        relaxed = master.solve()
    assert answer.bound_g == pytest.approx(relaxed.objective_g, rel=1e-6)
    assert all(relaxed.objective_g <= costs_g(PROBLEM, one).sum() + 1e-6 for one in choices)
    whole, split = split_jobs(relaxed)
    assert set(whole) | split == set(range(len(JOBS)))
    assert not set(whole) & split


def test_columns_are_picked_under_the_room_left() -> None:
    choice, _ = greedy_choice(PROBLEM, "lowest_window_anywhere")
    columns = columns_of(PROBLEM, choice, costs_g(PROBLEM, choice))
    picked = solve_columns(PROBLEM, columns, PROBLEM.capacity_vcpus, gap=0.0)
    assert picked == dict(enumerate(columns))
    none = solve_columns(PROBLEM, columns, np.zeros((2, 8)), gap=0.0)
    assert none == {}
    assert len(pointers(PROBLEM)) == len(JOBS) + 1

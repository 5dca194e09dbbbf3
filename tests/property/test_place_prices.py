"""Prices bound every plan, and repairs never make one worse: whatever the numbers."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aicsched.place.check import check
from aicsched.place.choice import costs_g, feasible, loads_g, pointers, to_placement
from aicsched.place.ground import ground_of
from aicsched.place.master import Master, columns_of, near_columns, solve_columns, split_jobs
from aicsched.place.policies import GREEDY, greedy_choice
from aicsched.place.pricing import Oracle
from aicsched.place.problem import build_problem
from aicsched.place.seating import Seating, build
from tests.place_kit import CURVES, GRID, crowd, fleet

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aicsched.place.choice import Choice
    from aicsched.place.master import Column

JOBS = crowd()
SITES = fleet(24.0, 24.0)
PROBLEM = build_problem(JOBS, SITES, CURVES, GRID)
ORACLE = Oracle(ground_of(PROBLEM))

prices = st.lists(st.floats(0.0, 20.0), min_size=16, max_size=16).map(
    lambda flat: np.array(flat).reshape(1, 2, 8)
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
    bound_g, choice, load = ORACLE.bound(prices_g)
    assert bound_g == pytest.approx(priced.bound_g, abs=1e-9)
    assert priced.reduced_g == pytest.approx(
        costs_g(PROBLEM, choice) + loads_g(PROBLEM, choice, prices_g), abs=1e-9
    )
    assert load == pytest.approx(held(choice), abs=1e-9)
    for job in range(len(JOBS)):
        for region in range(2):
            best, start = plain_best(job, region, prices_g[0, region])
            assert priced.least_g[job, region] == pytest.approx(best, abs=1e-9)
            assert start == pytest.approx(best, abs=1e-9)
        assert priced.least_g[job, priced.turn[job]].tolist() == sorted(priced.least_g[job])


def held(choice: Choice) -> np.ndarray:
    """Sum up what jobs hold, one by one."""
    total = np.zeros((1, 2, 8))
    pointer = pointers(PROBLEM)
    for job in range(len(JOBS)):
        for slot in choice.slots[pointer[job] : pointer[job + 1]]:
            total[0, choice.region[job], slot] += PROBLEM.vcpus[job]
    return total


def plain_best(job: int, region: int, price_g: np.ndarray) -> tuple[float, float]:
    """Return a job's least priced cost in a region over all sets of slots, and at the oracle's start."""
    first, last, length = (int(part[job]) for part in (PROBLEM.first, PROBLEM.last, PROBLEM.n_slots))
    sets = itertools.combinations(range(first, last), length)
    ways = [slots for slots in sets if PROBLEM.suspendable[job] or slots[-1] - slots[0] + 1 == length]
    prices_here = np.zeros((1, 2, 8))
    prices_here[0, region] = price_g
    wish = int(ORACLE.price(prices_here).wish[job, region])

    def cost(slots: tuple[int, ...]) -> float:
        return PROBLEM.cost_g(job, region, slots) + PROBLEM.vcpus[job] * float(price_g[list(slots)].sum())

    return min(map(cost, ways)), min(cost(slots) for slots in ways if slots[0] == wish)


@settings(max_examples=25, deadline=None)
@given(prices, st.integers(0, 1000), st.sampled_from(sorted(GREEDY)))
def test_repairs_stay_feasible_and_account_for_every_change(
    prices_g: np.ndarray, seed: int, name: str
) -> None:
    choice, _ = greedy_choice(PROBLEM, name)
    seating = Seating(ground_of(PROBLEM))
    seating.put(choice)
    before = seating.free.copy()
    seating.repair(ORACLE.price(prices_g), 60, (5.0, 0.0), seed)
    better = seating.choice()
    assert feasible(PROBLEM, better)
    check(JOBS, SITES, CURVES, GRID, to_placement(PROBLEM, better, policy="repair"))
    assert seating.free == pytest.approx(before + held(choice) - held(better), abs=1e-9)
    # Who stands in a ring stands there once, and in the ring of the slot it starts in.
    found = []
    for region, slot in np.argwhere(seating.head >= 0):
        job = top = int(seating.head[region, slot])
        while True:
            assert (better.region[job], seating.span[job, 0]) == (region, slot)
            found.append(job)
            job = int(seating.link[job, 1])
            if job == top:
                break
    assert sorted(found) == list(range(len(JOBS)))


def test_repairs_without_a_threshold_never_cost_more() -> None:
    choice, _ = greedy_choice(PROBLEM, "no_wait")
    seating = Seating(ground_of(PROBLEM))
    seating.put(choice)
    last_g = costs_g(PROBLEM, choice).sum()
    for seed in range(5):
        seating.repair(ORACLE.price(np.zeros((1, 2, 8))), 40, (0.0, 0.0), seed)
        now_g = costs_g(PROBLEM, seating.choice()).sum()
        assert now_g <= last_g + 1e-9
        last_g = now_g
    assert last_g < costs_g(PROBLEM, choice).sum()


def test_plain_and_compiled_kernels_agree_to_the_last_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    ground = ground_of(PROBLEM)
    answers = []
    for mode in ("numpy", "numba"):
        monkeypatch.setenv("AICSCHED_KERNELS", mode)
        oracle = Oracle(ground)
        prices_g = np.linspace(0, 9, 16).reshape(1, 2, 8)
        bound_g, choice, load = oracle.bound(prices_g)
        priced = oracle.price(prices_g)
        seating, left = build(ground, priced, np.arange(len(JOBS)))
        seating.repair(priced, 200, (3.0, 0.0), 7)
        answers.append(
            [bound_g, *(part.tolist() for part in (choice.slots, load, priced.least_g, priced.wish, left))]
            + [part.tolist() for part in seating.state()]
        )
    assert answers[0] == answers[1]


@settings(max_examples=20, deadline=None)
@given(st.lists(prices, min_size=1, max_size=5), prices)
def test_near_columns_are_distinct_few_and_the_cheapest(known: list[np.ndarray], at_g: np.ndarray) -> None:
    answers = [ORACLE.bound(item)[1] for item in known]
    every = {column for one in answers for column in columns_of(PROBLEM, one, costs_g(PROBLEM, one))}
    kept = near_columns(PROBLEM, answers, at_g, per_job=2)
    assert len(set(kept)) == len(kept)

    def priced(job: int, columns: Iterable[Column]) -> list[float]:
        return sorted(
            column.cost_g + PROBLEM.vcpus[job] * at_g[0, column.region, list(column.slots)].sum()
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
    bound_g = float("-inf")
    for _ in range(50):
        bound_g, answer, _load = ORACLE.bound(relaxed.prices_g)
        assert bound_g <= relaxed.objective_g + 1e-6
        if not master.add(columns_of(PROBLEM, answer, costs_g(PROBLEM, answer))):
            break
        relaxed = master.solve()
    assert bound_g == pytest.approx(relaxed.objective_g, rel=1e-6)
    assert all(relaxed.objective_g <= costs_g(PROBLEM, one).sum() + 1e-6 for one in choices)
    whole, split = split_jobs(relaxed)
    assert set(whole) | split == set(range(len(JOBS)))
    assert not set(whole) & split


def test_columns_are_picked_under_the_room_left() -> None:
    choice, _ = greedy_choice(PROBLEM, "lowest_window_anywhere")
    columns = columns_of(PROBLEM, choice, costs_g(PROBLEM, choice))
    picked = solve_columns(PROBLEM, columns, PROBLEM.capacity, gap=0.0)
    assert picked == dict(enumerate(columns))
    none = solve_columns(PROBLEM, columns, np.zeros((1, 2, 8)), gap=0.0)
    assert none == {}
    assert len(pointers(PROBLEM)) == len(JOBS) + 1

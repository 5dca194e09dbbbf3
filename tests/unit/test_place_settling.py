"""Jobs that settle: sums against a plain loop, capacity kept, order kept, and prices that prove more."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from aicsched.domain.carbon import frozen_array
from aicsched.place.ascent import balance, climb
from aicsched.place.choice import Choice, costs_g, feasible, load
from aicsched.place.ground import ground_of
from aicsched.place.kernels import EVICT, SETTLE
from aicsched.place.pricing import Oracle
from aicsched.place.problem import Problem, build_problem
from aicsched.place.seating import Seating
from aicsched.place.settling import Settling, settle
from aicsched.place.solve import solve
from aicsched.slots import HOUR_S, SlotGrid
from tests.place_kit import CURVES, GRID, crowd, fleet, job

PROBLEM = build_problem(crowd(), fleet(24.0, 24.0), CURVES, GRID)


def wide(count: int, slots: int = 24, regions: int = 3, seed: int = 1) -> Problem:
    """Return many small jobs, of which a third may pause, on 1.6 times the capacity they need."""
    rng = np.random.default_rng(seed)
    length = rng.integers(1, 5, count)
    first = rng.integers(0, slots - 8, count)
    vcpus = rng.integers(1, 5, count).astype(float)
    capacity = np.ceil(1.6 * (vcpus * length).sum() / regions / slots)
    transfer = np.repeat(rng.lognormal(size=count)[:, None], regions, axis=1)
    home = rng.integers(0, regions, count)
    transfer[np.arange(count), home] = 0.0
    wave = np.cos(2 * np.pi * np.arange(slots) / 24)
    return Problem(
        slots=SlotGrid(0, HOUR_S, slots),
        job_ids=tuple(f"j{index}" for index in range(count)),
        regions=tuple(f"r{index}" for index in range(regions)),
        resources=("vcpus",),
        demand=frozen_array(vcpus[:, None]),
        n_slots=frozen_array(length, np.int64),
        first=frozen_array(first, np.int64),
        last=frozen_array(np.minimum(first + length + rng.integers(0, 8, count), slots), np.int64),
        suspendable=frozen_array(rng.random(count) < 1 / 3, np.bool_),
        energy_kwh_per_w=frozen_array(vcpus / 1000.0),
        home=frozen_array(home, np.int64),
        allowed=frozen_array(np.ones((count, regions)), np.bool_),
        transfer_g=frozen_array(transfer),
        watt_factor_w=frozen_array(np.full(regions, 10.0)),
        g_per_kwh=frozen_array(
            [100.0 + 80.0 * index + 30.0 * np.roll(wave, 5 * index) for index in range(regions)]
        ),
        capacity=frozen_array(np.full((1, regions, slots), capacity)),
        order=frozen_array(np.zeros((0, 2)), np.int64),
    )


def soft_cost(
    problem: Problem, index: int, region: int, slots: list[int], others: np.ndarray, stiffness: float
) -> float:
    """Return by plain sums what a job pays for slots, beside what others hold (R, T)."""
    held = float((problem.vcpus * problem.n_slots).sum())
    level = float(Oracle(ground_of(problem)).price(np.zeros(problem.capacity.shape)).reduced_g.sum()) / held
    total = problem.cost_g(index, region, slots)
    use = float(problem.vcpus[index])
    for slot in slots:
        room = float(problem.capacity_vcpus[region, slot])
        off = stiffness * level / room * (0.25 * use + others[region, slot] - room)
        total += use * max(0.0, -0.4 * level, off)
    return total


@pytest.mark.parametrize("stiffness", [0.3, 3.0])
def test_each_job_takes_the_best_place_beside_the_others(stiffness: float) -> None:
    problem = wide(60)
    oracle = Oracle(ground_of(problem))
    priced = oracle.price(np.zeros(problem.capacity.shape))
    settling = Settling(oracle.ground, float(priced.reduced_g.sum()), 0)
    for _ in range(3):
        settling.turn(priced, stiffness)
    ground, seating = oracle.ground, settling.seating
    for index in range(len(problem.job_ids)):
        SETTLE(
            np.array([index]), stiffness, 0.25, 0.4, settling._stiff, settling.level_g,
            ground.facts, ground.uses, ground.fixed_g, priced.rates, ground.before, ground.after,
            priced.least_g, priced.turn, *seating.state(),
        )  # fmt: skip
        choice = seating.choice()
        begin = int(problem.n_slots[:index].sum())
        mine = choice.slots[begin : begin + int(problem.n_slots[index])].tolist()
        others = load(problem, choice)[0].copy()
        others[choice.region[index], mine] -= problem.vcpus[index]
        paid = soft_cost(problem, index, int(choice.region[index]), mine, others, stiffness)
        for region in range(3):
            for start in range(
                int(problem.first[index]), int(problem.last[index] - problem.n_slots[index]) + 1
            ):
                run = list(range(start, start + int(problem.n_slots[index])))
                assert paid <= soft_cost(problem, index, region, run, others, stiffness) * (1 + 1e-7) + 1e-9


def test_a_settled_plan_keeps_every_limit_and_is_near_its_bound() -> None:
    problem = wide(3000)
    oracle = Oracle(ground_of(problem))
    prices_g = balance(oracle, np.zeros(problem.capacity.shape), 0, steps=40)
    priced = oracle.price(prices_g)
    seating, left = settle(oracle.ground, priced, 0)
    assert not len(left)
    choice = seating.choice()
    assert feasible(problem, choice)
    total_g = costs_g(problem, choice).sum()
    assert priced.bound_g <= total_g <= 1.005 * priced.bound_g


def test_the_method_of_multipliers_proves_more_than_subgradients_in_as_many_steps() -> None:
    problem = wide(3000)
    oracle = Oracle(ground_of(problem))
    zero = np.zeros(problem.capacity.shape)
    ours = oracle.price(balance(oracle, zero, 0, steps=40)).bound_g
    theirs, _, _ = climb(oracle, zero, steps=40)
    assert ours > theirs


def test_only_jobs_in_overfull_slots_are_evicted_until_all_fits() -> None:
    ground = ground_of(PROBLEM)
    seating = Seating(ground)
    _, choice, _ = Oracle(ground).bound(np.zeros(PROBLEM.capacity.shape))
    seating.put(choice)
    over = seating.free < 0
    assert over.any()
    out = np.zeros(len(ground.facts), np.int64)
    count = EVICT(ground.facts, ground.uses, *seating.state(), out)
    assert (seating.free >= 0).all()
    assert sorted(out[:count]) == np.flatnonzero(seating.region < 0).tolist()
    begins = np.concatenate(([0], np.cumsum(PROBLEM.n_slots)))
    for index in out[:count].tolist():
        spots = choice.slots[begins[index] : begins[index + 1]]
        assert over[:, choice.region[index], spots].any()


def test_jobs_that_wait_for_others_settle_behind_them() -> None:
    chain = [job(f"c{index}", after=(f"c{index - 1}",) if index else ()) for index in range(6)]
    problem = build_problem([*chain, *crowd(12)], fleet(8.0, 8.0), CURVES, GRID)
    oracle = Oracle(ground_of(problem))
    for seed in range(5):
        seating, left = settle(oracle.ground, oracle.price(np.zeros(problem.capacity.shape)), seed)
        if not len(left):
            assert feasible(problem, seating.choice())
        settled = seating.region[:6] >= 0
        starts = seating.span[:6, 0][settled]
        assert (np.diff(starts) > 0).all()


def test_a_job_is_never_where_it_is_larger_than_the_capacity() -> None:
    problem = build_problem([job("a", vcpus=4.0), job("b", vcpus=1.0)], fleet(2.0, 8.0), CURVES, GRID)
    oracle = Oracle(ground_of(problem))
    seating, left = settle(oracle.ground, oracle.price(np.zeros(problem.capacity.shape)), 0)
    assert not len(left)
    assert seating.region[0] == 1


def test_slots_without_capacity_and_without_limit_settle_without_nan() -> None:
    problem = wide(40)
    capacity = problem.capacity.copy()
    capacity[0, 0, 3:6] = 0.0
    capacity[0, 2] = np.inf
    problem = replace(problem, capacity=frozen_array(capacity))
    oracle = Oracle(ground_of(problem))
    prices_g = balance(oracle, np.zeros(capacity.shape), 0, steps=10)
    assert np.isfinite(prices_g).all()
    assert not prices_g[0, 2].any()
    seating, left = settle(oracle.ground, oracle.price(prices_g), 0)
    assert not len(left)
    assert feasible(problem, seating.choice())


def test_equal_seeds_settle_equally_and_a_start_is_kept_to() -> None:
    problem = wide(500)
    oracle = Oracle(ground_of(problem))
    priced = oracle.price(balance(oracle, np.zeros(problem.capacity.shape), 0, steps=20))
    first, _ = settle(oracle.ground, priced, 7)
    again, _ = settle(oracle.ground, priced, 7)
    assert (first.spots == again.spots).all()
    assert (first.region == again.region).all()
    start = Choice(first.region.copy(), first.spots.copy())
    later, left = settle(oracle.ground, priced, 7, start)
    assert not len(left)
    assert (later.region == first.region).mean() > 0.8
    assert costs_g(problem, later.choice()).sum() <= 1.01 * costs_g(problem, start).sum()


def test_a_long_queue_has_a_plan_even_when_the_time_is_up_at_once() -> None:
    problem = wide(3500)
    plan = solve(problem, gap=0.0, cpu_s=0.0)
    assert len(plan.assignments) == 3500
    assert 0.0 < plan.certificate.lower_bound_g <= plan.total_g

"""Jobs that scale: plans against every way to run them, and against the published greedy."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aicsched.domain.placement import machines_held
from aicsched.domain.scaling import AMDAHL
from aicsched.errors import Infeasible
from aicsched.place.check import check
from aicsched.place.elastic import build_elastic, solve_elastic
from aicsched.place.elastic.block import Block, JointOracle, plain_ground
from aicsched.slots import HOUR_S
from tests.place_kit import CURVES, GRID, crowd, fleet, job

if TYPE_CHECKING:
    from aicsched.domain.job import Job

PROFILES = ((1.0, 1.75), (1.0, 2.0, 2.5), (1.0,), (1.0, 1.5, 1.75))


def scaled(
    job_id: str, profile: tuple[float, ...], hours: float, window: tuple[int, int], **change: object
) -> Job:
    return job(
        job_id,
        suspendable=True,
        scaling=profile,
        duration_s=hours * HOUR_S,
        release_s=window[0] * HOUR_S,
        deadline_s=window[1] * HOUR_S,
        **change,
    )


def ways(item: Job) -> list[tuple[int, np.ndarray, float]]:
    """Every way to hold machines that does the work: region, machines held in each slot, and its grams."""
    first, last = item.release_s // HOUR_S, item.deadline_s // HOUR_S
    numbers = [0, *range(item.min_machines, len(item.scaling) + 1)]
    speeds = dict(zip(numbers, [0.0, *item.scaling[item.min_machines - 1 :]], strict=True))
    found = []
    for place in range(2):
        curve = CURVES[f"z{place}"].mean_g_per_kwh
        for held in itertools.product(numbers, repeat=last - first):
            # Work goes to the held steps in the order of grams per unit of work.
            steps = sorted(
                (curve[first + slot] * (top - low) / (speeds[top] - speeds[low]), speeds[top] - speeds[low])
                for slot, count in enumerate(held)
                for low, top in itertools.pairwise(numbers)
                if top <= count
            )
            left, grams = item.duration_s / HOUR_S, 0.0 if place == 0 else item.data_gb
            for dear, gain in steps:
                done = min(left, gain)
                grams += item.vcpus * dear * done
                left -= done
            if left < 1e-9:
                load = np.zeros((2, len(GRID)))
                load[place, first:last] = item.vcpus * np.array(held)
                found.append((place, load, grams))
    return found


def least_g(jobs: list[Job], capacity: tuple[float, float]) -> float:
    """Return the least grams of up to two jobs under a capacity, by trying all; inf where none fits."""
    room = np.array(capacity)[:, None] + 1e-9
    lists = [
        sorted(
            ((grams, load) for _, load, grams in ways(item) if (load <= room).all()), key=lambda way: way[0]
        )
        for item in jobs
    ]
    best = np.inf
    if len(jobs) == 1:
        return min((grams for grams, _ in lists[0]), default=np.inf)
    loads = np.array([load for _, load in lists[1]])
    costs = np.array([grams for grams, _ in lists[1]])
    for grams, load in lists[0]:
        if not len(costs) or grams + costs[0] >= best:
            break
        fits = (load + loads <= room).all(axis=(1, 2))
        if fits.any():
            best = min(best, grams + float(costs[fits].min()))
    return best


items = st.builds(
    lambda profile, hours, first, span, vcpus, least, data: scaled(
        "a",
        profile,
        min(hours, span * profile[-1]),
        (first, first + span),
        vcpus=vcpus,
        min_machines=min(least, len(profile)),
        data_gb=data,
    ),
    st.sampled_from(PROFILES),
    st.sampled_from([1.0, 1.5, 2.25, 3.0]),
    st.integers(0, 3),
    st.integers(3, 4),
    st.sampled_from([1.0, 2.0]),
    st.integers(1, 2),
    st.sampled_from([0.0, 3.0]),
)


@settings(max_examples=25, deadline=None)
@given(items)
def test_alone_a_job_takes_the_best_of_all_ways(item: Job) -> None:
    sites = fleet(24.0, 24.0)
    plan = solve_elastic(build_elastic([item], sites, CURVES, GRID))
    assert check([item], sites, CURVES, GRID, plan).total_g == pytest.approx(least_g([item], (24.0, 24.0)))
    assert plan.certificate.status == "optimal"


@settings(max_examples=15, deadline=None)
@given(items, items, st.sampled_from([(2.0, 2.0), (4.0, 2.0), (3.0, 3.0)]))
def test_under_full_capacity_two_jobs_get_what_a_search_of_all_ways_finds(
    one: Job, two: Job, capacity: tuple[float, float]
) -> None:
    jobs = [one, replace(two, job_id="b")]
    best_g = least_g(jobs, capacity)
    sites = fleet(*capacity)
    try:
        plan = solve_elastic(build_elastic(jobs, sites, CURVES, GRID), gap=0.0)
    except Infeasible:
        assert best_g == np.inf
        return
    assert check(jobs, sites, CURVES, GRID, plan).total_g == pytest.approx(best_g, rel=1e-5)
    assert plan.certificate.lower_bound_g <= best_g * (1 + 1e-9)


def published_greedy(item: Job, curve: np.ndarray) -> dict[int, int]:
    """CarbonScaler's algorithm 1: pairs of a slot and a machine by work per gram, until the work is done."""
    gains = np.diff([0.0, *item.scaling])
    pairs = sorted(
        (-gain / curve[slot], slot, machine)
        for slot in range(item.release_s // HOUR_S, item.deadline_s // HOUR_S)
        for machine, gain in enumerate(gains)
    )
    held: dict[int, int] = {}
    done = 0.0
    for _, slot, machine in pairs:
        if done >= item.duration_s / HOUR_S - 1e-9:
            break
        held[slot] = held.get(slot, 0) + 1
        done += gains[machine]
    return dict(sorted(held.items()))


@pytest.mark.parametrize("hours", [1.0, 4.5, 9.0, 20.25])
def test_it_is_the_published_greedy_where_no_capacity_binds(hours: float) -> None:
    item = scaled("a", AMDAHL, hours, (0, 8), allowed_regions=("r0",))
    plan = solve_elastic(build_elastic([item], fleet(24.0, 24.0), CURVES, GRID))
    row = plan.assignments[0]
    held = published_greedy(item, CURVES["z0"].mean_g_per_kwh)
    assert dict(zip(row.slot_indices, machines_held(item, row), strict=True)) == held
    assert plan.certificate.gap == 0.0


prices = st.lists(st.floats(0.0, 20.0), min_size=16, max_size=16).map(
    lambda flat: np.array(flat).reshape(1, 2, 8)
)
MIXED = [
    *(
        scaled(f"e{index}", AMDAHL[:3], 2.0 + index / 2, (index, 8), vcpus=1.0 + index % 2)
        for index in range(4)
    ),
    *crowd(16),
]


@settings(max_examples=10, deadline=None)
@given(prices)
def test_any_prices_prove_less_than_a_plan_emits(prices_g: np.ndarray) -> None:
    problem = build_elastic(MIXED, fleet(12.0, 12.0), CURVES, GRID)
    oracle = JointOracle(plain_ground(problem), Block(problem))
    plan = solve_elastic(problem)
    assert oracle.bound(prices_g)[0] <= plan.total_g * (1 + 1e-9)
    assert oracle.price(prices_g).bound_g == pytest.approx(oracle.bound(prices_g)[0])


@pytest.mark.parametrize("capacity", [(24.0, 24.0), (14.0, 12.0), (12.0, 11.0)])
def test_jobs_of_both_kinds_share_a_plan_and_a_bound(capacity: tuple[float, float]) -> None:
    sites = fleet(*capacity)
    jobs = MIXED[::-1]
    problem = build_elastic(jobs, sites, CURVES, GRID)
    plan = solve_elastic(problem)
    report = check(jobs, sites, CURVES, GRID, plan)
    assert [row.job_id for row in plan.assignments] == [item.job_id for item in jobs]
    assert plan.certificate.lower_bound_g <= report.total_g
    assert plan.certificate.gap <= 0.002
    assert solve_elastic(problem) == plan

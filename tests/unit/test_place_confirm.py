"""What is said of plans, confirmed by the plain validator, by brute force, and refused where it is wrong."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aicsched.domain.fleet import Fleet, Region
from aicsched.domain.job import Job
from aicsched.errors import Infeasible, PlanRefused
from aicsched.place.caps import cap_costs
from aicsched.place.check import check
from aicsched.place.confirm import Confirmation, confirm
from aicsched.place.explain import Explanation, explain_all
from aicsched.place.policies import make_policy
from aicsched.place.problem import Problem, build_problem
from aicsched.place.solve import solve
from aicsched.slots import HOUR_S, SlotGrid
from tests.place_kit import CURVES, GRID, crowd, fleet, forecast, job

if TYPE_CHECKING:
    from aicsched.domain.forecast import Forecast
    from aicsched.domain.placement import Placement

SITES = fleet(24.0, 24.0)


def said(
    jobs: list[Job], sites: Fleet, plan: Placement, baseline: Placement, problem: Problem, **change: Any
) -> Confirmation:
    given_ = {
        "baseline": baseline,
        "explanations": explain_all(problem, plan, baseline),
        "caps": cap_costs(problem, plan),
    }
    return confirm(jobs, sites, CURVES, GRID, plan, **(given_ | change))


# ---------------------------------------------------------------- ten thousand decisions
def many(count: int) -> tuple[list[Job], Fleet, dict[str, Forecast], SlotGrid]:
    """A queue in which one of three jobs is in pieces, some follow others, and memory binds, too."""
    rng = np.random.default_rng(7)
    hours, slots = 96, SlotGrid(0, HOUR_S, 96)
    day = np.arange(hours)
    curves = {
        f"z{index}": replace(
            forecast(f"z{index}", [0.0] * hours),
            mean_g_per_kwh=(90.0 + 60 * index) * (1 + 0.3 * np.cos(2 * np.pi * (day - 5 * index) / 24))
            + rng.random(hours),
        )
        for index in range(4)
    }
    jobs: list[Job] = []
    for index in range(count):
        length = int(np.clip(np.ceil(np.exp(rng.normal(-0.4, 1.3))), 1, 12))
        spare = int(rng.integers(0, 20))
        release = int(rng.integers(0, hours - length - spare + 1))
        jobs.append(
            Job(
                job_id=f"j{index}",
                vcpus=float(rng.integers(1, 9)),
                memory_gib=float(rng.integers(1, 33)),
                duration_s=length * HOUR_S - float(rng.integers(0, 1800)),
                release_s=release * HOUR_S,
                deadline_s=(release + length + spare) * HOUR_S,
                home_region=f"r{rng.integers(0, 4)}",
                suspendable=bool(rng.random() < 0.3),
                data_gb=float(rng.random() * 3),
            )
        )
    # Some wait for one that is due before their own window has begun to shrink.
    for index in range(0, count - 1, 97):
        one, other = jobs[index], jobs[index + 1]
        if one.release_s + one.duration_s + 2 * HOUR_S + other.duration_s < other.deadline_s:
            jobs[index + 1] = replace(other, after=(one.job_id,))
    hold = sum(item.vcpus * np.ceil(item.duration_s / HOUR_S) for item in jobs) / 0.75 / 4 / hours
    regions = tuple(
        Region(
            name=f"r{index}",
            grid_zone=f"z{index}",
            capacity_vcpus=float(np.ceil(hold)),
            capacity_memory_gib=float(np.ceil(hold * 4.2)),
            power_w_per_vcpu=8.0 + index,
            pue=1.1,
            transfer_g_per_gb=3.0,
        )
        for index in range(4)
    )
    return jobs, Fleet(regions=regions), curves, slots


def test_ten_thousand_explanations_are_confirmed_to_a_millionth() -> None:
    jobs, sites, curves, slots = many(10_000)
    problem = build_problem(jobs, sites, curves, slots)
    plan = solve(problem, gap=0.02)
    check(jobs, sites, curves, slots, plan)
    explain_all(problem, plan, plan)
    begun = time.process_time()
    made = explain_all(problem, plan, plan)
    assert time.process_time() - begun < 5
    found = confirm(
        jobs, sites, curves, slots, plan, baseline=plan, explanations=made, caps=cap_costs(problem, plan)
    )
    assert found.jobs == 10_000
    assert found.limited > 1_000
    assert sum(bool(item.runner_up_region) for item in made) > 9_000
    assert any(item.held_by for item in made)
    assert {limit.resource for item in made for limit in item.limits} == {"vcpus", "memory_gib"}
    assert 0 < found.bound_g <= plan.total_g


def test_the_published_prices_prove_the_bound_of_the_certificate() -> None:
    jobs = crowd()
    problem = build_problem(jobs, SITES, CURVES, GRID)
    plan = solve(problem, gap=0.05)
    assert "prices" in plan.certificate.method
    found = said(jobs, SITES, plan, plan, problem)
    # Prices are published with six decimals.
    assert found.bound_g == pytest.approx(plan.certificate.lower_bound_g, rel=1e-4)


# ---------------------------------------------------------------- small problems, by brute force
small = st.lists(
    st.tuples(
        st.integers(1, 3), st.integers(1, 3), st.integers(0, 4), st.integers(0, 4), st.booleans(),
        st.booleans(), st.floats(0, 3),
    ),
    min_size=2,
    max_size=5,
)  # fmt: skip


def spots(problem: Problem, one: int) -> list[tuple[int, tuple[int, ...]]]:
    """All regions and sets of slots that a job may have when alone."""
    length = int(problem.n_slots[one])
    window = range(int(problem.first[one]), int(problem.last[one]))
    return [
        (region, slots)
        for region in range(len(problem.regions))
        if problem.allowed[one, region]
        for slots in itertools.combinations(window, length)
        if problem.suspendable[one] or slots[-1] - slots[0] + 1 == length
    ]


def in_room(problem: Problem, plan: Placement, one: int, region: int, slots: tuple[int, ...]) -> bool:
    """Whether a plan stays feasible when one job moves there."""
    used = np.zeros(problem.capacity.shape)
    rows = list(plan.assignments)
    names = {row.job_id: at for at, row in enumerate(rows)}
    rows[one] = replace(rows[one], region=problem.regions[region], slot_indices=slots)
    for at, row in enumerate(rows):
        place = problem.regions.index(row.region)
        used[:, place, list(row.slot_indices)] += problem.demand[at][:, None]
    in_order = all(
        rows[names[problem.job_ids[first]]].slot_indices[-1] < rows[then].slot_indices[0]
        for first, then in problem.order.tolist()
    )
    return in_order and bool((used <= problem.capacity * (1 + 1e-9)).all())


@settings(max_examples=40, deadline=None)
@given(drawn=small, room=st.integers(4, 9), policy=st.sampled_from(["solve", "lowest_slot"]))
def test_brute_force_confirms_runner_ups_and_best_places(
    drawn: list[tuple[Any, ...]], room: int, policy: str
) -> None:
    jobs: list[Job] = []
    for index, (vcpus, hours, release, spare, pieces, waits, data_gb) in enumerate(drawn):
        jobs.append(
            job(
                f"j{index}",
                vcpus=float(vcpus),
                duration_s=hours * HOUR_S,
                release_s=min(release, 8 - hours) * HOUR_S,
                deadline_s=min(8, min(release, 8 - hours) + hours + spare) * HOUR_S,
                suspendable=pieces,
                data_gb=data_gb,
                after=(f"j{index - 1}",) if waits and index % 3 == 2 else (),
            )
        )
    sites = fleet(float(room), room / 2 + 1)
    try:
        problem = build_problem(jobs, sites, CURVES, GRID)
        plan = solve(problem) if policy == "solve" else make_policy(policy).plan(problem)
    except Infeasible:
        return
    made = explain_all(problem, plan, plan)
    for one, item in enumerate(made):
        every = spots(problem, one)
        grams = {where: problem.cost_g(one, where[0], where[1]) for where in every}
        here = problem.regions.index(plan.assignments[one].region)
        there = [grams[where] for where in every if where[0] != here and in_room(problem, plan, one, *where)]
        assert item.runner_up_g == pytest.approx(min(there, default=float("inf")), rel=1e-9)
        assert item.unlimited_g == pytest.approx(min(grams.values()), rel=1e-9)
        best = (problem.regions.index(item.unlimited_region), item.unlimited_slots)
        assert grams[best] == pytest.approx(item.unlimited_g, rel=1e-9)
        if plan.assignments[one].total_g > item.unlimited_g * (1 + 1e-9) + 1e-9:
            # Named limits and neighbours are there just when the best place can't be taken.
            assert bool(item.limits or item.held_by) == (not in_room(problem, plan, one, *best))
    said(jobs, sites, plan, plan, problem)


# ---------------------------------------------------------------- what is wrong is refused
JOBS = crowd()
PROBLEM = build_problem(JOBS, SITES, CURVES, GRID)
PLAN = solve(PROBLEM)
NO_WAIT = make_policy("no_wait").plan(PROBLEM)
MADE = explain_all(PROBLEM, PLAN, NO_WAIT)


def of(kind: str) -> int:
    """The first explanation of a kind."""
    return next(at for at, item in enumerate(MADE) if getattr(item, kind))


def put(at: int, **change: Any) -> tuple[Explanation, ...]:
    return (*MADE[:at], replace(MADE[at], **change), *MADE[at + 1 :])


def test_what_is_right_passes() -> None:
    found = said(JOBS, SITES, PLAN, NO_WAIT, PROBLEM)
    assert (found.jobs, found.limited) == (len(JOBS), sum(bool(item.limits) for item in MADE))
    assert found.limited > 0


@pytest.mark.parametrize(
    ("kind", "change", "words"),
    [
        ("runner_up_region", {"runner_up_g": 1e-3}, "in the best other region, not 0.001 g"),
        ("runner_up_region", {"runner_up_region": ""}, "has the runner-up ''"),
        ("runner_up_region", {"runner_up_region": "r9"}, "in 'r9'"),
        ("job_id", {"unlimited_g": 0.0}, "g alone, not 0.0 g"),
        ("job_id", {"unlimited_region": "r9"}, "can't run in 'r9'"),
        ("job_id", {"unlimited_slots": (0, 7)}, "can't run in"),
        ("job_id", {"unlimited_slots": ()}, "can't run in"),
        ("limits", {"limits": ()}, r"full in its best place, not \[\]"),
        ("job_id", {"counterfactual_g": 0.1}, "by the baseline, not 0.1 g"),
        ("job_id", {"held_by": ("j1",)}, "is held by"),
    ],
)
def test_false_explanations_are_found(kind: str, change: dict[str, Any], words: str) -> None:
    with pytest.raises(PlanRefused, match=words):
        said(JOBS, SITES, PLAN, NO_WAIT, PROBLEM, explanations=put(of(kind), **change))


def test_a_millionth_more_is_found_and_a_billionth_is_not() -> None:
    right_g = MADE[0].counterfactual_g
    with pytest.raises(PlanRefused, match="by the baseline"):
        said(JOBS, SITES, PLAN, NO_WAIT, PROBLEM, explanations=put(0, counterfactual_g=right_g * (1 + 3e-6)))
    said(JOBS, SITES, PLAN, NO_WAIT, PROBLEM, explanations=put(0, counterfactual_g=right_g * (1 + 1e-9)))


def test_false_limits_and_caps_are_found() -> None:
    at = of("limits")
    limit = replace(MADE[at].limits[0], resource="gpus")
    with pytest.raises(PlanRefused, match="gpus"):
        said(JOBS, SITES, PLAN, NO_WAIT, PROBLEM, explanations=put(at, limits=(limit,)))
    caps = cap_costs(PROBLEM, PLAN)
    for change, words in (
        ({"worth_g": caps[0].worth_g + 1e-3}, "the cap of"),
        ({"g_per_more_vcpu": 0.0}, "g/vCPU, not"),
        ({"binding_slots": 99}, "binds in"),
        ({"fullest_slots": caps[0].fullest_slots[::-1]}, "the dearest"),
        ({"region": "r9"}, "is no region of the fleet"),
    ):
        with pytest.raises(PlanRefused, match=words):
            said(JOBS, SITES, PLAN, NO_WAIT, PROBLEM, caps=(replace(caps[0], **change), *caps[1:]))
    with pytest.raises(PlanRefused, match="no cap is named for"):
        said(JOBS, SITES, PLAN, NO_WAIT, PROBLEM, caps=caps[1:])


def test_explanations_of_other_jobs_and_prices_that_prove_too_much_are_found() -> None:
    with pytest.raises(PlanRefused, match="one by one"):
        said(JOBS, SITES, PLAN, NO_WAIT, PROBLEM, explanations=MADE[1:])
    false = tuple(replace(row, operational_g=row.operational_g * 0.9) for row in PLAN.assignments)
    with pytest.raises(PlanRefused) as caught:
        said(JOBS, SITES, replace(PLAN, assignments=false), NO_WAIT, PROBLEM, explanations=MADE)
    faults: Any = caught.value.value
    assert any(words.startswith("the prices prove") for words in faults)


def test_the_order_of_jobs_is_named_where_it_keeps_a_job_from_its_best_place() -> None:
    jobs = [
        job("a", duration_s=2 * HOUR_S, allowed_regions=("r0",)),
        job("b", allowed_regions=("r0",), after=("a",)),
    ]
    problem = build_problem(jobs, SITES, CURVES, GRID)
    plan = solve(problem)
    made = explain_all(problem, plan, plan)
    assert [(item.limits, item.held_by) for item in made] in (
        [((), ("b",)), ((), ())],
        [((), ()), ((), ("a",))],
    )
    assert any("the order with" in item.reason for item in made)
    said(jobs, SITES, plan, plan, problem)
    with pytest.raises(PlanRefused, match="which is not named"):
        said(jobs, SITES, plan, plan, problem, explanations=tuple(replace(item, held_by=()) for item in made))


def test_a_best_place_that_is_free_is_told_as_left_by_the_search() -> None:
    jobs = [job("a")]
    problem = build_problem(jobs, SITES, CURVES, GRID)
    late = make_policy("no_wait").plan(problem)
    (made,) = explain_all(problem, late, late)
    assert (made.limits, made.held_by) == ((), ())
    assert "is free" in made.reason
    confirm(jobs, SITES, CURVES, GRID, late, baseline=late, explanations=(made,))

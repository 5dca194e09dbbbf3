"""The validator finds every kind of fault that is planted in a good plan."""

from __future__ import annotations

from dataclasses import replace

import pytest

from aicsched.domain.placement import Certificate, Placement
from aicsched.errors import PlanRefused
from aicsched.place.check import check
from aicsched.place.problem import build_problem
from aicsched.place.solve import solve
from aicsched.slots import HOUR_S, SlotGrid
from tests.place_kit import CURVES, GRID, crowd, fleet, job, shifted

JOBS = [
    job("first", duration_s=2 * HOUR_S, release_s=HOUR_S, deadline_s=6 * HOUR_S, allowed_regions=("r0",)),
    job("second", vcpus=2.0),
    job("fixed", deferrable=False, release_s=2 * HOUR_S),
]
SITES = fleet(3.0, 3.0)


@pytest.fixture
def plan() -> Placement:
    return solve(build_problem(JOBS, SITES, CURVES, GRID))


def test_a_good_plan_passes_and_its_total_is_recomputed(plan: Placement) -> None:
    report = check(JOBS, SITES, CURVES, GRID, plan)
    assert report.jobs == 3
    assert report.total_g == pytest.approx(plan.total_g, rel=1e-12)
    assert 0 < report.fullest_share <= 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"region": "nowhere"}, "no region of the fleet"),
        ({"region": "r1"}, "may not run in 'r1'"),
        ({"slot_indices": (0, 1)}, "starts before its release"),
        ({"slot_indices": (6, 7)}, "ends after its deadline"),
        ({"slot_indices": (7, 8)}, "outside the grid"),
        ({"slot_indices": (-1, 0)}, "outside the grid"),
        ({"slot_indices": ()}, "outside the grid"),
        ({"slot_indices": (3,)}, "has 1 slots"),
        ({"slot_indices": (2, 4)}, "interrupted but can't be suspended"),
        ({"slot_indices": (4, 3)}, "out of order"),
        ({"operational_g": 1.0}, "the plan says"),
        ({"transfer_g": 1.0}, "the plan says"),
        ({"job_id": "stranger"}, "not in the queue"),
        ({"job_id": "second"}, "2 distinct"),
    ],
)
def test_planted_faults_are_found(plan: Placement, change: dict[str, object], words: str) -> None:
    with pytest.raises(PlanRefused, match=words):
        check(JOBS, SITES, CURVES, GRID, shifted(plan, **change))


def test_a_job_that_can_not_wait_must_not(plan: Placement) -> None:
    rows = (*plan.assignments[:2], replace(plan.assignments[2], slot_indices=(4,)))
    with pytest.raises(PlanRefused, match="can't be deferred"):
        check(JOBS, SITES, CURVES, GRID, replace(plan, assignments=rows))


def test_too_much_in_one_place_is_found(plan: Placement) -> None:
    with pytest.raises(PlanRefused, match="holds"):
        check(JOBS, fleet(1.5, 1.5), CURVES, GRID, plan)


def test_a_missing_job_and_another_grid_are_found(plan: Placement) -> None:
    with pytest.raises(PlanRefused, match="2 assignments"):
        check(JOBS, SITES, CURVES, GRID, replace(plan, assignments=plan.assignments[:2]))
    with pytest.raises(PlanRefused, match="another grid"):
        check(JOBS, SITES, CURVES, SlotGrid(0, HOUR_S, 9), plan)


@pytest.mark.parametrize(
    ("proof", "words"),
    [
        (
            Certificate(status="bounded", objective_g=1.0, lower_bound_g=0.5, method="m"),
            "the certificate says",
        ),
        (Certificate(status="bounded", objective_g=0.0, lower_bound_g=1e9, method="m"), "lies above"),
    ],
)
def test_a_false_proof_is_found(plan: Placement, proof: Certificate, words: str) -> None:
    with pytest.raises(PlanRefused, match=words):
        check(JOBS, SITES, CURVES, GRID, replace(plan, certificate=proof))


def test_a_false_claim_of_optimality_is_found(plan: Placement) -> None:
    proof = replace(plan.certificate, status="optimal", lower_bound_g=plan.total_g * 0.9)
    with pytest.raises(PlanRefused, match="says optimal"):
        check(JOBS, SITES, CURVES, GRID, replace(plan, certificate=proof))


def test_many_faults_are_counted() -> None:
    jobs = crowd()
    good = solve(build_problem(jobs, fleet(24.0, 24.0), CURVES, GRID))
    with pytest.raises(PlanRefused, match=r"and .* more"):
        check(jobs, fleet(1.0, 1.0), CURVES, GRID, good)

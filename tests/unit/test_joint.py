"""Services and jobs in one plan: near the optimum of the whole programme, and alive after any loss."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from aicsched.domain.job import Job
from aicsched.errors import ConfigError, Infeasible, InputError, PlanRefused
from aicsched.place.check import check
from aicsched.place.joint import GivesWay, JointPlan, JointProblem, ReserveFor, build_joint, solve_joint
from aicsched.place.joint.check import check_joint, check_losses
from aicsched.slots import HOUR_S
from tests.joint_kit import World, by_branch_and_bound, joint, world

RULES = [(GivesWay.SUSPENDABLE, ReserveFor.PEAK), (GivesWay.ALL, ReserveFor.PEAK),
         (GivesWay.NONE, ReserveFor.PEAK), (GivesWay.NONE, ReserveFor.DEMAND)]  # fmt: skip


def planned(made: World, *rules: str, gap: float = 0.005) -> JointPlan:
    return solve_joint(joint(made, GivesWay(rules[0]), ReserveFor(rules[1])), gap=gap)


# ---------------------------------------------------------------- against the whole programme
@pytest.mark.parametrize(("gives_way", "reserve_for"), RULES)
@pytest.mark.parametrize("seed", [1, 4])
def test_small_plans_are_near_the_optimum_and_bounds_below_it(
    seed: int, gives_way: GivesWay, reserve_for: ReserveFor
) -> None:
    made = world(4, 6, 4, 6, seed=seed, room=1.9, groups=3 if seed % 2 else 0)
    problem = joint(made, gives_way, reserve_for)
    best_g = by_branch_and_bound(problem)
    assert best_g is not None
    plan = solve_joint(problem, gap=0.0)
    found = check_joint(*made, plan)
    assert found.total_g == pytest.approx(plan.total_g, rel=1e-7)
    assert best_g * (1 - 1e-7) <= plan.total_g <= best_g * 1.01
    assert best_g * 0.97 <= plan.certificate.lower_bound_g <= best_g * (1 + 1e-7)
    assert found.losses == len(problem.services.groups) * 6
    assert found.served == found.losses * 4
    assert found.firm_jobs == int(problem.firm.sum())


def test_the_rules_of_the_reserve_order_the_plans() -> None:
    made = world(4, 5, 4, 5, seed=2, room=1.6)
    best = {rules: by_branch_and_bound(joint(made, *rules)) for rules in RULES}
    values = [best[rule] for rule in (RULES[1], RULES[0], RULES[2])]
    assert all(value is not None for value in values)
    assert values == sorted(values, key=lambda value: value or 0.0)
    assert (values[2] or 0.0) > (values[0] or 0.0) * 1.05


def test_an_empty_world_lets_everyone_do_what_is_best_alone() -> None:
    plan = planned(world(5, 8, 4, 8, room=12.0), "suspendable", "peak")
    assert plan.certificate.status == "optimal"
    assert plan.certificate.gap == 0
    assert plan.certificate.method == "each service and job alone"
    assert not plan.work_g_per_vcpu_h.any()
    assert not plan.firm_g_per_vcpu_h.any()


# ---------------------------------------------------------------- larger ones
@pytest.fixture(scope="module")
def crowded() -> tuple[World, JointPlan]:
    made = world(40, 90, 5, 12, seed=5, room=1.7)
    return made, planned(made, "suspendable", "peak")


def test_a_crowded_plan_is_proven_and_outlives_every_loss(crowded: tuple[World, JointPlan]) -> None:
    made, plan = crowded
    found = check_joint(*made, plan)
    check(*made[1:], plan.placement, free_vcpus=plan.free_vcpus())
    assert plan.certificate.gap < 0.02
    assert found.served == 5 * 12 * 40
    assert found.least_spare_vcpus > -1e-6
    assert found.yielded_vcpus > 0  # jobs do sit in the reserve
    assert plan.firm_g_per_vcpu_h.max() > 0
    facts = plan.facts()
    assert facts["services_g"] + facts["batch_g"] == pytest.approx(facts["objective_g"])
    assert facts["firm_jobs"] + found.yielding_jobs == 90


def test_equal_input_gives_an_equal_plan(crowded: tuple[World, JointPlan]) -> None:
    made, plan = crowded
    again = planned(made, "suspendable", "peak")
    assert again.placement == plan.placement
    assert again.certificate == plan.certificate
    assert again.services.reserved_vcpus.tobytes() == plan.services.reserved_vcpus.tobytes()


def test_planning_together_beats_services_first() -> None:
    made = world(20, 30, 4, 12, seed=7, room=1.6)
    problem = joint(made, GivesWay.NONE, ReserveFor.PEAK)
    from aicsched.place.failover import solve_failover
    from aicsched.place.solve import solve

    alone = solve_failover(problem.services)
    rest = problem.left(alone.used_vcpus, alone.reserved_vcpus)
    first_g = alone.total_g * problem.hours + solve(rest, gap=0.0025).total_g
    plan = solve_joint(problem)
    check_joint(*made, plan)
    assert plan.total_g < first_g * 0.999
    assert plan.certificate.lower_bound_g <= first_g


# ---------------------------------------------------------------- the validator
def _with_services(plan: JointPlan, **change: np.ndarray) -> JointPlan:
    return replace(plan, services=replace(plan.services, **change))


def test_a_plan_that_does_not_outlive_a_loss_is_refused(crowded: tuple[World, JointPlan]) -> None:
    _, plan = crowded
    less = plan.services.reserved_vcpus.copy()
    row, at = np.argwhere(less > plan.services.used_vcpus)[0]
    less[row, at] = plan.services.used_vcpus[row, at]
    with pytest.raises(PlanRefused, match="is lost"):
        check_losses(_with_services(plan, reserved_vcpus=less))


def test_firm_jobs_in_the_reserve_are_refused(crowded: tuple[World, JointPlan]) -> None:
    _, plan = crowded
    # The same plan under a rule by which no job gives way: some sit in the reserve.
    strict = replace(plan, problem=replace(plan.problem, gives_way=GivesWay.NONE))
    with pytest.raises(PlanRefused, match=r"holds .* of .* vCPUs in slot .* is lost"):
        check_losses(strict)


def test_more_than_there_is_and_wrong_proofs_are_refused(crowded: tuple[World, JointPlan]) -> None:
    made, plan = crowded
    services = plan.problem.services
    tight = replace(services, capacity_vcpus=services.capacity_vcpus * 0.98)
    smaller = replace(plan, problem=replace(plan.problem, services=tight))
    with pytest.raises(PlanRefused, match="before any loss"):
        check_losses(smaller)
    with pytest.raises(PlanRefused, match="of another problem"):
        check_joint(*made, smaller)
    proof = plan.certificate
    for wrong in ({"objective_g": proof.objective_g * 1.01}, {"lower_bound_g": proof.objective_g * 1.01}):
        with pytest.raises(PlanRefused, match="g"):
            check_losses(replace(plan, certificate=replace(proof, **wrong)))


# ---------------------------------------------------------------- refusals
def test_what_can_not_be_is_refused() -> None:
    made = world(4, 4, 4, 6, seed=0, room=2.0)
    problem = joint(made, GivesWay.NONE, ReserveFor.PEAK)
    with pytest.raises(ConfigError, match="gap"):
        solve_joint(problem, gap=1.5)
    with pytest.raises(InputError, match="share"):
        replace(problem, share=problem.share[:, :2])
    other = replace(problem.batch, regions=tuple(f"x{name}" for name in problem.batch.regions))
    with pytest.raises(InputError, match="different regions"):
        JointProblem(services=problem.services, batch=other, share=problem.share)
    services, _, fleet, curves, slots = made
    wide = max(region.capacity_vcpus for region in fleet.regions)
    large = Job(
        job_id="large", vcpus=wide, duration_s=6 * HOUR_S, release_s=0, deadline_s=6 * HOUR_S,
        home_region="r0",
    )  # fmt: skip
    crowd = build_joint(services, [large], fleet, curves, slots, gives_way=GivesWay.NONE)
    assert by_branch_and_bound(crowd) is None
    with pytest.raises(Infeasible, match="beside the services"):
        solve_joint(crowd)

"""An independent validator of joint plans: slow, plain, and sharing no code with the solver.

It loses every failure group in every slot, and counts threads in the regions that
survive: what each service still holds there, and whether that and the firm jobs fit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.errors import PlanRefused
from aicsched.place.check import check
from aicsched.place.failover.check import check_failover

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from aicsched.domain.fleet import Fleet
    from aicsched.domain.forecast import Forecast
    from aicsched.domain.job import Job
    from aicsched.domain.service import Service
    from aicsched.place.joint.plan import JointPlan
    from aicsched.slots import SlotGrid

    Floats = NDArray[np.float64]

__all__ = ["SurvivalReport", "check_joint", "check_losses"]

_RELATIVE: Final = 1e-7
_FAULTS_SHOWN: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class SurvivalReport:
    """What the validator worked out.

    Parameters
    ----------
    losses : int
        Groups × slots that were lost.
    served : int
        Pairs of a loss and a service that lives on.
    firm_jobs, yielding_jobs : int
        Jobs that keep running in the regions that survive, and jobs that may have to give way.
    yielded_vcpus : float
        Most threads that jobs must give up in the surviving regions in any loss.
    least_spare_vcpus : float
        Smallest room left in any surviving region in any loss, its reserve and firm jobs counted.
    total_g : float
        Emissions of the plan, recomputed [g].
    """

    losses: int
    served: int
    firm_jobs: int
    yielding_jobs: int
    yielded_vcpus: float
    least_spare_vcpus: float
    total_g: float


def _job_loads(plan: JointPlan) -> tuple[Floats, Floats]:
    """Return threads of all jobs and of firm ones, each (R, T), counted one by one."""
    batch, rule = plan.problem.batch, str(plan.problem.gives_way)
    place = {name: index for index, name in enumerate(batch.regions)}
    everyone = np.zeros((len(batch.regions), len(batch.slots)))
    firm = np.zeros(everyone.shape)
    for index, row in enumerate(plan.placement.assignments):
        vcpus = float(batch.demand[index][0])
        stays = rule == "none" or (rule == "suspendable" and not bool(batch.suspendable[index]))
        for slot in row.slot_indices:
            everyone[place[row.region], slot] += vcpus
            if stays:
                firm[place[row.region], slot] += vcpus
    return everyone, firm


def _service_loads(plan: JointPlan) -> tuple[Floats, Floats]:
    """Return threads of services at work, and what firm jobs leave to them, each (R, T)."""
    problem = plan.problem
    used = np.zeros((len(problem.batch.regions), len(problem.batch.slots)))
    held = np.zeros(used.shape)
    for row in range(len(problem.services.service_ids)):
        share = problem.share[row]
        kept = share if str(problem.reserve_for) == "demand" else np.ones(len(share))
        for at, region in enumerate(problem.services.allowed[row]):
            if region >= 0:
                used[region] += float(plan.services.used_vcpus[row, at]) * share
                held[region] += float(plan.services.reserved_vcpus[row, at]) * kept
    return used, held


def _stranded(plan: JointPlan, group: int) -> tuple[int, list[str]]:
    """Return how many slots of services are covered without one group, and which are not."""
    problem = plan.problem.services
    served, faults = 0, list[str]()
    peak = str(plan.problem.reserve_for) != "demand"
    for row, name in enumerate(problem.service_ids):
        alive = math.fsum(
            float(plan.services.reserved_vcpus[row, at])
            for at, region in enumerate(problem.allowed[row])
            if region >= 0 and int(problem.group[region]) != group
        )
        share = plan.problem.share[row]
        needs = float(problem.demand_vcpus[row]) * share
        there = alive * (np.ones(len(share)) if peak else share)
        short = there < needs - _RELATIVE * float(problem.demand_vcpus[row])
        served += int((~short).sum())
        if short.any():
            slot = int(np.argmax(short))
            lost = problem.groups[group]
            faults.append(
                f"service '{name}' has {there[slot]:g} of {needs[slot]:g} vCPUs in slot {slot} when"
            )
            faults[-1] += f" '{lost}' is lost"
    return served, faults


def _too_full(plan: JointPlan, load: Floats, room: Floats, words: str) -> Iterator[str]:
    names = plan.problem.batch.regions
    for region, slot in np.argwhere(load > room * (1 + 2 * _RELATIVE)).tolist():
        held, there = load[region, slot], room[region, slot]
        yield f"region '{names[region]}' holds {held:g} of {there:g} vCPUs in slot {slot} {words}"


def _proof_faults(plan: JointPlan, total_g: float) -> Iterator[str]:
    proof = plan.certificate
    if abs(proof.objective_g - total_g) > _RELATIVE * max(abs(total_g), 1e-12):
        yield f"the certificate says {proof.objective_g!r} g, the plan emits {total_g!r} g"
    if proof.lower_bound_g > proof.objective_g + _RELATIVE * abs(proof.objective_g):
        yield f"the bound {proof.lower_bound_g!r} g lies above the plan's {proof.objective_g!r} g"


def check_losses(plan: JointPlan) -> SurvivalReport:
    """Lose every failure group in every slot, by the columns that the plan was made of.

    Parameters
    ----------
    plan : JointPlan
        With what was asked.

    Returns
    -------
    SurvivalReport
        The proof that each loss is survivable.

    Raises
    ------
    PlanRefused
        A service isn't covered in some loss, or its reserve and the firm jobs don't fit; a region holds
        more than it has when nothing is lost; grams are off by more than 1e-7, or the bound is no bound.
    """
    problem = plan.problem
    groups = problem.services.groups
    jobs, firm = _job_loads(plan)
    used, held = _service_loads(plan)
    room = np.array([[float(most)] * jobs.shape[1] for most in problem.services.capacity_vcpus])
    faults = list(_too_full(plan, used + jobs, room, "before any loss"))
    served, yielded, least = 0, 0.0, math.inf
    for group, name in enumerate(groups):
        alive, stranded = _stranded(plan, group)
        served, faults = served + alive, faults + stranded
        left = np.array([int(other) != group for other in problem.services.group])
        if not left.any():
            continue
        faults += list(_too_full(plan, (held + firm) * left[:, None], room, f"when '{name}' is lost"))
        least = min(least, float((room - held - firm)[left].min()))
        over = np.maximum(0.0, held + jobs - room)[left].sum(axis=0)
        yielded = max(yielded, float(over.max()))
    grams = check_failover(plan.services).total_g * len(problem.batch.slots) * problem.batch.slots.step_h
    total_g = math.fsum([grams, *(row.operational_g + row.transfer_g for row in plan.placement.assignments)])
    faults += _proof_faults(plan, total_g)
    if faults:
        more = f" and {len(faults) - _FAULTS_SHOWN} more" if len(faults) > _FAULTS_SHOWN else ""
        msg = f"the joint plan breaks its limits: {'; '.join(faults[:_FAULTS_SHOWN])}{more}"
        raise PlanRefused(msg, hint="this is a defect: report it with the problem", value=faults)
    stay = {"all": 0, "none": len(problem.batch.job_ids)}
    kept = stay.get(str(problem.gives_way), int((~problem.batch.suspendable).sum()))
    return SurvivalReport(
        losses=len(groups) * jobs.shape[1],
        served=served,
        firm_jobs=kept,
        yielding_jobs=len(problem.batch.job_ids) - kept,
        yielded_vcpus=yielded,
        least_spare_vcpus=least,
        total_g=total_g,
    )


def check_joint(
    services: Sequence[Service],
    jobs: Sequence[Job],
    fleet: Fleet,
    forecasts: Mapping[str, Forecast],
    slots: SlotGrid,
    plan: JointPlan,
) -> SurvivalReport:
    """Validate a joint plan against what the user gave.

    Parameters
    ----------
    services : sequence of Service
        Always-on work.
    jobs : sequence of Job
        The queue.
    fleet : Fleet
        Regions and machines.
    forecasts : mapping of str to Forecast
        Per grid zone.
    slots : SlotGrid
        The planning grid.
    plan : JointPlan
        The plan.

    Returns
    -------
    SurvivalReport
        As of `check_losses`.

    Raises
    ------
    PlanRefused
        As of `check_losses` and `aicsched.place.check.check`; or the plan counted other demands, shares,
        groups or threads than the user gave.
    """
    check(jobs, fleet, forecasts, slots, plan.placement)
    problem, faults = plan.problem, list[str]()
    threads = {region.name: 0.0 for region in fleet.regions}
    for node in fleet.nodes:
        threads[node.region] += node.vcpus
    for index, region in enumerate(fleet.regions):
        most = threads[region.name] or region.capacity_vcpus
        group = problem.services.groups[int(problem.services.group[index])]
        if problem.services.capacity_vcpus[index] != most or group != (region.failure_group or region.name):
            faults.append(f"region '{region.name}' has {most:g} threads, or another failure group")
    if [item.service_id for item in services] != list(problem.services.service_ids):
        faults.append("the plan is of other services")
    for item, demand, share in zip(services, problem.services.demand_vcpus, problem.share, strict=False):
        if item.vcpus != demand or not np.array_equal(item.share_in(slots), share):
            faults.append(f"service '{item.service_id}' needs other threads than were planned")
    if [item.suspendable for item in jobs] != problem.batch.suspendable.tolist():
        faults.append("other jobs are suspendable than were planned")
    if faults:
        msg = f"the joint plan is of another problem: {'; '.join(faults[:_FAULTS_SHOWN])}"
        raise PlanRefused(msg, hint="check it with what it was built from", value=faults)
    return check_losses(plan)

"""A joint plan as the main job makes it: solved, and each loss of a failure group lived through."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from aicsched.errors import InputError
from aicsched.place.failover.problem import build_failover
from aicsched.place.joint.check import SurvivalReport, check_joint
from aicsched.place.joint.problem import GivesWay, JointProblem
from aicsched.place.joint.solve import solve_joint
from aicsched.units import format_mass

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aicsched.domain.fleet import Fleet
    from aicsched.domain.forecast import Forecast
    from aicsched.domain.job import Job
    from aicsched.domain.service import Service
    from aicsched.place.joint.plan import JointPlan
    from aicsched.place.problem import Problem

__all__ = ["ProvenPlan", "plan_beside"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ProvenPlan:
    """Services and jobs in one plan, with the proof that each loss is survivable.

    Parameters
    ----------
    plan : JointPlan
        What was planned.
    survival : SurvivalReport
        What the independent validator counted.
    """

    plan: JointPlan
    survival: SurvivalReport

    def notes(self) -> tuple[str, ...]:
        """Return what a reader of the plan must know.

        Returns
        -------
        tuple of str
            Sentences.
        """
        count = len(self.plan.problem.services.service_ids)
        gap = self.plan.certificate.gap
        known = f"at most {gap:.2%} from optimal" if gap < float("inf") else "without a bound"
        outlive = f"{count} services outlive each of {self.survival.losses} losses (every failure group in"
        emit = f"with jobs they emit {format_mass(self.plan.total_g)}, {known}"
        return (
            f"{outlive} every slot), validated one by one; {emit}",
            f"{self.survival.yielding_jobs} jobs may have to give way, {self.survival.firm_jobs} never do",
            "the other figures of this plan are of the jobs alone, in the room that services leave",
        )

    def facts(self) -> dict[str, Any]:
        """Return the facts as plain values.

        Returns
        -------
        dict
            What `JointPlan.facts` tells, ``proof`` (what the validator counted) and ``reserved_vcpus`` by
            region, threads at work included.
        """
        services = self.plan.services
        held = services.in_regions(services.reserved_vcpus)
        return self.plan.facts() | {
            "survives_every_loss": True,
            "proof": asdict(self.survival),
            "reserved_vcpus": dict(zip(self.plan.problem.batch.regions, held.tolist(), strict=True)),
        }


def _rule(name: str) -> GivesWay:
    if name not in set(GivesWay):
        msg = f"'{name}' says not which jobs give way"
        raise InputError(msg, hint=f"use {', '.join(GivesWay)}", value=name)
    return GivesWay(name)


def plan_beside(  # noqa: PLR0913 - what both are built from, and how to plan
    services: Sequence[Service],
    batch: Problem,
    jobs: Sequence[Job],
    fleet: Fleet,
    forecasts: Mapping[str, Forecast],
    *,
    gives_way: str = GivesWay.SUSPENDABLE,
    gap: float = 0.005,
    seed: int = 0,
) -> ProvenPlan:
    """Plan jobs beside services, and prove that each loss is survivable.

    Parameters
    ----------
    services : sequence of Service
        Always-on work.
    batch : Problem
        The jobs, built from the next three.
    jobs : sequence of Job
        The queue.
    fleet : Fleet
        Where both run.
    forecasts : mapping of str to Forecast
        Per grid zone.
    gives_way : {"suspendable", "all", "none"}
        Which jobs may sit in the reserve.
    gap : float
        Stop when (plan - bound) / bound is at most this.
    seed : int
        Of samples and repairs.

    Returns
    -------
    ProvenPlan
        That the independent validator has passed.

    Raises
    ------
    AicschedError
        An unknown rule, or what `build_failover` and `solve_joint` refuse.
    """
    slots = batch.slots
    asked = JointProblem(
        services=build_failover(services, fleet, forecasts, slots),
        batch=batch,
        share=np.array([service.share_in(slots) for service in services]),
        gives_way=_rule(gives_way),
    )
    plan = solve_joint(asked, gap=gap, seed=seed)
    return ProvenPlan(plan=plan, survival=check_joint(services, jobs, fleet, forecasts, slots, plan))

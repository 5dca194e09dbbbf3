"""A joint plan: services with their reserve, jobs beside them, and one proof for both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.domain.placement import Certificate, Placement
    from aicsched.place.failover.plan import FailoverPlan
    from aicsched.place.joint.problem import JointProblem
    from aicsched.place.problem import Problem

__all__ = ["JointPlan"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class JointPlan:
    """Where services work, what stands ready, and where and when jobs run.

    Parameters
    ----------
    problem : JointProblem
        What was asked.
    services : FailoverPlan
        Its certificate is of services alone [g/h].
    placement : Placement
        The jobs; its certificate is of jobs alone in the room that these services leave, its prices say
        what one more thread would save services and jobs together.
    certificate : Certificate
        The proof of both together, over the horizon [g].
    work_g_per_vcpu_h : ndarray, shape (R, T)
        Price of a thread at work: what services and all jobs pay.
    firm_g_per_vcpu_h : ndarray, shape (R, T)
        Price of a thread outside the reserve: what the reserve and firm jobs pay, on top.
    """

    problem: JointProblem
    services: FailoverPlan
    placement: Placement
    certificate: Certificate
    work_g_per_vcpu_h: NDArray[np.float64]
    firm_g_per_vcpu_h: NDArray[np.float64]

    @property
    def total_g(self) -> float:
        """Emissions of services, reserve and jobs over the horizon [g]."""
        return self.certificate.objective_g

    def batch_problem(self) -> Problem:
        """Return the jobs in the room that services leave.

        Returns
        -------
        Problem
            What the placement is a plan of.
        """
        return self.problem.left(self.services.used_vcpus, self.services.reserved_vcpus)

    def free_vcpus(self) -> dict[str, list[float]]:
        """Return what services leave to all jobs together.

        Returns
        -------
        dict of str to list of float
            Threads by region, a slot each.
        """
        return dict(
            zip(self.problem.batch.regions, self.batch_problem().capacity_vcpus.tolist(), strict=True)
        )

    def facts(self) -> dict[str, Any]:
        """Return the plan's facts as plain values.

        Returns
        -------
        dict
            ``objective_g``, ``lower_bound_g``, ``gap`` of services and jobs together, their parts,
            and the rules of the reserve.
        """
        proof = self.certificate
        return {
            "services": len(self.problem.services.service_ids),
            "failure_groups": list(self.problem.services.groups),
            "gives_way": str(self.problem.gives_way),
            "reserve_for": str(self.problem.reserve_for),
            "firm_jobs": int(self.problem.firm.sum()),
            "objective_g": proof.objective_g,
            "lower_bound_g": proof.lower_bound_g,
            "gap": proof.gap if np.isfinite(proof.gap) else None,
            "services_g": self.services.total_g * self.problem.hours,
            "batch_g": self.placement.total_g,
            "reserve_share": float(
                self.services.spare_vcpus.sum() / self.problem.services.demand_vcpus.sum()
            ),
            "method": proof.method,
        }

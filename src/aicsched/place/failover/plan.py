"""A plan that outlives the loss of any one failure group, with the proof of how good it is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.domain.placement import Certificate
    from aicsched.place.failover.problem import FailoverProblem

__all__ = ["FailoverMode", "FailoverPlan"]


class FailoverMode(StrEnum):
    """Who owns the reserve.

    ``dedicated``, the default: each service holds its own, so that nothing needs to be decided,
    started or fought for when a region is lost. ``shared``: what a service needs after a loss is
    counted once for all losses, since only one group is lost at a time; less hardware, but after a
    loss the reserve must be handed out as planned.
    """

    DEDICATED = "dedicated"
    SHARED = "shared"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FailoverPlan:
    """Where services work, and what stands ready for a loss.

    Parameters
    ----------
    mode : FailoverMode
        Who owns the reserve.
    problem : FailoverProblem
        What was asked; S services with up to K regions each.
    used_vcpus : ndarray, shape (S, K)
        Threads at work in each allowed region at the peak.
    reserved_vcpus : ndarray, shape (S, K)
        Threads held for the service, those at work included.
    moved_vcpus : ndarray, shape (S, K, K)
        Shared mode: what works in the first column and moves to the second when its group is lost;
        of size (S, 0, 0) in dedicated mode, where the reserve says it all.
    spare_vcpus : ndarray, shape (R,)
        Threads of each region kept ready for a loss.
    certificate : Certificate
        The proof; its grams are per hour.
    prices_g_per_vcpu_h : ndarray, shape (R,)
        What one more thread of capacity would save [g/h]: 0 where capacity is no limit.
    """

    mode: FailoverMode
    problem: FailoverProblem
    used_vcpus: NDArray[np.float64]
    reserved_vcpus: NDArray[np.float64]
    moved_vcpus: NDArray[np.float64]
    spare_vcpus: NDArray[np.float64]
    certificate: Certificate
    prices_g_per_vcpu_h: NDArray[np.float64]

    @property
    def total_g(self) -> float:
        """Emissions of work and reserve together [g/h]."""
        return self.certificate.objective_g

    def in_regions(self, vcpus: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum threads of services over regions.

        Parameters
        ----------
        vcpus : ndarray, shape (S, K)
            On the columns of the problem's ``allowed``.

        Returns
        -------
        ndarray, shape (R,)
            Per region.
        """
        known = self.problem.allowed >= 0
        regions = len(self.problem.regions)
        return np.bincount(self.problem.allowed[known], vcpus[known], regions).astype(np.float64)

    def rows(self) -> list[dict[str, Any]]:
        """Return the plan as plain rows.

        Returns
        -------
        list of dict
            One a service and region that it uses or holds: ``service_id``, ``region``, ``used_vcpus``,
            ``reserved_vcpus``; in shared mode ``moves_to``, threads by region when this one is lost.
        """
        made: list[dict[str, Any]] = []
        names = self.problem.regions
        for row, at in np.argwhere(self.reserved_vcpus > 0).tolist():
            region = names[int(self.problem.allowed[row, at])]
            made.append(
                {
                    "service_id": self.problem.service_ids[row],
                    "region": region,
                    "used_vcpus": float(self.used_vcpus[row, at]),
                    "reserved_vcpus": float(self.reserved_vcpus[row, at]),
                }
            )
            if self.mode is FailoverMode.SHARED:
                moved = self.moved_vcpus[row, at]
                there = self.problem.allowed[row].tolist()
                made[-1]["moves_to"] = {names[there[to]]: float(moved[to]) for to in np.flatnonzero(moved)}
        return made

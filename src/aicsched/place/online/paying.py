"""GAIA's policies that look at the bill: use the reserved machines first, or cheap ones that may go.

References
----------
Hanafy et al., ASPLOS'24, doi:10.1145/3620666.3651333.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from aicsched.place.online.plans import Pool, RunPlans
from aicsched.place.online.protocol import ArrivalPolicy
from aicsched.place.online.waiting import CarbonTime

if TYPE_CHECKING:
    from aicsched.place.online.view import Batch

__all__ = ["AllWait", "ResFirst", "SpotFirst", "SpotRes"]

SHORTEST = 0


class AllWait(ArrivalPolicy):
    """Wait for a reserved machine, and take one on demand when the wait is used up."""

    name: ClassVar[str] = "all_wait"

    def plan_arrivals(self, batch: Batch) -> RunPlans:
        """Plan each job for the end of its wait, or sooner on a reserved machine.

        Parameters
        ----------
        batch : Batch
            The arrivals.

        Returns
        -------
        RunPlans
            One open stretch a job, eager.
        """
        plans = RunPlans.starting_at(batch.jobs.arrival_s + batch.jobs.max_wait_s)
        return replace(plans, eager=np.ones(len(plans), dtype=np.bool_))


class _Priced(ArrivalPolicy):
    """Carbon-Time with an eye on the bill."""

    lengths: ClassVar[str] = "queue mean"

    def __init__(self) -> None:
        self.inner = CarbonTime()

    def plan_arrivals(self, batch: Batch) -> RunPlans:
        """Plan as Carbon-Time does, on other machines or sooner.

        Parameters
        ----------
        batch : Batch
            The arrivals.

        Returns
        -------
        RunPlans
            One open stretch a job.
        """
        return self._price(self.inner.plan_arrivals(batch), batch)

    def _price(self, plans: RunPlans, batch: Batch) -> RunPlans:
        raise NotImplementedError


class ResFirst(_Priced):
    """RES-First: plan by Carbon-Time, but begin at once where a reserved machine is free."""

    name: ClassVar[str] = "res_first"

    def _price(self, plans: RunPlans, batch: Batch) -> RunPlans:
        return replace(plans, eager=np.ones(len(batch.jobs), dtype=np.bool_))


class SpotFirst(_Priced):
    """Spot-First: plan by Carbon-Time, and run the jobs of the shortest queue on spot machines."""

    name: ClassVar[str] = "spot_first"

    def _price(self, plans: RunPlans, batch: Batch) -> RunPlans:
        short = batch.jobs.queue == SHORTEST
        return replace(plans, pool=np.where(short, Pool.SPOT, Pool.ANY).astype(np.int8))


class SpotRes(_Priced):
    """Spot-RES: the shortest queue on spot machines, all others as in RES-First."""

    name: ClassVar[str] = "spot_res"

    def _price(self, plans: RunPlans, batch: Batch) -> RunPlans:
        short = batch.jobs.queue == SHORTEST
        return replace(plans, pool=np.where(short, Pool.SPOT, Pool.ANY).astype(np.int8), eager=~short)

"""Services and batch jobs that share threads, as pure data.

In each region and slot two limits hold::

    services at work  +  all batch jobs       <=  threads
    services' reserve +  firm batch jobs      <=  threads

The reserve counts the threads at work too, and fits at its peak in any case. Firm
jobs keep running when another failure group is lost; all other jobs may sit in the
reserve and give way then.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.domain.carbon import frozen_array
from aicsched.errors import InputError
from aicsched.place.failover.problem import build_failover
from aicsched.place.problem import build_problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from aicsched.domain.fleet import Fleet
    from aicsched.domain.forecast import Forecast
    from aicsched.domain.job import Job
    from aicsched.domain.service import Service
    from aicsched.place.failover.problem import FailoverProblem
    from aicsched.place.problem import Problem
    from aicsched.slots import SlotGrid

    Floats = NDArray[np.float64]

__all__ = ["GivesWay", "JointProblem", "ReserveFor", "build_joint"]

FIRM: Final = "firm_vcpus"
QUOTA: Final = "batch_vcpus"
PEAK: Final = "reserved_vcpus"


class GivesWay(StrEnum):
    """Which batch jobs may sit in the reserve, and are stopped when services need it.

    ``suspendable``, the default: those that can be stopped and go on later. ``all``: every job, so
    that a loss may undo work. ``none``: no job; the reserve stays empty until a loss.
    """

    SUSPENDABLE = "suspendable"
    ALL = "all"
    NONE = "none"


class ReserveFor(StrEnum):
    """How much of the reserve is kept free of firm jobs.

    ``peak``, the default: what services need at their peak, in every slot. ``demand``: what they need
    in that slot, which trusts their hourly shares.
    """

    PEAK = "peak"
    DEMAND = "demand"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class JointProblem:
    """Services and jobs in the same regions.

    Parameters
    ----------
    services : FailoverProblem
        S services; its capacity is all threads of each region.
    batch : Problem
        J jobs; its capacity of vCPUs is what jobs may hold together at most, services or not.
    share : ndarray, shape (S, T)
        What each service needs in each slot, as a share of its peak, in [0, 1].
    gives_way : GivesWay
        Which jobs may sit in the reserve.
    reserve_for : ReserveFor
        How much of the reserve firm jobs must leave.

    Raises
    ------
    InputError
        Regions differ, or shares are not S × T numbers in [0, 1].
    """

    services: FailoverProblem
    batch: Problem
    share: Floats
    gives_way: GivesWay = GivesWay.SUSPENDABLE
    reserve_for: ReserveFor = ReserveFor.PEAK

    def __post_init__(self) -> None:
        object.__setattr__(self, "share", frozen_array(self.share))
        if self.services.regions != self.batch.regions:
            msg = "services and batch jobs are planned for different regions"
            raise InputError(msg, hint="build both from the same fleet", value=self.services.regions)
        wanted = (len(self.services.service_ids), len(self.batch.slots))
        if self.share.shape != wanted or not ((self.share >= 0) & (self.share <= 1)).all():
            msg = f"joint problem: share is not {wanted[0]} x {wanted[1]} numbers in 0..1"
            raise InputError(msg, hint="give a row a service, a column a slot", value=self.share.shape)

    @property
    def hours(self) -> float:
        """Length of the horizon [h]."""
        return len(self.batch.slots) * self.batch.slots.step_h

    @property
    def firm(self) -> NDArray[np.bool_]:
        """Jobs that keep running when another failure group is lost, shape (J,)."""
        if self.gives_way is GivesWay.SUSPENDABLE:
            return ~self.batch.suspendable
        return np.full(len(self.batch.job_ids), self.gives_way is GivesWay.NONE)

    def threads(self) -> Floats:
        """Return all threads.

        Returns
        -------
        ndarray, shape (R, T)
            The same in each slot.
        """
        return np.repeat(self.services.capacity_vcpus[:, None], len(self.batch.slots), axis=1)

    def in_regions(self, vcpus: Floats, share: Floats) -> Floats:
        """Sum threads of services by region and slot.

        Parameters
        ----------
        vcpus : ndarray, shape (S, K)
            On the columns of the services' ``allowed``, at their peak.
        share : ndarray, shape (S, T)
            What of it counts in each slot.

        Returns
        -------
        ndarray, shape (R, T)
            Threads.
        """
        made = np.zeros((len(self.services.regions), len(self.services.service_ids)))
        for at in range(vcpus.shape[1]):
            row = np.flatnonzero(self.services.allowed[:, at] >= 0)
            made[self.services.allowed[row, at], row] += vcpus[row, at]
        return made @ share

    def _with(self, rooms: Sequence[tuple[str, Floats, Floats]]) -> Problem:
        """Return the jobs under other limits of threads: name, each job's demand and the room."""
        batch, vcpus = self.batch, self.batch.vcpus
        return replace(
            batch,
            resources=("vcpus", *batch.resources[1:], *(name for name, _, _ in rooms[1:])),
            demand=np.column_stack([vcpus, batch.demand[:, 1:], *(held for _, held, _ in rooms[1:])]),
            capacity=np.concatenate(
                [rooms[0][2][None], batch.capacity[1:], *(room[None] for _, _, room in rooms[1:])]
            ),
        )

    def together(self) -> Problem:
        """Return the jobs under the limits that services share: threads, and those outside the reserve.

        Returns
        -------
        Problem
            Resource 0 is all threads, resource ``firm_vcpus`` counts firm jobs and reserve. Services take
            of them by `service_limits`.
        """
        vcpus, threads = self.batch.vcpus, self.threads()
        rooms = [("vcpus", vcpus, threads), (FIRM, np.where(self.firm, vcpus, 0.0), threads)]
        if self.reserve_for is ReserveFor.DEMAND:
            # What firm jobs may borrow in some slots stands at its peak all the same: counted in the first.
            rooms.append((PEAK, np.zeros(len(vcpus)), threads))
        if (self.batch.capacity_vcpus < threads).any():
            rooms.append((QUOTA, vcpus, self.batch.capacity_vcpus))
        return self._with(rooms)

    def service_limits(self) -> tuple[tuple[str, bool, Floats], ...]:
        """Return which limits of `together` services share.

        Returns
        -------
        tuple of (str, bool, ndarray of shape (S, T))
            The resource, whether the reserve counts or the threads at work, and what of it in each slot.
        """
        reserve = np.ones(self.share.shape) if self.reserve_for is ReserveFor.PEAK else self.share
        limits = (("vcpus", False, self.share), (FIRM, True, reserve))
        if self.reserve_for is ReserveFor.PEAK:
            return limits
        first = np.zeros(self.share.shape)
        first[:, 0] = 1.0
        return (*limits, (PEAK, True, first))

    def left(self, used: Floats, reserved: Floats) -> Problem:
        """Return the jobs in the room that services leave.

        Parameters
        ----------
        used, reserved : ndarray, shape (S, K)
            What services do.

        Returns
        -------
        Problem
            A problem of jobs alone.
        """
        threads = self.threads()
        beside = np.maximum(0.0, threads - self.in_regions(used, self.share))
        outside = np.maximum(0.0, threads - self.in_regions(reserved, self.service_limits()[1][2]))
        firm = np.where(self.firm, self.batch.vcpus, 0.0)
        return self._with(
            [
                ("vcpus", self.batch.vcpus, np.minimum(beside, self.batch.capacity_vcpus)),
                (FIRM, firm, outside),
            ]
        )


def build_joint(
    services: Sequence[Service],
    jobs: Sequence[Job],
    fleet: Fleet,
    forecasts: Mapping[str, Forecast],
    slots: SlotGrid,
    *,
    gives_way: GivesWay = GivesWay.SUSPENDABLE,
    reserve_for: ReserveFor = ReserveFor.PEAK,
) -> JointProblem:
    """Lay services, jobs, regions and forecasts out as columns.

    Parameters
    ----------
    services : sequence of Service
        Always-on work.
    jobs : sequence of Job
        The queue.
    fleet : Fleet
        Threads are those of its machines; where none is known, a region's ``capacity_vcpus``, which
        bounds the jobs together in any case.
    forecasts : mapping of str to Forecast
        Per grid zone, all of one kind, covering `slots`.
    slots : SlotGrid
        The planning grid.
    gives_way : GivesWay
        Which jobs may sit in the reserve.
    reserve_for : ReserveFor
        How much of the reserve firm jobs must leave.

    Returns
    -------
    JointProblem
        For `solve_joint`.

    Raises
    ------
    AicschedError
        What `build_failover` and `build_problem` refuse.
    """
    return JointProblem(
        services=build_failover(services, fleet, forecasts, slots),
        batch=build_problem(jobs, fleet, forecasts, slots),
        share=np.array([service.share_in(slots) for service in services]),
        gives_way=gives_way,
        reserve_for=reserve_for,
    )

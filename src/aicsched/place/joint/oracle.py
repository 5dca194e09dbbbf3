"""What services and jobs do at the same prices, and what that proves about every joint plan.

Two prices stand on each region and slot: one on a thread at work, paid by services
for what they use and by all jobs, and one on a thread outside the reserve, paid by
services for what they reserve and by firm jobs. At given prices nobody competes any
more: the sum of all cheapest answers, less what the priced threads are worth, is a
lower bound (Lagrangian relaxation, Geoffrion 1974, doi:10.1007/BFb0120690).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from aicsched.place.choice import Choice
from aicsched.place.failover.kernels.dedicated import RESERVE
from aicsched.place.ground import ground_of
from aicsched.place.pricing import Oracle

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.place.joint.problem import JointProblem

    Floats = NDArray[np.float64]

__all__ = ["JointChoice", "JointOracle", "Reserved"]


@dataclass(frozen=True, slots=True, eq=False)
class Reserved:
    """What services do at some prices.

    Parameters
    ----------
    used, reserved : ndarray, shape (S, K)
        Threads at work and held at the peak, those at work included.
    value_g : float
        The sum of their costs with prices over the horizon [g].
    """

    used: Floats
    reserved: Floats
    value_g: float


@dataclass(slots=True, eq=False)
class JointChoice(Choice):
    """What jobs do, and services beside them.

    Parameters
    ----------
    services : Reserved
        At the same prices.
    """

    services: Reserved


class JointOracle(Oracle):
    """Answers of services and jobs together.

    Parameters
    ----------
    problem : JointProblem
        What is asked.
    """

    def __init__(self, problem: JointProblem) -> None:
        self.problem = problem
        self.together = problem.together()
        super().__init__(ground_of(self.together))
        names = self.together.resources
        self.limits = tuple(
            (names.index(name), held, share) for name, held, share in problem.service_limits()
        )
        services = problem.services
        self._leaders = services.leaders()
        count, regions = len(services.service_ids), len(services.regions)
        self._known = np.maximum(services.allowed, 0)
        # Prices differ by service, since each has its day: the kernel sees a region of its own a service.
        own = self._known + np.arange(count)[:, None] * regions
        self._own = np.where(services.allowed >= 0, own, -1)
        self._use_g = services.use_g * problem.hours
        self._idle_g = services.idle_g * problem.hours

    def reserve(self, prices_g: Floats) -> Reserved:
        """Return the cheapest reservation of each service.

        Parameters
        ----------
        prices_g : ndarray, shape (K, R, T)
            Of the resources of ``together`` [g].

        Returns
        -------
        Reserved
            With its cost.
        """
        work_g, held_g = self.thread_g(prices_g)
        rows = np.arange(len(work_g))[:, None]
        value, parts, mark = RESERVE(
            self._own, self._leaders, self._use_g + work_g[rows, self._known], held_g.ravel()
        )
        demand = self.problem.services.demand_vcpus
        each = (demand / parts)[:, None]
        return Reserved((mark == 1) * each, (mark > 0) * each, float(value @ demand))

    def thread_g(self, prices_g: Floats) -> tuple[Floats, Floats]:
        """Return what a service's thread costs at its peak [g]: beside its use, and when it is held.

        Parameters
        ----------
        prices_g : ndarray, shape (K, R, T)
            Of the resources of ``together`` [g].

        Returns
        -------
        tuple of ndarray, each of shape (S, R)
            Prices of work over the horizon; those of the reserve, with its idle power.
        """
        work_g = np.zeros((len(self._known), prices_g.shape[1]))
        held_g = np.tile(self._idle_g, (len(self._known), 1))
        for resource, held, share in self.limits:
            if held:
                held_g += share @ prices_g[resource].T
            else:
                work_g += share @ prices_g[resource].T
        return work_g, held_g

    def load_of(self, services: Reserved) -> Floats:
        """Return what services take of each resource, shape (K, R, T)."""
        load = np.zeros(self.ground.capacity.shape)
        for resource, held, share in self.limits:
            load[resource] += self.problem.in_regions(services.reserved if held else services.used, share)
        return load

    def cost_of(self, used: Floats, reserved: Floats) -> Floats:
        """Return what each service emits over the horizon [g], shape (S,)."""
        return (self._use_g * used + self._idle_g[self._known] * reserved).sum(axis=1)

    def bound(self, prices_g: Floats) -> tuple[float, Choice, Floats]:
        """Return the bound, the best answers of jobs and services, and their load.

        Parameters
        ----------
        prices_g : ndarray, shape (K, R, T)
            Price of each resource for one slot [g], >= 0.

        Returns
        -------
        tuple of float, JointChoice, ndarray
            Bound [g]; answers, which capacity doesn't limit; load (K, R, T).
        """
        bound_g, choice, load = super().bound(prices_g)
        services = self.reserve(prices_g)
        made = JointChoice(choice.region, choice.slots, services)
        return bound_g + services.value_g, made, load + self.load_of(services)

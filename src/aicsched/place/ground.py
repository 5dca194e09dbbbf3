"""A problem as the kernels see it: one table of facts, one of uses, one of rates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from aicsched.domain.carbon import frozen_array
from aicsched.place.forms import LEVELS, PLAIN
from aicsched.place.spots import gaps

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.place.choice import Choice
    from aicsched.place.forms import Kernels
    from aicsched.place.problem import Problem

__all__ = ["Ground", "costs_of", "ground_of"]


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """Jobs and regions for the kernels (see `aicsched.place.kernels.seats`).

    Parameters
    ----------
    facts : ndarray of int64, shape (J, 5)
        Slots needed, first, last, whether in pieces (1; more with a profile), where its spots start.
    uses : ndarray, shape (J + P, 1 + K)
        Energy per watt and slot [kWh/W], then what it holds of each resource; then the profiles of
        jobs that have one (see `aicsched.place.kernels.levels`).
    fixed_g : ndarray, shape (J, R)
        Cost of being in a region [g]; inf where the job may not be.
    watt_g : ndarray, shape (1, R, T)
        Emissions of a watt-factor in each slot [g W/kWh].
    capacity : ndarray, shape (K, R, T)
        Of each resource.
    before, after : ndarray of int64
        Which jobs a job waits for, and which wait for it: J + 1 pointers, then indices.
    """

    facts: NDArray[np.int64]
    uses: NDArray[np.float64]
    fixed_g: NDArray[np.float64]
    watt_g: NDArray[np.float64]
    capacity: NDArray[np.float64]
    before: NDArray[np.int64]
    after: NDArray[np.int64]

    @property
    def kernels(self) -> Kernels:
        """The kernels in the form that these jobs need."""
        return LEVELS if len(self.uses) > len(self.facts) else PLAIN

    def rates(self, prices_g: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the rates of energy and, at some prices (K, R, T), of the resources: (1 + K, R, T)."""
        return np.concatenate((self.watt_g, prices_g))

    @property
    def ordered(self) -> bool:
        """Whether any job waits for another."""
        return self.before.size > len(self.facts) + 1

    def grains(self) -> float:
        """Return how many of the largest job a region holds, by the scarcest resource."""
        most = np.where(np.isfinite(self.capacity), self.capacity, -np.inf).max(axis=(1, 2))
        held = self.uses[: len(self.facts), self.uses.shape[1] - len(most) :].max(axis=0)
        ratios = [float(there / use) for there, use in zip(most, held, strict=True) if use > 0 and there >= 0]
        return min(ratios, default=np.inf)

    def sample(self, count: int, seed: int) -> Ground:
        """Return some of the jobs under as much less capacity: its prices are near those of the whole."""
        picked = np.sort(np.random.default_rng(seed).permutation(len(self.facts))[:count])
        facts = self.facts[picked].copy()
        facts[:, 4] = np.concatenate(([0], np.cumsum(facts[:-1, 0])))
        jobs = len(self.facts)
        facts[facts[:, 3] > 1, 3] += count - jobs
        held = (self.uses[:jobs, 1:] * self.facts[:, :1]).sum(axis=0)
        kept = (self.uses[picked, 1:] * facts[:, :1]).sum(axis=0)
        share = np.divide(kept, held, out=np.ones_like(held), where=held > 0)
        none = np.full(count + 1, count + 1, np.int64)
        return Ground(
            facts=facts,
            uses=np.concatenate((self.uses[picked], self.uses[jobs:])),
            fixed_g=self.fixed_g[picked],
            watt_g=self.watt_g,
            capacity=self.capacity * share[:, None, None],
            before=none,
            after=none,
        )


def _lists(count: int, own: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return pointers and, behind them, the others of each job."""
    order = np.argsort(own, kind="stable")
    ends = np.cumsum(np.bincount(own, minlength=count))
    return np.concatenate(([count + 1], count + 1 + ends, other[order])).astype(np.int64)


def _profiles(problem: Problem) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return how each job runs in pieces, and the profiles (see `aicsched.place.kernels.levels`)."""
    kind = problem.suspendable.astype(np.int64)
    has = problem.suspendable & (problem.resume_kwh_per_w > 0)
    profiles = np.zeros((2 * int(has.sum()), 1 + problem.demand.shape[1]))
    kind[has] = 1 + len(kind) + 2 * np.arange(int(has.sum()))
    profiles[0::2, 0] = problem.resume_kwh_per_w[has]
    profiles[0::2, 1] = profiles[1::2, 0] = 1.0
    return kind, profiles


def ground_of(problem: Problem) -> Ground:
    """Lay a problem out for the kernels.

    Parameters
    ----------
    problem : Problem
        The problem.

    Returns
    -------
    Ground
        Its arrays, contiguous.
    """
    jobs = len(problem.job_ids)
    begin = np.concatenate(([0], np.cumsum(problem.n_slots)[:-1]))
    kind, profiles = _profiles(problem)
    columns = (problem.n_slots, problem.first, problem.last, kind, begin)
    earlier, later = problem.order[:, 0], problem.order[:, 1]
    return Ground(
        facts=np.stack([np.asarray(column, np.int64) for column in columns], axis=1),
        uses=np.concatenate(
            (np.concatenate((problem.energy_kwh_per_w[:, None], problem.demand), axis=1), profiles)
        ),
        fixed_g=frozen_array(np.where(problem.allowed, problem.transfer_g, np.inf)),
        watt_g=(problem.watt_factor_w[:, None] * problem.g_per_kwh)[None],
        capacity=problem.capacity,
        before=_lists(jobs, later, earlier),
        after=_lists(jobs, earlier, later),
    )


def costs_of(ground: Ground, choice: Choice, rates: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what each job costs where it sits, at some rates, shape (J,)."""
    place = np.repeat(choice.region, ground.facts[:, 0])
    total = ground.fixed_g[np.arange(len(choice.region)), choice.region]
    jobs = len(choice.region)
    for use, rate in zip(ground.uses[:jobs].T, rates, strict=False):
        total = total + use * np.add.reduceat(rate[place, choice.slots], ground.facts[:, 4])
    profiled = ground.facts[:, 3] > 1
    if profiled.any():
        again = np.zeros(jobs)
        again[profiled] = ground.uses[ground.facts[profiled, 3] - 1, 0]
        behind = gaps(ground.facts[:, 4], choice.slots)
        job = np.repeat(np.arange(jobs), ground.facts[:, 0])[behind]
        paid = again[job] * rates[0, place[behind], choice.slots[behind]]
        total = total + np.bincount(job, weights=paid, minlength=jobs)
    return total

"""The pricing oracle: each job's cheapest place and time at given prices.

With a price per thread and slot in each region, jobs no longer compete, so each
one's best answer is exact and independent. Jobs of equal length share sliding
window sums; suspendable jobs take their cheapest slots. The sum of the best
reduced costs, less what the priced capacity is worth, is Lagrange's lower bound
on every feasible plan, at any prices >= 0 (Geoffrion 1974, doi:10.1007/BFb0120690).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from aicsched.place.choice import Choice, pointers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.place.problem import Problem

__all__ = ["Oracle", "Priced"]


@dataclass(frozen=True, slots=True, eq=False)
class Priced:
    """What the oracle answers at some prices.

    Parameters
    ----------
    choice : Choice
        Each job's cheapest region and slots.
    reduced_g : ndarray, shape (J,)
        Their cost with prices [g].
    bound_g : float
        No feasible plan emits less [g].
    """

    choice: Choice
    reduced_g: NDArray[np.float64]
    bound_g: float


@dataclass(frozen=True, slots=True, eq=False)
class _Group:
    """Jobs of one length and kind."""

    jobs: NDArray[np.int64]
    length: int
    base_g: NDArray[np.float64]
    """(jobs, R, starts or slots): transfer where allowed, inf where not."""
    flat: NDArray[np.int64]
    """(jobs, length): where their slots stand in a Choice."""


def _window_sums(values: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    sums = np.zeros((values.shape[0], values.shape[1] + 1))
    np.cumsum(values, axis=1, out=sums[:, 1:])
    return sums[:, length:] - sums[:, :-length]


class Oracle:
    """Answers `Priced` for one problem, again and again.

    Parameters
    ----------
    problem : Problem
        The problem.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self._watt_g = problem.watt_factor_w[:, None] * problem.g_per_kwh
        self._contiguous = [
            self._group(jobs, pieces=False) for jobs in self._by_length(problem.suspendable == 0)
        ]
        self._pieces = [self._group(jobs, pieces=True) for jobs in self._by_length(problem.suspendable)]

    def _by_length(self, chosen: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
        jobs = np.flatnonzero(chosen)
        lengths = self.problem.n_slots[jobs]
        return [jobs[lengths == length] for length in np.unique(lengths)]

    def _group(self, jobs: NDArray[np.int64], *, pieces: bool) -> _Group:
        problem = self.problem
        length = int(problem.n_slots[jobs[0]])
        span = 1 if pieces else length
        starts = np.arange(len(problem.slots) - span + 1)
        inside = (starts >= problem.first[jobs][:, None]) & (starts <= problem.last[jobs][:, None] - span)
        base = np.where(problem.allowed[jobs], problem.transfer_g[jobs], np.inf)
        base_g = np.where(inside[:, None, :], base[:, :, None], np.inf)
        flat = pointers(problem)[jobs][:, None] + np.arange(length)
        return _Group(jobs, length, base_g, flat)

    def price(self, prices_g: NDArray[np.float64]) -> Priced:
        """Find each job's best answer to some prices.

        Parameters
        ----------
        prices_g : ndarray, shape (R, T)
            Price of one thread for one slot [g], >= 0.

        Returns
        -------
        Priced
            Choices, reduced costs and the lower bound.
        """
        problem = self.problem
        jobs = len(problem.job_ids)
        choice = Choice(np.empty(jobs, np.int64), np.empty(int(problem.n_slots.sum()), np.int64))
        reduced_g = np.empty(jobs)
        for group in self._contiguous:
            self._price_contiguous(group, prices_g, choice, reduced_g)
        for group in self._pieces:
            self._price_pieces(group, prices_g, choice, reduced_g)
        bound_g = float(reduced_g.sum() - (prices_g * problem.capacity_vcpus).sum())
        return Priced(choice, reduced_g, bound_g)

    def _slot_costs(
        self, group: _Group, watt_g: NDArray[np.float64], price_g: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        energy = self.problem.energy_kwh_per_w[group.jobs][:, None, None]
        costs = energy * watt_g
        costs += self.problem.vcpus[group.jobs][:, None, None] * price_g
        return costs

    def _price_contiguous(
        self, group: _Group, prices_g: NDArray[np.float64], choice: Choice, reduced_g: NDArray[np.float64]
    ) -> None:
        costs = self._slot_costs(
            group, _window_sums(self._watt_g, group.length), _window_sums(prices_g, group.length)
        )
        costs += group.base_g
        rows = costs.reshape(len(group.jobs), -1)
        best = rows.argmin(axis=1)
        reduced_g[group.jobs] = rows[np.arange(len(best)), best]
        choice.region[group.jobs], start = np.divmod(best, costs.shape[2])
        choice.slots[group.flat] = start[:, None] + np.arange(group.length)

    def _price_pieces(
        self, group: _Group, prices_g: NDArray[np.float64], choice: Choice, reduced_g: NDArray[np.float64]
    ) -> None:
        costs = self._slot_costs(group, self._watt_g, prices_g)
        closed = np.isinf(group.base_g)
        costs[closed] = np.inf
        picked = np.argpartition(costs, group.length - 1, axis=2)[:, :, : group.length]
        sums = np.take_along_axis(costs, picked, axis=2).sum(axis=2)
        sums += self.problem.transfer_g[group.jobs]
        best = sums.argmin(axis=1)
        rows = np.arange(len(best))
        reduced_g[group.jobs] = sums[rows, best]
        choice.region[group.jobs] = best
        choice.slots[group.flat] = np.sort(picked[rows, best], axis=1)

"""The pricing oracle: each job's cheapest place and time at given prices, and the bound they prove.

The sum of the best reduced costs, less what the priced capacity is worth, is
Lagrange's lower bound on every feasible plan, at any prices >= 0 (Geoffrion 1974,
doi:10.1007/BFb0120690). Jobs that wait for others are priced as if they didn't:
the bound holds all the more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from aicsched.jit import over_rows
from aicsched.place.choice import Choice
from aicsched.place.settling import Settling

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.place.ground import Ground

__all__ = ["Oracle", "Priced"]


@dataclass(frozen=True, slots=True, eq=False)
class Priced:
    """What the oracle answers at some prices.

    Parameters
    ----------
    rates : ndarray, shape (1 + K, R, T)
        What energy emits, then the prices [g].
    least_g : ndarray, shape (J, R)
        Each job's least cost with prices in each region [g]; inf where it may not be.
    wish : ndarray of int32, shape (J, R)
        The first slot of that answer; -1 where it may not be.
    turn : ndarray of int32, shape (J, R)
        Regions by that cost.
    reduced_g : ndarray, shape (J,)
        The least of them [g].
    bound_g : float
        No feasible plan emits less [g].
    """

    rates: NDArray[np.float64]
    least_g: NDArray[np.float64]
    wish: NDArray[np.int32]
    turn: NDArray[np.int32]
    reduced_g: NDArray[np.float64]
    bound_g: float


def worth_g(prices_g: NDArray[np.float64], capacity: NDArray[np.float64]) -> float:
    """Return what the priced capacity is worth [g]; what is free of charge may be endless."""
    return float((prices_g * np.where(prices_g > 0, capacity, 0.0)).sum())


class Oracle:
    """Answers for one problem, again and again.

    Parameters
    ----------
    ground : Ground
        The problem.
    """

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self._endless = np.full(ground.capacity.shape, np.inf)

    def settling(self, priced: Priced, seed: int) -> Settling:
        """Return the jobs as they settle at some prices.

        Parameters
        ----------
        priced : Priced
            The answer to the prices at first.
        seed : int
            Of the turns.

        Returns
        -------
        Settling
            None of them sits yet.
        """
        return Settling(self.ground, float(priced.reduced_g.sum()), seed)

    def _tables(self, prices_g: NDArray[np.float64]) -> tuple[NDArray[Any], ...]:
        """Return the rates at some prices, and what the kernels read."""
        ground = self.ground
        rates = ground.rates(prices_g)
        sums = np.zeros((*rates.shape[:2], rates.shape[2] + 1))
        np.cumsum(rates, axis=2, out=sums[:, :, 1:])
        return rates, ground.facts, ground.uses, ground.fixed_g, sums

    def bound(self, prices_g: NDArray[np.float64]) -> tuple[float, Choice, NDArray[np.float64]]:
        """Return the bound, each job's best answer, and their load.

        Parameters
        ----------
        prices_g : ndarray, shape (K, R, T)
            Price of each resource for one slot [g], >= 0.

        Returns
        -------
        tuple of float, Choice, ndarray
            Bound [g]; answers, which capacity doesn't limit; load (K, R, T).
        """
        ground = self.ground
        rates, *tables = self._tables(prices_g)
        jobs = len(ground.facts)
        reduced_g = np.empty(jobs)
        best, start = np.empty(jobs, np.int32), np.empty(jobs, np.int32)
        run = ground.kernels.bound.form(0, jobs, *tables)
        over_rows(lambda first, last: run(first, last, *tables, reduced_g, best, start), jobs)
        choice = Choice(np.empty(jobs, np.int64), np.empty(int(ground.facts[:, 0].sum()), np.int64))
        load = np.zeros(ground.capacity.shape)
        ground.kernels.answer(
            ground.facts, ground.uses, rates, self._endless, best, start, choice.region, choice.slots, load
        )
        return float(reduced_g.sum()) - worth_g(prices_g, ground.capacity), choice, load

    def price(self, prices_g: NDArray[np.float64]) -> Priced:
        """Return all that the oracle knows at some prices.

        Parameters
        ----------
        prices_g : ndarray, shape (K, R, T)
            Price of each resource for one slot [g], >= 0.

        Returns
        -------
        Priced
            An answer per job and region, and the lower bound.
        """
        rates, *tables = self._tables(prices_g)
        least_g = np.empty(self.ground.fixed_g.shape)
        wish = np.empty(least_g.shape, np.int32)
        run = self.ground.kernels.price.form(0, len(least_g), *tables)
        over_rows(lambda first, last: run(first, last, *tables, least_g, wish), len(least_g))
        reduced_g = least_g.min(axis=1)
        return Priced(
            rates=rates,
            least_g=least_g,
            wish=wish,
            turn=np.argsort(least_g, axis=1, kind="stable").astype(np.int32),
            reduced_g=reduced_g,
            bound_g=float(reduced_g.sum()) - worth_g(prices_g, self.ground.capacity),
        )

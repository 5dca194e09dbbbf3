"""A plan while it changes: who sits where, and the room that is left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.place.choice import TOLERANCE_SHARE, Choice
from aicsched.place.ground import costs_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.place.ground import Ground
    from aicsched.place.pricing import Priced

__all__ = ["FINE_GRAINS", "Seating", "build"]

_RETRIES: Final = 30
# Jobs taken out at once, at most.
_MOST_OUT: Final = 12
# With less room than this many of the largest job, so many eighths of the steps wander.
FINE_GRAINS: Final = 25.0
_WANDER: Final = 5


class Seating:
    """The state that the kernels of `aicsched.place.kernels` work on.

    Parameters
    ----------
    ground : Ground
        The problem.
    room : ndarray, shape (K, R, T), optional
        Room of each resource; by default the capacity with its rounding tolerance.
    """

    def __init__(self, ground: Ground, room: NDArray[np.float64] | None = None) -> None:
        jobs = len(ground.facts)
        self.ground = ground
        self.free = np.ascontiguousarray(
            ground.capacity * (1 + TOLERANCE_SHARE) if room is None else room.copy()
        )
        self.region = np.full(jobs, -1, np.int64)
        self.spots = np.zeros(int(ground.facts[:, 0].sum()), np.int64)
        self.span = np.zeros((jobs, 2), np.int64)
        self.head = np.full(self.free.shape[1:], -1, np.int64)
        self.link = np.full((jobs, 2), -1, np.int64)

    def state(self) -> tuple[NDArray[np.float64], *tuple[NDArray[np.int64], ...]]:
        """Return the arrays in the order that kernels take them in."""
        return self.free, self.region, self.spots, self.span, self.head, self.link

    def choice(self) -> Choice:
        """Return a copy of who sits where."""
        return Choice(self.region.copy(), self.spots.copy())

    def put(self, choice: Choice) -> None:
        """Seat the jobs of a choice, all but those whose region is -1, in a plan that is empty."""
        self.region[:] = choice.region
        self.spots[:] = choice.slots
        self.ground.kernels.place(self.ground.facts, self.ground.uses, *self.state())

    def insert(
        self,
        queue: NDArray[np.int64],
        rates: NDArray[np.float64],
        least: NDArray[np.float64],
        turn: NDArray[np.int32],
    ) -> NDArray[np.int64]:
        """Put jobs in one after another, each where it is cheapest at some rates.

        Parameters
        ----------
        queue : ndarray of int64
            Jobs that are out, in order.
        rates : ndarray, shape (1 + K, R, T)
            Of energy and resources [g].
        least : ndarray, shape (J, R)
            Least cost of each job in each region, room or not [g].
        turn : ndarray of int32, shape (J, at most R)
            Regions to try, by that cost.

        Returns
        -------
        ndarray of int64
            Jobs that found no room.
        """
        ground = self.ground
        left = np.zeros(len(queue), np.int64)
        tables = (ground.facts, ground.uses, ground.fixed_g, rates, ground.before, ground.after)
        count = ground.kernels.insert(np.ascontiguousarray(queue), *tables, least, turn, *self.state(), left)
        return left[:count]

    def regrets_g(self, priced: Priced) -> NDArray[np.float64]:
        """Return what each job pays above its best answer to some prices [g], shape (J,)."""
        paid = costs_of(self.ground, Choice(self.region, self.spots), priced.rates)
        return np.maximum(paid - priced.reduced_g, 0.0)

    def repair(self, priced: Priced, steps: int, thresholds_g: tuple[float, float], seed: int) -> None:
        """Take jobs out and put them back, a number of times (see `kernels.repair`).

        Parameters
        ----------
        priced : Priced
            The oracle's answer to the prices that lead.
        steps : int
            How often.
        thresholds_g : tuple of float
            Loss that is taken at most, at the first step and at the last [g].
        seed : int
            Of the draws.
        """
        ground = self.ground
        tiny = 1e-12 * float(priced.reduced_g.max(initial=0.0))
        limits = np.array([*thresholds_g, tiny])
        wander = _WANDER if ground.grains() < FINE_GRAINS else 0
        ground.kernels.repair(
            steps, _MOST_OUT, wander, limits, seed,
            ground.facts, ground.uses, ground.fixed_g, priced.rates, ground.before, ground.after,
            priced.least_g, priced.turn, priced.wish, *self.state(), self.regrets_g(priced),
        )  # fmt: skip


def build(ground: Ground, priced: Priced, order: NDArray[np.int64]) -> tuple[Seating, NDArray[np.int64]]:
    """Put all jobs in by price; who finds no room goes first in the next try.

    Parameters
    ----------
    ground : Ground
        The problem.
    priced : Priced
        The oracle's answer to the prices that lead.
    order : ndarray of int64, shape (J,)
        Jobs in the order of the first try.

    Returns
    -------
    tuple of Seating, ndarray
        The plan, and the jobs left out after the last try (none when all are in).
    """
    seating = Seating(ground)
    left = seating.insert(order, priced.rates, priced.least_g, priced.turn)
    front = left
    for _ in range(_RETRIES - 1):
        if not len(left):
            break
        seating = Seating(ground)
        queue = np.concatenate((front, order[~np.isin(order, front)]))
        left = seating.insert(queue, priced.rates, priced.least_g, priced.turn)
        front = np.concatenate((left, front[~np.isin(front, left)]))
    return seating, left

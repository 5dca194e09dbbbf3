"""Jobs that settle: soft capacity that stiffens, then who is too much moves on.

At the prices of the relaxation most jobs are indifferent between many places, and all crowd
into the same ones: prices alone don't make a plan. Where a slot that is overfull costs
more and one with room left costs less, jobs that take their best places in turn spread out
(see `aicsched.place.kernels.settling`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.place.seating import Seating

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.place.choice import Choice
    from aicsched.place.ground import Ground
    from aicsched.place.pricing import Priced

__all__ = ["MOST_OFF", "SHARE", "STIFF", "STIFFNESSES", "Settling", "settle"]

# How much the price rises, as a multiple of the level of prices, where twice the capacity is wanted.
STIFFNESSES: Final = tuple(np.geomspace(0.1, 100.0, 8).tolist())
# From an earlier plan.
STIFF: Final = (0.3, 1.0, 10.0, 100.0)
# Part of a job's own use that it counts as if it were there already.
SHARE: Final = 0.25
# Most by which room that is left makes a slot cheaper than its price, as a multiple of the level.
MOST_OFF: Final = 0.4
# A job that is larger than the capacity may not be there however soft it is.
_HARDEST: Final = 1e30


class Settling:
    """Jobs that take their best places in turn under soft capacity.

    Parameters
    ----------
    ground : Ground
        The problem.
    level_g : float
        What jobs cost in sum, about [g]: the scale of what overfull slots cost.
    seed : int
        Of the turns.
    start : Choice, optional
        Where jobs sit at first; region -1 for those that are out.
    beside : ndarray, shape (K,), optional
        What others than these jobs hold of each resource, summed over slots; `level_g` includes them.
    """

    def __init__(
        self,
        ground: Ground,
        level_g: float,
        seed: int,
        start: Choice | None = None,
        beside: NDArray[np.float64] | None = None,
    ) -> None:
        self.ground = ground
        self.seating = Seating(ground)
        room = self.seating.free.copy()
        held = (ground.uses[: len(ground.facts), -len(room) :] * ground.facts[:, :1]).sum(axis=0)
        held = held if beside is None else held + beside
        # What a unit of each resource costs for a slot on average [g].
        self.level_g = np.divide(level_g or 1.0, held, out=np.zeros(len(room)), where=held > 0)
        self._stiff = np.divide(
            self.level_g[:, None, None], room, out=np.full(room.shape, _HARDEST), where=room > 0
        )
        self._endless = ~np.isfinite(room)
        self._draws = np.random.default_rng(seed)
        self._fresh = start is None
        if start is not None:
            self.seating.put(start)

    def turn(self, priced: Priced, stiffness: float) -> None:
        """Let each job take its best place once, in an order that is drawn.

        Parameters
        ----------
        priced : Priced
            The oracle's answer to the prices that lead.
        stiffness : float
            How much the price rises where twice the capacity is wanted, as a multiple of the level.
        """
        ground = self.ground
        queue = self._draws.permutation(len(ground.facts))
        if self._fresh and ground.ordered:
            # Who waits for others has a later window than they: in this order all find one.
            queue = np.argsort(ground.facts[:, 1], kind="stable")
        self._fresh = False
        ground.kernels.settle(
            queue, stiffness, SHARE, MOST_OFF, self._stiff, self.level_g,
            ground.facts, ground.uses, ground.fixed_g, priced.rates, ground.before, ground.after,
            priced.least_g, priced.turn, *self.seating.state(),
        )  # fmt: skip

    def excess_g(self, stiffness: float) -> NDArray[np.float64]:
        """Return what a slot costs above its price, or below it where negative [g], shape (K, R, T)."""
        free = np.where(self._endless, 0.0, self.seating.free)
        return -stiffness * self._stiff * free

    def harden(self, priced: Priced) -> NDArray[np.int64]:
        """Take out who is too much in a slot, and put all that are out into the room that is left.

        Parameters
        ----------
        priced : Priced
            The oracle's answer to the prices that lead.

        Returns
        -------
        ndarray of int64
            Jobs that found no room.
        """
        ground = self.ground
        left = np.zeros(len(ground.facts), np.int64)
        ground.kernels.evict(ground.facts, ground.uses, *self.seating.state(), left)
        rest = np.flatnonzero(self.seating.region < 0)
        # Jobs in part as large as a slot's whole worth are hardest to seat.
        area_g = (ground.uses[rest, -len(self.level_g) :] * self.level_g).max(axis=1) * ground.facts[rest, 0]
        queue = rest[np.argsort(-area_g, kind="stable")]
        return self.seating.insert(queue, priced.rates, priced.least_g, priced.turn)


def settle(
    ground: Ground, priced: Priced, seed: int, start: Choice | None = None
) -> tuple[Seating, NDArray[np.int64]]:
    """Make a plan of jobs that settle while capacity stiffens.

    Parameters
    ----------
    ground : Ground
        The problem.
    priced : Priced
        The oracle's answer to the prices that lead.
    seed : int
        Of the turns.
    start : Choice, optional
        A plan to start from; region -1 for jobs that are out.

    Returns
    -------
    tuple of Seating, ndarray
        The plan, and the jobs left out because they found no room (none when all are in).
    """
    settling = Settling(ground, float(priced.reduced_g.sum()), seed, start)
    for stiffness in STIFFNESSES if start is None else STIFF:
        settling.turn(priced, stiffness)
    return settling.seating, settling.harden(priced)

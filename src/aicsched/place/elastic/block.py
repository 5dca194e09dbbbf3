"""The jobs that scale while a plan changes, and their part of the bound."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.place.choice import TOLERANCE_SHARE
from aicsched.place.ground import Ground, ground_of
from aicsched.place.kernels.elastic import RESPOND, SHAKE
from aicsched.place.pricing import Oracle
from aicsched.place.settling import MOST_OFF, SHARE, STIFFNESSES, Settling

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.place.choice import Choice
    from aicsched.place.elastic.problem import ElasticProblem
    from aicsched.place.pricing import Priced

__all__ = ["Block", "JointOracle", "JointSettling", "Scale", "plain_ground"]

_ROUNDING: Final = 1e-11
_MOST_OUT: Final = 6


@dataclass(slots=True, eq=False)
class Scale:
    """Where and on how many machines each job that scales runs.

    Parameters
    ----------
    region : ndarray of int64, shape (E,)
        Its region; -1 for one that is out.
    machines : ndarray, shape (E, T)
        Mean number of machines at work in each slot.
    """

    region: NDArray[np.int64]
    machines: NDArray[np.float64]

    def copy(self) -> Scale:
        """Return an independent copy."""
        return Scale(self.region.copy(), self.machines.copy())


class Block:
    """The jobs that scale, as the kernel sees them.

    Parameters
    ----------
    problem : ElasticProblem
        The problem.
    """

    def __init__(self, problem: ElasticProblem) -> None:
        whole, rows = problem.whole, problem.rows
        self.problem = problem
        self.facts = np.stack((whole.first[rows], whole.last[rows]), axis=1)
        self.uses = np.concatenate((problem.energy_kwh_per_w[:, None], whole.demand[rows]), axis=1)
        self.fixed_g = np.where(whole.allowed[rows], whole.transfer_g[rows], np.inf)
        self.watt_g = (whole.watt_factor_w[:, None] * whole.g_per_kwh)[None]
        self.capacity = whole.capacity
        self.ceiling = whole.capacity * (1 + TOLERANCE_SHARE)
        self._hard = (
            np.array([0.0, 0.0, 0.0, 0.0, 1.0]),
            np.zeros(whole.capacity.shape),
            np.zeros(len(whole.capacity)),
        )
        self._alone = (np.array([0.0, 0.0, 0.0, 1.0, 1.0]), *self._hard[1:])

    def nothing(self) -> Scale:
        """Return a plan in which all are out."""
        return Scale(
            np.full(len(self.facts), -1, np.int64), np.zeros((len(self.facts), self.capacity.shape[2]))
        )

    def by_size(self) -> NDArray[np.int64]:
        """Return the jobs, those of most work on most vcpus first."""
        return np.argsort(-self.problem.work * self.uses[:, 1], kind="stable")

    def respond(
        self,
        queue: NDArray[np.int64],
        scale: Scale,
        rates: NDArray[np.float64],
        room: NDArray[np.float64],
        *,
        free: NDArray[np.float64] | None = None,
        soft: tuple[NDArray[np.float64], ...] | None = None,
        fixed_g: NDArray[np.float64] | None = None,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Let jobs take their best places in turn (see `aicsched.place.kernels.elastic`).

        Parameters
        ----------
        queue : ndarray of int64
            Which, in order.
        scale : Scale
            Where they are; changed.
        rates : ndarray, shape (1 + K, R, T)
            Of energy and resources [g].
        room : ndarray, shape (K, R, T)
            Beyond which nothing may be held; changed.
        free : ndarray, shape (K, R, T), optional
            What is left before a slot costs more, where capacity is soft; changed.
        soft : tuple of ndarray, optional
            Stiffness, share of its own use, most off a price, 1 where each has all of `room` for itself,
            and the share of prices that counts; stiffness per resource, region and slot; level of prices.
        fixed_g : ndarray, shape (E, R), optional
            Cost of being in a region; inf where a job may not be.

        Returns
        -------
        tuple of ndarray
            What each pays, and the least that it could pay if steps could be held in part [g], shape (E,).
        """
        problem = self.problem
        paid, least = np.full(len(self.facts), np.inf), np.full(len(self.facts), np.inf)
        spare = np.zeros(room.shape) if free is None else free
        RESPOND(
            np.ascontiguousarray(queue), *(soft or self._hard), self.facts, self.uses, problem.wide,
            problem.gain, problem.work, self.fixed_g if fixed_g is None else fixed_g, rates, spare, room,
            scale.region, scale.machines, paid, least,
        )  # fmt: skip
        return paid, least

    def shake(
        self,
        scale: Scale,
        rates: NDArray[np.float64],
        room: NDArray[np.float64],
        *,
        steps: int,
        thresholds_g: tuple[float, float],
        seed: int,
    ) -> None:
        """Take some jobs out and put them back in, a number of times (see `SHAKE`).

        Parameters
        ----------
        scale : Scale
            Where they are; changed.
        rates : ndarray, shape (1 + K, R, T)
            Of energy and resources, by the prices that lead [g].
        room : ndarray, shape (K, R, T)
            What all leave; changed.
        steps : int
            How often.
        thresholds_g : tuple of float
            Loss that is taken at most, at the first step and at the last [g].
        seed : int
            Of the draws.
        """
        problem = self.problem
        SHAKE(
            steps, _MOST_OUT, np.array(thresholds_g), seed, *self._hard[1:], self.facts, self.uses,
            problem.wide, problem.gain, problem.work, self.fixed_g, rates, room, scale.region, scale.machines,
        )  # fmt: skip

    def rates(self, prices_g: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the rates of energy and, at some prices (K, R, T), of the resources."""
        return np.concatenate((self.watt_g, prices_g))

    def alone(self, prices_g: NDArray[np.float64]) -> tuple[float, Scale]:
        """Return the least sum that these jobs can pay at some prices, and each one's answer."""
        scale = self.nothing()
        queue = np.arange(len(self.facts))
        _, least = self.respond(queue, scale, self.rates(prices_g), self.ceiling, soft=self._alone)
        return float(least.sum()), scale

    def held(self, scale: Scale) -> NDArray[np.float64]:
        """Return how many machines each holds in each slot, shape (E, T)."""
        wide = np.cumsum(self.problem.wide, axis=1)
        steps = (wide[:, None, :] < scale.machines[:, :, None] - 1e-9).sum(axis=2)
        steps = np.minimum(steps, wide.shape[1] - 1)
        held = np.take_along_axis(wide, steps, axis=1)
        return np.where(scale.machines > 0, held, 0.0)

    def load(self, scale: Scale) -> NDArray[np.float64]:
        """Return what is in use of each resource, shape (K, R, T)."""
        made, held = np.zeros(self.capacity.shape), self.held(scale)
        for job in np.flatnonzero(scale.region >= 0).tolist():
            made[:, scale.region[job]] += self.uses[job, 1:, None] * held[job]
        return made

    def costs_g(self, scale: Scale) -> NDArray[np.float64]:
        """Return what each job emits without moving its data [g], shape (E,)."""
        return self.uses[:, 0] * (scale.machines * self.watt_g[0, scale.region]).sum(axis=1)

    def total_g(self, scale: Scale) -> float:
        """Return what all emit [g]."""
        moved_g = self.fixed_g[np.arange(len(self.facts)), scale.region]
        return float((self.costs_g(scale) + moved_g).sum())


def plain_ground(problem: ElasticProblem) -> Ground:
    """Lay the jobs that don't scale out for the kernels; there may be none."""
    if problem.plain is not None:
        return ground_of(problem.plain)
    whole = problem.whole
    none = np.array([1], np.int64)
    return Ground(
        facts=np.zeros((0, 5), np.int64),
        uses=np.zeros((0, 1 + len(whole.capacity))),
        fixed_g=np.zeros((0, len(whole.regions))),
        watt_g=(whole.watt_factor_w[:, None] * whole.g_per_kwh)[None],
        capacity=whole.capacity,
        before=none,
        after=none,
    )


class JointSettling(Settling):
    """All jobs that settle under the same soft capacity.

    Parameters
    ----------
    ground : Ground
        Those that don't scale.
    block : Block
        Those that do.
    level_g : float
        What all cost in sum, about [g].
    seed : int
        Of the turns.
    start : tuple of Choice and Scale, optional
        Where they are at first.
    """

    def __init__(
        self,
        ground: Ground,
        block: Block,
        level_g: float,
        seed: int,
        start: tuple[Choice, Scale] | None = None,
    ) -> None:
        self.block = block
        self.scale = block.nothing() if start is None else start[1].copy()
        machine_slots = block.problem.work * block.problem.wide[:, 0] / block.problem.gain[:, 0]
        beside = (block.uses[:, 1:] * machine_slots[:, None]).sum(axis=0)
        super().__init__(ground, level_g, seed, None if start is None else start[0], beside)
        self.seating.free -= block.load(self.scale)

    def _soft(self, stiffness: float, alone: float) -> tuple[NDArray[np.float64], ...]:
        return np.array([stiffness, SHARE, MOST_OFF, alone, 1.0]), self._stiff, self.level_g

    def turn(self, priced: Priced, stiffness: float) -> None:
        """Let each job take its best place once (see `Settling.turn`)."""
        super().turn(priced, stiffness)
        queue = self._draws.permutation(len(self.block.facts))
        self.block.respond(
            queue, self.scale, priced.rates, self.block.ceiling,
            free=self.seating.free, soft=self._soft(stiffness, 1.0),
        )  # fmt: skip

    def harden(self, priced: Priced) -> NDArray[np.int64]:
        """Seat jobs that scale under the capacity; then take out who is too much, and put all others in.

        Parameters
        ----------
        priced : Priced
            The oracle's answer to the prices that lead.

        Returns
        -------
        ndarray of int64
            Jobs that found no room; -1 for any that scales.
        """
        block = self.block
        self.seating.free += block.load(self.scale)
        self.scale.region[:] = -1
        paid, _ = block.respond(
            block.by_size(), self.scale, priced.rates, block.ceiling.copy(),
            free=self.seating.free, soft=self._soft(STIFFNESSES[-1], 0.0),
        )  # fmt: skip
        if not np.isfinite(paid).all():
            return np.array([-1])
        # What is full to the last digit by these alone must not look overfull: nobody could be taken out.
        free = self.seating.free
        free[(free < 0) & (free > -_ROUNDING * block.ceiling)] = 0.0
        return super().harden(priced)


class JointOracle(Oracle):
    """Answers of all jobs, those that scale included, to prices.

    Parameters
    ----------
    ground : Ground
        Those that don't scale.
    block : Block
        Those that do.
    """

    def __init__(self, ground: Ground, block: Block) -> None:
        super().__init__(ground)
        self.block = block

    def bound(self, prices_g: NDArray[np.float64]) -> tuple[float, Choice, NDArray[np.float64]]:
        """Return the bound, the answers of jobs that don't scale, and the load of all."""
        bound_g, choice, load = super().bound(prices_g)
        more_g, scale = self.block.alone(prices_g)
        return bound_g + more_g, choice, load + self.block.load(scale)

    def price(self, prices_g: NDArray[np.float64]) -> Priced:
        """Return what is known at some prices; `bound_g` counts all jobs, the rest those that don't scale."""
        priced = super().price(prices_g)
        return replace(priced, bound_g=priced.bound_g + self.block.alone(prices_g)[0])

    def settling(self, priced: Priced, seed: int) -> JointSettling:
        """Return all jobs as they settle at some prices."""
        level_g = float(priced.reduced_g.sum()) + self.block.alone(priced.rates[1:])[0]
        return JointSettling(self.ground, self.block, level_g, seed)

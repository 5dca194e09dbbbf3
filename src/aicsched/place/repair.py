"""Ruin and recreate, led by prices: take out jobs that are in each other's way, put them back better.

By duality the gap of a plan is the sum of what each job pays above its best
answer to the prices, plus the priced room that stands empty. The first addend
tells which jobs stand badly; the best answer tells where they would rather
stand, and so which jobs are in their way (Schrimpf et al. 2000,
doi:10.1006/jcph.1999.6413; the acceptance falls off as in threshold accepting,
Dueck and Scheuer 1990, doi:10.1016/0021-9991(90)90201-B).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.place.choice import costs_g, loads_g, pointers
from aicsched.place.insertion import Room

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.place.choice import Choice
    from aicsched.place.pricing import Priced
    from aicsched.place.problem import Problem

__all__ = ["improve"]

_RUIN: Final = 4
_NOISE_G: Final = 1e-9
# Of a job's mean cost: a first threshold large enough to leave a corner, too small to lose the way.
_THRESHOLD_SHARE: Final = 0.25


class _Repair:
    """A plan under repair."""

    def __init__(
        self, problem: Problem, choice: Choice, prices_g: NDArray[np.float64], priced: Priced, seed: int
    ) -> None:
        self.problem = problem
        self.now = choice.copy()
        self.wish = priced.choice
        self.reduced_g = priced.reduced_g
        self.room = Room(problem, choice, prices_g)
        self.cost_g = costs_g(problem, choice)
        self.total_g = float(self.cost_g.sum())
        self.regret_g = np.maximum(self.cost_g + loads_g(problem, choice, prices_g) - self.reduced_g, 0.0)
        self.pointer = pointers(problem)
        self.rng = np.random.default_rng(seed)

    def spot(self, job: int) -> tuple[int, NDArray[np.int64]]:
        """Return where a job stands."""
        return int(self.now.region[job]), self.now.slots[self.pointer[job] : self.pointer[job + 1]].copy()

    def draw(self) -> list[int]:
        """Draw a job by its regret, and jobs that stand where it would like to."""
        sums = np.cumsum(self.regret_g)
        pick = min(int(np.searchsorted(sums, self.rng.random() * sums[-1])), len(sums) - 1)
        wish = self.wish.slots[self.pointer[pick] : self.pointer[pick + 1]]
        starts, ends = self.now.slots[self.pointer[:-1]], self.now.slots[self.pointer[1:] - 1]
        near = (self.now.region == self.wish.region[pick]) & (starts <= wish[-1]) & (ends >= wish[0])
        near[pick] = False
        others = np.flatnonzero(near)
        picked = self.rng.choice(others, size=min(_RUIN - 1, len(others)), replace=False)
        return [pick, *picked.tolist()]

    def step(self, threshold_g: float) -> None:
        """Take some jobs out and put them back; keep it when the plan loses less than a threshold."""
        jobs = self.draw()
        before = [(job, *self.spot(job)) for job in jobs]
        for item in before:
            self.room.give_back(*item)
        order: list[int] = jobs if self.rng.random() < 1 / 2 else self.rng.permutation(jobs).tolist()
        after: list[tuple[int, int, NDArray[np.int64], float]] = []
        for job in order:
            found = self.room.cheapest_anywhere(job)
            if found is None:
                break
            self.room.take(job, found[1], found[2])
            after.append((job, found[1], found[2], found[0]))
        new_g = [self.problem.cost_g(job, region, slots) for job, region, slots, _ in after]
        change_g = sum(new_g) - float(self.cost_g[jobs].sum())
        if len(after) == len(jobs) and change_g < threshold_g * self.rng.random() - _NOISE_G:
            self._keep(after, new_g, change_g)
            return
        for job, region, slots, _ in after:
            self.room.give_back(job, region, slots)
        for item in before:
            self.room.take(*item)

    def _keep(
        self, after: list[tuple[int, int, NDArray[np.int64], float]], new_g: list[float], change_g: float
    ) -> None:
        for (job, region, slots, priced_g), cost_g in zip(after, new_g, strict=True):
            self.now.region[job] = region
            self.now.slots[self.pointer[job] : self.pointer[job + 1]] = slots
            self.cost_g[job] = cost_g
            self.regret_g[job] = max(0.0, priced_g - self.reduced_g[job])
        self.total_g += change_g


def improve(
    problem: Problem,
    choice: Choice,
    prices_g: NDArray[np.float64],
    priced: Priced,
    *,
    seed: int,
    rounds: int,
    target_g: float = float("-inf"),
) -> Choice:
    """Take a few jobs out again and again, put them back by price, keep what helps.

    Parameters
    ----------
    problem : Problem
        The problem.
    choice : Choice
        A feasible choice.
    prices_g : ndarray, shape (R, T)
        Price of one thread for one slot [g].
    priced : Priced
        The oracle's answer to these prices.
    seed : int
        Seed of the draws.
    rounds : int
        How often at most.
    target_g : float
        Stop when the plan emits no more than this [g].

    Returns
    -------
    Choice
        Feasible, and never worse.
    """
    repair = _Repair(problem, choice, prices_g, priced, seed)
    best, best_g = choice, repair.total_g
    first_g = _THRESHOLD_SHARE * repair.total_g / len(problem.job_ids)
    for step in range(rounds):
        if best_g <= target_g or repair.regret_g.sum() <= _NOISE_G:
            break
        repair.step(first_g * (1 - step / rounds))
        if repair.total_g < best_g - _NOISE_G:
            best, best_g = repair.now.copy(), repair.total_g
    return best

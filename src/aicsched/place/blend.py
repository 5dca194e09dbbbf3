"""Job by job between plans: what lowers a measure of many scenarios that no single price leads to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.place.choice import Choice, load, pointers, room

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from aicsched.place.problem import Problem

    Array = NDArray[np.float64]
    Tail = Callable[[Array], tuple[float, Array]]

__all__ = ["Mixed", "blend"]

_PASSES: Final = 3
# A gain below this share is rounding.
_LEAST: Final = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Mixed:
    """A plan, and what it emits in each scenario.

    Parameters
    ----------
    choice : Choice
        Where and when every job runs.
    each_g : ndarray, shape (J, S)
        Grams of each job in each scenario.
    """

    choice: Choice
    each_g: Array


class _Bench:
    """The plan that is being changed, and the room that it leaves."""

    def __init__(self, problem: Problem, plan: Mixed) -> None:
        self.problem = problem
        self.choice = plan.choice.copy()
        self.each_g = plan.each_g.copy()
        self.total_g = self.each_g.sum(axis=0)
        self.free = room(problem) - load(problem, self.choice)
        self.begin = pointers(problem)
        # Who waits for another, or is waited for, stays: its neighbours would have to move along.
        self.tied = np.zeros(len(problem.job_ids), np.bool_)
        self.tied[problem.order.ravel()] = True

    def differs(self, other: Mixed) -> NDArray[np.int64]:
        """Return the jobs that run elsewhere or at another time in the other plan."""
        moved = np.add.reduceat(self.choice.slots != other.choice.slots, self.begin[:-1]) > 0
        return np.flatnonzero((moved | (self.choice.region != other.choice.region)) & ~self.tied)

    def fits(self, job: int, other: Choice) -> bool:
        """Move the room of a job to its place in the other plan where that has room; tell whether."""
        part = slice(int(self.begin[job]), int(self.begin[job + 1]))
        held = self.problem.demand[job][:, None]
        here, there = (int(choice.region[job]) for choice in (self.choice, other))
        self.free[:, here, self.choice.slots[part]] += held
        if (self.free[:, there, other.slots[part]] >= held).all():
            self.free[:, there, other.slots[part]] -= held
            return True
        self.free[:, here, self.choice.slots[part]] -= held
        return False

    def take(self, job: int, other: Mixed, total_g: Array) -> None:
        """Write a job's place in the other plan down, whose room it has."""
        part = slice(int(self.begin[job]), int(self.begin[job + 1]))
        self.choice.region[job] = other.choice.region[job]
        self.choice.slots[part] = other.choice.slots[part]
        self.each_g[job] = other.each_g[job]
        self.total_g = total_g


def _pass(bench: _Bench, other: Mixed, tail: Tail, least_g: float, worst: Array) -> tuple[float, Array]:
    """Go once over the jobs that differ, those first that gain most under the worst weights."""
    jobs = bench.differs(other)
    gains_g = (other.each_g[jobs] - bench.each_g[jobs]) @ worst
    for job in jobs[np.argsort(gains_g, kind="stable")].tolist():
        change_g = other.each_g[job] - bench.each_g[job]
        # The tail is a maximum over weights: it falls no further than its own weights tell.
        if change_g @ worst >= -_LEAST * abs(least_g):
            continue
        total_g = bench.total_g + change_g
        found_g, weights = tail(total_g)
        if found_g < least_g * (1 - _LEAST) and bench.fits(job, other.choice):
            bench.take(job, other, total_g)
            least_g, worst = found_g, weights
    return least_g, worst


def blend(problem: Problem, plan: Mixed, others: Sequence[Mixed], tail: Tail) -> Mixed:
    """Put jobs where other plans have them, one at a time, as long as that lowers the tail.

    Parameters
    ----------
    problem : Problem
        The problem.
    plan : Mixed
        A feasible plan.
    others : sequence of Mixed
        More feasible plans.
    tail : callable
        Of totals (S,): the measure [g] and the weights of scenarios that make it, where the
        measure is the greatest weighted mean over a set of weights.

    Returns
    -------
    Mixed
        Feasible, and no worse.
    """
    bench = _Bench(problem, plan)
    least_g, worst = tail(bench.total_g)
    for _ in range(_PASSES):
        before_g = least_g
        for other in others:
            least_g, worst = _pass(bench, other, tail, least_g, worst)
        if not least_g < before_g:
            break
    return Mixed(bench.choice, bench.each_g)

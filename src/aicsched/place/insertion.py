"""Putting one job where there is room: what greedy policies and repairs share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.place.choice import Choice, load, pointers, room, spans
from aicsched.place.kernels.levels import pick_levels

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from aicsched.place.problem import Problem

    Spot = tuple[int, NDArray[np.int64]]
    Found = tuple[float, int, NDArray[np.int64]]

__all__ = ["Room", "build_by_insertion"]

_RETRIES: Final = 30


class Room:
    """Free capacity while jobs are put in and taken out.

    Parameters
    ----------
    problem : Problem
        The problem.
    choice : Choice, optional
        Jobs that are in already.
    """

    def __init__(self, problem: Problem, choice: Choice | None = None) -> None:
        self.problem = problem
        self.free = room(problem) - (0.0 if choice is None else load(problem, choice))
        self.watt_g = problem.watt_factor_w[:, None] * problem.g_per_kwh
        jobs = len(problem.job_ids)
        # A job that is out limits nobody: its end is 0, and its start behind all slots.
        self.starts_at = np.full(jobs, len(problem.slots))
        self.ends_at = np.zeros(jobs, np.int64)
        if choice is not None:
            self.starts_at, self.ends_at = (edge.copy() for edge in spans(problem, choice))
        self._earlier: dict[int, list[int]] = {}
        self._later: dict[int, list[int]] = {}
        for one, other in problem.order.tolist():
            self._earlier.setdefault(other, []).append(one)
            self._later.setdefault(one, []).append(other)

    def take(self, job: int, region: int, slots: NDArray[np.int64]) -> None:
        """Put a job in."""
        self.free[:, region, slots] -= self.problem.demand[job][:, None]
        self.starts_at[job], self.ends_at[job] = slots[0], slots[-1] + 1

    def starts(self, job: int, region: int) -> NDArray[np.int64]:
        """Return at which slots a contiguous job may start."""
        first, last, length = self._window(job)
        if last - first < length:
            return np.empty(0, np.int64)
        blocked = np.concatenate(([0], np.cumsum(~self._fits(job, region, first, last))))
        return first + np.flatnonzero(blocked[length:] == blocked[:-length])

    def open_slots(self, job: int, region: int) -> NDArray[np.int64]:
        """Return in which slots there is room for a job."""
        first, last, _ = self._window(job)
        return first + np.flatnonzero(self._fits(job, region, first, last))

    def _fits(self, job: int, region: int, first: int, last: int) -> NDArray[np.bool_]:
        held = self.problem.demand[job][:, None]
        return (self.free[:, region, first : max(first, last)] >= held).all(axis=0)

    def _window(self, job: int) -> tuple[int, int, int]:
        """Return a job's window, as those that it waits for and that wait for it leave it, and its length."""
        problem = self.problem
        first, last = int(problem.first[job]), int(problem.last[job])
        first = max([first, *(int(self.ends_at[other]) for other in self._earlier.get(job, ()))])
        last = min([last, *(int(self.starts_at[other]) for other in self._later.get(job, ()))])
        return first, last, int(problem.n_slots[job])

    def _slot_costs_g(self, job: int, region: int) -> NDArray[np.float64]:
        return self.problem.energy_kwh_per_w[job] * self.watt_g[region]

    def cheapest(self, job: int, region: int) -> tuple[float, NDArray[np.int64]] | None:
        """Return the cheapest slots with room in one region, and their cost [g]."""
        length = int(self.problem.n_slots[job])
        if self.problem.suspendable[job]:
            slots = self.open_slots(job, region)
            if len(slots) < length:
                return None
            costs = self._slot_costs_g(job, region)
            if self.problem.resume_kwh_per_w[job]:
                slots = self._pieces(job, region, slots, costs)
                return self.problem.cost_g(job, region, slots), slots
            slots = np.sort(slots[np.argsort(costs[slots], kind="stable")[:length]])
        else:
            starts = self.starts(job, region)
            if not len(starts):
                return None
            costs = self._slot_costs_g(job, region)
            sums = np.concatenate(([0.0], np.cumsum(costs)))
            slots = starts[int((sums[starts + length] - sums[starts]).argmin())] + np.arange(length)
        return float(costs[slots].sum() + self.problem.transfer_g[job, region]), slots

    def _pieces(
        self, job: int, region: int, slots: NDArray[np.int64], costs: NDArray[np.float64]
    ) -> NDArray[np.int64]:
        """Return the cheapest of the slots with room for a job whose suspensions cost."""
        begin, end = int(slots[0]), int(slots[-1]) + 1
        levels = np.full((end - begin, 1), np.inf)
        levels[slots - begin, 0] = costs[slots]
        again = self.problem.resume_kwh_per_w[job] * self.watt_g[region, begin:end]
        order = np.zeros(int(self.problem.n_slots[job]), np.int64)
        pick_levels(levels, again, len(order), order)
        return begin + order

    def cheapest_anywhere(self, job: int) -> Found | None:
        """Return the cheapest region and slots with room, and their cost [g]."""
        best: Found | None = None
        for region in np.flatnonzero(self.problem.allowed[job]).tolist():
            found = self.cheapest(job, region)
            if found is not None and (best is None or found[0] < best[0]):
                best = (found[0], region, found[1])
        return best


def build_by_insertion(
    problem: Problem,
    order: Sequence[int],
    insert: Callable[[Room, int], Spot | None],
) -> tuple[Choice, list[int]]:
    """Put jobs in one after another; who finds no room goes first in the next try.

    Parameters
    ----------
    problem : Problem
        The problem.
    order : sequence of int
        Jobs in the order of the first try.
    insert : callable
        From the room left and a job to its region and slots, or None.

    Returns
    -------
    tuple of Choice, list of int
        The choice, and the jobs left out after the last try (empty when all are in).
    """
    indptr = pointers(problem)
    queue = list(order)
    choice = Choice(np.zeros(len(queue), np.int64), np.zeros(int(indptr[-1]), np.int64))
    left_out: list[int] = []
    for _ in range(_RETRIES):
        space = Room(problem)
        left_out = []
        for job in queue:
            found = insert(space, job)
            if found is None:
                left_out.append(job)
                continue
            region, slots = found
            space.take(job, region, slots)
            choice.region[job] = region
            choice.slots[indptr[job] : indptr[job + 1]] = slots
        if not left_out:
            return choice, []
        late = set(left_out)
        queue = left_out + [job for job in queue if job not in late]
    return choice, left_out

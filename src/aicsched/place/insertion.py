"""Putting one job where there is room: what greedy policies and repairs share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.place.choice import Choice, costs_g, load_vcpus, pointers, room_vcpus

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from aicsched.place.problem import Problem

    Rank = Callable[["Room", int, int], NDArray[np.float64]]

__all__ = ["Room", "build_by_insertion", "improve"]

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
        self.free_vcpus = room_vcpus(problem) - (0.0 if choice is None else load_vcpus(problem, choice))
        self.watt_g = problem.watt_factor_w[:, None] * problem.g_per_kwh

    def take(self, job: int, region: int, slots: NDArray[np.int64]) -> None:
        """Put a job in."""
        self.free_vcpus[region, slots] -= self.problem.vcpus[job]

    def give_back(self, job: int, region: int, slots: NDArray[np.int64]) -> None:
        """Take a job out."""
        self.free_vcpus[region, slots] += self.problem.vcpus[job]

    def starts(self, job: int, region: int) -> NDArray[np.int64]:
        """Return at which slots a contiguous job may start."""
        first, last, length = self._window(job)
        full = self.free_vcpus[region, first:last] < self.problem.vcpus[job]
        blocked = np.concatenate(([0], np.cumsum(full)))
        return first + np.flatnonzero(blocked[length:] == blocked[:-length])

    def open_slots(self, job: int, region: int) -> NDArray[np.int64]:
        """Return in which slots there is room for a job."""
        first, last, _ = self._window(job)
        return first + np.flatnonzero(self.free_vcpus[region, first:last] >= self.problem.vcpus[job])

    def _window(self, job: int) -> tuple[int, int, int]:
        problem = self.problem
        return int(problem.first[job]), int(problem.last[job]), int(problem.n_slots[job])

    def cheapest(self, job: int, region: int) -> tuple[float, NDArray[np.int64]] | None:
        """Return the cheapest slots with room in one region, and what they emit [g]."""
        problem = self.problem
        length = int(problem.n_slots[job])
        watt_g = self.watt_g[region]
        if problem.suspendable[job]:
            slots = self.open_slots(job, region)
            if len(slots) < length:
                return None
            slots = np.sort(slots[np.argsort(watt_g[slots], kind="stable")[:length]])
        else:
            starts = self.starts(job, region)
            if not len(starts):
                return None
            sums = np.concatenate(([0.0], np.cumsum(watt_g)))
            windows = sums[starts + length] - sums[starts]
            slots = starts[int(windows.argmin())] + np.arange(length)
        cost_g = problem.energy_kwh_per_w[job] * watt_g[slots].sum() + problem.transfer_g[job, region]
        return float(cost_g), slots

    def cheapest_anywhere(self, job: int) -> tuple[float, int, NDArray[np.int64]] | None:
        """Return the cheapest region and slots with room, and what they emit [g]."""
        best: tuple[float, int, NDArray[np.int64]] | None = None
        for region in np.flatnonzero(self.problem.allowed[job]).tolist():
            found = self.cheapest(job, region)
            if found is not None and (best is None or found[0] < best[0]):
                best = (found[0], region, found[1])
        return best


def build_by_insertion(
    problem: Problem,
    order: Sequence[int],
    insert: Callable[[Room, int], tuple[int, NDArray[np.int64]] | None],
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
        room = Room(problem)
        left_out = []
        for job in queue:
            found = insert(room, job)
            if found is None:
                left_out.append(job)
                continue
            region, slots = found
            room.take(job, region, slots)
            choice.region[job] = region
            choice.slots[indptr[job] : indptr[job + 1]] = slots
        if not left_out:
            return choice, []
        late = set(left_out)
        queue = left_out + [job for job in queue if job not in late]
    return choice, left_out


def improve(problem: Problem, choice: Choice, *, seed: int, rounds: int, ruin: int = 8) -> Choice:
    """Take a few jobs out that are in each other's way, put them back better, keep what helps.

    Parameters
    ----------
    problem : Problem
        The problem.
    choice : Choice
        A feasible choice.
    seed : int
        Seed of the draws.
    rounds : int
        How often.
    ruin : int
        Jobs taken out at a time.

    Returns
    -------
    Choice
        Feasible, and never worse.
    """
    rng = np.random.default_rng(seed)
    made = choice.copy()
    indptr = pointers(problem)
    room = Room(problem, made)
    cost = costs_g(problem, made)
    alone = _cheapest_alone(problem)
    for _ in range(rounds):
        regret = np.maximum(cost - alone, 0)
        if regret.sum() <= 0:
            break
        jobs = _neighbours(problem, made, regret, rng, ruin)
        _reinsert(room, made, indptr, cost, jobs, rng)
    return made


def _cheapest_alone(problem: Problem) -> NDArray[np.float64]:
    room = Room(problem)
    return np.array([(room.cheapest_anywhere(job) or (np.inf,))[0] for job in range(len(problem.job_ids))])


def _neighbours(
    problem: Problem, choice: Choice, regret: NDArray[np.float64], rng: np.random.Generator, count: int
) -> NDArray[np.int64]:
    """Pick a job that pays for its place, and jobs that use what it would like."""
    pick = int(rng.choice(len(regret), p=regret / regret.sum()))
    indptr = pointers(problem)
    starts, ends = choice.slots[indptr[:-1]], choice.slots[indptr[1:] - 1]
    near = (
        (starts < problem.last[pick]) & (ends >= problem.first[pick]) & problem.allowed[pick][choice.region]
    )
    near[pick] = False
    others = np.flatnonzero(near)
    picked = rng.choice(others, size=min(count - 1, len(others)), replace=False)
    return np.concatenate(([pick], picked))


def _reinsert(
    room: Room,
    choice: Choice,
    indptr: NDArray[np.int64],
    cost: NDArray[np.float64],
    jobs: NDArray[np.int64],
    rng: np.random.Generator,
) -> None:
    before = [(int(choice.region[job]), choice.slots[indptr[job] : indptr[job + 1]].copy()) for job in jobs]
    for job, (region, slots) in zip(jobs, before, strict=True):
        room.give_back(job, region, slots)
    order = [int(job) for job in (jobs if rng.random() < 0.5 else rng.permutation(jobs))]
    after: dict[int, tuple[float, int, NDArray[np.int64]]] = {}
    for job in order:
        found = room.cheapest_anywhere(job)
        if found is None:
            break
        room.take(job, found[1], found[2])
        after[job] = found
    better = len(after) == len(order) and sum(item[0] for item in after.values()) < cost[jobs].sum() - 1e-9
    if better:
        for job, (cost_g, region, slots) in after.items():
            choice.region[job], cost[job] = region, cost_g
            choice.slots[indptr[job] : indptr[job + 1]] = slots
        return
    for job, (_, region, slots) in after.items():
        room.give_back(job, region, slots)
    for job, (region, slots) in zip(jobs, before, strict=True):
        room.take(job, region, slots)

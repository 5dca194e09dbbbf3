"""Who gets a reserved machine where a simulator goes by ticks: to repeat published figures to the cent.

GAIA's simulator (doi:10.1145/3620666.3651333) takes all waiting jobs out of a binary heap at
each tick of five seconds and puts back those that go on waiting. The heap knows
their time of arrival only, so jobs of one tick, and all parts of a suspended job,
change places among themselves at each tick. Who of them is first decides who gets
the last reserved machine: 0.4 points of the carbon of RES-First hang on it. Here
the same order is found without ticks: while nothing else happens, each tick applies
one permutation, and a power of it takes a few steps.
"""

from __future__ import annotations

from heapq import heappop
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["dispatch_by_ticks"]


class _Rank(float):
    """A time of arrival that knows whose it is, and is compared as a number."""

    __slots__ = ("item",)
    item: int


def _ranks(arrival: list[float], items: list[int]) -> list[_Rank]:
    made: list[_Rank] = []
    for item in items:
        rank = _Rank(arrival[item])
        rank.item = item
        made.append(rank)
    return made


def _drained(heap: list[_Rank]) -> list[_Rank]:
    """Take all out, in the order that a heap gives them; the argument is used up."""
    if len(set(heap)) == len(heap):
        # Without ties a heap that was filled in order is in order.
        return heap
    return [heappop(heap) for _ in range(len(heap))]


def _after(heap: list[_Rank], ticks: int) -> list[_Rank]:
    """Return the heap after some ticks in which it was emptied and filled again."""
    if ticks <= 0 or len(set(heap)) == len(heap):
        return heap
    places = _ranks([float(rank) for rank in heap], list(range(len(heap))))
    once = np.array([rank.item for rank in _drained(places)], dtype=np.int64)
    order = np.arange(len(heap))
    while ticks:
        if ticks & 1:
            order = order[once]
        once = once[once]
        ticks >>= 1
    return [heap[place] for place in order.tolist()]


class _Reserved:
    """The reserved pool: what is free, and what comes back when."""

    def __init__(self, vcpus: float, delay: int) -> None:
        self.free = vcpus
        self.delay = delay
        self.back: dict[int, float] = {}

    def take(self, now: int, ticks: int, vcpus: float) -> None:
        self.free -= vcpus
        when = now + ticks + self.delay
        self.back[when] = self.back.get(when, 0.0) + vcpus

    def until(self, now: int) -> None:
        for when in [when for when in self.back if when <= now]:
            self.free += self.back.pop(when)


def dispatch_by_ticks(  # noqa: PLR0913 - the columns of a log
    *,
    arrival_s: NDArray[np.float64],
    planned_s: NDArray[np.float64],
    duration_s: NDArray[np.float64],
    vcpus: NDArray[np.float64],
    eager: NDArray[np.bool_],
    spot: NDArray[np.bool_],
    reserved_vcpus: float,
    tick_s: float,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Start runs at their time, or sooner on a reserved machine, in the order that ticks give them.

    Parameters
    ----------
    arrival_s, planned_s, duration_s : ndarray of float64, shape (n,)
        When a run was submitted, when it starts at the latest, and how long it takes; whole ticks [s].
    vcpus : ndarray of float64, shape (n,)
        On how many threads.
    eager, spot : ndarray of bool, shape (n,)
        It may start sooner; it takes no reserved machine.
    reserved_vcpus : float
        Size of the pool. What is given back can be had one tick later.
    tick_s : float
        Length of a tick [s].

    Returns
    -------
    tuple of ndarray
        When each run starts [s], and whether it is on a reserved machine, both of shape (n,).
    """
    arrival, planned, ticks = (
        np.round(values / tick_s).astype(np.int64) for values in (arrival_s, planned_s, duration_s)
    )
    ranks = [float(value) for value in arrival.tolist()]
    due, size, takes, hasty = planned.tolist(), vcpus.tolist(), ticks.tolist(), eager.tolist()
    cheap = spot.tolist()
    order = np.argsort(arrival, kind="stable").tolist()
    start, kept = planned.copy(), np.zeros(len(planned), dtype=np.bool_)
    pool = _Reserved(reserved_vcpus, 1)
    # All moments at which something may happen are known but those at which machines come back.
    moments = iter(np.unique(np.concatenate([arrival, planned])).tolist())
    ahead = next(moments, None)
    heap: list[_Rank] = []
    come, last, looks = 0, 0, any(hasty)
    while ahead is not None:
        now = min([ahead, *pool.back]) if looks and heap else ahead
        if now == ahead:
            ahead = next(moments, None)
        pool.until(now)
        heap = _after(heap, now - last - 1)
        arrived: list[int] = []
        while come < len(order) and arrival[order[come]] <= now:
            arrived.append(order[come])
            come += 1
        stay: list[_Rank] = []
        for rank in _drained(heap + _ranks(ranks, arrived)):
            item = rank.item
            fits = not cheap[item] and size[item] <= pool.free
            if due[item] <= now or (hasty[item] and fits):
                start[item], kept[item] = now, fits
                if fits:
                    pool.take(now, takes[item], size[item])
            else:
                stay.append(rank)
        heap, last = stay, now
    return start.astype(np.float64) * tick_s, kept

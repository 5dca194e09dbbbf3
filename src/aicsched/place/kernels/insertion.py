"""Putting jobs in one after another, each into its cheapest place with room."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from aicsched.jit import Kernel
from aicsched.place.kernels.seats import SEAT_HELPERS, cheapest, seat, take, window

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Indices = NDArray[np.int64]

__all__ = ["ANSWER", "INSERT"]


def _loop(
    queue: Indices,
    facts: Indices,
    uses: Array,
    fixed: Array,
    rates: Array,
    before: Indices,
    after: Indices,
    least: Array,
    turn: NDArray[np.int32],
    free: Array,
    region: Indices,
    spots: Indices,
    span: Indices,
    head: Indices,
    link: Indices,
    left: Indices,
) -> int:
    slots = free.shape[2]
    cost = np.zeros(slots + 1)
    order = np.zeros(slots + 1, np.int64)
    count = 0
    for index in range(queue.size):
        job = queue[index]
        first, last = window(job, facts, before, after, region, span)
        place, start = cheapest(
            job, first, last, facts, uses, fixed, rates, free, 1.0, least, turn, cost, order
        )
        if place < 0:
            left[count] = job
            count += 1
            continue
        seat(job, place, start, first, last, facts, uses, rates, free, 1.0, cost, order, region, spots, span)
        take(job, facts, uses, free, region, spots, span, head, link)
    return count


def _work(queue: Indices, facts: Indices, _uses: Array, fixed: Array, rates: Array, *_rest: Any) -> float:
    span = float((facts[:, 2] - facts[:, 1]).mean()) if facts.size else 0.0
    return 3000.0 * queue.size * fixed.shape[1] * span * rates.shape[0]


_READ = 'Array({}, {}, "C", readonly=True)'
# queue, then facts, uses, fixed, rates, before, after, least cost and order of regions (see seats), state
# of the plan, and out: jobs left out → how many were.
INSERT = Kernel(
    _loop,
    _loop,
    signature="int64("
    + ", ".join(
        [_READ.format("int64", 1), _READ.format("int64", 2), _READ.format("float64", 2)]
        + [_READ.format("float64", 2), _READ.format("float64", 3)]
        + [_READ.format("int64", 1)] * 2
        + [_READ.format("float64", 2), _READ.format("int32", 2)]
    )
    + ", float64[:, :, ::1], int64[::1], int64[::1], int64[:, ::1], int64[:, ::1], int64[:, ::1], int64[::1])",
    work=_work,
    helpers=SEAT_HELPERS,
    exact=False,
)


def _answer(
    facts: Indices,
    uses: Array,
    rates: Array,
    endless: Array,
    best: NDArray[np.int32],
    wish: NDArray[np.int32],
    region: Indices,
    spots: Indices,
) -> None:
    slots = rates.shape[2]
    cost = np.zeros(slots + 1)
    order = np.zeros(slots + 1, np.int64)
    span = np.zeros((facts.shape[0], 2), np.int64)
    for job in range(facts.shape[0]):
        place = best[job]
        seat(
            job,
            place,
            wish[job, place],
            facts[job, 1],
            facts[job, 2],
            facts,
            uses,
            rates,
            endless,
            1.0,
            cost,
            order,
            region,
            spots,
            span,
        )


# facts, uses, rates, endless room, best region and wishes of each job, out: region and spots.
ANSWER = Kernel(
    _answer,
    _answer,
    signature="void("
    + ", ".join(
        [_READ.format("int64", 2), _READ.format("float64", 2), _READ.format("float64", 3)]
        + [_READ.format("float64", 3), _READ.format("int32", 1), _READ.format("int32", 2)]
    )
    + ", int64[::1], int64[::1])",
    work=lambda facts, *_rest: 50000.0 * float((facts[:, 2] - facts[:, 1]).sum()),
    helpers=SEAT_HELPERS,
    exact=False,
)

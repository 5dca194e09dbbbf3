"""Putting jobs in one after another, each into its cheapest place with room."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from aicsched.jit import Kernel
from aicsched.place.kernels.levels import FORMS, PROFILES, hold_levels
from aicsched.place.kernels.seats import (
    SEAT_HELPERS,
    STATE,
    TABLES,
    cheapest,
    read_only,
    seat,
    take,
    window,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Indices = NDArray[np.int64]

__all__ = ["ANSWER", "INSERT", "LEVEL_ANSWER", "LEVEL_INSERT", "LEVEL_PLACE", "PLACE"]


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


# queue, then facts, uses, fixed, rates, before, after, least cost and order of regions (see seats), state
# of the plan, and out: jobs left out → how many were.
INSERT, LEVEL_INSERT = (
    Kernel(
        _loop,
        _loop,
        signature=f"int64({read_only('int64', 1)}, {TABLES}, {read_only('float64', 2)}, "
        f"{read_only('int32', 2)}, {STATE}, int64[::1])",
        work=_work,
        helpers=SEAT_HELPERS,
        constants=form,
        exact=False,
    )
    for form in FORMS
)


def _place(
    facts: Indices,
    uses: Array,
    free: Array,
    region: Indices,
    spots: Indices,
    span: Indices,
    head: Indices,
    link: Indices,
) -> None:
    for job in range(facts.shape[0]):
        if region[job] >= 0:
            span[job, 0] = spots[facts[job, 4]]
            span[job, 1] = spots[facts[job, 4] + facts[job, 0] - 1] + 1
            take(job, facts, uses, free, region, spots, span, head, link)


def _place_work(facts: Indices, *_rest: Any) -> float:
    return 2000.0 * float(facts[:, 0].sum())


# facts, uses, and the state of a plan with regions and spots written down: takes room and makes the rings.
PLACE, LEVEL_PLACE = (
    Kernel(
        _place,
        _place,
        signature=f"void({read_only('int64', 2)}, {read_only('float64', 2)}, {STATE})",
        work=_place_work,
        helpers=SEAT_HELPERS,
        constants=form,
        exact=False,
    )
    for form in FORMS
)


def _answer(
    facts: Indices,
    uses: Array,
    rates: Array,
    endless: Array,
    best: NDArray[np.int32],
    start: NDArray[np.int32],
    region: Indices,
    spots: Indices,
    load: Array,
) -> None:
    slots = rates.shape[2]
    cost = np.zeros(slots)
    order = np.zeros(slots, np.int64)
    span = np.zeros((facts.shape[0], 2), np.int64)
    costs = uses.shape[1] - load.shape[0]
    for job in range(facts.shape[0]):
        place = best[job]
        seat(
            job,
            place,
            start[job],
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
        if PROFILES and facts[job, 3] > 1:
            hold_levels(job, place, 1.0, facts, uses, load, spots)
            continue
        for index in range(facts[job, 4], facts[job, 4] + facts[job, 0]):
            for resource in range(load.shape[0]):
                load[resource, place, spots[index]] += uses[job, costs + resource]


def _answer_work(facts: Indices, *_rest: Any) -> float:
    return 200000.0 * float((facts[:, 2] - facts[:, 1]).sum())


# facts, uses, rates, endless room, best region of each job and its first slot there, out: region, spots
# and load (K, R, T).
ANSWER, LEVEL_ANSWER = (
    Kernel(
        _answer,
        _answer,
        signature=f"void({read_only('int64', 2)}, {read_only('float64', 2)}, {read_only('float64', 3)}, "
        f"{read_only('float64', 3)}, {read_only('int32', 1)}, {read_only('int32', 1)}, "
        "int64[::1], int64[::1], float64[:, :, ::1])",
        work=_answer_work,
        helpers=SEAT_HELPERS,
        constants=form,
        exact=False,
    )
    for form in FORMS
)

"""The cheapest other region of each job that sits, with the room that the others leave."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from aicsched.jit import Kernel
from aicsched.place.kernels.levels import FORMS
from aicsched.place.kernels.seats import SEAT_HELPERS, TABLES, priced_in, read_only, window

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Indices = NDArray[np.int64]

__all__ = ["LEVEL_RUNNER_UP", "RUNNER_UP"]


def _loop(
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
    span: Indices,
    place: Indices,
    grams: Array,
) -> None:
    slots = free.shape[2]
    cost = np.zeros(slots + 1)
    order = np.zeros(slots + 1, np.int64)
    for job in range(facts.shape[0]):
        # Its own room lies in its own region, which is not asked: nothing has to be given back.
        first, last = window(job, facts, before, after, region, span)
        place[job] = -1
        grams[job] = np.inf
        for rank in range(turn.shape[1]):
            other = turn[job, rank]
            if least[job, other] >= grams[job]:
                break
            if other == region[job]:
                continue
            here, _ = priced_in(job, other, first, last, facts, uses, rates, free, 1.0, cost, order)
            if here + fixed[job, other] < grams[job]:
                grams[job] = here + fixed[job, other]
                place[job] = other


def _work(facts: Indices, _uses: Array, fixed: Array, rates: Array, *_rest: Any) -> float:
    span = float((facts[:, 2] - facts[:, 1]).mean()) if facts.size else 0.0
    return 3000.0 * facts.shape[0] * fixed.shape[1] * span * rates.shape[0]


# facts, uses, fixed, rates, before, after, least cost and order of regions (see seats), room left, region and
# span of each job, out: the other region (-1: none has room) and what the job emits there [g].
RUNNER_UP, LEVEL_RUNNER_UP = (
    Kernel(
        _loop,
        _loop,
        signature=f"void({TABLES}, {read_only('float64', 2)}, {read_only('int32', 2)}, "
        "float64[:, :, ::1], int64[::1], int64[:, ::1], int64[::1], float64[::1])",
        work=_work,
        helpers=SEAT_HELPERS,
        constants=form,
        exact=False,
    )
    for form in FORMS
)

"""The pricing oracle: each job's cheapest place at given prices, in every region.

With a price per resource, region and slot, jobs no longer compete: each one's best
answer is exact and independent of the others, so rows of jobs are shared out to
threads. Window sums come from prefix sums, one difference a start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from aicsched.jit import Kernel
from aicsched.place.kernels.levels import FORMS, LEVEL_HELPERS, PROFILES, spread_levels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Indices = NDArray[np.int64]

__all__ = ["BOUND", "LEVEL_BOUND", "LEVEL_PRICE", "PRICE", "part_smallest"]


def part_smallest(values: Array, order: Indices, count: int, most: int) -> None:
    """Bring the indices of the `count` smallest of `most` values to the front of `order` (Hoare 1961).

    Ties go to the lower index, so that the answer doesn't depend on the pivots.
    """
    low = 0
    high = most - 1
    while low < high:
        pivot = order[(low + high) // 2]
        mark = values[pivot]
        left = low
        right = high
        while left <= right:
            while values[order[left]] < mark or (values[order[left]] == mark and order[left] < pivot):
                left += 1
            while values[order[right]] > mark or (values[order[right]] == mark and order[right] > pivot):
                right -= 1
            if left <= right:
                kept = order[left]
                order[left] = order[right]
                order[right] = kept
                left += 1
                right -= 1
        if count - 1 <= right:
            high = right
        elif count - 1 >= left:
            low = left
        else:
            return


def _smallest(values: Array) -> float:
    """Return the least of some values: four at a time, so that no comparison waits for the one before."""
    one = np.inf
    two = np.inf
    three = np.inf
    four = np.inf
    whole = values.size // 4
    for group in range(whole):
        one = min(one, values[4 * group])
        two = min(two, values[4 * group + 1])
        three = min(three, values[4 * group + 2])
        four = min(four, values[4 * group + 3])
    for rest in range(4 * whole, values.size):
        one = min(one, values[rest])
    return min(one, two, three, four)


def _least(
    job: int,
    region: int,
    facts: Indices,
    uses: Array,
    sums: Array,
    cost: Array,
    order: Indices,
) -> tuple[Any, int]:
    """Return a job's least cost in one region, and the first slot of that answer."""
    length = facts[job, 0]
    begin = facts[job, 1]
    span = 1 if facts[job, 3] > 0 else length
    count = facts[job, 2] - begin - span + 1
    # Slices count from 0, which lets the compiler see that no index is negative, and use vectors.
    for rate in range(uses.shape[1]):
        use = uses[job, rate]
        low = sums[rate, region, begin:]
        high = sums[rate, region, begin + span :]
        if rate == 0:
            for place in range(count):
                cost[place] = use * (high[place] - low[place])
        else:
            for place in range(count):
                cost[place] += use * (high[place] - low[place])
    best = np.inf
    chosen = 0
    if PROFILES and facts[job, 3] > 1:
        energy = sums[0, region, begin + 1 : begin + 1 + count] - sums[0, region, begin : begin + count]
        best = spread_levels(job, cost[:count], energy, facts, uses, order)
        return best, begin + order[0]
    if facts[job, 3] == 1:
        for place in range(count):
            order[place] = place
        part_smallest(cost, order, length, count)
        best = 0.0
        chosen = count
        for rank in range(length):
            best += cost[order[rank]]
            chosen = min(chosen, order[rank])
        return best, begin + chosen
    best = _smallest(cost[:count])
    while cost[chosen] > best:
        chosen += 1
    return best, begin + chosen


def _price(
    first_job: int,
    last_job: int,
    facts: Indices,
    uses: Array,
    fixed: Array,
    sums: Array,
    reduced: Array,
    start: NDArray[np.int32],
) -> None:
    slots = sums.shape[2]
    cost = np.zeros(slots)
    order = np.zeros(slots, np.int64)
    for job in range(first_job, last_job):
        for region in range(fixed.shape[1]):
            reduced[job, region] = np.inf
            start[job, region] = -1
            if fixed[job, region] < np.inf:
                best, begin = _least(job, region, facts, uses, sums, cost, order)
                reduced[job, region] = best + fixed[job, region]
                start[job, region] = begin


def _bound(
    first_job: int,
    last_job: int,
    facts: Indices,
    uses: Array,
    fixed: Array,
    sums: Array,
    reduced: Array,
    region_of: NDArray[np.int32],
    start: NDArray[np.int32],
) -> None:
    slots = sums.shape[2]
    cost = np.zeros(slots)
    order = np.zeros(slots, np.int64)
    for job in range(first_job, last_job):
        least = np.inf
        for region in range(fixed.shape[1]):
            if fixed[job, region] < least:
                best, begin = _least(job, region, facts, uses, sums, cost, order)
                if best + fixed[job, region] < least:
                    least = best + fixed[job, region]
                    region_of[job] = region
                    start[job] = begin
        reduced[job] = least


def _work(first_job: int, last_job: int, facts: Indices, uses: Array, fixed: Array, *_rest: Any) -> float:
    # A plain step takes some fifty times as long as what the limit is meant for, and prices are asked for
    # hundreds of times.
    mean_span = float((facts[:, 2] - facts[:, 1]).mean()) if facts.size else 0.0
    return 15000.0 * (last_job - first_job) * fixed.shape[1] * mean_span * (1 + uses.shape[1])


_TABLES = (
    'int64, int64, Array(int64, 2, "C", readonly=True), Array(float64, 2, "C", readonly=True), '
    'Array(float64, 2, "C", readonly=True), Array(float64, 3, "C", readonly=True), '
)
# rows from, to, facts (J, 5: see seats), uses (J + P, M), fixed cost (J, R; inf
# where forbidden), prefix sums of rates (M, R, T + 1), out: reduced cost and first slot (J, R).
PRICE, LEVEL_PRICE = (
    Kernel(
        _price,
        _price,
        signature=f"void({_TABLES} float64[:, ::1], int32[:, ::1])",
        work=_work,
        helpers=(*LEVEL_HELPERS, part_smallest, _smallest, _least),
        constants=form,
        exact=False,
    )
    for form in FORMS
)
# The same, out: least reduced cost, its region and first slot (J,). Rates are never below 0, so a region
# whose fixed cost is above the least so far is passed over.
BOUND, LEVEL_BOUND = (
    Kernel(
        _bound,
        _bound,
        signature=f"void({_TABLES} float64[::1], int32[::1], int32[::1])",
        work=_work,
        helpers=(*LEVEL_HELPERS, part_smallest, _smallest, _least),
        constants=form,
        exact=False,
    )
    for form in FORMS
)

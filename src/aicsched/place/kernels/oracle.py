"""The pricing oracle: each job's cheapest place at given prices, in every region.

With a price per resource, region and slot, jobs no longer compete: each one's best
answer is exact and independent of the others, so rows of jobs are shared out to
threads. Window sums come from prefix sums, one difference a start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from aicsched.jit import Kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Indices = NDArray[np.int64]

__all__ = ["PRICE", "part_smallest"]


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


def _loop(
    first_job: int,
    last_job: int,
    facts: Indices,
    uses: Array,
    fixed: Array,
    sums: Array,
    reduced: Array,
    start: Any,  # noqa: ANN401 - int32, which numpy's annotations make long
) -> None:
    regions = fixed.shape[1]
    rates = uses.shape[1]
    slots = sums.shape[2] - 1
    cost = np.zeros(slots + 1)
    order = np.zeros(slots + 1, np.int64)
    for job in range(first_job, last_job):
        length = facts[job, 0]
        begin = facts[job, 1]
        pieces = facts[job, 3]
        span = 1 if pieces == 1 else length
        count = facts[job, 2] - begin - span + 1
        for region in range(regions):
            if fixed[job, region] == np.inf:
                reduced[job, region] = np.inf
                start[job, region] = -1
                continue
            for place in range(count):
                cost[place] = 0.0
            for rate in range(rates):
                use = uses[job, rate]
                for place in range(count):
                    cost[place] += use * (
                        sums[rate, region, begin + place + span] - sums[rate, region, begin + place]
                    )
            if pieces == 1:
                for place in range(count):
                    order[place] = place
                part_smallest(cost, order, length, count)
                total = 0.0
                least = slots
                for rank in range(length):
                    total += cost[order[rank]]
                    least = min(least, order[rank])
                reduced[job, region] = total + fixed[job, region]
                start[job, region] = begin + least
            else:
                best = np.inf
                for place in range(count):
                    best = min(best, cost[place])
                chosen = 0
                while cost[chosen] > best:
                    chosen += 1
                reduced[job, region] = best + fixed[job, region]
                start[job, region] = begin + chosen


def _work(first_job: int, last_job: int, facts: Indices, uses: Array, fixed: Array, *_rest: Any) -> float:
    # A plain step takes some fifty times as long as what the limit is meant for, and prices are asked for
    # hundreds of times.
    mean_span = float((facts[:, 2] - facts[:, 1]).mean()) if facts.size else 0.0
    return 15000.0 * (last_job - first_job) * fixed.shape[1] * mean_span * (1 + uses.shape[1])


# rows from, to, facts (J, 4: slots needed, first, last, pieces), uses (J, M), fixed cost (J, R; inf where
# forbidden), prefix sums of rates (M, R, T + 1), out: reduced cost and first slot (J, R).
PRICE = Kernel(
    _loop,
    _loop,
    signature=(
        'void(int64, int64, Array(int64, 2, "C", readonly=True), Array(float64, 2, "C", readonly=True), '
        'Array(float64, 2, "C", readonly=True), Array(float64, 3, "C", readonly=True), '
        "float64[:, ::1], int32[:, ::1])"
    ),
    work=_work,
    helpers=(part_smallest,),
    exact=False,
)

"""Finding a job's cheapest place with room, and putting jobs in and out: what kernels share.

State of a plan, all arrays: `region` (J,) with -1 for a job that is out; `spots`, the
slots of all jobs one after another; `span` (J, 2), first slot and end of each; `free`
(K, R, T), the room left; `head` (R, T) and `link` (J, 2), rings of the jobs that start in
a slot. Facts of jobs: `facts` (J, 5): slots needed, first, last, pieces (more than 1 with a
profile, see `levels`), where its spots start. `uses` (J + P, M): what it uses of each rate, the
last K are resources; then profiles. `rates` (M, R, T), that of energy first. `before` and
`after`: which jobs must end before it starts, and start after it ends, as pointers (J + 1,)
followed by indices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from aicsched.place.kernels.levels import (
    LEVEL_HELPERS,
    PROFILES,
    fewest_slots,
    fit_levels,
    hold_levels,
    spent_levels,
)
from aicsched.place.kernels.oracle import part_smallest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Indices = NDArray[np.int64]

__all__ = [
    "SEAT_HELPERS",
    "STATE",
    "TABLES",
    "cheapest",
    "draw",
    "holds",
    "leave",
    "pick",
    "priced_in",
    "read_only",
    "seat",
    "share",
    "spent",
    "take",
    "window",
    "write",
]


def draw(state: NDArray[np.uint64], most: int) -> Any:  # noqa: ANN401 - numpy's integer
    """Return a whole number below `most` (xorshift, Marsaglia 2003, doi:10.18637/jss.v008.i14)."""
    word = state[0]
    word ^= word << np.uint64(13)
    word ^= word >> np.uint64(7)
    word ^= word << np.uint64(17)
    state[0] = word
    return np.int64((word >> np.uint64(11)) % np.uint64(most))


def share(state: NDArray[np.uint64]) -> float:
    """Return a number in [0, 1)."""
    return draw(state, 1 << 52) * (1.0 / (1 << 52))


def window(
    job: int, facts: Indices, before: Indices, after: Indices, region: Indices, span: Indices
) -> tuple[int, int]:
    """Return a job's window as the jobs that it waits for, and those that wait for it, leave it."""
    first = facts[job, 1]
    last = facts[job, 2]
    for index in range(before[job], before[job + 1]):
        other = before[index]
        if region[other] >= 0:
            first = max(first, span[other, 1])
    for index in range(after[job], after[job + 1]):
        other = after[index]
        if region[other] >= 0:
            last = min(last, span[other, 0])
    return first, last


def _slot_cost(
    job: int, place: int, slot: int, uses: Array, rates: Array, resources: int, weight: float
) -> float:
    costs = rates.shape[0] - resources
    total = 0.0
    for rate in range(costs):
        total += uses[job, rate] * rates[rate, place, slot]
    for rate in range(costs, rates.shape[0]):
        total += weight * uses[job, rate] * rates[rate, place, slot]
    return total


def _lay_costs(
    job: int,
    place: int,
    first: int,
    last: int,
    uses: Array,
    rates: Array,
    free: Array,
    weight: float,
    cost: Array,
) -> None:
    """Write down what each slot of a window costs a job; inf where it has no room."""
    costs = rates.shape[0] - free.shape[0]
    count = last - first
    # Slices count from 0, which lets the compiler see that no index is negative, and use vectors.
    for rate in range(rates.shape[0]):
        use = uses[job, rate] * (1.0 if rate < costs else weight)
        row = rates[rate, place, first:last]
        if rate == 0:
            for slot in range(count):
                cost[slot] = use * row[slot]
        else:
            for slot in range(count):
                cost[slot] += use * row[slot]
    for resource in range(free.shape[0]):
        use = uses[job, costs + resource]
        row = free[resource, place, first:last]
        for slot in range(count):
            if row[slot] < use:
                cost[slot] = np.inf


def priced_in(
    job: int,
    place: int,
    first: int,
    last: int,
    facts: Indices,
    uses: Array,
    rates: Array,
    free: Array,
    weight: float,
    cost: Array,
    order: Indices,
) -> tuple[Any, int]:
    """Return what the cheapest spots with room in one region cost, and the first of them.

    The slots of a job in pieces are left at the front of `order`, which counts from `first`.
    """
    if last - first < fewest_slots(job, facts):
        return np.inf, -1
    _lay_costs(job, place, first, last, uses, rates, free, weight, cost)
    if PROFILES and facts[job, 3] > 1:
        energy = rates[0, place, first:last]
        best = fit_levels(job, cost[: last - first], energy, free[:, place, first:last], facts, uses, order)
        return best, first if best < np.inf else -1
    return pick(job, first, last, facts, cost, order)


def pick(job: int, first: int, last: int, facts: Indices, cost: Array, order: Indices) -> tuple[Any, int]:
    """Return the least sum of `cost` that a job can have, as `priced_in` does."""
    length = facts[job, 0]
    best = np.inf
    chosen = -1
    if facts[job, 3] == 1:
        count = 0
        for slot in range(last - first):
            if cost[slot] < np.inf:
                order[count] = slot
                count += 1
        if count >= length:
            part_smallest(cost, order, length, count)
            best = 0.0
            for rank in range(length):
                best += cost[order[rank]]
            chosen = first
        return best, chosen
    run = 0
    total = 0.0
    for slot in range(last - first):
        here = cost[slot]
        if here == np.inf:
            run = 0
            total = 0.0
            continue
        total += here
        run += 1
        if run > length:
            total -= cost[slot - length]
        if run >= length and total < best:
            best = total
            chosen = first + slot - length + 1
    return best, chosen


def cheapest(
    job: int,
    first: int,
    last: int,
    facts: Indices,
    uses: Array,
    fixed: Array,
    rates: Array,
    free: Array,
    weight: float,
    least: Array,
    turn: NDArray[np.int32],
    cost: Array,
    order: Indices,
) -> tuple[int, int]:
    """Return the cheapest region with room and the first slot there; -1 where there is none.

    Regions come in the order of their least priced cost: once that is above what is
    found, the rest can't be cheaper at full prices (`weight` 1), and hardly at less.
    """
    best = np.inf
    found = -1
    chosen = -1
    for rank in range(turn.shape[1]):
        place = turn[job, rank]
        if least[job, place] >= best:
            break
        here, start = priced_in(job, place, first, last, facts, uses, rates, free, weight, cost, order)
        if here + fixed[job, place] < best:
            best = here + fixed[job, place]
            found = place
            chosen = start
    return found, chosen


def seat(
    job: int,
    place: int,
    start: int,
    first: int,
    last: int,
    facts: Indices,
    uses: Array,
    rates: Array,
    free: Array,
    weight: float,
    cost: Array,
    order: Indices,
    region: Indices,
    spots: Indices,
    span: Indices,
) -> None:
    """Write a job's cheapest spots in a region down."""
    if facts[job, 3] > 0:
        priced_in(job, place, first, last, facts, uses, rates, free, weight, cost, order)
    write(job, place, start, first, facts, order, region, spots, span)


def write(
    job: int,
    place: int,
    start: int,
    first: int,
    facts: Indices,
    order: Indices,
    region: Indices,
    spots: Indices,
    span: Indices,
) -> None:
    """Write down the spots that `pick` chose."""
    length = facts[job, 0]
    here = facts[job, 4]
    if facts[job, 3] > 0:
        for rank in range(length):
            # Sorted by insertion: there are few, and numpy's sort would cost a copy.
            slot = first + order[rank]
            hole = here + rank
            while hole > here and spots[hole - 1] > slot:
                spots[hole] = spots[hole - 1]
                hole -= 1
            spots[hole] = slot
    else:
        for rank in range(length):
            spots[here + rank] = start + rank
    region[job] = place
    span[job, 0] = spots[here]
    span[job, 1] = spots[here + length - 1] + 1


def holds(job: int, slot: int, facts: Indices, spots: Indices, span: Indices) -> bool:
    """Tell whether a job holds a slot of its region."""
    if slot < span[job, 0] or slot >= span[job, 1]:
        return False
    if facts[job, 3] == 0:
        return True
    for index in range(facts[job, 4], facts[job, 4] + facts[job, 0]):
        if spots[index] == slot:
            return True
    return False


def take(
    job: int,
    facts: Indices,
    uses: Array,
    free: Array,
    region: Indices,
    spots: Indices,
    span: Indices,
    head: Indices,
    link: Indices,
) -> None:
    """Take the room of a job whose spots are written down, and put it last in its ring."""
    place = region[job]
    costs = uses.shape[1] - free.shape[0]
    if PROFILES and facts[job, 3] > 1:
        hold_levels(job, place, -1.0, facts, uses, free, spots)
    else:
        for index in range(facts[job, 4], facts[job, 4] + facts[job, 0]):
            for resource in range(free.shape[0]):
                free[resource, place, spots[index]] -= uses[job, costs + resource]
    top = head[place, span[job, 0]]
    if top < 0:
        head[place, span[job, 0]] = job
        top = job
        link[job, 0] = job
    last = link[top, 0]
    link[job, 0] = last
    link[job, 1] = top
    link[last, 1] = job
    link[top, 0] = job


def leave(
    job: int,
    facts: Indices,
    uses: Array,
    free: Array,
    region: Indices,
    spots: Indices,
    span: Indices,
    head: Indices,
    link: Indices,
) -> None:
    """Give a job's room back, and take it out of its ring."""
    place = region[job]
    costs = uses.shape[1] - free.shape[0]
    if PROFILES and facts[job, 3] > 1:
        hold_levels(job, place, 1.0, facts, uses, free, spots)
    else:
        for index in range(facts[job, 4], facts[job, 4] + facts[job, 0]):
            for resource in range(free.shape[0]):
                free[resource, place, spots[index]] += uses[job, costs + resource]
    above = link[job, 0]
    below = link[job, 1]
    link[above, 1] = below
    link[below, 0] = above
    if head[place, span[job, 0]] == job:
        head[place, span[job, 0]] = -1 if below == job else below
    region[job] = -1


def spent(
    job: int,
    facts: Indices,
    uses: Array,
    fixed: Array,
    rates: Array,
    resources: int,
    region: Indices,
    spots: Indices,
    weight: float,
) -> float:
    """Return what a job costs where it sits, prices counted with a weight."""
    total = fixed[job, region[job]]
    if PROFILES and facts[job, 3] > 1:
        return total + spent_levels(job, region[job], facts, uses, rates, resources, spots, weight)
    for index in range(facts[job, 4], facts[job, 4] + facts[job, 0]):
        total += _slot_cost(job, region[job], spots[index], uses, rates, resources, weight)
    return total


SEAT_HELPERS = (
    *LEVEL_HELPERS,
    draw,
    share,
    window,
    part_smallest,
    _slot_cost,
    _lay_costs,
    pick,
    priced_in,
    cheapest,
    write,
    seat,
    holds,
    take,
    leave,
    spent,
)


def read_only(kind: str, dimensions: int) -> str:
    """Return numba's name of a contiguous array that a kernel only reads."""
    return f'Array({kind}, {dimensions}, "C", readonly=True)'


# Signatures of facts, uses, fixed, rates, before, after; and of the state of a plan.
TABLES = ", ".join(
    (
        read_only("int64", 2),
        read_only("float64", 2),
        read_only("float64", 2),
        read_only("float64", 3),
        read_only("int64", 1),
        read_only("int64", 1),
    )
)
STATE = "float64[:, :, ::1], int64[::1], int64[::1], int64[:, ::1], int64[:, ::1], int64[:, ::1]"

"""Jobs that settle: each takes its best place in turn, and pays for what it overfills.

Capacity is soft here: a slot costs its price and a rate that rises with what is in it
beyond its capacity, and falls below the price where room is left. Job after job takes
its best answer to that, over and over while the rate stiffens: the multiplier method
(Hestenes 1969, doi:10.1007/BF00927673), its inner problem solved by coordinate descent. At
the prices of the relaxation alone most jobs are indifferent between places and crowd
into the same ones; what the others do tells them apart. State and facts as in `seats`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from aicsched.jit import Kernel
from aicsched.place.kernels.levels import FORMS, PROFILES, fewest_slots, spread_levels
from aicsched.place.kernels.seats import (
    SEAT_HELPERS,
    STATE,
    TABLES,
    holds,
    leave,
    pick,
    read_only,
    take,
    window,
    write,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Indices = NDArray[np.int64]

__all__ = ["EVICT", "LEVEL_EVICT", "LEVEL_SETTLE", "SETTLE"]


def _lay_soft_costs(
    job: int,
    place: int,
    first: int,
    last: int,
    uses: Array,
    rates: Array,
    free: Array,
    stiff: Array,
    stiffness: float,
    share: float,
    most_off: float,
    level: Array,
    cost: Array,
) -> None:
    """Write down what each slot of a window costs a job; inf where it is larger than the capacity."""
    costs = rates.shape[0] - free.shape[0]
    count = last - first
    for rate in range(costs):
        use = uses[job, rate]
        row = rates[rate, place, first:last]
        if rate == 0:
            for slot in range(count):
                cost[slot] = use * row[slot]
        else:
            for slot in range(count):
                cost[slot] += use * row[slot]
    for resource in range(free.shape[0]):
        use = uses[job, costs + resource]
        if use == 0:
            continue
        row = rates[costs + resource, place, first:last]
        left = free[resource, place, first:last]
        stiff_row = stiff[resource, place, first:last]
        least = -most_off * level[resource]
        most = level[resource] / use
        for slot in range(count):
            # A share of what a job itself takes counts, for it takes it whole or not at all.
            # What has no end has no stiffness: 0 times less than infinite.
            off = max(least, stiffness * stiff_row[slot] * (share * use - min(left[slot], 1e300)))
            cost[slot] += use * max(0.0, row[slot] + off)
            if stiff_row[slot] > most:
                cost[slot] = np.inf


def _settle(
    queue: Indices,
    stiffness: float,
    share: float,
    most_off: float,
    stiff: Array,
    level: Array,
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
) -> int:
    slots = free.shape[2]
    costs = rates.shape[0] - free.shape[0]
    cost = np.zeros(slots + 1)
    order = np.zeros(slots + 1, np.int64)
    moved = 0
    for index in range(queue.size):
        job = queue[index]
        old = region[job]
        old_start = span[job, 0]
        if old >= 0:
            leave(job, facts, uses, free, region, spots, span, head, link)
        first, last = window(job, facts, before, after, region, span)
        off = 0.0
        for resource in range(free.shape[0]):
            off += uses[job, costs + resource] * most_off * level[resource]
        off *= facts[job, 0]
        best = np.inf
        place = -1
        start = -1
        if last - first >= fewest_slots(job, facts):
            for rank in range(turn.shape[1]):
                here = turn[job, rank]
                if least[job, here] - off >= best:
                    break
                _lay_soft_costs(
                    job, here, first, last, uses, rates, free, stiff, stiffness, share, most_off, level, cost
                )
                if PROFILES and facts[job, 3] > 1:
                    energy = rates[0, here, first:last]
                    total = spread_levels(job, cost[: last - first], energy, facts, uses, order)
                    begin = first
                else:
                    total, begin = pick(job, first, last, facts, cost, order)
                if total + fixed[job, here] < best:
                    best = total + fixed[job, here]
                    place = here
                    start = begin
                    if facts[job, 3] > 0:
                        # At once: the next region overwrites the order.
                        write(job, place, start, first, facts, order, region, spots, span)
        if place < 0:
            continue
        if facts[job, 3] == 0:
            write(job, place, start, first, facts, order, region, spots, span)
        region[job] = place
        take(job, facts, uses, free, region, spots, span, head, link)
        if place != old or span[job, 0] != old_start:
            moved += 1
    return moved


def _work(
    queue: Indices,
    _stiffness: float,
    _share: float,
    _most_off: float,
    _stiff: Array,
    _level: Array,
    facts: Indices,
    *_rest: Any,
) -> float:
    # A plan takes some sixty turns: what is slow in one of them is slow sixty times.
    span = float((facts[:, 2] - facts[:, 1]).mean()) if facts.size else 0.0
    return 60000.0 * queue.size * span


# queue, stiffness, share of a job's own use that counts, most off a price (as a share of the level),
# stiffness per resource, region and slot, level of prices per resource, then facts, uses, fixed, rates,
# before, after, least cost and order of regions (see seats), state of the plan → how many moved. A job
# that finds no window is out.
SETTLE, LEVEL_SETTLE = (
    Kernel(
        _settle,
        _settle,
        signature=f"int64({read_only('int64', 1)}, float64, float64, float64, {read_only('float64', 3)}, "
        f"{read_only('float64', 1)}, {TABLES}, {read_only('float64', 2)}, {read_only('int32', 2)}, {STATE})",
        work=_work,
        helpers=(*SEAT_HELPERS, _lay_soft_costs),
        constants=form,
        exact=False,
    )
    for form in FORMS
)


def _evict(
    facts: Indices,
    uses: Array,
    free: Array,
    region: Indices,
    spots: Indices,
    span: Indices,
    head: Indices,
    link: Indices,
    left: Indices,
) -> int:
    costs = uses.shape[1] - free.shape[0]
    longest = 1
    for job in range(facts.shape[0]):
        longest = max(longest, facts[job, 0] if facts[job, 3] == 0 else facts[job, 2] - facts[job, 1])
    count = 0
    for resource in range(free.shape[0]):
        for place in range(free.shape[1]):
            for slot in range(free.shape[2]):
                while free[resource, place, slot] < 0:
                    chosen = -1
                    fewest = np.inf
                    for begin in range(max(0, slot - longest + 1), slot + 1):
                        top = head[place, begin]
                        job = top
                        while job >= 0:
                            use = uses[job, costs + resource]
                            if use > 0 and holds(job, slot, facts, spots, span):
                                missing = max(0.0, -free[resource, place, slot] - use)
                                area = use * facts[job, 0]
                                # One that is enough, the smallest of them; else the largest there is.
                                worth = area if missing == 0 else 1e18 * missing
                                if worth < fewest:
                                    fewest = worth
                                    chosen = job
                            job = link[job, 1]
                            if job == top:
                                break
                    leave(chosen, facts, uses, free, region, spots, span, head, link)
                    left[count] = chosen
                    count += 1
    return count


def _evict_work(facts: Indices, *_rest: Any) -> float:
    return 20000.0 * float(facts.shape[0])


# facts, uses, the state of a plan, and out: jobs taken out of overfull slots → how many were.
EVICT, LEVEL_EVICT = (
    Kernel(
        _evict,
        _evict,
        signature=f"int64({read_only('int64', 2)}, {read_only('float64', 2)}, {STATE}, int64[::1])",
        work=_evict_work,
        helpers=SEAT_HELPERS,
        constants=form,
        exact=False,
    )
    for form in FORMS
)

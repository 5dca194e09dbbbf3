"""Ruin and recreate, led by prices: take jobs out that are in each other's way, put them back better.

By duality the gap of a plan is the sum of what each job pays above its best answer to
the prices (its regret), plus the priced room that stands empty. A job of much regret is
drawn, jobs that stand where it would rather be make room for it, and all go to the
cheapest places left. Jobs make room that lose least by it (Schrimpf et al. 2000,
doi:10.1006/jcph.1999.6413). Half of the returns look at prices in part only, so that room
which stands empty is filled. The acceptance falls off as in threshold accepting (Dueck,
Scheuer 1990, doi:10.1016/0021-9991(90)90201-B).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from aicsched.jit import Kernel
from aicsched.place.kernels.seats import (
    SEAT_HELPERS,
    cheapest,
    draw,
    leave,
    seat,
    share,
    spent,
    take,
    window,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Indices = NDArray[np.int64]

__all__ = ["MOST_OUT", "REPAIR"]

# Jobs taken out at once, at most.
MOST_OUT = 12
_TOURNAMENT = 4
_TRIES = 24
_SAMPLES = 3
_DEPTH = 6


def _drawn(regret: Array, state: NDArray[np.uint64]) -> int:
    """Draw a job, those of much regret more often."""
    job = draw(state, regret.size)
    for _ in range(_TOURNAMENT):
        other = draw(state, regret.size)
        if regret[other] > regret[job]:
            job = other
    return job


def _holds(job: int, slot: int, facts: Indices, spots: Indices, span: Indices) -> bool:
    """Tell whether a job holds a slot of its region."""
    if slot < span[job, 0] or slot >= span[job, 1]:
        return False
    if facts[job, 3] == 0:
        return True
    for index in range(facts[job, 4], facts[job, 4] + facts[job, 0]):
        if spots[index] == slot:
            return True
    return False


def _occupant(
    place: int,
    slot: int,
    longest: int,
    out: Indices,
    count: int,
    facts: Indices,
    spots: Indices,
    span: Indices,
    head: Indices,
    link: Indices,
    least: Array,
    turn: NDArray[np.int32],
    regret: Array,
    state: NDArray[np.uint64],
) -> int:
    """Sample jobs that hold a slot; return the one that loses least by leaving its region, or -1."""
    chosen = -1
    loss = np.inf
    for _ in range(_SAMPLES):
        begin = slot
        if draw(state, 2) == 0:
            begin -= draw(state, longest)
        if begin < 0:
            continue
        job = head[place, begin]
        if job < 0:
            continue
        steps = draw(state, _DEPTH)
        while steps > 0 and link[job, 1] >= 0:
            job = link[job, 1]
            steps -= 1
        fresh = _holds(job, slot, facts, spots, span)
        for index in range(count):
            if out[index] == job:
                fresh = False
        if not fresh:
            continue
        other = turn[job, 0]
        if other == place and turn.shape[1] > 1:
            other = turn[job, 1]
        loses = least[job, other] - least[job, turn[job, 0]] - regret[job]
        if loses < loss or chosen < 0:
            loss = loses
            chosen = job
    return chosen


def _ruin(
    job: int,
    place: int,
    start: int,
    longest: int,
    most: int,
    out: Indices,
    facts: Indices,
    uses: Array,
    free: Array,
    region: Indices,
    spots: Indices,
    span: Indices,
    head: Indices,
    link: Indices,
    least: Array,
    turn: NDArray[np.int32],
    regret: Array,
    state: NDArray[np.uint64],
) -> int:
    """Choose who makes room for a job where it would like to start; return how many leave, with it."""
    out[0] = job
    count = 1
    costs = uses.shape[1] - free.shape[0]
    for slot in range(start, min(start + facts[job, 0], free.shape[2])):
        for resource in range(free.shape[0]):
            column = costs + resource
            need = uses[job, column] - free[resource, place, slot]
            for index in range(count):
                if region[out[index]] == place and _holds(out[index], slot, facts, spots, span):
                    need -= uses[out[index], column]
            tries = 0
            while need > 0 and count < most and tries < _TRIES:
                tries += 1
                other = _occupant(
                    place,
                    slot,
                    longest,
                    out,
                    count,
                    facts,
                    spots,
                    span,
                    head,
                    link,
                    least,
                    turn,
                    regret,
                    state,
                )
                if other >= 0 and uses[other, column] > 0:
                    out[count] = other
                    count += 1
                    need -= uses[other, column]
    return count


def _loop(
    steps: int,
    most: int,
    thresholds: Array,
    seed: int,
    facts: Indices,
    uses: Array,
    fixed: Array,
    rates: Array,
    before: Indices,
    after: Indices,
    least: Array,
    turn: NDArray[np.int32],
    wish: NDArray[np.int32],
    free: Array,
    region: Indices,
    spots: Indices,
    span: Indices,
    head: Indices,
    link: Indices,
    regret: Array,
) -> float:
    slots = free.shape[2]
    resources = free.shape[0]
    state = np.zeros(1, np.uint64)
    state[0] = np.uint64(seed) ^ np.uint64(0x9E3779B97F4A7C15)
    cost = np.zeros(slots + 1)
    order = np.zeros(slots + 1, np.int64)
    out = np.zeros(most, np.int64)
    old_region = np.zeros(most, np.int64)
    old_cost = np.zeros(most)
    longest = 1
    widest = 1
    for job in range(facts.shape[0]):
        widest = max(widest, facts[job, 0])
        longest = max(longest, facts[job, 0] if facts[job, 3] == 0 else facts[job, 2] - facts[job, 1])
    old_spots = np.zeros((most, widest), np.int64)
    old_span = np.zeros((most, 2), np.int64)
    change = 0.0
    for step in range(steps):
        job = _drawn(regret, state)
        rank = max(draw(state, 8) - 4, 0)
        if rank >= turn.shape[1]:
            rank = 0
        place = turn[job, rank]
        if wish[job, place] < 0:
            place = turn[job, 0]
        room = most if draw(state, 8) > 0 else 1
        count = _ruin(
            job,
            place,
            wish[job, place],
            longest,
            room,
            out,
            facts,
            uses,
            free,
            region,
            spots,
            span,
            head,
            link,
            least,
            turn,
            regret,
            state,
        )
        before_cost = 0.0
        for index in range(count):
            other = out[index]
            old_region[index] = region[other]
            old_span[index, 0] = span[other, 0]
            old_span[index, 1] = span[other, 1]
            for rank in range(facts[other, 0]):
                old_spots[index, rank] = spots[facts[other, 4] + rank]
            old_cost[index] = spent(other, facts, uses, fixed, rates, resources, region, spots, 0.0)
            before_cost += old_cost[index]
            leave(other, facts, uses, free, region, spots, span, head, link)
        fade = thresholds[0] + (thresholds[1] - thresholds[0]) * step / steps
        limit = before_cost + fade * share(state) - thresholds[2]
        after_cost = 0.0
        done = 0
        while done < count and after_cost <= limit:
            other = out[done]
            weight = 1.0 if draw(state, 2) == 0 else share(state)
            first, last = window(other, facts, before, after, region, span)
            place, start = cheapest(
                other, first, last, facts, uses, fixed, rates, free, weight, least, turn, cost, order
            )
            if place < 0:
                break
            seat(
                other,
                place,
                start,
                first,
                last,
                facts,
                uses,
                rates,
                free,
                weight,
                cost,
                order,
                region,
                spots,
                span,
            )
            take(other, facts, uses, free, region, spots, span, head, link)
            after_cost += spent(other, facts, uses, fixed, rates, resources, region, spots, 0.0)
            done += 1
        if done == count and after_cost <= limit:
            change += after_cost - before_cost
            for index in range(count):
                other = out[index]
                paid = spent(other, facts, uses, fixed, rates, resources, region, spots, 1.0)
                regret[other] = max(0.0, paid - least[other, turn[other, 0]])
            continue
        for index in range(done):
            leave(out[index], facts, uses, free, region, spots, span, head, link)
        for index in range(count):
            other = out[index]
            region[other] = old_region[index]
            span[other, 0] = old_span[index, 0]
            span[other, 1] = old_span[index, 1]
            for rank in range(facts[other, 0]):
                spots[facts[other, 4] + rank] = old_spots[index, rank]
            take(other, facts, uses, free, region, spots, span, head, link)
    return change


def _work(steps: int, _most: int, _thresholds: Array, _seed: int, facts: Indices, *_rest: Any) -> float:
    span = float((facts[:, 2] - facts[:, 1]).mean()) if facts.size else 0.0
    return 3000.0 * steps * span


_READ = 'Array({}, {}, "C", readonly=True)'
# steps, most jobs out, thresholds (first, last, least gain that counts), seed, then as for INSERT; wish:
# where each job would start in each region; state of the plan; regret (J,) → change of the cost.
REPAIR = Kernel(
    _loop,
    _loop,
    signature="float64(int64, int64, "
    + ", ".join(
        [_READ.format("float64", 1), "int64", _READ.format("int64", 2), _READ.format("float64", 2)]
        + [_READ.format("float64", 2), _READ.format("float64", 3)]
        + [_READ.format("int64", 1)] * 2
        + [_READ.format("float64", 2), _READ.format("int32", 2), _READ.format("int32", 2)]
    )
    + ", float64[:, :, ::1], int64[::1], int64[::1], int64[:, ::1], int64[:, ::1], int64[:, ::1], float64[::1])",
    work=_work,
    helpers=(*SEAT_HELPERS, _drawn, _holds, _occupant, _ruin),
    exact=False,
)

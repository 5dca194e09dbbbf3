"""Ruin and recreate, led by prices: take jobs out that are in each other's way, put them back better.

By duality the gap of a plan is the sum of what each job pays above its best answer to
the prices (its regret), plus the priced room that stands empty. A job of much regret is
drawn, jobs that stand where it would rather be make room for it, and all go to the
cheapest places left. Jobs make room that lose least by it (Schrimpf et al. 2000,
doi:10.1006/jcph.1999.6413). Where jobs are large beside the room, prices lead less far: then
steps may wander to any start, and jobs go back in any order. Half of the returns look at
prices in part only, so that room which stands empty is filled. The acceptance falls off as in
threshold accepting (Dueck, Scheuer 1990, doi:10.1016/0021-9991(90)90201-B).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from aicsched.jit import Kernel
from aicsched.place.kernels.levels import FORMS
from aicsched.place.kernels.seats import (
    SEAT_HELPERS,
    STATE,
    TABLES,
    cheapest,
    draw,
    holds,
    leave,
    read_only,
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

__all__ = ["LEVEL_REPAIR", "REPAIR"]

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
        # The ring turns as it is walked, so that all its jobs come up.
        for _step in range(draw(state, _DEPTH)):
            job = link[job, 1]
        head[place, begin] = link[job, 1]
        fresh = holds(job, slot, facts, spots, span)
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
                if region[out[index]] == place and holds(out[index], slot, facts, spots, span):
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


def _empty(
    out: Indices,
    count: int,
    old_region: Indices,
    old_spots: Indices,
    facts: Indices,
    uses: Array,
    fixed: Array,
    rates: Array,
    free: Array,
    region: Indices,
    spots: Indices,
    span: Indices,
    head: Indices,
    link: Indices,
) -> float:
    """Take jobs out, note where they sat, and return what they cost there."""
    total = 0.0
    for index in range(count):
        job = out[index]
        old_region[index] = region[job]
        for rank in range(facts[job, 0]):
            old_spots[index, rank] = spots[facts[job, 4] + rank]
        total += spent(job, facts, uses, fixed, rates, free.shape[0], region, spots, 0.0)
        leave(job, facts, uses, free, region, spots, span, head, link)
    return total


def _shuffle(
    out: Indices, count: int, old_region: Indices, old_spots: Indices, state: NDArray[np.uint64]
) -> None:
    """Put jobs that are out into another order, with where they sat (Fisher, Yates)."""
    for index in range(count - 1, 0, -1):
        other = draw(state, index + 1)
        job = out[index]
        out[index] = out[other]
        out[other] = job
        place = old_region[index]
        old_region[index] = old_region[other]
        old_region[other] = place
        for slot in range(old_spots.shape[1]):
            spot = old_spots[index, slot]
            old_spots[index, slot] = old_spots[other, slot]
            old_spots[other, slot] = spot


def _refill(
    out: Indices,
    count: int,
    limit: float,
    cost: Array,
    order: Indices,
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
    state: NDArray[np.uint64],
) -> tuple[int, float]:
    """Put jobs back in, one after another, up to a limit in cost; return how many, and at what."""
    total = 0.0
    done = 0
    while done < count and total <= limit:
        job = out[done]
        weight = 1.0 if draw(state, 2) == 0 else share(state)
        first, last = window(job, facts, before, after, region, span)
        place, start = cheapest(
            job, first, last, facts, uses, fixed, rates, free, weight, least, turn, cost, order
        )
        if place < 0:
            return done, np.inf
        seat(
            job, place, start, first, last, facts, uses, rates, free, weight, cost, order, region, spots, span
        )
        take(job, facts, uses, free, region, spots, span, head, link)
        total += spent(job, facts, uses, fixed, rates, free.shape[0], region, spots, 0.0)
        done += 1
    return done, total


def _restore(
    out: Indices,
    count: int,
    done: int,
    old_region: Indices,
    old_spots: Indices,
    facts: Indices,
    uses: Array,
    free: Array,
    region: Indices,
    spots: Indices,
    span: Indices,
    head: Indices,
    link: Indices,
) -> None:
    """Put all jobs back to where they sat."""
    for index in range(done):
        leave(out[index], facts, uses, free, region, spots, span, head, link)
    for index in range(count):
        job = out[index]
        region[job] = old_region[index]
        for rank in range(facts[job, 0]):
            spots[facts[job, 4] + rank] = old_spots[index, rank]
        span[job, 0] = old_spots[index, 0]
        span[job, 1] = old_spots[index, facts[job, 0] - 1] + 1
        take(job, facts, uses, free, region, spots, span, head, link)


def _loop(
    steps: int,
    most: int,
    wander: int,
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
    state = np.zeros(1, np.uint64)
    state[0] = np.uint64(seed) ^ np.uint64(0x9E3779B97F4A7C15)
    cost = np.zeros(free.shape[2] + 1)
    order = np.zeros(free.shape[2] + 1, np.int64)
    out = np.zeros(most, np.int64)
    old_region = np.zeros(most, np.int64)
    longest = 1
    widest = 1
    for job in range(facts.shape[0]):
        widest = max(widest, facts[job, 0])
        longest = max(longest, facts[job, 0] if facts[job, 3] == 0 else facts[job, 2] - facts[job, 1])
    old_spots = np.zeros((most, widest), np.int64)
    change = 0.0
    for step in range(steps):
        job = _drawn(regret, state)
        rank = max(draw(state, 8) - 4, 0)
        place = turn[job, rank if rank < turn.shape[1] else 0]
        if wish[job, place] < 0:
            place = turn[job, 0]
        start = wish[job, place]
        if draw(state, 8) < wander:
            start = facts[job, 1] + draw(state, facts[job, 2] - facts[job, 1] - facts[job, 0] + 1)
        room = most if draw(state, 8) > 0 else 1
        count = _ruin(
            job, place, start, longest, room, out, facts, uses, free, region, spots, span, head,
            link, least, turn, regret, state,
        )  # fmt: skip
        old = _empty(
            out, count, old_region, old_spots, facts, uses, fixed, rates, free, region, spots, span, head,
            link,
        )  # fmt: skip
        if draw(state, 8) < wander:
            _shuffle(out, count, old_region, old_spots, state)
        fade = thresholds[0] + (thresholds[1] - thresholds[0]) * step / steps
        limit = old + fade * share(state) - thresholds[2]
        done, new = _refill(
            out, count, limit, cost, order, facts, uses, fixed, rates, before, after, least, turn, free,
            region, spots, span, head, link, state,
        )  # fmt: skip
        if done < count or new > limit:
            _restore(
                out, count, done, old_region, old_spots, facts, uses, free, region, spots, span, head, link
            )
            continue
        change += new - old
        for index in range(count):
            job = out[index]
            paid = spent(job, facts, uses, fixed, rates, free.shape[0], region, spots, 1.0)
            regret[job] = max(0.0, paid - least[job, turn[job, 0]])
    return change


def _work(
    steps: int, _most: int, _wander: int, _thresholds: Array, _seed: int, facts: Indices, *_rest: Any
) -> float:
    span = float((facts[:, 2] - facts[:, 1]).mean()) if facts.size else 0.0
    return 400000.0 * steps * span


# steps, most jobs out, eighths of the steps that wander, thresholds (first, last, least gain that counts),
# seed, then as for INSERT; wish: where each job would start in each region; state of the plan; regret (J,)
# → change of the cost.
REPAIR, LEVEL_REPAIR = (
    Kernel(
        _loop,
        _loop,
        signature=f"float64(int64, int64, int64, {read_only('float64', 1)}, int64, {TABLES}, "
        f"{read_only('float64', 2)}, {read_only('int32', 2)}, {read_only('int32', 2)}, {STATE}, "
        "float64[::1])",
        work=_work,
        helpers=(*SEAT_HELPERS, _drawn, _occupant, _ruin, _empty, _shuffle, _refill, _restore),
        constants=form,
        exact=False,
    )
    for form in FORMS
)

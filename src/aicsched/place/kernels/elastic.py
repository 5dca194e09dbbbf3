"""Jobs that scale: what slots and machines suit each best, while the others stay.

A job does so much work; a slot can hold some of its steps, one after another: the first is its fewest
machines, each further one a machine more, which adds no more than the one before. What is least per
unit of work comes first (CarbonScaler's greedy, doi:10.1145/3626788): as costs per unit of work never
fall within a slot this is the best for work that can be split, and its cost bounds all others from below.
The last step runs for a part of its slot, but holds its machines for all of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from aicsched.jit import Kernel
from aicsched.place.kernels.seats import draw, share

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Indices = NDArray[np.int64]
    # A number out of an array, as numba has it.
    Number = Any

__all__ = ["RESPOND", "SHAKE"]

_WORK_LEFT = 1e-12
_TRIES = 4


def _step_cost(
    job: int,
    place: int,
    slot: int,
    level: int,
    soft: Array,
    stiff: Array,
    worth: Array,
    uses: Array,
    wide: Array,
    rates: Array,
    free: Array,
    room: Array,
) -> Any:  # noqa: ANN401 - a number
    """Return what one more step in a slot costs for what it holds; inf where it has no room."""
    before = 0.0
    for index in range(level):
        before += wide[job, index]
    more = wide[job, level]
    if more == 0.0:
        return np.inf
    total = 0.0
    for resource in range(free.shape[0]):
        use = uses[job, 1 + resource]
        if use == 0.0:
            continue
        if room[resource, place, slot] < use * (before + more):
            return np.inf
        price = soft[4] * rates[1 + resource, place, slot]
        if soft[0] > 0.0:
            # As in `settling`: what is held beyond the capacity costs more than its price, room left less.
            left = min(free[resource, place, slot] - use * before, 1e300)
            off = soft[0] * stiff[resource, place, slot] * (soft[1] * use * more - left)
            price = max(0.0, price + max(-soft[2] * worth[resource], off))
        total += use * more * price
    return total


def _fill(
    job: int,
    place: int,
    soft: Array,
    stiff: Array,
    worth: Array,
    facts: Indices,
    uses: Array,
    wide: Array,
    gain: Array,
    work: Array,
    rates: Array,
    free: Array,
    room: Array,
    levels: Indices,
    held: Array,
    machines: Array,
) -> tuple[float, float]:
    """Write down how many machines a job has in each slot of a region; return its cost and a bound of it."""
    first = facts[job, 0]
    last = facts[job, 1]
    for slot in range(first, last):
        machines[slot] = 0.0
        levels[slot] = 0
        held[slot] = _step_cost(job, place, slot, 0, soft, stiff, worth, uses, wide, rates, free, room)
    left = work[job]
    tiny = _WORK_LEFT * work[job]
    total = 0.0
    while left > tiny:
        chosen = -1
        least = np.inf
        for slot in range(first, last):
            level = levels[slot]
            if held[slot] < np.inf:
                energy = uses[job, 0] * wide[job, level] * rates[0, place, slot]
                here = (energy + held[slot]) / gain[job, level]
                if here < least:
                    least = here
                    chosen = slot
        if chosen < 0:
            return np.inf, np.inf
        level = levels[chosen]
        if gain[job, level] < left - tiny:
            left -= gain[job, level]
            total += gain[job, level] * least
            machines[chosen] += wide[job, level]
            levels[chosen] = level + 1
            held[chosen] = np.inf
            if level + 1 < wide.shape[1]:
                held[chosen] = _step_cost(
                    job, place, chosen, level + 1, soft, stiff, worth, uses, wide, rates, free, room
                )
            continue
        bound = total + left * least
        # What is left fits into one step of any slot: where it, held whole, costs least.
        best = np.inf
        for slot in range(first, last):
            level = levels[slot]
            if held[slot] < np.inf and gain[job, level] >= left - tiny:
                energy = uses[job, 0] * wide[job, level] * rates[0, place, slot]
                here = held[slot] + energy * left / gain[job, level]
                if here < best:
                    best = here
                    chosen = slot
        level = levels[chosen]
        machines[chosen] += wide[job, level] * min(1.0, left / gain[job, level])
        return total + best, bound
    return total, total


def _held_at(job: int, machines: float, wide: Array) -> float:
    """Return how many machines are held in a slot to have a mean number of them at work."""
    count = 0.0
    for level in range(wide.shape[1]):
        if count >= machines - 1e-9:
            break
        count += wide[job, level]
    return count


def _hold(
    job: Number,
    place: Number,
    sign: float,
    facts: Indices,
    uses: Array,
    wide: Array,
    machines: Array,
    free: Array,
) -> None:
    """Take a job's room, or give it back."""
    for slot in range(facts[job, 0], facts[job, 1]):
        if machines[job, slot] > 0.0:
            count = sign * _held_at(job, machines[job, slot], wide)
            for resource in range(free.shape[0]):
                free[resource, place, slot] -= count * uses[job, 1 + resource]


def _respond(
    queue: Indices,
    soft: Array,
    stiff: Array,
    worth: Array,
    facts: Indices,
    uses: Array,
    wide: Array,
    gain: Array,
    work: Array,
    fixed: Array,
    rates: Array,
    free: Array,
    room: Array,
    region: Indices,
    machines: Array,
    paid: Array,
    least: Array,
) -> int:
    slots = rates.shape[2]
    levels = np.zeros(slots, np.int64)
    held = np.zeros(slots)
    trial = np.zeros(slots)
    out = 0
    for index in range(queue.size):
        job = queue[index]
        if region[job] >= 0:
            _hold(job, region[job], -1.0, facts, uses, wide, machines, free)
            if soft[3] == 0.0:
                _hold(job, region[job], -1.0, facts, uses, wide, machines, room)
        region[job] = -1
        paid[job] = np.inf
        least[job] = np.inf
        for place in range(fixed.shape[1]):
            if fixed[job, place] == np.inf:
                continue
            total, bound = _fill(
                job, place, soft, stiff, worth, facts, uses, wide, gain, work, rates, free, room, levels,
                held, trial,
            )  # fmt: skip
            least[job] = min(least[job], bound + fixed[job, place])
            if total + fixed[job, place] < paid[job]:
                paid[job] = total + fixed[job, place]
                region[job] = place
                for slot in range(facts[job, 0], facts[job, 1]):
                    machines[job, slot] = trial[slot]
        if region[job] < 0:
            out += 1
            continue
        _hold(job, region[job], 1.0, facts, uses, wide, machines, free)
        if soft[3] == 0.0:
            _hold(job, region[job], 1.0, facts, uses, wide, machines, room)
    return out


def _cost(queue: Indices, _soft: Array, _stiff: Array, _worth: Array, facts: Indices, *rest: Any) -> float:
    span = float((facts[:, 1] - facts[:, 0]).mean()) if facts.size else 0.0
    return 20000.0 * queue.size * rest[4].shape[1] * span


def _read(kind: str, dimensions: int) -> str:
    return f'Array({kind}, {dimensions}, "C", readonly=True)'


# Jobs in turn; soft capacity (stiffness, 0 for none; share of its own use that counts; most off, as a share
# of the level; 1 where each has all of `room` for itself; share of prices that counts), stiffness per
# resource, region and slot, level of prices per resource; of each job: facts (E, 2: first, last), uses
# (E, 1 + K) of one machine, machines and work of each step (E, L; 0 behind the last), work, fixed cost
# (E, R; inf where forbidden); rates (1 + K, R, T); free (K, R, T), which costs where soft, and room, beyond
# which nothing may be held; out: region (-1: found no room), mean machines (E, T), what it pays, and what
# it pays at least → how many found none.
RESPOND = Kernel(
    _respond,
    _respond,
    signature=f"int64({_read('int64', 1)}, {_read('float64', 1)}, {_read('float64', 3)}, "
    f"{_read('float64', 1)}, {_read('int64', 2)}, {_read('float64', 2)}, {_read('float64', 2)}, "
    f"{_read('float64', 2)}, {_read('float64', 1)}, {_read('float64', 2)}, {_read('float64', 3)}, "
    "float64[:, :, ::1], float64[:, :, ::1], int64[::1], float64[:, ::1], float64[::1], float64[::1])",
    work=_cost,
    helpers=(_step_cost, _fill, _held_at, _hold),
    exact=False,
)


def _grams(
    job: Number, region: Number, facts: Indices, uses: Array, fixed: Array, rates: Array, machines: Array
) -> Number:
    """Return what a job emits where it is."""
    total = fixed[job, region]
    for slot in range(facts[job, 0], facts[job, 1]):
        total += uses[job, 0] * machines[job, slot] * rates[0, region, slot]
    return total


def _pick_out(
    job: Number,
    place: Number,
    most: int,
    facts: Indices,
    region: Indices,
    out: Indices,
    state: NDArray[np.uint64],
) -> int:
    """Choose jobs of a region whose windows meet that of a job, and write it and them down."""
    out[0] = job
    count = 1
    for _ in range(_TRIES * most):
        other = draw(state, facts.shape[0])
        if count == most:
            break
        meets = facts[other, 0] < facts[job, 1] and facts[job, 0] < facts[other, 1]
        if region[other] != place or not meets:
            continue
        fresh = True
        for index in range(count):
            if out[index] == other:
                fresh = False
        if fresh:
            out[count] = other
            count += 1
    return count


def _refill(
    out: Indices,
    count: int,
    limit: float,
    soft: Array,
    stiff: Array,
    worth: Array,
    facts: Indices,
    uses: Array,
    wide: Array,
    gain: Array,
    work: Array,
    fixed: Array,
    rates: Array,
    room: Array,
    region: Indices,
    machines: Array,
    levels: Indices,
    held: Array,
    trial: Array,
    state: NDArray[np.uint64],
) -> tuple[int, float]:
    """Put jobs back in, one after another, up to a limit in grams; return how many, and what they emit."""
    after = 0.0
    done = 0
    while done < count and after <= limit:
        job = out[done]
        soft[4] = 1.0 if draw(state, 2) == 0 else share(state)
        best = np.inf
        for place in range(fixed.shape[1]):
            if fixed[job, place] == np.inf:
                continue
            total, _ = _fill(
                job, place, soft, stiff, worth, facts, uses, wide, gain, work, rates, room, room, levels,
                held, trial,
            )  # fmt: skip
            if total + fixed[job, place] < best:
                best = total + fixed[job, place]
                region[job] = place
                for slot in range(facts[job, 0], facts[job, 1]):
                    machines[job, slot] = trial[slot]
        if best == np.inf:
            return done, np.inf
        _hold(job, region[job], 1.0, facts, uses, wide, machines, room)
        after += _grams(job, region[job], facts, uses, fixed, rates, machines)
        done += 1
    return done, after


def _shake(
    steps: int,
    most: int,
    thresholds: Array,
    seed: int,
    stiff: Array,
    worth: Array,
    facts: Indices,
    uses: Array,
    wide: Array,
    gain: Array,
    work: Array,
    fixed: Array,
    rates: Array,
    room: Array,
    region: Indices,
    machines: Array,
) -> float:
    state = np.zeros(1, np.uint64)
    state[0] = np.uint64(seed) ^ np.uint64(0x9E3779B97F4A7C15)
    slots = rates.shape[2]
    levels = np.zeros(slots, np.int64)
    held = np.zeros(slots)
    trial = np.zeros(slots)
    soft = np.zeros(5)
    out = np.zeros(most, np.int64)
    old_region = np.zeros(most, np.int64)
    old_machines = np.zeros((most, slots))
    change = 0.0
    for step in range(steps):
        job = draw(state, facts.shape[0])
        place = draw(state, fixed.shape[1])
        if fixed[job, place] == np.inf:
            place = region[job]
        count = _pick_out(job, place, most, facts, region, out, state)
        before = 0.0
        for index in range(count):
            other = out[index]
            before += _grams(other, region[other], facts, uses, fixed, rates, machines)
            old_region[index] = region[other]
            old_machines[index, :] = machines[other, :]
            _hold(other, region[other], -1.0, facts, uses, wide, machines, room)
        fade = thresholds[0] + (thresholds[1] - thresholds[0]) * step / steps
        limit = before + fade * share(state)
        done, after = _refill(
            out, count, limit, soft, stiff, worth, facts, uses, wide, gain, work, fixed, rates, room, region,
            machines, levels, held, trial, state,
        )  # fmt: skip
        if done == count and after < limit and after != before:
            change += after - before
            continue
        for index in range(done):
            _hold(out[index], region[out[index]], -1.0, facts, uses, wide, machines, room)
        for index in range(count):
            other = out[index]
            region[other] = old_region[index]
            machines[other, :] = old_machines[index, :]
            _hold(other, region[other], 1.0, facts, uses, wide, machines, room)
    return change


def _shake_cost(steps: int, *rest: Any) -> float:
    facts = rest[5]
    span = float((facts[:, 1] - facts[:, 0]).mean()) if facts.size else 0.0
    return 100000.0 * steps * span


# Ruin and recreate (Schrimpf et al. 2000, doi:10.1006/jcph.1999.6413): steps, most jobs out, thresholds
# (most loss that is taken, first and last), seed, then as for RESPOND, `rates` with the prices that lead;
# room left by all, which is kept → change of the grams.
SHAKE = Kernel(
    _shake,
    _shake,
    signature=f"float64(int64, int64, {_read('float64', 1)}, int64, {_read('float64', 3)}, "
    f"{_read('float64', 1)}, {_read('int64', 2)}, {_read('float64', 2)}, {_read('float64', 2)}, "
    f"{_read('float64', 2)}, {_read('float64', 1)}, {_read('float64', 2)}, {_read('float64', 3)}, "
    "float64[:, :, ::1], int64[::1], float64[:, ::1])",
    work=_shake_cost,
    helpers=(draw, share, _step_cost, _fill, _held_at, _hold, _grams, _pick_out, _refill),
    exact=False,
)

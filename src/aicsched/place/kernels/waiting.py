"""When to start or suspend jobs, each for itself, by the forecast of its arrival.

Times are continuous; intensity is constant within a slot, so that sums over whole
slots and linear parts of the two at the ends are exact. Forecasts are rows of
values and of their running sums (`Vintages`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.jit import Kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Whole = NDArray[np.int64]

__all__ = ["CHEAPEST_START", "CLEANEST_STRETCHES", "LOWEST_SLOT", "THRESHOLD_STRETCHES"]

# Gains below this share are rounding: of equal starts the first is taken.
SAME: Final = 1e-9
# A loop of plain Python takes about a microsecond a step, a numpy one a few nanoseconds.
PLAIN: Final = 200.0
# So many numbers at a time stay near the processor.
CELLS: Final = 50_000


# ---------------------------------------------------------------- when to start


def _amount(sums: Floats, row: int, place: float) -> float:
    last = sums.shape[1] - 2
    slot = int(place)
    slot = min(slot, last)
    # Beyond the last slot its value goes on.
    return sums[row, slot] + (place - slot) * (sums[row, slot + 1] - sums[row, slot])


def _cheapest_loop(
    sums: Floats,
    begin: Floats,
    row: Whole,
    arrival: Floats,
    length: Floats,
    wait: Floats,
    price: Floats,
    every: float,
    per_time: bool,  # noqa: FBT001 - a kernel takes its arguments by position
) -> Floats:
    count = len(arrival)
    made = np.empty(count)
    for job in range(count):
        place = arrival[job] - begin[row[job]]
        long = length[job]
        at_once = _amount(sums, row[job], place + long) - _amount(sums, row[job], place)
        best = at_once
        rate = 0.0
        made[job] = arrival[job]
        tries = int(wait[job] / every + SAME)
        for step in range(1, tries + 1):
            later = step * every
            cost = _amount(sums, row[job], place + later + long) - _amount(sums, row[job], place + later)
            if per_time:
                gain = (at_once - cost) / (later + long)
                if gain > rate + SAME * at_once / long:
                    rate = gain
                    made[job] = arrival[job] + later
            elif cost + price[job] * later < best - SAME * best:
                best = cost + price[job] * later
                made[job] = arrival[job] + later
    return made


def _amounts(sums: Floats, row: Whole, place: Floats) -> Floats:
    slot = np.minimum(place.astype(np.int64), sums.shape[1] - 2)
    low = sums[row, slot]
    return low + (place - slot) * (sums[row, slot + 1] - low)


def _cheapest_twin(
    sums: Floats,
    begin: Floats,
    row: Whole,
    arrival: Floats,
    length: Floats,
    wait: Floats,
    price: Floats,
    every: float,
    per_time: bool,  # noqa: FBT001
) -> Floats:
    # Jobs by starts, a part of the jobs at a time: small batches take few calls, large ones little memory.
    tries = (wait / every + SAME).astype(np.int64)
    most = int(tries.max(initial=0)) + 1
    part = max(1, CELLS // most)
    made = arrival.copy()
    for first in range(0, len(arrival), part):
        some = slice(first, first + part)
        later = np.arange(most) * every
        here = (arrival - begin[row])[some, None] + later
        whose, long = row[some, None], length[some, None]
        cost = _amounts(sums, whose, here + long) - _amounts(sums, whose, here)
        at_once = cost[:, :1]
        if per_time:
            # No gain is above none by rounding only.
            score = (at_once - cost) / (later + long)
            slack = SAME * at_once / long
            least = score.max(axis=1, initial=0.0, where=np.arange(most) <= tries[some, None])[:, None]
            good = score >= least - slack
        else:
            score = cost + price[some, None] * later
            allowed = np.arange(most) <= tries[some, None]
            least = score.min(axis=1, initial=np.inf, where=allowed)[:, None]
            good = score <= least / (1 - SAME)
        made[some] += later[np.argmax(good, axis=1)]
    return made


def _slot_loop(values: Floats, begin: Floats, row: Whole, arrival: Floats, wait: Floats) -> Floats:
    count, slots = len(arrival), values.shape[1]
    made = np.empty(count)
    for job in range(count):
        place = arrival[job] - begin[row[job]]
        made[job] = arrival[job]
        slot = min(int(place), slots - 1)
        best = values[row[job], slot]
        for later in range(slot + 1, min(int(place + wait[job] + SAME), slots - 1) + 1):
            if values[row[job], later] < best:
                best = values[row[job], later]
                made[job] = begin[row[job]] + later
    return made


def _slot_twin(values: Floats, begin: Floats, row: Whole, arrival: Floats, wait: Floats) -> Floats:
    place = arrival - begin[row]
    slot = np.minimum(place.astype(np.int64), values.shape[1] - 1)
    last = np.minimum((place + wait + SAME).astype(np.int64), values.shape[1] - 1)
    best, made = values[row, slot], arrival.copy()
    for step in range(1, int((last - slot).max(initial=0)) + 1):
        left = np.flatnonzero(slot + step <= last)
        here = values[row[left], slot[left] + step]
        better = here < best[left]
        best[left[better]] = here[better]
        made[left[better]] = begin[row[left[better]]] + slot[left[better]] + step
    return made


# ---------------------------------------------------------------- when to run and when to rest


def _take(values: Floats, spans: Floats, need: float, taken: Floats, order: Whole) -> None:
    """Take the cleanest time: halves are parted around a pivot, and only one is looked into."""
    low, high = 0, len(values)
    for piece in range(high):
        order[piece] = piece
    while low < high and need > SAME:
        middle = int(order[(low + high) // 2])
        bound = values[middle]
        order[(low + high) // 2] = order[high - 1]
        order[high - 1] = middle
        place = low
        below = 0.0
        for at in range(low, high - 1):
            piece = int(order[at])
            if values[piece] < bound or (values[piece] == bound and piece < middle):
                order[at] = order[place]
                order[place] = piece
                place += 1
                below += spans[piece]
        order[high - 1] = order[place]
        order[place] = middle
        if below >= need:
            high = place
        else:
            for at in range(low, place):
                taken[order[at]] = spans[order[at]]
            need -= below
            if need > SAME:
                taken[middle] = min(spans[middle], need)
                need -= taken[middle]
            low = place + 1


def _cleanest_loop(
    values: Floats, begin: Floats, row: Whole, arrival: Floats, length: Floats, wait: Floats
) -> tuple[Whole, Floats, Floats]:
    count, slots = len(arrival), values.shape[1]
    first = np.zeros(count + 1, dtype=np.int64)
    room = 0
    for job in range(count):
        room += int(length[job] + wait[job]) // 2 + 3
    start = np.empty(room)
    stop = np.empty(room)
    taken = np.empty(slots)
    spans = np.empty(slots)
    order = np.empty(slots, dtype=np.int64)
    made = 0
    for job in range(count):
        base = begin[row[job]]
        place = arrival[job] - base
        end = place + length[job] + wait[job]
        low = min(int(place), slots - 1)
        pieces = max(min(int(np.ceil(end)), slots), low + 1) - low
        for piece in range(pieces):
            slot = low + piece
            taken[piece] = 0.0
            # What lies beyond the forecast goes on as its last slot.
            until = end if slot == slots - 1 else min(end, slot + 1.0)
            spans[piece] = until - max(place, float(slot))
        here = values[row[job], low : low + pieces]
        _take(here, spans[:pieces], length[job], taken[:pieces], order)
        open_until = -1.0
        for piece in range(pieces):
            if taken[piece] <= SAME:
                continue
            at = max(place, float(low + piece))
            if at > open_until + SAME or made == first[job]:
                start[made] = base + at
                made += 1
            open_until = at + taken[piece]
            stop[made - 1] = base + open_until
        # Rounding must not leave a job undone.
        stop[made - 1] = np.inf
        first[job + 1] = made
    return first, start[:made].copy(), stop[:made].copy()


def _cleanest_twin(
    values: Floats, begin: Floats, row: Whole, arrival: Floats, length: Floats, wait: Floats
) -> tuple[Whole, Floats, Floats]:
    count, slots = len(arrival), values.shape[1]
    first = np.zeros(count + 1, dtype=np.int64)
    start: list[Floats] = []
    stop: list[Floats] = []
    for job in range(count):
        base = begin[row[job]]
        place = arrival[job] - base
        end = place + length[job] + wait[job]
        low = min(int(place), slots - 1)
        high = max(min(int(np.ceil(end)), slots), low + 1)
        begun = np.maximum(np.arange(low, high, dtype=np.float64), place)
        ended = np.minimum(np.arange(low, high) + 1.0, end)
        ended[-1] = end if high == slots else ended[-1]
        spans = ended - begun
        order = np.argsort(values[row[job], low:high], kind="stable")
        left = length[job] - (np.cumsum(spans[order]) - spans[order])
        taken = np.zeros(high - low)
        taken[order] = np.where(left > SAME, np.minimum(left, spans[order]), 0.0)
        used = np.flatnonzero(taken > SAME)
        ended = begun[used] + taken[used]
        fresh = np.flatnonzero(begun[used][1:] > ended[:-1] + SAME)
        start.append(base + begun[used][np.concatenate(([0], fresh + 1))])
        stop.append(np.append(base + ended[fresh], np.inf))
        first[job + 1] = first[job] + len(start[-1])
    return first, np.concatenate([*start, np.empty(0)]), np.concatenate([*stop, np.empty(0)])


def _limit(values: Floats, row: int, place: float, span: float, share: float) -> float:
    slots = values.shape[1]
    low = min(int(place), slots - 1)
    high = max(min(int(np.ceil(place + span)), slots), low + 1)
    order = np.argsort(values[row, low:high], kind="mergesort")
    end = max(min(place + span, float(slots)), place + SAME)
    want = share * (end - place)
    for piece in order:
        slot = low + piece
        want -= min(end, slot + 1.0) - max(place, float(slot))
        if want <= SAME:
            return values[row, slot]
    return values[row, low + order[-1]]


def _threshold_loop(
    values: Floats,
    begin: Floats,
    row: Whole,
    arrival: Floats,
    wait: Floats,
    longest: Floats,
    span: float,
    share: float,
) -> tuple[Whole, Floats, Floats]:
    count, slots = len(arrival), values.shape[1]
    first = np.zeros(count + 1, dtype=np.int64)
    room = 0
    for job in range(count):
        room += int(wait[job] + longest[job]) // 2 + 3
    start = np.empty(room)
    stop = np.empty(room)
    made = 0
    for job in range(count):
        base = begin[row[job]]
        here = arrival[job] - base
        most = here + wait[job] + longest[job]
        limit = _limit(values, row[job], here, span, share)
        patience = wait[job]
        running = False
        while patience > SAME and here < most:
            slot = int(here + SAME)
            if slot >= slots:
                break
            until = slot + 1.0
            if values[row[job], slot] < limit:
                if not running:
                    start[made] = base + here
                    made += 1
                    running = True
            else:
                if running:
                    stop[made - 1] = base + here
                    running = False
                until = min(until, here + patience)
                patience -= until - here
            here = until
        if not running:
            start[made] = base + here
            made += 1
        stop[made - 1] = np.inf
        first[job + 1] = made
    return first, start[:made].copy(), stop[:made].copy()


# ---------------------------------------------------------------- the kernels


def _start_work(*args: Floats) -> float:
    return float(len(args[3])) * 25.0


def _slot_work(*args: Floats) -> float:
    return float(len(args[3])) * 25.0


def _cleanest_work(*args: Floats) -> float:
    # About thirty microseconds a job in numpy.
    return 30.0 * PLAIN * float(len(args[3]))


def _stretch_work(*args: Floats) -> float:
    wait = args[4]
    return PLAIN * float(len(wait)) * (float(np.mean(wait)) + 25.0 if len(wait) else 0.0)


_MATRIX = 'Array(float64, 2, "C", readonly=True)'
_ROW = 'Array(float64, 1, "C", readonly=True)'
_WHOLE = 'Array(int64, 1, "C", readonly=True)'
_STRETCHES = "Tuple((int64[::1], float64[::1], float64[::1]))"
# All times in slots. sums (v, h+1), begin (v,), row, arrival, length, wait, price (n,), every, per_time →
# start (n,): of least grams and price of waiting, or of most grams saved per time to completion, among the
# arrival and every so often after it.
CHEAPEST_START = Kernel(
    _cheapest_loop,
    _cheapest_twin,
    signature=f"float64[::1]({_MATRIX}, {_ROW}, {_WHOLE}, {_ROW}, {_ROW}, {_ROW}, {_ROW}, float64, boolean)",
    work=_start_work,
    helpers=(_amount,),
)
# values (v, h), begin (v,), row, arrival, wait (n,) → start (n,): in the first of the cleanest slots.
LOWEST_SLOT = Kernel(
    _slot_loop,
    _slot_twin,
    signature=f"float64[::1]({_MATRIX}, {_ROW}, {_WHOLE}, {_ROW}, {_ROW})",
    work=_slot_work,
    exact=True,
)
# values, begin, row, arrival, length, wait → first (n+1,), start, stop (m,): the cleanest time of the window.
CLEANEST_STRETCHES = Kernel(
    _cleanest_loop,
    _cleanest_twin,
    signature=f"{_STRETCHES}({_MATRIX}, {_ROW}, {_WHOLE}, {_ROW}, {_ROW}, {_ROW})",
    work=_cleanest_work,
    helpers=(_take,),
)
# values, begin, row, arrival, wait, longest, span, share → stretches below a quantile of the next `span`.
THRESHOLD_STRETCHES = Kernel(
    _threshold_loop,
    _threshold_loop,
    signature=f"{_STRETCHES}({_MATRIX}, {_ROW}, {_WHOLE}, {_ROW}, {_ROW}, {_ROW}, float64, float64)",
    work=_stretch_work,
    helpers=(_limit,),
)

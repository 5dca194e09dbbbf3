"""What becomes of plans: how long jobs take in their stretches, and who gets a reserved machine.

Both go through events in the order of time. There are no ticks: nothing is looked
at between two events.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.jit import Kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Whole = NDArray[np.int64]
    Flags = NDArray[np.bool_]

__all__ = ["DISPATCH", "RUN_STRETCHES"]

# Shorter than a microsecond is rounding.
INSTANT_S: Final = 1e-6
# Plain Python takes about a microsecond a step.
PLAIN: Final = 200.0


def _run_loop(
    first: Whole, start: Floats, stop: Floats, rate: Floats, length: Floats, save_s: float, load_s: float
) -> tuple[Whole, Whole, Floats, Floats, Floats]:
    jobs = len(first) - 1
    job = np.empty(len(start), dtype=np.int64)
    stretch = np.empty(len(start), dtype=np.int64)
    begun = np.empty(len(start))
    ended = np.empty(len(start))
    left_s = length.copy()
    made = 0
    for index in range(jobs):
        for row in range(first[index], first[index + 1]):
            if left_s[index] <= INSTANT_S:
                break
            # Nothing is saved or loaded where one stretch goes over into the next.
            fresh = row == first[index] or start[row] - stop[row - 1] <= INSTANT_S
            last = row + 1 == first[index + 1] or start[row + 1] - stop[row] > INSTANT_S
            overhead = 0.0 if fresh else load_s
            # The last stretch is open, whatever it says: no job is left undone.
            span = np.inf if row + 1 == first[index + 1] else stop[row] - start[row] - overhead
            need = left_s[index] / rate[row]
            job[made] = index
            stretch[made] = row
            begun[made] = start[row]
            if need <= span + INSTANT_S:
                ended[made] = start[row] + overhead + need
                left_s[index] = 0.0
            else:
                ended[made] = stop[row]
                left_s[index] -= max(0.0, span - (save_s if last else 0.0)) * rate[row]
            made += 1
    return job[:made].copy(), stretch[:made].copy(), begun[:made].copy(), ended[:made].copy(), left_s


def _dispatch_loop(  # noqa: C901, PLR0912, PLR0913, PLR0915, PLR0917 - one loop over events
    ready: Floats,
    planned: Floats,
    duration: Floats,
    vcpus: Floats,
    eager: Flags,
    spot: Flags,
    reserved: float,
    delay: float,
) -> tuple[Floats, Flags]:
    count = len(ready)
    start = planned.copy()
    kept = np.zeros(count, dtype=np.bool_)
    order = np.argsort(ready, kind="mergesort")
    waiting = np.empty(count, dtype=np.int64)
    back_at = np.empty(count)
    back = np.empty(count)
    waits = 0
    busy = 0
    free = reserved
    come = 0
    now = 0.0
    while come < count or waits > 0:
        # The next thing that happens: an item is ready, one is due, or a machine comes back.
        now = np.inf
        if come < count:
            now = ready[order[come]]
        for place in range(waits):
            now = min(now, planned[waiting[place]])
        if waits > 0:
            for place in range(busy):
                now = min(now, back_at[place])
        place = 0
        while place < busy:
            if back_at[place] <= now:
                free += back[place]
                busy -= 1
                back_at[place] = back_at[busy]
                back[place] = back[busy]
            else:
                place += 1
        while come < count and ready[order[come]] <= now:
            # Items are numbered by their rank, and wait in that order.
            place = waits
            while place > 0 and waiting[place - 1] > order[come]:
                waiting[place] = waiting[place - 1]
                place -= 1
            waiting[place] = order[come]
            waits += 1
            come += 1
        stay = 0
        for place in range(waits):
            item = waiting[place]
            fits = not spot[item] and vcpus[item] <= free
            if planned[item] <= now or (eager[item] and fits):
                start[item] = now
                kept[item] = fits
                if fits:
                    free -= vcpus[item]
                    back_at[busy] = now + duration[item] + delay
                    back[busy] = vcpus[item]
                    busy += 1
            else:
                waiting[stay] = item
                stay += 1
        waits = stay
    return start, kept


def _run_work(*args: Floats) -> float:
    return PLAIN * float(len(args[1]))


def _dispatch_work(*args: Floats) -> float:
    return PLAIN * 20.0 * float(len(args[0]))


_FLOATS = 'Array(float64, 1, "C", readonly=True)'
_WHOLE = 'Array(int64, 1, "C", readonly=True)'
_FLAGS = 'Array(boolean, 1, "C", readonly=True)'
# first (n+1,), start, stop, rate (m,), length (n,), save, load [s] → job, stretch, begun, ended (r,), left
# (n,).
RUN_STRETCHES = Kernel(
    _run_loop,
    _run_loop,
    signature=(
        "Tuple((int64[::1], int64[::1], float64[::1], float64[::1], float64[::1]))"
        f"({_WHOLE}, {_FLOATS}, {_FLOATS}, {_FLOATS}, {_FLOATS}, float64, float64)"
    ),
    work=_run_work,
)
# ready, planned, duration, vcpus, eager, spot (n,) in the order of rank, reserved threads, and how long after
# its job's end a machine can be had again [s] → start (n,), on a reserved machine (n,).
DISPATCH = Kernel(
    _dispatch_loop,
    _dispatch_loop,
    signature=(
        "Tuple((float64[::1], boolean[::1]))"
        f"({_FLOATS}, {_FLOATS}, {_FLOATS}, {_FLOATS}, {_FLAGS}, {_FLAGS}, float64, float64)"
    ),
    work=_dispatch_work,
)

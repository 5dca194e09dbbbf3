"""Distribution of the highest load of a horizon, from what came of similar situations.

A situation is a slot of the past, described by levels, the latest top and what came
at that time on earlier days. A linear fit turns it into an expected top of the
following horizon. What came beyond the expected is then laid on today's expectation
(`shift` of 1), or what came is taken as it was (0), each past situation counting by how
near its expectation was to today's, and by its age.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from aicsched.jit import Kernel
from aicsched.score.risk.kernels import layout as at
from aicsched.score.risk.kernels.analogue_twin import curves_twin, describe_twin, moments_twin

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Integers = NDArray[np.int64]

__all__ = ["CURVES", "DESCRIBE", "MOMENTS"]


def follow(before: float, came: float) -> float:
    """Return a profile of earlier days after one more of them."""
    if np.isnan(came):
        return before
    return came if np.isnan(before) else before + at.GAIN_DAILY * (came - before)


def describe_levels(values: Array, made: Array) -> None:
    """Fill in the latest value and the levels of each slot; NaN before the first value."""
    seen = False
    latest, fast, middle, slow = np.nan, 0.0, 0.0, 0.0
    for slot in range(values.shape[0]):
        value = values[slot]
        if not np.isnan(value):
            if not seen:
                seen = True
                fast = middle = slow = value
            latest = value
            fast += at.GAIN_FAST * (value - fast)
            middle += at.GAIN_MIDDLE * (value - middle)
            slow += at.GAIN_SLOW * (value - slow)
        made[slot, at.LATEST] = latest
        made[slot, at.FAST] = fast
        made[slot, at.MIDDLE] = middle
        made[slot, at.SLOW] = slow


def describe_times(values: Array, top: Array, horizon: int, day: int, made: Array) -> None:
    """Fill in what came at this time before: only what was over by each slot."""
    days = -(-horizon // day) * day
    weeks = -(-horizon // (7 * day)) * 7 * day
    for slot in range(values.shape[0]):
        made[slot, at.DAILY] = made[slot, at.USUAL] = np.nan
        if slot >= days:
            made[slot, at.DAILY] = follow(made[slot - days, at.DAILY], top[slot - days + horizon])
        if slot >= day:
            made[slot, at.USUAL] = follow(made[slot - day, at.USUAL], values[slot - day])
        made[slot, at.RECENT] = made[slot, at.LATEST] if np.isnan(top[slot]) else top[slot]
    for slot in range(values.shape[0]):
        if np.isnan(made[slot, at.DAILY]):
            made[slot, at.DAILY] = made[slot, at.SLOW]
        if np.isnan(made[slot, at.USUAL]):
            made[slot, at.USUAL] = made[slot, at.SLOW]
        made[slot, at.WEEKLY] = made[slot, at.DAILY]
        if slot >= weeks and not np.isnan(top[slot - weeks + horizon]):
            made[slot, at.WEEKLY] = top[slot - weeks + horizon]


def _describe_loop(past: Array, top: Array, horizon: int, day: int, made: Array) -> None:
    for row in range(past.shape[0]):
        describe_levels(past[row], made[row])
        describe_times(past[row], top[row], horizon, day, made[row])


def begin_of(span: Integers) -> int:
    """Return the first situation, so that the last one is as near to the origin as can be."""
    last = span[at.ORIGIN] - span[at.HORIZON]
    return span[at.FIRST] + max(last - span[at.FIRST], 0) % span[at.STRIDE]


def counts(came: Array, inputs: Array) -> bool:
    """Tell whether a slot is a situation: something came, and something was known."""
    return bool(not (np.isnan(came) or np.isnan(inputs[at.LATEST])))


def add_means(top: Array, inputs: Array, span: Integers, sums: Array) -> None:
    """Sum up what came and what described it; divide where there is enough."""
    end = span[at.ORIGIN] + 1 - span[at.HORIZON]
    for slot in range(begin_of(span), end, span[at.STRIDE]):
        came = top[slot + span[at.HORIZON]]
        if counts(came, inputs[slot]):
            sums[at.COUNT] += 1.0
            sums[at.MEAN] += came
            for j in range(at.FEATURES):
                sums[at.CENTRE + j] += inputs[slot, j]
    if sums[at.COUNT] >= at.LEAST_COUNT:
        for j in range(at.MEAN, at.PRODUCT):
            sums[j] /= sums[at.COUNT]


def add_products(top: Array, inputs: Array, span: Integers, off: Array, sums: Array) -> None:
    """Add the variance of what came and its covariances with what described it."""
    end = span[at.ORIGIN] + 1 - span[at.HORIZON]
    for slot in range(begin_of(span), end, span[at.STRIDE]):
        came = top[slot + span[at.HORIZON]]
        if not counts(came, inputs[slot]):
            continue
        rest = came - sums[at.MEAN]
        sums[at.VARIANCE] += rest * rest
        for j in range(at.FEATURES):
            off[j] = inputs[slot, j] - sums[at.CENTRE + j]
            sums[at.PRODUCT + j] += off[j] * rest
            for k in range(j + 1):
                sums[at.SQUARE + at.FEATURES * j + k] += off[j] * off[k]
    sums[at.VARIANCE] /= sums[at.COUNT]
    for j in range(at.PRODUCT, at.SUMS):
        sums[j] /= sums[at.COUNT]
    for j in range(at.FEATURES):
        for k in range(j):
            sums[at.SQUARE + at.FEATURES * k + j] = sums[at.SQUARE + at.FEATURES * j + k]


def _moments_loop(inputs: Array, top: Array, span: Integers, made: Array) -> None:
    off = np.empty(at.FEATURES)
    for row in range(top.shape[0]):
        made[row] = 0.0
        add_means(top[row], inputs[row], span, made[row])
        if made[row, at.COUNT] >= at.LEAST_COUNT:
            add_products(top[row], inputs[row], span, off, made[row])


def expected_of(inputs: Array, fit: Array) -> float:
    """Return the top that a situation lets expect."""
    made = fit[at.MEAN]
    for j in range(at.FEATURES):
        made += fit[at.SLOPES + j] * (inputs[j] - fit[at.CENTRE + j])
    return made


def smear(expected: float, spread: float, share: float, limit: float, curve: Array) -> None:
    """Mix a heavy tail (Student's t, two degrees of freedom) into a curve by a share."""
    steps = curve.shape[0] - 1
    for point in range(steps + 1):
        z = (limit - point / steps - expected) / spread
        tail = 0.5 - 0.5 * z / np.sqrt(2.0 + z * z)
        curve[point] = (1.0 - share) * curve[point] + share * tail


def expect(top: Array, inputs: Array, span: Integers, fit: Array, off: Array) -> tuple[float, float, float]:
    """Fill in how far each situation's expectation is off today's; return that and two deviations."""
    now = expected_of(inputs[span[at.ORIGIN]], fit)
    varied = missed = 0.0
    end = span[at.ORIGIN] + 1 - span[at.HORIZON]
    for slot in range(begin_of(span), end, span[at.STRIDE]):
        off[slot] = np.nan
        came = top[slot + span[at.HORIZON]]
        if counts(came, inputs[slot]):
            expected = expected_of(inputs[slot], fit)
            varied += (expected - fit[at.MEAN]) ** 2
            missed += (came - expected) ** 2
            off[slot] = expected - now
    width = np.sqrt(varied / fit[at.COUNT]) + at.LEAST_DISTANCE
    return now, width, np.sqrt(missed / fit[at.COUNT]) + at.LEAST_SPREAD


def lay(  # noqa: PLR0913, PLR0917 - arrays in, arrays out
    top: Array,
    span: Integers,
    off: Array,
    width: float,
    limit: float,
    memory: Array,
    shift: float,
    curves: Array,
) -> None:
    """Lay what each situation missed by on today's expectation, or what came as it was."""
    horizon, stride = span[at.HORIZON], span[at.STRIDE]
    end = span[at.ORIGIN] + 1 - horizon
    memories, points = curves.shape
    totals = np.zeros(memories)
    curves[:] = 0.0
    for slot in range(begin_of(span), end, stride):
        if np.isnan(off[slot]):
            continue
        z = off[slot] / width
        alike = 1.0 / (1.0 + z * z) ** 2
        room = limit - (top[slot + horizon] - shift * off[slot])
        # The first point of the grid whose load is more than the room.
        place = max(np.floor(room * (points - 1) + at.TIE) + 1.0, 0.0)
        for kind in range(memories):
            weight = alike * memory[(end - 1 - slot) // stride, kind]
            totals[kind] += weight
            if place < points:
                curves[kind, int(place)] += weight
    for kind in range(memories):
        for point in range(1, points):
            curves[kind, point] += curves[kind, point - 1]
        curves[kind] /= totals[kind]


def _curves_loop(  # noqa: PLR0913, PLR0917 - arrays in, arrays out
    inputs: Array,
    top: Array,
    span: Integers,
    fits: Array,
    limits: Array,
    memory: Array,
    shift: float,
    made: Array,
) -> None:
    off = np.empty(span[at.ORIGIN] + 1)
    independent = min(span[at.STRIDE] / span[at.HORIZON], 1.0)
    for row in range(top.shape[0]):
        fit, curves = fits[row], made[row]
        if fit[at.COUNT] < at.LEAST_COUNT or np.isnan(limits[row]):
            curves[:] = np.nan
            continue
        now, width, spread = expect(top[row], inputs[row], span, fit, off)
        lay(top[row], span, off, width, limits[row], memory, shift, curves)
        share = 1.0 / (1.0 + max(fit[at.COUNT] * independent, 1.0))
        for kind in range(curves.shape[0]):
            smear(now, spread, share, limits[row], curves[kind])


def _describe_work(past: Array, *_rest: object) -> float:
    return past.size * 20.0


def _moments_work(_inputs: Array, top: Array, *_rest: object) -> float:
    return top.size * 40.0


def _curves_work(_inputs: Array, top: Array, *_rest: object) -> float:
    return top.size * 20.0


_READ = 'Array(float64, {}, "C", readonly=True)'
_COMMON = f'{_READ.format(3)}, {_READ.format(2)}, Array(int64, 1, "C", readonly=True)'
# past (n, t), top of the last horizon (n, t), horizon, slots a day → inputs (n, t, FEATURES), in place.
DESCRIBE = Kernel(
    _describe_loop,
    describe_twin,
    signature=f"void({_READ.format(2)}, {_READ.format(2)}, int64, int64, float64[:, :, ::1])",
    work=_describe_work,
    helpers=(follow, describe_levels, describe_times),
)
# inputs (n, t, FEATURES), top (n, t), span → sums (n, SUMS), in place.
MOMENTS = Kernel(
    _moments_loop,
    moments_twin,
    signature=f"void({_COMMON}, float64[:, ::1])",
    work=_moments_work,
    helpers=(begin_of, counts, add_means, add_products),
)
# The same and fits (n, FIT), limits (n,), memory (ages, j), shift → risk (n, j, g), in place.
CURVES = Kernel(
    _curves_loop,
    curves_twin,
    signature=(
        f"void({_COMMON}, {_READ.format(2)}, {_READ.format(1)}, {_READ.format(2)}, float64, "
        "float64[:, :, ::1])"
    ),
    work=_curves_work,
    helpers=(begin_of, counts, expected_of, expect, lay, smear),
)

"""The same as the loops in numpy: all nodes at once, slot after slot where one needs the one before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.score.risk.kernels import layout as at

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Integers = NDArray[np.int64]

__all__ = ["curves_twin", "describe_twin", "moments_twin"]

# Rows at a time: what is described of them then takes some 10 MB.
_ROWS: Final = 256
_GAINS: Final = np.array([at.GAIN_FAST, at.GAIN_MIDDLE, at.GAIN_SLOW])


def _levels(values: Array) -> Array:
    """Return the latest value and the three levels, shape (t, n, 4)."""
    slots, rows = values.shape
    made = np.empty((slots, rows, 4))
    seen = np.zeros(rows, dtype=np.bool_)
    latest, levels = np.full(rows, np.nan), np.zeros((rows, 3))
    for slot in range(slots):
        value = values[slot]
        there = ~np.isnan(value)
        fresh = there & ~seen
        levels[fresh] = value[fresh, None]
        seen |= there
        latest = np.where(there, value, latest)
        step = np.where(there[:, None], _GAINS * (value[:, None] - levels), 0.0)
        levels = levels + step
        made[slot, :, 0], made[slot, :, 1:] = latest, levels
    return made


def _followed(came: Array, period: int) -> Array:
    """Return the profile of each slot (t, n), from what came (t, n) a period before, and before that."""
    made = np.full(came.shape, np.nan)
    for slot in range(period, len(came)):
        new, before = came[slot - period], made[slot - period]
        moved = np.where(np.isnan(before), new, before + at.GAIN_DAILY * (new - before))
        made[slot] = np.where(np.isnan(new), before, moved)
    return made


def describe_twin(past: Array, top: Array, horizon: int, day: int, made: Array) -> None:
    """Fill in what describes each slot of each node."""
    days, weeks = -(-horizon // day) * day, -(-horizon // (7 * day)) * 7 * day
    values, tops = np.ascontiguousarray(past.T), np.ascontiguousarray(top.T)
    slots = len(values)
    # What came of each slot, as far as a slot that is `days` later can know it.
    came = np.full(tops.shape, np.nan)
    came[: max(slots - horizon, 0)] = tops[horizon:]
    weekly = np.full(tops.shape, np.nan)
    weekly[weeks:] = came[: max(slots - weeks, 0)]
    levels, daily, usual = _levels(values), _followed(came, days), _followed(values, day)
    slow = levels[..., 3]
    turned = made.transpose(1, 0, 2)
    turned[..., : at.RECENT] = levels
    turned[..., at.RECENT] = np.where(np.isnan(tops), levels[..., 0], tops)
    turned[..., at.DAILY] = np.where(np.isnan(daily), slow, daily)
    turned[..., at.WEEKLY] = np.where(np.isnan(weekly), turned[..., at.DAILY], weekly)
    turned[..., at.USUAL] = np.where(np.isnan(usual), slow, usual)


def _situations(inputs: Array, top: Array, span: Integers) -> tuple[Array, Array, Array, NDArray[np.bool_]]:
    """Return situations (n, m, f), what came (n, m), today's (n, f), and which count (n, m)."""
    last = int(span[at.ORIGIN] - span[at.HORIZON])
    first, stride = int(span[at.FIRST]), int(span[at.STRIDE])
    slots = np.arange(first + max(last - first, 0) % stride, last + 1, stride)
    came = top[:, slots + int(span[at.HORIZON])]
    chosen = inputs[:, slots]
    counts = ~np.isnan(came) & ~np.isnan(chosen[..., at.LATEST])
    return chosen, came, inputs[:, int(span[at.ORIGIN])], counts


def moments_twin(described: Array, top: Array, span: Integers, made: Array) -> None:
    """Fill in the sums of each node: see `layout`."""
    for low in range(0, len(top), _ROWS):
        rows = slice(low, low + _ROWS)
        inputs, came, _, counts = _situations(described[rows], top[rows], span)
        count = counts.sum(axis=1).astype(np.float64)
        enough = count >= at.LEAST_COUNT
        safe = np.maximum(count, 1.0)
        mean = np.where(counts, came, 0.0).sum(axis=1) / safe
        inputs = np.where(counts[..., None], inputs, 0.0)
        centre = inputs.sum(axis=1) / safe[:, None]
        off = np.where(counts[..., None], inputs - centre[:, None], 0.0)
        rest = np.where(counts, came - mean[:, None], 0.0)
        sums = made[rows]
        sums[:] = 0.0
        sums[:, at.COUNT] = count
        sums[:, at.MEAN], sums[:, at.VARIANCE] = mean, np.square(rest).sum(axis=1) / safe
        sums[:, at.CENTRE : at.PRODUCT] = centre
        turned = off.transpose(0, 2, 1)
        sums[:, at.PRODUCT : at.SQUARE] = (turned @ rest[..., None])[..., 0] / safe[:, None]
        sums[:, at.SQUARE :] = ((turned @ off) / safe[:, None, None]).reshape(len(count), -1)
        if not enough.all():
            # The loop leaves at the sums where there is too little to divide.
            few = ~enough
            sums[few] = 0.0
            sums[few, at.COUNT] = count[few]
            sums[few, at.MEAN] = (mean * safe)[few]
            sums[few, at.CENTRE : at.PRODUCT] = (centre * safe[:, None])[few]


def curves_twin(  # noqa: PLR0913, PLR0917 - as the loop
    described: Array,
    top: Array,
    span: Integers,
    fits: Array,
    limits: Array,
    memory: Array,
    shift: float,
    made: Array,
) -> None:
    """Fill in the risk of each node, memory and added load."""
    for low in range(0, len(top), _ROWS):
        rows = slice(low, low + _ROWS)
        some = described[rows], top[rows], span, fits[rows], limits[rows]
        _curves_of_some(*some, memory, shift, made[rows])


def _curves_of_some(  # noqa: PLR0913, PLR0917 - as the loop
    described: Array,
    top: Array,
    span: Integers,
    fits: Array,
    limits: Array,
    memory: Array,
    shift: float,
    made: Array,
) -> None:
    inputs, came, today, counts = _situations(described, top, span)
    centre, slopes = fits[:, at.CENTRE : at.SLOPES], fits[:, at.SLOPES :]
    mean, count = fits[:, at.MEAN], np.maximum(fits[:, at.COUNT], 1.0)
    now = mean + ((today - centre) * slopes).sum(axis=1)
    off = np.where(counts[..., None], inputs - centre[:, None], 0.0)
    expected = mean[:, None] + (off @ slopes[..., None])[..., 0]
    missed = np.where(counts, came - expected, 0.0)
    varied = np.where(counts, expected - mean[:, None], 0.0)
    width = np.sqrt(np.square(varied).sum(axis=1) / count) + at.LEAST_DISTANCE
    spread = np.sqrt(np.square(missed).sum(axis=1) / count) + at.LEAST_SPREAD
    alike = 1.0 / np.square(1.0 + np.square((expected - now[:, None]) / width[:, None]))
    points = made.shape[2]
    room = limits[:, None] - (came - shift * (expected - now[:, None]))
    nodes, situations = np.nonzero(counts & ~np.isnan(room))
    steps = np.floor(room[nodes, situations] * (points - 1) + at.TIE)
    place = np.clip(steps + 1.0, 0, points).astype(np.int64)
    ages = counts.shape[1] - 1 - situations
    grid = np.arange(points) / (points - 1)
    z = (limits[:, None] - grid - now[:, None]) / spread[:, None]
    tail = 0.5 - 0.5 * z / np.sqrt(2.0 + z * z)
    effective = np.maximum(count * min(span[at.STRIDE] / span[at.HORIZON], 1.0), 1.0)
    share = (1.0 / (1.0 + effective))[:, None]
    for kind in range(made.shape[1]):
        weights = alike[nodes, situations] * memory[ages, kind]
        mass = np.bincount(nodes * (points + 1) + place, weights, minlength=len(now) * (points + 1))
        steps = np.cumsum(mass.reshape(len(now), points + 1), axis=1)
        total = np.where(steps[:, -1:] > 0, steps[:, -1:], np.nan)
        made[:, kind] = (1.0 - share) * steps[:, :points] / total + share * tail
    made[(fits[:, at.COUNT] < at.LEAST_COUNT) | np.isnan(limits)] = np.nan

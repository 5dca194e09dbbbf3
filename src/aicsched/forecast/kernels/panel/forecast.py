"""The forecast of all series over all leads: the weighted median of the pool, and its band."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from aicsched.forecast.kernels.panel import layout as at
from aicsched.forecast.kernels.panel.forecast_twin import forecast_twin
from aicsched.forecast.kernels.panel.update import (
    FORESEEING,
    advance,
    calendar,
    profiles,
    reach,
    weighted_median,
)
from aicsched.jit import Kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Single = NDArray[np.float32]
    Integers = NDArray[np.int64]

__all__ = ["PANEL_FORECAST"]


def band(w: Array, anchors: Integers, mixes: Array, offsets: Array) -> None:
    """Fill in by how much each wanted level lies off the median at each anchor.

    Where an anchor wasn't scored yet, the nearest one before it stands in, wider as a
    random walk would be; where none was, nothing is known.
    """
    scale = np.nan
    lead = 1.0
    for a in range(len(anchors)):
        block = anchors[a, at.BLOCK]
        if w[block + at.SCORED] > 0.0:
            scale = w[block + at.ERROR_SCALE]
            lead = float(anchors[a, at.LEAD])
        width = scale * np.sqrt(anchors[a, at.LEAD] / lead)
        for q in range(mixes.shape[0]):
            offsets[a, q] = 0.0
        # Each level is tracked on its own: a higher one is held at or above the lower.
        highest = -np.inf
        for k in range(mixes.shape[1]):
            highest = max(highest, w[block + at.OFFSETS + k])
            for q in range(mixes.shape[0]):
                offsets[a, q] += mixes[q, k] * highest * width


def foresee(  # noqa: PLR0913,PLR0917 - room is handed in: nothing is made anew for each series
    w: Array,
    spots: Integers,
    anchors: Integers,
    positions: Array,
    offsets: Array,
    room: Array,
    made: Single,
    bands: Single,
) -> None:
    """Foresee one series: `made` gets the median, `bands` the wanted levels.

    `spots` is the calendar from the step before on.
    """
    lags = room[: at.ORDER]
    now = room[at.ORDER : at.ORDER + 2]
    before = room[at.ORDER + 2 : at.ORDER + 4]
    values = room[at.ORDER + 4 : at.ORDER + 4 + at.EXPERTS]
    weights = room[at.ORDER + 4 + at.EXPERTS : at.ORDER + 4 + 2 * at.EXPERTS]
    for p in range(at.ORDER):
        lags[p] = w[at.LAGS + p]
    limit = reach(w)
    before[0], before[1], raw = profiles(w, spots[0])
    values[at.NAIVE] = w[at.LAST]
    values[at.FAST_LEVEL] = w[at.FAST]
    values[at.SLOW_LEVEL] = w[at.SLOW]
    values[at.SMOOTHED] = w[at.SES]
    chosen = 0
    for step in range(positions.size):
        left = max(min(int(positions[step]), len(anchors) - 2), 0)
        right = min(left + 1, len(anchors) - 1)
        share = positions[step] - left
        now[0], now[1], raw = profiles(w, spots[step + 1])
        values[at.REGRESSION] = w[at.DAY_LEVEL] + advance(w, lags, now, before, limit)
        values[at.DAY_PROFILE] = w[at.DAY_LEVEL] + now[0]
        values[at.WEEK_PROFILE] = values[at.DAY_PROFILE] if np.isnan(raw) else w[at.WEEK_LEVEL] + raw
        one = anchors[left, at.BLOCK] + at.WEIGHTS
        two = anchors[right, at.BLOCK] + at.WEIGHTS
        for k in range(at.EXPERTS):
            weights[k] = (1.0 - share) * w[one + k] + share * w[two + k]
        chosen = weighted_median(values, weights, chosen)
        middle = values[chosen]
        made[step] = middle
        for q in range(offsets.shape[1]):
            bands[q, step] = middle + ((1.0 - share) * offsets[left, q] + share * offsets[right, q])


def _loop(  # noqa: PLR0913,PLR0917 - arrays in, arrays out
    state: Single,
    time: int,
    sizes: Integers,
    anchors: Integers,
    positions: Array,
    mixes: Array,
    bounds: Array,
    made: Single,
    bands: NDArray[np.float32],
) -> int:
    w = np.empty(state.shape[1])
    room = np.empty(at.ORDER + 4 + 2 * at.EXPERTS)
    offsets = np.empty((len(anchors), mixes.shape[0]))
    spots = calendar(sizes, time - 1, positions.size + 1)
    for row in range(state.shape[0]):
        for place in range(w.size):
            w[place] = state[row, place]
        if w[at.SEEN] == 0.0:
            made[row, :] = np.nan
            bands[row, :, :] = np.nan
            continue
        band(w, anchors, mixes, offsets)
        foresee(w, spots, anchors, positions, offsets, room, made[row], bands[row])
        low, high = bounds[row, 0], bounds[row, 1]
        for step in range(positions.size):
            made[row, step] = min(max(made[row, step], low), high)
            for q in range(mixes.shape[0]):
                # NaN, an unknown band, stays.
                if bands[row, q, step] < low:
                    bands[row, q, step] = low
                elif bands[row, q, step] > high:
                    bands[row, q, step] = high
    return state.shape[0]


def _work(state: Single, _time: int, _sizes: Integers, _anchors: Integers, *rest: Array) -> float:
    # A lead of one series is about a hundred inner steps; numpy pays ten times for each.
    return 1_000.0 * state.shape[0] * rest[0].size


_READ = 'Array(int64, {}, "C", readonly=True)'
_REAL = 'Array(float64, {}, "C", readonly=True)'
# state (n, s), index of the first step, sizes (4,), anchors (a, 6), positions (h,) of leads among anchors,
# mixes (l, q) from tracked to wanted levels, bounds (n, 2), and out: median (n, h), band (n, l, h) → n.
PANEL_FORECAST = Kernel(
    _loop,
    forecast_twin,
    signature=(
        f'int64(Array(float32, 2, "C", readonly=True), int64, {_READ.format(1)}, {_READ.format(2)}, '
        f"{_REAL.format(1)}, {_REAL.format(2)}, {_REAL.format(2)}, float32[:, ::1], float32[:, :, ::1])"
    ),
    work=_work,
    helpers=(*FORESEEING, band, foresee),
    exact=True,
)

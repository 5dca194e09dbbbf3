"""The forecast of all series in numpy: the oracle of the loops in `forecast`, and the first answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from aicsched.forecast.kernels.panel import layout as at
from aicsched.forecast.kernels.panel.update_twin import ROWS, Autoregression, expert_values, weighted_median

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Single = NDArray[np.float32]
    Integers = NDArray[np.int64]

__all__ = ["forecast_twin"]


def _offsets(w: Array, anchors: Integers, mixes: Array) -> list[list[Array]]:
    """Return by how much each wanted level lies off the median, per anchor and level."""
    made: list[list[Array]] = []
    scale, lead = np.full(w.shape[1], np.nan), np.ones(w.shape[1])
    for anchor in anchors:
        block = int(anchor[at.BLOCK])
        scored = w[block + at.SCORED] > 0.0
        scale = np.where(scored, w[block + at.ERROR_SCALE], scale)
        lead = np.where(scored, float(anchor[at.LEAD]), lead)
        width = scale * np.sqrt(anchor[at.LEAD] / lead)
        found = [np.zeros_like(width) for _ in mixes]
        highest = np.full_like(width, -np.inf)
        for k in range(mixes.shape[1]):
            highest = np.maximum(highest, w[block + at.OFFSETS + k])
            for q in range(len(mixes)):
                found[q] = found[q] + mixes[q, k] * highest * width
        made.append(found)
    return made


def forecast_twin(  # noqa: PLR0913,PLR0917 - as the loop
    state: Single,
    time: int,
    sizes: Integers,
    anchors: Integers,
    positions: Array,
    mixes: Array,
    bounds: Array,
    made: Single,
    bands: Single,
) -> int:
    """Foresee all series; see `PANEL_FORECAST`.

    Parameters
    ----------
    state : ndarray of float32, shape (n, s)
        One row a series.
    time : int
        Index of the first step to foresee.
    sizes : ndarray of int, shape (4,)
        Slots a day, buckets of the day and of the week, tracked levels.
    anchors : ndarray of int, shape (a, 6)
        As of the update.
    positions : ndarray, shape (h,)
        Where each lead lies between anchors: 1.25 is a quarter of the way from the second to the third.
    mixes : ndarray, shape (l, q)
        How wanted levels are made of tracked ones.
    bounds : ndarray, shape (n, 2)
        Lowest and highest value of each series.
    made : ndarray of float32, shape (n, h)
        Gets the median.
    bands : ndarray of float32, shape (n, l, h)
        Gets the wanted levels.

    Returns
    -------
    int
        n.
    """
    for first in range(0, len(state), ROWS):
        rows = slice(first, first + ROWS)
        w = np.ascontiguousarray(state[rows].T, dtype=np.float64)
        led = Autoregression(w, sizes, time)
        offsets = _offsets(w, anchors, mixes)
        weights = [w[block : block + at.EXPERTS] for block in (anchors[:, at.BLOCK] + at.WEIGHTS).tolist()]
        for step, position in enumerate(positions.tolist()):
            left = max(min(int(position), len(anchors) - 2), 0)
            right = min(left + 1, len(anchors) - 1)
            share = position - left
            mixed = (1.0 - share) * weights[left] + share * weights[right]
            middle = weighted_median(expert_values(w, led), list(mixed))
            made[rows, step] = middle
            for q in range(len(mixes)):
                bands[rows, q, step] = middle + ((1.0 - share) * offsets[left][q] + share * offsets[right][q])
    low, high = bounds[:, :1], bounds[:, 1:]
    made[...] = np.minimum(np.maximum(made, low), high)
    bands[...] = np.minimum(np.maximum(bands, low[:, None]), high[:, None])
    made[state[:, at.SEEN] == 0] = np.nan
    bands[state[:, at.SEEN] == 0] = np.nan
    return len(state)

"""The few best nodes of each pod."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from aicsched.jit import Kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Integers = NDArray[np.int64]

__all__ = ["SCORE_TOP"]


def _twin(totals: Array, best: Integers) -> int:
    count = best.shape[1]
    order = np.argsort(totals, axis=1, kind="stable")[:, :count]
    best[:] = np.where(np.isfinite(np.take_along_axis(totals, order, axis=1)), order, -1)
    return totals.shape[0]


def _loop(totals: Array, best: Integers) -> int:
    count = best.shape[1]
    for row in range(totals.shape[0]):
        held = 0
        worst = np.inf
        for node in range(totals.shape[1]):
            total = totals[row, node]
            if not (total < worst):
                continue
            # Behind those that cost the same, which come first in the order of the nodes.
            place = held if held < count else count - 1
            while place > 0 and totals[row, best[row, place - 1]] > total:
                best[row, place] = best[row, place - 1]
                place -= 1
            best[row, place] = node
            held = min(held + 1, count)
            if held == count:
                worst = totals[row, best[row, count - 1]]
        for place in range(held, count):
            best[row, place] = -1
    return totals.shape[0]


def _work(totals: Array, _best: Integers) -> float:
    return 20.0 * totals.size


# totals (p, n) in, places of the best (p, k) out, -1 where fewer are finite → rows.
SCORE_TOP = Kernel(
    _loop,
    _twin,
    signature='int64(Array(float64, 2, "C", readonly=True), int64[:, ::1])',
    work=_work,
    exact=True,
)

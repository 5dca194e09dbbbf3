"""The cheapest region of each service, and where its work goes when that is lost, at given prices."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from aicsched.jit import Kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

__all__ = ["BACK_UP"]


def _loop(
    allowed: Ints, leader: Ints, use: Floats, group: Ints, reserve: Floats, backup: Floats
) -> tuple[Floats, Ints, Ints]:
    count, width = allowed.shape
    value = np.empty(count)
    home, refuge = np.empty(count, np.int64), np.empty(count, np.int64)
    for row in range(count):
        best, best_at, best_refuge = np.inf, 0, 0
        for at in range(width):
            region = allowed[row, at]
            if region < 0:
                break
            least, least_at = np.inf, 0
            for other in range(width):
                if allowed[row, other] < 0:
                    break
                here = backup[group[region], allowed[row, other]]
                if leader[row, other] != leader[row, at] and here < least:
                    least, least_at = here, other
            price = use[row, at] + reserve[region] + least
            if price < best:
                best, best_at, best_refuge = price, at, least_at
        value[row], home[row], refuge[row] = best, best_at, best_refuge
    return value, home, refuge


def _twin(
    allowed: Ints, leader: Ints, use: Floats, group: Ints, reserve: Floats, backup: Floats
) -> tuple[Floats, Ints, Ints]:
    rows, width = np.arange(len(allowed)), allowed.shape[1]
    price = np.full(allowed.shape, np.inf)
    refuges = np.zeros(allowed.shape, np.int64)
    for at in range(width):
        region = allowed[:, at]
        refused = (allowed < 0) | (leader == leader[:, at, None])
        there = np.where(refused, np.inf, backup[group[region][:, None], allowed])
        refuges[:, at] = there.argmin(axis=1)
        known = region >= 0
        found = use[:, at] + reserve[region] + there[rows, refuges[:, at]]
        price[known, at] = found[known]
    home = price.argmin(axis=1)
    return price[rows, home], home, refuges[rows, home]


def _work(allowed: Ints, *_others: object) -> float:
    return 2.0 * allowed.size * allowed.shape[1]


_INTS = 'Array(int64, 2, "C", readonly=True)'
_FLOATS = 'Array(float64, 2, "C", readonly=True)'
_GROUP = 'Array(int64, 1, "C", readonly=True)'
_PRICES = 'Array(float64, 1, "C", readonly=True)'
# allowed, leader, use (S, K) as for the dedicated kernel; group (R,); reserve (R,): price of a thread that
# works, beside its use; backup (F, R): price of a thread kept in a region for the loss of a group.
# → value (S,) of one thread of demand, the columns (S,) where it works, and where it goes when that is lost.
BACK_UP = Kernel(
    _loop,
    _twin,
    signature=(
        "Tuple((float64[::1], int64[::1], int64[::1]))"
        f"({_INTS}, {_INTS}, {_FLOATS}, {_GROUP}, {_PRICES}, {_FLOATS})"
    ),
    work=_work,
    exact=True,
)

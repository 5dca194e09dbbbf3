"""The cheapest reservation of each service that outlives the loss of any one group, at given prices.

For one unit of demand, with ``a`` the price of a thread that works and ``b`` of one
that is kept spare: at the optimum all groups in use hold the same part ``1 / k`` of
the demand, and one further group holds a spare of the same size. (For a given
largest part t the problem is a transport of 1 and of t into sinks of size t, whose
optimum is linear in t between the points t = 1 / k; at these points it is whole.)
So the k cheapest groups to work in and the best spare beside them are found by
sorting, for each k.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from aicsched.jit import Kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Marks = NDArray[np.int8]

__all__ = ["RESERVE"]


def _insert(order: Ints, work: Floats, lead: int, place: int) -> None:
    """Move a group forward to where it stands by its price of working, equal ones by position."""
    while place > 0 and (
        work[order[place - 1]] > work[lead]
        or (work[order[place - 1]] == work[lead] and order[place - 1] > lead)
    ):
        order[place] = order[place - 1]
        place -= 1
    order[place] = lead


def _rank(
    allowed: Ints, leader: Ints, use: Floats, reserve: Floats, prices: Floats, places: Ints, order: Ints
) -> int:
    """Sort the groups of one service by the price of working; a group is named by its first region."""
    work, spare, work_at, spare_at = prices[0], prices[1], places[0], places[1]
    groups = 0
    for at in range(allowed.size):
        if allowed[at] < 0:
            break
        b = reserve[allowed[at]]
        a = use[at] + b
        lead = leader[at]
        if lead == at:
            work[at], work_at[at], spare[at], spare_at[at] = a, at, b, at
            _insert(order, work, lead, groups)
            groups += 1
            continue
        if b < spare[lead]:
            spare[lead], spare_at[lead] = b, at
        if a < work[lead]:
            work[lead], work_at[lead] = a, at
            place = 0
            while order[place] != lead:
                place += 1
            _insert(order, work, lead, place)
    return groups


def _choose(prices: Floats, order: Ints, groups: int, after: Floats) -> tuple[float, int, bool]:
    """Return the cheapest value, how many groups work, and whether the spare is taken from the cheapest."""
    work, spare = prices[0], prices[1]
    after[groups] = np.inf
    for rank in range(groups - 1, -1, -1):
        after[rank] = min(after[rank + 1], spare[order[rank]])
    best, kept, inside, total, swap = np.inf, 0, False, 0.0, np.inf
    for k in range(1, groups):
        lead = order[k - 1]
        total += work[lead]
        swap = min(swap, spare[lead] - work[lead])
        outer = (total + after[k]) / k
        inner = (total + work[order[k]] + swap) / k
        if min(outer, inner) < best:
            best, kept, inside = min(outer, inner), k, inner < outer
    return best, kept, inside


def _loop(allowed: Ints, leader: Ints, use: Floats, reserve: Floats) -> tuple[Floats, Ints, Marks]:
    count, width = allowed.shape
    value, parts = np.empty(count), np.empty(count, np.int64)
    mark = np.zeros((count, width), np.int8)
    prices, places = np.empty((2, width)), np.empty((2, width), np.int64)
    order, after = np.empty(width, np.int64), np.empty(width + 1)
    for row in range(count):
        groups = _rank(allowed[row], leader[row], use[row], reserve, prices, places, order)
        value[row], kept, inside = _choose(prices, order, groups, after)
        parts[row] = kept
        # The spare: the first of the cheapest, outside of the k cheapest or in place of one of them.
        chosen, least = 0, np.inf
        for rank in range(0 if inside else kept, kept if inside else groups):
            lead = order[rank]
            here = prices[1, lead] - prices[0, lead] if inside else prices[1, lead]
            if here < least:
                chosen, least = rank, here
        for rank in range(kept + 1 if inside else kept):
            mark[row, places[0, order[rank]]] = 1
        if inside:
            mark[row, places[0, order[chosen]]] = 0
        mark[row, places[1, order[chosen]]] = 2
    return value, parts, mark


def _best_of_groups(
    allowed: Ints, leader: Ints, use: Floats, reserve: Floats
) -> tuple[Floats, Ints, Floats, Ints]:
    """Return per group, at its first region's column, the best price and column to work and to keep spare."""
    count, width = allowed.shape
    rows = np.arange(count)
    b = np.where(allowed >= 0, reserve[allowed], np.inf)
    a = np.where(allowed >= 0, use + b, np.inf)
    first = leader == np.arange(width)
    if first.all():  # every region fails alone
        columns = np.broadcast_to(np.arange(width), a.shape)
        return a, columns, b, columns
    work, spare = np.where(first, a, np.inf), np.where(first, b, np.inf)
    work_at = np.tile(np.arange(width), (count, 1))
    spare_at = work_at.copy()
    for at in range(1, width):
        lead = leader[:, at]
        for price, best, best_at in ((a, work, work_at), (b, spare, spare_at)):
            better = price[:, at] < best[rows, lead]
            best[rows[better], lead[better]] = price[better, at]
            best_at[rows[better], lead[better]] = at
    return work, work_at, spare, spare_at


def _twin(allowed: Ints, leader: Ints, use: Floats, reserve: Floats) -> tuple[Floats, Ints, Marks]:
    count, width = allowed.shape
    rows, ranks = np.arange(count), np.arange(width)
    work, work_at, spare, spare_at = _best_of_groups(allowed, leader, use, reserve)
    order = np.argsort(work, axis=1, kind="stable")
    work, spare = np.take_along_axis(work, order, 1), np.take_along_axis(spare, order, 1)
    work_at, spare_at = np.take_along_axis(work_at, order, 1), np.take_along_axis(spare_at, order, 1)
    total = np.cumsum(work, axis=1)
    after = np.minimum.accumulate(spare[:, ::-1], axis=1)[:, ::-1]
    finite = np.isfinite(work)
    swap = np.full(work.shape, np.inf)
    np.subtract(spare, work, out=swap, where=finite)
    best_swap = np.minimum.accumulate(swap, axis=1)
    k = np.arange(1, width)
    outer = (total[:, :-1] + after[:, 1:]) / k
    inner = (total[:, :-1] + work[:, 1:] + best_swap[:, :-1]) / k
    price = np.minimum(outer, inner)
    parts = price.argmin(axis=1) + 1
    value = price[rows, parts - 1]
    inside = inner[rows, parts - 1] < outer[rows, parts - 1]
    within = ranks < parts[:, None]
    outside_at = np.where(within, np.inf, spare).argmin(axis=1)
    inside_at = np.where(within, swap, np.inf).argmin(axis=1)
    chosen = np.where(inside, inside_at, outside_at)
    working = ranks < (parts + inside)[:, None]
    working[rows, chosen] = False
    mark = np.zeros((count, width), np.int8)
    mark[np.broadcast_to(rows[:, None], work_at.shape)[working], work_at[working]] = 1
    mark[rows, spare_at[rows, chosen]] = 2
    return value, parts, mark


def _work(allowed: Ints, _leader: Ints, _use: Floats, _reserve: Floats) -> float:
    return 8.0 * allowed.size


_INTS = 'Array(int64, 2, "C", readonly=True)'
_FLOATS = 'Array(float64, 2, "C", readonly=True)'
_PRICES = 'Array(float64, 1, "C", readonly=True)'
# allowed (S, K): regions, -1 behind the last; leader (S, K): column of the first region of the same group;
# use (S, K): price of work beside the reserve; reserve (R,): price of a reserved thread.
# → value (S,) of one thread of demand, parts k (S,), mark (S, K): 1 works, 2 is spare, each 1 / k.
RESERVE = Kernel(
    _loop,
    _twin,
    signature=f"Tuple((float64[::1], int64[::1], int8[:, ::1]))({_INTS}, {_INTS}, {_FLOATS}, {_PRICES})",
    work=_work,
    helpers=(_insert, _rank, _choose),
    exact=True,
)

"""Boosted oblivious trees: every level of a tree asks one question of all rows.

Such trees are weak on their own and hard to overfit, and a forecast through one is
a table lookup. Residuals are clipped, so that a storm doesn't bend what is learned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from aicsched.jit import Kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Indices = NDArray[np.int64]
    Bins = NDArray[np.uint8]

__all__ = ["BOOST"]


def _cut(hits: Array, total: Array, best: float, shrinkage: float) -> tuple[float, int]:
    """Return the best gain over the cuts of one column, and its cut; -1 where none is better."""
    leaves, bins = hits.shape
    for leaf in range(leaves):
        mass = 0.0
        count = 0.0
        for value in range(bins):
            mass += total[leaf, value]
            count += hits[leaf, value]
            total[leaf, value] = mass
            hits[leaf, value] = count
    chosen = -1
    for value in range(bins - 1):
        gain = 0.0
        parts = False
        for leaf in range(leaves):
            left = total[leaf, value]
            right = total[leaf, bins - 1] - left
            count = hits[leaf, value]
            rest = hits[leaf, bins - 1] - count
            gain += left * left / (count + shrinkage) + right * right / (rest + shrinkage)
            if count > 0.0 and rest > 0.0:
                parts = True
        if parts and gain > best:
            best = gain
            chosen = value
    return best, chosen


def _ask(
    seen: Bins, wanted: Array, base: Indices, tried: Indices, size: Indices, shrinkage: float
) -> tuple[int, int]:
    """Return which of the tried columns, and its cut, split the leaves of one level best."""
    best = -1.0
    column = 0
    cut = size[1]
    # Sum and count of a cell side by side: one place in memory a row.
    cells = np.empty((size[0] * size[1], 2))
    hits = np.empty((size[0], size[1]))
    total = np.empty((size[0], size[1]))
    for pick in range(tried.size):
        cells[:] = 0.0
        values = seen[tried[pick]]
        for row in range(wanted.size):
            cell = base[row] + values[row]
            cells[cell, 0] += wanted[row]
            cells[cell, 1] += 1.0
        for cell in range(cells.shape[0]):
            total[cell // size[1], cell % size[1]] = cells[cell, 0]
            hits[cell // size[1], cell % size[1]] = cells[cell, 1]
        better, chosen = _cut(hits, total, best, shrinkage)
        if chosen >= 0:
            best = better
            column = tried[pick]
            cut = chosen
    return column, cut


def _add(bins: Bins, asked: Indices, cuts: Indices, values: Array, fitted: Array) -> None:
    """Add one tree to what is fitted."""
    for row in range(fitted.size):
        place = 0
        for level in range(asked.size):
            above = bins[asked[level], row] > cuts[level]
            place = 2 * place + (1 if above else 0)
        fitted[row] += values[place]


def _loop(
    bins: Bins,
    targets: Array,
    samples: Indices,
    columns: Indices,
    depth: int,
    width: int,
    steering: Array,
) -> tuple[Indices, Indices, Array]:
    rate, shrinkage, clip = steering[0], steering[1], steering[2]
    rounds, rows = columns.shape[0], samples.shape[1]
    asked = np.zeros((rounds, depth), np.int64)
    cuts = np.full((rounds, depth), width, np.int64)
    values = np.zeros((rounds, 1 << depth))
    fitted = np.zeros(targets.size)
    wanted = np.empty(rows)
    leaf = np.empty(rows, np.int64)
    seen = np.empty((bins.shape[0], rows), np.uint8)
    for turn in range(rounds):
        sample = samples[turn % samples.shape[0]]
        for column in columns[turn]:
            for row in range(rows):
                seen[column, row] = bins[column, sample[row]]
        for row in range(rows):
            missed = targets[sample[row]] - fitted[sample[row]]
            wanted[row] = min(max(missed, -clip), clip)
            leaf[row] = 0
        for level in range(depth):
            size = np.array([1 << level, width])
            column, cut = _ask(seen, wanted, leaf * width, columns[turn], size, shrinkage)
            asked[turn, level] = column
            cuts[turn, level] = cut
            for row in range(rows):
                leaf[row] = 2 * leaf[row] + (1 if seen[column, row] > cut else 0)
        mass = np.zeros(1 << depth)
        count = np.zeros(1 << depth)
        for row in range(rows):
            mass[leaf[row]] += wanted[row]
            count[leaf[row]] += 1.0
        for place in range(1 << depth):
            values[turn, place] = rate * mass[place] / (count[place] + shrinkage)
        _add(bins, asked[turn], cuts[turn], values[turn], fitted)
    return asked, cuts, values


def _cut_twin(hits: NDArray[Any], total: NDArray[Any], shrinkage: float) -> tuple[float, int]:
    left, count = np.cumsum(total, axis=1), np.cumsum(hits, axis=1)
    right, rest = left[:, -1:] - left, count[:, -1:] - count
    gain = (left * left / (count + shrinkage) + right * right / (rest + shrinkage)).sum(axis=0)
    gain[~((count > 0) & (rest > 0)).any(axis=0)] = -np.inf
    chosen = int(gain[:-1].argmax())
    return float(gain[chosen]), chosen


def _twin(
    bins: Bins,
    targets: Array,
    samples: Indices,
    columns: Indices,
    depth: int,
    width: int,
    steering: Array,
) -> tuple[Indices, Indices, Array]:
    rate, shrinkage, clip = steering
    rounds = len(columns)
    asked = np.zeros((rounds, depth), np.int64)
    cuts = np.full((rounds, depth), width, np.int64)
    values = np.zeros((rounds, 1 << depth))
    fitted = np.zeros(targets.size)
    for turn in range(rounds):
        sample = samples[turn % len(samples)]
        wanted = np.clip(targets[sample] - fitted[sample], -clip, clip)
        seen = bins[:, sample].astype(np.int64)
        leaf, place = np.zeros(len(sample), np.int64), np.zeros(targets.size, np.int64)
        for level in range(depth):
            best, shape = -1.0, (1 << level, width)
            for column in columns[turn]:
                cell = leaf * width + seen[column]
                size = shape[0] * width
                total = np.bincount(cell, wanted, size).reshape(shape)
                hits = np.bincount(cell, minlength=size).reshape(shape)
                better, chosen = _cut_twin(hits, total, shrinkage)
                if better > best:
                    best, asked[turn, level], cuts[turn, level] = better, column, chosen
            leaf = 2 * leaf + (seen[asked[turn, level]] > cuts[turn, level])
            place = 2 * place + (bins[asked[turn, level]] > cuts[turn, level])
        mass, count = np.bincount(leaf, wanted, 1 << depth), np.bincount(leaf, minlength=1 << depth)
        values[turn] = rate * mass / (count + shrinkage)
        fitted += values[turn][place]
    return asked, cuts, values


def _work(
    _bins: Bins, _targets: Array, samples: Indices, columns: Indices, depth: int, *_rest: float
) -> float:
    # The twin is about as fast a step, but seconds in all: more than importing numba takes.
    return 10.0 * columns.size * samples.shape[1] * depth


# bins (columns, n), targets (n,), samples (k, rows), columns (rounds, tried), depth, bins a column,
# steering (rate, shrinkage, clip) → columns asked and cuts (rounds, depth), leaf values (rounds, 2**depth).
BOOST = Kernel(
    _loop,
    _twin,
    signature=(
        "Tuple((int64[:, ::1], int64[:, ::1], float64[:, ::1]))("
        'Array(uint8, 2, "C", readonly=True), Array(float64, 1, "C", readonly=True), '
        'Array(int64, 2, "C", readonly=True), Array(int64, 2, "C", readonly=True), '
        'int64, int64, Array(float64, 1, "C", readonly=True))'
    ),
    work=_work,
    helpers=(_cut, _ask, _add),
    exact=True,
)

"""Additive seasonal smoothing of many series: both smoothing parameters found by search.

Series are worked on in blocks, side by side in each step: a single one would wait for
its own last result twelve cycles a step, while 32 of them keep the processor busy.

The search works on the square roots of alpha and gamma, which are fine where they
matter, near 0: the best of a 4 by 4 grid, then 8 rounds that try both directions of
both parameters and halve the step where none is better. That is `PASSES` passes through
each series.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.jit import Kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = ["PASSES", "SEASONAL_FIT"]

_LANES: Final = 32
_GRID: Final = (0.2, 0.45, 0.7, 0.92)
_ROUNDS: Final = 8
_FIRST_STEP: Final = 0.12
PASSES: Final = len(_GRID) ** 2 + 4 * _ROUNDS + 1
# In the work array of a block, one row each; the seasons follow.
_ALPHA: Final = 0
_STEER: Final = 1
_LEVEL: Final = 2
_TOTAL: Final = 3
_ROOT_ALPHA: Final = 4
_ROOT_GAMMA: Final = 5
_BEST: Final = 6
_STEP: Final = 7
_START: Final = 8
_BETTER: Final = 9
_ROWS: Final = 10


def filtered(block: Array, work: Array, period: int) -> None:
    """Run the smoothing once over a block: errors squared after the first period, and the last state."""
    level = work[_LEVEL]
    total = work[_TOTAL]
    alpha = work[_ALPHA]
    steer = work[_STEER]
    for j in range(_LANES):
        level[j] = work[_START, j]
        total[j] = 0.0
    for k in range(period):
        for j in range(_LANES):
            work[_ROWS + k, j] = work[_ROWS + period + k, j]
    k = 0
    for step in range(block.shape[0]):
        values = block[step]
        season = work[_ROWS + k]
        for j in range(_LANES):
            missed = values[j] - level[j] - season[j]
            # A missing value teaches nothing.
            missed = missed if missed == missed else 0.0  # noqa: PLR0124 - NaN differs from itself
            level[j] += alpha[j] * missed
            season[j] += steer[j] * missed
            total[j] += missed * missed
        k = k + 1 if k + 1 < period else 0
        if step == period - 1:
            for j in range(_LANES):
                total[j] = 0.0


def attempt(block: Array, work: Array, period: int, more_alpha: float, more_gamma: float) -> None:
    """Try the parameters some steps away, and keep them where they are better."""
    for j in range(_LANES):
        a = min(max(work[_ROOT_ALPHA, j] + more_alpha * work[_STEP, j], 0.0), 1.0)
        g = min(max(work[_ROOT_GAMMA, j] + more_gamma * work[_STEP, j], 0.0), 1.0)
        work[_ALPHA, j] = a * a
        work[_STEER, j] = g * g * (1.0 - a * a)
    filtered(block, work, period)
    for j in range(_LANES):
        if work[_TOTAL, j] < work[_BEST, j]:
            work[_BEST, j] = work[_TOTAL, j]
            a = work[_ROOT_ALPHA, j] + more_alpha * work[_STEP, j]
            g = work[_ROOT_GAMMA, j] + more_gamma * work[_STEP, j]
            work[_ROOT_ALPHA, j] = min(max(a, 0.0), 1.0)
            work[_ROOT_GAMMA, j] = min(max(g, 0.0), 1.0)
            work[_BETTER, j] = 1.0


def begin(block: Array, work: Array, period: int) -> None:
    """Take the first level from the first period, and seasons from all whole ones.

    A phase's season is its mean departure from its periods' means: two days would be too few,
    as the seasons hardly move any more where alpha is high.
    """
    for j in range(_LANES):
        for k in range(period):
            work[_ROWS + k, j] = 0.0  # how many departures
            work[_ROWS + period + k, j] = 0.0  # and their sum
        begun = False
        work[_START, j] = 0.0
        for first in range(0, block.shape[0] - period + 1, period):
            total = 0.0
            count = 0.0
            for step in range(first, first + period):
                if not np.isnan(block[step, j]):
                    total += block[step, j]
                    count += 1.0
            mean = total / max(count, 1.0)
            if count > 0.0 and not begun:
                begun = True
                work[_START, j] = mean
            for k in range(period):
                if not np.isnan(block[first + k, j]):
                    work[_ROWS + k, j] += 1.0
                    work[_ROWS + period + k, j] += block[first + k, j] - mean
        for k in range(period):
            work[_ROWS + period + k, j] /= max(work[_ROWS + k, j], 1.0)


def search(block: Array, work: Array, period: int) -> None:
    """Find the parameters of a block, and leave the state under them."""
    begin(block, work, period)
    work[_BEST] = np.inf
    for a in _GRID:
        for g in _GRID:
            for j in range(_LANES):
                work[_ALPHA, j] = a * a
                work[_STEER, j] = g * g * (1.0 - a * a)
            filtered(block, work, period)
            for j in range(_LANES):
                if work[_TOTAL, j] < work[_BEST, j]:
                    work[_BEST, j] = work[_TOTAL, j]
                    work[_ROOT_ALPHA, j] = a
                    work[_ROOT_GAMMA, j] = g
    work[_STEP] = _FIRST_STEP
    for _round in range(_ROUNDS):
        work[_BETTER] = 0.0
        attempt(block, work, period, 1.0, 0.0)
        attempt(block, work, period, -1.0, 0.0)
        attempt(block, work, period, 0.0, 1.0)
        attempt(block, work, period, 0.0, -1.0)
        for j in range(_LANES):
            if work[_BETTER, j] == 0.0:
                work[_STEP, j] *= 0.5
    work[_STEP] = 0.0
    attempt(block, work, period, 0.0, 0.0)


def _loop(values: Array, period: int) -> tuple[Array, Array]:
    count, steps = values.shape
    found = np.empty((count, 4))
    seasons = np.empty((count, period))
    work = np.zeros((_ROWS + 2 * period, _LANES))
    block = np.zeros((steps, _LANES))
    for first in range(0, count, _LANES):
        rows = min(_LANES, count - first)
        for j in range(rows):
            for step in range(steps):
                block[step, j] = values[first + j, step]
        search(block, work, period)
        for j in range(rows):
            found[first + j, 0] = work[_ALPHA, j]
            found[first + j, 1] = work[_ROOT_GAMMA, j] * work[_ROOT_GAMMA, j]
            found[first + j, 2] = work[_BEST, j]
            found[first + j, 3] = work[_LEVEL, j]
            for k in range(period):
                # The next step's season first.
                seasons[first + j, k] = work[_ROWS + (steps + k) % period, j]
    return found, seasons


# ---------------------------------------------------------------- numpy


def _started(columns: Array, period: int) -> tuple[Array, Array]:
    series = columns.shape[1]
    start, begun = np.zeros(series), np.zeros(series, dtype=np.bool_)
    counts, sums = np.zeros((period, series)), np.zeros((period, series))
    for first in range(0, len(columns) - period + 1, period):
        part = columns[first : first + period]
        known = ~np.isnan(part)
        total, count = np.zeros(series), known.sum(axis=0)
        for step in range(period):
            total = total + np.where(known[step], part[step], 0.0)
        mean = total / np.maximum(count, 1.0)
        start = np.where((count > 0) & ~begun, mean, start)
        begun |= count > 0
        counts += known
        sums += np.where(known, part - mean, 0.0)
    return start, sums / np.maximum(counts, 1.0)


def _filtered(
    columns: Array, first: tuple[Array, Array], alpha: Array, steer: Array
) -> tuple[Array, Array, Array]:
    level, season = first[0].copy(), first[1].copy()
    period = len(season)
    total = np.zeros_like(level)
    for step, values in enumerate(columns):
        k = step % period
        missed = values - level - season[k]
        missed = np.where(np.isnan(missed), 0.0, missed)
        level = level + alpha * missed
        season[k] = season[k] + steer * missed
        total = total + missed * missed
        if step == period - 1:
            total = np.zeros_like(level)
    return total, level, season


def _twin(values: Array, period: int) -> tuple[Array, Array]:
    count, steps = values.shape
    columns = np.ascontiguousarray(values.T)
    first = _started(columns, period)
    root_alpha, root_gamma = np.zeros(count), np.zeros(count)
    best, step = np.full(count, np.inf), np.full(count, _FIRST_STEP)
    for a in _GRID:
        for g in _GRID:
            total, _, _ = _filtered(
                columns, first, np.full(count, a * a), np.full(count, g * g * (1.0 - a * a))
            )
            better = total < best
            best = np.where(better, total, best)
            root_alpha, root_gamma = np.where(better, a, root_alpha), np.where(better, g, root_gamma)
    for _ in range(_ROUNDS):
        any_better = np.zeros(count, dtype=np.bool_)
        for more_alpha, more_gamma in ((1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0)):
            a = np.clip(root_alpha + more_alpha * step, 0.0, 1.0)
            g = np.clip(root_gamma + more_gamma * step, 0.0, 1.0)
            total, _, _ = _filtered(columns, first, a * a, g * g * (1.0 - a * a))
            better = total < best
            best = np.where(better, total, best)
            root_alpha, root_gamma = np.where(better, a, root_alpha), np.where(better, g, root_gamma)
            any_better |= better
        step = np.where(any_better, step, step * 0.5)
    alpha, gamma = root_alpha * root_alpha, root_gamma * root_gamma
    _, level, season = _filtered(columns, first, alpha, gamma * (1.0 - alpha))
    seasons = np.roll(season, -(steps % period), axis=0)
    return np.stack([alpha, gamma, best, level], axis=1), np.ascontiguousarray(seasons.T)


def _work(values: Array, _period: int) -> float:
    # The twin steps through time in Python: a numpy call a step is dear for few series.
    return float(PASSES * values.shape[1] * (1_000 + 4 * values.shape[0]))


# values (n, t), NaN where missing, period → (n, 4): alpha, gamma, sum of squared one-step errors after the
# first period, last level; (n, period): seasons, the next step's first.
SEASONAL_FIT = Kernel(
    _loop,
    _twin,
    signature='UniTuple(float64[:, ::1], 2)(Array(float64, 2, "C", readonly=True), int64)',
    work=_work,
    helpers=(filtered, attempt, begin, search),
    exact=True,
)

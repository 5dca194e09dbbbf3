"""One step of all series in numpy: the oracle of the loops in `update`, and the first answer.

`w` holds the state of a block of series, places down, series across, in float64.
Sums are taken one after another, never by `sum`, whose order is its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.forecast.kernels.panel import layout as at

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Integers = NDArray[np.int64]
    Mask = NDArray[np.bool_]

__all__ = ["ROWS", "Autoregression", "clipped", "expert_values", "update_twin", "weighted_median"]

# Series worked on together: their state fits the cache.
ROWS: Final = 1024


def clipped(values: Array, limit: Array | float) -> Array:
    """Return values, held within ± a limit."""
    return np.minimum(np.maximum(values, -limit), limit)


def profiles(w: Array, sizes: Integers, time: int) -> tuple[Array, Array, Array]:
    """Return the day's and week's departure at a time, and the week's for lack of one (NaN)."""
    per_day, buckets, more = (int(sizes[place]) for place in (at.PER_DAY, at.DAY_BUCKETS, at.WEEK_BUCKETS))
    day = w[at.DAY + (time % per_day) * buckets // per_day]
    raw = w[at.DAY + buckets + (time % (7 * per_day)) * more // (7 * per_day)]
    return np.nan_to_num(day), np.nan_to_num(raw), raw


def weighted_median(values: list[Array], weights: list[Array]) -> Array:
    """Return the least value that half of the weight doesn't exceed."""
    best = np.full_like(values[0], np.inf)
    coarse = [(weight + at.COARSE) - at.COARSE for weight in weights]
    for mine in values:
        below = np.zeros_like(best)
        for other, weight in zip(values, coarse, strict=True):
            below += np.where(other <= mine, weight, 0.0)
        best = np.where((below >= at.HALF) & (mine < best), mine, best)
    return best


class Autoregression:
    """The autoregression of a block of series, led on step by step from its latest values."""

    def __init__(self, w: Array, sizes: Integers, time: int) -> None:
        self.w, self.sizes, self.time = w, sizes, time
        self.lags = [w[at.LAGS + p] for p in range(at.ORDER)]
        self.limit = at.REACH * w[at.SPREAD]
        for lag in self.lags:
            self.limit = np.maximum(self.limit, np.abs(lag))
        day, week, _ = profiles(w, sizes, time - 1)
        self.before = (day, week)

    def next(self) -> tuple[Array, Array, Array]:
        """Return the departure from the day's level, the day's departure, and the week's raw one."""
        w = self.w
        day, week, raw = profiles(w, self.sizes, self.time)
        made = w[at.COEFFICIENTS + at.ORDER] * day
        for place, value in enumerate((self.before[0], week, self.before[1])):
            made = made + w[at.COEFFICIENTS + at.ORDER + 1 + place] * value
        for p in range(at.ORDER - 1, -1, -1):
            made = made + w[at.COEFFICIENTS + p] * self.lags[p]
        made = clipped(made, self.limit)
        self.lags = [made, *self.lags[:-1]]
        self.before = (day, week)
        self.time += 1
        return made, day, raw


def expert_values(w: Array, led: Autoregression) -> list[Array]:
    """Return what each expert foresees for the next step of an autoregression that is led on."""
    made, day, raw = led.next()
    level = w[at.DAY_LEVEL] + day
    week = np.where(np.isnan(raw), level, w[at.WEEK_LEVEL] + raw)
    return [w[at.LAST], w[at.FAST], w[at.SLOW], w[at.SES], level, week, w[at.DAY_LEVEL] + made]


def _commit(w: Array, sizes: Integers, time: int) -> None:
    first = at.DAY
    for kind in range(2):
        slots = int(sizes[at.PER_DAY]) * (1 if kind == 0 else 7)
        buckets = int(sizes[at.DAY_BUCKETS + kind])
        sums = at.DAY_SUM + 2 * kind
        left = ((time - 1) % slots) * buckets // slots
        if left != (time % slots) * buckets // slots:
            visited = w[sums + 1] > 0.0
            mean = w[sums] / np.where(visited, w[sums + 1], 1.0)
            old = w[first + left]
            gain = np.maximum(at.DAY_GAIN if kind == 0 else at.WEEK_GAIN, 1.0 / (1.0 + w[at.SEEN] / slots))
            new = old + gain * clipped(mean - old, at.PROFILE_CLIP * w[at.SPREAD])
            new = np.where(np.isnan(old), mean, new)
            w[first + left] = np.where(visited, new, old)
            w[sums] = np.where(visited, 0.0, w[sums])
            w[sums + 1] = 0.0
        first += buckets


def _reweigh(w: Array, block: int, which: Mask) -> None:
    losses = w[block + at.LOSSES : block + at.LOSSES + at.EXPERTS]
    least = losses.min(axis=0)
    total = np.zeros(w.shape[1])
    made: list[Array] = []
    for loss in losses:
        power = 1.0 + at.LEARNING_RATE * (loss - least) / 16.0
        for _ in range(4):
            power = power * power
        made.append(1.0 / power)
        total = total + made[-1]
    for k, weight in enumerate(made):
        share = (1.0 - at.FIXED_SHARE) * weight / total + at.FIXED_SHARE / at.EXPERTS
        place = block + at.WEIGHTS + k
        w[place] = np.where(which, share, w[place])


def _judge(w: Array, anchors: Integers, levels: Array, time: int, values: Array) -> None:
    for lead, stride, waiting, block, queue, nearer in anchors.tolist():
        for turn in range(waiting):
            issued = time + 1 - (lead - turn * nearer)
            if issued % stride == 0 and issued // stride % waiting == turn:
                _score(w, block, queue + turn * (at.EXPERTS + 1), levels, values)


def _score(w: Array, block: int, slot: int, levels: Array, values: Array) -> None:
    due = ~np.isnan(w[slot])
    missed = [np.abs(values - w[slot + k]) for k in range(at.EXPERTS)]
    mean = np.zeros_like(values)
    for each in missed:
        mean = mean + each
    mean = mean / at.EXPERTS
    count = np.minimum(w[block + at.SCORED] + 1.0, at.MANY)
    w[block + at.SCORED] = np.where(due, count, w[block + at.SCORED])
    scale = w[block] + np.maximum(at.LOSS_GAIN, 1.0 / count) * (mean - w[block])
    scale = w[block] = np.where(due, scale, w[block])
    told = due & (scale > 0.0)
    safe = np.where(told, scale, 1.0)
    kept = 1.0 - (1.0 - at.LOSS_MEMORY) * np.minimum(1.0, mean / safe)
    for k, each in enumerate(missed):
        place = block + at.LOSSES + k
        w[place] = np.where(told, w[place] * kept + np.minimum(each / safe, at.LOSS_CLIP), w[place])
    _reweigh(w, block, told)
    error = values - w[slot + at.EXPERTS]
    before = w[block + at.ERROR_SCALE].copy()
    after = before + np.maximum(at.ERROR_GAIN, 1.0 / count) * (np.abs(error) - before)
    w[block + at.ERROR_SCALE] = np.where(due, after, before)
    _track(w, block, levels, error, np.where(due, before, 0.0), count)


def _track(w: Array, block: int, levels: Array, error: Array, before: Array, count: Array) -> None:
    """Move the band's offsets towards their levels."""
    told = before > 0.0
    gain = np.maximum(at.OFFSET_GAIN, 1.0 / (count + 1.0))
    for q, level in enumerate(levels):
        place = block + at.OFFSETS + q
        away = error / np.where(told, before, 1.0) - w[place]
        up, down = np.minimum(gain * level, away), -np.minimum(gain * (1.0 - level), -away)
        moved = w[place] + np.where(away >= 0.0, up, down)
        held = np.minimum(moved, 0.0) if level < 0.5 else np.maximum(moved, 0.0)
        w[place] = np.where(told, held, w[place])


def _learn(w: Array, inputs: list[Array], values: Array) -> None:
    scale = w[at.SPREAD]
    x = [each / scale for each in inputs]
    g = [np.zeros_like(scale) for _ in x]
    k = at.COVARIANCE
    for i in range(at.REGRESSORS):
        for j in range(i):
            g[i] = g[i] + w[k] * x[j]
            g[j] = g[j] + w[k] * x[i]
            k += 1
        g[i] = g[i] + w[k] * x[i]
        k += 1
    error = (values - w[at.DAY_LEVEL]) / scale
    den = np.full_like(scale, at.FORGETTING)
    for i in range(at.REGRESSORS):
        error = error - w[at.COEFFICIENTS + i] * x[i]
        den = den + g[i] * x[i]
    error = clipped(error, at.REGRESSION_CLIP * w[at.STEP_CHANGE] / scale) / den
    largest, trace = np.zeros_like(scale), np.zeros_like(scale)
    k = at.COVARIANCE
    for i in range(at.REGRESSORS):
        w[at.COEFFICIENTS + i] += g[i] * error
        largest = np.maximum(largest, np.abs(w[at.COEFFICIENTS + i]))
        ratio = g[i] / den
        for j in range(i + 1):
            w[k] -= ratio * g[j]
            k += 1
        trace = trace + w[k - 1]
    fresh = trace <= at.FORGETTING * at.REGRESSORS
    w[at.COVARIANCE : at.COVARIANCE + at.PACKED] /= np.where(fresh, at.FORGETTING, 1.0)
    lost = ~((trace > 0.0) & (trace < 1000.0 * at.REGRESSORS) & (largest < 10.0))
    w[at.COEFFICIENTS : at.COEFFICIENTS + at.REGRESSORS, lost] = 0.0
    w[at.COVARIANCE : at.COVARIANCE + at.PACKED, lost] = 0.0
    for i in range(at.REGRESSORS):
        w[at.COVARIANCE + i * (i + 3) // 2, lost] = 1.0


def _unexplained(w: Array, values: Array, day: Array, week: Array) -> Array:
    one = values - w[at.SLOW]
    two = values - w[at.DAY_LEVEL] - day
    three = values - w[at.WEEK_LEVEL] - week
    above = np.maximum(0.0, np.minimum(one, np.minimum(two, three)))
    below = np.minimum(0.0, np.maximum(one, np.maximum(two, three)))
    spread = w[at.SPREAD]
    away = np.where(one > 0.0, above, below) / np.where(spread > 0.0, spread, 1.0)
    return np.where(spread > 0.0, clipped(away, at.CUSUM_CLIP), 0.0)


def _follow(w: Array, values: Array, per_day: int) -> None:
    r = 1.0 / (w[at.SEEN] + 1.0)
    for place, base, gain in (
        (at.STEP_CHANGE, at.LAST, at.SPREAD_GAIN),
        (at.SPREAD, at.SLOW, at.SPREAD_GAIN),
        (at.FAST_SPREAD, at.FAST, at.FAST_SPREAD_GAIN),
    ):
        w[place] += np.maximum(gain, r) * (np.abs(values - w[base]) - w[place])
    w[at.FAST] += clipped(
        np.maximum(at.FAST_GAIN, r) * (values - w[at.FAST]), at.FAST_CLIP * w[at.FAST_SPREAD]
    )
    w[at.SLOW] += clipped(values - w[at.SLOW], np.maximum(at.SLOW_CLIP, 0.5 * r) * w[at.SPREAD])
    w[at.SES] += np.maximum(at.SES_GAIN, r) * (values - w[at.SES])
    old = w[at.DAY_LEVEL].copy()
    w[at.DAY_LEVEL] = old + np.maximum(1.0 / per_day, r) * (values - old)
    w[at.WEEK_LEVEL] += np.maximum(1.0 / (at.WEEK_MEMORY * per_day), r) * (values - w[at.WEEK_LEVEL])
    for sums, base in ((at.DAY_SUM, at.DAY_LEVEL), (at.WEEK_SUM, at.WEEK_LEVEL)):
        w[sums] += values - w[base]
        w[sums + 1] += 1.0
    moved = w[at.DAY_LEVEL] - old
    w[at.LAGS + 1 : at.LAGS + at.ORDER] = w[at.LAGS : at.LAGS + at.ORDER - 1] - moved
    w[at.LAGS] = values - w[at.DAY_LEVEL]
    w[at.LAST] = values


def _watch(w: Array, anchors: Integers, away: Array) -> None:
    w[at.SINCE] = np.minimum(w[at.SINCE] + 1.0, at.MANY)
    w[at.UP] = np.maximum(0.0, w[at.UP] + away - at.CUSUM_SLACK)
    w[at.DOWN] = np.maximum(0.0, w[at.DOWN] - away - at.CUSUM_SLACK)
    new = np.maximum(w[at.UP], w[at.DOWN]) > at.CUSUM_LIMIT
    if not new.any():
        return
    w[at.LAGS : at.LAGS + at.ORDER] -= np.where(new, w[at.FAST] - w[at.DAY_LEVEL], 0.0)
    for place in (at.SLOW, at.SES, at.DAY_LEVEL, at.WEEK_LEVEL):
        w[place] = np.where(new, w[at.FAST], w[place])
    for place in (at.UP, at.DOWN, at.SINCE, at.DAY_SUM, at.DAY_COUNT, at.WEEK_SUM, at.WEEK_COUNT):
        w[place, new] = 0.0
    for anchor in anchors:
        block = int(anchor[at.BLOCK])
        w[block + at.LOSSES : block + at.LOSSES + at.EXPERTS] *= np.where(new, at.KEPT_LOSS, 1.0)
        _reweigh(w, block, new)


def _begin(w: Array, values: Array) -> None:
    for place in (at.LAST, at.FAST, at.SLOW, at.SES, at.DAY_LEVEL, at.WEEK_LEVEL):
        w[place] = values
    w[at.SINCE] = at.MANY
    w[at.DAY_COUNT] = 1.0
    w[at.WEEK_COUNT] = 1.0


def _issue(w: Array, sizes: Integers, anchors: Integers, time: int) -> None:
    wanted: dict[int, list[tuple[int, int]]] = {}
    for lead, stride, waiting, block, queue, nearer in anchors.tolist():
        if time % stride == 0:
            turn = time // stride % waiting
            wanted.setdefault(lead - turn * nearer, []).append((block, queue + turn * (at.EXPERTS + 1)))
    led = Autoregression(w, sizes, time)
    for lead in range(1, max(wanted) + 1):
        values = expert_values(w, led)
        for block, slot in wanted.get(lead, ()):
            first = block + at.WEIGHTS
            w[slot : slot + at.EXPERTS] = values
            w[slot + at.EXPERTS] = weighted_median(values, list(w[first : first + at.EXPERTS]))


def _miss(w: Array, anchors: Integers, time: int) -> None:
    seen = w[at.SEEN] > 0.0
    for place in (at.AGE, at.MISSED, at.SINCE):
        w[place] = np.where(seen, np.minimum(w[place] + 1.0, at.MANY), w[place])
    lags = w[at.LAGS : at.LAGS + at.ORDER]
    shifted = np.concatenate([(w[at.LAST] - w[at.DAY_LEVEL])[None], lags[:-1]])
    lags[:] = np.where(seen, shifted, lags)
    for _, stride, waiting, _, queue, _ in anchors.tolist():
        if time % stride == 0:
            w[queue + (time // stride % waiting) * (at.EXPERTS + 1)] = np.nan


def _some(w: Array, which: Mask) -> Array:
    """Return the chosen series: all as they are, or a copy of some."""
    return w if which.all() else w[:, which]


def _take(w: Array, sizes: Integers, anchors: Integers, levels: Array, time: int, values: Array) -> None:
    _commit(w, sizes, time)
    come = ~np.isnan(values)
    first = come & (w[at.SEEN] == 0.0)
    known = come & ~first
    if not come.all():
        aged = _some(w, ~come)
        _miss(aged, anchors, time + 1)
        w[:, ~come] = aged
    if known.any():
        part, given = _some(w, known), values[known]
        _take_known(part, sizes, anchors, levels, time, given)
        w[:, known] = part
    if first.any():
        part = _some(w, first)
        _begin(part, values[first])
        w[:, first] = part
    if come.any():
        part = _some(w, come)
        part[at.SEEN] = np.minimum(part[at.SEEN] + 1.0, at.MANY)
        part[at.AGE] = 0.0
        _issue(part, sizes, anchors, time + 1)
        w[:, come] = part


def _take_known(
    w: Array, sizes: Integers, anchors: Integers, levels: Array, time: int, values: Array
) -> None:
    _judge(w, anchors, levels, time, values)
    day, week, raw = profiles(w, sizes, time)
    day_before, week_before, _ = profiles(w, sizes, time - 1)
    inputs = [*w[at.LAGS : at.LAGS + at.ORDER], day, day_before, week, week_before]
    # A week that wasn't seen yet explains as much as the day.
    away = _unexplained(
        w, values, day, np.where(np.isnan(raw), w[at.DAY_LEVEL] + day - w[at.WEEK_LEVEL], week)
    )
    teaching = (w[at.AGE] == 0.0) & (w[at.SEEN] >= at.WARM_UP)
    teaching &= w[at.SPREAD] > at.RESOLUTION * np.abs(w[at.DAY_LEVEL])
    if teaching.any():
        part = _some(w, teaching)
        _learn(part, [each[teaching] for each in inputs], values[teaching])
        w[:, teaching] = part
    _follow(w, values, int(sizes[at.PER_DAY]))
    _watch(w, anchors, away)


def update_twin(
    state: NDArray[np.float32],
    values: Array,
    time: int,
    sizes: Integers,
    anchors: Integers,
    levels: Array,
) -> int:
    """Take new values, in place; see `PANEL_UPDATE`.

    Parameters
    ----------
    state : ndarray of float32, shape (n, s)
        One row a series.
    values : ndarray, shape (n, k)
        Of k steps; NaN is missing.
    time : int
        Index of the first of them.
    sizes : ndarray of int, shape (4,)
        Slots a day, buckets of the day and of the week, tracked levels.
    anchors : ndarray of int, shape (a, 6)
        Lead, stride, how many wait, where block and queue begin, and by how much each further
        one in the queue reaches less far.
    levels : ndarray, shape (q,)
        Tracked quantile levels.

    Returns
    -------
    int
        n.
    """
    for first in range(0, len(state), ROWS):
        rows = slice(first, first + ROWS)
        for step in range(values.shape[1]):
            w = np.ascontiguousarray(state[rows].T, dtype=np.float64)
            _take(w, sizes, anchors, levels, time + step, values[rows, step])
            state[rows] = w.T
    return len(state)

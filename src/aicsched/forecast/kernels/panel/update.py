"""One step of all series: score what was foreseen, learn, and foresee anew.

Plain loops over one series at a time, for numba. `w` is a float64 copy of its row.
The helpers keep the order of operations of `update_twin` to the letter: both forms
give the same bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from aicsched.forecast.kernels.panel import layout as at
from aicsched.forecast.kernels.panel.update_twin import update_twin
from aicsched.jit import Kernel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Integers = NDArray[np.int64]

__all__ = ["FORESEEING", "PANEL_UPDATE", "advance", "calendar", "profiles", "reach", "weighted_median"]


def clipped(value: float, limit: float) -> float:
    """Return a value, held within ± a limit."""
    return min(max(value, -limit), limit)


def calendar(sizes: Integers, time: int, count: int) -> Integers:
    """Return the places of the day's and the week's bucket for `count` steps from a time on."""
    per_day = sizes[at.PER_DAY]
    made = np.empty((count, 2), dtype=np.int64)
    for step in range(count):
        slot = (time + step) % (7 * per_day)
        made[step, 0] = at.DAY + slot % per_day * sizes[at.DAY_BUCKETS] // per_day
        made[step, 1] = at.DAY + sizes[at.DAY_BUCKETS] + slot * sizes[at.WEEK_BUCKETS] // (7 * per_day)
    return made


def due(anchors: Integers, time: int, steps: int) -> Integers:
    """Return which waiting forecasts are for each step from a time on: 1 for those, queue after queue."""
    last = len(anchors) - 1
    places = (anchors[last, at.QUEUE] - anchors[0, at.QUEUE]) // (at.EXPERTS + 1) + anchors[last, at.WAITING]
    made = np.zeros((steps, places), dtype=np.int64)
    for step in range(steps):
        place = 0
        for a in range(len(anchors)):
            for turn in range(anchors[a, at.WAITING]):
                issued = time + step + 1 - anchors[a, at.LEAD] + turn * anchors[a, at.NEARER]
                mine = issued // anchors[a, at.STRIDE] % anchors[a, at.WAITING] == turn
                if mine and issued % anchors[a, at.STRIDE] == 0:
                    made[step, place] = 1
                place += 1
    return made


def turns(anchors: Integers, time: int, steps: int) -> Integers:
    """Return whose turn in its queue it is at each step from a time on, by anchor; -1 is nobody's."""
    made = np.full((steps, len(anchors)), -1, dtype=np.int64)
    for step in range(steps):
        for a in range(len(anchors)):
            if (time + step) % anchors[a, at.STRIDE] == 0:
                made[step, a] = (time + step) // anchors[a, at.STRIDE] % anchors[a, at.WAITING]
    return made


def profiles(w: Array, spot: Sequence[int]) -> tuple[float, float, float]:
    """Return the day's and week's departure at a time, and the week's for lack of one (NaN)."""
    day = w[spot[0]]
    raw = w[spot[1]]
    if np.isnan(day):
        day = 0.0
    week = 0.0 if np.isnan(raw) else raw
    return day, week, raw


def weighted_median(values: Array, weights: Array, guess: int) -> int:
    """Return the expert with the least value that half of the weight doesn't exceed.

    The guess, right from lead to lead more often than not, is tried first.
    """
    mine = values[guess]
    less = 0.0
    upto = 0.0
    for k in range(at.EXPERTS):
        # Rounded to steps of 2^-39, weights sum up without a rest, in whichever order.
        weight = (weights[k] + at.COARSE) - at.COARSE
        less += weight if values[k] < mine else 0.0
        upto += weight if values[k] <= mine else 0.0
    if less < at.HALF <= upto:
        return guess
    best = 0
    least = np.inf
    for k in range(at.EXPERTS):
        upto = 0.0
        for j in range(at.EXPERTS):
            upto += (weights[j] + at.COARSE) - at.COARSE if values[j] <= values[k] else 0.0
        if upto >= at.HALF and values[k] < least:
            best = k
            least = values[k]
    return best


def advance(w: Array, lags: Array, now: Array, before: Array, limit: float) -> float:
    """Return the autoregression's next departure from the day's level, and shift it into the lags.

    `now` and `before` hold the day's and the week's departure of two neighbouring steps.
    """
    # The latest lag comes last: all else can be summed up before it is known.
    made = w[at.COEFFICIENTS + at.ORDER] * now[0]
    made += w[at.COEFFICIENTS + at.ORDER + 1] * before[0]
    made += w[at.COEFFICIENTS + at.ORDER + 2] * now[1]
    made += w[at.COEFFICIENTS + at.ORDER + 3] * before[1]
    for p in range(at.ORDER - 1, -1, -1):
        made += w[at.COEFFICIENTS + p] * lags[p]
    made = clipped(made, limit)
    for p in range(at.ORDER - 1, 0, -1):
        lags[p] = lags[p - 1]
    lags[0] = made
    before[0] = now[0]
    before[1] = now[1]
    return made


def reach(w: Array) -> float:
    """Return how far the autoregression may lead away from the day's level."""
    limit = at.REACH * w[at.SPREAD]
    for p in range(at.ORDER):
        limit = max(limit, abs(w[at.LAGS + p]))
    return limit


def commit(w: Array, sizes: Integers, spots: Integers) -> None:
    """Take over the visits to the buckets that ended with the step before."""
    for kind in range(2):
        left = spots[0, kind]
        sums = at.DAY_SUM + 2 * kind
        if left != spots[1, kind] and w[sums + 1] > 0.0:
            slots = sizes[at.PER_DAY] if kind == 0 else 7 * sizes[at.PER_DAY]
            mean = w[sums] / w[sums + 1]
            if np.isnan(w[left]):
                w[left] = mean
            else:
                gain = max(at.DAY_GAIN if kind == 0 else at.WEEK_GAIN, 1.0 / (1.0 + w[at.SEEN] / slots))
                w[left] += gain * clipped(mean - w[left], at.PROFILE_CLIP * w[at.SPREAD])
            w[sums] = 0.0
            w[sums + 1] = 0.0


def reweigh(w: Array, block: int) -> None:
    """Make weights of losses: the exponential as (1 + x/16)^-16, and a share for everyone."""
    least = np.inf
    for k in range(at.EXPERTS):
        least = min(least, w[block + at.LOSSES + k])
    total = 0.0
    for k in range(at.EXPERTS):
        power = 1.0 + at.LEARNING_RATE * (w[block + at.LOSSES + k] - least) / 16.0
        power *= power
        power *= power
        power *= power
        power *= power
        w[block + at.WEIGHTS + k] = 1.0 / power
        total += 1.0 / power
    for k in range(at.EXPERTS):
        share = (1.0 - at.FIXED_SHARE) * w[block + at.WEIGHTS + k] / total
        w[block + at.WEIGHTS + k] = share + at.FIXED_SHARE / at.EXPERTS


def score(w: Array, block: int, slot: int, levels: Array, value: float) -> None:
    """Hold an anchor's waiting forecast against the value it was for."""
    if np.isnan(w[slot]):
        return
    mean = 0.0
    for k in range(at.EXPERTS):
        mean += abs(value - w[slot + k])
    mean /= at.EXPERTS
    count = min(w[block + at.SCORED] + 1.0, at.MANY)
    w[block + at.SCORED] = count
    w[block] += max(at.LOSS_GAIN, 1.0 / count) * (mean - w[block])
    scale = w[block]
    if scale > 0.0:
        kept = 1.0 - (1.0 - at.LOSS_MEMORY) * min(1.0, mean / scale)
        for k in range(at.EXPERTS):
            loss = min(abs(value - w[slot + k]) / scale, at.LOSS_CLIP)
            w[block + at.LOSSES + k] = w[block + at.LOSSES + k] * kept + loss
        reweigh(w, block)
    error = value - w[slot + at.EXPERTS]
    before = w[block + at.ERROR_SCALE]
    w[block + at.ERROR_SCALE] = before + max(at.ERROR_GAIN, 1.0 / count) * (abs(error) - before)
    if before > 0.0:
        gain = max(at.OFFSET_GAIN, 1.0 / (count + 1.0))
        for q in range(levels.size):
            place = block + at.OFFSETS + q
            away = error / before - w[place]
            level = levels[q]
            moved = min(gain * level, away) if away >= 0.0 else -min(gain * (1.0 - level), -away)
            moved += w[place]
            w[place] = min(moved, 0.0) if level < 0.5 else max(moved, 0.0)


def learn(w: Array, x: Array, g: Array, value: float) -> None:
    """Teach the autoregression one value: recursive least squares in units of the spread.

    `x` holds the regressors, `g` is room for the gain.
    """
    scale = w[at.SPREAD]
    for i in range(at.REGRESSORS):
        x[i] /= scale
        g[i] = 0.0
    k = at.COVARIANCE
    for i in range(at.REGRESSORS):
        for j in range(i):
            g[i] += w[k] * x[j]
            g[j] += w[k] * x[i]
            k += 1
        g[i] += w[k] * x[i]
        k += 1
    error = (value - w[at.DAY_LEVEL]) / scale
    den = at.FORGETTING
    for i in range(at.REGRESSORS):
        error -= w[at.COEFFICIENTS + i] * x[i]
        den += g[i] * x[i]
    error = clipped(error, at.REGRESSION_CLIP * w[at.STEP_CHANGE] / scale) / den
    largest = 0.0
    trace = 0.0
    k = at.COVARIANCE
    for i in range(at.REGRESSORS):
        w[at.COEFFICIENTS + i] += g[i] * error
        largest = max(largest, abs(w[at.COEFFICIENTS + i]))
        ratio = g[i] / den
        for j in range(i + 1):
            w[k] -= ratio * g[j]
            k += 1
        trace += w[k - 1]
    # Forgetting must not wind the covariance up while nothing new comes.
    if trace <= at.FORGETTING * at.REGRESSORS:
        for k in range(at.PACKED):
            w[at.COVARIANCE + k] /= at.FORGETTING
    if not (0.0 < trace < 1000.0 * at.REGRESSORS and largest < 10.0):
        forget(w)


def forget(w: Array) -> None:
    """Set the autoregression back to knowing nothing."""
    for i in range(at.REGRESSORS):
        w[at.COEFFICIENTS + i] = 0.0
    k = at.COVARIANCE
    for i in range(at.REGRESSORS):
        for _j in range(i):
            w[k] = 0.0
            k += 1
        w[k] = 1.0
        k += 1


def unexplained(w: Array, value: float, day: float, week: float) -> float:
    """Return by how many spreads a value lies beyond every slow level, on one side of all."""
    if w[at.SPREAD] <= 0.0:
        return 0.0
    one = value - w[at.SLOW]
    two = value - w[at.DAY_LEVEL] - day
    three = value - w[at.WEEK_LEVEL] - week
    away = max(0.0, min(one, two, three)) if one > 0.0 else min(0.0, max(one, two, three))
    return clipped(away / w[at.SPREAD], at.CUSUM_CLIP)


def follow(w: Array, value: float, per_day: int) -> None:
    """Let all levels follow a value."""
    r = 1.0 / (w[at.SEEN] + 1.0)
    w[at.STEP_CHANGE] += max(at.SPREAD_GAIN, r) * (abs(value - w[at.LAST]) - w[at.STEP_CHANGE])
    w[at.SPREAD] += max(at.SPREAD_GAIN, r) * (abs(value - w[at.SLOW]) - w[at.SPREAD])
    w[at.FAST_SPREAD] += max(at.FAST_SPREAD_GAIN, r) * (abs(value - w[at.FAST]) - w[at.FAST_SPREAD])
    w[at.FAST] += clipped(max(at.FAST_GAIN, r) * (value - w[at.FAST]), at.FAST_CLIP * w[at.FAST_SPREAD])
    w[at.SLOW] += clipped(value - w[at.SLOW], max(at.SLOW_CLIP, 0.5 * r) * w[at.SPREAD])
    w[at.SES] += max(at.SES_GAIN, r) * (value - w[at.SES])
    old = w[at.DAY_LEVEL]
    w[at.DAY_LEVEL] = old + max(1.0 / per_day, r) * (value - old)
    w[at.WEEK_LEVEL] += max(1.0 / (at.WEEK_MEMORY * per_day), r) * (value - w[at.WEEK_LEVEL])
    w[at.DAY_SUM] += value - w[at.DAY_LEVEL]
    w[at.DAY_COUNT] += 1.0
    w[at.WEEK_SUM] += value - w[at.WEEK_LEVEL]
    w[at.WEEK_COUNT] += 1.0
    moved = w[at.DAY_LEVEL] - old
    for p in range(at.ORDER - 1, 0, -1):
        w[at.LAGS + p] = w[at.LAGS + p - 1] - moved
    w[at.LAGS] = value - w[at.DAY_LEVEL]
    w[at.LAST] = value


def watch(w: Array, anchors: Integers, away: float) -> None:
    """Count what no level explains; where it lasts, begin anew at the fast level."""
    w[at.SINCE] = min(w[at.SINCE] + 1.0, at.MANY)
    w[at.UP] = max(0.0, w[at.UP] + away - at.CUSUM_SLACK)
    w[at.DOWN] = max(0.0, w[at.DOWN] - away - at.CUSUM_SLACK)
    if max(w[at.UP], w[at.DOWN]) <= at.CUSUM_LIMIT:
        return
    moved = w[at.FAST] - w[at.DAY_LEVEL]
    for p in range(at.ORDER):
        w[at.LAGS + p] -= moved
    for place in (at.SLOW, at.SES, at.DAY_LEVEL, at.WEEK_LEVEL):
        w[place] = w[at.FAST]
    for place in (at.UP, at.DOWN, at.SINCE, at.DAY_SUM, at.DAY_COUNT, at.WEEK_SUM, at.WEEK_COUNT):
        w[place] = 0.0
    for a in range(len(anchors)):
        block = anchors[a, at.BLOCK]
        for k in range(at.EXPERTS):
            w[block + at.LOSSES + k] *= at.KEPT_LOSS
        reweigh(w, block)


def begin(w: Array, value: float) -> None:
    """Start a series at its first value."""
    for place in (at.LAST, at.FAST, at.SLOW, at.SES, at.DAY_LEVEL, at.WEEK_LEVEL):
        w[place] = value
    w[at.SINCE] = at.MANY
    w[at.DAY_COUNT] = 1.0
    w[at.WEEK_COUNT] = 1.0


def issue(w: Array, spots: Integers, anchors: Integers, turn: Integers, room: Array) -> None:
    """Put forecasts aside for the anchors whose turn it is.

    `spots` is the calendar from the step before the first one foreseen on.
    """
    far = 0
    for a in range(len(anchors)):
        if turn[a] >= 0:
            far = max(far, anchors[a, at.LEAD] - turn[a] * anchors[a, at.NEARER])
    lags = room[: at.ORDER]
    now = room[at.ORDER : at.ORDER + 2]
    before = room[at.ORDER + 2 : at.ORDER + 4]
    values = room[at.ORDER + 4 : at.ORDER + 4 + at.EXPERTS]
    for p in range(at.ORDER):
        lags[p] = w[at.LAGS + p]
    limit = reach(w)
    before[0], before[1], raw = profiles(w, spots[0])
    values[at.NAIVE] = w[at.LAST]
    values[at.FAST_LEVEL] = w[at.FAST]
    values[at.SLOW_LEVEL] = w[at.SLOW]
    values[at.SMOOTHED] = w[at.SES]
    chosen = 0
    for lead in range(1, far + 1):
        now[0], now[1], raw = profiles(w, spots[lead])
        values[at.REGRESSION] = w[at.DAY_LEVEL] + advance(w, lags, now, before, limit)
        values[at.DAY_PROFILE] = w[at.DAY_LEVEL] + now[0]
        values[at.WEEK_PROFILE] = values[at.DAY_PROFILE] if np.isnan(raw) else w[at.WEEK_LEVEL] + raw
        for a in range(len(anchors)):
            if turn[a] >= 0 and anchors[a, at.LEAD] - turn[a] * anchors[a, at.NEARER] == lead:
                slot = anchors[a, at.QUEUE] + turn[a] * (at.EXPERTS + 1)
                first = anchors[a, at.BLOCK] + at.WEIGHTS
                for k in range(at.EXPERTS):
                    w[slot + k] = values[k]
                chosen = weighted_median(values, w[first : first + at.EXPERTS], chosen)
                w[slot + at.EXPERTS] = values[chosen]


def miss(w: Array, anchors: Integers, turn: Integers) -> None:
    """Let a series without a value age; nothing is foreseen from here."""
    if w[at.SEEN] > 0.0:
        w[at.AGE] = min(w[at.AGE] + 1.0, at.MANY)
        w[at.MISSED] = min(w[at.MISSED] + 1.0, at.MANY)
        w[at.SINCE] = min(w[at.SINCE] + 1.0, at.MANY)
        for p in range(at.ORDER - 1, 0, -1):
            w[at.LAGS + p] = w[at.LAGS + p - 1]
        w[at.LAGS] = w[at.LAST] - w[at.DAY_LEVEL]
    for a in range(len(anchors)):
        if turn[a] >= 0:
            w[anchors[a, at.QUEUE] + turn[a] * (at.EXPERTS + 1)] = np.nan


def judge(w: Array, anchors: Integers, levels: Array, waiting: Integers, value: float) -> None:
    """Score all that waits for this step."""
    place = 0
    for a in range(len(anchors)):
        for turn in range(anchors[a, at.WAITING]):
            if waiting[place] != 0:
                slot = anchors[a, at.QUEUE] + turn * (at.EXPERTS + 1)
                score(w, anchors[a, at.BLOCK], slot, levels, value)
            place += 1


def take(  # noqa: PLR0913,PLR0917 - room is handed in: nothing is made anew for each series
    w: Array,
    sizes: Integers,
    spots: Integers,
    anchors: Integers,
    levels: Array,
    waiting: Integers,
    turn: Integers,
    value: float,
    room: Array,
) -> None:
    """Take one value of one series; `spots` is the calendar from the step before on."""
    commit(w, sizes, spots)
    if np.isnan(value):
        miss(w, anchors, turn)
        return
    if w[at.SEEN] == 0.0:
        begin(w, value)
    else:
        judge(w, anchors, levels, waiting, value)
        x = room[: at.REGRESSORS]
        for p in range(at.ORDER):
            x[p] = w[at.LAGS + p]
        x[at.ORDER + 1], x[at.ORDER + 3], raw = profiles(w, spots[0])
        x[at.ORDER], x[at.ORDER + 2], raw = profiles(w, spots[1])
        day, week = x[at.ORDER], x[at.ORDER + 2]
        if np.isnan(raw):
            week = w[at.DAY_LEVEL] + day - w[at.WEEK_LEVEL]
        away = unexplained(w, value, day, week)
        known = w[at.AGE] == 0.0 and w[at.SEEN] >= at.WARM_UP
        if known and w[at.SPREAD] > at.RESOLUTION * abs(w[at.DAY_LEVEL]):
            learn(w, x, room[at.REGRESSORS : 2 * at.REGRESSORS], value)
        follow(w, value, sizes[at.PER_DAY])
        watch(w, anchors, away)
    w[at.SEEN] = min(w[at.SEEN] + 1.0, at.MANY)
    w[at.AGE] = 0.0
    issue(w, spots[1:], anchors, turn, room)


def _loop(
    state: NDArray[np.float32], values: Array, time: int, sizes: Integers, anchors: Integers, levels: Array
) -> int:
    w = np.empty(state.shape[1])
    room = np.empty(2 * at.REGRESSORS + at.EXPERTS)
    spots = calendar(sizes, time - 1, values.shape[1] + anchors[len(anchors) - 1, at.LEAD] + 1)
    waiting = due(anchors, time, values.shape[1])
    turn = turns(anchors, time + 1, values.shape[1])
    for row in range(state.shape[0]):
        for step in range(values.shape[1]):
            for place in range(w.size):
                w[place] = state[row, place]
            take(
                w, sizes, spots[step:], anchors, levels, waiting[step], turn[step], values[row, step], room
            )  # fmt: skip
            for place in range(w.size):
                state[row, place] = w[place]
    return state.shape[0]


def _work(
    state: NDArray[np.float32],
    values: Array,
    _time: int,
    _sizes: Integers,
    _anchors: Integers,
    _levels: Array,
) -> float:
    # A step of one series is about 2,000 inner steps; numpy pays ten times for each.
    return 20_000.0 * state.shape[0] * values.shape[1]


FORESEEING = (clipped, calendar, profiles, weighted_median, advance, reach)
# state (n, s) in place, values (n, k), index of the first step, sizes (4,), anchors (a, 6), levels (q,) → n.
PANEL_UPDATE = Kernel(
    _loop,
    update_twin,
    signature=(
        'int64(float32[:, ::1], Array(float64, 2, "C", readonly=True), int64, '
        'Array(int64, 1, "C", readonly=True), Array(int64, 2, "C", readonly=True), '
        'Array(float64, 1, "C", readonly=True))'
    ),
    work=_work,
    helpers=(
        *FORESEEING,
        due,
        turns,
        commit,
        reweigh,
        score,
        forget,
        learn,
        unexplained,
        follow,
        watch,
        begin,
        issue,
        miss,
        judge,
        take,
    ),
    exact=True,
)

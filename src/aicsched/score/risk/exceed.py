"""Probability that a load passes its limit at some time of a horizon, for many nodes at once.

For each node, past slots are taken as situations like the present one. A linear fit
foresees the highest load of the horizon from each; nodes with a short past lean on
the fit of all. What the fit missed by, weighted by likeness and age, makes the
distribution; so does what came as it was, and what a load that stays at its latest value
would have missed by. Forecasts of the past are then held against what came, to weigh
these voices and to correct the odds of their mix. Nothing is assumed of the shape of the
distribution, and a horizon's correlated slots need no model: the target is their top.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from aicsched.errors import InputError
from aicsched.jit import over_rows
from aicsched.score.risk.curves import GRID_POINTS
from aicsched.score.risk.kernels import CURVES, DESCRIBE, MOMENTS
from aicsched.score.risk.kernels import layout as at
from aicsched.score.risk.recalibrate import Odds, fit_odds, fit_shares, recalibrated

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Integers = NDArray[np.int64]

__all__ = ["Exceedance", "exceedance", "trailing_top"]

# Slots after which a past situation counts by 1/e less.
SHORT_SLOTS: Final = 250.0
LONG_SLOTS: Final = 1000.0
LONGEST_SLOTS: Final = 3000.0
# Situations of about this time of day, and of just this time of the week, as concentrations of von
# Mises' distribution: deviations of two hours, and of half an hour.
SAME_TIME: Final = 4.0
SAME_SLOT: Final = 3000.0
VOICES: Final = 6
# No situation counts for nothing, or a past without a week of its own would have none.
_LEAST_WEIGHT: Final = 1e-9
# No more of the past than this is looked at [slots].
LOOKBACK_SLOTS: Final = 2016
# A horizon needs this many times its length as past; longer ones are put together of shorter ones.
PAST_TO_HORIZON: Final = 4
# Situations this many to a horizon: nearer ones would tell the same.
PER_HORIZON: Final = 4
# A node's own fit counts as its independent situations, that of all nodes as so many.
COMMON_EVENTS: Final = 30.0
RIDGE_EVENTS: Final = 3.0
# Past forecasts that are held against what came.
CHECKED_NODES: Final = 128
CHECKS: Final = (16, 96)
CHECKED_RUNS: Final = 2048
CHECK_MEMORY_SLOTS: Final = 600.0
CHECK_REACH_SLOTS: Final = 1800
_CHECKED_LOADS: Final = 16
# Rows at a time: what is described of them then takes some 10 MB.
_ROWS: Final = 256


class Exceedance(NamedTuple):
    """Risk over added load, and what was learned from past forecasts.

    Parameters
    ----------
    risk : ndarray, shape (n, g)
        P(load + added > limit at some time of the horizon) on an even grid of added
        loads from 0 to 1; NaN where the past is too short.
    shares : ndarray, shape (6,)
        How much each voice counts: short and long memory, the same time of day, the same slot
        of the week, a load that stays, and what came as it was.
    odds : Odds
        The correction that was made.
    checks : int
        How many past forecasts were held against what came.
    """

    risk: Array
    shares: Array
    odds: Odds
    checks: int


def trailing_top(past: Array, horizon: int) -> Array:
    """Return the highest value of the slots up to each.

    Parameters
    ----------
    past : ndarray, shape (n, t)
        Loads; NaN is unknown.
    horizon : int
        Over so many slots, the one itself included, >= 1.

    Returns
    -------
    ndarray, shape (n, t)
        NaN where less than half of them is known.

    Examples
    --------
    >>> trailing_top(np.array([[0.2, 0.5, 0.1, np.nan, 0.3]]), 2).tolist()
    [[0.2, 0.5, 0.5, 0.1, 0.3]]
    """
    made, width = past.copy(), 1
    # Doubling: the top of 2k slots is that of two times k.
    while width < horizon:
        step = min(width, horizon - width)
        made[:, step:] = np.fmax(made[:, step:], made[:, :-step].copy())
        width += step
    known = np.cumsum(~np.isnan(past), axis=1)
    count = known.copy()
    count[:, horizon:] -= known[:, :-horizon]
    made[2 * count < horizon] = np.nan
    return made


def exceedance(
    past: Array, limit_share: Array, *, horizon: int, per_day: int, points: int = GRID_POINTS
) -> Exceedance:
    """Foresee how likely loads pass their limits over a horizon.

    Parameters
    ----------
    past : ndarray, shape (n, t)
        Loads of n nodes as shares, oldest first, up to now; NaN is unknown.
    limit_share : ndarray, shape (n,)
        The limit of each.
    horizon : int
        How many slots ahead, >= 1.
    per_day : int
        Slots a day, for what recurs daily and weekly.
    points : int
        Of the grid of added loads, >= 2.

    Returns
    -------
    Exceedance
        With a curve a node.

    Raises
    ------
    InputError
        The horizon is none, or shapes differ.

    Notes
    -----
    Expected top m(x) = ȳ + c'(x - x̄), where the node's coefficients solve
    (n A + 30 A₀ + 3 I) c = n b + 30 A₀ c₀, with A and b its covariances over the variance
    of y, n its independent situations (slots over horizon), A₀ and c₀ those of all nodes.
    Risk at added load d:

        Σ_s w_s [m(x) + e_s + d > L] / Σ_s w_s,  w_s = e^(-age/T) / (1 + z_s²)²,

    e_s = y_s - m(x_s), and z_s the distance of m(x_s) from m(x) in deviations of m. Four
    voices differ in their weights: T of 250 and of 1000 slots, the latter also at about this
    time of day, and 3000 slots at just this time of the week. A fifth takes the latest value
    for m(x), which suits what hardly moves, a sixth takes y_s for m(x) + e_s, which suits what
    is either idle or busy. Each is mixed with a Student t of two degrees of freedom around
    m(x) as one more situation: nothing is impossible for not having been seen.
    A horizon longer than a quarter of the past is put together of shorter ones as if
    they were independent, which overstates its risk.

    References
    ----------
    The scheme of Walz, Henzi, Ziegel and Gneiting 2024, "Easy Uncertainty
    Quantification", SIAM Review 66:91, doi:10.1137/22M1541915, with kernel weights
    in place of isotonic ones; conformal residuals under shift: Barber et al. 2023,
    doi:10.1214/23-AOS2276.

    Examples
    --------
    >>> hours = np.arange(24 * 28)
    >>> past = 0.5 + 0.3 * np.sin(2 * np.pi * hours / 24)[None, :]
    >>> quiet = exceedance(past[:, :-12], np.array([0.75]), horizon=4, per_day=24)  # it will fall
    >>> rising = exceedance(past, np.array([0.75]), horizon=8, per_day=24)  # it will rise to 0.8
    >>> bool(quiet.risk[0, 0] < 0.1 < 0.9 < rising.risk[0, 0])
    True
    """
    if horizon < 1 or past.ndim != 2 or limit_share.shape != past.shape[:1] or points < 2:
        msg = f"a horizon of {horizon} slots for loads {past.shape}, limits {limit_share.shape}"
        raise InputError(msg, hint="give one row and one limit a node, and a horizon of at least a slot")
    used = min(horizon, past.shape[1] // PAST_TO_HORIZON)
    if used < 1 or not len(past):
        nothing = np.full((len(past), points), np.nan)
        return Exceedance(nothing, np.full(VOICES, 1 / VOICES), Odds(), 0)
    model = _Model(past[:, -(LOOKBACK_SLOTS + CHECK_REACH_SLOTS) :], limit_share, used, per_day, points)
    shares, odds, checks = model.checked()
    risk = model.risk(shares, odds)
    if used < horizon:
        risk = 1 - (1 - risk) ** (horizon / used)
    return Exceedance(np.maximum.accumulate(np.clip(risk, 0.0, 1.0), axis=1), shares, odds, checks)


class _Model:
    """The past of some nodes, and forecasts from any slot of it."""

    def __init__(self, past: Array, limits: Array, horizon: int, per_day: int, points: int) -> None:
        self.past = np.ascontiguousarray(past, dtype=np.float64)
        self.limits = np.ascontiguousarray(limits, dtype=np.float64)
        self.top = trailing_top(self.past, horizon)
        self.horizon, self.per_day, self.points = horizon, per_day, points
        self.stride = max(1, horizon // PER_HORIZON)
        self.slots = past.shape[1]

    def described(self, part: slice) -> Array:
        """Describe each slot of some nodes, shape (n, t, FEATURES)."""
        past, top = np.ascontiguousarray(self.past[part]), np.ascontiguousarray(self.top[part])
        made = np.empty((*past.shape, at.FEATURES))
        DESCRIBE.form(self.past, self.top, self.horizon, self.per_day, made)(
            past, top, self.horizon, self.per_day, made
        )
        return made

    def span(self, origin: int) -> Integers:
        """Return what part of the past a forecast after a slot looks at."""
        first = max(0, origin + 1 - LOOKBACK_SLOTS)
        return np.array([origin, first, self.horizon, self.stride], dtype=np.int64)

    def memory(self, span: Integers) -> Array:
        """Return how much situations count by age, shape (ages, memories)."""
        count = (span[at.ORIGIN] - span[at.HORIZON] - span[at.FIRST]) // self.stride + 1
        ages = np.arange(count) * float(self.stride)
        made = np.exp(-ages[:, None] / np.array([SHORT_SLOTS, LONG_SLOTS, LONG_SLOTS, LONGEST_SLOTS]))
        turn = 2 * np.pi * (ages + self.horizon) / self.per_day
        made[:, 2] *= np.exp(SAME_TIME * (np.cos(turn) - 1))
        made[:, 3] *= np.exp(SAME_SLOT * (np.cos(turn / 7) - 1))
        return made + _LEAST_WEIGHT

    def voices(self, inputs: Array, top: Array, limits: Array, span: Integers, fits: Array) -> Array:
        """Return the risk of some nodes as each way of looking at the past foresees it, (n, VOICES, g)."""
        memory = self.memory(span)
        parts: list[Array] = []
        for fit, remembered, shift in (
            (fits, memory, 1.0),
            (_staying(fits), np.ascontiguousarray(memory[:, :1]), 1.0),
            (fits, np.ascontiguousarray(memory[:, 1:2]), 0.0),
        ):
            made = np.empty((len(top), remembered.shape[1], self.points))
            rest = (fit, limits, remembered, shift, made)
            CURVES.form(self.past, self.top, span, *rest)(inputs, top, span, *rest)
            parts.append(made)
        return np.concatenate(parts, axis=1)

    def risk(self, shares: Array, odds: Odds) -> Array:
        """Return the risk (n, g) as it is foreseen now, some rows at a time."""
        nodes, span = len(self.past), self.span(self.slots - 1)
        sums, made = np.empty((nodes, at.SUMS)), np.empty((nodes, self.points))

        def parts(low: int, high: int) -> list[slice]:
            return [slice(first, min(first + _ROWS, high)) for first in range(low, high, _ROWS)]

        def summed(low: int, high: int) -> None:
            for part in parts(low, high):
                run = MOMENTS.form(self.past, self.top, span, sums)
                run(self.described(part), self.top[part], span, sums[part])

        def foreseen(low: int, high: int) -> None:
            for part in parts(low, high):
                some = self.described(part), self.top[part], self.limits[part]
                made[part] = recalibrated(
                    np.tensordot(shares, self.voices(*some, span, fits[part]), axes=(0, 1)), odds
                )

        over_rows(summed, nodes)
        fits = _fit(sums, self.stride / self.horizon)
        over_rows(foreseen, nodes)
        return made

    def checked(self) -> tuple[Array, Odds, int]:
        """Hold past forecasts of some nodes against what came, and learn from them."""
        rows = slice(None, None, max(1, len(self.past) // CHECKED_NODES))
        top, limits = np.ascontiguousarray(self.top[rows]), np.ascontiguousarray(self.limits[rows])
        wanted = int(np.clip(CHECKED_RUNS // len(top), *CHECKS))
        latest = self.slots - 1 - self.horizon
        reach = min(CHECK_REACH_SLOTS, latest - PAST_TO_HORIZON * self.horizon)
        gap = max(1, reach // wanted)
        origins = np.arange(latest, latest - max(reach, 0), -gap)[:wanted].tolist()
        if not origins:
            return np.full(VOICES, 1 / VOICES), Odds(), 0
        columns = np.arange(0, self.points, max(1, (self.points - 1) // _CHECKED_LOADS))
        room = limits[:, None] - columns / (self.points - 1)
        inputs = self.described(rows)
        stated: list[Array] = []
        came: list[Array] = []
        weights: list[Array] = []
        for origin in origins:
            curves = self._foreseen(inputs, top, limits, origin)[:, :, columns].transpose(1, 0, 2)
            follows = top[:, origin + self.horizon][:, None]
            known = ~np.isnan(curves).any(axis=0) & ~np.isnan(follows)
            # The loads of one forecast tell the same again, as far as they tell anything.
            middle = curves.mean(axis=0)
            telling = np.nan_to_num(4 * middle * (1 - middle)).sum(axis=1, keepdims=True)
            stated.append(curves[:, known])
            came.append((follows > room)[known].astype(np.float64))
            # Overlapping horizons tell the same twice.
            worth = np.exp(-(self.slots - 1 - origin) / CHECK_MEMORY_SLOTS) * min(1.0, gap / self.horizon)
            weights.append(np.broadcast_to(worth / np.maximum(telling, 1.0), known.shape)[known])
        risk, broke, weight = np.concatenate(stated, axis=1), np.concatenate(came), np.concatenate(weights)
        shares = fit_shares(risk - broke, weight)
        return shares, fit_odds(shares @ risk, broke, weight), len(origins) * len(top)

    def _foreseen(self, inputs: Array, top: Array, limits: Array, origin: int) -> Array:
        """Return the risk (n, VOICES, g) of some nodes as it was foreseen after a slot."""
        span = self.span(origin)
        sums = np.empty((len(top), at.SUMS))
        MOMENTS.form(inputs, top, span, sums)(inputs, top, span, sums)
        return self.voices(inputs, top, limits, span, _fit(sums, self.stride / self.horizon))


def _staying(fits: Array) -> Array:
    """Return fits by which the load stays at its latest value."""
    made = fits.copy()
    made[:, at.MEAN] = fits[:, at.CENTRE + at.LATEST]
    made[:, at.SLOPES :] = 0.0
    made[:, at.SLOPES + at.LATEST] = 1.0
    return made


def _fit(sums: Array, independent: float) -> Array:
    """Solve for the coefficients of each node, leaning on those of all."""
    count = sums[:, at.COUNT]
    enough = count >= at.LEAST_COUNT
    variance = sums[:, at.VARIANCE] + at.LEAST_VARIANCE
    size = at.FEATURES
    square = (sums[:, at.SQUARE :] / variance[:, None]).reshape(-1, size, size)
    product = sums[:, at.PRODUCT : at.SQUARE] / variance[:, None]
    events = np.maximum(count * min(independent, 1.0), 1.0)
    fits = np.zeros((len(sums), at.FIT))
    fits[:, : at.SLOPES] = sums[:, : at.PRODUCT]
    if not enough.any():
        return fits
    unit = np.eye(size)
    common, target = square[enough].mean(axis=0), product[enough].mean(axis=0)
    ridge = RIDGE_EVENTS * size / max(float(events[enough].sum()), 1.0) + 1e-6
    pull = COMMON_EVENTS * common
    leant = pull @ np.linalg.solve(common + ridge * unit, target)
    left = square * events[:, None, None] + pull + (RIDGE_EVENTS + 1e-6 * events)[:, None, None] * unit
    right = product * events[:, None] + leant
    fits[enough, at.SLOPES :] = np.linalg.solve(left[enough], right[enough][..., None])[..., 0]
    return fits

"""Ranks and job windows over many forecasts at once: what a scheduler feels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from aicsched.jit import Kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = ["CONCORDANCE", "REGRET"]


def _concordance_loop(actual: Array, forecast: Array) -> Array:
    count, slots = actual.shape
    shares = np.empty(count)
    for row in range(count):
        agree = 0.0
        pairs = 0
        for left in range(slots):
            for right in range(left + 1, slots):
                truth = actual[row, left] - actual[row, right]
                # NaN compares false both ways: an unknown value makes no pair.
                if truth > 0.0 or truth < 0.0:
                    guess = forecast[row, left] - forecast[row, right]
                    pairs += 1
                    if guess == 0.0:
                        agree += 0.5
                    elif (guess > 0.0) == (truth > 0.0):
                        agree += 1.0
        shares[row] = agree / pairs if pairs > 0 else np.nan
    return shares


def _concordance_twin(actual: Array, forecast: Array) -> Array:
    left, right = np.triu_indices(actual.shape[1], 1)
    shares = np.empty(len(actual))
    for row in range(len(actual)):
        truth = np.sign(actual[row, left] - actual[row, right])
        guess = np.sign(forecast[row, left] - forecast[row, right])
        pairs = np.abs(truth) == 1.0
        agree = (truth[pairs] == guess[pairs]).sum() + 0.5 * (guess[pairs] == 0.0).sum()
        shares[row] = agree / pairs.sum() if pairs.any() else np.nan
    return shares


def _regret_loop(actual: Array, forecast: Array, length: int) -> Array:
    count, slots = actual.shape
    made = np.empty((count, 3))
    for row in range(count):
        best_guess = np.inf
        best_truth = np.inf
        met = np.nan
        at_once = np.nan
        for start in range(slots - length + 1):
            truth = 0.0
            guess = 0.0
            for step in range(length):
                truth += actual[row, start + step]
                guess += forecast[row, start + step]
            truth /= length
            guess /= length
            if start == 0:
                at_once = truth
            if guess < best_guess:
                best_guess = guess
                met = truth
            if not truth >= best_truth:
                best_truth = truth
        made[row, 0] = met
        made[row, 1] = best_truth
        made[row, 2] = at_once
        for slot in range(slots):
            if np.isnan(actual[row, slot]):
                made[row, :] = np.nan
    return made


def _regret_twin(actual: Array, forecast: Array, length: int) -> Array:
    windows = np.lib.stride_tricks.sliding_window_view
    truth = windows(actual, length, axis=1).mean(axis=2)
    guess = windows(forecast, length, axis=1).mean(axis=2)
    met = np.take_along_axis(truth, guess.argmin(axis=1)[:, None], axis=1)[:, 0]
    made = np.stack([met, truth.min(axis=1), truth[:, 0]], axis=1)
    made[np.isnan(actual).any(axis=1)] = np.nan
    return made


def _concordance_work(actual: Array, _forecast: Array) -> float:
    return actual.size * actual.shape[1] / 2.0


def _regret_work(actual: Array, _forecast: Array, length: int) -> float:
    return float(actual.size * length)


_MATRIX = 'Array(float64, 2, "C", readonly=True)'
# actual (n, h), forecast (n, h) → (n,): share of slot pairs in the right order.
CONCORDANCE = Kernel(
    _concordance_loop,
    _concordance_twin,
    signature=f"float64[::1]({_MATRIX}, {_MATRIX})",
    work=_concordance_work,
)
# actual (n, h), forecast (n, h), length → (n, 3): mean actual met, best, and at once.
REGRET = Kernel(
    _regret_loop,
    _regret_twin,
    signature=f"float64[:, ::1]({_MATRIX}, {_MATRIX}, int64)",
    work=_regret_work,
)

"""Corrections learned from forecasts of the past whose outcome is known by now.

Two things are learned over all nodes together: how much a long and a short memory
deserve to be believed, and whether stated odds come true as often as they say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = ["Odds", "fit_odds", "fit_shares", "recalibrated"]

# Below this, and above one less this, odds are kept in proportion instead of learned.
LEAST_RISK: Final = 1e-3
# Prior belief, in events: that voices are equal, and that their mix is right as it is. Past forecasts
# knew less than today's, and a fleet's drift turns: what was wrong with them is believed of today's
# only where it is plain.
PRIOR_EVENTS: Final = 10.0
PRIOR_ODDS: Final = 400.0
_SLOPES: Final = (0.2, 5.0)


class Odds(NamedTuple):
    """A straight line from stated to true log odds.

    Parameters
    ----------
    level : float
        Added to the log odds: above 0 what was stated was too low.
    slope : float
        Their factor: below 1 what was stated was too bold.
    """

    level: float = 0.0
    slope: float = 1.0


def fit_shares(errors: Array, weights: Array) -> Array:
    """Return how much each of some forecasts counts in their mix.

    Parameters
    ----------
    errors : ndarray, shape (j, m)
        Probability minus outcome of j forecasts of the same m events.
    weights : ndarray, shape (m,)
        How much each event counts, in independent events.

    Returns
    -------
    ndarray, shape (j,)
        Shares, at least 0, with sum 1, whose mix has the least Brier score on these
        events; with few events, near equal.

    Notes
    -----
    Exponentiated gradient on the simplex for the quadratic programme
    min w'(E + λI)w; the prior λ counts as ten events of mean error.

    Examples
    --------
    >>> errors = np.array([[0.5, -0.5] * 200, [0.1, -0.1] * 200])
    >>> bool(fit_shares(errors, np.ones(400))[1] > 0.8)
    True
    """
    kinds = len(errors)
    shares = np.full(kinds, 1.0 / kinds)
    total = float(weights.sum())
    square = (errors * weights) @ errors.T
    typical = np.trace(square) / kinds / total if total > 0 else 0.0
    if typical <= 0:
        return shares
    square = square / typical + PRIOR_EVENTS * np.eye(kinds)
    for _ in range(200):
        slope = square @ shares
        shares = shares * np.exp(-0.5 * (slope - slope.min()) / slope.mean())
        shares /= shares.sum()
    return shares


def fit_odds(risk: Array, broke: Array, weights: Array) -> Odds:
    """Learn how stated odds relate to what came true.

    Parameters
    ----------
    risk : ndarray, shape (m,)
        Stated probabilities.
    broke : ndarray, shape (m,)
        1 where it came true, else 0.
    weights : ndarray, shape (m,)
        How much each counts, in independent events.

    Returns
    -------
    Odds
        By penalised logistic regression; no correction where nothing is to be learned.

    References
    ----------
    Cox 1958, Biometrika 45:562, doi:10.1093/biomet/45.3-4.562; Platt scaling.

    Examples
    --------
    >>> stated = np.full(100_000, 0.5)
    >>> true = np.arange(100_000) % 5 == 0
    >>> made = fit_odds(stated, true, np.ones(100_000))
    >>> round(float(recalibrated(np.array([0.5]), made)[0]), 1)
    0.2
    """
    telling = (risk > 2 * LEAST_RISK) & (risk < 1 - 2 * LEAST_RISK) & (weights > 0)
    if not telling.any():
        return Odds()
    x, hit, weight = np.log(risk[telling] / (1 - risk[telling])), broke[telling], weights[telling]
    level, slope = 0.0, 1.0
    for _ in range(12):
        chance = 1 / (1 + np.exp(-np.clip(level + slope * x, -30.0, 30.0)))
        rest, bend = weight * (hit - chance), weight * chance * (1 - chance)
        # Sums, not products of vectors: threads of BLAS would spin on these for most of a refresh.
        towards = np.array([rest.sum(), (rest * x).sum()]) - PRIOR_ODDS * np.array([level, slope - 1])
        bent = bend * x
        curvature = np.array(
            [[bend.sum(), bent.sum()], [bent.sum(), (bent * x).sum()]]
        ) + PRIOR_ODDS * np.eye(2)
        step = np.linalg.solve(curvature, towards)
        level, slope = level + float(step[0]), slope + float(step[1])
    return Odds(float(np.clip(level, -5.0, 5.0)), float(np.clip(slope, *_SLOPES)))


def recalibrated(risk: Array, odds: Odds) -> Array:
    """Correct probabilities.

    Parameters
    ----------
    risk : ndarray
        Stated probabilities; NaN stays.
    odds : Odds
        From `fit_odds`.

    Returns
    -------
    ndarray, same shape
        In [0, 1], in the same order; 0 stays 0 and 1 stays 1.
    """
    inside = np.clip(risk, LEAST_RISK, 1 - LEAST_RISK)
    made = 1 / (1 + np.exp(-(odds.level + odds.slope * np.log(inside / (1 - inside)))))
    # Beyond the ends in proportion, so that order is kept and certainty stays certain.
    low, high = risk / LEAST_RISK, (1 - risk) / LEAST_RISK
    return np.where(risk < LEAST_RISK, made * low, np.where(high < 1, 1 - (1 - made) * high, made))

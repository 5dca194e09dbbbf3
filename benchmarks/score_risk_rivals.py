"""What public schedulers know of risk, written from their published formulas.

Trimaran (kubernetes-sigs/scheduler-plugins) sees the mean m and the deviation s of a
window of the past, by default 15 minutes. ``LoadVariationRiskBalancing`` scores
100 (1 - (m + margin s^(1/sensitivity)) / 2), with the pod's request in m and both cut to
[0, 1]: its risk is read as a probability. ``LowRiskOverCommitment`` takes P(B > limit)
of a beta distribution with these moments, s times the root of a smoothing window; its
limit is what was requested, here it gets the true one and the pod's load, which it
lacks. ``TargetLoadPacking`` has no risk: it ranks the fullest node below 40 % best.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from aicsched.score.slo_risk import beta_tail

if TYPE_CHECKING:
    from collections.abc import Iterator

Array = np.ndarray[Any, np.dtype[np.float64]]
Integers = np.ndarray[Any, np.dtype[np.int64]]

# Windows of the past [slots], from the latest two to all of it, and factors on the variance or the margin.
WINDOWS = (2, 3, 6, 12, 24, 72, 168, 336, 672, 100_000)
SMOOTHING = (1, 2, 5, 10)
MARGINS = ((1.0, 1.0), (2.0, 1.0), (1.0, 2.0))


class Candidate(NamedTuple):
    """One rival with one choice of its parameters.

    Parameters
    ----------
    name : str
        Of the formula.
    window : int
        Past slots it looks at.
    setting : tuple of float
        Its other parameters.
    """

    name: str
    window: int
    setting: tuple[float, ...]


def rolling(loads: Array, window: int) -> tuple[Array, Array]:
    """Return mean and deviation of the latest slots, each slot included.

    Parameters
    ----------
    loads : ndarray, shape (n, t)
        NaN is left out.
    window : int
        How many slots.

    Returns
    -------
    tuple of ndarray, shape (n, t)
        In a gap as before it; NaN before the first value.
    """
    known = ~np.isnan(loads)
    values = np.where(known, loads, 0.0)

    def latest(each: Array) -> Array:
        total = np.concatenate([np.zeros((len(each), 1)), np.cumsum(each, axis=1)], axis=1)
        last = np.arange(1, total.shape[1])
        return total[:, last] - total[:, np.maximum(last - window, 0)]

    count = latest(known.astype(np.float64))
    safe = np.maximum(count, 1.0)
    mean = latest(values) / safe
    variance = np.maximum(latest(np.square(values)) / safe - np.square(mean), 0.0)
    spread = np.sqrt(variance * safe / np.maximum(safe - 1, 1.0))
    # Where the window is empty, what was known last still stands.
    last = np.maximum.accumulate(np.where(count > 0, np.arange(loads.shape[1]), 0), axis=1)
    mean, spread = np.where(count > 0, mean, np.nan), np.where(count > 0, spread, np.nan)
    return np.take_along_axis(mean, last, axis=1), np.take_along_axis(spread, last, axis=1)


def candidates(
    loads: Array, origins: Integers, limit: float, extra: Array
) -> Iterator[tuple[Candidate, Array]]:
    """Foresee by each formula with each choice of parameters.

    Parameters
    ----------
    loads : ndarray, shape (n, t)
        All loads; of each origin only what lies before is used.
    origins : ndarray of int, shape (m,)
        The latest known slots.
    limit : float
        What must not be passed.
    extra : ndarray, shape (g,)
        Added loads.

    Yields
    ------
    tuple
        The candidate and its risk, shape (m, n, g).
    """
    from scipy.special import ndtr

    room = limit - extra
    for window in WINDOWS:
        means, spreads = rolling(loads, window)
        mean, spread = means[:, origins].T[:, :, None], spreads[:, origins].T[:, :, None]
        for margin, sensitivity in MARGINS:
            risk = (np.clip(mean + extra, 0, 1) + margin * np.clip(spread, 0, 1) ** (1 / sensitivity)) / 2
            yield Candidate("LoadVariationRiskBalancing", window, (margin, sensitivity)), np.clip(risk, 0, 1)
        for factor in SMOOTHING:
            wide = spread * np.sqrt(factor)
            yield Candidate("LowRiskOverCommitment", window, (factor,)), beta_tail(mean, wide, room)
            yield (
                Candidate("normal tail", window, (factor,)),
                1 - ndtr((room - mean) / np.maximum(wide, 1e-6)),
            )

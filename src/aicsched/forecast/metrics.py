"""How good a forecast was: errors, bands, ranks, and what a scheduler loses by them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = ["concordance", "coverage_share", "mae", "mape", "pinball", "window_regret"]


def mape(actual: Array, forecast: Array) -> float:
    """Return the mean absolute percentage error.

    Parameters
    ----------
    actual, forecast : ndarray, same shape
        Positive values.

    Returns
    -------
    float
        Percent; NaN where nothing is known or an actual is 0.

    Examples
    --------
    >>> import numpy as np
    >>> mape(np.array([100.0, 200.0]), np.array([110.0, 180.0]))
    10.0
    """
    known = np.isfinite(actual) & (actual > 0)
    return float(100.0 * np.mean(np.abs(forecast[known] - actual[known]) / actual[known])) if known.any() else float("nan")


def mae(actual: Array, forecast: Array) -> float:
    """Return the mean absolute error.

    Parameters
    ----------
    actual, forecast : ndarray, same shape
        Values in one unit.

    Returns
    -------
    float
        In the same unit; NaN where nothing is known.

    Examples
    --------
    >>> import numpy as np
    >>> mae(np.array([1.0, 2.0, np.nan]), np.array([2.0, 4.0, 9.0]))
    1.5
    """
    known = np.isfinite(actual)
    return float(np.mean(np.abs(forecast[known] - actual[known]))) if known.any() else float("nan")


def pinball(actual: Array, quantile: Array, level: float) -> float:
    """Return the mean pinball loss of one quantile.

    Parameters
    ----------
    actual, quantile : ndarray, same shape
        Values in one unit.
    level : float
        The quantile's level in (0, 1).

    Returns
    -------
    float
        In the same unit.

    Examples
    --------
    >>> import numpy as np
    >>> round(pinball(np.array([10.0, 10.0]), np.array([8.0, 12.0]), 0.9), 6)
    1.0
    """
    known = np.isfinite(actual)
    miss = actual[known] - quantile[known]
    return float(np.mean(np.maximum(level * miss, (level - 1) * miss))) if known.any() else float("nan")


def coverage_share(actual: Array, low: Array, high: Array) -> float:
    """Return which share of the actual values lies in a band.

    Parameters
    ----------
    actual, low, high : ndarray, same shape
        Values in one unit.

    Returns
    -------
    float
        A share in [0, 1]; NaN where nothing is known.

    Examples
    --------
    >>> import numpy as np
    >>> coverage_share(np.array([1.0, 5.0]), np.array([0.0, 0.0]), np.array([2.0, 2.0]))
    0.5
    """
    known = np.isfinite(actual)
    inside = (actual[known] >= low[known]) & (actual[known] <= high[known])
    return float(inside.mean()) if known.any() else float("nan")


def concordance(actual: Array, forecast: Array) -> float:
    """Return how often a forecast orders two slots as they then came.

    Parameters
    ----------
    actual, forecast : ndarray, shape (h,)
        Values of one window.

    Returns
    -------
    float
        Concordant share of all pairs whose actual values differ; a tied forecast
        counts half. 0.5 is guessing, 1 is perfect; NaN without such a pair.

    References
    ----------
    Harrell's C (1982, doi:10.1001/jama.1982.03320430047030) without censoring.

    Examples
    --------
    >>> import numpy as np
    >>> concordance(np.array([1.0, 2.0, 3.0]), np.array([1.0, 3.0, 2.0]))
    0.6666666666666666
    """
    truth = np.sign(actual[:, None] - actual[None, :])
    guess = np.sign(forecast[:, None] - forecast[None, :])
    pairs = np.triu(np.isfinite(truth) & (truth != 0), 1)
    total = int(pairs.sum())
    agree = ((truth * guess) > 0)[pairs].sum() + 0.5 * (guess[pairs] == 0).sum()
    return float(agree / total) if total else float("nan")


def window_regret(actual: Array, forecast: Array, length: int) -> tuple[float, float, float]:
    """Return what a job emits when it starts where a forecast says, at best, and at once.

    Parameters
    ----------
    actual, forecast : ndarray, shape (h,)
        Intensities over the window in which the job may run [g/kWh].
    length : int
        Slots the job runs, without a break.

    Returns
    -------
    tuple of float
        Mean intensity met by the forecast's choice, by the oracle's, and by
        running at once [g/kWh]; NaN where an actual value is missing.

    Examples
    --------
    >>> import numpy as np
    >>> window_regret(np.array([4.0, 2.0, 1.0, 3.0]), np.array([4.0, 1.0, 2.0, 3.0]), 1)
    (2.0, 1.0, 4.0)
    """
    kernel = np.ones(length) / length
    met = np.convolve(actual, kernel, mode="valid")
    foreseen = np.convolve(forecast, kernel, mode="valid")
    return float(met[int(foreseen.argmin())]), float(met.min()), float(met[0])

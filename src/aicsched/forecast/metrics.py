"""How good a forecast was: errors, bands, ranks, and what a scheduler loses by them.

All take arrays of one shape and ignore slots whose actual value is NaN; where
nothing is known they give NaN, never a number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from aicsched.domain.carbon import frozen_array
from aicsched.forecast.kernels import CONCORDANCE, REGRET

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = [
    "Regret",
    "concordance",
    "coverage_by_hour",
    "coverage_share",
    "interruptible_regret",
    "mae",
    "mape",
    "mase",
    "mean_width",
    "pinball",
    "seasonal_step",
    "window_regret",
]


def _mean(values: Array) -> float:
    return float(values.mean()) if values.size else float("nan")


def mape(actual: Array, forecast: Array) -> float:
    """Return the mean absolute percentage error.

    Parameters
    ----------
    actual, forecast : ndarray, same shape
        Values in one unit; slots whose actual is 0 are left out.

    Returns
    -------
    float
        Percent.

    Examples
    --------
    >>> import numpy as np
    >>> mape(np.array([100.0, 200.0]), np.array([110.0, 180.0]))
    10.0
    """
    known = np.isfinite(actual) & (actual > 0)
    return _mean(100.0 * np.abs(forecast[known] - actual[known]) / actual[known])


def mae(actual: Array, forecast: Array) -> float:
    """Return the mean absolute error.

    Parameters
    ----------
    actual, forecast : ndarray, same shape
        Values in one unit.

    Returns
    -------
    float
        In the same unit.

    Examples
    --------
    >>> import numpy as np
    >>> mae(np.array([1.0, 2.0, np.nan]), np.array([2.0, 4.0, 9.0]))
    1.5
    """
    known = np.isfinite(actual)
    return _mean(np.abs(forecast[known] - actual[known]))


def seasonal_step(history: Array, period: int) -> float:
    """Return by how much a series changes from one day to the next.

    Parameters
    ----------
    history : ndarray, shape (n,)
        What was known before the forecasts.
    period : int
        Slots a day.

    Returns
    -------
    float
        Mean absolute difference to the value a day before, where both are known: the
        scale of `mase`.

    Examples
    --------
    >>> import numpy as np
    >>> seasonal_step(np.array([1.0, 2.0, 3.0, 5.0]), 2)
    2.5
    """
    steps = history[period:] - history[:-period]
    return _mean(np.abs(steps[np.isfinite(steps)])) if len(history) > period else float("nan")


def mase(actual: Array, forecast: Array, scale: float) -> float:
    """Return the mean absolute scaled error.

    Parameters
    ----------
    actual, forecast : ndarray, same shape
        Values in one unit.
    scale : float
        What the seasonal naive forecast missed by in the past, see `seasonal_step`.

    Returns
    -------
    float
        1 is as good as repeating the day before was on the past; NaN where `scale` is 0.

    References
    ----------
    Hyndman and Koehler 2006, doi:10.1016/j.ijforecast.2006.03.001.

    Examples
    --------
    >>> import numpy as np
    >>> mase(np.array([1.0, 2.0]), np.array([2.0, 4.0]), 3.0)
    0.5
    """
    return mae(actual, forecast) / scale if scale > 0 else float("nan")


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

    References
    ----------
    Koenker and Bassett 1978, doi:10.2307/1913643.

    Examples
    --------
    >>> import numpy as np
    >>> round(pinball(np.array([10.0, 10.0]), np.array([8.0, 12.0]), 0.9), 6)
    1.0
    """
    known = np.isfinite(actual)
    miss = actual[known] - quantile[known]
    return _mean(np.maximum(level * miss, (level - 1) * miss))


def coverage_share(actual: Array, low: Array, high: Array) -> float:
    """Return which share of the actual values lies in a band.

    Parameters
    ----------
    actual, low, high : ndarray, same shape
        Values in one unit.

    Returns
    -------
    float
        A share in [0, 1].

    Examples
    --------
    >>> import numpy as np
    >>> coverage_share(np.array([1.0, 5.0]), np.array([0.0, 0.0]), np.array([2.0, 2.0]))
    0.5
    """
    known = np.isfinite(actual)
    return _mean(((actual[known] >= low[known]) & (actual[known] <= high[known])).astype(np.float64))


def coverage_by_hour(actual: Array, low: Array, high: Array, hours: NDArray[np.int64]) -> Array:
    """Return which share of the actual values lies in a band, by hour of the day.

    Parameters
    ----------
    actual, low, high : ndarray, same shape
        Values in one unit.
    hours : ndarray of int, same shape
        Hour of the day of each value, 0 to 23.

    Returns
    -------
    ndarray, shape (24,)
        Shares in [0, 1]; NaN for an hour of which nothing is known.

    Examples
    --------
    >>> import numpy as np
    >>> ones = np.ones(3)
    >>> coverage_by_hour(np.array([1.0, 1.0, 9.0]), ones, ones, np.array([0, 1, 1]))[:2].tolist()
    [1.0, 0.5]
    """
    known = np.isfinite(actual) & np.isfinite(low) & np.isfinite(high)
    inside = (actual[known] >= low[known]) & (actual[known] <= high[known])
    count = np.bincount(hours[known], minlength=24).astype(np.float64)
    held = np.bincount(hours[known], weights=inside.astype(np.float64), minlength=24)
    return np.divide(held, count, out=np.full(24, np.nan), where=count > 0)


def mean_width(low: Array, high: Array) -> float:
    """Return how wide a band is on average.

    Parameters
    ----------
    low, high : ndarray, same shape
        Values in one unit.

    Returns
    -------
    float
        In the same unit.

    Examples
    --------
    >>> import numpy as np
    >>> mean_width(np.array([1.0, 2.0]), np.array([2.0, 5.0]))
    2.0
    """
    return _mean(high - low)


def concordance(actual: Array, forecast: Array) -> Array:
    """Return how often forecasts order two slots as they then came.

    Parameters
    ----------
    actual, forecast : ndarray, shape (n, h)
        One window a row.

    Returns
    -------
    ndarray, shape (n,)
        Concordant share of all pairs whose actual values differ; a tied forecast
        counts half. 0.5 is guessing, 1 is perfect; NaN without such a pair.

    References
    ----------
    Harrell's C (1982, doi:10.1001/jama.1982.03320430047030) without censoring.

    Examples
    --------
    >>> import numpy as np
    >>> concordance(np.array([[1.0, 2.0, 3.0]]), np.array([[1.0, 3.0, 2.0]])).round(4).tolist()
    [0.6667]
    """
    return CONCORDANCE(frozen_array(actual), frozen_array(forecast))


@dataclass(frozen=True, slots=True, kw_only=True)
class Regret:
    """What a job loses by believing forecasts, over many windows.

    Parameters
    ----------
    extra_share : float
        Emissions beyond the oracle's, over the oracle's.
    now_extra_share : float
        The same of a job that runs at once.
    saving_share_of_oracle : float
        What believing the forecast saves against running at once, over what the
        oracle saves; NaN where there is nothing to save.
    windows : int
        How many windows were fully known.
    """

    extra_share: float
    now_extra_share: float
    saving_share_of_oracle: float
    windows: int

    @property
    def saving_share(self) -> float:
        """What believing the forecast saves against running at once, over what that emits."""
        return 1.0 - (1.0 + self.extra_share) / (1.0 + self.now_extra_share)

    @property
    def oracle_saving_share(self) -> float:
        """What perfect foresight saves against running at once, over what that emits."""
        return 1.0 - 1.0 / (1.0 + self.now_extra_share)


def _regret(each: Array) -> Regret:
    """Sum over windows what was met, what was best and what comes at once, shape (n, 3)."""
    each = each[np.isfinite(each).all(axis=1)]
    met, best, at_once = (float(total) for total in each.sum(axis=0))
    nan = float("nan")
    return Regret(
        extra_share=met / best - 1.0 if best > 0 else nan,
        now_extra_share=at_once / best - 1.0 if best > 0 else nan,
        saving_share_of_oracle=(at_once - met) / (at_once - best) if at_once > best else nan,
        windows=len(each),
    )


def window_regret(actual: Array, forecast: Array, length: int) -> Regret:
    """Return what a job loses when it starts where forecasts say.

    Parameters
    ----------
    actual, forecast : ndarray, shape (n, h)
        Intensities over the windows in which the job may run, one a row [g/kWh].
        Rows with an unknown actual are left out.
    length : int
        Slots the job runs without a break, at most h.

    Returns
    -------
    Regret
        Over all rows together, so that dirty days count more than clean ones.

    Examples
    --------
    >>> import numpy as np
    >>> actual, forecast = np.array([[4.0, 2.0, 1.0, 3.0]]), np.array([[4.0, 1.0, 2.0, 3.0]])
    >>> made = window_regret(actual, forecast, 1)
    >>> made.extra_share, made.now_extra_share, round(made.saving_share_of_oracle, 3)
    (1.0, 3.0, 0.667)
    """
    return _regret(REGRET(frozen_array(actual), frozen_array(forecast), length))


def interruptible_regret(actual: Array, forecast: Array, count: int) -> Regret:
    """Return what a job that may pause loses when it runs in the slots that forecasts find cleanest.

    Parameters
    ----------
    actual, forecast : ndarray, shape (n, h)
        Intensities over the windows in which the job may run, one a row [g/kWh].
        Rows with an unknown actual are left out.
    count : int
        Slots the job needs, at most h, anywhere in the window; of slots foreseen
        as equally clean it takes the earlier one.

    Returns
    -------
    Regret
        Over all rows together; at once means in the first `count` slots.

    Examples
    --------
    >>> import numpy as np
    >>> actual, forecast = np.array([[4.0, 1.0, 3.0, 2.0]]), np.array([[4.0, 1.0, 2.0, 3.0]])
    >>> made = interruptible_regret(actual, forecast, 2)
    >>> round(made.extra_share, 3), round(made.now_extra_share, 3)
    (0.333, 0.667)
    """
    chosen = np.argsort(forecast, axis=1, kind="stable")[:, :count]
    met = np.take_along_axis(actual, chosen, axis=1).mean(axis=1)
    best = np.sort(actual, axis=1)[:, :count].mean(axis=1)
    each = np.stack([met, best, actual[:, :count].mean(axis=1)], axis=1)
    each[np.isnan(actual).any(axis=1)] = np.nan
    return _regret(each)

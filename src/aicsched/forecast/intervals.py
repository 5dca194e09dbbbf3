"""Conformal intervals: quantiles of what the model missed by, on days it hadn't seen.

Residuals are in log space, so a band is a factor and intensity stays positive.
They are pooled over neighbouring leads. Split-conformal's finite-sample level
(Lei et al. 2018, doi:10.1080/01621459.2017.1307116) widens small samples; where a
series drifts, `AdaptiveBand` learns how much wider yet the bands must be.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.forecast.metrics import coverage_share

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from aicsched.domain.carbon import CarbonSeries
    from aicsched.domain.forecast import Forecast

    Array = NDArray[np.float64]

__all__ = ["AdaptiveBand", "adapt_width", "debiased", "never_narrower", "residual_quantiles"]

_MARGIN: Final = 1.5
_RATE: Final = 0.1
_LIMIT: Final = 0.9


def debiased(residuals: Array, *, age: int, days: int, share: float) -> Array:
    """Return what residuals would have been with the online bias term.

    Parameters
    ----------
    residuals : ndarray, shape (n, h)
        Actual minus forecast, one row a day in order of time.
    age : int
        A row's outcome is known so many rows later.
    days : int
        The bias is the mean of the newest so many known rows.
    share : float
        How much of it the forecast takes over.

    Returns
    -------
    ndarray, shape (n, h)
        Smaller where errors persist.

    Examples
    --------
    >>> import numpy as np
    >>> debiased(np.ones((4, 1)), age=1, days=2, share=0.5)[:, 0].tolist()
    [1.0, 0.5, 0.5, 0.5]
    """
    total = np.concatenate([[0.0], np.cumsum(residuals.mean(axis=1))])
    end = np.maximum(np.arange(len(residuals)) - age + 1, 0)
    start = np.maximum(end - days, 0)
    bias = (total[end] - total[start]) / np.maximum(end - start, 1)
    return residuals - share * bias[:, None]


def residual_quantiles(residuals: Array, levels: Sequence[float], *, age: int = 1) -> Array:
    """Return quantiles of residuals per lead, pooled over the leads beside it.

    Parameters
    ----------
    residuals : ndarray, shape (n, h)
        Actual minus forecast, per past origin and lead of one lead day.
    levels : sequence of float
        Quantile levels, rising.
    age : int
        After how many rows a row's outcome is known: rows so near overlap in what
        drives them, so that n of them count as about n / age.

    Returns
    -------
    ndarray, shape (len(levels), h)
        Rising along the first axis, and stretched from the middle by
        ``1 + 1.5 age / n`` (at most doubled): a margin for that, not a theorem.

    Examples
    --------
    >>> import numpy as np
    >>> q = residual_quantiles(np.arange(101.0)[:, None] * np.ones((1, 3)), [0.1, 0.9])
    >>> bool((q[1] - q[0] > 80).all())
    True
    """
    count, leads = residuals.shape
    here = np.arange(leads)
    left, right = np.maximum(here - 1, 0), np.minimum(here + 1, leads - 1)
    pooled = np.concatenate([residuals[:, left], residuals, residuals[:, right]])
    middle = np.asarray(levels, dtype=np.float64) - 0.5
    stretched = 0.5 + middle * (1 + 1 / count)
    quantiles = np.quantile(pooled, np.clip(stretched, 0.0, 1.0), axis=0)
    centre = np.median(pooled, axis=0)
    quantiles = centre + (quantiles - centre) * min(2.0, 1 + _MARGIN * age / count)
    return np.maximum.accumulate(quantiles, axis=0)


def never_narrower(spread: Array, per_day: int) -> Array:
    """Widen each lead day's band to at least that of the day before.

    What is known of a day can't be less a day later; a band that narrows comes of
    having too few past forecasts of far leads.

    Parameters
    ----------
    spread : ndarray, shape (levels, days * per_day)
        Quantiles of residuals, rising along the first axis.
    per_day : int
        Slots a day.

    Returns
    -------
    ndarray, same shape
        Stretched from the middle where a day's mean width falls behind.

    Examples
    --------
    >>> import numpy as np
    >>> never_narrower(np.array([[-2.0, -1.0, -3.0], [2.0, 1.0, 3.0]]), 1)[1].tolist()
    [2.0, 2.0, 3.0]
    """
    made = spread.copy()
    before = 0.0
    for first in range(0, spread.shape[1], per_day):
        day = made[:, first : first + per_day]
        width = float((day[-1] - day[0]).mean())
        if 0 < width < before:
            middle = (day[-1] + day[0]) / 2
            made[:, first : first + per_day] = middle + (day - middle) * (before / width)
        before = max(before, width)
    return made


def adapt_width(log_width: float, *, missed_share: float, target_share: float, rate: float = _RATE) -> float:
    """Update how much wider a band must be, from how often the last one missed.

    Parameters
    ----------
    log_width : float
        Logarithm of the present factor on the band's width.
    missed_share : float
        Share of the last day's values outside the band.
    target_share : float
        Share that should be outside, e.g. 0.2 for an 80 % band.
    rate : float
        Step of the update.

    Returns
    -------
    float
        The new logarithm, within ±0.9 (0.4 to 2.5 times as wide).

    References
    ----------
    Gibbs and Candès 2021, "Adaptive conformal inference under distribution shift", NeurIPS 34, eq. 2,
    with the width in place of the level: it stays defined where residuals run out.

    Examples
    --------
    >>> adapt_width(0.0, missed_share=1.0, target_share=0.2) > 0
    True
    """
    return float(np.clip(log_width + rate * (missed_share - target_share), -_LIMIT, _LIMIT))


class AdaptiveBand:
    """Keeps a band's coverage near its level while the series drifts.

    Holds one width factor a lead day, and moves it by each forecast whose outcome
    has come to be known. The centre is not touched.

    Parameters
    ----------
    days : int
        Lead days.
    per_day : int
        Slots a day.

    Attributes
    ----------
    log_widths_ : ndarray, shape (days,)
        Logarithm of the factor on each lead day's width.
    """

    def __init__(self, days: int, per_day: int) -> None:
        self.per_day = per_day
        self.log_widths_ = np.zeros(days)
        self._waiting: list[tuple[int, Forecast]] = []

    def widened(self, forecast: Forecast) -> Forecast:
        """Stretch a forecast's quantiles from their middle, and remember it.

        Parameters
        ----------
        forecast : Forecast
            As the model made it, at a later issue time than the last one.

        Returns
        -------
        Forecast
            With the same centre.
        """
        factor = np.repeat(np.exp(self.log_widths_), self.per_day)[: len(forecast.slots)]
        logs = np.log(forecast.quantiles_g_per_kwh)
        middle = logs[forecast.levels.index(0.5)] if 0.5 in forecast.levels else (logs[0] + logs[-1]) / 2
        made = replace(forecast, quantiles_g_per_kwh=np.exp(middle + (logs - middle) * factor))
        self._waiting += [(day, made) for day in range(len(self.log_widths_))]
        return made

    def learn(self, known: CarbonSeries) -> None:
        """Adapt each lead day's width to every forecast of it that is now decided.

        Parameters
        ----------
        known : CarbonSeries
            What has come to be known; forecasts reaching behind its end wait on.
        """
        waiting: list[tuple[int, Forecast]] = []
        for day, forecast in self._waiting:
            cut = slice(day * self.per_day, min((day + 1) * self.per_day, len(forecast.slots)))
            if forecast.slots.start_s + cut.stop * forecast.slots.step_s > known.slots.end_s:
                waiting.append((day, forecast))
                continue
            first = (forecast.slots.start_s - known.slots.start_s) // known.slots.step_s
            actual = known.values_g_per_kwh[first + cut.start : first + cut.stop]
            low, high = forecast.quantiles_g_per_kwh[0, cut], forecast.quantiles_g_per_kwh[-1, cut]
            held = coverage_share(actual, low, high)
            if np.isfinite(held):
                missed, target = 1.0 - held, 1.0 - (forecast.levels[-1] - forecast.levels[0])
                width = float(self.log_widths_[day])
                self.log_widths_[day] = adapt_width(width, missed_share=missed, target_share=target)
        self._waiting = waiting

"""Additive seasonal smoothing fitted to many series at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.errors import ForecastError, TooLittleHistory
from aicsched.forecast.kernels.seasonal_fit import SEASONAL_FIT
from aicsched.jit import over_rows

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Array = NDArray[np.float64]

__all__ = ["SeasonalFit", "fit_seasonal"]

# Squares of values must stay far within float64, and their sums exact enough to compare.
_LARGEST: Final = 1e15


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SeasonalFit:
    """What was found for each of n series.

    Parameters
    ----------
    alpha : ndarray, shape (n,)
        Share of an error that the level takes up, in [0, 1].
    gamma : ndarray, shape (n,)
        Share of what the level left of it that the season takes up, in [0, 1].
    level : ndarray, shape (n,)
        After the last value.
    seasons : ndarray, shape (n, period)
        Departures from the level, the next step's first.
    rmse : ndarray, shape (n,)
        Root mean square of the one-step errors after the first period; NaN where no
        value came then.
    """

    alpha: Array
    gamma: Array
    level: Array
    seasons: Array
    rmse: Array

    def forecast(self, horizon: int) -> Array:
        """Foresee all series.

        Parameters
        ----------
        horizon : int
            How many steps.

        Returns
        -------
        ndarray, shape (n, horizon)
            The level plus the seasons.

        Raises
        ------
        ForecastError
            A horizon below 1.
        """
        if horizon < 1:
            msg = f"a horizon of {horizon} steps forecasts nothing"
            raise ForecastError(msg, hint="ask for at least 1 step", value=horizon)
        return self.level[:, None] + self.seasons[:, np.arange(horizon) % self.seasons.shape[1]]


def fit_seasonal(values: ArrayLike, period: int) -> SeasonalFit:
    """Fit additive seasonal smoothing, without a trend, to many series at once.

    The first period's mean and the mean departures from the periods' means start it;
    the parameters are those of the least squared one-step errors after the first
    period, by a search of 49 passes through each series that ends within about 0.1 %
    of the least error.

    Parameters
    ----------
    values : array_like, shape (n, t)
        One series a row, at least two periods and one step long; NaN is missing, and
        teaches nothing.
    period : int
        Steps of a season, at least 2.

    Returns
    -------
    SeasonalFit
        Parameters and last states.

    Raises
    ------
    TooLittleHistory
        Fewer than two periods and a step, or less than half known of the first two periods.
    ForecastError
        The shape or the period can't be used, or a value is infinite or beyond 1e15.

    References
    ----------
    Winters 1960, doi:10.1287/mnsc.6.3.324; ETS(A,N,A) of Hyndman et al. 2008,
    doi:10.1007/978-3-540-71918-2, whose gamma is ours times (1 - alpha).

    Examples
    --------
    >>> import numpy as np
    >>> hours = np.arange(24 * 28)
    >>> made = fit_seasonal([50 + 10 * np.sin(hours * np.pi / 12)], 24)
    >>> made.forecast(24).shape, bool(made.rmse[0] < 1e-6)
    ((1, 24), True)
    """
    taken = _checked(values, period)
    found = np.empty((len(taken), 4))
    seasons = np.empty((len(taken), period))
    run = SEASONAL_FIT.form(taken, period)

    def task(low: int, high: int) -> None:
        found[low:high], seasons[low:high] = run(taken[low:high], period)

    over_rows(task, len(taken))
    alpha, gamma, total, level = found.T
    count = (~np.isnan(taken[:, period:])).sum(axis=1)
    rmse = np.sqrt(np.where(count, total, np.nan) / np.maximum(count, 1))
    return SeasonalFit(alpha=alpha, gamma=gamma, level=level, seasons=seasons, rmse=rmse)


def _checked(values: ArrayLike, period: int) -> Array:
    try:
        taken = np.ascontiguousarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        msg = "the values are no rows of numbers"
        raise ForecastError(msg, hint="give one series a row, and NaN for what is missing") from error
    if taken.ndim != 2:
        msg = f"values of shape {taken.shape} are no rows of series"
        raise ForecastError(msg, hint="give an array of shape (series, steps)", value=taken.shape)
    if period < 2:
        msg = f"a season of {period} steps is none"
        raise ForecastError(msg, hint="use for example 24 for hours of a day", value=period)
    if taken.shape[1] <= 2 * period:
        msg = f"{taken.shape[1]} steps are too few for seasons of {period}"
        raise TooLittleHistory(msg, hint="give two periods and a step, or more", value=taken.shape[1])
    far = np.abs(taken) > _LARGEST
    if far.any():
        row, step = (int(place[0]) for place in np.nonzero(far))
        msg = f"series {row}: value {taken[row, step]:g} at step {step} is infinite or beyond {_LARGEST:g}"
        raise ForecastError(msg, hint="use a larger unit; leave unknown values NaN", value=row)
    bare = np.isnan(taken[:, : 2 * period]).sum(axis=1) > period
    if bare.any():
        row = int(np.argmax(bare))
        msg = f"series {row}: less than half of its first two periods is known"
        raise TooLittleHistory(msg, hint="start it where its values start", value=row)
    return taken

"""A seasonal profile that follows the level: what needs two days and a microsecond.

Additive seasonal smoothing of log intensity by the hour of day. The smoothing
pair is the one that would have foreseen a day ahead best.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self

import numpy as np

from aicsched.domain.carbon import frozen_array
from aicsched.domain.forecast import Forecast
from aicsched.forecast.base import LEVELS, History, need, prepare
from aicsched.forecast.intervals import residual_quantiles
from aicsched.forecast.kernels import SMOOTH
from aicsched.slots import SlotGrid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from aicsched.domain.carbon import CarbonSeries
    from aicsched.forecast.weather import WeatherVintages

    Array = NDArray[np.float64]

__all__ = ["SeasonalProfile"]

MIN_DAYS: Final = 3.0
_USED_DAYS: Final = 56
_CALIBRATION_DAYS: Final = 28
_ALPHAS: Final = frozen_array(np.repeat([0.01, 0.03, 0.1], 4))
_GAMMAS: Final = frozen_array(np.tile([0.05, 0.1, 0.2, 0.4], 3))


class SeasonalProfile:
    """Level plus hour-of-day profile, both smoothed, in log space.

    Parameters
    ----------
    levels : sequence of float
        Quantile levels to forecast.

    Attributes
    ----------
    history_ : History
        What was learned from, its last 56 days being used.

    References
    ----------
    Winters 1960, doi:10.1287/mnsc.6.3.324, additive and without a trend.
    """

    name = "seasonal"

    def __init__(self, levels: Sequence[float] = LEVELS) -> None:
        self.levels = tuple(levels)
        self.history_: History | None = None

    def fit(self, history: CarbonSeries, *, weather: WeatherVintages | None = None) -> Self:
        """Learn from a history.

        Parameters
        ----------
        history : CarbonSeries
            At least 3 days.
        weather : WeatherVintages, optional
            Not used.

        Returns
        -------
        SeasonalProfile
            Itself.

        Raises
        ------
        TooLittleHistory, SignalGap, SlotError
            The history can't be used.
        """
        del weather
        self.history_ = prepare(history, min_days=MIN_DAYS, model=self.name)
        return self

    def update(self, history: CarbonSeries) -> Self:
        """Take a longer history: learning costs so little that it is done anew.

        Parameters
        ----------
        history : CarbonSeries
            The new one.

        Returns
        -------
        SeasonalProfile
            Itself.
        """
        return self.fit(history)

    def predict(self, issue_time_s: int, horizon: int) -> Forecast:
        """Forecast the slots from the issue time on.

        Parameters
        ----------
        issue_time_s : int
            On the history's grid, not behind its end; later values are not read.
        horizon : int
            How many slots.

        Returns
        -------
        Forecast
            The profile at the last level, with conformal bands.

        Raises
        ------
        NotFitted
            Before `fit`.
        TooLittleHistory
            The issue time leaves less than 3 days of past.
        """
        need(self.history_, self.name)
        assert self.history_ is not None  # noqa: S101 - told to the type checker
        history = self.history_
        origin = history.index_of(issue_time_s)
        prepare(history.series.before(issue_time_s), min_days=MIN_DAYS, model=self.name)
        period = history.per_day
        values = frozen_array(history.log_values[max(0, origin - _USED_DAYS * period) : origin])
        level, season = self._smoothed(values, period)
        lead = np.arange(horizon)
        centre = level[-1] + season[len(values) - period + lead % period]
        days = range(-(-horizon // period))
        residuals = [self._residuals(values, level, season, period, day) for day in days]
        spread = np.concatenate([residual_quantiles(item, self.levels) for item in residuals], axis=1)[:, :horizon]
        return Forecast(
            grid_zone=history.series.grid_zone,
            kind=history.series.kind,
            slots=SlotGrid(issue_time_s, history.series.slots.step_s, horizon),
            issue_time_s=issue_time_s,
            mean_g_per_kwh=np.exp(centre),
            levels=self.levels,
            quantiles_g_per_kwh=np.exp(centre + spread),
            model=self.name,
            source=history.series.source,
            flags=history.flags(),
            synthetic=history.series.synthetic,
        )

    @staticmethod
    def _smoothed(values: Array, period: int) -> tuple[Array, Array]:
        levels, seasons = SMOOTH(values, _ALPHAS, _GAMMAS, period)
        foreseen = levels[:, :-period] + seasons[:, :-period]
        errors = ((values[period:] - foreseen)[:, period:] ** 2).mean(axis=1)
        best = int(errors.argmin())
        return levels[best], seasons[best]

    @staticmethod
    def _residuals(values: Array, level: Array, season: Array, period: int, day: int) -> Array:
        """Return what forecasts from past origins missed by on one lead day, shape (n, period)."""
        last = len(values) - (day + 1) * period
        origins = np.arange(last, period - 1, -period)[:_CALIBRATION_DAYS]
        if not len(origins):
            # A lead beyond the history: the widest day that is known stands in, twice as wide.
            return 2.0 * SeasonalProfile._residuals(values, level, season, period, day - 1)
        hour = np.arange(period)
        foreseen = level[origins - 1][:, None] + season[origins[:, None] - period + hour]
        return values[origins[:, None] + day * period + hour] - foreseen

"""A seasonal profile that follows the level: what needs two days and a microsecond.

Additive seasonal smoothing of log intensity by the time of day, after the weekend's
usual departure was taken out (from two weeks on). The smoothing pair is the one
that would have foreseen a day ahead best.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Self

import numpy as np

from aicsched.domain.carbon import frozen_array
from aicsched.domain.forecast import PastErrors
from aicsched.forecast.base import DAY_S, LEVELS, Covariates, History, need, prepare
from aicsched.forecast.intervals import never_narrower, residual_quantiles
from aicsched.forecast.kernels import SMOOTH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from aicsched.domain.carbon import CarbonSeries
    from aicsched.domain.forecast import Forecast

    Array = NDArray[np.float64]

__all__ = ["SeasonalProfile"]

MIN_DAYS: Final = 2.0
_USED_DAYS: Final = 56
_CALIBRATION_DAYS: Final = 28
_WEEKEND_MIN_DAYS: Final = 14
# A median of eight weekends is noisy: four fifths of it foresaw best on January to June 2021.
_WEEKEND_SHARE: Final = 0.8
# Fewer past origins than this don't give quantiles of their own.
_MIN_ROWS: Final = 10
# How much of a day's error is still there a day later, and by how much the misses of one to nine days
# must be widened to hold what they promise: measured on January to June 2021 of eight grids.
_PERSISTENCE: Final = 0.85
_FEW_FACTORS: Final = (1.25, 1.13, 1.07, 1.05, 1.04, 1.03, 1.02, 1.0, 1.0)
_ALPHAS: Final = frozen_array(np.repeat([0.01, 0.03, 0.1], 4))
_GAMMAS: Final = frozen_array(np.tile([0.05, 0.1, 0.2, 0.4], 3))


class _State(NamedTuple):
    """The smoothed past of one series."""

    values: Array  # log intensity without the weekend's departure, shape (n,)
    known: NDArray[np.bool_]  # shape (n,)
    level: Array  # shape (n,)
    season: Array  # shape (n,)
    weekend: Array  # departure per slot, from the first value to the last lead, shape (n + horizon,)


class SeasonalProfile:
    """Level plus time-of-day profile, both smoothed, in log space, with a weekend departure.

    Parameters
    ----------
    levels : sequence of float
        Quantile levels to forecast, rising.

    Attributes
    ----------
    history_ : History
        What was learned from, its last 56 days being used.

    References
    ----------
    Winters 1960, doi:10.1287/mnsc.6.3.324, additive and without a trend.

    Examples
    --------
    >>> from aicsched.testing import example_series
    >>> series = example_series(days=9)
    >>> SeasonalProfile().fit(series).predict(series.slots.end_s, 48).mean_g_per_kwh.shape
    (48,)
    """

    name = "seasonal"

    def __init__(self, levels: Sequence[float] = LEVELS) -> None:
        self.levels = levels
        self.history_: History | None = None

    def fit(self, history: CarbonSeries, *, covariates: Covariates | None = None) -> Self:
        """Learn from a history.

        Parameters
        ----------
        history : CarbonSeries
            At least 2 days.
        covariates : Covariates, optional
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
        del covariates
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

        Raises
        ------
        NotFitted, TooLittleHistory, SignalGap, SlotError
            Before `fit`, or the history can't be used.
        """
        need(self.history_, self.name, 1)
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
        SlotError
            The issue time is off the grid.
        TooLittleHistory
            The issue time leaves less than 2 days of past.
        """
        history = need(self.history_, self.name, horizon)
        if history.index_of(issue_time_s) < len(history.log_values):
            history = prepare(history.series.before(issue_time_s), min_days=MIN_DAYS, model=self.name)
        period = history.per_day
        state = _smoothed(history, horizon)
        lead = np.arange(horizon)
        centre = state.level[-1] + state.season[len(state.values) - period + lead % period]
        centre = centre + state.weekend[len(state.values) :]
        days = range(-(-horizon // period))
        spread = np.concatenate([_spread(state, period, day, self.levels) for day in days], axis=1)
        spread = never_narrower(spread, period)[:, :horizon]
        return history.forecast(
            issue_time_s,
            centre,
            spread,
            levels=self.levels,
            model=self.name,
            past_errors=_past_errors(state, history, horizon),
        )


def _smoothed(history: History, horizon: int) -> _State:
    """Run the smoothing under every pair of the grid, and keep the best."""
    period, slots = history.per_day, history.series.slots
    raw = history.log_values[-_USED_DAYS * period :]
    first_s = slots.end_s - len(raw) * slots.step_s
    starts_s = first_s + slots.step_s * np.arange(len(raw) + horizon, dtype=np.int64)
    weekend = _weekend(raw, starts_s, period)
    values = frozen_array(raw - weekend[: len(raw)])
    levels, seasons = SMOOTH(values, _ALPHAS, _GAMMAS, period)
    # At t the forecast for t + period is the level after t plus the profile after t.
    errors = values[period:] - levels[:, :-period] - seasons[:, :-period]
    burned = period if errors.shape[1] > period else 0
    best = int((errors[:, burned:] ** 2).mean(axis=1).argmin())
    return _State(values, history.known[-len(raw) :], levels[best], seasons[best], weekend)


def _weekend(raw: Array, starts_s: NDArray[np.int64], period: int) -> Array:
    """Return how far weekend slots usually lie from the workdays around them.

    Per UTC weekend day and time of day the median over weeks of the value minus
    the mean of the same time on the workdays within three days: robust against one odd weekend.
    """
    usual = np.zeros(len(starts_s))
    if len(raw) < _WEEKEND_MIN_DAYS * period:
        return usual
    weekday = (starts_s // DAY_S + 3) % 7
    days = len(raw) // period
    folded = raw[-days * period :].reshape(days, period)
    kinds = weekday[len(raw) - days * period : len(raw)].reshape(days, period)
    work = kinds < 5
    reach = (np.abs(np.arange(days)[:, None] - np.arange(days)) <= 3).astype(np.float64)
    near = (reach @ np.where(work, folded, 0.0)) / np.maximum(reach @ work.astype(np.float64), 1.0)
    phase = (np.arange(len(starts_s)) - (len(raw) - days * period)) % period
    for kind in (5, 6):
        away = np.where(kinds == kind, folded - near, np.nan)
        seen = np.isfinite(away).any(axis=0)
        middle = np.zeros(period)
        middle[seen] = np.nanmedian(away[:, seen], axis=0)
        usual = np.where(weekday == kind, _WEEKEND_SHARE * middle[phase], usual)
    return usual


def _spread(state: _State, period: int, day: int, levels: Sequence[float]) -> Array:
    """Return quantiles of the residuals of one lead day, shape (levels, period).

    A lead day that too few past origins saw is drawn from the furthest that enough of
    them saw, wider as errors grow with lead. Where a history is so short that there is
    none, its few misses are pooled over the hours, taken as likely up as down, and
    widened for being few.
    """
    seen = len(state.values) // period - 1 - _MIN_ROWS
    if day <= seen:
        return residual_quantiles(_residuals(state, period, day), levels, age=day + 1)
    if seen >= 0:
        known = residual_quantiles(_residuals(state, period, seen), levels, age=seen + 1)
        return _growth(day) / _growth(seen) * known
    missed = np.abs(_residuals(state, period, 0))
    days = len(missed)
    # What was filled in is missed by little: it tells nothing of what will be.
    told = state.known[-days * period :].reshape(days, period)[::-1]
    missed = missed[told] if told.any() else missed
    side = 2.0 * np.asarray(levels, dtype=np.float64) - 1.0
    sizes = np.sign(side) * np.quantile(missed, np.abs(side))
    return _growth(day) * _FEW_FACTORS[days - 1] * np.repeat(sizes[:, None], period, axis=1)


def _growth(day: int) -> float:
    """Return how much larger errors are on a lead day than on the first: an AR(1) process by days."""
    return float(((1 - _PERSISTENCE ** (2 * day + 2)) / (1 - _PERSISTENCE**2)) ** 0.5)


def _residuals(state: _State, period: int, day: int) -> Array:
    """Return what forecasts from past origins missed by on one lead day, shape (n, period)."""
    last = len(state.values) - (day + 1) * period
    origins = np.arange(last, period - 1, -period)[:_CALIBRATION_DAYS]
    hour = np.arange(period)
    foreseen = state.level[origins - 1][:, None] + state.season[origins[:, None] - period + hour]
    return state.values[origins[:, None] + day * period + hour] - foreseen


def _past_errors(state: _State, history: History, horizon: int) -> PastErrors | None:
    """Return what forecasts over the whole horizon missed by, from the origins that saw its end."""
    period, slots, lead = history.per_day, history.series.slots, np.arange(horizon)
    last = len(state.values) - -(-horizon // period) * period
    origins = np.arange(last, period - 1, -period)[:_CALIBRATION_DAYS][::-1]
    if not len(origins):
        return None
    foreseen = state.level[origins - 1][:, None] + state.season[origins[:, None] - period + lead % period]
    times_s = slots.end_s - slots.step_s * (len(state.values) - origins)
    return PastErrors.of(times_s, state.values[origins[:, None] + lead] - foreseen)

"""Direct multi-horizon ridge regression in log space.

What was known at the issue time (see `features`) gives all slots of four lead
days at once; with weather, whose columns differ by lead day, one regression gives
each. What is learned is the departure from the profile of the last seven days, so
that a short history shrinks to that profile and not to a constant. The newest
errors of the same lead day then shift the centre a little (an online bias term).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Self

import numpy as np

from aicsched.errors import SignalGap
from aicsched.forecast.base import LEVELS, Covariates, History, need, prepare
from aicsched.forecast.intervals import debiased, never_narrower, residual_quantiles
from aicsched.forecast.models.features import (
    LONG_REACH_DAYS,
    SHORT_REACH_DAYS,
    Table,
    base_table,
    past_days,
    weather_table,
)
from aicsched.forecast.models.regression import Regression, learn
from aicsched.slots import format_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from aicsched.domain.carbon import CarbonSeries
    from aicsched.domain.forecast import Forecast

    Array = NDArray[np.float64]
    Indices = NDArray[np.int64]

__all__ = ["LogRidge"]

_SEGMENT_DAYS: Final = 4
_MIN_ROWS: Final = 10
_MIN_WEATHER_ROWS: Final = 45
_LONG_DAYS: Final = 120
_BIAS_DAYS: Final = 10
# How much of the last days' mean error is taken over. Without weather it tells of tomorrow, hardly of
# the days behind; chosen on January to June 2021.
_BIAS_SHARES: Final = (0.35, 0.1)
_WEATHER_BIAS_SHARE: Final = 0.35


class _Segment(NamedTuple):
    """Lead days that one regression gives."""

    first_day: int
    days: int
    weather: bool

    def bias_share(self, day: int) -> float:
        """Return how much of the recent error of a lead day is taken over."""
        if self.weather:
            return _WEATHER_BIAS_SHARE
        return _BIAS_SHARES[day] if day < len(_BIAS_SHARES) else 0.0


class _Learned(NamedTuple):
    """A segment's regression and its band."""

    regression: Regression
    spread: Array  # shape (levels, days * per_day)


class LogRidge:
    """Ridge regression of log intensity, all slots of several lead days at once.

    Parameters
    ----------
    levels : sequence of float
        Quantile levels to forecast, rising.

    Attributes
    ----------
    history_ : History
        What was learned from, or the newer one of `update`.
    learned_ : dict
        Regressions by time of day and lead days, learned when they are first asked for.

    Notes
    -----
    Needs 21 days of history for up to four lead days, and four days more for each
    four lead days beyond; from 120 days on it uses 28-day profiles and the seasons
    too. The hour of the issue time fixes which past origins it learns from, so the
    first forecast at another hour learns anew.

    Examples
    --------
    >>> from aicsched.testing import example_series
    >>> series = example_series()
    >>> forecast = LogRidge().fit(series).predict(series.slots.end_s, 96)
    >>> forecast.mean_g_per_kwh.shape, forecast.flags
    ((96,), ())
    """

    name = "ridge"

    def __init__(self, levels: Sequence[float] = LEVELS) -> None:
        self.levels = levels
        self.history_: History | None = None
        self.learned_: dict[tuple[int, _Segment], _Learned] = {}
        self._covariates: Covariates | None = None
        self._fit_end_s = 0
        self._long = False

    def fit(self, history: CarbonSeries, *, covariates: Covariates | None = None) -> Self:
        """Learn from a history.

        Parameters
        ----------
        history : CarbonSeries
            At least 21 days.
        covariates : Covariates, optional
            Weather forecasts of the zone as they were issued.

        Returns
        -------
        LogRidge
            Itself. A regression is solved when it is first asked for.

        Raises
        ------
        TooLittleHistory, SignalGap, SlotError
            The history can't be used.
        """
        self.history_ = prepare(history, min_days=_min_days(1), model=self.name)
        self.learned_ = {}
        self._covariates = covariates
        self._fit_end_s = history.slots.end_s
        self._long = len(self.history_.log_values) >= _LONG_DAYS * self.history_.per_day
        return self

    def update(self, history: CarbonSeries) -> Self:
        """Take a longer history with the weights as they are.

        Parameters
        ----------
        history : CarbonSeries
            Starts as the one of `fit` did.

        Returns
        -------
        LogRidge
            Itself.

        Raises
        ------
        NotFitted, TooLittleHistory, SignalGap, SlotError
            Before `fit`, or the history can't be used.
        """
        need(self.history_, self.name, 1)
        self.history_ = prepare(history, min_days=_min_days(1), model=self.name)
        return self

    def predict(self, issue_time_s: int, horizon: int) -> Forecast:
        """Forecast the slots from the issue time on.

        Parameters
        ----------
        issue_time_s : int
            On the history's grid, not behind its end. An earlier one than the end
            of what was learned from is answered by learning anew from its past.
        horizon : int
            How many slots.

        Returns
        -------
        Forecast
            Flagged ``weather-unused:dN`` where weather was offered but not at hand
            for lead day N, or not in enough past forecasts to learn from.

        Raises
        ------
        NotFitted
            Before `fit`.
        SlotError
            The issue time is off the grid.
        TooLittleHistory
            The history is too short for so long a horizon.
        """
        history = need(self.history_, self.name, horizon)
        origin = history.index_of(issue_time_s)
        days = -(-horizon // history.per_day)
        past = history.series.before(issue_time_s)
        if issue_time_s < self._fit_end_s:
            return (
                type(self)(self.levels).fit(past, covariates=self._covariates).predict(issue_time_s, horizon)
            )
        if origin < len(history.log_values) or days > _SEGMENT_DAYS:
            history = prepare(past, min_days=_min_days(days), model=self.name)
        centre, spread, used = self._foreseen(history, origin, days)
        centre, spread = centre[:horizon], never_narrower(spread, history.per_day)[:, :horizon]
        offered = self._covariates is not None and self._covariates.weather is not None
        unused = tuple(f"weather-unused:d{day + 1}" for day in range(days) if offered and not used[day])
        return history.forecast(
            issue_time_s, centre, spread, levels=self.levels, model=self.name, flags=unused
        )

    def _foreseen(self, history: History, origin: int, days: int) -> tuple[Array, Array, list[bool]]:
        """Return centre and spread in log space, and which days the weather was used for."""
        reach = self._reach(history)
        centres: list[Array] = []
        spreads: list[Array] = []
        used: list[bool] = []
        segments = [self._segment(history, origin, day) for day in range(days)]
        for segment in dict.fromkeys(segments):
            rows = origin - history.per_day * np.arange(segment.first_day + segment.days + _BIAS_DAYS)
            rows = rows[rows >= reach]
            learned = self._learned(history, origin, segment)
            foreseen = learned.regression(self._table(history, rows, segment).values)
            for day in range(segment.first_day, segment.first_day + segment.days):
                cut = slice(
                    (day - segment.first_day) * history.per_day,
                    (day - segment.first_day + 1) * history.per_day,
                )
                if day < days and segments[day] == segment:
                    bias = segment.bias_share(day) * self._recent_error(history, rows, foreseen[:, cut], day)
                    profile = past_days(history, rows[:1], SHORT_REACH_DAYS).mean(axis=1)[0]
                    centres.append(profile + foreseen[0, cut] + bias)
                    spreads.append(learned.spread[:, cut])
                    used.append(segment.weather)
        return np.concatenate(centres), np.concatenate(spreads, axis=1), used

    def _recent_error(self, history: History, rows: Indices, foreseen: Array, day: int) -> float:
        """Return the mean error of a lead day over the last ten origins whose outcome is known."""
        due = slice(day + 1, day + 1 + _BIAS_DAYS)
        missed = _targets(history, rows[due], day, 1) - foreseen[due]
        missed = missed[np.isfinite(missed).all(axis=1)]
        return float(missed.mean()) if len(missed) else 0.0

    def _segment(self, history: History, origin: int, day: int) -> _Segment:
        """Choose the regression of a lead day: with weather where it is at hand, now and in the past."""
        own = _Segment(day, 1, weather=True)
        if self._covariates is not None and self._covariates.weather is not None:
            here = weather_table(self._covariates.weather, _times_s(history, np.array([origin])), day).values
            if np.isfinite(here).all() and self._weather_rows(history, origin, day) >= _MIN_WEATHER_ROWS:
                return own
        return _Segment(day - day % _SEGMENT_DAYS, _SEGMENT_DAYS, weather=False)

    def _weather_rows(self, history: History, origin: int, day: int) -> int:
        """Return from how many past origins a regression with weather can learn."""
        key = (origin % history.per_day, _Segment(day, 1, weather=True))
        if key in self.learned_:
            return _MIN_WEATHER_ROWS
        rows = self._training_rows(history, origin, key[1])
        return int(np.isfinite(self._table(history, rows, key[1]).values).all(axis=1).sum())

    def _learned(self, history: History, origin: int, segment: _Segment) -> _Learned:
        key = (origin % history.per_day, segment)
        if key not in self.learned_:
            self.learned_[key] = self._learn(history, origin, segment)
        return self.learned_[key]

    def _learn(self, history: History, origin: int, segment: _Segment) -> _Learned:
        rows = self._training_rows(history, origin, segment)
        table = self._table(history, rows, segment)
        whole = np.isfinite(table.values).all(axis=1)
        if whole.sum() < _MIN_ROWS:
            when = format_time(self._fit_end_s)
            msg = (
                f"{history.series.grid_zone}: gaps leave {int(whole.sum())} days before {when} to learn from"
            )
            raise SignalGap(msg, hint="give more past, or use the model 'seasonal'", value=int(whole.sum()))
        targets = _targets(history, rows[whole], segment.first_day, segment.days)
        regression = learn(
            Table(table.values[whole], table.emphasis),
            targets,
            outputs_a_group=history.per_day,
            gap=segment.first_day + segment.days - 1,
        )
        spreads: list[Array] = []
        for index in range(segment.days):
            day = segment.first_day + index
            residuals = regression.residuals[:, index * history.per_day : (index + 1) * history.per_day]
            fair = debiased(residuals, age=day + 1, days=_BIAS_DAYS, share=segment.bias_share(day))
            spreads.append(residual_quantiles(fair, self.levels, age=day + 1))
        return _Learned(regression, np.concatenate(spreads, axis=1))

    def _training_rows(self, history: History, origin: int, segment: _Segment) -> Indices:
        """Return the past origins at this time of day whose outcome was known when it learned."""
        per_day = history.per_day
        end = (self._fit_end_s - history.series.slots.start_s) // history.series.slots.step_s
        ahead = per_day * (segment.first_day + segment.days)
        last = end - (end - origin) % per_day - ahead
        rows = np.arange(last, self._reach(history) - 1, -per_day)[::-1]
        return rows[history.teaching(rows, ahead - per_day * segment.days, ahead)] if len(rows) else rows

    def _reach(self, history: History) -> int:
        """Return the earliest origin that has all features."""
        return (LONG_REACH_DAYS if self._long else SHORT_REACH_DAYS) * history.per_day

    def _table(self, history: History, rows: Indices, segment: _Segment) -> Table:
        table = base_table(history, rows, long=self._long)
        if not segment.weather:
            return table
        assert self._covariates is not None  # noqa: S101 - told to the type checker
        assert self._covariates.weather is not None  # noqa: S101
        outside = weather_table(self._covariates.weather, _times_s(history, rows), segment.first_day)
        return Table(
            np.concatenate([table.values, outside.values], axis=1),
            np.concatenate([table.emphasis, outside.emphasis]),
        )


def _min_days(days: int) -> float:
    """Return how much history so many lead days need [days]."""
    return SHORT_REACH_DAYS + _MIN_ROWS + _SEGMENT_DAYS * -(-days // _SEGMENT_DAYS)


def _times_s(history: History, rows: Indices) -> Indices:
    return history.series.slots.start_s + history.series.slots.step_s * rows


def _targets(history: History, rows: Indices, first_day: int, days: int) -> Array:
    """Return the departures from each origin's 7-day profile, shape (n, days * per_day)."""
    index = rows[:, None] + history.per_day * first_day + np.arange(days * history.per_day)
    profile = past_days(history, rows, SHORT_REACH_DAYS).mean(axis=1)
    return history.log_values[index] - np.tile(profile, days)

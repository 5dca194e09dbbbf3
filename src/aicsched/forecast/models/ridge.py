"""Direct multi-horizon ridge regression in log space.

What was known at the issue time (see `features`) gives all slots of four lead
days at once; with weather, whose columns differ by lead day, one regression gives
each. What is learned is the departure from the profile of the last seven days, so
that a short history shrinks to that profile and not to a constant. The newest
errors of the same lead day then shift the centre a little (an online bias term).
"""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from aicsched.domain.flags import Flag
from aicsched.domain.forecast import PastErrors
from aicsched.forecast.base import LEVELS, Covariates, History, need, prepare
from aicsched.forecast.intervals import debiased, never_narrower, residual_quantiles
from aicsched.forecast.models.direct import (
    MIN_ROWS,
    SEGMENT_DAYS,
    DirectRidge,
    Past,
    Segment,
    profile,
    targets,
)
from aicsched.forecast.models.features import SHORT_REACH_DAYS
from aicsched.forecast.models.outside import Outside, known_mix

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from aicsched.domain.carbon import CarbonSeries
    from aicsched.domain.forecast import Forecast

    Array = NDArray[np.float64]
    Indices = NDArray[np.int64]

__all__ = ["LogRidge"]

_LONG_DAYS: Final = 120
_BIAS_DAYS: Final = 10
# How much of the last days' mean error is taken over. Without weather it tells of tomorrow, hardly of
# the days behind; chosen on January to June 2021.
_BIAS_SHARES: Final = (0.35, 0.1)
_WEATHER_BIAS_SHARE: Final = 0.15


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
    direct_ : DirectRidge
        Its regressions by time of day and lead days, learned when they are first asked for.

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
    _leaves_out = False

    def __init__(self, levels: Sequence[float] = LEVELS) -> None:
        self.levels = levels
        self.history_: History | None = None
        self.direct_: DirectRidge | None = None
        self._covariates: Covariates | None = None
        self._mix_names: tuple[str, ...] | None = None
        self._spreads: dict[tuple[int, Segment], Array] = {}
        self._past_errors: dict[tuple[int, tuple[Segment, ...], int], PastErrors | None] = {}

    def fit(self, history: CarbonSeries, *, covariates: Covariates | None = None) -> Self:
        """Learn from a history.

        Parameters
        ----------
        history : CarbonSeries
            At least 21 days.
        covariates : Covariates, optional
            Weather forecasts of the zone as they were issued, and beside them its source mix.

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
        long = len(self.history_.log_values) >= _LONG_DAYS * self.history_.per_day
        self.direct_ = DirectRidge(history.slots.end_s, long=long, leave_out=self._leaves_out)
        self._covariates, self._spreads, self._past_errors = covariates, {}, {}
        mix = known_mix(covariates.mix, self.history_) if covariates is not None else None
        self._mix_names = mix.names if mix is not None else None
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
            for lead day N, or not in enough past forecasts to learn from, and
            ``mix-unused`` where the mix was offered but for no lead day of use.

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
        before = history.series.before(issue_time_s)
        assert self.direct_ is not None  # noqa: S101 - told to the type checker: fit made it
        if issue_time_s < self.direct_.fit_end_s:
            anew = type(self)(self.levels).fit(before, covariates=self._covariates)
            return anew.predict(issue_time_s, horizon)
        if origin < len(history.log_values) or days > SEGMENT_DAYS:
            history = prepare(before, min_days=_min_days(days), model=self.name)
        past = self._past(history)
        segments = [self.direct_.segment(past, origin, day) for day in range(days)]
        centre, spread = self._foreseen(past, origin, segments)
        return history.forecast(
            issue_time_s,
            centre[:horizon],
            never_narrower(spread, history.per_day)[:, :horizon],
            levels=self.levels,
            model=self.name,
            flags=self._unused(segments),
            past_errors=self._errors_over(past, origin, segments, horizon),
        )

    def _unused(self, segments: list[Segment]) -> tuple[str, ...]:
        """Tell what was offered and not used."""
        offered = self._covariates or Covariates()
        days = [day + 1 for day, segment in enumerate(segments) if not segment.weather]
        weather = tuple(Flag.WEATHER_UNUSED.of(f"d{day}") for day in days if offered.weather is not None)
        mix = offered.mix is not None and not any(segment.mix for segment in segments)
        return (*weather, Flag.MIX_UNUSED.value) if mix else weather

    def _past(self, history: History) -> Past:
        """Return the history with the weather and the mix beside it."""
        offered = self._covariates
        if offered is None or offered.weather is None:
            return Past(history)
        mix = known_mix(offered.mix, history, names=self._mix_names)
        return Past(history, Outside(offered.weather, history, mix))

    def _foreseen(self, past: Past, origin: int, segments: list[Segment]) -> tuple[Array, Array]:
        """Return centre and spread in log space, over the lead days of the segments."""
        per_day = past.history.per_day
        centres: list[Array] = []
        spreads: list[Array] = []
        for segment in dict.fromkeys(segments):
            rows = origin - per_day * np.arange(segment.first_day + segment.days + _BIAS_DAYS)
            rows = rows[rows >= self._direct(past).reach(past)]
            foreseen = self._departures(past, origin, rows, segment)
            spread = self._spread(past, origin, segment)
            for index in range(segment.days):
                day = segment.first_day + index
                if day < len(segments) and segments[day] == segment:
                    cut = slice(index * per_day, (index + 1) * per_day)
                    missed = self._recent_error(past.history, rows, foreseen[:, cut], day)
                    usual = profile(past.history, rows[:1])[0]
                    centres.append(usual + foreseen[0, cut] + _bias_share(segment, day) * missed)
                    spreads.append(spread[:, cut])
        return np.concatenate(centres), np.concatenate(spreads, axis=1)

    def _departures(self, past: Past, origin: int, rows: Indices, segment: Segment) -> Array:
        """Return what is foreseen from some origins, as departures from their profiles."""
        return self._direct(past).departures(past, origin, rows, segment)

    def _residuals(self, past: Past, origin: int, segment: Segment) -> Array:
        """Return what was missed on days not learned from, shape (n, days * per_day)."""
        return self._direct(past).learned(past, origin, segment).regression.residuals

    def _fair_residuals(self, past: Past, origin: int, segment: Segment) -> list[Array]:
        """Return the residuals of each lead day of a segment as the online bias term leaves them."""
        per_day = past.history.per_day
        residuals = self._residuals(past, origin, segment)
        made: list[Array] = []
        for index in range(segment.days):
            day = segment.first_day + index
            own = residuals[:, index * per_day : (index + 1) * per_day]
            made.append(debiased(own, age=day + 1, days=_BIAS_DAYS, share=_bias_share(segment, day)))
        return made

    def _spread(self, past: Past, origin: int, segment: Segment) -> Array:
        """Return the quantiles of what a segment misses by, shape (levels, days * per_day)."""
        key = (origin % past.history.per_day, segment)
        if key not in self._spreads:
            spreads = [
                residual_quantiles(fair, self.levels, age=segment.first_day + index + 1)
                for index, fair in enumerate(self._fair_residuals(past, origin, segment))
            ]
            self._spreads[key] = np.concatenate(spreads, axis=1)
        return self._spreads[key]

    def _errors_over(
        self, past: Past, origin: int, segments: list[Segment], horizon: int
    ) -> PastErrors | None:
        """Return the residuals over all lead days, from the origins that all of them have."""
        key = (origin % past.history.per_day, tuple(segments), horizon)
        if key not in self._past_errors:
            parts: list[tuple[Indices, list[Array]]] = []
            for segment in dict.fromkeys(segments):
                fair = self._fair_residuals(past, origin, segment)
                issue_s = self._direct(past).learned(past, origin, segment).issue_s
                parts.append((issue_s[-len(fair[0]) :], fair))
            common = reduce(np.intersect1d, [issue_s for issue_s, _ in parts])
            errors = [day[np.isin(issue_s, common)] for issue_s, fair in parts for day in fair]
            told = np.concatenate(errors, axis=1)[:, :horizon]
            self._past_errors[key] = PastErrors.of(common, told) if len(common) else None
        return self._past_errors[key]

    def _recent_error(self, history: History, rows: Indices, foreseen: Array, day: int) -> float:
        """Return the mean error of a lead day over the last ten origins whose outcome is known."""
        due = slice(day + 1, day + 1 + _BIAS_DAYS)
        missed = targets(history, rows[due], day, 1) - foreseen[due]
        missed = missed[np.isfinite(missed).all(axis=1)]
        return float(missed.mean()) if len(missed) else 0.0

    def _direct(self, past: Past) -> DirectRidge:
        assert self.direct_ is not None, past  # noqa: S101 - told to the type checker: fit made it
        return self.direct_


def _bias_share(segment: Segment, day: int) -> float:
    """Return how much of the recent error of a lead day is taken over."""
    if segment.weather:
        return _WEATHER_BIAS_SHARE
    return _BIAS_SHARES[day] if day < len(_BIAS_SHARES) else 0.0


def _min_days(days: int) -> float:
    """Return how much history so many lead days need [days]."""
    return SHORT_REACH_DAYS + MIN_ROWS + SEGMENT_DAYS * -(-days // SEGMENT_DAYS)

"""Direct multi-horizon ridge regression in log space.

One regression per lead day gives that day's slots at once from what was known
at the issue time: the last three days, profiles of the last 7 and 28 days, the
days' means, the calendar and, where offered, the weather as it was forecast at
the time. What is learned is the departure from the 7-day profile, so that a
short history shrinks to that profile and not to a constant. The penalty is
chosen on the last origins, whose errors then calibrate the intervals.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from aicsched.domain.forecast import Forecast
from aicsched.forecast.base import DAY_S, LEVELS, History, need, prepare
from aicsched.forecast.intervals import residual_quantiles
from aicsched.slots import SlotGrid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from aicsched.domain.carbon import CarbonSeries
    from aicsched.forecast.weather import WeatherVintages

    Array = NDArray[np.float64]

__all__ = ["LogRidge"]

MIN_DAYS: Final = 21.0
_PENALTIES: Final = np.logspace(-1, 5, 25)
_VALIDATION_DAYS: Final = 90
_LONG_DAYS: Final = 120
_BIAS_DAYS: Final = 10
_BIAS_SHARE: Final = 0.35
_YEAR_S: Final = 365.2425 * DAY_S


@dataclass(frozen=True, slots=True, eq=False)
class _Regression:
    """One lead day's weights, and what it missed on the validation origins."""

    mean: Array
    scale: Array
    weights: Array
    intercept: Array
    residuals: Array

    def __call__(self, features: Array) -> Array:
        return (features - self.mean) / self.scale @ self.weights + self.intercept


def _solve(features: Array, targets: Array) -> _Regression:
    """Choose the penalty on the last origins, then learn from all."""
    count = len(features)
    held = min(_VALIDATION_DAYS, max(3, count // 4))
    early, late = slice(0, count - held), slice(count - held, count)
    mean, scale = features.mean(axis=0), features.std(axis=0)
    scale[scale < 1e-9] = 1.0  # noqa: PLR2004 - a constant column carries nothing
    inputs = (features - mean) / scale
    errors = _validation_errors(inputs, targets, early, late)
    best = int((errors**2).mean(axis=(1, 2)).argmin())
    intercept = targets.mean(axis=0)
    gram = inputs.T @ inputs
    gram[np.diag_indices_from(gram)] += _PENALTIES[best]
    weights = np.linalg.solve(gram, inputs.T @ (targets - intercept))
    return _Regression(mean, scale, weights, intercept - inputs.mean(axis=0) @ weights, errors[best])


def _validation_errors(inputs: Array, targets: Array, early: slice, late: slice) -> Array:
    """Return late targets minus forecasts for every penalty, shape (penalties, held, outputs)."""
    known, aims = inputs[early], targets[early]
    centre, level = known.mean(axis=0), aims.mean(axis=0)
    kernel = (known - centre) @ (known - centre).T
    values, vectors = np.linalg.eigh(kernel)
    turned = vectors.T @ (aims - level)
    cross = (inputs[late] - centre) @ (known - centre).T @ vectors
    shrunk = 1.0 / (np.maximum(values, 0.0)[None, :] + _PENALTIES[:, None])
    foreseen = np.einsum("hn,pn,no->pho", cross, shrunk, turned, optimize=True)
    return targets[late][None] - level - foreseen


class LogRidge:
    """Ridge regression of log intensity, all slots of a lead day at once.

    Parameters
    ----------
    levels : sequence of float
        Quantile levels to forecast.

    Attributes
    ----------
    history_ : History
        What was learned from, or the newer one of `update`.

    Notes
    -----
    Needs 21 days of history; from 120 days on it uses 28-day profiles too. The
    issue time's hour of day fixes which past origins it learns from, so a
    forecast at another hour learns anew.

    References
    ----------
    Hoerl and Kennard 1970, doi:10.1080/00401706.1970.10488634.
    """

    name = "ridge"

    def __init__(self, levels: Sequence[float] = LEVELS) -> None:
        self.levels = tuple(levels)
        self.history_: History | None = None
        self._weather: WeatherVintages | None = None
        self._fitted: dict[tuple[int, int, bool], _Regression] = {}
        self._fit_end = 0

    def fit(self, history: CarbonSeries, *, weather: WeatherVintages | None = None) -> Self:
        """Learn from a history.

        Parameters
        ----------
        history : CarbonSeries
            At least 21 days.
        weather : WeatherVintages, optional
            Weather forecasts of the zone as they were issued.

        Returns
        -------
        LogRidge
            Itself. The regression of a lead day is solved when it is first asked for.

        Raises
        ------
        TooLittleHistory, SignalGap, SlotError
            The history can't be used.
        """
        self.history_ = prepare(history, min_days=MIN_DAYS, model=self.name)
        self._weather = weather
        self._fitted = {}
        self._fit_end = len(history.slots)
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
        """
        self.history_ = prepare(history, min_days=MIN_DAYS, model=self.name)
        return self

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
            Flagged ``weather-missing`` where weather was offered but none is fresh.

        Raises
        ------
        NotFitted
            Before `fit`.
        SlotError
            The issue time is off the grid.
        """
        need(self.history_, self.name)
        assert self.history_ is not None  # noqa: S101 - told to the type checker
        history = self.history_
        origin = history.index_of(issue_time_s)
        days = range(-(-horizon // history.per_day))
        parts = [self._lead_day(history, origin, day) for day in days]
        centre = np.concatenate([part[0] for part in parts])[:horizon]
        spread = np.concatenate([part[1] for part in parts], axis=1)[:, :horizon]
        flags = history.flags() + (("weather-missing",) if any(part[2] for part in parts) else ())
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
            flags=flags,
            synthetic=history.series.synthetic,
        )

    def _lead_day(self, history: History, origin: int, day: int) -> tuple[Array, Array, bool]:
        weather_here = self._weather is not None and bool(np.isfinite(self._weather_block([origin], day)).all())
        recent = origin - history.per_day * np.arange(day + 1, day + 1 + _BIAS_DAYS)
        if weather_here:
            weather_here = bool(np.isfinite(self._weather_block(recent, day)).all(axis=1).any())
        model = self._regression(origin, day, weather=weather_here)
        profile = self._profile(history, np.array([origin]), 7)[0]
        centre = profile + model(self._features(history, np.array([origin]), day, weather=weather_here))[0]
        recent = recent[recent >= self._reach(history)]
        if len(recent):
            features = self._features(history, recent, day, weather=weather_here)
            known = np.isfinite(features).all(axis=1)
            if known.any():
                missed = self._target(history, recent[known], day) - model(features[known])
                centre = centre + _BIAS_SHARE * float(missed.mean())
        return centre, residual_quantiles(model.residuals, self.levels), self._weather is not None and not weather_here

    def _regression(self, origin: int, day: int, *, weather: bool) -> _Regression:
        assert self.history_ is not None  # noqa: S101 - told to the type checker
        history = self.history_
        phase = origin % history.per_day
        key = (phase, day, weather)
        if key not in self._fitted:
            last = min(origin, self._fit_end) if self._fit_end else origin
            last -= (last - phase) % history.per_day + history.per_day * (day + 1)
            origins = np.arange(last, self._reach(history) - 1, -history.per_day)[::-1]
            features = self._features(history, origins, day, weather=weather)
            targets = self._target(history, origins, day)
            known = np.isfinite(features).all(axis=1)
            self._fitted[key] = _solve(features[known], targets[known])
        return self._fitted[key]

    def _long(self, history: History) -> bool:
        return self._fit_end >= _LONG_DAYS * history.per_day

    def _reach(self, history: History) -> int:
        """Return the earliest origin that has all features."""
        return (28 if self._long(history) else 7) * history.per_day

    @staticmethod
    def _days_before(history: History, origins: NDArray[np.int64], days: int) -> Array:
        """Return the last days before each origin, shape (n, days, per_day), newest first."""
        back = history.per_day * np.arange(1, days + 1)
        index = origins[:, None, None] - back[None, :, None] + np.arange(history.per_day)
        return history.log_values[index]

    def _profile(self, history: History, origins: NDArray[np.int64], days: int) -> Array:
        return self._days_before(history, origins, days).mean(axis=1)

    def _target(self, history: History, origins: NDArray[np.int64], day: int) -> Array:
        index = origins[:, None] + day * history.per_day + np.arange(history.per_day)
        return history.log_values[index] - self._profile(history, origins, 7)

    def _features(self, history: History, origins: NDArray[np.int64], day: int, *, weather: bool) -> Array:
        week = self._days_before(history, origins, 7)
        level = week.mean(axis=(1, 2))[:, None]
        count = len(origins)
        blocks = [
            (week[:, :3] - level[:, :, None]).reshape(count, -1),
            week.mean(axis=1) - level,
            week[:, 6] - level,
            week.mean(axis=2) - level,
            self._calendar(history, origins, day),
        ]
        if self._long(history):
            month = self._days_before(history, origins, 28)
            blocks += [month.mean(axis=1) - level, level, month.mean(axis=(1, 2))[:, None]]
        if weather:
            blocks.append(self._weather_block(origins, day))
        return np.concatenate(blocks, axis=1)

    def _calendar(self, history: History, origins: NDArray[np.int64], day: int) -> Array:
        slots = history.series.slots
        start_s = slots.start_s + slots.step_s * origins + DAY_S * day
        # 1970-01-01 was a Thursday: shift so that 0 is Monday.
        weekday = (start_s // DAY_S + 3) % 7
        angle = 2 * np.pi * (start_s % _YEAR_S) / _YEAR_S
        dummies = (weekday[:, None] == np.arange(7)).astype(np.float64)
        if not self._long(history):
            return dummies
        waves = np.stack([np.sin(angle), np.cos(angle), np.sin(2 * angle), np.cos(2 * angle)], axis=1)
        return np.concatenate([dummies, waves], axis=1)

    def _weather_block(self, origins: Sequence[int] | NDArray[np.int64], day: int) -> Array:
        assert self._weather is not None  # noqa: S101 - told to the type checker
        assert self.history_ is not None  # noqa: S101
        slots = self.history_.series.slots
        issue_s = slots.start_s + slots.step_s * np.asarray(origins, dtype=np.int64)
        there = self._weather.day(issue_s, day)
        before = self._weather.day(issue_s, day - 1)
        blocks = [there, before, there.mean(axis=2, keepdims=True) - before.mean(axis=2, keepdims=True)]
        names = self._weather.variables
        if "wind_speed" in names:
            wind = there[:, [names.index("wind_speed")]]
            blocks.append(1.0 / (1.0 + np.exp(-(wind - 6.0) / 1.5)))
        if "temperature" in names:
            blocks.append(((there[:, [names.index("temperature")]] - 288.15) / 10.0) ** 2)
        return np.concatenate([block.reshape(len(issue_s), -1) for block in blocks], axis=1)

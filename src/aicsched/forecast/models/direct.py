"""Direct ridge regressions of one signal: which lead days one gives, what it learns from.

The signal is log intensity, or the power of one source; what is learned is its
departure from its profile of the last seven days.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from aicsched.errors import SignalGap
from aicsched.forecast.models.features import (
    LONG_REACH_DAYS,
    SHORT_REACH_DAYS,
    Table,
    base_table,
    past_days,
)
from aicsched.forecast.models.regression import Regression, learn
from aicsched.slots import format_time

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.forecast.base import History
    from aicsched.forecast.models.outside import Outside

    Array = NDArray[np.float64]
    Indices = NDArray[np.int64]

__all__ = ["MIN_ROWS", "SEGMENT_DAYS", "DirectRidge", "Learned", "Past", "Segment", "profile", "targets"]

SEGMENT_DAYS: Final = 4
MIN_ROWS: Final = 10
_MIN_WEATHER_ROWS: Final = 45


class Past(NamedTuple):
    """What a signal's regressions may know.

    Parameters
    ----------
    history : History
        The signal's own past.
    outside : Outside or None
        Weather and mix.
    names : tuple of str or None
        Beginnings of the names of the blocks of `outside` that matter; None for all.
    """

    history: History
    outside: Outside | None = None
    names: tuple[str, ...] | None = None

    def rows_at(self, issue_s: Indices) -> Indices:
        """Return the slot indices of issue times: they change when a history's start is cut."""
        slots = self.history.series.slots
        return (issue_s - slots.start_s) // slots.step_s


class Segment(NamedTuple):
    """Lead days that one regression gives, and whether it has columns of weather and mix."""

    first_day: int
    days: int
    weather: bool
    mix: bool = False


class Learned(NamedTuple):
    """A segment's regression, and the issue times that it learned from [s since the epoch]."""

    regression: Regression
    issue_s: Indices


class DirectRidge:
    """The regressions of one signal, learned when they are first asked for.

    Parameters
    ----------
    fit_end_s : int
        Nothing at or after it is learned from, seconds since the epoch.
    long : bool
        The history has the features that need months.
    leave_out : bool
        Find out what each row would have been missed by, were it not learned from;
        where there is weather.

    Attributes
    ----------
    learned_ : dict
        By time of day and segment.
    """

    def __init__(self, fit_end_s: int, *, long: bool, leave_out: bool = False) -> None:
        self.fit_end_s = fit_end_s
        self.long = long
        self._leave_out = leave_out
        self.learned_: dict[tuple[int, Segment], Learned] = {}

    def segment(self, past: Past, origin: int, day: int) -> Segment:
        """Choose the regression of a lead day: with weather where it is at hand, now and in the past."""
        if past.outside is not None:
            own = Segment(day, 1, weather=True, mix=past.outside.mix is not None)
            here = past.outside.table(np.array([origin]), day).values
            if np.isfinite(here).all() and self._enough(past, origin, own):
                return own
        return Segment(day - day % SEGMENT_DAYS, SEGMENT_DAYS, weather=False)

    def departures(self, past: Past, origin: int, rows: Indices, segment: Segment) -> Array:
        """Return what a segment foresees from some origins, shape (n, days * per_day)."""
        learned = self.learned(past, origin, segment)
        return learned.regression(self._table(past, rows, segment).values)

    def learned(
        self, past: Past, origin: int, segment: Segment, *, origins: Indices | None = None
    ) -> Learned:
        """Return a segment's regression for issue times at the same time of day.

        Parameters
        ----------
        past : Past
            The signal.
        origin : int
            Slot index of an issue time.
        segment : Segment
            Of `segment`.
        origins : ndarray of int, optional
            Learn from these; by default from all whose outcome and columns are known.

        Returns
        -------
        Learned
            Kept for the next call.

        Raises
        ------
        SignalGap
            Gaps leave too little to learn from.
        """
        key = (origin % past.history.per_day, segment)
        if key not in self.learned_:
            self.learned_[key] = self._learn(past, origin, segment, origins)
        return self.learned_[key]

    def reach(self, past: Past) -> int:
        """Return the earliest origin that has all features."""
        return (LONG_REACH_DAYS if self.long else SHORT_REACH_DAYS) * past.history.per_day

    def _enough(self, past: Past, origin: int, segment: Segment) -> bool:
        if (origin % past.history.per_day, segment) in self.learned_:
            return True
        assert past.outside is not None  # noqa: S101 - told to the type checker
        rows = self._training_rows(past, origin, segment)
        known = np.isfinite(past.outside.table(rows, segment.first_day).values).all(axis=1)
        return int(known.sum()) >= _MIN_WEATHER_ROWS

    def _learn(self, past: Past, origin: int, segment: Segment, origins: Indices | None) -> Learned:
        rows = self._training_rows(past, origin, segment) if origins is None else origins
        table = self._table(past, rows, segment)
        whole = np.isfinite(table.values).all(axis=1)
        if whole.sum() < MIN_ROWS:
            zone, when, left = past.history.series.grid_zone, format_time(self.fit_end_s), int(whole.sum())
            msg = f"{zone}: gaps leave {left} days before {when} to learn from"
            raise SignalGap(msg, hint="give more past, or use the model 'seasonal'", value=left)
        regression = learn(
            Table(table.values[whole], table.emphasis),
            targets(past.history, rows[whole], segment.first_day, segment.days),
            outputs_a_group=past.history.per_day,
            gap=segment.first_day + segment.days - 1,
            days=rows[whole] / np.float64(past.history.per_day) if segment.weather else None,
            leave_out=segment.weather and self._leave_out,
        )
        slots = past.history.series.slots
        return Learned(regression, slots.start_s + slots.step_s * rows[whole])

    def _training_rows(self, past: Past, origin: int, segment: Segment) -> Indices:
        """Return the past origins at this time of day whose outcome was known when it learned."""
        history = past.history
        per_day, slots = history.per_day, history.series.slots
        end = (self.fit_end_s - slots.start_s) // slots.step_s
        ahead = per_day * (segment.first_day + segment.days)
        last = end - (end - origin) % per_day - ahead
        rows = np.arange(last, self.reach(past) - 1, -per_day)[::-1]
        return rows[history.teaching(rows, ahead - per_day * segment.days, ahead)] if len(rows) else rows

    def _table(self, past: Past, rows: Indices, segment: Segment) -> Table:
        table = base_table(past.history, rows, long=self.long)
        if not segment.weather:
            return table
        assert past.outside is not None  # noqa: S101 - told to the type checker
        outside = past.outside.table(rows, segment.first_day, past.names)
        return Table(
            np.concatenate([table.values, outside.values], axis=1),
            np.concatenate([table.emphasis, outside.emphasis]),
        )


def profile(history: History, rows: Indices) -> Array:
    """Return the mean day of the seven before each origin, shape (n, per_day)."""
    return past_days(history, rows, SHORT_REACH_DAYS).mean(axis=1)


def targets(history: History, rows: Indices, first_day: int, days: int) -> Array:
    """Return the departures from each origin's profile, shape (n, days * per_day)."""
    index = rows[:, None] + history.per_day * first_day + np.arange(days * history.per_day)
    return history.log_values[index] - np.tile(profile(history, rows), days)

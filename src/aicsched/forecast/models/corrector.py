"""Boosted trees on what the regressions miss: where wind matters more at night, and the like.

They see each slot on its own (its weather, hour, recent values) and learn from all
lead days at once, from errors on days that the regressions hadn't learned from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.forecast.base import DAY_S
from aicsched.forecast.kernels import BOOST
from aicsched.forecast.models.features import LONG_REACH_DAYS, SHORT_REACH_DAYS, past_days
from aicsched.forecast.models.outside import known_mean, wind_power

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.forecast.models.direct import Past

    Array = NDArray[np.float64]
    Indices = NDArray[np.int64]

__all__ = ["Corrector", "slot_table"]

_BINS: Final = 48
_ROUNDS: Final = 120
_DEPTH: Final = 4
_RATE: Final = 0.06
_SHRINKAGE: Final = 200.0
_SAMPLES: Final = 10
_ROW_SHARE: Final = 0.3
_COLUMN_SHARE: Final = 0.4
_CLIP_MADS: Final = 3.0
_EDGE_ROWS: Final = 8000
_MONDAY: Final = 3  # 1970-01-01 was a Thursday


class Corrector:
    """Trees learned from rows of slots.

    Parameters
    ----------
    table : ndarray, shape (n, k)
        Columns of `slot_table`; finite.
    missed : ndarray, shape (n,)
        What should have been added to the regressions' forecasts.

    Notes
    -----
    Gradient boosting (Friedman 2001, doi:10.1214/aos/1013203451) of oblivious trees
    (Kohavi and Li 1995) with a clipped loss; rows and columns are drawn with a
    fixed seed, so that equal input gives equal forecasts.
    """

    def __init__(self, table: Array, missed: Array) -> None:
        count, columns = table.shape
        every = max(1, count // _EDGE_ROWS)
        inner = np.linspace(0.0, 1.0, _BINS + 1)[1:-1]
        self._edges = [np.unique(np.quantile(table[::every, index], inner)) for index in range(columns)]
        draw = np.random.default_rng(0)
        rows = max(1, round(_ROW_SHARE * count))
        samples = np.stack([np.sort(draw.choice(count, rows, replace=False)) for _ in range(_SAMPLES)])
        tried = max(1, round(_COLUMN_SHARE * columns))
        chosen = np.stack([draw.choice(columns, tried, replace=False) for _ in range(_ROUNDS)])
        clip = _CLIP_MADS * float(np.median(np.abs(missed)))
        self._asked, self._cuts, self._values = BOOST(
            self._binned(table),
            np.ascontiguousarray(missed, dtype=np.float64),
            samples.astype(np.int64),
            chosen.astype(np.int64),
            _DEPTH,
            _BINS,
            np.array([_RATE, _SHRINKAGE, clip]),
        )

    def __call__(self, table: Array) -> Array:
        """Return what to add to the forecasts of some slots.

        Parameters
        ----------
        table : ndarray, shape (n, k)
            Columns of `slot_table`.

        Returns
        -------
        ndarray, shape (n,)
            In log space.
        """
        bins = self._binned(table)
        made = np.zeros(len(table))
        for asked, cuts, values in zip(self._asked, self._cuts, self._values, strict=True):
            place = np.zeros(len(table), dtype=np.int64)
            for column, cut in zip(asked, cuts, strict=True):
                place = 2 * place + (bins[column] > cut)
            made += values[place]
        return made

    def _binned(self, table: Array) -> NDArray[np.uint8]:
        rows = [np.searchsorted(edges, table[:, index]) for index, edges in enumerate(self._edges)]
        return np.stack(rows).astype(np.uint8)


def slot_table(past: Past, rows: Indices, day: int, foreseen: Array) -> Array:
    """Return what the trees may know of each slot of a lead day.

    Parameters
    ----------
    past : Past
        With weather.
    rows : ndarray of int, shape (n,)
        Slot indices of origins, at least 28 days in.
    day : int
        Lead day, 0 is the first 24 hours.
    foreseen : ndarray, shape (n, per_day)
        What a regression foresees, as a departure from the profile.

    Returns
    -------
    ndarray, shape (n * per_day, k)
        One row a slot.
    """
    columns = [
        *_calendar(past, rows, day),
        *_recent(past, rows, day),
        *_weather(past, rows, day),
        *_shares(past, rows),
        foreseen,
    ]
    shape = (len(rows), past.history.per_day)
    return np.stack([np.broadcast_to(column, shape).ravel() for column in columns], axis=1)


def _calendar(past: Past, rows: Indices, day: int) -> list[Array]:
    slots, per_day = past.history.series.slots, past.history.per_day
    lead = day * per_day + np.arange(per_day)
    start_s = slots.start_s + slots.step_s * (rows[:, None] + lead)
    weekday = (start_s // DAY_S + _MONDAY) % 7
    return [
        np.asarray(lead, dtype=np.float64),
        np.asarray(start_s % DAY_S, dtype=np.float64),
        np.asarray(weekday, dtype=np.float64),
        np.asarray(start_s // DAY_S % 365, dtype=np.float64),
    ]


def _recent(past: Past, rows: Indices, day: int) -> list[Array]:
    """Return the latest values as departures from the week's profile."""
    history, per_day = past.history, past.history.per_day
    week = past_days(history, rows, SHORT_REACH_DAYS)
    usual = week.mean(axis=1)
    level = usual.mean(axis=1, keepdims=True)
    month = past_days(history, rows, LONG_REACH_DAYS)
    few = max(1, per_day // 4)
    return [
        usual - level,
        level,
        week[:, 0] - usual,
        week[:, 1] - usual,
        week[:, (6 - day) % 7] - usual,
        month.mean(axis=1) - usual,
        (week[:, 0, -1] - usual[:, -1])[:, None],
        (week[:, 0, -few:] - usual[:, -few:]).mean(axis=1, keepdims=True),
        week[:, 0].mean(axis=1, keepdims=True) - level,
    ]


def _weather(past: Past, rows: Indices, day: int) -> list[Array]:
    assert past.outside is not None  # noqa: S101 - told to the type checker
    weather, per_day = past.outside.weather, past.history.per_day
    issue_s = past.outside.issue_s(rows)
    there = weather.day(issue_s, day)
    usual = known_mean(np.stack([weather.day(issue_s - DAY_S * age, 0) for age in range(1, 8)]))
    columns: list[Array] = []
    for index, name in enumerate(weather.variables):
        here, before = there[:, index], usual[:, index]
        pairs = [(here, before)]
        if name == "wind_speed":
            pairs.append((wind_power(here), wind_power(before)))
        for now, once in pairs:
            columns += [
                _by_slot(now, per_day),
                _by_slot(now - once, per_day),
                now.mean(axis=1, keepdims=True),
                (now - once).mean(axis=1, keepdims=True),
            ]
    return columns


def _shares(past: Past, rows: Indices) -> list[Array]:
    assert past.outside is not None  # noqa: S101 - told to the type checker
    mix, per_day = past.outside.mix, past.history.per_day
    if mix is None:
        return []
    windows = [mix.mean_shares(rows, days * per_day) for days in (1, 7)]
    return [window[:, [index]] for window in windows for index in range(window.shape[1])]


def _by_slot(steps: Array, per_day: int) -> Array:
    """Return values of steps at the middle of each slot, between those of the steps beside it."""
    count = steps.shape[1]
    place = np.clip((np.arange(per_day) + 0.5) * count / per_day - 0.5, 0.0, count - 1.0)
    left = np.minimum(place.astype(np.int64), count - 2) if count > 1 else np.zeros(per_day, dtype=np.int64)
    right = np.minimum(left + 1, count - 1)
    share = place - left
    return steps[:, left] * (1.0 - share) + steps[:, right] * share

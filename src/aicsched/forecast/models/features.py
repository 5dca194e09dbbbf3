"""What a regression may know at an issue time, as blocks of columns.

Each block carries an *emphasis*: the factor on its standardised columns, hence
how little the ridge penalty holds its weights back. The emphases were chosen
once on January to June 2021 of 13 grids and are the same for every zone: the
latest hours tell most, the calendar more than one column among many.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from aicsched.forecast.base import DAY_S

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.forecast.base import History

    Array = NDArray[np.float64]
    Indices = NDArray[np.int64]

__all__ = ["LONG_REACH_DAYS", "SHORT_REACH_DAYS", "Table", "base_table", "past_days"]

SHORT_REACH_DAYS: Final = 7
LONG_REACH_DAYS: Final = 28
_YEAR_S: Final = 365.2425 * DAY_S
_CALENDAR_EMPHASIS: Final = 2.0
# Targets are departures from the same profile: a short history tells little of what else it means.
_SHORT_PROFILE_EMPHASIS: Final = 0.3


class Table(NamedTuple):
    """Columns and how much each counts.

    Parameters
    ----------
    values : ndarray, shape (n, p)
        One row an origin; NaN where a covariate is unknown.
    emphasis : ndarray, shape (p,)
        Factor on each standardised column.
    """

    values: Array
    emphasis: Array


def _table(blocks: list[tuple[Array, float | Array]]) -> Table:
    flat = [block.reshape(len(block), math.prod(block.shape[1:])) for block, _ in blocks]
    factors = [
        np.broadcast_to(factor, block.shape[1]) for block, (_, factor) in zip(flat, blocks, strict=True)
    ]
    return Table(np.concatenate(flat, axis=1), np.concatenate(factors))


def past_days(history: History, origins: Indices, days: int) -> Array:
    """Return the last days before each origin.

    Parameters
    ----------
    history : History
        The past.
    origins : ndarray of int, shape (n,)
        Slot indices, at least `days` days in.
    days : int
        How many.

    Returns
    -------
    ndarray, shape (n, days, per_day)
        Log intensity, the newest day first, each day in order of time.
    """
    windows = np.lib.stride_tricks.sliding_window_view(history.log_values, history.per_day)
    return windows[origins[:, None] - history.per_day * np.arange(1, days + 1)]


def base_table(history: History, origins: Indices, *, long: bool) -> Table:
    """Return what intensity's own past and the calendar tell.

    Parameters
    ----------
    history : History
        The past.
    origins : ndarray of int, shape (n,)
        Slot indices.
    long : bool
        True adds the 28-day profile, the levels and the seasons of the year.

    Returns
    -------
    Table
        The last 24 hours, the 7-day profile and the daily means, all as departures
        from the week's level; weekdays; and what `long` adds.
    """
    week = past_days(history, origins, SHORT_REACH_DAYS)
    level = week.mean(axis=(1, 2))
    age_h = 24 / history.per_day * np.arange(history.per_day)[::-1]
    # Finer slots mean more columns that say the same: without the root, a step would change the weights.
    fine = (24 / history.per_day) ** 0.5
    blocks: list[tuple[Array, float | Array]] = [
        (week[:, 0] - level[:, None], fine * (0.7 + 5.0 * np.exp(-age_h / 8.0))),
        (week.mean(axis=1) - level[:, None], fine if long else _SHORT_PROFILE_EMPHASIS * fine),
        (week.mean(axis=2) - level[:, None], 1.0),
        (_weekdays(history, origins), _CALENDAR_EMPHASIS),
    ]
    if long:
        month = past_days(history, origins, LONG_REACH_DAYS)
        blocks += [
            (month.mean(axis=1) - level[:, None], 0.5 * fine),
            (np.stack([level, month.mean(axis=(1, 2))], axis=1), 1.0),
            (_seasons(history, origins), 0.5 * _CALENDAR_EMPHASIS),
        ]
    return _table(blocks)


def _start_s(history: History, origins: Indices) -> Indices:
    return history.series.slots.start_s + history.series.slots.step_s * origins


def _weekdays(history: History, origins: Indices) -> Array:
    # 1970-01-01 was a Thursday: shift so that 0 is Monday. UTC days: a zone's own
    # midnight is a fixed distance away, which the weights learn.
    weekday = (_start_s(history, origins) // DAY_S + 3) % 7
    return (weekday[:, None] == np.arange(7)).astype(np.float64)


def _seasons(history: History, origins: Indices) -> Array:
    angle = 2 * np.pi * (_start_s(history, origins) % _YEAR_S) / _YEAR_S
    return np.stack([np.sin(angle), np.cos(angle), np.sin(2 * angle), np.cos(2 * angle)], axis=1)

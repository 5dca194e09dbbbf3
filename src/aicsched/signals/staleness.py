"""How old a signal may be, and what that does to it.

Fresh up to two slots, degraded up to six hours (forecasts start from the last known
slot, with wider bands), neutral from then on: carbon counts for nothing, since a guess
would. Ages are reckoned from the end of the newest slot that was measured or estimated,
beside the availability lag that a source is known for. Clocks that differ by more than
two minutes degrade a signal however new it seems.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.domain.carbon import Quality
from aicsched.domain.flags import Flag
from aicsched.signals.clock import SKEW_LIMIT_S
from aicsched.slots import HOUR_S

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aicsched.domain.carbon import CarbonSeries

__all__ = [
    "FRESH_SLOTS",
    "SKEW_LIMIT_S",
    "STALE_LIMIT_S",
    "Staleness",
    "newest_end_s",
    "skew_s",
    "staleness",
    "staleness_of",
]

FRESH_SLOTS: Final = 2
STALE_LIMIT_S: Final = 6 * HOUR_S


class Staleness(StrEnum):
    """What a signal is still good for."""

    FRESH = "fresh"
    """Up to two slots old."""
    DEGRADED = "degraded"
    """Up to six hours old, or read with clocks that differ: used with wider bands."""
    NEUTRAL = "neutral"
    """Older, or never read: counts for nothing."""


def staleness(age_s: float | None, step_s: int, *, skewed: bool = False) -> Staleness:
    """Tell what an age makes of a signal.

    Parameters
    ----------
    age_s : float or None
        Since the end of the newest known slot, beside the lag that was told [s]; None where
        nothing is known.
    step_s : int
        Length of a slot [s].
    skewed : bool
        True when clocks differ by more than two minutes.

    Returns
    -------
    Staleness
        Fresh up to two slots, but never beyond six hours.

    Examples
    --------
    >>> [str(staleness(hours * 3600, 3600)) for hours in (0, 2, 2.01, 6, 6.01)]
    ['fresh', 'fresh', 'degraded', 'degraded', 'neutral']
    >>> str(staleness(0, 3600, skewed=True)), str(staleness(None, 3600))
    ('degraded', 'neutral')
    """
    if age_s is None or age_s > STALE_LIMIT_S:
        return Staleness.NEUTRAL
    return Staleness.DEGRADED if skewed or age_s > FRESH_SLOTS * step_s else Staleness.FRESH


def newest_end_s(series: CarbonSeries) -> int | None:
    """Return the end of the newest slot that is known, forecasts not counted.

    Parameters
    ----------
    series : CarbonSeries
        Any.

    Returns
    -------
    int or None
        Seconds since the epoch; None where nothing is known.
    """
    known = ~np.isnan(series.values_g_per_kwh) & (np.asarray(series.quality) != Quality.FORECAST)
    found = np.flatnonzero(known)
    return series.slots.start_s + series.slots.step_s * (int(found[-1]) + 1) if len(found) else None


def skew_s(flags: Iterable[str]) -> int:
    """Return by how much clocks differed, as flags tell.

    Parameters
    ----------
    flags : iterable of str
        Of a series or a forecast.

    Returns
    -------
    int
        The largest difference [s], positive where ours is ahead; 0 where none was told.

    Examples
    --------
    >>> skew_s(("sorted", "clock-skew:-3600"))
    -3600
    """
    start = f"{Flag.CLOCK_SKEW}:"
    return max(
        (int(flag.removeprefix(start)) for flag in flags if flag.startswith(start)), key=abs, default=0
    )


def staleness_of(series: CarbonSeries, now_s: float) -> Staleness:
    """Tell what a series is still good for.

    Parameters
    ----------
    series : CarbonSeries
        As it was read.
    now_s : float
        Seconds since the epoch.

    Returns
    -------
    Staleness
        By its newest slot, its availability lag and its flags.

    Examples
    --------
    >>> from aicsched.testing import example_series
    >>> series = example_series()
    >>> str(staleness_of(series, series.slots.end_s + 3 * 3600))
    'degraded'
    """
    end_s = newest_end_s(series)
    age_s = None if end_s is None else now_s - end_s - series.availability_lag_s
    return staleness(age_s, series.slots.step_s, skewed=abs(skew_s(series.flags)) > SKEW_LIMIT_S)

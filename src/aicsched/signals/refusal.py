"""What of an answer may be believed: the rest is taken out, counted, and never filled in.

`CarbonSeries` and `series_from_rows` refuse what no grid can have, double slots and
wrong units. Here is what only the one who asked can tell: values of slots that haven't
begun, another zone or kind than asked for, and answers that are mostly gaps.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from aicsched.domain.carbon import Quality
from aicsched.domain.regular import GAP_LIMIT_SHARE
from aicsched.errors import SignalGap, SignalInvalid
from aicsched.signals.staleness import SKEW_LIMIT_S
from aicsched.slots import format_time

if TYPE_CHECKING:
    from aicsched.domain.carbon import CarbonSeries, IntensityKind

__all__ = ["Refused", "believed"]


class Refused(StrEnum):
    """Why values were refused."""

    FUTURE = "future"
    """Said to be measured, of slots that haven't begun."""
    IMPOSSIBLE = "impossible"
    """Negative, infinite or above 2,500 g/kWh."""
    GAPS = "gaps"
    """More than a quarter of an answer missing."""
    INVALID = "invalid"
    """Not what is documented, of another zone or kind, or of two minds about a slot."""


def believed(
    series: CarbonSeries, *, zone: str, kind: IntensityKind | None, now_s: int
) -> tuple[CarbonSeries, dict[str, int]]:
    """Take out of an answer what can't be believed.

    Parameters
    ----------
    series : CarbonSeries
        As a source gave it.
    zone : str
        The zone that was asked for.
    kind : IntensityKind or None
        The kind that the source gave before; None the first time.
    now_s : int
        When it was read, seconds since the epoch.

    Returns
    -------
    CarbonSeries
        A slot that isn't over is estimated at best; what was refused is NaN and quarantined.
    dict of str to int
        How many values were refused, by reason.

    Raises
    ------
    SignalInvalid
        It is of another zone or kind.
    SignalGap
        More than a quarter of the slots between the first and the last known one are missing, or all.

    Examples
    --------
    >>> from aicsched.testing import example_series
    >>> series = example_series()
    >>> _, refused = believed(series, zone="example", kind=None, now_s=series.slots.end_s - 7200)
    >>> refused
    {'future': 1}
    """
    if series.grid_zone != zone or (kind is not None and series.kind is not kind):
        got = f"{series.kind} intensity of '{series.grid_zone}'"
        msg = f"{series.source}: gave {got} where {kind or 'that'} of '{zone}' was asked for"
        raise SignalInvalid(msg, hint="average and marginal, or two zones, never make one series", value=got)
    values, quality = np.array(series.values_g_per_kwh), np.array(series.quality)
    starts_s = series.slots.starts_s()
    measured = ~np.isnan(values) & (quality != Quality.FORECAST)
    # By our clock the slot under way may seem not to have begun, as far as clocks may differ.
    future = measured & (starts_s > now_s + SKEW_LIMIT_S)
    unfinished = measured & ~future & (starts_s + series.slots.step_s > now_s) & (quality == Quality.ACTUAL)
    refused = {
        Refused.IMPOSSIBLE.value: int((quality == Quality.QUARANTINED).sum()),
        Refused.FUTURE.value: int(future.sum()),
    }
    values[future], quality[future], quality[unfinished] = np.nan, Quality.QUARANTINED, Quality.ESTIMATED
    _refuse_gaps(series, np.flatnonzero(measured & ~future))
    made = replace(series, values_g_per_kwh=values, quality=quality)
    return made, {reason: count for reason, count in refused.items() if count}


def _refuse_gaps(series: CarbonSeries, known: np.ndarray[tuple[int], np.dtype[np.intp]]) -> None:
    if not len(known):
        msg = f"{series.source}: no slot of '{series.grid_zone}' has a value that can be used"
        raise SignalGap(msg, hint="try again later", value=0)
    span = int(known[-1] - known[0]) + 1
    missing = span - len(known)
    if missing > GAP_LIMIT_SHARE * span:
        first = format_time(series.slots.start_s + int(known[0]) * series.slots.step_s)
        msg = f"{series.source}: {missing} of {span} slots of '{series.grid_zone}' from {first} are missing"
        raise SignalGap(msg, hint="try again later", value=missing)

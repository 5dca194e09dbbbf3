"""Spans of several answers: averaged over longer slots, and laid on one window."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from aicsched.domain.carbon import Quality
from aicsched.domain.readings import Readings
from aicsched.domain.regular import GAP_LIMIT_SHARE
from aicsched.errors import SignalGap, SlotError
from aicsched.signals.slotting import Points, slotted
from aicsched.slots import SlotGrid, format_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from aicsched.domain.carbon import CarbonSeries

__all__ = [
    "averaged",
    "confirmed_end_s",
    "fits",
    "issued",
    "joint_lag_s",
    "joint_readings",
    "joint_window",
    "on_grid",
    "widened",
]


def fits(window: SlotGrid, grid: SlotGrid) -> bool:
    """Tell whether each slot of a window is a whole number of slots of a grid.

    Parameters
    ----------
    window : SlotGrid
        The longer slots.
    grid : SlotGrid
        The shorter ones, wherever they begin and end.

    Returns
    -------
    bool
        False too where slots lie across one another.

    Examples
    --------
    >>> fits(SlotGrid(3600, 3600, 2), SlotGrid(0, 300, 1)), fits(SlotGrid(150, 3600, 2), SlotGrid(0, 300, 1))
    (True, False)
    """
    return window.step_s % grid.step_s == 0 and (window.start_s - grid.start_s) % grid.step_s == 0


def averaged(series: CarbonSeries, window: SlotGrid) -> CarbonSeries:
    """Average a series over longer slots, by the rules of all live sources.

    Parameters
    ----------
    series : CarbonSeries
        On shorter slots.
    window : SlotGrid
        Wanted; it may reach beyond the series.

    Returns
    -------
    CarbonSeries
        A slot is known where half of it is; of several qualities the worst counts. A mean is known
        since the last of its parts.

    Raises
    ------
    SlotError
        The window's slots are no whole number of the series'.
    SignalGap
        There is no value at all in the window.

    Examples
    --------
    >>> from aicsched.testing import example_series
    >>> series = example_series(days=2)
    >>> averaged(series, SlotGrid(series.slots.start_s, 7200, 24)).slots.step_s
    7200
    """
    grid = series.slots
    if not fits(window, grid):
        first = format_time(grid.start_s)
        msg = f"{series.source}, {series.grid_zone}: slots of {window.step_s} s don't fit {grid.step_s} s"
        raise SlotError(msg, hint=f"ask for whole slots of the grid from {first}", value=window)
    known = np.flatnonzero(~np.isnan(series.values_g_per_kwh))
    starts_s = grid.starts_s()
    read_s = starts_s + grid.step_s + series.availability_lag_s
    if series.readings is not None:
        index, rest = np.divmod(series.readings.start_s - grid.start_s, grid.step_s)
        here = (rest == 0) & (index >= 0) & (index < len(grid))
        read_s[index[here]] = series.readings.read_s[here]  # rising: the last one stays
    # Points count from where the grid does, which may not be a whole number of steps since the epoch.
    off_s = grid.start_s % grid.step_s
    points = Points(
        start_s=starts_s[known] - off_s,
        values_g_per_kwh=series.values_g_per_kwh[known],
        quality=np.asarray(series.quality)[known],
        read_s=read_s[known],
        lasts_s=grid.step_s,
    )
    made = slotted(
        points,
        SlotGrid(window.start_s - off_s, window.step_s, len(window)),
        zone=series.grid_zone,
        kind=series.kind,
        source=series.source,
        now_s=float(2**62),  # what is too new was taken out when it was read
        flags=series.flags,
    )
    readings = made.readings
    if readings is not None:
        readings = replace(readings, start_s=readings.start_s + off_s)
    return replace(
        made,
        slots=window,
        readings=readings,
        synthetic=series.synthetic,
        availability_lag_s=series.availability_lag_s,
    )


def confirmed_end_s(series: CarbonSeries) -> int | None:
    """Return the end of the newest slot with a value that is neither foreseen nor stale.

    Parameters
    ----------
    series : CarbonSeries
        Any.

    Returns
    -------
    int or None
        Seconds since the epoch; None where there is no such slot.
    """
    told = ~np.isin(np.asarray(series.quality), (Quality.FORECAST, Quality.STALE))
    found = np.flatnonzero(told & ~np.isnan(series.values_g_per_kwh))
    return None if not len(found) else series.slots.start_s + series.slots.step_s * (int(found[-1]) + 1)


def joint_window(grids: Sequence[SlotGrid]) -> SlotGrid:
    """Return the window of several answers, in the longest of their slots.

    Parameters
    ----------
    grids : sequence of SlotGrid
        At least one.

    Returns
    -------
    SlotGrid
        From the first start to the last end. An answer that ended long before the others begin, so that
        more than a quarter of the window would be a gap, is left out: it would only be told as missing.

    Examples
    --------
    >>> joint_window([SlotGrid(0, 3600, 4), SlotGrid(7200, 1800, 9)])
    SlotGrid(start_s=0, step_s=3600, count=6)
    >>> joint_window([SlotGrid(0, 3600, 1), SlotGrid(360_000, 3600, 9)])
    SlotGrid(start_s=360000, step_s=3600, count=9)
    """
    longest = max(grids, key=lambda grid: grid.step_s)
    newest_first = sorted((grid for grid in grids if len(grid)), key=lambda grid: -grid.end_s)
    if not newest_first:
        return longest
    start_s, end_s = newest_first[0].start_s, newest_first[0].end_s
    for grid in newest_first[1:]:
        if start_s - grid.end_s <= GAP_LIMIT_SHARE * (end_s - grid.start_s):
            start_s = min(start_s, grid.start_s)
    step_s = longest.step_s
    first = -((longest.start_s - start_s) // step_s)
    last = (end_s - longest.start_s) // step_s
    return SlotGrid(longest.start_s + first * step_s, step_s, max(0, last - first))


def issued(series: CarbonSeries, now_s: int) -> CarbonSeries:
    """Let what is at hand be known to the slot under way.

    Forecasts are issued at slot starts: it may have been read since that began, or be dated later yet by a
    clock that was ahead.

    Parameters
    ----------
    series : CarbonSeries
        With its readings, if it has any.
    now_s : int
        Seconds since the epoch.

    Returns
    -------
    CarbonSeries
        No reading is later than the start of the slot under way.
    """
    begun_s = now_s - (now_s - series.slots.start_s) % series.slots.step_s
    readings = series.readings
    if readings is None:
        return series
    return replace(series, readings=replace(readings, read_s=np.minimum(readings.read_s, begun_s)))


def on_grid(series: CarbonSeries, window: SlotGrid, now_s: int) -> CarbonSeries | None:
    """Average an answer over the slots of a window where these are longer.

    Parameters
    ----------
    series : CarbonSeries
        As it was answered.
    window : SlotGrid
        On which it is to be laid.
    now_s : int
        Seconds since the epoch.

    Returns
    -------
    CarbonSeries or None
        In slots as long; None where they don't fit, or hold no value.
    """
    grid = series.slots
    if not fits(window, grid):
        return None
    if grid.step_s == window.step_s:
        return series
    with contextlib.suppress(SignalGap):
        return issued(averaged(series, window), now_s)
    return None


def joint_lag_s(parts: dict[int, CarbonSeries], used: dict[int, NDArray[np.bool_]]) -> int:
    """Return how late the newest value may be: none is late while one source is as new as it says to be.

    Parameters
    ----------
    parts : dict of int to CarbonSeries
        What has a part in a whole, on one grid.
    used : dict of int to ndarray of bool
        By the same key, in which slots; at least one.

    Returns
    -------
    int
        Lag [s], not larger than the largest of theirs.
    """
    ends_s: list[tuple[int, int]] = []
    for index, series in parts.items():
        newest = int(np.flatnonzero(used[index])[-1])
        ends_s.append((series.slots.start_s + series.slots.step_s * (newest + 1), series.availability_lag_s))
    newest_s = max((end_s for end_s, _ in ends_s), default=0)
    return max((end_s + lag_s for end_s, lag_s in ends_s), default=0) - newest_s


def widened(series: CarbonSeries, window: SlotGrid) -> CarbonSeries:
    """Lay a part of a window on all of it, and leave out what lies beside it.

    Parameters
    ----------
    series : CarbonSeries
        In slots as long.
    window : SlotGrid
        On its grid.

    Returns
    -------
    CarbonSeries
        On the window, missing where there was none.
    """
    if series.slots == window:
        return series
    values, quality = np.full(len(window), np.nan), np.full(len(window), Quality.MISSING, dtype=np.int8)
    part = series.slots.between(window.start_s, window.end_s)
    if len(part):
        cut, offset = series.window(part), window.offset_of(part)
        here = slice(offset, offset + len(part))
        values[here], quality[here] = cut.values_g_per_kwh, np.asarray(cut.quality)
    return replace(series, slots=window, values_g_per_kwh=values, quality=quality)


def joint_readings(parts: dict[int, CarbonSeries], used: dict[int, NDArray[np.bool_]]) -> Readings | None:
    """Join the readings of what was chosen; a value without one is known since its slot's end and lag.

    Parameters
    ----------
    parts : dict of int to CarbonSeries
        What has a part in a whole, on one grid.
    used : dict of int to ndarray of bool
        By the same key, in which slots.

    Returns
    -------
    Readings or None
        None where none has any and one lag holds for all.
    """
    lags_s = {series.availability_lag_s for series in parts.values()}
    if len(lags_s) <= 1 and all(series.readings is None for series in parts.values()):
        return None
    columns: list[tuple[NDArray[Any], ...]] = []
    for index, series in parts.items():
        starts_s = series.slots.starts_s()[used[index]]
        due_s = series.slots.step_s + series.availability_lag_s
        told = series.readings
        if told is None:
            values, quality = series.values_g_per_kwh[used[index]], np.asarray(series.quality)[used[index]]
            known = ~np.isnan(values)
            columns.append((starts_s[known], starts_s[known] + due_s, values[known], quality[known]))
            continue
        here = np.isin(told.start_s, starts_s)
        # Where lags differ, one lag for the whole can't say it of each.
        read_s = np.maximum(told.read_s, told.start_s + due_s) if len(lags_s) > 1 else told.read_s
        columns.append((told.start_s[here], read_s[here], told.values_g_per_kwh[here], told.quality[here]))
    start_s, read_s, values, quality = (np.concatenate(each) for each in zip(*columns, strict=True))
    order = np.argsort(read_s, kind="stable")
    return Readings(
        start_s=start_s[order],
        read_s=read_s[order],
        values_g_per_kwh=values[order],
        quality=quality[order],
    )

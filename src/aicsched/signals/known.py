"""What is known of a zone: readings laid on slots, old ones and new ones together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from aicsched.domain.carbon import CarbonSeries, Quality
from aicsched.domain.readings import Readings
from aicsched.errors import SlotError
from aicsched.slots import SlotGrid, format_time

__all__ = ["joined", "laid_on", "measured", "stale_from"]


def laid_on(held: CarbonSeries, window: SlotGrid) -> CarbonSeries:
    """Lay what is held on a window, which may reach behind it.

    Parameters
    ----------
    held : CarbonSeries
        With its readings.
    window : SlotGrid
        On its grid.

    Returns
    -------
    CarbonSeries
        NaN where nothing is known.

    Raises
    ------
    SlotError
        The window is not on the grid.
    """
    off = (window.start_s - held.slots.start_s) % held.slots.step_s
    if off or window.step_s != held.slots.step_s or held.readings is None:
        first = format_time(held.slots.start_s)
        grid = f"{held.slots.step_s} s slots from {first}"
        msg = f"{held.source}, {held.grid_zone}: the window is not on the grid of {grid}"
        raise SlotError(msg, hint="ask for whole slots of that grid", value=window)
    values, quality, _ = held.readings.newest(window)
    quality = np.where(np.isnan(values), Quality.MISSING, quality).astype(np.int8)
    return replace(held, slots=window, values_g_per_kwh=values, quality=quality)


def measured(held: CarbonSeries) -> CarbonSeries:
    """Leave out what a source only foresaw: it must not count as known.

    Parameters
    ----------
    held : CarbonSeries
        With its readings.

    Returns
    -------
    CarbonSeries
        On the same slots; of a slot that was measured and foreseen, the measured value.
    """
    readings = held.readings
    if readings is None or not (readings.quality == Quality.FORECAST).any():
        return held
    told = readings.quality != Quality.FORECAST
    readings = Readings(
        start_s=readings.start_s[told],
        read_s=readings.read_s[told],
        values_g_per_kwh=readings.values_g_per_kwh[told],
        quality=readings.quality[told],
    )
    values, quality, _ = readings.newest(held.slots)
    quality = np.where(np.isnan(values), Quality.MISSING, quality).astype(np.int8)
    return replace(held, values_g_per_kwh=values, quality=quality, readings=readings)


def stale_from(series: CarbonSeries, from_s: int) -> CarbonSeries:
    """Mark slots that could not be confirmed.

    Parameters
    ----------
    series : CarbonSeries
        As it was known.
    from_s : int
        Slots that start from here on, seconds since the epoch; forecasts stay forecasts.

    Returns
    -------
    CarbonSeries
        With `Quality.STALE`.
    """
    quality = np.array(series.quality)
    known = ~np.isnan(series.values_g_per_kwh) & (series.slots.starts_s() >= from_s)
    quality[known & (quality != Quality.FORECAST)] = Quality.STALE
    readings = series.readings
    if readings is not None:
        said = readings.quality.copy()
        said[(readings.start_s >= from_s) & (said != Quality.FORECAST)] = Quality.STALE
        readings = replace(readings, quality=said)
    return replace(series, quality=quality, readings=readings)


def joined(held: CarbonSeries | None, fresh: CarbonSeries, read_s: int) -> CarbonSeries:
    """Lay what was just read over what is stored, where it couldn't be recorded.

    Parameters
    ----------
    held : CarbonSeries or None
        What is stored, with its readings.
    fresh : CarbonSeries
        What was read.
    read_s : int
        When, seconds since the epoch.

    Returns
    -------
    CarbonSeries
        With the readings of both; the fresh ones alone where their grids differ.
    """
    known = np.flatnonzero(~np.isnan(fresh.values_g_per_kwh))
    own = Readings(
        start_s=fresh.slots.starts_s()[known],
        read_s=np.full(len(known), read_s, dtype=np.int64),
        values_g_per_kwh=fresh.values_g_per_kwh[known],
        quality=np.asarray(fresh.quality)[known],
    )
    if held is None or held.readings is None or held.slots.step_s != fresh.slots.step_s:
        return replace(fresh, readings=own)
    if not len(held.slots) or (held.slots.start_s - fresh.slots.start_s) % fresh.slots.step_s:
        return replace(fresh, readings=own)
    past = held.readings
    readings = Readings(
        start_s=np.concatenate([past.start_s, own.start_s]),
        read_s=np.concatenate([np.minimum(past.read_s, read_s), own.read_s]),
        values_g_per_kwh=np.concatenate([past.values_g_per_kwh, own.values_g_per_kwh]),
        quality=np.concatenate([past.quality, own.quality]),
    )
    first_s = min(held.slots.start_s, fresh.slots.start_s)
    end_s = max(held.slots.end_s, fresh.slots.end_s)
    slots = SlotGrid(first_s, fresh.slots.step_s, (end_s - first_s) // fresh.slots.step_s)
    values, quality, _ = readings.newest(slots)
    quality = np.where(np.isnan(values), Quality.MISSING, quality).astype(np.int8)
    return replace(fresh, slots=slots, values_g_per_kwh=values, quality=quality, readings=readings)

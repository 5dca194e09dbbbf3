"""The intensity a request meets: the mean over its slots, with its band."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from aicsched.domain.flags import Flag
from aicsched.errors import SlotError, UnknownZone, did_you_mean
from aicsched.slots import HOUR_S, format_time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from aicsched.domain.fleet import Fleet
    from aicsched.domain.forecast import Forecast
    from aicsched.slots import SlotGrid

__all__ = ["Met", "grid_shares", "met_by_region", "scaled", "slot_shares"]

_LOW, _HIGH = 0.1, 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Met:
    """The mean intensity over some slots.

    Parameters
    ----------
    low_g_per_kwh, mid_g_per_kwh, high_g_per_kwh : float
        From the 10 % quantile, the centre and the 90 % quantile of each slot: the
        band of a mean whose slots are fully correlated, so rather too wide.
    source : str
        Id of the forecast, with ``(degraded)`` or ``(neutral)`` where it is.
    synthetic : bool
        True when it was made up.
    neutral : bool
        True where the signal is too old to count: the figures are the mean over the other regions,
        with a band that holds all of theirs, so that they speak neither for nor against; 0 where
        nothing is known of any region.
    """

    low_g_per_kwh: float
    mid_g_per_kwh: float
    high_g_per_kwh: float
    source: str
    synthetic: bool
    neutral: bool = False


def slot_shares(forecast: Forecast, start_s: float, duration_s: float) -> NDArray[np.float64]:
    """Return which share of a run falls into each slot of a forecast.

    Parameters
    ----------
    forecast : Forecast
        With its grid.
    start_s : float
        Start of the run, seconds since the epoch.
    duration_s : float
        Its length [s], > 0.

    Returns
    -------
    ndarray, shape (len(forecast.slots),)
        Shares that add up to 1.

    Raises
    ------
    SlotError
        The run sticks out of the forecast.
    """
    grid, end_s = forecast.slots, start_s + duration_s
    if start_s < grid.start_s or end_s > grid.end_s:
        have = f"{format_time(grid.start_s)} to {format_time(grid.end_s)}"
        wanted = f"{duration_s / HOUR_S:g} h from {format_time(start_s)}"
        msg = f"{forecast.grid_zone}: the forecast from {have} does not cover {wanted}"
        raise SlotError(msg, hint="forecast a longer horizon, or shorten the request", value=start_s)
    return grid_shares(grid, start_s, duration_s)


def grid_shares(slots: SlotGrid, start_s: float, duration_s: float) -> NDArray[np.float64]:
    """Return which share of a run falls into each slot of a grid that covers it.

    Parameters
    ----------
    slots : SlotGrid
        The grid.
    start_s, duration_s : float
        Start of the run, seconds since the epoch, and its length [s], > 0.

    Returns
    -------
    ndarray, shape (len(slots),)
        Shares that add up to 1.
    """
    starts_s = slots.starts_s()
    end_s = start_s + duration_s
    overlap_s = np.minimum(starts_s + slots.step_s, end_s) - np.maximum(starts_s, start_s)
    return np.maximum(overlap_s, 0.0) / duration_s


def _met(forecast: Forecast, start_s: float, duration_s: float) -> Met:
    shares = slot_shares(forecast, start_s, duration_s)
    mid = max(0.0, float(shares @ forecast.mean_g_per_kwh))

    def end(wanted: float, levels: list[float]) -> float:
        # A forecast without that level lends the nearest one on the same side; without any, its centre.
        if not levels:
            return mid
        return float(shares @ forecast.quantile(min(levels, key=lambda level: abs(level - wanted))))

    return Met(
        low_g_per_kwh=min(mid, max(0.0, end(_LOW, [level for level in forecast.levels if level < 0.5]))),
        mid_g_per_kwh=mid,
        high_g_per_kwh=max(mid, end(_HIGH, [level for level in forecast.levels if level > 0.5])),
        source=_source(forecast),
        synthetic=forecast.synthetic,
    )


def _source(forecast: Forecast) -> str:
    state = next((flag for flag in (Flag.NEUTRAL, Flag.DEGRADED) if flag.value in forecast.flags), None)
    return f"{forecast.source} by {forecast.model}{f' ({state})' if state else ''}"


def _neutral(forecast: Forecast, known: Sequence[Met]) -> Met:
    count = max(len(known), 1)
    return Met(
        low_g_per_kwh=min((item.low_g_per_kwh for item in known), default=0.0),
        mid_g_per_kwh=sum(item.mid_g_per_kwh for item in known) / count,
        high_g_per_kwh=max((item.high_g_per_kwh for item in known), default=0.0),
        source=f"{forecast.source} (neutral)",
        synthetic=forecast.synthetic,
        neutral=True,
    )


def met_by_region(
    fleet: Fleet, forecasts: Mapping[str, Forecast], start_s: float, duration_s: float
) -> dict[str, Met]:
    """Return what a request meets in each region.

    Parameters
    ----------
    fleet : Fleet
        Its regions.
    forecasts : mapping of str to Forecast
        Per grid zone.
    start_s : float
        Start, seconds since the epoch.
    duration_s : float
        Length [s].

    Returns
    -------
    dict of str to Met
        Per region. A zone whose forecast is flagged ``neutral`` meets what the regions meet on average
        that have a better one: too old a signal must make nobody better or worse.

    Raises
    ------
    UnknownZone
        A region's zone has no forecast.
    SlotError
        A forecast doesn't cover the request.
    """
    by_zone: dict[str, Met] = {}
    for region in fleet.regions:
        zone = region.grid_zone
        if zone not in forecasts:
            msg = f"region '{region.name}' lies in grid zone '{zone}', which has no forecast"
            raise UnknownZone(msg, hint=did_you_mean(zone, forecasts), value=zone)
        if zone not in by_zone and Flag.NEUTRAL.value not in forecasts[zone].flags:
            by_zone[zone] = _met(forecasts[zone], start_s, duration_s)
    known = [by_zone[region.grid_zone] for region in fleet.regions if region.grid_zone in by_zone]
    for region in fleet.regions:
        if region.grid_zone not in by_zone:
            by_zone[region.grid_zone] = _neutral(forecasts[region.grid_zone], known)
    return {region.name: by_zone[region.grid_zone] for region in fleet.regions}


def scaled(met: Met, energy_kwh: float) -> tuple[float, float, float]:
    """Return the emissions of an energy at low, mid and high intensity [g]."""
    return energy_kwh * met.low_g_per_kwh, energy_kwh * met.mid_g_per_kwh, energy_kwh * met.high_g_per_kwh

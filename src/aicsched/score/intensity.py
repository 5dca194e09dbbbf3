"""The intensity a request meets: the mean over its slots, with its band."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aicsched.errors import SlotError, UnknownZone, did_you_mean
from aicsched.slots import format_time

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aicsched.domain.fleet import Fleet
    from aicsched.domain.forecast import Forecast

__all__ = ["Met", "met_by_region", "scaled"]

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
        Id of the forecast.
    synthetic : bool
        True when it was made up.
    """

    low_g_per_kwh: float
    mid_g_per_kwh: float
    high_g_per_kwh: float
    source: str
    synthetic: bool


def _met(forecast: Forecast, start_s: int, duration_s: float) -> Met:
    grid = forecast.slots
    first = (start_s - grid.start_s) // grid.step_s
    last = -(-(start_s - grid.start_s + int(duration_s)) // grid.step_s)
    if first < 0 or last > len(grid):
        msg = (
            f"{forecast.grid_zone}: the forecast from {format_time(grid.start_s)} to {format_time(grid.end_s)} "
            f"does not cover {duration_s / 3600:g} h from {format_time(start_s)}"
        )
        raise SlotError(msg, hint="forecast a longer horizon, or shorten the request", value=start_s)
    part = slice(first, max(last, first + 1))
    mid = float(forecast.mean_g_per_kwh[part].mean())
    return Met(
        low_g_per_kwh=min(mid, float(forecast.quantile(_LOW)[part].mean())),
        mid_g_per_kwh=mid,
        high_g_per_kwh=max(mid, float(forecast.quantile(_HIGH)[part].mean())),
        source=f"{forecast.source} by {forecast.model}",
        synthetic=forecast.synthetic,
    )


def met_by_region(fleet: Fleet, forecasts: Mapping[str, Forecast], start_s: int, duration_s: float) -> dict[str, Met]:
    """Return what a request meets in each region.

    Parameters
    ----------
    fleet : Fleet
        Its regions.
    forecasts : mapping of str to Forecast
        Per grid zone.
    start_s : int
        Start, seconds since the epoch.
    duration_s : float
        Length [s].

    Returns
    -------
    dict of str to Met
        Per region.

    Raises
    ------
    UnknownZone
        A region's zone has no forecast.
    SlotError
        A forecast doesn't cover the request.
    """
    made: dict[str, Met] = {}
    for region in fleet.regions:
        if region.grid_zone not in forecasts:
            msg = f"region '{region.name}' lies in grid zone '{region.grid_zone}', which has no forecast"
            raise UnknownZone(msg, hint=did_you_mean(region.grid_zone, forecasts), value=region.grid_zone)
        made[region.name] = _met(forecasts[region.grid_zone], start_s, duration_s)
    return made


def scaled(met: Met, energy_kwh: float) -> tuple[float, float, float]:
    """Return the emissions of an energy at low, mid and high intensity [g]."""
    return energy_kwh * met.low_g_per_kwh, energy_kwh * met.mid_g_per_kwh, energy_kwh * met.high_g_per_kwh

"""Forecast several grid zones, each with the best model that its history allows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from aicsched.errors import ConfigError, SignalGap, TooLittleHistory, did_you_mean
from aicsched.forecast.models.ridge import LogRidge
from aicsched.forecast.models.seasonal import SeasonalProfile
from aicsched.slots import HOUR_S, format_time

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aicsched.domain.carbon import CarbonSeries
    from aicsched.domain.forecast import Forecast
    from aicsched.forecast.base import Forecaster
    from aicsched.forecast.weather import WeatherVintages

__all__ = ["forecast_zones", "make_forecaster"]

AUTO: Final = "auto"
STALE_LIMIT_S: Final = 6 * HOUR_S


def make_forecaster(name: str) -> Forecaster:
    """Return a forecaster by its name.

    Parameters
    ----------
    name : str
        ``ridge``, ``seasonal``, or a plug-in of the group ``aicsched.forecasters``.

    Returns
    -------
    Forecaster
        A new object.

    Raises
    ------
    ConfigError
        There is no such model.

    Examples
    --------
    >>> make_forecaster("seasonal").name
    'seasonal'
    """
    if name == LogRidge.name:
        return LogRidge()
    if name == SeasonalProfile.name:
        return SeasonalProfile()
    from aicsched.plugins import load_plugin, plugin_names  # noqa: PLC0415 - scanning entry points takes time

    known = plugin_names("aicsched.forecasters")
    if name not in known:
        msg = f"there is no forecaster '{name}'"
        raise ConfigError(msg, hint=did_you_mean(name, {*known, AUTO, "ridge", "seasonal"}), value=name)
    return load_plugin("aicsched.forecasters", name)()


def _one(
    series: CarbonSeries, *, at_s: int, horizon: int, model: str, weather: WeatherVintages | None
) -> Forecast:
    known = series.before(at_s)
    lag = max(0, (at_s - known.slots.end_s) // known.slots.step_s)
    if lag * known.slots.step_s > STALE_LIMIT_S:
        msg = f"{series.grid_zone}: the newest intensity ends {format_time(known.slots.end_s)}, more than 6 h before {format_time(at_s)}"
        raise SignalGap(msg, hint="give newer data, or plan from an earlier time", value=lag)
    issue_s = known.slots.end_s
    try:
        made = make_forecaster(LogRidge.name if model == AUTO else model).fit(known, weather=weather).predict(issue_s, lag + horizon)
    except TooLittleHistory:
        if model != AUTO:
            raise
        made = SeasonalProfile().fit(known).predict(issue_s, lag + horizon)
        made = replace(made, flags=(*made.flags, "short-history:seasonal"))
    return replace(made, flags=(*made.flags, f"late:{lag}")) if lag else made


def forecast_zones(
    series: Mapping[str, CarbonSeries],
    *,
    at_s: int,
    horizon: int,
    model: str = AUTO,
    weather: Mapping[str, WeatherVintages] | None = None,
) -> dict[str, Forecast]:
    """Forecast several grid zones from one time on.

    Parameters
    ----------
    series : mapping of str to CarbonSeries
        Per zone; what lies at or after `at_s` is not read.
    at_s : int
        The issue time, seconds since the epoch. Data may end up to 6 hours
        earlier: the forecast then starts there and is flagged ``late:n``.
    horizon : int
        How many slots from `at_s` on.
    model : str
        ``auto`` takes ``ridge``, and ``seasonal`` where a history is too short for it.
    weather : mapping of str to WeatherVintages, optional
        Weather forecasts as they were issued, per zone.

    Returns
    -------
    dict of str to Forecast
        Per zone, covering at least the slots asked for.

    Raises
    ------
    ForecastError, SignalError, ConfigError
        A zone can't be forecast; the message names it.
    """
    offered = weather or {}
    return {
        zone: _one(item, at_s=at_s, horizon=horizon, model=model, weather=offered.get(zone))
        for zone, item in series.items()
    }

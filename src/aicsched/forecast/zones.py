"""Forecast several grid zones, each with the best model that its history allows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aicsched.errors import ConfigError, did_you_mean
from aicsched.forecast.base import LEVELS
from aicsched.forecast.issue import covariates_for, foresee, known_past
from aicsched.forecast.models.auto import AutoForecaster
from aicsched.forecast.models.blend import LogBlend
from aicsched.forecast.models.ridge import LogRidge
from aicsched.forecast.models.seasonal import SeasonalProfile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aicsched.domain.carbon import CarbonSeries
    from aicsched.domain.forecast import Forecast
    from aicsched.forecast.base import Covariates, Forecaster

__all__ = ["AUTO", "forecast_zones", "make_forecaster"]

AUTO: Final = AutoForecaster.name
_OWN: Final = (AutoForecaster, LogBlend, LogRidge, SeasonalProfile)
_GROUP: Final = "aicsched.forecasters"


def make_forecaster(name: str, *, levels: Sequence[float] = LEVELS) -> Forecaster:
    """Return a forecaster by its name.

    Parameters
    ----------
    name : str
        ``auto``, ``blend``, ``ridge``, ``seasonal``, or a plug-in of the group ``aicsched.forecasters``.
    levels : sequence of float
        Quantile levels to forecast, rising.

    Returns
    -------
    Forecaster
        A new object.

    Raises
    ------
    ConfigError
        There is no such model, or the levels don't rise within (0, 1).

    Examples
    --------
    >>> make_forecaster("seasonal").name
    'seasonal'
    """
    chosen = tuple(levels)
    if not chosen or sorted(set(chosen)) != list(chosen) or not 0 < chosen[0] <= chosen[-1] < 1:
        msg = f"quantile levels {chosen} don't rise within 0 and 1"
        raise ConfigError(msg, hint="write for example 0.1, 0.5, 0.9", value=chosen)
    for model in _OWN:
        if model.name == name:
            return model(chosen)
    from aicsched.plugins import load_plugin, plugin_names  # noqa: PLC0415 - scanning entry points takes time

    known = plugin_names(_GROUP)
    if name not in known:
        msg = f"there is no forecaster '{name}'"
        raise ConfigError(
            msg, hint=did_you_mean(name, {*known, AUTO, "blend", "ridge", "seasonal"}), value=name
        )
    plugin = load_plugin(_GROUP, name)
    return plugin() if chosen == LEVELS else plugin(levels=chosen)


def _one(
    forecaster: Forecaster, series: CarbonSeries, *, at_s: int, horizon: int, covariates: Covariates | None
) -> Forecast:
    known = known_past(series, at_s)
    forecaster.fit(known, covariates=covariates_for(series, covariates))
    return foresee(forecaster, known, at_s=at_s, horizon=horizon)


def forecast_zones(
    series: Mapping[str, CarbonSeries],
    *,
    at_s: int,
    horizon: int,
    model: str = AUTO,
    levels: Sequence[float] = LEVELS,
    covariates: Mapping[str, Covariates] | None = None,
) -> dict[str, Forecast]:
    """Forecast several grid zones from one time on.

    Parameters
    ----------
    series : mapping of str to CarbonSeries
        Per zone; what was not known at `at_s` is not read, be it since it lies behind,
        comes with an availability lag or was revised later.
    at_s : int
        The issue time, seconds since the epoch, a slot start. Data may end up to
        6 hours earlier, beside their availability lag: the slots between are
        foreseen too, left out, and the forecast is flagged ``late:n``.
    horizon : int
        How many slots from `at_s` on.
    model : str
        ``auto`` takes ``ridge``, ``blend`` where weather is offered, and ``seasonal`` where a
        history is too short.
    levels : sequence of float
        Quantile levels, rising.
    covariates : mapping of str to Covariates, optional
        What the model may know beside the intensities, per zone; zones may be left out.

    Returns
    -------
    dict of str to Forecast
        Per zone, on exactly the slots asked for.

    Raises
    ------
    ForecastError, SignalError, SlotError, ConfigError
        A zone can't be forecast; the message names it.

    Examples
    --------
    >>> from aicsched.testing import example_series
    >>> series = example_series(zone="DE")
    >>> made = forecast_zones({"DE": series}, at_s=series.slots.end_s, horizon=24)
    >>> made["DE"].model, len(made["DE"].slots)
    ('ridge', 24)
    """
    offered = covariates or {}
    return {
        zone: _one(
            make_forecaster(model, levels=levels),
            item,
            at_s=at_s,
            horizon=horizon,
            covariates=offered.get(zone),
        )
        for zone, item in series.items()
    }

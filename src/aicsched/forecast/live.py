"""Forecasts of what is read live: from fresh or late data where they allow it, neutral where they don't.

`forecast_zones` refuses data that are too old, since a plan on them would be a guess. What
scores candidates at any moment can't refuse: it takes a *neutral* forecast, whose numbers
are the zone's own climate and count for nothing (`aicsched.score.intensity`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.domain.flags import Flag
from aicsched.domain.forecast import Forecast
from aicsched.domain.tidy import quality_flags
from aicsched.errors import ConfigError, SignalError, SignalGap, TooLittleHistory
from aicsched.forecast.base import LEVELS
from aicsched.forecast.zones import AUTO, forecast_zones
from aicsched.signals.staleness import Staleness, staleness_of
from aicsched.slots import HOUR_S, SlotGrid

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from aicsched.domain.carbon import CarbonSeries
    from aicsched.signals.base import CarbonSource

__all__ = ["LiveForecasts", "forecast_live", "neutral_forecast"]

NEUTRAL_MODEL: Final = "neutral"
_CLIMATE_S: Final = 56 * 24 * HOUR_S


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LiveForecasts:
    """What is foreseen now, and what that rests on.

    Parameters
    ----------
    forecasts : mapping of str to Forecast
        Per grid zone; flagged ``degraded`` or ``neutral`` where they are.
    staleness : mapping of str to Staleness
        Per grid zone, the unknown ones among them.
    unknown : mapping of str to str
        Zones of which nothing was ever known, and why.
    """

    forecasts: Mapping[str, Forecast]
    staleness: Mapping[str, Staleness]
    unknown: Mapping[str, str]


def neutral_forecast(
    series: CarbonSeries, *, at_s: int, horizon: int, levels: Sequence[float] = LEVELS
) -> Forecast:
    """Make a forecast that says: nobody knows.

    Parameters
    ----------
    series : CarbonSeries
        What was known once; at least one value.
    at_s : int
        Issue time, seconds since the epoch, a slot start.
    horizon : int
        How many slots.
    levels : sequence of float
        Quantile levels, rising.

    Returns
    -------
    Forecast
        Flagged ``neutral``: the mean of each time of day over the last eight weeks that are known,
        and the quantiles of all of them. Scores don't use these numbers.

    Raises
    ------
    TooLittleHistory
        No value is known.

    Examples
    --------
    >>> from aicsched.testing import example_series
    >>> series = example_series()
    >>> neutral_forecast(series, at_s=series.slots.end_s + 86_400, horizon=24).flags
    ('neutral',)
    """
    step_s = series.slots.step_s
    end_s = series.slots.end_s
    recent = series.window(series.slots.between(max(series.slots.start_s, end_s - _CLIMATE_S), end_s))
    known = np.flatnonzero(~np.isnan(recent.values_g_per_kwh))
    if not len(known):
        msg = f"{series.grid_zone}: no intensity was ever known"
        raise TooLittleHistory(msg, hint="read the source once", value=0)
    values = recent.values_g_per_kwh[known]
    time_of_day_s = recent.slots.starts_s()[known] % (24 * HOUR_S)
    slots = SlotGrid(at_s, step_s, horizon)
    times_s, place = np.unique(time_of_day_s, return_inverse=True)
    means = np.bincount(place, values) / np.bincount(place)
    usual = dict(zip(times_s.tolist(), means.tolist(), strict=True))
    overall = float(values.mean())
    wanted = (slots.starts_s() % (24 * HOUR_S)).tolist()
    quantiles = np.quantile(values, np.asarray(levels, dtype=np.float64))
    return Forecast(
        grid_zone=series.grid_zone,
        kind=series.kind,
        slots=slots,
        issue_time_s=at_s,
        mean_g_per_kwh=np.array([usual.get(time_s, overall) for time_s in wanted]),
        levels=tuple(levels),
        quantiles_g_per_kwh=np.repeat(quantiles[:, None], horizon, axis=1),
        model=NEUTRAL_MODEL,
        source=series.source,
        flags=(*quality_flags(series), Flag.NEUTRAL.value),
        synthetic=series.synthetic,
    )


def forecast_live(
    source: CarbonSource,
    zones: Iterable[str],
    *,
    now_s: float,
    horizon_h: float,
    model: str = AUTO,
    levels: Sequence[float] = LEVELS,
) -> LiveForecasts:
    """Forecast zones from now on, whatever state their signals are in.

    Parameters
    ----------
    source : CarbonSource
        For example `aicsched.signals.live.LastKnownGood`.
    zones : iterable of str
        Which.
    now_s : float
        The present, seconds since the epoch: forecasts begin with the slot under way.
    horizon_h : float
        How far [h].
    model : str
        As for `forecast_zones`.
    levels : sequence of float
        Quantile levels, rising.

    Returns
    -------
    LiveForecasts
        Fresh or degraded where the newest value is up to six hours old beside its lag, else neutral.

    Raises
    ------
    ConfigError
        There is no such model.

    Examples
    --------
    >>> from aicsched.signals.carbon.sample import SAMPLE_NOW_S, SampleCarbon
    >>> made = forecast_live(SampleCarbon(), ["syn-coal"], now_s=SAMPLE_NOW_S, horizon_h=24)
    >>> len(made.forecasts["syn-coal"].slots), str(made.staleness["syn-coal"])
    (24, 'fresh')
    """
    forecasts: dict[str, Forecast] = {}
    states: dict[str, Staleness] = {}
    unknown: dict[str, str] = {}
    for zone in zones:
        try:
            series = source.read(zone)
        except (SignalError, ConfigError) as error:
            states[zone], unknown[zone] = Staleness.NEUTRAL, error.message
            continue
        grid = series.slots
        at_s = grid.start_s + int(now_s - grid.start_s) // grid.step_s * grid.step_s
        horizon = max(1, int(horizon_h * HOUR_S) // grid.step_s)
        # What a file knows of the future isn't known now.
        past = series.before(at_s)
        state = staleness_of(past, now_s)
        try:
            if state is not Staleness.NEUTRAL:
                made = forecast_zones({zone: past}, at_s=at_s, horizon=horizon, model=model, levels=levels)
                forecasts[zone] = _told(made[zone], state)
        except (SignalGap, TooLittleHistory):
            state = Staleness.NEUTRAL
        states[zone] = state
        if state is Staleness.NEUTRAL:
            try:
                forecasts[zone] = neutral_forecast(past, at_s=at_s, horizon=horizon, levels=levels)
            except TooLittleHistory as error:
                unknown[zone] = error.message
    return LiveForecasts(forecasts=forecasts, staleness=states, unknown=unknown)


def _told(made: Forecast, state: Staleness) -> Forecast:
    """Flag what got too old since its slot began; `foresee` reckons from the slot's start."""
    late = state is Staleness.DEGRADED and Flag.DEGRADED.value not in made.flags
    return replace(made, flags=(*made.flags, Flag.DEGRADED.value)) if late else made

"""What may be known at an issue time, and a forecast from there though data be late."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from aicsched.domain.flags import Flag
from aicsched.errors import SignalGap, SlotError, TooLittleHistory
from aicsched.forecast.base import FLOOR_G_PER_KWH
from aicsched.signals.staleness import SKEW_LIMIT_S, STALE_LIMIT_S, Staleness, skew_s, staleness
from aicsched.slots import HOUR_S, SlotGrid, format_time

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from aicsched.domain.carbon import CarbonSeries
    from aicsched.domain.forecast import Forecast
    from aicsched.forecast.base import Covariates, Forecaster

__all__ = ["STALE_LIMIT_S", "covariates_for", "foresee", "known_past", "newest_issue_s"]


def known_past(series: CarbonSeries, at_s: int) -> CarbonSeries:
    """Return what was known of a series at an issue time.

    Parameters
    ----------
    series : CarbonSeries
        With its availability lag, if it has one.
    at_s : int
        Issue time, seconds since the epoch.

    Returns
    -------
    CarbonSeries
        Its end is the newest slot known.

    Raises
    ------
    SlotError
        The issue time is no slot start.
    TooLittleHistory
        Nothing was known by then.
    SignalGap
        The newest slot known ended more than 6 hours before, beside the lag that was told.
    """
    step_s, lag_s = series.slots.step_s, series.availability_lag_s
    if (at_s - series.slots.start_s) % step_s:
        msg = f"{series.grid_zone}: {format_time(at_s)} is no slot start of its {step_s} s slots"
        raise SlotError(msg, hint="choose a time on the grid", value=at_s)
    known = series.known_at(at_s)
    if not len(known.slots):
        msg = f"{series.grid_zone}: no intensity is known before {format_time(at_s)}"
        raise TooLittleHistory(msg, hint="give more past, or a later time", value=0)
    late_s = at_s - known.slots.end_s
    if late_s > STALE_LIMIT_S + lag_s:
        newest, asked = format_time(known.slots.end_s), format_time(at_s)
        told = f" and the {lag_s / HOUR_S:g} h of its availability lag" if lag_s else ""
        msg = f"{series.grid_zone}: the newest intensity ends {newest}, more than 6 h{told} before {asked}"
        raise SignalGap(msg, hint="give newer data, or plan from an earlier time", value=late_s)
    return known


def newest_issue_s(series: Iterable[CarbonSeries]) -> int:
    """Return the newest time from which all of some series can be forecast.

    Parameters
    ----------
    series : iterable of CarbonSeries
        At least one.

    Returns
    -------
    int
        When the newest values of each were known, seconds since the epoch: on a
        slot start of the one with the longest slots.

    Examples
    --------
    >>> from aicsched.testing import example_series
    >>> item = example_series()
    >>> newest_issue_s([item]) == item.slots.end_s
    True
    """
    items = list(series)
    coarse = max(items, key=lambda item: item.slots.step_s).slots
    known_s = min(_newest_s(item) for item in items)
    return known_s - (known_s - coarse.start_s) % coarse.step_s


def _newest_s(item: CarbonSeries) -> int:
    found = np.flatnonzero(~np.isnan(item.values_g_per_kwh))
    end_s = item.slots.start_s + item.slots.step_s * (int(found[-1]) + 1 if len(found) else 0)
    if item.readings is not None and len(item.readings.read_s):
        newest = item.readings.start_s == item.readings.start_s.max()
        return max(end_s + item.availability_lag_s, int(item.readings.read_s[newest].max()))
    return end_s + item.availability_lag_s


def covariates_for(series: CarbonSeries, covariates: Covariates | None) -> Covariates | None:
    """Reckon the availability of covariates from the end of the data instead of the issue time.

    A model sees an issue time at the end of the data; where these are known to come
    with a lag, weather that is issued in between is at hand all the same.

    Parameters
    ----------
    series : CarbonSeries
        With its availability lag.
    covariates : Covariates, optional
        As they are at the issue time.

    Returns
    -------
    Covariates or None
        Nothing in them can be used before it was known.
    """
    lag_s = series.availability_lag_s
    if covariates is None or not lag_s:
        return covariates
    # A slot's end and the issue time differ by the lag or a little more: rounded down, nothing is early.
    weather, mix = covariates.weather, covariates.mix
    if weather is not None:
        weather = replace(weather, availability_lag_s=weather.availability_lag_s - lag_s)
    if mix is not None:
        # What comes earlier than the intensities is read no earlier than they are.
        mix = replace(mix, availability_lag_s=max(0, mix.availability_lag_s - lag_s))
    return replace(covariates, weather=weather, mix=mix)


def foresee(forecaster: Forecaster, known: CarbonSeries, *, at_s: int, horizon: int) -> Forecast:
    """Forecast from an issue time on, from what was known then.

    Parameters
    ----------
    forecaster : Forecaster
        Has learned from `known`, or been updated with it.
    known : CarbonSeries
        Of `known_past`.
    at_s : int
        Issue time, seconds since the epoch.
    horizon : int
        How many slots from there on.

    Returns
    -------
    Forecast
        Where data end before the issue time, the slots between are foreseen too and
        left out, and the forecast is flagged ``late:n``. Where they end more than two slots
        before, beside the lag that was told, or were read with clocks that differ, it is
        flagged ``degraded``, and its bands are widened as below.

    Notes
    -----
    A stale start already has wider bands by its longer leads. Widened further, the band of each
    slot is, as a ratio to its centre, at least that of each of the slots between the data's end and
    the issue time: no narrower than from any start that the data might have had. With clocks
    that differ by n slots, it holds the bands of the n slots before and after.

    Raises
    ------
    ForecastError, SignalError
        The forecaster refuses.
    """
    step_s = known.slots.step_s
    late = (at_s - known.slots.end_s) // step_s
    skew = abs(skew_s(known.flags))
    skewed = skew > SKEW_LIMIT_S
    age_s = at_s - known.slots.end_s - known.availability_lag_s
    state = staleness(max(age_s, 0), step_s, skewed=skewed)
    made = forecaster.predict(known.slots.end_s, late + horizon)
    if state is not Staleness.FRESH:
        made = replace(
            made, quantiles_g_per_kwh=_widened(made, late), flags=(*made.flags, Flag.DEGRADED.value)
        )
    if skewed:
        made = replace(made, quantiles_g_per_kwh=_around(made, -(-min(skew, STALE_LIMIT_S) // step_s)))
    if not late:
        return made
    return replace(
        made,
        issue_time_s=at_s,
        slots=SlotGrid(at_s, step_s, horizon),
        mean_g_per_kwh=made.mean_g_per_kwh[late:],
        quantiles_g_per_kwh=made.quantiles_g_per_kwh[:, late:],
        flags=(*made.flags, Flag.LATE.of(late)),
        past_errors=None if made.past_errors is None else made.past_errors.behind(late, step_s),
    )


def _widened(made: Forecast, late: int) -> NDArray[np.float64]:
    """Give each slot the widest band, as a ratio to its centre, of the `late` slots before and its own."""
    centre = np.log(np.maximum(made.mean_g_per_kwh, FLOOR_G_PER_KWH))
    ratio = np.log(np.maximum(made.quantiles_g_per_kwh, FLOOR_G_PER_KWH)) - centre
    quantiles = made.quantiles_g_per_kwh.copy()
    for row, level in enumerate(made.levels):
        if level < 0.5:
            quantiles[row] = np.minimum(
                quantiles[row], np.exp(centre + _running(ratio[row], late, np.minimum))
            )
        elif level > 0.5:
            quantiles[row] = np.maximum(
                quantiles[row], np.exp(centre + _running(ratio[row], late, np.maximum))
            )
    return quantiles


def _running(values: NDArray[np.float64], late: int, choose: np.ufunc) -> NDArray[np.float64]:
    made = values.copy()
    for back in range(1, min(late, len(values) - 1) + 1):
        made[back:] = choose(made[back:], values[:-back])
    return made


def _around(made: Forecast, slots: int) -> NDArray[np.float64]:
    """Let each slot's band hold those of some slots before and after."""
    quantiles = made.quantiles_g_per_kwh.copy()
    for row, level in enumerate(made.levels):
        if level != 0.5:
            choose = np.minimum if level < 0.5 else np.maximum
            forth = _running(quantiles[row], slots, choose)
            quantiles[row] = choose(forth, _running(quantiles[row][::-1], slots, choose)[::-1])
    return quantiles

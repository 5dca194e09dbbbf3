"""Scenarios: whole trajectories of intensity that a forecast holds possible.

Quantiles say how far off each slot may be, not whether an error stays for hours and
comes again a day later. A mean over some slots, which is what a job emits by, depends
on that: drawn slot by slot, errors would cancel out and every window seem certain.

Marginals and dependence come apart (a copula). In each slot a scenario's values are
those of the forecast's quantiles; their order follows the model's own past errors, one
past day's trajectory a scenario: the empirical copula of the Schaake shuffle.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.domain.forecast import PastErrors
from aicsched.errors import ForecastError
from aicsched.forecast.base import FLOOR_G_PER_KWH
from aicsched.slots import HOUR_S

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from aicsched.domain.forecast import Forecast

    Array = NDArray[np.float64]

__all__ = ["sample_scenarios", "sample_scenarios_of"]

# Fewer trajectories than this tell no dependence.
_MIN_PAST: Final = 10
# How errors hang together where a model doesn't tell: share of variance and correlation an hour of two AR(1)
# parts, in normal scores. Chosen on `ridge` from January to June 2021 of 13 grids: correlation after 1, 6, 24
# and 72 h 0.94, 0.72, 0.43, 0.18 (measured 0.94, 0.72, 0.52, 0.18), variance of means over 4 and over 24 h
# 0.92 and 0.70 (measured 0.92 and 0.70).
_PARTS: Final = ((0.65, 0.982), (0.35, 0.85))
# Tails reach no further than three standard deviations: one draw in 740 a side.
_FURTHEST: Final = 3.0


def sample_scenarios(forecast: Forecast, count: int, seed: int) -> Array:
    """Draw trajectories from a forecast, with errors that last as the model's own did.

    Parameters
    ----------
    forecast : Forecast
        With at least two quantile levels. Where it carries `past_errors` of at least 10
        issue times, these give the dependence from slot to slot; otherwise errors
        are Gaussian in rank and their correlation falls with time as it does on average over grids:
        0.94 after an hour, 0.72 after six, 0.43 after a day.
    count : int
        How many.
    seed : int
        Not negative. The same seed gives the same scenarios, and more of them start with the same.

    Returns
    -------
    ndarray, shape (count, len(forecast.slots))
        Intensity [g/kWh], positive, each row as likely as any other.

    Raises
    ------
    ForecastError
        A count below 1, a negative seed, or a forecast of less than two levels.

    Notes
    -----
    In each slot values follow the quantiles, between which the logarithm of intensity is
    linear in the normal score of the level. Beyond the outer levels this line goes
    on (a log-normal tail), to three standard deviations. Quantiles below 0.5 g/kWh count
    as 0.5. Every past trajectory is used once before one is used again, shifted within its rank.

    References
    ----------
    Clark et al. 2004, "The Schaake Shuffle", doi:10.1175/1525-7541(2004)005<0243:TSSAMF>2.0.CO;2.
    Schefzik et al. 2013, empirical copulas, doi:10.1214/13-STS443.

    Examples
    --------
    >>> from aicsched.forecast import forecast_zones
    >>> from aicsched.testing import example_series
    >>> series = example_series(zone="DE")
    >>> forecast = forecast_zones({"DE": series}, at_s=series.slots.end_s, horizon=24)["DE"]
    >>> made = sample_scenarios(forecast, 200, seed=1)
    >>> made.shape, bool((made > 0).all())
    ((200, 24), True)
    >>> share = (made < forecast.quantile(0.9)).mean()
    >>> bool(0.88 < share < 0.92)
    True
    """
    _refuse(count, seed)
    past = forecast.past_errors
    if past is None or len(past.ranks) < _MIN_PAST:
        return _intensities(forecast, _persistent(forecast, count, seed))
    rows, place = _drawn(len(past.ranks), count, seed)
    return _intensities(forecast, _scores(past, rows, place))


def sample_scenarios_of(forecasts: Mapping[str, Forecast], count: int, seed: int) -> dict[str, Array]:
    """Draw trajectories of several zones at once, with the errors of zones as they came together.

    Parameters
    ----------
    forecasts : mapping of str to Forecast
        Per zone, of one issue time.
    count : int
        How many.
    seed : int
        Not negative.

    Returns
    -------
    dict of str to ndarray, shape (count, slots)
        Intensity [g/kWh]. Scenario `i` of one zone goes with scenario `i` of the others.

    Raises
    ------
    ForecastError
        As `sample_scenarios`; or the forecasts are of different issue times.

    Notes
    -----
    Zones share a scenario's past issue time where at least 10 of these are common to all that
    carry `past_errors`. Otherwise, and for those that carry none, zones are drawn independently.

    Examples
    --------
    >>> from aicsched.forecast import forecast_zones
    >>> from aicsched.testing import example_series
    >>> series = {zone: example_series(zone=zone) for zone in ("DE", "FR")}
    >>> made = forecast_zones(series, at_s=series["DE"].slots.end_s, horizon=24)
    >>> {zone: item.shape for zone, item in sample_scenarios_of(made, 50, seed=1).items()}
    {'DE': (50, 24), 'FR': (50, 24)}
    """
    _refuse(count, seed)
    if len({item.issue_time_s for item in forecasts.values()}) > 1:
        msg = "forecasts of different issue times have no scenarios in common"
        raise ForecastError(msg, hint="forecast all zones from one time on")
    told = {
        zone: item.past_errors
        for zone, item in forecasts.items()
        if item.past_errors is not None and len(item.past_errors.ranks) >= _MIN_PAST
    }
    common = _common(list(told.values()))
    seeds = np.random.SeedSequence(seed).generate_state(len(forecasts) + 1, np.uint64).tolist()
    rows, place = _drawn(max(1, len(common)), count, seeds[-1])
    made: dict[str, Array] = {}
    for (zone, item), own_seed in zip(forecasts.items(), seeds[:-1], strict=True):
        if zone in told and len(common) >= _MIN_PAST:
            past = told[zone]
            shared = np.isin(past.issue_times_s, common)
            ranked = PastErrors.of(common, past.ranks[shared].astype(np.float64))
            made[zone] = _intensities(item, _scores(ranked, rows, place))
        else:
            made[zone] = sample_scenarios(item, count, own_seed)
    return made


def _refuse(count: int, seed: int) -> None:
    if count < 1:
        msg = f"{count} scenarios are none"
        raise ForecastError(msg, hint="ask for at least 1", value=count)
    if seed < 0:
        msg = f"a seed of {seed} is negative"
        raise ForecastError(msg, hint="give 0 or more", value=seed)


def _common(told: list[PastErrors]) -> NDArray[np.int64]:
    """Return the issue times that all have."""
    common = told[0].issue_times_s if told else np.empty(0, dtype=np.int64)
    for item in told[1:]:
        common = np.intersect1d(common, item.issue_times_s)
    return common


def _drawn(size: int, count: int, seed: int) -> tuple[NDArray[np.int64], Array]:
    """Return which past trajectory each scenario follows, and where within its rank it lies."""
    order, place = (np.random.default_rng(item) for item in np.random.SeedSequence(seed).spawn(2))
    rows = np.concatenate([order.permutation(size) for _ in range(-(-count // size))])
    return rows[:count], place.random(count)


def _scores(past: PastErrors, rows: NDArray[np.int64], place: Array) -> Array:
    """Return the normal scores of past ranks, shape (count, slots).

    A scenario lies at one place within all its ranks, so that it stays as smooth as its trajectory.
    """
    from scipy.special import ndtri  # noqa: PLC0415 - importing scipy takes 0.4 s

    levels = (past.ranks[rows] + place[:, None]) / len(past.ranks)
    return np.clip(ndtri(levels), -_FURTHEST, _FURTHEST)


def _persistent(forecast: Forecast, count: int, seed: int) -> Array:
    """Return normal scores of the sum of stationary AR(1) processes, shape (count, slots)."""
    random = np.random.default_rng(seed)
    made = np.zeros((count, len(forecast.slots)))
    for share, persistence_1h in _PARTS:
        kept = persistence_1h ** (forecast.slots.step_s / HOUR_S)
        part = share**0.5 * random.standard_normal(made.shape)
        part[:, 1:] *= (1.0 - kept**2) ** 0.5
        for slot in range(1, made.shape[1]):
            part[:, slot] += kept * part[:, slot - 1]
        made += part
    return np.clip(made, -_FURTHEST, _FURTHEST)


def _intensities(forecast: Forecast, scores: Array) -> Array:
    """Return the intensity at normal scores, slot by slot, shape (count, slots)."""
    if len(forecast.levels) < 2:
        msg = f"{forecast.grid_zone}: a forecast of {len(forecast.levels)} quantile levels says no spread"
        raise ForecastError(msg, hint="forecast for example 0.1, 0.5 and 0.9", value=forecast.levels)
    known = np.array([NormalDist().inv_cdf(level) for level in forecast.levels])
    logs = np.log(np.maximum(forecast.quantiles_g_per_kwh, FLOOR_G_PER_KWH))
    slopes = np.diff(logs, axis=0) / np.diff(known)[:, None]
    # The outer pieces reach beyond their levels.
    piece = np.searchsorted(known[1:-1], scores)
    slot = np.arange(scores.shape[1])
    return np.exp(logs[piece, slot] + slopes[piece, slot] * (scores - known[piece]))

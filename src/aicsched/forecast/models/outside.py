"""What weather forecasts and the source mix tell of a lead day, as named blocks of columns.

Weather is taken by parts of a day: finer steps say little more and cost columns.
Where the mix is known, what a change of wind or sun means is told by how much of the
zone's power they gave in the last four weeks, so that one weight holds while capacity grows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from aicsched.forecast.base import DAY_S, filled
from aicsched.forecast.models.features import Table

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from aicsched.domain.source_mix import SourceMix
    from aicsched.forecast.base import History
    from aicsched.forecast.weather import WeatherVintages

    Array = NDArray[np.float64]
    Indices = NDArray[np.int64]

__all__ = ["KnownMix", "Outside", "known_mean", "known_mix", "wind_power"]

_PARTS: Final = 4
_MONTH_DAYS: Final = 28
_MIX_WINDOWS_H: Final = (1, 24, 168)
# Sources that give less than this share tell nothing that the others don't.
_LEAST_SHARE: Final = 0.005
# A mix with more than this missing, altogether or in its last day, is left out.
_MISSING_LIMIT_SHARE: Final = 0.25
# A turbine's power curve rises steepest at about half its rated wind speed; at the height of the
# forecasts (10 m) that is near 6 m/s, and from 3 to 9 m/s it goes from little to most.
_WIND_MIDDLE_M_PER_S: Final = 6.0
_WIND_SPREAD_M_PER_S: Final = 1.5
_COMFORT_K: Final = 288.15
_WIND_EMPHASIS: Final = 2.0
_DAILY_EMPHASIS: Final = 2.0
_KEPT: Final = 12
# What each variable of the weather drives, by how sources are named.
_DRIVERS: Final = (("wind", "wind_speed"), ("solar", "dswrf"))


class KnownMix(NamedTuple):
    """The mix on a history's slots, without gaps.

    Parameters
    ----------
    names : tuple of str
        Of the sources that matter.
    generation : ndarray, shape (S, n)
        Power [MW].
    shares_sum : ndarray, shape (S, n + 1)
        Running sum of their shares of all power, from 0 on.
    lag : int
        So many slots, whole days, before an issue time the mix ends.
    """

    names: tuple[str, ...]
    generation: Array
    shares_sum: Array
    lag: int

    def mean_shares(self, origins: Indices, slots: int) -> Array:
        """Return the shares over the slots before each origin, shape (n, S)."""
        end = np.maximum(origins - self.lag, 0)
        first = np.maximum(end - slots, 0)
        summed = self.shares_sum[:, end] - self.shares_sum[:, first]
        return (summed / np.maximum(end - first, 1)).T


def known_mix(
    mix: SourceMix | None, history: History, *, names: Collection[str] | None = None
) -> KnownMix | None:
    """Return the mix as features need it, or None where too much of it is missing.

    Parameters
    ----------
    mix : SourceMix, optional
        As offered.
    history : History
        Nothing behind its end is read.
    names : collection of str, optional
        The sources that mattered when a model learned; by default those that matter here.

    Returns
    -------
    KnownMix or None
        On the history's slots.
    """
    if mix is None:
        return None
    per_day = history.per_day
    lag = -(-mix.availability_lag_s // DAY_S) * per_day
    given = mix.on(history.series.slots)
    if lag:
        given[:, -lag:] = np.nan
    total = np.nansum(given, axis=0)
    used: NDArray[np.bool_]
    if names is None:
        each: Array = np.nansum(given, axis=1)
        used = each > _LEAST_SHARE * max(float(total.sum()), 1e-9)
    else:
        used = np.array([name in names for name in mix.sources], dtype=np.bool_)
    here = slice(0, given.shape[1] - lag)
    missing: NDArray[np.bool_] = np.isnan(given[used, here]).sum(axis=0) > 0
    if not used.any() or not len(missing):
        return None
    if max(missing.mean(), missing[-per_day:].mean()) > _MISSING_LIMIT_SHARE:
        return None
    rows = [filled(np.where(missing, np.nan, row[here]), per_day) for row in given[used]]
    generation = np.concatenate([np.stack(rows), np.zeros((len(rows), lag))], axis=1)
    shares = generation / np.maximum(generation.sum(axis=0), 1e-9)
    summed = np.concatenate([np.zeros((len(rows), 1)), np.cumsum(shares, axis=1)], axis=1)
    names = tuple(name for name, kept in zip(mix.sources, used, strict=True) if kept)
    return KnownMix(names, generation, summed, lag)


def wind_power(speed_m_per_s: Array) -> Array:
    """Return about which share of its power a wind park gives.

    Parameters
    ----------
    speed_m_per_s : ndarray
        At 10 m [m/s].

    Returns
    -------
    ndarray
        Between 0 and 1, same shape.

    Examples
    --------
    >>> wind_power(np.array([0.0, 6.0, 12.0])).round(2).tolist()
    [0.02, 0.5, 0.98]
    """
    return 1.0 / (1.0 + np.exp(-(speed_m_per_s - _WIND_MIDDLE_M_PER_S) / _WIND_SPREAD_M_PER_S))


class Outside:
    """The blocks of one zone, made once for the same origins and lead day.

    Parameters
    ----------
    weather : WeatherVintages
        Forecasts as they were issued.
    history : History
        Gives the slots.
    mix : KnownMix, optional
        On the history's slots.
    """

    def __init__(self, weather: WeatherVintages, history: History, mix: KnownMix | None) -> None:
        self.weather = weather
        self.history = history
        self.mix = mix
        self._made: dict[tuple[int, bytes], dict[str, tuple[Array, float]]] = {}

    def issue_s(self, origins: Indices) -> Indices:
        """Return the issue times of origins, seconds since the epoch."""
        slots = self.history.series.slots
        return slots.start_s + slots.step_s * origins

    def table(self, origins: Indices, day: int, names: Collection[str] | None = None) -> Table:
        """Return blocks side by side.

        Parameters
        ----------
        origins : ndarray of int, shape (n,)
            Slot indices.
        day : int
            Lead day, 0 is the first 24 hours.
        names : collection of str, optional
            Beginnings of the names of the blocks wanted; by default all.

        Returns
        -------
        Table
            NaN where no weather forecast was at hand.
        """
        blocks = self.blocks(origins, day)
        if names is not None:
            blocks = {name: block for name, block in blocks.items() if name.startswith(tuple(names))}
        emphasis = [np.full(values.shape[1], factor) for values, factor in blocks.values()]
        return Table(
            np.concatenate([values for values, _ in blocks.values()], axis=1), np.concatenate(emphasis)
        )

    def blocks(self, origins: Indices, day: int) -> dict[str, tuple[Array, float]]:
        """Return the blocks of a lead day by name, each with its emphasis."""
        key = (day, origins.tobytes())
        if key not in self._made:
            if len(self._made) >= _KEPT:
                self._made.pop(next(iter(self._made)))
            self._made[key] = self._blocks(origins, day)
        return self._made[key]

    def _blocks(self, origins: Indices, day: int) -> dict[str, tuple[Array, float]]:
        issue_s, weather = self.issue_s(origins), self.weather
        there, before = weather.day(issue_s, day), weather.day(issue_s, day - 1)
        days = _MONTH_DAYS if self.mix is not None else 7
        past = np.stack([weather.day(issue_s - DAY_S * age, 0) for age in range(1, days + 1)])
        usual = known_mean(past[:7])
        fine = (8 / _PARTS) ** 0.5
        blocks: dict[str, tuple[Array, float]] = {}
        for column, name in enumerate(weather.variables):
            now = there[:, column]
            blocks[f"{name}/value"] = (_parts(now), fine)
            blocks[f"{name}/unusual"] = (_parts(now - usual[:, column]), fine)
            blocks[f"{name}/change"] = ((now.mean(axis=1) - before[:, column].mean(axis=1))[:, None], 1.0)
        if "wind_speed" in weather.variables:
            column = weather.variables.index("wind_speed")
            power = wind_power(there[:, column])
            emphasis = fine * _WIND_EMPHASIS * (0.5 if self.mix is not None else 1.0)
            blocks["wind_speed/power"] = (_parts(power), emphasis)
            blocks["wind_speed/power-unusual"] = (
                _parts(power - known_mean(wind_power(past[:7, :, column]))),
                emphasis,
            )
        if "temperature" in weather.variables:
            comfort = (there[:, weather.variables.index("temperature")] - _COMFORT_K) / 10.0
            blocks["temperature/square"] = (_parts(comfort**2), fine)
        return {**blocks, **self._mix_blocks(origins, there, past)}

    def _mix_blocks(self, origins: Indices, there: Array, past: Array) -> dict[str, tuple[Array, float]]:
        if self.mix is None:
            return {}
        hour = self.history.per_day / 24
        shares = [self.mix.mean_shares(origins, max(1, round(hours * hour))) for hours in _MIX_WINDOWS_H]
        blocks: dict[str, tuple[Array, float]] = {"mix/shares": (np.concatenate(shares, axis=1), 1.0)}
        month = self.mix.mean_shares(origins, _MONTH_DAYS * self.history.per_day)
        for source, variable in _DRIVERS:
            mine = [index for index, name in enumerate(self.mix.names) if source in name]
            if not mine or variable not in self.weather.variables:
                continue
            column = self.weather.variables.index(variable)
            drive = wind_power if source == "wind" else np.asarray
            usual = np.maximum(known_mean(drive(past[:, :, column])).mean(axis=1), 1e-3)
            lift = drive(there[:, column]) - known_mean(drive(past[:7, :, column]))
            lift = month[:, mine].sum(axis=1)[:, None] * lift / usual[:, None]
            blocks[f"mix/{source}-share"] = (_parts(lift), (8 / _PARTS) ** 0.5)
            blocks[f"mix/{source}-share-daily"] = (lift.mean(axis=1)[:, None], _DAILY_EMPHASIS)
        return blocks


def _parts(steps: Array) -> Array:
    """Return the means of the parts of a day, shape (n, parts)."""
    count = steps.shape[1]
    return steps.reshape(len(steps), _PARTS, -1).mean(axis=2) if count % _PARTS == 0 else steps


def known_mean(days: Array) -> Array:
    """Return the mean over the first axis of what is known, NaN where nothing is.

    Parameters
    ----------
    days : ndarray, shape (d, …)
        NaN where missing.

    Returns
    -------
    ndarray, shape (…)
        Mean.
    """
    known = np.isfinite(days)
    count = known.sum(axis=0)
    total = np.where(known, days, 0.0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)

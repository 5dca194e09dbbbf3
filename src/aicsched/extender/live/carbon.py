"""Intensities foreseen from live signals, zone by zone, whatever state these are in."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.domain.carbon import IntensityKind
from aicsched.domain.flags import Flag
from aicsched.domain.forecast import Forecast
from aicsched.errors import ConfigError, SignalError
from aicsched.forecast.live import forecast_live
from aicsched.observe import get_logger
from aicsched.signals.staleness import (
    SKEW_LIMIT_S,
    Staleness,
    newest_end_s,
    skew_s,
    staleness,
    staleness_of,
)
from aicsched.slots import HOUR_S, SlotGrid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from aicsched.domain.carbon import CarbonSeries
    from aicsched.signals.base import CarbonSource

__all__ = ["UNKNOWN_ZONE", "LiveCarbon", "ZoneOutlook", "outlooks_at"]

_log = get_logger("extender.live")
UNKNOWN_ZONE: Final = "unknown"
"""Stands for the grid of nodes of which nobody tells one."""
# Beyond the horizon, so that it is still covered when the next forecast is late.
_SPARE_H: Final = 3


@dataclass(frozen=True, slots=True, eq=False)
class ZoneOutlook:
    """What is known of one zone.

    Parameters
    ----------
    forecast : Forecast or None
        None where nothing was ever known.
    newest_s : float
        Until when it was measured, seconds since the epoch; -inf where it never was.
    lag_s, step_s : int
        Of the signal: how late it always is, and the length of a slot [s].
    skewed : bool
        Clocks differ.
    fault : str
        Why nothing is known, or "".
    """

    forecast: Forecast | None
    newest_s: float = -np.inf
    lag_s: int = 0
    step_s: int = HOUR_S
    skewed: bool = False
    fault: str = ""

    def state(self, now_s: float) -> str:
        """Tell what it is good for at a time.

        Parameters
        ----------
        now_s : float
            Seconds since the epoch.

        Returns
        -------
        str
            ``"fresh"``, ``"degraded"``, ``"neutral"`` or ``"unknown"``.
        """
        made = self.forecast
        if made is None:
            return "unknown"
        if Flag.NEUTRAL.value in made.flags or made.slots.end_s < now_s + HOUR_S:
            return Staleness.NEUTRAL.value
        found = staleness(now_s - self.newest_s - self.lag_s, self.step_s, skewed=self.skewed)
        if found is Staleness.FRESH and Flag.DEGRADED.value in made.flags:
            return Staleness.DEGRADED.value
        return found.value


def outlooks_at(
    outlooks: Mapping[str, ZoneOutlook], zones: Iterable[str], now_s: float
) -> tuple[dict[str, Forecast], frozenset[str]]:
    """Return what scores take of zones at a time.

    Parameters
    ----------
    outlooks : mapping of str to ZoneOutlook
        By zone.
    zones : iterable of str
        Those that nodes are in.
    now_s : float
        Seconds since the epoch.

    Returns
    -------
    tuple of dict of str to Forecast, frozenset of str
        A forecast for each zone, flagged by what it is good for now, and the zones of which nothing
        is known.
    """
    made: dict[str, Forecast] = {}
    unknown: set[str] = set()
    for zone in zones:
        outlook = outlooks.get(zone)
        state = "unknown" if outlook is None else outlook.state(now_s)
        if outlook is None or outlook.forecast is None:
            unknown.add(zone)
            made[zone] = _nothing(zone, now_s)
            continue
        flag = {"neutral": Flag.NEUTRAL.value, "degraded": Flag.DEGRADED.value}.get(state)
        flags = outlook.forecast.flags
        flags = flags if flag is None or flag in flags else (*flags, flag)
        made[zone] = replace(outlook.forecast, flags=flags)
    return made, frozenset(unknown)


def _nothing(zone: str, now_s: float) -> Forecast:
    return Forecast(
        grid_zone=zone,
        kind=IntensityKind.AVERAGE,
        slots=SlotGrid(int(now_s), HOUR_S, 1),
        issue_time_s=int(now_s),
        mean_g_per_kwh=np.zeros(1),
        levels=(0.5,),
        quantiles_g_per_kwh=np.zeros((1, 1)),
        model="neutral",
        source="none",
        flags=(Flag.NEUTRAL.value,),
    )


class _Given:
    """A source of one series that was read already."""

    def __init__(self, series: CarbonSeries) -> None:
        self._series = series
        self.source_id = series.source

    def zones(self) -> tuple[str, ...]:
        return (self._series.grid_zone,)

    def read(self, zone: str, window: SlotGrid | None = None) -> CarbonSeries:
        del zone, window
        return self._series


class LiveCarbon:
    """Keeps the outlook of each zone.

    Parameters
    ----------
    source : CarbonSource
        What is asked: the declared sources as one, with what was known before behind each.
    horizon_h : float
        How far is foreseen [h].
    model : str
        Of the forecast.
    published : callable
        Called when there is something new.
    """

    def __init__(
        self,
        source: CarbonSource,
        *,
        horizon_h: float,
        model: str = "auto",
        published: Callable[[], None] = lambda: None,
    ) -> None:
        self._source = source
        self._horizon_h = horizon_h + _SPARE_H
        self._model = model
        self._published = published
        self._prints: dict[str, bytes] = {}
        self.current: Mapping[str, ZoneOutlook] = MappingProxyType({})
        self.rounds = 0

    def refresh(self, zones: Iterable[str], now_s: Callable[[], float]) -> None:
        """Read zones, and foresee those of which something is new; each is published at once.

        Parameters
        ----------
        zones : iterable of str
            Those that nodes are in; others are forgotten.
        now_s : callable
            Seconds since the epoch.
        """
        wanted = sorted(set(zones))
        self.current = MappingProxyType({zone: self.current[zone] for zone in wanted if zone in self.current})
        for zone in wanted:
            self._refresh_zone(zone, now_s())
        self.rounds += 1

    def _refresh_zone(self, zone: str, now_s: float) -> None:
        try:
            series = self._source.read(zone)
        except (SignalError, ConfigError) as error:
            before = self.current.get(zone)
            # What was foreseen once gets old by itself.
            if before is None or before.forecast is None:
                self._publish(zone, ZoneOutlook(None, fault=error.message))
            _log.warning("%s: %s", zone, error.message)
            return
        mark = _fingerprint(series, now_s)
        if self._prints.get(zone) == mark and zone in self.current:
            return
        made = forecast_live(
            _Given(series), [zone], now_s=now_s, horizon_h=self._horizon_h, model=self._model
        )
        end_s = newest_end_s(series)
        self._publish(
            zone,
            ZoneOutlook(
                made.forecasts.get(zone),
                newest_s=-np.inf if end_s is None else float(end_s),
                lag_s=series.availability_lag_s,
                step_s=series.slots.step_s,
                skewed=abs(skew_s(series.flags)) > SKEW_LIMIT_S,
                fault=made.unknown.get(zone, ""),
            ),
        )
        self._prints[zone] = mark

    def _publish(self, zone: str, outlook: ZoneOutlook) -> None:
        self.current = MappingProxyType({**self.current, zone: outlook})
        self._published()


def _fingerprint(series: CarbonSeries, now_s: float) -> bytes:
    """Tell apart all that a forecast depends on."""
    grid = series.slots
    under_way = int(now_s - grid.start_s) // grid.step_s + grid.start_s // grid.step_s
    facts = (series.source, grid.start_s, grid.step_s, under_way, staleness_of(series, now_s), series.flags)
    values = hashlib.sha256(series.values_g_per_kwh.tobytes())
    values.update(repr(facts).encode())
    return values.digest()

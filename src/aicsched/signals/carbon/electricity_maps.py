"""Average carbon intensity from the Electricity Maps API, version 3.

Flow-traced: imports count with the mix they come from. The last day comes from
``carbon-intensity/history``, which every token may read; older slots from ``past-range``
in the parts that it allows, and slots that haven't begun from ``forecast``, both of which
a subscription must cover. Values that Electricity Maps estimated are `Quality.ESTIMATED`,
and each is known since its ``updatedAt``.
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec
import numpy as np

from aicsched.domain.carbon import EmissionScope, IntensityKind, Quality
from aicsched.errors import ConfigError, SignalInvalid
from aicsched.signals.base import emission_scope, refuse_unknown_zone
from aicsched.signals.clock import SystemClock
from aicsched.signals.decoding import decode_json
from aicsched.signals.slotting import Points, chunks, grid_of, in_full, joined, slotted, whole_seconds
from aicsched.signals.transport import Answer, Secret, Transport
from aicsched.slots import HOUR_S, SlotGrid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.domain.carbon import CarbonSeries
    from aicsched.signals.clock import Clock

__all__ = ["ELECTRICITY_MAPS_URL", "ElectricityMapsCarbon"]

ELECTRICITY_MAPS_URL: Final = "https://api.electricitymaps.com"
_SETTING: Final = "AICSCHED_ELECTRICITY_MAPS_TOKEN"
_HISTORY_S: Final = 24 * HOUR_S
# `past-range` gives ten days of hours at most; of finer steps a day is within any of its limits.
_STEPS: Final = {"hourly": HOUR_S, "15_minutes": 900, "5_minutes": 300}
_MOST_S: Final = {"hourly": 10 * 86_400, "15_minutes": 86_400, "5_minutes": 86_400}
# Horizons of the forecast; a shorter one may be all that a subscription covers.
_HORIZONS_H: Final = (24, 48, 72)
_FAR_S: Final = 2 * 86_400

Time = Annotated[datetime, msgspec.Meta(tz=True)]


class _Point(msgspec.Struct, rename="camel"):
    zone: str
    carbon_intensity: float | None
    datetime: Time
    updated_at: Time
    emission_factor_type: str
    is_estimated: bool
    temporal_granularity: str = ""


class _History(msgspec.Struct):
    zone: str
    history: list[_Point]


class _Range(msgspec.Struct):
    zone: str
    data: list[_Point]


class _Ahead(msgspec.Struct, rename="camel"):
    carbon_intensity: float | None
    datetime: Time


class _Forecast(msgspec.Struct, rename="camel"):
    zone: str
    forecast: list[_Ahead]
    updated_at: Time
    emission_factor_type: str = ""
    temporal_granularity: str = ""


class _Zone(msgspec.Struct, rename="camel"):
    zone_name: str


class ElectricityMapsCarbon:
    """Average intensity from Electricity Maps.

    Parameters
    ----------
    token : str or Secret
        Of the API.
    scope : EmissionScope or str
        Emission factors over the life cycle (Electricity Maps' own default), or of burning only.
    granularity : str
        ``"hourly"``, ``"15_minutes"`` or ``"5_minutes"``, as far as the token may read it.
    url : str
        Of the API.
    transport : Transport, optional
        What asks.
    clock : Clock, optional
        What tells the time.

    Raises
    ------
    ConfigError
        There is no token, no such scope or no such granularity.

    References
    ----------
    Electricity Maps, API reference, https://portal.electricitymaps.com/developer-hub/api/reference

    Examples
    --------
    >>> source = ElectricityMapsCarbon("my-token", scope="direct")
    >>> source.source_id, source.kind.value
    ('electricity-maps:direct', 'average')
    >>> ElectricityMapsCarbon("")
    Traceback (most recent call last):
        ...
    aicsched.errors.ConfigError: Electricity Maps needs a token; set AICSCHED_ELECTRICITY_MAPS_TOKEN ...
    """

    kind: Final = IntensityKind.AVERAGE

    def __init__(
        self,
        token: str | Secret | None,
        *,
        scope: EmissionScope | str = EmissionScope.LIFECYCLE,
        granularity: Literal["hourly", "15_minutes", "5_minutes"] = "hourly",
        url: str = ELECTRICITY_MAPS_URL,
        transport: Transport | None = None,
        clock: Clock | None = None,
    ) -> None:
        if not token or (isinstance(token, str) and not token.strip()):
            msg = "Electricity Maps needs a token"
            raise ConfigError(msg, hint=f"set {_SETTING} (one of your own, from its portal)")
        if granularity not in _STEPS:
            msg = f"Electricity Maps has no granularity '{granularity}'"
            raise ConfigError(msg, hint=f"use one of {', '.join(_STEPS)}", value=granularity)
        self._token = token if isinstance(token, Secret) else Secret(token)
        self.scope = emission_scope(scope)
        self._granularity = granularity
        self._step_s = _STEPS[granularity]
        self._url = url.rstrip("/")
        self._clock: Clock = clock or SystemClock()
        self._transport = transport or Transport("electricity-maps", clock=self._clock)
        self._zones: tuple[str, ...] = ()

    @property
    def source_id(self) -> str:
        """Who says so."""
        return f"electricity-maps:{self.scope.value}"

    def zones(self) -> tuple[str, ...]:
        """List the zones, asking the API for them once.

        Returns
        -------
        tuple of str
            Sorted.

        Raises
        ------
        SourceUnavailable, SignalInvalid, ConfigError
            As of `Transport.get`.
        """
        if not self._zones:
            answer = self._ask("zones", {})
            self._zones = tuple(sorted(decode_json(answer.body, dict[str, _Zone], source=self.source_id)))
        return self._zones

    def read(self, zone: str, window: SlotGrid | None = None) -> CarbonSeries:
        """Return a zone's intensity.

        Parameters
        ----------
        zone : str
            One of `zones`, for example ``"DE"`` or ``"US-CAL-CISO"``.
        window : SlotGrid, optional
            Slots of a multiple of the granularity; by default the last day.

        Returns
        -------
        CarbonSeries
            Missing slots are NaN, slots to come `Quality.FORECAST`.

        Raises
        ------
        UnknownZone
            There is no such zone; the three nearest are named.
        SlotError
            The window doesn't fit the granularity.
        SignalGap
            There is no value in the window.
        SourceUnavailable, SignalInvalid, ConfigError
            As of `Transport.get`, and where an answer is not what was asked for.
        """
        now_s = self._clock.now_s()
        if window is not None and not len(window):
            points, flags = Points.none(self._step_s), ()
        elif window is None:
            points, flags = self._history(zone)
            window = grid_of(points, self._step_s, near_s=now_s, within_s=_FAR_S)
        else:
            points, flags = self._past(zone, window, now_s)
            # What has begun by now is the past's to tell.
            if window.end_s > now_s // self._step_s * self._step_s + self._step_s:
                ahead, more = self._forecast(zone, window.end_s - now_s)
                points, flags = points.and_after(ahead), flags + more
        return slotted(
            points,
            window,
            zone=zone,
            kind=self.kind,
            source=f"{self.source_id}#{zone}",
            now_s=now_s,
            flags=flags,
        )

    def _past(self, zone: str, window: SlotGrid, now_s: float) -> tuple[Points, tuple[str, ...]]:
        begun_s = int(now_s) // self._step_s * self._step_s + self._step_s
        end_s = min(window.end_s, begun_s)
        if window.start_s >= end_s:
            return Points.none(self._step_s), ()
        if window.start_s > now_s - _HISTORY_S:
            return self._history(zone)
        parts: list[Points] = []
        flags: tuple[str, ...] = ()
        for first_s, last_s in chunks(window.start_s, end_s, _MOST_S[self._granularity]):
            asked = {"start": in_full(first_s), "end": in_full(last_s)}
            answer = self._asked_of(zone, "past-range", asked)
            found = decode_json(answer.body, _Range, source=self.source_id)
            made = self._points(self._checked(found.zone, found.data, zone), answer.received_s)
            # An end that the API counts in belongs to the next part.
            parts.append(made.where((made.start_s >= first_s) & (made.start_s < last_s)))
            flags += answer.flags()
        return joined(parts), flags

    def _history(self, zone: str) -> tuple[Points, tuple[str, ...]]:
        answer = self._asked_of(zone, "history", {})
        found = decode_json(answer.body, _History, source=self.source_id)
        return self._points(self._checked(found.zone, found.history, zone), answer.received_s), answer.flags()

    def _forecast(self, zone: str, ahead_s: float) -> tuple[Points, tuple[str, ...]]:
        horizon_h = next((each for each in _HORIZONS_H if each * HOUR_S >= ahead_s), _HORIZONS_H[-1])
        answer = self._asked_of(zone, "forecast", {"horizonHours": str(horizon_h)})
        found = decode_json(answer.body, _Forecast, source=self.source_id)
        self._refuse_other(found.zone, zone, found.emission_factor_type, found.temporal_granularity)
        return Points(
            start_s=whole_seconds([each.datetime for each in found.forecast], self.source_id),
            values_g_per_kwh=_values(found.forecast),
            quality=np.full(len(found.forecast), Quality.FORECAST, dtype=np.int8),
            read_s=np.full(len(found.forecast), math.ceil(found.updated_at.timestamp())),
            lasts_s=self._step_s,
        ), answer.flags()

    def _points(self, found: list[_Point], received_s: float) -> Points:
        # Known no later than it came, whatever the clock over there says.
        read_s = [min(math.ceil(each.updated_at.timestamp()), math.ceil(received_s)) for each in found]
        said = [Quality.ESTIMATED if each.is_estimated else Quality.ACTUAL for each in found]
        return Points(
            start_s=whole_seconds([each.datetime for each in found], self.source_id),
            values_g_per_kwh=_values(found),
            quality=np.array(said, dtype=np.int8),
            read_s=np.array(read_s, dtype=np.int64),
            lasts_s=self._step_s,
        )

    def _checked(self, zone: str, found: list[_Point], asked: str) -> list[_Point]:
        self._refuse_other(zone, asked, self.scope.value, self._granularity)
        for each in found:
            self._refuse_other(each.zone, asked, each.emission_factor_type, each.temporal_granularity)
        return found

    def _refuse_other(self, zone: str, asked: str, factors: str, granularity: str) -> None:
        """Refuse values of something else: without a zone it knows, the API may answer with the caller's."""
        for what, came, due in (
            ("zone", zone, asked),
            ("emission factors", factors or self.scope.value, self.scope.value),
            ("granularity", granularity or self._granularity, self._granularity),
        ):
            if came != due:
                if what == "zone":
                    refuse_unknown_zone(asked, self.zones(), self.source_id)
                msg = f"{self.source_id} was asked for {what} '{due}' and sent '{came[:40]}'"
                raise SignalInvalid(msg, hint="check what the token's subscription covers", value=came[:40])

    def _asked_of(self, zone: str, route: str, params: dict[str, str]) -> Answer:
        asked = {"zone": zone, "temporalGranularity": self._granularity, **params}
        asked["emissionFactorType"] = self.scope.value
        try:
            return self._ask(f"carbon-intensity/{route}", asked)
        except SignalInvalid as error:
            # Of a zone that it doesn't know the API says 400 or 404, as of much else.
            if error.value not in (400, 404):
                raise
            refused = error
        refuse_unknown_zone(zone, self.zones(), self.source_id)
        raise refused

    def _ask(self, route: str, params: dict[str, str]) -> Answer:
        return self._transport.get(
            f"{self._url}/v3/{route}", params=params, headers={"auth-token": self._token}
        )


def _values(found: list[_Point] | list[_Ahead]) -> NDArray[np.float64]:
    values = [each.carbon_intensity for each in found]
    return np.array([math.nan if value is None else value for value in values], dtype=np.float64)

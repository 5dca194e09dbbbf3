"""Marginal carbon intensity from the WattTime API, version 3.

The marginal operating emissions rate (signal ``co2_moer``) says what the next
kilowatt-hour emits. It is in pounds per megawatt-hour by five minutes, of carbon dioxide
alone, and answers another question than an average: its kind is `IntensityKind.MARGINAL`, and
the two never meet in one number. Past slots come from ``historical`` in the parts that it
allows, slots that haven't begun from the newest ``forecast``. A login by name and password
gives a token for half an hour.
"""

from __future__ import annotations

import math
import threading
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
import numpy as np

from aicsched.domain.carbon import IntensityKind, Quality
from aicsched.errors import ConfigError, SignalInvalid
from aicsched.signals.base import refuse_unknown_zone
from aicsched.signals.clock import SystemClock
from aicsched.signals.decoding import decode_json
from aicsched.signals.secrets import basic_auth
from aicsched.signals.slotting import Points, chunks, in_full, joined, slotted, whole_seconds
from aicsched.signals.transport import Answer, Secret, Transport
from aicsched.slots import HOUR_S, SlotGrid
from aicsched.units import intensity_factor

if TYPE_CHECKING:
    from aicsched.domain.carbon import CarbonSeries
    from aicsched.signals.clock import Clock

__all__ = ["WATTTIME_URL", "WattTimeCarbon"]

WATTTIME_URL: Final = "https://api.watttime.org"
_USER: Final = "AICSCHED_WATTTIME_USER"
_PASSWORD: Final = "AICSCHED_WATTTIME_PASSWORD"  # noqa: S105 - the name of a setting
_SIGNAL: Final = "co2_moer"
# What the API calls its unit, and what we do.
_UNITS: Final = {"lbs_co2_per_mwh": "lb/MWh"}
# `historical` gives 32 days at most; a little less leaves room for either reading of its end.
_MOST_S: Final = 30 * 86_400
# Of the forecast; where nothing is asked for it gives 24.
_MOST_HORIZON_H: Final = 72
_LAST_DAY_S: Final = 24 * HOUR_S
# A token lasts half an hour; one that is about to end isn't sent any more.
_TOKEN_S: Final = 25 * 60

Time = Annotated[datetime, msgspec.Meta(tz=True)]


class _Point(msgspec.Struct):
    point_time: Time
    value: float | None
    imputed_data_used: bool = False
    last_updated: Time | None = None


class _Meta(msgspec.Struct):
    region: str
    signal_type: str
    units: str
    data_point_period_seconds: int
    generated_at: Time | None = None


class _Data(msgspec.Struct):
    data: list[_Point]
    meta: _Meta


class _Login(msgspec.Struct):
    token: Annotated[str, msgspec.Meta(pattern=r"^[\x21-\x7e]+$")]


class _Region(msgspec.Struct):
    region: str


class _SignalType(msgspec.Struct):
    signal_type: str
    regions: list[_Region]


class _Access(msgspec.Struct):
    signal_types: list[_SignalType]


class WattTimeCarbon:
    """Marginal intensity from WattTime.

    Parameters
    ----------
    user : str
        Of the API.
    password : str or Secret
        Of the user.
    url : str
        Of the API.
    transport : Transport, optional
        What asks.
    clock : Clock, optional
        What tells the time.

    Raises
    ------
    ConfigError
        There is no user or no password.

    References
    ----------
    WattTime, Data API v3, https://docs.watttime.org

    Examples
    --------
    >>> source = WattTimeCarbon("me", "my-password")
    >>> source.source_id, source.kind.value
    ('watttime:co2_moer', 'marginal')
    >>> WattTimeCarbon("me", "")
    Traceback (most recent call last):
        ...
    aicsched.errors.ConfigError: WattTime needs a user and a password; set AICSCHED_WATTTIME_USER and ...
    """

    kind: Final = IntensityKind.MARGINAL

    def __init__(
        self,
        user: str | None,
        password: str | Secret | None,
        *,
        url: str = WATTTIME_URL,
        transport: Transport | None = None,
        clock: Clock | None = None,
    ) -> None:
        blank = isinstance(password, str) and not password.strip()
        if not user or not password or blank:
            msg = "WattTime needs a user and a password"
            raise ConfigError(msg, hint=f"set {_USER} and {_PASSWORD}")
        secret = password if isinstance(password, Secret) else Secret(password)
        self._login_header = basic_auth(user, secret)
        self._url = url.rstrip("/")
        self._clock: Clock = clock or SystemClock()
        self._transport = transport or Transport("watttime", clock=self._clock, secrets=[secret])
        self._lock = threading.Lock()
        self._token: Secret | None = None
        self._token_until_s = -math.inf
        self._zones: tuple[str, ...] = ()

    @property
    def source_id(self) -> str:
        """Who says so."""
        return f"watttime:{_SIGNAL}"

    def zones(self) -> tuple[str, ...]:
        """List the regions that the account may read, asking the API for them once.

        Returns
        -------
        tuple of str
            Sorted, for example ``"CAISO_NORTH"``.

        Raises
        ------
        SourceUnavailable, SignalInvalid, ConfigError
            As of `Transport.get`.
        """
        if not self._zones:
            answer = self._ask("v3/my-access", {})
            found = decode_json(answer.body, _Access, source=self.source_id)
            names = {
                each.region
                for kind in found.signal_types
                if kind.signal_type == _SIGNAL
                for each in kind.regions
            }
            self._zones = tuple(sorted(names))
        return self._zones

    def read(self, zone: str, window: SlotGrid | None = None) -> CarbonSeries:
        """Return a region's intensity.

        Parameters
        ----------
        zone : str
            One of `zones`.
        window : SlotGrid, optional
            Slots of a multiple of five minutes; by default the last 24 whole hours.

        Returns
        -------
        CarbonSeries
            Missing slots are NaN, slots to come `Quality.FORECAST`.

        Raises
        ------
        UnknownZone
            The account reads no such region; the three nearest are named.
        SlotError
            The window doesn't fit the API's steps.
        SignalGap
            There is no value in the window.
        SourceUnavailable, SignalInvalid, ConfigError
            As of `Transport.get`, and where an answer is not what was asked for.
        """
        now_s = self._clock.now_s()
        if window is None:
            ended_s = int(now_s) // HOUR_S * HOUR_S
            window = SlotGrid(ended_s - _LAST_DAY_S, HOUR_S, _LAST_DAY_S // HOUR_S)
        parts: list[Points] = []
        flags: tuple[str, ...] = ()
        for first_s, last_s in chunks(window.start_s, min(window.end_s, math.ceil(now_s)), _MOST_S):
            asked = {"start": in_full(first_s), "end": in_full(last_s)}
            answer = self._asked_of(zone, "historical", asked | {"include_imputed_marker": "true"})
            made = self._points(answer, zone, Quality.ACTUAL)
            # The end counts in here, and belongs to the next part.
            parts.append(made.where((made.start_s >= first_s) & (made.start_s < last_s)))
            flags += answer.flags()
        points = joined(parts) if parts else None
        if len(window) and window.end_s > now_s:
            horizon_h = min(math.ceil((window.end_s - now_s) / HOUR_S), _MOST_HORIZON_H)
            answer = self._asked_of(zone, "forecast", {"horizon_hours": str(horizon_h)})
            ahead = self._points(answer, zone, Quality.FORECAST)
            points = ahead if points is None else points.and_after(ahead)
            flags += answer.flags()
        return slotted(
            Points.none(window.step_s) if points is None else points,
            window,
            zone=zone,
            kind=self.kind,
            source=f"{self.source_id}#{zone}",
            now_s=now_s,
            flags=flags,
        )

    def _points(self, answer: Answer, zone: str, known: Quality) -> Points:
        found = decode_json(answer.body, _Data, source=self.source_id)
        factor = self._factor(found.meta, zone)
        data, received_s = found.data, math.ceil(answer.received_s)
        said = [Quality.ESTIMATED if each.imputed_data_used and not known else known for each in data]
        issued = found.meta.generated_at
        if known is Quality.FORECAST and issued is None:
            msg = f"{self.source_id} sent a forecast without `generated_at`"
            raise SignalInvalid(msg, hint="try again later; if it stays so, its API has changed")
        read = [each.last_updated or issued for each in data]
        read_s = [received_s if at is None else min(math.ceil(at.timestamp()), received_s) for at in read]
        values = np.array([math.nan if each.value is None else each.value for each in data])
        return Points(
            start_s=whole_seconds([each.point_time for each in data], self.source_id),
            values_g_per_kwh=values.astype(np.float64) * factor,
            quality=np.array(said, dtype=np.int8),
            read_s=np.array(read_s, dtype=np.int64),
            lasts_s=found.meta.data_point_period_seconds,
        )

    def _factor(self, meta: _Meta, zone: str) -> float:
        """Refuse another signal, region or unit; return what makes its values g/kWh."""
        for what, came, due in (
            ("the region", meta.region, (zone,)),
            ("the signal", meta.signal_type, (_SIGNAL,)),
            ("the unit", meta.units, tuple(_UNITS)),
        ):
            if came not in due:
                msg = f"{self.source_id} was asked for {what} '{due[0]}' and sent '{came[:40]}'"
                raise SignalInvalid(
                    msg, hint="its API has changed; nothing is converted on a guess", value=came[:40]
                )
        period_s = meta.data_point_period_seconds
        if not 0 < period_s <= HOUR_S or HOUR_S % period_s:
            msg = f"{self.source_id} sent values of {period_s} s, which don't make an hour"
            raise SignalInvalid(msg, hint="its API has changed", value=period_s)
        return intensity_factor(_UNITS[meta.units])

    def _asked_of(self, zone: str, route: str, params: dict[str, str]) -> Answer:
        try:
            return self._ask(f"v3/{route}", {"region": zone, "signal_type": _SIGNAL, **params})
        except (SignalInvalid, ConfigError) as error:
            # Of a region that it doesn't know, or not for this account, the API says 400, 403 or 404.
            if error.value not in (400, 403, 404):
                raise
            refused = error
        refuse_unknown_zone(zone, self.zones(), self.source_id)
        raise refused

    def _ask(self, route: str, params: dict[str, str]) -> Answer:
        """Ask with a token, and once more with a new one when it is refused."""
        token, is_new = self._logged_in()
        try:
            return self._authorised(route, params, token)
        except ConfigError as error:
            if error.value != 401 or is_new:
                raise
        self._forget(token)
        return self._authorised(route, params, self._logged_in()[0])

    def _authorised(self, route: str, params: dict[str, str], token: Secret) -> Answer:
        header = Secret(f"Bearer {token.reveal()}")
        return self._transport.get(f"{self._url}/{route}", params=params, headers={"Authorization": header})

    def _forget(self, token: Secret) -> None:
        with self._lock:
            if self._token is token:
                self._token = None

    def _logged_in(self) -> tuple[Secret, bool]:
        """Return a token, and whether it was got just now."""
        with self._lock:
            if self._token is not None and self._clock.monotonic_s() < self._token_until_s:
                return self._token, False
            try:
                answer = self._transport.get(
                    f"{self._url}/login", headers={"Authorization": self._login_header}
                )
            except ConfigError as error:
                if error.value not in (401, 403):
                    raise
                refused = error
            else:
                self._token = Secret(decode_json(answer.body, _Login, source=self.source_id).token)
                self._token_until_s = self._clock.monotonic_s() + _TOKEN_S
                return self._token, True
        msg = "WattTime refuses the user or the password"
        raise ConfigError(msg, hint=f"check {_USER} and {_PASSWORD}", value=refused.value)

"""Carbon intensity of Great Britain, from the Carbon Intensity API of the National Energy System Operator.

Half-hours, for the whole of it with what was estimated afterwards (``actual``) and what is
foreseen (``forecast``); for its 17 regions forecasts alone, which of the past are estimates. The API
is open: no key. It is an average intensity of what is *used*: imports and the losses of lines are in
it. Its factors count what is burned, as CO2 alone: wind, sun, water and nuclear power are 0,
biomass 120 g/kWh. So it is of the scope `EmissionScope.DIRECT`, and lower than any life-cycle series.

Definitions: https://carbon-intensity.github.io/api-definitions/ (CC BY 4.0).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from aicsched.domain.carbon import EmissionScope, IntensityKind, Quality
from aicsched.errors import SignalInvalid, SlotError
from aicsched.signals.base import refuse_unknown_zone
from aicsched.signals.clock import SystemClock
from aicsched.signals.decoding import decode_json
from aicsched.signals.slotting import Points, chunks, grid_of, joined, slotted
from aicsched.signals.transport import Transport
from aicsched.slots import HOUR_S, SlotGrid, format_time, parse_time

if TYPE_CHECKING:
    from aicsched.domain.carbon import CarbonSeries
    from aicsched.signals.clock import Clock

__all__ = ["UK_URL", "UkCarbon", "decode_uk"]

UK_URL: Final = "https://api.carbonintensity.org.uk"
_NATIONAL: Final = "GB"
_REGIONS: Final = {
    "GB-north-scotland": 1,
    "GB-south-scotland": 2,
    "GB-north-west-england": 3,
    "GB-north-east-england": 4,
    "GB-yorkshire": 5,
    "GB-north-wales-merseyside": 6,
    "GB-south-wales": 7,
    "GB-west-midlands": 8,
    "GB-east-midlands": 9,
    "GB-east-england": 10,
    "GB-south-west-england": 11,
    "GB-south-england": 12,
    "GB-london": 13,
    "GB-south-east-england": 14,
    "GB-england": 15,
    "GB-scotland": 16,
    "GB-wales": 17,
}
_STEP_S: Final = 1800
# The longest range of one request.
_MOST_S: Final = 14 * 86_400
_HISTORY_S: Final = 72 * HOUR_S
_AHEAD_S: Final = 48 * HOUR_S
_CHANGED: Final = "try again later; if it stays so, its API has changed"


class _National(msgspec.Struct):
    forecast: float | None
    actual: float | None


class _NationalRow(msgspec.Struct):
    start: str = msgspec.field(name="from")
    end: str = msgspec.field(name="to")
    intensity: _National


class _NationalDocument(msgspec.Struct):
    data: list[_NationalRow]


class _Regional(msgspec.Struct):
    forecast: float | None


class _RegionalRow(msgspec.Struct):
    start: str = msgspec.field(name="from")
    end: str = msgspec.field(name="to")
    intensity: _Regional


class _Region(msgspec.Struct):
    regionid: int
    data: list[_RegionalRow]


class _RegionalDocument(msgspec.Struct):
    data: _Region | list[_Region]


class UkCarbon:
    """Average intensity from the British Carbon Intensity API.

    Parameters
    ----------
    url : str
        Of the API.
    transport : Transport, optional
        What asks.
    clock : Clock, optional
        What tells the time.

    Examples
    --------
    >>> source = UkCarbon()
    >>> source.source_id, source.zones()[:2]
    ('uk-carbon-intensity:direct', ('GB', 'GB-north-scotland'))
    """

    kind: Final = IntensityKind.AVERAGE
    scope: Final = EmissionScope.DIRECT

    def __init__(
        self, *, url: str = UK_URL, transport: Transport | None = None, clock: Clock | None = None
    ) -> None:
        self._url = url.rstrip("/")
        self._clock = clock or SystemClock()
        self._transport = transport or Transport("uk-carbon-intensity", clock=self._clock)

    @property
    def source_id(self) -> str:
        """Who says so, and by which factors."""
        return f"uk-carbon-intensity:{self.scope}"

    def zones(self) -> tuple[str, ...]:
        """List the zones.

        Returns
        -------
        tuple of str
            Great Britain and its regions; Northern Ireland is another grid.
        """
        return (_NATIONAL, *_REGIONS)

    def read(self, zone: str, window: SlotGrid | None = None) -> CarbonSeries:
        """Return a zone's intensity.

        Parameters
        ----------
        zone : str
            One of `zones`.
        window : SlotGrid, optional
            Of whole half-hours, past and up to 48 hours ahead; by default the last 72 hours and
            the next 48.

        Returns
        -------
        CarbonSeries
            Actual where the API has an actual value, estimated in the past of regions, else a forecast.

        Raises
        ------
        UnknownZone
            There is no such zone.
        SlotError
            The window's slots are no whole half-hours.
        SignalGap
            The API has nothing in the window.
        SourceUnavailable
            It can't be reached.
        SignalInvalid
            What came is not what is documented.
        """
        refuse_unknown_zone(zone, self.zones(), self.source_id)
        here_s = int(self._clock.now_s()) // _STEP_S * _STEP_S
        first_s, end_s = here_s - _HISTORY_S, here_s + _AHEAD_S
        if window is not None:
            if window.step_s % _STEP_S or window.start_s % _STEP_S:
                begin = format_time(window.start_s)
                msg = f"{self.source_id}: slots of {window.step_s} s from {begin} are no whole half-hours"
                raise SlotError(msg, hint="ask for whole half-hours", value=window)
            first_s, end_s = window.start_s, window.end_s
        points, flags = self._fetch(zone, first_s, end_s, here_s)
        if window is None:
            window = grid_of(points, _STEP_S, near_s=here_s, within_s=_HISTORY_S)
        return slotted(
            points,
            window,
            zone=zone,
            kind=self.kind,
            source=f"{self.source_id}#{zone}",
            now_s=self._clock.now_s(),
            flags=flags,
        )

    def _fetch(self, zone: str, first_s: int, end_s: int, here_s: int) -> tuple[Points, tuple[str, ...]]:
        """Ask for the past in parts that the API allows, and for what is ahead by its forecast."""
        region = _REGIONS.get(zone)
        place = "" if region is None else f"/regionid/{region}"
        base = f"{self._url}{'' if region is None else '/regional'}/intensity"
        asked = [
            (begin_s, until_s, f"{base}/{format_time(begin_s)}/{format_time(until_s)}{place}")
            for begin_s, until_s in chunks(first_s, min(end_s, here_s), _MOST_S)
        ]
        if end_s > here_s:
            begin_s = max(first_s, here_s)
            asked.append((begin_s, end_s, f"{base}/{format_time(begin_s)}/fw48h{place}"))
        parts: list[Points] = []
        flags: tuple[str, ...] = ()
        for begin_s, until_s, url in asked:
            answer = self._transport.get(url)
            found = decode_uk(
                answer.body, region=region, source=self.source_id, read_s=int(answer.received_s)
            )
            # The half-hour that ends where the range begins comes along.
            parts.append(found.where((found.start_s >= begin_s) & (found.start_s < until_s)))
            flags += answer.flags()
        return joined(parts) if parts else Points.none(_STEP_S), flags


def decode_uk(body: bytes, *, region: int | None, source: str, read_s: int) -> Points:
    """Decode half-hours of Great Britain or of a region.

    Parameters
    ----------
    body : bytes
        As the Carbon Intensity API answers.
    region : int, optional
        Which region was asked for; by default all of Great Britain.
    source : str
        Who sent it, for messages.
    read_s : int
        When it came, seconds since the epoch.

    Returns
    -------
    Points
        Actual where there is an actual value, else a forecast (of a region's past an estimate), else NaN.

    Raises
    ------
    SignalInvalid
        It is not of the documented shape: a field is missing or of another type, a row lasts no half
        hour, or another region came.

    Examples
    --------
    >>> body = b'''{"data": [{"from": "2026-05-01T00:00Z", "to": "2026-05-01T00:30Z",
    ...              "intensity": {"forecast": 140, "actual": 138, "index": "moderate"}}]}'''
    >>> decode_uk(body, region=None, source="uk", read_s=1_777_593_600).values_g_per_kwh.tolist()
    [138.0]
    """
    rows: list[_NationalRow] | list[_RegionalRow]
    if region is None:
        rows = decode_json(body, _NationalDocument, source=source).data
    else:
        found = decode_json(body, _RegionalDocument, source=source).data
        found = found if isinstance(found, list) else [found]
        if any(each.regionid != region for each in found):
            msg = f"{source}: field `regionid` is not {region}, which was asked for"
            raise SignalInvalid(msg, hint=_CHANGED, value=region)
        rows = [row for each in found for row in each.data]
    start_s = np.array([_start_s(row.start, row.end, source) for row in rows], dtype=np.int64)
    forecast = np.array([row.intensity.forecast for row in rows], dtype=np.float64)
    actual = [row.intensity.actual if isinstance(row, _NationalRow) else None for row in rows]
    measured = np.array(actual, dtype=np.float64)
    # A region's forecast is all that there will ever be of the past: an estimate of what it was.
    is_over = start_s + _STEP_S <= read_s
    quality = np.where(is_over & (region is not None), Quality.ESTIMATED, Quality.FORECAST)
    quality = np.where(np.isnan(forecast), Quality.MISSING, quality)
    quality = np.where(np.isnan(measured), quality, Quality.ACTUAL)
    return Points(
        start_s=start_s,
        values_g_per_kwh=np.where(np.isnan(measured), forecast, measured),
        quality=quality.astype(np.int8),
        read_s=np.full(len(start_s), read_s, dtype=np.int64),
        lasts_s=_STEP_S,
    )


def _start_s(start: str, end: str, source: str) -> int:
    try:
        start_s, end_s = parse_time(start), parse_time(end)
    except SlotError:
        msg = f"{source}: field `from` or `to` is no time with an offset"
        raise SignalInvalid(msg, hint=_CHANGED, value="from") from None
    if end_s - start_s != _STEP_S:
        msg = f"{source}: fields `from` and `to` are no half-hour apart, but {end_s - start_s} s"
        raise SignalInvalid(msg, hint=_CHANGED, value=end_s - start_s)
    return start_s

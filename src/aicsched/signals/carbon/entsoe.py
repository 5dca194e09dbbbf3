"""Carbon intensity of European bidding zones, from the generation that ENTSO-E publishes (extra ``grid``).

The Transparency Platform has actual generation per production type (document A75, process
A16, article 16.1.B&C); the intensity is that of its mix (`aicsched.signals.generation` has the
rules). It is an average intensity of what the zone generates: imports are not in it. Zones
report by 15, 30 or 60 minutes, some types by another step than others; times are UTC, so that days
of 23 and 25 hours need no care. What a plant consumes comes as series of its own: a type that
only consumed counts as 0.

Our transport asks, so that limits, tries and masks hold here too; points become times by the
parsers of ``entsoe-py``, which know ENTSO-E's curve types. Before that a document is checked to
be whole: a parser of web pages would read half a document without a word.
"""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime
from importlib import util
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from xml.parsers import expat

import numpy as np

from aicsched.domain.carbon import EmissionScope
from aicsched.errors import ConfigError, SignalInvalid, SlotError
from aicsched.signals.generation import STORAGE, GenerationRows, join_rows
from aicsched.signals.mix import MixCarbon
from aicsched.signals.slotting import chunks
from aicsched.signals.transport import XML, Secret, Transport
from aicsched.slots import HOUR_S, parse_time

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aicsched.signals.clock import Clock
    from aicsched.slots import SlotGrid

__all__ = ["ENTSOE_URL", "ENTSOE_ZONES", "EntsoeCarbon", "decode_entsoe"]

ENTSOE_URL: Final = "https://web-api.tp.entsoe.eu/api"
# Bidding zones, and countries of one zone, by the names that entsoe-py gives them.
ENTSOE_ZONES: Final = (
    *("AL", "AT", "BA", "BE", "BG", "CH", "CY", "CZ", "DE_LU", "DK_1", "DK_2", "EE", "ES", "FI", "FR"),
    *("GE", "GR", "HR", "HU", "IE_SEM", "IT_CALA", "IT_CNOR", "IT_CSUD", "IT_NORD", "IT_SARD", "IT_SICI"),
    *("IT_SUD", "LT", "LV", "MD", "ME", "MK", "NL", "NO_1", "NO_2", "NO_3", "NO_4", "NO_5", "PL", "PT"),
    *("RO", "RS", "SE_1", "SE_2", "SE_3", "SE_4", "SI", "SK", "UA_IPS", "XK"),
)
_FUELS: Final = {
    "B01": "biomass",
    "B02": "lignite",
    "B03": "coal",  # coal-derived gas
    "B04": "gas",
    "B05": "coal",
    "B06": "oil",
    "B07": "lignite",  # oil shale, which holds 6 % more carbon per heat (IPCC 2006)
    "B08": "lignite",  # peat, 5 % more
    "B09": "geothermal",
    "B10": STORAGE,  # pumped hydropower
    "B11": "hydro",
    "B12": "hydro",
    "B13": "marine",
    "B14": "nuclear",
    "B15": "biomass",  # other renewable
    "B16": "solar",
    "B17": "other",  # waste
    "B18": "wind_offshore",
    "B19": "wind",
    "B20": "other",
    "B25": STORAGE,
}
_STEPS_S: Final = {"PT15M": 900, "PT30M": 1800, "PT60M": 3600}
_MOST_POINTS: Final = 96 * 400
_CURVES: Final = frozenset({"A01", "A03"})
# A quarter-hourly zone with twenty types has some 60,000 points in it.
_MOST_S: Final = 30 * 86_400
_CONTEXT_S: Final = 24 * HOUR_S
_CHANGED: Final = "try again later; if it stays so, its API has changed"
_SERIES: Final = re.compile(r"<TimeSeries>(.*?)</TimeSeries>", re.DOTALL)
_PERIOD: Final = re.compile(r"<Period>(.*?)</Period>", re.DOTALL)
_POINT: Final = re.compile(
    r"<Point>\s*<position>(\d{1,6})</position>\s*<quantity>(-?\d{1,9}(?:\.\d{1,9})?)</quantity>\s*</Point>"
)


class _Series(NamedTuple):
    code: str
    is_consumption: bool
    head: str
    periods: list[str]


class EntsoeCarbon(MixCarbon):
    """Average intensity from ENTSO-E's Transparency Platform.

    Parameters
    ----------
    token : str or Secret
        Security token of the platform's API.
    scope : EmissionScope or str
        Factors over the life cycle, or of burning only.
    factors_g_per_kwh : mapping of str to float, optional
        By fuel, in place of the packaged ones: for example what a country's ``other`` is.
    url : str
        Of the API.
    transport : Transport, optional
        What asks.
    clock : Clock, optional
        What tells the time.

    Raises
    ------
    ConfigError
        The extra ``grid`` is not installed, the token is empty, or there is no such scope or fuel.
    """

    _name = "entsoe"
    _known = ENTSOE_ZONES
    _fuels = _FUELS
    _least_s = 900
    _context_s = _CONTEXT_S
    _in_words = "quarter-hours"

    def __init__(
        self,
        token: str | Secret,
        *,
        scope: EmissionScope | str = EmissionScope.LIFECYCLE,
        factors_g_per_kwh: Mapping[str, float] | None = None,
        url: str = ENTSOE_URL,
        transport: Transport | None = None,
        clock: Clock | None = None,
    ) -> None:
        _require_extra()
        super().__init__(scope=scope, factors_g_per_kwh=factors_g_per_kwh, clock=clock)
        self._token = token if isinstance(token, Secret) else Secret(token)
        self._url = url
        self._transport = transport or Transport("entsoe", clock=self._clock)

    def _fetch(self, zone: str, grid: SlotGrid) -> tuple[GenerationRows, tuple[str, ...]]:
        """Ask for parts of a length that the platform allows."""
        rows: list[GenerationRows] = []
        flags: tuple[str, ...] = ()
        for first_s, last_s in chunks(grid.start_s, grid.end_s, _MOST_S):
            answer = self._transport.get(self._url, params=self._params(zone, first_s, last_s), media=XML)
            rows.append(decode_entsoe(answer.body, area=_area_code(zone), source=self.source_id))
            flags += answer.flags()
        return join_rows(rows), flags

    def _params(self, zone: str, first_s: int, last_s: int) -> dict[str, str | Secret]:
        # Asked for by whole hours, whatever the zone's step is; what is too much is left out.
        hours_s = (first_s // HOUR_S * HOUR_S, -(-last_s // HOUR_S) * HOUR_S)
        start, end = (datetime.fromtimestamp(each, tz=UTC).strftime("%Y%m%d%H%M") for each in hours_s)
        return {
            "securityToken": self._token,
            "documentType": "A75",
            "processType": "A16",
            "in_Domain": _area_code(zone),
            "periodStart": start,
            "periodEnd": end,
        }


def _require_extra() -> None:
    if util.find_spec("entsoe") is None:
        msg = "the source 'entsoe' needs the package entsoe-py, which is not installed"
        raise ConfigError(msg, hint="install aicsched with its extra 'grid': aicsched[grid]", value="grid")


def _area_code(zone: str) -> str:
    from entsoe.mappings import lookup_area  # noqa: PLC0415 - of the extra

    return str(lookup_area(zone).code)


def decode_entsoe(body: bytes, *, area: str, source: str) -> GenerationRows:
    """Decode actual generation per production type.

    Parameters
    ----------
    body : bytes
        A ``GL_MarketDocument``, or an acknowledgement that there is no matching data.
    area : str
        EIC code of the zone that was asked for.
    source : str
        Who sent it, for messages.

    Returns
    -------
    GenerationRows
        One a point; a type that consumed, and generated nothing, has 0.

    Raises
    ------
    SignalInvalid
        It is no whole document of the documented shape: a field is missing or not what it may
        be, a point lies outside its period, a unit is not megawatts, or another zone came.
    """
    root, counts = _outline(body, source)
    text = body.decode("utf-8", "replace")
    if root == "Acknowledgement_MarketDocument":
        if _field(text, "code") == "999" and "No matching data" in text:
            return join_rows([])
        msg = f"{source} refuses the request, with a reason that is not missing data"
        raise SignalInvalid(msg, hint="check the zone and the window")
    if root != "GL_MarketDocument":
        msg = f"{source} sent another document than GL_MarketDocument"
        raise SignalInvalid(msg, hint=_CHANGED)
    found = _SERIES.findall(text)
    if len(found) != counts["TimeSeries"] or sum(each.count("<Point>") for each in found) != counts["Point"]:
        raise _refused(source, "TimeSeries")
    made: dict[bool, list[GenerationRows]] = {False: [], True: []}
    for series in (_series(each, area, source) for each in found):
        made[series.is_consumption] += [_rows(series, period, source) for period in series.periods]
    generated, consumed = join_rows(made[False]), join_rows(made[True])
    told = set(zip(generated.code.tolist(), generated.start_s.tolist(), strict=True))
    cells = zip(consumed.code.tolist(), consumed.start_s.tolist(), strict=True)
    only = np.array([cell not in told for cell in cells], dtype=np.bool_)
    zeros = GenerationRows(
        consumed.code[only], consumed.start_s[only], consumed.lasts_s[only], np.zeros(int(only.sum()))
    )
    return join_rows([generated, zeros])


def _outline(body: bytes, source: str) -> tuple[str, Counter[str]]:
    """Return the root of a whole, well-formed document, and how many elements it has of each name."""
    counts: Counter[str] = Counter()

    def begin(name: str, _attributes: object) -> None:
        counts[name] += 1

    def refuse(*_parts: object) -> None:
        msg = f"{source} sent a document with definitions of its own"
        raise SignalInvalid(msg, hint=_CHANGED)

    # Whatever it says of its encoding: it is documented to be this one.
    parser = expat.ParserCreate("UTF-8")
    parser.StartElementHandler = begin
    parser.StartDoctypeDeclHandler = refuse
    # Comments and unparsed text could hide what is no element, and ENTSO-E sends neither.
    parser.CommentHandler = refuse
    parser.StartCdataSectionHandler = refuse
    try:
        parser.Parse(body, True)  # noqa: FBT003 - takes no keywords
    except expat.ExpatError as error:
        msg = f"{source} sent no whole XML document"
        raise SignalInvalid(msg, hint="try again later") from error
    # A counter keeps the order in which names came.
    return next(iter(counts)), counts


def _field(text: str, name: str, source: str = "") -> str:
    found = re.search(rf"<{re.escape(name)}>\s*([^<]*?)\s*</{re.escape(name)}>", text)
    if found is None and source:
        msg = f"{source}: field `{name}` is missing"
        raise SignalInvalid(msg, hint=_CHANGED, value=name)
    return found.group(1) if found else ""


def _refused(source: str, field: str) -> SignalInvalid:
    msg = f"{source}: field `{field}` is not what is documented"
    return SignalInvalid(msg, hint=_CHANGED, value=field)


def _series(text: str, area: str, source: str) -> _Series:
    head = text.partition("<Period>")[0]
    code = _field(head, "psrType", source)
    is_consumption = "<outBiddingZone_Domain.mRID" in head
    side = "outBiddingZone_Domain.mRID" if is_consumption else "inBiddingZone_Domain.mRID"
    found = re.search(rf"<{re.escape(side)}(?: [^>]*)?>\s*([^<]*?)\s*</", head)
    if found is None or found.group(1) != area:
        raise _refused(source, side)
    if not re.fullmatch(r"[AB]\d{2}", code):
        raise _refused(source, "psrType")
    if _field(head, "quantity_Measure_Unit.name", source) != "MAW":
        raise _refused(source, "quantity_Measure_Unit.name")
    if _field(head, "curveType", source) not in _CURVES:
        raise _refused(source, "curveType")
    periods = _PERIOD.findall(text)
    if not periods:
        raise _refused(source, "Period")
    return _Series(code, is_consumption, head, periods)


def _rows(series: _Series, period: str, source: str) -> GenerationRows:
    """Turn a period's points into rows, by entsoe-py's parser, after each was found to be where it may be."""
    step_s = _STEPS_S.get(_field(period, "resolution", source))
    if step_s is None:
        raise _refused(source, "resolution")
    try:
        start_s, end_s = (parse_time(_field(period, name, source)) for name in ("start", "end"))
    except SlotError:
        raise _refused(source, "timeInterval") from None
    count, rest = divmod(end_s - start_s, step_s)
    positions = [int(found[0]) for found in _POINT.findall(period)]
    if rest or count < 1 or count > _MOST_POINTS:
        raise _refused(source, "timeInterval")
    if len(positions) != period.count("<Point>") or len(set(positions)) != len(positions) or not positions:
        raise _refused(source, "Point")
    if min(positions) < 1 or max(positions) > count:
        raise _refused(source, "position")
    # Under a type that any version of entsoe-py knows; which one it is we have read.
    head = re.sub(r"<psrType>[^<]*<", "<psrType>B20<", series.head)
    start_s, power_mw = _parsed(f"<timeseries>{head}<Period>{period}</Period></timeseries>", source)
    lasts_s = np.full(len(start_s), step_s, dtype=np.int64)
    return GenerationRows(np.full(len(start_s), series.code), start_s, lasts_s, power_mw)


def _parsed(text: str, source: str) -> tuple[Any, Any]:
    from entsoe.parsers import parse_generation  # noqa: PLC0415 - of the extra

    try:
        frame: Any = parse_generation(text)
        start_s = frame.index.as_unit("s").asi8.astype(np.int64)
        return start_s, frame.iloc[:, 0].to_numpy(dtype=np.float64, copy=True)
    except Exception as error:
        msg = f"{source} sent a document that entsoe-py can't read"
        raise SignalInvalid(msg, hint=_CHANGED) from error

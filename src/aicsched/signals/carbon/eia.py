"""Carbon intensity of the United States by balancing authority, from the generation that EIA-930 reports.

The U.S. Energy Information Administration publishes each hour's net generation by
fuel (form EIA-930, API v2, route ``electricity/rto/fuel-type-data``); the intensity is that of its
mix (`aicsched.signals.generation` has the rules, `aicsched.footprint.intensity` the formula).
It is an average of what the zone generates: imports are not in it. A period names the *end*
of its hour: ``2026-05-01T03`` is the hour from 02:00 to 03:00 UTC. EIA fills some gaps
itself, and doesn't say where.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from aicsched.domain.carbon import EmissionScope
from aicsched.errors import SignalInvalid
from aicsched.signals.decoding import decode_json
from aicsched.signals.generation import STORAGE, GenerationRows, join_rows
from aicsched.signals.mix import MixCarbon
from aicsched.signals.transport import Secret, Transport
from aicsched.slots import HOUR_S

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aicsched.signals.clock import Clock
    from aicsched.slots import SlotGrid

__all__ = ["EIA_URL", "EIA_ZONES", "EiaCarbon", "decode_eia"]

EIA_URL: Final = "https://api.eia.gov/v2"
_ROUTE: Final = "/electricity/rto/fuel-type-data/data/"
# Balancing authorities with generation; what else goes by another name, since SE is Sweden, too.
_RENAMED: Final = {
    **{f"US-{region}": region for region in ("CAL", "CAR", "CENT", "FLA", "MIDA", "MIDW", "NE", "NW")},
    **{f"US-{region}": region for region in ("NY", "SE", "SW", "TEN", "TEX")},
    "US-CAR-SC": "SC",
}
EIA_ZONES: Final = (
    *("AECI", "AVA", "AVRN", "AZPS", "BANC", "BPAT", "CHPD", "CISO", "CPLE", "CPLW", "DEAA", "DOPD", "DUK"),
    *("EPE", "ERCO", "FMPP", "FPC", "FPL", "GCPD", "GRID", "GVL", "GWA", "HST", "IID", "IPCO", "ISNE"),
    *("JEA", "LDWP", "LGEE", "MISO", "NEVP", "NWMT", "NYIS", "PACE", "PACW", "PGE", "PJM", "PNM", "PSCO"),
    *("PSEI", "SCEG", "SCL", "SEC", "SEPA", "SOCO", "SPA", "SRP", "SWPP", "TAL", "TEC", "TEPC", "TIDC"),
    *("TPWR", "TVA", "WACM", "WALC", "WAUW", "WWA", "YAD", "US48"),
    *_RENAMED,
)
_FUELS: Final = {
    "BAT": STORAGE,
    "BIO": "biomass",
    "COL": "coal",
    "GEO": "geothermal",
    "NG": "gas",
    "NUC": "nuclear",
    "OES": STORAGE,
    "OIL": "oil",
    "OTH": "other",
    "PS": STORAGE,
    "SNB": "solar",
    "SUN": "solar",
    "UES": STORAGE,
    "UNK": "other",
    "WAT": "hydro",
    "WNB": "wind",
    "WND": "wind",
}
_CODE: Final = re.compile(r"[A-Z0-9]{1,8}")
_PAGE_ROWS: Final = 5000
# Two years of an authority with every fuel; longer histories are asked for in parts, by whoever wants them.
_MOST_ROWS: Final = 300_000
# Rows before the window tell which fuels there are: a fuel that reports late must not go unnoticed.
_CONTEXT_S: Final = 48 * HOUR_S
_CHANGED: Final = "try again later; if it stays so, its API has changed"


class _Row(msgspec.Struct):
    period: str
    respondent: str
    fueltype: str
    value: str | float | None
    units: str = msgspec.field(name="value-units")


class _Page(msgspec.Struct):
    total: int | str
    data: list[_Row]


class _Document(msgspec.Struct):
    response: _Page


class EiaCarbon(MixCarbon):
    """Average intensity from EIA-930.

    Parameters
    ----------
    api_key : str or Secret
        From EIA's open data registration.
    scope : EmissionScope or str
        Factors over the life cycle, or of burning only.
    factors_g_per_kwh : mapping of str to float, optional
        By fuel, in place of the packaged ones.
    url : str
        Of the API.
    transport : Transport, optional
        What asks.
    clock : Clock, optional
        What tells the time.

    Raises
    ------
    ConfigError
        The key is empty, or there is no such scope or fuel.

    Examples
    --------
    >>> source = EiaCarbon("my-key", scope="direct")
    >>> source.source_id, "CISO" in source.zones()
    ('eia-930:direct', True)
    """

    _name = "eia-930"
    # Balancing authorities by EIA's codes (``CISO``), its regions as ``US-TEX``, and codes of two letters,
    # which are countries elsewhere, by the id of the zone (``US-CAR-SC``).
    _known = EIA_ZONES
    _fuels = _FUELS
    _least_s = HOUR_S
    _context_s = _CONTEXT_S
    _in_words = "hours"

    def __init__(
        self,
        api_key: str | Secret,
        *,
        scope: EmissionScope | str = EmissionScope.LIFECYCLE,
        factors_g_per_kwh: Mapping[str, float] | None = None,
        url: str = EIA_URL,
        transport: Transport | None = None,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(scope=scope, factors_g_per_kwh=factors_g_per_kwh, clock=clock)
        self._key = api_key if isinstance(api_key, Secret) else Secret(api_key)
        self._url = url.rstrip("/")
        self._transport = transport or Transport("eia-930", clock=self._clock)

    def _fetch(self, zone: str, grid: SlotGrid) -> tuple[GenerationRows, tuple[str, ...]]:
        """Ask page by page, until all rows that were promised are there."""
        respondent = _RENAMED.get(zone, zone)
        params: dict[str, str | Secret] = {
            "api_key": self._key,
            "frequency": "hourly",
            "data[0]": "value",
            "facets[respondent][]": respondent,
            # Both ends are in; an hour is named for its end.
            "start": _period(grid.start_s + HOUR_S),
            "end": _period(grid.end_s),
            "sort[0][column]": "period",
            "sort[0][direction]": "asc",
            "sort[1][column]": "fueltype",
            "sort[1][direction]": "asc",
            "length": str(_PAGE_ROWS),
        }
        pages: list[GenerationRows] = []
        have, total = 0, 1
        flags: tuple[str, ...] = ()
        while not pages or have < total:
            answer = self._transport.get(self._url + _ROUTE, params=params | {"offset": str(have)})
            rows, total = decode_eia(answer.body, zone=respondent, source=self.source_id)
            flags += answer.flags()
            have += len(rows.code)
            if total > _MOST_ROWS or have > total or (have < total and not len(rows.code)):
                msg = f"{self.source_id} {zone}: {total} rows are promised, and {have} came"
                raise SignalInvalid(msg, hint="ask for a shorter window, or try again later", value=total)
            pages.append(rows)
        return join_rows(pages), flags


def _period(end_s: int) -> str:
    return datetime.fromtimestamp(end_s, tz=UTC).strftime("%Y-%m-%dT%H")


def decode_eia(body: bytes, *, zone: str, source: str) -> tuple[GenerationRows, int]:
    """Decode one page of hourly generation by fuel.

    Parameters
    ----------
    body : bytes
        As EIA's API v2 answers.
    zone : str
        Whose rows were asked for.
    source : str
        Who sent it, for messages.

    Returns
    -------
    GenerationRows
        One a period and fuel; periods are hours by their ends.
    int
        How many rows there are on all pages.

    Raises
    ------
    SignalInvalid
        It is not of the documented shape: a field is missing, a value is no number, a unit is
        not megawatthours, a time is not UTC, or another zone's rows came.

    Examples
    --------
    >>> body = b'''{"response": {"total": "1", "data": [{"period": "2026-05-01T03", "respondent": "CISO",
    ...     "fueltype": "NG", "value": "7200", "value-units": "megawatthours"}]}}'''
    >>> rows, total = decode_eia(body, zone="CISO", source="eia-930")
    >>> rows.power_mw.tolist(), rows.start_s.tolist(), total
    ([7200.0], [1777600800], 1)
    """
    page = decode_json(body, _Document, source=source).response
    start_s, power_mw = np.empty(len(page.data), dtype=np.int64), np.empty(len(page.data))
    for index, row in enumerate(page.data):
        wrong = _wrong_field(row, zone)
        if wrong:
            msg = f"{source}: field `{wrong}` of row {index + 1} is not what is documented"
            raise SignalInvalid(msg, hint=_CHANGED, value=wrong)
        ended = datetime.strptime(row.period, "%Y-%m-%dT%H").replace(tzinfo=UTC)
        start_s[index] = int(ended.timestamp()) - HOUR_S
        # Megawatthours in an hour are megawatts.
        power_mw[index] = _number(row.value)
    total = _number(page.total)
    if not (total >= 0 and total.is_integer()):
        msg = f"{source}: field `total` is no count"
        raise SignalInvalid(msg, hint=_CHANGED, value="total")
    code = np.array([row.fueltype for row in page.data], dtype=np.str_)
    return GenerationRows(code, start_s, np.full(len(code), HOUR_S, dtype=np.int64), power_mw), int(total)


def _wrong_field(row: _Row, zone: str) -> str:
    """Name a field that can't be what is documented; values aren't quoted, since anything may be in them."""
    if row.respondent != zone:
        return "respondent"
    if row.units.lower() != "megawatthours":
        return "value-units"
    if not _CODE.fullmatch(row.fueltype):
        return "fueltype"
    try:
        datetime.strptime(row.period, "%Y-%m-%dT%H").replace(tzinfo=UTC)
    except ValueError:
        return "period"
    # An empty value is one that EIA doesn't have; any other must be a number.
    return "value" if row.value not in (None, "") and not math.isfinite(_number(row.value)) else ""


def _number(value: str | float | None) -> float:
    if value is None or value == "":
        return math.nan
    try:
        return float(value)
    except ValueError:
        return math.nan

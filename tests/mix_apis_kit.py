"""APIs in the documented shapes of EIA, ENTSO-E and the British operator, made up for tests."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from aicsched.slots import HOUR_S, format_time, parse_time
from tests.upstream_kit import Reply, Request, json_reply

if TYPE_CHECKING:
    from collections.abc import Callable

HALF_HOUR_S = 1800
AREA = "10Y1001A1001A82H"
NO_DATA = b"""<?xml version="1.0" encoding="UTF-8"?>
<Acknowledgement_MarketDocument xmlns="urn:iec62325.351:tc57wg16:451-1:acknowledgementdocument:7:0">
<mRID>x</mRID><Reason><code>999</code>
<text>No matching data found for Data item X and interval Y.</text></Reason>
</Acknowledgement_MarketDocument>"""


def stamp(epoch_s: float, form: str) -> str:
    return datetime.fromtimestamp(epoch_s, tz=UTC).strftime(form)


# ------------------------------------------------------------------ EIA


def eia_row(end_s: int, fuel: str, value: Any, zone: str = "CISO") -> dict[str, Any]:
    return {
        "period": stamp(end_s, "%Y-%m-%dT%H"),
        "respondent": zone,
        "respondent-name": "A balancing authority",
        "fueltype": fuel,
        "type-name": "A fuel",
        "value": value,
        "value-units": "megawatthours",
    }


class EiaApi:
    """Version 2: facets, hours by their ends with both ends of the range, offset and length."""

    def __init__(
        self,
        time_s: Callable[[], float],
        *,
        key: str,
        codes: tuple[str, ...],
        power: Callable[[str, int], Any],
    ) -> None:
        self.time_s, self.key, self.codes = time_s, key, codes
        # By the start of the hour; what is written as text comes as text.
        self.power = power
        self.leave_out: Callable[[str, int], bool] = lambda _fuel, _start_s: False
        self.total: Callable[[int], Any] = str

    def __call__(self, request: Request) -> Reply:
        asked = request.params
        if asked.get("api_key") != self.key:
            return json_reply({"error": {"code": "API_KEY_INVALID", "message": "get one"}}, 403)
        if request.path != "/v2/electricity/rto/fuel-type-data/data/" or asked["frequency"] != "hourly":
            return json_reply({"error": "no such route"}, 404)
        first_s, last_s = (parse_time(f"{asked[end]}:00Z") for end in ("start", "end"))
        rows = [
            eia_row(end_s, fuel, self.power(fuel, end_s - HOUR_S), asked["facets[respondent][]"])
            for end_s in range(first_s, min(last_s, int(self.time_s())) + 1, HOUR_S)
            for fuel in sorted(self.codes)
            if not self.leave_out(fuel, end_s - HOUR_S)
        ]
        offset, length = int(asked["offset"]), int(asked["length"])
        page = {"total": self.total(len(rows)), "frequency": "hourly", "data": rows[offset : offset + length]}
        # The answer tells the request again, key and all.
        told = {"response": page, "request": {"params": {"api_key": self.key}}, "apiVersion": "2.1.8"}
        return json_reply(told)


# ------------------------------------------------------------------ the British API


class UkApi:
    """Paths of at most 14 days, 48 hours ahead, regions without actual values."""

    def __init__(self, time_s: Callable[[], float], *, level: Callable[[int], Any]) -> None:
        self.time_s = time_s
        self.forecast: Callable[[int], Any] = level
        self.actual: Callable[[int], Any] = lambda start_s: level(start_s) if start_s < self.here_s else None
        self.as_list = False

    @property
    def here_s(self) -> int:
        return int(self.time_s()) // HALF_HOUR_S * HALF_HOUR_S

    def __call__(self, request: Request) -> Reply:
        parts = request.path.strip("/").split("/")
        region = int(parts[-1]) if parts[0] == "regional" else None
        if region is not None:
            parts = parts[1:-2]
        if parts[0] != "intensity":
            return json_reply({"error": {"code": "404 Not Found", "message": "no such path"}}, 404)
        first_s = parse_time(parts[1])
        end_s = first_s + 48 * HOUR_S if parts[2] == "fw48h" else parse_time(parts[2])
        if end_s - first_s > 14 * 86_400:
            return json_reply({"error": {"code": "400 Bad Request", "message": "14 days at most"}}, 400)
        # The half-hour that ends at the beginning comes along, as it does there.
        starts_s = range(first_s - HALF_HOUR_S, min(end_s, self.here_s + 48 * HOUR_S), HALF_HOUR_S)
        rows = [self.row(start_s, region) for start_s in starts_s]
        if region is None:
            return json_reply({"data": rows})
        told = {"regionid": region, "dnoregion": "A network", "shortname": "A region", "data": rows}
        return json_reply({"data": [told] if self.as_list else told})

    def row(self, start_s: int, region: int | None) -> dict[str, Any]:
        level: dict[str, Any] = {"forecast": self.forecast(start_s), "index": "moderate"}
        if region is None:
            level["actual"] = self.actual(start_s)
        row = {"from": format_time(start_s), "to": format_time(start_s + HALF_HOUR_S), "intensity": level}
        return row if region is None else row | {"generationmix": [{"fuel": "gas", "perc": 40.1}]}


# ------------------------------------------------------------------ ENTSO-E


def entsoe_series(
    code: str,
    points: dict[int, Any],
    *,
    start_s: int,
    end_s: int,
    step: str = "PT60M",
    curve: str = "A01",
    side: str = "in",
    area: str = AREA,
) -> str:
    told = "".join(
        f"<Point><position>{at}</position><quantity>{power}</quantity></Point>\n"
        for at, power in points.items()
    )
    return (
        "<TimeSeries><mRID>1</mRID><businessType>A01</businessType><objectAggregation>A08</objectAggregation>\n"
        f'<{side}BiddingZone_Domain.mRID codingScheme="A01">{area}</{side}BiddingZone_Domain.mRID>\n'
        f"<quantity_Measure_Unit.name>MAW</quantity_Measure_Unit.name><curveType>{curve}</curveType>\n"
        f"<MktPSRType><psrType>{code}</psrType></MktPSRType>\n"
        f"<Period><timeInterval><start>{format_time(start_s)}</start>"
        f"<end>{format_time(end_s)}</end></timeInterval>\n"
        f"<resolution>{step}</resolution>\n{told}</Period></TimeSeries>\n"
    )


def entsoe_document(*parts: str) -> bytes:
    head = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<GL_MarketDocument xmlns="urn:iec62325.351:tc57wg16:451-6:generationloaddocument:3:0">\n'
        "<mRID>a-made-one</mRID><type>A75</type><process.processType>A16</process.processType>\n"
        "<time_Period.timeInterval><start>2026-04-30T12:00Z</start><end>2026-05-01T12:00Z</end>"
        "</time_Period.timeInterval>\n"
    )
    return (head + "".join(parts) + "</GL_MarketDocument>\n").encode()


class EntsoeApi:
    """Actual generation per type of any area, by a step a type, up to the last whole hour."""

    def __init__(
        self,
        time_s: Callable[[], float],
        *,
        token: str,
        codes: tuple[str, ...],
        power: Callable[[str, int], float | None],
    ) -> None:
        self.time_s, self.token, self.codes, self.power = time_s, token, codes, power
        self.steps_s: dict[str, int] = {}
        self.extra: Callable[[int, int], str] = lambda _first_s, _last_s: ""

    def __call__(self, request: Request) -> Reply:
        asked = request.params
        if asked.get("securityToken") != self.token:
            return Reply(b"<html>Unauthorized</html>", 401, {"Content-Type": "text/html"})
        headers = {"Content-Type": "text/xml"}
        if (asked["documentType"], asked["processType"]) != ("A75", "A16"):
            return Reply(NO_DATA.replace(b"999", b"A01"), 400, headers)
        first_s, last_s = (
            int(datetime.strptime(asked[end], "%Y%m%d%H%M").replace(tzinfo=UTC).timestamp())
            for end in ("periodStart", "periodEnd")
        )
        last_s = min(last_s, int(self.time_s()) // HOUR_S * HOUR_S)
        if last_s <= first_s:
            return Reply(NO_DATA, headers=headers)
        parts = [self.told(code, asked["in_Domain"], first_s, last_s) for code in self.codes]
        return Reply(entsoe_document(*parts, self.extra(first_s, last_s)), headers=headers)

    def told(self, code: str, area: str, first_s: int, last_s: int) -> str:
        step_s = self.steps_s.get(code, HOUR_S)
        starts_s = range(first_s, last_s, step_s)
        points = {at: self.power(code, start_s) for at, start_s in enumerate(starts_s, start=1)}
        points = {at: power for at, power in points.items() if power is not None}
        if not points:
            return ""
        step = f"PT{step_s // 60}M"
        return entsoe_series(code, points, start_s=first_s, end_s=last_s, step=step, area=area)

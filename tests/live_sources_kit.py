"""Every live carbon source beside an API of its documented shape, which runs on this machine.

All values are made up here by formulas; nothing was recorded. A further source joins by one more
entry in `LIVE`: its contract, its chaos and its outages are then tested like those of the others.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from aicsched.footprint.intensity import emission_factors
from aicsched.signals.carbon.eia import EiaCarbon
from aicsched.signals.carbon.electricity_maps import ElectricityMapsCarbon
from aicsched.signals.carbon.entsoe import EntsoeCarbon
from aicsched.signals.carbon.uk import UkCarbon
from aicsched.signals.carbon.watttime import WattTimeCarbon
from aicsched.signals.transport import Limits, Transport
from aicsched.slots import parse_time
from aicsched.units import GRAMS_PER_POUND
from tests.mix_apis_kit import EiaApi, EntsoeApi, UkApi
from tests.upstream_kit import Reply, Request, VirtualClock, json_reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from aicsched.signals.base import CarbonSource
    from aicsched.signals.clock import Clock

NOW_S = parse_time("2026-05-04T10:20Z")
HOUR_S = 3600
# With signs that each writing of a text changes, so that masking one of them isn't enough.
SECRET = 'made-up/secret "4711"'
LIMITS = Limits()


def wave(at_s: int) -> float:
    """Give a value for each quarter of an hour of a week, all different and all plausible."""
    return 120.0 + (at_s // 900 * 37) % 672


def iso(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, tz=UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True)
class Live:
    """One source, its API, and what is right.

    ``make`` gets an address, a transport and a clock; ``api`` gets what tells the time, and answers
    requests; ``right`` tells the intensity [g/kWh] of a slot by its start and length [s], which is
    a multiple of ``step_s``; ``span_s`` is a window for which it takes several requests; ``is_json``
    tells what the bodies are, for the tests that let them drift.
    """

    name: str
    make: Callable[[str, Transport, Clock], CarbonSource]
    api: Callable[[Callable[[], float]], Callable[[Request], Reply]]
    zone: str
    step_s: int
    right: Callable[[int, int], float]
    span_s: int
    is_json: bool = True

    def source(self, url: str, *, limits: Limits = LIMITS, clock: Clock | None = None) -> CarbonSource:
        clock = clock or VirtualClock(NOW_S)
        return self.make(url, Transport(self.name, limits=limits, clock=clock), clock)


# ------------------------------------------------------------------ Electricity Maps


class ElectricityMapsApi:
    """Version 3: history of a day, ranges of ten days at most with their end left out, forecasts."""

    steps = {"hourly": HOUR_S, "15_minutes": 900, "5_minutes": 300}  # noqa: RUF012 - never changed
    names = ("DE", "DK-DK1", "SE")

    def __init__(self, time_s: Callable[[], float]) -> None:
        self.time_s = time_s

    def __call__(self, request: Request) -> Reply:
        if request.headers.get("auth-token") != SECRET:
            return json_reply({"status": "error", "message": "Invalid auth-token"}, 401)
        if request.path == "/v3/zones":
            return json_reply({zone: {"zoneName": zone.title(), "access": ["*"]} for zone in self.names})
        if request.params["zone"] not in self.names:
            return json_reply({"status": "error", "message": "Zone does not exist"}, 404)
        return self.answer(request.path.removeprefix("/v3/carbon-intensity/"), request.params)

    def answer(self, route: str, asked: dict[str, str]) -> Reply:
        step_s = self.steps[asked["temporalGranularity"]]
        begun_s = int(self.time_s()) // step_s * step_s
        made: dict[str, Any] = {"zone": asked["zone"], "temporalGranularity": asked["temporalGranularity"]}
        if route == "forecast":
            ahead = range(begun_s, begun_s + int(asked["horizonHours"]) * HOUR_S, step_s)
            points = [{"carbonIntensity": wave(at_s), "datetime": iso(at_s)} for at_s in ahead]
            return json_reply({**made, "forecast": points, "updatedAt": iso(self.time_s() - 1201.3)})
        if route == "history":
            found = range(begun_s + step_s - 24 * HOUR_S, begun_s + step_s, step_s)
            return json_reply({**made, "history": [self.point(at_s, asked) for at_s in found]})
        first_s, end_s = parse_time(asked["start"]), parse_time(asked["end"])
        if end_s - first_s > 10 * 24 * HOUR_S:
            return json_reply({"status": "error", "message": "The range is too long"}, 400)
        found = range(first_s, min(end_s, begun_s + step_s), step_s)
        return json_reply({**made, "data": [self.point(at_s, asked) for at_s in found]})

    def point(self, at_s: int, asked: dict[str, str]) -> dict[str, Any]:
        estimated = at_s + 2 * HOUR_S > self.time_s()
        return {
            "zone": asked["zone"],
            "carbonIntensity": wave(at_s),
            "datetime": iso(at_s),
            "updatedAt": iso(min(at_s + 5000.123, self.time_s() - 90)),
            "createdAt": iso(at_s - 259_200),
            "emissionFactorType": asked["emissionFactorType"],
            "isEstimated": estimated,
            "estimationMethod": "TIME_SLICER_AVERAGE" if estimated else None,
        }


# ------------------------------------------------------------------ WattTime


class WattTimeApi:
    """Version 3: a login for half an hour, ranges of 32 days at most with their end, forecasts."""

    names = ("CAISO_NORTH", "PJM_DC")

    def __init__(self, time_s: Callable[[], float]) -> None:
        self.time_s = time_s
        self.logins = 0
        self.until_s = 0.0

    @property
    def token(self) -> str:
        return f"made-up.token/{self.logins}"

    def __call__(self, request: Request) -> Reply:
        said = request.headers.get("authorization", "")
        if request.path == "/login":
            if said != "Basic " + base64.b64encode(f"me:{SECRET}".encode()).decode():
                return json_reply({"message": "who are you?"}, 401)
            self.logins += 1
            self.until_s = self.time_s() + 1800
            return json_reply({"token": self.token})
        if said != f"Bearer {self.token}" or self.time_s() >= self.until_s:
            return json_reply({"error": "invalid token", "sent": said}, 401)
        if request.path == "/v3/my-access":
            regions = [{"region": name, "region_full_name": name, "endpoints": []} for name in self.names]
            kinds = ("co2_moer", "health_damage")
            return json_reply({"signal_types": [{"signal_type": kind, "regions": regions} for kind in kinds]})
        return self.answer(request.path.removeprefix("/v3/"), request.params)

    def answer(self, route: str, asked: dict[str, str]) -> Reply:
        if asked["region"] not in self.names:
            return json_reply({"error": "INVALID_REGION"}, 400)
        meta = {
            "data_point_period_seconds": 300,
            "region": asked["region"],
            "warnings": [{"type": "EXAMPLE", "message": "made up"}],
            "signal_type": asked["signal_type"],
            "model": {"date": "2026-01-15", "type": "made_up"},
            "units": "lbs_co2_per_mwh",
        }
        issued_s = int(self.time_s()) // 300 * 300
        if route == "forecast":
            ahead = range(issued_s, issued_s + int(asked.get("horizon_hours", "24")) * HOUR_S + 300, 300)
            points = [{"point_time": iso(at_s), "value": moer_pounds(at_s)} for at_s in ahead]
            more = {"generated_at": iso(issued_s), "generated_at_period_seconds": 300}
            return json_reply({"data": points, "meta": meta | more})
        first_s, last_s = parse_time(asked["start"]), parse_time(asked["end"])
        if last_s - first_s > 32 * 86_400:
            return json_reply({"error": "at most 32 days"}, 400)
        found = range(-(-first_s // 300) * 300, min(last_s, issued_s - 600) + 1, 300)
        return json_reply({"data": [self.point(at_s) for at_s in found], "meta": meta})

    def point(self, at_s: int) -> dict[str, Any]:
        return {
            "point_time": iso(at_s).replace(".000Z", "+00:00"),
            "value": moer_pounds(at_s),
            "imputed_data_used": at_s % 7200 == 300,
            "last_updated": iso(at_s + 420),
        }


def moer_pounds(at_s: int) -> float:
    return wave(at_s) + at_s % 900 // 300


def moer_g_per_kwh(start_s: int, length_s: int) -> float:
    values = [moer_pounds(at_s) for at_s in range(start_s, start_s + length_s, 300)]
    return sum(values) / len(values) * GRAMS_PER_POUND / 1000


def hourly_mean(start_s: int, length_s: int) -> float:
    values = [wave(at_s) for at_s in range(start_s, start_s + length_s, HOUR_S)]
    return sum(values) / len(values)


# ------------------------------------------------------------------ generation by fuel

# What each code is called by EIA and by ENTSO-E; storage must count for nothing.
MIXED = {"NG": "gas", "COL": "coal", "WND": "wind", "B04": "gas", "B05": "coal", "B19": "wind"}


def power_mw(code: str, start_s: int) -> float:
    """Give an hour's power, different for each fuel and hour."""
    level = {"gas": wave(start_s), "coal": 90.0, "wind": wave(start_s + 6300)}
    return level[MIXED[code]] if code in MIXED else -wave(start_s)


def of_the_mix(start_s: int, length_s: int) -> float:
    factors = emission_factors()
    hours = range(start_s, start_s + length_s, HOUR_S)
    power = {code: sum(power_mw(code, at_s) for at_s in hours) for code in ("NG", "COL", "WND")}
    return sum(factors[MIXED[code]] * mw for code, mw in power.items()) / sum(power.values())


class FewEia(EiaCarbon):
    """With few of its zones, which are all read by the same path: the contract reads each."""

    def zones(self) -> tuple[str, ...]:
        return ("CISO", "ERCO", "US48")


class FewEntsoe(EntsoeCarbon):
    """With few of its zones, as above."""

    def zones(self) -> tuple[str, ...]:
        return ("DE_LU", "SE_3", "IT_NORD")


def half_hourly_mean(start_s: int, length_s: int) -> float:
    values = [wave(at_s) for at_s in range(start_s, start_s + length_s, 1800)]
    return sum(values) / len(values)


LIVE = (
    Live(
        name="electricity-maps",
        make=lambda url, transport, clock: ElectricityMapsCarbon(
            SECRET, url=url, transport=transport, clock=clock
        ),
        api=ElectricityMapsApi,
        zone="DE",
        step_s=HOUR_S,
        right=hourly_mean,
        span_s=25 * 86_400,
    ),
    Live(
        name="watttime",
        make=lambda url, transport, clock: WattTimeCarbon(
            "me", SECRET, url=url, transport=transport, clock=clock
        ),
        api=WattTimeApi,
        zone="CAISO_NORTH",
        step_s=300,
        right=moer_g_per_kwh,
        span_s=40 * 86_400,
    ),
    Live(
        name="uk",
        make=lambda url, transport, clock: UkCarbon(url=url, transport=transport, clock=clock),
        api=lambda time_s: UkApi(time_s, level=wave),
        zone="GB",
        step_s=1800,
        right=half_hourly_mean,
        span_s=30 * 86_400,
    ),
    Live(
        name="eia",
        make=lambda url, transport, clock: FewEia(SECRET, url=f"{url}/v2", transport=transport, clock=clock),
        api=lambda time_s: EiaApi(
            time_s,
            key=SECRET,
            codes=("NG", "COL", "WND", "BAT"),
            power=lambda code, start_s: str(power_mw(code, start_s)),
        ),
        zone="CISO",
        step_s=HOUR_S,
        right=of_the_mix,
        span_s=60 * 86_400,
    ),
    Live(
        name="entsoe",
        make=lambda url, transport, clock: FewEntsoe(
            SECRET, url=f"{url}/api", transport=transport, clock=clock
        ),
        api=lambda time_s: EntsoeApi(
            time_s, token=SECRET, codes=("B04", "B05", "B19", "B10"), power=power_mw
        ),
        zone="DE_LU",
        step_s=HOUR_S,
        right=of_the_mix,
        span_s=35 * 86_400,
        is_json=False,
    ),
)

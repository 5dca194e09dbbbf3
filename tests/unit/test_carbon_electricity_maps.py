"""Electricity Maps: which route answers which part of a window, and what is refused."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from aicsched.domain.carbon import IntensityKind, Quality
from aicsched.errors import ConfigError, SignalGap, SignalInvalid
from aicsched.signals.carbon.electricity_maps import ElectricityMapsCarbon
from aicsched.signals.transport import Secret, Transport
from aicsched.slots import SlotGrid
from tests import upstream_kit as kit
from tests.live_sources_kit import HOUR_S, NOW_S, SECRET, ElectricityMapsApi, wave

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HOUR_NOW_S = NOW_S // HOUR_S * HOUR_S


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[kit.Upstream]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with kit.upstream(ElectricityMapsApi(lambda: NOW_S)) as made:
        made.time_s = lambda: NOW_S
        yield made


def source(server: kit.Upstream, token: Any = SECRET, **given: Any) -> ElectricityMapsCarbon:
    clock = kit.VirtualClock(NOW_S)
    transport = Transport("electricity-maps", clock=clock)
    return ElectricityMapsCarbon(token, url=server.url + "/", transport=transport, clock=clock, **given)


def routes(server: kit.Upstream) -> Counter[str]:
    return Counter(seen.path.rpartition("/")[2] for seen in server.seen)


@pytest.mark.parametrize(
    ("from_h", "hours", "asked"),
    [
        (-23, 20, {"history": 1}),
        (-23, 24, {"history": 1}),
        (-23, 30, {"history": 1, "forecast": 1}),
        (-24, 20, {"past-range": 1}),
        (-240, 240, {"past-range": 1}),
        (-241, 241, {"past-range": 2}),
        (-8760, 8760, {"past-range": 37}),
        (1, 5, {"forecast": 1}),
        (0, 1, {"history": 1}),
        (-30, 60, {"past-range": 1, "forecast": 1}),
        (3, 0, {}),
    ],
)
def test_each_part_of_a_window_has_its_route(
    server: kit.Upstream, from_h: int, hours: int, asked: dict[str, int]
) -> None:
    window = SlotGrid(HOUR_NOW_S + from_h * HOUR_S, HOUR_S, hours)
    series = source(server).read("DE", window)
    assert routes(server) == asked
    assert series.values_g_per_kwh.tolist() == [wave(start_s) for start_s in window.starts_s().tolist()]


@pytest.mark.parametrize(("hours", "horizon"), [(1, "24"), (24, "24"), (25, "48"), (72, "72"), (100, "72")])
def test_no_longer_a_forecast_is_asked_for_than_needed(
    server: kit.Upstream, hours: int, horizon: str
) -> None:
    series = source(server).read("DE", SlotGrid(HOUR_NOW_S + HOUR_S, HOUR_S, hours - 1 or 1))
    assert server.seen[-1].params["horizonHours"] == horizon
    assert series.missing == max(hours - 72, 0)


def test_without_a_window_it_is_the_last_day(server: kit.Upstream) -> None:
    series = source(server).read("DE")
    assert series.slots == SlotGrid(HOUR_NOW_S - 23 * HOUR_S, HOUR_S, 24)
    assert routes(server) == {"history": 1}


def test_kind_source_and_quality_are_told(server: kit.Upstream) -> None:
    series = source(server).read("DE", SlotGrid(HOUR_NOW_S - 4 * HOUR_S, HOUR_S, 8))
    assert (series.kind, series.source) == (IntensityKind.AVERAGE, "electricity-maps:lifecycle#DE")
    actual, estimated, forecast = int(Quality.ACTUAL), int(Quality.ESTIMATED), int(Quality.FORECAST)
    assert np.asarray(series.quality).tolist() == [actual] * 3 + [estimated] * 2 + [forecast] * 3


def test_each_value_is_known_since_it_was_updated(server: kit.Upstream) -> None:
    series = source(server).read("DE", SlotGrid(HOUR_NOW_S - 20 * HOUR_S, HOUR_S, 30))
    readings = series.readings
    assert readings is not None
    known_since = dict(zip(readings.start_s.tolist(), readings.read_s.tolist(), strict=True))
    assert (
        known_since[HOUR_NOW_S - 20 * HOUR_S] == HOUR_NOW_S - 20 * HOUR_S + 5001
    )  # .123 s later: rounded up
    assert known_since[HOUR_NOW_S + 5 * HOUR_S] == NOW_S - 1201  # when the forecast was issued


@pytest.mark.parametrize(("granularity", "step_s"), [("15_minutes", 900), ("5_minutes", 300)])
def test_finer_steps_come_in_days_and_average_to_hours(
    server: kit.Upstream, granularity: str, step_s: int
) -> None:
    window = SlotGrid(HOUR_NOW_S - 72 * HOUR_S, HOUR_S, 40)
    series = source(server, granularity=granularity).read("DE", window)
    assert routes(server) == {"past-range": 2}
    first = [wave(window.start_s + at_s) for at_s in range(0, HOUR_S, step_s)]
    assert series.values_g_per_kwh[0] == pytest.approx(np.mean(first))


def test_the_scope_is_asked_for_and_checked(server: kit.Upstream) -> None:
    direct = source(server, scope="direct")
    assert direct.read("DE").source == "electricity-maps:direct#DE"
    assert server.seen[-1].params["emissionFactorType"] == "direct"
    well = server.api
    server.api = lambda request: _with(well(request), "emissionFactorType", "lifecycle")
    with pytest.raises(SignalInvalid, match="emission factors 'direct' and sent 'lifecycle'"):
        direct.read("DE")


def _with(reply: kit.Reply, key: str, value: Any, only_at: int | None = None) -> kit.Reply:
    body = json.loads(reply.body)
    points = body.get("history") or body.get("data") or body.get("forecast") or []
    for point in points if only_at is None or not points else [points[only_at]]:
        point[key] = value
    return kit.replace(reply, body=json.dumps(body).encode())


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("zone", "FR", "zone 'DE' and sent 'FR'"),
        ("temporalGranularity", "daily", "granularity 'hourly' and sent 'daily'"),
        (
            "carbonIntensity",
            "412",
            r"Expected `float \| null`, got `str` - at `\$.history\[.*carbonIntensity",
        ),
        ("datetime", "2026-05-04T10:00:00", "no valid JSON|datetime"),
        ("datetime", "2026-05-04T09:00:00.500Z", "between two seconds"),
        ("datetime", "2026-05-04T09:05:00Z", "off its grid"),
        ("datetime", "2026-05-04T03:00:00Z", "two different values"),
        ("isEstimated", None, "isEstimated"),
    ],
)
def test_one_point_that_is_off_refuses_the_answer(
    server: kit.Upstream, key: str, value: Any, words: str
) -> None:
    well = server.api
    server.api = lambda request: _with(well(request), key, value, -2 if key == "datetime" else 3)
    if value == "2026-05-04T03:00:00Z":
        server.api = lambda request: _with(
            _with(well(request), "datetime", value, -2), "updatedAt", "2026-05-04T04:00:00Z"
        )
    with pytest.raises(SignalInvalid, match=words):
        source(server).read("DE")


def test_hours_without_a_value_stay_gaps(server: kit.Upstream) -> None:
    well = server.api
    server.api = lambda request: _with(well(request), "carbonIntensity", None, 5)
    series = source(server).read("DE")
    assert np.flatnonzero(np.isnan(series.values_g_per_kwh)).tolist() == [5]
    assert np.asarray(series.quality)[5] == Quality.MISSING
    server.api = lambda request: _with(well(request), "carbonIntensity", None)
    with pytest.raises(SignalGap):
        source(server).read("DE", SlotGrid(HOUR_NOW_S - 40 * HOUR_S, HOUR_S, 3))


def test_values_in_another_unit_are_refused(server: kit.Upstream) -> None:
    well = server.api

    def in_mg(request: kit.Request) -> kit.Reply:
        reply = well(request)
        body = json.loads(reply.body)
        for point in body["history"]:
            point["carbonIntensity"] *= 1000
        return kit.replace(reply, body=json.dumps(body).encode())

    server.api = in_mg
    with pytest.raises(SignalInvalid, match="can't be true"):
        source(server).read("DE")


def test_a_wrong_token_is_a_setting_to_mend(server: kit.Upstream) -> None:
    with pytest.raises(ConfigError, match="refuses the token: 401") as caught:
        source(server, Secret("not-it")).read("DE")
    assert "not-it" not in str(caught.value)
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"token": None}, "AICSCHED_ELECTRICITY_MAPS_TOKEN"),
        ({"token": " "}, "AICSCHED_ELECTRICITY_MAPS_TOKEN"),
        ({"token": "x", "scope": "lifecicle"}, "did you mean lifecycle"),
        ({"token": "x", "granularity": "daily"}, "use one of hourly"),
    ],
)
def test_settings_that_can_not_be_are_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        ElectricityMapsCarbon(**given)


def test_zones_are_asked_for_once(server: kit.Upstream) -> None:
    made = source(server)
    assert made.zones() == made.zones() == ("DE", "DK-DK1", "SE")
    assert routes(server) == {"zones": 1}


def test_a_refusal_of_a_known_zone_stays_what_it_is(server: kit.Upstream) -> None:
    well: Callable[[kit.Request], kit.Reply] = server.api
    server.api = lambda request: (
        well(request) if "zones" in request.path else kit.json_reply({"message": "No recent data"}, 404)
    )
    with pytest.raises(SignalInvalid, match="No recent data"):
        source(server).read("DE")

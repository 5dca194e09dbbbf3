"""WattTime: logins, units, steps of five minutes, and what is refused."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from aicsched.domain.carbon import IntensityKind, Quality
from aicsched.errors import ConfigError, SignalInvalid, UnknownZone
from aicsched.signals.carbon.watttime import WattTimeCarbon
from aicsched.signals.transport import Transport
from aicsched.slots import SlotGrid
from aicsched.units import intensity_factor
from tests import upstream_kit as kit
from tests.live_sources_kit import HOUR_S, NOW_S, SECRET, WattTimeApi, moer_pounds

if TYPE_CHECKING:
    from collections.abc import Iterator

HOUR_NOW_S = NOW_S // HOUR_S * HOUR_S
ZONE = "CAISO_NORTH"


@pytest.fixture
def clock() -> kit.VirtualClock:
    return kit.VirtualClock(NOW_S)


@pytest.fixture
def api(clock: kit.VirtualClock) -> WattTimeApi:
    return WattTimeApi(clock.now_s)


@pytest.fixture
def server(
    api: WattTimeApi, clock: kit.VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> Iterator[kit.Upstream]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with kit.upstream(api) as made:
        made.time_s = clock.now_s
        yield made


@pytest.fixture
def source(server: kit.Upstream, clock: kit.VirtualClock) -> WattTimeCarbon:
    return WattTimeCarbon(
        "me", SECRET, url=server.url, transport=Transport("watttime", clock=clock), clock=clock
    )


def routes(server: kit.Upstream) -> Counter[str]:
    return Counter(seen.path.rpartition("/")[2] for seen in server.seen)


def test_pounds_become_grams_exactly(source: WattTimeCarbon) -> None:
    window = SlotGrid(HOUR_NOW_S - 5 * HOUR_S, 300, 12)
    series = source.read(ZONE, window)
    # 1 lb = 453.59237 g, so 1 lb/MWh = 0.45359237 g/kWh.
    assert intensity_factor("lb/MWh") == pytest.approx(0.45359237, abs=0)
    right = [moer_pounds(start_s) * 0.45359237 for start_s in window.starts_s().tolist()]
    np.testing.assert_allclose(series.values_g_per_kwh, right, rtol=1e-15)
    assert (series.kind, series.source) == (IntensityKind.MARGINAL, f"watttime:co2_moer#{ZONE}")


@pytest.mark.parametrize(
    ("from_h", "hours", "asked"),
    [
        (-24, 24, {"historical": 1}),
        (-720, 720, {"historical": 1}),
        (-721, 721, {"historical": 2}),
        (-24, 30, {"historical": 1, "forecast": 1}),
        (1, 10, {"forecast": 1}),
    ],
)
def test_each_part_of_a_window_has_its_route(
    source: WattTimeCarbon, server: kit.Upstream, from_h: int, hours: int, asked: dict[str, int]
) -> None:
    source.read(ZONE, SlotGrid(HOUR_NOW_S + from_h * HOUR_S, HOUR_S, hours))
    assert routes(server) == {"login": 1, **asked}


@pytest.mark.parametrize(("hours", "horizon"), [(2, "2"), (30, "30"), (72, "72"), (80, "72")])
def test_the_whole_window_is_foreseen(
    source: WattTimeCarbon, server: kit.Upstream, hours: int, horizon: str
) -> None:
    series = source.read(ZONE, SlotGrid(HOUR_NOW_S + HOUR_S, HOUR_S, hours - 1))
    assert server.seen[-1].params["horizon_hours"] == horizon
    assert series.missing == max(hours - 72, 0)


def test_an_empty_window_asks_nobody(source: WattTimeCarbon, server: kit.Upstream) -> None:
    assert len(source.read(ZONE, SlotGrid(HOUR_NOW_S, HOUR_S, 0)).slots) == 0
    assert server.seen == []


def test_quality_and_reading_times_are_told(source: WattTimeCarbon) -> None:
    window = SlotGrid(HOUR_NOW_S - HOUR_S, 300, 24)
    series = source.read(ZONE, window)
    quality = np.asarray(series.quality)
    starts_s = window.starts_s()
    historical = starts_s <= NOW_S - 600
    imputed = starts_s % 7200 == 300
    assert set(quality[historical & ~imputed].tolist()) == {Quality.ACTUAL}
    assert set(quality[historical & imputed].tolist()) == {Quality.ESTIMATED}
    assert set(quality[starts_s >= NOW_S].tolist()) == {Quality.FORECAST}
    assert series.readings is not None
    known_since = dict(zip(series.readings.start_s.tolist(), series.readings.read_s.tolist(), strict=True))
    assert known_since[HOUR_NOW_S - HOUR_S] == HOUR_NOW_S - HOUR_S + 420
    assert known_since[int(starts_s[-1])] == NOW_S // 300 * 300


class TestLogin:
    def test_one_login_serves_half_an_hour(
        self, source: WattTimeCarbon, api: WattTimeApi, clock: kit.VirtualClock
    ) -> None:
        for _ in range(3):
            source.read(ZONE)
            clock.time_s += 480
        assert api.logins == 1
        clock.time_s += 600
        source.read(ZONE)
        assert api.logins == 2

    def test_a_token_that_ended_early_is_renewed_once(
        self, source: WattTimeCarbon, api: WattTimeApi, server: kit.Upstream
    ) -> None:
        source.read(ZONE)
        api.until_s = 0.0
        source.read(ZONE)
        assert api.logins == 2
        server.seen.clear()
        server.behave = lambda handler, reply: (kit.well if "/login" in handler.path else kit.status(401))(
            handler, reply
        )
        with pytest.raises(ConfigError, match="401"):
            source.read(ZONE)
        assert routes(server) == {"historical": 2, "login": 1}

    def test_a_new_token_that_is_refused_is_not_renewed(
        self, source: WattTimeCarbon, server: kit.Upstream
    ) -> None:
        server.behave = lambda handler, reply: (kit.well if "/login" in handler.path else kit.status(401))(
            handler, reply
        )
        with pytest.raises(ConfigError):
            source.read(ZONE)
        assert routes(server) == {"historical": 1, "login": 1}

    @pytest.mark.parametrize("password", ["wrong-one", 'a"b/c'])
    def test_a_wrong_password_is_a_setting_to_mend(
        self, server: kit.Upstream, clock: kit.VirtualClock, password: str
    ) -> None:
        transport = Transport("watttime", clock=clock)
        source = WattTimeCarbon("me", password, url=server.url, transport=transport, clock=clock)
        with pytest.raises(ConfigError, match="AICSCHED_WATTTIME_USER") as caught:
            source.read(ZONE)
        assert password not in str(caught.value)
        assert routes(server) == {"login": 1}

    @pytest.mark.parametrize("token", ["", "two words", "line\nbreak", None, 5])
    def test_a_login_without_a_token_is_invalid(
        self, source: WattTimeCarbon, server: kit.Upstream, token: Any
    ) -> None:
        server.api = lambda _: kit.json_reply({"token": token})
        with pytest.raises(SignalInvalid, match="token"):
            source.read(ZONE)

    @pytest.mark.parametrize(
        ("user", "password"), [("", "x"), (None, "x"), ("me", ""), ("me", None), ("me", " ")]
    )
    def test_who_is_not_told_is_asked_for(self, user: str | None, password: str | None) -> None:
        with pytest.raises(ConfigError, match="AICSCHED_WATTTIME_PASSWORD"):
            WattTimeCarbon(user, password)

    def test_a_user_with_a_colon_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="colon"):
            WattTimeCarbon("a:b", "c")


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("units", "kg_co2_per_mwh", "the unit 'lbs_co2_per_mwh' and sent 'kg_co2_per_mwh'"),
        ("units", "percentile", "sent 'percentile'"),
        ("signal_type", "co2_aoer", "the signal 'co2_moer' and sent 'co2_aoer'"),
        ("region", "PJM_DC", "the region 'CAISO_NORTH' and sent 'PJM_DC'"),
        ("data_point_period_seconds", 0, "values of 0 s"),
        ("data_point_period_seconds", 420, "values of 420 s"),
        ("data_point_period_seconds", 7200, "values of 7200 s"),
        ("data_point_period_seconds", 900, "off its grid of 900 s"),
    ],
)
def test_what_was_not_asked_for_is_refused(
    source: WattTimeCarbon, server: kit.Upstream, api: WattTimeApi, key: str, value: Any, words: str
) -> None:
    def other(request: kit.Request) -> kit.Reply:
        reply = api(request)
        body = json.loads(reply.body)
        if "meta" in body:
            body["meta"][key] = value
        return kit.replace(reply, body=json.dumps(body).encode())

    server.api = other
    with pytest.raises(SignalInvalid, match=words):
        source.read(ZONE)


def test_a_forecast_of_unknown_age_is_refused(
    source: WattTimeCarbon, server: kit.Upstream, api: WattTimeApi
) -> None:
    def ageless(request: kit.Request) -> kit.Reply:
        reply = api(request)
        body = json.loads(reply.body)
        body.get("meta", {}).pop("generated_at", None)
        return kit.replace(reply, body=json.dumps(body).encode())

    server.api = ageless
    with pytest.raises(SignalInvalid, match="generated_at"):
        source.read(ZONE, SlotGrid(HOUR_NOW_S, HOUR_S, 3))


def test_a_region_of_another_subscription_is_unknown(
    source: WattTimeCarbon, server: kit.Upstream, api: WattTimeApi
) -> None:
    def forbid(request: kit.Request) -> kit.Reply:
        hidden = request.params.get("region") == "ERCOT_NORTHCENTRAL"
        return kit.json_reply({"error": "no access"}, 403) if hidden else api(request)

    server.api = forbid
    with pytest.raises(UnknownZone, match="CAISO_NORTH"):
        source.read("ERCOT_NORTHCENTRAL")

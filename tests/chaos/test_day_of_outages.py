"""A day of virtual time in which every upstream fails in every way: no wrong number, every output flagged.

The real path runs: sources, transport with its breaker, store, forecasts and scores; only the
line to the upstreams is replaced (`Network`), and time (`HandClock`). What a source returned is
written down beside (`Witness`), checked against what the upstream holds, and is all that may come
out of `LastKnownGood` later, at exactly the age that it then has.

More days: ``OUTAGE_SEEDS=0-199 python3 do.py test tests/chaos/test_day_of_outages.py``.
"""

from __future__ import annotations

import os
import random
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from aicsched.config.signals import read_signals
from aicsched.domain.carbon import Quality
from aicsched.domain.fleet import Fleet, Region
from aicsched.errors import AicschedError, SourceUnavailable
from aicsched.forecast.live import forecast_live
from aicsched.score.intensity import met_by_region
from aicsched.signals import transport as transport_module
from aicsched.signals import wire
from aicsched.signals.known import measured
from aicsched.signals.live import LastKnownGood
from aicsched.signals.precedence import open_merged
from aicsched.signals.secrets import Secret
from aicsched.signals.store import SignalStore
from aicsched.signals.transport import Limits, Transport
from aicsched.slots import HOUR_S, SlotGrid
from tests.live_sources_kit import LIVE, NOW_S, SECRET, Live
from tests.signals_kit import HandClock
from tests.upstream_kit import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from pathlib import Path

    from aicsched.domain.carbon import CarbonSeries
    from aicsched.signals.base import CarbonSource

DAY_S = 24 * HOUR_S
START_S = NOW_S
PAST_S = 6 * DAY_S
# By the half-hour each time, by the quarter where more days are asked for.
STEP_S = 900 if "OUTAGE_SEEDS" in os.environ else 1800
HISTORY_S = 5 * DAY_S
# How an upstream can be: cards of a deck, so that a day holds each of them.
MOODS = (
    "well",
    "well",
    "well",
    "down",
    "silent",
    "flaky",
    "500",
    "429",
    "nonsense",
    "401",
    "stale",
    "stale",
    "skewed",
    "skewed",
    "ahead",
)
SKEWS_S = (-2 * HOUR_S, -200.0, -100.0, 100.0, 150.0, 3 * HOUR_S)
NONSENSE = (
    b"",
    b"{}",
    b"null",
    b"[]",
    b'{"data": [], "meta": {}}',
    b"<html>maintenance</html>",
    b"\xff\xfe\x00garbage",
    b'{"zone": "DE", "history": [{"carbonIntensity": "much"}]}',
)


# ---------------------------------------------------------------- the world
@dataclass
class Mood:
    """How an upstream is for a while."""

    name: str
    until_s: float
    behind_s: float = 0.0
    clock_off_s: float = 0.0


@dataclass
class Upstream:
    """One API, its mood, and what it has been asked."""

    live: Live
    api: Callable[[Request], Any]
    mood: Mood = field(default_factory=lambda: Mood("well", 0.0))
    asked: int = 0


class Network:
    """Stands in for the line: each upstream answers as its mood is, in virtual time."""

    def __init__(self, clock: HandClock, seed: int) -> None:
        self.clock = clock
        self.random = random.Random(seed)
        self.upstreams: dict[str, Upstream] = {}
        self.deck: list[str] = []
        self.dealt: set[str] = set()
        # The world's time: ours may be set wrong, an upstream's too.
        self.true_s: Callable[[], float] = lambda: START_S + clock.passed_s

    def join(self, live: Live) -> str:
        host = f"{live.name}.localhost.test"

        def its_time() -> float:
            mood = self.upstreams[host].mood
            return self.true_s() + mood.clock_off_s - mood.behind_s

        self.upstreams[host] = Upstream(live, live.api(its_time))
        return f"https://{host}"

    def new_moods(self) -> None:
        """Let each mood that is over be followed by another, of minutes to ten hours."""
        for upstream in self.upstreams.values():
            if self.true_s() < upstream.mood.until_s:
                continue
            if not self.deck:
                self.deck = self.random.sample(MOODS, len(MOODS))
            name = self.deck.pop()
            self.dealt.add(name)
            lasts_s = self.random.choice([600, 1800, HOUR_S, 3 * HOUR_S, 5 * HOUR_S, 10 * HOUR_S])
            upstream.mood = Mood(name, self.true_s() + lasts_s)
            if name == "stale":
                upstream.mood.behind_s = self.random.choice([HOUR_S, 3 * HOUR_S, 7 * HOUR_S])
            elif name == "skewed":
                upstream.mood.clock_off_s = self.random.choice(SKEWS_S)
            elif name == "ahead":  # its clock is right, and yet it gives measured values of slots to come
                upstream.mood.behind_s = -2.0 * HOUR_S

    def exchange(self, call: wire.Call, *, within_s: float) -> wire.Reply | wire.Fault:
        split = urlsplit(call.url)
        upstream = self.upstreams[str(split.hostname)]
        upstream.asked += 1
        mood = upstream.mood
        params, headers = _revealed(call.params), _revealed(call.headers)
        headers = {name.lower(): value for name, value in headers.items()}
        fault = self.fault(mood.name, call, within_s)
        if fault is not None:
            return fault
        self.clock.sleep(0.2)
        reply = upstream.api(Request(split.path, params, headers))
        date = formatdate(self.true_s() + mood.clock_off_s, usegmt=True)
        sent = {name.lower(): value for name, value in reply.headers.items()} | {"date": date}
        return wire.Reply(reply.status, sent, reply.body)

    def fault(self, name: str, call: wire.Call, within_s: float) -> wire.Reply | wire.Fault | None:
        json = {"content-type": "application/json", "date": formatdate(self.true_s(), usegmt=True)}
        if name == "down" or (name == "flaky" and self.random.random() < 0.5):
            return wire.Fault(error=SourceUnavailable, what="can't be reached", hint="try later", again=True)
        if name == "silent":
            self.clock.sleep(min(within_s, call.read_s))
            return wire.Fault(error=SourceUnavailable, what="took too long", hint="try later", again=True)
        after = str(self.random.choice([1, 60, 9999]))
        replies = {
            "500": wire.Reply(self.random.choice([500, 502, 503]), json, b'{"error": "oops"}'),
            "429": wire.Reply(429, json | {"retry-after": after}, b"{}"),
            "401": wire.Reply(401, json, f'{{"sent": "{SECRET}"}}'.encode()),
            "nonsense": wire.Reply(200, json, self.random.choice(NONSENSE)),
        }
        return replies.get(name)


def _revealed(held: Mapping[str, str | Secret]) -> dict[str, str]:
    return {name: value.reveal() if isinstance(value, Secret) else value for name, value in held.items()}


class Witness:
    """Passes reads on, and writes down what the real source returned."""

    def __init__(self, source: CarbonSource) -> None:
        self.source = source
        self.last: CarbonSeries | None = None

    @property
    def source_id(self) -> str:
        return self.source.source_id

    def zones(self) -> tuple[str, ...]:
        return self.source.zones()

    def read(self, zone: str, window: SlotGrid | None = None) -> CarbonSeries:
        self.last = None
        self.last = self.source.read(zone, window)
        return self.last


@dataclass
class Oracle:
    """What may be known of one source: a plain dictionary of what it truly said."""

    live: Live
    values: dict[int, float] = field(default_factory=dict)
    step_s: int = 0
    skew_s: float = 0.0
    failed: bool = False

    def heard(self, series: CarbonSeries | None, now_s: float) -> None:
        self.failed = series is None or not self.take(series, now_s)

    def take(self, series: CarbonSeries, now_s: float) -> bool:
        self.step_s = series.slots.step_s
        starts_s = series.slots.starts_s().tolist()
        quality = np.asarray(series.quality).tolist()
        found = {
            start_s: value
            for start_s, value, said in zip(starts_s, series.values_g_per_kwh.tolist(), quality, strict=True)
            if not np.isnan(value) and said != Quality.FORECAST and start_s <= now_s + 120
        }
        if not found or len(found) < 0.75 * ((max(found) - min(found)) // self.step_s + 1):
            return False
        self.values |= found
        told = [flag for flag in series.flags if flag.startswith("clock-skew:")]
        self.skew_s = float(told[0].split(":")[1]) if told else 0.0
        return True

    def known(self, now_s: float) -> dict[int, float]:
        first_s = now_s - HISTORY_S
        return {
            start_s: value
            for start_s, value in self.values.items()
            if start_s >= first_s and start_s + self.step_s <= now_s
        }

    def is_true(self, start_s: int, value: float) -> bool:
        """A slot's mean, or where the slot wasn't over that of its beginning, by the finest steps."""
        fine_s = min(self.live.step_s, self.step_s)
        parts = [self.live.right(start_s + at_s, fine_s) for at_s in range(0, self.step_s, fine_s)]
        means = np.cumsum(parts) / np.arange(1, len(parts) + 1)
        return bool(np.isclose(means, value, rtol=1e-9).any())


class Day:
    """The world, the sources in it, and what must be true of them at each moment."""

    def __init__(self, path: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.clock = HandClock(START_S)
        self.network = Network(self.clock, seed + 1)
        self.path = path
        self.oracles: dict[str, Oracle] = {}
        self.witnesses: dict[str, Witness] = {}
        for live in LIVE:
            url = self.network.join(live)
            source = live.make(url, Transport(live.name, limits=Limits(), clock=self.clock), self.clock)
            self.witnesses[live.name] = Witness(source)
            self.oracles[live.name] = Oracle(live)
        self.store = SignalStore(path)
        self.start()
        self.seen = {"fresh": 0, "degraded": 0, "neutral": 0, "stored": 0, "skewed": 0}

    def start(self) -> None:
        """Start the process anew: nothing but the store goes on."""
        self.store.close()
        self.store = SignalStore(self.path)
        self.lives = {
            name: LastKnownGood(witness, self.store, clock=self.clock, history_s=HISTORY_S)
            for name, witness in self.witnesses.items()
        }

    def fill(self) -> None:
        """Read some days while all is well."""
        for name, live in self.lives.items():
            zone = self.oracles[name].live.zone
            step_s = self.lives[name].read(zone).slots.step_s
            self.note(name)
            window = SlotGrid((START_S - PAST_S) // HOUR_S * HOUR_S, step_s, (PAST_S - DAY_S) // step_s)
            live.read(zone, window)
            self.note(name)

    def note(self, name: str) -> None:
        oracle, series = self.oracles[name], self.witnesses[name].last
        oracle.heard(series, self.clock.now_s())
        if series is not None:
            known = ~np.isnan(series.values_g_per_kwh)
            for start_s, value in zip(
                series.slots.starts_s()[known].tolist(), series.values_g_per_kwh[known].tolist(), strict=True
            ):
                assert oracle.is_true(start_s, value), (name, start_s, value)

    def live_through(self, hours: float) -> None:
        until_s = self.network.true_s() + hours * HOUR_S
        self.clock.sleep(STEP_S)
        while self.network.true_s() < until_s:
            self.network.new_moods()
            if self.random.random() < 0.02:
                self.start()
            for name in self.lives:
                self.look_at(name)
            self.look_at_all()
            self.clock.sleep(STEP_S)

    def look_at(self, name: str) -> None:
        oracle, live = self.oracles[name], self.lives[name]
        now_s = int(self.clock.now_s())  # reading takes time, too
        series = live.read(oracle.live.zone)
        self.note(name)
        # 1. What comes out is what the source truly said last of each slot that is over: all of it, no more.
        found = ~np.isnan(series.values_g_per_kwh)
        starts_s = series.slots.starts_s()
        told = dict(zip(starts_s[found].tolist(), series.values_g_per_kwh[found].tolist(), strict=True))
        assert told == oracle.known(now_s), name
        # 2. Whether the source could be read is said, with the age of the newest value.
        newest_s = max(told) + oracle.step_s
        stored = [flag for flag in series.flags if flag.startswith("stored:")]
        assert bool(stored) is oracle.failed, (name, series.flags, self.network.upstreams)
        if stored:
            assert abs(int(stored[0].split(":")[1]) - (now_s - newest_s)) <= 60
            self.seen["stored"] += 1
        late = np.asarray(series.quality)[found & (starts_s >= now_s - DAY_S + 60)]
        assert (late == Quality.STALE).all() if stored else not (late == Quality.STALE).any()
        # 3. Clocks that differ are told, by the last answer.
        skewed = [flag for flag in series.flags if flag.startswith("clock-skew:")]
        if not oracle.failed:
            assert bool(skewed) is (abs(oracle.skew_s) > 120), (name, series.flags)
            assert bool(skewed) is (abs(self.network.upstreams[self.host(name)].mood.clock_off_s) > 125)

    def host(self, name: str) -> str:
        return f"{name}.localhost.test"

    def look_at_all(self) -> None:
        """Foresee and score: fresh, degraded and neutral exactly by age, neutral without weight."""
        forecasts: dict[str, Any] = {}
        states: dict[str, str] = {}
        now_s = self.clock.now_s()
        for name, live in self.lives.items():
            oracle = self.oracles[name]
            made = forecast_live(live, [oracle.live.zone], now_s=now_s, horizon_h=12, model="seasonal")
            self.note(name)  # where the others took long, it was read anew
            item = made.forecasts[oracle.live.zone]
            state = str(made.staleness[oracle.live.zone])
            age_s = now_s - (max(oracle.known(now_s)) + oracle.step_s)
            skewed = any(flag.startswith("clock-skew:") for flag in item.flags)
            if age_s > 6 * HOUR_S:
                wanted = "neutral"
            else:
                wanted = "degraded" if skewed or age_s > 2 * oracle.step_s else "fresh"
            assert state == wanted, (name, age_s, item.flags)
            assert ("degraded" in item.flags) is (wanted == "degraded"), (name, item.flags)
            assert ("neutral" in item.flags) is (wanted == "neutral"), (name, item.flags)
            assert item.kind == live.read(oracle.live.zone).kind
            self.seen[wanted] += 1
            self.seen["skewed"] += skewed
            forecasts[oracle.live.zone], states[oracle.live.zone] = item, wanted
        self.score(forecasts, states)

    def score(self, forecasts: dict[str, Any], states: dict[str, str]) -> None:
        regions = tuple(
            Region(name=zone.lower(), grid_zone=zone, capacity_vcpus=1.0, power_w_per_vcpu=4.0, pue=1.1)
            for zone in forecasts
        )
        start_s = max(item.slots.start_s for item in forecasts.values())
        met = met_by_region(Fleet(regions=regions, source="test"), forecasts, start_s, 2 * HOUR_S)
        better = [met[zone.lower()].mid_g_per_kwh for zone, state in states.items() if state != "neutral"]
        for zone, state in states.items():
            assert met[zone.lower()].neutral is (state == "neutral")
            assert met[zone.lower()].source.endswith(f"({state})") is (state != "fresh")
            if state == "neutral":
                assert met[zone.lower()].mid_g_per_kwh == pytest.approx(np.mean(better) if better else 0.0)

    def end(self) -> None:
        """The store holds what was said, and nothing of it is damaged."""
        self.store.verify()
        for name, oracle in self.oracles.items():
            # A source whose data are late may give a forecast again of what it had measured.
            kept = measured(self.store.read(self.lives[name].source_id, oracle.live.zone))
            known = ~np.isnan(kept.values_g_per_kwh)
            stored = dict(
                zip(kept.slots.starts_s()[known].tolist(), kept.values_g_per_kwh[known].tolist(), strict=True)
            )
            assert stored == oracle.values


@contextmanager
def day(path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> Generator[Day]:
    random.seed(seed)  # of the waits between tries
    made = Day(path, seed)
    monkeypatch.setattr(transport_module, "exchange", made.network.exchange)
    try:
        yield made
    finally:
        made.store.close()


def seeds() -> list[int]:
    first, _, last = os.environ.get("OUTAGE_SEEDS", "1").partition("-")
    return list(range(int(first), int(last or first) + 1))


@pytest.mark.parametrize("seed", seeds())
def test_a_day_of_outages_gives_no_wrong_number_and_flags_all(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    print(f"seed {seed}")
    with day(tmp_path / "signals.db", seed, monkeypatch) as world:
        world.fill()
        world.live_through(24)
        world.end()
        print(world.seen, {host: each.asked for host, each in world.network.upstreams.items()})
        assert world.network.dealt == set(MOODS)
        assert all(world.seen.values()), world.seen


def test_a_day_without_outages_is_fresh_throughout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the test above would say nothing."""
    with day(tmp_path / "signals.db", 0, monkeypatch) as world:
        monkeypatch.setattr(world.network, "new_moods", lambda: None)
        world.fill()
        world.live_through(4)
        world.end()
        assert world.seen["fresh"] == (4 * HOUR_S // STEP_S - 1) * len(LIVE)
        assert (world.seen["stored"], world.seen["degraded"], world.seen["neutral"]) == (0, 0, 0)


def test_a_lie_would_be_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One value that an upstream doesn't hold fails the day."""
    with day(tmp_path / "signals.db", 0, monkeypatch) as world:
        world.fill()
        world.oracles[LIVE[0].name].values[max(world.oracles[LIVE[0].name].values) - 100 * HOUR_S] += 0.01
        with pytest.raises(AssertionError):
            world.live_through(1)


def test_declared_sources_step_in_for_one_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the order of the settings, slot by slot, and back again when the first one is well."""
    table = {
        "order": ["electricity-maps", "eia"],
        "electricity-maps": {"url": "https://electricity-maps.localhost.test", "zones": {"X": "DE"}},
        "eia": {"url": "https://eia.localhost.test/v2", "zones": {"X": "CISO"}},
    }
    settings = read_signals(table, {"ELECTRICITY_MAPS_TOKEN": SECRET, "EIA_KEY": SECRET})
    with day(tmp_path / "signals.db", 0, monkeypatch) as world:
        world.clock.sleep(HOUR_S)
        merged = open_merged(settings, store=world.store, clock=world.clock)
        first, second = (world.network.upstreams[f"{name}.localhost.test"] for name in table["order"])
        now_s = int(world.clock.now_s()) // HOUR_S * HOUR_S

        def told(upstream: Upstream) -> tuple[str, ...]:
            series = merged.read("X")
            found = ~np.isnan(series.values_g_per_kwh) & (series.slots.starts_s() >= now_s - 12 * HOUR_S)
            starts_s = series.slots.starts_s()[found].tolist()
            assert starts_s
            for start_s, value in zip(starts_s, series.values_g_per_kwh[found].tolist(), strict=True):
                assert value == pytest.approx(upstream.live.right(start_s, HOUR_S))
            return series.flags

        assert any("merged:electricity-maps" in flag for flag in told(first))
        first.mood = Mood("down", 2**60)
        world.clock.sleep(120)
        assert any("merged:eia" in flag for flag in told(second))
        second.mood = Mood("500", 2**60)
        world.clock.sleep(120)
        assert any(flag.startswith("stored:") for flag in told(first))
        first.mood = second.mood = Mood("well", 2**60)
        world.clock.sleep(400)
        assert not any(flag.startswith("stored:") for flag in told(first))


def test_faults_of_sources_are_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No mood brings anything out of a source but our own errors."""
    with day(tmp_path / "signals.db", 0, monkeypatch) as world:
        for name in ("down", "silent", "500", "429", "401", "nonsense"):
            for host, upstream in world.network.upstreams.items():
                upstream.mood = Mood(name, 2**60)
                witness = world.witnesses[host.removesuffix(".localhost.test")]
                for _ in range(4):
                    with pytest.raises(AicschedError):
                        witness.read(upstream.live.zone)
                    world.clock.sleep(400)

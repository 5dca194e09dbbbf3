"""A day of virtual time in which sources of prices, and Prometheus, fail in every way.

Neither has last known good values: each read is right, slot by slot, and says where clocks differ and
what is only foreseen, or it is an error of ours. Prometheus is a real one; faults are put on the line to it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from aicsched.domain.carbon import Quality
from aicsched.errors import ConfigError, SignalError
from aicsched.signals import transport as transport_module
from aicsched.signals import wire
from aicsched.signals.price.azure import AzurePrices
from aicsched.signals.price.energy_charts import EnergyChartsPrices
from aicsched.signals.prometheus.read import PrometheusTelemetry
from aicsched.signals.prometheus.server import PrometheusServer
from aicsched.signals.transport import Transport
from aicsched.slots import HOUR_S, SlotGrid, format_time
from tests.price_kit import DE, NOW_S, SIZE, Azure, Charts, azure_item, meter
from tests.prometheus_kit import Binaries, History, serving
from tests.signals_kit import HandClock
from tests.upstream_kit import Request

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DAY_S = 24 * HOUR_S
STEP_S = 1800
NONSENSE = (b"", b"{}", b"null", b"[]", b"<html>maintenance</html>", b'{"status": "success", "data": {}}')
FAULTS = ("down", "silent", "401", "429", "500", "nonsense", "cut")
MOODS = ("well", "well", "well", "flaky", "skewed", *FAULTS)
CHARTS, AZURE, PROMETHEUS = "charts.localhost.test", "azure.localhost.test", "127.0.0.1"


@dataclass
class Line:
    """The line to the upstreams, with a mood for each."""

    clock: HandClock
    random: random.Random
    answers: dict[str, Callable[[wire.Call, float], wire.Reply | wire.Fault]]
    moods: dict[str, str] = field(default_factory=dict)
    off_s: dict[str, float] = field(default_factory=dict)

    def new_moods(self) -> None:
        for host in self.answers:
            if host not in self.moods or self.random.random() < 0.3:
                self.moods[host] = self.random.choice(MOODS)
                self.off_s[host] = self.random.choice([-7200.0, -200.0, 150.0, 10_800.0])

    def exchange(self, call: wire.Call, *, within_s: float) -> wire.Reply | wire.Fault:
        host = str(urlsplit(call.url).hostname)
        mood = self.moods[host]
        if mood == "down" or (mood == "flaky" and self.random.random() < 0.4):
            return wire.Fault(error=SignalError, what="can't be reached", hint="try later", again=True)
        if mood == "silent":
            self.clock.sleep(min(within_s, call.read_s))
            return wire.Fault(error=SignalError, what="took too long", hint="try later", again=True)
        self.clock.sleep(0.1)
        off_s = self.off_s[host] if mood == "skewed" else 0.0
        sent = {
            "content-type": "application/json",
            "date": formatdate(self.clock.now_s() + off_s, usegmt=True),
        }
        if mood in ("401", "429", "500"):
            return wire.Reply(int(mood), sent, b"{}")
        if mood == "nonsense":
            return wire.Reply(200, sent, self.random.choice(NONSENSE))
        found = self.answers[host](call, within_s)
        if isinstance(found, wire.Fault):
            return found
        body = found.body[: len(found.body) // 2] if mood == "cut" else found.body
        return wire.Reply(found.status, sent, body)


def _of_api(api: Callable[[Request], Any]) -> Callable[[wire.Call, float], wire.Reply]:
    def answer(call: wire.Call, _within_s: float) -> wire.Reply:
        params = {name: str(value) for name, value in call.params.items()}
        reply = api(Request(urlsplit(call.url).path, params, {}))
        return wire.Reply(reply.status, {}, reply.body)

    return answer


def _tried(read: Callable[[], Any], mood: str) -> Any:
    """Return what was read, or None where that failed as the upstream's mood wants it."""
    error: SignalError | ConfigError | None = None
    found = None
    try:
        found = read()
    except (SignalError, ConfigError) as caught:
        error = caught
    if error is None:
        assert mood not in FAULTS, mood
        return found
    assert mood in (*FAULTS, "flaky"), (mood, error)
    assert error.hint
    return None


# ---------------------------------------------------------------- prices
def _charts_right(start_s: int) -> float:
    """The mean of an hour's quarters; one of them is never known."""
    quarters = [(start_s - NOW_S) // 900 + at for at in range(4)]
    return float(np.mean([quarter - 10.0 for quarter in quarters if quarter != 5])) / 1000


def _azure_meters(now_s: float) -> list[dict[str, Any]]:
    """Dearer every midnight: only the price that holds is told, and since when."""
    midnight_s = int(now_s) // DAY_S * DAY_S
    price = 0.2 + midnight_s // DAY_S % 10 / 100
    since = format_time(midnight_s).replace("Z", ":00Z")
    return [meter(price, effectiveStartDate=since), meter(0.9, productName="Virtual Machines Windows")]


@pytest.mark.parametrize("seed", [1, 2])
def test_prices_of_a_day_are_right_or_an_error(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    random.seed(seed)
    clock = HandClock(NOW_S + 600)
    azure_api = Azure()
    azure_api.pages = 1

    def azure(request: Request) -> Any:
        azure_api.meters = _azure_meters(clock.now_s())
        azure_api.pages = 2
        return azure_api(Request(request.path, request.params, {}))

    line = Line(clock, random.Random(seed), {CHARTS: _of_api(Charts()), AZURE: _of_api(azure)})
    monkeypatch.setattr(transport_module, "exchange", line.exchange)
    charts = EnergyChartsPrices(url=f"https://{CHARTS}", transport=Transport("energy-charts", clock=clock))
    sold = AzurePrices(
        ["westeurope"],
        [SIZE],
        url=f"https://{AZURE}",
        transport=Transport("azure-retail-prices", clock=clock),
        clock=clock,
    )
    seen = {"right": 0, "errors": 0, "skewed": 0, "foreseen": 0}
    for _ in range(2 * DAY_S // STEP_S):
        clock.sleep(STEP_S)
        line.new_moods()
        hour_s = int(clock.now_s()) // HOUR_S * HOUR_S
        window = SlotGrid(hour_s - 12 * HOUR_S, HOUR_S, 24)
        for host, source, item in ((CHARTS, charts, DE), (AZURE, sold, azure_item())):
            mood = line.moods[host]
            asked_s = clock.now_s()
            series = _tried(lambda source=source, item=item, window=window: source.read(item, window), mood)
            if series is None:
                seen["errors"] += 1
                continue
            seen["right"] += 1
            known = ~np.isnan(series.prices)
            quality = np.asarray(series.quality)
            starts_s = window.starts_s()
            if host == CHARTS:
                assert known.all()
                wanted = [_charts_right(start_s) for start_s in starts_s.tolist()]
                np.testing.assert_allclose(series.prices, wanted, rtol=1e-12)
            else:
                (price,) = {each["retailPrice"] for each in _azure_meters(asked_s)[:1]}
                np.testing.assert_array_equal(known, starts_s >= int(asked_s) // DAY_S * DAY_S)
                assert set(series.prices[known]) == {price}
                np.testing.assert_array_equal(quality[known] == Quality.FORECAST, starts_s[known] > asked_s)
                seen["foreseen"] += int((quality == Quality.FORECAST).sum())
            skewed = [flag for flag in series.flags if flag.startswith("clock-skew:")]
            assert bool(skewed) is (mood == "skewed"), (host, mood, series.flags)
            seen["skewed"] += bool(skewed)
    print(seen)
    assert all(seen.values()), seen


# ---------------------------------------------------------------- Prometheus
NODES = ("blue", "cyan", "gold")
SLOTS = SlotGrid(NOW_S // HOUR_S * HOUR_S - 8 * HOUR_S, HOUR_S, 34)
GONE = ("gold", range(14, 17))  # hours in which one machine isn't scraped


def _history(rng: np.random.Generator) -> tuple[History, dict[str, np.ndarray]]:
    """Three machines with another load each hour, and one that is out of sight for three hours."""
    history = History()
    shape = (len(NODES), len(SLOTS))
    right = {
        "cpu_share": rng.uniform(0.1, 0.9, shape),
        "memory_share": rng.uniform(0.2, 0.8, shape),
        "network_mb": rng.uniform(100, 900, shape),
    }
    edges = SLOTS.start_s + HOUR_S * np.arange(len(SLOTS) + 1)
    for row, name in enumerate(NODES):
        times = np.arange(SLOTS.start_s, SLOTS.end_s + 1, 120)
        hour = ((times - SLOTS.start_s - 1) // HOUR_S).clip(0)
        here = ~np.isin(hour, GONE[1]) if name == GONE[0] else np.ones(len(times), bool)
        times, hour = times[here], hour[here]
        own = {"instance": f"10.0.0.{row}:9100", "job": "node"}

        def count(rate: np.ndarray, when: np.ndarray = times) -> np.ndarray:
            return np.interp(when, edges, np.concatenate(([0.0], np.cumsum(rate * HOUR_S))))

        busy = right["cpu_share"][row]
        for mode, rate in (("user", busy), ("idle", 1 - busy)):
            history.add("node_cpu_seconds_total", own | {"cpu": "0", "mode": mode}, times, count(rate))
        history.add("node_memory_MemTotal_bytes", own, times, 2.0**34)
        free = (1 - right["memory_share"][row])[hour] * 2.0**34
        history.add("node_memory_MemAvailable_bytes", own, times, free)
        for metric in ("receive", "transmit"):
            rate = right["network_mb"][row] * 1e6 / HOUR_S / 2
            labels = own | {"device": "eth0"}
            history.add(f"node_network_{metric}_bytes_total", labels, times, count(rate))
        history.add("node_uname_info", own | {"nodename": name}, times, 1)
    for values in right.values():
        values[NODES.index(GONE[0]), list(GONE[1])] = np.nan
    return history, right


def test_metrics_of_a_day_are_right_or_an_error(
    tmp_path: Path, prometheus_binaries: Binaries, monkeypatch: pytest.MonkeyPatch
) -> None:
    random.seed(1)
    history, right = _history(np.random.default_rng(1))
    database = history.write(prometheus_binaries, tmp_path)
    clock = HandClock(SLOTS.start_s + 8 * HOUR_S + 600)
    real = transport_module.exchange

    def asked(call: wire.Call, within_s: float) -> wire.Reply | wire.Fault:
        return real(replace(call), within_s=max(within_s, 30.0))

    line = Line(clock, random.Random(3), {PROMETHEUS: asked})
    seen = {"right": 0, "errors": 0, "unknown": 0}
    with serving(prometheus_binaries, database) as url:
        monkeypatch.setattr(transport_module, "exchange", line.exchange)
        source = PrometheusTelemetry(PrometheusServer(url, clock=clock), scrape_s=120)
        for _ in range(DAY_S // STEP_S):
            clock.sleep(STEP_S)
            line.new_moods()
            over = (int(clock.now_s()) - SLOTS.start_s) // HOUR_S
            window = SlotGrid(SLOTS.start_s + (over - 6) * HOUR_S, HOUR_S, 6)
            mood = line.moods[PROMETHEUS]
            found = _tried(lambda window=window: source.read(window), mood)
            if found is None:
                seen["errors"] += 1
                continue
            assert found.nodes == NODES
            seen["right"] += 1
            for name, values in right.items():
                wanted = values[:, over - 6 : over]
                got = np.asarray(getattr(found, name))
                seen["unknown"] += int(np.isnan(got).sum())
                # The first sample after a gap lies two minutes in: nothing there is made up.
                np.testing.assert_array_equal(np.isnan(got) | np.isfinite(wanted), True)
                assert np.isnan(got).sum() <= np.isnan(wanted).sum() + 1
                both = np.isfinite(got)
                np.testing.assert_allclose(got[both], wanted[both], rtol=0.05)
    print(seen)
    assert all(seen.values()), seen

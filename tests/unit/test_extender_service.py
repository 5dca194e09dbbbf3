"""The whole of it beside an API server on this machine: nodes come and go, upstreams die, answers go on."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from aicsched.config import Settings
from aicsched.config.extender import ExtenderSettings
from aicsched.config.signals import SignalSettings
from aicsched.errors import ConfigError, SourceUnavailable
from aicsched.extender.app import ExtenderApp
from aicsched.extender.live.prometheus import SettledPrometheus
from aicsched.extender.live.service import LiveService
from aicsched.signals.clock import SystemClock
from tests.kube_kit import api_client, api_server, node, pod
from tests.signals_kit import MoodySource

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

ZONES = {"north": "DE", "south": "FR"}


def in_region(name: str, region: str) -> dict[str, Any]:
    return node(name, labels={"topology.kubernetes.io/region": region}, provider_id="")


def eventually(holds: Callable[[], bool], within_s: float = 30.0) -> None:
    until = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < until, "not in time"
        time.sleep(0.02)


def dirty_south(series: Any) -> Any:
    """Let the second zone emit three times as much as the first."""
    if series.grid_zone == "DE":
        return series
    return replace(series, values_g_per_kwh=3 * series.values_g_per_kwh)


class Running:
    """A service on an API server of this machine, and an app before it."""

    def __init__(self, api: Any, folder: Path, **more: Any) -> None:
        self.api = api
        self.carbon = MoodySource(SystemClock(), zones=("DE", "FR"))
        self.carbon.twist = dirty_south
        settings = Settings(
            signals=SignalSettings(store=folder / "signals.db"),
            extender=ExtenderSettings(grid_zones=ZONES, refresh_s=1.0, max_age_s=60.0, **more),
        )
        self.service = LiveService(settings, api=api_client(api.url), carbon=self.carbon)
        self.app = ExtenderApp(
            self.service.holder, metrics=self.service.metrics, checks=self.service.checks()
        )

    def scores(self, *names: str) -> dict[str, int]:
        asked = {"Pod": {"metadata": {"name": "p", "namespace": "shop"}}, "NodeNames": names, "Nodes": None}
        rows = json.loads(self.app.handlers.prioritize(json.dumps(asked).encode()))
        return {row["Host"]: row["Score"] for row in rows}

    def metrics(self) -> str:
        return self.app.metrics.render(self.service.holder.current, time.time()).decode()

    def known(self) -> set[str]:
        snapshot = self.service.holder.current
        return set() if snapshot is None else set(snapshot.names)


@pytest.fixture
def running(tmp_path: Path) -> Generator[Running]:
    with api_server() as api:
        api.put("nodes", in_region("a", "north"), in_region("b", "south"), in_region("c", "nowhere"))
        made = Running(api, tmp_path, ledger=tmp_path / "ledger.db")
        with made.service:
            eventually(lambda: made.known() != set())
            yield made


def test_nodes_come_and_go_and_the_snapshot_follows(running: Running) -> None:
    assert all(check() for check in running.service.checks().values())
    running.api.put("nodes", in_region("d", "north"))
    eventually(lambda: running.known() == {"a", "b", "c", "d"})
    running.api.drop("nodes", "a")
    eventually(lambda: running.known() == {"b", "c", "d"})
    running.api.put("nodes", in_region("c", "south"))
    eventually(lambda: running.service.holder.current.costs.signals == ("fresh",) * 3)
    assert running.scores("a", "stranger") == {"a": 5, "stranger": 5}


def test_zones_that_turn_up_are_read_at_once(running: Running) -> None:
    assert set(running.service.carbon.current) == {"DE", "FR"}
    # By the packaged table of cloud regions; this source doesn't have it.
    running.api.put("nodes", node("cloud", labels={"topology.kubernetes.io/region": "eu-north-1"}))
    eventually(lambda: len(running.service.carbon.current) == 3)
    assert running.scores("a", "b", "cloud") == {"a": 10, "b": 0, "cloud": 5}


def test_answers_go_on_when_the_api_server_and_the_carbon_source_are_gone(running: Running) -> None:
    before = running.scores("a", "b", "c")
    assert before == {"a": 10, "b": 0, "c": 5}
    running.carbon.fault = SourceUnavailable("down")
    running.api.status |= {"nodes": 503, "pods": 503}
    running.api.watch_status |= {"nodes": 503, "pods": 503}
    running.api.cut()
    at_s = running.service.holder.current.issued_at_s
    eventually(lambda: running.service.holder.current.issued_at_s > at_s + 2)
    assert running.scores("a", "b", "c") == before
    assert running.app.probes.checks()["nodes"]


def test_metrics_tell_what_is_fresh_and_what_was_placed(running: Running) -> None:
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    running.api.put("pods", pod("web-1", on="a", bound=now), pod("web-2", on="c", bound=now))
    for outcome in ("unknown", "booked"):
        line = f'aicsched_decisions_total{{outcome="{outcome}"}} 1.0'
        eventually(lambda line=line: line in running.metrics())
    shown = running.metrics()
    for line in (
        'aicsched_decisions_total{outcome="booked"} 1.0',
        'aicsched_snapshot_nodes{state="fresh"} 2.0',
        'aicsched_snapshot_nodes{state="unknown"} 1.0',
        'aicsched_carbon_signal_zones{state="fresh"} 2.0',
        'aicsched_carbon_intensity_grams_per_kwh{zone="DE"}',
        'aicsched_refresh_failures_total{refresher="carbon"} 0.0',
        'aicsched_refresh_age_seconds{refresher="snapshot"}',
        "aicsched_snapshot_age_seconds ",
        "aicsched_snapshot_build_seconds_bucket",
        "aicsched_counterfactual_grams_total ",
    ):
        assert line in shown, line


def test_without_any_source_all_is_neutral_and_ready(tmp_path: Path) -> None:
    with api_server() as api:
        api.put("nodes", in_region("a", "north"), in_region("b", "south"))
        settings = Settings(extender=ExtenderSettings(grid_zones=ZONES, refresh_s=1.0))
        service = LiveService(settings, api=api_client(api.url))
        app = ExtenderApp(service.holder, metrics=service.metrics, checks=service.checks())
        with service:
            app.warm_up()
            eventually(lambda: all(app.probes.checks().values()))
            body = json.dumps({"Pod": {}, "NodeNames": ["a", "b"], "Nodes": None}).encode()
            assert {row["Score"] for row in json.loads(app.handlers.prioritize(body))} == {5}
            shown = app.metrics.render(service.holder.current, time.time())
            assert b'aicsched_extender_fallbacks_total{reason="no_signal"} 1.0' in shown


def test_a_cluster_that_was_never_seen_leaves_readiness_off_and_answers_neutral(tmp_path: Path) -> None:
    settings = Settings(extender=ExtenderSettings(grid_zones=ZONES, refresh_s=1.0))
    service = LiveService(settings, api=api_client("http://127.0.0.1:1"))
    app = ExtenderApp(service.holder, metrics=service.metrics, checks=service.checks())
    with service:
        app.warm_up()
        time.sleep(0.5)
        assert not all(app.probes.checks().values())
        body = json.dumps({"Pod": {}, "NodeNames": ["a"], "Nodes": None}).encode()
        assert json.loads(app.handlers.prioritize(body)) == [{"Host": "a", "Score": 5}]
        begun = time.monotonic()
    assert time.monotonic() - begun < 20


def test_what_cannot_be_used_stops_the_start_and_not_a_thread(tmp_path: Path) -> None:
    def opened(**more: Any) -> LiveService:
        return LiveService(Settings(extender=ExtenderSettings(**more)), api=api_client("http://127.0.0.1:1"))

    with pytest.raises(ConfigError, match="policy file"):
        opened(policies=tmp_path / "absent.toml")
    with pytest.raises(ConfigError, match="token"):
        opened(prometheus="http://127.0.0.1:1", prometheus_token_file=tmp_path / "absent")
    with pytest.raises(Exception, match="ledger"):
        opened(ledger=tmp_path / "no-folder" / "ledger.db")


def test_a_token_that_is_renewed_is_used(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("first\n")
    settings = ExtenderSettings(prometheus="http://127.0.0.1:1", prometheus_token_file=path)
    history = SettledPrometheus(settings, SystemClock())
    before = history._current()
    assert history._current() is before
    path.write_text("second\n")
    assert history._current() is not before
    path.unlink()
    with pytest.raises(ConfigError, match="can't be read"):
        history._current()

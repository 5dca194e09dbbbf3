"""Live signals, part by part, by a clock turned by hand: followed, foreseen, measured and laid out."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest

from aicsched.domain.telemetry import Telemetry
from aicsched.errors import SignalGap, SourceUnavailable
from aicsched.extender.live import carbon as carbon_module
from aicsched.extender.live.assessing import AssessTask, assess_all, assess_apart
from aicsched.extender.live.build import SnapshotBuilder
from aicsched.extender.live.carbon import LiveCarbon, outlooks_at
from aicsched.extender.live.cluster import LiveCluster
from aicsched.extender.live.lives import Lives
from aicsched.extender.live.refresher import Refresher
from aicsched.extender.live.telemetry import LiveTelemetry, grown
from aicsched.extender.podrequest import PodRequest
from aicsched.extender.policies import PolicyTable
from aicsched.score.nodes import node_columns
from aicsched.score.slo_risk import Objectives
from aicsched.signals.live import LastKnownGood
from aicsched.signals.store import SignalStore
from aicsched.slots import DAY_S, HOUR_S, SlotGrid
from tests.kube_kit import node, pod
from tests.signals_kit import START_S, HandClock, MoodySource

NOW_S = START_S + 40 * DAY_S + 1800


# ---------------------------------------------------------------- refreshers


def test_a_refresher_goes_on_after_failures_and_counts_them() -> None:
    calls, failed = [], []

    def work() -> None:
        calls.append(time.monotonic())
        if len(calls) < 4:
            msg = "not yet"
            raise SourceUnavailable(msg) if len(calls) < 3 else ZeroDivisionError(msg)

    one = Refresher("test", work, every_s=0.02, first_wait_s=0.02, failed=failed.append)
    assert one.age_s() is None
    one.start()
    until = time.monotonic() + 20
    while len(calls) < 6 and time.monotonic() < until:
        time.sleep(0.01)
    one.stop()
    assert failed == ["test"] * 3
    assert one.failures == 0
    assert one.age_s() is not None
    after = len(calls)
    time.sleep(0.1)
    assert len(calls) == after


def test_a_refresher_waits_longer_after_each_failure_and_is_woken_at_once() -> None:
    done = threading.Event()
    one = Refresher("test", done.set, every_s=1000.0)
    waits = []
    for failures in (0, 1, 2, 3, 50):
        one.failures = failures
        waits.append(one._wait_s())
    assert waits[0] == 1000.0
    assert 0.5 <= waits[1] <= 1.0
    assert 1.0 <= waits[2] <= 2.0
    assert 150.0 <= waits[4] <= 300.0
    one.failures = 0
    one.start()
    assert done.wait(5)
    done.clear()
    one.wake()
    assert done.wait(5)
    one.stop()


# ---------------------------------------------------------------- the cluster


class Followed:
    """A live cluster, and what it told."""

    def __init__(self) -> None:
        self.changes = 0
        self.bound: list[str] = []
        self.lives = Lives()
        self.cluster = LiveCluster(
            lives=self.lives,
            now_s=lambda: 5000.0,
            changed=self._changed,
            bound=lambda facts: self.bound.append(facts.name),
        )

    def _changed(self) -> None:
        self.changes += 1

    def nodes(self, *items: Any, event: str = "ADDED") -> None:
        for item in items:
            self.cluster.node_event(event, item)

    def pods(self, *items: Any, event: str = "ADDED") -> None:
        for item in items:
            self.cluster.pod_event(event, item)


def test_only_what_a_score_reads_of_a_node_is_a_change() -> None:
    seen = Followed()
    seen.nodes(node("b"), node("a"))
    assert [each.name for each in seen.cluster.moment().cluster.nodes] == ["a", "b"]
    version = seen.cluster.moment().version
    beat = node("a")
    beat["status"]["conditions"][0]["lastHeartbeatTime"] = "2026-05-01T10:00:00Z"
    seen.nodes(beat, event="MODIFIED")
    assert (seen.changes, seen.cluster.moment().version) == (2, version)
    seen.nodes(node("a", ready=False), event="MODIFIED")
    assert (seen.changes, seen.cluster.moment().version) == (3, version + 1)
    seen.nodes({"metadata": {"name": "b"}}, event="DELETED")
    assert [each.name for each in seen.cluster.moment().cluster.nodes] == ["a"]


def test_a_node_that_cannot_be_read_is_left_out_and_comes_back() -> None:
    seen = Followed()
    seen.nodes(node("a", capacity={"cpu": "none"}))
    assert seen.cluster.moment().cluster.nodes == ()
    seen.nodes(node("a"), event="MODIFIED")
    assert len(seen.cluster.moment().cluster.nodes) == 1
    seen.nodes({"metadata": {"name": "a"}, "status": 7}, event="MODIFIED")
    assert seen.cluster.moment().cluster.nodes == ()


def test_a_pod_is_told_as_bound_once_and_again_under_another_uid() -> None:
    seen = Followed()
    seen.pods(pod("web-1"))
    assert seen.bound == []
    seen.pods(pod("web-1", on="a"), pod("web-1", on="a"), event="MODIFIED")
    assert seen.bound == ["web-1"]
    other = pod("web-1", on="b")
    other["metadata"]["uid"] = "another"
    seen.pods(other, event="MODIFIED")
    assert seen.bound == ["web-1", "web-1"]
    seen.pods({"metadata": {"name": "web-1", "namespace": "shop"}}, event="DELETED")
    assert seen.cluster.moment().cluster.pods == ()


def finished(name: str, owner: str, minutes: int, phase: str = "Succeeded") -> dict[str, Any]:
    made = pod(name, on="a", phase=phase)
    made["metadata"]["ownerReferences"] = [{"kind": "Job", "name": owner, "controller": True}]
    made["status"]["startTime"] = "2026-05-01T10:00:00Z"
    ended = f"2026-05-01T10:{minutes:02d}:00Z"
    made["status"]["containerStatuses"] = [
        {"name": "main", "restartCount": 0, "state": {"terminated": {"finishedAt": ended}}}
    ]
    return made


def test_lives_are_learnt_from_pods_that_ended_well() -> None:
    seen = Followed()
    seen.pods(finished("r-1", "report-29384756", 10), finished("r-2", "report-29384816", 30))
    seen.pods(finished("r-2", "report-29384816", 30), event="MODIFIED")  # told once
    seen.pods(finished("r-3", "report-29384876", 50, phase="Failed"))
    assert seen.lives.table() == {("shop", "CronJob/report"): 1200.0}


def test_pods_of_services_lived_until_they_were_deleted() -> None:
    seen = Followed()
    made = pod("web-1", on="a")
    made["status"]["startTime"] = "1970-01-01T01:00:00Z"
    seen.pods(made)
    seen.pods({"metadata": {"name": "web-1", "namespace": "shop"}}, event="DELETED")
    assert seen.lives.table() == {("shop", "ReplicaSet/rs"): 1400.0}


def test_lives_forget_the_owners_that_were_heard_of_longest_ago() -> None:
    seen = Followed()
    seen.lives._owners = 2
    for index in range(4):
        seen.pods(finished(f"p-{index}", f"job-{index}", 10 + index))
    assert set(seen.lives.table()) == {("shop", "Job/job-2"), ("shop", "Job/job-3")}


# ---------------------------------------------------------------- carbon


@pytest.fixture
def moody(tmp_path: Any) -> Any:
    clock = HandClock(NOW_S)
    source = MoodySource(clock, zones=("DE", "FR"))
    with SignalStore(tmp_path / "signals.db") as store:
        yield clock, source, LiveCarbon(LastKnownGood(source, store, clock=clock), horizon_h=24)


def states(live: LiveCarbon, now_s: float) -> dict[str, str]:
    return {zone: outlook.state(now_s) for zone, outlook in live.current.items()}


def test_a_source_that_dies_goes_from_fresh_to_degraded_to_neutral_and_back(moody: Any) -> None:
    clock, source, live = moody
    live.refresh(["DE", "FR", "NOWHERE"], clock.now_s)
    assert states(live, clock.now_s()) == {"DE": "fresh", "FR": "fresh", "NOWHERE": "unknown"}
    source.fault = SourceUnavailable("down")
    seen = []
    for _ in range(8):
        clock.sleep(HOUR_S)
        live.refresh(["DE"], clock.now_s)
        seen.append(live.current["DE"].state(clock.now_s()))
    # The newest slot ended half an hour before: 1.5 h is fresh (two slots), 6.5 h is too old.
    assert seen == ["fresh", *["degraded"] * 4, *["neutral"] * 3]
    assert set(live.current) == {"DE"}
    source.fault = None
    clock.sleep(HOUR_S)
    live.refresh(["DE"], clock.now_s)
    assert live.current["DE"].state(clock.now_s()) == "fresh"


def test_what_was_foreseen_gets_old_even_if_nobody_refreshes(moody: Any) -> None:
    clock, _, live = moody
    live.refresh(["DE"], clock.now_s)
    outlook = live.current["DE"]
    by_age = [outlook.state(NOW_S + hours * HOUR_S) for hours in (0, 2, 5, 6, 100)]
    assert by_age == ["fresh", "degraded", "degraded", "neutral", "neutral"]
    forecasts, unknown = outlooks_at(live.current, ["DE", "PL"], NOW_S + 6 * HOUR_S)
    assert unknown == {"PL"}
    assert forecasts["DE"].flags[-1:] == ("neutral",)
    assert "neutral" in forecasts["PL"].flags


def test_nothing_is_foreseen_anew_while_nothing_is_new(moody: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, source, live = moody
    made = []
    plain = carbon_module.forecast_live
    monkeypatch.setattr(carbon_module, "forecast_live", lambda *a, **k: made.append(a[1]) or plain(*a, **k))
    for _ in range(5):
        live.refresh(["DE"], clock.now_s)
        clock.sleep(120)
    assert made == [["DE"]]
    source.version += 1  # revised values
    live.refresh(["DE"], clock.now_s)
    clock.sleep(HOUR_S)  # another slot
    live.refresh(["DE"], clock.now_s)
    assert made == [["DE"]] * 3
    assert live.current["DE"].forecast.slots.start_s == int(clock.now_s()) // HOUR_S * HOUR_S


def test_each_zone_is_published_as_it_comes_and_a_broken_one_holds_nobody_up(moody: Any) -> None:
    clock, source, live = moody
    told = []
    live._published = lambda: told.append(sorted(live.current))
    live.refresh(["DE", "FR"], clock.now_s)
    assert told == [["DE"], ["DE", "FR"]]
    source.fault = RuntimeError("a defect")
    clock.sleep(120)
    live.refresh(["DE", "FR"], clock.now_s)
    assert states(live, clock.now_s()) == {"DE": "fresh", "FR": "fresh"}


# ---------------------------------------------------------------- telemetry


class History:
    """Nodes whose load is a formula, and a record of what was asked."""

    source = "prometheus:test"

    def __init__(self, now_s: float, *names: str) -> None:
        self.now_s, self.names = now_s, names
        self.asked: list[tuple[int, int, tuple[str, ...]]] = []
        self.has: set[str] = {"ready_share"}
        self.fault: Exception | None = None

    def last_slots(self, count: int, step_s: int) -> SlotGrid:
        if self.fault is not None:
            raise self.fault
        end_s = int(self.now_s) // step_s * step_s
        return SlotGrid(end_s - count * step_s, step_s, count)

    def read(self, window: SlotGrid, fields: Any = ()) -> Telemetry:
        self.asked.append((window.start_s, len(window), tuple(fields)))
        for field in fields:
            if field not in self.has:
                msg = f"no {field}"
                raise SignalGap(msg)
        shape = (len(self.names), len(window))
        hour = window.starts_s() // HOUR_S
        phase = np.array([sum(map(ord, name)) % 7 for name in self.names])[:, None]
        load = 0.35 + 0.25 * np.sin(2 * np.pi * (hour[None, :] + phase) / 24) + (hour % 5) * 0.02
        more = {field: np.ones(shape) for field in fields}
        return Telemetry(
            nodes=self.names, slots=window, source=self.source, cpu_share=load,
            network_mb=np.zeros(shape), memory_share=np.full(shape, 0.4), **more,
        )  # fmt: skip


def followed(history: History, **more: Any) -> LiveTelemetry:
    return LiveTelemetry(
        history, days=14, objectives=[Objectives()], spans_h=(1, 4), assess=assess_all, **more
    )  # fmt: skip


def test_two_weeks_are_read_once_then_new_slots_only() -> None:
    history = History(NOW_S, "a", "b")
    live = followed(history)
    nodes = {"a": 16.0, "b": 16.0}
    assert live.refresh(nodes, history.now_s)
    whole = [each for each in history.asked if each[1] > 1]
    end_s = int(NOW_S) // HOUR_S * HOUR_S
    assert whole == [(end_s - 14 * DAY_S, 336, ("ready_share",))]
    history.asked.clear()
    assert not live.refresh(nodes, history.now_s + 30)
    assert history.asked == []
    history.now_s += 2 * HOUR_S
    assert live.refresh(nodes, history.now_s)
    assert history.asked == [(end_s, 2, ("ready_share",))]
    window = live.current.telemetry.slots
    assert (len(window), window.end_s) == (336, end_s + 2 * HOUR_S)
    direct = history.read(window, ("ready_share",))
    np.testing.assert_array_equal(live.current.telemetry.cpu_share, direct.cpu_share)


def test_nodes_that_come_and_go_have_rows_of_their_own_time() -> None:
    history = History(NOW_S, "a", "b")
    live = followed(history)
    live.refresh({"a": 16.0, "b": 16.0}, history.now_s)
    history.names, history.now_s = ("b", "c"), history.now_s + HOUR_S
    live.refresh({"b": 16.0, "c": 16.0}, history.now_s)
    telemetry = live.current.telemetry
    assert telemetry.nodes == ("a", "b", "c")
    assert np.isnan(telemetry.cpu_share[0, -1])
    assert np.isnan(telemetry.cpu_share[2, :-1]).all()
    assert not np.isnan(telemetry.cpu_share[1]).any()
    late = grown(telemetry, history.read(SlotGrid(telemetry.slots.end_s, HOUR_S, 336)), 336)
    assert late.nodes == ("b", "c")


def test_a_prometheus_that_is_down_leaves_what_was_measured_and_makes_it_older() -> None:
    history = History(NOW_S, "a", "b")
    live = followed(history)
    nodes = {"a": 16.0, "b": 16.0}
    live.refresh(nodes, history.now_s)
    before = live.current
    history.fault = SourceUnavailable("down")
    with pytest.raises(SourceUnavailable):
        live.refresh(nodes, history.now_s + 60)
    assert live.current is before
    with pytest.raises(SourceUnavailable):
        live.refresh(nodes, history.now_s + 6 * HOUR_S)
    risk = live.current.risks[Objectives(), 1.0]
    assert (risk.coverage_share[:2] < before.risks[Objectives(), 1.0].coverage_share[:2]).all()


def test_a_field_that_vanishes_is_done_without() -> None:
    history = History(NOW_S, "a")
    live = followed(history)
    live.refresh({"a": 16.0}, history.now_s)
    assert live.current.telemetry.ready_share is not None
    history.has.clear()
    history.now_s += HOUR_S
    with pytest.raises(SignalGap):
        live.refresh({"a": 16.0}, history.now_s)
    assert live.refresh({"a": 16.0}, history.now_s)
    assert live.current.end_s == int(history.now_s) // HOUR_S * HOUR_S


def test_risk_is_looked_up_by_name_and_strangers_get_that_of_nobody() -> None:
    history = History(NOW_S, "a", "b", "c")
    live = followed(history)
    nodes = {"c": 16.0, "a": 16.0, "b": 16.0}
    live.refresh(nodes, history.now_s)
    task = AssessTask(live.current.telemetry, nodes, (Objectives(),), (1.0,), int(history.now_s))
    whole = assess_all(task)[Objectives(), 1.0]
    found = live.current.lookup(["b", "stranger", "c"])(Objectives(), 1.0)
    np.testing.assert_array_equal(found.load.risk, whole.load.risk[[2, 3, 0]])
    # Nobody is never better than the median of who was measured.
    assert (found.load.risk[1] >= np.median(whole.load.risk[:3], axis=0) - 1e-12).all()
    # A node that Prometheus knows and the cluster gets later is assessed at once.
    assert not live.refresh(nodes, history.now_s)
    del nodes["b"]
    assert not live.refresh(nodes, history.now_s)


def test_another_process_assesses_alike() -> None:
    history = History(NOW_S, "a", "b")
    window = SlotGrid(int(NOW_S) // HOUR_S * HOUR_S - 100 * HOUR_S, HOUR_S, 100)
    task = AssessTask(history.read(window), {"a": 8.0, "b": 16.0}, (Objectives(),), (1.0,), int(NOW_S))
    here, there = assess_all(task), assess_apart(task)
    np.testing.assert_array_equal(here[Objectives(), 1.0].load.risk, there[Objectives(), 1.0].load.risk)


# ---------------------------------------------------------------- snapshots


@pytest.fixture
def world(moody: Any) -> Any:
    clock, _, live = moody
    live.refresh(["DE", "FR"], clock.now_s)
    seen = Followed()
    for name, region in (("a", "north"), ("b", "south"), ("c", "north"), ("d", None)):
        seen.nodes(node(name, labels={"topology.kubernetes.io/region": region}, provider_id=""))
    builder = SnapshotBuilder(
        policies=PolicyTable(), grid_zones={"north": "DE", "south": "FR"}, max_age_s=300.0
    )
    return seen, builder, live


def test_a_snapshot_holds_all_nodes_and_says_what_their_grids_are_good_for(world: Any) -> None:
    seen, builder, live = world
    moment = seen.cluster.moment()
    assert builder.zones(moment) == {"DE", "FR"}
    snapshot = builder.build(moment, live.current, None, {}, NOW_S)
    assert sorted(snapshot.names) == ["a", "b", "c", "d"]
    by_name = dict(zip(snapshot.names, snapshot.costs.signals, strict=True))
    assert by_name == {"a": "fresh", "b": "fresh", "c": "fresh", "d": "unknown"}
    grams = dict(zip(snapshot.names, snapshot.costs.cost_g(PodRequest(vcpus=4.0)), strict=True))
    assert np.isnan(grams["d"])
    assert np.isfinite([grams[name] for name in "abc"]).all()
    assert not snapshot.neutral
    # Six hours later nothing counts any more, and that is said.
    old = builder.build(moment, live.current, None, {}, NOW_S + 6 * HOUR_S)
    assert old.neutral
    assert builder.build(Followed().cluster.moment(), live.current, None, {}, NOW_S) is None


def test_a_fleet_is_made_anew_only_when_nodes_change(world: Any) -> None:
    seen, builder, _ = world
    before = builder.fleet(seen.cluster.moment())
    seen.pods(pod("web-1", on="a"))
    assert builder.fleet(seen.cluster.moment()) is before
    seen.nodes(node("e", labels={"topology.kubernetes.io/region": "south"}, provider_id=""))
    assert len(builder.fleet(seen.cluster.moment()).nodes) == 5


def test_a_label_of_no_cpu_family_costs_its_node_only_the_family(world: Any, caplog: Any) -> None:
    seen, builder, live = world
    labels = {"topology.kubernetes.io/region": "north", "aicsched.io/cpu-family": "z80"}
    seen.nodes(node("odd", labels=labels, provider_id=""))
    snapshot = builder.build(seen.cluster.moment(), live.current, None, {}, NOW_S)
    found = {each.name: each.cpu_family for each in snapshot.costs.fleet.nodes}
    assert found["odd"] == "unknown"
    assert [record for record in caplog.records if "z80" in record.message]


def test_the_packaged_regions_tell_zones_where_nobody_says_otherwise(world: Any) -> None:
    _, builder, _ = world
    seen = Followed()
    seen.nodes(node("cloud"))  # aws, eu-central-1
    assert builder.zones(seen.cluster.moment()) == {"DE"}


def test_what_is_bound_and_not_yet_measured_counts_as_risk(world: Any) -> None:
    seen, builder, live = world
    history = History(NOW_S, "a", "b", "c", "d")
    told = followed(history)
    told._spans_h = (1.0, 2.0, 4.0, 8.0, 24.0)
    told.refresh(dict.fromkeys("abcd", 16.0), NOW_S)

    def cost() -> dict[str, float]:
        made = builder.build(seen.cluster.moment(), live.current, told.current, {}, NOW_S)
        return dict(zip(made.names, made.costs.cost_g(PodRequest(vcpus=1.0)), strict=True))

    before = cost()
    old = "2026-01-01T00:00:00Z"  # measured long ago
    seen.pods(pod("seen", on="a", cpu="8", bound=old), pod("fresh", on="c", cpu="8", bound="x"))
    after = cost()
    assert after["a"] == before["a"]
    assert after["c"] > before["c"] + 1.0


def test_risk_that_was_worked_out_before_gives_the_costs_of_that_worked_out_now(world: Any) -> None:
    """Looked up and moved by what is unseen: but for odds that are learnt from the moved limits."""
    seen, builder, live = world
    history = History(NOW_S, "a", "b", "c", "d")
    told = followed(history)
    told._spans_h = (1.0,)
    told.refresh(dict.fromkeys("abcd", 16.0), NOW_S)
    fleet = builder.fleet(seen.cluster.moment())
    forecasts, _ = outlooks_at(live.current, {region.grid_zone for region in fleet.regions}, NOW_S)
    names = [each.name for each in fleet.nodes]
    common = {"start_s": int(NOW_S), "duration_s": HOUR_S}
    for unseen in (np.zeros(4), np.array([0.0, 0.1, 0.3, 0.6])):
        direct = node_columns(fleet, forecasts, told.current.telemetry, unseen_share=unseen, **common)
        risk = told.current.lookup(names)(Objectives(), 1.0)
        looked = node_columns(
            fleet, forecasts, told.current.telemetry, unseen_share=unseen, risk=risk, **common
        )
        # The nobody beside them is one more row to learn from.
        off = np.abs(looked.curves.risk - direct.curves.risk)
        assert off.max() < 0.06
        assert off.mean() < 0.01
        np.testing.assert_array_equal(looked.used.mean_share, direct.used.mean_share)

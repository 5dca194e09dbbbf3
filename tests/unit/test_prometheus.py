"""Telemetry from a real Prometheus, beside the history it was loaded with."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from aicsched.cli import main
from aicsched.errors import ConfigError, SignalGap, SignalInvalid, SlotError, SourceUnavailable
from aicsched.signals.prometheus.queries import QUERIES, read_queries
from aicsched.signals.prometheus.read import ALWAYS, PrometheusTelemetry
from aicsched.signals.prometheus.server import PrometheusServer
from aicsched.signals.telemetry_file import read_telemetry
from aicsched.signals.transport import Limits, Secret, Tls
from aicsched.slots import SlotGrid, parse_time
from tests import upstream_kit as kit
from tests.prometheus_kit import Binaries, History, serving
from tests.upstream_kit import SMALL, Handler, Reply, Request, VirtualClock, json_reply, upstream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from aicsched.domain.telemetry import Telemetry

HOUR = 3600
SLOTS = SlotGrid(parse_time("2024-03-01T00:00Z"), HOUR, 20)
SCRAPE_S = 120
NODES = ("blue", "cyan", "gold", "grey", "pink", "teal")
ALL = tuple(QUERIES)
BOUNDS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
# What happens to whom, in hours of the window.
REBOOT = ("cyan", 10.5)
HALF_SEEN = ("gold", 7)
UNSEEN = ("gold", (15, 16))
NEARLY_SEEN = ("gold", 18)
COMES = ("grey", 5)
LEAVES, TAKES_OVER, AT = "pink", "teal", 12
LATE_S = 17  # the samples of one machine don't fall on the hour
EXPORTER = {name: f"10.0.0.{number}:9100" for number, name in enumerate(NODES, start=1)} | {
    TAKES_OVER: "10.0.0.5:9100"  # the address of the one that left
}


@dataclass
class Truth:
    """What each node did in each slot."""

    arrays: dict[str, NDArray[np.float64]]

    def of(self, name: str) -> NDArray[np.float64]:
        return self.arrays[name]


def _alive() -> NDArray[np.bool_]:
    alive = np.ones((len(NODES), len(SLOTS)), bool)
    alive[NODES.index(COMES[0]), : COMES[1]] = False
    alive[NODES.index(LEAVES), AT:] = False
    alive[NODES.index(TAKES_OVER), :AT] = False
    return alive


def _known() -> NDArray[np.bool_]:
    """Where what a machine's own exporter says must be known."""
    known = _alive()
    known[NODES.index("gold"), [HALF_SEEN[1], *UNSEEN[1]]] = False
    return known


def _times_of(name: str, *, whole: bool = False) -> NDArray[np.int64]:
    """When a node's samples come; `whole` for those that others take of it."""
    alive = np.flatnonzero(_alive()[NODES.index(name)])
    # One stays three minutes into the slot in which another gets its address.
    start = SLOTS.start_s + alive[0] * HOUR + (2 * SCRAPE_S if name == TAKES_OVER else 0)
    end = SLOTS.start_s + (alive[-1] + 1) * HOUR + (SCRAPE_S if name == LEAVES else 0)
    times = np.arange(start, end + 1, SCRAPE_S)
    if whole:
        return times
    if name == "blue":
        times = times[:-1] + LATE_S
    hours = (times - SLOTS.start_s) / HOUR
    if name == "gold":
        gone = (hours > 7.2) & (hours < 7.8) | (hours > 15) & (hours < 17) | (hours > 18.4) & (hours < 18.45)
        times = times[~gone]
    return times


def _counter(name: str, rate_a_s: NDArray[np.float64], times: NDArray[np.int64]) -> NDArray[np.float64]:
    """Count at each slot's rate, from a start of the machine's own; a reboot begins anew."""
    edges = SLOTS.start_s + HOUR * np.arange(len(SLOTS) + 1)
    total = np.concatenate(([0.0], np.cumsum(rate_a_s * HOUR)))
    values = np.interp(times, edges, total)
    if name == REBOOT[0]:
        when = SLOTS.start_s + REBOOT[1] * HOUR
        values = np.where(times < when, values + 5e5, values - np.interp(when, edges, total))
    return values


def _node_exporter(history: History, rng: np.random.Generator, truth: dict[str, NDArray[np.float64]]) -> None:
    shape = (len(NODES), len(SLOTS))
    cpu = truth["cpu_share"] = rng.uniform(0.05, 0.95, shape)
    memory = truth["memory_share"] = rng.uniform(0.2, 0.9, shape)
    received, sent, read, written = rng.uniform(1e5, 1e7, (4, *shape))
    truth["network_mb"] = (received + sent) * HOUR / 1e6
    truth["disk_mb"] = (read + written) * HOUR / 1e6
    for resource in ("cpu", "memory", "io"):
        truth[f"{resource}_stall_share"] = rng.uniform(0, 1, shape)
    for row, name in enumerate(NODES):
        times = _times_of(name)
        own = {"instance": EXPORTER[name], "job": "node"}
        for core in ("0",):
            busy = {"user": 0.7 * cpu[row], "system": 0.3 * cpu[row]}
            rest = {
                "idle": 0.8 * (1 - cpu[row]),
                "iowait": 0.15 * (1 - cpu[row]),
                "steal": 0.05 * (1 - cpu[row]),
            }
            for mode, rate in (busy | rest).items():
                labels = own | {"cpu": core, "mode": mode}
                history.add("node_cpu_seconds_total", labels, times, _counter(name, rate, times))
        slot = np.minimum((times - SLOTS.start_s - 1) // HOUR, len(SLOTS) - 1).clip(0)
        history.add("node_memory_MemTotal_bytes", own, times, 64 * 2**30)
        history.add("node_memory_MemAvailable_bytes", own, times, (1 - memory[row, slot]) * 64 * 2**30)
        _devices(history, name, own, (received[row], sent[row], read[row], written[row]))
        for resource in ("cpu", "memory", "io"):
            rate = truth[f"{resource}_stall_share"][row]
            metric = f"node_pressure_{resource}_waiting_seconds_total"
            history.add(metric, own, times, _counter(name, rate, times))
        info = own | {"nodename": name, "release": "6.1"}
        if name == REBOOT[0]:  # it came back with another kernel
            before = times < SLOTS.start_s + REBOOT[1] * HOUR
            history.add("node_uname_info", info, times[before], 1)
            history.add("node_uname_info", info | {"release": "6.8"}, times[~before], 1)
        else:
            history.add("node_uname_info", info, times, 1)


def _devices(
    history: History, name: str, own: dict[str, str], rates: tuple[NDArray[np.float64], ...]
) -> None:
    """Let devices carry parts of what goes through; those that don't count carry it once more."""
    times = _times_of(name)
    nics = {"eth0": 0.75, "eno1": 0.25, "lo": 3.0, "veth12": 1.0, "bond0": 1.0}
    disks = {"nvme0n1": 1.0, "dm-0": 1.0}
    metrics = {"network_receive": nics, "network_transmit": nics, "disk_read": disks, "disk_written": disks}
    for (metric, devices), rate in zip(metrics.items(), rates, strict=True):
        for device, part in devices.items():
            values = _counter(name, part * rate, times)
            history.add(f"node_{metric}_bytes_total", own | {"device": device}, times, values)


def _kepler(history: History, rng: np.random.Generator, truth: dict[str, NDArray[np.float64]]) -> None:
    watts = truth["power_w"] = rng.uniform(80, 300, (len(NODES), len(SLOTS)))
    for row, name in enumerate(NODES):
        times = _times_of(name)
        for zone, part in (
            ("package-0", 0.5),
            ("package-1", 0.3),
            ("dram", 0.2),
            ("core-0", 0.4),
            ("psys", 1.3),
        ):
            labels = {"instance": f"10.1.0.{row}:28282", "job": "kepler", "node_name": name, "zone": zone}
            history.add(
                "kepler_node_cpu_joules_total", labels, times, _counter(name, part * watts[row], times)
            )


def _kube(history: History, rng: np.random.Generator, truth: dict[str, NDArray[np.float64]]) -> None:
    shape = (len(NODES), len(SLOTS))
    truth["restarts"] = np.zeros(shape)
    truth["ready_share"] = np.ones(shape)
    truth["latency_p99_ms"] = np.full(shape, np.nan)
    watcher = {"instance": "10.2.0.1:8080", "job": "kube-state-metrics"}
    for row, name in enumerate(NODES):
        alive = np.flatnonzero(_alive()[row])
        times = _times_of(name, whole=True)
        slot = ((times - SLOTS.start_s - 1) // HOUR).clip(alive[0])
        ip = EXPORTER[name].split(":")[0]
        history.add("kube_node_info", watcher | {"node": name, "internal_ip": ip}, times, 1)
        up = np.where(np.arange(len(SLOTS)) % 11 == row, 0.5, 1.0)
        # Off in the second half of some slots.
        ready = ((times - SLOTS.start_s - 1) % HOUR < up[slot] * HOUR).astype(float)
        inside = times > SLOTS.start_s
        node_ready = np.ones(shape[1])
        for each in np.unique(slot):
            node_ready[each] = ready[(slot == each) & inside].mean()
        state = watcher | {"node": name, "condition": "Ready"}
        history.add("kube_node_status_condition", state | {"status": "true"}, times, ready)
        history.add("kube_node_status_condition", state | {"status": "false"}, times, 1 - ready)
        pods = 0 if name == "teal" else 2  # one node has no pods
        pods_ready = np.zeros(shape[1])
        for number in range(pods):
            pod = {"namespace": "shop", "pod": f"web-{number}" if name != "pink" else f"db-{number}"}
            pod["pod"] += "" if name in ("blue", "pink") else f"-{name}"
            pod["uid"] = f"{name}-{number}"
            history.add("kube_pod_info", watcher | pod | {"node": name}, times, 1)
            well = np.where((np.arange(len(SLOTS)) + number) % 7 == 0, 0.0, 1.0)
            pods_ready += well / pods
            for condition, value in (("true", well[slot]), ("false", 1 - well[slot])):
                history.add("kube_pod_status_ready", watcher | pod | {"condition": condition}, times, value)
            for phase in ("Running", "Succeeded", "Pending"):
                labels = watcher | pod | {"phase": phase}
                history.add("kube_pod_status_phase", labels, times, float(phase == "Running"))
            began = rng.poisson(0.3, len(SLOTS)) * 1.0
            truth["restarts"][row] += began
            labels = watcher | pod | {"container": "main"}
            # Half an hour into the slot, all of them.
            early = times - SLOTS.start_s - slot * HOUR <= HOUR / 2
            count = np.cumsum(began)[slot] - np.where(early, began[slot], 0)
            history.add("kube_pod_container_status_restarts_total", labels, times, count + 40)
            if number == 0:
                _latency(history, pod, times, slot, truth["latency_p99_ms"][row])
        # One that ended counts for nothing, ready or not.
        done = {"namespace": "shop", "pod": f"job-{name}", "uid": f"{name}-job"}
        history.add("kube_pod_info", watcher | done | {"node": name}, times, 1)
        history.add("kube_pod_status_ready", watcher | done | {"condition": "true"}, times, 0)
        for phase in ("Running", "Succeeded"):
            history.add(
                "kube_pod_status_phase", watcher | done | {"phase": phase}, times, float(phase == "Succeeded")
            )
        truth["ready_share"][row] = node_ready * (pods_ready if pods else 1)


def _latency(
    history: History,
    pod: dict[str, str],
    times: NDArray[np.int64],
    slot: NDArray[np.int64],
    out: NDArray[np.float64],
) -> None:
    """Give each slot a bucket in which the 99th percentile lies: 98 % are below it, 2 % in it."""
    which = 1 + np.arange(len(SLOTS)) % (len(BOUNDS_S) - 1)
    low, high = np.array(BOUNDS_S)[which - 1], np.array(BOUNDS_S)[which]
    here = np.unique(slot)
    out[here] = 1000 * (low + (high - low) * 0.5)[here]  # the middle of the bucket
    # Aligned samples count what came by: 100 requests a minute.
    for index, bound in enumerate((*BOUNDS_S, np.inf)):
        share = np.where(index >= which[slot], 1.0, 0.98)
        labels = {
            "namespace": pod["namespace"],
            "pod": pod["pod"],
            "le": "+Inf" if bound == np.inf else f"{bound}",
        }
        history.add("http_request_duration_seconds_bucket", labels, times, 100 * np.cumsum(share))


@pytest.fixture(scope="module")
def loaded(
    prometheus_binaries: Binaries, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Truth]]:
    folder = tmp_path_factory.mktemp("prometheus")
    history, rng = History(), np.random.default_rng(5)
    truth: dict[str, NDArray[np.float64]] = {}
    _node_exporter(history, rng, truth)
    _kepler(history, rng, truth)
    _kube(history, rng, truth)
    with serving(prometheus_binaries, history.write(prometheus_binaries, folder)) as address:
        yield address, Truth(truth)


@pytest.fixture(scope="module")
def read(loaded: tuple[str, Truth]) -> Telemetry:
    return PrometheusTelemetry(PrometheusServer(loaded[0]), scrape_s=SCRAPE_S).read(SLOTS, ALL)


def test_nodes_are_found_by_name_whatever_address_they_had(read: Telemetry) -> None:
    assert read.nodes == NODES
    assert (read.slots, read.source, read.synthetic) == (SLOTS, "prometheus:127.0.0.1", False)


@pytest.mark.parametrize("name", ALL)
def test_values_are_those_of_the_history(read: Telemetry, loaded: tuple[str, Truth], name: str) -> None:
    got, due = getattr(read, name), loaded[1].of(name)
    of_kube = name in ("restarts", "ready_share", "latency_p99_ms")
    by_address = not of_kube and name != "power_w"
    known = _alive() & ~np.isnan(due) if of_kube else _known()
    if by_address:
        known[NODES.index(TAKES_OVER), AT] = False
    np.testing.assert_array_equal(~np.isnan(got), known)
    exact = known.copy()
    exact[NODES.index(TAKES_OVER), AT] = False
    if not of_kube:
        exact[NODES.index("blue")] = False
        exact[NODES.index("gold"), NEARLY_SEEN[1]] = False
        exact[NODES.index(REBOOT[0]), int(REBOOT[1])] = False
    tight = {"ready_share": 0.02, "memory_share": 0.01}.get(name, 1e-3)
    np.testing.assert_allclose(got[exact], due[exact], rtol=tight, atol=1e-9)
    # Between samples that don't fall on the hour, a reboot and a short gap cost a few per cent.
    np.testing.assert_allclose(got[known], due[known], rtol=0.08, atol=1e-9)


def reader(address: str, **more: Any) -> PrometheusTelemetry:
    return PrometheusTelemetry(PrometheusServer(address), scrape_s=SCRAPE_S, **more)


@pytest.mark.parametrize("chunk", [1, 7, 19])
def test_where_chunks_end_makes_no_difference(read: Telemetry, loaded: tuple[str, Truth], chunk: int) -> None:
    again = reader(loaded[0], chunk=chunk).read(SLOTS, ALL)
    for name in ALL:
        np.testing.assert_array_equal(getattr(again, name), getattr(read, name), err_msg=name)


def test_steps_other_than_hours_agree_with_them(read: Telemetry, loaded: tuple[str, Truth]) -> None:
    halves = reader(loaded[0]).read(SlotGrid(SLOTS.start_s, HOUR // 2, 2 * len(SLOTS)), ["power_w"])
    cyan = NODES.index("cyan")
    assert halves.power_w is not None
    assert read.power_w is not None
    quiet = np.arange(len(SLOTS)) != int(REBOOT[1])
    means = halves.power_w[cyan].reshape(-1, 2).mean(axis=1)
    np.testing.assert_allclose(means[quiet], read.power_w[cyan][quiet], rtol=1e-3)
    moved = halves.network_mb[cyan].reshape(-1, 2).sum(axis=1)
    np.testing.assert_allclose(moved[quiet], read.network_mb[cyan][quiet], rtol=1e-3)


def test_what_was_not_asked_for_is_none(loaded: tuple[str, Truth]) -> None:
    got = reader(loaded[0]).read(SLOTS)
    assert got.power_w is None
    assert got.restarts is None


def test_answers_that_are_too_large_are_asked_for_in_parts(
    read: Telemetry, loaded: tuple[str, Truth]
) -> None:
    limits = Limits(response_bytes=3_000)
    small = PrometheusTelemetry(PrometheusServer(loaded[0], limits=limits), scrape_s=SCRAPE_S)
    # The list of names is larger than that, and is not the matter here.
    small._refuse_missing = lambda wanted, window: None
    got = small.read(SLOTS)
    np.testing.assert_array_equal(got.cpu_share, read.cpu_share)
    limits = Limits(response_bytes=200)
    with pytest.raises(SignalInvalid, match=r"more than 200 bytes"):
        PrometheusTelemetry(PrometheusServer(loaded[0], limits=limits)).read(SLOTS)


@pytest.mark.parametrize(
    ("more", "fields", "told"),
    [
        (
            {"latency_metric": "http_request_seconds"},
            ["latency_p99_ms"],
            "'http_request_seconds_bucket'.* did you mean http_request_duration_s",
        ),
        (
            {"match": {"cluster": "prod"}},
            [],
            "from 2024-03-01T00:00Z to 2024-03-01T20:00Z.* no cluster is 'prod'",
        ),
        ({"match": {"job": "nodes"}}, [], "no job is 'nodes': did you mean node"),
        ({"jobs": {"kepler": "kepler-2"}}, ["power_w"], "has nothing of kepler_node_cpu_joules_total"),
        ({"match": {"job": 'node"} or vector(1) #'}}, [], "has nothing of node_cpu"),
        ({"match": {"job": "node\\"}}, [], "has nothing of node_cpu"),
    ],
)
def test_an_empty_series_is_an_error_that_names_it(
    loaded: tuple[str, Truth], more: dict[str, Any], fields: list[str], told: str
) -> None:
    with pytest.raises(SignalGap, match=told):
        reader(loaded[0], **more).read(SLOTS, fields)


def test_samples_too_far_apart_for_the_setting_are_told(loaded: tuple[str, Truth]) -> None:
    sparse = PrometheusTelemetry(PrometheusServer(loaded[0]), scrape_s=1)
    with pytest.raises(SignalGap, match=r"less than 90% of every slot was seen.*set scrape_s"):
        sparse.read(SlotGrid(SLOTS.start_s, 480, 20))


def test_a_metric_of_older_names_is_an_error(loaded: tuple[str, Truth], tmp_path: Path) -> None:
    (tmp_path / "q.toml").write_text(
        '[power_w]\nexpr = "sum by ($by) (rate(kepler_node_package_joules_total{$kepler}[$slot]))"\n'
        'metrics = ["kepler_node_package_joules_total"]\n'
    )
    queries = read_queries(tmp_path / "q.toml")
    with pytest.raises(SignalGap, match=r"no metric 'kepler_node_pack.*did you mean kepler_node_cpu_joules"):
        reader(loaded[0], queries=queries).read(SLOTS, ["power_w"])


def test_queries_can_be_replaced(read: Telemetry, loaded: tuple[str, Truth], tmp_path: Path) -> None:
    (tmp_path / "q.toml").write_text(
        "[power_w]\n"
        "expr = 'sum by ($by) (rate(kepler_node_cpu_joules_total{zone=\"psys\",$kepler}[$slot]))'\n"
        'metrics = ["kepler_node_cpu_joules_total"]\n'
    )
    got = reader(loaded[0], queries=read_queries(tmp_path / "q.toml")).read(SLOTS, ["power_w"])
    np.testing.assert_allclose(got.power_w, 1.3 * read.power_w, rtol=1e-6)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[power]\nexpr='a'\nmetrics=['a']", "no 'power'; did you mean power_w"),
        ("[power_w]\nexpr='a'", "metrics is not a list of names"),
        ("[power_w]\nmetrics=['a']", "expr is not PromQL"),
        ("[power_w]\nexpr='a'\nmetrics='a'", "metrics is not a list of names"),
        ("[power_w]\nexpr='a'\nmetrics=['a']\nby='node'", "by is not a list of names"),
        ("[power_w]\nexpr='a'\nmetric=['a']", "unknown key 'metric'; did you mean metrics"),
        ("power_w = 3", "is no table"),
        ("[power_w", "can't be read as TOML"),
    ],
)
def test_queries_that_are_none_are_refused(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "q.toml").write_text(text)
    with pytest.raises(ConfigError, match=told):
        read_queries(tmp_path / "q.toml")


def test_promql_that_is_wrong_is_told_by_the_server(loaded: tuple[str, Truth], tmp_path: Path) -> None:
    (tmp_path / "q.toml").write_text("[power_w]\nexpr = 'sum by ('\nmetrics = ['node_uname_info']")
    with pytest.raises(SignalInvalid, match=r"parse error.*check the query"):
        reader(loaded[0], queries=read_queries(tmp_path / "q.toml")).read(SLOTS, ["power_w"])
    (tmp_path / "q.toml").write_text("[power_w]\nexpr = 'up{$nodes}'\nmetrics = ['node_uname_info']")
    with pytest.raises(ConfigError, match=r"asks for .nodes; did you mean node"):
        reader(loaded[0], queries=read_queries(tmp_path / "q.toml")).read(SLOTS, ["power_w"])
    (tmp_path / "q.toml").write_text("[power_w]\nexpr = 'up[5$]'\nmetrics = ['node_uname_info']")
    with pytest.raises(ConfigError, match=r"has a . that names nothing; write"):
        reader(loaded[0], queries=read_queries(tmp_path / "q.toml")).read(SLOTS, ["power_w"])
    with pytest.raises(ConfigError, match=r"no query for 'watts'"):
        reader(loaded[0]).read(SLOTS, ["watts"])


# ------------------------------------------------------------------ now, and twice


def test_a_server_that_can_hold_little_is_asked_for_little(
    prometheus_binaries: Binaries, tmp_path: Path
) -> None:
    history = History()
    times = np.arange(SLOTS.start_s, SLOTS.end_s + 1, SCRAPE_S)
    own = {"instance": "a:9100", "nodename": "a"}
    for metric in sorted(
        {metric for name in ALWAYS for metric in QUERIES[name].metrics} | {"node_uname_info"}
    ):
        history.add(metric, own | {"mode": "user", "device": "eth0"}, times, times)
    history.add("node_cpu_seconds_total", own | {"mode": "idle", "device": "eth0"}, times, 7)
    database = history.write(prometheus_binaries, tmp_path)
    with serving(prometheus_binaries, database, "--query.max-samples=200") as address:
        got = reader(address).read(SLOTS)
    np.testing.assert_allclose(got.cpu_share, 1)
    with (
        serving(prometheus_binaries, database, "--query.max-samples=20") as address,
        pytest.raises(SignalInvalid, match=r"too many samples"),
    ):
        reader(address).read(SLOTS)


ODD = 'we"ird \\ {x="y"} # \n\t\x7f\u200b\U0001f600 é$slot'


def test_labels_may_hold_anything(prometheus_binaries: Binaries, tmp_path: Path) -> None:
    history = History()
    times = np.arange(SLOTS.start_s, SLOTS.start_s + 6 * HOUR + 1, SCRAPE_S)
    for job, instance, busy in ((ODD, "[fd00::1]:9100", 0.25), (ODD[:-1], "[fd00::1]:9100", 0.75)):
        own = {"instance": instance, "job": job, "device": "eth0"}
        for mode, rate in (("idle", 1 - busy), ("user", busy)):
            history.add("node_cpu_seconds_total", own | {"mode": mode}, times, rate * times)
        for metric in {metric for name in ALWAYS for metric in QUERIES[name].metrics} - {
            "node_cpu_seconds_total"
        }:
            history.add(metric, own, times, times)
        history.add("node_uname_info", own, times, 1)
    window = SlotGrid(SLOTS.start_s, HOUR, 6)
    with serving(prometheus_binaries, history.write(prometheus_binaries, tmp_path)) as address:
        for got in (
            reader(address, match={"job": ODD}).read(window),
            reader(address, jobs={"node": ODD}).read(window),
        ):
            assert got.nodes == ("fd00::1",)
            np.testing.assert_allclose(got.cpu_share, 0.25, rtol=1e-6)


@pytest.fixture(scope="module")
def live(
    prometheus_binaries: Binaries, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, int]]:
    """A server with half an hour of samples, up to now, of two machines; one is watched by two jobs."""
    folder = tmp_path_factory.mktemp("live")
    now_s = int(time.time())
    times = np.arange(now_s - 1800, now_s + 1, 15)
    history = History()
    for name, jobs in (("one", ["node"]), ("two", ["node", "agent"])):
        for job in jobs:
            own = {"instance": f"{name}:9100", "job": job}
            for mode, rate in (("idle", 0.75), ("user", 0.25)):
                history.add("node_cpu_seconds_total", own | {"cpu": "0", "mode": mode}, times, rate * times)
            history.add("node_memory_MemTotal_bytes", own, times, 100)
            history.add("node_memory_MemAvailable_bytes", own, times, 40)
            for way in ("receive", "transmit"):
                metric = f"node_network_{way}_bytes_total"
                history.add(metric, own | {"device": "eth0"}, times, 1e6 * (times - times[0]))
            history.add("node_uname_info", own | {"nodename": name}, times, 1)
    with serving(prometheus_binaries, history.write(prometheus_binaries, folder)) as address:
        yield address, now_s


def test_a_slot_that_is_not_over_is_unknown(live: tuple[str, int]) -> None:
    address, now_s = live
    telemetry = PrometheusTelemetry(PrometheusServer(address), jobs={"node": "node"}, scrape_s=15)
    window = telemetry.last_slots(4, 300)
    assert now_s - 300 < window.end_s <= time.time()
    got = telemetry.read(window)
    np.testing.assert_allclose(got.cpu_share, 0.25, rtol=1e-3)
    np.testing.assert_allclose(got.memory_share, 0.6)
    np.testing.assert_allclose(got.network_mb, 600, rtol=1e-3)
    wider = telemetry.read(SlotGrid(window.start_s, 300, 40))
    np.testing.assert_array_equal(
        np.isnan(wider.cpu_share[0]), np.arange(40) >= 4 + (wider.slots.start_s + 1500 <= time.time())
    )
    with pytest.raises(SlotError, match=r"is over yet"):
        telemetry.read(SlotGrid(window.end_s + 600, 300, 4))


def test_a_machine_that_is_watched_twice_is_not_added_up(live: tuple[str, int]) -> None:
    telemetry = PrometheusTelemetry(PrometheusServer(live[0]), scrape_s=15)
    with pytest.raises(SignalInvalid, match=r"two series say .* of node 'two' at .*job=.*choose one"):
        telemetry.read(telemetry.last_slots(4, 300))


# ------------------------------------------------------------------ faults on the way


def api(request: Request) -> Reply:
    """Answer as Prometheus would of one machine, seen all the time."""
    if request.path.endswith("/values"):
        return json_reply(
            {"status": "success", "data": sorted({m for q in QUERIES.values() for m in q.metrics})}
        )
    if request.path.endswith("/query"):
        return json_reply(
            {"status": "success", "data": {"resultType": "scalar", "result": [1e10, "10000000000"]}}
        )
    start, end, step = (int(request.params[name]) for name in ("start", "end", "step"))
    values = [[moment, "1"] for moment in range(start, end + 1, step)]
    series = [{"metric": {"instance": "a:9100", "nodename": "a"}, "values": values}]
    return json_reply({"status": "success", "data": {"resultType": "matrix", "result": series}})


def changed(**values: Any) -> Callable[[Handler, Reply], None]:
    """Change the first point of each series."""

    def behave(handler: Handler, reply: Reply) -> None:
        answer = json.loads(reply.body)
        data = answer["data"]
        if isinstance(data, dict) and data["resultType"] == "matrix":
            point = data["result"][0]["values"][0]
            point[:] = [values.get("time", point[0]), values.get("value", point[1])]
        handler.send(json_reply(answer))

    return behave


def test_an_upstream_that_is_well_is_read() -> None:
    with upstream(api) as server:
        secret = Secret("s3cret-token")
        got = PrometheusTelemetry(
            PrometheusServer(server.url + "/prom/", token=secret, headers={"X-Scope-OrgID": "tenant"})
        ).read(SlotGrid(0, 3600, 100))
    assert got.nodes == ("a",)
    assert np.all(got.cpu_share == 1)
    assert {request.headers["authorization"] for request in server.seen} == {"Bearer s3cret-token"}
    assert {request.headers["x-scope-orgid"] for request in server.seen} == {"tenant"}
    assert all(request.path.startswith("/prom/api/v1/") for request in server.seen)
    # Nobody may answer with a part: Thanos and its kin would.
    ranges = [request for request in server.seen if request.path.endswith("query_range")]
    assert {request.params["partial_response"] for request in ranges} == {"false"}
    asked = [(int(request.params["start"]), int(request.params["end"])) for request in ranges]
    assert set(asked) == {(3600, 48 * 3600), (49 * 3600, 100 * 3600)}


@pytest.mark.parametrize(
    ("behave", "error", "told"),
    [
        (kit.html, SignalInvalid, "web page"),
        (kit.status(401), ConfigError, "refuses the token"),
        (kit.status(503), SourceUnavailable, "503"),
        (kit.truncated, SignalInvalid, "broke off"),
        (kit.huge, SignalInvalid, "more than"),
        (kit.body(b'{"status": "success", "data": {"resultType": "vector"}}'), SignalInvalid, "shape"),
        (kit.body(b"[]"), SignalInvalid, "shape"),
        (kit.redirect("https://login.example.org"), SourceUnavailable, "points to another address"),
        (changed(time=3600.5), SignalInvalid, "not asked for"),
        (changed(time=1e9), SignalInvalid, "not asked for"),
        (changed(value="wat"), SignalInvalid, "no number"),
        (changed(value="37"), SignalInvalid, "cpu_share of 37 is out of range"),
        (changed(value="+Inf"), SignalInvalid, "out of range"),
    ],
)
def test_faults_on_the_way_are_ours_and_hold_no_secret(
    behave: Callable[[Handler, Reply], None],
    error: type[Exception],
    told: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG")
    clock = VirtualClock()
    with upstream(api, behave) as server, pytest.raises(error, match=told) as caught:
        PrometheusTelemetry(
            PrometheusServer(server.url, token=Secret("s3cret-token"), limits=SMALL, clock=clock)
        ).read(SlotGrid(0, 3600, 10))
    assert "s3cret" not in str(caught.value) + caplog.text


def test_what_can_be_no_setting_is_refused(tmp_path: Path) -> None:
    for url in ("", "prometheus:9090", "https://prom.example.org/?x=1"):
        with pytest.raises(ConfigError):
            PrometheusServer(url)
    server = PrometheusServer("https://prometheus.example.org")
    with pytest.raises(ConfigError, match=r"'cluster name' can't be the name of a label"):
        PrometheusTelemetry(server, match={"cluster name": "a"})
    with pytest.raises(ConfigError, match=r"'nodes' is no exporter; did you mean node"):
        PrometheusTelemetry(server, jobs={"nodes": "a"})
    with pytest.raises(ConfigError, match=r"1 to 11000 slots"):
        PrometheusTelemetry(server, chunk=12_000)
    with pytest.raises(ConfigError, match=r"no file"):
        Tls(ca_file=tmp_path / "ca.pem")
    (tmp_path / "key.pem").write_text("")
    with pytest.raises(ConfigError, match=r"without a certificate"):
        Tls(key_file=tmp_path / "key.pem")
    with pytest.raises(ConfigError, match=r"user or a password"):
        PrometheusTelemetry(PrometheusServer("https://me:pw@prometheus.example.org")).read(SLOTS)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, and certificates of a server and a client that it signed."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("NOT TESTED over TLS: there is no openssl")
    folder = tmp_path_factory.mktemp("tls")

    def make(*arguments: str) -> None:
        subprocess.run([openssl, *arguments], cwd=folder, check=True, capture_output=True)

    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    make("req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=test")
    for name in ("server", "client"):
        make("req", *curve, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        (folder / "extra").write_text("subjectAltName=IP:127.0.0.1\n")
        signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "extra")
        make("x509", "-req", "-in", f"{name}.csr", *signed, "-out", f"{name}.pem")
    return folder


def test_both_ends_may_show_certificates(
    prometheus_binaries: Binaries, certificates: Path, tmp_path: Path
) -> None:
    web = tmp_path / "web.yml"
    web.write_text(
        f"tls_server_config:\n  cert_file: {certificates}/server.pem\n  key_file: {certificates}/server.key\n"
        f"  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: {certificates}/ca.pem\n"
    )
    (tmp_path / "tsdb").mkdir()
    ca, cert, key = (certificates / name for name in ("ca.pem", "client.pem", "client.key"))
    limits = Limits(tries=1)
    with serving(prometheus_binaries, tmp_path / "tsdb", f"--web.config.file={web}") as address:
        url = address.replace("http:", "https:")
        secret = Secret("s3cret-token")
        both = PrometheusServer(url, token=secret, tls=Tls(ca_file=ca, cert_file=cert, key_file=key))
        assert abs(both.now_s() - time.time()) < 60
        for tls in (Tls(ca_file=ca), Tls(cert_file=cert, key_file=key)):
            with pytest.raises((SourceUnavailable, ConfigError)) as caught:
                PrometheusServer(url, token=secret, tls=tls, limits=limits).now_s()
            assert "s3cret" not in str(caught.value)


# ------------------------------------------------------------------ the command


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main(["signals", "telemetry", *arguments])
    out, err = capsys.readouterr()
    return int(caught.value.code or 0), out, err


def test_the_command_writes_a_file_that_is_telemetry(
    loaded: tuple[str, Truth], read: Telemetry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "telemetry.csv"
    given = ("--prometheus", loaded[0], "--out", str(path), "--scrape", "2m")
    given += ("--from", "2024-03-01T00:00Z", "--to", "2024-03-01T20:00Z")
    code, out, err = run(capsys, *given, "--field", "all", "--json")
    assert code == 0, err
    told = json.loads(out)
    assert (told["nodes"], told["slots"]) == (6, 20)
    assert set(told["known_share"]) == set(ALL)
    again = read_telemetry(path)
    assert again.nodes == NODES
    for name in ALL:
        np.testing.assert_allclose(getattr(again, name), getattr(read, name), rtol=1e-8)
    (tmp_path / "token").write_text("s3cret-token\n")
    given += ("--token-file", str(tmp_path / "token"), "--job", "node=node", "--field", "power_w")
    code, out, err = run(capsys, *given)
    assert code == 0, err
    assert "6 nodes, 20 slots from 2024-03-01T00:00Z" in out
    code, _, err = run(capsys, *given, "--match", "cluster=prod")
    assert code != 0
    assert "no cluster is 'prod'" in err


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--match", "cluster"), "is no pair"),
        (("--from", "2024-03-01T00:00Z"), "come together"),
        (("--token-file", "none"), "can't be read"),
        (("--ca-file", "none"), "no file 'none'"),
        (("--step", "soon"), "is not a duration"),
        (("--queries", "none.toml"), "can't be read as TOML"),
    ],
)
def test_the_command_refuses_what_makes_no_sense(
    capsys: pytest.CaptureFixture[str], more: tuple[str, ...], told: str
) -> None:
    code, _, err = run(capsys, "--prometheus", "http://127.0.0.1:9", "--out", "x.csv", *more)
    assert code in (2, 3)
    assert told in err

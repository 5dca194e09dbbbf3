"""From a grid's file and a cluster's nodes to a placed pod: the real command beside the real scheduler."""

from __future__ import annotations

import json
import time
import urllib.request
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from aicsched.extender.names import ALLOWED_REGIONS
from tests.e2e.control_plane import extender_entry, scheduler, scheduler_config
from tests.e2e.live import chart_token, in_region, live_extender, write_config, write_grid
from tests.e2e.objects import eventually, make_nodes, make_pods, plain_pod, wait_bound, why_pending
from tests.prometheus_kit import Binaries, History
from tests.prometheus_kit import serving as serving_prometheus

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.control_plane import ControlPlane

pytestmark = pytest.mark.e2e

GRIDS = {"hydro": "CLEAN", "coal": "DIRTY", "mixed": "MIDDLE"}
MEANS = {"CLEAN": 30.0, "DIRTY": 800.0, "MIDDLE": 350.0}


def three_regions(plane: ControlPlane) -> None:
    """Make 50 nodes in three regions, equal but for their grid."""
    names = list(GRIDS)
    make_nodes(plane, {f"{names[at % 3]}-{at:02d}": in_region(names[at % 3]) for at in range(50)})


def test_pods_go_where_the_grid_is_clean_with_the_rights_of_the_chart(
    plane: ControlPlane, tmp_path: Path
) -> None:
    three_regions(plane)
    write_grid(tmp_path / "grid.csv", MEANS)
    kubeconfig = plane.kubeconfig(chart_token(plane, "chart-live"))
    with live_extender(write_config(tmp_path, kubeconfig, GRIDS)) as extender:
        entry = extender_entry(extender.url, weight=12, ignorable=False)
        with scheduler(plane, scheduler_config(entry)) as running:
            on = wait_bound(plane, make_pods(plane, [plain_pod(f"web-{at}") for at in range(40)]))
            assert {node.partition("-")[0] for node in on.values()} == {"hydro"}, running.log()[-2000:]
            # Spread over the clean ones, as the scheduler's own plug-ins want it.
            assert len(set(on.values())) > 1
            explained = json.load(urllib.request.urlopen(f"{extender.url}/explain/shop/web-0", timeout=10))
            assert explained
            # What is asked for as hard holds, too, and says why it can't be met.
            held = plain_pod("held", annotations={ALLOWED_REGIONS: "coal"})
            nowhere = plain_pod("nowhere", annotations={ALLOWED_REGIONS: "moon"})
            names = make_pods(plane, [held, nowhere])
            assert wait_bound(plane, names[:1])["held"].startswith("coal-")
            eventually(lambda: "region" in why_pending(plane, "nowhere"))
        said = "".join(extender.said)
        assert "may not" not in said
        assert "403" not in said


def test_a_grid_of_ten_days_ago_moves_nobody_and_stops_nobody(plane: ControlPlane, tmp_path: Path) -> None:
    three_regions(plane)
    write_grid(tmp_path / "grid.csv", MEANS, ago_h=240)
    config = write_config(tmp_path, plane.kubeconfig(), GRIDS)
    with live_extender(config) as extender:
        entry = extender_entry(extender.url, weight=12, ignorable=False)
        with scheduler(plane, scheduler_config(entry)):
            on = wait_bound(plane, make_pods(plane, [plain_pod(f"web-{at}") for at in range(30)]))
    counts = Counter(node.partition("-")[0] for node in on.values())
    assert len(counts) == 3, counts


def loads(history: History, nodes: dict[str, float], *, hours: int) -> None:
    """Write what node_exporter would have of nodes: a daily swing around a mean, and noise."""
    rng = np.random.default_rng(7)
    end_s = int(time.time()) // 60 * 60
    times = np.arange(end_s - hours * 3600, end_s + 1, 60)
    for name, mean in nodes.items():
        own = {"instance": f"{name}:9100", "node": name, "job": "node"}
        swing = 0.08 * np.sin(2 * np.pi * times / 86400) + rng.normal(0, 0.04, times.size)
        share = np.clip(mean + swing, 0.01, 1.0)
        busy_s = np.concatenate(([0.0], np.cumsum(share[1:] * np.diff(times))))
        idle_s = (times - times[0]) - busy_s
        for mode, values in (("user", busy_s), ("idle", idle_s)):
            history.add("node_cpu_seconds_total", own | {"cpu": "0", "mode": mode}, times, values)
        history.add("node_memory_MemTotal_bytes", own, times, 64 * 2**30)
        history.add("node_memory_MemAvailable_bytes", own, times, 48 * 2**30)
        for way in ("receive", "transmit"):
            counted = 1e4 * (times - times[0])
            history.add(f"node_network_{way}_bytes_total", own | {"device": "eth0"}, times, counted)
        history.add("node_uname_info", own | {"nodename": name}, times, 1)


def test_a_node_at_risk_is_avoided_where_the_grid_is_the_same(
    plane: ControlPlane, tmp_path: Path, prometheus_binaries: Binaries
) -> None:
    risky = {f"hot-{at}": 0.93 for at in range(3)}
    calm = {f"calm-{at}": 0.25 for at in range(2)}
    make_nodes(plane, dict.fromkeys(risky | calm, in_region("mixed")))
    write_grid(tmp_path / "grid.csv", MEANS)
    history = History()
    loads(history, risky | calm, hours=80)
    pods: list[dict[str, Any]] = [plain_pod(f"web-{at}", cpu="1") for at in range(8)]
    with serving_prometheus(prometheus_binaries, history.write(prometheus_binaries, tmp_path)) as address:
        options = {"prometheus": address, "history_days": 3}
        config = write_config(tmp_path, plane.kubeconfig(), GRIDS, **options)
        with live_extender(config) as extender:
            metrics = f"{extender.url}/metrics"
            source = 'source="prometheus:127.0.0.1"'
            eventually(lambda: source in urllib.request.urlopen(metrics, timeout=10).read().decode(), 90)
            entry = extender_entry(extender.url, weight=12, ignorable=False)
            with scheduler(plane, scheduler_config(entry)) as running:
                on = wait_bound(plane, make_pods(plane, pods))
                explained = urllib.request.urlopen(f"{extender.url}/explain/shop/web-0", timeout=10).read()
    assert {node.partition("-")[0] for node in on.values()} == {"calm"}, (
        Counter(on.values()),
        explained.decode()[:3000],
        running.log()[-1000:],
    )

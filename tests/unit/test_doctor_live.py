"""The doctor on a cluster: what is wrong with it, its nodes, their carbon and their metrics is told."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from aicsched.config import load_settings
from aicsched.extender.doctor.finding import Finding, Severity
from aicsched.extender.doctor.live import check_live
from tests.kube_kit import ApiServer, api_client, api_server, node
from tests.prometheus_kit import Binaries, History, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from aicsched.config import Settings


@pytest.fixture
def cluster() -> Iterator[ApiServer]:
    with api_server() as server:
        server.put("nodes", node("a"), node("b"))
        yield server


def settings(folder: Path, extender: str = "", signals: str = 'order = ["sample"]') -> Settings:
    path = folder / "aicsched.toml"
    path.write_text(f"[signals]\n{signals}\n[extender]\n{extender}\n")
    return load_settings(path)


def checked(server: ApiServer, made: Settings, now_s: Any = time.time) -> dict[str, list[Finding]]:
    found: dict[str, list[Finding]] = {}
    for each in check_live(made, api_client(server.url), now_s=now_s):
        found.setdefault(each.code, []).append(each)
    return found


def severities(found: dict[str, list[Finding]], code: str) -> list[Severity]:
    return [each.severity for each in found[code]]


def test_a_sound_cluster_is_told_to_be_so(cluster: ApiServer, tmp_path: Path) -> None:
    found = checked(cluster, settings(tmp_path))
    for code in ("api-version", "clock", "rights", "zones"):
        assert severities(found, code) == [Severity.OK], found[code]
    assert "eu-central-1 on DE" in found["zones"][0].message
    assert severities(found, "no-prometheus") == [Severity.WARNING]


def test_old_servers_clocks_and_rights_are_told(cluster: ApiServer, tmp_path: Path) -> None:
    cluster.minor, cluster.ahead_s = "29+", 600.0
    cluster.forbidden = {("watch", "nodes"), ("create", "pods")}
    found = checked(cluster, settings(tmp_path, "bind = true"))
    assert severities(found, "api-version") == [Severity.WARNING]
    assert severities(found, "clock") == [Severity.ERROR]
    assert "600 s behind" in found["clock"][0].message or "599 s behind" in found["clock"][0].message
    assert found["rights"][0].message == "we may not: watch nodes, create pods/binding"
    cluster.ahead_s = -30.0
    assert severities(checked(cluster, settings(tmp_path)), "clock") == [Severity.WARNING]


def test_a_cluster_that_cannot_be_reached_leaves_the_rest_to_be_checked(tmp_path: Path) -> None:
    with api_server() as server:
        api = api_client(server.url)
    found = {each.code for each in check_live(settings(tmp_path, 'grid_zones = { x = "DE" }'), api)}
    assert {"api", "carbon", "no-prometheus"} <= found
    assert "rights" not in found


def test_nodes_without_a_home_or_a_known_cpu_are_told(cluster: ApiServer, tmp_path: Path) -> None:
    bare = dict.fromkeys(("topology.kubernetes.io/region", "node.kubernetes.io/instance-type"))
    cluster.put(
        "nodes", node("c", labels=bare, provider_id=""), node("d", labels={"aicsched.io/cpu-family": "?"})
    )
    found = checked(cluster, settings(tmp_path))
    assert severities(found, "no-zone") == [Severity.ERROR]
    assert "1 of 4 nodes have no label" in found["no-zone"][0].message
    assert 'cluster = "ZONE"' in found["no-zone"][0].fix
    assert severities(found, "cpu-family") == [Severity.ERROR]
    assert "nodes c" in found["no-cpu-family"][0].where
    assert "no-zone" not in checked(cluster, settings(tmp_path, 'grid_zones = { cluster = "DE" }'))


def test_an_empty_cluster_and_one_that_refuses_are_told(cluster: ApiServer, tmp_path: Path) -> None:
    cluster.drop("nodes", "a")
    cluster.drop("nodes", "b")
    assert severities(checked(cluster, settings(tmp_path)), "no-node") == [Severity.ERROR]
    cluster.status["nodes"] = 403
    found = checked(cluster, settings(tmp_path))
    assert severities(found, "cluster") == [Severity.ERROR]
    assert "403" in found["cluster"][0].message


def test_carbon_is_told_by_its_age(cluster: ApiServer, tmp_path: Path) -> None:
    from aicsched.signals.carbon.sample import SAMPLE_NOW_S

    made = settings(tmp_path, 'grid_zones = { eu-central-1 = "syn-nordic" }')
    zone = made.extender.grid_zones["eu-central-1"]
    assert zone == "syn-nordic"
    for hours, severity in ((0, Severity.OK), (24 * 400, Severity.ERROR)):
        found = checked(cluster, made, lambda hours=hours: SAMPLE_NOW_S + hours * 3600.0)
        told = {each.where: each.severity for each in found["carbon"]}
        assert told["carbon of syn-nordic"] is severity, found["carbon"]
    lost = checked(cluster, settings(tmp_path, signals=""))
    assert severities(lost, "no-source") == [Severity.ERROR]


@pytest.fixture(scope="module")
def prometheus(prometheus_binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("prometheus")
    history = History()
    end_s = int(time.time()) // 60 * 60
    moments = np.arange(end_s - 5 * 3600, end_s + 60, 60)
    counted = moments - moments[0]
    for name in ("a", "b"):
        labels = {"instance": f"{name}:9100", "node": name}
        history.add("node_uname_info", labels | {"nodename": name}, moments, 1)
        for mode, share in (("user", 0.3), ("idle", 0.7)):
            history.add(
                "node_cpu_seconds_total", labels | {"mode": mode, "cpu": "0"}, moments, share * counted
            )
        history.add("node_memory_MemAvailable_bytes", labels, moments, 4e9)
        history.add("node_memory_MemTotal_bytes", labels, moments, 8e9)
        for way in ("receive", "transmit"):
            history.add(
                f"node_network_{way}_bytes_total", labels | {"device": "eth0"}, moments, 1e3 * counted
            )
    with serving(prometheus_binaries, history.write(prometheus_binaries, folder)) as url:
        yield url


def test_metrics_and_the_nodes_they_are_of_are_told(
    cluster: ApiServer, prometheus: str, tmp_path: Path
) -> None:
    made = settings(tmp_path, f'prometheus = "{prometheus}"')
    found = checked(cluster, made)
    assert severities(found, "load") == [Severity.OK], found["load"]
    assert severities(found, "clock") == [Severity.OK, Severity.OK]
    assert set(severities(found, "metric")) == {Severity.INFO}
    cluster.put("nodes", node("c"))
    missing = checked(cluster, made)["load"][0]
    assert (missing.severity, "1 of 3 nodes, e.g. c" in missing.message) == (Severity.WARNING, True)
    away = checked(cluster, settings(tmp_path, 'prometheus = "http://127.0.0.1:9"'))
    assert severities(away, "prometheus") == [Severity.ERROR]

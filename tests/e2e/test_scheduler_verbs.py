"""Bind, preempt and mutual TLS, as the real kube-scheduler asks for them."""

from __future__ import annotations

import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from aicsched.extender.names import ALLOWED_REGIONS
from tests.e2e.control_plane import extender_entry, free_port, scheduler, scheduler_config
from tests.e2e.live import chart_token, in_region, live_extender, write_config, write_grid
from tests.e2e.objects import (
    delete_pods,
    eventually,
    make_nodes,
    make_pods,
    nodes_of,
    plain_pod,
    wait_bound,
    why_pending,
)
from tests.trust_kit import make_authority

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.control_plane import ControlPlane

pytestmark = pytest.mark.e2e

GRIDS = {"hydro": "CLEAN", "coal": "DIRTY"}
MEANS = {"CLEAN": 30.0, "DIRTY": 800.0}


def answers(url: str) -> dict[tuple[str, str], float]:
    """Read how often each verb was answered with each status."""
    text = urllib.request.urlopen(f"{url}/metrics", timeout=10).read().decode()
    families = {one.name: one for one in text_string_to_metric_families(text)}
    samples = families["aicsched_extender_requests"].samples
    return {(one.labels["verb"], one.labels["code"]): one.value for one in samples if one.value}


def test_pods_are_bound_by_the_extender_with_the_rights_of_the_chart(
    plane: ControlPlane, tmp_path: Path
) -> None:
    make_nodes(plane, {f"{region}-{at}": in_region(region) for region in GRIDS for at in range(3)})
    write_grid(tmp_path / "grid.csv", MEANS)
    token = chart_token(plane, "chart-bind", values={"bind": {"enabled": True}})
    with live_extender(write_config(tmp_path, plane.kubeconfig(token), GRIDS, bind=True)) as extender:
        entry = extender_entry(extender.url, weight=12, ignorable=False, bindVerb="bind")
        with scheduler(plane, scheduler_config(entry)) as running:
            on = wait_bound(plane, make_pods(plane, [plain_pod(f"web-{at}") for at in range(20)]))
            assert {node.partition("-")[0] for node in on.values()} == {"hydro"}, running.log()[-2000:]
            eventually(lambda: answers(extender.url).get(("bind", "200")) == 20, 10)
            # An extender that refuses leaves the pod to the next try; nothing else binds it.
            plane.call("DELETE", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/chart-bind")
            (name,) = make_pods(plane, [plain_pod("late")])
            eventually(lambda: "may not" in running.log() or "forbidden" in running.log().lower())
            assert not nodes_of(plane)[name]


@pytest.fixture
def classes(plane: ControlPlane) -> Iterator[None]:
    """Give a class of pods that may push others out."""
    made = {"metadata": {"name": "urgent"}, "value": 1000}
    plane.call("POST", "/apis/scheduling.k8s.io/v1/priorityclasses", made)
    yield
    plane.call("DELETE", "/apis/scheduling.k8s.io/v1/priorityclasses/urgent")


def test_nobody_is_pushed_out_where_the_pod_may_not_go(
    plane: ControlPlane, tmp_path: Path, classes: None
) -> None:
    del classes
    make_nodes(plane, {"hydro-0": in_region("hydro"), "coal-0": in_region("coal")})
    write_grid(tmp_path / "grid.csv", MEANS)
    gone_at_once: dict[str, Any] = {"terminationGracePeriodSeconds": 0}
    # One victim on the dirty node, three on the clean one: by itself the scheduler takes the dirty one.
    full = [plain_pod("coal-a", cpu="14", nodeName="coal-0", **gone_at_once)]
    full += [plain_pod(f"hydro-{at}", cpu="5", nodeName="hydro-0", **gone_at_once) for at in "abc"]
    urgent = plain_pod("urgent", cpu="12", priorityClassName="urgent", annotations={ALLOWED_REGIONS: "hydro"})
    with live_extender(write_config(tmp_path, plane.kubeconfig(), GRIDS, preempt=True)) as extender:
        kept: dict[str, set[str]] = {}
        for verb in ("", "preempt"):
            make_pods(plane, full)
            entry = extender_entry(extender.url, weight=12, ignorable=False, preemptVerb=verb)
            with scheduler(plane, scheduler_config(entry)) as running:
                make_pods(plane, [urgent])
                if verb:
                    assert wait_bound(plane, ["urgent"]) == {"urgent": "hydro-0"}, running.log()[-3000:]
                else:
                    # It dies for nothing: the filter still keeps the urgent one from its node.
                    eventually(lambda: "coal-a" not in nodes_of(plane))
                    assert nodes_of(plane)["urgent"] != "coal-0"
                kept[verb] = set(nodes_of(plane))
            delete_pods(plane)
        assert answers(extender.url)["preempt", "200"] >= 1
    assert "coal-a" not in kept[""]
    assert kept["preempt"] >= {"coal-a", "urgent"}
    assert len(kept["preempt"] & {"hydro-a", "hydro-b", "hydro-c"}) < 3


def test_only_the_scheduler_of_our_authority_is_answered(plane: ControlPlane, tmp_path: Path) -> None:
    names = make_nodes(plane, {f"{region}-{at}": in_region(region) for region in GRIDS for at in range(3)})
    write_grid(tmp_path / "grid.csv", MEANS)
    ours, strangers = make_authority(tmp_path, "ours"), make_authority(tmp_path, "strangers")
    server = ours.issue("extender")
    probes = free_port()
    config = write_config(
        tmp_path,
        plane.kubeconfig(),
        GRIDS,
        tls_cert_file=str(server.cert),
        tls_key_file=str(server.key),
        client_ca_file=str(ours.cert),
        client_names=["kube-scheduler"],
        metrics_port=probes,
    )
    clients = {
        "known": ours.issue("kube-scheduler"),
        "of another name": ours.issue("somebody"),
        "of another authority": strangers.issue("kube-scheduler"),
        "without any": None,
    }
    assert names
    with live_extender(config, probes=f"http://127.0.0.1:{probes}") as extender:
        assert extender.url.startswith("https://")
        for at, (which, pair) in enumerate(clients.items()):
            tls = {"caFile": str(ours.cert)}
            if pair is not None:
                tls |= {"certFile": str(pair.cert), "keyFile": str(pair.key)}
            entry = extender_entry(extender.url, weight=12, ignorable=False, tlsConfig=tls)
            with scheduler(plane, scheduler_config(entry)) as running:
                (name,) = make_pods(plane, [plain_pod(f"web-{at}")])
                if which == "known":
                    assert wait_bound(plane, [name])[name].startswith("hydro-"), running.log()[-2000:]
                else:
                    eventually(lambda: why_pending(plane, name).startswith("SchedulerError"))  # noqa: B023
                    assert not nodes_of(plane)[name], which
            delete_pods(plane)

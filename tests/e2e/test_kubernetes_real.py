"""A fleet from a real kube-apiserver: what the watch holds is what the API says, whatever changes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from aicsched.errors import ConfigError
from aicsched.fleet.kubernetes.watch import ClusterWatch, WatchLimits, connect
from tests.debian_kit import NotToBeHad
from tests.e2e.control_plane import ControlPlane, RefusedError, control_plane
from tests.kube_kit import budget, node, pod

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.e2e

READER, STRANGER = "reader-token", "stranger-token"
QUICK = WatchLimits(first_wait_s=0.1, longest_wait_s=1.0)
KINDS = ["nodes", "pods", "poddisruptionbudgets"]


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Give a control plane with a namespace, a reader of the cluster, and someone who may do nothing."""
    folder = tmp_path_factory.mktemp("plane")
    try:
        with control_plane(folder, {READER: "reader", STRANGER: "stranger"}) as made:
            made.call("POST", "/api/v1/namespaces", {"metadata": {"name": "shop"}})
            rbac = "/apis/rbac.authorization.k8s.io/v1"
            rule = {"apiGroups": ["", "policy"], "resources": KINDS, "verbs": ["list", "watch"]}
            made.call("POST", f"{rbac}/clusterroles", {"metadata": {"name": "reader"}, "rules": [rule]})
            role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "reader"}
            who = [{"kind": "User", "name": "reader", "apiGroup": "rbac.authorization.k8s.io"}]
            binding = {"metadata": {"name": "reader"}, "roleRef": role, "subjects": who}
            made.call("POST", f"{rbac}/clusterrolebindings", binding)
            yield made
    except NotToBeHad as reason:
        pytest.skip(f"NOT TESTED against a real kube-apiserver: {reason}")


def add(plane: ControlPlane, path: str, item: dict[str, Any]) -> None:
    """Create an object, and give it its status, which the API takes for nodes only at once."""
    item["metadata"].pop("uid", None)
    for owner in item["metadata"].pop("ownerReferences", []):
        del owner
    for container in item.get("spec", {}).get("containers", []):
        container.setdefault("image", "example.invalid/none")
    made = plane.call("POST", path, item)
    if "status" in item and not path.endswith("/nodes"):
        made["status"] = item["status"] | {"observedGeneration": 1}
        plane.call("PUT", f"{path}/{item['metadata']['name']}/status", made)


def eventually(holds: Callable[[], bool], within_s: float = 30.0) -> None:
    """Wait until something holds."""
    until = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < until, "not seen in time"
        time.sleep(0.05)


def test_a_watch_holds_what_the_api_says_and_follows_it(plane: ControlPlane) -> None:
    for name in ("a", "b"):
        add(plane, "/api/v1/nodes", node(name))
    pods = "/api/v1/namespaces/shop/pods"
    for index, on in enumerate(("a", "a", "b")):
        add(plane, pods, pod(f"web-{index}", on, cpu="1500m", memory="2Gi"))
    add(plane, "/apis/policy/v1/namespaces/shop/poddisruptionbudgets", budget("web", "web", 0))
    api = connect(kubeconfig=plane.kubeconfig(READER))
    with ClusterWatch(api, limits=QUICK) as watch:
        watch.wait()
        seen = watch.cluster()
        assert {one.name for one in seen.nodes} == {"a", "b"}
        assert (seen.requested("a").vcpus, seen.requested("a").memory_gib) == (3.0, 4.0)
        assert seen.requested("b").vcpus == 1.5
        assert [held.name for held in seen.held_by("a")] == ["web"]
        fleet = seen.fleet()
        assert {one.region for one in fleet.nodes} == {"eu-central-1"}
        add(plane, "/api/v1/nodes", node("c"))
        plane.call("DELETE", f"{pods}/web-0", {"gracePeriodSeconds": 0})
        eventually(lambda: len(watch.cluster().nodes) == 3)
        eventually(lambda: watch.cluster().requested("a").vcpus == 1.5)
        plane.call("DELETE", "/api/v1/nodes/c")
        eventually(lambda: len(watch.cluster().nodes) == 2)
        assert watch.faults() == ()
        # What it saw before does not change behind anybody's back.
        assert seen.requested("a").vcpus == 3.0


def test_a_thousand_nodes_are_listed_page_by_page(plane: ControlPlane) -> None:
    for index in range(1000):
        add(plane, "/api/v1/nodes", node(f"n{index:04d}"))
    api = connect(kubeconfig=plane.kubeconfig(READER))
    with ClusterWatch(api, limits=QUICK) as watch:
        watch.wait(60.0)
        listed = {one["metadata"]["name"] for one in plane.call("GET", "/api/v1/nodes")["items"]}
        assert {one.name for one in watch.cluster().nodes} == listed
        assert len(listed) >= 1000


def test_whoever_may_not_read_is_told_what_right_is_missing(plane: ControlPlane) -> None:
    with (
        ClusterWatch(connect(kubeconfig=plane.kubeconfig(STRANGER)), limits=QUICK) as watch,
        pytest.raises(ConfigError, match=r"grant get, list and watch"),
    ):
        watch.wait(20.0)
    nobody = ClusterWatch(connect(kubeconfig=plane.kubeconfig("unknown-token")), limits=QUICK)
    with nobody as watch, pytest.raises(ConfigError, match=r"\(401\)"):
        watch.wait(20.0)
    with pytest.raises(RefusedError, match="403"):
        plane.call("GET", "/api/v1/nodes", token=STRANGER)

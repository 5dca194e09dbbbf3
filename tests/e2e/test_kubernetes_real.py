"""A fleet from a real kube-apiserver: what the watch holds is what the API says, whatever changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from aicsched.errors import ConfigError
from aicsched.fleet.kubernetes.watch import ClusterWatch, WatchLimits, connect
from tests.e2e.control_plane import RefusedError
from tests.e2e.objects import eventually, make_namespace, make_nodes
from tests.kube_kit import budget, node, pod

if TYPE_CHECKING:
    from tests.e2e.control_plane import ControlPlane

pytestmark = pytest.mark.e2e

QUICK = WatchLimits(first_wait_s=0.1, longest_wait_s=1.0)
KINDS = ["nodes", "pods", "poddisruptionbudgets"]


@dataclass(frozen=True)
class Tokens:
    """Of a reader of the cluster, and of someone who may do nothing."""

    reader: str
    stranger: str


@pytest.fixture(scope="module")
def tokens(shared_plane: ControlPlane) -> Tokens:
    """Make two service accounts, and let one read."""
    make_namespace(shared_plane, "readers")
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    rule = {"apiGroups": ["", "policy"], "resources": KINDS, "verbs": ["list", "watch"]}
    shared_plane.call("POST", f"{rbac}/clusterroles", {"metadata": {"name": "reader"}, "rules": [rule]})
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "reader"}
    who = [{"kind": "ServiceAccount", "name": "reader", "namespace": "readers"}]
    binding = {"metadata": {"name": "reader"}, "roleRef": role, "subjects": who}
    shared_plane.call("POST", f"{rbac}/clusterrolebindings", binding)
    account = shared_plane.service_account
    return Tokens(account("readers", "reader"), account("readers", "stranger"))


def add(plane: ControlPlane, path: str, item: dict[str, Any]) -> None:
    """Create an object, and give it its status, which the API takes at once for nodes only."""
    item["metadata"].pop("uid", None)
    item["metadata"].pop("ownerReferences", None)
    for container in item.get("spec", {}).get("containers", []):
        container.setdefault("image", "example.invalid/none")
    made = plane.call("POST", path, item)
    if "status" in item and not path.endswith("/nodes"):
        made["status"] = item["status"] | {"observedGeneration": 1}
        plane.call("PUT", f"{path}/{item['metadata']['name']}/status", made)


def test_a_watch_holds_what_the_api_says_and_follows_it(plane: ControlPlane, tokens: Tokens) -> None:
    make_nodes(plane, {"a": {}, "b": {}})
    make_namespace(plane, "watched")
    pods = "/api/v1/namespaces/watched/pods"
    for index, on in enumerate(("a", "a", "b")):
        add(plane, pods, pod(f"web-{index}", on, cpu="1500m", memory="2Gi", namespace="watched"))
    add(
        plane,
        "/apis/policy/v1/namespaces/watched/poddisruptionbudgets",
        budget("web", "web", 0, namespace="watched"),
    )
    api = connect(kubeconfig=plane.kubeconfig(tokens.reader))
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


def test_a_thousand_nodes_are_listed_page_by_page(plane: ControlPlane, tokens: Tokens) -> None:
    made = make_nodes(plane, 1000)
    api = connect(kubeconfig=plane.kubeconfig(tokens.reader))
    with ClusterWatch(api, limits=QUICK) as watch:
        watch.wait(60.0)
        assert {one.name for one in watch.cluster().nodes} == set(made)


def test_whoever_may_not_read_is_told_what_right_is_missing(plane: ControlPlane, tokens: Tokens) -> None:
    with (
        ClusterWatch(connect(kubeconfig=plane.kubeconfig(tokens.stranger)), limits=QUICK) as watch,
        pytest.raises(ConfigError, match=r"grant get, list and watch"),
    ):
        watch.wait(20.0)
    nobody = ClusterWatch(connect(kubeconfig=plane.kubeconfig("unknown-token")), limits=QUICK)
    with nobody as watch, pytest.raises(ConfigError, match=r"\(401\)"):
        watch.wait(20.0)
    with pytest.raises(RefusedError, match="403"):
        plane.call("GET", "/api/v1/nodes", token=tokens.stranger)

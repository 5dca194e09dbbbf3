"""Pods bound through a real kube-apiserver, by the bearer of the two rights that it takes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from aicsched.errors import ConfigError, ServeError, SourceUnavailable
from aicsched.extender.verbs.bind import BindVerb
from aicsched.fleet.kubernetes.bind import Binding, PodBinder
from aicsched.fleet.kubernetes.watch import connect
from tests.debian_kit import NotToBeHad
from tests.e2e.control_plane import ControlPlane, control_plane
from tests.extender_kit import Answer, judge_bind
from tests.kube_kit import node

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.e2e

BINDER, READER = "binder-token", "reader-token"
RULES = [
    {"apiGroups": [""], "resources": ["pods/binding"], "verbs": ["create"]},
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
]
PODS = "/api/v1/namespaces/shop/pods"


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Give a control plane with two nodes, someone who may bind, and someone who may only read."""
    folder = tmp_path_factory.mktemp("plane")
    try:
        with control_plane(folder, {BINDER: "binder", READER: "reader"}) as made:
            made.call("POST", "/api/v1/namespaces", {"metadata": {"name": "shop"}})
            rbac = "/apis/rbac.authorization.k8s.io/v1"
            for name, rules in (("binder", RULES), ("reader", RULES[1:])):
                made.call("POST", f"{rbac}/clusterroles", {"metadata": {"name": name}, "rules": rules})
                role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}
                who = [{"kind": "User", "name": name, "apiGroup": "rbac.authorization.k8s.io"}]
                binding = {"metadata": {"name": name}, "roleRef": role, "subjects": who}
                made.call("POST", f"{rbac}/clusterrolebindings", binding)
            for name in ("a", "b"):
                item = node(name)
                item["metadata"].pop("uid")
                made.call("POST", "/api/v1/nodes", item)
            yield made
    except NotToBeHad as reason:
        pytest.skip(f"NOT TESTED against a real kube-apiserver: {reason}")


def made(plane: ControlPlane, name: str, **spec: Any) -> Any:
    """Create a pod; give what the scheduler would send to bind it to node a."""
    container = {"name": "main", "image": "example.invalid/none"}
    pod = plane.call("POST", PODS, {"metadata": {"name": name}, "spec": {"containers": [container], **spec}})
    return Binding(namespace="shop", pod=name, uid=pod["metadata"]["uid"], node="a")


def where(plane: ControlPlane, name: str) -> Any:
    return plane.call("GET", f"{PODS}/{name}")["spec"].get("nodeName")


def binder_for(plane: ControlPlane, token: str = BINDER) -> PodBinder:
    return PodBinder(api=connect(kubeconfig=plane.kubeconfig(token)))


def elsewhere(wanted: Binding, **change: Any) -> Binding:
    facts = {"namespace": wanted.namespace, "pod": wanted.pod, "uid": wanted.uid, "node": wanted.node}
    return Binding(**(facts | change))


def test_a_pod_is_bound_once_and_stays_where_it_is(plane: ControlPlane) -> None:
    binder, wanted = binder_for(plane), made(plane, "web-0")
    binder.bind(wanted)
    assert where(plane, "web-0") == "a"
    binder.bind(wanted)  # the scheduler asks again after a timeout
    with pytest.raises(ServeError, match="it is bound to a"):
        binder.bind(elsewhere(wanted, node="b"))
    assert where(plane, "web-0") == "a"


def test_a_pod_made_anew_is_not_bound_in_the_place_of_the_old_one(plane: ControlPlane) -> None:
    old = made(plane, "web-1")
    plane.call("DELETE", f"{PODS}/web-1", {"gracePeriodSeconds": 0})
    with pytest.raises(ServeError, match="not found"):
        binder_for(plane).bind(old)
    made(plane, "web-1")
    with pytest.raises(ServeError, match="another one now"):
        binder_for(plane).bind(old)
    assert where(plane, "web-1") is None


def test_a_gated_pod_is_not_bound(plane: ControlPlane) -> None:
    wanted = made(plane, "web-2", schedulingGates=[{"name": "example.com/wait"}])
    with pytest.raises(SourceUnavailable, match="schedulingGates"):
        binder_for(plane).bind(wanted)
    assert where(plane, "web-2") is None


def test_who_may_not_bind_is_told_what_right_is_missing(plane: ControlPlane) -> None:
    with pytest.raises(ConfigError, match="grant create on pods/binding"):
        binder_for(plane, READER).bind(made(plane, "web-3"))
    assert where(plane, "web-3") is None


def test_the_verb_tells_the_scheduler_what_the_api_server_says(plane: ControlPlane) -> None:
    verb, wanted = BindVerb(binder=binder_for(plane), count=print), made(plane, "web-4")
    body = {"PodName": "web-4", "PodNamespace": "shop", "PodUID": wanted.uid, "Node": "a"}
    assert judge_bind(Answer.of(verb.answer(json.dumps(body).encode()))) == ""
    assert where(plane, "web-4") == "a"
    said = judge_bind(Answer.of(verb.answer(json.dumps(body | {"Node": "b"}).encode())))
    assert said.startswith("aicsched: pod shop/web-4 to b: it is bound to a")

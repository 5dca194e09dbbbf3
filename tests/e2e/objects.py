"""Nodes and pods for a real API server, cheaply, and waits for what becomes of them.

Objects are those of `tests.kube_kit`, as the API wants them. No kubelet runs: a bound pod never starts,
and what is deleted is deleted at once.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from tests.kube_kit import node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tests.e2e.control_plane import ControlPlane

NAMESPACE = "shop"
_POLL_S = 0.05


def make_nodes(plane: ControlPlane, nodes: Mapping[str, Mapping[str, Any]] | int) -> list[str]:
    """Create nodes.

    Parameters
    ----------
    plane : ControlPlane
        Where.
    nodes : mapping of str to mapping, or int
        Per name what `tests.kube_kit.node` takes (``labels``, ``capacity``, ``taints``, …); or how many.

    Returns
    -------
    list of str
        Their names.
    """
    chosen = {f"node-{at:05d}": {} for at in range(nodes)} if isinstance(nodes, int) else nodes
    made = [node(name, **more) for name, more in chosen.items()]
    for one in made:
        one["metadata"].pop("uid")
    plane.call_many("POST", [("/api/v1/nodes", one) for one in made])
    return list(chosen)


def plain_pod(name: str, *, cpu: str = "500m", memory: str = "256Mi", **spec: Any) -> dict[str, Any]:
    """Write a pod as a user does.

    Parameters
    ----------
    name : str
        Of the pod.
    cpu, memory : str
        Its requests.
    **spec : dict
        More fields of its spec in their own spelling; ``labels`` and ``annotations`` are its metadata's.

    Returns
    -------
    dict
        For `make_pods`.
    """
    metadata: dict[str, Any] = {"name": name}
    for key in ("labels", "annotations"):
        if key in spec:
            metadata[key] = spec.pop(key)
    requests = {"cpu": cpu, "memory": memory}
    main = {"name": "main", "image": "example.invalid/none", "resources": {"requests": requests}}
    return {"metadata": metadata, "spec": {"containers": [main], **spec}}


def make_pods(
    plane: ControlPlane, pods: Iterable[dict[str, Any]], *, namespace: str = NAMESPACE
) -> list[str]:
    """Create pods, and the namespace where it is missing; return their names."""
    make_namespace(plane, namespace)
    path = f"/api/v1/namespaces/{namespace}/pods"
    made = plane.call_many("POST", [(path, one) for one in pods])
    return [one["metadata"]["name"] for one in made]


def make_namespace(plane: ControlPlane, name: str, **metadata: Any) -> None:
    """Create a namespace where it is missing."""
    known = {one["metadata"]["name"] for one in plane.call("GET", "/api/v1/namespaces")["items"]}
    if name not in known:
        plane.call("POST", "/api/v1/namespaces", {"metadata": {"name": name, **metadata}})


def get_pod(plane: ControlPlane, name: str, *, namespace: str = NAMESPACE) -> dict[str, Any]:
    """Read a pod."""
    found: dict[str, Any] = plane.call("GET", f"/api/v1/namespaces/{namespace}/pods/{name}")
    return found


def nodes_of(plane: ControlPlane, *, namespace: str = NAMESPACE) -> dict[str, str]:
    """Tell on which node each pod of a namespace is; empty where none."""
    items = plane.call("GET", f"/api/v1/namespaces/{namespace}/pods")["items"]
    return {one["metadata"]["name"]: one["spec"].get("nodeName", "") for one in items}


def wait_bound(
    plane: ControlPlane, names: Iterable[str], *, namespace: str = NAMESPACE, within_s: float = 60.0
) -> dict[str, str]:
    """Wait until pods are bound; return their nodes.

    Raises
    ------
    AssertionError
        Some were not in time, with what the scheduler said of them.
    """
    wanted = set(names)
    until = time.monotonic() + within_s
    while True:
        on = {name: where for name, where in nodes_of(plane, namespace=namespace).items() if name in wanted}
        if len(on) == len(wanted) and all(on.values()):
            return on
        if time.monotonic() > until:
            late = sorted(name for name in wanted if not on.get(name))
            msg = f"{len(late)} of {len(wanted)} pods are not bound after {within_s:g} s, first {late[:3]}: "
            raise AssertionError(msg + str(why_pending(plane, late[0], namespace=namespace)))
        time.sleep(_POLL_S)


def why_pending(plane: ControlPlane, name: str, *, namespace: str = NAMESPACE) -> str:
    """Read the condition that says why a pod isn't bound: ``reason: message``, or nothing."""
    conditions = get_pod(plane, name, namespace=namespace)["status"].get("conditions", [])
    said = [one for one in conditions if one["type"] == "PodScheduled" and one["status"] == "False"]
    return f"{said[0].get('reason')}: {said[0].get('message', '')}" if said else ""


def events_of(plane: ControlPlane, name: str, *, namespace: str = NAMESPACE) -> list[dict[str, Any]]:
    """Read the events about an object of a namespace, the oldest first, of either API of events."""
    items = plane.call("GET", f"/api/v1/namespaces/{namespace}/events")["items"]
    mine = [one for one in items if one["involvedObject"].get("name") == name]
    return sorted(mine, key=lambda one: one["metadata"]["creationTimestamp"])


def eventually(holds: Callable[[], object], within_s: float = 30.0) -> None:
    """Wait until something holds."""
    until = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < until, f"not seen within {within_s:g} s"
        time.sleep(_POLL_S)


def delete_pods(plane: ControlPlane) -> None:
    """Delete all pods, at once."""
    pods = [one["metadata"] for one in plane.call("GET", "/api/v1/pods")["items"]]
    at_once = {"gracePeriodSeconds": 0}
    plane.call_many(
        "DELETE",
        [(f"/api/v1/namespaces/{one['namespace']}/pods/{one['name']}", at_once) for one in pods],
    )


def clear(plane: ControlPlane) -> None:
    """Delete all pods and all nodes: the next test starts empty."""
    delete_pods(plane)
    plane.call("DELETE", "/api/v1/nodes")
    eventually(lambda: not plane.call("GET", "/api/v1/nodes?limit=1")["items"])

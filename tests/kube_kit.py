"""An API server on this machine, for tests: lists in pages, watches with bookmarks, and ways to misbehave.

It speaks what the Kubernetes API concepts document: resource versions, ``limit`` and
``continue``, watches as JSON lines in chunks, ``410 Gone`` as an event of a stream for a version that
is too old. Objects are made up, in the documented shape.
"""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from kubernetes import client

if TYPE_CHECKING:
    from collections.abc import Generator

KINDS = {
    "/api/v1/nodes": ("nodes", "Node", "v1"),
    "/api/v1/pods": ("pods", "Pod", "v1"),
    "/apis/policy/v1/poddisruptionbudgets": ("budgets", "PodDisruptionBudget", "policy/v1"),
}


def node(name: str, **more: Any) -> dict[str, Any]:
    """A node of 16 threads and 64 GiB, ready, in eu-central-1."""
    labels = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/arch": "amd64",
        "topology.kubernetes.io/region": "eu-central-1",
        "topology.kubernetes.io/zone": "eu-central-1a",
        "node.kubernetes.io/instance-type": "c6a.4xlarge",
    } | more.get("labels", {})
    capacity = {"cpu": "16", "memory": "67108864Ki", "pods": "110"} | more.get("capacity", {})
    return {
        "metadata": {
            "name": name,
            "uid": f"uid-{name}",
            "creationTimestamp": "2026-01-02T03:04:05Z",
            "labels": {key: value for key, value in labels.items() if value is not None},
        },
        "spec": {
            "providerID": more.get("provider_id", f"aws:///eu-central-1a/i-{name}"),
            **({"taints": more["taints"]} if "taints" in more else {}),
            **({"unschedulable": True} if more.get("cordoned") else {}),
        },
        "status": {
            "capacity": capacity,
            "allocatable": more.get("allocatable", {**capacity, "cpu": "15890m", "memory": "63Gi"}),
            "conditions": [
                {"type": "MemoryPressure", "status": "False"},
                {"type": "Ready", "status": "True" if more.get("ready", True) else "Unknown"},
            ],
        },
    }


def pod(name: str, on: str = "", cpu: str = "500m", memory: str = "1Gi", **more: Any) -> dict[str, Any]:
    """A pod with one container, bound and running where a node is named."""
    bound = more.get("bound", "2026-05-01T10:00:00Z")
    conditions = [
        {"type": "PodScheduled", "status": "True" if on else "False", "lastTransitionTime": bound},
        {"type": "Ready", "status": "True" if more.get("ready", bool(on)) else "False"},
    ]
    return {
        "metadata": {
            "name": name,
            "namespace": more.get("namespace", "shop"),
            "uid": f"uid-{name}",
            "labels": more.get("labels", {"app": name.rpartition("-")[0]}),
            "ownerReferences": [{"kind": "ReplicaSet", "name": "rs", "controller": True}],
        },
        "spec": {
            **({"nodeName": on} if on else {}),
            "containers": [{"name": "main", "resources": {"requests": {"cpu": cpu, "memory": memory}}}],
            **more.get("spec", {}),
        },
        "status": {
            "phase": more.get("phase", "Running" if on else "Pending"),
            "conditions": conditions,
            "containerStatuses": [{"name": "main", "restartCount": more.get("restarts", 0)}],
        },
    }


def budget(name: str, app: str, allowed: int, **more: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": more.get("namespace", "shop"), "uid": f"uid-{name}"},
        "spec": {"minAvailable": 1, "selector": more.get("selector", {"matchLabels": {"app": app}})},
        "status": {"disruptionsAllowed": allowed},
    }


@dataclass
class Store:
    """Objects of one kind, and what happened to them."""

    objects: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    doubles: list[dict[str, Any]] = field(default_factory=list)
    events: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    oldest: int = 0


class ApiServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.stores = {kind: Store() for kind, _, _ in KINDS.values()}
        self.version = 100
        self.changed = threading.Condition()
        self.closing = False
        # By kind: a status to answer lists or watches with, and what else goes wrong.
        self.status: dict[str, int] = {}
        self.watch_status: dict[str, int] = {}
        self.garbage: dict[str, bytes] = {}
        self.silent: set[str] = set()
        self.cuts = 0
        # So many pages after the first are too old by the time they are asked for.
        self.expire_pages = 0
        self.seen: list[tuple[str, dict[str, str]]] = []
        # How far its clock is ahead, which version it tells, and what nobody may do.
        self.ahead_s = 0.0
        self.minor = "36"
        self.forbidden: set[tuple[str, str]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass

    # -------------------------------------------------------------- what happens in the cluster

    def put(self, kind: str, *items: dict[str, Any]) -> None:
        with self.changed:
            for item in items:
                key = (item["metadata"].get("namespace", ""), item["metadata"]["name"])
                self._event(kind, "MODIFIED" if key in self.stores[kind].objects else "ADDED", item)
                self.stores[kind].objects[key] = item
            self.changed.notify_all()

    def drop(self, kind: str, name: str, namespace: str = "") -> None:
        with self.changed:
            self._event(kind, "DELETED", self.stores[kind].objects.pop((namespace, name)))
            self.changed.notify_all()

    def bookmark(self, kind: str) -> None:
        with self.changed:
            self._event(kind, "BOOKMARK", {"metadata": {}})
            self.changed.notify_all()

    def compact(self) -> None:
        """Forget what happened, and end all watches: who comes back with an old version is told so."""
        with self.changed:
            self.version += 1000
            for store in self.stores.values():
                store.events.clear()
                store.oldest = self.version
            self.cuts += 1
            self.changed.notify_all()

    def cut(self) -> None:
        """End all watches in the midst of a line."""
        with self.changed:
            self.cuts += 1
            self.changed.notify_all()

    def _event(self, kind: str, what: str, item: dict[str, Any]) -> None:
        self.version += 1
        item["metadata"]["resourceVersion"] = str(self.version)
        _, name, api = next(each for each in KINDS.values() if each[0] == kind)
        event = {"type": what, "object": {"kind": name, "apiVersion": api, **item}}
        self.stores[kind].events.append((self.version, json.loads(json.dumps(event))))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ApiServer  # pyright: ignore[reportIncompatibleVariableOverride]

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it
        pass

    def do_GET(self) -> None:
        split = urlsplit(self.path)
        asked = dict(parse_qsl(split.query))
        if split.path == "/version/":
            told = {"major": "1", "minor": self.server.minor, "gitVersion": f"v1.{self.server.minor}.0"}
            rest = ("gitCommit", "gitTreeState", "buildDate", "goVersion", "compiler", "platform")
            self._send(200, json.dumps(told | dict.fromkeys(rest, "")).encode())
            return
        if split.path not in KINDS:
            self._status(404)
            return
        kind = KINDS[split.path][0]
        self.server.seen.append((kind, asked))
        watching = asked.get("watch", "").lower() == "true"
        refused = (self.server.watch_status if watching else self.server.status).get(kind)
        with suppress(OSError):
            if refused:
                self._status(refused)
            elif kind in self.server.silent:
                while not self.server.closing:
                    time.sleep(0.02)
            elif watching:
                self._watch(kind, asked)
            elif kind in self.server.garbage:
                self._send(200, self.server.garbage[kind])
            else:
                self._list(split.path, asked)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.path.endswith("/selfsubjectaccessreviews"):
            self._status(404)
            return
        asked = body["spec"]["resourceAttributes"]
        allowed = (asked["verb"], asked["resource"]) not in self.server.forbidden
        self._send(201, json.dumps(body | {"status": {"allowed": allowed}}).encode())

    def _send(self, status: int, body: bytes) -> None:
        self.send_response_only(status)
        self.send_header("Date", formatdate(time.time() + self.server.ahead_s, usegmt=True))
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _status(self, code: int) -> None:
        said = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": "Test"}
        self._send(code, json.dumps({**said, "message": f"status {code}"}).encode())

    def _list(self, path: str, asked: dict[str, str]) -> None:
        kind, name, api = KINDS[path]
        if "continue" in asked and self.server.expire_pages:
            self.server.expire_pages -= 1
            self._status(410)
            return
        with self.server.changed:
            store = self.server.stores[kind]
            items = [store.objects[key] for key in sorted(store.objects)] + store.doubles
            version = self.server.version
        start = int(asked.get("continue", "0"))
        limit = int(asked.get("limit", "0")) or len(items)
        meta: dict[str, Any] = {"resourceVersion": str(version)}
        if start + limit < len(items):
            meta |= {"continue": str(start + limit), "remainingItemCount": len(items) - start - limit}
        page = {
            "kind": f"{name}List",
            "apiVersion": api,
            "metadata": meta,
            "items": items[start : start + limit],
        }
        self._send(200, json.dumps(page).encode())

    def _watch(self, kind: str, asked: dict[str, str]) -> None:
        self.send_response_only(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        server, last = self.server, int(asked["resourceVersion"])
        until_s, cuts = time.monotonic() + float(asked["timeoutSeconds"]), server.cuts
        if last < server.stores[kind].oldest:
            gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": f"too old: {last}"}
            self._line({"type": "ERROR", "object": gone})
            self._line(None)
            return
        while True:
            with server.changed:
                fresh = [event for version, event in server.stores[kind].events if version > last]
                last = max(last, server.version)
            for event in fresh:
                if event["type"] != "BOOKMARK" or asked.get("allowWatchBookmarks", "").lower() == "true":
                    self._line(event)
            with server.changed:
                if server.cuts > cuts:
                    self.wfile.write(b'20\r\n{"type":"MODIFIED","obj')
                    self.close_connection = True
                    return
                if time.monotonic() > until_s or server.closing:
                    break
                server.changed.wait(0.05)
        self._line(None)

    def _line(self, event: dict[str, Any] | None) -> None:
        line = b"" if event is None else json.dumps(event).encode() + b"\n"
        self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
        self.wfile.flush()


@contextmanager
def api_server() -> Generator[ApiServer]:
    with ApiServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.closing = True
            with server.changed:
                server.changed.notify_all()
            server.shutdown()
            thread.join()


def api_client(url: str, token: str = "") -> client.ApiClient:
    """A client as `connect` makes it, without a file."""
    settings = client.Configuration()
    settings.host = url
    settings.retries = False
    if token:
        settings.api_key["authorization"] = f"Bearer {token}"
    return client.ApiClient(settings)

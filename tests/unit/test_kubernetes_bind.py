"""Binding against an API server that misbehaves in each way a network can."""

from __future__ import annotations

import json
import re
import threading
import time
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from aicsched.errors import ConfigError, ServeError, SourceUnavailable
from aicsched.extender.app import ExtenderApp
from aicsched.extender.metrics import BINDINGS
from aicsched.extender.snapshot import SnapshotHolder
from aicsched.extender.verbs.bind import BindVerb
from aicsched.fleet.kubernetes.bind import Binding, PodBinder
from tests.extender_kit import Client, judge_bind
from tests.kube_kit import api_client

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

WANTED = Binding(namespace="shop", pod="web-0", uid="6b2e", node="n1")
BODY = {"PodName": "web-0", "PodNamespace": "shop", "PodUID": "6b2e", "Node": "n1"}
PATH = "/api/v1/namespaces/shop/pods/web-0"


def status(code: int, message: str = "") -> tuple[int, bytes]:
    said = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "code": code}
    told = {"status": "Success"} if code < 300 else {"status": "Failure", "message": message}
    return code, json.dumps({**said, **told}).encode()


class Api(ThreadingHTTPServer):
    """Holds one pod, and binds it as told: before or after it answers, or not at all."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.pod: Any = {"metadata": {"name": "web-0", "uid": "6b2e"}, "spec": {}}
        self.binds = True
        self.answer: Callable[[], tuple[int, bytes]] = lambda: status(201)
        self.got: Any = None
        self.asked: list[str] = []

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Api  # pyright: ignore[reportIncompatibleVariableOverride]

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it
        pass

    def do_POST(self) -> None:
        self.server.asked.append(f"POST {self.path}")
        self.server.got = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.server.binds:
            self.server.pod["spec"]["nodeName"] = self.server.got["target"]["name"]
        self.send(*self.server.answer())

    def do_GET(self) -> None:
        self.server.asked.append(f"GET {self.path}")
        if self.server.pod is None:
            self.send(*status(404, 'pods "web-0" not found'))
        elif isinstance(self.server.pod, tuple):
            self.send(*self.server.pod)
        else:
            self.send(200, json.dumps(self.server.pod).encode())

    def send(self, code: int, body: bytes) -> None:
        with suppress(OSError):
            self.send_response_only(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)


@contextmanager
def serving() -> Generator[Api]:
    with Api() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def api() -> Generator[Api]:
    with serving() as server:
        yield server


def binder_of(api: Api, **more: Any) -> PodBinder:
    return PodBinder(api=api_client(f"http://127.0.0.1:{api.server_address[1]}"), **more)


def test_the_binding_names_pod_uid_and_node(api: Api) -> None:
    binder_of(api).bind(WANTED)
    assert api.asked == [f"POST {PATH}/binding"]
    assert api.got["metadata"] == {"name": "web-0", "namespace": "shop", "uid": "6b2e"}
    assert api.got["target"] == {"apiVersion": "v1", "kind": "Node", "name": "n1"}


def test_what_is_bound_to_that_node_already_is_bound(api: Api) -> None:
    api.answer = lambda: status(409, "pod web-0 is already assigned to node n1")
    binder_of(api).bind(WANTED)
    assert api.asked[1:] == [f"GET {PATH}"]


def test_what_is_bound_elsewhere_is_refused(api: Api) -> None:
    api.binds = False
    api.pod["spec"]["nodeName"] = "n9"
    api.answer = lambda: status(409, "pod web-0 is already assigned to node n9")
    with pytest.raises(ServeError, match="it is bound to n9"):
        binder_of(api).bind(WANTED)


def test_another_pod_of_the_same_name_is_not_taken_for_it(api: Api) -> None:
    api.pod = {"metadata": {"uid": "77"}, "spec": {"nodeName": "n1"}}
    api.answer = lambda: status(409, "the UID in the precondition (6b2e) does not match")
    with pytest.raises(ServeError, match="another one now"):
        binder_of(api).bind(WANTED)


def test_a_conflict_without_a_binding_is_no_success(api: Api) -> None:
    api.binds = False
    api.answer = lambda: status(409, "pod web-0 has\nnon-empty  .spec.schedulingGates")
    with pytest.raises(SourceUnavailable, match=r"answered 409: pod web-0 has non-empty .spec"):
        binder_of(api).bind(WANTED)


@pytest.mark.parametrize("code", [500, 502, 503, 504])
def test_a_failure_after_the_deed_is_settled_by_reading_the_pod(api: Api, code: int) -> None:
    api.answer = lambda: status(code, "etcdserver: request timed out")
    binder_of(api).bind(WANTED)
    assert api.asked[1:] == [f"GET {PATH}"]


@pytest.mark.parametrize("code", [400, 422, 429, 500, 503])
def test_a_failure_without_the_deed_is_a_failure(api: Api, code: int) -> None:
    api.binds = False
    api.answer = lambda: status(code, "no")
    with pytest.raises(SourceUnavailable, match=f"answered {code}: no"):
        binder_of(api).bind(WANTED)


def slow() -> tuple[int, bytes]:
    time.sleep(0.6)
    return status(201)


@pytest.mark.parametrize("binds", [True, False])
def test_a_timeout_is_settled_by_reading_the_pod(api: Api, *, binds: bool) -> None:
    api.binds, api.answer = binds, slow
    binder = binder_of(api, read_s=0.2)
    if binds:
        binder.bind(WANTED)
    else:
        with pytest.raises(SourceUnavailable, match="can't be reached"):
            binder.bind(WANTED)


def test_a_page_of_a_proxy_is_no_success(api: Api) -> None:
    api.binds, api.answer = False, lambda: (200, b"<html>please log in</html>")
    with pytest.raises(SourceUnavailable, match="no API server"):
        binder_of(api).bind(WANTED)


def test_a_pod_that_is_gone_can_not_be_bound(api: Api) -> None:
    api.binds, api.pod, api.answer = False, None, lambda: status(404, 'pods "web-0" not found')
    with pytest.raises(ServeError, match='pods "web-0" not found'):
        binder_of(api).bind(WANTED)


def test_who_may_not_bind_is_told_what_right_is_missing(api: Api) -> None:
    api.binds, api.answer = False, lambda: status(403, 'pods "web-0" is forbidden: cannot create')
    with pytest.raises(ConfigError, match="grant create on pods/binding"):
        binder_of(api).bind(WANTED)
    api.answer = lambda: status(401, "Unauthorized")
    with pytest.raises(ConfigError, match="renew it"):
        binder_of(api).bind(WANTED)


def test_what_can_not_be_settled_is_a_failure(api: Api) -> None:
    api.answer, api.pod = (lambda: status(500, "broken")), (500, b"x")
    api.binds = False
    with pytest.raises(SourceUnavailable, match="answered 500: broken"):
        binder_of(api).bind(WANTED)


def test_nobody_there_is_a_failure() -> None:
    with serving() as server:
        binder = binder_of(server)
    with pytest.raises(SourceUnavailable, match="can't be reached"):
        binder.bind(WANTED)


def answer_of(binder: Any) -> Any:
    return json.loads(BindVerb(binder=binder, count=print).answer(json.dumps(BODY).encode()))


def test_the_verb_says_success_for_what_is_bound_only(api: Api) -> None:
    assert answer_of(binder_of(api)) == {"Error": ""}
    assert api.pod["spec"]["nodeName"] == "n1"
    api.pod["spec"].clear()
    api.binds, api.answer = False, lambda: status(500, "broken")
    assert answer_of(binder_of(api))["Error"].startswith("aicsched: pod shop/web-0 to n1: the API server")
    assert "nodeName" not in api.pod["spec"]


class Broken:
    def bind(self, wanted: Any) -> None:
        raise ZeroDivisionError


def bindings_counted(app: Any) -> dict[str, float]:
    text = app.metrics.render(None, 0.0).decode()
    found = re.findall(r'^aicsched_extender_bindings_total\{outcome="(\w+)"\} (\S+)$', text, re.MULTILINE)
    return {outcome: float(count) for outcome, count in found}


class Refusing:
    def __init__(self, error: Any) -> None:
        self.error = error

    def bind(self, wanted: Any) -> None:
        if self.error is not None:
            raise self.error


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (None, "bound"),
        (ServeError("gone"), "refused"),
        (ConfigError("no right"), "forbidden"),
        (SourceUnavailable("down"), "unavailable"),
        (ZeroDivisionError(), "fault"),
    ],
)
def test_what_becomes_of_pods_is_counted(error: Any, outcome: str, caplog: Any) -> None:
    app = ExtenderApp(SnapshotHolder(), binder=Refusing(error))
    assert bindings_counted(app) == dict.fromkeys(BINDINGS, 0.0)
    answer = Client(app).post("/ext/bind", BODY)
    assert (judge_bind(answer) == "") == (error is None)
    assert bindings_counted(app) == dict.fromkeys(BINDINGS, 0.0) | {outcome: 1.0}


def test_a_defect_of_ours_is_no_success(caplog: Any) -> None:
    assert "binding failed (ZeroDivisionError)" in answer_of(Broken())["Error"]
    assert "binding failed" in caplog.text

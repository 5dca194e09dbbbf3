"""The real server in a process of its own, over real sockets."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from aicsched.errors import ConfigError, ServeError
from aicsched.extender.limits import Limits
from aicsched.extender.server import serve_sample
from tests.extender_kit import Answer, args_by_name, args_full, judge_filter, judge_prioritize

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVE = "from aicsched.extender.server import serve_sample; serve_sample(0, host='127.0.0.1')"
# The same server over a snapshot made by hand, with short limits, to try the bounds in little time.
SERVE_STRICT = """
from aicsched.extender.app import ExtenderApp
from aicsched.extender.limits import Limits
from aicsched.extender.server import serve
from aicsched.extender.snapshot import SnapshotHolder
from tests.extender_kit import snapshot_of
holder = SnapshotHolder(snapshot_of({"a": 1.0, "b": 2.0}))
app = ExtenderApp(holder, limits=Limits(read_s=0.3), now_s=lambda: 1000.0)
serve(app, port=0, host="localhost")
"""


class Server:
    def __init__(self, program: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert "listens on http://127.0.0.1:" in line, self.process.communicate(timeout=10)
        self.line = line
        self.port = int(line.split("127.0.0.1:")[1].split()[0])

    def stop(self, kind: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        self.process.send_signal(kind)
        return self.wait()

    def wait(self) -> tuple[int, str]:
        _, complaint = self.process.communicate(timeout=20)
        return self.process.returncode, complaint

    def call(self, method: str, path: str, value: Any = None, connection: Any = None) -> Answer:
        link = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        body = None if value is None else json.dumps(value).encode()
        link.request(method, path, body, {"Content-Type": "application/json"})
        response = link.getresponse()
        answer = Answer(response.status, dict(response.getheaders()), response.read())
        if connection is None:
            link.close()
        return answer


def started(program: str) -> Iterator[Server]:
    server = Server(program)
    yield server
    if server.process.poll() is None:
        server.process.kill()
        server.process.communicate(timeout=10)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    yield from started(SERVE)


@pytest.fixture(scope="module")
def strict() -> Iterator[Server]:
    yield from started(SERVE_STRICT)


def test_the_sample_is_ready_when_it_says_where_it_listens(server: Server) -> None:
    assert "synthetic" in server.line
    assert server.call("GET", "/livez").status == 200
    ready = server.call("GET", "/readyz?verbose")
    assert ready.status == 200
    assert b"[+]warm_up ok" in ready.body


@pytest.mark.parametrize("make", [args_by_name, args_full])
def test_both_verbs_over_one_kept_connection(server: Server, make: Any) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    request = make("north-00", "east-01", "node-0000")
    for _ in range(3):
        judge_filter(request, server.call("POST", "/ext/filter", request, connection))
        scores = judge_prioritize(request, server.call("POST", "/ext/prioritize", request, connection))
        assert scores["north-00"] > scores["node-0000"] > scores["east-01"]
    connection.close()


def test_clients_at_the_same_time(server: Server) -> None:
    request = args_by_name("north-00", "alps-00", "east-00", "texas-00")
    expected = server.call("POST", "/prioritize", request).body

    def client(_: int) -> set[bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        answers = {server.call("POST", "/prioritize", request, connection).body for _ in range(20)}
        connection.close()
        return answers

    with ThreadPoolExecutor(8) as pool:
        assert set().union(*pool.map(client, range(8))) == {expected}


def test_metrics_are_what_prometheus_reads(server: Server) -> None:
    server.call("POST", "/filter", args_by_name("north-00"))
    text = server.call("GET", "/metrics").body.decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    ages = {
        sample.labels["source"]: sample.value for sample in families["aicsched_signal_age_seconds"].samples
    }
    assert any("sample" in source for source in ages)
    assert all(0 <= age < 3600 for age in ages.values())
    assert any(
        sample.labels == {"verb": "filter", "code": "200"}
        for sample in families["aicsched_extender_requests"].samples
    )


def test_a_large_body_arrives_whole(strict: Server) -> None:
    request = args_full(*(f"node-{at:05d}" for at in range(9000)))
    request["Pod"] = {"metadata": {"annotations": {"x": "y" * 2**21}}}
    judge_prioritize(request, strict.call("POST", "/prioritize", request))


def exchange(port: int, *parts: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as link:
        for part in parts:
            link.sendall(part)
        received = b""
        while True:
            try:
                more = link.recv(65536)
            except ConnectionResetError:
                return received
            if not more:
                return received
            received += more


def test_a_head_that_never_ends_is_dropped(strict: Server) -> None:
    assert exchange(strict.port, b"POST /filter HTTP/1.1\r\n", b"X-Y: " + b"y" * 40_000) == b""


@pytest.mark.parametrize("part", [b"", b"POST /filter HT", b"POST /filter HTTP/1.1\r\nHost: a\r\n"])
def test_a_head_that_takes_too_long_is_dropped(strict: Server, part: bytes) -> None:
    assert exchange(strict.port, part) == b""


def test_a_body_that_takes_too_long_is_answered_and_dropped(strict: Server) -> None:
    head = (
        b"POST /filter HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    )
    assert exchange(strict.port, head).startswith(b"HTTP/1.1 408")


def test_a_kept_connection_outlives_the_clock_of_its_heads(strict: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", strict.port, timeout=20)
    assert strict.call("GET", "/livez", None, connection).status == 200
    link = connection.sock
    link.settimeout(0.4)  # longer than the 0.3 s that a head may take: an idle connection is no slow head
    with pytest.raises(TimeoutError):
        link.recv(1)
    link.settimeout(20)
    assert strict.call("GET", "/livez", None, connection).status == 200
    assert connection.sock is link
    connection.close()


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_stop_ends_in_success_and_silence(kind: signal.Signals) -> None:
    server = Server(SERVE_STRICT)
    kept = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    assert server.call("GET", "/livez", None, kept).status == 200
    assert server.stop(kind) == (0, "")
    kept.close()


def test_a_request_under_way_is_answered_before_the_end() -> None:
    server = Server(SERVE_STRICT)
    body = json.dumps(args_by_name("a", "b")).encode()
    head = f"POST /filter HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as link:
        link.sendall(head + body[:10])
        server.call("GET", "/livez")  # answered after the head was taken in: the request is under way
        server.process.send_signal(signal.SIGTERM)
        link.sendall(body[10:])
        assert link.recv(65536).startswith(b"HTTP/1.1 200")
    assert server.wait()[0] == 0


def test_a_port_in_use_is_said_in_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            ServeError, match=f"port {port} on 127.0.0.1 can't be listened on: address already in use"
        ):
            serve_sample(port)
    assert ServeError.exit_code == 3


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", ""])
def test_plain_http_is_for_loopback_only(host: str) -> None:
    with pytest.raises(ConfigError, match="no loopback address"):
        serve_sample(0, host=host)


def test_a_port_out_of_range_is_refused() -> None:
    with pytest.raises(ConfigError, match="port 70000"):
        serve_sample(70000)


def test_defaults_of_the_limits_hold_the_rules() -> None:
    limits = Limits()
    assert (limits.body_bytes, limits.requests, limits.read_s) == (64 * 2**20, 64, 2.0)
    assert limits.idle_s > 90  # Go's client drops a connection after 90 s: it must always be the first

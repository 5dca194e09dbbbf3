"""Clients as rude as they come, against the real server over real sockets."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import signal
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.extender_kit import Answer, args_by_name, args_full, judge_filter, judge_prioritize
from tests.trust_kit import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

REQUEST = args_by_name("a", "b")
BODY = json.dumps(REQUEST).encode()
LIMITS = {"read_s": 0.5, "write_s": 0.5, "connections": 40, "body_bytes": 2**20}


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with ServerProcess(limits=LIMITS, probes_port=0) as started:
        yield started


@contextlib.contextmanager
def dial(server: ServerProcess) -> Generator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as link:
        yield link


def read_all(link: socket.socket) -> bytes:
    received = b""
    while True:
        try:
            more = link.recv(65536)
        except ConnectionResetError:
            return received
        if not more:
            return received
        received += more


def read_answer(link: socket.socket) -> Answer:
    """Read one answer by its content-length, and no byte more."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = link.recv(1)
        assert byte, head
        head += byte
    lines = head.split(b"\r\n")
    headers = dict(line.split(b": ", 1) for line in lines[1:] if line)
    body = b""
    while len(body) < int(headers[b"content-length"]):
        body += link.recv(int(headers[b"content-length"]) - len(body))
    return Answer(int(lines[0].split()[1]), headers, body)


def post(
    path: str = "/prioritize", body: bytes = BODY, *, length: int | None = None, more: str = ""
) -> bytes:
    size = len(body) if length is None else length
    return f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n{more}\r\n".encode() + body


def chunked(body: bytes, size: int) -> bytes:
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def still_serves(server: ServerProcess) -> None:
    judge_prioritize(REQUEST, server.call("POST", "/prioritize", REQUEST))


# ---------------------------------------------------------------- ways to send a body


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_chunked_bodies(server: Any, size: Any) -> None:
    head = b"POST /prioritize HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    with dial(server) as link:
        link.sendall(head + chunked(BODY, size))
        judge_prioritize(REQUEST, read_answer(link))


def test_a_chunked_body_without_end_is_cut_at_the_limit(server: Any) -> None:
    head = b"POST /filter HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    with dial(server) as link:
        link.sendall(head)
        with contextlib.suppress(ConnectionError):  # it is cut off while we send
            for _ in range(2 * LIMITS["body_bytes"] // 65536):
                link.sendall(b"10000\r\n" + b" " * 65536 + b"\r\n")
        assert read_all(link)[:12] in {b"HTTP/1.1 413", b""}
    still_serves(server)


def test_expect_100_continue(server: Any) -> None:
    with dial(server) as link:
        link.sendall(post(body=b"", length=len(BODY), more="Expect: 100-continue\r\n"))
        assert link.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        link.sendall(BODY)
        judge_prioritize(REQUEST, read_answer(link))
    with dial(server) as link:  # what would be refused anyway isn't asked for
        link.sendall(post(body=b"", length=2**40, more="Expect: 100-continue\r\n"))
        assert read_all(link).startswith(b"HTTP/1.1 413")


def test_a_packed_body_is_refused(server: Any) -> None:
    with dial(server) as link:
        link.sendall(post(body=gzip.compress(BODY), more="Content-Encoding: gzip\r\n"))
        answer = read_answer(link)
    assert answer.status == 415
    assert answer.headers[b"accept-encoding"] == b"identity"


def test_pipelined_requests_are_answered_in_order(server: Any) -> None:
    offers = [args_by_name("a", "b", f"n{at}") for at in range(12)]
    with dial(server) as link:
        link.sendall(b"".join(post(body=json.dumps(offer).encode()) for offer in offers))
        for offer in offers:
            judge_prioritize(offer, read_answer(link))


def test_a_pipeline_without_end_is_cut(server: Any) -> None:
    with dial(server) as link:
        link.sendall(post() * 1000)
        assert read_all(link).count(b"HTTP/1.1 200") < 1000
    still_serves(server)


# ---------------------------------------------------------------- what is no request of ours


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /prioritize HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (b"DELETE /filter HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        (b"POST http://elsewhere/nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 404),
        (b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /%ff%00 HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        (b"GET /../../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        (b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"POST /filter HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /filter HTTP/1.1\r\nHost: a\r\nContent-Length: 1e9\r\n\r\n", 400),
        (b"POST /filter HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", 400),
        (b"POST /filter HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST /filter HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n", 200),
        (b"GET /livez HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n", 200),
    ],
)
def test_each_is_refused_by_status(server: Any, sent: Any, status: Any) -> None:
    with dial(server) as link:
        link.sendall(sent)
        link.settimeout(2)
        assert link.recv(65536).split(b" ")[1] == str(status).encode()
    still_serves(server)


@pytest.mark.parametrize("path", ["/livez", "/metrics", "/prioritize"])
def test_head_has_no_body(server: Any, path: Any) -> None:
    with dial(server) as link:
        link.sendall(f"HEAD {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        head, _, body = read_all(link).partition(b"\r\n\r\n")
    assert head.split(b" ")[1] == (b"405" if path == "/prioritize" else b"200")
    assert body == b""


def test_http_1_0_is_answered_and_closed(server: Any) -> None:
    with dial(server) as link:
        link.sendall(b"GET /livez HTTP/1.0\r\n\r\n")
        assert read_all(link).endswith(b"ok\n")


def test_a_huge_header_is_cut_off(server: Any) -> None:
    with dial(server) as link:
        with contextlib.suppress(ConnectionError):
            link.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\n" + b"X-Y: " + b"y" * 2**20)
        assert read_all(link) == b""
    with dial(server) as link:
        link.sendall(
            b"GET /livez HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % at for at in range(3000)) + b"\r\n"
        )
        assert read_all(link)[:12] in {b"HTTP/1.1 431", b""}


# ---------------------------------------------------------------- slow, half and vanished clients


def test_slow_senders_neither_stay_nor_get_in_the_way(server: Any) -> None:
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(dial(server)) for _ in range(20)]
        begun_s = time.monotonic()
        for at in range(8):  # a byte now and then doesn't keep a connection alive
            for link in slow:
                with contextlib.suppress(ConnectionError):
                    link.send(b"POST /filter"[at : at + 1])
            still_serves(server)
            time.sleep(0.09)
        assert all(read_all(link) == b"" for link in slow)
        assert time.monotonic() - begun_s < 5


def test_a_half_closed_connection_gets_its_answer(server: Any) -> None:
    for path in ("/prioritize", "/slow"):  # whether it is there at once or not
        with dial(server) as link:
            link.sendall(post(path))
            link.shutdown(socket.SHUT_WR)
            assert read_all(link).startswith(b"HTTP/1.1 200")
    with dial(server) as link:  # half a request isn't waited for
        link.sendall(post()[:-5])
        link.shutdown(socket.SHUT_WR)
        assert read_all(link) == b""


def test_a_client_that_does_not_read_is_dropped(server: Any) -> None:
    offer = json.dumps(args_full(*(f"node-{at:06d}" for at in range(9000)))).encode()
    assert len(offer) < LIMITS["body_bytes"]
    with socket.socket() as link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        link.settimeout(10)
        link.connect(("127.0.0.1", server.port))
        with contextlib.suppress(ConnectionError):
            for _ in range(12):  # more answers than the kernel keeps for us
                link.sendall(post("/filter", offer))
        time.sleep(1.2)
        assert len(read_all(link)) < 12 * len(offer)
    still_serves(server)


def test_clients_that_vanish_leave_nothing_behind(server: Any) -> None:
    descriptors = Path(f"/proc/{server.process.pid}/fd")
    if not descriptors.exists():
        pytest.skip("descriptors can't be counted here")
    still_serves(server)
    before = len(list(descriptors.iterdir()))
    for sent in (b"", b"POST /fil", post()[:-3], post(), post() * 3):
        for _ in range(20):
            link = socket.create_connection(("127.0.0.1", server.port), timeout=10)
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # reset, not close
            link.sendall(sent)
            link.close()
    still_serves(server)
    time.sleep(0.1)
    assert len(list(descriptors.iterdir())) <= before


def test_connections_at_a_time_are_bounded_and_probes_still_answer(server: Any) -> None:
    time.sleep(0.1)  # for connections of other tests to be gone
    with contextlib.ExitStack() as stack:
        links = [stack.enter_context(dial(server)) for _ in range(50)]
        answered = 0
        for link in links:
            with contextlib.suppress(ConnectionError):
                link.sendall(post())
                answered += link.recv(65536).startswith(b"HTTP/1.1 200")
        assert answered == 40
        assert server.metrics()["aicsched_extender_requests_total", "200", "prioritize"] >= 40
    time.sleep(0.1)
    still_serves(server)


# ---------------------------------------------------------------- the end


def test_probes_may_be_reached_where_verbs_are_not() -> None:
    with ServerProcess(probes_port=0, probes_host="0.0.0.0") as server:
        # Another address of this machine, as a kubelet and Prometheus call by one.
        link = http.client.HTTPConnection("127.0.0.2", server.probes_port, timeout=10)
        link.request("GET", "/livez")
        assert link.getresponse().status == 200
        link.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", server.port), timeout=10)
        assert server.call("POST", "/prioritize", REQUEST).status == 200


def test_sigterm_settles_then_drains_then_ends() -> None:
    with ServerProcess(limits={"settle_s": 1.0}, probes_port=0) as server:
        kept, resting = server.link(), server.link()
        for link in (kept, resting):
            assert b"connection" not in server.call("POST", "/prioritize", REQUEST, link=link).headers
        server.process.send_signal(signal.SIGTERM)
        begun_s = time.monotonic()
        while server.call("GET", "/readyz").status != 503:
            assert time.monotonic() - begun_s < 5
        # Still serving, old connections and new ones, but each is told to come back elsewhere.
        for link in (kept, None):
            answer = server.call("POST", "/filter", REQUEST, link=link)
            judge_filter(REQUEST, answer)
            assert answer.headers[b"connection"] == b"close"
        assert server.metrics()["aicsched_extender_requests_total", "200", "filter"] == 2
        assert server.wait() == (0, "")
        assert 0.9 < time.monotonic() - begun_s < 4
        kept.close()
        resting.close()


def test_a_request_that_hangs_is_cut_off_after_the_drain() -> None:
    with ServerProcess(limits={"drain_s": 0.2, "read_s": 30}) as server, dial(server) as link:
        link.sendall(post()[:-3])
        assert server.call("GET", "/livez").status == 200
        begun_s = time.monotonic()
        assert server.stop()[0] == 0
        assert time.monotonic() - begun_s < 5


def test_an_answer_under_way_comes_before_the_end() -> None:
    with ServerProcess() as server, dial(server) as link:
        link.sendall(post("/slow"))
        assert server.call("GET", "/livez").status == 200
        server.process.send_signal(signal.SIGTERM)
        assert read_answer(link).body == BODY
        assert server.wait() == (0, "")


def test_a_second_signal_ends_at_once() -> None:
    with ServerProcess(limits={"settle_s": 60}) as server:
        server.process.send_signal(signal.SIGTERM)
        while server.call("GET", "/readyz").status != 503:
            time.sleep(0.01)
        assert server.stop(signal.SIGINT)[0] == -signal.SIGINT


def test_a_person_at_a_terminal_does_not_wait() -> None:
    with ServerProcess(limits={"settle_s": 60}) as server:
        begun_s = time.monotonic()
        assert server.stop(signal.SIGINT) == (0, "")
        assert time.monotonic() - begun_s < 5

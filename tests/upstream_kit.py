"""An upstream on this machine, for tests: an API made up in a few lines, and ways to misbehave."""

from __future__ import annotations

import gzip
import io
import json
import socket
import struct
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from aicsched.signals.transport import Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

# As in earnest, only smaller: for upstreams that are slow on purpose, the longest try takes a second.
QUICK = Limits(connect_s=0.5, read_s=0.4, total_s=1.0, response_bytes=200_000)
# For all others, so that a busy machine isn't taken for a slow upstream.
SMALL = Limits(response_bytes=200_000)
HTML = b"<!doctype html><html><form action=/login>Please sign in</form></html>"


@dataclass(frozen=True)
class Request:
    """What was asked."""

    path: str
    params: dict[str, str]
    headers: dict[str, str]


@dataclass(frozen=True)
class Reply:
    """What an API answers when it is well."""

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


def json_reply(value: Any, status: int = 200, **headers: str) -> Reply:
    return Reply(json.dumps(value).encode(), status, {"Content-Type": "application/json", **headers})


class VirtualClock:
    """A clock that only waits move."""

    def __init__(self, now_s: float = 1_750_000_000.0) -> None:
        self.time_s = now_s
        self.waits: list[float] = []

    def now_s(self) -> float:
        return self.time_s

    def monotonic_s(self) -> float:
        return self.time_s

    def sleep(self, duration_s: float) -> None:
        self.waits.append(duration_s)
        self.time_s += duration_s


class Handler(BaseHTTPRequestHandler):
    server: Upstream  # pyright: ignore[reportIncompatibleVariableOverride]

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it
        pass

    def do_GET(self) -> None:
        split = urlsplit(self.path)
        request = Request(
            split.path,
            dict(parse_qsl(split.query)),
            {name.lower(): value for name, value in self.headers.items()},
        )
        self.server.seen.append(request)
        self.close_connection = True
        # A client that has had enough hangs up; that is what some tests are for.
        with suppress(OSError):
            self.server.behave(self, self.server.api(request))

    def send(self, reply: Reply) -> None:
        headers = {
            "Date": formatdate(self.server.time_s(), usegmt=True),
            "Content-Length": str(len(reply.body)),
            **reply.headers,
        }
        self.head(reply.status, headers)
        self.wfile.write(reply.body)

    def head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def drip(self, content: bytes) -> None:
        """Send byte by byte, each well within any limit on a wait for bytes."""
        for at in range(len(content)):
            self.wfile.write(content[at : at + 1])
            self.wfile.flush()
            if self.server.closing.wait(0.05):
                return


class Upstream(ThreadingHTTPServer):
    daemon_threads = False  # closing waits for all answers under way, which end when `closing` is set
    request_queue_size = 128

    def __init__(self, api: Callable[[Request], Reply]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.api = api
        self.behave: Callable[[Handler, Reply], None] = well
        self.time_s: Callable[[], float] = time.time
        self.seen: list[Request] = []
        self.closing = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


@contextmanager
def upstream(
    api: Callable[[Request], Reply], behave: Callable[[Handler, Reply], None] | None = None
) -> Generator[Upstream]:
    with Upstream(api) as server:
        server.behave = behave or well
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            server.shutdown()
            thread.join()


# ------------------------------------------------------------------ ways to behave


def well(handler: Handler, reply: Reply) -> None:
    handler.send(reply)


def silent(handler: Handler, reply: Reply) -> None:
    handler.server.closing.wait(5)


def hang_up(handler: Handler, reply: Reply) -> None:
    pass


def slow_headers(handler: Handler, reply: Reply) -> None:
    handler.drip(b"HTTP/1.1 200 OK\r\n" + b"X-Wait: more\r\n" * 50)


def bad_headers(handler: Handler, reply: Reply) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nno header at all\r\n\r\n{}")


def slow_body(handler: Handler, reply: Reply) -> None:
    handler.head(200, {**reply.headers, "Content-Length": str(len(reply.body) + 1000)})
    handler.drip(reply.body + b" " * 1000)


def slow_chunks(handler: Handler, reply: Reply) -> None:
    handler.head(200, {**reply.headers, "Transfer-Encoding": "chunked"})
    handler.drip(b"1\r\n \r\n" * 200)


def status(code: int, **headers: str) -> Callable[[Handler, Reply], None]:
    def behave(handler: Handler, reply: Reply) -> None:
        said = {"error": f"status {code}", "token": handler.headers.get("auth-token", "")}
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        handler.send(json_reply(said, code, **given))

    return behave


def html(handler: Handler, reply: Reply) -> None:
    handler.send(Reply(HTML, headers={"Content-Type": "text/html; charset=utf-8"}))


def html_as_json(handler: Handler, reply: Reply) -> None:
    handler.send(replace(reply, body=HTML))


def octets(handler: Handler, reply: Reply) -> None:
    handler.send(replace(reply, headers={"Content-Type": "application/octet-stream"}))


def truncated(handler: Handler, reply: Reply) -> None:
    handler.head(200, {**reply.headers, "Content-Length": str(len(reply.body) + 100)})
    handler.wfile.write(reply.body)


def truncated_chunks(handler: Handler, reply: Reply) -> None:
    handler.head(200, {**reply.headers, "Transfer-Encoding": "chunked"})
    handler.wfile.write(b"%x\r\n" % (len(reply.body) + 100) + reply.body)


def half(handler: Handler, reply: Reply) -> None:
    handler.send(replace(reply, body=reply.body[: len(reply.body) // 2]))


def huge(handler: Handler, reply: Reply) -> None:
    handler.head(200, {**reply.headers, "Content-Length": str(10**12)})
    _pour(handler)


def huge_unsaid(handler: Handler, reply: Reply) -> None:
    handler.head(200, reply.headers)
    _pour(handler)


def _pour(handler: Handler) -> None:
    while not handler.server.closing.is_set():
        handler.wfile.write(b" " * 100_000)


def packed(handler: Handler, reply: Reply) -> None:
    handler.send(Reply(gzip.compress(reply.body), headers={**reply.headers, "Content-Encoding": "gzip"}))


@cache
def _bomb() -> bytes:
    """Pack 200 MB into 200 kB."""
    made = io.BytesIO()
    with gzip.GzipFile(fileobj=made, mode="wb", compresslevel=6) as file:
        for _ in range(200):
            file.write(b" " * 1_000_000)
    return made.getvalue()


def bomb(handler: Handler, reply: Reply) -> None:
    handler.send(Reply(_bomb()[:190_000], headers={**reply.headers, "Content-Encoding": "gzip"}))


def half_packed(handler: Handler, reply: Reply) -> None:
    content = gzip.compress(reply.body)
    headers = {**reply.headers, "Content-Encoding": "gzip"}
    handler.send(Reply(content[: len(content) // 2], headers=headers))


def badly_packed(handler: Handler, reply: Reply) -> None:
    handler.send(replace(reply, headers={**reply.headers, "Content-Encoding": "gzip"}))


def strangely_packed(handler: Handler, reply: Reply) -> None:
    handler.send(replace(reply, headers={**reply.headers, "Content-Encoding": "br"}))


def reset_midway(handler: Handler, reply: Reply) -> None:
    handler.head(200, {**reply.headers, "Content-Length": str(len(reply.body))})
    handler.wfile.write(reply.body[: len(reply.body) // 2])
    handler.wfile.flush()
    time.sleep(0.05)
    # No more than the half gets there: lingering for no time sends a reset.
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()


def no_http(handler: Handler, reply: Reply) -> None:
    handler.wfile.write(b"\x00\xff SSH-2.0-OpenSSH\r\n\r\n")


def body(content: bytes) -> Callable[[Handler, Reply], None]:
    def behave(handler: Handler, reply: Reply) -> None:
        handler.send(replace(reply, body=content))

    return behave


def utf_16(handler: Handler, reply: Reply) -> None:
    said = {**reply.headers, "Content-Type": "application/json; charset=utf-16"}
    handler.send(Reply(reply.body.decode().encode("utf-16"), headers=said))


def no_utf_8(handler: Handler, reply: Reply) -> None:
    handler.send(replace(reply, body=reply.body.replace(b'"', b'"\xff\xfe', 1)))


def dated(offset_s: float) -> Callable[[Handler, Reply], None]:
    def behave(handler: Handler, reply: Reply) -> None:
        date = formatdate(handler.server.time_s() + offset_s, usegmt=True)
        handler.send(replace(reply, headers={**reply.headers, "Date": date}))

    return behave


def redirect(target: str, code: int = 302) -> Callable[[Handler, Reply], None]:
    def behave(handler: Handler, reply: Reply) -> None:
        handler.send(Reply(b"", code, {"Location": target}))

    return behave


def after_failing(
    times: int, how: Callable[[Handler, Reply], None], then: Callable[[Handler, Reply], None] = well
) -> Callable[[Handler, Reply], None]:
    """Misbehave a few times, then be well, or the other way round."""
    left = [times]

    def behave(handler: Handler, reply: Reply) -> None:
        left[0] -= 1
        (how if left[0] >= 0 else then)(handler, reply)

    return behave


# Packing takes longer than a client waits: it is done beforehand.
_bomb()

"""The extender as a bare ASGI application: routes, limits and probes.

A framework would add a tenth of a millisecond and a dependency to two verbs. What
a hostile or broken client may cost is bounded here: bytes per body and over all
bodies, requests at a time, seconds per body, bytes of headers.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

import msgspec

from aicsched.errors import BodyTooLarge, MalformedBody
from aicsched.extender.handlers import Handlers
from aicsched.extender.limits import Limits
from aicsched.extender.metrics import METRICS_CONTENT_TYPE, ExtenderMetrics

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from aicsched.extender.snapshot import SnapshotHolder

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    Scope = MutableMapping[str, Any]

__all__ = ["ExtenderApp", "ProbesApp"]

_READ: Final = "GET, HEAD"
_WRITE: Final = "POST"
_JSON: Final = b"application/json"
_TEXT: Final = b"text/plain; charset=utf-8"


class _Refused(Exception):
    """An HTTP answer other than 200, with its reason."""

    def __init__(self, status: int, code: str, message: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers
        self.body = msgspec.json.encode({"code": code, "error": message})


class _Gone(Exception):
    """The client hung up: there is nobody to answer."""


class ProbesApp:
    """Answers ``/livez``, ``/readyz`` and ``/metrics``, on a port of its own where asked.

    Parameters
    ----------
    holder : SnapshotHolder
        Gives the snapshot that readiness and ages are told from.
    metrics : ExtenderMetrics
        What ``/metrics`` shows.
    now_s : callable
        The clock: seconds since the epoch.
    """

    def __init__(
        self, holder: SnapshotHolder, *, metrics: ExtenderMetrics, now_s: Callable[[], float] = time.time
    ) -> None:
        self.holder = holder
        self.metrics = metrics
        self.now_s = now_s
        self._warm = False
        self._draining = False

    def mark_warm(self) -> None:
        """Say that warm-up is done: readiness may turn true."""
        self._warm = True

    def start_draining(self) -> None:
        """Turn readiness off for good, while requests are still answered."""
        self._draining = True

    def checks(self) -> dict[str, bool]:
        """Tell what readiness depends on; a stale snapshot doesn't count, its answers are neutral.

        Returns
        -------
        dict of str to bool
            ``snapshot``, ``warm_up`` and ``not_draining``.
        """
        return {
            "snapshot": self.holder.current is not None,
            "warm_up": self._warm,
            "not_draining": not self._draining,
        }

    def probe(self, path: str) -> tuple[int, bytes, bytes] | None:
        """Answer a probe.

        Parameters
        ----------
        path : str
            Of the request.

        Returns
        -------
        tuple of int, bytes, bytes or None
            Status, content type and body; None when the path is no probe.
        """
        if path == "/livez":
            return 200, _TEXT, b"ok\n"
        if path == "/readyz":
            checks = self.checks()
            ready = all(checks.values())
            lines = [
                f"[{'+' if fine else '-'}]{name} {'ok' if fine else 'failed'}"
                for name, fine in checks.items()
            ]
            lines.append(f"readyz check {'passed' if ready else 'failed'}")
            return 200 if ready else 503, _TEXT, ("\n".join(lines) + "\n").encode()
        if path == "/metrics":
            return 200, METRICS_CONTENT_TYPE.encode(), self.metrics.render(self.holder.current, self.now_s())
        return None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Speak ASGI."""
        del receive
        if scope["type"] == "http":
            await _send(send, *_answer_probe(self, scope))


def _answer_probe(app: ProbesApp, scope: Scope) -> tuple[int, bytes, bytes, tuple[tuple[bytes, bytes], ...]]:
    answer = app.probe(scope["path"])
    if answer is None:
        refused = _Refused(404, "not-found", "no such path here; filter and prioritize are the verbs offered")
        return refused.status, _JSON, refused.body, ()
    if scope["method"] not in {"GET", "HEAD"}:
        refused = _method_not_allowed(_READ)
        return refused.status, _JSON, refused.body, refused.headers
    status, kind, body = answer
    return status, kind, b"" if scope["method"] == "HEAD" else body, ()


def _method_not_allowed(allowed: str) -> _Refused:
    return _Refused(405, "method-not-allowed", f"use {allowed}", (b"allow", allowed.encode()))


async def _send(
    send: Send, status: int, kind: bytes, body: bytes, headers: tuple[tuple[bytes, bytes], ...] = ()
) -> None:
    head = [(b"content-type", kind), (b"content-length", str(len(body)).encode()), *headers]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})


class ExtenderApp(ProbesApp):
    """Answers filter and prioritize under any prefix, and the probes.

    Parameters
    ----------
    holder : SnapshotHolder
        Gives the snapshot that answers are made from.
    metrics : ExtenderMetrics, optional
        Where answers are counted; new ones by default.
    limits : Limits
        What a client may cost.
    now_s : callable
        The clock: seconds since the epoch.
    """

    def __init__(
        self,
        holder: SnapshotHolder,
        *,
        metrics: ExtenderMetrics | None = None,
        limits: Limits | None = None,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(holder, metrics=metrics or ExtenderMetrics(), now_s=now_s)
        self.limits = limits or Limits()
        self.handlers = Handlers(holder, self.metrics, now_s)
        self._verbs: dict[str, Callable[[bytes], bytes]] = {
            "filter": self.handlers.filter,
            "prioritize": self.handlers.prioritize,
        }
        self._in_flight = 0
        self._buffered_bytes = 0

    def warm_up(self) -> None:
        """Run the hot path once, then allow readiness."""
        self.handlers.warm_up()
        self.mark_warm()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Speak ASGI."""
        if scope["type"] != "http":
            return
        verb = scope["path"].rstrip("/").rpartition("/")[2]
        if verb in self._verbs:
            await self._serve_verb(verb, scope, receive, send)
        else:
            await _send(send, *_answer_probe(self, scope))

    async def _serve_verb(self, verb: str, scope: Scope, receive: Receive, send: Send) -> None:
        begun_s = time.perf_counter()
        try:
            status, body, headers = 200, await self._answer(verb, scope, receive), ()
        except _Refused as refused:
            status, body, headers = refused.status, refused.body, refused.headers
        except _Gone:
            return
        self.metrics.answered(verb, status, time.perf_counter() - begun_s)
        await _send(send, status, _JSON, body, headers)

    async def _answer(self, verb: str, scope: Scope, receive: Receive) -> bytes:
        if self._in_flight >= self.limits.requests:
            raise _Refused(503, "busy", "too many requests at a time", (b"retry-after", b"1"))
        self._in_flight += 1
        try:
            _check_head(scope, self.limits)
            return self._verbs[verb](await self._read_body(receive))
        except MalformedBody as error:
            raise _Refused(400, error.code, str(error)) from error
        except BodyTooLarge as error:
            raise _Refused(413, error.code, str(error), (b"connection", b"close")) from error
        finally:
            self._in_flight -= 1

    async def _read_body(self, receive: Receive) -> bytes:
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self.limits.read_s):
                while True:
                    chunk, more = await _next_chunk(receive)
                    chunks.append(chunk)
                    size += len(chunk)
                    self._buffered_bytes += len(chunk)
                    self._check_size(size)
                    if not more:
                        break
        except TimeoutError as error:
            msg = f"the body did not arrive within {self.limits.read_s:g} s"
            raise _Refused(408, "too-slow", msg, (b"connection", b"close")) from error
        finally:
            self._buffered_bytes -= size
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _check_size(self, size: int) -> None:
        if size > self.limits.body_bytes:
            raise _too_large(size, self.limits)
        if self._buffered_bytes > self.limits.buffered_bytes:
            raise _Refused(503, "busy", "too many bytes at a time", (b"connection", b"close"))


async def _next_chunk(receive: Receive) -> tuple[bytes, bool]:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise _Gone
    return message.get("body", b""), message.get("more_body", False)


def _check_head(scope: Scope, limits: Limits) -> None:
    """Refuse what can be refused before the body is read."""
    if scope["method"] != "POST":
        raise _method_not_allowed(_WRITE)
    size = 0
    for name, value in scope["headers"]:
        size += len(name) + len(value)
        if name == b"content-type" and value.partition(b";")[0].strip().lower() != _JSON:
            raise _Refused(415, "unsupported-media-type", "send application/json")
        if name == b"content-length" and value.isdigit() and int(value[:20]) > limits.body_bytes:
            raise _too_large(int(value[:20]), limits)
    if size > limits.header_bytes:
        raise _Refused(431, "headers-too-large", "the headers are too large", (b"connection", b"close"))


def _too_large(size: int, limits: Limits) -> BodyTooLarge:
    msg = f"a body of at least {size} bytes is over the limit of {limits.body_bytes}"
    return BodyTooLarge(msg, hint="set nodeCacheCapable: true, so that names are sent", value=size)

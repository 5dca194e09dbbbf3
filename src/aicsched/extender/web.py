"""Routes as a bare ASGI application, with bounds on what a client may cost.

A framework would add a tenth of a millisecond and a dependency to a few verbs. What
a hostile or broken client may cost is bounded here: bytes per body and over all
bodies, requests at a time, seconds per body, bytes of headers.
"""

from __future__ import annotations

import asyncio
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from aicsched.errors import BodyTooLarge, MalformedBody
from aicsched.extender.limits import Limits
from aicsched.extender.routes import JSON, Reply, Request, RouteTable
from aicsched.observe import get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, MutableMapping

    from aicsched.extender.probes import Probes
    from aicsched.extender.routes import Route

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    Scope = MutableMapping[str, Any]
    Headers = tuple[tuple[bytes, bytes], ...]

__all__ = ["RoutedApp", "ServedApp", "refusal", "send_reply"]

_CLOSE: Final = (b"connection", b"close")
_PLAIN: Final = frozenset({b"", b"identity"})
_log = get_logger("extender")


class ServedApp(Protocol):
    """What `aicsched.extender.server.serve` serves: an ASGI app that can be warmed up and drained.

    `RoutedApp` is all of it but `warm_up`.
    """

    limits: Limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Speak ASGI."""
        ...

    @property
    def probes_app(self) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
        """The ASGI app for a port of the probes' own."""
        ...

    def warm_up(self) -> None:
        """Run what the first request would wait for."""
        ...

    def start_draining(self) -> None:
        """Turn readiness off, while requests are still answered."""
        ...


class _Refused(Exception):
    """An HTTP answer other than 200, with its reason."""

    def __init__(self, status: int, code: str, message: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(message)
        self.reply = refusal(status, code, message)
        self.headers = headers


class _Gone(Exception):
    """The client hung up: there is nobody to answer."""


def refusal(status: int, code: str, message: str) -> Reply:
    """Make the JSON of a refusal.

    Parameters
    ----------
    status : int
        Of HTTP.
    code : str
        For programs: a stable word.
    message : str
        For people.

    Returns
    -------
    Reply
        ``{"code": …, "error": …}``.
    """
    return Reply(msgspec.json.encode({"code": code, "error": message}), status)


async def send_reply(send: Send, reply: Reply, headers: Headers = (), *, bodiless: bool = False) -> None:
    """Send a reply over ASGI.

    Parameters
    ----------
    send : callable
        Of ASGI.
    reply : Reply
        What to send.
    headers : tuple of pairs of bytes
        More than type and length.
    bodiless : bool
        True for an answer to HEAD.
    """
    head = [
        (b"content-type", reply.kind),
        (b"content-length", str(len(reply.body)).encode()),
        *headers,
    ]
    await send({"type": "http.response.start", "status": reply.status, "headers": head})
    await send({"type": "http.response.body", "body": b"" if bodiless else reply.body})


class RoutedApp:
    """Answers routes and probes, within limits: the base of every server of ours.

    Parameters
    ----------
    routes : iterable of Route
        More can be added to `routes` before the app is served.
    probes : Probes
        Answered here too, and alone by `probes_app`.
    answered : callable
        Told a route's name, the status and the seconds from the head to the answer, for
        every answer but the probes'.
    limits : Limits
        What a client may cost.
    """

    def __init__(
        self,
        routes: Iterable[Route],
        *,
        probes: Probes,
        answered: Callable[[str, int, float], None],
        limits: Limits | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self.probes = probes
        self.routes = RouteTable([*probes.routes(), *routes])
        self._unbounded = frozenset(route.name for route in probes.routes())
        self._answered = answered
        self._in_flight = 0
        self._buffered_bytes = 0

    @property
    def probes_app(self) -> RoutedApp:
        """The ASGI app for a port of the probes' own."""
        return RoutedApp((), probes=self.probes, answered=self._answered, limits=self.limits)

    def start_draining(self) -> None:
        """Turn readiness off for good, while requests are still answered."""
        self.probes.start_draining()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Speak ASGI."""
        if scope["type"] != "http":
            return
        found = self.routes.find(scope["path"])
        if found is None:
            await send_reply(send, refusal(404, "not-found", "there is no such path here"))
            return
        route, parts = found
        begun_s = time.perf_counter()
        headers: Headers = ()
        try:
            reply = await self._reply(route, parts, scope, receive)
        except _Refused as refused:
            reply, headers = refused.reply, refused.headers
        except _Gone:
            return
        if route.refused is not None and reply.status >= HTTPStatus.BAD_REQUEST:
            reply = route.refused(reply)
        if route.name not in self._unbounded:
            self._answered(route.name, reply.status, time.perf_counter() - begun_s)
        await send_reply(send, reply, headers, bodiless=scope["method"] == "HEAD")

    async def _reply(self, route: Route, parts: tuple[str, ...], scope: Scope, receive: Receive) -> Reply:
        if route.name in self._unbounded:
            # A kubelet that is refused for too many requests at a time would kill a busy server.
            _check_head(route, scope, self.limits)
            return await self._run(route, Request(b"", parts, scope.get("query_string", b"")))
        if self._in_flight >= self.limits.requests:
            raise _Refused(503, "busy", "too many requests at a time", (b"retry-after", b"1"))
        self._in_flight += 1
        try:
            _check_head(route, scope, self.limits)
            body = await self._read_body(receive) if route.method == "POST" else b""
            accept = b"" if route.method == "POST" else dict(scope["headers"]).get(b"accept", b"")
            return await self._run(route, Request(body, parts, scope.get("query_string", b""), accept))
        except MalformedBody as error:
            raise _Refused(400, error.code, str(error)) from error
        except BodyTooLarge as error:
            raise _Refused(413, error.code, str(error), _CLOSE) from error
        finally:
            self._in_flight -= 1

    async def _run(self, route: Route, request: Request) -> Reply:
        try:
            if route.in_thread:
                async with asyncio.timeout(self.limits.answer_s):
                    answer = await asyncio.to_thread(route.answer, request)
            else:
                answer = route.answer(request)
        except (MalformedBody, BodyTooLarge, _Refused):
            raise
        except Exception as error:  # noqa: BLE001 - a defect of ours must not stop a cluster
            return _after_defect(route, request, error)
        return answer if isinstance(answer, Reply) else Reply(answer)

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
            raise _Refused(408, "too-slow", msg, _CLOSE) from error
        finally:
            self._buffered_bytes -= size
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _check_size(self, size: int) -> None:
        if size > self.limits.body_bytes:
            raise _too_large(size, self.limits)
        if self._buffered_bytes > self.limits.buffered_bytes:
            raise _Refused(503, "busy", "too many bytes at a time", _CLOSE)


def _after_defect(route: Route, request: Request, error: Exception) -> Reply:
    if isinstance(error, TimeoutError) and route.in_thread:
        return refusal(504, "too-slow", "the answer took too long; ask again")
    _log.error("%s failed", route.name, exc_info=error)
    if route.fallback is not None:
        try:
            answer = route.fallback(request)
        except (MalformedBody, BodyTooLarge):
            raise
        except Exception:  # noqa: BLE001 - as in _run
            _log.exception("%s failed even to answer neutral", route.name)
        else:
            return answer if isinstance(answer, Reply) else Reply(answer)
    return refusal(500, "fault", "this is a defect of the server; its log says more")


async def _next_chunk(receive: Receive) -> tuple[bytes, bool]:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise _Gone
    return message.get("body", b""), message.get("more_body", False)


def _check_head(route: Route, scope: Scope, limits: Limits) -> None:
    """Refuse what can be refused before the body is read."""
    method = scope["method"]
    if method != route.method and not (method == "HEAD" and route.method == "GET"):
        allowed = "GET, HEAD" if route.method == "GET" else route.method
        raise _Refused(405, "method-not-allowed", f"use {allowed}", (b"allow", allowed.encode()))
    size = 0
    for name, value in scope["headers"]:
        size += len(name) + len(value)
        if name == b"content-length" and value.isdigit() and int(value[:20]) > limits.body_bytes:
            raise _too_large(int(value[:20]), limits)
        if route.method == "POST":
            _check_coding(name, value)
    if size > limits.header_bytes:
        raise _Refused(431, "headers-too-large", "the headers are too large", _CLOSE)


def _check_coding(name: bytes, value: bytes) -> None:
    if name == b"content-type" and value.partition(b";")[0].strip().lower() != JSON:
        raise _Refused(415, "unsupported-media-type", "send application/json")
    # Unpacking would let a kilobyte on the wire become a gigabyte here; the scheduler never packs.
    if name == b"content-encoding" and value.strip().lower() not in _PLAIN:
        accept = (b"accept-encoding", b"identity")
        raise _Refused(415, "unsupported-media-type", "send the body without content-encoding", accept)


def _too_large(size: int, limits: Limits) -> BodyTooLarge:
    msg = f"a body of at least {size} bytes is over the limit of {limits.body_bytes}"
    return BodyTooLarge(msg, hint="set nodeCacheCapable: true, so that names are sent", value=size)

"""HTTP/1.1 by httptools, with the bounds that it lacks on heads, pipelines and slow readers.

uvicorn's protocol takes heads of any length at any pace, queues any number of requests
of one connection and waits for ever for a client that doesn't read: each holds memory
and a descriptor without a request existing that the app could refuse.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from aicsched.extender.limits import Limits
from aicsched.extender.trust import CLIENT_NAMES, client_names

if TYPE_CHECKING:
    import asyncio

_HEAD: Final = b"HTTP/1.1 "
_CONTINUE: Final = b"HTTP/1.1 100"

__all__ = ["BoundedProtocol", "bounded_protocol"]


class _PipelineTooLong(Exception):
    """httptools makes it a 400 and the end of the connection."""


class _OneWrite:
    """Sends head and body of an answer by one call of the kernel, where uvicorn writes twice."""

    __slots__ = ("_head", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""

    def write(self, data: bytes) -> None:
        if self._head:
            head, self._head = self._head, b""
            self._transport.writelines((head, data))
        elif data.startswith(_HEAD) and not data.startswith(_CONTINUE):
            self._head = data
        else:
            self._transport.write(data)

    def flush(self) -> None:
        if self._head:
            self.write(b"")

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def close(self) -> None:
        self.flush()
        self._transport.close()


class BoundedProtocol(HttpToolsProtocol):
    """Drops a connection that costs more than its bounds, and closes kept ones while draining."""

    bounds: ClassVar[Limits] = Limits()
    draining: ClassVar[bool] = False
    """Set on the class of a server: its answers then say ``Connection: close``."""
    _head_bytes = 0
    _in_head = True
    _timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401 - uvicorn narrows it
        """Start the clock of the first head."""
        super().connection_made(transport)
        self._answers = _OneWrite(transport)
        if len(self.connections) > self.bounds.connections:
            transport.abort()
            return
        names = client_names(transport)
        if names is not None:
            self.app_state = {CLIENT_NAMES: names}
        self._start_timer()

    def data_received(self, data: bytes) -> None:
        """Count what arrives until the head is complete."""
        if self.transport.is_closing():
            return
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > self.bounds.header_bytes:
            self._give_up()

    def eof_received(self) -> bool:  # pyright: ignore[reportIncompatibleMethodOverride] - asyncio reads it
        """Answer a client that has sent all it will send, then close."""
        # Over TLS the answer has no effect: there a half-closed connection can't be kept.
        cycle = self.cycle
        waiting = cycle is not None and not cycle.response_complete and not cycle.more_body
        if waiting:
            cycle.keep_alive = False
        return waiting

    def on_message_begin(self) -> None:
        """Start the clock of the next head."""
        if len(self.pipeline) >= self.bounds.pipelined:
            raise _PipelineTooLong
        super().on_message_begin()
        self._in_head = True
        self._start_timer()

    def on_headers_complete(self) -> None:
        """Stop the clock."""
        self._in_head = False
        self._head_bytes = 0
        self._stop_timer()
        super().on_headers_complete()
        self.cycle.transport = self._answers  # pyright: ignore[reportAttributeAccessIssue] - all that it uses
        if self.draining:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Hand a piece of a body on as it came, where uvicorn would copy it twice."""
        cycle = self.cycle
        if cycle.response_complete:
            return
        if cycle.body:  # the app hasn't taken the last piece yet
            cycle.body = bytearray(cycle.body) if isinstance(cycle.body, bytes) else cycle.body
            cycle.body += body
        else:
            cycle.body = body  # pyright: ignore[reportAttributeAccessIssue] - uvicorn makes bytes of it
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_response_complete(self) -> None:
        """Start the clock of a last answer that isn't taken."""
        self._answers.flush()  # what answers HEAD has no body
        super().on_response_complete()
        if self.transport.is_closing():
            self._start_write_timer()

    def pause_writing(self) -> None:
        """Start the clock of a client that doesn't read its answer."""
        super().pause_writing()
        self._start_write_timer()

    def resume_writing(self) -> None:
        """Stop it."""
        self._stop_write_timer()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the clocks."""
        self._stop_timer()
        self._stop_write_timer()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()

    def _start_timer(self) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(self.bounds.read_s, self._give_up)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _start_write_timer(self) -> None:
        self._stop_write_timer()
        self._write_timer = self.loop.call_later(self.bounds.write_s, self.transport.abort)

    def _stop_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def _give_up(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()
            self._start_write_timer()


def bounded_protocol(limits: Limits) -> type[BoundedProtocol]:
    """Make a protocol class with given bounds, since uvicorn takes a class.

    Parameters
    ----------
    limits : Limits
        Those on connections, heads and pipelines are used.

    Returns
    -------
    type
        For uvicorn's ``http`` setting.
    """
    return type("BoundedProtocol", (BoundedProtocol,), {"bounds": limits, "draining": False})

"""HTTP/1.1 by httptools, with the bounds on request heads that it lacks.

uvicorn's protocol takes heads of any length at any pace: a client could hold
memory and a descriptor for ever without a request existing that the app could
refuse.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from aicsched.extender.limits import Limits

if TYPE_CHECKING:
    import asyncio

__all__ = ["BoundedProtocol", "bounded_protocol"]


class BoundedProtocol(HttpToolsProtocol):
    """Drops a connection whose request head is too large or too slow."""

    bounds: ClassVar[Limits] = Limits()
    _head_bytes = 0
    _in_head = True
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401 - uvicorn narrows it
        """Start the clock of the first head."""
        super().connection_made(transport)
        self._start_timer()

    def data_received(self, data: bytes) -> None:
        """Count what arrives until the head is complete."""
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > self.bounds.header_bytes:
            self._give_up()

    def on_message_begin(self) -> None:
        """Start the clock of the next head."""
        super().on_message_begin()
        self._in_head = True
        self._start_timer()

    def on_headers_complete(self) -> None:
        """Stop the clock."""
        self._in_head = False
        self._head_bytes = 0
        self._stop_timer()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the clock."""
        self._stop_timer()
        super().connection_lost(exc)

    def _start_timer(self) -> None:
        self._stop_timer()
        self._head_timer = self.loop.call_later(self.bounds.read_s, self._give_up)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()


def bounded_protocol(limits: Limits) -> type[BoundedProtocol]:
    """Make a protocol class with given bounds, since uvicorn takes a class.

    Parameters
    ----------
    limits : Limits
        `header_bytes` and `read_s` are used.

    Returns
    -------
    type
        For uvicorn's ``http`` setting.
    """
    return type("BoundedProtocol", (BoundedProtocol,), {"bounds": limits})

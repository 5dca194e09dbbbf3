"""Runs the extender: bind, warm up, say where, serve, drain."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import ipaddress
import os
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING, Final

import uvicorn

from aicsched.errors import ConfigError, ServeError
from aicsched.extender.app import ExtenderApp
from aicsched.extender.protocol import bounded_protocol
from aicsched.extender.snapshot import SnapshotHolder
from aicsched.observe import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

__all__ = ["serve", "serve_sample"]

_BACKLOG: Final = 128
_LAST_PORT: Final = 65_535
_log = get_logger("extender")


def serve(
    app: ExtenderApp,
    *,
    port: int,
    host: str = "127.0.0.1",
    announce: Callable[[str], None] | None = None,
) -> None:
    """Serve an app until SIGTERM or SIGINT.

    Parameters
    ----------
    app : ExtenderApp
        Holds a snapshot already.
    port : int
        0 takes a free one.
    host : str
        A loopback address: without TLS anybody on the network could steer a cluster.
    announce : callable, optional
        Told the address, once requests are answered; by default it is printed.

    Raises
    ------
    ConfigError
        The host is no loopback address, or the port is no port.
    ServeError
        The port is taken or may not be used.
    """
    listener = _listen(host, port)
    config = uvicorn.Config(
        app,
        http=bounded_protocol(app.limits),
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        date_header=False,
        timeout_keep_alive=app.limits.idle_s,
        timeout_graceful_shutdown=app.limits.drain_s,
        backlog=_BACKLOG,
    )
    with listener, asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(_Server(config, app, announce or _print_line).serve([listener]))


def serve_sample(
    port: int, *, host: str = "127.0.0.1", announce: Callable[[str], None] | None = None
) -> None:
    """Serve the embedded synthetic sample until SIGTERM or SIGINT.

    Parameters
    ----------
    port : int
        0 takes a free one.
    host : str
        A loopback address.
    announce : callable, optional
        As for `serve`.

    Raises
    ------
    ConfigError
        The host is no loopback address, or the port is no port.
    ServeError
        The port is taken or may not be used.
    """
    from aicsched.extender.sample import sample_snapshot  # noqa: PLC0415 - forecasting is loaded for it only

    _require_loopback(host)
    snapshot = sample_snapshot()
    begun_s = time.monotonic()

    def sample_now_s() -> float:
        return snapshot.issued_at_s + time.monotonic() - begun_s

    app = ExtenderApp(SnapshotHolder(snapshot), now_s=sample_now_s)
    serve(app, port=port, host=host, announce=announce or _print_sample)


class _Server(uvicorn.Server):
    """Warms up before it is ready, says where it listens, and leaves with success when told to stop."""

    def __init__(self, config: uvicorn.Config, app: ExtenderApp, announce: Callable[[str], None]) -> None:
        super().__init__(config)
        self._extender = app
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self._extender.warm_up()
        # What exists now lives as long as the server: the collector need not walk it during a request.
        gc.collect()
        gc.freeze()
        for listener in sockets or ():
            self._announce(_url(listener))

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        # uvicorn raises a captured signal again after its clean-up: a clean stop would look like a failure.
        before = {kind: signal.signal(kind, self._stop) for kind in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for kind, handler in before.items():
                signal.signal(kind, handler)

    def _stop(self, kind: int, frame: object) -> None:
        del frame
        _log.info("stopping on %s", signal.Signals(kind).name)
        self._extender.start_draining()
        self.should_exit = True


def _print_line(text: str) -> None:
    sys.stdout.write(f"aicsched extender listens on {text}\n")
    sys.stdout.flush()


def _print_sample(text: str) -> None:
    _print_line(f"{text} with the embedded sample: synthetic, for trying out")


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _require_loopback(host: str) -> str:
    address = "127.0.0.1" if host == "localhost" else host
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(address).is_loopback:
            return address
    msg = f"host '{host}' is no loopback address, and over plain HTTP anybody could steer placement"
    raise ConfigError(msg, hint="use 127.0.0.1 or ::1", value=host)


def _listen(host: str, port: int) -> socket.socket:
    address = _require_loopback(host)
    if not 0 <= port <= _LAST_PORT:
        msg = f"port {port} does not exist"
        raise ConfigError(msg, hint=f"use 1 to {_LAST_PORT}, or 0 for a free one", value=port)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        return socket.create_server((address, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        msg = f"port {port} on {host} can't be listened on: {reason.lower()}"
        raise ServeError(msg, hint="choose another port, or 0 for a free one", value=port) from error

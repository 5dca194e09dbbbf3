"""Runs an app: listen, warm up, say where, serve, settle, drain."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import ipaddress
import logging
import os
import signal
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING, Final

import uvicorn
from uvicorn.server import ServerState

from aicsched.errors import ConfigError, ServeError
from aicsched.extender.app import ExtenderApp
from aicsched.extender.memory import keep_freed_memory
from aicsched.extender.protocol import BoundedProtocol, bounded_protocol
from aicsched.extender.snapshot import SnapshotHolder
from aicsched.observe import get_logger

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Generator

    from aicsched.extender.trust import Trust
    from aicsched.extender.web import ServedApp

__all__ = ["serve", "serve_sample"]

_BACKLOG: Final = 128
_LAST_PORT: Final = 65_535
_LOOK_S: Final = 0.05
_log = get_logger("extender")


def serve(
    app: ServedApp,
    *,
    port: int,
    host: str = "127.0.0.1",
    trust: Trust | None = None,
    probes_port: int | None = None,
    probes_host: str | None = None,
    announce: Callable[[str], None] | None = None,
) -> None:
    """Serve an app until SIGTERM or SIGINT.

    SIGTERM turns readiness off, serves on for ``settle_s`` with ``Connection: close`` on
    each answer, then takes no more connections and ends once what is under way is answered
    (at the latest after ``drain_s``). SIGINT doesn't wait to settle; a second signal ends
    the process at once. In a thread that isn't the main one no signal is heeded.

    Parameters
    ----------
    app : ServedApp
        Any ASGI app with ``limits``, ``probes_app``, ``warm_up`` and ``start_draining``, as
        an `ExtenderApp` or another `RoutedApp` is.
    port : int
        0 takes a free one.
    host : str
        A loopback address, unless `trust` is given: over plain HTTP anybody on the network
        could steer a cluster.
    trust : Trust, optional
        Certificates and tokens.
    probes_port : int, optional
        Where the probes and metrics are answered over plain HTTP, to anybody who reaches
        the port, as a kubelet and Prometheus expect; None leaves them on `port`.
    probes_host : str, optional
        Where that port is, when it isn't `host`: a scheduler beside us may call by loopback,
        while a kubelet and Prometheus never do.
    announce : callable, optional
        Told the address, once requests are answered, and then that of the probes; by
        default they are printed.

    Raises
    ------
    ConfigError
        The host is no loopback address and there is no trust, or a port is no port.
    ServeError
        A port is taken or may not be used.
    """
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(_listen(host, port, plain=not _encrypted(trust)))]
        if probes_port is not None:
            listeners.append(stack.enter_context(_listen(probes_host or host, probes_port, plain=False)))
        server = _Server(app, listeners, trust, announce or _print_line)
        config = _config(app, app)
        # It warns of each malformed request: a stranger must not fill the log.
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
        keep_freed_memory()
        with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
            runner.run(server.run())


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


def _config(app: ServedApp, answers: object) -> uvicorn.Config:
    config = uvicorn.Config(
        answers,  # pyright: ignore[reportArgumentType] - uvicorn types ASGI's messages one by one
        http=bounded_protocol(app.limits),
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        # Whom a caller says it speaks for is nothing that we act on.
        proxy_headers=False,
        date_header=False,
        timeout_keep_alive=app.limits.idle_s,
        backlog=_BACKLOG,
    )
    config.load()
    return config


class _Port:
    """One listening socket with the app behind it."""

    def __init__(self, app: ServedApp, answers: object, listener: socket.socket) -> None:
        self.config = _config(app, answers)
        self.listener = listener
        self.state = ServerState()
        self._limits = app.limits
        self._server: asyncio.Server | None = None

    async def open(self, context: ssl.SSLContext | None) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: self._protocol()(self.config, self.state, {}, loop),
            sock=self.listener,
            ssl=context,
            backlog=_BACKLOG,
            ssl_handshake_timeout=None if context is None else self._limits.read_s,
            ssl_shutdown_timeout=None if context is None else self._limits.read_s,
        )

    def _protocol(self) -> type[BoundedProtocol]:
        kind = self.config.http_protocol_class
        assert issubclass(kind, BoundedProtocol)  # noqa: S101 - it is what the settings say
        return kind

    def close_after_answers(self) -> None:
        """Say ``Connection: close`` from now on, so that clients come back elsewhere of themselves."""
        self._protocol().draining = True

    async def close(self, within_s: float) -> None:
        """Take no more connections, drop resting ones, and wait for the others."""
        if self._server is None:
            return
        self._server.close()
        for connection in list(self.state.connections):
            connection.shutdown()
        until_s = time.monotonic() + within_s
        while self.state.connections and time.monotonic() < until_s:  # noqa: ASYNC110 - uvicorn keeps the set
            await asyncio.sleep(_LOOK_S)
        if self.state.connections:
            _log.warning("%d connections are cut off", len(self.state.connections))
        for connection in list(self.state.connections):
            connection.transport.abort()


class _Server:
    """Serves on one port, with the probes beside it, until it is told to stop."""

    def __init__(
        self,
        app: ServedApp,
        listeners: list[socket.socket],
        trust: Trust | None,
        announce: Callable[[str], None],
    ) -> None:
        self._app = app
        self._trust = trust
        self._announce = announce
        self._stopped: asyncio.Event | None = None
        self._settle_s = 0.0
        self._main = _Port(app, app if trust is None else trust.guard(app), listeners[0])
        self._probes = _Port(app, app.probes_app, listeners[1]) if len(listeners) > 1 else None

    async def run(self) -> None:
        self._stopped = asyncio.Event()
        with self._heeding_signals():
            await self._main.open(None if self._trust is None else self._trust.context)
            if self._probes is not None:
                await self._probes.open(None)
            self._app.warm_up()
            # What exists now lives as long as the server: the collector need not walk it during a request.
            gc.collect()
            gc.freeze()
            self._announce(_url(self._main.listener, secure=_encrypted(self._trust)))
            if self._probes is not None:
                self._announce(f"{_url(self._probes.listener, secure=False)} for probes and metrics")
            watching = None if self._trust is None else asyncio.create_task(self._trust.watch())
            await self._stopped.wait()
            self._app.start_draining()
            self._main.close_after_answers()
            await asyncio.sleep(self._settle_s)
            await self._main.close(self._app.limits.drain_s)
            if watching is not None:
                watching.cancel()
            if self._probes is not None:
                await self._probes.close(0.0)

    @contextlib.contextmanager
    def _heeding_signals(self) -> Generator[None, None, None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()

        def heed(kind: int, frame: object) -> None:
            del frame
            loop.call_soon_threadsafe(self._stop, signal.Signals(kind))

        before = {kind: signal.signal(kind, heed) for kind in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for kind, handler in before.items():
                signal.signal(kind, handler)

    def _stop(self, kind: signal.Signals) -> None:
        assert self._stopped is not None  # noqa: S101 - signals are heeded once it is there
        if self._stopped.is_set():
            _log.warning("ending at once on a second signal, %s", kind.name)
            signal.signal(kind, signal.SIG_DFL)
            signal.raise_signal(kind)
        _log.info("stopping on %s", kind.name)
        # Nobody but a person at a terminal sends SIGINT, and no Service sends requests there.
        self._settle_s = self._app.limits.settle_s if kind == signal.SIGTERM else 0.0
        self._stopped.set()


def _encrypted(trust: Trust | None) -> bool:
    return trust is not None and trust.context is not None


def _print_line(text: str) -> None:
    sys.stdout.write(f"aicsched extender listens on {text}\n")
    sys.stdout.flush()


def _print_sample(text: str) -> None:
    _print_line(f"{text} with the embedded sample: synthetic, for trying out")


def _url(listener: socket.socket, *, secure: bool) -> str:
    host, port = listener.getsockname()[:2]
    return f"http{'s' if secure else ''}://{f'[{host}]' if ':' in host else host}:{port}"


def _require_loopback(host: str) -> str:
    address = _address(host)
    if address is not None and ipaddress.ip_address(address).is_loopback:
        return address
    msg = f"host '{host}' is no loopback address, and over plain HTTP anybody could steer placement"
    hint = "use 127.0.0.1 or ::1, or set certificates: tls_cert_file, tls_key_file, client_ca_file"
    raise ConfigError(msg, hint=hint, value=host)


def _address(host: str) -> str | None:
    address = "127.0.0.1" if host == "localhost" else host
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return None


def _listen(host: str, port: int, *, plain: bool) -> socket.socket:
    address = _require_loopback(host) if plain else _address(host)
    if address is None:
        msg = f"host '{host}' is no address"
        raise ConfigError(msg, hint="use 0.0.0.0 or :: for every interface", value=host)
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

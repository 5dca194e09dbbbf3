"""Certificates for tests, made by the openssl command, and a server process to use them."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pytest

from aicsched.errors import SourceUnavailable
from tests.extender_kit import Answer


def openssl(*arguments: Any) -> str:
    """Run openssl, or skip the test where there is none."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("NOT TESTED with certificates: there is no openssl command")
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=True)
    return done.stdout


@dataclass(frozen=True)
class Pair:
    """A certificate and its key."""

    cert: Path
    key: Path


@dataclass(frozen=True)
class Authority(Pair):
    """A CA made for one test."""

    def issue(self, name: str, *, names: str = "IP:127.0.0.1,DNS:localhost", days: int = 2) -> Pair:
        """Sign a certificate; `days` may be negative for one that has expired."""
        folder = self.cert.parent
        pair = Pair(folder / f"{name}.crt", folder / f"{name}.key")
        request, extra = folder / f"{name}.csr", folder / f"{name}.ext"
        extra.write_text(f"subjectAltName={names}\n" if names else "")
        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", pair.key)
        openssl("req", *key, "-subj", f"/CN={name}", "-out", request)
        ca = ("-CA", self.cert, "-CAkey", self.key, "-CAcreateserial")
        openssl("x509", "-req", "-in", request, *ca, "-days", days, "-extfile", extra, "-out", pair.cert)
        return pair


def make_authority(folder: Path, name: str) -> Authority:
    """Make a CA in a folder of its own."""
    folder = folder / name
    folder.mkdir()
    authority = Authority(folder / "ca.crt", folder / "ca.key")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", authority.key)
    openssl("req", "-x509", *key, "-subj", f"/CN={name}", "-days", "3", "-out", authority.cert)
    return authority


def client_context(authority: Pair, pair: Pair | None = None) -> ssl.SSLContext:
    """Make a client's side that trusts one CA, with or without a certificate of its own."""
    context = ssl.create_default_context(cafile=str(authority.cert))
    if pair is not None:
        context.load_cert_chain(pair.cert, pair.key)
    return context


class _NobodyBinds:
    """The API server is down."""

    def bind(self, wanted: Any) -> None:
        msg = f"{wanted}: the API server can't be reached"
        raise SourceUnavailable(msg)


def main(options: dict[str, Any]) -> None:
    """Serve a snapshot made by hand, or the sample's: what a `ServerProcess` runs."""
    from aicsched.extender.app import ExtenderApp
    from aicsched.extender.limits import Limits
    from aicsched.extender.routes import verb
    from aicsched.extender.sample import sample_snapshot
    from aicsched.extender.server import serve
    from aicsched.extender.snapshot import SnapshotHolder
    from aicsched.extender.trust import Trust
    from tests.extender_kit import snapshot_of

    def slowly(body: bytes) -> bytes:
        time.sleep(0.2)
        return body

    snapshot = sample_snapshot() if options.get("sample") else snapshot_of({"a": 1.0, "b": 2.0})
    app = ExtenderApp(
        SnapshotHolder(snapshot),
        binder=_NobodyBinds(),
        preempt=True,
        limits=Limits(**options.get("limits", {})),
        now_s=lambda: snapshot.issued_at_s,
        routes=[verb("slow", slowly, in_thread=True)],
    )
    files = {
        key: Path(value) if key.endswith("_file") else value
        for key, value in options.get("trust", {}).items()
    }
    trust = Trust(**files, registry=app.metrics.registry) if files else None
    probes = {name: options.get(name) for name in ("probes_port", "probes_host")}
    serve(app, port=0, trust=trust, **probes)


class ServerProcess:
    """A real server in a process of its own; use it as a context."""

    def __init__(self, **options: Any) -> None:
        code = "import json,sys; from tests.trust_kit import main; main(json.loads(sys.argv[1]))"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, json.dumps(options, default=str)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.port = self._next_port()
        self.probes_port = self._next_port() if "probes_port" in options else self.port

    def _next_port(self) -> int:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert "listens on http" in line, self.process.communicate(timeout=10)
        return int(line.split("http")[1].split()[0].rpartition(":")[2])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate(timeout=10)

    def stop(self, kind: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal; return the exit code and what was said on standard error."""
        self.process.send_signal(kind)
        return self.wait()

    def wait(self) -> tuple[int, str]:
        """Wait for the end."""
        _, complaint = self.process.communicate(timeout=20)
        return self.process.returncode, complaint

    def link(self, context: ssl.SSLContext | None = None) -> http.client.HTTPConnection:
        """Make a connection that is kept."""
        if context is None:
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=20, context=context)

    def call(self, method: str, path: str, value: Any = None, **more: Any) -> Answer:
        """Ask once, over a connection of its own unless `link` is given."""
        given = more.pop("link", None)
        link = given or self.link(more.pop("context", None))
        body = None if value is None else json.dumps(value).encode()
        headers = {"Content-Type": "application/json"} | more.pop("headers", {})
        try:
            link.request(method, path, body, headers)
            response = link.getresponse()
            return Answer(
                response.status,
                {k.lower().encode(): v.encode() for k, v in response.getheaders()},
                response.read(),
            )
        finally:
            if given is None:
                link.close()

    def rss_mib(self) -> float:
        """Tell how much memory the process holds [MiB]."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def descriptors(self) -> int:
        """Count the process's open files and sockets."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def metrics(self, port: int | None = None) -> dict[tuple[str, ...], float]:
        """Read the metrics of the probes' port."""
        from prometheus_client.parser import text_string_to_metric_families

        link = http.client.HTTPConnection("127.0.0.1", port or self.probes_port, timeout=20)
        link.request("GET", "/metrics")
        text = link.getresponse().read().decode()
        link.close()
        return {
            (sample.name, *sorted(sample.labels.values())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }


class Wire:
    """One kept connection, as the scheduler has; dialled anew when the server closes it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.link: socket.socket | None = None

    def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Send a body; return status and answer."""
        if self.link is None:
            self.link = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        kind = "Host: a\r\nContent-Type: application/json"
        head = f"POST {path} HTTP/1.1\r\n{kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        self.link.sendall(head.encode() + body)
        received = b""
        while b"\r\n\r\n" not in received:
            more = self.link.recv(2**18)
            assert more, "the server hung up"
            received += more
        head_bytes, _, answer = received.partition(b"\r\n\r\n")
        lines = head_bytes.lower().split(b"\r\n")
        length = next(int(line[15:]) for line in lines if line.startswith(b"content-length:"))
        parts = [answer]
        size = len(answer)
        while size < length:
            parts.append(self.link.recv(2**18))
            assert parts[-1], "the server hung up"
            size += len(parts[-1])
        if b"connection: close" in lines:
            self.close()
        return int(lines[0].split()[1]), b"".join(parts)

    def close(self) -> None:
        """Hang up."""
        if self.link is not None:
            self.link.close()
            self.link = None

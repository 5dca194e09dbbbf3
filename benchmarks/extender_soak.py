"""The extender for ten minutes at 50 requests a second: what it holds on to, and how soon it answers.

The server has 1,000 nodes, and takes a new snapshot every ten seconds, as it does in a cluster. One kept
connection asks as the scheduler does; others come and go, ask with whole nodes, send what can't be
read, hang up in the middle of a body, and read the metrics. What counts is what memory and descriptors
do after the first two minutes, by which time all that is made once is made.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.extender_latency import names_body, nodes_body
from benchmarks.tables import Table

if TYPE_CHECKING:
    from collections.abc import Callable

TITLE = "Extender: ten minutes at 50 requests a second"

_RATE_PER_S = 50
_NODES = 1000
_SNAPSHOT_S = 10
SERVE = f"""
import threading, time
from benchmarks.extender_latency import cluster
from aicsched.extender.app import ExtenderApp
from aicsched.extender.server import serve
from aicsched.extender.snapshot import SnapshotHolder
holder = SnapshotHolder(cluster({_NODES}))
def refresh():
    while True:
        time.sleep({_SNAPSHOT_S})
        holder.replace(cluster({_NODES}))
threading.Thread(target=refresh, daemon=True).start()
serve(ExtenderApp(holder, now_s=lambda: holder.current.issued_at_s), port=0)
"""


class _Watched:
    """A process, by what the kernel tells of it."""

    def __init__(self, pid: int) -> None:
        self._folder = Path(f"/proc/{pid}")

    def rss_mib(self) -> float:
        pages = int((self._folder / "statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def descriptors(self) -> int:
        return len(list((self._folder / "fd").iterdir()))

    def threads(self) -> int:
        return len(list((self._folder / "task").iterdir()))

    def cpu_s(self) -> float:
        fields = (self._folder / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _request(path: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


def _ask(link: socket.socket, request: bytes) -> int:
    """Send a request, read the whole answer; return its status."""
    link.sendall(request)
    received = b""
    while b"\r\n\r\n" not in received:
        more = link.recv(2**20)
        assert more, "the server hung up"
        received += more
    head, _, body = received.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    length = next(int(line[15:]) for line in lines if line.startswith(b"content-length:"))
    size = len(body)
    while size < length:
        size += len(link.recv(2**20))
    return int(lines[0].split()[1])


def _dial(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=30)


def _once(port: int, request: bytes, status: int) -> None:
    with _dial(port) as link:
        assert _ask(link, request) == status


def _hang_up(port: int, request: bytes) -> None:
    with _dial(port) as link:
        link.sendall(request[: len(request) // 2])


def _mix(port: int) -> Callable[[int], float]:
    """Make what sends one request; it returns the latency of the scheduler's own [s], or NaN."""
    names = tuple(f"node-{at:05d}" for at in range(_NODES))
    whole = _request("/prioritize", nodes_body(names[:100]))
    broken = _request("/filter", b'{"Pod":{},"NodeNames":[1,2')
    metrics = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"
    kept = _dial(port)

    def send(at: int) -> float:
        if at % 10 == 7:
            _once(port, whole, 200)
        elif at % 50 == 19:
            _once(port, broken, 400)
        elif at % 50 == 31:
            _hang_up(port, whole)
        elif at % 500 == 43:
            _once(port, metrics, 200)
        else:
            verb = "/filter" if at % 2 else "/prioritize"
            request = _request(verb, names_body(names, cpu=f"{at % 400 + 1}m"))
            begun_s = time.perf_counter()
            assert _ask(kept, request) == 200
            return time.perf_counter() - begun_s
        return float("nan")

    return send


def run(*, smoke: bool) -> list[Table]:
    """Run the server and its clients, and watch it.

    Parameters
    ----------
    smoke : bool
        Some seconds only.

    Returns
    -------
    list of Table
        What the process held as time went by; latency and CPU of a request.
    """
    lasts_s, look_s, settled_s = (4.0, 1.0, 2.0) if smoke else (600.0, 60.0, 120.0)
    process = subprocess.Popen([sys.executable, "-c", SERVE], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline().rpartition(":")[2])
        rows, took_s, spent_s = _watch(_Watched(process.pid), _mix(port), lasts_s, look_s)
        process.terminate()
        assert process.wait(30) == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.communicate(timeout=30)
    settled = [row for row in rows if row[0] >= settled_s]
    minutes, rss_mib = np.array([row[0] / 60 for row in settled]), np.array([row[2] for row in settled])
    slope = float(np.polyfit(minutes, rss_mib, 1)[0]) * 60
    asked = rows[-1][1]
    held = Table(
        "What the process holds",
        ("after [s]", "requests", "RSS [MiB]", "descriptors", "threads", "RSS, ratio to settled"),
        [(f"{row[0]:.0f}", *row[1:], row[2] / settled[0][2]) for row in rows],
        f"Memory grows by {slope:+.1f} MiB an hour after {settled_s:.0f} s, by least squares.",
    )
    answers = Table(
        f"Answers to the scheduler's own calls, {_NODES} names",
        ("calls", "p50 [ms]", "p99 [ms]", "most [ms]", "CPU a request of any kind [ms]"),
        [
            (
                len(took_s),
                *(float(np.percentile(took_s, q)) * 1e3 for q in (50, 99, 100)),
                spent_s / asked * 1e3,
            )
        ],
        f"The CPU holds the refreshing of snapshots, too. The machine's load was {os.getloadavg()[2]:.1f} "
        f"on {os.cpu_count()} CPUs at the end.",
    )
    return [held, answers]


def _watch(
    watched: _Watched, send: Callable[[int], float], lasts_s: float, look_s: float
) -> tuple[list[tuple[Any, ...]], list[float], float]:
    rows: list[tuple[Any, ...]] = []
    took_s: list[float] = []
    begun_s, cpu_s = time.monotonic(), watched.cpu_s()
    for at in range(int(lasts_s * _RATE_PER_S)):
        due_s = begun_s + at / _RATE_PER_S
        time.sleep(max(0.0, due_s - time.monotonic()))
        if at % int(look_s * _RATE_PER_S) == 0:
            rows.append((at / _RATE_PER_S, at, watched.rss_mib(), watched.descriptors(), watched.threads()))
        latency_s = send(at)
        if latency_s == latency_s:  # noqa: PLR0124 - NaN for calls that aren't the scheduler's
            took_s.append(latency_s)
    time.sleep(0.2)
    asked = int(lasts_s * _RATE_PER_S)
    rows.append((lasts_s, asked, watched.rss_mib(), watched.descriptors(), watched.threads()))
    return rows, took_s, watched.cpu_s() - cpu_s

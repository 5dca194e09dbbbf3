"""Servers to compare the extender with, each in a process of its own, and what such a process costs.

``floor`` is uvicorn as we run it with an application that reads the body and answers bytes of
the same size, or always the same: nothing in Python can cost less. ``go`` is a plain extender of
Go's standard library (`go_extender`), which is what most extenders are.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "go_extender"
_SOURCE = Path(__file__).parent / "go_extender"
_BUILD_S = 600

FLOOR = """
import sys, uvicorn

fixed = open(sys.argv[1], "rb").read() if len(sys.argv) > 1 else None

async def app(scope, receive, send):
    more = True
    while more:
        message = await receive()
        more = message.get("more_body", False)
    # How long the answer is stands in the path, so that one server is the floor of all cases.
    body = bytes(int(scope["path"].rpartition("/")[2])) if fixed is None else fixed
    head = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": body})

class Server(uvicorn.Server):
    async def startup(self, sockets=None):
        await super().startup(sockets)
        port = self.servers[0].sockets[0].getsockname()[1]
        print(f"listens on http://127.0.0.1:{port}", flush=True)

config = uvicorn.Config(app, port=0, ws="none", lifespan="off", access_log=False, log_config=None,
                        server_header=False, date_header=False, timeout_keep_alive=300)
Server(config).run()
"""

OURS = """
import sys
from benchmarks.extender_latency import cluster
from aicsched.extender.app import ExtenderApp
from aicsched.extender.server import serve
from aicsched.extender.snapshot import SnapshotHolder
snapshot = cluster(int(sys.argv[1]))
serve(ExtenderApp(SnapshotHolder(snapshot), now_s=lambda: snapshot.issued_at_s), port=0)
"""


@dataclass(frozen=True)
class Served:
    """A running server.

    Parameters
    ----------
    name : str
        For tables.
    port : int
        On the loopback address.
    pid : int
        Its process.
    start_s : float
        From its start until it said where it listens [s].
    """

    name: str
    port: int
    pid: int
    start_s: float

    def cpu_s(self) -> float:
        """Read the CPU time of all its threads so far, of user and system [s]."""
        # What stands in /proc/PID/stat is counted in ticks of 10 ms; this is in nanoseconds.
        tasks = Path(f"/proc/{self.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text(encoding="ascii").split()[0]) for task in tasks) / 1e9

    def memory_mib(self) -> dict[str, float]:
        """Read its resident memory now and at most [MiB]."""
        lines = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8").splitlines()
        kib = {line.partition(":")[0]: line.split()[1] for line in lines if line.startswith("Vm")}
        return {"rss": int(kib["VmRSS"]) / 1024, "peak": int(kib["VmHWM"]) / 1024}


def go_extender() -> Path | None:
    """Build the rival of Go.

    Returns
    -------
    Path or None
        The program; None where no Go is here.

    Raises
    ------
    subprocess.CalledProcessError
        It does not compile.
    """
    go = shutil.which("go") or "/usr/local/go/bin/go"
    if not Path(go).exists():
        return None
    CACHE.mkdir(parents=True, exist_ok=True)
    target = CACHE / "go_extender"
    environment = os.environ | {"GOTOOLCHAIN": "local", "GOPROXY": "off", "GOFLAGS": "-mod=mod"}
    command = [go, "build", "-o", str(target), "."]
    subprocess.run(command, cwd=_SOURCE, env=environment, check=True, timeout=_BUILD_S)
    return target


@contextlib.contextmanager
def running(name: str, command: list[str], **environment: str) -> Generator[Served]:
    """Run a server that says where it listens.

    Parameters
    ----------
    name : str
        For tables.
    command : list of str
        It ends with the process.
    **environment : str
        More of it.

    Yields
    ------
    Served
        That answers.
    """
    begun_s = time.monotonic()
    process = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if "listens on http" in line:
                port = int(line.partition("listens on ")[2].split()[0].rpartition(":")[2])
                break
        else:
            msg = f"{name} ended before it served"
            raise AssertionError(msg)
        yield Served(name, port, process.pid, time.monotonic() - begun_s)
    finally:
        process.terminate()
        process.communicate(timeout=60)


def python(program: str, *arguments: str) -> list[str]:
    """Write the command of a program in Python."""
    return [sys.executable, "-c", program, *arguments]


def go_command(program: Path, grams: Mapping[str, float]) -> list[str]:
    """Write the command of the rival of Go, with the grams that it scores by."""
    table = CACHE / f"grams-{len(grams)}.json"
    content: dict[str, Any] = dict(grams)
    table.write_text(json.dumps(content))
    return [str(program), str(table)]

"""Our servers in processes of their own, as the real scheduler meets them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from queue import Empty, Queue
from threading import Thread
from typing import TYPE_CHECKING

from tests.debian_kit import ROOT

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence
    from pathlib import Path

_START_S = 90.0

SNAPSHOT = """
import json, sys, time
from aicsched.extender.app import ExtenderApp
from aicsched.extender.server import serve
from aicsched.extender.snapshot import SnapshotHolder
from tests.extender_kit import snapshot_of
holder = SnapshotHolder(snapshot_of(json.loads(sys.argv[1]), issued_at_s=time.time()))
serve(ExtenderApp(holder), port=int(sys.argv[2]))
"""


def grams_of(names: Iterable[str], green: str) -> str:
    """Give every node its grams, one far fewer than all others; for `SNAPSHOT`."""
    return json.dumps({name: 1.0 if name == green else 1000.0 + at for at, name in enumerate(names)})


@dataclass
class Server:
    """A running server.

    Parameters
    ----------
    process : subprocess.Popen
        Its process.
    url : str
        Where it listens.
    said : list of str
        Its output so far, standard error with it.
    """

    process: subprocess.Popen[str]
    url: str
    said: list[str] = field(default_factory=list)

    @property
    def port(self) -> int:
        """The port of its address."""
        return int(self.url.rpartition(":")[2])

    def kill(self) -> None:
        """End it without a word, as the kernel does when memory is short."""
        self.process.kill()
        self.process.wait(20)

    def stop(self) -> int:
        """End it as a cluster does, and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@contextlib.contextmanager
def serving(
    arguments: Sequence[str | Path], *, announced: str = " listens on ", within_s: float = _START_S
) -> Generator[Server]:
    """Run Python with arguments until it says where it listens.

    Parameters
    ----------
    arguments : sequence of str or Path
        After the interpreter: ``["-m", "aicsched", "serve", "--config", path]`` or ``["-c", SNAPSHOT, grams,
        port]``, whose extender knows nodes by name, and answers by grams in JSON.
    announced : str
        What stands before the address in the line that says it.
    within_s : float
        How long it may take to get there.

    Yields
    ------
    Server
        That answers.
    """
    process = subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    server = Server(process, "")
    seen: Queue[str] = Queue()
    reader = Thread(target=_read, args=(server, announced, seen), daemon=True)
    reader.start()
    try:
        try:
            server.url = seen.get(timeout=within_s)
        except Empty:
            server.url = ""
        assert server.url, f"it never said where it listens:\n{''.join(server.said)[-3000:]}"
        yield server
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        reader.join(10)
        if process.stdout is not None:
            process.stdout.close()


def _read(server: Server, announced: str, seen: Queue[str]) -> None:
    assert server.process.stdout is not None
    for line in server.process.stdout:
        server.said.append(line)
        if not server.url and announced in line:
            seen.put(line.partition(announced)[2].split()[0])
    # It ended: nobody need wait any longer.
    seen.put("")

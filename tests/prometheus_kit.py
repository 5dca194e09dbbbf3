"""A real Prometheus for tests: its binaries, history written into it, and a server on this machine.

The binaries are those on the PATH, else Debian's package unpacked into the project's cache,
which takes no root and some 20 MB once. Tests get them by the fixture `prometheus_binaries`.
"""

from __future__ import annotations

import contextlib
import math
import socket
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.debian_kit import find_programs

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from pathlib import Path

    from numpy.typing import ArrayLike

_START_S = 60


@dataclass(frozen=True)
class Binaries:
    """Where they are."""

    prometheus: Path
    promtool: Path


def find_binaries() -> Binaries:
    """Find Prometheus, or fetch it; raises NotToBeHad with the reason."""
    return Binaries(*find_programs("prometheus", "prometheus", "promtool"))


@dataclass
class History:
    """Samples of the past, in the text format that promtool makes blocks of."""

    lines: dict[str, list[str]] = field(default_factory=dict)

    def add(self, name: str, labels: Mapping[str, str], time_s: ArrayLike, values: ArrayLike) -> None:
        """Add one series; NaN is no sample."""
        escaped = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})
        braced = ",".join(f'{key}="{value.translate(escaped)}"' for key, value in labels.items())
        times, numbers = np.asarray(time_s), np.broadcast_to(np.asarray(values, float), np.shape(time_s))
        self.lines.setdefault(name, []).extend(
            f"{name}{{{braced}}} {number!r} {moment}"
            for moment, number in zip(times.tolist(), numbers.tolist(), strict=True)
            if not math.isnan(number)
        )

    def write(self, binaries: Binaries, folder: Path) -> Path:
        """Write blocks; return the folder of the database."""
        text = folder / "history.om"
        text.write_text("\n".join(line for lines in self.lines.values() for line in lines) + "\n# EOF\n")
        done = subprocess.run(
            [binaries.promtool, "tsdb", "create-blocks-from", "openmetrics", text, folder / "tsdb"],
            check=False,
            capture_output=True,
        )
        assert done.returncode == 0, (done.stdout + done.stderr).decode()[-2000:]
        text.unlink()
        return folder / "tsdb"


@contextlib.contextmanager
def serving(
    binaries: Binaries, database: Path, *options: str, config: str = "global: {}\n"
) -> Generator[str]:
    """Run a server over a database, with a configuration of its scrapes; gives its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = database.parent / "prometheus.yml"
    settings.write_text(config)
    log = database.parent / "prometheus.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [
                binaries.prometheus,
                f"--config.file={settings}",
                f"--storage.tsdb.path={database}",
                "--storage.tsdb.retention.time=100y",
                f"--web.listen-address=127.0.0.1:{port}",
                *options,
            ],
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        try:
            _wait(port, process, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    until_s = time.monotonic() + _START_S
    while time.monotonic() < until_s:
        assert process.poll() is None, log.read_text()[-2000:]
        # A server of TLS answers too, only not this: what it says itself tells when it is ready.
        if "Server is ready to receive web requests" in log.read_text():
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2):
                return
        time.sleep(0.05)
    pytest.fail(f"Prometheus isn't ready after {_START_S} s: {log.read_text()[-2000:]}")

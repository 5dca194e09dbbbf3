"""A real Prometheus for tests: its binaries, history written into it, and a server on this machine.

The binaries are those on the PATH, else Debian's package unpacked into the project's cache,
which takes no root and some 20 MB once. Tests get them by the fixture `prometheus_binaries`.
"""

from __future__ import annotations

import contextlib
import math
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from numpy.typing import ArrayLike

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "debian"
_DOWNLOAD_S = 120
_START_S = 60


@dataclass(frozen=True)
class Binaries:
    """Where they are."""

    prometheus: Path
    promtool: Path


class NoPrometheus(Exception):
    """Why there is none here."""


def find_binaries() -> Binaries:
    """Find Prometheus, or fetch it; raises NoPrometheus with the reason."""
    on_path = [shutil.which(name) for name in ("prometheus", "promtool")]
    if all(on_path):
        return Binaries(*(Path(str(path)) for path in on_path))
    unpacked = CACHE / "prometheus"
    if not (unpacked / "usr/bin/promtool").exists():
        _fetch(unpacked)
    return Binaries(unpacked / "usr/bin/prometheus", unpacked / "usr/bin/promtool")


def _fetch(unpacked: Path) -> None:
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        msg = "no prometheus on the PATH, and no apt-get and dpkg to fetch Debian's with"
        raise NoPrometheus(msg)
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        try:
            for command in (["apt-get", "download", "prometheus"], None):
                subprocess.run(
                    command or ["dpkg", "-x", *map(str, Path(folder).glob("*.deb")), "root"],
                    cwd=folder,
                    check=True,
                    capture_output=True,
                    timeout=_DOWNLOAD_S,
                )
        except (OSError, subprocess.SubprocessError) as error:
            said = getattr(error, "stderr", b"") or b""
            msg = f"no prometheus on the PATH, and Debian's can't be had ({error} {said.decode()[-200:]})"
            raise NoPrometheus(msg) from error
        # Another process may have been faster.
        with contextlib.suppress(OSError):
            (Path(folder) / "root").rename(unpacked)


@dataclass
class History:
    """Samples of the past, in the text format that promtool makes blocks of."""

    lines: dict[str, list[str]] = field(default_factory=dict)

    def add(self, name: str, labels: Mapping[str, str], time_s: ArrayLike, values: ArrayLike) -> None:
        """Add one series; NaN is no sample."""
        braced = ",".join(f'{key}="{value}"' for key, value in labels.items())
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
def serving(binaries: Binaries, database: Path, *options: str) -> Generator[str]:
    """Run a server over a database; gives its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = database.parent / "prometheus.yml"
    config.write_text("global: {}\n")
    log = database.parent / "prometheus.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [
                binaries.prometheus,
                f"--config.file={config}",
                f"--storage.tsdb.path={database}",
                "--storage.tsdb.retention.time=100y",
                f"--web.listen-address=127.0.0.1:{port}",
                *options,
            ],
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        try:
            _wait(f"http://127.0.0.1:{port}/-/ready", process, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until_s = time.monotonic() + _START_S
    while time.monotonic() < until_s:
        assert process.poll() is None, log.read_text()[-2000:]
        with contextlib.suppress(urllib.error.URLError, OSError), urllib.request.urlopen(address, timeout=2):
            return
        time.sleep(0.1)
    pytest.fail(f"Prometheus isn't ready after {_START_S} s: {log.read_text()[-2000:]}")

"""Programs of Debian's packages for tests, without root: unpacked once into the project's cache."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "debian"
_DOWNLOAD_S = 120


class NotToBeHad(Exception):
    """Why a program isn't there."""


def find_programs(package: str, *names: str) -> tuple[Path, ...]:
    """Find programs on the PATH, else in Debian's package; raises NotToBeHad with the reason."""
    on_path = [shutil.which(name) for name in names]
    if all(on_path):
        return tuple(Path(str(path)) for path in on_path)
    unpacked = CACHE / package
    if not all((unpacked / "usr/bin" / name).exists() for name in names):
        _fetch(package, unpacked)
    return tuple(unpacked / "usr/bin" / name for name in names)


def _fetch(package: str, unpacked: Path) -> None:
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        msg = f"no {package} on the PATH, and no apt-get and dpkg to fetch Debian's with"
        raise NotToBeHad(msg)
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        try:
            for command in (["apt-get", "download", package], None):
                subprocess.run(
                    command or ["dpkg", "-x", *map(str, Path(folder).glob("*.deb")), "root"],
                    cwd=folder,
                    check=True,
                    capture_output=True,
                    timeout=_DOWNLOAD_S,
                )
        except (OSError, subprocess.SubprocessError) as error:
            said = getattr(error, "stderr", b"") or b""
            msg = f"no {package} on the PATH, and Debian's can't be had ({error} {said.decode()[-200:]})"
            raise NotToBeHad(msg) from error
        # Another process may have been faster.
        with contextlib.suppress(OSError):
            (Path(folder) / "root").rename(unpacked)

"""Programs of Go modules that check deployment files, each pinned by a go.mod of its own below ``tools``."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from pathlib import Path

from tests.debian_kit import ROOT, NotToBeHad

_TOOLS = Path(__file__).resolve().parent / "tools"
_CACHE = ROOT / ".cache" / "go-tools"
_BUILD_S = 1800


def go_tool(name: str) -> Path:
    """Build a program, or take the one that was built before; raises NotToBeHad with the reason."""
    source = _TOOLS / name
    files = sorted(path for path in source.iterdir() if path.suffix in {".go", ".mod", ".sum"})
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16]
    target = _CACHE / f"{name}-{digest}"
    if target.exists():
        return target
    go = shutil.which("go") or "/usr/local/go/bin/go"
    if not Path(go).exists():
        msg = f"no Go here to build {name} with"
        raise NotToBeHad(msg)
    package = re.findall(r"^tool (\S+)$", (source / "go.mod").read_text("utf-8"), re.MULTILINE)
    part = target.with_suffix(".part")
    _CACHE.mkdir(parents=True, exist_ok=True)
    command = [
        go,
        "build",
        "-mod=readonly",
        "-trimpath",
        "-ldflags",
        "-s -w",
        "-o",
        str(part),
        *(package or ["."]),
    ]
    try:
        subprocess.run(command, cwd=source, check=True, capture_output=True, timeout=_BUILD_S)
    except (OSError, subprocess.SubprocessError) as error:
        said = (getattr(error, "stderr", b"") or b"").decode()[-500:]
        msg = f"{name} can't be built: {error} {said}"
        raise NotToBeHad(msg) from error
    part.replace(target)
    return target

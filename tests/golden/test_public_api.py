"""The public names and their signatures: a change here is one for users, and needs a line in CHANGELOG."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import aicsched as ac

GOLDEN = Path(__file__).with_name("public_api.txt")
ROOT = Path(__file__).parents[2]
ADDRESS = re.compile(r"<function .*? at 0x[0-9a-f]+>")


def signature(name: str) -> str:
    thing = getattr(ac, name)
    if name == "Settings":
        # Its signature belongs to pydantic; its fields are ours.
        return f"{name}({', '.join(ac.Settings.model_fields)})"
    try:
        words = str(inspect.signature(thing))
    except (TypeError, ValueError):
        words = "(…)"
    # Default objects print their addresses; that there is one is enough here.
    return name + ADDRESS.sub("<default>", words)


def test_names_and_signatures_are_as_published() -> None:
    current = "\n".join(signature(name) for name in ac.__all__) + "\n"
    assert current == GOLDEN.read_text(encoding="utf-8"), f"if meant, write this to {GOLDEN.name}:\n{current}"


def test_there_are_at_most_thirty_names_in_order() -> None:
    assert len(ac.__all__) <= 30
    assert list(ac.__all__) == sorted(ac.__all__)


def test_the_readme_example_runs_and_is_short(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    lines = [line for line in blocks[0].splitlines() if line.strip()]
    assert len(lines) <= 15
    done = subprocess.run(
        [sys.executable, "-c", blocks[0]], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "at most" in done.stdout
    assert (tmp_path / "out" / "report.html").is_file()

"""Each benchmark runs its rival in the same run and gives a ratio, on small inputs here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import REGISTRY

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", REGISTRY)
def test_benchmarks_run_and_print_a_ratio(name: str) -> None:
    # A process of its own: rivals may warn as they load, and warnings are errors here.
    command = [sys.executable, "-m", "benchmarks", name, "--smoke"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "ratio" in done.stdout

"""kill -9 in the middle of a backtest: it goes on from what was done, and ends the same."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from aicsched import testing
from aicsched.forecast.backtest import BacktestResult, backtest

DAY_S = 86_400
PARTS = 6

# Kills itself once n parts are done ("done"), or when the n-th file is about to get its name ("rename").
RUNNER = """
import os, pathlib, signal, sys
sys.path.insert(0, sys.argv[2])
from test_backtest_kill import run
kind, point = sys.argv[3], int(sys.argv[4])
def die():
    os.kill(os.getpid(), signal.SIGKILL)
if kind == "rename":
    rename, seen = pathlib.Path.replace, []
    def replace(path, target):
        seen.append(path)
        return die() if len(seen) == point else rename(path, target)
    pathlib.Path.replace = replace
run(sys.argv[1], lambda _zone, done, _total: die() if kind == "done" and done == point else None)
"""


def run(folder: str | None, progress: Any = lambda *_: None) -> BacktestResult:
    series = {name: testing.example_series(zone=name, days=75, seed=at) for at, name in enumerate(("a", "b"))}
    start_s = series["a"].slots.start_s
    return backtest(
        series,
        model="seasonal",
        start_s=start_s + 30 * DAY_S,
        end_s=start_s + 65 * DAY_S,
        refit_days=16,
        checkpoint=folder,
        progress=progress,
    )


@pytest.mark.parametrize(("kind", "point", "kept"), [("done", 1, 1), ("done", 4, 4), ("rename", 3, 2)])
def test_a_killed_backtest_goes_on(tmp_path: Path, kind: str, point: int, kept: int) -> None:
    here = str(Path(__file__).parent)
    command = [sys.executable, "-c", RUNNER, str(tmp_path), here, kind, str(point)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    told: list[tuple[str, int, int]] = []
    resumed = run(str(tmp_path), lambda *words: told.append(words))
    assert told[0] == ("", kept, PARTS)
    assert len(told) == 1 + PARTS - kept
    whole = run(None)
    for name in ("a", "b"):
        assert resumed.zones[name].measures() == whole.zones[name].measures()

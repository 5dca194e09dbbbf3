"""kill -9 amid writing signals: what was recorded stays, a poll is whole or not there."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from aicsched.domain.carbon import CarbonSeries, IntensityKind
from aicsched.signals.store import SignalStore
from aicsched.slots import HOUR_S, SlotGrid

POLLS, SLOTS = 12, 40
WRITER = """
import os, signal, sys
sys.path.insert(0, sys.argv[2])
from test_signal_store_kill import POLLS, poll
from aicsched.signals.store import SignalStore
kind, point = sys.argv[3], int(sys.argv[4])
seen = 0
def die(_statement=None):
    global seen
    seen += 1
    if seen > point:
        os.kill(os.getpid(), signal.SIGKILL)
    return 0
with SignalStore(sys.argv[1]) as store:
    if kind == "statement":
        store._database.set_trace_callback(die)
    elif kind == "step":
        store._database.set_progress_handler(die, 7)
    for number in range(POLLS):
        store.record(poll(number), number + 1)
        print("done", number, flush=True)
"""


def poll(number: int) -> CarbonSeries:
    """Half of the slots are revised by each poll, the others are found unchanged."""
    values = 300.0 + np.arange(SLOTS) + number * (np.arange(SLOTS) % 2)
    slots = SlotGrid(0, HOUR_S, SLOTS)
    return CarbonSeries(
        grid_zone="DE", kind=IntensityKind.AVERAGE, source="t", slots=slots, values_g_per_kwh=values
    )


def killed(path: Path, kind: str, point: int) -> int:
    command = [sys.executable, "-c", WRITER, str(path), str(Path(__file__).parent), kind, str(point)]
    # What is killed can't report its coverage: without these it doesn't try.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert writer.stdout is not None
    said = 0
    for line in writer.stdout:
        said += line.startswith("done")
        if kind == "outside" and said == point:
            writer.kill()
    writer.stdout.close()
    assert writer.wait(timeout=30) == -signal.SIGKILL
    return said


POINTS = random.Random(11)
MOMENTS = [
    *(("statement", POINTS.randrange(0, 100)) for _ in range(4)),
    *(("step", POINTS.randrange(0, 800)) for _ in range(6)),
    *(("outside", POINTS.randrange(1, POLLS - 2)) for _ in range(2)),
]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no kill -9 there")
@pytest.mark.parametrize(("kind", "point"), MOMENTS)
def test_what_was_recorded_stays_and_a_poll_is_whole_or_not_there(
    tmp_path: Path, kind: str, point: int
) -> None:
    path = tmp_path / "signals.db"
    acknowledged = killed(path, kind, point)
    with SignalStore(path) as store:
        assert store.damaged == ()
        store.verify()
        kept = store.read("t", "DE").readings.read_s.max() if store.series_keys() else 0
        # A poll may be on disk though its writer died before it could say so.
        assert acknowledged <= kept <= min(acknowledged + 2, POLLS)
        for number in range(kept):
            told = store.read("t", "DE", known_at_s=number + 1)
            np.testing.assert_array_equal(told.values_g_per_kwh, poll(number).values_g_per_kwh)
        for number in range(POLLS):
            assert store.record(poll(number), number + 1) == (
                0 if number < kept else SLOTS // 2 if number else SLOTS
            )
        assert store.verify() == SLOTS + (POLLS - 1) * SLOTS // 2

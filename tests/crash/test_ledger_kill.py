"""kill -9 at every kind of moment: nothing acknowledged is lost, nothing stands twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from aicsched.account.ledger import Ledger
from aicsched.domain.decision import Decision

BATCH = 5
BATCHES = 12

# The writer says "done N" once batch N is recorded; it kills itself before its n-th
# statement ("statement"), after n steps of SQLite's machine ("step"), or is killed from outside.
WRITER = """
import os, signal, sys
sys.path.insert(0, sys.argv[2])
from test_ledger_kill import BATCHES, batch
from aicsched.account.ledger import Ledger
kind, point = sys.argv[3], int(sys.argv[4])
seen = 0
def die(_statement=None):
    global seen
    seen += 1
    if seen > point:
        os.kill(os.getpid(), signal.SIGKILL)
    return 0
with Ledger(sys.argv[1]) as ledger:
    if kind == "statement":
        ledger._database.set_trace_callback(die)
    elif kind == "step":
        ledger._database.set_progress_handler(die, 7)
    for number in range(BATCHES):
        ledger.record(batch(number))
        print("done", number, flush=True)
"""


def batch(number: int) -> list[Decision]:
    return [
        Decision(
            decision_id=f"{number}-{item}",
            decided_at_s=0,
            kind="place",
            subject=f"job-{item}",
            region="north",
            start_s=0,
            end_s=3600,
            energy_kwh=0.1 * number,
            operational_g=1.0 * item,
            embodied_g=0.0,
            counterfactual_g=2.0 * item,
            intensity_kind="average",
            policy="optimal",
            reason="x" * 400,
        )
        for item in range(BATCH)
    ]


def killed(path: Path, kind: str, point: int) -> int:
    """Run the writer until it is killed and return how many batches it acknowledged."""
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


POINTS = random.Random(7)
MOMENTS = [
    *(("statement", POINTS.randrange(0, 13 * BATCHES)) for _ in range(9)),
    *(("step", POINTS.randrange(0, 60 * BATCHES)) for _ in range(7)),
    *(("outside", POINTS.randrange(1, BATCHES - 2)) for _ in range(4)),
]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no kill -9 there")
@pytest.mark.parametrize(("kind", "point"), MOMENTS)
def test_nothing_acknowledged_is_lost_and_nothing_stands_twice(tmp_path: Path, kind: str, point: int) -> None:
    path = tmp_path / "ledger.db"
    acknowledged = killed(path, kind, point)
    whole = [item for number in range(BATCHES) for item in batch(number)]
    with Ledger(path) as ledger:
        kept = ledger.verify().entries
        assert kept % BATCH == 0, "a batch is whole or not there"
        # A batch may be on disk though its writer died before it could say so.
        assert acknowledged * BATCH <= kept <= min((acknowledged + 2) * BATCH, len(whole))
        assert list(ledger.entries()) == whole[:kept]
        assert ledger.record(whole) == len(whole) - kept
        assert list(ledger.entries()) == whole
        assert ledger.verify().entries == len(whole)

"""HiGHS beside ours in one process, imported before and after: two copies of its symbols must not meet."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Our three ways into OR-Tools (GLOP, SCIP, CP-SAT), then a linear programme of HiGHS's own.
OURS = """
from aicsched.place.cpsat import solve_exact
from aicsched.place.master import Column, Master, solve_columns
from aicsched.place.problem import build_problem
from tests.place_kit import CURVES, GRID, fleet, job

problem = build_problem([job("a"), job("b")], fleet(1.0), CURVES, GRID)
columns = [Column(one, 0, (slot,), problem.cost_g(one, 0, [slot])) for one in range(2) for slot in range(8)]
master = Master(problem, 1000.0)
master.add(columns)
relaxed = master.solve()
assert abs(relaxed.objective_g - 5.0) < 1e-6, relaxed
whole = solve_columns(problem, columns, problem.capacity, gap=0.0)
assert sorted(column.slots for column in whole.values()) == [(3,), (4,)], whole
exact = solve_exact(problem)
assert sorted(exact.choice.slots.tolist()) == [3, 4], exact
"""
THEIRS = """
import highspy
other = highspy.Highs()
other.setOptionValue("output_flag", False)
x = other.addVariable(lb=1.0, ub=3.0)
other.maximize(x)
assert abs(other.getObjectiveValue() - 3.0) < 1e-9
"""


def run(code: str) -> None:
    """Run code in a process of its own, from where `tests` and `src` can be imported."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "src")])
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(
    importlib.util.find_spec("highspy") is None, reason="highspy is not installed: nothing to clash with"
)
@pytest.mark.parametrize("code", [THEIRS + OURS + THEIRS, OURS + THEIRS + OURS], ids=["before", "after"])
def test_our_solvers_work_beside_highspy_in_either_order(code: str) -> None:
    run(code)


def test_our_side_of_it_passes_alone() -> None:
    # So that a failure above lies in what stands beside it.
    run(OURS)

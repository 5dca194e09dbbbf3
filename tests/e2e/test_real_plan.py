"""The main job on real grids and real jobs, twice."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e
SCRIPT = Path(__file__).with_name("real_plan.sh")
# Greedy policies under the same deadlines and capacities.
BASELINES = ("no_wait", "lowest_slot", "lowest_window")


def test_the_real_plan_is_proven_better_and_repeatable(shared_data: Path, tmp_path: Path) -> None:
    env = {**os.environ, "AICSCHED_SHARED": str(shared_data), "OUT": str(tmp_path)}
    first, second = (
        subprocess.run(["bash", str(SCRIPT)], env=env, capture_output=True, check=True).stdout
        for _ in range(2)
    )
    assert first == second
    plan = json.loads(first)
    assert plan["checked"] is True
    assert plan["jobs"] >= 2000
    assert plan["regions"] == 6
    assert 0 <= plan["gap"] <= 0.01
    policies = plan["policies"]
    for name in BASELINES:
        assert policies["optimal"]["total_g"] < policies[name]["total_g"]
    assert plan["synthetic"] is False

"""Online policies of third parties: installed, found by name, checked and simulated."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest

from aicsched.errors import ConfigError, PluginError
from aicsched.place.online import ONLINE, ROAMING, ArrivalPolicy, Batch, RunPlans, make_online
from aicsched.place.online.waiting import CarbonTime, LowestWindow
from aicsched.testing import check_online_policy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aicsched.place.online import Action, ClusterView

DOCS = Path(__file__).resolve().parents[2] / "docs" / "simulation.md"


def example() -> tuple[str, str]:
    """Give the entry points and the module as the documentation shows them."""
    part = DOCS.read_text(encoding="utf-8").partition("## A policy of yours")[2]
    toml, module = (re.findall(rf"```{kind}\n(.*?)```", part, re.DOTALL)[0] for kind in ("toml", "python"))
    return toml, module


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Install a wheel with the documented policy, and two that are wrong, into a folder of its own."""
    toml, module = example()
    name, value = re.findall(r'^(\w+) = "(.+)"$', toml, re.MULTILINE)[0]
    info = "night_shift-1.0.dist-info"
    points = f"{name} = {value}\nbroken = night_shift:Absent\nliar = night_shift:NightShift\n"
    wheel = tmp_path / "night_shift-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("night_shift.py", module)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: night-shift\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/entry_points.txt", f"[aicsched.online_policies]\n{points}")
        archive.writestr(f"{info}/RECORD", "")
    folder = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    monkeypatch.syspath_prepend(str(folder))
    importlib.invalidate_caches()
    yield folder
    sys.modules.pop("night_shift", None)


def test_an_installed_policy_is_found_checked_and_simulated(installed: Path, tmp_path: Path) -> None:
    made = make_online("night-shift")
    assert made.name == "night_shift"
    check_online_policy(type(made))  # type: ignore[arg-type]
    (tmp_path / "jobs.csv").write_text("arrival_time,length,cpus\n0,7000,1\n3600,1800,2\n")
    (tmp_path / "grid.csv").write_text("g_per_kwh\n" + "\n".join(["300", "200", "100"] * 20) + "\n")
    path = os.pathsep.join([str(installed), *(item for item in sys.path if item)])
    command = ["simulate", "--jobs", "jobs.csv", "--carbon", "grid.csv", "--policy", "night_shift"]
    begin = [sys.executable, "-c", "from aicsched.cli import main; main()"]
    told = subprocess.run(
        [*begin, *command, "--processes", "2", "--json"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    (row,) = json.loads(told.stdout)["policies"]
    assert row["policy"] == "night_shift"
    # From the start of the day, two hours; from one o'clock, one.
    assert row["mean_wait_h"] == pytest.approx(1.5)


@pytest.mark.usefixtures("installed")
def test_faults_of_strangers_are_reported_and_take_nobody_down() -> None:
    with pytest.raises(PluginError, match=r"'broken' \(night_shift:Absent\) can't be loaded"):
        make_online("broken")
    with pytest.raises(PluginError, match="calls itself 'night_shift'"):
        make_online("liar")
    with pytest.raises(ConfigError, match="did you mean night_shift"):
        make_online("night_shfit")
    assert make_online("price").name == "price"


@pytest.mark.parametrize("make", [*ONLINE.values(), *ROAMING.values()], ids=lambda kind: kind.__name__)
def test_our_own_keep_the_rules(make: Callable[[], Any]) -> None:
    check_online_policy(make)


class Late(LowestWindow):
    """It starts a day later than it may."""

    def plan_arrivals(self, batch: Batch) -> RunPlans:
        plans = super().plan_arrivals(batch)
        return replace(plans, start_s=plans.start_s + 30 * 3600.0)


class Early(LowestWindow):
    """It starts before the job has come."""

    def plan_arrivals(self, batch: Batch) -> RunPlans:
        return RunPlans.starting_at(batch.jobs.arrival_s - 60.0)


class Moody(LowestWindow):
    """It draws lots."""

    def plan_arrivals(self, batch: Batch) -> RunPlans:
        lots = np.random.default_rng().uniform(0, 1, len(batch.jobs))
        return RunPlans.starting_at(batch.jobs.arrival_s + lots * batch.jobs.max_wait_s)


class Peeker(LowestWindow):
    """It goes by forecasts that have not been issued yet."""

    def plan_arrivals(self, batch: Batch) -> RunPlans:
        last = np.full(len(batch.jobs), len(batch.vintages.issue_s) - 1, dtype=np.int64)
        low = float(batch.vintages.g_per_kwh[last[0], 0])
        return RunPlans.starting_at(batch.jobs.arrival_s + low % 7 * 100.0)


class Undeclared(LowestWindow):
    """It goes by true lengths and doesn't say so."""

    lengths: ClassVar[str] = "true"


class Idle:
    """It starts nothing."""

    name: ClassVar[str] = "idle"
    lengths: ClassVar[str] = "unused"

    def decide(self, view: ClusterView, now_s: float) -> list[Action]:
        del view, now_s
        return []


class Split(CarbonTime):
    """Live it does something else than simulated."""

    def decide(self, view: Any, now_s: float) -> list[Action]:
        return [replace(item, stretches=(), at_s=now_s) for item in super().decide(view, now_s)]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (Late, "no job may be idle longer"),
        (Early, "before it has come"),
        (Moody, "equal input must give equal runs"),
        (Peeker, "issued later"),
        (Undeclared, "oracle = True"),
        (Idle, "all jobs must be done"),
        (Split, "what decide gives"),
    ],
)
def test_the_suite_can_fail(make: Callable[[], Any], words: str) -> None:
    assert issubclass(Late, ArrivalPolicy)
    with pytest.raises(AssertionError, match=words):
        check_online_policy(make)

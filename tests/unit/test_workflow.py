"""The main job on the sample, end to end, and on files."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import aicsched as ac
from aicsched.errors import InputError, LedgerCorrupt, OutputError, SlotError
from aicsched.publish import report_data
from aicsched.workflow import summary


@pytest.fixture(scope="module")
def run() -> ac.PlanRun:
    carbon = ac.SampleCarbon()
    fleet = ac.sample_fleet()
    return ac.plan_work(carbon, fleet, ac.sample_jobs(fleet), at_s=carbon.now_s, horizon_h=96)


def test_the_plan_beats_every_greedy_baseline_with_a_proof(run: ac.PlanRun) -> None:
    facts = summary(run)
    assert facts["gap"] is not None
    assert facts["gap"] <= 0.01
    assert facts["lower_bound_g"] <= facts["objective_g"]
    others = [item["total_g"] for name, item in facts["policies"].items() if name != facts["policy"]]
    assert len(others) == 3
    assert all(facts["objective_g"] < total_g for total_g in others)
    assert set(run.realised_g) == set(facts["policies"])


def test_nothing_after_the_planning_time_decides(run: ac.PlanRun) -> None:
    class Blind(ac.SampleCarbon):
        def read(self, zone: str, window: Any = None) -> ac.CarbonSeries:
            return super().read(zone, window).before(run.at_s)

    blind = ac.plan_work(Blind(), run.fleet, run.jobs, at_s=run.at_s, horizon_h=96)
    assert blind.placement == run.placement
    assert blind.realised_g == {}


def test_what_is_saved_is_whole_and_repeatable(run: ac.PlanRun, tmp_path: Path) -> None:
    first = ac.save_plan(run, tmp_path / "a")
    second = ac.save_plan(run, tmp_path / "b")
    for name in ("report", "plan"):
        texts = [Path(files[name]).read_bytes() for files in (first, second)]
        assert hashlib.sha256(texts[0]).digest() == hashlib.sha256(texts[1]).digest(), name
    with ac.Ledger(first["ledger"]) as one, ac.Ledger(second["ledger"]) as two:
        assert one.verify().head == two.verify().head
        assert one.verify().entries == len(run.jobs)
    plan = json.loads((tmp_path / "a" / "plan.json").read_text())
    assert len(plan["assignments"]) == len(run.jobs)
    total_g = sum(item["operational_g"] + item["transfer_g"] for item in plan["assignments"])
    assert total_g == pytest.approx(run.placement.total_g, rel=1e-9)
    again = ac.save_plan(run, tmp_path / "a")
    with ac.Ledger(again["ledger"]) as ledger:
        assert ledger.verify().entries == len(run.jobs)
    assert sorted(path.name for path in (tmp_path / "a").iterdir() if "ledger" not in path.name) == [
        "plan.json",
        "report.html",
    ]


def test_a_changed_ledger_is_found(run: ac.PlanRun, tmp_path: Path) -> None:
    files = ac.save_plan(run, tmp_path)
    database = sqlite3.connect(files["ledger"])
    with database:
        triggers = database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for (name,) in triggers:
            database.execute(f"DROP TRIGGER {name}")
        assert database.execute(
            "UPDATE entries SET body = replace(body, 'job-', 'jab-') WHERE seq = 3"
        ).rowcount
    database.close()
    with ac.Ledger(files["ledger"]) as ledger, pytest.raises(LedgerCorrupt, match="3"):
        ledger.verify()


def test_a_folder_that_can_not_be_written_is_an_error(run: ac.PlanRun, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(OutputError, match="file"):
        ac.save_plan(run, blocked)


def test_planning_after_the_data_is_refused(run: ac.PlanRun) -> None:
    end_s = ac.SampleCarbon().read(run.fleet.regions[0].grid_zone).slots.end_s
    with pytest.raises(SlotError, match="behind the last"):
        ac.plan_work(ac.SampleCarbon(), run.fleet, run.jobs, at_s=end_s + 86400)


def test_kinds_are_never_mixed(run: ac.PlanRun) -> None:
    class Mixed(ac.SampleCarbon):
        def read(self, zone: str, window: Any = None) -> ac.CarbonSeries:
            kind = "marginal" if zone == run.fleet.regions[0].grid_zone else "average"
            return ac.SampleCarbon(kind=kind).read(zone, window)  # type: ignore[arg-type]

    with pytest.raises(InputError, match="mix average and marginal"):
        ac.plan_work(Mixed(), run.fleet, run.jobs)


def test_importing_is_light() -> None:
    code = (
        "import sys, aicsched\n"
        "heavy = {'numpy', 'numba', 'pandas', 'scipy', 'ortools', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert len(aicsched.__all__) <= 30 and set(aicsched.__all__) < set(dir(aicsched))\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_names_that_do_not_exist_are_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        ac.nothing  # noqa: B018


def test_a_report_names_one_candidate_a_region(run: ac.PlanRun) -> None:
    nodes = ac.score_nodes(ac.Request(vcpus=8, duration_s=14_400), run.fleet, run.forecasts, start_s=run.at_s)
    data = report_data(run, nodes=nodes)
    home = {node.name: node.region for node in run.fleet.nodes}
    best, worst = ([item.card for item in part] for part in (data.best, data.worst))
    assert len({home[card.candidate] for card in best}) == len(best) == 3
    assert len({home[card.candidate] for card in worst}) == len(worst) == 2
    assert best[0] == nodes[0]
    assert worst[0] == [card for card in nodes if card.feasible][-1]


def test_a_plan_for_bad_scenarios_says_what_they_cost_it() -> None:
    carbon, fleet = ac.SampleCarbon(), ac.sample_fleet()
    jobs = ac.sample_jobs(fleet)[:300]
    made = ac.plan_work(carbon, fleet, jobs, at_s=carbon.now_s, cvar_alpha=0.8, gap_share=0.01)
    facts = summary(made)
    risk = facts["risk"]
    assert risk["measure"] == "CVaR 0.8"
    assert risk["lower_bound_g"] <= risk["cvar_g"] <= risk["expected_plan"]["cvar_g"]
    assert risk["gap"] <= 0.02
    # What the certificate states is expected grams still.
    assert facts["objective_g"] == pytest.approx(made.placement.total_g)
    assert facts["lower_bound_g"] <= risk["expected_plan"]["total_g"]
    assert made.placement.policy == "cvar"
    assert any("CVaR 0.8 of 200 scenarios" in note for note in made.notes)

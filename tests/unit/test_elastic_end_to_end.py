"""Jobs that scale, from a file of jobs to the plan's files: ledger, JSON and report."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import aicsched as ac
from aicsched.account.decisions import job_embodied_g
from aicsched.domain.arrays import placement_frame
from aicsched.domain.scaling import speed_at
from aicsched.errors import Infeasible, InputError, PlanRefused
from aicsched.fleet.jobs_file import jobs_to_csv, read_jobs
from aicsched.place.check import check
from aicsched.place.confirm import confirm
from aicsched.place.elastic import build_elastic, solve_elastic
from aicsched.place.elastic.explain import explain_elastic
from aicsched.place.problem import build_problem
from aicsched.publish import report_data
from aicsched.slots import HOUR_S
from aicsched.workflow import summary
from tests.place_kit import CURVES, GRID, fleet, job

SCALING = (1.0, 1.9, 2.7, 3.4)


def queue(file: Path) -> tuple[ac.Job, ...]:
    """Every fourth job of the sample scales; written to a file, and read again."""
    jobs = [
        replace(item, scaling=SCALING, suspendable=True, min_machines=1 + index % 8 // 4)
        if index % 4 == 0 and item.deferrable
        else item
        for index, item in enumerate(ac.sample_jobs(ac.sample_fleet())[:160])
    ]
    file.write_text(jobs_to_csv(jobs), encoding="utf-8")
    assert read_jobs(file) == tuple(jobs)
    return read_jobs(file)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> ac.PlanRun:
    carbon = ac.SampleCarbon()
    jobs = queue(tmp_path_factory.mktemp("queue") / "jobs.csv")
    return ac.plan_work(carbon, ac.sample_fleet(), jobs, at_s=carbon.now_s, horizon_h=96)


def test_the_plan_has_a_bound_and_beats_the_greedy_ones(run: ac.PlanRun) -> None:
    facts = summary(run)
    assert facts["gap"] <= 0.02
    assert facts["lower_bound_g"] <= facts["objective_g"]
    others = [item["total_g"] for name, item in facts["policies"].items() if name != facts["policy"]]
    assert len(others) == 3
    assert all(facts["objective_g"] < total_g for total_g in others)
    assert set(run.realised_g) == set(facts["policies"])
    scaled = [row for row in run.placement.assignments if row.machines]
    assert len(scaled) == sum(bool(item.scaling) for item in run.jobs)
    assert max(max(row.machines) for row in scaled) > 1


def test_ledger_files_and_report_say_what_was_planned(run: ac.PlanRun, tmp_path: Path) -> None:
    files = ac.save_plan(run, tmp_path, data=report_data(run))
    plan = json.loads(Path(files["plan"]).read_text(encoding="utf-8"))
    assert [tuple(row["machines"]) for row in plan["assignments"]] == [
        row.machines for row in run.placement.assignments
    ]
    frame = placement_frame(run.placement)
    decisions = report_data(run).decisions
    for item, row, decision, machine_h in zip(
        run.jobs, run.placement.assignments, decisions, frame["machine_h"], strict=True
    ):
        region = run.fleet.region(row.region)
        if not row.machines:
            assert machine_h == len(row.slot_indices)
            continue
        assert machine_h == pytest.approx(sum(row.machines))
        done_h = sum(speed_at(item.scaling, item.min_machines, count) for count in row.machines)
        assert done_h * HOUR_S == pytest.approx(item.duration_s)
        kwh = item.vcpus * region.power_w_per_vcpu * region.pue * machine_h / 1000
        assert decision.energy_kwh == pytest.approx(kwh)
        assert decision.embodied_g == job_embodied_g(item, region, row)
        assert "machine" in decision.reason
    with ac.Ledger(files["ledger"]) as ledger:
        assert ledger.verify().entries == len(run.jobs)
        assert sum(item.operational_g for item in ledger.entries()) == pytest.approx(run.placement.total_g)


JOBS = [
    job("a", scaling=(1.0, 1.75, 2.25), suspendable=True, duration_s=3 * HOUR_S, data_gb=2.0),
    job("b", scaling=(1.0, 1.5), suspendable=True, duration_s=2 * HOUR_S, vcpus=2.0),
    job("c", duration_s=2 * HOUR_S, vcpus=2.0),
]


def test_an_explanation_names_what_is_full_and_the_next_best_region() -> None:
    sites = fleet(3.0, 3.0)
    problem = build_elastic(JOBS, sites, CURVES, GRID)
    plan = solve_elastic(problem, gap=0.0)
    said = explain_elastic(problem, plan, plan)
    assert [item.job_id for item in said] == ["a", "b", "c"]
    for item, (name, made) in zip(JOBS, zip(said, plan.assignments, strict=True), strict=True):
        mate = JOBS[1] if item is JOBS[0] else JOBS[0]
        alone = solve_elastic(build_elastic([item, mate], fleet(99.0, 99.0), CURVES, GRID))
        assert name.unlimited_g == pytest.approx(alone.assignments[0].total_g)
        assert name.unlimited_g <= made.total_g + 1e-9
        # What is full there really has no room for it beside the others.
        if made.total_g > name.unlimited_g + 1e-6:
            assert name.limits
        # The others stay: the next best region is what a plan of this job alone finds in what they leave.
        free = {region.name: np.full(8, 3.0) for region in sites.regions}
        for other, row in zip(JOBS, plan.assignments, strict=True):
            if other is not item:
                counts = [int(np.ceil(count - 1e-9)) for count in row.machines] or [1] * len(row.slot_indices)
                free[row.region][list(row.slot_indices)] -= other.vcpus * np.array(counts)
        if not item.scaling:
            continue
        elsewhere = next(region.name for region in sites.regions if region.name != made.region)
        bound = replace(item, allowed_regions=(elsewhere,))
        try:
            best = solve_elastic(build_elastic([bound], sites, CURVES, GRID, free_vcpus=free), gap=0.0)
        except Infeasible:
            assert name.runner_up_region == ""
            continue
        assert name.runner_up_region == elsewhere
        assert name.runner_up_g == pytest.approx(best.total_g)


def test_the_validator_sees_work_undone_and_machines_that_are_not_there() -> None:
    sites = fleet(3.0, 3.0)
    plan = solve_elastic(build_elastic(JOBS, sites, CURVES, GRID))
    check(JOBS, sites, CURVES, GRID, plan)
    row = plan.assignments[0]

    def changed(**change: object) -> ac.Placement:
        return replace(plan, assignments=(replace(row, **change), *plan.assignments[1:]))  # type: ignore[arg-type]

    less = (row.machines[0] / 2, *row.machines[1:])
    with pytest.raises(PlanRefused, match="of work"):
        check(JOBS, sites, CURVES, GRID, changed(machines=less))
    with pytest.raises(PlanRefused, match="numbers of machines"):
        check(JOBS, sites, CURVES, GRID, changed(machines=()))
    with pytest.raises(PlanRefused, match="doesn't reach"):
        check(JOBS, sites, CURVES, GRID, changed(machines=(9.0, *row.machines[1:])))
    with pytest.raises(PlanRefused, match="emits"):
        check(JOBS, sites, CURVES, GRID, changed(operational_g=row.operational_g * 1.001))
    with pytest.raises(PlanRefused, match="vCPUs in slot"):
        check(JOBS, fleet(3.0, 0.5), CURVES, GRID, plan)
    other = plan.assignments[2]
    wrong = replace(plan, assignments=(*plan.assignments[:2], replace(other, machines=(1.0, 1.0))))
    with pytest.raises(PlanRefused, match="numbers of machines"):
        check(JOBS, sites, CURVES, GRID, wrong)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"scaling": (1.0, 0.9)}, "no speeds"),
        ({"scaling": (1.0, 1.2, 1.9)}, "no speeds"),
        ({"scaling": (2.0, 3.0)}, "no speeds"),
        ({"scaling": (1.0, float("nan"))}, "no speeds"),
        ({"scaling": (1.0, 1.5), "suspendable": False}, "can't pause"),
        ({"scaling": (1.0, 1.5), "resume_s": 60.0}, "can't pause"),
        ({"scaling": (1.0, 1.5), "min_machines": 3}, "min_machines is 3"),
        ({"min_machines": 2}, "min_machines is 2"),
        ({"scaling": (1.0, 1.5), "duration_s": 13 * HOUR_S}, "runs 8.66667 h but"),
    ],
)
def test_profiles_that_can_not_be_are_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        job("a", **({"suspendable": True} | change))


def test_what_can_not_be_planned_together_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="job 'a' scales"):
        build_problem(JOBS, fleet(3.0, 3.0), CURVES, GRID)
    with pytest.raises(InputError, match="no job of the queue scales"):
        build_elastic(JOBS[2:], fleet(3.0, 3.0), CURVES, GRID)
    late = job("d", after=("a",))
    with pytest.raises(InputError, match="job 'd' waits for 'a', which scales"):
        build_elastic([*JOBS, late], fleet(3.0, 3.0), CURVES, GRID)
    with pytest.raises(Infeasible, match="even alone, first 'b'"):
        build_elastic([JOBS[0], replace(JOBS[1], duration_s=9 * HOUR_S)], fleet(3.0, 3.0), CURVES, GRID)
    file = tmp_path / "jobs.csv"
    file.write_text(jobs_to_csv(JOBS).replace("1.0;1.75;2.25", "1.0;fast"), encoding="utf-8")
    with pytest.raises(InputError, match="scaling holds what is no number"):
        read_jobs(file)
    plan = solve_elastic(build_elastic(JOBS, fleet(3.0, 3.0), CURVES, GRID))
    with pytest.raises(InputError, match="not confirmed here"):
        confirm(JOBS, fleet(3.0, 3.0), CURVES, GRID, plan, baseline=plan, explanations=())
    carbon = ac.SampleCarbon()
    with pytest.raises(InputError, match="jobs that scale \\('a'\\) and a plan for bad scenarios"):
        ac.plan_work(carbon, ac.sample_fleet(), JOBS, at_s=carbon.now_s, cvar_alpha=0.9)

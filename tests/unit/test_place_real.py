"""The ladder on real grids and a real trace, with the actual intensities as the forecast."""

from __future__ import annotations

import csv
import importlib
import json
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from aicsched.domain.carbon import IntensityKind
from aicsched.domain.forecast import Forecast
from aicsched.fleet.file import read_fleet
from aicsched.fleet.jobs_file import read_jobs
from aicsched.place.check import check
from aicsched.place.explain import explain_all
from aicsched.place.policies import GREEDY, make_policy
from aicsched.place.problem import build_problem
from aicsched.place.solve import solve
from aicsched.slots import HOUR_S, SlotGrid, parse_time

if TYPE_CHECKING:
    from pathlib import Path

AT_S = parse_time("2021-10-04T00:00Z")
GRID = SlotGrid(AT_S, HOUR_S, 96)


def actual(folder: Path, zone: str) -> Forecast:
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(
        folder / "data" / "carbon" / f"ccast13_{zone}.parquet", columns=["ci_lifecycle"]
    )
    first = (AT_S - parse_time("2020-01-01T00:00Z")) // HOUR_S
    values = table.column(0).to_numpy().astype(np.float64)[first : first + len(GRID)]
    return Forecast(
        grid_zone=zone,
        kind=IntensityKind.AVERAGE,
        slots=GRID,
        issue_time_s=AT_S,
        mean_g_per_kwh=values,
        levels=(),
        quantiles_g_per_kwh=np.zeros((0, len(GRID))),
        model="actual",
        source=zone,
    )


def test_four_thousand_real_jobs_are_planned_with_a_proof(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(sys, "path", [str(request.config.rootpath / "tests" / "e2e"), *sys.path])
    monkeypatch.setenv("AICSCHED_SHARED", str(shared_data))
    make_real_input = importlib.import_module("make_real_input")
    assert make_real_input.main(["--out", str(tmp_path), "--at", "2021-10-04T00:00Z"]) == 0
    assert len(json.loads((tmp_path / "fleet.json").read_text())["regions"]) == 6
    with (tmp_path / "jobs.csv").open() as file:
        assert sum(1 for _ in csv.DictReader(file)) >= 2000
    jobs, fleet = read_jobs(tmp_path / "jobs.csv"), read_fleet(tmp_path / "fleet.json")
    forecasts = {region.grid_zone: actual(shared_data, region.grid_zone) for region in fleet.regions}
    problem = build_problem(jobs, fleet, forecasts, GRID)
    # The class of the instance: capacity is 25 times the largest job, and more than half of it is asked for.
    assert problem.capacity_vcpus.max() >= 25 * problem.vcpus.max()
    assert (problem.vcpus * problem.n_slots).sum() >= 0.5 * problem.capacity_vcpus.sum()
    plan = solve(problem, gap=0.005)
    check(jobs, fleet, forecasts, GRID, plan)
    assert plan.certificate.gap <= 0.01
    no_wait = make_policy("no_wait").plan(problem)
    for name in GREEDY:
        baseline = make_policy(name).plan(problem)
        check(jobs, fleet, forecasts, GRID, baseline)
        assert plan.certificate.lower_bound_g < plan.total_g < baseline.total_g
    reasons = explain_all(problem, plan, no_wait)
    assert len({item.job_id for item in reasons}) == len(jobs)


def test_a_missing_trace_is_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(sys, "path", [str(request.config.rootpath / "tests" / "e2e"), *sys.path])
    monkeypatch.setenv("AICSCHED_SHARED", str(tmp_path))
    make_real_input = importlib.import_module("make_real_input")
    assert make_real_input.main(["--out", str(tmp_path)]) == 2
    assert "set it to the shared data folder" in capsys.readouterr().err

"""Let's Wait Awhile: both scenarios on its own grids, against what its code gives."""

from __future__ import annotations

import csv
import gzip
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pytest

from aicsched.errors import ConfigError
from aicsched.place.online.waiting import LowestSlot, LowestWindow, NoWait, WaitAwhile
from aicsched.simulate import Truth, simulate
from aicsched.simulate.scenarios import nightly_jobs, noisy_forecast, project_jobs

if TYPE_CHECKING:
    from pathlib import Path

    from aicsched.place.online import ArrivalPolicy

SLOT_S = 1800.0


@cache
def load(folder: Path, country: str) -> Truth:
    """Read half-hourly values from 1 January on; the file of GB has quarters of an hour in places."""
    file = folder / "data" / "workloads" / "lets-wait-awhile" / f"lwa_{country}_ci.csv.gz"
    with gzip.open(file, "rt") as lines:
        rows = [(row["Time"], float(row["Carbon Intensity"])) for row in csv.DictReader(lines)]
    kept = [value for time, value in rows if time >= "2020" and time[14:16] in {"00", "30"}]
    return Truth(g_per_kwh=np.array(kept), step_s=SLOT_S)


# Saving at ±2, 4, 6 and 8 h [%], by country and error of the forecast.
NIGHTLY = {
    ("gb", 0.0): (6.8, 8.6, 9.1, 10.4),
    ("fr", 0.0): (4.7, 6.1, 7.1, 7.8),
    ("gb", 0.05): (4.8, 6.3, 6.7, 7.9),
    ("fr", 0.05): (3.0, 4.1, 5.0, 5.6),
}


@pytest.mark.parametrize(("country", "error"), NIGHTLY)
def test_nightly_jobs_save_what_was_published(shared_data: Path, country: str, error: float) -> None:
    truth = load(shared_data, country)
    base = simulate("no_wait", nightly_jobs(0), truth).metrics.carbon_g
    for hours, published in zip((2, 4, 6, 8), NIGHTLY[country, error], strict=True):
        work = nightly_jobs(hours * 3600.0, as_published=True)
        made = [
            simulate(LowestSlot(), work, truth, vintages=noisy_forecast(truth, error, seed)).metrics.carbon_g
            for seed in range(10 if error else 1)
        ]
        assert 100 * (1 - np.mean(made) / base) == pytest.approx(published, abs=0.1)


# Rule, error, saving of one stretch and of interruptible jobs [%], in GB.
PROJECT = (
    ("next_workday", 0.0, 6.57, 9.23),
    ("semi_weekly", 0.0, 14.75, 20.00),
    ("semi_weekly", 0.1, 14.67, 18.80),
)


@pytest.mark.parametrize(("rule", "error", "through", "interrupted"), PROJECT)
def test_project_jobs_save_what_was_published(
    shared_data: Path, rule: str, error: float, through: float, interrupted: float
) -> None:
    truth = load(shared_data, "gb")
    work = project_jobs(rule, as_published=True)
    assert len(work) == 3387
    assert work.length_s.sum() / 3600 == 155_626
    baseline = project_jobs("at_once", as_published=True)
    base = simulate(LowestWindow(SLOT_S), baseline, truth).metrics.carbon_g
    for policy, published in ((LowestWindow(SLOT_S), through), (WaitAwhile(), interrupted)):
        saved = [saving(policy, work, truth, error, seed, base) for seed in range(3 if error else 1)]
        # Three of the ten seeds of the errors are within their spread of the mean.
        assert np.mean(saved) == pytest.approx(published, abs=0.1)


def saving(policy: ArrivalPolicy, work: object, truth: Truth, error: float, seed: int, base: float) -> float:
    made = simulate(policy, work, truth, vintages=noisy_forecast(truth, error, seed))
    assert made.metrics.completed_jobs == 3387
    assert made.metrics.late_jobs == 0
    return 100 * (1 - made.metrics.carbon_g / base)


def test_nights_before_the_year_are_cut_where_the_code_drops_them() -> None:
    assert len(nightly_jobs(4 * 3600.0)) == 365
    assert nightly_jobs(4 * 3600.0).pending.arrival_s[0] == 0
    assert nightly_jobs(4 * 3600.0).pending.max_wait_s[0] == 5 * 3600
    assert len(nightly_jobs(4 * 3600.0, as_published=True)) == 364


def test_deadlines_are_mornings_of_workdays() -> None:
    work = project_jobs("semi_weekly")
    due = work.pending.arrival_s + work.length_s + work.pending.max_wait_s
    assert set((due % 86_400 / 3600).tolist()) == {9}
    # 2020 began on a Wednesday.
    assert set(((due // 86_400 + 2) % 7).tolist()) == {0, 3}
    assert (work.pending.max_wait_s < 4 * 86_400).all()
    short = project_jobs("next_workday")
    assert (short.pending.max_wait_s <= 2 * 86_400 + 9 * 3600).all()
    assert (short.pending.max_wait_s == 0).any()
    with pytest.raises(ConfigError, match="did you mean semi_weekly"):
        project_jobs("semiweekly")


def test_errors_are_drawn_anew_by_seed_and_none_is_an_oracle() -> None:
    truth = Truth(g_per_kwh=np.full(500, 200.0), step_s=SLOT_S)
    first, again, other = (noisy_forecast(truth, 0.1, seed) for seed in (1, 1, 2))
    assert (first.g_per_kwh == again.g_per_kwh).all()
    assert (first.g_per_kwh != other.g_per_kwh).any()
    assert first.g_per_kwh.std() == pytest.approx(20, rel=0.1)
    assert (first.oracle, noisy_forecast(truth, 0.0, 0).oracle) == (False, True)
    assert simulate(NoWait(), nightly_jobs(0, days=2), truth, vintages=first).oracle_forecast is False

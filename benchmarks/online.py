"""How far decisions by real forecasts are from the best in hindsight: the empirical competitive ratio.

A thousand starts in each of 13 grids, July to December 2021: a job of four hours
with a day of slack, decided on by the newest of the forecasts that were issued once
a day. Its grams are divided by those of the best start that hindsight finds. Beside
our forecasts stand those that CarbonCast published, for the same policies in the same
run, and what happens where nobody waits.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from aicsched.forecast.backtest import backtest
from aicsched.place.online import Pending, Vintages
from aicsched.place.online.waiting import LowestWindow, NoWait, WaitAwhile
from aicsched.simulate import Truth, Workload, simulate
from aicsched.slots import HOUR_S
from benchmarks.forecast_data import SMOKE_ZONES, ZONES, Case, anchor_runs, folder, real_case, sample_case
from benchmarks.tables import Table

if TYPE_CHECKING:
    from aicsched.forecast.measure import ZoneRun
    from aicsched.place.online import ArrivalPolicy

TITLE = "Online: decisions by real forecasts against hindsight"
LENGTH_H, SLACK_H = 4, 24
STARTS = 1000
# Starts end this long before the last forecast does.
ROOM_H = 72
# Ratio that 95 of 100 decisions must keep to, with our forecasts.
BOUND = 1.10


def _workload(hours: float, count: int) -> Workload:
    arrival_s = np.sort(np.random.default_rng(0).uniform(0, hours, count)) * HOUR_S
    length_s = np.full(count, float(LENGTH_H * HOUR_S))
    pending = Pending(
        job=np.arange(count),
        arrival_s=arrival_s,
        estimate_s=length_s,
        max_wait_s=np.full(count, float(SLACK_H * HOUR_S)),
        vcpus=np.ones(count),
        queue=np.zeros(count, dtype=np.int64),
    )
    return Workload(pending=pending, length_s=length_s)


def _grams(policy: ArrivalPolicy, work: Workload, truth: Truth, known: Vintages | None = None) -> np.ndarray:
    log = simulate(policy, work, truth, vintages=known).log
    return np.bincount(log.job, weights=log.grams(truth, 1.0), minlength=len(work))


def _vintages(run: ZoneRun, start_s: int) -> Vintages:
    issue_s = (run.issue_times_s - start_s).astype(np.float64)
    return Vintages(issue_s=issue_s, start_s=issue_s, step_s=float(run.step_s), g_per_kwh=run.mean_g_per_kwh)


def _ratios(case: Case, runs: dict[str, dict[str, ZoneRun]], count: int) -> dict[str, dict[str, np.ndarray]]:
    """Return, by method and zone, each decision's grams over those of hindsight."""
    made: dict[str, dict[str, np.ndarray]] = {}
    for zone, series in case.series.items():
        step_s = series.slots.step_s
        first = (case.start_s - series.slots.start_s) // step_s
        days = (case.end_s - case.start_s) // (24 * HOUR_S)
        truth = Truth(
            g_per_kwh=series.values_g_per_kwh[first : first + (days + 4) * 24 * HOUR_S // step_s],
            step_s=float(step_s),
        )
        work = _workload(min(days * 24.0, truth.end_s / HOUR_S) - ROOM_H, count)
        best = {policy.name: _grams(policy, work, truth) for policy in (LowestWindow(), WaitAwhile())}
        made.setdefault("no_wait", {})[zone] = _grams(NoWait(), work, truth) / best["lowest_window"]
        for name, by_zone in runs.items():
            known = _vintages(by_zone[zone], case.start_s)
            for policy in (LowestWindow(), WaitAwhile()):
                way = "runs through" if policy.name == "lowest_window" else "interruptible"
                ratio = _grams(policy, work, truth, known) / best[policy.name]
                made.setdefault(f"{name}, {way}", {})[zone] = ratio
    return made


def run(*, smoke: bool) -> list[Table]:
    """Measure ratios.

    Parameters
    ----------
    smoke : bool
        Three grids with the published forecasts only, or the embedded sample with ours.

    Returns
    -------
    list of Table
        Over all decisions, and by zone.
    """
    root = folder()
    zones = SMOKE_ZONES if smoke else ZONES
    case = sample_case() if root is None else real_case(root, column="ci_lifecycle", zones=zones)
    runs: dict[str, dict[str, ZoneRun]] = {}
    spent = ""
    if root is None or not smoke:
        began = time.process_time()
        ours = backtest(
            case.series, model="ridge" if root else "seasonal", start_s=case.start_s, end_s=case.end_s,
            every_h=24, covariates=case.covariates, keep_forecasts=True,
        )  # fmt: skip
        runs["ours"] = dict(ours.runs)
        spent = f" Our forecasts took {time.process_time() - began:.0f} CPU s."
    if root is not None:
        runs["CarbonCast"] = anchor_runs(root, case, kind="lifecycle")
    found = _ratios(case, runs, STARTS)
    rows = []
    for name, by_zone in found.items():
        every = np.concatenate(list(by_zone.values()))
        tail = float(np.quantile(every, 0.95))
        if root is not None and name.startswith("ours"):
            assert tail <= BOUND, f"{name}: 95 of 100 decisions keep to {tail:.3f} only"
        assert every.min() > 1 - 1e-9, f"{name}: hindsight was beaten"
        rows.append((name, float(every.mean()), float(np.median(every)), tail, float(every.max())))
    columns = ("forecast, job", "mean ratio", "median ratio", "p95", "worst")
    note = (
        f"{len(case.series)} grids × {STARTS} starts; {LENGTH_H} h of work, {SLACK_H} h of slack, "
        f"lengths known, no cap, "
        "forecasts issued once a day, for 96 h. Ratio: grams over those of the best plan in "
        "hindsight of the same kind." + spent
    )
    tails = [
        (zone, *(float(np.quantile(each[zone], 0.95)) for each in found.values())) for zone in case.series
    ]
    return [Table("All grids", columns, rows, note), Table("p95 by grid", ("grid", *found), tails)]

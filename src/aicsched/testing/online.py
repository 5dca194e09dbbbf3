"""What an online policy must do, whoever wrote it."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.place.online import ArrivalPolicy, Vintages
from aicsched.simulate import (
    Queues,
    Reach,
    RunLog,
    Site,
    Sites,
    Trace,
    Truth,
    Workload,
    World,
    simulate,
    simulate_sites,
)
from aicsched.slots import HOUR_S
from aicsched.testing.examples import example_series, require

if TYPE_CHECKING:
    from collections.abc import Callable

    from aicsched.place.online import OnlinePolicy, OraclePolicy

__all__ = ["check_online_policy"]

_INSTANT_S: Final = 1e-3
_LENGTHS: Final = ("unused", "queue mean", "true")
_ISSUE_H: Final = 12
# Room for each of the example jobs, an elastic one's machines included, but not for all of them.
_CAP_VCPUS: Final = 24.0


def _workload(length_h: float | None = None) -> Workload:
    """Make jobs of two queues, or one job of some length in the longer queue."""
    rng = np.random.default_rng(0)
    count = 30 if length_h is None else 1
    arrival = np.sort(rng.uniform(0, 70, count)) if length_h is None else np.array([3.3])
    length = rng.uniform(0.2, 9, count) if length_h is None else np.array([length_h])
    vcpus = np.asarray(rng.integers(1, 4, count), np.float64)
    trace = Trace(arrival_s=arrival * HOUR_S, length_s=length * HOUR_S, vcpus=vcpus)
    made = Workload.of(trace, Queues.parse("6x24"))
    if length_h is None:
        return made
    # Its queue is said to take four hours, however long it really is.
    told = replace(made.pending, estimate_s=np.full(1, 4.0 * HOUR_S))
    return replace(made, pending=told)


def _truth(seed: int = 0) -> Truth:
    return Truth(g_per_kwh=example_series(seed=seed).values_g_per_kwh[:500])


def _issued(truth: Truth, *, wrong_from_h: float) -> Vintages:
    """Make forecasts twice a day; those from some hour on say something else."""
    hours = range(0, 200, _ISSUE_H)
    rows = [truth.g_per_kwh[hour : hour + 96] for hour in hours]
    turned = [row if hour < wrong_from_h else row[::-1] for hour, row in zip(hours, rows, strict=True)]
    times = np.array(list(hours), dtype=np.float64) * HOUR_S
    return Vintages(issue_s=times, start_s=times, step_s=float(HOUR_S), g_per_kwh=np.stack(turned))


def check_online_policy(make: Callable[[], OnlinePolicy | OraclePolicy]) -> None:
    """Check an online policy, by simulating it.

    Parameters
    ----------
    make : callable
        Makes a fresh one without arguments.

    Raises
    ------
    AssertionError
        A rule is broken: all jobs are done, once, after their arrival and within their wait; equal
        input gives equal runs; nothing hangs on lengths that aren't known or on forecasts not yet
        issued; the object can be sent to another process, and suffers from caps without losing a job.
    """
    policy = make()
    require(bool(policy.name) and policy.name == policy.name.lower(), "a policy needs a name in lower case")
    require(policy.lengths in _LENGTHS, f"lengths must be one of {', '.join(_LENGTHS)}")
    oracle = bool(getattr(policy, "oracle", False))
    require(oracle == (policy.lengths == "true"), "who goes by true lengths must say oracle = True")
    work, truth = _workload(), _truth()
    log = _check_runs(make, work, truth)
    again = simulate(pickle.loads(pickle.dumps(policy)), work, truth).log  # noqa: S301 - our own bytes
    require(_same(log, again), "a policy sent to another process must do the same")
    _check_knowledge(make, work, truth, oracle=oracle)
    capped = simulate(make(), work, truth, world=World(cap_vcpus=_CAP_VCPUS)).metrics
    require(capped.completed_jobs == len(work), "all jobs must be done under a cap that has room for each")
    if isinstance(policy, ArrivalPolicy):
        events = simulate(make(), work, truth, by_events=True).log
        require(_same(log, events), "plan_arrivals must give what decide gives, job by job")
    if getattr(policy, "roaming", False):
        _check_roaming(make, work)


def _same(left: RunLog, right: RunLog) -> bool:
    columns = ("job", "start_s", "stop_s", "vcpus")
    return len(left.job) == len(right.job) and all(
        np.allclose(getattr(left, name), getattr(right, name), atol=_INSTANT_S) for name in columns
    )


def _check_runs(make: Callable[[], OnlinePolicy | OraclePolicy], work: Workload, truth: Truth) -> RunLog:
    made = simulate(make(), work, truth)
    log = made.log
    require(made.metrics.completed_jobs == len(work), "all jobs must be done")
    early = log.start_s < work.pending.arrival_s[log.job] - _INSTANT_S
    require(not early.any(), "no job may start before it has come")
    require(made.metrics.late_jobs == 0, "without a cap no job may be idle longer than it may")
    require(_same(log, simulate(make(), work, truth).log), "equal input must give equal runs")
    return log


def _check_knowledge(
    make: Callable[[], OnlinePolicy | OraclePolicy], work: Workload, truth: Truth, *, oracle: bool
) -> None:
    # What comes true may differ from what is foreseen: only the latter can decide.
    known = Vintages.perfect(truth.g_per_kwh, step_s=truth.step_s)
    logs = [simulate(make(), work, each, vintages=known).log for each in (truth, _truth(1))]
    require(_same(*logs), "runs must not hang on an intensity that nobody foresaw")
    if not oracle:
        starts = [simulate(make(), _workload(hours), truth).log.start_s[0] for hours in (2.5, 20.0)]
        require(starts[0] == starts[1], "a start must not hang on a length that nobody knows")
    turn_h = 3.0 * _ISSUE_H
    logs = [
        simulate(make(), work, truth, vintages=_issued(truth, wrong_from_h=hour)).log
        for hour in (1e9, turn_h)
    ]
    before = [log.start_s < turn_h * HOUR_S - _INSTANT_S for log in logs]
    same = [log.start_s[rows].tolist() for log, rows in zip(logs, before, strict=True)]
    require(same[0] == same[1], "what is done must not hang on a forecast that is issued later")


def _check_roaming(make: Callable[[], OnlinePolicy | OraclePolicy], work: Workload) -> None:
    lost = World(outages=((20.0 * HOUR_S, 30.0 * HOUR_S),))
    sites = Sites(
        sites=(Site(name="north", truth=_truth(0), world=lost), Site(name="south", truth=_truth(1)))
    )
    reach = Reach(home=np.arange(len(work)) % 2, transfer_g=np.zeros((len(work), 2)))
    made = simulate_sites(make(), work, sites, reach).metrics
    require(made.completed_jobs == len(work), "all jobs must be done though a site is lost")

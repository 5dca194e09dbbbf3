"""The engine that goes by events: the same as the one on arrays, and caps, failures and losses."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest

from aicsched.errors import ConfigError
from aicsched.place.online import (
    ONLINE,
    Action,
    ActionKind,
    ArrivalPolicy,
    ClusterView,
    Stretch,
    Vintages,
)
from aicsched.simulate import Queues, RunLog, Trace, Truth, Workload, World, simulate
from aicsched.slots import HOUR_S

# An elastic job's work isn't the time it runs: it has tests of its own.
ON_ARRIVAL = sorted(
    name for name, kind in ONLINE.items() if issubclass(kind, ArrivalPolicy) and name != "carbon_scaler"
)


def workload(seed: int, count: int = 60, *, waits: str = "6x24") -> Workload:
    rng = np.random.default_rng(seed)
    trace = Trace(
        arrival_s=rng.uniform(0, 60, count) * HOUR_S,
        length_s=np.where(rng.random(count) < 0.7, rng.uniform(0.1, 1.9, count), rng.uniform(2.1, 20, count))
        * HOUR_S,
        vcpus=rng.integers(1, 4, count).astype(float),
    )
    return Workload.of(trace, Queues.parse(waits))


def grid(seed: int, hours: int = 400) -> Truth:
    rng = np.random.default_rng(seed)
    return Truth(g_per_kwh=rng.uniform(20, 500, hours))


def check(
    log: RunLog, work: Workload, *, cap: float = np.inf, save_s: float = 0.0, load_s: float = 0.0
) -> None:
    """Check a log job by job in plain Python: nothing before arrival, all work done, no cap broken."""
    worked = np.zeros(len(work))
    for row in range(len(log.job)):
        job = int(log.job[row])
        assert log.start_s[row] >= work.pending.arrival_s[job] - 1e-6
        assert log.stop_s[row] >= log.start_s[row]
        if row and log.job[row - 1] == job:
            assert log.start_s[row] >= log.stop_s[row - 1] - 1e-6
        worked[job] += log.stop_s[row] - log.start_s[row]
    runs = np.bincount(log.job, minlength=len(work))
    assert (worked >= work.length_s - 1e-3).all()
    assert (worked <= work.length_s + log.lost_s + (runs - 1) * (save_s + load_s) + 1e-3).all()
    assert (log.left_s < 1e-3).all()
    for now in log.start_s.tolist():
        busy = (log.start_s <= now + 1e-9) & (log.stop_s > now + 1e-6)
        assert log.vcpus[busy].sum() <= cap + 1e-6


# ---------------------------------------------------------------- the two engines
@pytest.mark.parametrize("name", ON_ARRIVAL)
@pytest.mark.parametrize(
    "world",
    [
        World(),
        World(reserved_vcpus=7),
        World(reserved_vcpus=5, hand_over_s=600),
        World(save_s=120, load_s=300),
        World(spot_loss_per_h=0.5, checkpoint_s=1200, seed=3),
        World(spot_loss_per_h=0.5, seed=3),
    ],
    ids=["plain", "reserved", "hand-over", "overhead", "spot", "spot-unsaved"],
)
def test_events_and_arrays_give_the_same_runs(name: str, world: World) -> None:
    work, truth = workload(1), grid(2)
    arrays = simulate(name, work, truth, world=world)
    events = simulate(name, work, truth, world=world, by_events=True)
    for log in (arrays.log, events.log):
        check(log, work, save_s=world.save_s, load_s=world.load_s)
    assert arrays.log.job.tolist() == events.log.job.tolist()
    for column in ("start_s", "stop_s", "vcpus", "machine"):
        np.testing.assert_allclose(getattr(arrays.log, column), getattr(events.log, column), atol=1e-5)
    assert arrays.metrics.preempted == events.metrics.preempted
    assert arrays.metrics.carbon_g == pytest.approx(events.metrics.carbon_g, rel=1e-12)
    assert arrays.metrics.cost == pytest.approx(events.metrics.cost, rel=1e-12)


# ---------------------------------------------------------------- caps
@pytest.mark.parametrize(
    "name", ["no_wait", "lowest_window", "carbon_time", "wait_awhile", "ecovisor_threshold"]
)
def test_a_hard_cap_is_kept_and_costs_grams(name: str) -> None:
    work, truth = workload(3), grid(4)
    free = simulate(name, work, truth)
    wide = simulate(name, work, truth, world=World(cap_vcpus=1000.0))
    assert wide.metrics.carbon_g == pytest.approx(free.metrics.carbon_g)
    tight = simulate(name, work, truth, world=World(cap_vcpus=12.0))
    check(tight.log, work, cap=12)
    assert tight.metrics.peak_vcpus <= 12 < free.metrics.peak_vcpus
    if name == "wait_awhile":
        # The optimum of each job alone is a bound under any cap, as long as jobs keep to their windows.
        assert tight.metrics.late_jobs or tight.metrics.carbon_g > free.metrics.carbon_g


def test_a_cap_by_slot_suspends_what_it_has_no_room_for() -> None:
    trace = Trace(arrival_s=np.zeros(2), length_s=np.full(2, 2.0 * HOUR_S), vcpus=np.ones(2))
    work = Workload.of(trace, Queues.parse("0"))
    made = simulate("no_wait", work, grid(1), world=World(cap_vcpus=(2.0, 1.0, 2.0)))
    runs = list(zip(made.log.job.tolist(), (made.log.start_s / HOUR_S).tolist(), strict=True))
    # In the second hour one of both waits, and goes on in the third.
    assert runs == [(0, 0), (1, 0), (1, 2)]
    assert made.metrics.late_jobs == 1


# ---------------------------------------------------------------- failures
def test_an_outage_loses_what_was_not_saved() -> None:
    trace = Trace(arrival_s=np.zeros(1), length_s=np.array([3.0 * HOUR_S]), vcpus=np.ones(1))
    work = Workload.of(trace, Queues.parse("1"))
    out = ((1.5 * HOUR_S, 2.5 * HOUR_S),)
    lost = simulate("no_wait", work, grid(1), world=World(outages=out))
    assert (lost.log.start_s / HOUR_S).tolist() == [0, 2.5]
    assert (lost.log.stop_s / HOUR_S).tolist() == [1.5, 5.5]
    assert lost.metrics.lost_vcpu_h == pytest.approx(1.5)
    saved = simulate("no_wait", work, grid(1), world=World(outages=out, checkpoint_s=HOUR_S))
    assert (saved.log.stop_s / HOUR_S).tolist() == [1.5, 4.5]
    assert saved.metrics.lost_vcpu_h == pytest.approx(0.5)


@pytest.mark.parametrize("name", ["no_wait", "wait_awhile", "res_first"])
def test_after_an_outage_all_is_done(name: str) -> None:
    work, truth = workload(5), grid(6)
    world = World(outages=((10 * HOUR_S, 14.5 * HOUR_S), (30 * HOUR_S, 31 * HOUR_S)), reserved_vcpus=4)
    made = simulate(name, work, truth, world=world)
    check(made.log, work)
    for start, stop in world.outages:
        assert not ((made.log.start_s < stop - 1e-6) & (made.log.stop_s > start + 1e-6)).any()
    assert made.metrics.completed_jobs == len(work)


# ---------------------------------------------------------------- forecasts
def test_better_forecasts_emit_less() -> None:
    work, truth = workload(7, 200), grid(8)
    rng = np.random.default_rng(1)
    issue = np.arange(0, 100, 3) * float(HOUR_S)

    def issued(error: float) -> Vintages:
        rows = [truth.g_per_kwh[hour : hour + 96] for hour in range(0, 100, 3)]
        noise = np.exp(rng.normal(0, error, (len(rows), 96)))
        return Vintages(issue_s=issue, start_s=issue, step_s=3600.0, g_per_kwh=np.stack(rows) * noise)

    grams = [
        simulate("lowest_window", work, truth, vintages=issued(error)).metrics.carbon_g for error in (0, 2, 9)
    ]
    assert max(grams[:1]) < 0.95 * min(grams[1:])
    perfect = simulate("lowest_window", work, truth)
    assert perfect.oracle_forecast
    assert grams[0] == pytest.approx(perfect.metrics.carbon_g, rel=1e-9)


# ---------------------------------------------------------------- refusals
@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"cap_vcpus": -1.0}, "cap_vcpus is -1"),
        ({"cap_vcpus": ()}, "one a slot"),
        ({"cap_vcpus": float("nan")}, "cap_vcpus is nan"),
        ({"outages": ((5.0, 2.0),)}, "no beginning"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_impossible_worlds_are_refused(facts: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        World(**facts)


def test_ticks_are_for_arrays_only() -> None:
    with pytest.raises(ConfigError, match="don't go by ticks"):
        simulate("no_wait", workload(1), grid(1), world=World(cap_vcpus=50, reserved_vcpus=2, tick_s=5))


# ---------------------------------------------------------------- policies of others
class ByHand:
    """A policy that does at each hour what its table says, live or simulated."""

    name: ClassVar[str] = "by_hand"
    lengths: ClassVar[str] = "unused"
    rolling: ClassVar[bool] = True

    def __init__(self, table: dict[int, list[Action]]) -> None:
        self.table = table
        self.seen: list[ClusterView] = []

    def decide(self, view: ClusterView, now_s: float) -> list[Action]:
        assert view.now_s == now_s
        self.seen.append(view)
        return self.table.get(round(now_s / HOUR_S), []) if now_s % HOUR_S == 0 else []


def test_jobs_are_started_scaled_suspended_and_resumed() -> None:
    trace = Trace(arrival_s=np.zeros(1), length_s=np.array([5.0 * HOUR_S]), vcpus=np.ones(1))
    work = Workload.of(trace, Queues.parse("10"))
    twice = (Stretch(2 * HOUR_S, scale=2.0, rate=1.5),)
    policy = ByHand(
        {
            0: [Action(kind=ActionKind.START, job=0, at_s=0.0)],
            2: [Action(kind=ActionKind.SCALE, job=0, at_s=2 * HOUR_S, stretches=twice)],
            3: [Action(kind=ActionKind.SUSPEND, job=0, at_s=3.5 * HOUR_S)],
            5: [
                Action(kind=ActionKind.RESUME, job=0, at_s=6 * HOUR_S),
                # This can't be: it has begun.
                Action(kind=ActionKind.START, job=0, at_s=5 * HOUR_S),
            ],
        }
    )
    log = simulate(policy, work, grid(1)).log
    assert (log.start_s / HOUR_S).tolist() == [0, 2, 6]
    # Two hours, then an hour and a half at one and a half times the speed; the rest is three quarters.
    assert (log.stop_s / HOUR_S).tolist() == [2, 3.5, 6.75]
    assert log.vcpus.tolist() == [1, 2, 1]
    stages = [(len(view.waiting), len(view.running), view.active.tolist()) for view in policy.seen]
    assert stages[0] == (1, 0, [])
    assert stages[1] == (0, 1, [True])
    assert stages[5] == (0, 1, [False])
    assert [round(float(view.done_s[0]) / HOUR_S, 3) for view in policy.seen[1:5]] == [1, 2, 3, 3.5]


def test_a_job_that_is_never_started_is_not_complete() -> None:
    made = simulate(ByHand({}), workload(1, 3), grid(1))
    assert made.metrics.completed_jobs == 0
    assert np.isnan(made.metrics.mean_wait_h)
    assert made.metrics.carbon_g == 0
    early = Action(kind=ActionKind.SUSPEND, job=0, at_s=0.0)
    assert simulate(ByHand({1: [early]}), workload(1, 3), grid(1)).metrics.completed_jobs == 0


def test_a_plan_in_stretches_goes_on_after_a_cap_held_it_up() -> None:
    trace = Trace(arrival_s=np.zeros(2), length_s=np.array([3.0, 2.0]) * HOUR_S, vcpus=np.ones(2))
    work = Workload.of(trace, Queues.parse("10"))
    parts = (Stretch(HOUR_S, 2 * HOUR_S), Stretch(4 * HOUR_S))
    policy = ByHand(
        {
            0: [
                Action(kind=ActionKind.START, job=0, at_s=0.0),
                Action(kind=ActionKind.START, job=1, at_s=HOUR_S, stretches=parts),
            ]
        }
    )
    log = simulate(policy, work, grid(1), world=World(cap_vcpus=1.0)).log
    # Its first stretch passes while the other job runs; all of it is done in the second.
    assert log.job.tolist() == [0, 1]
    assert (log.start_s / HOUR_S).tolist() == [0, 4]
    assert (log.stop_s / HOUR_S).tolist() == [3, 6]

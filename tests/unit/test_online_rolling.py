"""Policies that decide again and again, weigh scenarios, or give a job more machines."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from aicsched.errors import ConfigError, InputError
from aicsched.place.online import Vintages, make_online
from aicsched.place.online.pausing import OprDoubleThreshold, opr_thresholds
from aicsched.place.online.pricing import Price
from aicsched.place.online.quotas import Cap, CicsVcc
from aicsched.place.online.rolling import Mpc, Robust
from aicsched.place.online.scaling import CarbonScaler, speeds_of
from aicsched.place.online.waiting import LowestWindow, WaitAwhile
from aicsched.simulate import Queues, Trace, Truth, Workload, World, simulate
from aicsched.slots import HOUR_S

if TYPE_CHECKING:
    from pathlib import Path

    from aicsched.place.online import Action, ClusterView

NAMES = ("mpc", "opr_double_threshold", "cap", "cics_vcc")


def workload(seed: int, count: int = 40, *, step_s: float = 0.0, waits: str = "6x24") -> Workload:
    rng = np.random.default_rng(seed)
    arrival, length = rng.uniform(0, 60, count), rng.uniform(0.1, 9, count)
    if step_s:
        arrival, length = np.floor(arrival), np.ceil(length)
    trace = Trace(arrival_s=arrival * HOUR_S, length_s=length * HOUR_S, vcpus=rng.integers(1, 4, count) * 1.0)
    return Workload.of(trace, Queues.parse(waits))


def grid(seed: int, hours: int = 300) -> Truth:
    return Truth(g_per_kwh=np.random.default_rng(seed).uniform(20, 500, hours))


# ---------------------------------------------------------------- all of them
@pytest.mark.parametrize("name", NAMES)
def test_all_jobs_are_done_within_their_wait(name: str) -> None:
    work, truth = workload(1), grid(2)
    made = simulate(name, work, truth)
    facts = made.metrics
    assert facts.completed_jobs == len(work)
    assert facts.late_jobs == 0
    assert facts.vcpu_h == pytest.approx(float((work.length_s * work.pending.vcpus).sum()) / HOUR_S)
    assert (made.log.start_s >= work.pending.arrival_s[made.log.job] - 1e-6).all()
    assert simulate(name, work, truth).metrics == facts


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_decided_by_what_comes_true_later(name: str) -> None:
    work = workload(3)
    known = grid(4)
    vintages = Vintages.perfect(known.g_per_kwh, step_s=3600.0)
    # What comes true differs, what is foreseen does not: decisions stay, grams don't.
    runs = [simulate(name, work, truth, vintages=vintages) for truth in (known, grid(5))]
    assert runs[0].log.start_s.tolist() == runs[1].log.start_s.tolist()
    assert runs[0].metrics.carbon_g != runs[1].metrics.carbon_g


# ---------------------------------------------------------------- mpc
def test_planning_anew_uses_the_newest_forecast() -> None:
    trace = Trace(arrival_s=np.zeros(1), length_s=np.array([3600.0]), vcpus=np.ones(1))
    work = Workload.of(trace, Queues.parse("5"))
    # First hour 4 looks clean; by hour 2 it is hour 3 that does, and it is.
    first, second = [500.0, 400, 400, 400, 10, 300, 300], [400.0, 5, 300, 300, 300, 300, 300]
    vintages = Vintages(
        issue_s=np.array([0.0, 7200.0]), start_s=np.array([0.0, 7200.0]), step_s=3600.0,
        g_per_kwh=np.array([first, second]),
    )  # fmt: skip
    truth = Truth(g_per_kwh=np.array([500.0, 400, 400, 5, 300, 300, 300, 300]))
    once = simulate(LowestWindow(), work, truth, vintages=vintages)
    anew = simulate(Mpc(LowestWindow()), work, truth, vintages=vintages)
    assert once.log.start_s[0] == 4 * HOUR_S
    assert anew.log.start_s[0] == 3 * HOUR_S
    with pytest.raises(ConfigError, match="wait_awhile wants true lengths"):
        Mpc(WaitAwhile())


def test_what_is_planned_gives_its_room_back_before_it_is_planned_anew() -> None:
    work, truth = workload(21, 80), grid(22)
    for cap in (9.0, 14.0):
        made = simulate("mpc", work, truth, world=World(cap_vcpus=cap)).metrics
        assert made.peak_vcpus <= cap
        assert made.completed_jobs == len(work)
        # Planning around what is full does no worse than planning as if all were free.
        assert made.late_jobs <= simulate(Blind(), work, truth, world=World(cap_vcpus=cap)).metrics.late_jobs


class Blind(Mpc):
    """MPC that isn't told how much room there is."""

    def decide(self, view: ClusterView, now_s: float) -> list[Action]:
        return super().decide(replace(view, room_vcpus=np.empty(0)), now_s)


def test_only_what_is_better_begun_at_another_time_is_planned_anew() -> None:
    work, truth = workload(23), grid(24)
    seen: list[tuple[int, int]] = []

    class Counted(Mpc):
        def decide(self, view: ClusterView, now_s: float) -> list[Action]:
            made = super().decide(view, now_s)
            planned = dict(zip(view.planned.job.tolist(), view.planned_start_s.tolist(), strict=True))
            assert all(abs(planned.get(action.job, -1.0) - action.at_s) > 1e-6 for action in made)
            assert all(start >= now_s - 1e-6 for start in planned.values())
            seen.append((len(view.waiting) + len(view.planned), len(made)))
            return made

    # The price stays, and so does the forecast: nothing changes once it is planned.
    fixed = Counted(Price(g_per_kwh=30.0, every_s=HOUR_S))
    jobs = work.pending
    whole = Workload(
        pending=replace(jobs, arrival_s=np.floor(jobs.arrival_s / HOUR_S) * HOUR_S), length_s=work.length_s
    )
    log = simulate(fixed, whole, truth).log
    assert sum(actions for _, actions in seen) == len(whole)
    assert sum(candidates for candidates, _ in seen) > 2 * len(whole)
    once = simulate(Price(g_per_kwh=30.0, every_s=HOUR_S), whole, truth).log
    np.testing.assert_allclose(log.start_s, once.start_s)


# ---------------------------------------------------------------- robust
def test_scenarios_that_go_wrong_count() -> None:
    trace = Trace(arrival_s=np.zeros(1), length_s=np.array([3600.0]), vcpus=np.ones(1))
    work = Workload.of(trace, Queues.parse("2"))
    mean = np.array([[100.0, 60.0, 80.0, 80.0]])
    drawn = np.array([[[100.0, 20, 80, 80], [100.0, 20, 80, 80], [100.0, 140, 80, 80]]])
    vintages = Vintages(
        issue_s=np.zeros(1), start_s=np.zeros(1), step_s=3600.0, g_per_kwh=mean, scenarios=drawn
    )
    truth = Truth(g_per_kwh=np.full(9, 100.0))
    free = Price(0.0, every_s=3600.0)
    hours = {
        share: simulate(Robust(share, free), work, truth, vintages=vintages).log.start_s[0] / HOUR_S
        for share in (1.0, 0.3)
    }
    # On average the second hour is best; in its worst third the third one is.
    assert hours == {1.0: 1, 0.3: 2}
    without = simulate(Robust(0.3, free), work, truth, vintages=Vintages.perfect(mean[0], step_s=3600.0))
    assert without.log.start_s[0] == HOUR_S


def test_scenarios_of_full_slots_are_avoided_too() -> None:
    work, truth = workload(12), grid(13)
    drawn = np.stack([truth.g_per_kwh * factor for factor in (0.5, 1.0, 1.5)])[None]
    vintages = Vintages(
        issue_s=np.zeros(1), start_s=np.zeros(1), step_s=3600.0, g_per_kwh=truth.g_per_kwh[None, :],
        scenarios=drawn,
    )  # fmt: skip
    made = simulate("robust", work, truth, vintages=vintages, world=World(cap_vcpus=9.0))
    free = simulate("robust", work, truth, vintages=vintages)
    assert made.metrics.peak_vcpus <= 9 < free.metrics.peak_vcpus
    assert made.metrics.completed_jobs == len(work)


def test_scenarios_of_the_wrong_shape_are_refused() -> None:
    facts: dict[str, Any] = {
        "issue_s": np.zeros(1), "start_s": np.zeros(1), "step_s": 3600.0, "g_per_kwh": np.ones((1, 4)),
    }  # fmt: skip
    for drawn in (np.ones((1, 3)), np.ones((2, 3, 4)), np.ones((1, 3, 5)), np.full((1, 3, 4), np.nan)):
        with pytest.raises(InputError, match="don't belong"):
            Vintages(**facts, scenarios=drawn)
    kept = Vintages(**facts, scenarios=np.ones((1, 3, 4))).outlook(5.0).vintage.scenarios
    assert kept is not None
    assert kept.shape == (1, 3, 4)


# ---------------------------------------------------------------- thresholds
def test_thresholds_are_those_of_search_without_switching() -> None:
    # One unit: the geometric mean of the bounds. Many: the closed form of k-min search.
    assert opr_thresholds(1, 50.0, 450.0, 0.0)[1][0] == pytest.approx(150.0)
    units, low, high = 7, 40.0, 500.0
    ratio, limits = opr_thresholds(units, low, high, 0.0)
    assert (1 - low / high) / (1 - 1 / ratio) == pytest.approx((1 + 1 / (units * ratio)) ** units)
    for unit, limit in enumerate(limits):
        assert limit == pytest.approx(high * (1 - (1 - 1 / ratio) * (1 + 1 / (units * ratio)) ** unit))
    assert list(limits) == sorted(limits, reverse=True)


def test_no_sequence_of_prices_breaks_the_ratio() -> None:
    low, high, switch, units, slots = 100.0, 400.0, 20.0, 2, 5
    ratio, _ = opr_thresholds(units, low, high, switch)
    policy = OprDoubleThreshold(switch / low, low, high)
    trace = Trace(arrival_s=np.zeros(1), length_s=np.array([units * 3600.0]), vcpus=np.ones(1))
    work = Workload.of(trace, Queues.parse(f"{slots - units}"))

    def cost(hours: list[int], prices: tuple[float, ...]) -> float:
        switches = 2 * sum(hour - 1 not in hours for hour in hours)
        return sum(prices[hour] for hour in hours) + switches * switch

    for prices in product((100.0, 180.0, 260.0, 400.0), repeat=slots):
        log = simulate(policy, work, Truth(g_per_kwh=np.array([*prices, 400.0]))).log
        hours = [
            hour
            for start, stop in zip(log.start_s, log.stop_s, strict=True)
            for hour in range(round(start / HOUR_S), round(stop / HOUR_S))
        ]
        assert len(hours) == units
        best = min(cost([a, b], prices) for a in range(slots) for b in range(a + 1, slots))
        assert cost(hours, prices) <= ratio * best + 1e-6


def test_dear_switches_keep_a_job_running() -> None:
    assert opr_thresholds(3, 100.0, 150.0, 30.0) == (1.5, (150.0,) * 3)
    work = workload(6, 12)
    made = simulate(OprDoubleThreshold(switch_h=50.0), work, grid(7))
    assert made.metrics.suspensions == 0
    assert made.metrics.mean_wait_h == pytest.approx(0)


# ---------------------------------------------------------------- quotas
def test_a_dirty_hour_opens_fewer_machines() -> None:
    count = 30
    trace = Trace(arrival_s=np.zeros(count), length_s=np.full(count, 3600.0), vcpus=np.ones(count))
    work = Workload.of(trace, Queues.parse("20"))
    truth = Truth(g_per_kwh=np.array([500.0, 500.0, 50.0] + [400.0] * 40))
    log = simulate(Cap(20, 0.25), work, truth).log
    begun = np.bincount((log.start_s / HOUR_S).astype(int), minlength=4).tolist()
    # The floor of a quarter while it is dirtiest, all machines while it is cleanest.
    assert begun[:3] == [5, 5, 20]


def test_a_day_opens_its_cleanest_hours_as_far_as_its_work_needs() -> None:
    # Each day brings eight jobs of an hour at midnight; the second day has room for ten in two hours of five.
    days = np.repeat(np.arange(2), 8)
    trace = Trace(arrival_s=days * 86_400.0, length_s=np.full(16, 3600.0), vcpus=np.ones(16))
    work = Workload.of(trace, Queues.parse("20"))
    prices = np.tile(300.0 + np.arange(24), 3)
    prices[24 + 7] = prices[24 + 11] = 100.0
    log = simulate(CicsVcc(5), work, Truth(g_per_kwh=prices)).log
    hours = (log.start_s / HOUR_S).astype(int).tolist()
    assert hours[:8] == [0] * 5 + [1] * 3
    assert hours[8:] == [31] * 5 + [35] * 3


@pytest.mark.parametrize(
    "make",
    [
        lambda: Robust(0.0),
        lambda: OprDoubleThreshold(-1.0),
        lambda: OprDoubleThreshold(0.1, 300.0, 200.0),
        lambda: Cap(0),
        lambda: Cap(10, 1.0),
        lambda: CicsVcc(0),
        lambda: CicsVcc(10, -1.0),
        lambda: CarbonScaler(()),
        lambda: CarbonScaler((1.0, 0.9)),
        lambda: CarbonScaler((1.0, 1.5, 2.5)),
        lambda: CarbonScaler((2.0, 3.0)),
    ],
)
def test_impossible_policies_are_refused(make: Any) -> None:
    with pytest.raises(ConfigError):
        make()


# ---------------------------------------------------------------- elastic jobs
@pytest.mark.parametrize("seed", range(6))
def test_carbon_scaler_is_the_least_of_all_ways_to_scale(seed: int) -> None:
    rng = np.random.default_rng(seed)
    speeds = (1.0, 1.7, 2.1)
    truth = Truth(g_per_kwh=rng.uniform(10, 100, 8))
    length, wait = int(rng.integers(1, 4)), int(rng.integers(1, 3))
    trace = Trace(arrival_s=np.zeros(1), length_s=np.array([length * 3600.0]), vcpus=np.ones(1))
    made = simulate(CarbonScaler(speeds), Workload.of(trace, Queues.parse(f"{wait}")), truth)
    window = length + wait

    def bound(machines: tuple[int, ...]) -> float:
        """Give the grams of machines by the hour, less what is done too much at its dearest."""
        work = sum((0.0, *speeds)[count] for count in machines)
        if work < length - 1e-9:
            return np.inf
        grams = sum(count * truth.g_per_kwh[hour] for hour, count in enumerate(machines)) / 1000
        dearest = max(
            truth.g_per_kwh[hour] / ((0.0, *speeds)[count] - (0.0, *speeds)[count - 1])
            for hour, count in enumerate(machines)
            if count
        )
        return grams - (work - length) * dearest / 1000

    least = min(bound(machines) for machines in product(range(4), repeat=window))
    whole = min(
        sum(count * truth.g_per_kwh[hour] for hour, count in enumerate(machines)) / 1000
        for machines in product(range(4), repeat=window)
        if sum((0.0, *speeds)[count] for count in machines) >= length - 1e-9
    )
    # The last hour is cut short where the work is done: between the best split hours and the best whole ones.
    assert least - 1e-9 <= made.metrics.carbon_g <= whole + truth.g_per_kwh.max() * 3 / 1000
    done = sum(
        (stop - start) * (0.0, *speeds)[round(vcpus)]
        for start, stop, vcpus in zip(made.log.start_s, made.log.stop_s, made.log.vcpus, strict=True)
    )
    assert done == pytest.approx(length * 3600.0)
    assert made.metrics.late_jobs == 0


def test_elastic_jobs_are_the_same_by_events() -> None:
    work, truth = workload(8), grid(9)
    arrays = simulate("carbon_scaler", work, truth, world=World(reserved_vcpus=6))
    events = simulate("carbon_scaler", work, truth, world=World(reserved_vcpus=6), by_events=True)
    for column in ("job", "start_s", "stop_s", "vcpus", "machine"):
        np.testing.assert_allclose(getattr(arrays.log, column), getattr(events.log, column), atol=1e-5)
    assert arrays.metrics.carbon_g < simulate("wait_awhile", work, truth).metrics.carbon_g


def test_a_measured_profile_becomes_speeds(shared_data: Path) -> None:
    import csv

    with (shared_data / "data" / "workloads" / "gaia" / "nbody100k.csv").open() as lines:
        rows = [(float(row["nodes"]), float(row["iteration_time"])) for row in csv.DictReader(lines)]
    speeds = speeds_of(*zip(*rows, strict=True))
    assert speeds[0] == 1
    assert len(speeds) == max(nodes for nodes, _ in rows)
    assert 1 < speeds[-1] <= len(speeds) + 1e-9
    work, truth = workload(10), grid(11)
    ours = simulate(CarbonScaler(speeds), work, truth).metrics
    assert ours.carbon_g < simulate(make_online("wait_awhile"), work, truth).metrics.carbon_g
    with pytest.raises(InputError, match="each number of machines"):
        speeds_of([1, 3], [2.0, 1.0])
    with pytest.raises(InputError, match="above 0"):
        speeds_of([1, 2], [2.0, 0.0])


def test_speeds_that_rise_too_late_are_spread() -> None:
    # Measured: the third machine adds more than the second, which no greedy choice can use.
    assert speeds_of([1, 2, 3], [12.0, 10.0, 4.0]) == pytest.approx((1.0, 2.0, 3.0))

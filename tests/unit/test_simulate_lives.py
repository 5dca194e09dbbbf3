"""Lengths that nobody knows: expected grams over all of them, and nothing from the future."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from aicsched.errors import ConfigError
from aicsched.place.online.pricing import Price
from aicsched.place.online.waiting import CarbonTime, LowestWindow
from aicsched.simulate import Queues, Trace, Truth, Workload, World, read_trace, read_truth, simulate
from aicsched.slots import HOUR_S

if TYPE_CHECKING:
    from pathlib import Path


def drawn(seed: int, count: int = 40) -> Trace:
    rng = np.random.default_rng(seed)
    return Trace(
        arrival_s=np.sort(rng.uniform(0, 90, count)) * HOUR_S,
        length_s=rng.lognormal(0.5, 1.0, count) * HOUR_S,
        vcpus=np.ones(count),
    )


def plain_grams(truth: Truth, start_s: float, length_s: float) -> float:
    """Give grams of a kilowatt by a walk through the slots."""
    grams, now = 0.0, start_s
    while now < start_s + length_s - 1e-9:
        slot = int(now // HOUR_S)
        end = min((slot + 1) * HOUR_S, start_s + length_s)
        grams += (end - now) / HOUR_S * truth.g_per_kwh[slot]
        now = end
    return grams


@pytest.mark.parametrize("policy", [LowestWindow(), CarbonTime(), Price(g_per_kwh=15.0, every_s=HOUR_S)])
def test_starts_are_the_best_in_expectation(policy: LowestWindow) -> None:
    work = Workload.of(drawn(1, 12), Queues.parse("4x9"), knows="lives")
    truth = Truth(g_per_kwh=np.random.default_rng(2).uniform(10, 500, 300))
    log = simulate(policy, work, truth).log
    lives = work.pending.lives_s
    assert lives is not None
    for job in range(len(work)):
        arrival, wait = float(work.pending.arrival_s[job]), float(work.pending.max_wait_s[job])

        def expected(later: float, job: int = job, arrival: float = arrival) -> float:
            return float(np.mean([plain_grams(truth, arrival + later, life) for life in lives[job]]))

        def score(later: float, job: int = job) -> float:
            if policy.name == "carbon_time":
                return (expected(later) - expected(0.0)) / (later + lives[job].mean())
            return expected(later) + (15.0 * later / HOUR_S if policy.name == "price" else 0.0)

        tries = np.arange(0.0, wait + 1.0, HOUR_S)
        best = min(tries.tolist(), key=score)
        assert log.start_s[job] == pytest.approx(arrival + best, abs=1e-3)


def test_one_length_is_the_mean_length() -> None:
    trace = drawn(3)
    same = Trace(arrival_s=trace.arrival_s, length_s=np.full(len(trace), 3.7 * HOUR_S), vcpus=trace.vcpus)
    truth = Truth(g_per_kwh=np.random.default_rng(4).uniform(10, 500, 300))
    for name in ("lowest_window", "carbon_time", "price", "mpc"):
        logs = [
            simulate(name, Workload.of(same, Queues.parse("6x24"), knows=knows), truth).log
            for knows in ("mean", "lives")
        ]
        np.testing.assert_allclose(logs[0].start_s, logs[1].start_s, atol=1e-3)


def test_the_past_is_told_and_nothing_else() -> None:
    trace, queues = drawn(5, 80), Queues.parse("6x24")
    work = Workload.of(trace, queues, knows="past")
    for cut in (20, 50):
        # What is done after a job's arrival may be of any length.
        changed = trace.length_s.copy()
        waits = np.asarray(queues.waits_s)[queues.of(trace.length_s)]
        later = trace.arrival_s + waits + trace.length_s > trace.arrival_s[cut]
        changed[later & (changed > 2 * HOUR_S)] *= 1.5
        other = Workload.of(
            Trace(arrival_s=trace.arrival_s, length_s=changed, vcpus=trace.vcpus), queues, knows="past"
        )
        assert work.pending.estimate_s[: cut + 1].tolist() == other.pending.estimate_s[: cut + 1].tolist()
    told = Workload.of(trace, queues, knows="lives").pending.estimate_s
    assert abs(work.pending.estimate_s[-1] / told[-1] - 1) < 0.5
    with pytest.raises(ConfigError, match="did you mean past"):
        Workload.of(trace, queues, knows="pasd")


def test_who_has_run_long_runs_longer() -> None:
    work = Workload.of(drawn(6, 200), Queues.parse("24"), knows="lives")
    ages = np.zeros(len(work))
    young = work.pending.remaining_s(ages)
    assert young == pytest.approx(work.pending.estimate_s, rel=0.1)
    old = work.pending.remaining_s(ages + 4 * HOUR_S)
    longer = work.length_s[work.length_s > 4 * HOUR_S] - 4 * HOUR_S
    assert old[0] == pytest.approx(longer.mean(), rel=0.3)
    assert work.pending.remaining_s(ages + 1e9).tolist() == work.pending.estimate_s.tolist()
    assert Workload.of(drawn(6), Queues.parse("24")).pending.remaining_s(np.ones(40))[0] > 0


def test_caps_and_lives_go_together() -> None:
    work = Workload.of(drawn(7), Queues.parse("6x24"), knows="past")
    truth = Truth(g_per_kwh=np.random.default_rng(8).uniform(10, 500, 400))
    for name in ("price", "mpc"):
        made = simulate(name, work, truth, world=World(cap_vcpus=5.0)).metrics
        assert made.completed_jobs == len(work)
        assert made.peak_vcpus <= 5


@pytest.mark.parametrize("start_h", [0, 3000, 5000, 7000])
def test_expected_grams_beat_those_of_the_mean_on_recorded_jobs(shared_data: Path, start_h: float) -> None:
    gaia = shared_data / "data" / "workloads" / "gaia"
    trace = read_trace(gaia / "pai_1k.csv.gz")
    truth = read_truth(gaia / "AU-SA-2022-hourly.csv.gz", start_h=start_h)
    made = {
        knows: simulate("lowest_window", Workload.of(trace, Queues.parse("6x24"), knows=knows), truth).metrics
        for knows in ("mean", "lives")
    }
    assert made["lives"].carbon_g < made["mean"].carbon_g

"""Policies on tiny cases against exhaustive search, and what no plan may break."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aicsched.errors import ConfigError
from aicsched.place.kernels import waiting
from aicsched.place.online import ONLINE, ArrivalPolicy, Vintages
from aicsched.place.online.pricing import Price
from aicsched.place.online.waiting import CarbonTime, EcovisorThreshold, LowestWindow, WaitAwhile
from aicsched.simulate import Queues, Trace, Truth, Workload, World, simulate
from aicsched.simulate.kernels import running
from aicsched.slots import HOUR_S

QUARTER_S = 900.0
INELASTIC = sorted(
    name for name, kind in ONLINE.items() if issubclass(kind, ArrivalPolicy) and name != "carbon_scaler"
)


def one_job(arrival_s: float, length_s: float, wait_h: float) -> Workload:
    trace = Trace(arrival_s=np.array([arrival_s]), length_s=np.array([length_s]), vcpus=np.ones(1))
    return Workload.of(trace, Queues.parse(f"{wait_h}"))


def quarters(truth: Truth) -> np.ndarray:
    """Give grams of each quarter of an hour at 1 W, in plain steps."""
    return np.repeat(truth.g_per_kwh, 4) / 4 / 1000


# ---------------------------------------------------------------- exhaustive search
@pytest.mark.parametrize("seed", range(12))
def test_wait_awhile_is_the_least_of_all_subsets_of_time(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = Truth(g_per_kwh=rng.integers(1, 9, 12).astype(float))
    arrival, length, wait = (int(rng.integers(low, high)) for low, high in ((0, 6), (1, 7), (0, 3)))
    work = one_job(arrival * QUARTER_S, length * QUARTER_S, wait)
    window = range(arrival, arrival + length + 4 * wait)
    cells = quarters(truth)
    least = min(sum(cells[slot] for slot in chosen) for chosen in combinations(window, length))
    made = simulate("wait_awhile", work, truth).metrics
    assert made.carbon_g == pytest.approx(least, rel=1e-12)
    assert made.late_jobs == 0


@pytest.mark.parametrize("policy", ["lowest_window", "carbon_time", "price"])
@pytest.mark.parametrize("seed", range(8))
def test_starts_are_the_best_of_all_that_are_tried(policy: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = Truth(g_per_kwh=rng.uniform(10, 500, 40))
    work = one_job(float(rng.uniform(0, 5)) * HOUR_S, float(rng.uniform(0.3, 8)) * HOUR_S, 9)
    arrival, length = float(work.pending.arrival_s[0]), float(work.length_s[0])

    def grams(start: float) -> float:
        edges = np.unique(
            np.clip(np.r_[np.arange(41) * 3600.0, start, start + length], start, start + length)
        )
        return float(sum((b - a) * truth.g_per_kwh[int(a // 3600)] for a, b in pairwise(edges)))

    starts = [arrival + step * 3600.0 for step in range(10)]
    score = {
        "lowest_window": grams,
        "carbon_time": lambda start: -(grams(arrival) - grams(start)) / (start - arrival + length),
        "price": lambda start: grams(start) + 20.0 * (start - arrival),
    }[policy]
    chosen = {"price": Price(g_per_kwh=20.0, every_s=3600.0)}.get(policy, policy)
    log = simulate(chosen, work, truth).log
    assert log.start_s[0] == pytest.approx(min(starts, key=score))


def test_the_threshold_runs_below_a_quantile_and_waits_no_longer_than_it_may() -> None:
    truth = Truth(g_per_kwh=np.array([5.0, 1, 9, 2, 8, 3, 7, 4, 6, 5] * 6))
    log = simulate(EcovisorThreshold(0.3, 10 * HOUR_S), one_job(0, 4 * HOUR_S, 5), truth).log
    # The 30 % quantile of ten hours is 3: hours of 1 and 2 lie below it. After five hours of rest it goes on.
    assert (log.start_s / HOUR_S).tolist() == [1, 3, 7]
    assert (log.stop_s / HOUR_S).tolist() == [2, 4, 9]


def test_of_equal_starts_the_first_is_taken() -> None:
    flat = Truth(g_per_kwh=np.full(60, 123.4))
    for name in sorted(set(INELASTIC) - {"all_wait"}):
        log = simulate(name, one_job(1234.5, 3.3 * HOUR_S, 12), flat).log
        if name != "ecovisor_threshold":  # nothing lies below a quantile of equal values
            assert log.start_s.tolist() == [1234.5], name


def test_one_price_is_on_the_front_of_carbon_and_wait() -> None:
    rng = np.random.default_rng(3)
    truth = Truth(g_per_kwh=rng.uniform(10, 500, 60))
    trace = Trace(
        arrival_s=np.zeros(3), length_s=np.array([1.0, 2.0, 3.0]) * HOUR_S, vcpus=np.array([1.0, 2, 3])
    )
    work = Workload.of(trace, Queues(limits_s=(1.5 * HOUR_S, 2.5 * HOUR_S), waits_s=(4.0 * HOUR_S,) * 3))
    priced = simulate(Price(g_per_kwh=60.0, every_s=3600.0), work, truth).metrics
    # All ways to start three jobs at whole hours: none with as little wait emits less.
    for starts in np.ndindex(5, 5, 5):
        begin = np.array(starts) * 3600.0
        grams = float(((truth.until(begin + trace.length_s) - truth.until(begin)) * trace.vcpus).sum()) / 1000
        if begin.mean() / HOUR_S <= priced.mean_wait_h + 1e-9:
            assert grams >= priced.carbon_g - 1e-12


# ---------------------------------------------------------------- invariants
@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(INELASTIC), st.sampled_from([0.0, 3.0]), st.booleans())
def test_energy_is_conserved_and_all_jobs_keep_to_their_windows(
    seed: int, name: str, reserved: float, halves: bool
) -> None:
    rng = np.random.default_rng(seed)
    step_s = 1800.0 if halves else 3600.0
    truth = Truth(g_per_kwh=rng.uniform(0, 400, int(220 * 3600 / step_s)), step_s=step_s)
    count = int(rng.integers(1, 25))
    trace = Trace(
        arrival_s=rng.uniform(0, 50 * HOUR_S, count), length_s=rng.uniform(1, 30 * HOUR_S, count),
        vcpus=rng.uniform(0.1, 3, count),
    )  # fmt: skip
    work = Workload.of(trace, Queues.parse("2x11"))
    made = simulate(name, work, truth, world=World(reserved_vcpus=reserved))
    facts, log = made.metrics, made.log
    assert facts.completed_jobs == count
    assert facts.late_jobs == 0
    assert facts.vcpu_h == pytest.approx(float((work.length_s * work.pending.vcpus).sum()) / HOUR_S)
    assert (log.start_s >= work.pending.arrival_s[log.job] - 1e-6).all()
    # Grams again, by a plain walk through the slots of each run.
    grams = 0.0
    for row in range(len(log.job)):
        for slot in range(int(log.start_s[row] // step_s), int(log.stop_s[row] // step_s) + 1):
            inside = min(log.stop_s[row], (slot + 1) * step_s) - max(log.start_s[row], slot * step_s)
            grams += max(inside, 0.0) / HOUR_S * truth.g_per_kwh[slot] * log.vcpus[row] / 1000
    assert facts.carbon_g == pytest.approx(grams, rel=1e-9, abs=1e-12)
    best = simulate("wait_awhile", work, truth).metrics.carbon_g
    assert facts.carbon_g >= best * (1 - 1e-9)
    again = simulate(name, work, truth, world=World(reserved_vcpus=reserved))
    assert again.metrics == facts


# ---------------------------------------------------------------- loops and twins
def batch(seed: int, count: int) -> tuple[Vintages, dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    issue = np.arange(5) * 20.0
    known = Vintages(issue_s=issue, start_s=issue, step_s=1.0, g_per_kwh=rng.uniform(1, 9, (5, 60)))
    arrival = rng.uniform(0, 100, count)
    jobs = {
        "row": known.known_at(arrival), "arrival": arrival, "length": rng.uniform(0.1, 12, count),
        "wait": rng.integers(0, 13, count).astype(float), "price": rng.uniform(0, 1, count),
    }  # fmt: skip
    return known, jobs


@pytest.mark.parametrize("per_time", [False, True])
def test_loops_and_twins_choose_the_same_starts(per_time: bool) -> None:
    known, jobs = batch(1, 200)
    arguments = (known.sums, known.start_s, jobs["row"], jobs["arrival"], jobs["length"], jobs["wait"])
    loop, twin = (
        form(*arguments, jobs["price"], 1.0, per_time)
        for form in (waiting.CHEAPEST_START.loop, waiting.CHEAPEST_START.twin)
    )
    np.testing.assert_allclose(loop, twin)
    slots = (known.g_per_kwh, known.start_s, jobs["row"], jobs["arrival"], jobs["wait"])
    assert waiting.LOWEST_SLOT.loop(*slots).tolist() == waiting.LOWEST_SLOT.twin(*slots).tolist()


@pytest.mark.parametrize("levels", [2, 1000])
def test_loops_and_twins_take_the_same_time(levels: int) -> None:
    known, jobs = batch(1, 200)
    # Few levels make many ties, of which the earlier slot is taken.
    values = np.ceil(known.g_per_kwh * levels) / levels if levels > 2 else np.round(known.g_per_kwh / 5)
    arguments = (values, known.start_s, jobs["row"], jobs["arrival"], jobs["length"], jobs["wait"])
    kernel = waiting.CLEANEST_STRETCHES
    loop, twin = kernel.loop(*arguments), kernel.twin(*arguments)
    for left, right in zip(loop, twin, strict=True):
        np.testing.assert_allclose(left, right)


def test_compiled_kernels_agree_with_plain_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    trace = Trace(
        arrival_s=rng.uniform(0, 100, 80) * HOUR_S,
        length_s=rng.uniform(0.1, 9, 80) * HOUR_S,
        vcpus=np.ones(80),
    )
    work, truth = Workload.of(trace, Queues.parse("6x24")), Truth(g_per_kwh=rng.uniform(9, 99, 300))
    world = World(reserved_vcpus=3, save_s=60)
    names = ("lowest_slot", "carbon_time", "wait_awhile", "ecovisor_threshold", "res_first")
    plain = {name: simulate(name, work, truth, world=world).log for name in names}
    monkeypatch.setenv("AICSCHED_KERNELS", "numba")
    for name in names:
        log = simulate(name, work, truth, world=world).log
        for column in ("job", "start_s", "stop_s", "machine"):
            np.testing.assert_allclose(getattr(log, column), getattr(plain[name], column), rtol=1e-12)


def test_many_jobs_are_left_to_compiled_kernels() -> None:
    thousand, year = np.zeros(1000), np.full(100_000, 24.0)
    for kernel in (waiting.CLEANEST_STRETCHES, waiting.THRESHOLD_STRETCHES):
        assert kernel.work(0, 0, 0, thousand, thousand, thousand) < 2e8
        assert kernel.work(0, 0, 0, year, year, year) > 2e8
        assert kernel.work(*[np.empty(0)] * 6) == 0
    assert running.DISPATCH.work(year) > 2e8


@pytest.mark.parametrize(
    "make",
    [
        lambda: LowestWindow(0.0),
        lambda: CarbonTime(-1.0),
        lambda: Price(-0.1),
        lambda: Price(g_per_kwh=float("nan")),
        lambda: EcovisorThreshold(1.0),
        lambda: EcovisorThreshold(0.3, 0.0),
    ],
)
def test_impossible_policies_are_refused(make: object) -> None:
    with pytest.raises(ConfigError):
        make()  # type: ignore[operator]


def test_wait_awhile_goes_on_beyond_a_short_forecast() -> None:
    truth = Truth(g_per_kwh=np.arange(30.0, 0, -1))
    known = Vintages(
        issue_s=np.zeros(1), start_s=np.zeros(1), step_s=3600.0, g_per_kwh=truth.g_per_kwh[None, :4]
    )
    log = simulate(WaitAwhile(), one_job(0, 6 * HOUR_S, 4), truth, vintages=known).log
    assert log.stop_s[-1] <= 10 * HOUR_S
    assert (log.stop_s - log.start_s).sum() == pytest.approx(6 * HOUR_S)

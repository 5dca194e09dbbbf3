"""What may break on a node: queues, readiness and memory against outside oracles, and how they join."""

from __future__ import annotations

import heapq

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import gamma

from aicsched.domain.telemetry import Telemetry
from aicsched.score.risk.assess import assess, joined
from aicsched.score.risk.latency import learned_limits, p99_in_services, service_times_ms
from aicsched.score.risk.readiness import hazard_risk, readiness_risk
from aicsched.score.slo_risk import Objectives, latency_tail, limit_shares
from aicsched.slots import HOUR_S, SlotGrid

DAYS = 21
START_S = 1_767_225_600
END_S = START_S + DAYS * 24 * HOUR_S


def telemetry(cpu: np.ndarray, **others: np.ndarray) -> Telemetry:
    nothing = np.full(cpu.shape, np.nan)
    values = {"network_mb": nothing, "memory_share": nothing} | others
    return Telemetry(
        nodes=tuple(f"n{row}" for row in range(len(cpu))),
        slots=SlotGrid(START_S, HOUR_S, cpu.shape[1]),
        cpu_share=cpu,
        source="test",
        **values,
    )


def loads(nodes: int, mean: float = 0.4, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    hours = np.arange(DAYS * 24)
    return np.clip(
        mean + 0.1 * np.sin(hours / 24 * 2 * np.pi) + 0.03 * rng.normal(size=(nodes, len(hours))), 0, 1
    )


def names(count: int) -> list[str]:
    return [f"n{row}" for row in range(count)]


# ---------------------------------------------------------------- latency
@pytest.mark.parametrize(("servers", "load"), [(2, 0.6), (8, 0.9)])
def test_the_p99_is_near_that_of_a_simulated_queue(servers: int, load: float) -> None:
    rng, count = np.random.default_rng(1), 300_000
    service = rng.gamma(0.5, 2.0, count)  # mean 1, squared variation 2
    arrivals = np.cumsum(rng.exponential(1 / (servers * load), count))
    free, times = [0.0] * servers, np.empty(count)
    for call, (arrival, need) in enumerate(zip(arrivals.tolist(), service.tolist(), strict=True)):
        begin = max(arrival, heapq.heappop(free))
        heapq.heappush(free, begin + need)
        times[call] = begin + need - arrival
    grid = 1 - np.geomspace(1.0, 0.005, 48)
    made = np.interp(load, grid, p99_in_services(servers))
    assert made == pytest.approx(np.quantile(times, 0.99), rel=0.2)


def test_service_times_are_learned_from_latency() -> None:
    cpu, vcpus = loads(3), np.array([4.0, 16.0, 4.0])
    grid = 1 - np.geomspace(1.0, 0.005, 48)
    true_ms = np.array([4.0, 25.0, np.nan])
    p99 = np.stack(
        [true_ms[row] * np.interp(cpu[row], grid, p99_in_services(int(vcpus[row]))) for row in range(3)]
    )
    p99 *= np.exp(0.2 * np.random.default_rng(0).normal(size=p99.shape))
    p99[2, 5] = 50.0
    made = service_times_ms(p99, cpu, vcpus)
    np.testing.assert_allclose(made[:2], true_ms[:2], rtol=0.05)
    assert np.isnan(made[2])
    objectives = Objectives(latency_limit_ms=60.0)
    limits = learned_limits(vcpus, objectives, p99, cpu)
    assert limits[2] == limit_shares(vcpus, objectives)[2]
    assert limits[0] > limits[2]
    tail = latency_tail(16, float(limits[1]), objectives._replace(service_ms=float(made[1])))
    assert limits[1] == 0.0 or tail == pytest.approx(0.01, rel=0.1)


def test_a_service_that_is_too_slow_on_an_idle_node_leaves_no_load() -> None:
    slow = np.full((1, 100), 500.0)
    assert learned_limits(np.array([8.0]), Objectives(), slow, np.full((1, 100), 0.1))[0] == 0.0


# ---------------------------------------------------------------- readiness
@pytest.mark.parametrize(("events", "exposure"), [(0.0, 500.0), (3.0, 500.0), (0.0, 0.0)])
def test_hazard_is_the_mean_over_the_posterior(events: float, exposure: float) -> None:
    others = np.array([events, 4.0]), np.array([exposure, 2000.0])
    rate = (events + 4.5) / (exposure + 2001.0)
    after = gamma(events + 1, scale=1 / (exposure + 1 / rate))
    wanted, _ = quad(
        lambda each: after.pdf(each) * (1 - np.exp(-each * 24)), 0, after.ppf(1 - 1e-12), limit=200
    )
    assert hazard_risk(*others, 24)[0] == pytest.approx(wanted, rel=1e-5)


def test_readiness_counts_outages_once_and_knows_who_is_down() -> None:
    ready = np.ones((4, 400))
    ready[1, [50, 51, 52, 200]] = 0.5
    ready[2, -3:] = 0.0
    ready[3] = np.nan
    risk = readiness_risk(ready, None, 24)
    assert risk is not None
    assert risk[2] == 1.0
    assert risk[0] < risk[3] < risk[1]
    events, exposure = np.array([0.0, 2.0, 1.0, 0.0]), np.array([400.0, 396.0, 397.0, 0.0])
    np.testing.assert_allclose(risk[:2], hazard_risk(events, exposure, 24)[:2])
    assert readiness_risk(None, None, 24) is None
    assert readiness_risk(np.full((2, 5), np.nan), None, 24) is None


def test_one_restart_is_a_container_s_own_and_many_are_the_node_s() -> None:
    restarts = np.zeros((3, 400))
    restarts[1, ::10] = 1
    restarts[2, ::40] = 5
    risk = readiness_risk(None, restarts, 24)
    assert risk is not None
    assert risk[0] == risk[1] < risk[2]


# ---------------------------------------------------------------- joining
@given(st.lists(st.floats(0, 1), min_size=8, max_size=8).filter(lambda masses: sum(masses) > 0.1))
@settings(max_examples=100, deadline=None)
def test_whatever_the_dependence_the_truth_lies_between(masses: list[float]) -> None:
    """All joint distributions of three events: the masses of their eight atoms."""
    atoms = np.array(masses) / sum(masses)
    parts = [np.array(sum(atoms[atom] for atom in range(8) if atom >> event & 1)) for event in range(3)]
    low, middle, high = joined(parts)
    assert low - 1e-12 <= 1 - atoms[0] <= high + 1e-12
    assert low - 1e-12 <= middle <= high + 1e-12


# ---------------------------------------------------------------- all of it
def test_nothing_known_is_a_uniform_load() -> None:
    made = assess(None, names(2), np.array([64.0, 64.0]), Objectives(), start_s=END_S, duration_s=HOUR_S)
    low, middle, high = made.at(0.1)
    assert middle == pytest.approx(0.3)
    np.testing.assert_array_equal(low, high)
    assert "0% measured" in made.explain(0, 0.1)
    empty = telemetry(np.empty((0, 24)))
    made = assess(empty, names(1), np.array([64.0]), Objectives(), start_s=END_S, duration_s=HOUR_S)
    assert made.coverage_share[0] == 0.0


def test_what_is_missing_is_never_best() -> None:
    cpu = loads(5)
    cpu[1] = np.nan
    cpu[2, -30:] = np.nan
    cpu[3, :-6] = np.nan
    made = assess(
        telemetry(cpu),
        [*names(5), "stranger"],
        np.full(6, 64.0),
        Objectives(),
        start_s=END_S,
        duration_s=HOUR_S,
    )
    for extra in (0.0, 0.1, 0.3):
        risk = made.at(extra)[1]
        assert (risk[[1, 2, 3, 5]] >= max(risk[0], risk[4])).all()
    assert made.coverage_share[[0, 1, 2, 4, 5]].tolist() == [1.0, 0.0, 0.0, 1.0, 0.0]
    assert made.coverage_share[3] == 0.25


def test_telemetry_that_ends_early_counts_for_less() -> None:
    cpu = loads(2)[:, :-12]
    made = assess(telemetry(cpu), names(2), np.full(2, 64.0), Objectives(), start_s=END_S, duration_s=HOUR_S)
    assert made.coverage_share.tolist() == [0.5, 0.5]


def test_bound_but_unseen_pods_are_load() -> None:
    vcpus, facts = np.full(3, 64.0), telemetry(loads(3))
    common = {"start_s": END_S, "duration_s": 4 * HOUR_S}
    plain = assess(facts, names(3), vcpus, Objectives(), **common)
    unseen = assess(facts, names(3), vcpus, Objectives(), **common, unseen_share=np.array([0.0, 0.25, 0.0]))
    np.testing.assert_allclose(unseen.load.at(0.125)[1], plain.load.at(0.375)[1], atol=0.02)
    np.testing.assert_allclose(unseen.load.at(0.125)[[0, 2]], plain.load.at(0.125)[[0, 2]], atol=0.02)
    assert unseen.load.at(0.125)[1] > plain.load.at(0.125)[1]


def test_longer_runs_risk_more() -> None:
    facts, vcpus = telemetry(loads(6)), np.full(6, 64.0)
    risks = [
        assess(facts, names(6), vcpus, Objectives(), start_s=END_S, duration_s=hours * HOUR_S)
        .load.at(0.26)
        .mean()
        for hours in (1, 6, 24)
    ]
    assert risks == sorted(risks)
    assert risks[0] < risks[2]


def test_memory_and_readiness_join_the_load() -> None:
    memory = np.full((4, DAYS * 24), 0.5)
    memory[1] = 0.95
    ready = np.ones(memory.shape)
    ready[2, -1] = 0.0
    stalled = np.zeros(memory.shape)
    stalled[3] = 0.6
    facts = telemetry(loads(4), memory_share=memory, ready_share=ready, memory_stall_share=stalled)
    made = assess(facts, names(4), np.full(4, 64.0), Objectives(), start_s=END_S, duration_s=2 * HOUR_S)
    risk = made.at(0.0)[1]
    assert risk[0] < 0.05
    assert risk[1:].min() > 0.9
    low, middle, high = made.at(0.0, 0.45)
    assert middle[0] > 0.9
    assert (low <= middle).all()
    assert (middle <= high).all()
    words = made.explain(1, 0.0)
    assert "memory pressure" in words
    assert "not ready" in words


def test_stalls_alone_tell_of_memory_whatever_is_added() -> None:
    stalled = np.zeros((2, DAYS * 24))
    stalled[1] = 0.6
    facts = telemetry(loads(2), memory_stall_share=stalled)
    made = assess(facts, names(2), np.full(2, 64.0), Objectives(), start_s=END_S, duration_s=HOUR_S)
    assert made.memory.at(0.9)[0] == made.memory.at(0.0)[0] < 0.05
    assert made.memory.at(0.0)[1] > 0.9

"""Quantum, neuromorphic and edge scores against numbers worked out by hand or published."""

from __future__ import annotations

import math

import numpy as np
import pytest

from aicsched.domain.carbon import IntensityKind
from aicsched.domain.fleet import Backend, BackendKind, Fleet, Region
from aicsched.domain.forecast import Forecast
from aicsched.errors import InputError, UnknownZone
from aicsched.fleet.sample import sample_fleet
from aicsched.score.backend_terms import Interval
from aicsched.score.backends import score_backends
from aicsched.score.edge import EdgeCall, late_risk
from aicsched.score.neuromorphic import Network, inference_j
from aicsched.score.quantum import Circuit, drift_share, held_s, success_estimate
from aicsched.score.request import ScoreWeights
from aicsched.slots import SlotGrid

QPU = {
    "qubits": 27.0,
    "median_2q_error": 0.01,
    "median_readout_error": 0.02,
    "median_1q_error": 0.001,
    "t1_us": 100.0,
    "t2_us": 80.0,
    "gate_2q_ns": 500.0,
    "calibration_age_h": 24.0,
    "pending_jobs": 10.0,
    "job_s": 6.0,
}
LOIHI = {
    "neurons": 131_072.0,
    "synapses": 130e6,
    "synop_low_pj": 23.6,
    "synop_mid_pj": 27.1,
    "synop_high_pj": 105.0,
    "neuron_low_pj": 52.0,
    "neuron_mid_pj": 81.0,
    "neuron_high_pj": 81.0,
    "step_us": 10.0,
}
EDGE = {
    "cpu_ms": 20.0,
    "wall_ms": 5500.0,
    "memory_mb": 2.5,
    "bundle_kb": 512.0,
    "subrequests": 4.0,
    "latency_ms": 11.0,
}


def flat(zone: str, low: float, mid: float, high: float, *, synthetic: bool = False) -> Forecast:
    count = 48
    return Forecast(
        grid_zone=zone,
        kind=IntensityKind.AVERAGE,
        slots=SlotGrid(0, 3600, count),
        issue_time_s=0,
        mean_g_per_kwh=np.full(count, mid),
        levels=(0.1, 0.5, 0.9),
        quantiles_g_per_kwh=np.repeat([[low], [mid], [high]], count, axis=1),
        model="flat",
        source=f"test:{zone}",
        synthetic=synthetic,
    )


def backend(kind: BackendKind, properties: dict[str, float], **changes: float) -> Backend:
    return Backend(
        name=str(kind),
        region="r",
        kind=kind,
        static_w=1000.0,
        active_w=100.0,
        properties=properties | changes,
        source="sheet",
    )


def fleet_of(*backends: Backend) -> Fleet:
    region = Region(name="r", grid_zone="Z", capacity_vcpus=1, power_w_per_vcpu=1, pue=1.5)
    return Fleet(regions=(region,), backends=backends, source="test")


def score(*backends: Backend, **keywords: object):  # noqa: ANN201
    return score_backends(fleet_of(*backends), {"Z": flat("Z", 200, 400, 600)}, start_s=0, **keywords)


def test_success_of_a_circuit_worked_out_by_hand() -> None:
    work = Circuit(qubits=4, two_qubit_gates=3, one_qubit_gates=2, depth=3, shots=1)
    # Three layers of 0.5 us; each qubit is in 2 * 3 / 4 = 1.5 gates on average, so waits 1.5 * 0.5 us.
    gates = 0.99**3 * 0.999**2 * 0.98**4
    waiting = 0.5 + math.exp(-0.75 / 100) / 6 + math.exp(-0.75 / 80) / 3
    assert success_estimate(work, backend(BackendKind.QUANTUM, QPU)) == pytest.approx(
        gates * waiting**4, rel=1e-12
    )
    assert gates * waiting**4 == pytest.approx(0.8777, abs=1e-4)


def test_idle_fidelity_agrees_with_kraus_operators() -> None:
    # Average fidelity over the six Pauli eigenstates, through an independently built channel.
    t1, t2, wait = 100.0, 80.0, 30.0
    decay, keep = 1 - math.exp(-wait / t1), math.exp(-wait / t2)
    total = 0.0
    for state in ([1, 0], [0, 1], [1, 1], [1, -1], [1, 1j], [1, -1j]):
        psi = np.array(state, dtype=complex) / np.linalg.norm(state)
        rho = np.outer(psi, psi.conj())
        after = np.array(
            [[rho[0, 0] + decay * rho[1, 1], rho[0, 1] * keep], [rho[1, 0] * keep, rho[1, 1] * (1 - decay)]]
        )
        total += (psi.conj() @ after @ psi).real / 6
    clean = {
        "median_2q_error": 0.0,
        "median_readout_error": 0.0,
        "median_1q_error": 0.0,
        "gate_2q_ns": 60_000.0,
    }
    work = Circuit(qubits=4, two_qubit_gates=1, one_qubit_gates=0, depth=1, shots=1)
    got = success_estimate(work, backend(BackendKind.QUANTUM, QPU, **clean))  # waits 60 us * (1 - 2 / 4)
    assert got == pytest.approx(total**4, rel=1e-12)


def test_t2_is_cut_at_twice_t1() -> None:
    work = Circuit()
    wild = success_estimate(work, backend(BackendKind.QUANTUM, QPU, t2_us=1e9))
    assert wild == success_estimate(work, backend(BackendKind.QUANTUM, QPU, t2_us=200.0))


def test_qpu_card_adds_up() -> None:
    (card,) = score(backend(BackendKind.QUANTUM, QPU), weights=ScoreWeights(risk_g=10.0))
    seconds = 4000 * 0.59e-3
    assert held_s(Circuit()).mid == pytest.approx(seconds)
    terms = {term.name: term for term in card.terms}
    kwh = seconds / 3.6e6
    assert terms["operational"].mid_g == pytest.approx(100 * kwh * 1.5 * 400)
    assert terms["idle_share"].mid_g == pytest.approx(1000 * kwh * 1.5 * 400)
    assert terms["idle_share"].low_g == 0.0
    failed = 1 - success_estimate(Circuit(), backend(BackendKind.QUANTUM, QPU))
    assert card.slo_risk == pytest.approx(failed)
    assert terms["slo_risk"].mid_g == pytest.approx(10 * failed)
    assert card.inputs[-1] == "sheet"
    assert card.feasible
    assert "1 min in the queue" in terms["operational"].note


def test_a_stale_calibration_widens_the_risk() -> None:
    def width(age_h: float) -> float:
        (card,) = score(backend(BackendKind.QUANTUM, QPU, calibration_age_h=age_h))
        term = card.terms[-1]
        assert term.low_g <= term.mid_g <= term.high_g
        return term.high_g - term.low_g

    assert 0 == width(0) < width(6) < width(24) < width(24 * 30) == width(24 * 300)
    assert drift_share(24 * 7)[0] == 0.188


def test_too_few_qubits_are_refused() -> None:
    (card,) = score(backend(BackendKind.QUANTUM, QPU, qubits=5))
    assert card.refusals == ("needs 12 qubits, it has 5",)


@pytest.mark.parametrize(
    ("synop", "neuron", "rate", "millijoules"),
    [
        (27.1, 81.0, 0.05, 0.195),  # Loihi 1
        (450.0, 2190.0, 0.05, 4.0),  # SpiNNaker 2, system level
        (13_300.0, 26_000.0, 0.05, 83.0),  # SpiNNaker 1
        (300.0, 300.0, 1.0, 27.0),  # GPU: every synapse in each step
        (8600.0, 8600.0, 1.0, 785.0),  # CPU
    ],
)
def test_published_energies_of_one_network(
    synop: float, neuron: float, rate: float, millijoules: float
) -> None:
    work = Network(rate_low_share=rate, rate_mid_share=rate, rate_high_share=rate)
    energy = inference_j(work, Interval(synop, synop, synop), Interval(neuron, neuron, neuron))
    assert energy.mid * 1e3 == pytest.approx(millijoules, rel=0.02)
    assert energy.low == energy.mid == energy.high


def test_neuromorphic_card() -> None:
    (card,) = score(backend(BackendKind.NEUROMORPHIC, LOIHI))
    terms = {term.name: term for term in card.terms}
    assert terms["operational"].mid_g == pytest.approx(1.9510564e-4 * 1_000_000 / 3.6e6 * 1.5 * 400, rel=1e-4)
    assert terms["operational"].low_g < terms["operational"].mid_g < terms["operational"].high_g
    assert terms["idle_share"].mid_g == pytest.approx(1000 * 1000 / 3.6e6 * 1.5 * 400)  # a million of 1 ms
    assert card.slo_risk == 0.0
    (late,) = score(backend(BackendKind.NEUROMORPHIC, LOIHI, step_us=1001.0))
    assert late.slo_risk == 1.0
    (small,) = score(backend(BackendKind.NEUROMORPHIC, LOIHI, neurons=10, synapses=10))
    assert [reason.split()[0:3:2] for reason in small.refusals] == [
        ["needs", "neurons,"],
        ["needs", "synapses,"],
    ]


def test_edge_limits_are_hard() -> None:
    for name in ("cpu_ms", "wall_ms", "memory_mb", "bundle_kb", "subrequests"):
        need = float(getattr(EdgeCall(), name))
        (fits,) = score(backend(BackendKind.EDGE, EDGE, **{name: need}))
        (tight,) = score(backend(BackendKind.EDGE, EDGE, **{name: need * 0.99}))
        assert fits.feasible
        assert len(tight.refusals) == 1
        assert name in tight.refusals[0]


def test_edge_card() -> None:
    (card,) = score(backend(BackendKind.EDGE, EDGE))
    terms = {term.name: term for term in card.terms}
    assert terms["operational"].mid_g == pytest.approx(100 * 8000 / 3.6e6 * 1.5 * 400)
    assert terms["idle_share"].high_g == pytest.approx(1000 * 20_000 / 3.6e6 * 1.5 * 600)
    assert card.slo_risk == pytest.approx(math.exp(-89 / 20))
    assert late_risk(500.0, EdgeCall(), 100.0) == 1.0


def test_the_sample_is_ranked_and_refused_ones_come_last() -> None:
    cards = score_backends(
        sample_fleet(),
        {region.grid_zone: flat(region.grid_zone, 90, 100, 110) for region in sample_fleet().regions},
        start_s=3600,
    )
    assert len(cards) == len(sample_fleet().backends)
    assert all(card.synthetic for card in cards)
    order = [(not card.feasible, card.mid_g) for card in cards]
    assert order == sorted(order)
    for card in cards:
        assert card.low_g <= card.mid_g <= card.high_g
        assert 0 <= card.slo_risk <= 1
    assert any(card.refusals for card in cards if card.candidate_kind == "edge")


def test_own_workloads() -> None:
    work = Circuit(qubits=28, two_qubit_gates=27, depth=27)
    (card,) = score(backend(BackendKind.QUANTUM, QPU), circuit=work)
    assert card.refusals


@pytest.mark.parametrize("kind", list(BackendKind))
def test_each_missing_property_is_named(kind: BackendKind) -> None:
    optional = {"median_1q_error", "pending_jobs", "job_s"}
    whole = {BackendKind.QUANTUM: QPU, BackendKind.NEUROMORPHIC: LOIHI, BackendKind.EDGE: EDGE}[kind]
    for name in whole:
        rest = {other: value for other, value in whole.items() if other != name}
        if name in optional:
            score(backend(kind, rest))
        else:
            with pytest.raises(InputError, match=f"no property '{name}'"):
                score(backend(kind, rest))


@pytest.mark.parametrize(
    ("kind", "changes", "words"),
    [
        (BackendKind.QUANTUM, {"median_2q_error": 1.5}, "no probability"),
        (BackendKind.QUANTUM, {"t1_us": 0.0}, "must be positive"),
        (BackendKind.QUANTUM, {"t1_us": math.nan}, "t1_us is nan"),
        (BackendKind.QUANTUM, {"qubits": -1.0}, "qubits is -1"),
        (BackendKind.NEUROMORPHIC, {"synop_low_pj": 1e6}, "don't rise"),
        (BackendKind.EDGE, {"latency_ms": math.inf}, "latency_ms is inf"),
    ],
)
def test_properties_out_of_range(kind: BackendKind, changes: dict[str, float], words: str) -> None:
    whole = {BackendKind.QUANTUM: QPU, BackendKind.NEUROMORPHIC: LOIHI, BackendKind.EDGE: EDGE}[kind]
    with pytest.raises(InputError, match=words):
        score(backend(kind, whole, **changes))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Circuit(qubits=0),
        lambda: Circuit(two_qubit_gates=100),
        lambda: Circuit(depth=12),
        lambda: Network(steps=0),
        lambda: Network(rate_mid_share=0.5),
        lambda: EdgeCall(cpu_ms=30.0),
        lambda: EdgeCall(memory_mb=math.nan),
        lambda: EdgeCall(calls=0),
    ],
)
def test_impossible_workloads(make) -> None:  # noqa: ANN001
    with pytest.raises(InputError):
        make()


def test_a_zone_without_forecast() -> None:
    with pytest.raises(UnknownZone):
        score_backends(fleet_of(), {}, start_s=0)

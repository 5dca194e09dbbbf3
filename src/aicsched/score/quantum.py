"""Scores of quantum computers from a calibration: will the circuit survive, and what does it cost.

The success estimate is λ = ESP × idle decoherence: the product of the gates' and
the readouts' success, times the decay of every qubit over the circuit's depth. It
ranks devices; as a fidelity it is biased, and calibrations age within days.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aicsched.domain.score import ScoreCard, ScoreTerm
from aicsched.score.intensity import Met, scaled
from aicsched.score.properties import need
from aicsched.units import kwh_from_watts

if TYPE_CHECKING:
    from aicsched.domain.fleet import Backend
    from aicsched.score.request import ScoreWeights

__all__ = ["Circuit", "score_quantum", "success_estimate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Circuit:
    """A quantum job.

    Parameters
    ----------
    qubits : int
        Width.
    two_qubit_gates, depth : int
        Two-qubit gates in all, and layers.
    shots : int
        Repetitions.
    """

    qubits: int = 9
    two_qubit_gates: int = 24
    depth: int = 18
    shots: int = 4000

    def describe(self) -> str:
        """Return the circuit in words."""
        return f"{self.qubits} qubits, {self.two_qubit_gates} two-qubit gates, {self.shots} shots"


def success_estimate(circuit: Circuit, backend: Backend) -> float:
    """Return λ = ESP × idle decoherence.

    Parameters
    ----------
    circuit : Circuit
        The job.
    backend : Backend
        With medians of its calibration.

    Returns
    -------
    float
        In (0, 1].

    Raises
    ------
    InputError
        A property is missing.

    References
    ----------
    ESP: Nishio et al. 2020, doi:10.1145/3386162. T2 is clipped at 2·T1.
    """
    esp = (1 - need(backend, "median_2q_error")) ** circuit.two_qubit_gates
    esp *= (1 - need(backend, "median_readout_error")) ** circuit.qubits
    t1_us = need(backend, "t1_us")
    t2_us = min(need(backend, "t2_us"), 2 * t1_us)
    length_us = circuit.depth * need(backend, "gate_2q_ns") / 1000.0
    busy_us = 2 * circuit.two_qubit_gates * need(backend, "gate_2q_ns") / 1000.0
    idle_us = max(0.0, circuit.qubits * length_us - busy_us)
    return esp * math.exp(-idle_us * (1 / t1_us + 1 / t2_us) / 2)


def score_quantum(backend: Backend, circuit: Circuit, met: Met, pue: float, weights: ScoreWeights) -> ScoreCard:
    """Score a quantum computer for a circuit.

    Parameters
    ----------
    backend : Backend
        The computer.
    circuit : Circuit
        The job.
    met : Met
        Intensity that it meets.
    pue : float
        Of its site.
    weights : ScoreWeights
        The exchange rate of risk.

    Returns
    -------
    ScoreCard
        The static power is attributed by the time used: a cryostat runs anyway,
        so the job's marginal part is the active power alone, named on its own.

    Raises
    ------
    InputError
        A property is missing.
    """
    estimate = success_estimate(circuit, backend)
    reps_s = circuit.shots * (circuit.depth * need(backend, "gate_2q_ns") + need(backend, "readout_ns")) * 1e-9
    used_s = need(backend, "job_s") + reps_s
    marginal = scaled(met, kwh_from_watts(backend.active_w * pue, used_s))
    static = scaled(met, kwh_from_watts(backend.static_w * pue, used_s))
    risk_g = (1 - estimate) * weights.risk_g
    age_h = need(backend, "calibration_age_h")
    room = need(backend, "qubits")
    refusals = (f"has {room:g} qubits",) if circuit.qubits > room else ()
    return ScoreCard(
        candidate=backend.name,
        candidate_kind=str(backend.kind),
        request=circuit.describe(),
        terms=(
            ScoreTerm(name="operational", low_g=marginal[0], mid_g=marginal[1], high_g=marginal[2], note=f"{used_s:.1f} s of control and readout"),
            ScoreTerm(name="static_share", low_g=static[0], mid_g=static[1], high_g=static[2], note=f"cooling of {backend.static_w / 1000:g} kW, spent anyway"),
            ScoreTerm(name="slo_risk", low_g=risk_g, mid_g=risk_g, high_g=risk_g, note=f"success {estimate:.0%}, calibrated {age_h:g} h ago, {need(backend, 'pending_jobs'):g} jobs wait"),
        ),
        slo_risk=1 - estimate,
        refusals=refusals,
        inputs=(met.source, backend.source),
        synthetic=met.synthetic,
    )  # fmt: skip

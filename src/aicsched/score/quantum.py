"""Scores of quantum computers: how likely a circuit survives, and what running it emits.

The chance that a shot runs without an error is estimated from the medians of a
calibration: gates and readout (the estimated success probability, ESP) times what
qubits lose while they wait. It ranks devices well; as a fidelity it is biased. A
stale calibration destroys the ranking, so its age widens the interval.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.errors import InputError
from aicsched.score.backend_terms import Interval, backend_card, energy_term, number, static_term
from aicsched.units import SECONDS_PER_HOUR, kwh_from_watts

if TYPE_CHECKING:
    from aicsched.domain.fleet import Backend
    from aicsched.domain.score import ScoreCard
    from aicsched.score.backend_terms import Site
    from aicsched.score.request import ScoreWeights

__all__ = ["Circuit", "drift_share", "held_s", "score_quantum", "success_estimate"]

# Time on the device for one shot of one circuit, p10, median and p90 of 7,449 real
# jobs (Qonductor, SC'25, the job data of its artefact, MIT) [ms].
SHOT_MS: Final = Interval(0.31, 0.59, 3.4)
# How far a two-qubit error has moved after so many days: median and p90 of the relative
# change on ibm_perth over 181 days of 2023 (daily calibrations in the same artefact).
DRIFT_DAYS: Final = (0.0, 1.0, 7.0, 30.0)
DRIFT_MEDIAN_SHARE: Final = (0.0, 0.087, 0.188, 0.239)
DRIFT_P90_DAYS: Final = (0.0, 1.0, 30.0)
DRIFT_P90_SHARE: Final = (0.0, 0.41, 0.75)


@dataclass(frozen=True, slots=True, kw_only=True)
class Circuit:
    """A quantum job: a circuit and how often it is run.

    The default is the 12-qubit GHZ state along a line, the circuit with which
    Qonductor (SC'25) compared six machines, in 4,000 shots.

    Parameters
    ----------
    qubits : int
        Width, all of them measured.
    two_qubit_gates, one_qubit_gates : int
        How many, after transpiling.
    depth : int
        Layers of two-qubit gates.
    shots : int
        Repetitions.

    Raises
    ------
    InputError
        Numbers that make no circuit.
    """

    qubits: int = 12
    two_qubit_gates: int = 11
    one_qubit_gates: int = 1
    depth: int = 11
    shots: int = 4000

    def __post_init__(self) -> None:
        fine = self.qubits >= 1 and self.shots >= 1 and min(self.one_qubit_gates, self.depth) >= 0
        if not fine or not self.depth <= self.two_qubit_gates <= self.depth * (self.qubits // 2):
            gates = f"{self.two_qubit_gates} two-qubit gates"
            msg = f"{gates} don't fit {self.depth} layers of {self.qubits} qubits"
            raise InputError(msg, hint="a layer holds at least 1 and at most qubits / 2 of them", value=self)

    def describe(self) -> str:
        """Return the circuit in words.

        Returns
        -------
        str
            With numbers.
        """
        return f"{self.qubits} qubits, {self.two_qubit_gates} two-qubit gates, {self.shots:,} shots"


def drift_share(age_h: float) -> tuple[float, float]:
    """Return how far errors may have moved since the calibration.

    Parameters
    ----------
    age_h : float
        Age of the calibration [h].

    Returns
    -------
    tuple of float
        Median and p90 of the relative change, measured up to 30 days and held beyond.

    Examples
    --------
    >>> drift_share(24.0)
    (0.087, 0.41)
    """
    days = age_h / 24.0
    median = np.interp(days, DRIFT_DAYS, DRIFT_MEDIAN_SHARE)
    return float(median), float(np.interp(days, DRIFT_P90_DAYS, DRIFT_P90_SHARE))


def _gates_share(circuit: Circuit, backend: Backend, error_factor: float) -> float:
    errors = [number(backend, name) for name in ("median_2q_error", "median_readout_error")]
    errors.append(number(backend, "median_1q_error", 0.0))
    if max(errors) > 1:
        msg = f"quantum backend '{backend.name}': an error rate of {max(errors)} is no probability"
        raise InputError(msg, hint="give probabilities in [0, 1]", value=max(errors))
    two, readout, one = (1 - min(1.0, error * error_factor) for error in errors)
    return float(two**circuit.two_qubit_gates * one**circuit.one_qubit_gates * readout**circuit.qubits)


def success_estimate(circuit: Circuit, backend: Backend, *, error_factor: float = 1.0) -> float:
    """Return the chance that one shot runs without an error.

    Parameters
    ----------
    circuit : Circuit
        The job.
    backend : Backend
        Properties ``median_2q_error``, ``median_readout_error``, ``t1_us``, ``t2_us``,
        ``gate_2q_ns``; ``median_1q_error`` counts as 0 when absent.
    error_factor : float
        Multiplies every error and decay rate, for the drift since the calibration.

    Returns
    -------
    float
        λ = (1 - e2)^n2 (1 - e1)^n1 (1 - er)^qubits F^qubits, where
        F = 1/2 + exp(-t/T1)/6 + exp(-t/T2)/3 is the average fidelity of waiting
        for t, the circuit's length less a qubit's share of the gates; T2 is cut at 2 T1.

    Raises
    ------
    InputError
        A property is missing or out of range.

    References
    ----------
    ESP: Nishio et al. 2020, doi:10.1145/3386162. Average fidelity of amplitude and
    phase damping: Nielsen 2002, doi:10.1016/S0375-9601(02)01272-0, with the process
    fidelity (1 + exp(-t/T1) + 2 exp(-t/T2)) / 4.
    """
    t1_us, t2_us = number(backend, "t1_us"), number(backend, "t2_us")
    if min(t1_us, t2_us) <= 0:
        msg = f"quantum backend '{backend.name}': t1_us and t2_us must be positive"
        raise InputError(msg, hint="take them from its calibration", value=(t1_us, t2_us))
    layers = circuit.depth - 2 * circuit.two_qubit_gates / circuit.qubits
    waiting_us = number(backend, "gate_2q_ns") / 1000.0 * layers * error_factor
    t2_us = min(t2_us, 2 * t1_us)
    kept = 0.5 + math.exp(-waiting_us / t1_us) / 6 + math.exp(-waiting_us / t2_us) / 3
    return _gates_share(circuit, backend, error_factor) * kept**circuit.qubits


def held_s(circuit: Circuit) -> Interval:
    """Return how long a job holds the device.

    Parameters
    ----------
    circuit : Circuit
        The job.

    Returns
    -------
    Interval
        Shots times the measured time of a shot [s].

    Examples
    --------
    >>> round(held_s(Circuit(shots=1000)).mid, 2)
    0.59
    """
    return SHOT_MS.times(circuit.shots / 1000.0)


def score_quantum(backend: Backend, circuit: Circuit, site: Site, weights: ScoreWeights) -> ScoreCard:
    """Score a quantum computer for a circuit.

    Parameters
    ----------
    backend : Backend
        As `success_estimate` reads it, with ``qubits`` and ``calibration_age_h``;
        ``pending_jobs`` and ``job_s`` count as 0 when absent.
    circuit : Circuit
        The job.
    site : Site
        Intensity and PUE of where it stands.
    weights : ScoreWeights
        What a failed shot counts as.

    Returns
    -------
    ScoreCard
        The refrigerator's power attributed by time (marginal: none), the extra
        power of a run, and the risk 1 - λ with the drift since the calibration.

    Raises
    ------
    InputError
        A property is missing or out of range.
    """
    age_h = number(backend, "calibration_age_h")
    usual, bad = drift_share(age_h)
    factors = (1 - usual, 1.0, 1 + bad)
    risk = Interval(*(1 - success_estimate(circuit, backend, error_factor=factor) for factor in factors))
    busy_s = held_s(circuit)
    active = Interval(*(kwh_from_watts(backend.active_w, seconds) for seconds in busy_s))
    wait_h = number(backend, "pending_jobs", 0.0) * number(backend, "job_s", 0.0) / SECONDS_PER_HOUR
    qubits = number(backend, "qubits")
    refusals = (f"needs {circuit.qubits} qubits, it has {qubits:g}",) if qubits < circuit.qubits else ()
    note = f"{backend.active_w:g} W for {busy_s.mid:.3g} s, {wait_h * 60:.0f} min in the queue"
    return backend_card(
        backend,
        circuit.describe(),
        (energy_term("operational", active, site, note), static_term(backend, busy_s, site)),
        risk=risk,
        why=f"of shots fail, calibrated {age_h:g} h ago,",
        refusals=refusals,
        site=site,
        weights=weights,
    )

"""The risk of each node over a run: load, latency, memory and readiness, from what was measured."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.domain.carbon import frozen_array
from aicsched.score.risk.curves import GRID_POINTS, RiskCurves
from aicsched.score.risk.exceed import exceedance
from aicsched.score.risk.latency import learned_limits
from aicsched.score.risk.readiness import readiness_risk
from aicsched.score.slo_risk import limit_shares
from aicsched.slots import DAY_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from aicsched.domain.telemetry import Telemetry
    from aicsched.score.slo_risk import Objectives

    Array = NDArray[np.float64]

__all__ = ["NodeRisk", "assess", "joined"]

LOOKBACK_DAYS: Final = 84


def joined(parts: Sequence[Array]) -> tuple[Array, Array, Array]:
    """Return the chance that any of some events happens: least, as if independent, and most.

    Parameters
    ----------
    parts : sequence of ndarray
        Probabilities of each event; they broadcast.

    Returns
    -------
    tuple of ndarray
        Fréchet's lower bound max p, 1 - Π(1 - p), and the upper bound min(1, Σ p):
        whatever the dependence, the truth lies between the first and the last.

    Examples
    --------
    >>> [round(float(value), 2) for value in joined([np.array(0.2), np.array(0.5)])]
    [0.5, 0.6, 0.7]
    """
    low = high = np.zeros(())
    middle = np.ones(())
    for part in parts:
        low, middle, high = np.maximum(low, part), middle * (1 - part), high + part
    return low, 1 - middle, np.minimum(high, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NodeRisk:
    """What may break on each node over one horizon.

    Parameters
    ----------
    load : RiskCurves
        P(CPU or latency objective breaks at some time of the run) over added CPU load.
    memory : RiskCurves
        P(memory pressure at some time) over added memory share; 0 without evidence from any node.
    not_ready : ndarray, shape (n,)
        P(not ready at some time); 0 without evidence from any node.
    limit_share : ndarray, shape (n,)
        Utilisation at which the first of CPU and latency breaks.
    coverage_share : ndarray, shape (n,)
        How much of the evidence about load is there, in [0, 1].
    """

    load: RiskCurves
    memory: RiskCurves
    not_ready: Array
    limit_share: Array
    coverage_share: Array

    def parts(self, cpu_share: ArrayLike, memory_share: ArrayLike = 0.0) -> tuple[Array, ...]:
        """Return the chance of each kind of break at added loads.

        Parameters
        ----------
        cpu_share, memory_share : array_like, shape (n,) or (p, n)
            What the request adds, as shares of the node.

        Returns
        -------
        tuple of ndarray
            Load (with latency), memory, readiness.
        """
        return self.load.at(cpu_share), self.memory.at(memory_share), self.not_ready

    def at(self, cpu_share: ArrayLike, memory_share: ArrayLike = 0.0) -> tuple[Array, Array, Array]:
        """Return the chance that anything breaks: least, as if independent, and most.

        Parameters
        ----------
        cpu_share, memory_share : array_like, shape (n,) or (p, n)
            What the request adds, as shares of the node.

        Returns
        -------
        tuple of ndarray
            From `joined`.
        """
        return joined(self.parts(cpu_share, memory_share))

    def explain(self, row: int, cpu_share: float, memory_share: float = 0.0) -> str:
        """Say what the risk of a node is made of.

        Parameters
        ----------
        row : int
            Which node.
        cpu_share, memory_share : float
            What the request adds, as shares of the node.

        Returns
        -------
        str
            One sentence with the chance of each part.
        """
        load, memory, ready = self.parts(cpu_share, memory_share)
        words = [f"{load[row]:.1%} load passes {self.limit_share[row]:.0%}"]
        if self.memory.risk.any():
            words.append(f"{memory[row]:.1%} memory pressure")
        if self.not_ready.any():
            words.append(f"{ready[row]:.1%} not ready")
        low, middle, high = (value[row] for value in self.at(cpu_share, memory_share))
        known = f", {self.coverage_share[row]:.0%} measured" if self.coverage_share[row] < 0.995 else ""
        return f"risk {middle:.1%} ({low:.1%} to {high:.1%}): {', '.join(words)}{known}"


def assess(
    telemetry: Telemetry | None,
    nodes: Sequence[str],
    vcpus: Array,
    objectives: Objectives,
    *,
    start_s: int,
    duration_s: float,
    unseen_share: ArrayLike = 0.0,
) -> NodeRisk:
    """Foresee what may break on nodes during a run.

    Parameters
    ----------
    telemetry : Telemetry or None
        What was measured; slots that ended by `start_s`, at most 84 days back, are used.
    nodes : sequence of str
        Which nodes, in the order of the result.
    vcpus : ndarray, shape (n,)
        Their hardware threads.
    objectives : Objectives
        What must not break.
    start_s : int
        Start of the run, seconds since the epoch.
    duration_s : float
        Its length [s].
    unseen_share : array_like, shape (n,)
        Load of pods that are bound but not yet seen by the metrics, as a share of the node.

    Returns
    -------
    NodeRisk
        Of n nodes. Time between the latest slot and the start counts to the horizon.

    Notes
    -----
    What was not measured counts as a uniform load, and never as better than the median
    measured node. CPU and latency are one event: both break as one utilisation passes
    the lower of two limits. What runs together on a node is measured together, so its
    correlation is in the past that the curves are made of.
    """
    count = len(nodes)
    unseen = np.broadcast_to(np.asarray(unseen_share, dtype=np.float64), (count,))
    past = _Past.of(telemetry, nodes, start_s)
    if past is None or telemetry is None:
        limit = limit_shares(vcpus, objectives)
        load = _with_prior(np.full((count, GRID_POINTS), np.nan), np.zeros(count), limit - unseen)
        zero = np.zeros(count)
        return NodeRisk(
            load=load, memory=_quiet(count), not_ready=zero, limit_share=limit, coverage_share=zero
        )
    step_s = telemetry.slots.step_s
    horizon = max(1, math.ceil((start_s + duration_s - past.end_s) / step_s))
    per_day = max(1, round(DAY_S / step_s))
    cpu = past.rows(telemetry.cpu_share)
    limit = learned_limits(vcpus, objectives, past.rows(telemetry.latency_p99_ms), cpu)
    late = (start_s - past.end_s) // step_s
    coverage = _coverage(cpu, per_day, late)
    made = exceedance(cpu, limit - unseen, horizon=horizon, per_day=per_day)
    ready = readiness_risk(past.rows(telemetry.ready_share), past.rows(telemetry.restarts), horizon)
    return NodeRisk(
        load=_with_prior(made.risk, coverage, limit - unseen),
        memory=_memory(past, telemetry, objectives, horizon, per_day, late),
        not_ready=frozen_array(np.zeros(count) if ready is None else ready),
        limit_share=frozen_array(limit),
        coverage_share=frozen_array(coverage),
    )


@dataclass(frozen=True, slots=True)
class _Past:
    """Where the past of some nodes lies in telemetry."""

    places: NDArray[np.int64]
    first: int
    last: int
    end_s: int

    @classmethod
    def of(cls, telemetry: Telemetry | None, nodes: Sequence[str], start_s: int) -> _Past | None:
        if telemetry is None or not telemetry.nodes:
            return None
        past = telemetry.slots.between(start_s - LOOKBACK_DAYS * DAY_S, start_s)
        if not len(past):
            return None
        row_of = {name: row for row, name in enumerate(telemetry.nodes)}
        places = np.array([row_of.get(name, -1) for name in nodes], dtype=np.int64)
        offset = telemetry.slots.offset_of(past)
        return cls(places, offset, offset + len(past), past.end_s)

    def rows(self, values: Array | None) -> Array:
        """Return the past of the nodes, NaN where there is none."""
        if values is None:
            return np.full((len(self.places), self.last - self.first), np.nan)
        made = values[:, self.first : self.last][np.maximum(self.places, 0)]
        made[self.places < 0] = np.nan
        return made


def _coverage(past: Array, per_day: int, late: int) -> Array:
    """Return how much of the evidence is there: since the first value, and of the latest day."""
    slots = past.shape[1]
    known = ~np.isnan(past)
    first = np.where(known.any(axis=1), np.argmax(known, axis=1), slots)
    since = known.sum(axis=1) / np.maximum(slots - first, per_day)
    day = known[:, slots - min(per_day, slots) :].sum(axis=1)
    latest = np.maximum(day - late, 0) / min(per_day, slots)
    return np.minimum(np.minimum(since, latest), 1.0)


def _with_prior(risk: Array, coverage: Array, limit: Array) -> RiskCurves:
    """Mix measured risk with what must be feared of what wasn't measured."""
    grid = np.linspace(0.0, 1.0, risk.shape[1])
    known = ~np.isnan(risk[:, 0]) & (coverage > 0)
    prior = np.clip(1 - (limit[:, None] - grid), 0.0, 1.0)
    if known.any():
        prior = np.maximum(prior, np.median(risk[known], axis=0))
    share = np.where(known, coverage, 0.0)[:, None]
    mixed = share * np.where(known[:, None], risk, 0.0) + (1 - share) * prior
    return RiskCurves(extra_share=grid, risk=np.maximum.accumulate(np.clip(mixed, 0.0, 1.0), axis=1))


def _memory(
    past: _Past, telemetry: Telemetry, objectives: Objectives, horizon: int, per_day: int, late: int
) -> RiskCurves:
    used, stalled = past.rows(telemetry.memory_share), past.rows(telemetry.memory_stall_share)
    parts: list[RiskCurves] = []
    for values, share in ((used, objectives.memory_limit_share), (stalled, objectives.stall_limit_share)):
        if np.isnan(values).all():
            continue
        limit = np.full(len(values), share)
        made = exceedance(values, limit, horizon=horizon, per_day=per_day)
        parts.append(_with_prior(made.risk, _coverage(values, per_day, late), limit))
    if not parts:
        return _quiet(len(used))
    grid = parts[0].extra_share
    if len(parts) == 1:
        # Stalls without known memory tell of today's load only.
        return parts[0] if not np.isnan(used).all() else _level(parts[0])
    stall = parts[1].risk[:, :1]
    # A node that stalls is short of memory: the events are one, seen twice.
    return RiskCurves(extra_share=grid, risk=np.maximum(parts[0].risk, stall))


def _quiet(count: int) -> RiskCurves:
    return RiskCurves(extra_share=np.array([0.0, 1.0]), risk=np.zeros((count, 2)))


def _level(curves: RiskCurves) -> RiskCurves:
    return RiskCurves(
        extra_share=curves.extra_share, risk=np.repeat(curves.risk[:, :1], len(curves.extra_share), axis=1)
    )

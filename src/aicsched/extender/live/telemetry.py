"""What nodes did, as Prometheus has it: a window that grows slot by slot, and the risk read from it.

Two weeks are read once; from then on only slots that are new. The risk of nodes takes
most of the time that a snapshot would take, and changes with new slots only: it is worked
out here, beside the snapshots, which look it up.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from aicsched.domain.telemetry import TOPS, Telemetry
from aicsched.errors import SignalGap
from aicsched.extender.live.assessing import AssessTask, assess_apart
from aicsched.observe import get_logger
from aicsched.score.risk.curves import RiskCurves
from aicsched.slots import DAY_S, HOUR_S, SlotGrid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from aicsched.extender.live.prometheus import NodeHistory
    from aicsched.score.risk.assess import NodeRisk
    from aicsched.score.slo_risk import Objectives

__all__ = ["Assessed", "LiveTelemetry", "grown"]

_log = get_logger("extender.live")
# What the risk also reads, where a cluster's exporters have it.
_WISHES: Final = ("ready_share", "restarts", "memory_stall_share", "latency_p99_ms")


def grown(old: Telemetry | None, new: Telemetry, keep: int) -> Telemetry:
    """Lay new slots behind older ones.

    Parameters
    ----------
    old : Telemetry or None
        Slots up to where the new ones begin, or nothing.
    new : Telemetry
        Slots that follow; nodes may differ.
    keep : int
        So many of the latest slots are kept.

    Returns
    -------
    Telemetry
        Of all nodes that were seen in them, by name; NaN where one wasn't.
    """
    if old is None or old.slots.end_s != new.slots.start_s or old.slots.step_s != new.slots.step_s:
        return new
    parts, slots = (old, new), len(old.slots) + len(new.slots)
    drop = max(0, slots - keep)
    nodes = sorted({*old.nodes, *new.nodes})
    row = {name: place for place, name in enumerate(nodes)}
    arrays: dict[str, NDArray[np.float64]] = {}
    for field in TOPS:
        if all(getattr(part, field) is None for part in parts):
            continue
        made = np.full((len(nodes), slots), np.nan)
        for part, first in ((old, 0), (new, len(old.slots))):
            values = getattr(part, field)
            if values is not None and part.nodes:
                made[[row[name] for name in part.nodes], first : first + len(part.slots)] = values
        arrays[field] = made[:, drop:]
    # Nodes come and go: one that was not seen in all the window is forgotten.
    seen = (~np.isnan(arrays["cpu_share"])).any(axis=1)
    names = tuple(nodes[place] for place in np.flatnonzero(seen))
    step_s = new.slots.step_s
    window = SlotGrid(old.slots.start_s + drop * step_s, step_s, slots - drop)
    own: dict[str, Any] = {field: values[seen] for field, values in arrays.items()}
    return Telemetry(nodes=names, slots=window, source=new.source, **own)


@dataclass(frozen=True, slots=True, eq=False)
class Assessed:
    """Telemetry, and the risk of the nodes that it is about.

    Parameters
    ----------
    telemetry : Telemetry
        What was measured.
    rows : mapping of str to int
        Where each node stands in the risks; the last row is of one of which nothing is known.
    risks : mapping of (Objectives, float) to NodeRisk
        By thresholds and span [h], without what is unseen.
    """

    telemetry: Telemetry
    rows: Mapping[str, int]
    risks: Mapping[tuple[Objectives, float], NodeRisk]

    @property
    def end_s(self) -> int:
        """Until when was measured, seconds since the epoch."""
        return self.telemetry.slots.end_s

    def lookup(self, names: Sequence[str]) -> Callable[[Objectives, float], NodeRisk]:
        """Return what gives the risk of some nodes.

        Parameters
        ----------
        names : sequence of str
            Which, in the order of the result.

        Returns
        -------
        callable
            From thresholds and a span [h] to `NodeRisk`.
        """
        last = len(self.rows)
        rows = np.array([self.rows.get(name, last) for name in names], dtype=np.int64)

        def risk_of(objectives: Objectives, span_h: float) -> NodeRisk:
            found = self.risks[objectives, span_h]
            return replace(
                found,
                load=_taken(found.load, rows),
                memory=_taken(found.memory, rows),
                not_ready=found.not_ready[rows],
                limit_share=found.limit_share[rows],
                coverage_share=found.coverage_share[rows],
            )

        return risk_of


def _taken(curves: RiskCurves, rows: NDArray[np.int64]) -> RiskCurves:
    return RiskCurves(extra_share=curves.extra_share, risk=curves.risk[rows])


class LiveTelemetry:
    """Keeps a window of telemetry, and what is assessed of it.

    Parameters
    ----------
    source : NodeHistory
        Who is asked.
    days : int
        Length of the window [days].
    step_s : int
        Length of a slot [s].
    objectives : iterable of Objectives
        All thresholds that policies have.
    spans_h : sequence of float
        All spans that pods may take [h].
    assess : callable
        Does an `AssessTask`.
    """

    def __init__(
        self,
        source: NodeHistory,
        *,
        days: int,
        objectives: Iterable[Objectives],
        spans_h: Sequence[float],
        step_s: int = HOUR_S,
        assess: Callable[[AssessTask], dict[tuple[Objectives, float], NodeRisk]] = assess_apart,
    ) -> None:
        self._source = source
        self._step_s = step_s
        self._keep = days * DAY_S // step_s
        self._objectives = tuple(dict.fromkeys(objectives))
        self._spans_h = tuple(map(float, spans_h))
        self._assess = assess
        self._window: Telemetry | None = None
        self._fields: tuple[str, ...] | None = None
        self._late = -1
        self.current: Assessed | None = None

    def refresh(self, nodes: Mapping[str, float], now_s: float) -> bool:
        """Read what is new, and assess it.

        Parameters
        ----------
        nodes : mapping of str to float
            Hardware threads of each node of the cluster.
        now_s : float
            Seconds since the epoch.

        Returns
        -------
        bool
            Whether there is something new.

        Raises
        ------
        SourceUnavailable, SignalGap, SignalInvalid, ConfigError
            Prometheus can't be reached, or what it has can't be used; what was known stays.
        """
        try:
            new = self._read()
        finally:
            # Also while nothing new comes: what was measured gets older.
            made = self._assessed(nodes, now_s)
        return new or made

    def _read(self) -> bool:
        end_s = self._source.last_slots(1, self._step_s).end_s
        first_s = end_s - self._keep * self._step_s
        if self._window is not None:
            if self._window.slots.end_s >= end_s:
                return False
            first_s = max(first_s, self._window.slots.end_s)
        if self._fields is None:
            self._fields = self._found_fields(end_s)
        window = SlotGrid(first_s, self._step_s, (end_s - first_s) // self._step_s)
        try:
            read = self._source.read(window, self._fields)
        except SignalGap:
            # One of the fields may have gone: look anew next time.
            self._fields = None
            raise
        self._window = grown(self._window, read, self._keep)
        self._late = -1
        return True

    def _found_fields(self, end_s: int) -> tuple[str, ...]:
        """Tell which of the wishes this Prometheus has, by its latest slot."""
        last = SlotGrid(end_s - self._step_s, self._step_s, 1)
        found: list[str] = []
        for field in _WISHES:
            try:
                self._source.read(last, (field,))
            except SignalGap as error:
                _log.info("telemetry without %s: %s", field, error.message)
            else:
                found.append(field)
        return tuple(found)

    def _assessed(self, nodes: Mapping[str, float], now_s: float) -> bool:
        window = self._window
        if window is None or not nodes:
            return False
        late = max(0, int(now_s) - window.slots.end_s) // self._step_s
        rows = {} if self.current is None else self.current.rows
        came = any(name in nodes and name not in rows for name in window.nodes)
        if late == self._late and not came:
            return False
        task = AssessTask(window, dict(nodes), self._objectives, self._spans_h, int(now_s))
        risks = self._assess(task)
        self.current = Assessed(window, {name: place for place, name in enumerate(nodes)}, risks)
        self._late = late
        return True

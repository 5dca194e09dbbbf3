"""What a pod costs on each node of a fleet, ready to be asked a thousand times a second."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from aicsched.domain.flags import Flag
from aicsched.extender.policies import PolicyTable
from aicsched.extender.refusals import asks_hard, refusals_of
from aicsched.score.engine import PodColumns, ScoreEngine
from aicsched.score.nodes import node_columns
from aicsched.slots import DAY_S, HOUR_S

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from numpy.typing import ArrayLike, NDArray

    from aicsched.domain.fleet import Fleet
    from aicsched.domain.forecast import Forecast
    from aicsched.domain.telemetry import Telemetry
    from aicsched.extender.podrequest import PodRequest
    from aicsched.extender.refusals import Refusals
    from aicsched.score.engine import NodeColumns, PairTerms
    from aicsched.score.risk.assess import NodeRisk
    from aicsched.score.slo_risk import Objectives

    Array = NDArray[np.float64]
    Risks = Callable[[Objectives, float], NodeRisk]

__all__ = ["SPANS_H", "FleetCosts", "Life", "fleet_costs"]

# A forecast is averaged over these spans beforehand; a pod takes the shortest that holds it.
SPANS_H: Final = (1, 2, 4, 8, 24, 48, 96)
# Replicas ask for the same.
_REMEMBERED: Final = 256
_NO_LIVES: Final[Mapping[tuple[str, str], float]] = MappingProxyType({})


class Life(NamedTuple):
    """How long a pod is expected to run.

    Parameters
    ----------
    duration_s : float
        How long [s].
    why : str
        ``"annotation"``, ``"owner history"`` or ``"default"``.
    """

    duration_s: float
    why: str


class _Key(NamedTuple):
    """All of a pod that its cost depends on."""

    vcpus: float
    memory_gib: float
    duration_s: float
    policy: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FleetCosts:
    """Marginal grams of a pod on every node.

    Parameters
    ----------
    fleet : Fleet
        The nodes.
    engines : tuple of ScoreEngine
        One for each set of thresholds that policies have.
    seats : tuple of (int, int)
        For each policy its engine, and its index there.
    met_g_per_kwh : mapping of float to ndarray, shape (nodes,)
        By span [h], the mean intensity that scores reckon with.
    embodied_g_per_vcpu_h : ndarray, shape (nodes,)
        Amortised share of the hardware.
    signals : tuple of str
        Per node: ``"fresh"``, ``"degraded"``, ``"neutral"`` or ``"unknown"``.
    policies : PolicyTable
        What pods are scored by.
    lives : mapping of (str, str) to float
        By namespace and owner, how long their pods ran [s].
    forecasts : mapping of str to Forecast
        Per grid zone, what was foreseen.
    start_s : int
        From when on, seconds since the epoch.
    measured : tuple of str
        Ids of what the nodes' loads were read from.
    """

    fleet: Fleet
    engines: tuple[ScoreEngine, ...]
    seats: tuple[tuple[int, int], ...]
    met_g_per_kwh: Mapping[float, Array]
    embodied_g_per_vcpu_h: Array
    signals: tuple[str, ...]
    policies: PolicyTable
    lives: Mapping[tuple[str, str], float]
    forecasts: Mapping[str, Forecast]
    start_s: int
    measured: tuple[str, ...] = ()
    regions: tuple[str, ...] = field(init=False, repr=False)
    known: NDArray[np.bool_] = field(init=False, repr=False)
    _remembered: dict[_Key, Array] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        known = np.array([signal != "unknown" for signal in self.signals], dtype=np.bool_)
        object.__setattr__(self, "regions", tuple(node.region for node in self.fleet.nodes))
        object.__setattr__(self, "known", known)
        # Not by lru_cache on a method: the circle would keep each snapshot until the collector's next walk.
        object.__setattr__(self, "_remembered", {})

    @property
    def spans_h(self) -> tuple[float, ...]:
        """The spans that forecasts cover, rising [h]."""
        return self.engines[0].spans_h

    @property
    def blind(self) -> bool:
        """Whether no intensity is known, so that nothing tells nodes apart that should."""
        return not any(signal in {"fresh", "degraded"} for signal in self.signals)

    # ---------------------------------------------------------------- of one pod

    def life(self, request: PodRequest) -> Life:
        """Tell how long a pod is expected to run.

        Parameters
        ----------
        request : PodRequest
            What it says, and whose piece it is.

        Returns
        -------
        Life
            What it says itself counts first, then how long its owner's pods ran.
        """
        if request.duration_said:
            return Life(request.duration_s, "annotation")
        usual_s = self.lives.get((request.namespace, request.owner)) if request.owner else None
        return Life(request.duration_s, "default") if usual_s is None else Life(usual_s, "owner history")

    def cost_g(self, request: PodRequest) -> Array:
        """Return what a pod costs on each node.

        Parameters
        ----------
        request : PodRequest
            Its threads, memory, policy and expected duration; beyond the last span the last one's
            mean intensity is taken.

        Returns
        -------
        ndarray, shape (nodes,)
            Operational grams, the idle share it keeps awake, and the risk it brings [g]; NaN on a grid
            of which nothing is known; read-only.
        """
        key = self._key(request)
        found = self._remembered.get(key)
        if found is None:
            found = self._cost_g(key)
            if len(self._remembered) >= _REMEMBERED:
                self._remembered.clear()
            self._remembered[key] = found
        return found

    def _key(self, request: PodRequest) -> _Key:
        choice = self.policies.choose(request.namespace, request.policy)
        return _Key(request.vcpus, request.memory_gib, self.life(request).duration_s, choice.place)

    def _pod(self, key: _Key) -> tuple[ScoreEngine, PodColumns]:
        engine, policy = self.seats[key.policy]
        pod = PodColumns(
            vcpus=np.array([key.vcpus]),
            duration_h=np.array([key.duration_s / HOUR_S]),
            memory_gib=np.array([key.memory_gib]),
            policy=np.array([policy]),
        )
        return self.engines[engine], pod

    def _cost_g(self, key: _Key) -> Array:
        engine, pod = self._pod(key)
        # Whether a pod fits is for the scheduler's own filters, which know what is free.
        total_g: Array = engine.totals(pod, refuse=False)[0]
        total_g[~self.known] = np.nan
        total_g.flags.writeable = False
        return total_g

    def terms(self, request: PodRequest) -> PairTerms:
        """Return all terms of a pod on each node, with their bands.

        Parameters
        ----------
        request : PodRequest
            As in `cost_g`.

        Returns
        -------
        PairTerms
            One pair a node, in order; those of nodes on an unknown grid mean nothing but their risk.
        """
        engine, pod = self._pod(self._key(request))
        count = len(self.fleet.nodes)
        return engine.terms(pod, np.zeros(count, np.int64), np.arange(count))

    def met(self, duration_s: float) -> Array:
        """Return the mean intensity that scores reckon with.

        Parameters
        ----------
        duration_s : float
            How long a pod runs [s].

        Returns
        -------
        ndarray, shape (nodes,)
            Of a zone whose signal is too old, the mean of the others [g/kWh].
        """
        return self.met_g_per_kwh[self.span_h(duration_s)]

    def span_h(self, duration_s: float) -> float:
        """Return the length of the span that stands for a duration.

        Parameters
        ----------
        duration_s : float
            How long [s].

        Returns
        -------
        float
            [h].
        """
        return next((span for span in self.spans_h if span >= duration_s / HOUR_S), self.spans_h[-1])

    def g_per_kwh(self, duration_s: float) -> Array:
        """Return the mean intensity that a pod meets on each node.

        Parameters
        ----------
        duration_s : float
            How long it runs [s].

        Returns
        -------
        ndarray, shape (nodes,)
            [g/kWh]; NaN where the signal is unknown or too old to count.
        """
        counts = np.array([signal in {"fresh", "degraded"} for signal in self.signals], dtype=np.bool_)
        return np.where(counts, self.met(duration_s), np.nan)

    def refusals(self, request: PodRequest, *, stale: bool = False) -> Refusals | None:
        """Hold the nodes against a pod's hard constraints, and those of its namespace.

        Parameters
        ----------
        request : PodRequest
            What is asked for.
        stale : bool
            The intensities here are too old to be held against a limit.

        Returns
        -------
        Refusals or None
            None where nothing is asked for.
        """
        limits = self.policies.limits(request.namespace)
        if not asks_hard(request, limits):
            return None
        g_per_kwh = self.g_per_kwh(self.life(request).duration_s)
        return refusals_of(
            request,
            limits,
            regions=self.regions,
            g_per_kwh=np.full_like(g_per_kwh, np.nan) if stale else g_per_kwh,
            slo_risk=lambda: self.terms(request).slo_risk[1],
        )


def fleet_costs(  # noqa: PLR0913 - one keyword per thing that is known
    fleet: Fleet,
    forecasts: Mapping[str, Forecast],
    telemetry: Telemetry | None,
    *,
    start_s: int,
    policies: PolicyTable | None = None,
    unknown: Collection[str] = (),
    unseen_share: ArrayLike = 0.0,
    lives: Mapping[tuple[str, str], float] = _NO_LIVES,
    risks: Risks | None = None,
) -> FleetCosts:
    """Lay out all that a cost needs, once per snapshot.

    Parameters
    ----------
    fleet : Fleet
        With the nodes of a cluster.
    forecasts : mapping of str to Forecast
        Per grid zone, from `start_s` on for at least an hour.
    telemetry : Telemetry or None
        What the nodes did.
    start_s : int
        The time of the snapshot, seconds since the epoch.
    policies : PolicyTable, optional
        What pods are scored by; by default the packaged presets, ``balanced`` unless a pod names another.
    unknown : collection of str
        Grid zones of which nothing is known; their forecasts are neutral.
    unseen_share : array_like, shape (n,) or ()
        Load of pods that are bound but not yet seen by the metrics, as shares of the nodes.
    lives : mapping of (str, str) to float
        By namespace and owner, how long their pods ran [s].
    risks : callable, optional
        From thresholds and a span [h] to the nodes' risk without what is unseen, where that was worked
        out before.

    Returns
    -------
    FleetCosts
        In the order of ``fleet.nodes``.

    Raises
    ------
    UnknownZone, SlotError
        A forecast is missing or shorter than an hour.
    """
    # A neutral forecast counts for nothing, however short it is.
    ends_s = [each.slots.end_s for each in forecasts.values() if Flag.NEUTRAL.value not in each.flags]
    covered = [
        span_h for span_h in SPANS_H if start_s + span_h * HOUR_S <= min(ends_s, default=start_s + DAY_S)
    ] or [SPANS_H[0]]
    table = policies or PolicyTable()
    groups: dict[Objectives, list[int]] = {}
    for index, weights in enumerate(table.weights):
        groups.setdefault(weights.objectives, []).append(index)
    engines: list[ScoreEngine] = []
    seats = [(0, 0)] * len(table.weights)
    first: dict[float, NodeColumns] = {}
    for objectives, members in groups.items():
        own = tuple(table.weights[index] for index in members)
        spans = {
            float(span_h): node_columns(
                fleet, forecasts, telemetry,
                start_s=start_s, duration_s=span_h * HOUR_S, weights=own[0], unseen_share=unseen_share,
                risk=None if risks is None else risks(objectives, float(span_h)),
            )
            for span_h in covered
        }  # fmt: skip
        for seat, index in enumerate(members):
            seats[index] = (len(engines), seat)
        # Facts and intensities are the same for all thresholds.
        first = first or spans
        engines.append(ScoreEngine(spans, own, [region.name for region in fleet.regions]))
    return FleetCosts(
        fleet=fleet,
        engines=tuple(engines),
        seats=tuple(seats),
        met_g_per_kwh={span_h: nodes.mid_g_per_kwh for span_h, nodes in first.items()},
        embodied_g_per_vcpu_h=next(iter(first.values())).embodied_g_per_vcpu_h,
        signals=_signals(fleet, forecasts, unknown),
        policies=table,
        lives=lives,
        forecasts=forecasts,
        start_s=start_s,
        measured=() if telemetry is None else (telemetry.source,),
    )


def _signals(fleet: Fleet, forecasts: Mapping[str, Forecast], unknown: Collection[str]) -> tuple[str, ...]:
    def state(zone: str) -> str:
        if zone in unknown:
            return "unknown"
        flags = forecasts[zone].flags
        return next((flag.value for flag in (Flag.NEUTRAL, Flag.DEGRADED) if flag.value in flags), "fresh")

    by_region = {region.name: state(region.grid_zone) for region in fleet.regions}
    return tuple(by_region[node.region] for node in fleet.nodes)

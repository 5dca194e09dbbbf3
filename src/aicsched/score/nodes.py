"""Scores of nodes: grams of one more request on a machine, and the risk it brings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.domain.score import ScoreCard, ScoreTerm
from aicsched.score.intensity import met_by_region
from aicsched.score.request import Request, ScoreWeights
from aicsched.score.slo_risk import breach_risk
from aicsched.slots import HOUR_S

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from aicsched.domain.fleet import Fleet, Node
    from aicsched.domain.forecast import Forecast
    from aicsched.domain.telemetry import Telemetry

    Array = NDArray[np.float64]

__all__ = ["NodeArrays", "NodeTerms", "expected_load", "node_arrays", "node_terms", "score_nodes"]

# A machine below this use is taken as kept on for the request alone: it bears the idle power.
EMPTY_SHARE: Final = 0.01
# Power tables by CPU family scatter: the quartiles of SPECpower servers of one family lie about this far off.
POWER_SPREAD_SHARE: Final = 0.15
_HOURS_PER_DAY: Final = 24


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NodeArrays:
    """Nodes as columns: what scoring many at once needs.

    Parameters
    ----------
    vcpus, memory_gib, idle_w, max_w, pue : ndarray, shape (n,)
        Facts of each node; PUE of its region.
    mean_share, deviation_share : ndarray, shape (n,)
        Expected utilisation without the request, and its deviation; NaN is unknown.
    low_g_per_kwh, mid_g_per_kwh, high_g_per_kwh : ndarray, shape (n,)
        Intensity the request meets there.
    transfer_g, embodied_g_per_vcpu_h : ndarray, shape (n,)
        Emissions of moving its data there [g], and the amortised share of the hardware.
    """

    vcpus: Array
    memory_gib: Array
    idle_w: Array
    max_w: Array
    pue: Array
    mean_share: Array
    deviation_share: Array
    low_g_per_kwh: Array
    mid_g_per_kwh: Array
    high_g_per_kwh: Array
    transfer_g: Array
    embodied_g_per_vcpu_h: Array


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NodeTerms:
    """Terms of a score for many nodes.

    Parameters
    ----------
    operational_g, idle_share_g : ndarray, shape (3, n)
        Low, mid and high [g].
    transfer_g, embodied_g, slo_risk_g : ndarray, shape (n,)
        [g].
    slo_risk : ndarray, shape (n,)
        Probability that an objective breaks.
    fits : ndarray of bool, shape (n,)
        Whether threads and memory are enough.
    """

    operational_g: Array
    idle_share_g: Array
    transfer_g: Array
    embodied_g: Array
    slo_risk_g: Array
    slo_risk: Array
    fits: NDArray[np.bool_]

    @property
    def total_g(self) -> Array:
        """Sum of the middle terms [g], shape (n,)."""
        return self.operational_g[1] + self.idle_share_g[1] + self.transfer_g + self.embodied_g + self.slo_risk_g


def node_terms(request: Request, nodes: NodeArrays, weights: ScoreWeights) -> NodeTerms:
    """Score many nodes for one request.

    Parameters
    ----------
    request : Request
        What is asked for.
    nodes : NodeArrays
        n nodes.
    weights : ScoreWeights
        Exchange rates and limits.

    Returns
    -------
    NodeTerms
        One column a node.

    Notes
    -----
    Operational: (P(u + Δu) − P(u)) · PUE · I with P linear from idle to full load;
    low and high take the intensity's band and a power that is 15 % off. A node in
    use would be on anyway; an empty one is kept on by the request, which then
    bears its idle power.
    """
    hours = request.duration_s / HOUR_S
    added = request.vcpus / nodes.vcpus
    extra_kwh = added * (nodes.max_w - nodes.idle_w) * nodes.pue * hours / 1000.0
    empty = nodes.mean_share < EMPTY_SHARE
    idle_kwh = np.where(empty, nodes.idle_w * nodes.pue * hours / 1000.0, 0.0)
    met = np.stack([nodes.low_g_per_kwh, nodes.mid_g_per_kwh, nodes.high_g_per_kwh])
    off = np.array([1 - POWER_SPREAD_SHARE, 1.0, 1 + POWER_SPREAD_SHARE])[:, None]
    risk = breach_risk(
        nodes.mean_share + added,
        nodes.deviation_share,
        nodes.vcpus,
        cpu_limit_share=weights.cpu_limit_share,
        service_ms=weights.service_ms,
        latency_limit_ms=weights.latency_limit_ms,
    )
    share = nodes.embodied_g_per_vcpu_h if weights.embodied == "sci" else np.zeros_like(added)
    return NodeTerms(
        operational_g=extra_kwh * met * off,
        idle_share_g=idle_kwh * met * off,
        transfer_g=nodes.transfer_g,
        embodied_g=share * request.vcpus * hours,
        slo_risk_g=risk * weights.risk_g,
        slo_risk=risk,
        fits=(request.vcpus <= nodes.vcpus) & (request.memory_gib <= nodes.memory_gib),
    )


def expected_load(
    telemetry: Telemetry | None, nodes: Sequence[str], *, start_s: int, duration_s: float
) -> tuple[Array, Array]:
    """Return the utilisation that nodes are likely to have at a request's hours.

    Parameters
    ----------
    telemetry : Telemetry or None
        What was measured.
    nodes : sequence of str
        Which nodes.
    start_s : int
        Start of the request, seconds since the epoch.
    duration_s : float
        Its length [s].

    Returns
    -------
    tuple of ndarray, shape (len(nodes),)
        Mean and standard deviation over the past slots at the same hours of the
        day; NaN for nodes without any.
    """
    mean = np.full(len(nodes), np.nan)
    deviation = np.full(len(nodes), np.nan)
    if telemetry is None or not len(telemetry.slots):
        return mean, deviation
    hour = telemetry.slots.starts_s() // HOUR_S % _HOURS_PER_DAY
    first = start_s // HOUR_S
    wanted = np.arange(first, first + min(_HOURS_PER_DAY, max(1, int(np.ceil(duration_s / HOUR_S))))) % _HOURS_PER_DAY
    seen = telemetry.cpu_share[:, np.isin(hour, wanted)]
    known = np.isfinite(seen)
    count = known.sum(axis=1)
    total = np.where(known, seen, 0.0).sum(axis=1)
    centre = np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)
    square = np.where(known, (seen - centre[:, None]) ** 2, 0.0).sum(axis=1)
    spread = np.sqrt(np.divide(square, count - 1, out=np.full(len(count), np.nan), where=count > 1))
    row = {name: index for index, name in enumerate(telemetry.nodes)}
    found = np.array([row.get(name, -1) for name in nodes])
    there = found >= 0
    mean[there], deviation[there] = centre[found[there]], spread[found[there]]
    return mean, deviation


def node_arrays(
    request: Request,
    fleet: Fleet,
    forecasts: Mapping[str, Forecast],
    telemetry: Telemetry | None,
    *,
    start_s: int,
) -> NodeArrays:
    """Lay the nodes of a fleet out as columns.

    Parameters
    ----------
    request : Request
        What is asked for.
    fleet : Fleet
        With nodes.
    forecasts : mapping of str to Forecast
        Per grid zone, covering the request.
    telemetry : Telemetry or None
        What was measured.
    start_s : int
        When it would start, seconds since the epoch.

    Returns
    -------
    NodeArrays
        In the order of the fleet.

    Raises
    ------
    UnknownZone, SlotError
        A forecast is missing or too short.
    """
    met = met_by_region(fleet, forecasts, start_s, request.duration_s)
    regions = {region.name: region for region in fleet.regions}
    mean, deviation = expected_load(
        telemetry, [node.name for node in fleet.nodes], start_s=start_s, duration_s=request.duration_s
    )

    def column(values: list[float]) -> Array:
        return np.array(values, dtype=np.float64)

    def moved_g(node: Node) -> float:
        away = request.home_region and node.region != request.home_region
        return request.data_gb * regions[node.region].transfer_g_per_gb if away else 0.0

    def share_g(node: Node) -> float:
        return node.embodied_kg * 1000.0 / (node.lifetime_years * 8760.0) / node.vcpus

    return NodeArrays(
        vcpus=column([node.vcpus for node in fleet.nodes]),
        memory_gib=column([node.memory_gib for node in fleet.nodes]),
        idle_w=column([node.idle_w for node in fleet.nodes]),
        max_w=column([node.max_w for node in fleet.nodes]),
        pue=column([regions[node.region].pue for node in fleet.nodes]),
        mean_share=mean,
        deviation_share=deviation,
        low_g_per_kwh=column([met[node.region].low_g_per_kwh for node in fleet.nodes]),
        mid_g_per_kwh=column([met[node.region].mid_g_per_kwh for node in fleet.nodes]),
        high_g_per_kwh=column([met[node.region].high_g_per_kwh for node in fleet.nodes]),
        transfer_g=column([moved_g(node) for node in fleet.nodes]),
        embodied_g_per_vcpu_h=column([share_g(node) for node in fleet.nodes]),
    )


def score_nodes(  # noqa: PLR0913 - one keyword per input
    request: Request,
    fleet: Fleet,
    forecasts: Mapping[str, Forecast],
    telemetry: Telemetry | None = None,
    *,
    start_s: int,
    weights: ScoreWeights = ScoreWeights(),  # noqa: B008 - frozen
) -> tuple[ScoreCard, ...]:
    """Score every node for a request.

    Parameters
    ----------
    request : Request
        What is asked for.
    fleet : Fleet
        With nodes.
    forecasts : mapping of str to Forecast
        Per grid zone, covering the request.
    telemetry : Telemetry, optional
        What was measured; a node without it gets a wide load, never a light one.
    start_s : int
        When it would start, seconds since the epoch.
    weights : ScoreWeights
        Exchange rates and limits.

    Returns
    -------
    tuple of ScoreCard
        Those that can take it first, least grams first.

    Raises
    ------
    UnknownZone, SlotError
        A forecast is missing or too short.
    """
    arrays = node_arrays(request, fleet, forecasts, telemetry, start_s=start_s)
    terms = node_terms(request, arrays, weights)
    met = met_by_region(fleet, forecasts, start_s, request.duration_s)
    words = request.describe()
    made = fleet.synthetic or any(item.synthetic for item in met.values())
    measured = (telemetry.source,) if telemetry is not None else ()
    cards = [
        ScoreCard(
            candidate=node.name,
            candidate_kind="node",
            request=words,
            terms=_card_terms(index, arrays, terms, weights),
            slo_risk=float(terms.slo_risk[index]),
            refusals=() if terms.fits[index] else (f"has {node.vcpus:g} vCPUs and {node.memory_gib:g} GiB",),
            inputs=(met[node.region].source, *measured),
            synthetic=made,
        )
        for index, node in enumerate(fleet.nodes)
    ]
    return tuple(sorted(cards, key=lambda card: (not card.feasible, card.mid_g, card.candidate)))


def _card_terms(index: int, arrays: NodeArrays, terms: NodeTerms, weights: ScoreWeights) -> tuple[ScoreTerm, ...]:
    def term(name: str, band: Array | float, note: str) -> ScoreTerm:
        low_g, mid_g, high_g = (float(value) for value in np.broadcast_to(band, 3))
        return ScoreTerm(name=name, low_g=low_g, mid_g=mid_g, high_g=high_g, note=note)

    load = arrays.mean_share[index]
    seen = "load unknown" if np.isnan(load) else f"load {load:.0%}"
    made = [term("operational", terms.operational_g[:, index], f"{arrays.mid_g_per_kwh[index]:.0f} g/kWh, {seen}")]
    if terms.idle_share_g[1, index]:
        made.append(term("idle_share", terms.idle_share_g[:, index], "an empty machine is kept on"))
    if terms.transfer_g[index]:
        made.append(term("transfer", terms.transfer_g[index], "data moved from home"))
    if weights.embodied == "sci":
        made.append(term("embodied", terms.embodied_g[index], "amortised share"))
    note = f"{terms.slo_risk[index]:.1%} risk at {weights.risk_g:g} g"
    return (*made, term("slo_risk", terms.slo_risk_g[index], note))

"""Scores of nodes: grams of one more request on a machine, and the risk it brings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.domain.score import ScoreCard, ScoreTerm
from aicsched.footprint.embodied import amortised_g
from aicsched.score.intensity import met_by_region
from aicsched.score.request import Request, ScoreWeights
from aicsched.score.slo_risk import Objectives, breach_risk, limit_shares
from aicsched.score.utilisation import Utilisation, over_horizon
from aicsched.units import SECONDS_PER_HOUR

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from aicsched.domain.fleet import Fleet, Node
    from aicsched.domain.forecast import Forecast
    from aicsched.domain.telemetry import Telemetry
    from aicsched.score.intensity import Met

    Array = NDArray[np.float64]

__all__ = ["NodeArrays", "NodeTerms", "node_arrays", "node_terms", "score_nodes"]

# A machine below this mean use is taken as kept on for the request alone, and bears its idle power:
# the idle limit of AWS Compute Optimizer is 5 % of CPU.
EMPTY_SHARE: Final = 0.05
# Power tables by CPU family scatter: the quartiles of SPECpower servers of one family lie about this far off.
POWER_SPREAD_SHARE: Final = 0.15


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NodeArrays:
    """Nodes as columns: what scoring many at once needs.

    Parameters
    ----------
    vcpus, memory_gib, idle_w, max_w, pue : ndarray, shape (n,)
        Facts of each node; PUE of its region.
    utilisation : Utilisation
        How busy each will be without the request, and how much of that was measured.
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
    utilisation: Utilisation
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
    operational_g, idle_share_g, slo_risk_g : ndarray, shape (3, n)
        Low, mid and high [g].
    transfer_g, embodied_g : ndarray, shape (n,)
        [g].
    slo_risk : ndarray, shape (n,)
        Probability that an objective breaks.
    fits : ndarray of bool, shape (n,)
        Whether threads and memory are enough.
    """

    operational_g: Array
    idle_share_g: Array
    slo_risk_g: Array
    transfer_g: Array
    embodied_g: Array
    slo_risk: Array
    fits: NDArray[np.bool_]

    @property
    def total_g(self) -> Array:
        """Sum of the middle terms [g], shape (n,)."""
        middle = self.operational_g[1] + self.idle_share_g[1] + self.slo_risk_g[1]
        return middle + self.transfer_g + self.embodied_g


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
    Operational: (P(u + Δu) - P(u)) · PUE · I with P linear from idle to full load;
    low and high take the intensity's band and a power that is 15 % off. A node in
    use would be on anyway; an empty one is kept on by the request, which then
    bears its idle power. What was not measured could be anything: empty or not
    with even odds, and its risk as `breach_risk` says, both ends in the band.
    """
    hours = request.duration_s / SECONDS_PER_HOUR
    used = nodes.utilisation
    coverage = np.minimum(used.coverage_share, 1.0)
    unknown = 1 - coverage
    g_per_w = (
        nodes.pue
        * hours
        / 1000.0
        * np.stack([nodes.low_g_per_kwh, nodes.mid_g_per_kwh, nodes.high_g_per_kwh])
    )
    g_per_w *= np.array([1 - POWER_SPREAD_SHARE, 1.0, 1 + POWER_SPREAD_SHARE])[:, None]
    empty = coverage * (used.mean_share < EMPTY_SHARE)
    objectives = Objectives(weights.cpu_limit_share, weights.latency_limit_ms, weights.service_ms)
    risk = breach_risk(
        used.mean_share,
        used.sd_share,
        coverage,
        extra_share=request.vcpus / nodes.vcpus,
        limit_share=limit_shares(nodes.vcpus, objectives),
    )
    band = np.stack([np.maximum(risk - unknown, 0.0), risk, np.minimum(risk + unknown, 1.0)])
    share = nodes.embodied_g_per_vcpu_h if weights.embodied == "sci" else np.zeros_like(risk)
    return NodeTerms(
        operational_g=request.vcpus / nodes.vcpus * (nodes.max_w - nodes.idle_w) * g_per_w,
        idle_share_g=nodes.idle_w * np.stack([empty, empty + 0.5 * unknown, empty + unknown]) * g_per_w,
        slo_risk_g=band * weights.risk_g,
        transfer_g=nodes.transfer_g,
        embodied_g=share * request.vcpus * hours,
        slo_risk=risk,
        fits=(request.vcpus <= nodes.vcpus) & (request.memory_gib <= nodes.memory_gib),
    )


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
        Its duration and data count here; its size does not.
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
    InputError
        The home region is not in the fleet; the nearest names are given.
    UnknownZone, SlotError
        A forecast is missing or too short.
    """
    if request.home_region:
        fleet.region(request.home_region)
    met = met_by_region(fleet, forecasts, start_s, request.duration_s)
    regions = {region.name: region for region in fleet.regions}
    names = [node.name for node in fleet.nodes]

    def row(node: Node) -> tuple[float, ...]:
        here, region = met[node.region], regions[node.region]
        away = request.home_region and node.region != request.home_region
        per_h = amortised_g(node.embodied_kg, node.lifetime_years, SECONDS_PER_HOUR)
        return (
            node.vcpus,
            node.memory_gib,
            node.idle_w,
            node.max_w,
            region.pue,
            here.low_g_per_kwh,
            here.mid_g_per_kwh,
            here.high_g_per_kwh,
            request.data_gb * region.transfer_g_per_gb if away else 0.0,
            per_h / node.vcpus,
        )

    table = np.array([row(node) for node in fleet.nodes], dtype=np.float64).reshape(len(names), 10)
    columns = np.ascontiguousarray(table.T)
    return NodeArrays(
        vcpus=columns[0],
        memory_gib=columns[1],
        idle_w=columns[2],
        max_w=columns[3],
        pue=columns[4],
        utilisation=over_horizon(telemetry, names, start_s=start_s, duration_s=request.duration_s),
        low_g_per_kwh=columns[5],
        mid_g_per_kwh=columns[6],
        high_g_per_kwh=columns[7],
        transfer_g=columns[8],
        embodied_g_per_vcpu_h=columns[9],
    )


def score_nodes(
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
        When it would start, seconds since the epoch; nothing measured later is used.
    weights : ScoreWeights
        Exchange rates and limits.

    Returns
    -------
    tuple of ScoreCard
        Those that can take it first, least grams first.

    Raises
    ------
    InputError
        The home region is not in the fleet; the nearest names are given.
    UnknownZone, SlotError
        A forecast is missing or too short.
    """
    arrays = node_arrays(request, fleet, forecasts, telemetry, start_s=start_s)
    terms = node_terms(request, arrays, weights)
    met = met_by_region(fleet, forecasts, start_s, request.duration_s)
    words = request.describe()
    measured = (telemetry.source,) if telemetry is not None else ()
    made = fleet.synthetic or bool(telemetry is not None and telemetry.synthetic)
    cards = [
        ScoreCard(
            candidate=node.name,
            candidate_kind="node",
            request=words,
            terms=_card_terms(index, arrays, terms, weights),
            slo_risk=float(terms.slo_risk[index]),
            refusals=_refusals(request, node),
            inputs=_inputs(met[node.region], measured),
            synthetic=made or met[node.region].synthetic,
        )
        for index, node in enumerate(fleet.nodes)
    ]
    return tuple(sorted(cards, key=lambda card: (not card.feasible, card.mid_g, card.candidate)))


def _inputs(met: Met, measured: tuple[str, ...]) -> tuple[str, ...]:
    return (met.source, *measured)


def _refusals(request: Request, node: Node) -> tuple[str, ...]:
    needs = (("vCPUs", request.vcpus, node.vcpus), ("GiB", request.memory_gib, node.memory_gib))
    return tuple(f"needs {need:g} {unit}, has {has:g}" for unit, need, has in needs if need > has)


def _card_terms(
    index: int, arrays: NodeArrays, terms: NodeTerms, weights: ScoreWeights
) -> tuple[ScoreTerm, ...]:
    def term(name: str, band: Array | np.float64, note: str) -> ScoreTerm:
        low_g, mid_g, high_g = (float(value) for value in np.broadcast_to(band, 3))
        return ScoreTerm(name=name, low_g=low_g, mid_g=mid_g, high_g=high_g, note=note)

    used = arrays.utilisation
    coverage = float(used.coverage_share[index])
    seen = f"load {used.mean_share[index]:.0%}" if coverage else "load unknown"
    seen += f" from {coverage:.0%} of its past" if 0 < coverage < 0.995 else ""
    made = [
        term("operational", terms.operational_g[:, index], f"{arrays.mid_g_per_kwh[index]:.0f} g/kWh, {seen}")
    ]
    if terms.idle_share_g[2, index]:
        note = "an empty machine is kept on" if coverage else "it may stand empty otherwise"
        made.append(term("idle_share", terms.idle_share_g[:, index], note))
    if terms.transfer_g[index]:
        made.append(term("transfer", terms.transfer_g[index], "data moved from home"))
    if weights.embodied == "sci":
        made.append(term("embodied", terms.embodied_g[index], "amortised share"))
    note = f"{terms.slo_risk[index]:.1%} risk at {weights.risk_g:g} g"
    return (*made, term("slo_risk", terms.slo_risk_g[:, index], note))

"""Scores of nodes: grams of one more request on a machine, the money, and the risk it brings."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.domain.score import Money, ScoreCard, ScoreTerm
from aicsched.errors import InputError
from aicsched.footprint.embodied import amortised_g
from aicsched.footprint.power import power_band
from aicsched.score.engine import NodeColumns, PodColumns, ScoreEngine
from aicsched.score.intensity import met_by_region
from aicsched.score.limits import check_regions, policy_refusals
from aicsched.score.money import MetPrices, check_prices, met_prices
from aicsched.score.request import Request, ScoreWeights
from aicsched.score.risk.assess import assess
from aicsched.score.utilisation import over_horizon
from aicsched.units import SECONDS_PER_HOUR

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from aicsched.domain.fleet import Fleet, Node, Region
    from aicsched.domain.forecast import Forecast
    from aicsched.domain.price import PriceSeries
    from aicsched.domain.telemetry import Telemetry
    from aicsched.score.engine import PairTerms
    from aicsched.score.intensity import Met
    from aicsched.score.risk.assess import NodeRisk

__all__ = ["node_cards", "node_columns", "score_nodes"]

# Up to here a load counts as measured throughout: one slot in two hundred may be missing.
_WHOLE: Final = 0.995


def node_columns(  # noqa: PLR0913 - one keyword per thing that is known
    fleet: Fleet,
    forecasts: Mapping[str, Forecast],
    telemetry: Telemetry | None,
    *,
    start_s: int,
    duration_s: float,
    weights: ScoreWeights = ScoreWeights(),  # noqa: B008 - frozen
    prices: MetPrices = MetPrices(),  # noqa: B008 - frozen
    unseen_share: ArrayLike = 0.0,
    risk: NodeRisk | None = None,
) -> NodeColumns:
    """Lay the nodes of a fleet out as columns, over one span of time.

    Parameters
    ----------
    fleet : Fleet
        With nodes.
    forecasts : mapping of str to Forecast
        Per grid zone, covering the span.
    telemetry : Telemetry or None
        What was measured.
    start_s : int
        Start of the span, seconds since the epoch.
    duration_s : float
        Its length [s].
    weights : ScoreWeights
        Its thresholds count here.
    prices : MetPrices
        Mean prices over the span.
    unseen_share : array_like, shape (n,) or ()
        Load of pods that are bound but not yet seen by the metrics, as shares of the nodes, >= 0
        (`aicsched.fleet.kubernetes.Cluster.unseen_share`): it counts to risk and to power drawn.
    risk : NodeRisk, optional
        What `aicsched.score.risk.assess` gave for these nodes and about this span without the unseen
        load, where it was worked out before: it takes most of the time.

    Returns
    -------
    NodeColumns
        In the order of the fleet; regions count in the order of ``fleet.regions``.

    Raises
    ------
    UnknownZone, SlotError
        A forecast is missing or too short.
    InputError
        The unseen load of a node is missing, negative or not finite.
    """
    unseen = _unseen(unseen_share, fleet)
    met = met_by_region(fleet, forecasts, start_s, duration_s)
    place = {region.name: index for index, region in enumerate(fleet.regions)}

    rows = [_row(node, fleet.regions[place[node.region]], met[node.region], prices) for node in fleet.nodes]
    table = np.array(rows, dtype=np.float64).reshape(len(fleet.nodes), 16)
    column = np.ascontiguousarray(table.T)
    names = [node.name for node in fleet.nodes]
    used = over_horizon(telemetry, names, start_s=start_s, duration_s=duration_s)
    if risk is not None:
        risk = replace(risk, load=risk.load.behind(unseen))
    else:
        risk = assess(
            telemetry, names, column[0], weights.objectives,
            start_s=start_s, duration_s=duration_s, unseen_share=unseen,
        )  # fmt: skip
    # A node that fell silent is known no better by its energy than by its risk.
    used = replace(
        used,
        mean_share=used.mean_share + unseen,
        coverage_share=np.minimum(used.coverage_share, risk.coverage_share),
    )
    return NodeColumns(
        vcpus=column[0],
        memory_gib=column[1],
        idle_w=column[2],
        max_w=column[3],
        pue=column[4],
        region=np.array([place[node.region] for node in fleet.nodes], dtype=np.int64),
        used=used,
        curves=risk.load,
        memory_curves=risk.memory,
        not_ready=risk.not_ready,
        low_g_per_kwh=column[5],
        mid_g_per_kwh=column[6],
        high_g_per_kwh=column[7],
        usd_per_kwh=column[8],
        usd_per_vcpu_h=column[9],
        transfer_g_per_gb=column[10],
        embodied_g_per_vcpu_h=column[11],
        power_band=column[12:16],
        g_known=np.array([not met[node.region].neutral for node in fleet.nodes], dtype=np.bool_),
    )


def _row(node: Node, region: Region, here: Met, prices: MetPrices) -> tuple[float, ...]:
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
        prices.usd_per_kwh(region),
        prices.usd_per_vcpu_h(region.name, node),
        region.transfer_g_per_gb,
        per_h / node.vcpus,
        *power_band(node.cpu_family),
    )


def score_nodes(  # noqa: PLR0913 - one keyword per thing that is known
    request: Request,
    fleet: Fleet,
    forecasts: Mapping[str, Forecast],
    telemetry: Telemetry | None = None,
    *,
    start_s: int,
    weights: ScoreWeights = ScoreWeights(),  # noqa: B008 - frozen
    prices: Iterable[PriceSeries] = (),
    unseen_share: ArrayLike = 0.0,
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
        Exchange rates, thresholds and hard limits.
    prices : iterable of PriceSeries, optional
        Of electricity by grid zone and of machines or threads by region, in dollars.
    unseen_share : array_like, shape (n,) or ()
        Load of pods that are bound but not yet seen by the metrics, as shares of the nodes, in the
        order of ``fleet.nodes``.

    Returns
    -------
    tuple of ScoreCard
        Those that can take it first, least grams first.

    Raises
    ------
    InputError
        The home region, a region that the weights allow, or all that has a price are not in the fleet;
        the nearest names are given;
        or the unseen load of a node is missing, negative or not finite.
    UnknownZone, SlotError
        A forecast is missing or too short.
    """
    check_regions(request, weights, fleet)
    series = tuple(prices)
    check_prices((each.item for each in series), fleet)
    met_usd = met_prices(series, start_s=start_s, duration_s=request.duration_s)
    columns = node_columns(
        fleet, forecasts, telemetry,
        start_s=start_s, duration_s=request.duration_s, weights=weights, prices=met_usd,
        unseen_share=unseen_share,
    )  # fmt: skip
    regions = [region.name for region in fleet.regions]
    engine = ScoreEngine({request.duration_s / SECONDS_PER_HOUR: columns}, (weights,), regions)
    count = len(fleet.nodes)
    terms = engine.terms(PodColumns.of([request], regions), np.zeros(count, np.int64), np.arange(count))
    measured = (telemetry.source,) if telemetry is not None else ()
    cards = node_cards(
        request, fleet.nodes, terms,
        weights=weights,
        met=met_by_region(fleet, forecasts, start_s, request.duration_s),
        any_price=engine.priced,
        inputs=(*measured, *met_usd.inputs),
        synthetic=fleet.synthetic or met_usd.synthetic or (telemetry is not None and telemetry.synthetic),
    )  # fmt: skip
    return tuple(sorted(cards, key=lambda card: (not card.feasible, card.mid_g, card.candidate)))


def node_cards(  # noqa: PLR0913 - one keyword per thing that is known
    request: Request,
    nodes: Sequence[Node],
    terms: PairTerms,
    *,
    weights: ScoreWeights,
    met: Mapping[str, Met],
    any_price: bool,
    inputs: tuple[str, ...] = (),
    synthetic: bool = False,
) -> list[ScoreCard]:
    """Tell the score of a request on nodes, term by term.

    Parameters
    ----------
    request : Request
        What is asked for.
    nodes : sequence of Node
        m of them.
    terms : PairTerms
        Of the request on each of the nodes.
    weights : ScoreWeights
        At which the terms were made.
    met : mapping of str to Met
        Per region of the nodes, the intensity that is met there.
    any_price : bool
        Whether any price is known.
    inputs : tuple of str
        Ids of the signals that were read, besides those of intensity.
    synthetic : bool
        True when one of those was made up.

    Returns
    -------
    list of ScoreCard
        In the order of the nodes.
    """
    words = request.describe()
    money = [
        Money(*ends) if priced else None
        for ends, priced in zip(terms.money_usd.T.tolist(), terms.priced.tolist(), strict=True)
    ]
    return [
        ScoreCard(
            candidate=node.name,
            candidate_kind="node",
            request=words,
            terms=_card_terms(index, terms, weights, money[index]),
            slo_risk=float(terms.slo_risk[1, index]),
            slo_risk_parts=tuple(
                (name, float(chance[index])) for name, chance in terms.risk_parts.items() if chance[index] > 0
            ),
            money=money[index],
            rates=weights.rates,
            refusals=(
                *_misfits(request, node),
                *policy_refusals(
                    weights, node.region, met[node.region], float(terms.slo_risk[1, index]),
                    priced=money[index] is not None, any_price=any_price,
                ),
            ),
            inputs=(met[node.region].source, *inputs),
            synthetic=synthetic or met[node.region].synthetic,
        )
        for index, node in enumerate(nodes)
    ]  # fmt: skip


def _unseen(share: ArrayLike, fleet: Fleet) -> NDArray[np.float64]:
    """Return the unseen load of each node, checked."""
    given, count = np.asarray(share, dtype=np.float64), len(fleet.nodes)
    if given.shape not in {(), (count,)}:
        msg = f"unseen loads of {given.shape} for {count} nodes"
        raise InputError(msg, hint="give one share a node, in the order of the fleet")
    values = np.broadcast_to(given, (count,))
    good = np.isfinite(values) & (values >= 0)
    if not good.all():
        row = int(np.argmin(good))
        msg = f"node '{fleet.nodes[row].name}' has an unseen load of {values[row]:g}"
        raise InputError(msg, hint="give shares of the node from 0", value=float(values[row]))
    return values


def _misfits(request: Request, node: Node) -> tuple[str, ...]:
    needs = (("vCPUs", request.vcpus, node.vcpus), ("GiB", request.memory_gib, node.memory_gib))
    return tuple(f"needs {need:g} {unit}, has {has:g}" for unit, need, has in needs if need > has)


def _card_terms(
    index: int, terms: PairTerms, weights: ScoreWeights, money: Money | None
) -> tuple[ScoreTerm, ...]:
    coverage = float(terms.seen_share[index])
    seen = f"load {terms.load_share[index]:.0%}" if coverage else "load unknown"
    seen += f" from {coverage:.0%} of its past" if 0 < coverage < _WHOLE else ""
    energy = f"{terms.energy_kwh[1, index]:.3g} kWh at {terms.g_per_kwh[1, index]:.0f} g/kWh"
    usd = "" if money is None else f"{money.mid_usd:.3g} USD at {weights.g_per_usd:g} g"
    notes = {
        "operational": f"{energy}, {seen}",
        "idle_share": "an empty machine is kept on" if coverage else "it may stand empty otherwise",
        "transfer": "data moved from home",
        "embodied": "amortised share",
        "money": usd,
        "slo_risk": f"{terms.slo_risk[1, index]:.1%} risk at {weights.risk_g:g} g",
    }
    always = {"operational", "slo_risk", *(("embodied",) if weights.embodied == "sci" else ())}
    return tuple(
        _term(name, values[:, index], notes[name])
        for name, values in terms.grams.items()
        if name in always or values[:, index].any()
    )


def _term(name: str, ends: NDArray[np.float64], note: str) -> ScoreTerm:
    low_g, mid_g, high_g = ends.tolist()
    return ScoreTerm(name=name, low_g=low_g, mid_g=mid_g, high_g=high_g, note=note)

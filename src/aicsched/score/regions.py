"""Scores of regions: where a request would emit how much."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aicsched.domain.score import ScoreCard, ScoreTerm
from aicsched.score.intensity import Met, met_by_region, scaled
from aicsched.score.request import Request, ScoreWeights
from aicsched.slots import HOUR_S
from aicsched.units import kwh_from_watts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aicsched.domain.fleet import Fleet, Region
    from aicsched.domain.forecast import Forecast

__all__ = ["score_regions"]


def _terms(request: Request, region: Region, met: Met, weights: ScoreWeights) -> tuple[ScoreTerm, ...]:
    energy_kwh = kwh_from_watts(request.vcpus * region.power_w_per_vcpu * region.pue, request.duration_s)
    low_g, mid_g, high_g = scaled(met, energy_kwh)
    note = f"{energy_kwh:.3g} kWh at {met.mid_g_per_kwh:.0f} g/kWh"
    terms = [ScoreTerm(name="operational", low_g=low_g, mid_g=mid_g, high_g=high_g, note=note)]
    if request.home_region and request.home_region != region.name and request.data_gb:
        moved_g = request.data_gb * region.transfer_g_per_gb
        note = f"{request.data_gb:g} GB at {region.transfer_g_per_gb:g} g/GB"
        terms.append(ScoreTerm(name="transfer", low_g=moved_g, mid_g=moved_g, high_g=moved_g, note=note))
    if weights.embodied == "sci":
        share_g = region.embodied_g_per_vcpu_h * request.vcpus * request.duration_s / HOUR_S
        note = f"{region.embodied_g_per_vcpu_h:.3g} g per thread-hour, amortised"
        terms.append(ScoreTerm(name="embodied", low_g=share_g, mid_g=share_g, high_g=share_g, note=note))
    return tuple(terms)


def score_regions(
    request: Request,
    fleet: Fleet,
    forecasts: Mapping[str, Forecast],
    *,
    start_s: int,
    weights: ScoreWeights = ScoreWeights(),  # noqa: B008 - frozen
) -> tuple[ScoreCard, ...]:
    """Score every region for a request.

    Parameters
    ----------
    request : Request
        What is asked for.
    fleet : Fleet
        Its regions.
    forecasts : mapping of str to Forecast
        Per grid zone, covering the request.
    start_s : int
        When it would start, seconds since the epoch.
    weights : ScoreWeights
        Exchange rates and the embodied mode.

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
    if request.home_region:
        fleet.region(request.home_region)
    met = met_by_region(fleet, forecasts, start_s, request.duration_s)
    cards: list[ScoreCard] = []
    for region in fleet.regions:
        full = region.capacity_vcpus < request.vcpus
        refusals = (f"has {region.capacity_vcpus:g} vCPUs for this work",) if full else ()
        here = met[region.name]
        cards.append(
            ScoreCard(
                candidate=region.name,
                candidate_kind="region",
                request=request.describe(),
                terms=_terms(request, region, here, weights),
                refusals=refusals,
                inputs=(here.source,),
                synthetic=fleet.synthetic or here.synthetic,
            )
        )
    return tuple(sorted(cards, key=lambda card: (not card.feasible, card.mid_g, card.candidate)))

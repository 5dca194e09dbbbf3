"""Scores of regions: where a request would emit how much."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from aicsched.domain.score import Money, ScoreCard, ScoreTerm
from aicsched.footprint.power import power_band
from aicsched.score.intensity import Met, met_by_region, scaled
from aicsched.score.limits import check_regions, policy_refusals
from aicsched.score.money import check_prices, met_prices
from aicsched.score.request import Request, ScoreWeights
from aicsched.slots import HOUR_S
from aicsched.units import kwh_from_watts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from aicsched.domain.fleet import Fleet, Region
    from aicsched.domain.forecast import Forecast
    from aicsched.domain.price import PriceSeries
    from aicsched.score.money import MetPrices

__all__ = ["score_regions"]


def _money(request: Request, region: Region, energy_kwh: float, prices: MetPrices) -> Money | None:
    """Return what a request costs in a region; a thread's price holds its electricity."""
    per_vcpu_h = prices.usd_per_vcpu_h(region.name)
    if not math.isnan(per_vcpu_h):
        usd = per_vcpu_h * request.vcpus * request.duration_s / HOUR_S
        return Money(usd, usd, usd)
    per_kwh = prices.usd_per_kwh(region)
    if math.isnan(per_kwh):
        return None
    low_usd, high_usd = sorted(share * energy_kwh * per_kwh for share in _power_spread())
    return Money(low_usd, energy_kwh * per_kwh, high_usd)


def _power_spread() -> tuple[float, float]:
    """Return how far the power of machines of no one family may be off, as multiples."""
    band = power_band("")
    return band.range_low, band.range_high


def _terms(
    request: Request, region: Region, met: Met, weights: ScoreWeights, money: Money | None
) -> tuple[ScoreTerm, ...]:
    energy_kwh = _request_kwh(request, region)
    low_g, mid_g, high_g = scaled(met, energy_kwh)
    least, most = _power_spread()
    note = f"{energy_kwh:.3g} kWh at {met.mid_g_per_kwh:.0f} g/kWh"
    terms = [ScoreTerm(name="operational", low_g=low_g * least, mid_g=mid_g, high_g=high_g * most, note=note)]
    if request.home_region and request.home_region != region.name and request.data_gb:
        moved_g = request.data_gb * region.transfer_g_per_gb
        note = f"{request.data_gb:g} GB at {region.transfer_g_per_gb:g} g/GB"
        terms.append(ScoreTerm(name="transfer", low_g=moved_g, mid_g=moved_g, high_g=moved_g, note=note))
    if weights.embodied == "sci":
        share_g = region.embodied_g_per_vcpu_h * request.vcpus * request.duration_s / HOUR_S
        note = f"{region.embodied_g_per_vcpu_h:.3g} g per thread-hour, amortised"
        terms.append(ScoreTerm(name="embodied", low_g=share_g, mid_g=share_g, high_g=share_g, note=note))
    if money is not None and weights.g_per_usd:
        low_g, mid_g, high_g = (weights.g_per_usd * usd for usd in money)
        note = f"{money.mid_usd:.3g} USD at {weights.g_per_usd:g} g"
        terms.append(ScoreTerm(name="money", low_g=low_g, mid_g=mid_g, high_g=high_g, note=note))
    return tuple(terms)


def _request_kwh(request: Request, region: Region) -> float:
    """Return the energy a request adds in a region, with the building's overhead [kWh]."""
    return kwh_from_watts(request.vcpus * region.power_w_per_vcpu * region.pue, request.duration_s)


def score_regions(
    request: Request,
    fleet: Fleet,
    forecasts: Mapping[str, Forecast],
    *,
    start_s: int,
    weights: ScoreWeights = ScoreWeights(),  # noqa: B008 - frozen
    prices: Iterable[PriceSeries] = (),
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
        Exchange rates, hard limits and the embodied mode.
    prices : iterable of PriceSeries, optional
        Of electricity by grid zone and of threads by region, in dollars.

    Returns
    -------
    tuple of ScoreCard
        Those that can take it first, least grams first.

    Raises
    ------
    InputError
        The home region, a region that the weights allow, or all that has a price are not in the fleet;
        the nearest names are given.
    UnknownZone, SlotError
        A forecast is missing or too short.
    """
    check_regions(request, weights, fleet)
    series = tuple(prices)
    check_prices((each.item for each in series), fleet)
    met = met_by_region(fleet, forecasts, start_s, request.duration_s)
    met_usd = met_prices(series, start_s=start_s, duration_s=request.duration_s)
    money = {
        region.name: _money(request, region, _request_kwh(request, region), met_usd)
        for region in fleet.regions
    }
    cards: list[ScoreCard] = []
    for region in fleet.regions:
        full = region.capacity_vcpus < request.vcpus
        here, usd = met[region.name], money[region.name]
        limits = policy_refusals(
            weights, region.name, here, 0.0, priced=usd is not None, any_price=any(money.values())
        )
        cards.append(
            ScoreCard(
                candidate=region.name,
                candidate_kind="region",
                request=request.describe(),
                terms=_terms(request, region, here, weights, usd),
                money=usd,
                rates=weights.rates,
                refusals=(
                    *((f"has {region.capacity_vcpus:g} vCPUs for this work",) if full else ()),
                    *limits,
                ),
                inputs=(here.source, *met_usd.inputs),
                synthetic=fleet.synthetic or here.synthetic or met_usd.synthetic,
            )
        )
    return tuple(sorted(cards, key=lambda card: (not card.feasible, card.mid_g, card.candidate)))

"""Hard limits of a policy: what a candidate is refused for, whatever it would save."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from aicsched.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from aicsched.domain.fleet import Fleet
    from aicsched.score.intensity import Met
    from aicsched.score.request import Request, ScoreWeights

__all__ = ["check_regions", "policy_refusals"]


def check_regions(request: Request, weights: ScoreWeights, fleet: Fleet) -> None:
    """Refuse names of regions that a fleet doesn't have.

    Parameters
    ----------
    request : Request
        Its home must be in the fleet.
    weights : ScoreWeights
        Each region that it allows must be.
    fleet : Fleet
        Its regions.

    Raises
    ------
    InputError
        One is not; the nearest names are given.
    """
    if request.home_region:
        fleet.region(request.home_region)
    known = [region.name for region in fleet.regions]
    for name in weights.regions:
        if name not in known:
            msg = f"the policy allows the region '{name}', which the fleet doesn't have"
            raise InputError(msg, hint=did_you_mean(name, known), value=name)


def policy_refusals(
    weights: ScoreWeights, region: str, met: Met, slo_risk: float, *, priced: bool, any_price: bool
) -> tuple[str, ...]:
    """Say which hard limits of a policy a candidate breaks.

    Parameters
    ----------
    weights : ScoreWeights
        With its limits.
    region : str
        Where the candidate stands.
    met : Met
        The intensity met there.
    slo_risk : float
        Its risk.
    priced, any_price : bool
        Whether its price is known, and that of any candidate.

    Returns
    -------
    tuple of str
        A reason each; the engine refuses the same.
    """
    made: list[str] = []
    if weights.regions and region not in weights.regions:
        made.append(f"stands in {region}, which the policy does not allow")
    if met.neutral and weights.max_g_per_kwh < math.inf:
        made.append("its carbon intensity is not known, and the policy limits it")
    elif met.mid_g_per_kwh > weights.max_g_per_kwh:
        made.append(f"{met.mid_g_per_kwh:.0f} g/kWh, above the policy's {weights.max_g_per_kwh:g}")
    if slo_risk > weights.max_slo_risk:
        made.append(f"{slo_risk:.1%} SLO risk, above the policy's {weights.max_slo_risk:.1%}")
    if weights.g_per_usd > 0 and any_price and not priced:
        made.append("its price is unknown, and the policy weighs money")
    return tuple(made)

"""What the scores of quantum, neuromorphic and edge hardware have in common."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from aicsched.domain.score import ScoreCard, ScoreTerm
from aicsched.errors import InputError, did_you_mean
from aicsched.score.limits import policy_refusals
from aicsched.units import kwh_from_watts

if TYPE_CHECKING:
    from aicsched.domain.fleet import Backend
    from aicsched.score.intensity import Met
    from aicsched.score.request import ScoreWeights

__all__ = ["Interval", "Site", "backend_card", "energy_term", "number", "static_term"]

JOULES_PER_KWH = 3.6e6


class Interval(NamedTuple):
    """A quantity with its ends, low <= mid <= high."""

    low: float
    mid: float
    high: float

    def times(self, factor: float) -> Interval:
        """Return the interval scaled by a factor >= 0."""
        return Interval(self.low * factor, self.mid * factor, self.high * factor)


class Site(NamedTuple):
    """Where a backend stands: what turns its energy into grams.

    Parameters
    ----------
    met : Met
        The intensity over the work.
    pue : float
        Of the region.
    synthetic : bool
        True when the fleet was made up.
    """

    met: Met
    pue: float
    synthetic: bool


def number(backend: Backend, name: str, default: float | None = None) -> float:
    """Read one property of a backend.

    Parameters
    ----------
    backend : Backend
        With its properties.
    name : str
        Which, with its unit.
    default : float, optional
        What an absent property counts as; without one it is an error.

    Returns
    -------
    float
        Finite and not negative.

    Raises
    ------
    InputError
        The property is missing, negative or not finite.
    """
    value = backend.properties.get(name, default)
    if value is None:
        msg = f"{backend.kind} backend '{backend.name}' has no property '{name}'"
        hint = f"add it to its properties; {did_you_mean(name, backend.properties)}"
        raise InputError(msg, hint=hint, value=sorted(backend.properties))
    if not (math.isfinite(value) and value >= 0):
        msg = f"{backend.kind} backend '{backend.name}': {name} is {value}"
        raise InputError(msg, hint="give 0 or a positive number", value=value)
    return float(value)


def energy_term(name: str, energy_kwh: Interval, site: Site, note: str) -> ScoreTerm:
    """Price an energy: kWh x PUE x g/kWh, low with low and high with high.

    Parameters
    ----------
    name : str
        The term.
    energy_kwh : Interval
        At the machine [kWh].
    site : Site
        Intensity and PUE.
    note : str
        How it came about.

    Returns
    -------
    ScoreTerm
        In grams.
    """
    met = site.met
    return ScoreTerm(
        name=name,
        low_g=energy_kwh.low * site.pue * met.low_g_per_kwh,
        mid_g=energy_kwh.mid * site.pue * met.mid_g_per_kwh,
        high_g=energy_kwh.high * site.pue * met.high_g_per_kwh,
        note=f"{note}, {met.mid_g_per_kwh:.0f} g/kWh",
    )


def static_term(backend: Backend, busy_s: Interval, site: Site) -> ScoreTerm:
    """Price the power that flows whether or not work runs.

    Parameters
    ----------
    backend : Backend
        With its static power.
    busy_s : Interval
        How long the work holds the machine [s].
    site : Site
        Intensity and PUE.

    Returns
    -------
    ScoreTerm
        Attributed by the time held; the low end is the marginal view, in which
        the work causes none of it.
    """
    held = Interval(*(kwh_from_watts(backend.static_w, seconds) for seconds in busy_s))
    note = f"{backend.static_w:g} W for {busy_s.mid:.3g} s attributed, 0 marginal"
    return energy_term("idle_share", held._replace(low=0.0), site, note)


def backend_card(  # noqa: PLR0913 - one keyword per part of a card
    backend: Backend,
    request: str,
    terms: tuple[ScoreTerm, ...],
    *,
    risk: Interval,
    why: str,
    refusals: tuple[str, ...],
    site: Site,
    weights: ScoreWeights,
) -> ScoreCard:
    """Put a card together: the energy's terms, and the risk at its exchange rate.

    Parameters
    ----------
    backend : Backend
        The candidate.
    request : str
        The workload in words.
    terms : tuple of ScoreTerm
        Its energy.
    risk : Interval
        Probability that the work misses its objective.
    why : str
        What the risk is about.
    refusals : tuple of str
        Why the backend can't take the work.
    site : Site
        What was read.
    weights : ScoreWeights
        The exchange rate.

    Returns
    -------
    ScoreCard
        Embodied emissions are left out: none are published for such hardware.
    """
    low_g, mid_g, high_g = risk.times(weights.risk_g)
    note = f"{risk.mid:.1%} {why} at {weights.risk_g:g} g"
    return ScoreCard(
        candidate=backend.name,
        candidate_kind=str(backend.kind),
        request=request,
        terms=(*terms, ScoreTerm(name="slo_risk", low_g=low_g, mid_g=mid_g, high_g=high_g, note=note)),
        slo_risk=risk.mid,
        rates=weights.rates,
        refusals=(
            *refusals,
            *policy_refusals(weights, backend.region, site.met, risk.mid, priced=False, any_price=False),
        ),
        inputs=tuple(item for item in (site.met.source, backend.source) if item),
        synthetic=site.synthetic or site.met.synthetic,
    )

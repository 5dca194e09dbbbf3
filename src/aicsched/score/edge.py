"""Scores of edge sites: hard limits first, then grams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aicsched.domain.score import ScoreCard, ScoreTerm
from aicsched.score.intensity import Met, scaled
from aicsched.score.properties import need
from aicsched.units import kwh_from_watts

if TYPE_CHECKING:
    from aicsched.domain.fleet import Backend
    from aicsched.score.request import ScoreWeights

__all__ = ["EdgeCall", "score_edge"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeCall:
    """A function that runs at the edge, and how often.

    Parameters
    ----------
    cpu_ms, wall_ms : float
        CPU and wall time a call [ms].
    memory_mb : float
        Memory [MB].
    bundle_kb : float
        Size of its code [KB].
    subrequests : int
        Requests it makes.
    calls : int
        How many.
    """

    cpu_ms: float = 8.0
    wall_ms: float = 40.0
    memory_mb: float = 1.2
    bundle_kb: float = 180.0
    subrequests: int = 1
    calls: int = 1_000_000

    def describe(self) -> str:
        """Return the call in words."""
        return f"{self.calls:,} calls of {self.cpu_ms:g} ms CPU and {self.memory_mb:g} MB"


def score_edge(backend: Backend, call: EdgeCall, met: Met, pue: float, weights: ScoreWeights) -> ScoreCard:
    """Score an edge site for a function.

    Parameters
    ----------
    backend : Backend
        The site, with its limits.
    call : EdgeCall
        The function.
    met : Met
        Intensity that it meets.
    pue : float
        Of its site.
    weights : ScoreWeights
        The latency objective and the exchange rate of risk.

    Returns
    -------
    ScoreCard
        Refused where a limit is exceeded; the risk is that network and call
        together take longer than the objective.

    Raises
    ------
    InputError
        A property is missing.
    """
    limits = ("cpu_ms", "wall_ms", "memory_mb", "bundle_kb", "subrequests")
    refusals = tuple(
        f"allows {name} of {need(backend, name):g}, {getattr(call, name):g} are needed"
        for name in limits
        if getattr(call, name) > need(backend, name)
    )
    seconds = call.calls * call.cpu_ms / 1000.0
    low_g, mid_g, high_g = scaled(met, kwh_from_watts(backend.active_w * pue, seconds))
    late = need(backend, "latency_ms") + call.wall_ms > weights.latency_limit_ms
    risk = 1.0 if late else 0.0
    terms = [ScoreTerm(name="operational", low_g=low_g, mid_g=mid_g, high_g=high_g, note=f"{backend.active_w:g} W for {seconds:,.0f} s of CPU")]
    if late:
        note = f"{need(backend, 'latency_ms'):g} ms away"
        terms.append(ScoreTerm(name="slo_risk", low_g=weights.risk_g, mid_g=weights.risk_g, high_g=weights.risk_g, note=note))
    return ScoreCard(
        candidate=backend.name,
        candidate_kind=str(backend.kind),
        request=call.describe(),
        terms=tuple(terms),
        slo_risk=risk,
        refusals=refusals,
        inputs=(met.source, backend.source),
        synthetic=met.synthetic,
    )

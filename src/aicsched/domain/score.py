"""One score for everything that can run work: grams, term by term."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ScoreCard", "ScoreTerm"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreTerm:
    """One addend of a score.

    Parameters
    ----------
    name : str
        ``"operational"``, ``"idle_share"``, ``"transfer"``, ``"embodied"``, ``"slo_risk"``.
    low_g, mid_g, high_g : float
        Grams of CO2-equivalent, low <= mid <= high.
    note : str
        How it came about, in a few words with units.
    """

    name: str
    low_g: float
    mid_g: float
    high_g: float
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreCard:
    """What a candidate costs for a request, in grams, explained.

    Parameters
    ----------
    candidate : str
        Name of the node, region or backend.
    candidate_kind : str
        ``"node"``, ``"region"``, ``"quantum"``, ``"neuromorphic"`` or ``"edge"``.
    request : str
        What was asked for, in words.
    terms : tuple of ScoreTerm
        They add up to the total.
    slo_risk : float
        Probability in [0, 1] that a service-level objective breaks.
    refusals : tuple of str
        Why the candidate can't take the request; empty when it can.
    inputs : tuple of str
        Ids of the signals that were read.
    synthetic : bool
        True when an input was made up.
    """

    candidate: str
    candidate_kind: str
    request: str
    terms: tuple[ScoreTerm, ...]
    slo_risk: float = 0.0
    refusals: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    synthetic: bool = False

    @property
    def feasible(self) -> bool:
        """Whether the candidate can take the request."""
        return not self.refusals

    @property
    def low_g(self) -> float:
        """Low end of the total [g]."""
        return sum(term.low_g for term in self.terms)

    @property
    def mid_g(self) -> float:
        """The total [g]: what candidates are ranked by."""
        return sum(term.mid_g for term in self.terms)

    @property
    def high_g(self) -> float:
        """High end of the total [g]."""
        return sum(term.high_g for term in self.terms)

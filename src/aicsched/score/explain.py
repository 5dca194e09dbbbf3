"""Scores in words: what a total consists of, and why one beats another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aicsched.units import format_mass

if TYPE_CHECKING:
    from aicsched.domain.score import ScoreCard

__all__ = ["Comparison", "TermDifference", "compare", "explain"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TermDifference:
    """One term of two scores, side by side.

    Parameters
    ----------
    name : str
        The term.
    one_g, other_g : float
        Its middle in each score [g]; 0 where a score doesn't have it.
    """

    name: str
    one_g: float
    other_g: float

    @property
    def saved_g(self) -> float:
        """By how much the first one's lies below the other's [g]."""
        return self.other_g - self.one_g


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two scores of one request, term by term.

    Parameters
    ----------
    one, other : str
        The candidates.
    terms : tuple of TermDifference
        In the order of the cards; what they save adds up to `saved_g`.
    saved_g : float
        By how much the first total lies below the other [g].
    sure : bool
        Whether the first one's high end lies below the other's low end, or the reverse:
        then no value within the bands changes who is better.
    sentence : str
        Why one beats the other.
    """

    one: str
    other: str
    terms: tuple[TermDifference, ...]
    saved_g: float
    sure: bool
    sentence: str


def _named(name: str) -> str:
    return name.replace("_", " ").replace("slo risk", "SLO risk")


def explain(card: ScoreCard, other: ScoreCard | None = None) -> str:
    """Say in one sentence what a score consists of, or why it beats another.

    Parameters
    ----------
    card : ScoreCard
        A score.
    other : ScoreCard, optional
        Another of the same request.

    Returns
    -------
    str
        Its terms, heaviest first, with how they came about; or the difference, and the
        terms it comes from.

    Examples
    --------
    >>> from aicsched.domain.score import ScoreCard, ScoreTerm
    >>> term = ScoreTerm(name="operational", low_g=80, mid_g=100, high_g=130, note="0.25 kWh at 400 g/kWh")
    >>> card = ScoreCard(candidate="de", candidate_kind="region", request="1 vCPU for 1 h", terms=(term,))
    >>> explain(card)
    'de: 100 g (80 g to 130 g) for 1 vCPU for 1 h = operational 100 g (0.25 kWh at 400 g/kWh).'
    """
    if other is not None:
        return compare(card, other).sentence
    if card.refusals:
        return f"{card.candidate} can't take {card.request}: {'; '.join(card.refusals)}."
    terms = sorted(card.terms, key=lambda term: -abs(term.mid_g))
    parts = [
        f"{_named(term.name)} {format_mass(term.mid_g)}" + (f" ({term.note})" if term.note else "")
        for term in terms
    ]
    band = f"{format_mass(card.low_g)} to {format_mass(card.high_g)}"
    return f"{card.candidate}: {format_mass(card.mid_g)} ({band}) for {card.request} = {' + '.join(parts)}."


def compare(one: ScoreCard, other: ScoreCard) -> Comparison:
    """Hold two scores of one request side by side, term by term.

    Parameters
    ----------
    one : ScoreCard
        The better one.
    other : ScoreCard
        The other one.

    Returns
    -------
    Comparison
        With a sentence; what can't take the request never beats what can.

    Examples
    --------
    >>> from aicsched.domain.score import ScoreCard, ScoreTerm
    >>> def card(name, **terms):
    ...     made = tuple(ScoreTerm(name=key, low_g=g, mid_g=g, high_g=g) for key, g in terms.items())
    ...     return ScoreCard(candidate=name, candidate_kind="node", request="work", terms=made)
    >>> found = compare(card("a", operational=10.0, transfer=5.0), card("b", operational=30.0))
    >>> found.sentence
    'a beats b by 15 g: operational 20 g less, transfer 5 g more.'
    >>> [(term.name, term.saved_g) for term in found.terms], found.sure
    ([('operational', 20.0), ('transfer', -5.0)], True)
    """
    names = dict.fromkeys(term.name for card in (one, other) for term in card.terms)

    def total(card: ScoreCard, name: str) -> float:
        return sum(term.mid_g for term in card.terms if term.name == name)

    terms = tuple(
        TermDifference(name=name, one_g=total(one, name), other_g=total(other, name)) for name in names
    )
    return Comparison(
        one=one.candidate,
        other=other.candidate,
        terms=terms,
        saved_g=other.mid_g - one.mid_g,
        sure=one.high_g < other.low_g or other.high_g < one.low_g,
        sentence=_sentence(one, other, terms),
    )


def _sentence(one: ScoreCard, other: ScoreCard, terms: tuple[TermDifference, ...]) -> str:
    for refused, able in ((one, other), (other, one)):
        if refused.refusals and not able.refusals:
            why = "; ".join(refused.refusals)
            return f"{able.candidate} beats {refused.candidate}, which can't take {refused.request}: {why}."
    gained_g = other.mid_g - one.mid_g
    verb = "beats" if gained_g >= 0 else "loses to"
    parts = [
        f"{_named(term.name)} {format_mass(abs(term.saved_g))} {'less' if term.saved_g >= 0 else 'more'}"
        for term in sorted(terms, key=lambda term: -abs(term.saved_g))
        if term.saved_g
    ]
    because = f": {', '.join(parts)}" if parts else ""
    return f"{one.candidate} {verb} {other.candidate} by {format_mass(abs(gained_g))}{because}."

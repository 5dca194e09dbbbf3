"""Scores in words: what a total consists of, and why one beats another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aicsched.units import format_mass

if TYPE_CHECKING:
    from aicsched.domain.score import ScoreCard

__all__ = ["compare", "explain", "term_differences"]


def _named(name: str) -> str:
    return name.replace("_", " ").replace("slo risk", "SLO risk")


def explain(card: ScoreCard) -> str:
    """Say in one sentence what a score consists of.

    Parameters
    ----------
    card : ScoreCard
        A score.

    Returns
    -------
    str
        Its terms, heaviest first, with how they came about.

    Examples
    --------
    >>> from aicsched.domain.score import ScoreCard, ScoreTerm
    >>> term = ScoreTerm(name="operational", low_g=80, mid_g=100, high_g=130, note="0.25 kWh at 400 g/kWh")
    >>> explain(ScoreCard(candidate="de", candidate_kind="region", request="1 vCPU for 1 h", terms=(term,)))
    'de: 100 g (80 g to 130 g) for 1 vCPU for 1 h = operational 100 g (0.25 kWh at 400 g/kWh).'
    """
    if card.refusals:
        return f"{card.candidate} can't take {card.request}: {'; '.join(card.refusals)}."
    terms = sorted(card.terms, key=lambda term: -abs(term.mid_g))
    parts = [
        f"{_named(term.name)} {format_mass(term.mid_g)}" + (f" ({term.note})" if term.note else "")
        for term in terms
    ]
    band = f"{format_mass(card.low_g)} to {format_mass(card.high_g)}"
    return f"{card.candidate}: {format_mass(card.mid_g)} ({band}) for {card.request} = {' + '.join(parts)}."


def term_differences(one: ScoreCard, other: ScoreCard) -> dict[str, float]:
    """Return by how much each term of one score lies below the other's.

    Parameters
    ----------
    one, other : ScoreCard
        Two scores of one request.

    Returns
    -------
    dict of str to float
        Per term [g]; they add up to the difference of the totals.
    """
    names = dict.fromkeys(term.name for card in (one, other) for term in card.terms)

    def total(card: ScoreCard, name: str) -> float:
        return sum(term.mid_g for term in card.terms if term.name == name)

    return {name: total(other, name) - total(one, name) for name in names}


def compare(one: ScoreCard, other: ScoreCard) -> str:
    """Say in one sentence why one candidate beats another.

    Parameters
    ----------
    one : ScoreCard
        The better one.
    other : ScoreCard
        The other one.

    Returns
    -------
    str
        The difference, and the terms it comes from, largest first; what can't take
        the request never beats what can.
    """
    for refused, able in ((one, other), (other, one)):
        if refused.refusals and not able.refusals:
            why = "; ".join(refused.refusals)
            return f"{able.candidate} beats {refused.candidate}, which can't take {refused.request}: {why}."
    gained_g = other.mid_g - one.mid_g
    verb = "beats" if gained_g >= 0 else "loses to"
    ordered = sorted(term_differences(one, other).items(), key=lambda item: -abs(item[1]))
    parts = [
        f"{_named(name)} {format_mass(abs(value))} {'less' if value >= 0 else 'more'}"
        for name, value in ordered
        if value
    ]
    because = f": {', '.join(parts)}" if parts else ""
    return f"{one.candidate} {verb} {other.candidate} by {format_mass(abs(gained_g))}{because}."

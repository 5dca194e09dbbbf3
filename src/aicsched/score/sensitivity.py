"""How a ranking moves with the exchange rates: exactly, since totals are straight lines in them.

With emissions c, money m and risk p, a card's total is c + m·g_per_usd + p·risk_g. Along one
rate each card is a line; the best are its lower envelope, and two cards change places where
their lines cross. The Pareto front needs no rate at all: whoever isn't on it is no better in
anything than somebody else, and can't win at any rate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from aicsched.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from aicsched.domain.score import ScoreCard

    Array = NDArray[np.float64]
    Rate = Literal["risk_g", "g_per_usd"]

__all__ = [
    "RATES",
    "RISK_STEP",
    "Crossing",
    "Lines",
    "Reign",
    "crossings",
    "lines_of",
    "pareto_front",
    "reigns",
]

RATES: Final = ("risk_g", "g_per_usd")
"""The exchange rates of a score: grams a certain breach counts as, and grams a dollar counts as."""
RISK_STEP: Final = 1e-4
"""Risks are known no finer than a hundredth of a per cent: nearer ones are the same on the front."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lines:
    """Totals over one exchange rate.

    Parameters
    ----------
    candidates : tuple of str
        Names, as many as lines.
    base_g : ndarray, shape (n,)
        Totals at a rate of 0 [g].
    slope : ndarray, shape (n,)
        Risk, or dollars: what the rate is multiplied by.
    now : float
        The rate at which the cards were made.
    """

    candidates: tuple[str, ...]
    base_g: Array
    slope: Array
    now: float

    def at(self, rate: float) -> Array:
        """Return the totals at a rate, shape (n,) [g]."""
        return self.base_g + self.slope * rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Reign:
    """Between which rates a candidate is the best.

    Parameters
    ----------
    candidate : str
        Its name.
    low, high : float
        From and to; the last reign ends at infinity.
    """

    candidate: str
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """A rate at which two candidates change places.

    Parameters
    ----------
    rate : float
        Where, above 0.
    below, above : str
        Who is the better of both below the rate, and who above it.
    """

    rate: float
    below: str
    above: str


def lines_of(cards: Sequence[ScoreCard], rate: Rate) -> Lines:
    """Return the totals of cards over one exchange rate, the other as it was.

    Parameters
    ----------
    cards : sequence of ScoreCard
        Of one request, at the same rates; those that can't take it are left out, and along
        ``"g_per_usd"`` those whose price isn't known.
    rate : str
        ``"risk_g"`` or ``"g_per_usd"``.

    Returns
    -------
    Lines
        In the order of the cards.

    Raises
    ------
    InputError
        There is no such rate, or the cards were made at different ones.
    """
    if rate not in RATES:
        msg = f"'{rate}' is no exchange rate of a score"
        raise InputError(msg, hint=did_you_mean(rate, RATES), value=rate)
    able = [card for card in cards if card.feasible and (rate == "risk_g" or card.money is not None)]
    if len({card.rates for card in able}) > 1:
        msg = "scores at different exchange rates"
        raise InputError(msg, hint="score all candidates with one policy")
    slope = np.array([card.slo_risk if rate == "risk_g" else card.money_usd for card in able], np.float64)
    now = getattr(able[0].rates, rate) if able else 0.0
    # At a rate of zero everything is left but what it prices.
    base_g = np.array([card.total_at(replace(card.rates, **{rate: 0.0})) for card in able], np.float64)
    names = tuple(card.candidate for card in able)
    return Lines(candidates=names, base_g=base_g, slope=slope, now=now)


def reigns(lines: Lines) -> tuple[Reign, ...]:
    """Return who is the best at which rates.

    Parameters
    ----------
    lines : Lines
        Of n candidates.

    Returns
    -------
    tuple of Reign
        From 0 to infinity without a gap: the lower envelope of the lines. Of equal lines
        the first counts.

    Examples
    --------
    >>> lines = Lines(candidates=("clean", "safe"), base_g=np.array([10.0, 30.0]),
    ...               slope=np.array([0.5, 0.1]), now=100.0)
    >>> [(each.candidate, each.low, each.high) for each in reigns(lines)]
    [('clean', 0.0, 50.0), ('safe', 50.0, inf)]
    """
    if not lines.candidates:
        return ()
    order = np.lexsort((np.arange(len(lines.base_g)), lines.slope, lines.base_g))
    best, since = int(order[0]), 0.0
    made: list[Reign] = []
    # From each reign on, the next is the line that crosses it first among those that rise less.
    while True:
        flatter = np.flatnonzero(lines.slope < lines.slope[best])
        if not flatter.size:
            made.append(Reign(candidate=lines.candidates[best], low=since, high=math.inf))
            return tuple(made)
        gap = lines.base_g[flatter] - lines.base_g[best]
        at = np.maximum(gap / (lines.slope[best] - lines.slope[flatter]), since)
        # Where several cross at once, the flattest goes on.
        after = int(flatter[np.lexsort((lines.slope[flatter], at))[0]])
        until = float(at.min())
        if until > since:
            made.append(Reign(candidate=lines.candidates[best], low=since, high=until))
        best, since = after, until


def crossings(lines: Lines, *, most: float = math.inf) -> tuple[Crossing, ...]:
    """Return every rate at which two candidates change places.

    Parameters
    ----------
    lines : Lines
        Of n candidates; all n (n - 1) / 2 pairs are looked at.
    most : float
        Up to which rate.

    Returns
    -------
    tuple of Crossing
        By rate.

    Examples
    --------
    >>> lines = Lines(candidates=("clean", "safe"), base_g=np.array([10.0, 30.0]),
    ...               slope=np.array([0.5, 0.1]), now=100.0)
    >>> crossings(lines)
    (Crossing(rate=50.0, below='clean', above='safe'),)
    """
    made: list[Crossing] = []
    for one, other in combinations(range(len(lines.candidates)), 2):
        rise = float(lines.slope[one] - lines.slope[other])
        if rise == 0.0:
            continue
        rate = float(lines.base_g[other] - lines.base_g[one]) / rise
        if 0 < rate <= most:
            flat, steep = (other, one) if rise > 0 else (one, other)
            made.append(Crossing(rate=rate, below=lines.candidates[steep], above=lines.candidates[flat]))
    return tuple(sorted(made, key=lambda each: (each.rate, each.below, each.above)))


def pareto_front(cards: Sequence[ScoreCard]) -> tuple[ScoreCard, ...]:
    """Return the cards than which no other is as good in emissions, money and risk, and better in one.

    Parameters
    ----------
    cards : sequence of ScoreCard
        Of one request; those that can't take it are left out. A price that isn't known
        counts as the worst where others are known, and risks are told apart to `RISK_STEP`.

    Returns
    -------
    tuple of ScoreCard
        Least emissions first.
    """
    able = [card for card in cards if card.feasible]
    priced = any(card.money is not None for card in able)
    worst = math.inf if priced else 0.0
    facts = np.array(
        [
            (
                card.carbon_g,
                worst if card.money_usd is None else card.money_usd,
                round(card.slo_risk / RISK_STEP),
            )
            for card in able
        ],
        np.float64,
    ).reshape(len(able), 3)
    kept: list[int] = []
    # Whoever dominates a card comes before it in this order.
    for index in np.lexsort((facts[:, 2], facts[:, 1], facts[:, 0])).tolist():
        before = facts[kept]
        no_worse = (before <= facts[index]).all(axis=1)
        better = (before < facts[index]).any(axis=1)
        if not (no_worse & better).any():
            kept.append(index)
    return tuple(able[index] for index in kept)

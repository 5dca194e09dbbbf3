"""One score for everything that can run work: grams, term by term, with what they were traded against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["TRADED", "ExchangeRates", "Money", "ScoreCard", "ScoreTerm"]

TRADED: Final = frozenset({"money", "slo_risk"})
"""Terms that are no emissions: they count as grams at an exchange rate."""


def _added(values: Iterable[float]) -> float:
    # In order and without the compensation that `sum` learned in Python 3.12: as the kernels add.
    total = 0.0
    for value in values:
        total += value
    return total


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeRates:
    """What is traded against grams, and at which rate.

    Parameters
    ----------
    risk_g : float
        What a certain breach of an objective counts as [g].
    g_per_usd : float
        What a dollar counts as [g/USD]; 0 tells the money and leaves it out of the total.
    """

    risk_g: float = 100.0
    g_per_usd: float = 0.0


class Money(NamedTuple):
    """What a request costs [USD].

    Parameters
    ----------
    low_usd, mid_usd, high_usd : float
        Low <= mid <= high; negative where power costs less than nothing.
    """

    low_usd: float
    mid_usd: float
    high_usd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreTerm:
    """One addend of a score.

    Parameters
    ----------
    name : str
        ``"operational"``, ``"idle_share"``, ``"transfer"``, ``"embodied"``, ``"money"``, ``"slo_risk"``.
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
    slo_risk_parts : tuple of (str, float)
        The probability of each objective alone, where it is known.
    money : Money, optional
        What it costs; None where no price is known.
    rates : ExchangeRates
        At which the total was made.
    refusals : tuple of str
        Why the candidate can't take the request; empty when it can.
    inputs : tuple of str
        Ids of the signals that were read.
    synthetic : bool
        True when an input was made up.

    Examples
    --------
    >>> terms = (ScoreTerm(name="operational", low_g=80, mid_g=100, high_g=130),
    ...          ScoreTerm(name="slo_risk", low_g=5, mid_g=5, high_g=5))
    >>> card = ScoreCard(candidate="a", candidate_kind="node", request="work", terms=terms, slo_risk=0.05)
    >>> card.mid_g, card.carbon_g, card.total_at(ExchangeRates(risk_g=1000.0))
    (105.0, 100.0, 150.0)
    """

    candidate: str
    candidate_kind: str
    request: str
    terms: tuple[ScoreTerm, ...]
    slo_risk: float = 0.0
    slo_risk_parts: tuple[tuple[str, float], ...] = ()
    money: Money | None = None
    rates: ExchangeRates = ExchangeRates()
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
        return _added(term.low_g for term in self.terms)

    @property
    def mid_g(self) -> float:
        """The total [g]: what candidates are ranked by."""
        return _added(term.mid_g for term in self.terms)

    @property
    def high_g(self) -> float:
        """High end of the total [g]."""
        return _added(term.high_g for term in self.terms)

    @property
    def carbon_g(self) -> float:
        """Emissions alone [g], without what is traded against them."""
        return _added(term.mid_g for term in self.terms if term.name not in TRADED)

    @property
    def money_usd(self) -> float | None:
        """What it costs [USD]; None where no price is known."""
        return None if self.money is None else self.money.mid_usd

    def total_at(self, rates: ExchangeRates) -> float:
        """Return the total at other exchange rates.

        Parameters
        ----------
        rates : ExchangeRates
            Grams per breach and per dollar.

        Returns
        -------
        float
            Emissions plus risk plus money [g]; money that isn't known counts nothing.
        """
        return self.carbon_g + (self.money_usd or 0.0) * rates.g_per_usd + self.slo_risk * rates.risk_g

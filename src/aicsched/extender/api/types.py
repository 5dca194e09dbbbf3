"""What is asked of the API, and what it answers."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - msgspec reads it when it makes the decoder
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

__all__ = [
    "MAX_CARDS",
    "Basis",
    "Candidate",
    "Score",
    "ScoreAnswer",
    "ScoreQuery",
    "Term",
    "Usd",
    "Work",
]

MAX_CARDS: Final = 10_000
"""Works times candidates that one answer may tell in full."""

Text = Annotated[str, Meta(max_length=253)]


class Work(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Work that looks for a place.

    Parameters
    ----------
    vcpus : float
        Hardware threads that it keeps busy.
    duration_h : float
        How long [h].
    memory_gib : float
        Memory [GiB].
    home_region : str
        Where its data lies.
    data_gb : float
        Data that is moved when it runs elsewhere [GB].
    namespace : str
        Whose policy holds, where `policy` names none.
    policy : str
        A preset or a policy of the operator's file, by name.
    name : str
        Comes back with the answer.
    """

    vcpus: Annotated[float, Meta(gt=0, le=1e6, examples=[4])]
    duration_h: Annotated[float, Meta(gt=0, le=8784, examples=[2])]
    memory_gib: Annotated[float, Meta(ge=0, le=1e9)] = 0.0
    home_region: Annotated[str, Meta(max_length=253)] = ""
    data_gb: Annotated[float, Meta(ge=0, le=1e9)] = 0.0
    namespace: Annotated[str, Meta(max_length=253)] = ""
    policy: Annotated[str, Meta(max_length=253)] = ""
    name: Annotated[str, Meta(max_length=253)] = ""


class ScoreQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which works to score on what.

    Parameters
    ----------
    work : list of Work
        What looks for a place.
    by : str
        ``"node"`` or ``"region"``: what may take it.
    candidates : list of str, optional
        Names of nodes or regions; all of them by default.
    best : int
        How many candidates to tell for each work, least grams first.
    """

    work: Annotated[list[Work], Meta(min_length=1, max_length=100)]
    by: Literal["node", "region"] = "node"
    candidates: Annotated[list[Text], Meta(max_length=10_000)] | None = None
    best: Annotated[int, Meta(ge=1, le=1000)] = 10


class Term(msgspec.Struct, frozen=True, kw_only=True):
    """One addend of a score.

    Parameters
    ----------
    name : str
        What it stands for.
    low_g, mid_g, high_g : float
        Grams of CO2-equivalent; they add up over the terms.
    note : str
        How it came about.
    """

    name: str
    low_g: float
    mid_g: float
    high_g: float
    note: str


class Usd(msgspec.Struct, frozen=True, kw_only=True):
    """What a work costs in dollars.

    Parameters
    ----------
    low_usd, mid_usd, high_usd : float
        Low <= mid <= high.
    """

    low_usd: float
    mid_usd: float
    high_usd: float


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """What one candidate costs for a work.

    Parameters
    ----------
    candidate, region : str
        Its name, and where it stands.
    level : int
        0 to 10, as the scheduler is told it: 10 is best of all that were considered.
    low_g, mid_g, high_g : float
        The total in grams of CO2-equivalent; candidates are ranked by the middle.
    carbon_g : float
        Emissions alone, without what is traded against them.
    terms : list of Term
        They add up to the total.
    slo_risk : float
        Probability that an objective breaks.
    slo_risk_parts : dict of str to float
        That of each objective alone.
    money : Usd, optional
        Null where no price is known.
    refusals : list of str
        Why it can't take the work; empty when it can.
    inputs : list of str
        Ids of the signals that were read.
    synthetic : bool
        Whether an input was made up.
    """

    candidate: str
    region: str
    level: Annotated[int, Meta(ge=0, le=10)]
    low_g: float
    mid_g: Annotated[float, Meta()]
    high_g: float
    carbon_g: Annotated[float, Meta()]
    terms: list[Term]
    slo_risk: Annotated[float, Meta(ge=0, le=1)]
    slo_risk_parts: dict[str, float]
    money: Usd | None
    refusals: Annotated[list[str], Meta()]
    inputs: list[str]
    synthetic: bool


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """The candidates for one work.

    Parameters
    ----------
    name, work, policy : str
        As it was called, in words, and whose exchange rates held.
    met_over_h : float
        Over how many hours from now the mean intensity was taken: for nodes the next of a few spans.
    considered : int
        How many candidates were scored.
    candidates : list of Candidate
        The best of them, those that can take it first.
    unscored : list of str
        Those on a grid of which nothing is known: no number would be honest.
    unknown : list of str
        Names that were asked for and are not known.
    """

    name: str
    work: str
    policy: str
    met_over_h: float
    considered: int
    candidates: list[Candidate]
    unscored: Annotated[list[str], Meta()]
    unknown: list[str]


class Basis(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer stands on.

    Parameters
    ----------
    issued_at : datetime
        When its newest inputs were true.
    age_s : float
        How long ago that was.
    synthetic : bool
        Whether an input was made up.
    sources : dict of str to datetime
        Per source of signals when its newest value was true.
    """

    issued_at: datetime
    age_s: float
    synthetic: bool
    sources: dict[str, datetime]


class ScoreAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The scores of all works that were asked about.

    Parameters
    ----------
    basis : Basis
        What they stand on.
    scores : list of Score
        In the order of the works.
    """

    basis: Basis
    scores: list[Score]

"""What a report shows, as facts of the domain."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aicsched.domain.carbon import CarbonSeries
    from aicsched.domain.decision import Decision
    from aicsched.domain.fleet import Fleet
    from aicsched.domain.forecast import Forecast
    from aicsched.domain.job import Job
    from aicsched.domain.placement import Placement
    from aicsched.domain.score import ScoreCard
    from aicsched.place.caps import Cap
    from aicsched.place.pareto import ParetoPoint

__all__ = ["AccuracyRow", "Candidate", "ReportData"]

NO_WAIT = "no_wait"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyRow:
    """How good the forecasts of one zone were when tried on the past.

    Parameters
    ----------
    grid_zone : str
        The electricity zone.
    mape_percent : tuple of float
        Mean absolute percentage error of each lead day [%].
    mae_g_per_kwh : float
        Mean absolute error over the horizon [g/kWh].
    coverage80_share : float
        How often the actual value lay inside the 80 % band.
    concordance_share : float
        How often of two slots the cleaner one was named.
    """

    grid_zone: str
    mape_percent: tuple[float, ...]
    mae_g_per_kwh: float
    coverage80_share: float
    concordance_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A score with its explanation.

    Parameters
    ----------
    card : ScoreCard
        The score.
    sentence : str
        Why it is what it is.
    """

    card: ScoreCard
    sentence: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReportData:
    """Everything a report shows.

    Parameters
    ----------
    title : str
        The headline above the headline.
    now_s : int
        The planning time, seconds since the epoch.
    fleet : Fleet
        What can run work.
    jobs : tuple of Job
        The queue, in the order of the plan.
    history : mapping of str to CarbonSeries
        Per grid zone, what was known at `now_s`.
    forecasts : mapping of str to Forecast
        Per grid zone, covering the plan.
    placement : Placement
        The plan.
    baselines : mapping of str to Placement
        Other policies on the same jobs; ``"no_wait"`` is what the plan is measured against.
    mean_delay_h : mapping of str to float
        Per policy, the plan's included, how long jobs wait on average [h].
    decisions : tuple of Decision
        One a job, with its reason.
    future : mapping of str to CarbonSeries
        Per grid zone what really happened after `now_s`, where it is known.
    realised_g : mapping of str to float
        Per policy its emissions by the actual intensities [g], where they are known.
    unplaced : mapping of str to str
        Policies that found no feasible plan, and why.
    accuracy : tuple of AccuracyRow
        Per zone, from a backtest.
    accuracy_note : str
        Which days and model the accuracy was measured with.
    pareto : tuple of ParetoPoint
        Plans with less room to wait, with their bounds.
    caps : tuple of Cap
        What the limits of vCPUs cost, a region each.
    best, worst : tuple of Candidate
        The candidates that emit least and most for one request.
    backends : tuple of Candidate
        Scores of quantum, neuromorphic and edge systems.
    recycle : tuple of mapping of str to str
        Rows about hardware to give up, equal keys in each, shown as they are.
    ledger_path, ledger_head : str
        Where the decisions are booked, and the hash of the last one.
    notes : tuple of str
        What a reader must know.
    sources : tuple of str
        Where the data comes from.
    synthetic : bool
        True when an input was made up: the page says so on top.
    """

    title: str
    now_s: int
    fleet: Fleet
    jobs: tuple[Job, ...]
    history: Mapping[str, CarbonSeries]
    forecasts: Mapping[str, Forecast]
    placement: Placement
    baselines: Mapping[str, Placement]
    mean_delay_h: Mapping[str, float]
    decisions: tuple[Decision, ...]
    future: Mapping[str, CarbonSeries] = field(default_factory=dict)
    realised_g: Mapping[str, float] = field(default_factory=dict)
    unplaced: Mapping[str, str] = field(default_factory=dict)
    accuracy: tuple[AccuracyRow, ...] = ()
    accuracy_note: str = ""
    pareto: tuple[ParetoPoint, ...] = ()
    caps: tuple[Cap, ...] = ()
    best: tuple[Candidate, ...] = ()
    worst: tuple[Candidate, ...] = ()
    backends: tuple[Candidate, ...] = ()
    recycle: tuple[Mapping[str, str], ...] = ()
    ledger_path: str = ""
    ledger_head: str = ""
    notes: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    synthetic: bool = False

    @property
    def no_wait(self) -> Placement | None:
        """The plan of the baseline: each job at once at home; None when it found no room."""
        return self.baselines.get(NO_WAIT)

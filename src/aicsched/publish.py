"""What becomes of a plan: decisions in the ledger, a file, a report."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.account.decisions import decisions_from
from aicsched.account.ledger import Ledger
from aicsched.errors import OutputError
from aicsched.files import write_text
from aicsched.place.caps import cap_costs
from aicsched.place.explain import explain_all
from aicsched.place.pareto import pareto
from aicsched.report.model import AccuracyRow, Candidate, ReportData
from aicsched.score.explain import explain
from aicsched.score.regions import score_regions
from aicsched.score.request import Request
from aicsched.slots import HOUR_S, format_time
from aicsched.units import format_mass
from aicsched.workflow import mean_delay_h, summary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aicsched.domain.carbon import CarbonSeries
    from aicsched.domain.decision import Decision
    from aicsched.domain.fleet import Fleet
    from aicsched.domain.score import ScoreCard
    from aicsched.forecast.backtest import BacktestResult
    from aicsched.recycle.recommend import Recommendation
    from aicsched.workflow import PlanRun

__all__ = ["decisions_of", "report_data", "save_plan"]

_REQUEST: Final = Request(vcpus=8.0, duration_s=4.0 * HOUR_S)


def decisions_of(run: PlanRun) -> tuple[Decision, ...]:
    """Return a plan's decisions, each with its reason and its counterfactual.

    Parameters
    ----------
    run : PlanRun
        What was planned.

    Returns
    -------
    tuple of Decision
        In the order of the jobs.
    """
    no_wait = run.baselines.get("no_wait")
    otherwise = no_wait or run.placement
    if run.elastic is None:
        explained = explain_all(run.problem, run.placement, otherwise)
    else:
        from aicsched.place.elastic.explain import explain_elastic  # noqa: PLC0415 - few plans need it

        explained = explain_elastic(run.elastic, run.placement, otherwise)
    reasons = {item.job_id: item.reason for item in explained}
    return decisions_from(
        placement=run.placement,
        baseline=no_wait,
        jobs=run.jobs,
        fleet=run.fleet,
        forecasts=run.forecasts,
        decided_at_s=run.at_s,
        reasons=reasons if no_wait else None,
    )


def _accuracy_rows(accuracy: BacktestResult) -> tuple[AccuracyRow, ...]:
    return tuple(
        AccuracyRow(
            grid_zone=zone,
            mape_percent=item.mape,
            mae_g_per_kwh=float(np.mean(item.mae)),
            coverage80_share=float(np.mean(item.coverage80)),
            concordance_share=list(item.concordance.values())[-1] if item.concordance else float("nan"),
        )
        for zone, item in accuracy.zones.items()
    )


def _candidates(cards: Sequence[ScoreCard]) -> tuple[Candidate, ...]:
    return tuple(Candidate(card=card, sentence=explain(card)) for card in cards)


def _one_a_region(cards: Sequence[ScoreCard], fleet: Fleet) -> list[ScoreCard]:
    """Keep the first card of each region: twins in one rack tell a reader nothing new."""
    home = {node.name: node.region for node in fleet.nodes}
    first: dict[str, ScoreCard] = {}
    for card in cards:
        first.setdefault(home.get(card.candidate, card.candidate), card)
    return list(first.values())


def _recycle_row(item: Recommendation) -> dict[str, str]:
    low, mid, high = (format_mass(value) for value in item.saved_g_per_year)
    return {
        "Node": item.node,
        "Condition": item.condition,
        "Disposition": item.disposition,
        "Saves a year": f"{mid} ({low} to {high})",
        "Why": "; ".join((*item.reasons, *item.refusals)),
    }


def _known_future(run: PlanRun) -> dict[str, CarbonSeries]:
    parts = {
        zone: item.window(item.slots.between(run.slots.start_s, run.slots.end_s))
        for zone, item in run.series.items()
    }
    return {zone: item for zone, item in parts.items() if len(item.slots)}


def report_data(
    run: PlanRun,
    *,
    accuracy: BacktestResult | None = None,
    nodes: Sequence[ScoreCard] = (),
    backends: Sequence[ScoreCard] = (),
    recycle: Sequence[Recommendation] = (),
) -> ReportData:
    """Return what the report of a plan shows.

    Parameters
    ----------
    run : PlanRun
        What was planned.
    accuracy : BacktestResult, optional
        How good the forecaster was on the past.
    nodes, backends : sequence of ScoreCard
        Scores, best first.
    recycle : sequence of Recommendation
        For the fleet's nodes.

    Returns
    -------
    ReportData
        Not yet booked: `save_plan` adds the ledger's head.
    """
    plans = {run.placement.policy: run.placement, **run.baselines}
    feasible = [card for card in nodes if card.feasible]
    regions = score_regions(_REQUEST, run.fleet, run.forecasts, start_s=run.at_s) if not feasible else ()
    ranked = feasible or [card for card in regions if card.feasible]
    return ReportData(
        title="aicsched: work placed where and when electricity is clean",
        now_s=run.at_s,
        fleet=run.fleet,
        jobs=run.jobs,
        history={zone: item.before(run.slots.start_s) for zone, item in run.series.items()},
        forecasts=run.forecasts,
        placement=run.placement,
        baselines=run.baselines,
        mean_delay_h={name: mean_delay_h(plan, run.jobs) for name, plan in plans.items()},
        decisions=decisions_of(run),
        future=_known_future(run),
        realised_g=run.realised_g,
        unplaced=run.unplaced,
        accuracy=_accuracy_rows(accuracy) if accuracy else (),
        accuracy_note=f"{accuracy.model}, {accuracy.origins} issue times to {format_time(accuracy.end_s)}"
        if accuracy
        else "",
        # Less room to wait means more machines for those that scale: another trade, not drawn here.
        pareto=pareto(run.problem, run.placement) if run.elastic is None else (),
        caps=cap_costs(run.problem, run.placement),
        best=_candidates(_one_a_region(ranked, run.fleet)[:3]),
        worst=_candidates(_one_a_region(ranked[::-1], run.fleet)[:2]),
        backends=_candidates(backends),
        recycle=tuple(_recycle_row(item) for item in recycle if item.disposition != "keep"),
        notes=run.notes,
        sources=tuple(sorted({item.source for item in run.series.values()} | {run.fleet.source})),
        synthetic=run.synthetic,
    )


def save_plan(run: PlanRun, folder: str | Path, *, data: ReportData | None = None) -> dict[str, str]:
    """Write a plan's files: the plan, the ledger of its decisions, and the report.

    Parameters
    ----------
    run : PlanRun
        What was planned.
    folder : str or Path
        Made where it is missing. The same plan saved twice adds nothing to the ledger.
    data : ReportData, optional
        What the report shows; by default `report_data` of the plan.

    Returns
    -------
    dict of str to str
        Paths by ``plan``, ``ledger`` and ``report``.

    Raises
    ------
    OutputError
        The folder can't be written to, or the disk is full; nothing half-written stays.
    LedgerError
        The folder's ledger is not ours or is broken.
    """
    from aicsched.report.html import write_report  # noqa: PLC0415 - drawing takes a second to load

    target = Path(folder)
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"the folder '{target}' can't be made ({error.strerror or error})"
        raise OutputError(msg, hint="choose another folder", value=str(target)) from error
    shown = data or report_data(run)
    files = {"plan": target / "plan.json", "ledger": target / "ledger.db", "report": target / "report.html"}
    document = summary(run) | {
        "slots": asdict(run.slots),
        "assignments": [asdict(row) for row in run.placement.assignments],
        "prices_g_per_vcpu_h": run.placement.prices_g_per_vcpu_h,
    }
    write_text(files["plan"], json.dumps(document, indent=1, sort_keys=True, allow_nan=False) + "\n")
    with Ledger(files["ledger"]) as ledger:
        ledger.record(shown.decisions)
        head = ledger.head()
    write_report(replace(shown, ledger_path=files["ledger"].name, ledger_head=head), files["report"])
    return {name: str(path) for name, path in files.items()}

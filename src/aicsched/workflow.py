"""The main job: signals → forecast → score → place → ledger → report.

`plan_work` chains the stages and returns a `PlanRun`, which holds everything
that was read, foreseen and decided. What is written to disk and shown
(`aicsched.publish`) is derived from it, so that the command
line, a notebook and ``import aicsched`` do the same thing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from aicsched.account.decisions import job_energy_kwh
from aicsched.errors import Infeasible, InputError, SlotError
from aicsched.forecast import forecast_zones
from aicsched.forecast.issue import newest_issue_s
from aicsched.place.caps import cap_costs
from aicsched.place.check import check
from aicsched.place.check_measures import check_cvar
from aicsched.place.policies import make_policy
from aicsched.place.problem import build_problem
from aicsched.place.risk import cvar_g, scenario_grid, solve_cvar, totals_g
from aicsched.place.solve import solve
from aicsched.recycle.recommend import Recommendation, recommend
from aicsched.slots import HOUR_S, SlotGrid, format_time

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from aicsched.domain.carbon import CarbonSeries
    from aicsched.domain.fleet import Fleet
    from aicsched.domain.forecast import Forecast
    from aicsched.domain.job import Job
    from aicsched.domain.placement import Placement, Proof
    from aicsched.domain.telemetry import Telemetry
    from aicsched.place.problem import Problem
    from aicsched.signals.base import CarbonSource

__all__ = [
    "BASELINES",
    "PlanRun",
    "RiskFacts",
    "mean_delay_h",
    "plan_work",
    "realised_g",
    "recommend_for",
    "summary",
]

BASELINES: Final = ("no_wait", "lowest_slot", "lowest_window")
SCENARIOS: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskFacts:
    """A plan's worst scenarios beside those of the plan of least expected grams.

    Parameters
    ----------
    alpha : float
        The best share of scenarios that does not count.
    scenarios : int
        How many the plan was made for.
    proof : Proof
        The plan's CVaR of total grams and the bound that no plan's undercuts [g].
    expected_plan_g, expected_plan_cvar_g : float
        What the plan of least expected grams emits as expected, and its CVaR [g].
    fresh_cvar_g, expected_plan_fresh_cvar_g : float
        CVaR of both in as many scenarios again, which neither plan has seen [g].
    """

    alpha: float
    scenarios: int
    proof: Proof
    expected_plan_g: float
    expected_plan_cvar_g: float
    fresh_cvar_g: float
    expected_plan_fresh_cvar_g: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRun:
    """All that one planning run read, foresaw and decided.

    Parameters
    ----------
    at_s : int
        The planning time, seconds since the epoch; nothing after it was used to decide.
    slots : SlotGrid
        The planning grid.
    fleet : Fleet
        What can run work.
    jobs : tuple of Job
        The queue.
    series : mapping of str to CarbonSeries
        Per grid zone all that the source knows, the future of a file included:
        used for hindsight only.
    forecasts : mapping of str to Forecast
        Per grid zone, made at `at_s`.
    problem : Problem
        What was solved.
    placement : Placement
        The plan, checked.
    baselines : mapping of str to Placement
        Published greedy policies under the same capacity and deadlines.
    unplaced : mapping of str to str
        Baselines that found no feasible plan, and why.
    realised_g : mapping of str to float
        Emissions of each policy by the actual intensities [g]; empty while they are unknown.
    notes : tuple of str
        What a reader must know.
    risk : RiskFacts, optional
        Where the plan was made for bad scenarios: what they are, and the proof.
    """

    at_s: int
    slots: SlotGrid
    fleet: Fleet
    jobs: tuple[Job, ...]
    series: Mapping[str, CarbonSeries]
    forecasts: Mapping[str, Forecast]
    problem: Problem
    placement: Placement
    baselines: Mapping[str, Placement]
    unplaced: Mapping[str, str]
    realised_g: Mapping[str, float]
    notes: tuple[str, ...] = ()
    risk: RiskFacts | None = None

    @property
    def synthetic(self) -> bool:
        """Whether any input was made up."""
        return self.fleet.synthetic or any(item.synthetic for item in self.series.values())


def _read_zones(carbon: CarbonSource, fleet: Fleet) -> dict[str, CarbonSeries]:
    zones = sorted({region.grid_zone for region in fleet.regions})
    series = {zone: carbon.read(zone) for zone in zones}
    steps = sorted({item.slots.step_s for item in series.values()})
    if len(steps) > 1:
        msg = f"the carbon series have different steps ({', '.join(f'{step} s' for step in steps)})"
        raise InputError(msg, hint="bring them to one step, for example hourly means", value=steps)
    kinds = sorted({str(item.kind) for item in series.values()})
    if len(kinds) > 1:
        msg = f"the carbon series mix {' and '.join(kinds)} intensities"
        raise InputError(
            msg, hint="average and marginal answer different questions: give one kind", value=kinds
        )
    return series


def _planning_grid(
    series: Mapping[str, CarbonSeries], at_s: int | None, horizon_h: float
) -> tuple[SlotGrid, tuple[str, ...]]:
    first = next(iter(series.values())).slots
    known_end_s = newest_issue_s(series.values())
    wanted_s = known_end_s if at_s is None else at_s
    start_s = first.start_s - (first.start_s - wanted_s) // first.step_s * first.step_s
    if start_s > known_end_s:
        known = format_time(known_end_s)
        msg = f"the planning time {format_time(wanted_s)} lies behind the last intensity {known}"
        raise SlotError(msg, hint="give newer carbon data or an earlier --at", value=wanted_s)
    notes = () if start_s == wanted_s else (f"planning starts at the next slot, {format_time(start_s)}",)
    count = int(horizon_h * HOUR_S) // first.step_s
    return SlotGrid(start_s, first.step_s, count), notes


def mean_delay_h(placement: Placement, jobs: Sequence[Job]) -> float:
    """Return how long jobs wait on average beyond their own length.

    Parameters
    ----------
    placement : Placement
        A plan of these jobs.
    jobs : sequence of Job
        In the plan's order.

    Returns
    -------
    float
        Mean of end − release − duration [h], never below 0 for one job.
    """
    grid = placement.slots
    waits = [
        max(
            0.0,
            grid.start_s
            + (row.slot_indices[-1] + 1) * grid.step_s
            - max(job.release_s, grid.start_s)
            - job.duration_s,
        )
        for row, job in zip(placement.assignments, jobs, strict=True)
    ]
    return sum(waits) / len(waits) / HOUR_S if waits else 0.0


def realised_g(
    placement: Placement, jobs: Sequence[Job], fleet: Fleet, series: Mapping[str, CarbonSeries]
) -> float | None:
    """Return what a plan emits by the actual intensities.

    Parameters
    ----------
    placement : Placement
        A plan of these jobs.
    jobs : sequence of Job
        In the plan's order.
    fleet : Fleet
        Where they run.
    series : mapping of str to CarbonSeries
        Per grid zone, reaching behind the plan's start.

    Returns
    -------
    float or None
        Operational and transfer emissions [g]; None while a slot that is used has no actual value.
    """
    regions = {region.name: region for region in fleet.regions}
    total_g = 0.0
    for row, job in zip(placement.assignments, jobs, strict=True):
        region = regions[row.region]
        actual = series[region.grid_zone]
        offset = (placement.slots.start_s - actual.slots.start_s) // actual.slots.step_s
        picked = [offset + index for index in row.slot_indices]
        if picked[-1] >= len(actual.slots):
            return None
        mean_g_per_kwh = float(actual.values_g_per_kwh[picked].mean())
        total_g += job_energy_kwh(job, region) * mean_g_per_kwh + row.transfer_g
    return total_g if total_g == total_g else None  # noqa: PLR0124 - a NaN slot makes the sum unknown


def _baselines(problem: Problem) -> tuple[dict[str, Placement], dict[str, str]]:
    plans: dict[str, Placement] = {}
    unplaced: dict[str, str] = {}
    for name in BASELINES:
        try:
            plans[name] = make_policy(name).plan(problem)
        except Infeasible as error:
            unplaced[name] = error.message
    return plans, unplaced


def _traced(problem: Problem, gap_share: float, seed: int) -> Placement:
    """Solve, and keep what each stage had reached."""
    trace: list[tuple[float, float]] = []
    plan = solve(
        problem, gap=gap_share, seed=seed, progress=lambda best_g, bound_g: trace.append((best_g, bound_g))
    )
    return replace(plan, certificate=replace(plan.certificate, trace=tuple(trace)))


def _hedged(
    problem: Problem,
    fleet: Fleet,
    jobs: Sequence[Job],
    forecasts: Mapping[str, Forecast],
    alpha: float,
    gap_share: float,
    seed: int,
) -> tuple[Placement, RiskFacts]:
    """Plan for the worst scenarios, and weigh that plan by scenarios it has not seen."""
    drawn = scenario_grid(fleet, forecasts, problem.slots, count=2 * SCENARIOS, seed=seed)
    seen, fresh = drawn[:SCENARIOS], drawn[SCENARIOS:]
    plan = solve_cvar(problem, seen, alpha=alpha, gap=gap_share, seed=seed)
    at = {region.grid_zone: row for row, region in enumerate(fleet.regions)}
    curves = [{zone: item[row].tolist() for zone, row in at.items()} for item in seen]
    check_cvar(jobs, fleet, plan.placement, plan.proof, curves, alpha=alpha)
    both = [cvar_g(totals_g(problem, one, fresh), alpha=alpha) for one in (plan.placement, plan.expected)]
    return plan.placement, RiskFacts(
        alpha=alpha,
        scenarios=SCENARIOS,
        proof=plan.proof,
        expected_plan_g=plan.expected.total_g,
        expected_plan_cvar_g=plan.expected_cvar_g,
        fresh_cvar_g=both[0],
        expected_plan_fresh_cvar_g=both[1],
    )


def plan_work(  # noqa: PLR0913 - one keyword per input of the main job
    carbon: CarbonSource,
    fleet: Fleet,
    jobs: Sequence[Job],
    *,
    at_s: int | None = None,
    horizon_h: float = 96,
    model: str = "auto",
    gap_share: float = 0.002,
    seed: int = 0,
    cvar_alpha: float | None = None,
    progress: Callable[[str], None] = lambda _step: None,
) -> PlanRun:
    """Plan a queue of jobs in space and time.

    Parameters
    ----------
    carbon : CarbonSource
        Intensities of every grid zone of the fleet.
    fleet : Fleet
        Where work can run.
    jobs : sequence of Job
        The queue.
    at_s : int, optional
        The planning time, seconds since the epoch; by default the end of the known intensities.
    horizon_h : float
        How far to plan [h].
    model : str
        Name of the forecaster.
    gap_share : float
        Stop improving when the proven gap is below this share.
    seed : int
        Seed of everything random.
    cvar_alpha : float, optional
        Plan for the mean of the worst 1 - alpha of 200 scenarios of the forecasts instead of for
        expected grams (see `aicsched.place.risk`).
    progress : callable, optional
        Told the name of each stage.

    Returns
    -------
    PlanRun
        With a plan that the independent checker has passed.

    Raises
    ------
    AicschedError
        Any input that can't be used, a forecast that can't be made, or jobs that
        can't be placed, each with its reason.
    """
    progress("read signals")
    series = _read_zones(carbon, fleet)
    slots, notes = _planning_grid(series, at_s, horizon_h)
    progress("forecast")
    history = {zone: item.before(slots.start_s) for zone, item in series.items()}
    forecasts = forecast_zones(history, at_s=slots.start_s, horizon=len(slots), model=model)
    progress("place")
    queue = tuple(jobs)
    problem = build_problem(queue, fleet, forecasts, slots)
    risk: RiskFacts | None = None
    if cvar_alpha is None:
        placement = _traced(problem, gap_share, seed)
    else:
        placement, risk = _hedged(problem, fleet, queue, forecasts, cvar_alpha, gap_share, seed)
    baselines, unplaced = _baselines(problem)
    progress("check")
    for plan in (placement, *baselines.values()):
        check(queue, fleet, forecasts, slots, plan)
    hindsight = {
        plan.policy: realised_g(plan, queue, fleet, series) for plan in (placement, *baselines.values())
    }
    flags = tuple(f"{zone}: {flag}" for zone, item in sorted(forecasts.items()) for flag in item.flags)
    return PlanRun(
        at_s=slots.start_s,
        slots=slots,
        fleet=fleet,
        jobs=queue,
        series=series,
        forecasts=forecasts,
        problem=problem,
        placement=placement,
        baselines=baselines,
        unplaced=unplaced,
        realised_g={name: value for name, value in hindsight.items() if value is not None},
        notes=notes + flags + _risk_notes(risk),
        risk=risk,
    )


def _policy_facts(run: PlanRun, plan: Placement, no_wait_g: float) -> dict[str, object]:
    return {
        "total_g": plan.total_g,
        "saved_share": 1 - plan.total_g / no_wait_g if no_wait_g else 0.0,
        "realised_g": run.realised_g.get(plan.policy),
        "mean_delay_h": mean_delay_h(plan, run.jobs),
    }


def _cap_facts(run: PlanRun) -> list[dict[str, object]]:
    grid = run.slots
    return [
        {
            "region": cap.region,
            "worth_g": cap.worth_g,
            "g_per_more_vcpu": cap.g_per_more_vcpu,
            "binding_slots": cap.binding_slots,
            "fullest_slots": [format_time(grid.start_s + slot * grid.step_s) for slot in cap.fullest_slots],
        }
        for cap in cap_costs(run.problem, run.placement)
    ]


def _risk_notes(risk: RiskFacts | None) -> tuple[str, ...]:
    if risk is None:
        return ()
    words = f"the plan is made for {risk.proof.measure} of {risk.scenarios} scenarios"
    return (f"{words}; its distance from optimal speaks of expected grams, which it gives up some of",)


def _risk_facts(risk: RiskFacts | None) -> dict[str, object] | None:
    if risk is None:
        return None
    return {
        "measure": risk.proof.measure,
        "scenarios": risk.scenarios,
        "cvar_g": risk.proof.value,
        "lower_bound_g": risk.proof.lower_bound,
        "gap": risk.proof.gap if risk.proof.gap < float("inf") else None,
        "fresh_cvar_g": risk.fresh_cvar_g,
        "expected_plan": {
            "total_g": risk.expected_plan_g,
            "cvar_g": risk.expected_plan_cvar_g,
            "fresh_cvar_g": risk.expected_plan_fresh_cvar_g,
        },
    }


def summary(run: PlanRun) -> dict[str, Any]:
    """Return the facts of a plan as plain values.

    Parameters
    ----------
    run : PlanRun
        What was planned.

    Returns
    -------
    dict
        ``gap`` (None without a proof), ``objective_g``, ``lower_bound_g``, ``policies``
        (per policy ``total_g``, ``saved_share`` against no_wait, ``realised_g``,
        ``mean_delay_h``), ``caps`` (per region ``worth_g`` and ``g_per_more_vcpu`` of its limit,
        ``binding_slots``, ``fullest_slots``), ``risk`` (None, or CVaR, bound and gap of a plan made for
        bad scenarios, in fresh scenarios too, beside the plan of least expected grams) and what the
        plan was made from.
    """
    proof = run.placement.certificate
    no_wait = run.baselines.get("no_wait", run.placement)
    plans = {run.placement.policy: run.placement, **run.baselines}
    return {
        "at": format_time(run.at_s),
        "horizon_h": len(run.slots) * run.slots.step_h,
        "jobs": len(run.jobs),
        "regions": len(run.fleet.regions),
        "zones": sorted(run.forecasts),
        "intensity_kind": str(next(iter(run.forecasts.values())).kind),
        "sources": sorted(item.source for item in run.series.values()),
        "synthetic": run.synthetic,
        "policy": run.placement.policy,
        "objective_g": proof.objective_g,
        "lower_bound_g": proof.lower_bound_g,
        "gap": proof.gap if proof.gap < float("inf") else None,
        "status": proof.status,
        "method": proof.method,
        "seed": proof.seed,
        "checked": True,
        "policies": {name: _policy_facts(run, plan, no_wait.total_g) for name, plan in plans.items()},
        "caps": _cap_facts(run),
        "risk": _risk_facts(run.risk),
        "unplaced": dict(run.unplaced),
        "notes": list(run.notes),
    }


def recommend_for(
    fleet: Fleet, telemetry: Telemetry, carbon: CarbonSource, *, now_s: int | None = None
) -> tuple[Recommendation, ...]:
    """Recommend what to do with a fleet's nodes, by what their grids have emitted.

    Parameters
    ----------
    fleet : Fleet
        With nodes.
    telemetry : Telemetry
        What was seen of them.
    carbon : CarbonSource
        Intensities: the 10 %, 50 % and 90 % quantiles of the past of each zone
        stand for a year's low, mid and high.
    now_s : int, optional
        Seconds since the epoch; by default the end of the telemetry.

    Returns
    -------
    tuple of Recommendation
        One a node, the largest saving first.

    Raises
    ------
    AicschedError
        A zone is unknown, or an input can't be used.
    """
    at_s = telemetry.slots.end_s if now_s is None else now_s
    zones = sorted({region.grid_zone for region in fleet.regions})
    bands: dict[str, tuple[float, float, float]] = {}
    for zone in zones:
        known = carbon.read(zone).before(at_s).values_g_per_kwh
        low, mid, high = (float(value) for value in np.nanquantile(known, (0.1, 0.5, 0.9)))
        bands[zone] = (low, mid, high)
    return recommend(fleet, telemetry, bands, now_s=at_s)

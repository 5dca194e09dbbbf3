"""The main job: signals → forecast → score → place → ledger → report.

`plan_work` chains the stages and returns a `PlanRun`, which holds everything
that was read, foreseen and decided. What is written to disk and shown
(`aicsched.publish`) is derived from it, so that the command
line, a notebook and ``import aicsched`` do the same thing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from aicsched.account.decisions import job_energy_kwh
from aicsched.domain.placement import busy_s
from aicsched.errors import InputError, SlotError
from aicsched.forecast import forecast_zones
from aicsched.forecast.issue import newest_issue_s
from aicsched.place.caps import cap_costs
from aicsched.place.check import check
from aicsched.place.queue import BASELINES, place_queue
from aicsched.recycle.recommend import Recommendation, recommend
from aicsched.slots import HOUR_S, SlotGrid, format_time

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from aicsched.domain.carbon import CarbonSeries
    from aicsched.domain.fleet import Fleet
    from aicsched.domain.forecast import Forecast
    from aicsched.domain.job import Job
    from aicsched.domain.placement import Placement
    from aicsched.domain.service import Service
    from aicsched.domain.telemetry import Telemetry
    from aicsched.place.elastic import ElasticProblem
    from aicsched.place.hedge import RiskFacts
    from aicsched.place.joint.proven import ProvenPlan
    from aicsched.place.money import MoneyFacts, MoneyWeight
    from aicsched.place.problem import Problem
    from aicsched.signals.base import CarbonSource

__all__ = [
    "BASELINES",
    "PlanRun",
    "mean_delay_h",
    "plan_work",
    "realised_g",
    "recommend_for",
    "summary",
]


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
    joint : ProvenPlan, optional
        Where services were given: their plan, which leaves the room that `problem` and `placement` are
        planned in, and the proof that each loss is survivable.
    money : MoneyFacts, optional
        Where money was weighed: what the plan costs, and the proof.
    elastic : ElasticProblem, optional
        Where jobs scale: what was solved; `problem` then has stand-ins for them.
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
    joint: ProvenPlan | None = None
    money: MoneyFacts | None = None
    elastic: ElasticProblem | None = None

    @property
    def synthetic(self) -> bool:
        """Whether any input was made up."""
        priced = self.money is not None and self.money.synthetic
        return priced or self.fleet.synthetic or any(item.synthetic for item in self.series.values())


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
        region, actual = regions[row.region], series[regions[row.region].grid_zone]
        offset = (placement.slots.start_s - actual.slots.start_s) // actual.slots.step_s
        picked = [offset + index for index in row.slot_indices]
        if picked[-1] >= len(actual.slots):
            return None
        mean_g_per_kwh = float(np.average(actual.values_g_per_kwh[picked], weights=busy_s(job, row)))
        total_g += job_energy_kwh(job, region, row) * mean_g_per_kwh + row.transfer_g
    return total_g if total_g == total_g else None  # noqa: PLR0124 - a NaN slot makes the sum unknown


def _refuse_both(
    jobs: Sequence[Job],
    services: Sequence[Service],
    gives_way: str,
    cvar_alpha: float | None,
    money: MoneyWeight | None,
) -> None:
    """Refuse what one plan can't be asked for at once."""
    scales = next((job.job_id for job in jobs if job.scaling), "")
    if scales and (services or cvar_alpha is not None or money is not None):
        other = "services" if services else "a plan for bad scenarios" if money is None else "money"
        msg = f"jobs that scale ('{scales}') and {other} can't be had in one plan"
        raise InputError(msg, hint="leave out scaling, or the other", value=scales)
    if money is not None and (services or cvar_alpha is not None):
        msg = "a plan that weighs money can be had neither with services nor for bad scenarios"
        raise InputError(msg, hint="leave out --g-per-usd, or --services and --risk cvar")
    if services and cvar_alpha is not None:
        msg = "services beside the jobs and a plan for bad scenarios can't be had in one plan"
        raise InputError(msg, hint="leave out --services or --risk cvar (services or cvar_alpha)")
    if not services and gives_way != "suspendable":
        msg = f"gives_way is '{gives_way}', but there are no services that jobs could give way to"
        raise InputError(msg, hint="add --services FILE, or leave out --gives-way", value=gives_way)


def plan_work(  # noqa: PLR0913 - one keyword per input of the main job
    carbon: CarbonSource,
    fleet: Fleet,
    jobs: Sequence[Job],
    *,
    services: Sequence[Service] = (),
    gives_way: str = "suspendable",
    at_s: int | None = None,
    horizon_h: float = 96,
    model: str = "auto",
    gap_share: float = 0.002,
    seed: int = 0,
    cvar_alpha: float | None = None,
    money: MoneyWeight | None = None,
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
        The queue; where some scale, without services or `cvar_alpha` (see `aicsched.place.elastic`).
    services : sequence of Service, optional
        Always-on work, planned together with the jobs so that it outlives the loss of any one failure
        group (see `aicsched.place.joint`); not together with `cvar_alpha`.
    gives_way : {"suspendable", "all", "none"}
        Which jobs may sit in the services' reserve, and are stopped when a loss needs it.
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
    money : MoneyWeight, optional
        Plan for grams and money together, at a rate; neither with `services` nor with `cvar_alpha`.
    progress : callable, optional
        Told the name of each stage.

    Returns
    -------
    PlanRun
        With a plan that the independent checker has passed.

    Raises
    ------
    AicschedError
        Any input that can't be used, a forecast that can't be made, or jobs or services that
        can't be placed, each with its reason.
    """
    _refuse_both(jobs, services, gives_way, cvar_alpha, money)
    progress("read signals")
    series = _read_zones(carbon, fleet)
    slots, notes = _planning_grid(series, at_s, horizon_h)
    progress("forecast")
    history = {zone: item.before(slots.start_s) for zone, item in series.items()}
    forecasts = forecast_zones(history, at_s=slots.start_s, horizon=len(slots), model=model)
    progress("place")
    queue = tuple(jobs)
    placed = place_queue(
        queue, fleet, forecasts, slots, services=services, gives_way=gives_way, gap_share=gap_share,
        seed=seed, cvar_alpha=cvar_alpha, money=money,
    )  # fmt: skip
    plans = (placed.placement, *placed.baselines.values())
    progress("check")
    free = None if placed.joint is None else placed.joint.plan.free_vcpus()
    for plan in plans:
        check(queue, fleet, forecasts, slots, plan, free_vcpus=free)
    hindsight = {plan.policy: realised_g(plan, queue, fleet, series) for plan in plans}
    flags = tuple(f"{zone}: {flag}" for zone, item in sorted(forecasts.items()) for flag in item.flags)
    return PlanRun(
        at_s=slots.start_s,
        slots=slots,
        fleet=fleet,
        jobs=queue,
        series=series,
        forecasts=forecasts,
        problem=placed.problem,
        placement=placed.placement,
        baselines=placed.baselines,
        unplaced=placed.unplaced,
        realised_g={name: value for name, value in hindsight.items() if value is not None},
        notes=sum(
            (known.notes() for known in (placed.risk, placed.joint, placed.money) if known),
            fleet.notes + notes + flags,
        ),
        risk=placed.risk,
        joint=placed.joint,
        money=placed.money,
        elastic=placed.elastic,
    )


def _policy_facts(run: PlanRun, plan: Placement, no_wait_g: float) -> dict[str, object]:
    return {
        "total_g": plan.total_g,
        "saved_share": 1 - plan.total_g / no_wait_g if no_wait_g else 0.0,
        "realised_g": run.realised_g.get(plan.policy),
        "mean_delay_h": mean_delay_h(plan, run.jobs),
    }


def _cap_facts(run: PlanRun) -> list[dict[str, object]]:
    if run.money is not None:
        return []  # what a limit costs in grams says little of a plan that weighs money
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
        bad scenarios, in fresh scenarios too, beside the plan of least expected grams), ``services``
        (None, or their plan together with the jobs and the proof that each loss is survivable),
        ``money`` (None, or what the plan costs, weighed at a rate) and what the plan was made from.
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
        "risk": run.risk and run.risk.facts(),
        "services": run.joint and run.joint.facts(),
        "money": run.money and run.money.facts(),
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

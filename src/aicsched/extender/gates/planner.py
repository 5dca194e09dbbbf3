"""When work starts: by the carbon forecast, through the same placer as any plan of the library.

Each piece of work is a job with a window, a duration and regions; the plan is `place.solve`'s, or a
published policy's. A gate moves work in time only, so what it saves is counted against the same
work started at once in the same region: where it runs is the scheduler's choice, and the
extender's to be credited for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.account.decisions import decisions_from
from aicsched.domain.job import Job
from aicsched.errors import Infeasible
from aicsched.extender.gates.rules import Why
from aicsched.place.policies import make_policy
from aicsched.place.problem import build_problem
from aicsched.place.solve import solve
from aicsched.slots import SlotGrid, format_time
from aicsched.units import format_mass

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from aicsched.config.gates import GatesSettings
    from aicsched.domain.decision import Decision
    from aicsched.domain.fleet import Fleet, Region
    from aicsched.domain.forecast import Forecast
    from aicsched.domain.placement import Assignment, Placement
    from aicsched.extender.gates.waiting import Waiting

__all__ = ["OPTIMAL", "Outlook", "Plan", "finer", "plan_starts"]

OPTIMAL: Final = "optimal"
_STEP_S: Final = 900
_GAP: Final = 0.002
# A plan of more work is settled in this much CPU time at most; the best one so far is taken.
_CPU_S: Final = 20.0
# Seed of what is random in plans: equal work gives equal plans, on each replica.
_SEED: Final = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What is foreseen, and where work can run.

    Parameters
    ----------
    fleet : Fleet
        Regions whose grids are foreseen; capacity is what is free, infinite where that isn't known.
    forecasts : mapping of str to Forecast
        Per grid zone, none of them neutral.
    made_s : float
        When, seconds since the epoch.
    """

    fleet: Fleet
    forecasts: Mapping[str, Forecast]
    made_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """When one piece of work starts.

    Parameters
    ----------
    start_s : float
        Seconds since the epoch; in the past where waiting is of no use.
    why : Why
        `Why.PLANNED` or `Why.NO_SAVING`.
    reason : str
        One sentence.
    saving_g : float
        What it is expected to save against a start at once [g].
    decision : Decision or None
        For the ledger; None where the forecast doesn't reach to its end.
    vcpus : float
        What it holds.
    region : str
        Where it was reckoned with.
    end_s : float
        Until when, seconds since the epoch.
    """

    start_s: float
    why: Why
    reason: str
    saving_g: float
    decision: Decision | None
    vcpus: float
    region: str
    end_s: float


def finer(forecast: Forecast, step_s: int = _STEP_S) -> Forecast:
    """Cut a forecast's slots into smaller ones of equal values.

    Parameters
    ----------
    forecast : Forecast
        By the hour, for example.
    step_s : int
        Length of a slot [s]; where it doesn't divide the forecast's, nothing changes.

    Returns
    -------
    Forecast
        Of the same emissions; without past errors, which no plan of starts uses.
    """
    slots = forecast.slots
    parts, rest = divmod(slots.step_s, step_s)
    if rest or parts < 2:
        return replace(forecast, past_errors=None)
    return replace(
        forecast,
        slots=SlotGrid(slots.start_s, step_s, len(slots) * parts),
        mean_g_per_kwh=np.repeat(forecast.mean_g_per_kwh, parts),
        quantiles_g_per_kwh=np.repeat(forecast.quantiles_g_per_kwh, parts, axis=1),
        past_errors=None,
    )


@dataclass(frozen=True, slots=True)
class _Draft:
    work: Waiting
    job: Job
    slots: int
    whole: bool


def plan_starts(
    works: Sequence[Waiting],
    outlook: Outlook,
    *,
    now_s: float,
    settings: GatesSettings,
    standing: Mapping[str, float] | None = None,
    others: Sequence[Plan] = (),
) -> dict[str, Plan]:
    """Choose when work starts.

    Parameters
    ----------
    works : sequence of Waiting
        What to plan; without faults.
    outlook : Outlook
        What is foreseen.
    now_s : float
        Seconds since the epoch.
    settings : GatesSettings
        Policy, and what is worth waiting for.
    standing : mapping of str to float, optional
        By uid the start that stands, seconds since the epoch: it gives way only to one that is better
        by `GatesSettings.replan_gain_share`.
    others : sequence of Plan
        Of work that isn't planned now, and holds capacity.

    Returns
    -------
    dict of str to Plan
        By uid; not for work whose start stands, nor for what runs in no region of the outlook.
    """
    forecasts = {zone: finer(each) for zone, each in outlook.forecasts.items()}
    grid = _grid(forecasts, now_s)
    drafts = [each for work in works if (each := _draft(work, outlook.fleet, grid, settings)) is not None]
    if not drafts:
        return {}
    free = _free(outlook.fleet, grid, others)
    made: dict[str, Plan] = {}
    for part, limits in _parts(drafts, free, grid):
        placement = _placed([each.job for each in part], outlook.fleet, forecasts, grid, limits, settings)
        made |= _told(part, placement, outlook.fleet, forecasts, settings, standing or {}, now_s)
    return made


def _grid(forecasts: Mapping[str, Forecast], now_s: float) -> SlotGrid:
    """Return the slots from the present one on that all forecasts cover."""
    first = next(iter(forecasts.values())).slots
    start_s = first.start_s + int((now_s - first.start_s) // first.step_s) * first.step_s
    start_s = max(start_s, *(each.slots.start_s for each in forecasts.values()), first.start_s)
    end_s = min(each.slots.end_s for each in forecasts.values())
    return SlotGrid(start_s, first.step_s, max(0, (end_s - start_s) // first.step_s))


def _draft(work: Waiting, fleet: Fleet, grid: SlotGrid, settings: GatesSettings) -> _Draft | None:
    known = [region.name for region in fleet.regions]
    places = tuple(name for name in known if not work.regions or name in work.regions)
    if not places or not len(grid):
        return None
    needs = max(1, -int(-(work.terms.duration_s / grid.step_s) // 1))
    # The first slot began before the present: a start in it is now.
    latest = max(0, int((work.terms.latest_s - settings.margin_s - grid.start_s) // grid.step_s))
    # One that could end behind what is foreseen is placed by what can be seen of it, and later again.
    held = min(needs, max(len(grid) - latest, -(-len(grid) // 2)))
    latest = min(latest, len(grid) - held)
    job = Job(
        job_id=work.uid,
        vcpus=work.request.vcpus,
        memory_gib=work.request.memory_gib,
        gpus=work.request.gpus,
        duration_s=work.terms.duration_s if held == needs else held * grid.step_s,
        release_s=grid.start_s,
        deadline_s=grid.start_s + (latest + held) * grid.step_s,
        home_region=places[0],
        allowed_regions=places,
    )
    return _Draft(work, job, held, held == needs)


def _free(fleet: Fleet, grid: SlotGrid, others: Sequence[Plan]) -> dict[str, NDArray[np.float64]]:
    free = {region.name: np.full(len(grid), region.capacity_vcpus) for region in fleet.regions}
    for plan in others:
        if plan.region in free:
            first = max(0, int((plan.start_s - grid.start_s) // grid.step_s))
            last = max(0, -int(-(plan.end_s - grid.start_s) // grid.step_s))
            free[plan.region][first:last] -= plan.vcpus
    return {name: np.maximum(row, 0.0) for name, row in free.items()}


def _parts(
    drafts: list[_Draft], free: dict[str, NDArray[np.float64]], grid: SlotGrid
) -> list[tuple[list[_Draft], dict[str, NDArray[np.float64]]]]:
    """Keep work that fits nowhere out of the plan of the rest: it is placed as if there was room."""
    most = {name: float(row.max()) for name, row in free.items()}
    fits = [each for each in drafts if max(most[name] for name in each.job.allowed_regions) >= each.job.vcpus]
    taken = {each.work.uid for each in fits}
    rest = [each for each in drafts if each.work.uid not in taken]
    endless = {name: np.full(len(grid), np.inf) for name in free}
    return [part for part in ((fits, free), (rest, endless)) if part[0]]


def _placed(
    jobs: list[Job],
    fleet: Fleet,
    forecasts: Mapping[str, Forecast],
    grid: SlotGrid,
    free: dict[str, NDArray[np.float64]],
    settings: GatesSettings,
) -> Placement:
    """Place work under capacity; where it doesn't fit, as if there was room: it may not wait for that."""
    regions = tuple(replace(each, capacity_memory_gib=np.nan, capacity_gpus=np.inf) for each in fleet.regions)
    roomy = replace(fleet, regions=regions, nodes=(), backends=())
    endless = {name: np.full(len(grid), np.inf) for name in free}
    for limits in (free, endless):
        try:
            problem = build_problem(jobs, roomy, forecasts, grid, free_vcpus=limits)
            if settings.policy == OPTIMAL:
                return solve(problem, gap=_GAP, seed=_SEED, cpu_s=_CPU_S, name_clash=False)
            return make_policy(settings.policy).plan(problem)
        except Infeasible:
            if limits is endless:
                raise
    raise AssertionError


def _told(
    drafts: list[_Draft],
    placement: Placement,
    fleet: Fleet,
    forecasts: Mapping[str, Forecast],
    settings: GatesSettings,
    standing: Mapping[str, float],
    now_s: float,
) -> dict[str, Plan]:
    regions = {region.name: region for region in fleet.regions}
    grid = placement.slots
    made: dict[str, Plan] = {}
    jobs = [
        replace(each.job, home_region=row.region)
        for each, row in zip(drafts, placement.assignments, strict=True)
    ]
    chosen: list[Assignment] = []
    verdicts: list[Why | None] = []
    for each, job, row in zip(drafts, jobs, placement.assignments, strict=True):
        costs_g = _costs_g(job, regions[row.region], forecasts, grid, each.slots)
        verdict, index = _verdict(costs_g, row.slot_indices[0], standing.get(each.work.uid), grid, settings)
        verdicts.append(verdict)
        slots = tuple(range(index, index + each.slots))
        chosen.append(replace(row, slot_indices=slots, operational_g=float(costs_g[index]), transfer_g=0.0))
    kept = replace(placement, assignments=tuple(chosen))
    decisions = decisions_from(
        placement=kept, baseline=None, jobs=jobs, fleet=fleet, forecasts=forecasts, decided_at_s=int(now_s)
    )
    for each, decision, verdict in zip(drafts, decisions, verdicts, strict=True):
        if verdict is not None:
            made[each.work.uid] = _plan(each, decision, verdict, now_s, each.slots * grid.step_s)
    return made


def _costs_g(
    job: Job, region: Region, forecasts: Mapping[str, Forecast], grid: SlotGrid, slots: int
) -> NDArray[np.float64]:
    """Return what a job emits in a region for each slot that it could start in, shape (slots,)."""
    forecast = forecasts[region.grid_zone]
    offset = forecast.slots.offset_of(grid)
    rate = forecast.mean_g_per_kwh[offset : offset + len(grid)]
    sums = np.concatenate([[0.0], np.cumsum(rate)])
    means = (sums[slots:] - sums[:-slots]) / slots
    kwh = job.vcpus * region.power_w_per_vcpu * region.pue * job.duration_s / 3.6e6
    return means * kwh


def _verdict(
    costs_g: NDArray[np.float64],
    index: int,
    standing_s: float | None,
    grid: SlotGrid,
    settings: GatesSettings,
) -> tuple[Why | None, int]:
    """Say whether a start is worth waiting for; None where the one that stands is as good."""
    at_once_g = float(costs_g[0])
    if at_once_g - float(costs_g[index]) <= settings.min_saving_share * at_once_g:
        index = 0
    if standing_s is not None and standing_s >= grid.start_s:
        stands = min(int((standing_s - grid.start_s) // grid.step_s), len(costs_g) - 1)
        gain_g = float(costs_g[stands]) - float(costs_g[index])
        if stands == index or gain_g < settings.replan_gain_share * at_once_g:
            return None, stands
    return (Why.NO_SAVING if index == 0 else Why.PLANNED), index


def _plan(draft: _Draft, decision: Decision, why: Why, now_s: float, held_s: float) -> Plan:
    work, saving_g = draft.work, decision.avoided_g
    latest = format_time(work.terms.latest_s)
    if why is Why.NO_SAVING:
        start_s = now_s
        reason = f"Starts at once: no start until {latest} saves enough to wait for."
        saving_g = 0.0
    else:
        start_s = float(decision.start_s)
        share = saving_g / decision.counterfactual_g if decision.counterfactual_g else 0.0
        reason = (
            f"Waits until {format_time(start_s)}: expected {format_mass(decision.operational_g)} instead of "
            f"{format_mass(decision.counterfactual_g)} at once in {decision.region}, saves "
            f"{format_mass(saving_g)} ({share:.0%}); starts at the latest at {latest}."
        )
    booked = replace(decision, subject=work.subject, reason=reason) if draft.whole else None
    return Plan(
        start_s=start_s,
        why=why,
        reason=reason,
        saving_g=saving_g,
        decision=booked,
        vcpus=draft.job.vcpus,
        region=decision.region,
        end_s=start_s + held_s,
    )

"""An independent validator of failover plans: slow, plain, and sharing no code with the solver.

It counts threads one by one in ordinary Python numbers: for each failure group,
whether what survives covers every service, and whether every region can hold it.
`replay` does the same hour by hour with the demand of each hour.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.errors import PlanRefused
from aicsched.place.failover.plan import FailoverMode

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from aicsched.domain.service import Service
    from aicsched.place.failover.plan import FailoverPlan
    from aicsched.slots import SlotGrid

__all__ = ["FailoverReport", "Replay", "check_failover", "replay"]

# A linear programme keeps its limits to about 1e-8 of their size.
_RELATIVE: Final = 1e-7
_FAULTS_SHOWN: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class FailoverReport:
    """What the validator worked out.

    Parameters
    ----------
    services, losses : int
        Services and losses of a group that were checked against each other.
    total_g : float
        Emissions of the plan, recomputed [g/h].
    fullest_share : float
        Highest use of any region as a share of its capacity, in any loss.
    fullest_region, fullest_loss : str
        Where and when that is.
    """

    services: int
    losses: int
    total_g: float
    fullest_share: float
    fullest_region: str
    fullest_loss: str


def _places(plan: FailoverPlan, row: int) -> list[int]:
    return [int(region) for region in plan.problem.allowed[row] if region >= 0]


def _service_faults(plan: FailoverPlan, row: int, demand: float) -> Iterator[str]:
    """Yield what is wrong with one service: its work, its reserve, and each loss."""
    problem = plan.problem
    who, slack = f"service '{problem.service_ids[row]}'", _RELATIVE * demand
    places = _places(plan, row)
    used = [float(value) for value in plan.used_vcpus[row]]
    held = [float(value) for value in plan.reserved_vcpus[row]]
    for at in range(len(used)):
        if min(used[at], held[at]) < 0 or (at >= len(places) and max(used[at], held[at]) > 0):
            yield f"{who} holds {held[at]!r} and uses {used[at]!r} vCPUs where it can't"
        if used[at] > held[at] + slack:
            name = problem.regions[places[at]]
            yield f"{who} uses {used[at]:g} of {held[at]:g} vCPUs that it holds in '{name}'"
    if abs(math.fsum(used) - demand) > slack:
        yield f"{who} needs {demand:g} vCPUs and uses {math.fsum(used):g}"
    for group, name in enumerate(problem.groups):
        left = [at for at, region in enumerate(places) if int(problem.group[region]) != group]
        if len(left) == len(places):
            continue
        alive = math.fsum(held[at] for at in left)
        if plan.mode is FailoverMode.SHARED:
            gone = [at for at in range(len(places)) if at not in left]
            alive += math.fsum(float(plan.moved_vcpus[row, one, other]) for one in gone for other in left)
        if alive < demand - slack:
            yield f"{who} has {alive:g} of {demand:g} vCPUs left when '{name}' is lost"


def _loads(plan: FailoverPlan) -> dict[tuple[int, int], float]:
    """Return what each region must hold when each group is lost, by (group, region)."""
    problem = plan.problem
    base = [0.0] * len(problem.regions)
    moved: dict[tuple[int, int], float] = {}
    for row in range(len(problem.service_ids)):
        places = _places(plan, row)
        for at, region in enumerate(places):
            base[region] += float(plan.reserved_vcpus[row, at])
            if plan.mode is FailoverMode.SHARED:
                for other, refuge in enumerate(places):
                    cell = (int(problem.group[region]), refuge)
                    moved[cell] = moved.get(cell, 0.0) + float(plan.moved_vcpus[row, at, other])
    return {
        (group, region): base[region] + moved.get((group, region), 0.0)
        for group in range(len(problem.groups))
        for region in range(len(base))
        if int(problem.group[region]) != group
    }


def _grams(plan: FailoverPlan) -> float:
    problem = plan.problem
    used: list[float] = []
    work: list[float] = []
    held = [0.0] * len(problem.regions)
    for row in range(len(problem.service_ids)):
        for at, region in enumerate(_places(plan, row)):
            threads = float(plan.used_vcpus[row, at])
            work.append(threads * float(problem.use_g[row, at]))
            used.append(threads * float(problem.idle_g[region]))
            held[region] += float(plan.reserved_vcpus[row, at]) - threads
    if plan.mode is FailoverMode.SHARED:
        base = {
            region: math.fsum(float(v) for v in plan.reserved_vcpus[plan.problem.allowed == region])
            for region in range(len(held))
        }
        held = [0.0] * len(held)
        for (_, region), load in _loads(plan).items():
            held[region] = max(held[region], load - base[region])
    idle = [spare * float(problem.idle_g[region]) for region, spare in enumerate(held)]
    return math.fsum([*work, *used, *idle])


def check_failover(plan: FailoverPlan) -> FailoverReport:
    """Prove that a plan outlives the loss of any one group.

    Parameters
    ----------
    plan : FailoverPlan
        With what was asked.

    Returns
    -------
    FailoverReport
        With the recomputed total.

    Raises
    ------
    PlanRefused
        A service isn't covered when some group is lost, a region would hold more than it can, grams
        are off by more than 1e-7, or the bound is no bound; services, regions and amounts are named.
    """
    problem = plan.problem
    faults: list[str] = []
    for row in range(len(problem.service_ids)):
        faults += _service_faults(plan, row, float(problem.demand_vcpus[row]))
    fullest, where = 0.0, (0, 0)
    for (group, region), load in _loads(plan).items():
        room = float(problem.capacity_vcpus[region])
        share = load / room if room else math.inf if load else 0.0
        if share > fullest:
            fullest, where = share, (group, region)
        if load > room * (1 + 2 * _RELATIVE):
            name, lost = problem.regions[region], problem.groups[group]
            faults.append(f"region '{name}' must hold {load:g} of {room:g} vCPUs when '{lost}' is lost")
    total_g, proof = _grams(plan), plan.certificate
    if abs(proof.objective_g - total_g) > _RELATIVE * max(abs(total_g), 1e-12):
        faults.append(f"the certificate says {proof.objective_g!r} g, the plan emits {total_g!r} g")
    if proof.lower_bound_g > proof.objective_g + _RELATIVE * abs(proof.objective_g):
        faults.append(f"the bound {proof.lower_bound_g!r} g lies above the plan's {proof.objective_g!r} g")
    if faults:
        more = f" and {len(faults) - _FAULTS_SHOWN} more" if len(faults) > _FAULTS_SHOWN else ""
        msg = f"the failover plan breaks its limits: {'; '.join(faults[:_FAULTS_SHOWN])}{more}"
        raise PlanRefused(msg, hint="this is a defect: report it with the problem", value=faults)
    return FailoverReport(
        services=len(problem.service_ids),
        losses=len(problem.groups),
        total_g=total_g,
        fullest_share=fullest,
        fullest_region=problem.regions[where[1]],
        fullest_loss=problem.groups[where[0]],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """A plan lived through: every group lost in every slot.

    Parameters
    ----------
    losses : int
        Losses tried: groups × slots.
    served : int
        Pairs of a loss and a service that were covered.
    violations : tuple of str
        The first few that were not, with service or region, loss, slot and amount.
    violated : int
        How many there are in all.
    least_spare_vcpus : float
        Smallest room left in any surviving region in any of them [vCPUs].
    """

    losses: int
    served: int
    violations: tuple[str, ...]
    violated: int
    least_spare_vcpus: float


def replay(plan: FailoverPlan, services: Sequence[Service], slots: SlotGrid) -> Replay:
    """Lose every group in every slot, with the demand of that slot.

    Parameters
    ----------
    plan : FailoverPlan
        Made for these services.
    services : sequence of Service
        With their hourly shares.
    slots : SlotGrid
        For example the hours of a week.

    Returns
    -------
    Replay
        With every violation counted. A surviving region serves a service in proportion to what
        it holds for it there, and never more than that.
    """
    problem = plan.problem
    share = np.array([service.share_in(slots) for service in services])
    demand = np.array([service.vcpus for service in services])[:, None] * share
    words: list[str] = []
    violated, served, least = 0, 0, math.inf
    for group, name in enumerate(problem.groups):
        lost = (problem.group[problem.allowed] == group) & (problem.allowed >= 0)
        held = np.where(lost, 0.0, plan.reserved_vcpus)
        if plan.mode is FailoverMode.SHARED:
            held = held + np.where(lost[:, :, None] & ~lost[:, None, :], plan.moved_vcpus, 0.0).sum(axis=1)
        alive = held.sum(axis=1)
        short = demand - alive[:, None]
        bad = short > _RELATIVE * demand
        served += int((~bad).sum())
        violated += int(bad.sum())
        for row, slot in np.argwhere(bad)[:_FAULTS_SHOWN].tolist():
            lack = f"lacks {short[row, slot]:g} vCPUs in slot {slot} without '{name}'"
            words.append(f"'{problem.service_ids[row]}' {lack}")
        taken = np.minimum(demand / np.maximum(alive, 1e-300)[:, None], 1.0)
        for region in range(len(problem.regions)):
            here = np.where((problem.allowed == region) & ~lost, held, 0.0).sum(axis=1)
            room = problem.capacity_vcpus[region] * (1 + 2 * _RELATIVE) - here @ taken
            if problem.group[region] == group:
                continue
            least = min(least, float(room.min()))
            violated += int((room < 0).sum())
            for slot in np.flatnonzero(room < 0)[:_FAULTS_SHOWN].tolist():
                over = f"{-room[slot]:g} vCPUs too many in slot {slot} without '{name}'"
                words.append(f"region '{problem.regions[region]}' holds {over}")
    return Replay(
        losses=len(problem.groups) * len(slots),
        served=served,
        violations=tuple(words[:_FAULTS_SHOWN]),
        violated=violated,
        least_spare_vcpus=least,
    )

"""A drill on paper: a failure group is lost, who lives on where, and how soon.

With a failover plan, work moves into what was reserved for it. Without one, it goes
where room is left, the urgent first. The time to recover adds up as it does in a
runbook: detect, start pods and restore data side by side, shift traffic. Every fact
is a low, a usual and a high value; the time is a distribution, never one number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from aicsched.capacity.facts import DrillFacts
from aicsched.errors import InputError, did_you_mean
from aicsched.place.failover.evacuate import evacuate
from aicsched.place.failover.plan import FailoverMode
from aicsched.place.failover.problem import places_of, service_capacity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from aicsched.domain.fleet import Fleet
    from aicsched.domain.service import Service
    from aicsched.place.failover.plan import FailoverPlan

    Floats = NDArray[np.float64]

__all__ = ["DrillResult", "DrillRow", "run_drill"]

_NOTHING: Final = 1e-9
_DRAWS: Final = 2000
_SHOWN: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillRow:
    """One service that was hit.

    Parameters
    ----------
    service_id : str
        Which.
    lost_vcpus, unserved_vcpus : float
        Threads that were lost, and that find no room.
    moved_vcpus : dict of str to float
        Threads by the region they go to.
    rto_s : tuple of float
        Best case, median, 95 % quantile and worst case until it is whole again [s]; inf where part
        of it finds no room.
    rpo_s : float
        Data that is lost, in seconds of work; NaN where nobody knows.
    meets_rto, meets_rpo : bool
        Whether the 95 % quantile and the lag keep what the runbook promises; what is unknown doesn't.
    """

    service_id: str
    lost_vcpus: float
    unserved_vcpus: float
    moved_vcpus: dict[str, float]
    rto_s: tuple[float, float, float, float]
    rpo_s: float
    meets_rto: bool
    meets_rpo: bool

    def sentence(self) -> str:
        """Say it in one sentence.

        Returns
        -------
        str
            For people.
        """
        went = sorted(self.moved_vcpus.items(), key=lambda item: (-item[1], item[0]))
        places = ", ".join(f"{name} takes {vcpus:.4g}" for name, vcpus in went[:_SHOWN])
        more = f" and {len(went) - _SHOWN} more" if len(went) > _SHOWN else ""
        start = f"{self.service_id} loses {self.lost_vcpus:.4g} vCPUs"
        if self.unserved_vcpus:
            taken = f"; {places}{more}" if places else ""
            return f"{start} and {self.unserved_vcpus:.4g} find no room{taken}"
        low, usual, late, high = self.rto_s
        when = f"back in {usual:.0f} s (95 %: {late:.0f} s; {low:.0f} to {high:.0f} s)"
        known = "unknown" if math.isnan(self.rpo_s) else f"{self.rpo_s:.0f} s"
        return f"{start}; {places}{more}; {when}, data lost: {known}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillResult:
    """What a loss does.

    Parameters
    ----------
    lost : str
        The failure group.
    lost_regions : tuple of str
        Its regions.
    reserved : bool
        Whether work moved into a reserve of a plan, or into what room was left.
    rows : tuple of DrillRow
        Services that were hit, the largest loss first.
    capacity_vcpus, before_vcpus, after_vcpus : dict of str to float
        Per region: what services may use, and what they use before and after.
    gap : float
        Share by which a better way could beat this one, proven: 0 with a plan, whose reserve is all
        there is to decide.
    facts : DrillFacts
        What the times are made of.
    seed : int
        Of the draws.
    """

    lost: str
    lost_regions: tuple[str, ...]
    reserved: bool
    rows: tuple[DrillRow, ...]
    capacity_vcpus: dict[str, float]
    before_vcpus: dict[str, float]
    after_vcpus: dict[str, float]
    gap: float
    facts: DrillFacts = field(default_factory=DrillFacts)
    seed: int = 0

    @property
    def lost_vcpus(self) -> float:
        """Threads that were lost."""
        return math.fsum(row.lost_vcpus for row in self.rows)

    @property
    def unserved_vcpus(self) -> float:
        """Threads that find no room."""
        return math.fsum(row.unserved_vcpus for row in self.rows)

    @property
    def survives(self) -> bool:
        """Whether every service is whole again."""
        return not any(row.unserved_vcpus for row in self.rows)

    def summary(self) -> dict[str, Any]:
        """Return the facts as plain values.

        Returns
        -------
        dict
            For JSON; a time that never comes is None.
        """
        return {
            "lost": self.lost,
            "lost_regions": list(self.lost_regions),
            "reserved": self.reserved,
            "survives": self.survives,
            "services_hit": len(self.rows),
            "lost_vcpus": self.lost_vcpus,
            "unserved_vcpus": self.unserved_vcpus,
            "meets_rto": sum(row.meets_rto for row in self.rows),
            "meets_rpo": sum(row.meets_rpo for row in self.rows),
            "rto_limit_s": self.facts.rto_limit_s,
            "rpo_limit_s": self.facts.rpo_limit_s,
            "gap": self.gap,
            "seed": self.seed,
            "before_vcpus": self.before_vcpus,
            "after_vcpus": self.after_vcpus,
            "capacity_vcpus": self.capacity_vcpus,
            "services": [
                {
                    "service_id": row.service_id,
                    "lost_vcpus": row.lost_vcpus,
                    "unserved_vcpus": row.unserved_vcpus,
                    "moved_vcpus": row.moved_vcpus,
                    "rto_s": dict(zip(("best", "median", "p95", "worst"), row.rto_s, strict=True)),
                    "rpo_s": row.rpo_s,
                    "sentence": row.sentence(),
                }
                for row in self.rows
            ],
        }


# ---------------------------------------------------------------- where work goes
def _by_plan(plan: FailoverPlan, lost: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Return what works where before, and what arrives where, both (S, R)."""
    problem = plan.problem
    known, rows = np.maximum(problem.allowed, 0), np.arange(len(problem.service_ids))
    gone = lost[known] & (problem.allowed >= 0)
    if plan.mode is FailoverMode.SHARED:
        arrived = np.where(gone[:, :, None], plan.moved_vcpus, 0.0).sum(axis=1)
    else:
        room = np.where(gone, 0.0, plan.reserved_vcpus - plan.used_vcpus)
        away = np.where(gone, plan.used_vcpus, 0.0).sum(axis=1)
        total = room.sum(axis=1)
        share = np.where(total > 0, np.minimum(away / np.where(total > 0, total, 1.0), 1.0), 0.0)
        arrived = room * share[:, None]
    before, after = (np.zeros((len(rows), len(problem.regions))) for _ in range(2))
    for at in range(known.shape[1]):
        before[rows, known[:, at]] += plan.used_vcpus[:, at]
        after[rows, known[:, at]] += arrived[:, at]
    return before, after


def _as_is(
    services: Sequence[Service],
    fleet: Fleet,
    capacity: Mapping[str, float],
    lost: NDArray[np.bool_],
    cost_g: Mapping[str, float],
) -> tuple[Floats, Floats, float]:
    """Return what works where before, what arrives where, and the proven gap: nothing was reserved."""
    names = [region.name for region in fleet.regions]
    before = np.zeros((len(services), len(names)))
    for row, service in enumerate(services):
        before[row, names.index(service.home_region)] = service.vcpus
    free = np.array([capacity[name] for name in names]) - before.sum(axis=0)
    room = np.where(lost, 0.0, np.maximum(free, 0.0))
    places = [[at for at in places_of(item, fleet, capacity) if not lost[at]] for item in services]
    away = before[:, lost].sum(axis=1)
    cost = np.array([cost_g.get(name, 0.0) for name in names])
    found = evacuate(away, places, room, cost, [service.priority for service in services])
    gap = (found.objective - found.bound) / found.objective if found.objective > 0 else 0.0
    return before, found.arrived_vcpus, gap


# ---------------------------------------------------------------- how soon
def _queued(amount: Floats, priority: NDArray[np.int64]) -> Floats:
    """Return per service and region what must be done by the time its own share is, (S, R).

    Services of one priority are served together: each waits for all of them.
    """
    made = np.zeros(amount.shape)
    for level in np.unique(priority).tolist():
        made[priority == level] = amount[priority >= level].sum(axis=0)
    return np.where(amount > 0, made, 0.0)


def _times(
    arrived: Floats, services: Sequence[Service], away: Floats, facts: DrillFacts, seed: int
) -> Floats:
    """Return best case, median, 95 % quantile and worst case per service, (S, 4)."""
    priority = np.array([service.priority for service in services])
    pod = np.array([service.vcpus_per_pod for service in services])
    data_gb = np.array([service.data_gb for service in services])
    pods = np.zeros(arrived.shape) if facts.warm else np.ceil(arrived / pod[:, None] - _NOTHING)
    share = arrived / np.where(away > 0, away, 1.0)[:, None]
    pods_before = _queued(pods, priority).max(axis=1)
    data_before = _queued(share * data_gb[:, None], priority).max(axis=1)

    def total(detect: Floats, shift: Floats, start: Floats, rate: Floats, restore: Floats) -> Floats:
        ready = np.where(pods_before[:, None] > 0, start + pods_before[:, None] / rate, 0.0)
        return detect + shift + np.maximum(ready, data_before[:, None] / restore)

    rng = np.random.default_rng(seed)
    slow = (facts.detection_s, facts.shift_s, facts.pod_start_s)
    fast = (facts.pods_per_s, facts.restore_gb_per_s)
    drawn = total(*(item.draw(rng, _DRAWS) for item in (*slow, *fast)))
    best = total(*(np.array([item.low]) for item in slow), *(np.array([item.high]) for item in fast))
    worst = total(*(np.array([item.high]) for item in slow), *(np.array([item.low]) for item in fast))
    return np.concatenate([best, np.quantile(drawn, (0.5, 0.95), axis=1).T, worst], axis=1)


def _row(
    service: Service, away: float, arrived: Floats, times_s: Floats, names: Sequence[str], facts: DrillFacts
) -> DrillRow:
    left = away - float(arrived.sum())
    unserved = left if left > _NOTHING * service.vcpus else 0.0
    low, usual, late, high = (math.inf,) * 4 if unserved else times_s.tolist()
    return DrillRow(
        service_id=service.service_id,
        lost_vcpus=away,
        unserved_vcpus=unserved,
        moved_vcpus={
            name: vcpus
            for name, vcpus in zip(names, arrived.tolist(), strict=True)
            if vcpus > _NOTHING * service.vcpus
        },
        rto_s=(low, usual, late, high),
        rpo_s=service.replication_lag_s,
        meets_rto=late <= facts.rto_limit_s,
        meets_rpo=service.replication_lag_s <= facts.rpo_limit_s,
    )


def run_drill(  # noqa: PLR0913 - one keyword per fact
    services: Sequence[Service],
    fleet: Fleet,
    lost: str,
    *,
    plan: FailoverPlan | None = None,
    capacity_vcpus: Mapping[str, float] | None = None,
    cost_g_per_vcpu_h: Mapping[str, float] | None = None,
    facts: DrillFacts | None = None,
    seed: int = 0,
) -> DrillResult:
    """Lose a failure group, and tell who lives on where, and how soon.

    Parameters
    ----------
    services : sequence of Service
        Always-on work, at its peak.
    fleet : Fleet
        Regions with their failure groups.
    lost : str
        A failure group, or a region, whose whole group is lost.
    plan : FailoverPlan, optional
        Made for these services and this fleet; without one all work is at home and moves to what
        room is left.
    capacity_vcpus : mapping of str to float, optional
        Threads that services may use, per region; by default `service_capacity`.
    cost_g_per_vcpu_h : mapping of str to float, optional
        Grams of a thread per region, which choose among ways that serve as much [g/h].
    facts : DrillFacts, optional
        What the time to recover is made of.
    seed : int
        Of the draws.

    Returns
    -------
    DrillResult
        Equal input gives an equal result.

    Raises
    ------
    InputError
        There is no such group, a service names an unknown region, the plan is of other services, or pods
        are said to be warm without a reserve of their own.
    """
    names = [region.name for region in fleet.regions]
    groups = [region.failure_group or region.name for region in fleet.regions]
    group = lost if lost in groups else dict(zip(names, groups, strict=True)).get(lost)
    if group is None:
        msg = f"the fleet has no failure group or region '{lost}'"
        raise InputError(msg, hint=did_you_mean(lost, [*groups, *names]), value=lost)
    gone = np.array([item == group for item in groups])
    facts = facts or DrillFacts()
    if facts.warm and (plan is None or plan.mode is FailoverMode.SHARED):
        msg = "pods can't run already where no service has a reserve of its own"
        raise InputError(msg, hint="leave warm out, or plan with a dedicated reserve")
    capacity = service_capacity(fleet) | dict(capacity_vcpus or {})
    gap = 0.0
    if plan is None:
        before, arrived, gap = _as_is(services, fleet, capacity, gone, cost_g_per_vcpu_h or {})
    else:
        ids = tuple(service.service_id for service in services)
        if plan.problem.service_ids != ids or plan.problem.regions != tuple(names):
            msg = "the plan is of other services or regions"
            raise InputError(msg, hint="make it from the same files")
        before, arrived = _by_plan(plan, gone)
        capacity = dict(zip(names, plan.problem.capacity_vcpus.tolist(), strict=True))
    away = before[:, gone].sum(axis=1)
    times_s = _times(arrived, services, away, facts, seed)
    rows = [
        _row(service, float(away[at]), arrived[at], times_s[at], names, facts)
        for at, service in enumerate(services)
        if away[at] > _NOTHING * service.vcpus
    ]
    after = np.where(gone, 0.0, before).sum(axis=0) + arrived.sum(axis=0)
    return DrillResult(
        lost=group,
        lost_regions=tuple(name for name, item in zip(names, groups, strict=True) if item == group),
        reserved=plan is not None,
        rows=tuple(sorted(rows, key=lambda row: (-row.lost_vcpus, row.service_id))),
        capacity_vcpus={name: float(capacity[name]) for name in names},
        before_vcpus=dict(zip(names, before.sum(axis=0).tolist(), strict=True)),
        after_vcpus=dict(zip(names, after.tolist(), strict=True)),
        gap=gap,
        facts=facts,
        seed=seed,
    )

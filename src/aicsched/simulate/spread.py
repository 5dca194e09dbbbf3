"""One policy over several sites: who ran where, what it emitted, and what losses did."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from aicsched.place.online.protocol import ArrivalPolicy
from aicsched.place.online.registry import ROAMING, make_online
from aicsched.place.online.roaming import RoamingPrice
from aicsched.place.online.rooms import Capped
from aicsched.place.online.sites import SitesBatch
from aicsched.simulate.engine import carry_out, plan_batch, refuse_short
from aicsched.simulate.events import EventEngine
from aicsched.simulate.log import RunLog, bill, measure, peak
from aicsched.simulate.workload import Workload
from aicsched.slots import HOUR_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from aicsched.place.online.plans import RunPlans
    from aicsched.place.online.protocol import OnlinePolicy, OraclePolicy
    from aicsched.place.online.sites import RoamingPolicy
    from aicsched.simulate.log import Metrics
    from aicsched.simulate.sites import Reach, Sites

__all__ = ["SiteFacts", "SitesOutcome", "simulate_sites"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteFacts:
    """What happened at one site.

    Parameters
    ----------
    carbon_g : float
        What its runs emitted, without moves [g].
    vcpu_h, peak_vcpus : float
        Thread-hours, and the most threads that were busy at once.
    """

    carbon_g: float
    vcpu_h: float
    peak_vcpus: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SitesOutcome:
    """What a policy did.

    Parameters
    ----------
    policy : str
        Its name.
    metrics : Metrics
        The numbers of all sites together.
    by_site : dict of str to SiteFacts
        Those of each.
    log : RunLog
        Each run, with its site.
    lengths : str
        What it knew of lengths.
    roams : bool
        It chose sites; otherwise jobs ran at home.
    oracle_forecast : bool
        Its forecasts were the truth.
    """

    policy: str
    metrics: Metrics
    by_site: dict[str, SiteFacts]
    log: RunLog
    lengths: str
    roams: bool
    oracle_forecast: bool


def simulate_sites(
    policy: str | OnlinePolicy | OraclePolicy | RoamingPolicy,
    workload: Workload,
    sites: Sites,
    reach: Reach,
    *,
    by_events: bool = False,
) -> SitesOutcome:
    """Run a policy over a workload of several sites.

    Parameters
    ----------
    policy : str or OnlinePolicy or OraclePolicy or RoamingPolicy
        ``"price"`` and ``"mpc"`` choose sites; any other name, and any policy that doesn't roam,
        decides on each site's own jobs, which run at home.
    workload : Workload
        The jobs.
    sites : Sites
        Where they may run, with caps and outages.
    reach : Reach
        Which may run where.
    by_events : bool
        Go event by event where arrays would do, too; the outcome is the same.

    Returns
    -------
    SitesOutcome
        The log and its numbers.

    Notes
    -----
    When a site is lost, what runs there loses what it had not saved. Where the policy
    roams, its jobs are asked about again, and begin elsewhere after ``restart_s`` at the
    soonest; otherwise they go on at home when it is back. Moving data takes grams, not time.

    Raises
    ------
    SignalGap
        An intensity ends before the jobs do.
    ConfigError
        The policy is unknown, or sends a job where it may not run.

    Examples
    --------
    >>> import numpy as np
    >>> from aicsched.simulate import Queues, Reach, Site, Sites, Trace, Truth, Workload
    >>> jobs = Trace(arrival_s=np.zeros(1), length_s=np.array([3600.0]), vcpus=np.ones(1))
    >>> work = Workload.of(jobs, Queues.parse("2"))
    >>> grids = {"north": [300.0, 300.0, 300.0], "south": [400.0, 100.0, 400.0]}
    >>> two = Sites(
    ...     sites=tuple(Site(name=name, truth=Truth(g_per_kwh=np.array(row))) for name, row in grids.items())
    ... )
    >>> made = simulate_sites("price", work, two, Reach.of(two, ["north"]))
    >>> round(made.metrics.carbon_g, 3), made.log.start_s.tolist(), made.metrics.moves
    (0.1, [3600.0], 1)
    """
    chosen = _made(policy) if isinstance(policy, str) else policy
    _refuse_short(workload, sites, reach)
    worlds = [site.world for site in sites.sites]
    plain = not (by_events or any(world.capped or world.outages for world in worlds))
    if plain and isinstance(chosen, ArrivalPolicy):
        log = _at_home(chosen, workload, sites, reach)
    elif plain and isinstance(chosen, RoamingPrice):
        log = _anywhere(chosen, workload, sites, reach)
    else:
        capped = isinstance(chosen, ArrivalPolicy) and any(world.capped for world in worlds)
        decider = Capped(chosen) if capped else chosen  # type: ignore[arg-type]
        log = EventEngine(decider, workload, sites, reach).go()
    for number, site in enumerate(sites.sites):
        refuse_short(site.truth, float(log.at(number).stop_s.max(initial=0.0)))
    return _outcome(chosen, log, workload, sites)


def _made(name: str) -> OnlinePolicy | OraclePolicy | RoamingPolicy:
    roaming = ROAMING.get(name.strip().lower())
    return make_online(name) if roaming is None else roaming()


def _refuse_short(workload: Workload, sites: Sites, reach: Reach) -> None:
    jobs = workload.pending
    latest = jobs.arrival_s + jobs.max_wait_s + workload.length_s
    for number, site in enumerate(sites.sites):
        within = np.isfinite(reach.transfer_g[:, number])
        refuse_short(site.truth, float(latest[within].max(initial=0.0)))


def _outcome(
    policy: OnlinePolicy | OraclePolicy | RoamingPolicy, log: RunLog, workload: Workload, sites: Sites
) -> SitesOutcome:
    facts: dict[str, SiteFacts] = {}
    cost = 0.0
    for number, site in enumerate(sites.sites):
        part = log.at(number)
        facts[site.name] = SiteFacts(
            carbon_g=float(part.grams(site.truth, site.watts_per_vcpu).sum()),
            vcpu_h=float(((part.stop_s - part.start_s) * part.vcpus).sum()) / HOUR_S,
            peak_vcpus=peak(part),
        )
        cost += bill(part, site.world.costs, reserved_vcpus=site.world.reserved_vcpus)
    moved_g = sum(grams for _, _, grams in log.moves)
    carbon_g = sum(fact.carbon_g for fact in facts.values()) + moved_g
    return SitesOutcome(
        policy=policy.name,
        metrics=measure(log, workload, carbon_g=carbon_g, cost=cost),
        by_site=facts,
        log=log,
        lengths=policy.lengths,
        roams=bool(getattr(policy, "roaming", False)),
        oracle_forecast=all(site.known.oracle for site in sites.sites),
    )


# ---------------------------------------------------------------- on arrays


def _at_home(policy: ArrivalPolicy, workload: Workload, sites: Sites, reach: Reach) -> RunLog:
    def plan(rows: NDArray[np.int64], number: int) -> RunPlans:
        return plan_batch(policy, _part(workload, rows), sites.sites[number].known)

    return _joined(workload, sites, reach, reach.home, plan)


def _anywhere(policy: RoamingPrice, workload: Workload, sites: Sites, reach: Reach) -> RunLog:
    jobs = workload.pending
    vintages = tuple(site.known for site in sites.sites)
    made = policy.plan_sites(
        SitesBatch(
            jobs=jobs,
            home=reach.home,
            transfer_g=reach.transfer_g,
            ready_s=jobs.arrival_s,
            vintages=vintages,
            row=np.stack([known.known_at(jobs.arrival_s) for known in vintages], axis=1),
            watts_per_vcpu=np.array([site.watts_per_vcpu for site in sites.sites]),
        )
    )
    return _joined(workload, sites, reach, made.site, lambda rows, _: made.plans.take(rows))


def _part(workload: Workload, rows: NDArray[np.int64]) -> Workload:
    return Workload(pending=workload.pending.take(rows), length_s=workload.length_s[rows])


def _joined(
    workload: Workload,
    sites: Sites,
    reach: Reach,
    where: NDArray[np.int64],
    plan: Callable[[NDArray[np.int64], int], RunPlans],
) -> RunLog:
    """Let each site's jobs run there, and put the logs together."""
    left, lost = np.zeros(len(workload)), np.zeros(len(workload))
    parts: list[RunLog] = []
    for number, site in enumerate(sites.sites):
        rows = np.flatnonzero(where == number)
        if not len(rows):
            continue
        log = carry_out(plan(rows, number), _part(workload, rows), site.world)
        left[rows], lost[rows] = log.left_s, log.lost_s
        parts.append(replace(log, job=rows[log.job], site=np.full(len(log.job), number, dtype=np.int64)))
    columns = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("job", "start_s", "stop_s", "vcpus", "machine", "site")
    }
    order = np.lexsort((columns["start_s"], columns["job"]))
    away = np.flatnonzero(where != reach.home).tolist()
    return RunLog(
        job=columns["job"][order],
        start_s=columns["start_s"][order],
        stop_s=columns["stop_s"][order],
        vcpus=columns["vcpus"][order],
        machine=columns["machine"][order],
        site=columns["site"][order],
        left_s=left,
        lost_s=lost,
        preempted=sum(part.preempted for part in parts),
        moves=tuple((job, int(where[job]), float(reach.transfer_g[job, where[job]])) for job in away),
    )

"""Many simulations: policies, starts, waits and pools, in this process or in many."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from itertools import product
from typing import TYPE_CHECKING, Any

from aicsched.errors import ConfigError
from aicsched.executor import SerialExecutor
from aicsched.place.online.registry import ONLINE, make_online
from aicsched.simulate.engine import World
from aicsched.simulate.run import simulate
from aicsched.simulate.spread import simulate_sites
from aicsched.simulate.truth import Truth
from aicsched.simulate.workload import Queues, Trace, Workload
from aicsched.slots import HOUR_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aicsched.executor import Executor
    from aicsched.simulate.sites import Reach, Sites

__all__ = ["Case", "Places", "Result", "cases", "sweep"]

BASELINE = "no_wait"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One simulation of a sweep.

    Parameters
    ----------
    policy : str
        A name of `aicsched.place.online.ONLINE`.
    start_h : float
        Hours of the intensity to leave out.
    queues : Queues
        Limits and waits.
    world : World
        Machines, prices and what goes wrong.
    tick_s : float
        Times are rounded down to this; 0 leaves them as they are [s].
    knows : str
        What is known of lengths, as in `Workload.of`.
    """

    policy: str
    start_h: float = 0.0
    queues: Queues = field(default_factory=Queues)
    world: World = field(default_factory=World)
    tick_s: float = 0.0
    knows: str = "mean"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of a case, without the log.

    Parameters
    ----------
    case : Case
        The case.
    baseline_g : float
        What the same jobs emit where nobody waits [g].
    facts : dict of str to float
        `Metrics` as a dictionary.
    lengths : str
        What the policy knew of lengths.
    oracle_forecast : bool
        Its forecast was the truth.
    regions : dict of str to dict, optional
        What happened at each of several sites: ``carbon_g``, ``vcpu_h`` and ``peak_vcpus``.
    roams : bool
        The policy chose among them.
    """

    case: Case
    baseline_g: float
    facts: dict[str, Any]
    lengths: str
    oracle_forecast: bool
    regions: dict[str, Any] | None = None
    roams: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return the row of a table: a saving with all that it depends on.

        Returns
        -------
        dict of str to value
            With ``policy``, ``carbon_ratio``, ``mean_wait_h`` and ``cost`` among others.
        """
        case, carbon_g = self.case, self.facts["carbon_g"]
        ratio = carbon_g / self.baseline_g if self.baseline_g > 0 else float("nan")
        several = {"regions": self.regions, "region_choice": "chosen" if self.roams else "home"}
        return {
            "policy": case.policy,
            "carbon_ratio": ratio,
            "saved_share": 1.0 - ratio,
            **self.facts,
            "lengths": self.lengths,
            "knows": case.knows,
            "forecast": "oracle" if self.oracle_forecast else "vintages",
            "start_hour": case.start_h,
            "slack_h": [wait / HOUR_S for wait in case.queues.waits_s],
            "capacity": {
                "reserved_vcpus": case.world.reserved_vcpus,
                "on_demand_vcpus": None,
                "cap_vcpus": None if not case.world.capped else case.world.cap_vcpus,
            },
            **({} if self.regions is None else several),
        }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Places:
    """Several sites for a sweep.

    Parameters
    ----------
    sites : Sites
        Caps, outages, prices and watts are those of their worlds; all else is the case's.
    reach : Reach
        Of the jobs in the order of their arrival.
    """

    sites: Sites
    reach: Reach

    def of(self, case: Case) -> Sites:
        """Return the sites of a case, from its start on.

        Parameters
        ----------
        case : Case
            The case.

        Returns
        -------
        Sites
            With what the case says of machines.
        """
        kept = ("cap_vcpus", "outages", "costs")
        plain = replace(case.world, tick_s=case.tick_s)
        return replace(
            self.sites,
            sites=tuple(
                replace(
                    site,
                    truth=_from(site.truth, case.start_h),
                    world=replace(plain, **{name: getattr(site.world, name) for name in kept}),
                )
                for site in self.sites.sites
            ),
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Task:
    trace: Trace
    where: Truth | Places
    case: Case


def _from(truth: Truth, start_h: float) -> Truth:
    skip = start_h * HOUR_S / truth.step_s
    if skip != int(skip) or not 0 <= skip < len(truth.g_per_kwh):
        msg = f"hour {start_h:g} is no start of a slot of the intensity"
        raise ConfigError(msg, hint="choose one within the trace, at a start of a slot", value=start_h)
    return Truth(g_per_kwh=truth.g_per_kwh[int(skip) :], step_s=truth.step_s)


def _run(task: _Task) -> Result:
    """Simulate one case; a log of a hundred thousand runs need not travel."""
    case = task.case
    workload = Workload.of(task.trace, case.queues, tick_s=case.tick_s, knows=case.knows)
    if isinstance(task.where, Truth):
        world = replace(case.world, tick_s=case.tick_s)
        made = simulate(case.policy, workload, _from(task.where, case.start_h), world=world)
        regions, roams = None, False
    else:
        made = simulate_sites(case.policy, workload, task.where.of(case), task.where.reach)
        regions, roams = {name: asdict(facts) for name, facts in made.by_site.items()}, made.roams
    return Result(
        case=case,
        baseline_g=made.metrics.carbon_g,
        facts=asdict(made.metrics),
        lengths=made.lengths,
        oracle_forecast=made.oracle_forecast,
        regions=regions,
        roams=roams,
    )


def cases(
    policies: Sequence[str],
    *,
    starts_h: Sequence[float] = (0.0,),
    queues: Sequence[Queues] = (Queues(),),
    worlds: Sequence[World] = (World(),),
    tick_s: float = 0.0,
    knows: str = "mean",
) -> list[Case]:
    """Return all combinations.

    Parameters
    ----------
    policies : sequence of str
        Published names; each counts once.
    starts_h : sequence of float
        Where in the intensity to begin [h].
    queues : sequence of Queues
        Limits and waits.
    worlds : sequence of World
        Machines and prices.
    tick_s : float
        As in `Case` [s].
    knows : str
        As in `Case`.

    Returns
    -------
    list of Case
        The policies turn fastest.

    Raises
    ------
    ConfigError
        A policy is unknown, or there is none.
    """
    if not policies:
        msg = "there is no policy to simulate"
        raise ConfigError(msg, hint=f"name at least one of {', '.join(ONLINE)}")
    names = list(dict.fromkeys(make_online(name).name for name in policies))
    return [
        Case(policy=name, start_h=start_h, queues=queue, world=world, tick_s=tick_s, knows=knows)
        for start_h, queue, world, name in product(starts_h, queues, worlds, names)
    ]


def sweep(
    trace: Trace, where: Truth | Places, wanted: Sequence[Case], *, executor: Executor | None = None
) -> list[Result]:
    """Simulate cases, and what the same jobs emit where nobody waits.

    Parameters
    ----------
    trace : Trace
        The jobs.
    where : Truth or Places
        The intensity from its first hour on, or several sites.
    wanted : sequence of Case
        What to simulate.
    executor : Executor, optional
        Where; by default here. The results don't depend on it.

    Returns
    -------
    list of Result
        In the order of the cases.
    """
    bases = {case: replace(case, policy=BASELINE) for case in wanted}
    todo = list(dict.fromkeys([*bases.values(), *wanted]))
    done: dict[Case, Result] = {}
    tasks = [_Task(trace, where, case) for case in todo]
    for index, result in (executor or SerialExecutor()).map_unordered(_run, tasks):
        done[todo[index]] = result
    return [replace(done[case], baseline_g=done[bases[case]].facts["carbon_g"]) for case in wanted]

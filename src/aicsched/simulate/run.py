"""One policy on one workload: who decides, what ran, and the numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from aicsched.errors import ConfigError
from aicsched.place.online.protocol import ArrivalPolicy
from aicsched.place.online.registry import make_online
from aicsched.place.online.rooms import Capped
from aicsched.place.online.view import Vintages
from aicsched.simulate.engine import World, carry_out, plan_batch, refuse_short
from aicsched.simulate.events import EventEngine
from aicsched.simulate.log import bill, measure
from aicsched.simulate.sites import Reach, Site, Sites

if TYPE_CHECKING:
    from aicsched.place.online.protocol import OnlinePolicy, OraclePolicy
    from aicsched.simulate.log import Metrics, RunLog
    from aicsched.simulate.truth import Truth
    from aicsched.simulate.workload import Workload

__all__ = ["Outcome", "simulate"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """What a policy did.

    Parameters
    ----------
    policy : str
        Its name.
    metrics : Metrics
        The numbers.
    log : RunLog
        Each run.
    lengths : str
        What it knew of lengths: ``"unused"``, ``"queue mean"`` or ``"true"``.
    oracle_forecast : bool
        Its forecast was the truth.
    """

    policy: str
    metrics: Metrics
    log: RunLog
    lengths: str
    oracle_forecast: bool


def simulate(
    policy: str | OnlinePolicy | OraclePolicy,
    workload: Workload,
    truth: Truth,
    *,
    vintages: Vintages | None = None,
    world: World | None = None,
    by_events: bool = False,
) -> Outcome:
    """Run a policy over a workload.

    Parameters
    ----------
    policy : str or OnlinePolicy or OraclePolicy
        A published name, or an object.
    workload : Workload
        The jobs.
    truth : Truth
        The intensity that comes true.
    vintages : Vintages, optional
        What was foreseen when; by default the truth, which is an oracle's forecast.
    world : World, optional
        Machines, prices and what goes wrong.
    by_events : bool
        Go event by event where arrays would do, too; the outcome is the same.

    Returns
    -------
    Outcome
        The log and its numbers.

    Notes
    -----
    Policies that plan on arrival are simulated on arrays, unless there is a cap or an
    outage. A policy that suffers from a cap is kept off full slots (`Capped`).

    Raises
    ------
    SignalGap
        The intensity ends before the jobs do.
    ConfigError
        The policy is unknown, or ticks are asked for where events decide.

    Examples
    --------
    >>> import numpy as np
    >>> from aicsched.simulate import Queues, Trace, Truth, Workload
    >>> jobs = Trace(arrival_s=np.zeros(1), length_s=np.array([3600.0]), vcpus=np.ones(1))
    >>> work = Workload.of(jobs, Queues.parse("2"))
    >>> grid = Truth(g_per_kwh=np.array([300.0, 200.0, 100.0]))
    >>> round(simulate("lowest_window", work, grid).metrics.carbon_g, 3)
    0.1
    """
    world = world or World()
    chosen = make_online(policy) if isinstance(policy, str) else policy
    known = vintages or Vintages.perfect(truth.g_per_kwh, step_s=truth.step_s)
    jobs = workload.pending
    refuse_short(truth, float((jobs.arrival_s + jobs.max_wait_s + workload.length_s).max()))
    if isinstance(chosen, ArrivalPolicy) and not (by_events or world.capped or world.outages):
        log = carry_out(plan_batch(chosen, workload, known), workload, world)
    else:
        _refuse_ticks(world)
        plain = replace(world, tick_s=0.0)
        alone = Sites(sites=(Site(name="site", truth=truth, world=plain, vintages=known),))
        reach = Reach(home=np.zeros(len(workload), dtype=np.int64), transfer_g=np.zeros((len(workload), 1)))
        decider = Capped(chosen) if isinstance(chosen, ArrivalPolicy) and world.capped else chosen
        log = EventEngine(decider, workload, alone, reach).go()
    refuse_short(truth, float(log.stop_s.max(initial=0.0)))
    return Outcome(
        policy=chosen.name,
        metrics=measure(
            log,
            workload,
            carbon_g=float(log.grams(truth, world.costs.watts_per_vcpu).sum()),
            cost=bill(log, world.costs, reserved_vcpus=world.reserved_vcpus),
        ),
        log=log,
        lengths=chosen.lengths,
        oracle_forecast=known.oracle,
    )


def _refuse_ticks(world: World) -> None:
    if world.tick_s > 0 and world.reserved_vcpus > 0:
        msg = "caps, outages and rolling decisions with reserved machines don't go by ticks"
        raise ConfigError(msg, hint="use --tick 0", value=world.tick_s)

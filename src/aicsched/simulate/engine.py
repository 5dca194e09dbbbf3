"""Simulate policies that plan a job on its arrival: all jobs at once, on arrays."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

import numpy as np

from aicsched.errors import ConfigError, SignalGap
from aicsched.place.online.plans import Pool
from aicsched.place.online.view import Batch
from aicsched.simulate.kernels.running import DISPATCH, RUN_STRETCHES
from aicsched.simulate.log import Costs, Machine, RunLog
from aicsched.simulate.ticks import dispatch_by_ticks
from aicsched.slots import HOUR_S

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.place.online.plans import RunPlans
    from aicsched.place.online.protocol import ArrivalPolicy
    from aicsched.place.online.view import Vintages
    from aicsched.simulate.truth import Truth
    from aicsched.simulate.workload import Workload

__all__ = ["World", "carry_out", "plan_batch", "refuse_short"]


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What a simulation has beside jobs and intensity.

    Parameters
    ----------
    reserved_vcpus : float
        Threads that are paid in any case.
    hand_over_s : float
        How long after a job's end its reserved threads can be had again [s].
    tick_s : float
        0 for continuous time; else reserved machines are given out as a simulator of such ticks
        does (`aicsched.simulate.ticks`), for jobs whose times are whole ticks [s].
    save_s, load_s : float
        What a suspension costs: saving the state before it, loading it after it [s].
    spot_loss_per_h : float
        How often a spot machine is taken away, a rate; its job goes on on demand [1/h].
    checkpoint_s : float
        How often work on spot machines is saved; 0 means never, and all is lost [s].
    seed : int
        Of the losses.
    cap_vcpus : float or tuple of float
        How many threads may be busy at once, whatever they are: one number, or one a slot of the
        intensity, whose last holds on. What has no room waits, even beyond its wait.
    outages : tuple of tuple of float, float
        From when to when the whole site is lost. What runs then loses what it hasn't saved, and goes
        on afterwards [s].
    costs : Costs
        Prices and power.

    Raises
    ------
    ConfigError
        A value is negative.
    """

    reserved_vcpus: float = 0.0
    hand_over_s: float = 0.0
    tick_s: float = 0.0
    save_s: float = 0.0
    load_s: float = 0.0
    spot_loss_per_h: float = 0.0
    checkpoint_s: float = 0.0
    seed: int = 0
    cap_vcpus: float | tuple[float, ...] = np.inf
    outages: tuple[tuple[float, float], ...] = ()
    costs: Costs = field(default_factory=Costs)

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, int | float) and item.name != "cap_vcpus" and not 0 <= value < np.inf:
                msg = f"{item.name} is {value:g}"
                raise ConfigError(msg, hint="give a number, 0 or more", value=value)
        caps = self.cap_vcpus if isinstance(self.cap_vcpus, tuple) else (self.cap_vcpus,)
        if not caps or not all(cap >= 0 for cap in caps):
            msg = f"cap_vcpus is {self.cap_vcpus}"
            raise ConfigError(msg, hint="give a number, 0 or more, or one a slot", value=self.cap_vcpus)
        if not all(0 <= start < stop < np.inf for start, stop in self.outages):
            msg = f"an outage in {self.outages} has no beginning before its end"
            raise ConfigError(msg, hint="give pairs of seconds", value=self.outages)

    @property
    def capped(self) -> bool:
        """There is a hard cap."""
        return isinstance(self.cap_vcpus, tuple) or self.cap_vcpus < np.inf

    def cap_at(self, slot: int) -> float:
        """Return the hard cap in a slot.

        Parameters
        ----------
        slot : int
            Its number.

        Returns
        -------
        float
            Threads.
        """
        caps = self.cap_vcpus
        return caps[min(slot, len(caps) - 1)] if isinstance(caps, tuple) else caps


def plan_batch(policy: ArrivalPolicy, workload: Workload, vintages: Vintages) -> RunPlans:
    """Have a policy plan all jobs, each by what was known at its arrival.

    Parameters
    ----------
    policy : ArrivalPolicy
        Who decides.
    workload : Workload
        The jobs; their lengths are given to an oracle only.
    vintages : Vintages
        The forecasts.

    Returns
    -------
    RunPlans
        In the order of the jobs.
    """
    jobs = workload.pending
    batch = Batch(
        jobs=jobs,
        vintages=vintages,
        row=vintages.known_at(jobs.arrival_s),
        length_s=workload.length_s if policy.oracle else None,
    )
    return policy.plan_arrivals(batch)


def refuse_short(truth: Truth, last_s: float) -> None:
    """Refuse a trace of intensities that ends before the jobs do.

    Parameters
    ----------
    truth : Truth
        The trace.
    last_s : float
        When the last run may end [s].

    Raises
    ------
    SignalGap
        It is too short; the message says by how much.
    """
    if last_s > truth.end_s + 1e-6:
        ends = f"the intensity ends after {truth.end_s / HOUR_S:g} h"
        msg = f"{ends}, and jobs may run until {last_s / HOUR_S:.1f} h"
        hint = "give a longer trace, start it earlier, or repeat it (--repeat-carbon)"
        raise SignalGap(msg, hint=hint, value=last_s)


def carry_out(plans: RunPlans, workload: Workload, world: World) -> RunLog:
    """Let plans become true: jobs take as long as they take, and machines are there or not.

    Parameters
    ----------
    plans : RunPlans
        One a job.
    workload : Workload
        The jobs.
    world : World
        Machines and what goes wrong.

    Returns
    -------
    RunLog
        Ordered by job and time.
    """
    jobs = workload.pending
    job, stretch, start, stop, left = RUN_STRETCHES(
        plans.first, plans.start_s, plans.stop_s, plans.rate, workload.length_s, world.save_s, world.load_s
    )
    vcpus = jobs.vcpus[job] * plans.scale[stretch]
    spot = plans.pool[job] == Pool.SPOT
    lost = np.bincount(job, weights=(stop - start) * plans.rate[stretch], minlength=len(jobs))
    lost = np.maximum(lost + left - workload.length_s, 0.0)
    machine = np.where(spot, Machine.SPOT, Machine.ON_DEMAND).astype(np.int8)
    preempted = 0
    if world.spot_loss_per_h > 0:
        job, start, stop, vcpus, machine, lost, preempted = _lose_spot(
            job, start, stop, vcpus, machine, lost, world
        )
    if world.reserved_vcpus > 0:
        start, stop, machine = _use_reserved(job, start, stop, vcpus, machine, plans, workload, world)
    return RunLog(
        job=job, start_s=start, stop_s=stop, vcpus=vcpus, machine=machine,
        left_s=left, lost_s=lost, preempted=preempted,
    )  # fmt: skip


def _use_reserved(  # noqa: PLR0913, PLR0917 - the columns of a log
    job: NDArray[np.int64],
    start: NDArray[np.float64],
    stop: NDArray[np.float64],
    vcpus: NDArray[np.float64],
    machine: NDArray[np.int8],
    plans: RunPlans,
    workload: Workload,
    world: World,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int8]]:
    """Give reserved machines out, in the order of arrival; eager jobs start as soon as they get one."""
    eager = plans.eager[job]
    if eager.any() and (np.diff(plans.first)[plans.eager] > 1).any():
        msg = "a job that may begin sooner can't be suspended, too"
        raise ConfigError(msg, hint="make the plan of an eager job one stretch")
    arrival, spot = workload.pending.arrival_s[job], machine == Machine.SPOT
    if world.tick_s > 0:
        begun, kept = dispatch_by_ticks(
            arrival_s=arrival,
            planned_s=start,
            duration_s=stop - start,
            vcpus=vcpus,
            eager=eager,
            spot=spot,
            reserved_vcpus=world.reserved_vcpus,
            tick_s=world.tick_s,
        )
    else:
        ready, delay = np.where(eager, arrival, start), float(world.hand_over_s)
        begun, kept = DISPATCH(
            ready, start, stop - start, vcpus, eager, spot, float(world.reserved_vcpus), delay
        )
    return begun, stop + (begun - start), np.where(kept, Machine.RESERVED, machine).astype(np.int8)


def _lose_spot(
    job: NDArray[np.int64],
    start: NDArray[np.float64],
    stop: NDArray[np.float64],
    vcpus: NDArray[np.float64],
    machine: NDArray[np.int8],
    lost: NDArray[np.float64],
    world: World,
) -> tuple[
    NDArray[np.int64],
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.int8],
    NDArray[np.float64],
    int,
]:
    """Take spot machines away: what wasn't saved is done again, at once and on demand."""
    # A draw for each job, in the order of jobs: a policy that plans otherwise meets the same luck.
    rng = np.random.default_rng(world.seed)
    life = rng.exponential(HOUR_S / world.spot_loss_per_h, size=len(lost))[job]
    hit = (machine == Machine.SPOT) & (life < stop - start)
    span = stop - start
    every = world.checkpoint_s
    kept = np.floor(life / every) * every if every > 0 else np.zeros(len(job))
    again = np.where(hit, span - kept, 0.0)
    lost = lost + np.bincount(job[hit], weights=(life - kept)[hit], minlength=len(lost))
    order = np.argsort(np.concatenate([job, job[hit]]), kind="stable")
    cut = np.where(hit, start + life, stop)
    return (
        np.concatenate([job, job[hit]])[order],
        np.concatenate([start, cut[hit]])[order],
        np.concatenate([cut, (cut + again)[hit]])[order],
        np.concatenate([vcpus, vcpus[hit]])[order],
        np.concatenate([machine, np.full(int(hit.sum()), Machine.ON_DEMAND, np.int8)])[order],
        lost,
        int(hit.sum()),
    )

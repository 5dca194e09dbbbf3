"""The problem of a queue in which some jobs scale, as columns.

A job that scales does work: the seconds that it takes on one machine. In each slot of its window it
holds no machine, or so many between its fewest and its most, of which the last may run for a part of
the slot only; it does work as fast as its profile says, and what it holds and emits grows with its
machines::

    sum over slots t of  machines[t] · energy_kwh_per_w · watt_factor[r] · g_per_kwh[r, t]  +  transfer_g[r]
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from aicsched.domain.carbon import frozen_array
from aicsched.domain.scaling import gains_of
from aicsched.errors import Infeasible, InputError
from aicsched.place.choice import TOLERANCE_SHARE
from aicsched.place.part import some_jobs
from aicsched.place.problem import build_problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from aicsched.domain.fleet import Fleet
    from aicsched.domain.forecast import Forecast
    from aicsched.domain.job import Job
    from aicsched.place.problem import Problem
    from aicsched.slots import SlotGrid

__all__ = ["ElasticProblem", "build_elastic"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ElasticProblem:
    """Jobs that scale, and others beside them, under the same limits.

    Parameters
    ----------
    whole : Problem
        All jobs in the order of the queue; for one that scales, a job of one machine and as many slots
        as it needs at least stands in.
    plain : Problem or None
        Those that don't scale; None when all do.
    rows, others : ndarray of int64, shapes (E,), (J - E,)
        Which rows of `whole` scale, and which don't, rising.
    least : ndarray of int64, shape (E,)
        Fewest machines at once.
    wide : ndarray, shape (E, L)
        Machines of each step: the fewest first, then one more each; 0 behind the last.
    gain : ndarray, shape (E, L)
        Work that each step adds in a slot, in slots of one machine; 1 behind the last.
    work : ndarray, shape (E,)
        What each has to do, in slots of one machine.
    energy_kwh_per_w : ndarray, shape (E,)
        Energy of one machine in one slot per watt of power_w_per_vcpu × PUE [kWh/W].
    """

    whole: Problem
    plain: Problem | None
    rows: NDArray[np.int64]
    others: NDArray[np.int64]
    least: NDArray[np.int64]
    wide: NDArray[np.float64]
    gain: NDArray[np.float64]
    work: NDArray[np.float64]
    energy_kwh_per_w: NDArray[np.float64]


def _steps(jobs: Sequence[Job]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    most = max(len(job.scaling) - job.min_machines + 1 for job in jobs)
    wide, gain = np.zeros((len(jobs), most)), np.ones((len(jobs), most))
    for row, job in enumerate(jobs):
        gains = gains_of(job.scaling)
        count = len(gains) - job.min_machines + 1
        wide[row, :count] = [job.min_machines, *[1] * (count - 1)]
        gain[row, :count] = [job.scaling[job.min_machines - 1], *gains[job.min_machines :]]
    return wide, gain


def _refuse_small_windows(problem: ElasticProblem) -> None:
    """Refuse jobs that don't fit even alone."""
    whole = problem.whole
    faults: list[str] = []
    for row, job in enumerate(problem.rows.tolist()):
        machines = np.cumsum(problem.wide[row])[problem.wide[row] > 0]
        done = np.cumsum(problem.gain[row])[: len(machines)]
        inside = slice(int(whole.first[job]), int(whole.last[job]))
        most = 0.0
        for region in np.flatnonzero(whole.allowed[job]).tolist():
            room = whole.capacity[:, region, inside, None]
            fits = (machines * whole.demand[job][:, None, None] <= room * (1 + TOLERANCE_SHARE)).all(axis=0)
            most = max(most, float((fits * done).max(axis=1).sum()))
        if most < problem.work[row] * (1 - 1e-9):
            faults.append(whole.job_ids[job])
    if faults:
        msg = f"{len(faults)} jobs that scale can't be done in their windows even alone, first '{faults[0]}'"
        hint = "widen the window or the capacity, or let it scale further"
        raise Infeasible(msg, constraints=("window", "capacity"), hint=hint, value=faults)


def build_elastic(
    jobs: Sequence[Job],
    fleet: Fleet,
    forecasts: Mapping[str, Forecast],
    slots: SlotGrid,
    *,
    free_vcpus: Mapping[str, NDArray[np.float64]] | None = None,
) -> ElasticProblem:
    """Lay a queue out as columns in which at least one job scales.

    Parameters
    ----------
    jobs : sequence of Job
        The queue.
    fleet : Fleet
        Regions with capacity.
    forecasts : mapping of str to Forecast
        Per grid zone, all of one kind, covering `slots`.
    slots : SlotGrid
        The planning grid.
    free_vcpus : mapping of str to ndarray of shape (T,), optional
        Threads free for this work in each slot, for regions where that isn't all they have.

    Returns
    -------
    ElasticProblem
        Every job in it fits somewhere on its own.

    Raises
    ------
    Infeasible
        Jobs that fit nowhere even alone.
    InputError
        No job scales, one waits for a job that does, or what `build_problem` refuses.
    """
    rows = np.array([row for row, job in enumerate(jobs) if job.scaling], np.int64)
    scaled = [jobs[row] for row in rows.tolist()]
    if not scaled:
        msg = "no job of the queue scales"
        raise InputError(msg, hint="use build_problem, or give jobs a scaling")
    names = {job.job_id for job in scaled}
    for job in jobs:
        held = sorted(names.intersection(job.after))
        if held:
            msg = f"job '{job.job_id}' waits for '{held[0]}', which scales: when that ends is open"
            raise InputError(msg, hint="give both windows of their own in place of `after`", value=held[0])
    stand_ins = [
        replace(job, duration_s=job.shortest_s, scaling=(), min_machines=1) if job.scaling else job
        for job in jobs
    ]
    whole = build_problem(stand_ins, fleet, forecasts, slots, free_vcpus=free_vcpus)
    others = np.setdiff1d(np.arange(len(jobs)), rows)
    wide, gain = _steps(scaled)
    problem = ElasticProblem(
        whole=whole,
        plain=some_jobs(whole, others) if len(others) else None,
        rows=rows,
        others=others,
        least=np.array([job.min_machines for job in scaled], np.int64),
        wide=frozen_array(wide),
        gain=frozen_array(gain),
        work=frozen_array([job.duration_s / slots.step_s for job in scaled]),
        energy_kwh_per_w=frozen_array([job.vcpus * slots.step_h / 1000.0 for job in scaled]),
    )
    _refuse_small_windows(problem)
    return problem

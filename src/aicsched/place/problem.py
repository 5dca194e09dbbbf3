"""The placement problem as pure data: columns of numbers, no solver in sight.

Cost of job j in region r over a set S of slots, in grams::

    sum over t in S of  energy_kwh[j] · watt_factor[r] · g_per_kwh[r, t]   +   transfer_g[j, r]

and, in each slot of S that follows a gap, its energy of going on after one.
Embodied carbon is no part of it: hardware that stands already emits no more for
being used (the sunk-carbon fallacy, SoCC'24, arXiv:2410.15087). A job that does
not fill its last slot spreads its energy evenly over its slots.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.domain.carbon import frozen_array
from aicsched.errors import Infeasible, InputError, UnknownZone, did_you_mean
from aicsched.place.inputs import refuse_bad
from aicsched.slots import HOUR_S

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from aicsched.domain.fleet import Fleet
    from aicsched.domain.forecast import Forecast
    from aicsched.domain.job import Job
    from aicsched.slots import SlotGrid

__all__ = ["Problem", "build_problem"]

RESOURCES: Final = ("vcpus", "memory_gib", "gpus")
_SHOWN = 5


def _none() -> NDArray[np.float64]:
    return np.zeros(0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Problem:
    """Jobs × regions × slots, columnar and read-only.

    Parameters
    ----------
    slots : SlotGrid
        The planning grid, T slots.
    job_ids : tuple of str
        J jobs, in the order of the queue.
    regions : tuple of str
        R regions, in the order of the fleet.
    resources : tuple of str
        K resources that are limited: ``vcpus``, and ``memory_gib`` and ``gpus`` where they can bind.
    demand : ndarray, shape (J, K)
        What each job holds of them in each of its slots.
    n_slots : ndarray of int64, shape (J,)
        Slots each job needs.
    first, last : ndarray of int64, shape (J,)
        Its window: slots ``first <= t < last``.
    suspendable : ndarray of bool, shape (J,)
        Whether it may run in pieces.
    energy_kwh_per_w : ndarray, shape (J,)
        Energy a job uses in one slot per watt of power_w_per_vcpu × PUE [kWh/W].
    home : ndarray of int64, shape (J,)
        Index of its home region.
    allowed : ndarray of bool, shape (J, R)
        Where it may run.
    transfer_g : ndarray, shape (J, R)
        Emissions of moving its data there [g].
    watt_factor_w : ndarray, shape (R,)
        power_w_per_vcpu × PUE [W].
    g_per_kwh : ndarray, shape (R, T)
        Expected intensity [g/kWh].
    capacity : ndarray, shape (K, R, T)
        What is free of each resource for this work; inf where it has no end.
    order : ndarray of int64, shape (E, 2)
        Pairs of jobs: the second starts after the first has ended.
    resume_kwh_per_w : ndarray, shape (J,)
        Energy that going on after a gap costs, in the slot where it does, per watt as above
        [kWh/W]; given empty, it costs nothing.
    clipped : int
        Jobs whose deadline lies behind the horizon: planned as if due at its end.

    Raises
    ------
    InputError
        Columns that don't fit together, or values that can't be true (see `inputs.refuse_bad`).
    """

    slots: SlotGrid
    job_ids: tuple[str, ...]
    regions: tuple[str, ...]
    resources: tuple[str, ...]
    demand: NDArray[np.float64]
    n_slots: NDArray[np.int64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    suspendable: NDArray[np.bool_]
    energy_kwh_per_w: NDArray[np.float64]
    home: NDArray[np.int64]
    allowed: NDArray[np.bool_]
    transfer_g: NDArray[np.float64]
    watt_factor_w: NDArray[np.float64]
    g_per_kwh: NDArray[np.float64]
    capacity: NDArray[np.float64]
    order: NDArray[np.int64]
    resume_kwh_per_w: NDArray[np.float64] = field(default_factory=_none)
    clipped: int = 0

    def __post_init__(self) -> None:
        if not self.resume_kwh_per_w.size:
            object.__setattr__(self, "resume_kwh_per_w", frozen_array(np.zeros(len(self.job_ids))))
        refuse_bad(self)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Jobs, regions and slots: (J, R, T)."""
        return len(self.job_ids), len(self.regions), len(self.slots)

    @property
    def vcpus(self) -> NDArray[np.float64]:
        """Threads each job holds in each of its slots, shape (J,)."""
        return self.demand[:, 0]

    @property
    def capacity_vcpus(self) -> NDArray[np.float64]:
        """Threads free for this work, shape (R, T)."""
        return self.capacity[0]

    def cost_g(self, job: int, region: int, slots: NDArray[np.int64] | Sequence[int]) -> float:
        """Return what one job emits in one place and time.

        Parameters
        ----------
        job, region : int
            Indices.
        slots : sequence of int
            The slots it runs in, rising.

        Returns
        -------
        float
            Operational and transfer emissions [g].
        """
        factor = self.energy_kwh_per_w[job] * self.watt_factor_w[region]
        total_g = factor * self.g_per_kwh[region, slots].sum() + self.transfer_g[job, region]
        if self.resume_kwh_per_w[job]:
            resumed = np.asarray(slots)[1:][np.diff(slots) > 1]
            rate_g = self.watt_factor_w[region] * self.g_per_kwh[region, resumed]
            total_g += self.resume_kwh_per_w[job] * rate_g.sum()
        return float(total_g)


def _grid_of_forecasts(
    fleet: Fleet, forecasts: Mapping[str, Forecast], slots: SlotGrid
) -> NDArray[np.float64]:
    kinds = {forecast.kind for forecast in forecasts.values()}
    if len(kinds) > 1:
        msg = f"the forecasts mix {' and '.join(sorted(map(str, kinds)))} intensities"
        raise InputError(
            msg, hint="average and marginal answer different questions: give one kind", value=kinds
        )
    rows: list[NDArray[np.float64]] = []
    for region in fleet.regions:
        if region.grid_zone not in forecasts:
            msg = f"region '{region.name}' lies in grid zone '{region.grid_zone}', which has no forecast"
            raise UnknownZone(msg, hint=did_you_mean(region.grid_zone, forecasts), value=region.grid_zone)
        forecast = forecasts[region.grid_zone]
        offset = forecast.slots.offset_of(slots)
        rows.append(forecast.mean_g_per_kwh[offset : offset + len(slots)])
    return np.array(rows).reshape(len(fleet.regions), len(slots))


def _windows(jobs: Sequence[Job], slots: SlotGrid) -> tuple[NDArray[np.int64], ...]:
    duration_s = np.array([job.duration_s for job in jobs], dtype=np.float64)
    release_s = np.array([job.release_s for job in jobs], dtype=np.int64)
    deadline_s = np.array([job.deadline_s for job in jobs], dtype=np.int64)
    n_slots = np.ceil(duration_s / slots.step_s - 1e-9).astype(np.int64)
    first = np.maximum(0, -((slots.start_s - release_s) // slots.step_s))
    due = (deadline_s - slots.start_s) // slots.step_s
    return n_slots, first, np.minimum(due, len(slots)), due


def _in_order(
    jobs: Sequence[Job], n_slots: NDArray[np.int64], first: NDArray[np.int64], last: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return pairs of jobs that follow each other, and narrow their windows by it."""
    index = {job.job_id: row for row, job in enumerate(jobs)}
    waits: dict[int, list[int]] = {}
    for row, job in enumerate(jobs):
        for name in job.after:
            if name not in index:
                msg = f"job '{job.job_id}' waits for '{name}', which is not in the queue"
                raise InputError(msg, hint=did_you_mean(name, index), value=name)
            waits.setdefault(row, []).append(index[name])
    if not waits:
        return np.zeros((0, 2), np.int64)
    try:
        turns = list(TopologicalSorter(waits).static_order())
    except CycleError as error:
        names = " -> ".join(f"'{jobs[row].job_id}'" for row in reversed(error.args[1]))
        msg = f"jobs wait for each other in a circle: {names}"
        raise InputError(msg, hint="take one of them out of the other's `after`", value=names) from error
    for row in turns:
        first[row] = max([int(first[row]), *(int(first[one] + n_slots[one]) for one in waits.get(row, ()))])
    for row in reversed(turns):
        for one in waits.get(row, ()):
            last[one] = min(last[one], last[row] - n_slots[row])
    return np.array([(one, row) for row, others in waits.items() for one in others], dtype=np.int64)


def _resources(
    jobs: Sequence[Job], fleet: Fleet, count: int
) -> tuple[tuple[str, ...], NDArray[np.float64], NDArray[np.float64]]:
    """Return the resources that can bind, what jobs hold of them, and what regions have."""
    held = {name: np.array([getattr(job, name) for job in jobs], np.float64) for name in RESOURCES}
    there = {
        name: np.array([getattr(region, f"capacity_{name}") for region in fleet.regions], np.float64)
        for name in RESOURCES
    }
    # What isn't known is no limit.
    there = {name: np.where(np.isnan(most), np.inf, most) for name, most in there.items()}
    names = tuple(
        name for name in RESOURCES if name == "vcpus" or (held[name].any() and (there[name] < np.inf).any())
    )
    capacity = np.array([np.repeat(there[name][:, None], count, axis=1) for name in names])
    return names, np.stack([held[name] for name in names], axis=1), capacity


def _refuse_impossible(
    jobs: Sequence[Job],
    windows: tuple[NDArray[np.int64], ...],
    allowed: NDArray[np.bool_],
    limits: tuple[tuple[str, ...], NDArray[np.float64], NDArray[np.float64]],
) -> None:
    """Refuse jobs that fit nowhere even alone; `windows` as of `_windows`, `limits` as of `_resources`."""
    resources, demand, capacity = limits
    faults: list[tuple[str, str, str]] = []
    for index, job in enumerate(jobs):
        needs, first, last, due = (int(column[index]) for column in windows)
        places = allowed[index]
        if first + needs > due:
            faults.append((job.job_id, "window", f"needs {needs} whole slots between release and deadline"))
        elif first + needs > last:
            faults.append(
                (job.job_id, "horizon", f"would end behind the horizon of {capacity.shape[2]} slots")
            )
        elif not places.any():
            faults.append((job.job_id, "allowed_regions", "none of its allowed regions is in the fleet"))
        else:
            held = demand[index]
            enough = (capacity[:, places, first:last] >= held[:, None, None]).all(axis=0)
            if enough.sum(axis=1).max() < needs:
                words = " and ".join(
                    f"{value:g} {name}" for name, value in zip(resources, held, strict=True) if value
                )
                faults.append((job.job_id, "capacity", f"needs {words}, more than any allowed region has"))
    if faults:
        shown = "; ".join(f"'{job_id}' {words} [{name}]" for job_id, name, words in faults[:_SHOWN])
        more = f" and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        msg = f"{len(faults)} of {len(jobs)} jobs can't be placed anywhere: {shown}{more}"
        hint = "widen the window, the horizon, the regions or the capacity, or leave these jobs out"
        names = tuple(sorted({name for _, name, _ in faults}))
        raise Infeasible(msg, constraints=names, hint=hint, value=[job_id for job_id, _, _ in faults])


def _places(
    jobs: Sequence[Job], fleet: Fleet
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.float64]]:
    index = {region.name: position for position, region in enumerate(fleet.regions)}
    home = np.zeros(len(jobs), dtype=np.int64)
    allowed = np.ones((len(jobs), len(index)), dtype=np.bool_)
    for row, job in enumerate(jobs):
        if job.home_region not in index:
            msg = (
                f"job '{job.job_id}' has its home in region '{job.home_region}', which the fleet doesn't have"
            )
            raise InputError(msg, hint=did_you_mean(job.home_region, index), value=job.home_region)
        home[row] = index[job.home_region]
        if job.allowed_regions:
            allowed[row] = [name in job.allowed_regions for name in index]
    g_per_gb = np.array([region.transfer_g_per_gb for region in fleet.regions])
    data_gb = np.array([job.data_gb for job in jobs])
    transfer_g = data_gb[:, None] * g_per_gb[None, :]
    transfer_g[np.arange(len(jobs)), home] = 0.0
    return home, allowed, transfer_g


def _free_vcpus(
    fleet: Fleet, free_vcpus: Mapping[str, NDArray[np.float64]], count: int
) -> NDArray[np.float64]:
    names = [region.name for region in fleet.regions]
    for name, row in free_vcpus.items():
        if name not in names:
            msg = f"free_vcpus names region '{name}', which the fleet doesn't have"
            raise InputError(msg, hint=did_you_mean(name, names), value=name)
        values = np.asarray(row, np.float64)
        if values.shape != (count,) or not (values >= 0).all():
            msg = f"free_vcpus of region '{name}' is not {count} numbers from 0"
            raise InputError(msg, hint="give one number of free threads for each slot", value=name)
    return np.array(
        [
            np.asarray(free_vcpus.get(region.name, np.full(count, region.capacity_vcpus)), np.float64)
            for region in fleet.regions
        ]
    )


def build_problem(
    jobs: Sequence[Job],
    fleet: Fleet,
    forecasts: Mapping[str, Forecast],
    slots: SlotGrid,
    *,
    free_vcpus: Mapping[str, NDArray[np.float64]] | None = None,
) -> Problem:
    """Lay jobs, regions and forecasts out as columns.

    Parameters
    ----------
    jobs : sequence of Job
        The queue; a release before the grid counts as its start.
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
    Problem
        Read-only; every job in it fits somewhere on its own.

    Raises
    ------
    Infeasible
        Jobs that fit nowhere even alone, with the constraints that keep them out:
        ``window``, ``horizon``, ``allowed_regions`` or ``capacity``.
    UnknownZone
        A region's grid zone has no forecast.
    InputError
        A home region or a job to wait for that doesn't exist, jobs that wait for each other in a circle,
        jobs that scale (see `aicsched.place.elastic`), kinds of intensity that are mixed, free threads
        that aren't numbers >= 0, or no job.
    SlotError
        A forecast doesn't cover the grid.
    """
    if not jobs:
        msg = "there is no job to place"
        raise InputError(msg, hint="give at least one")
    scales = next((job.job_id for job in jobs if job.scaling), None)
    if scales is not None:
        msg = f"job '{scales}' scales, which this kind of plan can't use"
        raise InputError(msg, hint="plan it with aicsched.place.elastic, or leave out scaling", value=scales)
    n_slots, first, last, due = _windows(jobs, slots)
    home, allowed, transfer_g = _places(jobs, fleet)
    deferrable = np.array([job.deferrable for job in jobs])
    last = np.where(deferrable, last, np.minimum(last, first + n_slots))
    duration_h = np.array([job.duration_s for job in jobs]) / HOUR_S
    order = _in_order(jobs, n_slots, first, last)
    resources, demand, capacity = _resources(jobs, fleet, len(slots))
    if free_vcpus is not None:
        capacity[0] = _free_vcpus(fleet, free_vcpus, len(slots))
    g_per_kwh = _grid_of_forecasts(fleet, forecasts, slots)
    _refuse_impossible(jobs, (n_slots, first, last, due), allowed, (resources, demand, capacity))
    return Problem(
        slots=slots,
        job_ids=tuple(job.job_id for job in jobs),
        regions=tuple(region.name for region in fleet.regions),
        resources=resources,
        demand=frozen_array(demand),
        n_slots=frozen_array(n_slots, np.int64),
        first=frozen_array(first, np.int64),
        last=frozen_array(last, np.int64),
        suspendable=frozen_array([job.suspendable and job.deferrable for job in jobs], np.bool_),
        energy_kwh_per_w=frozen_array(demand[:, 0] * duration_h / n_slots / 1000.0),
        home=frozen_array(home, np.int64),
        allowed=frozen_array(allowed, np.bool_),
        transfer_g=frozen_array(transfer_g),
        watt_factor_w=frozen_array([region.power_w_per_vcpu * region.pue for region in fleet.regions]),
        g_per_kwh=frozen_array(g_per_kwh),
        capacity=frozen_array(capacity),
        order=frozen_array(order, np.int64),
        resume_kwh_per_w=frozen_array(
            demand[:, 0] * np.array([job.resume_s for job in jobs]) / HOUR_S / 1000.0
        ),
        clipped=int((deferrable & (due > len(slots))).sum()),
    )

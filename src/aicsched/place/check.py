"""An independent validator: slow, plain, and sharing no code with the solvers.

It takes what the user gave (jobs, fleet, forecasts, slots) and a plan, and
works everything out again from the definitions, in ordinary Python numbers. A
fault in the columns, the oracle or a repair can't hide behind itself here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Final

from aicsched.errors import PlanRefused

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from aicsched.domain.fleet import Fleet, Region
    from aicsched.domain.forecast import Forecast
    from aicsched.domain.job import Job
    from aicsched.domain.placement import Assignment, Placement
    from aicsched.slots import SlotGrid

__all__ = ["CheckReport", "check"]

_RELATIVE: Final = 1e-9
_FAULTS_SHOWN: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """What the validator worked out.

    Parameters
    ----------
    jobs : int
        Jobs checked.
    total_g : float
        Emissions of the plan, recomputed [g].
    fullest_share : float
        Highest use of any region-slot as a share of its capacity.
    """

    jobs: int
    total_g: float
    fullest_share: float


def _job_faults(job: Job, row: Assignment, slots: SlotGrid, fleet: Fleet) -> Iterator[str]:
    who = f"job '{job.job_id}'"
    if row.region not in {region.name for region in fleet.regions}:
        yield f"{who} runs in '{row.region}', which is no region of the fleet"
        return
    if job.allowed_regions and row.region not in job.allowed_regions:
        yield f"{who} may not run in '{row.region}'"
    picked = row.slot_indices
    if not picked or picked[0] < 0 or picked[-1] >= len(slots):
        yield f"{who} has slots outside the grid"
        return
    if list(picked) != sorted(set(picked)):
        yield f"{who} has slots out of order or twice"
    yield from _scaling_faults(job, row, slots)
    if not job.scaling and len(picked) != math.ceil(
        Fraction(job.duration_s) / slots.step_s - Fraction(1, 10**9)
    ):
        yield f"{who} has {len(picked)} slots for {job.duration_s:g} s"
    if not (job.suspendable and job.deferrable) and picked[-1] - picked[0] + 1 != len(picked):
        yield f"{who} is interrupted but can't be suspended"
    start_s = slots.start_s + picked[0] * slots.step_s
    end_s = slots.start_s + (picked[-1] + 1) * slots.step_s
    if start_s < job.release_s:
        yield f"{who} starts before its release"
    if end_s > job.deadline_s:
        yield f"{who} ends after its deadline"
    # A job that waits for others starts when they have ended, which another rule checks.
    at_once = slots.start_s + max(0, math.ceil((job.release_s - slots.start_s) / slots.step_s)) * slots.step_s
    if not job.deferrable and not job.after and start_s != at_once:
        yield f"{who} can't be deferred but doesn't start at its release"


def _held(job: Job, machines: float) -> int:
    """Return how many machines a job holds in a slot to have a mean number of them at work."""
    return max(job.min_machines, math.ceil(machines - _RELATIVE))


def _speed(job: Job, machines: float) -> float:
    """Return how fast a job runs in a slot: on as many whole machines as it can, then on the next number."""
    top = _held(job, machines)
    below = 0 if top == job.min_machines else top - 1
    slow = job.scaling[below - 1] if below else 0.0
    return slow + (job.scaling[top - 1] - slow) * (machines - below) / (top - below)


def _scaling_faults(job: Job, row: Assignment, slots: SlotGrid) -> Iterator[str]:
    who = f"job '{job.job_id}'"
    if not (job.scaling or row.machines):
        return
    if not job.scaling or len(row.machines) != len(row.slot_indices):
        yield f"{who} has {len(row.machines)} numbers of machines for {len(row.slot_indices)} slots"
    elif not all(0 < count <= len(job.scaling) + _RELATIVE for count in row.machines):
        yield f"{who} runs on machines that its scaling doesn't reach"
    else:
        done_s = slots.step_s * math.fsum(_speed(job, count) for count in row.machines)
        if not _close(done_s, job.duration_s, job.duration_s):
            yield f"{who} does {done_s:g} s of work, not {job.duration_s:g} s"


def _grams(
    job: Job, row: Assignment, region: Region, forecast: Forecast, slots: SlotGrid
) -> tuple[float, float]:
    power_kw = job.vcpus * region.power_w_per_vcpu * region.pue / 1000.0
    energy_kwh_per_slot = power_kw * job.duration_s / 3600.0 / len(row.slot_indices)
    held = set(row.slot_indices)
    values: list[float] = []
    for position, index in enumerate(row.slot_indices):
        if row.machines:
            energy_kwh_per_slot = power_kw * row.machines[position] * slots.step_s / 3600.0
        valid_s = slots.start_s + index * slots.step_s
        known = (valid_s - forecast.slots.start_s) // forecast.slots.step_s
        values.append(energy_kwh_per_slot * float(forecast.mean_g_per_kwh[known]))
        if index != row.slot_indices[0] and index - 1 not in held:
            resumed_kwh = power_kw * job.resume_s / 3600.0
            values.append(resumed_kwh * float(forecast.mean_g_per_kwh[known]))
    moved_g = 0.0 if row.region == job.home_region else job.data_gb * region.transfer_g_per_gb
    return math.fsum(values), moved_g


def _close(one: float, other: float, scale: float) -> bool:
    return abs(one - other) <= _RELATIVE * max(1.0, abs(scale))


def _capacity_faults(
    jobs: Mapping[str, Job],
    placement: Placement,
    fleet: Fleet,
    free_vcpus: Mapping[str, Sequence[float]],
) -> tuple[list[str], float]:
    used: dict[tuple[str, str, int], float] = {}
    for row in placement.assignments:
        if row.job_id in jobs:
            job = jobs[row.job_id]
            held = {"vCPUs": job.vcpus, "GiB": job.memory_gib, "GPUs": job.gpus}
            counts = [_held(job, count) for count in row.machines] or [1] * len(row.slot_indices)
            for index, count in zip(row.slot_indices, counts, strict=False):
                for unit, value in held.items():
                    cell = (row.region, unit, index)
                    used[cell] = used.get(cell, 0.0) + count * value
    regions = {region.name: region for region in fleet.regions}
    faults: list[str] = []
    fullest = 0.0
    for (name, unit, index), value in sorted(used.items()):
        if name not in regions or value == 0:
            continue
        region = regions[name]
        if unit == "GiB" and math.isnan(region.capacity_memory_gib):
            continue
        most = {
            "vCPUs": region.capacity_vcpus,
            "GiB": region.capacity_memory_gib,
            "GPUs": region.capacity_gpus,
        }
        there = float(free_vcpus[name][index]) if unit == "vCPUs" and name in free_vcpus else most[unit]
        fullest = max(fullest, value / there if there else math.inf)
        if value > there * (1 + 2 * _RELATIVE):
            faults.append(f"region '{name}' holds {value:g} of {there:g} {unit} in slot {index}")
    return faults, fullest


def _order_faults(jobs: Mapping[str, Job], placement: Placement) -> Iterator[str]:
    spans = {row.job_id: row.slot_indices for row in placement.assignments if row.slot_indices}
    for job in jobs.values():
        for name in job.after:
            if name in spans and job.job_id in spans and spans[job.job_id][0] <= spans[name][-1]:
                yield f"job '{job.job_id}' starts before '{name}', which it waits for, has ended"


def _proof_faults(placement: Placement, total_g: float) -> Iterator[str]:
    proof = placement.certificate
    if not _close(proof.objective_g, total_g, total_g):
        yield f"the certificate says {proof.objective_g!r} g, the plan emits {total_g!r} g"
    if proof.lower_bound_g > proof.objective_g * (1 + _RELATIVE):
        yield f"the bound {proof.lower_bound_g!r} g lies above the plan's {proof.objective_g!r} g"
    if proof.status == "optimal" and not _close(proof.objective_g, proof.lower_bound_g, total_g):
        yield "the certificate says optimal, but bound and plan differ"


def check(
    jobs: Sequence[Job],
    fleet: Fleet,
    forecasts: Mapping[str, Forecast],
    slots: SlotGrid,
    placement: Placement,
    *,
    free_vcpus: Mapping[str, Sequence[float]] | None = None,
) -> CheckReport:
    """Validate a plan against what the user gave.

    Parameters
    ----------
    jobs : sequence of Job
        The queue.
    fleet : Fleet
        Regions and capacity.
    forecasts : mapping of str to Forecast
        Per grid zone.
    slots : SlotGrid
        The planning grid.
    placement : Placement
        The plan.
    free_vcpus : mapping of str to sequence of float, optional
        Threads free in each slot, for regions where that isn't all they have.

    Returns
    -------
    CheckReport
        With the recomputed total.

    Raises
    ------
    PlanRefused
        A job is missing, twice, outside its limits or before one it waits for; a capacity is exceeded; a
        number of grams is off by more than 1e-9; or the bound is no bound.
    """
    known = {job.job_id: job for job in jobs}
    regions = {region.name: region for region in fleet.regions}
    faults: list[str] = []
    if placement.slots != slots:
        faults.append("the plan is on another grid")
    ids = [row.job_id for row in placement.assignments]
    if sorted(ids) != sorted(known):
        faults.append(f"the plan has {len(ids)} assignments ({len(set(ids))} distinct) for {len(known)} jobs")
    totals: list[float] = []
    for row in placement.assignments:
        if row.job_id not in known:
            faults.append(f"job '{row.job_id}' is not in the queue")
            continue
        job = known[row.job_id]
        wrong = list(_job_faults(job, row, slots, fleet))
        faults += wrong
        if wrong:
            continue
        region = regions[row.region]
        grams, moved_g = _grams(job, row, region, forecasts[region.grid_zone], slots)
        if not (_close(row.operational_g, grams, grams) and _close(row.transfer_g, moved_g, moved_g)):
            faults.append(f"job '{job.job_id}' emits {grams + moved_g!r} g, the plan says {row.total_g!r} g")
        totals += [grams, moved_g]
    too_full, fullest = _capacity_faults(known, placement, fleet, free_vcpus or {})
    total_g = math.fsum(totals)
    faults += [*too_full, *_order_faults(known, placement), *_proof_faults(placement, total_g)]
    if faults:
        more = f" and {len(faults) - _FAULTS_SHOWN} more" if len(faults) > _FAULTS_SHOWN else ""
        msg = f"the plan of '{placement.policy}' breaks its limits: {'; '.join(faults[:_FAULTS_SHOWN])}{more}"
        raise PlanRefused(
            msg, hint="this is a defect of the policy: report it with the problem", value=faults
        )
    return CheckReport(jobs=len(known), total_g=total_g, fullest_share=fullest)

"""One sentence for each decision, made from its numbers."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from aicsched.domain.placement import Assignment
from aicsched.errors import LedgerError
from aicsched.slots import format_time
from aicsched.units import format_mass, kwh_from_watts

if TYPE_CHECKING:
    from aicsched.domain.fleet import Region
    from aicsched.domain.forecast import Forecast
    from aicsched.domain.job import Job
    from aicsched.slots import SlotGrid

__all__ = ["at_once", "reason_for"]


def at_once(job: Job, home: Region, forecast: Forecast, slots: SlotGrid) -> Assignment:
    """Return what a job alone would emit, started at its release in its home region.

    Parameters
    ----------
    job : Job
        The job.
    home : Region
        Its home region.
    forecast : Forecast
        Of the home region's zone, covering `slots`.
    slots : SlotGrid
        The planning grid.

    Returns
    -------
    Assignment
        Capacity is not asked for.

    Raises
    ------
    LedgerError
        The job reaches behind the grid.
    SlotError
        The forecast doesn't cover the grid.
    """
    first = max(0, -((slots.start_s - job.release_s) // slots.step_s))
    # One that scales runs on its fewest machines.
    machines = job.min_machines if job.scaling else 1
    run_s = job.duration_s / (job.scaling[machines - 1] if job.scaling else 1.0)
    indices = tuple(range(first, first + ceil(run_s / slots.step_s)))
    if indices[-1] >= len(slots):
        msg = (
            f"job '{job.job_id}' started at its release {format_time(job.release_s)} runs behind the horizon"
        )
        raise LedgerError(msg, hint="plan a longer horizon", value=job.release_s)
    offset = forecast.slots.offset_of(slots)
    mean_g_per_kwh = float(forecast.mean_g_per_kwh[offset + indices[0] : offset + indices[-1] + 1].mean())
    energy_kwh = kwh_from_watts(machines * job.vcpus * home.power_w_per_vcpu * home.pue, run_s)
    return Assignment(
        job_id=job.job_id,
        region=home.name,
        slot_indices=indices,
        operational_g=energy_kwh * mean_g_per_kwh,
    )


def reason_for(job: Job, row: Assignment, otherwise: Assignment, slots: SlotGrid) -> str:
    """Say in one sentence why a job goes where it goes.

    Parameters
    ----------
    job : Job
        The job.
    row : Assignment
        Where and when it runs.
    otherwise : Assignment
        Where and when it would run without a decision.
    slots : SlotGrid
        The planning grid.

    Returns
    -------
    str
        For example ``"moved from de to se and started 6 h later: 12 g instead of 320 g, avoids 308 g"``.
    """
    later_h = (row.slot_indices[0] - otherwise.slot_indices[0]) * slots.step_h
    steps: list[str] = []
    if row.region != otherwise.region:
        steps.append(f"moved from {otherwise.region} to {row.region}")
    if later_h:
        steps.append(f"started {abs(later_h):g} h {'later' if later_h > 0 else 'earlier'}")
    if len(row.slot_indices) < row.slot_indices[-1] - row.slot_indices[0] + 1:
        steps.append("paused in dirty hours")
    avoided_g = otherwise.total_g - row.total_g
    if not steps:
        why = (
            "it can't wait" if not job.deferrable else "no cleaner place or time has room before its deadline"
        )
        return f"stays in {row.region} and starts at once: {why}"
    against = f"{format_mass(row.total_g)} instead of {format_mass(otherwise.total_g)}"
    if avoided_g >= 0:
        return f"{' and '.join(steps)}: {against}, avoids {format_mass(avoided_g)}"
    return f"{' and '.join(steps)}: {against}, costs {format_mass(-avoided_g)} so that others emit less"

"""Sums over plans: what the pictures and tables show."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from aicsched.domain.placement import busy_s, machines_held

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.domain.placement import Placement
    from aicsched.report.model import ReportData

__all__ = [
    "emissions_by_region_g",
    "emissions_by_slot_g",
    "intensity_g_per_kwh",
    "region_order",
    "slot_wait_h",
    "telling_zones",
    "work_vcpus",
]


def region_order(data: ReportData) -> tuple[str, ...]:
    """Return the regions from the cleanest to the dirtiest by the forecast.

    Parameters
    ----------
    data : ReportData
        The facts.

    Returns
    -------
    tuple of str
        Names of regions.
    """
    mean = intensity_g_per_kwh(data, tuple(region.name for region in data.fleet.regions)).mean(axis=1)
    rows = zip(mean.tolist(), data.fleet.regions, strict=True)
    return tuple(region.name for _, region in sorted(rows, key=lambda row: (row[0], row[1].name)))


def intensity_g_per_kwh(data: ReportData, regions: tuple[str, ...]) -> NDArray[np.float64]:
    """Return the expected intensity of each region in each slot of the plan.

    Parameters
    ----------
    data : ReportData
        The facts.
    regions : tuple of str
        Names, one a row.

    Returns
    -------
    ndarray, shape (len(regions), len(slots))
        Intensity [g/kWh].
    """
    slots = data.placement.slots
    zone_of = {region.name: region.grid_zone for region in data.fleet.regions}
    rows: list[NDArray[np.float64]] = []
    for name in regions:
        forecast = data.forecasts[zone_of[name]]
        offset = forecast.slots.offset_of(slots)
        rows.append(forecast.mean_g_per_kwh[offset : offset + len(slots)])
    return np.array(rows)


def work_vcpus(data: ReportData, plan: Placement, regions: tuple[str, ...]) -> NDArray[np.float64]:
    """Return how many hardware threads a plan keeps busy.

    Parameters
    ----------
    data : ReportData
        The facts.
    plan : Placement
        A plan of its jobs.
    regions : tuple of str
        Names, one a row.

    Returns
    -------
    ndarray, shape (len(regions), len(slots))
        Hardware threads in each slot.
    """
    index = {name: row for row, name in enumerate(regions)}
    made = np.zeros((len(regions), len(plan.slots)))
    for job, row in zip(data.jobs, plan.assignments, strict=True):
        held = np.array(machines_held(job, row), np.float64)
        made[index[row.region], list(row.slot_indices)] += job.vcpus * held
    return made


def emissions_by_region_g(plan: Placement, regions: tuple[str, ...]) -> NDArray[np.float64]:
    """Return what a plan emits in each region.

    Parameters
    ----------
    plan : Placement
        A plan.
    regions : tuple of str
        Names, one a row.

    Returns
    -------
    ndarray, shape (len(regions),)
        Expected operational and transfer emissions [g].
    """
    index = {name: row for row, name in enumerate(regions)}
    made = np.zeros(len(regions))
    for row in plan.assignments:
        made[index[row.region]] += row.total_g
    return made


def emissions_by_slot_g(data: ReportData, plan: Placement) -> NDArray[np.float64]:
    """Return what a plan emits in each slot.

    Parameters
    ----------
    data : ReportData
        The facts.
    plan : Placement
        A plan.

    Returns
    -------
    ndarray, shape (len(slots),)
        Expected emissions [g]; those of moving data count in a job's first slot.
    """
    regions = tuple(region.name for region in data.fleet.regions)
    grams = dict(zip(regions, intensity_g_per_kwh(data, regions), strict=True))
    made = np.zeros(len(plan.slots))
    for job, row in zip(data.jobs, plan.assignments, strict=True):
        slots = list(row.slot_indices)
        here = grams[row.region][slots] * busy_s(job, row)
        made[slots] += row.operational_g * here / here.sum() if here.sum() else 0.0
        made[slots[0]] += row.transfer_g
    return made


def slot_wait_h(data: ReportData, plan: Placement) -> float:
    """Return how long jobs wait on average, counted in whole slots.

    Parameters
    ----------
    data : ReportData
        The facts.
    plan : Placement
        A plan of its jobs.

    Returns
    -------
    float
        Mean of end − earliest end on the plan's grid [h], as `aicsched.place.pareto` counts it.
    """
    grid = plan.slots
    waits = [
        row.slot_indices[-1] + 1
        - max(0, -((grid.start_s - job.release_s) // grid.step_s))
        - -int(-job.shortest_s // grid.step_s)
        for job, row in zip(data.jobs, plan.assignments, strict=True)
    ]  # fmt: skip
    return float(np.mean(waits)) * grid.step_h if waits else 0.0


def telling_zones(data: ReportData, count: int = 4) -> tuple[str, ...]:
    """Pick the grid zones that explain the plan best.

    Parameters
    ----------
    data : ReportData
        The facts.
    count : int
        At most this many.

    Returns
    -------
    tuple of str
        Zones where most work goes to or comes from, cleanest first.
    """
    names = tuple(region.name for region in data.fleet.regions)
    moved = work_vcpus(data, data.placement, names).sum(axis=1)
    if data.no_wait is not None:
        moved = np.abs(moved - work_vcpus(data, data.no_wait, names).sum(axis=1)) + 1e-3 * moved
    weight: dict[str, float] = {}
    for region, value in zip(data.fleet.regions, moved.tolist(), strict=True):
        weight[region.grid_zone] = weight.get(region.grid_zone, 0.0) + value
    chosen = sorted(weight, key=lambda zone: (-weight[zone], zone))[:count]
    return tuple(sorted(chosen, key=lambda zone: (float(data.forecasts[zone].mean_g_per_kwh.mean()), zone)))

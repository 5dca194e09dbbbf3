"""A small world of regions, curves and jobs for the tests of placement."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from aicsched.domain.carbon import IntensityKind
from aicsched.domain.fleet import Fleet, Region
from aicsched.domain.forecast import Forecast
from aicsched.domain.job import Job
from aicsched.slots import HOUR_S, SlotGrid

if TYPE_CHECKING:
    from aicsched.domain.placement import Placement

GRID = SlotGrid(0, HOUR_S, 8)


def forecast(zone: str, values: list[float], kind: IntensityKind = IntensityKind.AVERAGE) -> Forecast:
    return Forecast(
        grid_zone=zone,
        kind=kind,
        slots=SlotGrid(0, HOUR_S, len(values)),
        issue_time_s=0,
        mean_g_per_kwh=np.array(values),
        levels=(),
        quantiles_g_per_kwh=np.zeros((0, len(values))),
        model="test",
        source="test",
    )


def fleet(*capacities: float) -> Fleet:
    return Fleet(
        regions=tuple(
            Region(
                name=f"r{index}",
                grid_zone=f"z{index}",
                capacity_vcpus=capacity,
                power_w_per_vcpu=1000.0,
                transfer_g_per_gb=1.0,
            )
            for index, capacity in enumerate(capacities)
        )
    )


def job(job_id: str, **change: object) -> Job:
    values = {
        "vcpus": 1.0,
        "duration_s": HOUR_S,
        "release_s": 0,
        "deadline_s": 8 * HOUR_S,
        "home_region": "r0",
    }
    return Job(job_id=job_id, **(values | change))  # type: ignore[arg-type]


CURVES = {
    "z0": forecast("z0", [9, 8, 7, 3, 2, 6, 8, 9]),
    "z1": forecast("z1", [5, 5, 4, 4, 5, 5, 6, 6]),
}


def crowd(count: int = 40) -> list[Job]:
    rng = np.random.default_rng(3)
    made = []
    for index in range(count):
        hours = int(rng.integers(1, 4))
        release = int(rng.integers(0, 4))
        made.append(
            job(
                f"j{index}",
                vcpus=float(rng.integers(1, 4)),
                duration_s=hours * HOUR_S - int(rng.integers(0, 1800)),
                release_s=release * HOUR_S,
                deadline_s=min(8, release + hours + int(rng.integers(0, 4))) * HOUR_S,
                home_region=f"r{rng.integers(0, 2)}",
                suspendable=bool(rng.random() < 0.4),
                data_gb=float(rng.random() * 2),
            )
        )
    return made


def shifted(plan: Placement, **change: object) -> Placement:
    rows = (replace(plan.assignments[0], **change), *plan.assignments[1:])  # type: ignore[arg-type]
    return replace(plan, assignments=rows)

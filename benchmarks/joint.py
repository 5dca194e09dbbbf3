"""Services and jobs at the same prices, against services first and jobs in the room they leave.

Worlds are drawn here: services with a day of their own, jobs of some hours with slack,
half of them suspendable, regions whose threads are scarce; the last case is the sample's
fleet, services and jobs. The rival solves each part by our own solvers to a finer gap than
the joint plan is asked for, so that the difference is what planning together is worth.
Both plans pass the validator that loses every group in every slot.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from aicsched.domain.carbon import IntensityKind
from aicsched.domain.fleet import Fleet, Region
from aicsched.domain.forecast import Forecast
from aicsched.domain.job import Job
from aicsched.domain.service import Service
from aicsched.errors import Infeasible
from aicsched.fleet.sample import sample_fleet
from aicsched.fleet.sample_jobs import sample_jobs
from aicsched.fleet.sample_services import sample_services
from aicsched.forecast import forecast_zones
from aicsched.place.failover import solve_failover
from aicsched.place.joint import JointPlan, JointProblem, build_joint, solve_joint
from aicsched.place.joint.check import check_joint, check_losses
from aicsched.place.solve import solve
from aicsched.signals.carbon.sample import SAMPLE_NOW_S, SampleCarbon
from aicsched.slots import HOUR_S, SlotGrid
from benchmarks.tables import Table

TITLE = "Services and jobs in one plan, and one after the other"
_GAP = 0.005
_PARTS_GAP = 1e-4
# Services, jobs, regions, hours, and threads over what services need at their peak.
_FULL = ((300, 1_000, 10, 48, 2.2), (2_000, 5_000, 10, 48, 2.2))
_WARM = (150, 500, 10, 48, 2.2)
_SMOKE = ((30, 60, 5, 12, 1.7),)


class World(NamedTuple):
    """What both are planned from."""

    services: tuple[Service, ...]
    jobs: tuple[Job, ...]
    fleet: Fleet
    forecasts: dict[str, Forecast]
    slots: SlotGrid


def _drawn(services: int, jobs: int, regions: int, hours: int, room: float) -> World:
    rng = np.random.default_rng(services)
    slots = SlotGrid(0, HOUR_S, hours)
    work = tuple(
        Service(
            service_id=f"s{index}", vcpus=round(float(rng.lognormal(1.5, 0.6)), 1) + 0.1,
            home_region=f"r{index % regions}",
            hourly_share=tuple(np.round(rng.uniform(0.3, 1, 24), 2).tolist()),
        )
        for index in range(services)
    )  # fmt: skip
    queue: list[Job] = []
    for index in range(jobs):
        needs, first = int(rng.integers(1, hours // 3)), int(rng.integers(0, hours // 3))
        last = min(hours, first + needs + int(rng.integers(1, hours)))
        queue.append(
            Job(
                job_id=f"j{index}", vcpus=float(rng.integers(1, 5)), duration_s=needs * HOUR_S,
                release_s=first * HOUR_S, deadline_s=last * HOUR_S, home_region=f"r{index % regions}",
                suspendable=bool(rng.random() < 0.5),
            )
        )  # fmt: skip
    batch = sum(job.vcpus * job.duration_s for job in queue) / (hours * HOUR_S)
    weight = rng.uniform(0.7, 1.3, regions)
    threads = weight / weight.sum() * (room * sum(item.vcpus for item in work) + batch)
    places: list[Region] = []
    forecasts: dict[str, Forecast] = {}
    for index in range(regions):
        places.append(
            Region(
                name=f"r{index}", grid_zone=f"z{index}", capacity_vcpus=float(np.round(threads[index], 1)),
                power_w_per_vcpu=float(rng.uniform(2, 4)), pue=1.2,
            )
        )  # fmt: skip
        forecasts[f"z{index}"] = Forecast(
            grid_zone=f"z{index}", kind=IntensityKind.AVERAGE, slots=slots, issue_time_s=0,
            mean_g_per_kwh=rng.uniform(50, 600) * rng.uniform(0.6, 1.4, hours), levels=(),
            quantiles_g_per_kwh=np.zeros((0, hours)), model="drawn", source="drawn", synthetic=True,
        )  # fmt: skip
    return World(work, tuple(queue), Fleet(regions=tuple(places)), forecasts, slots)


def _sample() -> World:
    fleet, carbon = sample_fleet(), SampleCarbon()
    slots = SlotGrid(SAMPLE_NOW_S, HOUR_S, 96)
    history = {
        zone: carbon.read(zone).before(SAMPLE_NOW_S)
        for zone in sorted({region.grid_zone for region in fleet.regions})
    }
    forecasts = forecast_zones(history, at_s=SAMPLE_NOW_S, horizon=96, model="auto")
    return World(sample_services(fleet), sample_jobs(fleet), fleet, forecasts, slots)


def _apart(problem: JointProblem, plan: JointPlan) -> tuple[float | None, float]:
    """Plan services first and jobs in the rest: grams, None where no plan was found, and CPU seconds."""
    begun = time.process_time()
    services = solve_failover(problem.services, gap=_PARTS_GAP)
    left = problem.left(services.used_vcpus, services.reserved_vcpus)
    try:
        placement = solve(left, gap=_GAP / 2)
    except Infeasible:
        return None, time.process_time() - begun
    spent = time.process_time() - begun
    total_g = services.total_g * problem.hours + placement.total_g
    other = replace(
        plan,
        services=services,
        placement=placement,
        certificate=replace(plan.certificate, status="bounded", objective_g=total_g),
    )
    check_losses(other)
    return total_g, spent


def _together(world: World) -> tuple[JointProblem, JointPlan, float]:
    problem = build_joint(*world)
    begun = time.process_time()
    plan = solve_joint(problem, gap=_GAP)
    return problem, plan, time.process_time() - begun


def _compare(name: str, world: World) -> tuple[Any, ...]:
    problem, plan, ours_s = _together(world)
    found = check_joint(*world, plan)
    proof = plan.certificate
    theirs_g, theirs_s = _apart(problem, plan)
    assert found.served == found.losses * len(world.services), "a service does not outlive a loss"
    assert theirs_g is None or proof.lower_bound_g <= theirs_g * (1 + 1e-9), "our bound lies above a plan"
    assert theirs_g is None or plan.total_g <= theirs_g * (1 + _GAP), "planning together costs more"
    return (
        name,
        plan.total_g / 1e6,
        plan.placement.total_g / plan.total_g,
        proof.gap,
        ours_s,
        theirs_g / 1e6 if theirs_g is not None else None,
        theirs_s,
        f"{theirs_g / plan.total_g:.4f}" if theirs_g is not None else None,
        found.losses,
        found.yielded_vcpus,
    )


def run(*, smoke: bool) -> list[Table]:
    """Plan services and jobs together, and one after the other.

    Parameters
    ----------
    smoke : bool
        A small world only.

    Returns
    -------
    list of Table
        Grams of both, the proven gap, CPU seconds.
    """
    cases = _SMOKE if smoke else _FULL
    if not smoke:
        # What is compiled once is not what is measured.
        _apart(*_together(_drawn(*_WARM))[:2])
    rows: list[tuple[Any, ...]] = []
    for case in cases:
        services, jobs, regions, hours, room = case
        name = f"{services:,} services, {jobs:,} jobs × {regions} regions × {hours} h, room {room:g}"
        rows.append(_compare(name, _drawn(*case)))
    if not smoke:
        world = _sample()
        name = f"the sample: {len(world.services)} services, {len(world.jobs):,} jobs × 8 regions × 96 h"
        rows.append(_compare(name, world))
    return [
        Table(
            "",
            (
                "case", "together [t]", "of it jobs", "proven gap", "together [CPU s]",
                "services first [t]", "services first [CPU s]", "ratio, services first / together",
                "losses survived", "given up at most [vCPUs]",
            ),
            rows,
            f"Gap asked for: {_GAP:g} together; {_PARTS_GAP:g} for services and {_GAP / 2:g} for jobs one "
            "after the other. Room: threads beside the mean of the jobs, over the services' peaks.",
        )
    ]  # fmt: skip

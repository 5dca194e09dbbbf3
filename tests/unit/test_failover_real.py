"""Failover plans on real grids: every region lost in every hour of a real week, and nothing is missed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from aicsched.domain.fleet import Fleet, Region
from aicsched.domain.service import Service
from aicsched.forecast import forecast_zones
from aicsched.place.failover import FailoverMode, build_failover, solve_failover
from aicsched.place.failover.check import check_failover, replay
from aicsched.signals.carbon.file import FileCarbon
from aicsched.slots import parse_time

if TYPE_CHECKING:
    from pathlib import Path

PLACES = {
    "CISO": (37, -120), "PJM": (40, -77), "ERCO": (31, -98), "DE": (51, 10), "SE": (60, 16), "PL": (52, 20),
    "NL": (52, 5), "ES": (40, -4),
}  # fmt: skip


def test_a_real_week_outlives_every_loss_in_every_hour(shared_data: Path) -> None:
    pytest.importorskip("pyarrow.parquet")
    files = [str(shared_data / "data" / "carbon" / f"ccast13_{zone}.parquet") for zone in PLACES]
    carbon = FileCarbon(files, column="ci_lifecycle")
    at_s = parse_time("2021-10-04T00:00Z")
    series = {zone: carbon.read(zone).before(at_s) for zone in PLACES}
    curves = forecast_zones(series, at_s=at_s, horizon=168, model="seasonal")
    fleet = Fleet(
        regions=tuple(
            Region(
                name=zone, grid_zone=zone, capacity_vcpus=4000, power_w_per_vcpu=2.2, pue=1.2,
                latitude_deg=lat, longitude_deg=lon,
            )
            for zone, (lat, lon) in PLACES.items()
        )
    )  # fmt: skip
    rng = np.random.default_rng(1)
    homes = list(PLACES)
    services = [
        Service(
            service_id=f"s{index}", vcpus=float(rng.integers(5, 110)), home_region=homes[index % len(homes)],
            latency_limit_ms=float(rng.choice([60, 150, 400])),
            hourly_share=tuple((0.6 + 0.4 * np.cos((np.arange(24) - index) * np.pi / 12)).tolist()),
        )
        for index in range(300)
    ]  # fmt: skip
    slots = next(iter(curves.values())).slots
    problem = build_failover(services, fleet, curves, slots)
    totals: list[float] = []
    for mode, gap in ((FailoverMode.DEDICATED, 1e-4), (FailoverMode.SHARED, 1e-3)):
        plan = solve_failover(problem, mode, gap=gap)
        check_failover(plan)
        assert plan.certificate.gap <= gap
        lived = replay(plan, services, slots)
        assert (lived.losses, lived.violated) == (8 * 168, 0)
        totals.append(plan.total_g)
    assert totals[1] <= totals[0]

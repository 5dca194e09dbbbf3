"""The embedded sample's services: made-up always-on work with the shapes that real services have."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.domain.service import Service

if TYPE_CHECKING:
    from aicsched.domain.fleet import Fleet

__all__ = ["sample_services"]

# Kind, threads of a pod, data to restore [GB], replication lag [s], priority, and the lowest share at night.
_KINDS: Final = (
    ("web", 2.0, 0.0, 0.0, 2, 0.35),
    ("api", 2.0, 0.0, 0.0, 2, 0.5),
    ("cache", 4.0, 24.0, 0.0, 1, 0.6),
    ("database", 8.0, 0.0, 12.0, 2, 0.7),
    ("search", 4.0, 60.0, 30.0, 1, 0.5),
    ("reports", 4.0, 80.0, math.nan, 0, 0.8),
)
_PER_REGION: Final = 12
# All services together need this share of all machines at their peaks.
_LOAD_SHARE: Final = 0.42
_LIMITS_MS: Final = (40.0, 90.0, math.inf)
_DEGREES_AN_HOUR: Final = 15.0


def _day(peak_utc_h: float, night: float) -> tuple[float, ...]:
    hours = np.arange(24)
    shape = 0.5 * (1 + np.cos(2 * np.pi * (hours - peak_utc_h) / 24))
    shares = night + (1 - night) * shape
    return tuple(round(float(share), 3) for share in shares / shares.max())


def sample_services(fleet: Fleet, *, seed: int = 11) -> tuple[Service, ...]:
    """Make services for a fleet.

    Parameters
    ----------
    fleet : Fleet
        With machines: each region is home to work in proportion to its threads.
    seed : int
        Seed of the draws.

    Returns
    -------
    tuple of Service
        Twelve a region, of six kinds; lognormal sizes, a day that follows the sun, latency limits that
        keep some on their continent; of the reports nobody knows how far the replica lies behind.

    Examples
    --------
    >>> from aicsched.fleet.sample import sample_fleet
    >>> len(sample_services(sample_fleet()))
    96
    """
    rng = np.random.default_rng(seed)
    made: list[Service] = []
    for region in fleet.regions:
        threads = math.fsum(node.vcpus for node in fleet.nodes if node.region == region.name)
        weight = rng.lognormal(0.0, 0.8, _PER_REGION)
        sizes = weight / weight.sum() * threads * _LOAD_SHARE
        for index, size in enumerate(sizes.tolist()):
            kind, pod, data_gb, lag_s, priority, night = _KINDS[index % len(_KINDS)]
            longitude = 0.0 if math.isnan(region.longitude_deg) else region.longitude_deg
            made.append(
                Service(
                    service_id=f"{region.name}-{kind}-{index // len(_KINDS) + 1}",
                    vcpus=float(max(1, round(size))),
                    home_region=region.name,
                    latency_limit_ms=float(rng.choice(_LIMITS_MS, p=(0.25, 0.35, 0.4))),
                    hourly_share=_day(15 - longitude / _DEGREES_AN_HOUR, night),
                    vcpus_per_pod=pod,
                    data_gb=round(data_gb * float(rng.uniform(0.5, 1.5)), 1),
                    replication_lag_s=lag_s,
                    priority=priority,
                )
            )
    return tuple(made)

"""The embedded sample's queue: made-up batch jobs with the shapes that real traces have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.domain.job import Job
from aicsched.slots import HOUR_S

if TYPE_CHECKING:
    from aicsched.domain.fleet import Fleet

__all__ = ["SAMPLE_NOW_S", "sample_jobs"]

SAMPLE_NOW_S: Final = 1_777_507_200  # 2026-04-30T00:00Z, the end of the sample's past
_RELEASED_WITHIN_H: Final = 48
_HORIZON_H: Final = 96
# The largest job takes less than a 25th of the smallest region, so that plans can mix jobs finely.
_THREADS: Final = (1, 2, 4, 8, 16)
_THREAD_SHARES: Final = (0.10, 0.22, 0.28, 0.22, 0.18)
_SLACKS_H: Final = (0, 3, 6, 12, 24, 40)
_SLACK_SHARES: Final = (0.08, 0.12, 0.2, 0.25, 0.2, 0.15)


def sample_jobs(
    fleet: Fleet, *, start_s: int = SAMPLE_NOW_S, count: int = 1200, seed: int = 7
) -> tuple[Job, ...]:
    """Make a queue for a fleet.

    Parameters
    ----------
    fleet : Fleet
        Its regions become homes, the larger the more often.
    start_s : int
        First possible release, seconds since the epoch.
    count : int
        How many jobs.
    seed : int
        Seed of the draws.

    Returns
    -------
    tuple of Job
        Lognormal lengths of up to a day, heavy-tailed sizes and data, slack of up
        to 40 h, three in four deferrable, one in three suspendable, one in five
        bound to a few regions. All end within 96 h.

    Examples
    --------
    >>> from aicsched.fleet.sample import sample_fleet
    >>> len(sample_jobs(sample_fleet())) >= 500
    True
    """
    rng = np.random.default_rng(seed)
    names = [region.name for region in fleet.regions]
    weights = np.array([region.capacity_vcpus for region in fleet.regions], dtype=np.float64)
    weights /= weights.sum()
    jobs: list[Job] = []
    for index in range(count):
        home = names[int(rng.choice(len(names), p=weights))]
        # Quarter hours, office hours twice as busy as the night.
        release_h = min(_RELEASED_WITHIN_H * 1.0, float(rng.beta(1.3, 1.6)) * _RELEASED_WITHIN_H)
        release_s = start_s + int(release_h * 4) * HOUR_S // 4
        duration_s = int(np.clip(rng.lognormal(1.1, 0.9), 0.5, 22.0) * 4) * HOUR_S / 4
        deferrable = bool(rng.random() < 0.76)  # three in four
        slack_h = int(rng.choice(_SLACKS_H, p=_SLACK_SHARES)) if deferrable else 0
        bound = rng.random() < 0.2  # one in five
        others = rng.permutation([name for name in names if name != home])[:2].tolist()
        jobs.append(
            Job(
                job_id=f"job-{index:04}",
                vcpus=float(rng.choice(_THREADS, p=_THREAD_SHARES)),
                duration_s=duration_s,
                release_s=release_s,
                # Two hours are left for whole slots at both ends.
                deadline_s=min(
                    release_s + int(duration_s) + (slack_h + 2) * HOUR_S, start_s + _HORIZON_H * HOUR_S
                ),
                home_region=home,
                allowed_regions=tuple(sorted({home, *others})) if bound else (),
                deferrable=deferrable,
                suspendable=bool(deferrable and rng.random() < 0.45),  # one in three of all
                data_gb=round(float(rng.lognormal(0.3, 1.6)), 2),
                memory_gib=float(2 ** int(rng.integers(1, 7))),
                priority=int(rng.integers(0, 3)),
            )
        )
    return tuple(jobs)

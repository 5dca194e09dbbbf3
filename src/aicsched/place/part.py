"""Some of the jobs of a problem."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.domain.carbon import frozen_array

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.place.problem import Problem

__all__ = ["some_jobs"]

_OF_JOBS: Final = (
    *("demand", "n_slots", "first", "last", "suspendable"),
    *("energy_kwh_per_w", "resume_kwh_per_w", "home", "allowed", "transfer_g"),
)


def some_jobs(problem: Problem, jobs: NDArray[np.int64]) -> Problem:
    """Return a problem of some of the jobs, under the same limits.

    Parameters
    ----------
    problem : Problem
        The problem.
    jobs : ndarray of int64
        Indices of the jobs to keep, rising; at least one.

    Returns
    -------
    Problem
        Their order among themselves is kept.
    """
    place = np.full(len(problem.job_ids), -1)
    place[jobs] = np.arange(len(jobs))
    order = place[problem.order]
    return replace(
        problem,
        job_ids=tuple(problem.job_ids[job] for job in jobs.tolist()),
        order=frozen_array(order[(order >= 0).all(axis=1)].reshape(-1, 2), np.int64),
        **{
            name: frozen_array(getattr(problem, name)[jobs], getattr(problem, name).dtype)
            for name in _OF_JOBS
        },
    )

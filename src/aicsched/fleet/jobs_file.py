"""Queues of jobs from CSV, JSON and parquet."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from aicsched.domain.job import Job
from aicsched.errors import InputError, did_you_mean
from aicsched.fleet.schemas import JOBS
from aicsched.fleet.tables import read_objects
from aicsched.slots import format_time

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from aicsched.domain.fleet import Fleet

__all__ = ["check_jobs", "jobs_to_csv", "read_jobs"]


def _job(cells: dict[str, Any]) -> Job:
    try:
        scaling = tuple(float(part) for part in cells.pop("scaling", ()))
    except ValueError as error:
        msg = f"scaling holds what is no number ({error})"
        raise InputError(msg, hint="give speeds on 1, 2, ... machines over one, as 1;1.9;2.7") from error
    return Job(release_s=cells.pop("release"), deadline_s=cells.pop("deadline"), scaling=scaling, **cells)


def read_jobs(path: str | Path) -> tuple[Job, ...]:
    """Read a queue of jobs.

    Parameters
    ----------
    path : str or Path
        CSV, parquet, JSON or JSON lines.

    Returns
    -------
    tuple of Job
        In the order of the file.

    Raises
    ------
    InputError
        The file or a row is not what ``aicsched schema jobs`` says, or a name
        appears twice; all wrong rows are told at once.
    """
    return read_objects(path, JOBS, _job, key="job_id")


def check_jobs(jobs: Sequence[Job], fleet: Fleet) -> None:
    """Check that the regions jobs name exist.

    Parameters
    ----------
    jobs : sequence of Job
        The queue.
    fleet : Fleet
        Where they are to run.

    Raises
    ------
    InputError
        A region is unknown; the nearest names are given.
    """
    known = [region.name for region in fleet.regions]
    for job in jobs:
        for name in (job.home_region, *job.allowed_regions):
            if name not in known:
                msg = f"job '{job.job_id}' names region '{name}', which the fleet doesn't have"
                raise InputError(msg, hint=did_you_mean(name, known), value=name)


def jobs_to_csv(jobs: Sequence[Job]) -> str:
    """Write jobs as CSV that `read_jobs` reads back.

    Parameters
    ----------
    jobs : sequence of Job
        The queue.

    Returns
    -------
    str
        A header and one line a job.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [column.name for column in JOBS.columns]
    writer.writerow(names)
    for job in jobs:
        special = {
            "release": format_time(job.release_s),
            "deadline": format_time(job.deadline_s),
            "allowed_regions": ";".join(job.allowed_regions),
            "after": ";".join(job.after),
            "scaling": ";".join(map(repr, job.scaling)),
        }
        writer.writerow([special[name] if name in special else getattr(job, name) for name in names])
    return text.getvalue()

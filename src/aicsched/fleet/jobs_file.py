"""Queues of jobs from CSV, JSON and parquet."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aicsched.domain.job import Job
from aicsched.domain.schema import read_rows
from aicsched.errors import InputError, did_you_mean
from aicsched.fleet.schemas import JOBS
from aicsched.fleet.tables import read_json, table_rows
from aicsched.slots import format_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aicsched.domain.fleet import Fleet

__all__ = ["check_jobs", "jobs_to_csv", "object_rows", "read_jobs"]


def _job(cells: dict[str, Any]) -> Job:
    try:
        scaling = tuple(float(part) for part in cells.pop("scaling", ()))
    except ValueError as error:
        msg = f"scaling holds what is no number ({error})"
        raise InputError(msg, hint="give speeds on 1, 2, ... machines over one, as 1;1.9;2.7") from error
    return Job(release_s=cells.pop("release"), deadline_s=cells.pop("deadline"), scaling=scaling, **cells)


def _objects(rows: Any, file: Path, name: str) -> list[dict[str, Any]]:  # noqa: ANN401 - any document
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        msg = f"'{file.name}' is no list of {name}"
        raise InputError(msg, hint=f"give objects, see `aicsched schema {name}`", value=str(file))
    return rows


def object_rows(file: Path, name: str) -> tuple[list[dict[str, Any]], int]:
    """Read the rows of a table, whatever the format.

    Parameters
    ----------
    file : Path
        CSV, parquet, JSON or JSON lines.
    name : str
        What the rows are: the key of a JSON object, and the schema's name.

    Returns
    -------
    tuple of list of dict, int
        Cells by column, and the number of the first row.

    Raises
    ------
    InputError
        The file can't be read, or is no table.
    """
    if file.suffix == ".jsonl":
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
            rows = [json.loads(line) for line in lines if line.strip()]
        except (OSError, ValueError, RecursionError) as error:
            msg = f"'{file}' is no file of JSON lines ({error})"
            raise InputError(msg, hint="write one object a line", value=str(file)) from error
        return _objects(rows, file, name), 1
    if file.suffix == ".json":
        document = read_json(file)
        rows = document.get(name) if isinstance(document, dict) else document
        return _objects(rows, file, name), 1
    return table_rows(file), 2


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
    file = Path(path)
    rows, first_row = object_rows(file, "jobs")
    if not rows:
        msg = f"'{file}' holds no jobs"
        raise InputError(msg, hint="give at least one", value=str(file))
    jobs = read_rows(JOBS, rows, _job, where=f"'{file.name}'", first_row=first_row)
    seen: set[str] = set()
    for number, job in enumerate(jobs, start=first_row):
        if job.job_id in seen:
            msg = f"'{file.name}' row {number}: job '{job.job_id}' appears twice"
            raise InputError(msg, hint="give each job a name of its own", value=job.job_id)
        seen.add(job.job_id)
    return jobs


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

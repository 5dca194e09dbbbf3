"""Queues from files of every format, and every fault told with its row."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

import pytest

from aicsched.domain.fleet import Fleet, Region
from aicsched.domain.job import Job
from aicsched.errors import InputError
from aicsched.fleet.jobs_file import check_jobs, jobs_to_csv, read_jobs
from aicsched.fleet.sample import sample_fleet
from aicsched.fleet.sample_jobs import sample_jobs
from aicsched.slots import parse_time

if TYPE_CHECKING:
    from pathlib import Path

ROW: dict[str, Any] = {
    "job_id": "train",
    "vcpus": 4,
    "duration_s": 7200,
    "release": "2021-07-01T02:00+02:00",
    "deadline": "2021-07-01T12:00Z",
    "home_region": "north",
    "allowed_regions": ["north", "south"],
    "deferrable": False,
    "suspendable": True,
    "data_gb": 2.5,
    "memory_gib": 16,
    "priority": 3,
}
JOB = Job(
    job_id="train",
    vcpus=4.0,
    duration_s=7200.0,
    release_s=parse_time("2021-07-01T00:00Z"),
    deadline_s=parse_time("2021-07-01T12:00Z"),
    home_region="north",
    allowed_regions=("north", "south"),
    deferrable=False,
    suspendable=True,
    data_gb=2.5,
    memory_gib=16.0,
    priority=3,
)


def csv_text(*rows: dict[str, Any]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(dict.fromkeys(name for row in rows for name in row)))
    writer.writeheader()
    for row in rows:
        writer.writerow(
            {name: ";".join(cell) if isinstance(cell, list) else cell for name, cell in row.items()}
        )
    return out.getvalue()


def written(path: Path, *rows: dict[str, Any]) -> Path:
    if path.suffix == ".json":
        path.write_text(json.dumps(list(rows)))
    elif path.suffix == ".jsonl":
        path.write_text("\n\n".join(json.dumps(row) for row in rows))
    elif path.suffix == ".parquet":
        pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        pq.write_table(pa.Table.from_pylist(list(rows)), path)
    else:
        path.write_text(csv_text(*rows))
    return path


@pytest.mark.parametrize("name", ["j.csv", "j.json", "j.jsonl", "j.parquet"])
def test_every_format_gives_the_same_jobs(tmp_path: Path, name: str) -> None:
    other = {**ROW, "job_id": "7", "allowed_regions": [], "priority": None}
    jobs = read_jobs(written(tmp_path / name, ROW, other))
    assert jobs[0] == JOB
    assert (jobs[1].job_id, jobs[1].allowed_regions, jobs[1].priority) == ("7", (), 0)


def test_times_of_parquet_and_a_document_with_a_key_jobs_are_read(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    stamp = pa.timestamp("ns", "UTC")
    table = {name: [cell] for name, cell in ROW.items()}
    table["release"] = pa.array([JOB.release_s * 10**9], stamp)
    table["deadline"] = pa.array([JOB.deadline_s * 10**9], stamp)
    pq.write_table(pa.table(table), tmp_path / "j.parquet")
    (tmp_path / "j.json").write_text(json.dumps({"jobs": [ROW]}))
    assert read_jobs(tmp_path / "j.parquet") == read_jobs(tmp_path / "j.json") == (JOB,)


def test_only_required_columns_are_needed_and_notes_may_stand_beside(tmp_path: Path) -> None:
    few = {
        name: ROW[name] for name in ("job_id", "vcpus", "duration_s", "release", "deadline", "home_region")
    }
    (job,) = read_jobs(written(tmp_path / "j.csv", {**few, "x_team": "ml"}))
    assert (job.deferrable, job.suspendable, job.data_gb, job.allowed_regions) == (True, False, 0.0, ())


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"deadline": "2021-06-30T12:00Z"}, "deadline 2021-06-30T12:00Z not after its release"),
        ({"duration_s": 360_000}, "runs 100 h but has only 12 h"),
        ({"duration_s": "nan"}, "duration_s: 'nan' is no number"),
        ({"vcpus": 0}, "vcpus is 0"),
        ({"vcpus": -1}, "vcpus is -1"),
        ({"data_gb": -1}, "data_gb is -1"),
        ({"release": "2021-07-01T02:00"}, "release: .* no time zone"),
        ({"release": ""}, "release is empty"),
        ({"home_region": " "}, "home_region is empty"),
        ({"deferrable": "perhaps"}, "deferrable: 'perhaps' is no flag"),
        ({"priority": 1.5}, "priority: '1.5' is no integer"),
    ],
)
@pytest.mark.parametrize("name", ["j.csv", "j.json", "j.jsonl"])
def test_wrong_cells_are_told_with_file_and_row(
    tmp_path: Path, name: str, change: dict[str, Any], told: str
) -> None:
    row = {"j.csv": 3, "j.json": 2, "j.jsonl": 2}[name]
    file = written(tmp_path / name, ROW, {**ROW, "job_id": "second", **change})
    with pytest.raises(InputError, match=rf"'{name}': row {row}: .*{told}"):
        read_jobs(file)


def test_a_name_that_appears_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'j\.csv' row 3: job 'train' appears twice"):
        read_jobs(written(tmp_path / "j.csv", ROW, ROW))


def test_columns_are_those_of_the_schema(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown column 'deadlin'; did you mean deadline"):
        read_jobs(written(tmp_path / "j.csv", {**ROW, "deadlin": 1}))
    with pytest.raises(InputError, match="required columns are missing: vcpus, home_region"):
        read_jobs(
            written(tmp_path / "j.csv", {k: v for k, v in ROW.items() if k not in ("vcpus", "home_region")})
        )


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("j.json", b""),
        ("j.json", b"[]"),
        ("j.json", b"{"),
        ("j.json", b"5"),
        ("j.json", b'{"jobs": {"a": 1}}'),
        ("j.json", b"[1, 2]"),
        ("j.json", b"[" * 100_000),
        ("j.json", b'[{"vcpus": ' + b"9" * 5000 + b"}]"),
        ("j.json", b"\xff\xfe\x00"),
        ("j.jsonl", b""),
        ("j.jsonl", b"5\n"),
        ("j.jsonl", b'{"a": 1}\n{'),
        ("j.jsonl", b"[" * 100_000),
        ("j.jsonl", b"\xff\xfe\x00"),
        ("j.csv", b""),
        ("j.csv", b"job_id\n"),
    ],
)
def test_documents_that_are_no_queue_are_refused_in_one_line(
    tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_jobs(tmp_path / name)
    assert caught.value.hint
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["j.json", "j.jsonl", "j.csv", "j.parquet"])
def test_an_absent_file_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=name):
        read_jobs(tmp_path / name)


def test_unknown_regions_bring_the_nearest_names() -> None:
    regions = tuple(
        Region(name=name, grid_zone="DE", capacity_vcpus=8, power_w_per_vcpu=2) for name in ("north", "south")
    )
    fleet = Fleet(regions=regions)
    check_jobs([JOB], fleet)
    for field, names in (("home_region", "nort"), ("allowed_regions", ("north", "nort"))):
        odd = Job(**{**{name: getattr(JOB, name) for name in JOB.__slots__}, field: names})
        with pytest.raises(
            InputError, match=r"job 'train' names region 'nort', .*; did you mean north or south"
        ):
            check_jobs([odd], fleet)


def test_the_samples_queue_goes_through_csv_unchanged(tmp_path: Path) -> None:
    jobs = sample_jobs(sample_fleet())
    (tmp_path / "j.csv").write_text(jobs_to_csv(jobs))
    assert read_jobs(tmp_path / "j.csv") == jobs
    check_jobs(jobs, sample_fleet())

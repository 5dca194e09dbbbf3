"""What is written is read back equal, and nothing that is read ends in a foreign exception."""

from __future__ import annotations

import json
import string
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aicsched.domain.arrays import frame_from_series, series_from_frame
from aicsched.domain.carbon import CarbonSeries, IntensityKind, Quality
from aicsched.domain.fleet import Backend, BackendKind, Fleet, Node, Region
from aicsched.domain.job import Job
from aicsched.domain.regular import GAP_LIMIT_SHARE, lay_on_grid
from aicsched.domain.schema import read_cell
from aicsched.errors import AicschedError
from aicsched.fleet.file import fleet_to_json, read_fleet
from aicsched.fleet.jobs_file import jobs_to_csv, read_jobs
from aicsched.fleet.schemas import BACKENDS, JOBS, NODES, REGIONS
from aicsched.footprint.power import families
from aicsched.signals.carbon.file import FileCarbon
from aicsched.signals.telemetry_file import read_telemetry
from aicsched.slots import SlotGrid, format_time

FEW = settings(max_examples=30, deadline=None)
NAMES = st.text(string.ascii_letters + string.digits + "-_.äß ,'\"", min_size=1, max_size=12).filter(
    lambda text: text == text.strip() and text != ""
)
AMOUNTS = st.floats(0, 1e6, allow_nan=False)
TIMES = st.integers(0, 4_000_000_000)


def through(text: str, name: str, read: Any) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / name
        file.write_text(text, encoding="utf-8", newline="")
        return read(file)


@st.composite
def jobs(draw: st.DrawFn) -> Job:
    release_s, window_s = draw(TIMES), draw(st.integers(1, 10**7))
    return Job(
        job_id=draw(NAMES),
        vcpus=draw(st.floats(1e-3, 1e4)),
        duration_s=draw(st.floats(1e-3, 1.0)) * window_s,
        release_s=release_s,
        deadline_s=release_s + window_s,
        home_region=draw(NAMES),
        allowed_regions=tuple(draw(st.lists(NAMES, max_size=3))),
        deferrable=draw(st.booleans()),
        suspendable=draw(st.booleans()),
        data_gb=draw(AMOUNTS),
        memory_gib=draw(AMOUNTS),
        priority=draw(st.integers(-9, 9)),
    )


@FEW
@given(st.lists(jobs(), min_size=1, max_size=5, unique_by=lambda job: job.job_id))
def test_jobs_go_through_csv_unchanged(queue: list[Job]) -> None:
    assert through(jobs_to_csv(queue), "j.csv", read_jobs) == tuple(queue)


@st.composite
def fleets(draw: st.DrawFn) -> Fleet:
    names = draw(st.lists(NAMES, min_size=1, max_size=3, unique=True))
    degrees = st.one_of(st.just(float("nan")), st.floats(-90, 90))
    regions = tuple(
        Region(
            name=name,
            grid_zone=draw(NAMES),
            capacity_vcpus=draw(AMOUNTS),
            power_w_per_vcpu=draw(AMOUNTS),
            pue=draw(st.floats(1, 3)),
            latitude_deg=draw(degrees),
            wue_l_per_kwh=draw(st.one_of(st.just(float("nan")), AMOUNTS)),
            embodied_g_per_vcpu_h=draw(AMOUNTS),
            failure_group=draw(st.one_of(st.just(""), NAMES)),
        )
        for name in names
    )
    nodes = tuple(
        Node(
            name=name,
            region=draw(st.sampled_from(names)),
            vcpus=draw(st.floats(1, 999)),
            memory_gib=draw(AMOUNTS),
            cpu_family=draw(st.sampled_from(sorted(families()))),
            idle_w=draw(st.floats(0, 100)),
            max_w=draw(st.floats(100, 900)),
            embodied_kg=draw(AMOUNTS),
            labels=dict(sorted(draw(st.dictionaries(NAMES, NAMES, max_size=2)).items())),
        )
        for name in draw(st.lists(NAMES, max_size=2, unique=True))
    )
    backends = tuple(
        Backend(
            name=name,
            region=draw(st.sampled_from(names)),
            kind=draw(st.sampled_from(list(BackendKind))),
            static_w=draw(AMOUNTS),
            active_w=draw(AMOUNTS),
            properties=dict(sorted(draw(st.dictionaries(NAMES, st.floats(-1e9, 1e9), max_size=2)).items())),
        )
        for name in draw(st.lists(NAMES, max_size=2, unique=True))
    )
    return Fleet(
        regions=regions, nodes=nodes, backends=backends, synthetic=draw(st.booleans()), source="file:f.json"
    )


@FEW
@given(fleets())
def test_fleets_go_through_json_unchanged(fleet: Fleet) -> None:
    assert repr(through(fleet_to_json(fleet), "f.json", read_fleet)) == repr(fleet)  # repr, for NaN's sake


@st.composite
def series(draw: st.DrawFn) -> CarbonSeries:
    """Draw a series whose ends are known and whose gaps stay below the limit."""
    count = draw(st.integers(4, 60))
    gaps = draw(st.sets(st.integers(1, count - 2), max_size=int(GAP_LIMIT_SHARE * count)))
    values = draw(st.lists(st.floats(7, 2500), min_size=count, max_size=count))
    step_s = draw(st.sampled_from([300, 900, 1800, 3600, 86_400]))
    return CarbonSeries(
        grid_zone=draw(st.sampled_from(["DE", "AUS-QLD", "US_NY"])),
        kind=draw(st.sampled_from(list(IntensityKind))),
        slots=SlotGrid(draw(TIMES), step_s, count),
        values_g_per_kwh=[np.nan if index in gaps else value for index, value in enumerate(values)],
        source="file:all.csv#ci_g_per_kwh",
        synthetic=draw(st.booleans()),
    )


def equal(one: CarbonSeries, two: CarbonSeries) -> None:
    assert (one.grid_zone, one.kind, one.slots, one.source) == (
        two.grid_zone,
        two.kind,
        two.slots,
        two.source,
    )
    np.testing.assert_array_equal(one.values_g_per_kwh, two.values_g_per_kwh)
    np.testing.assert_array_equal(one.quality, two.quality)


@FEW
@given(series(), st.randoms(use_true_random=False))
def test_series_go_through_csv_unchanged_in_any_order_and_twice(item: CarbonSeries, random: Any) -> None:
    rows = [
        f"{item.grid_zone},{format_time(time_s)},{value!r}"
        for time_s, value in zip(item.slots.starts_s().tolist(), item.values_g_per_kwh.tolist(), strict=True)
    ]
    rows += random.sample(rows, k=min(3, len(rows)))
    random.shuffle(rows)
    text = "grid_zone,time,ci_g_per_kwh\n" + "\n".join(rows)
    equal(
        through(text, "all.csv", lambda file: FileCarbon([file], kind=item.kind).read(item.grid_zone)), item
    )


@FEW
@given(series(), st.data())
def test_series_go_through_parquet_unchanged(item: CarbonSeries, data: st.DataObject) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    unit, scale = data.draw(st.sampled_from([("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)]))
    stamps = pa.array(
        [time_s * scale for time_s in item.slots.starts_s().tolist()], pa.timestamp(unit, "UTC")
    )
    cells = [None if np.isnan(value) else value for value in item.values_g_per_kwh.tolist()]
    table = pa.table({"time": stamps, "grid_zone": [item.grid_zone] * len(cells), "ci_g_per_kwh": cells})
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "all.csv.parquet"
        pq.write_table(table, file, row_group_size=data.draw(st.integers(1, 64)))
        got = FileCarbon([file], kind=item.kind).read(item.grid_zone)
    assert got.slots == item.slots
    np.testing.assert_array_equal(got.values_g_per_kwh, item.values_g_per_kwh)


@FEW
@given(series(), st.randoms(use_true_random=False))
def test_series_go_through_frames_unchanged_in_any_order(item: CarbonSeries, random: Any) -> None:
    frame = frame_from_series(item)
    order = random.sample(range(len(frame)), k=len(frame))
    back = series_from_frame(frame.iloc[order])
    equal(back, item)
    assert back.synthetic == item.synthetic


@FEW
@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.sampled_from([1.0, 2.0, float("nan")])), min_size=1, max_size=50
    )
)
def test_nothing_that_is_laid_on_a_grid_is_made_up(rows: list[tuple[int, float]]) -> None:
    """Every value laid comes from a row of its time, and every row's value is laid."""
    time_s = np.array([3600 * hour for hour, _ in rows])
    try:
        grid, laid, _, _ = lay_on_grid(time_s, np.array([value for _, value in rows]), "rows")
    except AicschedError:
        return
    at = dict(zip(grid.starts_s().tolist(), laid.tolist(), strict=True))
    # A row without a value says nothing beside one that has it.
    told = {3600 * hour: value for hour, value in sorted(rows, key=lambda row: not np.isnan(row[1]))}
    for when, value in at.items():
        assert repr(value) == repr(told.get(when, float("nan")))
    assert set(told) <= set(at)
    known = np.flatnonzero(~np.isnan(laid))
    assert np.isnan(laid[known[0] : known[-1] + 1]).mean() <= GAP_LIMIT_SHARE


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)


ROWS: dict[str, dict[str, Any]] = {
    schema.name: {
        column.name: read_cell(column, column.example) for column in schema.columns if column.type != "time"
    }
    for schema in (JOBS, REGIONS, NODES, BACKENDS)
}
ROWS["jobs"] |= {"release": "2026-05-01T08:00Z", "deadline": "2026-05-01T20:00Z"}


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_no_json_ends_in_an_exception_that_is_not_ours(data: st.DataObject) -> None:
    """One cell, row, table or document of a valid file is replaced by anything that JSON can say."""
    rows = {name: dict(row) for name, row in ROWS.items()}
    where = data.draw(st.sampled_from(sorted(rows)))
    rows[where][data.draw(st.sampled_from(sorted(rows[where])))] = data.draw(JSON)
    lists: dict[str, Any] = {name: [row] for name, row in rows.items()}
    if data.draw(st.booleans()):
        lists[where] = data.draw(st.one_of(JSON, st.lists(JSON, max_size=2)))
    jobs_document = lists.pop("jobs")
    with suppress(AicschedError):
        through(json.dumps(jobs_document), "j.json", read_jobs)
    with suppress(AicschedError):
        through(json.dumps(lists), "f.json", read_fleet)


CELLS = st.one_of(
    st.sampled_from(
        ["", "DE", "1", "0.5", "nan", "inf", "-3", "2021-01-01T00:00Z", "2021-01-01T01:00Z", "2021-01-01"]
    ),
    st.text(max_size=5),
)
HEADS = st.sampled_from(
    ["time", "zone", "ci", "node", "cpu_share", "value", "job_id", "x_a", "", "pue", "moer_lb_per_mwh"]
)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(HEADS, max_size=4),
    st.lists(st.lists(CELLS, max_size=4), max_size=4),
    st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_no_csv_ends_in_an_exception_that_is_not_ours(
    heads: list[str], rows: list[list[str]], end: str
) -> None:
    text = end.join([",".join(heads), *(",".join(row) for row in rows)])
    for read in (lambda file: FileCarbon([file]), read_telemetry, read_jobs, read_fleet):
        with suppress(AicschedError):
            through(text, "x.csv", read)


@FEW
@given(st.sampled_from(list(Quality)))
def test_every_quality_goes_through_a_frame(quality: Quality) -> None:
    item = CarbonSeries(
        grid_zone="DE",
        kind=IntensityKind.AVERAGE,
        slots=SlotGrid(0, 3600, 3),
        values_g_per_kwh=[1, 2, 3],
        source="a",
        quality=np.full(3, quality),
    )
    equal(series_from_frame(frame_from_series(item)), item)

"""Telemetry files: unknown stays unknown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from aicsched.domain.telemetry import OPTIONAL, Telemetry
from aicsched.errors import AicschedError, InputError, SignalInvalid, SlotError, UnitError
from aicsched.signals.telemetry_file import read_telemetry, telemetry_to_csv
from aicsched.slots import SlotGrid, parse_time

if TYPE_CHECKING:
    from pathlib import Path

HEAD = "node,time,cpu_share,network_mb,memory_share\n"


def file(tmp_path: Path, *rows: str, head: str = HEAD) -> Path:
    (tmp_path / "t.csv").write_text(head + "\n".join(rows) + "\n")
    return tmp_path / "t.csv"


def test_rows_and_cells_that_are_absent_are_unknown_never_idle(tmp_path: Path) -> None:
    got = read_telemetry(
        file(
            tmp_path,
            "b,2021-01-01T02:00Z,0.5,10,",
            "a,2021-01-01T00:00Z,0.1,,0.2",
            "a,2021-01-01T01:00Z,,3,0.3",
            "b,2021-01-01T01:00+01:00,0,0,0",
        )
    )
    assert got.nodes == ("b", "a")
    assert got.slots == SlotGrid(parse_time("2021-01-01T00:00Z"), 3600, 3)
    nan = np.nan
    np.testing.assert_array_equal(got.cpu_share, [[0, nan, 0.5], [0.1, nan, nan]])
    np.testing.assert_array_equal(got.network_mb, [[0, nan, 10], [nan, 3, nan]])
    np.testing.assert_array_equal(got.memory_share, [[0, nan, nan], [0.2, 0.3, nan]])
    assert (got.source, got.synthetic) == ("file:t.csv", False)


def test_columns_that_are_optional_may_be_absent(tmp_path: Path) -> None:
    got = read_telemetry(file(tmp_path, "a,2021-01-01T00:00Z,0.1", head="node,time,cpu_share\n"))
    assert np.isnan(got.network_mb).all()
    assert np.isnan(got.memory_share).all()


def test_what_a_source_does_not_have_is_none_and_what_it_does_not_know_is_nan(tmp_path: Path) -> None:
    head = f"node,time,cpu_share,{','.join(OPTIONAL)}\n"
    rows = ("a,2021-01-01T00:00Z,0.1,1,0.2,0.3,0.4,500,0.6,7,800", "a,2021-01-01T01:00Z,0.1,,,,,,,,")
    full = read_telemetry(file(tmp_path, *rows, head=head))
    assert [getattr(full, name)[0, 0] for name in OPTIONAL] == [1, 0.2, 0.3, 0.4, 500, 0.6, 7, 800]
    assert all(np.isnan(getattr(full, name)[0, 1]) for name in OPTIONAL)
    bare = read_telemetry(file(tmp_path, "a,2021-01-01T00:00Z,0.1", head="node,time,cpu_share\n"))
    assert all(getattr(bare, name) is None for name in OPTIONAL)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    grid = SlotGrid(parse_time("2021-01-01T00:00Z"), 300, 3)
    rng = np.random.default_rng(3)
    arrays = {name: rng.random((2, 3)) for name in ("cpu_share", "network_mb", "memory_share", "power_w")}
    arrays["power_w"][0, 1] = arrays["cpu_share"][1, 2] = np.nan
    made = Telemetry(nodes=("a", 'b,"c'), slots=grid, source="test", **arrays)
    (tmp_path / "t.csv").write_text(telemetry_to_csv(made))
    got = read_telemetry(tmp_path / "t.csv")
    assert (got.nodes, got.slots, got.restarts) == (made.nodes, grid, None)
    for name, values in arrays.items():
        np.testing.assert_allclose(getattr(got, name), values, rtol=1e-8)


def test_parquet_is_the_same(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    times = pa.array([0, 300], pa.timestamp("s", "UTC"))
    pq.write_table(
        pa.table({"node": ["a", "a"], "time": times, "cpu_share": [None, 0.5]}), tmp_path / "t.parquet"
    )
    got = read_telemetry(tmp_path / "t.parquet")
    assert got.slots == SlotGrid(0, 300, 2)
    np.testing.assert_array_equal(got.cpu_share, [[np.nan, 0.5]])


@pytest.mark.parametrize(
    ("rows", "error", "told"),
    [
        (
            ("a,2021-01-01T00:00Z,37,1,0.1",),
            SignalInvalid,
            "node 'a': cpu_share of 37 is out of range; use 0..1",
        ),
        (("a,2021-01-01T00:00Z,-0.1,1,0.1",), SignalInvalid, "out of range"),
        (("a,2021-01-01T00:00Z,inf,1,0.1",), SignalInvalid, "out of range"),
        (("a,2021-01-01T00:00Z,0.1,-5,0.1",), SignalInvalid, "network_mb of -5"),
        (("a,2021-01-01T00:00Z,busy,1,0.1",), UnitError, "row 2: 'busy' is not a number"),
        (("a,2021-01-01T00:00,0.1,1,0.1",), SlotError, "no time zone"),
        ((",2021-01-01T00:00Z,0.1,1,0.1",), InputError, "row 2: column 'node' is empty"),
        (("a,2021-01-01T00:00Z,0.1,1,0.1",) * 2, InputError, "'a' has two rows for 2021-01-01T00:00Z"),
        (
            tuple(f"a,2021-01-01T00:{minute:02}Z,0.1,1,0.1" for minute in (0, 5, 12)),
            SlotError,
            "00:12Z is off the grid of 300 s",
        ),
        (
            (
                "a,2021-01-01T00:00:00Z,0.1,1,0.1",
                "a,2021-01-01T00:00:01Z,0.1,1,0.1",
                "a,2221-01-01T00:00Z,0.1,1,0.1",
            ),
            SlotError,
            "3 rows lie on 1 nodes times 6311347",
        ),
    ],
)
def test_what_can_not_be_true_is_refused(
    tmp_path: Path, rows: tuple[str, ...], error: type[AicschedError], told: str
) -> None:
    with pytest.raises(error, match=told):
        read_telemetry(file(tmp_path, *rows))


def test_columns_are_those_of_the_schema(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown column 'network_mbps'; did you mean network_mb"):
        read_telemetry(file(tmp_path, "a,2021-01-01T00:00Z,0.1,4", head="node,time,cpu_share,network_mbps\n"))
    with pytest.raises(
        InputError, match="required columns are missing: cpu_share; see `aicsched schema telemetry`"
    ):
        read_telemetry(file(tmp_path, "a,2021-01-01T00:00Z", head="node,time\n"))

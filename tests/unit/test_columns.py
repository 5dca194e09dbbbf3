"""Tables as plain columns: what each format gives, and what is refused."""

from __future__ import annotations

import gzip
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from aicsched.domain.columns import epoch_seconds, numbers, read_columns, texts
from aicsched.errors import InputError, SlotError, SourceUnavailable, UnitError

if TYPE_CHECKING:
    from pathlib import Path

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

CSV = "time,ci\n2021-01-01T00:00Z,400\n2021-01-01T01:00Z,\n"


def written(path: Path, **columns: object) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def utc(*seconds: float | None, unit: str = "us") -> object:
    scale = {"s": 1, "ms": 1e3, "us": 1e6, "ns": 1e9}[unit]
    stamps = [None if second is None else int(second * scale) for second in seconds]
    return pa.array(stamps, pa.timestamp(unit, "UTC"))


@pytest.mark.parametrize(("name", "text"), [("a.csv", CSV), ("a.txt", CSV), ("a.csv", "\ufeff" + CSV)])
def test_csv_gives_text_by_column_with_and_without_a_byte_order_mark(
    tmp_path: Path, name: str, text: str
) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    columns = read_columns(tmp_path / name)
    assert columns == {"time": ["2021-01-01T00:00Z", "2021-01-01T01:00Z"], "ci": ["400", ""]}


def test_compressed_csv_is_the_same_table(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(CSV.encode(), mtime=0))
    assert read_columns(tmp_path / "a.csv.gz")["ci"] == ["400", ""]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_parquet_times_of_any_resolution_are_equal(tmp_path: Path, unit: str) -> None:
    columns = read_columns(written(tmp_path / "a.parquet", time=utc(0, 3600, unit=unit)))
    assert epoch_seconds(columns["time"], where="a").tolist() == [0, 3600]


def test_parquet_times_of_another_zone_are_turned_to_utc(tmp_path: Path) -> None:
    berlin = pa.array(
        [0, 3600], pa.timestamp("s", "Europe/Berlin")
    )  # arrow stores UTC beside the zone's name
    columns = read_columns(written(tmp_path / "a.parquet", time=berlin))
    assert epoch_seconds(columns["time"], where="a").tolist() == [0, 3600]


def test_parquet_nulls_in_numbers_are_missing_whatever_their_type_and_slice(tmp_path: Path) -> None:
    whole = pa.array([1, None, 3], pa.int16())
    single = pa.array([None, 2.5, 3.5], pa.float32())
    many = pa.chunked_array([pa.array([1.0, None]), pa.array([3.0, None]).slice(0, 1)])
    columns = read_columns(written(tmp_path / "a.parquet", whole=whole, single=single, many=many))
    for name, expected in (
        ("whole", [1, np.nan, 3]),
        ("single", [np.nan, 2.5, 3.5]),
        ("many", [1, np.nan, 3]),
    ):
        np.testing.assert_array_equal(numbers(columns[name], where="a"), expected)


def test_numbers_agree_with_arrow_over_thousands_of_rows_and_nulls(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    cells = [
        None if gap else float(value)
        for gap, value in zip(rng.random(5000) < 0.1, rng.normal(size=5000), strict=True)
    ]
    pq.write_table(pa.table({"v": cells}), tmp_path / "a.parquet", row_group_size=777)
    np.testing.assert_array_equal(
        read_columns(tmp_path / "a.parquet")["v"], pa.array(cells).to_numpy(zero_copy_only=False)
    )


def test_numeric_names_do_not_become_fractions(tmp_path: Path) -> None:
    columns = read_columns(
        written(tmp_path / "a.parquet", gapless=pa.array([7, 8]), gaps=pa.array([7, None]))
    )
    assert texts(columns, "gapless", where="a") == ["7", "8"]
    assert columns["gaps"][0] == 7
    large = read_columns(written(tmp_path / "b.parquet", v=pa.array([2**64 - 1, 1], pa.uint64())))
    assert large["v"][0] == 2**64 - 1


def test_parquet_of_dictionaries_lists_and_decimals_gives_plain_values(tmp_path: Path) -> None:
    zones = pa.array(["DE", "SE", "DE"]).dictionary_encode()
    cents = pa.array(["1.25", "2.50", None]).cast(pa.decimal128(5, 2))
    columns = read_columns(written(tmp_path / "a.pq", zone=zones, may=[["a"], [], None], cents=cents))
    assert texts(columns, "zone", where="a") == ["DE", "SE", "DE"]
    assert columns["may"] == [["a"], [], None]
    np.testing.assert_array_equal(numbers(columns["cents"], where="a"), [1.25, 2.5, np.nan])


def test_a_naive_parquet_column_is_refused_only_where_it_is_needed_as_a_time(tmp_path: Path) -> None:
    naive = pa.array([0, 3600 * 10**9], pa.timestamp("ns"))
    columns = read_columns(written(tmp_path / "a.parquet", naive=naive, day=pa.array([0, 1], pa.date32())))
    for name in ("naive", "day"):
        with pytest.raises(SlotError, match=r"'a' row 2.*no time zone; add an offset"):
            epoch_seconds(columns[name], where="'a'")


@pytest.mark.parametrize(
    ("stamps", "told"), [((0, 0.5), "between seconds"), ((0, None, 7), r"'a' row 3: the time is empty")]
)
def test_parquet_times_that_are_none_are_refused(
    tmp_path: Path, stamps: tuple[float | None, ...], told: str
) -> None:
    with pytest.raises(SlotError, match=told):
        epoch_seconds(read_columns(written(tmp_path / "a.parquet", time=utc(*stamps)))["time"], where="'a'")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("2021-01-01T00:00", "row 3: '2021-01-01T00:00:00' has no time zone; add an offset"),
        ("yesterday", "row 3: 'yesterday' is not an ISO 8601 time; write for example"),
        ("2021-01-01T00:00:00.5Z", "falls between seconds"),
        ("", "is not an ISO 8601 time"),
    ],
)
def test_text_that_is_no_time_names_its_row(text: str, told: str) -> None:
    with pytest.raises(SlotError, match=told):
        epoch_seconds(["2021-01-01T00:00Z", text], where="'a'")


def test_cells_that_are_no_numbers_name_file_column_and_row() -> None:
    np.testing.assert_array_equal(
        numbers(["1", " 2.5 ", "", "nan", None], where="a"), [1, 2.5, np.nan, np.nan, np.nan]
    )
    with pytest.raises(UnitError, match=r"'a.csv' column 'ci' row 3: '12 g' is not a number"):
        numbers(["1", "12 g"], where="'a.csv' column 'ci'")


def test_empty_names_are_refused_with_their_row() -> None:
    for empty in ("  ", None, float("nan")):
        with pytest.raises(InputError, match="'a' row 3: column 'zone' is empty"):
            texts({"zone": ["DE", empty]}, "zone", where="'a'")


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.csv", b"", "holds no rows"),
        ("a.csv", b"time,ci\n", "holds no rows"),
        ("a.csv", b"time,ci\n1\n", "row 2 has 1 fields, the header has 2"),
        ("a.csv", b"time,ci\n\n1,2\n1,2,3\n", "row 4 has 3 fields"),
        ("a.csv", b"time,ci,ci\n1,2,3\n", "two columns 'ci'"),
        ("a.csv", b"\x89PNG\r\n\x1a\n\xff\xfe\x00", "no readable CSV"),
        ("a.csv", b"time,ci\n" + b"x" * 200_000, "no readable CSV"),
        ("a.csv.gz", b"no gzip at all", "no readable CSV"),
        ("a.csv.gz", gzip.compress(CSV.encode() * 50, mtime=0)[:-9], "no readable CSV"),
        ("a.csv.gz", gzip.compress(CSV.encode(), mtime=0)[:14] + b"\xff" * 30, "no readable CSV"),
        ("a.parquet", b"", "no readable parquet"),
        ("a.parquet", b"PAR1 and then something else PAR1", "no readable parquet"),
        ("a.parquet", CSV.encode(), "no readable parquet"),
    ],
)
def test_files_that_are_not_what_they_say_are_refused(
    tmp_path: Path, name: str, content: bytes, told: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=told) as caught:
        read_columns(tmp_path / name)
    assert caught.value.hint
    assert "\n" not in str(caught.value)


def test_a_compressed_file_with_a_flipped_byte_anywhere_is_refused_or_read_whole(tmp_path: Path) -> None:
    rows = "".join(f"2021-01-01T{hour:02}:00Z,{400 + hour}\n" for hour in range(24))
    whole = gzip.compress(("time,ci\n" + rows).encode(), mtime=0)
    refusals = 0
    for place in range(len(whole)):
        broken = bytearray(whole)
        broken[place] ^= 0xFF
        (tmp_path / "a.csv.gz").write_bytes(bytes(broken))
        try:
            assert len(read_columns(tmp_path / "a.csv.gz")["ci"]) == 24  # a byte of the header's clock, say
        except InputError:
            refusals += 1
    assert refusals > len(whole) * 0.9


def test_a_parquet_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    whole = written(tmp_path / "whole.parquet", v=list(range(300))).read_bytes()
    for length in range(0, len(whole), max(1, len(whole) // 40)):
        (tmp_path / "cut.parquet").write_bytes(whole[:length])
        with pytest.raises(InputError):
            read_columns(tmp_path / "cut.parquet")


def test_absent_files_and_folders_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no file"):
        read_columns(tmp_path / "absent.csv")
    with pytest.raises(InputError, match="is a folder"):
        read_columns(tmp_path)


def test_parquet_without_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(tmp_path / "a.parquet", v=[1])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(SourceUnavailable, match=r"pip install 'aicsched\[parquet\]'"):
        read_columns(file)


def test_reading_a_table_loads_neither_pandas_nor_scipy(tmp_path: Path) -> None:
    table = {"time": utc(0, 3600), "ci": pa.array([1.0, None]), "n": pa.array([1, 2]), "zone": ["DE", "DE"]}
    file = written(tmp_path / "a.parquet", **table)
    script = (
        "import sys; from pathlib import Path; from aicsched.domain.columns import read_columns;"
        f"read_columns(Path({str(file)!r}));"
        "print([name for name in ('pandas', 'scipy', 'numba') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

"""Weather vintages: which row and lead an issue time sees, and files that are none."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from aicsched.errors import InputError, SourceUnavailable
from aicsched.forecast.weather import WeatherVintages, read_weather

if TYPE_CHECKING:
    from pathlib import Path

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

DAY_S, HOUR_S = 86_400, 3600


def vintages(**changes: object) -> WeatherVintages:
    """Make rows 0..4 whose value is 100 * row + lead step."""
    values = 100.0 * np.arange(5)[:, None, None] + np.arange(32)[None, None, :]
    made = WeatherVintages(
        variables=("wind_speed",),
        issue_times_s=DAY_S * np.arange(5, dtype=np.int64),
        step_h=3,
        values=values,
        source="t",
    )
    return replace(made, **changes)


def at(weather: WeatherVintages, issue_s: int, day: int) -> list[float]:
    return weather.day(np.array([issue_s]), day)[0, 0].tolist()


def test_an_issue_time_sees_its_own_row() -> None:
    assert at(vintages(), 2 * DAY_S, 0) == [200 + step for step in range(8)]
    assert at(vintages(), 2 * DAY_S, 3) == [224 + step for step in range(8)]
    assert at(vintages(), 2 * DAY_S, -1) == [100 + step for step in range(8)]


def test_a_later_hour_of_day_starts_further_in_and_ends_on_the_last_step() -> None:
    assert at(vintages(), 2 * DAY_S + 6 * HOUR_S, 0)[0] == 202
    assert at(vintages(), 2 * DAY_S + 6 * HOUR_S, 3) == [226, 227, 228, 229, 230, 231, 231, 231]


def test_no_row_is_seen_before_it_was_issued_or_once_it_is_stale() -> None:
    assert at(vintages(), 3 * DAY_S - 1, 0)[0] < 300
    assert np.isnan(at(vintages(), -1, 0)).all()
    assert np.isfinite(at(vintages(), 5 * DAY_S - 1, 0)).all()
    assert np.isnan(at(vintages(), 5 * DAY_S, 0)).all()


def test_lead_days_beyond_the_row_are_unknown() -> None:
    assert np.isnan(at(vintages(), 2 * DAY_S, 4)).all()


def test_a_row_counts_from_when_it_can_be_read() -> None:
    late = vintages(availability_lag_s=5 * HOUR_S)
    assert at(late, 2 * DAY_S, 0)[0] == 108
    assert at(late, 2 * DAY_S + 5 * HOUR_S, 0)[0] == 201
    assert np.isnan(at(late, 2 * DAY_S, 3)).all()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"values": np.zeros((5, 2, 32))}, "weather of shape"),
        ({"values": np.zeros((5, 32))}, "weather of shape"),
        ({"issue_times_s": np.zeros(5, dtype=np.int64)}, "don't rise"),
        ({"issue_times_s": np.zeros(0, dtype=np.int64), "values": np.zeros((0, 1, 32))}, "weather of shape"),
    ],
)
def test_what_is_no_set_of_vintages_is_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        vintages(**changes)


def write(path: Path, columns: dict[str, object]) -> str:
    pq.write_table(pa.table(columns), path)
    return str(path)


def columns() -> dict[str, object]:
    times = np.array(["2021-01-02", "2021-01-01"], dtype="datetime64[us]")
    made: dict[str, object] = {"time": pa.array(times, pa.timestamp("us", tz="UTC"))}
    for lead in range(6, 25, 6):
        made[f"wind_speed_{lead}h"] = [10.0 + lead, lead]
        made[f"temperature_{lead}h"] = [280.0, float("nan")]
    return made


def test_files_are_read_sorted_and_named_by_stem_or_prefix(tmp_path: Path) -> None:
    path = write(tmp_path / "wx_96_DE.parquet", columns())
    made = read_weather([path, f"FR={path}"])
    assert sorted(made) == ["DE", "FR"]
    weather = made["DE"]
    assert weather.variables == ("temperature", "wind_speed")
    assert weather.step_h == 6
    assert weather.issue_times_s.tolist() == [1_609_459_200, 1_609_545_600]
    np.testing.assert_array_equal(weather.values[:, 1], [[6, 12, 18, 24], [16, 22, 28, 34]])
    assert np.isnan(weather.values[0, 0]).all()
    assert weather.source == "file:wx_96_DE.parquet"


def test_files_that_are_no_vintages_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="can't be read as parquet"):
        read_weather([str(tmp_path / "absent.parquet")])
    (tmp_path / "x.parquet").write_bytes(b"\x00\x01garbage" * 99)
    with pytest.raises(InputError, match="can't be read as parquet"):
        read_weather([str(tmp_path / "x.parquet")])
    with pytest.raises(InputError, match="no table of weather"):
        read_weather([write(tmp_path / "a.parquet", {"wind_speed_3h": [1.0]})])
    lacking = columns()
    del lacking["wind_speed_12h"]
    with pytest.raises(InputError, match="lacks leads: wind_speed_12h"):
        read_weather([write(tmp_path / "b.parquet", lacking)])
    uneven = {name: values for name, values in columns().items() if "_12h" not in name}
    with pytest.raises(InputError, match="lacks leads"):
        read_weather([write(tmp_path / "c.parquet", uneven)])
    words = columns() | {"wind_speed_6h": ["a", "b"]}
    with pytest.raises(InputError, match="numbers"):
        read_weather([write(tmp_path / "d.parquet", words)])


def test_parquet_without_pyarrow_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(SourceUnavailable, match=r"pip install 'aicsched\[parquet\]'"):
        read_weather([str(tmp_path / "x.parquet")])

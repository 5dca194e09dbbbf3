"""What reading does with faults: local clocks, revisions, estimates, steps that change, odd values."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from aicsched.domain.carbon import CarbonSeries, IntensityKind, Quality
from aicsched.domain.local_time import local_seconds
from aicsched.domain.quarantine import dropouts
from aicsched.domain.readings import Readings
from aicsched.domain.regular import lay_on_grid
from aicsched.domain.tidy import quality_flags
from aicsched.errors import ConfigError, InputError, SignalGap, SignalInvalid, SlotError
from aicsched.signals.carbon.file import FileCarbon
from aicsched.slots import HOUR_S, SlotGrid, parse_time

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

BERLIN = ZoneInfo("Europe/Berlin")


def table(path: Path, columns: dict[str, Sequence[object]]) -> Path:
    lines = [",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True))]
    path.write_text("\n".join(lines) + "\n")
    return path


def utc_hours(start: str, count: int, step_s: int = HOUR_S) -> list[datetime]:
    first = datetime.fromtimestamp(parse_time(start), tz=UTC)
    return [first + timedelta(seconds=step_s * index) for index in range(count)]


def local(moments: list[datetime]) -> list[str]:
    return [f"{moment.astimezone(BERLIN):%Y-%m-%dT%H:%M}" for moment in moments]


class TestLocalClock:
    @pytest.mark.parametrize("start", ["2021-03-27T00:00Z", "2021-10-30T00:00Z", "2021-07-01T00:00Z"])
    @pytest.mark.parametrize("step_s", [900, 3600])
    @pytest.mark.parametrize("descending", [False, True])
    def test_local_times_are_the_utc_times_they_were_made_of(
        self, tmp_path: Path, start: str, step_s: int, descending: bool
    ) -> None:
        moments = utc_hours(start, 3 * 86_400 // step_s, step_s)
        rows = list(zip(local(moments), np.arange(len(moments)) + 300, strict=True))
        if descending:
            rows.reverse()
        file = table(
            tmp_path / "DE.csv", {"time": [when for when, _ in rows], "ci": [value for _, value in rows]}
        )
        series = FileCarbon([file], time_zone="Europe/Berlin").read("DE")
        assert series.slots == SlotGrid(parse_time(start), step_s, len(moments))
        np.testing.assert_array_equal(series.values_g_per_kwh, np.arange(len(moments)) + 300)

    def test_each_zone_of_a_file_has_its_own_doubled_hour(self, tmp_path: Path) -> None:
        moments = utc_hours("2021-10-30T20:00Z", 8)
        columns: dict[str, Sequence[object]] = {
            "zone": ["A", "B"] * 8,
            "time": [when for when in local(moments) for _ in range(2)],
            "ci": [value for hour in range(8) for value in (100 + hour, 200 + hour)],
        }
        source = FileCarbon([table(tmp_path / "all.csv", columns)], time_zone="Europe/Berlin")
        for zone, level in (("A", 100), ("B", 200)):
            np.testing.assert_array_equal(source.read(zone).values_g_per_kwh, level + np.arange(8))

    def test_a_doubled_hour_that_stands_once_is_unknown_twice_and_said(self, tmp_path: Path) -> None:
        moments = utc_hours("2021-10-30T12:00Z", 24)
        stamps = local(moments)
        once = [index for index, when in enumerate(stamps) if when not in stamps[:index]]
        columns = {"time": [stamps[index] for index in once], "ci": [300 + index for index in once]}
        source = FileCarbon([table(tmp_path / "DE.csv", columns)], time_zone="Europe/Berlin")
        values = source.read("DE").values_g_per_kwh
        assert np.flatnonzero(np.isnan(values)).tolist() == [12, 13]  # 00:00Z and 01:00Z
        np.testing.assert_array_equal(values[14:], 300 + np.arange(14, 24))
        assert source.notes("DE") == ("clock-unclear:1", "gaps:2")

    def test_a_value_in_the_skipped_hour_means_another_clock(self, tmp_path: Path) -> None:
        stamps = [f"2021-03-28T{hour:02}:00" for hour in range(6)]
        file = table(tmp_path / "DE.csv", {"time": stamps, "ci": range(300, 306)})
        with pytest.raises(SlotError, match=r"row 4: 2021-03-28T02:00:00 doesn't exist in Europe/Berlin"):
            FileCarbon([file], time_zone="Europe/Berlin")
        empty = table(tmp_path / "SE.csv", {"time": stamps, "ci": [300, 301, "", 303, 304, 305]})
        source = FileCarbon([empty], time_zone="Europe/Berlin")
        assert source.read("SE").values_g_per_kwh.tolist() == [300, 301, 303, 304, 305]
        assert source.notes("SE") == ()

    @pytest.mark.parametrize(
        ("zone", "stamps", "error", "words"),
        [
            ("Europe/Berlinn", ["2021-01-01T00:00"], ConfigError, "did you mean Europe/Berlin"),
            ("Europe/Berlin", ["2021-01-01T00:00Z"], SlotError, "already says its offset; leave the time"),
            ("Europe/Berlin", ["2021-01-01T00:00:00.5"], SlotError, "falls between seconds"),
            ("Europe/Berlin", ["yesterday"], SlotError, "row 2: 'yesterday' is not an ISO 8601 time"),
            ("Europe/Berlin", ["2021-10-31T02:00"] * 3, SlotError, "stands 3 times"),
        ],
    )
    def test_what_is_no_local_time_is_refused(
        self, zone: str, stamps: list[str], error: type[Exception], words: str
    ) -> None:
        count = len(stamps)
        with pytest.raises(error, match=words):
            local_seconds(
                stamps, time_zone=zone, groups=np.zeros(count), empty=np.zeros(count, dtype=bool), where="f"
            )

    def test_zoned_times_of_parquet_are_refused_too(self, tmp_path: Path) -> None:
        pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        for zone, words in (("UTC", "already says"), (None, None)):
            times = pa.array([0, 3600], pa.timestamp("s", zone))
            pq.write_table(pa.table({"time": times, "ci": [400.0, 410.0]}), tmp_path / "DE.parquet")
            if words:
                with pytest.raises(SlotError, match=words):
                    FileCarbon([tmp_path / "DE.parquet"], time_zone="Asia/Kolkata")
            else:
                series = FileCarbon([tmp_path / "DE.parquet"], time_zone="Asia/Kolkata").read("DE")
                assert series.slots.start_s == -19_800

    def test_local_times_that_are_called_utc_clash_in_autumn_and_the_hint_says_so(
        self, tmp_path: Path
    ) -> None:
        moments = utc_hours("2021-10-30T12:00Z", 24)
        stamps = [f"{when}Z" for when in local(moments)]
        file = table(tmp_path / "DE.csv", {"time": stamps, "ci": range(300, 324)})
        with pytest.raises(SignalInvalid, match=r"two different values.*local times need their time zone"):
            FileCarbon([file])


class TestRevisions:
    @staticmethod
    def source(tmp_path: Path, **more: Any) -> FileCarbon:
        hours = [f"2021-01-01T{hour:02}:00Z" for hour in range(6)]
        rows = [(when, f"2021-01-01T{hour + 1:02}:30Z", 400 + hour) for hour, when in enumerate(hours)]
        rows += [(hours[2], "2021-01-01T04:00Z", 350), (hours[2], "2021-01-01T08:00Z", 360)]
        rows += [(hours[4], "2021-01-01T09:00Z", "")]
        order = np.random.default_rng(3).permutation(len(rows))
        columns = {
            name: [rows[index][place] for index in order]
            for place, name in enumerate(("time", "reading_time", "ci"))
        }
        return FileCarbon([table(tmp_path / "DE.csv", columns)], **more)

    def test_the_newest_reading_counts_and_an_empty_one_says_nothing(self, tmp_path: Path) -> None:
        series = self.source(tmp_path).read("DE")
        assert series.values_g_per_kwh.tolist() == [400, 401, 360, 403, 404, 405]
        assert "revised:1" in quality_flags(series)

    @pytest.mark.parametrize(
        ("at", "known"),
        [
            ("00:30", []),
            ("01:30", [400]),
            ("02:00", [400]),
            ("03:30", [400, 401, 402]),
            ("04:00", [400, 401, 350]),
            ("07:59", [400, 401, 350, 403, 404, 405]),
            ("08:00", [400, 401, 360, 403, 404, 405]),
        ],
    )
    def test_at_a_time_only_what_had_been_read_is_known(
        self, tmp_path: Path, at: str, known: list[float]
    ) -> None:
        series = self.source(tmp_path).read("DE").known_at(parse_time(f"2021-01-01T{at}Z"))
        assert series.values_g_per_kwh.tolist() == known
        again = series.known_at(parse_time(f"2021-01-01T{at}Z"))
        assert again.values_g_per_kwh.tolist() == known

    def test_a_lag_comes_on_top(self, tmp_path: Path) -> None:
        series = self.source(tmp_path, availability_lag_s=2 * HOUR_S).read("DE")
        known = series.known_at(parse_time("2021-01-01T04:00Z"))
        assert known.values_g_per_kwh.tolist() == [400, 401]

    def test_two_values_of_one_reading_are_refused(self, tmp_path: Path) -> None:
        columns = {
            "time": ["2021-01-01T00:00Z"] * 2,
            "updated_at": ["2021-01-01T02:00Z"] * 2,
            "ci": [400, 401],
        }
        with pytest.raises(InputError, match="both read at 2021-01-01T02:00Z"):
            FileCarbon([table(tmp_path / "DE.csv", columns)])

    def test_readings_of_changing_steps_are_refused(self, tmp_path: Path) -> None:
        moments = utc_hours("2021-01-01T00:00Z", 10, 1800) + utc_hours("2021-01-01T05:00Z", 10, 900)
        stamps = [moment.isoformat() for moment in moments]
        columns = {"time": stamps, "reading_time": stamps, "ci": range(300, 320)}
        with pytest.raises(SlotError, match="reading times, and steps that change"):
            FileCarbon([table(tmp_path / "DE.csv", columns)])

    def test_readings_are_checked(self) -> None:
        one, two = np.zeros(1, dtype=np.int64), np.arange(2, dtype=np.int64)
        for read_s, values in ((one, [1.0]), (two[::-1], [1.0, 2.0]), (two, [1.0, np.nan])):
            with pytest.raises(SignalInvalid, match="readings of different lengths"):
                Readings(
                    start_s=two,
                    read_s=read_s,
                    values_g_per_kwh=np.array(values),
                    quality=np.zeros(2, dtype=np.int8),
                )


class TestQualities:
    @pytest.mark.parametrize("words", [("true", "false", ""), ("1", "0", "0"), ("True", "no", "n")])
    def test_estimated_rows_are_marked_and_counted(self, tmp_path: Path, words: tuple[str, ...]) -> None:
        stamps = [moment.isoformat() for moment in utc_hours("2021-01-01T00:00Z", 3)]
        file = table(tmp_path / "DE.csv", {"time": stamps, "ci": [300, 310, 320], "estimated": words})
        source = FileCarbon([file])
        assert np.asarray(source.read("DE").quality).tolist() == [
            Quality.ESTIMATED,
            Quality.ACTUAL,
            Quality.ACTUAL,
        ]
        assert source.notes("DE") == ("estimated:1",)

    def test_a_quality_by_name_is_read_and_a_wrong_one_refused(self, tmp_path: Path) -> None:
        stamps = [moment.isoformat() for moment in utc_hours("2021-01-01T00:00Z", 4)]
        columns: dict[str, Sequence[object]] = {
            "time": stamps,
            "ci": [300, 310, "", 320],
            "quality": ["stale", "forecast", "actual", "estimated"],
        }
        source = FileCarbon([table(tmp_path / "DE.csv", columns)])
        assert np.asarray(source.read("DE").quality).tolist() == [3, 2, 4, 1]
        assert source.notes("DE") == ("estimated:1", "forecast:1", "stale:1", "gaps:1")
        wrong = table(tmp_path / "SE.csv", {**columns, "quality": ["stale", "stael", "", ""]})
        with pytest.raises(InputError, match=r"row 3: 'stael' in column 'quality'.*did you mean stale"):
            FileCarbon([wrong])
        odd = table(tmp_path / "SE.csv", {"time": stamps, "ci": [1, 2, 3, 4], "estimated": ["maybe"] * 4})
        with pytest.raises(InputError, match=r"'maybe' in column 'estimated'.*write true or false"):
            FileCarbon([odd])

    def test_recorded_estimates_are_counted(self, shared_data: Path) -> None:
        pq = pytest.importorskip("pyarrow.parquet")
        file = shared_data / "data" / "carbon" / "em_SG.parquet"
        source = FileCarbon([file], column="ci_lifecycle")
        wanted = int(np.sum(pq.read_table(file)["estimated"].to_pylist()))
        assert wanted > 3000
        assert source.notes("SG")[0] == f"estimated:{wanted}"

    def test_a_flat_end_is_told_after_a_day(self) -> None:
        def flags(values: Sequence[float]) -> tuple[str, ...]:
            slots = SlotGrid(0, HOUR_S, len(values))
            return quality_flags(
                CarbonSeries(
                    grid_zone="z",
                    kind=IntensityKind.AVERAGE,
                    slots=slots,
                    values_g_per_kwh=np.array(values),
                    source="s",
                )
            )

        assert flags([300, *[301] * 24]) == ()
        assert flags([300, *[301] * 25]) == ("flat:25",)
        assert flags([*[301] * 25, 300]) == ()
        assert flags([301] * 50) == ("flat:50",)
        assert flags([np.nan] * 50) == ()


class TestSteps:
    def test_switching_steps_become_hourly_means_weighted_by_time(self) -> None:
        half = 1800 * np.arange(8)  # until 04:00
        quarter = 4 * HOUR_S + 900 * np.arange(8)  # until 06:00
        time_s = np.concatenate([half, quarter])
        values = np.arange(16.0) * 10
        made = lay_on_grid(time_s, values, "rows")
        assert made.slots == SlotGrid(0, HOUR_S, 6)
        np.testing.assert_allclose(made.values, [5, 25, 45, 65, 95, 135])
        assert made.notes == ("resampled:3600",)
        assert (made.quality == Quality.ACTUAL).all()

    def test_hours_known_by_half_are_estimated_and_by_less_are_missing(self) -> None:
        time_s = np.concatenate([1800 * np.arange(40), 20 * HOUR_S + 900 * np.arange(24)])
        keep = np.ones(64, dtype=bool)
        keep[[5, 49, 50, 51, 58, 59]] = False  # half of hour 2, 3/4 of hour 22, half of hour 24
        values = 300.0 + np.arange(64)
        made = lay_on_grid(time_s[keep], values[keep], "rows")
        assert made.values[2] == 304
        assert np.isnan(made.values[22])
        assert made.values[24] == (356 + 357) / 2
        assert made.quality[[2, 22, 24]].tolist() == [
            Quality.ESTIMATED,
            Quality.MISSING,
            Quality.ESTIMATED,
        ]

    def test_a_row_over_an_hours_edge_counts_in_both(self) -> None:
        time_s = np.concatenate([np.arange(5) * 1800 + 900, 5 * 1800 + 900 + 1200 * np.arange(6)])
        values = np.arange(11.0)
        made = lay_on_grid(time_s, values, "rows")
        # The first hour: 45 min known, 30 of row 0 and 15 of row 1.
        assert made.values[0] == pytest.approx((30 * 0 + 15 * 1) / 45)
        assert made.quality[0] == Quality.ESTIMATED
        assert made.values[1] == pytest.approx((15 * 1 + 30 * 2 + 15 * 3) / 60)

    def test_the_worst_quality_of_an_hour_counts(self) -> None:
        time_s = np.concatenate([1800 * np.arange(8), 4 * HOUR_S + 900 * np.arange(8)])
        quality = np.zeros(16, dtype=np.int8)
        quality[3], quality[9] = Quality.ESTIMATED, Quality.QUARANTINED
        values = np.full(16, 300.0)
        values[9] = np.nan
        made = lay_on_grid(time_s, values, "rows", quality=quality)
        assert made.quality.tolist() == [0, Quality.ESTIMATED, 0, 0, Quality.ESTIMATED, 0]

    def test_gaps_of_a_changing_series_are_held_to_the_limit(self) -> None:
        time_s = np.concatenate([1800 * np.arange(8), 100 * HOUR_S + 900 * np.arange(8)])
        with pytest.raises(SignalGap, match="96 of 102 slots are missing"):
            lay_on_grid(time_s, np.full(16, 300.0), "rows")

    def test_single_holes_in_quarter_hours_are_gaps_and_no_other_step(self) -> None:
        kept = np.array([index for index in range(96) if index % 10 != 4])
        made = lay_on_grid(900 * kept, np.full(len(kept), 300.0), "rows")
        assert made.slots == SlotGrid(0, 900, 96)
        assert np.isnan(made.values).sum() == 10

    def test_recorded_quarter_hours_keep_their_gaps(self, shared_data: Path) -> None:
        pq = pytest.importorskip("pyarrow.parquet")
        raw = pq.read_table(shared_data / "data" / "carbon" / "lwa_ger_2020_subhourly.parquet")
        time_s = raw["time"].to_numpy().astype("datetime64[s]").astype(np.int64)
        made = lay_on_grid(time_s, raw["ci"].to_numpy().astype(float), "rows")
        assert made.slots.step_s == 900
        assert np.isnan(made.values).sum() == 2


def test_a_grid_that_nears_zero_by_steps_keeps_its_zeros(shared_data: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    for file in sorted((shared_data / "data" / "carbon").glob("em_*.parquet")):
        values = pq.read_table(file)["ci_direct"].to_numpy().astype(float)
        assert not dropouts(values).any(), file.name
    assert not dropouts(np.zeros(5)).any()
    assert dropouts(np.array([0.0, 0.0, 300.0, 310.0])).tolist() == [True, True, False, False]


def test_float32_gives_the_same_as_its_own_values_in_float64(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    values = np.random.default_rng(1).uniform(100, 500, 50).astype(np.float32)
    times = pa.array(3600 * np.arange(50), pa.timestamp("s", "UTC"))
    for name, column in (("a_DE", values), ("b_SE", values.astype(np.float64))):
        pq.write_table(pa.table({"time": times, "ci": column}), tmp_path / f"{name}.parquet")
    source = FileCarbon([tmp_path / "a_DE.parquet", tmp_path / "b_SE.parquet"])
    one, two = source.read("DE").values_g_per_kwh, source.read("SE").values_g_per_kwh
    assert one.dtype == np.float64
    np.testing.assert_array_equal(one, two)


def test_a_lag_that_looks_ahead_is_refused() -> None:
    with pytest.raises(SignalInvalid, match="lag of -1 s looks ahead"):
        CarbonSeries(
            grid_zone="z",
            kind=IntensityKind.AVERAGE,
            slots=SlotGrid(0, HOUR_S, 1),
            values_g_per_kwh=np.ones(1),
            source="s",
            availability_lag_s=-1,
        )

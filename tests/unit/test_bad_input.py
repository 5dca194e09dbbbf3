"""The issue's list of bad input, as far as files are read: one of our errors, one line, a next step.

Each case goes through the public reader that a user's file goes through. No case may
give a number, end in an exception of Python or a library, or lack a hint.
"""

from __future__ import annotations

import gzip
import json
import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from aicsched.domain.carbon import Quality
from aicsched.errors import (
    BAD_INPUT,
    AicschedError,
    InputError,
    SignalGap,
    SignalInvalid,
    SlotError,
    SourceUnavailable,
    UnknownZone,
)
from aicsched.fleet.file import read_fleet
from aicsched.fleet.jobs_file import check_jobs, read_jobs
from aicsched.signals.carbon.file import FileCarbon
from aicsched.signals.telemetry_file import read_telemetry

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HOURS = [f"{datetime(2021, 1, 1, tzinfo=UTC) + timedelta(hours=hour):%Y-%m-%dT%H:%MZ}" for hour in range(48)]
LEVELS = [400 + hour % 24 for hour in range(48)]


def carbon(
    tmp_path: Path, rows: list[tuple[str, object]], *, head: str = "time,ci", name: str = "DE.csv"
) -> Path:
    (tmp_path / name).write_text("\n".join([head, *(f"{when},{value}" for when, value in rows)]) + "\n")
    return tmp_path / name


def refused(error: type[AicschedError], act: Callable[[], object], *told: str) -> None:
    """Require one of our errors, in one line, with a next step and the exit code of bad input."""
    with pytest.raises(error) as caught:
        act()
    text = str(caught.value)
    assert "\n" not in text
    assert caught.value.hint
    assert caught.value.exit_code == BAD_INPUT or error is SourceUnavailable
    for part in told:
        assert part in text, text


def test_naive_times(tmp_path: Path) -> None:
    file = carbon(tmp_path, [(when.removesuffix("Z"), 400) for when in HOURS])
    refused(
        SlotError,
        lambda: FileCarbon([file]),
        "row 2",
        "no time zone",
        "add an offset, for example Z",
        "--time-zone",
    )


@pytest.mark.parametrize("factor", [1e-3, 1e-2 / 3, 1e3, 1e6])
def test_wrong_unit_by_level(tmp_path: Path, factor: float) -> None:
    file = carbon(tmp_path, [(when, level * factor) for when, level in zip(HOURS, LEVELS, strict=True)])
    refused(SignalInvalid, lambda: FileCarbon([file]), "is no g/kWh", "--unit kg/MWh")


def test_wrong_unit_that_was_told_is_still_held_against_the_range(tmp_path: Path) -> None:
    file = carbon(tmp_path, list(zip(HOURS, LEVELS, strict=True)))
    refused(SignalInvalid, lambda: FileCarbon([file], unit="kg/kWh"), "400000 g/kWh", "check the unit")
    named = carbon(tmp_path, list(zip(HOURS, LEVELS, strict=True)), head="time,ci_t_per_mwh")
    refused(SignalInvalid, lambda: FileCarbon([named]), "400000 g/kWh", "check the unit")


def test_a_right_unit_makes_the_same_file_readable(tmp_path: Path) -> None:
    file = carbon(tmp_path, [(when, level / 1000) for when, level in zip(HOURS, LEVELS, strict=True)])
    got = FileCarbon([file], unit="kg/kWh").read("DE").values_g_per_kwh
    np.testing.assert_allclose(got, LEVELS, rtol=1e-12)


@pytest.mark.parametrize("value", [-1, 2500.1, "inf", "-inf"])
def test_a_negative_or_absurd_intensity_is_taken_out_and_counted(tmp_path: Path, value: object) -> None:
    rows = [(when, value if hour == 30 else 400) for hour, when in enumerate(HOURS)]
    source = FileCarbon([carbon(tmp_path, rows)])
    series = source.read("DE")
    assert np.flatnonzero(np.isnan(series.values_g_per_kwh)).tolist() == [30]
    assert np.asarray(series.quality)[30] == Quality.QUARANTINED
    assert source.notes("DE")[0] == "quarantined:1"


@pytest.mark.parametrize(
    ("value", "shown"), [(-1, "-1 g/kWh"), (2500.1, "2500.1 g/kWh"), ("inf", "inf g/kWh"), ("-inf", "-inf")]
)
def test_more_than_a_few_absurd_intensities_are_a_wrong_unit(
    tmp_path: Path, value: object, shown: str
) -> None:
    rows = [(when, value if hour in (30, 31, 40) else 400) for hour, when in enumerate(HOURS)]
    file = carbon(tmp_path, rows)
    refused(SignalInvalid, lambda: FileCarbon([file]), shown, "2021-01-02T06:00Z", "DE.csv", "0..2500 g/kWh")


@pytest.mark.parametrize("factor", [1e-3, 1e3])
@pytest.mark.parametrize("rows", [slice(10, 20), slice(0, 9), slice(40, 48), slice(5, 40, 7)])
def test_rows_in_another_unit_are_refused(tmp_path: Path, factor: float, rows: slice) -> None:
    other = set(range(48)[rows])
    mixed = [(when, LEVELS[hour] * (factor if hour in other else 1)) for hour, when in enumerate(HOURS)]
    first = HOURS[min(other)]
    file = carbon(tmp_path, mixed)
    refused(SignalInvalid, lambda: FileCarbon([file]), f"{len(other)} of 48", "another unit", first)


def test_the_limits_themselves_are_true(tmp_path: Path) -> None:
    rows = [(when, {0: 0, 1: 2500}.get(hour, 400)) for hour, when in enumerate(HOURS)]
    assert FileCarbon([carbon(tmp_path, rows)]).read("DE").values_g_per_kwh[:2].tolist() == [0, 2500]


def test_gaps_up_to_a_quarter_stay_gaps_and_more_is_refused(tmp_path: Path) -> None:
    # 48 slots with first and last present: 12 missing is a quarter exactly, 13 is more.
    for style in ("absent", "empty"):
        for missing in (12, 13):
            gone = set(range(10, 10 + missing))
            rows: list[tuple[str, object]] = [
                (when, "" if hour in gone else 400)
                for hour, when in enumerate(HOURS)
                if style == "empty" or hour not in gone
            ]
            file = carbon(tmp_path, rows)
            if missing == 13:
                refused(SignalGap, lambda file=file: FileCarbon([file]), "13 of 48 slots are missing")
            else:
                series = FileCarbon([file]).read("DE")
                assert series.missing == 12
                assert np.isnan(series.values_g_per_kwh[10:22]).all()


def test_one_gap_in_a_short_file_does_not_change_its_step(tmp_path: Path) -> None:
    # Distances of 1 h and 2 h: their mean, 1.5 h, is no step of this file.
    series = FileCarbon([carbon(tmp_path, [(HOURS[0], 400), (HOURS[1], 410), (HOURS[3], 430)])]).read("DE")
    np.testing.assert_array_equal(series.values_g_per_kwh, [400, 410, np.nan, 430])


def test_duplicate_slots_that_differ(tmp_path: Path) -> None:
    rows: list[tuple[str, object]] = [*zip(HOURS, LEVELS, strict=True), (HOURS[7], 99)]
    refused(
        SignalInvalid,
        lambda: FileCarbon([carbon(tmp_path, rows)]),
        "two different values for 2021-01-01T07:00Z",
    )


def test_duplicate_slots_of_a_clock_that_goes_back_need_their_offsets(tmp_path: Path) -> None:
    # Berlin's 02:00 of 31 October 2021 came twice; with offsets these are two slots, not a duplicate.
    rows: list[tuple[str, object]] = [
        ("2021-10-31T01:00+02:00", 1), ("2021-10-31T02:00+02:00", 2), ("2021-10-31T02:00+01:00", 3),
        ("2021-10-31T03:00+01:00", 4),
    ]  # fmt: skip
    assert FileCarbon([carbon(tmp_path, rows)]).read("DE").values_g_per_kwh.tolist() == [1, 2, 3, 4]


def test_unsorted_rows_are_sorted_and_say_so(tmp_path: Path) -> None:
    rows = list(zip(HOURS, LEVELS, strict=True))
    random.Random(5).shuffle(rows)
    source = FileCarbon([carbon(tmp_path, rows)])
    assert source.read("DE").values_g_per_kwh.tolist() == LEVELS
    assert source.notes("DE") == ("sorted",)


def test_irregular_times(tmp_path: Path) -> None:
    rows: list[tuple[str, object]] = [("2021-01-01T00:00Z", 400), ("2021-01-01T03:00Z", 400)]
    rows += [("2021-01-01T06:00Z", 400), ("2021-01-01T08:00Z", 400), ("2021-01-01T12:00Z", 400)]
    refused(
        SlotError, lambda: FileCarbon([carbon(tmp_path, rows)]), "2021-01-01T08:00Z is off the grid of 10800"
    )


def test_a_stray_row_among_hours_makes_them_hourly_means_and_says_so(tmp_path: Path) -> None:
    rows: list[tuple[str, object]] = [*zip(HOURS, LEVELS, strict=True), ("2021-01-01T05:20Z", 465)]
    source = FileCarbon([carbon(tmp_path, rows)])
    wanted = [*LEVELS[:5], LEVELS[5] / 3 + 465 * 2 / 3, *LEVELS[6:]]
    np.testing.assert_allclose(source.read("DE").values_g_per_kwh, wanted)
    assert source.notes("DE") == ("sorted", "resampled:3600")


def test_unknown_zone_names_the_nearest_three(tmp_path: Path) -> None:
    files = [
        carbon(tmp_path, list(zip(HOURS, LEVELS, strict=True)), name=f"{zone}.csv")
        for zone in ("DE", "DK", "SE", "CISO")
    ]
    source = FileCarbon(files)
    refused(UnknownZone, lambda: source.read("DEE"), "no grid zone 'DEE'", "did you mean DE, ")
    with pytest.raises(UnknownZone) as caught:
        source.read("DEE")
    assert "CISO" not in str(caught.value)


READERS: dict[str, Callable[[Path], object]] = {
    "carbon": lambda file: FileCarbon([file]),
    "fleet": read_fleet,
    "jobs": read_jobs,
    "telemetry": read_telemetry,
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet", ".json", ".jsonl"])
@pytest.mark.parametrize("seed", range(4))
def test_binary_garbage(tmp_path: Path, reader: str, suffix: str, seed: int) -> None:
    file = tmp_path / f"x{suffix}"
    file.write_bytes(random.Random(seed).randbytes(2000 + 500 * seed))
    refused(AicschedError, lambda: READERS[reader](file))


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet", ".json", ".jsonl"])
@pytest.mark.parametrize(
    "content", [b"", b"\n", b"\n\n\n", b"\x00" * 40, b"\xef\xbb\xbf"], ids=["0", "n", "nnn", "nul", "bom"]
)
def test_empty_files(tmp_path: Path, reader: str, suffix: str, content: bytes) -> None:
    file = tmp_path / f"x{suffix}"
    file.write_bytes(gzip.compress(content) if suffix == ".csv.gz" else content)
    refused(AicschedError, lambda: READERS[reader](file))


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".json"])
def test_absent_files_and_folders(tmp_path: Path, reader: str, suffix: str) -> None:
    refused(InputError, lambda: READERS[reader](tmp_path / f"absent{suffix}"), f"absent{suffix}")
    (tmp_path / f"folder{suffix}").mkdir()
    refused(InputError, lambda: READERS[reader](tmp_path / f"folder{suffix}"), f"folder{suffix}")


JOB: dict[str, Any] = {
    "job_id": "a",
    "vcpus": 2,
    "duration_s": 3600,
    "release": "2021-01-02T00:00Z",
    "deadline": "2021-01-03T00:00Z",
    "home_region": "north",
}
REGION: dict[str, Any] = {"name": "north", "grid_zone": "DE", "capacity_vcpus": 8, "power_w_per_vcpu": 2}


def stored(tmp_path: Path, value: object) -> Path:
    (tmp_path / "x.json").write_text(json.dumps(value))
    return tmp_path / "x.json"


def test_deadline_before_release(tmp_path: Path) -> None:
    file = stored(tmp_path, [{**JOB, "deadline": "2021-01-01T00:00Z"}])
    refused(
        InputError, lambda: read_jobs(file), "row 1", "job 'a'", "not after its release", "swap or move them"
    )


def test_a_job_longer_than_its_window(tmp_path: Path) -> None:
    file = stored(tmp_path, [{**JOB, "duration_s": 90_000}])
    refused(
        InputError, lambda: read_jobs(file), "runs 25 h but has only 24 h", "move the deadline or shorten"
    )


def test_a_job_in_a_region_that_the_fleet_does_not_have(tmp_path: Path) -> None:
    jobs = read_jobs(stored(tmp_path, [{**JOB, "home_region": "norht"}]))
    fleet = read_fleet(stored(tmp_path, {"regions": [REGION]}))
    refused(InputError, lambda: check_jobs(jobs, fleet), "region 'norht'", "did you mean north?")


def test_zero_capacity_is_a_fact_and_less_is_refused(tmp_path: Path) -> None:
    fleet = read_fleet(stored(tmp_path, {"regions": [{**REGION, "capacity_vcpus": 0}]}))
    assert fleet.regions[0].capacity_vcpus == 0  # nothing fits there, which placement says by name
    below = stored(tmp_path, {"regions": [{**REGION, "capacity_vcpus": -1}]})
    refused(InputError, lambda: read_fleet(below), "capacity_vcpus is negative", "use 0 or more")


@pytest.mark.parametrize("blank", ["", "nan", "NaN"])
def test_telemetry_without_a_number_is_unknown_never_idle(tmp_path: Path, blank: str) -> None:
    rows = [f"a,{HOURS[0]},{blank}", f"a,{HOURS[1]},0", f"b,{HOURS[1]},0.5"]
    (tmp_path / "t.csv").write_text("node,time,cpu_share\n" + "\n".join(rows))
    got = read_telemetry(tmp_path / "t.csv").cpu_share
    np.testing.assert_array_equal(got, [[np.nan, 0], [np.nan, 0.5]])


def test_rows_a_century_apart_ask_for_no_memory_between_them(tmp_path: Path) -> None:
    seconds = [f"2021-01-01T00:00:0{second}Z" for second in range(3)]
    file = carbon(tmp_path, [(when, 400) for when in (*seconds, "2221-01-01T00:00Z")])
    refused(SignalGap, lambda: FileCarbon([file]), "slots are missing")
    (tmp_path / "t.csv").write_text(
        "node,time,cpu_share\n" + "".join(f"a,{w},0\n" for w in (*seconds, "2221-01-01T00:00Z"))
    )
    refused(SlotError, lambda: read_telemetry(tmp_path / "t.csv"), "check for a stray time")

"""What the simulator reads, and what it refuses."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import numpy as np
import pytest

from aicsched.errors import ConfigError, InputError, SignalGap, SignalInvalid, UnitError
from aicsched.simulate import Costs, Queues, Trace, Truth, Workload, World, read_trace, read_truth

if TYPE_CHECKING:
    from pathlib import Path


def trace_file(folder: Path, rows: str, header: str = "arrival_time,length,cpus") -> Path:
    file = folder / "jobs.csv"
    file.write_text(f"{header}\n{rows}\n")
    return file


# ---------------------------------------------------------------- jobs
def test_a_trace_is_sorted_and_in_seconds(tmp_path: Path) -> None:
    trace = read_trace(trace_file(tmp_path, "7200,600,2\n60,900,1"))
    assert trace.arrival_s.tolist() == [60, 7200]
    assert trace.length_s.tolist() == [900, 600]
    assert (trace.time_unit, len(trace)) == ("s", 2)


def test_the_unit_is_what_makes_sense_or_is_asked_for(tmp_path: Path) -> None:
    assert read_trace(trace_file(tmp_path, "0.5,1.5,2\n8000,30.2,1")).length_s.tolist() == [5400, 108720]
    both = trace_file(tmp_path, "0,61,2\n300,90,1")
    with pytest.raises(UnitError, match=r"seconds or hours.*--time-unit"):
        read_trace(both)
    assert read_trace(both, time_unit="h").length_s[0] == 61 * 3600
    with pytest.raises(UnitError, match="'d' is no unit"):
        read_trace(both, time_unit="d")
    named = trace_file(tmp_path, "0,61,2", "arrival_min,duration_min,vcpus")
    assert read_trace(named).length_s[0] == 61 * 60
    with pytest.raises(UnitError, match="different units"):
        read_trace(trace_file(tmp_path, "0,61,2", "arrival_min,length_h,cpus"))


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("0,-600,1", "row 3: length is -600"),
        ("0,0,1", "row 3: length is 0; give a number that is more than 0"),
        ("-5,600,1", "row 3: arrival_time is -5"),
        ("0,600,0", "row 3: cpus is 0"),
        ("0,,1", "row 3: length is nan"),
        ("inf,600,1", "row 3: arrival_time is inf"),
        ("0,long,1", "row 3: 'long' is not a number"),
    ],
)
def test_bad_jobs_are_named(tmp_path: Path, row: str, words: str) -> None:
    with pytest.raises((InputError, UnitError), match=words):
        read_trace(trace_file(tmp_path, f"0,600,1\n{row}"))


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no column 'length'.*did you mean lenght"):
        read_trace(trace_file(tmp_path, "0,1,1", "arrival_time,lenght,cpus"))
    with pytest.raises(InputError, match="at least one job"):
        Trace(arrival_s=np.empty(0), length_s=np.empty(0), vcpus=np.empty(0))
    with pytest.raises(InputError, match="job 2: cpus is -1"):
        Trace(arrival_s=np.zeros(2), length_s=np.ones(2), vcpus=np.array([1.0, -1.0]))


def test_times_are_rounded_to_ticks_where_asked() -> None:
    trace = Trace(arrival_s=np.array([13.0]), length_s=np.array([4.0]), vcpus=np.ones(1))
    assert trace.rounded(0) is trace
    short = trace.rounded(5)
    assert (short.arrival_s[0], short.length_s[0]) == (10, 5)


def test_queues_give_waits_and_mean_lengths() -> None:
    hours = np.array([1.0, 2.0, 4.0])
    trace = Trace(arrival_s=np.zeros(3), length_s=hours * 3600, vcpus=np.ones(3))
    work = Workload.of(trace, Queues.parse("6x24"))
    assert work.pending.queue.tolist() == [0, 1, 1]
    # A job of just two hours counts in both means.
    assert (work.pending.estimate_s / 3600).tolist() == [1.5, 3, 3]
    assert (work.pending.max_wait_s / 3600).tolist() == [6, 24, 24]
    alone = Workload.of(trace, Queues.parse("3"))
    assert (alone.pending.estimate_s / 3600).tolist() == pytest.approx([7 / 3] * 3)
    ticks = Workload.of(trace, Queues.parse("3"), tick_s=3600)
    assert (ticks.pending.estimate_s / 3600).tolist() == [2, 2, 2]


@pytest.mark.parametrize("waits", ["6x", "six", "", "6x24x48", "-1", "nan"])
def test_bad_waits_are_refused(waits: str) -> None:
    with pytest.raises(ConfigError, match="wait"):
        Queues.parse(waits)


# ---------------------------------------------------------------- intensities
def test_a_trace_of_intensities_may_have_no_clock(tmp_path: Path) -> None:
    file = tmp_path / "grid.csv.gz"
    with gzip.open(file, "wt") as out:
        out.write("hour_of_2022,carbon_intensity_g_per_kwh\n0,100\n1,200\n2,300\n")
    truth = read_truth(file, start_h=1)
    assert truth.g_per_kwh.tolist() == [200, 300]
    assert (truth.step_s, truth.end_s) == (3600, 7200)
    with pytest.raises(InputError, match="hour 3 is no start of a slot"):
        read_truth(file, start_h=3)
    with pytest.raises(InputError, match="no column 'x'"):
        read_truth(file, column="x")


@pytest.mark.parametrize("zone", ["", "Z", "+02:00"])
def test_half_hours_are_seen_in_the_times(tmp_path: Path, zone: str) -> None:
    file = tmp_path / "grid.csv"
    file.write_text(
        f"Time,Carbon Intensity\n2020-01-01 00:00:00{zone},1\n2020-01-01 00:30:00{zone},2\n"
        f"2020-01-01 01:00:00{zone},3\n"
    )
    truth = read_truth(file, start_h=0.5)
    assert (truth.step_s, truth.g_per_kwh.tolist()) == (1800, [2, 3])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Time,ci_g_per_kwh\n2020-01-01 00:00,1\n2020-01-01 01:00,1\n2020-01-01 03:00,2", "equal steps"),
        ("Time,ci_g_per_kwh\n2020-01-01 00:00,1\nnoon,1", "no time"),
        ("hour,a,b\n0,1,2", "none of its columns"),
        ("hour,a_g_per_kwh,b_g_per_kwh\n0,1,2", "2 of its columns"),
    ],
)
def test_bad_traces_are_refused(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "grid.csv"
    file.write_text(text)
    with pytest.raises(InputError, match=words):
        read_truth(file)


def test_gaps_and_negative_values_are_refused() -> None:
    with pytest.raises(SignalGap, match="no value in slot 1"):
        Truth(g_per_kwh=np.array([1.0, np.nan]))
    with pytest.raises(SignalInvalid, match="slot 1 is -3 g/kWh"):
        Truth(g_per_kwh=np.array([1.0, -3.0]))
    with pytest.raises(SignalInvalid, match="no slot"):
        Truth(g_per_kwh=np.empty(0))


def test_energy_is_exact_within_slots_and_repeats() -> None:
    truth = Truth(g_per_kwh=np.array([100.0, 300.0]), step_s=1800.0)
    assert truth.until(np.array([0.0, 900.0, 1800.0, 2700.0, 3600.0])).tolist() == [0, 25, 50, 125, 200]
    assert truth.repeated(3600.0) is truth
    assert truth.repeated(3601.0).g_per_kwh.tolist() == [100, 300, 100, 300]


def test_bad_prices_and_worlds_are_refused() -> None:
    with pytest.raises(ConfigError, match="watts_per_vcpu is -1"):
        Costs(watts_per_vcpu=-1)
    with pytest.raises(ConfigError, match="can't be paid until 'noon'"):
        Costs(reserved_until="noon")
    with pytest.raises(ConfigError, match="save_s is -1"):
        World(save_s=-1)

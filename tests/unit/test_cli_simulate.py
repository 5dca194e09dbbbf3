"""``aicsched simulate``: what it prints, and what it refuses."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from aicsched.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Run: TypeAlias = "Callable[..., tuple[int, str, str]]"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "jobs.csv").write_text("arrival_time,length,cpus\n0,7000,1\n3600,1800,2\n7300,9000,1\n")
    hours = [300, 400, 100, 250, 200, 350] * 12
    rows = [f"{hour},{value}" for hour, value in enumerate(hours)]
    (tmp_path / "grid.csv").write_text("hour,carbon_intensity_g_per_kwh\n" + "\n".join(rows) + "\n")

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main(["simulate", "--jobs", "jobs.csv", "--carbon", "grid.csv", *arguments])
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return int(caught.value.code or 0), out, err

    return call


def as_json(result: tuple[int, str, str]) -> Any:
    code, out, err = result
    assert code == 0, err
    return json.loads(out)


def test_savings_come_with_what_they_depend_on(run: Run) -> None:
    made = as_json(run("--policy", "lowest_window", "--json"))
    (row,) = made["policies"]
    assert row["policy"] == "lowest_window"
    # The ratio is to no_wait though it wasn't asked for.
    assert 0 < row["carbon_ratio"] < 1
    assert row["completed_jobs"] == row["jobs"] == made["jobs"] == 3
    assert row["slack_h"] == [6, 24]
    assert row["capacity"] == {"cap_vcpus": None, "on_demand_vcpus": None, "reserved_vcpus": 0}
    assert (row["lengths"], row["forecast"], made["time_unit"]) == ("queue mean", "oracle", "s")
    assert {"mean_wait_h", "cost", "carbon_g", "suspended_jobs", "peak_vcpus"} <= set(row)


def test_a_cap_is_kept_and_said(run: Run) -> None:
    (row,) = as_json(run("--policy", "wait_awhile", "--cap", "2", "--json"))["policies"]
    assert row["capacity"]["cap_vcpus"] == 2
    assert row["peak_vcpus"] <= 2
    assert "at most 2 CPUs" in run("--cap", "2")[1]
    assert "use --tick 0" in run("--cap", "2", "--reserved", "1")[2]
    assert run("--cap", "2", "--reserved", "1", "--tick", "0")[0] == 0


def test_policies_are_repeated_or_listed(run: Run) -> None:
    ways = (
        ("--policy", "no_wait", "--policy", "price", "--policy", "wait_awhile"),
        ("--policy", "no_wait,price,wait-awhile,price"),
        ("--policy", "no_wait", "price", "wait_awhile"),
    )
    texts = {run(*way, "--json")[1] for way in ways}
    assert len(texts) == 1
    names = [row["policy"] for row in json.loads(texts.pop())["policies"]]
    assert names == ["no_wait", "price", "wait_awhile"]


def test_processes_give_the_same_bytes_and_combinations_are_rows(run: Run) -> None:
    arguments = ("--start-hour", "0,6", "--wait", "6x24,2x3", "--reserved", "0,2", "--json")
    serial = run(*arguments, "--policy", "carbon_time,wait_awhile")
    assert serial == run(*arguments, "--policy", "carbon_time,wait_awhile", "--processes", "2")
    rows = as_json(serial)["policies"]
    assert len(rows) == 16
    assert {(row["start_hour"], *row["slack_h"], row["capacity"]["reserved_vcpus"]) for row in rows} == {
        (start, *slack, size) for start in (0, 6) for slack in ((6, 24), (2, 3)) for size in (0, 2)
    }


def test_people_get_a_table(run: Run) -> None:
    code, out, _ = run()
    assert code == 0
    for word in (
        "no_wait",
        "ecovisor_threshold",
        "slack 6x24 h",
        "Perfect forecasts",
        "ticks of 5 s",
        "true",
    ):
        assert word in out
    _, out, _ = run("--reserved", "0,1", "--tick", "0")
    assert "reserved" in out
    assert "ticks" not in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--policy", "lowest_windw"], "did you mean lowest_window"),
        (["--policy", ","], "at least one"),
        (["--start-hour", "60"], "repeat it (--repeat-carbon)"),
        (["--start-hour", "500"], "no start of a slot"),
        (["--start-hour", "noon"], "no list of numbers"),
        (["--wait", "6xx"], "no list of waits"),
        (["--queue-limit", "5,2"], "limits"),
        (["--column", "ci"], "no column 'ci'"),
        (["--time-unit", "days"], "no unit of the times"),
        (["--jobs", "absent.csv"], "absent.csv"),
        (["--reserved", "-1"], "reserved_vcpus is -1"),
        (["--dask", "tcp://127.0.0.1:1"], "Dask"),
    ],
)
def test_bad_input_is_named(run: Run, arguments: list[str], words: str) -> None:
    code, out, err = run(*arguments)
    assert code in {2, 3}
    assert words in err
    assert not out


def test_gaps_and_bad_jobs_are_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "grid.csv").write_text("hour,carbon_intensity_g_per_kwh\n0,100\n1,\n")
    assert "no value in slot 1" in run()[2]
    (tmp_path / "jobs.csv").write_text("arrival_time,length,cpus\n0,-5,1\n")
    assert "row 2: length is -5" in run()[2]
    (tmp_path / "jobs.csv").write_text("arrival_time,cpus\n0,1\n")
    assert "no column 'length'" in run()[2]


def test_a_short_trace_repeats_where_asked(run: Run) -> None:
    rows = as_json(run("--start-hour", "60", "--repeat-carbon", "--policy", "no_wait", "--json"))["policies"]
    assert rows[0]["carbon_ratio"] == 1


# ---------------------------------------------------------------- several regions
NORTH, SOUTH = [300, 400, 100, 250, 200, 350] * 12, [150, 150, 350, 350, 150, 350] * 12


@pytest.fixture
def spread(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    del run
    head = "arrival_time,length,cpus,home_region,allowed_regions,data_gb\n"
    rows = "7300,9000,1,south,,\n0,7000,1,north,,0.5\n3600,1800,2,north,north;south,\n"
    (tmp_path / "jobs.csv").write_text(head + rows)
    zones = (("north", NORTH), ("south", SOUTH))
    both = [f"{hour},{zone},{values[hour]}" for zone, values in zones for hour in range(72)]
    (tmp_path / "both.csv").write_text("hour,zone,g_per_kwh\n" + "\n".join(both) + "\n")
    for zone, values in zones:
        lines = [f"2022-01-{1 + hour // 24:02}T{hour % 24:02}:00Z,{values[hour]}" for hour in range(72)]
        (tmp_path / f"grid_{zone}.csv").write_text("time,g_per_kwh\n" + "\n".join(lines) + "\n")

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main(["simulate", "--jobs", "jobs.csv", *arguments])
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return int(caught.value.code or 0), out, err

    return call


def test_zones_are_regions_from_one_file_or_several(spread: Run) -> None:
    ways = (("both.csv",), ("grid_north.csv", "grid_south.csv"), ("north=grid_north.csv", "grid_south.csv"))
    texts = {spread("--carbon", *way, "--policy", "price,mpc,carbon_time", "--json")[1] for way in ways}
    assert len(texts) == 1
    made = json.loads(texts.pop())
    price, mpc, home = made["policies"]
    assert made["tick_s"] == 0
    assert price["region_choice"] == mpc["region_choice"] == "chosen"
    assert (home["region_choice"], home["moves"]) == ("home", 0)
    assert set(price["regions"]) == {"north", "south"}
    # Half a gigabyte is dear beside a watt: that job stays, the others are free to go.
    assert price["carbon_ratio"] < home["carbon_ratio"]
    assert price["transfer_g"] == 0 < price["moves"]
    grams = sum(facts["carbon_g"] for facts in price["regions"].values())
    assert grams == pytest.approx(price["carbon_g"])
    for key in ("policy", "carbon_ratio", "mean_wait_h", "cost"):
        assert key in price


def test_a_fleet_says_caps_watts_and_names(spread: Run, tmp_path: Path) -> None:
    (tmp_path / "fleet.csv").write_text(
        "name,grid_zone,capacity_vcpus,power_w_per_vcpu,pue\nnorth,north,2,3,1.5\nsouth,south,2,4,1.1\n"
    )
    arguments = ("--carbon", "both.csv", "--fleet", "fleet.csv", "--policy", "no_wait,price", "--json")
    base, made = json.loads(spread(*arguments)[1])["policies"]
    assert made["carbon_g"] < base["carbon_g"]
    assert all(facts["peak_vcpus"] <= 2 for facts in made["regions"].values())
    # With room for all, grams are those of a watt a CPU times power and PUE.
    wide = (tmp_path / "fleet.csv").read_text().replace(",2,", ",9,")
    (tmp_path / "fleet.csv").write_text(wide)
    base = json.loads(spread(*arguments)[1])["policies"][0]
    bare = json.loads(spread("--carbon", "both.csv", "--policy", "no_wait", "--json")[1])["policies"][0]
    for name, factor in (("north", 4.5), ("south", 4.4)):
        assert base["regions"][name]["carbon_g"] == pytest.approx(factor * bare["regions"][name]["carbon_g"])
    text = spread(*arguments[:-1])[1]
    assert "2 regions" in text
    assert "requeued" in text


def test_a_lost_region_is_counted(spread: Run) -> None:
    arguments = ("--carbon", "both.csv", "--outage", "north=0.5-9", "--rto", "0.25", "--checkpoint", "600")
    arguments += ("--wait", "0x0", "--policy", "no_wait,price", "--json")
    base, made = json.loads(spread(*arguments)[1])["policies"]
    assert base["requeued"] == 1
    assert base["recovery_h"] == 8.5
    assert made["recovery_h"] <= 0.25
    assert made["late_jobs"] <= base["late_jobs"]
    assert spread(*arguments, "--processes", "2") == spread(*arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--carbon", "both.csv", "--outage", "nroth=1-2"], "did you mean north"),
        (["--carbon", "both.csv", "--outage", "north=soon"], "is no time"),
        (["--carbon", "both.csv", "--tick", "5"], "use --tick 0"),
        (["--carbon", "both.csv", "grid_north.csv"], "zone 'north' is in"),
        (["--carbon", "late_north.csv", "grid_south.csv"], "cut them to the same beginning"),
        (["--carbon", "both.csv", "--fleet", "fleet.csv"], "zone 'west' has no intensity"),
        (["--carbon", "both.csv", "--jobs", "homeless.csv"], "row 3: the job has no home"),
        (["--carbon", "both.csv", "--jobs", "heavy.csv"], "data_gb is -1"),
        (["--carbon", "both.csv", "--jobs", "far.csv"], "no site 'moon'"),
    ],
)
def test_impossible_regions_are_named(spread: Run, tmp_path: Path, arguments: list[str], words: str) -> None:
    (tmp_path / "fleet.csv").write_text("name,grid_zone,capacity_vcpus,power_w_per_vcpu\nw,west,2,3\n")
    head = "arrival_time,length,cpus,region,data_gb,allowed_regions\n"
    (tmp_path / "homeless.csv").write_text(head + "0,7000,1,north,,\n0,7000,1,,,\n")
    (tmp_path / "heavy.csv").write_text(head + "0,7000,1,north,-1,\n")
    (tmp_path / "far.csv").write_text(head + "0,7000,1,north,0,moon\n")
    lines = (tmp_path / "grid_north.csv").read_text().splitlines()
    (tmp_path / "late_north.csv").write_text("\n".join([lines[0], *lines[2:]]) + "\n")
    code, out, err = spread(*arguments)
    assert code in {2, 3}
    assert words in err
    assert not out


def test_an_outage_of_the_only_site_needs_no_name(run: Run) -> None:
    (row,) = as_json(run("--outage", "1-5", "--policy", "no_wait", "--json"))["policies"]
    assert row["requeued"] == 1
    assert "there is no region" in run("--outage", "north=1-5")[2]

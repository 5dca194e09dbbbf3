"""``aicsched capacity``: on the sample, on files of one's own, and refused where input is wrong."""

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

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main(["capacity", *arguments])
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return int(caught.value.code or 0), out, err

    return call


def as_json(result: tuple[int, str, str]) -> Any:
    code, out, err = result
    assert code == 0, err
    return json.loads(out)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """Write a fleet of two regions with machines, telemetry of ten days, and two services."""
    nodes = [
        {
            "name": f"{region}-{index}", "region": region, "vcpus": 16, "memory_gib": 64,
            "cpu_family": "amd-epyc-gen3", "embodied_kg": 900,
        }
        for region in ("one", "two")
        for index in range(3)
    ]  # fmt: skip
    regions = [
        {"name": name, "grid_zone": "syn-nordic", "capacity_vcpus": 9, "power_w_per_vcpu": 2, "pue": 1.2}
        for name in ("one", "two")
    ]
    fleet = tmp_path / "fleet.json"
    fleet.write_text(json.dumps({"regions": regions, "nodes": nodes}), encoding="utf-8")
    rows = ["node,time,cpu_share,memory_share"]
    for day in range(10):
        rows += [
            f"{item['name']},2026-03-{day + 1:02}T{hour:02}:00Z,{0.2 + 0.01 * day},0.25"
            for item in nodes
            for hour in range(24)
        ]
    seen = tmp_path / "seen.csv"
    seen.write_text("\n".join(rows), encoding="utf-8")
    work = tmp_path / "services.csv"
    work.write_text(
        "service_id,vcpus,home_region,replication_lag_s\na,20,one,5\nb,10,two,\n", encoding="utf-8"
    )
    return {"fleet": str(fleet), "telemetry": str(seen), "services": str(work)}


def given(files: dict[str, str], *names: str) -> list[str]:
    return [part for name in names for part in (f"--{name}", files[name])]


def test_the_sample_answers_at_once(run: Run) -> None:
    for command in ("headroom", "growth", "drill", "--help"):
        code, out, _ = run(command)
        assert code == 0
        assert ("synthetic" in out) is (command != "--help")
    made = as_json(run("headroom", "--json"))
    assert made["synthetic"]
    assert made["services"]["at_most_share"] >= made["services"]["may_grow_share"] > 0
    assert {row["scope"] for row in made["headroom"]} == {"fleet", "region", "pool"}
    grown = as_json(run("growth", "--growth", "compound", "--json"))["growth"]
    assert any(row["growth"]["exhausted_in_days"][1] is None for row in grown)  # never
    assert run("growth", "--growth", "compound")[0] == 0


def test_files_of_ones_own(run: Run, files: dict[str, str]) -> None:
    rows = as_json(run("headroom", *given(files, "fleet", "telemetry"), "--json"))
    whole = next(row for row in rows["headroom"] if (row["name"], row["resource"]) == ("fleet", "cpu"))
    # 96 threads, 48 without a region; 95 % of the days need up to 29 %.
    assert (whole["capacity"], whole["binding"]) == (96, "one")
    assert whole["fits"] == pytest.approx(48 - 96 * 0.29, abs=0.1)
    assert rows["services"] is None
    some = as_json(run("headroom", *given(files, "fleet", "telemetry", "services"), "--json"))["services"]
    # Each service must fit whole into either region: 30 of 48 threads.
    assert some["may_grow_share"] == pytest.approx(0.6, rel=1e-3)
    grown = as_json(run("growth", *given(files, "fleet", "telemetry"), "--json"))
    one = next(row for row in grown["growth"] if (row["name"], row["resource"]) == ("one", "cpu"))
    assert one["growth"]["per_day"][1] == pytest.approx(0.48)
    assert one["growth"]["exhausted_in_days"][1] == pytest.approx((48 - 48 * 0.29) / 0.48)
    shared = run("headroom", *given(files, "fleet", "telemetry", "services"), "--mode", "shared")[1]
    assert "2 services, as far as their regions and latencies allow, may grow by 60%" in shared


def test_a_drill_on_files(run: Run, files: dict[str, str], tmp_path: Path) -> None:
    arguments = ["drill", *given(files, "fleet", "services"), "--at", "2026-04-20T00:00Z"]
    made = as_json(run(*arguments, "--lose", "one", "--out", "out", "--json"))
    assert made["plan"]["checked"]
    assert made["plan"]["gap"] <= 1e-4
    (drill,) = made["drills"]
    assert drill["survives"]
    assert drill["after_vcpus"] == pytest.approx({"one": 0, "two": 30})
    assert (tmp_path / "out" / "drill.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    kept = json.loads((tmp_path / "out" / "failover-plan.json").read_text(encoding="utf-8"))
    held = {(row["service_id"], row["region"]): row["reserved_vcpus"] for row in kept["services"]}
    assert held == {("a", "one"): 20, ("a", "two"): 20, ("b", "one"): 10, ("b", "two"): 10}
    assert "N+1 plan (shared reserve" in run(*arguments, "--mode", "shared", "--out", "out")[1]
    shared = json.loads((tmp_path / "out" / "failover-plan.json").read_text(encoding="utf-8"))["services"]
    for row in shared:
        assert row["moves_to"] == {{"one": "two", "two": "one"}[row["region"]]: row["used_vcpus"]}
    as_is = run(*arguments, "--lose", "one", "--as-is")[1]
    assert "Nothing is reserved" in as_is
    assert "a loses 20 vCPUs; two takes 20" in as_is
    # Losing the only other region leaves nobody.
    big = tmp_path / "big.csv"
    big.write_text("service_id,vcpus,home_region\na,40,one\nb,20,two\n", encoding="utf-8")
    facts = as_json(run("drill", *given(files, "fleet"), "--services", str(big), "--as-is", "--json"))
    assert [drill["unserved_vcpus"] for drill in facts["drills"]] == pytest.approx([12, 12])
    code, out, err = run("drill", *given(files, "fleet"), "--services", str(big), "--json")
    assert code == 3
    assert json.loads(out)["error"]["constraints"] == ["capacity", "failover"]
    assert "outlive the loss" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["headroom", "--mode", "both"], "'both' is no mode"),
        (["growth", "--growth", "cubic"], "'cubic' is no kind of growth"),
        (["drill", "--lose", "nowhere"], "no failure group or region 'nowhere'"),
        (["drill", "--warm", "--as-is"], "no service has a reserve of its own"),
        (["drill", "--detection", "9:1:2"], "9:1:2 doesn't rise"),
        (["drill", "--services", "missing.csv"], "missing.csv"),
        (["headroom", "--level", "3"], "level"),
    ],
)
def test_bad_input_is_told(run: Run, arguments: list[str], words: str) -> None:
    code, _, err = run(*arguments)
    assert code == 2
    assert words in err


def test_a_real_fleet_needs_real_files(run: Run, files: dict[str, str]) -> None:
    code, _, err = run("headroom", *given(files, "fleet"))
    assert (code, "no telemetry was given" in err) == (2, True)
    code, _, err = run("drill", *given(files, "fleet"))
    assert (code, "no services were given" in err) == (2, True)

"""The main job from the command line: on the sample, on the user's files, and when it can't be done."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

import aicsched as ac
from aicsched.cli import main
from aicsched.cli.progress import parts
from aicsched.domain.arrays import frame_from_series
from aicsched.fleet.file import fleet_to_json
from aicsched.fleet.jobs_file import jobs_to_csv
from aicsched.slots import format_time

if TYPE_CHECKING:
    from collections.abc import Callable

Run: TypeAlias = "Callable[..., tuple[int, str, str]]"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main(list(arguments))
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return int(caught.value.code or 0), out, err

    return call


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three regions of the sample as a user's files: CSV per zone, fleet, jobs."""
    folder = tmp_path_factory.mktemp("files")
    carbon, whole = ac.SampleCarbon(), ac.sample_fleet()
    fleet = ac.Fleet(regions=whole.regions[:3], source="test")
    names = {region.name for region in fleet.regions}
    for region in fleet.regions:
        frame = frame_from_series(carbon.read(region.grid_zone))[["valid_time", "value_g_per_kwh"]]
        frame = frame.rename(columns={"value_g_per_kwh": "ci_g_per_kwh"})
        frame["valid_time"] = frame["valid_time"].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
        frame.to_csv(folder / f"my_{region.grid_zone}.csv", index=False)
    jobs = [item for item in ac.sample_jobs(whole) if {item.home_region, *item.allowed_regions} <= names]
    (folder / "fleet.json").write_text(fleet_to_json(fleet))
    (folder / "jobs.csv").write_text(jobs_to_csv(jobs))
    return folder


def plan_arguments(files: Path, *more: str) -> list[str]:
    zones = sorted(str(path) for path in files.glob("my_*.csv"))
    at = format_time(ac.SampleCarbon().now_s)
    named = ["--jobs", str(files / "jobs.csv"), "--fleet", str(files / "fleet.json"), "--at", at]
    return ["plan", "--carbon", *zones, *named, "--horizon", "96", *more]


def as_json(result: tuple[int, str, str]) -> Any:
    code, out, err = result
    assert code == 0, err
    return json.loads(out)


def test_the_demonstration_tells_everything_it_promises(run: Run) -> None:
    code, out, err = run("demo", "--out", "shown")
    assert code == 0, err
    for words in (
        "Read: 8 grid zones",
        "MAPE by lead day",
        "from optimal",
        "best",
        "worst",
        "beats",
        "synthetic data",
    ):
        assert words in out, words
    for name in ("plan.json", "ledger.db", "report.html"):
        assert Path("shown", name).is_file()
        assert name in out
    assert "Synthetic" in Path("shown/report.html").read_text()
    verified = as_json(run("ledger", "verify", "shown/ledger.db", "--json"))
    assert verified["entries"] == json.loads(Path("shown/plan.json").read_text())["jobs"]
    assert "the chain is intact" in run("ledger", "verify", "shown/ledger.db")[1]
    rows = as_json(run("ledger", "show", "shown/ledger.db", "--limit", "3", "--json"))["decisions"]
    assert len(rows) == 3
    assert all(row["avoided_g"] == row["counterfactual_g"] - row["operational_g"] for row in rows)
    assert rows[0]["subject"] in run("ledger", "show", "shown/ledger.db", "--job", rows[0]["subject"])[1]


def test_the_demonstration_as_json_is_the_same_twice(run: Run) -> None:
    first, second = (as_json(run("demo", "--json")) for _ in range(2))
    assert first == second
    assert first["gap"] <= 0.01
    assert len(first["accuracy"]["zones"]) == 8


def test_a_plan_on_files_beats_the_baselines_and_is_byte_equal_twice(run: Run, files: Path) -> None:
    arguments = plan_arguments(files, "--out", "out", "--json")
    first = run(*arguments)
    facts = as_json(first)
    assert first[1] == run(*arguments)[1]
    assert facts["synthetic"] is False
    assert facts["gap"] <= 0.01
    best = facts["policies"].pop(facts["policy"])
    assert all(best["total_g"] < other["total_g"] for other in facts["policies"].values())
    assert Path(facts["files"]["report"]).is_file()
    assert "Synthetic" not in Path(facts["files"]["report"]).read_text()
    code, out, _ = run(*plan_arguments(files, "--out", "out"))
    assert code == 0
    assert "lowest_window" in out
    assert "report.html" in out


def test_a_plan_tells_what_each_limit_costs(run: Run, files: Path) -> None:
    fleet = json.loads((files / "fleet.json").read_text())
    for region in fleet["regions"]:
        region["capacity_vcpus"] *= 100
    Path("sites.json").write_text(json.dumps(fleet))
    arguments = plan_arguments(files, "--out", "out", "--model", "seasonal")
    arguments[arguments.index("--fleet") + 1] = "sites.json"
    assert "No limit of vCPUs costs anything" in run(*arguments)[1]
    for region in fleet["regions"]:
        region["capacity_vcpus"] *= 0.006
    Path("sites.json").write_text(json.dumps(fleet))
    caps = as_json(run(*arguments, "--json"))["caps"]
    prices = json.loads(Path("out/plan.json").read_text())["prices_g_per_vcpu_h"]
    room = {region["name"]: region["capacity_vcpus"] for region in fleet["regions"]}
    assert {cap["region"] for cap in caps} == set(room)
    for cap in caps:
        assert cap["g_per_more_vcpu"] == pytest.approx(sum(prices[cap["region"]]))
        assert cap["worth_g"] == pytest.approx(sum(prices[cap["region"]]) * room[cap["region"]])
        assert cap["binding_slots"] == sum(price > 0 for price in prices[cap["region"]])
    assert caps[0]["g_per_more_vcpu"] > 0
    code, out, _ = run(*arguments)
    assert code == 0
    assert "one more vCPU saves at most" in out
    assert caps[0]["fullest_slots"][0] in out


def test_a_backtest_on_files_gives_the_published_keys(run: Run, files: Path) -> None:
    zones = sorted(str(path) for path in files.glob("my_*.csv"))
    window = ["--start", "2026-04-20T00:00Z", "--end", "2026-04-25T00:00Z", "--model", "ridge"]
    found = as_json(run("backtest", "--carbon", *zones, *window, "--horizon", "96", "--json"))
    assert sorted(found["zones"]) == sorted(Path(zone).stem.removeprefix("my_") for zone in zones)
    for item in (*found["zones"].values(), found["mean"]):
        assert len(item["mape"]) == len(item["mae"]) == len(item["coverage80"]) == 4
        assert item["concordance"]
        assert item["regret"]
    assert found["cpu_s_per_fit"] > 0
    code, out, _ = run("backtest", "--carbon", *zones, *window, "--horizon", "24")
    assert code == 0
    assert "MAPE by lead day" in out


def test_a_backtest_goes_on_from_a_folder_and_in_processes_alike(run: Run, files: Path) -> None:
    zones = sorted(str(path) for path in files.glob("my_*.csv"))[:2]
    window = ["--start", "2026-04-20T00:00Z", "--end", "2026-04-25T00:00Z", "--model", "seasonal"]
    common = ["backtest", "--carbon", *zones, *window, "--every", "12", "--refit", "2", "--json"]
    plain = as_json(run(*common))
    assert plain["origins"] == 11
    for more in (["--resume", "kept"], ["--resume", "kept"], ["--jobs", "2"]):
        found = as_json(run(*common, *more))
        assert {name: found[name] for name in ("zones", "mean")} == {
            name: plain[name] for name in ("zones", "mean")
        }
    assert len(list(Path("kept").glob("part-*.npz"))) == 2
    report = ["--report", "pages/page.html", "--rival", "ridge"]
    assert as_json(run(*common, *report))["files"] == {"report": "pages/page.html"}
    assert "Dashed orange: ridge." in Path("pages/page.html").read_text()
    code, out, _ = run(*common[:-1], *report[:2])
    assert (code, "pages/page.html" in out) == (0, True)


def test_a_backtest_s_progress_is_shown_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    for terminal in (False, True):
        monkeypatch.setattr(shown, "isatty", lambda terminal=terminal: terminal, raising=False)
        monkeypatch.setattr(sys, "stderr", shown)
        with parts(quiet=False) as told:
            told("", 2, 4)
            told("DE", 3, 4)
            told("DE", 4, 4)
        assert ("DE" in shown.getvalue(), "4/4" in shown.getvalue()) == (terminal, terminal)


def test_results_that_can_not_be_written_are_refused_before_any_work(run: Run, files: Path) -> None:
    Path("taken").write_text("a file")
    code, out, err = run(*plan_arguments(files, "--out", "taken", "--json"))
    assert code == 2
    assert "can't be written to" in err
    assert json.loads(out)["error"]["code"] == "output"


@pytest.mark.skipif(
    not Path("/proc/self").exists(), reason="needs a file system that is read-only even for root"
)
@pytest.mark.parametrize("folder", ["/proc/self", "/proc/aicsched"])
def test_a_read_only_folder_is_refused(run: Run, files: Path, folder: str) -> None:
    code, _, err = run(*plan_arguments(files, "--out", folder))
    assert (code, "permissions" in err) == (2, True)


def test_jobs_that_can_not_fit_are_named_and_nothing_is_written(
    run: Run, files: Path, tmp_path: Path
) -> None:
    text = (files / "jobs.csv").read_text().splitlines()
    row = text[1].split(",")
    row[0], row[1] = "giant", "99999"
    bad = tmp_path / "bad.csv"
    bad.write_text("\n".join([text[0], *text[1:], ",".join(row)]) + "\n")
    arguments = plan_arguments(files, "--out", "out", "--json")
    arguments[arguments.index(str(files / "jobs.csv"))] = str(bad)
    code, out, err = run(*arguments)
    assert code == 3
    assert "'giant'" in err
    assert json.loads(out)["error"]["constraints"] == ["capacity"]
    assert list(Path("out").iterdir()) == []


def test_a_full_disk_is_told_and_leaves_no_halves(
    run: Run, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, *_args: object, **_options: object) -> int:
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_bytes", full)
    code, _, err = run(*plan_arguments(files, "--out", "out"))
    assert code == 2
    assert "No space left on device" in err
    assert list(Path("out").iterdir()) == []


def test_a_fleet_without_forecastable_zone_names_the_nearest(run: Run, files: Path, tmp_path: Path) -> None:
    text = (files / "fleet.json").read_text().replace("syn-nordic", "syn-nordik")
    (tmp_path / "fleet.json").write_text(text)
    arguments = plan_arguments(files)
    arguments[arguments.index(str(files / "fleet.json"))] = str(tmp_path / "fleet.json")
    code, _, err = run(*arguments)
    assert code == 2
    assert "'syn-nordik'; did you mean syn-nordic" in err


def test_the_sample_queue_is_planned_without_files(run: Run) -> None:
    facts = as_json(run("plan", "--json", "--out", "out"))
    assert facts["synthetic"] is True


def test_a_real_fleet_needs_real_jobs(run: Run, files: Path) -> None:
    arguments = plan_arguments(files)
    del arguments[arguments.index("--jobs") : arguments.index("--jobs") + 2]
    code, _, err = run(*arguments)
    assert (code, "add --jobs FILE" in err) == (2, True)


def test_risks_that_nobody_knows_are_refused(run: Run) -> None:
    code, _, err = run("plan", "--risk", "cvr")
    assert code != 0
    assert "--risk is 'cvr'" in err


# ---------------------------------------------------------------- with services
@pytest.fixture
def with_services(files: Path, tmp_path: Path) -> list[str]:
    names = [region["name"] for region in json.loads((files / "fleet.json").read_text())["regions"]]
    lines = [f"s{index},{40 + 10 * index},{names[index % 3]}" for index in range(9)]
    (tmp_path / "services.csv").write_text("\n".join(["service_id,vcpus,home_region", *lines]) + "\n")
    jobs = (files / "jobs.csv").read_text().splitlines()
    (tmp_path / "few.csv").write_text("\n".join(jobs[:30]) + "\n")
    arguments = plan_arguments(files, "--services", str(tmp_path / "services.csv"), "--horizon", "48")
    arguments[arguments.index(str(files / "jobs.csv"))] = str(tmp_path / "few.csv")
    return arguments


def test_services_are_planned_with_the_jobs_and_proven(run: Run, with_services: list[str]) -> None:
    code, out, err = run(*with_services, "--json")
    assert code == 0, err
    facts = json.loads(out)
    found = facts["services"]
    assert found["services"] == 9
    assert found["survives_every_loss"] is True
    assert found["proof"]["losses"] == 3 * 48
    assert found["proof"]["served"] == 3 * 48 * 9
    assert found["firm_jobs"] + found["proof"]["yielding_jobs"] == 29
    assert found["gap"] < 0.01
    assert found["objective_g"] == pytest.approx(found["services_g"] + facts["objective_g"])
    assert sum(found["reserved_vcpus"].values()) > sum(40 + 10 * index for index in range(9))
    assert json.loads(Path(facts["files"]["plan"]).read_text())["services"] == found
    assert "9 services outlive each of 144 losses" in Path(facts["files"]["report"]).read_text()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--gives-way", "some"), "suspendable, all, none"),
        (("--risk", "cvar"), "leave out --services or --risk cvar"),
    ],
)
def test_what_services_do_not_go_with_is_refused(
    run: Run, with_services: list[str], more: tuple[str, ...], words: str
) -> None:
    code, out, err = run(*with_services, *more)
    assert (code, out, words in " ".join(err.split())) == (2, "", True)


def test_jobs_give_way_to_services_only(run: Run, files: Path) -> None:
    code, _, err = run(*plan_arguments(files, "--gives-way", "none"))
    assert (code, "add --services FILE" in err) == (2, True)

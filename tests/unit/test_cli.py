"""The command line: exit codes, JSON, and no traceback ever."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pytest

from aicsched.cli import app as application
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
            main(list(arguments))
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return int(caught.value.code or 0), out, err

    return call


def as_json(result: tuple[int, str, str]) -> Any:
    code, out, err = result
    assert code == 0, err
    return json.loads(out)


@pytest.mark.parametrize(
    "arguments",
    [
        "",
        "plan",
        "score",
        "score nodes",
        "ledger",
        "backtest",
        "recycle recommend",
        "config show",
        "serve",
        "simulate",
        "place-nodes",
    ],
)
def test_help_works_everywhere(run: Run, arguments: str) -> None:
    code, out, _ = run(*arguments.split(), "--help")
    assert code == 0
    assert "Usage" in out


def test_no_arguments_show_the_help(run: Run) -> None:
    code, out, _ = run()
    assert (code, "Usage" in out) == (0, True)


def test_the_version_is_told(run: Run) -> None:
    assert run("--version")[1] == "aicsched 0.1.0\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["plan", "--horizont", "3"], "--horizont"),
        (["nothing"], "nothing"),
        (["forecast", "--at", "2026-01-01T00:00"], "no time zone; add an offset"),
        (["forecast", "--zone", "nowhere"], "did you mean"),
        (["forecast", "--carbon", "absent.csv"], "absent.csv"),
        (["forecast", "--kind", "mean"], "average or marginal"),
        (["forecast", "--horizon", "0"], "horizon_h"),
        (["schema", "job"], "did you mean jobs"),
        (["plan", "--jobs", "absent.csv"], "absent.csv"),
        (["plan", "--config", "absent.toml"], "absent.toml"),
        (["forecast", "--model", "rigde"], "did you mean ridge"),
        (["ledger", "verify", "absent.db"], "absent.db"),
        (["serve"], "--sample"),
        (["serve", "--sample", "--host", "0.0.0.0"], "loopback"),
    ],
)
def test_bad_input_says_what_and_exits_with_two_or_three(run: Run, arguments: list[str], words: str) -> None:
    code, _, err = run(*arguments)
    assert code in {2, 3}
    assert words in err


def test_an_error_is_json_too(run: Run) -> None:
    code, out, _ = run("forecast", "--zone", "nowhere", "--json")
    assert code == 2
    assert json.loads(out)["error"]["code"] == "unknown-zone"


def test_a_defect_is_told_apart_and_shows_no_traceback(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**_options: object) -> None:
        msg = "boom"
        raise RuntimeError(msg)

    monkeypatch.setattr(application, "app", broken)
    code, _, err = run("schema")
    assert code == 1
    assert "internal error: RuntimeError: boom" in err
    assert "--debug" in err


def test_an_interrupt_is_no_defect(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(**_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(application, "app", interrupted)
    assert run("schema")[0] == 130


@pytest.mark.parametrize(
    ("given", "expanded"),
    [
        (["--carbon", "a", "b", "c"], ["--carbon", "a", "--carbon", "b", "--carbon", "c"]),
        (["--carbon", "a", "--at", "x", "y"], ["--carbon", "a", "--at", "x", "y"]),
        (["--weather", "a", "b", "--json"], ["--weather", "a", "--weather", "b", "--json"]),
        (["--carbon=a", "b"], ["--carbon=a", "b"]),
        (["--carbon"], ["--carbon"]),
    ],
)
def test_flags_take_several_values(given: list[str], expanded: list[str]) -> None:
    assert application.expand_repeated(given) == expanded


def test_forecast_gives_a_band_per_zone(run: Run) -> None:
    zones = as_json(run("forecast", "--horizon", "24", "--json"))["forecasts"]
    assert len(zones) >= 8
    for item in zones.values():
        assert item["synthetic"] is True
        assert len(item["mean_g_per_kwh"]) == len(item["slot_starts"]) == 24
        rows = zip(item["quantiles_g_per_kwh"]["0.1"], item["quantiles_g_per_kwh"]["0.9"], strict=True)
        assert all(0 < low <= high for low, high in rows)
    code, out, _ = run("forecast", "--horizon", "24")
    assert code == 0
    assert "synthetic" in out


def test_schemas_are_listed_and_shown(run: Run) -> None:
    assert set(as_json(run("schema", "--json"))["schemas"]) >= {"carbon", "jobs", "fleet", "telemetry"}
    assert "aicsched schema jobs" in run("schema")[1]
    assert "deadline" in run("schema", "jobs")[1]


def test_settings_are_shown_with_their_origin(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AICSCHED_SEED", "5")
    shown = as_json(run("config", "show", "--json"))["settings"]
    assert shown["seed"] == {"value": 5, "source": "environment AICSCHED_SEED"}
    assert "AICSCHED_SEED" in run("config", "show")[1]


@pytest.mark.parametrize("what", ["regions", "nodes", "backends"])
def test_scores_add_up_and_explain_themselves(run: Run, what: str) -> None:
    found = as_json(run("score", what, "--json"))["scores"]
    assert found
    feasible = [card["mid_g"] for card in found if card["feasible"]]
    assert feasible == sorted(feasible)
    for card in found:
        assert card["mid_g"] == pytest.approx(sum(term["mid_g"] for term in card["terms"]))
        assert card["candidate"] in card["explanation"]
        assert 0 <= card["slo_risk"] <= 1
    code, out, _ = run("score", what, "--top", "3")
    assert code == 0
    assert "synthetic" in out


def test_recycling_is_a_dry_run_with_a_plan_file(run: Run, tmp_path: Path) -> None:
    found = as_json(run("recycle", "recommend", "--out", "plans", "--json"))
    assert found["dry_run"] is True
    dispositions = {item["disposition"] for item in found["recommendations"]}
    assert "keep" in dispositions
    assert dispositions & {"tag", "repurpose", "decommission"}
    for item in found["recommendations"]:
        low, mid, high = item["saved_g_per_year"]
        assert low <= mid <= high
    assert (tmp_path / "plans" / "recycle-plan.json").is_file()
    assert "dry run" in run("recycle", "recommend")[1]


def test_local_times_and_a_lag_go_through_the_command_line(run: Run, tmp_path: Path) -> None:
    hours = np.arange(24 * 30)
    stamps = [f"2021-06-{1 + hour // 24:02}T{hour % 24:02}:00" for hour in hours.tolist()]
    values = [300 + 50 * np.cos(2 * np.pi * hour / 24) for hour in hours]
    values[100] = -1.0
    rows = "\n".join(f"{when},{value:.3f}" for when, value in zip(stamps, values, strict=True))
    (tmp_path / "DE.csv").write_text(f"time,ci\n{rows}\n")
    code, _, err = run("forecast", "--carbon", "DE.csv")
    assert code == 2
    assert "has no time zone" in err
    told = ("forecast", "--carbon", "DE.csv", "--time-zone", "Europe/Berlin", "--lag", "5", "--horizon", "24")
    made = as_json(run(*told, "--json"))["forecasts"]["DE"]
    assert made["issue_time"] == "2021-07-01T03:00Z"  # the last hour ended at 22:00 UTC
    assert made["flags"] == ["quarantined:1", "gaps-filled:1", "late:5"]
    code, out, _ = run(*told)
    assert code == 0
    assert "DE: quarantined:1, gaps-filled:1, late:5" in out
    late = ("--time-zone", "Europe/Berlin", "--lag", "-1")
    assert run("forecast", "--carbon", "DE.csv", *late)[0] == 2

"""Policies and pictures of scores on the command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from aicsched.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., tuple[int, str, str]]

POLICY = """
[limits]
regions = ["north", "alps"]

[namespaces.web]
inherits = "slo-first"
"""


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "policy.toml").write_text(POLICY, encoding="utf-8")

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


def test_a_policy_is_shown_with_where_each_value_comes_from(run: Run) -> None:
    told = as_json(run("score", "policy", "--policy-file", "policy.toml", "--json"))
    assert told["policy"] == "file policy.toml"
    assert told["values"]["regions"] == {"value": ["north", "alps"], "source": "file policy.toml"}
    assert told["values"]["risk_g"] == {"value": 100.0, "source": "preset balanced"}
    web = as_json(run("score", "policy", "--policy-file", "policy.toml", "--namespace", "web", "--json"))
    assert web["values"]["risk_g"] == {"value": 1000.0, "source": "preset slo-first"}
    assert web["values"]["regions"]["value"] == []
    plain = as_json(run("score", "policy", "--json"))
    assert {each["source"] for each in plain["values"].values()} == {"settings and defaults"}
    code, out, _ = run("score", "policy", "--preset", "carbon-first")
    assert code == 0
    assert "preset carbon-first" in out


def test_hard_limits_of_a_file_refuse_on_the_command_line(run: Run) -> None:
    told = as_json(run("score", "regions", "--policy-file", "policy.toml", "--json"))
    able = {card["candidate"] for card in told["scores"] if card["feasible"]}
    assert able == {"north", "alps"}
    refused = next(card for card in told["scores"] if not card["feasible"])
    assert refused["refusals"] == [f"stands in {refused['candidate']}, which the policy does not allow"]
    assert {each["candidate"] for each in told["moves"]["risk_g"]} <= able
    assert set(told["moves"]["front"]) <= able


def test_a_preset_changes_the_rates_and_pictures_are_written(run: Run, tmp_path: Path) -> None:
    drawn = ("--sensitivity", "out/moves.svg", "--front", "out/front.svg")
    told = as_json(run("score", "nodes", "--preset", "slo-first", *drawn, "--top", "2", "--json"))
    assert told["scores"][0]["rates"] == {"risk_g": 1000.0, "g_per_usd": 5263.0}
    assert told["files"] == {"sensitivity": "out/moves.svg", "front": "out/front.svg"}
    for name in told["files"].values():
        assert (tmp_path / name).read_text(encoding="utf-8").startswith("<svg")
    risk = told["moves"]["risk_g"]
    assert risk[0]["low"] == 0
    assert risk[-1]["high"] is None
    code, out, _ = run("score", "nodes", "--front", "front.svg", "--top", "2")
    assert code == 0
    assert "front  front.svg" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--preset", "slofirst"), "did you mean slo-first"),
        (("--policy-file", "none.toml"), "can't be read"),
        (("--namespace", "web"), "without --policy-file"),
    ],
)
def test_what_is_wrong_is_named(run: Run, arguments: tuple[str, ...], words: str) -> None:
    code, _, err = run("score", "regions", *arguments)
    assert code == 2
    assert words in err

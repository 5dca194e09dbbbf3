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
    assert web["values"]["regions"] == {"value": ["north", "alps"], "source": "file policy.toml"}
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


def test_prices_are_told_and_weighed(run: Run, tmp_path: Path) -> None:
    (tmp_path / "prices.csv").write_text(
        "place,unit,price,currency,purchase\n"
        "syn-nordic,kwh,0.05,USD,\nsyn-coal,mwh,100,EUR,\nalps,vcpu_h,0.04,USD,on-demand\nalps,vcpu_h,0.01,USD,spot\n"
    )
    told = ("--prices", "prices.csv", "--exchange", "eur=1.2", "--json")
    cards = {card["candidate"]: card for card in as_json(run("score", "regions", *told))["scores"]}
    assert cards["alps"]["money"]["mid_usd"] == pytest.approx(4 * 4 * 0.04)
    kwh = float(cards["east"]["terms"][0]["note"].split()[0])
    assert cards["east"]["money"]["mid_usd"] == pytest.approx(kwh * 0.12, rel=1e-2)
    assert cards["central"]["money"] is None
    spot = as_json(run("score", "regions", *told, "--purchase", "spot", "--preset", "balanced"))["scores"]
    cards = {card["candidate"]: card for card in spot}
    money = next(term for term in cards["alps"]["terms"] if term["name"] == "money")
    assert money["mid_g"] == pytest.approx(4 * 4 * 0.01 * 5263)
    assert cards["central"]["refusals"] == ["its price is unknown, and the policy weighs money"]
    sampled = as_json(run("score", "nodes", "--prices", "sample", "--top", "1", "--json"))["scores"]
    assert sampled[0]["money"]["mid_usd"] > 0
    assert "USD" in run("score", "regions", "--prices", "sample")[1]
    assert "no price is known" in run("score", "regions", "--preset", "balanced")[1]


def test_a_price_of_a_mistyped_name_is_told(run: Run, tmp_path: Path) -> None:
    (tmp_path / "prices.csv").write_text(
        "place,unit,price,currency,purchase\nsyn-nordic,kwh,0.05,USD,\nsyn-coall,kwh,0.1,USD,\n"
    )
    code, out, err = run("score", "regions", "--prices", "prices.csv", "--json")
    assert code == 0
    assert as_json((code, out, err))
    assert err.startswith("aicsched: warning: the price of 'syn-coall electricity' is of nothing")
    assert "did you mean 'syn-coal'" in err
    assert err.count("\n") == 1
    (tmp_path / "prices.csv").write_text("place,unit,price,currency,purchase\nsyn-coall,kwh,0.1,USD,\n")
    code, _, err = run("score", "nodes", "--prices", "prices.csv")
    assert code == 2
    assert "did you mean syn-coal" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--prices", "sample", "--purchase", "spots"), "did you mean spot"),
        (("--exchange", "EUR"), "'EUR' is no rate of exchange"),
        (("--exchange", "USD=2"), "'USD=2' is no rate of exchange"),
        (("--prices", "sample", "--purchase", "reserved"), "tells none of reserved machines"),
        (("--data-gb", "5"), "--data-gb 5 without --home"),
        (("--hours", "inf"), "504"),
        (("--preset", "slofirst"), "did you mean slo-first"),
        (("--policy-file", "none.toml"), "can't be read"),
        (("--namespace", "web"), "without --policy-file"),
    ],
)
def test_what_is_wrong_is_named(run: Run, arguments: tuple[str, ...], words: str) -> None:
    code, _, err = run("score", "regions", *arguments)
    assert code == 2
    assert words in err


def test_memory_decides_which_node_fits(run: Run) -> None:
    cards = as_json(run("score", "nodes", "--memory-gib", "100000", "--json", "--top", "1"))["scores"]
    assert "GiB" in cards[0]["refusals"][0]


def test_the_schema_of_prices_is_told(run: Run) -> None:
    assert "currency" in run("schema", "prices")[1]

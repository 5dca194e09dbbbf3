"""``aicsched plan --g-per-usd``: money beside grams, from the sample and from files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

import aicsched as ac
from aicsched.cli import main
from aicsched.fleet.jobs_file import jobs_to_csv
from aicsched.slots import format_time

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Run: TypeAlias = "Callable[..., tuple[int, str, str]]"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    jobs = ac.sample_jobs(ac.sample_fleet(), count=40)
    (tmp_path / "jobs.csv").write_text(jobs_to_csv(jobs))

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main(["plan", "--jobs", "jobs.csv", "--horizon", "96", *arguments])
        out, err = capsys.readouterr()
        return int(caught.value.code or 0), out, err

    return call


def _money(result: tuple[int, str, str]) -> dict[str, Any]:
    code, out, err = result
    assert code == 0, err
    return json.loads(out)["money"]


def test_a_plan_weighs_the_samples_prices(run: Run) -> None:
    little, much = (
        _money(run("--g-per-usd", rate, "--prices", "sample", "--json")) for rate in ("0", "100000")
    )
    assert little["sources"] == ["sample-prices:v1"]
    assert little["synthetic"] is True
    assert much["usd"] < little["usd"]
    assert little["gap"] < 0.01
    code, out, _ = run("--g-per-usd", "2000", "--prices", "sample", "--purchase", "spot")
    assert code == 0
    assert "Grams and money together are at most" in out
    assert "prices are made up" in out


def test_prices_that_are_no_dollars_need_a_rate_of_exchange(run: Run, tmp_path: Path) -> None:
    rows = "".join(
        f",{region.name},vcpu_h,0.0{index + 2},EUR,on-demand\n"
        for index, region in enumerate(ac.sample_fleet().regions)
    )
    (tmp_path / "p.csv").write_text("time,place,unit,price,currency,purchase\n" + rows)
    arguments = ("--g-per-usd", "1000", "--prices", "p.csv")
    code, _, err = run(*arguments)
    assert code == 2
    assert "priced in EUR, not in USD" in err
    found = _money(run(*arguments, "--exchange", "EUR=1.25", "--json"))
    assert found["sources"] == ["file:p.csv"]
    assert found["synthetic"] is True  # the fleet is


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--prices", "p.csv"), "prices alone change no plan"),
        (("--g-per-usd", "1", "--prices", "absent.csv"), "there is no file 'absent.csv'"),
        (("--g-per-usd", "1", "--purchase", "spott"), "did you mean spot"),
        (("--g-per-usd", "1", "--exchange", "EUR"), "'EUR' is no rate of exchange"),
        (("--g-per-usd", "1"), "nothing says what a thread or power costs in region"),
        (("--g-per-usd", "1", "--risk", "cvar"), "neither with services nor for bad scenarios"),
        (("--g-per-usd", "-1"), "greater than or equal to 0"),
    ],
)
def test_what_does_not_do_is_refused(run: Run, arguments: tuple[str, ...], message: str) -> None:
    code, _, err = run(*arguments)
    assert code == 2
    assert message in err


def test_the_ledger_holds_the_plan(run: Run, tmp_path: Path) -> None:
    at = format_time(ac.SampleCarbon().now_s)
    code, _, err = run("--g-per-usd", "5000", "--prices", "sample", "--at", at, "--out", "out")
    assert code == 0, err
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"plan.json", "ledger.db", "report.html"}

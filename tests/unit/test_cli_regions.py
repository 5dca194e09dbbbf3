"""``aicsched regions`` as people and programs use it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from aicsched.cli.app import main

if TYPE_CHECKING:
    from pathlib import Path


def _run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        main(["regions", *arguments])
    out = capsys.readouterr()
    return int(left.value.code or 0), out.out, out.err


def test_all_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = _run(capsys, "--json")
    listed = json.loads(out)["regions"]
    assert (code, len(listed)) == (0, 209)
    assert listed[0]["provider"] == "aws"


def test_a_provider_and_a_grid_narrow_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = _run(capsys, "gcp", "--zone", "PJM", "--json")
    assert {item["region"] for item in json.loads(out)["regions"]} == {"us-east4", "us-east5"}
    code, out, _ = _run(capsys, "azure", "--zone", "SE_3")
    assert code == 0
    assert "swedencentral" in out
    assert "1.16*" in out


def test_one_is_shown_with_its_sources(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    _, out, _ = _run(capsys, "aws", "eu-north-1", "--json")
    facts = json.loads(out)["region"]
    assert (facts["grid_zone"], facts["pue"]) == ("SE-SE3", 1.09)
    assert facts["efficiency_source"].startswith("Amazon, AWS sustainability fact sheets")
    own = tmp_path / "own.csv"
    own.write_text("provider,region,pue\naws,eu-north-1,1.4\n")
    code, out, _ = _run(capsys, "aws", "eu-north-1", "--own", str(own))
    assert code == 0
    assert "user:own.csv" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("awz",), "no provider 'awz'; did you mean aws"),
        (("aws", "eu-nord-1"), "in the table of cloud regions; did you mean eu-north-1"),
        (("--zone", "XX-99"), "no 'XX-99'"),
        (("gcp", "--zone", "NO-NO1"), "no region is on grid 'NO-NO1'"),
    ],
)
def test_wrong_names_are_refused(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    code, _, err = _run(capsys, *arguments)
    assert code in {2, 3}
    assert message in err

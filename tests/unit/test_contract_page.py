"""The page of the data contract says what the code does: flags, error codes and tests, both ways."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

from aicsched import errors
from aicsched.domain.flags import Flag

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "data-contract.md"
WORD = re.compile(r"`([a-z][a-z-]*)(?::[A-Za-z0-9]+)?`")
# How a flag looks in code: a text that is one, or the start of an f-string before what it counts.
LITERAL = re.compile(r"([a-z]+(?:-[a-z]+)*):(?:d|[a-z]+)?")
# What looks like one and is none: a source's id, a digest's separator.
NO_FLAGS = frozenset({"file", "sequence"})


@cache
def rows() -> list[list[str]]:
    """Give the cells of the table of faults."""
    text = PAGE.read_text(encoding="utf-8").partition("| Fault |")[2].partition("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()[2:] if line]


def codes() -> set[str]:
    return {
        item.code
        for item in vars(errors).values()
        if isinstance(item, type) and issubclass(item, errors.AicschedError)
    }


def test_the_table_names_each_flag_and_no_other() -> None:
    named = {word for row in rows() for word in WORD.findall(row[2])}
    assert named <= set(Flag) | codes()
    assert set(Flag) <= named


def test_each_row_says_what_shows_it() -> None:
    known = set()
    for file in (ROOT / "tests").rglob("test_*.py"):
        known |= set(re.findall(r"def (test_\w+)", file.read_text(encoding="utf-8")))
    for row in rows():
        assert len(row) == 4, row
        tests = re.findall(r"`(test_\w+)`", row[3])
        assert tests, row
        assert set(tests) <= known, set(tests) - known


def test_error_codes_of_reading_and_forecasting_are_on_the_page() -> None:
    named = {word for row in rows() for word in WORD.findall(row[2])}
    wanted = (
        errors.ConfigError,
        errors.InputError,
        errors.SignalGap,
        errors.SignalInvalid,
        errors.SlotError,
        errors.TooLittleHistory,
        errors.UnitError,
    )
    assert {item.code for item in wanted} <= named


def test_no_code_makes_a_flag_that_is_not_known() -> None:
    """Whatever looks like a flag where forecasts are made is one of `Flag`."""
    found: dict[str, str] = {}
    for file in sorted((ROOT / "src" / "aicsched" / "forecast").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                match = LITERAL.fullmatch(node.value)
                found |= {match.group(1): file.name} if match else {}
    assert "short-history" in found
    assert set(found) - NO_FLAGS <= set(Flag), found

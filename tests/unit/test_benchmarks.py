"""Each benchmark runs its rival in the same run and gives a ratio, and the tables say what was measured."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import REGISTRY, RESULTS, put, section
from benchmarks.forecast import COLUMNS, REAL_BOUNDS, REFERENCE, Bound, guard
from benchmarks.growth import Case, fit, gap_picture, growth_picture, laws
from benchmarks.tables import Table, cell, markdown, ratios, tables_of

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", REGISTRY)
def test_benchmarks_run_and_print_a_ratio(name: str) -> None:
    # A process of its own: rivals may warn as they load, and warnings are errors here.
    command = [sys.executable, "-m", "benchmarks", name, "--smoke"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    if "NOT MEASURED" in done.stdout:
        pytest.skip(done.stdout.partition("NOT MEASURED")[2].partition("\n")[0])
    assert "ratio" in done.stdout or "/ ours" in done.stdout


# ---------------------------------------------------------------- bounds
def measured(value: float | None) -> Table:
    """Make a table in which all bounds hold but the one on the reference's error."""
    rows = []
    for method in dict.fromkeys(bound.method for bound in REAL_BOUNDS):
        held = {
            bound.measure: (bound.least + bound.most) / 2 for bound in REAL_BOUNDS if bound.method == method
        }
        if method == REFERENCE:
            held["96 h [%]"] = value
        rows.append((method, *(held.get(column) for column in COLUMNS[1:])))
    return Table("", COLUMNS, rows)


def test_the_quick_run_fails_where_accuracy_gets_worse() -> None:
    bound = next(item for item in REAL_BOUNDS if item[:2] == (REFERENCE, "96 h [%]"))
    guard(measured(bound.most), REAL_BOUNDS)
    for value in (bound.most * 1.001, float("nan"), None):
        with pytest.raises(AssertionError, match=r"all that is known: 96 h \[%\] is .*, not in 0 to"):
            guard(measured(value), REAL_BOUNDS)


def test_each_bound_is_on_a_column_and_leaves_room() -> None:
    for bound in REAL_BOUNDS:
        assert bound.measure in COLUMNS
        assert bound.least < bound.most
    with pytest.raises(AssertionError, match="not in 9 to 10"):
        guard(Table("", ("method", "x"), [("one", 3.0)]), (Bound("one", "x", 9, 10),))


# ---------------------------------------------------------------- growth
def test_the_exponent_of_a_power_law_is_found_with_its_interval() -> None:
    sizes = [10.0**power for power in range(2, 7)]
    exact = fit(sizes, [0.5 * size**1.3 for size in sizes])
    assert (exact.exponent, exact.low, exact.high) == pytest.approx((1.3, 1.3, 1.3))
    assert exact.scale == pytest.approx(0.5)
    # By hand: residuals of log10 y = 0, 1, 2.3 on x = 0, 1, 2 leave 1/60 squared; t(0.975, 1) = 12.706.
    rough = fit([1.0, 10.0, 100.0], [1.0, 10.0, 10**2.3])
    assert rough.exponent == pytest.approx(1.15)
    assert rough.high - rough.exponent == pytest.approx(12.706 * (0.015 / 2) ** 0.5, rel=1e-3)


def test_pictures_of_growth_say_what_was_fitted_and_where_gaps_ended() -> None:
    cases = [
        Case(jobs, 2.0, 0.015, jobs * 1e-3, jobs * 1e-6, jobs**2 * 1e-6 if jobs < 5_000 else None, 9, 0.3,
             [(0.1, float("inf")), (jobs * 5e-4, 0.2), (jobs * 1e-3, 0.015)])
        for jobs in (100, 1_000, 10_000, 100_000)
    ]  # fmt: skip
    assert {name: len(sizes) for name, (sizes, _) in laws(cases).items()} == {
        "plan with its proof": 4, "the same, from 3,000 jobs": 2, "one answer of the oracle": 4,
        "HiGHS, the bound alone": 2,
    }  # fmt: skip
    text = growth_picture(cases)
    for words in ("jobs^1.00 (95 %: 1.00 to 1.00)", "jobs^2.00", "CPU seconds", "jobs (5 regions x 96 h)"):
        assert words in text
    text = gap_picture(cases)
    for words in ("100,000 jobs: 1.50 %", "proven gap [%]", "CPU seconds; dot: the end"):
        assert words in text


# ---------------------------------------------------------------- tables
def test_nested_results_become_wide_tables() -> None:
    made = tables_of({"a": {"x": 1, "y": 2.5}, "b": {"x": 3, "z": 4}, "deep": {"c": {"w": 5}}})
    assert made == [
        Table("", ("case", "x", "y", "z"), [("a", 1, 2.5, None), ("b", 3, None, 4)]),
        Table("deep", ("case", "w"), [("c", 5)]),
    ]
    # Cases that share nothing don't stand in one table.
    assert [table.columns for table in tables_of({"a": {"x": 1}, "b": {"y": 2}, "c": {"x": 3}})] == [
        ("case", "x"), ("case", "y")
    ]  # fmt: skip
    assert tables_of({"x": 1, "y": 2}) == [Table("", ("", "x", "y"), [("all", 1, 2)])]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"), (float("nan"), "–"), (0.0, "0.0000"), (0.1234, "0.123"), (0.0046, "0.0046"),
        (12.345, "12.35"), (123.45, "123.5"), (12345.6, "12346"), (1e-5, "1.00e-05"), (2e7, "2.00e+07"),
        (7, "7"), ("a|b", "a\\|b"),
    ],
)  # fmt: skip
def test_cells_show_what_tells_something(value: object, text: str) -> None:
    assert cell(value) == text


def test_markdown_has_a_row_a_case() -> None:
    text = markdown(Table("T", ("case", "x"), [("a", 1.0)], "note"))
    assert text == "### T\n\nnote\n\n| case | x |\n|---|---:|\n| a | 1.00 |\n"


def test_ratios_are_to_the_base() -> None:
    assert ratios([2.0, None, 3.0], 2.0) == [1.0, None, 1.5]
    assert ratios([2.0], None) == [None]


def test_a_section_takes_the_place_of_its_older_one() -> None:
    table = Table("", ("case", "x"), [("a", 1.0)])
    text = put(section("extender", "E", [table]), "")
    text = put(section("forecast", "F", [table]), text)
    assert text.index("## F") < text.index("## E")
    newer = put(section("forecast", "F2", [table]), text)
    assert "## F\n" not in newer
    assert newer.count("\n## ") == 2
    assert put(section("forecast", "F2", [table]), newer) == newer


def test_the_kept_results_are_of_benchmarks_that_exist() -> None:
    found = re.findall(r"^`python3 do.py bench (\w+)`", RESULTS.read_text(encoding="utf-8"), re.MULTILINE)
    assert "forecast" in found
    assert found == [name for name in REGISTRY if name in found]

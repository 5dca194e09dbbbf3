"""The packaged tables: sealed, sourced, and every number within its range."""

from __future__ import annotations

import hashlib
from importlib import resources

import pytest

from aicsched.data import load_table, sources, table_names
from aicsched.errors import InputError

TABLES = table_names()


def _ranges(name: str) -> dict[str, list[float]]:
    return sources()["tables"][name].get("ranges", {})


def _sources_of(row: dict[str, str]) -> set[str]:
    """Return the ids that a row names; that of a value which nobody publishes may be empty."""
    named = {row[column] for column in row if column.endswith("_source")}
    return {row["source"], *named} - ({""} if row["source"] else set())


@pytest.mark.parametrize("name", TABLES)
def test_no_number_changes_unnoticed(name: str) -> None:
    content = resources.files("aicsched.data").joinpath("tables", f"{name}.csv").read_bytes()
    assert sources()["tables"][name]["sha256"] == hashlib.sha256(content).hexdigest()


def test_each_table_is_sealed_and_each_seal_has_a_table() -> None:
    assert set(sources()["tables"]) == set(TABLES)


@pytest.mark.parametrize("name", TABLES)
def test_each_row_names_a_source_that_lists_the_table(name: str) -> None:
    for row in load_table(name):
        for key in _sources_of(row):
            source = sources()[key]
            assert name in source["tables"]
            assert source["title"]
            assert source["licence"]
            assert 2010 <= source["year"] <= 2026


@pytest.mark.parametrize("key", [key for key in sources() if key != "tables"])
def test_each_source_is_used_where_it_says(key: str) -> None:
    for name in sources()[key]["tables"]:
        assert any(key in _sources_of(row) for row in load_table(name)), name


@pytest.mark.parametrize("name", TABLES)
def test_numbers_lie_in_their_ranges(name: str) -> None:
    ranges = _ranges(name)
    for row in load_table(name):
        for column, (low, high) in ranges.items():
            if row[column]:  # what nobody publishes is empty
                assert low <= float(row[column]) <= high, (row, column)
        if {"value", "low", "high"} <= set(row):
            assert float(row["low"]) <= float(row["value"]) <= float(row["high"]), row


def test_medians_lie_between_their_quartiles() -> None:
    for row in load_table("cpu_power"):
        for kind in ("idle", "max"):
            ends = [float(row[f"{kind}{end}_w_per_vcpu"]) for end in ("_low", "", "_high")]
            assert ends == sorted(ends)
        assert float(row["idle_w_per_vcpu"]) < float(row["max_w_per_vcpu"])


def test_life_cycle_factors_lie_in_their_ranges_and_above_direct_emissions() -> None:
    for row in load_table("emission_factors"):
        middle = float(row["life_cycle_g_per_kwh"])
        assert float(row["low_g_per_kwh"]) <= middle <= float(row["high_g_per_kwh"])
        assert float(row["direct_g_per_kwh"]) < middle


@pytest.mark.parametrize("name", TABLES)
def test_every_number_has_a_range_or_is_text(name: str) -> None:
    free = {"unit", "source", "name", "family", "launched", "region", "grid_zone", "families", "kind", "fuel"}
    free |= {"direct_source", "properties"}  # numbers of a backend, checked by its scorer
    free |= {"provider", "place", "country", "town", "precision", "watttime_region", "pue_scope", "wue_scope"}
    free |= {"instance_type", "cpu", "cpu_families", "cpu_family", "vendor", "feature"}
    free |= {"parent", "eia_balancing_authority", "entsoe_area", "aliases"}
    bounded = set(_ranges(name)) | {"value", "low", "high"}
    bounded |= {"life_cycle_g_per_kwh", "low_g_per_kwh", "high_g_per_kwh"}
    columns = set(load_table(name)[0])
    assert {
        item for item in columns - free - bounded if not item.endswith(("_w_per_vcpu", "_source"))
    } == set()


@pytest.mark.parametrize(
    ("fuel", "expected"),
    [("coal", (740, 820, 910)), ("gas", (410, 490, 650)), ("nuclear", (3.7, 12, 110)), ("wind", (7, 11, 56))],
)
def test_factors_are_those_of_the_ipcc(fuel: str, expected: tuple[float, ...]) -> None:
    """IPCC AR5 WG3, annex III, table A.III.2: minimum, median, maximum."""
    row = next(row for row in load_table("emission_factors") if row["fuel"] == fuel)
    assert tuple(float(row[f"{end}_g_per_kwh"]) for end in ("low", "life_cycle", "high")) == expected


@pytest.mark.parametrize(
    ("fuel", "pounds_per_kwh"),
    [("oil", 1.68), ("lignite", 2.18)],
)
def test_burning_oil_and_lignite_emits_what_the_eia_says(fuel: str, pounds_per_kwh: float) -> None:
    row = next(row for row in load_table("emission_factors") if row["fuel"] == fuel)
    assert float(row["direct_g_per_kwh"]) == round(pounds_per_kwh * 453.59237)


def test_an_unknown_table_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(InputError, match=r"did you mean.*hardware"):
        load_table("hardwear")

"""Declared tables: cells by type, faults by row, and examples that are true."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from aicsched.domain.schema import Column, Schema, read_cell, read_rows, refuse_columns
from aicsched.domain.signal_schemas import CARBON, TELEMETRY
from aicsched.errors import InputError
from aicsched.fleet.file import read_fleet
from aicsched.fleet.jobs_file import check_jobs, read_jobs
from aicsched.fleet.schemas import BACKENDS, FLEET, JOBS, NODES, REGIONS, SCHEMAS, as_dict, render
from aicsched.signals.carbon.file import FileCarbon
from aicsched.signals.telemetry_file import read_telemetry
from aicsched.units import SUFFIXES

if TYPE_CHECKING:
    from pathlib import Path


def cell(kind: Any, value: object) -> object:
    return read_cell(Column(name="c", type=kind, doc="", example=""), value)


@pytest.mark.parametrize(
    ("kind", "value", "made"),
    [
        ("text", " a ", "a"),
        ("text", 7, "7"),
        ("number", "1.5", 1.5),
        ("number", 2, 2.0),
        ("integer", "3.0", 3),
        ("integer", -2, -2),
        ("flag", "Yes", True),
        ("flag", "0", False),
        ("flag", False, False),
        ("time", "1970-01-01T02:00+02:00", 0),
        ("list", "a; b|c;", ("a", "b", "c")),
        ("list", ["a", "b"], ("a", "b")),
        ("map", "a=1; b=x=y", {"a": "1", "b": "x=y"}),
        ("map", {"a": 1}, {"a": 1}),
    ],
)
def test_cells_are_read_by_type(kind: str, value: object, made: object) -> None:
    assert cell(kind, value) == made


@pytest.mark.parametrize(
    ("kind", "value", "told"),
    [
        ("number", "four", "c: 'four' is no number"),
        ("number", "nan", "is no number"),
        ("number", "inf", "is no number"),
        ("number", 10**400, "is no number"),
        ("number", [1], "is no number"),
        ("integer", "2.5", "is no integer"),
        ("integer", float("inf"), "is no integer"),
        ("flag", "maybe", "is no flag"),
        ("time", "2021-01-01T00:00", "has no time zone; add an offset"),
        ("time", "noon", "is not an ISO 8601 time"),
        ("time", 1_600_000_000, "is no time"),
        ("list", 5, "is no list"),
        ("map", "a", "is no map"),
        ("map", [1], "is no map"),
    ],
)
def test_cells_that_are_something_else_name_their_column(kind: str, value: object, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        cell(kind, value)


@dataclass
class Pair:
    name: str
    size: float = 1.0


PAIRS = Schema(
    name="pairs",
    doc="Pairs.",
    columns=(
        Column(name="name", type="text", doc="who", example="a,b", required=True),
        Column(name="size", type="number", doc="how large", example="2"),
    ),
)


def test_blank_cells_are_left_to_the_default() -> None:
    rows = [{"name": "a", "size": ""}, {"name": "b", "size": None}, {"name": "c", "size": "3", "x_note": "?"}]
    assert read_rows(PAIRS, rows, lambda cells: Pair(**cells), where="f") == (
        Pair("a"),
        Pair("b"),
        Pair("c", 3.0),
    )


def test_all_wrong_rows_are_told_at_once_and_the_sixth_is_counted() -> None:
    rows = [{"name": "a", "size": "x"}, {"name": "b"}, *({"name": ""} for _ in range(6))]
    with pytest.raises(InputError) as caught:
        read_rows(PAIRS, rows, lambda cells: Pair(**cells), where="'f.csv'", first_row=2)
    text = str(caught.value)
    assert text.startswith("'f.csv': row 2: size: 'x' is no number; row 4: name is empty; ")
    assert "row 7" in text
    assert "row 8:" not in text
    assert text.endswith("; and 2 more rows; see `aicsched schema pairs`")
    assert len(caught.value.value) == 7  # type: ignore[arg-type]


def test_faults_of_the_object_itself_are_told_by_row_too() -> None:
    def make(cells: dict[str, Any]) -> Pair:
        msg = f"no pair {cells['name']}"
        raise InputError(msg, hint="try another")

    with pytest.raises(InputError, match="row 1: no pair a; try another"):
        read_rows(PAIRS, [{"name": "a"}], make, where="f")


def test_unknown_columns_bring_the_nearest_and_missing_ones_are_named() -> None:
    refuse_columns(PAIRS, ["name", "x_anything", "__index_level_0__"], "f")
    with pytest.raises(
        InputError, match=r"f: unknown column 'siz'; did you mean size or name\?.*x_ are ignored"
    ):
        refuse_columns(PAIRS, ["name", "siz"], "f")
    with pytest.raises(InputError, match="required columns are missing: name; see `aicsched schema pairs`"):
        refuse_columns(PAIRS, ["size"], "f")


def test_an_example_cell_with_a_comma_is_quoted() -> None:
    assert PAIRS.example_csv() == 'name,size\n"a,b",2\n'


class TestExamplesAreAccepted:
    """What ``aicsched schema`` prints is read by the reader it belongs to."""

    def test_jobs(self, tmp_path: Path) -> None:
        (tmp_path / "j.csv").write_text(JOBS.example())
        jobs = read_jobs(tmp_path / "j.csv")
        assert jobs[0].allowed_regions == ("north", "south")

    def test_regions_alone(self, tmp_path: Path) -> None:
        (tmp_path / "r.csv").write_text(REGIONS.example())
        assert read_fleet(tmp_path / "r.csv").regions[0].power_w_per_vcpu == 2.1

    def test_a_whole_fleet_with_rows_as_nodes_and_backends_document_them(self, tmp_path: Path) -> None:
        (tmp_path / "f.json").write_text(FLEET.example())
        fleet = read_fleet(tmp_path / "f.json")
        assert (len(fleet.regions), len(fleet.nodes), len(fleet.backends)) == (1, 1, 1)
        assert fleet.nodes[0].labels == {"team": "ml"}
        assert fleet.backends[0].properties["latency_ms"] == 15

    def test_jobs_and_fleet_belong_together(self, tmp_path: Path) -> None:
        (tmp_path / "j.csv").write_text(JOBS.example().replace("north;south", "north"))
        (tmp_path / "f.json").write_text(FLEET.example())
        check_jobs(read_jobs(tmp_path / "j.csv"), read_fleet(tmp_path / "f.json"))

    def test_carbon(self, tmp_path: Path) -> None:
        (tmp_path / "c.csv").write_text(CARBON.example())
        assert FileCarbon([tmp_path / "c.csv"]).read("SE").values_g_per_kwh.tolist() == [41.5]

    def test_telemetry(self, tmp_path: Path) -> None:
        (tmp_path / "t.csv").write_text(TELEMETRY.example())
        assert read_telemetry(tmp_path / "t.csv").cpu_share.tolist() == [[0.37]]


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_a_schema_is_shown_to_people_and_programs(name: str) -> None:
    schema = SCHEMAS[name]
    shown, told = render(schema), as_dict(schema)
    assert schema.name == name
    assert shown.startswith(schema.doc)
    assert shown.endswith(schema.example())
    assert all(column.name in shown and column.doc in shown for column in schema.columns)
    assert json.loads(json.dumps(told)) == told
    assert [row["name"] for row in told["columns"]] == [column.name for column in schema.columns]


def test_every_name_the_issue_promises_has_a_schema() -> None:
    assert {"jobs", "fleet", "carbon", "telemetry"} <= set(SCHEMAS)


@pytest.mark.parametrize(
    "schema", [JOBS, REGIONS, NODES, BACKENDS, TELEMETRY, CARBON], ids=lambda item: item.name
)
def test_numbers_have_their_unit_in_the_name(schema: Schema) -> None:
    plain = {"pue", "vcpus", "gpus", "power_w_per_vcpu", "embodied_g_per_vcpu_h", "restarts"}
    for column in schema.columns:
        if column.type == "number":
            assert column.name in plain or column.name.endswith(tuple(SUFFIXES)), column.name

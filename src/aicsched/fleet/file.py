"""Fleets from JSON, and regions from CSV or parquet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from aicsched.domain.columns import read_columns
from aicsched.domain.fleet import Backend, BackendKind, Fleet, Node, Region
from aicsched.domain.schema import Column, read_cell, read_rows
from aicsched.errors import InputError, did_you_mean
from aicsched.fleet.schemas import BACKENDS, NODES, REGIONS
from aicsched.footprint.power import family_power

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aicsched.domain.schema import Schema

__all__ = ["fleet_to_json", "read_fleet", "table_rows"]

_KEYS: Final = ("regions", "nodes", "backends", "synthetic")


def table_rows(path: Path) -> list[dict[str, Any]]:
    """Read a CSV or parquet table into one mapping a row.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    list of dict
        Cells by column; NaN and NaT become None.

    Raises
    ------
    InputError, SourceUnavailable
        The file can't be read.
    """
    columns = read_columns(path)

    def cell(value: Any) -> Any:  # noqa: ANN401 - a cell
        if isinstance(value, np.datetime64):
            return None if np.isnat(value) else f"{np.datetime_as_string(value, unit='s')}+00:00"
        if isinstance(value, np.generic):
            value = value.item()
        return None if isinstance(value, float) and value != value else value  # noqa: PLR0124 - NaN

    names = list(columns)
    return [dict(zip(names, map(cell, row), strict=True)) for row in zip(*columns.values(), strict=True)]


def read_json(path: Path) -> Any:  # noqa: ANN401 - any document
    """Read a JSON document, or raise InputError naming the line that is wrong."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        msg = f"'{path}' can't be read ({error})"
        raise InputError(msg, hint="check the path and that it is text", value=str(path)) from error
    except json.JSONDecodeError as error:
        msg = f"'{path}' is no JSON: {error.msg} in line {error.lineno}"
        raise InputError(msg, hint="mend that line", value=str(path)) from error
    except (ValueError, RecursionError) as error:
        msg = f"'{path}' is no JSON that can be read ({error})"
        raise InputError(msg, hint="use numbers of usual length and few levels", value=str(path)) from error


def _region(cells: dict[str, Any]) -> Region:
    family = cells.pop("cpu_family", None)
    if "power_w_per_vcpu" not in cells:
        if family is None:
            msg = f"region '{cells['name']}' has neither power_w_per_vcpu nor cpu_family"
            raise InputError(msg, hint="fill one of them")
        power = family_power(family)
        cells["power_w_per_vcpu"] = power.max_w_per_vcpu - power.idle_w_per_vcpu
    return Region(**cells)


def _node(cells: dict[str, Any]) -> Node:
    cells["labels"] = {name: str(value) for name, value in cells.get("labels", {}).items()}
    power = family_power(cells["cpu_family"])
    cells.setdefault("idle_w", power.idle_w_per_vcpu * cells["vcpus"])
    cells.setdefault("max_w", power.max_w_per_vcpu * cells["vcpus"])
    return Node(**cells)


def _backend(cells: dict[str, Any]) -> Backend:
    kind = cells.pop("kind")
    if kind not in set(BackendKind):
        msg = f"backend '{cells['name']}': '{kind}' is no kind of backend"
        raise InputError(msg, hint=did_you_mean(kind, list(BackendKind)), value=kind)
    cells["properties"] = {
        str(name): read_cell(Column(name=f"properties.{name}", type="number", doc="", example=""), value)
        for name, value in cells.get("properties", {}).items()
    }
    return Backend(kind=BackendKind(kind), **cells)


def _part(
    document: Mapping[str, Any], key: str, schema: Schema, make: Callable[[dict[str, Any]], Any], path: Path
) -> tuple[Any, ...]:
    rows = document.get(key, [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        msg = f"'{path.name}': '{key}' is not a list of objects"
        raise InputError(msg, hint=f"see `aicsched schema {schema.name}`", value=key)
    return read_rows(schema, rows, make, where=f"'{path.name}' {key}") if rows else ()


def read_fleet(path: str | Path) -> Fleet:
    """Read a fleet.

    Parameters
    ----------
    path : str or Path
        JSON with the keys ``regions``, ``nodes`` and ``backends``, or a CSV or
        parquet table of regions.

    Returns
    -------
    Fleet
        Checked. Power that is not given follows from the CPU family.

    Raises
    ------
    InputError
        The file or a row is not what ``aicsched schema regions|nodes|backends`` says;
        all wrong rows are told at once.
    """
    file = Path(path)
    if file.suffix != ".json":
        regions = read_rows(REGIONS, table_rows(file), _region, where=f"'{file.name}'", first_row=2)
        return Fleet(regions=regions, source=f"file:{file.name}")
    document = read_json(file)
    if not isinstance(document, dict):
        msg = f"'{file.name}' is no JSON object"
        raise InputError(msg, hint=f"give the keys {', '.join(_KEYS[:3])}", value=str(file))
    unknown = [key for key in document if key not in _KEYS]
    if unknown:
        msg = f"'{file.name}': unknown key '{unknown[0]}'"
        raise InputError(msg, hint=did_you_mean(unknown[0], _KEYS), value=unknown[0])
    synthetic = document.get("synthetic", False)
    if not isinstance(synthetic, bool):
        msg = f"'{file.name}': synthetic is '{synthetic}'"
        raise InputError(msg, hint="write true or false", value=synthetic)
    return Fleet(
        regions=_part(document, "regions", REGIONS, _region, file),
        nodes=_part(document, "nodes", NODES, _node, file),
        backends=_part(document, "backends", BACKENDS, _backend, file),
        source=f"file:{file.name}",
        synthetic=synthetic,
    )


def fleet_to_json(fleet: Fleet) -> str:
    """Write a fleet as JSON that `read_fleet` reads back.

    Parameters
    ----------
    fleet : Fleet
        The fleet.

    Returns
    -------
    str
        With sorted keys; what is unknown (NaN) is left out.
    """

    def row(item: Any, schema: Schema) -> dict[str, Any]:  # noqa: ANN401 - a region, node or backend
        values = {
            column.name: getattr(item, column.name) for column in schema.columns if hasattr(item, column.name)
        }
        values = {
            name: dict(value) if column_is_map(schema, name) else value for name, value in values.items()
        }
        return {name: value for name, value in values.items() if value == value and value not in ("", {})}  # noqa: PLR0124 - NaN

    def column_is_map(schema: Schema, name: str) -> bool:
        return any(column.name == name and column.type == "map" for column in schema.columns)

    document = {
        "regions": [row(item, REGIONS) for item in fleet.regions],
        "nodes": [row(item, NODES) for item in fleet.nodes],
        "backends": [row(item, BACKENDS) for item in fleet.backends],
        "synthetic": fleet.synthetic,
    }
    return json.dumps(document, indent=1, sort_keys=True)

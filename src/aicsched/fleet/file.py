"""Fleets from JSON, and regions from CSV or parquet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from aicsched.domain.fleet import Backend, BackendKind, Fleet, Node, Region
from aicsched.domain.schema import Column, read_cell, read_rows
from aicsched.errors import InputError, did_you_mean
from aicsched.fleet.cloud import CloudCatalogue
from aicsched.fleet.cloud_file import read_cloud_regions
from aicsched.fleet.schemas import BACKENDS, NODES, REGIONS
from aicsched.fleet.tables import read_json, table_rows
from aicsched.footprint.power import family_power

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aicsched.domain.schema import Schema

__all__ = ["fleet_to_json", "read_fleet"]

_KEYS: Final = ("regions", "nodes", "backends", "synthetic", "cloud_regions")


class _Regions:
    """Makes regions of rows, and keeps what was filled in."""

    def __init__(self, cloud: CloudCatalogue) -> None:
        self.cloud = cloud
        self.notes: list[str] = []

    def __call__(self, cells: dict[str, Any]) -> Region:
        cells, told = self.cloud.fill(cells)
        if told:
            self.notes.append(told)
        if "grid_zone" not in cells:
            msg = f"region '{cells['name']}' has no grid_zone"
            raise InputError(msg, hint="fill it, or name its provider and cloud_region")
        return _region(cells)


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


def _own_clouds(document: Mapping[str, Any], file: Path, cloud: CloudCatalogue) -> CloudCatalogue:
    """Lay the file of cloud regions that a fleet names over the packaged ones."""
    name = document.get("cloud_regions")
    if name is None:
        return cloud
    if not isinstance(name, str):
        msg = f"'{file.name}': cloud_regions is {name!r}"
        raise InputError(msg, hint="name a file (see `aicsched schema cloud-regions`)", value=name)
    return read_cloud_regions(file.parent / name, cloud)


def read_fleet(path: str | Path, *, cloud: CloudCatalogue | None = None) -> Fleet:
    """Read a fleet.

    Parameters
    ----------
    path : str or Path
        JSON with the keys ``regions``, ``nodes`` and ``backends``, or a CSV or
        parquet table of regions. The key ``cloud_regions`` names a file of cloud
        regions of one's own, beside this one.
    cloud : CloudCatalogue, optional
        Where regions that name a provider and a cloud_region get their grid zone, PUE,
        WUE and coordinates unless they give them; by default the packaged table.

    Returns
    -------
    Fleet
        Checked. Power that is not given follows from the CPU family; what was looked
        up is in its notes.

    Raises
    ------
    InputError
        The file or a row is not what ``aicsched schema regions|nodes|backends`` says;
        all wrong rows are told at once.
    """
    file = Path(path)
    cloud = cloud or CloudCatalogue()
    if file.suffix != ".json":
        make = _Regions(cloud)
        regions = read_rows(REGIONS, table_rows(file), make, where=f"'{file.name}'", first_row=2)
        return Fleet(regions=regions, source=f"file:{file.name}", notes=tuple(make.notes))
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
    make = _Regions(_own_clouds(document, file, cloud))
    return Fleet(
        regions=_part(document, "regions", REGIONS, make, file),
        nodes=_part(document, "nodes", NODES, _node, file),
        backends=_part(document, "backends", BACKENDS, _backend, file),
        source=f"file:{file.name}",
        synthetic=synthetic,
        notes=tuple(make.notes),
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

"""The user's own cloud regions from a file."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Final

from aicsched.domain.schema import read_rows
from aicsched.errors import InputError, did_you_mean
from aicsched.fleet.cloud import CloudCatalogue
from aicsched.fleet.cloud_schemas import CLOUD_REGIONS
from aicsched.fleet.tables import read_json, table_rows

__all__ = ["read_cloud_regions"]

_TABLE: Final = "cloud_region"


def _toml_rows(path: Path) -> Any:  # noqa: ANN401 - any document
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        msg = f"'{path}' can't be read as TOML ({error})"
        raise InputError(msg, hint=f"write tables [[{_TABLE}]]", value=str(path)) from error
    unknown = [key for key in document if key != _TABLE]
    if unknown:
        msg = f"'{path.name}': unknown table '{unknown[0]}'"
        raise InputError(msg, hint=did_you_mean(unknown[0], [_TABLE]), value=unknown[0])
    return document.get(_TABLE, [])


def read_cloud_regions(path: str | Path, base: CloudCatalogue | None = None) -> CloudCatalogue:
    """Read cloud regions of one's own over the packaged ones.

    Parameters
    ----------
    path : str or Path
        CSV, parquet, JSON (a list of objects) or TOML (``[[cloud_region]]``), as
        ``aicsched schema cloud-regions`` says.
    base : CloudCatalogue, optional
        What they go over; by default the packaged table.

    Returns
    -------
    CloudCatalogue
        Each value of the user's has the source ``user:FILE``.

    Raises
    ------
    InputError
        The file or a row is not what the schema says; all wrong rows are told at once.
    """
    file = Path(path)
    if file.suffix == ".toml":
        rows, first = _toml_rows(file), 1
    elif file.suffix == ".json":
        rows, first = read_json(file), 1
    else:
        rows, first = table_rows(file), 2
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):  # pyright: ignore[reportUnknownVariableType]
        msg = f"'{file.name}' is no list of regions"
        raise InputError(msg, hint="see `aicsched schema cloud-regions`", value=str(file))
    cells = read_rows(CLOUD_REGIONS, rows, dict, where=f"'{file.name}'", first_row=first)  # pyright: ignore[reportUnknownArgumentType]
    return (base or CloudCatalogue()).changed(cells, file.name)

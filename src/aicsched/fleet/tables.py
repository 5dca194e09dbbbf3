"""Rows of a table, objects and documents of JSON, from files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from aicsched.domain.columns import read_columns
from aicsched.domain.schema import read_rows
from aicsched.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from aicsched.domain.schema import Schema

__all__ = ["object_rows", "read_json", "read_objects", "table_rows"]

T = TypeVar("T")


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


def _objects(rows: Any, file: Path, name: str) -> list[dict[str, Any]]:  # noqa: ANN401 - any document
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        msg = f"'{file.name}' is no list of {name}"
        raise InputError(msg, hint=f"give objects, see `aicsched schema {name}`", value=str(file))
    return rows


def object_rows(file: Path, name: str) -> tuple[list[dict[str, Any]], int]:
    """Read the rows of a table, whatever the format.

    Parameters
    ----------
    file : Path
        CSV, parquet, JSON or JSON lines.
    name : str
        What the rows are: the key of a JSON object, and the schema's name.

    Returns
    -------
    tuple of list of dict, int
        Cells by column, and the number of the first row.

    Raises
    ------
    InputError
        The file can't be read, or is no table.
    """
    if file.suffix == ".jsonl":
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
            rows = [json.loads(line) for line in lines if line.strip()]
        except (OSError, ValueError, RecursionError) as error:
            msg = f"'{file}' is no file of JSON lines ({error})"
            raise InputError(msg, hint="write one object a line", value=str(file)) from error
        return _objects(rows, file, name), 1
    if file.suffix == ".json":
        document = read_json(file)
        rows = document.get(name) if isinstance(document, dict) else document
        return _objects(rows, file, name), 1
    return table_rows(file), 2


def read_objects(
    path: str | Path, schema: Schema, make: Callable[[dict[str, Any]], T], *, key: str = ""
) -> tuple[T, ...]:
    """Read a file of objects of one kind.

    Parameters
    ----------
    path : str or Path
        CSV, parquet, JSON or JSON lines.
    schema : Schema
        What the rows must be.
    make : callable
        From a row's filled cells to an object.
    key : str
        The attribute by which objects are told apart, if any.

    Returns
    -------
    tuple
        In the order of the file, at least one.

    Raises
    ------
    InputError
        The file or a row is not what the schema says, all wrong rows at once; there is no row; or a key
        appears twice.
    """
    file = Path(path)
    rows, first_row = object_rows(file, schema.name)
    if not rows:
        msg = f"'{file}' holds no {schema.name}"
        raise InputError(msg, hint="give at least one", value=str(file))
    made = read_rows(schema, rows, make, where=f"'{file.name}'", first_row=first_row)
    seen: set[str] = set()
    for number, one in enumerate(made if key else (), start=first_row):
        name, kind = getattr(one, key), key.removesuffix("_id")
        if name in seen:
            msg = f"'{file.name}' row {number}: {kind} '{name}' appears twice"
            raise InputError(msg, hint=f"give each {kind} a name of its own", value=name)
        seen.add(name)
    return made

"""Rows of a table and documents of JSON, from files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from aicsched.domain.columns import read_columns
from aicsched.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["read_json", "table_rows"]


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

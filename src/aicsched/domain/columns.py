"""Read a table's columns from CSV or parquet as plain arrays, without a frame library."""

from __future__ import annotations

import csv
import gzip
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aicsched.errors import InputError, SlotError, SourceUnavailable, UnitError
from aicsched.slots import to_epoch_s

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["epoch_seconds", "numbers", "read_columns", "texts"]


def _parquet(path: Path) -> dict[str, Any]:
    try:
        import pyarrow as arrow  # noqa: PLC0415 - an extra
        import pyarrow.parquet as parquet  # noqa: PLC0415
    except ImportError as error:
        msg = f"'{path.name}' is parquet, and pyarrow is not installed"
        raise SourceUnavailable(msg, hint="pip install 'aicsched[parquet]', or give CSV") from error
    try:
        table = parquet.read_table(path)
    except (arrow.ArrowException, OSError) as error:
        msg = f"'{path}' is no readable parquet file ({str(error).splitlines()[0]})"
        raise InputError(msg, hint="check that it was written completely", value=str(path)) from error
    made: dict[str, Any] = {}
    for field in table.schema:
        values = table.column(field.name)
        if arrow.types.is_timestamp(field.type):
            if field.type.tz is None:
                msg = f"'{path.name}': the times in column '{field.name}' have no time zone"
                raise SlotError(msg, hint="localise them to UTC before writing the file", value=field.name)
            made[field.name] = values.cast(arrow.timestamp("s", "UTC"), safe=False).to_numpy()
        else:
            made[field.name] = values.to_numpy(zero_copy_only=False) if values.num_chunks else np.array([])
    return made


def _text_rows(path: Path) -> Iterator[list[str]]:
    opener = gzip.open if path.suffix == ".gz" else Path.open
    with opener(path, "rt", encoding="utf-8-sig", newline="") as handle:
        yield from csv.reader(handle)


def _csv(path: Path) -> dict[str, Any]:
    try:
        rows = list(_text_rows(path))
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        msg = f"'{path}' is no readable CSV text ({error})"
        raise InputError(msg, hint="give UTF-8 text with a header line, or parquet", value=str(path)) from error
    if not rows:
        return {}
    header = [name.strip() for name in rows[0]]
    body = [row for row in rows[1:] if row]
    for number, row in enumerate(body, start=2):
        if len(row) != len(header):
            msg = f"'{path.name}' row {number} has {len(row)} fields, the header has {len(header)}"
            raise InputError(msg, hint="quote fields that hold commas, or mend the row", value=number)
    return {name: [row[index] for row in body] for index, name in enumerate(header)}


def read_columns(path: Path) -> dict[str, Any]:
    """Read a table into one sequence a column.

    Parameters
    ----------
    path : Path
        ``.parquet``, ``.csv`` or ``.csv.gz``.

    Returns
    -------
    dict of str to sequence
        Arrays from parquet (UTC times in seconds), lists of text from CSV.

    Raises
    ------
    InputError
        The file is absent, empty or not what its name says.
    SourceUnavailable
        It is parquet and pyarrow is missing.
    SlotError
        A parquet time column has no time zone.
    """
    if not path.is_file():
        msg = f"there is no file '{path}'"
        raise InputError(msg, hint="check the path", value=str(path))
    columns = _parquet(path) if path.suffix == ".parquet" else _csv(path)
    if not columns or not len(next(iter(columns.values()))):
        msg = f"'{path}' holds no rows"
        raise InputError(msg, hint="give a header and at least one row", value=str(path))
    return columns


def epoch_seconds(values: Sequence[Any], *, where: str) -> NDArray[np.int64]:
    """Turn a column of times into seconds since the epoch.

    Parameters
    ----------
    values : sequence
        UTC times of parquet, or ISO 8601 text with offsets.
    where : str
        File and column, for messages.

    Returns
    -------
    ndarray of int64
        Seconds since the epoch.

    Raises
    ------
    SlotError
        A time is naive or no time; the message names file, column and row.
    """
    if isinstance(values, np.ndarray) and values.dtype.kind == "M":
        return values.astype("datetime64[s]").astype(np.int64)
    made = np.empty(len(values), dtype=np.int64)
    for index, value in enumerate(values):
        try:
            made[index] = to_epoch_s(value if isinstance(value, datetime) else datetime.fromisoformat(str(value).strip()))
        except SlotError as error:
            msg = f"{where} row {index + 2}: {error.message}"
            raise SlotError(msg, hint=error.hint, value=value) from error
        except ValueError as error:
            msg = f"{where} row {index + 2}: '{value}' is not an ISO 8601 time"
            raise SlotError(msg, hint="write for example 2021-07-01T00:00Z", value=value) from error
    return made


def numbers(values: Sequence[Any], *, where: str) -> NDArray[np.float64]:
    """Turn a column into numbers; empty and ``nan`` cells are missing values.

    Parameters
    ----------
    values : sequence
        Numbers or text.
    where : str
        File and column, for messages.

    Returns
    -------
    ndarray of float64
        NaN where missing.

    Raises
    ------
    UnitError
        A cell is no number; the message names file, column and row.
    """
    if isinstance(values, np.ndarray) and values.dtype.kind in "fiu":
        return values.astype(np.float64)
    made = np.empty(len(values), dtype=np.float64)
    for index, value in enumerate(values):
        text = "" if value is None else str(value).strip()
        try:
            made[index] = float(text) if text else np.nan
        except ValueError as error:
            msg = f"{where} row {index + 2}: '{text}' is not a number"
            raise UnitError(msg, hint="write plain numbers, with the unit in the column's name", value=text) from error
    return made


def texts(columns: Mapping[str, Any], name: str) -> list[str]:
    """Return a column as text."""
    return [str(value).strip() for value in columns[name]]

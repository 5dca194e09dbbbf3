"""Read a table's columns from CSV or parquet as plain arrays, without a frame library."""

from __future__ import annotations

import csv
import gzip
import zlib
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from aicsched.errors import InputError, SlotError, SourceUnavailable, UnitError
from aicsched.slots import to_epoch_s

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["PARQUET", "epoch_seconds", "numbers", "read_columns", "texts"]

PARQUET: Final = (".parquet", ".pq")


def _values(column: Any, kind: Any, dtype: type) -> tuple[NDArray[Any], NDArray[np.bool_]]:  # noqa: ANN401 - arrow has no types
    """Copy an arrow column's buffers into an array, and tell which cells are filled.

    Arrow's own ``to_numpy`` imports pandas, which takes longer than reading ten files.
    """
    array = column.cast(kind).combine_chunks()
    bits, data = array.buffers()
    span = slice(array.offset, array.offset + len(array))
    values = np.frombuffer(data, dtype)[span].copy() if len(array) else np.empty(0, dtype)
    if bits is None or array.null_count == 0:
        return values, np.ones(len(array), dtype=np.bool_)
    return values, np.unpackbits(np.frombuffer(bits, np.uint8), bitorder="little")[span].astype(np.bool_)


def _numbers(column: Any) -> NDArray[np.float64]:  # noqa: ANN401
    import pyarrow as pa  # noqa: PLC0415 - an extra

    values, filled = _values(column, pa.float64(), np.float64)
    values[~filled] = np.nan
    return values


def _utc_seconds(column: Any, where: str) -> NDArray[np.datetime64]:  # noqa: ANN401
    import pyarrow as pa  # noqa: PLC0415 - an extra

    try:
        whole = column.cast(pa.timestamp("s", "UTC"))
    except pa.ArrowInvalid as error:
        msg = f"{where} has times that fall between seconds"
        raise SlotError(msg, hint="round them to whole seconds", value=where) from error
    values, filled = _values(whole, pa.int64(), np.int64)
    times = values.astype("datetime64[s]")
    times[~filled] = np.datetime64("NaT", "s")
    return times


def _column(values: Any, where: str) -> Any:  # noqa: ANN401
    """Turn an arrow column into an array of times or numbers, or a list of plain values."""
    import pyarrow as pa  # noqa: PLC0415 - an extra

    kind = values.type
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        return _utc_seconds(values, where)
    if pa.types.is_timestamp(kind):
        # Naive times stay naive: whoever needs them as times refuses them, and nobody else has to.
        return values.cast(pa.timestamp("us"), safe=False).to_pylist()
    if pa.types.is_float32(kind) or pa.types.is_float64(kind):
        return _numbers(values)
    if pa.types.is_integer(kind) and not pa.types.is_uint64(kind) and not values.null_count:
        return _values(values, pa.int64(), np.int64)[0]
    # Whole numbers with gaps stay Python's, so that a numeric name is "7" and does not become "7.0".
    return values.to_pylist()


def _parquet(path: Path) -> dict[str, Any]:
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError as error:
        msg = f"'{path.name}' is parquet, and pyarrow is not installed"
        raise SourceUnavailable(msg, hint="pip install 'aicsched[parquet]', or give CSV") from error
    try:
        # Not read_table: it goes through the dataset layer, which imports pandas.
        with parquet.ParquetFile(path) as file:
            table = file.read()
    except (pa.ArrowException, OSError) as error:
        msg = f"'{path}' is no readable parquet file ({str(error).splitlines()[0]})"
        raise InputError(msg, hint="check that it was written completely", value=str(path)) from error
    _refuse_twice(table.column_names, path)
    return {
        name: _column(table.column(name), f"'{path.name}' column '{name}'") for name in table.column_names
    }


def _refuse_twice(names: Sequence[str], path: Path) -> None:
    twice = [name for index, name in enumerate(names) if name in names[:index]]
    if twice:
        msg = f"'{path.name}' has two columns '{twice[0]}'"
        raise InputError(msg, hint="give each column a name of its own", value=twice[0])


def _text_rows(path: Path) -> Iterator[list[str]]:
    opener = gzip.open if path.suffix.lower() == ".gz" else Path.open
    with opener(path, "rt", encoding="utf-8-sig", newline="") as handle:
        yield from csv.reader(handle)


def _csv(path: Path) -> dict[str, Any]:
    try:
        rows = list(_text_rows(path))
    except (OSError, EOFError, UnicodeDecodeError, csv.Error, zlib.error) as error:
        msg = f"'{path}' is no readable CSV text ({error})"
        hint = "give UTF-8 text with a header line, or parquet"
        raise InputError(msg, hint=hint, value=str(path)) from error
    if not rows:
        return {}
    header = [name.strip() for name in rows[0]]
    _refuse_twice(header, path)
    body = [row for row in rows[1:] if row]
    for number, row in enumerate(rows[1:], start=2):
        if row and len(row) != len(header):
            msg = f"'{path.name}' row {number} has {len(row)} fields, the header has {len(header)}"
            raise InputError(msg, hint="quote fields that hold commas, or mend the row", value=number)
    return {name: [row[index] for row in body] for index, name in enumerate(header)}


def read_columns(path: Path) -> dict[str, Any]:
    """Read a table into one sequence a column.

    Parameters
    ----------
    path : Path
        ``.parquet`` or ``.pq``; any other name is read as CSV, ``.gz`` as CSV compressed.

    Returns
    -------
    dict of str to sequence
        Arrays from parquet (zoned times as datetime64[s] in UTC, naive ones as
        a list of datetimes), lists of text from CSV.

    Raises
    ------
    InputError
        The file is absent, empty or not what its name says, or a column stands twice.
    SourceUnavailable
        It is parquet and pyarrow is missing.
    SlotError
        A parquet time falls between seconds.
    """
    if not path.is_file():
        msg = f"'{path}' is a folder" if path.is_dir() else f"there is no file '{path}'"
        raise InputError(msg, hint="give the path of a file", value=str(path))
    columns = _parquet(path) if path.suffix.lower() in PARQUET else _csv(path)
    if not columns or not len(next(iter(columns.values()))):
        msg = f"'{path}' holds no rows"
        raise InputError(msg, hint="give a header and at least one row", value=str(path))
    return columns


def epoch_seconds(values: Sequence[Any] | NDArray[Any], *, where: str) -> NDArray[np.int64]:
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
        absent = np.isnat(values)
        if absent.any():
            row = int(np.argmax(absent)) + 2
            msg = f"{where} row {row}: the time is empty"
            raise SlotError(msg, hint="fill it or drop the row", value=row)
        return values.astype("datetime64[s]").astype(np.int64)
    made = np.empty(len(values), dtype=np.int64)
    for index, value in enumerate(values):
        try:
            moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value).strip())
            made[index] = to_epoch_s(moment)
        except SlotError as error:
            msg = f"{where} row {index + 2}: {error.message}"
            raise SlotError(msg, hint=error.hint, value=value) from error
        except ValueError as error:
            msg = f"{where} row {index + 2}: '{value}' is not an ISO 8601 time"
            raise SlotError(msg, hint="write for example 2021-07-01T00:00Z", value=value) from error
    return made


def numbers(values: Sequence[Any] | NDArray[Any], *, where: str) -> NDArray[np.float64]:
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
            hint = "write plain numbers, with the unit in the column's name"
            raise UnitError(msg, hint=hint, value=text) from error
    return made


def texts(columns: Mapping[str, Any], name: str, *, where: str) -> list[str]:
    """Turn a column of names into text.

    Parameters
    ----------
    columns : mapping of str to sequence
        What `read_columns` gave.
    name : str
        The column.
    where : str
        The file, for messages.

    Returns
    -------
    list of str
        Stripped, none of them empty.

    Raises
    ------
    InputError
        A cell is empty; the message names file, column and row.
    """
    made = ["" if value is None or value != value else str(value).strip() for value in columns[name]]  # noqa: PLR0124 - NaN
    if "" in made:
        row = made.index("") + 2
        msg = f"{where} row {row}: column '{name}' is empty"
        raise InputError(msg, hint="fill it or drop the row", value=row)
    return made

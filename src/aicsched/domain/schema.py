"""Tables that people write: their columns, what each means, and how a row is read.

One declaration serves the reader, the error messages and ``aicsched schema``, so
that they can't drift apart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from aicsched.errors import AicschedError, InputError, did_you_mean
from aicsched.slots import parse_time

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["Column", "Schema", "read_cell", "read_rows", "refuse_columns"]

T = TypeVar("T")
_SHOWN: Final = 5
_SHOWN_CHARACTERS: Final = 60
_IGNORED_PREFIX: Final = "x_"
# pandas writes its index into parquet under such names.
_INDEX_PREFIX: Final = "__"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a table.

    Parameters
    ----------
    name : str
        Its name, with the unit.
    type : str
        ``text``, ``number``, ``integer``, ``flag``, ``time``, ``list``, ``map`` or ``table``.
    doc : str
        What it means, in one line.
    example : str
        A cell as it stands in CSV.
    required : bool
        Whether every row must fill it.
    """

    name: str
    type: Literal["text", "number", "integer", "flag", "time", "list", "map", "table"]
    doc: str
    example: str
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """One table.

    Parameters
    ----------
    name : str
        What it holds.
    doc : str
        One sentence.
    columns : tuple of Column
        In the order of the example.
    document : str
        An example file, where it is no table.
    """

    name: str
    doc: str
    columns: tuple[Column, ...]
    document: str = ""

    def example(self) -> str:
        """Return an example file.

        Returns
        -------
        str
            Text that the reader accepts.
        """
        return self.document or self.example_csv()

    def example_csv(self) -> str:
        """Return a header and one row.

        Returns
        -------
        str
            Text that the reader accepts.
        """
        cells = [
            f'"{column.example}"' if "," in column.example else column.example for column in self.columns
        ]
        return ",".join(column.name for column in self.columns) + "\n" + ",".join(cells) + "\n"


def _number(value: Any) -> float:  # noqa: ANN401 - a cell
    made = float(value)
    if not math.isfinite(made):
        msg = f"'{value}' is not finite"
        raise ValueError(msg)
    return made


def _integer(value: Any) -> int:  # noqa: ANN401
    made = _number(value)
    if made != int(made):
        msg = f"'{value}' is not a whole number"
        raise ValueError(msg)
    return int(made)


def _flag(value: Any) -> bool:  # noqa: ANN401
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    text = str(value).strip().lower()
    if text not in words:
        msg = f"'{value}' is neither true nor false"
        raise ValueError(msg)
    return words[text]


def _time(value: Any) -> int:  # noqa: ANN401
    if not isinstance(value, str | datetime):
        msg = f"'{value}' is neither text nor a datetime"
        raise TypeError(msg)
    return parse_time(value)


def _list(value: Any) -> tuple[str, ...]:  # noqa: ANN401
    if isinstance(value, str):
        return tuple(part.strip() for part in value.replace("|", ";").split(";") if part.strip())
    return tuple(str(part) for part in value)


def _map(value: Any) -> dict[str, Any]:  # noqa: ANN401
    if isinstance(value, str):
        pairs = [part.partition("=") for part in value.split(";") if part.strip()]
        if not all(separator for _, separator, _ in pairs):
            msg = f"'{value}' is not name=value;name=value"
            raise ValueError(msg)
        return {name.strip(): cell.strip() for name, _, cell in pairs}
    return dict(value)


_READERS: Final[dict[str, Callable[[Any], Any]]] = {
    "text": lambda value: str(value).strip(),
    "number": _number,
    "integer": _integer,
    "flag": _flag,
    "time": _time,
    "list": _list,
    "map": _map,
}


def read_cell(column: Column, value: Any) -> Any:  # noqa: ANN401 - text or a typed value in, by type out
    """Read one filled cell.

    Parameters
    ----------
    column : Column
        What the cell must be.
    value : object
        Text from CSV, or a typed value.

    Returns
    -------
    object
        By the column's type; a time is in seconds since the epoch.

    Raises
    ------
    ValueError
        The cell is something else; the message names the column.
    """
    try:
        return _READERS[column.type](value)
    except (TypeError, ValueError, OverflowError) as error:
        shown = str(value)[:_SHOWN_CHARACTERS]
        reason = str(error) if isinstance(error, AicschedError) else f"'{shown}' is no {column.type}"
        msg = f"{column.name}: {reason}"
        raise ValueError(msg) from error


def _blank(value: Any) -> bool:  # noqa: ANN401
    return value is None or (isinstance(value, str) and not value.strip())


def _cells(schema: Schema, row: Mapping[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for column in schema.columns:
        value = row.get(column.name)
        if _blank(value):
            if column.required:
                msg = f"{column.name} is empty"
                raise ValueError(msg)
            continue
        made[column.name] = read_cell(column, value)
    return made


def refuse_columns(schema: Schema, present: Sequence[str], where: str) -> None:
    """Refuse a table whose columns are not those of its schema.

    Parameters
    ----------
    schema : Schema
        What the table must be.
    present : sequence of str
        Its columns; those that start with ``x_`` are ignored.
    where : str
        The file, for messages.

    Raises
    ------
    InputError
        A column is unknown (the nearest names are given) or a required one missing.
    """
    known = [column.name for column in schema.columns]
    for name in present:
        if name not in known and not name.startswith((_IGNORED_PREFIX, _INDEX_PREFIX)):
            hint = f"{did_you_mean(name, known)} (columns that start with {_IGNORED_PREFIX} are ignored)"
            msg = f"{where}: unknown column '{name}'"
            raise InputError(msg, hint=hint, value=name)
    missing = [column.name for column in schema.columns if column.required and column.name not in present]
    if missing:
        msg = f"{where}: required columns are missing: {', '.join(missing)}"
        raise InputError(msg, hint=f"see `aicsched schema {schema.name}`", value=missing)


def read_rows(
    schema: Schema,
    rows: Sequence[Mapping[str, Any]],
    make: Callable[[dict[str, Any]], T],
    *,
    where: str,
    first_row: int = 1,
) -> tuple[T, ...]:
    """Read rows into objects, collecting every fault before refusing.

    Parameters
    ----------
    schema : Schema
        What the rows must be.
    rows : sequence of mapping
        Cells by column: text from CSV, typed values from JSON.
    make : callable
        From the typed cells that are filled to an object.
    where : str
        The file, for messages.
    first_row : int
        Number of the first row, for messages.

    Returns
    -------
    tuple
        One object a row.

    Raises
    ------
    InputError
        A column is unknown or missing, or rows are wrong: the first five are told.
    """
    refuse_columns(schema, list(dict.fromkeys(name for row in rows for name in row)), where)
    made: list[T] = []
    faults: list[str] = []
    for number, row in enumerate(rows, start=first_row):
        try:
            made.append(make(_cells(schema, row)))
        except AicschedError as error:
            faults.append(f"row {number}: {error}")
        except ValueError as error:
            faults.append(f"row {number}: {error}")
    if faults:
        more = f"; and {len(faults) - _SHOWN} more rows" if len(faults) > _SHOWN else ""
        msg = f"{where}: {'; '.join(faults[:_SHOWN])}{more}"
        raise InputError(msg, hint=f"see `aicsched schema {schema.name}`", value=faults)
    return tuple(made)

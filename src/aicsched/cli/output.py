"""What commands share in speaking to people and programs."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aicsched.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rich.console import Console

__all__ = ["AsJson", "ConfigFile", "console", "emit_json", "output_folder", "print_table"]

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", help="Settings file (TOML); else $AICSCHED_CONFIG or ./aicsched.toml."),
]


def console() -> Console:
    """Return a console on standard output; colours and progress vanish when piped.

    Returns
    -------
    rich.console.Console
        A new one.
    """
    from rich.console import Console

    return Console(highlight=False, soft_wrap=not os.isatty(1))


def _finite(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    return value


def emit_json(payload: Mapping[str, Any]) -> None:
    """Print a JSON document with sorted keys; what is not finite becomes null.

    Parameters
    ----------
    payload : mapping
        Plain values, lists and mappings.
    """
    typer.echo(json.dumps(_finite(dict(payload)), indent=2, sort_keys=True, allow_nan=False))


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; columns after the first are right-aligned.

    Parameters
    ----------
    title : str
        Above the table.
    columns : sequence of str
        Headings with units.
    rows : iterable of sequences of str
        Cells, one a heading.

    Raises
    ------
    ValueError
        A row has more or fewer cells than there are headings: figures would stand below wrong ones.
    """
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for index, name in enumerate(columns):
        table.add_column(escape(name), justify="left" if index == 0 else "right", overflow="fold")
    for row in rows:
        if len(row) != len(columns):
            msg = f"a row of {len(row)} cells below {len(columns)} headings"
            raise ValueError(msg)
        table.add_row(*(escape(cell) for cell in row))
    console().print(table)


def output_folder(path: Path) -> Path:
    """Make a folder for results and make sure that it can be written to.

    Parameters
    ----------
    path : Path
        Where results go.

    Returns
    -------
    Path
        The same, existing.

    Raises
    ------
    OutputError
        It is a file, or can't be made or written to; found before any work is done.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".aicsched-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        msg = f"the folder '{path}' can't be written to ({error.strerror or error})"
        raise OutputError(
            msg, hint="choose another with --out, or mend its permissions", value=str(path)
        ) from error
    return path

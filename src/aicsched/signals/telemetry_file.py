"""Node telemetry from CSV and parquet: what is not there is unknown, never idle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from aicsched.domain.columns import epoch_seconds, numbers, read_columns, texts
from aicsched.domain.telemetry import Telemetry
from aicsched.errors import InputError, SlotError
from aicsched.slots import HOUR_S, SlotGrid, format_time

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

__all__ = ["read_telemetry"]

_REQUIRED = ("node", "time", "cpu_share")


def read_telemetry(path: str | Path) -> Telemetry:
    """Read the utilisation of nodes.

    Parameters
    ----------
    path : str or Path
        CSV or parquet with the columns ``node``, ``time``, ``cpu_share`` and
        optionally ``network_mb`` and ``memory_share``.

    Returns
    -------
    Telemetry
        On one grid for all nodes; NaN where a row or a cell is missing.

    Raises
    ------
    InputError
        A column is missing, or a node has two rows for one time.
    SlotError
        A time is naive or off the grid.
    SignalInvalid
        A value is out of range.
    """
    file = Path(path)
    columns = read_columns(file)
    missing = [name for name in _REQUIRED if name not in columns]
    if missing:
        msg = f"'{file.name}' lacks the columns {', '.join(missing)}"
        raise InputError(msg, hint="see `aicsched schema telemetry`", value=missing)
    names = texts(columns, "node")
    nodes = tuple(dict.fromkeys(names))
    position = {name: index for index, name in enumerate(nodes)}
    row = np.array([position[name] for name in names])
    time_s = epoch_seconds(columns["time"], where=f"'{file.name}' column 'time'")
    grid, column = _grid(time_s, file.name)
    _refuse_twice(row, column, nodes, grid, file.name)

    def laid(name: str) -> NDArray[np.float64]:
        made = np.full((len(nodes), len(grid)), np.nan)
        if name in columns:
            values: Any = columns[name]
            made[row, column] = numbers(values, where=f"'{file.name}' column '{name}'")
        return made

    return Telemetry(
        nodes=nodes,
        slots=grid,
        cpu_share=laid("cpu_share"),
        network_mb=laid("network_mb"),
        memory_share=laid("memory_share"),
        source=f"file:{file.name}",
    )


def _grid(time_s: NDArray[np.int64], name: str) -> tuple[SlotGrid, NDArray[np.int64]]:
    distinct = np.unique(time_s)
    step_s = int(np.diff(distinct).min()) if len(distinct) > 1 else HOUR_S
    column, rest = np.divmod(time_s - distinct[0], step_s)
    if rest.any():
        bad = int(time_s[np.argmax(rest != 0)])
        msg = f"'{name}': {format_time(bad)} is off the grid of {step_s} s slots from {format_time(int(distinct[0]))}"
        raise SlotError(msg, hint="resample to equal steps", value=bad)
    return SlotGrid(int(distinct[0]), step_s, int(column.max()) + 1), column


def _refuse_twice(
    row: NDArray[np.int64], column: NDArray[np.int64], nodes: tuple[str, ...], grid: SlotGrid, name: str
) -> None:
    cell = row * len(grid) + column
    values, counts = np.unique(cell, return_counts=True)
    if (counts > 1).any():
        first = int(values[np.argmax(counts > 1)])
        when = format_time(grid.start_s + first % len(grid) * grid.step_s)
        msg = f"'{name}': node '{nodes[first // len(grid)]}' has two rows for {when}"
        raise InputError(msg, hint="keep one row a node and slot", value=when)

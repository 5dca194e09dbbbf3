"""Node telemetry from CSV and parquet: what is not there is unknown, never idle."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.domain.columns import epoch_seconds, numbers, read_columns, texts
from aicsched.domain.schema import refuse_columns
from aicsched.domain.signal_schemas import TELEMETRY
from aicsched.domain.telemetry import OPTIONAL, TOPS, Telemetry
from aicsched.errors import InputError, SlotError
from aicsched.slots import HOUR_S, SlotGrid, format_time

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

__all__ = ["read_telemetry", "telemetry_to_csv"]

# A table may be this much emptier than the grid it is laid on before its times are taken for none.
_CELLS_PER_ROW: Final = 20
_CELLS_ALWAYS: Final = 1_000_000


def read_telemetry(path: str | Path) -> Telemetry:
    """Read the utilisation of nodes.

    Parameters
    ----------
    path : str or Path
        CSV or parquet with the columns ``node``, ``time``, ``cpu_share`` and
        optionally the others of ``aicsched schema telemetry``.

    Returns
    -------
    Telemetry
        On one grid for all nodes; NaN where a row or a cell is missing, and of what is optional
        in `Telemetry`, None where the file has no such column.

    Raises
    ------
    InputError
        A column is unknown or missing, or a node has two rows for one time.
    SlotError
        A time is naive or off the grid, or nearly all slots are empty.
    SignalInvalid
        A value is out of range.
    """
    file = Path(path)
    columns = read_columns(file)
    refuse_columns(TELEMETRY, list(columns), f"'{file.name}'")
    names = texts(columns, "node", where=f"'{file.name}'")
    nodes = tuple(dict.fromkeys(names))
    position = {name: index for index, name in enumerate(nodes)}
    row = np.array([position[name] for name in names])
    time_s = epoch_seconds(columns["time"], where=f"'{file.name}' column 'time'")
    grid, column = _grid(time_s, file.name)
    _refuse_sparse(len(nodes), len(grid), len(names), file.name)
    _refuse_twice(row, column, nodes, grid, file.name)

    def laid(name: str) -> NDArray[np.float64]:
        made = np.full((len(nodes), len(grid)), np.nan)
        if name in columns:
            values: Any = columns[name]
            made[row, column] = numbers(values, where=f"'{file.name}' column '{name}'")
        return made

    more: dict[str, Any] = {name: laid(name) for name in OPTIONAL if name in columns}
    return Telemetry(
        nodes=nodes,
        slots=grid,
        cpu_share=laid("cpu_share"),
        network_mb=laid("network_mb"),
        memory_share=laid("memory_share"),
        source=f"file:{file.name}",
        **more,
    )


def telemetry_to_csv(telemetry: Telemetry) -> str:
    """Write telemetry as CSV that `read_telemetry` reads back.

    Parameters
    ----------
    telemetry : Telemetry
        Of some nodes.

    Returns
    -------
    str
        A row a node and slot, values to nine digits; what is unknown is empty, and what the
        source doesn't have is no column.
    """
    names = [name for name in TOPS if getattr(telemetry, name) is not None]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["node", "time", *names])
    times = [format_time(float(start_s)) for start_s in telemetry.slots.starts_s()]
    for index, node in enumerate(telemetry.nodes):
        rows = np.stack([getattr(telemetry, name)[index] for name in names], axis=1)
        for moment, row in zip(times, rows.tolist(), strict=True):
            writer.writerow([node, moment, *("" if math.isnan(value) else f"{value:.9g}" for value in row)])
    return text.getvalue()


def _grid(time_s: NDArray[np.int64], name: str) -> tuple[SlotGrid, NDArray[np.int64]]:
    distinct = np.unique(time_s)
    step_s = int(np.diff(distinct).min()) if len(distinct) > 1 else HOUR_S
    column, rest = np.divmod(time_s - distinct[0], step_s)
    if rest.any():
        bad = int(time_s[np.argmax(rest != 0)])
        first = format_time(int(distinct[0]))
        msg = f"'{name}': {format_time(bad)} is off the grid of {step_s} s slots from {first}"
        raise SlotError(msg, hint="resample to equal steps", value=bad)
    return SlotGrid(int(distinct[0]), step_s, int(column.max()) + 1), column


def _refuse_sparse(nodes: int, slots: int, rows: int, name: str) -> None:
    if nodes * slots > _CELLS_PER_ROW * rows + _CELLS_ALWAYS:
        msg = f"'{name}': {rows} rows lie on {nodes} nodes times {slots} slots"
        raise SlotError(msg, hint="resample to equal steps, and check for a stray time", value=rows)


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

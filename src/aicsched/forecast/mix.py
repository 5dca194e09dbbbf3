"""The source mix in files.

They are those of the intensity: columns ``gen_<source>`` in any unit of power, the same for all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.domain.columns import epoch_seconds, numbers, read_columns
from aicsched.domain.regular import lay_on_grid
from aicsched.domain.source_mix import SourceMix
from aicsched.errors import InputError
from aicsched.signals.carbon.file import place_of, time_column
from aicsched.slots import SlotGrid

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Any

    from numpy.typing import NDArray

__all__ = ["read_mix"]

_PREFIX: Final = "gen_"


def _mix(path: Path, availability_lag_s: int) -> SourceMix:
    columns: dict[str, Any] = read_columns(path)
    names = [name for name in columns if name.lower().startswith(_PREFIX)]
    if not names:
        msg = f"'{path.name}' holds no source mix (its columns are {', '.join(list(columns)[:8])})"
        raise InputError(
            msg, hint="name the columns time, gen_wind, gen_solar, gen_coal, …", value=list(columns)
        )
    clock = time_column(columns, path.name)
    time_s = epoch_seconds(columns[clock], where=f"'{path.name}' column '{clock}'")
    rows: list[NDArray[np.float64]] = []
    slots = SlotGrid(0, 3600, 1)
    for name in names:
        where = f"'{path.name}' column '{name}'"
        laid = lay_on_grid(time_s, numbers(columns[name], where=where), where)
        slots = laid.slots
        rows.append(laid.values)
    return SourceMix(
        sources=tuple(name[len(_PREFIX) :].lower() for name in names),
        slots=slots,
        generation_mw=np.stack(rows),
        source=f"file:{path.name}",
        availability_lag_s=availability_lag_s,
    )


def read_mix(paths: Sequence[str], *, availability_lag_s: int = 0) -> dict[str, SourceMix]:
    """Read generation by source, one file a zone.

    Parameters
    ----------
    paths : sequence of str
        CSV or parquet files with a time column and columns ``gen_<source>``;
        zones are named as those of `aicsched.signals.carbon.file.FileCarbon`.

    availability_lag_s : int
        How long after its end a slot can first be read [s].

    Returns
    -------
    dict of str to SourceMix
        Per zone.

    Raises
    ------
    InputError
        A file has no such columns, or they hold something else than numbers.
    SignalInvalid, SlotError, SourceUnavailable
        Times don't make a grid, or the file can't be read.
    """
    return {place.zone: _mix(place.path, availability_lag_s) for place in map(place_of, paths)}

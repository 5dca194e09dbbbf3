"""The source mix: how much each source generated, the reason why intensity is what it is.

Files are those of the intensity: columns ``gen_<source>`` in any unit of power, the same for all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.domain.carbon import frozen_array
from aicsched.domain.columns import epoch_seconds, numbers, read_columns
from aicsched.domain.regular import lay_on_grid
from aicsched.errors import InputError
from aicsched.signals.carbon.file import place_of, time_column
from aicsched.slots import SlotGrid

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Any

    from numpy.typing import NDArray

__all__ = ["SourceMix", "read_mix"]

_PREFIX: Final = "gen_"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SourceMix:
    """Generation of one grid zone by source.

    Parameters
    ----------
    sources : tuple of str
        S names, e.g. ``"wind"``; those with *wind* or *solar* in them are told apart by it.
    slots : SlotGrid
        The time grid.
    generation_mw : ndarray, shape (S, len(slots))
        Mean power in each slot [MW]; NaN where missing. Negative power, as of
        pumped storage, counts as none.
    source : str
        Id of where it comes from.
    availability_lag_s : int
        How long after its end a slot can first be read [s]. It is rounded up to days.

    Raises
    ------
    InputError
        Shapes differ, a value is infinite, or there is no source.

    Examples
    --------
    >>> from aicsched.slots import SlotGrid
    >>> mix = SourceMix(sources=("gas", "wind"), slots=SlotGrid(0, 3600, 2), source="test",
    ...                 generation_mw=[[60.0, 50.0], [40.0, 50.0]])
    >>> mix.on(SlotGrid(3600, 3600, 2))[0].tolist()
    [50.0, nan]
    """

    sources: tuple[str, ...]
    slots: SlotGrid
    generation_mw: NDArray[np.float64]
    source: str
    availability_lag_s: int = 0

    def __post_init__(self) -> None:
        values = np.asarray(self.generation_mw, dtype=np.float64)
        if not self.sources or values.shape != (len(self.sources), len(self.slots)):
            msg = f"{self.source}: generation of shape {values.shape} for {len(self.sources)} sources"
            raise InputError(msg, hint="give one row a source and one column a slot", value=values.shape)
        if np.isinf(values).any():
            msg = f"{self.source}: generation is infinite in {int(np.isinf(values).sum())} slots"
            raise InputError(msg, hint="leave unknown values empty")
        if self.availability_lag_s < 0:
            msg = f"{self.source}: an availability lag of {self.availability_lag_s} s reaches into the future"
            raise InputError(msg, hint="give 0 or more", value=self.availability_lag_s)
        object.__setattr__(self, "generation_mw", frozen_array(np.maximum(values, 0.0)))

    def on(self, slots: SlotGrid) -> NDArray[np.float64]:
        """Return the generation on another grid of the same step.

        Parameters
        ----------
        slots : SlotGrid
            Where it is wanted.

        Returns
        -------
        ndarray, shape (S, len(slots))
            [MW]; NaN where it is not known, and everywhere if the grids don't match.
        """
        made = np.full((len(self.sources), len(slots)), np.nan)
        shift, rest = divmod(slots.start_s - self.slots.start_s, self.slots.step_s)
        if rest or slots.step_s != self.slots.step_s:
            return made
        first, last = max(0, -shift), min(len(slots), len(self.slots) - shift)
        if first < last:
            made[:, first:last] = self.generation_mw[:, shift + first : shift + last]
        return made


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

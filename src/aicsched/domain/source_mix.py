"""The source mix: how much each source generated, the reason why intensity is what it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from aicsched.domain.carbon import frozen_array
from aicsched.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.slots import SlotGrid

__all__ = ["SourceMix"]


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

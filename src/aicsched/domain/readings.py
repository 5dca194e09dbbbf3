"""Values as they were read, one after the other: what was known of a slot, and since when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from aicsched.errors import SignalInvalid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.slots import SlotGrid

__all__ = ["Readings"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Readings:
    """All readings of a series, so that a past issue time gets what it could have known.

    Parameters
    ----------
    start_s : ndarray of int64, shape (n,)
        Start of the slot that was read, seconds since the epoch.
    read_s : ndarray of int64, shape (n,)
        When the value came to be known; rising.
    values_g_per_kwh : ndarray, shape (n,)
        What it was then; finite.
    quality : ndarray of int8, shape (n,)
        A `Quality` each.

    Raises
    ------
    SignalInvalid
        Lengths differ, reading times fall, or a value is not finite.
    """

    start_s: NDArray[np.int64]
    read_s: NDArray[np.int64]
    values_g_per_kwh: NDArray[np.float64]
    quality: NDArray[np.int8]

    def __post_init__(self) -> None:
        sizes = {len(self.start_s), len(self.read_s), len(self.values_g_per_kwh), len(self.quality)}
        orderly = len(sizes) == 1 and not (np.diff(self.read_s) < 0).any()
        if not orderly or not np.isfinite(self.values_g_per_kwh).all():
            msg = "readings of different lengths, out of order or not finite"
            raise SignalInvalid(msg, hint="give one finite value a reading, sorted by reading time")

    def until(self, epoch_s: int) -> Readings:
        """Return the readings that were at hand at a time.

        Parameters
        ----------
        epoch_s : int
            Seconds since the epoch.

        Returns
        -------
        Readings
            Possibly none.
        """
        seen = slice(0, int(np.searchsorted(self.read_s, epoch_s, side="right")))
        return Readings(
            start_s=self.start_s[seen],
            read_s=self.read_s[seen],
            values_g_per_kwh=self.values_g_per_kwh[seen],
            quality=self.quality[seen],
        )

    def newest(self, slots: SlotGrid) -> tuple[NDArray[np.float64], NDArray[np.int8], int]:
        """Lay the newest reading of each slot on a grid.

        Parameters
        ----------
        slots : SlotGrid
            Readings of other slots are left out.

        Returns
        -------
        ndarray, shape (len(slots),)
            NaN where nothing was read.
        ndarray of int8, shape (len(slots),)
            Quality of each reading, 0 where there is none.
        int
            How many slots were read more than once, with different values.
        """
        index, rest = np.divmod(self.start_s - slots.start_s, slots.step_s)
        here = (rest == 0) & (index >= 0) & (index < len(slots))
        values, quality = np.full(len(slots), np.nan), np.zeros(len(slots), dtype=np.int8)
        low, high = np.full(len(slots), np.inf), np.full(len(slots), -np.inf)
        # Rising reading times: of several the last is written last, and stays.
        values[index[here]] = self.values_g_per_kwh[here]
        quality[index[here]] = self.quality[here]
        np.minimum.at(low, index[here], self.values_g_per_kwh[here])
        np.maximum.at(high, index[here], self.values_g_per_kwh[here])
        return values, quality, int((high > low).sum())

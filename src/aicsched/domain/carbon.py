"""Carbon intensity of one grid zone over time, with the quality of each value."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

import numpy as np

from aicsched.errors import SignalInvalid
from aicsched.slots import format_time

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from aicsched.domain.readings import Readings
    from aicsched.slots import SlotGrid

__all__ = [
    "MAX_INTENSITY_G_PER_KWH",
    "CarbonSeries",
    "EmissionScope",
    "IntensityKind",
    "Quality",
    "frozen_array",
]

Scalar = TypeVar("Scalar", bound=np.generic)
# Lignite in an old plant emits about 1,700 g/kWh over its life cycle (IPCC AR5 WG3, annex III);
# whatever stands above this limit is a wrong unit or a broken meter.
MAX_INTENSITY_G_PER_KWH: Final = 2500.0


class IntensityKind(StrEnum):
    """Which question an intensity answers; the two never meet in one number."""

    AVERAGE = "average"
    """All emissions of the zone over all its energy: for reports (SCI)."""
    MARGINAL = "marginal"
    """Emissions of the next kilowatt-hour: for the effect of a change."""


class EmissionScope(StrEnum):
    """What an emission factor counts; a series has one of the two."""

    LIFECYCLE = "lifecycle"
    """Plant, fuel supply and burning."""
    DIRECT = "direct"
    """What is burned in the plant only."""


class Quality(IntEnum):
    """Where a value comes from."""

    ACTUAL = 0
    ESTIMATED = 1
    FORECAST = 2
    STALE = 3
    MISSING = 4
    QUARANTINED = 5
    """There was a value that can't be true; it was taken out."""


@overload
def frozen_array(values: ArrayLike) -> NDArray[np.float64]: ...
@overload
def frozen_array(values: ArrayLike, dtype: type[Scalar]) -> NDArray[Scalar]: ...
def frozen_array(values: ArrayLike, dtype: type[Any] = np.float64) -> NDArray[Any]:
    """Copy values into a read-only contiguous array.

    Parameters
    ----------
    values : array_like
        Numbers.
    dtype : type
        Element type.

    Returns
    -------
    ndarray
        Read-only and C-contiguous, so that kernels compile once and nobody
        changes a fact.
    """
    array = np.array(values, dtype=dtype, order="C")
    array.flags.writeable = False
    return array


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CarbonSeries:
    """Carbon intensity of one grid zone on a slot grid.

    Parameters
    ----------
    grid_zone : str
        The electricity zone.
    kind : IntensityKind
        Average or marginal.
    slots : SlotGrid
        The time grid.
    values_g_per_kwh : ndarray, shape (len(slots),)
        Mean intensity in each slot [g/kWh]; NaN where missing.
    source : str
        Id of the source, e.g. ``"file:DE.parquet#ci_lifecycle"``.
    quality : ndarray of int8, shape (len(slots),), optional
        A `Quality` per slot; by default actual, and missing where NaN.
    synthetic : bool
        True when the values were made up: every output says so.
    flags : tuple of str
        What was put in order when it was read, see `Flag`.
    availability_lag_s : int
        How long after a slot's end its value comes to be known [s]: `known_at` heeds it.
    readings : Readings, optional
        Where values were revised, all of them with their times; `values_g_per_kwh`
        are the newest ones, and `known_at` goes back.

    Raises
    ------
    SignalInvalid
        Lengths differ, the lag is negative, or a value is negative, infinite or
        above 2,500 g/kWh.

    Examples
    --------
    >>> from aicsched.slots import SlotGrid
    >>> series = CarbonSeries(grid_zone="DE", kind=IntensityKind.AVERAGE, source="test",
    ...                       slots=SlotGrid(0, 3600, 3), values_g_per_kwh=[400.0, float("nan"), 380.0])
    >>> series.missing
    1
    """

    grid_zone: str
    kind: IntensityKind
    slots: SlotGrid
    values_g_per_kwh: NDArray[np.float64]
    source: str
    quality: NDArray[np.int8] | None = None
    synthetic: bool = False
    flags: tuple[str, ...] = ()
    availability_lag_s: int = 0
    readings: Readings | None = None

    def __post_init__(self) -> None:
        if self.availability_lag_s < 0:
            msg = f"{self.grid_zone}: an availability lag of {self.availability_lag_s} s looks ahead"
            raise SignalInvalid(msg, hint="use 0 s or more", value=self.availability_lag_s)
        values = frozen_array(self.values_g_per_kwh)
        if values.shape != (len(self.slots),):
            msg = f"{self.grid_zone}: {values.size} values for {len(self.slots)} slots"
            raise SignalInvalid(msg, hint="give one value a slot", value=values.shape)
        self._check_range(values)
        object.__setattr__(self, "values_g_per_kwh", values)
        if self.quality is None:
            quality = np.where(np.isnan(values), Quality.MISSING, Quality.ACTUAL)
        else:
            quality = self.quality
        object.__setattr__(self, "quality", frozen_array(quality, np.int8))

    def _check_range(self, values: NDArray[np.float64]) -> None:
        bad = (values < 0) | (values > MAX_INTENSITY_G_PER_KWH) | np.isinf(values)
        if bad.any():
            first = int(np.argmax(bad))
            where = format_time(self.slots.start_s + first * self.slots.step_s)
            msg = (
                f"{self.grid_zone}: {values[first]:g} g/kWh at {where} can't be true "
                f"({int(bad.sum())} such values in {self.source})"
            )
            hint = f"check the unit; intensities lie in 0..{MAX_INTENSITY_G_PER_KWH:g} g/kWh"
            raise SignalInvalid(msg, hint=hint, value=float(values[first]))

    @property
    def missing(self) -> int:
        """How many slots have no value."""
        return int(np.isnan(self.values_g_per_kwh).sum())

    def window(self, part: SlotGrid) -> CarbonSeries:
        """Return the series on a part of its grid.

        Parameters
        ----------
        part : SlotGrid
            Contained in ``self.slots``.

        Returns
        -------
        CarbonSeries
            With the same source.

        Raises
        ------
        SlotError
            The part is not contained in the grid.
        """
        offset = self.slots.offset_of(part)
        cut = slice(offset, offset + len(part))
        quality = None if self.quality is None else self.quality[cut]
        return replace(self, slots=part, values_g_per_kwh=self.values_g_per_kwh[cut], quality=quality)

    def before(self, epoch_s: int) -> CarbonSeries:
        """Return the slots that ended by a time, whenever their values came to be known.

        Parameters
        ----------
        epoch_s : int
            Seconds since the epoch.

        Returns
        -------
        CarbonSeries
            Possibly empty.
        """
        return self.window(self.slots.between(self.slots.start_s, epoch_s))

    def known_at(self, epoch_s: int) -> CarbonSeries:
        """Return what was known at a time, up to the last slot with a value.

        Parameters
        ----------
        epoch_s : int
            Seconds since the epoch.

        Returns
        -------
        CarbonSeries
            Only slots that ended `availability_lag_s` before; of revised values
            those that had been read by then. Possibly empty.

        Examples
        --------
        >>> from aicsched.slots import SlotGrid
        >>> series = CarbonSeries(grid_zone="DE", kind=IntensityKind.AVERAGE, source="test",
        ...                       slots=SlotGrid(0, 3600, 4), availability_lag_s=3600,
        ...                       values_g_per_kwh=[400.0, float("nan"), 380.0, 390.0])
        >>> series.known_at(3 * 3600).values_g_per_kwh.tolist()
        [400.0]
        """
        past = self.before(epoch_s - self.availability_lag_s)
        if past.readings is not None:
            seen = past.readings.until(epoch_s)
            values, quality, _ = seen.newest(past.slots)
            taken_out = np.asarray(past.quality) == Quality.QUARANTINED
            quality = np.where(np.isnan(values), Quality.MISSING, quality)
            quality = np.where(np.isnan(values) & taken_out, Quality.QUARANTINED, quality)
            past = replace(past, values_g_per_kwh=values, quality=quality, readings=seen)
        known = np.flatnonzero(~np.isnan(past.values_g_per_kwh))
        end_s = past.slots.start_s + past.slots.step_s * (int(known[-1]) + 1 if len(known) else 0)
        return past.before(end_s)

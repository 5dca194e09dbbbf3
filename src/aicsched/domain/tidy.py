"""From rows, as a file or a frame holds them, to a carbon series: one path, one contract."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from aicsched.domain.carbon import CarbonSeries, IntensityKind, Quality
from aicsched.domain.flags import Flag
from aicsched.domain.quarantine import impossible, refuse_wrong_units
from aicsched.domain.readings import Readings
from aicsched.domain.regular import Laid, lay_on_grid
from aicsched.errors import InputError, SlotError, did_you_mean
from aicsched.slots import format_time

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

__all__ = ["quality_flags", "row_qualities", "series_from_rows"]

_YES: Final = frozenset({"true", "1", "1.0", "yes", "y", "t"})
_NO: Final = frozenset({"false", "0", "0.0", "no", "n", "f", "", "none", "nan"})
# A grid that keeps one value through a day and a night is rare; a source that stopped is not.
_FLAT_S: Final = 86_400


def row_qualities(values: Iterable[Any], column: str, where: str) -> NDArray[np.int8]:
    """Read a column that says of each row whether it was estimated, or its quality by name.

    Parameters
    ----------
    values : iterable
        True and false in any usual writing (empty is false), or names of `Quality`.
    column : str
        Its name: ``estimated`` or ``quality``.
    where : str
        The file, for messages.

    Returns
    -------
    ndarray of int8
        A `Quality` each.

    Raises
    ------
    InputError
        A cell is none of these; the message names the row.

    Examples
    --------
    >>> row_qualities(["true", "", 0], "estimated", "rows").tolist()
    [1, 0, 0]
    """
    known = {item.name.lower(): int(item) for item in Quality}
    if column != "quality":
        known = dict.fromkeys(_YES, int(Quality.ESTIMATED)) | dict.fromkeys(_NO, int(Quality.ACTUAL))
    words = ["" if value is None else str(value).strip().lower() for value in values]
    for row, word in enumerate(words, start=2):
        if word not in known:
            msg = f"{where} row {row}: '{word}' in column '{column}' can't be understood"
            hint = did_you_mean(word, known) if column == "quality" else "write true or false"
            raise InputError(msg, hint=hint, value=word)
    return np.array([known[word] for word in words], dtype=np.int8)


def series_from_rows(  # noqa: PLR0913 - one keyword per fact
    time_s: NDArray[np.int64],
    values: NDArray[np.float64],
    *,
    where: str,
    zone: str,
    kind: IntensityKind,
    source: str,
    quality: NDArray[np.int8] | None = None,
    read_s: NDArray[np.int64] | None = None,
    unclear: int = 0,
    synthetic: bool = False,
    availability_lag_s: int = 0,
) -> CarbonSeries:
    """Make a carbon series of rows in any order.

    Parameters
    ----------
    time_s : ndarray of int64, shape (rows,)
        Start of each row's slot, seconds since the epoch.
    values : ndarray of float64, shape (rows,)
        Intensity [g/kWh], NaN where missing.
    where : str
        What the rows are, for messages.
    zone : str
        The grid zone.
    kind : IntensityKind
        Average or marginal.
    source : str
        Id of the source.
    quality : ndarray of int8, shape (rows,), optional
        A `Quality` a row.
    read_s : ndarray of int64, shape (rows,), optional
        When each row was read: of several rows for one slot the newest counts.
    unclear : int
        How many rows were left out since their local time could not be told.
    synthetic : bool
        True when the values were made up.
    availability_lag_s : int
        How long after a slot's end its value comes to be known [s].

    Returns
    -------
    CarbonSeries
        What can't be true is NaN and `Quality.QUARANTINED`, what is missing NaN.

    Raises
    ------
    SignalInvalid
        More than a few values can't be true or are in another unit, or one slot has two different ones.
    SlotError
        Rows make no grid.
    SignalGap
        More than a quarter of the slots are missing.
    """
    refuse_wrong_units(time_s, values, where)
    bad = impossible(values)
    said = np.zeros(len(values), dtype=np.int8) if quality is None else quality.copy()
    said[np.isnan(values) & (said != Quality.QUARANTINED)] = Quality.MISSING
    said[bad] = Quality.QUARANTINED
    values = np.where(bad, np.nan, values)
    readings = None
    if read_s is None:
        laid = lay_on_grid(time_s, values, where, quality=said)
    else:
        laid, readings = _revised(time_s, values, said, read_s, where)
    notes = (*laid.notes, *((Flag.CLOCK_UNCLEAR.of(unclear),) if unclear else ()))
    return CarbonSeries(
        grid_zone=zone,
        kind=kind,
        slots=laid.slots,
        values_g_per_kwh=laid.values,
        source=source,
        quality=laid.quality,
        synthetic=synthetic,
        flags=notes,
        availability_lag_s=availability_lag_s,
        readings=readings,
    )


def _revised(
    time_s: NDArray[np.int64],
    values: NDArray[np.float64],
    quality: NDArray[np.int8],
    read_s: NDArray[np.int64],
    where: str,
) -> tuple[Laid, Readings]:
    """Keep the newest reading of each slot, and all of them beside it."""
    order = np.lexsort((time_s, read_s))
    order = order[np.isfinite(values[order])]
    time, read, value = time_s[order], read_s[order], values[order]
    clash = (np.diff(time) == 0) & (np.diff(read) == 0) & (np.diff(value) != 0)
    if clash.any():
        first = int(np.argmax(clash))
        when, asked = format_time(int(time[first])), format_time(int(read[first]))
        msg = f"{where} has two different values for {when}, both read at {asked}"
        raise InputError(msg, hint="keep one row a slot and reading time", value=when)
    # Rows without a value keep their slots; of the others the newest is the last in this order.
    newest = np.lexsort((read_s, np.isfinite(values), time_s))
    last = np.append(np.diff(time_s[newest]) != 0, np.True_)
    chosen = newest[last]
    laid = lay_on_grid(time_s[chosen], values[chosen], where, quality=quality[chosen])
    if any(note.startswith(Flag.RESAMPLED) for note in laid.notes):
        msg = f"{where} has reading times, and steps that change on the way"
        raise SlotError(
            msg, hint="resample each reading to equal steps, for example hourly means", value=where
        )
    readings = Readings(start_s=time, read_s=read, values_g_per_kwh=value, quality=quality[order])
    return laid, readings


def quality_flags(series: CarbonSeries) -> tuple[str, ...]:
    """Return what a reader of anything made from a series must know of it.

    Parameters
    ----------
    series : CarbonSeries
        As it was known.

    Returns
    -------
    tuple of str
        What was put in order, and how many slots are estimated, forecast, stale,
        quarantined, revised, or the same as the last one for a day or more.

    Examples
    --------
    >>> from aicsched.testing import example_series
    >>> quality_flags(example_series())
    ()
    """
    quality = np.asarray(series.quality)
    made = list(series.flags)
    for code, flag in (
        (Quality.ESTIMATED, Flag.ESTIMATED),
        (Quality.FORECAST, Flag.FORECAST),
        (Quality.STALE, Flag.STALE),
        (Quality.QUARANTINED, Flag.QUARANTINED),
    ):
        count = int((quality == code).sum())
        if count:
            made.append(flag.of(count))
    if series.readings is not None:
        revised = series.readings.newest(series.slots)[2]
        made += [Flag.REVISED.of(revised)] if revised else []
    flat = _flat(series.values_g_per_kwh)
    if flat * series.slots.step_s > _FLAT_S:
        made.append(Flag.FLAT.of(flat))
    return tuple(made)


def _flat(values: NDArray[np.float64]) -> int:
    """Return how many of the newest known values are equal, leaving gaps out."""
    known = values[~np.isnan(values)]
    changed = np.flatnonzero(known != known[-1]) if len(known) else np.empty(0)
    return len(known) - (int(changed[-1]) + 1 if len(changed) else 0)

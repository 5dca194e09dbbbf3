"""Lay rows with times on a regular slot grid, without making any value up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from aicsched.domain.carbon import Quality
from aicsched.domain.flags import Flag
from aicsched.errors import SignalGap, SignalInvalid, SlotError
from aicsched.slots import HOUR_S, SlotGrid, format_time

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["GAP_LIMIT_SHARE", "Laid", "lay_on_grid"]

# More missing than this, and a forecast or a plan would rest on what was filled in.
GAP_LIMIT_SHARE: Final = 0.25
# An hour counts as known where at least this share of it is.
_KNOWN_SHARE: Final = 0.5
# So many equal distances in a row are a step of the source, fewer are gaps in a finer one.
_RUN: Final = 4
_SPARE_SLOTS: Final = 100_000
_EXACT: Final = 1e-9


class Laid(NamedTuple):
    """Rows on a grid.

    Parameters
    ----------
    slots : SlotGrid
        From the first to the last row.
    values : ndarray, shape (len(slots),)
        NaN in the gaps.
    quality : ndarray of int8, shape (len(slots),)
        A `Quality` each.
    notes : tuple of str
        What was put in order: ``"sorted"``, ``"duplicates:3"``, ``"resampled:3600"``.
    """

    slots: SlotGrid
    values: NDArray[np.float64]
    quality: NDArray[np.int8]
    notes: tuple[str, ...]


def lay_on_grid(
    time_s: NDArray[np.int64],
    values: NDArray[np.float64],
    where: str,
    *,
    quality: NDArray[np.int8] | None = None,
) -> Laid:
    """Sort rows, drop equal duplicates, and lay them on a grid with NaN in the gaps.

    Parameters
    ----------
    time_s : ndarray of int64, shape (rows,)
        Start of each row's slot, seconds since the epoch, in any order.
    values : ndarray of float64, shape (rows,)
        One value a row, NaN where it is missing.
    where : str
        What the rows are, for messages.
    quality : ndarray of int8, shape (rows,), optional
        A `Quality` a row; of equal duplicates the best counts.

    Returns
    -------
    Laid
        The grid's step is the lower median of the distances of rows, an hour for a
        single row. Where steps of at most an hour change on the way, it holds hourly
        means, weighted by how long each row lasts, of the hours that are known at
        least by half; those known in part are `Quality.ESTIMATED`.

    Raises
    ------
    SignalInvalid
        One slot has two different values.
    SlotError
        A row is off the grid, and the steps are no series of steps up to an hour.
    SignalGap
        More than a quarter of the slots between the first and the last known one are
        missing, or there is no row.

    Examples
    --------
    >>> laid = lay_on_grid(np.array([7200, 0, 3600, 3600, 14400]), np.arange(5.0) // 4, "rows")
    >>> laid.values.tolist(), laid.notes
    ([0.0, 0.0, 0.0, nan, 1.0], ('sorted', 'duplicates:1'))
    """
    if not len(time_s):
        msg = f"{where}: no row can be used"
        raise SignalGap(msg, hint="give at least one row with a clear time", value=0)
    notes: list[str] = []
    if (np.diff(time_s) < 0).any():
        notes.append(Flag.SORTED.value)
    if quality is None:
        quality = np.where(np.isnan(values), Quality.MISSING, Quality.ACTUAL).astype(np.int8)
    order = np.lexsort((quality, np.isnan(values), time_s))
    time_s, values, quality = time_s[order], values[order], quality[order]
    kept = _first_of_each(time_s, values, where)
    if not kept.all():
        notes.append(Flag.DUPLICATES.of(int((~kept).sum())))
    time_s, values, quality = time_s[kept], values[kept], quality[kept]
    apart_s = np.diff(time_s)
    lasts_s = _lengths(apart_s)
    if lasts_s is None:
        grid, index = _regular(time_s, apart_s, where)
        _refuse_gaps(np.isfinite(values), index, len(grid), where)
        return Laid(grid, *_laid(grid, index, values, quality), tuple(notes))
    notes.append(Flag.RESAMPLED.of(HOUR_S))
    return Laid(*_hourly(time_s, lasts_s, values, quality, where), tuple(notes))


def _first_of_each(time_s: NDArray[np.int64], values: NDArray[np.float64], where: str) -> NDArray[np.bool_]:
    """Tell which rows are the first of their time; an empty duplicate says nothing."""
    kept = np.concatenate([[True], np.diff(time_s) != 0])
    first = values[np.maximum.accumulate(np.where(kept, np.arange(len(kept)), 0))]
    other = ~kept & ~np.isnan(values) & (values != first)
    if other.any():
        when = format_time(int(time_s[np.argmax(other)]))
        msg = f"{where} has two different values for {when}"
        hint = "keep one row a slot, or add the reading_time of each; local times need their time zone"
        raise SignalInvalid(msg, hint=hint, value=when)
    return kept


def _lengths(apart_s: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Return how long each row lasts where steps change on the way, None where they don't.

    A step of the source is a distance that comes at least four times in a row. A row
    lasts until the next one, at most the step that holds there: what is behind is a gap.
    """
    if len(apart_s) < _RUN:
        return None
    starts = np.flatnonzero(np.concatenate([[True], np.diff(apart_s) != 0]))
    counts = np.diff(np.append(starts, len(apart_s)))
    known = counts >= _RUN
    steps = apart_s[starts]
    regular = np.unique(steps[known])
    if not len(regular) or regular.max() > HOUR_S:
        return None
    if len(regular) == 1 and not (apart_s % regular[0]).any():
        return None
    last = np.maximum.accumulate(np.where(known, np.arange(len(steps)), -1))
    last[last < 0] = int(np.argmax(known))
    step_s = np.repeat(steps[last], counts)
    step_s = np.append(step_s, step_s[-1])
    # Before a gap a row lasts no longer than the one before it did: steps may have changed by then.
    before_s = np.concatenate([step_s[:1], apart_s])
    next_s = np.append(apart_s, step_s[-1] + 1)
    return np.where(next_s > step_s, np.minimum(step_s, before_s), next_s)


def _regular(
    time_s: NDArray[np.int64], apart_s: NDArray[np.int64], where: str
) -> tuple[SlotGrid, NDArray[np.int64]]:
    # The lower median: a step that occurs, where numpy's median would take the mean of an hour and a gap.
    ordered = np.sort(apart_s)
    step_s = int(ordered[(len(ordered) - 1) // 2]) if len(ordered) else HOUR_S
    index, rest = np.divmod(time_s - time_s[0], step_s)
    if rest.any():
        row = int(np.argmax(rest != 0))
        off, first = format_time(int(time_s[row])), format_time(int(time_s[0]))
        msg = f"{where}: {off} is off the grid of {step_s} s slots from {first}"
        raise SlotError(msg, hint="resample to equal steps, for example hourly means", value=int(time_s[row]))
    return SlotGrid(int(time_s[0]), step_s, int(index[-1]) + 1), index


def _refuse_gaps(known: NDArray[np.bool_], index: NDArray[np.int64], slots: int, where: str) -> None:
    """Count before anything is laid out: two rows a century apart must not ask for the memory between."""
    found = index[known]
    span = int(found[-1] - found[0]) + 1 if len(found) else slots
    if slots > 4 * len(index) + _SPARE_SLOTS:
        span = slots
    missing = span - len(found)
    if missing > GAP_LIMIT_SHARE * span:
        msg = f"{where}: {missing} of {span} slots are missing"
        raise SignalGap(msg, hint="give a file with fewer gaps, or a shorter period", value=missing)


def _laid(
    grid: SlotGrid, index: NDArray[np.int64], values: NDArray[np.float64], quality: NDArray[np.int8]
) -> tuple[NDArray[np.float64], NDArray[np.int8]]:
    laid, said = np.full(len(grid), np.nan), np.full(len(grid), Quality.MISSING, dtype=np.int8)
    laid[index], said[index] = values, quality
    return laid, said


def _hourly(
    time_s: NDArray[np.int64],
    lasts_s: NDArray[np.int64],
    values: NDArray[np.float64],
    quality: NDArray[np.int8],
    where: str,
) -> tuple[SlotGrid, NDArray[np.float64], NDArray[np.int8]]:
    """Average rows of at most an hour over the hours they lie in; a row touches two of them at most."""
    start_s = int(time_s[0]) // HOUR_S * HOUR_S
    hour = (time_s - start_s) // HOUR_S
    here_s = np.minimum(lasts_s, start_s + (hour + 1) * HOUR_S - time_s)
    index = np.concatenate([hour, hour + 1])
    weight_s = np.concatenate([here_s, lasts_s - here_s]).astype(np.float64)
    values, quality = np.tile(values, 2), np.tile(quality, 2)
    touched = weight_s > 0
    index, weight_s, values, quality = index[touched], weight_s[touched], values[touched], quality[touched]
    hours, place = np.unique(index, return_inverse=True)
    finite = np.isfinite(values)
    known_s = np.bincount(place, np.where(finite, weight_s, 0.0))
    total = np.bincount(place, np.where(finite, weight_s * values, 0.0))
    known = known_s >= _KNOWN_SHARE * HOUR_S
    means = np.where(known, total / np.maximum(known_s, 1.0), np.nan)
    said = np.full(len(hours), Quality.ACTUAL, dtype=np.int8)
    # Of several qualities the worst counts; a value taken out leaves an hour that is known in part.
    np.maximum.at(said, place[finite], quality[finite])
    partly = known & (known_s < HOUR_S * (1 - _EXACT))
    said[partly] = np.maximum(said[partly], Quality.ESTIMATED)
    lost = np.bincount(place, quality == Quality.QUARANTINED) > 0
    said[~known] = np.where(lost[~known], Quality.QUARANTINED, Quality.MISSING)
    grid = SlotGrid(start_s, HOUR_S, int(hours[-1]) + 1)
    _refuse_gaps(known, hours, len(grid), where)
    return grid, *_laid(grid, hours, means, said)

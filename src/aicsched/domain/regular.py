"""Lay rows with times on a regular slot grid, without making any value up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.errors import SignalGap, SignalInvalid, SlotError
from aicsched.slots import HOUR_S, SlotGrid, format_time

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["GAP_LIMIT_SHARE", "lay_on_grid"]

# More missing than this, and a forecast or a plan would rest on what was filled in.
GAP_LIMIT_SHARE: Final = 0.25


def lay_on_grid(
    time_s: NDArray[np.int64], values: NDArray[np.float64], where: str
) -> tuple[SlotGrid, NDArray[np.float64], tuple[str, ...]]:
    """Sort rows, drop equal duplicates, and lay them on a grid with NaN in the gaps.

    Parameters
    ----------
    time_s : ndarray of int64, shape (rows,)
        Start of each row's slot, seconds since the epoch, in any order; at least one.
    values : ndarray of float64, shape (rows,)
        One value a row, NaN where it is missing.
    where : str
        What the rows are, for messages.

    Returns
    -------
    SlotGrid
        From the first to the last row; its step is the lower median of the distances
        of rows, an hour for a single row.
    ndarray of float64, shape (len(grid),)
        A value per slot, NaN where no row is.
    tuple of str
        What was put in order: ``"sorted"``, ``"duplicates:3"``, ``"gaps:12"``.

    Raises
    ------
    SignalInvalid
        One slot has two different values.
    SlotError
        A row is off the grid.
    SignalGap
        More than a quarter of the slots are missing.

    Examples
    --------
    >>> grid, laid, notes = lay_on_grid(np.array([7200, 0, 3600, 3600, 14400]), np.arange(5.0) // 4, "rows")
    >>> laid.tolist(), notes
    ([0.0, 0.0, 0.0, nan, 1.0], ('sorted', 'duplicates:1', 'gaps:1'))
    """
    notes: list[str] = []
    order = np.argsort(time_s, kind="stable")
    if (np.diff(time_s) < 0).any():
        notes.append("sorted")
    time_s, values = time_s[order], values[order]
    time_s, values, dropped = _drop_equal(time_s, values, where)
    if dropped:
        notes.append(f"duplicates:{dropped}")
    # The lower median: a step that occurs, where numpy's median would take the mean of an hour and a gap.
    apart_s = np.sort(np.diff(time_s))
    step_s = int(apart_s[(len(apart_s) - 1) // 2]) if len(apart_s) else HOUR_S
    index, rest = np.divmod(time_s - time_s[0], step_s)
    if rest.any():
        row = int(np.argmax(rest != 0))
        off, first = format_time(int(time_s[row])), format_time(int(time_s[0]))
        msg = f"{where}: {off} is off the grid of {step_s} s slots from {first}"
        raise SlotError(msg, hint="resample to equal steps, for example hourly means", value=int(time_s[row]))
    grid = SlotGrid(int(time_s[0]), step_s, int(index[-1]) + 1)
    # Counted before anything is laid out: two rows a century apart must not ask for the memory between them.
    missing = len(grid) - int((~np.isnan(values)).sum())
    if missing > GAP_LIMIT_SHARE * len(grid):
        msg = f"{where}: {missing} of {len(grid)} slots are missing"
        raise SignalGap(msg, hint="give a file with fewer gaps, or a shorter period", value=missing)
    if missing:
        notes.append(f"gaps:{missing}")
    laid = np.full(len(grid), np.nan)
    laid[index] = values
    return grid, laid, tuple(notes)


def _drop_equal(
    time_s: NDArray[np.int64], values: NDArray[np.float64], where: str
) -> tuple[NDArray[np.int64], NDArray[np.float64], int]:
    again = np.flatnonzero(np.diff(time_s) == 0)
    same = (values[again] == values[again + 1]) | (np.isnan(values[again]) & np.isnan(values[again + 1]))
    if not same.all():
        when = format_time(int(time_s[again[~same][0]]))
        msg = f"{where} has two different values for {when}"
        raise SignalInvalid(msg, hint="keep one row a slot", value=when)
    return np.delete(time_s, again + 1), np.delete(values, again + 1), len(again)

"""Values that can't be true, and those that hardly can.

Nothing is mended here. What no grid can have is taken out and counted, so that a
meter's hiccup costs its own slots and not the whole file; where it is more than a
few, the unit is wrong, and the file is refused. A dropout could be true, so it stays
a fact of the series; but nothing is learned from it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.domain.carbon import MAX_INTENSITY_G_PER_KWH
from aicsched.errors import SignalInvalid
from aicsched.slots import format_time

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["dropouts", "impossible", "refuse_wrong_units"]

# In 73 recorded series the steepest step from hour to hour is a factor of 7, but for one that comes
# to nothing by steps. What falls to a fiftieth of the median, and at once, is a dropout.
_LOW_SHARE: Final = 1 / 50
_BESIDE_SHARE: Final = 1 / 5
# From so little a grid may truly come to nothing within a slot.
_BESIDE_G_PER_KWH: Final = 20.0
# Up to so many are a hiccup, more are a wrong unit.
_FEW_SHARE: Final = 0.02
_FEW: Final = 2
# Rows in kg/kWh among rows in g/kWh, or in mg; grids themselves differ by less.
_UNIT_STEP: Final = (400.0, 2500.0)


def impossible(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Find values that no grid can have.

    Parameters
    ----------
    values : ndarray
        Intensity [g/kWh], NaN where missing.

    Returns
    -------
    ndarray of bool, same shape
        True for negative and infinite values and those above 2,500 g/kWh.

    Examples
    --------
    >>> impossible(np.array([300.0, 0.0, -5.0, np.nan, 2501.0, np.inf])).tolist()
    [False, False, True, False, True, True]
    """
    return (values < 0) | (values > MAX_INTENSITY_G_PER_KWH) | np.isinf(values)


def dropouts(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Find values, zeros among them, that fall out of a series and come back at once.

    Parameters
    ----------
    values : ndarray, shape (n,)
        Intensity in order of time [g/kWh], NaN where missing.

    Returns
    -------
    ndarray of bool, shape (n,)
        True for values below a fiftieth of the median between two that are not even
        below a fifth of it, nor below 20 g/kWh. A grid that nears zero by steps keeps
        its zeros.

    Examples
    --------
    >>> dropouts(np.array([300.0, 0.0, np.nan, 310.0, 290.0])).tolist()
    [False, True, False, False, False]
    """
    found = np.zeros(len(values), dtype=np.bool_)
    order = np.flatnonzero(~np.isnan(values))
    known = values[order]
    if not (known > 0).any():
        return found
    median = float(np.median(known[known > 0]))
    low = known < _LOW_SHARE * median
    edges = np.flatnonzero(np.diff(np.concatenate([[False], low, [False]])))
    for first, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        beside = [known[index] for index in (first - 1, end) if 0 <= index < len(known)]
        if beside and min(beside) >= max(_BESIDE_SHARE * median, _BESIDE_G_PER_KWH):
            found[order[first:end]] = True
    return found


def refuse_wrong_units(time_s: NDArray[np.int64], values: NDArray[np.float64], where: str) -> None:
    """Refuse rows of which more than a few are in another unit than the rest.

    Parameters
    ----------
    time_s : ndarray of int64, shape (rows,)
        In any order.
    values : ndarray, shape (rows,)
        Intensity [g/kWh], NaN where missing.
    where : str
        What the rows are, for messages.

    Raises
    ------
    SignalInvalid
        More than two rows and more than 2 % of them are impossible, or lower than
        the rest by the step from one unit to another.
    """
    order = np.argsort(time_s, kind="stable")
    time_s, values = time_s[order], values[order]
    bad = impossible(values)
    low = dropouts(np.where(bad, np.nan, values)) & (values > 0)
    high = bad & np.isfinite(values) & (values > 0)
    level = float(np.nanmedian(values[~bad & ~low])) if (~bad & ~low & ~np.isnan(values)).any() else np.nan
    few = max(_FEW, _FEW_SHARE * len(values))
    for other in (low, high):
        if other.sum() > few and level > 0:
            step = float(np.median(values[other])) / level
            if _UNIT_STEP[0] < max(step, 1 / step) < _UNIT_STEP[1]:
                first = int(np.argmax(other))
                when = format_time(int(time_s[first]))
                msg = (
                    f"{where}: {int(other.sum())} of {len(values)} values are in another unit than the rest, "
                    f"{values[first]:g} at {when} the first"
                )
                raise SignalInvalid(
                    msg,
                    hint="bring all rows to g/kWh, or to one unit and say --unit",
                    value=float(values[first]),
                )
    if bad.sum() > few:
        first = int(np.argmax(bad))
        when = format_time(int(time_s[first]))
        msg = f"{where}: {values[first]:g} g/kWh at {when} can't be true ({int(bad.sum())} such values)"
        hint = f"check the unit; intensities lie in 0..{MAX_INTENSITY_G_PER_KWH:g} g/kWh"
        raise SignalInvalid(msg, hint=hint, value=float(values[first]))

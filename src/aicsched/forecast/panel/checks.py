"""What a panel refuses, and in which words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.errors import ForecastError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import ArrayLike, NDArray

__all__ = ["check_bounds", "check_labels", "check_rows", "check_values"]

# Squares of values must stay within float32, which ends at 3e38.
_LARGEST: Final = 1e15


def check_labels(labels: Iterable[str], known: Mapping[str, int]) -> list[str]:
    """Return new labels as a list.

    Parameters
    ----------
    labels : iterable of str
        To be added.
    known : mapping
        From labels that are taken.

    Returns
    -------
    list of str
        The same.

    Raises
    ------
    ForecastError
        One is no text, empty, known already, or given twice.
    """
    if isinstance(labels, str):
        msg = f"'{labels}' is one label, not a list of them"
        raise ForecastError(msg, hint="put it in a list", value=labels)
    made = list(labels)
    seen: set[str] = set()
    for label in made:
        if not isinstance(label, str) or not label:
            msg = f"{label!r} is no label"
            raise ForecastError(msg, hint="name each series by a text that isn't empty", value=label)
        if label in known or label in seen:
            msg = (
                f"the series '{label}' is in the panel already"
                if label in known
                else f"'{label}' comes twice"
            )
            raise ForecastError(msg, hint="give each series a name of its own", value=label)
        seen.add(label)
    return made


def check_rows(labels: Iterable[str], known: Mapping[str, int]) -> list[int]:
    """Return the rows of labels.

    Parameters
    ----------
    labels : iterable of str
        To be looked up.
    known : mapping
        From labels to rows.

    Returns
    -------
    list of int
        One a label.

    Raises
    ------
    ForecastError
        One is not known.
    """
    if isinstance(labels, str):
        msg = f"'{labels}' is one label, not a list of them"
        raise ForecastError(msg, hint="put it in a list", value=labels)
    made: list[int] = []
    for label in labels:
        if label not in known:
            msg = f"the panel has no series '{label}'"
            raise ForecastError(msg, hint=did_you_mean(str(label), known), value=label)
        made.append(known[label])
    return made


def check_bounds(labels: list[str], lower: ArrayLike, upper: ArrayLike) -> NDArray[np.float64]:
    """Return bounds, one pair a series.

    Parameters
    ----------
    labels : list of str
        The series.
    lower, upper : array_like
        Of all of them, or of each.

    Returns
    -------
    ndarray, shape (len(labels), 2)
        Lowest and highest value.

    Raises
    ------
    ForecastError
        Shapes don't fit, one is NaN, or a lower one isn't below its upper one.
    """
    made = np.empty((len(labels), 2))
    try:
        made[:, 0] = np.asarray(lower, dtype=np.float64)
        made[:, 1] = np.asarray(upper, dtype=np.float64)
    except (TypeError, ValueError) as error:
        msg = f"bounds for {len(labels)} series can't be made of these"
        raise ForecastError(msg, hint="give one number for all, or one a series") from error
    wrong = ~(made[:, 0] < made[:, 1])
    if wrong.any():
        row = int(np.argmax(wrong))
        low, high = made[row].tolist()
        msg = f"series '{labels[row]}': the lower bound {low:g} is not below the upper bound {high:g}"
        raise ForecastError(msg, hint="give lower < upper, or leave them out", value=(low, high))
    return made


def check_values(values: ArrayLike, labels: tuple[str, ...]) -> NDArray[np.float64]:
    """Return new values as the kernels take them.

    Parameters
    ----------
    values : array_like, shape (n,) or (n, k)
        One row a series.
    labels : tuple of str
        The n series.

    Returns
    -------
    ndarray, shape (n, k)
        Contiguous.

    Raises
    ------
    ForecastError
        The shape is wrong, or a value is infinite or beyond 1e15.
    """
    try:
        made = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        msg = "the values are no numbers"
        raise ForecastError(msg, hint="give numbers, and NaN for what is missing") from error
    if made.ndim == 1:
        made = made[:, None]
    if made.ndim != 2 or len(made) != len(labels):
        msg = f"values of shape {np.shape(values)} don't fit {len(labels)} series"
        raise ForecastError(msg, hint="give one value a series, or one row of steps a series")
    bad = np.abs(made) > _LARGEST
    if bad.any():
        row, step = (int(place[0]) for place in np.nonzero(bad))
        value = float(made[row, step])
        msg = f"series '{labels[row]}': value {value:g} at step {step} is infinite or beyond {_LARGEST:g}"
        raise ForecastError(msg, hint="use a larger unit; leave unknown values NaN", value=value)
    return np.ascontiguousarray(made)

"""What a panel foresees, and how far to trust it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from aicsched.slots import SlotGrid

__all__ = ["PanelForecast"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PanelForecast:
    """The forecast of all series of a panel, with their states.

    Parameters
    ----------
    labels : tuple of str
        The series, one a row.
    slots : SlotGrid
        The h steps that are foreseen.
    median : ndarray of float32, shape (n, h)
        The forecast: the weighted median of the pool. NaN before a first value.
    levels : tuple of float
        Quantile levels.
    quantiles : ndarray of float32, shape (len(levels), n, h)
        They never cross, and lie around the median. NaN where no forecast could be
        scored yet.
    points : ndarray of int, shape (n,)
        How many values a series has had.
    missing : ndarray of int, shape (n,)
        How many steps since its first were missing.
    age_steps : ndarray of int, shape (n,)
        Steps since its latest value; 0 is up to date.
    cold : ndarray of bool, shape (n,)
        The furthest lead was scored less than ten times: its band is a guess.
    stale : ndarray of bool, shape (n,)
        The latest three steps or more are missing.
    changed : ndarray of bool, shape (n,)
        The level changed within the latest horizon: what was learned before counts less.
    """

    labels: tuple[str, ...]
    slots: SlotGrid
    median: NDArray[np.float32]
    levels: tuple[float, ...]
    quantiles: NDArray[np.float32]
    points: NDArray[np.int64]
    missing: NDArray[np.int64]
    age_steps: NDArray[np.int64]
    cold: NDArray[np.bool_]
    stale: NDArray[np.bool_]
    changed: NDArray[np.bool_]

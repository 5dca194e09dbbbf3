"""What a panel's step, horizon and levels make of the state of one series."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.domain.carbon import frozen_array
from aicsched.errors import ForecastError, SlotError
from aicsched.forecast.kernels.panel import layout as at

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["MAX_HORIZON", "Geometry"]

DAY_S: Final = 86_400
LONGEST_STEP_S: Final = DAY_S // 4
MAX_HORIZON: Final = 4096
_DAY_BUCKETS: Final = 48
_WEEK_BUCKETS: Final = 168
_ANCHORS: Final = 4
# A forecast for a lead is put aside three times within that lead: often enough to learn a band from
# a few days, seldom enough to store.
_WAITING: Final = 3
# Of a normal distribution, from mean absolute error to standard deviation: where a band starts.
_SIGMA_PER_MAE: Final = math.sqrt(math.pi / 2)


@dataclass(frozen=True)
class Geometry:
    """Sizes and places in the state.

    Parameters
    ----------
    step_s : int
        Seconds between values; divides a day and is at most 6 h.
    horizon : int
        Furthest lead that is scored [steps].
    levels : tuple of float
        Quantile levels, rising, each between 0 and 1.

    Raises
    ------
    SlotError
        The step is no equal part of a day, or too long.
    ForecastError
        Horizon or levels are out of range.
    """

    step_s: int
    horizon: int
    levels: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.step_s < 1 or DAY_S % self.step_s or self.step_s > LONGEST_STEP_S:
            msg = f"steps of {self.step_s} s are no equal parts of a day of at most 6 h"
            raise SlotError(msg, hint="use for example 60, 300 or 3600", value=self.step_s)
        if not 1 <= self.horizon <= MAX_HORIZON:
            msg = f"a horizon of {self.horizon} steps is out of range"
            raise ForecastError(msg, hint=f"use 1 to {MAX_HORIZON}", value=self.horizon)
        rising = all(low < high for low, high in zip(self.levels, self.levels[1:], strict=False))
        if not self.levels or not rising or not 0 < self.levels[0] <= self.levels[-1] < 1:
            msg = f"quantile levels {self.levels} don't rise between 0 and 1"
            raise ForecastError(msg, hint="use for example (0.1, 0.5, 0.9)", value=self.levels)

    @cached_property
    def tracked(self) -> NDArray[np.float64]:
        """The levels that are tracked: all but the median, which is the forecast itself."""
        return frozen_array([level for level in self.levels if level != 0.5])

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """Slots a day, buckets of the day and of the week, and tracked levels, for the kernels."""
        per_day = DAY_S // self.step_s
        return _frozen_integers(
            [per_day, min(per_day, _DAY_BUCKETS), min(7 * per_day, _WEEK_BUCKETS), len(self.tracked)]
        )

    @cached_property
    def anchors(self) -> NDArray[np.int64]:
        """One row an anchor lead, for the kernels; its columns are named in `layout`."""
        grid = self.horizon ** (np.arange(_ANCHORS) / (_ANCHORS - 1))
        leads = np.unique(np.rint(grid).astype(np.int64)).tolist()
        strides = [max(lead // _WAITING, 1) for lead in leads]
        waiting = [-(-lead // stride) for lead, stride in zip(leads, strides, strict=True)]
        nearer = [lead // (2 * count) for lead, count in zip(leads, waiting, strict=True)]
        place = at.DAY + int(self.sizes[at.DAY_BUCKETS] + self.sizes[at.WEEK_BUCKETS])
        block = at.OFFSETS + len(self.tracked)
        blocks = [place + block * turn for turn in range(len(leads))]
        place += block * len(leads)
        queues = [place + (at.EXPERTS + 1) * sum(waiting[:turn]) for turn in range(len(leads))]
        return _frozen_integers(list(zip(leads, strides, waiting, blocks, queues, nearer, strict=True)))

    @cached_property
    def places(self) -> int:
        """How many float32 a series has."""
        last = self.anchors[-1]
        return int(last[at.QUEUE] + last[at.WAITING] * (at.EXPERTS + 1))

    @cached_property
    def fresh(self) -> NDArray[np.float32]:
        """The state of a series that has seen nothing."""
        row = np.zeros(self.places, dtype=np.float32)
        row[at.COVARIANCE + np.array([i * (i + 3) // 2 for i in range(at.REGRESSORS)])] = 1.0
        first_block, first_queue = int(self.anchors[0, at.BLOCK]), int(self.anchors[0, at.QUEUE])
        row[at.DAY : first_block] = np.nan
        row[first_queue:] = np.nan
        starts = [NormalDist().inv_cdf(level) * _SIGMA_PER_MAE for level in self.tracked.tolist()]
        for block in self.anchors[:, at.BLOCK].tolist():
            row[block + at.WEIGHTS : block + at.OFFSETS] = 1.0 / at.EXPERTS
            row[block + at.OFFSETS : block + at.OFFSETS + len(starts)] = starts
        return row

    def positions(self, horizon: int) -> NDArray[np.float64]:
        """Return where leads lie between anchors, straight in the logarithm of the lead.

        Parameters
        ----------
        horizon : int
            How many leads.

        Returns
        -------
        ndarray, shape (horizon,)
            From 0, the first anchor or before it, to the last one's number.
        """
        # An anchor stands for the mean of the leads that it is scored at.
        shorter = (self.anchors[:, at.WAITING] - 1) * self.anchors[:, at.NEARER] / 2
        leads = np.log(self.anchors[:, at.LEAD] - shorter)
        return frozen_array(np.interp(np.log(np.arange(1.0, horizon + 1)), leads, np.arange(len(leads))))

    def mixes(self, levels: tuple[float, ...]) -> NDArray[np.float64]:
        """Return how wanted levels are made of tracked ones: straight between neighbours.

        Parameters
        ----------
        levels : tuple of float
            Wanted, each within the tracked ones or 0.5.

        Returns
        -------
        ndarray, shape (len(levels), len(tracked))
            Shares of the tracked levels; what is missing to 1 is the median.

        Raises
        ------
        ForecastError
            A level lies outside.
        """
        known = sorted({*self.levels, 0.5})
        made = np.zeros((len(levels), len(self.tracked)))
        for row, level in enumerate(levels):
            if not known[0] <= level <= known[-1]:
                msg = f"level {level:g} lies outside the levels {known[0]:g} to {known[-1]:g} of this panel"
                raise ForecastError(msg, hint="make the panel with this level", value=level)
            right = max(int(np.searchsorted(known, level)), 1) if len(known) > 1 else 0
            for place, share in _neighbours(known, level, right):
                if known[place] != 0.5:
                    made[row, int(np.searchsorted(self.tracked, known[place]))] += share
        return frozen_array(made)


def _neighbours(known: list[float], level: float, right: int) -> list[tuple[int, float]]:
    """Return the places of the two known levels around one, with their shares."""
    if right == 0:
        return [(0, 1.0)]
    share = (level - known[right - 1]) / (known[right] - known[right - 1])
    return [(right - 1, 1.0 - share), (right, share)]


def _frozen_integers(values: list[int] | list[tuple[int, ...]]) -> NDArray[np.int64]:
    made = np.array(values, dtype=np.int64)
    made.flags.writeable = False
    return made

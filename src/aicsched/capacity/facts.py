"""What the time to recover is made of, as far as anybody knows it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from aicsched.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["DrillFacts", "Spread"]


@dataclass(frozen=True, slots=True)
class Spread:
    """A fact that nobody knows exactly.

    Parameters
    ----------
    low, usual, high : float
        Rising, >= 0; drawn from the triangle between them.

    Raises
    ------
    InputError
        They don't rise, or are negative or not finite.

    Examples
    --------
    >>> Spread.parse("30:60:120")
    Spread(low=30.0, usual=60.0, high=120.0)
    """

    low: float
    usual: float
    high: float

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.usual <= self.high < math.inf:
            msg = f"{self.low:g}:{self.usual:g}:{self.high:g} doesn't rise from 0 or more"
            raise InputError(msg, hint="give low:usual:high, such as 30:60:120", value=self)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``low:usual:high``, or one number for all three.

        Parameters
        ----------
        text : str
            What a user wrote.

        Returns
        -------
        Spread
            Checked.

        Raises
        ------
        InputError
            It is something else.
        """
        try:
            values = [float(part) for part in text.split(":")]
        except ValueError:
            values = []
        if len(values) not in {1, 3}:
            msg = f"'{text}' is no spread"
            raise InputError(msg, hint="give low:usual:high, such as 30:60:120, or one number", value=text)
        return cls(values[0], values[len(values) // 2], values[-1])

    def draw(self, rng: np.random.Generator, count: int) -> Floats:
        """Draw from the triangle.

        Parameters
        ----------
        rng : Generator
            Whose state moves on.
        count : int
            How many.

        Returns
        -------
        ndarray, shape (count,)
            Between low and high.
        """
        if self.low == self.high:
            return np.full(count, self.low)
        return rng.triangular(self.low, self.usual, self.high, count)


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillFacts:
    """What the time to recover is made of. The defaults are assumptions: put your own measurements in.

    Parameters
    ----------
    detection_s : Spread
        From the loss until somebody or something acts [s].
    shift_s : Spread
        Until traffic arrives elsewhere: the time DNS answers are kept, or a load balancer's turn [s].
    pod_start_s : Spread
        From the order until a pod is ready, its image at hand [s].
    pods_per_s : Spread
        Pods that one region can start at the same time, each second [1/s].
    restore_gb_per_s : Spread
        Data that one region can restore [GB/s].
    warm : bool
        Reserved pods run already: none must start. For plans with a reserve of their own.
    rto_limit_s, rpo_limit_s : float
        What the runbook promises [s].
    """

    detection_s: Spread = Spread(20.0, 45.0, 90.0)
    shift_s: Spread = Spread(20.0, 60.0, 90.0)
    pod_start_s: Spread = Spread(3.0, 10.0, 40.0)
    pods_per_s: Spread = Spread(5.0, 10.0, 20.0)
    restore_gb_per_s: Spread = Spread(0.5, 1.0, 2.0)
    warm: bool = False
    rto_limit_s: float = 300.0
    rpo_limit_s: float = 60.0

    def __post_init__(self) -> None:
        for name in ("pods_per_s", "restore_gb_per_s"):
            if getattr(self, name).low <= 0:
                msg = f"{name}: a rate of 0 never ends"
                raise InputError(msg, hint="give positive rates", value=getattr(self, name))

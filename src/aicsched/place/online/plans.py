"""When jobs are to run: the outcome of a decision, for one job or a hundred thousand."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Pool", "RunPlans", "Stretch"]


class Pool(IntEnum):
    """What kind of machine a run asks for."""

    ANY = 0
    """A reserved one where there is one, else one on demand."""
    SPOT = 1
    """A cheap one that may be taken away."""


class Stretch(NamedTuple):
    """A stretch of time in which a job may run.

    Parameters
    ----------
    start_s, stop_s : float
        From when to when; an infinite stop means until it is done [s].
    scale : float
        How many times its threads an elastic job gets.
    rate : float
        How many times as fast it then gets on.
    """

    start_s: float
    stop_s: float = np.inf
    scale: float = 1.0
    rate: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RunPlans:
    """Plans of n jobs: when each may run, until it is done.

    A plan is a row of stretches of time. A job runs in them, one after the other, and
    stops when it is done; so a plan needs no true length. The last one is open
    (its stop is infinite) unless the policy knows the length.

    Parameters
    ----------
    first : ndarray of int64, shape (n + 1,)
        Job i has the stretches ``first[i]`` to ``first[i + 1] - 1``.
    start_s, stop_s : ndarray of float64, shape (m,)
        The stretches, rising within a job [s].
    scale, rate : ndarray of float64, shape (m,)
        As in `Stretch`.
    pool : ndarray of int8, shape (n,)
        What each job asks for, a `Pool`.
    eager : ndarray of bool, shape (n,)
        The job may begin before its first stretch, as soon as the reserved pool has room for it.
    """

    first: NDArray[np.int64]
    start_s: NDArray[np.float64]
    stop_s: NDArray[np.float64]
    scale: NDArray[np.float64]
    rate: NDArray[np.float64]
    pool: NDArray[np.int8]
    eager: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.eager)

    @classmethod
    def of(
        cls,
        first: NDArray[np.int64],
        start_s: NDArray[np.float64],
        stop_s: NDArray[np.float64],
        *,
        scale: NDArray[np.float64] | None = None,
        rate: NDArray[np.float64] | None = None,
    ) -> RunPlans:
        """Plan jobs by their stretches, on any machine, none of them eager.

        Parameters
        ----------
        first : ndarray of int64, shape (n + 1,)
            Where each job's stretches begin.
        start_s, stop_s : ndarray of float64, shape (m,)
            The stretches [s].
        scale, rate : ndarray of float64, shape (m,), optional
            By default 1.

        Returns
        -------
        RunPlans
            As given.
        """
        count = len(first) - 1
        return cls(
            first=first,
            start_s=start_s,
            stop_s=stop_s,
            scale=np.ones(len(start_s)) if scale is None else scale,
            rate=np.ones(len(start_s)) if rate is None else rate,
            pool=np.zeros(count, dtype=np.int8),
            eager=np.zeros(count, dtype=np.bool_),
        )

    @classmethod
    def starting_at(cls, start_s: NDArray[np.float64]) -> RunPlans:
        """Plan jobs that start at some time and run through.

        Parameters
        ----------
        start_s : ndarray of float64, shape (n,)
            When [s].

        Returns
        -------
        RunPlans
            One open stretch a job.

        Examples
        --------
        >>> RunPlans.starting_at(np.array([3600.0])).stretches(0)
        (Stretch(start_s=3600.0, stop_s=inf, scale=1.0, rate=1.0),)
        """
        count = len(start_s)
        return cls.of(np.arange(count + 1, dtype=np.int64), start_s, np.full(count, np.inf))

    def take(self, rows: NDArray[np.int64]) -> RunPlans:
        """Return some of the plans.

        Parameters
        ----------
        rows : ndarray of int64
            Which rows.

        Returns
        -------
        RunPlans
            In this order.
        """
        counts = np.diff(self.first)[rows]
        first = np.concatenate([[0], np.cumsum(counts)])
        cells = np.repeat(self.first[rows] - first[:-1], counts) + np.arange(first[-1])
        return RunPlans(
            first=first.astype(np.int64),
            start_s=self.start_s[cells],
            stop_s=self.stop_s[cells],
            scale=self.scale[cells],
            rate=self.rate[cells],
            pool=self.pool[rows],
            eager=self.eager[rows],
        )

    def stretches(self, index: int) -> tuple[Stretch, ...]:
        """Return one job's stretches.

        Parameters
        ----------
        index : int
            Which row.

        Returns
        -------
        tuple of Stretch
            In the order of time.
        """
        rows = slice(int(self.first[index]), int(self.first[index + 1]))
        columns = (self.start_s, self.stop_s, self.scale, self.rate)
        return tuple(
            Stretch(*cells) for cells in zip(*(column[rows].tolist() for column in columns), strict=True)
        )

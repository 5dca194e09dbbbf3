"""Why a queue does not fit: a small set of jobs and limits that cannot go together.

Infeasibility is shown by a linear relaxation of the direct, time-indexed model, or, where
only whole jobs don't fit, by CP-SAT. The jobs and limits that its dual leans on are thinned
out one by one, as long as the rest clashes (deletion filter: Chinneck, Dravnieks 1991,
doi:10.1287/ijoc.3.2.157). What stays is irreducible: without any one of its jobs, or
with any one of its limits lifted, the rest fits. In a set too large for CP-SAT that
holds for the relaxation only, and the result says so.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.domain.carbon import frozen_array
from aicsched.place.cpsat import count_columns, solve_exact
from aicsched.place.part import some_jobs
from aicsched.place.relaxation import Relaxation

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from aicsched.place.problem import Problem

    Indices = NDArray[np.int64]

__all__ = ["Conflict", "find_conflict"]

_MOST_COLUMNS: Final = 20_000
_MOST_EXACT_COLUMNS: Final = 2_000
_MOST_CHECKS: Final = 400
# Time of a relaxation grows about with the square of its columns: in squares of a thousand.
_MOST_WORK: Final = 600.0
_EXACT_LIMIT: Final = 1.0
_ANY_GAP: Final = 1e9


@dataclass(frozen=True, slots=True, eq=False)
class Conflict:
    """Jobs and limits that cannot go together.

    Parameters
    ----------
    jobs : ndarray of int64
        Indices of the jobs, rising.
    cells : ndarray of int64
        The limits: indices into the flat capacity (K, R, T), rising.
    irreducible : bool
        Whether plans of whole jobs prove that the rest fits without any one of the jobs, and
        that, where no other limits hold, all of them fit with any one of these lifted.
    """

    jobs: Indices
    cells: Indices
    irreducible: bool


def _part(problem: Problem, jobs: Indices, cells: Indices) -> Problem:
    """Return some of the jobs under some of the limits."""
    capacity = np.full(problem.capacity.size, np.inf)
    capacity[cells] = problem.capacity.ravel()[cells]
    limited = replace(problem, capacity=frozen_array(capacity.reshape(problem.capacity.shape)))
    return some_jobs(limited, jobs)


def _thinned(items: Indices, core: Callable[[Indices], Indices | None]) -> Indices:
    """Take items out, many at once and then one by one, while the rest still clashes."""
    size = max(1, len(items) // 2)
    while True:
        at = 0
        while at < len(items):
            rest = np.delete(items, np.s_[at : at + size])
            kept = core(rest)
            if kept is None:
                at += size
            else:
                at = int(np.isin(items[:at], kept).sum())
                items = rest[np.isin(rest, kept)]
        if size == 1:
            return items
        size = max(1, min(size // 2, len(items) // 2))


class _Proof:
    """Tests of whether jobs fit under limits, counted; None says that they do, or that it is not known."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.relaxation = Relaxation(problem)
        self.columns = np.bincount(self.relaxation.owner, minlength=len(problem.job_ids))
        self.checks = 0
        self.work = 0.0
        self.sure = True

    def spent(self) -> bool:
        """Whether the tests allowed are used up."""
        return self.checks > _MOST_CHECKS or self.work > _MOST_WORK

    def linear(self, jobs: Indices, cells: Indices) -> tuple[Indices, Indices] | None:
        """Test the relaxation."""
        if not self.spent():
            self.checks += 1
            self.work += float(self.columns[jobs].sum() / 1000) ** 2
        return None if self.spent() else self.relaxation.core(jobs, cells)

    def whole(self, jobs: Indices, cells: Indices) -> tuple[Indices, Indices] | None:
        """Test whole jobs, where the relaxation fits."""
        found = self.linear(jobs, cells)
        if found is not None or not len(jobs) or self.spent():
            return found
        exact = solve_exact(_part(self.problem, jobs, cells), gap=_ANY_GAP, limit=_EXACT_LIMIT)
        if exact.choice is None and exact.bound_g == float("inf"):
            return jobs, cells
        self.sure &= exact.choice is not None
        return None


def _thin(
    problem: Problem,
    core: Callable[[Indices, Indices], tuple[Indices, Indices] | None],
    jobs: Indices,
    cells: Indices,
) -> tuple[Indices, Indices]:
    """Thin out the jobs, then the limits."""
    # The small and the free go first, so that the few large and tight ones stay.
    weight = (problem.demand[:, 0] * problem.n_slots / (problem.last - problem.first))[jobs]
    queue = jobs[np.argsort(weight, kind="stable")]
    jobs = np.sort(_thinned(queue, lambda some: _item(core(np.sort(some), cells), 0)))
    leaned = _item(core(jobs, cells), 1)
    return jobs, _thinned(cells if leaned is None else leaned, lambda some: _item(core(jobs, some), 1))


def find_conflict(problem: Problem) -> Conflict | None:
    """Find a small set of jobs and limits that cannot go together.

    Parameters
    ----------
    problem : Problem
        One that does not fit, or may not.

    Returns
    -------
    Conflict or None
        None where no clash was found: the queue fits, the problem is large (more than 20,000
        columns in the direct model), or only whole jobs clash and there are more than 2,000.
    """
    if count_columns(problem) > _MOST_COLUMNS:
        return None
    proof = _Proof(problem)
    limits = np.flatnonzero(np.isfinite(problem.capacity.ravel()))
    found = proof.linear(np.arange(len(problem.job_ids)), limits)
    if found is not None:
        found = _thin(problem, proof.linear, *found)
    elif count_columns(problem) <= _MOST_EXACT_COLUMNS:
        found = proof.whole(np.arange(len(problem.job_ids)), limits)
    if found is None:
        return None
    exact = count_columns(_part(problem, *found)) <= _MOST_EXACT_COLUMNS
    # Whether the others fit is asked under all limits, not only under those that clash here.
    jobs, cells = _thin(problem, proof.whole, found[0], limits) if exact else found
    return Conflict(jobs, cells, exact and proof.sure and not proof.spent())


def _item(found: tuple[Indices, Indices] | None, which: int) -> Indices | None:
    return None if found is None else found[which]

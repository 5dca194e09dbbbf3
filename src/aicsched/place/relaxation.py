"""The direct, time-indexed model as rows and columns, and what its linear relaxation tells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.place.problem import Problem

    Indices = NDArray[np.int64]

__all__ = ["Relaxation"]

_LEFT_OUT: Final = 1e-6
_DUAL: Final = 1e-9


class Relaxation:
    """Which part of some jobs fits under some of the limits.

    Rows say, in turn: a job runs once; a job in pieces has all its slots in its region, and
    each slot at most once; a limit is kept. A column that alone breaks a limit is out while
    that limit holds. The order of jobs is left out: their windows already heed it.

    Parameters
    ----------
    problem : Problem
        The problem; some tens of thousands of columns are solved in a second.

    Attributes
    ----------
    matrix : csr_array, shape (rows, columns)
        Rows of jobs, then one a cell of `capacity`.
    most : ndarray, shape (rows,)
        What a row of ``matrix @ x`` may come to.
    owner, region, slot : ndarray of int64, shape (columns,)
        Job and region of a column, and its first slot; -1 where it says only that a job in pieces runs in
        the region.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.capacity = problem.capacity.ravel()
        self.entries: list[tuple[Indices, Indices, NDArray[np.float64]]] = []
        self.row_job: list[int] = list(range(len(problem.job_ids)))
        self.columns: list[tuple[Indices, Indices, Indices]] = []
        self.width = 0
        for job in range(len(problem.job_ids)):
            for region in np.flatnonzero(problem.allowed[job]).tolist():
                (self._pieces if problem.suspendable[job] else self._in_one)(job, region)
        from scipy.sparse import csr_array  # noqa: PLC0415 - takes a while to load

        rows, columns, values = (np.concatenate(parts) for parts in zip(*self.entries, strict=True))
        own = len(self.row_job)
        # Rows of limits were numbered from -1 - cell, since the rows of jobs were not yet counted.
        rows = np.where(rows < 0, own - 1 - rows, rows)
        shape = (own + self.capacity.size, self.width)
        self.matrix: Any = csr_array((values, (rows, columns)), shape=shape)
        once = len(problem.job_ids)
        self.most = np.concatenate((np.repeat([-1.0, 0.0], [once, own - once]), self.capacity))
        self.owner, self.region, self.slot = (
            np.concatenate(part) for part in zip(*self.columns, strict=True)
        )
        alone: Any = self.matrix[own:].tocoo()
        self.row_owner = np.array(self.row_job)
        over = alone.data > self.capacity[alone.row] * (1 + _LEFT_OUT)
        self.banned_by, self.banned = alone.row[over], alone.col[over]

    def _put(self, rows: Indices, columns: Indices, values: float | NDArray[np.float64]) -> None:
        self.entries.append((rows, columns, np.broadcast_to(np.asarray(values, np.float64), rows.shape)))

    def _column(self, job: int, region: int, slots: Indices) -> Indices:
        """Take on a column for each of some slots; return their numbers."""
        self.columns.append((np.full(len(slots), job), np.full(len(slots), region), slots))
        self.width += len(slots)
        return np.arange(self.width - len(slots), self.width)

    def _hold(self, job: int, region: int, slots: Indices, columns: Indices) -> None:
        _, regions, count = self.problem.shape
        for resource, held in enumerate(self.problem.demand[job].tolist()):
            if held:
                self._put(-1 - ((resource * regions + region) * count + slots), columns, held)

    def _in_one(self, job: int, region: int) -> None:
        length = int(self.problem.n_slots[job])
        starts = np.arange(self.problem.first[job], self.problem.last[job] - length + 1)
        columns = self._column(job, region, starts)
        self._put(np.full(len(starts), job), columns, -1.0)
        self._hold(job, region, (starts[:, None] + np.arange(length)).ravel(), np.repeat(columns, length))

    def _pieces(self, job: int, region: int) -> None:
        slots = np.arange(self.problem.first[job], self.problem.last[job])
        here = int(self._column(job, region, np.array([-1]))[0])
        columns = self._column(job, region, slots)
        rows = len(self.row_job) + np.arange(len(slots) + 1)
        self.row_job += [job] * len(rows)
        self._put(
            np.array([job, rows[0]]), np.array([here, here]), np.array([-1.0, self.problem.n_slots[job]])
        )
        self._put(np.full(len(slots), rows[0]), columns, -1.0)
        self._put(np.concatenate((rows[1:], rows[1:])), np.append(columns, np.full(len(slots), here)),
                  np.repeat([1.0, -1.0], len(slots)))  # fmt: skip
        self._hold(job, region, slots, columns)

    def costs_g(self) -> NDArray[np.float64]:
        """Return what each column emits [g], shape (columns,)."""
        problem = self.problem
        owner, region = self.owner, self.region
        summed = np.zeros((problem.g_per_kwh.shape[0], problem.g_per_kwh.shape[1] + 1))
        np.cumsum(problem.g_per_kwh, axis=1, out=summed[:, 1:])
        whole = ~problem.suspendable[owner]
        length = np.where(whole, problem.n_slots[owner], self.slot >= 0)
        begin = np.maximum(self.slot, 0)
        run = problem.energy_kwh_per_w[owner] * problem.watt_factor_w[region]
        moved = np.where(whole | (self.slot < 0), problem.transfer_g[owner, region], 0.0)
        return run * (summed[region, begin + length] - summed[region, begin]) + moved

    def prices_g(self) -> NDArray[np.float64]:
        """Return the prices of the limits at the optimum of the relaxation [g], shape (K, R, T).

        Returns
        -------
        ndarray
            All 0 where the relaxation has no solution.
        """
        from scipy.optimize import linprog  # noqa: PLC0415 - takes a while to load

        rows = np.flatnonzero(np.isfinite(self.most))
        prices = np.zeros(len(self.most))
        found: Any = linprog(self.costs_g(), A_ub=self.matrix[rows], b_ub=self.most[rows], method="highs-ds")
        if found.status == 0:
            prices[rows] = np.maximum(-found.ineqlin.marginals, 0.0)
        return prices[len(self.row_owner) :].reshape(self.problem.capacity.shape)

    def core(self, jobs: Indices, cells: Indices) -> tuple[Indices, Indices] | None:
        """Return those jobs and limits that a proof of a clash leans on.

        Parameters
        ----------
        jobs : ndarray of int64
            Indices of jobs, rising.
        cells : ndarray of int64
            Limits that hold, as indices into the flat capacity (K, R, T), rising.

        Returns
        -------
        tuple of ndarray, or None
            Some of the jobs and of the limits, which clash, too; None where all fit.
        """
        from scipy.optimize import linprog  # noqa: PLC0415 - takes a while to load
        from scipy.sparse import eye_array, hstack  # noqa: PLC0415

        if not len(jobs):
            return None
        held = np.isin(self.banned_by, cells)
        columns = np.isin(self.owner, jobs)
        columns[self.banned[held]] = False
        own = np.flatnonzero(np.isin(self.row_owner, jobs))
        part = self.matrix[np.concatenate((own, len(self.row_owner) + cells))][:, columns]
        # What is left out of each job pays 1, so that the least is above 0 just when not all fits.
        count, height = len(jobs), part.shape[0]
        slack = -eye_array(height, count)
        limit = np.concatenate((self.most[own], self.capacity[cells]))
        cost = np.concatenate((np.zeros(part.shape[1]), np.ones(count)))
        whole: Any = hstack([part, slack]).tocsc()
        found: Any = linprog(cost, A_ub=whole, b_ub=limit, method="highs-ds")
        if found.status != 0 or found.fun <= _LEFT_OUT:
            return None
        dual = np.abs(found.ineqlin.marginals) > _DUAL
        leaned = np.zeros(self.capacity.size, np.bool_)
        leaned[cells[dual[len(own) :]]] = True
        leaned[self.banned_by[held & np.isin(self.owner[self.banned], jobs)]] = True
        return jobs[dual[:count]], np.flatnonzero(leaned)

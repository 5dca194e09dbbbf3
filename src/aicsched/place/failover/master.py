"""The master problem: bundles of services mix the answers that they gave to different prices.

A column is what one bundle did at some prices (Dantzig and Wolfe 1960,
doi:10.1287/opre.8.1.101). Services that rank their regions alike share a bundle, so
that a few hundred columns stand for any number of services, and any mix of a
bundle's answers is a plan of each service in it. GLOP starts anew from its last
basis.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from ortools.linear_solver import pywraplp

from aicsched.place.failover.oracle import Answer, SharedOracle

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.place.failover.oracle import DedicatedOracle

__all__ = ["Master", "Mixed", "bundles_of"]

# A price of capacity above this many times what all services emit on their own counts as "does not fit".
_DEAREST: Final = 1e3


@dataclass(frozen=True, slots=True, eq=False)
class Mixed:
    """An optimum over the columns known so far.

    Parameters
    ----------
    objective : float
        Its value [g/h]; when filling, the fullest region's share of its capacity less one.
    overfull : float
        By what share all capacity would have to grow.
    prices : ndarray, shape (rows,)
        Per thread [g/h].
    shares : tuple of (int, ndarray)
        Answers in use: their number, and the share of each bundle that follows it, shape (N,).
    """

    objective: float
    overfull: float
    prices: NDArray[np.float64]
    shares: tuple[tuple[int, NDArray[np.float64]], ...]


def bundles_of(
    problem_cost: NDArray[np.float64],
    allowed: NDArray[np.int64],
    demand_vcpus: NDArray[np.float64],
    most: int,
) -> NDArray[np.int64]:
    """Bundle services that rank their regions alike.

    Parameters
    ----------
    problem_cost : ndarray, shape (S, K)
        What a thread costs in each allowed region at good prices.
    allowed : ndarray of int64, shape (S, K)
        Regions, -1 behind the last.
    demand_vcpus : ndarray, shape (S,)
        Bundles get about equal demand.
    most : int
        At most so many bundles.

    Returns
    -------
    ndarray of int64, shape (S,)
        A bundle a service, counted from 0 without gaps.
    """
    count = len(allowed)
    if count <= most:
        return np.arange(count)
    cost = np.where(allowed >= 0, problem_cost, np.inf)
    ranked = np.take_along_axis(allowed, np.argsort(cost, axis=1, kind="stable"), axis=1)
    order = np.lexsort(tuple(ranked[:, at] for at in reversed(range(min(3, ranked.shape[1])))))
    reached = np.cumsum(demand_vcpus[order])
    bundle = np.empty(count, dtype=np.int64)
    bundle[order] = np.minimum(most - 1, (reached / reached[-1] * most).astype(np.int64))
    return np.unique(bundle, return_inverse=True)[1].astype(np.int64)


class Master:
    """The restricted master over a growing set of columns.

    Parameters
    ----------
    oracle : DedicatedOracle or SharedOracle
        Whose answers become columns.
    bundle : ndarray of int64, shape (S,)
        A bundle a service.
    scale_g : float
        Grams an hour of about the size of the optimum, > 0.
    fill : bool
        Minimise the fullest region's share instead of grams.
    """

    def __init__(
        self,
        oracle: DedicatedOracle | SharedOracle,
        bundle: NDArray[np.int64],
        *,
        scale_g: float,
        fill: bool,
    ) -> None:
        self.oracle = oracle
        self.bundle = bundle
        self.count = int(bundle.max()) + 1
        self.scale_g = 1.0 if fill else scale_g
        self.answers: list[Answer] = []
        self._vcpus_scale = float(oracle.problem.demand_vcpus.sum()) / len(oracle.problem.regions)
        self._columns: list[list[tuple[int, Any]]] = []
        self._seen: list[dict[bytes, int]] = [{} for _ in range(self.count)]
        self._solver: Any = pywraplp.Solver.CreateSolver("GLOP")
        self._objective: Any = self._solver.Objective()
        self._objective.SetMinimization()
        self._build(fill=fill)

    def _build(self, *, fill: bool) -> None:
        solver, endless = self._solver, self._solver.infinity()
        problem = self.oracle.problem
        room = problem.capacity_vcpus / self._vcpus_scale
        self._overfull: Any = solver.NumVar(-1.0 if fill else 0.0, endless, "")
        self._objective.SetCoefficient(self._overfull, 1.0 if fill else _DEAREST)
        self._rows: list[Any] = []
        for at in range(self.oracle.rows):
            capacity = float(room[at]) if at < len(room) else 0.0
            row = solver.Constraint(-endless, capacity)
            row.SetCoefficient(self._overfull, -capacity)
            self._rows.append(row)
        self._whole: list[Any] = [solver.Constraint(1.0, 1.0) for _ in range(self.count)]
        if isinstance(self.oracle, SharedOracle):
            regions = len(problem.regions)
            for region in range(regions):
                spare = solver.NumVar(0.0, endless, "")
                cost = float(self.oracle.idle_g[region]) * self._vcpus_scale / self.scale_g
                self._objective.SetCoefficient(spare, cost)
                self._rows[region].SetCoefficient(spare, 1.0)
                for row in self._rows[regions + region :: regions]:
                    row.SetCoefficient(spare, -1.0)

    def add(self, answer: Answer) -> int:
        """Take an answer in.

        Parameters
        ----------
        answer : Answer
            Of the oracle.

        Returns
        -------
        int
            How many bundles had not done that before.
        """
        rows = self.oracle.rows
        cells = (self.bundle[:, None] * rows + answer.row).ravel()
        taken = np.bincount(cells, answer.vcpus.ravel(), self.count * rows).reshape(self.count, rows)
        taken /= self._vcpus_scale
        cost = np.bincount(self.bundle, answer.cost_g, self.count) / self.scale_g
        number, columns = len(self.answers), list[tuple[int, Any]]()
        for at in range(self.count):
            mark = taken[at].tobytes() + cost[at].tobytes()
            if mark in self._seen[at]:
                continue
            self._seen[at][mark] = number
            share = self._solver.NumVar(0.0, self._solver.infinity(), "")
            self._objective.SetCoefficient(share, float(cost[at]))
            self._whole[at].SetCoefficient(share, 1.0)
            for row in np.flatnonzero(taken[at]).tolist():
                self._rows[row].SetCoefficient(share, float(taken[at, row]))
            columns.append((at, share))
        if columns:
            self.answers.append(answer)
            self._columns.append(columns)
        return len(columns)

    def forbid_overfull(self) -> None:
        """Hold every capacity: only where the answers known so far can be mixed to a plan."""
        self._overfull.SetBounds(0.0, 0.0)

    def solve(self) -> Mixed | None:
        """Solve to optimality.

        Returns
        -------
        Mixed or None
            Prices and shares; None where GLOP gave up for numerical reasons.
        """
        if self._solver.Solve() != pywraplp.Solver.OPTIMAL:
            return None
        factor = self.scale_g / self._vcpus_scale
        prices = np.array([max(0.0, -row.dual_value()) for row in self._rows]) * factor
        shares: list[tuple[int, NDArray[np.float64]]] = []
        for number, columns in enumerate(self._columns):
            share = np.zeros(self.count)
            for at, variable in columns:
                share[at] = max(0.0, variable.solution_value())
            if share.any():
                shares.append((number, share))
        overfull = float(self._overfull.solution_value())
        return Mixed(float(self._objective.Value()) * self.scale_g, overfull, prices, tuple(shares))

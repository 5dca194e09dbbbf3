"""The master problem over generated columns, by OR-Tools.

A column is one job in one region on one set of slots. The linear relaxation
gives prices for the oracle; a mixed-integer programme over the columns of jobs
that the relaxation splits gives whole plans. GLOP and SCIP are reached through
``pywraplp``, whose import costs a twentieth of CP-SAT's; limits are counted in
nodes, never in seconds, so that equal input gives equal plans.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from ortools.linear_solver import pywraplp

from aicsched.errors import PlacementError
from aicsched.place.choice import Choice, costs_g, loads_g, pointers

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from aicsched.place.problem import Problem

__all__ = ["Column", "Master", "Relaxed", "columns_of", "near_columns", "solve_columns", "split_jobs"]

_WHOLE: Final = 1 - 1e-6
_NODES: Final = 400


@dataclass(frozen=True, slots=True)
class Column:
    """One way to run one job.

    Parameters
    ----------
    job, region : int
        Indices.
    slots : tuple of int
        Rising.
    cost_g : float
        What it emits [g].
    """

    job: int
    region: int
    slots: tuple[int, ...]
    cost_g: float


@dataclass(frozen=True, slots=True, eq=False)
class Relaxed:
    """An optimum of the relaxation.

    Parameters
    ----------
    objective_g : float
        Its value, a penalty for work left out included [g].
    left_out : float
        Jobs left out, in parts.
    prices_g : ndarray, shape (K, R, T)
        Price of each resource for one slot [g].
    shares : dict of Column to float
        Columns in use.
    """

    objective_g: float
    left_out: float
    prices_g: NDArray[np.float64]
    shares: dict[Column, float]


def columns_of(problem: Problem, choice: Choice, cost_g: NDArray[np.float64]) -> list[Column]:
    """Return a choice as columns."""
    indptr = pointers(problem).tolist()
    slots = choice.slots.tolist()
    regions = choice.region.tolist()
    costs = cost_g.tolist()
    return [
        Column(job, regions[job], tuple(slots[indptr[job] : indptr[job + 1]]), costs[job])
        for job in range(len(problem.job_ids))
    ]


def near_columns(
    problem: Problem,
    answers: Sequence[Choice],
    prices_g: NDArray[np.float64],
    *,
    per_job: int,
) -> list[Column]:
    """Return each job's cheapest distinct columns at some prices, out of what the oracle ever answered."""
    jobs, regions, count = problem.shape
    pointer = pointers(problem)
    # Equal sets of slots get equal sums of fixed random numbers; others hardly ever do, and lose one column.
    marks = np.random.default_rng(0).integers(0, 2**48, size=(regions, count))
    rows: list[NDArray[np.float64]] = []
    costs = [costs_g(problem, answer) for answer in answers]
    for number, (answer, cost_g) in enumerate(zip(answers, costs, strict=True)):
        mark = np.add.reduceat(marks[np.repeat(answer.region, problem.n_slots), answer.slots], pointer[:-1])
        priced = cost_g + loads_g(problem, answer, prices_g)
        rows.append(
            np.stack([np.arange(float(jobs)), mark.astype(np.float64), priced, np.full(jobs, float(number))])
        )
    table = np.concatenate(rows, axis=1)
    _, distinct = np.unique(table[:2], axis=1, return_index=True)
    table = table[:, distinct]
    table = table[:, np.lexsort((table[1], table[2], table[0]))]
    job = table[0].astype(np.int64)
    kept = np.arange(job.size) - np.searchsorted(job, np.arange(jobs))[job] < per_job
    made: list[Column] = []
    for index, number in zip(job[kept].tolist(), table[3, kept].astype(np.int64).tolist(), strict=True):
        slots = answers[number].slots[pointer[index] : pointer[index + 1]].tolist()
        made.append(
            Column(index, int(answers[number].region[index]), tuple(slots), float(costs[number][index]))
        )
    return made


class Master:
    """The linear relaxation over a growing set of columns.

    Parameters
    ----------
    problem : Problem
        The problem.
    penalty_g : float
        Price of leaving a whole job out [g]; above any cost, so that what is left
        out at the optimum proves that not all fits.
    """

    def __init__(self, problem: Problem, penalty_g: float) -> None:
        self.problem = problem
        self.columns: dict[Column, Any] = {}
        self._solver: Any = pywraplp.Solver.CreateSolver("GLOP")
        self._objective: Any = self._solver.Objective()
        self._objective.SetMinimization()
        infinity = self._solver.infinity()
        self._once = [self._solver.Constraint(1.0, infinity) for _ in problem.job_ids]
        self._slack = [self._solver.NumVar(0.0, 1.0, "") for _ in problem.job_ids]
        for row, variable in zip(self._once, self._slack, strict=True):
            row.SetCoefficient(variable, 1.0)
            self._objective.SetCoefficient(variable, penalty_g)
        self._room = {
            cell: self._solver.Constraint(-infinity, float(value))
            for cell, value in np.ndenumerate(problem.capacity)
            if np.isfinite(value)
        }

    def add(self, columns: Iterable[Column]) -> int:
        """Add columns that are new; return how many were."""
        added = 0
        for column in columns:
            if column in self.columns:
                continue
            variable = self._solver.NumVar(0.0, self._solver.infinity(), "")
            self._objective.SetCoefficient(variable, column.cost_g)
            self._once[column.job].SetCoefficient(variable, 1.0)
            for resource, held in enumerate(self.problem.demand[column.job].tolist()):
                for slot in column.slots if held else ():
                    cell = (resource, column.region, slot)
                    if cell in self._room:
                        self._room[cell].SetCoefficient(variable, held)
            self.columns[column] = variable
            added += 1
        return added

    def solve(self) -> Relaxed:
        """Solve the relaxation over the columns so far."""
        if self._solver.Solve() != pywraplp.Solver.OPTIMAL:
            msg = "the linear relaxation could not be solved"
            raise PlacementError(msg, hint="report this with the problem: a penalty makes it always solvable")
        prices = np.zeros(self.problem.capacity.shape)
        for cell, row in self._room.items():
            prices[cell] = max(0.0, -row.dual_value())
        shares = {
            column: value
            for column, variable in self.columns.items()
            if (value := variable.solution_value()) > 1e-9
        }
        left_out = sum(variable.solution_value() for variable in self._slack)
        return Relaxed(self._objective.Value(), left_out, prices, shares)


def split_jobs(relaxed: Relaxed) -> tuple[dict[int, Column], set[int]]:
    """Part a relaxation's jobs into whole ones, with their column, and split ones."""
    whole = {column.job: column for column, share in relaxed.shares.items() if share >= _WHOLE}
    return whole, {column.job for column in relaxed.shares} - set(whole)


def solve_columns(
    problem: Problem, columns: Iterable[Column], free: NDArray[np.float64], *, gap: float
) -> dict[int, Column]:
    """Pick one column a job under the room left, as few grams as the node limit allows.

    Parameters
    ----------
    problem : Problem
        The problem.
    columns : iterable of Column
        What may be picked.
    free : ndarray, shape (K, R, T)
        Room left of each resource.
    gap : float
        Stop at this relative gap.

    Returns
    -------
    dict of int to Column
        The pick per job; jobs for which nothing fits are absent.
    """
    solver: Any = pywraplp.Solver.CreateSolver("SCIP")
    solver.SetSolverSpecificParametersAsString(
        f"limits/nodes = {_NODES}\nlimits/gap = {gap:g}\nrandomization/randomseedshift = 0\n"
    )
    by_job: dict[int, list[tuple[Column, Any]]] = {}
    room: dict[tuple[int, int, int], Any] = {}
    objective: Any = solver.Objective()
    dearest_g = 1.0
    for column in columns:
        variable = solver.BoolVar("")
        objective.SetCoefficient(variable, column.cost_g)
        dearest_g = max(dearest_g, column.cost_g)
        by_job.setdefault(column.job, []).append((column, variable))
        for resource, held in enumerate(problem.demand[column.job].tolist()):
            for slot in column.slots if held else ():
                cell = (resource, column.region, slot)
                if not np.isfinite(free[cell]):
                    continue
                if cell not in room:
                    room[cell] = solver.Constraint(-solver.infinity(), float(free[cell]))
                room[cell].SetCoefficient(variable, held)
    for pairs in by_job.values():
        row = solver.Constraint(1.0, 1.0)
        out = solver.BoolVar("")
        objective.SetCoefficient(out, 10.0 * dearest_g)
        for variable in (out, *(variable for _, variable in pairs)):
            row.SetCoefficient(variable, 1.0)
    objective.SetMinimization()
    if solver.Solve() not in {pywraplp.Solver.OPTIMAL, pywraplp.Solver.FEASIBLE}:
        return {}
    return {
        job: column
        for job, pairs in by_job.items()
        for column, variable in pairs
        if variable.solution_value() > 0.5
    }

"""A direct time-indexed model for CP-SAT: the exact rung, for small problems.

One Boolean a job, region and start; for suspendable jobs one a job, region and
slot. Costs become integers by rounding down, so that the solver's bound is a
bound on the true grams. One worker and a limit in deterministic time make equal
input give equal plans. Importing CP-SAT takes more than a second: it happens here,
when this rung is reached.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from aicsched.errors import PlacementError
from aicsched.place.choice import Choice

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.place.problem import Problem

__all__ = [
    "MOST_COLUMNS",
    "DirectModel",
    "Exact",
    "count_columns",
    "hint_choice",
    "read_choice",
    "run_solver",
    "solve_exact",
]

MOST_COLUMNS: Final = 20_000
_HARD_LIMIT: Final = 1_000_000
_COST_RANGE: Final = float(2**46)
_PARTS_PER_UNIT: Final = 1000


@dataclass(frozen=True, slots=True, eq=False)
class Exact:
    """What CP-SAT found.

    Parameters
    ----------
    choice : Choice or None
        Its plan, if any.
    bound_g : float
        No feasible plan emits less [g]; inf when it proved that there is none.
    """

    choice: Choice | None
    bound_g: float


def count_columns(problem: Problem) -> int:
    """Return how many Booleans the direct model has.

    Parameters
    ----------
    problem : Problem
        The problem.

    Returns
    -------
    int
        Over jobs: allowed regions times starts, or slots for a suspendable job, three times as many
        where its suspensions cost.
    """
    window = problem.last - problem.first
    pieces = window * np.where(problem.resume_kwh_per_w > 0, 3, 1)
    places = np.where(problem.suspendable, pieces, window - problem.n_slots + 1)
    return int((places * problem.allowed.sum(axis=1)).sum())


def dearest_g(problem: Problem) -> float:
    """Return what the dearest plan could emit at most, whether it fits or not [g]."""
    slot_g = problem.watt_factor_w * problem.g_per_kwh.max(axis=1)
    energy = (problem.energy_kwh_per_w + problem.resume_kwh_per_w) * problem.n_slots
    job_g = energy[:, None] * slot_g[None, :] + problem.transfer_g
    return float(np.where(problem.allowed, job_g, 0.0).max(axis=1).sum())


class DirectModel:
    """The model while it grows.

    Parameters
    ----------
    problem : Problem
        Whose jobs it can hold.
    """

    def __init__(self, problem: Problem) -> None:
        from ortools.sat.python import cp_model  # noqa: PLC0415 - takes more than a second

        self.problem = problem
        self.model: Any = cp_model.CpModel()
        self.room: dict[tuple[int, int, int], list[tuple[Any, int]]] = {}
        self.cost: list[tuple[Any, int]] = []
        self.ways: dict[int, list[tuple[int, int, Any]]] = {}
        self.scale = _COST_RANGE / max(dearest_g(problem), 1e-9)
        parts = problem.demand * _PARTS_PER_UNIT
        self.parts: list[list[int]] = np.ceil(parts - 1e-6).astype(np.int64).tolist()
        self.whole = bool((np.abs(parts - np.round(parts)) < 1e-6).all())

    def literal(self) -> Any:  # noqa: ANN401 - OR-Tools has no types
        """Return a new Boolean."""
        return self.model.new_bool_var("")

    def count(self, most: int) -> Any:  # noqa: ANN401
        """Return a new whole number from 0."""
        return self.model.new_int_var(0, most, "")

    def use(
        self,
        literal: Any,  # noqa: ANN401 - OR-Tools has no types
        job: int,
        region: int,
        slots: NDArray[np.int64],
        times: int = 1,
    ) -> None:
        """Let a literal hold a job's resources in some slots, once or more."""
        for resource, parts in enumerate(self.parts[job]):
            for slot in slots.tolist() if parts else ():
                self.room.setdefault((resource, region, slot), []).append((literal, times * parts))

    def pay(self, literal: Any, cost_g: float) -> None:  # noqa: ANN401 - a literal of the model
        """Let a literal cost some grams, rounded down."""
        self.cost.append((literal, int(np.floor(cost_g * self.scale))))

    def add_jobs(self, jobs: NDArray[np.int64]) -> None:
        """Add jobs, each in one piece or in several."""
        for job in jobs.tolist():
            (self.add_pieces if self.problem.suspendable[job] else self.add_contiguous)(job)

    def add_contiguous(self, job: int) -> None:
        """Add a job that runs in one piece."""
        problem = self.problem
        length = int(problem.n_slots[job])
        ways = self.ways.setdefault(job, [])
        for region in np.flatnonzero(problem.allowed[job]).tolist():
            for start in range(int(problem.first[job]), int(problem.last[job]) - length + 1):
                literal = self.model.new_bool_var("")
                slots = start + np.arange(length)
                self.use(literal, job, region, slots)
                self.pay(literal, problem.cost_g(job, region, slots))
                ways.append((region, start, literal))
        self.model.add_exactly_one([literal for _, _, literal in ways])

    def add_pieces(self, job: int) -> None:
        """Add a job that may run in pieces."""
        problem = self.problem
        window = np.arange(problem.first[job], problem.last[job])
        ways = self.ways.setdefault(job, [])
        chosen: list[Any] = []
        for region in np.flatnonzero(problem.allowed[job]).tolist():
            here = self.model.new_bool_var("")
            chosen.append(here)
            self.pay(here, float(problem.transfer_g[job, region]))
            factor = problem.energy_kwh_per_w[job] * problem.watt_factor_w[region]
            pieces = [self.model.new_bool_var("") for _ in window]
            self.model.add(sum(pieces) == int(problem.n_slots[job]) * here)
            for slot, literal in zip(window.tolist(), pieces, strict=True):
                self.use(literal, job, region, np.array([slot]))
                self.pay(literal, float(factor * problem.g_per_kwh[region, slot]))
                ways.append((region, slot, literal))
            if problem.resume_kwh_per_w[job]:
                self._resume(job, region, here, pieces)
        self.model.add_exactly_one(chosen)

    def _resume(self, job: int, region: int, here: Any, pieces: list[Any]) -> None:  # noqa: ANN401 - a literal
        """Let each slot but the first cost energy where the slot before is not held."""
        problem = self.problem
        firsts = [self.model.new_bool_var("") for _ in pieces]
        self.model.add(sum(firsts) == here)
        rate_g = problem.resume_kwh_per_w[job] * problem.watt_factor_w[region] * problem.g_per_kwh[region]
        for index, (piece, first) in enumerate(zip(pieces, firsts, strict=True)):
            self.model.add(piece <= sum(firsts[: index + 1]))
            before = pieces[index - 1] if index else 0
            again = self.model.new_bool_var("")
            self.model.add(again >= piece - before - first)
            self.pay(again, float(rate_g[int(problem.first[job]) + index]))

    def finish(self) -> None:
        """Add capacity and objective."""
        free = np.floor(self.problem.capacity * _PARTS_PER_UNIT + 1e-6)
        for cell, terms in self.room.items():
            if sum(parts for _, parts in terms) > free[cell]:
                self.model.add(sum(literal * parts for literal, parts in terms) <= int(free[cell]))
        for earlier, later in self.problem.order.tolist():
            self._follow(earlier, later)
        self.model.minimize(sum(literal * cost for literal, cost in self.cost))

    def _follow(self, earlier: int, later: int) -> None:
        """Let no slot of one job come before the end of another."""
        problem = self.problem
        turn = self.model.new_int_var(int(problem.first[later]), int(problem.last[later]), "")
        for job, last in ((earlier, True), (later, False)):
            length = 1 if problem.suspendable[job] else int(problem.n_slots[job])
            for _, slot, literal in self.ways[job]:
                edge = turn >= slot + length if last else turn <= slot
                self.model.add(edge).only_enforce_if(literal)


def read_choice(model: DirectModel, jobs: NDArray[np.int64], solver: Any) -> Choice:  # noqa: ANN401
    """Return where a solver puts some jobs.

    Parameters
    ----------
    model : DirectModel
        That was solved.
    jobs : ndarray of int64
        Their indices, rising.
    solver : object
        OR-Tools' solver, with a plan.

    Returns
    -------
    Choice
        Of these jobs, in their order.
    """
    problem = model.problem
    begin = np.concatenate(([0], np.cumsum(problem.n_slots[jobs])))
    choice = Choice(np.zeros(len(jobs), np.int64), np.zeros(int(begin[-1]), np.int64))
    for row, job in enumerate(jobs.tolist()):
        taken = [(region, slot) for region, slot, literal in model.ways[job] if solver.boolean_value(literal)]
        choice.region[row] = taken[0][0]
        slots = (
            np.array([slot for _, slot in taken])
            if problem.suspendable[job]
            else taken[0][1] + np.arange(int(problem.n_slots[job]))
        )
        choice.slots[begin[row] : begin[row + 1]] = slots
    return choice


def hint_choice(model: DirectModel, jobs: NDArray[np.int64], choice: Choice) -> None:
    """Let the search start from a plan of some jobs.

    Parameters
    ----------
    model : DirectModel
        Not yet solved.
    jobs : ndarray of int64
        Their indices, rising.
    choice : Choice
        Of these jobs, in their order.
    """
    problem = model.problem
    begin = np.concatenate(([0], np.cumsum(problem.n_slots[jobs])))
    for row, job in enumerate(jobs.tolist()):
        slots: list[int] = choice.slots[begin[row] : begin[row + 1]].tolist()
        taken = set(slots) if problem.suspendable[job] else {slots[0]}
        for region, slot, literal in model.ways[job]:
            model.model.add_hint(literal, region == choice.region[row] and slot in taken)


def run_solver(model: DirectModel, *, gap: float, seed: int, limit: float) -> tuple[Any, bool, float]:
    """Solve a model that is finished.

    Parameters
    ----------
    model : DirectModel
        The model.
    gap : float
        Stop at this relative gap.
    seed : int
        Seed of the search.
    limit : float
        Limit in CP-SAT's deterministic time, which is about seconds.

    Returns
    -------
    tuple of object, bool, float
        The solver, whether it has a plan, and the bound [g]; inf when it proved that there is none,
        -inf where rounding leaves none.
    """
    from ortools.sat.python import cp_model  # noqa: PLC0415 - takes more than a second

    solver: Any = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = seed
    solver.parameters.max_deterministic_time = limit
    solver.parameters.relative_gap_limit = gap
    # Knapsacks over time prove little without cuts.
    solver.parameters.linearization_level = 2
    status = solver.solve(model.model)
    if status == cp_model.INFEASIBLE:
        return solver, False, float("inf") if model.whole else float("-inf")
    bound_g = solver.best_objective_bound / model.scale if model.whole else float("-inf")
    return solver, status in {cp_model.OPTIMAL, cp_model.FEASIBLE}, bound_g


def solve_exact(
    problem: Problem, *, start: Choice | None = None, gap: float = 0.0, seed: int = 0, limit: float = 20.0
) -> Exact:
    """Solve the direct model.

    Parameters
    ----------
    problem : Problem
        The problem.
    start : Choice, optional
        A feasible choice to start from.
    gap : float
        Stop at this relative gap.
    seed : int
        Seed of the search.
    limit : float
        Limit in CP-SAT's deterministic time, which is about seconds.

    Returns
    -------
    Exact
        The plan and the bound.

    Raises
    ------
    PlacementError
        The model would have more than a million columns.
    """
    columns = count_columns(problem)
    if columns > _HARD_LIMIT:
        msg = f"a direct model of {columns:,} columns is too large for CP-SAT"
        raise PlacementError(msg, hint="use solve(), which prices columns instead", value=columns)
    model = DirectModel(problem)
    jobs = np.arange(len(problem.job_ids))
    model.add_jobs(jobs)
    model.finish()
    if start is not None:
        hint_choice(model, jobs, start)
    solver, found, bound_g = run_solver(model, gap=gap, seed=seed, limit=limit)
    return Exact(read_choice(model, jobs, solver) if found else None, bound_g)

"""The direct model of a queue in which some jobs scale, for CP-SAT: the exact rung, for small problems.

Beside what `aicsched.place.cpsat` has, one Boolean a job, region, slot and step, and how much work the step
does there. Work counts in whole parts: what steps can do is rounded up, what a job needs is rounded
down, and costs are rounded down, so that the solver's bound holds for the true grams.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from aicsched.place.cpsat import DirectModel, hint_choice, read_choice, run_solver
from aicsched.place.elastic.block import Block, Scale

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.place.choice import Choice
    from aicsched.place.elastic.problem import ElasticProblem

__all__ = ["MOST_COLUMNS", "ExactSteps", "count_steps", "solve_steps"]

MOST_COLUMNS: Final = 20_000
_PARTS: Final = 2**23


@dataclass(frozen=True, slots=True, eq=False)
class ExactSteps:
    """What CP-SAT found.

    Parameters
    ----------
    plan : tuple of Choice and Scale, or None
        Its plan, if any.
    bound_g : float
        No feasible plan emits less [g]; inf when it proved that there is none.
    """

    plan: tuple[Choice, Scale] | None
    bound_g: float


def count_steps(problem: ElasticProblem) -> int:
    """Return how many variables jobs that scale have in the direct model.

    Parameters
    ----------
    problem : ElasticProblem
        The problem.

    Returns
    -------
    int
        Two for each allowed region, slot and step.
    """
    whole, rows = problem.whole, problem.rows
    window = (whole.last - whole.first)[rows]
    steps = (problem.wide > 0).sum(axis=1)
    return int((2 * window * steps * whole.allowed[rows].sum(axis=1)).sum())


class _Steps:
    """Jobs that scale, in a model."""

    def __init__(self, problem: ElasticProblem, model: DirectModel) -> None:
        self.problem = problem
        self.model = model
        self.held: dict[tuple[int, int, int, int], Any] = {}

    def add(self, row: int) -> None:
        """Add a job: one region, steps of each slot in turn, and all of its work."""
        problem, model = self.problem, self.model
        whole, job = problem.whole, int(problem.rows[row])
        steps = int((problem.wide[row] > 0).sum())
        need = int(np.floor(problem.work[row] * _PARTS + 1e-6))
        does = np.ceil(problem.gain[row] * _PARTS - 1e-6).astype(np.int64).tolist()
        chosen: list[Any] = []
        for region in np.flatnonzero(whole.allowed[job]).tolist():
            here = model.literal()
            chosen.append(here)
            model.pay(here, float(whole.transfer_g[job, region]))
            factor = problem.energy_kwh_per_w[row] * whole.watt_factor_w[region]
            done: list[Any] = []
            for slot in range(int(whole.first[job]), int(whole.last[job])):
                above = here
                for step in range(steps):
                    held = model.literal()
                    model.model.add(held <= above)
                    above = held
                    self.held[row, region, slot, step] = held
                    model.use(held, job, region, np.array([slot]), times=int(problem.wide[row, step]))
                    part = model.count(does[step])
                    model.model.add(part <= does[step] * held)
                    grams = problem.wide[row, step] * factor * whole.g_per_kwh[region, slot]
                    model.pay(part, float(grams / does[step]))
                    done.append(part)
            model.model.add(sum(done) == need * here)
        model.model.add_exactly_one(chosen)

    def read(self, solver: Any) -> Scale:  # noqa: ANN401 - OR-Tools has no types
        """Return what the solver holds, run as cheaply as that allows."""
        problem = self.problem
        whole = problem.whole
        scale = Scale(
            np.full(len(problem.rows), -1, np.int64), np.zeros((len(problem.rows), len(whole.slots)))
        )
        taken: dict[int, list[tuple[float, int, int, int]]] = {}
        for (row, region, slot, step), literal in self.held.items():
            if solver.boolean_value(literal):
                dear = whole.g_per_kwh[region, slot] * problem.wide[row, step] / problem.gain[row, step]
                taken.setdefault(row, []).append((float(dear), slot, step, region))
        for row, steps in taken.items():
            left = float(problem.work[row])
            for _, slot, step, region in sorted(steps):
                share = min(1.0, max(0.0, left / problem.gain[row, step]))
                share = 1.0 if share > 1 - 1e-9 else share
                scale.machines[row, slot] += share * problem.wide[row, step]
                left -= share * problem.gain[row, step]
                scale.region[row] = region
            if left > 1e-9 * problem.work[row]:
                scale.region[row] = -1
        return scale

    def hint(self, scale: Scale, held: NDArray[np.float64]) -> None:
        """Let the search start from a plan that holds so many machines."""
        machines = np.cumsum(self.problem.wide, axis=1)
        for (row, region, slot, step), literal in self.held.items():
            there = region == scale.region[row] and held[row, slot] >= machines[row, step] - 1e-9
            self.model.model.add_hint(literal, bool(there))


def solve_steps(
    problem: ElasticProblem,
    *,
    start: tuple[Choice, Scale] | None = None,
    gap: float = 0.0,
    seed: int = 0,
    limit: float = 20.0,
) -> ExactSteps:
    """Solve the direct model.

    Parameters
    ----------
    problem : ElasticProblem
        The problem.
    start : tuple of Choice and Scale, optional
        A feasible plan to start from.
    gap : float
        Stop at this relative gap.
    seed : int
        Seed of the search.
    limit : float
        Limit in CP-SAT's deterministic time, which is about seconds.

    Returns
    -------
    ExactSteps
        The plan and the bound.
    """
    model = DirectModel(problem.whole)
    model.add_jobs(problem.others)
    steps = _Steps(problem, model)
    for row in range(len(problem.rows)):
        steps.add(row)
    model.finish()
    if start is not None:
        hint_choice(model, problem.others, start[0])
        steps.hint(start[1], Block(problem).held(start[1]))
    solver, found, bound_g = run_solver(model, gap=gap, seed=seed, limit=limit)
    if not found:
        return ExactSteps(None, bound_g)
    return ExactSteps((read_choice(model, problem.others, solver), steps.read(solver)), bound_g)

"""Jobs that scale, each on one number of machines: a plan to start from, by the planner of such jobs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.domain.carbon import frozen_array
from aicsched.errors import Infeasible
from aicsched.place.choice import Choice, choice_of, pointers
from aicsched.place.solve import solve

if TYPE_CHECKING:
    from aicsched.place.elastic.block import Block, Scale

__all__ = ["solve_static"]

_GAP: Final = 0.01


def solve_static(block: Block, *, gap: float, seed: int, cpu_s: float) -> tuple[Choice, Scale] | None:
    """Plan all jobs with each that scales on the fewest machines that its window allows.

    Parameters
    ----------
    block : Block
        The jobs that scale, with their problem.
    gap : float
        Stop at this gap, or at 1 % where it is less.
    seed : int
        Of the search.
    cpu_s : float
        CPU seconds to stop after.

    Returns
    -------
    tuple of Choice and Scale, or None
        Of those that don't scale, and of those that do; None where no plan was found.
    """
    problem = block.problem
    whole, rows = problem.whole, problem.rows
    span = (whole.last - whole.first)[rows]
    wide, speed = np.cumsum(problem.wide, axis=1), np.cumsum(problem.gain, axis=1)
    needs = problem.work[:, None] / speed
    # Behind the last step nothing is wide: what is faster there is not.
    fits = (np.ceil(needs - 1e-9) <= span[:, None]) & (problem.wide > 0)
    if not fits.any(axis=1).all():
        return None
    step = fits.argmax(axis=1)
    jobs = np.arange(len(rows))
    count = np.ceil(needs[jobs, step] - 1e-9).astype(np.int64)
    n_slots, demand = whole.n_slots.copy(), whole.demand.copy()
    energy = whole.energy_kwh_per_w.copy()
    n_slots[rows] = count
    demand[rows] *= wide[jobs, step, None]
    energy[rows] = problem.energy_kwh_per_w * wide[jobs, step] * needs[jobs, step] / count
    static = replace(
        whole,
        n_slots=frozen_array(n_slots, np.int64),
        demand=frozen_array(demand),
        energy_kwh_per_w=frozen_array(energy),
    )
    try:
        plan = solve(static, gap=max(gap, _GAP), seed=seed, cpu_s=cpu_s, name_clash=False)
    except Infeasible:
        return None
    made, begin = choice_of(static, plan), pointers(static)
    scale = block.nothing()
    scale.region[:] = made.region[rows]
    for row, job in enumerate(rows.tolist()):
        slots = made.slots[begin[job] : begin[job + 1]]
        scale.machines[row, slots] = wide[row, step[row]]
        # What is too much is left out in the dirtiest slot.
        dirtiest = slots[int(whole.g_per_kwh[scale.region[row], slots].argmax())]
        rest = problem.work[row] - speed[row, step[row]] * (len(slots) - 1)
        steps = slice(0, int(step[row]) + 1)
        scale.machines[row, dirtiest] = np.interp(rest, [0.0, *speed[row, steps]], [0.0, *wide[row, steps]])
    inside = np.repeat(np.isin(np.arange(len(whole.job_ids)), problem.others), n_slots)
    return Choice(made.region[problem.others], made.slots[inside]), scale

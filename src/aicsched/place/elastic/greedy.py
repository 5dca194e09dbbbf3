"""The published greedy policies for a queue in which some jobs scale: what a plan is measured against.

A job that scales keeps one number of machines, the fewest that meet its deadline: the static scale of
CarbonScaler (doi:10.1145/3626788). It takes the first slots with room (no_wait), or those of the lowest
intensity (lowest_slot, lowest_window); at home, then in another allowed region. Those that scale choose
first, in the order of release; then the others, in what is left.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from aicsched.domain.carbon import frozen_array
from aicsched.errors import Infeasible
from aicsched.place.choice import Choice
from aicsched.place.elastic.block import Block
from aicsched.place.elastic.plan import to_plan
from aicsched.place.policies import greedy_choice

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.domain.placement import Placement
    from aicsched.place.elastic.block import Scale
    from aicsched.place.elastic.problem import ElasticProblem

__all__ = ["greedy_elastic"]


def _static(
    block: Block, row: int, region: int, room: NDArray[np.float64], name: str
) -> NDArray[np.float64] | None:
    """Return the machines of a job in each slot of a region, at the smallest scale that its window allows."""
    problem = block.problem
    first, last = block.facts[row].tolist()
    wide, gain = np.cumsum(problem.wide[row]), np.cumsum(problem.gain[row])
    order = np.arange(first, last)
    if name != "no_wait":
        order = order[np.argsort(block.watt_g[0, region, first:last], kind="stable")]
    for step in range(int((problem.wide[row] > 0).sum())):
        held = wide[step] * block.uses[row, 1:, None]
        open_ = order[(room[:, region, order] >= held).all(axis=0)]
        needs = problem.work[row] / gain[step]
        count = int(np.ceil(needs - 1e-9))
        if len(open_) >= count:
            machines = np.zeros(room.shape[2])
            machines[open_[:count]] = wide[step]
            # Its last slot is run in part: on fewer machines, as they do most work each.
            done = (needs - count + 1) * gain[step]
            machines[open_[count - 1]] = np.interp(done, [0.0, *gain[: step + 1]], [0.0, *wide[: step + 1]])
            return machines
    return None


def _scale(block: Block, name: str) -> tuple[Scale, list[int]]:
    problem, scale = block.problem, block.nothing()
    room, left_out = block.ceiling.copy(), []
    for row in np.argsort(block.facts[:, 0], kind="stable").tolist():
        home = int(problem.whole.home[problem.rows[row]])
        allowed = np.flatnonzero(np.isfinite(block.fixed_g[row])).tolist()
        for region in sorted(allowed, key=lambda one: one != home):
            machines = _static(block, row, region, room, name)
            if machines is None:
                continue
            scale.region[row], scale.machines[row] = region, machines
            held = block.held(scale)[row]
            room[:, region] -= block.uses[row, 1:, None] * held
            break
        else:
            left_out.append(int(problem.rows[row]))
    return scale, left_out


def greedy_elastic(problem: ElasticProblem, name: str) -> Placement:
    """Run one greedy policy.

    Parameters
    ----------
    problem : ElasticProblem
        The problem.
    name : str
        ``no_wait``, ``lowest_slot`` or ``lowest_window``.

    Returns
    -------
    Placement
        Feasible, without a bound.

    Raises
    ------
    Infeasible
        Some job found no room before its deadline.
    """
    block = Block(problem)
    scale, left_out = _scale(block, name)
    choice = Choice(np.zeros(0, np.int64), np.zeros(0, np.int64))
    if problem.plain is not None and not left_out:
        room = np.maximum(block.capacity - block.load(scale), 0.0)
        rest = replace(problem.plain, capacity=frozen_array(room))
        choice, late = greedy_choice(rest, name)
        left_out = problem.others[late].tolist()
    if left_out:
        names = [problem.whole.job_ids[job] for job in left_out]
        msg = f"{name} finds no room for {len(names)} jobs before their deadlines, first '{names[0]}'"
        hint = "use the optimal policy, or add capacity"
        raise Infeasible(msg, constraints=("capacity", "deadline"), hint=hint, value=names)
    return to_plan(block, choice, scale, policy=name)

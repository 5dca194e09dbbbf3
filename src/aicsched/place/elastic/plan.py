"""From choices of both kinds of jobs to the plan that leaves the package."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from aicsched.domain.placement import Assignment, Certificate, Placement
from aicsched.place.choice import Choice, choice_of, to_placement

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.place.elastic.block import Block, Scale

__all__ = ["choices_of", "to_plan"]


def _scaled_rows(block: Block, scale: Scale) -> dict[int, Assignment]:
    problem = block.problem
    whole = problem.whole
    costs_g = block.costs_g(scale)
    rows: dict[int, Assignment] = {}
    for index, job in enumerate(problem.rows.tolist()):
        slots = np.flatnonzero(scale.machines[index] > 0)
        rows[job] = Assignment(
            job_id=whole.job_ids[job],
            region=whole.regions[scale.region[index]],
            slot_indices=tuple(slots.tolist()),
            operational_g=float(costs_g[index]),
            transfer_g=float(whole.transfer_g[job, scale.region[index]]),
            machines=tuple(scale.machines[index, slots].tolist()),
        )
    return rows


def choices_of(block: Block, placement: Placement) -> tuple[Choice, Scale]:
    """Return a plan as choices.

    Parameters
    ----------
    block : Block
        The jobs that scale, with their problem.
    placement : Placement
        A plan of all jobs in the order of the queue.

    Returns
    -------
    tuple of Choice and Scale
        Of those that don't scale, and of those that do.
    """
    problem, scale = block.problem, block.nothing()
    index = {name: position for position, name in enumerate(problem.whole.regions)}
    for row, job in enumerate(problem.rows.tolist()):
        made = placement.assignments[job]
        scale.region[row] = index[made.region]
        scale.machines[row, list(made.slot_indices)] = made.machines
    if problem.plain is None:
        return Choice(np.zeros(0, np.int64), np.zeros(0, np.int64)), scale
    rows = tuple(placement.assignments[job] for job in problem.others.tolist())
    return choice_of(problem.plain, replace(placement, assignments=rows)), scale


def to_plan(
    block: Block, choice: Choice, scale: Scale, *, policy: str, prices_g: NDArray[np.float64] | None = None
) -> Placement:
    """Turn choices into a plan.

    Parameters
    ----------
    block : Block
        The jobs that scale, with their problem.
    choice : Choice
        Of those that don't.
    scale : Scale
        Of those that do.
    policy : str
        Which policy chose.
    prices_g : ndarray, shape (K, R, T), optional
        Shadow price of each resource for one slot [g].

    Returns
    -------
    Placement
        One assignment a job, in the order of the queue; a heuristic's certificate, without a bound.
    """
    problem = block.problem
    whole = problem.whole
    rows = _scaled_rows(block, scale)
    if problem.plain is not None:
        others = to_placement(problem.plain, choice, policy=policy).assignments
        rows |= dict(zip(problem.others.tolist(), others, strict=True))
    assignments = tuple(rows[job] for job in range(len(whole.job_ids)))
    total_g = sum(row.total_g for row in assignments)
    priced = np.zeros(whole.capacity_vcpus.shape) if prices_g is None else prices_g[0]
    prices = {
        name: tuple((priced[row] / whole.slots.step_h).round(6).tolist())
        for row, name in enumerate(whole.regions)
    }
    proof = Certificate(status="heuristic", objective_g=total_g, lower_bound_g=float("-inf"), method=policy)
    return Placement(
        policy=policy, slots=whole.slots, assignments=assignments, certificate=proof,
        prices_g_per_vcpu_h=prices,
    )  # fmt: skip

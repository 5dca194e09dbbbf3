"""Why a job runs where it does: runner-up, counterfactual, and what a full slot costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from aicsched.place.choice import Choice, pointers
from aicsched.place.insertion import Room
from aicsched.slots import format_time
from aicsched.units import format_mass

if TYPE_CHECKING:
    from aicsched.domain.placement import Placement
    from aicsched.place.problem import Problem

__all__ = ["Explanation", "explain_all"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why one job runs where it does.

    Parameters
    ----------
    job_id : str
        The job.
    runner_up_region : str
        The best other region with room, as the rest of the plan stands; "" when there is none.
    runner_up_g : float
        What it would emit there [g]; inf when there is none.
    unlimited_g : float
        What it would emit with all capacity to itself [g].
    counterfactual_g : float
        What it would emit by the baseline [g].
    reason : str
        One sentence.
    """

    job_id: str
    runner_up_region: str
    runner_up_g: float
    unlimited_g: float
    counterfactual_g: float
    reason: str


def _choice(problem: Problem, placement: Placement) -> Choice:
    index = {name: position for position, name in enumerate(problem.regions)}
    region = np.array([index[row.region] for row in placement.assignments], dtype=np.int64)
    return Choice(
        region, np.concatenate([np.array(row.slot_indices, np.int64) for row in placement.assignments])
    )


def explain_all(problem: Problem, placement: Placement, baseline: Placement) -> tuple[Explanation, ...]:
    """Explain every assignment of a plan.

    Parameters
    ----------
    problem : Problem
        The problem.
    placement : Placement
        A feasible plan for it.
    baseline : Placement
        What would have happened otherwise, job by job: no_wait, as a rule.

    Returns
    -------
    tuple of Explanation
        In the order of the jobs. A runner-up keeps to the room that the other
        jobs leave, so it could really be taken.
    """
    choice = _choice(problem, placement)
    room, empty = Room(problem, choice), Room(problem)
    indptr = pointers(problem)
    made: list[Explanation] = []
    for job, (row, other) in enumerate(zip(placement.assignments, baseline.assignments, strict=True)):
        region, slots = int(choice.region[job]), choice.slots[indptr[job] : indptr[job + 1]]
        room.give_back(job, region, slots)
        found = [
            (cost[0], name)
            for name in np.flatnonzero(problem.allowed[job]).tolist()
            if name != region and (cost := room.cheapest(job, name)) is not None
        ]
        room.take(job, region, slots)
        runner_up_g, runner_up = min(found, default=(float("inf"), -1))
        alone = empty.cheapest_anywhere(job)
        unlimited_g = row.total_g if alone is None else min(alone[0], row.total_g)
        name = problem.regions[runner_up] if runner_up >= 0 else ""
        reason = _reason(
            problem,
            job,
            row.region,
            row.slot_indices,
            row.total_g,
            other.total_g,
            name,
            runner_up_g,
            unlimited_g,
        )
        made.append(
            Explanation(
                job_id=row.job_id,
                runner_up_region=name,
                runner_up_g=runner_up_g,
                unlimited_g=unlimited_g,
                counterfactual_g=other.total_g,
                reason=reason,
            )
        )
    return tuple(made)


def _reason(  # noqa: PLR0913, PLR0917 - the words need all of it
    problem: Problem,
    job: int,
    region: str,
    slots: tuple[int, ...],
    total_g: float,
    counterfactual_g: float,
    runner_up: str,
    runner_up_g: float,
    unlimited_g: float,
) -> str:
    grid = problem.slots
    start = format_time(grid.start_s + slots[0] * grid.step_s)
    delay_h = (slots[0] - int(problem.first[job])) * grid.step_h
    when = "at once" if delay_h <= 0 else f"{delay_h:g} h later, from {start}"
    where = "at home" if region == problem.regions[problem.home[job]] else f"in {region}"
    saved_g = counterfactual_g - total_g
    words = f"{where} {when}: {format_mass(total_g)}"
    if saved_g > 0:
        words += f", {format_mass(saved_g)} less than at once at home"
    elif saved_g < 0:
        words += f", {format_mass(-saved_g)} more than at once at home, to make room for jobs that save more"
    if runner_up:
        words += f"; next best {runner_up} {format_mass(runner_up_g)}"
    if total_g > unlimited_g * (1 + 1e-9) + 1e-9:
        words += f"; full slots cost it {format_mass(total_g - unlimited_g)}"
    return words

"""Why jobs run where they do, in a plan in which some scale."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.domain.carbon import frozen_array
from aicsched.place.elastic.block import Block
from aicsched.place.elastic.plan import choices_of
from aicsched.place.explain import Explanation, Limit, explain_all, reason_of, what_holds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from aicsched.domain.placement import Assignment, Placement
    from aicsched.place.elastic.block import Scale
    from aicsched.place.elastic.problem import ElasticProblem

__all__ = ["explain_elastic"]

_SAME: Final = 1e-9


def _some(placement: Placement, jobs: Sequence[int]) -> Placement:
    return replace(placement, assignments=tuple(placement.assignments[job] for job in jobs))


class _Facts:
    """What is worked out for all jobs that scale at once."""

    def __init__(self, block: Block, scale: Scale, room: NDArray[np.float64]) -> None:
        self.block, self.scale, self.room = block, scale, room
        free_of_charge = np.zeros(room.shape)
        self.rates = block.rates(free_of_charge)
        _, self.best = block.alone(free_of_charge)
        moved_g = block.fixed_g[np.arange(len(scale.region)), self.best.region]
        self.alone_g = block.costs_g(self.best) + moved_g
        self.held, self.best_held = block.held(scale), block.held(self.best)

    def _beside(self, row: int) -> NDArray[np.float64]:
        """Return the room that all others leave."""
        room = self.room.copy()
        room[:, self.scale.region[row]] += self.block.uses[row, 1:, None] * self.held[row]
        return room

    def explain(self, row: int, made: Assignment, counterfactual_g: float) -> Explanation:
        problem = self.block.problem
        whole, job = problem.whole, int(problem.rows[row])
        alone_g = min(float(self.alone_g[row]), made.total_g)
        region, slots = made.region, made.slot_indices
        limits: tuple[Limit, ...] = ()
        room = self._beside(row)
        if made.total_g > alone_g * (1 + _SAME) + _SAME:
            place = int(self.best.region[row])
            inside = np.flatnonzero(self.best_held[row] > 0)
            region, slots = whole.regions[place], tuple(inside.tolist())
            needs = self.block.uses[row, 1:, None] * self.best_held[row, inside]
            full = room[:, place, inside] < needs
            limits = tuple(
                Limit(resource=name, region=region, slots=tuple(inside[which].tolist()))
                for name, which in zip(whole.resources, full, strict=True)
                if which.any()
            )
        fixed_g = self.block.fixed_g.copy()
        fixed_g[row, self.scale.region[row]] = np.inf
        trial = self.block.nothing()
        paid, _ = self.block.respond(np.array([row]), trial, self.rates, room, fixed_g=fixed_g)
        other = whole.regions[trial.region[row]] if trial.region[row] >= 0 else ""
        reason = reason_of(whole, job, made, counterfactual_g, other, float(paid[row]))
        most = max(self.held[row])
        words = f"; on up to {most:g} machines" if most > 1 else "; on one machine"
        return Explanation(
            job_id=made.job_id,
            runner_up_region=other,
            runner_up_g=float(paid[row]),
            unlimited_g=alone_g,
            unlimited_region=region,
            unlimited_slots=slots,
            limits=limits,
            held_by=(),
            counterfactual_g=counterfactual_g,
            reason=reason + words + what_holds(whole, limits, (), made.total_g - alone_g),
        )


def explain_elastic(
    problem: ElasticProblem, placement: Placement, baseline: Placement
) -> tuple[Explanation, ...]:
    """Explain every assignment of a plan in which some jobs scale.

    Parameters
    ----------
    problem : ElasticProblem
        The problem.
    placement : Placement
        A feasible plan for it.
    baseline : Placement
        What would have happened otherwise, job by job: no_wait, as a rule.

    Returns
    -------
    tuple of Explanation
        In the order of the queue. A runner-up keeps to the room that the other jobs leave; for a job
        that scales it takes the steps of most work per gram there.
    """
    block = Block(problem)
    scale = choices_of(block, placement)[1]
    capacity = np.maximum(block.capacity - block.load(scale), 0.0)
    room = block.ceiling - block.load(scale)
    made: dict[int, Explanation] = {}
    if problem.plain is not None:
        jobs = problem.others.tolist()
        rest = replace(problem.plain, capacity=frozen_array(capacity))
        made = dict(zip(jobs, explain_all(rest, _some(placement, jobs), _some(baseline, jobs)), strict=True))
        regions = {name: index for index, name in enumerate(problem.whole.regions)}
        for job in jobs:
            row = placement.assignments[job]
            held = problem.whole.demand[job][:, None]
            room[:, regions[row.region], list(row.slot_indices)] -= held
    facts = _Facts(block, scale, room)
    for row, job in enumerate(problem.rows.tolist()):
        made[job] = facts.explain(row, placement.assignments[job], baseline.assignments[job].total_g)
    return tuple(made[job] for job in range(len(placement.assignments)))

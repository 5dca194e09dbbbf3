"""Why a job runs where it does: runner-up, counterfactual, and which full slots keep it from its best."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.place.choice import choice_of, pointers, spans
from aicsched.place.ground import ground_of
from aicsched.place.pricing import Oracle
from aicsched.place.seating import Seating
from aicsched.slots import format_time
from aicsched.units import format_mass

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.domain.placement import Assignment, Placement
    from aicsched.place.choice import Choice
    from aicsched.place.problem import Problem

__all__ = ["Explanation", "Limit", "explain_all", "reason_of", "what_holds"]

_SAME: Final = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """Slots of a region in which a resource has no room for a job.

    Parameters
    ----------
    resource : str
        ``vcpus``, ``memory_gib`` or ``gpus``.
    region : str
        The region.
    slots : tuple of int
        Slots of the plan's grid, rising.
    """

    resource: str
    region: str
    slots: tuple[int, ...]


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
    unlimited_region, unlimited_slots : str, tuple of int
        Where and when that is; where it runs, when nothing is better.
    limits : tuple of Limit
        What is full there once the other jobs run where they do.
    held_by : tuple of str
        Jobs that it waits for, or that wait for it, which run at such times that it can't be there.
        Where it emits more than `unlimited_g` and both are empty, its best place is free: the search
        ended, by its gap, before it was taken.
    counterfactual_g : float
        What it would emit by the baseline [g].
    reason : str
        One sentence.
    """

    job_id: str
    runner_up_region: str
    runner_up_g: float
    unlimited_g: float
    unlimited_region: str
    unlimited_slots: tuple[int, ...]
    limits: tuple[Limit, ...]
    held_by: tuple[str, ...]
    counterfactual_g: float
    reason: str


class _Facts:
    """What is worked out for all jobs at once."""

    def __init__(self, problem: Problem, choice: Choice) -> None:
        ground = ground_of(problem)
        oracle = Oracle(ground)
        free_of_charge = np.zeros(problem.capacity.shape)
        seating = Seating(ground)
        seating.put(choice)
        priced = oracle.price(free_of_charge)
        _, self.best, _ = oracle.bound(free_of_charge)
        self.problem = problem
        self.alone_g = priced.reduced_g
        self.begin = pointers(problem)
        jobs = len(problem.job_ids)
        self.other, self.other_g = np.empty(jobs, np.int64), np.empty(jobs)
        ground.kernels.runner_up(
            ground.facts, ground.uses, ground.fixed_g, priced.rates, ground.before, ground.after,
            priced.least_g, priced.turn, seating.free, seating.region, seating.span, self.other, self.other_g,
        )  # fmt: skip
        self.full = self._full(choice, seating.free)
        self.held_by = self._held_by(choice)

    def _full(self, choice: Choice, free: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which of the slots of their best places have no room, shape (K, sum of n_slots)."""
        needs, (_, regions, count) = self.problem.n_slots, self.problem.shape
        owner = np.repeat(np.arange(len(needs)), needs)
        cells = [
            (owner * regions + np.repeat(one.region, needs)) * count + one.slots
            for one in (self.best, choice)
        ]
        own = np.isin(cells[0], cells[1])
        place = np.repeat(self.best.region, needs)
        held = self.problem.demand[owner].T
        # What a job holds already is room for itself.
        return free[:, place, self.best.slots] + held * own < held

    def _held_by(self, choice: Choice) -> dict[int, list[int]]:
        """Return the neighbours in the order of jobs that keep jobs out of their best slots."""
        held_by: dict[int, list[int]] = {}
        starts, ends = spans(self.problem, choice)
        best_starts, best_ends = spans(self.problem, self.best)
        for one, other in self.problem.order.tolist():
            if ends[one] > best_starts[other]:
                held_by.setdefault(other, []).append(one)
            if best_ends[one] > starts[other]:
                held_by.setdefault(one, []).append(other)
        return held_by

    def explain(self, job: int, row: Assignment, counterfactual_g: float) -> Explanation:
        problem = self.problem
        part = slice(int(self.begin[job]), int(self.begin[job + 1]))
        region, slots = row.region, row.slot_indices
        limits: tuple[Limit, ...] = ()
        held_by: tuple[str, ...] = ()
        alone_g = min(float(self.alone_g[job]), row.total_g)
        if row.total_g > alone_g * (1 + _SAME) + _SAME:
            region, slots = problem.regions[self.best.region[job]], tuple(self.best.slots[part].tolist())
            limits = tuple(
                Limit(resource=name, region=region, slots=tuple(self.best.slots[part][full].tolist()))
                for name, full in zip(problem.resources, self.full[:, part], strict=True)
                if full.any()
            )
            held_by = tuple(problem.job_ids[other] for other in self.held_by.get(job, ()))
        found = int(self.other[job])
        name, other_g = (problem.regions[found] if found >= 0 else ""), float(self.other_g[job])
        reason = reason_of(problem, job, row, counterfactual_g, name, other_g)
        return Explanation(
            job_id=row.job_id,
            runner_up_region=name,
            runner_up_g=other_g,
            unlimited_g=alone_g,
            unlimited_region=region,
            unlimited_slots=slots,
            limits=limits,
            held_by=held_by,
            counterfactual_g=counterfactual_g,
            reason=reason + what_holds(problem, limits, held_by, row.total_g - alone_g),
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
        jobs leave, so it could really be taken. `confirm` works all of it out
        again.
    """
    facts = _Facts(problem, choice_of(problem, placement))
    pairs = zip(placement.assignments, baseline.assignments, strict=True)
    return tuple(facts.explain(job, row, other.total_g) for job, (row, other) in enumerate(pairs))


def reason_of(
    problem: Problem,
    job: int,
    row: Assignment,
    counterfactual_g: float,
    runner_up: str,
    runner_up_g: float,
) -> str:
    """Say where and when a job runs, and what that saves.

    Parameters
    ----------
    problem : Problem
        The problem.
    job : int
        Its index.
    row : Assignment
        Where and when it runs.
    counterfactual_g : float
        What it would emit otherwise [g].
    runner_up : str
        The best other region with room, or "".
    runner_up_g : float
        What it would emit there [g].

    Returns
    -------
    str
        One sentence, without a full stop.
    """
    grid = problem.slots
    start = format_time(grid.start_s + row.slot_indices[0] * grid.step_s)
    delay_h = (row.slot_indices[0] - int(problem.first[job])) * grid.step_h
    when = "at once" if delay_h <= 0 else f"{delay_h:g} h later, from {start}"
    where = "at home" if row.region == problem.regions[problem.home[job]] else f"in {row.region}"
    saved_g = counterfactual_g - row.total_g
    words = f"{where} {when}: {format_mass(row.total_g)}"
    if saved_g > 0:
        words += f", {format_mass(saved_g)} less than at once at home"
    elif saved_g < 0:
        words += f", {format_mass(-saved_g)} more than at once at home, to make room for jobs that save more"
    if runner_up:
        words += f"; next best {runner_up} {format_mass(runner_up_g)}"
    return words


def what_holds(problem: Problem, limits: tuple[Limit, ...], held_by: tuple[str, ...], extra_g: float) -> str:
    """Say what keeps a job from its best place; nothing where it has that.

    Parameters
    ----------
    problem : Problem
        The problem.
    limits : tuple of Limit
        What is full there.
    held_by : tuple of str
        Jobs that it waits for, or that wait for it, and that keep it from there.
    extra_g : float
        What it emits above its best place [g].

    Returns
    -------
    str
        Words to add to a sentence.
    """
    grid = problem.slots
    if limits:
        limit = limits[0]
        when = format_time(grid.start_s + limit.slots[0] * grid.step_s)
        count = sum(len(item.slots) for item in limits)
        more = f" and {count - 1} more" if count > 1 else ""
        where = f"{limit.resource} of {limit.region} at {when}{more}"
        return f"; full slots ({where}) cost it {format_mass(extra_g)}"
    if held_by:
        return f"; the order with '{held_by[0]}' costs it {format_mass(extra_g)}"
    if extra_g > _SAME:
        return f"; {format_mass(extra_g)} less is free, left by a search that ended within its gap"
    return ""

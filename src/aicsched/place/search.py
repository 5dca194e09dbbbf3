"""The state of one search: best plan, best bound, prices, and what has been tried."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.errors import InputError
from aicsched.place.ascent import balance, climb, polish, prices_of_sample
from aicsched.place.choice import Choice, costs_g, feasible, pointers, spans
from aicsched.place.cpsat import count_columns
from aicsched.place.ground import ground_of
from aicsched.place.pricing import Oracle
from aicsched.place.seating import FINE_GRAINS, Seating, build
from aicsched.place.settling import settle

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from aicsched.domain.placement import Placement
    from aicsched.place.ascent import Answer
    from aicsched.place.pricing import Priced
    from aicsched.place.problem import Problem

__all__ = ["Search", "warm"]

# Steps of the multipliers, from nothing and from the prices of a sample.
_STEPS: Final = 60
_LATER_STEPS: Final = 16
_POLISH_STEPS: Final = 600
# What CP-SAT closes at once needs no fine prices.
_TINY_COLUMNS: Final = 1000
_TINY_STEPS: Final = 60
_STEPS_PER_JOB: Final = 80
_FEWEST_STEPS: Final = 2000
# Where jobs are few and large, each needs more tries.
_COLUMN_STEPS: Final = 40
_MOST_FEW_STEPS: Final = 1_500_000
_CHUNKS: Final = 20
# Losses taken at first, as a multiple of a job's mean cost: jobs that have settled hardly gain by any,
# unless they are large.
_BOLD: Final = 0.1
_COARSE_BOLD: Final = 1.0
_WARM_SHARE: Final = 0.2
_WARM_BOLD: Final = 0.6
_TRIES: Final = 10
_KEPT_ANSWERS: Final = 250
_EXACT: Final = 1e-9


class Search:
    """What a solve knows.

    Parameters
    ----------
    problem : Problem
        The problem.
    gap : float
        Good enough.
    seed : int
        Of all draws.
    effort : float
        Multiple of the usual number of repairs.
    cpu_s : float
        CPU seconds to stop after.
    """

    def __init__(
        self, problem: Problem, *, gap: float, seed: int, effort: float = 1.0, cpu_s: float = float("inf")
    ) -> None:
        self.problem = problem
        self.ground = ground_of(problem)
        self.oracle = Oracle(self.ground)
        self.gap = gap
        self.seed = seed
        self.effort = effort
        self.until_s = time.process_time() + cpu_s
        self.best: Choice | None = None
        self.best_g = float("inf")
        self.bound_g = float("-inf")
        self.prices_g = np.zeros(problem.capacity.shape)
        self.answers: list[Choice] = []
        self.iterations = 0
        self.method = "per-job optimum"
        self.warm = False
        self.name_clash = True

    def offer(self, choice: Choice) -> None:
        """Keep a feasible choice when it is better."""
        total_g = float(costs_g(self.problem, choice).sum())
        if total_g < self.best_g and feasible(self.problem, choice):
            self.best, self.best_g = choice, total_g

    def offer_plan(self, plan: Placement) -> None:
        """Keep a plan of this very problem when it is better; refuse one of another."""
        choice = _kept(self.problem, plan)
        if plan.slots != self.problem.slots or (choice.region < 0).any():
            msg = f"a rival (policy '{plan.policy}') is no plan of this problem: jobs or windows differ"
            raise InputError(msg, hint="give rivals that were made from the same problem", value=plan.policy)
        self.offer(choice)

    def see(self, answer: Answer) -> bool:
        """Keep a bound and its answer; tell whether the search may end."""
        bound_g, prices_g, choice = answer
        self.iterations += 1
        if bound_g > self.bound_g:
            self.bound_g, self.prices_g = bound_g, prices_g
        if choice is not None and len(self.answers) < _KEPT_ANSWERS and self._few():
            self.answers.append(choice)
        return self.done()

    def _few(self) -> bool:
        return len(self.problem.job_ids) <= 10_000

    def bound(self, prices_g: NDArray[np.float64]) -> Choice:
        """Ask for a bound, keep it, and return the answers to it."""
        bound_g, choice, _ = self.oracle.bound(prices_g)
        self.see((bound_g, prices_g, choice))
        return choice

    def target_g(self) -> float:
        """Return what a plan may emit to be good enough [g]."""
        return self.bound_g + self.gap * max(self.bound_g, 0.0) + _EXACT * abs(self.bound_g)

    def done(self) -> bool:
        """Whether the gap is small enough, or the time is up."""
        return self.best_g <= self.target_g() or self.late()

    def late(self) -> bool:
        """Whether the time is up."""
        return time.process_time() > self.until_s

    def ascend(self) -> None:
        """Raise the bound."""
        if self.warm:
            balance(self.oracle, self.prices_g, self.seed, steps=_LATER_STEPS, seen=self.see)
            return
        if count_columns(self.problem) <= _TINY_COLUMNS:
            climb(self.oracle, self.prices_g, steps=_TINY_STEPS, seen=self.see)
            return
        prices_g = prices_of_sample(self.ground, self.seed)
        steps = _LATER_STEPS if prices_g.any() else _STEPS
        balance(self.oracle, prices_g, self.seed, steps=steps, seen=self.see)

    def polish(self) -> None:
        """Raise the bound of few jobs further."""
        if self._few() and not self.done() and count_columns(self.problem) > _TINY_COLUMNS:
            polish(self.oracle, self.prices_g, steps=_POLISH_STEPS, seen=self.see)

    def build(self, order: NDArray[np.int64]) -> None:
        """Let all jobs settle at the best prices; put them in one by one where that leaves some out."""
        priced = self.oracle.price(self.prices_g)
        seating, left = settle(self.ground, priced, self.seed)
        if not len(left):
            self.offer(seating.choice())
        if not len(left) or complete(self, seating.choice(), priced):
            return
        seating, left = build(self.ground, priced, order)
        if not len(left):
            self.offer(seating.choice())

    def improve(self, progress: Callable[[float, float], None] = lambda _best_g, _bound_g: None) -> None:
        """Repair the best plan under the best prices, less and less boldly."""
        if self.best is None or self.done():
            return
        jobs = len(self.problem.job_ids)
        effort = self.effort * (_WARM_SHARE if self.warm else 1.0)
        few = min(_COLUMN_STEPS * count_columns(self.problem), _MOST_FEW_STEPS)
        steps = max(1, int(effort * max(_FEWEST_STEPS, few, _STEPS_PER_JOB * jobs)) // _CHUNKS)
        priced = self.oracle.price(self.prices_g)
        seating = Seating(self.ground)
        seating.put(self.best)
        bold = _BOLD if self.ground.grains() >= FINE_GRAINS else _COARSE_BOLD
        bold_g = bold * self.best_g / jobs * (_WARM_BOLD if self.warm else 1.0)
        for chunk in range(_CHUNKS):
            if self.done():
                return
            fades = (bold_g * (1 - chunk / _CHUNKS), bold_g * (1 - (chunk + 1) / _CHUNKS))
            self.iterations += steps
            seating.repair(priced, steps, fades, self.seed + self.iterations)
            self.offer(seating.choice())
            progress(self.best_g, self.bound_g)


def _kept(problem: Problem, start: Placement) -> Choice:
    """Return where jobs stood that may stand there still; region -1 for all others."""
    shift = (start.slots.start_s - problem.slots.start_s) // problem.slots.step_s
    regions = {name: index for index, name in enumerate(problem.regions)}
    rows = {row.job_id: row for row in start.assignments}
    begin = pointers(problem)
    choice = Choice(np.full(len(problem.job_ids), -1, np.int64), np.zeros(int(begin[-1]), np.int64))
    for job, name in enumerate(problem.job_ids):
        row = rows.get(name)
        place = regions.get(row.region, -1) if row is not None else -1
        if row is None or place < 0 or not problem.allowed[job, place]:
            continue
        slots = [slot + shift for slot in row.slot_indices]
        inside = slots[0] >= problem.first[job] and slots[-1] < problem.last[job]
        joined = slots[-1] - slots[0] + 1 == len(slots) or problem.suspendable[job]
        if inside and joined and len(slots) == problem.n_slots[job]:
            choice.region[job] = place
            choice.slots[begin[job] : begin[job + 1]] = slots
    return choice


def _kept_prices(problem: Problem, start: Placement) -> NDArray[np.float64]:
    shift = (start.slots.start_s - problem.slots.start_s) // problem.slots.step_s
    prices_g = np.zeros(problem.capacity.shape)
    count = len(problem.slots)
    for region, name in enumerate(problem.regions):
        known = np.array(start.prices_g_per_vcpu_h.get(name, ()))
        slots = np.arange(len(known)) + shift
        inside = (slots >= 0) & (slots < count)
        prices_g[0, region, slots[inside]] = known[inside] * problem.slots.step_h
    return prices_g


def warm(search: Search, start: Placement) -> None:
    """Begin from an earlier plan: its prices, and its places for the jobs that are still there.

    Parameters
    ----------
    search : Search
        That has just begun.
    start : Placement
        A plan on a grid of the same step.

    Raises
    ------
    InputError
        The plan's grid has another step, or is off this one.
    """
    problem = search.problem
    off = (start.slots.start_s - problem.slots.start_s) % problem.slots.step_s
    if start.slots.step_s != problem.slots.step_s or off:
        msg = f"the plan to start from is not on the problem's grid of slots of {problem.slots.step_s} s"
        raise InputError(msg, hint="start from a plan on the same grid of slots", value=start.slots.step_s)
    prices_g = _kept_prices(problem, start)
    search.bound(prices_g)
    priced = search.oracle.price(prices_g)
    seating, left = settle(search.ground, priced, search.seed, _kept(problem, start))
    if not len(left):
        search.offer(seating.choice())
    search.warm = not len(left) or complete(search, seating.choice(), priced)


def complete(search: Search, choice: Choice, priced: Priced) -> bool:
    """Put in who is out of a plan; who finds no room goes first in the next try, and others make way.

    Parameters
    ----------
    search : Search
        Is offered the plan.
    choice : Choice
        Where jobs sit; region -1 for those that are out.
    priced : Priced
        The oracle's answer to the prices that lead.

    Returns
    -------
    bool
        Whether all jobs are in.
    """
    front = np.zeros(0, np.int64)
    for _ in range(_TRIES):
        seating = Seating(search.ground)
        stuck = seating.insert(front, priced.rates, priced.least_g, priced.turn)
        seating = _beside(search, choice, seating.choice())
        rest = np.flatnonzero(seating.region < 0)
        left = seating.insert(rest, priced.rates, priced.least_g, priced.turn)
        if not len(left):
            search.offer(seating.choice())
            return search.best is not None
        if len(stuck):
            break
        front = np.concatenate((left, front[~np.isin(front, left)]))
    return False


def _beside(search: Search, kept: Choice, first: Choice) -> Seating:
    """Seat those that come first, and beside them all that may keep their places."""
    problem = search.problem
    choice = kept.copy()
    begin = pointers(problem)
    ahead = first.region >= 0
    choice.region[ahead] = first.region[ahead]
    inside = np.repeat(ahead, problem.n_slots)
    choice.slots[inside] = first.slots[inside]
    while True:
        seating = Seating(search.ground)
        seating.put(choice)
        full = np.asarray((seating.free < 0).any(axis=0))
        place = np.repeat(choice.region, problem.n_slots)
        held: NDArray[np.bool_] = full[place, choice.slots] & (place >= 0)
        hit = (np.add.reduceat(held.astype(np.int64), begin[:-1]) > 0) & ~ahead
        earlier, later = problem.order[:, 0], problem.order[:, 1]
        starts, ends = spans(problem, choice)
        both = (choice.region[earlier] >= 0) & (choice.region[later] >= 0)
        late = both & (ends[earlier] > starts[later])
        hit[np.where(ahead[later], earlier, later)[late]] = True
        if not hit.any():
            return seating
        choice.region[hit] = -1

"""The solver ladder: exact when no limit binds, else prices, columns and a proof.

1. Every job takes its cheapest place. If all fit, the plan is optimal: gap 0.
2. Subgradient steps find prices of the full region-slots; they bound every plan
   from below and leave good columns behind (Held, Wolfe, Crowder 1974,
   doi:10.1007/BF01580223).
3. Column generation sharpens the prices: GLOP solves the relaxation over the
   columns, the oracle adds what is cheaper, until nothing is (Dantzig, Wolfe
   1960, doi:10.1287/opre.8.1.101).
4. Jobs that the relaxation leaves whole are placed; SCIP places the split ones;
   what finds no room is inserted, and ruin-and-recreate mends what is left
   (Schrimpf et al. 2000, doi:10.1006/jcph.1999.6413).

The best greedy plan stands by throughout, so no plan is worse than a baseline.
All limits are counts, never seconds: equal input gives an equal plan.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.domain.placement import Certificate, Placement
from aicsched.errors import Infeasible
from aicsched.place.choice import Choice, costs_g, load_vcpus, overfull, room_vcpus, to_placement
from aicsched.place.insertion import Room, build_by_insertion, improve
from aicsched.place.master import Column, Master, Relaxed, columns_of, solve_columns, split_jobs
from aicsched.place.policies import GREEDY, greedy_choice
from aicsched.place.pricing import Oracle, Priced

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from aicsched.place.problem import Problem

__all__ = ["solve"]

POLICY: Final = "optimal"
_SUBGRADIENT_STEPS: Final = 15
_MASTER_ROUNDS: Final = 25
_RUIN_ROUNDS: Final = 3000
_EXACT: Final = 1e-9
_OVERFULL_SHOWN: Final = 3


class _Search:
    """The state of one solve: incumbent, bound, prices and columns."""

    def __init__(self, problem: Problem, *, gap: float, seed: int) -> None:
        self.problem = problem
        self.oracle = Oracle(problem)
        self.gap = gap
        self.seed = seed
        self.best: Choice | None = None
        self.best_g = float("inf")
        self.bound_g = float("-inf")
        self.prices_g = np.zeros(problem.capacity_vcpus.shape)
        self.columns: dict[Column, None] = {}
        self.iterations = 0
        self._unsorted: list[Choice] = []

    def offer(self, choice: Choice) -> None:
        """Keep a feasible choice when it is better."""
        total_g = float(costs_g(self.problem, choice).sum())
        if total_g < self.best_g and not overfull(self.problem, choice):
            self.best, self.best_g = choice, total_g

    def remember(self, choice: Choice) -> None:
        """Keep a choice, whose columns the relaxation may want."""
        self._unsorted.append(choice)

    def collect(self) -> int:
        """Turn the choices kept since into columns; return how many are new."""
        before = len(self.columns)
        for choice in self._unsorted:
            self.columns.update(
                dict.fromkeys(columns_of(self.problem, choice, costs_g(self.problem, choice)))
            )
        self._unsorted.clear()
        return len(self.columns) - before

    def price(self, prices_g: NDArray[np.float64]) -> Priced:
        """Ask the oracle, and keep the bound and the columns."""
        self.iterations += 1
        priced = self.oracle.price(prices_g)
        if priced.bound_g > self.bound_g:
            self.bound_g, self.prices_g = priced.bound_g, prices_g
        self.remember(priced.choice)
        return priced

    def done(self) -> bool:
        """Whether the gap is small enough."""
        return self.best_g - self.bound_g <= self.gap * max(self.bound_g, 0.0)


def _subgradient(search: _Search) -> None:
    """Walk the prices uphill: dearer where too much wants in, cheaper where room is left."""
    problem = search.problem
    prices = np.zeros(problem.capacity_vcpus.shape)
    size, stalled, best_g = 1.0, 0, float("-inf")
    for _ in range(_SUBGRADIENT_STEPS):
        priced = search.price(prices)
        if priced.bound_g > best_g:
            best_g, stalled = priced.bound_g, 0
        else:
            stalled += 1
        if stalled >= 4:
            size, stalled = size / 2, 0
            prices = search.prices_g
            priced = search.price(prices)
        excess = load_vcpus(problem, priced.choice) - problem.capacity_vcpus
        excess[(prices <= 0) & (excess < 0)] = 0.0
        norm = float((excess**2).sum())
        target_g = search.best_g if np.isfinite(search.best_g) else search.bound_g * 1.05
        if norm <= 0 or search.done():
            return
        prices = np.maximum(0.0, prices + size * max(target_g - priced.bound_g, 0.0) / norm * excess)


def _generate_columns(search: _Search) -> Relaxed:
    """Alternate between the relaxation and the oracle until no cheaper column exists."""
    search.collect()
    dearest_g = max(column.cost_g for column in search.columns)
    master = Master(search.problem, penalty_g=100.0 * max(dearest_g, 1.0))
    master.add(search.columns)
    relaxed = master.solve()
    for _ in range(_MASTER_ROUNDS):
        # Prices between the relaxation's and the best known keep the oracle from swinging (Wentges 1997).
        search.price(0.7 * relaxed.prices_g + 0.3 * search.prices_g)
        search.price(relaxed.prices_g)
        close = relaxed.objective_g - search.bound_g <= 0.1 * search.gap * max(search.bound_g, 0.0)
        if not search.collect() or (close and relaxed.left_out <= _EXACT):
            break
        master.add(search.columns)
        relaxed = master.solve()
    return relaxed


def _refuse_overfull(search: _Search, relaxed: Relaxed) -> None:
    """Say which region-slots can't hold the work, when the relaxation proves that they can't."""
    problem = search.problem
    cells = np.argwhere(relaxed.prices_g > 0)
    dearest = sorted(cells.tolist(), key=lambda cell: -relaxed.prices_g[cell[0], cell[1]])[:_OVERFULL_SHOWN]
    places = ", ".join(f"{problem.regions[region]} slot {slot}" for region, slot in dearest)
    msg = f"the queue does not fit: work of {relaxed.left_out:.2f} jobs finds no room (fullest: {places})"
    hint = "add capacity, regions or time, or leave work out"
    raise Infeasible(msg, constraints=("capacity", "deadline"), hint=hint, value=relaxed.left_out)


def _round(search: _Search, relaxed: Relaxed) -> None:
    """Turn the relaxation into a whole plan."""
    problem = search.problem
    whole, split = split_jobs(relaxed)
    free = room_vcpus(problem).copy()
    for column in whole.values():
        free[column.region, list(column.slots)] -= problem.vcpus[column.job]
    if (free < 0).any():
        whole, split = {}, set(range(len(problem.job_ids)))
        free = room_vcpus(problem).copy()
    picked = solve_columns(
        problem, [column for column in search.columns if column.job in split], free, gap=search.gap / 4
    )
    chosen = whole | picked
    order = sorted(range(len(problem.job_ids)), key=lambda job: (job not in chosen, -problem.vcpus[job], job))

    def insert(room: Room, job: int) -> tuple[int, NDArray[np.int64]] | None:
        if job in chosen:
            column = chosen[job]
            slots = np.array(column.slots, dtype=np.int64)
            if (room.free_vcpus[column.region, slots] >= problem.vcpus[job]).all():
                return column.region, slots
        found = room.cheapest_anywhere(job)
        return None if found is None else (found[1], found[2])

    choice, left_out = build_by_insertion(problem, order, insert)
    if not left_out:
        search.offer(choice)


def solve(
    problem: Problem,
    *,
    gap: float = 0.002,
    seed: int = 0,
    progress: Callable[[float, float], None] = lambda _best_g, _bound_g: None,
) -> Placement:
    """Place all jobs with as few grams as can be, and prove how few that is.

    Parameters
    ----------
    problem : Problem
        The problem.
    gap : float
        Stop improving when (plan − bound) / bound is at most this.
    seed : int
        Seed of the repairs.
    progress : callable, optional
        Told the best plan and the bound [g] after each stage.

    Returns
    -------
    Placement
        Feasible, never worse than a greedy policy, with its certificate and prices.

    Raises
    ------
    Infeasible
        The queue does not fit: proven, or no plan was found.

    Examples
    --------
    >>> from aicsched.testing import example_problem
    >>> plan = solve(example_problem())
    >>> plan.certificate.gap <= 0.002
    True
    """
    search = _Search(problem, gap=gap, seed=seed)
    free_choice = search.price(np.zeros(problem.capacity_vcpus.shape)).choice
    search.offer(free_choice)
    method = "per-job optimum"
    if not np.isfinite(search.best_g):
        method = "column generation"
        _search_with_limits(search, progress)
    if search.best is None:
        msg = "no plan was found in which all jobs keep their deadlines"
        hint = "add capacity, regions or time; the relaxation fits, so it is close"
        raise Infeasible(msg, constraints=("capacity", "deadline"), hint=hint)
    bound_g = min(search.bound_g, search.best_g)
    if search.best_g - bound_g <= _EXACT * max(1.0, abs(bound_g)):
        bound_g = search.best_g
    placement = to_placement(problem, search.best, policy=POLICY, prices_g=search.prices_g)
    total_g = placement.total_g
    certificate = Certificate(
        status="optimal" if bound_g >= search.best_g else "bounded",
        objective_g=total_g,
        lower_bound_g=min(bound_g, total_g) if bound_g < search.best_g else total_g,
        method=method,
        seed=seed,
        iterations=search.iterations,
    )
    return to_placement(
        problem, search.best, policy=POLICY, certificate=certificate, prices_g=search.prices_g
    )


def _search_with_limits(search: _Search, progress: Callable[[float, float], None]) -> None:
    problem = search.problem
    for name in GREEDY:
        choice, left_out = greedy_choice(problem, name)
        if not left_out:
            search.offer(choice)
            search.remember(choice)
    _subgradient(search)
    progress(search.best_g, search.bound_g)
    if search.done():
        return
    relaxed = _generate_columns(search)
    progress(search.best_g, search.bound_g)
    if relaxed.left_out > 1e-6 and search.best is None:
        _refuse_overfull(search, relaxed)
    if not search.done():
        _round(search, relaxed)
        progress(search.best_g, search.bound_g)
    if not search.done() and search.best is not None:
        search.offer(improve(problem, search.best, seed=search.seed, rounds=_RUIN_ROUNDS))
        progress(search.best_g, search.bound_g)

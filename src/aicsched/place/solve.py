"""The solver ladder: exact when no limit binds, else prices, repair, columns and a proof.

1. Every job takes its cheapest place. If all fit, the plan is optimal: gap 0.
2. Subgradient steps find prices of the full region-slots, which bound every plan
   from below (Held, Wolfe, Crowder 1974, doi:10.1007/BF01580223).
3. Jobs are put in by price, largest first; ruin-and-recreate, led by the prices,
   repairs the plan until the gap is small (see `repair`).
4. Column generation sharpens the prices where that was not enough: GLOP solves
   the relaxation over the best columns so far, the oracle adds what is cheaper,
   until nothing is (Dantzig, Wolfe 1960, doi:10.1287/opre.8.1.101). SCIP places
   the few jobs that the relaxation splits, and repair goes on from there.
5. CP-SAT closes what gap is left of a small problem.

The best greedy plan stands by throughout, so no plan is worse than a baseline.
All limits are counts, never seconds: equal input gives an equal plan.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.domain.placement import Certificate, Placement
from aicsched.errors import Infeasible
from aicsched.place.choice import costs_g, load_vcpus, overfull, room_vcpus, to_placement
from aicsched.place.cpsat import MOST_COLUMNS, count_columns, dearest_g, solve_exact
from aicsched.place.insertion import Room, build_by_insertion
from aicsched.place.policies import GREEDY, greedy_choice
from aicsched.place.pricing import Oracle, Priced
from aicsched.place.repair import improve
from aicsched.slots import format_time

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from aicsched.place.choice import Choice
    from aicsched.place.master import Column, Relaxed
    from aicsched.place.problem import Problem

__all__ = ["solve"]

POLICY: Final = "optimal"
_SUBGRADIENT_STEPS: Final = 120
_FIRST_STEP_SHARE: Final = 0.05
_LAST_STEP_SHARE: Final = 1e-5
_PATIENCE: Final = 4
_MASTER_ROUNDS: Final = 25
_COLUMNS_PER_JOB: Final = 4
_MOST_MASTER_JOBS: Final = 6000
_FEW_JOBS: Final = 1500
_POOR_GAP: Final = 0.005
_REPAIRS: Final = 2
_MOST_SPLIT_JOBS: Final = 60
_MOST_REPAIRS: Final = 8000
_EXACT: Final = 1e-9
_LEFT_OUT: Final = 1e-6
_OVERFULL_SHOWN: Final = 3


class _Search:
    """The state of one solve: incumbent, bound, prices and answers."""

    def __init__(self, problem: Problem, *, gap: float, seed: int) -> None:
        self.problem = problem
        self.oracle = Oracle(problem)
        self.gap = gap
        self.seed = seed
        self.best: Choice | None = None
        self.best_g = float("inf")
        self.bound_g = float("-inf")
        self.prices_g = np.zeros(problem.capacity_vcpus.shape)
        self.answers: list[Choice] = []
        self.iterations = 0
        self.method = "per-job optimum"

    def offer(self, choice: Choice) -> None:
        """Keep a feasible choice when it is better."""
        total_g = float(costs_g(self.problem, choice).sum())
        if total_g < self.best_g and not overfull(self.problem, choice):
            self.best, self.best_g = choice, total_g

    def price(self, prices_g: NDArray[np.float64]) -> Priced:
        """Ask the oracle, and keep the bound and the answer."""
        self.iterations += 1
        priced = self.oracle.price(prices_g)
        if priced.bound_g > self.bound_g:
            self.bound_g, self.prices_g = priced.bound_g, prices_g
        self.answers.append(priced.choice)
        return priced

    def target_g(self) -> float:
        """Return what a plan may emit to be good enough [g]."""
        return self.bound_g + self.gap * max(self.bound_g, 0.0) + _EXACT * abs(self.bound_g)

    def done(self) -> bool:
        """Whether the gap is small enough."""
        return self.best_g <= self.target_g()

    def repair(self, prices_g: NDArray[np.float64]) -> None:
        """Repair the best plan under some prices."""
        if self.best is None or self.done():
            return
        rounds = min(_MOST_REPAIRS, 400 + 4 * len(self.problem.job_ids))
        priced = self.oracle.price(prices_g)
        self.iterations += rounds
        self.offer(
            improve(
                self.problem,
                self.best,
                prices_g,
                priced,
                seed=self.seed + self.iterations,
                rounds=rounds,
                target_g=self.target_g(),
            )
        )


def _subgradient(search: _Search) -> None:
    """Walk the prices uphill: dearer where too much wants in, cheaper where room is left.

    Steps aim a share above the best bound; the share halves when the bound stalls.
    """
    problem = search.problem
    prices, share, stalled = search.prices_g, _FIRST_STEP_SHARE, 0
    for _ in range(_SUBGRADIENT_STEPS):
        before_g = search.bound_g
        priced = search.price(prices)
        stalled = 0 if priced.bound_g > before_g else stalled + 1
        if stalled >= _PATIENCE:
            share, stalled, prices = share / 2, 0, search.prices_g
            if share < _LAST_STEP_SHARE:
                return
            continue
        excess = load_vcpus(problem, priced.choice) - problem.capacity_vcpus
        excess[(prices <= 0) & (excess < 0)] = 0.0
        norm = float((excess**2).sum())
        if norm <= 0 or search.done():
            return
        ahead_g = search.bound_g + share * max(abs(search.bound_g), _EXACT) - priced.bound_g
        prices = np.maximum(0.0, prices + ahead_g / norm * excess)


def _by_size(problem: Problem) -> list[int]:
    """Return the jobs, largest first."""
    area = problem.vcpus * problem.n_slots
    return np.lexsort((np.arange(len(area)), -problem.n_slots, -area)).tolist()


def _insert(
    search: _Search, chosen: Mapping[int, Column], prices_g: NDArray[np.float64], order: list[int]
) -> None:
    """Put jobs into their chosen columns where there is room, else into their cheapest place by price."""
    vcpus = search.problem.vcpus

    def spot(room: Room, job: int) -> tuple[int, NDArray[np.int64]] | None:
        if job in chosen:
            column = chosen[job]
            slots = np.array(column.slots, dtype=np.int64)
            if (room.free_vcpus[column.region, slots] >= vcpus[job]).all():
                return column.region, slots
        found = room.cheapest_anywhere(job)
        return None if found is None else (found[1], found[2])

    choice, left_out = build_by_insertion(search.problem, order, spot, prices_g)
    if not left_out:
        search.offer(choice)


def _generate_columns(search: _Search) -> Relaxed:
    """Alternate between the relaxation and the oracle until no cheaper column exists."""
    from aicsched.place.master import Master, columns_of, near_columns  # noqa: PLC0415 - loads OR-Tools

    problem = search.problem
    master = Master(problem, penalty_g=10.0 * max(dearest_g(problem), 1.0))
    master.add(near_columns(problem, search.answers, search.prices_g, per_job=_COLUMNS_PER_JOB))
    relaxed = master.solve()
    for _ in range(_MASTER_ROUNDS):
        # Prices between the relaxation's and the best ones known keep the oracle from swinging
        # (Wentges 1997, doi:10.1016/S0969-6016(97)00001-4).
        mixed = 0.5 * relaxed.prices_g + 0.5 * search.prices_g
        answers = [search.price(prices).choice for prices in (mixed, relaxed.prices_g)]
        added = sum(master.add(columns_of(problem, one, costs_g(problem, one))) for one in answers)
        close = relaxed.objective_g - search.bound_g <= 0.1 * search.gap * max(search.bound_g, 0.0)
        if not added or (close and relaxed.left_out <= _LEFT_OUT):
            break
        relaxed = master.solve()
    return relaxed


def _refuse_overfull(search: _Search, prices_g: NDArray[np.float64], left_out: float) -> None:
    """Say which region-slots can't hold the work, when a bound above any plan proves that they can't."""
    problem = search.problem
    if search.bound_g <= dearest_g(problem):
        return
    cells = np.argwhere(prices_g > 0).tolist()
    dearest = sorted(cells, key=lambda cell: (-float(prices_g[cell[0], cell[1]]), cell))[:_OVERFULL_SHOWN]
    grid = problem.slots
    places = ", ".join(
        f"{problem.regions[region]} at {format_time(grid.start_s + slot * grid.step_s)}"
        for region, slot in dearest
    )
    msg = f"the queue does not fit: work of {left_out:.2f} jobs finds no room (fullest: {places})"
    hint = "add capacity, regions or time, or leave work out"
    raise Infeasible(msg, constraints=("capacity", "deadline"), hint=hint, value=left_out)


def _round(search: _Search, relaxed: Relaxed) -> None:
    """Turn the relaxation into a whole plan."""
    from aicsched.place.master import near_columns, solve_columns, split_jobs  # noqa: PLC0415 - loads OR-Tools

    problem = search.problem
    whole, split = split_jobs(relaxed)
    chosen: dict[int, Column] = {
        column.job: column for column, _ in sorted(relaxed.shares.items(), key=lambda item: item[1])
    }
    free = room_vcpus(problem).copy()
    for column in whole.values():
        free[column.region, list(column.slots)] -= problem.vcpus[column.job]
    if 0 < len(split) <= _MOST_SPLIT_JOBS and (free >= 0).all():
        columns = near_columns(problem, search.answers, relaxed.prices_g, per_job=2 * _COLUMNS_PER_JOB)
        chosen |= solve_columns(
            problem, [column for column in columns if column.job in split], free, gap=search.gap / 4
        )
    order = sorted(_by_size(problem), key=lambda job: job not in whole)
    _insert(search, chosen, relaxed.prices_g, order)


def _by_columns(search: _Search) -> None:
    """Sharpen prices and plan by column generation."""
    search.method = "prices, columns and repair"
    relaxed = _generate_columns(search)
    if relaxed.left_out > _LEFT_OUT and search.best is None:
        _refuse_overfull(search, relaxed.prices_g, relaxed.left_out)
    if not search.done():
        _round(search, relaxed)
        search.repair(relaxed.prices_g)


def _exactly(search: _Search) -> None:
    """Close the gap of a small problem."""
    search.method = "CP-SAT"
    exact = solve_exact(search.problem, start=search.best, gap=search.gap, seed=search.seed)
    if exact.choice is not None:
        search.offer(exact.choice)
    elif exact.bound_g == float("inf"):
        names = ("capacity", "deadline")
        msg = "the queue does not fit: CP-SAT proves that no plan keeps all deadlines under the capacity"
        raise Infeasible(msg, constraints=names, hint="add capacity, regions or time, or leave work out")
    search.bound_g = max(search.bound_g, min(exact.bound_g, search.best_g))


def _search_with_limits(search: _Search, progress: Callable[[float, float], None]) -> None:
    problem = search.problem
    search.method = "prices and repair"
    for name in GREEDY:
        choice, left_out = greedy_choice(problem, name)
        if not left_out:
            search.offer(choice)
    _subgradient(search)
    _insert(search, {}, search.prices_g, _by_size(problem))
    progress(search.best_g, search.bound_g)
    for _ in range(_REPAIRS):
        search.repair(search.prices_g)
        progress(search.best_g, search.bound_g)
    # Where repair came close, the relaxation of many jobs costs more than it gains.
    poor = search.best_g > search.bound_g * (1 + _POOR_GAP) or len(problem.job_ids) <= _FEW_JOBS
    if not search.done() and (search.best is None or (poor and len(problem.job_ids) <= _MOST_MASTER_JOBS)):
        _by_columns(search)
        progress(search.best_g, search.bound_g)
    if not search.done() and count_columns(problem) <= MOST_COLUMNS:
        _exactly(search)
        progress(search.best_g, search.bound_g)


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
        Stop improving when (plan - bound) / bound is at most this.
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

    """
    search = _Search(problem, gap=gap, seed=seed)
    search.offer(search.price(np.zeros(problem.capacity_vcpus.shape)).choice)
    if search.best is None:
        _search_with_limits(search, progress)
    if search.best is None:
        msg = "no plan was found in which all jobs keep their deadlines"
        hint = "add capacity, regions or time: the relaxation leaves hardly any room"
        raise Infeasible(msg, constraints=("capacity", "deadline"), hint=hint)
    plan = to_placement(problem, search.best, policy=POLICY, prices_g=search.prices_g)
    # The bound is summed in another order than the plan: they may cross by rounding.
    closed = search.best_g - search.bound_g <= _EXACT * max(abs(search.best_g), _EXACT)
    certificate = Certificate(
        status="optimal" if closed else "bounded",
        objective_g=plan.total_g,
        lower_bound_g=plan.total_g if closed else search.bound_g,
        method=search.method,
        seed=seed,
        iterations=search.iterations,
    )
    return replace(plan, certificate=certificate)

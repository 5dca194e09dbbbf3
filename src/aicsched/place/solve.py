"""The solver ladder: exact when no limit binds, else prices, repair, columns and a proof.

1. Every job takes its cheapest place. If all fit, the plan is optimal: gap 0.
2. Jobs settle under soft capacity; what they want too much of makes the prices of the
   full resources, which bound every plan from below (see `ascent`).
3. Jobs settle at these prices while capacity hardens (see `settling`); ruin-and-recreate,
   led by the prices, repairs the plan until the gap is small (see `kernels.repair`).
4. Column generation sharpens the prices where that was not enough: GLOP solves
   the relaxation over the best columns so far, the oracle adds what is cheaper,
   until nothing is (Dantzig, Wolfe 1960, doi:10.1287/opre.8.1.101). SCIP places
   the few jobs that the relaxation splits, and repair goes on from there.
5. Branch and cut closes what gap is left of a small problem (see `direct`), at once where
   columns are few; CP-SAT does where jobs wait for others or pay for being resumed.

Where the queue is short, the best greedy plan stands by throughout, or the best of the
plans that the caller has at hand, so no plan is worse than a baseline. All limits are
counts, never seconds: equal input gives an equal plan. A limit in CPU seconds can be set
on top.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.domain.placement import Certificate, Placement
from aicsched.errors import Infeasible
from aicsched.place.choice import costs_g, room, to_placement
from aicsched.place.conflict import find_conflict
from aicsched.place.cpsat import MOST_COLUMNS, count_columns, dearest_g, solve_exact
from aicsched.place.direct import direct_fits, solve_direct
from aicsched.place.insertion import Room, build_by_insertion
from aicsched.place.policies import GREEDY, greedy_choice
from aicsched.place.refusal import refusal
from aicsched.place.relaxation import Relaxation
from aicsched.place.search import Search, warm
from aicsched.slots import format_time

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from aicsched.place.master import Column, Relaxed
    from aicsched.place.problem import Problem

__all__ = ["solve"]

POLICY: Final = "optimal"
_MASTER_ROUNDS: Final = 25
_COLUMNS_PER_JOB: Final = 4
_MOST_MASTER_JOBS: Final = 2000
_MOST_UNPLANNED_JOBS: Final = 6000
_MOST_GREEDY_JOBS: Final = 3000
_MOST_SPLIT_JOBS: Final = 60
# So few columns are closed by branch and cut in a second or two, sooner than repairs pay.
_FEW_COLUMNS: Final = 7_000
_EXACT: Final = 1e-9
_LEFT_OUT: Final = 1e-6
_OVERFULL_SHOWN: Final = 3


def _by_size(problem: Problem) -> NDArray[np.int64]:
    """Return the jobs, largest first, as shares of what there is."""
    totals = np.where(np.isfinite(problem.capacity), problem.capacity, 0.0).sum(axis=(1, 2))
    shares = np.divide(problem.demand, totals, out=np.zeros_like(problem.demand), where=totals > 0)
    area = shares.max(axis=1) * problem.n_slots
    return np.lexsort((np.arange(len(area)), -problem.n_slots, -area))


def _insert(search: Search, chosen: Mapping[int, Column], order: list[int]) -> None:
    """Put jobs into their chosen columns where there is room, else into their cheapest place."""

    def spot(space: Room, job: int) -> tuple[int, NDArray[np.int64]] | None:
        if job in chosen:
            column = chosen[job]
            slots = np.array(column.slots, dtype=np.int64)
            held = search.problem.demand[job][:, None]
            if (space.free[:, column.region, slots] >= held).all():
                return column.region, slots
        found = space.cheapest_anywhere(job)
        return None if found is None else (found[1], found[2])

    choice, left_out = build_by_insertion(search.problem, order, spot)
    if not left_out:
        search.offer(choice)


def _generate_columns(search: Search) -> Relaxed:
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
        answers = [search.bound(prices) for prices in (mixed, relaxed.prices_g)]
        added = sum(master.add(columns_of(problem, one, costs_g(problem, one))) for one in answers)
        close = relaxed.objective_g - search.bound_g <= 0.1 * search.gap * max(search.bound_g, 0.0)
        if not added or (close and relaxed.left_out <= _LEFT_OUT):
            break
        relaxed = master.solve()
    return relaxed


def _refused(search: Search, words: str, *, unnamed: str = "") -> Infeasible:
    """Make the error for a queue that is proven not to fit, with the clash where it is asked for."""
    if search.name_clash:
        return refusal(search.problem, words, unnamed=unnamed)
    return Infeasible(words + unnamed, constraints=("capacity", "deadline"), hint="widen the windows")


def _refuse_overfull(search: Search, prices_g: NDArray[np.float64], left_out: float) -> None:
    """Say which region-slots can't hold the work, when a bound above any plan proves that they can't."""
    problem = search.problem
    if search.bound_g <= dearest_g(problem):
        return
    msg = f"the queue does not fit: work of {left_out:.2f} jobs finds no room"
    raise _refused(search, msg, unnamed=f" (fullest: {_fullest(problem, prices_g)})")


def _fullest(problem: Problem, prices_g: NDArray[np.float64]) -> str:
    """Return the region-slots of the highest prices, as text."""
    cells = np.argwhere(prices_g > 0).tolist()
    dearest = sorted(cells, key=lambda cell: (-float(prices_g[tuple(cell)]), cell))[:_OVERFULL_SHOWN]
    grid = problem.slots
    return ", ".join(
        f"{problem.regions[region]} at {format_time(grid.start_s + slot * grid.step_s)}"
        for _, region, slot in dearest
    )


def _round(search: Search, relaxed: Relaxed) -> None:
    """Turn the relaxation into a whole plan."""
    from aicsched.place.master import near_columns, solve_columns, split_jobs  # noqa: PLC0415 - loads OR-Tools

    problem = search.problem
    whole, split = split_jobs(relaxed)
    chosen: dict[int, Column] = {
        column.job: column for column, _ in sorted(relaxed.shares.items(), key=lambda item: item[1])
    }
    free = room(problem).copy()
    for column in whole.values():
        free[:, column.region, list(column.slots)] -= problem.demand[column.job][:, None]
    if 0 < len(split) <= _MOST_SPLIT_JOBS and (free >= 0).all():
        columns = near_columns(problem, search.answers, relaxed.prices_g, per_job=2 * _COLUMNS_PER_JOB)
        chosen |= solve_columns(
            problem, [column for column in columns if column.job in split], free, gap=search.gap / 4
        )
    order = sorted(_by_size(problem).tolist(), key=lambda job: job not in whole)
    _insert(search, chosen, order)


def _by_columns(search: Search) -> None:
    """Sharpen prices and plan by column generation."""
    search.method = "prices, columns and repair"
    relaxed = _generate_columns(search)
    if relaxed.left_out > _LEFT_OUT and search.best is None:
        _refuse_overfull(search, relaxed.prices_g, relaxed.left_out)
    if not search.done():
        _round(search, relaxed)
        search.improve()


def _directly(search: Search) -> None:
    """Close the gap of a small problem by branches and cuts, as far as the nodes go."""
    search.method = "branch and cut"
    model = Relaxation(search.problem)
    # The prices of its optimum explain the plan, and tell columns that are of no use.
    search.bound(model.prices_g())
    limit_s = max(search.until_s - time.process_time(), 0.0)
    exact = solve_direct(
        model, prices_g=search.prices_g, best_g=search.best_g, gap=search.gap, limit_s=limit_s
    )
    if exact.choice is not None:
        search.offer(exact.choice)
    elif exact.bound_g == float("inf"):
        msg = "the queue does not fit: whatever goes where, some work finds no room"
        raise _refused(search, msg, unnamed=f" (fullest: {_fullest(search.problem, search.prices_g)})")
    search.bound_g = max(search.bound_g, min(exact.bound_g, search.best_g))


def _exactly(search: Search) -> None:
    """Close the gap of a small problem."""
    search.method = "CP-SAT"
    exact = solve_exact(search.problem, start=search.best, gap=search.gap, seed=search.seed)
    if exact.choice is not None:
        search.offer(exact.choice)
    elif exact.bound_g == float("inf"):
        msg = "the queue does not fit: CP-SAT proves that no plan keeps all deadlines under the capacity"
        raise _refused(search, msg)
    search.bound_g = max(search.bound_g, min(exact.bound_g, search.best_g))


def _offer_rivals(search: Search, rivals: Sequence[Placement]) -> None:
    """Keep the best of the plans at hand; without one, the best greedy plan of a short queue."""
    for rival in rivals:
        search.offer_plan(rival)
    if search.best is None and len(search.problem.job_ids) <= _MOST_GREEDY_JOBS:
        for name in GREEDY:
            choice, left_out = greedy_choice(search.problem, name)
            if not left_out:
                search.offer(choice)


def _search_with_limits(search: Search, progress: Callable[[float, float], None]) -> None:
    problem = search.problem
    search.method = "prices and repair"
    progress(search.best_g, search.bound_g)
    if not search.done():
        search.ascend()
        progress(search.best_g, search.bound_g)
    # However late it is, there shall be a plan.
    if search.best is None or not search.done():
        search.build(_by_size(problem))
        progress(search.best_g, search.bound_g)
    few = direct_fits(problem) and count_columns(problem) <= _FEW_COLUMNS
    if few and not search.done():
        _directly(search)
        progress(search.best_g, search.bound_g)
        if search.best is not None:
            # Nothing that follows gets further with so few columns.
            return
    search.polish()
    progress(search.best_g, search.bound_g)
    search.improve(progress)
    if not search.done():
        _close(search, progress)


def _close(search: Search, progress: Callable[[float, float], None]) -> None:
    """Close the gap as far as the size of the problem allows."""
    problem = search.problem
    if direct_fits(problem):
        _directly(search)
        progress(search.best_g, search.bound_g)
        return
    # The relaxation of many jobs costs more than it gains.
    most = _MOST_MASTER_JOBS if search.best is not None else _MOST_UNPLANNED_JOBS
    if len(problem.job_ids) <= most:
        _by_columns(search)
        progress(search.best_g, search.bound_g)
    if not search.done() and count_columns(problem) <= MOST_COLUMNS:
        _exactly(search)
        progress(search.best_g, search.bound_g)


def _unplanned(search: Search) -> Infeasible:
    msg = "no plan was found in which all jobs keep their deadlines"
    found = None if search.late() or not search.name_clash else find_conflict(search.problem)
    if found is not None:
        return refusal(search.problem, "the queue does not fit", found=found)
    if search.bound_g > dearest_g(search.problem):
        # A bound above what any plan could emit proves that there is none.
        msg = f"the queue does not fit (fullest: {_fullest(search.problem, search.prices_g)})"
    hint = "add capacity, regions or time: the relaxation leaves hardly any room"
    return Infeasible(msg, constraints=("capacity", "deadline"), hint=hint)


def solve(  # noqa: PLR0913 - one keyword per limit of the search
    problem: Problem,
    *,
    gap: float = 0.002,
    seed: int = 0,
    effort: float = 1.0,
    cpu_s: float = float("inf"),
    start: Placement | None = None,
    rivals: Sequence[Placement] = (),
    name_clash: bool = True,
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
        Seed of samples and repairs.
    effort : float
        How many repairs to allow, as a multiple of the usual number; > 0.
    cpu_s : float
        CPU seconds after which the search ends with the best plan so far. Then, and
        only then, equal input may give another plan.
    start : Placement, optional
        An earlier plan of a similar problem: jobs that are still there start from where
        they stood, and its prices lead.
    rivals : sequence of Placement
        Plans of this problem that are at hand already: the result is no worse than any of them. Without
        them, greedy ones are made of a short queue.
    name_clash : bool
        Whether jobs and limits that clash are searched for where the queue does not fit, which can take
        longer than the plan.
    progress : callable, optional
        Told the best plan and the bound [g] after each stage.

    Returns
    -------
    Placement
        Feasible, with its certificate and prices.

    Raises
    ------
    Infeasible
        The queue does not fit: proven, or no plan was found.
    InputError
        A plan to start from is on another grid of slots, or a rival is no plan of this problem.

    """
    search = Search(problem, gap=gap, seed=seed, effort=effort, cpu_s=cpu_s)
    search.name_clash = name_clash
    search.offer(search.bound(np.zeros(problem.capacity.shape)))
    if search.best is None:
        if start is not None:
            warm(search, start)
        _offer_rivals(search, rivals)
        _search_with_limits(search, progress)
    if search.best is None:
        raise _unplanned(search)
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

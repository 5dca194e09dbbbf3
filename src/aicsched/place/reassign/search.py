"""Search for a better assignment, with a proof of how good it can be at most.

Simulated annealing over shifts and swaps (`kernels/anneal.py`) at temperatures
that fall from the cost of an average process. On small problems, and on large
ones given 25,000 iterations a process, limits may be broken while it is hot, at
a fine that rises as it cools; at the end nothing may be. Only assignments that
keep every limit count, the present one to begin with, so there is always a plan.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from aicsched.domain.carbon import frozen_array
from aicsched.errors import Infeasible, InputError
from aicsched.place.reassign.bound import lower_bound
from aicsched.place.reassign.check import check_assignment, costs_of, violations_of
from aicsched.place.reassign.kernels.anneal import ANNEAL, BEST, TALLY
from aicsched.place.reassign.layout import board_of, reprice

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    from aicsched.place.reassign.problem import Reassignment

__all__ = ["ReassignmentPlan", "solve"]

_CHUNKS: Final = 240
_STEPS_A_PROCESS: Final = 20_000
_MOST_DEFAULT_STEPS: Final = 200_000_000
# The first part of the steps may break limits, at a fine that rises. The second goes on from its best plan
# and breaks none. Temperatures are shares of what an average process costs.
_OPEN: Final = 0.9
_HOT: Final = 4.0
_COLD: Final = 3e-3
_FINE: Final = 4.0
_FINE_END: Final = 2e4
_PENALTY: Final = 5.0
_REHEAT: Final = 0.2
_COOL: Final = 7e-4
# With fewer steps for each of many processes the first part ends with limits still broken: it is left out.
# A small problem always has it, as it may be that none of its moves keeps all limits.
_STEPS_TO_OPEN: Final = 25_000
_MANY: Final = 500
_COOL_ALONE: Final = 5e-3
# What no gain is worth.
_CLOSED: Final = 1e6
# In a thousand: swaps of all kinds, and those among processes of one service; the others are shifts.
_SWAPS: Final = 900
_MATES: Final = 250
_QUANTILES: Final = 1024
_MOST: Final = 2**58


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReassignmentPlan:
    """A feasible assignment, and how far from the best it can be at most.

    Parameters
    ----------
    assignment : ndarray of int64, shape (P,)
        The machine of each process.
    moves : ndarray of int64, shape (K, 3)
        Rows (process, from, to) of those that move.
    cost : int
        Of the assignment, checked.
    home_cost : int
        Of leaving all as it is.
    lower_bound : int
        No feasible assignment costs less.
    bound_method : str
        How that was proven; ``"none"`` where it wasn't asked for.
    seed, iterations : int
        What gives the same plan again; iterations are those that were done.
    """

    assignment: NDArray[np.int64]
    moves: NDArray[np.int64]
    cost: int
    home_cost: int
    lower_bound: int
    bound_method: str
    seed: int
    iterations: int

    @property
    def gap(self) -> float:
        """Proven distance from the optimum as a share of the bound, >= 0; inf without a bound above 0."""
        if self.cost == self.lower_bound:
            return 0.0
        return (self.cost - self.lower_bound) / self.lower_bound if self.lower_bound > 0 else float("inf")


class _Cooling:
    """Temperatures, fines and penalties by how much of the search is done."""

    def __init__(self, problem: Reassignment, heat: float) -> None:
        weights, needs = problem.load_weight, problem.need
        sizes = [float((needs * weights).mean())]
        sizes += [
            weight * float((target * needs[:, first] + needs[:, second]).mean())
            for first, second, target, weight in problem.balance.tolist()
        ]
        fares = problem.process_move_cost.astype(np.float64) * float(problem.move_weights[0])
        # Where nothing but moves costs anything, those set the scale.
        self.size = max(max(sizes) or float(fares.mean()), 1.0)
        self.heat = heat
        self.weights = np.maximum(weights, 1).astype(np.float64)
        # So that all use above capacities together costs no more than 64 bits hold.
        self.most_fine = _MOST / (2.0 * len(weights) * (needs.sum(axis=0) + 1.0))
        self.most_penalty = _MOST / (
            float(problem.min_locations.sum()) + len(problem.dependencies) * 1e5 + 1.0
        )
        middles = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
        self.quantiles = -np.log(middles)

    def opened(self, done: float) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
        """Give limits, fines and penalty after a share of the first part."""
        hot = self.size * _HOT * self.heat
        cold = self.size * _COLD * min(self.heat, 1.0)
        fine = _FINE * (_FINE_END / _FINE) ** done
        return self._at(hot * (cold / hot) ** done if hot > 0 else 0.0, fine, self.size * _PENALTY)

    def closed(
        self, done: float, *, gained: bool, alone: bool
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
        """Give them after a share of the second; where the first gained nothing it begins as hot as that."""
        hot = self.size * (_REHEAT if gained else _HOT) * self.heat
        cool = min(self.size * (_COOL_ALONE if alone else _COOL), hot)
        # The last fifth is for small costs.
        temperature = hot * (cool / hot) ** (done / 0.8) if done < 0.8 and hot > 0 else cool ** (5 - 5 * done)
        return self._at(temperature, _CLOSED, self.size * _CLOSED)

    def _at(
        self, temperature: float, fine: float, penalty: float
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
        fines = np.minimum(self.weights * fine, self.most_fine).astype(np.int64)
        limits = np.minimum(self.quantiles * temperature, _MOST).astype(np.int64)
        return (
            frozen_array(limits, np.int64),
            np.maximum(fines, 1),
            max(int(min(penalty, self.most_penalty)), 1),
        )


def _start_of(problem: Reassignment, start: ArrayLike | None) -> NDArray[np.int64]:
    """Take the assignment to begin with, if it keeps all limits."""
    begin = problem.home if start is None else np.asarray(start)
    faults = violations_of(problem, begin)
    if faults:
        shown = "; ".join(f"{fault.text} [{fault.limit}]" for fault in faults[:3])
        whose = "the present assignment" if start is None else "start"
        msg = f"{whose} breaks {len(faults)} limits: {shown}"
        names = tuple(sorted({fault.limit for fault in faults}))
        hint = "a search begins with what keeps all limits: correct the limits, or give another start"
        raise Infeasible(msg, constraints=names, hint=hint, value=names)
    return np.array(begin, dtype=np.int64)


def _search(
    problem: Reassignment,
    begin: NDArray[np.int64],
    cooling: _Cooling,
    seed: int,
    go_on: _Budget,
) -> tuple[NDArray[np.int64], int, int]:
    """Anneal until `go_on` says 1: it gives the share done and the next number of steps."""
    board: tuple[Any, ...] = board_of(problem, begin)
    best, log = begin.copy(), np.zeros((4 * len(begin) + 2, 2), dtype=np.int64)
    seeds = np.array([1 + seed * 7919 % 2147483562, 1 + seed * 104729 % 2147483398], dtype=np.int64)
    small = len(begin) < _MANY
    opened = _OPEN if small or go_on.steps >= _STEPS_TO_OPEN * len(begin) else 0.0
    steps, closed, gained, least = 0, False, False, int(board[TALLY][BEST])
    while True:
        done, more = go_on(steps, int(board[TALLY][BEST]))
        if done >= 1.0:
            break
        if done < opened:
            limits, fines, penalty = cooling.opened(done / opened)
        else:
            if not closed:
                closed, gained = True, bool(board[TALLY][BEST] < least)
                board = board_of(problem, best)
            rest = (done - opened) / (1 - opened)
            limits, fines, penalty = cooling.closed(rest, gained=gained, alone=opened == 0.0)
        board = reprice(problem, board, fines, penalty)
        ANNEAL(board, best, log, seeds, limits, frozen_array([more, _SWAPS, _MATES], np.int64))
        steps += more
    return best, int(board[TALLY][BEST]), steps


class _Budget:
    """Shares out steps, by count or until CPU seconds are used up."""

    def __init__(
        self, steps: int, cpu_limit_s: float | None, progress: Callable[[int, int], bool | None] | None
    ) -> None:
        self.steps = steps
        self.limit_s = cpu_limit_s
        self.progress = progress
        self.begun_s = time.process_time()

    def __call__(self, steps: int, best: int) -> tuple[float, int]:
        """Give the share done and how many steps come next."""
        if self.progress is not None and self.progress(steps, best) is False:
            return 1.0, 0
        left = self.steps - steps
        if self.limit_s is None or left <= 0:
            return steps / self.steps, min(-(-self.steps // _CHUNKS), left)
        used_s = time.process_time() - self.begun_s
        share = max(used_s / self.limit_s, steps / self.steps)
        if steps == 0:
            # The first call may compile: that isn't taken for the speed of the search.
            return share, min(1000, left)
        if self._first_s is None:
            self._first_s = used_s
            return share, min(20_000, left)
        rate = (steps - 1000) / max(used_s - self._first_s, 1e-6)
        return share, max(min(int(rate * self.limit_s / _CHUNKS), left), 1)

    _first_s: float | None = None


def solve(  # noqa: PLR0913 - settings by name
    problem: Reassignment,
    *,
    seed: int = 0,
    iterations: int | None = None,
    start: ArrayLike | None = None,
    heat: float = 1.0,
    prove: bool = True,
    cpu_limit_s: float | None = None,
    progress: Callable[[int, int], bool | None] | None = None,
) -> ReassignmentPlan:
    """Search for a cheaper assignment, and prove how cheap any can be at most.

    Parameters
    ----------
    problem : Reassignment
        Its present assignment must keep all limits.
    seed : int
        From 0; the same problem, seed and iterations give the same plan.
    iterations : int, optional
        Moves to be tried (default: 20,000 a process, at most 2·10^8). Some millions take a
        CPU second. From 500 processes on, ways through broken limits are tried from 25,000
        a process on.
    start : array_like, shape (P,), optional
        A feasible assignment to begin with in place of the present one, e.g. the last plan;
        with a low `heat` little of it is given up.
    heat : float
        Temperature at the start, as a share of the usual one.
    prove : bool
        Whether to prove a lower bound too: seconds more on problems of some 1,000 processes.
    cpu_limit_s : float, optional
        Cool down within so many CPU seconds; the plan then depends on the machine's speed.
    progress : callable, optional
        Told iterations and best cost so far some hundred times; if it returns False, the
        search ends with the best plan.

    Returns
    -------
    ReassignmentPlan
        Feasible, never dearer than the start, and checked by `check_assignment`.

    Raises
    ------
    Infeasible
        The present assignment, or `start`, breaks limits, with their names.
    InputError
        A seed, count or limit below its range.

    Examples
    --------
    >>> from aicsched.place.reassign import build_reassignment
    >>> machines = {"capacity": [[9], [9]], "safety_capacity": [[5], [5]]}
    >>> plan = solve(build_reassignment(need=[[4], [4]], home=[0, 0], **machines), iterations=1000)
    >>> plan.cost, plan.lower_bound, sorted(plan.assignment.tolist())
    (0, 0, [0, 1])
    """
    steps = (
        min(_STEPS_A_PROCESS * len(problem.home), _MOST_DEFAULT_STEPS) if iterations is None else iterations
    )
    for name, value, least in (("seed", seed, 0), ("iterations", steps, 1), ("heat", heat, 0)):
        if value < least:
            msg = f"{name} is {value}, below {least}"
            raise InputError(msg, hint=f"give at least {least}", value=value)
    if cpu_limit_s is not None and not cpu_limit_s > 0:
        msg = f"cpu_limit_s is {cpu_limit_s}, not above 0"
        raise InputError(msg, hint="give CPU seconds, or nothing", value=cpu_limit_s)
    begin = _start_of(problem, start)
    budget = _Budget(steps, cpu_limit_s, progress)
    best, cost, done = _search(problem, begin, _Cooling(problem, heat), seed, budget)
    bound = lower_bound(problem, cost=cost) if prove else None
    floor = 0 if bound is None else bound.value
    check_assignment(problem, best, total=cost, bound=floor)
    moved = np.flatnonzero(best != problem.home)
    return ReassignmentPlan(
        assignment=frozen_array(best, np.int64),
        moves=frozen_array(np.stack([moved, problem.home[moved], best[moved]], axis=1), np.int64),
        cost=cost,
        home_cost=costs_of(problem, problem.home).total,
        lower_bound=floor,
        bound_method="none" if bound is None else bound.method,
        seed=seed,
        iterations=done,
    )

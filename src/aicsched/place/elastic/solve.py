"""One plan and one bound for jobs that scale and the others beside them.

As in `aicsched.place.solve`, jobs settle under soft capacity, those that scale among them, which
makes the prices; these bound every plan from below, by the sum of all jobs' best answers. At these
prices all settle while capacity hardens. Then those of one size are repaired while those that scale
stay, and these take what is best for them in turn while the others stay, over and over. CP-SAT closes
what is small.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.domain.placement import Certificate
from aicsched.errors import Infeasible
from aicsched.place.ascent import balance, climb, polish
from aicsched.place.choice import Choice, costs_g, feasible, load
from aicsched.place.cpsat import count_columns
from aicsched.place.elastic.block import Block, JointOracle, JointSettling, plain_ground
from aicsched.place.elastic.exact import MOST_COLUMNS, count_steps, solve_steps
from aicsched.place.elastic.plan import choices_of, to_plan
from aicsched.place.elastic.static import solve_static
from aicsched.place.seating import Seating, build
from aicsched.place.settling import STIFF, STIFFNESSES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from aicsched.domain.placement import Placement
    from aicsched.place.ascent import Answer
    from aicsched.place.elastic.block import Scale
    from aicsched.place.elastic.problem import ElasticProblem
    from aicsched.place.pricing import Priced

__all__ = ["POLICY", "solve_elastic"]

POLICY: Final = "optimal"
_STEPS: Final = 60
_POLISH_STEPS: Final = 400
_MOST_POLISHED: Final = 5000
_TINY_STEPS: Final = 60
_MOST_STATIC: Final = 3000
_ROUNDS: Final = 24
_STEPS_PER_JOB: Final = 60
_FEWEST_STEPS: Final = 2000
_SHAKES_PER_JOB: Final = 40
# Losses taken at first, as a multiple of a job's mean cost: one more machine is a large step.
_BOLD: Final = 1.0
_EXACT: Final = 1e-9


class _Search:
    """Best plan, best bound and prices of one search."""

    def __init__(self, problem: ElasticProblem, gap: float, seed: int, cpu_s: float) -> None:
        self.problem = problem
        self.block = Block(problem)
        self.ground = plain_ground(problem)
        self.oracle = JointOracle(self.ground, self.block)
        self.gap = gap
        self.seed = seed
        self.until_s = time.process_time() + cpu_s
        self.best: tuple[Choice, Scale] | None = None
        self.best_g = float("inf")
        self.bound_g = float("-inf")
        self.prices_g = np.zeros(problem.whole.capacity.shape)
        self.iterations = 0
        self.method = "per-job optimum"

    def see(self, answer: Answer) -> bool:
        """Keep a bound; tell whether the search may end."""
        bound_g, prices_g, _ = answer
        self.iterations += 1
        if bound_g > self.bound_g:
            self.bound_g, self.prices_g = bound_g, prices_g
        return self.done()

    def done(self) -> bool:
        """Whether the gap is small enough, or the time is up."""
        target_g = self.bound_g + self.gap * max(self.bound_g, 0.0) + _EXACT * abs(self.bound_g)
        return self.best_g <= target_g or time.process_time() > self.until_s

    def offer(self, choice: Choice, scale: Scale) -> bool:
        """Keep a plan that is feasible and better; tell whether it was."""
        if (scale.region < 0).any() or (choice.region < 0).any():
            return False
        total_g = self.block.total_g(scale) + self._plain_g(choice)
        if total_g >= self.best_g:
            return False
        held = self.block.load(scale) + self._plain_load(choice)
        if (held > self.block.ceiling).any() or not self._in_order(choice):
            return False
        self.best, self.best_g = (Choice(choice.region.copy(), choice.slots.copy()), scale.copy()), total_g
        return True

    def _plain_g(self, choice: Choice) -> float:
        return 0.0 if self.problem.plain is None else float(costs_g(self.problem.plain, choice).sum())

    def _plain_load(self, choice: Choice) -> NDArray[np.float64]:
        return np.zeros(1) if self.problem.plain is None else load(self.problem.plain, choice)

    def _in_order(self, choice: Choice) -> bool:
        return self.problem.plain is None or feasible(self.problem.plain, choice)

    # ------------------------------------------------------------ plans

    def build(self, priced: Priced) -> None:
        """Let all settle at the best prices; put those of one size in one by one where some are left."""
        level_g = float(priced.reduced_g.sum()) + self.block.alone(self.prices_g)[0]
        settling = JointSettling(self.ground, self.block, level_g, self.seed)
        for stiffness in STIFFNESSES:
            settling.turn(priced, stiffness)
        self._harden(settling, priced)
        if self.best is not None:
            return
        # The large first: those that scale alone, then the others in what is left, and the other way round.
        scale = self.block.nothing()
        self.block.respond(self.block.by_size(), scale, priced.rates, self.block.ceiling.copy())
        seating, left = self._beside(scale, priced)
        if not len(left):
            self.offer(seating.choice(), scale)
        if self.best is None and self.problem.plain is not None:
            scale = self.block.nothing()
            seating, left = build(self.ground, priced, self._by_size())
            self.block.respond(self.block.by_size(), scale, priced.rates, seating.free)
            self.offer(seating.choice(), scale)

    def _by_size(self) -> NDArray[np.int64]:
        facts = self.ground.facts
        return np.argsort(-self.ground.uses[: len(facts), 1] * facts[:, 0], kind="stable")

    def _beside(self, scale: Scale, priced: Priced) -> tuple[Seating, NDArray[np.int64]]:
        """Put all of one size into the room that those that scale leave."""
        ground = replace(self.ground, capacity=self._room(scale))
        return build(ground, priced, self._by_size())

    def _room(self, scale: Scale) -> NDArray[np.float64]:
        return np.maximum(self.block.capacity - self.block.load(scale), 0.0)

    def _harden(self, settling: JointSettling, priced: Priced) -> None:
        left = settling.harden(priced)
        if not len(left):
            self.offer(settling.seating.choice(), settling.scale)

    def improve(self, priced: Priced) -> None:
        """Repair those of one size and let those that scale move, in turn; now and then all settle anew."""
        assert self.best is not None  # noqa: S101 - there is a plan to improve
        draws = np.random.default_rng(self.seed)
        jobs = len(self.problem.whole.job_ids)
        steps = max(_FEWEST_STEPS, _STEPS_PER_JOB * len(self.ground.facts)) // 4
        for number in range(_ROUNDS):
            if self.done():
                return
            share = 1 - number / _ROUNDS
            choice, scale = self.best[0].copy(), self.best[1].copy()
            if number % 4 == 3:
                level_g = float(priced.reduced_g.sum()) + self.block.alone(self.prices_g)[0]
                settling = JointSettling(
                    self.ground, self.block, level_g, self.seed + number, start=self.best
                )
                for stiffness in STIFF:
                    settling.turn(priced, stiffness)
                self._harden(settling, priced)
                continue
            room = self.block.ceiling - self.block.load(scale)
            seating = Seating(self.ground, np.maximum(room, 0.0))
            seating.put(choice)
            bold_g = _BOLD * self.best_g / jobs
            self.iterations += steps
            scaled = _SHAKES_PER_JOB * len(scale.region)
            self.block.shake(
                scale, priced.rates, seating.free, steps=scaled,
                thresholds_g=(bold_g * share, bold_g * share / 2), seed=self.seed + self.iterations,
            )  # fmt: skip
            if len(self.ground.facts):
                fades = (bold_g * share, bold_g * share / 2)
                seating.repair(priced, steps, fades, self.seed + self.iterations)
            self._move(draws, scale, 0.0, seating)
            self.offer(seating.choice(), scale)

    def _move(self, draws: np.random.Generator, scale: Scale, weight: float, seating: Seating) -> None:
        """Let each job that scales take its best place in turn, prices counted in part."""
        kept, free = scale.copy(), seating.free.copy()
        before_g = self.block.total_g(scale)
        queue = draws.permutation(len(scale.region))
        paid, _ = self.block.respond(queue, scale, self.block.rates(weight * self.prices_g), seating.free)
        stuck = not np.isfinite(paid).all()
        if stuck or (weight == 0.0 and self.block.total_g(scale) > before_g):
            scale.region[:], scale.machines[:], seating.free[:] = kept.region, kept.machines, free

    def close(self) -> None:
        """Close the gap of a small problem."""
        self.method = "CP-SAT"
        exact = solve_steps(self.problem, gap=self.gap, seed=self.seed, start=self.best)
        if exact.plan is not None:
            self.offer(*exact.plan)
        elif exact.bound_g == float("inf"):
            msg = "the queue does not fit: CP-SAT proves that no plan keeps all deadlines under the capacity"
            raise Infeasible(msg, constraints=("capacity", "deadline"), hint="widen the windows")
        self.bound_g = max(self.bound_g, min(exact.bound_g, self.best_g))


def _search(search: _Search, progress: Callable[[float, float], None]) -> None:
    problem = search.problem
    tiny = count_steps(problem) <= MOST_COLUMNS // 20
    search.method = "prices and repair"
    if tiny:
        climb(search.oracle, search.prices_g, steps=_TINY_STEPS, seen=search.see)
    else:
        balance(search.oracle, search.prices_g, search.seed, steps=_STEPS, seen=search.see)
    priced = search.oracle.price(search.prices_g)
    search.build(priced)
    progress(search.best_g, search.bound_g)
    if not tiny and not search.done() and len(problem.whole.job_ids) <= _MOST_POLISHED:
        polish(search.oracle, search.prices_g, steps=_POLISH_STEPS, seen=search.see)
        priced = search.oracle.price(search.prices_g)
        progress(search.best_g, search.bound_g)
    if not search.done() and len(problem.whole.job_ids) <= _MOST_STATIC:
        # Where machines are large beside the room, all who scale get in each other's way: few don't.
        left_s = search.until_s - time.process_time()
        static = solve_static(search.block, gap=search.gap, seed=search.seed, cpu_s=left_s)
        if static is not None:
            search.offer(*static)
        progress(search.best_g, search.bound_g)
    if search.best is not None and not search.done():
        search.improve(priced)
        progress(search.best_g, search.bound_g)
    small = count_steps(problem) + (0 if problem.plain is None else count_columns(problem.plain))
    if not search.done() and small <= MOST_COLUMNS:
        search.close()
        progress(search.best_g, search.bound_g)


def solve_elastic(
    problem: ElasticProblem,
    *,
    gap: float = 0.002,
    seed: int = 0,
    cpu_s: float = float("inf"),
    rivals: Sequence[Placement] = (),
    progress: Callable[[float, float], None] = lambda _best_g, _bound_g: None,
) -> Placement:
    """Place all jobs with as few grams as can be, and prove how few that is.

    Parameters
    ----------
    problem : ElasticProblem
        The problem.
    gap : float
        Stop improving when (plan - bound) / bound is at most this.
    seed : int
        Of turns and repairs.
    cpu_s : float
        CPU seconds after which the search ends with the best plan so far. Then, and only then, equal
        input may give another plan.
    rivals : sequence of Placement
        Plans of this problem that are at hand already: the result is no worse than any of them.
    progress : callable, optional
        Told the best plan and the bound [g] after each stage.

    Returns
    -------
    Placement
        Of all jobs in the order of the queue, with one bound for all of them and its prices.

    Raises
    ------
    Infeasible
        The queue does not fit: proven, or no plan was found.

    Notes
    -----
    Where no capacity binds the answer is CarbonScaler's greedy in each region, the best of them
    (Hanafy et al. 2023, doi:10.1145/3626788), and optimal.
    """
    search = _Search(problem, gap, seed, cpu_s)
    free_of_charge = np.zeros(problem.whole.capacity.shape)
    bound_g, choice, _ = search.oracle.bound(free_of_charge)
    search.see((bound_g, free_of_charge, None))
    search.offer(choice, search.block.alone(free_of_charge)[1])
    if search.best is None:
        for rival in rivals:
            search.offer(*choices_of(search.block, rival))
        _search(search, progress)
    progress(search.best_g, search.bound_g)
    if search.best is None:
        msg = "no plan was found in which all jobs keep their deadlines"
        hint = "add capacity, regions or time: the relaxation leaves hardly any room"
        raise Infeasible(msg, constraints=("capacity", "deadline"), hint=hint)
    plan = to_plan(search.block, *search.best, policy=POLICY, prices_g=search.prices_g)
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

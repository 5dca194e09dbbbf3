"""Services and jobs planned together: prices, a mix of services' answers, jobs in the room left.

1. Prices of both limits are walked uphill on services and jobs together (see `ascent`): the bound.
2. The relaxation mixes the services' answers so that jobs get the room they need; jobs are planned
   in what is left, by the same solver as without services. Where that finds no plan, services go first.
3. With the jobs as they are now, services move to where they emit less, and the jobs follow.

All limits are counted: equal input gives equal bytes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.domain.placement import Certificate
from aicsched.errors import ConfigError, Infeasible
from aicsched.place.ascent import climb, polish
from aicsched.place.choice import choice_of, load, to_placement
from aicsched.place.failover.plan import FailoverMode, FailoverPlan
from aicsched.place.failover.solve import solve_failover
from aicsched.place.joint.master import mix
from aicsched.place.joint.oracle import JointChoice, JointOracle, Reserved
from aicsched.place.joint.plan import JointPlan
from aicsched.place.joint.problem import FIRM
from aicsched.place.solve import solve

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from aicsched.domain.placement import Placement
    from aicsched.place.ascent import Answer
    from aicsched.place.choice import Choice
    from aicsched.place.joint.master import Mixed
    from aicsched.place.joint.problem import JointProblem

    Floats = NDArray[np.float64]

__all__ = ["solve_joint"]

_CLIMB_STEPS: Final = 150
_POLISH_STEPS: Final = 300
_KEPT: Final = 30
_SERVICE_BUNDLES: Final = 60
_JOB_BUNDLES: Final = 40
_ROUNDS: Final = 12
_MARGINS: Final = (1.05, 1.15, 1.3)
_MOVES: Final = 2
_MOVE_ROUNDS: Final = 4
_EXACT: Final = 1e-9
_MOST_BATCH_GAP: Final = 0.02
# The mix of answers is near enough at this share of the gap.
_MIXED_SHARE: Final = 0.25
_SERVICES_GAP: Final = 1e-4


class _Search:
    """The best bound, prices and plan so far, and the answers that are mixed."""

    def __init__(self, problem: JointProblem, *, gap: float, seed: int, effort: float) -> None:
        self.problem, self.gap, self.seed, self.effort = problem, gap, seed, effort
        self.oracle = JointOracle(problem)
        self.bound_g, self.best_g = -np.inf, np.inf
        self.prices_g = np.zeros(self.oracle.ground.capacity.shape)
        self.best: tuple[Reserved, Placement] | None = None
        self.answers: list[JointChoice] = []
        self.iterations = 0

    def see(self, answer: Answer) -> bool:
        """Keep a bound and its answers; tell whether the search may end."""
        bound_g, prices_g, choice = answer
        self.iterations += 1
        if bound_g > self.bound_g:
            self.bound_g, self.prices_g = bound_g, prices_g
        if isinstance(choice, JointChoice):
            self.answers = [*self.answers[-_KEPT + 1 :], choice]
        return self.done()

    def price(self, prices_g: Floats) -> JointChoice:
        """Ask for a bound, keep it, and return the answers."""
        bound_g, choice, _ = self.oracle.bound(prices_g)
        self.see((bound_g, prices_g, choice))
        return self.answers[-1]

    def done(self) -> bool:
        """Tell whether plan and bound are near enough."""
        return self.best_g <= self.bound_g + self.gap * max(self.bound_g, 0.0) + _EXACT * abs(self.bound_g)

    def fill(self, services: Reserved, start: Placement | None = None) -> None:
        """Plan the jobs in the room that services leave, and keep the plan if it is the best."""
        left = self.problem.left(services.used, services.reserved)
        work_g = float(self.oracle.cost_of(services.used, services.reserved).sum())
        # Where jobs emit little beside the services, their own gap says little of the whole.
        share = max(self.bound_g - work_g, 0.0) / self.bound_g if self.bound_g > 0 else 1.0
        gap = max(self.gap / 2, min(_MOST_BATCH_GAP, self.gap / 4 / max(share, _EXACT)))
        try:
            placement = solve(left, gap=gap, seed=self.seed, effort=self.effort, start=start)
        except Infeasible:
            return
        cost_g = work_g + placement.total_g
        if cost_g < self.best_g:
            self.best, self.best_g = (services, placement), cost_g

    def bundles(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Bundle services that rank regions alike at the best prices, and jobs by turns."""
        from aicsched.place.failover.master import bundles_of  # noqa: PLC0415 - loads OR-Tools

        services = self.problem.services
        work_g, held_g = self.oracle.thread_g(self.prices_g)
        each, known = np.arange(len(work_g))[:, None], np.maximum(services.allowed, 0)
        cost = self.problem.hours * services.use_g + work_g[each, known] + held_g[each, known]
        jobs = np.arange(len(self.problem.batch.job_ids))
        bundle = bundles_of(cost, services.allowed, services.demand_vcpus, _SERVICE_BUNDLES)
        return bundle, (jobs % _JOB_BUNDLES).astype(np.int64)


def _fits(search: _Search, choice: JointChoice) -> bool:
    oracle = search.oracle
    held = load(oracle.together, choice) + oracle.load_of(choice.services)
    return bool((held <= oracle.ground.capacity * (1 + _EXACT)).all())


def _mixed(search: _Search) -> tuple[Mixed | None, list[JointChoice]]:
    """Generate answers until the mix is as cheap as the bound."""
    bundles = search.bundles()
    answers = list(search.answers)
    found: Mixed | None = None
    for _ in range(_ROUNDS):
        mixed = mix(search.oracle, [one.services for one in answers], answers, bundles)
        if mixed is None:
            break
        found = mixed
        if mixed.fits and mixed.objective_g - search.bound_g <= _MIXED_SHARE * search.gap * abs(
            search.bound_g
        ):
            break
        # Prices between the programme's and the best ones known keep the answers from swinging
        # (Wentges 1997, doi:10.1016/S0969-6016(97)00001-4).
        asked = (0.5 * (mixed.prices_g + search.prices_g), mixed.prices_g)
        answers += [search.price(prices_g) for prices_g in asked]
    return found, answers


def _filled(search: _Search) -> None:
    """Find a first plan: the mix, jobs whole where they are few, else with more and more room for them."""
    mixed, answers = _mixed(search)
    bundles, services = search.bundles(), [one.services for one in answers]
    if len(search.problem.batch.job_ids) <= _JOB_BUNDLES:
        whole = mix(search.oracle, services, answers, bundles, whole_jobs=True, gap=search.gap / 4)
        if whole is not None and whole.fits:
            search.fill(whole.services)
    margins = iter(_MARGINS)
    while mixed is not None and not search.done():
        if mixed.fits:
            search.fill(mixed.services)
        margin = next(margins, None) if search.best is None else None
        mixed = None if margin is None else mix(search.oracle, services, answers, bundles, margin=margin)


def _moved(search: _Search) -> Reserved | None:
    """Move services to where they emit less, the jobs left where they are."""
    if search.best is None:
        return None
    services, placement = search.best
    choice: Choice = choice_of(search.problem.batch, placement)
    one = np.zeros(len(choice.region), np.int64)
    bundle = search.bundles()[0]
    answers = [*(known.services for known in search.answers), services]
    before_g = float(search.oracle.cost_of(services.used, services.reserved).sum())
    best: Reserved | None = None
    for _ in range(_MOVE_ROUNDS):
        mixed = mix(search.oracle, answers, [choice], (bundle, one))
        if mixed is None:
            break
        cost_g = float(search.oracle.cost_of(mixed.services.used, mixed.services.reserved).sum())
        if mixed.fits and cost_g < before_g * (1 - _EXACT):
            best, before_g = mixed.services, cost_g
        answers.append(search.oracle.reserve(mixed.prices_g))
    return best


def _improve(search: _Search, alone: FailoverPlan, progress: Callable[[float, float], None]) -> None:
    _filled(search)
    if search.best is None:
        search.fill(Reserved(alone.used_vcpus, alone.reserved_vcpus, np.nan))
    progress(search.best_g, search.bound_g)
    for _ in range(_MOVES):
        services = None if search.done() else _moved(search)
        if services is None or search.best is None:
            break
        before_g = search.best_g
        search.fill(services, search.best[1])
        progress(search.best_g, search.bound_g)
        if search.best_g > before_g * (1 - 0.1 * search.gap):
            break


def _laid_out(search: _Search, services: Reserved, alone: FailoverPlan) -> FailoverPlan:
    """Return services as a failover plan, with the bound of services alone."""
    problem = search.problem.services
    known = np.maximum(problem.allowed, 0)
    extra = services.reserved - services.used
    objective_g = float(search.oracle.cost_of(services.used, services.reserved).sum()) / search.problem.hours
    bound_g = min(alone.certificate.lower_bound_g, objective_g)
    return FailoverPlan(
        mode=FailoverMode.DEDICATED,
        problem=problem,
        used_vcpus=services.used,
        reserved_vcpus=services.reserved,
        moved_vcpus=np.zeros((len(known), 0, 0)),
        spare_vcpus=np.bincount(known.ravel(), extra.ravel(), len(problem.regions)).astype(np.float64),
        certificate=replace(
            alone.certificate,
            status="optimal" if bound_g == objective_g else "bounded",
            objective_g=objective_g,
            lower_bound_g=bound_g,
        ),
        prices_g_per_vcpu_h=alone.prices_g_per_vcpu_h,
    )


def _checked(gap: float) -> float:
    if not 0 <= gap < 1:
        msg = f"a gap of {gap} is not in 0..1"
        raise ConfigError(msg, hint="5e-3 is usual", value=gap)
    return gap


def solve_joint(
    problem: JointProblem,
    *,
    gap: float = 0.005,
    seed: int = 0,
    effort: float = 1.0,
    progress: Callable[[float, float], None] = lambda _best_g, _bound_g: None,
) -> JointPlan:
    """Plan services with N+1 and jobs beside them, with as few grams as can be, and prove how few.

    Parameters
    ----------
    problem : JointProblem
        Services, jobs and regions.
    gap : float
        Stop when (plan - bound) / bound is at most this.
    seed : int
        Of samples and repairs.
    effort : float
        Multiple of the usual number of repairs of jobs; > 0.
    progress : callable, optional
        Told the best plan and the bound [g] after each stage.

    Returns
    -------
    JointPlan
        With the certificate of both together. Each service holds its own reserve.

    Raises
    ------
    Infeasible
        Services don't outlive a loss even without jobs, or no plan was found in which jobs fit beside.
    ConfigError
        The gap is not in [0, 1).
    """
    search = _Search(problem, gap=_checked(gap), seed=seed, effort=effort)
    alone = solve_failover(problem.services, gap=min(gap, _SERVICES_GAP))
    choice = search.price(search.prices_g)
    method = "each service and job alone"
    if _fits(search, choice):
        search.fill(choice.services)
    if not search.done():
        method = "services and jobs at the same prices"
        climb(search.oracle, search.prices_g, steps=_CLIMB_STEPS, seen=search.see)
        polish(search.oracle, search.prices_g, steps=_POLISH_STEPS, seen=search.see)
        progress(search.best_g, search.bound_g)
        _improve(search, alone, progress)
    if search.best is None:
        msg = "no plan was found in which all jobs keep their deadlines beside the services and their reserve"
        hint = "add capacity or time, let more jobs give way, or reserve for the demand of each slot"
        raise Infeasible(msg, constraints=("capacity", "failover", "deadline"), hint=hint)
    return _plan(search, search.best, alone, method)


def _plan(search: _Search, best: tuple[Reserved, Placement], alone: FailoverPlan, method: str) -> JointPlan:
    services, placement = best
    problem, hours = search.problem, search.problem.batch.slots.step_h
    plan = _laid_out(search, services, alone)
    total_g = plan.total_g * problem.hours + placement.total_g
    closed = total_g - search.bound_g <= _EXACT * abs(total_g)
    firm_at = search.oracle.together.resources.index(FIRM)
    work_g, firm_g = search.prices_g[0] / hours, search.prices_g[firm_at] / hours
    # One more thread lifts both limits: that is its price, and the room left alone can't tell it.
    priced = to_placement(
        problem.left(services.used, services.reserved),
        choice_of(problem.batch, placement),
        policy=placement.policy,
        certificate=placement.certificate,
        prices_g=search.prices_g[[0]] + search.prices_g[[firm_at]],
    )
    return JointPlan(
        problem=problem,
        services=plan,
        placement=priced,
        certificate=Certificate(
            status="optimal" if closed else "bounded",
            objective_g=total_g,
            lower_bound_g=total_g if closed else search.bound_g,
            method=method,
            seed=search.seed,
            iterations=search.iterations,
        ),
        work_g_per_vcpu_h=work_g,
        firm_g_per_vcpu_h=firm_g,
    )

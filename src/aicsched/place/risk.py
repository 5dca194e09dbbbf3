"""Plans that hold up in bad scenarios: the conditional value at risk of a plan's grams, with a proof.

CVaR at alpha is the mean of the worst 1 - alpha of the scenarios (Rockafellar, Uryasev
2000, doi:10.21314/JOR.2000.038). It is also the greatest mean under any weights
``q >= 0, sum q = 1, q <= p / (1 - alpha)``. So for any such q, what no plan undercuts under
the intensity that q mixes, no plan's CVaR undercuts: `solve` gives the bound. Weights are
walked to where this bound is highest by cutting planes on the plans found so far (Kelley
1960, doi:10.1137/0108053), half-way from the best weights known.

A plan that is best for one q leans on a few scenarios. `blend` therefore takes
the best plan, and puts a job where another plan has it as long as that lowers the CVaR.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from aicsched.domain.carbon import frozen_array
from aicsched.domain.placement import Proof
from aicsched.errors import InputError, UnknownZone, did_you_mean
from aicsched.forecast.scenarios import sample_scenarios_of
from aicsched.place.blend import Mixed, blend
from aicsched.place.choice import choice_of, costs_g, to_placement
from aicsched.place.solve import solve

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from aicsched.domain.fleet import Fleet
    from aicsched.domain.forecast import Forecast
    from aicsched.domain.placement import Placement
    from aicsched.place.problem import Problem
    from aicsched.slots import SlotGrid

    Array = NDArray[np.float64]

__all__ = ["RiskPlan", "cvar_g", "scenario_grid", "solve_cvar", "totals_g"]

POLICY: Final = "cvar"
_KEPT_PLANS: Final = 4
_SUM: Final = 1e-9
_COARSE: Final = 0.02
# The walk ends where the plans found leave the bound less than this share of the gap to gain.
_LEFT: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RiskPlan:
    """A plan of small conditional value at risk.

    Parameters
    ----------
    placement : Placement
        The plan. Its grams are the expected ones, by the problem's intensities. Its certificate speaks of
        these too: how far above the least expected grams it is at most, so what hedging can cost.
    proof : Proof
        CVaR of the plan's total grams, and the bound that no plan's CVaR undercuts [g].
    totals_g : ndarray, shape (S,)
        What the plan emits in each scenario [g].
    mean_g : float
        Their weighted mean [g].
    worst : ndarray, shape (S,)
        The weights of the scenarios that prove the bound.
    expected : Placement
        The plan of least expected grams, from which the search began.
    expected_cvar_g : float
        The CVaR of that plan [g]: what hedging saves is the difference.
    """

    placement: Placement
    proof: Proof
    totals_g: Array
    mean_g: float
    worst: Array
    expected: Placement
    expected_cvar_g: float


def cvar_g(values_g: Sequence[float] | Array, weights: Array | None = None, *, alpha: float) -> float:
    """Return the mean of the worst scenarios.

    Parameters
    ----------
    values_g : sequence of float, length S
        Emissions in each scenario [g].
    weights : ndarray, shape (S,), optional
        Probability of each; equal by default.
    alpha : float
        The best share of scenarios that is left out, within [0, 1); 0 gives the mean.

    Returns
    -------
    float
        Conditional value at risk [g].

    Raises
    ------
    InputError
        An alpha or weights that make no sense.

    Examples
    --------
    >>> cvar_g([1.0, 2.0, 3.0, 10.0], alpha=0.5)
    6.5
    """
    totals = np.asarray(values_g, np.float64)
    known = _checked_weights(weights, len(totals), alpha)
    return float(_worst(totals, known, alpha) @ totals)


def totals_g(problem: Problem, placement: Placement, scenarios_g_per_kwh: Array) -> Array:
    """Return what a plan emits in each scenario.

    Parameters
    ----------
    problem : Problem
        The problem.
    placement : Placement
        A plan for it.
    scenarios_g_per_kwh : ndarray, shape (S, R, T)
        Intensity in each scenario [g/kWh].

    Returns
    -------
    ndarray, shape (S,)
        Total emissions [g].
    """
    choice = choice_of(problem, placement)
    each = (replace(problem, g_per_kwh=frozen_array(item)) for item in scenarios_g_per_kwh)
    return np.array([costs_g(item, choice).sum() for item in each])


def _worst(values_g: Array, weights: Array, alpha: float) -> Array:
    """Return the weights under which the mean is greatest: the worst scenarios, as far as they go."""
    order = np.argsort(-values_g, kind="stable")
    most = weights[order] / (1.0 - alpha)
    before = np.concatenate(([0.0], np.cumsum(most)[:-1]))
    found = np.zeros(len(values_g))
    found[order] = np.clip(1.0 - before, 0.0, most)
    return found


def _checked_weights(weights: Array | None, count: int, alpha: float) -> Array:
    if not 0 <= alpha < 1:
        msg = f"CVaR at {alpha:g} is the mean of no scenario"
        raise InputError(msg, hint="give an alpha from 0, below 1: 0.9 is the worst tenth", value=alpha)
    if count < 1:
        msg = "there is no scenario"
        raise InputError(msg, hint="give at least one")
    if weights is None:
        return np.full(count, 1.0 / count)
    known = np.asarray(weights, np.float64)
    if known.shape != (count,) or not (known >= 0).all() or not abs(known.sum() - 1.0) <= _SUM:
        msg = f"the weights of {count} scenarios are not {count} numbers from 0 that add up to 1"
        raise InputError(msg, hint="give each scenario its probability", value=known.shape)
    return known / known.sum()


def scenario_grid(
    fleet: Fleet, forecasts: Mapping[str, Forecast], slots: SlotGrid, *, count: int, seed: int
) -> Array:
    """Draw scenarios of all regions at once, with the errors of their forecasts as they came together.

    Parameters
    ----------
    fleet : Fleet
        Regions.
    forecasts : mapping of str to Forecast
        Per grid zone, with quantiles, covering `slots`.
    slots : SlotGrid
        The planning grid.
    count : int
        How many.
    seed : int
        As of `aicsched.forecast.sample_scenarios_of`, which draws them.

    Returns
    -------
    ndarray, shape (count, R, T)
        Intensity [g/kWh].

    Raises
    ------
    UnknownZone
        A region's grid zone has no forecast.
    ForecastError
        The forecasts have no quantiles, or differ in their issue time.
    SlotError
        A forecast doesn't cover the grid.
    """
    drawn = sample_scenarios_of(forecasts, count, seed)
    rows: list[Array] = []
    for region in fleet.regions:
        if region.grid_zone not in drawn:
            msg = f"region '{region.name}' lies in grid zone '{region.grid_zone}', which has no forecast"
            raise UnknownZone(msg, hint=did_you_mean(region.grid_zone, drawn), value=region.grid_zone)
        offset = forecasts[region.grid_zone].slots.offset_of(slots)
        rows.append(drawn[region.grid_zone][:, offset : offset + len(slots)])
    return np.stack(rows, axis=1)


class _Walk:
    """What the search for weights and plans knows."""

    def __init__(self, problem: Problem, scenarios: Array, weights: Array, alpha: float) -> None:
        self.problem = problem
        self.scenarios = scenarios
        self.weights = weights
        self.alpha = alpha
        self.each = [replace(problem, g_per_kwh=frozen_array(item)) for item in scenarios]
        self.bound_g = float("-inf")
        self.highest: Array | None = None
        self.found: Mixed | None = None
        self.best_g = float("inf")
        self.plans: list[Mixed] = []
        self.prices_g: dict[str, tuple[float, ...]] = {}
        self.cuts: list[Array] = []

    @property
    def best(self) -> Mixed:
        """The plan of least CVaR so far."""
        if self.found is None:
            msg = "no plan was seen yet"
            raise LookupError(msg)
        return self.found

    def mixed(self, weights: Array) -> Problem:
        """Return the problem under the intensity that some weights mix."""
        return replace(self.problem, g_per_kwh=frozen_array(np.tensordot(weights, self.scenarios, axes=1)))

    def tail(self, totals_g: Array) -> tuple[float, Array]:
        """Return the CVaR of some totals, and the weights that make it."""
        worst = _worst(totals_g, self.weights, self.alpha)
        return float(worst @ totals_g), worst

    def prove(self, plan: Placement, weights: Array) -> bool:
        """Keep the bound of some weights when it is higher; tell whether."""
        bound_g = plan.certificate.lower_bound_g
        if bound_g <= self.bound_g:
            return False
        self.bound_g, self.highest, self.prices_g = bound_g, weights, plan.prices_g_per_vcpu_h
        return True

    def see(self, plan: Placement) -> None:
        """Keep a plan, and blend it with the best."""
        choice = choice_of(self.problem, plan)
        each_g = np.stack([costs_g(item, choice) for item in self.each], axis=1)
        self.offer(Mixed(choice, each_g))
        self.plans = [*self.plans[-(_KEPT_PLANS - 1) :], Mixed(choice, each_g)]
        self.offer(blend(self.problem, self.best, self.plans, self.tail))

    def offer(self, plan: Mixed) -> None:
        """Keep a plan when its CVaR is less, and cut with it."""
        totals_g = plan.each_g.sum(axis=0)
        self.cuts.append(totals_g)
        tail_g = self.tail(totals_g)[0]
        if tail_g < self.best_g:
            self.found, self.best_g = plan, tail_g

    def next_weights(self) -> tuple[float, Array]:
        """Return what the plans found still allow the bound to be, and the weights at which."""
        from scipy.optimize import linprog  # noqa: PLC0415 - takes a while to load

        scale = max(float(np.abs(self.cuts).max()), 1e-9)
        cuts: Array = np.array(self.cuts, np.float64) / scale
        count = cuts.shape[1]
        find: Any = linprog
        found: Any = find(
            np.concatenate((np.zeros(count), [-1.0])),
            A_ub=np.column_stack((-cuts, np.ones(len(cuts)))),
            b_ub=np.zeros(len(cuts)),
            A_eq=np.concatenate((np.ones(count), [0.0]))[None],
            b_eq=[1.0],
            bounds=[*((0.0, most) for most in self.weights / (1.0 - self.alpha)), (None, None)],
            method="highs-ds",
        )
        if found.x is None:
            return float("inf"), self.weights
        return float(-found.fun) * scale, np.asarray(found.x[:-1], np.float64)


def _checked_scenarios(problem: Problem, scenarios: Array) -> Array:
    values = np.asarray(scenarios, np.float64)
    wanted = problem.g_per_kwh.shape
    if values.ndim != 3 or values.shape[1:] != wanted:
        msg = f"the scenarios have the shape {values.shape}, not (scenarios, {wanted[0]}, {wanted[1]})"
        raise InputError(msg, hint="their axes are scenarios x regions x slots", value=values.shape)
    bad = ~(np.isfinite(values) & (values >= 0))
    if bad.any():
        row, region, slot = (int(index) for index in np.unravel_index(int(bad.argmax()), bad.shape))
        msg = (
            f"scenario {row} of region '{problem.regions[region]}' is {values[row, region, slot]} g/kWh "
            f"in slot {slot}"
        )
        raise InputError(msg, hint="give finite intensities from 0", value=float(values[row, region, slot]))
    return values


def solve_cvar(  # noqa: PLR0913 - one keyword per limit
    problem: Problem,
    scenarios_g_per_kwh: Array,
    *,
    weights: Array | None = None,
    alpha: float = 0.9,
    gap: float = 0.002,
    seed: int = 0,
    rounds: int = 8,
    effort: float = 1.0,
    progress: Callable[[float, float], None] = lambda _best_g, _bound_g: None,
) -> RiskPlan:
    """Place all jobs with as small a CVaR of their total grams as can be, and prove how small that is.

    Parameters
    ----------
    problem : Problem
        The problem; its own intensities are the expected ones.
    scenarios_g_per_kwh : ndarray, shape (S, R, T)
        Intensity in each scenario [g/kWh], for all regions at once.
    weights : ndarray, shape (S,), optional
        Probability of each scenario; equal by default.
    alpha : float
        The best share of scenarios that does not count, within [0, 1).
    gap : float
        Stop when (CVaR - bound) / bound is at most this.
    seed : int
        As of `solve`.
    rounds : int
        Solves, at most: one for expected grams, each other one for weights, from the best plan so far.
    effort : float
        As of `solve`.
    progress : callable, optional
        Told the least CVaR and the bound [g] after each round.

    Returns
    -------
    RiskPlan
        With the plan, its proof and what it emits in each scenario.

    Raises
    ------
    InputError
        Scenarios, weights, alpha or rounds that make no sense.
    Infeasible
        The queue does not fit.
    """
    scenarios = _checked_scenarios(problem, scenarios_g_per_kwh)
    chances = _checked_weights(weights, len(scenarios), alpha)
    if rounds < 2:
        msg = f"{rounds} rounds give no plan with a bound"
        raise InputError(msg, hint="give at least 2", value=rounds)
    walk = _Walk(problem, scenarios, chances, alpha)
    expected = plan = solve(problem, gap=gap, seed=seed, effort=effort)
    walk.see(plan)
    done, step = 1, 1.0
    progress(walk.best_g, walk.bound_g)
    while done < rounds and walk.best_g > walk.bound_g + gap * max(walk.bound_g, 0.0):
        most_g, found = walk.next_weights()
        if most_g <= walk.bound_g + _LEFT * gap * abs(walk.bound_g):
            break
        mixed = found if walk.highest is None else walk.highest + step * (found - walk.highest)
        # Far from the end, fine plans are not worth their time.
        open_gap = (walk.best_g - walk.bound_g) / walk.bound_g if walk.bound_g > 0 else 0.0
        enough = max(gap, min(open_gap / 2, _COARSE)) / 2
        plan = solve(walk.mixed(mixed), gap=enough, seed=seed, effort=effort, start=_kept(walk, plan))
        step = 1.0 if walk.prove(plan, mixed) else step / 2
        walk.see(plan)
        done += 1
        progress(walk.best_g, walk.bound_g)
    return _result(walk, expected, seed=seed, rounds=done)


def _kept(walk: _Walk, last: Placement) -> Placement:
    """Return the best plan so far as one to start from, at the newest prices."""
    plan = to_placement(walk.problem, walk.best.choice, policy=POLICY)
    return replace(plan, prices_g_per_vcpu_h=last.prices_g_per_vcpu_h)


def _result(walk: _Walk, expected: Placement, *, seed: int, rounds: int) -> RiskPlan:
    problem = walk.problem
    totals_g = walk.best.each_g.sum(axis=0)
    value_g = walk.tail(totals_g)[0]
    proof = Proof(
        measure=f"CVaR {walk.alpha:g}",
        unit="g",
        value=value_g,
        # The bound is summed in another order than the plan: they may cross by rounding.
        lower_bound=min(walk.bound_g, value_g),
        method="scenario weights, prices and blends",
        seed=seed,
        rounds=rounds,
    )
    plan = to_placement(problem, walk.best.choice, policy=POLICY)
    certificate = replace(
        expected.certificate,
        status="bounded",
        objective_g=plan.total_g,
        lower_bound_g=min(expected.certificate.lower_bound_g, plan.total_g),
        method=proof.method,
    )
    return RiskPlan(
        placement=replace(plan, certificate=certificate, prices_g_per_vcpu_h=walk.prices_g),
        proof=proof,
        totals_g=totals_g,
        mean_g=float(walk.weights @ totals_g),
        worst=walk.tail(totals_g)[1] if walk.highest is None else walk.highest,
        expected=expected,
        expected_cvar_g=walk.tail(walk.cuts[0])[0],
    )

"""Plans for money, moves or risk beside carbon: by named exchange rates, or one first and then the other.

Every cost here is linear: so much a thread-hour in a region and slot, and so much for
being in a region at all. The solver minimises any such sum; grams, money and moves
are told apart in what comes out.

One thing first, then the other: the least of the second among plans whose first is within
a limit. The limit gets a price (Lagrange), which is found from plan to plan (Handler,
Zang 1980, doi:10.1002/net.3230100403); every price proves a bound.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.domain.carbon import frozen_array
from aicsched.domain.placement import Proof
from aicsched.errors import InputError, did_you_mean
from aicsched.place.blend import Mixed, blend
from aicsched.place.choice import choice_of, costs_g, pointers, to_placement
from aicsched.place.solve import solve

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from aicsched.domain.placement import Placement
    from aicsched.place.choice import Choice
    from aicsched.place.problem import Problem

    Array = NDArray[np.float64]

__all__ = [
    "ObjectivePlan",
    "Term",
    "carbon_term",
    "money_term",
    "moves_term",
    "risk_term",
    "solve_one_first",
    "solve_weighted",
]

_ROUNDS: Final = 8
_EXACT: Final = 1e-9
# The solver's numbers are brought to about this much a plan: its prices are kept to six decimals.
_SCALE: Final = 1e6


@dataclass(frozen=True, slots=True, eq=False)
class Term:
    """One cost of a plan.

    Parameters
    ----------
    name, unit : str
        What it is, and in what, e.g. ``"money"`` in ``"usd"``.
    per_vcpu_h : ndarray, shape (R, T)
        Cost of a thread-hour in each slot.
    fixed : ndarray, shape (J, R)
        Cost of a job's being in a region.

    Raises
    ------
    InputError
        A value that is not finite.
    """

    name: str
    unit: str
    per_vcpu_h: Array
    fixed: Array

    def __post_init__(self) -> None:
        if not (np.isfinite(self.per_vcpu_h).all() and np.isfinite(self.fixed).all()):
            msg = f"the costs of '{self.name}' are not all finite numbers"
            raise InputError(msg, hint=f"give each region and slot a number of {self.unit}", value=self.name)

    def of_jobs(self, problem: Problem, choice: Choice) -> Array:
        """Return what each job costs in a choice, shape (J,)."""
        place = np.repeat(choice.region, problem.n_slots)
        sums = np.add.reduceat(self.per_vcpu_h[place, choice.slots], pointers(problem)[:-1])
        return _vcpu_h(problem) * sums + self.fixed[np.arange(len(choice.region)), choice.region]


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectivePlan:
    """A plan by an objective of one's own.

    Parameters
    ----------
    placement : Placement
        The plan; its grams are expected grams, and its certificate claims no bound on them.
    proof : Proof
        The objective's value, in its own unit, and the bound that no feasible plan undercuts.
    totals : mapping of str to float
        Each term apart, by its name.
    units : mapping of str to str
        Their units.
    limit : float
        What the first term may be at most, where one came first; inf otherwise.
    first_bound : float
        No feasible plan has less of the first term; -inf where none came first.
    """

    placement: Placement
    proof: Proof
    totals: Mapping[str, float]
    units: Mapping[str, str]
    limit: float = float("inf")
    first_bound: float = float("-inf")


def _vcpu_h(problem: Problem) -> Array:
    """Return the thread-hours of each job in one slot: a part-filled last slot is spread over all."""
    return problem.energy_kwh_per_w * 1000.0


def _table(problem: Problem, values: ArrayLike, name: str) -> Array:
    _, regions, slots = problem.shape
    array = np.asarray(values, np.float64)
    array = array[:, None] if array.shape == (regions,) else array
    if array.ndim == 0 or array.shape not in {(regions, 1), (regions, slots)}:
        msg = f"{name} has the shape {array.shape}, not ({regions},) or ({regions}, {slots})"
        raise InputError(msg, hint="give a number for each region, or for each region and slot", value=name)
    return frozen_array(np.broadcast_to(array, (regions, slots)))


def carbon_term(problem: Problem) -> Term:
    """Return expected emissions as a term: ``"carbon"`` in ``"g"``."""
    per_vcpu_h = problem.watt_factor_w[:, None] / 1000.0 * problem.g_per_kwh
    return Term("carbon", "g", frozen_array(per_vcpu_h), problem.transfer_g)


def money_term(
    problem: Problem, *, usd_per_kwh: ArrayLike | None = None, usd_per_vcpu_h: ArrayLike | None = None
) -> Term:
    """Return what power and instances cost as a term: ``"money"`` in ``"usd"``.

    Parameters
    ----------
    problem : Problem
        The problem.
    usd_per_kwh : array_like, shape (R,) or (R, T), optional
        Price of power [USD/kWh]; it may be negative.
    usd_per_vcpu_h : array_like, shape (R,) or (R, T), optional
        Price of a thread-hour [USD].

    Returns
    -------
    Term
        Power and instances together, for the hours that jobs run.

    Raises
    ------
    InputError
        Shapes that don't match, or no price.
    """
    if usd_per_kwh is None and usd_per_vcpu_h is None:
        msg = "money without a price is nothing"
        raise InputError(msg, hint="give usd_per_kwh, usd_per_vcpu_h or both")
    _, regions, slots = problem.shape
    per_vcpu_h = np.zeros((regions, slots))
    if usd_per_kwh is not None:
        power = _table(problem, usd_per_kwh, "usd_per_kwh")
        per_vcpu_h = per_vcpu_h + problem.watt_factor_w[:, None] / 1000.0 * power
    if usd_per_vcpu_h is not None:
        per_vcpu_h = per_vcpu_h + _table(problem, usd_per_vcpu_h, "usd_per_vcpu_h")
    return Term("money", "usd", frozen_array(per_vcpu_h), frozen_array(np.zeros(problem.transfer_g.shape)))


def moves_term(problem: Problem) -> Term:
    """Return jobs away from home as a term: ``"moves"`` in ``"jobs"``."""
    jobs, regions, slots = problem.shape
    away = np.ones((jobs, regions))
    away[np.arange(jobs), problem.home] = 0.0
    return Term("moves", "jobs", frozen_array(np.zeros((regions, slots))), frozen_array(away))


def risk_term(problem: Problem, probability: ArrayLike) -> Term:
    """Return thread-hours that are expected to miss their objective: ``"risk"`` in ``"vcpu_h"``.

    Parameters
    ----------
    problem : Problem
        The problem.
    probability : array_like, shape (R,) or (R, T)
        That work in a region and slot misses its service objective.

    Returns
    -------
    Term
        Probability times thread-hours.

    Raises
    ------
    InputError
        A probability outside 0 and 1.
    """
    chance = _table(problem, probability, "probability")
    if not ((chance >= 0) & (chance <= 1)).all():
        msg = "a probability is not within 0 and 1"
        raise InputError(msg, hint="give shares, not percent")
    return Term("risk", "vcpu_h", chance, frozen_array(np.zeros(problem.transfer_g.shape)))


def _weighed(
    problem: Problem, terms: Sequence[Term], weights: Sequence[float]
) -> tuple[Problem, float, float]:
    """Return a problem of which the solver sees one cost, the scale of its numbers, and what they leave out.

    Jobs need the same thread-hours wherever they run: lifting all rates by one number adds
    the same to every plan, so that negative prices can be lifted to 0.
    """
    rate = np.sum([weight * term.per_vcpu_h for weight, term in zip(weights, terms, strict=True)], axis=0)
    fixed = np.sum([weight * term.fixed for weight, term in zip(weights, terms, strict=True)], axis=0)
    lift = min(0.0, float(rate.min()))
    work_vcpu_h = float((_vcpu_h(problem) * problem.n_slots).sum())
    rate = rate - lift
    most = work_vcpu_h * float(rate.max()) + float(np.abs(fixed).max(axis=1).sum())
    scale = _SCALE / most if most > 0 else 1.0
    # The solver's columns are in the objective's unit here, and stay inside this module.
    return (
        replace(
            problem,
            watt_factor_w=frozen_array(np.ones(len(problem.regions))),
            g_per_kwh=frozen_array(rate * (1000.0 * scale)),
            transfer_g=frozen_array(fixed * scale),
        ),
        scale,
        lift * work_vcpu_h,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Solved:
    """A plan by some weights, and the bound of their sum."""

    choice: Choice
    plan: Placement
    bound: float
    values: Array


def _solve(
    problem: Problem,
    terms: Sequence[Term],
    weights: Sequence[float],
    *,
    gap: float,
    seed: int,
    start: _Solved | None = None,
) -> _Solved:
    weighed, scale, offset = _weighed(problem, terms, weights)
    plan = solve(weighed, gap=gap, seed=seed, start=None if start is None else start.plan)
    choice = choice_of(problem, plan)
    values = np.array([term.of_jobs(problem, choice).sum() for term in terms])
    return _Solved(choice, plan, plan.certificate.lower_bound_g / scale + offset, values)


def _stated(
    problem: Problem, terms: Sequence[Term], choice: Choice, proof: Proof, **more: float
) -> ObjectivePlan:
    values = {term.name: float(term.of_jobs(problem, choice).sum()) for term in terms}
    values["carbon"] = float(costs_g(problem, choice).sum())
    units = {term.name: term.unit for term in terms} | {"carbon": "g"}
    plan = to_placement(problem, choice, policy="objective")
    return ObjectivePlan(placement=plan, proof=proof, totals=values, units=units, **more)


def _refuse_names(problem: Problem, terms: Sequence[Term], names: Sequence[str]) -> None:
    if problem.resume_kwh_per_w.any():
        name = problem.job_ids[int(problem.resume_kwh_per_w.argmax())]
        msg = f"job '{name}' pays for its suspensions in energy, which terms don't count"
        raise InputError(msg, hint="plan by carbon alone, or give such jobs resume_s 0", value=name)
    known = [term.name for term in terms]
    if not terms or len(set(known)) < len(known):
        msg = f"the terms are {', '.join(known) or 'none'}"
        raise InputError(msg, hint="give at least one, each name once", value=known)
    for name in names:
        if name not in known:
            msg = f"no term is called '{name}'"
            raise InputError(msg, hint=did_you_mean(name, known), value=name)


def solve_weighted(
    problem: Problem,
    terms: Sequence[Term],
    rates: Mapping[str, float],
    *,
    unit: str,
    gap: float = 0.002,
    seed: int = 0,
) -> ObjectivePlan:
    """Make a sum of costs small, each exchanged at a named rate.

    Parameters
    ----------
    problem : Problem
        The problem.
    terms : sequence of Term
        What is counted; those without a rate are only told.
    rates : mapping of str to float
        By a term's name, what one of its units is worth in `unit`, >= 0: money at 1 and carbon at
        ``usd_per_tonne / 1e6`` makes US dollars.
    unit : str
        Of the sum.
    gap : float
        Stop when (sum - bound) / bound is at most this.
    seed : int
        As of `solve`.

    Returns
    -------
    ObjectivePlan
        With the sum's proof, and each term apart.

    Raises
    ------
    InputError
        A rate of no term, below 0 or not finite; or all are 0.
    Infeasible
        The queue does not fit.
    """
    _refuse_names(problem, terms, list(rates))
    weights = [float(rates.get(term.name, 0.0)) for term in terms]
    if not (all(0 <= weight < float("inf") for weight in weights) and any(weights)):
        msg = f"the exchange rates {dict(rates)} are not finite numbers from 0, one of them above"
        raise InputError(msg, hint=f"give what one unit of a term is worth in {unit}", value=dict(rates))
    found = _solve(problem, terms, weights, gap=gap, seed=seed)
    value = float(np.dot(weights, found.values))
    words = " + ".join(
        f"{weight:g} x {term.name}" for weight, term in zip(weights, terms, strict=True) if weight
    )
    proof = Proof(
        measure=words,
        unit=unit,
        value=value,
        lower_bound=min(found.bound, value),
        method=found.plan.certificate.method,
        seed=seed,
    )
    return _stated(problem, terms, found.choice, proof)


def solve_one_first(
    problem: Problem,
    terms: Sequence[Term],
    *,
    first: str,
    then: str,
    within: float = 0.02,
    gap: float = 0.002,
    seed: int = 0,
) -> ObjectivePlan:
    """Make one cost small among the plans in which another is within a share of its least.

    Parameters
    ----------
    problem : Problem
        The problem.
    terms : sequence of Term
        What is counted.
    first, then : str
        Names of two terms: the first may be `within` above its least, the other is made small.
    within : float
        That share, >= 0.
    gap : float
        As of `solve`, for each solve.
    seed : int
        As of `solve`.

    Returns
    -------
    ObjectivePlan
        Its `limit` is ``(1 + within)`` times the proven bound of the first term, so that it holds of
        the least possible too; where no plan that near to the bound was found, it is the least found.

    Raises
    ------
    InputError
        A name of no term, the same twice, or a negative share.
    Infeasible
        The queue does not fit.
    """
    _refuse_names(problem, terms, [first, then])
    if first == then or not 0 <= within < float("inf"):
        msg = f"'{then}' within {within:g} of the least '{first}' says nothing"
        raise InputError(msg, hint="give two different terms and a share from 0", value=within)
    index = [term.name for term in terms]
    pair = [terms[index.index(then)], terms[index.index(first)]]
    least = _solve(problem, pair, (0.0, 1.0), gap=gap, seed=seed)
    limit = max(float(least.values[1]), least.bound + within * abs(least.bound))
    tail = _Limited(limit)
    best = _pair(problem, pair, least.choice)
    far, bound, done = _solve(problem, pair, (1.0, 0.0), gap=gap, seed=seed, start=least), float("-inf"), 2
    near = least
    bound = far.bound
    best = _better(best, blend(problem, best, [_pair(problem, pair, far.choice)], tail), tail)
    if far.values[1] <= limit:
        best = _better(best, _pair(problem, pair, far.choice), tail)
    while done < _ROUNDS and tail(best.each_g.sum(axis=0))[0] > bound + gap * abs(bound) and far is not near:
        # The price at which both plans are worth the same: where they aren't best for it, another one is.
        run = float(far.values[1] - near.values[1])
        price = float(near.values[0] - far.values[0]) / run if run > 0 else 0.0
        if price <= 0:
            break
        found = _solve(problem, pair, (1.0, price), gap=gap, seed=seed, start=near)
        done += 1
        bound = max(bound, found.bound - price * limit)
        others = [_pair(problem, pair, one.choice) for one in (found, far)]
        if found.values[1] <= limit:
            best = _better(best, others[0], tail)
        best = _better(best, blend(problem, best, others, tail), tail)
        gained = price * far.values[1] + far.values[0] - (price * found.values[1] + found.values[0])
        if gained <= _EXACT * abs(found.bound):
            break
        near, far = (found, far) if found.values[1] <= limit else (near, found)
    value, reached = (float(item) for item in best.each_g.sum(axis=0))
    proof = Proof(
        measure=f"{then}, with {first} at most {limit:.9g} {pair[1].unit}",
        unit=pair[0].unit,
        value=value,
        lower_bound=min(bound, value),
        method="price of the limit, and blends",
        seed=seed,
        rounds=done,
    )
    return _stated(problem, terms, best.choice, proof, limit=limit, first_bound=min(least.bound, reached))


class _Limited:
    """The second cost where the first keeps its limit, else inf: least over no weights but (1, 0)."""

    def __init__(self, limit: float) -> None:
        self.limit = limit

    def __call__(self, values: Array) -> tuple[float, Array]:
        return float(values[0]) if values[1] <= self.limit else float("inf"), np.array([1.0, 0.0])


def _pair(problem: Problem, pair: Sequence[Term], choice: Choice) -> Mixed:
    return Mixed(choice, np.stack([term.of_jobs(problem, choice) for term in pair], axis=1))


def _better(one: Mixed, other: Mixed, tail: _Limited) -> Mixed:
    return other if tail(other.each_g.sum(axis=0))[0] < tail(one.each_g.sum(axis=0))[0] else one

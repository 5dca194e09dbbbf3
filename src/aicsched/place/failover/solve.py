"""The cheapest plan that outlives the loss of any one failure group, with a proof.

Prices on capacity turn services into problems of their own, with a closed form
(see the kernels). A few steps of a subgradient bring prices near; then bundles of
services mix their answers in a small linear programme, whose prices ask for the
next answers, until plan and bound meet. All limits are counted, never timed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.domain.placement import Certificate
from aicsched.errors import ConfigError, Infeasible, PlacementError
from aicsched.place.failover.oracle import DedicatedOracle, SharedOracle
from aicsched.place.failover.plan import FailoverMode, FailoverPlan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from aicsched.place.failover.master import Mixed
    from aicsched.place.failover.oracle import Answer
    from aicsched.place.failover.problem import FailoverProblem

    Floats = NDArray[np.float64]

__all__ = ["Fill", "least_fill", "solve_failover"]

_SUBGRADIENT_STEPS: Final = 30
_STEP_DECAY: Final = 0.93
_WEIGHING_STEPS: Final = 60
_WEIGHING_DECAY: Final = 0.96
# Shared mode has F times as many rows, which asks for finer bundles.
_BUNDLES: Final = {FailoverMode.DEDICATED: 120, FailoverMode.SHARED: 400}
_ROUNDS: Final = 300
_MIXED_ROUNDS: Final = 4
_OVERFULL: Final = 1e-9
_EXACT: Final = 1e-9
_SHOWN: Final = 5
# A region whose capacity is worth less than this share of all capacity decides nothing.
_TELLING: Final = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Fill:
    """How full regions must be at least.

    Parameters
    ----------
    lower, upper : float
        In every plan some region holds at least ``lower`` of its capacity, and a plan exists in which
        none holds more than ``upper``. Above 1 no plan exists; demand may grow by 1 / upper.
    binding : tuple of str
        Regions whose capacity decides, the most telling first.
    iterations : int
        How often services were priced.
    """

    lower: float
    upper: float
    binding: tuple[str, ...]
    iterations: int


class _Search:
    """One run over one oracle: the best bound and prices so far, and the answers that are mixed."""

    def __init__(self, problem: FailoverProblem, mode: FailoverMode, *, gap: float, fill: bool) -> None:
        made = DedicatedOracle if mode is FailoverMode.DEDICATED else SharedOracle
        self.problem = problem
        self.mode = mode
        self.oracle = made(problem, free=fill)
        self.gap = gap
        self.fill = fill
        self.bound = -np.inf
        self.prices = self.oracle.first_prices()
        self.iterations = 0
        self.bundle: NDArray[np.int64] | None = None

    def price(self, prices: Floats) -> Answer:
        """Ask the oracle, and keep the best bound."""
        if self.fill:
            # The share of the fullest region is priced at one.
            prices = prices / (prices[: len(self.problem.regions)] @ self.problem.capacity_vcpus)
        self.iterations += 1
        answer = self.oracle.price(prices)
        bound = answer.bound + self.fill
        if bound > self.bound:
            self.bound, self.prices = bound, prices
        return answer

    def done(self, mixed: Mixed) -> bool:
        """Tell whether plan and bound have met."""
        value = mixed.objective + self.fill
        allowed = self.fill or mixed.overfull <= _OVERFULL
        return allowed and value - self.bound <= self.gap * abs(self.bound)

    def bundles(self) -> NDArray[np.int64]:
        """Bundle services by the best prices known; once only, since columns are of bundles."""
        from aicsched.place.failover.master import bundles_of  # noqa: PLC0415 - loads OR-Tools

        if self.bundle is None:
            problem, oracle = self.problem, self.oracle
            reserve = oracle.idle_g + self.prices[: len(problem.regions)]
            cost = oracle.use_g + reserve[problem.allowed]
            self.bundle = bundles_of(cost, problem.allowed, problem.demand_vcpus, _BUNDLES[self.mode])
        return self.bundle

    def mix(self, scale_g: float, known: Sequence[Answer] = ()) -> tuple[Mixed, list[Answer]]:
        """Generate columns until plan and bound meet; `known` answers can be mixed to a plan."""
        from aicsched.place.failover.master import Master  # noqa: PLC0415 - loads OR-Tools

        master = Master(self.oracle, self.bundles(), scale_g=scale_g, fill=self.fill)
        for answer in known:
            master.add(answer)
        if known:
            master.forbid_overfull()
        master.add(self.price(self.prices))
        mixed = master.solve()
        if mixed is None:
            msg = "the relaxation of the failover plan has no numerical optimum"
            hint = "capacities, demands or emissions differ by too many orders of magnitude"
            raise PlacementError(msg, hint=hint)
        for turn in range(_ROUNDS):
            asked = [mixed.prices]
            if turn < _MIXED_ROUNDS:
                # Prices between the programme's and the best ones known keep the answers from swinging
                # (Wentges 1997, doi:10.1016/S0969-6016(97)00001-4).
                asked.insert(0, 0.5 * (mixed.prices + self.prices))
            added = sum(master.add(self.price(prices)) for prices in asked)
            if not added or self.done(mixed):
                break
            better = master.solve()
            if better is None:  # what was found so far is a plan, and its bound holds
                break
            mixed = better
        return mixed, master.answers


def _loads(problem: FailoverProblem, answer: Answer) -> Floats:
    loads = np.bincount(answer.row.ravel(), answer.vcpus.ravel(), len(problem.regions))
    return loads.astype(np.float64)


def _subgradient(search: _Search) -> Answer | None:
    """Raise the prices of full regions in smaller and smaller steps; the answer if no capacity binds."""
    problem = search.problem
    step = 0.0
    prices = search.prices
    for turn in range(_SUBGRADIENT_STEPS):
        answer = search.price(prices)
        load = _loads(problem, answer)
        if turn == 0:
            if (load <= problem.capacity_vcpus).all():
                return answer
            step = 0.5 * float(answer.cost_g.sum() / problem.demand_vcpus.sum())
        room = np.where(problem.capacity_vcpus > 0, problem.capacity_vcpus, 1.0)
        prices = np.maximum(0.0, prices + step * np.clip(load / room - 1, -1.0, 1.0))
        step *= _STEP_DECAY
    return None


def _weigh(search: _Search) -> None:
    """Raise prices of full regions, and move the price of each reserve to the losses that need it most.

    The latter in proportion to exponential weights, which answer such games (Freund and Schapire 1999,
    doi:10.1006/game.1999.0738).
    """
    problem = search.problem
    _, regions, groups = problem.shape
    room = np.where(problem.capacity_vcpus > 0, problem.capacity_vcpus, 1.0)
    prices, logs, rate, step = np.zeros(regions), np.zeros((groups, regions)), 1.5, 0.0
    for turn in range(_WEIGHING_STEPS):
        weights = np.exp(logs - logs.max(axis=0))
        weights /= weights.sum(axis=0)
        backup = weights * (search.oracle.idle_g + prices)
        answer = search.price(np.concatenate([prices, backup.ravel()]))
        if turn == 0:
            step = 0.5 * float(answer.cost_g.sum() / problem.demand_vcpus.sum())
        load = np.bincount(answer.row.ravel(), answer.vcpus.ravel(), search.oracle.rows)
        moved = load[regions:].reshape(groups, regions)
        full = (load[:regions] + (weights * moved).sum(axis=0)) / room
        prices = np.maximum(0.0, prices + step * np.clip(full - 1, -1.0, 1.0))
        logs += rate * np.minimum(moved / room, 1.0)
        step, rate = step * _WEIGHING_DECAY, rate * _WEIGHING_DECAY


def _fill(problem: FailoverProblem, mode: FailoverMode, gap: float) -> tuple[_Search, Fill, list[Answer]]:
    search = _Search(problem, mode, gap=gap, fill=True)
    _, _, groups = problem.shape
    even = np.ones(len(problem.regions))
    search.prices = (
        even if mode is FailoverMode.DEDICATED else np.concatenate([even, np.tile(even / groups, groups)])
    )
    mixed, answers = search.mix(1.0)
    worth = search.prices[: len(problem.regions)] * problem.capacity_vcpus
    order = np.argsort(-worth, kind="stable")
    binding = tuple(problem.regions[at] for at in order.tolist() if worth[at] > _TELLING)
    # By rounding a bound may pass the plan it bounds.
    upper = max(mixed.objective + 1, search.bound)
    return search, Fill(search.bound, upper, binding, search.iterations), answers


def least_fill(
    problem: FailoverProblem, mode: FailoverMode = FailoverMode.DEDICATED, *, gap: float = 1e-4
) -> Fill:
    """Find how full the fullest region must be, when services are spread as evenly as they can be.

    Parameters
    ----------
    problem : FailoverProblem
        Services and regions; grams don't matter.
    mode : FailoverMode
        Who owns the reserve.
    gap : float
        Stop when (upper - lower) / lower is at most this.

    Returns
    -------
    Fill
        Bounds of the share, and the regions that decide it.

    Raises
    ------
    ConfigError
        The gap is not in [0, 1).
    """
    return _fill(problem, mode, _checked(gap))[1]


def _refuse(problem: FailoverProblem, fill: Fill) -> None:
    total, room = float(problem.demand_vcpus.sum()), float(problem.capacity_vcpus.sum())
    if total > room:
        msg = f"services need {total:g} vCPUs, and all regions together have {room:g}"
        raise Infeasible(
            msg, constraints=("capacity",), hint="add capacity or leave services out", value=total
        )
    more = f" and {len(fill.binding) - _SHOWN} more" if len(fill.binding) > _SHOWN else ""
    msg = (
        f"services can't all outlive the loss of any one group: some region would be {fill.lower:.2%} full "
        f"in every plan (where it binds: {', '.join(fill.binding[:_SHOWN])}{more})"
    )
    hint = "add capacity there, allow more regions, loosen latency limits, or share the reserve"
    raise Infeasible(msg, constraints=("capacity", "failover"), hint=hint, value=fill.lower)


def _solve(
    problem: FailoverProblem, mode: FailoverMode, gap: float
) -> tuple[_Search, str, Mixed | None, list[Answer]]:
    search = _Search(problem, mode, gap=gap, fill=False)
    if mode is FailoverMode.DEDICATED:
        alone = _subgradient(search)
        if alone is not None:
            return search, "each service alone", None, [alone]
    else:
        _weigh(search)
    scale_g = float(search.price(search.prices).cost_g.sum()) or 1.0
    mixed, answers = search.mix(scale_g)
    if mixed.overfull > _OVERFULL:
        filled, fill, found = _fill(problem, mode, gap)
        if fill.lower <= 1 < fill.upper:
            filled, fill, found = _fill(problem, mode, 0.0)
        if fill.upper > 1 + _OVERFULL:
            _refuse(problem, fill)
        search.bundle = filled.bundles()
        known = [search.oracle.answer(answer.kept, -np.inf) for answer in found]
        mixed, answers = search.mix(scale_g, [*known, *answers])
        search.iterations += fill.iterations
    return search, "prices and bundles", mixed, answers


def _lay_out(search: _Search, mixed: Mixed | None, answers: list[Answer]) -> tuple[Floats, Floats, Floats]:
    """Mix the answers of each service by the shares of its bundle."""
    if mixed is None:
        return search.oracle.lay_out(answers[0])
    bundle = search.bundles()
    whole = np.sum([share for _, share in mixed.shares], axis=0)
    total: list[Floats] = []
    for number, share in mixed.shares:
        part = (share / whole)[bundle]
        for at, vcpus in enumerate(search.oracle.lay_out(answers[number])):
            weighed = vcpus * part.reshape(-1, *(1,) * (vcpus.ndim - 1))
            if at < len(total):
                total[at] += weighed
            else:
                total.append(weighed)
    used, reserved, moved = total
    return used, reserved, moved


def _spare(problem: FailoverProblem, reserved: Floats, moved: Floats) -> Floats:
    """Return the threads that each region keeps ready."""
    _, regions, groups = problem.shape
    known = np.maximum(problem.allowed, 0)
    if not moved.size:
        return np.bincount(known.ravel(), reserved.ravel(), regions).astype(np.float64)
    lost, there = problem.group[known][:, :, None], known[:, None, :]
    cells = np.broadcast_to(lost * regions + there, moved.shape)
    return np.bincount(cells.ravel(), moved.ravel(), groups * regions).reshape(groups, regions).max(axis=0)


def _checked(gap: float) -> float:
    if not 0 <= gap < 1:
        msg = f"a gap of {gap} is not in 0..1"
        raise ConfigError(msg, hint="1e-4 is usual", value=gap)
    return gap


def solve_failover(
    problem: FailoverProblem, mode: FailoverMode = FailoverMode.DEDICATED, *, gap: float = 1e-4
) -> FailoverPlan:
    """Plan services with as few grams as can be so that they outlive the loss of any one group.

    Parameters
    ----------
    problem : FailoverProblem
        Services, regions and groups.
    mode : FailoverMode
        Who owns the reserve.
    gap : float
        Stop when (plan - bound) / bound is at most this; 0 goes on to the optimum.

    Returns
    -------
    FailoverPlan
        With its certificate and the worth of capacity. Equal input gives equal bytes.

    Raises
    ------
    Infeasible
        No plan exists: proven, with the regions that decide it.
    ConfigError
        The gap is not in [0, 1).

    Examples
    --------
    One service of 6 threads in three regions: two halves at work, and a third one spare.

    >>> from aicsched.place.failover.problem import FailoverProblem
    >>> problem = FailoverProblem(
    ...     service_ids=("web",), regions=("a", "b", "c"), groups=("a", "b", "c"), group=[0, 1, 2],
    ...     capacity_vcpus=[9, 9, 9], demand_vcpus=[6], allowed=[[0, 1, 2]],
    ...     use_g=[[1.0, 2.0, 3.0]], idle_g=[4.0, 4.0, 4.0],
    ... )
    >>> plan = solve_failover(problem)
    >>> plan.used_vcpus.tolist(), plan.reserved_vcpus.tolist(), plan.total_g
    ([[3.0, 3.0, 0.0]], [[3.0, 3.0, 3.0]], 45.0)
    """
    search, method, mixed, answers = _solve(problem, mode, _checked(gap))
    used, reserved, moved = _lay_out(search, mixed, answers)
    spare = _spare(problem, reserved - used if mode is FailoverMode.DEDICATED else reserved, moved)
    known = np.maximum(problem.allowed, 0)
    objective_g = float(
        (problem.use_g * used).sum() + (problem.idle_g[known] * used).sum() + problem.idle_g @ spare
    )
    closed = objective_g - search.bound <= _EXACT * abs(objective_g)
    certificate = Certificate(
        status="optimal" if closed else "bounded",
        objective_g=objective_g,
        lower_bound_g=objective_g if closed else search.bound,
        method=method,
        iterations=search.iterations,
    )
    return FailoverPlan(
        mode=mode,
        problem=problem,
        used_vcpus=used,
        reserved_vcpus=reserved,
        moved_vcpus=moved,
        spare_vcpus=spare,
        certificate=certificate,
        prices_g_per_vcpu_h=search.prices[: len(problem.regions)],
    )

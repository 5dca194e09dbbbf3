"""The joint relaxation: bundles of services and of jobs mix what they did at different prices.

A column is what one bundle did at some prices (Dantzig and Wolfe 1960,
doi:10.1287/opre.8.1.101). A mix of a service's answers is a plan of that service,
so the mix that is cheapest under all limits is where services should work; a job's
answers can't be mixed, and only say how much room jobs need where.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from aicsched.place.choice import costs_g, pointers
from aicsched.place.joint.oracle import Reserved

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from aicsched.place.choice import Choice
    from aicsched.place.joint.oracle import JointOracle

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

__all__ = ["Mixed", "mix", "mix_services"]

# Room above all limits costs this many times what all emit, for each time that all room is added.
_DEAREST: Final = 1e3
_OVERFULL: Final = 1e-9
_NODES: Final = 500


@dataclass(frozen=True, slots=True, eq=False)
class Mixed:
    """An optimum over the answers known so far.

    Parameters
    ----------
    services : Reserved
        What services do in it.
    prices_g : ndarray, shape (K, R, T)
        Of the limits [g].
    fits : bool
        Whether all limits are kept.
    objective_g : float
        What it emits [g], the bundles of jobs mixed.
    """

    services: Reserved
    prices_g: Floats
    fits: bool
    objective_g: float


@dataclass(frozen=True, slots=True, eq=False)
class _Columns:
    """Columns of bundles, one after another: entries (row, column, value), a cost and a bundle each."""

    row: Ints
    column: Ints
    value: Floats
    cost_g: Floats
    bundle: Ints


def _of_services(oracle: JointOracle, answers: Sequence[Reserved], bundle: Ints) -> _Columns:
    from scipy.sparse import coo_array  # noqa: PLC0415 - takes a while to load

    problem, count = oracle.problem, int(bundle.max()) + 1
    allowed = problem.services.allowed
    service, at = np.nonzero(allowed >= 0)
    regions, slots = len(problem.services.regions), problem.share.shape[1]
    place = bundle[service] * regions + allowed[service, at]
    parts: list[tuple[Ints, Ints, Floats]] = []
    costs: list[Floats] = []
    for number, answer in enumerate(answers):
        for resource, held, share in oracle.limits:
            vcpus = (answer.reserved if held else answer.used)[service, at]
            held_at: Any = coo_array((vcpus, (place, service)), (count * regions, len(allowed))).tocsr()
            load: Floats = held_at @ share
            cell, slot = np.nonzero(load)
            row = (resource * regions + cell % regions) * slots + slot
            parts.append((row, number * count + cell // regions, load[cell, slot]))
        cost_g = oracle.cost_of(answer.used, answer.reserved)
        costs.append(np.bincount(bundle, cost_g, count).astype(np.float64))
    return _joined(parts, costs, np.tile(np.arange(count), len(answers)))


def _of_jobs(oracle: JointOracle, choices: Sequence[Choice], bundle: Ints) -> _Columns:
    together, count = oracle.together, int(bundle.max()) + 1
    resources, regions, slots = together.capacity.shape
    needs = np.repeat(bundle, np.diff(pointers(together)))
    parts: list[tuple[Ints, Ints, Floats]] = []
    costs: list[Floats] = []
    for number, choice in enumerate(choices):
        place = np.repeat(choice.region, together.n_slots) * slots + choice.slots
        for resource in range(resources):
            weight = np.repeat(together.demand[:, resource], together.n_slots)
            cells = needs * (regions * slots) + place
            load = np.bincount(cells, weight, count * regions * slots).astype(np.float64).reshape(count, -1)
            owner, cell = np.nonzero(load)
            parts.append((resource * regions * slots + cell, number * count + owner, load[owner, cell]))
        costs.append(np.bincount(bundle, costs_g(together, choice), count).astype(np.float64))
    return _joined(parts, costs, np.tile(np.arange(count), len(choices)))


def _joined(parts: Sequence[tuple[Ints, Ints, Floats]], costs: Sequence[Floats], bundle: Ints) -> _Columns:
    row, column, value = (np.concatenate(part) for part in zip(*parts, strict=True))
    return _Columns(row, column, value, np.concatenate(costs), bundle)


def _telling(columns: Sequence[_Columns], capacity: Floats) -> NDArray[np.bool_]:
    """Mark the limits that some mix of the columns could break."""
    most = np.zeros(capacity.size)
    for part in columns:
        each = np.zeros((int(part.bundle.max()) + 1, capacity.size))
        np.maximum.at(each, (part.bundle[part.column], part.row), part.value)
        most += each.sum(axis=0)
    return most > capacity.ravel()


@dataclass(frozen=True, slots=True, eq=False)
class _Programme:
    """Least cost of columns under limits, with one column that lifts all limits at a high price."""

    cost: Floats
    matrix: Any
    limits: Floats
    whole: Any
    telling: NDArray[np.bool_]
    scale_g: float
    unit: float


def _laid_out(oracle: JointOracle, work: _Columns, batch: _Columns, turns: int) -> _Programme:
    from scipy.sparse import coo_array, hstack  # noqa: PLC0415 - takes a while to load

    capacity = oracle.ground.capacity
    telling = _telling((work, batch), capacity)
    limits = capacity.ravel()[telling]
    first, count = len(work.cost_g), len(work.cost_g) + len(batch.cost_g)
    services = int(work.bundle.max()) + 1
    unit = float(limits.mean()) if limits.size else 1.0
    scale_g = float(np.abs(work.cost_g).mean() * services + np.abs(batch.cost_g).sum() / turns) or 1.0
    row = np.concatenate([work.row, batch.row])
    column = np.concatenate([work.column, batch.column + first])
    load = coo_array((np.concatenate([work.value, batch.value]), (row, column)), (capacity.size, count))
    over = coo_array(np.maximum(limits, unit)[:, None])
    owner = np.concatenate([work.bundle, batch.bundle + services])
    return _Programme(
        cost=np.concatenate([work.cost_g, batch.cost_g, [_DEAREST * scale_g]]) / scale_g,
        matrix=(hstack([load.tocsr()[telling], -over]) / unit).tocsr(),
        limits=limits / unit,
        whole=coo_array(
            (np.ones(count), (owner, np.arange(count))), (int(owner.max()) + 1, count + 1)
        ).tocsr(),
        telling=telling,
        scale_g=scale_g,
        unit=unit,
    )


def _solved(made: _Programme, first: int, *, whole_jobs: bool, gap: float) -> tuple[Any, Floats] | None:
    """Return the optimum and the prices of all limits, none where jobs are whole; columns from `first` on."""
    from scipy.optimize import LinearConstraint, linprog, milp  # noqa: PLC0415 - takes a while to load

    one = np.ones(made.whole.shape[0])
    prices_g = np.zeros(made.telling.size)
    find: Any = linprog
    if whole_jobs:
        find = milp
        kinds = np.r_[np.zeros(first), np.ones(len(made.cost) - first - 1), 0.0]
        limits = [LinearConstraint(made.whole, one, one)]
        if made.limits.size:
            limits.append(LinearConstraint(made.matrix, -np.inf, made.limits))
        options = {"mip_rel_gap": gap, "node_limit": _NODES}
        found: Any = find(made.cost, constraints=limits, integrality=kinds, options=options)
        return None if found.x is None else (found, prices_g)
    found = find(
        made.cost,
        A_ub=made.matrix if made.limits.size else None,
        b_ub=made.limits if made.limits.size else None,
        A_eq=made.whole,
        b_eq=one,
        method="highs-ds",
    )
    if found.status != 0:
        return None
    if made.limits.size:
        prices_g[made.telling] = np.maximum(0.0, -found.ineqlin.marginals) * made.scale_g / made.unit
    return found, prices_g


def mix(
    oracle: JointOracle,
    answers: Sequence[Reserved],
    choices: Sequence[Choice],
    bundles: tuple[Ints, Ints],
    *,
    margin: float = 1.0,
    whole_jobs: bool = False,
    gap: float = 0.0,
) -> Mixed | None:
    """Mix answers of services and jobs so that all limits are kept with least grams.

    Parameters
    ----------
    oracle : JointOracle
        Of the problem.
    answers : sequence of Reserved
        What services did.
    choices : sequence of Choice
        What jobs did.
    bundles : tuple of ndarray of int64, shapes (S,) and (J,)
        Which services, and which jobs, mix alike.
    margin : float
        Jobs count as this much larger than they are, so that whole ones find room.
    whole_jobs : bool
        A bundle of jobs follows one answer only.
    gap : float
        Near enough, where jobs are whole.

    Returns
    -------
    Mixed or None
        None where the programme has no numerical optimum.
    """
    work, batch = _of_services(oracle, answers, bundles[0]), _of_jobs(oracle, choices, bundles[1])
    batch = replace(batch, value=batch.value * margin)
    made = _laid_out(oracle, work, batch, len(choices))
    found = _solved(made, len(work.cost_g), whole_jobs=whole_jobs, gap=gap)
    if found is None:
        return None
    optimum, prices_g = found
    shares = np.maximum(0.0, optimum.x[: len(work.cost_g)]).reshape(len(answers), -1)
    shares /= shares.sum(axis=0)
    return Mixed(
        services=mix_services(answers, shares[:, bundles[0]]),
        prices_g=prices_g.reshape(oracle.ground.capacity.shape),
        fits=bool(optimum.x[-1] <= _OVERFULL),
        objective_g=float(optimum.fun) * made.scale_g,
    )


def mix_services(answers: Sequence[Reserved], shares: Floats) -> Reserved:
    """Mix answers of services.

    Parameters
    ----------
    answers : sequence of Reserved
        N of them.
    shares : ndarray, shape (N, S)
        How much of each service follows each answer; columns sum to 1.

    Returns
    -------
    Reserved
        A plan as good as what it is mixed of.
    """
    used = np.zeros(answers[0].used.shape)
    reserved = np.zeros(used.shape)
    for answer, share in zip(answers, shares, strict=True):
        if share.any():
            used += answer.used * share[:, None]
            reserved += answer.reserved * share[:, None]
    return Reserved(used, reserved, float("nan"))

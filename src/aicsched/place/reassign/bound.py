"""A lower bound from prices, proven in whole numbers.

Each limit that ties processes together gets a price: use above a safety capacity
(at most its load weight, which is what it costs), free room out of balance (at
most its weight), capacity, room for arrivals beside what leavers still hold, and
a place for a service on a machine. Under prices each process chooses its machine
by itself, so the cheapest choice of all is found at once, and no feasible plan
costs less (Lagrangian duality; Fisher 1981, doi:10.1287/mnsc.27.1.1). Any prices
prove a bound. The simplest are equal on all machines, which gives the aggregated
bound: what would lie above all safety capacities together. Better ones are the
duals of the linear relaxation; they are rounded to a grid and proven again in
whole numbers, so a solver's tolerance can't make the bound too high. Spread,
dependencies and the service move cost are left out: they could only raise it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from aicsched.domain.carbon import frozen_array
from aicsched.place.reassign.layout import open_pairs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.place.reassign.problem import Reassignment

    Whole = NDArray[np.int64]
    Numbers = NDArray[Any]

__all__ = ["PriceBound", "lower_bound"]

# Prices are rounded to this part of a cost, or coarser where 64 bits ask for it.
_GRID: Final = 4096
_MOST: Final = 2.0**61
# The relaxation takes seconds up to about so many pairs of process and machine times resources.
_MOST_COLUMNS: Final = 400_000
_BLOCK: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceBound:
    """A proven lower bound, and the prices that prove it.

    Parameters
    ----------
    value : int
        No feasible assignment costs less.
    method : str
        ``"aggregate"`` or ``"linear relaxation"``.
    load_price : ndarray, shape (M, R)
        What a unit more of safety capacity would take off the bound.
    room_price : ndarray, shape (M, R)
        What a unit more of capacity would take off it.
    balance_price : ndarray, shape (B, M)
        What a unit less of imbalance would.
    place_price : ndarray, shape (S, M)
        What a second place of a service on a machine would. With all four, anyone can add the bound up again.
    """

    value: int
    method: str
    load_price: NDArray[np.float64]
    room_price: NDArray[np.float64]
    balance_price: NDArray[np.float64]
    place_price: NDArray[np.float64]


class _Relaxed:
    """The problem without what ties processes together."""

    def __init__(self, problem: Reassignment) -> None:
        self.problem = problem
        _, machines, resources, services = problem.shape
        used = np.zeros((machines, resources), dtype=np.int64)
        np.add.at(used, problem.home, problem.need)
        # Of a transient resource only what is free now can be given to arrivals, whoever leaves.
        self.room = np.where(problem.transient, problem.capacity - used, problem.capacity)
        self.open = open_pairs(problem)
        self.fares = problem.process_move_cost * problem.move_weights[0]
        self.travel = problem.machine_move_cost * problem.move_weights[2]
        self.no_tolls = np.zeros((services, machines), dtype=np.int64)
        self.balances: list[list[int]] = problem.balance.tolist()

    def flat(self) -> tuple[Whole, Whole, Whole, Whole]:
        """Give the prices of the aggregated bound: the whole weight wherever that sum is positive."""
        problem = self.problem
        short = problem.need.sum(axis=0) > problem.safety_capacity.sum(axis=0)
        free = problem.capacity.sum(axis=0) - problem.need.sum(axis=0)
        load = np.zeros_like(problem.capacity) + problem.load_weight * short
        balance = [[w * (t * free[a] > free[b])] * len(load) for a, b, t, w in self.balances]
        shape = (len(self.balances), len(load))
        return load, np.zeros_like(load), np.array(balance, dtype=np.int64).reshape(shape), self.no_tolls

    def prove(self, load: Numbers, room: Numbers, balance: Numbers, toll: Numbers) -> int:
        """Round prices to a grid within their ranges, and compute the bound in whole numbers."""
        problem = self.problem
        scale = self._scale(float(load.max() + room.max()), float(toll.max(initial=0)))
        if scale == 0:
            return 0

        def whole(prices: Numbers, most: Whole | None = None) -> Whole:
            rounded = np.rint(np.maximum(prices, 0) * scale).astype(np.int64)
            return rounded if most is None else np.minimum(rounded, most * scale)

        load, room, toll = whole(load, problem.load_weight), whole(room), whole(toll)
        balance = whole(balance, problem.balance[:, 3:])
        unit, given = load + np.where(problem.transient, 0, room), []
        for row, (first, second, target, _) in enumerate(self.balances):
            unit[:, first] -= target * balance[row]
            unit[:, second] += balance[row]
            given.append(balance[row] * (problem.capacity[:, second] - target * problem.capacity[:, first]))
        entry = np.where(problem.transient, room, 0)
        given += [load * problem.safety_capacity, room * self.room, toll]
        # In Python's own integers, as the sums may need more than 64 bits.
        total = self._cheapest(unit, entry, toll, scale) - sum(sum(part.ravel().tolist()) for part in given)
        return max(-(-total // scale), 0)

    def _scale(self, price: float, toll: float) -> int:
        """Choose the grid as fine as 64 bits allow; 0 where whole costs are too large for them already."""
        problem = self.problem
        targets = sum(weight * (target + 1) for _, _, target, weight in self.balances)
        largest = float(max(problem.capacity.max(), problem.safety_capacity.max(), problem.need.max(), 1))
        most = len(problem.load_weight) * largest * (price + targets + 1.0)
        most += toll + float(self.fares.max() + self.travel.max())
        scale = _GRID
        while scale > 0 and scale * most > _MOST:
            scale //= 2
        return scale

    def _cheapest(self, unit: Whole, entry: Whole, toll: Whole, scale: int) -> int:
        """Add up what each process's cheapest machine costs it under prices."""
        problem, total = self.problem, 0
        away = (unit + entry).T.copy()
        for first in range(0, len(problem.need), _BLOCK):
            rows = slice(first, first + _BLOCK)
            need, home, service = problem.need[rows], problem.home[rows], problem.service[rows]
            price = (self.fares[rows, None] + self.travel[home]) * scale + toll[service]
            for resource in range(need.shape[1]):
                price += need[:, resource, None] * away[resource]
            lines = np.arange(len(home))
            price[lines, home] = (need * unit[home]).sum(axis=1) + toll[service, home]
            price[~self.open[rows]] = np.iinfo(np.int64).max
            total += sum(price.min(axis=1).tolist())
        return total


class _Entries:
    """The limits of a linear program, collected a kind at a time."""

    def __init__(self) -> None:
        self.rows: list[Whole] = []
        self.columns: list[Whole] = []
        self.values: list[Whole] = []
        self.limits: list[Whole] = []
        self.count = 0

    def put(self, rows: Whole, columns: Whole, values: Whole) -> None:
        """Add entries of the limits that come next."""
        self.rows.append(self.count + rows)
        self.columns.append(columns)
        self.values.append(values)

    def close(self, limits: Whole) -> None:
        """Say what the limits of the entries since the last call are."""
        self.limits.append(limits)
        self.count += len(limits)


def _limits(relaxed: _Relaxed, process: Whole, machine: Whole) -> tuple[_Entries, Whole]:
    """List load, room, balance and place limits, and the places; columns: pairs, overloads, imbalances."""
    problem, found = relaxed.problem, _Entries()
    (m, r), columns, need = problem.capacity.shape, np.arange(len(process)), problem.need[process]
    cells, every, machines = (
        (machine[:, None] * r + np.arange(r)).ravel(),
        np.repeat(columns, r),
        np.arange(m),
    )
    found.put(cells, every, need.ravel())
    found.put(np.arange(m * r), len(columns) + np.arange(m * r), np.full(m * r, -1))
    found.close(problem.safety_capacity.ravel())
    counted = (~problem.transient | (machine != problem.home[process])[:, None]).ravel()
    found.put(cells[counted], every[counted], need.ravel()[counted])
    found.close(relaxed.room.ravel())
    for row, (first, second, target, _) in enumerate(relaxed.balances):
        found.put(machine, columns, need[:, second] - target * need[:, first])
        found.put(machines, len(columns) + m * r + row * m + machines, np.full(m, -1))
        found.close(problem.capacity[:, second] - target * problem.capacity[:, first])
    shared = np.bincount(problem.service)[problem.service[process]] > 1
    places, place = np.unique(problem.service[process[shared]] * m + machine[shared], return_inverse=True)
    found.put(place, columns[shared], np.ones(len(place), dtype=np.int64))
    found.close(np.ones(len(places), dtype=np.int64))
    return found, places


def _duals(relaxed: _Relaxed) -> tuple[Numbers, Numbers, Numbers, Numbers] | None:
    """Solve the linear relaxation, and return its prices (None if the solver gave up)."""
    # Both imports take a moment that most calls don't need.
    from scipy.optimize import linprog  # noqa: PLC0415
    from scipy.sparse import coo_array  # noqa: PLC0415

    problem = relaxed.problem
    (m, r), b = problem.capacity.shape, len(relaxed.balances)
    process, machine = np.nonzero(relaxed.open)
    limits, places = _limits(relaxed, process, machine)
    home = problem.home[process]
    price = np.where(machine != home, relaxed.fares[process] + relaxed.travel[home, machine], 0)
    cost = np.concatenate([price, np.tile(problem.load_weight, m), np.repeat(problem.balance[:, 3], m)])
    entries = np.concatenate(limits.values).astype(np.float64)
    where = (np.concatenate(limits.rows), np.concatenate(limits.columns))
    table = coo_array((entries, where), shape=(limits.count, len(cost))).tocsr()
    where = (process, np.arange(len(process)))
    once = coo_array((np.ones(len(process)), where), shape=(len(problem.home), len(cost))).tocsr()
    # Rows and costs are brought near 1, where the solver's tolerances make sense.
    size = np.maximum(abs(table).max(axis=1).toarray().ravel(), 1.0)
    worth = max(float(cost.max(initial=0)), 1.0) * float(size.max())
    table.data /= np.repeat(size, np.diff(table.indptr))
    right, ones = np.concatenate(limits.limits) / size, np.ones(len(problem.home))
    minimise: Any = linprog  # its stubs know no sparse arrays
    solved = minimise(cost / worth, A_ub=table, b_ub=right, A_eq=once, b_eq=ones, method="highs-ipm")
    if solved.status != 0:
        return None
    found, low = -np.asarray(solved.ineqlin.marginals) / size * worth, 2 * m * r
    toll = relaxed.no_tolls.astype(np.float64)
    toll.ravel()[places] = found[low + b * m :]
    load, room = found[:low].reshape(2, m, r)
    return load, room, found[low : low + b * m].reshape(b, m), toll


def lower_bound(problem: Reassignment, *, cost: int | None = None, relax: bool | None = None) -> PriceBound:
    """Prove a lower bound on the cost of any feasible assignment.

    Parameters
    ----------
    problem : Reassignment
        Any.
    cost : int, optional
        Of a feasible assignment: where the aggregated bound comes within 1 % of it, that is enough.
    relax : bool, optional
        Whether to solve the linear relaxation for its prices: seconds at 10^5 columns.
        Default: where it is no larger than that, and `cost` leaves more to be gained.

    Returns
    -------
    PriceBound
        The better of both ways; at least the aggregated bound.
    """
    relaxed = _Relaxed(problem)
    flat = relaxed.flat()
    tries = [("aggregate", flat, relaxed.prove(*flat))]
    if relax is None:
        small = int(relaxed.open.sum()) * len(problem.load_weight) <= _MOST_COLUMNS
        relax = small and (cost is None or 100 * (cost - tries[0][2]) > cost)
    prices = _duals(relaxed) if relax else None
    if prices is not None:
        tries.append(("linear relaxation", prices, relaxed.prove(*prices)))
    method, best, value = max(tries, key=lambda each: each[2])
    load, room, balance, place = (frozen_array(prices) for prices in best)
    return PriceBound(
        value=value,
        method=method,
        load_price=load,
        room_price=room,
        balance_price=balance,
        place_price=place,
    )

"""The reassignment problem as pure data: who runs where now, and what a better place is worth.

Processes run on machines and use several resources. They may be moved, within
hard limits (capacity, conflict, spread, dependency, transient use), to lower a
cost of whole numbers::

    sum over machine, resource of  load_weight · max(0, used − safety_capacity)
    + sum over machine, balance of  weight · max(0, target · free[first] − free[second])
    + process_weight · process_move_cost of those moved
    + service_weight · most moved processes of any one service
    + machine_weight · machine_move_cost[from, to] of those moved

This is the problem of the ROADEF/EURO challenge 2012, posed by Google
(doi:10.1007/s10479-014-1780-6 restates it), and an everyday one of whoever runs
a fleet: even out machines at few moves, while replicas stay apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.domain.carbon import frozen_array
from aicsched.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["Reassignment", "build_reassignment"]

# Costs are summed in 64 bits; the rest of the range is left for fines and differences.
_MOST: Final = 2**60


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reassignment:
    """P processes of S services on M machines with R resources, columnar and read-only.

    Parameters
    ----------
    need : ndarray of int64, shape (P, R)
        What each process uses of each resource, in the resource's own unit.
    service : ndarray of int64, shape (P,)
        The service that a process belongs to.
    home : ndarray of int64, shape (P,)
        The machine that it runs on now.
    process_move_cost : ndarray of int64, shape (P,)
        Cost of moving it, wherever to.
    capacity : ndarray of int64, shape (M, R)
        Hard limit of a machine.
    safety_capacity : ndarray of int64, shape (M, R)
        Use above it costs `load_weight` a unit.
    location : ndarray of int64, shape (M,)
        Failure domain of a machine: spread counts these.
    neighbourhood : ndarray of int64, shape (M,)
        Machines near one another: dependencies hold within these.
    machine_move_cost : ndarray of int64, shape (M, M)
        Cost of moving a process from the row's machine to the column's.
    load_weight : ndarray of int64, shape (R,)
        Cost of a unit above the safety capacity.
    transient : ndarray of bool, shape (R,)
        Whether a moved process also holds the resource on its old machine (disk, while data are copied).
    min_locations : ndarray of int64, shape (S,)
        Locations that the processes of a service must be spread over, at least.
    dependencies : ndarray of int64, shape (D, 2)
        Rows (a, b): wherever a process of service a runs, its neighbourhood has one of service b.
    balance : ndarray of int64, shape (B, 4)
        Rows (first, second, target, weight): a unit of `first` left free should come with
        `target` of `second`.
    move_weights : ndarray of int64, shape (3,)
        Weights of process, service and machine move costs.
    """

    need: NDArray[np.int64]
    service: NDArray[np.int64]
    home: NDArray[np.int64]
    process_move_cost: NDArray[np.int64]
    capacity: NDArray[np.int64]
    safety_capacity: NDArray[np.int64]
    location: NDArray[np.int64]
    neighbourhood: NDArray[np.int64]
    machine_move_cost: NDArray[np.int64]
    load_weight: NDArray[np.int64]
    transient: NDArray[np.bool_]
    min_locations: NDArray[np.int64]
    dependencies: NDArray[np.int64]
    balance: NDArray[np.int64]
    move_weights: NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Processes, machines, resources and services: (P, M, R, S)."""
        return len(self.need), len(self.capacity), len(self.load_weight), len(self.min_locations)


def _whole(
    name: str, values: ArrayLike, shape: tuple[int, ...], below: int | None = None
) -> NDArray[np.int64]:
    """Take whole numbers of a shape, from 0 and below a limit."""
    array = np.asarray(values)
    if array.size == 0:
        array = np.zeros(shape, dtype=np.int64) if 0 in shape else array
    if array.shape != shape:
        msg = f"{name} has the shape {array.shape}, not {shape}"
        raise InputError(msg, hint="see the shapes in the docstring of Reassignment", value=array.shape)
    if array.dtype.kind == "f":
        if not np.isfinite(array).all() or (array != np.floor(array)).any():
            msg = f"{name} holds values that are no whole numbers"
            raise InputError(msg, hint="scale them to whole units, e.g. millicores or MiB", value=name)
        if (np.abs(array) >= 2.0**53).any():
            msg = f"{name} holds floats from 2^53 on, which aren't exact"
            raise InputError(msg, hint="give integers", value=name)
    elif array.dtype.kind not in "iub":
        msg = f"{name} holds {array.dtype} instead of whole numbers"
        raise InputError(msg, hint="give integers", value=str(array.dtype))
    most = _MOST if below is None else below
    wrong = (array < 0) | (array >= most)
    if wrong.any():
        where = tuple(int(index) for index in np.argwhere(wrong)[0])
        value = int(array[where])
        msg = f"{name}{list(where)} is {value}, not from 0 to below {most}"
        raise InputError(msg, hint="check the order of fields and the unit", value=value)
    return frozen_array(array, np.int64)


def _refuse_overflow(problem: Reassignment) -> None:
    """Refuse costs that could leave the range of 64 bits, counted in Python's own integers."""
    processes, machines, _, _ = problem.shape
    needs = [sum(column) for column in problem.need.T.tolist()]
    rooms = [sum(column) for column in problem.capacity.T.tolist()]
    weights = problem.move_weights.tolist()
    most = sum(w * n for w, n in zip(problem.load_weight.tolist(), needs, strict=True))
    for first, second, target, weight in problem.balance.tolist():
        most += weight * (max(target, 1) * (rooms[first] + needs[first]) + rooms[second] + needs[second])
    most += weights[0] * sum(problem.process_move_cost.tolist()) + weights[1] * processes
    most += weights[2] * processes * int(problem.machine_move_cost.max(initial=0))
    most = max([most, *(n + r for n, r in zip(needs, rooms, strict=True))])
    if most >= _MOST:
        msg = f"costs could reach {most:.3g} on {machines} machines, above 2^60"
        raise InputError(msg, hint="use larger units or smaller weights", value=most)


def build_reassignment(  # noqa: PLR0913 - one a column
    *,
    need: ArrayLike,
    home: ArrayLike,
    capacity: ArrayLike,
    service: ArrayLike | None = None,
    safety_capacity: ArrayLike | None = None,
    location: ArrayLike | None = None,
    neighbourhood: ArrayLike | None = None,
    process_move_cost: ArrayLike | None = None,
    machine_move_cost: ArrayLike | None = None,
    load_weight: ArrayLike | None = None,
    transient: ArrayLike | None = None,
    min_locations: ArrayLike | None = None,
    dependencies: ArrayLike = (),
    balance: ArrayLike = (),
    move_weights: tuple[int, int, int] = (1, 0, 1),
) -> Reassignment:
    """Check arrays of whole numbers, and lay them out as a problem.

    Parameters
    ----------
    need : array_like, shape (P, R)
        What each process uses.
    home : array_like, shape (P,)
        Machines that processes run on now.
    capacity : array_like, shape (M, R)
        Hard limits of machines.
    service : array_like, shape (P,), optional
        Services, numbered from 0 (default: each process is a service of its own).
    safety_capacity : array_like, shape (M, R), optional
        Above these, use costs (default: the capacity, so load costs nothing).
    location, neighbourhood : array_like, shape (M,), optional
        Numbered from 0 (default: each machine is its own location; all are neighbours).
    process_move_cost : array_like, shape (P,), optional
        Default 0.
    machine_move_cost : array_like, shape (M, M), optional
        Default 0.
    load_weight : array_like, shape (R,), optional
        Default 1.
    transient : sequence of bool, shape (R,), optional
        Default: none is.
    min_locations : array_like, shape (S,), optional
        Default 0.
    dependencies : array_like, shape (D, 2)
        Pairs of services, the second needed near the first.
    balance : array_like, shape (B, 4)
        Rows (first, second, target, weight).
    move_weights : tuple of int
        Of process, service and machine moves.

    Returns
    -------
    Reassignment
        Read-only copies. Whether `home` keeps all limits is for `check` and `solve` to say.

    Raises
    ------
    InputError
        A shape, an index, a negative or broken number, or costs beyond 64 bits.

    Examples
    --------
    >>> machines = {"capacity": [[9], [9]], "safety_capacity": [[5], [5]]}
    >>> problem = build_reassignment(need=[[4], [4]], home=[0, 0], **machines)
    >>> problem.shape
    (2, 2, 1, 2)
    """
    needs, rooms = np.asarray(need), np.asarray(capacity)
    if needs.ndim != 2 or rooms.ndim != 2 or 0 in needs.shape or 0 in rooms.shape:
        msg = f"need has the shape {needs.shape} and capacity {rooms.shape}, where both want two filled axes"
        raise InputError(msg, hint="give processes x resources and machines x resources", value=needs.shape)
    (p, r), m = needs.shape, rooms.shape[0]
    of = _whole("service", np.arange(p) if service is None else service, (p,))
    s = max(int(of.max()) + 1, 0 if min_locations is None else len(np.asarray(min_locations)))
    if s > 10 * p + 1_000_000:
        msg = f"services are numbered up to {s - 1} for {p} processes"
        raise InputError(msg, hint="number them from 0 without gaps", value=s - 1)
    pairs, rows = np.asarray(dependencies), np.asarray(balance)
    problem = Reassignment(
        need=_whole("need", needs, (p, r)),
        service=of,
        home=_whole("home", home, (p,), m),
        process_move_cost=_whole("process_move_cost", _or(process_move_cost, 0, (p,)), (p,)),
        capacity=_whole("capacity", rooms, (m, r)),
        safety_capacity=_whole(
            "safety_capacity", rooms if safety_capacity is None else safety_capacity, (m, r)
        ),
        location=_whole("location", np.arange(m) if location is None else location, (m,), m),
        neighbourhood=_whole("neighbourhood", _or(neighbourhood, 0, (m,)), (m,), m),
        machine_move_cost=_whole("machine_move_cost", _or(machine_move_cost, 0, (m, m)), (m, m)),
        load_weight=_whole("load_weight", _or(load_weight, 1, (r,)), (r,)),
        transient=frozen_array(_whole("transient", _or(transient, 0, (r,)), (r,), 2), np.bool_),
        min_locations=_whole("min_locations", _or(min_locations, 0, (s,)), (s,)),
        dependencies=_whole("dependencies", pairs, (len(pairs), 2), s),
        balance=_whole("balance", rows, (len(rows), 4)),
        move_weights=_whole("move_weights", move_weights, (3,)),
    )
    _whole("balance resources", problem.balance[:, :2], (len(rows), 2), r)
    _refuse_overflow(problem)
    return problem


def _or(values: ArrayLike | None, default: int, shape: tuple[int, ...]) -> ArrayLike:
    return np.full(shape, default) if values is None else values

"""Where lost work goes when nothing was reserved: as much as fits, the urgent first, then least grams.

One linear programme over services, regions with room, and what stays unserved; its
prices prove that no other way serves more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from aicsched.errors import InputError, PlacementError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["Evacuation", "evacuate"]

# What a thread unserved costs, over the dearest grams; each step of priority costs as many times more.
_STEP: Final = 10.0
_MOST_LEVELS: Final = 6


@dataclass(frozen=True, slots=True, eq=False)
class Evacuation:
    """Where lost work goes.

    Parameters
    ----------
    arrived_vcpus : ndarray, shape (S, R)
        Threads of each service that go to each region.
    unserved_vcpus : ndarray, shape (S,)
        Threads that find no room.
    prices : ndarray, shape (R,)
        What room in each region is worth, in the units of `cost`, what is unserved counted.
    bound, objective : float
        No way costs less than the bound; the objective is what this way costs.
    """

    arrived_vcpus: Floats
    unserved_vcpus: Floats
    prices: Floats
    bound: float
    objective: float


def _penalties(priority: Sequence[int], dearest: float) -> Floats:
    levels = sorted(set(priority))
    if len(levels) > _MOST_LEVELS:
        msg = f"services have {len(levels)} priorities"
        raise InputError(
            msg, hint=f"use at most {_MOST_LEVELS}: more can't be weighed apart", value=len(levels)
        )
    rank = {level: index + 1 for index, level in enumerate(levels)}
    return np.array([max(dearest, 1.0) * _STEP ** rank[level] for level in priority])


def evacuate(
    lost_vcpus: Floats,
    places: Sequence[Sequence[int]],
    room_vcpus: Floats,
    cost: Floats,
    priority: Sequence[int],
) -> Evacuation:
    """Find room for lost work.

    Parameters
    ----------
    lost_vcpus : ndarray, shape (S,)
        Threads that each service lost, >= 0.
    places : sequence of sequence of int
        Surviving regions where each may run.
    room_vcpus : ndarray, shape (R,)
        Threads that are free, >= 0; 0 in a lost region.
    cost : ndarray, shape (R,)
        Grams of a thread there [g/h], >= 0: the cleaner of two ways that serve as much is taken.
    priority : sequence of int
        A thread of the next higher level weighs ten times as much.

    Returns
    -------
    Evacuation
        Optimal; ``bound`` is worked out from the prices alone.

    Raises
    ------
    InputError
        A number is out of range, or there are too many priorities.
    PlacementError
        The programme has no numerical optimum.
    """
    for name, values in (("lost_vcpus", lost_vcpus), ("room_vcpus", room_vcpus), ("cost", cost)):
        if not (np.isfinite(values) & (np.asarray(values) >= 0)).all():
            msg = f"evacuation: {name} holds a value that is negative or not finite"
            raise InputError(msg, hint="give finite numbers, 0 or more")
    penalty = _penalties(priority, float(np.max(cost, initial=0.0)))
    arrived, prices = _solved(lost_vcpus, places, room_vcpus, cost, penalty)
    unserved = np.maximum(0.0, lost_vcpus - arrived.sum(axis=1))
    # Each service alone, at these prices: a bound on any way (Lagrangian relaxation).
    best = [
        min([float(penalty[row]), *(float(cost[at] + prices[at]) for at in places[row])])
        for row in range(len(lost_vcpus))
    ]
    bound = float(np.array(best) @ lost_vcpus - prices @ room_vcpus) if best else 0.0
    objective = float((arrived @ cost).sum() + penalty @ unserved)
    return Evacuation(arrived, unserved, prices, min(bound, objective), objective)


def _solved(
    lost_vcpus: Floats, places: Sequence[Sequence[int]], room_vcpus: Floats, cost: Floats, penalty: Floats
) -> tuple[Floats, Floats]:
    from ortools.linear_solver import pywraplp  # noqa: PLC0415 - loads OR-Tools

    scale = float(lost_vcpus.max(initial=0.0)) or 1.0
    dearest = float(penalty.max(initial=0.0)) or 1.0
    solver: Any = pywraplp.Solver.CreateSolver("GLOP")
    endless = solver.infinity()
    aim: Any = solver.Objective()
    aim.SetMinimization()
    rooms: list[Any] = [solver.Constraint(-endless, float(value) / scale) for value in room_vcpus]
    moves: list[tuple[int, int, Any]] = []
    for row, lost in enumerate(lost_vcpus.tolist()):
        if not lost:
            continue
        whole = solver.Constraint(lost / scale, lost / scale)
        left = solver.NumVar(0.0, endless, "")
        whole.SetCoefficient(left, 1.0)
        aim.SetCoefficient(left, float(penalty[row]) / dearest)
        for at in places[row]:
            move = solver.NumVar(0.0, endless, "")
            whole.SetCoefficient(move, 1.0)
            rooms[at].SetCoefficient(move, 1.0)
            aim.SetCoefficient(move, float(cost[at]) / dearest)
            moves.append((row, at, move))
    if solver.Solve() != pywraplp.Solver.OPTIMAL:
        msg = "the evacuation has no numerical optimum"
        raise PlacementError(msg, hint="demands, room or emissions differ by too many orders of magnitude")
    arrived = np.zeros((len(lost_vcpus), len(room_vcpus)))
    for row, at, move in moves:
        arrived[row, at] = max(0.0, move.solution_value()) * scale
    prices = np.array([max(0.0, -row.dual_value()) for row in rooms]) * dearest
    return arrived, prices

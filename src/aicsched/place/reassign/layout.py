"""A problem and an assignment as the board that the search plays on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from aicsched.domain.carbon import frozen_array
from aicsched.place.reassign.kernels import anneal as k

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.place.reassign.problem import Reassignment

    Whole = NDArray[np.int64]

__all__ = ["board_of", "open_pairs", "reprice"]

# Above so many pairs of process and machine the open ones aren't listed: each machine counts as open.
_MOST_PAIRS: Final = 50_000_000
_MOST_SEATS: Final = 16_000_000


def open_pairs(problem: Reassignment) -> NDArray[np.bool_]:
    """Tell where each process could ever be: room for it alone, and on arrival beside what stays held.

    Parameters
    ----------
    problem : Reassignment
        With P processes and M machines.

    Returns
    -------
    ndarray of bool, shape (P, M)
        True at home.
    """
    processes, machines, resources, _ = problem.shape
    used = np.zeros((machines, resources), dtype=np.int64)
    np.add.at(used, problem.home, problem.need)
    # Whatever leaves keeps its transient share: only what is free now is left for arrivals.
    room = problem.capacity - np.where(problem.transient, used, 0)
    found = np.ones((processes, machines), dtype=np.bool_)
    for resource in range(resources):
        found &= problem.need[:, resource, None] <= room[None, :, resource]
    found[np.arange(processes), problem.home] = True
    return found


def _ranges(pairs: Whole, services: int) -> tuple[Whole, NDArray[np.int32]]:
    """Lay (service, other) pairs out as a range a service in one list."""
    rows = np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0)
    return np.searchsorted(rows[:, 0], np.arange(services + 1)), frozen_array(rows[:, 1], np.int32)


def _people(problem: Reassignment, at: Whole) -> tuple[Whole, NDArray[np.int32]]:
    processes, machines, _, _ = problem.shape
    people = np.zeros((processes, 7), dtype=np.int64)
    people[:, k.AT], people[:, k.HOME], people[:, k.SERVICE] = at, problem.home, problem.service
    people[:, k.FARE] = problem.process_move_cost * problem.move_weights[0]
    if processes * machines > _MOST_PAIRS:
        people[:, k.OPEN_LAST] = -1
        return people, frozen_array([], np.int32)
    found = open_pairs(problem)
    # Few have nowhere to go but home; those are never drawn for long.
    edges = np.concatenate([[0], np.cumsum(found.sum(axis=1))])
    people[:, k.OPEN_FIRST], people[:, k.OPEN_LAST] = edges[:-1], edges[1:]
    return people, frozen_array(np.nonzero(found)[1], np.int32)


def _crowd(problem: Reassignment, people: Whole) -> NDArray[np.int32]:
    """Seat processes on their machines."""
    processes, machines, _, _ = problem.shape
    counts = np.bincount(people[:, k.AT], minlength=machines)
    seats = processes if processes * machines <= _MOST_SEATS else min(processes, 8 * int(counts.max()) + 64)
    crowd = np.zeros((machines, seats + 1), dtype=np.int32)
    order = np.argsort(people[:, k.AT], kind="stable")
    seat = np.arange(processes) - np.repeat(np.cumsum(counts) - counts, counts) + 1
    people[order, k.SEAT] = seat
    crowd[people[order, k.AT], seat] = order
    crowd[:, 0] = counts
    return crowd


def _book(problem: Reassignment, at: Whole) -> Whole:
    _, machines, resources, _ = problem.shape
    moved = at != problem.home
    book = np.zeros((machines, 4 * resources + k.ENDS), dtype=np.int64)
    np.add.at(book[:, :resources], at, problem.need)
    np.add.at(
        book[:, resources : 2 * resources], problem.home[moved], problem.need[moved] * problem.transient
    )
    book[:, 2 * resources : 3 * resources] = problem.capacity
    book[:, 3 * resources : 4 * resources] = problem.safety_capacity
    book[:, 4 * resources + k.NEIGHBOURHOOD] = problem.neighbourhood
    book[:, 4 * resources + k.LOCATION] = problem.location
    return book


def reprice(problem: Reassignment, board: tuple[Any, ...], fines: Whole, penalty: int) -> tuple[Any, ...]:
    """Put other fines and another penalty on a board.

    Parameters
    ----------
    problem : Reassignment
        That the board is of.
    board : tuple of ndarray
        Of `board_of`; its tables are used on.
    fines : ndarray of int64, shape (R,)
        A unit of use above a capacity.
    penalty : int
        Of each missing location and dependency.

    Returns
    -------
    tuple of ndarray
        The board to go on with.
    """
    resources = problem.shape[2]
    rules, book, tally = board[k.RULES].copy(), board[k.BOOK], board[k.TALLY]
    rules[2, :resources] = fines
    used, held, capacity, safety = (book[:, i * resources : (i + 1) * resources] for i in range(4))
    cost = (np.maximum(used - safety, 0) * problem.load_weight).sum(axis=1)
    free = capacity - used
    for first, second, target, weight in problem.balance.tolist():
        cost += weight * np.maximum(target * free[:, first] - free[:, second], 0)
    fine = (np.maximum(used + held - capacity, 0) * fines).sum(axis=1)
    tally[k.TOTAL] += (cost + fine).sum() - book[:, 4 * resources + k.COST].sum()
    tally[k.FINES], tally[k.PENALTY] = fine.sum(), penalty
    book[:, 4 * resources + k.COST], book[:, 4 * resources + k.FINE] = cost + fine, fine
    return (*board[: k.RULES], frozen_array(rules, np.int64), *board[k.RULES + 1 :])


def board_of(problem: Reassignment, assignment: Whole) -> tuple[Any, ...]:
    """Lay a board out, without fines and penalty yet.

    Parameters
    ----------
    problem : Reassignment
        With P processes.
    assignment : ndarray of int64, shape (P,)
        Keeps all limits.

    Returns
    -------
    tuple of ndarray
        In the order that `aicsched.place.reassign.kernels.anneal` names.
    """
    processes, machines, resources, services = problem.shape
    at = np.array(assignment, dtype=np.int64)
    people, reachable = _people(problem, at)
    rules = np.zeros((3 + len(problem.balance), max(resources, 4)), dtype=np.int64)
    rules[0, :resources], rules[1, :resources] = problem.load_weight, problem.transient
    rules[3:, :4] = problem.balance
    counts = [
        np.zeros((services, int(labels.max()) + 1), dtype=np.int16)
        for labels in (np.arange(machines), problem.neighbourhood, problem.location)
    ]
    for count, labels in zip(counts, (at, problem.neighbourhood[at], problem.location[at]), strict=True):
        np.add.at(count, (problem.service, labels), 1)
    teams = np.zeros((services + 1, 6), dtype=np.int64)
    moved = at != problem.home
    teams[:-1, k.SPREAD], teams[:-1, k.REACHED] = problem.min_locations, (counts[2] > 0).sum(axis=1)
    teams[:-1, k.MOVED] = np.bincount(problem.service[moved], minlength=services)
    teams[:, k.NEEDS_FIRST], needs = _ranges(problem.dependencies, services)
    teams[:, k.FEEDS_FIRST], feeds = _ranges(problem.dependencies[:, ::-1], services)
    order = np.argsort(problem.service, kind="stable")
    teams[:, k.MATES_FIRST] = np.searchsorted(problem.service[order], np.arange(services + 1))
    book, tally = _book(problem, at), np.zeros(9, dtype=np.int64)
    travel = frozen_array(problem.machine_move_cost * problem.move_weights[2], np.int64)
    levels = np.bincount(teams[:-1, k.MOVED], minlength=processes + 2).astype(np.int64)
    fares = sum(k.fare(people, travel, process, at[process]) for process in np.flatnonzero(moved).tolist())
    tally[k.MOST_MOVED], tally[k.SERVICE_WEIGHT] = teams[:-1, k.MOVED].max(), problem.move_weights[1]
    tally[k.TOTAL] = fares + tally[k.SERVICE_WEIGHT] * tally[k.MOST_MOVED]
    board = (
        problem.need, travel, frozen_array(rules, np.int64), book, people, reachable,
        *counts, teams, needs, feeds, levels, _crowd(problem, people), tally,
        frozen_array(order, np.int32),
    )  # fmt: skip
    board = reprice(problem, board, np.zeros(resources, dtype=np.int64), 0)
    tally[k.BEST] = tally[k.TOTAL]
    return board

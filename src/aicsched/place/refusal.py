"""How a queue that does not fit is refused: with the jobs and limits that cannot go together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.errors import Infeasible
from aicsched.place.conflict import Conflict, find_conflict
from aicsched.slots import format_time

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.place.problem import Problem

__all__ = ["describe", "refusal"]

_SHOWN: Final = 5
_SHOWN_PLACES: Final = 3


def _runs(problem: Problem, cells: NDArray[np.int64]) -> list[str]:
    """Say which limits these are, slots in a row with one limit at once."""
    grid, count = problem.slots, len(problem.slots)
    free = problem.capacity.ravel()[cells]
    # Two in a row belong together unless a region ends or the limit changes between them.
    cuts = np.flatnonzero((np.diff(cells) != 1) | (np.diff(free) != 0) | (cells[1:] % count == 0)) + 1
    words: list[str] = []
    for run in np.split(np.arange(len(cells)), cuts) if len(cells) else []:
        resource, region, slot = np.unravel_index(int(cells[run[0]]), problem.capacity.shape)
        start_s = grid.start_s + int(slot) * grid.step_s
        when = format_time(start_s)
        if len(run) > 1:
            when += f" to {format_time(start_s + len(run) * grid.step_s)}"
        words.append(
            f"{problem.regions[region]} at {when} has {free[run[0]]:g} {problem.resources[resource]}"
        )
    return words


def _few(words: list[str], most: int) -> str:
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more


def describe(problem: Problem, conflict: Conflict) -> str:
    """Say in a sentence who cannot go together, and under which limits.

    Parameters
    ----------
    problem : Problem
        The problem.
    conflict : Conflict
        Found in it.

    Returns
    -------
    str
        At most five jobs and three places, and how many more there are.
    """
    names = _few([f"'{problem.job_ids[job]}'" for job in conflict.jobs.tolist()], _SHOWN)
    held, length_h = problem.demand[conflict.jobs], problem.n_slots[conflict.jobs] * problem.slots.step_h
    needs = " and ".join(
        f"{(use * length_h).sum():g} {name} x h in their windows"
        for name, use in zip(problem.resources, held.T, strict=True)
        if use.any()
    )
    if len(conflict.cells) == 1:
        # Under one limit, a job that could keep clear of its slot would: all hold it at once.
        resource = int(conflict.cells[0]) // problem.capacity[0].size
        needs = f"{held[:, resource].sum():g} {problem.resources[resource]} at once"
    elif not len(conflict.cells):
        needs = "to end in their windows, and have to follow each other"
    count = len(conflict.jobs)
    where = f", where {_few(_runs(problem, conflict.cells), _SHOWN_PLACES)}" if len(conflict.cells) else ""
    alone = "; without any one of them the others fit" if conflict.irreducible and count > 1 else ""
    return f"{count} jobs do not fit together: {names} need {needs}{where}{alone}"


def refusal(problem: Problem, words: str, *, unnamed: str = "", found: Conflict | None = None) -> Infeasible:
    """Make the error for a queue that is proven not to fit.

    Parameters
    ----------
    problem : Problem
        The problem.
    words : str
        What was proven.
    unnamed : str
        What to add where no clash is found.
    found : Conflict, optional
        The clash, where it is known already.

    Returns
    -------
    Infeasible
        Its `value` lists the jobs that cannot go together; None where no clash is found.
    """
    found = found or find_conflict(problem)
    return Infeasible(
        words + (unnamed if found is None else f"; {describe(problem, found)}"),
        constraints=("capacity", "deadline"),
        hint="add capacity, regions or time, or leave work out",
        value=None if found is None else [problem.job_ids[job] for job in found.jobs.tolist()],
    )

"""What a placement problem has to be before any solver sees it; all checks are whole-array."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from aicsched.errors import InputError
from aicsched.slots import format_time

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.place.problem import Problem

__all__ = ["refuse_bad"]

_MOST_G: Final = 1e300
# Axes: j jobs, k resources, r regions, t slots.
_AXES: Final = {
    "demand": "jk",
    "n_slots": "j",
    "first": "j",
    "last": "j",
    "suspendable": "j",
    "energy_kwh_per_w": "j",
    "resume_kwh_per_w": "j",
    "home": "j",
    "allowed": "jr",
    "transfer_g": "jr",
    "watt_factor_w": "r",
    "g_per_kwh": "rt",
    "capacity": "krt",
}
_AT_LEAST_0: Final = {
    "demand": "give what the job holds, 0 for nothing",
    "energy_kwh_per_w": "give the energy of one slot per watt, 0 for none",
    "resume_kwh_per_w": "give the energy of going on after a gap per watt, 0 for none",
    "watt_factor_w": "give power_w_per_vcpu x PUE",
    "g_per_kwh": "prices assume rates from 0: lift a negative intensity to 0, or shift all of them",
}


def _where(problem: Problem, name: str, at: tuple[int, ...]) -> str:
    """Name the place of a value in a column."""
    grid = problem.slots
    words: list[str] = []
    for axis, index in zip(_AXES[name], at, strict=True):
        if axis == "t":
            words.append(f"slot {index} ({format_time(grid.start_s + index * grid.step_s)})")
        else:
            kind, names = {
                "j": ("job", problem.job_ids),
                "k": ("resource", problem.resources),
                "r": ("region", problem.regions),
            }[axis]
            words.append(f"{kind} '{names[index]}'")
    return ", ".join(words)


def _refuse_shapes(problem: Problem) -> None:
    jobs, regions, count = problem.shape
    sizes = {"j": jobs, "k": len(problem.resources), "r": regions, "t": count}
    names = {"j": "jobs", "k": "resources", "r": "regions", "t": "slots"}
    empty = [names[axis] for axis, size in sizes.items() if not size]
    if empty:
        msg = f"a problem without {' and '.join(empty)} can't be placed"
        raise InputError(msg, hint="give at least one of each", value=empty)
    for name, axes in _AXES.items():
        found, wanted = np.shape(getattr(problem, name)), tuple(sizes[axis] for axis in axes)
        if found != wanted:
            msg = f"{name} has the shape {found}, not {wanted}"
            hint = f"its axes are {' x '.join(names[axis] for axis in axes)}"
            raise InputError(msg, hint=hint, value=found)
    if problem.order.ndim != 2 or problem.order.shape[1] != 2:
        msg = f"order has the shape {problem.order.shape}, not (pairs, 2)"
        raise InputError(msg, hint="give pairs of indices of jobs", value=problem.order.shape)


def _refuse(problem: Problem, name: str, bad: NDArray[np.bool_], words: str, hint: str) -> None:
    """Refuse a column for the first bad value in it."""
    if not bad.any():
        return
    at = tuple(int(index) for index in np.unravel_index(int(bad.argmax()), bad.shape))
    value: Any = getattr(problem, name)[at].item()
    more = f" (and {int(bad.sum()) - 1} more)" if bad.sum() > 1 else ""
    msg = f"{name} of {_where(problem, name, at)} is {value}, {words}{more}"
    raise InputError(msg, hint=hint, value=value)


def _refuse_windows(problem: Problem) -> None:
    jobs, regions, count = problem.shape
    _refuse(problem, "n_slots", problem.n_slots < 1, "less than 1", "a job needs at least one slot")
    _refuse(problem, "first", problem.first < 0, "before the grid", "slots count from 0")
    _refuse(problem, "last", problem.last > count, f"behind the {count} slots", "end windows with the grid")
    short = problem.last - problem.first < problem.n_slots
    words = "too early for its n_slots to lie between first and last"
    _refuse(problem, "last", short, words, "widen the window, or leave the job out")
    outside = (problem.home < 0) | (problem.home >= regions)
    _refuse(problem, "home", outside, f"not one of {regions} regions", "give an index from 0")
    nowhere = ~problem.allowed.any(axis=1)
    if nowhere.any():
        name = problem.job_ids[int(nowhere.argmax())]
        msg = f"job '{name}' is allowed in no region"
        raise InputError(msg, hint="allow one at least, or leave the job out", value=name)
    order = problem.order
    wrong = ((order < 0) | (order >= jobs)).any(axis=1) | (order[:, 0] == order[:, 1])
    if wrong.any():
        pair = order[int(wrong.argmax())].tolist()
        msg = f"order pairs jobs {pair[0]} and {pair[1]}: not two different ones of {jobs}"
        raise InputError(msg, hint="give indices from 0 of two jobs", value=pair)


def refuse_bad(problem: Problem) -> None:
    """Refuse a problem whose columns don't fit together or hold values that can't be true.

    Parameters
    ----------
    problem : Problem
        Just made.

    Raises
    ------
    InputError
        Shapes that don't match; no job, region, slot or resource; windows too short or off the
        grid; indices of nothing; values that are negative or not finite (a capacity may be
        inf); or costs whose sum leaves the range of floats.
    """
    _refuse_shapes(problem)
    _refuse_windows(problem)
    for name, hint in _AT_LEAST_0.items():
        column = getattr(problem, name)
        _refuse(problem, name, ~(np.isfinite(column) & (column >= 0)), "not a finite number from 0", hint)
    words, hint = "not a finite number", "where a job may not be, set `allowed` to false"
    _refuse(problem, "transfer_g", ~np.isfinite(problem.transfer_g), words, hint)
    words, hint = "not a number from 0", "give what is free, 0 for none, inf for no limit"
    _refuse(problem, "capacity", ~(problem.capacity >= 0), words, hint)
    with np.errstate(over="ignore", invalid="ignore"):
        rate = (problem.watt_factor_w * problem.g_per_kwh.max(axis=1)).max()
        energy = (problem.energy_kwh_per_w + problem.resume_kwh_per_w) * problem.n_slots * rate
        most_g = (energy + np.abs(problem.transfer_g).max(axis=1)).sum()
    if not most_g <= _MOST_G:
        dearest = problem.job_ids[int(energy.argmax())]
        msg = f"the costs add up to {most_g:g} g, more than {_MOST_G:g}; the dearest job is '{dearest}'"
        raise InputError(msg, hint="check its energy and the units of intensities", value=float(most_g))

"""Greedy policies by their published names: the baselines a plan is measured against.

No-wait, Lowest-Slot and Lowest-Window are those of GAIA (ASPLOS'24,
doi:10.1145/3620666.3651333): one job at a time, in the order of release, in its
home region. Here they keep to the capacity, too: a job takes the next best place
with room at home, then in another allowed region.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from aicsched.errors import ConfigError, Infeasible, did_you_mean
from aicsched.place.choice import Choice, to_placement
from aicsched.place.insertion import Room, build_by_insertion

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from aicsched.domain.placement import Placement
    from aicsched.place.problem import Problem

    Spot = tuple[int, NDArray[np.int64]]

__all__ = [
    "GREEDY",
    "LowestSlot",
    "LowestWindow",
    "LowestWindowAnywhere",
    "NoWait",
    "Policy",
    "greedy_choice",
    "make_policy",
]


class Policy(Protocol):
    """What turns a problem into a plan."""

    name: str

    def plan(self, problem: Problem) -> Placement:
        """Place all jobs, or raise `Infeasible`."""
        ...


def _earliest(room: Room, job: int, region: int) -> NDArray[np.int64] | None:
    length = int(room.problem.n_slots[job])
    if room.problem.suspendable[job]:
        slots = room.open_slots(job, region)[:length]
        return slots if len(slots) == length else None
    starts = room.starts(job, region)
    return starts[0] + np.arange(length) if len(starts) else None


def _lowest_slot(room: Room, job: int, region: int) -> NDArray[np.int64] | None:
    if room.problem.suspendable[job]:
        return _lowest_window(room, job, region)
    starts = room.starts(job, region)
    if not len(starts):
        return None
    best = starts[int(room.problem.g_per_kwh[region, starts].argmin())]
    return best + np.arange(int(room.problem.n_slots[job]))


def _lowest_window(room: Room, job: int, region: int) -> NDArray[np.int64] | None:
    found = room.cheapest(job, region)
    return None if found is None else found[1]


def _home_first(
    pick: Callable[[Room, int, int], NDArray[np.int64] | None],
) -> Callable[[Room, int], Spot | None]:
    def insert(room: Room, job: int) -> Spot | None:
        problem = room.problem
        home = int(problem.home[job])
        others = [region for region in np.flatnonzero(problem.allowed[job]).tolist() if region != home]
        for region in ([home] if problem.allowed[job, home] else []) + others:
            slots = pick(room, job, region)
            if slots is not None:
                return region, slots
        return None

    return insert


def _anywhere(room: Room, job: int) -> Spot | None:
    found = room.cheapest_anywhere(job)
    return None if found is None else (found[1], found[2])


GREEDY: Final = MappingProxyType(
    {
        "no_wait": _home_first(_earliest),
        "lowest_slot": _home_first(_lowest_slot),
        "lowest_window": _home_first(_lowest_window),
        "lowest_window_anywhere": _anywhere,
    }
)


def greedy_choice(problem: Problem, name: str) -> tuple[Choice, list[int]]:
    """Run one greedy policy.

    Parameters
    ----------
    problem : Problem
        The problem.
    name : str
        One of `GREEDY`.

    Returns
    -------
    tuple of Choice, list of int
        The choice, and the jobs it found no room for.
    """
    # A job's window opens after those it waits for can have ended, so this order keeps to their order, too.
    order = np.lexsort((np.arange(len(problem.job_ids)), problem.first)).tolist()
    return build_by_insertion(problem, order, GREEDY[name])


class _Greedy:
    """Shared by the policies below."""

    name = ""

    def plan(self, problem: Problem) -> Placement:
        """Place all jobs one after another.

        Parameters
        ----------
        problem : Problem
            The problem.

        Returns
        -------
        Placement
            Feasible, without a bound.

        Raises
        ------
        Infeasible
            Some job found no room before its deadline in any order that was tried.
        """
        choice, left_out = greedy_choice(problem, self.name)
        if left_out:
            names = [problem.job_ids[job] for job in left_out]
            msg = (
                f"{self.name} finds no room for {len(names)} jobs before their deadlines, first '{names[0]}'"
            )
            hint = "use the optimal policy, or add capacity"
            raise Infeasible(msg, constraints=("capacity", "deadline"), hint=hint, value=names)
        return to_placement(problem, choice, policy=self.name)


class NoWait(_Greedy):
    """Start at once at home: what happens when nobody decides, and the counterfactual of the ledger."""

    name = "no_wait"


class LowestSlot(_Greedy):
    """Start at home in the slot of the lowest intensity."""

    name = "lowest_slot"


class LowestWindow(_Greedy):
    """Run at home in the window of the lowest mean intensity."""

    name = "lowest_window"


class LowestWindowAnywhere(_Greedy):
    """Run in the window of the least grams in any allowed region."""

    name = "lowest_window_anywhere"


def make_policy(name: str) -> Policy:
    """Return a policy by its name.

    Parameters
    ----------
    name : str
        A greedy policy, or a plug-in of the group ``aicsched.policies``.

    Returns
    -------
    Policy
        A new object.

    Raises
    ------
    ConfigError
        There is no such policy.
    """
    own = {item.name: item for item in (NoWait, LowestSlot, LowestWindow, LowestWindowAnywhere)}
    if name in own:
        return own[name]()
    from aicsched.plugins import load_plugin, plugin_names  # noqa: PLC0415 - scanning entry points takes time

    strangers = plugin_names("aicsched.policies")
    if name not in strangers:
        msg = f"there is no policy '{name}'"
        raise ConfigError(msg, hint=did_you_mean(name, {*own, *strangers}), value=name)
    return load_plugin("aicsched.policies", name)()

"""Proven limits on the GPU and the pods that any policy can place, whatever it knows of those to come."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from aicsched.errors import ConfigError
from aicsched.place.nodes.fillings import kinds_of, search_fillings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.place.nodes.problem import Nodes, Pods

__all__ = ["AllocationBound", "bound_allocation", "bound_pods"]

# A bound of 5 - 1e-9 pods is rounding, not a proof that there are 4.
_WHOLE_PODS = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AllocationBound:
    """What no plan exceeds.

    Parameters
    ----------
    gpu_milli : float
        GPU in use after any plan, at most; with what is in use already.
    gpu_allocated : float
        The same as a share of all GPUs.
    relaxed_milli : float
        The programme's optimum over the columns found: the bound can't get below this.
    rounds, columns : int
        Of the search.
    price_milli : ndarray, shape (S,)
        GPU that one more pod of a shape would gain.
    """

    gpu_milli: float
    gpu_allocated: float
    relaxed_milli: float
    rounds: int
    columns: int
    price_milli: NDArray[np.float64]


def bound_allocation(
    nodes: Nodes, pods: Pods, *, cpu_step: int = 100, max_rounds: int = 200
) -> AllocationBound:
    """Bound the GPU that any plan for some pods can have in use.

    Parameters
    ----------
    nodes : Nodes
        Machines with what is free of them.
    pods : Pods
        All that could be placed; those without a GPU take nothing here.
    cpu_step : int
        CPU is counted in steps of so many milli, requests rounded down: smaller is tighter and slower.
        It is widened where a node would have more than 4,096 of them.
    max_rounds : int
        Of prices and fillings; the bound holds after any number.

    Returns
    -------
    AllocationBound
        Memory, company, gangs and whole numbers are left out: real plans stay below it.

    Raises
    ------
    ConfigError
        A step or a limit below 1.
    PlacementError
        The solver fails.

    Examples
    --------
    >>> from aicsched.place.nodes import build_nodes, build_pods
    >>> nodes = build_nodes(["a"], cpu_milli=8000, memory_mib=1024, gpus=2, gpu_model="T4")
    >>> pods = build_pods(["x", "y", "z"], cpu_milli=1000, memory_mib=1, num_gpu=1, gpu_milli=600)
    >>> round(bound_allocation(nodes, pods).gpu_milli, 3)
    1200.0
    """
    _check(cpu_step, max_rounds)
    free = int(nodes.gpu_free_milli.sum())
    used, all_gpu = nodes.gpu_milli - free, max(nodes.gpu_milli, 1)
    if not (pods.num_gpu > 0).any() or not free:
        none = np.zeros(0)
        limit, relaxed, rounds, columns, prices = 0.0, 0.0, 0, 0, none
    else:
        found = search_fillings(kinds_of(nodes, pods, cpu_step), float(free), max_rounds)
        limit, relaxed, rounds = found.limit_milli, found.relaxed_milli, found.rounds
        columns, prices = len(found.programme.columns), found.prices
    return AllocationBound(
        gpu_milli=used + limit,
        gpu_allocated=(used + limit) / all_gpu,
        relaxed_milli=used + relaxed,
        rounds=rounds,
        columns=columns,
        price_milli=prices,
    )


def bound_pods(nodes: Nodes, pods: Pods, *, cpu_step: int = 100, max_rounds: int = 200) -> int:
    """Bound how many of some pods any plan can place.

    Parameters
    ----------
    nodes : Nodes
        Machines with what is free of them.
    pods : Pods
        All that could be placed; those without a GPU take nothing here.
    cpu_step, max_rounds : int
        As in `bound_allocation`.

    Returns
    -------
    int
        No plan places more.

    Raises
    ------
    ConfigError
        A step or a limit below 1.
    PlacementError
        The solver fails.

    Examples
    --------
    >>> from aicsched.place.nodes import build_nodes, build_pods
    >>> nodes = build_nodes(["a"], cpu_milli=8000, memory_mib=1024, gpus=2, gpu_model="T4")
    >>> pods = build_pods(["x", "y", "z"], cpu_milli=1000, memory_mib=1, num_gpu=1, gpu_milli=600)
    >>> bound_pods(nodes, pods)
    2
    """
    _check(cpu_step, max_rounds)
    plain = int((pods.num_gpu == 0).sum())
    if plain == len(pods) or not nodes.gpu_free_milli.any():
        return plain
    kinds = kinds_of(nodes, pods, cpu_step)
    counted = replace(kinds, worth=np.ones(len(kinds.worth)))
    limit = search_fillings(counted, float(len(pods) - plain), max_rounds).limit_milli
    return plain + int(np.floor(limit + _WHOLE_PODS))


def _check(cpu_step: int, max_rounds: int) -> None:
    if cpu_step < 1 or max_rounds < 1:
        msg = f"cpu_step is {cpu_step} and max_rounds is {max_rounds}"
        raise ConfigError(msg, hint="both are at least 1", value=(cpu_step, max_rounds))

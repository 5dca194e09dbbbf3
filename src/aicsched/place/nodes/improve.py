"""A plan of pods on nodes made better: pods are moved, and exchanged for those that found no place."""

from __future__ import annotations

import dataclasses
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from aicsched.domain.carbon import frozen_array
from aicsched.errors import ConfigError, InputError, did_you_mean
from aicsched.place.nodes.encode import (
    W_PER_KW,
    eligible_nodes,
    movable_pods,
    shapes_of,
    state_of,
    watts_of,
)
from aicsched.place.nodes.kernels.ruin import RUIN_AND_RECREATE
from aicsched.place.nodes.policies import NodePlan, place_pods
from aicsched.place.nodes.problem import WHOLE_GPU
from aicsched.place.nodes.select import select_pods

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.place.nodes.problem import Nodes, Pods

    Integers = NDArray[np.int64]

__all__ = ["GOALS", "Goal", "improve_plan"]


class Goal(NamedTuple):
    """What counts how much: GPUs in use and pods placed for, kg per hour and nodes awake against it."""

    gpu: float
    pod: float
    kg_per_h: float
    node: float


# What stands first outweighs what comes after it: pods against shares of GPUs, grams against both.
GOALS: Final = MappingProxyType(
    {
        "gpus": Goal(1.0, 1e-4, 1e-6, 0.0),
        "pods": Goal(1e-4, 1.0, 1e-6, 0.0),
        "carbon": Goal(0.0, 1e6, 1.0, 0.0),
        "nodes": Goal(0.0, 1e6, 1e-6, 1.0),
    }
)
"""Most GPU in use; most pods placed; most pods with the least grams, or on the fewest nodes."""
_SEED_BITS: Final = 2**32
# Worse plans are taken now and then at first: this much worse once in three times.
_HEAT: Final = 0.01
_G_PER_KG: Final = 1000.0


def improve_plan(
    nodes: Nodes, pods: Pods, plan: NodePlan, goal: str = "gpus", *, steps: int = 200_000, seed: int = 0
) -> NodePlan:
    """Make a plan better by ruin and recreate: a few nodes at a time are emptied and filled anew.

    Parameters
    ----------
    nodes : Nodes
        Machines before the plan.
    pods : Pods
        What was to be placed, all of one priority.
    plan : NodePlan
        A valid plan of these pods.
    goal : str
        One of `GOALS`.
    steps : int
        How often it is tried: the budget, independent of the machine. Some 5 microseconds each.
    seed : int
        Of the draws.

    Returns
    -------
    NodePlan
        At least as good. Pods with company rules and gangs stay where they are; all others may be moved,
        or left out for better ones. Equal input and seed give equal plans.

    Raises
    ------
    ConfigError
        No such goal, priorities differ, or steps or seed are out of range.
    InputError
        The plan isn't of these pods, or puts more on a node than it has.

    References
    ----------
    Schrimpf et al., "Record Breaking Optimization Results Using the Ruin and Recreate Principle", Journal of
    Computational Physics 159 (2000), doi:10.1006/jcph.1999.6413.

    Examples
    --------
    >>> from aicsched.place.nodes import build_nodes, build_pods, place_pods
    >>> nodes = build_nodes(["a"], cpu_milli=8000, memory_mib=1024, gpus=1, gpu_model="T4")
    >>> pods = build_pods(["x", "y", "z"], cpu_milli=10, memory_mib=1, num_gpu=1, gpu_milli=[600, 500, 500])
    >>> plan = place_pods(nodes, pods, "first_fit")
    >>> plan.node.tolist(), improve_plan(nodes, pods, plan, steps=100).node.tolist()
    ([0, -1, -1], [-1, 0, 0])
    """
    if goal not in GOALS:
        msg = f"there is no goal '{goal}' for a plan"
        raise ConfigError(msg, hint=did_you_mean(goal, GOALS), value=goal)
    if len(pods) and int(pods.priority.min()) != int(pods.priority.max()):
        msg = "pods of different priorities can't be traded for one another"
        raise ConfigError(msg, hint="place one priority after another", value="priority")
    if steps < 0 or not 0 <= seed < _SEED_BITS:
        msg = f"steps is {steps} and the seed is {seed}"
        raise ConfigError(msg, hint="steps from 0, a seed from 0 to below 2^32", value=(steps, seed))
    state = _after(nodes, pods, plan)
    where, which = plan.node.copy(), plan.gpu_bits.copy()
    if len(nodes) and len(pods):
        _search(nodes, pods, GOALS[goal], state, where, which, steps, seed)
    made = dataclasses.replace(
        plan,
        policy=f"{plan.policy}, improved",
        node=frozen_array(where, np.int64),
        gpu_bits=frozen_array(which, np.int64),
        evaluations=plan.evaluations + steps,
    )
    return _with_rest(nodes, pods, made, state)


def _after(nodes: Nodes, pods: Pods, plan: NodePlan) -> Integers:
    """Return what a plan leaves free of each node."""
    if len(plan.node) != len(pods) or int(plan.node.max(initial=-1)) >= len(nodes):
        msg = f"the plan of {len(plan.node)} pods isn't of these {len(pods)} pods and {len(nodes)} nodes"
        raise InputError(msg, hint="give the pods and nodes of the plan", value=len(plan.node))
    state = np.ascontiguousarray(state_of(nodes)[:-1])
    placed = np.flatnonzero(plan.node >= 0)
    at = plan.node[placed]
    np.subtract.at(state[:, 0], at, pods.cpu_milli[placed])
    np.subtract.at(state[:, 1], at, pods.memory_mib[placed])
    for gpu in range(state.shape[1] - 2):
        takes = plan.gpu_bits[placed] >> gpu & 1
        np.subtract.at(state[:, 2 + gpu], at, takes * pods.gpu_milli[placed])
    if (state < 0).any():
        worst = nodes.node_ids[int(np.flatnonzero((state < 0).any(axis=1))[0])]
        msg = f"the plan puts more on node '{worst}' than it has"
        raise InputError(msg, hint="give a plan that `check_nodes` accepts", value=worst)
    return state


def _search(  # noqa: PLR0913, PLR0917 - changes the last arrays
    nodes: Nodes, pods: Pods, goal: Goal, state: Integers, where: Integers, which: Integers, steps: int,
    seed: int,
) -> None:  # fmt: skip
    shapes = shapes_of(pods)
    rates = watts_of(nodes) * (nodes.g_per_kwh / W_PER_KW / _G_PER_KG * goal.kg_per_h)[:, None]
    rates[:, 2] += goal.node
    RUIN_AND_RECREATE(
        steps,
        shapes.sizes,
        shapes.size[shapes.of_pod],
        movable_pods(pods).astype(np.uint8),
        eligible_nodes(shapes, nodes, pods.requirements),
        shapes.of_pod,
        goal.gpu * pods.asked_gpu_milli / WHOLE_GPU + goal.pod,
        state,
        np.stack([nodes.gpus, nodes.cpu_milli], axis=1),
        rates,
        where,
        which,
        _HEAT,
        np.array([(seed * 2654435761 + 88172645) % (_SEED_BITS - 1) + 1], dtype=np.int64),
    )


def _with_rest(nodes: Nodes, pods: Pods, plan: NodePlan, state: Integers) -> NodePlan:
    """Place who found no place in any step though a node somewhere has room."""
    state[:] = _after(nodes, pods, plan)
    rest = np.flatnonzero((plan.node < 0) & movable_pods(pods))
    rest = rest[np.lexsort((rest, -pods.asked_gpu_milli[rest]))]
    if not len(rest):
        return plan
    left = dataclasses.replace(
        nodes,
        cpu_free_milli=frozen_array(state[:, 0], np.int64),
        memory_free_mib=frozen_array(state[:, 1], np.int64),
        gpu_free_milli=frozen_array(state[:, 2:], np.int64),
    )
    last = place_pods(left, select_pods(pods, rest.tolist()))
    node, bits = plan.node.copy(), plan.gpu_bits.copy()
    node[rest], bits[rest] = last.node, last.gpu_bits
    return dataclasses.replace(plan, node=frozen_array(node, np.int64), gpu_bits=frozen_array(bits, np.int64))

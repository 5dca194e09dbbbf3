"""Placement with all pods known: the fillings behind the bound, rounded to whole nodes, then the policy."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from aicsched.domain.carbon import frozen_array
from aicsched.errors import ConfigError
from aicsched.place.nodes.encode import movable_pods
from aicsched.place.nodes.fillings import kinds_of, search_fillings
from aicsched.place.nodes.policies import NodePlan, place_pods
from aicsched.place.nodes.select import select_pods
from aicsched.place.nodes.typical import typical_pods

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.place.nodes.fillings import Kinds, Search
    from aicsched.place.nodes.problem import Nodes, Pods
    from aicsched.place.nodes.typical import TypicalPods

    Integers = NDArray[np.int64]

__all__ = ["place_offline"]


class _Filler:
    """Puts pods onto nodes one by one where they fit."""

    def __init__(self, nodes: Nodes, pods: Pods) -> None:
        self.pods = pods
        self.cpu = nodes.cpu_free_milli.copy()
        self.memory = nodes.memory_free_mib.copy()
        self.gpu = nodes.gpu_free_milli.copy()
        self.node = np.full(len(pods), -1, dtype=np.int64)
        self.bits = np.zeros(len(pods), dtype=np.int64)
        self.order: list[int] = []

    def put(self, pod: int, node: int) -> bool:
        """Put a pod onto a node, on the tightest of its GPUs, if there is room."""
        asked, number = int(self.pods.gpu_milli[pod]), int(self.pods.num_gpu[pod])
        able = np.flatnonzero(self.gpu[node] >= asked)
        if (
            len(able) < number
            or self.cpu[node] < self.pods.cpu_milli[pod]
            or self.memory[node] < self.pods.memory_mib[pod]
        ):
            return False
        taken = able[np.argsort(self.gpu[node, able], kind="stable")[:number]]
        self.cpu[node] -= self.pods.cpu_milli[pod]
        self.memory[node] -= self.pods.memory_mib[pod]
        self.gpu[node, taken] -= asked
        self.node[pod] = node
        self.bits[pod] = int(sum(1 << int(gpu) for gpu in taken))
        self.order.append(pod)
        return True


def _whole_nodes(kinds: Kinds, found: Search) -> list[tuple[int, Integers]]:
    """Round the optimum to whole nodes: the whole part, then the largest rests while nodes are left."""
    amounts = found.programme.amounts()
    whole = np.floor(amounts + 1e-9).astype(np.int64)
    left = kinds.nodes.copy()
    for column, many in zip(found.programme.columns, whole.tolist(), strict=True):
        left[column.kind] -= many
    for at in np.argsort(-(amounts - whole), kind="stable").tolist():
        kind = found.programme.columns[at].kind
        if amounts[at] > whole[at] + 1e-9 and left[kind] > 0:
            whole[at] += 1
            left[kind] -= 1
    columns = zip(found.programme.columns, whole.tolist(), strict=True)
    return [(column.kind, column.counts) for column, many in columns for _ in range(many)]


def _fill(filler: _Filler, kinds: Kinds, found: Search, chosen: Integers) -> None:
    """Fill nodes as the columns say, as far as there are pods."""
    waiting: dict[int, list[int]] = {}
    for place, pod in enumerate(chosen.tolist()):
        waiting.setdefault(int(kinds.shape_of_pod[place]), []).append(pod)
    for pods in waiting.values():
        pods.reverse()
    nodes: dict[int, list[int]] = {}
    for node, kind in reversed(list(enumerate(kinds.kind_of_node.tolist()))):
        nodes.setdefault(kind, []).append(node)
    for kind, counts in _whole_nodes(kinds, found):
        node = nodes[kind].pop()
        # Whole GPUs first, then the largest shares: the fillings pack them so.
        shapes = sorted(np.flatnonzero(counts).tolist(), key=lambda at: (-kinds.worth[at], at))
        for shape in shapes:
            for _ in range(int(counts[shape])):
                queue = waiting.get(shape, [])
                if queue and filler.put(queue[-1], node):
                    queue.pop()


def place_offline(
    nodes: Nodes,
    pods: Pods,
    *,
    typical: TypicalPods | None = None,
    cpu_step: int = 100,
    max_rounds: int = 400,
) -> NodePlan:
    """Place pods that are all known at once, for the most GPU in use.

    Parameters
    ----------
    nodes : Nodes
        Machines with what is free of them.
    pods : Pods
        All of one priority.
    typical : TypicalPods, optional
        For the pods that no filling holds, which `carbon_fgd` places last (default: counted over the pods).
    cpu_step : int
        CPU is counted in steps of so many milli, rounded up.
    max_rounds : int
        Of the search for fillings.

    Returns
    -------
    NodePlan
        Which pods are left out is part of the choice: those that strand more GPU than they use, and pods
        without a GPU where CPU is short. `bound_allocation` says how much more there could be.

    Raises
    ------
    ConfigError
        Priorities differ, or a step or limit is below 1.
    PlacementError
        The solver fails.

    Examples
    --------
    >>> from aicsched.place.nodes import build_nodes, build_pods
    >>> nodes = build_nodes(["a"], cpu_milli=8000, memory_mib=1024, gpus=1, gpu_model="T4")
    >>> pods = build_pods(["x", "y", "z"], cpu_milli=10, memory_mib=1, num_gpu=1, gpu_milli=[600, 500, 500])
    >>> place_offline(nodes, pods).node.tolist()
    [-1, 0, 0]
    """
    if len(pods) and int(pods.priority.min()) != int(pods.priority.max()):
        msg = "pods of different priorities can't be traded for one another"
        raise ConfigError(msg, hint="place one priority after another", value="priority")
    if cpu_step < 1 or max_rounds < 1:
        msg = f"cpu_step is {cpu_step} and max_rounds is {max_rounds}"
        raise ConfigError(msg, hint="both are at least 1", value=(cpu_step, max_rounds))
    filler = _Filler(nodes, pods)
    chosen = np.flatnonzero(movable_pods(pods) & (pods.num_gpu > 0))
    if len(chosen) and nodes.gpu_free_milli.any():
        kinds = kinds_of(nodes, select_pods(pods, chosen.tolist()), cpu_step, up=True)
        _fill(filler, kinds, search_fillings(kinds, float(nodes.gpu_free_milli.sum()), max_rounds), chosen)
    return _with_rest(nodes, pods, filler, typical)


def _with_rest(nodes: Nodes, pods: Pods, filler: _Filler, typical: TypicalPods | None) -> NodePlan:
    """Place the pods that no filling holds, the largest askers of GPU first, on what is left."""
    rest = np.flatnonzero(filler.node < 0)
    # Pods of a gang stay as they came: they are placed together anyway.
    rest = rest[np.lexsort((rest, -pods.cpu_milli[rest], -pods.asked_gpu_milli[rest]))]
    left = dataclasses.replace(
        nodes,
        cpu_free_milli=frozen_array(filler.cpu, np.int64),
        memory_free_mib=frozen_array(filler.memory, np.int64),
        gpu_free_milli=frozen_array(filler.gpu, np.int64),
    )
    if typical is None and len(pods):
        typical = typical_pods(pods)
    last = place_pods(left, select_pods(pods, rest.tolist()), "carbon_fgd", typical=typical)
    filler.node[rest], filler.bits[rest] = last.node, last.gpu_bits
    order = np.concatenate([np.array(filler.order, dtype=np.int64), rest[last.order]])
    return NodePlan(
        policy="offline",
        node=frozen_array(filler.node, np.int64),
        gpu_bits=frozen_array(filler.bits, np.int64),
        order=frozen_array(order, np.int64),
        evaluations=last.evaluations,
    )

"""From nodes and pods to the arrays of the kernel: equal pods become one shape, rules become counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from aicsched.place.nodes.kernels import layout as at
from aicsched.place.nodes.problem import NO_GANG, WHOLE_GPU

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from aicsched.place.nodes.problem import Nodes, Pods, Requirements

    Integers = NDArray[np.int64]
    Rules = tuple[NDArray[Any], ...]

__all__ = [
    "Shapes",
    "alike",
    "arrivals_of",
    "company_of",
    "eligible_nodes",
    "facts_of",
    "mean_g_per_w",
    "models_of",
    "movable_pods",
    "rules_of",
    "shapes_of",
    "state_of",
    "tags_of",
    "watts_of",
]

W_PER_KW: Final = 1000.0
NODE_TOPOLOGY: Final = "node"
_MOST_KEYS: Final = 2**62


@dataclass(frozen=True, slots=True, eq=False)
class Shapes:
    """Pods that can't be told apart, once each: a size with requirements.

    Parameters
    ----------
    sizes : ndarray of int64, shape (Z, 5)
        CPU, memory, GPUs, milli of each, and the tag by which pods cluster: 0 shared, else GPUs.
    size : ndarray of int64, shape (S,)
        Of each shape.
    requirement : ndarray of int64, shape (S,)
        Kind of requirements of each shape.
    of_pod : ndarray of int64, shape (P,)
        The shape of each pod.
    """

    sizes: Integers
    size: Integers
    requirement: Integers
    of_pod: Integers


def shapes_of(pods: Pods) -> Shapes:
    """Find the distinct sizes and shapes of pods.

    Parameters
    ----------
    pods : Pods
        The pods.

    Returns
    -------
    Shapes
        In rising order of their columns.
    """
    tag = np.where(pods.gpu_milli == WHOLE_GPU, pods.num_gpu, 0)
    rows = np.stack([pods.cpu_milli, pods.memory_mib, pods.num_gpu, pods.gpu_milli, tag], axis=1)
    first_size, size_of_pod = alike(rows)
    both = np.stack([size_of_pod, pods.requirement], axis=1)
    first, of_pod = alike(both)
    return Shapes(rows[first_size], both[first, 0], both[first, 1], of_pod)


def alike(rows: Integers) -> tuple[Integers, Integers]:
    """Group equal rows.

    Parameters
    ----------
    rows : ndarray of int64, shape (n, c)
        None is negative.

    Returns
    -------
    tuple of ndarray
        The first row of each group, in rising order of columns, and the group of each row.
    """
    key = np.zeros(len(rows), dtype=np.int64)
    groups = 1
    for column in rows.T:
        width = int(column.max(initial=0)) + 1
        if groups * width >= _MOST_KEYS:
            # Too wide for one number: ranks so far take less.
            key = np.unique(key, return_inverse=True)[1].reshape(-1).astype(np.int64)
            groups = len(rows)
        key = key * width + column
        groups *= width
    _, first, of_row = np.unique(key, return_index=True, return_inverse=True)
    return first.astype(np.int64), of_row.reshape(-1).astype(np.int64)


def models_of(nodes: Nodes) -> tuple[str, ...]:
    """Return the GPU models there are.

    Parameters
    ----------
    nodes : Nodes
        The machines.

    Returns
    -------
    tuple of str
        Sorted.
    """
    return tuple(sorted({name for name in nodes.gpu_model if name}))


def tags_of(nodes: Nodes) -> int:
    """Return how many tags pods can have on these nodes: shared, and each number of whole GPUs."""
    return 1 + int(nodes.gpus.max(initial=0))


def _may_run(need: Requirements, nodes: Nodes) -> NDArray[np.bool_]:
    able = np.ones(len(nodes), dtype=np.bool_)
    if need.gpu_models:
        able &= np.array([name in need.gpu_models for name in nodes.gpu_model], bool)
    able &= np.array([not taints or taints <= need.tolerations for taints in nodes.taints], bool)
    for key, values in need.node_labels:
        able &= np.array([labels.get(key) in values for labels in nodes.labels], bool)
    return able


def eligible_nodes(shapes: Shapes, nodes: Nodes, requirements: Sequence[Requirements]) -> NDArray[np.uint8]:
    """Tell where each shape may run, whatever is free: models, taints, labels and size.

    Parameters
    ----------
    shapes : Shapes
        Of the pods.
    nodes : Nodes
        The machines.
    requirements : sequence of Requirements
        Kinds of them.

    Returns
    -------
    ndarray of uint8, shape (S, N)
        1 where it may.
    """
    by_kind = np.array([_may_run(need, nodes) for need in requirements]).reshape(
        len(requirements), len(nodes)
    )
    cpu, memory, number = (shapes.sizes[shapes.size, column, None] for column in range(3))
    large = (nodes.cpu_milli >= cpu) & (nodes.memory_mib >= memory) & (nodes.gpus >= number)
    return (by_kind[shapes.requirement] & large).astype(np.uint8)


def _domains(nodes: Nodes, topologies: Sequence[str]) -> Integers:
    made = np.full((len(topologies), len(nodes)), -1, dtype=np.int64)
    for row, topology in enumerate(topologies):
        if topology == NODE_TOPOLOGY:
            made[row] = np.arange(len(nodes))
            continue
        values = [labels.get(topology) for labels in nodes.labels]
        index = {
            value: place
            for place, value in enumerate(sorted({value for value in values if value is not None}))
        }
        made[row] = [-1 if value is None else index[value] for value in values]
    return made


def company_of(requirements: Sequence[Requirements]) -> tuple[dict[str, int], list[str]]:
    """List what rules ask about: only such names are counted, over such topologies.

    Parameters
    ----------
    requirements : sequence of Requirements
        Kinds of them.

    Returns
    -------
    tuple of dict and list
        Each name with its number, and the topologies.
    """
    asked = [row[:2] for need in requirements for row in (*need.anti_affinity, *need.affinity, *need.spread)]
    names = {name: place for place, name in enumerate(sorted({name for name, _ in asked}))}
    return names, sorted({topology for _, topology in asked})


def rules_of(
    shapes: Shapes, nodes: Nodes, requirements: Sequence[Requirements], eligible: NDArray[np.uint8]
) -> tuple[Rules, NDArray[np.int64]]:
    """Lay out who must or mustn't be beside whom.

    Parameters
    ----------
    shapes : Shapes
        Of the pods.
    nodes : Nodes
        The machines.
    requirements : sequence of Requirements
        Kinds of them.
    eligible : ndarray
        Of `eligible_nodes`: a spread counts domains where the pod may run.

    Returns
    -------
    tuple
        The kernel's rules (row starts by shape; rows of kind, name, topology, skew and whether the pod
        bears the name; name starts by shape; names; domain of each node by topology; which domains a row
        counts), and the tallies, all 0: (pods there, pods there that refuse) × names × topologies × domains.
    """
    asked = [
        [(at.ANTI_AFFINITY, name, topology, 0) for name, topology in need.anti_affinity]
        + [(at.AFFINITY, name, topology, 0) for name, topology in need.affinity]
        + [(at.SPREAD, name, topology, skew) for name, topology, skew in need.spread]
        for need in requirements
    ]
    names, topologies = company_of(requirements)
    domains = _domains(nodes, topologies)
    borne = [sorted(names[name] for name in need.labels if name in names) for need in requirements]
    kinds = shapes.requirement.tolist()
    rows = [
        (kind, names[name], topologies.index(topology), skew, int(names[name] in borne[need]))
        for need in kinds
        for kind, name, topology, skew in asked[need]
    ]
    width = int(domains.max(initial=0)) + 1
    counted = np.zeros((len(rows), width), dtype=np.uint8)
    row = 0
    for shape, need in enumerate(kinds):
        for _ in asked[need]:
            there = domains[rows[row][2]][eligible[shape] > 0]
            counted[row, there[there >= 0]] = 1
            row += 1
    rules = (
        np.cumsum([0, *(len(asked[need]) for need in kinds)]).astype(np.int64),
        np.array(rows, dtype=np.int64).reshape(-1, 5),
        np.cumsum([0, *(len(borne[need]) for need in kinds)]).astype(np.int64),
        np.array([name for need in kinds for name in borne[need]], dtype=np.int64),
        domains,
        counted,
    )
    return rules, np.zeros((2, len(names), len(topologies), width), dtype=np.int64)


def arrivals_of(pods: Pods) -> Integers:
    """Return pods in the order in which they are placed.

    Parameters
    ----------
    pods : Pods
        In the order in which they arrive.

    Returns
    -------
    ndarray of int64, shape (P,)
        Indices: higher priority first, then as they came; a gang stands where its first pod does, with the
        highest priority among it.
    """
    count = len(pods)
    place = np.arange(count)
    rank = -pods.priority
    ganged = np.flatnonzero(pods.gang > NO_GANG)
    if len(ganged):
        _, first, which = np.unique(pods.gang[ganged], return_index=True, return_inverse=True)
        place = place.copy()
        place[ganged] = ganged[first][which]
        best = np.full(len(first), np.iinfo(np.int64).max)
        np.minimum.at(best, which, rank[ganged])
        rank = rank.copy()
        rank[ganged] = best[which]
    return np.lexsort((np.arange(count), place, rank))


def state_of(nodes: Nodes) -> Integers:
    """Return what is free of each node, and a last row for trials.

    Parameters
    ----------
    nodes : Nodes
        The machines.

    Returns
    -------
    ndarray of int64, shape (N + 1, 2 + GPUs)
        CPU, memory, then each GPU.
    """
    state = np.zeros((len(nodes) + 1, 2 + nodes.gpu_free_milli.shape[1]), dtype=np.int64)
    state[:-1, 0], state[:-1, 1], state[:-1, 2:] = (
        nodes.cpu_free_milli,
        nodes.memory_free_mib,
        nodes.gpu_free_milli,
    )
    return state


def facts_of(nodes: Nodes, models: tuple[str, ...], tags: int, grams: NDArray[np.float64]) -> Integers:
    """Return GPUs, model, CPU and class of each node, and room for what changes.

    Parameters
    ----------
    nodes : Nodes
        The machines.
    models : tuple of str
        Of GPUs.
    tags : int
        How many tags pods can have.
    grams : ndarray, shape (N, c)
        Rates of each node: those of one class have the same.

    Returns
    -------
    ndarray of int64, shape (N, 5 + tags)
        As `aicsched.place.nodes.kernels.layout` says.
    """
    facts = np.zeros((len(nodes), at.TAGS + tags), dtype=np.int64)
    index = {name: place for place, name in enumerate(models)}
    facts[:, at.GPUS], facts[:, at.CAPACITY] = nodes.gpus, nodes.cpu_milli
    facts[:, at.MODEL] = [index.get(name, 0) for name in nodes.gpu_model]
    prices = np.unique(grams, axis=0, return_inverse=True)[1].reshape(-1, 1)
    facts[:, at.CLASS] = alike(np.hstack([facts[:, : at.CLASS], state_of(nodes)[:-1], prices]))[1]
    return facts


def watts_of(nodes: Nodes) -> NDArray[np.float64]:
    """Return what pods add to each node, with its PUE.

    Parameters
    ----------
    nodes : Nodes
        The machines.

    Returns
    -------
    ndarray, shape (N, 3)
        Watts per CPU milli in use, per GPU woken, and for waking the node.
    """
    cpu_w = (nodes.cpu_busy_w - nodes.cpu_idle_w) / np.maximum(nodes.cpu_milli, 1)
    gpu_w = nodes.gpu_busy_w - nodes.gpu_idle_w
    waking_w = nodes.cpu_idle_w + nodes.gpus * nodes.gpu_idle_w - nodes.asleep_w
    return np.stack([cpu_w, gpu_w, waking_w], axis=1) * nodes.pue[:, None]


def mean_g_per_w(nodes: Nodes, g_per_kwh: NDArray[np.float64]) -> float:
    """Return what a watt emits in an hour at a mean GPU: the rate at which room is traded for energy.

    A GPU is worth the same wherever it is stranded: a pod that would have used it runs elsewhere.

    Parameters
    ----------
    nodes : Nodes
        The machines.
    g_per_kwh : ndarray, shape (N,)
        Carbon intensity at each of them.

    Returns
    -------
    float
        Grams per hour and watt, with PUE; 0 without nodes.
    """
    weights = nodes.gpus if nodes.gpus.any() else None
    return float(np.average(nodes.pue * g_per_kwh / W_PER_KW, weights=weights)) if len(nodes) else 0.0


def movable_pods(pods: Pods) -> NDArray[np.bool_]:
    """Tell which pods neither ask about others nor are asked about, and are of no gang.

    Parameters
    ----------
    pods : Pods
        The pods.

    Returns
    -------
    ndarray of bool, shape (P,)
        Those may stand anywhere, whoever is there.
    """
    asked_about = {
        row[0]
        for need in pods.requirements
        for rows in (need.anti_affinity, need.affinity, need.spread)
        for row in rows
    }
    free = [
        not (need.anti_affinity or need.affinity or need.spread or need.labels & asked_about)
        for need in pods.requirements
    ]
    return np.array(free, bool)[pods.requirement] & (pods.gang == NO_GANG)

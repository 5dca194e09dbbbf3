"""What a plan comes to: GPU in use, fragments, watts and grams, each straight from its definition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from aicsched.errors import InputError
from aicsched.place.nodes.problem import WHOLE_GPU

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.place.nodes.policies import NodePlan
    from aicsched.place.nodes.problem import Nodes, Pods
    from aicsched.place.nodes.typical import TypicalPods

__all__ = ["NodeMeasures", "fragmented_milli", "measure", "node_power_w"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeMeasures:
    """A cluster after some arrivals.

    Parameters
    ----------
    arrived, placed : int
        Pods.
    gpu_allocated : float
        Share of all GPUs in use.
    gpu_fragmented : float
        Share of all GPUs that is free but no use to a mean typical pod (FGD's measure).
    power_w : float
        Of all machines [W].
    g_per_h : float
        Their emissions, with PUE [g/h].
    """

    arrived: int
    placed: int
    gpu_allocated: float
    gpu_fragmented: float
    power_w: float
    g_per_h: float


def fragmented_milli(
    nodes: Nodes, cpu_free_milli: NDArray[np.int64], gpu_free_milli: NDArray[np.int64], typical: TypicalPods
) -> NDArray[np.float64]:
    """Return how much free GPU of each node a mean typical pod can't use.

    Parameters
    ----------
    nodes : Nodes
        Machines, N of them.
    cpu_free_milli : ndarray, shape (N,)
        Free CPU.
    gpu_free_milli : ndarray, shape (N, GPUs)
        What is free of each GPU.
    typical : TypicalPods
        What usually comes.

    Returns
    -------
    ndarray, shape (N,)
        The mean over typical pods of: all free GPU where the pod doesn't fit on the node, else what
        is free on GPUs with less than it asks of one [milli].

    References
    ----------
    Weng et al., "Beware of Fragmentation", USENIX ATC 2023, section 3.
    """
    total = gpu_free_milli.sum(axis=1)
    found = np.zeros(len(nodes))
    for m in range(len(typical)):
        enough = gpu_free_milli >= typical.gpu_milli[m]
        fits = (cpu_free_milli >= typical.cpu_milli[m]) & (enough.sum(axis=1) >= typical.num_gpu[m])
        models = typical.gpu_models[m]
        fits &= np.array([not models or name in models for name in nodes.gpu_model], bool)
        fits &= typical.num_gpu[m] > 0
        small = np.where(enough, 0, gpu_free_milli).sum(axis=1)
        found += typical.share[m] * np.where(fits, small, total)
    return found


def node_power_w(
    nodes: Nodes, cpu_free_milli: NDArray[np.int64], gpu_free_milli: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return what each machine draws: CPU by its share in use, each GPU in use in full, or asleep.

    Parameters
    ----------
    nodes : Nodes
        Machines, N of them.
    cpu_free_milli : ndarray, shape (N,)
        Free CPU.
    gpu_free_milli : ndarray, shape (N, GPUs)
        What is free of each GPU.

    Returns
    -------
    ndarray, shape (N,)
        Power without PUE [W].
    """
    there = np.arange(gpu_free_milli.shape[1]) < nodes.gpus[:, None]
    in_use = (there & (gpu_free_milli < WHOLE_GPU)).sum(axis=1)
    share = 1.0 - cpu_free_milli / np.maximum(nodes.cpu_milli, 1)
    awake = nodes.cpu_idle_w + (nodes.cpu_busy_w - nodes.cpu_idle_w) * share
    awake = awake + nodes.gpus * nodes.gpu_idle_w + in_use * (nodes.gpu_busy_w - nodes.gpu_idle_w)
    return np.where((cpu_free_milli == nodes.cpu_milli) & (in_use == 0), nodes.asleep_w, awake)


def measure(
    nodes: Nodes, pods: Pods, plan: NodePlan, typical: TypicalPods, *, arrived_gpu: float | None = None
) -> NodeMeasures:
    """Measure a cluster after a plan, or amid it.

    Parameters
    ----------
    nodes : Nodes
        Machines before the plan.
    pods : Pods
        What was to be placed.
    plan : NodePlan
        Where it runs.
    typical : TypicalPods
        What usually comes.
    arrived_gpu : float, optional
        Stop when the pods so far ask for this share of all GPUs (default: after the last).

    Returns
    -------
    NodeMeasures
        Of the cluster then.

    Raises
    ------
    InputError
        The plan isn't of these pods.
    """
    if len(plan.node) != len(pods):
        msg = f"the plan is of {len(plan.node)} pods, not {len(pods)}"
        raise InputError(msg, hint="give the pods that were placed", value=len(plan.node))
    order = plan.order
    if arrived_gpu is not None:
        upto = np.cumsum(pods.asked_gpu_milli[order])
        order = order[upto <= arrived_gpu * nodes.gpu_milli]
    placed = order[plan.node[order] >= 0]
    cpu, gpu = nodes.cpu_free_milli.copy(), nodes.gpu_free_milli.copy()
    np.subtract.at(cpu, plan.node[placed], pods.cpu_milli[placed])
    for g in range(gpu.shape[1]):
        taking = placed[(plan.gpu_bits[placed] >> g & 1) > 0]
        np.subtract.at(gpu[:, g], plan.node[taking], pods.gpu_milli[taking])
    power_w = node_power_w(nodes, cpu, gpu)
    all_gpu = max(nodes.gpu_milli, 1)
    return NodeMeasures(
        arrived=len(order),
        placed=len(placed),
        gpu_allocated=float((nodes.gpu_milli - gpu.sum()) / all_gpu),
        gpu_fragmented=float(fragmented_milli(nodes, cpu, gpu, typical).sum() / all_gpu),
        power_w=float(power_w.sum()),
        g_per_h=float((power_w * nodes.pue * nodes.g_per_kwh).sum() / 1000.0),
    )

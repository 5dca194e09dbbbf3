"""Some of the nodes, or some of the pods: columns again, checked again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aicsched.place.nodes.problem import build_nodes, build_pods

if TYPE_CHECKING:
    from aicsched.place.nodes.problem import Nodes, Pods

__all__ = ["select_nodes", "select_pods"]


def select_pods(pods: Pods, chosen: list[int]) -> Pods:
    """Return some pods, in a given order; who is there again gets a new name.

    Parameters
    ----------
    pods : Pods
        The pods.
    chosen : list of int
        Indices.

    Returns
    -------
    Pods
        Of the same requirements.
    """
    times: dict[int, int] = {}
    ids: list[str] = []
    for at in chosen:
        many = times[at] = times.get(at, -1) + 1
        ids.append(f"{pods.pod_ids[at]}+{many}" if many else pods.pod_ids[at])
    return build_pods(
        ids,
        cpu_milli=pods.cpu_milli[chosen],
        memory_mib=pods.memory_mib[chosen],
        num_gpu=pods.num_gpu[chosen],
        gpu_milli=pods.gpu_milli[chosen],
        requirements=pods.requirements,
        requirement=pods.requirement[chosen],
        priority=pods.priority[chosen],
        gang=pods.gang[chosen],
    )


def select_nodes(nodes: Nodes, chosen: list[int]) -> Nodes:
    """Return some nodes.

    Parameters
    ----------
    nodes : Nodes
        The machines.
    chosen : list of int
        Indices.

    Returns
    -------
    Nodes
        With what is free of them.
    """
    most = int(nodes.gpus[chosen].max(initial=0))
    return build_nodes(
        [nodes.node_ids[at] for at in chosen],
        cpu_milli=nodes.cpu_milli[chosen],
        memory_mib=nodes.memory_mib[chosen],
        gpus=nodes.gpus[chosen],
        gpu_model=[nodes.gpu_model[at] for at in chosen],
        labels=[nodes.labels[at] for at in chosen],
        taints=[nodes.taints[at] for at in chosen],
        cpu_free_milli=nodes.cpu_free_milli[chosen],
        memory_free_mib=nodes.memory_free_mib[chosen],
        gpu_free_milli=nodes.gpu_free_milli[chosen][:, :most],
        cpu_idle_w=nodes.cpu_idle_w[chosen],
        cpu_busy_w=nodes.cpu_busy_w[chosen],
        gpu_idle_w=nodes.gpu_idle_w[chosen],
        gpu_busy_w=nodes.gpu_busy_w[chosen],
        asleep_w=nodes.asleep_w[chosen],
        pue=nodes.pue[chosen],
        g_per_kwh=nodes.g_per_kwh[chosen],
    )

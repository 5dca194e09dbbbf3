"""All pods of a list known at once: plans made better by ruin and recreate, beside the proven bound."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from aicsched.place.nodes import place_pods, typical_pods
from aicsched.place.nodes.bound import bound_allocation, bound_pods
from aicsched.place.nodes.check import check_nodes
from aicsched.place.nodes.improve import improve_plan
from aicsched.place.nodes.measure import measure
from aicsched.place.nodes.offline import place_offline
from aicsched.place.nodes.select import select_pods
from benchmarks.tables import Table

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from aicsched.place.nodes import NodePlan, Nodes, Pods

__all__ = ["batches", "plain_list"]

_STEPS = 1_000_000
_SMOKE_STEPS = 500


def _row(name: str, nodes: Nodes, pods: Pods, plan: NodePlan, spent: float) -> tuple[Any, ...]:
    found = measure(nodes, pods, plan, typical_pods(pods))
    awake = len(set(plan.node[plan.node >= 0].tolist()))
    return name, 100 * found.gpu_allocated, found.placed, awake, found.g_per_h / 1000, spent


def plain_list(
    nodes: Nodes, pods: Pods, numpys: Callable[[Nodes, Pods], NDArray[np.int64]], *, smoke: bool
) -> Table:
    """Place one list of pods in several ways.

    Parameters
    ----------
    nodes : Nodes
        Machines with their power.
    pods : Pods
        The list.
    numpys : callable
        The rival: from nodes and pods to nodes.
    smoke : bool
        Fewer steps.

    Returns
    -------
    Table
        GPU in use, pods, nodes awake, kg per hour, CPU seconds.
    """
    steps = _SMOKE_STEPS if smoke else _STEPS
    large = np.lexsort((np.arange(len(pods)), -pods.cpu_milli / 128_000 - pods.asked_gpu_milli / 8000))
    sorted_pods = select_pods(pods, large.tolist())
    started = time.process_time()
    node = numpys(nodes, sorted_pods)
    spent = time.process_time() - started
    gpu = 100 * sorted_pods.asked_gpu_milli[node >= 0].sum() / nodes.gpu_milli
    awake = len(set(node[node >= 0].tolist()))
    rows: list[tuple[Any, ...]] = [
        ("dot product, plain numpy, largest first", gpu, int((node >= 0).sum()), awake, None, spent)
    ]

    def timed(name: str, call: Callable[..., NodePlan], *given: Any, **named: Any) -> NodePlan:
        started = time.process_time()
        plan = call(nodes, pods, *given, **named)
        rows.append(_row(name, nodes, pods, plan, time.process_time() - started))
        check_nodes(nodes, pods, plan)
        return plan

    for policy in ("dot_product", "best_fit", "fgd"):
        timed(policy, place_pods, policy)
    start = timed("carbon_fgd", place_pods, "carbon_fgd")
    timed("offline", place_offline)
    for goal, words in (
        ("gpus", "most GPU"), ("pods", "most pods"), ("carbon", "most pods, least grams"),
        ("nodes", "most pods, fewest nodes"),
    ):  # fmt: skip
        timed(f"carbon_fgd improved: {words}", improve_plan, start, goal, steps=steps)
    started = time.process_time()
    limit = 100 * bound_allocation(nodes, pods).gpu_allocated
    rows.append(
        (
            "proven bound",
            limit,
            bound_pods(nodes, pods, cpu_step=500),
            None,
            None,
            time.process_time() - started,
        )
    )
    assert all(row[1] <= limit + 1e-6 for row in rows)
    asked = pods.asked_gpu_milli.sum() / nodes.gpu_milli
    return Table(
        f"A list of {len(pods)} pods, all known",
        ("way", "GPU allocated [%]", "pods placed", "nodes awake", "emissions [kg/h]", "CPU [s]"),
        rows,
        f"On all {len(nodes)} nodes at 300 g/kWh; {asked:.2%} of GPU is "
        f"asked for. Improved in {steps:,} steps of ruin and recreate. Each plan passes the checker.",
    )


def batches(nodes: Nodes, lists: dict[str, Pods], *, smoke: bool) -> Table:
    """Compare plans with the bound on each list.

    Parameters
    ----------
    nodes : Nodes
        Machines.
    lists : dict
        Lists of pods.
    smoke : bool
        Fewer steps.

    Returns
    -------
    Table
        GPU in use of online, offline and improved plans, and the gap to the bound.
    """
    steps = _SMOKE_STEPS if smoke else _STEPS
    rows: list[tuple[Any, ...]] = []
    for name, pods in lists.items():
        plan = place_pods(nodes, pods)
        better = improve_plan(nodes, pods, plan, steps=steps)
        check_nodes(nodes, pods, better)
        typical = typical_pods(pods)
        online, best = (100 * measure(nodes, pods, each, typical).gpu_allocated for each in (plan, better))
        limit = 100 * bound_allocation(nodes, pods, cpu_step=200).gpu_allocated
        asked = 100 * int(pods.asked_gpu_milli.sum()) / nodes.gpu_milli
        rows.append((name, asked, online, best, limit, limit - best))
    return Table(
        "GPU allocated of whole lists [%]",
        ("list", "asked", "carbon_fgd", "improved", "proven bound", "gap [points]"),
        rows,
    )

"""``aicsched place-nodes``: pods onto machines, with the bound that no plan exceeds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aicsched.cli.output import AsJson, console, emit_json, print_table
from aicsched.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from aicsched.place.nodes import NodePlan, Nodes, Pods

__all__ = ["place_nodes"]

_SHOWN = 20


def place_nodes(
    nodes: Annotated[
        Path, typer.Option("--nodes", metavar="FILE", help="Machines (see `aicsched schema machines`).")
    ],
    pods: Annotated[
        Path, typer.Option("--pods", metavar="FILE", help="Pods as they come (see `aicsched schema pods`).")
    ],
    policy: Annotated[
        str, typer.Option("--policy", metavar="NAME", help="carbon_fgd, fgd, best_fit, …, or offline.")
    ] = "carbon_fgd",
    improve: Annotated[
        str | None,
        typer.Option("--improve", metavar="GOAL", help="Then make it better: gpus, pods, carbon or nodes."),
    ] = None,
    steps: Annotated[int, typer.Option("--steps", min=1, help="How often --improve tries.")] = 200_000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of all draws.")] = 0,
    bound: Annotated[bool, typer.Option("--bound/--no-bound", help="Prove what no plan exceeds.")] = True,
    as_json: AsJson = False,
) -> None:
    """Put pods onto machines: GPU shares, taints, affinity, spread; checked, and beside a proven bound."""
    from aicsched.place.nodes import POLICIES, place_pods
    from aicsched.place.nodes.check import check_nodes
    from aicsched.place.nodes.files import read_machines, read_pods
    from aicsched.place.nodes.improve import GOALS, improve_plan
    from aicsched.place.nodes.offline import place_offline

    for name, known, what in ((policy, {*POLICIES, "offline"}, "policy"), (improve, {*GOALS}, "goal")):
        if name is not None and name not in known:
            msg = f"there is no {what} '{name}' for nodes"
            raise ConfigError(msg, hint=did_you_mean(name, sorted(known)), value=name)
    machines, wanted = read_machines(nodes), read_pods(pods)
    offline = policy == "offline"
    plan = place_offline(machines, wanted) if offline else place_pods(machines, wanted, policy, seed=seed)
    if improve is not None:
        plan = improve_plan(machines, wanted, plan, improve, steps=steps, seed=seed)
    check_nodes(machines, wanted, plan)
    facts = _facts(machines, wanted, plan, bound=bound)
    if as_json:
        emit_json(facts | {"assignments": _assignments(machines, wanted, plan)})
    else:
        _print(machines, wanted, plan, facts)


def _facts(nodes: Nodes, pods: Pods, plan: NodePlan, *, bound: bool) -> dict[str, Any]:
    from aicsched.place.nodes import typical_pods
    from aicsched.place.nodes.bound import bound_allocation, bound_pods
    from aicsched.place.nodes.measure import measure

    found = measure(nodes, pods, plan, typical_pods(pods))
    facts: dict[str, Any] = {
        "policy": plan.policy,
        "nodes": len(nodes),
        "pods": len(pods),
        "placed": found.placed,
        "nodes_in_use": len(set(plan.node[plan.node >= 0].tolist())),
        "gpu_allocated": found.gpu_allocated,
        "gpu_fragmented": found.gpu_fragmented,
        "power_w": found.power_w,
        "g_per_h": found.g_per_h,
        "bound": None,
    }
    if bound:
        limit = bound_allocation(nodes, pods).gpu_allocated
        facts["bound"] = {
            "gpu_allocated": limit,
            "gap_points": 100 * (limit - found.gpu_allocated),
            "pods": bound_pods(nodes, pods),
        }
    return facts


def _assignments(nodes: Nodes, pods: Pods, plan: NodePlan) -> list[dict[str, Any]]:
    return [
        {
            "pod": name,
            "node": nodes.node_ids[at] if at >= 0 else None,
            "gpus": list(plan.gpus(pod)) if at >= 0 else [],
        }
        for pod, (name, at) in enumerate(zip(pods.pod_ids, plan.node.tolist(), strict=True))
    ]


def _print(nodes: Nodes, pods: Pods, plan: NodePlan, facts: dict[str, Any]) -> None:
    from aicsched.units import format_mass

    rows = [
        (row["pod"], row["node"] or "–", ",".join(map(str, row["gpus"])) or "–")
        for row in _assignments(nodes, pods, plan)
    ]
    title = f"{facts['placed']} of {len(pods)} pods on {facts['nodes_in_use']} of {len(nodes)} nodes"
    print_table(f"{title} by {plan.policy}", ("pod", "node", "GPUs"), rows[:_SHOWN])
    out = console()
    if len(rows) > _SHOWN:
        out.print(f"… and {len(rows) - _SHOWN} more (--json tells all)")
    if nodes.gpu_milli:
        out.print(
            f"GPU allocated {facts['gpu_allocated']:.2%}, free but of no use to a typical pod "
            f"{facts['gpu_fragmented']:.2%}"
        )
    limit = facts["bound"]
    if limit is not None:
        gpu = f"{limit['gpu_allocated']:.2%} of GPU and " if nodes.gpu_milli else ""
        out.print(f"Proven: no plan exceeds {gpu}{limit['pods']} pods")
    # Files without power columns, such as openb's, say nothing of watts.
    if facts["power_w"]:
        out.print(f"{facts['power_w']:,.0f} W, {format_mass(facts['g_per_h'])} an hour")

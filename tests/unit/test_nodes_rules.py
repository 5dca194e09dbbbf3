"""Taints, affinity, anti-affinity and spread: policies and checker against rules spelled out."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from aicsched.errors import PlanRefused
from aicsched.place.nodes import (
    POLICIES,
    NodePlan,
    Nodes,
    Pods,
    Requirements,
    build_nodes,
    build_pods,
    place_pods,
    typical_pods,
)
from aicsched.place.nodes.check import check_nodes
from aicsched.place.nodes.live import PodAsk, PriceBook, PricedNodes
from aicsched.place.nodes.offline import place_offline
from aicsched.slots import SlotGrid

COUNT = 4
KINDS = ("taint", "node_affinity", "affinity", "anti_affinity", "spread", "all")


def drawn_rule(rng: np.random.Generator, kind: str) -> Requirements:
    """Draw requirements with rules of one kind, or of any."""

    def on(name: str, chance: float = 0.6) -> bool:
        return kind in {name, "all"} and rng.random() < chance

    def name() -> str:
        return str(rng.choice(["x", "y"]))

    def topology() -> str:
        return str(rng.choice(["node", "zone"]))

    return Requirements(
        labels=frozenset(label for label in ("x", "y") if rng.random() < 0.5),
        tolerations=frozenset({"gpu"} if rng.random() < 0.4 else ()),
        node_labels=(("zone", frozenset({str(rng.choice(["a", "b"]))})),) if on("node_affinity") else (),
        affinity=((name(), topology()),) if on("affinity") else (),
        anti_affinity=((name(), topology()),) if on("anti_affinity") else (),
        spread=((name(), topology(), int(rng.integers(1, 3))),) if on("spread") else (),
    )


def drawn(seed: int, kind: str) -> tuple[Nodes, Pods]:
    rng = np.random.default_rng(seed)
    tainted = kind in {"taint", "all"}
    nodes = build_nodes(
        ["n0", "n1", "n2"],
        cpu_milli=[2000, 2000, 3000],
        memory_mib=100,
        labels=[{"zone": "a"}, {"zone": str(rng.choice(["a", "b"]))}, {"zone": "b"} if seed % 3 else {}],
        taints=[frozenset({"gpu"} if tainted and rng.random() < 0.5 else ()) for _ in range(3)],
        cpu_busy_w=100.0,
        g_per_kwh=[300.0, 100.0, 200.0],
    )
    rules = [drawn_rule(rng, kind) for _ in range(COUNT)]
    pods = build_pods(
        [f"p{at}" for at in range(COUNT)], cpu_milli=rng.choice([500, 1000, 1500], COUNT), memory_mib=1,
        requirements=rules, requirement=np.arange(COUNT),
    )  # fmt: skip
    return nodes, pods


def domain(nodes: Nodes, node: int, topology: str) -> str | None:
    return nodes.node_ids[node] if topology == "node" else nodes.labels[node].get(topology)


def could_ever(nodes: Nodes, pods: Pods, pod: int, node: int) -> bool:
    """Tell what taints, labels and the size of an empty node say."""
    need = pods.requirements[pod]
    selected = all(nodes.labels[node].get(key) in values for key, values in need.node_labels)
    return bool(
        nodes.taints[node] <= need.tolerations and selected and pods.cpu_milli[pod] <= nodes.cpu_milli[node]
    )


def lets(  # noqa: C901 - one question a kind of rule
    nodes: Nodes, pods: Pods, there: dict[int, int], pod: int, node: int
) -> bool:
    """Tell whether a pod may join those that are there, as Kubernetes' documentation has it."""
    need = pods.requirements[pod]

    def with_name(name: str, topology: str, where: str | None) -> int:
        return sum(
            name in pods.requirements[other].labels and domain(nodes, at, topology) == where is not None
            for other, at in there.items()
        )

    taken = sum(int(pods.cpu_milli[other]) for other, at in there.items() if at == node)
    if not could_ever(nodes, pods, pod, node) or taken + pods.cpu_milli[pod] > nodes.cpu_milli[node]:
        return False
    for name, topology in need.anti_affinity:
        if with_name(name, topology, domain(nodes, node, topology)):
            return False
    for other, at in there.items():
        for name, topology in pods.requirements[other].anti_affinity:
            mine, theirs = domain(nodes, node, topology), domain(nodes, at, topology)
            if name in need.labels and mine is not None and mine == theirs:
                return False
    for name, topology in need.affinity:
        here = domain(nodes, node, topology)
        anywhere = {domain(nodes, at, topology) for at in there.values()} - {None}
        first = name in need.labels and not any(with_name(name, topology, where) for where in anywhere)
        if here is None or not (first or with_name(name, topology, here)):
            return False
    for name, topology, skew in need.spread:
        here = domain(nodes, node, topology)
        counted = {
            domain(nodes, at, topology) for at in range(len(nodes)) if could_ever(nodes, pods, pod, at)
        } - {None}
        least = min((with_name(name, topology, where) for where in counted), default=0)
        if here is None or with_name(name, topology, here) + (name in need.labels) - least > skew:
            return False
    return True


def accepted(nodes: Nodes, pods: Pods, chosen: tuple[int, ...]) -> bool:
    there: dict[int, int] = {}
    for pod, node in enumerate(chosen):
        if node >= 0:
            if not lets(nodes, pods, there, pod, node):
                return False
            there[pod] = node
    return True


def plan_of(chosen: tuple[int, ...]) -> NodePlan:
    return NodePlan(
        policy="by hand", node=np.array(chosen), gpu_bits=np.zeros(COUNT, np.int64), order=np.arange(COUNT),
        evaluations=0,
    )  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_the_checker_accepts_exactly_what_the_rules_allow(kind: str) -> None:
    good = bad = 0
    for seed in range(6):
        nodes, pods = drawn(seed, kind)
        for chosen in itertools.product(range(-1, 3), repeat=COUNT):
            if accepted(nodes, pods, chosen):
                assert check_nodes(nodes, pods, plan_of(chosen)).placed == sum(node >= 0 for node in chosen)
                good += 1
            else:
                with pytest.raises(PlanRefused):
                    check_nodes(nodes, pods, plan_of(chosen))
                bad += 1
    assert good > 50
    assert bad > 100


def replayed(nodes: Nodes, pods: Pods, node: list[int], order: list[int], *, all_in: bool) -> None:
    """Go through a plan in its order: who is placed was let in, who isn't was let in nowhere."""
    there: dict[int, int] = {}
    for pod in order:
        open_to = [at for at in range(len(nodes)) if lets(nodes, pods, there, pod, at)]
        if node[pod] >= 0:
            assert node[pod] in open_to
            there[pod] = node[pod]
        elif all_in:
            assert not open_to


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("policy", [*POLICIES, "offline", "live"])
def test_every_policy_keeps_each_rule_and_turns_nobody_away_without_one(policy: str, kind: str) -> None:
    placed = 0
    for seed in range(25):
        nodes, pods = drawn(seed, kind)
        if policy == "live":
            node = by_one(nodes, pods)
            replayed(nodes, pods, node, list(range(COUNT)), all_in=True)
        else:
            plan = (
                place_offline(nodes, pods)
                if policy == "offline"
                else place_pods(nodes, pods, policy, seed=seed)
            )
            node = plan.node.tolist()
            check_nodes(nodes, pods, plan)
            replayed(nodes, pods, node, plan.order.tolist(), all_in=True)
        placed += sum(at >= 0 for at in node)
    assert placed > 25


def by_one(nodes: Nodes, pods: Pods) -> list[int]:
    book = PriceBook(
        slots=SlotGrid(0, 3600, 1), regions=nodes.node_ids, g_per_kwh=nodes.g_per_kwh[:, None],
        price_g_per_vcpu_h=np.zeros((len(nodes), 1)),
    )  # fmt: skip
    cluster = PricedNodes(nodes, nodes.node_ids, typical_pods(pods), book)
    made: list[int] = []
    for pod in range(len(pods)):
        ask = PodAsk(cpu_milli=int(pods.cpu_milli[pod]), memory_mib=1, requirements=pods.requirements[pod])
        made.append(cluster.decide(ask, 0.0).node)
        if made[-1] >= 0:
            cluster.bind(f"p{pod}", ask, made[-1])
    return made

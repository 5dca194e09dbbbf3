"""An independent validator of pods on nodes: slow, plain, and sharing no code with the policies.

It goes through the pods in the order of the plan, in ordinary Python numbers, and asks of each
what Kubernetes would: room on its node and on each GPU, model, taints, labels, company; and of
gangs, all or none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aicsched.errors import PlanRefused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aicsched.place.nodes.policies import NodePlan
    from aicsched.place.nodes.problem import Nodes, Pods, Requirements

__all__ = ["NodeCheck", "check_nodes"]

_FAULTS_SHOWN: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeCheck:
    """What the validator worked out.

    Parameters
    ----------
    placed, unplaced : int
        Pods.
    gpu_milli : int
        GPU in use by the pods placed, in thousandths.
    could_fit : int
        Unplaced pods, of no gang, for which there was room at the end: a policy that wastes none has 0.
    """

    placed: int
    unplaced: int
    gpu_milli: int
    could_fit: int


class _Cluster:
    """What is free, and who is where, as pods come."""

    def __init__(self, nodes: Nodes, pods: Pods) -> None:
        self.nodes = nodes
        self.pods = pods
        self.cpu = [int(value) for value in nodes.cpu_free_milli]
        self.memory = [int(value) for value in nodes.memory_free_mib]
        self.gpu = [
            [int(value) for value in row[: int(count)]]
            for row, count in zip(nodes.gpu_free_milli, nodes.gpus, strict=True)
        ]
        self.there: dict[int, list[int]] = {}
        self.refusing: list[tuple[int, int]] = []

    def need(self, pod: int) -> Requirements:
        return self.pods.requirements[int(self.pods.requirement[pod])]

    def domain(self, node: int, topology: str) -> str | None:
        return self.nodes.node_ids[node] if topology == "node" else self.nodes.labels[node].get(topology)

    def count(self, name: str, topology: str, domain: str | None) -> int:
        """Count pods of a name in a domain."""
        return sum(
            name in self.need(pod).labels
            for node, placed in self.there.items()
            if domain is not None and self.domain(node, topology) == domain
            for pod in placed
        )

    def may_run(self, pod: int, node: int) -> Iterator[str]:
        """Yield why a pod may never run on a node, whatever is free."""
        need = self.need(pod)
        if need.gpu_models and self.nodes.gpu_model[node] not in need.gpu_models:
            yield f"needs {'|'.join(sorted(need.gpu_models))}, not '{self.nodes.gpu_model[node]}'"
        if self.nodes.taints[node] - need.tolerations:
            yield f"doesn't tolerate {sorted(self.nodes.taints[node] - need.tolerations)}"
        for key, values in need.node_labels:
            if self.nodes.labels[node].get(key) not in values:
                yield f"needs label {key} in {sorted(values)}"

    def large_enough(self, pod: int, node: int) -> bool:
        """Tell whether an empty node of this size would hold the pod."""
        return bool(
            self.nodes.cpu_milli[node] >= self.pods.cpu_milli[pod]
            and self.nodes.memory_mib[node] >= self.pods.memory_mib[pod]
            and self.nodes.gpus[node] >= self.pods.num_gpu[pod]
        )

    def company(self, pod: int, node: int) -> Iterator[str]:
        """Yield which pods there stand against it."""
        need = self.need(pod)
        for name, topology in need.anti_affinity:
            if self.count(name, topology, self.domain(node, topology)):
                yield f"refuses '{name}' in its {topology}"
        for resident, other in self.refusing:
            for name, topology in self.need(resident).anti_affinity:
                same = self.domain(other, topology)
                if name in need.labels and same is not None and same == self.domain(node, topology):
                    yield f"is refused by '{self.pods.pod_ids[resident]}' in its {topology}"
        for name, topology in need.affinity:
            if not self.welcome(pod, node, name, topology):
                yield f"wants '{name}' in its {topology}"
        for name, topology, skew in need.spread:
            here = self.domain(node, topology)
            count = self.count(name, topology, here) + (name in need.labels)
            if here is None or count - self.least(pod, name, topology) > skew:
                yield f"makes '{name}' differ by more than {skew} over {topology}"

    def least(self, pod: int, name: str, topology: str) -> int:
        """Return the least count of a name over the domains where a pod may run."""
        domains = {
            self.domain(at, topology)
            for at in range(len(self.nodes))
            if not any(self.may_run(pod, at)) and self.large_enough(pod, at)
        } - {None}
        return min((self.count(name, topology, domain) for domain in domains), default=0)

    def welcome(self, pod: int, node: int, name: str, topology: str) -> bool:
        """Tell whether a pod finds the company it wants, or is the first of its own kind."""
        domains = {self.domain(at, topology) for at in range(len(self.nodes))}
        somewhere = any(self.count(name, topology, domain) for domain in domains)
        first = name in self.need(pod).labels and not somewhere
        here = self.domain(node, topology)
        return here is not None and (first or self.count(name, topology, here) > 0)

    def room(self, pod: int, node: int, gpus: tuple[int, ...]) -> Iterator[str]:
        """Yield what is too small."""
        asked = int(self.pods.gpu_milli[pod])
        if self.cpu[node] < int(self.pods.cpu_milli[pod]):
            yield f"asks {self.pods.cpu_milli[pod]} CPU milli of {self.cpu[node]}"
        if self.memory[node] < int(self.pods.memory_mib[pod]):
            yield f"asks {self.pods.memory_mib[pod]} MiB of {self.memory[node]}"
        if len(set(gpus)) != int(self.pods.num_gpu[pod]):
            yield f"has {len(set(gpus))} GPUs for {self.pods.num_gpu[pod]}"
        for gpu in gpus:
            if gpu >= len(self.gpu[node]) or self.gpu[node][gpu] < asked:
                yield f"asks {asked} milli of GPU {gpu}, which hasn't got them"

    def put(self, pod: int, node: int, gpus: tuple[int, ...]) -> None:
        self.cpu[node] -= int(self.pods.cpu_milli[pod])
        self.memory[node] -= int(self.pods.memory_mib[pod])
        for gpu in gpus:
            self.gpu[node][gpu] -= int(self.pods.gpu_milli[pod])
        self.there.setdefault(node, []).append(pod)
        if self.need(pod).anti_affinity:
            self.refusing.append((pod, node))

    def open_to(self, pod: int, node: int) -> bool:
        """Tell whether nothing but room could keep a pod from a node."""
        return not any(self.may_run(pod, node)) and not any(self.company(pod, node))

    def fits_somewhere(self, pod: int) -> bool:
        """Tell whether a pod would find a place now."""
        number, asked = int(self.pods.num_gpu[pod]), int(self.pods.gpu_milli[pod])
        for node in range(len(self.nodes)):
            able = [gpu for gpu, free in enumerate(self.gpu[node]) if number and free >= asked][:number]
            if not any(self.room(pod, node, tuple(able))) and self.open_to(pod, node):
                return True
        return False


def _gang_faults(pods: Pods, plan: NodePlan) -> Iterator[str]:
    gangs: dict[int, set[bool]] = {}
    for pod, gang in enumerate(pods.gang.tolist()):
        if gang >= 0:
            gangs.setdefault(gang, set()).add(int(plan.node[pod]) >= 0)
    for gang, found in gangs.items():
        if len(found) > 1:
            yield f"gang {gang} is placed in part"


def check_nodes(nodes: Nodes, pods: Pods, plan: NodePlan) -> NodeCheck:
    """Validate a plan against what the user gave.

    Parameters
    ----------
    nodes : Nodes
        Machines before the plan.
    pods : Pods
        What was to be placed.
    plan : NodePlan
        Where it runs.

    Returns
    -------
    NodeCheck
        With the GPU in use, recomputed.

    Raises
    ------
    PlanRefused
        A pod is missing; is on no such node; has no room there at its turn, on the machine or on one of
        its GPUs; may not run there; stands against its company; or a gang is placed in part.
    """
    cluster = _Cluster(nodes, pods)
    faults: list[str] = []
    order = [int(pod) for pod in plan.order]
    if sorted(order) != list(range(len(pods))) or len(plan.node) != len(pods):
        msg = f"the plan of '{plan.policy}' has {len(order)} rows for {len(pods)} pods"
        raise PlanRefused(msg, hint="give the pods that were placed", value=len(order))
    unplaced: list[int] = []
    for pod in order:
        node = int(plan.node[pod])
        if node < 0:
            unplaced.append(pod)
            continue
        who = f"pod '{pods.pod_ids[pod]}'"
        if node >= len(nodes):
            faults.append(f"{who} is on node {node}, which isn't there")
            continue
        gpus = plan.gpus(pod)
        words = [*cluster.room(pod, node, gpus), *cluster.may_run(pod, node), *cluster.company(pod, node)]
        faults += [f"{who} on '{nodes.node_ids[node]}' {each}" for each in words]
        if not words:
            cluster.put(pod, node, gpus)
    faults += _gang_faults(pods, plan)
    if faults:
        more = f" and {len(faults) - _FAULTS_SHOWN} more" if len(faults) > _FAULTS_SHOWN else ""
        msg = f"the plan of '{plan.policy}' breaks its limits: {'; '.join(faults[:_FAULTS_SHOWN])}{more}"
        raise PlanRefused(msg, hint="this is a defect of the policy: report it with the input", value=faults)
    kinds: dict[tuple[int, ...], bool] = {}
    waiting = 0
    for pod in unplaced:
        if int(pods.gang[pod]) < 0:
            key = (
                int(pods.cpu_milli[pod]), int(pods.memory_mib[pod]), int(pods.num_gpu[pod]),
                int(pods.gpu_milli[pod]), int(pods.requirement[pod]),
            )  # fmt: skip
            if key not in kinds:
                kinds[key] = cluster.fits_somewhere(pod)
            waiting += kinds[key]
    return NodeCheck(
        placed=len(order) - len(unplaced),
        unplaced=len(unplaced),
        gpu_milli=sum(
            int(pods.num_gpu[pod]) * int(pods.gpu_milli[pod]) for pod in order if plan.node[pod] >= 0
        ),
        could_fit=waiting,
    )

"""A cluster at one moment: what it can run on, what is bound, and the fleet that makes."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from aicsched.data.cloud import cloud_regions
from aicsched.domain.fleet import Fleet, Node
from aicsched.errors import AicschedError, InputError
from aicsched.fleet.aggregate import region_from_nodes
from aicsched.fleet.kubernetes.objects import Amount, budget_facts, node_facts, pod_facts
from aicsched.fleet.kubernetes.power import FAMILY_LABEL, power_of
from aicsched.footprint.embodied import server_embodied_kg

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from aicsched.domain.fleet import Region
    from aicsched.fleet.kubernetes.objects import Budget, NodeFacts, PodFacts

__all__ = ["Cluster", "Unseen"]

# Where nodes tell no region, as in most clusters outside clouds.
NO_REGION: Final = "cluster"
# Threads of the server that a virtual node is a part of: two sockets of 32 cores with two threads each.
_SERVER_THREADS: Final = 128.0
# kube-scheduler, schedutil.DefaultMilliCPURequest.
_UNSAID_VCPUS: Final = 0.1


@dataclass(frozen=True, slots=True)
class Unseen:
    """What is bound to a node and doesn't show in its metrics yet.

    Parameters
    ----------
    pods : int
        How many.
    request : Amount
        What they request together.
    """

    pods: int
    request: Amount


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Nodes, pods and budgets as they were at one moment.

    Parameters
    ----------
    nodes : tuple of NodeFacts
        Names unique.
    pods : tuple of PodFacts
        Bound or waiting.
    budgets : tuple of Budget
        Budgets of disruption.
    source : str
        Where it was read.
    faults : tuple of str
        What was left out, and why: objects that can't be true.
    unsure : frozenset of str
        Nodes that hold a pod which can't be read: nobody knows what is free on them.
    """

    nodes: tuple[NodeFacts, ...]
    pods: tuple[PodFacts, ...] = ()
    budgets: tuple[Budget, ...] = ()
    source: str = ""
    faults: tuple[str, ...] = ()
    unsure: frozenset[str] = frozenset()
    _requested: dict[str, Amount] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        for pod in self.pods:
            if pod.node and not pod.ended:
                self._requested[pod.node] = self._requested.get(pod.node, Amount()) + pod.request

    @classmethod
    def of(
        cls,
        nodes: Sequence[Mapping[str, Any]],
        pods: Sequence[Mapping[str, Any]] = (),
        budgets: Sequence[Mapping[str, Any]] = (),
        *,
        source: str = "kubernetes",
    ) -> Cluster:
        """Read objects.

        Parameters
        ----------
        nodes, pods, budgets : sequence of mapping
            As the API sends them.
        source : str
            Where they were read.

        Returns
        -------
        Cluster
            What can't be read is left out and told in `faults`; of nodes with one name, all are.
        """
        faults: list[str] = []
        counts = Counter(_name_of(item) for item in nodes)
        twice = {name for name, count in counts.items() if count > 1}
        faults += [f"node '{name}' appears {counts[name]} times: left out" for name in sorted(twice)]
        read_nodes, _ = _read(nodes, node_facts, "node", faults)
        read_pods, failed = _read(pods, pod_facts, "pod", faults)
        read_budgets, _ = _read(budgets, budget_facts, "disruption budget", faults)
        unsure = frozenset(str(node) for item in failed if (node := _node_of(item)))
        return cls(
            nodes=tuple(node for node in read_nodes if node.name not in twice),
            pods=tuple(read_pods),
            budgets=tuple(read_budgets),
            source=source,
            faults=tuple(faults),
            unsure=unsure,
        )

    def requested(self, node: str) -> Amount:
        """Return what the pods bound to a node request.

        Parameters
        ----------
        node : str
            Its name.

        Returns
        -------
        Amount
            Of all that haven't ended.
        """
        return self._requested.get(node, Amount())

    def free(self, node: NodeFacts) -> Amount:
        """Return what may still be requested of a node.

        Parameters
        ----------
        node : NodeFacts
            One of the cluster's.

        Returns
        -------
        Amount
            Allocatable less requested; nothing on one that takes no pods, or where that isn't known.
        """
        if not node.takes_pods or node.name in self.unsure:
            return Amount()
        return node.allocatable.less(self.requested(node.name))

    def unseen(self, metrics_s: float) -> dict[str, Unseen]:
        """Return what was bound after metrics were taken.

        Parameters
        ----------
        metrics_s : float
            Until when metrics tell, seconds since the epoch.

        Returns
        -------
        dict of str to Unseen
            By node, where there is something; a pod that doesn't tell when it was bound counts as unseen.
        """
        made: dict[str, Unseen] = {}
        for pod in self._unseen(metrics_s):
            before = made.get(pod.node, Unseen(0, Amount()))
            made[pod.node] = Unseen(before.pods + 1, before.request + pod.request)
        return made

    def unseen_share(self, metrics_s: float, names: Sequence[str]) -> NDArray[np.float64]:
        """Return the load to expect of what was bound after metrics were taken.

        Parameters
        ----------
        metrics_s : float
            Until when metrics tell, seconds since the epoch.
        names : sequence of str
            Nodes.

        Returns
        -------
        ndarray, shape (len(names),)
            Requested threads over the node's, for `aicsched.score.risk`. A pod that requests
            none counts as a tenth of a thread, as in the scheduler's own scores; 0 for a node that the
            cluster doesn't have.
        """
        threads = {node.name: node.capacity.vcpus for node in self.nodes}
        made = np.zeros(len(names))
        place = {name: index for index, name in enumerate(names) if name in threads}
        for pod in self._unseen(metrics_s):
            if pod.node in place:
                vcpus = pod.request.vcpus or _UNSAID_VCPUS
                made[place[pod.node]] += vcpus / threads[pod.node]
        return made

    def _unseen(self, metrics_s: float) -> Iterator[PodFacts]:
        return (pod for pod in self.pods if pod.node and not pod.ended and not pod.bound_s <= metrics_s)

    def held_by(self, node: str) -> tuple[Budget, ...]:
        """Return the budgets that keep a node from being drained now.

        Parameters
        ----------
        node : str
            Its name.

        Returns
        -------
        tuple of Budget
            Those that allow no disruption of a pod on it.
        """
        here = [pod for pod in self.pods if pod.node == node and not pod.ended]
        spent = [budget for budget in self.budgets if budget.allowed < 1]
        return tuple(budget for budget in spent if any(budget.covers(pod) for pod in here))

    def fleet(self, grid_zones: Mapping[str, str] | None = None) -> Fleet:
        """Make a fleet of the nodes.

        Parameters
        ----------
        grid_zones : mapping of str to str, optional
            Electricity zone by region, over the packaged table of cloud regions. Nodes
            without a region stand in one called ``cluster``.

        Returns
        -------
        Fleet
            Each region's capacity is what is free on nodes that take pods.

        Raises
        ------
        InputError
            There is no node, nobody tells on which grid a region is, or a node's label names a CPU
            family that there isn't.
        """
        if not self.nodes:
            msg = f"{self.source} shows no node"
            raise InputError(msg, hint="check the context and the selector; faults tell what was left out")
        groups: dict[str, list[NodeFacts]] = {}
        for node in self.nodes:
            groups.setdefault(node.region or NO_REGION, []).append(node)
        made = {name: [self._node(node, name) for node in nodes] for name, nodes in groups.items()}
        return Fleet(
            regions=tuple(self._region(name, groups[name], made[name], grid_zones or {}) for name in groups),
            nodes=tuple(node for nodes in made.values() for node in nodes),
            source=self.source,
        )

    def _node(self, node: NodeFacts, region: str) -> Node:
        try:
            power = power_of(node.labels, vcpus=node.capacity.vcpus, provider=node.provider)
        except InputError as error:
            msg = f"node '{node.name}': {error.message} (its label {FAMILY_LABEL})"
            raise InputError(msg, hint=error.hint, value=error.value) from error
        whole = server_embodied_kg(0.0)
        share = min(1.0, node.capacity.vcpus / _SERVER_THREADS) if node.provider else 1.0
        return Node(
            name=node.name,
            region=region,
            vcpus=node.capacity.vcpus,
            memory_gib=node.capacity.memory_gib,
            cpu_family=power.family,
            idle_w=power.idle_w,
            max_w=power.max_w,
            embodied_kg=share * whole + server_embodied_kg(node.capacity.memory_gib) - whole,
            node_zone=node.node_zone,
            labels=dict(node.labels),
        )

    def _region(
        self, name: str, facts: Sequence[NodeFacts], nodes: Sequence[Node], grid_zones: Mapping[str, str]
    ) -> Region:
        provider = next((node.provider for node in facts if node.provider), "")
        here = cloud_regions().get((provider, name))
        zone = grid_zones.get(name) or (here.grid_zone if here else "")
        if not zone:
            msg = f"nothing tells on which grid region '{name}' is"
            hint = f"name its electricity zone, for example {name}=DE"
            raise InputError(msg, hint=hint, value=name)
        free = Amount()
        for node in facts:
            free += self.free(node)
        unknown = float("nan")
        made = region_from_nodes(
            name,
            nodes,
            grid_zone=zone,
            free_share=1.0,
            pue=here.pue if here and not math.isnan(here.pue) else 1.0,
            wue_l_per_kwh=here.wue_l_per_kwh if here else unknown,
            latitude_deg=here.latitude_deg if here else unknown,
            longitude_deg=here.longitude_deg if here else unknown,
        )
        return replace(
            made, capacity_vcpus=free.vcpus, capacity_memory_gib=free.memory_gib, capacity_gpus=free.gpus
        )


def _node_of(item: Any) -> str:  # noqa: ANN401 - any JSON
    spec = item.get("spec") if isinstance(item, dict) else None
    return str(spec.get("nodeName") or "") if isinstance(spec, dict) else ""


def _read(
    items: Iterable[Mapping[str, Any]], read: Callable[[Mapping[str, Any]], Any], kind: str, faults: list[str]
) -> tuple[list[Any], list[Any]]:
    """Read objects; return those that can be read, and those that can't, which are told."""
    made, failed = list[Any](), list[Any]()
    for item in items:
        try:
            made.append(read(item))
        except (AicschedError, TypeError, ValueError, AttributeError) as error:
            failed.append(item)
            said = error.message if isinstance(error, AicschedError) else f"{type(error).__name__}: {error}"
            faults.append(f"{kind} '{_name_of(item)}' is left out: {said}")
    return made, failed


def _name_of(item: Any) -> str:  # noqa: ANN401 - any JSON
    meta = item.get("metadata") if isinstance(item, dict) else None
    given = [str(meta[key]) for key in ("namespace", "name") if key in meta] if isinstance(meta, dict) else []
    return "/".join(given) or "?"

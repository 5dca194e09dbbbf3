"""What forbids touching a node, and how much may be taken from a region together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aicsched.capacity.headroom import spare_after_loss

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aicsched.domain.fleet import Fleet, Node
    from aicsched.recycle.evidence import Evidence

__all__ = ["Headroom", "RecycleRules", "peaks", "protections"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecycleRules:
    """Thresholds of a recommendation, named so that they can be argued about.

    Parameters
    ----------
    min_days : float
        Shortest evidence [days].
    min_coverage_share : float
        Least share of slots seen; below it a node is unknown, never idle.
    idle_p95_share, idle_max_share : float
        An idle node's CPU stays below both.
    idle_network_mb_per_day : float
        An idle node moves less than this [MB/day].
    light_p95_share : float
        An under-used node's CPU stays below this.
    peak_share : float
        A light node that reaches this runs something rare, which must not lose its place.
    obsolete_years : float
        A node this long in service may be obsolete.
    headroom_share : float
        Share of a region's threads that must stay free at its P95 demand after a removal.
    max_removed_share : float
        At most this share of a region's nodes, and at least one, is given up in one plan.
    grid_decline_share : float
        Assumed yearly decline of the grid's intensity.
    grace_days : int
        Days between stopping and decommissioning.

    Notes
    -----
    Defaults are the strictest of what cloud recommenders use: 14 days, peak CPU
    below 5 %, less than 5 MB a day (AWS Compute Optimizer), 95 % of samples.
    """

    min_days: float = 14.0
    min_coverage_share: float = 0.95
    idle_p95_share: float = 0.03
    idle_max_share: float = 0.05
    idle_network_mb_per_day: float = 5.0
    light_p95_share: float = 0.25
    peak_share: float = 0.5
    obsolete_years: float = 6.0
    headroom_share: float = 0.2
    max_removed_share: float = 0.2
    grid_decline_share: float = 0.05
    grace_days: int = 7


# Labels that forbid a step, and why.
_PROTECTED: Mapping[str, str] = {
    "sustainability/keep": "is marked to be kept",
    "termination-protection": "has termination protection",
    "cluster-autoscaler.kubernetes.io/scale-down-disabled": "may not be scaled down",
    "karpenter.sh/do-not-disrupt": "may not be disrupted",
}


def protections(node: Node) -> tuple[str, ...]:
    """Return why a node may not be taken out of service.

    Parameters
    ----------
    node : Node
        With its labels.

    Returns
    -------
    tuple of str
        Reasons; empty when nothing forbids it.
    """
    labels = dict(node.labels)
    # A bare label, without a value, protects too: whoever set it meant something.
    found = [why for name, why in _PROTECTED.items() if labels.get(name, "false").lower() != "false"]
    if labels.get("storage") == "local":
        found.append("keeps data on local disks")
    if labels.get("role") in {"standby", "disaster-recovery"}:
        found.append("stands by for a disaster")
    if labels.get("schedule") in {"monthly", "quarterly"}:
        found.append("runs periodic work, which so short a window need not show")
    if "gpu" in labels or "nvidia.com/gpu.present" in labels:
        found.append("carries a GPU, whose use is not seen here")
    return tuple(found)


def peaks(seen: Evidence, rules: RecycleRules) -> tuple[str, ...]:
    """Return a refusal for a node that is quiet until something rare runs.

    Parameters
    ----------
    seen : Evidence
        What was seen of it.
    rules : RecycleRules
        From where on a peak counts.

    Returns
    -------
    tuple of str
        Empty when its peaks are low.
    """
    if seen.max_share < rules.peak_share:
        return ()
    return (f"peaks at {seen.max_share:.0%}: rare work, perhaps weekly or monthly, needs its place",)


@dataclass(slots=True)
class Headroom:
    """How much each region can give up, kept while recommendations add up.

    Parameters
    ----------
    fleet : Fleet
        With nodes.
    found : mapping of str to Evidence
        Per node; an unknown node counts as fully used.
    rules : RecycleRules
        The share that must stay free.
    """

    fleet: Fleet
    found: Mapping[str, Evidence]
    rules: RecycleRules
    kept: dict[str, list[Node]] = field(default_factory=dict)
    demand_vcpus: dict[str, float] = field(default_factory=dict)
    removable: dict[str, int] = field(default_factory=dict)
    group: dict[str, str] = field(default_factory=dict)
    group_vcpus: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.group = {item.name: item.failure_group or item.name for item in self.fleet.regions}
        for node in self.fleet.nodes:
            group = self.group[node.region]
            self.group_vcpus[group] = self.group_vcpus.get(group, 0.0) + node.vcpus
            self.kept.setdefault(node.region, []).append(node)
            # The demand of a node that is given up stays, and must fit elsewhere.
            self.demand_vcpus[node.region] = self.demand_vcpus.get(node.region, 0.0) + self._demand(node)
        for region, nodes in self.kept.items():
            self.removable[region] = max(1, int(len(nodes) * self.rules.max_removed_share))

    def refusals(self, node: Node) -> tuple[str, ...]:
        """Return why a node can't be spared, those already given up counted.

        Parameters
        ----------
        node : Node
            Still in its region.

        Returns
        -------
        tuple of str
            Empty when it can.
        """
        others = [item for item in self.kept[node.region] if item.name != node.name]
        if not others:
            return ("is the last node of its region",)
        if node.node_zone and not any(item.node_zone == node.node_zone for item in others):
            return (f"is the last node of zone {node.node_zone}",)
        if self.removable[node.region] < 1:
            return (
                f"{self.rules.max_removed_share:.0%} of its region is given up already: one step at a time",
            )
        # N+1: the largest machine left may fail, and the P95 demand must still fit with room to spare.
        needed = self.demand_vcpus[node.region] * (1 + self.rules.headroom_share)
        spare, _ = spare_after_loss({item.name: item.vcpus for item in others}, needed)
        if spare < 0:
            threads = needed + spare
            return (f"its region would keep {threads:g} threads after one more loss; P95 needs {needed:.0f}",)
        return self._fleet_refusals(node)

    def _fleet_refusals(self, node: Node) -> tuple[str, ...]:
        """Refuse where the fleet outlives the loss of any failure group with the node, and not without."""
        demand = sum(self.demand_vcpus.values())
        without = dict(self.group_vcpus)
        without[self.group[node.region]] -= node.vcpus
        now, _ = spare_after_loss(self.group_vcpus, demand)
        spare, worst = spare_after_loss(without, demand)
        if spare < 0 <= now:
            return (
                f"without it the fleet could not outlive the loss of {worst}: {-spare:.0f} threads short",
            )
        return ()

    def _demand(self, node: Node) -> float:
        seen = self.found.get(node.name)
        # What was seen of a node in part says nothing of the rest: it counts as fully used.
        known = seen is not None and seen.coverage_share >= self.rules.min_coverage_share
        return (seen.p95_share if seen is not None and known else 1.0) * node.vcpus

    def give_up(self, node: Node) -> None:
        """Take a node out of its region's count."""
        self.kept[node.region].remove(node)
        self.group_vcpus[self.group[node.region]] -= node.vcpus
        self.removable[node.region] -= 1

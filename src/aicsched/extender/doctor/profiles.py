"""Checks of how many nodes an extender sees, and how much its score weighs.

References
----------
kube-scheduler 1.36: pkg/scheduler/schedule_one.go (numFeasibleNodesToFind, prioritizeNodes) and
apis/config/v1/default_plugins.go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from aicsched.extender.doctor.finding import Finding, Severity
from aicsched.extender.doctor.schedulerfile import table_at, tables_at

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["DEFAULT_WEIGHTS", "check_profiles", "in_tree_weight", "nodes_reached"]

DEFAULT_WEIGHTS: Final = {
    "TaintToleration": 3,
    "NodeAffinity": 2,
    "PodTopologySpread": 2,
    "InterPodAffinity": 2,
    "NodeResourcesFit": 1,
    "NodeResourcesBalancedAllocation": 1,
    "ImageLocality": 1,
}
"""Weights of the scoring plugins of kube-scheduler 1.36; each gives 0 to 100 points a weight."""
_ALL_REACHED: Final = 100
_LEAST_PERCENT: Final = 5
_TYPICAL_NODES: Final = 1000


def nodes_reached(nodes: int, percentage: int = 0) -> int:
    """Return how many feasible nodes the scheduler looks for before it scores.

    Parameters
    ----------
    nodes : int
        In the cluster.
    percentage : int
        ``percentageOfNodesToScore``; 0 lets the scheduler choose.

    Returns
    -------
    int
        No more of them reach an extender.

    Examples
    --------
    >>> [nodes_reached(count) for count in (99, 1200, 5000)], nodes_reached(5000, 100)
    ([99, 492, 500], 5000)
    """
    if nodes < _ALL_REACHED or percentage >= 100:
        return nodes
    share = percentage or max(_LEAST_PERCENT, 50 - nodes // 125)
    return max(_ALL_REACHED, nodes * share // 100)


def in_tree_weight(profile: Mapping[str, Any]) -> int:
    """Add up the weights of the scoring plugins of a profile.

    Parameters
    ----------
    profile : mapping
        Of the configuration; an empty one has the defaults.

    Returns
    -------
    int
        A node gets at most 100 points for each.

    Examples
    --------
    >>> in_tree_weight({}), in_tree_weight({"plugins": {"score": {"disabled": [{"name": "ImageLocality"}]}}})
    (12, 11)
    """
    weights = dict(DEFAULT_WEIGHTS)
    plugins = table_at(profile, "plugins")
    for point in ("multiPoint", "score"):
        chosen = table_at(plugins, point)
        for item in tables_at(chosen, "disabled"):
            if item.get("name") == "*":
                weights.clear()
            weights.pop(str(item.get("name")), None)
        for item in tables_at(chosen, "enabled"):
            name, weight = str(item.get("name")), item.get("weight")
            if isinstance(weight, int) and (point == "score" or name in DEFAULT_WEIGHTS):
                weights[name] = weight or 1
            elif point == "score":
                weights.setdefault(name, 1)
    return sum(weights.values())


def check_profiles(content: Mapping[str, Any], nodes: int | None = None) -> Iterator[Finding]:
    """Check how many nodes an extender sees, and who asks it.

    Parameters
    ----------
    content : mapping
        A KubeSchedulerConfiguration.
    nodes : int, optional
        In the cluster; by default 1,000 are supposed.

    Yields
    ------
    Finding
        What to know.
    """
    profiles = tables_at(content, "profiles") or [{}]
    for place, profile in enumerate(profiles):
        own = "percentageOfNodesToScore" in profile
        value = (profile if own else content).get("percentageOfNodesToScore")
        where = f"profiles[{place}].percentageOfNodesToScore" if own else "percentageOfNodesToScore"
        yield from _percentage(value, where, nodes)
        if not own:
            break
    if len(profiles) > 1:
        yield Finding(
            code="profiles-share-extenders",
            severity=Severity.INFO,
            where="profiles",
            message=f"the pods of all {len(profiles)} profiles are sent to the extenders",
            fix="run a second scheduler, or use managedResources, where some pods are to be left alone",
        )
    yield Finding(
        code="no-batching",
        severity=Severity.INFO,
        where="extenders",
        message="with an extender, kube-scheduler (since 1.35) places equal pods one by one, in all profiles",
    )


def _percentage(value: object, where: str, nodes: int | None) -> Iterator[Finding]:
    percentage = 0 if value is None else value
    if not isinstance(percentage, int) or isinstance(percentage, bool) or not 0 <= percentage <= 100:
        yield Finding(
            code="percentage-range",
            severity=Severity.ERROR,
            where=where,
            message=f"{value!r} is not within 0 to 100, and kube-scheduler refuses to start",
            fix="write percentageOfNodesToScore: 100",
        )
        return
    count = nodes or _TYPICAL_NODES
    reached = nodes_reached(count, percentage)
    if reached >= count:
        return
    supposed = "" if nodes else "of a cluster of 1,000 nodes, for example, "
    yield Finding(
        code="part-of-nodes",
        severity=Severity.WARNING,
        where=where,
        message=f"{supposed}only {reached} of {count} nodes reach the extender: "
        "the greenest may not be among them",
        fix="write percentageOfNodesToScore: 100; scheduling a pod then takes longer in large clusters",
    )

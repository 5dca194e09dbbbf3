"""How much more demand fits while any one failure group may be lost.

Demand is a high quantile of what was seen, of all machines of a place together: the
sum of each machine's own quantile would count peaks that never met. What nobody saw
is unknown, never idle.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from aicsched.capacity.demand import known_demand
from aicsched.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from aicsched.domain.fleet import Fleet, Node
    from aicsched.domain.telemetry import Telemetry

__all__ = [
    "Headroom",
    "fleet_headroom",
    "pool_of",
    "region_headroom",
    "spare_after_loss",
]

OWN_CAPACITY: Final = "its own capacity"
_UNITS: Final = {"cpu": "vCPU", "memory": "GiB"}
# What clusters call the group of machines that are made and replaced together, in the order of trust.
_POOL_LABELS: Final = (
    "pool",
    "karpenter.sh/nodepool",
    "eks.amazonaws.com/nodegroup",
    "cloud.google.com/gke-nodepool",
    "kubernetes.azure.com/agentpool",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Headroom:
    """Room of one place and resource.

    Parameters
    ----------
    scope : str
        ``"fleet"``, ``"region"`` or ``"pool"``.
    name : str
        Of the place; a pool's is ``region/pool``.
    resource, unit : str
        ``"cpu"`` in vCPU or ``"memory"`` in GiB.
    capacity : float
        All of it.
    demand : float
        The quantile of what is needed.
    fits : float
        How much more demand fits there while any one loss is survived; negative where what is
        there today would not survive.
    binding : str
        The loss, or the capacity, that decides.
    coverage_share : float
        Share of slots and machines that were seen; the rest counts as in `known_demand`.
    """

    scope: str
    name: str
    resource: str
    unit: str
    capacity: float
    demand: float
    fits: float
    binding: str
    coverage_share: float

    @property
    def free(self) -> float:
        """What is free when nothing is lost."""
        return self.capacity - self.demand

    @property
    def survives(self) -> bool:
        """Whether today's demand outlives any one loss."""
        return self.fits >= 0

    def sentence(self) -> str:
        """Say it in one sentence.

        Returns
        -------
        str
            For people.
        """
        kept = f"{self.name}: {self.demand:,.0f} of {self.capacity:,.0f} {self.unit} are needed"
        if self.fits < 0:
            return f"{kept}; losing {self.binding} leaves {-self.fits:,.0f} {self.unit} unserved"
        why = self.binding if self.binding == OWN_CAPACITY else f"losing {self.binding}"
        return f"{kept}; {self.fits:,.0f} {self.unit} more fit, then {why} binds"


def _refuse_bad(amounts: Iterable[tuple[str, float]]) -> None:
    for name, value in amounts:
        if not (math.isfinite(value) and value >= 0):
            msg = f"'{name}': {value} is no capacity or demand"
            raise InputError(msg, hint="give a finite number, 0 or more", value=value)


def spare_after_loss(capacity: Mapping[str, float], demand: float) -> tuple[float, str]:
    """Return what is spare after the worst single loss, which is how much more demand fits.

    Parameters
    ----------
    capacity : mapping of str to float
        What each part that may be lost holds: a failure group, a zone, a machine.
    demand : float
        What all parts together must serve.

    Returns
    -------
    tuple of float, str
        Capacity without the largest part, less the demand; and that part. Negative where the
        demand doesn't outlive its loss.

    Raises
    ------
    InputError
        A capacity or the demand is negative or not finite, or there is no part.

    Examples
    --------
    >>> spare_after_loss({"a": 60.0, "b": 40.0, "c": 50.0}, demand=70.0)
    (20.0, 'a')
    """
    _refuse_bad((*capacity.items(), ("demand", demand)))
    if not capacity:
        msg = "there is nothing that may be lost"
        raise InputError(msg, hint="give at least one part with its capacity")
    # The first of equals, so that equal input gives equal words.
    worst = max(capacity, key=lambda name: capacity[name])
    return math.fsum(capacity.values()) - capacity[worst] - demand, worst


def pool_of(node: Node) -> str:
    """Return the node pool of a machine.

    Parameters
    ----------
    node : Node
        With its labels.

    Returns
    -------
    str
        By the label that its cluster gives, else its CPU family.
    """
    return next((node.labels[name] for name in _POOL_LABELS if node.labels.get(name)), node.cpu_family)


def _size(node: Node, resource: str) -> float:
    return node.vcpus if resource == "cpu" else node.memory_gib


def _parts(nodes: Iterable[Node], resource: str, names: Mapping[str, str]) -> dict[str, float]:
    """Sum capacity by the part that each machine is lost with."""
    made: dict[str, float] = {}
    for node in nodes:
        made[names[node.name]] = made.get(names[node.name], 0.0) + _size(node, resource)
    return made


def region_headroom(
    capacity: Mapping[str, float],
    demand: Mapping[str, float],
    *,
    groups: Mapping[str, str] | None = None,
    resource: Literal["cpu", "memory"] = "cpu",
) -> tuple[Headroom, ...]:
    """Return the room of a fleet and its regions for demand from anywhere, such as a forecast's quantile.

    Parameters
    ----------
    capacity : mapping of str to float
        What each region holds.
    demand : mapping of str to float
        What each needs: for example the 95 % quantile that `aicsched.forecast.UtilisationPanel` foresees.
        A region that is left out needs nothing.
    groups : mapping of str to str, optional
        Failure group of each region; by default each fails alone.
    resource : str
        ``"cpu"`` in vCPU or ``"memory"`` in GiB.

    Returns
    -------
    tuple of Headroom
        The fleet, then its regions, as in `fleet_headroom`; the fleet's demand is the sum of its
        regions', as if they all peaked at once.

    Raises
    ------
    InputError
        A number is out of range, or a region has demand and no capacity.

    Examples
    --------
    >>> for row in region_headroom({"a": 100.0, "b": 60.0, "c": 40.0}, {"a": 30.0, "b": 30.0}):
    ...     print(row.name, row.fits, row.binding)
    fleet 40.0 a
    a 40.0 a
    b 30.0 its own capacity
    c 40.0 a
    """
    for name in demand:
        if name not in capacity:
            msg = f"'{name}' has demand and no capacity"
            raise InputError(msg, hint=did_you_mean(name, capacity), value=name)
    _refuse_bad((*capacity.items(), *demand.items()))
    parts: dict[str, float] = {}
    for name, room in capacity.items():
        group = (groups or {}).get(name) or name
        parts[group] = parts.get(group, 0.0) + room
    whole = spare_after_loss(parts, math.fsum(demand.values()))

    def row(scope: str, name: str, room: float, needed: float, spare: tuple[float, str]) -> Headroom:
        return Headroom(
            scope=scope, name=name, resource=resource, unit=_UNITS[resource], capacity=room, demand=needed,
            fits=spare[0], binding=spare[1], coverage_share=1.0,
        )  # fmt: skip

    made = [row("fleet", "fleet", math.fsum(capacity.values()), math.fsum(demand.values()), whole)]
    for name, room in capacity.items():
        needed = demand.get(name, 0.0)
        spare = whole if whole[0] <= room - needed else (room - needed, OWN_CAPACITY)
        made.append(row("region", name, room, needed, spare))
    return tuple(made)


def fleet_headroom(
    fleet: Fleet, telemetry: Telemetry, *, level: float = 0.95, min_coverage_share: float = 0.95
) -> tuple[Headroom, ...]:
    """Return the room of the fleet, of its regions and of their node pools.

    Parameters
    ----------
    fleet : Fleet
        With machines.
    telemetry : Telemetry
        What was seen of them.
    level : float
        The quantile over slots that demand is measured by.
    min_coverage_share : float
        See `known_demand`.

    Returns
    -------
    tuple of Headroom
        The fleet must outlive the loss of any failure group of regions, when work may move to any
        other region. More fits in a region as far as it has room and the fleet outlives any loss
        with it. A pool must outlive the loss of any of its zones, or of any one machine where it
        stands in one zone.

    Raises
    ------
    InputError
        The fleet has no machines.
    ConfigError
        A share is not in (0, 1].
    """
    demand = known_demand(fleet, telemetry, level=level, min_coverage_share=min_coverage_share)
    group = {region.name: region.failure_group or region.name for region in fleet.regions}
    lost_with = {node.name: group[node.region] for node in fleet.nodes}
    made: list[Headroom] = []

    def row(scope: str, name: str, resource: str, nodes: list[Node], spare: tuple[float, str]) -> Headroom:
        seen = [demand.coverage_share[node.name] for node in nodes]
        return Headroom(
            scope=scope,
            name=name,
            resource=resource,
            unit=_UNITS[resource],
            capacity=math.fsum(_size(node, resource) for node in nodes),
            demand=needed(resource, nodes),
            fits=spare[0],
            binding=spare[1],
            coverage_share=math.fsum(seen) / len(seen),
        )

    def needed(resource: str, nodes: list[Node]) -> float:
        together = demand.together(resource, [node.name for node in nodes])
        return float(np.quantile(together, level)) if len(together) else math.nan

    for resource in _UNITS:
        everything = list(fleet.nodes)
        whole = spare_after_loss(_parts(everything, resource, lost_with), needed(resource, everything))
        made.append(row("fleet", "fleet", resource, everything, whole))
        for region in fleet.regions:
            nodes = [node for node in everything if node.region == region.name]
            if not nodes:
                continue
            room = math.fsum(_size(node, resource) for node in nodes) - needed(resource, nodes)
            spare = whole if whole[0] <= room else (room, OWN_CAPACITY)
            made.append(row("region", region.name, resource, nodes, spare))
            for pool in dict.fromkeys(pool_of(node) for node in nodes):
                mine = [node for node in nodes if pool_of(node) == pool]
                zones = {node.node_zone for node in mine}
                names = {node.name: node.node_zone if len(zones) > 1 else node.name for node in mine}
                inside = spare_after_loss(_parts(mine, resource, names), needed(resource, mine))
                made.append(row("pool", f"{region.name}/{pool}", resource, mine, inside))
    return tuple(made)

"""When regions, and the fleet with one of them lost, are full."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from aicsched.capacity.demand import known_demand
from aicsched.capacity.growth import daily_quantiles, fit_growth
from aicsched.capacity.headroom import spare_after_loss

if TYPE_CHECKING:
    from aicsched.capacity.growth import Growth
    from aicsched.domain.fleet import Fleet
    from aicsched.domain.telemetry import Telemetry

__all__ = ["Outlook", "fleet_outlook"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """Growth of one place and resource.

    Parameters
    ----------
    scope : str
        ``"fleet"`` or ``"region"``.
    name : str
        Of the place.
    resource, unit : str
        ``"cpu"`` in vCPU or ``"memory"`` in GiB.
    limit_is : str
        What the limit is.
    growth : Growth
        With the time until it is reached.
    """

    scope: str
    name: str
    resource: str
    unit: str
    limit_is: str
    growth: Growth

    def sentence(self) -> str:
        """Say it in one sentence.

        Returns
        -------
        str
            For people.
        """
        grown = self.growth
        now = f"{self.name}: {grown.level:,.0f} of {grown.limit:,.0f} {self.unit} ({self.limit_is})"
        return f"{now}; {grown.sentence()}"


def fleet_outlook(
    fleet: Fleet,
    telemetry: Telemetry,
    *,
    level: float = 0.95,
    min_coverage_share: float = 0.95,
    kind: Literal["linear", "compound"] = "linear",
    seed: int = 0,
) -> tuple[Outlook, ...]:
    """Fit the growth of the fleet and of each region, and find when they are full.

    Parameters
    ----------
    fleet : Fleet
        With machines.
    telemetry : Telemetry
        What was seen of them; a week at least.
    level : float
        The quantile of each day that must fit.
    min_coverage_share : float
        See `known_demand`: machines nobody saw count as fully used, so they don't grow.
    kind : str
        ``"linear"`` or ``"compound"``.
    seed : int
        Seed of the intervals.

    Returns
    -------
    tuple of Outlook
        The fleet's limit is what is left when its largest failure group is lost; a region's is its
        capacity.

    Raises
    ------
    TooLittleHistory
        Fewer than 7 whole days.
    InputError
        The fleet has no machines.
    """
    demand = known_demand(fleet, telemetry, level=level, min_coverage_share=min_coverage_share)
    group = {region.name: region.failure_group or region.name for region in fleet.regions}
    made: list[Outlook] = []
    for resource, unit in (("cpu", "vCPU"), ("memory", "GiB")):
        size = {node.name: node.vcpus if resource == "cpu" else node.memory_gib for node in fleet.nodes}
        parts: dict[str, float] = {}
        for node in fleet.nodes:
            parts[group[node.region]] = parts.get(group[node.region], 0.0) + size[node.name]
        left, worst = spare_after_loss(parts, 0.0)
        places = [("fleet", "fleet", f"without {worst}", left, list(size))]
        for region in fleet.regions:
            names = [node.name for node in fleet.nodes if node.region == region.name]
            if names:
                room = math.fsum(size[name] for name in names)
                places.append(("region", region.name, "its capacity", room, names))
        for scope, name, limit_is, limit, names in places:
            if limit <= 0:
                continue
            daily, first_day = daily_quantiles(demand.together(resource, names), telemetry.slots, level=level)
            growth = fit_growth(daily, limit=limit, kind=kind, first_day=first_day, seed=seed)
            made.append(
                Outlook(
                    scope=scope, name=name, resource=resource, unit=unit, limit_is=limit_is, growth=growth
                )
            )
    return tuple(made)

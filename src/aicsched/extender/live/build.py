"""A snapshot from what the refreshers hold: the nodes, what they did, and what the grid will do."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from aicsched.data.cloud import cloud_regions
from aicsched.errors import InputError
from aicsched.extender.costs import fleet_costs
from aicsched.extender.live.carbon import UNKNOWN_ZONE, outlooks_at
from aicsched.extender.snapshot import Snapshot
from aicsched.fleet.kubernetes.cluster import NO_REGION, Cluster
from aicsched.fleet.kubernetes.power import FAMILY_LABEL, power_of
from aicsched.observe import get_logger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aicsched.domain.fleet import Fleet
    from aicsched.extender.live.carbon import ZoneOutlook
    from aicsched.extender.live.cluster import Moment
    from aicsched.extender.live.telemetry import Assessed
    from aicsched.extender.policies import PolicyTable
    from aicsched.fleet.kubernetes.objects import NodeFacts

__all__ = ["SnapshotBuilder", "zone_of"]

_log = get_logger("extender.live")


def zone_of(node: NodeFacts, grid_zones: Mapping[str, str]) -> str:
    """Tell on which grid a node is.

    Parameters
    ----------
    node : NodeFacts
        With its region and provider.
    grid_zones : mapping of str to str
        The operator's, by region; they win over the packaged table of cloud regions.

    Returns
    -------
    str
        "" where nobody tells.
    """
    region = node.region or NO_REGION
    here = cloud_regions().get((node.provider, region))
    return grid_zones.get(region) or (here.grid_zone if here else "")


class SnapshotBuilder:
    """Makes snapshots; what didn't change since the last one isn't worked out again.

    Parameters
    ----------
    policies : PolicyTable
        What pods are scored by.
    grid_zones : mapping of str to str
        Electricity zone by region.
    max_age_s : float
        When a snapshot counts for nothing any more [s].
    """

    def __init__(self, *, policies: PolicyTable, grid_zones: Mapping[str, str], max_age_s: float) -> None:
        self._policies = policies
        self._grid_zones = dict(grid_zones)
        self._max_age_s = max_age_s
        self._fleet: tuple[int, Fleet] | None = None
        self._told: set[str] = set()

    def build(
        self,
        moment: Moment,
        outlooks: Mapping[str, ZoneOutlook],
        assessed: Assessed | None,
        lives: Mapping[tuple[str, str], float],
        now_s: float,
    ) -> Snapshot | None:
        """Build a snapshot.

        Parameters
        ----------
        moment : Moment
            Nodes and pods.
        outlooks : mapping of str to ZoneOutlook
            What is foreseen, by grid zone.
        assessed : Assessed or None
            What the nodes did; None where that is unknown.
        lives : mapping of (str, str) to float
            How long pods run, by namespace and owner [s].
        now_s : float
            Seconds since the epoch.

        Returns
        -------
        Snapshot or None
            None while there is no node.
        """
        if not moment.cluster.nodes:
            return None
        fleet = self.fleet(moment)
        names = tuple(node.name for node in fleet.nodes)
        zones = {region.grid_zone for region in fleet.regions}
        forecasts, unknown = outlooks_at(outlooks, zones, now_s)
        # What a node was asked for is no load: without metrics nothing is known of any node.
        unseen = 0.0 if assessed is None else moment.cluster.unseen_share(assessed.end_s, names)
        costs = fleet_costs(
            fleet,
            forecasts,
            None if assessed is None else assessed.telemetry,
            start_s=int(now_s),
            policies=self._policies,
            unknown=unknown,
            unseen_share=unseen,
            lives=lives,
            risks=None if assessed is None else assessed.lookup(names),
        )
        sources = {} if assessed is None else {assessed.telemetry.source: float(assessed.end_s)}
        for outlook in outlooks.values():
            if outlook.forecast is not None:
                source = outlook.forecast.source
                sources[source] = min(sources.get(source, now_s), outlook.newest_s)
        return Snapshot(
            names=names,
            costs=costs,
            issued_at_s=now_s,
            max_age_s=self._max_age_s,
            sources=sources,
            synthetic=any(each.synthetic for each in forecasts.values()),
            neutral=costs.blind,
        )

    def zones(self, moment: Moment) -> frozenset[str]:
        """Return the grids that nodes are on.

        Parameters
        ----------
        moment : Moment
            Nodes.

        Returns
        -------
        frozenset of str
            Those that are known by name.
        """
        found = {zone_of(node, self._grid_zones) for node in moment.cluster.nodes}
        return frozenset(found - {""})

    def fleet(self, moment: Moment) -> Fleet:
        """Make a fleet of the nodes, anew only when they changed.

        Parameters
        ----------
        moment : Moment
            At least one node.

        Returns
        -------
        Fleet
            A region of which nobody tells the grid is in the zone `UNKNOWN_ZONE`.
        """
        if self._fleet is None or self._fleet[0] != moment.version:
            nodes = tuple(self._readable(node) for node in moment.cluster.nodes)
            zones: dict[str, str] = {}
            for node in nodes:
                region = node.region or NO_REGION
                zones[region] = zones.get(region) or zone_of(node, self._grid_zones)
            named = {region: zone or UNKNOWN_ZONE for region, zone in zones.items()}
            for region in (region for region, zone in zones.items() if not zone):
                self._tell_once(f"nothing tells on which grid region '{region}' is: its nodes are neutral")
            self._fleet = (moment.version, Cluster(nodes=nodes).fleet(named))
        return self._fleet[1]

    def _readable(self, node: NodeFacts) -> NodeFacts:
        """Leave out a label that names no CPU family: its node is of an unknown one."""
        if FAMILY_LABEL in node.labels:
            try:
                power_of(node.labels, vcpus=node.capacity.vcpus, provider=node.provider)
            except InputError as error:
                self._tell_once(f"node '{node.name}': {error.message} (its label {FAMILY_LABEL})")
                left = {key: value for key, value in node.labels.items() if key != FAMILY_LABEL}
                return replace(node, labels=left)
        return node

    def _tell_once(self, text: str) -> None:
        if text not in self._told and len(self._told) < _MOST_TOLD:
            self._told.add(text)
            _log.warning("%s", text)


_MOST_TOLD: Final = 1000

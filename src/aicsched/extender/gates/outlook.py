"""What plans are made from, read anew now and then: forecasts of the cluster's grids, and what is free."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from aicsched.domain.fleet import Fleet
from aicsched.errors import AicschedError, InputError
from aicsched.extender.gates.planner import Outlook
from aicsched.fleet.kubernetes.cluster import Cluster
from aicsched.forecast.live import forecast_live
from aicsched.observe import get_logger
from aicsched.signals.staleness import Staleness

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aicsched.domain.fleet import Region
    from aicsched.signals.base import CarbonSource

__all__ = ["Outlooks", "known_regions"]

_log = get_logger("gates")
_UNKNOWN: Final = float("inf")


def known_regions(cluster: Cluster, grid_zones: Mapping[str, str]) -> tuple[tuple[Region, ...], list[str]]:
    """Make regions of a cluster's nodes, where it is known on which grid they are.

    Parameters
    ----------
    cluster : Cluster
        Nodes, and pods where what is free is asked for.
    grid_zones : mapping of str to str
        Electricity zone by region, over the packaged table.

    Returns
    -------
    tuple of tuple of Region, list of str
        The regions, and why others are left out.
    """
    made: list[Region] = []
    faults: list[str] = []
    for name in dict.fromkeys(node.region for node in cluster.nodes):
        part = replace(cluster, nodes=tuple(node for node in cluster.nodes if node.region == name))
        try:
            made += part.fleet(grid_zones).regions
        except InputError as error:
            faults.append(str(error))
    return tuple(made), faults


class Outlooks:
    """Makes an `Outlook` of what is known now.

    Parameters
    ----------
    carbon : CarbonSource
        Of the settings' signals.
    nodes : callable
        Gives the cluster's nodes, as the API sends them.
    pods : callable, optional
        Gives the pods that are bound, as the API sends them; without it there is no limit of capacity.
    grid_zones : mapping of str to str
        Electricity zone by region.
    horizon_h : float
        How far to foresee [h].
    model : str
        The forecaster.
    """

    def __init__(
        self,
        carbon: CarbonSource,
        nodes: Callable[[], list[Any]],
        *,
        pods: Callable[[], list[Any]] | None = None,
        grid_zones: Mapping[str, str] | None = None,
        horizon_h: float = 96.0,
        model: str = "auto",
    ) -> None:
        self._carbon = carbon
        self._nodes = nodes
        self._pods = pods
        self._grid_zones = dict(grid_zones or {})
        self._horizon_h = horizon_h
        self._model = model
        self._told: set[str] = set()

    def make(self, now_s: float) -> Outlook | None:
        """Read signals and nodes, and foresee.

        Parameters
        ----------
        now_s : float
            Seconds since the epoch.

        Returns
        -------
        Outlook or None
            None where no grid of the cluster can be foreseen.
        """
        limited = self._pods is not None
        try:
            pods = self._pods() if self._pods is not None else []
        except AicschedError as error:
            # What isn't known is no limit: work shall not start late for it.
            self._say(f"what is free isn't known: {error}")
            limited, pods = False, []
        regions, faults = known_regions(Cluster.of(self._nodes(), pods), self._grid_zones)
        for fault in faults:
            self._say(fault)
        zones = sorted({region.grid_zone for region in regions})
        live = forecast_live(self._carbon, zones, now_s=now_s, horizon_h=self._horizon_h, model=self._model)
        good = {
            zone: forecast
            for zone, forecast in live.forecasts.items()
            if live.staleness[zone] is not Staleness.NEUTRAL
        }
        for zone in zones:
            if zone not in good:
                self._say(f"{zone} can't be foreseen: {live.unknown.get(zone, 'what is known is too old')}")
        seen = tuple(region for region in regions if region.grid_zone in good)
        if not seen:
            return None
        if not limited:
            seen = tuple(replace(region, capacity_vcpus=_UNKNOWN) for region in seen)
        synthetic = any(forecast.synthetic for forecast in good.values())
        return Outlook(
            fleet=Fleet(regions=seen, source="kubernetes", synthetic=synthetic),
            forecasts=good,
            made_s=now_s,
        )

    def _say(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            _log.warning("%s", text)

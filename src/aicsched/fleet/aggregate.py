"""From machines to the region they form."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aicsched.domain.fleet import Region
from aicsched.footprint.embodied import amortised_g
from aicsched.footprint.power import power_w_per_vcpu
from aicsched.footprint.transfer import transfer_g_per_gb
from aicsched.slots import HOUR_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aicsched.domain.fleet import Node

__all__ = ["region_from_nodes"]


def region_from_nodes(  # noqa: PLR0913 - one keyword per fact
    name: str,
    nodes: Sequence[Node],
    *,
    grid_zone: str,
    free_share: float,
    pue: float,
    wue_l_per_kwh: float,
    latitude_deg: float,
    longitude_deg: float,
) -> Region:
    """Form a region from its machines.

    Parameters
    ----------
    name : str
        The region.
    nodes : sequence of Node
        Its machines, at least one.
    grid_zone : str
        The electricity zone that feeds it.
    free_share : float
        Share of its threads that deferrable work may use.
    pue, wue_l_per_kwh, latitude_deg, longitude_deg : float
        Facts of the site.

    Returns
    -------
    Region
        Power and embodied share per thread are means over all threads.
    """
    threads = sum(node.vcpus for node in nodes)
    power_w = sum(power_w_per_vcpu(node) * node.vcpus for node in nodes) / threads
    embodied_g = sum(amortised_g(node.embodied_kg, node.lifetime_years, HOUR_S) for node in nodes) / threads
    return Region(
        name=name,
        grid_zone=grid_zone,
        capacity_vcpus=float(int(threads * free_share)),
        power_w_per_vcpu=round(power_w, 4),
        pue=pue,
        latitude_deg=latitude_deg,
        longitude_deg=longitude_deg,
        wue_l_per_kwh=wue_l_per_kwh,
        transfer_g_per_gb=round(transfer_g_per_gb(), 4),
        embodied_g_per_vcpu_h=round(embodied_g, 4),
        failure_group=name,
    )

"""Several regions for ``aicsched simulate``: from files and options to sites."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from aicsched.errors import ConfigError, InputError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from aicsched.simulate import Places, Site, Truth, World

__all__ = ["losses", "places"]


def losses(texts: Sequence[str], names: Sequence[str]) -> dict[str, tuple[tuple[float, float], ...]]:
    """Read when regions are lost.

    Parameters
    ----------
    texts : sequence of str
        ``REGION=H-H``, hours from the start; several may be joined by commas.
    names : sequence of str
        The regions. The name may be left out where there is one.

    Returns
    -------
    dict of str to tuple of (float, float)
        By region [s].

    Raises
    ------
    ConfigError
        It is something else, or there is no such region.
    """
    made: dict[str, list[tuple[float, float]]] = {}
    for text in (part for item in texts for part in item.split(",")):
        name, _, hours = text.rpartition("=")
        name = name or (names[0] if len(names) == 1 else "")
        if name not in names:
            msg = f"--outage {text}: there is no region '{name}'"
            raise ConfigError(msg, hint=did_you_mean(name, names), value=text)
        try:
            start, stop = (float(hour) * 3600.0 for hour in hours.split("-"))
        except ValueError as error:
            msg = f"--outage {text} is no time"
            raise ConfigError(msg, hint="write hours, e.g. north=10-14.5", value=text) from error
        made.setdefault(name, []).append((start, stop))
    return {name: tuple(pairs) for name, pairs in made.items()}


def places(
    truths: Mapping[str, Truth],
    world: World,
    jobs: Path,
    *,
    fleet: Path | None,
    home: str | None,
    outage: Sequence[str],
    rto_h: float,
) -> Places:
    """Make sites of zones, or of a fleet's regions on them, and read where jobs are at home.

    Parameters
    ----------
    truths : mapping of str to Truth
        By zone.
    world : World
        Cap, watts and prices of regions that no fleet describes.
    jobs : Path
        The trace.
    fleet : Path, optional
        The fleet's file.
    home : str, optional
        Home of jobs that don't say theirs.
    outage : sequence of str
        As in `losses`.
    rto_h : float
        How long after a loss work can go on elsewhere [h].

    Returns
    -------
    Places
        For a sweep.

    Raises
    ------
    InputError
        A region's zone has no intensity, or a job no home.
    """
    from aicsched.simulate import Places, Reach, Sites, read_homes

    made, g_per_gb = _sites(truths, world, fleet)
    lost = losses(outage, [site.name for site in made])
    sites = Sites(
        sites=tuple(
            replace(site, world=replace(site.world, outages=lost.get(site.name, ()))) for site in made
        ),
        restart_s=rto_h * 3600.0,
    )
    homes = read_homes(jobs, home=home)
    reach = Reach.of(
        sites, homes.home, allowed=homes.allowed, data_gb=homes.data_gb, g_per_gb=np.array(g_per_gb)
    )
    return Places(sites=sites, reach=reach)


def _sites(truths: Mapping[str, Truth], world: World, fleet: Path | None) -> tuple[list[Site], list[float]]:
    from aicsched.fleet.file import read_fleet
    from aicsched.footprint.transfer import transfer_g_per_gb
    from aicsched.simulate import Site

    if fleet is None:
        sites = [Site(name=zone, truth=truth, world=world) for zone, truth in truths.items()]
        return sites, [transfer_g_per_gb()] * len(sites)
    made: list[Site] = []
    regions = read_fleet(fleet).regions
    for region in regions:
        if region.grid_zone not in truths:
            msg = f"region '{region.name}': zone '{region.grid_zone}' has no intensity"
            raise InputError(
                msg,
                hint=f"add --carbon {region.grid_zone}=FILE; there are {', '.join(truths)}",
                value=region.name,
            )
        costs = replace(world.costs, watts_per_vcpu=region.power_w_per_vcpu)
        here = replace(world, cap_vcpus=min(region.capacity_vcpus, _cap(world)), costs=costs)
        made.append(Site(name=region.name, truth=truths[region.grid_zone], world=here, pue=region.pue))
    return made, [region.transfer_g_per_gb for region in regions]


def _cap(world: World) -> float:
    return world.cap_vcpus if isinstance(world.cap_vcpus, float) else float("inf")

"""What can run work: regions, nodes and special backends."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from aicsched.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Backend", "BackendKind", "Fleet", "Node", "Region"]


def _require(condition: bool, message: str, hint: str) -> None:  # noqa: FBT001 - an assertion helper
    if not condition:
        raise InputError(message, hint=hint)


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A place with capacity, on one electricity grid.

    Parameters
    ----------
    name : str
        For example a cloud region.
    grid_zone : str
        The electricity zone that feeds it.
    capacity_vcpus : float
        Hardware threads that deferrable work may use in each slot, > 0 to be useful.
    power_w_per_vcpu : float
        Extra power of one busy hardware thread over an idle one [W].
    pue : float
        Power usage effectiveness, >= 1.
    latitude_deg, longitude_deg : float
        Coordinates, NaN when unknown.
    wue_l_per_kwh : float
        Water usage effectiveness [L/kWh], NaN when unknown.
    transfer_g_per_gb : float
        Emissions of moving one gigabyte to this region from another [g/GB].
    embodied_g_per_vcpu_h : float
        SCI's amortised embodied share of one thread-hour [g]; reported, never part of placement.
    failure_group : str
        Regions of one group may fail together; by default the region itself.
    capacity_memory_gib : float
        Memory that deferrable work may hold [GiB]; NaN, the default, where that is no limit.
    capacity_gpus : float
        Accelerators that deferrable work may hold.
    price_usd_per_vcpu_h : float
        What a thread costs there [USD/h]; NaN, the default, where it is unknown.
    """

    name: str
    grid_zone: str
    capacity_vcpus: float
    power_w_per_vcpu: float
    pue: float = 1.0
    latitude_deg: float = float("nan")
    longitude_deg: float = float("nan")
    wue_l_per_kwh: float = float("nan")
    transfer_g_per_gb: float = 0.0
    embodied_g_per_vcpu_h: float = 0.0
    failure_group: str = ""
    capacity_memory_gib: float = float("nan")
    capacity_gpus: float = 0.0
    price_usd_per_vcpu_h: float = float("nan")

    def __post_init__(self) -> None:
        where = f"region '{self.name}'"
        _require(bool(self.name and self.grid_zone), f"{where} needs a name and a grid_zone", "fill both")
        _require(self.capacity_vcpus >= 0, f"{where}: capacity_vcpus is negative", "use 0 or more")
        _require(
            not self.capacity_memory_gib < 0, f"{where}: capacity_memory_gib is negative", "use 0 or more"
        )
        _require(self.capacity_gpus >= 0, f"{where}: capacity_gpus is negative", "use 0 or more")
        _require(self.power_w_per_vcpu >= 0, f"{where}: power_w_per_vcpu is negative", "use 0 or more")
        _require(self.pue >= 1, f"{where}: a PUE of {self.pue} is below 1", "PUE is total over IT energy")
        _require(self.transfer_g_per_gb >= 0, f"{where}: transfer_g_per_gb is negative", "use 0 or more")
        _require(self.embodied_g_per_vcpu_h >= 0, f"{where}: embodied share is negative", "use 0 or more")
        _require(not self.price_usd_per_vcpu_h < 0, f"{where}: its price is negative", "use 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One machine.

    Parameters
    ----------
    name, region : str
        Its name and the region it stands in.
    vcpus : float
        Hardware threads.
    memory_gib : float
        Memory [GiB].
    cpu_family : str
        Key of the packaged power table, e.g. ``"amd-epyc-gen3"``.
    idle_w, max_w : float
        Power of the whole machine when idle and at full load [W].
    embodied_kg : float
        Emissions of making it [kg].
    lifetime_years : float
        Over how long they are written off.
    commissioned : str
        ISO date, "" when unknown.
    node_zone : str
        Kubernetes topology zone.
    labels : mapping of str to str
        Labels, tags and protections (see `aicsched.recycle`).
    """

    name: str
    region: str
    vcpus: float
    memory_gib: float
    cpu_family: str
    idle_w: float
    max_w: float
    embodied_kg: float
    lifetime_years: float = 4.0
    commissioned: str = ""
    node_zone: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        where = f"node '{self.name}'"
        _require(self.vcpus > 0, f"{where}: vcpus must be positive", "count its hardware threads")
        _require(0 <= self.idle_w <= self.max_w, f"{where}: needs 0 <= idle_w <= max_w", "check its power")
        _require(self.lifetime_years > 0, f"{where}: lifetime_years must be positive", "4 is usual")
        _require(self.embodied_kg >= 0, f"{where}: embodied_kg is negative", "use 0 or more")


class BackendKind(StrEnum):
    """Kinds of special hardware."""

    QUANTUM = "quantum"
    NEUROMORPHIC = "neuromorphic"
    EDGE = "edge"


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """A quantum computer, a neuromorphic system or an edge site.

    Parameters
    ----------
    name, region : str
        Its name and the region (so the grid) that feeds it.
    kind : BackendKind
        What it is.
    static_w : float
        Power it draws whether or not work runs [W].
    active_w : float
        Extra power while work runs [W].
    properties : mapping of str to float
        What its scorer reads, with units in the keys; see `aicsched schema fleet`.
    source : str
        Where the properties come from.
    """

    name: str
    region: str
    kind: BackendKind
    static_w: float
    active_w: float
    properties: Mapping[str, float] = field(default_factory=dict)
    source: str = ""

    def __post_init__(self) -> None:
        ok = self.static_w >= 0 and self.active_w >= 0
        _require(ok, f"backend '{self.name}': power is negative", "use 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """All that can run work.

    Parameters
    ----------
    regions : tuple of Region
        At least one, names unique.
    nodes : tuple of Node
        Machines, each in one of the regions.
    backends : tuple of Backend
        Special hardware, each in one of the regions.
    source : str
        Where the fleet was read from.
    synthetic : bool
        True when it was made up: every output says so.
    notes : tuple of str
        What its reader filled in, and from where.

    Raises
    ------
    InputError
        No region, a name twice, or a node or backend in an unknown region.
    """

    regions: tuple[Region, ...]
    nodes: tuple[Node, ...] = ()
    backends: tuple[Backend, ...] = ()
    source: str = ""
    synthetic: bool = False
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _require(bool(self.regions), "the fleet has no region", "add at least one")
        for kind, items in (("region", self.regions), ("node", self.nodes), ("backend", self.backends)):
            names = [item.name for item in items]
            twice = [name for name, count in Counter(names).items() if count > 1]
            _require(not twice, f"{kind} '{twice[0] if twice else ''}' appears twice", "names must be unique")
        known = {region.name for region in self.regions}
        for item in (*self.nodes, *self.backends):
            if item.region not in known:
                msg = f"'{item.name}' stands in region '{item.region}', which the fleet doesn't have"
                raise InputError(msg, hint=did_you_mean(item.region, known), value=item.region)

    def region(self, name: str) -> Region:
        """Return the region of a name.

        Parameters
        ----------
        name : str
            A region's name.

        Returns
        -------
        Region
            The region.

        Raises
        ------
        InputError
            The fleet has no such region; the nearest names are given.
        """
        for region in self.regions:
            if region.name == name:
                return region
        known = [region.name for region in self.regions]
        msg = f"the fleet has no region '{name}'"
        raise InputError(msg, hint=did_you_mean(name, known), value=name)

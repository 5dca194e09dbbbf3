"""The embedded sample's fleet: made-up regions and machines with sourced power."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

from aicsched.data import load_table
from aicsched.domain.fleet import Backend, BackendKind, Fleet, Node
from aicsched.fleet.aggregate import region_from_nodes
from aicsched.footprint.embodied import hardware, server_embodied_kg
from aicsched.footprint.power import family_power

if TYPE_CHECKING:
    from aicsched.domain.fleet import Region

__all__ = ["sample_fleet"]

# Threads of a two-socket server of each family: common parts, not the largest.
_THREADS: Final = {"intel-haswell": 48, "intel-broadwell": 56, "intel-skylake": 80, "intel-cascadelake": 96}
_DEFAULT_THREADS: Final = 128
_GIB_PER_THREAD: Final = 4
_RACKS: Final = ("a", "b", "c")
# Every so many machines one carries a protection, so that recommendations have something to refuse.
_PROTECTED_EVERY: Final = {
    7: ("termination-protection", "true"),
    11: ("storage", "local"),
    13: ("iac", "terraform"),
}


def _node(region: str, index: int, family: str) -> Node:
    power = family_power(family)
    threads = float(_THREADS.get(family, _DEFAULT_THREADS))
    labels = {name: value for every, (name, value) in _PROTECTED_EVERY.items() if index % every == every - 1}
    launched_year, month = (int(part) for part in power.launched.split("-"))
    return Node(
        name=f"{region}-{index:02}",
        region=region,
        vcpus=threads,
        memory_gib=threads * _GIB_PER_THREAD,
        cpu_family=family,
        idle_w=round(power.idle_w_per_vcpu * threads, 2),
        max_w=round(power.max_w_per_vcpu * threads, 2),
        embodied_kg=round(server_embodied_kg(threads * _GIB_PER_THREAD), 1),
        lifetime_years=hardware("lifetime_years")[0],
        commissioned=f"{launched_year + (index % 2)}-{month:02}-15",
        node_zone=f"{region}-{_RACKS[index % len(_RACKS)]}",
        labels=labels,
    )


def _region_nodes(row: dict[str, str]) -> list[Node]:
    families = row["families"].split(";")
    return [
        _node(row["region"], index, families[index % len(families)]) for index in range(int(row["nodes"]))
    ]


def _region(row: dict[str, str], nodes: list[Node]) -> Region:
    zone = {item["grid_zone"]: item for item in load_table("sample_zones")}[row["grid_zone"]]
    return region_from_nodes(
        row["region"],
        nodes,
        grid_zone=row["grid_zone"],
        free_share=float(row["free_share"]),
        pue=float(row["pue"]),
        wue_l_per_kwh=float(row["wue_l_per_kwh"]),
        latitude_deg=float(zone["latitude_deg"]),
        longitude_deg=float(zone["longitude_deg"]),
    )


def _backend(row: dict[str, str]) -> Backend:
    pairs = (part.partition("=") for part in row["properties"].split(";"))
    return Backend(
        name=row["name"],
        region=row["region"],
        kind=BackendKind(row["kind"]),
        static_w=float(row["static_w"]),
        active_w=float(row["active_w"]),
        properties={name: float(value) for name, _, value in pairs},
        source=row["source"],
    )


@cache
def sample_fleet() -> Fleet:
    """Return the sample's fleet.

    Returns
    -------
    Fleet
        Eight regions on the sample's zones, over 200 machines of several CPU
        generations, two quantum computers, two neuromorphic systems and edge
        sites; marked synthetic.

    Examples
    --------
    >>> fleet = sample_fleet()
    >>> len(fleet.regions), len(fleet.nodes) >= 200, fleet.synthetic
    (8, True, True)
    """
    rows = load_table("sample_regions")
    nodes = {row["region"]: _region_nodes(row) for row in rows}
    return Fleet(
        regions=tuple(_region(row, nodes[row["region"]]) for row in rows),
        nodes=tuple(node for row in rows for node in nodes[row["region"]]),
        backends=tuple(_backend(row) for row in load_table("sample_backends")),
        source="sample:v1",
        synthetic=True,
    )

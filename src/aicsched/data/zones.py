"""Electricity grid zones: one id each, and the names that others give them.

The id is Electricity Maps' (``"US-MIDA-PJM"``, ``"SE-SE3"``). The EIA's balancing
authority, ENTSO-E's area and older ids are aliases of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING

from aicsched.data import load_table
from aicsched.errors import UnknownZone, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["GridZone", "grid_zone", "grid_zones", "zone_hint"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GridZone:
    """An electricity zone.

    Parameters
    ----------
    grid_zone : str
        Its id, that of Electricity Maps.
    name : str
        In English.
    country : str
        ISO 3166 code of two letters.
    parent : str
        The zone that holds it, "" where there is none: a source may know only that.
    eia_balancing_authority : str
        The EIA's code, "" outside the United States.
    entsoe_area : str
        ENTSO-E's area as `entsoe-py` names it, "" where it has none.
    aliases : tuple of str
        Other names, older ids among them.
    """

    grid_zone: str
    name: str
    country: str
    parent: str
    eia_balancing_authority: str
    entsoe_area: str
    aliases: tuple[str, ...]


@cache
def grid_zones() -> Mapping[str, GridZone]:
    """Return the packaged zones.

    Returns
    -------
    mapping of str to GridZone
        By id.
    """
    names = ("grid_zone", "name", "country", "parent", "eia_balancing_authority", "entsoe_area")
    return MappingProxyType(
        {
            row["grid_zone"]: GridZone(
                aliases=tuple(item for item in row["aliases"].split(";") if item),
                **{name: row[name] for name in names},
            )
            for row in load_table("grid_zones")
        }
    )


@cache
def _by_name() -> Mapping[str, str]:
    made: dict[str, str] = {}
    for zone in grid_zones().values():
        for name in (*zone.aliases, zone.entsoe_area, zone.eia_balancing_authority, zone.grid_zone):
            if name:
                made[name.upper()] = zone.grid_zone
    for name in grid_zones():  # an id always means itself
        made[name.upper()] = name
    return MappingProxyType(made)


def grid_zone(name: str) -> GridZone:
    """Look up a zone by its id or another name.

    Parameters
    ----------
    name : str
        Electricity Maps' id, the EIA's code, ENTSO-E's area or an older id, in any case.

    Returns
    -------
    GridZone
        The zone.

    Raises
    ------
    UnknownZone
        There is none of that name in the table; the nearest are given.

    Examples
    --------
    >>> grid_zone("PJM").grid_zone, grid_zone("SE_3").grid_zone, grid_zone("AUS-QLD").grid_zone
    ('US-MIDA-PJM', 'SE-SE3', 'AU-QLD')
    """
    found = _by_name().get(name.strip().upper())
    if found is None:
        msg = f"the table of grid zones has no '{name}'"
        raise UnknownZone(msg, hint=did_you_mean(name.upper(), _by_name()), value=name)
    return grid_zones()[found]


def zone_hint(zone: str, known: Iterable[str]) -> str:
    """Say which of a source's zones is the one that was asked for under another name, or holds it.

    Parameters
    ----------
    zone : str
        Asked for.
    known : iterable of str
        Zones of the source.

    Returns
    -------
    str
        What to do; "" where the table doesn't help.

    Examples
    --------
    >>> zone_hint("US-MIDA-PJM", ["DE", "PJM"])
    'there it is called PJM: write that, or name a file US-MIDA-PJM=FILE'
    >>> zone_hint("SE-SE3", ["DE", "SE"])
    'it is a part of SE: write that, or name a file SE-SE3=FILE, if the whole will do'
    """
    asked = _by_name().get(zone.strip().upper())
    if asked is None:
        return ""
    names = list(known)
    for name in names:
        if _by_name().get(name.upper()) == asked:
            return f"there it is called {name}: write that, or name a file {zone}=FILE"
    for name in names:
        if _by_name().get(name.upper()) == grid_zones()[asked].parent:
            return f"it is a part of {name}: write that, or name a file {zone}=FILE, if the whole will do"
    return ""

"""Where clouds are: regions of AWS, Google Cloud, Azure and IBM, and edge sites, with grid, PUE and water.

Names, places and efficiency are what the providers publish; coordinates are those of
the town they name, or of a town in the area they name. What nobody publishes is empty
in the table and NaN here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from aicsched.data import load_table
from aicsched.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CloudRegion", "cloud_region", "cloud_regions", "find_cloud_region", "from_cells"]

_NUMBERS: Final = ("latitude_deg", "longitude_deg", "pue", "wue_l_per_kwh")


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudRegion:
    """A provider's region, or an edge site of it.

    Parameters
    ----------
    provider, region : str
        As the provider spells them, the provider in short: ``"aws"``, ``"eu-central-1"``.
    kind : str
        ``region``, ``restricted`` (not open to everybody) or ``edge``.
    place : str
        Where it is, as the provider says.
    country : str
        ISO 3166 code of two letters.
    town : str
        Whose coordinates stand here; "" where the provider names no place.
    precision : str
        ``city`` where the provider names the city, ``area`` where it names a state or a country only.
    latitude_deg, longitude_deg : float
        Coordinates, NaN when unknown.
    grid_zone : str
        Id in the table of grid zones, "" where the metropolis has several grids and
        the provider doesn't say where in it the site stands.
    watttime_region : str
        WattTime's abbreviation, "" when unknown.
    pue : float
        Power usage effectiveness, NaN where none is published.
    pue_scope : str
        What it is an average of: ``region``, ``macro-region``, ``fleet``, ``user`` or "".
    wue_l_per_kwh : float
        Water usage effectiveness [L/kWh], NaN where none is published.
    wue_scope : str
        As of the PUE.
    year : str
        Of PUE and WUE.
    source, coordinates_source, zone_source, efficiency_source : str
        Ids in ``SOURCES.toml``: of name and place, coordinates, grid zone, PUE and WUE.
    """

    provider: str
    region: str
    kind: str = "region"
    place: str = ""
    country: str = ""
    town: str = ""
    precision: str = ""
    latitude_deg: float = float("nan")
    longitude_deg: float = float("nan")
    grid_zone: str = ""
    watttime_region: str = ""
    pue: float = float("nan")
    pue_scope: str = ""
    wue_l_per_kwh: float = float("nan")
    wue_scope: str = ""
    year: str = ""
    source: str = ""
    coordinates_source: str = ""
    zone_source: str = ""
    efficiency_source: str = ""


def from_cells(row: Mapping[str, str]) -> CloudRegion:
    """Make a region of a row of text.

    Parameters
    ----------
    row : mapping of str to str
        Cells by column; empty numbers become NaN.

    Returns
    -------
    CloudRegion
        The region.
    """
    cells: dict[str, Any] = {name: row[name] for name in CloudRegion.__slots__}
    cells.update({name: float(row[name] or "nan") for name in _NUMBERS})
    return CloudRegion(**cells)


@cache
def cloud_regions() -> Mapping[tuple[str, str], CloudRegion]:
    """Return the packaged regions.

    Returns
    -------
    mapping of (str, str) to CloudRegion
        By provider and region.
    """
    return MappingProxyType(
        {(row["provider"], row["region"]): from_cells(row) for row in load_table("cloud_regions")}
    )


def find_cloud_region(
    known: Mapping[tuple[str, str], CloudRegion], provider: str, region: str
) -> CloudRegion:
    """Look a region up in a table.

    Parameters
    ----------
    known : mapping of (str, str) to CloudRegion
        By provider and region.
    provider, region : str
        What to look up; the case of the provider doesn't matter.

    Returns
    -------
    CloudRegion
        The region.

    Raises
    ------
    InputError
        There is no such provider, or it has no such region; the nearest names are given.
    """
    name = provider.strip().lower()
    providers = sorted({key[0] for key in known})
    if name not in providers:
        msg = f"the table of cloud regions has no provider '{provider}'"
        raise InputError(msg, hint=did_you_mean(name, providers), value=provider)
    found = known.get((name, region.strip()))
    if found is None:
        names = [key[1] for key in known if key[0] == name]
        msg = f"{name} has no region '{region}' in the table of cloud regions"
        raise InputError(msg, hint=did_you_mean(region, names), value=region)
    return found


def cloud_region(provider: str, region: str) -> CloudRegion:
    """Look up a packaged region.

    Parameters
    ----------
    provider : str
        ``aws``, ``gcp``, ``azure`` or ``ibm``.
    region : str
        As the provider spells it.

    Returns
    -------
    CloudRegion
        The region.

    Raises
    ------
    InputError
        There is no such provider or region; the nearest names are given.

    Examples
    --------
    >>> here = cloud_region("aws", "eu-central-1")
    >>> here.grid_zone, here.pue, here.pue_scope, here.year
    ('DE', 1.24, 'region', '2025')
    """
    return find_cloud_region(cloud_regions(), provider, region)

"""Cloud regions as a fleet uses them: packaged ones, and the user's own over them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from aicsched.data.cloud import CloudRegion, cloud_regions, find_cloud_region
from aicsched.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["CloudCatalogue"]

_KINDS: Final = ("region", "restricted", "edge")
_RANGES: Final = {
    "latitude_deg": (-90.0, 90.0),
    "longitude_deg": (-180.0, 180.0),
    "pue": (1.0, 4.0),
    "wue_l_per_kwh": (0.0, 20.0),
}
# Cells of a region in a fleet that the table can fill, and where the table says whence they are.
_FILLED: Final = {
    "grid_zone": "zone_source",
    "pue": "efficiency_source",
    "wue_l_per_kwh": "efficiency_source",
    "latitude_deg": "coordinates_source",
    "longitude_deg": "coordinates_source",
}


def _check(cells: Mapping[str, Any], where: str) -> None:
    for name, (low, high) in _RANGES.items():
        if name in cells and not low <= cells[name] <= high:
            msg = f"{where}: {name} is {cells[name]:g}"
            raise InputError(msg, hint=f"it lies in {low:g}..{high:g}", value=cells[name])
    if ("latitude_deg" in cells) != ("longitude_deg" in cells):
        msg = f"{where} has one coordinate only"
        raise InputError(msg, hint="give latitude_deg and longitude_deg")
    kind = cells.get("kind", _KINDS[0])
    if kind not in _KINDS:
        msg = f"{where}: '{kind}' is no kind of region"
        raise InputError(msg, hint=did_you_mean(kind, _KINDS), value=kind)


@dataclass(frozen=True, slots=True)
class CloudCatalogue:
    """Cloud regions by provider and name.

    Parameters
    ----------
    regions : mapping of (str, str) to CloudRegion
        By default the packaged ones.
    own : frozenset of (str, str)
        Which of them the user changed or added.

    Examples
    --------
    >>> mine = CloudCatalogue().changed([{"provider": "aws", "region": "eu-central-1", "pue": 1.2}], "mine")
    >>> here = mine.region("aws", "eu-central-1")
    >>> here.pue, here.pue_scope, here.efficiency_source, here.grid_zone
    (1.2, 'user', 'user:mine', 'DE')
    """

    regions: Mapping[tuple[str, str], CloudRegion] = field(default_factory=cloud_regions)
    own: frozenset[tuple[str, str]] = frozenset()

    def region(self, provider: str, region: str) -> CloudRegion:
        """Look up a region.

        Parameters
        ----------
        provider, region : str
            As the provider spells them.

        Returns
        -------
        CloudRegion
            The user's values where there are some.

        Raises
        ------
        InputError
            There is no such provider or region; the nearest names are given.
        """
        return find_cloud_region(self.regions, provider, region)

    def changed(self, rows: Iterable[Mapping[str, Any]], name: str) -> CloudCatalogue:
        """Return the catalogue with the user's values over the packaged ones.

        Parameters
        ----------
        rows : iterable of mapping
            Cells by column of `aicsched schema cloud-regions`; only those that are filled.
        name : str
            Of the user's file: what is theirs has the source ``user:NAME``.

        Returns
        -------
        CloudCatalogue
            A new one.

        Raises
        ------
        InputError
            A value out of its range, half a pair of coordinates, or a region twice.
        """
        regions, own = dict(self.regions), set[tuple[str, str]]()
        for row in rows:
            cells = dict(row)
            key = (str(cells.pop("provider")).lower(), str(cells.pop("region")))
            where = f"{key[0]} '{key[1]}'"
            if key in own:
                msg = f"{where} appears twice"
                raise InputError(msg, hint="keep one row a region", value=key[1])
            _check(cells, where)
            regions[key] = _over(regions.get(key), key, cells, f"user:{name}")
            own.add(key)
        return CloudCatalogue(regions, self.own | own)

    def fill(self, cells: dict[str, Any]) -> tuple[dict[str, Any], str]:
        """Fill what a fleet's row leaves empty from the region that it names.

        Parameters
        ----------
        cells : dict
            Filled cells of a row; ``provider`` and ``cloud_region`` name a region, and are taken out.

        Returns
        -------
        dict
            With grid_zone, pue, wue_l_per_kwh and coordinates where the table has them.
        str
            What was filled, with sources; "" where nothing was.

        Raises
        ------
        InputError
            One of the two names is missing, there is no such region, or it has no grid
            zone and the row has none either.
        """
        made = dict(cells)
        provider, name = made.pop("provider", None), made.pop("cloud_region", None)
        if provider is None and name is None:
            return made, ""
        if provider is None or name is None:
            msg = f"region '{made.get('name')}' has only one of provider and cloud_region"
            raise InputError(msg, hint="give both, e.g. aws and eu-central-1")
        here = self.region(provider, name)
        told: list[str] = []
        for column, source in _FILLED.items():
            value = getattr(here, column)
            if column in made or value == "" or value != value:  # noqa: PLR0124 - NaN
                continue
            made[column] = value
            told.append(f"{column} {value} ({self._whence(here, column, source)})")
        if "grid_zone" not in made:
            msg = f"region '{made.get('name')}': {here.provider} doesn't say on which grid {here.region} is"
            raise InputError(msg, hint="fill grid_zone", value=here.region)
        if "pue" not in made:
            told.append("pue unknown, 1 assumed: emissions are too low by the building's share")
        return (
            made,
            f"region '{made.get('name')}' is {here.provider} {here.region}: {'; '.join(told)}"
            if told
            else "",
        )

    def _whence(self, here: CloudRegion, column: str, source: str) -> str:
        where = getattr(here, source)
        scope = {"pue": here.pue_scope, "wue_l_per_kwh": here.wue_scope}.get(column, "")
        average = f", average of its {scope}" if scope in {"fleet", "macro-region"} else ""
        year = f" {here.year}" if scope and here.year else ""
        return f"{where}{year}{average}"


def _over(base: CloudRegion | None, key: tuple[str, str], cells: dict[str, Any], source: str) -> CloudRegion:
    """Lay the user's cells over a packaged region, and say whose they are."""
    here = base or CloudRegion(provider=key[0], region=key[1], source=source)
    made = dict(cells)
    if "pue" in cells:
        made["pue_scope"] = "user"
    if "wue_l_per_kwh" in cells:
        made["wue_scope"] = "user"
    if {"pue", "wue_l_per_kwh"} & set(cells):
        made |= {"efficiency_source": source, "year": ""}
    if "grid_zone" in cells:
        made["zone_source"] = source
    if "latitude_deg" in cells:
        made |= {"coordinates_source": source, "town": cells.get("place", here.town), "precision": "city"}
    return replace(here, **made)

"""``aicsched regions``: cloud regions with their grid, PUE and water."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aicsched.cli.output import AsJson, console, emit_json, print_table

if TYPE_CHECKING:
    from aicsched.data.cloud import CloudRegion
    from aicsched.fleet.cloud import CloudCatalogue

__all__ = ["regions"]


def regions(
    provider: Annotated[str | None, typer.Argument(help="aws, gcp, azure or ibm; none: all.")] = None,
    region: Annotated[str | None, typer.Argument(help="One region, with its sources.")] = None,
    zone: Annotated[
        str | None, typer.Option("--zone", help="Those on one grid, by any of its names (DE, PJM, SE_3).")
    ] = None,
    own: Annotated[
        Path | None,
        typer.Option("--own", help="Regions of one's own over these (see `aicsched schema cloud-regions`)."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List cloud regions and edge sites with grid zone, PUE and WUE, or show one with its sources."""
    catalogue = _catalogue(own)
    if provider is not None and region is not None:
        facts = _facts(catalogue.region(provider, region))
        if as_json:
            emit_json({"region": facts})
        else:
            print_table(
                f"{provider} {region}", ("fact", ""), [(name, str(item)) for name, item in facts.items()]
            )
        return
    chosen = _chosen(catalogue, provider, zone)
    if as_json:
        emit_json({"regions": [asdict(item) for item in chosen]})
        return
    rows = [
        (
            item.region if provider else f"{item.provider} {item.region}",
            item.place,
            item.grid_zone or "unknown",
            _number(item.pue, item.pue_scope),
            _number(item.wue_l_per_kwh, item.wue_scope),
            item.kind,
        )
        for item in chosen
    ]
    print_table(f"{len(rows)} regions", ("region", "place", "grid zone", "PUE", "WUE L/kWh", "kind"), rows)
    console().print("* an average of the provider's regions, not this one's; empty: not published")


def _catalogue(own: Path | None) -> CloudCatalogue:
    from aicsched.fleet.cloud import CloudCatalogue

    if own is None:
        return CloudCatalogue()
    from aicsched.fleet.cloud_file import read_cloud_regions

    return read_cloud_regions(own)


def _chosen(catalogue: CloudCatalogue, provider: str | None, zone: str | None) -> list[CloudRegion]:
    from aicsched.errors import InputError, UnknownZone, did_you_mean

    found = list(catalogue.regions.values())
    if provider is not None:
        providers = sorted({item.provider for item in found})
        if provider.lower() not in providers:
            msg = f"there is no provider '{provider}'"
            raise InputError(msg, hint=did_you_mean(provider, providers), value=provider)
        found = [item for item in found if item.provider == provider.lower()]
    if zone is not None:
        names = {item.grid_zone for item in catalogue.regions.values()}
        if zone not in names:
            from aicsched.data.zones import grid_zone

            zone = grid_zone(zone).grid_zone
        found = [item for item in found if item.grid_zone == zone]
        if not found:
            msg = f"no region is on grid '{zone}'"
            raise UnknownZone(msg, hint=did_you_mean(zone, names - {""}), value=zone)
    return found


def _number(value: float, scope: str) -> str:
    if value != value:  # noqa: PLR0124 - NaN
        return ""
    return f"{value:g}*" if scope in {"fleet", "macro-region"} else f"{value:g}"


def _facts(item: CloudRegion) -> dict[str, Any]:
    """Return what is known of a region, with the titles of its sources."""
    from aicsched.data import sources

    known = {name: value for name, value in asdict(item).items() if str(value) not in {"", "nan"}}
    titles = sources()
    return {
        name: titles[value]["title"] if name.endswith("source") and value in titles else value
        for name, value in known.items()
    }

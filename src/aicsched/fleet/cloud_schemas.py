"""What a file of one's own cloud regions must look like."""

from __future__ import annotations

from typing import Final

from aicsched.domain.schema import Column, Schema

__all__ = ["CLOUD_REGIONS"]

CLOUD_REGIONS: Final = Schema(
    name="cloud-regions",
    doc="Cloud regions of one's own, or better values for packaged ones: CSV, parquet, JSON (a list of "
    "objects) or TOML ([[cloud_region]]). What is empty stays as packaged.",
    columns=(
        Column(
            name="provider",
            type="text",
            doc="aws, gcp, azure, ibm or one's own",
            example="aws",
            required=True,
        ),
        Column(
            name="region", type="text", doc="as the provider spells it", example="eu-central-1", required=True
        ),
        Column(name="kind", type="text", doc="region, restricted or edge (default region)", example="region"),
        Column(name="place", type="text", doc="where it is", example="Frankfurt"),
        Column(name="country", type="text", doc="ISO 3166 code of two letters", example="DE"),
        Column(name="latitude_deg", type="number", doc="latitude [degrees]", example="50.11"),
        Column(name="longitude_deg", type="number", doc="longitude [degrees]", example="8.68"),
        Column(name="grid_zone", type="text", doc="electricity zone that feeds it", example="DE"),
        Column(name="watttime_region", type="text", doc="WattTime's abbreviation", example="DE"),
        Column(name="pue", type="number", doc="power usage effectiveness, from 1", example="1.24"),
        Column(name="wue_l_per_kwh", type="number", doc="water usage effectiveness [L/kWh]", example="0.17"),
    ),
)

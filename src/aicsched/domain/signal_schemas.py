"""What files of signals must look like: carbon intensity and telemetry."""

from __future__ import annotations

from typing import Final

from aicsched.domain.schema import Column, Schema

__all__ = ["CARBON", "TELEMETRY"]

CARBON: Final = Schema(
    name="carbon",
    doc="Carbon intensity: CSV or parquet, with a grid_zone column, or one zone a file (ZONE=FILE).",
    columns=(
        Column(
            name="time",
            type="time",
            doc="start of the slot, ISO 8601 with offset",
            example="2026-05-01T00:00Z",
            required=True,
        ),
        Column(
            name="grid_zone", type="text", doc="electricity zone, where a file holds several", example="SE"
        ),
        Column(
            name="ci_g_per_kwh",
            type="number",
            doc="mean of the slot; any name with ci, carbon or intensity; unit in the name or --unit",
            example="41.5",
            required=True,
        ),
        Column(
            name="estimated",
            type="text",
            doc="true where the source estimated the value (or quality: actual, estimated, stale, …)",
            example="false",
        ),
        Column(
            name="reading_time",
            type="time",
            doc="when the value was read: of several rows for one slot the newest counts",
            example="2026-05-01T02:00Z",
        ),
    ),
)

TELEMETRY: Final = Schema(
    name="telemetry",
    doc="Utilisation of nodes: CSV or parquet; what is empty or absent is unknown, never idle.",
    columns=(
        Column(name="node", type="text", doc="the node's name", example="north-1", required=True),
        Column(
            name="time",
            type="time",
            doc="start of the slot, ISO 8601 with offset",
            example="2026-05-01T00:00Z",
            required=True,
        ),
        Column(
            name="cpu_share",
            type="number",
            doc="mean CPU utilisation in [0, 1]",
            example="0.37",
            required=True,
        ),
        Column(
            name="network_mb", type="number", doc="megabytes received and sent in the slot", example="120"
        ),
        Column(name="memory_share", type="number", doc="memory in use in [0, 1]", example="0.61"),
    ),
)

"""What files of signals must look like: carbon intensity and telemetry."""

from __future__ import annotations

from typing import Final

from aicsched.domain.schema import Column, Schema

__all__ = ["CARBON", "PRICES", "TELEMETRY"]

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

PRICES: Final = Schema(
    name="prices",
    doc="Prices of power and machines: CSV or parquet, of several things if need be, each in one currency.",
    columns=(
        Column(
            name="time",
            type="time",
            doc="start of the slot, ISO 8601 with offset (empty: the price holds always)",
            example="2026-05-01T00:00Z",
        ),
        Column(
            name="place",
            type="text",
            doc="grid zone of electricity, region of a machine",
            example="eu-central-1",
            required=True,
        ),
        Column(
            name="unit",
            type="text",
            doc="kwh or mwh of electricity, instance_h, vcpu_h",
            example="instance_h",
            required=True,
        ),
        Column(
            name="price",
            type="number",
            doc="mean of the slot; of electricity it may be negative",
            example="0.0416",
            required=True,
        ),
        Column(name="currency", type="text", doc="ISO 4217 code", example="USD", required=True),
        Column(
            name="instance_type",
            type="text",
            doc="needed with instance_h; empty for electricity",
            example="m6a.large",
        ),
        Column(
            name="purchase",
            type="text",
            doc="on-demand, spot or reserved; empty for electricity",
            example="spot",
        ),
        Column(
            name="quality",
            type="text",
            doc="actual, estimated, forecast or stale (default actual)",
            example="actual",
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
        Column(name="disk_mb", type="number", doc="megabytes read and written in the slot", example="840"),
        Column(
            name="cpu_stall_share",
            type="number",
            doc="share of the slot in which some task waited for CPU (PSI, some) in [0, 1]",
            example="0.02",
        ),
        Column(
            name="memory_stall_share",
            type="number",
            doc="share of the slot in which some task waited for memory in [0, 1]",
            example="0",
        ),
        Column(
            name="io_stall_share",
            type="number",
            doc="share of the slot in which some task waited for I/O in [0, 1]",
            example="0.01",
        ),
        Column(
            name="latency_p99_ms",
            type="number",
            doc="99th percentile of response times [ms]",
            example="84",
        ),
        Column(
            name="ready_share",
            type="number",
            doc="share of the slot in which the node was ready in [0, 1]",
            example="1",
        ),
        Column(
            name="restarts",
            type="number",
            doc="containers on the node that started anew in the slot",
            example="0",
        ),
        Column(name="power_w", type="number", doc="mean measured power [W]", example="212.5"),
    ),
)

"""What files of jobs, fleets, carbon, telemetry and prices must look like."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from aicsched.domain.schema import Column, Schema, read_cell
from aicsched.domain.signal_schemas import CARBON, PRICES, TELEMETRY
from aicsched.fleet.cloud_schemas import CLOUD_REGIONS
from aicsched.fleet.pod_schemas import MACHINES, PODS

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BACKENDS", "FLEET", "JOBS", "NODES", "REGIONS", "SCHEMAS", "SERVICES", "as_dict", "render"]

JOBS: Final = Schema(
    name="jobs",
    doc="A queue of batch jobs: CSV, parquet, JSON (a list of objects) or JSON lines.",
    columns=(
        Column(name="job_id", type="text", doc="unique name", example="train-1", required=True),
        Column(name="vcpus", type="number", doc="hardware threads it keeps busy", example="4", required=True),
        Column(name="duration_s", type="number", doc="how long it runs [s]", example="7200", required=True),
        Column(
            name="release",
            type="time",
            doc="earliest start, ISO 8601 with offset",
            example="2026-05-01T08:00Z",
            required=True,
        ),
        Column(
            name="deadline",
            type="time",
            doc="latest end, ISO 8601 with offset",
            example="2026-05-01T20:00Z",
            required=True,
        ),
        Column(
            name="home_region", type="text", doc="where it runs unless moved", example="north", required=True
        ),
        Column(
            name="allowed_regions",
            type="list",
            doc="where it may run, separated by ; (empty: anywhere)",
            example="north;south",
        ),
        Column(
            name="deferrable",
            type="flag",
            doc="false: it starts at its release (default true)",
            example="true",
        ),
        Column(
            name="suspendable",
            type="flag",
            doc="true: it may run in pieces of whole slots (default false)",
            example="false",
        ),
        Column(
            name="data_gb",
            type="number",
            doc="data moved when it leaves home [GB] (default 0)",
            example="2.5",
        ),
        Column(name="memory_gib", type="number", doc="memory [GiB] (default 0)", example="16"),
        Column(
            name="priority",
            type="integer",
            doc="higher goes first where not all fits (default 0)",
            example="0",
        ),
        Column(name="gpus", type="number", doc="accelerators it holds (default 0)", example="1"),
        Column(
            name="after",
            type="list",
            doc="jobs that must have ended before it starts, separated by ;",
            example="extract-1;clean-1",
        ),
        Column(
            name="resume_s",
            type="number",
            doc="cost of going on after a gap, at the job's power [s] (default 0)",
            example="120",
        ),
        Column(
            name="scaling",
            type="list",
            doc="speed on 1, 2, ... machines over one, as 1;1.9;2.7 (default: it doesn't scale)",
            example="",
        ),
        Column(
            name="min_machines",
            type="integer",
            doc="fewest machines that it runs on (default 1)",
            example="1",
        ),
    ),
)

SERVICES: Final = Schema(
    name="services",
    doc="Always-on services: CSV, parquet, JSON (a list of objects) or JSON lines.",
    columns=(
        Column(name="service_id", type="text", doc="unique name", example="shop", required=True),
        Column(
            name="vcpus",
            type="number",
            doc="hardware threads it needs at its peak",
            example="48",
            required=True,
        ),
        Column(
            name="home_region", type="text", doc="where its users are nearest", example="north", required=True
        ),
        Column(
            name="allowed_regions",
            type="list",
            doc="where it may run, separated by ; (empty: anywhere within its latency)",
            example="north;central;isles",
        ),
        Column(
            name="latency_limit_ms",
            type="number",
            doc="longest round trip from home to where it runs [ms] (default none)",
            example="60",
        ),
        Column(
            name="hourly_share",
            type="list",
            doc="share of vcpus each hour from 00:00 UTC: 24 values, or 168 from Monday on (default 1)",
            example=";".join(["0.5"] * 8 + ["1"] * 12 + ["0.7"] * 4),
        ),
        Column(name="vcpus_per_pod", type="number", doc="threads of one pod (default 1)", example="2"),
        Column(
            name="data_gb",
            type="number",
            doc="state to restore where it starts anew [GB] (default 0: a replica stands ready)",
            example="20",
        ),
        Column(
            name="replication_lag_s",
            type="number",
            doc="how far its replica lies behind [s] (default unknown)",
            example="15",
        ),
        Column(
            name="priority",
            type="integer",
            doc="higher goes first where not all fits (default 0)",
            example="0",
        ),
    ),
)

REGIONS: Final = Schema(
    name="regions",
    doc="Places with capacity: the key regions of a JSON fleet, or a CSV or parquet file of its own.",
    columns=(
        Column(name="name", type="text", doc="unique name", example="north", required=True),
        Column(
            name="grid_zone",
            type="text",
            doc="electricity zone that feeds it; or give provider and cloud_region",
            example="SE",
        ),
        Column(
            name="capacity_vcpus",
            type="number",
            doc="threads free for this work in each slot",
            example="512",
            required=True,
        ),
        Column(
            name="power_w_per_vcpu",
            type="number",
            doc="extra power of a busy thread [W]; or give cpu_family",
            example="2.1",
        ),
        Column(
            name="cpu_family",
            type="text",
            doc="CPU family, looked up where power_w_per_vcpu is empty",
            example="amd-epyc-gen3",
        ),
        Column(name="pue", type="number", doc="power usage effectiveness (default 1)", example="1.2"),
        Column(name="latitude_deg", type="number", doc="latitude [degrees]", example="59.3"),
        Column(name="longitude_deg", type="number", doc="longitude [degrees]", example="18.1"),
        Column(name="wue_l_per_kwh", type="number", doc="water usage effectiveness [L/kWh]", example="0.2"),
        Column(
            name="transfer_g_per_gb",
            type="number",
            doc="emissions of moving data there [g/GB] (default 0)",
            example="5",
        ),
        Column(
            name="embodied_g_per_vcpu_h",
            type="number",
            doc="amortised hardware share [g per thread-hour], reported only",
            example="0.6",
        ),
        Column(
            name="failure_group", type="text", doc="regions of one group may fail together", example="north"
        ),
        Column(
            name="capacity_memory_gib",
            type="number",
            doc="memory free for this work [GiB] (empty: no limit)",
            example="4096",
        ),
        Column(
            name="capacity_gpus",
            type="number",
            doc="accelerators free for this work (default 0)",
            example="8",
        ),
        Column(
            name="price_usd_per_vcpu_h",
            type="number",
            doc="what a thread costs there [USD/h] (default unknown)",
            example="0.04",
        ),
        Column(
            name="provider",
            type="text",
            doc="aws, gcp, azure or ibm: what is empty of grid_zone, pue, wue_l_per_kwh and coordinates is "
            "looked up (see `aicsched regions`)",
            example="aws",
        ),
        Column(
            name="cloud_region",
            type="text",
            doc="the provider's name of the region, with provider",
            example="eu-north-1",
        ),
    ),
)

NODES: Final = Schema(
    name="nodes",
    doc="Machines: the key nodes of a JSON fleet.",
    columns=(
        Column(name="name", type="text", doc="unique name", example="north-1", required=True),
        Column(name="region", type="text", doc="the region it stands in", example="north", required=True),
        Column(name="vcpus", type="number", doc="hardware threads", example="64", required=True),
        Column(name="memory_gib", type="number", doc="memory [GiB]", example="256", required=True),
        Column(
            name="cpu_family",
            type="text",
            doc="CPU family of the packaged power table",
            example="amd-epyc-gen3",
            required=True,
        ),
        Column(name="idle_w", type="number", doc="power when idle [W] (default: by family)", example="60"),
        Column(name="max_w", type="number", doc="power at full load [W] (default: by family)", example="280"),
        Column(
            name="embodied_kg",
            type="number",
            doc="emissions of making it [kg]",
            example="1300",
            required=True,
        ),
        Column(
            name="lifetime_years",
            type="number",
            doc="over how long they are written off (default 4)",
            example="4",
        ),
        Column(name="commissioned", type="text", doc="ISO date", example="2023-04-01"),
        Column(name="node_zone", type="text", doc="Kubernetes topology zone", example="north-a"),
        Column(
            name="labels",
            type="map",
            doc="labels and protections, name=value separated by ;",
            example="team=ml",
        ),
    ),
)

BACKENDS: Final = Schema(
    name="backends",
    doc="Quantum, neuromorphic and edge hardware: the key backends of a JSON fleet.",
    columns=(
        Column(name="name", type="text", doc="unique name", example="edge-1", required=True),
        Column(name="region", type="text", doc="the region that feeds it", example="north", required=True),
        Column(name="kind", type="text", doc="quantum, neuromorphic or edge", example="edge", required=True),
        Column(
            name="static_w",
            type="number",
            doc="power whether or not work runs [W]",
            example="8",
            required=True,
        ),
        Column(
            name="active_w", type="number", doc="extra power while work runs [W]", example="6", required=True
        ),
        Column(
            name="properties",
            type="map",
            doc="numbers its scorer reads, units in their names",
            example="cpu_ms=20;memory_mb=2.5;wall_ms=5500;latency_ms=15",
        ),
        Column(name="source", type="text", doc="where the properties come from", example="data sheet"),
    ),
)


def _example_row(schema: Schema) -> dict[str, Any]:
    return {column.name: read_cell(column, column.example) for column in schema.columns}


FLEET: Final = Schema(
    name="fleet",
    doc="All that can run work: one JSON object, or a CSV or parquet table of regions alone.",
    columns=(
        Column(name="regions", type="table", doc="see `aicsched schema regions`", example="", required=True),
        Column(name="nodes", type="table", doc="see `aicsched schema nodes`", example=""),
        Column(name="backends", type="table", doc="see `aicsched schema backends`", example=""),
        Column(
            name="synthetic", type="flag", doc="true where it is made up (default false)", example="false"
        ),
        Column(
            name="cloud_regions",
            type="text",
            doc="file of one's own cloud regions, beside this one (see `aicsched schema cloud-regions`)",
            example="",
        ),
    ),
    document=json.dumps(
        {
            "regions": [_example_row(REGIONS)],
            "nodes": [_example_row(NODES)],
            "backends": [_example_row(BACKENDS)],
            "synthetic": False,
        },
        indent=1,
    )
    + "\n",
)

SCHEMAS: Final = MappingProxyType(
    {
        item.name: item
        for item in (
            JOBS,
            SERVICES,
            FLEET,
            REGIONS,
            NODES,
            BACKENDS,
            CLOUD_REGIONS,
            MACHINES,
            PODS,
            CARBON,
            TELEMETRY,
            PRICES,
        )
    }
)


def as_dict(schema: Schema) -> dict[str, Any]:
    """Return a schema as plain values.

    Parameters
    ----------
    schema : Schema
        One of `SCHEMAS`.

    Returns
    -------
    dict
        Name, doc, columns and an example.
    """
    columns: list[Mapping[str, Any]] = [
        {"name": item.name, "type": item.type, "required": item.required, "doc": item.doc}
        for item in schema.columns
    ]
    return {"name": schema.name, "doc": schema.doc, "columns": columns, "example": schema.example()}


def render(schema: Schema) -> str:
    """Write a schema for people.

    Parameters
    ----------
    schema : Schema
        One of `SCHEMAS`.

    Returns
    -------
    str
        Columns with their meaning, and an example file.
    """
    width = max(len(item.name) for item in schema.columns)
    rows = [
        f"  {item.name:<{width}}  {item.type:<7}  {'required' if item.required else '':<8}  {item.doc}"
        for item in schema.columns
    ]
    return "\n".join([schema.doc, "", *rows, "", "Example:", schema.example()])

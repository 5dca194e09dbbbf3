"""What files of machines and of pods look like, for `aicsched place-nodes`."""

from __future__ import annotations

from typing import Final

from aicsched.domain.schema import Column, Schema

__all__ = ["MACHINES", "PODS"]

MACHINES: Final = Schema(
    name="machines",
    doc="Machines that pods are put on: CSV, parquet, JSON (a list of objects), JSON lines, openb.",
    columns=(
        Column(name="name", type="text", doc="unique name", example="gpu-1", required=True),
        Column(name="vcpus", type="number", doc="hardware threads", example="96", required=True),
        Column(name="memory_gib", type="number", doc="memory [GiB]", example="384", required=True),
        Column(name="gpus", type="integer", doc="accelerators (default 0)", example="8"),
        Column(name="gpu_model", type="text", doc="their model", example="T4"),
        Column(name="labels", type="map", doc="labels, key=value;…", example="zone=north;disk=ssd"),
        Column(name="taints", type="list", doc="taints that pods must tolerate", example="gpu"),
        Column(name="idle_w", type="number", doc="power without GPUs, idle [W] (default 0)", example="60"),
        Column(name="max_w", type="number", doc="power without GPUs, all CPU busy [W]", example="250"),
        Column(name="gpu_idle_w", type="number", doc="power of an idle GPU [W] (default 0)", example="10"),
        Column(name="gpu_max_w", type="number", doc="power of a GPU in use [W]", example="70"),
        Column(name="pue", type="number", doc="power usage effectiveness (default 1)", example="1.2"),
        Column(name="g_per_kwh", type="number", doc="carbon intensity [g/kWh] (default 0)", example="40"),
    ),
)

PODS: Final = Schema(
    name="pods",
    doc="Pods in the order in which they come: CSV, parquet, JSON, JSON lines, openb.",
    columns=(
        Column(name="name", type="text", doc="unique name", example="web-0", required=True),
        Column(name="vcpus", type="number", doc="threads it requests", example="2", required=True),
        Column(name="memory_gib", type="number", doc="memory [GiB] (default 0)", example="4"),
        Column(name="gpus", type="integer", doc="accelerators (default 0)", example="1"),
        Column(name="gpu_milli", type="integer", doc="share of one GPU (default 1000: all)", example="350"),
        Column(name="gpu_models", type="list", doc="models that will do (empty: any)", example="T4;V100"),
        Column(name="labels", type="list", doc="names by which rules mean it", example="app=web"),
        Column(name="tolerations", type="list", doc="taints it tolerates", example="gpu"),
        Column(name="node_labels", type="map", doc="labels it needs, key=one|other", example="disk=ssd|nvme"),
        Column(
            name="affinity", type="list", doc="only with such a pod, name@topology", example="app=web@zone"
        ),
        Column(
            name="anti_affinity", type="list", doc="not with such a pod, name@topology", example="app=db@node"
        ),
        Column(
            name="spread", type="list", doc="even over domains, name@topology:skew", example="app=web@zone:1"
        ),
        Column(name="priority", type="integer", doc="higher comes first (default 0)", example="0"),
        Column(name="gang", type="text", doc="pods of one gang come all or none", example="batch-7"),
    ),
)  # fmt: skip

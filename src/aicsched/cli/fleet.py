"""``aicsched fleet``: what can run work, from a file or a Kubernetes cluster."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aicsched.cli.options import FleetFile, open_fleet
from aicsched.cli.output import AsJson, console, emit_json, print_table

if TYPE_CHECKING:
    from aicsched.domain.fleet import Fleet
    from aicsched.fleet.kubernetes.cluster import Cluster

app = typer.Typer(help="What can run work.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """What can run work."""


@app.command("show")
def show(
    fleet: FleetFile = None,
    kubernetes: Annotated[
        bool, typer.Option("--kubernetes", help="Read the cluster of a kubeconfig, or the one around us.")
    ] = False,
    kubeconfig: Annotated[Path | None, typer.Option("--kubeconfig", help="Its file.")] = None,
    context: Annotated[str | None, typer.Option("--context", help="Its context.")] = None,
    grid_zone: Annotated[
        list[str] | None,
        typer.Option("--grid-zone", metavar="REGION=ZONE", help="Electricity zone of a region."),
    ] = None,
    wait: Annotated[str, typer.Option("--wait", help="How long to wait for the first lists.")] = "30s",
    out: Annotated[Path | None, typer.Option("--out", help="Write the fleet, for --fleet (JSON).")] = None,
    as_json: AsJson = False,
) -> None:
    """Show a fleet's regions, and where the power of its machines comes from."""
    from aicsched.errors import ConfigError

    if fleet is not None and kubernetes:
        msg = "--fleet and --kubernetes are two fleets"
        raise ConfigError(msg, hint="choose one")
    if not kubernetes and (kubeconfig or context or grid_zone):
        msg = "--kubeconfig, --context and --grid-zone are of a cluster"
        raise ConfigError(msg, hint="add --kubernetes")
    cluster = _cluster(kubeconfig, context, wait) if kubernetes else None
    made = open_fleet(fleet) if cluster is None else cluster.fleet(_zones(grid_zone))
    if out is not None:
        from aicsched.files import write_text
        from aicsched.fleet.file import fleet_to_json

        write_text(out, fleet_to_json(made) + "\n")
    _show(made, cluster, as_json=as_json)


def _zones(texts: list[str] | None) -> dict[str, str]:
    from aicsched.errors import ConfigError

    made: dict[str, str] = {}
    for text in texts or ():
        region, sign, zone = text.partition("=")
        if not (sign and region and zone):
            msg = f"--grid-zone {text} is no pair"
            raise ConfigError(msg, hint="write --grid-zone REGION=ZONE, e.g. cluster=DE", value=text)
        made[region] = zone
    return made


def _cluster(kubeconfig: Path | None, context: str | None, wait: str) -> Cluster:
    from aicsched.fleet.kubernetes.watch import ClusterWatch, connect
    from aicsched.units import parse_duration_s

    source = f"kubernetes:{context}" if context else "kubernetes"
    with ClusterWatch(connect(kubeconfig=kubeconfig, context=context), source=source) as watch:
        watch.wait(parse_duration_s(wait))
        return watch.cluster()


def _region_rows(fleet: Fleet) -> list[dict[str, Any]]:
    nodes = Counter(node.region for node in fleet.nodes)
    return [
        {
            "region": region.name,
            "grid_zone": region.grid_zone,
            "nodes": nodes[region.name],
            "capacity_vcpus": region.capacity_vcpus,
            "capacity_memory_gib": region.capacity_memory_gib,
            "capacity_gpus": region.capacity_gpus,
            "power_w_per_vcpu": region.power_w_per_vcpu,
            "pue": region.pue,
        }
        for region in fleet.regions
    ]


def _unknown(cluster: Cluster | None) -> dict[str, int]:
    """Count nodes by the reason for which nobody knows their power."""
    from aicsched.fleet.kubernetes.power import power_of

    models = () if cluster is None else (
        power_of(node.labels, vcpus=node.capacity.vcpus, provider=node.provider) for node in cluster.nodes
    )  # fmt: skip
    return dict(Counter(model.reason for model in models if model.reason))


def _show(fleet: Fleet, cluster: Cluster | None, *, as_json: bool) -> None:
    rows, unknown = _region_rows(fleet), _unknown(cluster)
    faults = list(cluster.faults) if cluster else []
    families = dict(sorted(Counter(node.cpu_family for node in fleet.nodes).items()))
    if as_json:
        emit_json(
            {
                "source": fleet.source,
                "synthetic": fleet.synthetic,
                "regions": rows,
                "cpu_families": families,
                "unknown_power": unknown,
                "faults": faults,
            }
        )
        return
    heading = ("region", "grid zone", "nodes", "free vCPUs", "free GiB", "free GPUs", "W/vCPU", "PUE")
    cells = [
        (
            row["region"],
            row["grid_zone"],
            str(row["nodes"]),
            f"{row['capacity_vcpus']:.1f}",
            "no limit" if math.isnan(row["capacity_memory_gib"]) else f"{row['capacity_memory_gib']:.0f}",
            f"{row['capacity_gpus']:g}",
            f"{row['power_w_per_vcpu']:.2f}",
            f"{row['pue']:.2f}",
        )
        for row in rows
    ]
    print_table(f"Fleet of {fleet.source}", heading, cells)
    told = console()
    if families:
        told.print("CPU families: " + ", ".join(f"{count} × {name}" for name, count in families.items()))
    for reason, count in unknown.items():
        told.print(
            f"{count} × unknown, a band as wide as all families: {reason}", style="yellow", markup=False
        )
    for fault in faults:
        told.print(fault, style="yellow", markup=False)

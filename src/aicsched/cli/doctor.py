"""``aicsched doctor``: what would go wrong in a scheduler's configuration, or in a cluster."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from aicsched.cli.output import AsJson, ConfigFile, emit_json
from aicsched.errors import ConfigError

if TYPE_CHECKING:
    from aicsched.extender.doctor.finding import Finding

FOUND: Final = 3


def doctor(
    file: Annotated[
        Path | None, typer.Argument(help="A KubeSchedulerConfiguration, or a ConfigMap with one.")
    ] = None,
    live: Annotated[
        bool, typer.Option("--live", help="Check the cluster and the signals that the settings name.")
    ] = False,
    nodes: Annotated[
        int | None, typer.Option("--nodes", min=1, help="How many nodes the cluster has; 1,000 by default.")
    ] = None,
    url: Annotated[
        str | None, typer.Option("--url", help="Part of our extender's urlPrefix, where there are several.")
    ] = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Say what would go wrong with a scheduler's extenders, or in a cluster, and how to mend it.

    Exit code 3 when something would not work or can stop the cluster.
    """
    from aicsched.extender.doctor.finding import sort_findings

    if file is None and not live:
        msg = "nothing is named to be checked"
        raise ConfigError(msg, hint="name a KubeSchedulerConfiguration, or say --live")
    found: list[Finding] = []
    if file is not None:
        found += _of_file(file, nodes, url)
    if live:
        found += _of_cluster(config)
    names = ([file.name] if file is not None else []) + (["the cluster"] if live else [])
    _tell(" and ".join(names), sort_findings(found), as_json=as_json)


def _of_file(file: Path, nodes: int | None, url: str | None) -> list[Finding]:
    from aicsched.extender.doctor.entries import check_scheduler
    from aicsched.extender.doctor.schedulerfile import read_scheduler_file

    read = read_scheduler_file(file)
    return [*read.findings, *check_scheduler(read.content, nodes=nodes, url=url)]


def _of_cluster(config: Path | None) -> list[Finding]:
    from aicsched.config import load_settings
    from aicsched.extender.doctor.live import check_live
    from aicsched.fleet.kubernetes.watch import connect

    settings = load_settings(config)
    api = connect(kubeconfig=settings.extender.kubeconfig, context=settings.extender.context)
    return list(check_live(settings, api))


def _tell(what: str, found: tuple[Finding, ...], *, as_json: bool) -> None:
    from aicsched.extender.doctor.finding import Severity, count_findings

    counts = count_findings(found)
    if as_json:
        emit_json({"checked": what, "counts": counts, "findings": [asdict(finding) for finding in found]})
    else:
        for finding in found:
            typer.echo(f"{finding.severity.upper():<8}{finding.where or 'extenders'}: {finding.message}")
            if finding.fix:
                typer.echo(f"        -> {finding.fix}")
        told = ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "nothing found"
        typer.echo(f"{what}: {told}")
    if counts[Severity.ERROR]:
        raise typer.Exit(FOUND)

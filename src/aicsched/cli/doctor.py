"""``aicsched doctor``: what would go wrong in a scheduler's configuration."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from aicsched.cli.output import AsJson, emit_json

if TYPE_CHECKING:
    from aicsched.extender.doctor.finding import Finding

FOUND: Final = 3


def doctor(
    file: Annotated[Path, typer.Argument(help="A KubeSchedulerConfiguration, or a ConfigMap with one.")],
    nodes: Annotated[
        int | None, typer.Option("--nodes", min=1, help="How many nodes the cluster has; 1,000 by default.")
    ] = None,
    url: Annotated[
        str | None, typer.Option("--url", help="Part of our extender's urlPrefix, where there are several.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what would go wrong with the extenders of a scheduler, and how to mend it.

    Exit code 3 when something would not work or can stop the cluster.
    """
    from aicsched.extender.doctor.entries import check_scheduler
    from aicsched.extender.doctor.finding import sort_findings
    from aicsched.extender.doctor.schedulerfile import read_scheduler_file

    read = read_scheduler_file(file)
    found = sort_findings((*read.findings, *check_scheduler(read.content, nodes=nodes, url=url)))
    _tell(f"{file.name}", found, as_json=as_json)


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

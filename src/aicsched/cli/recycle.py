"""``aicsched recycle``: hardware that could be tagged, repurposed or switched off."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aicsched.cli.options import (
    At,
    Carbon,
    Column,
    FleetFile,
    Kind,
    TimeZone,
    Unit,
    open_carbon,
    open_fleet,
    open_telemetry,
    planning_time,
)  # fmt: skip
from aicsched.cli.output import AsJson, console, emit_json, output_folder, print_table

__all__ = ["app"]

app = typer.Typer(
    help="Recommendations for idle, under-used and obsolete hardware. Nothing is applied.",
    no_args_is_help=True,
)


@app.callback()
def group() -> None:
    """Recommendations for idle, under-used and obsolete hardware. Nothing is applied."""


@app.command("recommend")
def recommend(
    fleet: FleetFile = None,
    telemetry: Annotated[
        str | None, typer.Option("--telemetry", help="Node telemetry, CSV or parquet.")
    ] = None,
    carbon: Carbon = None,
    column: Column = None,
    unit: Unit = None,
    kind: Kind = None,
    time_zone: TimeZone = None,
    at: At = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the dry-run plan file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Recommend what to tag, repurpose or decommission, from 14 days of evidence or more."""
    from aicsched.recycle.plan_file import write_plan
    from aicsched.workflow import recommend_for

    source, sites = (
        open_carbon(carbon, column=column, unit=unit, kind=kind, time_zone=time_zone),
        open_fleet(fleet),
    )
    seen = open_telemetry(telemetry, sites)
    found = recommend_for(sites, seen, source, now_s=planning_time(at, source))
    files = {"plan": str(write_plan(found, output_folder(out) / "recycle-plan.json"))} if out else {}
    if as_json:
        emit_json(
            {"recommendations": [item.as_dict() for item in found], "files": files, "dry_run": True}
            | {"synthetic": sites.synthetic or seen.synthetic}
        )
        return
    rows = [
        (
            item.node,
            item.disposition,
            " .. ".join(f"{value / 1000:.0f}" for value in item.saved_g_per_year),
            (item.refusals or item.reasons)[0],
        )
        for item in found
        if item.disposition != "keep"
    ]
    print_table(
        "Recommendations (dry run)", ("node", "disposition", "saves [kg a year] low .. high", "why"), rows
    )
    console().print(f"{len(found) - len(rows)} of {len(found)} nodes are best kept as they are.")
    for path in files.values():
        console().print(f"plan file: {path}")

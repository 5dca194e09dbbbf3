"""``aicsched demo``: the main job on the embedded sample, offline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aicsched.cli.output import AsJson, ConfigFile, console, emit_json, output_folder, print_table

if TYPE_CHECKING:
    from aicsched.demo import DemoRun

__all__ = ["demo"]


def demo(
    out: Annotated[
        Path, typer.Option("--out", help="Folder for the report, the ledger and the plan.")
    ] = Path("aicsched-demo"),
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Run signals, forecast, score, plan, ledger and report on the embedded sample."""
    from aicsched.cli.progress import stages
    from aicsched.config import load_settings
    from aicsched.demo import demo_summary, run_demo
    from aicsched.publish import save_plan

    settings = load_settings(config)
    folder = output_folder(out)
    with stages(quiet=as_json) as progress:
        made = run_demo(settings, progress=progress)
        progress("write")
        files = save_plan(made.run, folder, data=made.data)
    if as_json:
        emit_json(demo_summary(made) | {"files": files})
        return
    _print(made, files)


def _print(made: DemoRun, files: dict[str, str]) -> None:
    from aicsched.cli.plan import print_plan
    from aicsched.score.explain import explain
    from aicsched.slots import format_time

    run = made.run
    fleet = run.fleet
    sites = f"{len(fleet.regions)} regions, {len(fleet.nodes)} nodes, {len(fleet.backends)} special backends"
    read = f"{len(run.series)} grid zones × {made.past_days} days, {sites}, {len(run.jobs)} jobs"
    console().print(f"Read: {read}; planned at {format_time(run.at_s)}.\n")
    rows = [
        (
            zone,
            " / ".join(f"{value:.1f}" for value in item.mape),
            f"{sum(item.coverage80) / len(item.coverage80):.0%}",
        )
        for zone, item in made.accuracy.zones.items()
    ]
    title = f"Forecast accuracy on the last {made.accuracy.origins} days ({made.accuracy.model})"
    print_table(title, ("zone", "MAPE by lead day [%]", "80 % band held"), rows)
    print_plan(run)
    console().print("\nWhere a request of 8 vCPUs for 4 h would go:")
    console().print(f"  best   {explain(made.nodes[0])}")
    console().print(f"  worst  {explain(made.nodes[-1])}")
    console().print(f"  {explain(made.nodes[0], made.nodes[-1])}\n")
    for name, path in files.items():
        console().print(f"{name:>7}  {path}")

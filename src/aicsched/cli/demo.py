"""``aicsched demo``: the main job on the embedded sample, offline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aicsched.cli.output import AsJson, ConfigFile, console, emit_json, output_folder, print_table

if TYPE_CHECKING:
    from aicsched.workflow import DemoRun

__all__ = ["demo"]


def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for the report, the ledger and the plan.")] = Path("aicsched-demo"),
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Run signals, forecast, score, plan, ledger and report on the embedded sample."""
    from aicsched.cli.progress import stages
    from aicsched.config import load_settings
    from aicsched.workflow import run_demo, save_plan, summary

    settings = load_settings(config)
    folder = output_folder(out)
    with stages(quiet=as_json) as progress:
        made = run_demo(settings=settings, progress=progress)
        progress("write")
        files = save_plan(made.run, folder, extras=made.extras)
    if as_json:
        emit_json(summary(made.run) | {"files": files, "accuracy": accuracy_dict(made)})
        return
    _print(made, files)

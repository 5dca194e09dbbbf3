"""``aicsched config``: what is set, and by what."""

from __future__ import annotations

import typer

from aicsched.cli.output import AsJson, ConfigFile, emit_json, print_table

app = typer.Typer(help="Settings and where they come from.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Settings and where they come from."""


@app.command("show")
def show(config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Show each setting's value and where it comes from."""
    from aicsched.config import origins

    found = origins(config)
    if as_json:
        emit_json({"settings": {item.name: {"value": item.value, "source": item.source} for item in found}})
        return
    print_table(
        "Settings",
        ("setting", "value", "from"),
        [(item.name, str(item.value), item.source) for item in found],
    )

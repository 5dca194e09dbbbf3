"""``aicsched schema``: what a file must look like, with an example."""

from __future__ import annotations

from typing import Annotated

import typer

from aicsched.cli.output import AsJson, emit_json


def schema(
    name: Annotated[
        str | None,
        typer.Argument(help="carbon, cloud-regions, fleet, jobs, machines, pods, …; none: a list of all."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what an input file must look like, with an example."""
    from aicsched.errors import InputError, did_you_mean
    from aicsched.fleet.schemas import SCHEMAS, as_dict, render

    if name is not None and name not in SCHEMAS:
        msg = f"there is no schema '{name}'"
        raise InputError(msg, hint=did_you_mean(name, SCHEMAS), value=name)
    chosen = [SCHEMAS[name]] if name else list(SCHEMAS.values())
    if as_json:
        emit_json({"schemas": {item.name: as_dict(item) for item in chosen}})
    elif name:
        typer.echo(render(chosen[0]))
    else:
        typer.echo("\n".join(f"aicsched schema {item.name}" for item in chosen))

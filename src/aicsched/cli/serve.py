"""``aicsched serve``: the Kubernetes scheduler extender over HTTP."""

from __future__ import annotations

from typing import Annotated

import typer

from aicsched.cli.output import ConfigFile
from aicsched.errors import ConfigError


def serve(
    sample: Annotated[bool, typer.Option("--sample", help="Serve the embedded sample on loopback.")] = False,
    port: Annotated[int | None, typer.Option("--port", help="Port; 0 takes a free one.")] = None,
    host: Annotated[
        str | None, typer.Option("--host", help="Address; plain HTTP is for loopback only.")
    ] = None,
    config: ConfigFile = None,
) -> None:
    """Answer kube-scheduler's filter and prioritize calls."""
    from aicsched.config import load_settings
    from aicsched.extender.server import serve_sample

    if not sample:
        msg = "live signals for the extender are not built yet"
        raise ConfigError(msg, hint="use --sample to serve the embedded sample")
    settings = load_settings(config, host=host, port=port)
    serve_sample(settings.port, host=settings.host)

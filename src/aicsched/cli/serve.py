"""``aicsched serve``: the Kubernetes scheduler extender over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from aicsched.cli.output import ConfigFile

if TYPE_CHECKING:
    from aicsched.config import Settings
    from aicsched.config.extender import ExtenderSettings


def serve(
    sample: Annotated[bool, typer.Option("--sample", help="Serve the embedded sample on loopback.")] = False,
    port: Annotated[int | None, typer.Option("--port", help="Port; 0 takes a free one.")] = None,
    host: Annotated[
        str | None, typer.Option("--host", help="Address; plain HTTP is for loopback only.")
    ] = None,
    config: ConfigFile = None,
) -> None:
    """Answer kube-scheduler's calls, from a cluster's live signals or from the embedded sample."""
    from aicsched.config import load_settings
    from aicsched.extender.server import serve_sample

    settings = load_settings(config, host=host, port=port)
    if sample:
        serve_sample(settings.port, host=settings.host)
    else:
        _serve_live(settings)


def _connected(own: ExtenderSettings) -> object:
    from aicsched.errors import ConfigError
    from aicsched.fleet.kubernetes.watch import connect

    try:
        return connect(kubeconfig=own.kubeconfig, context=own.context)
    except ConfigError as error:
        error.hint = f"{error.hint}; `aicsched serve --sample` needs none"
        raise


def _serve_live(settings: Settings) -> None:
    import logging

    from aicsched.extender.app import ExtenderApp
    from aicsched.extender.live.service import LiveService
    from aicsched.extender.server import serve
    from aicsched.extender.settings import limits_of, trust_of
    from aicsched.fleet.kubernetes.bind import PodBinder

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # It logs each failure with its traceback; the watch says the same in one line.
    logging.getLogger("kubernetes").propagate = False
    own = settings.extender
    api = _connected(own)
    service = LiveService(settings, api=api)
    trust = trust_of(own, service.metrics.registry)
    app = ExtenderApp(
        service.holder,
        metrics=service.metrics,
        limits=limits_of(own),
        binder=PodBinder(api=api) if own.bind else None,
        preempt=own.preempt,
        checks=service.checks(),
    )
    with service:
        serve(
            app,
            port=settings.port,
            host=settings.host,
            trust=trust,
            probes_port=own.metrics_port,
            probes_host=own.metrics_host,
        )

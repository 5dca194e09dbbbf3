"""``aicsched gates``: defer marked pods and Jobs to cleaner hours."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aicsched.cli.output import AsJson, ConfigFile, console, emit_json, print_table

if TYPE_CHECKING:
    from aicsched.config import Settings
    from aicsched.extender.gates.once import Look

__all__ = ["gates"]


def gates(
    once: Annotated[
        bool, typer.Option("--once", help="Look once, tell what would be done, and write nothing.")
    ] = False,
    end: Annotated[
        bool, typer.Option("--release-all", help="Release everything that waits, now, and leave.")
    ] = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Hold marked pods and suspended Jobs back until their grid is cleaner, never past their latest start."""
    from aicsched.cli.options import open_store
    from aicsched.config import load_settings
    from aicsched.errors import ConfigError
    from aicsched.fleet.kubernetes.watch import connect
    from aicsched.signals.precedence import open_merged

    settings = load_settings(config)
    if once and end:
        msg = "--once writes nothing, and --release-all writes"
        raise ConfigError(msg, hint="leave one of them out")
    if as_json and not (once or end):
        msg = "--json tells what one look found"
        raise ConfigError(msg, hint="add --once or --release-all, or leave out --json")
    api = connect(kubeconfig=settings.extender.kubeconfig, context=settings.extender.context)
    if end:
        _end(settings, api, as_json=as_json)
        return
    carbon = open_merged(settings.signals, store=open_store(settings.signals, None))
    if once:
        from aicsched.extender.gates.once import look_once

        looks, note = look_once(settings, api, carbon)
        _tell(looks, note, as_json=as_json)
        return
    _run(settings, api, carbon)


def _end(settings: Settings, api: Any, *, as_json: bool) -> None:  # noqa: ANN401 - as made above
    from aicsched.extender.gates.ending import release_all

    ended = release_all(api, settings.gates)
    if as_json:
        emit_json({"released": list(ended.released), "failed": list(ended.failed)})
    else:
        typer.echo(f"{len(ended.released)} pods and Jobs released")
        for said in ended.failed:
            typer.echo(f"still waits: {said}", err=True)
    if ended.failed:
        raise typer.Exit(3)


def _run(settings: Settings, api: Any, carbon: Any) -> None:  # noqa: ANN401 - as made above
    import logging

    from aicsched.extender.gates.service import Service, trust_of_gates
    from aicsched.extender.server import serve

    # A server's log goes to standard error, for whoever collects it.
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    service = Service(settings, api, carbon)
    own = settings.extender
    app = service.app(settle_s=own.settle_s, drain_s=own.drain_s)
    service.start()
    try:
        serve(
            app,
            port=settings.gates.port,
            host=settings.gates.host,
            trust=trust_of_gates(settings, service.metrics),
            probes_port=settings.gates.metrics_port,
            probes_host=settings.gates.metrics_host,
            announce=_announce,
        )
    finally:
        service.stop()


def _announce(text: str) -> None:
    sys.stdout.write(f"aicsched gates listens on {text}\n")
    sys.stdout.flush()


def _tell(looks: list[Look], note: str, *, as_json: bool) -> None:
    from aicsched.slots import format_time
    from aicsched.units import format_mass

    if as_json:
        rows = [
            {
                "kind": look.work.kind,
                "namespace": look.work.namespace,
                "name": look.work.name,
                "start": format_time(int(look.start_s)),
                "latest_start": format_time(int(look.work.terms.latest_s)),
                "now": look.now,
                "reason": look.reason,
                "saving_g": None if math.isnan(look.saving_g) else look.saving_g,
            }
            for look in looks
        ]
        emit_json({"waiting": rows, "note": note})
        return
    table = [
        (
            f"{look.work.kind} {look.work.subject}",
            "now" if look.now else format_time(int(look.start_s)),
            format_time(int(look.work.terms.latest_s)),
            "unknown" if math.isnan(look.saving_g) else format_mass(look.saving_g),
            look.reason,
        )
        for look in looks
    ]
    print_table(f"{len(looks)} pods and Jobs wait", ("work", "starts", "latest", "saves", "why"), table)
    if note:
        console().print(f"note: {note}")

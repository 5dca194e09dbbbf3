"""``aicsched signals telemetry``: what nodes did, from Prometheus into a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aicsched.cli.output import AsJson, emit_json, print_table

if TYPE_CHECKING:
    from aicsched.domain.telemetry import Telemetry
    from aicsched.signals.prometheus.read import PrometheusTelemetry
    from aicsched.signals.prometheus.server import PrometheusServer
    from aicsched.slots import SlotGrid


def telemetry(
    prometheus: Annotated[str, typer.Option("--prometheus", metavar="URL", help="Address of the server.")],
    out: Annotated[Path, typer.Option("--out", help="The file to write (CSV).")],
    since: Annotated[str | None, typer.Option("--from", metavar="ISO", help="Start, with offset.")] = None,
    to: Annotated[str | None, typer.Option("--to", metavar="ISO", help="End, with offset.")] = None,
    hours: Annotated[float, typer.Option("--hours", min=0, help="Or the newest hours that are over.")] = 24,
    step: Annotated[str, typer.Option("--step", help="Length of a slot, e.g. 5m or 1h.")] = "1h",
    field: Annotated[
        list[str] | None,
        typer.Option("--field", help="More than CPU, network and memory: power_w, ready_share, … or all."),
    ] = None,
    match: Annotated[
        list[str] | None, typer.Option("--match", metavar="LABEL=VALUE", help="A label of all series.")
    ] = None,
    job: Annotated[
        list[str] | None,
        typer.Option("--job", metavar="EXPORTER=JOB", help="The job of node, kube, kepler or app."),
    ] = None,
    queries: Annotated[
        Path | None, typer.Option("--queries", help="Queries that replace ours (TOML, docs/signals.md).")
    ] = None,
    latency_metric: Annotated[
        str, typer.Option("--latency-metric", help="Histogram of response times [s], without _bucket.")
    ] = "http_request_duration_seconds",
    scrape: Annotated[str, typer.Option("--scrape", help="Longest time between samples.")] = "60s",
    token_file: Annotated[Path | None, typer.Option("--token-file", help="File with a bearer token.")] = None,
    ca_file: Annotated[Path | None, typer.Option("--ca-file", help="Authorities to trust (PEM).")] = None,
    cert_file: Annotated[Path | None, typer.Option("--cert-file", help="Our certificate (PEM).")] = None,
    key_file: Annotated[Path | None, typer.Option("--key-file", help="Its key (PEM).")] = None,
    as_json: AsJson = False,
) -> None:
    """Read node telemetry from Prometheus into a file that --telemetry takes."""
    from aicsched.files import write_text
    from aicsched.signals.prometheus.queries import QUERIES, read_queries
    from aicsched.signals.prometheus.read import ALWAYS, PrometheusTelemetry
    from aicsched.signals.telemetry_file import telemetry_to_csv
    from aicsched.units import parse_duration_s

    known = QUERIES if queries is None else read_queries(queries)
    source = PrometheusTelemetry(
        _server(prometheus, token_file, ca_file, cert_file, key_file),
        match=_pairs("--match", match),
        jobs=_pairs("--job", job),
        queries=known,
        latency_metric=latency_metric,
        scrape_s=int(parse_duration_s(scrape)),
    )
    window = _window(source, since, to, hours, int(parse_duration_s(step)))
    wanted = [name for name in known if name not in ALWAYS] if field and "all" in field else field or []
    read = source.read(window, wanted)
    write_text(out, telemetry_to_csv(read))
    _show(read, out, as_json=as_json)


def _pairs(option: str, texts: list[str] | None) -> dict[str, str]:
    from aicsched.errors import ConfigError

    made: dict[str, str] = {}
    for text in texts or ():
        name, sign, value = text.partition("=")
        if not (sign and name and value):
            msg = f"{option} {text} is no pair"
            raise ConfigError(msg, hint=f"write {option} NAME=VALUE", value=text)
        made[name] = value
    return made


def _server(
    url: str, token_file: Path | None, ca_file: Path | None, cert_file: Path | None, key_file: Path | None
) -> PrometheusServer:
    from aicsched.errors import ConfigError
    from aicsched.signals.prometheus.server import PrometheusServer
    from aicsched.signals.transport import Secret, Tls

    token = None
    if token_file is not None:
        try:
            token = Secret(token_file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            msg = f"the file of a token, '{token_file}', can't be read ({type(error).__name__})"
            raise ConfigError(msg, hint="check the path and its rights", value=str(token_file)) from None
    tls = Tls(ca_file=ca_file, cert_file=cert_file, key_file=key_file)
    return PrometheusServer(url, token=token, tls=tls)


def _window(
    source: PrometheusTelemetry, since: str | None, to: str | None, hours: float, step_s: int
) -> SlotGrid:
    from aicsched.errors import ConfigError
    from aicsched.slots import HOUR_S, SlotGrid

    if (since is None) != (to is None):
        msg = "--from and --to come together"
        raise ConfigError(msg, hint="give both, or --hours")
    if since is not None and to is not None:
        return SlotGrid.from_times(since, to, step_s=step_s)
    return source.last_slots(max(1, round(hours * HOUR_S / step_s)), step_s)


def _show(read: Telemetry, out: Path, *, as_json: bool) -> None:
    import numpy as np

    from aicsched.domain.telemetry import TOPS
    from aicsched.slots import format_time

    known: dict[str, float] = {}
    means: dict[str, float] = {}
    for name in TOPS:
        values: Any = getattr(read, name)
        if values is not None:
            told = values[~np.isnan(values)]
            known[name], means[name] = float(told.size / max(values.size, 1)), float(told.mean())
    start, end = format_time(read.slots.start_s), format_time(read.slots.end_s)
    if as_json:
        payload = {
            "source": read.source,
            "file": str(out),
            "from": start,
            "to": end,
            "nodes": len(read.nodes),
        }
        emit_json({**payload, "slots": len(read.slots), "known_share": known, "mean": means})
        return
    rows = [(name, f"{share:.1%}", f"{means[name]:.4g}") for name, share in known.items()]
    title = f"{len(read.nodes)} nodes, {len(read.slots)} slots from {start} to {end}, in {out}"
    print_table(title, ("array", "known", "mean of what is"), rows)

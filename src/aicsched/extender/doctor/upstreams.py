"""Checks of what tells the extender: carbon sources and Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aicsched.errors import AicschedError, did_you_mean
from aicsched.extender.doctor.cluster import skew_finding
from aicsched.extender.doctor.finding import Finding, Severity
from aicsched.signals.precedence import open_merged
from aicsched.signals.prometheus.queries import QUERIES
from aicsched.signals.prometheus.read import PrometheusTelemetry
from aicsched.signals.prometheus.server import PrometheusServer
from aicsched.signals.staleness import Staleness, newest_end_s, staleness_of
from aicsched.signals.transport import Secret
from aicsched.slots import HOUR_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from aicsched.config.extender import ExtenderSettings
    from aicsched.config.signals import SignalSettings
    from aicsched.domain.telemetry import Telemetry
    from aicsched.signals.clock import Clock

__all__ = ["check_carbon", "check_prometheus"]

_SEVERITIES: Final = {
    Staleness.FRESH: Severity.OK,
    Staleness.DEGRADED: Severity.WARNING,
    Staleness.NEUTRAL: Severity.ERROR,
}
_AWAY: Final = "unavailable:"
# Of these the extender makes scores even where the others are missing.
_NEEDED: Final = ("cpu_share", "memory_share", "network_mb")
_SEEN_SLOTS: Final = 3


def _failed(code: str, where: str, error: AicschedError) -> Finding:
    return Finding(code=code, severity=Severity.ERROR, where=where, message=error.message, fix=error.hint)


def check_carbon(
    settings: SignalSettings, zones: Iterable[str], now_s: Callable[[], float], *, clock: Clock | None = None
) -> Iterator[Finding]:
    """Ask the declared sources for each zone, and tell how fresh the answer is.

    Parameters
    ----------
    settings : SignalSettings
        With sources. Nothing is stored.
    zones : iterable of str
        Electricity zones of the nodes.
    now_s : callable
        The clock: seconds since the epoch.
    clock : Clock, optional
        Of the transport.

    Yields
    ------
    Finding
        One a zone.
    """
    try:
        merged = open_merged(settings, clock=clock)
    except AicschedError as error:
        yield _failed("no-source", "signals.order", error)
        return
    for zone in sorted(set(zones)):
        where = f"carbon of {zone}"
        try:
            series = merged.read(zone)
        except AicschedError as error:
            yield _failed("carbon", where, error)
            continue
        at_s, newest_s = now_s(), newest_end_s(series)
        state = staleness_of(series, at_s)
        away = [flag.removeprefix(_AWAY) for flag in series.flags if flag.startswith(_AWAY)]
        age = (
            "nothing measured"
            if newest_s is None
            else f"newest hour ended {(at_s - newest_s) / 60:.0f} min ago"
        )
        without = f"; without {', '.join(away)}" if away else ""
        severity = _SEVERITIES[state]
        if away and severity is Severity.OK:
            severity = Severity.WARNING
        yield Finding(
            code="carbon",
            severity=severity,
            where=where,
            message=f"{state} by {series.source}: {age}{without}",
            fix=""
            if severity is Severity.OK
            else "see `aicsched signals status`, and tokens and rights of the source",
        )


def check_prometheus(
    settings: ExtenderSettings, nodes: Sequence[str], now_s: Callable[[], float]
) -> Iterator[Finding]:
    """Check that Prometheus has the metrics that scores stand on, and that they are of these nodes.

    Parameters
    ----------
    settings : ExtenderSettings
        With the server's address; without one, that is told.
    nodes : sequence of str
        Names in the cluster.
    now_s : callable
        The clock: seconds since the epoch.

    Yields
    ------
    Finding
        Its clock, one a group of metrics, and the nodes without any.
    """
    if settings.prometheus is None:
        yield Finding(
            code="no-prometheus",
            severity=Severity.WARNING,
            where="extender.prometheus",
            message="none is set: the load of all nodes is unknown, and risk is a guess",
            fix='write [extender] prometheus = "https://…"',
        )
        return
    try:
        server = PrometheusServer(settings.prometheus, token=_token(settings))
        telemetry = PrometheusTelemetry(server)
        yield skew_finding(server.source, now_s() - server.now_s())
        window = telemetry.last_slots(_SEEN_SLOTS, HOUR_S)
        known = set(server.values_of("__name__", window))
    except AicschedError as error:
        yield _failed("prometheus", "extender.prometheus", error)
        return
    yield from _metrics(server.source, known)
    try:
        seen = telemetry.read(window)
    except AicschedError as error:
        yield _failed("load", server.source, error)
        return
    yield _covered(server.source, seen, nodes)


def _token(settings: ExtenderSettings) -> Secret | None:
    path = settings.prometheus_token_file
    return None if path is None else Secret(path.read_text(encoding="utf-8").strip())


def _metrics(source: str, known: set[str]) -> Iterator[Finding]:
    for name, query in QUERIES.items():
        # Templates stand for names that users choose.
        missing = [metric for metric in query.metrics if "$" not in metric and metric not in known]
        if not missing:
            continue
        needed = name in _NEEDED
        yield Finding(
            code="metric",
            severity=Severity.ERROR if needed else Severity.INFO,
            where=source,
            message=f"it has no {', '.join(missing)}, which {name} stands on",
            fix=did_you_mean(missing[0], known) if needed else "",
        )


def _covered(source: str, seen: Telemetry, nodes: Sequence[str]) -> Finding:
    without = sorted(set(nodes) - set(seen.nodes))
    if not without:
        return Finding(
            code="load",
            severity=Severity.OK,
            where=source,
            message=f"it knows the load of all {len(nodes)} nodes",
        )
    strangers = sorted(set(seen.nodes) - set(nodes))
    alike = f"; it knows {strangers[0]}, for example, which is no node here" if strangers else ""
    return Finding(
        code="load",
        severity=Severity.ERROR if len(without) == len(nodes) else Severity.WARNING,
        where=source,
        message=f"it doesn't know the load of {len(without)} of {len(nodes)} nodes, e.g. {without[0]}{alike}",
        fix="run node_exporter on each, and label its series by node (docs/signals.md)",
    )

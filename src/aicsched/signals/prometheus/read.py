"""Telemetry of nodes from Prometheus, chunk by chunk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from aicsched.domain.telemetry import OPTIONAL, TOPS, Telemetry
from aicsched.errors import ConfigError, SignalGap, SignalInvalid, SlotError, did_you_mean
from aicsched.observe import get_logger
from aicsched.signals.prometheus.machines import (
    COVERED_SHARE,
    Machines,
    Row,
    coverage_expr,
    key_of,
    laid,
    span,
)
from aicsched.signals.prometheus.queries import BY, EXPORTERS, QUERIES, fill, matchers
from aicsched.signals.prometheus.server import MOST_POINTS, TooMuch
from aicsched.slots import SlotGrid, format_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from aicsched.signals.prometheus.queries import Query
    from aicsched.signals.prometheus.server import PrometheusServer

__all__ = ["ALWAYS", "PrometheusTelemetry"]

# What every scorer needs, and any node_exporter has.
ALWAYS: Final = tuple(name for name in TOPS if name not in OPTIONAL)
# So many points make some 8 MB of an answer.
_POINTS_A_CHUNK: Final = 250_000
_FIRST_CHUNK: Final = 48
# Rates are drawn out to the ends of a slot, and a share of nearly all can come out as a little more.
_OVER_SHARE: Final = 0.02
_log = get_logger("signals.prometheus")


class PrometheusTelemetry:
    """What nodes did, as Prometheus has it.

    Parameters
    ----------
    server : PrometheusServer
        Whom to ask.
    match : mapping of str to str, optional
        Labels that all series must have, such as ``cluster``.
    jobs : mapping of str to str, optional
        The ``job`` of an exporter (node, kube, kepler, app), where several scrape the same machines.
    queries : mapping of str to Query, optional
        What to ask, by array; by default `aicsched.signals.prometheus.queries.QUERIES`.
    latency_metric : str
        Name of the histogram of response times [s], without ``_bucket``.
    scrape_s : int
        Longest time between two samples [s].
    chunk : int, optional
        Most slots a request; by default as many as make a few megabytes.

    Raises
    ------
    ConfigError
        A label's or an exporter's name is none, or a number is not positive.
    """

    def __init__(
        self,
        server: PrometheusServer,
        *,
        match: Mapping[str, str] | None = None,
        jobs: Mapping[str, str] | None = None,
        queries: Mapping[str, Query] = QUERIES,
        latency_metric: str = "http_request_duration_seconds",
        scrape_s: int = 60,
        chunk: int | None = None,
    ) -> None:
        if scrape_s < 1 or (chunk is not None and not 1 <= chunk <= MOST_POINTS):
            msg = f"scrape_s is {scrape_s} and chunk {chunk}"
            raise ConfigError(msg, hint=f"use a positive scrape_s, and 1 to {MOST_POINTS} slots a chunk")
        wrong = [name for name in jobs or {} if name not in EXPORTERS]
        if wrong:
            msg = f"'{wrong[0]}' is no exporter"
            raise ConfigError(msg, hint=did_you_mean(wrong[0], EXPORTERS), value=wrong[0])
        self._server = server
        self._match = dict(match or {})
        self._queries = queries
        self._scrape_s = scrape_s
        self._chunk = chunk
        self._values = {"latency": latency_metric}
        for exporter in EXPORTERS:
            job = {"job": jobs[exporter]} if jobs and exporter in jobs else {}
            self._values[exporter] = matchers(self._match | job)

    def last_slots(self, count: int, step_s: int) -> SlotGrid:
        """Return the newest slots that are over.

        Parameters
        ----------
        count : int
            How many.
        step_s : int
            How long each is [s].

        Returns
        -------
        SlotGrid
            On multiples of the step; it ends by the server's clock.
        """
        end_s = int(self._server.now_s()) // step_s * step_s
        return SlotGrid(end_s - count * step_s, step_s, count)

    def read(self, window: SlotGrid, fields: Iterable[str] = ()) -> Telemetry:
        """Read telemetry.

        Parameters
        ----------
        window : SlotGrid
            Which slots. One that isn't over yet is unknown.
        fields : iterable of str
            Arrays of `Telemetry` to have beside CPU, network and memory.

        Returns
        -------
        Telemetry
            Nodes in the order of their names; NaN where less than nine tenths of a slot was seen.

        Raises
        ------
        SignalGap
            There is no such metric, or nothing of it in the window: it is named, with names near it.
        SignalInvalid
            Two series say different things of one node, or a value can't be true.
        SourceUnavailable, ConfigError
            The server can't be reached, or refuses the token.
        """
        wanted = self._wanted(fields)
        over = (int(self._server.now_s()) - window.start_s) // window.step_s
        over = min(len(window), over)
        if over < 1:
            msg = f"no slot from {format_time(window.start_s)} on is over yet"
            raise SlotError(msg, hint="ask for an earlier window", value=window.start_s)
        self._refuse_missing(wanted, window)
        found = _Found(window, self._server.source)
        done, size = 0, self._chunk or min(_FIRST_CHUNK, MOST_POINTS)
        while done < over:
            part = SlotGrid(window.start_s + done * window.step_s, window.step_s, min(size, over - done))
            try:
                most = self._read_part(part, wanted, found)
            except TooMuch:
                if len(part) == 1:
                    raise
                size = len(part) // 2
                continue
            done += len(part)
            if self._chunk is None:
                size = int(np.clip(_POINTS_A_CHUNK // max(most, 1), 1, MOST_POINTS))
        self._refuse_empty(wanted, found, window)
        return found.telemetry(wanted)

    def _wanted(self, fields: Iterable[str]) -> dict[str, Query]:
        names = dict.fromkeys((*ALWAYS, *fields))
        for name in names:
            if name not in self._queries:
                msg = f"there is no query for '{name}'"
                raise ConfigError(msg, hint=did_you_mean(name, self._queries), value=name)
        return {name: self._queries[name] for name in names}

    def _metrics(self, query: Query) -> tuple[str, ...]:
        return tuple(fill(name, self._values) for name in query.metrics)

    def _refuse_missing(self, wanted: Mapping[str, Query], window: SlotGrid) -> None:
        known = set(self._server.values_of("__name__", window))
        for name, query in wanted.items():
            for metric in self._metrics(query):
                if metric not in known:
                    msg = f"{self._server.source} has no metric '{metric}', which {name} stands on"
                    raise SignalGap(
                        msg, hint=f"{did_you_mean(metric, known)} (or set the query)", value=metric
                    )

    def _ask(self, template: str, part: SlotGrid, by: tuple[str, ...] = BY) -> list[Row]:
        here = {"slot": span(part.step_s), "by": ", ".join(by)}
        series = self._server.at_ends(fill(template, self._values | here), part)
        return [laid(each, part, self._server.source) for each in series]

    def _read_part(self, part: SlotGrid, wanted: Mapping[str, Query], found: _Found) -> int:
        """Read all arrays of one chunk; return how many series the largest answer held."""
        machines = Machines(part, before=found.addresses)
        most = 0
        for witness, by in dict.fromkeys((query.witness, query.by) for query in wanted.values()):
            expr = coverage_expr(witness, (*by, "nodename"), part.step_s, self._scrape_s)
            rows = self._ask(expr, part)
            machines.add_coverage((witness, by), rows)
            most = max(most, len(rows))
        addresses = coverage_expr(
            "kube_node_info{$kube}", ("node", "internal_ip"), part.step_s, self._scrape_s
        )
        machines.add_addresses(self._ask(addresses, part))
        found.addresses = machines.last_addresses()
        # Laid when all of the chunk is there: one that is too large is asked for again, in parts.
        answers = {name: self._ask(query.expr, part, query.by) for name, query in wanted.items()}
        for name, answer in answers.items():
            query = wanted[name]
            most = max(most, len(answer))
            for row in answer:
                seen = machines.covered((query.witness, query.by), row.metric)
                found.add(name, part, row, machines.names(row.metric), seen)
        return most

    def _refuse_empty(self, wanted: Mapping[str, Query], found: _Found, window: SlotGrid) -> None:
        for name, query in wanted.items():
            if found.has(name):
                continue
            span = f"{format_time(window.start_s)} to {format_time(window.end_s)}"
            metrics = ", ".join(self._metrics(query))
            if name in found.seen:
                what = f"less than {COVERED_SHARE:.0%} of every slot was seen"
                msg = f"{self._server.source}: no {name} from {span}: {what} of '{query.witness}'"
                raise SignalGap(
                    msg, hint="set scrape_s to the time between samples, or take longer slots", value=name
                )
            msg = f"{self._server.source} has nothing of {metrics} from {span}, which {name} stands on"
            raise SignalGap(msg, hint=self._near_labels(window), value=name)

    def _near_labels(self, window: SlotGrid) -> str:
        for label, value in self._match.items():
            known = self._server.values_of(label, window)
            if value not in known:
                return f"no {label} is '{value}': {did_you_mean(value, known)}"
        return "check the window, the labels to match and the jobs"


class _Found:
    """The arrays as they grow: a row for each node that turns up."""

    def __init__(self, window: SlotGrid, source: str) -> None:
        self._window = window
        self._source = source
        self._rows: dict[str, dict[str, NDArray[np.float64]]] = {}
        self.seen: set[str] = set()
        self.addresses: dict[str, str] = {}

    def has(self, name: str) -> bool:
        return bool(self._rows.get(name))

    def add(
        self, name: str, part: SlotGrid, found: Row, nodes: NDArray[np.object_], seen: NDArray[np.bool_]
    ) -> None:
        values = found.values
        if TOPS[name] == 1.0:
            values = np.where((values > 1.0) & (values <= 1.0 + _OVER_SHARE), 1.0, values)
        told = ~np.isnan(values)
        if told.any():
            self.seen.add(name)
        told &= seen
        start = (part.start_s - self._window.start_s) // part.step_s
        for node in dict.fromkeys(nodes[told]):
            if not node:
                continue
            mine = told & (nodes == node)
            rows = self._rows.setdefault(name, {})
            row = rows.setdefault(node, np.full(len(self._window), np.nan))[start : start + len(part)]
            twice = mine & ~np.isnan(row)
            if twice.any():
                self._refuse_twice(name, node, part, int(np.argmax(twice)), found)
            row[mine] = values[mine]

    def _refuse_twice(self, name: str, node: str, part: SlotGrid, slot: int, found: Row) -> None:
        when = format_time(part.start_s + slot * part.step_s)
        labels = ", ".join(f"{label}={value}" for label, value in key_of(found.metric, BY))
        msg = f"{self._source}: two series say {name} of node '{node}' at {when}, one of them {labels}"
        raise SignalInvalid(msg, hint="choose one by a label to match, or by the exporter's job", value=node)

    def telemetry(self, wanted: Sequence[str] | Mapping[str, Any]) -> Telemetry:
        nodes = tuple(sorted(set().union(*self._rows.values())))
        arrays: dict[str, Any] = {}
        for name in wanted:
            rows = self._rows.pop(name)
            made = np.full((len(nodes), len(self._window)), np.nan)
            for index, node in enumerate(nodes):
                if node in rows:
                    made[index] = rows[node]
            arrays[name] = made
        return Telemetry(nodes=nodes, slots=self._window, source=self._source, **arrays)

"""Which metrics stand behind each array of telemetry: data, which a user may replace.

Metrics are named as their exporters document them: node_exporter 1.x, kube-state-metrics
2.x and Kepler from 0.10 on, which renamed all it had. A query is a template: ``$slot`` is
the length of a slot, ``$by`` what tells machines apart, ``$node``, ``$kube``, ``$kepler``
and ``$app`` the label matchers of an exporter, and ``$latency`` the name of a histogram.

Each query is evaluated at the end of each slot and looks back over just that slot, which
begins after its first instant: before Prometheus 3.0, the sample of that instant would be
in two slots. What counts is counted, by ``rate`` and ``increase``, which see through resets; what is a state
is averaged over the samples in the slot, never carried on from before it.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, replace
from string import Template
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from aicsched.domain.telemetry import TOPS
from aicsched.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["BY", "EXPORTERS", "QUERIES", "Query", "fill", "label_value", "matchers", "read_queries"]

EXPORTERS: Final = ("node", "kube", "kepler", "app")
# What may tell one machine's series from another's. The job and the replica are no names of machines, but
# two of them for one machine are a fault that must be seen, not added up.
BY: Final = ("node", "node_name", "instance", "job", "cluster", "prometheus_replica")
# Interfaces and disks that carry what others already count.
_VIRTUAL_NICS: Final = (
    "lo|veth.*|cali.*|cilium.*|lxc.*|docker.*|br-.*|cni.*|flannel.*|tunl.*|vxlan.*|virbr.*|tap.*|tun.*|bond.*"
)
_VIRTUAL_DISKS: Final = "dm-.*|md.*|loop.*|ram.*|zram.*|sr.*"
# A pod's place: labelled by namespace, name and uid, so that a pod that came back elsewhere is another one.
_PLACE: Final = (
    "on (namespace, pod, uid) group_left (node) "
    'max by (namespace, pod, uid, node) (max_over_time(kube_pod_info{node!="",$kube}[$slot]))'
)
_BEGUN: Final = "kube_pod_container_status_restarts_total{$kube}"
_LABEL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_NODE: Final = "node_uname_info{$node}"
_KUBE: Final = "kube_node_info{$kube}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """How one array of telemetry is asked for.

    Parameters
    ----------
    field : str
        Of `aicsched.domain.telemetry.Telemetry`.
    expr : str
        PromQL, a template.
    metrics : tuple of str
        Names of the metrics it stands on, templates too: none of them may be missing.
    witness : str
        A selector of series that a machine has whenever it is watched, which tells how much of a slot was
        seen; a template.
    by : tuple of str
        Labels that tell machines apart, in the answer and among the witnesses.
    """

    field: str
    expr: str
    metrics: tuple[str, ...]
    witness: str
    by: tuple[str, ...] = BY


def _query(field: str, witness: str, expr: str, *metrics: str) -> tuple[str, Query]:
    # kube-state-metrics tells of all nodes from one place: only the label node says which.
    by = ("node",) if witness == _KUBE else BY
    return field, Query(field=field, expr=expr, metrics=metrics, witness=witness, by=by)


def _waiting(resource: str) -> tuple[str, str]:
    metric = f"node_pressure_{resource}_waiting_seconds_total"
    return f"sum by ($by) (rate({metric}{{$node}}[$slot]))", metric


def _moved(device: str, first: str, second: str) -> str:
    one, two = (
        f'sum by ($by) (increase({name}{{device!~"{device}",$node}}[$slot]))' for name in (first, second)
    )
    return f"({one} + {two}) / 1e6"


QUERIES: Final[Mapping[str, Query]] = MappingProxyType(
    dict(
        (
            # As node_exporter's own dashboards have it: waiting for I/O and stolen time are no work of ours.
            _query(
                "cpu_share",
                _NODE,
                '1 - sum by ($by) (rate(node_cpu_seconds_total{mode=~"idle|iowait|steal",$node}[$slot]))'
                " / sum by ($by) (rate(node_cpu_seconds_total{$node}[$slot]))",
                "node_cpu_seconds_total",
            ),
            _query(
                "memory_share",
                _NODE,
                "1 - sum by ($by) (avg_over_time(node_memory_MemAvailable_bytes{$node}[$slot]))"
                " / sum by ($by) (avg_over_time(node_memory_MemTotal_bytes{$node}[$slot]))",
                "node_memory_MemAvailable_bytes",
                "node_memory_MemTotal_bytes",
            ),
            _query(
                "network_mb",
                _NODE,
                _moved(
                    _VIRTUAL_NICS, "node_network_receive_bytes_total", "node_network_transmit_bytes_total"
                ),
                "node_network_receive_bytes_total",
                "node_network_transmit_bytes_total",
            ),
            _query(
                "disk_mb",
                _NODE,
                _moved(_VIRTUAL_DISKS, "node_disk_read_bytes_total", "node_disk_written_bytes_total"),
                "node_disk_read_bytes_total",
                "node_disk_written_bytes_total",
            ),
            _query("cpu_stall_share", _NODE, *_waiting("cpu")),
            _query("memory_stall_share", _NODE, *_waiting("memory")),
            _query("io_stall_share", _NODE, *_waiting("io")),
            # From a classic histogram, in seconds: beyond its last bound it knows nothing, so let that
            # be above the objective. The place of a pod is where it spent most of the slot.
            _query(
                "latency_p99_ms",
                _KUBE,
                "1000 * histogram_quantile(0.99, sum by (le, node) ("
                "sum by (le, namespace, pod) (rate(${latency}_bucket{$app}[$slot]))"
                " * on (namespace, pod) group_left (node) (topk by (namespace, pod) (1,"
                ' sum by (namespace, pod, node) (count_over_time(kube_pod_info{node!="",$kube}[$slot])))'
                " > bool 0)))",
                "${latency}_bucket",
                "kube_pod_info",
            ),
            # A node that isn't ready makes nothing ready; one without pods is as ready as itself. Pods
            # that have ended are not waited for.
            _query(
                "ready_share",
                _KUBE,
                "max by (node) (avg_over_time("
                'kube_node_status_condition{condition="Ready",status="true",$kube}[$slot]))'
                " * on (node) (avg by (node) (max by (namespace, pod, uid) ("
                'avg_over_time(kube_pod_status_ready{condition="true",$kube}[$slot])'
                " and on (namespace, pod, uid)"
                ' kube_pod_status_phase{phase=~"Pending|Running|Unknown",$kube} == 1)'
                f" * {_PLACE})"
                " or on (node) max by (node) (max_over_time(kube_node_info{$kube}[$slot])))",
                "kube_node_status_condition",
                "kube_pod_status_ready",
                "kube_pod_status_phase",
                "kube_pod_info",
            ),
            # From the end of the slot before, so that none falls between two slots; where nothing is known of
            # that, what shows within this one.
            _query(
                "restarts",
                _KUBE,
                "round(sum by (node) (max by (namespace, pod, uid, container) ("
                f"clamp_min(last_over_time({_BEGUN}[$slot])"
                f" - last_over_time({_BEGUN}[$slot] offset $slot), 0)"
                f" or increase({_BEGUN}[$slot]))"
                f" * {_PLACE})"
                " or on (node) 0 * max by (node) (max_over_time(kube_node_info{$kube}[$slot])))",
                "kube_pod_container_status_restarts_total",
                "kube_pod_info",
            ),
            # Processor packages and memory by RAPL: not fans, disks and losses of the power supply. The zones
            # core and uncore are parts of package.
            _query(
                "power_w",
                'kepler_node_cpu_joules_total{zone=~"package.*|dram.*",$kepler}',
                'sum by ($by) (rate(kepler_node_cpu_joules_total{zone=~"package.*|dram.*",$kepler}[$slot]))',
                "kepler_node_cpu_joules_total",
            ),
        )
    )
)


def label_value(text: str) -> str:
    r"""Write a label's value as PromQL has it, so that no text can end the quotation.

    Parameters
    ----------
    text : str
        Any.

    Returns
    -------
    str
        In double quotes.

    References
    ----------
    Prometheus, "Query basics", string literals: escapes follow Go's.

    Examples
    --------
    >>> print(label_value('a"} or vector(1) #'))
    "a\"} or vector(1) #"
    """
    made = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(sign if sign.isprintable() else _escaped(sign) for sign in made) + '"'


def _escaped(sign: str) -> str:
    code = ord(sign)
    return f"\\x{code:02x}" if code < 0x80 else f"\\U{code:08x}"


def matchers(labels: Mapping[str, str]) -> str:
    """Write label matchers, for between the braces of a selector.

    Parameters
    ----------
    labels : mapping of str to str
        The values that they must have.

    Returns
    -------
    str
        In the order of their names; "" where there are none.

    Raises
    ------
    ConfigError
        A name is none of a label.

    Examples
    --------
    >>> matchers({"job": "node", "cluster": "prod"})
    'cluster="prod",job="node"'
    """
    for name in labels:
        if not _LABEL.fullmatch(name):
            msg = f"'{name}' can't be the name of a label"
            raise ConfigError(msg, hint="use letters, digits and _, for example cluster=prod", value=name)
    return ",".join(f"{name}={label_value(labels[name])}" for name in sorted(labels))


def fill(template: str, values: Mapping[str, str]) -> str:
    """Put values into a template.

    Parameters
    ----------
    template : str
        With ``$name`` or ``${name}`` where a value goes.
    values : mapping of str to str
        By name.

    Returns
    -------
    str
        PromQL, or the name of a metric.

    Raises
    ------
    ConfigError
        It asks for a value that there is not.

    Examples
    --------
    >>> fill("rate(joules{$node}[$slot])", {"node": 'job="k"', "slot": "3600s"})
    'rate(joules{job="k"}[3600s])'
    """
    try:
        return Template(template).substitute(values)
    except KeyError as error:
        name = str(error.args[0])
        msg = f"the query '{template}' asks for ${name}"
        raise ConfigError(msg, hint=did_you_mean(name, values), value=name) from error
    except ValueError as error:
        msg = f"the query '{template}' has a $ that names nothing"
        raise ConfigError(msg, hint="write $$ for the sign itself", value=template) from error


def read_queries(path: Path, base: Mapping[str, Query] = QUERIES) -> Mapping[str, Query]:
    """Read queries that replace the packaged ones.

    Parameters
    ----------
    path : Path
        TOML: a table for each array of telemetry, such as ``[power_w]``, with ``expr``,
        ``metrics`` (a list) and, where they aren't the packaged ones, ``witness`` and ``by``
        (a list).
    base : mapping of str to Query
        What holds for arrays that the file doesn't name.

    Returns
    -------
    mapping of str to Query
        By array.

    Raises
    ------
    ConfigError
        The file can't be read, or a table, key or value is not of those.
    """
    try:
        tables: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        msg = f"'{path}' can't be read as TOML ({error})"
        raise ConfigError(msg, hint="check the path and that line", value=str(path)) from error
    made = dict(base)
    for field, table in tables.items():
        if field not in TOPS:
            msg = f"'{path.name}': telemetry has no '{field}'"
            raise ConfigError(msg, hint=did_you_mean(field, TOPS), value=field)
        made[field] = _replaced(made[field], table, f"'{path.name}' [{field}]")
    return MappingProxyType(made)


def _replaced(query: Query, table: Any, where: str) -> Query:  # noqa: ANN401 - any TOML
    keys = ("expr", "metrics", "witness", "by")
    if not isinstance(table, dict):
        msg = f"{where} is no table"
        raise ConfigError(msg, hint=f"give {', '.join(keys)}", value=table)
    wrong = [key for key in table if key not in keys]
    if wrong:
        msg = f"{where}: unknown key '{wrong[0]}'"
        raise ConfigError(msg, hint=did_you_mean(wrong[0], keys), value=wrong[0])
    given = {"witness": query.witness, "by": list(query.by)} | table
    for key in keys:
        value = given.get(key)
        whole = value if isinstance(value, list) else [value]
        due = "a list of names" if key in ("metrics", "by") else "PromQL"
        texts = whole and all(isinstance(each, str) and each.strip() for each in whole)
        if not texts or isinstance(value, list) != (due == "a list of names"):
            msg = f"{where}: {key} is not {due}"
            raise ConfigError(msg, hint='write for example metrics = ["my_watts"]', value=value)
    return replace(
        query,
        expr=given["expr"],
        witness=given["witness"],
        metrics=tuple(given["metrics"]),
        by=tuple(given["by"]),
    )

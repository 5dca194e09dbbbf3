# ruff: noqa: FBT003 - a flag's default is a value like others
"""What an operator may set: one table that values.yaml, its schema, the docs and the defaults come from."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tools.deploy.template import write_yaml

__all__ = ["VALUES", "Value", "defaults", "merged", "schema", "table", "values_yaml", "version"]

ROOT: Final = Path(__file__).resolve().parents[2]
_PORT: Final = {"type": "integer", "minimum": 1, "maximum": 65_535}
_TEXT: Final = {"type": "string"}
_WORD: Final = {"type": "string", "minLength": 1}
_NAME: Final = {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]{0,40}[a-z0-9])?$"}
_ANY_NAME: Final = {"type": "string", "pattern": "^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?)?$"}
_FLAG: Final = {"type": "boolean"}
_OBJECTS: Final = {"type": "array", "items": {"type": "object"}}
_OBJECT: Final = {"type": "object"}
_LABELS: Final = {"type": "object", "additionalProperties": {"type": "string"}}
_PRIVATE: Final = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")


def version() -> str:
    """Return the project's version.

    Returns
    -------
    str
        Of pyproject.toml.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["version"])


@dataclass(frozen=True, slots=True)
class Value:
    """One value of the chart.

    Parameters
    ----------
    path : str
        Dotted.
    default : object
        What holds unless it is set.
    about : str
        One sentence.
    schema : dict
        JSON schema of it.
    """

    path: str
    default: Any
    about: str
    schema: dict[str, Any]


def _resources(cpu: str, memory: str, most: str) -> dict[str, Any]:
    return {
        "requests": {"cpu": cpu, "memory": memory},
        "limits": {"memory": most},
    }


def _within(namespace: str) -> dict[str, Any]:
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}


_PULLS: Final = ["Always", "IfNotPresent", "Never"]
_COUNT: Final = {"type": "integer", "minimum": 1}
_MODES: Final = ["service", "hostNetwork", "secondScheduler"]
VALUES: Final = (
    Value("name", "aicsched", "What all objects' names begin with.", _NAME),
    Value(
        "mode",
        "service",
        "How kube-scheduler reaches the extender: by a `service` over mTLS, over loopback on each control "
        "plane node (`hostNetwork`), or in the pod of a `secondScheduler` that pods choose by name.",
        {"enum": _MODES},
    ),
    Value("image.repository", "registry.example.com/aicsched", "Where your registry has the image.", _WORD),
    Value("image.tag", version(), "Its tag.", _WORD),
    Value(
        "image.digest",
        "",
        "Its digest, which counts before the tag.",
        {"type": "string", "pattern": "^(sha256:[0-9a-f]{64})?$"},
    ),
    Value(
        "image.pullPolicy",
        "IfNotPresent",
        "When it is pulled.",
        {"enum": ["Always", "IfNotPresent", "Never"]},
    ),
    Value("imagePullSecrets", [], "Secrets that pull it: `[{name: …}]`.", _OBJECTS),
    Value(
        "replicas",
        2,
        "Extenders behind the service, or second schedulers.",
        {"type": "integer", "minimum": 1},
    ),
    Value("host", "0.0.0.0", "Address that pods listen on; `::` where there is IPv6.", _WORD),  # noqa: S104
    Value("port", 8443, "Port of the extender's verbs.", _PORT),
    Value("metricsPort", 9443, "Port of probes and metrics.", _PORT),
    Value(
        "settings.extender",
        "",
        'More lines of the table `[extender]`, for example `prometheus = "http://prometheus.monitoring:9090"`.',
        _TEXT,
    ),
    Value(
        "settings.tables",
        "[signals]\norder = []\n",
        "Further tables of aicsched.toml: where signals come from. Without a source all answers are neutral.",
        _TEXT,
    ),
    Value("settings.policies", "", "A policy file; without one the preset `balanced` holds.", _TEXT),
    Value(
        "tokensSecret",
        "",
        "Secret whose keys are mounted at /etc/aicsched/tokens, for `token_file` and the like.",
        _ANY_NAME,
    ),
    Value(
        "tls.secret",
        "aicsched-extender-tls",
        "Secret with `tls.crt` and `tls.key` of the server, and `ca.crt` of those who may call it.",
        _ANY_NAME,
    ),
    Value("tls.certManager", False, "Let cert-manager issue all certificates.", _FLAG),
    Value(
        "tls.clients",
        ["kube-scheduler"],
        "Names that a caller's certificate may have; empty for any that the CA signed.",
        {"type": "array", "items": _WORD},
    ),
    Value("tls.duration", "2160h", "How long they hold.", {"type": "string", "pattern": "^[0-9]+h$"}),
    Value("bind.enabled", False, "Offer the verb bind, and grant its right.", _FLAG),
    Value("gates.enabled", False, "Run `aicsched gates`, which defers pods and Jobs in time.", _FLAG),
    Value("gates.replicas", 2, "How many; one leads.", _COUNT),
    Value("gates.settings", "", "Lines of the table `[gates]`.", _TEXT),
    Value("gates.webhook.enabled", True, "Let a webhook add gates to pods that ask for it.", _FLAG),
    Value("gates.webhook.port", 8444, "Its port.", _PORT),
    Value("gates.webhook.secret", "aicsched-gates-tls", "Secret with its `tls.crt`, `tls.key`.", _ANY_NAME),
    Value(
        "gates.webhook.caBundle",
        "",
        "The CA of that, PEM in base64; empty where cert-manager fills it in.",
        {"type": "string", "pattern": "^[A-Za-z0-9+/=]*$"},
    ),
    Value(
        "gates.resources",
        _resources("50m", "192Mi", "512Mi"),
        "What the gates' container requests, and its limits.",
        _OBJECT,
    ),
    Value(
        "resources",
        _resources("250m", "256Mi", "512Mi"),
        "What the extender's container requests, and its limits; a CPU limit would only add latency.",
        _OBJECT,
    ),
    Value(
        "priorityClass.name",
        "system-cluster-critical",
        "Of all pods; some clouds allow this one in kube-system only.",
        _ANY_NAME,
    ),
    Value("priorityClass.create", False, "Make a class of that name (one of your own, then).", _FLAG),
    Value("priorityClass.value", 1_000_000_000, "Its value.", {"type": "integer", "maximum": 1_000_000_000}),
    Value(
        "schedulerName",
        "default-scheduler",
        "Who places our own pods: not a scheduler that waits for the extender without `ignorable: true`.",
        _WORD,
    ),
    Value("nodeSelector", {"kubernetes.io/os": "linux"}, "Nodes that pods may run on.", _LABELS),
    Value("tolerations", [], "Taints that they tolerate.", _OBJECTS),
    Value(
        "hostNetwork.nodeSelector",
        {"node-role.kubernetes.io/control-plane": ""},
        "Nodes with a kube-scheduler, for the mode `hostNetwork`.",
        _LABELS,
    ),
    Value(
        "hostNetwork.tolerations",
        [{"key": "node-role.kubernetes.io/control-plane", "operator": "Exists", "effect": "NoSchedule"}],
        "Taints of these nodes.",
        _OBJECTS,
    ),
    Value(
        "secondScheduler.image",
        "registry.k8s.io/kube-scheduler:v1.36.3",
        "For the mode `secondScheduler`; of your cluster's own minor version.",
        _WORD,
    ),
    Value("secondScheduler.name", "carbon-scheduler", "What pods say as `schedulerName`.", _NAME),
    Value(
        "secondScheduler.resources",
        _resources("100m", "128Mi", "512Mi"),
        "What that container requests, and its limits.",
        _OBJECT,
    ),
    Value(
        "podDisruptionBudget.minAvailable",
        1,
        "Pods that drains leave running.",
        {"type": ["integer", "string"]},
    ),
    Value("networkPolicy.enabled", True, "Allow only the traffic below.", _FLAG),
    Value(
        "networkPolicy.schedulers",
        [{"ipBlock": {"cidr": block}} for block in _PRIVATE],
        "Peers that may call the verbs; kube-scheduler and the API server are on the hosts' network, so name "
        "the nodes' CIDRs. The private ranges are where you narrow down from.",
        _OBJECTS,
    ),
    Value(
        "networkPolicy.metrics",
        [_within("monitoring")],
        "Peers that may scrape metrics.",
        _OBJECTS,
    ),
    Value(
        "networkPolicy.egress",
        [
            {
                "to": [
                    {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}
                ],
                "ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}],
            },
            {
                "to": [_within("monitoring")],
                "ports": [{"port": 9090, "protocol": "TCP"}],
            },
            {
                "to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}}],
                "ports": [{"port": 443, "protocol": "TCP"}, {"port": 6443, "protocol": "TCP"}],
            },
        ],
        "Where pods may call: DNS, Prometheus, the API server and the sources of signals.",
        _OBJECTS,
    ),
    Value("monitoring.serviceMonitor", False, "Make a ServiceMonitor of the Prometheus operator.", _FLAG),
    Value("monitoring.rules", False, "Make its PrometheusRule, with the alerts.", _FLAG),
    Value("monitoring.dashboard", False, "Make a ConfigMap that Grafana's sidecar loads.", _FLAG),
    Value("monitoring.labels", {}, "Labels that your Prometheus selects these objects by.", _LABELS),
    Value("serviceAccount.annotations", {}, "For workload identity, for example.", _LABELS),
)


def _put(tree: dict[str, Any], path: str, value: Any) -> None:  # noqa: ANN401 - plain data
    *inner, last = path.split(".")
    for part in inner:
        tree = tree.setdefault(part, {})
    tree[last] = value


def defaults() -> dict[str, Any]:
    """Return all values' defaults.

    Returns
    -------
    dict
        As in values.yaml.
    """
    tree: dict[str, Any] = {}
    for value in VALUES:
        _put(tree, value.path, value.default)
    return tree


def merged(tree: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Lay values over others, as Helm does: mappings are merged, everything else is replaced.

    Parameters
    ----------
    tree, over : dict
        The values below, and those above.

    Returns
    -------
    dict
        A new one.
    """
    made = dict(tree)
    for key, value in over.items():
        below: Any = made.get(key)
        both = isinstance(below, dict) and isinstance(value, dict)
        made[key] = merged(below, value) if both else value
    return made


def values_yaml() -> str:
    """Write the chart's values.yaml, each value under its sentence.

    Returns
    -------
    str
        YAML with comments.
    """
    lines = ["# Values of the chart. values.schema.json checks what you set; docs/deployment.md explains."]
    open_parts: list[str] = []
    for value in VALUES:
        *inner, last = value.path.split(".")
        same = next(
            (n for n, part in enumerate(inner) if n >= len(open_parts) or open_parts[n] != part), len(inner)
        )
        lines += [f"{'  ' * n}{inner[n]}:" for n in range(same, len(inner))]
        open_parts = inner
        pad = "  " * len(inner)
        lines.append(f"{pad}# {value.about}")
        lines += [pad + line for line in write_yaml({last: value.default}).rstrip("\n").split("\n")]
    return "\n".join(lines) + "\n"


def schema() -> dict[str, Any]:
    """Return the JSON schema of the values: nothing else may be set.

    Returns
    -------
    dict
        Draft 7, which Helm knows.
    """
    root: dict[str, Any] = {"type": "object", "additionalProperties": False, "properties": {}}
    for value in VALUES:
        *inner, last = value.path.split(".")
        at = root["properties"]
        for part in inner:
            made = at.setdefault(part, {"type": "object", "additionalProperties": False, "properties": {}})
            at = made["properties"]
        at[last] = {**value.schema, "description": value.about, "default": value.default}
    # Helm adds these two for charts that others depend on.
    root["properties"]["global"] = {"type": "object"}
    return {"$schema": "http://json-schema.org/draft-07/schema#", "title": "Values of aicsched", **root}


def table() -> str:
    """Write the table of values for the docs.

    Returns
    -------
    str
        Markdown.
    """
    rows = ["| value | default | what it is |", "| --- | --- | --- |"]
    for value in VALUES:
        default = write_yaml({"x": value.default}).removeprefix("x:").strip()
        shown = f"`{default}`" if "\n" not in default else "see values.yaml"
        rows.append(f"| `{value.path}` | {shown} | {value.about} |")
    return "\n".join(rows) + "\n"

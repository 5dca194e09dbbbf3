"""What runs: the extender in three ways, the gates, and what each is told."""

from __future__ import annotations

from typing import Any, Final

from tools.deploy.pieces import (
    BIND,
    GATES,
    HOST_NETWORK,
    SECOND,
    SERVICE,
    SETTINGS,
    STATE,
    WEBHOOK,
    Piece,
    container,
    hardened,
    labels,
    meta,
    pod,
    probes,
    secret_volume,
)
from tools.deploy.template import Is, Lines, Not, Ref, Text, Tree, When

__all__ = ["TLS", "WORKLOADS"]

TLS: Final = f"{SETTINGS}-tls"
_CONFIG: Final = f"{SETTINGS}/aicsched.toml"
_ENVIRONMENT: Final = [
    # Compiled code and pictures' fonts are kept where one may write.
    {"name": "AICSCHED_CACHE_DIR", "value": f"{STATE}/cache"},
    {"name": "HOME", "value": STATE},
]


# ---------------------------------------------------------------- settings


def _settings(part: str, *lines: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": meta(part, part),
        "data": {
            "aicsched.toml": Text.of(*lines, When(Is("settings.tables"), Lines("settings.tables"))),
            "policies.toml": When(Is("settings.policies"), Text.of(Lines("settings.policies"))),
        },
    }


def _extender_lines(host: str, *tls: str) -> list[Any]:
    return [
        f'host = "{host}"',
        "port = @{port}",
        "",
        "[extender]",
        "metrics_port = @{metricsPort}",
        *tls,
        When(Is("settings.policies"), f'policies = "{SETTINGS}/policies.toml"'),
        When(BIND, "bind = true"),
        When(Is("settings.extender"), Lines("settings.extender")),
        "# Where signals come from.",
    ]


_SERVED: Final = _settings(
    "extender",
    *_extender_lines(
        "@{host}",
        f'tls_cert_file = "{TLS}/tls.crt"',
        f'tls_key_file = "{TLS}/tls.key"',
        f'client_ca_file = "{TLS}/ca.crt"',
        "client_names = %{tls.clients}",
    ),
)
_LOCAL: Final = _settings("extender", *_extender_lines("127.0.0.1", 'metrics_host = "@{host}"'))


# ---------------------------------------------------------------- the extender


def _extender() -> dict[str, Any]:
    made = container(
        "extender",
        ["serve", "--config", _CONFIG],
        {"extender": Ref("port"), "metrics": Ref("metricsPort")},
        "resources",
    )
    return made | {"env": _ENVIRONMENT} | probes()


def _with_mounts(made: dict[str, Any], *mounts: dict[str, Any]) -> dict[str, Any]:
    return made | {"volumeMounts": [*made["volumeMounts"], *mounts]}


def _replicated(part: str, replicas: Ref, template: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": meta(part, part),
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 5,
            # A new pod is ready before an old one goes: the scheduler never meets an empty service.
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "selector": {"matchLabels": labels(part)},
            "template": template,
        },
    }


_SERVICE_POD: Final = pod(
    "extender",
    [_with_mounts(_extender(), {"name": "tls", "mountPath": TLS, "readOnly": True})],
    volumes=[secret_volume("tls", Ref("tls.secret"))],
)
_HOST_POD: Final = pod(
    "extender",
    [_extender()],
    hostNetwork=True,
    dnsPolicy="ClusterFirstWithHostNet",
    nodeSelector=Tree("hostNetwork.nodeSelector"),
    tolerations=Tree("hostNetwork.tolerations"),
    topologySpreadConstraints=None,
)
_ON_HOSTS: Final = {
    "apiVersion": "apps/v1",
    "kind": "DaemonSet",
    "metadata": meta("extender", "extender"),
    "spec": {
        "revisionHistoryLimit": 5,
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}},
        "selector": {"matchLabels": labels("extender")},
        "template": _HOST_POD,
    },
}

# ---------------------------------------------------------------- a scheduler of its own


def _scheduler_probe(path: str, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": "scheduler", "scheme": "HTTPS"},
        "periodSeconds": 10,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }


_SCHEDULER: Final = {
    "name": "kube-scheduler",
    "image": Ref("secondScheduler.image"),
    "imagePullPolicy": Ref("image.pullPolicy"),
    "command": ["kube-scheduler", f"--config={SETTINGS}-scheduler/config.yaml"],
    "ports": [{"name": "scheduler", "containerPort": 10_259, "protocol": "TCP"}],
    "resources": Tree("secondScheduler.resources"),
    "securityContext": hardened(),
    "livenessProbe": _scheduler_probe("/livez", 8),
    "readinessProbe": _scheduler_probe("/readyz", 3),
    "volumeMounts": [{"name": "scheduler", "mountPath": f"{SETTINGS}-scheduler", "readOnly": True}],
}
_SCHEDULER_SETTINGS: Final = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": meta("scheduler", "scheduler"),
    "data": {
        "config.yaml": Text.of(
            "apiVersion: kubescheduler.config.k8s.io/v1",
            "kind: KubeSchedulerConfiguration",
            "leaderElection:",
            "  leaderElect: true",
            "  resourceNamespace: @{Release.Namespace}",
            "  resourceName: @{secondScheduler.name}",
            "# The greenest node can only win if it is looked at.",
            "percentageOfNodesToScore: 100",
            "profiles:",
            "- schedulerName: @{secondScheduler.name}",
            "extenders:",
            "- urlPrefix: http://127.0.0.1:@{port}",
            "  filterVerb: filter",
            "  prioritizeVerb: prioritize",
            When(BIND, "  bindVerb: bind"),
            "  weight: 3",
            "  httpTimeout: 300ms",
            "  nodeCacheCapable: true",
            "  ignorable: true",
        ),
    },
}
_SECOND_POD: Final = pod(
    "extender",
    [_extender(), _SCHEDULER],
    volumes=[{"name": "scheduler", "configMap": {"name": "@{name}-scheduler"}}],
)

# ---------------------------------------------------------------- the gates

_HOOKED: Final = Is("gates.webhook.enabled")
_GATES_SETTINGS: Final = _settings(
    "gates",
    # How the cluster is reached, and on which grids it is.
    "[extender]",
    When(Is("settings.extender"), Lines("settings.extender")),
    "# How pods and Jobs are deferred.",
    "[gates]",
    When(_HOOKED, 'host = "@{host}"'),
    # Without the webhook nobody has anything to ask but for probes and metrics.
    When(Not(_HOOKED), 'host = "127.0.0.1"'),
    When(Not(_HOOKED), 'metrics_host = "@{host}"'),
    "port = @{gates.webhook.port}",
    "metrics_port = @{metricsPort}",
    'lease_name = "@{name}-gates"',
    'lease_namespace = "@{Release.Namespace}"',
    When(_HOOKED, f'tls_cert_file = "{TLS}/tls.crt"'),
    When(_HOOKED, f'tls_key_file = "{TLS}/tls.key"'),
    When(Is("gates.settings"), Lines("gates.settings")),
    "# Where signals come from.",
)


def _gates_pod() -> dict[str, Any]:
    made = container(
        "gates", ["gates", "--config", _CONFIG], {"metrics": Ref("metricsPort")}, "gates.resources"
    )
    made["ports"].append(
        When(WEBHOOK, {"name": "webhook", "containerPort": Ref("gates.webhook.port"), "protocol": "TCP"})
    )
    mount = When(WEBHOOK, {"name": "tls", "mountPath": TLS, "readOnly": True})
    made = made | {"env": _ENVIRONMENT, "volumeMounts": [*made["volumeMounts"], mount]} | probes()
    return pod("gates", [made], volumes=[When(WEBHOOK, secret_volume("tls", Ref("gates.webhook.secret")))])


WORKLOADS: Final = (
    Piece("settings", "service", _SERVED, SERVICE),
    Piece("deployment", "service", _replicated("extender", Ref("replicas"), _SERVICE_POD), SERVICE),
    Piece("settings", "host-network", _LOCAL, HOST_NETWORK),
    Piece("daemonset", "host-network", _ON_HOSTS, HOST_NETWORK),
    Piece("settings", "second-scheduler", _LOCAL, SECOND),
    Piece("scheduler-settings", "second-scheduler", _SCHEDULER_SETTINGS, SECOND),
    Piece("deployment", "second-scheduler", _replicated("extender", Ref("replicas"), _SECOND_POD), SECOND),
    Piece("settings", "gates", _GATES_SETTINGS, GATES),
    Piece("deployment", "gates", _replicated("gates", Ref("gates.replicas"), _gates_pod()), GATES),
)

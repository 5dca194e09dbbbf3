"""Who may do what, and who may talk to whom: accounts, rights, services, budgets and network policies."""

from __future__ import annotations

from typing import Any, Final

from aicsched.extender import names
from tools.deploy.pieces import (
    BIND,
    CERT_MANAGER,
    GATES,
    HOST_NETWORK,
    SECOND,
    SERVICE,
    WEBHOOK,
    Piece,
    labels,
    meta,
)
from tools.deploy.template import NAMESPACE, Both, Is, Ref, Tree, When

__all__ = ["ACCESS"]

_READ: Final = ["list", "watch"]
_RBAC: Final = "rbac.authorization.k8s.io"
_POLICED: Final = Is("networkPolicy.enabled")

# ---------------------------------------------------------------- accounts and rights


def _account(part: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": meta(
            part,
            part,
            more={"annotations": When(Is("serviceAccount.annotations"), Tree("serviceAccount.annotations"))},
        ),
    }


def _rule(group: str, *resources: str, verbs: list[str], only: list[Any] | None = None) -> dict[str, Any]:
    made: dict[str, Any] = {"apiGroups": [group], "resources": list(resources), "verbs": verbs}
    return made | ({"resourceNames": only} if only else {})


def _role(name: str, part: str, *rules: dict[str, Any], namespaced: bool = False) -> dict[str, Any]:
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "Role" if namespaced else "ClusterRole",
        "metadata": meta(name, part, namespaced=namespaced),
        "rules": list(rules),
    }


def _binding(
    name: str,
    part: str,
    role: str,
    *,
    kind: str = "ClusterRole",
    namespace: Any = None,  # noqa: ANN401
) -> dict[str, Any]:
    about = meta(name, part, namespaced=False)
    if namespace is not None:
        about = {"name": about["name"], "namespace": namespace, "labels": about["labels"]}
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "ClusterRoleBinding" if namespace is None else "RoleBinding",
        "metadata": about,
        "roleRef": {"apiGroup": _RBAC, "kind": kind, "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": f"@{{name}}-{part}", "namespace": NAMESPACE}],
    }


_READER: Final = (_rule("", "nodes", "pods", verbs=_READ),)
_GATES_RULES: Final = (
    _rule("", "nodes", verbs=_READ),
    _rule("", "pods", verbs=["get", *_READ, "patch"]),
    _rule("batch", "jobs", verbs=["get", *_READ, "patch"]),
    _rule("events.k8s.io", "events", verbs=["create"]),
)


def _leases(name: str, part: str, lease: Any) -> dict[str, Any]:  # noqa: ANN401 - a description
    return _role(
        name,
        part,
        # The name of what is being created isn't known to the authorizer.
        _rule("coordination.k8s.io", "leases", verbs=["create"]),
        _rule("coordination.k8s.io", "leases", verbs=["get", "update"], only=[lease]),
        namespaced=True,
    )


_SCHEDULER_LEASE: Final = _leases("scheduler", "extender", Ref("secondScheduler.name"))
_RIGHTS: Final = (
    Piece("account", "base", _account("extender")),
    Piece("role", "base", _role("extender", "extender", *_READER)),
    Piece("role-binding", "base", _binding("extender", "extender", "@{name}-extender")),
    Piece(
        "role",
        "bind",
        _role(
            "bind",
            "extender",
            # Whether a pod was bound, when the answer got lost.
            _rule("", "pods", verbs=["get"]),
            _rule("", "pods/binding", verbs=["create"]),
        ),
        BIND,
    ),
    Piece("role-binding", "bind", _binding("bind", "extender", "@{name}-bind"), BIND),
    Piece("account", "gates", _account("gates"), GATES),
    Piece("role", "gates", _role("gates", "gates", *_GATES_RULES), GATES),
    Piece("role-binding", "gates", _binding("gates", "gates", "@{name}-gates"), GATES),
    Piece("leader-role", "gates", _leases("gates", "gates", "@{name}-gates"), GATES),
    Piece(
        "leader-role-binding",
        "gates",
        _binding("gates", "gates", "@{name}-gates", kind="Role", namespace=NAMESPACE),
        GATES,
    ),
    # What Kubernetes' documentation grants to any further scheduler.
    Piece(
        "scheduler-role-binding",
        "second-scheduler",
        _binding("kube-scheduler", "extender", "system:kube-scheduler"),
        SECOND,
    ),
    Piece(
        "volume-role-binding",
        "second-scheduler",
        _binding("volume-scheduler", "extender", "system:volume-scheduler"),
        SECOND,
    ),
    Piece(
        "authentication-role-binding",
        "second-scheduler",
        _binding(
            "authentication",
            "extender",
            "extension-apiserver-authentication-reader",
            kind="Role",
            namespace="kube-system",
        ),
        SECOND,
    ),
    Piece("leader-role", "second-scheduler", _SCHEDULER_LEASE, SECOND),
    Piece(
        "leader-role-binding",
        "second-scheduler",
        _binding("scheduler", "extender", "@{name}-scheduler", kind="Role", namespace=NAMESPACE),
        SECOND,
    ),
)

# ---------------------------------------------------------------- services and budgets


def _service(name: str, part: str, *ports: dict[str, Any], headless: bool = False) -> dict[str, Any]:
    spec: dict[str, Any] = {"clusterIP": "None"} if headless else {"type": "ClusterIP"}
    about = meta(name, part)
    if headless:
        about["labels"] = about["labels"] | {f"{names.DOMAIN}/metrics": "true"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": about,
        "spec": spec | {"selector": labels(part), "ports": list(ports)},
    }


def _port(name: str, number: Any, target: str = "") -> dict[str, Any]:  # noqa: ANN401 - a description
    return {"name": name, "port": number, "targetPort": target or name, "protocol": "TCP"}


def _metrics_service(part: str) -> dict[str, Any]:
    return _service(f"{part}-metrics", part, _port("metrics", Ref("metricsPort")), headless=True)


def _budget(part: str) -> dict[str, Any]:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": meta(part, part),
        "spec": {
            "minAvailable": Ref("podDisruptionBudget.minAvailable"),
            "selector": {"matchLabels": labels(part)},
            # A pod that isn't ready protects nobody, and must not keep a node from being drained.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }


def _namespace(security: str) -> dict[str, Any]:
    security_labels = {f"pod-security.kubernetes.io/{mode}": security for mode in ("enforce", "warn")}
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": NAMESPACE,
            "labels": {"app.kubernetes.io/part-of": "aicsched"} | security_labels,
        },
    }


_PRIORITY: Final = {
    "apiVersion": "scheduling.k8s.io/v1",
    "kind": "PriorityClass",
    "metadata": {"name": Ref("priorityClass.name"), "labels": {"app.kubernetes.io/part-of": "aicsched"}},
    "value": Ref("priorityClass.value"),
    "globalDefault": False,
    "description": "Pods that others' placement waits for.",
}
_SERVICES: Final = (
    Piece("namespace", "service", _namespace("restricted"), SERVICE, in_chart=False),
    Piece("namespace", "second-scheduler", _namespace("restricted"), SECOND, in_chart=False),
    # Pods on the hosts' network are what the baseline forbids.
    Piece("namespace", "host-network", _namespace("privileged"), HOST_NETWORK, in_chart=False),
    Piece("priority-class", "base", _PRIORITY, Is("priorityClass.create")),
    Piece("metrics-service", "base", _metrics_service("extender")),
    Piece("service", "service", _service("extender", "extender", _port("extender", Ref("port"))), SERVICE),
    Piece("budget", "service", _budget("extender"), SERVICE),
    Piece("budget", "second-scheduler", _budget("extender"), SECOND),
    Piece("metrics-service", "gates", _metrics_service("gates"), GATES),
    Piece("service", "gates", _service("gates", "gates", _port("webhook", 443)), WEBHOOK),
    Piece("budget", "gates", _budget("gates"), GATES),
)

# ---------------------------------------------------------------- the network


def _network_policy(part: str, *called: Any) -> dict[str, Any]:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": meta(part, part),
        "spec": {
            "podSelector": {"matchLabels": labels(part)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [
                {"from": Tree("networkPolicy.metrics"), "ports": [{"port": "metrics", "protocol": "TCP"}]},
                *called,
            ],
            "egress": Tree("networkPolicy.egress"),
        },
    }


def _called(port: str) -> dict[str, Any]:
    return {"from": Tree("networkPolicy.schedulers"), "ports": [{"port": port, "protocol": "TCP"}]}


_NETWORK: Final = (
    Piece(
        "network-policy",
        "service",
        _network_policy("extender", _called("extender")),
        Both(_POLICED, SERVICE),
    ),
    Piece("network-policy", "second-scheduler", _network_policy("extender"), Both(_POLICED, SECOND)),
    Piece(
        "network-policy",
        "gates",
        _network_policy("gates", When(Is("gates.webhook.enabled"), _called("webhook"))),
        Both(_POLICED, GATES),
    ),
)

# ---------------------------------------------------------------- the webhook


def _hook(kind: str, group: str) -> dict[str, Any]:
    return {
        "name": f"gates.{names.DOMAIN}",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        # An answer that doesn't come must not keep anybody's pods from being made.
        "failurePolicy": "Ignore",
        "timeoutSeconds": 2,
        "reinvocationPolicy": "IfNeeded",
        "matchPolicy": "Equivalent",
        "clientConfig": {
            "service": {
                "name": "@{name}-gates",
                "namespace": NAMESPACE,
                "path": "/mutate",
                "port": 443,
            },
            "caBundle": When(Is("gates.webhook.caBundle"), Ref("gates.webhook.caBundle")),
        },
        "namespaceSelector": {
            "matchExpressions": [
                {
                    "key": "kubernetes.io/metadata.name",
                    "operator": "NotIn",
                    "values": ["kube-system", NAMESPACE],
                }
            ]
        },
        "objectSelector": {"matchLabels": {names.DEFERRABLE: "true"}},
        "rules": [
            {
                "apiGroups": [group],
                "apiVersions": ["v1"],
                "operations": ["CREATE"],
                "resources": [f"{kind}s"],
                "scope": "Namespaced",
            }
        ],
    }


_WEBHOOK: Final = {
    "apiVersion": "admissionregistration.k8s.io/v1",
    "kind": "MutatingWebhookConfiguration",
    "metadata": meta(
        "gates",
        "gates",
        namespaced=False,
        more={
            "annotations": When(
                CERT_MANAGER,
                {"cert-manager.io/inject-ca-from": "@{Release.Namespace}/@{name}-gates"},
            )
        },
    ),
    "webhooks": [_hook("pod", "")],
}

ACCESS: Final = (*_RIGHTS, *_SERVICES, *_NETWORK, Piece("webhook", "gates", _WEBHOOK, WEBHOOK))

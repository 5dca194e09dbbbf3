"""What tests of deploy/ share: its objects, and the rights of its roles."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from aicsched.observe import METRICS
from tools.deploy.tree import OVERLAYS, render

ROOT = Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "deploy"
# Served by operators, not by the API server itself.
CUSTOM = frozenset({"Certificate", "Issuer", "PrometheusRule", "ServiceMonitor"})

# Values beyond the overlays': each reaches some part of the templates that no overlay does.
VARIANTS: dict[str, dict[str, Any]] = {overlay.name: overlay.values for overlay in OVERLAYS} | {
    "named": {
        "name": "green",
        "priorityClass": {"create": True, "name": "green-critical", "value": 900_000_000},
    },
    "pinned": {"image": {"digest": "sha256:" + "0" * 64, "repository": "registry.example.com/team/aicsched"}},
    "told": {
        "tokensSecret": "tokens",
        "tls": {"clients": ["system:kube-scheduler", "spiffe://example.org/ns/kube-system/sa/s"]},
        "imagePullSecrets": [{"name": "pull"}],
        "settings": {
            "extender": 'prometheus = "http://prometheus.monitoring:9090/?a=1&b=<2>"\nhistory_days = 7\n',
            "tables": '[signals]\norder = ["uk"]\n\n[signals.uk]\nzones = ["GB"]\n',
            "policies": '[policies.default]\nbase = "carbon-first"\n',
        },
        "gates": {"enabled": True, "settings": "default_delay_h = 6\n"},
    },
    "binding": {"bind": {"enabled": True}, "mode": "secondScheduler", "secondScheduler": {"name": "green"}},
    "open": {
        "networkPolicy": {"enabled": False},
        "gates": {"enabled": True, "webhook": {"enabled": False}},
        "tolerations": [{"operator": "Exists"}],
        "nodeSelector": {},
        "serviceAccount": {"annotations": {"example.com/role": "reader: all"}},
        "podDisruptionBudget": {"minAvailable": 2},
        "replicas": 3,
    },
    "brought": {"gates": {"enabled": True, "webhook": {"caBundle": "LS0tLS1CRUdJTg=="}}},
    "watched": {
        "mode": "hostNetwork",
        "monitoring": {
            "serviceMonitor": True,
            "rules": True,
            "dashboard": True,
            "labels": {"release": "prom"},
        },
    },
}


def rendered(name: str = "extender") -> list[dict[str, Any]]:
    """Read the objects of a plain manifest as it is in the repository."""
    return list(yaml.safe_load_all((DEPLOY / "rendered" / f"{name}.yaml").read_text("utf-8")))


def by_key(objects: list[dict[str, Any]]) -> dict[tuple[str, str, str], dict[str, Any]]:
    """Index objects by kind, namespace and name, each once."""
    found = {
        (each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"]): each
        for each in objects
        if each
    }
    assert len(found) == len([each for each in objects if each])
    return found


def role_of(
    account: str, *, values: dict[str, Any] | None = None, kind: str = "ClusterRole"
) -> dict[str, Any]:
    """Merge what a service account may do in the cluster, for some values, into one role.

    Parameters
    ----------
    account : str
        For example ``aicsched-extender``.
    values : dict, optional
        Of the chart.
    kind : str
        ``ClusterRole``, or ``Role`` for what holds in its own namespace only.
    """
    objects = by_key(render(values or {}))
    roles = {
        each["roleRef"]["name"]
        for each in objects.values()
        if each["kind"] == f"{kind}Binding"
        and any(subject["name"] == account for subject in each["subjects"])
    }
    rules = [
        rule
        for (of, _, name), each in objects.items()
        if of == kind and name in roles
        for rule in each["rules"]
    ]
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": account},
        "rules": rules,
    }


def pods_of(objects: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Give the pod specs in some objects, by kind and name of what makes them."""
    return {
        f"{each['kind']}/{each['metadata']['name']}": each["spec"]["template"]["spec"]
        for each in objects
        if each["kind"] in {"Deployment", "DaemonSet"}
    }


def series_of(expr: str) -> set[str]:
    """List the series that PromQL names: what a selector follows, or what stands alone in brackets."""
    bare = re.sub(r'"[^"]*"|by \([^)]*\)|on \([^)]*\)|label_values', "", expr)
    found = set(re.findall(r"\b([a-z][a-z0-9_]*)(?=\{|\[)", bare))
    return found | {word for word in re.findall(r"\(([a-z][a-z0-9_]*)[),]", bare) if "_" in word}


def our_series() -> set[str]:
    """List the names under which our metrics are scraped."""
    found: set[str] = set()
    for each in METRICS:
        parts = ("_bucket", "_sum", "_count") if each.kind == "histogram" else ("",)
        found |= {each.name + part for part in parts}
    return found

"""What the Prometheus operator and Grafana's sidecar take up: monitors, rules and the dashboard."""

from __future__ import annotations

import json
from typing import Any, Final

from aicsched.extender import names
from tools.deploy.alerts import groups
from tools.deploy.dashboard import dashboard
from tools.deploy.pieces import Piece, meta
from tools.deploy.template import NAMESPACE, Is, Tree

__all__ = ["MONITORING"]

_API: Final = "monitoring.coreos.com/v1"


def _chosen(name: str, **labels: str) -> dict[str, Any]:
    """Return metadata with what a Prometheus or a sidecar chooses objects by."""
    made = meta(name, "monitoring")
    return made | {"labels": made["labels"] | labels | {"<<": Tree("monitoring.labels")}}


_MONITOR: Final = {
    "apiVersion": _API,
    "kind": "ServiceMonitor",
    "metadata": _chosen(""),
    "spec": {
        "namespaceSelector": {"matchNames": [NAMESPACE]},
        "selector": {
            "matchLabels": {"app.kubernetes.io/part-of": "aicsched", f"{names.DOMAIN}/metrics": "true"}
        },
        "endpoints": [{"port": "metrics", "path": "/metrics", "interval": "30s", "scrapeTimeout": "10s"}],
    },
}
_RULES: Final = {
    "apiVersion": _API,
    "kind": "PrometheusRule",
    "metadata": _chosen(""),
    "spec": {"groups": groups("@{name}", "@{Release.Namespace}")},
}
_DASHBOARD: Final = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": _chosen("dashboard", grafana_dashboard="1"),
    "data": {"aicsched.json": json.dumps(dashboard(), indent=1, ensure_ascii=False) + "\n"},
}

MONITORING: Final = (
    Piece("service-monitor", "monitoring", _MONITOR, Is("monitoring.serviceMonitor")),
    Piece("rules", "monitoring", _RULES, Is("monitoring.rules")),
    Piece("dashboard", "monitoring", _DASHBOARD, Is("monitoring.dashboard")),
)

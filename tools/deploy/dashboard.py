"""The Grafana dashboard, laid out from its panels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tools.deploy.panels import PANELS

if TYPE_CHECKING:
    from tools.deploy.panels import Panel

__all__ = ["dashboard"]

_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
_WIDTH: Final = 24


def _targets(panel: Panel) -> list[dict[str, Any]]:
    return [
        {
            "refId": chr(ord("A") + n),
            "datasource": _SOURCE,
            "editorMode": "code",
            "expr": expr,
            "legendFormat": legend,
            "range": True,
        }
        for n, (legend, expr) in enumerate(panel.queries.items())
    ]


def _options(panel: Panel) -> dict[str, Any]:
    if panel.kind == "stat":
        return {
            "colorMode": "background",
            "graphMode": "area",
            "justifyMode": "auto",
            "orientation": "auto",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "textMode": "auto",
        }
    return {
        "legend": {
            "calcs": ["lastNotNull", "max"],
            "displayMode": "table",
            "placement": "bottom",
            "showLegend": True,
        },
        "tooltip": {"mode": "multi", "sort": "desc"},
    }


def _field_config(panel: Panel) -> dict[str, Any]:
    # The first step has no lower end.
    limits = panel.limits or ((0.0, "green"),)
    steps = [{"color": color, "value": None if n == 0 else least} for n, (least, color) in enumerate(limits)]
    made: dict[str, Any] = {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": steps}}
    if panel.kind == "timeseries":
        made["custom"] = {
            "fillOpacity": 20 if panel.stacked else 0,
            "stacking": {"group": "A", "mode": "normal" if panel.stacked else "none"},
            "thresholdsStyle": {"mode": "line" if panel.limits else "off"},
        }
        made["min"] = 0
    return {"defaults": made, "overrides": []}


def _panels() -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    y = 0
    for row, panels in PANELS.items():
        place = {"x": 0, "y": y, "w": _WIDTH, "h": 1}
        made.append(
            {
                "id": len(made) + 1,
                "type": "row",
                "title": row,
                "gridPos": place,
                "collapsed": False,
                "panels": [],
            }
        )
        y += 1
        x = height = 0
        for panel in panels:
            if x + panel.width > _WIDTH:
                x, y, height = 0, y + height, 0
            made.append(
                {
                    "id": len(made) + 1,
                    "type": panel.kind,
                    "title": panel.title,
                    "description": panel.about,
                    "datasource": _SOURCE,
                    "gridPos": {"x": x, "y": y, "w": panel.width, "h": panel.height},
                    "targets": _targets(panel),
                    "fieldConfig": _field_config(panel),
                    "options": _options(panel),
                }
            )
            x, height = x + panel.width, max(height, panel.height)
        y += height
    return made


def _variables() -> list[dict[str, Any]]:
    query = "label_values(aicsched_extender_requests_total, namespace)"
    return [
        {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
        {
            "name": "namespace",
            "label": "Namespace",
            "type": "query",
            "datasource": _SOURCE,
            "query": {"query": query, "refId": "namespace"},
            "refresh": 2,
            "sort": 1,
        },
    ]


def dashboard() -> dict[str, Any]:
    """Return the dashboard as Grafana imports it.

    Returns
    -------
    dict
        Its JSON model.
    """
    return {
        "uid": "aicsched",
        "title": "Carbon-aware scheduling",
        "description": "What the scheduler extender answers, from which signals, and what it costs.",
        "tags": ["aicsched", "carbon", "kubernetes"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": _variables()},
        "annotations": {"list": []},
        "links": [],
        "panels": _panels(),
    }

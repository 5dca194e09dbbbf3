"""The dashboard: well formed, on series that there are, and each query answered by a real Prometheus."""

from __future__ import annotations

import json
import re
import urllib.parse
import urllib.request
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from aicsched.observe import METRICS
from tests.deploy_kit import DEPLOY, our_series, series_of
from tests.prometheus_kit import Binaries, History, serving
from tools.deploy.alerts import ALERTS, OTHERS

if TYPE_CHECKING:
    from pathlib import Path

NOW_S = 1_767_225_600  # 2026-01-01 00:00 UTC
NAMESPACE = "aicsched-system"


def panels() -> list[dict[str, Any]]:
    made = json.loads((DEPLOY / "grafana/aicsched.json").read_text("utf-8"))["panels"]
    return [panel for panel in made if panel["type"] != "row"]


def queries() -> list[tuple[str, str, str]]:
    return [
        (panel["title"], target["legendFormat"], target["expr"])
        for panel in panels()
        for target in panel["targets"]
    ]


def test_panels_have_room_and_names_of_their_own() -> None:
    board = json.loads((DEPLOY / "grafana/aicsched.json").read_text("utf-8"))
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    boxes = [panel["gridPos"] for panel in board["panels"]]
    assert all(box["x"] + box["w"] <= 24 for box in boxes)
    for one, other in combinations(boxes, 2):
        apart_x = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        apart_y = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert apart_x or apart_y
    variables = {each["name"] for each in board["templating"]["list"]}
    used = set(re.findall(r"\$\{?([a-z]+)", json.dumps(board["panels"])))
    assert used == variables
    for panel in panels():
        assert panel["description"]
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        assert steps[0]["value"] is None
        values = [step["value"] for step in steps[1:]]
        assert values == sorted(values)


def test_panels_show_series_that_are_there() -> None:
    named = {series for _, _, expr in queries() for series in series_of(expr)}
    assert named <= our_series() | OTHERS.keys()
    # What is said to come from others is used.
    assert OTHERS.keys() <= named | {series for alert in ALERTS for series in series_of(alert.expr)}


def history() -> History:
    """Make three hours of every series that panels may show."""
    made = History()
    time_s = np.arange(NOW_S - 3 * 3600, NOW_S, 30)
    growing = np.arange(time_s.size) * 3.0
    at = {"namespace": NAMESPACE, "job": "aicsched-extender-metrics", "pod": "e-1"}
    for each in METRICS:
        labels = {**at, **dict.fromkeys(each.labels, "some")}
        if each.kind == "histogram":
            for edge, share in (("0.0", 0.5), ("0.1", 0.99), ("+Inf", 1.0)):
                made.add(f"{each.name}_bucket", {**labels, "le": edge}, time_s, np.floor(growing * share))
            made.add(f"{each.name}_count", labels, time_s, growing)
            made.add(f"{each.name}_sum", labels, time_s, growing * 0.01)
        else:
            made.add(each.name, labels, time_s, growing if each.kind == "counter" else 1e6)
    of_others = {
        "up": at,
        "container_cpu_usage_seconds_total": at | {"container": "extender"},
        "kube_pod_container_status_restarts_total": at | {"container": "extender"},
        "node_cpu_seconds_total": {"instance": "n-1", "mode": "idle", "cpu": "0"},
        "certmanager_certificate_expiration_timestamp_seconds": at | {"name": "aicsched-extender"},
        "scheduler_schedule_attempts_total": {"result": "scheduled"},
        "scheduler_pending_pods": {"queue": "gated"},
    }
    assert of_others.keys() == OTHERS.keys()
    for name, labels in of_others.items():
        made.add(name, labels, time_s, growing if name.endswith("_total") else 1.0)
    return made


@pytest.fixture(scope="module")
def server(prometheus_binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder: Path = tmp_path_factory.mktemp("dashboard")
    with serving(prometheus_binaries, history().write(prometheus_binaries, folder)) as url:
        yield url


@pytest.mark.parametrize(("title", "legend", "expr"), queries(), ids=lambda part: part[:40])
def test_prometheus_answers_each_query(title: str, legend: str, expr: str, server: str) -> None:
    asked = expr.replace("$namespace", NAMESPACE).replace("$__rate_interval", "5m")
    assert "$" not in asked
    form = {"query": asked, "start": NOW_S - 3600, "end": NOW_S - 60, "step": 60}
    with urllib.request.urlopen(f"{server}/api/v1/query_range?{urllib.parse.urlencode(form)}") as answer:
        told = json.load(answer)
    assert told["status"] == "success"
    rows = told["data"]["result"]
    assert rows, f"{title}: nothing for {asked}"
    for row in rows:
        # What the legend writes of a series, the series has.
        assert set(re.findall(r"\{\{(\w+)\}\}", legend)) <= row["metric"].keys()
        assert all(np.isfinite(float(value)) for _, value in row["values"])


def lost_in(one: Any, other: Any, at: str = "") -> list[str]:
    """List what of one isn't in the other."""
    if isinstance(one, dict) and isinstance(other, dict):
        return [path for key in one for path in lost_in(one[key], other.get(key), f"{at}.{key}")]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [path for n, (a, b) in pairs for path in lost_in(a, b, f"{at}[{n}]")]
    return [] if one == other else [at]


def test_grafanas_own_types_know_every_field() -> None:
    board = json.loads((DEPLOY / "grafana/aicsched.json").read_text("utf-8"))
    kept = json.loads(json.dumps(Dashboard.from_json(board), cls=JSONEncoder))
    assert lost_in(board, kept) == []
    board["panels"][1]["descripton"] = "a typing error"
    kept = json.loads(json.dumps(Dashboard.from_json(board), cls=JSONEncoder))
    assert lost_in(board, kept) == [".panels[1].descripton"]

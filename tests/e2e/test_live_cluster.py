"""A live extender follows a real API server: nodes come and go, and it outlives all that it reads from."""

from __future__ import annotations

import json
import time
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from aicsched.account.ledger import Ledger
from tests.e2e.live import in_region, live_extender, ready, write_config, write_grid
from tests.e2e.objects import eventually, make_nodes, make_pods, plain_pod

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.e2e.control_plane import ControlPlane
    from tests.e2e.serving import Server

pytestmark = pytest.mark.e2e

GRIDS = {"hydro": "CLEAN", "coal": "DIRTY"}
MEANS = {"CLEAN": 30.0, "DIRTY": 800.0}


def scores(extender: Server, names: Iterable[str]) -> dict[str, int]:
    """Ask as the scheduler does, by name; every name must be answered."""
    asked = {"Pod": plain_pod("asked"), "Nodes": None, "NodeNames": list(names)}
    request = urllib.request.Request(
        f"{extender.url}/prioritize",
        data=json.dumps(asked).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200
        rows: list[dict[str, Any]] = json.load(answer)
    assert {row["Host"] for row in rows} == set(asked["NodeNames"])
    return {row["Host"]: row["Score"] for row in rows}


def metric(extender: Server, line: str) -> float:
    """Read one number of /metrics."""
    with urllib.request.urlopen(f"{extender.url}/metrics", timeout=10) as answer:
        shown = answer.read().decode()
    return next((float(each.split()[-1]) for each in shown.splitlines() if each.startswith(line)), 0.0)


def test_nodes_come_and_go_and_answers_outlive_the_api_server(plane: ControlPlane, tmp_path: Path) -> None:
    make_nodes(plane, {"hydro-0": in_region("hydro"), "coal-0": in_region("coal")})
    write_grid(tmp_path / "grid.csv", MEANS)
    ledger = tmp_path / "ledger.db"
    config = write_config(tmp_path, plane.kubeconfig(), GRIDS, ledger=str(ledger), max_age_s=60)
    with live_extender(config) as extender:
        asked = ["hydro-0", "coal-0", "hydro-1", "dark-0"]
        assert scores(extender, asked) == {"hydro-0": 10, "coal-0": 0, "hydro-1": 5, "dark-0": 5}
        make_nodes(plane, {"hydro-1": in_region("hydro"), "dark-0": in_region("dark")})
        eventually(lambda: scores(extender, asked)["hydro-1"] == 10, within_s=20)
        # Nobody tells on which grid it is: neither better nor worse.
        assert scores(extender, asked)["dark-0"] == 5
        plane.call("DELETE", "/api/v1/nodes/coal-0")
        eventually(lambda: scores(extender, asked)["coal-0"] == 5, within_s=20)
        # Bound without any scheduler: the watch tells, and the ledger knows once.
        make_pods(plane, [plain_pod("placed", nodeName="hydro-0")])
        eventually(lambda: metric(extender, 'aicsched_decisions_total{outcome="booked"}') == 1, within_s=20)
        before = scores(extender, asked)
        plane.stop()
        try:
            # Past the newest news of the cluster, and several snapshots on.
            time.sleep(5)
            assert scores(extender, asked) == before
            assert ready(extender.url)
            assert metric(extender, "aicsched_snapshot_age_seconds") < 5
        finally:
            plane.start()
        make_nodes(plane, {"hydro-2": in_region("hydro")})
        eventually(lambda: scores(extender, ["hydro-2", "hydro-0"])["hydro-2"] != 0, within_s=60)
        eventually(lambda: metric(extender, 'aicsched_snapshot_nodes{state="fresh"}') == 3, within_s=60)
        assert extender.stop() == 0
    with Ledger(ledger, read_only=True) as book:
        assert [entry.subject for entry in book.entries()] == ["pod/shop/placed"]
        assert book.entries()[0].counterfactual_g >= book.entries()[0].operational_g > 0

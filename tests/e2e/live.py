"""The extender as an operator runs it: ``aicsched serve --config`` on a real cluster and a grid's file."""

from __future__ import annotations

import contextlib
import json
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import numpy as np

from aicsched.slots import format_time
from tests.deploy_kit import role_of
from tests.e2e.objects import eventually, make_namespace
from tests.e2e.serving import serving

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from pathlib import Path

    from tests.e2e.control_plane import ControlPlane
    from tests.e2e.serving import Server

CLI = "from aicsched.cli import main; main()"
REGION = "topology.kubernetes.io/region"
_HOURS = 21 * 24
_HOUR_S = 3600


def in_region(region: str) -> dict[str, Any]:
    """Write what `make_nodes` takes for a node of a region."""
    return {"labels": {REGION: region}}


def write_grid(path: Path, mean_g_per_kwh: Mapping[str, float], *, ago_h: int = 0) -> None:
    """Write three weeks of hours, by zone, each day like the other, until now or some hours ago."""
    last = int(time.time()) // _HOUR_S - ago_h
    rows = ["time,grid_zone,intensity_g_per_kwh"]
    for zone, mean in mean_g_per_kwh.items():
        for hour in range(last - _HOURS, last):
            value = mean * (1 + 0.1 * np.sin(2 * np.pi * hour / 24))
            rows.append(f"{format_time(hour * _HOUR_S)},{zone},{value:.2f}")
    path.write_text("\n".join(rows) + "\n")


def chart_token(plane: ControlPlane, name: str, *, values: dict[str, Any] | None = None) -> str:
    """Make a service account that may do what the chart's role says with some values, and no more."""
    make_namespace(plane, name)
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    role = role_of("aicsched-extender", values=values)
    role["metadata"]["name"] = name
    plane.call("POST", f"{rbac}/clusterroles", role)
    binding = {
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": name}],
    }
    plane.call("POST", f"{rbac}/clusterrolebindings", binding)
    return plane.service_account(name, name)


def write_config(
    folder: Path, kubeconfig: Path, grids: Mapping[str, str], *, port: int = 0, **extender: Any
) -> Path:
    """Write ``aicsched.toml``: a grid's file, zones by region, and more of ``[extender]``.

    Parameters
    ----------
    folder : Path
        Of the file, its store and ``grid.csv``, which `write_grid` makes.
    kubeconfig : Path
        How the cluster is reached.
    grids : mapping of str to str
        Zone by region.
    port : int
        To listen on.
    **extender : dict
        More settings, as TOML has them.

    Returns
    -------
    Path
        Of the file.
    """
    own = {
        "kubeconfig": str(kubeconfig),
        "refresh_s": 1,
        "max_age_s": 120,
        "settle_s": 1,
    } | extender
    lines = [
        f"port = {port}",
        "[signals]",
        f"store = {json.dumps(str(folder / f'signals-{port}.db'))}",
        'order = ["file"]',
        "[signals.file]",
        f"paths = [{json.dumps(str(folder / 'grid.csv'))}]",
        f"zones = {json.dumps(sorted(set(grids.values())))}",
        "[extender]",
        *(f"{key} = {json.dumps(value)}" for key, value in own.items()),
        "[extender.grid_zones]",
        *(f"{region} = {json.dumps(zone)}" for region, zone in grids.items()),
    ]
    path = folder / f"aicsched-{port}.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


def ready(url: str) -> bool:
    """Ask a replica whether it wants to be asked."""
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


@contextlib.contextmanager
def live_extender(config: Path, *, probes: str = "") -> Generator[Server]:
    """Run the real command until it is ready, as its probes say on its port or on one of their own."""
    with serving(["-c", CLI, "serve", "--config", config]) as server:
        try:
            eventually(lambda: ready(probes or server.url), within_s=60)
        except AssertionError as late:
            msg = f"not ready:\n{''.join(server.said)[-4000:]}"
            raise AssertionError(msg) from late
        yield server

"""CPU time of one scheduler call: our handler against a plain one, in the same run.

The rival is what one would write first: `json`, a loop over the nodes, a list of
dicts. Both score the same nodes by the same grams; the bodies look like those of
kube-scheduler, with 5,000 names or 1,000 whole Node objects of about 10 KB.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aicsched.extender.snapshot import Snapshot

TITLE = "Extender: CPU of a call against a plain json and loop handler"

SERVE = """
import sys
from benchmarks.extender_latency import cluster
from aicsched.extender.app import ExtenderApp
from aicsched.extender.server import serve
from aicsched.extender.snapshot import SnapshotHolder
snapshot = cluster(int(sys.argv[1]))
serve(ExtenderApp(SnapshotHolder(snapshot), now_s=lambda: snapshot.issued_at_s), port=0)
"""


def cluster(count: int) -> Snapshot:
    """Make a snapshot of a cluster from copies of the sample's nodes.

    Parameters
    ----------
    count : int
        How many nodes.

    Returns
    -------
    Snapshot
        Scored by the library's own scores; no load is known, so that none is made up.
    """
    from aicsched.extender.costs import fleet_costs
    from aicsched.extender.snapshot import Snapshot
    from aicsched.fleet.sample import sample_fleet
    from aicsched.forecast import forecast_zones
    from aicsched.signals.carbon.sample import SAMPLE_NOW_S, SampleCarbon
    from aicsched.signals.telemetry_sample import sample_telemetry

    fleet = sample_fleet()
    copies = [fleet.nodes[at % len(fleet.nodes)] for at in range(count)]
    nodes = tuple(replace(node, name=f"node-{at:05d}") for at, node in enumerate(copies))
    names = tuple(node.name for node in nodes)
    carbon = SampleCarbon()
    zones = {region.grid_zone for region in fleet.regions}
    history = {zone: carbon.read(zone).before(SAMPLE_NOW_S) for zone in zones}
    forecasts = forecast_zones(history, at_s=SAMPLE_NOW_S, horizon=96)
    telemetry = sample_telemetry(names, end_s=SAMPLE_NOW_S)
    costs = fleet_costs(replace(fleet, nodes=nodes), forecasts, telemetry, start_s=SAMPLE_NOW_S)
    return Snapshot(names=names, costs=costs, issued_at_s=SAMPLE_NOW_S, synthetic=True)


def pod(cpu: str) -> dict[str, Any]:
    """Make a pod as the scheduler sends it.

    Parameters
    ----------
    cpu : str
        Its request.

    Returns
    -------
    dict
        Metadata and one container.
    """
    return {
        "metadata": {"name": "web-0", "namespace": "team", "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "main", "resources": {"requests": {"cpu": cpu, "memory": "1Gi"}}}]},
    }


def names_body(names: tuple[str, ...], cpu: str = "2") -> bytes:
    """Write a body by name."""
    value = {"Pod": pod(cpu), "Nodes": None, "NodeNames": list(names)}
    return json.dumps(value, separators=(",", ":")).encode()


def nodes_body(names: tuple[str, ...]) -> bytes:
    """Write a body of whole nodes, about 10 KB each, most of it images as on a real node."""
    images = [
        {"names": [f"registry.example/team/app-{at}@sha256:{at:064x}"], "sizeBytes": at} for at in range(75)
    ]
    items = [
        {
            "metadata": {"name": name, "labels": {f"example.com/label-{at}": "value" for at in range(20)}},
            "spec": {"podCIDR": "10.0.0.0/24"},
            "status": {"capacity": {"cpu": "8", "memory": "32Gi", "pods": "110"}, "images": images},
        }
        for name in names
    ]
    value = {"Pod": pod("2"), "Nodes": {"metadata": {}, "items": items}, "NodeNames": None}
    return json.dumps(value, separators=(",", ":")).encode()


def plain_handler(grams: dict[str, float]) -> Callable[[bytes], bytes]:
    """Make the rival: what one would write first.

    Parameters
    ----------
    grams : dict of str to float
        Per node what the pod costs [g].

    Returns
    -------
    callable
        Body to answer.
    """

    def prioritize(body: bytes) -> bytes:
        args = json.loads(body)
        names = args["NodeNames"]
        if names is None:
            names = [item["metadata"]["name"] for item in args["Nodes"]["items"]]
        known = [grams[name] for name in names if name in grams]
        low, high = min(known), max(known)
        answer: list[dict[str, Any]] = []
        for name in names:
            cost = grams.get(name)
            score = 5 if cost is None or high == low else round(10 * (high - cost) / (high - low))
            answer.append({"Host": name, "Score": score})
        return json.dumps(answer).encode()

    return prioritize


def cpu_ms(call: Callable[[bytes], bytes], bodies: Iterator[bytes]) -> float:
    """Measure the median CPU time of calls [ms]."""
    spent: list[float] = []
    for body in bodies:
        begun = time.process_time()
        call(body)
        spent.append(time.process_time() - begun)
    return float(np.median(spent)) * 1e3


def _same_nodes(ours: bytes, theirs: bytes) -> None:
    """Stop when the rivals don't answer for the same nodes, the best and the worst alike."""
    mine = {row["Host"]: row["Score"] for row in json.loads(ours)}
    plain = {row["Host"]: row["Score"] for row in json.loads(theirs)}
    assert mine.keys() == plain.keys()
    assert {name for name, score in plain.items() if score == 10} >= {min(mine, key=lambda name: -mine[name])}
    assert max(mine.values()) == max(plain.values()) == 10
    assert min(mine.values()) == min(plain.values()) == 0


def _http(count: int, body: bytes, calls: int) -> dict[str, float]:
    """Call a real server over one kept connection, as the scheduler does."""
    process = subprocess.Popen([sys.executable, "-c", SERVE, str(count)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline().rpartition(":")[2])
        link = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        took: list[float] = []
        for _ in range(calls):
            begun = time.perf_counter()
            link.request("POST", "/prioritize", body, {"Content-Type": "application/json"})
            assert link.getresponse().read().startswith(b"[")
            took.append(time.perf_counter() - begun)
        link.close()
    finally:
        process.terminate()
        process.communicate(timeout=30)
    return {"p50_ms": float(np.percentile(took, 50)) * 1e3, "p99_ms": float(np.percentile(took, 99)) * 1e3}


def run(*, smoke: bool) -> dict[str, Any]:
    """Measure both handlers on the same bodies.

    Parameters
    ----------
    smoke : bool
        Small inputs, few calls.

    Returns
    -------
    dict
        Per case our and the rival's CPU time [ms] and the ratio; HTTP latency of ours.
    """
    from aicsched.extender.app import ExtenderApp
    from aicsched.extender.podrequest import PodRequest
    from aicsched.extender.snapshot import SnapshotHolder

    by_name, whole, calls = (200, 20, 3) if smoke else (5000, 1000, 200)
    snapshot = cluster(by_name)
    ours = ExtenderApp(SnapshotHolder(snapshot), now_s=lambda: snapshot.issued_at_s).handlers
    costs = snapshot.costs.cost_g(PodRequest(vcpus=2.0))
    plain = plain_handler(dict(zip(snapshot.names, costs.tolist(), strict=True)))
    found: dict[str, Any] = {}
    cases = {
        f"{by_name} names": (names_body(snapshot.names), calls),
        f"{by_name // 5} names": (names_body(snapshot.names[: by_name // 5]), calls),
        f"{whole} whole nodes": (nodes_body(snapshot.names[:whole]), max(3, calls // 20)),
    }
    for label, (body, count) in cases.items():
        _same_nodes(ours.prioritize(body), plain(body))
        mine = cpu_ms(ours.prioritize, iter([body] * count))
        theirs = cpu_ms(plain, iter([body] * count))
        passed = cpu_ms(ours.filter, iter([body] * count))
        found[f"prioritize, {label}"] = {
            "body_mb": len(body) / 1e6, "cpu_ms": mine, "plain_cpu_ms": theirs, "ratio": theirs / mine
        }  # fmt: skip
        found[f"filter, {label}"] = {"cpu_ms": passed}
    fresh = (names_body(snapshot.names, cpu=f"{at + 1}m") for at in range(max(3, calls // 10)))
    found[f"prioritize, {by_name} names, a pod never seen before"] = {
        "cpu_ms": cpu_ms(ours.prioritize, fresh)
    }
    found[f"over HTTP, {by_name} names, one connection"] = _http(by_name, names_body(snapshot.names), calls)
    return found

"""Deferral on a real control plane: `aicsched gates` in its own processes, with the rights of its guide."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from aicsched.account.ledger import Ledger
from aicsched.extender.names import (
    DECISION,
    DEFERRABLE,
    GATE,
    LATEST_START,
    MAX_DELAY,
    PLANNED_START,
    REASON,
    RELEASED_AT,
)
from tests.debian_kit import ROOT, NotToBeHad
from tests.e2e.control_plane import control_plane, scheduler, scheduler_config
from tests.e2e.objects import events_of, eventually, get_pod, make_namespace, make_nodes, make_pods, plain_pod
from tests.e2e.serving import Server, serving
from tests.trust_kit import make_authority

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.e2e.control_plane import ControlPlane

pytestmark = pytest.mark.e2e

MAIN = "from aicsched.cli import main; main()"
OWN = "aicsched"
MARKED = {DEFERRABLE: "true"}
PODS = "/api/v1/namespaces/shop/pods"
JOBS = "/apis/batch/v1/namespaces/shop/jobs"
LEASE_S = 6
LATEST, DELAY, DURATION = (
    f"aicsched.io/{name}" for name in ("latest-start", "max-delay", "expected-duration")
)


def guide() -> list[dict[str, Any]]:
    """Read the manifests in the guide."""
    text = (ROOT / "docs" / "deferral.md").read_text(encoding="utf-8")
    parts = text.split("```yaml\n")[1:]
    return [item for part in parts for item in yaml.safe_load_all(part.partition("```")[0])]


def manifest(kind: str) -> dict[str, Any]:
    return next(item for item in guide() if item["kind"] == kind)


def in_s(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def at_s(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def allow(plane: ControlPlane) -> str:
    """Grant what the guide grants to a service account; return its token."""
    make_namespace(plane, OWN)
    make_namespace(plane, "shop")
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    who = [{"kind": "ServiceAccount", "name": "gates", "namespace": OWN}]
    for kind, path in (("ClusterRole", "clusterroles"), ("Role", f"namespaces/{OWN}/roles")):
        role = manifest(kind)
        plane.call("POST", f"{rbac}/{path}", role)
        named = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role["metadata"]["name"]}
        binding = {"metadata": {"name": "gates"}, "roleRef": named, "subjects": who}
        plane.call("POST", f"{rbac}/{path.replace('roles', 'rolebindings')}", binding)
    return plane.service_account(OWN, "gates")


def carbon_file(folder: Path, *, hours_ago: int = 0) -> Path:
    """Write sixty days of a grid that is dirty now, and clean three to six hours later."""
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=hours_ago)
    lines = ["time,g_per_kwh"]
    for back in range(60 * 24, 0, -1):
        slot = end - timedelta(hours=back)
        ahead = (slot.hour - datetime.now(UTC).hour) % 24
        lines.append(f"{slot.strftime('%Y-%m-%dT%H:%M:%SZ')},{60 if 3 <= ahead < 6 else 400 + slot.day % 7}")
    # A file is named by its grid zone.
    path = folder / f"{hours_ago}-h-ago" / "DE.csv"
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


class Site:
    """A control plane with nodes, a scheduler, and what `aicsched gates` needs."""

    def __init__(self, plane: ControlPlane, folder: Path) -> None:
        self.plane, self.folder = plane, folder
        self.token = allow(plane)
        make_nodes(plane, {"node-1": {}})
        self.runs = 0

    def gates(self, *, blind: bool = True, **gates: Any) -> AbstractContextManager[Server]:
        """Run `aicsched gates`; blind without a usable forecast."""
        return serving(["-c", MAIN, "gates", "--config", self.settings(blind=blind, **gates)])

    def settings(self, *, blind: bool = True, **gates: Any) -> Path:
        """Write a settings file."""
        self.runs += 1
        carbon = carbon_file(self.folder, hours_ago=48 if blind else 0)
        own = {"port": 0, "lease_s": LEASE_S, "lease_namespace": OWN, "margin_s": 2.0, **gates}
        path = self.folder / f"gates-{self.runs}.toml"
        path.write_text(
            "horizon_h = 24\nmodel = 'seasonal'\n"
            f"[extender]\nkubeconfig = '{self.plane.kubeconfig(self.token)}'\n"
            "settle_s = 0\n[extender.grid_zones]\neu-central-1 = 'DE'\n"
            f"[signals]\nstore = '{self.folder / f'signals-{self.runs}.db'}'\norder = ['file']\n"
            f"[signals.file]\npaths = ['{carbon}']\ncolumn = 'g_per_kwh'\nzones = ['DE']\nunit = 'g/kWh'\n"
            "[gates]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in own.items())
        )
        return path


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Run a control plane of its own: its API server is stopped, and a webhook is registered."""
    try:
        with control_plane(tmp_path_factory.mktemp("plane")) as plane, scheduler(plane, scheduler_config()):
            yield Site(plane, tmp_path_factory.mktemp("gates"))
    except NotToBeHad as reason:
        pytest.skip(f"NOT TESTED against a real control plane: {reason}")


@pytest.fixture(autouse=True)
def tidy(site: Site) -> Iterator[None]:
    """Leave nothing that waits, fills the node or was decided for the next test: they come in any order."""
    yield
    site.plane.call("DELETE", JOBS, {"propagationPolicy": "Background"})
    site.plane.call("DELETE", PODS, {"gracePeriodSeconds": 0})
    eventually(lambda: not site.plane.call("GET", PODS)["items"])


def gated(name: str, *, gates: tuple[str, ...] = (GATE,), **annotations: str) -> dict[str, Any]:
    said = {f"aicsched.io/{key.replace('_', '-')}": value for key, value in annotations.items()}
    made = [{"name": gate} for gate in gates]
    return plain_pod(name, labels=MARKED, annotations=said, schedulingGates=made)


def booked_of(path: Path, subject: str) -> list[Any]:
    """Read what a ledger says of one; nothing where there is none yet."""
    if not path.exists():
        return []
    with Ledger(path, read_only=True) as book:
        book.verify()
        return list(book.entries(subject=subject))


def bound(plane: ControlPlane, name: str) -> bool:
    return bool(get_pod(plane, name)["spec"].get("nodeName"))


def notes(plane: ControlPlane, name: str) -> dict[str, str]:
    return get_pod(plane, name)["metadata"].get("annotations", {})


def reasons(plane: ControlPlane, name: str) -> list[str]:
    return [one["reason"] for one in events_of(plane, name) if one["reason"].startswith("Carbon")]


def metrics(server: Server) -> dict[str, float]:
    with urllib.request.urlopen(server.url + "/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if line[0] != "#"}


def in_time(server: Server) -> bool:
    """Tell whether no release was late, by its own count."""
    found = metrics(server)
    name = "aicsched_gates_release_lateness_seconds"
    return found[f"{name}_count"] == found[f'{name}_bucket{{le="0.0"}}']


def test_a_pod_is_released_at_its_planned_start_and_bound_at_once(site: Site) -> None:
    plane = site.plane
    with site.gates() as server:
        # On a busy machine its start takes longer than the work below may wait.
        eventually(lambda: metrics(server)["aicsched_gates_leader"] == 1)
        planned = in_s(12)
        make_pods(plane, [gated("planned", planned_start=planned, max_delay="2h")])
        make_pods(plane, [gated("last", latest_start=in_s(10), gates=("other.io/x", GATE))])
        seen_s = time.monotonic()
        while not bound(plane, "planned"):
            assert time.time() < at_s(planned) + 20
            if RELEASED_AT not in notes(plane, "planned"):
                seen_s = time.monotonic()
            time.sleep(0.02)
        took_s = time.monotonic() - seen_s
        print(f"bound {took_s:.3f} s after its release")
        assert at_s(planned) <= at_s(notes(plane, "planned")[RELEASED_AT]) <= at_s(planned) + 3
        assert took_s < 1.0, "from its release until it was bound"
        last = get_pod(plane, "last")
        assert last["spec"]["schedulingGates"] == [{"name": "other.io/x"}]
        assert at_s(last["metadata"]["annotations"][RELEASED_AT]) <= at_s(
            last["metadata"]["annotations"][LATEST_START]
        )
        assert in_time(server)
        eventually(lambda: reasons(plane, "planned").count("CarbonReleased") == 1)
        assert metrics(server)['aicsched_gates_releases_total{reason="planned"}'] == 1
    assert server.stop() == 0


def test_a_forecast_plans_and_the_plan_is_told_and_booked(site: Site) -> None:
    plane, ledger = site.plane, site.folder / "ledger.db"
    make_pods(plane, [gated("dirty", max_delay="8h", expected_duration="1h")])
    make_pods(plane, [gated("short", max_delay="10m", expected_duration="1h")])
    with site.gates(blind=False, ledger=str(ledger)) as server:
        eventually(lambda: PLANNED_START in notes(plane, "dirty"), 60)
        said = notes(plane, "dirty")
        assert 2 * 3600 < at_s(said[PLANNED_START]) - time.time() <= 6 * 3600
        assert "saves" in said[REASON]
        assert json.loads(said[DECISION])["subject"] == "shop/dirty"
        assert not bound(plane, "dirty")
        eventually(lambda: reasons(plane, "dirty") == ["CarbonDeferred"])
        # Ten minutes save nothing: it starts.
        eventually(lambda: bound(plane, "short"))
        eventually(lambda: booked_of(ledger, "shop/short"))
        assert metrics(server)["aicsched_gates_planned_saving_grams"] > 0
    assert booked_of(ledger, "shop/dirty") == []
    booked = booked_of(ledger, "shop/short")
    assert len(booked) == 1
    # Another that begins to act books what was released before, the same.
    other = site.folder / "other.db"
    with site.gates(ledger=str(other)):
        eventually(lambda: booked_of(other, "shop/short"))
    assert booked_of(other, "shop/short") == booked


def test_one_look_tells_what_would_be_done_and_does_nothing(site: Site) -> None:
    plane = site.plane
    make_pods(plane, [gated("looked-at", max_delay="8h", expected_duration="1h")])
    make_pods(plane, [gated("odd", max_delay="soon")])
    command = [sys.executable, "-c", MAIN, "gates", "--once", "--json", "--config"]
    before = get_pod(plane, "looked-at")["metadata"]["resourceVersion"]
    done = subprocess.run([*command, site.settings(blind=False)], capture_output=True, text=True, check=True)
    told = {row["name"]: row for row in json.loads(done.stdout)["waiting"]}
    assert (told["looked-at"]["now"], told["odd"]["now"]) == (False, True)
    assert told["looked-at"]["saving_g"] > 0
    assert "'soon' is not a duration" in told["odd"]["reason"]
    assert get_pod(plane, "looked-at")["metadata"]["resourceVersion"] == before
    # Who may not look is told which right is missing.
    site.token, kept = plane.service_account(OWN, "stranger"), site.token
    done = subprocess.run([*command, site.settings()], capture_output=True, text=True, check=False)
    site.token = kept
    assert done.returncode == 2
    assert "grant get, list and watch on pods" in done.stderr
    for name in ("looked-at", "odd"):
        plane.call("DELETE", f"{PODS}/{name}", {"gracePeriodSeconds": 0})


def test_a_crowd_is_spread_and_in_time(site: Site) -> None:
    plane = site.plane
    latest = in_s(60)
    names = make_pods(plane, [gated(f"crowd-{at}", latest_start=latest) for at in range(500)])
    with site.gates(releases_per_s=50.0, margin_s=5.0) as server:
        eventually(lambda: metrics(server)["aicsched_gates_release_lateness_seconds_count"] == len(names), 90)
        assert in_time(server)
    items = {one["metadata"]["name"]: one["metadata"] for one in plane.call("GET", PODS)["items"]}
    times = sorted(at_s(items[name]["annotations"][RELEASED_AT]) - at_s(latest) for name in names)
    print(f"500 released from {times[0]:.0f} to {times[-1]:.0f} s before their latest start")
    assert -30 <= times[0] <= -23
    assert times[-1] <= 0


def test_a_suspended_job_goes_on_with_its_pods_marked(site: Site) -> None:
    plane = site.plane
    pod = plain_pod("x")
    job = {
        "metadata": {"name": "batch", "labels": MARKED, "annotations": {LATEST_START: in_s(30)}},
        "spec": {
            "suspend": True,
            "template": {"metadata": {"labels": MARKED}, "spec": pod["spec"] | {"restartPolicy": "Never"}},
        },
    }
    plane.call("POST", JOBS, job)
    with site.gates() as server:
        eventually(lambda: not plane.call("GET", f"{JOBS}/batch")["spec"]["suspend"], 40)
        assert in_time(server)
    found = plane.call("GET", f"{JOBS}/batch")
    said = found["metadata"]["annotations"]
    assert at_s(said[RELEASED_AT]) <= at_s(said[LATEST_START])
    assert found["spec"]["template"]["metadata"]["annotations"][RELEASED_AT] == said[RELEASED_AT]


def test_the_leader_is_killed_and_another_acts_in_time(site: Site) -> None:
    plane = site.plane
    with site.gates() as first:
        eventually(lambda: metrics(first)["aicsched_gates_leader"] == 1)
        with site.gates() as second:
            # Twenty before the takeover, due during it and after.
            make_pods(plane, [gated(f"k{at}", latest_start=in_s(LEASE_S + 4 + at)) for at in range(20)])
            time.sleep(1.0)
            assert metrics(second)["aicsched_gates_leader"] == 0
            first.kill()
            killed_s = time.monotonic()
            eventually(lambda: metrics(second)["aicsched_gates_leader"] == 1)
            assert time.monotonic() - killed_s <= LEASE_S * (1 + 2 / 15) + 2
            eventually(lambda: all(bound(plane, f"k{at}") for at in range(20)), 60)
            for at in range(20):
                said = notes(plane, f"k{at}")
                assert at_s(said[RELEASED_AT]) <= at_s(said[LATEST_START])
                assert reasons(plane, f"k{at}").count("CarbonReleased") <= 1
            assert in_time(second)


def test_the_api_server_is_away_and_comes_back(site: Site) -> None:
    plane = site.plane
    with site.gates() as server:
        make_pods(plane, [gated("during", latest_start=in_s(6)), gated("after", latest_start=in_s(90))])
        time.sleep(2.0)
        plane.stop()
        time.sleep(8.0)
        plane.start()
        back_s = time.time()
        eventually(lambda: RELEASED_AT in notes(plane, "during"), LEASE_S * 2 + 10)
        late_s = at_s(notes(plane, "during")[RELEASED_AT]) - back_s
        print(f"released {late_s:.1f} s after the API server was back")
        # The Lease has to be had again first.
        assert late_s <= LEASE_S * 0.2 + 5
        make_pods(plane, [gated("new", latest_start=in_s(8))])
        eventually(lambda: RELEASED_AT in notes(plane, "new"))
        said = notes(plane, "new")
        assert at_s(said[RELEASED_AT]) <= at_s(said[LATEST_START])
        assert RELEASED_AT not in notes(plane, "after")
        assert server.process.poll() is None


def test_the_webhook_is_asked_by_the_api_server(site: Site) -> None:
    plane = site.plane
    authority = make_authority(site.folder, "webhook-ca")
    pair = authority.issue("gates")
    own = {"tls_cert_file": str(pair.cert), "tls_key_file": str(pair.key), "metrics_port": 0}
    hooks = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
    with site.gates(**own) as server:
        assert server.url.startswith("https://")
        hook = manifest("MutatingWebhookConfiguration")
        bundle = base64.b64encode(authority.cert.read_bytes()).decode()
        hook["webhooks"][0]["clientConfig"] = {"url": f"{server.url}/mutate", "caBundle": bundle}
        plane.call("POST", hooks, hook)
        made = 0

        def gates_of(pod: dict[str, Any], query: str = "") -> list[str]:
            nonlocal made
            made += 1
            pod = json.loads(json.dumps(pod))
            pod["metadata"]["name"] += f"-{made}"
            answer = plane.call("POST", PODS + query, pod)
            return [gate["name"] for gate in answer["spec"].get("schedulingGates", [])]

        pod = plain_pod("hooked", labels=MARKED, annotations={MAX_DELAY: "2h"})
        # The API server learns of webhooks within a second or so.
        eventually(lambda: gates_of(pod, "?dryRun=All") == [GATE])
        assert gates_of(pod) == [GATE]
        assert gates_of(plain_pod("hooked")) == []
        assert gates_of(plain_pod("hooked", labels=MARKED, annotations={MAX_DELAY: "soon"})) == []
        assert gates_of(plain_pod("hooked", labels=MARKED, annotations={RELEASED_AT: in_s(0)})) == []
        assert gates_of(plain_pod("hooked", labels=MARKED, nodeName="node-1")) == []
        twice = plain_pod("hooked", labels=MARKED, schedulingGates=[{"name": GATE}])
        assert gates_of(twice) == [GATE]
    # It is gone, and pods are made all the same.
    assert gates_of(pod) == []
    plane.call("DELETE", f"{hooks}/aicsched-gates")


def test_deferral_is_ended_by_one_command_without_a_forecast(site: Site) -> None:
    """It needs no carbon source, no Lease, and only the rights of the guide."""
    latest = in_s(3600)
    made = [gated(f"end-{index}", latest_start=latest) for index in range(3)]
    make_pods(site.plane, [*made, gated("end-other", gates=("other.example/x", GATE), latest_start=latest)])
    path = site.folder / "end.toml"
    path.write_text(f"[extender]\nkubeconfig = '{site.plane.kubeconfig(site.token)}'\n")
    command = [sys.executable, "-c", MAIN, "gates", "--release-all", "--json", "--config", path]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["failed"] == []
    assert {f"pods shop/end-{index}" for index in range(3)} <= set(told["released"])
    for index in range(3):
        eventually(lambda index=index: bound(site.plane, f"end-{index}"))
    assert get_pod(site.plane, "end-other")["spec"]["schedulingGates"] == [{"name": "other.example/x"}]

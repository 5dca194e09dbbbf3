"""The extender as its pod runs it: the manifest's command, user and settings, on a read-only file system."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from aicsched.extender import names
from tests.debian_kit import ROOT, NotToBeHad
from tests.deploy_kit import DEPLOY, by_key, pods_of
from tests.e2e.control_plane import SCHEDULER, ControlPlane, control_plane, free_port, scheduler
from tests.e2e.objects import (
    events_of,
    eventually,
    get_pod,
    make_namespace,
    make_nodes,
    make_pods,
    plain_pod,
    wait_bound,
)
from tests.trust_kit import client_context, make_authority
from tools.deploy.tree import NAMESPACE, render

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

pytestmark = pytest.mark.e2e

_READY_S = 90
WITH_GATES = {"gates": {"enabled": True, "webhook": {"enabled": False}}}
# Mounts are this process's own: what it sees of the machine is read only but for its state, and it has no
# rights left. Where the interpreter lies in a closed home, that much of it is shown.
CONTAINED = """
set -e
mount --make-rprivate /
if [ -n "$CLOSED" ]; then
  mount --bind "$BASE" /mnt
  mount -t tmpfs -o mode=755 tmpfs "$CLOSED"
  mkdir -p "$BASE"
  mount --bind /mnt "$BASE"
fi
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/secrets/kubernetes.io
cp -r "$ACCOUNT" /run/secrets/kubernetes.io/serviceaccount
mount -t tmpfs -o size=64m,uid=$ID,gid=$ID,mode=700 tmpfs "$TMP"
mount -t tmpfs -o size=1g,uid=$ID,gid=$ID,mode=700 tmpfs "$STATE"
mount -o remount,ro,bind /
cd "$STATE"
exec setpriv --reuid $ID --regid $ID --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs "$@"
"""


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Give a cluster with the accounts of extender and gates, which may do what the chart's roles say."""
    try:
        with control_plane(tmp_path_factory.mktemp("plane")) as made:
            make_namespace(made, NAMESPACE)
            for part in ("extender", "gates"):
                token = made.service_account(NAMESPACE, f"aicsched-{part}")
                (made.folder / part).write_text(token)
            for each in render(WITH_GATES):
                if each["apiVersion"].startswith("rbac."):
                    where = each["metadata"].get("namespace")
                    inside = f"/namespaces/{where}" if where else ""
                    kind = f"{each['kind'].lower()}s"
                    made.call("POST", f"/apis/rbac.authorization.k8s.io/v1{inside}/{kind}", each)
            make_nodes(made, {"n-1": {}, "n-2": {}})
            yield made
    except NotToBeHad as reason:
        pytest.skip(f"NOT TESTED against a real control plane: {reason}")


def ask(port: int, method: str, path: str, body: Any = None, *, host: str = "127.0.0.1") -> tuple[int, str]:
    link = http.client.HTTPConnection(host, port, timeout=10)
    headers = {"Content-Type": "application/json"}
    with contextlib.closing(link):
        link.request(method, path, None if body is None else json.dumps(body), headers)
        answer = link.getresponse()
        return answer.status, answer.read().decode()


@contextlib.contextmanager
def contained(
    spec: dict[str, Any], config: str, folder: Path, given: dict[str, str]
) -> Generator[subprocess.Popen[bytes]]:
    """Run the container of a pod's spec, with folders of ours where it has its mounts."""
    (container,) = spec["containers"]
    here = {each["mountPath"]: folder / each["name"] for each in container["volumeMounts"]}
    for each in here.values():
        each.mkdir(mode=0o755, exist_ok=True)

    there = "|".join(re.escape(path) for path in here if path != "/tmp")

    def moved(text: str) -> str:
        return re.sub(rf"({there})(?=/|$)", lambda found: str(here[found[1]]), text)

    state, temporary = folder / "state", folder / "tmp"
    (folder / "settings" / "aicsched.toml").write_text(moved(config))

    base = Path(sys.base_prefix).resolve()
    closed = [each for each in reversed(base.parents) if not each.stat().st_mode & 0o001]
    env = {each["name"]: moved(each["value"]) for each in container["env"]}
    env |= given | {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT / "src"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "TMPDIR": str(temporary),
        "TMP": str(temporary),
        "STATE": str(state),
        "BASE": str(base),
        "CLOSED": str(closed[0]) if closed else "",
        "ACCOUNT": str(folder / "account"),
        "ID": str(spec["securityContext"]["runAsUser"]),
    }
    program = [sys.executable, "-c", "from aicsched.cli import main; main()"]
    arguments = [moved(each) for each in container["args"]]
    command = ["unshare", "--mount", "sh", "-c", CONTAINED, "sh", *program, *arguments]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=env, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


@pytest.fixture
def folder() -> Iterator[Path]:
    """Give a folder that others than us may enter, as pytest's own may not be."""
    made = Path(tempfile.mkdtemp(prefix="aicsched-pod-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("unshare"), reason="NOT TESTED: only root can make such mounts"
)


def give_account(plane: ControlPlane, folder: Path, part: str = "extender") -> dict[str, str]:
    """Lay down what a pod is given to reach the API server; return its part of the environment."""
    account = folder / "account"
    account.mkdir(mode=0o755)
    shutil.copy(plane.ca, account / "ca.crt")
    (account / "namespace").write_text(NAMESPACE)
    (account / "token").write_text((plane.folder / part).read_text())
    for each in account.iterdir():
        each.chmod(0o644)
    host, _, port = plane.url.removeprefix("https://").partition(":")
    return {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}


def wait_ready(process: subprocess.Popen[bytes], probes: int, folder: Path) -> None:
    """Ask as a kubelet does: by another address than the loopback's own."""
    until_s = time.monotonic() + _READY_S
    status, told = 0, ""
    while status != 200 and time.monotonic() < until_s and process.poll() is None:
        with contextlib.suppress(OSError):
            status, told = ask(probes, "GET", "/readyz?verbose", host="127.0.0.2")
        time.sleep(0.2)
    assert status == 200, f"{told}\n{(folder / 'log').read_text()}"


@needs_root
def test_the_extender_runs_without_rights_and_writes_only_its_state(
    plane: ControlPlane, folder: Path
) -> None:
    port, probes = free_port(), free_port()
    more = {"extender": "settle_s = 0"}
    objects = render({"mode": "hostNetwork", "port": port, "metricsPort": probes, "settings": more})
    spec = pods_of(objects)["DaemonSet/aicsched-extender"]
    config = by_key(objects)["ConfigMap", NAMESPACE, "aicsched-extender"]["data"]["aicsched.toml"]
    with contained(spec, config, folder, give_account(plane, folder)) as process:
        wait_ready(process, probes, folder)
        pod = {"metadata": {"name": "p", "namespace": "shop"}, "spec": {}}
        status, told = ask(port, "POST", "/prioritize", {"Pod": pod, "NodeNames": ["n-1", "n-2"]})
        assert status == 200
        assert {each["Host"] for each in json.loads(told)} == {"n-1", "n-2"}
        with pytest.raises(ConnectionRefusedError):
            ask(port, "GET", "/livez", host="127.0.0.2")
        assert "aicsched_extender_requests_total" in ask(probes, "GET", "/metrics")[1]
        status_file = Path(f"/proc/{process.pid}/status").read_text()
        assert "CapEff:\t0000000000000000" in status_file
        assert "NoNewPrivs:\t1" in status_file
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, (folder / "log").read_text()
    told = (folder / "log").read_text()
    assert "Read-only" not in told
    assert "Traceback" not in told


@needs_root
def test_the_scheduler_of_the_example_and_the_extender_of_the_chart_trust_each_other(
    plane: ControlPlane, folder: Path
) -> None:
    """The names, files and settings of both are those that the manifests give them."""
    port, probes = free_port(), free_port()
    more = {"extender": "settle_s = 0"}
    objects = render({"port": port, "metricsPort": probes, "settings": more})
    spec = pods_of(objects)["Deployment/aicsched-extender"]
    config = by_key(objects)["ConfigMap", NAMESPACE, "aicsched-extender"]["data"]["aicsched.toml"]
    example = yaml.safe_load((DEPLOY / "examples/kube-scheduler/service.yaml").read_text("utf-8"))
    (entry,) = example["extenders"]
    authority = make_authority(folder, "ca")
    server = authority.issue("server", names=f"DNS:{entry['tlsConfig']['serverName']}")
    client = authority.issue("kube-scheduler", names="")
    stranger = authority.issue("stranger", names="")
    (folder / "tls").mkdir()
    for source, name in ((server.cert, "tls.crt"), (server.key, "tls.key"), (authority.cert, "ca.crt")):
        shutil.copy(source, folder / "tls" / name)
        # As a Secret is mounted: root's, and to be read by the pod's group.
        os.chown(folder / "tls" / name, 0, spec["securityContext"]["fsGroup"])
        (folder / "tls" / name).chmod(spec["volumes"][-1]["secret"]["defaultMode"])
    assert entry["urlPrefix"].endswith(":8443")
    entry["urlPrefix"] = f"https://127.0.0.1:{port}"
    files = {"caFile": authority.cert, "certFile": client.cert, "keyFile": client.key}
    entry["tlsConfig"] |= {name: str(path) for name, path in files.items()}
    example["clientConnection"] = {"kubeconfig": str(plane.kubeconfig(SCHEDULER))}
    with contained(spec, config, folder, give_account(plane, folder)) as process:
        wait_ready(process, probes, folder)
        context = client_context(authority, stranger)
        context.check_hostname = False
        link = http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=context)
        link.request("POST", "/filter", b"{}", {"Content-Type": "application/json"})
        assert link.getresponse().status in {401, 403}
        link.close()
        with scheduler(plane, example):
            wait_bound(plane, make_pods(plane, [plain_pod("trusted")]))
        told = ask(probes, "GET", "/metrics")[1]
        for verb in ("filter", "prioritize"):
            assert f'aicsched_extender_requests_total{{code="200",verb="{verb}"}}' in told
        assert 'aicsched_certificate_expiry_timestamp_seconds{certificate="server"}' in told


@needs_root
def test_the_gates_release_with_the_rights_of_the_chart(plane: ControlPlane, folder: Path) -> None:
    probes = free_port()
    # Without any forecast work isn't held back: what was gated is released at once.
    gates = {"settings": "forecast_wait_s = 0", "webhook": {"enabled": False, "port": free_port()}}
    dead = (
        f'[signals]\norder = ["uk"]\n[signals.uk]\nzones = ["GB"]\nurl = "http://127.0.0.1:{free_port()}"\n'
    )
    values = {"metricsPort": probes, "gates": {"enabled": True} | gates, "settings": {"tables": dead}}
    objects = render(values)
    spec = pods_of(objects)["Deployment/aicsched-gates"]
    config = by_key(objects)["ConfigMap", NAMESPACE, "aicsched-gates"]["data"]["aicsched.toml"]
    waiting = plain_pod(
        "deferred",
        labels={names.DEFERRABLE: "true"},
        annotations={names.MAX_DELAY: "6h"},
        schedulingGates=[{"name": names.GATE}],
    )
    make_pods(plane, [waiting])
    with contained(spec, config, folder, give_account(plane, folder, "gates")) as process:
        wait_ready(process, probes, folder)
        eventually(lambda: names.RELEASED_AT in get_pod(plane, "deferred")["metadata"]["annotations"])
        assert not get_pod(plane, "deferred")["spec"].get("schedulingGates")
        eventually(lambda: [one for one in events_of(plane, "deferred") if one["reason"] == "CarbonReleased"])
        told = ask(probes, "GET", "/metrics")[1]
        assert "aicsched_gates_leader 1.0" in told
        assert 'aicsched_gates_faults_total{part="refused"} 0.0' in told
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, (folder / "log").read_text()
    lease = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/aicsched-gates"
    assert plane.call("GET", lease)["spec"]["leaseTransitions"] >= 0

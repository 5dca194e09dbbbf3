"""The extender as its pod runs it: the manifest's command, user and settings, on a read-only file system."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.debian_kit import ROOT, NotToBeHad
from tests.deploy_kit import by_key, pods_of, role_of
from tests.e2e.control_plane import ControlPlane, control_plane
from tests.e2e.objects import make_nodes
from tools.deploy.tree import NAMESPACE, render

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

pytestmark = pytest.mark.e2e

TOKEN = "extender-token"
USER = f"system:serviceaccount:{NAMESPACE}:aicsched-extender"
_READY_S = 90
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
mount -t tmpfs -o size=64m,uid=$ID,gid=$ID,mode=700 tmpfs "$TMP"
mount -t tmpfs -o size=1g,uid=$ID,gid=$ID,mode=700 tmpfs "$STATE"
mount -o remount,ro,bind /
cd "$STATE"
exec setpriv --reuid $ID --regid $ID --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs "$@"
"""


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Give a cluster whose one token may do what the chart's roles say."""
    try:
        with control_plane(tmp_path_factory.mktemp("plane"), {TOKEN: USER}) as made:
            role = role_of("aicsched-extender")
            about = {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRoleBinding",
                "metadata": {"name": "extender"},
                "roleRef": {
                    "apiGroup": "rbac.authorization.k8s.io",
                    "kind": "ClusterRole",
                    "name": USER.rpartition(":")[2],
                },
                "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": USER}],
            }
            made.call("POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles", role)
            made.call("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", about)
            make_nodes(made, {"n-1": {}, "n-2": {}})
            yield made
    except NotToBeHad as reason:
        pytest.skip(f"NOT TESTED against a real control plane: {reason}")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def ask(port: int, method: str, path: str, body: Any = None, *, host: str = "127.0.0.1") -> tuple[int, str]:
    link = http.client.HTTPConnection(host, port, timeout=10)
    headers = {"Content-Type": "application/json"}
    with contextlib.closing(link):
        link.request(method, path, None if body is None else json.dumps(body), headers)
        answer = link.getresponse()
        return answer.status, answer.read().decode()


@contextlib.contextmanager
def contained(spec: dict[str, Any], config: str, folder: Path) -> Generator[subprocess.Popen[bytes]]:
    """Run the container of a pod's spec."""
    (container,) = spec["containers"]
    settings, state, temporary = (folder / name for name in ("settings", "state", "tmp"))
    for each in (settings, state, temporary):
        each.mkdir(mode=0o755)
    (settings / "aicsched.toml").write_text(config)
    mounts = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    here = {mounts["settings"]: str(settings), mounts["state"]: str(state)}

    def moved(text: str) -> str:
        for there, path in here.items():
            text = path + text.removeprefix(there) if text.startswith(there + "/") or text == there else text
        return text

    base = Path(sys.base_prefix).resolve()
    closed = [each for each in reversed(base.parents) if not each.stat().st_mode & 0o001]
    env = {each["name"]: moved(each["value"]) for each in container["env"]}
    env |= {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT / "src"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "TMPDIR": str(temporary),
        "TMP": str(temporary),
        "STATE": str(state),
        "BASE": str(base),
        "CLOSED": str(closed[0]) if closed else "",
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


@pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("unshare"), reason="only root can make a container's mounts"
)
def test_the_extender_runs_without_rights_and_writes_only_its_state(
    plane: ControlPlane, folder: Path
) -> None:
    kubeconfig = folder / "kubeconfig"
    settings = json.loads(plane.kubeconfig(TOKEN).read_text())
    cluster = settings["clusters"][0]["cluster"]
    shutil.copy(cluster["certificate-authority"], folder / "ca.crt")
    cluster["certificate-authority"] = str(folder / "ca.crt")
    kubeconfig.write_text(json.dumps(settings))
    for each in (kubeconfig, folder / "ca.crt"):
        each.chmod(0o644)
    port, probes = free_port(), free_port()
    values = {
        "mode": "hostNetwork",
        "port": port,
        "metricsPort": probes,
        "settings": {"extender": f'kubeconfig = "{kubeconfig}"\nsettle_s = 0\n'},
    }
    objects = render(values)
    spec = pods_of(objects)["DaemonSet/aicsched-extender"]
    config = by_key(objects)["ConfigMap", NAMESPACE, "aicsched-extender"]["data"]["aicsched.toml"]
    with contained(spec, config, folder) as process:
        until_s = time.monotonic() + _READY_S
        status, told = 0, ""
        while status != 200 and time.monotonic() < until_s and process.poll() is None:
            with contextlib.suppress(OSError):
                # As a kubelet does: by another address than the loopback's own.
                status, told = ask(probes, "GET", "/readyz?verbose", host="127.0.0.2")
            time.sleep(0.2)
        log = (folder / "log").read_text()
        assert status == 200, f"{told}\n{log}"
        body = {
            "Pod": {"metadata": {"name": "p", "namespace": "shop"}, "spec": {}},
            "NodeNames": ["n-1", "n-2"],
        }
        status, told = ask(port, "POST", "/prioritize", body)
        assert status == 200
        assert {each["Host"] for each in json.loads(told)} == {"n-1", "n-2"}
        with pytest.raises(ConnectionRefusedError):
            ask(port, "GET", "/livez", host="127.0.0.2")
        status, told = ask(probes, "GET", "/metrics")
        assert "aicsched_extender_requests_total" in told
        status_file = Path(f"/proc/{process.pid}/status").read_text()
        assert "CapEff:\t0000000000000000" in status_file
        assert "NoNewPrivs:\t1" in status_file
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, (folder / "log").read_text()
    complaints = [
        line
        for line in (folder / "log").read_text().splitlines()
        if "Read-only" in line or "Traceback" in line
    ]
    assert complaints == []

"""A real Kubernetes control plane on this machine, for tests, without root or containers.

etcd is Debian's; kube-apiserver is built by Go from the modules that go.mod beside this file pins, which
takes some ten minutes once and is then kept in the project's cache. No kubelet runs: nodes are what tests
post, and pods are bound but never started. Whoever gets the fixture on a machine without Go or the
module proxy is told so, and skipped.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.debian_kit import ROOT, NotToBeHad, find_programs

if TYPE_CHECKING:
    from collections.abc import Generator

HERE = Path(__file__).resolve().parent
CACHE = ROOT / ".cache" / "kubernetes"
ADMIN = "admin-token"
_BUILD_S = 3600
_START_S = 120
_READY_S = 5


def _version() -> str:
    text = (HERE / "go.mod").read_text(encoding="utf-8")
    return re.findall(r"k8s.io/kubernetes (v\S+)", text)[0]


def built(name: str) -> Path:
    """Build a program of Kubernetes, or take the one that was built before."""
    go = shutil.which("go") or "/usr/local/go/bin/go"
    if not Path(go).exists():
        msg = "no Go here to build Kubernetes with"
        raise NotToBeHad(msg)
    target = CACHE / _version() / name
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_suffix(".part")
    package = f"k8s.io/kubernetes/cmd/{name}"
    # Unstamped, it would take itself for a version of its own and not tell clients which.
    stamp = f"-s -w -X k8s.io/component-base/version.gitVersion={_version()}"
    command = [go, "build", "-trimpath", "-ldflags", stamp, "-o", str(part), package]
    try:
        subprocess.run(command, cwd=HERE, check=True, capture_output=True, timeout=_BUILD_S)
    except (OSError, subprocess.SubprocessError) as error:
        said = (getattr(error, "stderr", b"") or b"").decode()[-500:]
        msg = f"{name} can't be built: {error} {said}"
        raise NotToBeHad(msg) from error
    part.replace(target)
    return target


class RefusedError(Exception):
    """What the API said no to, with its status."""


@dataclass(frozen=True)
class ControlPlane:
    """A running API server.

    Parameters
    ----------
    url : str
        Its address.
    folder : Path
        With its certificate, logs and the list of tokens.
    """

    url: str
    folder: Path

    @property
    def ca(self) -> Path:
        """The certificate to trust."""
        return self.folder / "certs" / "apiserver.crt"

    def call(self, method: str, path: str, body: Any = None, *, token: str = ADMIN) -> Any:
        """Ask the API, and read its JSON."""
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        )
        trusted = ssl.create_default_context(cafile=str(self.ca))
        try:
            with urllib.request.urlopen(request, timeout=30, context=trusted) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            # It is an open answer, too.
            with error:
                msg = f"{method} {path}: {error.code} {error.read().decode()}"
            raise RefusedError(msg) from None

    def kubeconfig(self, token: str = ADMIN) -> Path:
        """Write a kubeconfig for the bearer of a token."""
        cluster = {"server": self.url, "certificate-authority": str(self.ca)}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "here", "cluster": cluster}],
            "users": [{"name": "me", "user": {"token": token}}],
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
            "current-context": "here",
        }
        path = self.folder / f"{token}.kubeconfig"
        path.write_text(json.dumps(config))
        return path


def _port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextlib.contextmanager
def _running(command: list[str], log: Path) -> Generator[subprocess.Popen[bytes]]:
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def control_plane(folder: Path, tokens: dict[str, str] | None = None) -> Generator[ControlPlane]:
    """Run etcd and kube-apiserver.

    Parameters
    ----------
    folder : Path
        Of their own.
    tokens : dict of str to str, optional
        More bearer tokens, and whose they are.

    Yields
    ------
    ControlPlane
        That is ready.
    """
    server = built("kube-apiserver")
    (etcd,) = find_programs("etcd-server", "etcd")
    store, peer, port = _port(), _port(), _port()
    key = folder / "service-account.key"
    subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
    rows = [f'{ADMIN},admin,1,"system:masters"']
    rows += [f"{token},{name},{name}" for token, name in (tokens or {}).items()]
    (folder / "tokens.csv").write_text("\n".join(rows) + "\n")
    of_etcd = [
        str(etcd), f"--data-dir={folder / 'etcd'}", f"--listen-client-urls=http://127.0.0.1:{store}",
        f"--advertise-client-urls=http://127.0.0.1:{store}", f"--listen-peer-urls=http://127.0.0.1:{peer}",
        "--unsafe-no-fsync",
    ]  # fmt: skip
    # Nodes are made by hand: nothing would take the taint of a node that isn't ready off again, and
    # nobody makes service accounts.
    of_server = [
        str(server), f"--etcd-servers=http://127.0.0.1:{store}", "--bind-address=127.0.0.1",
        f"--secure-port={port}", f"--cert-dir={folder / 'certs'}",
        f"--token-auth-file={folder / 'tokens.csv'}",
        "--authorization-mode=RBAC", "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={key}", f"--service-account-signing-key-file={key}",
        "--disable-admission-plugins=ServiceAccount,TaintNodesByCondition",
        "--service-cluster-ip-range=10.96.0.0/16",
    ]  # fmt: skip
    with _running(of_etcd, folder / "etcd.log"), _running(of_server, folder / "apiserver.log") as process:
        plane = ControlPlane(f"https://127.0.0.1:{port}", folder)
        _wait(plane, process)
        yield plane


def _wait(plane: ControlPlane, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + _START_S
    last: object = None
    while time.monotonic() < until and process.poll() is None:
        try:
            plane.call("GET", "/api/v1/namespaces/default")
        except (OSError, RefusedError, ValueError) as error:
            last = error
            time.sleep(0.3)
        else:
            return
    log = (plane.folder / "apiserver.log").read_text()[-2000:]
    msg = f"kube-apiserver did not get ready: {last}\n{log}"
    raise AssertionError(msg)

"""A real Kubernetes control plane on this machine, for tests, without root or containers.

etcd is Debian's; kube-apiserver is built by Go from the modules that go.mod beside this file pins, which
takes some ten minutes once and is then kept in the project's cache. No kubelet runs: nodes are what tests
post, and pods are bound but never started. Whoever gets the fixture on a machine without Go or the
module proxy is told so, and skipped.

With `scheduler` the real kube-scheduler runs, too; `objects` beside this file makes nodes and pods, and
waits for what becomes of them; the fixture `plane` of conftest.py is one control plane for all modules::

    def test_something(plane, extender_port):
        make_nodes(plane, {"a": {}, "b": {}})
        config = scheduler_config(extender_entry(f"http://127.0.0.1:{extender_port}", weight=12))
        with scheduler(plane, config) as running:
            make_pods(plane, [pod("web-0")])
            assert wait_bound(plane, ["web-0"])["web-0"] == "a", running.log()
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.debian_kit import ROOT, NotToBeHad, find_programs

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

HERE = Path(__file__).resolve().parent
CACHE = ROOT / ".cache" / "kubernetes"
ADMIN = "admin-token"
SCHEDULER = "scheduler-token"
_BUILD_S = 3600
_START_S = 120


def _version() -> str:
    text = (HERE / "go.mod").read_text(encoding="utf-8")
    return re.findall(r"k8s.io/kubernetes (v\S+)", text)[0]


def built_before(name: str) -> Path:
    """Tell where a program of Kubernetes lies once it is built."""
    return CACHE / _version() / name


def built(name: str) -> Path:
    """Build a program of Kubernetes, or take the one that was built before."""
    go = shutil.which("go") or "/usr/local/go/bin/go"
    if not Path(go).exists():
        msg = "no Go here to build Kubernetes with"
        raise NotToBeHad(msg)
    target = built_before(name)
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
        said = (getattr(error, "stderr", None) or str(error).encode()).decode().strip()
        msg = f"{name} can't be built: {said.splitlines()[-1]}"
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
    command : tuple of str
        That runs it.
    runs : list of subprocess.Popen
        Its processes so far, the present one last.
    """

    url: str
    folder: Path
    command: tuple[str, ...] = ()
    runs: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def stop(self) -> None:
        """End the API server; what it holds lies in etcd, which goes on."""
        process = self.runs[-1]
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def start(self) -> None:
        """Run the API server again, and wait until it is ready."""
        with (self.folder / "apiserver.log").open("ab") as out:
            self.runs.append(subprocess.Popen(self.command, stdout=out, stderr=subprocess.STDOUT))
        _wait(self, self.runs[-1])

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

    def call_many(self, method: str, calls: Iterable[tuple[str, Any]], *, workers: int = 4) -> list[Any]:
        """Ask the API many times over a few kept connections: some hundred calls a second.

        Parameters
        ----------
        method : str
            Of all calls.
        calls : iterable of tuple of str and any
            Paths and bodies.
        workers : int
            Connections at a time.

        Returns
        -------
        list
            The answers, in the order of the calls.
        """
        todo = list(calls)
        shares = [todo[at::workers] for at in range(workers)]

        def do(share: list[tuple[str, Any]]) -> list[Any]:
            with self.kept() as call:
                return [call(method, path, body) for path, body in share]

        with ThreadPoolExecutor(workers) as pool:
            answers = list(pool.map(do, shares))
        return [answers[at % workers][at // workers] for at in range(len(todo))]

    @contextlib.contextmanager
    def kept(self) -> Generator[Callable[[str, str, Any], Any]]:
        """Keep a connection: gives a `call` that makes none of its own, with method, path and body."""
        host = self.url.removeprefix("https://")
        trusted = ssl.create_default_context(cafile=str(self.ca))
        head = {"Authorization": f"Bearer {ADMIN}", "Content-Type": "application/json"}
        link = http.client.HTTPSConnection(host, timeout=60, context=trusted)

        def call(method: str, path: str, body: Any) -> Any:
            link.request(method, path, None if body is None else json.dumps(body).encode(), head)
            answer = link.getresponse()
            content = answer.read()
            if answer.status >= http.client.BAD_REQUEST:
                msg = f"{method} {path}: {answer.status} {content.decode()}"
                raise RefusedError(msg)
            return json.loads(content)

        with contextlib.closing(link):
            yield call

    def service_account(self, namespace: str, name: str) -> str:
        """Make a service account, and a token of it from the API server itself.

        Parameters
        ----------
        namespace, name : str
            Of the account; roles bind to it as in any cluster.

        Returns
        -------
        str
            A bearer token, for `call` and `kubeconfig`.
        """
        accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
        self.call("POST", accounts, {"metadata": {"name": name}})
        return str(self.call("POST", f"{accounts}/{name}/token", {"spec": {}})["status"]["token"])

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
        path = self.folder / f"{token[-40:]}.kubeconfig"
        path.write_text(json.dumps(config))
        return path


def free_port() -> int:
    """Find a port that nobody listens on."""
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
    store, peer, port = free_port(), free_port(), free_port()
    key = folder / "service-account.key"
    subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
    rows = [f'{ADMIN},admin,1,"system:masters"']
    # Kubernetes itself gives this name the rights that a scheduler needs, and no more.
    rows += [f"{SCHEDULER},system:kube-scheduler,2"]
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
        plane = ControlPlane(f"https://127.0.0.1:{port}", folder, tuple(of_server), [process])
        _wait(plane, process)
        try:
            yield plane
        finally:
            plane.stop()


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


# ---------------------------------------------------------------- kube-scheduler


def extender_entry(url: str, **more: Any) -> dict[str, Any]:
    """Write an entry of an extender as our guide advises: by name, with a short timeout, ignorable.

    Parameters
    ----------
    url : str
        Its prefix, without a verb.
    more
        Fields of the entry in their own spelling, in the place of ours: ``weight=12``, ``filterVerb=""``,
        ``nodeCacheCapable=False``, ``preemptVerb="preempt"``, ``tlsConfig={"caFile": ...}``.

    Returns
    -------
    dict
        For `scheduler_config`.
    """
    entry: dict[str, Any] = {
        "urlPrefix": url,
        "filterVerb": "filter",
        "prioritizeVerb": "prioritize",
        "weight": 3,
        "nodeCacheCapable": True,
        "ignorable": True,
        "httpTimeout": "1s",
    }
    if url.startswith("https:"):
        entry["enableHTTPS"] = True
    return {key: value for key, value in (entry | more).items() if value != ""}


def scheduler_config(*extenders: dict[str, Any], percentage: int = 100, **more: Any) -> dict[str, Any]:
    """Write a KubeSchedulerConfiguration; who runs it adds how the API is reached.

    Parameters
    ----------
    *extenders : dict
        Entries, as `extender_entry` makes them.
    percentage : int
        Of the nodes that are scored; 0 is Kubernetes' own choice, which is 10 % of a large cluster.
    more
        Other fields in their own spelling: ``profiles=[...]``, ``podMaxBackoffSeconds=1``.

    Returns
    -------
    dict
        The configuration.
    """
    return {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "leaderElection": {"leaderElect": False},
        "percentageOfNodesToScore": percentage,
        "podInitialBackoffSeconds": 1,
        "podMaxBackoffSeconds": 2,
        "extenders": list(extenders),
    } | more


@dataclass(frozen=True)
class Scheduler:
    """A running kube-scheduler.

    Parameters
    ----------
    url : str
        Where it serves its metrics.
    folder : Path
        With its configuration and log.
    process : subprocess.Popen
        Its process.
    """

    url: str
    folder: Path
    process: subprocess.Popen[bytes]

    def log(self) -> str:
        """Read what it said so far."""
        return (self.folder / "scheduler.log").read_text(encoding="utf-8", errors="replace")

    def get(self, path: str) -> str:
        """Ask it for ``/metrics``, ``/configz`` or a probe."""
        # Its certificate is made at its start, by itself, for nobody to know.
        nobody = ssl._create_unverified_context()
        with urllib.request.urlopen(self.url + path, timeout=10, context=nobody) as answer:
            return str(answer.read().decode())


@contextlib.contextmanager
def scheduler(
    plane: ControlPlane, config: dict[str, Any], *, verbosity: int = 2, options: Iterable[str] = ()
) -> Generator[Scheduler]:
    """Run kube-scheduler against a control plane; its start takes about a second.

    Parameters
    ----------
    plane : ControlPlane
        Whose pods it schedules. One at a time: without leader election two would race.
    config : dict
        From `scheduler_config`.
    verbosity : int
        Of its log; from 5 on it tells why an extender's answer was dropped, from 10 on every score.
    options : iterable of str
        More of its command line, such as ``--feature-gates=…``.

    Yields
    ------
    Scheduler
        That is ready.

    Raises
    ------
    AssertionError
        It refused to start, with the end of its log.
    """
    program = built("kube-scheduler")
    port = free_port()
    folder = plane.folder / f"scheduler-{port}"
    folder.mkdir()
    # Its own limits of 50 calls a second would be measured in the place of scheduling.
    reached = {"kubeconfig": str(plane.kubeconfig(SCHEDULER)), "qps": 5000, "burst": 5000}
    (folder / "config.json").write_text(json.dumps({"clientConnection": reached} | config))
    command = [
        str(program), f"--config={folder / 'config.json'}", "--bind-address=127.0.0.1",
        f"--secure-port={port}", f"--cert-dir={folder}", f"-v={verbosity}",
        "--authorization-always-allow-paths=/healthz,/livez,/readyz,/metrics,/configz", *options,
    ]  # fmt: skip
    with _running(command, folder / "scheduler.log") as process:
        running = Scheduler(f"https://127.0.0.1:{port}", folder, process)
        until = time.monotonic() + _START_S
        while True:
            with contextlib.suppress(OSError):
                running.get("/readyz")
                break
            alive = process.poll() is None and time.monotonic() < until
            assert alive, f"kube-scheduler did not get ready:\n{running.log()[-3000:]}"
            time.sleep(0.1)
        yield running


def main() -> int:
    """Build all programs beforehand, and say so where that can't be done: tests then skip."""
    try:
        for name in ("kube-scheduler", "kube-apiserver"):
            print(f"{name}: {built(name)}", flush=True)
    except NotToBeHad as reason:
        print(f"NOT TESTED against a real control plane: {reason}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

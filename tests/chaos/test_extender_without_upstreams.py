"""`aicsched serve` as an operator runs it, while everything that it reads from is down."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from tests.extender_kit import args_by_name, args_full
from tests.kube_kit import api_server, node
from tests.trust_kit import Wire

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

NODES = tuple(f"node-{at:02d}" for at in range(40))
REQUESTS = 5000
PROGRAM = "from aicsched.cli import main; main()"


def dead_port() -> int:
    """Find a port where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextlib.contextmanager
def serving(folder: Path, api: str) -> Generator[tuple[Wire, int]]:
    """Run the command with every source named in its settings; all but the API server are down."""
    dead = f"http://127.0.0.1:{dead_port()}"
    kubeconfig = {
        "apiVersion": "v1", "kind": "Config", "current-context": "here",
        "clusters": [{"name": "here", "cluster": {"server": api}}], "users": [{"name": "me", "user": {}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
    }  # fmt: skip
    (folder / "kubeconfig").write_text(json.dumps(kubeconfig))
    (folder / "aicsched.toml").write_text(
        f"""
port = 0
[signals]
order = ["uk"]
store = "{folder}/store.db"
[signals.uk]
url = "{dead}"
zones = ["GB"]
[extender]
kubeconfig = "{folder}/kubeconfig"
prometheus = "{dead}"
refresh_s = 1
metrics_port = 0
settle_s = 0
grid_zones = {{ cluster = "GB" }}
"""
    )
    log = (folder / "log").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "serve", "--config", str(folder / "aicsched.toml")],
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
    )
    try:
        assert process.stdout is not None
        ports: list[int] = []
        for line in process.stdout:
            ports += [int(line.split("127.0.0.1:")[1].split()[0])] if "127.0.0.1:" in line else []
            if len(ports) == 2:
                break
        assert len(ports) == 2, (folder / "log").read_text()
        yield Wire(ports[0]), ports[1]
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
        assert process.returncode == 0, (folder / "log").read_text()
        assert "Traceback" not in (folder / "log").read_text()
    finally:
        process.kill()
        process.communicate(timeout=30)
        log.close()


def all_neutral(wire: Wire, count: int = REQUESTS) -> None:
    """Ask so often, by both verbs and both modes: each answer is 200, complete, and the same for all."""
    took_s: list[float] = []
    offers = [args_by_name(*NODES, "a-new-node"), args_full(*NODES, "a-new-node")]
    bodies = [json.dumps(offer).encode() for offer in offers]
    for at in range(count):
        verb, mode = ("filter", "prioritize")[at % 2], at // 2 % 2
        begun_s = time.perf_counter()
        status, answer = wire.post(f"/{verb}", bodies[mode])
        took_s.append(time.perf_counter() - begun_s)
        assert status == 200, answer
        value: Any = json.loads(answer)
        if verb == "prioritize":
            assert {row["Host"] for row in value} == {*NODES, "a-new-node"}
            assert {row["Score"] for row in value} == {5}
        else:
            key = ("NodeNames", "Nodes")[mode]
            assert value[key] == offers[mode][key]
            assert value["FailedNodes"] == value["FailedAndUnresolvableNodes"] == {}
    took_s.sort()
    print(f"{count}: median {took_s[count // 2] * 1e3:.2f} ms, 99 % {took_s[count * 99 // 100] * 1e3:.2f} ms")
    assert took_s[count // 2] < 0.05


def ready(port: int) -> bool:
    """Ask the probe."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as link:
        link.sendall(b"GET /readyz HTTP/1.0\r\n\r\n")
        return link.recv(65536).startswith(b"HTTP/1.1 200")


def test_nothing_was_ever_there(tmp_path: Path) -> None:
    with serving(tmp_path, f"http://127.0.0.1:{dead_port()}") as (wire, probes):
        all_neutral(wire)
        assert not ready(probes)  # it has never seen a node: another replica may know more
        wire.close()


def test_all_that_was_there_goes_away(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        api = stack.enter_context(api_server())
        api.put("nodes", *(node(name) for name in NODES))
        wire, probes = stack.enter_context(serving(tmp_path, api.url))
        until_s = time.monotonic() + 60
        while not ready(probes):
            assert time.monotonic() < until_s, (tmp_path / "log").read_text()
            time.sleep(0.05)
        all_neutral(wire, 200)
        api.shutdown()
        api.server_close()
        api.cut()
        all_neutral(wire)
        assert ready(probes)  # nodes are known from before: it doesn't go and come with its sources
        wire.close()

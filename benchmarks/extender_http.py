"""The extender over HTTP: CPU a request and latency, beside a floor of Python and a plain extender of Go.

Each server runs in a process of its own and is asked over one kept connection, as kube-scheduler
does; its CPU time is read from the kernel before and after. Servers take turns in short blocks, so that
whatever else the machine does meets all of them. No two bodies in a row are the same: the scheduler
starts at another node each time, so the order of the names differs.
"""

from __future__ import annotations

import contextlib
import json
import socket
import time
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from typing import Any

import numpy as np

from benchmarks.extender_latency import cluster, names_body, nodes_body
from benchmarks.extender_rivals import FLOOR, OURS, Served, go_command, go_extender, python, running
from benchmarks.tables import Table, ratios

TITLE = "Extender over HTTP: CPU a request, latency, start and memory, beside a floor and plain Go"
_OK = 200
_ORDERS = 20
_ROUNDS = 10
COLUMNS = (
    "server", "CPU [ms/request]", "p50 [ms]", "p99 [ms]", "requests", "CPU, ratio to ours",
)  # fmt: skip


@dataclass
class Case:
    """What is asked.

    Parameters
    ----------
    label : str
        For the table.
    verb : str
        Of the extender.
    bodies : list of bytes
        Taken in turn.
    requests : int
        Of each server.
    bound_ms : float
        How much CPU ours may take [ms]; inf where nothing is promised.
    """

    label: str
    verb: str
    bodies: list[bytes]
    requests: int
    bound_ms: float = float("inf")


@dataclass
class Measured:
    """What one server took for one case."""

    cpu_s: float = 0.0
    took_s: list[float] = field(default_factory=list)


def orders(names: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Turn names around, as the scheduler does from pod to pod."""
    starts = [at * len(names) // _ORDERS for at in range(_ORDERS)]
    return [names[at:] + names[:at] for at in starts]


def cases_of(names: tuple[str, ...], whole: int, calls: int) -> list[Case]:
    """Lay out what is asked."""
    turned = [names_body(one) for one in orders(names)]
    fewer = [names_body(one) for one in orders(names[: len(names) // 5])]
    anew = [names_body(names, cpu=f"{at + 1}m") for at in range(min(calls, 200))]
    full, few = [nodes_body(names[:whole])], max(calls // 20, 3)
    many, some = f"{len(names)} names", f"{len(names) // 5} names"
    return [
        Case(f"prioritize, {many}", "prioritize", turned, calls, 1.5),
        Case(f"prioritize, {some}", "prioritize", fewer, calls, 0.5),
        Case(f"prioritize, {whole} whole nodes", "prioritize", full, few, 10.0),
        Case(f"filter, {many}", "filter", turned, calls, 1.5),
        Case(f"filter, {whole} whole nodes", "filter", full, few),
        Case(f"prioritize, {many}, each pod of another size", "prioritize", anew, len(anew)),
    ]


class Link:
    """One kept connection, with as little of a client as can be."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, path: str, body: bytes) -> tuple[bytes, float]:
        """Post a body; return the answer and how long it took [s]."""
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        message = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        begun_s = time.perf_counter()
        self._socket.sendall(message)
        answer = HTTPResponse(self._socket, method="POST")
        answer.begin()
        content = answer.read()
        took_s = time.perf_counter() - begun_s
        assert answer.status == _OK, content[:500]
        return content, took_s

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


def compare(servers: list[Served], case: Case) -> dict[str, Measured]:
    """Ask all servers the same, in turns of short blocks."""
    links = {server.name: Link(server.port) for server in servers}
    sizes = {len(links["ours"].ask(f"/{case.verb}", body)[0]) for body in case.bodies[:_ORDERS]}
    paths = dict.fromkeys(links, f"/{case.verb}") | {"floor": f"/{max(sizes)}"}
    found = {server.name: Measured() for server in servers}
    block = max(case.requests // _ROUNDS, 1)
    for at in range(-block, case.requests, block):
        for server in servers:
            begun_s = server.cpu_s()
            took_s = [
                links[server.name].ask(paths[server.name], case.bodies[(at + step) % len(case.bodies)])[1]
                for step in range(block)
            ]
            if at >= 0:  # the first block is for warming up
                found[server.name].cpu_s += server.cpu_s() - begun_s
                found[server.name].took_s += took_s
    for link in links.values():
        link.close()
    return found


def agree(servers: list[Served], case: Case) -> None:
    """Stop where the rivals do not answer the same question."""
    said: dict[str, Any] = {}
    for server in servers:
        if server.name != "floor":
            link = Link(server.port)
            said[server.name] = json.loads(link.ask(f"/{case.verb}", case.bodies[0])[0])
            link.close()
    first, *others = said.values()
    for other in others:
        if case.verb == "prioritize":
            scores, rivals = ({row["Host"]: row["Score"] for row in rows} for rows in (first, other))
            assert scores.keys() == rivals.keys()
            assert min(rivals.values()) == min(scores.values()) == 0
            assert max(rivals.values()) == max(scores.values()) == 10
        else:
            assert first["NodeNames" if "NodeNames" in first else "Nodes"] in other.values()


def table(case: Case, found: dict[str, Measured]) -> Table:
    """Lay out one case, and stop where ours is over its bound."""
    cpu_ms = {name: 1e3 * one.cpu_s / len(one.took_s) for name, one in found.items()}
    times = ratios(list(cpu_ms.values()), cpu_ms["ours"])
    rows = [
        (
            name, cpu_ms[name], *(float(np.percentile(one.took_s, share)) * 1e3 for share in (50, 99)),
            len(one.took_s), ratio,
        )
        for (name, one), ratio in zip(found.items(), times, strict=True)
    ]  # fmt: skip
    promised = f", of ours promised {case.bound_ms:g} ms CPU" if np.isfinite(case.bound_ms) else ""
    return Table(case.label, COLUMNS, rows, f"Bodies of {len(case.bodies[0]) / 1e6:.2g} MB{promised}.")


def start_and_memory(servers: list[Served], *, before: dict[str, dict[str, float]]) -> Table:
    """Tell how long each took to serve, and the memory that it takes."""
    rows: list[tuple[Any, ...]] = []
    for server in servers:
        now = server.memory_mib()
        rows.append((server.name, server.start_s, before[server.name]["rss"], now["rss"], now["peak"]))
    columns = ("server", "ready after [s]", "RSS at first [MiB]", "RSS at the end [MiB]", "peak RSS [MiB]")
    note = "Memory at the end is after all requests above. Ours foresees the sample for 5,000 nodes first; "
    note += "the start of the command itself stands with `extender_scheduler`."
    return Table("Start and memory", columns, rows, note)


def ready(port: int) -> bool:
    """Ask whether the extender is ready."""
    link = HTTPConnection("127.0.0.1", port, timeout=10)
    link.request("GET", "/readyz")
    status = link.getresponse().status
    link.close()
    return status == _OK


def run(*, smoke: bool) -> list[Table]:
    """Measure all servers on the same bodies.

    Parameters
    ----------
    smoke : bool
        Small inputs, few calls.

    Returns
    -------
    list of Table
        One a case; the rows of Go are missing where Go is.
    """
    from aicsched.extender.podrequest import PodRequest

    by_name, whole, calls = (200, 20, 20) if smoke else (5000, 1000, 2000)
    snapshot = cluster(by_name)
    costs = snapshot.costs.cost_g(PodRequest(vcpus=2.0))
    program = go_extender()
    with contextlib.ExitStack() as stack:
        servers = [
            stack.enter_context(running("floor", python(FLOOR))),
            stack.enter_context(running("ours", python(OURS, str(by_name)))),
        ]
        if program is not None:
            grams = dict(zip(snapshot.names, costs.tolist(), strict=True))
            servers.append(stack.enter_context(running("go", go_command(program, grams))))
        assert ready(servers[1].port)
        before = {server.name: server.memory_mib() for server in servers}
        made: list[Table] = []
        for case in cases_of(snapshot.names, whole, calls):
            agree(servers, case)
            made.append(table(case, compare(servers, case)))
        return [*made, start_and_memory(servers, before=before)]

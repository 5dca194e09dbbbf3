"""What the extender's tests share: a caller for ASGI apps, costs made up by hand, and a judge of answers.

The judge reads answers with the standard library only, so that it shares no code with what it judges.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from aicsched.extender.snapshot import Snapshot

NEUTRAL = 5


@dataclass
class Costs:
    """Costs per node for one vCPU."""

    grams: list[float]

    def cost_g(self, request: Any) -> Any:
        return np.array(self.grams) * request.vcpus


class Raising:
    """A cost model with a defect."""

    def cost_g(self, request: Any) -> Any:
        raise ZeroDivisionError


def snapshot_of(grams: Any, **more: Any) -> Any:
    names = more.pop("names", tuple(grams))
    costs = more.pop("costs", None) or Costs(list(grams.values()))
    return Snapshot(**({"names": names, "costs": costs, "issued_at_s": 1000.0} | more))


@dataclass
class Answer:
    status: int
    headers: dict[bytes, bytes]
    body: bytes

    @classmethod
    def of(cls, body: bytes) -> Any:
        """What a verb's body looks like once it is sent."""
        return cls(200, {}, body)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Client:
    """Calls an ASGI app the way a server does, without a socket."""

    app: Any
    headers: list[tuple[bytes, bytes]] = field(
        default_factory=lambda: [(b"content-type", b"application/json")]
    )

    def request(
        self,
        method: Any,
        path: Any,
        body: Any = b"",
        *,
        headers: Any = None,
        chunk: Any = 65536,
        query: bytes = b"",
    ) -> Any:
        return asyncio.run(self.arequest(method, path, body, headers=headers, chunk=chunk, query=query))

    def post(self, path: Any, body: Any) -> Any:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.request("POST", path, content)

    def get(self, path: Any) -> Any:
        return self.request("GET", path)

    async def arequest(
        self,
        method: Any,
        path: Any,
        body: Any = b"",
        *,
        headers: Any = None,
        chunk: Any = 65536,
        query: bytes = b"",
    ) -> Any:
        chunks = [body[at : at + chunk] for at in range(0, len(body), chunk)] or [b""]
        pending = [
            {"type": "http.request", "body": part, "more_body": at + 1 < len(chunks)}
            for at, part in enumerate(chunks)
        ]

        async def receive() -> Any:
            return pending.pop(0) if pending else {"type": "http.disconnect"}

        return await self.raw(method, path, receive, headers=headers, query=query)

    async def raw(
        self, method: Any, path: Any, receive: Any, *, headers: Any = None, query: bytes = b""
    ) -> Any:
        sent = []

        async def send(message: Any) -> Any:
            sent.append(message)

        head = self.headers if headers is None else headers
        scope = {"type": "http", "method": method, "path": path, "headers": head, "query_string": query}
        await self.app(scope, receive, send)
        if not sent:
            return None
        return Answer(sent[0]["status"], dict(sent[0]["headers"]), sent[1].get("body", b""))


def args_by_name(*names: Any, pod: Any = None) -> Any:
    return {"Pod": pod or {}, "Nodes": None, "NodeNames": list(names)}


def args_full(*names: Any, pod: Any = None) -> Any:
    items = [{"metadata": {"name": name}, "spec": {"podCIDR": "10.0.0.0/24"}} for name in names]
    return {"Pod": pod or {}, "Nodes": {"metadata": {}, "items": items}, "NodeNames": None}


def offered(request: Any) -> Any:
    if request["NodeNames"] is not None:
        return request["NodeNames"]
    return [item["metadata"]["name"] for item in request["Nodes"]["items"] or []]


def judge_filter(request: Any, answer: Any) -> Any:
    """Check an answer to filter against extender/v1 and what was offered."""
    assert answer.status == 200, answer.body
    result = answer.json
    asked, other = ("NodeNames", "Nodes") if request["NodeNames"] is not None else ("Nodes", "NodeNames")
    assert other not in result
    assert result[asked] == request[asked]
    assert result["FailedNodes"] == {}
    assert result["FailedAndUnresolvableNodes"] == {}
    assert result["Error"] == ""


def judge_prioritize(request: Any, answer: Any) -> Any:
    """Check an answer to prioritize; return it as a dict."""
    assert answer.status == 200, answer.body
    result = answer.json
    assert isinstance(result, list)
    assert all(set(row) == {"Host", "Score"} for row in result)
    assert all(type(row["Score"]) is int and 0 <= row["Score"] <= 10 for row in result)
    hosts = [row["Host"] for row in result]
    assert len(hosts) == len(set(hosts))
    assert set(hosts) == set(offered(request))
    return {row["Host"]: row["Score"] for row in result}


def preemption(offer: Any, *, full: bool, pod: Any = None) -> Any:
    """Make what the scheduler sends to preempt, from uids and broken budgets by node."""
    made = {
        node: {
            "Pods": [{"metadata": {"name": uid, "uid": uid}} if full else {"UID": uid} for uid in uids],
            "NumPDBViolations": breaks,
        }
        for node, (uids, breaks) in offer.items()
    }
    return {
        "Pod": pod or {"metadata": {"name": "p"}},
        "NodeNameToVictims": made if full else None,
        "NodeNameToMetaVictims": None if full else made,
    }


def judge_preempt(request: Any, answer: Any) -> Any:
    """Check an answer to preempt: a part of what was offered, victims by uid alone."""
    assert answer.status == 200, answer.body
    result = answer.json
    assert set(result) == {"NodeNameToMetaVictims"}
    asked = request["NodeNameToMetaVictims"]
    full = asked is None
    offered_to = request["NodeNameToVictims"] if full else asked
    for node, chosen in result["NodeNameToMetaVictims"].items():
        assert set(chosen) == {"Pods", "NumPDBViolations"}
        assert type(chosen["NumPDBViolations"]) is int
        uids = [pod["metadata"]["uid"] if full else pod["UID"] for pod in offered_to[node]["Pods"]]
        assert chosen["Pods"] == [{"UID": uid} for uid in uids]
        assert chosen["Pods"]
    return result["NodeNameToMetaVictims"]


def judge_bind(answer: Any) -> Any:
    """Check an answer to bind; return its error."""
    assert answer.status == 200, answer.body
    result = answer.json
    assert set(result) == {"Error"}
    assert isinstance(result["Error"], str)
    return result["Error"]

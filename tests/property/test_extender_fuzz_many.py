"""Twenty thousand bodies against the real server over a real socket.

No body may make it fail, answer what the scheduler can't read, or hold on to memory. Each body is made
from the seed that Hypothesis names when it finds a fault: recorded shapes, bent as JSON and as bytes.
"""

from __future__ import annotations

import copy
import json
import random
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aicsched.extender import names as ours
from tests.trust_kit import ServerProcess, Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BODIES = 20_000
MORE_MIB = 50.0
SCORE = "api/v1/score"
VERBS = ("filter", "prioritize", "preempt", "bind", SCORE)
REFUSALS = {400, 413}
NODES = ["north-00", "east-01", "node-0000", "a-new-node", "", "é", "x" * 300]
ODD: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**63, -(2**64), 1e308, -0.0, 0.1, "", "a", "2", "100m", "1e400",
    "8Gi", "NaN", "\ud800", "\x00", "é" * 100, [], {}, [[]], [None], {"": None}, {"name": None},
    "2026-13-45T99:99Z",
]  # fmt: skip
RAW = (
    b"{", b"}", b"[", b"]", b'"', b",", b":", b"\\", b"\\u", b"\\ud800", b"\x00", b"\xff", b"\xc3", b"NaN",
    b"null", b"1e999", b"-", b"0" * 400, b"9" * 400, b"[" * 2000, b'{"a":' * 2000, b"]" * 2000,
    b"\xef\xbb\xbf", b"//", b" " * 99, b'"NodeNames":["a"],', b'"nodenames":null,', b'"Pod":1,',
    b'"Nodes":{"items":[{}]},',
)  # fmt: skip


def pod(random_: random.Random) -> dict[str, Any]:
    """Make a pod that uses all that is read of one."""
    said = {
        ours.EXPECTED_DURATION: "2h30m", ours.POLICY: "carbon-first", ours.ALLOWED_REGIONS: "north,east",
        ours.MAX_INTENSITY: "400", ours.DEFERRABLE: "true", ours.MAX_DELAY: "6h",
        ours.LATEST_START: "2026-11-24T06:00:00Z", ours.DEADLINE: "2026-11-24T09:00:00Z",
    }  # fmt: skip
    chosen = {key: value for key, value in said.items() if random_.random() < 0.4}
    container = {
        "name": "main",
        "resources": {"requests": {"cpu": "1500m", "memory": "2Gi"}, "limits": {"cpu": 2}},
    }
    return {
        "metadata": {
            "name": "web-0", "namespace": "team", "uid": "u", "labels": {"app": "web"}, "annotations": chosen,
            "ownerReferences": [{"kind": "ReplicaSet", "name": "web-6d4", "uid": "v", "controller": True}],
        },
        "spec": {"containers": [container], "initContainers": [container | {"restartPolicy": "Always"}],
                 "overhead": {"cpu": "10m"}, "priority": 0, "schedulerName": "default-scheduler"},
        "status": {"phase": "Pending"},
    }  # fmt: skip


def shape(verb: str, random_: random.Random) -> dict[str, Any]:
    """Make a body as kube-scheduler sends it."""
    offered = random_.sample(NODES, random_.randint(1, len(NODES)))
    if verb == SCORE:
        work = {"vcpus": 4, "duration_h": 2.5, "memory_gib": 8, "policy": "carbon-first", "name": "a"}
        by = random_.choice(({}, {"by": "region"}, {"candidates": offered}, {"best": 3}))
        return {"work": [work] * random_.randint(1, 3)} | by
    if verb == "bind":
        return {"PodName": "web-0", "PodNamespace": "team", "PodUID": "u", "Node": offered[0]}
    if verb == "preempt":
        victims: dict[str, Any]
        if random_.random() < 0.5:
            victims = {name: {"Pods": [{"UID": "u"}], "NumPDBViolations": 1} for name in offered}
            return {"Pod": pod(random_), "NodeNameToVictims": None, "NodeNameToMetaVictims": victims}
        victims = {name: {"Pods": [pod(random_)], "NumPDBViolations": 0} for name in offered}
        return {"Pod": pod(random_), "NodeNameToVictims": victims, "NodeNameToMetaVictims": None}
    if random_.random() < 0.5:
        return {"Pod": pod(random_), "Nodes": None, "NodeNames": offered}
    items = [
        {"metadata": {"name": name, "labels": {"a": "b"}}, "status": {"capacity": {"cpu": "8"}}}
        for name in offered
    ]
    return {"Pod": pod(random_), "Nodes": {"metadata": {}, "items": items}, "NodeNames": None}


def places(value: Any, found: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """List each container in a JSON value with each key into it."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        found.append((value, key))
        places(inner, found)
    return found


def bend(value: Any, random_: random.Random) -> Any:
    """Put something odd into a JSON value, or take, double or rename something."""
    for _ in range(random_.choice((0, 1, 1, 2, 5))):
        spots = places(value, [])
        if not spots:
            break
        holder, key = random_.choice(spots)
        what = random_.randrange(6)
        if what < 3:
            holder[key] = copy.deepcopy(random_.choice(ODD))
        elif what == 3:
            del holder[key]
        elif isinstance(holder, list):
            holder.extend(copy.deepcopy(holder[key]) for _ in range(random_.choice((1, 50))))
        else:
            holder[random_.choice((str(key).lower(), str(key).upper(), str(key) * 2))] = copy.deepcopy(
                holder[key]
            )
    return value


def break_up(body: bytes, random_: random.Random) -> bytes:
    """Cut, double, swap or put in bytes."""
    for _ in range(random_.choice((0, 0, 0, 1, 1, 3))):
        at, to = sorted(random_.randrange(len(body) + 1) for _ in range(2))
        what = random_.randrange(4)
        if what == 0:
            body = body[:at] + random_.choice(RAW) + body[at:]
        elif what == 1:
            body = body[:at] + body[to:]
        elif what == 2:
            body = body[:to] + body[at:]
        elif body:
            spot = random_.randrange(len(body))
            body = body[:spot] + bytes([random_.randrange(256)]) + body[spot + 1 :]
    return body


def make(verb: str, seed: int) -> bytes:
    """Make the body that belongs to a seed."""
    random_ = random.Random(seed)
    value = bend(shape(verb, random_), random_)
    return break_up(
        json.dumps(value, ensure_ascii=random_.random() < 0.5).encode("utf-8", "surrogatepass"), random_
    )


def judge(verb: str, status: int, answer: bytes) -> None:
    """Check an answer to a body of which nothing is known: what the scheduler can read, and never {}."""
    value = json.loads(answer)
    if verb == SCORE:
        assert status == 200 or (status in {*REFUSALS, 422} and value["status"] == status)
        for one in [] if status != 200 else value["scores"]:
            assert all(0 <= each["level"] <= 10 for each in one["candidates"])
    elif status != 200:
        assert status in REFUSALS, (status, answer[:300])
        assert set(value) == {"code", "error"}
    elif verb == "filter":
        assert len({"Nodes", "NodeNames"} & set(value)) == 1
        assert value["Error"] == ""
    elif verb == "prioritize":
        assert all(set(row) == {"Host", "Score"} for row in value)
        assert all(type(row["Score"]) is int and 0 <= row["Score"] <= 10 for row in value)
    elif verb == "preempt":
        assert isinstance(value["NodeNameToMetaVictims"], dict)
    else:
        assert value["Error"].startswith("aicsched: ")  # nothing was bound


def many(count: int) -> Callable[[Any], Any]:
    """Try a test so often, by seeds that differ each time and are named when one fails."""
    checks = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
    return settings(max_examples=count, deadline=None, database=None, suppress_health_check=checks)


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with ServerProcess(sample=True, probes_port=0) as started:
        yield started
        assert started.stop() == (0, "")  # no unhandled exception was written


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory can't be measured here")
def test_twenty_thousand_bodies_do_no_harm(server: ServerProcess) -> None:
    wire = Wire(server.port)
    seen: Counter[tuple[str, int]] = Counter()
    batch = 25

    def send(seed: int) -> None:
        for at in range(batch):
            verb = VERBS[(seed + at) % len(VERBS)]
            body = make(verb, seed * batch + at)
            status, answer = wire.post(f"/{verb}", body)
            judge(verb, status, answer)
            seen[verb, status] += 1

    for seed in range(60):  # buffers, caches and compiled code are there from now on
        send(-seed)
    before_mib = server.rss_mib()
    many(BODIES // batch)(given(st.integers(0, 2**48))(send))()
    assert seen.total() >= BODIES
    for verb in VERBS:  # neither all refused nor all understood
        assert seen[verb, 200] > 500
        assert seen[verb, 400] > 500
    body = json.dumps(shape("prioritize", random.Random(1))).encode()
    judge("prioritize", *wire.post("/prioritize", body))
    wire.close()
    more_mib = server.rss_mib() - before_mib
    print(f"{seen.total()} bodies, {more_mib:+.1f} MiB")
    assert more_mib < MORE_MIB
    found = server.metrics()
    assert found["aicsched_extender_fallbacks_total", "fault"] == 0
    assert not [key for key in found if key[0] == "aicsched_extender_requests_total" and key[1][0] == "5"]

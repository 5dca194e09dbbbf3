"""Ending deferral: everything that waits is released, whatever happens to it meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from aicsched.config.gates import GatesSettings
from aicsched.extender.gates.ending import release_works
from aicsched.extender.gates.waiting import read_waiting
from aicsched.extender.names import DEFERRABLE, GATE, REASON, RELEASED_AT
from tests.gates_kit import FakeCluster, gated, waits
from tests.signals_kit import START_S, HandClock

if TYPE_CHECKING:
    from collections.abc import Callable

    from aicsched.extender.gates.ending import Ended

SETTINGS = GatesSettings()


def job(name: str) -> dict[str, Any]:
    meta = {
        "name": name,
        "namespace": "shop",
        "uid": f"uid-{name}",
        "creationTimestamp": "2026-01-01T00:00:00Z",
    }
    pod = gated(f"{name}-pod", gates=())
    template = {"metadata": {"labels": {DEFERRABLE: "true"}}, "spec": pod["spec"]}
    return {
        "metadata": meta | {"labels": {DEFERRABLE: "true"}},
        "spec": {"suspend": True, "template": template},
    }


@pytest.fixture
def cluster() -> FakeCluster:
    made = FakeCluster(HandClock(START_S))
    made.put("pods", gated("plain"))
    made.put("pods", gated("said", max_delay="2h"))
    made.put("pods", gated("others", gates=("other.example/x", GATE)))
    made.put("pods", gated("free", gates=("other.example/x",)))
    made.put("jobs", job("nightly"))
    return made


def end(cluster: FakeCluster, meanwhile: Callable[[], None] = lambda: None) -> Ended:
    works = [
        work
        for (kind, _, _), item in list(cluster.objects.items())
        if (work := read_waiting(kind, item, SETTINGS)) is not None
    ]
    meanwhile()
    return release_works(works, cluster, SETTINGS, now_s=cluster.clock.now_s)


def test_everything_of_ours_is_released_and_nothing_of_others(cluster: FakeCluster) -> None:
    ended = end(cluster)
    assert ended.failed == ()
    assert set(ended.released) == {
        "pods shop/plain",
        "pods shop/said",
        "pods shop/others",
        "jobs shop/nightly",
    }
    assert not any(waits(kind, item) for (kind, _, _), item in cluster.objects.items())
    others = cluster.objects["pods", "shop", "others"]
    assert others["spec"]["schedulingGates"] == [{"name": "other.example/x"}]
    assert "ended deferral" in others["metadata"]["annotations"][REASON]
    template = cluster.objects["jobs", "shop", "nightly"]["spec"]["template"]
    assert RELEASED_AT in template["metadata"]["annotations"]
    assert end(cluster).released == ()


def test_what_changes_meanwhile_is_released_too_and_what_is_gone_is_no_fault(cluster: FakeCluster) -> None:
    def meanwhile() -> None:
        changed = cluster.objects["pods", "shop", "others"]
        changed["spec"]["schedulingGates"] = [{"name": GATE}]
        cluster.put("pods", changed)
        cluster.drop("pods", "said")
        cluster.put("pods", gated("plain", gates=()))

    ended = end(cluster, meanwhile)
    assert (ended.failed, set(ended.released)) == ((), {"pods shop/others", "jobs shop/nightly"})


def test_what_cannot_be_released_is_told(cluster: FakeCluster) -> None:
    def meanwhile() -> None:
        cluster.reachable = False

    ended = end(cluster, meanwhile)
    assert ended.released == ()
    assert len(ended.failed) == 4
    assert all("can't be reached" in said for said in ended.failed)

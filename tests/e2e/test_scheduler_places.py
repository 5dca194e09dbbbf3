"""Where the real kube-scheduler puts pods when it asks our extender, in both modes."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.e2e.control_plane import extender_entry, scheduler, scheduler_config
from tests.e2e.objects import make_nodes, make_pods, plain_pod, wait_bound
from tests.e2e.serving import SNAPSHOT, grams_of, serving

if TYPE_CHECKING:
    from tests.e2e.control_plane import ControlPlane

pytestmark = pytest.mark.e2e

GREEN = "node-00007"


@pytest.mark.parametrize("by_name", [True, False], ids=["names", "full"])
def test_pods_land_on_the_greener_node(plane: ControlPlane, by_name: bool) -> None:
    names = make_nodes(plane, 50)
    pods = [plain_pod(f"web-{at}", cpu="100m") for at in range(20)]
    with serving(["-c", SNAPSHOT, grams_of(names, GREEN), "0"]) as extender:
        entry = extender_entry(extender.url, weight=12, nodeCacheCapable=by_name, ignorable=False)
        with scheduler(plane, scheduler_config(entry)) as running:
            on = wait_bound(plane, make_pods(plane, pods))
        assert set(on.values()) == {GREEN}, running.log()[-2000:]


def test_without_the_extender_they_are_not_all_there(plane: ControlPlane) -> None:
    make_nodes(plane, 50)
    with scheduler(plane, scheduler_config()):
        on = wait_bound(plane, make_pods(plane, [plain_pod(f"web-{at}", cpu="100m") for at in range(20)]))
    assert max(Counter(on.values()).values()) <= 5


def test_a_node_that_the_extender_does_not_know_is_not_lost(plane: ControlPlane) -> None:
    names = make_nodes(plane, 4)
    # The other two came after the snapshot.
    known = json.dumps({names[1]: 100.0, names[2]: 1.0})
    taken: list[str] = []
    with serving(["-c", SNAPSHOT, known, "0"]) as extender:
        entry = extender_entry(extender.url, weight=12, ignorable=False)
        with scheduler(plane, scheduler_config(entry)):
            # One fits on each node, so they take the nodes in the order of their scores.
            for at in range(4):
                taken += wait_bound(plane, make_pods(plane, [plain_pod(f"web-{at}", cpu="9")])).values()
    assert taken[0] == names[2]
    assert set(taken) == set(names)

"""An API server that fails in every way while its cluster changes: what is told was true, or it isn't told.

A half-hour of the day takes a third of a second: the client's informers run on the machine's own clock.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from aicsched.errors import AicschedError
from aicsched.fleet.kubernetes.watch import ClusterWatch, WatchLimits
from tests.chaos.test_day_of_outages import seeds
from tests.kube_kit import ApiServer, api_client, api_server, node, pod

if TYPE_CHECKING:
    from aicsched.fleet.kubernetes.cluster import Cluster

HALF_HOUR_S = 0.3
LIMITS = WatchLimits(
    connect_s=0.5,
    read_s=0.3,
    watch_s=1,
    page=3,
    first_wait_s=0.02,
    longest_wait_s=0.1,
    silent_s=2.0,
)
MOODS = (*("well",) * 12, "401", "403", "429", "500", "garbage", "silent", "cut", "compacted", "paging")
KINDS = ("nodes", "pods", "budgets")
NODES = tuple(f"n{number}" for number in range(5))


@dataclass
class World:
    """The cluster, and what it asked of each node at each moment."""

    server: ApiServer
    random: random.Random
    bound: dict[str, tuple[str, int]] = field(default_factory=dict)
    past: list[tuple[float, dict[str, int]]] = field(default_factory=list)
    made: int = 0

    def write_down(self) -> None:
        total = dict.fromkeys(NODES, 0)
        for on, milli in self.bound.values():
            total[on] += milli
        self.past.append((time.monotonic(), total))

    def change(self) -> None:
        """Bind a pod or take one away; it is written down before the server can tell it."""
        if self.bound and self.random.random() < 0.4:
            name = self.random.choice(sorted(self.bound))
            del self.bound[name]
            self.write_down()
            self.server.drop("pods", name, "shop")
            return
        self.made += 1
        name, on, milli = f"p{self.made}", self.random.choice(NODES), 100 * self.random.randint(1, 9)
        self.bound[name] = (on, milli)
        self.write_down()
        self.server.put("pods", pod(name, on=on, cpu=f"{milli}m"))

    def feel(self, mood: str) -> None:
        server = self.server
        server.status, server.watch_status, server.garbage = {}, {}, {}
        server.silent = set()
        server.expire_pages = 0
        if mood.isdigit():
            server.status = server.watch_status = dict.fromkeys(KINDS, int(mood))
            server.cut()
        elif mood == "garbage":
            server.garbage = dict.fromkeys(KINDS, b'{"items": [{"metadata": 3}]}')
            server.compact()
        elif mood == "silent":
            server.silent = set(KINDS)
            server.cut()
        elif mood == "cut":
            server.cut()
        elif mood == "compacted":
            server.compact()
        elif mood == "paging":
            server.expire_pages = 2
            server.compact()

    def told(self, cluster: Cluster) -> dict[str, int]:
        return {name: round(1000 * cluster.requested(name).vcpus) for name in NODES}

    def was_true(self, told: dict[str, int], since_s: float) -> bool:
        """Whether the cluster was so at a moment since a time, or just when that began."""
        before = [total for at_s, total in self.past if at_s <= since_s][-1:]
        return told in [*before, *(total for at_s, total in self.past if at_s > since_s)]


def _told_by(watch: ClusterWatch) -> Cluster | None:
    try:
        return watch.cluster()
    except AicschedError:
        return None


@pytest.mark.parametrize("seed", seeds())
def test_a_day_of_a_failing_api_server(seed: int) -> None:
    seen = {"true": 0, "refused": 0, "caught up": 0}
    with api_server() as server:
        world = World(server, random.Random(seed))
        server.put("nodes", *(node(name) for name in NODES))
        world.write_down()
        for _ in range(4):
            world.change()
        with ClusterWatch(api_client(server.url), limits=LIMITS) as watch:
            watch.wait(10)
            for _ in range(48):
                mood = world.random.choice(MOODS)
                world.feel(mood)
                for _ in range(world.random.randint(0, 3)):
                    world.change()
                time.sleep(HALF_HOUR_S)
                heard_s = watch.heard_s()
                begun_s = time.monotonic() - heard_s
                try:
                    cluster = watch.cluster()
                except AicschedError as error:
                    assert heard_s > LIMITS.silent_s / 2
                    assert error.hint  # noqa: PT017
                    seen["refused"] += 1
                    continue
                assert heard_s <= LIMITS.silent_s + 0.2
                # As it was when the server was last heard, or since; a list may lie a page's time back.
                assert world.was_true(world.told(cluster), begun_s - 1.0), mood
                seen["true"] += 1
            world.feel("well")
            until_s = time.monotonic() + 40
            while time.monotonic() < until_s:
                cluster = _told_by(watch)
                if cluster is not None and world.told(cluster) == world.past[-1][1] and not watch.faults():
                    seen["caught up"] += 1
                    break
                time.sleep(0.05)
    print(seen)
    assert all(seen.values()), seen

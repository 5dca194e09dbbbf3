"""An extender that dies, hangs or comes back while the real kube-scheduler asks it: pods are bound anyway."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.control_plane import extender_entry, free_port, scheduler, scheduler_config
from tests.e2e.objects import eventually, make_nodes, make_pods, nodes_of, plain_pod, wait_bound
from tests.e2e.serving import SNAPSHOT, grams_of, serving

if TYPE_CHECKING:
    from tests.e2e.control_plane import ControlPlane, Scheduler

pytestmark = pytest.mark.e2e

BURST = 300
TIMEOUT_S = 0.3
# The scheduler's histogram has no finer bucket between twice that and its next one.
WORST_S = 1.024


def attempts(running: Scheduler) -> dict[str, float]:
    """Count the scheduler's attempts by result, and those within `WORST_S`."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(running.get("/metrics")):
        if family.name != "scheduler_scheduling_attempt_duration_seconds":
            continue
        for sample in family.samples:
            if sample.name.endswith("_count"):
                found[sample.labels["result"]] = sample.value
            elif sample.labels.get("le") == str(WORST_S) and sample.labels["result"] == "scheduled":
                found["in time"] = sample.value
    return found


def test_a_kill_in_the_middle_of_a_burst_delays_nobody_by_more_than_two_timeouts(plane: ControlPlane) -> None:
    names = make_nodes(plane, 50)
    pods = [plain_pod(f"burst-{at:03d}", cpu="10m", memory="16Mi") for at in range(BURST)]
    with serving(["-c", SNAPSHOT, grams_of(names, names[0]), "0"]) as extender:
        entry = extender_entry(extender.url, ignorable=True, httpTimeout=f"{TIMEOUT_S}s", weight=12)
        with scheduler(plane, scheduler_config(entry)) as running:
            made = make_pods(plane, pods[: BURST // 3])
            eventually(lambda: sum(map(bool, nodes_of(plane).values())) > BURST // 10)
            extender.kill()
            made += make_pods(plane, pods[BURST // 3 :])
            on = wait_bound(plane, made)
            seen = attempts(running)
    assert len(on) == BURST
    # While it lived it was obeyed, and it was dead before the last pod came.
    assert list(on.values()).count(names[0]) > BURST // 10
    assert len(set(on.values())) > 1
    assert seen == {"scheduled": BURST, "in time": BURST}


def test_a_hanging_extender_costs_each_pod_its_timeouts_and_no_more(plane: ControlPlane) -> None:
    names = make_nodes(plane, 50)
    with serving(["-c", SNAPSHOT, grams_of(names, names[0]), "0"]) as extender:
        entry = extender_entry(extender.url, ignorable=True, httpTimeout=f"{TIMEOUT_S}s", weight=12)
        with scheduler(plane, scheduler_config(entry)) as running:
            first = wait_bound(plane, make_pods(plane, [plain_pod("before", cpu="10m")]))
            os.kill(extender.process.pid, signal.SIGSTOP)
            hanging = [plain_pod(f"hung-{at}", cpu="10m") for at in range(5)]
            wait_bound(plane, make_pods(plane, hanging))
            os.kill(extender.process.pid, signal.SIGCONT)
            after = wait_bound(plane, make_pods(plane, [plain_pod("after", cpu="10m")]))
            seen = attempts(running)
    assert seen == {"scheduled": 7, "in time": 7}
    # Awake again, it is asked and obeyed again.
    assert {*first.values(), *after.values()} == {names[0]}


def test_an_extender_that_comes_back_is_asked_again(plane: ControlPlane) -> None:
    names = make_nodes(plane, 50)
    port = free_port()
    entry = extender_entry(f"http://127.0.0.1:{port}", ignorable=True, weight=12)
    with scheduler(plane, scheduler_config(entry)):
        wait_bound(plane, make_pods(plane, [plain_pod("early", cpu="10m")]))
        for turn in range(2):
            with serving(["-c", SNAPSHOT, grams_of(names, names[0]), str(port)]) as extender:
                on = wait_bound(plane, make_pods(plane, [plain_pod(f"turn-{turn}", cpu="10m")]))
                assert set(on.values()) == {names[0]}
                assert extender.stop() == 0
            wait_bound(plane, make_pods(plane, [plain_pod(f"gap-{turn}", cpu="10m")]))


def test_without_ignorable_a_dead_extender_stops_pods_until_it_is_back(plane: ControlPlane) -> None:
    names = make_nodes(plane, 4)
    port = free_port()
    entry = extender_entry(f"http://127.0.0.1:{port}", ignorable=False, weight=12)
    with scheduler(plane, scheduler_config(entry)) as running:
        (name,) = make_pods(plane, [plain_pod("strict", cpu="10m")])
        eventually(lambda: attempts(running).get("error"))
        assert not nodes_of(plane)[name]
        with serving(["-c", SNAPSHOT, grams_of(names, names[0]), str(port)]):
            assert wait_bound(plane, [name]) == {name: names[0]}

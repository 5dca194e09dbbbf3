"""Two replicas behind one address are restarted one after the other while pods come: nothing is lost."""

from __future__ import annotations

import contextlib
import itertools
import selectors
import socket
import threading
import time
import urllib.request
from collections import Counter
from typing import TYPE_CHECKING, Self

import pytest
from prometheus_client.parser import text_string_to_metric_families

from aicsched.account.ledger import Ledger
from tests.e2e.control_plane import extender_entry, free_port, scheduler, scheduler_config
from tests.e2e.live import in_region, live_extender, ready, write_config, write_grid
from tests.e2e.objects import NAMESPACE, eventually, make_namespace, make_nodes, plain_pod, wait_bound

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.control_plane import ControlPlane, Scheduler

pytestmark = pytest.mark.e2e

GRIDS = {"hydro": "CLEAN", "coal": "DIRTY"}
EVERY_S = 0.05


class Service:
    """One address for replicas that say they are ready, as a cluster's Service is."""

    def __init__(self, urls: list[str]) -> None:
        self._urls = urls
        self._ready: list[str] = []
        self._turn = itertools.count()
        self._ended = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.2)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._watch), threading.Thread(target=self._accept)]

    def __enter__(self) -> Self:
        for each in self._threads:
            each.start()
        eventually(lambda: self._ready)
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for each in self._threads:
            each.join()
        self._listener.close()

    def _watch(self) -> None:
        while not self._ended.is_set():
            self._ready = [url for url in self._urls if ready(url)]
            self._ended.wait(0.1)

    def _accept(self) -> None:
        while not self._ended.is_set():
            with contextlib.suppress(TimeoutError):
                client, _ = self._listener.accept()
                threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        chosen = self._ready
        with client, contextlib.suppress(OSError):
            if not chosen:
                return
            port = int(chosen[next(self._turn) % len(chosen)].rpartition(":")[2])
            with (
                socket.create_connection(("127.0.0.1", port)) as replica,
                selectors.DefaultSelector() as both,
            ):
                both.register(client, selectors.EVENT_READ, replica)
                both.register(replica, selectors.EVENT_READ, client)
                while True:
                    for key, _ in both.select():
                        source, other = key.fileobj, key.data
                        assert isinstance(source, socket.socket)
                        part = source.recv(65536)
                        if not part:
                            return
                        other.sendall(part)


def attempts(running: Scheduler) -> dict[str, float]:
    """Count the scheduler's attempts by result."""
    families = {one.name: one for one in text_string_to_metric_families(running.get("/metrics"))}
    samples = families["scheduler_schedule_attempts"].samples
    return {one.labels["result"]: one.value for one in samples if one.value and one.name.endswith("_total")}


def test_a_rolling_restart_loses_no_answer_and_no_decision(plane: ControlPlane, tmp_path: Path) -> None:
    make_namespace(plane, NAMESPACE)
    make_nodes(plane, {f"{region}-{at}": in_region(region) for region in GRIDS for at in range(5)})
    write_grid(tmp_path / "grid.csv", {"CLEAN": 30.0, "DIRTY": 800.0})
    book = tmp_path / "ledger.db"
    ports = [free_port(), free_port()]
    configs = [
        write_config(tmp_path, plane.kubeconfig(), GRIDS, port=port, ledger=str(book), settle_s=1)
        for port in ports
    ]
    made: list[str] = []
    over = threading.Event()

    def keep_coming() -> None:
        with plane.kept() as call:
            while not over.is_set():
                pod = plain_pod(f"web-{len(made):04d}", cpu="10m", memory="8Mi")
                made.append(call("POST", f"/api/v1/namespaces/{NAMESPACE}/pods", pod)["metadata"]["name"])
                time.sleep(EVERY_S)

    with contextlib.ExitStack() as stack:
        replicas = [stack.enter_context(live_extender(config)) for config in configs]
        service = stack.enter_context(Service([one.url for one in replicas]))
        # Not ignorable: an answer that is lost is an attempt that failed.
        entry = extender_entry(service.url, weight=12, ignorable=False)
        running = stack.enter_context(scheduler(plane, scheduler_config(entry)))
        coming = threading.Thread(target=keep_coming)
        coming.start()
        try:
            time.sleep(1)
            for at, config in enumerate(configs):
                assert replicas[at].stop() == 0
                replicas[at] = stack.enter_context(live_extender(config))
                time.sleep(1)
        finally:
            over.set()
            coming.join()
        on = wait_bound(plane, made)
        seen = attempts(running)
        assert {node.partition("-")[0] for node in on.values()} == {"hydro"}, Counter(on.values())
        assert seen == {"scheduled": len(made)}

        def booked() -> list[str]:
            with Ledger(book, read_only=True) as ledger:
                return [one.subject for one in ledger.entries()]

        eventually(lambda: len(booked()) >= len(made), 20)
        subjects = booked()
        for one in replicas:
            assert one.process.poll() is None
            urllib.request.urlopen(f"{one.url}/livez", timeout=5).close()
    assert len(set(subjects)) == len(subjects) == len(made)
    with Ledger(book, read_only=True) as ledger:
        assert ledger.verify().entries == len(made)

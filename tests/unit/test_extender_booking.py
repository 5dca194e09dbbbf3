"""Placements in the ledger: once a pod, whoever books it, with numbers that add up."""

from __future__ import annotations

import sqlite3
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from aicsched.account.ledger import Ledger
from aicsched.extender.live.booking import OUTCOMES, Booker, Room, decision_of
from aicsched.extender.podrequest import PodRequest
from aicsched.extender.sample import sample_snapshot
from aicsched.extender.snapshot import Snapshot, SnapshotHolder
from aicsched.fleet.kubernetes.cluster import Cluster
from aicsched.fleet.kubernetes.objects import Amount, PodFacts

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="module")
def sample() -> Snapshot:
    return sample_snapshot()


def facts(sample: Snapshot, name: str = "web-1", **more: Any) -> PodFacts:
    given: dict[str, Any] = {
        "namespace": "shop",
        "name": name,
        "uid": f"uid-{name}",
        "node": sample.names[3],
        "request": Amount(vcpus=2.0, memory_gib=4.0),
        "bound_s": sample.issued_at_s + 10,
    } | more
    return PodFacts(**given)


def everywhere(sample: Snapshot, vcpus: float = 64.0) -> Room:
    return Room(np.full(len(sample.names), vcpus), np.full(len(sample.names), 512.0))


def test_a_decision_is_the_mean_of_those_that_could_take_it_against_the_one_that_did(
    sample: Snapshot,
) -> None:
    room = everywhere(sample)
    room.vcpus[10:] = 1.0  # too small
    pod = facts(sample, annotations={"aicsched.io/expected-duration": "2h"})
    made = decision_of(pod, sample, room, now_s=0.0)
    terms = sample.costs.terms(PodRequest(vcpus=2.0, memory_gib=4.0, duration_s=7200.0, duration_said=True))
    grams = terms.grams["operational"][1] + terms.grams["idle_share"][1]
    assert made.operational_g == pytest.approx(grams[3])
    assert made.counterfactual_g == pytest.approx(grams[:10].mean())
    best = sample.names[int(np.argmin(grams[:10]))]
    assert f"on the best ({best})" in made.reason
    assert (made.end_s - made.start_s, made.start_s) == (7200, int(pod.bound_s))
    assert made.energy_kwh * sample.costs.g_per_kwh(7200.0)[3] == pytest.approx(made.operational_g)
    assert made.embodied_g > 0
    assert made.synthetic
    zone = sample.costs.fleet.region(made.region).grid_zone
    assert made.inputs[0].startswith(f"{zone}: ")
    # Where it runs counts even if nothing is free there any more.
    alone = decision_of(pod, sample, everywhere(sample, 0.0), now_s=0.0)
    assert alone.counterfactual_g == alone.operational_g


def test_no_number_is_booked_rather_than_a_guess(sample: Snapshot) -> None:
    dark = replace(sample, costs=replace(sample.costs, signals=("neutral",) * len(sample.names)))
    assert decision_of(facts(sample), dark, everywhere(sample), now_s=0.0) is None
    assert decision_of(facts(sample, node="gone"), sample, everywhere(sample), now_s=0.0) is None


class Books:
    """Bookers of one ledger, and what they counted."""

    def __init__(self, sample: Snapshot, path: Path) -> None:
        self.sample, self.path = sample, path
        self.counted: list[tuple[str, float, float]] = []

    def booker(self, snapshot: Snapshot | None = None, *, late_s: float = 0.0) -> Booker:
        return Booker(
            SnapshotHolder(snapshot or self.sample),
            self.path,
            now_s=lambda: self.sample.issued_at_s + 20 + late_s,
            cluster=lambda: Cluster(nodes=()),
            counted=lambda *told: self.counted.append(told),
        )

    def outcomes(self) -> dict[str, int]:
        found = [outcome for outcome, _, _ in self.counted]
        return {name: found.count(name) for name in OUTCOMES if name in found}

    def entries(self) -> tuple[Any, ...]:
        with Ledger(self.path, read_only=True) as ledger:
            ledger.verify()
            return ledger.entries()


@pytest.fixture
def books(sample: Snapshot, tmp_path: Path) -> Books:
    return Books(sample, tmp_path / "ledger.db")


def eventually(holds: Callable[[], bool], within_s: float = 20.0) -> None:
    until = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < until, "not in time"
        time.sleep(0.02)


def test_replicas_and_restarts_book_a_pod_once(books: Books, sample: Snapshot) -> None:
    # The second replica reckons with another snapshot: its numbers differ.
    first, second = books.booker(), books.booker(replace(sample, issued_at_s=sample.issued_at_s + 3600))
    for each in (first, second):
        each.start()
    for index in range(40):
        for each in (first, second):
            each.bound(facts(sample, f"web-{index}"))
    for each in (first, second):
        each.stop()
    assert books.outcomes() == {"booked": 40, "already": 40}
    assert len(books.entries()) == 40
    third = books.booker()
    third.start()
    third.bound(facts(sample, "web-7"))
    third.bound(facts(sample, "web-new"))
    third.stop()
    assert len(books.entries()) == 41
    assert books.outcomes() == {"booked": 41, "already": 41}
    placed = sum(grams for outcome, grams, _ in books.counted if outcome == "booked")
    assert placed == pytest.approx(sum(each.operational_g for each in books.entries()))


def test_what_nobody_chose_or_was_chosen_long_ago_is_not_booked(books: Books, sample: Snapshot) -> None:
    one = books.booker(late_s=900.0)
    one.start()
    one.bound(facts(sample, "everywhere", owner="DaemonSet"))
    one.bound(facts(sample, "mirror", owner="Node"))
    one.bound(facts(sample, "old", bound_s=sample.issued_at_s))
    one.bound(facts(sample, "recent", bound_s=sample.issued_at_s + 60))
    one.bound(facts(sample, "unknown", node="gone", bound_s=sample.issued_at_s + 60))
    one.stop()
    assert [each.subject for each in books.entries()] == ["pod/shop/recent"]
    assert books.outcomes() == {"booked": 1, "unknown": 1}


def test_a_ledger_that_cannot_be_written_is_tried_again_and_loses_nothing(
    books: Books, sample: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = books.booker()
    monkeypatch.setattr("aicsched.account.ledger.BUSY_S", 0.05)
    monkeypatch.setattr(Ledger.__init__, "__kwdefaults__", {"read_only": False, "busy_s": 0.05})
    lock = sqlite3.connect(books.path, isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    one.start()
    for index in range(5):
        one.bound(facts(sample, f"web-{index}"))
    time.sleep(0.5)
    assert books.counted == []
    lock.execute("ROLLBACK")
    lock.close()
    eventually(lambda: len(books.counted) == 5)
    one.stop()
    assert books.outcomes() == {"booked": 5}


def test_pods_wait_for_the_first_snapshot(books: Books, sample: Snapshot) -> None:
    one = books.booker()
    holder = SnapshotHolder()
    one._holder = holder
    one.start()
    one.bound(facts(sample))
    time.sleep(0.3)
    assert books.counted == []
    holder.replace(sample)
    eventually(lambda: books.outcomes() == {"booked": 1})
    one.stop()


def test_an_end_without_a_snapshot_tells_what_was_not_booked(books: Books, sample: Snapshot) -> None:
    one = books.booker()
    one._holder = SnapshotHolder()
    one.start()
    one.bound(facts(sample))
    one.stop()
    assert books.outcomes() == {"dropped": 1}

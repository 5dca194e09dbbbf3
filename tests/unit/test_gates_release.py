"""Releases over an API server in memory: whatever fails, nothing is late, lost or released twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aicsched.account.ledger import Ledger
from aicsched.config.gates import GatesSettings
from aicsched.errors import ConfigError, SourceUnavailable
from aicsched.extender.gates.book import Bookkeeper, decision_of
from aicsched.extender.gates.controller import Controller
from aicsched.extender.gates.election import Election
from aicsched.extender.gates.events import Events
from aicsched.extender.gates.metrics import GatesMetrics
from aicsched.extender.gates.planning import Planning
from aicsched.extender.gates.rules import crowded
from aicsched.extender.gates.waiting import read_time_s, read_waiting
from aicsched.extender.names import DECISION, DEFERRABLE, GATE, PLANNED_START, REASON, RELEASED_AT
from aicsched.fleet.kubernetes.act import ServerClock
from tests.gates_kit import FakeCluster, gated, outlook, rfc3339, suspended, waits
from tests.signals_kit import START_S, HandClock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from aicsched.extender.gates.planner import Outlook

H = 3600
RATES = [300.0, 300, 100, 50, 200, 200, 10, 200, 300, 300, 250, 240, 230, 220, 210, 200]


class Foresight:
    """What can be foreseen, until it can't."""

    def __init__(self) -> None:
        self.rates = list(RATES)
        self.lost = False
        self.fault: Exception | None = None

    def make(self, now_s: float) -> Outlook | None:
        if self.fault is not None:
            raise self.fault
        return None if self.lost else outlook(self.rates * 4, made_s=now_s)


class Replica:
    def __init__(self, cluster: FakeCluster, foresight: Foresight, name: str = "a", **own: Any) -> None:
        self.cluster, self.clock = cluster, cluster.clock
        self.settings = GatesSettings(refresh_s=60, **own)
        self.metrics = GatesMetrics()
        self.election = Election(
            cluster, identity=name, namespace="own", name="lease", clock=self.clock, lease_s=15.0
        )
        self.events = Events(cluster, clock=self.clock, instance=name, per_s=10.0)
        self.booked: list[Any] = []
        self.controller = Controller(
            cluster,
            settings=self.settings,
            clock=self.clock,
            now_s=self.clock.now_s,
            leads=self.election.leads,
            metrics=self.metrics,
            say=self.events.say,
            book=lambda kind, item: self.booked.append(decision_of(item)),
        )
        self.planning = Planning(
            self.controller,
            foresight,
            settings=self.settings,
            clock=self.clock,
            now_s=self.clock.now_s,
            metrics=self.metrics,
        )
        self.listed = False
        self.tries_s = -1e9
        cluster.listeners.append(self.hear)

    def hear(self, kind: str, event: str, item: Any) -> None:
        if self.listed:
            self.controller.heard(kind, event, item)

    def step(self) -> None:
        if not self.listed and self.cluster.reachable:
            self.cluster.resync(self.controller.heard)
            self.listed = True
        if self.clock.monotonic_s() - self.tries_s >= self.election.retry_s:
            self.tries_s = self.clock.monotonic_s()
            self.election.step()
        if self.election.leads():
            self.planning.step()
        self.controller.step()
        while self.events.step():
            pass

    def relist(self) -> None:
        """Learn what was missed, as an informer does once the API server is back."""
        alive = {(key[0], item["metadata"].get("uid")) for key, item in self.cluster.objects.items()}
        for work in list(self.controller._held.values()):
            if (work.work.kind, work.work.uid) not in alive:
                self.controller.heard(work.work.kind, "DELETED", {"metadata": {"uid": work.work.uid}})
        self.cluster.resync(self.controller.heard)

    def die(self) -> None:
        self.cluster.listeners.remove(self.hear)
        self.controller.close()

    def count(self, reason: str) -> float:
        return self.metrics._releases.labels(reason)._value.get()

    def late(self) -> float:
        """How many releases were late."""
        samples = next(iter(self.metrics._late.collect())).samples
        named = {(each.name[-6:], each.labels.get("le")): each.value for each in samples}
        return named["_count", None] - named["bucket", "0.0"]


def run(clock: HandClock, replicas: list[Replica], seconds: float, *, tick_s: float = 1.0) -> None:
    for _ in range(int(seconds / tick_s)):
        clock.sleep(tick_s)
        for replica in replicas:
            replica.step()


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster(HandClock())


@pytest.fixture
def foresight() -> Foresight:
    return Foresight()


@pytest.fixture
def replica(cluster: FakeCluster, foresight: Foresight) -> Iterator[Replica]:
    made = Replica(cluster, foresight)
    run(cluster.clock, [made], 3)
    yield made
    made.controller.close()


def notes(cluster: FakeCluster, name: str = "a", kind: str = "pods") -> dict[str, str]:
    return cluster.objects[kind, "shop", name]["metadata"].get("annotations", {})


def pod_gates(cluster: FakeCluster, name: str) -> list[str]:
    return [gate["name"] for gate in cluster.objects["pods", "shop", name]["spec"]["schedulingGates"]]


# ------------------------------------------------------------------ as it should be


def test_a_pod_waits_for_its_hour_and_is_told(cluster: FakeCluster, replica: Replica) -> None:
    cluster.put("pods", gated("a", max_delay="5h", expected_duration="1h", gates=("other.io/x", GATE)))
    run(cluster.clock, [replica], 5)
    said = notes(cluster)
    assert said[PLANNED_START] == rfc3339(START_S + 3 * H)
    assert "saves" in said[REASON]
    assert [event["reason"] for event in cluster.events] == ["CarbonDeferred"]
    assert cluster.events[0]["regarding"]["uid"] == "uid-shop-a"
    run(cluster.clock, [replica], 3 * H - 60)
    assert not cluster.releases
    run(cluster.clock, [replica], 60)
    (released,) = cluster.releases
    assert released[1] == pytest.approx(START_S + 3 * H, abs=1.0)
    said = notes(cluster)
    assert said[RELEASED_AT] == rfc3339(released[1])
    assert "as planned" in said[REASON]
    # The gates of others stay.
    assert pod_gates(cluster, "a") == ["other.io/x"]
    assert [event["reason"] for event in cluster.events] == ["CarbonDeferred", "CarbonReleased"]
    assert (replica.count("planned"), replica.late()) == (1, 0)
    decision = next(each for each in replica.booked if each is not None)
    assert decision.avoided_g == pytest.approx(0.012 * 250)
    assert decision.subject == "shop/a"


def test_a_suspended_job_goes_on_and_its_pods_do_not_wait_again(
    cluster: FakeCluster, replica: Replica
) -> None:
    template = {"labels": {DEFERRABLE: "true"}}
    cluster.put("jobs", suspended("j", template=template, max_delay="5h", expected_duration="1h"))
    run(cluster.clock, [replica], 5)
    assert notes(cluster, "j", "jobs")[PLANNED_START] == rfc3339(START_S + 3 * H)
    run(cluster.clock, [replica], 3 * H)
    job = cluster.objects["jobs", "shop", "j"]
    assert job["spec"]["suspend"] is False
    marked = job["spec"]["template"]["metadata"]["annotations"]
    assert marked == {RELEASED_AT: job["metadata"]["annotations"][RELEASED_AT]}
    # One that came with our gate all the same is let go at once.
    cluster.put("pods", gated("j-1", made_s=cluster.clock.now_s(), released_at=marked[RELEASED_AT]))
    run(cluster.clock, [replica], 2)
    assert len(cluster.releases) == 2
    assert replica.count("job_released") == 1
    # Whoever suspends it again wants it to rest.
    job["spec"]["suspend"] = True
    cluster.put("jobs", job)
    run(cluster.clock, [replica], 30 * H, tick_s=600)
    assert len(cluster.releases) == 2


def test_without_room_to_save_work_starts_at_once(
    cluster: FakeCluster, replica: Replica, foresight: Foresight
) -> None:
    foresight.rates = [100.0] * 16
    run(cluster.clock, [replica], 61)
    cluster.put("pods", gated("a", made_s=cluster.clock.now_s(), max_delay="5h"))
    run(cluster.clock, [replica], 3)
    assert replica.count("no_saving") == 1
    assert "Starts at once" in notes(cluster)[REASON]
    assert PLANNED_START not in notes(cluster)
    assert DECISION in notes(cluster)


def test_what_cannot_be_read_or_waits_nowhere_starts_at_once(cluster: FakeCluster, replica: Replica) -> None:
    cluster.put("pods", gated("a", max_delay="soon"))
    cluster.put("pods", gated("b", namespace="kube-system"))
    run(cluster.clock, [replica], 2)
    assert replica.count("unreadable") == 2
    assert "'soon' is not a duration" in notes(cluster)[REASON]


def test_a_better_forecast_moves_a_start_and_never_behind_the_latest(
    cluster: FakeCluster, replica: Replica, foresight: Foresight
) -> None:
    cluster.put("pods", gated("a", max_delay="5h", expected_duration="1h"))
    run(cluster.clock, [replica], 5)
    foresight.rates = [300.0, 300, 300, 300, 50, 10, *[1.0] * 10]
    run(cluster.clock, [replica], 1000)
    # At five o'clock it may no longer begin: the margin before the latest start.
    assert notes(cluster)[PLANNED_START] == rfc3339(START_S + 4 * H + 45 * 60)
    assert [event["reason"] for event in cluster.events] == ["CarbonDeferred"]
    assert replica.metrics._replanned._value.get() == 1


# ------------------------------------------------------------------ what fails


def test_forecast_lost_before_a_plan_lets_work_go_after_a_while(
    cluster: FakeCluster, replica: Replica, foresight: Foresight
) -> None:
    foresight.lost = True
    replica.planning._outlook = None
    made_s = cluster.clock.now_s()
    cluster.put("pods", gated("a", made_s=made_s, max_delay="5h"))
    cluster.put("pods", gated("b", made_s=made_s, max_delay="10m"))
    run(cluster.clock, [replica], 1000)
    at_s = {uid: at_s - made_s for uid, at_s in cluster.releases}
    assert at_s["uid-shop-a"] == pytest.approx(900, abs=2)
    assert 590 <= at_s["uid-shop-b"] <= 600
    assert (replica.count("no_forecast"), replica.count("latest_start"), replica.late()) == (1, 1, 0)
    assert all(decision is None for decision in replica.booked)


def test_forecast_lost_after_a_plan_lets_the_plan_stand(
    cluster: FakeCluster, replica: Replica, foresight: Foresight
) -> None:
    cluster.put("pods", gated("a", max_delay="5h", expected_duration="1h"))
    run(cluster.clock, [replica], 5)
    foresight.fault = SourceUnavailable("all sources are down")
    run(cluster.clock, [replica], 4 * H, tick_s=5)
    assert cluster.releases[0][1] == pytest.approx(START_S + 3 * H, abs=6)
    assert replica.metrics._faults.labels("outlook")._value.get() > 10


def test_api_lost_work_goes_as_soon_as_it_is_back(cluster: FakeCluster, replica: Replica) -> None:
    for at in range(50):
        cluster.put("pods", gated(f"p{at}", max_delay="5h", expected_duration="1h"))
    run(cluster.clock, [replica], 30)
    cluster.reachable = False
    run(cluster.clock, [replica], 4 * H, tick_s=5)
    assert not cluster.releases
    back_s = cluster.clock.now_s()
    cluster.reachable = True
    replica.relist()
    run(cluster.clock, [replica], 20)
    assert len(cluster.releases) == 50
    assert max(at_s for _, at_s in cluster.releases) <= back_s + 5


def test_an_answer_that_is_lost_releases_once(cluster: FakeCluster, replica: Replica) -> None:
    cluster.put("pods", gated("a", max_delay="1m"))
    cluster.lose_answers = 1
    run(cluster.clock, [replica], 120)
    assert len(cluster.releases) == 1


def test_whoever_changes_an_object_meanwhile_is_not_overwritten(
    cluster: FakeCluster, replica: Replica
) -> None:
    pod = gated("a")
    cluster.put("pods", pod)
    # The watch lags behind: what is known here is old.
    cluster.listeners.clear()
    pod["metadata"]["annotations"] = {"mine": "kept"}
    pod["spec"]["schedulingGates"] = [{"name": "other.io/x"}, {"name": GATE}]
    cluster.put("pods", pod)
    replica.controller._held["uid-shop-a"].work = read_waiting(
        "pods", gated("a", latest_start=rfc3339(START_S)), GatesSettings()
    )
    run(cluster.clock, [replica], 5)
    assert len(cluster.releases) == 1
    assert notes(cluster)["mine"] == "kept"
    assert pod_gates(cluster, "a") == ["other.io/x"]
    assert "uid-shop-a" not in replica.controller._held


def test_a_right_that_is_missing_for_one_does_not_stop_others(
    cluster: FakeCluster, replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    allowed = cluster.patch

    def patch(kind: str, namespace: str, name: str, steps: Any) -> Any:
        if namespace == "locked":
            msg = "kubernetes: pods in locked may not be written (403)"
            raise ConfigError(msg, hint="grant patch on pods by a role")
        return allowed(kind, namespace, name, steps)

    monkeypatch.setattr(cluster, "patch", patch)
    for at in range(5):
        cluster.put("pods", gated(f"x{at}", namespace="locked", max_delay="1m"))
        cluster.put("pods", gated(f"p{at}", max_delay="1m"))
    run(cluster.clock, [replica], 90)
    assert len(cluster.releases) == 5
    assert replica.late() == 0
    tried = replica.metrics._faults.labels("refused")._value.get()
    assert 5 <= tried <= 60
    monkeypatch.undo()
    run(cluster.clock, [replica], 20)
    assert len(cluster.releases) == 10


def test_many_at_one_time_are_spread_and_in_time(cluster: FakeCluster, foresight: Foresight) -> None:
    replica = Replica(cluster, foresight, releases_per_s=20.0)
    run(cluster.clock, [replica], 3)
    foresight.lost = True
    replica.planning._outlook = None
    made_s = cluster.clock.now_s()
    for at in range(1000):
        cluster.put("pods", gated(f"p{at}", made_s=made_s, max_delay="10m"))
    run(cluster.clock, [replica], 620)
    times = sorted(at_s - made_s for _, at_s in cluster.releases)
    assert len(times) == 1000
    # A thousand at half of 20 a second begin 100 s before the margin.
    assert 490 <= times[0] <= 496
    assert times[-1] <= 600
    second = [int(at_s) for at_s in times]
    assert max(second.count(at) for at in set(second)) <= 21
    assert (replica.late(), replica.count("crowd")) == (0, pytest.approx(1000, abs=25))
    replica.controller.close()


def test_many_more_than_the_rate_allows_are_still_in_time(cluster: FakeCluster, foresight: Foresight) -> None:
    replica = Replica(cluster, foresight, releases_per_s=1.0)
    run(cluster.clock, [replica], 3)
    made_s = cluster.clock.now_s()
    for at in range(300):
        cluster.put("pods", gated(f"p{at}", made_s=made_s, max_delay="1m"))
    run(cluster.clock, [replica], 70)
    assert len(cluster.releases) == 300
    assert replica.late() == 0
    replica.controller.close()


def test_who_goes_early_is_who_must() -> None:
    own = GatesSettings(margin_s=0, releases_per_s=1.0)
    works = [
        read_waiting("pods", gated(f"p{at}", max_delay=f"{delay_s}s"), own)
        for at, delay_s in enumerate((100, 10, 11, 12))
    ]
    assert crowded(works, now_s=START_S + 5.9, settings=own).tolist() == [False] * 4
    assert crowded(works, now_s=START_S + 6, settings=own).tolist() == [False, True, True, True]
    assert crowded([], now_s=0.0, settings=own).tolist() == []


# ------------------------------------------------------------------ two replicas


def test_another_takes_over_in_time_and_releases_nothing_twice(
    cluster: FakeCluster, foresight: Foresight
) -> None:
    first, second = Replica(cluster, foresight, "a"), Replica(cluster, foresight, "b")
    run(cluster.clock, [first, second], 5)
    assert (first.election.leads(), second.election.leads()) == (True, False)
    cluster.put("pods", gated("a", max_delay="5h", expected_duration="1h"))
    run(cluster.clock, [first, second], 5)
    first.die()
    killed_s = cluster.clock.now_s()
    while not second.election.leads():
        run(cluster.clock, [second], 1)
    assert cluster.clock.now_s() - killed_s <= 18
    # The plan stands on the pod: the forecast isn't needed any more.
    foresight.lost = True
    run(cluster.clock, [second], 3 * H, tick_s=2)
    assert [round(at_s - START_S) for _, at_s in cluster.releases] == [pytest.approx(3 * H, abs=3)]
    assert len([event for event in cluster.events if event["reason"] == "CarbonReleased"]) == 1
    assert cluster.objects["leases", "own", "lease"]["spec"]["leaseTransitions"] == 1
    second.controller.close()


def test_who_cannot_renew_stops_before_another_can_begin(cluster: FakeCluster, foresight: Foresight) -> None:
    first, second = Replica(cluster, foresight, "a"), Replica(cluster, foresight, "b")
    run(cluster.clock, [first, second], 5)
    cut = cluster.clock.monotonic_s()
    stopped = taken = None
    for _ in range(30):
        cluster.clock.sleep(1.0)
        if stopped is None and not first.election.leads():
            stopped = cluster.clock.monotonic_s() - cut
        second.step()
        if taken is None and second.election.leads():
            taken = cluster.clock.monotonic_s() - cut
    assert stopped is not None
    assert taken is not None
    assert stopped <= 11
    assert 13 <= taken <= 18
    first.controller.close()
    second.controller.close()


def test_who_ends_hands_over_at_once(cluster: FakeCluster, foresight: Foresight) -> None:
    first, second = Replica(cluster, foresight, "a"), Replica(cluster, foresight, "b")
    run(cluster.clock, [first, second], 5)
    first.election.stop()
    assert not first.election.leads()
    run(cluster.clock, [second], 3)
    assert second.election.leads()
    first.controller.close()
    second.controller.close()


def test_a_leader_that_hangs_gives_way(cluster: FakeCluster) -> None:
    alive = True
    election = Election(
        cluster, identity="a", namespace="own", name="l", clock=cluster.clock, alive=lambda: alive
    )
    election.step()
    assert election.leads()
    alive = False
    for _ in range(6):
        cluster.clock.sleep(2.0)
        election.step()
    assert not election.leads()


def test_the_later_clock_counts() -> None:
    clock = HandClock()
    both = ServerClock(clock.now_s, clock.monotonic_s)
    assert (both.now_s(), both.skew_s()) == (START_S, 0.0)
    both.heard("Thu, 01 Jan 2026 00:10:00 GMT")
    assert (both.now_s(), both.skew_s()) == (START_S + 600, -600.0)
    clock.sleep(5)
    # Ours is set back: the server's goes on.
    clock.time_s -= 7200
    assert both.now_s() == START_S + 605
    for text in (None, "", "yesterday"):
        both.heard(text)
    clock.time_s = START_S + 9000
    assert both.now_s() == START_S + 9000


# ------------------------------------------------------------------ the ledger


def test_released_work_is_booked_once_whoever_sees_it(
    cluster: FakeCluster, replica: Replica, tmp_path: Path
) -> None:
    for at in range(3):
        cluster.put("pods", gated(f"p{at}", max_delay="5h", expected_duration="1h"))
    run(cluster.clock, [replica], 3 * H + 5, tick_s=5)
    items = [item for (kind, _, _), item in cluster.objects.items() if kind == "pods"]
    for _ in range(2):
        book = Bookkeeper(tmp_path / "ledger.db")
        book.start()
        for item in items:
            book.book("pods", item)
        book.stop()
    with Ledger(tmp_path / "ledger.db") as ledger:
        assert [decision.subject for decision in ledger.entries()] == ["shop/p0", "shop/p1", "shop/p2"]
        assert ledger.verify().entries == 3
    follower = Bookkeeper(tmp_path / "other.db", leads=lambda: False)
    follower.start()
    follower.book("pods", items[0])
    follower.stop()
    with Ledger(tmp_path / "other.db") as ledger:
        assert ledger.verify().entries == 0


@pytest.mark.parametrize("spoiled", ["{}", "no JSON", "[1]", '{"start_s": "x"}'])
def test_what_was_tampered_with_is_not_booked(cluster: FakeCluster, replica: Replica, spoiled: str) -> None:
    cluster.put("pods", gated("a", max_delay="5h", expected_duration="1h"))
    run(cluster.clock, [replica], 3 * H + 5, tick_s=5)
    item = cluster.objects["pods", "shop", "a"]
    assert decision_of(item) is not None
    late = {**item, "metadata": {**item["metadata"]}}
    late["metadata"]["annotations"] = {**notes(cluster), RELEASED_AT: rfc3339(START_S + 5 * H)}
    assert decision_of(late) is None
    other = {**item, "metadata": {**item["metadata"], "name": "b"}}
    assert decision_of(other) is None
    item["metadata"]["annotations"][DECISION] = spoiled
    assert decision_of(item) is None


# ------------------------------------------------------------------ whatever comes, in any order

TICK_S = 4.0
WORKS = st.lists(st.tuples(st.sampled_from(["pod", "job"]), st.integers(0, 5000)), min_size=6, max_size=12)
# Losses end mostly before the next one: what is late then, is late by our fault.
LOSSES = ["kill", "lose", "blind", "answer", "drop", "touch"]
EVENTS = [*LOSSES, *["join", "back"] * 3, "see", "pod", "job", "-"]
SCRIPT = st.lists(st.tuples(st.sampled_from(EVENTS), st.integers(4, 900)), min_size=6, max_size=14)


class World:
    """Two replicas or fewer, and what happens to them."""

    def __init__(self) -> None:
        # Twenty minutes before a cleaner hour, eighty before the cleanest.
        self.clock = HandClock(START_S + 40 * 60)
        self.cluster = FakeCluster(self.clock)
        self.foresight = Foresight()
        self.foresight.rates = [300.0, 150, 50, 200]
        self.replicas = [Replica(self.cluster, self.foresight, "r0")]
        self.made = 0
        self.latest: dict[str, float] = {}
        # When last nobody could have acted.
        self.uncalm: list[float] = [self.clock.now_s()]
        self.leaderless_s = 0.0

    def do(self, what: str, pass_s: int) -> None:
        if what in {"pod", "job"} and self.cluster.reachable:
            self.add(what, pass_s)
        elif what == "kill" and self.replicas:
            self.kill()
        elif what == "join" and len(self.replicas) < 3:
            self.join()
        elif what == "lose":
            self.cluster.reachable = False
        elif what == "back":
            self.back()
        elif what in {"blind", "see"}:
            self.see(lost=what == "blind")
        elif what == "answer":
            self.cluster.lose_answers = 2
        elif what in {"drop", "touch"} and self.cluster.reachable:
            self.meddle(what)
        self.go(pass_s)

    def join(self) -> None:
        self.made += 1
        self.replicas.append(Replica(self.cluster, self.foresight, f"r{self.made}"))

    def kill(self) -> None:
        leader = next((each for each in self.replicas if each.election.leads()), self.replicas[0])
        self.replicas.remove(leader)
        leader.die()

    def see(self, *, lost: bool) -> None:
        self.foresight.lost = lost
        for replica in self.replicas if lost else ():
            # As after an hour without a word.
            replica.planning._outlook = None

    def add(self, what: str, delay_s: int) -> None:
        self.made += 1
        name, made_s = f"w{self.made}", self.clock.now_s()
        make = gated if what == "pod" else suspended
        said = {"max_delay": f"{delay_s}s"} if self.made % 3 else {"latest_start": rfc3339(made_s + delay_s)}
        item = make(name, made_s=made_s, expected_duration="10m", **said)
        self.latest[item["metadata"]["uid"]] = made_s + delay_s
        self.cluster.put("pods" if what == "pod" else "jobs", item)

    def meddle(self, what: str) -> None:
        held = [key for key, item in self.cluster.objects.items() if key[0] == "pods" and waits("pods", item)]
        if not held:
            return
        kind, namespace, name = held[self.made % len(held)]
        if what == "drop":
            self.latest.pop(self.cluster.objects[held[self.made % len(held)]]["metadata"]["uid"])
            self.cluster.drop(kind, name, namespace)
        else:
            item = self.cluster.objects[kind, namespace, name]
            item["metadata"].setdefault("annotations", {})["touched"] = str(self.made)
            self.cluster.put(kind, item)

    def back(self) -> None:
        self.cluster.reachable = True
        for replica in self.replicas:
            if replica.listed:
                replica.relist()

    def go(self, seconds: float) -> None:
        for _ in range(max(1, int(seconds / TICK_S))):
            self.clock.sleep(TICK_S)
            before = self.cluster.lose_answers
            for replica in self.replicas:
                replica.step()
            leaders = sum(replica.election.leads() for replica in self.replicas)
            assert leaders <= 1
            if not (leaders and self.cluster.reachable) or self.cluster.lose_answers < before:
                self.uncalm.append(self.clock.now_s())
            tried = self.cluster.reachable and self.replicas and not leaders
            self.leaderless_s = self.leaderless_s + TICK_S if tried else 0.0
            # Another that is there takes over within the Lease, a try and a tick.
            assert self.leaderless_s <= 15 + 2 * TICK_S

    def judge(self) -> None:
        released = [uid for uid, _ in self.cluster.releases]
        assert len(set(released)) == len(released), "twice"
        times = dict(self.cluster.releases)
        assert set(times) >= set(self.latest), "never"
        for uid, latest_s in self.latest.items():
            trouble_s = max([at_s for at_s in self.uncalm if at_s <= times[uid]], default=0.0)
            made = next(
                item["metadata"]["creationTimestamp"]
                for item in self.cluster.objects.values()
                if item["metadata"].get("uid") == uid
            )
            born_s = read_time_s(made)
            assert times[uid] <= max(latest_s, trouble_s + 2 * TICK_S, born_s + 2 * TICK_S), "late"
        told = [event["metadata"]["name"] for event in self.cluster.events]
        assert len(set(told)) == len(told)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(works=WORKS, script=SCRIPT, blind=st.booleans())
def test_nothing_is_late_lost_or_released_twice(
    works: list[tuple[str, int]], script: list[tuple[str, int]], blind: bool
) -> None:
    world = World()
    try:
        world.join()
        world.see(lost=blind)
        world.go(TICK_S)
        for what, delay_s in works:
            world.add(what, delay_s)
        for what, pass_s in script:
            world.do(what, pass_s)
        world.back()
        world.join()
        world.go(5200)
        world.judge()
    finally:
        for replica in world.replicas:
            replica.controller.close()

"""What waits and for how long, when it starts by the forecast, and what the webhook answers."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aicsched.config import Settings
from aicsched.config.gates import GatesSettings
from aicsched.errors import ConfigError, MalformedBody
from aicsched.extender.gates.planner import finer, plan_starts
from aicsched.extender.gates.rules import Why
from aicsched.extender.gates.service import Service
from aicsched.extender.gates.waiting import Waiting, read_waiting
from aicsched.extender.gates.webhook import Webhook
from aicsched.extender.names import DEFERRABLE, GATE
from aicsched.signals.carbon.sample import SampleCarbon
from tests.gates_kit import gated, outlook, patched, rfc3339, suspended
from tests.signals_kit import START_S

H = 3600
OWN = GatesSettings(margin_s=0)


def work(item: dict[str, Any], kind: str = "pods", own: GatesSettings = OWN) -> Waiting:
    found = read_waiting(kind, item, own)
    assert found is not None
    return found


# ------------------------------------------------------------------ how long


@pytest.mark.parametrize(
    ("said", "latest_h"),
    [
        ({}, 12),
        ({"max_delay": "2h30m"}, 2.5),
        ({"max_delay": "30d"}, 72),
        ({"latest_start": rfc3339(START_S + 5 * H)}, 5),
        ({"deadline": rfc3339(START_S + 8 * H), "expected_duration": "2h"}, 6),
        ({"deadline": rfc3339(START_S + 8 * H), "expected_duration": "2h", "max_delay": "4h"}, 4),
        ({"latest_start": "2025-12-31T23:00:00Z"}, -1),
        ({"latest_start": "2026-01-01T03:00:00.9+01:00"}, 2),
    ],
)
def test_the_earliest_limit_holds(said: dict[str, str], latest_h: float) -> None:
    terms = work(gated("a", **said)).terms
    assert (terms.latest_s - START_S) / H == latest_h
    assert not terms.faults


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ({"max_delay": "soon"}, "aicsched.io/max-delay: 'soon' is not a duration"),
        ({"max_delay": "9" * 400 + "d"}, "is too long"),
        ({"expected_duration": "0s"}, "aicsched.io/expected-duration: it is 0"),
        ({"latest_start": "tomorrow"}, "aicsched.io/latest-start: 'tomorrow' is no time"),
        ({"latest_start": "2026-01-01T03:00:00"}, "no offset from UTC"),
        ({"latest_start": "0001-01-01T00:00:00+14:00"}, "out of range"),
        ({"deadline": "2026-01-01T03:00:00Z"}, "add aicsched.io/expected-duration"),
        ({"deadline": "2026-01-01T03:00:00Z", "expected_duration": "x"}, "'x' is not a duration"),
    ],
)
def test_what_cannot_be_read_is_named(said: dict[str, str], fault: str) -> None:
    assert fault in " ".join(work(gated("a", **said)).terms.faults)


def test_a_pod_with_our_gate_waits_for_us_whatever_else_it_says() -> None:
    unmarked = work(gated("a", labels={}, gates=("other.io/x", GATE)))
    assert (unmarked.gate, unmarked.terms.faults) == (1, ())
    elsewhere = work(gated("a", namespace="kube-system"))
    assert "isn't deferred" in elsewhere.terms.faults[0]
    assert read_waiting("pods", gated("a", gates=("other.io/x",)), OWN) is None
    going = gated("a")
    going["metadata"]["deletionTimestamp"] = rfc3339(START_S)
    assert read_waiting("pods", going, OWN) is None


def test_what_a_pod_holds_and_where_it_may_run() -> None:
    pod = work(gated("a", allowed_regions="north, south"))
    assert (pod.request.vcpus, pod.request.memory_gib, pod.regions) == (2.0, 4.0, ("north", "south"))
    chosen = gated("a", spec={"nodeSelector": {"topology.kubernetes.io/region": "west"}})
    assert work(chosen).regions == ("west",)
    bad = gated("a")
    bad["spec"]["containers"] = "none"
    assert work(bad).request.vcpus == 0.1


def test_suspended_jobs_wait_unless_others_decide_about_them() -> None:
    job = work(suspended("j", expected_duration="1h"), "jobs")
    assert (job.kind, job.request.vcpus, job.gate, job.marks_template) == ("jobs", 6.0, -1, False)
    again = suspended("j", template={"labels": {DEFERRABLE: "true"}})
    assert work(again, "jobs").marks_template
    once = suspended("j")
    once["spec"] |= {"parallelism": 10, "completions": 2}
    assert work(once, "jobs").request.vcpus == 4.0
    runs = suspended("j")
    runs["spec"]["suspend"] = False
    queued = suspended("j", labels={DEFERRABLE: "true", "kueue.x-k8s.io/queue-name": "q"})
    managed = suspended("j")
    managed["spec"]["managedBy"] = "kueue.x-k8s.io/multikueue"
    rested = suspended("j", released_at=rfc3339(START_S))
    for other in (
        runs,
        queued,
        managed,
        rested,
        suspended("j", labels={}),
        suspended("j", namespace="kube-system"),
    ):
        assert read_waiting("jobs", other, OWN) is None


# ------------------------------------------------------------------ when

RATES = [300.0, 300, 100, 50, 200, 200, 10, 200]


def starts(
    *items: dict[str, Any], own: GatesSettings = OWN, now_s: float = START_S, **more: Any
) -> dict[str, Any]:
    works = [work(item, own=own) for item in items]
    foreseen = more.pop("foreseen", None) or outlook(RATES, capacity_vcpus=more.pop("capacity_vcpus", np.inf))
    return plan_starts(works, foreseen, now_s=now_s, settings=own, **more)


def test_work_starts_in_its_cleanest_window() -> None:
    plan = starts(gated("a", max_delay="4h", expected_duration="1h"))["uid-shop-a"]
    assert ((plan.start_s - START_S) / H, plan.why) == (3, Why.PLANNED)
    # 2 vCPUs of 5 W at a PUE of 1.2 for an hour: 0.012 kWh.
    decision = plan.decision
    assert decision is not None
    assert decision.operational_g == pytest.approx(0.012 * 50)
    assert decision.counterfactual_g == pytest.approx(0.012 * 300)
    assert (decision.region, decision.subject) == ("north", "shop/a")
    assert "saves 3 g (83%)" in plan.reason
    assert rfc3339(START_S + 4 * H) in plan.reason


@settings(max_examples=60, deadline=None)
@given(
    rates=st.lists(st.integers(1, 500), min_size=4, max_size=12),
    delay_min=st.integers(0, 300),
    duration_min=st.integers(1, 200),
    into_min=st.integers(0, 59),
)
def test_alone_it_starts_where_brute_force_says(
    rates: list[int], delay_min: int, duration_min: int, into_min: int
) -> None:
    own = GatesSettings(margin_s=0, min_saving_share=0.0)
    now_s = START_S + 60 * into_min
    item = gated("a", made_s=now_s, max_delay=f"{delay_min}m", expected_duration=f"{duration_min}m")
    foreseen = outlook(rates)
    plan = plan_starts([work(item, own=own)], foreseen, now_s=now_s, settings=own)["uid-shop-a"]
    quarters = np.repeat(np.array(rates, float), 4)
    first = into_min // 15
    latest = min((into_min + delay_min) // 15, len(quarters) - 1)
    needs = -(-duration_min // 15)
    room = len(quarters) - first
    held = min(needs, max(room - (latest - first), -(-room // 2)))
    means = [quarters[at : at + held].mean() for at in range(first, min(latest, len(quarters) - held) + 1)]
    best = min(means)
    if plan.why is Why.NO_SAVING:
        assert means[0] == pytest.approx(best)
    else:
        at = int(plan.start_s - START_S) // 900
        assert quarters[at : at + held].mean() == pytest.approx(best)
        assert plan.start_s <= START_S + (into_min + delay_min) * 60
    assert (plan.decision is None) == (held < needs)


def test_a_saving_too_small_is_not_waited_for() -> None:
    own = GatesSettings(min_saving_share=0.1, margin_s=0)
    plan = starts(gated("a", max_delay="4h"), own=own, foreseen=outlook([100.0, 95, 92, 95, 99]))[
        "uid-shop-a"
    ]
    assert (plan.why, plan.saving_g) == (Why.NO_SAVING, 0.0)
    assert plan.decision is not None
    assert plan.decision.avoided_g == 0


def test_a_start_that_stands_gives_way_to_a_better_one_only() -> None:
    item = gated("a", max_delay="6h", expected_duration="1h")
    stands = START_S + 3 * H
    near = outlook([300.0, 300, 100, 50, 45, 60, 80, 90])
    assert starts(item, foreseen=near, standing={"uid-shop-a": stands}) == {}
    far = outlook([300.0, 300, 100, 50, 20, 60, 80, 90])
    moved = starts(item, foreseen=far, standing={"uid-shop-a": stands})["uid-shop-a"]
    assert (moved.start_s - START_S) / H == 4


def test_capacity_spreads_work_and_never_keeps_it() -> None:
    items = [gated(f"p{at}", max_delay="5h", expected_duration="1h") for at in range(4)]
    plans = starts(*items, capacity_vcpus=4.0)
    hours = sorted((plan.start_s - START_S) / H for plan in plans.values())
    # Two of 2 vCPUs fit into the cleanest hour of 4.
    assert hours.count(3) == 2
    assert set(hours) <= {2, 3, 4}
    # What fits nowhere is planned as if there was room.
    alone = starts(*items, capacity_vcpus=1.0)
    assert {(plan.start_s - START_S) / H for plan in alone.values()} == {3}
    # More than fits before the latest start: too.
    many = [gated(f"q{at}", max_delay="1h", expected_duration="1h") for at in range(40)]
    assert len(starts(*many, capacity_vcpus=4.0)) == 40
    # What is planned already holds its place.
    held = starts(*items[:2], capacity_vcpus=4.0)
    rest = starts(*items[2:], capacity_vcpus=4.0, others=list(held.values()))
    assert all((plan.start_s - START_S) / H != 3 for plan in rest.values())


def test_work_goes_by_its_own_regions() -> None:
    two = outlook(RATES, regions=("north", "south"))
    two.forecasts["SOUTH"] = outlook([1.0] * 8, regions=("south",)).forecasts["SOUTH"]
    both = starts(gated("a", max_delay="4h"), foreseen=two)["uid-shop-a"]
    assert (both.region, both.why) == ("south", Why.NO_SAVING)
    bound = starts(gated("a", max_delay="4h", allowed_regions="north"), foreseen=two)["uid-shop-a"]
    assert bound.region == "north"
    assert starts(gated("a", allowed_regions="nowhere"), foreseen=two) == {}


def test_published_policies_serve_too() -> None:
    own = GatesSettings(policy="no_wait", margin_s=0)
    assert starts(gated("a", max_delay="4h"), own=own)["uid-shop-a"].why is Why.NO_SAVING
    with pytest.raises(ConfigError, match="there is no policy 'best'"):
        starts(gated("a"), own=GatesSettings(policy="best"))
    unknown = Settings(gates=GatesSettings(policy="best"))
    with pytest.raises(ConfigError, match="there is no policy 'best'"):
        Service(unknown, None, SampleCarbon())


def test_finer_slots_hold_the_same() -> None:
    coarse = outlook(RATES).forecasts["NORTH"]
    fine = finer(coarse)
    assert (len(fine.slots), fine.slots.end_s) == (32, coarse.slots.end_s)
    assert np.array_equal(fine.mean_g_per_kwh.reshape(8, 4).mean(axis=1), coarse.mean_g_per_kwh)
    assert finer(coarse, 3500).slots == coarse.slots


# ------------------------------------------------------------------ the webhook


def review(pod: dict[str, Any], **more: Any) -> bytes:
    asked = {
        "uid": "7",
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "operation": "CREATE",
        "namespace": "shop",
        "dryRun": True,
        "object": pod,
    }
    return json.dumps(
        {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": asked | more}
    ).encode()


def fresh(**more: Any) -> dict[str, Any]:
    pod = gated("a", **more)
    del pod["spec"]["schedulingGates"], pod["metadata"]["creationTimestamp"]
    return pod


def asked(body: bytes) -> dict[str, Any]:
    answer = json.loads(Webhook(GatesSettings(), now_s=lambda: START_S).answer(body))
    assert (answer["apiVersion"], answer["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
    assert (answer["response"]["uid"], answer["response"]["allowed"]) == ("7", True)
    return answer["response"]


def test_marked_pods_get_the_gate_once() -> None:
    pod = fresh()
    response = asked(review(pod))
    assert response["patchType"] == "JSONPatch"
    made = patched(pod, json.loads(base64.b64decode(response["patch"])))
    assert made["spec"]["schedulingGates"] == [{"name": GATE}]
    assert "patch" not in asked(review(made))
    other = fresh(spec={"schedulingGates": [{"name": "other.io/x"}]})
    other["spec"]["schedulingGates"] = [{"name": "other.io/x"}]
    made = patched(other, json.loads(base64.b64decode(asked(review(other))["patch"])))
    assert [gate["name"] for gate in made["spec"]["schedulingGates"]] == ["other.io/x", GATE]


@pytest.mark.parametrize(
    "body",
    [
        review(fresh(labels={})),
        review(fresh(labels={DEFERRABLE: "false"})),
        review(fresh(), operation="UPDATE"),
        review(fresh(), subResource="binding"),
        review(fresh(), namespace="kube-system"),
        review(fresh(), kind={"group": "apps", "version": "v1", "kind": "Deployment"}),
        review(fresh(), object=None),
        review(fresh(spec={"nodeName": "node-1"})),
        review(fresh(spec={"priorityClassName": "system-node-critical"})),
        review(fresh(owners=[{"kind": "DaemonSet", "name": "d"}])),
        review(fresh(owners=[{"kind": "Node", "name": "n"}])),
        review(fresh(released_at=rfc3339(START_S))),
        review(fresh(max_delay="30s")),
    ],
)
def test_all_others_pass(body: bytes) -> None:
    response = asked(body)
    assert "patch" not in response
    assert "warnings" not in response


def test_mirror_pods_pass() -> None:
    pod = fresh()
    pod["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "x"}
    assert "patch" not in asked(review(pod))


def test_what_cannot_be_read_is_warned_of_and_starts_at_once() -> None:
    response = asked(review(fresh(max_delay="soon\n" + "x" * 500, deadline="2026-01-02T00:00:00Z")))
    assert "patch" not in response
    assert [warning.partition(":")[0] for warning in response["warnings"]] == [
        "aicsched.io/max-delay",
        "aicsched.io/deadline",
    ]
    assert all(len(warning) <= 250 and warning.isprintable() for warning in response["warnings"])


def test_what_is_no_review_is_refused() -> None:
    counted: list[str] = []
    webhook = Webhook(GatesSettings(), counted=counted.append)
    for body in (b"", b"{}", b"[]", b"{" * 100_000, b'{"request":{"uid":3}}', b"\xff"):
        with pytest.raises(MalformedBody, match="no AdmissionReview"):
            webhook.answer(body)
    assert json.loads(webhook.allow(review(fresh())))["response"] == {"uid": "7", "allowed": True}
    assert counted == ["fault"]


@settings(max_examples=300, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "metadata",
                        "spec",
                        "labels",
                        "annotations",
                        "schedulingGates",
                        "ownerReferences",
                        "name",
                        DEFERRABLE,
                    ]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=20,
    )
)
def test_any_object_is_answered(item: Any) -> None:
    if item is None or isinstance(item, dict):
        asked(review(item))
    for kind in ("pods", "jobs"):
        if isinstance(item, dict):
            read_waiting(kind, item, OWN)

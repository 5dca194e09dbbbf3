"""What a pod says of itself: policies, lives, hard constraints, and why it gets which level."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest

from aicsched.extender.app import ExtenderApp
from aicsched.extender.explain import Explanation
from aicsched.extender.handlers import Handlers
from aicsched.extender.metrics import ExtenderMetrics
from aicsched.extender.podrequest import PodRequest
from aicsched.extender.policies import PolicyTable
from aicsched.extender.sample import sample_snapshot
from aicsched.extender.snapshot import Snapshot, SnapshotHolder
from aicsched.score.policy import read_policies
from tests.extender_kit import snapshot_of

if TYPE_CHECKING:
    from pathlib import Path

ALLOWED, CLEAN = "aicsched.io/allowed-regions", "aicsched.io/max-g-per-kwh"


@pytest.fixture(scope="module")
def sample() -> Snapshot:
    return sample_snapshot()


def with_costs(snapshot: Snapshot, **changes: Any) -> Snapshot:
    return replace(snapshot, costs=replace(snapshot.costs, **changes))


def handlers(snapshot: Snapshot | None, now_s: float | None = None) -> Handlers:
    at_s = now_s if now_s is not None else (0.0 if snapshot is None else snapshot.issued_at_s)
    metrics = ExtenderMetrics()
    return Handlers(SnapshotHolder(snapshot), metrics, lambda: at_s, names_body_bytes=2**23)


def body(names: Any, annotations: Any = None, **meta: Any) -> bytes:
    metadata = {"name": "p", "namespace": "shop", "annotations": annotations or {}} | meta
    return json.dumps({"Pod": {"metadata": metadata}, "Nodes": None, "NodeNames": list(names)}).encode()


def filtered(snapshot: Snapshot | None, names: Any, annotations: Any, **more: Any) -> Any:
    answer = json.loads(handlers(snapshot, more.pop("now_s", None)).filter(body(names, annotations, **more)))
    assert answer["Error"] == ""
    lost = answer["FailedNodes"] | answer["FailedAndUnresolvableNodes"]
    # Whatever fails, nobody is lost or doubled.
    assert sorted([*answer["NodeNames"], *lost]) == sorted(names)
    return answer


def test_allowed_regions_leave_the_nodes_of_those_regions(sample: Snapshot) -> None:
    fleet = sample.costs.fleet
    chosen = {fleet.regions[0].name, fleet.regions[1].name}
    answer = filtered(sample, sample.names, {ALLOWED: f" {', '.join(chosen)},"})
    assert set(answer["NodeNames"]) == {node.name for node in fleet.nodes if node.region in chosen}
    # One text for all: the scheduler joins equal ones.
    assert set(answer["FailedAndUnresolvableNodes"].values()) == {
        f"the pod's {ALLOWED} doesn't name the node's region"
    }
    assert filtered(sample, sample.names, {ALLOWED: ""})["NodeNames"] == []


def test_a_pod_that_asks_for_nothing_hard_loses_no_node(sample: Snapshot) -> None:
    offered = [*sample.names, "a-stranger"]
    for said in ({}, {"aicsched.io/policy": "slo-first"}, {"aicsched.io/expected-duration": "2h"}):
        assert filtered(sample, offered, said)["NodeNames"] == offered


def test_the_largest_intensity_is_held_against_the_pods_own_life(sample: Snapshot) -> None:
    life_s = 4 * 3600.0
    met = sample.costs.g_per_kwh(life_s)
    limit = float(np.median(met))
    answer = filtered(sample, sample.names, {CLEAN: str(limit), "aicsched.io/expected-duration": "4h"})
    assert set(answer["NodeNames"]) == {name for name, g in zip(sample.names, met, strict=True) if g <= limit}
    assert 0 < len(answer["NodeNames"]) < len(sample.names)


def test_what_is_not_known_does_not_meet_a_hard_constraint(sample: Snapshot) -> None:
    dark = with_costs(sample, signals=("neutral", "unknown", *sample.costs.signals[2:]))
    first, second, *_ = sample.names
    offered = [*sample.names, "a-stranger"]
    answer = filtered(dark, offered, {CLEAN: "100000"})
    reasons = answer["FailedAndUnresolvableNodes"]
    assert set(reasons) == {first, second, "a-stranger"}
    assert (
        reasons[first] == reasons[second] == f"the grid's intensity is unknown, which the pod's {CLEAN} needs"
    )
    assert "isn't known yet" in reasons["a-stranger"]
    # Where it stands is known all the same.
    everywhere = ",".join(region.name for region in sample.costs.fleet.regions)
    assert set(filtered(dark, offered, {ALLOWED: everywhere})["FailedAndUnresolvableNodes"]) == {"a-stranger"}


@pytest.mark.parametrize("text", ["soon", "-3", "0", "nan", "inf", ""])
def test_a_limit_that_cannot_be_read_lets_nobody_in(sample: Snapshot, text: str) -> None:
    answer = filtered(sample, sample.names[:3], {CLEAN: text})
    assert set(answer["FailedAndUnresolvableNodes"].values()) == {f"the pod's {CLEAN} is no positive number"}


def test_a_stale_snapshot_still_knows_regions_but_no_intensity(sample: Snapshot) -> None:
    old = replace(sample, max_age_s=60.0)
    later_s = sample.issued_at_s + 3600
    region = sample.costs.fleet.regions[0].name
    assert filtered(old, sample.names, {ALLOWED: region}, now_s=later_s)["NodeNames"]
    assert filtered(old, sample.names, {CLEAN: "100000"}, now_s=later_s)["NodeNames"] == []


def test_without_a_snapshot_or_with_a_defect_hard_constraints_fail_closed(
    sample: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert filtered(None, ["a", "b"], {ALLOWED: "north"})["NodeNames"] == []
    assert filtered(None, ["a", "b"], {})["NodeNames"] == ["a", "b"]
    # Costs without regions can't meet one either.
    assert filtered(snapshot_of({"a": 1.0}), ["a"], {ALLOWED: "north"})["NodeNames"] == []
    monkeypatch.setattr(Snapshot, "refusals", lambda *_, **__: 1 / 0)
    assert filtered(sample, sample.names[:2], {ALLOWED: "north"})["NodeNames"] == []
    assert filtered(sample, sample.names[:2], {})["NodeNames"] == list(sample.names[:2])


def test_limits_of_policies_filter_only_where_they_are_hard(sample: Snapshot, tmp_path: Path) -> None:
    region = sample.costs.fleet.regions[0].name
    path = tmp_path / "policies.toml"
    path.write_text(f'[namespaces.shop.limits]\nregions = ["{region}"]\n')
    book = read_policies(path)
    soft = with_costs(sample, policies=PolicyTable(book), seats=((0, 0),) * 5)
    hard = with_costs(sample, policies=PolicyTable(book, hard_limits=True), seats=((0, 0),) * 5)
    assert filtered(soft, sample.names, {})["NodeNames"] == list(sample.names)
    left = filtered(hard, sample.names, {})["NodeNames"]
    assert set(left) == {node.name for node in sample.costs.fleet.nodes if node.region == region}
    assert filtered(hard, sample.names, {}, namespace="other")["NodeNames"] == list(sample.names)
    # Another policy's rates are not a way around the limits.
    assert filtered(hard, sample.names, {"aicsched.io/policy": "carbon-first"})["NodeNames"] == left


def test_too_much_risk_is_refused_so_that_preemption_may_help(sample: Snapshot, tmp_path: Path) -> None:
    path = tmp_path / "policies.toml"
    risk = sample.costs.terms(PodRequest(namespace="shop")).slo_risk[1]
    limit = float(np.median(risk))
    path.write_text(f"[limits]\nmax_slo_risk = {limit}\n")
    table = PolicyTable(read_policies(path), hard_limits=True)
    answer = filtered(with_costs(sample, policies=table), sample.names, {})
    assert set(answer["FailedNodes"]) == {
        name for name, chance in zip(sample.names, risk, strict=True) if chance > limit
    }
    assert answer["FailedAndUnresolvableNodes"] == {}


def test_a_pod_names_its_policy_else_its_namespace_does(sample: Snapshot) -> None:
    plain = PodRequest(vcpus=4.0, namespace="shop")
    careful = replace(plain, policy="slo-first")
    grams, wary = sample.costs.cost_g(plain), sample.costs.cost_g(careful)
    terms = sample.costs.terms(plain)
    risk_g = terms.grams["slo_risk"][1]
    # Ten times the price of risk, and all else alike.
    np.testing.assert_allclose(wary - grams, 9 * risk_g, rtol=1e-9)
    np.testing.assert_array_equal(sample.costs.cost_g(replace(plain, policy="no-such")), grams)


def test_lives_come_from_the_pod_then_from_its_owners_past(sample: Snapshot) -> None:
    learnt = with_costs(sample, lives={("shop", "CronJob/report"): 7200.0})
    said = PodRequest(namespace="shop", owner="CronJob/report", duration_s=600.0, duration_said=True)
    assert learnt.costs.life(said) == (600.0, "annotation")
    assert learnt.costs.life(replace(said, duration_said=False)) == (7200.0, "owner history")
    assert learnt.costs.life(PodRequest(namespace="other", owner="CronJob/report")).why == "default"
    asked = PodRequest(vcpus=2.0, duration_s=7200.0, duration_said=True)
    of_owner = PodRequest(vcpus=2.0, namespace="shop", owner="CronJob/report")
    np.testing.assert_array_equal(learnt.costs.cost_g(of_owner), learnt.costs.cost_g(asked))


def test_owners_are_read_from_the_pods_of_cron_jobs(sample: Snapshot) -> None:
    learnt = with_costs(sample, lives={("shop", "CronJob/report"): 7200.0})
    made = handlers(learnt)
    owner = [
        {"kind": "Job", "name": "report-29384756", "controller": True, "uid": "u", "apiVersion": "batch/v1"}
    ]
    made.prioritize(body(sample.names, ownerReferences=owner))
    explained = made.explained("shop", "p")
    assert explained.asked.duration_from == "owner history"
    assert explained.asked.duration_s == 7200.0


def test_an_explanation_adds_up_and_shows_the_levels_that_were_answered(sample: Snapshot) -> None:
    made = handlers(sample)
    answer = {row["Host"]: row["Score"] for row in json.loads(made.prioritize(body(sample.names)))}
    told = made.explained("shop", "p")
    assert {each.node: each.level for each in told.nodes} == answer
    for each in told.nodes[:20]:
        assert sum(each.terms_g.values()) == pytest.approx(each.total_g, rel=1e-9)
        assert each.signal == "fresh"
    assert [each.total_g for each in told.nodes] == sorted(each.total_g for each in told.nodes)
    assert told.sentence.startswith(f"{told.nodes[0].node} is best")
    assert [(each.weight, round(each.share, 3)) for each in told.influence][::2] == [
        (1, 0.077), (3, 0.2), (12, 0.5),
    ]  # fmt: skip
    # It is what a route can write, and read back alike.
    assert msgspec.json.decode(msgspec.json.encode(told), type=Explanation) == told
    assert made.explained("shop", "never-seen") is None


def test_an_explanation_tells_refusals_and_what_nobody_understands(sample: Snapshot) -> None:
    made = handlers(sample)
    region = sample.costs.fleet.regions[0].name
    said = {ALLOWED: region, "aicsched.io/expected-duration": "soon", "aicsched.io/policy": "greenest"}
    made.prioritize(body(sample.names, said))
    told = made.explained("shop", "p")
    assert {each.region for each in told.nodes if not each.refused} == {region}
    assert told.asked.faults == [
        "aicsched.io/expected-duration can't be read",
        "there is no policy 'greenest'",
    ]


def test_a_snapshot_without_signals_answers_neutral_and_says_why(sample: Snapshot) -> None:
    blind = replace(with_costs(sample, signals=("neutral",) * len(sample.names)), neutral=True)
    app = ExtenderApp(SnapshotHolder(blind), now_s=lambda: blind.issued_at_s)
    rows = json.loads(app.handlers.prioritize(body(sample.names)))
    assert {row["Score"] for row in rows} == {5}
    assert len(rows) == len(sample.names)
    told = app.handlers.explained("shop", "p")
    assert told.neutral == "no signal"
    assert {each.level for each in told.nodes} == {5}
    assert b'aicsched_extender_fallbacks_total{reason="no_signal"} 1.0' in app.metrics.render(blind, 0.0)


def test_nodes_on_an_unknown_grid_are_neutral_among_the_others(sample: Snapshot) -> None:
    partly = with_costs(sample, signals=("unknown", *sample.costs.signals[1:]))
    rows = {row["Host"]: row["Score"] for row in json.loads(handlers(partly).prioritize(body(sample.names)))}
    assert rows[sample.names[0]] == 5
    assert {0, 10} <= set(rows.values())

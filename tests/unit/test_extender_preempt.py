"""Candidates that hard constraints forbid are not cleared in vain; all others stay."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from aicsched.extender.app import ExtenderApp
from aicsched.extender.policies import PolicyTable
from aicsched.extender.sample import sample_snapshot
from aicsched.extender.snapshot import Snapshot, SnapshotHolder
from aicsched.score.policy import read_policies
from tests.extender_kit import Client, judge_preempt, preemption

ALLOWED, CLEAN = "aicsched.io/allowed-regions", "aicsched.io/max-g-per-kwh"


@pytest.fixture(scope="module")
def sample() -> Snapshot:
    return sample_snapshot()


def cleared(
    snapshot: Any, names: Any, annotations: Any = None, *, full: bool = False, pod: Any = None
) -> Any:
    request = preemption(
        {name: ([f"u-{name}"], 0) for name in names},
        full=full,
        pod=pod or {"metadata": {"name": "p", "namespace": "shop", "annotations": annotations or {}}},
    )
    at_s = 0.0 if snapshot is None else snapshot.issued_at_s
    app = ExtenderApp(SnapshotHolder(snapshot), now_s=lambda: at_s, preempt=True)
    return set(judge_preempt(request, Client(app).post("/any/prefix/preempt", request)))


@pytest.mark.parametrize("full", [False, True])
def test_without_a_hard_constraint_all_candidates_stay(sample: Snapshot, full: bool) -> None:
    names = [*sample.names[:5], "a-stranger"]
    assert cleared(sample, names, full=full) == set(names)
    assert cleared(sample, names, {"aicsched.io/policy": "carbon-first"}, full=full) == set(names)
    assert cleared(None, names, full=full) == set(names)


@pytest.mark.parametrize("full", [False, True])
def test_nodes_of_other_regions_are_not_cleared(sample: Snapshot, full: bool) -> None:
    region = sample.costs.fleet.nodes[0].region
    inside = {node.name for node in sample.costs.fleet.nodes if node.region == region}
    assert cleared(sample, sample.names, {ALLOWED: region}, full=full) == inside
    assert cleared(sample, ["a-stranger"], {ALLOWED: region}, full=full) == set()
    assert cleared(sample, sample.names[:3], {CLEAN: "0.001"}) == set()
    assert cleared(sample, sample.names[:3], {CLEAN: "1e9"}) == set(sample.names[:3])


def test_a_pod_that_cannot_be_read_loses_no_candidate(sample: Snapshot) -> None:
    odd = {"metadata": {"name": 7, "annotations": {ALLOWED: "nowhere"}}}
    assert cleared(sample, sample.names[:3], pod=odd) == set(sample.names[:3])


def test_what_an_eviction_may_mend_stays(sample: Snapshot, tmp_path: Any) -> None:
    """A risk above the policy's limit falls with the load; a region does not move."""
    file = tmp_path / "policies.toml"
    file.write_text("[limits]\nmax_slo_risk = 0.0\n")
    table = PolicyTable(read_policies(file), hard_limits=True)
    risky = replace(sample, costs=replace(sample.costs, policies=table))
    app = ExtenderApp(SnapshotHolder(risky), now_s=lambda: sample.issued_at_s, preempt=True)
    pod = {"metadata": {"name": "p", "namespace": "shop"}}
    request = {"Pod": pod, "Nodes": None, "NodeNames": list(sample.names)}
    failed = Client(app).post("/filter", request).json["FailedNodes"]
    assert failed
    assert cleared(risky, list(failed)) == set(failed)


def test_preempt_is_offered_only_where_it_is_asked_for(sample: Snapshot) -> None:
    app = ExtenderApp(SnapshotHolder(sample), now_s=lambda: sample.issued_at_s)
    assert Client(app).post("/preempt", preemption({}, full=False)).status == 404
    assert Client(app).post("/bind", {}).status == 404


def test_a_defect_leaves_all_candidates(sample: Snapshot, caplog: Any) -> None:
    app = ExtenderApp(SnapshotHolder(sample), now_s=lambda: sample.issued_at_s, preempt=True)
    app.handlers._metrics = None  # pyright: ignore[reportAttributeAccessIssue]
    odd = {"metadata": {"name": 7, "annotations": {ALLOWED: "nowhere"}}}
    request = preemption({"a": (["u"], 0)}, full=False, pod=odd)
    assert set(judge_preempt(request, Client(app).post("/preempt", request))) == {"a"}
    assert "preempt failed" in caplog.text

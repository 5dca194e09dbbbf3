from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from aicsched.extender.costs import fleet_costs
from aicsched.extender.podrequest import PodRequest
from aicsched.extender.sample import sample_snapshot
from aicsched.fleet.sample import sample_fleet
from aicsched.forecast import forecast_zones
from aicsched.score.nodes import score_nodes
from aicsched.score.request import Request
from aicsched.signals.carbon.sample import SAMPLE_NOW_S, SampleCarbon
from aicsched.signals.telemetry_sample import sample_telemetry

if TYPE_CHECKING:
    from aicsched.extender.snapshot import Snapshot


@pytest.fixture(scope="module")
def snapshot() -> Snapshot:
    return sample_snapshot()


def test_the_sample_says_that_it_is_synthetic(snapshot: Snapshot) -> None:
    assert snapshot.synthetic
    assert set(snapshot.names) == {node.name for node in sample_fleet().nodes}
    assert snapshot.issued_at_s == SAMPLE_NOW_S


def test_costs_are_those_of_the_score_cards(snapshot: Snapshot) -> None:
    """What the extender ranks by is what `aicsched score nodes` explains, to the gram."""
    fleet, carbon = sample_fleet(), SampleCarbon()
    zones = {region.grid_zone for region in fleet.regions}
    history = {zone: carbon.read(zone).before(SAMPLE_NOW_S) for zone in zones}
    forecasts = forecast_zones(history, at_s=SAMPLE_NOW_S, horizon=96)
    telemetry = sample_telemetry(tuple(node.name for node in fleet.nodes), end_s=SAMPLE_NOW_S)
    asked = Request(vcpus=4.0, duration_s=4 * 3600.0)
    cards = score_nodes(asked, fleet, forecasts, telemetry, start_s=SAMPLE_NOW_S)
    wanted = {card.candidate: card.mid_g for card in cards}
    got = snapshot.costs.cost_g(PodRequest(vcpus=4.0, duration_s=4 * 3600.0))
    np.testing.assert_allclose(got, [wanted[name] for name in snapshot.names], rtol=1e-12)


@pytest.mark.parametrize("duration_s", [1.0, 3600.0, 5000.0, 96 * 3600.0, 1e9])
def test_any_duration_has_a_finite_cost(snapshot: Snapshot, duration_s: float) -> None:
    assert np.isfinite(snapshot.costs.cost_g(PodRequest(vcpus=1.0, duration_s=duration_s))).all()


def test_memory_that_is_short_costs_more(snapshot: Snapshot) -> None:
    little, much = (snapshot.costs.cost_g(PodRequest(vcpus=4.0, memory_gib=gib)) for gib in (1.0, 200.0))
    assert (much >= little).all()
    assert (much > little + 1.0).any()


def test_one_more_hour_never_costs_less(snapshot: Snapshot) -> None:
    hours = [
        snapshot.costs.cost_g(PodRequest(vcpus=8.0, duration_s=span * 3600.0)).sum() for span in (1, 2, 4, 8)
    ]
    assert hours == sorted(hours)


def test_the_same_pod_gets_the_same_read_only_costs(snapshot: Snapshot) -> None:
    costs = snapshot.costs.cost_g(PodRequest(vcpus=2.0))
    assert snapshot.costs.cost_g(PodRequest(vcpus=2.0)) is costs
    with pytest.raises(ValueError, match="read-only"):
        costs[0] = 0.0


def test_two_samples_answer_alike_byte_by_byte(snapshot: Snapshot) -> None:
    request = PodRequest(vcpus=3.0)
    assert sample_snapshot().prioritize(snapshot.names, request) == snapshot.prioritize(
        snapshot.names, request
    )


def test_levels_of_the_sample_use_most_of_the_range(snapshot: Snapshot) -> None:
    rows = json.loads(snapshot.prioritize(snapshot.names, PodRequest(vcpus=4.0)))
    assert len({row["Score"] for row in rows}) >= 8


def test_a_short_forecast_covers_the_spans_it_can() -> None:
    fleet, carbon = sample_fleet(), SampleCarbon()
    history = {
        zone: carbon.read(zone).before(SAMPLE_NOW_S)
        for zone in {region.grid_zone for region in fleet.regions}
    }
    forecasts = forecast_zones(history, at_s=SAMPLE_NOW_S, horizon=3, model="seasonal")
    costs = fleet_costs(fleet, forecasts, None, start_s=SAMPLE_NOW_S)
    assert costs.spans_h == (1.0, 2.0)
    assert np.isfinite(costs.cost_g(PodRequest(vcpus=1.0, duration_s=86400.0))).all()

"""Headroom and growth: sums done by hand, unknown is never idle, trends of known slope."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aicsched.capacity import (
    daily_quantiles,
    fit_growth,
    fleet_headroom,
    fleet_outlook,
    known_demand,
    region_headroom,
    spare_after_loss,
)
from aicsched.capacity.headroom import pool_of
from aicsched.domain.fleet import Fleet, Node, Region
from aicsched.domain.telemetry import Telemetry
from aicsched.errors import ConfigError, InputError, TooLittleHistory
from aicsched.fleet.sample import sample_fleet
from aicsched.signals.telemetry_sample import sample_telemetry
from aicsched.slots import DAY_S, HOUR_S, SlotGrid


def node(name: str, region: str, **more: Any) -> Node:
    facts = {
        "vcpus": 10.0, "memory_gib": 100.0, "cpu_family": "amd-epyc-gen3", "idle_w": 10, "max_w": 30,
        "embodied_kg": 1,
    } | more  # fmt: skip
    return Node(name=name, region=region, **facts)


def fleet(*nodes: Node, groups: dict[str, str] | None = None) -> Fleet:
    names = list(dict.fromkeys(item.region for item in nodes)) or ["a"]
    return Fleet(
        regions=tuple(
            Region(
                name=name, grid_zone="z", capacity_vcpus=1, power_w_per_vcpu=1,
                failure_group=(groups or {}).get(name, ""),
            )
            for name in names
        ),
        nodes=nodes,
    )  # fmt: skip


def telemetry(loads: dict[str, Any], *, slots: int = 20, memory: float = 0.5) -> Telemetry:
    cpu = np.array([np.broadcast_to(np.asarray(load, float), slots) for load in loads.values()])
    return Telemetry(
        nodes=tuple(loads), slots=SlotGrid(0, HOUR_S, slots), cpu_share=cpu, network_mb=np.zeros(cpu.shape),
        memory_share=np.where(np.isnan(cpu), np.nan, memory), source="t",
    )  # fmt: skip


THREE = (node("a1", "a"), node("a2", "a"), node("b1", "b", vcpus=30.0), node("c1", "c"))
LOADS = {"a1": 0.5, "a2": 0.5, "b1": 0.2, "c1": 0.4}


def rows_of(*arguments: Any, **more: Any) -> dict[tuple[str, str], Any]:
    return {(row.name, row.resource): row for row in fleet_headroom(*arguments, **more)}


# ---------------------------------------------------------------- headroom
def test_room_by_hand() -> None:
    rows = rows_of(fleet(*THREE), telemetry(LOADS))
    # 60 threads, 10 + 6 + 4 needed; losing b leaves 30.
    whole = rows["fleet", "cpu"]
    assert (whole.capacity, whole.demand, whole.free) == (60, 20, 40)
    assert (whole.fits, whole.binding, whole.survives) == (10, "b", True)
    assert whole.sentence() == "fleet: 20 of 60 vCPU are needed; 10 vCPU more fit, then losing b binds"
    # c holds 10 and needs 4: its own room is less than what the fleet could take.
    assert (rows["c", "cpu"].fits, rows["c", "cpu"].binding) == (6, "its own capacity")
    assert "then its own capacity binds" in rows["c", "cpu"].sentence()
    assert (rows["b", "cpu"].fits, rows["b", "cpu"].binding) == (10, "b")
    assert rows["fleet", "memory"].unit == "GiB"
    # A pool of one machine does not outlive its loss.
    alone = rows["b/amd-epyc-gen3", "cpu"]
    assert (alone.fits, alone.binding, alone.survives) == (-6, "b1", False)
    assert alone.sentence() == "b/amd-epyc-gen3: 6 of 30 vCPU are needed; losing b1 leaves 6 vCPU unserved"
    assert (rows["a/amd-epyc-gen3", "cpu"].fits, rows["a/amd-epyc-gen3", "cpu"].coverage_share) == (0, 1)


def test_regions_that_fail_together_are_lost_together() -> None:
    rows = rows_of(fleet(*THREE, groups={"a": "east", "c": "east"}), telemetry(LOADS))
    assert (rows["fleet", "cpu"].fits, rows["fleet", "cpu"].binding) == (10, "east")


def test_the_quantile_is_of_the_sum() -> None:
    turn = np.arange(20) % 2
    rows = rows_of(fleet(node("a1", "a"), node("a2", "a")), telemetry({"a1": turn, "a2": 1 - turn}))
    # Each needs all of its threads half of the time, both together always ten.
    assert rows["a", "cpu"].demand == 10


def test_zones_of_a_pool_are_lost_as_a_whole() -> None:
    pool = {"labels": {"eks.amazonaws.com/nodegroup": "web"}}
    nodes = [node(f"n{index}", "a", node_zone="xxy"[index], **pool) for index in range(3)]
    rows = rows_of(fleet(*nodes), telemetry({item.name: 0.25 for item in nodes}))
    assert (rows["a/web", "cpu"].fits, rows["a/web", "cpu"].binding) == (2.5, "x")
    assert pool_of(nodes[0]) == "web"
    assert pool_of(node("x", "a", labels={"pool": "gpu"})) == "gpu"


def test_what_nobody_saw_counts_against_us() -> None:
    partly = np.full(20, 0.1)
    partly[0] = np.nan
    mostly = partly.copy()
    mostly[:10] = np.nan
    seen = telemetry({"a1": partly, "a2": mostly})
    demand = known_demand(fleet(*THREE), seen)
    assert demand.vcpus["a1"] == pytest.approx(np.full(20, 1.0))  # its own quantile fills one gap
    assert demand.vcpus["a2"] == pytest.approx(np.full(20, 10.0))  # half unseen: fully used
    assert demand.vcpus["b1"] == pytest.approx(np.full(20, 30.0))  # never seen
    assert (demand.coverage_share["a1"], demand.coverage_share["b1"]) == (0.95, 0.0)
    assert demand.together("memory", ["a1", "c1"]) == pytest.approx(np.full(20, 150.0))
    empty = Telemetry(
        nodes=(), slots=SlotGrid(0, HOUR_S, 0), cpu_share=np.zeros((0, 0)), network_mb=np.zeros((0, 0)),
        memory_share=np.zeros((0, 0)), source="t",
    )  # fmt: skip
    assert math.isnan(rows_of(fleet(*THREE), telemetry(LOADS))["a", "cpu"].fits) is False
    with pytest.raises(InputError, match="is no capacity or demand"):
        fleet_headroom(fleet(*THREE), empty)


def test_room_for_a_forecast_demand() -> None:
    whole, a, b, c = region_headroom(
        {"a": 100, "b": 60, "c": 40}, {"a": 30, "b": 30}, groups={"b": "x", "c": "x"}, resource="memory"
    )
    # Losing b and c together leaves 100, as losing a does.
    assert (whole.fits, whole.binding, whole.demand, whole.unit) == (40, "a", 60, "GiB")
    assert (a.fits, b.fits, b.binding, c.fits) == (40, 30, "its own capacity", 40)
    with pytest.raises(InputError, match="'q' has demand and no capacity"):
        region_headroom({"a": 1}, {"q": 1})
    for capacity, demand in (({"a": math.nan}, {"a": 1}), ({"a": 1}, {"a": -1})):
        with pytest.raises(InputError, match="is no capacity or demand"):
            region_headroom(capacity, demand)


def test_bad_questions_are_refused() -> None:
    with pytest.raises(InputError, match="the fleet has no machines"):
        fleet_headroom(fleet(), telemetry({"a1": 0.1}))
    with pytest.raises(ConfigError, match="level is 0"):
        fleet_headroom(fleet(*THREE), telemetry(LOADS), level=0)
    with pytest.raises(InputError, match="nothing that may be lost"):
        spare_after_loss({}, 1.0)
    for bad in (float("nan"), -1.0):
        with pytest.raises(InputError, match=r"'a': .* is no capacity or demand"):
            spare_after_loss({"a": bad}, 1.0)


@given(st.dictionaries(st.text(min_size=1), st.floats(0, 1e6), min_size=1), st.floats(0, 1e6))
def test_what_is_spare_fits_after_every_loss(parts: dict[str, float], demand: float) -> None:
    spare, worst = spare_after_loss(parts, demand)
    left = {name: math.fsum(parts.values()) - parts[name] for name in parts}
    assert all(room + 1e-6 >= demand + spare for room in left.values())
    assert left[worst] == pytest.approx(demand + spare, abs=1e-6)


# ---------------------------------------------------------------- growth
def test_a_line_is_found_exactly() -> None:
    made = fit_growth(50 + 3.0 * np.arange(40), limit=200)
    assert made.per_day == pytest.approx((3.0, 3.0, 3.0))
    assert made.level == pytest.approx(167)
    assert made.exhausted_in_days == pytest.approx((11, 11, 11))
    assert made.sentence() == "full in 11 days (11 days to 11 days)"
    assert not made.flat


def test_compound_growth_is_found_exactly() -> None:
    made = fit_growth(100 * 1.01 ** np.arange(60), limit=400, kind="compound")
    assert made.per_day[1] == pytest.approx(0.01)
    assert made.exhausted_in_days[1] == pytest.approx(math.log(4) / math.log(1.01) - 59)


def test_weekdays_and_wild_days_do_not_move_the_trend() -> None:
    day = np.arange(70)
    week = np.array([0, 0, 0, 0, 0, -30, -40.0])[(day + 3) % 7]
    values = 100 + 0.5 * day + week
    values[[5, 20, 33, 47]] = 900.0
    values[[8, 9]] = np.nan
    made = fit_growth(values, limit=200)
    assert made.per_day[1] == pytest.approx(0.5, abs=0.02)
    assert made.days == 68
    # The trend is that of the busiest weekday.
    assert made.level == pytest.approx(134.5, abs=1.5)
    assert made.exhausted_in_days[1] == pytest.approx(65.5 / 0.5, rel=0.06)


def test_flat_demand_is_never_full() -> None:
    made = fit_growth(np.full(30, 80.0), limit=100)
    assert made.exhausted_in_days == (math.inf, math.inf, math.inf)
    assert made.flat
    assert made.sentence() == "no growth that stands out from noise: never"
    shrinking = fit_growth(80 - 1.0 * np.arange(30), limit=100)
    assert shrinking.exhausted_in_days == (math.inf,) * 3
    noise = np.random.default_rng(4).normal(80, 5, 60)
    noisy = fit_growth(noise, limit=100)
    assert noisy.flat
    assert noisy.exhausted_in_days[1] == math.inf
    assert noisy.exhausted_in_days[0] < math.inf
    assert "at the earliest in" in noisy.sentence()


def test_what_is_full_is_full_now() -> None:
    made = fit_growth(np.full(10, 80.0), limit=70)
    assert made.exhausted_in_days == (0.0, 0.0, 0.0)
    assert made.sentence() == "the limit is reached already"


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    held = 0
    for seed in range(100):
        noise = np.random.default_rng(seed).normal(0, 4, 56)
        for day in range(1, 56):  # errors that last
            noise[day] = 0.6 * noise[day - 1] + 0.8 * noise[day]
        low, _, high = fit_growth(100 + 0.4 * np.arange(56) + noise, limit=300, draws=80, seed=seed).per_day
        held += low <= 0.4 <= high
    assert 0.7 <= held / 100 <= 0.93


def test_the_newest_two_years_count() -> None:
    values = np.r_[np.full(800, 10.0), 10 + 1.0 * np.arange(730)]
    made = fit_growth(values, limit=1000, draws=2)
    assert made.days == 730
    assert made.per_day[1] == pytest.approx(1.0)
    assert made.level == pytest.approx(739)


@pytest.mark.parametrize(
    ("values", "limit", "kind", "error", "words"),
    [
        ([1.0] * 6, 2.0, "linear", TooLittleHistory, "6 days with demand are too few"),
        ([1.0] * 9, 0.0, "linear", InputError, "the limit is 0.0"),
        ([1.0] * 9, float("nan"), "linear", InputError, "the limit is nan"),
        ([1.0] * 8 + [-1.0], 2.0, "linear", InputError, "a day's demand is -1.0"),
        ([1.0] * 8 + [math.inf], 2.0, "linear", InputError, "a day's demand is inf"),
        ([1.0] * 8 + [0.0], 2.0, "compound", InputError, "can't grow by a share"),
    ],
)
def test_bad_series_give_no_trend(values: Any, limit: float, kind: Any, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        fit_growth(np.array(values), limit=limit, kind=kind)


def test_days_are_whole_utc_days() -> None:
    slots = SlotGrid(5 * DAY_S - 6 * HOUR_S, HOUR_S, 6 + 48 + 3)
    values = np.r_[np.full(6, 99.0), np.arange(24.0), np.full(24, np.nan), [7.0] * 3]
    daily, first = daily_quantiles(values, slots, level=1.0)
    assert daily[0] == 23.0
    assert len(daily) == 2
    assert math.isnan(daily[1])
    assert first == 5
    assert daily_quantiles(np.zeros(0), SlotGrid(0, HOUR_S, 0))[0].size == 0


def test_the_outlook_of_a_fleet_that_grows() -> None:
    days = 28
    load = 0.2 + 0.01 * np.repeat(np.arange(days), 24)
    names = [item.name for item in THREE]
    cpu = np.array([load if name != "c1" else np.full(days * 24, 0.3) for name in names])
    seen = Telemetry(
        nodes=tuple(names), slots=SlotGrid(0, HOUR_S, days * 24), cpu_share=cpu,
        network_mb=np.zeros(cpu.shape), memory_share=np.zeros(cpu.shape), source="t",
    )  # fmt: skip
    rows = {(row.name, row.resource): row for row in fleet_outlook(fleet(*THREE), seen)}
    b = rows["b", "cpu"].growth
    assert b.per_day[1] == pytest.approx(0.3)
    assert b.exhausted_in_days[1] == pytest.approx((30 - 30 * 0.47) / 0.3)
    whole = rows["fleet", "cpu"]
    assert (whole.growth.limit, whole.limit_is) == (30, "without b")
    assert whole.growth.exhausted_in_days[1] == pytest.approx((30 - 50 * 0.47 - 3) / 0.5)
    assert whole.sentence().startswith("fleet: 26 of 30 vCPU (without b); full in 7 days")
    assert rows["c", "cpu"].growth.flat
    # One region alone has no loss to outlive: no limit, no outlook for the fleet.
    assert ("fleet", "cpu") not in {
        (row.name, row.resource) for row in fleet_outlook(fleet(*THREE[:2]), seen)
    }


def test_the_sample_has_room_and_an_outlook() -> None:
    sample = sample_fleet()
    seen = sample_telemetry(tuple(item.name for item in sample.nodes), end_s=1_777_507_200)
    rows = fleet_headroom(sample, seen)
    assert all(row.survives for row in rows if row.scope != "pool")
    assert {row.scope for row in rows} == {"fleet", "region", "pool"}
    assert len(fleet_outlook(sample, seen)) == 2 * 9

"""Drills against cases worked by hand; evacuation against scipy; the page and what it says."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy.optimize import linprog

from aicsched.capacity import DrillFacts, Spread, run_drill
from aicsched.domain.fleet import Fleet, Region
from aicsched.domain.service import Service
from aicsched.errors import InputError, PlacementError
from aicsched.fleet.sample import sample_fleet
from aicsched.fleet.sample_services import sample_services
from aicsched.place.failover import FailoverMode, build_failover, solve_failover
from aicsched.place.failover.evacuate import evacuate
from aicsched.report.drill_page import render_drill, write_drill_report
from aicsched.slots import HOUR_S, SlotGrid

if TYPE_CHECKING:
    from pathlib import Path

EXACT = DrillFacts(
    detection_s=Spread(10, 10, 10), shift_s=Spread(20, 20, 20), pod_start_s=Spread(5, 5, 5),
    pods_per_s=Spread(1, 1, 1), restore_gb_per_s=Spread(2, 2, 2),
)  # fmt: skip
HOUR = SlotGrid(0, HOUR_S, 1)


def region(name: str, room: float, **more: Any) -> Region:
    return Region(name=name, grid_zone="z", capacity_vcpus=room, power_w_per_vcpu=1.0, **more)


def service(name: str, vcpus: float, home: str = "a", **more: Any) -> Service:
    return Service(service_id=name, vcpus=vcpus, home_region=home, **more)


FAR = {"failure_group": "cd"}
FLEET = Fleet(regions=(region("a", 30), region("b", 12), region("c", 100, **FAR), region("d", 5, **FAR)))


# ---------------------------------------------------------------- as it is
def test_recovery_by_hand() -> None:
    work = (
        service("slow", 10, vcpus_per_pod=2, data_gb=40, replication_lag_s=90, allowed_regions=("a", "b")),
        service("urgent", 2, priority=1, replication_lag_s=1, allowed_regions=("a", "b")),
        service("far", 7, home="c"),
    )
    result = run_drill(work, FLEET, "a", facts=EXACT)
    assert result.survives
    assert result.lost_regions == ("a",)
    slow, urgent = result.rows
    # 2 urgent pods first, then 5: 5 + 7 s; the data take 40 / 2 = 20 s, which is longer.
    assert slow.rto_s == pytest.approx((50, 50, 50, 50))
    assert urgent.rto_s == pytest.approx((37, 37, 37, 37))
    assert slow.moved_vcpus == pytest.approx({"b": 10})
    assert (slow.rpo_s, slow.meets_rpo, urgent.meets_rpo) == (90, False, True)
    assert result.before_vcpus == {"a": 12, "b": 0, "c": 7, "d": 0}
    assert result.after_vcpus == pytest.approx({"a": 0, "b": 12, "c": 7, "d": 0})
    assert slow.sentence() == (
        "slow loses 10 vCPUs; b takes 10; back in 50 s (95 %: 50 s; 50 to 50 s), data lost: 90 s"
    )


def test_what_does_not_fit_is_named_and_the_urgent_go_first() -> None:
    work = (
        service("late", 9, allowed_regions=("a", "b")),
        service("urgent", 8, priority=3, allowed_regions=("a", "b")),
        service("stuck", 1, allowed_regions=("a",)),
    )
    result = run_drill(work, FLEET, "a", facts=EXACT)
    rows = {row.service_id: row for row in result.rows}
    assert rows["urgent"].unserved_vcpus == 0
    assert rows["late"].unserved_vcpus == pytest.approx(5)
    assert rows["stuck"].unserved_vcpus == 1
    assert rows["late"].rto_s == (math.inf,) * 4
    assert not rows["late"].meets_rto
    assert rows["late"].sentence() == "late loses 9 vCPUs and 5 find no room; b takes 4"
    assert rows["stuck"].sentence() == "stuck loses 1 vCPUs and 1 find no room"
    assert (result.survives, result.unserved_vcpus) == (False, pytest.approx(6))
    assert result.gap == pytest.approx(0, abs=1e-9)
    facts = result.summary()
    assert facts["unserved_vcpus"] == pytest.approx(6)
    assert json.dumps(facts["services"][0]["moved_vcpus"])


def test_a_group_is_lost_as_a_whole_and_may_be_named_by_a_region() -> None:
    result = run_drill((service("far", 3, home="c"), service("safe", 3)), FLEET, "d", facts=EXACT)
    assert (result.lost, result.lost_regions) == ("cd", ("c", "d"))
    assert [row.service_id for row in result.rows] == ["far"]
    assert set(result.rows[0].moved_vcpus) <= {"a", "b"}


def test_the_cleaner_region_is_taken() -> None:
    work = (service("x", 5),)
    for cost, taker in (({"b": 1.0, "c": 2.0, "d": 9.0}, "b"), ({"b": 9.0, "c": 2.0, "d": 9.0}, "c")):
        assert set(run_drill(work, FLEET, "a", cost_g_per_vcpu_h=cost, facts=EXACT).rows[0].moved_vcpus) == {
            taker
        }


def test_times_are_a_distribution() -> None:
    facts = DrillFacts(detection_s=Spread(0, 50, 100), shift_s=Spread(0, 0, 0), pod_start_s=Spread(0, 0, 0))
    work = (service("x", 1, vcpus_per_pod=10),)
    row = run_drill(work, FLEET, "a", facts=facts).rows[0]
    low, usual, late, high = row.rto_s
    # A triangle from 0 to 100: median 50, 95 % at 100 - 100 sqrt(.05 / 2), and one pod at 5 to 20 a second.
    assert low == pytest.approx(1 / 20)
    assert usual == pytest.approx(50, abs=2)
    assert late == pytest.approx(100 - 100 * math.sqrt(0.025), abs=2)
    assert high == pytest.approx(100 + 1 / 5)
    assert run_drill(work, FLEET, "a", facts=facts) == run_drill(work, FLEET, "a", facts=facts)
    assert math.isnan(row.rpo_s)
    assert not row.meets_rpo
    assert "data lost: unknown" in row.sentence()


# ---------------------------------------------------------------- with a plan
@pytest.mark.parametrize("mode", list(FailoverMode))
def test_a_plan_survives_every_drill(mode: FailoverMode) -> None:
    fleet = sample_fleet()
    work = sample_services(fleet)
    plan = solve_failover(build_failover(work, fleet, None, HOUR), mode, gap=1e-3)
    for item in fleet.regions:
        result = run_drill(work, fleet, item.name, plan=plan)
        assert result.survives
        assert result.reserved
        for name, vcpus in result.after_vcpus.items():
            assert vcpus <= result.capacity_vcpus[name] * (1 + 1e-6)
        assert sum(result.after_vcpus.values()) == pytest.approx(sum(result.before_vcpus.values()))
    if mode is FailoverMode.SHARED:
        with pytest.raises(InputError, match="no service has a reserve of its own"):
            run_drill(work, fleet, "north", plan=plan, facts=DrillFacts(warm=True))
        return
    warm = run_drill(work, fleet, "north", plan=plan, facts=DrillFacts(warm=True))
    cold = run_drill(work, fleet, "north", plan=plan)
    slowest = {row.service_id: row.rto_s[2] for row in cold.rows}
    assert all(row.rto_s[2] <= slowest[row.service_id] for row in warm.rows)


def test_moves_of_a_plan_by_hand() -> None:
    work = (service("x", 6, allowed_regions=("a", "b")),)
    plan = solve_failover(build_failover(work, FLEET, None, HOUR))
    result = run_drill(work, FLEET, "a", plan=plan, facts=replace(EXACT, warm=True))
    away = result.before_vcpus["a"]
    assert result.after_vcpus["b"] == pytest.approx(6)
    assert [row.lost_vcpus for row in result.rows] == ([away] if away else [])
    with pytest.raises(InputError, match="the plan is of other services"):
        run_drill((service("y", 6),), FLEET, "a", plan=plan)


# ---------------------------------------------------------------- evacuation
@pytest.mark.parametrize("seed", range(5))
def test_evacuation_serves_as_much_as_can_be(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lost, room, cost = rng.uniform(0, 5, 12), rng.uniform(0, 9, 4), rng.uniform(0, 3, 4)
    lost[0] = 0
    places = [sorted(rng.choice(4, int(rng.integers(0, 4)), replace=False).tolist()) for _ in lost]
    priority = rng.integers(0, 3, 12).tolist()
    found = evacuate(lost, places, room, cost, priority)
    assert (found.arrived_vcpus.sum(axis=0) <= room + 1e-6).all()
    assert found.arrived_vcpus.sum(axis=1) + found.unserved_vcpus == pytest.approx(lost)
    cells = [(row, at) for row in range(12) for at in places[row]]
    weight = max(cost.max(), 1.0) * 10.0 ** (1 + np.searchsorted(sorted(set(priority)), priority))
    c = [cost[at] for _, at in cells] + weight.tolist()
    upper = [[float(cell[1] == at) for cell in cells] + [0.0] * 12 for at in range(4)]
    equal = [
        [float(cell[0] == row) for cell in cells] + [float(row == other) for other in range(12)]
        for row in range(12)
    ]
    best: Any = linprog(c, A_ub=upper, b_ub=room, A_eq=equal, b_eq=lost)
    assert found.objective == pytest.approx(best.fun, rel=1e-7)
    assert found.bound == pytest.approx(best.fun, rel=1e-6)
    assert found.bound <= best.fun * (1 + 1e-9)


def test_evacuation_refuses_bad_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    one = np.ones(1)
    with pytest.raises(InputError, match="room_vcpus holds a value"):
        evacuate(one, [[0]], -one, one, [0])
    with pytest.raises(InputError, match="lost_vcpus holds a value"):
        evacuate(one * np.nan, [[0]], one, one, [0])
    with pytest.raises(InputError, match="services have 7 priorities"):
        evacuate(np.ones(7), [[0]] * 7, one, one, list(range(7)))
    empty = evacuate(np.zeros(0), [], one, one, [])
    assert (empty.objective, empty.bound) == (0, 0)
    from ortools.linear_solver import pywraplp

    monkeypatch.setattr(pywraplp.Solver, "Solve", lambda _self: 4)
    with pytest.raises(PlacementError, match="no numerical optimum"):
        evacuate(one, [[0]], one, one, [0])


# ---------------------------------------------------------------- bad questions
def test_bad_facts_are_refused() -> None:
    assert Spread.parse("7") == Spread(7, 7, 7)
    for text in ("1:2", "a", "3:2:1", "-1:2:3", "1:2:inf", "nan"):
        with pytest.raises(InputError):
            Spread.parse(text)
    with pytest.raises(InputError, match="pods_per_s: a rate of 0"):
        DrillFacts(pods_per_s=Spread(0, 1, 2))
    with pytest.raises(InputError, match=r"no failure group or region 'q'"):
        run_drill((service("x", 1),), FLEET, "q")


# ---------------------------------------------------------------- the page
def test_the_page_holds_what_it_shows(tmp_path: Path) -> None:
    fleet = sample_fleet()
    work = sample_services(fleet)
    plan = solve_failover(build_failover(work, fleet, None, HOUR))
    results = [run_drill(work, fleet, name, plan=plan) for name in ("north", "central", "east")]
    page = render_drill(results, plan=plan, synthetic=True)
    assert page == render_drill(results, plan=plan, synthetic=True)
    assert "All work survives every loss" in page
    assert "Synthetic data" in page
    assert page.count("<svg ") == 3 + sum(bool(result.rows) for result in results)
    assert not re.search(r"<script|https?://(?!www\.w3\.org)", page)
    assert "3 of 3" in page
    warm = run_drill(work, fleet, "north", plan=plan, facts=DrillFacts(warm=True))
    assert "none has to start" in render_drill([warm], plan=plan, synthetic=True)
    alone = render_drill(results[:1], plan=plan, synthetic=False)
    assert "All work survives the loss of north" in alone
    assert "Synthetic data" not in alone
    crowd = (service("big", 9, allowed_regions=("a", "b")), service("bigger", 9, allowed_regions=("a", "b")))
    bad = run_drill(crowd, FLEET, "a", facts=EXACT)
    written = write_drill_report([bad], tmp_path / "drill.html", plan=None, synthetic=False)
    text = written.read_text(encoding="utf-8")
    assert "Not every loss is survived: without a, 6 of 18 vCPUs find no room." in text
    assert "finds no room" in text
    assert "never" in text

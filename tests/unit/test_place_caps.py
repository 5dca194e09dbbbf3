"""What limits cost: by hand, and against the bound of a problem with more room."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from aicsched.place.caps import cap_costs
from aicsched.place.ground import ground_of
from aicsched.place.policies import make_policy
from aicsched.place.pricing import Oracle
from aicsched.place.problem import Problem, build_problem
from aicsched.place.solve import solve
from aicsched.slots import HOUR_S, SlotGrid
from tests.place_kit import CURVES, GRID, crowd, fleet, forecast, job

CROWDED = build_problem(crowd(), fleet(24.0, 24.0), CURVES, GRID)


def bound_g(problem: Problem, prices_g_per_vcpu_h: dict[str, tuple[float, ...]]) -> float:
    """What prices prove of a problem whose only limits are vCPUs."""
    rows = [prices_g_per_vcpu_h[name] for name in problem.regions]
    return Oracle(ground_of(problem)).bound(np.array(rows)[None] * problem.slots.step_h)[0]


@pytest.mark.parametrize("step_s", [1800, HOUR_S])
def test_a_clean_hour_that_is_full_costs_what_the_next_best_emits_more(step_s: int) -> None:
    # 1 kW a vCPU: three jobs of one hour, room for one where an hour emits 10 g, for all where it is 30 g.
    slots = SlotGrid(0, step_s, HOUR_S // step_s)
    curves = {zone: forecast(zone, [level] * len(slots)) for zone, level in (("z0", 10.0), ("z1", 30.0))}
    curves = {zone: replace(item, slots=slots) for zone, item in curves.items()}
    jobs = [job(f"j{index}", deadline_s=HOUR_S, home_region="r0") for index in range(3)]
    problem = build_problem(jobs, fleet(1.0, 9.0), curves, slots)
    plan = solve(problem, gap=0.0)
    assert plan.total_g == pytest.approx(70.0)
    tight, free = cap_costs(problem, plan)
    assert (tight.region, free.region) == ("r0", "r1")
    assert tight.g_per_more_vcpu == pytest.approx(20.0, rel=1e-6)
    assert tight.worth_g == pytest.approx(20.0, rel=1e-6)
    assert tight.binding_slots >= 1
    assert free.g_per_more_vcpu == free.worth_g == free.binding_slots == 0
    assert free.fullest_slots == ()
    roomier = solve(build_problem(jobs, fleet(2.0, 9.0), curves, slots))
    assert plan.total_g - roomier.total_g == pytest.approx(tight.g_per_more_vcpu, rel=1e-6)


def test_the_bound_falls_by_the_worth_of_one_more_vcpu() -> None:
    plan = solve(CROWDED)
    caps = {cap.region: cap for cap in cap_costs(CROWDED, plan)}
    assert any(cap.g_per_more_vcpu > 0 for cap in caps.values())
    before_g = bound_g(CROWDED, plan.prices_g_per_vcpu_h)
    assert before_g > bound_g(CROWDED, dict.fromkeys(CROWDED.regions, (0.0,) * len(GRID)))
    for region, name in enumerate(CROWDED.regions):
        capacity = CROWDED.capacity.copy()
        capacity[0, region] += 1.0
        after_g = bound_g(replace(CROWDED, capacity=capacity), plan.prices_g_per_vcpu_h)
        assert before_g - after_g == pytest.approx(caps[name].g_per_more_vcpu, rel=1e-9, abs=1e-9)
        capacity[0, region] = 0.0
        empty_g = bound_g(replace(CROWDED, capacity=capacity), plan.prices_g_per_vcpu_h)
        assert empty_g - before_g == pytest.approx(caps[name].worth_g, rel=1e-9, abs=1e-9)


def test_the_fullest_slots_are_the_dearest_and_the_dearest_region_leads() -> None:
    plan = solve(CROWDED)
    rows = dict(plan.prices_g_per_vcpu_h)
    rows["r0"] = (0.0, 2.0, 0.0, 5.0, 2.0, 0.0, 1.0, 0.0)
    rows["r1"] = (0.0,) * 7 + (11.0,)
    made = cap_costs(CROWDED, replace(plan, prices_g_per_vcpu_h=rows))
    assert [(cap.region, cap.fullest_slots, cap.binding_slots) for cap in made] == [
        ("r1", (7,), 1), ("r0", (3, 1, 4), 4)
    ]  # fmt: skip
    assert [(cap.worth_g, cap.g_per_more_vcpu) for cap in made] == [(264.0, 11.0), (240.0, 10.0)]


def test_no_price_no_cost_even_where_room_has_no_end() -> None:
    roomy = solve(build_problem(crowd(12), fleet(99.0, 99.0), CURVES, GRID))
    assert all(cap.g_per_more_vcpu == 0 for cap in cap_costs(CROWDED, roomy))
    greedy = make_policy("lowest_slot").plan(CROWDED)
    assert all(cap.worth_g == 0 for cap in cap_costs(CROWDED, greedy))
    endless = replace(CROWDED, capacity=np.full_like(CROWDED.capacity, np.inf))
    assert [cap.worth_g for cap in cap_costs(endless, roomy)] == [0.0, 0.0]

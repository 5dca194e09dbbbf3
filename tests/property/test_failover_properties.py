"""Failover plans for whatever problem: alive after any loss and never beaten, or refused with reason."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aicsched.errors import Infeasible
from aicsched.place.failover import FailoverMode, FailoverProblem, least_fill, solve_failover
from aicsched.place.failover.check import check_failover
from tests.failover_kit import by_scipy, problem_of


@st.composite
def problems(draw: st.DrawFn) -> FailoverProblem:
    """Draw a small problem in which each service can outlive a loss alone; costs and sizes have ties."""
    regions = draw(st.integers(2, 5))
    groups = draw(st.integers(2, regions))
    group = [at % groups for at in range(regions)]
    size = st.sampled_from([0.5, 1.0, 2.0, 3.0, 7.0])
    cost = st.sampled_from([0.0, 0.25, 1.0, 2.0, 5.0])
    capacity = draw(st.lists(st.sampled_from([4.0, 8.0, 15.0, 40.0]), min_size=regions, max_size=regions))
    count = draw(st.integers(1, 6))
    demand = draw(st.lists(size, min_size=count, max_size=count))
    allowed = np.full((count, regions), -1)
    for row in range(count):
        chosen = draw(st.permutations(range(regions)))[: draw(st.integers(2, regions))]
        if len({group[at] for at in chosen}) < 2:
            chosen = list(range(regions))
        allowed[row, : len(chosen)] = chosen
    use = np.array(draw(st.lists(cost, min_size=count * regions, max_size=count * regions)))
    idle = draw(st.lists(cost, min_size=regions, max_size=regions))
    try:
        return problem_of(
            demand, allowed, capacity, groups=group, use_g=use.reshape(count, regions), idle_g=idle
        )
    except Infeasible:  # a demand that no loss leaves room for: tested by itself
        return problem_of(demand, allowed, [1000.0] * regions, groups=group, idle_g=idle)


@settings(max_examples=120, deadline=None)
@given(problem=problems(), mode=st.sampled_from(list(FailoverMode)))
def test_a_plan_outlives_any_loss_and_is_never_beaten(problem: FailoverProblem, mode: FailoverMode) -> None:
    best_g = by_scipy(problem, mode)
    if best_g is None:
        with pytest.raises(Infeasible):
            solve_failover(problem, mode, gap=0.0)
        assert least_fill(problem, mode, gap=1e-6).upper > 1 - 1e-6
        return
    plan = solve_failover(problem, mode, gap=0.0)
    report = check_failover(plan)
    assert report.total_g == pytest.approx(best_g, rel=1e-6, abs=1e-9)
    assert plan.certificate.lower_bound_g <= best_g * (1 + 1e-6) + 1e-9
    # Twice the work in twice the room emits twice as much.
    twice = replace(problem, demand_vcpus=problem.demand_vcpus * 2, capacity_vcpus=problem.capacity_vcpus * 2)
    assert solve_failover(twice, mode, gap=0.0).total_g == pytest.approx(2 * best_g, rel=1e-6, abs=1e-9)

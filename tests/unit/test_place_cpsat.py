"""The direct model: a second opinion on small problems, and an honest one on what it can't do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from aicsched.errors import Infeasible, PlacementError
from aicsched.place import cpsat
from aicsched.place.check import check
from aicsched.place.choice import costs_g, feasible, to_placement
from aicsched.place.cpsat import count_columns, dearest_g, solve_exact
from aicsched.place.problem import build_problem
from aicsched.place.solve import solve
from aicsched.slots import HOUR_S
from tests.place_kit import CURVES, GRID, crowd, fleet, job


@pytest.mark.parametrize("capacity", [22.0, 24.0, 40.0])
def test_the_direct_model_agrees_with_the_ladder(capacity: float) -> None:
    jobs, sites = crowd(), fleet(capacity, capacity)
    problem = build_problem(jobs, sites, CURVES, GRID)
    exact = solve_exact(problem)
    plan = solve(problem, gap=0.005)
    assert exact.choice is not None
    check(jobs, sites, CURVES, GRID, to_placement(problem, exact.choice, policy="direct"))
    best_g = float(costs_g(problem, exact.choice).sum())
    assert exact.bound_g == pytest.approx(best_g, rel=1e-6)
    assert plan.certificate.lower_bound_g <= best_g + 1e-6
    assert best_g - 1e-6 <= plan.total_g <= best_g * 1.005 + 1e-6


def test_columns_are_counted_as_the_model_has_them() -> None:
    jobs = [job("a", duration_s=3 * HOUR_S), job("b", suspendable=True, allowed_regions=("r1",))]
    assert count_columns(build_problem(jobs, fleet(9.0, 9.0), CURVES, GRID)) == 2 * 6 + 8


def test_no_plan_costs_more_than_the_dearest() -> None:
    problem = build_problem([job("a", data_gb=3.0)], fleet(9.0, 9.0), CURVES, GRID)
    assert dearest_g(problem) == pytest.approx(9.0)
    assert dearest_g(problem) >= float(problem.g_per_kwh.max())


def test_a_million_columns_are_refused_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpsat, "_HARD_LIMIT", 10)
    problem = build_problem([job("a")], fleet(9.0, 9.0), CURVES, GRID)
    with pytest.raises(PlacementError, match=r"16 columns is too large.*use solve\(\)"):
        solve_exact(problem)


def test_a_queue_that_does_not_fit_is_proven_so() -> None:
    # Both hold the middle hour, which has room for one.
    jobs = [job(f"j{index}", vcpus=2.0, duration_s=2 * HOUR_S, deadline_s=3 * HOUR_S) for index in range(2)]
    problem = build_problem(jobs, fleet(3.0), CURVES, GRID)
    exact = solve_exact(problem)
    assert (exact.choice, exact.bound_g) == (None, float("inf"))
    with pytest.raises(Infeasible, match=r"does not fit|no plan was found"):
        solve(problem)


def test_threads_finer_than_a_thousandth_give_a_plan_but_no_bound() -> None:
    jobs = [job(f"j{index}", vcpus=1 / 3, deadline_s=2 * HOUR_S) for index in range(3)]
    problem = build_problem(jobs, fleet(0.7), CURVES, GRID)
    exact = solve_exact(problem)
    assert exact.choice is not None
    assert feasible(problem, exact.choice)
    assert exact.bound_g == float("-inf")
    none = solve_exact(build_problem(jobs, fleet(0.34), CURVES, GRID))
    assert (none.choice, none.bound_g) == (None, float("-inf"))


def test_equal_input_gives_an_equal_answer() -> None:
    problem = build_problem(crowd(20), fleet(14.0, 14.0), CURVES, GRID)
    first, second = solve_exact(problem, seed=3), solve_exact(problem, seed=3)
    assert first.choice is not None
    assert second.choice is not None
    assert np.array_equal(first.choice.slots, second.choice.slots)
    assert np.array_equal(first.choice.region, second.choice.region)
    assert first.bound_g == second.bound_g


def test_a_limit_that_is_too_short_leaves_the_choice_open() -> None:
    problem = build_problem(crowd(), fleet(22.0, 22.0), CURVES, GRID)
    exact = solve_exact(replace(problem), limit=0.0)
    assert exact.choice is None or feasible(problem, exact.choice)
    assert exact.bound_g < float("inf")

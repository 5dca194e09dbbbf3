"""Problems built by hand from bad columns: each is refused with its place and a way out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from aicsched.errors import InputError, PlacementError
from aicsched.place.cpsat import count_columns, solve_exact
from aicsched.place.problem import Problem, build_problem
from aicsched.place.solve import solve
from aicsched.slots import HOUR_S, SlotGrid
from tests.place_kit import CURVES, GRID, fleet, job

NAN, INF = float("nan"), float("inf")
PROBLEM = build_problem([job("a"), job("b", duration_s=2 * HOUR_S)], fleet(4.0, 4.0), CURVES, GRID)


def put(name: str, at: tuple[int, ...], value: float) -> dict[str, Any]:
    """One column with one value changed."""
    column = np.array(getattr(PROBLEM, name))
    column[at] = value
    return {name: column}


BAD = [
    (
        put("capacity", (0, 1, 3), -1.0),
        r"of resource 'vcpus', region 'r1', slot 3 \(1970-01-01T03:00Z",
    ),
    (put("capacity", (0, 1, 3), NAN), r"is nan, not a number from 0; give what is free"),
    (put("demand", (1, 0), NAN), r"demand of job 'b', resource 'vcpus' is nan, not a finite number from 0"),
    (put("demand", (1, 0), -2.0), r"demand of job 'b', resource 'vcpus' is -2\.0"),
    (put("demand", (1, 0), INF), r"demand of job 'b', resource 'vcpus' is inf"),
    (put("energy_kwh_per_w", (0,), -1.0), r"energy_kwh_per_w of job 'a' is -1\.0"),
    (put("g_per_kwh", (0, 2), NAN), r"g_per_kwh of region 'r0', slot 2 .* is nan"),
    (put("g_per_kwh", (0, 2), -3.0), r"is -3\.0, .*; prices assume rates from 0: lift a negative intensity"),
    (put("watt_factor_w", (1,), INF), r"watt_factor_w of region 'r1' is inf"),
    (put("transfer_g", (0, 1), INF), r"transfer_g of job 'a', region 'r1' is inf.*set `allowed` to false"),
    (put("n_slots", (1,), 0), r"n_slots of job 'b' is 0, less than 1"),
    (put("first", (1,), -1), r"first of job 'b' is -1, before the grid"),
    (put("last", (0,), 9), r"last of job 'a' is 9, behind the 8 slots"),
    (put("last", (1,), 1), r"last of job 'b' is 1, too early for its n_slots .*widen the window"),
    (put("home", (1,), 2), r"home of job 'b' is 2, not one of 2 regions"),
    ({"allowed": np.array([[True, True], [False, False]])}, r"job 'b' is allowed in no region"),
    ({"order": np.array([[0, 2]])}, r"order pairs jobs 0 and 2: not two different ones of 2"),
    ({"order": np.array([[1, 1]])}, r"order pairs jobs 1 and 1"),
    ({"order": np.array([0, 1])}, r"order has the shape \(2,\), not \(pairs, 2\)"),
    ({"demand": np.ones(2)}, r"demand has the shape \(2,\), not \(2, 1\); its axes are jobs x resources"),
    ({"g_per_kwh": np.ones((2, 7))}, r"g_per_kwh has the shape \(2, 7\), not \(2, 8\)"),
    ({"job_ids": ()}, r"a problem without jobs can't be placed"),
    (put("energy_kwh_per_w", (0,), 1e300), r"the costs add up to .* the dearest job is 'a'"),
    (put("energy_kwh_per_w", (1,), 1.7e308), r"add up to inf g.* the dearest job is 'b'"),
    ({"demand": np.full((2, 1), NAN)}, r"demand of job 'a'.*\(and 1 more\)"),
]


@pytest.mark.parametrize(("change", "words"), BAD)
def test_bad_columns_are_refused_with_their_place_and_a_hint(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        replace(PROBLEM, **change)
    assert caught.value.hint


def test_what_is_rare_but_right_is_taken() -> None:
    capacity = np.array(PROBLEM.capacity)
    capacity[0, 0] = INF
    capacity[0, 1] = 0.0
    rare = replace(PROBLEM, capacity=capacity, g_per_kwh=np.zeros((2, 8)), transfer_g=np.full((2, 2), 0.5))
    plan = solve(rare)
    assert [row.region for row in plan.assignments] == ["r0", "r0"]
    assert plan.total_g == pytest.approx(1.0)


def test_ten_million_columns_are_refused_by_the_direct_model_before_it_is_built() -> None:
    jobs, regions, slots = 1000, 20, 600
    large = Problem(
        slots=SlotGrid(0, HOUR_S, slots),
        job_ids=tuple(f"j{index}" for index in range(jobs)),
        regions=tuple(f"r{index}" for index in range(regions)),
        resources=("vcpus",),
        demand=np.ones((jobs, 1)),
        n_slots=np.ones(jobs, np.int64),
        first=np.zeros(jobs, np.int64),
        last=np.full(jobs, slots),
        suspendable=np.zeros(jobs, np.bool_),
        energy_kwh_per_w=np.full(jobs, 0.001),
        home=np.zeros(jobs, np.int64),
        allowed=np.ones((jobs, regions), np.bool_),
        transfer_g=np.zeros((jobs, regions)),
        watt_factor_w=np.ones(regions),
        g_per_kwh=np.ones((regions, slots)),
        capacity=np.ones((1, regions, slots)),
        order=np.zeros((0, 2), np.int64),
    )
    assert count_columns(large) == 12_000_000
    with pytest.raises(PlacementError, match=r"12,000,000 columns is too large for CP-SAT; use solve\(\)"):
        solve_exact(large)

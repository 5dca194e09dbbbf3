"""Money, moves and risk beside carbon: against brute force, and each term worked out again."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from aicsched.errors import InputError, PlanRefused
from aicsched.place.check import check
from aicsched.place.check_measures import check_totals
from aicsched.place.objective import (
    ObjectivePlan,
    Term,
    carbon_term,
    money_term,
    moves_term,
    risk_term,
    solve_one_first,
    solve_weighted,
)
from aicsched.place.problem import Problem, build_problem
from aicsched.place.solve import solve
from aicsched.slots import HOUR_S
from tests.place_kit import CURVES, GRID, crowd, fleet, job

SITES = fleet(3.0, 3.0)
# Power is cheap where carbon is dear, and below zero for an hour.
USD_PER_KWH = np.array(
    [
        [0.01, 0.02, 0.05, 0.2, 0.3, 0.05, -0.04, 0.01],
        [0.2, 0.2, 0.25, 0.25, 0.2, 0.2, 0.1, 0.1],
    ]
)
USD_PER_VCPU_H = np.array([0.03, 0.05])
CHANCE = np.array([[0.1, 0.1, 0.0, 0.0, 0.5, 0.5, 0.5, 0.0], [0.0] * 8])


def small(seed: int) -> Problem:
    rng = np.random.default_rng(seed)
    jobs = [
        job(
            f"j{index}",
            vcpus=float(rng.integers(1, 3)),
            duration_s=int(rng.integers(1, 4)) * HOUR_S - int(rng.integers(0, 1000)),
            deadline_s=7 * HOUR_S,
            home_region=f"r{rng.integers(0, 2)}",
            data_gb=float(rng.random()),
        )
        for index in range(4)
    ]
    return build_problem(jobs, SITES, CURVES, GRID)


def terms_of(problem: Problem) -> list[Term]:
    money = money_term(problem, usd_per_kwh=USD_PER_KWH, usd_per_vcpu_h=USD_PER_VCPU_H)
    return [carbon_term(problem), money, moves_term(problem), risk_term(problem, CHANCE)]


def every_plan(problem: Problem) -> np.ndarray:
    """Grams, dollars, moves and risk of every feasible plan, by the definitions alone."""
    options = []
    for row in range(len(problem.job_ids)):
        length = int(problem.n_slots[row])
        hours = problem.energy_kwh_per_w[row] * 1000.0
        options.append([])
        for region in range(2):
            for start in range(int(problem.first[row]), int(problem.last[row]) - length + 1):
                slots = list(range(start, start + length))
                kwh = hours * problem.watt_factor_w[region] / 1000.0
                away = float(region != problem.home[row])
                usd = (kwh * USD_PER_KWH[region, slots] + hours * USD_PER_VCPU_H[region]).sum()
                risk = hours * CHANCE[region, slots].sum()
                costs = np.array([problem.cost_g(row, region, slots), usd, away, risk])
                used = np.zeros((2, 8))
                used[region, slots] = problem.vcpus[row]
                options[-1].append((costs, used))
    found = [
        sum(costs for costs, _ in plan)
        for plan in itertools.product(*options)
        if (sum(used for _, used in plan) <= problem.capacity[0]).all()
    ]
    return np.array(found)


@pytest.mark.parametrize("seed", range(2))
def test_every_exchange_rate_finds_the_least_of_all_plans(seed: int) -> None:
    problem = small(seed)
    every = every_plan(problem)
    for rates in (
        {"carbon": 1.0},
        {"money": 1.0},
        {"carbon": 100 / 1e3, "money": 1.0},
        {"moves": 1.0, "carbon": 1e-3},
        {"risk": 2.0, "money": 1.0, "carbon": 1e-4},
    ):
        plan = solve_weighted(problem, terms_of(problem), rates, unit="usd", gap=1e-7)
        weights = [rates.get(name, 0.0) for name in ("carbon", "money", "moves", "risk")]
        least = (every @ weights).min()
        assert plan.proof.value == pytest.approx(least, rel=1e-6, abs=1e-9)
        assert plan.proof.lower_bound <= least + 1e-9
        told = [plan.totals[name] for name in ("carbon", "money", "moves", "risk")]
        assert np.dot(weights, told) == pytest.approx(plan.proof.value, rel=1e-9, abs=1e-12)
        assert plan.placement.total_g == pytest.approx(plan.totals["carbon"], rel=1e-12)
        assert plan.placement.certificate.lower_bound_g == float("-inf")


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("first", "then"), [("money", "carbon"), ("carbon", "money"), ("carbon", "moves")])
def test_one_first_keeps_its_limit_and_bounds_the_other(seed: int, first: str, then: str) -> None:
    problem = small(seed)
    names = ["carbon", "money", "moves", "risk"]
    every = every_plan(problem)
    one, two = every[:, names.index(first)], every[:, names.index(then)]
    for within in (0.0, 0.2):
        plan = solve_one_first(problem, terms_of(problem), first=first, then=then, within=within, gap=1e-7)
        assert plan.totals[first] <= plan.limit
        assert plan.limit == pytest.approx(one.min() + within * abs(one.min()), rel=1e-6)
        assert plan.first_bound <= one.min() + 1e-9
        least = two[one <= plan.limit].min()
        assert plan.proof.lower_bound <= least + 1e-9
        assert plan.proof.value >= least - 1e-9
        assert plan.proof.value == pytest.approx(plan.totals[then], rel=1e-9)


def crowded() -> tuple[Problem, list[Term], ObjectivePlan]:
    problem = build_problem(crowd(40), fleet(20.0, 20.0), CURVES, GRID)
    terms = terms_of(problem)
    return problem, terms, solve_one_first(problem, terms, first="money", then="carbon", within=0.1)


def test_many_jobs_leave_a_small_gap_between_the_limit_and_its_price() -> None:
    problem, terms, plan = crowded()
    cheapest = solve_weighted(problem, terms, {"money": 1.0}, unit="usd")
    greenest = solve(problem)
    assert plan.proof.gap <= 0.05
    assert greenest.certificate.lower_bound_g <= plan.totals["carbon"] < cheapest.totals["carbon"]
    assert plan.totals["money"] <= cheapest.proof.value + 0.1 * abs(cheapest.proof.value) + 1e-9


def test_the_checker_works_every_term_out_again() -> None:
    jobs, sites = crowd(40), fleet(20.0, 20.0)
    _, _, plan = crowded()
    check(jobs, sites, CURVES, GRID, plan.placement)
    tables = {
        "usd_per_kwh": {f"r{row}": USD_PER_KWH[row].tolist() for row in range(2)},
        "usd_per_vcpu_h": {f"r{row}": [float(USD_PER_VCPU_H[row])] * 8 for row in range(2)},
        "probability": {f"r{row}": CHANCE[row].tolist() for row in range(2)},
    }
    found = check_totals(jobs, sites, plan.placement, plan.totals, **tables)
    assert set(found) == set(plan.units)
    for name in plan.totals:
        wrong = dict(plan.totals) | {name: plan.totals[name] + 1.0}
        with pytest.raises(PlanRefused, match=name):
            check_totals(jobs, sites, plan.placement, wrong, **tables)


def test_costs_that_make_no_sense_are_refused() -> None:
    problem = small(1)
    terms = terms_of(problem)
    with pytest.raises(InputError, match="no term is called 'mony'"):
        solve_weighted(problem, terms, {"mony": 1.0}, unit="usd")
    with pytest.raises(InputError, match="exchange rates"):
        solve_weighted(problem, terms, {"money": -1.0}, unit="usd")
    with pytest.raises(InputError, match="exchange rates"):
        solve_weighted(problem, terms, {}, unit="usd")
    with pytest.raises(InputError, match="says nothing"):
        solve_one_first(problem, terms, first="money", then="money")
    with pytest.raises(InputError, match="says nothing"):
        solve_one_first(problem, terms, first="money", then="carbon", within=-0.1)
    with pytest.raises(InputError, match="usd_per_kwh has the shape"):
        money_term(problem, usd_per_kwh=np.ones(3))
    with pytest.raises(InputError, match="without a price"):
        money_term(problem)
    with pytest.raises(InputError, match="not all finite"):
        money_term(problem, usd_per_kwh=[np.nan, 1.0])
    with pytest.raises(InputError, match="within 0 and 1"):
        risk_term(problem, [10.0, 0.0])

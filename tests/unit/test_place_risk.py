"""Plans against bad scenarios: CVaR by its definition, bounds against brute force, and the checker."""

from __future__ import annotations

import functools
import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from aicsched.domain.carbon import IntensityKind, frozen_array
from aicsched.domain.forecast import Forecast
from aicsched.errors import ForecastError, InputError, PlanRefused, UnknownZone
from aicsched.place.check import check
from aicsched.place.check_measures import check_cvar
from aicsched.place.choice import choice_of, costs_g
from aicsched.place.problem import Problem, build_problem
from aicsched.place.risk import RiskPlan, cvar_g, scenario_grid, solve_cvar
from aicsched.place.solve import solve
from aicsched.slots import HOUR_S
from tests.place_kit import CURVES, GRID, crowd, fleet, job

if TYPE_CHECKING:
    from numpy.typing import NDArray

SITES = fleet(3.0, 3.0)


def drawn(count: int, seed: int, regions: int = 2, slots: int = 8) -> NDArray[np.float64]:
    """Scenarios whose errors last over all slots, so that a region may be bad as a whole."""
    rng = np.random.default_rng(seed)
    middle = np.array([CURVES[f"z{index}"].mean_g_per_kwh for index in range(regions)])
    whole = rng.lognormal(0.0, 0.5, (count, regions, 1))
    return middle * whole * rng.lognormal(0.0, 0.1, (count, regions, slots))


def zones(scenarios: NDArray[np.float64]) -> list[dict[str, list[float]]]:
    return [{f"z{index}": row.tolist() for index, row in enumerate(item)} for item in scenarios]


def plans(problem: Problem) -> list[list[tuple[int, tuple[int, ...]]]]:
    """Every feasible plan of contiguous jobs."""
    options = [
        [
            (region, tuple(range(start, start + int(problem.n_slots[row]))))
            for region in range(len(problem.regions))
            for start in range(int(problem.first[row]), int(problem.last[row] - problem.n_slots[row]) + 1)
        ]
        for row in range(len(problem.job_ids))
    ]
    found = []
    for plan in itertools.product(*options):
        used = np.zeros(problem.capacity.shape)
        for row, (region, slots) in enumerate(plan):
            used[:, region, list(slots)] += problem.demand[row][:, None]
        if (used <= problem.capacity).all():
            found.append(list(plan))
    return found


def totals(problem: Problem, scenarios: NDArray[np.float64]) -> NDArray[np.float64]:
    """Grams of every feasible plan in every scenario."""
    watts = problem.watt_factor_w[None, :, None] * scenarios

    @functools.cache
    def grams(row: int, region: int, slots: tuple[int, ...]) -> NDArray[np.float64]:
        energy = problem.energy_kwh_per_w[row] * watts[:, region, list(slots)].sum(axis=1)
        return energy + problem.transfer_g[row, region]

    return np.array(
        [np.sum([grams(row, *where) for row, where in enumerate(plan)], axis=0) for plan in plans(problem)]
    )


def brute_cvar(values: NDArray[np.float64], weights: NDArray[np.float64], alpha: float) -> float:
    """By Rockafellar and Uryasev's formula, over every level at which it can have its least."""
    array = np.array(values)
    return min(float(level + (weights * np.maximum(array - level, 0)).sum() / (1 - alpha)) for level in array)


def small(seed: int) -> Problem:
    rng = np.random.default_rng(seed)
    jobs = [
        job(
            f"j{index}",
            vcpus=float(rng.integers(1, 3)),
            duration_s=int(rng.integers(1, 4)) * HOUR_S,
            deadline_s=6 * HOUR_S,
            home_region=f"r{rng.integers(0, 2)}",
            data_gb=float(rng.random()),
        )
        for index in range(4)
    ]
    return build_problem(jobs, SITES, CURVES, GRID)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.8, 0.93])
def test_cvar_is_the_mean_of_the_worst_and_the_least_of_its_formula(alpha: float) -> None:
    rng = np.random.default_rng(1)
    for count in (1, 2, 7, 40):
        values, weights = rng.lognormal(0, 1, count), rng.random(count)
        weights /= weights.sum()
        found = cvar_g(values, weights, alpha=alpha)
        assert found == pytest.approx(brute_cvar(values, weights, alpha), rel=1e-12)
    assert cvar_g([1, 2, 3, 4], alpha=0.0) == 2.5
    assert cvar_g([5, 1, 9, 4], alpha=0.99) == pytest.approx(9.0)


@pytest.mark.parametrize("seed", range(4))
def test_bound_and_plan_stand_on_both_sides_of_the_best_of_all_plans(seed: int) -> None:
    problem, scenarios = small(seed), drawn(9, seed)
    weights = np.random.default_rng(seed).random(9)
    weights /= weights.sum()
    every = totals(problem, scenarios)
    for alpha in (0.0, 0.5, 0.9):
        found = solve_cvar(problem, scenarios, weights=weights, alpha=alpha, gap=1e-6)
        best = min(brute_cvar(values, weights, alpha) for values in every)
        assert found.proof.lower_bound <= best * (1 + 1e-9)
        assert found.proof.value >= best * (1 - 1e-9)
        # Few jobs can't be split between hedges, yet what is found is near the best.
        assert found.proof.value <= best * 1.05
        if alpha == 0.0:
            assert found.proof.value == pytest.approx(best, rel=1e-6)


def hedged(count: int = 40) -> tuple[Problem, NDArray[np.float64], RiskPlan]:
    # The second region is a little dearer on average and hardly uncertain.
    scenarios = drawn(60, 5)
    scenarios[:, 0] *= 0.95 * scenarios[:, 1].mean() / scenarios[:, 0].mean()
    scenarios[:, 1] = scenarios[:, 1].mean(axis=0)
    problem = build_problem(crowd(count), fleet(40.0, 40.0), CURVES, GRID)
    problem = replace(problem, g_per_kwh=frozen_array(scenarios.mean(axis=0)))
    return problem, scenarios, solve_cvar(problem, scenarios, alpha=0.8, gap=0.002)


def test_hedging_lowers_the_tail_and_costs_expected_grams() -> None:
    problem, scenarios, plan = hedged()
    expected_g = np.array(
        [
            costs_g(replace(problem, g_per_kwh=frozen_array(item)), choice_of(problem, plan.expected)).sum()
            for item in scenarios
        ]
    )
    assert plan.expected_cvar_g == pytest.approx(cvar_g(expected_g, alpha=0.8), rel=1e-12)
    assert plan.proof.value < 0.99 * plan.expected_cvar_g
    assert plan.proof.gap <= 0.03
    assert plan.placement.total_g >= plan.expected.certificate.lower_bound_g
    assert plan.placement.certificate.lower_bound_g == plan.expected.certificate.lower_bound_g
    assert plan.mean_g == pytest.approx(plan.placement.total_g, rel=1e-9)
    # The same input gives the same plan.
    assert hedged()[2].placement == plan.placement


def test_the_weights_of_the_proof_prove_it() -> None:
    problem, scenarios, plan = hedged()
    assert plan.worst.sum() == pytest.approx(1.0)
    assert plan.worst.min() >= -1e-12
    assert plan.worst.max() <= 1 / 60 / 0.2 + 1e-12
    mixed = replace(problem, g_per_kwh=frozen_array(np.tensordot(plan.worst, scenarios, axes=1)))
    again = solve(mixed, gap=0.001, start=plan.placement)
    # No plan emits less under these weights, and under none does CVaR lie below the mean under weights.
    assert plan.proof.lower_bound <= again.total_g * (1 + 1e-9)
    assert float(plan.worst @ plan.totals_g) <= plan.proof.value * (1 + 1e-9)


def test_the_checker_works_the_tail_out_again() -> None:
    jobs, sites, scenarios = crowd(12), fleet(8.0, 8.0), drawn(20, 2)
    problem = build_problem(jobs, sites, CURVES, GRID)
    plan = solve_cvar(problem, scenarios, alpha=0.75)
    check(jobs, sites, CURVES, GRID, plan.placement)
    found = check_cvar(jobs, sites, plan.placement, plan.proof, zones(scenarios), alpha=0.75)
    assert found == pytest.approx(plan.proof.value, rel=1e-9)
    with pytest.raises(PlanRefused, match="its proof says"):
        check_cvar(jobs, sites, plan.placement, plan.proof, zones(scenarios), alpha=0.5)
    lifted = replace(plan.proof, lower_bound=plan.proof.value * 1.01)
    with pytest.raises(PlanRefused, match="lies above"):
        check_cvar(jobs, sites, plan.placement, lifted, zones(scenarios), alpha=0.75)


def test_jobs_that_wait_for_others_still_do() -> None:
    jobs = [*crowd(12), job("last", after=("j0", "j1"))]
    problem, scenarios = build_problem(jobs, fleet(9.0, 9.0), CURVES, GRID), drawn(20, 2)
    plan = solve_cvar(problem, scenarios, alpha=0.75)
    check(jobs, fleet(9.0, 9.0), CURVES, GRID, plan.placement)


def spread(zone: str, scale: float) -> Forecast:
    values = CURVES[zone].mean_g_per_kwh
    return Forecast(
        grid_zone=zone,
        kind=IntensityKind.AVERAGE,
        slots=GRID,
        issue_time_s=0,
        mean_g_per_kwh=values,
        levels=(0.1, 0.5, 0.9),
        quantiles_g_per_kwh=np.array([values / scale, values, values * scale]),
        model="test",
        source="test",
    )


def test_scenarios_of_regions_follow_their_zones() -> None:
    made = scenario_grid(SITES, {zone: spread(zone, 1.5) for zone in CURVES}, GRID, count=400, seed=1)
    assert made.shape == (400, 2, 8)
    assert np.median(made, axis=0)[0] == pytest.approx(CURVES["z0"].mean_g_per_kwh, rel=0.1)
    with pytest.raises(UnknownZone, match="r1"):
        scenario_grid(SITES, {"z0": spread("z0", 2.0)}, GRID, count=2, seed=1)
    with pytest.raises(ForecastError, match="levels"):
        scenario_grid(SITES, CURVES, GRID, count=2, seed=1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"alpha": 1.0}, "mean of no scenario"),
        ({"alpha": float("nan")}, "mean of no scenario"),
        ({"weights": np.array([0.5, 0.6, 0.1])}, "add up to 1"),
        ({"weights": np.array([0.5, 0.5])}, "3 numbers"),
        ({"rounds": 1}, "no plan with a bound"),
        ({"scenarios_g_per_kwh": np.ones((3, 1, 8))}, "scenarios x regions x slots"),
        ({"scenarios_g_per_kwh": np.ones((0, 2, 8))}, "no scenario"),
        ({"scenarios_g_per_kwh": np.full((3, 2, 8), -1.0)}, "scenario 0 of region 'r0' is -1.0"),
        ({"scenarios_g_per_kwh": np.full((3, 2, 8), np.nan)}, "is nan g/kWh in slot 0"),
    ],
)
def test_bad_scenarios_are_refused(change: dict[str, object], words: str) -> None:
    given = {"scenarios_g_per_kwh": drawn(3, 1), "alpha": 0.5} | change
    with pytest.raises(InputError) as caught:
        solve_cvar(small(1), **given)  # type: ignore[arg-type]
    assert words in str(caught.value)

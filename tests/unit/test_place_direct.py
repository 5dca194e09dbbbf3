"""Branch and cut on the direct model: agrees with CP-SAT, leaves out only what is of no use."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from aicsched.domain.carbon import frozen_array
from aicsched.errors import Infeasible
from aicsched.place.choice import costs_g, feasible
from aicsched.place.cpsat import solve_exact
from aicsched.place.direct import direct_fits, solve_direct
from aicsched.place.ground import ground_of
from aicsched.place.pricing import Oracle
from aicsched.place.problem import build_problem
from aicsched.place.relaxation import Relaxation
from aicsched.place.solve import solve
from aicsched.slots import HOUR_S
from tests.place_kit import CURVES, GRID, crowd, fleet, job


def mixed(seed: int) -> list[object]:
    """Draw jobs of which some run in pieces, some move data, and some may not run everywhere."""
    rng = np.random.default_rng(seed)
    made = []
    for index in range(10):
        hours = int(rng.integers(1, 4))
        made.append(
            job(
                f"j{index}",
                vcpus=float(rng.integers(1, 6)),
                duration_s=hours * HOUR_S,
                suspendable=bool(rng.random() < 0.4),
                data_gb=float(rng.integers(0, 4)),
                memory_gib=float(rng.integers(0, 5)),
                allowed_regions=("r1",) if rng.random() < 0.2 else (),
            )
        )
    return made


@pytest.mark.parametrize("seed", range(12))
def test_branch_and_cut_agrees_with_cp_sat(seed: int) -> None:
    problem = build_problem(mixed(seed), fleet(6.0, 6.0), CURVES, GRID)
    exact = solve_exact(problem)
    direct = solve_direct(Relaxation(problem), prices_g=np.zeros(problem.capacity.shape))
    if exact.choice is None:
        assert (direct.choice, direct.bound_g) == (None, float("inf"))
        return
    assert direct.choice is not None
    assert feasible(problem, direct.choice)
    best_g = float(costs_g(problem, exact.choice).sum())
    assert float(costs_g(problem, direct.choice).sum()) == pytest.approx(best_g, rel=1e-9)
    assert direct.bound_g == pytest.approx(best_g, rel=1e-9)
    plan = solve(problem, gap=0.0)
    assert plan.total_g == pytest.approx(best_g, rel=1e-9)
    assert plan.certificate.status == "optimal"


def test_columns_cost_what_their_jobs_emit() -> None:
    problem = build_problem(mixed(3), fleet(6.0, 6.0), CURVES, GRID)
    model = Relaxation(problem)
    cost_g = model.costs_g()
    for column in np.flatnonzero(~problem.suspendable[model.owner]).tolist():
        who, region, start = (int(part[column]) for part in (model.owner, model.region, model.slot))
        slots = range(start, start + int(problem.n_slots[who]))
        assert cost_g[column] == pytest.approx(problem.cost_g(who, region, slots), rel=1e-12)


def test_prices_of_the_relaxation_bound_as_well_as_the_relaxation_does() -> None:
    problem = build_problem(crowd(), fleet(22.0, 22.0), CURVES, GRID)
    from scipy.optimize import linprog

    model = Relaxation(problem)
    found = linprog(model.costs_g(), A_ub=model.matrix, b_ub=model.most, method="highs")
    bound_g, _, _ = Oracle(ground_of(problem)).bound(model.prices_g())
    assert bound_g == pytest.approx(found.fun, rel=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_what_is_left_out_by_its_reduced_cost_is_in_no_better_plan(seed: int) -> None:
    problem = build_problem(
        [replace(one, suspendable=False) for one in mixed(seed)], fleet(9.0, 9.0), CURVES, GRID
    )
    model = Relaxation(problem)
    whole = solve_direct(model, prices_g=np.zeros(problem.capacity.shape))
    assert whole.choice is not None
    best_g = float(costs_g(problem, whole.choice).sum())
    prices_g = model.prices_g()
    # A plan as good as the best at hand is found again; below it there is none, and the bound says so.
    again = solve_direct(model, prices_g=prices_g, best_g=best_g)
    assert again.bound_g == pytest.approx(best_g, rel=1e-9)
    better = solve_direct(model, prices_g=prices_g, best_g=best_g * 1.03)
    assert better.choice is not None
    assert float(costs_g(problem, better.choice).sum()) == pytest.approx(best_g, rel=1e-9)


def test_what_cannot_fit_is_told() -> None:
    jobs = [job(f"j{index}", vcpus=2.0, duration_s=2 * HOUR_S, deadline_s=4 * HOUR_S) for index in range(3)]
    with pytest.raises(Infeasible, match=r"does not fit.*j0"):
        solve(build_problem(jobs, fleet(3.0), CURVES, GRID))


def test_limits_without_end_bind_nothing() -> None:
    problem = build_problem(crowd(12), fleet(6.0, 30.0), CURVES, GRID)
    wide = problem.capacity.copy()
    wide[:, 1] = np.inf
    open_ended = replace(problem, capacity=frozen_array(wide))
    direct = solve_direct(Relaxation(open_ended), prices_g=np.zeros(wide.shape))
    exact = solve_exact(replace(problem, capacity=frozen_array(np.where(np.isinf(wide), 1e4, wide))))
    assert direct.choice is not None
    assert exact.choice is not None
    ours_g, theirs_g = (float(costs_g(problem, one.choice).sum()) for one in (direct, exact))
    assert ours_g == pytest.approx(theirs_g, rel=1e-9)


def test_jobs_that_wait_or_pay_for_resuming_are_left_to_cp_sat() -> None:
    first, second = job("a"), job("b", after=("a",))
    assert not direct_fits(build_problem([first, second], fleet(9.0), CURVES, GRID))
    paused = job("c", suspendable=True, duration_s=2 * HOUR_S, resume_s=600.0)
    assert not direct_fits(build_problem([paused], fleet(9.0), CURVES, GRID))
    assert direct_fits(build_problem([first], fleet(9.0), CURVES, GRID))

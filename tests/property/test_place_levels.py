"""Jobs whose suspensions cost energy: prices, repairs and plans against plain searches over all slots."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aicsched.errors import Infeasible, InputError, PlanRefused
from aicsched.place.check import check
from aicsched.place.choice import Choice, costs_g, feasible, loads_g, pointers, to_placement
from aicsched.place.confirm import confirm
from aicsched.place.cpsat import count_columns, solve_exact
from aicsched.place.explain import explain_all
from aicsched.place.ground import costs_of, ground_of
from aicsched.place.kernels.levels import pick_levels
from aicsched.place.objective import carbon_term, solve_weighted
from aicsched.place.policies import GREEDY, make_policy
from aicsched.place.pricing import Oracle
from aicsched.place.problem import Problem, build_problem
from aicsched.place.risk import totals_g
from aicsched.place.seating import Seating, build
from aicsched.place.settling import settle
from aicsched.place.solve import solve
from aicsched.slots import HOUR_S
from tests.place_kit import CURVES, GRID, crowd, fleet, job

if TYPE_CHECKING:
    from aicsched.domain.job import Job

SITES = fleet(24.0, 24.0)
JOBS = [
    replace(item, suspendable=True, resume_s=600.0 * (index % 5)) if index % 3 else item
    for index, item in enumerate(crowd())
]
PROBLEM = build_problem(JOBS, SITES, CURVES, GRID)
ORACLE = Oracle(ground_of(PROBLEM))

prices = st.lists(st.floats(0.0, 20.0), min_size=16, max_size=16).map(
    lambda flat: np.array(flat).reshape(1, 2, 8)
)


def ways(item: Job) -> list[tuple[str, tuple[int, ...], float]]:
    """Every way to run a job on the grid, slots as often as they do units of work, with its grams."""
    length = -(-int(item.duration_s) // HOUR_S)
    first, last = item.release_s // HOUR_S, min(item.deadline_s // HOUR_S, len(GRID))
    found = []
    for region in SITES.regions:
        curve = CURVES[region.grid_zone].mean_g_per_kwh
        for slots in itertools.combinations(range(first, last), length):
            if slots[-1] - slots[0] + 1 > length and not (item.suspendable and item.deferrable):
                continue
            grams = sum(item.vcpus * item.duration_s / HOUR_S / length * curve[slot] for slot in slots)
            for earlier, later in itertools.pairwise(slots):
                if later > earlier + 1:
                    grams += item.vcpus * item.resume_s / HOUR_S * curve[later]
            moved = 0.0 if region.name == item.home_region else item.data_gb * region.transfer_g_per_gb
            found.append((region.name, slots, grams + moved))
    return found


def held(item: Job, slots: tuple[int, ...]) -> np.ndarray:
    """Threads in each slot."""
    total = np.zeros(len(GRID))
    for slot in slots:
        total[slot] += item.vcpus
    return total


@settings(max_examples=30, deadline=None)
@given(prices)
def test_the_oracle_finds_what_a_plain_search_finds(prices_g: np.ndarray) -> None:
    priced = ORACLE.price(prices_g)
    bound_g, choice, load = ORACLE.bound(prices_g)
    assert bound_g == pytest.approx(priced.bound_g, abs=1e-9)
    paid = costs_g(PROBLEM, choice) + loads_g(PROBLEM, choice, prices_g)
    assert priced.reduced_g == pytest.approx(paid, abs=1e-9)
    assert costs_of(ORACLE.ground, choice, priced.rates) == pytest.approx(paid, abs=1e-9)
    total = np.zeros((2, 8))
    pointer = pointers(PROBLEM)
    for index, item in enumerate(JOBS):
        at = {"r0": 0, "r1": 1}
        costs = {"r0": [], "r1": []}
        for region, slots, grams in ways(item):
            costs[region].append((grams + float(prices_g[0, at[region]] @ held(item, slots)), slots[0]))
        for region, found in costs.items():
            least = min(cost for cost, _ in found)
            assert priced.least_g[index, at[region]] == pytest.approx(least, abs=1e-9)
            wish = priced.wish[index, at[region]]
            assert min(cost for cost, start in found if start == wish) == pytest.approx(least, abs=1e-9)
        picked = tuple(choice.slots[pointer[index] : pointer[index + 1]].tolist())
        total[choice.region[index]] += held(item, picked)
    assert load[0] == pytest.approx(total, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 9), st.floats(0, 9), st.booleans()), min_size=1, max_size=8),
    st.integers(1, 6),
    st.integers(1, 3),
)
def test_the_programme_over_slots_equals_all_sets(
    rows: list[tuple[float, float, bool]], length: int, most: int
) -> None:
    levels = np.array([[cost * (level + 1) ** 1.3 for level in range(most)] for cost, _, _ in rows])
    levels[[full for _, _, full in rows], most - 1 :] = np.inf
    again = np.array([cost for _, cost, _ in rows])
    best = np.inf
    for counts in itertools.product(range(most + 1), repeat=len(rows)):
        if sum(counts) != length:
            continue
        cost = sum(levels[slot, count - 1] for slot, count in enumerate(counts) if count)
        used = [slot for slot, count in enumerate(counts) if count]
        cost += sum(again[later] for one, later in itertools.pairwise(used) if later > one + 1)
        best = min(best, cost)
    order = np.full(length, -1)
    found = pick_levels(levels, again, length, order)
    assert found == pytest.approx(best)
    if best < np.inf:
        used = np.bincount(order, minlength=len(rows))
        gone = np.unique(order)
        cost = sum(levels[slot, count - 1] for slot, count in enumerate(used) if count)
        cost += sum(again[later] for one, later in itertools.pairwise(gone) if later > one + 1)
        assert cost == pytest.approx(best)
        assert (np.diff(order) >= 0).all()


@settings(max_examples=20, deadline=None)
@given(prices, st.integers(0, 1000))
def test_repairs_stay_feasible_and_their_grams_are_exact(prices_g: np.ndarray, seed: int) -> None:
    priced = ORACLE.price(prices_g)
    seating, left = build(ORACLE.ground, priced, np.arange(len(JOBS)))
    assert not len(left)
    before_g = costs_g(PROBLEM, seating.choice()).sum()
    assert priced.bound_g <= before_g + 1e-6
    seating.repair(priced, 60, (5.0, 0.0), seed)
    better = seating.choice()
    assert feasible(PROBLEM, better)
    check(JOBS, SITES, CURVES, GRID, to_placement(PROBLEM, better, policy="repair"))
    fresh = Seating(ORACLE.ground)
    fresh.put(better)
    assert fresh.free == pytest.approx(seating.free, abs=1e-9)


@settings(max_examples=20, deadline=None)
@given(prices, st.integers(0, 1000))
def test_jobs_that_settle_keep_their_books(prices_g: np.ndarray, seed: int) -> None:
    priced = ORACLE.price(prices_g)
    seating, left = settle(ORACLE.ground, priced, seed)
    settled = seating.choice()
    assert (settled.region[left] == -1).all()
    fresh = Seating(ORACLE.ground)
    fresh.put(settled)
    assert fresh.free == pytest.approx(seating.free, abs=1e-9)
    if not len(left):
        assert feasible(PROBLEM, settled)
        check(JOBS, SITES, CURVES, GRID, to_placement(PROBLEM, settled, policy="settled"))


def test_a_job_alone_settles_where_it_is_cheapest_suspensions_counted() -> None:
    for index, item in enumerate(JOBS):
        oracle = Oracle(ground_of(build_problem([item], fleet(1e9, 1e9), CURVES, GRID)))
        priced = oracle.price(np.zeros((1, 2, 8)))
        seating, left = settle(oracle.ground, priced, index)
        assert not len(left)
        least = min(grams for _, _, grams in ways(item))
        assert costs_of(oracle.ground, seating.choice(), priced.rates)[0] == pytest.approx(least)


def test_plain_and_compiled_kernels_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = []
    for mode in ("numpy", "numba"):
        monkeypatch.setenv("AICSCHED_KERNELS", mode)
        oracle = Oracle(ground_of(PROBLEM))
        prices_g = np.linspace(0, 9, 16).reshape(1, 2, 8)
        _, choice, load = oracle.bound(prices_g)
        priced = oracle.price(prices_g)
        seating, left = build(oracle.ground, priced, np.arange(len(JOBS)))
        seating.repair(priced, 200, (3.0, 0.0), 7)
        settled, out = settle(oracle.ground, priced, 7)
        answers.append(
            [part.tolist() for part in (choice.slots, load, priced.least_g, priced.wish, left, out)]
            + [part.tolist() for part in (*seating.state(), *settled.state())]
        )
    assert answers[0] == answers[1]


rows_strategy = st.lists(
    st.builds(
        lambda vcpus, hours, slack, suspendable, resume, home: {
            "vcpus": float(vcpus),
            "duration_s": hours * HOUR_S,
            "deadline_s": min(8, hours + slack) * HOUR_S,
            "suspendable": suspendable,
            "resume_s": resume if suspendable else 0.0,
            "home_region": home,
            "data_gb": 1.0,
        },
        st.integers(1, 3),
        st.integers(1, 3),
        st.integers(0, 4),
        st.booleans(),
        st.sampled_from([0.0, 300.0, 3600.0]),
        st.sampled_from(["r0", "r1"]),
    ),
    min_size=1,
    max_size=3,
)


def brute_force(jobs: list[Job], capacities: tuple[float, float]) -> float | None:
    """The least grams of all feasible plans, by trying all."""
    best: float | None = None
    for plan in itertools.product(*(ways(item) for item in jobs)):
        total = sum(grams for _, _, grams in plan)
        if best is not None and total >= best:
            continue
        used = {"r0": np.zeros(8), "r1": np.zeros(8)}
        for item, (region, slots, _) in zip(jobs, plan, strict=True):
            used[region] += held(item, slots)
        if (used["r0"] <= capacities[0]).all() and (used["r1"] <= capacities[1]).all():
            best = total
    return best


@settings(max_examples=15, deadline=None)
@given(rows_strategy, st.sampled_from([(3.0, 3.0), (4.0, 2.0)]))
def test_plans_equal_brute_force(rows: list[dict[str, object]], capacities: tuple[float, float]) -> None:
    jobs = [job(f"j{index}", **row) for index, row in enumerate(rows)]
    sites = fleet(*capacities)
    best = brute_force(jobs, capacities)
    try:
        problem = build_problem(jobs, sites, CURVES, GRID)
        plan = solve(problem, gap=0.0)
    except Infeasible:
        assert best is None
        return
    check(jobs, sites, CURVES, GRID, plan)
    assert best is not None
    assert plan.total_g == pytest.approx(best, rel=1e-9)
    assert plan.certificate.status == "optimal"
    exact = solve_exact(problem)
    assert exact.choice is not None
    check(jobs, sites, CURVES, GRID, to_placement(problem, exact.choice, policy="exact"))
    assert costs_g(problem, exact.choice).sum() == pytest.approx(best, rel=1e-9)
    assert exact.bound_g <= best + 1e-9


def test_a_suspension_is_taken_only_where_it_saves_more_than_it_costs() -> None:
    curves = {**CURVES, "z0": replace(CURVES["z0"], mean_g_per_kwh=np.array([2, 9, 2, 9, 9, 9, 9, 9.0]))}
    sites = fleet(4.0)
    for resume_s, slots in ((0.0, (0, 2)), (3600.0, (0, 2)), (4 * 3600.0, (0, 1))):
        jobs = [job("a", duration_s=2 * HOUR_S, suspendable=True, resume_s=resume_s)]
        plan = solve(build_problem(jobs, sites, curves, GRID))
        check(jobs, sites, curves, GRID, plan)
        assert plan.assignments[0].slot_indices == slots
        assert plan.total_g == pytest.approx(11.0 if slots == (0, 1) else 4.0 + resume_s / HOUR_S * 2)


def test_policies_and_explanations_count_suspensions() -> None:
    problem = build_problem(JOBS, SITES, CURVES, GRID)
    plan = solve(problem)
    check(JOBS, SITES, CURVES, GRID, plan)
    for name in GREEDY:
        other = make_policy(name).plan(problem)
        check(JOBS, SITES, CURVES, GRID, other)
        assert plan.certificate.lower_bound_g <= other.total_g + 1e-9
    baseline = make_policy("no_wait").plan(problem)
    rows = explain_all(problem, plan, baseline)
    confirm(JOBS, SITES, CURVES, GRID, plan, baseline=baseline, explanations=rows)
    for row, placed in zip(rows, plan.assignments, strict=True):
        item = next(one for one in JOBS if one.job_id == row.job_id)
        assert row.unlimited_g == pytest.approx(min(grams for _, _, grams in ways(item)), abs=1e-9)
        assert row.unlimited_g <= placed.total_g + 1e-9


def test_the_validator_finds_suspensions_that_are_not_paid() -> None:
    jobs = [job("a", duration_s=2 * HOUR_S, suspendable=True, resume_s=1800.0)]
    problem = build_problem(jobs, fleet(4.0), CURVES, GRID)
    choice = Choice(np.array([0]), np.array([3, 5]))
    plan = to_placement(problem, choice, policy="by hand")
    check(jobs, fleet(4.0), CURVES, GRID, plan)
    assert plan.total_g == pytest.approx(3 + 6 + 0.5 * 6)
    assert problem.cost_g(0, 0, [3, 5]) == pytest.approx(plan.total_g)
    with pytest.raises(PlanRefused, match=r"emits 12\.0 g, the plan says 9\.0 g"):
        check([replace(jobs[0], resume_s=1800.0)], fleet(4.0), CURVES, GRID,
              replace(plan, assignments=(replace(plan.assignments[0], operational_g=9.0),)))  # fmt: skip


def test_bad_costs_of_suspensions_are_refused() -> None:
    with pytest.raises(InputError, match="resume_s is -1"):
        job("a", resume_s=-1.0)
    wrong = np.full(len(JOBS), np.nan)
    with pytest.raises(InputError, match="resume_kwh_per_w of job 'j0' is nan"):
        replace(PROBLEM, resume_kwh_per_w=wrong)
    assert isinstance(PROBLEM, Problem)
    dear = [replace(item, suspendable=True, resume_s=1.0) for item in JOBS]
    free = [replace(item, suspendable=True, resume_s=0.0) for item in JOBS]
    of_dear, of_free = (build_problem(jobs, SITES, CURVES, GRID) for jobs in (dear, free))
    deferrable = np.array([item.deferrable for item in JOBS])
    assert deferrable.all()
    assert count_columns(of_dear) == 3 * count_columns(of_free)


def test_other_objectives_refuse_costs_that_they_would_not_count() -> None:
    with pytest.raises(InputError, match="pays for its suspensions in energy"):
        solve_weighted(PROBLEM, [carbon_term(PROBLEM)], {"carbon": 1.0}, unit="g")


def test_scenarios_count_suspensions() -> None:
    jobs = [job("a", duration_s=2 * HOUR_S, suspendable=True, resume_s=1800.0)]
    sites = fleet(4.0)
    problem = build_problem(jobs, sites, CURVES, GRID)
    plan = to_placement(problem, Choice(np.array([0]), np.array([3, 5])), policy="by hand")
    assert totals_g(problem, plan, np.stack([problem.g_per_kwh, 2 * problem.g_per_kwh])) == pytest.approx(
        [12.0, 24.0]
    )

"""Plans against brute force, bounds against every plan, and every plan against the validator."""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aicsched.domain.carbon import IntensityKind
from aicsched.domain.fleet import Fleet
from aicsched.errors import ConfigError, Infeasible, InputError, PlanRefused, SlotError, UnknownZone
from aicsched.place.check import check
from aicsched.place.explain import explain_all
from aicsched.place.pareto import pareto
from aicsched.place.policies import GREEDY, make_policy
from aicsched.place.problem import build_problem
from aicsched.place.solve import solve
from aicsched.slots import HOUR_S, SlotGrid
from tests.place_kit import CURVES, GRID, crowd, fleet, forecast, job, shifted

if TYPE_CHECKING:
    from aicsched.domain.job import Job


def options(item: Job, sites: Fleet) -> list[tuple[str, tuple[int, ...], float]]:
    """Every way to run a job, with its grams, by the definitions alone."""
    length = -(-int(item.duration_s) // HOUR_S)
    first, last = item.release_s // HOUR_S, min(item.deadline_s // HOUR_S, len(GRID))
    found = []
    for region in sites.regions:
        if item.allowed_regions and region.name not in item.allowed_regions:
            continue
        sets = itertools.combinations(range(first, last), length)
        for slots in sets:
            joined = slots[-1] - slots[0] + 1 == length
            if not joined and not (item.suspendable and item.deferrable):
                continue
            if not item.deferrable and slots[0] != first:
                continue
            mean = CURVES[region.grid_zone].mean_g_per_kwh[list(slots)].mean()
            moved = 0.0 if region.name == item.home_region else item.data_gb * region.transfer_g_per_gb
            found.append((region.name, slots, item.vcpus * item.duration_s / HOUR_S * float(mean) + moved))
    return found


def brute_force(jobs: list[Job], sites: Fleet) -> float | None:
    """The least grams of all feasible plans, by trying all."""
    capacity = {region.name: region.capacity_vcpus for region in sites.regions}
    best: float | None = None
    for plan in itertools.product(*(options(item, sites) for item in jobs)):
        used: dict[tuple[str, int], float] = {}
        for item, (region, slots, _) in zip(jobs, plan, strict=True):
            for slot in slots:
                used[region, slot] = used.get((region, slot), 0.0) + item.vcpus
        if all(vcpus <= capacity[region] for (region, _), vcpus in used.items()):
            total = sum(grams for _, _, grams in plan)
            best = total if best is None else min(best, total)
    return best


jobs_strategy = st.lists(
    st.builds(
        lambda vcpus, hours, release, slack, home, suspendable, deferrable, data: {
            "vcpus": float(vcpus),
            "duration_s": hours * HOUR_S,
            "release_s": release * HOUR_S,
            "deadline_s": min(8, release + hours + slack) * HOUR_S,
            "home_region": home,
            "suspendable": suspendable,
            "deferrable": deferrable,
            "data_gb": data,
        },
        st.integers(1, 3),
        st.integers(1, 3),
        st.integers(0, 4),
        st.integers(0, 3),
        st.sampled_from(["r0", "r1"]),
        st.booleans(),
        st.booleans(),
        st.sampled_from([0.0, 2.0]),
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=40, deadline=None)
@given(jobs_strategy, st.sampled_from([(3.0, 3.0), (4.0, 2.0), (9.0, 9.0)]))
def test_plans_equal_brute_force_within_their_proof(
    rows: list[dict[str, object]], capacities: tuple[float, float]
) -> None:
    jobs = [job(f"j{index}", **row) for index, row in enumerate(rows)]
    sites = fleet(*capacities)
    best = brute_force(jobs, sites)
    try:
        plan = solve(build_problem(jobs, sites, CURVES, GRID), gap=0.0)
    except Infeasible:
        assert best is None
        return
    check(jobs, sites, CURVES, GRID, plan)
    assert best is not None
    assert plan.certificate.status == "optimal"
    assert plan.total_g == pytest.approx(best, rel=1e-9)


def test_a_crowd_is_planned_near_its_bound_and_below_every_baseline() -> None:
    jobs, sites = crowd(), fleet(24.0, 24.0)
    problem = build_problem(jobs, sites, CURVES, GRID)
    plan = solve(problem)
    check(jobs, sites, CURVES, GRID, plan)
    assert plan.certificate.gap <= 0.02
    for name in GREEDY:
        baseline = make_policy(name).plan(problem)
        check(jobs, sites, CURVES, GRID, baseline)
        assert plan.total_g <= baseline.total_g + 1e-9
        assert plan.certificate.lower_bound_g <= baseline.total_g + 1e-9
    assert any(price > 0 for prices in plan.prices_g_per_vcpu_h.values() for price in prices)


def test_equal_input_gives_an_equal_plan() -> None:
    problem = build_problem(crowd(), fleet(24.0, 24.0), CURVES, GRID)
    assert solve(problem, seed=1) == solve(problem, seed=1)


def test_a_plan_is_no_worse_than_a_rival_at_hand() -> None:
    problem = build_problem(crowd(), fleet(24.0, 24.0), CURVES, GRID)
    rival = solve(problem, gap=0.001)
    alone = solve(problem, gap=0.5)
    assert alone.total_g > rival.total_g
    plan = solve(problem, gap=0.5, rivals=(make_policy("no_wait").plan(problem), rival))
    assert plan.total_g <= rival.total_g
    tighter = replace(problem, last=np.minimum(problem.last, problem.first + problem.n_slots))
    with pytest.raises(InputError, match="no plan of this problem"):
        solve(tighter, rivals=(rival,))


def test_without_limits_each_job_takes_its_best_place_proven() -> None:
    jobs, sites = crowd(12), fleet(99.0, 99.0)
    plan = solve(build_problem(jobs, sites, CURVES, GRID))
    best = sum(min(grams for _, _, grams in options(item, sites)) for item in jobs)
    assert plan.certificate.status == "optimal"
    assert plan.certificate.gap == 0.0
    # The oracle above prices whole hours; a job that doesn't fill its last slot is spread evenly.
    assert plan.total_g == pytest.approx(best, rel=1e-9)


def test_progress_is_told() -> None:
    seen: list[tuple[float, float]] = []
    solve(
        build_problem(crowd(), fleet(24.0, 24.0), CURVES, GRID),
        progress=lambda best, bound: seen.append((best, bound)),
    )
    assert seen
    assert all(best >= bound - 1e-9 for best, bound in seen)


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ({"vcpus": 50.0}, "capacity"),
        ({"allowed_regions": ("elsewhere",)}, "allowed_regions"),
        ({"release_s": 60, "deadline_s": HOUR_S + 60}, "window"),
        ({"release_s": 7 * HOUR_S, "deadline_s": 12 * HOUR_S, "duration_s": 2 * HOUR_S}, "horizon"),
    ],
)
def test_jobs_that_fit_nowhere_are_named_with_their_constraint(
    change: dict[str, object], constraint: str
) -> None:
    with pytest.raises(Infeasible, match=rf"'bad' .*\[{constraint}\]") as caught:
        build_problem([job("good"), job("bad", **change)], fleet(9.0, 9.0), CURVES, GRID)
    assert caught.value.constraints == (constraint,)
    assert caught.value.value == ["bad"]


def test_zero_capacity_is_named() -> None:
    with pytest.raises(Infeasible, match="capacity"):
        build_problem([job("a")], fleet(0.0, 0.0), CURVES, GRID)


def test_a_queue_that_does_not_fit_together_is_refused_with_the_fullest_places() -> None:
    jobs = [job(f"j{index}", vcpus=2.0, duration_s=4 * HOUR_S, deadline_s=5 * HOUR_S) for index in range(9)]
    problem = build_problem(jobs, fleet(4.0, 4.0), CURVES, GRID)
    with pytest.raises(Infeasible, match=r"does not fit.*r\d at 1970-01-01T0\d") as caught:
        solve(problem)
    assert caught.value.constraints == ("capacity", "deadline")
    with pytest.raises(Infeasible, match="no_wait finds no room for"):
        make_policy("no_wait").plan(problem)


def test_inputs_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(InputError, match="no job"):
        build_problem([], fleet(9.0), CURVES, GRID)
    with pytest.raises(UnknownZone, match="did you mean"):
        build_problem([job("a")], fleet(9.0, 9.0, 9.0), CURVES, GRID)
    with pytest.raises(InputError, match="did you mean r1 or r0"):
        build_problem([job("a", home_region="r9")], fleet(9.0, 9.0), CURVES, GRID)
    with pytest.raises(SlotError):
        build_problem([job("a")], fleet(9.0, 9.0), CURVES, SlotGrid(0, HOUR_S, 9))
    mixed = CURVES | {"z1": forecast("z1", [1.0] * 8, IntensityKind.MARGINAL)}
    with pytest.raises(InputError, match="mix average and marginal"):
        build_problem([job("a")], fleet(9.0, 9.0), mixed, GRID)
    with pytest.raises(ConfigError, match="did you mean no_wait"):
        make_policy("no_weight")


def test_deadlines_behind_the_horizon_are_clipped_and_counted() -> None:
    problem = build_problem([job("a", deadline_s=99 * HOUR_S)], fleet(9.0, 9.0), CURVES, GRID)
    assert (problem.clipped, problem.last.tolist()) == (1, [8])


def test_policies_do_what_their_names_say() -> None:
    problem = build_problem([job("a", duration_s=2 * HOUR_S)], fleet(9.0, 9.0), CURVES, GRID)
    slots = {name: make_policy(name).plan(problem).assignments[0] for name in GREEDY}
    assert slots["no_wait"].slot_indices == (0, 1)
    assert slots["lowest_slot"].slot_indices == (4, 5)
    assert slots["lowest_window"].slot_indices == (3, 4)
    assert slots["lowest_window_anywhere"].region == "r0"


def test_home_that_is_full_or_forbidden_sends_jobs_away() -> None:
    jobs = [job("a", vcpus=2.0, deadline_s=HOUR_S), job("b", vcpus=2.0, deadline_s=HOUR_S)]
    jobs.append(job("c", allowed_regions=("r1",)))
    plan = make_policy("no_wait").plan(build_problem(jobs, fleet(2.0, 4.0), CURVES, GRID))
    assert [row.region for row in plan.assignments] == ["r0", "r1", "r1"]


def test_explanations_name_a_runner_up_that_could_really_be_taken() -> None:
    jobs, sites = crowd(), fleet(24.0, 24.0)
    problem = build_problem(jobs, sites, CURVES, GRID)
    plan, otherwise = solve(problem), make_policy("no_wait").plan(problem)
    made = explain_all(problem, plan, otherwise)
    assert [item.job_id for item in made] == [item.job_id for item in jobs]
    for index, (item, row) in enumerate(zip(made, plan.assignments, strict=True)):
        assert item.counterfactual_g == otherwise.assignments[index].total_g
        assert item.unlimited_g <= row.total_g + 1e-9
        best = min(
            (grams for region, _, grams in options(jobs[index], sites) if region == item.runner_up_region),
            default=0,
        )
        assert item.runner_up_g >= best - 1e-9
        assert item.reason


def test_less_waiting_never_costs_less() -> None:
    problem = build_problem(crowd(), fleet(30.0, 30.0), CURVES, GRID)
    points = pareto(problem, solve(problem, gap=0.0), gap=0.0)
    shares = [point.waiting_share for point in points]
    assert shares == sorted(shares)
    for wide, narrow in itertools.pairwise(reversed(points)):
        assert wide.lower_bound_g <= narrow.total_g + 1e-9
        assert wide.lower_bound_g <= wide.total_g + 1e-9


def test_shares_that_do_not_fit_are_left_out_without_a_search_for_the_clash(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def asked(_problem: object) -> None:
        pytest.fail("a point of a picture paid for naming a clash")

    jobs = [job(f"j{index}", vcpus=2.0, duration_s=2 * HOUR_S) for index in range(4)]
    problem = build_problem(jobs, fleet(2.0), CURVES, GRID)
    plan = solve(problem)
    monkeypatch.setattr("aicsched.place.solve.find_conflict", asked)
    monkeypatch.setattr("aicsched.place.refusal.find_conflict", asked)
    assert [point.waiting_share for point in pareto(problem, plan)] == [1.0]
    with pytest.raises(Infeasible, match="does not fit"):
        solve(build_problem([*jobs, job("late")], fleet(2.0), CURVES, GRID), name_clash=False)


# ---------------------------------------------------------------- several resources, and an order of jobs
limited_strategy = st.lists(
    st.tuples(
        st.integers(1, 3),
        st.integers(1, 2),
        st.sampled_from([0.0, 4.0, 8.0]),
        st.sampled_from([0.0, 0.0, 1.0]),
        st.booleans(),
        st.lists(st.integers(0, 3), max_size=2),
    ),
    min_size=2,
    max_size=4,
)


@settings(max_examples=25, deadline=None)
@given(limited_strategy)
def test_memory_gpus_and_order_are_kept_and_optimal(rows: list[tuple[Any, ...]]) -> None:
    jobs = [
        job(
            f"j{index}",
            vcpus=float(vcpus),
            duration_s=hours * HOUR_S,
            memory_gib=memory,
            gpus=gpus,
            suspendable=pieces,
            after=tuple(sorted({f"j{other}" for other in others if other < index})),
        )
        for index, (vcpus, hours, memory, gpus, pieces, others) in enumerate(rows)
    ]
    sites = Fleet(
        regions=tuple(
            replace(region, capacity_memory_gib=10.0, capacity_gpus=1.0 - number)
            for number, region in enumerate(fleet(4.0, 4.0).regions)
        )
    )
    best = limited_brute_force(jobs, sites)
    try:
        plan = solve(build_problem(jobs, sites, CURVES, GRID), gap=0.0)
    except Infeasible:
        assert best is None
        return
    check(jobs, sites, CURVES, GRID, plan)
    assert best is not None
    assert plan.total_g == pytest.approx(best, rel=1e-9)
    for name in GREEDY:
        with contextlib.suppress(Infeasible):
            check(jobs, sites, CURVES, GRID, make_policy(name).plan(build_problem(jobs, sites, CURVES, GRID)))


def limited_brute_force(jobs: list[Job], sites: Fleet) -> float | None:
    """Try all plans, job by job, leaving off where one breaks a limit or costs too much."""
    regions = {region.name: region for region in sites.regions}
    used: dict[tuple[str, int], np.ndarray] = {}
    ends: dict[str, int] = {}
    best: list[float] = []

    def rest(index: int, spent_g: float) -> None:
        if best and spent_g >= best[-1]:
            return
        if index == len(jobs):
            best.append(spent_g)
            return
        item = jobs[index]
        held = np.array([item.vcpus, item.memory_gib, item.gpus])
        for name, slots, grams in options(item, sites):
            region = regions[name]
            most = np.array([region.capacity_vcpus, region.capacity_memory_gib, region.capacity_gpus])
            if any(slots[0] < ends[other] for other in item.after):
                continue
            if any((used.get((name, slot), 0 * held) + held > most).any() for slot in slots):
                continue
            for slot in slots:
                used[name, slot] = used.get((name, slot), 0 * held) + held
            ends[item.job_id] = slots[-1] + 1
            rest(index + 1, spent_g + grams)
            for slot in slots:
                used[name, slot] = used[name, slot] - held

    rest(0, 0.0)
    return best[-1] if best else None


def test_free_threads_may_change_by_the_slot() -> None:
    jobs = [job("a", vcpus=2.0), job("b", vcpus=2.0)]
    free = {"r0": np.array([4, 4, 4, 4, 1, 1, 4, 4.0])}
    plan = solve(build_problem(jobs, fleet(4.0, 0.0), CURVES, GRID, free_vcpus=free))
    check(jobs, fleet(4.0, 0.0), CURVES, GRID, plan, free_vcpus={"r0": free["r0"].tolist()})
    assert {row.slot_indices for row in plan.assignments} == {(3,)}
    with pytest.raises(PlanRefused, match="holds 4 of 1 vCPUs in slot 3"):
        check(jobs, fleet(4.0, 0.0), CURVES, GRID, plan, free_vcpus={"r0": [1.0] * 8})
    for wrong, words in (({"r9": free["r0"]}, "names region 'r9'"), ({"r0": np.ones(3)}, "is not 8 numbers")):
        with pytest.raises(InputError, match=words):
            build_problem(jobs, fleet(4.0, 0.0), CURVES, GRID, free_vcpus=wrong)


def test_orders_that_cannot_be_are_refused() -> None:
    with pytest.raises(InputError, match=r"wait for each other in a circle: ('a' -> 'b' -> 'a'|'b' -> )"):
        build_problem([job("a", after=("b",)), job("b", after=("a",))], fleet(9.0), CURVES, GRID)
    with pytest.raises(InputError, match="waits for 'x', which is not in the queue"):
        build_problem([job("a", after=("x",))], fleet(9.0), CURVES, GRID)
    chain = [job(f"j{i}", duration_s=3 * HOUR_S, after=(f"j{i - 1}",) if i else ()) for i in range(3)]
    with pytest.raises(Infeasible, match=r"\[window\]|\[horizon\]"):
        build_problem(chain, fleet(9.0), CURVES, GRID)
    plan = solve(build_problem(chain[:2], fleet(9.0), CURVES, GRID))
    broken = shifted(plan, slot_indices=tuple(slot + 2 for slot in plan.assignments[0].slot_indices))
    with pytest.raises(PlanRefused, match="starts before 'j0'"):
        check(chain[:2], fleet(9.0), CURVES, GRID, broken)


# ---------------------------------------------------------------- starting from an earlier plan
def test_a_plan_of_yesterday_starts_todays() -> None:
    jobs, sites = crowd(), fleet(24.0, 24.0)
    before = solve(build_problem(jobs, sites, CURVES, GRID))
    changed = [*jobs[1:], job("new", vcpus=3.0, duration_s=2 * HOUR_S)]
    problem = build_problem(changed, sites, CURVES, GRID)
    plan = solve(problem, start=before)
    check(changed, sites, CURVES, GRID, plan)
    assert plan.total_g <= solve(problem).total_g * 1.02
    # Where capacity has shrunk, who stood there is seated anew.
    less = build_problem(changed, fleet(20.0, 24.0), CURVES, GRID)
    check(changed, fleet(20.0, 24.0), CURVES, GRID, solve(less, start=before))
    with pytest.raises(InputError, match="not on the problem's grid"):
        solve(problem, start=replace(before, slots=SlotGrid(60, HOUR_S, 8)))


def test_the_search_ends_when_its_time_is_up() -> None:
    problem = build_problem(crowd(), fleet(24.0, 24.0), CURVES, GRID)
    plan = solve(problem, gap=0.0, cpu_s=0.0)
    check(crowd(), fleet(24.0, 24.0), CURVES, GRID, plan)


def test_a_long_queue_that_does_not_fit_is_refused() -> None:
    rng = np.random.default_rng(0)
    base = build_problem([job("a", deadline_s=2 * HOUR_S)], fleet(9.0, 9.0), CURVES, GRID)
    count = 10_500
    long = replace(
        base,
        job_ids=tuple(f"j{index}" for index in range(count)),
        demand=np.ones((count, 1)),
        n_slots=np.ones(count, np.int64),
        first=np.zeros(count, np.int64),
        last=rng.integers(1, 9, count),
        suspendable=np.zeros(count, np.bool_),
        energy_kwh_per_w=np.full(count, 1e-3),
        resume_kwh_per_w=np.zeros(count),
        home=np.zeros(count, np.int64),
        allowed=np.ones((count, 2), np.bool_),
        transfer_g=np.zeros((count, 2)),
        capacity=np.full((1, 2, 8), count / 17.0),
    )
    with pytest.raises(Infeasible, match=r"no plan was found|does not fit"):
        solve(long)

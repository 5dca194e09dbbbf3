"""The search and its bound against brute force, the independent checker and published numbers."""

from __future__ import annotations

import csv
import dataclasses
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from aicsched.errors import Infeasible, InputError, PlanRefused
from aicsched.place.reassign import (
    build_reassignment,
    check_assignment,
    costs_of,
    lower_bound,
    read_reassignment,
    solve,
    violations_of,
)
from aicsched.place.reassign.kernels import anneal as k
from aicsched.place.reassign.layout import board_of, open_pairs, reprice
from tests.reassign_kit import added_up, best_of_all, drawn

if TYPE_CHECKING:
    from pathlib import Path

    from aicsched.place.reassign import Reassignment

PUBLISHED = ("a1_1", "a1_3", "a1_5", "a2_3")


# ---------------------------------------------------------------- small problems: all plans are known
@pytest.mark.parametrize("seed", range(12))
def test_small_problems_are_solved_to_the_optimum(seed: int) -> None:
    problem = drawn(seed, processes=5)
    best = best_of_all(problem)
    plan = solve(problem, seed=seed, iterations=20_000)
    assert plan.cost == best
    assert check_assignment(problem, plan.assignment).total == best
    assert plan.lower_bound <= best
    for relax in (False, True):
        bound = lower_bound(problem, relax=relax)
        assert bound.value == added_up(problem, bound) <= best


def test_prices_that_were_tampered_with_prove_something_else() -> None:
    problem = drawn(3, processes=5)
    bound = lower_bound(problem, relax=True)
    raised = dataclasses.replace(bound, load_price=bound.load_price + 3.0, room_price=bound.room_price + 2.0)
    assert added_up(problem, raised) != bound.value
    assert added_up(problem, raised) <= best_of_all(problem)


def test_six_processes_on_three_machines() -> None:
    problem = drawn(77)
    assert solve(problem, iterations=40_000).cost == best_of_all(problem)


def test_bounds_meet_the_optimum_of_most_small_problems() -> None:
    # Not a law: whole moves can cost more than parts of them. But prices that proved nothing would show here.
    gaps = []
    for seed in range(20, 32):
        problem = drawn(seed, processes=4)
        gaps.append(best_of_all(problem) - lower_bound(problem, relax=True).value)
    assert min(gaps) >= 0
    assert sum(gap <= 2 for gap in gaps) >= 4


# ---------------------------------------------------------------- the board keeps the books
def totals(problem: Reassignment, board: tuple[Any, ...], fines: np.ndarray, penalty: int) -> int:
    """Work the cost of a board's assignment out from the checker's numbers, with fines."""
    at = board[k.PEOPLE][:, k.AT]
    used = np.zeros_like(problem.capacity)
    np.add.at(used, at, problem.need)
    away = at != problem.home
    np.add.at(used, problem.home[away], problem.need[away] * problem.transient)
    return costs_of(problem, at).total + int((np.maximum(used - problem.capacity, 0) * fines).sum())


@pytest.mark.parametrize("seed", range(8))
def test_costs_and_counts_after_many_moves_are_those_worked_out_anew(seed: int) -> None:
    problem = drawn(seed + 100, processes=14, machines=4, resources=3)
    fines, penalty = np.array([2, 3, 5]), 4
    board = reprice(problem, board_of(problem, problem.home), fines, penalty)
    best, log = problem.home.copy(), np.zeros((58, 2), dtype=np.int64)
    seeds, tally = np.array([3, 4 + seed]), board[k.TALLY]
    limits = np.array([0, 5, 40, 200])
    for _ in range(6):
        k.ANNEAL.twin(board, best, log, seeds, limits, np.array([150, 600, 100]))
        at = board[k.PEOPLE][:, k.AT]
        assert tally[k.TOTAL] == totals(problem, board, fines, penalty)
        faults = violations_of(problem, at)
        assert not any(fault.limit == "conflict" for fault in faults)
        # Missing locations count one by one, in the checker as one fault a service.
        assert (tally[k.BROKEN] > 0) == any(fault.limit in {"spread", "dependency"} for fault in faults)
        assert (tally[k.FINES] > 0) == any(fault.limit in {"capacity", "transient"} for fault in faults)
        fresh = reprice(problem, board_of(problem, at), fines, penalty)
        for name in (k.BOOK, k.ON, k.NEAR, k.REACH, k.TEAMS, k.LEVELS):
            assert (board[name] == fresh[name]).all()
        for machine, row in enumerate(board[k.CROWD]):
            assert sorted(row[1 : 1 + row[0]].tolist()) == np.flatnonzero(at == machine).tolist()
        assert check_assignment(problem, best, total=int(tally[k.BEST])).total <= tally[k.BEST]
    assert tally[k.ACCEPTED] > 50


def test_open_pairs_leave_out_only_what_no_plan_can_use() -> None:
    problem = drawn(5)
    found = open_pairs(problem)
    assert not found.all()
    for process, machine in np.argwhere(~found).tolist():
        moved = problem.home.copy()
        moved[process] = machine
        alone = [f for f in violations_of(problem, moved) if f.limit in {"capacity", "transient"}]
        assert alone, "a move that fits now must be open"


def test_both_forms_of_the_search_agree() -> None:
    problem = drawn(9, processes=30, machines=5, resources=3)
    found = []
    for form in (k.ANNEAL.twin, k.ANNEAL.compiled()):
        board = reprice(problem, board_of(problem, problem.home), np.array([2, 2, 2]), 5)
        best, log = problem.home.copy(), np.zeros((122, 2), dtype=np.int64)
        form(board, best, log, np.array([5, 6]), np.array([0, 3, 9, 30]), np.array([4000, 700, 200]))
        found.append((best.tolist(), board[k.TALLY].tolist(), board[k.PEOPLE].tolist()))
    assert found[0] == found[1]


def test_large_problems_list_no_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = drawn(3)
    best = best_of_all(problem)
    monkeypatch.setattr("aicsched.place.reassign.layout._MOST_PAIRS", 1)
    monkeypatch.setattr("aicsched.place.reassign.layout._MOST_SEATS", 1)
    assert board_of(problem, problem.home)[k.OPEN].size == 0
    assert solve(problem, iterations=40_000).cost == best


# ---------------------------------------------------------------- what callers rely on
def test_equal_calls_give_equal_plans_and_seeds_differ() -> None:
    problem = drawn(1, processes=40, machines=6, resources=3)
    first, again, other = (solve(problem, seed=seed, iterations=6_000) for seed in (4, 4, 5))
    assert first.assignment.tobytes() == again.assignment.tobytes()
    assert first.assignment.tolist() != other.assignment.tolist()
    assert first.cost < first.home_cost


def test_moves_name_process_source_and_target() -> None:
    problem = drawn(1, processes=20, machines=4)
    plan = solve(problem, iterations=4_000)
    rebuilt = problem.home.copy()
    for process, source, target in plan.moves.tolist():
        assert rebuilt[process] == source != target
        rebuilt[process] = target
    assert rebuilt.tolist() == plan.assignment.tolist()


def test_a_search_can_be_watched_and_ended() -> None:
    problem = drawn(1, processes=30, machines=5)
    seen: list[tuple[int, int]] = []

    def watch(iterations: int, cost: int) -> bool:
        seen.append((iterations, cost))
        return len(seen) < 20

    plan = solve(problem, iterations=100_000, progress=watch)
    assert len(seen) == 20
    assert plan.iterations == seen[-1][0] < 100_000
    assert [cost for _, cost in seen] == sorted((cost for _, cost in seen), reverse=True)
    assert plan.cost == seen[-1][1]


def test_cpu_seconds_end_a_search() -> None:
    problem = drawn(1, processes=30, machines=5)
    begun = time.process_time()
    plan = solve(problem, iterations=10**9, cpu_limit_s=0.6, prove=False)
    assert time.process_time() - begun < 20
    assert plan.cost <= plan.home_cost
    assert plan.bound_method == "none"


def test_a_warm_start_is_never_made_worse() -> None:
    problem = drawn(1, processes=30, machines=5, resources=3)
    first = solve(problem, iterations=20_000)
    second = solve(problem, iterations=5_000, start=first.assignment, heat=0.05, seed=3)
    assert second.cost <= first.cost
    assert second.home_cost == first.home_cost == costs_of(problem, problem.home).total


def test_a_plan_without_any_cost_has_no_gap() -> None:
    still = solve(build_reassignment(need=[[1]], home=[0], capacity=[[1]]), iterations=10)
    assert (still.cost, still.lower_bound, still.gap) == (0, 0, 0.0)
    assert still.moves.shape == (0, 3)
    # One of two must stay above, and moving costs as well: no bound proves more than the load.
    machines = {"capacity": [[9], [9]], "safety_capacity": [[3], [3]]}
    plan = solve(build_reassignment(need=[[4], [4]], home=[0, 0], **machines), iterations=2_000)
    assert (plan.cost, plan.lower_bound, plan.gap) == (2, 2, 0.0)


def test_an_infeasible_present_names_its_limits() -> None:
    problem = build_reassignment(need=[[5], [5]], service=[0, 0], home=[0, 0], capacity=[[9], [9]])
    with pytest.raises(Infeasible, match=r"machine 0 holds 10 of resource 0, over 9 \[capacity\]") as caught:
        solve(problem)
    assert caught.value.constraints == ("capacity", "conflict")
    assert solve(problem, start=[0, 1], iterations=100).assignment.tolist() in ([0, 1], [1, 0])
    with pytest.raises(Infeasible, match="start breaks"):
        solve(problem, start=[0])


@pytest.mark.parametrize("change", [{"seed": -1}, {"iterations": 0}, {"heat": -1.0}, {"cpu_limit_s": 0.0}])
def test_bad_settings_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"is -?[0-9.]+, "):
        solve(drawn(0), **change)


def test_a_false_bound_would_be_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = drawn(2)
    too_high = type("Bound", (), {"value": 10**12, "method": "wrong"})
    monkeypatch.setattr("aicsched.place.reassign.search.lower_bound", lambda *_, **__: too_high)
    with pytest.raises(PlanRefused, match="less than the claimed lower bound"):
        solve(problem, iterations=100)


# ---------------------------------------------------------------- large numbers
def test_numbers_near_64_bits_stay_exact() -> None:
    big = 10**15
    problem = build_reassignment(
        need=[[3 * big], [2 * big], [2 * big]],
        home=[0, 0, 1],
        capacity=[[9 * big], [9 * big]],
        safety_capacity=[[3 * big], [4 * big]],
        load_weight=[7],
        process_move_cost=[1, 1, 1],
    )
    plan = solve(problem, iterations=3_000)
    assert plan.cost == best_of_all(problem) == 1
    assert plan.lower_bound <= 1


def test_prices_beyond_64_bits_prove_nothing() -> None:
    facts = {"need": [[5, 1], [5, 1]], "home": [0, 1], "load_weight": [2**30, 0]}
    for room, value in ((10, 8 * 2**30), (2**50, 0)):
        machines = {"capacity": [[10, room]] * 2, "safety_capacity": [[1, room]] * 2}
        assert lower_bound(build_reassignment(**facts, **machines)).value == value


# ---------------------------------------------------------------- the challenge's instances
@pytest.mark.parametrize("name", PUBLISHED)
def test_plans_of_the_challenge_are_near_published_bounds(shared_data: Path, name: str) -> None:
    folder = shared_data / "data" / "workloads" / "roadef2012"
    if not folder.is_dir():
        pytest.skip("no instances of the challenge among the real data")
    with (folder / "bounds.csv").open(encoding="utf-8") as handle:
        bounds = {row["instance"]: int(row["lower_bound"]) for row in csv.DictReader(handle)}
    problem = read_reassignment(folder / f"model_{name}.txt.gz", folder / f"assignment_{name}.txt.gz")
    plan = solve(problem, iterations=4_000_000, prove=name == "a1_5")
    bound = lower_bound(problem, relax=name == "a2_3")
    found = bound.value
    check_assignment(problem, plan.assignment, total=plan.cost, bound=max(bounds[name], found))
    assert found >= bounds[name]
    if name == "a2_3":
        # No plan comes near the published bound: ours is half as high again, and adds up by other code.
        assert found == added_up(problem, bound)
        assert found > 1.5 * bounds[name]
        assert plan.cost < 0.75 * plan.home_cost
    else:
        assert plan.cost < 1.003 * bounds[name]

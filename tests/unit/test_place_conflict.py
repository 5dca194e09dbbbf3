"""Named conflicts against brute force: they clash, and no member can be spared."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from aicsched.errors import Infeasible
from aicsched.place import conflict
from aicsched.place import solve as solve_module
from aicsched.place.conflict import find_conflict
from aicsched.place.problem import Problem, build_problem
from aicsched.place.refusal import describe
from aicsched.place.solve import solve
from aicsched.slots import HOUR_S
from tests.place_kit import CURVES, GRID, crowd, fleet, job


def ways(problem: Problem, one: int) -> list[list[tuple[int, int]]]:
    """All sets of (region, slot) a job may hold."""
    length, window = int(problem.n_slots[one]), range(int(problem.first[one]), int(problem.last[one]))
    sets = [
        slots
        for slots in itertools.combinations(window, length)
        if problem.suspendable[one] or slots[-1] - slots[0] + 1 == length
    ]
    places = [region for region in range(len(problem.regions)) if problem.allowed[one, region]]
    return [[(region, slot) for slot in slots] for region in places for slots in sets]


def fits(problem: Problem, jobs: list[int], cells: list[int]) -> bool:
    """Whether some plan of these jobs keeps these limits, by trying all."""
    limits = {tuple(np.unravel_index(cell, problem.capacity.shape)): 0.0 for cell in cells}

    def seat(left: list[int], used: dict) -> bool:
        if not left:
            return True
        for way in ways(problem, left[0]):
            then = dict(used)
            for (region, slot), kind in itertools.product(way, range(len(problem.resources))):
                if (kind, region, slot) in then:
                    then[kind, region, slot] += float(problem.demand[left[0], kind])
            room = all(value <= problem.capacity[cell] + 1e-6 for cell, value in then.items())
            if room and seat(left[1:], then):
                return True
        return False

    return seat(jobs, limits)


def draw(seed: int) -> Problem | None:
    """A tiny problem that is often too full; None when a job fits nowhere on its own."""
    rng = np.random.default_rng(seed)
    jobs = []
    for index in range(int(rng.integers(3, 7))):
        hours, release = int(rng.integers(1, 4)), int(rng.integers(0, 3))
        jobs.append(
            job(
                f"j{index}",
                vcpus=float(rng.integers(1, 4)),
                memory_gib=float(rng.integers(1, 4)),
                duration_s=hours * HOUR_S,
                release_s=release * HOUR_S,
                deadline_s=(release + hours + int(rng.integers(0, 2))) * HOUR_S,
                suspendable=bool(rng.random() < 0.4),
                allowed_regions=("r0",) if rng.random() < 0.4 else (),
            )
        )
    sites = fleet(float(rng.integers(3, 5)), float(rng.integers(0, 4)))
    if rng.random() < 0.5:
        sites = replace(sites, regions=tuple(replace(one, capacity_memory_gib=4.0) for one in sites.regions))
    try:
        return build_problem(jobs, sites, CURVES, GRID)
    except Infeasible:
        return None


def test_named_sets_clash_and_none_of_their_members_can_be_spared() -> None:
    clashes = 0
    for problem in filter(None, map(draw, range(60))):
        every = list(range(problem.capacity.size))
        found = find_conflict(problem)
        assert (found is None) == fits(problem, list(range(len(problem.job_ids))), every)
        if found is None:
            continue
        clashes += 1
        jobs, cells = found.jobs.tolist(), found.cells.tolist()
        assert found.irreducible
        assert not fits(problem, jobs, cells)
        for one in jobs:
            assert fits(problem, [other for other in jobs if other != one], every)
        for cell in cells:
            assert fits(problem, jobs, [other for other in cells if other != cell])
    assert clashes >= 15


def test_the_refusal_names_the_jobs_and_the_one_full_hour() -> None:
    jobs = [job(name, vcpus=3.0, duration_s=2 * HOUR_S, deadline_s=3 * HOUR_S) for name in "abc"]
    jobs += [job(f"free{index}", vcpus=1.0) for index in range(9)]
    words = (
        r"does not fit.*3 jobs do not fit together: 'a', 'b', 'c' need 9 vcpus at once, "
        r"where r0 at 1970-01-01T01:00Z has 8 vcpus; without any one of them the others fit"
    )
    with pytest.raises(Infeasible, match=words) as caught:
        solve(build_problem(jobs, fleet(8.0), CURVES, GRID))
    assert caught.value.value == ["a", "b", "c"]
    assert caught.value.constraints == ("capacity", "deadline")


def test_a_clash_of_whole_jobs_alone_is_named_too() -> None:
    # Half of each would fit: one at a time, two hours each, four hours for three jobs.
    jobs = [job(f"j{index}", vcpus=2.0, duration_s=2 * HOUR_S, deadline_s=4 * HOUR_S) for index in range(3)]
    problem = build_problem([*jobs, job("free")], fleet(3.0), CURVES, GRID)
    with pytest.raises(Infeasible, match=r"whatever goes where, .* 3 jobs do not fit together") as caught:
        solve(problem)
    assert caught.value.value == ["j0", "j1", "j2"]


def test_many_jobs_and_places_are_counted_not_listed() -> None:
    jobs = [job(f"j{index}", duration_s=8 * HOUR_S) for index in range(12)]
    problem = build_problem(jobs, fleet(11.0), CURVES, GRID)
    found = find_conflict(problem)
    assert found is not None
    assert "12 jobs do not fit together: 'j0'," in describe(problem, found)
    assert "'j4' and 7 more need 12 vcpus at once, where r0 at" in describe(problem, found)
    pieces = [job(f"j{index}", duration_s=7 * HOUR_S, suspendable=True) for index in range(4)]
    problem = build_problem(pieces, fleet(3.0), CURVES, GRID)
    found = find_conflict(problem)
    assert found is not None
    assert "r0 at 1970-01-01T03:00Z to 1970-01-01T08:00Z has 3 vcpus" in describe(problem, found)
    assert "28 vcpus x h" in describe(problem, found)


def test_jobs_that_fit_alone_but_not_in_their_order_are_named_without_a_limit() -> None:
    jobs = [job("a", duration_s=2 * HOUR_S, suspendable=True), job("b", after=("a",)), job("c")]
    problem = build_problem(jobs, fleet(9.0), CURVES, GRID)
    late = replace(problem, first=np.array([6, 0, 0]), last=np.array([8, 7, 8]))
    found = find_conflict(late)
    assert found is not None
    assert (found.jobs.tolist(), found.cells.tolist()) == ([0, 1], [])
    assert "have to follow each other" in describe(late, found)


def test_what_is_too_large_or_not_known_is_not_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [job(f"j{index}", vcpus=2.0, duration_s=4 * HOUR_S, deadline_s=5 * HOUR_S) for index in range(9)]
    problem = build_problem(jobs, fleet(4.0, 4.0), CURVES, GRID)
    monkeypatch.setattr(conflict, "_MOST_CHECKS", 3)
    found = find_conflict(problem)
    assert found is not None
    assert not found.irreducible
    assert "without any one" not in describe(problem, found)
    monkeypatch.setattr(conflict, "_MOST_COLUMNS", 3)
    assert find_conflict(problem) is None
    with pytest.raises(Infeasible, match=r"finds no room \(fullest: r\d at"):
        solve(problem)


def test_a_search_that_found_nothing_names_a_clash_or_claims_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solve_module, "_search_with_limits", lambda _search, _progress: None)
    jobs = [job(f"j{index}", vcpus=2.0, duration_s=2 * HOUR_S, deadline_s=3 * HOUR_S) for index in range(2)]
    with pytest.raises(Infeasible, match="the queue does not fit; 2 jobs do not fit together: 'j0', 'j1'"):
        solve(build_problem(jobs, fleet(3.0), CURVES, GRID))
    with pytest.raises(Infeasible, match="no plan was found"):
        solve(build_problem(jobs, fleet(3.0), CURVES, GRID), cpu_s=0.0)
    # What does fit, but not by any greedy policy.
    monkeypatch.setattr(solve_module, "_MOST_GREEDY_JOBS", 0)
    with pytest.raises(Infeasible, match="no plan was found"):
        solve(build_problem(crowd(), fleet(24.0, 24.0), CURVES, GRID))

"""Reader, problem and checker of reassignments, against worked numbers and the challenge's own."""

from __future__ import annotations

import csv
import gzip
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from aicsched.errors import InputError, OutputError, PlanRefused
from aicsched.place.reassign import (
    build_reassignment,
    check_assignment,
    costs_of,
    read_assignment,
    read_reassignment,
    violations_of,
    write_assignment,
)

if TYPE_CHECKING:
    from pathlib import Path

# Two resources (the second transient), three machines, two services, three processes, one balance.
MODEL = """
2
0 10
1 100
3
0 0 30 40 16 30 0 1 4
0 0 10 24 8 16 1 0 3
1 1 15 50 12 20 4 3 0
2
2 0
1 1 0
3
0 12 10 1000
0 10 20 100
1 6 20 1
1
0 1 2 7
1 10 100
"""
HOME = "0 2 0\n"


def write(folder: Path, model: str = MODEL, home: str = HOME) -> tuple[Path, Path]:
    (folder / "model.txt").write_text(model, encoding="ascii")
    (folder / "assignment.txt").write_text(home, encoding="ascii")
    return folder / "model.txt", folder / "assignment.txt"


def test_the_reader_takes_each_number_to_its_place(tmp_path: Path) -> None:
    problem = read_reassignment(*write(tmp_path))
    assert problem.shape == (3, 3, 2, 2)
    assert problem.need.tolist() == [[12, 10], [10, 20], [6, 20]]
    assert problem.service.tolist() == [0, 0, 1]
    assert problem.process_move_cost.tolist() == [1000, 100, 1]
    assert problem.capacity.tolist() == [[30, 40], [10, 24], [15, 50]]
    assert problem.safety_capacity.tolist() == [[16, 30], [8, 16], [12, 20]]
    assert problem.neighbourhood.tolist() == problem.location.tolist() == [0, 0, 1]
    assert problem.machine_move_cost.tolist() == [[0, 1, 4], [1, 0, 3], [4, 3, 0]]
    assert problem.load_weight.tolist() == [10, 100]
    assert problem.transient.tolist() == [False, True]
    assert problem.min_locations.tolist() == [2, 1]
    assert problem.dependencies.tolist() == [[1, 0]]
    assert problem.balance.tolist() == [[0, 1, 2, 7]]
    assert problem.move_weights.tolist() == [1, 10, 100]
    assert problem.home.tolist() == [0, 2, 0]
    with pytest.raises(ValueError, match="read-only"):
        problem.need[0, 0] = 1


def test_costs_are_those_worked_by_hand(tmp_path: Path) -> None:
    problem = read_reassignment(*write(tmp_path))
    # Machine 0 uses 18 and 30, machine 2 uses 10 and 20: only resource 0 of machine 0 is above, by 2.
    # Free: (12, 10), (10, 24), (5, 30); twice the first less the second is above 0 by 14 on machine 0.
    costs = check_assignment(problem, [0, 2, 0], total=20 + 98)
    assert (costs.load, costs.balance, costs.process_move) == (20, 98, 0)
    # The last process on machine 1: load 100 · 4 there. Free: (18, 30), (4, 4), (5, 30): 6 and 4 lack.
    costs = check_assignment(problem, [0, 2, 1])
    assert (costs.load, costs.balance) == (400, 70)
    assert (costs.process_move, costs.service_move, costs.machine_move) == (1, 10, 100)
    assert costs.total == 581


@pytest.mark.parametrize(
    ("assignment", "limits"),
    [
        ([0, 2], {"machine"}),
        ([0, 3, 0], {"machine"}),
        ([0, -1, 0], {"machine"}),
        ([1, 2, 0], {"capacity"}),
        ([0, 0, 0], {"conflict", "spread", "capacity"}),
        ([0, 1, 0], {"spread"}),
    ],
)
def test_each_broken_limit_is_named(tmp_path: Path, assignment: list[int], limits: set[str]) -> None:
    problem = read_reassignment(*write(tmp_path))
    assert {fault.limit for fault in violations_of(problem, assignment)} == limits
    with pytest.raises(PlanRefused, match="breaks"):
        check_assignment(problem, assignment)


def test_what_leaves_still_holds_its_transient_share(tmp_path: Path) -> None:
    model = MODEL.replace("1 1 15 50", "1 1 15 25").replace("30 40 16", "90 90 16")
    problem = read_reassignment(*write(tmp_path, model))
    # The first two change places: machine 2 holds 10 that came and 20 that left, over 25.
    faults = violations_of(problem, [2, 0, 0])
    assert [fault.limit for fault in faults] == ["transient"]
    assert "machine 2 holds 30 of resource 1, over 25" in faults[0].text


def test_a_service_needs_what_it_depends_on_nearby(tmp_path: Path) -> None:
    # Service 1 depends on service 0, whose two processes both get the neighbourhood of machines 0 and 1.
    model = MODEL.replace("2 0\n1 1 0", "1 0\n1 1 0").replace("0 0 10 24", "0 0 90 90")
    problem = read_reassignment(*write(tmp_path, model))
    faults = violations_of(problem, [0, 1, 2])
    assert [fault.limit for fault in faults] == ["dependency"]
    assert "neighbourhood 1 without service 0" in faults[0].text


def test_false_claims_are_refused(tmp_path: Path) -> None:
    problem = read_reassignment(*write(tmp_path))
    with pytest.raises(PlanRefused, match="costs 118, not 117"):
        check_assignment(problem, problem.home, total=117)
    with pytest.raises(PlanRefused, match="less than the claimed lower bound 119"):
        check_assignment(problem, problem.home, bound=119)


# ---------------------------------------------------------------- bad input
@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("1 10 100\n", "1 10\n", r"weights should be 1 x 3 numbers, but 2 are left"),
        ("1 10 100\n", "1 10 100 5\n", "1 numbers follow the last part"),
        ("\n2\n0 10", "\n0\n0 10", "0 resources"),
        ("\n2\n0 10", "\n-2\n0 10", "-2 resources"),
        ("1 1 0\n", "1 -1 0\n", "service 1 has -1 dependencies"),
        ("1 1 0\n", "1 1 2\n", r"dependencies\[0, 1\] is 2"),
        ("0 12 10", "0 12.5 10", "'12.5', word 42 of 60, is no whole number"),
        ("0 12 10", "0 99999999999999999999 10", "no whole number of 64 bits"),
        ("0 12 10", "0 -12 10", r"need\[0, 0\] is -12"),
        ("0 0 30", "0 0 1100000000000000000", "above 2^60"),
        ("0 1 2 7", "0 2 2 7", r"balance resources\[0, 1\] is 2"),
        ("1 100\n3", "2 100\n3", r"transient\[1\] is 2"),
    ],
)
def test_broken_models_are_refused_with_the_place(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert old in MODEL
    with pytest.raises(InputError, match=words.replace("^", r"\^")):
        read_reassignment(*write(tmp_path, MODEL.replace(old, new, 1)))


def test_broken_assignments_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="assigns 2 processes, where the model has 3"):
        read_reassignment(*write(tmp_path, home="0 2"))
    with pytest.raises(InputError, match=r"home\[1\] is 3, not from 0 to below 3"):
        read_reassignment(*write(tmp_path, home="0 3 0"))
    with pytest.raises(InputError, match="can't be read"):
        read_assignment(tmp_path / "none.txt", 3)


def test_gzipped_files_are_read_and_broken_ones_refused(tmp_path: Path) -> None:
    model, home = write(tmp_path)
    packed = tmp_path / "model.txt.gz"
    packed.write_bytes(gzip.compress(model.read_bytes()))
    assert read_reassignment(packed, home).need.tolist() == read_reassignment(model, home).need.tolist()
    packed.write_bytes(packed.read_bytes()[:40])
    with pytest.raises(InputError, match="can't be read"):
        read_reassignment(packed, home)


def test_assignments_come_back_as_written(tmp_path: Path) -> None:
    write_assignment(tmp_path / "new.txt", np.array([3, 1, 2]))
    assert read_assignment(tmp_path / "new.txt", 3).tolist() == [3, 1, 2]
    with pytest.raises(OutputError, match="can't be written"):
        write_assignment(tmp_path / "no" / "new.txt", [1])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"need": []}, "both want two filled axes"),
        ({"home": [0]}, r"home has the shape \(1,\)"),
        ({"need": [[1.5], [1.0]]}, "no whole numbers"),
        ({"need": [[np.nan], [1.0]]}, "no whole numbers"),
        ({"need": [[1e17], [1.0]]}, "aren't exact"),
        ({"need": [["a"], ["b"]]}, "instead of whole numbers"),
        ({"service": [0, 10**9]}, "numbered up to"),
        ({"load_weight": [2**58]}, "above 2"),
        ({"dependencies": [(0, 5)]}, "dependencies"),
        ({"balance": [(0, 0, 1)]}, "balance has the shape"),
    ],
)
def test_arrays_are_checked(change: dict[str, Any], words: str) -> None:
    good: dict[str, Any] = {"need": [[4], [4]], "home": [0, 0], "capacity": [[9], [9]]}
    assert build_reassignment(**good).safety_capacity.tolist() == [[9], [9]]
    with pytest.raises(InputError, match=words):
        build_reassignment(**{**good, **change})


# ---------------------------------------------------------------- the challenge's own numbers
def test_the_initial_costs_are_the_published_ones(shared_data: Path) -> None:
    folder = shared_data / "data" / "workloads" / "roadef2012"
    if not folder.is_dir():
        pytest.skip("no instances of the challenge among the real data")
    with (folder / "bounds.csv").open(encoding="utf-8") as handle:
        published = {row["instance"]: int(row["original_cost"]) for row in csv.DictReader(handle)}
    seen = 0
    for name, cost in published.items():
        model = folder / f"model_{name}.txt.gz"
        if model.is_file():
            problem = read_reassignment(model, folder / f"assignment_{name}.txt.gz")
            assert check_assignment(problem, problem.home).total == cost
            seen += 1
    assert seen >= 10


def test_the_worked_example_of_the_challenge(shared_data: Path) -> None:
    folder = shared_data / "data" / "workloads" / "roadef2012"
    if not (folder / "model_a0_0.txt.gz").is_file():
        pytest.skip("no instances of the challenge among the real data")
    problem = read_reassignment(folder / "model_a0_0.txt.gz", folder / "assignment_a0_0.txt.gz")
    costs = costs_of(problem, problem.home)
    assert (costs.load, costs.balance, costs.total) == (1340, 2500, 3840)

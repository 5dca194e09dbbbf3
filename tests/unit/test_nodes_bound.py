"""The limit on what any policy allocates: never below the best there is; its knapsack is exact."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from aicsched.errors import ConfigError, PlacementError
from aicsched.place.nodes import POLICIES, Requirements, build_nodes, build_pods, place_pods
from aicsched.place.nodes import fillings as under_test
from aicsched.place.nodes.bound import bound_allocation, bound_pods
from aicsched.place.nodes.check import check_nodes
from aicsched.place.nodes.kernels.patterns import BEST_FILLINGS
from tests.nodes_kit import best_packing, tiny


@pytest.mark.parametrize("seed", range(25))
def test_no_packing_and_no_policy_beats_the_bound(seed: int) -> None:
    nodes, pods = tiny(seed)
    used = nodes.gpu_milli - int(nodes.gpu_free_milli.sum())
    best = best_packing(nodes, pods)
    for step in (100, 1000):
        found = bound_allocation(nodes, pods, cpu_step=step)
        assert found.gpu_milli >= used + best - 1e-6
        assert found.gpu_milli <= nodes.gpu_milli + 1e-6
        assert found.relaxed_milli <= found.gpu_milli + 1e-6
        assert best_packing(nodes, pods, lambda _: 1) <= bound_pods(nodes, pods, cpu_step=step) <= len(pods)
    early = bound_allocation(nodes, pods, max_rounds=1)
    assert early.gpu_milli >= found.gpu_milli - 1e-6 or early.gpu_milli >= used + best - 1e-6
    for policy in POLICIES:
        assert check_nodes(nodes, pods, place_pods(nodes, pods, policy)).gpu_milli <= best


def test_the_bound_is_sharp_where_the_programme_is() -> None:
    nodes = build_nodes(["a", "b"], cpu_milli=10_000, memory_mib=10_000, gpus=2, gpu_model="T4")
    # Of 600 milli one fits a GPU; CPU feeds three of these.
    pods = build_pods([f"p{at}" for at in range(9)], cpu_milli=4000, memory_mib=1, num_gpu=1, gpu_milli=600)
    found = bound_allocation(nodes, pods)
    assert found.gpu_milli == pytest.approx(2400)
    assert found.gpu_allocated == pytest.approx(0.6)
    assert found.rounds >= 2
    assert found.columns >= 1
    assert found.price_milli.shape == (1,)
    # Too few pods for the room there is.
    few = build_pods(["p"], cpu_milli=4000, memory_mib=1, num_gpu=1, gpu_milli=600)
    assert bound_allocation(nodes, few).gpu_milli == pytest.approx(600)


def test_the_bound_of_nothing_is_what_is_in_use() -> None:
    nodes = build_nodes(["a"], cpu_milli=9, memory_mib=9, gpus=1, gpu_model="T4", gpu_free_milli=[[300]])
    cpu_only = build_pods(["p"], cpu_milli=4, memory_mib=1)
    assert bound_allocation(nodes, cpu_only).gpu_milli == 700
    none = build_nodes(["a"], cpu_milli=9, memory_mib=9)
    assert bound_allocation(none, cpu_only).gpu_allocated == 0.0
    stranger = build_pods(["p"], cpu_milli=4, memory_mib=1, num_gpu=1, gpu_milli=300, requirements=[
        Requirements(gpu_models=frozenset({"H100"}))])  # fmt: skip
    assert bound_allocation(nodes, stranger).gpu_milli == pytest.approx(700)


def test_bad_limits_and_a_failing_solver_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes, pods = tiny(1)
    for wrong in ({"cpu_step": 0}, {"max_rounds": 0}):
        with pytest.raises(ConfigError, match="at least 1"):
            bound_allocation(nodes, pods, **wrong)
        with pytest.raises(ConfigError, match="at least 1"):
            bound_pods(nodes, pods, **wrong)
    real = under_test.Programme.__init__

    class Stub:
        def __init__(self, solver: Any) -> None:
            self.solver = solver

        def __getattr__(self, name: str) -> Any:
            return (lambda: -1) if name == "Solve" else getattr(self.solver, name)

    def stubbed(self: Any, kinds: Any) -> None:
        real(self, kinds)
        self.solver = Stub(self.solver)

    monkeypatch.setattr(under_test.Programme, "__init__", stubbed)
    with pytest.raises(PlacementError, match="GLOP found no optimum"):
        bound_allocation(nodes, pods)


# ---------------------------------------------------------------- the knapsack
def best_filling(values: Any, asks: Any, cpu: int, gpus: tuple[int, ...]) -> float:
    """Return the best value of any multiset of items on one node, by trying all."""
    known: dict[tuple[int, tuple[int, ...]], float] = {}

    def from_here(cpu: int, gpus: tuple[int, ...]) -> float:
        key = (cpu, gpus)
        if key not in known:
            best = 0.0
            for value, (number, units, need) in zip(values, asks, strict=True):
                able = [g for g, left in enumerate(gpus) if left >= units]
                if need > cpu or len(able) < number:
                    continue
                for way in itertools.combinations(able, int(number)):
                    left = tuple(sorted(f - units * (g in way) for g, f in enumerate(gpus)))
                    best = max(best, value + from_here(cpu - need, left))
            known[key] = best
        return known[key]

    return from_here(cpu, tuple(sorted(gpus)))


@pytest.mark.parametrize("seed", range(15))
def test_the_knapsack_finds_the_best_filling(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(seed)
    number = rng.choice([1, 1, 1, 2, 3], 5)
    units = np.where(number > 1, 10, rng.integers(1, 11, 5))
    asks = np.column_stack([number, units, rng.integers(0, 5, 5)]).astype(np.int64)
    values = np.where(rng.random(5) < 0.15, 0.0, rng.uniform(0.1, 9, 5))
    cpus = rng.integers(1, 13, 3)
    gpus = -np.sort(-np.where(rng.random((3, 3)) < 0.6, 10, rng.integers(0, 10, (3, 3))), axis=1)
    found, counts = BEST_FILLINGS(values, asks, 10, cpus, gpus)
    for node in range(3):
        there = tuple(int(each) for each in gpus[node] if each > 0)
        assert found[node] == pytest.approx(best_filling(values, asks, int(cpus[node]), there))
        assert values @ counts[node] == pytest.approx(found[node])
        assert asks[:, 2] @ counts[node] <= cpus[node]
        assert (asks[:, 0] * asks[:, 1]) @ counts[node] <= sum(there)
    monkeypatch.setenv("AICSCHED_KERNELS", "numba")
    again, same = BEST_FILLINGS(values, asks, 10, cpus, gpus)
    assert again.tolist() == found.tolist()
    assert same.tolist() == counts.tolist()

"""Placement with all pods known: valid, near the bound, and above what arrives one by one."""

from __future__ import annotations

import numpy as np
import pytest

from aicsched.errors import ConfigError
from aicsched.place.nodes import Nodes, Pods, Requirements, build_nodes, build_pods, place_pods
from aicsched.place.nodes.bound import bound_allocation
from aicsched.place.nodes.check import check_nodes
from aicsched.place.nodes.offline import place_offline


def crowd(seed: int, count: int = 150) -> tuple[Nodes, Pods]:
    rng = np.random.default_rng(seed)
    gpus = rng.choice([0, 2, 4, 8], 12)
    nodes = build_nodes(
        [f"n{at}" for at in range(12)],
        cpu_milli=np.where(gpus == 2, 20_000, 64_000),
        memory_mib=200_000,
        gpus=gpus,
        gpu_model=["T4" if many == 2 else "V100" if many else "" for many in gpus],
        labels=[{"zone": str(rng.choice(["a", "b"]))} for _ in gpus],
    )
    number = rng.choice([0, 1, 1, 1, 1, 2, 4], count)
    share = rng.choice([230, 470, 810, 1000], count)
    rules = (
        Requirements(),
        Requirements(gpu_models=frozenset({"V100"})),
        Requirements(labels=frozenset({"x"}), anti_affinity=(("x", "node"),)),
        Requirements(labels=frozenset({"x"})),
    )
    pods = build_pods(
        [f"p{at}" for at in range(count)],
        cpu_milli=np.maximum(number, 1) * rng.choice([2550, 6000, 9000], count),
        memory_mib=4000,
        num_gpu=number,
        gpu_milli=np.where(number == 1, share, np.where(number > 1, 1000, 0)),
        requirements=rules,
        requirement=rng.choice([0, 0, 0, 0, 1, 2, 3], count),
        gang=np.where(rng.random(count) < 0.1, rng.integers(0, 3, count), -1),
    )
    return nodes, pods


@pytest.mark.parametrize("seed", range(6))
def test_it_is_valid_below_the_bound_and_above_the_stream(seed: int) -> None:
    nodes, pods = crowd(seed)
    plan = place_offline(nodes, pods)
    assert plan.policy == "offline"
    report = check_nodes(nodes, pods, plan)
    limit = bound_allocation(nodes, pods).gpu_milli
    assert report.gpu_milli <= limit + 1e-6
    assert report.gpu_milli >= 0.93 * limit
    assert report.gpu_milli >= check_nodes(nodes, pods, place_pods(nodes, pods)).gpu_milli
    again = place_offline(nodes, pods)
    assert again.node.tobytes() == plan.node.tobytes()
    assert again.gpu_bits.tobytes() == plan.gpu_bits.tobytes()


def test_it_leaves_out_what_strands_more_than_it_uses() -> None:
    nodes = build_nodes(["a"], cpu_milli=9000, memory_mib=900, gpus=2, gpu_model="T4")
    milli = [810, 500, 1000, 500, 900]
    pods = build_pods(
        list("abcde"), cpu_milli=[1000, 0, 1000, 0, 1000], memory_mib=1, num_gpu=1, gpu_milli=milli
    )
    plan = place_offline(nodes, pods)
    assert plan.node.tolist() == [-1, 0, 0, 0, -1]
    assert check_nodes(nodes, pods, plan).gpu_milli == 2000
    assert check_nodes(nodes, pods, place_pods(nodes, pods)).gpu_milli < 2000


def test_memory_that_no_filling_saw_is_kept() -> None:
    nodes = build_nodes(["a"], cpu_milli=9000, memory_mib=100, gpus=4, gpu_model="T4")
    pods = build_pods(list("abcd"), cpu_milli=1, memory_mib=40, num_gpu=1, gpu_milli=1000)
    assert check_nodes(nodes, pods, place_offline(nodes, pods)).placed == 2


def test_edges() -> None:
    nodes, pods = crowd(1, 8)
    none = build_pods([], cpu_milli=[], memory_mib=[])
    assert len(place_offline(nodes, none).node) == 0
    cpu_only = build_nodes(["a"], cpu_milli=9000, memory_mib=9000)
    assert (place_offline(cpu_only, pods).node <= 0).all()
    ranked = build_pods(["a", "b"], cpu_milli=1, memory_mib=1, priority=[1, 2])
    with pytest.raises(ConfigError, match="different priorities"):
        place_offline(nodes, ranked)
    for wrong in ({"cpu_step": 0}, {"max_rounds": 0}):
        with pytest.raises(ConfigError, match="at least 1"):
            place_offline(nodes, pods, **wrong)

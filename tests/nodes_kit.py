"""Clusters, pods and rules for the tests of pods on nodes, and fragmentation straight from its definition."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from aicsched.place.nodes import Nodes, Pods, Requirements, TypicalPods, build_nodes, build_pods

if TYPE_CHECKING:
    from collections.abc import Callable

WATTS = {"cpu_idle_w": 20.0, "cpu_busy_w": 80.0, "gpu_idle_w": 10.0, "gpu_busy_w": 70.0, "g_per_kwh": 100.0}


def a_cluster(seed: int, *, used: bool = True, count: int = 7) -> Nodes:
    rng = np.random.default_rng(seed)
    gpus = rng.choice([0, 1, 2, 4, 8], count)
    cpu = rng.choice([8000, 16_000, 32_000, 64_000], count)
    there = np.arange(gpus.max()) < gpus[:, None]
    free = np.where(rng.random(there.shape) < 0.3, rng.integers(0, 11, there.shape) * 100, 1000)
    return build_nodes(
        [f"n{at}" for at in range(count)],
        cpu_milli=cpu,
        memory_mib=rng.choice([16_384, 65_536], count),
        gpus=gpus,
        gpu_model=[str(rng.choice(["T4", "V100"])) if many else "" for many in gpus],
        labels=[{"zone": str(rng.choice(["a", "b"])), "disk": str(rng.choice(["ssd", "hdd"]))} for _ in gpus],
        taints=[frozenset({"gpu"}) if many and rng.random() < 0.3 else frozenset() for many in gpus],
        cpu_free_milli=cpu - (rng.integers(0, 4000, count) if used else 0),
        gpu_free_milli=np.where(there, free if used else 1000, 0),
        pue=rng.uniform(1.0, 1.6, count),
        **{**WATTS, "g_per_kwh": rng.uniform(20, 700, count)},
    )


RULES = (
    Requirements(tolerations=frozenset({"gpu"})),
    Requirements(gpu_models=frozenset({"T4"}), tolerations=frozenset({"gpu"})),
    Requirements(node_labels=(("disk", frozenset({"ssd"})),), labels=frozenset({"app=db"})),
    Requirements(labels=frozenset({"app=web"}), anti_affinity=(("app=web", "node"), ("app=db", "node"))),
    Requirements(labels=frozenset({"app=cache"}), affinity=(("app=cache", "zone"),)),
    Requirements(labels=frozenset({"app=api"}), spread=(("app=api", "zone", 1), ("app=api", "node", 2))),
)


def some_pods(seed: int, count: int = 60, *, rules: bool = True) -> Pods:
    rng = np.random.default_rng(seed)
    number = rng.choice([0, 1, 1, 1, 2, 4], count)
    gang = np.where(rng.random(count) < 0.2, rng.integers(0, 5, count), -1)
    return build_pods(
        [f"p{at}" for at in range(count)],
        cpu_milli=rng.choice([500, 1000, 4000, 9000], count),
        memory_mib=rng.choice([512, 4096, 9000], count),
        num_gpu=number,
        gpu_milli=np.where(
            number == 1, rng.choice([100, 300, 500, 800, 1000], count), np.where(number, 1000, 0)
        ),
        requirements=RULES if rules else (Requirements(),),
        requirement=rng.integers(0, len(RULES), count) if rules else 0,
        priority=rng.integers(0, 3, count) if rules else 0,
        gang=gang if rules else -1,
    )


def one_kind(count: int, **given: Any) -> Nodes:
    return build_nodes([f"n{at}" for at in range(count)], cpu_milli=16_000, memory_mib=65_536, **given)


def plain_pods(count: int, **given: Any) -> Pods:
    asked = {"cpu_milli": 1000, "memory_mib": 1024, **given}
    return build_pods([f"p{at}" for at in range(count)], **asked)


def defined(node: dict[str, Any], typical: TypicalPods, *, by_cpu: bool) -> float:
    """Work out the fragmentation of a node as it is written down, pod by pod."""
    found = 0.0
    total = sum(node["gpu"])
    for m in range(len(typical)):
        cpu, number, milli = (
            int(each[m]) for each in (typical.cpu_milli, typical.num_gpu, typical.gpu_milli)
        )
        able = [free for free in node["gpu"] if free >= milli]
        right = not typical.gpu_models[m] or node["model"] in typical.gpu_models[m]
        if number == 0 or not right or node["cpu"] < cpu or len(able) < number:
            usable = 0.0
        else:
            usable = float(sum(able))
            if by_cpu and number > 1:
                usable = float(len(able) // number * number * 1000)
            if by_cpu and cpu > 0:
                usable = min(usable, number * milli * node["cpu"] / cpu)
        found += float(typical.share[m]) * (total - usable)
    return found


Free = tuple[tuple[int, int, tuple[int, ...]], ...]


def best_packing(nodes: Nodes, pods: Pods, worth: Callable[[int], int] | None = None) -> int:
    """Return the most GPU in use, or worth, of any placement: each pod on each node and GPU, or left out."""
    free: Free = tuple(
        (int(cpu), int(memory), tuple(row.tolist()))
        for cpu, memory, row in zip(
            nodes.cpu_free_milli, nodes.memory_free_mib, nodes.gpu_free_milli, strict=True
        )
    )
    reached: dict[Free, int] = {free: 0}
    for pod in range(len(pods)):
        cpu, memory = int(pods.cpu_milli[pod]), int(pods.memory_mib[pod])
        number, milli = int(pods.num_gpu[pod]), int(pods.gpu_milli[pod])
        models = pods.requirements[int(pods.requirement[pod])].gpu_models
        after = dict(reached)
        for state, value in reached.items():
            for at, (has_cpu, has_memory, gpus) in enumerate(state):
                if has_cpu < cpu or has_memory < memory or (models and nodes.gpu_model[at] not in models):
                    continue
                able = [g for g, left in enumerate(gpus) if left >= milli]
                for way in itertools.combinations(able, number):
                    # The order of GPUs doesn't matter.
                    left = tuple(sorted((f - milli * (g in way) for g, f in enumerate(gpus)), reverse=True))
                    made = (*state[:at], (has_cpu - cpu, has_memory - memory, left), *state[at + 1 :])
                    after[made] = max(after.get(made, -1), value + (worth(pod) if worth else number * milli))
        reached = after
    return max(reached.values())


def tiny(seed: int) -> tuple[Nodes, Pods]:
    rng = np.random.default_rng(seed)
    gpus = rng.choice([0, 1, 2, 3], 3)
    there = np.arange(max(int(gpus.max()), 1)) < gpus[:, None]
    free = np.where(there, rng.choice([1000, 1000, 1000, 700, 430], there.shape), 0)
    nodes = build_nodes(
        ["a", "b", "c"],
        cpu_milli=rng.choice([2000, 5000, 9000], 3),
        memory_mib=10_000,
        gpus=gpus,
        gpu_model=[str(rng.choice(["T4", "V100"])) if many else "" for many in gpus],
        gpu_free_milli=free[:, : int(gpus.max())],
    )
    number = rng.choice([0, 1, 1, 1, 1, 2, 3], 6)
    share = rng.choice([3, 300, 430, 502, 570, 810, 1000] if seed % 2 else [300, 430, 500, 570, 810, 1000], 6)
    pods = build_pods(
        [f"p{at}" for at in range(6)],
        cpu_milli=rng.choice([90, 1000, 2550, 4000], 6),
        memory_mib=1000,
        num_gpu=number,
        gpu_milli=np.where(number == 1, share, np.where(number > 1, 1000, 0)),
        requirements=(Requirements(), Requirements(gpu_models=frozenset({"T4"}))),
        requirement=rng.integers(0, 2, 6),
    )
    return nodes, pods

"""Pods on nodes: what policies choose, the rules they keep, and the checker that looks at each plan again."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest

from aicsched.errors import ConfigError, InputError, PlanRefused
from aicsched.place.nodes import (
    POLICIES,
    NodePlan,
    Requirements,
    build_nodes,
    build_pods,
    place_pods,
    policies,
    typical_pods,
)
from aicsched.place.nodes.check import check_nodes
from aicsched.place.nodes.encode import alike, models_of
from aicsched.place.nodes.kernels.fragments import starved, stranded
from aicsched.place.nodes.kernels.scores import packed
from aicsched.place.nodes.kernels.stream import PLACE_STREAM
from aicsched.place.nodes.measure import fragmented_milli, measure, node_power_w
from aicsched.place.nodes.typical import tables_of
from tests.nodes_kit import WATTS, a_cluster, defined, one_kind, plain_pods, some_pods


# ---------------------------------------------------------------- all policies, all rules
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("seed", range(4))
def test_each_plan_keeps_all_rules_and_wastes_no_room(policy: str, seed: int) -> None:
    nodes, pods = a_cluster(seed), some_pods(seed)
    plan = place_pods(nodes, pods, policy, seed=seed)
    report = check_nodes(nodes, pods, plan)
    assert report.placed + report.unplaced == len(pods)
    assert report.placed > 0
    # Company may come to let a pod in after its turn; without rules nobody with room is turned away.
    plain = some_pods(seed, rules=False)
    assert check_nodes(nodes, plain, place_pods(nodes, plain, policy, seed=seed)).could_fit == 0


@pytest.mark.parametrize("policy", POLICIES)
def test_equal_seeds_give_equal_plans(policy: str) -> None:
    nodes, pods = a_cluster(3), some_pods(5)
    first, again = (place_pods(nodes, pods, policy, seed=11) for _ in range(2))
    assert first.node.tobytes() == again.node.tobytes()
    assert first.gpu_bits.tobytes() == again.gpu_bits.tobytes()
    # Equal machines, so that there is something to draw among.
    nodes = one_kind(12, gpus=2, gpu_model="T4", **WATTS)
    others = {place_pods(nodes, pods, policy, seed=seed).node.tobytes() for seed in range(6)}
    assert (len(others) > 1) == (policy not in {"first_fit", "carbon_fgd"})


@pytest.mark.parametrize("policy", ["random", "gpu_clustering", "fgd", "carbon_fgd"])
def test_the_compiled_form_gives_the_same_plan(policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes, pods = a_cluster(8, count=9), some_pods(9, 80)
    plain = place_pods(nodes, pods, policy, seed=2)
    monkeypatch.setenv("AICSCHED_KERNELS", "numba")
    compiled = place_pods(nodes, pods, policy, seed=2)
    assert compiled.node.tolist() == plain.node.tolist()
    assert compiled.gpu_bits.tolist() == plain.gpu_bits.tolist()
    assert compiled.evaluations == plain.evaluations
    check_nodes(nodes, pods, compiled)


def test_small_input_needs_no_compiler() -> None:
    args = (0, np.zeros((60, 3)), np.zeros((50, 5)), np.zeros((60, 7)))
    assert PLACE_STREAM.work(*args) < 1e8
    args = (7, np.zeros((10_000, 3)), np.zeros((150, 5)), np.zeros((150, 1500)))
    assert PLACE_STREAM.work(*args) > 1e9


# ---------------------------------------------------------------- single choices
def test_a_share_goes_to_the_gpu_with_the_least_room() -> None:
    nodes = one_kind(1, gpus=3, gpu_model="T4", gpu_free_milli=[[1000, 600, 500]])
    plan = place_pods(nodes, plain_pods(1, num_gpu=1, gpu_milli=500), "best_fit")
    assert plan.gpus(0) == (2,)


def test_several_gpus_are_the_first_whole_ones() -> None:
    nodes = one_kind(1, gpus=4, gpu_model="T4", gpu_free_milli=[[1000, 600, 1000, 1000]])
    plan = place_pods(nodes, plain_pods(1, num_gpu=2, gpu_milli=1000), "gpu_packing")
    assert plan.gpus(0) == (0, 2)


def test_packing_prefers_shared_gpus_then_used_nodes() -> None:
    free = [[1000, 1000], [1000, 0], [1000, 400]]
    nodes = one_kind(3, gpus=2, gpu_model="T4", gpu_free_milli=free)
    share = plain_pods(1, num_gpu=1, gpu_milli=300)
    assert place_pods(nodes, share, "gpu_packing").node.tolist() == [2]
    whole = plain_pods(1, num_gpu=1, gpu_milli=1000)
    assert place_pods(nodes, whole, "gpu_packing").node[0] in {1, 2}
    assert place_pods(one_kind(2, gpus=[2, 1], gpu_model="T4"), whole, "gpu_packing").node.tolist() == [1]


# The worked examples of FGD's simulator for its packing score (gpu_packing_score_test.go).
@pytest.mark.parametrize(
    ("free", "points"), [([200, 1000, 1000, 500], 48), ([1000] * 4, 29), ([1000] * 8, 25)]
)
def test_packing_scores_as_its_authors_do(free: list[int], points: int) -> None:
    state = np.array([[1000, 0, *free]])
    assert packed(state, 0, np.array([100, 0, 2, 1000, 2]), len(free)) == points


@pytest.mark.parametrize("policy", ["gpu_packing", "gpu_clustering"])
def test_pods_without_a_gpu_fill_one_node_after_another(policy: str) -> None:
    nodes = one_kind(5, gpus=2, gpu_model="T4")
    firsts = set()
    for seed in range(8):
        found = place_pods(nodes, plain_pods(20, cpu_milli=2000), policy, seed=seed).node
        assert np.bincount(found, minlength=5).tolist().count(8) == 2
        assert (found[:8] == found[0]).all()
        firsts.add(int(found[0]))
    assert len(firsts) > 1


def test_clustering_seeks_its_own_kind() -> None:
    nodes = one_kind(3, gpus=4, gpu_model="T4")
    pods = plain_pods(6, num_gpu=[1, 1, 2, 1, 2, 0], gpu_milli=[1000, 500, 1000, 500, 1000, 0])
    for seed in range(5):
        found = place_pods(nodes, pods, "gpu_clustering", seed=seed).node
        assert len({found[0], found[1], found[2]}) == 3
        assert found[3] == found[1]
        assert found[4] == found[2]


def test_best_fit_and_dot_product_take_the_fuller_node() -> None:
    nodes = one_kind(2, gpus=4, gpu_model="T4", cpu_free_milli=[16_000, 6000])
    pods = plain_pods(1, cpu_milli=4000, num_gpu=1, gpu_milli=1000)
    for policy in ("best_fit", "dot_product"):
        assert place_pods(nodes, pods, policy).node.tolist() == [1]


def test_carbon_goes_where_watts_are_clean_until_room_is_worth_more() -> None:
    nodes = one_kind(2, gpus=2, gpu_model="T4", **{**WATTS, "g_per_kwh": [600.0, 30.0]})
    pods = plain_pods(5, num_gpu=1, gpu_milli=1000)
    assert place_pods(nodes, pods, "carbon_fgd", stranded_w_per_gpu=0.0).node.tolist() == [1, 1, 0, 0, -1]
    # A shared GPU that is awake costs nothing more; a clean node asleep wakes.
    shares = plain_pods(2, num_gpu=1, gpu_milli=300)
    nodes = one_kind(2, gpus=2, gpu_model="T4", gpu_free_milli=[[700, 1000], [1000, 1000]], **WATTS)
    assert place_pods(nodes, shares, "carbon_fgd").node.tolist() == [0, 0]


def test_a_node_asleep_stays_asleep_while_another_is_awake() -> None:
    nodes = one_kind(3, asleep_w=2.0, cpu_free_milli=[16_000, 12_000, 16_000], **WATTS)
    plan = place_pods(nodes, plain_pods(3), "carbon_fgd")
    assert plan.node.tolist() == [1, 1, 1]


def test_without_an_intensity_watts_decide() -> None:
    nodes = one_kind(2, gpus=1, gpu_model=["V100", "T4"], gpu_idle_w=10.0, gpu_busy_w=[300.0, 70.0])
    assert place_pods(nodes, plain_pods(1, num_gpu=1, gpu_milli=1000)).node.tolist() == [1]


def test_higher_priority_comes_first_and_gangs_stand_together() -> None:
    nodes = one_kind(1)
    pods = plain_pods(4, cpu_milli=8000, priority=[0, 0, 5, 1], gang=[-1, 7, -1, 7])
    plan = place_pods(nodes, pods, "first_fit")
    assert plan.order.tolist() == [2, 1, 3, 0]
    # The gang had room for one only: that one gives its place back, and the last pod takes it.
    assert plan.node.tolist() == [0, -1, 0, -1]
    check_nodes(nodes, pods, plan)


@pytest.mark.parametrize("policy", ["fgd", "carbon_fgd", "gpu_clustering"])
def test_a_gang_that_fails_leaves_no_trace(policy: str) -> None:
    nodes = one_kind(2, gpus=2, gpu_model="T4", labels=[{"zone": "a"}, {"zone": "b"}], **WATTS)
    rules = (Requirements(), Requirements(labels=frozenset({"x"}), anti_affinity=(("x", "zone"),)))
    pods = plain_pods(
        6, num_gpu=[1, 1, 1, 1, 2, 2], gpu_milli=1000, requirements=rules, requirement=[1, 1, 1, 1, 0, 0],
        gang=[3, 3, 3, -1, 9, 9],
    )  # fmt: skip
    plan = place_pods(nodes, pods, policy)
    assert plan.node[:3].tolist() == [-1, -1, -1]
    assert plan.node[3] >= 0
    assert plan.node[4:].tolist() == [-1, -1]
    check_nodes(nodes, pods, plan)


def test_company_is_kept_in_both_directions() -> None:
    nodes = one_kind(3, labels=[{"zone": "a"}, {"zone": "a"}, {}])
    lonely = Requirements(labels=frozenset({"lonely"}), anti_affinity=(("any", "zone"),))
    rules = (lonely, Requirements(labels=frozenset({"any"})))
    pods = plain_pods(3, requirements=rules, requirement=[0, 1, 1])
    # Zone a is closed to the others by who lives there; a node without a zone is in nobody's.
    assert place_pods(nodes, pods, "first_fit").node.tolist() == [0, 2, 2]
    seeks = Requirements(affinity=(("friend", "zone"),))
    friend = Requirements(labels=frozenset({"friend"}), affinity=(("friend", "zone"),))
    pods = plain_pods(3, requirements=(seeks, friend), requirement=[0, 1, 0])
    assert place_pods(nodes, pods, "first_fit").node.tolist() == [-1, 0, 0]
    even = Requirements(labels=frozenset({"api"}), spread=(("api", "node", 1),))
    pods = plain_pods(7, cpu_milli=6000, requirements=(even,))
    assert sorted(place_pods(nodes, pods, "best_fit").node.tolist()) == [-1, 0, 0, 1, 1, 2, 2]


def test_nothing_to_place_and_nowhere_to_go() -> None:
    nodes = one_kind(2)
    assert len(place_pods(nodes, plain_pods(0)).node) == 0
    none = build_nodes([], cpu_milli=[], memory_mib=[])
    assert place_pods(none, plain_pods(2)).node.tolist() == [-1, -1]


# ---------------------------------------------------------------- the measures against their definitions
@pytest.mark.parametrize("seed", range(5))
def test_both_measures_are_what_their_definitions_say(seed: int) -> None:
    nodes = a_cluster(seed, count=12)
    pods = some_pods(seed, 90)
    free_cpu = build_pods(["free"], cpu_milli=0, memory_mib=1, num_gpu=1, gpu_milli=400)
    for typical in (typical_pods(pods), typical_pods(pods, 0.7), typical_pods(free_cpu)):
        models = models_of(nodes)
        tables = tables_of(typical, models)
        state = np.column_stack([nodes.cpu_free_milli, nodes.memory_free_mib, nodes.gpu_free_milli])
        room = np.zeros(len(tables[2]) + 1, dtype=np.int64)
        direct = fragmented_milli(nodes, nodes.cpu_free_milli, nodes.gpu_free_milli, typical)
        for at, name in enumerate(nodes.gpu_model):
            node = {
                "cpu": int(nodes.cpu_free_milli[at]),
                "gpu": nodes.gpu_free_milli[at].tolist(),
                "model": name,
            }
            model = models.index(name) if name else 0
            assert stranded(state, at, model, tables) == pytest.approx(defined(node, typical, by_cpu=False))
            assert direct[at] == pytest.approx(defined(node, typical, by_cpu=False))
            assert starved(state, at, model, tables, room) == pytest.approx(
                defined(node, typical, by_cpu=True)
            )


@pytest.mark.parametrize("seed", range(4))
def test_fgd_descends_the_gradient_as_published(seed: int) -> None:
    nodes, pods = a_cluster(seed, count=6), some_pods(seed, 40, rules=False)
    typical = typical_pods(some_pods(99, 60, rules=False))
    plan = place_pods(nodes, pods, "fgd", typical=typical, seed=seed)
    cpu, memory = nodes.cpu_free_milli.tolist(), nodes.memory_free_mib.tolist()
    gpu = nodes.gpu_free_milli.tolist()
    for pod in plan.order.tolist():
        asks = [
            int(column[pod]) for column in (pods.cpu_milli, pods.memory_mib, pods.num_gpu, pods.gpu_milli)
        ]
        points: dict[int, int] = {}
        for at, name in enumerate(nodes.gpu_model):
            able = [g for g, free in enumerate(gpu[at]) if asks[2] and free >= asks[3]]
            small = cpu[at] < asks[0] or memory[at] < asks[1] or len(able) < asks[2]
            if small or nodes.taints[at]:
                continue
            before = defined({"cpu": cpu[at], "gpu": gpu[at], "model": name}, typical, by_cpu=False)
            ways = itertools.combinations(able, 1) if asks[3] < 1000 and asks[2] else [tuple(able[: asks[2]])]
            for way in ways:
                after = [free - asks[3] * (g in way) for g, free in enumerate(gpu[at])]
                left = {"cpu": cpu[at] - asks[0], "gpu": after, "model": name}
                gain = before - defined(left, typical, by_cpu=False)
                points[at] = max(points.get(at, -1), int(np.floor(100 / (1 + np.exp(-gain / 1000)) + 1e-12)))
        node = int(plan.node[pod])
        assert (node < 0) == (not points)
        if node >= 0:
            assert points[node] == max(points.values())
            cpu[node] -= asks[0]
            memory[node] -= asks[1]
            for g in plan.gpus(pod):
                gpu[node][g] -= asks[3]


def test_watts_and_grams_follow_the_pods() -> None:
    nodes = one_kind(2, gpus=2, gpu_model="T4", asleep_w=5.0, pue=1.5, **WATTS)
    pods = plain_pods(2, cpu_milli=8000, num_gpu=[1, 1], gpu_milli=[500, 1000])
    plan = place_pods(nodes, pods, "carbon_fgd")
    typical = typical_pods(pods)
    assert measure(nodes, pods, plan, typical, arrived_gpu=0.0).power_w == 10.0
    # CPU fully in use 80 W, two GPUs in use 140 W, the other node asleep 5 W.
    found = measure(nodes, pods, plan, typical)
    assert found.power_w == pytest.approx(80 + 140 + 5)
    assert found.g_per_h == pytest.approx(0.225 * 1.5 * 100)
    assert (found.arrived, found.placed) == (2, 2)
    assert found.gpu_allocated == pytest.approx(1500 / 4000)
    assert node_power_w(nodes, nodes.cpu_free_milli, nodes.gpu_free_milli).tolist() == [5.0, 5.0]
    with pytest.raises(InputError, match="of 2 pods, not 1"):
        measure(nodes, plain_pods(1), plan, typical)


def test_rows_are_grouped_however_wide_they_are() -> None:
    rows = np.array([[2**39, 5, 2**39], [0, 5, 1], [2**39, 5, 2**39], [2**39, 4, 0]])
    first, group = alike(rows)
    assert rows[first].tolist() == sorted({tuple(row) for row in rows.tolist()}, key=list) or len(first) == 3
    assert group[0] == group[2]
    assert len(set(group.tolist())) == 3


# ---------------------------------------------------------------- bad input
@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"cpu_milli": float("nan")}, "cpu_milli of 'n0' is nan, no whole number"),
        ({"cpu_milli": [1, -5]}, "cpu_milli of 'n1' is -5"),
        ({"memory_mib": 1e15}, "beyond all reason"),
        ({"memory_mib": [1, 2, 3]}, "can't be read as 2 numbers"),
        ({"memory_mib": "lots"}, "can't be read as 2 numbers"),
        ({"gpus": 33, "gpu_model": "T4"}, "above 32"),
        ({"gpus": 1}, "no model"),
        ({"gpus": 1, "gpu_model": ["T4"]}, "1 entries for 2 rows"),
        (
            {"gpus": 1, "gpu_model": "T4", "gpu_free_milli": 1001},
            "gpu_free_milli of 'n0'.* more than there is",
        ),
        ({"cpu_free_milli": 2000}, "more than there is"),
        ({"memory_free_mib": 2000}, "more than there is"),
        ({"cpu_idle_w": 9.0}, "below its idle power"),
        ({"gpu_idle_w": 9.0}, "below its idle power"),
        ({"asleep_w": 9.0}, "above its idle power"),
        ({"pue": 0.9}, "not from 1 to 10"),
        ({"g_per_kwh": float("inf")}, "not from 0 to 2500"),
    ],
)
def test_nodes_that_cant_be_are_refused(given: dict[str, Any], words: str) -> None:
    columns = {"cpu_milli": 1000, "memory_mib": 1000, **given}
    with pytest.raises(InputError, match=words):
        build_nodes(["n0", "n1"], **columns)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"cpu_milli": float("nan")}, "no whole number"),
        ({"memory_mib": -1}, "below 0"),
        ({"num_gpu": 1, "gpu_milli": 1001}, "more than one GPU has"),
        ({"num_gpu": 2, "gpu_milli": 500}, "only one GPU can be shared"),
        ({"num_gpu": 1}, "though it asks for GPUs"),
        ({"gpu_milli": 5}, "though it asks for no GPU"),
        ({"num_gpu": 40, "gpu_milli": 1000}, "above 32"),
        ({"requirement": 1}, "but there are 1"),
        ({"priority": 0.5}, "no whole number within reason"),
        ({"gang": float("nan")}, "no whole number within reason"),
        ({"requirements": (Requirements(spread=(("x", "zone", 0),)),)}, "lets no pod in"),
    ],
)
def test_pods_that_cant_be_are_refused(given: dict[str, Any], words: str) -> None:
    columns = {"cpu_milli": 1000, "memory_mib": 1000, **given}
    with pytest.raises(InputError, match=words):
        build_pods(["p0", "p1"], **columns)


def test_ids_are_unique() -> None:
    with pytest.raises(InputError, match="node 'a' is there twice"):
        build_nodes(["a", "a"], cpu_milli=1, memory_mib=1)
    with pytest.raises(InputError, match="pod 'a' is there twice"):
        build_pods(["a", "a"], cpu_milli=1, memory_mib=1)


def test_choices_out_of_range_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes, pods = one_kind(1), plain_pods(1)
    with pytest.raises(ConfigError, match=r"no policy 'fdg'.*fgd"):
        place_pods(nodes, pods, "fdg")
    for wrong in (
        {"seed": -1},
        {"seed": 2**32},
        {"stranded_w_per_gpu": -1.0},
        {"stranded_w_per_gpu": float("nan")},
    ):
        with pytest.raises(ConfigError):
            place_pods(nodes, pods, **wrong)
    monkeypatch.setattr(policies, "_MOST_SCORES", 0)
    with pytest.raises(InputError, match="1 sizes of pods on 1 nodes are too many pairs"):
        place_pods(nodes, pods)
    for share in (0.0, 1.5):
        with pytest.raises(InputError, match="popularity"):
            typical_pods(pods, share)
    with pytest.raises(InputError, match="no pods to learn"):
        typical_pods(plain_pods(0))


# ---------------------------------------------------------------- the checker finds each fault
def changed(plan: NodePlan, **given: Any) -> NodePlan:
    return dataclasses.replace(plan, **{name: np.array(values) for name, values in given.items()})


@pytest.mark.parametrize(
    ("rule", "node", "bits", "words"),
    [
        (Requirements(), 0, [1, 1, 0], "asks 600 milli of GPU 0, which hasn't got them"),
        (Requirements(), 0, [1, 8, 0], "GPU 3, which hasn't got them"),
        (Requirements(), 0, [1, 6, 0], "has 2 GPUs for 1"),
        (Requirements(), 5, [1, 2, 0], "is on node 5, which isn't there"),
        (Requirements(gpu_models=frozenset({"V100"})), 0, [1, 2, 0], "needs V100, not 'T4'"),
        (
            Requirements(node_labels=(("zone", frozenset({"b"})),)),
            0,
            [1, 2, 0],
            r"needs label zone in \['b'\]",
        ),
        (Requirements(), 1, [1, 1, 0], r"doesn't tolerate \['gpu'\]"),
        (Requirements(anti_affinity=(("x", "zone"),)), 0, [1, 2, 0], "refuses 'x' in its zone"),
        (Requirements(affinity=(("y", "zone"),)), 0, [1, 2, 0], "wants 'y' in its zone"),
        (Requirements(labels=frozenset({"z"})), 0, [1, 2, 0], "is refused by 'p0' in its node"),
        (
            Requirements(spread=(("x", "zone", 1),), labels=frozenset({"x"})),
            0,
            [1, 2, 0],
            "differ by more than 1",
        ),
    ],
)
def test_the_checker_finds_each_fault(rule: Requirements, node: int, bits: list[int], words: str) -> None:
    nodes = one_kind(
        3, gpus=[2, 2, 1], gpu_model="T4", labels=[{"zone": "a"}, {"zone": "a"}, {"zone": "b"}],
        taints=[frozenset(), frozenset({"gpu"}), frozenset()],
    )  # fmt: skip
    first = Requirements(labels=frozenset({"x"}), anti_affinity=(("z", "node"),))
    pods = plain_pods(
        3, num_gpu=[1, 1, 0], gpu_milli=[600, 600, 0], requirements=(first, rule), requirement=[0, 1, 0]
    )
    plan = NodePlan(
        policy="by hand",
        node=np.array([0, node, -1]),
        gpu_bits=np.array(bits),
        order=np.arange(3),
        evaluations=0,
    )
    with pytest.raises(PlanRefused, match=words):
        check_nodes(nodes, pods, plan)


def test_the_checker_counts_cpu_memory_gangs_and_rows() -> None:
    nodes, pods = (
        one_kind(1),
        plain_pods(3, cpu_milli=[9000, 9000, 10], memory_mib=[1, 70_000, 1], gang=[-1, 4, 4]),
    )
    plan = place_pods(nodes, pods, "first_fit")
    assert plan.node.tolist() == [0, -1, -1]
    with pytest.raises(PlanRefused, match=r"asks 9000 CPU milli of 7000; .*asks 70000 MiB of 65535"):
        check_nodes(nodes, pods, changed(plan, node=[0, 0, -1]))
    with pytest.raises(PlanRefused, match="gang 4 is placed in part"):
        check_nodes(nodes, pods, changed(plan, node=[0, -1, 0]))
    with pytest.raises(PlanRefused, match="has 2 rows for 3 pods"):
        check_nodes(nodes, pods, changed(plan, order=[0, 1]))
    # A pod left out though there was room is told.
    assert check_nodes(nodes, plain_pods(1), changed(plan, node=[-1], gpu_bits=[0], order=[0])).could_fit == 1

"""One pod at a time: the choice of the stream, grams by definition, and nothing forgotten on the way."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest

from aicsched.errors import ConfigError, InputError
from aicsched.place.nodes import (
    NodePlan,
    Nodes,
    Pods,
    Requirements,
    TypicalPods,
    build_pods,
    live,
    place_pods,
    typical_pods,
)
from aicsched.place.nodes.check import check_nodes
from aicsched.place.nodes.live import Decision, PodAsk, PriceBook, PricedNodes
from aicsched.place.nodes.measure import node_power_w
from aicsched.place.problem import build_problem
from aicsched.place.solve import solve
from aicsched.slots import HOUR_S, SlotGrid
from tests.nodes_kit import WATTS, a_cluster, defined, one_kind, plain_pods, some_pods
from tests.place_kit import CURVES, GRID, crowd, fleet

ONE = SlotGrid(0, HOUR_S, 1)


def ask_of(pods: Pods, pod: int, **given: Any) -> PodAsk:
    return PodAsk(
        cpu_milli=int(pods.cpu_milli[pod]), memory_mib=int(pods.memory_mib[pod]),
        num_gpu=int(pods.num_gpu[pod]), gpu_milli=int(pods.gpu_milli[pod]),
        requirements=pods.requirements[int(pods.requirement[pod])], **given,
    )  # fmt: skip


def alone(nodes: Nodes, typical: TypicalPods, **given: Any) -> PricedNodes:
    """Give each node a region of its own with its own intensity, and no prices."""
    names = [f"of {name}" for name in nodes.node_ids]
    book = PriceBook(
        slots=ONE,
        regions=tuple(names),
        g_per_kwh=nodes.g_per_kwh[:, None],
        price_g_per_vcpu_h=np.zeros((len(names), 1)),
    )
    return PricedNodes(nodes, names, typical, book, **given)


def two_regions(seed: int, nodes: Nodes, slots: int = 6) -> tuple[PriceBook, list[str]]:
    rng = np.random.default_rng(seed)
    book = PriceBook(
        slots=SlotGrid(7200, HOUR_S // 2, slots),
        regions=("east", "west"),
        g_per_kwh=rng.uniform(20, 700, (2, slots)),
        price_g_per_vcpu_h=rng.uniform(0, 9, (2, slots)) * (rng.random((2, slots)) < 0.4),
    )
    return book, [str(rng.choice(["east", "west"])) for _ in range(len(nodes))]


# ---------------------------------------------------------------- the same choice as of a whole list
@pytest.mark.parametrize("seed", range(8))
def test_pod_by_pod_it_takes_what_the_stream_takes(seed: int) -> None:
    nodes, given = a_cluster(seed, count=9), some_pods(seed, 70)
    pods = dataclasses.replace(given, gang=np.full(70, -1), priority=np.zeros(70, np.int64))
    typical = typical_pods(some_pods(seed + 50, 80))
    plan = place_pods(nodes, pods, "carbon_fgd", typical=typical)
    cluster = alone(nodes, typical)
    for pod in range(len(pods)):
        ask = ask_of(pods, pod)
        found = cluster.decide(ask, now_s=1800.0)
        assert (found.node, found.gpus) == (int(plan.node[pod]), plan.gpus(pod)), pod
        assert found.node_now == found.node
        assert found.start_s == 1800.0
        if found.node >= 0:
            cluster.bind(pods.pod_ids[pod], ask, found.node, found.gpus)
    assert len(cluster) == (plan.node >= 0).sum() > 20


@pytest.mark.parametrize("seed", range(3))
def test_what_it_lets_onto_nodes_passes_the_checker(seed: int) -> None:
    nodes, pods = a_cluster(seed + 20, count=8), some_pods(seed + 20, 60)
    pods = dataclasses.replace(pods, gang=np.full(60, -1), priority=np.zeros(60, np.int64))
    book, region = two_regions(seed, nodes)
    cluster = PricedNodes(nodes, region, typical_pods(pods), book)
    node, bits = np.full(60, -1), np.zeros(60, np.int64)
    for pod in range(60):
        found = cluster.decide(ask_of(pods, pod, duration_h=0.1 + pod / 7), now_s=7200.0 + 60 * pod)
        if found.node >= 0:
            node[pod], bits[pod] = found.node, sum(1 << gpu for gpu in found.gpus)
            cluster.bind(pods.pod_ids[pod], ask_of(pods, pod), found.node, found.gpus)
    plan = NodePlan(policy="live", node=node, gpu_bits=bits, order=np.arange(60), evaluations=0)
    assert check_nodes(nodes, pods, plan).placed > 15


# ---------------------------------------------------------------- grams from the definitions
def rate(values: Any, book: PriceBook, start_s: float, hours: float) -> float:
    """Sum a row of the book up over a stretch, second by second where slots change."""
    found, at_s, end_s = 0.0, start_s, start_s + hours * HOUR_S
    while at_s < end_s - 1e-9:
        slot = int((at_s - book.slots.start_s) // book.slots.step_s)
        till_s = min(end_s, book.slots.start_s + (slot + 1) * book.slots.step_s)
        found += float(values[min(max(slot, 0), len(values) - 1)]) * (till_s - at_s) / HOUR_S
        at_s = till_s
    return found


def ways(cluster: PricedNodes, nodes: Nodes, ask: PodAsk) -> list[tuple[int, tuple[int, ...]]]:
    """List the nodes with room and, for shares, each GPU: models and taints only, no company."""
    made: list[tuple[int, tuple[int, ...]]] = []
    for at, state in enumerate(cluster.free()):
        need = ask.requirements
        if state[0] < ask.cpu_milli or state[1] < ask.memory_mib or nodes.taints[at] - need.tolerations:
            continue
        able = tuple(g for g, free in enumerate(state[2:].tolist()) if ask.num_gpu and free >= ask.gpu_milli)
        if len(able) >= ask.num_gpu:
            made += [(at, (gpu,)) for gpu in able] if ask.num_gpu == 1 else [(at, able[: ask.num_gpu])]
    return made


def spelled_out(
    cluster: PricedNodes, nodes: Nodes, typical: TypicalPods, book: PriceBook, region: list[str], ask: PodAsk,
    starts_s: list[float],
) -> dict[tuple[int, float], float]:  # fmt: skip
    """Return grams by node and start: on each node of the GPU that strands least, energy counted."""
    mean = np.array([book.g_per_kwh[book.regions.index(name)].mean() for name in region])
    lost_g = 0.5 * np.average(nodes.pue * mean / 1000, weights=nodes.gpus) * ask.duration_h
    found: dict[tuple[int, float], tuple[float, float]] = {}
    for (at, gpus), start_s in itertools.product(ways(cluster, nodes, ask), starts_s):
        free = cluster.free()
        before_w = node_power_w(nodes, free[:, 0], free[:, 2:])[at]
        before = {"cpu": int(free[at, 0]), "gpu": free[at, 2:].tolist(), "model": nodes.gpu_model[at]}
        free[at, 0] -= ask.cpu_milli
        free[at, [2 + gpu for gpu in gpus]] -= ask.gpu_milli
        after = {"cpu": int(free[at, 0]), "gpu": free[at, 2:].tolist(), "model": nodes.gpu_model[at]}
        added_w = (node_power_w(nodes, free[:, 0], free[:, 2:])[at] - before_w) * nodes.pue[at]
        row = book.regions.index(region[at])
        energy_g = added_w / 1000 * rate(book.g_per_kwh[row], book, start_s, ask.duration_h)
        price_g = ask.cpu_milli / 1000 * rate(book.price_g_per_vcpu_h[row], book, start_s, ask.duration_h)
        cheap = energy_g + lost_g * defined(after, typical, by_cpu=False)
        rise = defined(after, typical, by_cpu=True) - defined(before, typical, by_cpu=True)
        total = energy_g + price_g + lost_g * rise
        if cheap < found.get((at, start_s), (np.inf, 0.0))[0] - 1e-9:
            found[at, start_s] = cheap, total
    return {key: total for key, (_, total) in found.items()}


@pytest.mark.parametrize("seed", range(10))
def test_grams_are_what_their_definitions_say_and_no_node_or_start_is_better(seed: int) -> None:
    rng = np.random.default_rng(seed)
    nodes, pods = a_cluster(seed, count=8), some_pods(seed, 30, rules=False)
    typical = typical_pods(some_pods(seed + 9, 60, rules=False))
    book, region = two_regions(seed, nodes)
    cluster = PricedNodes(nodes, region, typical, book)
    waited = 0
    for pod in range(len(pods)):
        now_s = float(rng.choice([7200, 9000, 8000.5, 3000, 40_000]))
        ask = ask_of(pods, pod, duration_h=float(rng.uniform(0.1, 5)), latest_start_s=now_s + 5000)
        first = (now_s // 1800 + 1) * 1800
        starts = [now_s, *np.arange(first, now_s + 5001, 1800).tolist()]
        all_of_them = spelled_out(cluster, nodes, typical, book, region, ask, starts)
        found = cluster.decide(ask, now_s)
        assert (found.node < 0) == (not all_of_them)
        costs = cluster.costs_g(ask, now_s)
        for at in range(len(nodes)):
            assert costs[at] == pytest.approx(all_of_them.get((at, now_s), np.inf), rel=1e-9)
        if found.node < 0:
            assert found == Decision(
                node=-1, gpus=(), start_s=now_s, node_now=-1, energy_g=0.0, price_g=0.0, room_g=0.0
            )
            continue
        assert found.total_g == pytest.approx(min(all_of_them.values()), rel=1e-9)
        assert all_of_them[found.node, found.start_s] == pytest.approx(found.total_g, rel=1e-9)
        assert costs[found.node_now] == costs.min()
        waited += found.start_s > now_s
        cluster.bind(f"b{pod}", ask, found.node, found.gpus)
    assert waited > 0


def test_a_price_sends_a_pod_elsewhere_or_later() -> None:
    nodes = one_kind(2, **WATTS)
    prices = np.zeros((2, 3))
    book = PriceBook(
        slots=SlotGrid(0, HOUR_S, 3), regions=("a", "b"), g_per_kwh=np.full((2, 3), 100.0),
        price_g_per_vcpu_h=prices,
    )  # fmt: skip
    cluster = PricedNodes(nodes, ["a", "b"], typical_pods(plain_pods(1)), book)
    ask = PodAsk(cpu_milli=2000, memory_mib=10, latest_start_s=2 * HOUR_S)
    assert cluster.decide(ask, 0.0).node == 0
    prices[0] = [3.0, 3.0, 1.0]
    prices[1] = 2.0
    cluster.refresh(dataclasses.replace(book, price_g_per_vcpu_h=prices))
    found = cluster.decide(ask, 0.0)
    assert (found.node, found.node_now, found.start_s, found.price_g) == (0, 1, 7200.0, pytest.approx(2.0))
    # A wait that ends before the clean slot, or a time past it, means now.
    assert cluster.decide(dataclasses.replace(ask, latest_start_s=7199.0), 0.0).node == 1
    assert cluster.decide(ask, 8000.0).start_s == 8000.0


def test_on_a_grid_without_emissions_room_decides() -> None:
    nodes = one_kind(2, gpus=2, gpu_model="T4", gpu_free_milli=[[1000, 1000], [1000, 300]])
    cluster = alone(nodes, typical_pods(plain_pods(4, num_gpu=1, gpu_milli=[300, 1000, 1000, 1000])))
    ask = PodAsk(cpu_milli=1000, memory_mib=10, num_gpu=1, gpu_milli=300)
    found = cluster.decide(ask, 0.0)
    assert (found.node, found.gpus, found.energy_g) == (1, (1,), 0.0)


# ---------------------------------------------------------------- coming and going
@pytest.mark.parametrize("seed", range(4))
def test_after_any_coming_and_going_it_is_as_if_made_anew(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if seed == 3:
        # So few sizes and shapes fit that all is forgotten again and again.
        monkeypatch.setattr(live, "_MOST_SIZES", 3)
        monkeypatch.setattr(live, "_MOST_SHAPES", 5)
    rng = np.random.default_rng(seed)
    nodes, pods = a_cluster(seed, count=8), some_pods(seed, 80)
    book, region = two_regions(seed, nodes)
    typical = typical_pods(pods)
    cluster = PricedNodes(nodes, region, typical, book)
    here: dict[str, tuple[PodAsk, int, tuple[int, ...]]] = {}
    for pod in range(len(pods)):
        found = cluster.decide(ask := ask_of(pods, pod), now_s=8000.0)
        if found.node >= 0:
            here[f"b{pod}"] = (ask, found.node, found.gpus)
            cluster.bind(f"b{pod}", ask, found.node, found.gpus)
        if here and rng.random() < 0.4:
            gone = str(rng.choice(sorted(here)))
            here.pop(gone)
            cluster.release(gone)
    assert len(here) > 5
    again = PricedNodes(nodes, region, typical, book)
    for name, (ask, node, gpus) in here.items():
        again.bind(name, ask, node, gpus)
    for pod in range(len(pods)):
        ask = ask_of(pods, pod)
        assert cluster.decide(ask, 8000.0) == again.decide(ask, 8000.0)
        assert cluster.costs_g(ask, 8000.0).tolist() == again.costs_g(ask, 8000.0).tolist()
    for name in here:
        cluster.release(name)
    fresh = PricedNodes(nodes, region, typical, book)
    for pod in range(len(pods)):
        assert cluster.decide(ask_of(pods, pod), 8000.0) == fresh.decide(ask_of(pods, pod), 8000.0)


def test_the_compiled_form_decides_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes, pods = a_cluster(5, count=8), some_pods(5, 40)
    book, region = two_regions(5, nodes)

    def run() -> list[Decision]:
        cluster = PricedNodes(nodes, region, typical_pods(pods), book)
        made: list[Decision] = []
        for pod in range(len(pods)):
            made.append(cluster.decide(ask := ask_of(pods, pod, latest_start_s=12_000.0), 8000.0))
            if made[-1].node >= 0:
                cluster.bind(f"b{pod}", ask, made[-1].node, made[-1].gpus)
        return made

    plain = run()
    monkeypatch.setenv("AICSCHED_KERNELS", "numba")
    for ours, theirs in zip(run(), plain, strict=True):
        assert (ours.node, ours.gpus, ours.start_s) == (theirs.node, theirs.gpus, theirs.start_s)
        assert ours.total_g == pytest.approx(theirs.total_g, rel=1e-12)


def test_the_prices_of_a_plan_are_taken_over() -> None:
    problem = build_problem(crowd(), fleet(24.0, 24.0), CURVES, GRID)
    plan = solve(problem)
    rows = dict(zip(problem.regions, problem.g_per_kwh.tolist(), strict=True))
    book = PriceBook.from_placement(plan, rows)
    assert book.regions == problem.regions
    for row, name in enumerate(book.regions):
        assert book.price_g_per_vcpu_h[row].tolist() == list(plan.prices_g_per_vcpu_h[name])
    assert book.price_g_per_vcpu_h.any()
    with pytest.raises(InputError, match="'r0' of the plan has no carbon intensity"):
        PriceBook.from_placement(plan, {})


# ---------------------------------------------------------------- bad input
@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"cpu_milli": -1}, "cpu_milli of a pod is -1"),
        ({"num_gpu": 1, "gpu_milli": 1001}, "gpu_milli of a pod is 1001"),
        ({"num_gpu": 2, "gpu_milli": 500}, "doesn't go with 2 GPUs"),
        ({"gpu_milli": 500}, "doesn't go with 0 GPUs"),
        ({"duration_h": float("nan")}, "duration_h of a pod is nan"),
        ({"duration_h": 0.0}, "not above 0"),
        ({"latest_start_s": float("nan")}, "latest_start_s of a pod is nan"),
        ({"latest_start_s": float("inf")}, "not a time"),
    ],
)
def test_pods_that_cant_be_are_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        PodAsk(**{"cpu_milli": 1, "memory_mib": 1, **given})


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"g_per_kwh": [[1.0, 2.0]]}, r"g_per_kwh has shape \(1, 2\) for 2 regions and 2 slots"),
        ({"g_per_kwh": [[1.0, 2.0], [3.0, float("nan")]]}, "g_per_kwh of 'b' in slot 1 is nan"),
        ({"price_g_per_vcpu_h": [[1.0, -2.0], [3.0, 1.0]]}, "price_g_per_vcpu_h of 'a' in slot 1 is -2"),
        ({"slots": SlotGrid(0, HOUR_S, 0), "g_per_kwh": np.zeros((2, 0))}, "2 regions and 0 slots"),
    ],
)
def test_books_that_cant_be_are_refused(given: dict[str, Any], words: str) -> None:
    columns = {"slots": SlotGrid(0, HOUR_S, 2), "regions": ("a", "b"), "g_per_kwh": np.ones((2, 2)),
               "price_g_per_vcpu_h": np.ones((2, 2))}  # fmt: skip
    with pytest.raises(InputError, match=words):
        PriceBook(**{**columns, **given})


def test_what_cant_be_done_is_told() -> None:
    nodes = one_kind(2, gpus=2, gpu_model="T4", g_per_kwh=1.0)
    typical = typical_pods(build_pods(["p"], cpu_milli=1, memory_mib=1))
    cluster = alone(nodes, typical)
    ask = PodAsk(cpu_milli=9000, memory_mib=1, num_gpu=1, gpu_milli=600)
    cluster.bind("a", ask, 0, (1,))
    for name, node, gpus, words in (
        ("a", 1, (0,), "'a' runs on 'n0' already"),
        ("b", 2, (0,), "there is no node 2"),
        ("b", 0, (0,), "'n0' has no room for pod 'b'"),
        ("b", 1, (), "no room"),
        ("b", 1, (0, 0), "no room"),
        ("b", 1, (2,), "no room"),
    ):
        with pytest.raises(InputError, match=words):
            cluster.bind(name, ask, node, gpus)
    with pytest.raises(InputError, match="'b' runs on no node"):
        cluster.release("b")
    for wrong in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(ConfigError, match="stranded_w_per_gpu"):
            alone(nodes, typical, stranded_w_per_gpu=wrong)
    book, _ = two_regions(0, nodes)
    with pytest.raises(InputError, match="1 regions for 2 nodes"):
        PricedNodes(nodes, ["east"], typical, book)
    with pytest.raises(InputError, match=r"'north' of a node isn't in the book.*"):
        PricedNodes(nodes, ["east", "north"], typical, book)


def test_company_of_pods_bound_by_others_is_kept() -> None:
    nodes = one_kind(3, labels=[{"zone": "a"}, {"zone": "a"}, {"zone": "b"}])
    cluster = alone(nodes, typical_pods(plain_pods(1)))
    lonely = Requirements(labels=frozenset({"x"}), anti_affinity=(("x", "zone"),))
    cluster.bind("first", PodAsk(cpu_milli=1, memory_mib=1, requirements=lonely), 1)
    other = PodAsk(cpu_milli=1, memory_mib=1, requirements=Requirements(labels=frozenset({"x"})))
    assert cluster.decide(other, 0.0).node == 2
    cluster.release("first")
    assert cluster.decide(other, 0.0).node == 0

"""Pods on nodes, whatever they are: plans are valid, waste no room, stay below the bound, and sizes scale."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from aicsched.place.nodes import POLICIES, Nodes, Pods, build_nodes, build_pods, place_pods
from aicsched.place.nodes.bound import bound_allocation
from aicsched.place.nodes.check import check_nodes
from aicsched.place.nodes.offline import place_offline

MACHINE = st.tuples(
    st.integers(0, 64),
    st.integers(0, 64),
    st.lists(st.integers(0, 10), max_size=4),
    st.sampled_from(["T4", "A10"]),
)
POD = st.tuples(
    st.integers(0, 32), st.integers(0, 32), st.integers(0, 4), st.integers(1, 10), st.integers(-1, 1)
)


def nodes_of(machines: list[tuple[int, int, list[int], str]]) -> Nodes:
    most = max(len(gpus) for _, _, gpus, _ in machines)
    return build_nodes(
        [f"n{at}" for at in range(len(machines))],
        cpu_milli=[1000 * cpu for cpu, _, _, _ in machines],
        memory_mib=[memory for _, memory, _, _ in machines],
        gpus=[len(gpus) for _, _, gpus, _ in machines],
        gpu_model=[model for _, _, _, model in machines],
        gpu_free_milli=[
            [100 * free for free in gpus] + [0] * (most - len(gpus)) for _, _, gpus, _ in machines
        ],
        cpu_busy_w=100.0,
        gpu_busy_w=70.0,
        g_per_kwh=[50.0 + 10 * at for at in range(len(machines))],
    )


def pods_of(rows: list[tuple[int, int, int, int, int]], *, gangs: bool = True) -> Pods:
    return build_pods(
        [f"p{at}" for at in range(len(rows))],
        cpu_milli=[700 * cpu for cpu, _, _, _, _ in rows],
        memory_mib=[memory for _, memory, _, _, _ in rows],
        num_gpu=[number for _, _, number, _, _ in rows],
        gpu_milli=[
            0 if not number else 1000 if number > 1 else 100 * tenths for _, _, number, tenths, _ in rows
        ],
        gang=[gang if gangs else -1 for _, _, _, _, gang in rows],
    )


machines = st.lists(MACHINE, min_size=1, max_size=5)
pod_lists = st.lists(POD, min_size=1, max_size=25)


@given(machines, pod_lists, st.sampled_from(sorted(POLICIES)), st.integers(0, 2**32 - 1))
@settings(max_examples=120, deadline=None)
def test_plans_are_valid_waste_no_room_and_stay_below_the_bound(
    machines: list[tuple[int, int, list[int], str]],
    rows: list[tuple[int, int, int, int, int]],
    policy: str,
    seed: int,
) -> None:
    nodes, pods = nodes_of(machines), pods_of(rows)
    used = nodes.gpu_milli - int(nodes.gpu_free_milli.sum())
    report = check_nodes(nodes, pods, place_pods(nodes, pods, policy, seed=seed))
    limit = bound_allocation(nodes, pods, cpu_step=500).gpu_milli
    assert used + report.gpu_milli <= limit + 1e-6
    known = check_nodes(nodes, pods, place_offline(nodes, pods, cpu_step=500))
    assert used + known.gpu_milli <= limit + 1e-6
    alone = pods_of(rows, gangs=False)
    assert check_nodes(nodes, alone, place_pods(nodes, alone, policy, seed=seed)).could_fit == 0


@given(machines, pod_lists)
@settings(max_examples=60, deadline=None)
def test_no_gpu_is_lost_where_none_is_asked(
    machines: list[tuple[int, int, list[int], str]], rows: list[tuple[int, int, int, int, int]]
) -> None:
    nodes = nodes_of(machines)
    pods = pods_of([(cpu, memory, 0, 1, gang) for cpu, memory, _, _, gang in rows])
    plan = place_pods(nodes, pods)
    assert not plan.gpu_bits.any()
    assert check_nodes(nodes, pods, plan).gpu_milli == 0


@given(machines, pod_lists)
@settings(max_examples=60, deadline=None)
def test_the_unit_of_grams_changes_nothing(
    machines: list[tuple[int, int, list[int], str]], rows: list[tuple[int, int, int, int, int]]
) -> None:
    nodes, pods = nodes_of(machines), pods_of(rows)
    double = build_nodes(
        nodes.node_ids,
        cpu_milli=nodes.cpu_milli,
        memory_mib=nodes.memory_mib,
        gpus=nodes.gpus,
        gpu_model=nodes.gpu_model,
        gpu_free_milli=nodes.gpu_free_milli,
        cpu_busy_w=nodes.cpu_busy_w,
        gpu_busy_w=nodes.gpu_busy_w,
        g_per_kwh=nodes.g_per_kwh * 2,
    )
    assert place_pods(double, pods).node.tolist() == place_pods(nodes, pods).node.tolist()

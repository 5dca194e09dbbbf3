"""The openb trace: its files, FGD's protocol, and what comes out on the real thing."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import numpy as np
import pytest

from aicsched.errors import InputError
from aicsched.place.nodes import build_pods, place_pods, typical_pods
from aicsched.place.nodes.bound import bound_allocation
from aicsched.place.nodes.check import check_nodes
from aicsched.place.nodes.measure import measure
from aicsched.place.nodes.openb import inflate, read_openb_nodes, read_openb_pods
from aicsched.place.nodes.select import select_nodes, select_pods
from aicsched.place.nodes.typical import FGD_POPULARITY

if TYPE_CHECKING:
    from pathlib import Path

NODES = "sn,cpu_milli,memory_mib,gpu,model\na,32000,1000,0,\nb,64000,2000,2,T4\n"
PODS = (
    "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec\n"
    "x,1000,10,1,500,\ny,2000,20,2,1000,T4|V100\nz,3000,30,0,0,\n"
)


def test_files_are_read_plain_and_packed(tmp_path: Path) -> None:
    plain = tmp_path / "nodes.csv"
    plain.write_text(NODES, encoding="utf-8")
    packed = tmp_path / "pods.csv.gz"
    packed.write_bytes(gzip.compress(PODS.encode()))
    nodes, pods = (
        read_openb_nodes(plain, gpu_idle_w=10.0, gpu_busy_w=[0.0 + 10, 70.0]),
        read_openb_pods(packed),
    )
    assert nodes.gpu_model == ("", "T4")
    assert nodes.gpu_free_milli.tolist() == [[0, 0], [1000, 1000]]
    assert pods.asked_gpu_milli.tolist() == [500, 2000, 0]
    assert pods.requirements[pods.requirement[1]].gpu_models == {"T4", "V100"}
    only = select_nodes(nodes, [0])
    assert only.gpu_free_milli.shape == (1, 0)
    assert place_pods(only, pods).node.tolist() == [-1, -1, 0]
    assert select_nodes(nodes, [1, 0]).gpu_busy_w.tolist() == [70.0, 10.0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sn,cpu_milli\na,1\n", "no column memory_mib, gpu, model"),
        ("", "no column sn"),
        (NODES.replace("64000", "many"), "line 3: cpu_milli is 'many'"),
        (NODES.replace("64000", "-1"), "cpu_milli of 'b' is -1"),
        (NODES.replace("64000,2000,2,T4", "64000"), "line 3: memory_mib is 'None'"),
    ],
)
def test_files_that_cant_be_read_are_told(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "nodes.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=words):
        read_openb_nodes(path)


def test_files_that_arent_there_are_told(tmp_path: Path) -> None:
    broken = tmp_path / "broken.csv.gz"
    broken.write_bytes(b"not packed")
    for path in (tmp_path / "none.csv", broken):
        with pytest.raises(InputError, match="can't be read as CSV"):
            read_openb_pods(path)


def test_inflation_fills_up_to_the_ratio_and_no_further() -> None:
    pods = build_pods([f"p{at}" for at in range(20)], cpu_milli=1, memory_mib=1, num_gpu=1, gpu_milli=500)
    made = inflate(pods, 16_000, ratio=1.3, seed=4)
    assert made.asked_gpu_milli.sum() == 20_500
    assert {name.partition("+")[0] for name in made.pod_ids} == set(pods.pod_ids)
    assert made.pod_ids == inflate(pods, 16_000, ratio=1.3, seed=4).pod_ids
    assert made.pod_ids != inflate(pods, 16_000, ratio=1.3, seed=5).pod_ids
    # More is asked at first than the ratio allows: the rest of the shuffle stays out.
    assert inflate(pods, 4000, ratio=1.0).asked_gpu_milli.sum() == 4000
    with pytest.raises(InputError, match="none of the pods asks"):
        inflate(build_pods(["c"], cpu_milli=1, memory_mib=1), 1000)
    assert select_pods(pods, [3, 3, 1]).pod_ids == ("p3", "p3+1", "p1")


# Means over ten seeds, as published with FGD's simulator (GPU allocated at 130 %); one seed strays by some
# tenths. Were ties drawn anew each time, packing and clustering would come out three points lower.
@pytest.mark.parametrize(
    ("workload", "published"),
    [
        (
            "default",
            {
                "random": 87.47, "dot_product": 90.85, "gpu_clustering": 91.88, "gpu_packing": 92.00,
                "best_fit": 93.08, "fgd": 95.39,
            },
        ),
        ("multigpu20", {"gpu_packing": 93.71, "best_fit": 93.93, "fgd": 95.65}),
    ],
)  # fmt: skip
def test_the_published_figures_come_out_and_ours_is_above(
    workload: str, published: dict[str, float], shared_data: Path
) -> None:
    folder = shared_data / "data" / "workloads" / "openb"
    every = read_openb_nodes(folder / "openb_node_list_all_node.csv.gz")
    nodes = select_nodes(every, np.flatnonzero(every.gpus > 0).tolist())
    assert (len(every), len(nodes), nodes.gpu_milli) == (1523, 1213, 6_212_000)
    workload_pods = read_openb_pods(folder / f"openb_pod_list_{workload}.csv.gz")
    pods = inflate(workload_pods, nodes.gpu_milli, seed=42)
    typical, all_typical = typical_pods(workload_pods, FGD_POPULARITY), typical_pods(workload_pods)
    found = {}
    for policy in (*published, "carbon_fgd"):
        known = all_typical if policy == "carbon_fgd" else typical
        plan = place_pods(nodes, pods, policy, typical=known, seed=42)
        made = measure(nodes, pods, plan, typical)
        found[policy] = 100 * made.gpu_allocated
        if policy == "carbon_fgd":
            checked = check_nodes(nodes, pods, plan)
            assert checked.gpu_milli == pytest.approx(made.gpu_allocated * nodes.gpu_milli)
            assert checked.could_fit == 0
    for policy, figure in published.items():
        strays = 0.3 if policy in {"best_fit", "fgd"} else 1.6
        assert found[policy] == pytest.approx(figure, abs=strays), policy
    assert found["carbon_fgd"] > published["fgd"]
    limit = bound_allocation(nodes, pods, cpu_step=500)
    assert found["carbon_fgd"] < 100 * limit.gpu_allocated <= 100.0 + 1e-9

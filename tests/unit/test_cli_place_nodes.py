"""``aicsched place-nodes``: what it reads, prints and refuses."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from aicsched.cli.app import main
from aicsched.errors import InputError
from aicsched.fleet.pod_schemas import MACHINES, PODS
from aicsched.place.nodes import Requirements
from aicsched.place.nodes.files import read_machines, read_pods

if TYPE_CHECKING:
    from pathlib import Path

NODES = """name,vcpus,memory_gib,gpus,gpu_model,labels,taints,idle_w,max_w,gpu_idle_w,gpu_max_w,pue,g_per_kwh
big,96,384,2,T4,zone=north,,60,250,10,70,1.2,40
far,96,384,2,V100,zone=south;disk=ssd,gpu,60,250,30,300,1.2,410
"""
WANTED = """name,vcpus,memory_gib,gpus,gpu_milli,labels,tolerations,spread,anti_affinity,node_labels
web-0,2,4,,,app=web,gpu,app=web@zone:1,,
web-1,2,4,,,app=web,gpu,app=web@zone:1,,
half,4,8,1,500,,,,,
other,4.05,8,1,500,,,,,
train,12,64,2,,,gpu,,,disk=ssd|nvme
huge,200,1,,,,,,,
"""


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    (tmp_path / "nodes.csv").write_text(NODES, encoding="utf-8")
    (tmp_path / "pods.csv").write_text(WANTED, encoding="utf-8")
    return str(tmp_path / "nodes.csv"), str(tmp_path / "pods.csv")


def run(capsys: pytest.CaptureFixture[str], nodes: str, pods: str, *more: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        main(["place-nodes", "--nodes", nodes, "--pods", pods, *more])
    out = capsys.readouterr()
    return int(left.value.code or 0), out.out, out.err


@pytest.mark.parametrize(
    "more",
    [
        (),
        ("--policy", "fgd", "--seed", "3"),
        ("--policy", "offline"),
        ("--improve", "nodes", "--steps", "50"),
    ],
)
def test_json_tells_plan_measures_and_bound(
    more: tuple[str, ...], files: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, *files, "--json", *more)
    assert code == 0
    found: dict[str, Any] = json.loads(out)
    places = {row["pod"]: (row["node"], row["gpus"]) for row in found.pop("assignments")}
    assert {places["web-0"][0], places["web-1"][0]} == {"big", "far"}
    assert places["half"] == places["other"]
    assert places["half"][0] == "big"
    assert places["train"] == ("far", [0, 1])
    assert places["huge"] == (None, [])
    assert found["bound"] == {
        "gpu_allocated": pytest.approx(0.75), "gap_points": pytest.approx(0.0, abs=1e-5), "pods": 6
    }  # fmt: skip
    assert found["gpu_allocated"] == pytest.approx(0.75)
    assert (found["placed"], found["pods"], found["nodes"], found["nodes_in_use"]) == (5, 6, 2, 2)
    assert set(found) == {
        "bound", "g_per_h", "gpu_allocated", "gpu_fragmented", "nodes", "nodes_in_use", "placed", "pods",
        "policy", "power_w",
    }  # fmt: skip
    # 60 W idle, of 190 W the share of CPU, and GPUs: on the clean node 10.05 vCPUs and one GPU of two.
    watts = 60 + 190 * (2 + 8.05) / 96 + 80 + 60 + 190 * 14 / 96 + 600
    assert found["power_w"] == pytest.approx(watts)


def test_people_read_a_table(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, *files)
    assert code == 0
    assert "5 of 6 pods on 2 of 2 nodes by carbon_fgd" in out
    assert "GPU allocated 75.00%" in out
    assert "no plan exceeds 75.00% of GPU and 6 pods" in out
    assert " W, " in out
    code, out, _ = run(capsys, *files, "--no-bound")
    assert "Proven" not in out


def test_openb_lists_and_json_are_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nodes, pods = tmp_path / "n.csv", tmp_path / "p.json"
    nodes.write_text(
        "sn,cpu_milli,memory_mib,gpu,model\na,32000,1000,0,\nb,64000,2000,2,T4\n", encoding="utf-8"
    )
    pods.write_text(
        json.dumps([{"name": f"p{at}", "vcpus": 1, "gpus": 1} for at in range(30)]), encoding="utf-8"
    )
    code, out, _ = run(capsys, str(nodes), str(pods))
    assert code == 0
    assert "2 of 30 pods" in out
    assert "and 10 more" in out
    assert " W, " not in out
    pods = tmp_path / "p.csv"
    pods.write_text("name,cpu_milli,memory_mib,num_gpu,gpu_milli\nx,1000,10,1,500\n", encoding="utf-8")
    code, out, _ = run(capsys, str(nodes), str(pods), "--json")
    assert json.loads(out)["assignments"] == [{"pod": "x", "node": "b", "gpus": [0]}]


def test_the_examples_of_the_schemas_are_true(tmp_path: Path) -> None:
    nodes, pods = tmp_path / "n.csv", tmp_path / "p.csv"
    nodes.write_text(MACHINES.example(), encoding="utf-8")
    pods.write_text(PODS.example(), encoding="utf-8")
    machine, pod = read_machines(nodes), read_pods(pods)
    assert machine.labels == ({"zone": "north", "disk": "ssd"},)
    assert machine.gpu_busy_w.tolist() == [70.0]
    assert pod.requirements == (
        Requirements(
            gpu_models=frozenset({"T4", "V100"}), labels=frozenset({"app=web"}),
            tolerations=frozenset({"gpu"}),
            node_labels=(("disk", frozenset({"ssd", "nvme"})),), affinity=(("app=web", "zone"),),
            anti_affinity=(("app=db", "node"),), spread=(("app=web", "zone", 1),),
        ),
    )  # fmt: skip
    assert (pod.gang.tolist(), pod.gpu_milli.tolist(), pod.memory_mib.tolist()) == ([0], [350], [4096])


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("app=web@zone:1", "app=web@zone", "'app=web@zone' of pod 'web-0' is no spread"),
        ("app=web@zone:1", "zone:1", "'zone' of pod 'web-0' is no rule"),
        ("half,4", "half,four", "'four' is no number"),
        ("other,", "half,", "pod 'half' is there twice"),
        ("1,500", "2,500", "only one GPU can be shared"),
        ("vcpus", "cpus", "unknown column 'cpus'"),
    ],
)
def test_bad_pods_are_refused(old: str, new: str, words: str, files: tuple[str, str], tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(WANTED.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(InputError, match=words):
        read_pods(path)


def test_what_cant_be_done_is_told(
    files: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for more, words in (
        (("--policy", "fdg"), "there is no policy 'fdg' for nodes"),
        (("--improve", "gpu"), "there is no goal 'gpu' for nodes"),
    ):
        code, _, err = run(capsys, *files, *more)
        assert code == 2
        assert words in err
    code, _, err = run(capsys, files[0], str(tmp_path / "none.csv"))
    assert code == 2
    assert "none.csv" in err
    empty = tmp_path / "empty.json"
    empty.write_text("[]", encoding="utf-8")
    code, _, err = run(capsys, str(empty), files[1])
    assert code == 2
    assert "holds no machines" in err

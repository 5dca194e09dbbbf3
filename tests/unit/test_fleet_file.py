"""Fleets from files: what follows from a CPU family, what goes round, what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from aicsched.domain.fleet import BackendKind, Fleet
from aicsched.errors import InputError
from aicsched.fleet.file import fleet_to_json, read_fleet
from aicsched.fleet.sample import sample_fleet
from aicsched.footprint.power import family_power

if TYPE_CHECKING:
    from pathlib import Path

REGION: dict[str, Any] = {"name": "north", "grid_zone": "SE", "capacity_vcpus": 512, "power_w_per_vcpu": 2.1}
NODE: dict[str, Any] = {
    "name": "n1",
    "region": "north",
    "vcpus": 64,
    "memory_gib": 256,
    "cpu_family": "amd-epyc-gen3",
    "embodied_kg": 1300,
}
BACKEND: dict[str, Any] = {"name": "q", "region": "north", "kind": "quantum", "static_w": 9, "active_w": 1}


def document(tmp_path: Path, **parts: Any) -> Path:
    (tmp_path / "f.json").write_text(json.dumps({"regions": [REGION], **parts}))
    return tmp_path / "f.json"


def test_power_of_a_region_follows_from_its_family_only_where_it_is_not_given(tmp_path: Path) -> None:
    family = family_power("amd-epyc-gen3")
    by_family = {k: v for k, v in REGION.items() if k != "power_w_per_vcpu"} | {"cpu_family": "amd-epyc-gen3"}
    both = {**REGION, "name": "south", "cpu_family": "amd-epyc-gen3"}
    fleet = read_fleet(document(tmp_path, regions=[by_family, both]))
    assert fleet.regions[0].power_w_per_vcpu == pytest.approx(family.max_w_per_vcpu - family.idle_w_per_vcpu)
    assert fleet.regions[1].power_w_per_vcpu == 2.1


def test_power_of_a_node_follows_from_its_family_only_where_it_is_not_given(tmp_path: Path) -> None:
    family = family_power("amd-epyc-gen3")
    plain, told = read_fleet(
        document(tmp_path, nodes=[NODE, {**NODE, "name": "n2", "idle_w": 10, "max_w": 20}])
    ).nodes
    assert (plain.idle_w, plain.max_w) == pytest.approx(
        (64 * family.idle_w_per_vcpu, 64 * family.max_w_per_vcpu)
    )
    assert (told.idle_w, told.max_w) == (10, 20)


@pytest.mark.parametrize("name", ["r.csv", "r.parquet"])
def test_regions_alone_may_be_a_table(tmp_path: Path, name: str) -> None:
    rows = [REGION, {**REGION, "name": "south", "capacity_vcpus": 0, "pue": 1.3}]
    if name.endswith("parquet"):
        pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        columns = list(rows[1])
        pq.write_table(
            pa.Table.from_pylist([{c: row.get(c) for c in columns} for row in rows]), tmp_path / name
        )
    else:
        lines = [",".join(rows[1]), *(",".join(str(row.get(c, "")) for c in rows[1]) for row in rows)]
        (tmp_path / name).write_text("\n".join(lines))
    fleet = read_fleet(tmp_path / name)
    assert [(region.name, region.capacity_vcpus, region.pue) for region in fleet.regions] == [
        ("north", 512, 1.0),
        ("south", 0, 1.3),
    ]
    assert (fleet.nodes, fleet.backends, fleet.source) == ((), (), f"file:{name}")


def test_backends_take_numbers_by_name_and_labels_are_text(tmp_path: Path) -> None:
    parts = {
        "nodes": [{**NODE, "labels": {"a": 1}}],
        "backends": [{**BACKEND, "properties": {"qubits": "27"}}],
    }
    fleet = read_fleet(document(tmp_path, **parts, synthetic=True))
    assert (fleet.backends[0].kind, fleet.backends[0].properties) == (BackendKind.QUANTUM, {"qubits": 27.0})
    assert fleet.nodes[0].labels == {"a": "1"}
    assert fleet.synthetic


def test_the_samples_fleet_goes_through_json_unchanged(tmp_path: Path) -> None:
    fleet = sample_fleet()
    (tmp_path / "f.json").write_text(fleet_to_json(fleet))
    back = read_fleet(tmp_path / "f.json")
    assert (back.nodes, back.backends, back.synthetic) == (fleet.nodes, fleet.backends, fleet.synthetic)
    assert repr(back.regions) == repr(fleet.regions)  # by text, since NaN is not equal to itself
    assert fleet_to_json(replace(back, source="")) == fleet_to_json(fleet)


def _with(base: dict[str, Any], **change: Any) -> list[dict[str, Any]]:
    return [{**base, **change}]


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({"regions": []}, "the fleet has no region"),
        ({"regions": [REGION, REGION]}, "region 'north' appears twice"),
        ({"regions": _with(REGION, pue=0.9)}, "row 1: region 'north': a PUE of 0.9 is below 1"),
        ({"regions": _with(REGION, capacity_vcpus=-1)}, "capacity_vcpus is negative"),
        ({"regions": _with(REGION, capacity_vcpus="nan")}, "capacity_vcpus: 'nan' is no number"),
        ({"regions": _with(REGION, power_w_per_vcpu=None)}, "neither power_w_per_vcpu nor cpu_family"),
        ({"regions": _with(REGION, power_w_per_vcpu=None, cpu_family="amd-epyc-gen33")}, "amd-epyc-gen3"),
        (
            {"regions": _with(REGION, capacity=1)},
            "unknown column 'capacity'; did you mean capacity_gpus, capacity_vcpus or",
        ),
        ({"regions": {"north": REGION}}, "'regions' is not a list of objects"),
        ({"regions": ["north"]}, "'regions' is not a list of objects"),
        ({"nodes": _with(NODE, region="nort")}, "'n1' stands in region 'nort', .*; did you mean north"),
        ({"nodes": _with(NODE, cpu_family="amd-epic-gen3")}, "did you mean amd-epyc-gen3"),
        ({"nodes": _with(NODE, vcpus=0)}, "vcpus must be positive"),
        ({"nodes": _with(NODE, idle_w=99, max_w=1)}, "0 <= idle_w <= max_w"),
        ({"nodes": _with(NODE, labels=[1])}, "labels: '.1.' is no map"),
        (
            {"backends": _with(BACKEND, kind="quantom")},
            "'quantom' is no kind of backend; did you mean quantum",
        ),
        ({"backends": _with(BACKEND, static_w=-1)}, "power is negative"),
        ({"backends": _with(BACKEND, properties={"a": None})}, "properties.a: 'None' is no number"),
        ({"backends": _with(BACKEND, properties={"a": float("nan")})}, "properties.a: 'nan' is no number"),
        ({"node": []}, "unknown key 'node'; did you mean nodes"),
        ({"synthetic": "no"}, "synthetic is 'no'; write true or false"),
    ],
)
def test_faults_say_where_and_what_to_do(tmp_path: Path, parts: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told) as caught:
        read_fleet(document(tmp_path, **parts))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"5", b"{", b"\x00\xff", b"[" * 100_000, b'{"regions": null}']
)
def test_documents_that_are_no_fleet_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "f.json").write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_fleet(tmp_path / "f.json")
    assert caught.value.hint


def test_an_absent_fleet_is_told(tmp_path: Path) -> None:
    for name in ("f.json", "f.csv"):
        with pytest.raises(InputError, match=name):
            read_fleet(tmp_path / name)


def test_what_is_unknown_is_left_out_of_the_json() -> None:
    fleet = Fleet(regions=(sample_fleet().regions[0],))
    bare = replace(fleet.regions[0], latitude_deg=float("nan"), failure_group="")
    (row,) = json.loads(fleet_to_json(replace(fleet, regions=(bare,))))["regions"]
    assert "latitude_deg" not in row
    assert "failure_group" not in row
    assert "longitude_deg" in row

"""Fleets on clouds: what is looked up is told, what the user gives counts, nothing is guessed."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest

from aicsched.errors import InputError
from aicsched.fleet.cloud import CloudCatalogue
from aicsched.fleet.cloud_file import read_cloud_regions
from aicsched.fleet.cloud_schemas import CLOUD_REGIONS
from aicsched.fleet.file import fleet_to_json, read_fleet

if TYPE_CHECKING:
    from pathlib import Path

ROW: dict[str, Any] = {"name": "fra", "capacity_vcpus": 64, "power_w_per_vcpu": 2.0}
FRANKFURT = {**ROW, "provider": "aws", "cloud_region": "eu-central-1"}


def _fleet(tmp_path: Path, *rows: dict[str, Any], **more: Any) -> Path:
    path = tmp_path / "fleet.json"
    path.write_text(json.dumps({"regions": rows, **more}))
    return path


def test_a_region_is_filled_from_its_clouds_and_told(tmp_path: Path) -> None:
    fleet = read_fleet(_fleet(tmp_path, FRANKFURT))
    [region] = fleet.regions
    assert (region.grid_zone, region.pue, region.wue_l_per_kwh) == ("DE", 1.24, 0.17)
    assert (round(region.latitude_deg), round(region.longitude_deg)) == (50, 9)
    [note] = fleet.notes
    assert "region 'fra' is aws eu-central-1: grid_zone DE (rtc); pue 1.24 (aws_efficiency 2025)" in note


def test_what_the_row_gives_counts(tmp_path: Path) -> None:
    fleet = read_fleet(_fleet(tmp_path, {**FRANKFURT, "pue": 1.5, "grid_zone": "mine"}))
    assert (fleet.regions[0].pue, fleet.regions[0].grid_zone) == (1.5, "mine")
    assert "pue" not in fleet.notes[0]
    assert "grid_zone" not in fleet.notes[0]


def test_a_csv_may_leave_all_that_to_the_table(tmp_path: Path) -> None:
    path = tmp_path / "fleet.csv"
    path.write_text(
        "name,provider,cloud_region,capacity_vcpus,cpu_family\n"
        "a,gcp,europe-north1,8,amd-epyc-gen3\nb,azure,westus2,8,amd-epyc-gen3\n"
    )
    fleet = read_fleet(path)
    assert [region.grid_zone for region in fleet.regions] == ["FI", "US-NW-GCPD"]
    assert math.isnan(fleet.regions[0].wue_l_per_kwh)  # Google publishes none
    assert "average of its macro-region" in fleet.notes[1]


def test_it_goes_round(tmp_path: Path) -> None:
    fleet = read_fleet(_fleet(tmp_path, {**FRANKFURT, "price_usd_per_vcpu_h": 0.05}))
    (tmp_path / "again.json").write_text(fleet_to_json(fleet))
    again = read_fleet(tmp_path / "again.json")
    assert again.regions == fleet.regions
    assert again.regions[0].price_usd_per_vcpu_h == 0.05
    assert again.notes == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cloud_region": None}, "only one of provider and cloud_region"),
        ({"provider": None}, "only one of provider and cloud_region"),
        ({"provider": "aws", "cloud_region": "eu-zentral-1"}, "aws has no region 'eu-zentral-1'"),
        ({"provider": "awz"}, "no provider 'awz'; did you mean aws"),
        ({"provider": None, "cloud_region": None}, "has no grid_zone"),
        (
            {"cloud_region": "us-east-1-nyc-2a"},
            "doesn't say on which grid .*; fill grid_zone",
        ),
        ({"price_usd_per_vcpu_h": -0.1}, "its price is negative"),
    ],
)
def test_what_cannot_be_looked_up_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    row = {name: value for name, value in (FRANKFURT | change).items() if value is not None}
    with pytest.raises(InputError, match=message):
        read_fleet(_fleet(tmp_path, row))


def test_a_site_without_a_published_pue_says_what_is_assumed(tmp_path: Path) -> None:
    row = {**ROW, "provider": "aws", "cloud_region": "us-east-1-bos-1a"}
    fleet = read_fleet(_fleet(tmp_path, row))
    assert (fleet.regions[0].pue, fleet.regions[0].grid_zone) == (1.0, "US-NE-ISNE")
    assert "pue unknown, 1 assumed" in fleet.notes[0]


OWN = {
    "own.csv": "provider,region,pue,grid_zone\naws,eu-central-1,1.31,\nhouse,cellar,1.9,DE\n",
    "own.toml": '[[cloud_region]]\nprovider = "aws"\nregion = "eu-central-1"\npue = 1.31\n'
    '[[cloud_region]]\nprovider = "house"\nregion = "cellar"\npue = 1.9\ngrid_zone = "DE"\n',
    "own.json": '[{"provider": "aws", "region": "eu-central-1", "pue": 1.31},'
    ' {"provider": "house", "region": "cellar", "pue": 1.9, "grid_zone": "DE"}]',
}


@pytest.mark.parametrize("name", OWN)
def test_own_values_go_over_packaged_ones_and_are_marked(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(OWN[name])
    mine = read_cloud_regions(tmp_path / name)
    here = mine.region("aws", "eu-central-1")
    assert (here.pue, here.pue_scope, here.efficiency_source) == (1.31, "user", f"user:{name}")
    # What the file leaves empty stays as packaged, with its source.
    assert (here.grid_zone, here.zone_source, here.wue_l_per_kwh) == ("DE", "rtc", 0.17)
    cellar = mine.region("house", "cellar")
    assert (cellar.source, cellar.grid_zone, cellar.kind) == (f"user:{name}", "DE", "region")
    assert mine.own == {("aws", "eu-central-1"), ("house", "cellar")}
    assert CloudCatalogue().region("aws", "eu-central-1").pue == 1.24
    row = {**ROW, "provider": "house", "cloud_region": "cellar"}
    fleet = read_fleet(_fleet(tmp_path, row, FRANKFURT | {"name": "b"}, cloud_regions=name))
    assert [region.pue for region in fleet.regions] == [1.9, 1.31]
    assert f"user:{name}" in fleet.notes[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("provider,region,pue\naws,eu-central-1,0.9\n", "row 2|pue is 0.9"),
        ("provider,region,latitude_deg\naws,eu-central-1,50\n", "one coordinate only"),
        ("provider,region,wue_l_per_kwh\naws,eu-central-1,-1\n", "wue_l_per_kwh is -1"),
        ("provider,region,kind\naws,eu-central-1,egde\n", "'egde' is no kind.*edge"),
        ("provider,region,pue\naws,x,1.1\naws,x,1.2\n", "'x' appears twice"),
        ("provider,regoin\naws,x\n", "unknown column 'regoin'"),
        ("provider,region,pue\naws,x,much\n", "row 2: pue: 'much' is no number"),
    ],
)
def test_wrong_values_of_ones_own_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "own.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_cloud_regions(tmp_path / "own.csv")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("own.toml", "[[cloud_regoin]]\n", "unknown table 'cloud_regoin'"),
        ("own.toml", "[[", "can't be read as TOML"),
        ("own.toml", "cloud_region = 3\n", "no list of regions"),
        ("own.json", '{"a": 1}', "no list of regions"),
        ("absent.toml", None, "can't be read as TOML"),
    ],
)
def test_documents_of_another_shape_are_refused(
    tmp_path: Path, name: str, text: str | None, message: str
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        read_cloud_regions(tmp_path / name)


def test_the_fleet_names_its_file_as_text(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cloud_regions is 3"):
        read_fleet(_fleet(tmp_path, FRANKFURT, cloud_regions=3))


def test_the_schemas_example_is_readable(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text(CLOUD_REGIONS.example())
    here = read_cloud_regions(tmp_path / "own.csv").region("aws", "eu-central-1")
    assert here.coordinates_source == "user:own.csv"

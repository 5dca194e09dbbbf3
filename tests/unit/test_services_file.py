"""Files of services: what the schema shows can be read, and what is wrong is named by row."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import pytest

from aicsched.errors import InputError
from aicsched.fleet.sample import sample_fleet
from aicsched.fleet.sample_services import sample_services
from aicsched.fleet.schemas import SERVICES
from aicsched.fleet.services_file import read_services

if TYPE_CHECKING:
    from pathlib import Path


def test_the_example_can_be_read(tmp_path: Path) -> None:
    file = tmp_path / "services.csv"
    file.write_text(SERVICES.example(), encoding="utf-8")
    (shop,) = read_services(file)
    assert shop.service_id == "shop"
    assert shop.allowed_regions == ("north", "central", "isles")
    assert len(shop.hourly_share) == 24
    assert shop.hourly_share[0] == 0.5


def test_json_is_read_and_what_is_missing_has_its_default(tmp_path: Path) -> None:
    row = {"service_id": "a", "vcpus": 3, "home_region": "north", "hourly_share": [0.5] * 24}
    for name, document in (("s.json", {"services": [row]}), ("t.json", [row])):
        (tmp_path / name).write_text(json.dumps(document), encoding="utf-8")
        (service,) = read_services(tmp_path / name)
        assert service.hourly_share == (0.5,) * 24
        assert service.latency_limit_ms == math.inf
        assert math.isnan(service.replication_lag_s)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("service_id,vcpus,home_region\n", "holds no rows"),
        ("service_id,vcpus,home_region\na,1,x\na,1,x\n", "row 3: service 'a' appears twice"),
        ("service_id,vcpus,home_region\na,-1,x\n", "row 2: service 'a': vcpus is -1.0"),
        ("service_id,vcpus,home_region,hourly_share\na,1,x,1;oops\n", "row 2: could not convert"),
        ("service_id,vcpus,home_region,hourly_share\na,1,x,1;2\n", "hourly_share has 2 values"),
        ("service_id,vcpus\na,1\n", "required columns are missing: home_region"),
        ("service_id,vcpu,home_region\na,1,x\n", "unknown column 'vcpu'"),
    ],
)
def test_wrong_files_are_refused(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "services.csv"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=words):
        read_services(file)
    (tmp_path / "none.json").write_text("[]", encoding="utf-8")
    with pytest.raises(InputError, match="holds no services"):
        read_services(tmp_path / "none.json")
    (tmp_path / "one.json").write_text("3", encoding="utf-8")
    with pytest.raises(InputError, match="is no list of services"):
        read_services(tmp_path / "one.json")


def test_the_sample_is_the_same_each_time() -> None:
    fleet = sample_fleet()
    one, other = sample_services(fleet), sample_services(fleet)
    assert repr(one) == repr(other)
    assert len({service.service_id for service in one}) == 96
    assert all(max(service.hourly_share) == 1 for service in one)

"""Policies as data: inheritance, strict keys, presets that say where their numbers come from."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import TYPE_CHECKING

import pytest

from aicsched.data import load_table
from aicsched.errors import ConfigError
from aicsched.score.policy import SECTIONS, preset, preset_names, read_policies
from aicsched.score.request import ScoreWeights

if TYPE_CHECKING:
    from pathlib import Path

FILE = """
inherits = "slo-first"
embodied = "sci"

[rates]
risk_g = 500

[limits]
regions = ["north", "alps"]

[namespaces.web.limits]
max_slo_risk = 0.02

[namespaces.nightly]
inherits = "batch"
limits.max_g_per_kwh = 300.0

[namespaces.batch]
inherits = "carbon-first"
rates = { risk_g = 5.0 }
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "policy.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_each_field_of_the_weights_has_its_place_in_a_file() -> None:
    told = {key for keys in SECTIONS.values() for key in keys} | {"embodied"}
    assert told == {each.name for each in fields(ScoreWeights)}


def test_the_presets_are_what_they_say() -> None:
    assert preset_names() == ("balanced", "carbon-first", "slo-first")
    (row,) = load_table("exchange_rates")
    balanced = preset("balanced").weights
    # A tonne is a million grams.
    assert balanced.g_per_usd == pytest.approx(1e6 / float(row["value"]), abs=0.5)
    assert ScoreWeights(g_per_usd=balanced.g_per_usd) == balanced
    risks = [preset(name).weights.risk_g for name in ("carbon-first", "balanced", "slo-first")]
    assert risks == sorted(risks)
    assert preset("carbon-first").weights.g_per_usd == 0
    assert preset("slo-first").weights.max_slo_risk < 1
    assert set(preset("balanced").origins) == {each.name for each in fields(ScoreWeights)}


def test_namespaces_inherit_from_the_top_a_preset_or_one_another(tmp_path: Path) -> None:
    book = read_policies(write(tmp_path, FILE))
    top = book.policy().weights
    assert (top.risk_g, top.embodied, top.regions, top.max_slo_risk) == (500, "sci", ("north", "alps"), 0.1)
    web = book.policy("web").weights
    assert (web.risk_g, web.regions, web.max_slo_risk) == (500, ("north", "alps"), 0.02)
    nightly = book.policy("nightly").weights
    assert (nightly.risk_g, nightly.embodied, nightly.max_g_per_kwh) == (5, "sunk", 300)
    assert math.isinf(book.policy("batch").weights.max_g_per_kwh)
    assert book.policy("nobody") is book.default
    origins = book.policy("nightly").origins
    assert origins["max_g_per_kwh"] == "file policy.toml, namespace nightly"
    assert origins["risk_g"] == "file policy.toml, namespace batch"
    assert origins["g_per_usd"] == "preset carbon-first"
    assert origins["service_ms"] == "preset balanced"
    weights, places = book.table()
    assert places == {"web": 1, "nightly": 2, "batch": 3}
    assert [weights[place] for place in places.values()] == [
        book.policy(name).weights for name in ("web", "nightly", "batch")
    ]


def test_limits_are_not_lost_by_inheriting_from_a_preset(tmp_path: Path) -> None:
    book = read_policies(write(tmp_path, FILE))
    # The top's regions and risk hold under another preset; what the namespace itself says is looser.
    for name in ("batch", "nightly"):
        assert book.policy(name).weights.regions == ("north", "alps")
        assert book.policy(name).weights.max_slo_risk == 0.1
    assert book.policy("batch").origins["regions"] == "file policy.toml"
    assert book.policy("batch").origins["max_slo_risk"] == "preset slo-first"
    text = "[limits]\nmax_slo_risk = 0.3\nregions = ['a']\n[namespaces.x]\ninherits = 'slo-first'\n"
    assert read_policies(write(tmp_path, text)).policy("x").weights.max_slo_risk == 0.1
    loose = text + "limits = { regions = ['a', 'b'], max_slo_risk = 0.5 }"
    told = read_policies(write(tmp_path, loose)).policy("x")
    assert (told.weights.regions, told.weights.max_slo_risk) == (("a", "b"), 0.5)
    assert told.origins["regions"] == "file policy.toml, namespace x"


def test_the_preset_under_a_file_can_be_chosen(tmp_path: Path) -> None:
    path = write(tmp_path, "[rates]\ng_per_usd = 7.0\n")
    assert read_policies(path).policy().weights.risk_g == 100
    assert read_policies(path, base="carbon-first").policy().weights.risk_g == 20
    assert read_policies(write(tmp_path, FILE), base="carbon-first").policy().weights.risk_g == 500


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[rate]\nrisk_g = 1", "unknown key 'rate'; did you mean rates"),
        ("[rates]\nrisk = 1", r"unknown key 'risk' in \[rates\]; did you mean risk_g"),
        ("[rates]\nmax_slo_risk = 1", r"it stands under \[limits\]"),
        ("[rates]\nembodied = 'sci'", "it stands above the sections"),
        ("risk_g = 1", r"unknown key 'risk_g'; it stands under \[rates\]"),
        ("rates = 5", r"'rates' is 5; write \[rates\]"),
        ("[rates]\nrisk_g = '5'", "risk_g is '5'; give a number"),
        ("[rates]\nrisk_g = true", "risk_g is True"),
        ("[rates]\nrisk_g = nan", "risk_g is nan"),
        ("[rates]\nrisk_g = -1", "file policy.toml: risk_g is -1.0"),
        ("[thresholds]\ncpu_limit_share = 80", r"a share in \(0, 1\], not per cent"),
        ("[limits]\nregions = 'north'", "regions are 'north'"),
        ("embodied = 'sunken'", "give 'sunk' or 'sci'"),
        ("embodied = ['sci']", r"embodied is \['sci'\]"),
        ("inherits = 'balance'", "no preset 'balance'; did you mean balanced"),
        ("inherits = 3", "'inherits' is 3"),
        ("namespaces = 3", "'namespaces' of file policy.toml holds no tables"),
        ("[namespaces.a]\ninherits = 'bb'\n[namespaces.b]", "did you mean b"),
        ("[namespaces.a]\ninherits = 'b'\n[namespaces.b]\ninherits = 'a'", "in a circle: a -> b -> a"),
        ("[namespaces.balanced.rates]\nrisk_g = 1", "which is a preset"),
        ("[namespaces.a.limit]\nmax_slo_risk = 1", "namespace a: unknown key 'limit'; did you mean limits"),
        ("x = ", "is no TOML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read_policies(write(tmp_path, text))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't be read"):
        read_policies(tmp_path / "none.toml")

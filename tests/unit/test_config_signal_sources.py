"""What settings may say of single sources: addresses without secrets, factors of one's own, plug-ins."""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING, Any

import pytest

from aicsched.config.signals import SIGNAL_ENVIRONMENT, read_signals
from aicsched.errors import ConfigError, PluginError
from aicsched.signals.carbon.sample import SampleCarbon
from aicsched.signals.declared import NamedZones, open_declared, open_source
from aicsched.signals.precedence import open_merged
from tests.cli_kit import answer, run

if TYPE_CHECKING:
    from pathlib import Path

KEY = "s3cr3t-and-long"


@pytest.fixture(autouse=True)
def empty_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in (*SIGNAL_ENVIRONMENT, "CONFIG"):
        monkeypatch.delenv(f"AICSCHED_{name}", raising=False)
    return tmp_path


# ---------------------------------------------------------------- addresses
@pytest.mark.parametrize(
    "url",
    [
        f"https://me:{KEY}@api.example.org",
        f"https://{KEY}@api.example.org/v2",
        f"https://api.example.org/v2?api_key={KEY}",
        f"https://api.example.org/v2#{KEY}",
        f"https://[::1?token={KEY}",
    ],
)
@pytest.mark.parametrize("source", ["eia", "uk", "plugins.mine"])
def test_an_address_with_a_secret_is_refused_unquoted(
    capsys: pytest.CaptureFixture[str], empty_folder: Path, url: str, source: str
) -> None:
    (empty_folder / "aicsched.toml").write_text(f'[signals.{source}]\nurl = "{url}"\n')
    code, out, err = run(capsys, "config", "show")
    assert code == 2
    assert "address" in err
    assert KEY not in out + err


def test_a_plain_address_is_kept(capsys: pytest.CaptureFixture[str], empty_folder: Path) -> None:
    (empty_folder / "aicsched.toml").write_text('[signals.uk]\nurl = "http://127.0.0.1:8080/api"\n')
    shown = answer(capsys, "config", "show")
    assert "http://127.0.0.1:8080/api" in str(shown)


# ---------------------------------------------------------------- factors
def test_own_factors_reach_the_source_and_its_id() -> None:
    table = {"order": ["eia"], "eia": {"zones": ["CISO"], "factors_g_per_kwh": {"other": 293}}}
    settings = read_signals(table, {"EIA_KEY": KEY})
    assert settings.facts()["signals.eia.factors_g_per_kwh"] == {"other": 293.0}
    (source,) = open_declared(settings).values()
    assert source.source_id == "eia-930:lifecycle:other=293"
    # Values by other factors are another series.
    table["eia"]["factors_g_per_kwh"]["other"] = 500  # pyright: ignore[reportArgumentType, reportIndexIssue]
    (source,) = open_declared(read_signals(table, {"EIA_KEY": KEY})).values()
    assert source.source_id == "eia-930:lifecycle:other=500"


@pytest.mark.parametrize(
    ("factors", "words"),
    [({"othr": 293}, "did you mean other"), ({"other": -1}, "can't be"), ({"other": "much"}, "valid number")],
)
def test_factors_that_can_not_be_are_refused(factors: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        open_declared(
            read_signals({"order": ["eia"], "eia": {"factors_g_per_kwh": factors}}, {"EIA_KEY": KEY})
        )


# ---------------------------------------------------------------- plug-ins
class Broken:
    def __init__(self, **_options: object) -> None:
        msg = f"no route with {KEY}"
        raise RuntimeError(msg)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two packages that bring carbon sources, as entry points tell it."""
    real = metadata.entry_points

    def with_ours(**asked: str) -> Any:
        if asked.get("group") != "aicsched.carbon_sources":
            return real(**asked)
        return metadata.EntryPoints(
            (
                metadata.EntryPoint("mygrid", f"{SampleCarbon.__module__}:SampleCarbon", asked["group"]),
                metadata.EntryPoint("broken", f"{__name__}:Broken", asked["group"]),
            )
        )

    monkeypatch.setattr(metadata, "entry_points", with_ours)


@pytest.mark.usefixtures("installed")
def test_a_plug_in_stands_in_the_order_like_any_other(
    capsys: pytest.CaptureFixture[str], empty_folder: Path
) -> None:
    text = """
    [signals]
    order = ["mygrid", "sample"]
    [signals.plugins.mygrid]
    zones = { PL = "syn-coal" }
    seed = 7
    """
    (empty_folder / "aicsched.toml").write_text(text)
    shown = answer(capsys, "config", "show")["settings"]
    assert shown["signals.plugins.mygrid.seed"]["value"] == 7
    table = {
        "order": ["mygrid", "sample"],
        "plugins": {"mygrid": {"zones": {"PL": "syn-coal"}, "seed": 7}},
    }
    settings = read_signals(table, {})
    opened = open_declared(settings)
    assert isinstance(opened["mygrid"], NamedZones)
    assert opened["mygrid"].source_id == "sample:v1:7"
    assert open_merged(settings).source_id == "merged:sample:v1:7>sample:v1:20260301"
    fetched = answer(capsys, "signals", "fetch", "--source", "mygrid")["fetched"]
    assert [(row["zone"], row["error"]) for row in fetched] == [("PL", None)]


@pytest.mark.usefixtures("installed")
def test_a_plug_in_that_can_not_be_made_is_told_without_its_text() -> None:
    settings = read_signals({"plugins": {"broken": {"depth": 3}, "absent": {}}}, {})
    with pytest.raises(ConfigError, match=r"can't be made with depth \(RuntimeError\)") as caught:
        open_source("broken", settings.sources["broken"])
    assert KEY not in str(caught.value)
    with pytest.raises(PluginError, match="no plug-in 'absent'"):
        open_source("absent", settings.sources["absent"])


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"order": ["mygrid"]}, r"a plug-in needs \[signals.plugins.mygrid\]"),
        ({"plugins": {"mygrid": {"token": KEY}}}, "give the plug-in token_file"),
        ({"plugins": {"mygrid": {"api_key": KEY}}}, "give the plug-in api_key_file"),
        ({"plugins": {"mygrid": {"base": f"https://me:{KEY}@x.org"}}}, "address"),
        ({"plugins": {"eia": {}}}, r"write \[signals.eia\]"),
        ({"plugins": ["mygrid"]}, "no table"),
    ],
)
def test_plug_ins_in_settings_that_can_not_be_are_refused(table: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        read_signals(table, {})
    assert KEY not in str(caught.value)

"""Settings of live signals: declared, refused by name, and nothing secret in any text."""

from __future__ import annotations

import json
import logging
import tomllib
from pathlib import Path

import pytest

from aicsched.cli import main
from aicsched.config import load_settings, origins
from aicsched.config.signals import SIGNAL_ENVIRONMENT, SOURCES, read_signals
from aicsched.errors import ConfigError
from aicsched.signals.declared import OWN, NamedZones, open_declared, open_source

TOKEN = "s3cr3t-t0ken-value"
ROOT = Path(__file__).resolve().parents[2]
FULL = """
horizon_h = 48
[signals]
store = "known.db"
order = ["electricity-maps", "watttime", "eia", "entsoe", "uk"]
retention_days = 90
[signals.electricity-maps]
scope = "direct"
zones = ["DE", "FR"]
[signals.watttime]
user = "someone"
zones = { CISO = "CAISO_NORTH" }
[signals.eia]
zones = { "US-CAL-CISO" = "CISO" }
"""
SECRETS = {
    "AICSCHED_ELECTRICITY_MAPS_TOKEN": TOKEN,
    "AICSCHED_WATTTIME_PASSWORD": TOKEN,
    "AICSCHED_EIA_KEY": TOKEN,
    "AICSCHED_ENTSOE_TOKEN": TOKEN,
}


@pytest.fixture(autouse=True)
def empty_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in (*SIGNAL_ENVIRONMENT, "CONFIG"):
        monkeypatch.delenv(f"AICSCHED_{name}", raising=False)
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as left:
        main(list(arguments))
    shown = capsys.readouterr()
    return int(left.value.code), shown.out + shown.err


def test_without_anything_there_is_no_source_and_the_next_step_is_told() -> None:
    settings = load_settings().signals
    assert (settings.order, str(settings.store), settings.retention_days) == ((), "signals.db", 400)
    with pytest.raises(ConfigError, match=r"no source of signals is declared; .*--source sample"):
        open_declared(settings)


def test_all_sources_are_declared_in_their_order(empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("entsoe")
    (empty_folder / "aicsched.toml").write_text(FULL)
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert (settings.horizon_h, settings.signals.retention_days) == (48, 90)
    opened = open_declared(settings.signals)
    assert list(opened) == ["electricity-maps", "watttime", "eia", "entsoe", "uk"]
    assert opened["electricity-maps"].source_id == "electricity-maps:direct"
    assert opened["electricity-maps"].zones() == ("DE", "FR")
    assert opened["eia"].zones() == ("US-CAL-CISO",)
    assert isinstance(opened["watttime"], NamedZones)


def test_a_name_that_is_unknown_gets_the_nearest(empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = empty_folder / "aicsched.toml"
    for text, words in (
        ("[signals]\nordr = ['eia']", r"unknown setting 'signals.ordr'.*did you mean order"),
        ("[signals.entso]\nscope = 'direct'", r"unknown setting 'signals.entso'.*did you mean entsoe"),
        ("[signals.eia]\nzone = ['CISO']", r"unknown setting 'signals.eia.zone'.*did you mean zones"),
        ("[signals]\norder = ['eai']", r"the unknown source 'eai'; did you mean eia"),
        ("[signals]\nretention_days = 0", r"'signals.retention_days': input should be greater"),
        ("[signals.eia]\nzones = 3", r"'signals.eia.zones': input should be a valid dict"),
        ("signals = 3", "'signals' in the settings file is no table"),
        ("[signals]\neia = 3", r"'signals.eia' in the settings file is no table"),
    ):
        file.write_text(text)
        with pytest.raises(ConfigError, match=words):
            load_settings()
    file.unlink()
    monkeypatch.setenv("AICSCHED_ENTSO_TOKEN", TOKEN)
    with pytest.raises(ConfigError, match="did you mean entsoe_token") as caught:
        load_settings()
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize("source", [name for name, kind in SOURCES.items() if kind.secrets])
def test_a_secret_in_the_settings_file_is_refused_unquoted(empty_folder: Path, source: str) -> None:
    secret = SOURCES[source].secrets[0]
    (empty_folder / "aicsched.toml").write_text(f"[signals.{source}]\n{secret} = '{TOKEN}'")
    with pytest.raises(ConfigError, match=f"the {secret} of {source} stands in the settings file") as caught:
        load_settings()
    assert TOKEN not in repr(vars(caught.value)) + str(caught.value)
    assert f"AICSCHED_{source}_{secret}".upper().replace("-", "_") in caught.value.hint


@pytest.mark.parametrize("source", ["electricity-maps", "watttime", "eia", "entsoe"])
def test_a_missing_token_names_its_variable_and_the_offline_way(source: str) -> None:
    with pytest.raises(ConfigError, match=rf"{source} needs a .*set AICSCHED_.*_FILE.*--source sample"):
        open_source(source, None)


def test_a_mounted_file_holds_a_token_and_the_environment_wins(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounted, other = empty_folder / "mounted", empty_folder / "other"
    mounted.write_text(f"{TOKEN}\n")
    other.write_text("another\n")
    (empty_folder / "aicsched.toml").write_text(f"[signals.eia]\nkey_file = '{other}'")
    assert load_settings().signals.sources["eia"].secret("key") == "another"
    monkeypatch.setenv("AICSCHED_EIA_KEY_FILE", str(mounted))
    assert load_settings().signals.sources["eia"].secret("key") == TOKEN
    monkeypatch.delenv("AICSCHED_EIA_KEY_FILE")
    monkeypatch.setenv("AICSCHED_EIA_KEY", "direct")
    assert load_settings().signals.sources["eia"].secret("key") == "direct"
    monkeypatch.setenv("AICSCHED_EIA_KEY_FILE", str(mounted))
    with pytest.raises(ConfigError, match="the key of eia is in the environment twice"):
        load_settings()
    monkeypatch.delenv("AICSCHED_EIA_KEY")
    mounted.unlink()
    with pytest.raises(ConfigError, match=r"the file of a key, '.*mounted', can't be read"):
        load_settings().signals.sources["eia"].secret("key")


def test_nothing_secret_is_shown_anywhere(
    empty_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Every command that touches tokens, with a broken upstream, in texts, JSON, logs and the store."""
    text = FULL + "[signals.entsoe]\nurl = 'http://127.0.0.1:9'\nzones = ['DE_LU']\n"
    text = text.replace("[signals.eia]", "[signals.eia]\nurl = 'http://127.0.0.1:9'")
    text = text.replace("[signals.watttime]", "[signals.watttime]\nurl = 'http://127.0.0.1:9'")
    text = text.replace(
        "[signals.electricity-maps]", "[signals.electricity-maps]\nurl = 'http://127.0.0.1:9'"
    )
    (empty_folder / "aicsched.toml").write_text(text.replace('"entsoe", "uk"]', '"entsoe"]'))
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    pytest.importorskip("entsoe")
    settings = load_settings()
    texts = [repr(settings), str(settings), repr(origins()), repr(open_declared(settings.signals))]
    with caplog.at_level(logging.DEBUG):
        runs = (
            ("config", "show"),
            ("config", "show", "--json"),
            ("signals", "fetch"),
            ("signals", "fetch", "--json"),
            ("signals", "fetch", "--debug"),
            ("signals", "status"),
            ("signals", "status", "--json"),
            ("signals", "replay", "--debug"),
        )
        texts += [said(capsys, *arguments)[1] for arguments in runs]
    texts += [caplog.text, (empty_folder / "known.db").read_bytes().decode("latin-1")]
    assert all(TOKEN not in each for each in texts)
    shown = {item.name: (item.value, item.source) for item in origins()}
    assert shown["signals.eia.key"] == ("***", "environment AICSCHED_EIA_KEY")
    assert shown["signals.watttime.user"] == ("someone", "file aicsched.toml")
    assert shown["signals.retention_days"] == (90, "file aicsched.toml")


def test_our_sources_are_those_of_the_entry_points() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    points = project["entry-points"]["aicsched.carbon_sources"]
    assert set(OWN.items()) <= set(points.items())
    assert set(OWN) == set(SOURCES)


def test_settings_of_files_and_the_sample_reach_their_sources(empty_folder: Path) -> None:
    (empty_folder / "DE.csv").write_text("time,ci\n2021-01-01T00:00Z,0.4\n2021-01-01T01:00Z,0.5\n")
    table = {
        "order": ["file", "sample"],
        "file": {"paths": ["DE.csv"], "unit": "kg/kWh", "lag_h": 2, "kind": "marginal"},
        "sample": {"kind": "marginal", "zones": {"PL": "syn-coal"}},
    }
    opened = open_declared(read_signals(table, {}))
    series = opened["file"].read("DE")
    assert series.values_g_per_kwh.tolist() == [400.0, 500.0]
    assert (str(series.kind), series.availability_lag_s) == ("marginal", 7200)
    assert str(opened["sample"].read("PL").kind) == "marginal"
    with pytest.raises(ConfigError, match="there is no signal source 'samle'; did you mean sample"):
        open_source("samle", None)


def test_show_is_one_json_document(capsys: pytest.CaptureFixture[str]) -> None:
    code, text = said(capsys, "config", "show", "--json")
    assert code == 0
    assert json.loads(text)["settings"]["signals.store"] == {"value": "signals.db", "source": "default"}

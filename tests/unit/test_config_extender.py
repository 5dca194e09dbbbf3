"""Settings of the extender: read, refused by name, from the environment, and shown."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from aicsched.cli import main
from aicsched.config import TABLES, Settings, load_settings, origins
from aicsched.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AICSCHED_CONFIG", raising=False)
    return tmp_path


def write(folder: Path, text: str) -> None:
    (folder / "aicsched.toml").write_text(text)


def test_each_table_has_a_field() -> None:
    for name, kind in TABLES.items():
        assert Settings.model_fields[name].annotation is kind


def test_a_table_is_read_and_the_environment_wins(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(
        folder,
        "port = 9000\n[extender]\nrefresh_s = 10\nhard_limits = true\nledger = 'book.db'\n"
        "[extender.grid_zones]\nnorth = 'DE'\n",
    )
    monkeypatch.setenv("AICSCHED_EXTENDER_REFRESH_S", "20")
    monkeypatch.setenv("AICSCHED_EXTENDER_BIND", "true")
    monkeypatch.setenv("AICSCHED_EXTENDER_CONTEXT", "")
    settings = load_settings()
    own = settings.extender
    assert (settings.port, own.refresh_s, own.hard_limits, own.bind, own.context) == (
        9000,
        20.0,
        True,
        True,
        None,
    )
    assert (str(own.ledger), own.grid_zones) == ("book.db", {"north": "DE"})
    said = {each.name: (each.value, each.source) for each in origins()}
    assert said["extender.refresh_s"] == (20.0, "environment AICSCHED_EXTENDER_REFRESH_S")
    assert said["extender.hard_limits"] == (True, "file aicsched.toml")
    assert said["extender.context"] == (None, "default")
    assert said["port"] == (9000, "file aicsched.toml")
    monkeypatch.setenv("AICSCHED_EXTENDER_GRID_ZONES", "north=FR, south = PL")
    assert load_settings().extender.grid_zones == {"north": "FR", "south": "PL"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("extender = 3", r"'extender' in the settings file is no table; write \[extender\]"),
        ("[extender]\nrefersh_s = 3", r"unknown setting 'extender.refersh_s'.*did you mean refresh_s"),
        ("[extender]\nrefresh_s = 0", r"'extender.refresh_s': input should be greater"),
        ("[extender]\nmetrics_port = 70000", r"'extender.metrics_port'"),
        ("[extender]\ntelemetry_step_s = 420", r"'extender.telemetry_step_s': use a length that divides"),
        ("[extender]\nhorizon_h = 200", r"'extender.horizon_h'"),
        ("[extender]\nprometheus = 'prom:9090'", r"'extender.prometheus': it is no address; write"),
        ("[extender]\nprometheus = 'https://a:b@prom'", r"use prometheus_token_file"),
        ("[extender]\ntls_cert_file = 'a.pem'", r"tls_cert_file and tls_key_file go together"),
        ("[extender]\nclient_ca_file = 'a.pem'", r"client_ca_file needs tls_cert_file"),
        ("[extender]\nmax_names_body_mib = 65", r"max_names_body_mib is over max_body_mib"),
        ("[extender]\nmetrics_host = '0.0.0.0'", r"metrics_host needs metrics_port"),
        ("[extender]\nmax_age_s = 20", r"max_age_s is below refresh_s"),
        ("[extender]\ntoken = 'secret'", r"unknown setting 'extender.token'.*token_file"),
        ("[extender.grid_zones]\nnorth = 3", r"'extender.grid_zones.north'"),
    ],
)
def test_what_is_wrong_is_refused_by_name(folder: Path, text: str, message: str) -> None:
    write(folder, text)
    with pytest.raises(ConfigError, match=message):
        load_settings()


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("AICSCHED_EXTENDER_REFERSH_S", "3", r"did you mean AICSCHED_EXTENDER_REFRESH_S"),
        ("AICSCHED_EXTENDER_REFRESH_S", "soon", r"'extender.refresh_s'"),
        ("AICSCHED_EXTENDER_GRID_ZONES", "north", r"write for example north=de,west=fr"),
        ("AICSCHED_EXTENDER", "x", r"unknown setting 'AICSCHED_EXTENDER' in the environment"),
    ],
)
def test_the_environment_is_checked_alike(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, message: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError, match=message):
        load_settings()


def test_what_a_cluster_says_of_its_services_is_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    for service in ("AICSCHED", "AICSCHED_EXTENDER"):
        for name, value in {
            "SERVICE_HOST": "10.0.0.11",
            "SERVICE_PORT": "8888",
            "SERVICE_PORT_HTTPS": "8888",
            "PORT": "tcp://10.0.0.11:8888",
            "PORT_8888_TCP": "tcp://10.0.0.11:8888",
            "PORT_8888_TCP_PROTO": "tcp",
            "PORT_8888_TCP_PORT": "8888",
            "PORT_8888_TCP_ADDR": "10.0.0.11",
        }.items():
            monkeypatch.setenv(f"{service}_{name}", value)
    assert load_settings() == Settings()
    monkeypatch.setenv("AICSCHED_PORT", "9000")
    assert load_settings().port == 9000


def test_all_are_listed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, "[extender]\nprometheus = 'https://prom:9090'\nprometheus_token_file = '/run/token'\n")
    with pytest.raises(SystemExit) as left:
        main(["config", "show", "--json"])
    assert left.value.code == 0
    shown = json.loads(capsys.readouterr().out)["settings"]
    wanted = {f"extender.{name}" for name in TABLES["extender"].model_fields}
    assert wanted <= set(shown)
    assert shown["extender.prometheus_token_file"] == {"value": "/run/token", "source": "file aicsched.toml"}

"""Settings: precedence, origins and refusals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from aicsched.config import load_settings, origins
from aicsched.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def empty_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("AICSCHED_CONFIG", "AICSCHED_HORIZON_H", "AICSCHED_SEED"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_defaults_follow_the_runbook() -> None:
    settings = load_settings()
    assert (settings.cpu_limit_share, settings.latency_limit_ms, settings.target_cut_share) == (
        0.8,
        100.0,
        0.10,
    )


def test_command_line_over_environment_over_file(empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (empty_folder / "aicsched.toml").write_text("horizon_h = 24\nseed = 7\nmodel = 'seasonal'\n")
    monkeypatch.setenv("AICSCHED_HORIZON_H", "48")
    monkeypatch.setenv("AICSCHED_SEED", "8")
    settings = load_settings(horizon_h=72, seed=None)
    assert (settings.horizon_h, settings.seed, settings.model, settings.port) == (72, 8, "seasonal", 8888)
    sources = {origin.name: origin.source for origin in origins(horizon_h=72)}
    assert sources["horizon_h"] == "command line"
    assert sources["seed"] == "environment AICSCHED_SEED"
    assert sources["model"] == "file aicsched.toml"
    assert sources["port"] == "default"


def test_a_named_file_wins_over_the_folder(empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (empty_folder / "aicsched.toml").write_text("seed = 1\n")
    other = empty_folder / "other.toml"
    other.write_text("seed = 2\n")
    assert load_settings(other).seed == 2
    monkeypatch.setenv("AICSCHED_CONFIG", str(other))
    assert load_settings().seed == 2


def test_an_unknown_key_names_the_nearest(empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (empty_folder / "aicsched.toml").write_text("horizont_h = 24\n")
    with pytest.raises(
        ConfigError, match=r"unknown setting 'horizont_h' in the file aicsched.toml; did you mean horizon_h"
    ):
        load_settings()
    (empty_folder / "aicsched.toml").unlink()
    monkeypatch.setenv("AICSCHED_SEEED", "1")
    with pytest.raises(ConfigError, match=r"'AICSCHED_SEEED' in the environment; did you mean seed"):
        load_settings()


@pytest.mark.parametrize(
    "content", ["horizon_h = 0", "horizon_h = 'soon'", "cpu_limit_share = 1.5", "port = 70000"]
)
def test_values_out_of_range_are_refused(empty_folder: Path, content: str) -> None:
    (empty_folder / "aicsched.toml").write_text(content)
    with pytest.raises(ConfigError, match="aicsched config show"):
        load_settings()


def test_files_that_are_no_settings_are_refused(empty_folder: Path) -> None:
    with pytest.raises(ConfigError, match="can't be read"):
        load_settings(empty_folder / "absent.toml")
    bad = empty_folder / "bad.toml"
    bad.write_text("horizon_h 24")
    with pytest.raises(ConfigError, match="no TOML"):
        load_settings(bad)
    bad.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="can't be read"):
        load_settings(bad)


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().seed = 3

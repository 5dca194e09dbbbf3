"""Settings: command line over environment over file over defaults.

One frozen `Settings` is loaded at the edge (the command line, a server) and
passed down; nothing below reads the environment for behaviour. An unknown key
anywhere is an error that names the nearest known one, since a mistyped limit
that is silently ignored is a limit that isn't there.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from aicsched.config.extender import ExtenderSettings
from aicsched.config.gates import GatesSettings
from aicsched.config.signals import SIGNAL_ENVIRONMENT, SignalSettings, read_signals
from aicsched.config.tables import ENV_PREFIX, Table, is_service_link, read_table, variable_of
from aicsched.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ENVIRONMENT_ONLY", "Origin", "Settings", "load_settings", "origins"]

DEFAULT_FILE: Final = "aicsched.toml"
# Read where they are needed before any settings exist; they choose no number in an answer.
ENVIRONMENT_ONLY: Final = frozenset({"CONFIG", "CACHE_DIR", "KERNELS", "SHARED"})
# Tables with nothing of their own in how they are read; add one here and a field of its name below.
TABLES: Final[dict[str, type[Table]]] = {"extender": ExtenderSettings, "gates": GatesSettings}


class Settings(BaseSettings):
    """What a run may be told, with defaults from the operations runbook.

    Parameters
    ----------
    model : str
        Forecaster: ``auto``, ``ridge``, ``seasonal`` or a plug-in's name.
    horizon_h : int
        How far to plan [h], 1 to 504 (21 days).
    gap_share : float
        Stop improving a plan when its proven gap is below this share.
    seed : int
        Seed of everything random.
    cpu_limit_share : float
        Utilisation above which the runbook raises an incident.
    latency_limit_ms : float
        p99 latency above which the runbook raises an incident [ms].
    slo_risk_g : float
        Exchange rate: grams that a certain breach of an objective counts as [g].
    target_cut_share : float
        Yearly cut of emissions aimed at.
    host : str
        Address the extender listens on; plain HTTP is for loopback only.
    port : int
        Port the extender listens on; 0 takes a free one.
    signals : SignalSettings
        Where live signals come from, and where they are kept: the table ``[signals]``.
    extender : ExtenderSettings
        What the scheduler extender serves: the table ``[extender]``.
    gates : GatesSettings
        What deferral in time goes by: the table ``[gates]``.
    """

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, frozen=True, extra="forbid")

    model: str = "auto"
    horizon_h: int = Field(default=96, ge=1, le=504)
    gap_share: float = Field(default=0.002, ge=0, le=1)
    seed: int = Field(default=0, ge=0)
    cpu_limit_share: float = Field(default=0.8, gt=0, le=1)
    latency_limit_ms: float = Field(default=100.0, gt=0)
    slo_risk_g: float = Field(default=100.0, ge=0)
    target_cut_share: float = Field(default=0.10, ge=0, lt=1)
    host: str = "127.0.0.1"
    port: int = Field(default=8888, ge=0, le=65535)
    signals: SignalSettings = Field(default_factory=SignalSettings)
    extender: ExtenderSettings = Field(default_factory=ExtenderSettings)
    gates: GatesSettings = Field(default_factory=GatesSettings)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the base class fixes the signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Leave all layering to `load_settings`, which also remembers where each value came from."""
        del env_settings
        return (init_settings,)


_NESTED: Final = frozenset({"signals", *TABLES})


class Origin(BaseModel):
    """One setting's value and where it came from.

    Parameters
    ----------
    name : str
        The setting.
    value : object
        Its value.
    source : str
        ``"command line"``, ``"environment AICSCHED_…"``, ``"file …"`` or ``"default"``.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    value: Any
    source: str


@dataclass(frozen=True, slots=True)
class _Layer:
    source: str
    values: Mapping[str, Any]


def _file_layer(path: Path | None) -> _Layer | None:
    chosen = path or (Path(os.environ["AICSCHED_CONFIG"]) if os.environ.get("AICSCHED_CONFIG") else None)
    if chosen is None:
        if not Path(DEFAULT_FILE).is_file():
            return None
        chosen = Path(DEFAULT_FILE)
    try:
        text = chosen.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"the settings file '{chosen}' can't be read"
        raise ConfigError(msg, hint="check the path and that it is text", value=str(chosen)) from error
    try:
        return _Layer(f"file {chosen.name}", tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        msg = f"the settings file '{chosen}' is no TOML: {error}"
        raise ConfigError(msg, hint="write for example: horizon_h = 96", value=str(chosen)) from error


def _environment_layer() -> _Layer:
    found = {
        name.removeprefix(ENV_PREFIX): value
        for name, value in os.environ.items()
        if name.startswith(ENV_PREFIX) and not is_service_link(name, value)
    }
    apart = ENVIRONMENT_ONLY | set(SIGNAL_ENVIRONMENT)
    inside = tuple(f"{name}_".upper() for name in TABLES)
    values = {
        name.lower(): value
        for name, value in found.items()
        if name not in apart and not name.startswith(inside)
    }
    return _Layer("environment", values)


def _signals(layers: list[_Layer]) -> SignalSettings:
    """Read what of signals is in the file, and what the environment adds to it."""
    table, _ = _table_of("signals", layers)
    named = {name: os.environ.get(ENV_PREFIX + name) for name in SIGNAL_ENVIRONMENT}
    return read_signals(table, {name: text for name, text in named.items() if text})


def _table_of(name: str, layers: list[_Layer]) -> tuple[Any, str]:
    """Return a table and what it stands in; only a file has tables."""
    return next(((layer.values[name], layer.source) for layer in layers if name in layer.values), ({}, ""))


def _layers(path: Path | None, overrides: Mapping[str, Any]) -> list[_Layer]:
    given = {name: value for name, value in overrides.items() if value is not None}
    layers = [_Layer("command line", given), _environment_layer()]
    from_file = _file_layer(path)
    return [*layers, from_file] if from_file else layers


def _refuse_unknown(layer: _Layer) -> None:
    flat = layer.source == "environment"
    for name in layer.values:
        if name not in Settings.model_fields or (flat and name in _NESTED):
            shown = f"{ENV_PREFIX}{name.upper()}" if layer.source == "environment" else name
            msg = f"unknown setting '{shown}' in the {layer.source}"
            # What was mistyped may be a token's name: its value is never shown.
            near = [name for name in Settings.model_fields if not (flat and name in _NESTED)]
            near += [each.lower() for each in SIGNAL_ENVIRONMENT if flat]
            raise ConfigError(msg, hint=did_you_mean(name, near, count=1), value=name)


def load_settings(path: Path | None = None, **overrides: Any) -> Settings:
    """Load the settings of a run.

    Parameters
    ----------
    path : Path, optional
        A TOML file; by default ``$AICSCHED_CONFIG``, else ``aicsched.toml`` in the
        working directory, else none.
    **overrides : object
        Settings from the command line; None means not given.

    Returns
    -------
    Settings
        Frozen.

    Raises
    ------
    ConfigError
        A key is unknown (with the nearest match), or a value is out of its range.
    """
    merged: dict[str, Any] = {}
    layers = _layers(path, overrides)
    for layer in reversed(layers):
        _refuse_unknown(layer)
        merged.update(layer.values)
    merged["signals"] = _signals(layers)
    for name, kind in TABLES.items():
        merged[name] = read_table(kind, name, _table_of(name, layers)[0], os.environ)
    try:
        return Settings(**merged)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        msg = f"setting '{name}' is {first['input']!r}: {first['msg'].lower()}"
        raise ConfigError(msg, hint="see `aicsched config show`", value=first["input"]) from error


def origins(path: Path | None = None, **overrides: Any) -> tuple[Origin, ...]:
    """Tell each setting's value and where it came from.

    Parameters
    ----------
    path : Path, optional
        As for `load_settings`.
    **overrides : object
        As for `load_settings`.

    Returns
    -------
    tuple of Origin
        In the order of `Settings`.

    Raises
    ------
    ConfigError
        As for `load_settings`.
    """
    settings = load_settings(path, **overrides)
    layers = _layers(path, overrides)

    def source(name: str) -> str:
        for layer in layers:
            if name in layer.values:
                return (
                    f"environment {ENV_PREFIX}{name.upper()}"
                    if layer.source == "environment"
                    else layer.source
                )
        return "default"

    plain = tuple(
        Origin(name=name, value=getattr(settings, name), source=source(name))
        for name in Settings.model_fields
        if name not in _NESTED
    )
    nested = [each for name in TABLES for each in _table_origins(name, getattr(settings, name), layers)]
    return (*plain, *nested, *_signal_origins(settings.signals, layers))


def _table_origins(name: str, read: Table, layers: list[_Layer]) -> tuple[Origin, ...]:
    table, where = _table_of(name, layers)

    def source(key: str) -> str:
        variable = variable_of(name, key)
        if os.environ.get(variable):
            return f"environment {variable}"
        return where if key in table else "default"

    return tuple(
        Origin(name=dotted, value=value, source=source(dotted.removeprefix(f"{name}.")))
        for dotted, value in read.facts(name).items()
    )


def _signal_origins(signals: SignalSettings, layers: list[_Layer]) -> tuple[Origin, ...]:
    said = {f"signals.{source}.{key}": name for name, (source, key) in SIGNAL_ENVIRONMENT.items()}
    table, where = _table_of("signals", layers)

    def source(name: str) -> str:
        variable = said.get(name)
        if variable and os.environ.get(ENV_PREFIX + variable):
            return f"environment {ENV_PREFIX}{variable}"
        return where if name.count(".") > 1 or name.partition(".")[2] in table else "default"

    return tuple(
        Origin(name=name, value=value, source=source(name)) for name, value in signals.facts().items()
    )

"""Settings of live signals: which sources, in which order, for which zones, and where their tokens are.

A token comes from the environment or from a file that one mounts, never from the
settings file itself, which people copy, commit and print. It is held so that
nothing shows it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from aicsched.config.tables import as_table, checked, refuse_unknown
from aicsched.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

__all__ = [
    "SIGNAL_ENVIRONMENT",
    "SOURCES",
    "PluginSettings",
    "SignalSettings",
    "SourceSettings",
    "read_signals",
]

_FILE: Final = "_file"
_PLUGINS: Final = "plugins"
_SECRET_KEY: Final = re.compile(r"(?i)(^|[_-])(token|password|passwd|secret|key|credentials?)$")


def _plain_address(value: str) -> str:
    """Refuse an address that may carry a secret: settings are shown, and addresses logged."""
    try:
        parts = urlsplit(value)
        carries = "@" in parts.netloc or bool(parts.query or parts.fragment)
    except ValueError:
        msg = "it is no address; write for example https://api.example.org"
        raise ValueError(msg) from None
    if carries or "?" in value:
        msg = "an address is shown and logged: give no user, password or query in it, and a token by its file"
        raise ValueError(msg)
    return value


class SourceSettings(BaseModel):
    """What any source may be told.

    Parameters
    ----------
    zones : dict of str to str
        Which zones to ask it for: our name and the source's own. A list means that both are one.
    url : str, optional
        Of its API, in place of the usual one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
    secrets: ClassVar[tuple[str, ...]] = ()

    zones: dict[str, str] = Field(default_factory=dict)
    url: str | None = None

    @field_validator("zones", mode="before")
    @classmethod
    def _named_alike(cls, value: Any) -> Any:  # noqa: ANN401 - whatever TOML holds
        return {str(zone): str(zone) for zone in value} if isinstance(value, list | tuple) else value

    @field_validator("url")
    @classmethod
    def _without_secrets(cls, value: str | None) -> str | None:
        return None if value is None else _plain_address(value)

    def secret(self, name: str) -> str | None:
        """Return a token or password: from the environment, or from its file.

        Parameters
        ----------
        name : str
            One of the source's `secrets`.

        Returns
        -------
        str or None
            Without white space around it; None where none was given. Keep it out of all texts.

        Raises
        ------
        ConfigError
            The file can't be read.
        """
        held: SecretStr | None = getattr(self, name)
        if held is not None:
            return held.get_secret_value().strip()
        path: Path | None = getattr(self, name + _FILE)
        if path is None:
            return None
        try:
            return path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "no text"
            msg = f"the file of a {name}, '{path}', can't be read ({why})"
            raise ConfigError(msg, hint="check the path and its rights", value=str(path)) from None


class _ElectricityMaps(SourceSettings):
    secrets: ClassVar[tuple[str, ...]] = ("token",)
    scope: str = "lifecycle"
    granularity: str = "hourly"
    token: SecretStr | None = None
    token_file: Path | None = None


class _WattTime(SourceSettings):
    secrets: ClassVar[tuple[str, ...]] = ("password",)
    user: str | None = None
    password: SecretStr | None = None
    password_file: Path | None = None


class _Eia(SourceSettings):
    secrets: ClassVar[tuple[str, ...]] = ("key",)
    scope: str = "lifecycle"
    factors_g_per_kwh: dict[str, float] = Field(default_factory=dict)
    key: SecretStr | None = None
    key_file: Path | None = None


class _Entsoe(SourceSettings):
    secrets: ClassVar[tuple[str, ...]] = ("token",)
    scope: str = "lifecycle"
    factors_g_per_kwh: dict[str, float] = Field(default_factory=dict)
    token: SecretStr | None = None
    token_file: Path | None = None


class _Uk(SourceSettings):
    pass


class _Files(SourceSettings):
    paths: tuple[str, ...] = ()
    column: str | None = None
    unit: str | None = None
    kind: str | None = None
    scope: str | None = None
    time_zone: str | None = None
    lag_h: float = Field(default=0.0, ge=0)


class _Sample(SourceSettings):
    kind: str = "average"


class PluginSettings(SourceSettings):
    """What a plug-in of carbon sources is told: its own keywords, beside our names for its zones.

    Parameters
    ----------
    zones : dict of str to str
        As for any source.
    url : str, optional
        Of its API, where it takes one.
    """

    model_config = ConfigDict(frozen=True, extra="allow", hide_input_in_errors=True)

    @model_validator(mode="after")
    def _nothing_secret(self) -> Self:
        for key, value in (self.model_extra or {}).items():
            if _SECRET_KEY.search(key):
                msg = f"'{key}' looks like a secret, and settings are shown: give the plug-in {key}{_FILE}"
                raise ValueError(msg)
            if isinstance(value, str) and "://" in value:
                _plain_address(value)
        return self

    def options(self) -> dict[str, Any]:
        """Return the plug-in's own keywords.

        Returns
        -------
        dict
            What was set, without the names of zones.
        """
        given = dict(self.model_extra or {})
        return given if self.url is None else given | {"url": self.url}


SOURCES: Final[dict[str, type[SourceSettings]]] = {
    "electricity-maps": _ElectricityMaps,
    "watttime": _WattTime,
    "uk": _Uk,
    "eia": _Eia,
    "entsoe": _Entsoe,
    "file": _Files,
    "sample": _Sample,
}


def _environment_names() -> dict[str, tuple[str, str]]:
    names = {"WATTTIME_USER": ("watttime", "user")}
    for source, kind in SOURCES.items():
        for secret in kind.secrets:
            for key in (secret, secret + _FILE):
                names[f"{source}_{key}".upper().replace("-", "_")] = (source, key)
    return names


# What of a source may stand in the environment, behind the prefix AICSCHED_.
SIGNAL_ENVIRONMENT: Final = _environment_names()


class SignalSettings(BaseModel):
    """Where signals come from, and where they are kept.

    Parameters
    ----------
    store : Path
        The file of the last known good values.
    order : tuple of str
        Sources by precedence, the best first; plug-ins by the name of their table below `plugins`.
    retention_days : int
        Older slots are dropped from the store.
    mixed_scopes : bool
        Sources with factors over the life cycle and of burning only may step in for each other.
    sources : dict of str to SourceSettings
        Per source that is declared or has a token.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    store: Path = Path("signals.db")
    order: tuple[str, ...] = ()
    retention_days: int = Field(default=400, ge=1, le=36_500)
    mixed_scopes: bool = False
    sources: dict[str, SourceSettings] = Field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """Return all that was set, by dotted names, without secrets.

        Returns
        -------
        dict
            Plain values; a secret is ``***``.
        """
        made: dict[str, Any] = {
            "signals.store": str(self.store),
            "signals.order": list(self.order),
            "signals.retention_days": self.retention_days,
            "signals.mixed_scopes": self.mixed_scopes,
        }
        for name, source in self.sources.items():
            place = f"{_PLUGINS}.{name}" if isinstance(source, PluginSettings) else name
            for key in source.model_fields_set:
                value = getattr(source, key)
                plain = str(value) if isinstance(value, Path) else value
                shown = "***" if isinstance(value, SecretStr) else plain
                made[f"signals.{place}.{key}"] = list(shown) if isinstance(shown, tuple) else shown
        return made


def read_signals(table: Any, environment: Mapping[str, str]) -> SignalSettings:  # noqa: ANN401 - from TOML
    """Read the table ``[signals]`` and what the environment adds to it.

    Parameters
    ----------
    table : dict
        Of the settings file; empty where there is none.
    environment : mapping of str to str
        Of `SIGNAL_ENVIRONMENT`, those that are set.

    Returns
    -------
    SignalSettings
        Checked.

    Raises
    ------
    ConfigError
        A name is unknown (with the nearest), a value is out of range, a token stands in the file,
        or a token is given twice.

    Examples
    --------
    >>> read = read_signals({"order": ["eia"], "eia": {"zones": ["CISO"]}}, {"EIA_KEY": "secret-value"})
    >>> read.facts()["signals.eia.key"], read.sources["eia"].zones
    ('***', {'CISO': 'CISO'})
    """
    table = as_table("signals", table)
    own = {name: value for name, value in table.items() if name not in SOURCES and name != _PLUGINS}
    known = [name for name in SignalSettings.model_fields if name != "sources"]
    refuse_unknown("signals", own, [*known, *SOURCES, _PLUGINS], known)
    tables = {name: _source_table(name, table[name]) for name in SOURCES if name in table}
    for variable, value in environment.items():
        source, key = SIGNAL_ENVIRONMENT[variable]
        held = tables.setdefault(source, {})
        base = key.removesuffix(_FILE)
        others = {each for each in environment if SIGNAL_ENVIRONMENT[each][0] == source} - {variable}
        if any(SIGNAL_ENVIRONMENT[each][1].removesuffix(_FILE) == base for each in others):
            msg = f"the {base} of {source} is in the environment twice, as a value and as a file"
            raise ConfigError(msg, hint="give one of them", value=source)
        held.pop(base + _FILE, None)  # the environment wins
        held[key] = value
    sources = {name: checked(SOURCES[name], f"signals.{name}", held) for name, held in tables.items()}
    sources |= _plugins(table.get(_PLUGINS, {}))
    settings = checked(SignalSettings, "signals", own | {"sources": sources})
    for name in settings.order:
        if name not in SOURCES and name not in sources:
            msg = f"signals.order names the unknown source '{name}'"
            near = did_you_mean(name, [*SOURCES, *sources], count=1)
            hint = f"{near}; a plug-in needs [signals.{_PLUGINS}.{name}]"
            raise ConfigError(msg, hint=hint, value=name)
    return settings


def _plugins(given: Any) -> dict[str, PluginSettings]:  # noqa: ANN401 - from TOML
    made: dict[str, PluginSettings] = {}
    for name, table in as_table(f"signals.{_PLUGINS}", given).items():
        where = f"signals.{_PLUGINS}.{name}"
        if name in SOURCES:
            msg = f"'{where}' is named like a source of ours"
            raise ConfigError(
                msg, hint=f"write [signals.{name}], or give the plug-in another name", value=name
            )
        made[name] = checked(PluginSettings, where, as_table(where, table))
    return made


def _source_table(name: str, given: Any) -> dict[str, Any]:  # noqa: ANN401 - from TOML
    table = as_table(f"signals.{name}", given)
    kind = SOURCES[name]
    for secret in kind.secrets:
        if secret in table:
            variable = f"AICSCHED_{name}_{secret}".upper().replace("-", "_")
            msg = f"the {secret} of {name} stands in the settings file"
            hint = f"take it out, and set {variable}, or {secret}{_FILE} to a file that holds it"
            raise ConfigError(msg, hint=hint)
    fields = [field for field in kind.model_fields if field not in kind.secrets]
    refuse_unknown(f"signals.{name}", table, fields, fields)
    return table

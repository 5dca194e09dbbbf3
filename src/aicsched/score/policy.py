"""Policies as data: exchange rates, thresholds and hard limits from a file, per namespace.

A policy file is TOML. Its top says what holds for all; each ``[namespaces.NAME]``
says what differs there. What a policy doesn't say it inherits: a namespace from the
top of its file, unless ``inherits`` names a preset or another namespace; the top
from the preset ``balanced``, unless ``inherits`` names another. Hard limits don't go by
inheriting: of the top's and the preset's the stricter holds, and only what a namespace
itself says is looser. An unknown key is an error that names the nearest known one, since
a mistyped limit is a limit that isn't there.
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from aicsched.errors import ConfigError, did_you_mean
from aicsched.score.request import ScoreWeights

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["SECTIONS", "Policy", "PolicyBook", "preset", "preset_names", "read_policies"]

SECTIONS: Final = MappingProxyType(
    {
        "rates": ("risk_g", "g_per_usd"),
        "thresholds": (
            "cpu_limit_share",
            "latency_limit_ms",
            "service_ms",
            "memory_limit_share",
            "stall_limit_share",
        ),
        "limits": ("regions", "max_g_per_kwh", "max_slo_risk"),
    }
)
"""Where each field of `ScoreWeights` stands in a file; ``embodied`` stands at the top."""
_TOP: Final = "embodied"
_PARENT: Final = "balanced"
_SECTION_OF: Final = {key: section for section, keys in SECTIONS.items() for key in keys}


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Exchange rates, thresholds and limits under a name, and where each came from.

    Parameters
    ----------
    name : str
        Of the preset, or of the file and its namespace.
    weights : ScoreWeights
        The values.
    origins : mapping of str to str
        Per field of the weights who said it, e.g. ``"preset balanced"``.
    """

    name: str
    weights: ScoreWeights
    origins: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyBook:
    """The policies of a file.

    Parameters
    ----------
    default : Policy
        Where no namespace is named, or one that the file doesn't.
    namespaces : mapping of str to Policy
        Per namespace that the file names.
    """

    default: Policy
    namespaces: Mapping[str, Policy]

    def policy(self, namespace: str = "") -> Policy:
        """Return the policy of a namespace.

        Parameters
        ----------
        namespace : str
            A Kubernetes namespace, or any other name for a group of work.

        Returns
        -------
        Policy
            The file's own for it, else its default.
        """
        return self.namespaces.get(namespace, self.default)

    def table(self) -> tuple[tuple[ScoreWeights, ...], dict[str, int]]:
        """Return all policies as `ScoreEngine` takes them.

        Returns
        -------
        tuple of tuple of ScoreWeights, dict of str to int
            The default first, and per namespace the index of its policy.
        """
        names = tuple(self.namespaces)
        weights = (self.default.weights, *(self.namespaces[name].weights for name in names))
        return weights, {name: place for place, name in enumerate(names, start=1)}


@cache
def preset_names() -> tuple[str, ...]:
    """List the packaged policies.

    Returns
    -------
    tuple of str
        Sorted.

    Examples
    --------
    >>> preset_names()
    ('balanced', 'carbon-first', 'slo-first')
    """
    folder = resources.files("aicsched.data").joinpath("policies")
    return tuple(sorted(item.name.removesuffix(".toml") for item in folder.iterdir()))


@cache
def preset(name: str) -> Policy:
    """Return a packaged policy.

    Parameters
    ----------
    name : str
        See `preset_names`.

    Returns
    -------
    Policy
        With where each value came from.

    Raises
    ------
    ConfigError
        There is no such preset; the nearest names are given.

    Examples
    --------
    >>> preset("slo-first").weights.risk_g, preset("slo-first").origins["cpu_limit_share"]
    (1000.0, 'preset balanced')
    """
    if name not in preset_names():
        msg = f"there is no preset '{name}'"
        raise ConfigError(msg, hint=did_you_mean(name, preset_names()), value=name)
    text = resources.files("aicsched.data").joinpath("policies", f"{name}.toml").read_text(encoding="utf-8")
    told = tomllib.loads(text)
    where = f"preset {name}"
    parent = told.pop("inherits", None)
    base = Policy(name=where, weights=ScoreWeights(), origins={}) if parent is None else preset(parent)
    return _derived(where, base, _values(told, where))


def read_policies(path: Path, *, base: str = "") -> PolicyBook:
    """Read a policy file.

    Parameters
    ----------
    path : Path
        TOML.
    base : str
        A preset that takes the place of ``balanced`` where the file's top inherits from none.

    Returns
    -------
    PolicyBook
        Checked.

    Raises
    ------
    ConfigError
        The file can't be read, a key, section or name is unknown, a value is out of
        range, or namespaces inherit from one another in a circle.
    """
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        msg = f"the policy file '{path}' can't be read"
        raise ConfigError(msg, hint="check the path and that it is text", value=str(path)) from error
    except tomllib.TOMLDecodeError as error:
        msg = f"the policy file '{path}' is no TOML: {error}"
        raise ConfigError(msg, hint="write for example: rates.risk_g = 50.0", value=str(path)) from error
    where = f"file {path.name}"
    spaces = told.pop("namespaces", {})
    if not (isinstance(spaces, dict) and all(isinstance(each, dict) for each in spaces.values())):  # pyright: ignore[reportUnknownVariableType]
        msg = f"'namespaces' of {where} holds no tables"
        raise ConfigError(msg, hint="write for example: [namespaces.batch.rates]")
    named: dict[str, dict[str, Any]] = dict(spaces)  # pyright: ignore[reportUnknownArgumentType]
    for name in named:
        if name in preset_names():
            msg = f"{where} calls a namespace '{name}', which is a preset"
            raise ConfigError(
                msg, hint="inheriting from it would be ambiguous; name it otherwise", value=name
            )
    default = _derived(where, preset(_inherits(told, where) or base or _PARENT), _values(told, where))
    made: dict[str, Policy] = {}
    for name in named:
        _resolve(name, named, made, default, where, ())
    return PolicyBook(default=default, namespaces=MappingProxyType({name: made[name] for name in named}))


def _resolve(
    name: str,
    named: Mapping[str, dict[str, Any]],
    made: dict[str, Policy],
    default: Policy,
    where: str,
    path: tuple[str, ...],
) -> Policy:
    """Make the policy of a namespace after those that it inherits from."""
    if name in made:
        return made[name]
    if name in path:
        msg = f"{where}: namespaces inherit in a circle: {' -> '.join((*path, name))}"
        raise ConfigError(msg, hint="let one of them inherit from a preset", value=name)
    told = dict(named[name])
    here = f"{where}, namespace {name}"
    parent = _inherits(told, here)
    if not parent:
        base = default
    elif parent in named:
        base = _resolve(parent, named, made, default, where, (*path, name))
    elif parent in preset_names():
        base = _stricter(preset(parent), default)
    else:
        msg = f"{here} inherits from '{parent}', which is no preset and no namespace of the file"
        raise ConfigError(msg, hint=did_you_mean(parent, (*named, *preset_names())), value=parent)
    made[name] = _derived(here, base, _values(told, here))
    return made[name]


def _stricter(chosen: Policy, top: Policy) -> Policy:
    """Return a policy under the hard limits of the file's top, where those are stricter."""
    mine, theirs = chosen.weights, top.weights
    kept: dict[str, Any] = {
        name: getattr(theirs, name)
        for name in ("max_g_per_kwh", "max_slo_risk")
        if getattr(theirs, name) < getattr(mine, name)
    }
    if theirs.regions:
        kept["regions"] = theirs.regions
    origins = {**chosen.origins, **{name: top.origins[name] for name in kept}}
    return replace(chosen, weights=replace(mine, **kept), origins=origins)


def _inherits(told: dict[str, Any], where: str) -> str:
    parent = told.pop("inherits", "")
    if not isinstance(parent, str):
        msg = f"{where}: 'inherits' is {parent!r}"
        raise ConfigError(msg, hint="name a preset or a namespace", value=parent)
    return parent


def _derived(where: str, base: Policy, values: Mapping[str, Any]) -> Policy:
    try:
        weights = replace(base.weights, **values)
    except ConfigError as error:
        msg = f"{where}: {error.message}"
        raise ConfigError(msg, hint=error.hint, value=error.value) from error
    origins = {**base.origins, **dict.fromkeys(values, where)}
    return Policy(name=where, weights=weights, origins=MappingProxyType(origins))


def _values(told: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the fields that a table says, each of its type."""
    found: dict[str, Any] = {}
    for section, content in told.items():
        if section == _TOP:
            if not isinstance(content, str):
                msg = f"{where}: {_TOP} is {content!r}"
                raise ConfigError(msg, hint="write 'sunk' or 'sci'", value=content)
            found[_TOP] = content
            continue
        if section not in SECTIONS:
            hint = did_you_mean(section, (*SECTIONS, _TOP, "inherits"))
            if section in _SECTION_OF:
                hint = f"it stands under [{_SECTION_OF[section]}]"
            msg = f"{where}: unknown key '{section}'"
            raise ConfigError(msg, hint=hint, value=section)
        if not isinstance(content, dict):
            msg = f"{where}: '{section}' is {content!r}"
            raise ConfigError(msg, hint=f"write [{section}] and its keys below", value=content)
        for key, value in content.items():  # pyright: ignore[reportUnknownVariableType]
            found[str(key)] = _value(section, str(key), value, where)  # pyright: ignore[reportUnknownArgumentType]
    return found


def _value(section: str, key: str, value: object, where: str) -> object:
    if key not in SECTIONS[section]:
        hint = did_you_mean(key, SECTIONS[section])
        if key in _SECTION_OF or key == _TOP:
            hint = f"it stands under [{_SECTION_OF[key]}]" if key != _TOP else "it stands above the sections"
        msg = f"{where}: unknown key '{key}' in [{section}]"
        raise ConfigError(msg, hint=hint, value=key)
    if key == "regions":
        if not (isinstance(value, list) and all(isinstance(each, str) for each in value)):  # pyright: ignore[reportUnknownVariableType]
            msg = f"{where}: regions are {value!r}"
            raise ConfigError(msg, hint='write for example: regions = ["north", "alps"]', value=value)
        return tuple(value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        msg = f"{where}: {key} is {value!r}"
        raise ConfigError(msg, hint="give a number", value=value)
    return float(value)

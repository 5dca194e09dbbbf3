"""Tables of a settings file: read into a frozen model each, with the environment over the file.

A table ``[extender]`` is a pydantic model whose fields are its keys; each key may
also stand in the environment, as ``AICSCHED_EXTENDER_<KEY>``. What is secret is
never a key: a table names the file that holds it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from aicsched.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "ENV_PREFIX",
    "Table",
    "as_table",
    "checked",
    "is_service_link",
    "read_table",
    "refuse_unknown",
    "variable_of",
]

ENV_PREFIX: Final = "AICSCHED_"
# Kubernetes tells pods of each service in their namespace so; of one called "aicsched-extender" too.
_LINK_NAME: Final = re.compile(
    r".+_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
_LINK_VALUE: Final = re.compile(r"(tcp|udp|sctp)://\S+:\d+")


class Table(BaseModel):
    """What the model of a table is made from: frozen, with no key but its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    def facts(self, name: str) -> dict[str, Any]:
        """Return all keys by dotted names.

        Parameters
        ----------
        name : str
            Of the table.

        Returns
        -------
        dict
            Plain values.
        """
        values = {key: getattr(self, key) for key in type(self).model_fields}
        return {
            f"{name}.{key}": str(value) if isinstance(value, Path) else value for key, value in values.items()
        }


Model = TypeVar("Model", bound=BaseModel)
OneTable = TypeVar("OneTable", bound=Table)


def variable_of(name: str, key: str) -> str:
    """Return the environment's name of a key.

    Parameters
    ----------
    name, key : str
        Table and key.

    Returns
    -------
    str
        With the prefix.

    Examples
    --------
    >>> variable_of("extender", "refresh_s")
    'AICSCHED_EXTENDER_REFRESH_S'
    """
    return f"{ENV_PREFIX}{name}_{key}".upper()


def is_service_link(variable: str, value: str) -> bool:
    """Tell whether a variable is none of ours but says where a service of the cluster is.

    Parameters
    ----------
    variable, value : str
        Of the environment.

    Returns
    -------
    bool
        True for what the kubelet sets (unless the pod says ``enableServiceLinks: false``).

    References
    ----------
    Kubernetes documentation, "Service", section "Environment variables".

    Examples
    --------
    >>> is_service_link("AICSCHED_PORT", "tcp://10.0.0.11:8888"), is_service_link("AICSCHED_PORT", "8888")
    (True, False)
    """
    linked = variable.endswith("_PORT") and _LINK_VALUE.fullmatch(value)
    return bool(linked or _LINK_NAME.fullmatch(variable))


def as_table(name: str, given: Any) -> dict[str, Any]:  # noqa: ANN401 - from TOML
    """Refuse what stands where a table should.

    Parameters
    ----------
    name : str
        Dotted.
    given : object
        From the file.

    Returns
    -------
    dict
        A copy.

    Raises
    ------
    ConfigError
        It is no table.
    """
    if not isinstance(given, dict):
        msg = f"'{name}' in the settings file is no table"
        raise ConfigError(msg, hint=f"write [{name}] and its keys below", value=type(given).__name__)
    return {str(key): value for key, value in given.items()}  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]


def refuse_unknown(where: str, table: Mapping[str, Any], near: Iterable[str], known: Iterable[str]) -> None:
    """Refuse a key that there isn't.

    Parameters
    ----------
    where : str
        The table's dotted name.
    table : mapping of str to object
        As given.
    near : iterable of str
        What a mistyped key may have meant.
    known : iterable of str
        What is allowed here.

    Raises
    ------
    ConfigError
        With the nearest name.
    """
    for key in table:
        if key not in set(known):
            msg = f"unknown setting '{where}.{key}' in the settings file"
            raise ConfigError(msg, hint=did_you_mean(key, near, count=1), value=key)


def checked(kind: type[Model], where: str, values: Mapping[str, Any]) -> Model:
    """Check values.

    Parameters
    ----------
    kind : type
        A model.
    where : str
        Its dotted name, for messages.
    values : mapping of str to object
        Its fields.

    Returns
    -------
    Model
        Frozen.

    Raises
    ------
    ConfigError
        A value is out of range; it isn't shown, since it may be secret.
    """
    try:
        return kind(**values)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = ".".join((where, *(str(part) for part in first["loc"])))
        msg = f"setting '{name}': {first['msg'].removeprefix('Value error, ').lower()}"
        raise ConfigError(msg, hint="see `aicsched config show`", value=name) from None


def read_table(
    kind: type[OneTable],
    name: str,
    given: Any,  # noqa: ANN401 - from TOML
    environment: Mapping[str, str],
) -> OneTable:
    """Read a table, and what the environment says over it.

    Parameters
    ----------
    kind : type
        Of `Table`.
    name : str
        The table's.
    given : dict
        Of the settings file; empty where there is none.
    environment : mapping of str to str
        All variables; one without a value counts as not set.

    Returns
    -------
    Table
        Of that kind.

    Raises
    ------
    ConfigError
        A key or variable is unknown (with the nearest), or a value is out of range.

    Examples
    --------
    >>> class Door(Table):
    ...     width_m: float = 0.9
    >>> read_table(Door, "door", {"width_m": 1.0}, {"AICSCHED_DOOR_WIDTH_M": "1.2"}).facts("door")
    {'door.width_m': 1.2}
    """
    table = as_table(name, given)
    fields = list(kind.model_fields)
    refuse_unknown(name, table, fields, fields)
    variables = {variable_of(name, key): key for key in fields}
    for variable, text in environment.items():
        if not variable.startswith(variable_of(name, "")) or not text or is_service_link(variable, text):
            continue
        if variable not in variables:
            msg = f"unknown setting '{variable}' in the environment"
            raise ConfigError(msg, hint=did_you_mean(variable, variables, count=1), value=variable)
        table[variables[variable]] = text
    return checked(kind, name, table)

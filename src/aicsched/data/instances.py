"""Which CPU stands behind a cloud's instance type.

Where a provider runs one type on several CPUs, or on one whose servers nobody has
published the power of, the family is unknown, and says why: a power model of another
CPU would be a guess.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from aicsched.data import load_table
from aicsched.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["UNKNOWN_FAMILY", "InstanceCpu", "cpu_family_of", "instance_cpu"]

UNKNOWN_FAMILY: Final = "unknown"
_AZURE: Final = re.compile(r"(?:standard_)?([a-z]+)\d+(?:-\d+)?([a-z]*)((?:_\w+)?)")


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceCpu:
    """The CPU of an instance type.

    Parameters
    ----------
    provider, instance_type : str
        What was asked for.
    cpu : str
        The CPU's name or names, "" when the table doesn't have the type.
    families : tuple of str
        Keys of the table of power by family: one, several where the provider uses
        several, none where no power of it is published.
    threads_per_core : int
        How many vCPUs a core makes, 0 when unknown.
    hw_threads_per_vcpu : int
        How many hardware threads of the power table a vCPU holds: 2 where a vCPU is
        a whole core of a CPU that could run two threads, 0 when unknown.
    source : str
        Id in ``SOURCES.toml``.
    reason : str
        Why the family is unknown; "" where it is known.
    """

    provider: str
    instance_type: str
    cpu: str = ""
    families: tuple[str, ...] = ()
    threads_per_core: int = 0
    hw_threads_per_vcpu: int = 0
    source: str = ""
    reason: str = ""

    @property
    def family(self) -> str:
        """The one CPU family, or ``"unknown"``."""
        return self.families[0] if len(self.families) == 1 else UNKNOWN_FAMILY


@cache
def _table() -> Mapping[str, Mapping[str, dict[str, str]]]:
    made: dict[str, dict[str, dict[str, str]]] = {}
    for row in load_table("instance_families"):
        made.setdefault(row["provider"], {})[row["instance_type"].lower()] = row
    return MappingProxyType(made)


def _keys(provider: str, instance_type: str) -> tuple[str, ...]:
    """Return under which names a type may stand in the table, the most specific first."""
    name = instance_type.strip().lower()
    if provider == "aws":
        return name, name.partition(".")[0]
    if provider == "azure":
        match = _AZURE.fullmatch(name)
        return (f"{match[1]}#{match[2]}{match[3]}",) if match else (name,)
    series = name.partition("-")[0]
    return ("n1" if series == "custom" else series,)


def instance_cpu(instance_type: str, provider: str) -> InstanceCpu:
    """Look up the CPU of an instance type.

    Parameters
    ----------
    instance_type : str
        As the provider spells it: ``"m6a.xlarge"``, ``"n2d-standard-8"``, ``"Standard_D4as_v5"``.
    provider : str
        ``aws``, ``gcp`` or ``azure``.

    Returns
    -------
    InstanceCpu
        With a reason where its family is unknown.

    Raises
    ------
    InputError
        There is no such provider in the table.

    Examples
    --------
    >>> instance_cpu("m7a.4xlarge", "aws").family, instance_cpu("m7a.4xlarge", "aws").hw_threads_per_vcpu
    ('amd-epyc-gen4', 2)
    >>> instance_cpu("m7g.large", "aws").reason
    "no server power of 'AWS Graviton3 Processor' is published"
    """
    table, who = _table(), provider.strip().lower()
    if who not in table:
        msg = f"the table of instance types has no provider '{provider}'"
        raise InputError(msg, hint=did_you_mean(who, table), value=provider)
    row = next((table[who][key] for key in _keys(who, instance_type) if key in table[who]), None)
    if row is None:
        reason = f"the table of instance types has no {who} '{instance_type}'"
        return InstanceCpu(provider=who, instance_type=instance_type, reason=reason)
    families = tuple(item for item in row["cpu_families"].split(";") if item)
    reason = "" if len(families) == 1 else f"{who} runs it on {row['cpu']}"
    if not families:
        reason = f"no server power of '{row['cpu']}' is published"
    return InstanceCpu(
        provider=who,
        instance_type=instance_type,
        cpu=row["cpu"],
        families=families,
        threads_per_core=int(row["threads_per_core"]),
        hw_threads_per_vcpu=int(row["hw_threads_per_vcpu"] or 0),
        source=row["source"],
        reason=reason,
    )


def cpu_family_of(instance_type: str, provider: str) -> str:
    """Return the CPU family of an instance type, or ``"unknown"``.

    Parameters
    ----------
    instance_type, provider : str
        As for `instance_cpu`, which also tells why one is unknown.

    Returns
    -------
    str
        A key of the table of power by family, or `UNKNOWN_FAMILY`.

    Raises
    ------
    InputError
        There is no such provider in the table.

    Examples
    --------
    >>> cpu_family_of("c6a.large", "aws"), cpu_family_of("Standard_D4s_v3", "azure")
    ('amd-epyc-gen3', 'unknown')
    """
    return instance_cpu(instance_type, provider).family

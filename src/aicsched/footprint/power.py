"""From load to watts, by CPU family."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from aicsched.data import load_table
from aicsched.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from aicsched.domain.fleet import Node

__all__ = ["FamilyPower", "families", "family_power", "power_w_per_vcpu"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyPower:
    """Power of one hardware thread of a CPU family, its share of the whole server.

    Parameters
    ----------
    family : str
        For example ``"amd-epyc-gen3"``.
    launched : str
        Year and month in which it could first be bought.
    idle_w_per_vcpu, max_w_per_vcpu : float
        Medians over published servers, idle and at full load [W].
    max_low_w_per_vcpu, max_high_w_per_vcpu : float
        Quartiles at full load [W].
    """

    family: str
    launched: str
    idle_w_per_vcpu: float
    max_w_per_vcpu: float
    max_low_w_per_vcpu: float
    max_high_w_per_vcpu: float


@cache
def families() -> dict[str, FamilyPower]:
    """Return the packaged CPU families.

    Returns
    -------
    dict of str to FamilyPower
        By name.

    Examples
    --------
    >>> families()["amd-epyc-gen5"].max_w_per_vcpu < families()["intel-haswell"].max_w_per_vcpu
    True
    """
    return {
        row["family"]: FamilyPower(
            family=row["family"],
            launched=row["launched"],
            idle_w_per_vcpu=float(row["idle_w_per_vcpu"]),
            max_w_per_vcpu=float(row["max_w_per_vcpu"]),
            max_low_w_per_vcpu=float(row["max_low_w_per_vcpu"]),
            max_high_w_per_vcpu=float(row["max_high_w_per_vcpu"]),
        )
        for row in load_table("cpu_power")
    }


def family_power(family: str) -> FamilyPower:
    """Look up a CPU family.

    Parameters
    ----------
    family : str
        For example ``"amd-epyc-gen3"``.

    Returns
    -------
    FamilyPower
        Medians over SPECpower servers.

    Raises
    ------
    InputError
        The family is not in the table; the nearest names are given.

    Examples
    --------
    >>> family_power("amd-epyc-gen3").idle_w_per_vcpu
    0.4238
    """
    known = families()
    if family not in known:
        msg = f"the power table has no CPU family '{family}'"
        raise InputError(msg, hint=did_you_mean(family, known), value=family)
    return known[family]


def power_w_per_vcpu(node: Node) -> float:
    """Return the extra power of one busy thread over an idle one.

    Parameters
    ----------
    node : Node
        A machine.

    Returns
    -------
    float
        (max − idle) over its threads [W].
    """
    return (node.max_w - node.idle_w) / node.vcpus

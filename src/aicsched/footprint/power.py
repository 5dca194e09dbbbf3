"""From load to watts, by CPU family."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from aicsched.data import load_table
from aicsched.data.instances import UNKNOWN_FAMILY
from aicsched.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

    from aicsched.domain.fleet import Node

__all__ = [
    "FamilyPower",
    "LoadShape",
    "PowerBand",
    "families",
    "family_power",
    "load_shapes",
    "power_band",
    "power_w_per_vcpu",
]


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
    idle_low_w_per_vcpu, idle_high_w_per_vcpu : float
        Quartiles when idle [W].
    max_low_w_per_vcpu, max_high_w_per_vcpu : float
        Quartiles at full load [W].
    servers : int
        How many published servers stand behind these.
    ops_per_w : float
        Median overall ssj_ops per watt: how much work a watt does.
    """

    family: str
    launched: str
    idle_w_per_vcpu: float
    max_w_per_vcpu: float
    idle_low_w_per_vcpu: float
    idle_high_w_per_vcpu: float
    max_low_w_per_vcpu: float
    max_high_w_per_vcpu: float
    servers: int
    ops_per_w: float


@cache
def families() -> Mapping[str, FamilyPower]:
    """Return the packaged CPU families.

    Returns
    -------
    mapping of str to FamilyPower
        By name.

    Examples
    --------
    >>> families()["amd-epyc-gen5"].max_w_per_vcpu < families()["intel-haswell"].max_w_per_vcpu
    True
    """
    watts = (
        "idle_w_per_vcpu",
        "max_w_per_vcpu",
        "idle_low_w_per_vcpu",
        "idle_high_w_per_vcpu",
        "max_low_w_per_vcpu",
        "max_high_w_per_vcpu",
    )
    return MappingProxyType(
        {
            row["family"]: FamilyPower(
                family=row["family"],
                launched=row["launched"],
                servers=int(row["servers"]),
                ops_per_w=float(row["ssj_ops_per_w"]),
                **{name: float(row[name]) for name in watts},
            )
            for row in load_table("cpu_power")
        }
    )


def family_power(family: str) -> FamilyPower:
    """Look up a CPU family.

    Parameters
    ----------
    family : str
        For example ``"amd-epyc-gen3"``; ``"unknown"`` for a machine of which nobody tells.

    Returns
    -------
    FamilyPower
        Medians over SPECpower servers. Of an unknown one, medians over families, as low as the
        lowest quartile of any and as high as the highest.

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
    if family == UNKNOWN_FAMILY:
        return _unknown()
    if family not in known:
        msg = f"the power table has no CPU family '{family}'"
        raise InputError(msg, hint=did_you_mean(family, known), value=family)
    return known[family]


@cache
def _unknown() -> FamilyPower:
    known = families().values()

    def median(name: str) -> float:
        return float(np.median([getattr(power, name) for power in known]))

    return FamilyPower(
        family=UNKNOWN_FAMILY,
        launched=sorted(power.launched for power in known)[len(known) // 2],
        servers=sum(power.servers for power in known),
        ops_per_w=median("ops_per_w"),
        idle_w_per_vcpu=median("idle_w_per_vcpu"),
        max_w_per_vcpu=median("max_w_per_vcpu"),
        idle_low_w_per_vcpu=min(power.idle_low_w_per_vcpu for power in known),
        idle_high_w_per_vcpu=max(power.idle_high_w_per_vcpu for power in known),
        max_low_w_per_vcpu=min(power.max_low_w_per_vcpu for power in known),
        max_high_w_per_vcpu=max(power.max_high_w_per_vcpu for power in known),
    )


def power_w_per_vcpu(node: Node) -> float:
    """Return the extra power of one busy thread over an idle one.

    Parameters
    ----------
    node : Node
        A machine.

    Returns
    -------
    float
        (max - idle) over its threads [W].
    """
    return (node.max_w - node.idle_w) / node.vcpus


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadShape:
    """Where between idle and full load a machine's power stands, over its load: straight pieces.

    Parameters
    ----------
    kinks : tuple of float
        Loads at which a piece begins, rising from 0.
    steps : tuple of float
        By how much the slope changes there: the share is the sum of ``step · max(load - kink, 0)``.
    """

    kinks: tuple[float, ...]
    steps: tuple[float, ...]

    def share_at(self, load: ArrayLike) -> NDArray[np.float64]:
        """Return the share of the way from idle to full power.

        Parameters
        ----------
        load : array_like, any shape
            CPU utilisation, >= 0. Beyond 1 the last piece goes on: work that finds no
            room is done later, at the watts of a full machine.

        Returns
        -------
        ndarray, same shape
            0 when idle, 1 at full load.

        Examples
        --------
        >>> load_shapes()[0].share_at([0.0, 0.5, 1.0]).round(3).tolist()
        [0.0, 0.7, 1.0]
        """
        over = np.asarray(load, dtype=np.float64)
        made = self.steps[0] * over
        for kink, step in zip(self.kinks[1:], self.steps[1:], strict=True):
            made = made + step * np.maximum(over - kink, 0.0)
        return made


@cache
def load_shapes() -> tuple[LoadShape, LoadShape, LoadShape]:
    """Return how power rises with load: as published, and the two ends of its range.

    Returns
    -------
    tuple of LoadShape
        The published curve, a straight line, and a square root between the same points.

    References
    ----------
    Teads, published in the Green Software Foundation's Impact Framework; closer to
    measured servers than a straight line.
    """
    rows = load_table("power_curve")
    load = np.array([float(row["cpu_share"]) for row in rows])

    def shape(column: str) -> LoadShape:
        power = np.array([float(row[column]) for row in rows])
        slopes = np.diff((power - power[0]) / (power[-1] - power[0])) / np.diff(load)
        return LoadShape(kinks=tuple(load[:-1].tolist()), steps=tuple(np.diff(slopes, prepend=0.0).tolist()))

    return shape("value"), shape("low"), shape("high")


class PowerBand(NamedTuple):
    """How far the power of a machine may be off, as multiples of what is known of it.

    Parameters
    ----------
    idle_low, idle_high : float
        Of its idle power.
    range_low, range_high : float
        Of the difference between full load and idle.
    """

    idle_low: float
    idle_high: float
    range_low: float
    range_high: float


def _band_of(power: FamilyPower) -> PowerBand:
    idle_w, max_w = power.idle_w_per_vcpu, power.max_w_per_vcpu
    return PowerBand(
        power.idle_low_w_per_vcpu / idle_w,
        power.idle_high_w_per_vcpu / idle_w,
        # The power under load is nearly all of the range, so that one is off as the other is.
        power.max_low_w_per_vcpu / max_w,
        power.max_high_w_per_vcpu / max_w,
    )


@cache
def power_band(family: str) -> PowerBand:
    """Return how far published servers of a family lie about its median.

    Parameters
    ----------
    family : str
        A CPU family; one that the table doesn't have gets the median of all families' bands,
        and ``"unknown"`` a band as wide as all families together.

    Returns
    -------
    PowerBand
        Quartiles over medians.

    Examples
    --------
    >>> [round(end, 2) for end in power_band("amd-epyc-gen3")]
    [0.95, 1.14, 0.93, 1.11]
    """
    known = families()
    if family in known or family == UNKNOWN_FAMILY:
        return _band_of(family_power(family))
    return PowerBand(*np.median([_band_of(power) for power in known.values()], axis=0).tolist())

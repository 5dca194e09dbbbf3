"""Emissions of making hardware, and how they are written off."""

from __future__ import annotations

import math
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from aicsched.data import load_table
from aicsched.errors import InputError, did_you_mean
from aicsched.units import HOURS_PER_YEAR, SECONDS_PER_HOUR

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["amortised_g", "embodied_spread", "hardware", "server_embodied_kg"]

_GRAMS_PER_KG: Final = 1000.0


@cache
def _constants() -> Mapping[str, tuple[float, float, float]]:
    rows = load_table("hardware")
    return MappingProxyType(
        {row["name"]: (float(row["value"]), float(row["low"]), float(row["high"])) for row in rows}
    )


def hardware(name: str) -> tuple[float, float, float]:
    """Look up a packaged hardware constant.

    Parameters
    ----------
    name : str
        A row of the table ``hardware``.

    Returns
    -------
    tuple of float
        Value, low and high end, in the row's unit.

    Raises
    ------
    InputError
        The table has no such row; the nearest names are given.

    Examples
    --------
    >>> hardware("lifetime_years")
    (4.0, 3.0, 6.0)
    """
    known = _constants()
    if name not in known:
        msg = f"the table 'hardware' has no row '{name}'"
        raise InputError(msg, hint=did_you_mean(name, known), value=name)
    return known[name]


def _require_count(name: str, value: float) -> None:
    if not (math.isfinite(value) and value >= 0):
        msg = f"a server can't have {name} of {value}"
        raise InputError(msg, hint="give 0 or a positive number", value=value)


def server_embodied_kg(
    memory_gib: float,
    *,
    cpus: int = 2,
    ssds: int = 2,
    hdds: int = 0,
    power_supplies: int = 2,
    cpu_die_mm2: float | None = None,
) -> float:
    """Estimate the emissions of making a rack server, part by part.

    Parameters
    ----------
    memory_gib : float
        Its memory [GiB], in modules of 32 GB.
    cpus, ssds, hdds, power_supplies : int
        How many of each.
    cpu_die_mm2 : float, optional
        Die area of one CPU [mm2]; by default a 24-core server part's.

    Returns
    -------
    float
        Sum over its parts [kg]. Published footprints scatter widely about such
        sums: multiply by `embodied_spread` where an interval is needed.

    Raises
    ------
    InputError
        A count is negative or not finite.

    References
    ----------
    Boavizta, bottom-up method for the manufacture of servers (published
    constants; see ``SOURCES.toml``, boavizta_method).

    Examples
    --------
    >>> round(server_embodied_kg(512.0))
    1170
    >>> 678 < server_embodied_kg(256.0) < 1693  # 10 % and 90 % quantile of published servers
    True
    """
    counts = {
        "memory_gib": memory_gib,
        "cpus": cpus,
        "ssds": ssds,
        "hdds": hdds,
        "power_supplies": power_supplies,
    }
    for name, value in counts.items():
        _require_count(name, value)
    value_of = {name: value for name, (value, _, _) in _constants().items()}
    die_mm2 = value_of["cpu_die_mm2"] if cpu_die_mm2 is None else cpu_die_mm2
    _require_count("cpu_die_mm2", die_mm2)
    modules = math.ceil(memory_gib / value_of["ram_module_gb"])
    cpu_kg = value_of["cpu_kg_per_mm2"] * die_mm2 + value_of["cpu_base_kg"]
    ram_kg = value_of["ram_kg_per_mm2"] * memory_gib / value_of["ram_gb_per_mm2"]
    ssd_kg = (
        value_of["ssd_kg_per_mm2"] * value_of["ssd_gb"] / value_of["ssd_gb_per_mm2"] + value_of["ssd_base_kg"]
    )
    return (
        cpus * cpu_kg
        + ram_kg
        + modules * value_of["ram_base_kg"]
        + ssds * ssd_kg
        + hdds * value_of["hdd_kg"]
        + power_supplies * value_of["psu_kg_per_kg"] * value_of["psu_mass_kg"]
        + value_of["board_kg"]
        + value_of["rack_kg"]
        + value_of["assembly_kg"]
    )


def embodied_spread() -> tuple[float, float]:
    """Return how far published server footprints scatter about their median.

    Returns
    -------
    tuple of float
        Low and high end as multiples of an estimate: 10 % and 90 % quantile over the median.

    Examples
    --------
    >>> [round(end, 2) for end in embodied_spread()]
    [0.56, 1.39]
    """
    median_kg, low_kg, high_kg = hardware("embodied_server_kg")
    return low_kg / median_kg, high_kg / median_kg


def amortised_g(
    embodied_kg: float, lifetime_years: float, duration_s: float, resource_share: float = 1.0
) -> float:
    """Return the share of embodied emissions that some use bears.

    Parameters
    ----------
    embodied_kg : float
        Emissions of making the hardware [kg].
    lifetime_years : float
        Its expected life [years], > 0.
    duration_s : float
        How long it is reserved [s].
    resource_share : float
        Which share of it, in [0, 1].

    Returns
    -------
    float
        M = TE · (TiR / EL) · (RR / ToR) [g].

    Raises
    ------
    InputError
        A negative mass or time, no lifetime, or a share outside [0, 1].

    References
    ----------
    Software Carbon Intensity, ISO/IEC 21031:2024, embodied emissions.

    Examples
    --------
    >>> round(amortised_g(1000.0, 4.0, 3600.0), 2)
    28.54
    """
    if not (lifetime_years > 0 and 0 <= resource_share <= 1 and embodied_kg >= 0 and duration_s >= 0):
        given = f"{embodied_kg} kg, {lifetime_years} years, {duration_s} s and a share of {resource_share}"
        msg = f"embodied emissions can't be amortised from {given}"
        raise InputError(msg, hint="give a lifetime above 0, a share in 0..1 and no negative number")
    hours = duration_s / SECONDS_PER_HOUR
    return embodied_kg * _GRAMS_PER_KG * hours / (lifetime_years * HOURS_PER_YEAR) * resource_share

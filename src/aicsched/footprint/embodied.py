"""Emissions of making hardware, and how they are written off."""

from __future__ import annotations

from functools import cache

from aicsched.data import load_table
from aicsched.units import HOURS_PER_YEAR, SECONDS_PER_HOUR

__all__ = ["amortised_g", "hardware", "server_embodied_kg"]

_GRAMS_PER_KG = 1000.0
_INCLUDED_GB = 16.0


@cache
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

    Examples
    --------
    >>> hardware("lifetime_years")
    (4.0, 3.0, 6.0)
    """
    row = {item["name"]: item for item in load_table("hardware")}[name]
    return float(row["value"]), float(row["low"]), float(row["high"])


def server_embodied_kg(memory_gib: float) -> float:
    """Estimate the emissions of making a rack server.

    Parameters
    ----------
    memory_gib : float
        Its memory [GiB].

    Returns
    -------
    float
        Median of published servers, plus memory above 16 GB [kg]. The estimate
        is off by a third either way: print an interval where it matters.

    Examples
    --------
    >>> server_embodied_kg(16.0), round(server_embodied_kg(272.0))
    (1215.0, 1568)
    """
    extra_gb = max(0.0, memory_gib - _INCLUDED_GB)
    return hardware("embodied_server_kg")[0] + extra_gb * hardware("embodied_ram_kg_per_gb")[0]


def amortised_g(embodied_kg: float, lifetime_years: float, duration_s: float, resource_share: float = 1.0) -> float:
    """Return the share of embodied emissions that some use bears.

    Parameters
    ----------
    embodied_kg : float
        Emissions of making the hardware [kg].
    lifetime_years : float
        Its expected life [years].
    duration_s : float
        How long it is reserved [s].
    resource_share : float
        Which share of it, in [0, 1].

    Returns
    -------
    float
        M = TE · (TiR / EL) · (RR / ToR) [g].

    References
    ----------
    Software Carbon Intensity, ISO/IEC 21031:2024, embodied emissions.

    Examples
    --------
    >>> round(amortised_g(1000.0, 4.0, 3600.0), 2)
    28.54
    """
    hours = duration_s / SECONDS_PER_HOUR
    return embodied_kg * _GRAMS_PER_KG * hours / (lifetime_years * HOURS_PER_YEAR) * resource_share

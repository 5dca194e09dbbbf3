"""Emissions of moving data between regions."""

from __future__ import annotations

import math

from aicsched.errors import InputError
from aicsched.footprint.embodied import hardware

__all__ = ["transfer_g", "transfer_g_per_gb"]


def transfer_g_per_gb() -> float:
    """Return the emissions of moving one gigabyte over the internet.

    Returns
    -------
    float
        Energy of transmission at the world's average intensity [g/GB]. Published
        energies differ by a factor of 60: a fleet should give its own where it can.

    References
    ----------
    Aslan et al. 2018, doi:10.1111/jiec.12630.

    Examples
    --------
    >>> 0.4 < transfer_g_per_gb() < 26
    True
    """
    return hardware("transfer_kwh_per_gb")[0] * hardware("transfer_g_per_kwh")[0]


def transfer_g(data_gb: float, *, g_per_kwh: float | None = None, kwh_per_gb: float | None = None) -> float:
    """Return the emissions of moving some data.

    Parameters
    ----------
    data_gb : float
        How much [GB].
    g_per_kwh : float, optional
        Intensity of the network's electricity [g/kWh]; by default the world's average.
    kwh_per_gb : float, optional
        Energy of transmission [kWh/GB]; by default the packaged one.

    Returns
    -------
    float
        Emissions [g].

    Raises
    ------
    InputError
        A number is negative or not finite.

    Examples
    --------
    >>> transfer_g(10.0, g_per_kwh=400.0, kwh_per_gb=0.001)
    4.0
    """
    intensity_g_per_kwh = hardware("transfer_g_per_kwh")[0] if g_per_kwh is None else g_per_kwh
    energy_kwh_per_gb = hardware("transfer_kwh_per_gb")[0] if kwh_per_gb is None else kwh_per_gb
    for name, value in (("data_gb", data_gb), ("g_per_kwh", g_per_kwh), ("kwh_per_gb", kwh_per_gb)):
        if value is not None and not (math.isfinite(value) and value >= 0):
            msg = f"data can't be moved with {name} = {value}"
            raise InputError(msg, hint="give 0 or a positive number", value=value)
    return data_gb * energy_kwh_per_gb * intensity_g_per_kwh

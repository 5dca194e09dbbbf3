"""Emissions of moving data between regions."""

from __future__ import annotations

from aicsched.footprint.embodied import hardware

__all__ = ["transfer_g_per_gb"]


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

"""The Software Carbon Intensity of a piece of work."""

from __future__ import annotations

import math

from aicsched.errors import InputError

__all__ = ["sci_g"]


def sci_g(
    energy_kwh: float, average_intensity_g_per_kwh: float, embodied_g: float, units: float = 1.0
) -> float:
    """Return SCI: emissions per functional unit.

    Parameters
    ----------
    energy_kwh : float
        Energy of the work, PUE included [kWh].
    average_intensity_g_per_kwh : float
        Location-based intensity of its electricity [g/kWh]; the standard allows
        no offsets and no market-based figure.
    embodied_g : float
        Its share of the hardware's making [g], see `amortised_g`.
    units : float
        How many functional units the work did, > 0.

    Returns
    -------
    float
        (E · I + M) / R [g per unit].

    Raises
    ------
    InputError
        A number is negative or not finite, or there is no unit.

    References
    ----------
    Software Carbon Intensity, ISO/IEC 21031:2024.

    Examples
    --------
    >>> sci_g(0.5, 400.0, 30.0, units=10)
    23.0
    """
    numbers = (energy_kwh, average_intensity_g_per_kwh, embodied_g, units)
    if not (all(math.isfinite(number) and number >= 0 for number in numbers) and units > 0):
        msg = f"SCI can't be computed from E, I, M, R = {numbers}"
        raise InputError(msg, hint="give no negative number and a functional unit above 0", value=numbers)
    return (energy_kwh * average_intensity_g_per_kwh + embodied_g) / units

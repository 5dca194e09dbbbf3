"""What switching off, repurposing or replacing a machine saves, in closed form.

Symbols: E_new emissions of making the new machine, a the yearly operational
saving at today's intensity, d the yearly decline of the grid's intensity,
δ = −ln(1 − d). The saving up to year t is a·(1 − e^(−δt))/δ, so a replacement
breaks even after −ln(1 − δ·E_new/a)/δ years, and never where δ·E_new ≥ a: a
grid that cleans itself caps what a replacement can ever save.
"""

from __future__ import annotations

import math
from typing import Final

from aicsched.errors import InputError
from aicsched.units import HOURS_PER_YEAR

__all__ = ["break_even_years", "running_g_per_year", "saved_g"]


def running_g_per_year(power_w: float, pue: float, g_per_kwh: float) -> float:
    """Return what a constant power emits in a year.

    Parameters
    ----------
    power_w : float
        Power [W].
    pue : float
        Power usage effectiveness.
    g_per_kwh : float
        Intensity [g/kWh].

    Returns
    -------
    float
        Emissions [g/year].

    Examples
    --------
    >>> round(running_g_per_year(100.0, 1.0, 400.0))
    350400
    """
    return power_w * pue * HOURS_PER_YEAR / 1000.0 * g_per_kwh


# Below this, numbers lose digits (they are subnormal), and a decline is none at all.
_NO_DECLINE: Final = 1e-300


def saved_g(yearly_g: float, years: float, decline_share: float) -> float:
    """Return what a yearly saving adds up to on a grid that gets cleaner.

    Parameters
    ----------
    yearly_g : float
        Saving in a year at today's intensity [g].
    years : float
        For how long.
    decline_share : float
        Yearly decline of the intensity in [0, 1).

    Returns
    -------
    float
        a·(1 − e^(−δt))/δ, or a·t without a decline [g].

    Raises
    ------
    InputError
        The decline is out of range.

    Examples
    --------
    >>> saved_g(100.0, 4.0, 0.0)
    400.0
    """
    if not 0 <= decline_share < 1:
        msg = f"a yearly decline of {decline_share}"
        raise InputError(msg, hint="give a share in [0, 1)", value=decline_share)
    delta = -math.log1p(-decline_share)
    return yearly_g * years if delta < _NO_DECLINE else yearly_g * -math.expm1(-delta * years) / delta


def break_even_years(embodied_g: float, yearly_g: float, decline_share: float) -> float | None:
    """Return after how many years a new machine has saved what making it emitted.

    Parameters
    ----------
    embodied_g : float
        Emissions of making it [g].
    yearly_g : float
        What it saves in a year at today's intensity [g].
    decline_share : float
        Yearly decline of the intensity in [0, 1).

    Returns
    -------
    float or None
        Years; None means never.

    Raises
    ------
    InputError
        The decline is out of range.

    Examples
    --------
    >>> break_even_years(1_500_000.0, 1_000_000.0, 0.0)
    1.5
    >>> break_even_years(1_500_000.0, 50_000.0, 0.05) is None
    True
    """
    if yearly_g <= 0:
        return None
    saved_g(1.0, 1.0, decline_share)  # refuses an impossible decline
    delta = -math.log1p(-decline_share)
    if delta < _NO_DECLINE:
        return embodied_g / yearly_g
    reach = delta * embodied_g / yearly_g
    return None if reach >= 1 else -math.log1p(-reach) / delta

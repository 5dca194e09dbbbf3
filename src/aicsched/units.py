"""Units: the suffixes that stand in names, and the only place that converts.

Inside the library power is in watts, energy in kilowatt-hours, mass in grams,
time in seconds, intensity in grams of CO2-equivalent per kilowatt-hour. Each
public number's name ends with its unit (`SUFFIXES`). What comes from outside in
another unit is converted here, once, on its way in.
"""

from __future__ import annotations

import math
import re
from types import MappingProxyType
from typing import Final

from aicsched.errors import UnitError, did_you_mean

__all__ = [
    "GRAMS_PER_POUND",
    "HOURS_PER_YEAR",
    "INTENSITY_UNITS",
    "SECONDS_PER_HOUR",
    "SUFFIXES",
    "format_mass",
    "intensity_factor",
    "kwh_from_watts",
    "parse_duration_s",
    "parse_quantity",
]

SECONDS_PER_HOUR: Final = 3600.0
HOURS_PER_YEAR: Final = 8760.0
WATTS_PER_KILOWATT: Final = 1000.0
# International avoirdupois pound, exact since 1959 (NIST SP 811, appendix B.8).
GRAMS_PER_POUND: Final = 453.59237

SUFFIXES: Final = MappingProxyType(
    {
        "_g": "grams of CO2-equivalent",
        "_kg": "kilograms of CO2-equivalent",
        "_w": "watts",
        "_kw": "kilowatts",
        "_kwh": "kilowatt-hours",
        "_j": "joules",
        "_s": "seconds",
        "_ms": "milliseconds",
        "_us": "microseconds",
        "_h": "hours",
        "_days": "days",
        "_years": "years",
        "_g_per_kwh": "grams of CO2-equivalent per kilowatt-hour",
        "_l_per_kwh": "litres of water per kilowatt-hour",
        "_g_per_gb": "grams of CO2-equivalent per gigabyte moved",
        "_gib": "gibibytes",
        "_gb": "gigabytes",
        "_mb": "megabytes",
        "_kb": "kilobytes",
        "_deg": "degrees",
        "_vcpus": "hardware threads",
        "_gpus": "accelerators",
        "_vcpu_h": "hardware-thread hours",
        "_share": "a share in [0, 1]",
        "_risk": "a probability in [0, 1]",
    }
)

INTENSITY_UNITS: Final = MappingProxyType(
    {
        "g/kwh": 1.0,
        "kg/mwh": 1.0,
        "g/mwh": 1e-3,
        "kg/kwh": 1e3,
        "t/mwh": 1e3,
        "t/gwh": 1.0,
        "mg/wh": 1.0,
        "g/mj": 3.6,
        "lb/mwh": GRAMS_PER_POUND / 1e3,
    }
)

_NOTHING_G: Final = 1e-3
_BINARY = MappingProxyType({"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60})
_DECIMAL = MappingProxyType(
    {"n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}
)
_QUANTITY = re.compile(r"^([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)([KMGTPE]i|[numkMGTPE]?)$")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(min|s|m|h|d)\s*")
_DURATION = re.compile(rf"(?:{_DURATION_PART.pattern})+")
_DURATION_S = MappingProxyType({"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0})


def intensity_factor(unit: str) -> float:
    """Return what a carbon intensity in `unit` is multiplied by to be in g/kWh.

    Parameters
    ----------
    unit : str
        For example ``"gCO2eq/kWh"``, ``"kg/MWh"`` or ``"lb/MWh"``; case, spaces
        and a ``CO2``, ``CO2e`` or ``CO2eq`` marker don't matter.

    Returns
    -------
    float
        The factor to g/kWh.

    Raises
    ------
    UnitError
        The unit is not one of `INTENSITY_UNITS`.

    Examples
    --------
    >>> intensity_factor("gCO2eq/kWh"), intensity_factor("kg CO2/MWh")
    (1.0, 1.0)
    >>> round(1000 * intensity_factor("lbs/MWh"), 2)
    453.59
    """
    cleaned = re.sub(r"[\s_()\[\]-]|co2(eq|e)?", "", unit.strip().lower())
    cleaned = re.sub(r"per", "/", cleaned).replace("lbs", "lb").replace("gram/", "g/").replace("grams/", "g/")
    if cleaned not in INTENSITY_UNITS:
        hint = f"use one of {', '.join(INTENSITY_UNITS)} ({did_you_mean(cleaned, INTENSITY_UNITS, count=1)})"
        msg = f"'{unit}' is not a known unit of carbon intensity"
        raise UnitError(msg, hint=hint, value=unit)
    return INTENSITY_UNITS[cleaned]


def kwh_from_watts(power_w: float, duration_s: float) -> float:
    """Return the energy of a constant power.

    Parameters
    ----------
    power_w : float
        Power [W].
    duration_s : float
        How long [s].

    Returns
    -------
    float
        Energy [kWh].

    Examples
    --------
    >>> kwh_from_watts(250.0, 7200.0)
    0.5
    """
    return power_w / WATTS_PER_KILOWATT * duration_s / SECONDS_PER_HOUR


def parse_quantity(text: str) -> float:
    """Parse a Kubernetes resource quantity into its base unit.

    Parameters
    ----------
    text : str
        For example ``"250m"`` (CPUs) or ``"512Mi"`` (bytes).

    Returns
    -------
    float
        CPUs, bytes or a count.

    Raises
    ------
    UnitError
        The text is no quantity, or not finite.

    References
    ----------
    Kubernetes API conventions, "Quantity": decimal suffixes n u m k M G T P E,
    binary suffixes Ki Mi Gi Ti Pi Ei, or a decimal exponent.

    Examples
    --------
    >>> parse_quantity("250m"), parse_quantity("2Gi"), parse_quantity("1e3")
    (0.25, 2147483648.0, 1000.0)
    """
    match = _QUANTITY.match(text.strip())
    if match is None:
        msg = f"'{text}' is not a Kubernetes quantity"
        raise UnitError(msg, hint="write for example 500m, 2, 512Mi or 1G", value=text)
    number, suffix = match.groups()
    value = float(number) * (_BINARY[suffix] if suffix in _BINARY else _DECIMAL[suffix])
    if not math.isfinite(value):
        msg = f"'{text}' is too large a quantity"
        raise UnitError(msg, hint="write a finite number", value=text)
    return value


def parse_duration_s(text: str) -> float:
    """Parse a duration such as ``90m``, ``6h``, ``2d`` or ``2h30m``.

    Parameters
    ----------
    text : str
        A number and one of s, m (or min), h, d; or several, which are added up.

    Returns
    -------
    float
        Seconds.

    Raises
    ------
    UnitError
        The text is no duration.

    Examples
    --------
    >>> parse_duration_s("90m"), parse_duration_s("2d"), parse_duration_s("2h30m")
    (5400.0, 172800.0, 9000.0)
    """
    plain = text.strip().lower()
    if _DURATION.fullmatch(plain) is None:
        msg = f"'{text}' is not a duration"
        raise UnitError(msg, hint="write a number and a unit, for example 90m, 6h or 2d", value=text)
    return math.fsum(float(number) * _DURATION_S[unit] for number, unit in _DURATION_PART.findall(plain))


def format_mass(mass_g: float) -> str:
    """Write a mass of CO2-equivalent for people, in g, kg or t.

    Parameters
    ----------
    mass_g : float
        Mass [g].

    Returns
    -------
    str
        Three significant digits and the unit; below a milligram it is nothing, and what is not
        finite is unknown.

    Examples
    --------
    >>> format_mass(12.345), format_mass(-45_678.0), format_mass(3.2e6)
    ('12.3 g', '-45.7 kg', '3.2 t')
    >>> format_mass(1e-9)
    '0 g'
    """
    if not math.isfinite(mass_g):
        return "unknown"
    if abs(mass_g) < _NOTHING_G:
        return "0 g"
    # 999.5 g is 1 kg to three digits.
    scales = ((999.5, 1.0, "g"), (999.5e3, 1e3, "kg"), (math.inf, 1e6, "t"))
    divisor, unit = next((divisor, unit) for limit, divisor, unit in scales if abs(mass_g) < limit)
    return f"{mass_g / divisor:,.3g} {unit}"

"""Numbers, times and names as people read them."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["clock", "column_digits", "mass", "mass_unit", "number", "percent", "policy_name", "short"]

MINUS: Final = "\u2212"
THIN: Final = "\u202f"
NOT_KNOWN: Final = "\u2013"  # an en dash stands for nothing in a table

_POLICIES: Final = MappingProxyType(
    {
        "no_wait": "no-wait (at once, at home)",
        "lowest_slot": "lowest-slot",
        "lowest_window": "lowest-window",
        "lowest_window_anywhere": "lowest-window, any region",
        "optimal": "plan",
    }
)
_UNITS: Final = (("t", 1e6), ("kg", 1e3), ("g", 1.0))


def policy_name(policy: str) -> str:
    """Return a policy's name for people.

    Parameters
    ----------
    policy : str
        Its name in the library.

    Returns
    -------
    str
        For example ``"lowest-window"``.

    Examples
    --------
    >>> policy_name("lowest_slot"), policy_name("my_own")
    ('lowest-slot', 'my own')
    """
    return _POLICIES.get(policy, policy.replace("_", " "))


def mass_unit(largest_g: float) -> tuple[str, float]:
    """Return the unit in which numbers up to a mass are short.

    Parameters
    ----------
    largest_g : float
        The largest of them [g].

    Returns
    -------
    tuple of str, float
        Unit, and by what grams are divided to be in it.

    Examples
    --------
    >>> mass_unit(45_000.0), mass_unit(3e7), mass_unit(12.0)
    (('kg', 1000.0), ('t', 1000000.0), ('g', 1.0))
    """
    for unit, divisor in _UNITS:
        if abs(largest_g) >= divisor * (10 if unit == "t" else 1):
            return unit, divisor
    return "g", 1.0


def column_digits(values: Iterable[float]) -> int:
    """Return how many decimals a column of numbers needs to show three digits of its larger ones.

    Parameters
    ----------
    values : iterable of float
        The column.

    Returns
    -------
    int
        0 to 3.

    Examples
    --------
    >>> column_digits([512.0, 3.0]), column_digits([51.2]), column_digits([0.2]), column_digits([])
    (0, 1, 3, 0)
    """
    top = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    return 0 if top == 0 else min(3, max(0, 2 - math.floor(math.log10(top))))


def number(value: float | None, digits: int = 1) -> str:
    """Write a number with thousands apart and a real minus sign.

    Parameters
    ----------
    value : float, optional
        The number.
    digits : int
        Decimals.

    Returns
    -------
    str
        A dash when there is no number.

    Examples
    --------
    >>> number(1234.5), number(None) == NOT_KNOWN, number(float("nan")) == NOT_KNOWN
    ('1,234.5', True, True)
    >>> number(-0.04) == number(0.0)
    True
    """
    if value is None or not math.isfinite(value):
        return NOT_KNOWN
    text = f"{value:,.{digits}f}"
    if float(text.replace(",", "")) == 0:
        text = text.lstrip("-")
    return text.replace("-", MINUS)


def percent(share: float | None, digits: int = 1) -> str:
    """Write a share as a percentage.

    Parameters
    ----------
    share : float, optional
        1 is all.
    digits : int
        Decimals.

    Returns
    -------
    str
        A dash when there is no number.

    Examples
    --------
    >>> percent(0.1234).replace(THIN, " "), percent(None) == NOT_KNOWN
    ('12.3 %', True)
    """
    text = number(None if share is None else share * 100, digits)
    return text if text == NOT_KNOWN else f"{text}{THIN}%"


def mass(value_g: float | None) -> str:
    """Write a mass of CO2-equivalent with three digits and its unit.

    Parameters
    ----------
    value_g : float, optional
        Mass [g].

    Returns
    -------
    str
        A dash when there is no number.

    Examples
    --------
    >>> mass(45_678.0).replace(THIN, " "), mass(999.7).replace(THIN, " "), mass(0.0).replace(THIN, " ")
    ('45.7 kg', '1,000 g', '0 g')
    """
    if value_g is None or not math.isfinite(value_g):
        return NOT_KNOWN
    unit, divisor = mass_unit(value_g)
    shown = value_g / divisor
    return f"{number(shown, column_digits([shown]))}{THIN}{unit}"


def short(name: str, most: int = 18) -> str:
    """Shorten a name that would run out of its place in a picture.

    Parameters
    ----------
    name : str
        Any text.
    most : int
        Letters there is room for.

    Returns
    -------
    str
        The middle gives way, as names differ at their ends.

    Examples
    --------
    >>> short("eu-north-1"), short("a-very-long-region-name-1")
    ('eu-north-1', 'a-very-lo…n-name-1')
    """
    if len(name) <= most:
        return name
    tail = (most - 1) // 2
    return f"{name[: most - 1 - tail]}…{name[-tail:]}"


def clock(epoch_s: float, *, year: bool = False) -> str:
    """Write a time in UTC.

    Parameters
    ----------
    epoch_s : float
        Seconds since the epoch.
    year : bool
        With the year and the zone.

    Returns
    -------
    str
        For example ``"1 Jul 14:00"``.

    Examples
    --------
    >>> clock(0), clock(0, year=True)
    ('1 Jan 00:00', '1 January 1970, 00:00 UTC')
    """
    moment = datetime.fromtimestamp(epoch_s, tz=UTC)
    if year:
        return f"{moment.day} {moment:%B %Y, %H:%M} UTC"
    return f"{moment.day} {moment:%b %H:%M}"

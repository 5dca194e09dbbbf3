"""The words by which a result tells how good its input was; docs/data-contract.md explains each."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Flag"]


class Flag(StrEnum):
    """What a reader of a forecast must know; most are followed by a count, as in ``"late:3"``."""

    SORTED = "sorted"
    DUPLICATES = "duplicates"
    RESAMPLED = "resampled"
    CLOCK_UNCLEAR = "clock-unclear"
    CLOCK_SKEW = "clock-skew"
    GAPS = "gaps"
    ESTIMATED = "estimated"
    FORECAST = "forecast"
    STALE = "stale"
    QUARANTINED = "quarantined"
    REVISED = "revised"
    FLAT = "flat"
    GAPS_FILLED = "gaps-filled"
    DROPOUTS = "dropouts"
    HISTORY_CUT = "history-cut"
    LATE = "late"
    DEGRADED = "degraded"
    NEUTRAL = "neutral"
    STORED = "stored"
    UNRECORDED = "unrecorded"
    FUTURE = "future"
    SHORT_HISTORY = "short-history"
    WEATHER_UNUSED = "weather-unused"
    MIX_UNUSED = "mix-unused"
    FUEL_MISSING = "fuel-missing"
    FUEL_UNKNOWN = "fuel-unknown"
    MERGED = "merged"
    UNAVAILABLE = "unavailable"
    SCOPES_MIXED = "scopes-mixed"

    def of(self, what: float | str) -> str:
        """Return the flag with what it counts or names.

        Parameters
        ----------
        what : float or str
            A count or a name.

        Returns
        -------
        str
            Both, joined by a colon.

        Examples
        --------
        >>> Flag.LATE.of(3)
        'late:3'
        """
        return f"{self.value}:{what}"

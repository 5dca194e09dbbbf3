"""What tells the time and waits: the system's clock, or a virtual one in tests and simulations."""

from __future__ import annotations

import time
from typing import Final, Protocol

__all__ = ["SKEW_LIMIT_S", "Clock", "SystemClock"]

# Clocks that differ by more put values into wrong slots; see docs/signals.md.
SKEW_LIMIT_S: Final = 120


class Clock(Protocol):
    """Tells the time, measures durations and waits."""

    def now_s(self) -> float:
        """Seconds since the epoch, which may jump when the system's clock is set."""
        ...

    def monotonic_s(self) -> float:
        """Seconds since some moment, which never jump."""
        ...

    def sleep(self, duration_s: float) -> None:
        """Wait."""
        ...


class SystemClock:
    """The clock of the machine.

    Examples
    --------
    >>> clock = SystemClock()
    >>> begun_s = clock.monotonic_s()
    >>> clock.sleep(0.001)
    >>> clock.monotonic_s() > begun_s
    True
    """

    def now_s(self) -> float:
        """Tell the time.

        Returns
        -------
        float
            Seconds since the epoch.
        """
        return time.time()

    def monotonic_s(self) -> float:
        """Tell a time that never jumps, for durations.

        Returns
        -------
        float
            Seconds since some moment.
        """
        return time.monotonic()

    def sleep(self, duration_s: float) -> None:
        """Wait.

        Parameters
        ----------
        duration_s : float
            How long [s].
        """
        time.sleep(duration_s)

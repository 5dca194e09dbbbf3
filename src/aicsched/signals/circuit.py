"""When not to call: a source that keeps failing, or that asked to be left alone, gets a rest."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aicsched.signals.clock import Clock

__all__ = ["Circuit"]


class Circuit:
    """A circuit breaker: closed, open after failures in a row, half-open for one trial.

    Parameters
    ----------
    open_after : int
        So many failures in a row open it.
    open_for_s : float
        How long no call goes through [s]; then one may try.
    clock : Clock
        Its monotonic time counts.

    Examples
    --------
    >>> from aicsched.signals.clock import SystemClock
    >>> circuit = Circuit(open_after=1, open_for_s=60.0, clock=SystemClock())
    >>> circuit.admit()
    (0.0, False)
    >>> circuit.failed()
    >>> circuit.admit()[0] > 59
    True
    """

    def __init__(self, *, open_after: int, open_for_s: float, clock: Clock) -> None:
        self._open_after = open_after
        self._open_for_s = open_for_s
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._open_until_s = 0.0
        self._quiet_until_s = 0.0
        self._trial_until_s = 0.0

    def admit(self) -> tuple[float, bool]:
        """Ask to call.

        Returns
        -------
        float
            0 to go ahead, else how long to wait [s].
        bool
            True for the one trial of a half-open circuit: its outcome decides.
        """
        with self._lock:
            now_s = self._clock.monotonic_s()
            wait_s = max(self._quiet_until_s - now_s, 0.0)
            if self._failures < self._open_after:
                return wait_s, False
            wait_s = max(wait_s, self._open_until_s - now_s, self._trial_until_s - now_s)
            if wait_s <= 0:
                # A trial that never comes back must not keep the circuit half-open for ever.
                self._trial_until_s = now_s + self._open_for_s
            return wait_s, True

    def rest_s(self) -> float:
        """Tell how much is left of the rest that the source asked for.

        Returns
        -------
        float
            Seconds, 0 when there is none.
        """
        with self._lock:
            return max(self._quiet_until_s - self._clock.monotonic_s(), 0.0)

    @property
    def is_open(self) -> bool:
        """Whether failures in a row have opened it."""
        with self._lock:
            return self._failures >= self._open_after

    def failed(self) -> None:
        """Count a failure."""
        with self._lock:
            self._failures += 1
            self._trial_until_s = 0.0
            if self._failures >= self._open_after:
                self._open_until_s = self._clock.monotonic_s() + self._open_for_s

    def succeeded(self) -> None:
        """Close it: the source answers."""
        with self._lock:
            self._failures = 0
            self._trial_until_s = 0.0

    def rest(self, duration_s: float) -> None:
        """Let no call through for a time, as the source asked.

        Parameters
        ----------
        duration_s : float
            How long [s].
        """
        with self._lock:
            self._quiet_until_s = max(self._quiet_until_s, self._clock.monotonic_s() + duration_s)

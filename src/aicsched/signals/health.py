"""Counts how reading signals goes, for whoever exposes metrics."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from aicsched.observe import metric

if TYPE_CHECKING:
    from aicsched.observe import Metric

__all__ = ["SignalHealth"]


class SignalHealth:
    """What is counted of all sources of a process.

    Examples
    --------
    >>> health = SignalHealth()
    >>> health.add("aicsched_signal_reads_total", 1, "eia-930", "stored")
    >>> [(item.name, labels, value) for item, labels, value in health.samples()]
    [('aicsched_signal_reads_total', ('eia-930', 'stored'), 1.0)]
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[tuple[str, tuple[str, ...]], float] = {}

    def add(self, name: str, count: float, *labels: str) -> None:
        """Add to a counter.

        Parameters
        ----------
        name : str
            Of the catalogue in `aicsched.observe`.
        count : float
            How much.
        *labels : str
            Values of its labels, in their order.
        """
        with self._lock:
            key = (metric(name).name, labels)
            self._values[key] = self._values.get(key, 0.0) + count

    def set(self, name: str, value: float, *labels: str) -> None:
        """Set a gauge.

        Parameters
        ----------
        name : str
            Of the catalogue in `aicsched.observe`.
        value : float
            What it shows, in the unit of its name.
        *labels : str
            Values of its labels, in their order.
        """
        with self._lock:
            self._values[metric(name).name, labels] = value

    def samples(self) -> tuple[tuple[Metric, tuple[str, ...], float], ...]:
        """Return everything that was counted.

        Returns
        -------
        tuple of (Metric, tuple of str, float)
            Metric, label values and value, sorted.
        """
        with self._lock:
            return tuple(
                (metric(name), labels, value) for (name, labels), value in sorted(self._values.items())
            )

"""The extender's own metrics, from the catalogue in `aicsched.observe`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

from aicsched.observe import metric

if TYPE_CHECKING:
    from aicsched.extender.snapshot import Snapshot

__all__ = ["BINDINGS", "FALLBACKS", "METRICS_CONTENT_TYPE", "ExtenderMetrics"]

FALLBACKS: Final = (
    "no_snapshot",
    "stale",
    "clock_skew",
    "too_many_nodes",
    "unreadable_pod",
    "no_signal",
    "fault",
)

BINDINGS: Final = ("bound", "refused", "forbidden", "unavailable", "fault")
"""What becomes of a pod that is to be bound."""

METRICS_CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
# From half a millisecond (100 names) to the scheduler's default httpTimeout of 5 s.
_BUCKETS_S: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class ExtenderMetrics:
    """Counts what the extender answers.

    Parameters
    ----------
    registry : CollectorRegistry, optional
        Where the metrics live; a new one by default, so that two apps in one
        process don't meet.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry if registry is not None else CollectorRegistry()
        requests = metric("aicsched_extender_requests_total")
        duration = metric("aicsched_extender_request_duration_seconds")
        fallbacks = metric("aicsched_extender_fallbacks_total")
        scored = metric("aicsched_extender_nodes_scored_total")
        age = metric("aicsched_signal_age_seconds")
        self._requests = Counter(requests.name, requests.help, requests.labels, registry=self.registry)
        self._duration = Histogram(
            duration.name, duration.help, duration.labels, registry=self.registry, buckets=_BUCKETS_S
        )
        self._fallbacks = Counter(fallbacks.name, fallbacks.help, fallbacks.labels, registry=self.registry)
        for reason in FALLBACKS:  # a series that starts at 0 can be alerted on from its first increase
            self._fallbacks.labels(reason)
        self._scored = Counter(scored.name, scored.help, scored.labels, registry=self.registry)
        bindings = metric("aicsched_extender_bindings_total")
        self._bindings = Counter(bindings.name, bindings.help, bindings.labels, registry=self.registry)
        for outcome in BINDINGS:
            self._bindings.labels(outcome)
        self._age = Gauge(age.name, age.help, age.labels, registry=self.registry)

    def answered(self, verb: str, status: int, duration_s: float) -> None:
        """Count one answer.

        Parameters
        ----------
        verb : str
            ``"filter"`` or ``"prioritize"``.
        status : int
            HTTP status.
        duration_s : float
            From the first byte of the body to the answer [s].
        """
        self._requests.labels(verb, str(status)).inc()
        self._duration.labels(verb).observe(duration_s)

    def fell_back(self, reason: str) -> None:
        """Count one neutral answer.

        Parameters
        ----------
        reason : str
            One of `FALLBACKS`.
        """
        self._fallbacks.labels(reason).inc()

    def bound(self, outcome: str) -> None:
        """Count one pod that was to be bound.

        Parameters
        ----------
        outcome : str
            One of `BINDINGS`.
        """
        self._bindings.labels(outcome).inc()

    def scored(self, verb: str, count: int) -> None:
        """Count nodes that were offered.

        Parameters
        ----------
        verb : str
            ``"filter"`` or ``"prioritize"``.
        count : int
            How many.
        """
        self._scored.labels(verb).inc(count)

    def render(self, snapshot: Snapshot | None, now_s: float) -> bytes:
        """Write all metrics in Prometheus' text format.

        Parameters
        ----------
        snapshot : Snapshot or None
            Its sources' ages are exposed.
        now_s : float
            Seconds since the epoch.

        Returns
        -------
        bytes
            The exposition.
        """
        self._age.clear()
        for source, newest_s in (snapshot.sources if snapshot is not None else {}).items():
            self._age.labels(source).set(now_s - newest_s)
        return generate_latest(self.registry)

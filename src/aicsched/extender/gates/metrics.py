"""The metrics of deferral, from the catalogue in `aicsched.observe`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from aicsched.extender.gates.rules import Why
from aicsched.extender.gates.webhook import OUTCOMES
from aicsched.observe import metric

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["GatesMetrics"]

# The first bucket is what in time means; the rest tells how bad it was.
_LATE_S: Final = (0.0, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0)
_FAULTS: Final = ("api", "refused", "plan", "outlook", "ledger", "event", "step")


class GatesMetrics:
    """Counts what deferral does.

    Parameters
    ----------
    registry : CollectorRegistry, optional
        Where the metrics live; a new one by default.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry if registry is not None else CollectorRegistry()

        self._waiting = self._gauge("aicsched_gates_waiting")
        self._saving = self._gauge("aicsched_gates_planned_saving_grams")
        self._leader = self._gauge("aicsched_gates_leader")
        self._skew = self._gauge("aicsched_gates_clock_skew_seconds")
        self._foreseen = self._gauge("aicsched_gates_forecast_age_seconds")
        self._releases = self._counter("aicsched_gates_releases_total")
        self._replanned = self._counter("aicsched_gates_replans_total")
        self._faults = self._counter("aicsched_gates_faults_total")
        self._reviews = self._counter("aicsched_gates_reviews_total")
        late = metric("aicsched_gates_release_lateness_seconds")
        self._late = Histogram(late.name, late.help, late.labels, registry=self.registry, buckets=_LATE_S)
        # Series that start at 0 can be alerted on from their first increase.
        for why in Why:
            self._releases.labels(why.value)
        for part in _FAULTS:
            self._faults.labels(part)
        for outcome in OUTCOMES:
            self._reviews.labels(outcome)

    def _gauge(self, name: str) -> Gauge:
        facts = metric(name)
        return Gauge(facts.name, facts.help, facts.labels, registry=self.registry)

    def _counter(self, name: str) -> Counter:
        facts = metric(name)
        return Counter(facts.name, facts.help, facts.labels, registry=self.registry)

    def held(self, counts: Mapping[str, int], saving_g: float) -> None:
        """Tell what waits.

        Parameters
        ----------
        counts : mapping of str to int
            Of pods and of jobs.
        saving_g : float
            What that is expected to save [g].
        """
        for kind, count in counts.items():
            self._waiting.labels(kind).set(count)
        self._saving.set(saving_g)

    def released(self, why: Why, late_s: float) -> None:
        """Count a release.

        Parameters
        ----------
        why : Why
            Its reason.
        late_s : float
            How much too late it was [s].
        """
        self._releases.labels(why.value).inc()
        self._late.observe(late_s)

    def replanned(self, count: int) -> None:
        """Count starts that were moved.

        Parameters
        ----------
        count : int
            How many.
        """
        self._replanned.inc(count)

    def failed(self, part: str) -> None:
        """Count a fault.

        Parameters
        ----------
        part : str
            Of what.
        """
        self._faults.labels(part).inc()

    def reviewed(self, outcome: str) -> None:
        """Count an answer of the webhook.

        Parameters
        ----------
        outcome : str
            One of `aicsched.extender.gates.webhook.OUTCOMES`.
        """
        self._reviews.labels(outcome).inc()

    def leads(self, leads: bool) -> None:  # noqa: FBT001 - a state
        """Tell whether this replica acts.

        Parameters
        ----------
        leads : bool
            Whether it does.
        """
        self._leader.set(int(leads))

    def render(self, *, skew_s: float, forecast_age_s: float) -> bytes:
        """Write all metrics in Prometheus' text format.

        Parameters
        ----------
        skew_s : float
            How far our clock is ahead of the API server's [s].
        forecast_age_s : float
            Of what plans are made from [s]; NaN where there is none.

        Returns
        -------
        bytes
            The exposition.
        """
        self._skew.set(skew_s)
        self._foreseen.set(forecast_age_s)
        return generate_latest(self.registry)

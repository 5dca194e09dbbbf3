"""What operators see of live signals, read at each scrape from what the refreshers hold."""

from __future__ import annotations

from collections import Counter as Count
from typing import TYPE_CHECKING, Final

from prometheus_client import Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from aicsched.extender.costs import FleetCosts
from aicsched.extender.live.booking import OUTCOMES
from aicsched.observe import metric

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric as Family

    from aicsched.extender.live.carbon import ZoneOutlook
    from aicsched.extender.live.refresher import Refresher
    from aicsched.extender.snapshot import SnapshotHolder
    from aicsched.signals.health import SignalHealth

__all__ = ["LiveMetrics"]

_STATES: Final = ("fresh", "degraded", "neutral", "unknown")
_BUCKETS_S: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
# The snapshot tells this of its own sources, telemetry among them.
_ELSEWHERE: Final = frozenset({"aicsched_signal_age_seconds"})


class LiveMetrics:
    """Exposes refreshers, snapshot, signals and bookings.

    Parameters
    ----------
    registry : CollectorRegistry
        Where the extender's other metrics are.
    holder : SnapshotHolder
        Gives the snapshot.
    health : SignalHealth
        What reading signals counted.
    now_s : callable
        Seconds since the epoch.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        holder: SnapshotHolder,
        health: SignalHealth,
        now_s: Callable[[], float],
    ) -> None:
        self._holder = holder
        self._health = health
        self._now_s = now_s
        self.refreshers: list[Refresher] = []
        self.outlooks: Callable[[], Mapping[str, ZoneOutlook]] = dict
        build = metric("aicsched_snapshot_build_seconds")
        self._build = Histogram(build.name, build.help, registry=registry, buckets=_BUCKETS_S)
        failures = metric("aicsched_refresh_failures_total")
        self._failures = Counter(failures.name, failures.help, failures.labels, registry=registry)
        decisions = metric("aicsched_decisions_total")
        self._decisions = Counter(decisions.name, decisions.help, decisions.labels, registry=registry)
        for outcome in OUTCOMES:
            self._decisions.labels(outcome)
        placed, otherwise = (
            metric("aicsched_placed_grams_total"),
            metric("aicsched_counterfactual_grams_total"),
        )
        self._placed = Counter(placed.name, placed.help, registry=registry)
        self._otherwise = Counter(otherwise.name, otherwise.help, registry=registry)
        registry.register(self)

    def watch(self, *refreshers: Refresher) -> None:
        """Take refreshers in.

        Parameters
        ----------
        *refreshers : Refresher
            Whose failures and ages are shown.
        """
        for each in refreshers:
            self.refreshers.append(each)
            self._failures.labels(each.name)

    def built(self, duration_s: float) -> None:
        """Count a snapshot.

        Parameters
        ----------
        duration_s : float
            How long it took [s].
        """
        self._build.observe(duration_s)

    def failed(self, name: str) -> None:
        """Count a refresh that failed.

        Parameters
        ----------
        name : str
            Of the refresher.
        """
        self._failures.labels(name).inc()

    def decided(self, outcome: str, placed_g: float, counterfactual_g: float) -> None:
        """Count a placement.

        Parameters
        ----------
        outcome : str
            One of `aicsched.extender.live.booking.OUTCOMES`.
        placed_g, counterfactual_g : float
            What it emits, and what the mean of the nodes would have [g].
        """
        self._decisions.labels(outcome).inc()
        self._placed.inc(max(placed_g, 0.0))
        self._otherwise.inc(max(counterfactual_g, 0.0))

    def collect(self) -> Iterator[Family]:
        """Yield what is read at a scrape (prometheus_client's interface)."""
        now_s, snapshot = self._now_s(), self._holder.current
        age = _gauge("aicsched_snapshot_age_seconds")
        if snapshot is not None:
            age.add_metric([], now_s - snapshot.issued_at_s)
        yield age
        nodes = _gauge("aicsched_snapshot_nodes")
        costs = None if snapshot is None else snapshot.costs
        signals = Count(costs.signals if isinstance(costs, FleetCosts) else ())
        for state in _STATES:
            nodes.add_metric([state], signals[state])
        yield nodes
        yield from self._zones(now_s)
        ages = _gauge("aicsched_refresh_age_seconds")
        for each in self.refreshers:
            since_s = each.age_s()
            if since_s is not None:
                ages.add_metric([each.name], since_s)
        yield ages
        yield from self._signals()

    def _zones(self, now_s: float) -> Iterator[Family]:
        intensity = _gauge("aicsched_carbon_intensity_grams_per_kwh")
        states: Count[str] = Count()
        for zone, outlook in self.outlooks().items():
            state = outlook.state(now_s)
            states[state] += 1
            if state in {"fresh", "degraded"} and outlook.forecast is not None:
                slots = outlook.forecast.slots
                place = min(max(0, int(now_s - slots.start_s) // slots.step_s), len(slots) - 1)
                intensity.add_metric([zone], float(outlook.forecast.mean_g_per_kwh[place]))
        yield intensity
        zones = _gauge("aicsched_carbon_signal_zones")
        for state in _STATES:
            zones.add_metric([state], states[state])
        yield zones

    def _signals(self) -> Iterator[Family]:
        families: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
        for item, labels, value in self._health.samples():
            if item.name in _ELSEWHERE:
                continue
            kind = CounterMetricFamily if item.kind == "counter" else GaugeMetricFamily
            family = families.setdefault(item.name, kind(item.name, item.help, labels=list(item.labels)))
            family.add_metric(list(labels), value)
        yield from families.values()


def _gauge(name: str) -> GaugeMetricFamily:
    item = metric(name)
    return GaugeMetricFamily(item.name, item.help, labels=list(item.labels))

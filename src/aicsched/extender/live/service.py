"""Runs the refreshers of one extender: opens what settings name, swaps snapshots, and ends in order."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import TYPE_CHECKING, Any, Final, Self

from aicsched.errors import SourceUnavailable
from aicsched.extender.costs import SPANS_H
from aicsched.extender.live.booking import Booker
from aicsched.extender.live.build import SnapshotBuilder
from aicsched.extender.live.carbon import LiveCarbon
from aicsched.extender.live.cluster import LiveCluster
from aicsched.extender.live.lives import Lives
from aicsched.extender.live.metrics import LiveMetrics
from aicsched.extender.live.prometheus import SettledPrometheus
from aicsched.extender.live.refresher import Refresher
from aicsched.extender.live.telemetry import LiveTelemetry
from aicsched.extender.memory import give_back_memory, keep_freed_memory
from aicsched.extender.metrics import ExtenderMetrics
from aicsched.extender.podrequest import PodRequest
from aicsched.extender.policies import PolicyTable
from aicsched.extender.snapshot import SnapshotHolder
from aicsched.fleet.kubernetes.watch import ClusterWatch, connect
from aicsched.observe import get_logger
from aicsched.score.policy import read_policies
from aicsched.signals.clock import SystemClock
from aicsched.signals.health import SignalHealth
from aicsched.signals.precedence import open_merged
from aicsched.signals.store import SignalStore
from aicsched.slots import DAY_S

if TYPE_CHECKING:
    from types import TracebackType

    from aicsched.config import Settings
    from aicsched.config.extender import ExtenderSettings
    from aicsched.fleet.kubernetes.objects import PodFacts
    from aicsched.signals.base import CarbonSource
    from aicsched.signals.clock import Clock

__all__ = ["LiveService"]

_log = get_logger("extender.live")
# Carbon changes by the hour or half hour, and its sources count what they are asked.
_CARBON_PACE: Final = 10
# Changes of nodes and bursts of pods are gathered for so long.
_GATHER_S: Final = 1.0
# The first answers wait so long for carbon, so that a healthy start isn't a neutral one.
_FIRST_CARBON_S: Final = 3.0
_LOOK_S: Final = 0.05
_SYNC_S: Final = 1.0
# Python's default of 5 ms would let a refresher hold up each request so long.
_SWITCH_S: Final = 0.0005


class LiveService:
    """Everything behind an extender's answers, from `start` to `stop`, or as a context.

    Parameters
    ----------
    settings : Settings
        Of the operator.
    clock : Clock, optional
        By default the machine's.
    api : kubernetes.client.ApiClient, optional
        By default what the settings name.
    carbon : CarbonSource, optional
        By default the declared sources as one; without any, carbon is unknown everywhere.

    Raises
    ------
    ConfigError
        There is no cluster to reach, or a file or address can't be used.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock | None = None,
        api: Any = None,  # noqa: ANN401 - no types
        carbon: CarbonSource | None = None,
    ) -> None:
        own = settings.extender
        self.clock: Final = clock or SystemClock()
        self.holder: Final = SnapshotHolder()
        self.metrics: Final = ExtenderMetrics()
        self.health: Final = SignalHealth()
        self._live_metrics = LiveMetrics(
            self.metrics.registry, holder=self.holder, health=self.health, now_s=self.clock.now_s
        )
        book = None if own.policies is None else read_policies(own.policies)
        policies = PolicyTable(book, hard_limits=own.hard_limits)
        self.builder: Final = SnapshotBuilder(
            policies=policies, grid_zones=own.grid_zones, max_age_s=own.max_age_s
        )
        self._lives = Lives()
        self.api: Final = api or connect(kubeconfig=own.kubeconfig, context=own.context)
        self._watch = ClusterWatch(self.api, kinds=("nodes", "pods"))
        self.cluster: Final = LiveCluster(
            lives=self._lives, now_s=self.clock.now_s, changed=self._nodes_changed, bound=self._bound
        )
        self.cluster.follow(self._watch)
        self._store: SignalStore | None = None
        source = carbon or self._declared(settings)
        self.carbon: Final = None if source is None else LiveCarbon(
            source, horizon_h=own.horizon_h, model=settings.model, published=self._wake
        )  # fmt: skip
        self.telemetry: Final = self._telemetry(own, policies)
        self.booker: Final = None if own.ledger is None else Booker(
            self.holder, own.ledger, now_s=self.clock.now_s,
            cluster=lambda: self.cluster.moment().cluster, counted=self._live_metrics.decided,
        )  # fmt: skip
        self._snapshots = self._refresher("snapshot", self._build, own.refresh_s, _GATHER_S)
        self._carbons = self._refresher("carbon", self._read_carbon, _CARBON_PACE * own.refresh_s)
        self._telemetries = self._refresher("telemetry", self._read_telemetry, own.refresh_s)
        self._begun_s = time.monotonic()
        self._zones: frozenset[str] = frozenset()

    # ------------------------------------------------------------ opening

    def _declared(self, settings: Settings) -> CarbonSource | None:
        signals = settings.signals
        if not signals.order:
            _log.warning("signals.order names no source: carbon is unknown, and all answers are neutral")
            return None
        self._store = SignalStore(signals.store, retention_s=signals.retention_days * DAY_S)
        return open_merged(signals, store=self._store, clock=self.clock, health=self.health)

    def _telemetry(self, own: ExtenderSettings, policies: PolicyTable) -> LiveTelemetry | None:
        if own.prometheus is None:
            _log.warning("extender.prometheus is not set: the load of nodes counts as unknown")
            return None
        return LiveTelemetry(
            SettledPrometheus(own, self.clock),
            days=own.history_days,
            step_s=own.telemetry_step_s,
            objectives=[weights.objectives for weights in policies.weights],
            spans_h=[span_h for span_h in SPANS_H if span_h <= max(own.horizon_h, SPANS_H[0])],
        )

    def _refresher(self, name: str, work: Any, every_s: float, pause_s: float = 0.0) -> Refresher:  # noqa: ANN401
        made = Refresher(name, work, every_s=every_s, pause_s=pause_s, failed=self._live_metrics.failed)
        self._live_metrics.watch(made)
        return made

    # ------------------------------------------------------------ running

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to follow the cluster and to refresh; returns at once."""
        sys.setswitchinterval(_SWITCH_S)
        # Before there are threads, whose memory it is about.
        keep_freed_memory()
        self._begun_s = time.monotonic()
        if self.carbon is not None:
            carbon = self.carbon
            self._live_metrics.outlooks = lambda: carbon.current
        self._watch.start()
        if self.booker is not None:
            self.booker.start()
        for each in (self._snapshots, self._carbons, self._telemetries):
            each.start()

    def stop(self) -> None:
        """End: threads first, what was noted is booked, files are closed."""
        for each in (self._snapshots, self._carbons, self._telemetries):
            each.stop()
        with contextlib.suppress(Exception):
            self._watch.stop()
        if self.booker is not None:
            self.booker.stop()
        if self._store is not None:
            self._store.close()

    def checks(self) -> dict[str, Any]:
        """Tell what readiness depends on besides the snapshot.

        Returns
        -------
        dict of str to callable
            ``nodes``: they were listed once. Nothing that comes and goes.
        """
        return {"nodes": self._watch.synced}

    # ------------------------------------------------------------ what is refreshed

    def _wake(self) -> None:
        self._snapshots.wake()

    def _nodes_changed(self) -> None:
        self._wake()

    def _bound(self, pod: PodFacts) -> None:
        if self.booker is not None:
            self.booker.bound(pod)
        # It is a load that metrics don't show yet. Without metrics no load is known: nothing changes.
        if self.telemetry is not None and self._watch.synced():
            self._wake()

    def _build(self) -> None:
        if not self._listed():
            return
        moment = self.cluster.moment()
        zones = self.builder.zones(moment)
        if zones != self._zones:
            self._zones = zones
            self._carbons.wake()
            self._telemetries.wake()
        if self.holder.current is None and zones:
            self._wait_for_carbon()
        begun_s = time.perf_counter()
        snapshot = self.builder.build(
            moment,
            {} if self.carbon is None else self.carbon.current,
            None if self.telemetry is None else self.telemetry.current,
            self._lives.table(),
            self.clock.now_s(),
        )
        if snapshot is None:
            return
        # The first pod doesn't pay for what is laid out at the first use.
        snapshot.prioritize(snapshot.names[:1], PodRequest())
        self._live_metrics.built(time.perf_counter() - begun_s)
        self.holder.replace(snapshot)

    def _listed(self) -> bool:
        """Wait a little for the first lists; a large cluster takes longer, which is no failure."""
        try:
            self._watch.wait(_SYNC_S)
        except SourceUnavailable:
            if self._watch.faults():
                raise
            self._wake()
        return self._watch.synced()

    def _wait_for_carbon(self) -> None:
        until_s = self._begun_s + _FIRST_CARBON_S
        while self.carbon is not None and not self.carbon.rounds and time.monotonic() < until_s:
            time.sleep(_LOOK_S)

    def _read_carbon(self) -> None:
        if self.carbon is not None and self._zones:
            self.carbon.refresh(self._zones, self.clock.now_s)

    def _read_telemetry(self) -> None:
        if self.telemetry is None or not self._watch.synced():
            return
        nodes = {node.name: node.capacity.vcpus for node in self.cluster.moment().cluster.nodes}
        try:
            new = self.telemetry.refresh(nodes, self.clock.now_s())
        except Exception:
            # What was measured has got older all the same.
            self._wake()
            raise
        if new:
            give_back_memory()
            self._wake()

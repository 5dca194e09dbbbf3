"""Puts the parts together: what ``aicsched gates`` runs."""

from __future__ import annotations

import os
import socket
import threading
import uuid
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from aicsched.errors import AicschedError
from aicsched.extender.gates.book import Bookkeeper
from aicsched.extender.gates.controller import Controller
from aicsched.extender.gates.election import Election
from aicsched.extender.gates.events import Events
from aicsched.extender.gates.metrics import GatesMetrics
from aicsched.extender.gates.outlook import Outlooks
from aicsched.extender.gates.planner import OPTIMAL
from aicsched.extender.gates.planning import Planning
from aicsched.extender.gates.webhook import Webhook
from aicsched.extender.limits import Limits
from aicsched.extender.names import DEFERRABLE
from aicsched.extender.probes import Probes
from aicsched.extender.routes import Request, Route
from aicsched.extender.trust import Trust
from aicsched.extender.web import RoutedApp
from aicsched.fleet.kubernetes.act import ClusterActs, ServerClock
from aicsched.fleet.kubernetes.informed import JOBS, NODES, PODS, Kind, ObjectWatch, WatchLimits
from aicsched.observe import get_logger
from aicsched.place.policies import make_policy
from aicsched.signals.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable

    from aicsched.config import Settings
    from aicsched.signals.base import CarbonSource

__all__ = ["GATED_PODS", "MARKED_JOBS", "GatesApp", "Service", "bound_pods", "trust_of_gates"]

_log = get_logger("gates")
# Pods that have a node don't wait any more; all that wait have none, marked or not.
GATED_PODS: Final = Kind(
    name="pods",
    group=PODS.group,
    call=PODS.call,
    right="pods",
    selectors={"field_selector": "spec.nodeName="},
)
MARKED_JOBS: Final = Kind(
    name="jobs",
    group=JOBS.group,
    call=JOBS.call,
    right="jobs.batch",
    selectors={"label_selector": f"{DEFERRABLE}=true"},
)
_MARKED_PODS: Final = Kind(
    name="pods",
    group=PODS.group,
    call=PODS.call,
    right="pods",
    selectors={"label_selector": f"{DEFERRABLE}=true"},
)
_RUNNING: Final = "spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed"
_BOUND_PODS: Final = Kind(
    name="pods", group=PODS.group, call=PODS.call, right="pods", selectors={"field_selector": _RUNNING}
)
# A watch that died without a word is noticed so soon, and new work behind it.
_WATCH: Final = WatchLimits(watch_s=30, read_s=10.0, first_wait_s=0.2, longest_wait_s=2.0)
_NAMESPACE_FILE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_BODY_BYTES: Final = 4 * 2**20
_COALESCE_S: Final = 0.2


def bound_pods(api: Any) -> list[Any]:  # noqa: ANN401 - no types
    """List the pods that hold something of a node.

    Parameters
    ----------
    api : kubernetes.client.ApiClient
        As `aicsched.fleet.kubernetes.watch.connect` makes it.

    Returns
    -------
    list of dict
        As the API sends them.

    Raises
    ------
    ConfigError, SourceUnavailable, SignalInvalid
        They can't be listed.
    """
    return ObjectWatch(api, kinds=(_BOUND_PODS,)).read("pods")


def trust_of_gates(settings: Settings, metrics: GatesMetrics) -> Trust | None:
    """Read the webhook's certificate.

    Parameters
    ----------
    settings : Settings
        Of the operator.
    metrics : GatesMetrics
        Where its expiry is shown.

    Returns
    -------
    Trust or None
        None without one: then only loopback can be served. The API server shows no certificate
        of its own unless it is told to, and an answer tells nothing secret: anybody may ask.

    Raises
    ------
    ConfigError
        A file can't be used.
    """
    gates = settings.gates
    if gates.tls_cert_file is None:
        return None
    return Trust(
        cert_file=gates.tls_cert_file,
        key_file=gates.tls_key_file,
        unverified_clients=True,
        registry=metrics.registry,
    )


class GatesApp(RoutedApp):
    """Answers the webhook and the probes.

    Parameters
    ----------
    webhook : Webhook
        Answers reviews.
    probes : Probes
        Of the service.
    settle_s, drain_s : float
        As in `Limits`.
    """

    def __init__(self, webhook: Webhook, probes: Probes, *, settle_s: float, drain_s: float) -> None:
        def uncounted(*_told: object) -> None:
            """Reviews are counted by what came of them."""

        def answer(request: Request) -> bytes:
            return webhook.answer(request.body)

        def allow(request: Request) -> bytes:
            return webhook.allow(request.body)

        super().__init__(
            [Route(name="mutate", path="/mutate", answer=answer, fallback=allow)],
            probes=probes,
            answered=uncounted,
            limits=Limits(
                body_bytes=_BODY_BYTES,
                buffered_bytes=8 * _BODY_BYTES,
                settle_s=settle_s,
                drain_s=drain_s,
            ),
        )

    def warm_up(self) -> None:
        """Allow readiness."""
        self.probes.mark_warm()


@dataclass(frozen=True, slots=True)
class _Loop:
    """A thread that goes step by step, whatever happens in one."""

    name: str
    step: Callable[[], float]
    wake: threading.Event
    stopping: threading.Event
    failed: Callable[[], None]
    coalesce_s: float = 0.0

    def run(self) -> None:
        while not self.stopping.is_set():
            if self.wake.is_set() and self.coalesce_s:
                self.stopping.wait(self.coalesce_s)
            self.wake.clear()
            try:
                wait_s = self.step()
            except Exception:  # noqa: BLE001 - what waits must be released, whatever a defect does
                self.failed()
                _log.exception("a step of %s failed; the next one follows", self.name)
                wait_s = 1.0
            self.wake.wait(wait_s)


class Service:
    """Defers work in a cluster, from `start` to `stop`.

    Parameters
    ----------
    settings : Settings
        Of the operator.
    api : kubernetes.client.ApiClient
        As `aicsched.fleet.kubernetes.watch.connect` makes it.
    carbon : CarbonSource
        Of the settings' signals.

    Raises
    ------
    ConfigError
        There is no such policy.
    """

    def __init__(self, settings: Settings, api: Any, carbon: CarbonSource) -> None:  # noqa: ANN401 - no types
        gates = settings.gates
        if gates.policy != OPTIMAL:
            make_policy(gates.policy)  # an unknown one is told now, not when the first work is planned
        self._api = api
        self.clock = SystemClock()
        self.metrics = GatesMetrics()
        self.server_clock = ServerClock()
        self.identity = f"{socket.gethostname()}_{uuid.uuid4().hex[:12]}"
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._gates = gates
        acts = ClusterActs(api, clock=self.server_clock)
        self.election = Election(
            acts,
            identity=self.identity,
            namespace=gates.lease_namespace or _own_namespace(),
            name=gates.lease_name,
            clock=self.clock,
            lease_s=gates.lease_s,
            alive=self._alive,
            changed=self._turned,
        )
        leads = self.election.leads
        self.events = Events(
            acts,
            clock=self.clock,
            instance=self.identity,
            per_s=gates.events_per_s,
            failed=lambda: self.metrics.failed("event"),
        )
        self.book = (
            None
            if gates.ledger is None
            else Bookkeeper(gates.ledger, leads=leads, failed=lambda: self.metrics.failed("ledger"))
        )
        self.controller = Controller(
            acts,
            settings=gates,
            clock=self.clock,
            now_s=self.server_clock.now_s,
            leads=leads,
            metrics=self.metrics,
            say=self.events.say,
            **({} if self.book is None else {"book": self.book.book}),
        )
        self.watch = ObjectWatch(api, kinds=(NODES, GATED_PODS, MARKED_JOBS), limits=_WATCH)
        for kind in ("pods", "jobs"):
            self.watch.listen(kind, partial(self.controller.heard, kind))
        self.planning = Planning(
            self.controller,
            self._outlooks(settings, carbon),
            settings=gates,
            clock=self.clock,
            now_s=self.server_clock.now_s,
            metrics=self.metrics,
        )

    def _outlooks(self, settings: Settings, carbon: CarbonSource) -> Outlooks:
        return Outlooks(
            carbon,
            lambda: self.watch.objects("nodes"),
            pods=(lambda: bound_pods(self._api)) if settings.gates.capacity else None,
            grid_zones=settings.extender.grid_zones,
            horizon_h=settings.horizon_h,
            model=settings.model,
        )

    def app(self, *, settle_s: float, drain_s: float) -> GatesApp:
        """Make the app of the webhook and the probes.

        Parameters
        ----------
        settle_s, drain_s : float
            As in `Limits`.

        Returns
        -------
        GatesApp
            For `aicsched.extender.server.serve`.
        """
        probes = Probes(lambda: {"listed": self.watch.synced()}, self._render)
        webhook = Webhook(self._gates, counted=self.metrics.reviewed, now_s=self.server_clock.now_s)
        return GatesApp(webhook, probes, settle_s=settle_s, drain_s=drain_s)

    def start(self) -> None:
        """Begin to follow, to elect, to plan and to release."""
        for part in (self.events, self.book, self.watch, self.election):
            if part is not None:
                part.start()
        controller = self.controller
        loops = (
            _Loop("release", controller.step, controller.wake, self._stopping, self._step_failed),
            _Loop("plan", self._plan, controller.fresh, self._stopping, self._plan_failed, _COALESCE_S),
        )
        self._threads = [threading.Thread(target=loop.run, name=loop.name, daemon=True) for loop in loops]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End; another replica goes on at once."""
        self._stopping.set()
        self.controller.wake.set()
        self.controller.fresh.set()
        # Nothing is written after the Lease is given up.
        self._threads[0].join(10.0)
        self.controller.close()
        self.events.stop()
        if self.book is not None:
            self.book.stop()
        self.election.stop()
        self.watch.stop()

    def _plan(self) -> float:
        if not (self.election.leads() and self.watch.synced()):
            return 1.0
        return self.planning.step()

    def _alive(self) -> bool:
        """Tell whether releases still move: before the Lease would end."""
        return self.clock.monotonic_s() - self.controller.stepped_s < max(self._gates.lease_s, 10.0)

    def _turned(self, leads: bool) -> None:  # noqa: FBT001 - a state
        self.metrics.leads(leads)
        self.controller.wake.set()
        self.controller.fresh.set()
        if leads and self.book is not None:
            threading.Thread(target=self._catch_up, name="catch-up", daemon=True).start()

    def _catch_up(self) -> None:
        """Book what a leader before released and had no time to book."""
        book = self.book
        if book is None:
            return
        try:
            for kind in (_MARKED_PODS, MARKED_JOBS):
                for item in ObjectWatch(self._api, kinds=(kind,)).read(kind.name):
                    book.book(kind.name, item)
        except AicschedError as error:
            self.metrics.failed("ledger")
            _log.warning("what was released before could not be read: %s", error)

    def _step_failed(self) -> None:
        self.metrics.failed("step")

    def _plan_failed(self) -> None:
        self.metrics.failed("plan")

    def _render(self) -> bytes:
        return self.metrics.render(
            skew_s=self.server_clock.skew_s(), forecast_age_s=self.planning.forecast_age_s()
        )


def _own_namespace() -> str:
    """Return the namespace of this pod; ``default`` outside a cluster."""
    try:
        return _NAMESPACE_FILE.read_text(encoding="utf-8").strip() or "default"
    except OSError:
        return os.environ.get("POD_NAMESPACE", "default")

"""One replica acts: an election by a Lease, as in client-go.

The package's own `kubernetes.leaderelection` goes by the system's clock, which jumps, sends requests
without a limit of time, so that one that hangs outlasts its lease, and can't be stopped. Here who
leads stops `_RENEW_SHARE` of the lease after its last renewal was sent; others wait for the whole lease
after they saw it, both on clocks that never jump, so that two never lead at once.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

from aicsched.errors import AicschedError
from aicsched.fleet.kubernetes.act import Changed
from aicsched.observe import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aicsched.signals.clock import Clock

__all__ = ["Election", "Leases"]

_log = get_logger("gates")
_RENEW_SHARE: Final = 2 / 3
_RETRY_SHARE: Final = 2 / 15


class Leases(Protocol):
    """What an election needs of `aicsched.fleet.kubernetes.act.ClusterActs`."""

    def read(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        """Read one."""
        ...

    def create(self, kind: str, namespace: str, body: Mapping[str, Any]) -> dict[str, Any] | None:
        """Make one."""
        ...

    def replace(self, kind: str, namespace: str, name: str, body: Mapping[str, Any]) -> dict[str, Any] | None:
        """Put one in the place of the one that was read."""
        ...


@dataclass(frozen=True, slots=True)
class _Seen:
    record: tuple[str, str, int]
    at_s: float


class Election:
    """Tries to lead, from `start` to `stop`, or step by step.

    Parameters
    ----------
    leases : Leases
        Where the Lease is kept.
    identity : str
        Of this process alone, not of its pod: a new process must not take itself for the old one.
    namespace, name : str
        Of the Lease.
    clock : Clock
        Ours.
    lease_s : float
        How long the Lease of one that died holds [s].
    alive : callable
        Whether what acts still moves: a leader that hangs gives way.
    changed : callable, optional
        Told when this process begins or ends to lead.
    """

    def __init__(  # noqa: PLR0913 - one keyword per fact
        self,
        leases: Leases,
        *,
        identity: str,
        namespace: str,
        name: str,
        clock: Clock,
        lease_s: float = 15.0,
        alive: Callable[[], bool] = lambda: True,
        changed: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self._leases = leases
        self._identity = identity
        self._place = (namespace, name)
        self._clock = clock
        self._lease_s = lease_s
        self._alive = alive
        self._changed = changed
        self._until_s = -float("inf")
        self._seen: _Seen | None = None
        self._led = False
        self._faults = 0
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def retry_s(self) -> float:
        """How long to wait between two tries [s]."""
        return self._lease_s * _RETRY_SHARE

    def leads(self) -> bool:
        """Tell whether this process may act now.

        Returns
        -------
        bool
            To be asked before each write.
        """
        return self._clock.monotonic_s() < self._until_s

    def step(self) -> None:
        """Try to become or to remain the leader."""
        try:
            if self._alive() or not self.leads():
                self._try()
            self._faults = 0
        except Changed:
            pass  # somebody was faster: seen at the next step
        except AicschedError as error:
            self._faults += 1
            if self._faults == 1:
                _log.warning("the lease can't be had: %s", error)
        leads = self.leads()
        if leads != self._led:
            self._led = leads
            _log.info("%s %s", self._identity, "leads" if leads else "no longer leads")
            self._changed(leads)

    def _try(self) -> None:
        if not self._alive():
            return
        namespace, name = self._place
        sent_s = self._clock.monotonic_s()
        found = self._leases.read("leases", namespace, name)
        if found is None:
            body = {"metadata": {"name": name, "namespace": namespace}, "spec": self._spec({})}
            if self._leases.create("leases", namespace, body) is not None:
                self._lead(sent_s)
            return
        spec = found.get("spec") or {}
        if not self._free(spec):
            return
        body = {**found, "spec": self._spec(spec)}
        if self._leases.replace("leases", namespace, name, body) is not None:
            self._lead(sent_s)

    def _free(self, spec: Mapping[str, Any]) -> bool:
        holder = str(spec.get("holderIdentity") or "")
        record = (holder, str(spec.get("renewTime") or ""), int(spec.get("leaseTransitions") or 0))
        now_s = self._clock.monotonic_s()
        if self._seen is None or self._seen.record != record:
            self._seen = _Seen(record, now_s)
        if holder in {"", self._identity}:
            return True
        # What stands in it is the holder's; nobody's clock is compared with another's.
        holds_s = float(spec.get("leaseDurationSeconds") or self._lease_s)
        return now_s - self._seen.at_s >= holds_s

    def _lead(self, sent_s: float) -> None:
        self._until_s = sent_s + self._lease_s * _RENEW_SHARE

    def _spec(self, before: Mapping[str, Any]) -> dict[str, Any]:
        now = datetime.fromtimestamp(self._clock.now_s(), tz=UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        mine = before.get("holderIdentity") == self._identity
        turns = int(before.get("leaseTransitions") or 0)
        return {
            **before,
            "holderIdentity": self._identity,
            "leaseDurationSeconds": max(1, round(self._lease_s)),
            "acquireTime": before.get("acquireTime", now) if mine else now,
            "renewTime": now,
            "leaseTransitions": turns if mine or not before else turns + 1,
        }

    def start(self) -> None:
        """Begin to try, in a thread of its own."""
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, name="election", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End, and let others lead at once."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        led, self._until_s = self.leads(), -float("inf")
        if led:
            self._give_up()
        self._led = False

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.step()
            except Exception:  # noqa: BLE001 - a replica that no longer tries could never act again
                _log.exception("a step of the election failed; the next one follows")
            self._stopping.wait(self.retry_s)

    def _give_up(self) -> None:
        namespace, name = self._place
        try:
            found = self._leases.read("leases", namespace, name)
            spec = (found or {}).get("spec") or {}
            if found is not None and spec.get("holderIdentity") == self._identity:
                body = {**found, "spec": {**spec, "holderIdentity": "", "leaseDurationSeconds": 1}}
                self._leases.replace("leases", namespace, name, body)
        except AicschedError as error:
            _log.info("the lease was not given up, it ends by itself: %s", error)

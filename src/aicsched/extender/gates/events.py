"""Events on what was deferred and released: one a transition, at a bounded rate, never in the way."""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

from aicsched.errors import AicschedError
from aicsched.extender.names import DOMAIN
from aicsched.fleet.kubernetes.act import Changed
from aicsched.observe import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aicsched.extender.gates.waiting import Waiting
    from aicsched.signals.clock import Clock

__all__ = ["Creates", "Events", "event_of"]

_log = get_logger("gates")
_MOST: Final = 10_000
_NOTE_BYTES: Final = 1000
_KINDS: Final = {"pods": ("v1", "Pod"), "jobs": ("batch/v1", "Job")}


class Creates(Protocol):
    """What events need of `aicsched.fleet.kubernetes.act.ClusterActs`."""

    def create(self, kind: str, namespace: str, body: Mapping[str, Any]) -> dict[str, Any] | None:
        """Make an object."""
        ...


def event_of(work: Waiting, reason: str, note: str, *, at_s: float, instance: str) -> dict[str, Any]:
    """Make an event (events.k8s.io/v1).

    Parameters
    ----------
    work : Waiting
        What it is about.
    reason, note : str
        A word, and a sentence.
    at_s : float
        When, seconds since the epoch.
    instance : str
        Who says so.

    Returns
    -------
    dict
        Named by what it is about, so that it is there once however often it is sent.
    """
    api, kind = _KINDS[work.kind]
    digest = hashlib.sha256(f"{work.uid}/{reason}".encode()).hexdigest()[:16]
    text = note.encode()[:_NOTE_BYTES].decode(errors="ignore")
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": f"{work.name[:200]}.{digest}", "namespace": work.namespace},
        "eventTime": datetime.fromtimestamp(at_s, tz=UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "reportingController": f"{DOMAIN}/gates",
        "reportingInstance": instance[:128],
        "action": "Defer" if reason.endswith("Deferred") else "Release",
        "reason": reason,
        "type": "Normal",
        "note": text,
        "regarding": {
            "apiVersion": api,
            "kind": kind,
            "namespace": work.namespace,
            "name": work.name,
            "uid": work.uid,
        },
    }


class Events:
    """Sends events, from a thread of its own.

    Parameters
    ----------
    creates : Creates
        Writes to the cluster.
    clock : Clock
        Ours.
    instance : str
        Who says so.
    per_s : float
        At most so many a second; more wait, and the oldest of more than 10,000 are dropped.
    failed : callable
        Told of each that was dropped.
    """

    def __init__(
        self,
        creates: Creates,
        *,
        clock: Clock,
        instance: str,
        per_s: float,
        failed: Callable[[], None] = lambda: None,
    ) -> None:
        self._creates = creates
        self._clock = clock
        self._instance = instance
        self._every_s = 1.0 / per_s
        self._failed = failed
        self._queue: deque[dict[str, Any]] = deque()
        self._stopping = threading.Event()
        self._some = threading.Event()
        self._thread: threading.Thread | None = None

    def say(self, work: Waiting, reason: str, note: str) -> None:
        """Send an event some time soon.

        Parameters
        ----------
        work : Waiting
            What it is about.
        reason, note : str
            A word, and a sentence.
        """
        if len(self._queue) >= _MOST:
            self._queue.popleft()
            self._failed()
        self._queue.append(event_of(work, reason, note, at_s=self._clock.now_s(), instance=self._instance))
        self._some.set()

    def step(self) -> bool:
        """Send the oldest.

        Returns
        -------
        bool
            Whether there was one.
        """
        try:
            event = self._queue.popleft()
        except IndexError:
            return False
        try:
            self._creates.create("events", event["metadata"]["namespace"], event)
        except Changed:
            pass  # it is there already, from a try before
        except AicschedError as error:
            # An event is a courtesy: what it tells stands on the object, too.
            self._failed()
            _log.info("an event was not sent: %s", error)
        return True

    def start(self) -> None:
        """Begin to send."""
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Send what waits, for a second at most, and end."""
        until_s = self._clock.monotonic_s() + 1.0
        self._stopping.set()
        self._some.set()
        if self._thread is not None:
            self._thread.join()
        while self._clock.monotonic_s() < until_s and self.step():
            pass

    def _run(self) -> None:
        while not self._stopping.is_set():
            if self.step():
                self._stopping.wait(self._every_s)
            else:
                self._some.wait(1.0)
                self._some.clear()

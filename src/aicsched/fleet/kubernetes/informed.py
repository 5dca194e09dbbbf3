"""Following objects of a cluster: a cache of them that the API server keeps up to date.

`kubernetes.informer.SharedInformer` lists, watches, and lists again where a watch is too old
(410). What it leaves open is done here, in the function that it calls for both: limits of
time, pages, waits between failures (it would ask again at once, for ever), an end that doesn't
wait for the next event, and faults in words that name the right which is missing.
"""

from __future__ import annotations

import contextlib
import json
import logging
import random
import socket
import threading
import time
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, Self

from aicsched.errors import AicschedError, ConfigError, SignalInvalid, SourceUnavailable
from aicsched.fleet.kubernetes.faults import fault_of
from aicsched.fleet.kubernetes.slim import slim, strip
from aicsched.observe import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

__all__ = ["JOBS", "NODES", "PODS", "Kind", "ObjectWatch", "WatchLimits"]

_log = get_logger("fleet.kubernetes")
_GONE: Final = 410
_BREATH_S: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchLimits:
    """How long and how much.

    Parameters
    ----------
    connect_s, read_s : float
        Longest waits for a connection, and for bytes of a list [s].
    watch_s : int
        How long the server keeps a watch open [s]; bytes are waited for a little longer.
    page : int
        Objects a page of a list.
    page_bytes : int
        Largest page.
    first_wait_s, longest_wait_s : float
        Waits between failures, doubled each time [s].
    silent_s : float
        How long a watch may be without any word, bookmarks included, before the cluster counts as out of
        sight [s].
    """

    connect_s: float = 3.0
    read_s: float = 10.0
    watch_s: int = 240
    page: int = 500
    page_bytes: int = 64 * 2**20
    first_wait_s: float = 0.5
    longest_wait_s: float = 30.0
    silent_s: float = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of objects to follow.

    Parameters
    ----------
    name : str
        What it is called here.
    group, call : str
        The client's class and function that list it: ``CoreV1Api`` and ``list_node``.
    right : str
        What the right to see it is called in a role.
    selectors : mapping of str to str
        Which of them: ``label_selector``, ``field_selector``.
    """

    name: str
    group: str
    call: str
    right: str
    selectors: Mapping[str, str] = field(default_factory=dict)


NODES: Final = Kind(name="nodes", group="CoreV1Api", call="list_node", right="nodes")
PODS: Final = Kind(name="pods", group="CoreV1Api", call="list_pod_for_all_namespaces", right="pods")
JOBS: Final = Kind(name="jobs", group="BatchV1Api", call="list_job_for_all_namespaces", right="jobs.batch")


class _Stopped(Exception):
    pass


@dataclass(slots=True)
class _State:
    """What is known of one kind of objects."""

    synced: bool = False
    heard_s: float = -float("inf")
    opened_s: float = -float("inf")
    failures: int = 0
    fault: AicschedError | None = None
    doubles: tuple[str, ...] = ()
    live: list[Any] = field(default_factory=list)


class ObjectWatch:
    """Keeps up with objects of a cluster, from `start` to `stop`, or as a context.

    Parameters
    ----------
    api : kubernetes.client.ApiClient
        As `connect` makes it.
    kinds : tuple of Kind
        What to follow.
    limits : WatchLimits
        How long and how much.
    source : str
        What the cluster is called.
    """

    def __init__(
        self,
        api: Any,  # noqa: ANN401 - no types
        *,
        kinds: tuple[Kind, ...],
        limits: WatchLimits = WatchLimits(),
        source: str = "kubernetes",
    ) -> None:
        from kubernetes import client  # noqa: PLC0415 - see connect
        from kubernetes.informer import SharedInformer  # noqa: PLC0415

        # It logs each failure with its traceback; ours says so once, in one line.
        logging.getLogger("kubernetes.informer").addHandler(logging.NullHandler())
        self._api = api
        self._limits = limits
        self._source = source
        self._stopping = threading.Event()
        self._lock = threading.RLock()
        self._kinds = {kind.name: kind for kind in kinds}
        self._calls: dict[str, Callable[..., Any]] = {
            kind.name: getattr(getattr(client, kind.group)(api), kind.call) for kind in kinds
        }
        self._states = {kind: _State() for kind in self._calls}
        self._informers: dict[str, Any] = {kind: SharedInformer(self._asking(kind)) for kind in self._calls}
        for kind, informer in self._informers.items():
            for event in ("ADDED", "MODIFIED", "DELETED", "BOOKMARK"):
                informer.add_event_handler(event, self._hearing(kind))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to list and watch, in threads of their own."""
        self._stopping.clear()
        for informer in self._informers.values():
            informer.start()

    def stop(self) -> None:
        """End at once, whatever is under way."""
        with self._lock:
            self._stopping.set()
            for state in self._states.values():
                for answer in state.live:
                    _cut(answer)
        for informer in self._informers.values():
            informer.stop()
        for state in self._states.values():
            for answer in state.live:
                answer.close()
            state.live.clear()
        self._api.rest_client.pool_manager.clear()

    def wait(self, within_s: float = 30.0) -> None:
        """Wait until everything was listed once.

        Parameters
        ----------
        within_s : float
            How long at most [s].

        Raises
        ------
        ConfigError
            The server refuses who asks (401), or what is asked for (403).
        SourceUnavailable, SignalInvalid
            It can't be reached, or sends something else, when the time is up.
        """
        until_s = time.monotonic() + within_s
        while not self.synced():
            for state in self._states.values():
                if isinstance(state.fault, ConfigError) or (state.fault and time.monotonic() > until_s):
                    raise state.fault
            if time.monotonic() > until_s:
                waiting = ", ".join(kind for kind, state in self._states.items() if not state.synced)
                msg = f"{self._source} has not listed its {waiting} within {within_s:g} s"
                raise SourceUnavailable(msg, hint="try again later")
            time.sleep(0.02)

    def faults(self) -> tuple[str, ...]:
        """Tell what is wrong at the moment.

        Returns
        -------
        tuple of str
            One text for each kind of objects that can't be listed or watched.
        """
        return tuple(str(state.fault) for state in self._states.values() if state.fault is not None)

    def heard_s(self) -> float:
        """Tell how long ago the server was heard.

        Returns
        -------
        float
            Seconds, of the kind of objects that has been silent longest; infinite before the first list.
        """
        return time.monotonic() - min(state.heard_s for state in self._states.values())

    def listen(
        self, kind: str, heard: Callable[[str, dict[str, Any]], None], *, forget: bool = False
    ) -> None:
        """Be told of each object that comes, changes or goes; call this before `start`.

        Parameters
        ----------
        kind : str
            One of those that are followed.
        heard : callable
            Called in the thread of the informer, one event after another, with ``"ADDED"``,
            ``"MODIFIED"`` or ``"DELETED"`` and the object. What was there before is added first; what
            went while the watch was broken is told as deleted.
        forget : bool
            Keep no more of an object than its name, once it was told: then a deleted one may come with
            nothing else, and `objects` has nothing else.
        """

        def telling(event: str) -> Callable[[Any], None]:
            def tell(item: Any) -> None:  # noqa: ANN401 - any JSON
                try:
                    heard(event, item)
                except Exception:  # noqa: BLE001 - the informer would say so where nobody looks
                    _log.exception("%s: %s of %s can't be taken in", self._source, event, kind)
                if forget:
                    strip(item)

            return tell

        for event in ("ADDED", "MODIFIED", "DELETED"):
            self._informers[kind].add_event_handler(event, telling(event))

    def synced(self) -> bool:
        """Tell whether everything was listed once.

        Returns
        -------
        bool
            True from then on.
        """
        return all(state.synced for state in self._states.values())

    def objects(self, kind: str) -> list[Any]:
        """Return what is known of a kind.

        Parameters
        ----------
        kind : str
            Its name.

        Returns
        -------
        list of dict
            As the server sent them; not to be changed.
        """
        return self._informers[kind].cache.list()

    def read(self, kind: str) -> list[Any]:
        """List a kind at this moment, page by page, whether it is followed or not.

        Parameters
        ----------
        kind : str
            Its name.

        Returns
        -------
        list of dict
            As the server sends them.

        Raises
        ------
        ConfigError
            The right to list it is missing.
        SourceUnavailable, SignalInvalid
            The server can't be reached, or sends something else.
        """
        try:
            return self._listed(kind).items
        except Exception as error:
            raise self._fault(kind, error) from error

    def _hearing(self, kind: str) -> Callable[[Any], None]:
        def heard(item: Any) -> None:  # noqa: ANN401 - an event
            self._states[kind].heard_s = time.monotonic()
            slim(kind, item)

        return heard

    def _asking(self, kind: str) -> Callable[..., Any]:
        """Make the function by which an informer lists and watches one kind of objects."""

        def ask(**options: Any) -> Any:  # noqa: ANN401 - an informer's
            state = self._states[kind]
            watching = bool(options.get("watch"))
            # That it watches says that the list is in its cache.
            state.synced |= watching
            # An open watch says nothing yet, or at once that what we hold is too old. One that went on
            # for long was none too old when it began.
            if watching and time.monotonic() - state.opened_s > self._limits.watch_s / 2:
                state.heard_s = max(state.heard_s, state.opened_s)
            state.opened_s = -float("inf")
            self._rest(state)
            try:
                answer = self._watched(kind, options) if watching else self._listed(kind)
            except Exception as error:
                if not self._stopping.is_set():
                    self._failed(kind, error)
                raise
            state.failures, state.fault = 0, None
            if watching:
                state.opened_s = time.monotonic()
            else:
                state.heard_s = time.monotonic()
            return answer

        # By its documentation the watch learns what it streams: plain mappings, whose versions it follows.
        ask.__doc__ = ":rtype: object"
        return ask

    def _rest(self, state: _State) -> None:
        if state.failures:
            longest_s = min(
                self._limits.first_wait_s * 2 ** (state.failures - 1), self._limits.longest_wait_s
            )
            self._stopping.wait(longest_s * random.uniform(0.5, 1.0))  # noqa: S311 - spreads clients
        if self._stopping.is_set():
            # The informer asks again at once, until it learns that it is to end.
            time.sleep(_BREATH_S)
            raise _Stopped

    def _failed(self, kind: str, error: Exception) -> None:
        state = self._states[kind]
        state.failures += 1
        state.fault = self._fault(kind, error)
        _log.warning("%s", state.fault)

    def _fault(self, kind: str, error: Exception) -> AicschedError:
        grant = f"get, list and watch on {self._kinds[kind].right} by a ClusterRole"
        return fault_of(error, f"{self._source}: {kind}", doing="be listed and watched", grant=grant)

    def _call(self, kind: str, **options: Any) -> Any:  # noqa: ANN401 - a response of the client
        """Send one request; return its open answer, which `stop` can cut. Refusals raise ApiException."""
        state = self._states[kind]
        answer = self._calls[kind](_preload_content=False, **self._kinds[kind].selectors, **options)
        with self._lock:
            # The one before it has been read, or is being left.
            state.live = [*state.live[-1:], answer]
            if not self._stopping.is_set():
                return answer
        answer.close()
        raise _Stopped

    def _watched(self, kind: str, options: dict[str, Any]) -> Any:  # noqa: ANN401 - an open answer
        limits = self._limits
        asked = {name: value for name, value in options.items() if name != "_preload_content"}
        asked.setdefault("timeout_seconds", limits.watch_s)
        timeout = (limits.connect_s, asked["timeout_seconds"] + limits.read_s)
        return self._call(kind, allow_watch_bookmarks=True, _request_timeout=timeout, **asked)

    def _listed(self, kind: str) -> Any:  # noqa: ANN401 - what an informer takes for a list
        items: list[Any] = []
        more: dict[str, Any] = {}
        while True:
            page = self._page(kind, more)
            items += page["items"]
            meta = page["metadata"]
            if not meta.get("continue"):
                break
            more = {"_continue": meta["continue"]}
        names = [(each["metadata"].get("namespace"), each["metadata"].get("name")) for each in items]
        if len(set(names)) < len(names):
            seen: set[Any] = set()
            doubles = tuple(str(name[1]) for name in names if name in seen or seen.add(name))
            self._states[kind].doubles = doubles
            _log.warning("%s: %s appear twice: %s", self._source, kind, ", ".join(doubles[:5]))
        else:
            self._states[kind].doubles = ()
        return SimpleNamespace(
            items=items, metadata=SimpleNamespace(resource_version=meta.get("resourceVersion"))
        )

    def _page(self, kind: str, more: dict[str, Any]) -> dict[str, Any]:
        limits = self._limits
        timeout = (limits.connect_s, limits.read_s)
        try:
            answer = self._call(kind, limit=limits.page, _request_timeout=timeout, **more)
        except Exception as error:
            if more and getattr(error, "status", None) == _GONE:
                # The pages that follow are too old: the informer begins again.
                msg = f"{self._source}: the list of {kind} expired between two pages"
                raise SourceUnavailable(msg, hint="it is asked for again") from error
            raise
        body = answer.read(limits.page_bytes + 1)
        if len(body) > limits.page_bytes:
            answer.close()
            msg = f"{self._source}: a page of {kind} has more than {limits.page_bytes} bytes"
            raise SignalInvalid(msg, hint="use smaller pages")
        try:
            page = json.loads(body)
            named = all(isinstance(each["metadata"], dict) for each in page["items"] or ())
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            page, named = None, False
            _log.debug("%s: %s", self._source, type(error).__name__)
        if not named or not isinstance(page, dict):
            msg = f"{self._source} sent no list of {kind}"
            raise SignalInvalid(msg, hint="check the address: a proxy or a login page may answer")
        items = page["items"] or []
        for item in items:
            slim(kind, item)
        return {"items": items, "metadata": page.get("metadata") or {}}


def _cut(answer: Any) -> None:  # noqa: ANN401 - a response of urllib3
    """Shut the line under an answer, so that who reads from it goes on."""
    line = getattr(getattr(answer, "connection", None), "sock", None)
    if line is not None:
        with contextlib.suppress(OSError):
            line.shutdown(socket.SHUT_RDWR)

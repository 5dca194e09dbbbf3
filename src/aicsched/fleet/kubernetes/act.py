"""Writing to a cluster: patches, events and leases, each sent once, with short limits of time.

Bodies are plain JSON, as in what is read (see `objects`). Nothing is tried again here: whoever
writes knows whether it still should. What the server's clock says is noted from each answer.
"""

from __future__ import annotations

import json
import threading
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

from aicsched.errors import AicschedError, SignalInvalid
from aicsched.fleet.kubernetes.faults import fault_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["Changed", "ClusterActs", "ServerClock"]

_PATCH: Final = "application/json-patch+json"
_JSON: Final = "application/json"
# A test of a patch that fails is 422, an old resourceVersion 409.
_CHANGED: Final = (409, 422)
_GROUPS: Final = {
    "pods": "/api/v1",
    "jobs": "/apis/batch/v1",
    "events": "/apis/events.k8s.io/v1",
    "leases": "/apis/coordination.k8s.io/v1",
}
_NAMES: Final = {
    "jobs": "jobs.batch",
    "events": "events.events.k8s.io",
    "leases": "leases.coordination.k8s.io",
}


class Changed(AicschedError):
    """An object is no longer what a write supposed: read it again."""

    code = "changed"


class ServerClock:
    """Tells the later of our time and the API server's.

    Who must not be late goes by whichever clock is ahead. The server's time is that of its newest
    answer, and what has passed since on a clock that never jumps.

    Parameters
    ----------
    now_s : callable
        Ours: seconds since the epoch.
    monotonic_s : callable
        Ours that never jumps: seconds since some moment.

    Examples
    --------
    >>> clock = ServerClock(lambda: 0.0, lambda: 0.0)
    >>> clock.heard("Thu, 01 Jan 1970 00:01:00 GMT")
    >>> clock.skew_s(), clock.now_s()
    (-60.0, 60.0)
    """

    def __init__(
        self, now_s: Callable[[], float] = time.time, monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._now_s = now_s
        self._monotonic_s = monotonic_s
        self._lock = threading.Lock()
        self._heard: tuple[float, float] | None = None

    def heard(self, date: str | None) -> None:
        """Take a header ``Date`` in.

        Parameters
        ----------
        date : str or None
            As the server wrote it; one that can't be read is passed over.
        """
        try:
            server_s = parsedate_to_datetime(date or "").timestamp()
        except (TypeError, ValueError):
            return
        with self._lock:
            self._heard = server_s, self._monotonic_s()

    def server_s(self) -> float | None:
        """Tell the server's time, to a second.

        Returns
        -------
        float or None
            Seconds since the epoch; None before its first answer.
        """
        with self._lock:
            heard = self._heard
        return None if heard is None else heard[0] + self._monotonic_s() - heard[1]

    def skew_s(self) -> float:
        """Tell how far our clock is ahead of the server's.

        Returns
        -------
        float
            Seconds; 0 while that isn't known.
        """
        server_s = self.server_s()
        return 0.0 if server_s is None else self._now_s() - server_s

    def now_s(self) -> float:
        """Tell the later time of both.

        Returns
        -------
        float
            Seconds since the epoch.
        """
        server_s = self.server_s()
        ours_s = self._now_s()
        return ours_s if server_s is None else max(ours_s, server_s)


class ClusterActs:
    """Writes to a cluster, from any thread.

    Parameters
    ----------
    api : kubernetes.client.ApiClient
        As `aicsched.fleet.kubernetes.watch.connect` makes it.
    source : str
        What the cluster is called.
    clock : ServerClock, optional
        Told the server's time.
    connect_s, read_s : float
        Longest waits for a connection and for an answer [s].
    """

    def __init__(
        self,
        api: Any,  # noqa: ANN401 - no types
        *,
        source: str = "kubernetes",
        clock: ServerClock | None = None,
        connect_s: float = 2.0,
        read_s: float = 4.0,
    ) -> None:
        self._api = api
        self._source = source
        self.clock = clock or ServerClock()
        self._timeout = (connect_s, read_s)

    def read(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        """Read one object.

        Parameters
        ----------
        kind : str
            ``"pods"``, ``"jobs"`` or ``"leases"``.
        namespace, name : str
            Which.

        Returns
        -------
        dict or None
            None where there is none.

        Raises
        ------
        ConfigError
            The right is missing, or the token.
        SourceUnavailable
            The server can't be reached, or is in trouble.
        """
        return self._send("GET", kind, namespace, name)

    def patch(
        self, kind: str, namespace: str, name: str, steps: Sequence[Mapping[str, Any]]
    ) -> dict[str, Any] | None:
        """Change one object by a JSON patch (RFC 6902).

        Parameters
        ----------
        kind : str
            ``"pods"`` or ``"jobs"``.
        namespace, name : str
            Which.
        steps : sequence of mapping
            Its operations; ``test`` makes it safe against changes by others.

        Returns
        -------
        dict or None
            As it is now; None where there is none any more.

        Raises
        ------
        Changed
            A test failed, or the server refuses what would come out.
        ConfigError, SourceUnavailable
            As for `read`.
        """
        return self._send("PATCH", kind, namespace, name, list(steps), _PATCH)

    def create(self, kind: str, namespace: str, body: Mapping[str, Any]) -> dict[str, Any] | None:
        """Make an object.

        Parameters
        ----------
        kind : str
            ``"events"`` or ``"leases"``.
        namespace : str
            Where.
        body : mapping
            The object.

        Returns
        -------
        dict or None
            As it was made; None where the namespace is gone.

        Raises
        ------
        Changed
            One of this name is there already.
        ConfigError, SourceUnavailable
            As for `read`.
        """
        return self._send("POST", kind, namespace, "", dict(body), _JSON)

    def replace(self, kind: str, namespace: str, name: str, body: Mapping[str, Any]) -> dict[str, Any] | None:
        """Put an object in the place of the one that was read.

        Parameters
        ----------
        kind : str
            ``"leases"``.
        namespace, name : str
            Which.
        body : mapping
            With the ``resourceVersion`` that was read.

        Returns
        -------
        dict or None
            As it is now; None where it is gone.

        Raises
        ------
        Changed
            Somebody else was faster.
        ConfigError, SourceUnavailable
            As for `read`.
        """
        return self._send("PUT", kind, namespace, name, dict(body), _JSON)

    def _send(
        self,
        method: str,
        kind: str,
        namespace: str,
        name: str,
        body: Any = None,  # noqa: ANN401 - JSON
        media: str = _JSON,
    ) -> dict[str, Any] | None:
        verb = {"GET": "get", "PATCH": "patch", "POST": "create", "PUT": "update"}[method]
        where = f"{self._source}: {kind} in {namespace}"
        grant = f"{verb} on {_NAMES.get(kind, kind)} by a role"
        path = f"{_GROUPS[kind]}/namespaces/{namespace}/{kind}" + (f"/{name}" if name else "")
        try:
            asked = self._api.param_serialize(
                method,
                path,
                header_params={"Accept": _JSON, "Content-Type": media},
                auth_settings=["BearerToken"],
                body=body,
            )
            answer = self._api.call_api(*asked, _request_timeout=self._timeout)
            content = answer.read()
        except Exception as error:
            raise fault_of(error, where, doing=f"be written ({verb})", grant=grant) from error
        self.clock.heard(answer.headers.get("Date"))
        return self._read(answer.status, content, where, grant, verb)

    def _read(self, status: int, content: bytes, where: str, grant: str, verb: str) -> dict[str, Any] | None:
        if status == 404:
            return None
        if status in _CHANGED:
            msg = f"{where}: {_said(content)} ({status})"
            raise Changed(msg, hint="read the object again", value=status)
        if not 200 <= status < 300:
            refused = _Refused(status)
            raise fault_of(refused, where, doing=f"be written ({verb})", grant=grant)
        try:
            return json.loads(content)
        except ValueError as error:
            msg = f"{where}: the answer is no JSON"
            raise SignalInvalid(msg, hint="check the address: a proxy or a login page may answer") from error


class _Refused(Exception):
    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def _said(content: bytes) -> str:
    try:
        return str(json.loads(content)["message"])[:300]
    except (ValueError, KeyError, TypeError):
        return "refused"

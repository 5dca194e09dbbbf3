"""Binding a pod to a node through the API server, told as done only when it is.

A scheduler that is told of a success believes it: a pod that was not bound then stays pending
for ever. So whatever is unclear (a timeout, a conflict, a proxy's page) is settled by reading
the pod, and what stays unclear is a failure, which the scheduler tries again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final, Protocol

from aicsched.errors import AicschedError, ConfigError, ServeError, SourceUnavailable
from aicsched.observe import get_logger

__all__ = ["Binder", "Binding", "PodBinder"]

_log = get_logger("fleet.kubernetes")
_POD: Final = "/api/v1/namespaces/{namespace}/pods/{name}"
_DONE: Final = frozenset({200, 201, 202})
_ANSWER_BYTES: Final = 2**20
_TOLD_CHARACTERS: Final = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """Which pod goes where.

    Parameters
    ----------
    namespace, pod, uid : str
        The pod; another one of the same name has another uid.
    node : str
        Where to.
    """

    namespace: str
    pod: str
    uid: str
    node: str

    def __str__(self) -> str:
        return f"pod {self.namespace}/{self.pod} to {self.node}"


class Binder(Protocol):
    """Binds pods."""

    def bind(self, wanted: Binding) -> None:
        """Bind a pod, or raise an AicschedError."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PodBinder:
    """Binds pods through the API server.

    Parameters
    ----------
    api : kubernetes.client.ApiClient
        As `aicsched.fleet.kubernetes.watch.connect` makes it; it may be shared by threads.
    connect_s, read_s : float
        Longest waits for a connection, and for each of at most two answers [s].
    """

    api: Any
    connect_s: float = 1.0
    read_s: float = 2.0

    def bind(self, wanted: Binding) -> None:
        """Bind a pod; on return the API server has said that it is bound to that node.

        Parameters
        ----------
        wanted : Binding
            The pod, with its uid as a precondition, and the node.

        Raises
        ------
        ConfigError
            The server refuses who asks (401), or that pods are bound (403).
        ServeError
            There is no such pod any more, or it is bound to another node.
        SourceUnavailable
            The server can't be reached or fails, and the pod isn't bound as far as can be seen.
        """
        body = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": wanted.pod, "namespace": wanted.namespace, "uid": wanted.uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": wanted.node},
        }
        try:
            status, said = self._ask("POST", f"{_POD}/binding", wanted, body)
        except Exception as error:
            fault = _unreachable(wanted, error)
            if not self._is_bound(wanted, fault):
                raise fault from error
        else:
            if status in _DONE and said.get("kind") == "Status" and said.get("status") == "Success":
                return
            fault = _fault(wanted, status, said)
            if isinstance(fault, ConfigError) or not self._is_bound(wanted, fault):
                raise fault
        _log.info("%s: it is bound (after: %s)", wanted, fault.message)

    def _is_bound(self, wanted: Binding, fault: AicschedError) -> bool:
        """Read the pod after something went wrong."""
        try:
            status, found = self._ask("GET", _POD, wanted)
        except Exception as error:
            raise fault from error
        if status not in _DONE:
            other = _fault(wanted, status, found)
            raise other if isinstance(other, ServeError) else fault
        meta, spec = found.get("metadata") or {}, found.get("spec") or {}
        if meta.get("uid") != wanted.uid:
            msg = f"{wanted}: the pod of that name is another one now"
            raise ServeError(msg, hint="the scheduler forgets the old one", value=meta.get("uid"))
        there = spec.get("nodeName")
        if there and there != wanted.node:
            msg = f"{wanted}: it is bound to {there}"
            raise ServeError(msg, hint="another scheduler may serve the same pods", value=there)
        return there == wanted.node

    def _ask(
        self, method: str, path: str, wanted: Binding, body: dict[str, Any] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Send one request below the client's types, which take half a second to make themselves up."""
        request = self.api.param_serialize(
            method,
            path,
            path_params={"namespace": wanted.namespace, "name": wanted.pod},
            header_params={"Accept": "application/json", "Content-Type": "application/json"},
            body=body,
            auth_settings=["BearerToken"],
        )
        answer = self.api.call_api(*request, _request_timeout=(self.connect_s, self.read_s)).response
        try:
            text = answer.read(_ANSWER_BYTES)
        finally:
            answer.release_conn()
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            found = None
        return answer.status, found if isinstance(found, dict) else {}


def _unreachable(wanted: Binding, error: Exception) -> AicschedError:
    msg = f"{wanted}: the API server can't be reached ({type(error).__name__})"
    return SourceUnavailable(msg, hint="the scheduler tries again")


def _fault(wanted: Binding, status: int, said: dict[str, Any]) -> AicschedError:
    # For an event: one short line.
    told = " ".join(str(said.get("message") or "").split())[:_TOLD_CHARACTERS]
    if status == 401:
        return ConfigError(
            f"{wanted}: the token or certificate is refused (401)", hint="renew it", value=status
        )
    if status == 403 and "forbidden" in told.lower():
        hint = "grant create on pods/binding, and get on pods, by a ClusterRole"
        return ConfigError(f"{wanted}: may not be bound (403): {told}", hint=hint, value=status)
    if status == 404 and said.get("kind") == "Status":
        return ServeError(f"{wanted}: not found: {told}", hint="it may be gone", value=status)
    if not said:
        msg = f"{wanted}: who answers ({status}) is no API server"
        return SourceUnavailable(msg, hint="check the address: a proxy may answer", value=status)
    msg = f"{wanted}: the API server answered {status}: {told}"
    return SourceUnavailable(msg, hint="the scheduler tries again", value=status)

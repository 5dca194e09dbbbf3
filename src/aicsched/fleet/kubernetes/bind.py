"""Binding a pod to a node through the API server, told as done only when it is.

A scheduler that is told of a success believes it: a pod that was not bound then stays pending
for ever. So whatever is unclear (a timeout, a conflict, a proxy's page) is settled by reading
the pod, and what stays unclear is a failure, which the scheduler tries again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from aicsched.errors import AicschedError, ConfigError, ServeError, SourceUnavailable
from aicsched.observe import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Binder", "Binding", "PodBinder"]

_log = get_logger("fleet.kubernetes")
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
        from kubernetes import client  # noqa: PLC0415 - 126 MB and 0.8 s, for those who need it

        body = client.V1Binding(
            metadata=client.V1ObjectMeta(name=wanted.pod, namespace=wanted.namespace, uid=wanted.uid),
            target=client.V1ObjectReference(api_version="v1", kind="Node", name=wanted.node),
        )
        core = client.CoreV1Api(self.api)
        try:
            said = self._ask(core.create_namespaced_pod_binding, wanted, body)
        except Exception as error:
            fault = _fault(wanted, error)
            if isinstance(fault, ConfigError) or not self._is_bound(core, wanted, fault):
                raise fault from error
            _log.info("%s: was bound already (%s)", wanted, fault.message)
            return
        if said.get("kind") == "Status" and said.get("status") == "Success":
            return
        strange = SourceUnavailable(
            f"{wanted}: who answers is no API server", hint="check the address: a proxy may answer"
        )
        if not self._is_bound(core, wanted, strange):
            raise strange

    def _is_bound(self, core: Any, wanted: Binding, fault: AicschedError) -> bool:  # noqa: ANN401 - no types
        """Read the pod after something went wrong."""
        try:
            found = self._ask(core.read_namespaced_pod, wanted)
        except Exception as error:
            other = _fault(wanted, error)
            raise (other if isinstance(other, ServeError) else fault) from error
        meta, spec = found.get("metadata") or {}, found.get("spec") or {}
        if meta.get("uid") != wanted.uid:
            msg = f"{wanted}: the pod of that name is another one now"
            raise ServeError(msg, hint="the scheduler forgets the old one", value=meta.get("uid"))
        there = spec.get("nodeName")
        if there and there != wanted.node:
            msg = f"{wanted}: it is bound to {there}"
            raise ServeError(msg, hint="another scheduler may serve the same pods", value=there)
        return there == wanted.node

    def _ask(self, call: Callable[..., Any], wanted: Binding, *more: Any) -> dict[str, Any]:
        answer = call(
            wanted.pod,
            wanted.namespace,
            *more,
            _preload_content=False,
            _request_timeout=(self.connect_s, self.read_s),
        )
        try:
            body = answer.read(_ANSWER_BYTES)
        finally:
            answer.release_conn()
        try:
            found = json.loads(body)
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}


def _fault(wanted: Binding, error: Exception) -> AicschedError:
    status = getattr(error, "status", None)
    told = _told(error)
    if status == 401:
        return ConfigError(
            f"{wanted}: the token or certificate is refused (401)", hint="renew it", value=status
        )
    if status == 403 and "forbidden" in told.lower():
        hint = "grant create on pods/binding, and get on pods, by a ClusterRole"
        return ConfigError(f"{wanted}: may not be bound (403): {told}", hint=hint, value=status)
    if status == 404:
        return ServeError(f"{wanted}: not found: {told}", hint="it may be gone", value=status)
    what = f"answered {status}: {told}" if status else f"can't be reached ({type(error).__name__})"
    return SourceUnavailable(
        f"{wanted}: the API server {what}", hint="the scheduler tries again", value=status
    )


def _told(error: Exception) -> str:
    """Return what the API server says of a refusal, for an event: one short line."""
    body = getattr(error, "body", None) or b""
    try:
        text = str(json.loads(body)["message"])
    except (ValueError, TypeError, LookupError, RecursionError):
        text = str(getattr(error, "reason", "") or "")
    return " ".join(text.split())[:_TOLD_CHARACTERS]

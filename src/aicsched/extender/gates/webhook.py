"""The mutating webhook: marked pods get our gate when they are made.

It answers from the request alone and changes nothing elsewhere, so a dry run is answered alike
(``sideEffects: None``), and asking twice changes nothing. What it doesn't understand it lets pass:
a pod that starts at once is a lesser harm than one that is refused.
"""

from __future__ import annotations

import base64
import json
import time
from typing import TYPE_CHECKING, Any, Final

import msgspec

from aicsched.errors import MalformedBody
from aicsched.extender import names
from aicsched.extender.gates.waiting import gate_index, is_deferrable, read_terms

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aicsched.config.gates import GatesSettings

__all__ = ["OUTCOMES", "Webhook"]

_MIRROR: Final = "kubernetes.io/config.mirror"
# Waiting less than this isn't worth a release.
_SHORTEST_WAIT_S: Final = 60.0
_LONGEST_WARNING: Final = 250

OUTCOMES: Final = ("gated", "passed", "unreadable", "fault")


class _Asked(msgspec.Struct, rename="camel"):
    uid: str
    operation: str = ""
    namespace: str = ""
    kind: dict[str, str] = {}
    object: dict[str, Any] | None = None
    sub_resource: str = ""


class _Review(msgspec.Struct, rename="camel"):
    request: _Asked
    api_version: str = "admission.k8s.io/v1"


class Webhook:
    """Answers AdmissionReviews (v1).

    Parameters
    ----------
    settings : GatesSettings
        Where work is deferred, and how long.
    counted : callable, optional
        Told each outcome, one of `OUTCOMES`.
    now_s : callable
        The clock: seconds since the epoch.
    """

    def __init__(
        self,
        settings: GatesSettings,
        *,
        counted: Callable[[str], None] = lambda _: None,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._counted = counted
        self._now_s = now_s
        self._decoder = msgspec.json.Decoder(_Review)

    def answer(self, body: bytes) -> bytes:
        """Answer a review.

        Parameters
        ----------
        body : bytes
            An AdmissionReview.

        Returns
        -------
        bytes
            An AdmissionReview that allows it, with a patch where the pod is to wait.

        Raises
        ------
        MalformedBody
            It is none.
        """
        asked = self._decoded(body)
        outcome, patch, warnings = self._judge(asked)
        self._counted(outcome)
        return _said(asked.uid, patch, warnings)

    def allow(self, body: bytes) -> bytes:
        """Let pass what met a defect of ours.

        Parameters
        ----------
        body : bytes
            An AdmissionReview.

        Returns
        -------
        bytes
            One that allows it and changes nothing.

        Raises
        ------
        MalformedBody
            It is none.
        """
        self._counted("fault")
        return _said(self._decoded(body).uid, [], [])

    def _decoded(self, body: bytes) -> _Asked:
        try:
            return self._decoder.decode(body).request
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            msg = f"this is no AdmissionReview: {error}"
            raise MalformedBody(msg, hint="send admission.k8s.io/v1 with a request") from error

    def _judge(self, asked: _Asked) -> tuple[str, list[dict[str, Any]], list[str]]:
        pod = asked.object or {}
        meta, spec = _map(pod.get("metadata")), _map(pod.get("spec"))
        if asked.operation != "CREATE" or asked.sub_resource or asked.kind.get("kind") != "Pod":
            return "passed", [], []
        namespace = asked.namespace or str(meta.get("namespace", ""))
        if not is_deferrable(meta) or not self._settings.takes(namespace) or _never_waits(meta, spec):
            return "passed", [], []
        annotations = {str(key): str(value) for key, value in _map(meta.get("annotations")).items()}
        now_s = self._now_s()
        terms = read_terms(annotations, made_s=now_s, settings=self._settings)
        if terms.faults:
            return "unreadable", [], [_warning(fault) for fault in terms.faults]
        # Its Job waited already; or there is no time to wait.
        if names.RELEASED_AT in annotations or terms.latest_s - now_s < _SHORTEST_WAIT_S:
            return "passed", [], []
        return "gated", _gate(spec), []


def _never_waits(meta: Mapping[str, Any], spec: Mapping[str, Any]) -> bool:
    """Tell whether a pod has its node, belongs to one, keeps the cluster going, or waits already."""
    owners = meta.get("ownerReferences")
    kinds = {_map(owner).get("kind") for owner in (owners if isinstance(owners, list) else ())}
    return bool(
        spec.get("nodeName")
        or _MIRROR in _map(meta.get("annotations"))
        or kinds & {"DaemonSet", "Node"}
        or str(spec.get("priorityClassName") or "").startswith("system-")
        or gate_index(spec) >= 0
    )


def _gate(spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    gate = {"name": names.GATE}
    if isinstance(spec.get("schedulingGates"), list):
        return [{"op": "add", "path": "/spec/schedulingGates/-", "value": gate}]
    return [{"op": "add", "path": "/spec/schedulingGates", "value": [gate]}]


def _warning(fault: str) -> str:
    # Clients print it as it is; the API server cuts what is longer.
    text = f"{fault}; this pod is not deferred and starts at once"
    plain = "".join(letter if letter.isprintable() else "?" for letter in text)
    return plain if len(plain) <= _LONGEST_WARNING else plain[: _LONGEST_WARNING - 1] + "…"


def _said(uid: str, patch: list[dict[str, Any]], warnings: list[str]) -> bytes:
    response: dict[str, Any] = {"uid": uid, "allowed": True}
    if patch:
        response["patchType"] = "JSONPatch"
        response["patch"] = base64.b64encode(json.dumps(patch).encode()).decode()
    if warnings:
        response["warnings"] = warnings
    review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
    return msgspec.json.encode(review)


def _map(value: Any) -> Mapping[str, Any]:  # noqa: ANN401 - any JSON
    return value if isinstance(value, dict) else {}

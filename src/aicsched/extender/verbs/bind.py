"""Answers bind: the pod is bound through the API server, and never said to be when it is not."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from aicsched.errors import AicschedError, ConfigError, ServeError, SourceUnavailable
from aicsched.extender.wire import FAULTS, fold_keys, malformed
from aicsched.fleet.kubernetes.bind import Binding
from aicsched.observe import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from aicsched.fleet.kubernetes.bind import Binder

__all__ = ["BindVerb", "BindingArgs", "BindingResult", "decode_binding"]

_log = get_logger("extender")
_KIND: Final = "ExtenderBindingArgs"
_OUTCOME_OF: Final[dict[type[AicschedError], str]] = {
    ServeError: "refused",
    ConfigError: "forbidden",
    SourceUnavailable: "unavailable",
}
# They become parts of a path: names as the API server knows them, and nothing that climbs.
_NAME: Final = re.compile(r"(?!.*\.\.)[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", re.ASCII)
_UID: Final = re.compile(r"[!-~]{1,128}")


class BindingArgs(msgspec.Struct, frozen=True):
    """What the scheduler sends to bind: ExtenderBindingArgs.

    Parameters
    ----------
    pod, namespace, uid, node : str
        Which pod goes where.
    """

    pod: str = msgspec.field(name="PodName")
    namespace: str = msgspec.field(name="PodNamespace")
    uid: str = msgspec.field(name="PodUID")
    node: str = msgspec.field(name="Node")


class BindingResult(msgspec.Struct, frozen=True):
    """The answer to bind: ExtenderBindingResult.

    Parameters
    ----------
    error : str
        Why the pod is not bound; empty when it is.
    """

    error: str = msgspec.field(name="Error")


_decoder: Final = msgspec.json.Decoder(BindingArgs)
_encoder: Final = msgspec.json.Encoder()
_KEYS: Final = tuple(field.encode_name for field in msgspec.structs.fields(BindingArgs))


def decode_binding(body: bytes) -> Binding:
    """Decode what the scheduler sends to bind.

    Parameters
    ----------
    body : bytes
        ExtenderBindingArgs in JSON.

    Returns
    -------
    Binding
        All four parts, each a name that Kubernetes gives.

    Raises
    ------
    MalformedBody
        It is something else, or a part is missing or no name.

    Examples
    --------
    >>> str(decode_binding(b'{"podname":"p","podnamespace":"team","poduid":"6b2e","node":"n1"}'))
    'pod team/p to n1'
    """
    try:
        args = _decoder.decode(body)
    except msgspec.ValidationError:
        args = _decode_any_case(body)
    except FAULTS as error:
        raise malformed(error, _KIND) from error
    for key, value, rule in (
        ("PodName", args.pod, _NAME),
        ("PodNamespace", args.namespace, _NAME),
        ("PodUID", args.uid, _UID),
        ("Node", args.node, _NAME),
    ):
        if rule.fullmatch(value) is None:
            detail = f"{key} is {value[:80]!r}"
            raise malformed(detail, _KIND)
    return Binding(namespace=args.namespace, pod=args.pod, uid=args.uid, node=args.node)


def _decode_any_case(body: bytes) -> BindingArgs:
    try:
        return msgspec.convert(fold_keys(msgspec.json.decode(body), _KEYS), BindingArgs)
    except FAULTS as error:
        raise malformed(error, _KIND) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class BindVerb:
    """Answers bind; it waits for the API server, so it belongs into a thread.

    Parameters
    ----------
    binder : Binder
        Binds.
    count : callable
        Told what became of each pod: one of `aicsched.extender.metrics.BINDINGS`.
    """

    binder: Binder
    count: Callable[[str], None]

    def answer(self, body: bytes) -> bytes:
        """Bind, and say so; or say why not.

        Parameters
        ----------
        body : bytes
            ExtenderBindingArgs in JSON.

        Returns
        -------
        bytes
            ExtenderBindingResult in JSON; its Error is empty only when the pod is bound to that node.

        Raises
        ------
        MalformedBody
            The body can't be read.
        """
        wanted = decode_binding(body)
        try:
            self.binder.bind(wanted)
        except AicschedError as error:
            _log.warning("%s", error)
            outcome, said = _OUTCOME_OF.get(type(error), "fault"), str(error)
        except Exception as error:  # noqa: BLE001 - as the comment says
            # Whatever goes wrong, the scheduler must not take the pod for bound.
            _log.exception("%s: binding failed", wanted)
            outcome, said = "fault", f"{wanted}: binding failed ({type(error).__name__})"
        else:
            outcome, said = "bound", ""
        self.count(outcome)
        return _encoder.encode(BindingResult(error=f"aicsched: {said}" if said else ""))

"""Answers preempt: which nodes may be cleared of which pods.

The scheduler has chosen candidates and victims and picks one of what comes back, so each
node that is left out here may be the one that would have taken the pod. All stay, but those
that filter would refuse once their pods were evicted, and those without a victim, for which
the scheduler would give up on all. The answer names victims by uid, however they came.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec

from aicsched.errors import BodyTooLarge
from aicsched.extender.wire import FAULTS, fold_keys, malformed, refuse_bad_text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

__all__ = [
    "MetaPod",
    "MetaVictims",
    "OfferedVictims",
    "PreemptionArgs",
    "PreemptionResult",
    "decode_preemption",
    "encode_preemption",
    "preempt",
]

_KIND: Final = "ExtenderPreemptionArgs"
# The scheduler offers at most a tenth of 5,000 nodes with a few victims each.
_MAX_VICTIMS: Final = 100_000
# Bodies in other spelling don't come from a scheduler; decoding them costs ten times their size.
_ANY_CASE_BYTES: Final = 2**20

_NULL: Final = msgspec.Raw(b"null")
_Uid = Annotated[str, msgspec.Meta(min_length=1)]
_Count = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class MetaPod(msgspec.Struct, frozen=True, gc=False):
    """A victim.

    Parameters
    ----------
    uid : str
        Its uid.
    """

    uid: _Uid = msgspec.field(name="UID")


class MetaVictims(msgspec.Struct, frozen=True, gc=False):
    """Who must go from a node.

    Parameters
    ----------
    pods : tuple of MetaPod
        At least one, as they came.
    violations : int
        Disruption budgets that break.
    """

    pods: tuple[MetaPod, ...] = msgspec.field(name="Pods")
    violations: _Count = msgspec.field(name="NumPDBViolations")


class PreemptionArgs(msgspec.Struct, frozen=True):
    """What the scheduler sends to preempt, with the victims in one form.

    Parameters
    ----------
    pod : msgspec.Raw
        Who wants in, not decoded yet.
    victims : dict of str to MetaVictims
        By node; nodes without a victim are left out.
    """

    pod: msgspec.Raw
    victims: dict[str, MetaVictims]


class VictimMeta(msgspec.Struct, frozen=True, gc=False):
    """Of a victim's metadata, what is read."""

    uid: _Uid


class VictimPod(msgspec.Struct, frozen=True, gc=False):
    """A victim as a whole pod, of which only the uid is read."""

    metadata: VictimMeta


class VictimPods(msgspec.Struct, frozen=True, gc=False):
    """The victims of a node, as whole pods, and how many disruption budgets break."""

    pods: list[VictimPod] | None = msgspec.field(name="Pods")
    violations: _Count = msgspec.field(name="NumPDBViolations", default=0)


class VictimUids(msgspec.Struct, frozen=True, gc=False):
    """The victims of a node by uid, and how many disruption budgets break."""

    pods: list[MetaPod] | None = msgspec.field(name="Pods")
    violations: _Count = msgspec.field(name="NumPDBViolations", default=0)


class OfferedVictims(msgspec.Struct, frozen=True):
    """What the scheduler sends to preempt, as it comes: ExtenderPreemptionArgs.

    Parameters
    ----------
    full, meta : dict, optional
        Victims by node, as whole pods or by uid; one of the two is null.
    pod : msgspec.Raw
        Who wants in.
    """

    full: dict[str, VictimPods | None] | None = msgspec.field(name="NodeNameToVictims", default=None)
    meta: dict[str, VictimUids | None] | None = msgspec.field(name="NodeNameToMetaVictims", default=None)
    pod: msgspec.Raw = msgspec.field(name="Pod", default_factory=lambda: _NULL)


class PreemptionResult(msgspec.Struct, frozen=True):
    """The answer to preempt: ExtenderPreemptionResult.

    Parameters
    ----------
    victims : dict of str to MetaVictims
        By node, a part of what was offered.
    """

    victims: dict[str, MetaVictims] = msgspec.field(name="NodeNameToMetaVictims")


_decoder: Final = msgspec.json.Decoder(OfferedVictims)
_encoder: Final = msgspec.json.Encoder()


def decode_preemption(body: bytes) -> PreemptionArgs:
    """Decode what the scheduler sends to preempt.

    Parameters
    ----------
    body : bytes
        ExtenderPreemptionArgs in JSON, with victims by uid or as whole pods.

    Returns
    -------
    PreemptionArgs
        Victims by uid.

    Raises
    ------
    MalformedBody
        It is something else, or a victim has no uid.
    BodyTooLarge
        It names more victims than any cluster.

    Examples
    --------
    >>> body = b'{"Pod":{},"NodeNameToVictims":null,"NodeNameToMetaVictims":{"n":{"Pods":[{"UID":"a"}]}}}'
    >>> decode_preemption(body).victims["n"].pods[0].uid
    'a'
    """
    if max(body.count(b'"metadata"'), body.count(b'"UID"')) > _MAX_VICTIMS:
        msg = f"a body names more than {_MAX_VICTIMS} victims"
        raise BodyTooLarge(msg, hint="no cluster has so many candidates")
    try:
        refuse_bad_text(body)
        args = _decode(body)
    except FAULTS as error:
        raise malformed(error, _KIND) from error
    return PreemptionArgs(pod=args.pod, victims=_by_uid(args))


def _decode(body: bytes) -> OfferedVictims:
    try:
        args = _decoder.decode(body)
    except msgspec.ValidationError:
        if len(body) > _ANY_CASE_BYTES:
            raise
        args = _decode_any_case(body)
    if args.full is None and args.meta is None and len(body) <= _ANY_CASE_BYTES:
        args = _decode_any_case(body)
    if args.full is None and args.meta is None:
        msg = "it offers neither NodeNameToVictims nor NodeNameToMetaVictims"
        raise ValueError(msg)
    return args


def _by_uid(args: OfferedVictims) -> dict[str, MetaVictims]:
    if args.meta is not None:
        return {
            node: MetaVictims(pods=tuple(each.pods), violations=each.violations)
            for node, each in args.meta.items()
            if each is not None and each.pods
        }
    return {
        node: MetaVictims(
            pods=tuple(MetaPod(uid=pod.metadata.uid) for pod in each.pods), violations=each.violations
        )
        for node, each in (args.full or {}).items()
        if each is not None and each.pods
    }


def _decode_any_case(body: bytes) -> OfferedVictims:
    args = fold_keys(msgspec.json.decode(body), ("Pod", "NodeNameToVictims", "NodeNameToMetaVictims"))
    if not isinstance(args, dict):
        msg = "it is no object"
        raise ValueError(msg)  # noqa: TRY004 - of the kinds that decoding raises
    args["Pod"] = msgspec.Raw(_encoder.encode(args.get("Pod")))
    for name in ("NodeNameToVictims", "NodeNameToMetaVictims"):
        if isinstance(args.get(name), dict):
            args[name] = {node: _victims_any_case(each) for node, each in args[name].items()}
    return msgspec.convert(args, OfferedVictims)


def _victims_any_case(value: Any) -> Any:  # noqa: ANN401 - JSON of an unknown shape
    if not isinstance(value, dict):
        return value
    made: dict[str, Any] = {"Pods": None, **fold_keys(value, ("Pods", "NumPDBViolations"))}
    if isinstance(made["Pods"], list):
        pods = [fold_keys(pod, ("UID", "metadata")) for pod in made["Pods"]]
        for pod in pods:
            if isinstance(pod, dict) and "metadata" in pod:
                pod["metadata"] = fold_keys(pod["metadata"], ("uid",))
        made["Pods"] = pods
    return made


def encode_preemption(victims: dict[str, MetaVictims]) -> bytes:
    """Write the answer to preempt.

    Parameters
    ----------
    victims : dict of str to MetaVictims
        By node, of what was offered.

    Returns
    -------
    bytes
        ExtenderPreemptionResult in JSON.

    Examples
    --------
    >>> encode_preemption({"n": MetaVictims(pods=(MetaPod(uid="a"),), violations=0)})
    b'{"NodeNameToMetaVictims":{"n":{"Pods":[{"UID":"a"}],"NumPDBViolations":0}}}'
    """
    return _encoder.encode(PreemptionResult(victims=victims))


def preempt(
    body: bytes, refused: Callable[[msgspec.Raw, Sequence[str]], Collection[str]] = lambda _pod, _names: ()
) -> bytes:
    """Answer preempt: what was offered, without nodes that the pod may not use.

    Parameters
    ----------
    body : bytes
        ExtenderPreemptionArgs in JSON.
    refused : callable, optional
        Of a pod and names of nodes, those that its hard limits forbid; none by default.

    Returns
    -------
    bytes
        ExtenderPreemptionResult in JSON.

    Raises
    ------
    MalformedBody, BodyTooLarge
        As `decode_preemption`.
    """
    args = decode_preemption(body)
    forbidden = set(refused(args.pod, tuple(args.victims)))
    return encode_preemption({node: each for node, each in args.victims.items() if node not in forbidden})

"""The extender/v1 types of kube-scheduler, decoding only the fields that are used.

The scheduler writes ``Pod``, ``Nodes`` and ``NodeNames`` in UpperCamel outside and
lowerCamel inside, always sends all three and sets the unused list to null. Go
matches keys in any case, so other clients may write ``nodenames``: such bodies
take a second, slower path. Parts that are passed on or read later stay raw bytes:
that is what makes full Node objects affordable.

References
----------
k8s.io/kube-scheduler/extender/v1, types.go (Kubernetes 1.36).
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import msgspec

from aicsched.errors import MalformedBody

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

__all__ = [
    "FAULTS",
    "ExtenderArgs",
    "ExtenderFilterResult",
    "HostPriority",
    "OfferedNodes",
    "Pod",
    "decode_args",
    "decode_pod",
    "encode_filter_result",
    "encode_priorities",
    "fold_keys",
    "malformed",
    "offered_names",
    "refuse_bad_text",
]

_NULL: Final = msgspec.Raw(b"null")
_ABSENT: Final = msgspec.Raw(b"")
_NOBODY: Final[Mapping[str, str]] = MappingProxyType({})
FAULTS: Final = (msgspec.DecodeError, RecursionError, UnicodeDecodeError, ValueError)
"""What decoding a body may raise."""


class ExtenderArgs(msgspec.Struct, frozen=True, gc=False):
    """What the scheduler sends to filter and prioritize.

    Parameters
    ----------
    pod : msgspec.Raw
        The pod to schedule, not decoded yet.
    nodes : msgspec.Raw
        A NodeList, or null when the extender is asked by name; empty where `named` has its names.
    node_names : msgspec.Raw
        A list of names, or null when whole nodes are sent.
    named : list of str or None
        Names of whole nodes that were read on the way.
    """

    pod: msgspec.Raw
    nodes: msgspec.Raw = _NULL
    node_names: msgspec.Raw = _NULL
    named: list[str] | None = None

    @property
    def by_name(self) -> bool:
        """Whether nodes are offered by name (nodeCacheCapable) and so must be answered by name."""
        return not _is_null(self.node_names)


class ExtenderFilterResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer to filter: exactly one of `nodes` and `node_names`, as it was asked.

    Parameters
    ----------
    nodes : msgspec.Raw or None
        The NodeList that passes, as it came.
    node_names : msgspec.Raw or None
        The names that pass, as they came.
    failed_nodes : dict of str to str
        Why a node fails; equal texts are aggregated by the scheduler.
    failed_and_unresolvable_nodes : dict of str to str
        The same for nodes where preemption can't help.
    error : str
        Always empty: an error text makes the pod unschedulable.
    """

    # The three last stand in every answer, so they have no defaults that could be left out.
    failed_nodes: dict[str, str] = msgspec.field(name="FailedNodes")
    failed_and_unresolvable_nodes: dict[str, str] = msgspec.field(name="FailedAndUnresolvableNodes")
    error: str = msgspec.field(name="Error")
    nodes: msgspec.Raw | None = msgspec.field(name="Nodes", default=None)
    node_names: msgspec.Raw | None = msgspec.field(name="NodeNames", default=None)


class HostPriority(msgspec.Struct, frozen=True, gc=False):
    """One node's score.

    Parameters
    ----------
    host : str
        The node.
    score : int
        0..10, 10 is best; the scheduler neither checks nor clamps it.
    """

    host: str = msgspec.field(name="Host")
    score: int = msgspec.field(name="Score")


class Resources(msgspec.Struct, frozen=True):
    """A container's resources."""

    requests: dict[str, str | int | float] | None = None


class Container(msgspec.Struct, frozen=True):
    """One container of a pod; a restart policy makes an init container a sidecar."""

    resources: Resources | None = None
    restart_policy: str | None = msgspec.field(name="restartPolicy", default=None)


class PodSpec(msgspec.Struct, frozen=True):
    """What a pod asks for."""

    containers: list[Container] | None = None
    init_containers: list[Container] | None = msgspec.field(name="initContainers", default=None)
    overhead: dict[str, str | int | float] | None = None


class OwnerReference(msgspec.Struct, frozen=True):
    """Who made an object."""

    kind: str = ""
    name: str = ""
    controller: bool | None = None


class ObjectMeta(msgspec.Struct, frozen=True):
    """Name, labels, annotations and owners of an object."""

    name: str = ""
    namespace: str = ""
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    owner_references: list[OwnerReference] | None = msgspec.field(name="ownerReferences", default=None)


class Pod(msgspec.Struct, frozen=True):
    """The parts of a pod that a score reads.

    Parameters
    ----------
    metadata : ObjectMeta or None
        Name, namespace, labels, annotations and owners.
    spec : PodSpec or None
        Containers with their requests.
    """

    metadata: ObjectMeta | None = None
    spec: PodSpec | None = None


class NodeMeta(msgspec.Struct, frozen=True, gc=False):
    """Of a node's metadata, what is read."""

    name: str


class NodeItem(msgspec.Struct, frozen=True, gc=False):
    """A node, of which only the name is read."""

    metadata: NodeMeta


class NodeList(msgspec.Struct, frozen=True, gc=False):
    """Whole nodes."""

    items: list[NodeItem] | None = None


class _RawArgs(msgspec.Struct, frozen=True, gc=False):
    pod: msgspec.Raw = msgspec.field(name="Pod", default=_ABSENT)
    nodes: msgspec.Raw = msgspec.field(name="Nodes", default=_ABSENT)
    node_names: msgspec.Raw = msgspec.field(name="NodeNames", default=_ABSENT)


class _NamedArgs(msgspec.Struct, frozen=True, gc=False):
    nodes: NodeList | None = msgspec.field(name="Nodes")
    node_names: msgspec.Raw = msgspec.field(name="NodeNames")
    pod: msgspec.Raw = msgspec.field(name="Pod")


class _RawNodeList(msgspec.Struct, frozen=True, gc=False):
    items: list[msgspec.Raw] | None = None


class OfferedNodes(msgspec.Struct, frozen=True):
    """ExtenderArgs with all of its parts decoded: what `ExtenderArgs` puts off, for documents.

    Parameters
    ----------
    pod : object
        The pod to schedule.
    nodes : object
        A NodeList, or null when the extender is asked by name.
    node_names : list of str, optional
        Null when whole nodes are sent.
    """

    pod: dict[str, Any] | None = msgspec.field(name="Pod", default=None)
    nodes: NodeList | None = msgspec.field(name="Nodes", default=None)
    node_names: list[str] | None = msgspec.field(name="NodeNames", default=None)


_args_decoder: Final = msgspec.json.Decoder(_RawArgs)
_named_args_decoder: Final = msgspec.json.Decoder(_NamedArgs)
_any_case_decoder: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_names_decoder: Final = msgspec.json.Decoder(list[str])
_nodes_decoder: Final = msgspec.json.Decoder(NodeList)
_raw_nodes_decoder: Final = msgspec.json.Decoder(_RawNodeList)
_pod_decoder: Final = msgspec.json.Decoder(Pod | None)
_encoder: Final = msgspec.json.Encoder()


def _is_null(raw: msgspec.Raw) -> bool:
    return len(memoryview(raw)) == 4 and bytes(raw) == b"null"  # no other JSON value of 4 bytes starts so


def malformed(detail: object, kind: str = "ExtenderArgs") -> MalformedBody:
    """Make the error of a body that can't be read.

    Parameters
    ----------
    detail : object
        What is wrong with it.
    kind : str
        The type of extender/v1 that was expected.

    Returns
    -------
    MalformedBody
        To be raised.
    """
    return MalformedBody(
        f"the body is no extender/v1 {kind}: {detail}", hint="send JSON as kube-scheduler does"
    )


def refuse_bad_text(body: bytes) -> None:
    """Raise `UnicodeDecodeError` where a body is no UTF-8.

    Parameters
    ----------
    body : bytes
        Parts of it may be skipped or passed on undecoded, yet all must be text. ASCII is cheap to tell.
    """
    if not body.isascii():
        body.decode("utf-8")


def fold_keys(value: Any, names: Iterable[str]) -> Any:  # noqa: ANN401 - JSON of an unknown shape
    """Spell the keys of an object as the scheduler does, since Go matches them in any case.

    Parameters
    ----------
    value : object
        Decoded JSON; only an object is changed.
    names : iterable of str
        The keys that are read.

    Returns
    -------
    object
        With those keys so spelled; of two spellings the later counts.

    Examples
    --------
    >>> fold_keys({"podname": "p", "x": 1}, ["PodName"])
    {'PodName': 'p', 'x': 1}
    """
    if not isinstance(value, dict):
        return value
    spelled = {name.lower(): name for name in names}
    return {spelled.get(key.lower(), key): item for key, item in value.items()}


def decode_args(body: bytes, *, names_only: bool = False) -> ExtenderArgs:
    """Decode a filter or prioritize body down to its three parts.

    Parameters
    ----------
    body : bytes
        JSON.
    names_only : bool
        Of whole nodes nothing but the names will be asked for: megabytes are then read once, not twice.

    Returns
    -------
    ExtenderArgs
        Its parts are still raw.

    Raises
    ------
    MalformedBody
        No JSON object, no UTF-8, nested too deep, or it offers neither Nodes nor NodeNames.

    Examples
    --------
    >>> decode_args(b'{"pod":{},"nodes":null,"nodenames":["a"]}').by_name
    True
    """
    try:
        refuse_bad_text(body)
        args = (_decode_named(body) if names_only else None) or _decode_raw(body)
    except FAULTS as error:
        raise malformed(error) from error
    if _is_null(args.nodes) and _is_null(args.node_names):
        detail = "it offers neither Nodes nor NodeNames"
        raise malformed(detail)
    return args


def _decode_named(body: bytes) -> ExtenderArgs | None:
    try:
        args = _named_args_decoder.decode(body)
    except msgspec.ValidationError:
        # Keys in another case, or a fault that is told when it is read again.
        return None
    if args.nodes is None or not _is_null(args.node_names):
        return ExtenderArgs(pod=args.pod, nodes=_NULL, node_names=args.node_names)
    named = [item.metadata.name for item in args.nodes.items or ()]
    return ExtenderArgs(pod=args.pod, nodes=_ABSENT, node_names=_NULL, named=named)


def _decode_raw(body: bytes) -> ExtenderArgs:
    args = _args_decoder.decode(body)
    if _ABSENT in (args.pod, args.nodes, args.node_names):
        return _decode_any_case(body)
    return ExtenderArgs(pod=args.pod, nodes=args.nodes, node_names=args.node_names)


def _decode_any_case(body: bytes) -> ExtenderArgs:
    parts = {name.lower(): raw for name, raw in _any_case_decoder.decode(body).items()}
    return ExtenderArgs(
        pod=parts.get("pod", _NULL),
        nodes=parts.get("nodes", _NULL),
        node_names=parts.get("nodenames", _NULL),
    )


def offered_names(args: ExtenderArgs) -> list[str]:
    """Read the names of the offered nodes.

    Parameters
    ----------
    args : ExtenderArgs
        From `decode_args`.

    Returns
    -------
    list of str
        In the order they came, a name that came twice twice.

    Raises
    ------
    MalformedBody
        Names are no strings, or a node has no ``metadata.name``.
    """
    try:
        if args.by_name:
            return _names_decoder.decode(args.node_names)
        if args.named is not None:
            return args.named
        return [item.metadata.name for item in _nodes_decoder.decode(args.nodes).items or ()]
    except FAULTS as error:
        raise malformed(error) from error


def decode_pod(args: ExtenderArgs) -> Pod:
    """Decode the parts of the pod that a score reads.

    Parameters
    ----------
    args : ExtenderArgs
        From `decode_args`.

    Returns
    -------
    Pod
        Empty when none was sent.

    Raises
    ------
    MalformedBody
        A part that is read has another type than the Kubernetes API gives it.
    """
    try:
        return _pod_decoder.decode(args.pod) or Pod()
    except FAULTS as error:
        raise malformed(error) from error


def encode_filter_result(
    args: ExtenderArgs,
    names: Sequence[str] = (),
    failed: Mapping[str, str] = _NOBODY,
    unresolvable: Mapping[str, str] = _NOBODY,
) -> bytes:
    """Answer filter with the offered nodes that pass, in the mode that was asked.

    Parameters
    ----------
    args : ExtenderArgs
        From `decode_args`, its names checked by `offered_names`.
    names : sequence of str
        What `offered_names` gave; needed where nodes fail.
    failed, unresolvable : mapping of str to str
        Why nodes fail, by name; the latter can't be helped by preemption.

    Returns
    -------
    bytes
        An ExtenderFilterResult; nodes that pass go back byte by byte as they came.
    """
    refused = failed.keys() | unresolvable.keys()
    result = ExtenderFilterResult(
        failed_nodes=dict(failed),
        failed_and_unresolvable_nodes=dict(unresolvable),
        error="",
        nodes=None if args.by_name else _left_nodes(args, names, refused),
        node_names=_left_names(args, names, refused) if args.by_name else None,
    )
    return _encoder.encode(result)


def _left_names(args: ExtenderArgs, names: Sequence[str], refused: AbstractSet[str]) -> msgspec.Raw:
    if not refused:
        return args.node_names
    return msgspec.Raw(_encoder.encode([name for name in names if name not in refused]))


def _left_nodes(args: ExtenderArgs, names: Sequence[str], refused: AbstractSet[str]) -> msgspec.Raw:
    if not refused:
        return args.nodes
    items = _raw_nodes_decoder.decode(args.nodes).items or []
    left = [bytes(item) for name, item in zip(names, items, strict=True) if name not in refused]
    return msgspec.Raw(b'{"metadata":{},"items":[' + b",".join(left) + b"]}")


def encode_priorities(scores: dict[str, int]) -> bytes:
    """Answer prioritize from a table of scores.

    Parameters
    ----------
    scores : dict of str to int
        Per node 0..10.

    Returns
    -------
    bytes
        A list of HostPriority.

    Examples
    --------
    >>> encode_priorities({"a": 7})
    b'[{"Host":"a","Score":7}]'
    """
    return _encoder.encode([HostPriority(host=host, score=score) for host, score in scores.items()])

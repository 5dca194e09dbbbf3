"""Bodies to answers: the verbs, without HTTP.

The direction of failure is fixed here. What can't be read at all is the caller's
fault (`MalformedBody`, HTTP 400): without names there is nothing to answer, and
the scheduler drops the scores of a failed prioritize. Everything else, be it our
own defect, a missing or stale snapshot or an odd pod, gives each offered node the
same neutral level and is counted, so that carbon never stops a cluster. Only what a
pod, or an operator's policy, asks for as a hard constraint fails closed, node by node.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.errors import BodyTooLarge, MalformedBody
from aicsched.extender.explain import Remembered, explain_pod
from aicsched.extender.levels import NEUTRAL_LEVEL
from aicsched.extender.names import DOMAIN
from aicsched.extender.podrequest import PodRequest, read_pod_request
from aicsched.extender.refusals import Refusals, asks_hard
from aicsched.extender.verbs.preempt import preempt
from aicsched.extender.wire import (
    ExtenderArgs,
    decode_args,
    decode_pod,
    encode_filter_result,
    encode_priorities,
    offered_names,
)
from aicsched.observe import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    import msgspec
    from numpy.typing import NDArray

    from aicsched.extender.explain import Explanation
    from aicsched.extender.metrics import ExtenderMetrics
    from aicsched.extender.snapshot import Snapshot, SnapshotHolder

__all__ = ["MAX_NODES", "Handlers"]

# Kubernetes is built for 5,000 nodes a cluster; twice that is still answered, though not scored.
MAX_NODES: Final = 10_000
# Above this not even names are decoded, since a body of nothing but tiny nodes would fill the memory.
_MAX_OFFERED: Final = 100_000
_COUNT_FROM_BYTES: Final = 12 * 2**20
# A snapshot from the future means that clocks disagree: forecasts would be read at the wrong hour.
_MAX_SKEW_S: Final = 120.0
# Stands in a pod that says anything to us.
_OURS: Final = DOMAIN.encode()

_log = get_logger("extender")


class Handlers:
    """Answers the verbs from the current snapshot.

    Parameters
    ----------
    holder : SnapshotHolder
        Gives the snapshot.
    metrics : ExtenderMetrics
        Counts.
    now_s : callable
        The clock: seconds since the epoch.
    names_body_bytes : int
        Largest body by name.
    """

    def __init__(
        self,
        holder: SnapshotHolder,
        metrics: ExtenderMetrics,
        now_s: Callable[[], float],
        *,
        names_body_bytes: int,
    ) -> None:
        self._holder = holder
        self._names_body_bytes = names_body_bytes
        self._metrics = metrics
        self._now_s = now_s
        self.remembered: Final = Remembered()

    def filter(self, body: bytes) -> bytes:
        """Answer filter: every offered node passes as it came, unless a hard constraint was asked for.

        Parameters
        ----------
        body : bytes
            ExtenderArgs in JSON.

        Returns
        -------
        bytes
            ExtenderFilterResult in JSON, in the mode that was asked.

        Raises
        ------
        MalformedBody
            The body can't be read.
        BodyTooLarge
            A body by name is over its limit.
        """
        args = _read(body, self._names_body_bytes)
        names = offered_names(args)
        self._metrics.scored("filter", len(names))
        refused = self._refused(args, names)
        return encode_filter_result(args) if refused is None else encode_filter_result(args, names, *refused)

    def preempt(self, body: bytes) -> bytes:
        """Answer preempt: all that was offered may be cleared, but what filter would refuse even then.

        Parameters
        ----------
        body : bytes
            ExtenderPreemptionArgs in JSON.

        Returns
        -------
        bytes
            ExtenderPreemptionResult in JSON, victims by uid.

        Raises
        ------
        MalformedBody
            The body can't be read.
        BodyTooLarge
            It names more victims than any cluster.
        """

        def lost(pod: msgspec.Raw, names: Sequence[str]) -> Collection[str]:
            refused = self._refused(ExtenderArgs(pod=pod), names)
            return () if refused is None else refused[1]

        return preempt(body, lost)

    def _refused(
        self, args: ExtenderArgs, names: Sequence[str]
    ) -> tuple[Mapping[str, str], Mapping[str, str]] | None:
        """Say which nodes hard constraints forbid, as `Refusals.told`; None where nothing is asked for."""
        snapshot = self._holder.current
        may_ask = _OURS in bytes(args.pod) or (snapshot is not None and snapshot.hard_limits)
        request = self._request(args) if may_ask else None
        if request is None:
            if may_ask:
                self._metrics.fell_back("unreadable_pod")
            return None
        limits = None if snapshot is None else snapshot.limits(request.namespace)
        if not asks_hard(request, limits):
            return None
        refusals, places = self._held(snapshot, names, request)
        return refusals.told(names, places)

    def _held(
        self, snapshot: Snapshot | None, names: Sequence[str], request: PodRequest
    ) -> tuple[Refusals, NDArray[np.int64]]:
        """Hold offered nodes against a hard constraint, which what isn't known doesn't meet."""
        if snapshot is None:
            self._metrics.fell_back("no_snapshot")
            return Refusals(), np.full(len(names), -1)
        try:
            stale = bool(self._age_fault(snapshot))
            refusals, places = snapshot.refusals(request, stale=stale), snapshot.locate(names)
        except Exception:  # noqa: BLE001 - the module says why nothing may escape
            _log.exception("a hard constraint could not be held against nodes; all are refused")
            self._metrics.fell_back("fault")
            return Refusals(), np.full(len(names), -1)
        return refusals or Refusals(), places

    def prioritize(self, body: bytes) -> bytes:
        """Answer prioritize: a level in 0..10 per offered node.

        Parameters
        ----------
        body : bytes
            ExtenderArgs in JSON.

        Returns
        -------
        bytes
            A list of HostPriority in JSON, each offered node once.

        Raises
        ------
        MalformedBody
            The body can't be read.
        BodyTooLarge
            A body by name is over its limit.
        """
        args = _read(body, self._names_body_bytes, names_only=True)
        names = offered_names(args)
        self._metrics.scored("prioritize", len(names))
        snapshot = self._holder.current
        request = self._request(args, remember=True)
        reason = "too_many_nodes" if len(names) > MAX_NODES else self.unfit(snapshot)
        if snapshot is None or reason:
            return self._neutral(names, reason)
        if request is None:
            return self._neutral(names, "unreadable_pod")
        return self._score(snapshot, names, request)

    def _request(self, args: ExtenderArgs, *, remember: bool = False) -> PodRequest | None:
        """Read the pod; None where that can't be done."""
        try:
            pod = decode_pod(args)
        except MalformedBody:
            return None
        request = read_pod_request(pod)
        if remember and pod.metadata is not None:
            self.remembered.put(pod.metadata.namespace, pod.metadata.name, request)
        return request

    def explained(self, namespace: str, pod: str) -> Explanation | None:
        """Explain the levels of a pod that was scored lately.

        Parameters
        ----------
        namespace, pod : str
            Its name.

        Returns
        -------
        Explanation or None
            By the present snapshot; None where the pod isn't remembered, or there is no snapshot.
        """
        snapshot, request = self._holder.current, self.remembered.get(namespace, pod)
        if snapshot is None or request is None:
            return None
        neutral = self.unfit(snapshot).replace("_", " ")
        return explain_pod(
            snapshot, request, namespace=namespace, pod=pod, now_s=self._now_s(), neutral=neutral
        )

    def _score(self, snapshot: Snapshot, names: Sequence[str], request: PodRequest) -> bytes:
        try:
            return snapshot.prioritize(names, request)
        except Exception:  # noqa: BLE001 - the module says why nothing may escape
            # Whatever goes wrong in a score, the cluster must go on scheduling.
            _log.exception("scoring failed; answered neutral")
            return self._neutral(names, "fault")

    def unfit(self, snapshot: Snapshot | None) -> str:
        """Say why nothing is to be scored by a snapshot.

        Parameters
        ----------
        snapshot : Snapshot or None
            The present one.

        Returns
        -------
        str
            ``"no_snapshot"``, ``"stale"``, ``"clock_skew"``, ``"no_signal"``, or "".
        """
        if snapshot is None:
            return "no_snapshot"
        return self._age_fault(snapshot) or ("no_signal" if snapshot.neutral else "")

    def _age_fault(self, snapshot: Snapshot) -> str:
        age_s = self._now_s() - snapshot.issued_at_s
        if age_s > snapshot.max_age_s:
            return "stale"
        return "clock_skew" if age_s < -_MAX_SKEW_S else ""

    def _neutral(self, names: Sequence[str], reason: str) -> bytes:
        self._metrics.fell_back(reason)
        return encode_priorities(dict.fromkeys(names, NEUTRAL_LEVEL))

    def warm_up(self) -> None:
        """Run both verbs once on the snapshot's own nodes, so that the first pod doesn't pay for it."""
        snapshot = self._holder.current
        if snapshot is not None:
            self._score(snapshot, snapshot.names, PodRequest())


def _read(body: bytes, names_body_bytes: int, *, names_only: bool = False) -> ExtenderArgs:
    if len(body) > _COUNT_FROM_BYTES:
        _refuse_too_many(body.count(b'"metadata"'))
    args = decode_args(body, names_only=names_only)
    if args.by_name:
        if len(body) > names_body_bytes:
            msg = f"a body of {len(body)} bytes by name is over the limit of {names_body_bytes}"
            raise BodyTooLarge(msg, hint="no cluster has so many nodes", value=len(body))
        # A name takes three bytes at least.
        _refuse_too_many(bytes(args.node_names).count(b",") if len(body) > 3 * _MAX_OFFERED else 0)
    return args


def _refuse_too_many(at_most: int) -> None:
    """Bound the number of offered nodes before they are decoded; small bodies can't hold too many."""
    if at_most > _MAX_OFFERED:
        msg = f"a body offers more than {_MAX_OFFERED} nodes"
        raise BodyTooLarge(msg, hint="no cluster has so many nodes")

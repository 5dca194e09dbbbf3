"""How long the pods of an owner ran: what is expected of its next ones."""

from __future__ import annotations

import statistics
import threading
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Final

from aicsched.extender.podrequest import owner_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aicsched.fleet.kubernetes.objects import PodFacts

__all__ = ["Lives"]

# Of so many owners, the last so many lives each.
_OWNERS: Final = 10_000
_LIVES: Final = 32
# What a controller of these ends, it ends well: their pods don't finish by themselves.
_SERVICES: Final = frozenset({"Deployment", "ReplicaSet", "StatefulSet", "ReplicationController"})


class Lives:
    """The lives of pods that ended, by namespace and owner.

    Parameters
    ----------
    owners : int
        Of so many owners, those that were heard of last.

    Examples
    --------
    >>> from aicsched.fleet.kubernetes.objects import PodFacts
    >>> lives = Lives()
    >>> for hours in (1, 2, 9):
    ...     lives.ended(PodFacts(namespace="shop", name=f"report-{hours}", owner="Job", node="n",
    ...         owner_name=f"report-2938475{hours}", started_s=0.0, ended_s=hours * 3600.0,
    ...         succeeded=True), now_s=1e9)
    >>> lives.table()
    {('shop', 'CronJob/report'): 7200.0}
    """

    def __init__(self, owners: int = _OWNERS) -> None:
        self._owners = owners
        self._guard = threading.Lock()
        self._lives: OrderedDict[tuple[str, str], deque[float]] = OrderedDict()
        self._usual: dict[tuple[str, str], float] = {}

    def ended(self, pod: PodFacts, *, now_s: float) -> None:
        """Learn from a pod that ended or was deleted.

        Parameters
        ----------
        pod : PodFacts
            As it was last; one that failed tells nothing, nor does one of a job that was deleted
            before its end.
        now_s : float
            Seconds since the epoch.
        """
        owner = owner_of(pod.owner, pod.owner_name, pod.labels)
        served = not pod.ended and owner.partition("/")[0] in _SERVICES
        if not owner or not pod.node or not (pod.succeeded or served):
            return
        life_s = (now_s if served else pod.ended_s) - pod.started_s
        if not life_s > 0:
            return
        with self._guard:
            key = (pod.namespace, owner)
            known = self._lives.setdefault(key, deque(maxlen=_LIVES))
            known.append(life_s)
            self._usual[key] = statistics.median(known)
            self._lives.move_to_end(key)
            while len(self._lives) > self._owners:
                oldest, _ = self._lives.popitem(last=False)
                del self._usual[oldest]

    def table(self) -> Mapping[tuple[str, str], float]:
        """Return what is expected.

        Returns
        -------
        dict of (str, str) to float
            The median by namespace and owner [s]; it doesn't change any more.
        """
        with self._guard:
            return dict(self._usual)

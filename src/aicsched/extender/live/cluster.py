"""Nodes and pods as facts, kept up event by event: a snapshot reads them without parsing anything."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from aicsched.errors import AicschedError
from aicsched.fleet.kubernetes.cluster import Cluster
from aicsched.fleet.kubernetes.objects import node_facts, pod_facts
from aicsched.observe import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from aicsched.extender.live.lives import Lives
    from aicsched.fleet.kubernetes.objects import NodeFacts, PodFacts
    from aicsched.fleet.kubernetes.watch import ClusterWatch

__all__ = ["LiveCluster", "Moment"]

_log = get_logger("extender.live")
_BROKEN: Final = (AicschedError, TypeError, ValueError, AttributeError)


class Moment(NamedTuple):
    """The cluster at one moment.

    Parameters
    ----------
    cluster : Cluster
        Nodes in the order of their names, and pods.
    version : int
        Grows whenever a node comes, goes or changes in what a score reads.
    """

    cluster: Cluster
    version: int


class LiveCluster:
    """What a watch tells, as facts.

    Parameters
    ----------
    lives : Lives
        Learns from pods that end.
    now_s : callable
        Seconds since the epoch.
    changed : callable
        Called when nodes change.
    bound : callable
        Told each pod that is bound to a node, once; also those that were when it was first heard of.

    Notes
    -----
    Kubelets renew the conditions of their nodes every few minutes: what says nothing new changes
    nothing here.
    """

    def __init__(
        self,
        *,
        lives: Lives,
        now_s: Callable[[], float],
        changed: Callable[[], None],
        bound: Callable[[PodFacts], None],
    ) -> None:
        self._lives = lives
        self._now_s = now_s
        self._changed = changed
        self._bound = bound
        self._guard = threading.Lock()
        self._nodes: dict[str, NodeFacts] = {}
        self._pods: dict[tuple[str, str], PodFacts] = {}
        self._version = 0
        self._told: set[str] = set()

    def follow(self, watch: ClusterWatch) -> None:
        """Listen to a watch that hasn't started yet.

        Parameters
        ----------
        watch : ClusterWatch
            Of nodes and pods.
        """
        # What is kept here as facts need not be kept there as objects, ten times as large.
        watch.listen("nodes", self.node_event, forget=True)
        watch.listen("pods", self.pod_event, forget=True)

    def moment(self) -> Moment:
        """Return what is known now.

        Returns
        -------
        Moment
            It doesn't change any more.
        """
        with self._guard:
            nodes = tuple(self._nodes[name] for name in sorted(self._nodes))
            pods, version = tuple(self._pods.values()), self._version
        return Moment(Cluster(nodes=nodes, pods=pods), version)

    def node_event(self, event: str, item: dict[str, Any]) -> None:
        """Take in what happened to a node.

        Parameters
        ----------
        event : str
            ``"ADDED"``, ``"MODIFIED"`` or ``"DELETED"``.
        item : dict
            The object.
        """
        name = str(item["metadata"].get("name", ""))
        facts = None if event == "DELETED" else self._read(node_facts, item, f"node '{name}'")
        with self._guard:
            if self._nodes.get(name) == facts:
                return
            if facts is None:
                del self._nodes[name]
            else:
                self._nodes[name] = facts
            self._version += 1
        self._changed()

    def pod_event(self, event: str, item: dict[str, Any]) -> None:
        """Take in what happened to a pod.

        Parameters
        ----------
        event : str
            ``"ADDED"``, ``"MODIFIED"`` or ``"DELETED"``.
        item : dict
            The object.
        """
        meta = item["metadata"]
        key = (str(meta.get("namespace", "")), str(meta.get("name", "")))
        if event == "DELETED":
            # The object may hold no more than its name.
            with self._guard:
                before = self._pods.pop(key, None)
            if before is not None and not before.ended:
                self._lives.ended(before, now_s=self._now_s())
            return
        facts: PodFacts | None = self._read(pod_facts, item, f"pod '{key[0]}/{key[1]}'")
        if facts is None:
            return
        with self._guard:
            before = self._pods.get(key)
            self._pods[key] = facts
        if before is not None and before.uid != facts.uid:
            before = None
        if facts.node and (before is None or not before.node):
            self._bound(facts)
        if facts.ended and (before is None or not before.ended):
            self._lives.ended(facts, now_s=self._now_s())

    def _read(self, read: Callable[[dict[str, Any]], Any], item: dict[str, Any], what: str) -> Any:  # noqa: ANN401
        try:
            return read(item)
        except _BROKEN as error:
            # Once for each: the same object may come again every few seconds.
            if what not in self._told and len(self._told) < 1000:
                self._told.add(what)
                _log.warning("%s is left out: %s", what, error)
            return None

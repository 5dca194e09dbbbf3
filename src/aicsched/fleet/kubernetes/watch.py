"""Following what makes a fleet of a cluster: nodes, pods and budgets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from aicsched.errors import SourceUnavailable
from aicsched.fleet.kubernetes.cluster import Cluster
from aicsched.fleet.kubernetes.connect import connect
from aicsched.fleet.kubernetes.informed import NODES, PODS, Kind, ObjectWatch, WatchLimits

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ClusterWatch", "WatchLimits", "connect"]

_BUDGETS: Final = Kind(
    name="budgets",
    group="PolicyV1Api",
    call="list_pod_disruption_budget_for_all_namespaces",
    right="poddisruptionbudgets.policy",
)
_FLEET: Final = {kind.name: kind for kind in (NODES, PODS, _BUDGETS)}


class ClusterWatch(ObjectWatch):
    """Keeps up with what makes a fleet: nodes, pods and disruption budgets.

    Parameters
    ----------
    api : kubernetes.client.ApiClient
        As `connect` makes it.
    limits : WatchLimits, optional
        How long and how much.
    source : str
        What the cluster is called.
    kinds : sequence of str
        Of ``"nodes"``, ``"pods"`` and ``"budgets"``: each takes a right to list and watch it, and of what
        isn't followed, there is none.
    """

    def __init__(
        self,
        api: Any,  # noqa: ANN401 - no types
        *,
        limits: WatchLimits | None = None,
        source: str = "kubernetes",
        kinds: Sequence[str] = tuple(_FLEET),
    ) -> None:
        followed = tuple(_FLEET[name] for name in kinds)
        super().__init__(api, kinds=followed, limits=limits or WatchLimits(), source=source)

    def cluster(self) -> Cluster:
        """Return the cluster as it is known now.

        Returns
        -------
        Cluster
            Of what the caches hold; it doesn't change any more.

        Raises
        ------
        SourceUnavailable
            Not everything was listed yet, or nothing was heard for too long.
        """
        if not self.synced():
            msg = f"{self._source} has not been listed yet"
            raise SourceUnavailable(msg, hint="; ".join(self.faults()) or "wait until it has")
        silent_s = self.heard_s()
        if silent_s > self._limits.silent_s:
            msg = f"{self._source} has not been heard for {silent_s:.0f} s"
            raise SourceUnavailable(msg, hint="; ".join(self.faults()) or "check the API server")
        nodes, pods, budgets = (self.objects(kind) if kind in self._kinds else [] for kind in _FLEET)
        # The cache keeps one object a name; both must go, since nobody knows which is right.
        nodes += [each for each in nodes if each["metadata"].get("name") in self._states["nodes"].doubles]
        return Cluster.of(nodes, pods, budgets, source=self._source)

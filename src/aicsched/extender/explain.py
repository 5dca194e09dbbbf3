"""Why a pod gets which level on which node: every term, the rules, and the extender's weight.

``GET /explain/{namespace}/{pod}`` answers what `Handlers.explained` gives, written by
``msgspec.json.encode``: an `Explanation`, or None for a pod that was not scored here
lately (404). It is worked out anew from the current snapshot: what is remembered of a
pod is its name and its request (`Remembered`), nothing else.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from aicsched.extender.costs import FleetCosts
from aicsched.extender.levels import MAX_LEVEL, NEUTRAL_LEVEL, levels_from_grams

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.extender.podrequest import PodRequest
    from aicsched.extender.snapshot import Snapshot

__all__ = [
    "IN_TREE_POINTS",
    "Asked",
    "Explanation",
    "Influence",
    "NodeTerms",
    "Remembered",
    "beside_the_best",
    "explain_pod",
    "influence",
]

# Default weights of kube-scheduler 1.36: TaintToleration 3, NodeAffinity 2, PodTopologySpread 2,
# InterPodAffinity 2, NodeResourcesFit 1, NodeResourcesBalancedAllocation 1, ImageLocality 1, each 0..100.
IN_TREE_POINTS: Final = 1200
_POINTS_A_LEVEL: Final = 10  # MaxNodeScore 100 over MaxExtenderPriority 10
_WEIGHTS: Final = (1, 2, 3, 5, 12)
_REMEMBERED: Final = 1000


class Asked(msgspec.Struct, frozen=True):
    """What the pod was taken to ask for, and who said so.

    Parameters
    ----------
    vcpus, memory_gib, duration_s : float
        Threads, memory and expected life.
    duration_from : str
        ``"annotation"``, ``"owner history"`` or ``"default"``.
    policy : str
        Its name.
    policy_from : str
        ``"annotation"``, ``"namespace"`` or ``"default"``.
    faults : list of str
        What the pod says and nobody understands.
    """

    vcpus: float
    memory_gib: float
    duration_s: float
    duration_from: str
    policy: str
    policy_from: str
    faults: list[str]


class NodeTerms(msgspec.Struct, frozen=True):
    """One node's score.

    Parameters
    ----------
    node, region, grid_zone : str
        Which, and where.
    signal : str
        State of its grid's signal: ``"fresh"``, ``"degraded"``, ``"neutral"`` or ``"unknown"``.
    g_per_kwh : float or None
        Mean intensity over the pod's life that was reckoned with; None where it is unknown.
    level : int
        0..10 among all nodes of the snapshot; among fewer that are offered it may differ.
    total_g : float or None
        The sum of the terms; None where the grid is unknown.
    terms_g : dict of str to float
        Grams by term.
    slo_risk : float
        Chance that an objective breaks on it.
    refused : str
        The hard rule that filters it, or "".
    """

    node: str
    region: str
    grid_zone: str
    signal: str
    g_per_kwh: float | None
    level: int
    total_g: float | None
    terms_g: dict[str, float]
    slo_risk: float
    refused: str


class Influence(msgspec.Struct, frozen=True):
    """How much the extender can weigh against the scheduler's own plugins.

    Parameters
    ----------
    weight : int
        Of the extender, in the scheduler's configuration.
    points : int
        What lies between its worst and its best level.
    in_tree_points : int
        What the default plugins can give at most.
    share : float
        Of all points.
    """

    weight: int
    points: int
    in_tree_points: int
    share: float


class Explanation(msgspec.Struct, frozen=True):
    """Why a pod gets which level on which node, by the present snapshot.

    Parameters
    ----------
    namespace, pod : str
        Which pod.
    asked : Asked
        What it was taken to ask for.
    snapshot_age_s : float
        How old the snapshot is.
    neutral : str
        Why all nodes are answered alike at present, or "".
    synthetic : bool
        True when an input was made up.
    sentence : str
        Why the best node beats the next.
    nodes : list of NodeTerms
        The best first.
    influence : list of Influence
        For some weights.
    inputs : list of str
        Ids of the signals used.
    beside : str
        Why the node that was asked about is not the best, or that it is; "" where none was.
    """

    namespace: str
    pod: str
    asked: Asked
    snapshot_age_s: float
    neutral: str
    synthetic: bool
    sentence: str
    nodes: list[NodeTerms]
    influence: list[Influence]
    inputs: list[str]
    beside: str = ""


class Remembered:
    """The pods that were scored last, by name; safe to ask from any thread.

    Parameters
    ----------
    size : int
        How many are kept.

    Examples
    --------
    >>> from aicsched.extender.podrequest import PodRequest
    >>> last = Remembered(1)
    >>> for pod in ("a", "b"):
    ...     last.put("shop", pod, PodRequest(vcpus=2.0))
    >>> last.get("shop", "a"), last.get("shop", "b").vcpus
    (None, 2.0)
    """

    def __init__(self, size: int = _REMEMBERED) -> None:
        self._size = size
        self._guard = threading.Lock()
        self._pods: OrderedDict[tuple[str, str], PodRequest] = OrderedDict()

    def put(self, namespace: str, pod: str, request: PodRequest) -> None:
        """Remember a pod, and forget the oldest where there are too many.

        Parameters
        ----------
        namespace, pod : str
            Its name.
        request : PodRequest
            What it asks for.
        """
        with self._guard:
            self._pods[namespace, pod] = request
            self._pods.move_to_end((namespace, pod))
            while len(self._pods) > self._size:
                self._pods.popitem(last=False)

    def get(self, namespace: str, pod: str) -> PodRequest | None:
        """Return what a pod asked for.

        Parameters
        ----------
        namespace, pod : str
            Its name.

        Returns
        -------
        PodRequest or None
            None where it isn't remembered.
        """
        with self._guard:
            return self._pods.get((namespace, pod))


def influence(weights: tuple[int, ...] = _WEIGHTS) -> list[Influence]:
    """Tell what an extender's weight is worth beside the scheduler's default plugins.

    Parameters
    ----------
    weights : tuple of int
        Weights in the scheduler's configuration.

    Returns
    -------
    list of Influence
        One a weight: the scheduler adds ``level x weight x 10`` to what its plugins gave.

    References
    ----------
    Kubernetes 1.36, pkg/scheduler/schedule_one.go (prioritizeNodes) and the default plugins' weights.

    Examples
    --------
    >>> [(each.weight, round(each.share, 3)) for each in influence((1, 3, 12))]
    [(1, 0.077), (3, 0.2), (12, 0.5)]
    """
    made: list[Influence] = []
    for weight in weights:
        points = weight * _POINTS_A_LEVEL * MAX_LEVEL
        made.append(Influence(weight, points, IN_TREE_POINTS, points / (points + IN_TREE_POINTS)))
    return made


def explain_pod(
    snapshot: Snapshot, request: PodRequest, *, namespace: str, pod: str, now_s: float, neutral: str = ""
) -> Explanation:
    """Explain a pod's levels.

    Parameters
    ----------
    snapshot : Snapshot
        The present one.
    request : PodRequest
        What the pod asks for.
    namespace, pod : str
        Its name.
    now_s : float
        Seconds since the epoch.
    neutral : str
        Why answers are neutral at present, or "".

    Returns
    -------
    Explanation
        Of all nodes of the snapshot. Without `FleetCosts` in it, of none.
    """
    costs = snapshot.costs
    known = isinstance(costs, FleetCosts)
    nodes = _nodes(costs, request, neutral) if known else []
    return Explanation(
        namespace=namespace,
        pod=pod,
        asked=_asked(costs, request) if known else _bare(request),
        snapshot_age_s=now_s - snapshot.issued_at_s,
        neutral=neutral,
        synthetic=snapshot.synthetic,
        sentence=_sentence(nodes, neutral),
        nodes=nodes,
        influence=influence(),
        inputs=sorted(_inputs(costs)) if known else [],
    )


def _inputs(costs: FleetCosts) -> set[str]:
    used = {region.grid_zone for region in costs.fleet.regions}
    return {
        f"{zone}: {each.source} by {each.model}" for zone, each in costs.forecasts.items() if zone in used
    }


def _asked(costs: FleetCosts, request: PodRequest) -> Asked:
    life, choice = costs.life(request), costs.policies.choose(request.namespace, request.policy)
    faults = [f"{name} can't be read" for name in request.unreadable]
    faults += [f"there is no policy '{choice.unknown}'"] if choice.unknown else []
    return Asked(
        request.vcpus, request.memory_gib, life.duration_s, life.why, choice.name, choice.why, faults
    )


def _bare(request: PodRequest) -> Asked:
    said = "annotation" if request.duration_said else "default"
    return Asked(request.vcpus, request.memory_gib, request.duration_s, said, "", "default", [])


def _nodes(costs: FleetCosts, request: PodRequest, neutral: str) -> list[NodeTerms]:
    total_g = costs.cost_g(request)
    terms, refusals = costs.terms(request), costs.refusals(request)
    duration_s = costs.life(request).duration_s
    met, known = costs.met(duration_s), costs.known
    levels: NDArray[np.int64] = (
        np.full(len(total_g), NEUTRAL_LEVEL) if neutral else levels_from_grams(total_g)
    )
    zones = {region.name: region.grid_zone for region in costs.fleet.regions}
    made = [
        NodeTerms(
            node=node.name,
            region=node.region,
            grid_zone=zones[node.region] if known[at] else "",
            signal=costs.signals[at],
            g_per_kwh=float(met[at]) if known[at] else None,
            level=int(levels[at]),
            total_g=float(total_g[at]) if known[at] else None,
            terms_g={name: float(grams[1, at]) for name, grams in terms.grams.items()} if known[at] else {},
            slo_risk=float(terms.slo_risk[1, at]),
            refused="" if refusals is None else refusals.reason(at),
        )
        for at, node in enumerate(costs.fleet.nodes)
    ]
    return sorted(made, key=lambda each: (bool(each.refused), -each.level, each.total_g or 0.0, each.node))


def _sentence(nodes: list[NodeTerms], neutral: str) -> str:
    if neutral:
        return f"All nodes get level {NEUTRAL_LEVEL}: {neutral}."
    left = [each for each in nodes if not each.refused and each.total_g is not None]
    if not left:
        return "No node can be told from another: no grid is known, or all are refused."
    best = left[0]
    head = f"{best.node} is best at {best.total_g:.3g} g"
    rest = [each for each in left[1:] if (each.total_g or 0.0) > (best.total_g or 0.0)]
    if not rest:
        return f"{head}; no other node costs more."
    second = rest[0]
    return f"{head}, {_difference(second, best, 'less than ' + second.node)}."


def _difference(dearer: NodeTerms, cheaper: NodeTerms, words: str) -> str:
    by_term = {name: dearer.terms_g[name] - grams for name, grams in cheaper.terms_g.items()}
    most = max(by_term, key=lambda name: by_term[name])
    saved_g = (dearer.total_g or 0.0) - (cheaper.total_g or 0.0)
    return f"{saved_g:.3g} g {words}, mostly by {most.replace('_', ' ')} ({by_term[most]:.3g} g)"


def beside_the_best(nodes: list[NodeTerms], name: str, neutral: str = "") -> tuple[NodeTerms, str] | None:
    """Tell why a node is not the best for a pod, or that it is.

    Parameters
    ----------
    nodes : list of NodeTerms
        Of an explanation, the best first.
    name : str
        Which node.
    neutral : str
        Why all are answered alike, or "".

    Returns
    -------
    tuple of NodeTerms and str, or None
        The node, and a sentence; None where it isn't known.
    """
    node = next((each for each in nodes if each.node == name), None)
    if node is None:
        return None
    best = nodes[0]
    if node.refused:
        return node, f"{name} is filtered: {node.refused}."
    if neutral:
        return node, _sentence(nodes, neutral)
    if node.total_g is None or best.total_g is None:
        return node, f"Nothing is known of the grid of {name}: it gets level {node.level}."
    if node.total_g <= best.total_g:
        return node, f"{name} is as good as any, at {node.total_g:.3g} g and level {node.level}."
    words = _difference(node, best, f"more than {best.node}")
    return node, f"{name} costs {words}: level {node.level} beside {best.level}."

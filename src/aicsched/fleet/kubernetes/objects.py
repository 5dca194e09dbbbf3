"""Facts from Kubernetes' objects, as the API sends them: only the fields that are used.

Objects stay plain mappings: models of `kubernetes.client` take a hundred times as long to
make, and refuse what a newer server sends.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from aicsched.errors import UnitError
from aicsched.fleet.kubernetes.power import PROVIDERS
from aicsched.units import parse_quantity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Amount", "Budget", "NodeFacts", "PodFacts", "Taint", "budget_facts", "node_facts", "pod_facts"]

_GIB: Final = 2.0**30
_ENDED: Final = ("Succeeded", "Failed")
_OURS: Final = "aicsched.io/"
_REGION_LABELS: Final = ("topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region")
_ZONE_LABELS: Final = ("topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone")


@dataclass(frozen=True, slots=True)
class Amount:
    """How much of each resource.

    Parameters
    ----------
    vcpus, memory_gib, gpus, pods : float
        Threads, memory [GiB], accelerators (of any vendor) and pods.

    Examples
    --------
    >>> Amount(vcpus=1.5) + Amount(vcpus=0.5, memory_gib=2.0)
    Amount(vcpus=2.0, memory_gib=2.0, gpus=0.0, pods=0.0)
    """

    vcpus: float = 0.0
    memory_gib: float = 0.0
    gpus: float = 0.0
    pods: float = 0.0

    def __add__(self, other: Amount) -> Amount:
        return Amount(*(a + b for a, b in zip(self.parts(), other.parts(), strict=True)))

    def parts(self) -> tuple[float, float, float, float]:
        """Return the four numbers.

        Returns
        -------
        tuple of float
            In the order of the parameters.
        """
        return self.vcpus, self.memory_gib, self.gpus, self.pods

    def at_least(self, other: Amount) -> Amount:
        """Return the larger of each.

        Parameters
        ----------
        other : Amount
            Compared with.

        Returns
        -------
        Amount
            The maximum, resource by resource.
        """
        return Amount(*(max(a, b) for a, b in zip(self.parts(), other.parts(), strict=True)))

    def less(self, other: Amount) -> Amount:
        """Return what is left, never below nothing.

        Parameters
        ----------
        other : Amount
            Taken away.

        Returns
        -------
        Amount
            The difference, resource by resource.
        """
        return Amount(*(max(a - b, 0.0) for a, b in zip(self.parts(), other.parts(), strict=True)))


@dataclass(frozen=True, slots=True)
class Taint:
    """What keeps pods off a node unless they tolerate it.

    Parameters
    ----------
    key, value, effect : str
        As Kubernetes has them.
    """

    key: str
    value: str
    effect: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """A node, as its object tells.

    Parameters
    ----------
    name : str
        Its name.
    labels : mapping of str to str
        Its labels.
    region, node_zone : str
        By its topology labels, "" when they are missing.
    provider : str
        ``aws``, ``gcp``, ``azure``, ``ibm`` or "", by its providerID.
    capacity, allocatable : Amount
        What it has, and what pods may request of that.
    taints : tuple of Taint
        Its taints.
    schedulable, ready : bool
        Not cordoned; and its condition Ready is true.
    created : str
        ISO date of its object, "" when missing: not of the machine.
    """

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    region: str = ""
    node_zone: str = ""
    provider: str = ""
    capacity: Amount
    allocatable: Amount
    taints: tuple[Taint, ...] = ()
    schedulable: bool = True
    ready: bool = False
    created: str = ""

    @property
    def takes_pods(self) -> bool:
        """Whether pods without tolerations can come."""
        return (
            self.schedulable
            and self.ready
            and all(taint.effect == "PreferNoSchedule" for taint in self.taints)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PodFacts:
    """A pod, as its object tells.

    Parameters
    ----------
    namespace, name, uid : str
        Which it is.
    node : str
        Where it is bound, "" while it waits.
    request : Amount
        What it holds there.
    labels : mapping of str to str
        Its labels.
    bound_s : float
        When it was bound, seconds since the epoch; NaN when that isn't told.
    ended : bool
        It succeeded or failed, and holds nothing any more.
    ready : bool
        Its condition Ready is true.
    restarts : int
        Of its containers, since it exists.
    owner, owner_name : str
        Kind and name of its controller, ``""`` where it has none.
    annotations : mapping of str to str
        Those of ours.
    started_s, ended_s : float
        When its node took it up, and when its last container ended, seconds since the epoch; NaN where
        that isn't told.
    succeeded : bool
        It ended, and well.
    """

    namespace: str
    name: str
    uid: str = ""
    node: str = ""
    request: Amount = field(default_factory=Amount)
    labels: Mapping[str, str] = field(default_factory=dict)
    bound_s: float = float("nan")
    ended: bool = False
    ready: bool = False
    restarts: int = 0
    owner: str = ""
    owner_name: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)
    started_s: float = float("nan")
    ended_s: float = float("nan")
    succeeded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A PodDisruptionBudget.

    Parameters
    ----------
    namespace, name : str
        Which it is.
    selector : mapping
        Of its pods, as Kubernetes has it; an empty one takes all of its namespace.
    allowed : int
        How many of its pods may be evicted now.
    """

    namespace: str
    name: str
    selector: Mapping[str, Any] = field(default_factory=dict)
    allowed: int = 0

    def covers(self, pod: PodFacts) -> bool:
        """Tell whether it is about a pod.

        Parameters
        ----------
        pod : PodFacts
            The pod.

        Returns
        -------
        bool
            In its namespace and by its selector.
        """
        if pod.namespace != self.namespace:
            return False
        equal = all(
            pod.labels.get(key) == value for key, value in _map(self.selector.get("matchLabels")).items()
        )
        return equal and all(
            _holds(rule, pod.labels) for rule in _list(self.selector.get("matchExpressions"))
        )


def _holds(rule: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key, how, values = str(rule.get("key", "")), rule.get("operator"), _list(rule.get("values"))
    if how == "In":
        return labels.get(key) in values
    if how == "NotIn":
        return labels.get(key) not in values
    if how == "Exists":
        return key in labels
    if how == "DoesNotExist":
        return key not in labels
    # One that is new to us may cover it: a budget too many is safe.
    return True


def _map(value: Any) -> Mapping[str, Any]:  # noqa: ANN401 - any JSON
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:  # noqa: ANN401 - any JSON
    return value if isinstance(value, list) else []


def _texts(value: Any) -> dict[str, str]:  # noqa: ANN401 - any JSON
    return {str(key): str(each) for key, each in _map(value).items()}


def _amount(resources: Any) -> Amount:  # noqa: ANN401 - any JSON
    """Read a list of resources; a quantity that is none raises UnitError."""
    given = _map(resources)

    def of(name: str) -> float:
        value = parse_quantity(str(given[name])) if name in given else 0.0
        if value < 0:
            msg = f"'{given[name]}' of {name} is negative"
            raise UnitError(msg, hint="check the object", value=given[name])
        return value

    gpus = sum(of(name) for name in given if name.endswith("/gpu") or name.startswith("gpu.intel.com/"))
    return Amount(of("cpu"), of("memory") / _GIB, gpus, of("pods"))


def _requests(container: Mapping[str, Any]) -> Amount:
    return _amount(_map(container.get("resources")).get("requests"))


def _total(amounts: Iterable[Amount]) -> Amount:
    made = Amount()
    for each in amounts:
        made += each
    return made


def pod_request(spec: Mapping[str, Any], status: Mapping[str, Any]) -> Amount:
    """Return what a pod holds of its node, as the scheduler counts it.

    The larger of its containers together and of each step of its initialisation; init
    containers that go on beside (``restartPolicy: Always``) count in both. Requests of the
    pod as a whole come before its containers'; its overhead is added. While a resize is under
    way, the larger of what is asked for and what is allocated.

    References
    ----------
    KEP-753 (sidecar containers), KEP-1287 (in-place resize), KEP-2837 (pod-level resources).
    """
    allocated = {
        str(each.get("name")): _amount(each.get("allocatedResources"))
        for each in _list(status.get("containerStatuses"))
    }
    running = _total(
        _requests(each).at_least(allocated.get(str(each.get("name")), Amount()))
        for each in _list(spec.get("containers"))
    )
    beside, steps = Amount(), Amount()
    for each in _list(spec.get("initContainers")):
        if each.get("restartPolicy") == "Always":
            beside += _requests(each)
            steps = steps.at_least(beside)
        else:
            steps = steps.at_least(beside + _requests(each))
    request = (running + beside).at_least(steps)
    whole = _map(_map(spec.get("resources")).get("requests"))
    if whole:
        of_pod = _amount(whole)
        request = Amount(
            of_pod.vcpus if "cpu" in whole else request.vcpus,
            of_pod.memory_gib if "memory" in whole else request.memory_gib,
            request.gpus,
        )
    request += _amount(spec.get("overhead"))
    return Amount(request.vcpus, request.memory_gib, request.gpus, 1.0)


def _condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    return next(
        (_map(each) for each in _list(status.get("conditions")) if _map(each).get("type") == kind), {}
    )


def _epoch_s(text: Any) -> float:  # noqa: ANN401 - any JSON
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return float("nan")


def node_facts(item: Mapping[str, Any]) -> NodeFacts:
    """Read a Node.

    Parameters
    ----------
    item : mapping
        The object, as the API sends it.

    Returns
    -------
    NodeFacts
        Without a condition Ready it isn't ready.

    Raises
    ------
    UnitError
        A quantity is none, or it has no CPU.
    """
    meta, spec, status = _map(item.get("metadata")), _map(item.get("spec")), _map(item.get("status"))
    labels = _texts(meta.get("labels"))
    capacity = _amount(status.get("capacity"))
    if capacity.vcpus <= 0:
        msg = "it has no CPU in status.capacity"
        raise UnitError(msg, hint="wait until its kubelet has told", value=str(meta.get("name")))
    allocatable = status.get("allocatable")
    return NodeFacts(
        name=str(meta.get("name", "")),
        labels=labels,
        region=next((labels[name] for name in _REGION_LABELS if labels.get(name)), ""),
        node_zone=next((labels[name] for name in _ZONE_LABELS if labels.get(name)), ""),
        provider=PROVIDERS.get(str(spec.get("providerID", "")).partition(":")[0], ""),
        capacity=capacity,
        allocatable=capacity if allocatable is None else _amount(allocatable),
        taints=tuple(
            Taint(str(each.get("key", "")), str(each.get("value") or ""), str(each.get("effect", "")))
            for each in _list(spec.get("taints"))
        ),
        schedulable=not spec.get("unschedulable", False),
        ready=_condition(status, "Ready").get("status") == "True",
        created=str(meta.get("creationTimestamp") or "")[:10],
    )


def pod_facts(item: Mapping[str, Any]) -> PodFacts:
    """Read a Pod.

    Parameters
    ----------
    item : mapping
        The object, as the API sends it.

    Returns
    -------
    PodFacts
        What the rest of the library uses of it.

    Raises
    ------
    UnitError
        A quantity is none.
    """
    meta, spec, status = _map(item.get("metadata")), _map(item.get("spec")), _map(item.get("status"))
    scheduled = _condition(status, "PodScheduled")
    bound = scheduled.get("lastTransitionTime") if scheduled.get("status") == "True" else None
    owners = [_map(each) for each in _list(meta.get("ownerReferences"))]
    owner = next((each for each in owners if each.get("controller")), {})
    phase = status.get("phase")
    return PodFacts(
        namespace=str(meta.get("namespace", "")),
        name=str(meta.get("name", "")),
        uid=str(meta.get("uid", "")),
        node=str(spec.get("nodeName") or ""),
        request=pod_request(spec, status),
        labels=_texts(meta.get("labels")),
        bound_s=_epoch_s(bound or status.get("startTime")),
        ended=phase in _ENDED,
        ready=_condition(status, "Ready").get("status") == "True",
        restarts=sum(
            int(_map(each).get("restartCount") or 0) for each in _list(status.get("containerStatuses"))
        ),
        owner=str(owner.get("kind", "")),
        owner_name=str(owner.get("name", "")),
        annotations={
            key: value for key, value in _texts(meta.get("annotations")).items() if key.startswith(_OURS)
        },
        started_s=_epoch_s(status.get("startTime") or bound),
        ended_s=_ended_s(status) if phase in _ENDED else float("nan"),
        succeeded=phase == "Succeeded",
    )


def _ended_s(status: Mapping[str, Any]) -> float:
    ends = [
        _epoch_s(_map(_map(_map(each).get("state")).get("terminated")).get("finishedAt"))
        for each in _list(status.get("containerStatuses"))
    ]
    return max((end for end in ends if not math.isnan(end)), default=float("nan"))


def budget_facts(item: Mapping[str, Any]) -> Budget:
    """Read a PodDisruptionBudget.

    Parameters
    ----------
    item : mapping
        The object, as the API sends it.

    Returns
    -------
    Budget
        While its controller hasn't looked at it, it allows nothing.
    """
    meta, status = _map(item.get("metadata")), _map(item.get("status"))
    return Budget(
        namespace=str(meta.get("namespace", "")),
        name=str(meta.get("name", "")),
        selector=_map(_map(item.get("spec")).get("selector")),
        allowed=int(status.get("disruptionsAllowed") or 0),
    )

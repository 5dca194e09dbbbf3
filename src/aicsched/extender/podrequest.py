"""What a pod asks for, in the terms a score needs."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aicsched.errors import UnitError
from aicsched.extender.names import ALLOWED_REGIONS, EXPECTED_DURATION, MAX_INTENSITY, POLICY
from aicsched.extender.wire import ObjectMeta, PodSpec
from aicsched.units import parse_duration_s, parse_quantity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aicsched.extender.wire import Container, Pod

__all__ = ["DEFAULT_DURATION_S", "DEFAULT_VCPUS", "PodRequest", "owner_of", "read_pod_request"]

DEFAULT_DURATION_S: Final = 3600.0
# What kube-scheduler itself counts for a container without a CPU request (DefaultMilliCPURequest = 100).
DEFAULT_VCPUS: Final = 0.1
_BYTES_PER_GIB: Final = 2.0**30
# Of any quantity, as the API server has it; beyond, sums would leave the range of numbers.
_MOST: Final = 2.0**63
# A CronJob calls its jobs by the minute since the epoch at which they were due.
_OF_CRON: Final = re.compile(r"(.+)-\d{8}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PodRequest:
    """A pod, as far as a score looks at it.

    Parameters
    ----------
    vcpus : float
        Hardware threads it keeps busy, > 0.
    duration_s : float
        How long it is expected to run [s], > 0.
    memory_gib : float
        Memory it asks for [GiB]; 0 where it says nothing.
    duration_said : bool
        The pod itself says how long.
    namespace : str
        Where it is.
    owner : str
        Whose lives tell about its own, see `owner_of`; "" where it has none.
    policy : str
        The policy it names, or "".
    allowed_regions : tuple of str or None
        Hard: nodes elsewhere are filtered.
    max_g_per_kwh : float or None
        Hard: nodes on a grid above this are filtered [g/kWh].
    unreadable : tuple of str
        Annotations of ours that can't be read.
    """

    vcpus: float = DEFAULT_VCPUS
    duration_s: float = DEFAULT_DURATION_S
    memory_gib: float = 0.0
    duration_said: bool = False
    namespace: str = ""
    owner: str = ""
    policy: str = ""
    allowed_regions: tuple[str, ...] | None = None
    max_g_per_kwh: float | None = None
    unreadable: tuple[str, ...] = ()


def owner_of(kind: str, name: str, labels: Mapping[str, str]) -> str:
    """Name the work that a pod is a piece of, over all its generations.

    Parameters
    ----------
    kind, name : str
        Of its controller.
    labels : mapping of str to str
        Of the pod.

    Returns
    -------
    str
        A ReplicaSet stands for its Deployment, a Job of a CronJob for that; "" without a controller.

    Examples
    --------
    >>> owner_of("ReplicaSet", "web-5d8f9c7b6", {"pod-template-hash": "5d8f9c7b6"})
    'Deployment/web'
    >>> owner_of("Job", "report-29384756", {}), owner_of("Job", "train", {}), owner_of("", "", {})
    ('CronJob/report', 'Job/train', '')
    """
    if not kind or not name:
        return ""
    template = labels.get("pod-template-hash", "")
    if kind == "ReplicaSet" and template and name.endswith(f"-{template}"):
        return f"Deployment/{name.removesuffix(f'-{template}')}"
    due = _OF_CRON.fullmatch(name) if kind == "Job" else None
    return f"CronJob/{due[1]}" if due else f"{kind}/{name}"


def read_pod_request(pod: Pod) -> PodRequest:
    """Read a pod's effective requests, and what it says of itself.

    Containers run together, so their requests add up; init containers run one after
    the other before them, so the largest counts where it is larger (sidecars, which
    are init containers that always restart, are added to both).

    Parameters
    ----------
    pod : Pod
        Decoded from the scheduler's body.

    Returns
    -------
    PodRequest
        A part that is missing or can't be read has its default.

    References
    ----------
    Kubernetes documentation, "Init containers", section "Resource sharing within containers".

    Examples
    --------
    >>> from aicsched.extender.wire import Container, Pod, PodSpec, Resources
    >>> half = Container(resources=Resources(requests={"cpu": "500m"}))
    >>> read_pod_request(Pod(spec=PodSpec(containers=[half, half]))).vcpus
    1.0
    """
    spec, meta = pod.spec or PodSpec(), pod.metadata or ObjectMeta()
    vcpus, memory = _effective(spec, "cpu"), _effective(spec, "memory")
    said, unreadable = meta.annotations or {}, list[str]()
    duration_s = _positive(said, EXPECTED_DURATION, unreadable)
    owner = next((each for each in meta.owner_references or () if each.controller), None)
    regions = said.get(ALLOWED_REGIONS)
    return PodRequest(
        vcpus=vcpus or DEFAULT_VCPUS,
        duration_s=duration_s or DEFAULT_DURATION_S,
        memory_gib=memory / _BYTES_PER_GIB,
        duration_said=duration_s is not None,
        namespace=meta.namespace,
        owner=owner_of(owner.kind, owner.name, meta.labels or {}) if owner is not None else "",
        policy=said.get(POLICY, "").strip(),
        allowed_regions=None if regions is None else _listed(regions),
        max_g_per_kwh=_positive(said, MAX_INTENSITY, unreadable),
        unreadable=tuple(unreadable),
    )


def _listed(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def _effective(spec: PodSpec, name: str) -> float:
    running = sum(_asked(container, name) for container in spec.containers or ())
    highest, sidecars = 0.0, 0.0
    for container in spec.init_containers or ():
        if container.restart_policy == "Always":
            sidecars += _asked(container, name)
            highest = max(highest, sidecars)
        else:
            highest = max(highest, sidecars + _asked(container, name))
    return max(running + sidecars, highest) + _quantity(spec.overhead, name)


def _asked(container: Container, name: str) -> float:
    return _quantity(container.resources.requests if container.resources is not None else None, name)


def _quantity(resources: Mapping[str, str | float] | None, name: str) -> float:
    text = (resources or {}).get(name)
    if text is None:
        return 0.0
    try:
        value = parse_quantity(str(text))
    except UnitError:  # the API server refuses such pods: this is not from one, and no reason to fail
        return 0.0
    return value if 0.0 <= value <= _MOST else 0.0


def _positive(said: Mapping[str, str], name: str, unreadable: list[str]) -> float | None:
    """Read a number above 0, or a duration [s]; what can't be read is noted."""
    text = said.get(name)
    if text is None:
        return None
    try:
        value = parse_duration_s(text) if name == EXPECTED_DURATION else float(text)
    except (UnitError, ValueError):
        value = 0.0
    if math.isfinite(value) and value > 0:
        return value
    unreadable.append(name)
    return None

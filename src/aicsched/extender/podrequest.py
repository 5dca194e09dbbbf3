"""What a pod asks for, in the terms a score needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aicsched.errors import UnitError
from aicsched.extender.names import EXPECTED_DURATION
from aicsched.extender.wire import PodSpec
from aicsched.units import parse_duration_s, parse_quantity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aicsched.extender.wire import Container, Pod

__all__ = ["DEFAULT_DURATION_S", "DEFAULT_VCPUS", "PodRequest", "read_pod_request"]

DEFAULT_DURATION_S: Final = 3600.0
# What kube-scheduler itself counts for a container without a CPU request (DefaultMilliCPURequest = 100).
DEFAULT_VCPUS: Final = 0.1
_BYTES_PER_GIB: Final = 2.0**30


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
    """

    vcpus: float = DEFAULT_VCPUS
    duration_s: float = DEFAULT_DURATION_S
    memory_gib: float = 0.0


def read_pod_request(pod: Pod) -> PodRequest:
    """Read a pod's effective requests and expected duration.

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
    spec = pod.spec or PodSpec()
    vcpus, memory = _effective(spec, "cpu"), _effective(spec, "memory")
    annotations = (pod.metadata.annotations if pod.metadata is not None else None) or {}
    return PodRequest(
        vcpus=vcpus or DEFAULT_VCPUS, duration_s=_duration_s(annotations), memory_gib=memory / _BYTES_PER_GIB
    )


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
        return max(0.0, parse_quantity(str(text)))
    except UnitError:  # the API server refuses such pods: this is not from one, and no reason to fail
        return 0.0


def _duration_s(annotations: Mapping[str, str]) -> float:
    text = annotations.get(EXPECTED_DURATION)
    if text is None:
        return DEFAULT_DURATION_S
    try:
        return parse_duration_s(text) or DEFAULT_DURATION_S
    except UnitError:
        return DEFAULT_DURATION_S

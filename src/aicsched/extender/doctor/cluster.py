"""Checks of a running cluster: is it reached, may it be read, and is what nodes say enough to score them."""

from __future__ import annotations

from collections import Counter
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

from aicsched.errors import AicschedError
from aicsched.extender.doctor.finding import Finding, Severity
from aicsched.extender.live.build import zone_of
from aicsched.fleet.kubernetes.cluster import NO_REGION
from aicsched.fleet.kubernetes.power import FAMILY_LABEL, power_of
from aicsched.fleet.kubernetes.watch import ClusterWatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from aicsched.fleet.kubernetes.cluster import Cluster
    from aicsched.fleet.kubernetes.objects import NodeFacts

__all__ = [
    "READ_RIGHTS",
    "Right",
    "check_api",
    "check_nodes",
    "check_rights",
    "grid_zones_of",
    "list_cluster",
]

Right = tuple[str, str, str]
"""API group, resource (with its subresource) and verb."""
READ_RIGHTS: Final[tuple[Right, ...]] = tuple(
    (group, resource, verb) for group, resource in (("", "nodes"), ("", "pods")) for verb in ("list", "watch")
)
"""What the extender needs to follow a cluster."""
_KINDS: Final = ("nodes", "pods")
_TIMEOUT_S: Final = (3.0, 10.0)
# Scheduling gates are generally available since 1.30.
_LEAST_MINOR: Final = 30
_SKEW_SEEN_S: Final = 5.0
_SKEW_LIMIT_S: Final = 120.0
_NAMED: Final = 5


def _said(error: Exception) -> str:
    return str(getattr(error, "status", None) or type(error).__name__)


def _short(names: Sequence[str]) -> str:
    shown = ", ".join(sorted(names)[:_NAMED])
    return shown if len(names) <= _NAMED else f"{shown} and {len(names) - _NAMED} more"


def check_api(api: Any, now_s: Callable[[], float]) -> Iterator[Finding]:  # noqa: ANN401 - no types
    """Check that an API server answers, how old it is, and whether its clock agrees with ours.

    Parameters
    ----------
    api : kubernetes.client.ApiClient
        As `aicsched.fleet.kubernetes.watch.connect` makes it.
    now_s : callable
        The clock: seconds since the epoch.

    Yields
    ------
    Finding
        One error where it can't be reached.
    """
    from kubernetes import client  # noqa: PLC0415 - heavy, for those who need it

    try:
        version, _, headers = client.VersionApi(api).get_code_with_http_info(_request_timeout=_TIMEOUT_S)
        ours_s = now_s()
    except Exception as error:  # noqa: BLE001 - of urllib3, of the client, or of a proxy between
        yield Finding(
            code="api",
            severity=Severity.ERROR,
            where="api server",
            message=f"it does not tell its version ({_said(error)})",
            fix="check the kubeconfig, its context and the network policy",
        )
        return
    minor = int("".join(filter(str.isdigit, version.minor)) or 0)
    old = version.major == "1" and minor < _LEAST_MINOR
    yield Finding(
        code="api-version",
        severity=Severity.WARNING if old else Severity.OK,
        where="api server",
        message=f"it is {version.git_version}" + (", where pods can't be deferred by gates" if old else ""),
        fix=f"use Kubernetes 1.{_LEAST_MINOR} or later" if old else "",
    )
    yield from _clock(headers, ours_s)


def _clock(headers: Mapping[str, str], ours_s: float) -> Iterator[Finding]:
    try:
        theirs_s = parsedate_to_datetime(headers["Date"]).timestamp()
    except (KeyError, TypeError, ValueError):
        return
    yield skew_finding("api server", ours_s - theirs_s)


def skew_finding(where: str, ahead_s: float) -> Finding:
    """Say whether a clock agrees with ours.

    Parameters
    ----------
    where : str
        Whose it is.
    ahead_s : float
        By how much ours is ahead [s].

    Returns
    -------
    Finding
        OK within 5 s.
    """
    if abs(ahead_s) <= _SKEW_SEEN_S:
        return Finding(code="clock", severity=Severity.OK, where=where, message="clocks agree within 5 s")
    bad = abs(ahead_s) > _SKEW_LIMIT_S
    word = "ahead of" if ahead_s > 0 else "behind"
    then = ": intensities would be read at the wrong hour, so scores turn neutral" if bad else ""
    return Finding(
        code="clock",
        severity=Severity.ERROR if bad else Severity.WARNING,
        where=where,
        message=f"our clock is {abs(ahead_s):.0f} s {word} its own{then}",
        fix="let both follow NTP",
    )


def check_rights(api: Any, rights: Sequence[Right]) -> Iterator[Finding]:  # noqa: ANN401 - no types
    """Ask the API server whether we may do what we need to do.

    Parameters
    ----------
    api : kubernetes.client.ApiClient
        Ours.
    rights : sequence of Right
        What is needed.

    Yields
    ------
    Finding
        An error that names all missing rights, or that all are there.
    """
    from kubernetes import client  # noqa: PLC0415 - see check_api

    asking = client.AuthorizationV1Api(api)
    missing: list[str] = []
    for group, resource, verb in rights:
        kind, _, sub = resource.partition("/")
        attributes = client.V1ResourceAttributes(
            group=group, resource=kind, subresource=sub or None, verb=verb
        )
        review = client.V1SelfSubjectAccessReview(
            spec=client.V1SelfSubjectAccessReviewSpec(resource_attributes=attributes)
        )
        try:
            answer = asking.create_self_subject_access_review(review, _request_timeout=_TIMEOUT_S)
        except Exception as error:  # noqa: BLE001 - see check_api
            yield Finding(
                code="rights",
                severity=Severity.WARNING,
                where="rbac",
                message=f"rights can't be asked for ({_said(error)})",
                fix="allow create on selfsubjectaccessreviews.authorization.k8s.io",
            )
            return
        if answer.status is None or not answer.status.allowed:
            missing.append(f"{verb} {resource}" + (f".{group}" if group else ""))
    yield Finding(
        code="rights",
        severity=Severity.ERROR if missing else Severity.OK,
        where="rbac",
        message=f"we may not: {', '.join(missing)}" if missing else f"all {len(rights)} rights are there",
        fix="grant them by a ClusterRole, as deploy/ has it" if missing else "",
    )


def list_cluster(api: Any, within_s: float = 30.0) -> Cluster:  # noqa: ANN401 - no types
    """List a cluster once.

    Parameters
    ----------
    api : kubernetes.client.ApiClient
        Ours.
    within_s : float
        How long it may take [s].

    Returns
    -------
    Cluster
        As it is now.

    Raises
    ------
    ConfigError, SourceUnavailable, SignalInvalid
        It can't be listed.
    """
    with ClusterWatch(api, kinds=_KINDS) as watch:
        watch.wait(within_s)
        return watch.cluster()


def grid_zones_of(cluster: Cluster, told: Mapping[str, str]) -> dict[str, str]:
    """Return on which grid each region of a cluster is.

    Parameters
    ----------
    cluster : Cluster
        With nodes.
    told : mapping of str to str
        By region, over the packaged table: ``extender.grid_zones``.

    Returns
    -------
    dict of str to str
        Electricity zone by region; "" where nothing tells.
    """
    made: dict[str, str] = {}
    for node in cluster.nodes:
        name = node.region or NO_REGION
        made[name] = made.get(name) or zone_of(node, told)
    return made


def check_nodes(cluster: Cluster, zones: Mapping[str, str]) -> Iterator[Finding]:
    """Check that nodes say where they are and what they draw.

    Parameters
    ----------
    cluster : Cluster
        With nodes.
    zones : mapping of str to str
        From `grid_zones_of`.

    Yields
    ------
    Finding
        One a kind of fault, with the first names.
    """
    for fault in cluster.faults[:_NAMED]:
        yield Finding(code="object", severity=Severity.WARNING, where="objects", message=fault)
    if not cluster.nodes:
        yield Finding(
            code="no-node",
            severity=Severity.ERROR,
            where="nodes",
            message="there is none",
            fix="check the context",
        )
        return
    counts = Counter(node.region or NO_REGION for node in cluster.nodes)
    lost = [name for name, zone in zones.items() if not zone]
    for name in lost:
        told = (
            "have no label topology.kubernetes.io/region" if name == NO_REGION else f"are in region '{name}'"
        )
        yield Finding(
            code="no-zone",
            severity=Severity.ERROR,
            where=f"nodes of {name}",
            message=f"{counts[name]} of {len(cluster.nodes)} nodes {told}, and nothing "
            "tells on which grid that is: they are neutral",
            fix=f'write [extender] grid_zones = {{ {name} = "ZONE" }}; `aicsched regions` lists zones',
        )
    if not lost:
        told = ", ".join(f"{region} on {zone}" for region, zone in sorted(zones.items()))
        yield Finding(
            code="zones", severity=Severity.OK, where="nodes", message=f"{len(cluster.nodes)}: {told}"
        )
    yield from _power(cluster.nodes)


def _power(nodes: Sequence[NodeFacts]) -> Iterator[Finding]:
    unknown: dict[str, list[str]] = {}
    for node in nodes:
        try:
            power = power_of(node.labels, vcpus=node.capacity.vcpus, provider=node.provider)
        except AicschedError as error:
            yield Finding(
                code="cpu-family",
                severity=Severity.ERROR,
                where=f"node {node.name}, label {FAMILY_LABEL}",
                message=error.message,
                fix=error.hint,
            )
            continue
        if power.family == "unknown":
            unknown.setdefault(power.reason or "nothing tells its CPU", []).append(node.name)
    for reason, names in unknown.items():
        yield Finding(
            code="no-cpu-family",
            severity=Severity.WARNING,
            where=f"nodes {_short(names)}",
            message=f"{reason}: the median power of all CPUs is taken for them",
            fix=f"label them {FAMILY_LABEL}, or run Node Feature Discovery",
        )

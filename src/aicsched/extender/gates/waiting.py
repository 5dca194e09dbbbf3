"""What waits: a pod behind our scheduling gate or a suspended Job, and how long it may."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from aicsched.errors import UnitError
from aicsched.extender import names
from aicsched.extender.podrequest import DEFAULT_DURATION_S, DEFAULT_VCPUS
from aicsched.fleet.kubernetes.objects import Amount, pod_request
from aicsched.slots import HOUR_S
from aicsched.units import parse_duration_s

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aicsched.config.gates import GatesSettings

__all__ = ["Terms", "Waiting", "gate_index", "is_deferrable", "read_terms", "read_time_s", "read_waiting"]

_REGION: Final = "topology.kubernetes.io/region"
# Others decide about these: two hands on one switch would fight.
_MANAGED_LABELS: Final = ("kueue.x-k8s.io/queue-name",)
_OWN_CONTROLLER: Final = "kubernetes.io/job-controller"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How long work may wait, as its annotations tell.

    Parameters
    ----------
    latest_s : float
        Latest start, seconds since the epoch.
    duration_s : float
        How long it is expected to run [s].
    faults : tuple of str
        What can't be understood: such work isn't held back.
    """

    latest_s: float
    duration_s: float
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A pod or Job that is held back.

    Parameters
    ----------
    kind : str
        ``"pods"`` or ``"jobs"``.
    namespace, name, uid, version : str
        Which, and its resource version.
    created_s : float
        When it was made, by the API server's clock, seconds since the epoch.
    terms : Terms
        How long it may wait.
    request : Amount
        What it holds when it runs; of a Job all pods together.
    regions : tuple of str
        Where it may run; empty for anywhere.
    planned_s : float or None
        The start that stands on it.
    released : bool
        It was released before, by its Job: it shall not wait again.
    gate : int
        Place of our gate among the pod's; -1 for a Job.
    annotated, template_annotated : bool
        Whether it, or its template, has annotations.
    marks_template : bool
        A Job whose pods would be held back once more unless their template says that they were.
    decision : str
        What was decided, as it stands on it.
    """

    kind: str
    namespace: str
    name: str
    uid: str
    version: str
    created_s: float
    terms: Terms
    request: Amount
    regions: tuple[str, ...] = ()
    planned_s: float | None = None
    released: bool = False
    gate: int = -1
    annotated: bool = False
    template_annotated: bool = False
    marks_template: bool = False
    decision: str = ""

    @property
    def subject(self) -> str:
        """What it is called in the ledger."""
        return f"{self.namespace}/{self.name}"


def read_time_s(text: str) -> float:
    """Read an RFC 3339 time; parts of a second are dropped.

    Parameters
    ----------
    text : str
        With an offset.

    Returns
    -------
    float
        Seconds since the epoch.

    Raises
    ------
    UnitError
        It is no such time.

    Examples
    --------
    >>> read_time_s("1970-01-01T01:00:00.5+00:00")
    3600.0
    """
    hint = "write for example 2026-11-24T06:00:00Z"
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        msg = f"'{text}' is no time"
        raise UnitError(msg, hint=hint, value=text) from error
    if moment.tzinfo is None:
        msg = f"'{text}' has no offset from UTC"
        raise UnitError(msg, hint=hint, value=text)
    try:
        return float(math.floor(moment.astimezone(UTC).timestamp()))
    except (OverflowError, ValueError) as error:
        msg = f"'{text}' is out of range"
        raise UnitError(msg, hint=hint, value=text) from error


def read_terms(annotations: Mapping[str, str], *, made_s: float, settings: GatesSettings) -> Terms:
    """Read how long work may wait: the earliest of all that is said, and of what is allowed at all.

    Parameters
    ----------
    annotations : mapping of str to str
        The object's.
    made_s : float
        When it was made, seconds since the epoch.
    settings : GatesSettings
        Default and limit of the wait.

    Returns
    -------
    Terms
        With faults where something can't be understood.

    Examples
    --------
    >>> from aicsched.config.gates import GatesSettings
    >>> read_terms({"aicsched.io/max-delay": "2h"}, made_s=0.0, settings=GatesSettings()).latest_s
    7200.0
    >>> read_terms({"aicsched.io/max-delay": "soon"}, made_s=0.0, settings=GatesSettings()).faults
    ("aicsched.io/max-delay: 'soon' is not a duration; write a number and a unit, for example 90m, 6h or 2d",)
    """
    faults: list[str] = []
    duration_s = _span_s(annotations, names.EXPECTED_DURATION, faults)
    if duration_s is not None and not duration_s > 0:
        faults.append(f"{names.EXPECTED_DURATION}: it is 0; say how long it runs, for example 2h30m")
    delay_s = _span_s(annotations, names.MAX_DELAY, faults)
    latest_s = _moment_s(annotations, names.LATEST_START, faults)
    deadline_s = _moment_s(annotations, names.DEADLINE, faults)
    found = [] if delay_s is None else [made_s + delay_s]
    if latest_s is not None:
        found.append(latest_s)
    if deadline_s is not None and duration_s is not None:
        found.append(deadline_s - duration_s)
    elif deadline_s is not None and names.EXPECTED_DURATION not in annotations:
        faults.append(f"{names.DEADLINE}: nobody says how long it runs; add {names.EXPECTED_DURATION}")
    start_s = min(found or [made_s + settings.default_delay_h * HOUR_S])
    return Terms(
        latest_s=min(start_s, made_s + settings.longest_delay_h * HOUR_S),
        duration_s=duration_s or DEFAULT_DURATION_S,
        faults=tuple(faults),
    )


def _span_s(annotations: Mapping[str, str], name: str, faults: list[str]) -> float | None:
    if name not in annotations:
        return None
    try:
        made_s = parse_duration_s(annotations[name])
        if math.isfinite(made_s):
            return made_s
        faults.append(f"{name}: '{annotations[name][:20]}…' is too long; write for example 6h")
    except UnitError as error:
        faults.append(f"{name}: {error}")
    return None


def _moment_s(annotations: Mapping[str, str], name: str, faults: list[str]) -> float | None:
    if name not in annotations:
        return None
    try:
        return read_time_s(annotations[name])
    except UnitError as error:
        faults.append(f"{name}: {error}")
        return None


def is_deferrable(meta: Mapping[str, Any]) -> bool:
    """Tell whether an object is marked.

    Parameters
    ----------
    meta : mapping
        Its metadata.

    Returns
    -------
    bool
        By its label.
    """
    return _texts(meta.get("labels")).get(names.DEFERRABLE) == "true"


def gate_index(spec: Mapping[str, Any]) -> int:
    """Return where our gate stands among a pod's.

    Parameters
    ----------
    spec : mapping
        Of a pod.

    Returns
    -------
    int
        -1 where it isn't there.
    """
    gates = spec.get("schedulingGates")
    for index, gate in enumerate(gates if isinstance(gates, list) else ()):
        if isinstance(gate, dict) and gate.get("name") == names.GATE:
            return index
    return -1


def read_waiting(kind: str, item: Mapping[str, Any], settings: GatesSettings) -> Waiting | None:
    """Read what waits for us.

    Parameters
    ----------
    kind : str
        ``"pods"`` or ``"jobs"``.
    item : mapping
        The object, as the API sends it.
    settings : GatesSettings
        Where work is deferred, and how long at most.

    Returns
    -------
    Waiting or None
        None for what doesn't wait, or waits for somebody else. A pod with our gate always waits for
        us, marked or not: nobody else would release it.
    """
    meta, spec = _map(item.get("metadata")), _map(item.get("spec"))
    if meta.get("deletionTimestamp") or not meta.get("uid"):
        return None
    if kind == "pods":
        gate = gate_index(spec)
        return None if gate < 0 else _waiting(kind, meta, spec, settings, {"gate": gate})
    if not _is_our_job(meta, spec, settings):
        return None
    template = _map(spec.get("template"))
    template_meta, pod = _map(template.get("metadata")), _map(template.get("spec"))
    fresh = not _map(item.get("status")).get("startTime")
    held_again = is_deferrable(template_meta) or gate_index(pod) >= 0
    facts = {
        "template_annotated": isinstance(template_meta.get("annotations"), dict),
        "marks_template": held_again and fresh and isinstance(template.get("metadata"), dict),
    }
    pods = _count(spec.get("parallelism"))
    if spec.get("completions") is not None:
        pods = min(pods, _count(spec["completions"]))
    return _waiting(kind, meta, pod, settings, facts, pods=max(pods, 1))


def _is_our_job(meta: Mapping[str, Any], spec: Mapping[str, Any], settings: GatesSettings) -> bool:
    labels = _texts(meta.get("labels"))
    managed = any(name in labels for name in _MANAGED_LABELS)
    managed |= str(spec.get("managedBy") or _OWN_CONTROLLER) != _OWN_CONTROLLER
    # Whoever suspends a Job after its release wants it to rest.
    done = names.RELEASED_AT in _texts(meta.get("annotations"))
    ours = is_deferrable(meta) and settings.takes(str(meta.get("namespace", "")))
    return ours and spec.get("suspend") is True and not managed and not done


def _waiting(
    kind: str,
    meta: Mapping[str, Any],
    pod: Mapping[str, Any],
    settings: GatesSettings,
    facts: Mapping[str, Any],
    *,
    pods: int = 1,
) -> Waiting:
    annotations = _texts(meta.get("annotations"))
    namespace = str(meta.get("namespace", ""))
    try:
        created_s = read_time_s(str(meta.get("creationTimestamp", "")))
    except UnitError:
        created_s = 0.0
    terms = read_terms(annotations, made_s=created_s, settings=settings)
    if not settings.takes(namespace):
        fault = f"work in namespace {namespace} isn't deferred"
        terms = Terms(latest_s=terms.latest_s, duration_s=terms.duration_s, faults=(*terms.faults, fault))
    planned_s = None
    if names.PLANNED_START in annotations:
        faults: list[str] = []
        # What can't be read was not written by us: it will be planned anew.
        planned_s = _moment_s(annotations, names.PLANNED_START, faults)
    return Waiting(
        kind=kind,
        namespace=namespace,
        name=str(meta.get("name", "")),
        uid=str(meta.get("uid")),
        version=str(meta.get("resourceVersion", "")),
        created_s=created_s,
        terms=terms,
        request=_request(pod, pods),
        regions=_regions(annotations, pod),
        planned_s=planned_s,
        released=names.RELEASED_AT in annotations,
        annotated=isinstance(meta.get("annotations"), dict),
        decision=annotations.get(names.DECISION, ""),
        **facts,
    )


def _request(pod: Mapping[str, Any], pods: int) -> Amount:
    try:
        one = pod_request(pod, {})
    except (UnitError, TypeError, ValueError, AttributeError):
        one = Amount()
    vcpus = one.vcpus or DEFAULT_VCPUS
    return Amount(vcpus * pods, one.memory_gib * pods, one.gpus * pods, float(pods))


def _regions(annotations: Mapping[str, str], pod: Mapping[str, Any]) -> tuple[str, ...]:
    said = annotations.get(names.ALLOWED_REGIONS, "")
    allowed = tuple(part.strip() for part in said.split(",") if part.strip())
    chosen = str(_map(pod.get("nodeSelector")).get(_REGION) or "")
    if not chosen:
        return allowed
    # Both hold: where they exclude each other the selector is what the scheduler keeps to.
    return (chosen,)


def _count(value: Any) -> int:  # noqa: ANN401 - any JSON
    return value if isinstance(value, int) and value >= 0 else 1


def _map(value: Any) -> Mapping[str, Any]:  # noqa: ANN401 - any JSON
    return value if isinstance(value, dict) else {}


def _texts(value: Any) -> dict[str, str]:  # noqa: ANN401 - any JSON
    return {str(key): str(each) for key, each in _map(value).items()}

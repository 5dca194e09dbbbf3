"""What every object of the deployment is made of: names, labels and the security of pods."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from aicsched.extender import names
from tools.deploy.template import NAMESPACE, Both, Digest, Equals, Image, Is, Ref, Tree, When

if TYPE_CHECKING:
    from tools.deploy.template import Condition

__all__ = [
    "BIND",
    "CERT_MANAGER",
    "EXTENDER",
    "GATES",
    "HOST_NETWORK",
    "SECOND",
    "SERVICE",
    "SETTINGS",
    "STATE",
    "WEBHOOK",
    "Piece",
    "container",
    "hardened",
    "labels",
    "meta",
    "pod",
    "probes",
    "secret_volume",
]

SERVICE: Final = Equals("mode", "service")
HOST_NETWORK: Final = Equals("mode", "hostNetwork")
SECOND: Final = Equals("mode", "secondScheduler")
GATES: Final = Is("gates.enabled")
WEBHOOK: Final = Both(GATES, Is("gates.webhook.enabled"))
BIND: Final = Is("bind.enabled")
CERT_MANAGER: Final = Is("tls.certManager")
EXTENDER: Final = "extender"
SETTINGS: Final = "/etc/aicsched"
STATE: Final = "/var/lib/aicsched"
_USER: Final = 65_532
_SETTINGS: Final = ("settings.extender", "settings.tables", "settings.policies")
_TOLD: Final = {
    "extender": (*_SETTINGS, "tls.clients", "bind.enabled", "secondScheduler.name"),
    "gates": (*_SETTINGS, "gates.settings"),
}


@dataclass(frozen=True, slots=True)
class Piece:
    """One object, and when it is there.

    Parameters
    ----------
    file : str
        Name of its file, without ``.yaml``.
    component : str
        Of kustomize: its folder.
    body : dict
        A description, as in `tools.deploy.template`.
    test : Condition, optional
        Values under which it is made; by default always.
    in_chart : bool
        False for what Helm makes itself.
    """

    file: str
    component: str
    body: dict[str, Any]
    test: Condition | None = None
    in_chart: bool = field(default=True)


def labels(part: str) -> dict[str, Any]:
    """Return what selects the pods of a part: it may never change.

    Parameters
    ----------
    part : str
        ``extender``, ``gates`` or ``scheduler``.

    Returns
    -------
    dict
        Labels.
    """
    return {"app.kubernetes.io/name": Ref("name"), "app.kubernetes.io/component": part}


def meta(
    name: str, part: str, *, namespaced: bool = True, more: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Return an object's metadata.

    Parameters
    ----------
    name : str
        What comes behind the release's own name; may be empty.
    part : str
        As for `labels`.
    namespaced : bool
        Whether it lives in the release's namespace.
    more : dict, optional
        Further labels or annotations.

    Returns
    -------
    dict
        Metadata.
    """
    made: dict[str, Any] = {"name": f"@{{name}}-{name}" if name else Ref("name")}
    if namespaced:
        made["namespace"] = NAMESPACE
    made["labels"] = {**labels(part), "app.kubernetes.io/part-of": "aicsched"}
    return made | (more or {})


def probes(port: str = "metrics") -> dict[str, Any]:
    """Return the probes of a container of ours.

    Parameters
    ----------
    port : str
        Name of the port that answers them.

    Returns
    -------
    dict
        Entries of the container: it gets a minute to start, and is restarted only when it hangs.
    """
    alive = {"httpGet": {"path": "/livez", "port": port}}
    ready = {"httpGet": {"path": "/readyz", "port": port}}
    return {
        "startupProbe": alive | {"periodSeconds": 2, "timeoutSeconds": 2, "failureThreshold": 30},
        "livenessProbe": alive | {"periodSeconds": 10, "timeoutSeconds": 2, "failureThreshold": 6},
        "readinessProbe": ready | {"periodSeconds": 5, "timeoutSeconds": 2, "failureThreshold": 2},
    }


def container(name: str, command: list[str], ports: dict[str, Ref], resources: str) -> dict[str, Any]:
    """Return a container of the project's image, with no rights at all.

    Parameters
    ----------
    name : str
        Its name.
    command : list of str
        Arguments of ``aicsched``.
    ports : dict of str to Ref
        By name.
    resources : str
        Path of the value with its requests and limits.

    Returns
    -------
    dict
        The container, without probes' and volumes' own additions.
    """
    return {
        "name": name,
        "image": Image("image"),
        "imagePullPolicy": Ref("image.pullPolicy"),
        "args": command,
        # Relative paths of settings mean the one folder that may be written.
        "workingDir": STATE,
        "ports": [
            {"name": each, "containerPort": number, "protocol": "TCP"} for each, number in ports.items()
        ],
        "resources": Tree(resources),
        "securityContext": hardened(),
        "volumeMounts": [
            {"name": "settings", "mountPath": SETTINGS, "readOnly": True},
            {"name": "state", "mountPath": STATE},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - a mount of the pod's own
            When(Is("tokensSecret"), {"name": "tokens", "mountPath": f"{SETTINGS}-tokens", "readOnly": True}),
        ],
    }


def hardened() -> dict[str, Any]:
    """Return the security context of every container.

    Returns
    -------
    dict
        As Kubernetes' restricted profile wants it, and a read-only root besides.
    """
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def secret_volume(name: str, secret: Ref) -> dict[str, Any]:
    """Return a volume of a Secret that only the pod's own user can read.

    Parameters
    ----------
    name : str
        Of the volume.
    secret : Ref
        Of the Secret.

    Returns
    -------
    dict
        The volume.
    """
    return {"name": name, "secret": {"secretName": secret, "defaultMode": 0o440}}


def pod(part: str, containers: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """Return a pod template: unprivileged, spread over zones and nodes.

    Parameters
    ----------
    part : str
        As for `labels`.
    containers : list of dict
        Its containers.
    **more : object
        Entries of its spec, which replace those here; ``volumes`` come beside those that all have.

    Returns
    -------
    dict
        The template.
    """
    volumes = [
        {"name": "settings", "configMap": {"name": f"@{{name}}-{part}"}},
        # Last known good signals, and compiled code: what a restart of the container should find again.
        {"name": "state", "emptyDir": {"sizeLimit": "1Gi"}},
        {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
        When(Is("tokensSecret"), secret_volume("tokens", Ref("tokensSecret"))),
        *more.pop("volumes", []),
    ]
    spec: dict[str, Any] = {
        "serviceAccountName": f"@{{name}}-{part}",
        "priorityClassName": Ref("priorityClass.name"),
        "schedulerName": Ref("schedulerName"),
        "terminationGracePeriodSeconds": 30,
        "imagePullSecrets": When(Is("imagePullSecrets"), Tree("imagePullSecrets")),
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "fsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "nodeSelector": Tree("nodeSelector"),
        "tolerations": Tree("tolerations"),
        "topologySpreadConstraints": [
            _spread(part, "topology.kubernetes.io/zone"),
            _spread(part, "kubernetes.io/hostname"),
        ],
        "containers": containers,
        "volumes": volumes,
    }
    return {
        "metadata": {
            "labels": {**labels(part), "app.kubernetes.io/part-of": "aicsched"},
            "annotations": {f"{names.DOMAIN}/settings-digest": Digest(_TOLD[part])},
        },
        "spec": {key: each for key, each in (spec | more).items() if each is not None},
    }


def _spread(part: str, key: str) -> dict[str, Any]:
    return {
        "maxSkew": 1,
        "topologyKey": key,
        # A hint, no demand: with one zone left, both replicas shall still run.
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": labels(part)},
    }

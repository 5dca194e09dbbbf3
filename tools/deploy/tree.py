"""Which files deploy/ is made of: a chart, a kustomize base with overlays, and plain manifests."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tools.deploy.access import ACCESS
from tools.deploy.alerts import groups
from tools.deploy.certificates import CERTIFICATES
from tools.deploy.dashboard import dashboard
from tools.deploy.monitoring import MONITORING
from tools.deploy.template import helm, plain, write_yaml
from tools.deploy.values import defaults, merged, schema, values_yaml, version
from tools.deploy.workloads import WORKLOADS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tools.deploy.pieces import Piece

__all__ = [
    "NAMESPACE",
    "OVERLAYS",
    "PIECES",
    "Overlay",
    "chart",
    "kustomize",
    "monitoring",
    "render",
    "rendered",
]

NAMESPACE: Final = "aicsched-system"
"""Where the plain manifests put everything; Helm asks for it."""
MADE: Final = "# Made by `python3 do.py deploy`: change tools/deploy, or lay an overlay over it.\n"
PIECES: Final[tuple[Piece, ...]] = (*ACCESS, *WORKLOADS, *CERTIFICATES, *MONITORING)
_KINDS: Final = ("Namespace", "PriorityClass", "ServiceAccount", "ClusterRole", "Role", "ClusterRoleBinding")


@dataclass(frozen=True, slots=True)
class Overlay:
    """One way of running it.

    Parameters
    ----------
    name : str
        Its folder, and its plain manifest.
    about : str
        One sentence.
    values : dict
        What it sets.
    """

    name: str
    about: str
    values: dict[str, Any]


OVERLAYS: Final = (
    Overlay("extender", "The extender behind a Service; its certificates are yours to bring.", {}),
    Overlay(
        "full",
        "The extender and the gates, with cert-manager and the Prometheus operator. "
        "Name a source of signals: the gates don't start without.",
        {
            "gates": {"enabled": True},
            "tls": {"certManager": True},
            "monitoring": {"serviceMonitor": True, "rules": True, "dashboard": True},
        },
    ),
    Overlay(
        "host-network", "The extender on the control plane's nodes, over loopback.", {"mode": "hostNetwork"}
    ),
    Overlay(
        "second-scheduler",
        "A second kube-scheduler with the extender beside it, for pods that name it.",
        {"mode": "secondScheduler"},
    ),
)
# What no overlay has, since it is a right that few need: one component more, for an overlay of one's own.
_FURTHER: Final = {"bind": {"bind": {"enabled": True}}}


def render(
    values: dict[str, Any], *, chart: bool = False, namespace: str = NAMESPACE
) -> list[dict[str, Any]]:
    """Make all objects for some values.

    Parameters
    ----------
    values : dict
        What is set; the rest are defaults.
    chart : bool
        Only what the chart has.
    namespace : str
        Where they live.

    Returns
    -------
    list of dict
        Plain objects, what others need first.
    """
    found = _filled(values, namespace)
    return sorted(
        (body for piece, body in found if piece.in_chart or not chart),
        key=lambda body: _KINDS.index(body["kind"]) if body["kind"] in _KINDS else len(_KINDS),
    )


def _filled(values: dict[str, Any], namespace: str = NAMESPACE) -> list[tuple[Piece, dict[str, Any]]]:
    held = merged(defaults(), values) | {"Release": {"Namespace": namespace}}
    return [
        (piece, plain(piece.body, held)) for piece in PIECES if piece.test is None or piece.test.holds(held)
    ]


def rendered() -> dict[str, str]:
    """Write the plain manifests.

    Returns
    -------
    dict of str to str
        Texts by path in deploy/.
    """
    made = {}
    for overlay in OVERLAYS:
        objects = render(overlay.values)
        about = f"# {overlay.about}\n"
        made[f"rendered/{overlay.name}.yaml"] = MADE + about + "---\n".join(map(write_yaml, objects))
    return made


def kustomize() -> dict[str, str]:
    """Write the kustomize base, the components and the overlays.

    Returns
    -------
    dict of str to str
        Texts by path in deploy/.
    """
    made: dict[str, str] = {}
    folders: dict[str, list[str]] = {}
    for name, values in [*((each.name, each.values) for each in OVERLAYS), *_FURTHER.items()]:
        for piece, body in _filled(values):
            if name in _FURTHER and piece.component != name:
                continue
            path = f"kustomize/{_folder(piece)}/{piece.file}.yaml"
            text = MADE + write_yaml(body)
            if made.setdefault(path, text) != text:
                msg = f"{path} isn't the same in every overlay: give {name} a component of its own"
                raise ValueError(msg)
            files = folders.setdefault(_folder(piece), [])
            if path.rpartition("/")[2] not in files:
                files.append(path.rpartition("/")[2])
    for folder, files in folders.items():
        kind = "Kustomization" if folder == "base" else "Component"
        made[f"kustomize/{folder}/kustomization.yaml"] = _kustomization(kind, resources=files)
    for overlay in OVERLAYS:
        parts = dict.fromkeys(_folder(piece) for piece, _ in _filled(overlay.values))
        made[f"kustomize/overlays/{overlay.name}/kustomization.yaml"] = _kustomization(
            "Kustomization",
            resources=["../../base"],
            components=[f"../../{part}" for part in parts if part != "base"],
            images=[{"name": defaults()["image"]["repository"], "newTag": version()}],
        )
    return made


def _folder(piece: Piece) -> str:
    return "base" if piece.component == "base" else f"components/{piece.component}"


def _kustomization(kind: str, **entries: Any) -> str:
    api = "kustomize.config.k8s.io/v1beta1" if kind == "Kustomization" else "kustomize.config.k8s.io/v1alpha1"
    return MADE + write_yaml({"apiVersion": api, "kind": kind, **entries})


def chart() -> dict[str, str]:
    """Write the Helm chart.

    Returns
    -------
    dict of str to str
        Texts by path in deploy/.
    """
    root = "helm/aicsched"
    about = {
        "apiVersion": "v2",
        "name": "aicsched",
        "description": "Carbon-aware scheduling for Kubernetes: an extender of kube-scheduler, and gates",
        "type": "application",
        "version": version(),
        "appVersion": version(),
        "kubeVersion": ">=1.30.0-0",
        "keywords": ["carbon", "scheduling", "sustainability"],
        "annotations": {"artifacthub.io/license": "Apache-2.0"},
    }
    made = {
        f"{root}/Chart.yaml": MADE + write_yaml(about),
        f"{root}/values.yaml": MADE + values_yaml(),
        f"{root}/values.schema.json": json.dumps(schema(), indent=2, ensure_ascii=False) + "\n",
        f"{root}/.helmignore": ".git\n*.orig\n*~\n",
        f"{root}/templates/NOTES.txt": _NOTES,
    }
    for piece in PIECES:
        if not piece.in_chart:
            continue
        text = helm(piece.body, defaults())
        if piece.test is not None:
            text = f"{{{{- if {piece.test.helm()} }}}}\n{text}{{{{- end }}}}\n"
        path = f"{root}/templates/{piece.component}-{piece.file}.yaml"
        if path in made:
            msg = f"{path} would be written twice"
            raise ValueError(msg)
        made[path] = text
    for overlay in OVERLAYS:
        text = write_yaml(overlay.values) if overlay.values else "{}\n"
        made[f"{root}/ci/{overlay.name}-values.yaml"] = f"# {overlay.about}\n" + text
    return made


def docs_table() -> str:
    """Write the table of overlays for the docs.

    Returns
    -------
    str
        Markdown.
    """
    rows = ["| overlay | what it is | Helm |", "| --- | --- | --- |"]
    for overlay in OVERLAYS:
        said = " ".join(f"--set {path}={value}" for path, value in _flat(overlay.values))
        rows.append(f"| `{overlay.name}` | {overlay.about} | {f'`{said}`' if said else 'the defaults'} |")
    return "\n".join(rows) + "\n"


def _flat(values: dict[str, Any], at: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{at}{key}.")
        else:
            yield f"{at}{key}", str(value).lower() if isinstance(value, bool) else str(value)


def monitoring() -> dict[str, str]:
    """Write the rules and the dashboard for who runs no operator.

    Returns
    -------
    dict of str to str
        Texts by path in deploy/.
    """
    return {
        "prometheus/rules.yml": MADE + write_yaml({"groups": groups()}),
        "grafana/aicsched.json": json.dumps(dashboard(), indent=1, ensure_ascii=False) + "\n",
    }


_NOTES: Final = """\
{{- if eq .Values.mode "service" }}
The extender answers at https://{{ .Values.name }}-extender.{{ .Release.Namespace }}.svc:{{ .Values.port }}
Name it in kube-scheduler's configuration: deploy/examples/kube-scheduler/service.yaml shows how.
{{- else if eq .Values.mode "hostNetwork" }}
The extender answers at http://127.0.0.1:{{ .Values.port }} on each node of the control plane.
Name it in kube-scheduler's configuration: deploy/examples/kube-scheduler/host-network.yaml shows how.
{{- else }}
Pods with `schedulerName: {{ .Values.secondScheduler.name }}` are placed by carbon now.
{{- end }}

Check it: kubectl -n {{ .Release.Namespace }} get pods -l app.kubernetes.io/part-of=aicsched
Undo it:  take the extender out of kube-scheduler's configuration, then helm uninstall {{ .Release.Name }}
"""

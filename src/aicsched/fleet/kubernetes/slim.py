"""Objects in a cache without what is large and never looked at."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["slim", "strip"]

_HEAVY: Final = (
    "env", "envFrom", "volumeMounts", "command", "args", "livenessProbe", "readinessProbe", "startupProbe",
    "lifecycle", "securityContext",
)  # fmt: skip


def slim(kind: str, item: Any) -> None:  # noqa: ANN401 - any JSON
    """Take out what nobody looks at: two thirds of a node or pod.

    Parameters
    ----------
    kind : str
        ``"nodes"``, ``"pods"`` or another.
    item : dict
        The object, which is changed; anything else is left alone.

    Examples
    --------
    >>> node = {"metadata": {"name": "a", "managedFields": [1]}, "status": {"images": [2], "capacity": {}}}
    >>> slim("nodes", node)
    >>> node
    {'metadata': {'name': 'a'}, 'status': {'capacity': {}}}
    """
    if not isinstance(item, dict):
        return
    meta, status, spec = item.get("metadata"), item.get("status"), item.get("spec")
    if isinstance(meta, dict):
        meta.pop("managedFields", None)
    if isinstance(status, dict) and kind == "nodes":
        for name in ("images", "volumesInUse", "volumesAttached"):
            status.pop(name, None)
    if isinstance(spec, dict) and kind == "pods":
        spec.pop("volumes", None)
        for name in ("containers", "initContainers"):
            for container in spec.get(name) or ():
                if isinstance(container, dict):
                    for heavy in _HEAVY:
                        container.pop(heavy, None)


def strip(item: dict[str, Any]) -> None:
    """Leave no more of an object than its name and version.

    Parameters
    ----------
    item : dict
        The object, which is changed.

    Examples
    --------
    >>> node = {"metadata": {"name": "a", "labels": {}, "resourceVersion": "7"}, "status": {}}
    >>> strip(node)
    >>> node
    {'metadata': {'name': 'a', 'resourceVersion': '7'}}
    """
    meta = item["metadata"]
    item.clear()
    item["metadata"] = {key: meta[key] for key in ("namespace", "name", "resourceVersion") if key in meta}

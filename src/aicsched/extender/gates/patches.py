"""The patches by which work is planned and released: each tests what it supposes, so none comes twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from aicsched.extender import names
from aicsched.slots import format_time

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aicsched.extender.gates.waiting import Waiting

__all__ = ["pointer", "release_steps", "told_steps"]

_META: Final = "/metadata/annotations"
_TEMPLATE: Final = "/spec/template/metadata/annotations"


def pointer(name: str) -> str:
    """Write a name as part of a JSON pointer (RFC 6901).

    Parameters
    ----------
    name : str
        With slashes, for example.

    Returns
    -------
    str
        Escaped.

    Examples
    --------
    >>> pointer("aicsched.io/reason")
    'aicsched.io~1reason'
    """
    return name.replace("~", "~0").replace("/", "~1")


def _annotate(root: str, values: Mapping[str, str], *, there: bool) -> list[dict[str, Any]]:
    if not there:
        return [{"op": "add", "path": root, "value": dict(values)}]
    return [
        {"op": "add", "path": f"{root}/{pointer(name)}", "value": value} for name, value in values.items()
    ]


def told_steps(work: Waiting, values: Mapping[str, str]) -> list[dict[str, Any]]:
    """Write annotations onto what waits.

    Parameters
    ----------
    work : Waiting
        As it was read.
    values : mapping of str to str
        Annotations.

    Returns
    -------
    list of dict
        A JSON patch, which fails on another object of the name, and where annotations came meanwhile.
    """
    steps: list[dict[str, Any]] = [{"op": "test", "path": "/metadata/uid", "value": work.uid}]
    if not work.annotated:
        # There is no test that something is absent: adding a whole map could drop somebody's.
        steps.append({"op": "test", "path": "/metadata/resourceVersion", "value": work.version})
    return steps + _annotate(_META, values, there=work.annotated)


def release_steps(work: Waiting, values: Mapping[str, str], *, at_s: float) -> list[dict[str, Any]]:
    """Release what waits: take our gate away, or end the suspension.

    Parameters
    ----------
    work : Waiting
        As it was read.
    values : mapping of str to str
        Annotations beside the time of release.
    at_s : float
        The time of release, seconds since the epoch.

    Returns
    -------
    list of dict
        A JSON patch, which fails when somebody else released it. Gates of others stay.
    """
    released = {names.RELEASED_AT: format_time(int(at_s))}
    steps = told_steps(work, {**values, **released})
    if work.kind == "pods":
        gate = f"/spec/schedulingGates/{work.gate}"
        return [
            *steps,
            {"op": "test", "path": f"{gate}/name", "value": names.GATE},
            {"op": "remove", "path": gate},
        ]
    steps += [
        {"op": "test", "path": "/spec/suspend", "value": True},
        {"op": "replace", "path": "/spec/suspend", "value": False},
    ]
    if work.marks_template:
        # Its pods waited with it: the webhook lets those pass that bear this.
        steps += _annotate(_TEMPLATE, released, there=work.template_annotated)
    return steps

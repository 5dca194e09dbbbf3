"""Plug-ins: entry points by group and name, ours and third parties' alike.

A plug-in is a class named in a package's entry points, for example::

    [project.entry-points."aicsched.forecasters"]
    mine = "my_package.models:MyForecaster"

What it must do is written down as a check suite in `aicsched.testing`, which we
run on ours and third parties run on theirs. A plug-in that can't be loaded is
reported and never takes others down.
"""

from __future__ import annotations

from importlib import metadata
from typing import Any, Final

from aicsched.errors import PluginError, did_you_mean

__all__ = ["GROUPS", "load_plugin", "plugin_names"]

GROUPS: Final = (
    "aicsched.carbon_sources",
    "aicsched.forecasters",
    "aicsched.online_policies",
    "aicsched.policies",
)


def _entry_points(group: str) -> dict[str, metadata.EntryPoint]:
    if group not in GROUPS:
        msg = f"there is no plug-in group '{group}'"
        raise PluginError(msg, hint=did_you_mean(group, GROUPS, count=1), value=group)
    return {point.name: point for point in metadata.entry_points(group=group)}


def plugin_names(group: str) -> tuple[str, ...]:
    """List the plug-ins of a group.

    Parameters
    ----------
    group : str
        One of `GROUPS`.

    Returns
    -------
    tuple of str
        Sorted; nothing is imported.

    Raises
    ------
    PluginError
        There is no such group.

    Examples
    --------
    >>> "ridge" in plugin_names("aicsched.forecasters")
    True
    """
    return tuple(sorted(_entry_points(group)))


def load_plugin(group: str, name: str) -> Any:  # noqa: ANN401 - a class of the group's protocol
    """Import one plug-in.

    Parameters
    ----------
    group : str
        One of `GROUPS`.
    name : str
        As in the entry points.

    Returns
    -------
    type
        The class; making an object of it is the caller's part.

    Raises
    ------
    PluginError
        No such group or name, or its import fails.
    """
    points = _entry_points(group)
    if name not in points:
        msg = f"no plug-in '{name}' in {group}"
        raise PluginError(msg, hint=did_you_mean(name, points), value=name)
    try:
        return points[name].load()
    except Exception as error:
        msg = f"plug-in '{name}' ({points[name].value}) can't be loaded: {error}"
        raise PluginError(msg, hint="update or uninstall the package that brings it", value=name) from error

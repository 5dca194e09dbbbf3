"""All checks of a running cluster, and of what tells the extender about it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from aicsched.errors import AicschedError
from aicsched.extender.doctor.cluster import (
    READ_RIGHTS,
    check_api,
    check_nodes,
    check_rights,
    grid_zones_of,
    list_cluster,
)
from aicsched.extender.doctor.finding import Finding, Severity
from aicsched.extender.doctor.upstreams import check_carbon, check_prometheus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aicsched.config import Settings
    from aicsched.extender.doctor.cluster import Right

__all__ = ["check_live"]

_BIND: Final[Right] = ("", "pods/binding", "create")


def check_live(
    settings: Settings,
    api: Any,  # noqa: ANN401 - no types
    *,
    now_s: Callable[[], float] = time.time,
) -> Iterator[Finding]:
    """Check a cluster with the settings that the extender would have.

    Nothing is written: neither to the cluster, nor to the store of signals.

    Parameters
    ----------
    settings : Settings
        Tables ``[extender]`` and ``[signals]``.
    api : kubernetes.client.ApiClient
        As `aicsched.fleet.kubernetes.watch.connect` makes it.
    now_s : callable
        The clock: seconds since the epoch.

    Yields
    ------
    Finding
        As each check is done; what can't be reached ends the checks that stand on it only.
    """
    reached = True
    for found in check_api(api, now_s):
        reached &= found.code != "api"
        yield found
    names: tuple[str, ...] = ()
    zones: set[str] = set()
    if reached:
        yield from check_rights(api, (*READ_RIGHTS, _BIND) if settings.extender.bind else READ_RIGHTS)
        try:
            cluster = list_cluster(api)
        except AicschedError as error:
            yield Finding(
                code="cluster",
                severity=Severity.ERROR,
                where="cluster",
                message=error.message,
                fix=error.hint,
            )
        else:
            told = grid_zones_of(cluster, settings.extender.grid_zones)
            yield from check_nodes(cluster, told)
            names = tuple(node.name for node in cluster.nodes)
            zones = {zone for zone in told.values() if zone}
    zones |= set(settings.extender.grid_zones.values())
    yield from check_carbon(settings.signals, zones, now_s)
    yield from check_prometheus(settings.extender, names, now_s)

"""The end of deferral: everything that waits is released at once, so that nothing is left behind a gate."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Protocol

from aicsched.errors import AicschedError, SourceUnavailable
from aicsched.extender.gates.patches import release_steps
from aicsched.extender.gates.service import GATED_PODS, MARKED_JOBS
from aicsched.extender.gates.waiting import read_waiting
from aicsched.extender.names import REASON
from aicsched.fleet.kubernetes.act import Changed, ClusterActs
from aicsched.fleet.kubernetes.informed import ObjectWatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from aicsched.config.gates import GatesSettings
    from aicsched.extender.gates.waiting import Waiting

__all__ = ["Ended", "release_all", "release_works"]

_SENTENCE: Final = "released at once: an operator ended deferral"
_TRIES: Final = 5


class _Acts(Protocol):
    def read(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None: ...

    def patch(
        self, kind: str, namespace: str, name: str, steps: Sequence[Mapping[str, Any]]
    ) -> dict[str, Any] | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What came of releasing everything.

    Parameters
    ----------
    released : tuple of str
        ``pods shop/nightly``: what waits no longer by us.
    failed : tuple of str
        What still waits, and why.
    """

    released: tuple[str, ...]
    failed: tuple[str, ...]


def release_all(api: Any, settings: GatesSettings) -> Ended:  # noqa: ANN401 - no types
    """Release every gated pod and every suspended Job that is marked, in all namespaces.

    No forecast is needed, no Lease is taken, and `aicsched gates` may run beside: whoever comes second
    finds nothing to do.

    Parameters
    ----------
    api : kubernetes.client.ApiClient
        As `aicsched.fleet.kubernetes.watch.connect` makes it.
    settings : GatesSettings
        Which namespaces' Jobs are ours.

    Returns
    -------
    Ended
        By kind, namespace and name.

    Raises
    ------
    ConfigError, SourceUnavailable, SignalInvalid
        The cluster can't be read.
    """
    watch = ObjectWatch(api, kinds=(GATED_PODS, MARKED_JOBS))
    # Jobs first: their pods are then made without waiting.
    works = [
        work
        for kind in ("jobs", "pods")
        for item in watch.read(kind)
        if (work := read_waiting(kind, item, settings)) is not None
    ]
    return release_works(works, ClusterActs(api), settings, now_s=time.time)


def release_works(
    works: Iterable[Waiting], acts: _Acts, settings: GatesSettings, *, now_s: Callable[[], float]
) -> Ended:
    """Release given works.

    Parameters
    ----------
    works : iterable of Waiting
        As they were read.
    acts : ClusterActs
        Writes to the cluster.
    settings : GatesSettings
        Which namespaces' Jobs are ours.
    now_s : callable
        The clock: seconds since the epoch.

    Returns
    -------
    Ended
        One that can't be released doesn't keep the others waiting.
    """
    released: list[str] = []
    failed: list[str] = []
    for work in works:
        name = f"{work.kind} {work.subject}"
        try:
            if _release(work, acts, settings, now_s()):
                released.append(name)
        except AicschedError as error:
            failed.append(f"{name}: {error.message}")
    return Ended(released=tuple(released), failed=tuple(failed))


def _release(work: Waiting, acts: _Acts, settings: GatesSettings, at_s: float) -> bool:
    """Release one; False where it is gone, or somebody else did it."""
    for _ in range(_TRIES):
        try:
            steps = release_steps(work, {REASON: _SENTENCE}, at_s=at_s)
            return acts.patch(work.kind, work.namespace, work.name, steps) is not None
        except Changed:
            item = acts.read(work.kind, work.namespace, work.name)
            fresh = None if item is None else read_waiting(work.kind, item, settings)
            if fresh is None or fresh.uid != work.uid:
                return False
            # Unchanged and refused all the same: a template that may not be marked is left as it is.
            work = replace(fresh, marks_template=False) if fresh.version == work.version else fresh
    msg = f"it changes faster than it can be released ({_TRIES} tries)"
    raise SourceUnavailable(msg, hint="try again")

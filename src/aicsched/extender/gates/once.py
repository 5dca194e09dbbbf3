"""One look at a cluster: what waits, what would be planned for it, and what would be released now."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aicsched.extender.gates.outlook import Outlooks
from aicsched.extender.gates.planner import plan_starts
from aicsched.extender.gates.rules import Why, due_of
from aicsched.extender.gates.sentences import released_sentence
from aicsched.extender.gates.service import GATED_PODS, MARKED_JOBS, bound_pods
from aicsched.extender.gates.waiting import read_waiting
from aicsched.fleet.kubernetes.informed import NODES, ObjectWatch

if TYPE_CHECKING:
    from aicsched.config import Settings
    from aicsched.extender.gates.waiting import Waiting
    from aicsched.signals.base import CarbonSource

__all__ = ["Look", "look_once"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What would be done with one piece of work.

    Parameters
    ----------
    work : Waiting
        What waits.
    start_s : float
        When it would be released, seconds since the epoch.
    now : bool
        Whether that is at once.
    reason : str
        Why, in a sentence.
    saving_g : float
        What that is expected to save [g]; NaN where nothing is foreseen.
    """

    work: Waiting
    start_s: float
    now: bool
    reason: str
    saving_g: float


def look_once(settings: Settings, api: Any, carbon: CarbonSource) -> tuple[list[Look], str]:  # noqa: ANN401 - no types
    """Plan what waits, and write nothing.

    Parameters
    ----------
    settings : Settings
        Of the operator.
    api : kubernetes.client.ApiClient
        As `aicsched.fleet.kubernetes.watch.connect` makes it.
    carbon : CarbonSource
        Of the settings' signals.

    Returns
    -------
    tuple of list of Look, str
        By namespace and name; and a note where nothing can be foreseen.

    Raises
    ------
    ConfigError, SourceUnavailable, SignalInvalid
        The cluster can't be read.
    """
    gates, now_s = settings.gates, time.time()
    watch = ObjectWatch(api, kinds=(NODES, GATED_PODS, MARKED_JOBS))
    works = [
        work
        for kind in ("pods", "jobs")
        for item in watch.read(kind)
        if (work := read_waiting(kind, item, gates)) is not None
    ]
    nodes = watch.read("nodes")
    outlook = Outlooks(
        carbon,
        lambda: nodes,
        pods=(lambda: bound_pods(api)) if gates.capacity else None,
        grid_zones=settings.extender.grid_zones,
        horizon_h=settings.horizon_h,
        model=settings.model,
    ).make(now_s)
    free = [work for work in works if not (work.terms.faults or work.released)]
    plans = {} if outlook is None or not free else plan_starts(free, outlook, now_s=now_s, settings=gates)
    looks: list[Look] = []
    for work in sorted(works, key=lambda each: (each.namespace, each.name, each.kind)):
        plan = plans.get(work.uid)
        due = due_of(work, plan.start_s if plan else work.planned_s, known_s=now_s, settings=gates)
        why = Why.NO_SAVING if plan is not None and plan.why is Why.NO_SAVING else due.why
        start_s = max(due.at_s, now_s)
        told = plan is not None and why in {Why.PLANNED, Why.NO_SAVING}
        reason = plan.reason if plan is not None and told else released_sentence(work, plan, why, start_s)
        saving_g = plan.saving_g if plan is not None else float("nan")
        looks.append(Look(work=work, start_s=start_s, now=start_s <= now_s, reason=reason, saving_g=saving_g))
    note = "" if outlook is not None else "no grid of this cluster can be foreseen now"
    return looks, note

"""What is told to users: why work waits, and why it was released, in one sentence each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aicsched.extender.gates.rules import Why
from aicsched.slots import format_time
from aicsched.units import format_mass

if TYPE_CHECKING:
    from aicsched.extender.gates.planner import Plan
    from aicsched.extender.gates.waiting import Waiting

__all__ = ["DEFERRED", "RELEASED", "released_sentence"]

DEFERRED: Final = "CarbonDeferred"
RELEASED: Final = "CarbonReleased"


def released_sentence(work: Waiting, plan: Plan | None, why: Why, at_s: float) -> str:
    """Say why work was released when it was.

    Parameters
    ----------
    work : Waiting
        What was released.
    plan : Plan or None
        What was chosen for it, where this process knows.
    why : Why
        The reason.
    at_s : float
        When, seconds since the epoch.

    Returns
    -------
    str
        One sentence.
    """
    at, latest = format_time(int(at_s)), format_time(work.terms.latest_s)
    if why is Why.NO_SAVING and plan is not None:
        return plan.reason
    saves = "" if plan is None or plan.decision is None else f", saves {format_mass(plan.saving_g)}"
    return {
        Why.PLANNED: f"Released at {at} as planned{saves}.",
        Why.LATEST_START: f"Released at {at}: it has to start by {latest}.",
        Why.NO_FORECAST: f"Released at {at}: its grid could not be foreseen in time.",
        Why.NO_SAVING: f"Released at {at}: waiting saves too little.",
        Why.UNREADABLE: f"Released at once, not deferred: {'; '.join(work.terms.faults)}.",
        Why.JOB_RELEASED: "Released at once: its Job has waited already.",
        Why.CROWD: f"Released at {at}: so much is to start by {latest} that the last would be late.",
    }[why]

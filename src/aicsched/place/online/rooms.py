"""Which slots a plan takes, and policies that plan around full ones."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np

from aicsched.place.online.protocol import ArrivalPolicy
from aicsched.place.online.view import ClusterView, OracleView, Outlook

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from aicsched.place.online.plans import RunPlans, Stretch
    from aicsched.place.online.protocol import Action
    from aicsched.place.online.view import Batch, Vintages

__all__ = ["Capped", "around", "taken_slots"]

# Cleaner than none, but any slot with room is cleaner than it.
FULL_G_PER_KWH: Final = 1e6
INSTANT_S: Final = 1e-6


def taken_slots(
    stretches: Sequence[Stretch], work_s: float, *, start_s: float, step_s: float, count: int
) -> NDArray[np.float64]:
    """Return how many times its threads a job takes in each slot, as far as is expected.

    Parameters
    ----------
    stretches : sequence of Stretch
        Its plan; the last one is open.
    work_s : float
        How long it is expected to take [s].
    start_s : float
        Start of the first slot [s].
    step_s : float
        Length of a slot [s].
    count : int
        How many slots.

    Returns
    -------
    ndarray of float64, shape (count,)
        The scale of the job in every slot that it touches, else 0.

    Examples
    --------
    >>> from aicsched.place.online import Stretch
    >>> taken_slots([Stretch(1.5)], 2.0, start_s=0.0, step_s=1.0, count=5).tolist()
    [0.0, 1.0, 1.0, 1.0, 0.0]
    """
    taken = np.zeros(count)
    left_s = work_s
    for index, item in enumerate(stretches):
        if left_s <= INSTANT_S:
            break
        stop_s = item.start_s + left_s / item.rate
        if index + 1 < len(stretches):
            stop_s = min(stop_s, item.stop_s)
        left_s -= (stop_s - item.start_s) * item.rate
        first = int((item.start_s - start_s + INSTANT_S) / step_s)
        last = int(np.ceil((stop_s - start_s - INSTANT_S) / step_s))
        taken[max(first, 0) : max(last, 0)] = np.maximum(taken[max(first, 0) : max(last, 0)], item.scale)
    return taken


def around(look: Outlook, now_s: float, room_vcpus: NDArray[np.float64], need_vcpus: float) -> Vintages:
    """Return a forecast from the current slot on, in which slots without room are dirtier than any other.

    Parameters
    ----------
    look : Outlook
        The forecast.
    now_s : float
        The time [s].
    room_vcpus : ndarray of float64, shape (h,)
        How many threads are free, from the current slot on; empty where there is no cap.
    need_vcpus : float
        How many are needed.

    Returns
    -------
    Vintages
        One; a forecast that ends sooner than the room is known goes on as its last slot.
    """
    skipped = int((now_s - look.start_s + INSTANT_S) / look.step_s)
    first = min(skipped, len(look.g_per_kwh) - 1)
    last = first + len(room_vcpus) if len(room_vcpus) else len(look.g_per_kwh)
    ahead, drawn = look.g_per_kwh[first:last], look.vintage.scenarios
    full = room_vcpus[: len(ahead)] < need_vcpus - INSTANT_S
    extra = np.where(full, FULL_G_PER_KWH, 0.0) if len(room_vcpus) else 0.0
    since = np.array([look.start_s + skipped * look.step_s])
    return replace(
        look.vintage,
        issue_s=since,
        start_s=since,
        g_per_kwh=(ahead + extra)[None, :],
        foreseen_g_per_kwh=ahead[None, :],
        scenarios=None if drawn is None else drawn[:, :, first:last] + extra,
    )


class Capped(ArrivalPolicy):
    """A policy that plans on arrival, kept off slots that have no room under a hard cap.

    Parameters
    ----------
    inner : ArrivalPolicy
        Which. Jobs that come at one time are planned in their order, each around those before it.
    """

    def __init__(self, inner: ArrivalPolicy) -> None:
        self.inner = inner
        self.name = f"{inner.name}+capped"  # type: ignore[misc]
        self.oracle = inner.oracle  # type: ignore[misc]
        self.lengths = inner.lengths  # type: ignore[misc]

    name: ClassVar[str] = "capped"

    def plan_arrivals(self, batch: Batch) -> RunPlans:
        """Plan as the policy inside, where no cap is told.

        Parameters
        ----------
        batch : Batch
            The arrivals.

        Returns
        -------
        RunPlans
            Of the policy inside.
        """
        return self.inner.plan_arrivals(batch)

    def decide(self, view: ClusterView | OracleView, now_s: float) -> list[Action]:
        """Plan the jobs that wait, one after the other, around what is full.

        Parameters
        ----------
        view : ClusterView or OracleView
            With the room that is left.
        now_s : float
            The time of the view [s].

        Returns
        -------
        list of Action
            A start with its stretches for each waiting job.
        """
        known = view.known if isinstance(view, OracleView) else view
        if not len(known.room_vcpus):
            return self.inner.decide(view, now_s)
        look, jobs = known.outlook, known.waiting
        room = known.room_vcpus.copy()
        made: list[Action] = []
        for row in range(len(jobs)):
            full = around(look, now_s, room, float(jobs.vcpus[row]))
            alone = replace(known, waiting=jobs.take([row]), outlook=Outlook(full))
            work_s = float(jobs.estimate_s[row])
            if isinstance(view, OracleView):
                work_s = float(view.length_s[row])
                made += self.inner.decide(replace(view, known=alone, length_s=view.length_s[[row]]), now_s)
            else:
                made += self.inner.decide(alone, now_s)
            scale = taken_slots(
                made[-1].stretches,
                work_s,
                start_s=float(full.start_s[0]),
                step_s=look.step_s,
                count=len(room),
            )
            room -= scale * jobs.vcpus[row]
        return made

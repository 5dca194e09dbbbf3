"""Policies that think again: with each new forecast, or with many forecasts at once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np

from aicsched.errors import ConfigError
from aicsched.place.online.plans import RunPlans, Stretch
from aicsched.place.online.pricing import Price
from aicsched.place.online.protocol import ArrivalPolicy
from aicsched.place.online.rooms import Capped, taken_slots
from aicsched.place.online.view import ClusterView, Pending

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.place.online.protocol import Action
    from aicsched.place.online.view import Batch

__all__ = ["Mpc", "Robust"]

INSTANT_S: Final = 1e-6


class Mpc:
    """Model-predictive control: plan all jobs that have not begun anew, at every slot.

    Parameters
    ----------
    inner : ArrivalPolicy, optional
        How each is planned, as if it came now with what is left of its wait; `Price` by default.

    Raises
    ------
    ConfigError
        The policy inside wants true lengths.

    Notes
    -----
    A job that comes within a slot is planned when it comes, the others at the slot's first
    decision: nothing else is foreseen before.
    """

    name: ClassVar[str] = "mpc"
    lengths: ClassVar[str] = "queue mean"
    rolling: ClassVar[bool] = True

    def __init__(self, inner: ArrivalPolicy | None = None) -> None:
        self.inner = inner or Price()
        if self.inner.oracle:
            msg = f"{self.inner.name} wants true lengths, which nobody knows on the way"
            raise ConfigError(msg, hint="choose a policy that goes by estimates", value=self.inner.name)
        self._planned_at = (-1, -np.inf)

    def decide(self, view: ClusterView, now_s: float) -> list[Action]:
        """Plan what waits and, once a slot or a forecast, what is planned, from now on.

        Parameters
        ----------
        view : ClusterView
            What is known.
        now_s : float
            The time of the view [s].

        Returns
        -------
        list of Action
            A start for each job that waits, and for each that is better begun at another time than planned.
        """
        look = view.outlook
        moment = (int((now_s - look.start_s + INSTANT_S) // look.step_s), look.issue_s)
        jobs, begins = view.waiting, np.full(len(view.waiting), np.nan)
        if moment != self._planned_at and len(view.planned):
            jobs = Pending.joined(view.planned, view.waiting)
            begins = np.concatenate([view.planned_start_s, begins])
            view = replace(view, room_vcpus=_released(view))
        self._planned_at = moment
        if not len(jobs):
            return []
        left_s = np.maximum(jobs.arrival_s + jobs.max_wait_s - now_s, 0.0)
        fresh = replace(jobs, arrival_s=np.full(len(jobs), now_s), max_wait_s=left_s)
        decider = Capped(self.inner) if len(view.room_vcpus) else self.inner
        made = decider.decide(replace(view, waiting=fresh), now_s)
        return [
            action
            for action, begin in zip(made, begins.tolist(), strict=True)
            if not abs(action.at_s - begin) <= INSTANT_S
        ]


def _released(view: ClusterView) -> NDArray[np.float64]:
    """Return the room under a hard cap, were the planned jobs not planned."""
    room, look = view.room_vcpus.copy(), view.outlook
    start_s = look.start_s + (view.now_s - look.start_s + INSTANT_S) // look.step_s * look.step_s
    for row in range(len(view.planned) if len(room) else 0):
        plan = (Stretch(float(view.planned_start_s[row])),)
        work_s = float(view.planned.estimate_s[row])
        taken = taken_slots(plan, work_s, start_s=start_s, step_s=look.step_s, count=len(room))
        room += taken * view.planned.vcpus[row]
    return room


class Robust(ArrivalPolicy):
    """Start where the mean of the worst scenarios, and a price of waiting, are least.

    Parameters
    ----------
    share : float
        Of the scenarios, how many count: the worst ones of each start (its CVaR). 1 takes all,
        which is their mean.
    price : Price, optional
        Of waiting, and how far starts are apart.

    Raises
    ------
    ConfigError
        The share is not within 0 and 1.

    Notes
    -----
    Scenarios are whole trajectories (`Vintages.scenarios`), such as
    `aicsched.forecast.sample_scenarios` draws: errors that last make the mean over a
    job's hours uncertain, which a quantile of each hour doesn't tell. Without them
    this is `Price`.
    """

    name: ClassVar[str] = "robust"
    lengths: ClassVar[str] = "queue mean"

    def __init__(self, share: float = 0.3, price: Price | None = None) -> None:
        if not 0 < share <= 1:
            msg = f"the worst {share:g} of scenarios are none"
            raise ConfigError(msg, hint="give a share above 0, at most 1", value=share)
        self.share = share
        self.price = price or Price()

    def plan_arrivals(self, batch: Batch) -> RunPlans:
        """Start each job where it does best in its worst scenarios.

        Parameters
        ----------
        batch : Batch
            The arrivals.

        Returns
        -------
        RunPlans
            One open stretch a job.
        """
        known, jobs = batch.vintages, batch.jobs
        if known.scenarios is None:
            return self.price.plan_arrivals(batch)
        price = self.price.of(batch)
        start = jobs.arrival_s.copy()
        sums: dict[int, NDArray[np.float64]] = {}
        for row in range(len(jobs)):
            vintage = int(batch.row[row])
            if vintage not in sums:
                drawn = known.scenarios[vintage]
                sums[vintage] = np.concatenate([np.zeros((len(drawn), 1)), np.cumsum(drawn, axis=1)], axis=1)
            later = np.arange(0.0, float(jobs.max_wait_s[row]) + 1e-6, self.price.every_s)
            place = (float(jobs.arrival_s[row] - known.start_s[vintage]) + later) / known.step_s
            length = float(jobs.estimate_s[row]) / known.step_s
            grams = _amounts(sums[vintage], place + length) - _amounts(sums[vintage], place)
            worst = np.sort(grams, axis=0)[-max(1, round(self.share * len(grams))) :].mean(axis=0)
            start[row] += later[int(np.argmin(worst + price[row] * later / known.step_s))]
        return RunPlans.starting_at(start)


def _amounts(sums: NDArray[np.float64], place: NDArray[np.float64]) -> NDArray[np.float64]:
    slot = np.minimum(place.astype(np.int64), sums.shape[1] - 2)
    return sums[:, slot] + (place - slot) * (sums[:, slot + 1] - sums[:, slot])

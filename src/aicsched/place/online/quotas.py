"""Policies that cap the whole cluster by the hour, and start jobs in their order below the cap.

References
----------
CAP: Lechowicz et al., "Carbon- and Precedence-Aware Scheduling for Data Processing Clusters", 2025,
arXiv:2502.09717. CICS: Radovanović et al., "Carbon-Aware Computing for Datacenters", 2021,
doi:10.1109/TPWRS.2022.3173250.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from aicsched.errors import ConfigError
from aicsched.place.online.pausing import opr_thresholds
from aicsched.place.online.protocol import Action, ActionKind
from aicsched.slots import HOUR_S

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.place.online.view import ClusterView, Outlook

__all__ = ["Cap", "CicsVcc"]

INSTANT_S = 1e-6
DAY_H = 24


def _ahead(look: Outlook, now_s: float, hours: float) -> NDArray[np.float64]:
    """Return what is foreseen from the current slot on."""
    first = min(int((now_s - look.start_s + INSTANT_S) / look.step_s), len(look.g_per_kwh) - 1)
    return look.g_per_kwh[first : first + max(1, round(hours * HOUR_S / look.step_s))]


class _Quota(ABC):
    """Start jobs first come, first served, while the quota of the hour has room.

    A job that has waited as long as it may starts in any case: the published policies
    know no deadlines of single jobs.
    """

    lengths: ClassVar[str] = "unused"
    rolling: ClassVar[bool] = True

    def decide(self, view: ClusterView, now_s: float) -> list[Action]:
        """Start what has room.

        Parameters
        ----------
        view : ClusterView
            What is known.
        now_s : float
            The time of the view [s].

        Returns
        -------
        list of Action
            Starts, at once; what runs goes on even where the quota falls below it.
        """
        waiting = view.waiting
        used = float(view.running.vcpus[view.active].sum() + view.planned.vcpus.sum())
        quota = self._quota(view, now_s)
        look = view.outlook
        next_s = now_s + look.step_s - (now_s - look.start_s) % look.step_s
        made: list[Action] = []
        for row in range(len(waiting)):
            need = float(waiting.vcpus[row])
            # The next decision that is sure to come is that of the next slot.
            must = next_s > waiting.arrival_s[row] + waiting.max_wait_s[row] + INSTANT_S
            if must or used + need <= quota + INSTANT_S:
                used += need
                made.append(Action(kind=ActionKind.START, job=int(waiting.job[row]), at_s=now_s))
        return made

    @abstractmethod
    def _quota(self, view: ClusterView, now_s: float) -> float:
        """Return how many threads may be busy now."""


class Cap(_Quota):
    """CAP: the number of machines in use falls as the intensity rises, by the thresholds of k-search.

    Parameters
    ----------
    vcpus : int
        Size of the cluster.
    floor_share : float
        Of these, how many may be used however dirty it is.

    Raises
    ------
    ConfigError
        There is no machine, or the floor is not within 0 and 1.
    """

    name: ClassVar[str] = "cap"

    def __init__(self, vcpus: int = 100, floor_share: float = 0.2) -> None:
        if vcpus < 1 or not 0 <= floor_share < 1:
            msg = f"a cluster of {vcpus} threads with a floor of {floor_share:g} can't be capped"
            raise ConfigError(msg, hint="give 1 or more threads, and a floor from 0 to below 1", value=vcpus)
        self.vcpus = vcpus
        self.floor_share = floor_share

    def _quota(self, view: ClusterView, now_s: float) -> float:
        span = _ahead(view.outlook, now_s, 2 * DAY_H)
        low, high = max(float(span.min()), 1e-3), float(span.max())
        floor = int(np.ceil(self.floor_share * self.vcpus))
        _, limits = opr_thresholds(max(1, self.vcpus - floor), low, max(high, low), 0.0)
        # Thresholds fall: the dirtier, the fewer units are worth their price.
        return floor + float(sum(limit >= float(span[0]) - INSTANT_S for limit in limits))


class CicsVcc(_Quota):
    """CICS: a virtual capacity curve for each day, with room for its work in the cleanest hours.

    At the start of each day, the work of the day is foreseen from the jobs that came in the
    days before and those that still wait, with a margin; the cleanest hours are opened in
    their order until their room holds it.

    Parameters
    ----------
    vcpus : int
        Size of the cluster, and of the curve in an open hour.
    margin : float
        How much more work than the mean of the days before is provided for.

    Raises
    ------
    ConfigError
        There is no machine, or the margin is below 0.
    """

    name: ClassVar[str] = "cics_vcc"
    lengths: ClassVar[str] = "queue mean"

    def __init__(self, vcpus: int = 100, margin: float = 0.25) -> None:
        if vcpus < 1 or not margin >= 0:
            msg = f"a cluster of {vcpus} threads with a margin of {margin:g} has no curve"
            raise ConfigError(msg, hint="give 1 or more threads, and a margin of 0 or more", value=vcpus)
        self.vcpus = vcpus
        self.margin = margin
        self._seen: dict[int, float] = {}
        self._day = -1
        self._past: list[float] = []
        self._curve: NDArray[np.bool_] = np.ones(DAY_H, dtype=np.bool_)

    def _quota(self, view: ClusterView, now_s: float) -> float:
        jobs = view.waiting
        day = int((now_s + INSTANT_S) / (DAY_H * HOUR_S))
        per_day = round(DAY_H * HOUR_S / view.outlook.step_s)
        if day != self._day:
            if self._day >= 0:
                self._past.append(sum(self._seen.values()))
            self._seen = {}
            self._day = day
            old = jobs.arrival_s < day * DAY_H * HOUR_S - INSTANT_S
            backlog_h = float((jobs.estimate_s * jobs.vcpus)[old].sum()) / HOUR_S
            span = _ahead(view.outlook, now_s, DAY_H)
            if self._past:
                wanted_h = backlog_h + (1 + self.margin) * float(np.mean(self._past))
                room_h = self.vcpus * view.outlook.step_s / HOUR_S
                count = min(len(span), int(np.ceil(wanted_h / room_h)))
                self._curve = np.zeros(per_day, dtype=np.bool_)
                self._curve[np.argsort(span, kind="stable")[:count]] = True
            else:
                # Nothing is known of a day's work yet.
                self._curve = np.ones(per_day, dtype=np.bool_)
        for row in range(len(jobs)):
            work_h = float(jobs.estimate_s[row] * jobs.vcpus[row]) / HOUR_S
            self._seen.setdefault(int(jobs.job[row]), work_h)
        slot = int((now_s + INSTANT_S) / view.outlook.step_s) % per_day
        return float(self.vcpus) if self._curve[slot] else 0.0

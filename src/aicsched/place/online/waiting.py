"""Policies that wait for a cleaner time: those of GAIA, Let's Wait Awhile and Ecovisor.

All plan a job once, on arrival, as if it were alone. They differ in what they
know (nothing of the length, its queue's mean, or the truth), in what they look
for, and in whether a job may be suspended.

References
----------
GAIA: Hanafy et al., ASPLOS'24, doi:10.1145/3620666.3651333.
Let's Wait Awhile: Wiesner et al., Middleware'21, doi:10.1145/3464298.3493399.
Ecovisor: Souza et al., ASPLOS'23, doi:10.1145/3575693.3575709.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np

from aicsched.errors import ConfigError
from aicsched.place.kernels.waiting import (
    CHEAPEST_START,
    CLEANEST_STRETCHES,
    LOWEST_SLOT,
    THRESHOLD_STRETCHES,
)
from aicsched.place.online.plans import RunPlans
from aicsched.place.online.protocol import ArrivalPolicy
from aicsched.slots import HOUR_S

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.place.online.view import Batch

__all__ = [
    "CarbonTime",
    "CheapestStart",
    "EcovisorThreshold",
    "LowestSlot",
    "LowestWindow",
    "NoWait",
    "WaitAwhile",
    "lengths",
]

DAY_S: Final = 24 * HOUR_S
# Gains below this share are rounding.
SAME: Final = 1e-9
# So many numbers at a time stay near the processor.
CELLS: Final = 200_000
# How far ahead a plan of stretches is written down; a job that takes longer then runs on.
FORTNIGHT_S: Final = 14 * DAY_S


def lengths(batch: Batch) -> NDArray[np.float64]:
    """Return the true lengths of a batch for a policy that is an oracle.

    Parameters
    ----------
    batch : Batch
        The arrivals.

    Returns
    -------
    ndarray of float64
        Seconds.

    Raises
    ------
    TypeError
        They were not given: the caller took the policy for one that needs none.
    """
    if batch.length_s is None:
        msg = "this policy is an oracle, and the batch holds no true lengths"
        raise TypeError(msg)
    return batch.length_s


def _in_seconds(
    batch: Batch, first: NDArray[np.int64], start: NDArray[np.float64], stop: NDArray[np.float64]
) -> RunPlans:
    """Turn stretches in slots into plans; what begins on arrival begins to the last bit then."""
    step = batch.vintages.step_s
    begin = np.maximum(start * step, np.repeat(batch.jobs.arrival_s, np.diff(first)))
    return RunPlans.of(first, begin, stop * step)


class NoWait(ArrivalPolicy):
    """Start at once: what happens when nobody decides, and what savings are measured against."""

    name: ClassVar[str] = "no_wait"

    def plan_arrivals(self, batch: Batch) -> RunPlans:
        """Start each job when it arrives.

        Parameters
        ----------
        batch : Batch
            The arrivals.

        Returns
        -------
        RunPlans
            One open stretch a job.
        """
        return RunPlans.starting_at(batch.jobs.arrival_s)


class LowestSlot(ArrivalPolicy):
    """Start in the cleanest slot that begins within the wait; nothing of the length is used."""

    name: ClassVar[str] = "lowest_slot"

    def plan_arrivals(self, batch: Batch) -> RunPlans:
        """Start each job in its best slot, the current one included.

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
        step = known.step_s
        start = LOWEST_SLOT(
            known.g_per_kwh, known.start_s / step, batch.row, jobs.arrival_s / step, jobs.max_wait_s / step
        )
        # What starts at once starts to the second.
        return RunPlans.starting_at(np.maximum(start * step, jobs.arrival_s))


class CheapestStart(ArrivalPolicy):
    """Shared by the two policies that try a start every so often.

    Parameters
    ----------
    every_s : float
        Starts are tried this far apart from the arrival on [s].

    Raises
    ------
    ConfigError
        It is not above zero.
    """

    lengths: ClassVar[str] = "queue mean"
    per_time: ClassVar[bool] = False

    def __init__(self, every_s: float = HOUR_S) -> None:
        if not every_s > 0:
            msg = f"starts {every_s:g} s apart can't be tried"
            raise ConfigError(msg, hint="give seconds above 0, e.g. 3600", value=every_s)
        self.every_s = every_s

    def plan_arrivals(self, batch: Batch) -> RunPlans:
        """Start each job where its queue's mean length would do best.

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
        if jobs.lives_s is not None:
            return RunPlans.starting_at(self._by_lives(batch, jobs.lives_s))
        step = known.step_s
        start = CHEAPEST_START(
            known.sums,
            known.start_s / step,
            batch.row,
            jobs.arrival_s / step,
            jobs.estimate_s / step,
            jobs.max_wait_s / step,
            self.of(batch),
            float(self.every_s / step),
            self.per_time,
        )
        return RunPlans.starting_at(np.maximum(start * step, jobs.arrival_s))

    def _by_lives(self, batch: Batch, lives_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the starts of least expected grams, over all lengths that a job may turn out to have.

        Grams aren't linear in the length: the mean of the grams is not those of the mean length. It is
        what survival at each age weighs: the integral of P(L > u) times the intensity u after the start.
        """
        known, jobs = batch.vintages, batch.jobs
        start, price = jobs.arrival_s.copy(), self.of(batch) / known.step_s
        later = np.arange(int((jobs.max_wait_s / self.every_s + SAME).max(initial=0.0)) + 1) * self.every_s
        part = max(1, CELLS // (len(later) * lives_s.shape[1]))
        for first in range(0, len(jobs), part):
            some = slice(first, first + part)
            begin = (jobs.arrival_s[some, None] + later)[:, :, None]
            row = batch.row[some, None, None]
            cost = known.between(row, begin, begin + lives_s[some, None, :]).mean(axis=2)
            mean_s = lives_s[some].mean(axis=1)[:, None]
            if self.per_time:
                score = (cost - cost[:, :1]) / (later + mean_s)
            else:
                score = cost + price[some, None] * later * (known.step_s / HOUR_S)
            score[later > jobs.max_wait_s[some, None] + SAME] = np.inf
            least = score.min(axis=1)[:, None]
            # Of equal starts the first.
            start[some] += later[np.argmax(score <= least + SAME * cost[:, :1], axis=1)]
        return start

    def of(self, batch: Batch) -> NDArray[np.float64]:
        """Return what waiting a slot must save at least.

        Parameters
        ----------
        batch : Batch
            The arrivals.

        Returns
        -------
        ndarray of float64, shape (n,)
            In g/kWh times slots, per thread; here 0.
        """
        return np.zeros(len(batch.jobs))


class LowestWindow(CheapestStart):
    """Start where a job of the mean length of its queue would emit least."""

    name: ClassVar[str] = "lowest_window"


class CarbonTime(CheapestStart):
    """Start where a job of the mean length of its queue would save most grams per time to its end."""

    name: ClassVar[str] = "carbon_time"
    per_time: ClassVar[bool] = True


class WaitAwhile(ArrivalPolicy):
    """Run in the cleanest time of the window, suspended in between; the true length must be known.

    The window is as long as the job and its wait. Of two equal slots the earlier is
    taken, and of the last slot its first part, so this is the least that any plan of
    one job alone can emit.
    """

    name: ClassVar[str] = "wait_awhile"
    lengths: ClassVar[str] = "true"
    oracle: ClassVar[bool] = True

    def plan_arrivals(self, batch: Batch) -> RunPlans:
        """Choose the cleanest time of each job's window.

        Parameters
        ----------
        batch : Batch
            The arrivals, with true lengths.

        Returns
        -------
        RunPlans
            Stretches, as many as needed.
        """
        known, jobs = batch.vintages, batch.jobs
        step = known.step_s
        first, start, stop = CLEANEST_STRETCHES(
            known.g_per_kwh,
            known.start_s / step,
            batch.row,
            jobs.arrival_s / step,
            lengths(batch) / step,
            jobs.max_wait_s / step,
        )
        return _in_seconds(batch, first, start, stop)


class EcovisorThreshold(ArrivalPolicy):
    """Run below a quantile of the next day's intensity and rest above it, until the wait is used up.

    Parameters
    ----------
    share : float
        Which quantile.
    span_s : float
        Of how long a time from the arrival on [s].

    Raises
    ------
    ConfigError
        The share is not within 0 and 1, or the time not above 0.
    """

    name: ClassVar[str] = "ecovisor_threshold"

    def __init__(self, share: float = 0.3, span_s: float = DAY_S) -> None:
        if not 0 < share < 1 or not span_s > 0:
            msg = f"a quantile of {share:g} of the next {span_s:g} s is no threshold"
            raise ConfigError(msg, hint="give a share between 0 and 1, and seconds above 0", value=share)
        self.share = share
        self.span_s = span_s

    def plan_arrivals(self, batch: Batch) -> RunPlans:
        """Find where each job runs and where it rests.

        Parameters
        ----------
        batch : Batch
            The arrivals.

        Returns
        -------
        RunPlans
            Stretches; the last is open.
        """
        known, jobs = batch.vintages, batch.jobs
        step = known.step_s
        first, start, stop = THRESHOLD_STRETCHES(
            known.g_per_kwh,
            known.start_s / step,
            batch.row,
            jobs.arrival_s / step,
            jobs.max_wait_s / step,
            np.full(len(jobs), FORTNIGHT_S / step),
            float(self.span_s / step),
            float(self.share),
        )
        return _in_seconds(batch, first, start, stop)

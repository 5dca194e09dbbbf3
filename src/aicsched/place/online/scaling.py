"""CarbonScaler: elastic jobs take more machines in clean hours, as far as that pays.

References
----------
Hanafy et al., SIGMETRICS'24, arXiv:2302.08681.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from aicsched.errors import ConfigError, InputError
from aicsched.place.online.plans import RunPlans
from aicsched.place.online.protocol import ArrivalPolicy
from aicsched.place.online.waiting import lengths

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from aicsched.place.online.view import Batch

__all__ = ["AMDAHL", "CarbonScaler", "speeds_of"]

INSTANT = 1e-9
# A job that is 95 % parallel, on one to eight machines (Amdahl's law).
AMDAHL = tuple(1.0 / (0.05 + 0.95 / count) for count in range(1, 9))


def speeds_of(machines: Sequence[float], iteration_time: Sequence[float]) -> tuple[float, ...]:
    """Turn measured times into speeds.

    Parameters
    ----------
    machines : sequence of float
        On how many machines each was measured; repeated measurements are averaged.
    iteration_time : sequence of float
        Of the same work, in any unit.

    Returns
    -------
    tuple of float
        Speed on 1, 2, … machines over that on one. What a further machine adds never rises: where
        measurements say so, it is spread over the machines before (the concave hull).

    Raises
    ------
    InputError
        A number of machines up to the largest was not measured, or a time is not above 0.

    Examples
    --------
    >>> speeds_of([1, 1, 2], [10.0, 10.0, 5.5])
    (1.0, 1.818...)
    """
    count, times = np.asarray(machines, dtype=np.float64), np.asarray(iteration_time, dtype=np.float64)
    wanted = np.arange(1, int(count.max(initial=0)) + 1)
    if len(count) != len(times) or not len(count) or not (times > 0).all() or set(wanted) != set(count):
        msg = "a profile needs a time above 0 for each number of machines from 1 on"
        raise InputError(msg, hint="measure the missing ones", value=sorted(set(count.tolist())))
    mean = np.array([times[count == number].mean() for number in wanted])
    speed = np.concatenate([[0.0], mean[0] / mean])
    corners = [0]
    while corners[-1] < len(speed) - 1:
        here = corners[-1]
        slopes = (speed[here + 1 :] - speed[here]) / np.arange(1, len(speed) - here)
        corners.append(here + 1 + int(np.argmax(slopes)))
    hull = np.interp(np.arange(len(speed)), corners, speed[corners])
    return tuple((hull[1:] / hull[1]).tolist())


class CarbonScaler(ArrivalPolicy):
    """Give a job machines where a further one does most work per gram; its work must be known.

    Parameters
    ----------
    speeds : sequence of float
        How fast a job is on 1, 2, … machines over one: rising, each step no larger than the one before.

    Raises
    ------
    ConfigError
        They are something else.

    Notes
    -----
    The pairs of a slot and a further machine in it are taken in the order of work per
    gram until the job's work is done. Since a further machine never adds more than the one
    before, this is the plan of least grams in whole slots.
    """

    name: ClassVar[str] = "carbon_scaler"
    oracle: ClassVar[bool] = True
    lengths: ClassVar[str] = "true"

    def __init__(self, speeds: Sequence[float] = AMDAHL) -> None:
        gains = np.diff(np.asarray([0.0, *speeds]))
        if not len(speeds) or not (gains > 0).all() or (np.diff(gains) > INSTANT).any() or speeds[0] != 1.0:
            msg = f"{tuple(speeds)} are no speeds on 1, 2, … machines"
            raise ConfigError(msg, hint="begin with 1, rise, and never by more than before", value=speeds)
        self.speeds = np.asarray(speeds, dtype=np.float64)
        self.gains = gains

    def plan_arrivals(self, batch: Batch) -> RunPlans:
        """Choose slots and machines for each job.

        Parameters
        ----------
        batch : Batch
            The arrivals, with true lengths on one machine.

        Returns
        -------
        RunPlans
            Stretches of constant scale.
        """
        work = lengths(batch)
        first = np.zeros(len(work) + 1, dtype=np.int64)
        parts: list[tuple[NDArray[np.float64], ...]] = []
        for row in range(len(work)):
            parts.append(self._plan(batch, row, float(work[row])))
            first[row + 1] = first[row] + len(parts[-1][0])
        start, stop, scale, rate = (
            np.concatenate([np.empty(0), *(part[column] for part in parts)]) for column in range(4)
        )
        return RunPlans.of(first, start, stop, scale=scale, rate=rate)

    def _plan(self, batch: Batch, row: int, work_s: float) -> tuple[NDArray[np.float64], ...]:
        known, jobs = batch.vintages, batch.jobs
        vintage, step = int(batch.row[row]), known.step_s
        arrival = float(jobs.arrival_s[row])
        end = arrival + work_s + float(jobs.max_wait_s[row])
        low = int((arrival - known.start_s[vintage]) / step)
        slots = np.arange(low, max(low + 1, int(np.ceil((end - known.start_s[vintage]) / step - INSTANT))))
        begun = np.maximum(known.start_s[vintage] + slots * step, arrival)
        ended = np.minimum(known.start_s[vintage] + (slots + 1) * step, end)
        # Beyond the forecast its last slot goes on.
        grams = known.g_per_kwh[vintage, np.minimum(slots, known.g_per_kwh.shape[1] - 1)]
        worth = self.gains[None, :] / np.maximum(grams, INSTANT)[:, None]
        done = (ended - begun)[:, None] * self.gains[None, :]
        order = np.argsort(-worth, axis=None, kind="stable")
        before = np.cumsum(done.ravel()[order]) - done.ravel()[order]
        taken = np.zeros(worth.size, dtype=np.bool_)
        taken[order[before < work_s - INSTANT]] = True
        machines = taken.reshape(worth.shape).sum(axis=1)
        used = np.flatnonzero(machines > 0)
        scale = machines[used].astype(np.float64)
        return begun[used], ended[used], scale, self.speeds[machines[used] - 1]

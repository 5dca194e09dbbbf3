"""CarbonScaler: elastic jobs take more machines in clean hours, as far as that pays.

References
----------
Hanafy et al., SIGMETRICS'24, arXiv:2302.08681.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from aicsched.domain.scaling import AMDAHL, gains_of, speeds_of
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
        try:
            self.gains = gains_of(speeds)
        except InputError as error:
            raise ConfigError(error.message, hint=error.hint, value=speeds) from error
        self.speeds = np.asarray(speeds, dtype=np.float64)

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

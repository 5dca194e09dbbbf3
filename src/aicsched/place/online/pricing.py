"""A price on waiting: run now unless the future is cleaner by more than it costs to wait for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from aicsched.errors import ConfigError
from aicsched.place.online.waiting import CheapestStart
from aicsched.slots import HOUR_S

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.place.online.view import Batch

__all__ = ["Price"]

DAY_S = 24 * HOUR_S


class Price(CheapestStart):
    """Run now if and only if grams now are less than grams and price of the best later start.

    The grams are those of a job of its queue's mean length; each hour of waiting has a
    price. Of all ways to start jobs once with equal mean wait, one price for all jobs
    gives the one of least expected grams (it is the multiplier of the wait), which a
    ratio per job, as in Carbon-Time, does not: large jobs wait longer here, and small
    ones hardly.

    Parameters
    ----------
    share : float
        Price of an hour of waiting as a share of what a thread emits in an hour at the mean intensity
        that is foreseen for the day ahead. A sixteenth makes a job of one thread and an hour start
        at once unless it is cleaner by a sixteenth for each hour of waiting.
    every_s : float
        Starts are tried this far apart from the arrival on [s].
    g_per_kwh : float, optional
        The price itself in place of a share: grams saved per kilowatt and hour of waiting.

    Raises
    ------
    ConfigError
        The price is negative, or starts are not apart.
    """

    name: ClassVar[str] = "price"

    def __init__(
        self, share: float = 1.0 / 16.0, every_s: float = HOUR_S / 4, g_per_kwh: float | None = None
    ) -> None:
        super().__init__(every_s)
        price = share if g_per_kwh is None else g_per_kwh
        if not 0 <= price < np.inf:
            msg = f"{price:g} is no price of waiting"
            raise ConfigError(msg, hint="give a number, 0 or more", value=price)
        self.share = share
        self.g_per_kwh = g_per_kwh

    def of(self, batch: Batch) -> NDArray[np.float64]:
        """Return the price of a slot of waiting for each job.

        Parameters
        ----------
        batch : Batch
            The arrivals.

        Returns
        -------
        ndarray of float64, shape (n,)
            In g/kWh times slots, per thread.
        """
        jobs = batch.jobs
        if self.g_per_kwh is not None:
            return self.g_per_kwh / jobs.vcpus
        known = batch.vintages
        slots, sums = known.g_per_kwh.shape[1], known.sums
        if known.foreseen_g_per_kwh is not None:
            # Slots without room don't make waiting dearer.
            sums = np.pad(np.cumsum(known.foreseen_g_per_kwh, axis=1), ((0, 0), (1, 0)))
        place = (jobs.arrival_s - known.start_s[batch.row]) / known.step_s
        first = np.minimum(place.astype(np.int64), slots - 1)
        last = np.minimum(first + max(1, round(DAY_S / known.step_s)), slots)
        mean = (sums[batch.row, last] - sums[batch.row, first]) / (last - first)
        return self.share * mean / jobs.vcpus

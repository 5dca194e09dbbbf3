"""A piece of work that is always on, and must outlive the loss of a region."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.errors import InputError
from aicsched.slots import HOUR_S

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.slots import SlotGrid

__all__ = ["Service"]

_WEEK_H: Final = 168
_DAY_H: Final = 24
# 1970-01-01 was a Thursday: Monday 00:00 UTC lies this many hours before the epoch.
_MONDAY_BEFORE_EPOCH_H: Final = 3 * _DAY_H


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """Always-on work with users somewhere.

    Parameters
    ----------
    service_id : str
        Unique in its list.
    vcpus : float
        Hardware threads it needs at its peak, > 0.
    home_region : str
        Where its users are nearest, and where it runs when nobody decides otherwise.
    allowed_regions : tuple of str
        Where it may run; empty means anywhere that keeps the latency limit.
    latency_limit_ms : float
        Longest round trip from the home region to where it runs [ms]; inf for none.
    hourly_share : tuple of float
        Share of ``vcpus`` that it needs in each hour from 00:00 UTC: 24 values, or 168 from Monday on;
        empty for a constant demand.
    vcpus_per_pod : float
        Threads of one pod, > 0: how many pods must start elsewhere after a loss.
    data_gb : float
        State that must be restored where it starts anew [GB]; 0 where a replica stands ready.
    replication_lag_s : float
        How far its replica lies behind [s]; NaN where nobody knows.
    priority : int
        Higher goes first where not all fits.

    Raises
    ------
    InputError
        A number out of range.

    Examples
    --------
    >>> Service(service_id="web", vcpus=8, home_region="north", hourly_share=(0.5,) * 23)
    Traceback (most recent call last):
        ...
    aicsched.errors.InputError: service 'web': hourly_share has 23 values; give 24 (a day) or 168 (a week)
    """

    service_id: str
    vcpus: float
    home_region: str
    allowed_regions: tuple[str, ...] = ()
    latency_limit_ms: float = math.inf
    hourly_share: tuple[float, ...] = ()
    vcpus_per_pod: float = 1.0
    data_gb: float = 0.0
    replication_lag_s: float = math.nan
    priority: int = 0

    def __post_init__(self) -> None:
        who = f"service '{self.service_id}'"
        for name in ("vcpus", "vcpus_per_pod"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                msg = f"{who}: {name} is {value}"
                raise InputError(msg, hint="give a positive number", value=value)
        if not (math.isfinite(self.data_gb) and self.data_gb >= 0):
            msg = f"{who}: data_gb is {self.data_gb}"
            raise InputError(msg, hint="give 0 or a positive number", value=self.data_gb)
        if not self.latency_limit_ms > 0:
            msg = f"{who}: latency_limit_ms is {self.latency_limit_ms}"
            raise InputError(msg, hint="give a positive number, or leave it out", value=self.latency_limit_ms)
        if self.replication_lag_s < 0 or math.isinf(self.replication_lag_s):
            msg = f"{who}: replication_lag_s is {self.replication_lag_s}"
            raise InputError(msg, hint="leave it out where nobody knows it", value=self.replication_lag_s)
        self._check_shares(who)

    def _check_shares(self, who: str) -> None:
        if len(self.hourly_share) not in {0, _DAY_H, _WEEK_H}:
            msg = f"{who}: hourly_share has {len(self.hourly_share)} values"
            raise InputError(msg, hint="give 24 (a day) or 168 (a week)", value=len(self.hourly_share))
        for value in self.hourly_share:
            if not 0 <= value <= 1:
                msg = f"{who}: an hourly_share of {value:g} is not in 0..1"
                raise InputError(msg, hint="give shares of vcpus, the peak", value=value)

    def share_in(self, slots: SlotGrid) -> NDArray[np.float64]:
        """Return its demand as a share of its peak.

        Parameters
        ----------
        slots : SlotGrid
            A slot has the share of the hour in which it starts.

        Returns
        -------
        ndarray, shape (len(slots),)
            In [0, 1].

        Examples
        --------
        >>> from aicsched.slots import SlotGrid
        >>> day = Service(service_id="a", vcpus=1, home_region="r", hourly_share=(0.5, *(1.0,) * 23))
        >>> day.share_in(SlotGrid(0, 1800, 4)).tolist()
        [0.5, 0.5, 1.0, 1.0]
        """
        if not self.hourly_share:
            return np.ones(len(slots))
        hour = slots.starts_s() // HOUR_S
        if len(self.hourly_share) == _WEEK_H:
            hour = hour + _MONDAY_BEFORE_EPOCH_H
        return np.array(self.hourly_share)[hour % len(self.hourly_share)]

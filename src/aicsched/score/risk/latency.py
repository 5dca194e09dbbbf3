"""Utilisation at which the p99 of latency meets its objective, learned from measured latency.

The time a call takes scales with the mean service time at any utilisation, so each
slot in which both the p99 and the utilisation were measured tells a service time.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.domain.carbon import frozen_array
from aicsched.score.slo_risk import SLOW_SHARE, Objectives, latency_tail, limit_shares

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = ["learned_limits", "p99_in_services", "service_times_ms"]

# Fewer slots than a day's hours tell too little of a service time.
LEAST_SLOTS: Final = 24
# Beyond this utilisation a queue isn't in balance within a slot, and tells nothing of service times.
MOST_SHARE: Final = 0.95
_LOADS: Final = frozen_array(1 - np.geomspace(1.0, 0.005, 48))


@lru_cache(maxsize=512)
def p99_in_services(servers: int, service_scv: float = Objectives().service_scv) -> Array:
    """Return the p99 of latency over a grid of utilisations, in mean service times.

    Parameters
    ----------
    servers : int
        Hardware threads, >= 1.
    service_scv : float
        Squared coefficient of variation of service times.

    Returns
    -------
    ndarray, shape (48,)
        At utilisations from 0 to 0.995, denser towards 1; read-only and rising.

    Examples
    --------
    >>> made = p99_in_services(1)
    >>> bool(made[0] > 4.6 and (np.diff(made) >= 0).all())  # an exponential's p99 is 4.6 means
    True
    """
    low, high = np.zeros(len(_LOADS)), np.full(len(_LOADS), 4000.0)
    unit = Objectives(service_ms=1.0, service_scv=service_scv)
    for _ in range(40):
        middle = 0.5 * (low + high)
        tails = [
            latency_tail(servers, load, unit._replace(latency_limit_ms=limit))
            for load, limit in zip(_LOADS.tolist(), middle.tolist(), strict=True)
        ]
        slow = np.array(tails) > SLOW_SHARE
        low, high = np.where(slow, middle, low), np.where(slow, high, middle)
    return frozen_array(np.maximum.accumulate(high))


def service_times_ms(
    latency_p99_ms: Array, cpu_share: Array, vcpus: Array, service_scv: float = Objectives().service_scv
) -> Array:
    """Return the mean service time that measured latency tells, per node.

    Parameters
    ----------
    latency_p99_ms, cpu_share : ndarray, shape (n, t)
        Measured in the same slots; NaN is unknown.
    vcpus : ndarray, shape (n,)
        Hardware threads.
    service_scv : float
        Squared coefficient of variation of service times.

    Returns
    -------
    ndarray, shape (n,)
        Median over the slots [ms]; NaN where less than 24 tell something.
    """
    made = np.full(len(vcpus), np.nan)
    telling = ~np.isnan(latency_p99_ms) & (cpu_share <= MOST_SHARE) & (latency_p99_ms > 0)
    sizes = _sizes(vcpus)
    for size in np.unique(sizes).tolist():
        for row in np.flatnonzero((sizes == size) & (telling.sum(axis=1) >= LEAST_SLOTS)).tolist():
            known = telling[row]
            expected = np.interp(cpu_share[row, known], _LOADS, p99_in_services(size, service_scv))
            made[row] = np.median(latency_p99_ms[row, known] / expected)
    return made


def learned_limits(
    vcpus: Array, objectives: Objectives, latency_p99_ms: Array | None, cpu_share: Array
) -> Array:
    """Return the utilisation at which the first of CPU and latency breaks, per node.

    Parameters
    ----------
    vcpus : ndarray, shape (n,)
        Hardware threads.
    objectives : Objectives
        What must not break; its service time counts where latency isn't measured.
    latency_p99_ms : ndarray, shape (n, t), or None
        Measured latency [ms], where there is any.
    cpu_share : ndarray, shape (n, t)
        Utilisation in the same slots.

    Returns
    -------
    ndarray, shape (n,)
        In [0, CPU limit].
    """
    made = limit_shares(vcpus, objectives)
    if latency_p99_ms is None:
        return made
    services = service_times_ms(latency_p99_ms, cpu_share, vcpus, objectives.service_scv)
    sizes = _sizes(vcpus)
    for row in np.flatnonzero(~np.isnan(services)).tolist():
        limit = objectives.latency_limit_ms / services[row]
        p99 = p99_in_services(int(sizes[row]), objectives.service_scv)
        # Where even an idle node is too slow, no load is low enough.
        share = 0.0 if limit < p99[0] else float(np.interp(limit, p99, _LOADS))
        made[row] = min(share, objectives.cpu_limit_share)
    return made


def _sizes(vcpus: Array) -> NDArray[np.int64]:
    return np.maximum(1, np.floor(vcpus)).astype(np.int64)

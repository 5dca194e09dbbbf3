"""The probability that an objective breaks: too busy, or too slow.

Utilisation over the request's hours follows a beta distribution fitted to mean
and variance (as Trimaran's LowRiskOverCommitment does), with the request's own
load added. Latency follows from it by the tail of an M/G/k queue.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.special import betainc

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = ["breach_risk", "latency_risk", "utilisation_risk"]

# A node that nobody measures could be anything: the uniform distribution.
UNKNOWN_MEAN_SHARE: Final = 0.5
UNKNOWN_DEVIATION_SHARE: Final = 12.0**-0.5
# Squared coefficients of variation of arrivals (Poisson) and of service times (heavy-tailed requests).
ARRIVAL_SCV: Final = 1.0
SERVICE_SCV: Final = 4.0
_NODES: Final = np.array([-(3.0**0.5), 0.0, 3.0**0.5])
_WEIGHTS: Final = np.array([1 / 6, 2 / 3, 1 / 6])


def utilisation_risk(mean_share: Array, deviation_share: Array, limit_share: float) -> Array:
    """Return the probability that utilisation is above a limit.

    Parameters
    ----------
    mean_share : ndarray
        Expected utilisation, the request included; NaN is unknown.
    deviation_share : ndarray, same shape
        Its standard deviation; NaN is unknown.
    limit_share : float
        The limit in (0, 1].

    Returns
    -------
    ndarray, same shape
        Probabilities.

    Notes
    -----
    Beta distribution by moments: a = m·k, b = (1 − m)·k, k = m(1 − m)/s² − 1.
    A variance that no beta has (s² >= m(1 − m)) is the two-point one at 0 and 1.

    Examples
    --------
    >>> import numpy as np
    >>> round(float(utilisation_risk(np.array([np.nan]), np.array([np.nan]), 0.8)[0]), 3)
    0.2
    """
    unknown = np.isnan(mean_share) | np.isnan(deviation_share)
    mean = np.clip(np.where(unknown, UNKNOWN_MEAN_SHARE, mean_share), 1e-6, 1 - 1e-6)
    deviation = np.maximum(np.where(unknown, UNKNOWN_DEVIATION_SHARE, deviation_share), 1e-3)
    size = mean * (1 - mean) / deviation**2 - 1
    fits = size > 1e-6  # noqa: PLR2004 - below it the distribution is two points
    size = np.where(fits, size, 1.0)
    tail = 1.0 - betainc(mean * size, (1 - mean) * size, limit_share)
    return np.where(mean_share >= 1.0, 1.0, np.where(fits, tail, mean))


def latency_risk(load_share: Array, servers: Array, *, service_ms: float, limit_ms: float) -> Array:
    """Return the probability that a call waits and runs longer than a limit.

    Parameters
    ----------
    load_share : ndarray
        Utilisation of the node.
    servers : ndarray, same shape
        Hardware threads.
    service_ms : float
        Mean service time [ms].
    limit_ms : float
        The objective [ms].

    Returns
    -------
    ndarray, same shape
        Probabilities; 1 where the load is 1 or more.

    References
    ----------
    Probability of waiting by Sakasegawa (1977, doi:10.1007/BF02532247); exponential
    tail with the variability of Allen (1990), Probability, Statistics and Queueing
    Theory, eq. 5.81 (Allen–Cunneen).

    Examples
    --------
    >>> import numpy as np
    >>> risk = latency_risk(np.array([0.3, 0.95, 1.0]), np.array([4.0, 4.0, 4.0]), service_ms=20, limit_ms=100)
    >>> bool(risk[0] < 0.01 < risk[1] < risk[2] == 1.0)
    True
    """
    load = np.clip(load_share, 0.0, 1.0)
    waits = load ** (np.sqrt(2 * (servers + 1)) - 1)
    spare_ms = max(0.0, limit_ms - service_ms)
    rate = 2 * (1 - load) * servers / (service_ms * (ARRIVAL_SCV + SERVICE_SCV))
    return np.where(load_share >= 1.0, 1.0, waits * np.exp(-rate * spare_ms))


def breach_risk(  # noqa: PLR0913 - one keyword per limit
    mean_share: Array,
    deviation_share: Array,
    servers: Array,
    *,
    cpu_limit_share: float,
    service_ms: float,
    latency_limit_ms: float,
) -> Array:
    """Return the probability that a node breaks either objective.

    Parameters
    ----------
    mean_share, deviation_share : ndarray
        Expected utilisation with the request, and its deviation; NaN is unknown.
    servers : ndarray, same shape
        Hardware threads.
    cpu_limit_share, service_ms, latency_limit_ms : float
        As in `ScoreWeights`.

    Returns
    -------
    ndarray, same shape
        The larger of the two probabilities: both come from the same load, so
        they are one event seen twice rather than two.
    """
    mean = np.where(np.isnan(mean_share), UNKNOWN_MEAN_SHARE, mean_share)
    deviation = np.where(np.isnan(deviation_share), UNKNOWN_DEVIATION_SHARE, deviation_share)
    slow = np.zeros_like(mean)
    for node, weight in zip(_NODES, _WEIGHTS, strict=True):
        load = np.minimum(np.maximum(mean + node * deviation, 0.0), np.maximum(1.0, mean))
        slow += weight * latency_risk(load, servers, service_ms=service_ms, limit_ms=latency_limit_ms)
    return np.maximum(utilisation_risk(mean_share, deviation_share, cpu_limit_share), slow)

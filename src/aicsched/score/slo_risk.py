"""Probability that a service-level objective breaks on a node.

Two objectives, from the runbook: CPU utilisation stays at or below 80 %, and the
99th percentile of latency stays at or below 100 ms. Both break when utilisation
rises past a limit of their own: latency by queueing theory, past the utilisation
at which the p99 of an M/G/k queue meets the objective. Both events thus depend
on one variable U, and the chance that either breaks is exactly

    P(U + Δu > min(CPU limit, latency limit as a utilisation)).

U follows a beta distribution matched to the mean and variance of what was
measured for those hours of the day, as in Trimaran's LowRiskOverCommitment
(kubernetes-sigs/scheduler-plugins), but with the load Δu of the request added,
which Trimaran leaves out. What was not measured counts as a wide prior.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "Objectives",
    "beta_tail",
    "breach_risk",
    "erlang_c",
    "latency_limit_share",
    "latency_tail",
    "limit_shares",
]

# A node's hourly mean is never known better than this: keeps a flat history from claiming certainty.
LEAST_SD_SHARE: Final = 0.01
# Squared coefficient of variation of the gaps between calls (Poisson): an assumption.
ARRIVAL_SCV: Final = 1.0
# The latency objective is about the p99: this share of the calls may be slower.
SLOW_SHARE: Final = 0.01
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(48)


class Objectives(NamedTuple):
    """What must not break, and the service it is about.

    Parameters
    ----------
    cpu_limit_share : float
        Utilisation above which the runbook raises an incident, in (0, 1].
    latency_limit_ms : float
        What the p99 of latency must stay at or below [ms].
    service_ms : float
        Mean time of one call on a free thread [ms].
    memory_limit_share : float
        Memory in use above which a node is under pressure: kubelets begin to evict at
        100 MiB free by default, and page caches are squeezed long before.
    stall_limit_share : float
        Share of a slot in which tasks waited for memory (PSI) above which it is under pressure.
    service_scv : float
        Squared coefficient of variation of service times, > 0: 1 is exponential, more is
        heavy. The default is an assumption.
    """

    cpu_limit_share: float = 0.8
    latency_limit_ms: float = 100.0
    service_ms: float = 10.0
    memory_limit_share: float = 0.9
    stall_limit_share: float = 0.1
    service_scv: float = 2.0


def beta_tail(mean_share: object, sd_share: object, limit_share: object) -> NDArray[np.float64]:
    """Return P(U > limit) for a beta variable of known mean and deviation.

    Parameters
    ----------
    mean_share, sd_share, limit_share : array_like
        Mean and standard deviation of U and the limit; they broadcast. A limit
        below 0 always breaks, one of 1 or more never does.

    Returns
    -------
    ndarray
        Probabilities.

    Notes
    -----
    Moments: k = m(1 - m)/s² - 1, a = mk, b = (1 - m)k; a deviation beyond what
    [0, 1] allows is cut. The tail I₁₋ₓ(b, a) is taken from the F distribution's
    upper tail, the same function at a twentieth of the time of
    `scipy.special.betaincc`.

    References
    ----------
    Abramowitz & Stegun 26.5.1 and 26.6.2.

    Examples
    --------
    >>> beta_tail(0.5, (1 / 12) ** 0.5, 0.8).round(6).item()  # the uniform distribution
    0.2
    """
    from scipy.special import fdtrc  # noqa: PLC0415 - importing scipy takes 0.4 s

    mean = np.clip(np.asarray(mean_share, dtype=np.float64), 1e-6, 1 - 1e-6)
    limit = np.asarray(limit_share, dtype=np.float64)
    spread = mean * (1 - mean)
    variance = np.clip(np.square(np.asarray(sd_share, dtype=np.float64)), spread * 1e-9, spread * 0.999)
    nu = spread / variance - 1
    inside = np.clip(limit, 1e-12, 1 - 1e-12)
    alpha, beta = mean * nu, (1 - mean) * nu
    tail = fdtrc(2 * alpha, 2 * beta, beta / alpha * inside / (1 - inside))
    return np.where(limit <= 0, 1.0, np.where(limit >= 1, 0.0, tail))


def erlang_c(servers: int, load_share: float) -> float:
    """Return the probability that a call must wait in an M/M/k queue.

    Parameters
    ----------
    servers : int
        k, the hardware threads, >= 1.
    load_share : float
        Utilisation r; 1 or more means certainly waiting.

    Returns
    -------
    float
        Erlang's C formula, by the stable recursion of Erlang's B.

    Examples
    --------
    >>> round(erlang_c(1, 0.6), 12), round(erlang_c(2, 0.5), 12)
    (0.6, 0.333333333333)
    """
    if load_share >= 1:
        return 1.0
    if load_share <= 0:
        return 0.0
    offered, blocked = servers * load_share, 1.0
    for count in range(1, servers + 1):
        blocked = offered * blocked / (count + offered * blocked)
    return blocked / (1 - load_share * (1 - blocked))


def latency_tail(servers: int, load_share: float, objectives: Objectives) -> float:
    """Return the share of calls slower than the latency limit at a utilisation.

    Parameters
    ----------
    servers : int
        Hardware threads k.
    load_share : float
        Utilisation r in [0, 1).
    objectives : Objectives
        The limit L and the mean service time S.

    Returns
    -------
    float
        P(wait + service > L).

    Notes
    -----
    Waiting by Allen-Cunneen: P(W > t) = C(k, r) e^(-t/w) with the mean wait of
    those who wait w = S (ca² + cs²) / (2 k (1 - r)); exact for M/M/k. Service is
    gamma with mean S and squared variation cs²; the sum is taken by 48-point
    Gauss-Legendre over the service time's quantiles.

    References
    ----------
    A. O. Allen, "Probability, Statistics, and Queueing Theory", 2nd ed. 1990,
    §5.3.4; L. Kleinrock, "Queueing Systems" vol. 2, 1976, for the M/G/k tail.

    Examples
    --------
    >>> latency_tail(4, 0.3, Objectives()) < 0.01 < latency_tail(4, 0.95, Objectives())
    True
    """
    from scipy.special import gammainc, gammaincc, gammaincinv  # noqa: PLC0415 - importing scipy takes 0.4 s

    if load_share >= 1:
        return 1.0
    shape, scale = 1 / objectives.service_scv, objectives.service_ms * objectives.service_scv
    limit = objectives.latency_limit_ms
    slow_alone = float(gammaincc(shape, limit / scale))
    within = float(gammainc(shape, limit / scale))
    service_ms = scale * gammaincinv(shape, within * (0.5 + 0.5 * _NODES))
    variation = ARRIVAL_SCV + objectives.service_scv
    mean_wait_ms = objectives.service_ms * variation / (2 * servers * (1 - load_share))
    waits = np.exp(-np.maximum(limit - service_ms, 0.0) / mean_wait_ms)
    return slow_alone + erlang_c(servers, load_share) * within * 0.5 * float(_WEIGHTS @ waits)


@lru_cache(maxsize=4096)
def latency_limit_share(servers: int, objectives: Objectives) -> float:
    """Return the utilisation above which the latency objective breaks.

    Parameters
    ----------
    servers : int
        Hardware threads of the node, >= 1.
    objectives : Objectives
        The limit and the mean service time.

    Returns
    -------
    float
        In [0, 1]; 0 when even an idle node is too slow.

    Examples
    --------
    >>> small, large = (latency_limit_share(k, Objectives()) for k in (2, 64))
    >>> small < 0.8 < large  # pooling: a large node is limited by its CPU, a small one by its queue
    True
    """
    allowed = SLOW_SHARE
    if latency_tail(servers, 0.0, objectives) > allowed:
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if latency_tail(servers, middle, objectives) > allowed else (middle, high)
    return low


def limit_shares(vcpus: NDArray[np.float64], objectives: Objectives) -> NDArray[np.float64]:
    """Return the utilisation at which the first objective breaks, per node.

    Parameters
    ----------
    vcpus : ndarray, shape (n,)
        Hardware threads.
    objectives : Objectives
        What must not break.

    Returns
    -------
    ndarray, shape (n,)
        min(CPU limit, latency limit as a utilisation).
    """
    sizes, where = np.unique(np.maximum(1, np.floor(vcpus)).astype(np.int64), return_inverse=True)
    limits = np.array([latency_limit_share(int(size), objectives) for size in sizes], dtype=np.float64)
    return np.minimum(limits, objectives.cpu_limit_share)[where.reshape(vcpus.shape)]


def breach_risk(
    used_mean_share: NDArray[np.float64],
    used_sd_share: NDArray[np.float64],
    coverage_share: NDArray[np.float64],
    extra_share: NDArray[np.float64],
    limit_share: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the probability that an objective breaks, per node.

    Parameters
    ----------
    used_mean_share, used_sd_share : ndarray, shape (n,)
        Utilisation over the horizon before the request; any value where unknown.
    coverage_share : ndarray, shape (n,)
        How much of the evidence is there, in [0, 1]; 0 is unknown.
    extra_share : ndarray, shape (n,)
        The request's load Δu as a share of the node.
    limit_share : ndarray, shape (n,)
        From `limit_shares`.

    Returns
    -------
    ndarray, shape (n,)
        The measured tail in proportion to its coverage; the rest counts as the
        uniform prior, but never as better than the median measured node: a node
        without metrics must not win for want of evidence.
    """
    room = limit_share - extra_share
    known = coverage_share > 0
    sd = np.maximum(np.where(known, used_sd_share, 0.0), LEAST_SD_SHARE)
    measured = beta_tail(np.where(known, used_mean_share, 0.5), sd, room)
    prior = np.clip(1 - room, 0.0, 1.0)
    if known.any():
        prior = np.maximum(prior, np.median(measured[known]))
    return coverage_share * measured + (1 - coverage_share) * prior

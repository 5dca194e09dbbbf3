"""Prices of full resources, walked uphill to the best lower bound.

Jobs that settle under soft capacity show where it is short; the method of multipliers
(Hestenes 1969, doi:10.1007/BF00927673) makes prices of that in a few steps. A sample of the jobs
under as much less capacity has nearly the prices of the whole: with many jobs the walk
starts there. With few, the bound has edges that these steps jump over: subgradient steps of
Polyak's length (Held, Wolfe, Crowder 1974, doi:10.1007/BF01580223) or a quasi-Newton
method with bounds, L-BFGS-B (Byrd et al. 1995, doi:10.1137/0916069), go on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from aicsched.place.pricing import Oracle

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from aicsched.place.choice import Choice
    from aicsched.place.ground import Ground

__all__ = ["Answer", "balance", "climb", "polish", "prices_of_sample"]

Answer = tuple[float, "NDArray[np.float64]", "Choice | None"]
# A quarter of the jobs, at most so many, tells the prices of all; of fewer than 5,000 not well enough.
_SAMPLE: Final = 8000
_JOBS_A_DRAW: Final = 4
_FEWEST_SAMPLED: Final = 5000
_SAMPLE_STEPS: Final = 40
# Stiffness of capacity, first and last; from prices that are nearly right, softer.
_SOFTNESS: Final = (3.0, 0.1)
_WARM_SOFTNESS: Final = (1.0, 0.1)
# Part of what an overfull slot costs above its price that is added to it, and the most of that
# as a multiple of the level of prices.
_CHANGE: Final = 0.5
_MOST_CHANGE: Final = 0.3
_FIRST_SHARE: Final = 0.3
_LEAST_SHARE: Final = 1e-5
_PATIENCE: Final = 4
_GROWTH: Final = 1.3
_MEMORY: Final = 20


def climb(
    oracle: Oracle,
    prices_g: NDArray[np.float64],
    *,
    steps: int,
    share: float = _FIRST_SHARE,
    seen: Callable[[Answer], bool] = lambda _answer: False,
) -> tuple[float, NDArray[np.float64], float]:
    """Take subgradient steps: dearer where too much wants in, cheaper where room is left.

    Parameters
    ----------
    oracle : Oracle
        Of the problem.
    prices_g : ndarray, shape (K, R, T)
        Where to start [g].
    steps : int
        At most.
    share : float
        How far above the best bound the first step aims, as a share of it.
    seen : callable, optional
        Told each bound, its prices and answers; true stops the walk.

    Returns
    -------
    tuple of float, ndarray, float
        The best bound [g], its prices, and the share that was left.
    """
    capacity = oracle.ground.capacity
    best_g, best, stalled, gains = float("-inf"), prices_g, 0, 0
    for _ in range(steps):
        bound_g, choice, load = oracle.bound(prices_g)
        if seen((bound_g, prices_g, choice)):
            return max(bound_g, best_g), prices_g if bound_g > best_g else best, share
        if bound_g > best_g:
            best_g, best, stalled, gains = bound_g, prices_g, 0, gains + 1
            share = min(share * _GROWTH, 1.0) if gains >= 3 else share
        else:
            stalled, gains = stalled + 1, 0
            if stalled >= _PATIENCE:
                share, stalled, prices_g = share / 2, 0, best
                if share < _LEAST_SHARE:
                    break
                continue
        excess = load - capacity
        excess[(prices_g <= 0) & (excess < 0)] = 0.0
        norm = float((excess**2).sum())
        if norm <= 0:
            break
        ahead_g = best_g + share * max(abs(best_g), 1e-9) - bound_g
        prices_g = np.maximum(0.0, prices_g + ahead_g / norm * excess)
    return best_g, best, share


def polish(
    oracle: Oracle,
    prices_g: NDArray[np.float64],
    *,
    steps: int,
    seen: Callable[[Answer], bool] = lambda _answer: False,
) -> tuple[float, NDArray[np.float64]]:
    """Go on with L-BFGS-B.

    Parameters
    ----------
    oracle : Oracle
        Of the problem.
    prices_g : ndarray, shape (K, R, T)
        Where to start [g].
    steps : int
        Bounds to ask for, at most.
    seen : callable, optional
        Told each bound, its prices and answers; true stops the walk.

    Returns
    -------
    tuple of float, ndarray
        The best bound [g] and its prices.
    """
    from scipy.optimize import minimize  # noqa: PLC0415 - takes a while to load

    # Where a resource has no end its price stays 0.
    finite = np.isfinite(oracle.ground.capacity)
    capacity = oracle.ground.capacity[finite]
    best_g, best = float("-inf"), prices_g
    scale = 1.0
    stopped = False

    def fall(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        nonlocal best_g, best, stopped
        prices = np.zeros(finite.shape)
        prices[finite] = np.maximum(values, 0.0)
        bound_g, choice, load = oracle.bound(prices)
        if bound_g > best_g:
            best_g, best = bound_g, prices
        stopped = stopped or seen((bound_g, prices, choice))
        return -bound_g / scale, (capacity - load[finite]) / scale

    def stop(*_state: Any) -> None:
        if stopped:
            raise StopIteration

    scale = max(abs(fall(prices_g[finite])[0]), 1e-9)
    options: Any = {"maxfun": steps, "maxiter": steps, "maxcor": _MEMORY, "ftol": 1e-10, "gtol": 1e-13}
    find: Any = minimize
    find(
        fall,
        prices_g[finite],
        jac=True,
        method="L-BFGS-B",
        bounds=[(0.0, None)] * int(finite.sum()),
        options=options,
        callback=stop,
    )
    return best_g, best


def balance(
    oracle: Oracle,
    prices_g: NDArray[np.float64],
    seed: int,
    *,
    steps: int,
    seen: Callable[[Answer], bool] = lambda _answer: False,
) -> NDArray[np.float64]:
    """Let prices follow what jobs that settle under soft capacity want too much of.

    The method of multipliers: what an overfull slot costs above its price is added to the
    price. Unlike the answers to prices alone, which crowd into a few places, jobs that
    have settled show where capacity is really short, so few steps are enough.

    Parameters
    ----------
    oracle : Oracle
        Of the problem.
    prices_g : ndarray, shape (K, R, T)
        Where to start [g].
    seed : int
        Of the turns.
    steps : int
        At most.
    seen : callable, optional
        Told each bound and its prices; true stops the walk.

    Returns
    -------
    ndarray, shape (K, R, T)
        The prices of the best bound [g].
    """
    priced = oracle.price(prices_g)
    settling = oracle.settling(priced, seed)
    most_g = _MOST_CHANGE * settling.level_g[:, None, None]
    best_g, best = priced.bound_g, prices_g
    softest = _WARM_SOFTNESS if prices_g.any() else _SOFTNESS
    for stiffness in np.geomspace(*softest, steps).tolist():
        settling.turn(priced, stiffness)
        change_g = np.clip(settling.excess_g(stiffness), -most_g, most_g)
        prices_g = np.maximum(0.0, prices_g + _CHANGE * change_g)
        priced = oracle.price(prices_g)
        if priced.bound_g > best_g:
            best_g, best = priced.bound_g, prices_g
        if seen((priced.bound_g, prices_g, None)):
            break
    return best


def prices_of_sample(ground: Ground, seed: int) -> NDArray[np.float64]:
    """Return the prices that a sample of the jobs gives.

    Parameters
    ----------
    ground : Ground
        The problem.
    seed : int
        Of the sample and its turns.

    Returns
    -------
    ndarray, shape (K, R, T)
        Prices [g], 0 where the jobs are few.
    """
    prices_g = np.zeros(ground.capacity.shape)
    jobs = len(ground.facts)
    if jobs < _FEWEST_SAMPLED:
        return prices_g
    size = min(jobs // _JOBS_A_DRAW, _SAMPLE)
    return balance(Oracle(ground.sample(size, seed)), prices_g, seed, steps=_SAMPLE_STEPS)

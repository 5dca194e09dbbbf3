"""Prices of full resources, walked uphill to the best lower bound.

A sample of the jobs under as much less capacity has nearly the prices of the whole, and
costs a fraction of it: the walk starts on small samples and ends on all jobs. Subgradient
steps of Polyak's length (Held, Wolfe, Crowder 1974, doi:10.1007/BF01580223) come first;
with many jobs the bound is nearly smooth, so that a quasi-Newton method with bounds,
L-BFGS-B (Byrd et al. 1995, doi:10.1137/0916069), goes on from there.
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

__all__ = ["NEAR_REGIONS", "Answer", "climb", "polish", "polish_near", "prices_of_samples"]

Answer = tuple[float, "NDArray[np.float64]", "Choice"]
# Jobs in a sample, and steps on it.
_SAMPLES: Final = ((2000, 200), (8000, 150))
_LARGE_SAMPLE: Final = (32000, 120)
# At prices that are nearly right, hardly any job goes anywhere but to one of its nearest regions by cost.
NEAR_REGIONS: Final = 7
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


def polish_near(ground: Ground, prices_g: NDArray[np.float64], *, steps: int) -> NDArray[np.float64]:
    """Polish with each job held to its nearest regions at the prices so far.

    Parameters
    ----------
    ground : Ground
        The problem.
    prices_g : ndarray, shape (K, R, T)
        Prices that are nearly right [g].
    steps : int
        Bounds to ask for, at most.

    Returns
    -------
    ndarray, shape (K, R, T)
        Better ones, as a rule. What they prove, a bound on the whole problem must tell.
    """
    near = Oracle(ground.near(Oracle(ground).price(prices_g).turn, NEAR_REGIONS))
    return polish(near, prices_g, steps=steps)[1]


def prices_of_samples(ground: Ground, seed: int) -> NDArray[np.float64]:
    """Return prices that rising samples of the jobs give.

    Parameters
    ----------
    ground : Ground
        The problem.
    seed : int
        Of the samples.

    Returns
    -------
    ndarray, shape (K, R, T)
        Prices [g], 0 where the problem is hardly larger than the smallest sample.
    """
    prices_g, share = np.zeros(ground.capacity.shape), _FIRST_SHARE
    for count, steps in _SAMPLES:
        if 2 * count <= len(ground.facts):
            _, prices_g, share = climb(Oracle(ground.sample(count, seed)), prices_g, steps=steps, share=share)
            share = min(max(2 * share, 0.01), _FIRST_SHARE)
    count, steps = _LARGE_SAMPLE
    if 2 * count <= len(ground.facts):
        prices_g = polish_near(ground.sample(count, seed), prices_g, steps=steps)
    return prices_g

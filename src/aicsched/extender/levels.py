"""Grams to the eleven levels that a scheduler extender may answer with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["MAX_LEVEL", "NEUTRAL_LEVEL", "levels_from_grams"]

MAX_LEVEL: Final = 10
NEUTRAL_LEVEL: Final = 5
# Grams nearer to each other than this share of the largest are the same: float noise must not rank.
_SAME_SHARE: Final = 1e-9


def levels_from_grams(cost_g: NDArray[np.float64]) -> NDArray[np.int64]:
    """Spread costs over 0..10, the lowest at 10 and the highest at 0.

    Half of a level comes from how much a node saves (its place between the lowest
    and the highest cost), half from its rank. The first alone would put all but an
    outlier on one level, the second alone would make much of nothing; together they
    use the levels well and never contradict the order of the grams.

    Parameters
    ----------
    cost_g : ndarray, shape (n,)
        What the pod would cost on each offered node [g]; NaN or infinite is unknown.

    Returns
    -------
    ndarray of int64, shape (n,)
        In [0, 10]: lower cost never gives a lower level, equal costs give equal
        levels, unknown costs and a choice without a difference give 5.

    Examples
    --------
    >>> levels_from_grams(np.array([10.0, 20.0, 20.0, 300.0, np.nan])).tolist()
    [10, 8, 8, 0, 5]
    >>> levels_from_grams(np.array([7.0, 7.0])).tolist()
    [5, 5]
    """
    levels = np.full(cost_g.shape, NEUTRAL_LEVEL, dtype=np.int64)
    known = np.isfinite(cost_g)
    everything = bool(known.all())
    costs = cost_g if everything else cost_g[known]
    if costs.size == 0:
        return levels
    scale = float(np.abs(costs).max())
    if scale == 0.0:
        return levels
    keys = np.rint(costs / scale / _SAME_SHARE).astype(np.int64)
    values, group, counts = np.unique(keys, return_inverse=True, return_counts=True)
    if values.size == 1:
        return levels
    below = np.cumsum(counts) - counts  # how many cost less: 0 for the best, the most for the worst
    rank_share = below / below[-1]
    spread_share = (values - values[0]) / (values[-1] - values[0])
    per_group = np.rint(MAX_LEVEL * (1.0 - (rank_share + spread_share) / 2.0)).astype(np.int64)
    levels[known] = per_group[group]
    return levels

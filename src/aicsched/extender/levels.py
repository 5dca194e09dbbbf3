"""Grams to the eleven levels that a scheduler extender may answer with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["MAX_LEVEL", "NEUTRAL_LEVEL", "Ranking", "levels_from_grams", "rank"]

MAX_LEVEL: Final = 10
NEUTRAL_LEVEL: Final = 5
# Neighbours in the order that differ by a smaller share are the same: float noise must not rank.
_SAME_SHARE: Final = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ranking:
    """The costs of all nodes in order, so that the levels of some take no sorting.

    Parameters
    ----------
    group : ndarray of int64, shape (nodes,)
        Nodes of equal cost are one group, 0 the cheapest; -1 unknown.
    cost : ndarray, shape (groups,)
        Of each group, ascending, in units of the largest magnitude.
    """

    group: NDArray[np.int64]
    cost: NDArray[np.float64]

    def levels(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Spread the costs of some nodes over 0..10, the lowest at 10 and the highest at 0.

        Parameters
        ----------
        places : ndarray of int64, shape (n,)
            The nodes that are offered.

        Returns
        -------
        ndarray of int64, shape (n,)
            As `levels_from_grams`: what isn't offered doesn't count.
        """
        group = self.group.take(places)
        known = group >= 0
        everything = bool(known.all())
        counts = np.bincount(group if everything else group[known], minlength=self.cost.size)
        present = np.flatnonzero(counts)
        if present.size <= 1:
            return np.full(places.shape, NEUTRAL_LEVEL, dtype=np.int64)
        cost, many = self.cost[present], counts[present]
        below = np.cumsum(many) - many  # how many cost less: 0 for the best, the most for the worst
        rank_share = below / below[-1]
        spread_share = (cost - cost[0]) / (cost[-1] - cost[0])
        per_group = np.zeros(self.cost.shape, dtype=np.int64)
        per_group[present] = np.rint(MAX_LEVEL * (1.0 - (rank_share + spread_share) / 2.0))
        if everything:
            return per_group.take(group)
        return np.where(known, per_group[group], NEUTRAL_LEVEL)


def rank(cost_g: NDArray[np.float64]) -> Ranking:
    """Put costs in order.

    Parameters
    ----------
    cost_g : ndarray, shape (nodes,)
        What a pod would cost on each node [g]; NaN or infinite is unknown.

    Returns
    -------
    Ranking
        Of these nodes.
    """
    group = np.full(cost_g.shape, -1, dtype=np.int64)
    known = np.flatnonzero(np.isfinite(cost_g))
    if known.size == 0:
        return Ranking(group=group, cost=np.empty(0))
    ascending = known[np.argsort(cost_g[known], kind="stable")]
    costs = cost_g[ascending]
    costs = costs / (float(np.abs(costs).max()) or 1.0)
    new = np.diff(costs, prepend=costs[0]) > _SAME_SHARE * np.abs(costs)
    group[ascending] = np.cumsum(new)
    new[0] = True
    return Ranking(group=group, cost=costs[new])


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
    return rank(cost_g).levels(np.arange(cost_g.size))

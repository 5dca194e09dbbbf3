"""Risk as a curve over added load: computed once per snapshot, looked up for each request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.domain.carbon import frozen_array
from aicsched.errors import InputError
from aicsched.score.slo_risk import breach_risk

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from aicsched.score.utilisation import Utilisation

    Array = NDArray[np.float64]

__all__ = ["GRID_POINTS", "RiskCurves", "curves_of"]

# Added loads are told apart to a hundredth of a node, with straight lines between. Loads are often
# recorded in whole per cents: a grid that falls between them tells ties as odds.
GRID_POINTS: Final = 101


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RiskCurves:
    """Probability that an objective breaks on each node, over the load that is added.

    Parameters
    ----------
    extra_share : ndarray, shape (g,)
        Added loads as shares of the node: equally spaced from 0 to 1, both ends included.
    risk : ndarray, shape (n, g)
        Probabilities; they never fall along a row.

    Raises
    ------
    InputError
        Shapes differ, the grid is not even, or a value is no probability.

    Examples
    --------
    >>> curves = RiskCurves(extra_share=np.array([0.0, 0.5, 1.0]), risk=np.array([[0.0, 0.2, 1.0]]))
    >>> curves.at(0.25).tolist(), curves.at(7.0).tolist()
    ([0.1], [1.0])
    """

    extra_share: Array
    risk: Array

    def __post_init__(self) -> None:
        grid, risk = frozen_array(self.extra_share), frozen_array(self.risk)
        if grid.ndim != 1 or risk.ndim != 2 or risk.shape[1:] != grid.shape or len(grid) < 2:
            msg = f"risk curves of shape {risk.shape} on a grid of shape {grid.shape}"
            raise InputError(msg, hint="give one row a node and one column a load")
        if not np.allclose(grid, np.linspace(0.0, 1.0, len(grid)), rtol=0, atol=1e-12):
            msg = "the added loads of risk curves are not equally spaced from 0 to 1"
            raise InputError(msg, hint="use numpy.linspace(0, 1, g)", value=grid.tolist())
        if not ((risk >= 0) & (risk <= 1)).all() or (np.diff(risk, axis=1) < 0).any():
            msg = "a risk curve leaves [0, 1] or falls as load is added"
            raise InputError(msg, hint="probabilities rise with the load")
        object.__setattr__(self, "extra_share", grid)
        object.__setattr__(self, "risk", risk)

    def at(self, extra_share: ArrayLike) -> Array:
        """Return the risk at an added load.

        Parameters
        ----------
        extra_share : array_like, shape (n,) or any that broadcasts with it, e.g. (p, n)
            Added load of each node as a share of it, >= 0; beyond 1 it counts as 1.

        Returns
        -------
        ndarray, shape (n,) or (p, n)
            Straight between the points of the grid.
        """
        steps = len(self.extra_share) - 1
        nodes = np.arange(len(self.risk))
        place = np.clip(np.asarray(extra_share, dtype=np.float64), 0.0, 1.0) * steps
        left = np.minimum(place.astype(np.int64), steps - 1)
        low, high = self.risk[nodes, left], self.risk[nodes, left + 1]
        return low + (high - low) * (place - left)

    def behind(self, load_share: Array) -> RiskCurves:
        """Return the risk of what is added on top of more load than the curves were made with.

        Parameters
        ----------
        load_share : ndarray, shape (n,)
            That load, as a share of each node, >= 0.

        Returns
        -------
        RiskCurves
            On the same grid: each row begins so much further on.

        Examples
        --------
        >>> curves = RiskCurves(extra_share=np.array([0.0, 0.5, 1.0]), risk=np.array([[0.0, 0.2, 1.0]]))
        >>> curves.behind(np.array([0.5])).risk.tolist()
        [[0.2, 1.0, 1.0]]
        """
        if not load_share.any():
            return self
        risk = self.at(self.extra_share[:, None] + load_share).T
        # Straight lines between rounded points may fall by the last bit.
        return RiskCurves(extra_share=self.extra_share, risk=np.maximum.accumulate(risk, axis=1))


def curves_of(used: Utilisation, limit_share: Array, *, points: int = GRID_POINTS) -> RiskCurves:
    """Make risk curves from the moments of utilisation.

    Parameters
    ----------
    used : Utilisation
        How busy n nodes will be over a horizon.
    limit_share : ndarray, shape (n,)
        Utilisation at which the first objective breaks, from `limit_shares`.
    points : int
        Of the grid, at least 2.

    Returns
    -------
    RiskCurves
        As `breach_risk` at each added load.
    """
    grid = np.linspace(0.0, 1.0, points)
    rows = [
        breach_risk(
            used.mean_share, used.sd_share, used.coverage_share, np.full(len(limit_share), du), limit_share
        )
        for du in grid.tolist()
    ]
    risk = np.stack(rows, axis=1) if len(limit_share) else np.empty((0, points))
    # The tail's series is exact to 1e-12 only: rounding must not make a curve fall.
    risk = np.maximum.accumulate(np.clip(risk, 0.0, 1.0), axis=1)
    return RiskCurves(extra_share=grid, risk=risk)

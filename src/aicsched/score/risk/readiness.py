"""How likely a node stops being ready during a run, from how often it and its peers did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = ["hazard_risk", "readiness_risk"]

# A slot in which the node was ready for less than this is an outage.
READY_SHARE: Final = 0.99
# One container that restarts is its own fault; so many in one slot speak of the node.
RESTARTS_OF_A_NODE: Final = 3.0


def hazard_risk(events: Array, exposure: Array, horizon: float) -> Array:
    """Return the chance of at least one event over a horizon, per node.

    Parameters
    ----------
    events : ndarray, shape (n,)
        How many began.
    exposure : ndarray, shape (n,)
        In how many slots one could have begun.
    horizon : float
        Slots ahead.

    Returns
    -------
    ndarray, shape (n,)
        In (0, 1).

    Notes
    -----
    Events come at a constant rate with a gamma prior of one event at the rate r of all
    nodes (Jeffreys' half an event over all): the posterior is Γ(k + 1, E + 1/r), and
    P = 1 - (b / (b + h))^a with its a and b. A node of which nothing is known gets the
    prior's, a long record without events wins over it.

    References
    ----------
    Gelman et al., "Bayesian Data Analysis", 3rd ed. 2013, §2.6.

    Examples
    --------
    >>> risk = hazard_risk(np.array([0.0, 0.0, 5.0]), np.array([0.0, 600.0, 600.0]), 24)
    >>> bool(risk[1] < risk[0] < risk[2])
    True
    """
    rate = (float(events.sum()) + 0.5) / (float(exposure.sum()) + 1.0)
    after = exposure + 1.0 / rate
    return 1 - np.power(after / (after + horizon), events + 1.0)


def readiness_risk(ready_share: Array | None, restarts: Array | None, horizon: float) -> Array | None:
    """Return the chance that a node is not ready at some time of a horizon.

    Parameters
    ----------
    ready_share : ndarray, shape (n, t), or None
        Share of each past slot in which the node was ready; NaN is unknown.
    restarts : ndarray, shape (n, t), or None
        Containers that restarted on it in each slot; NaN is unknown.
    horizon : float
        Slots ahead.

    Returns
    -------
    ndarray, shape (n,), or None
        1 for a node that wasn't ready in its latest known slot; None when there is
        no evidence at all.
    """
    parts: list[Array] = []
    if ready_share is not None and not np.isnan(ready_share).all():
        known, down = ~np.isnan(ready_share), ready_share < READY_SHARE
        # An outage begins after a slot that was not known to be down.
        began = down.copy()
        began[:, 1:] &= ~down[:, :-1]
        risk = hazard_risk(began.sum(axis=1) * 1.0, (known & ~down).sum(axis=1) * 1.0, horizon)
        latest = known.shape[1] - 1 - np.argmax(known[:, ::-1], axis=1)
        is_down = down[np.arange(len(down)), latest]
        parts.append(np.where(is_down, 1.0, risk))
    if restarts is not None and not np.isnan(restarts).all():
        many = (restarts >= RESTARTS_OF_A_NODE).sum(axis=1) * 1.0
        parts.append(hazard_risk(many, (~np.isnan(restarts)).sum(axis=1) * 1.0, horizon))
    if not parts:
        return None
    return 1 - np.prod(1 - np.array(parts), axis=0)

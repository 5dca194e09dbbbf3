"""What jobs in pieces pay and hold beyond so much a slot: facts about the slots of a choice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["gaps"]


def gaps(begin: NDArray[np.int64], slots: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return which slots of a choice follow a gap within their job.

    Parameters
    ----------
    begin : ndarray of int64, shape (J,)
        Where each job's slots start.
    slots : ndarray of int64
        Slots of all jobs one after another, rising within a job.

    Returns
    -------
    ndarray of int64
        Indices into `slots`, rising.

    Examples
    --------
    >>> gaps(np.array([0, 3]), np.array([2, 3, 5, 8, 9])).tolist()
    [2]
    """
    behind = np.diff(slots, prepend=slots[:1]) > 1
    behind[begin] = False
    return np.flatnonzero(behind)

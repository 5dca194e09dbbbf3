"""Conformal intervals: quantiles of what the model missed by, on days it hadn't seen.

Residuals are in log space, so a band is a factor and intensity stays positive.
They are pooled over neighbouring leads. Split-conformal's finite-sample level
(Lei et al. 2018, doi:10.1080/01621459.2017.1307116) widens small samples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["adapt_width", "residual_quantiles"]


def residual_quantiles(residuals: NDArray[np.float64], levels: Sequence[float]) -> NDArray[np.float64]:
    """Return quantiles of residuals per lead, pooled over the leads beside it.

    Parameters
    ----------
    residuals : ndarray, shape (n, h)
        Actual minus forecast, per past origin and lead of one lead day.
    levels : sequence of float
        Quantile levels, rising.

    Returns
    -------
    ndarray, shape (len(levels), h)
        Rising along the first axis.

    Examples
    --------
    >>> import numpy as np
    >>> q = residual_quantiles(np.arange(101.0)[:, None] * np.ones((1, 3)), [0.1, 0.9])
    >>> bool((q[1] - q[0] > 80).all())
    True
    """
    count, leads = residuals.shape
    pooled = np.concatenate([residuals[:, [max(0, lead - 1) for lead in range(leads)]], residuals,
                             residuals[:, [min(leads - 1, lead + 1) for lead in range(leads)]]])  # fmt: skip
    middle = np.asarray(levels) - 0.5
    stretched = 0.5 + middle * (1 + 1 / max(count, 1))
    quantiles = np.quantile(pooled, np.clip(stretched, 0.0, 1.0), axis=0)
    return np.maximum.accumulate(quantiles, axis=0)


def adapt_width(log_width: float, *, missed_share: float, target_share: float, rate: float = 0.1) -> float:
    """Update how much wider a band must be, from how often the last one missed.

    Parameters
    ----------
    log_width : float
        Logarithm of the present factor on the band's width.
    missed_share : float
        Share of the last day's values outside the band.
    target_share : float
        Share that should be outside, e.g. 0.2 for an 80 % band.
    rate : float
        Step of the update.

    Returns
    -------
    float
        The new logarithm, within ±0.7 (half to twice as wide).

    References
    ----------
    Gibbs and Candès 2021, "Adaptive conformal inference under distribution shift", NeurIPS 34, eq. 2,
    with the width in place of the level: it stays defined where residuals run out.

    Examples
    --------
    >>> adapt_width(0.0, missed_share=1.0, target_share=0.2) > 0
    True
    """
    return float(np.clip(log_width + rate * (missed_share - target_share), -0.7, 0.7))

"""From what generates electricity to what a kilowatt-hour of it emits: one formula for every mix.

The average intensity of a mix is the mean of its sources' factors, each weighted by what the
source generated. Factors count either what is burned (direct) or the whole life of plant and
fuel; the two answer different questions and never meet in one series.
"""

from __future__ import annotations

from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from aicsched.data import load_table
from aicsched.domain.carbon import EmissionScope

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

__all__ = ["emission_factors", "mix_intensity"]


@cache
def emission_factors(scope: EmissionScope = EmissionScope.LIFECYCLE) -> Mapping[str, float]:
    """Return the packaged emission factors.

    Parameters
    ----------
    scope : EmissionScope
        Over the life cycle, or of burning only. Biomass counts 0 when burned: what it
        emits it has taken up.

    Returns
    -------
    mapping of str to float
        By fuel [g/kWh], medians of the literature; the table ``emission_factors`` has their
        ranges and sources (IPCC AR5 WG3, annex III, doi:10.1017/CBO9781107415416).

    Examples
    --------
    >>> emission_factors()["gas"], emission_factors(EmissionScope.DIRECT)["gas"]
    (490.0, 370.0)
    """
    column = {EmissionScope.LIFECYCLE: "life_cycle_g_per_kwh", EmissionScope.DIRECT: "direct_g_per_kwh"}
    rows = load_table("emission_factors")
    return MappingProxyType({row["fuel"]: float(row[column[scope]]) for row in rows})


def mix_intensity(generation_mw: ArrayLike, factors_g_per_kwh: ArrayLike) -> NDArray[np.float64]:
    """Return the average intensity of a mix.

    Parameters
    ----------
    generation_mw : array_like, shape (S, ...)
        Power or energy of S sources, all in one unit; NaN where unknown. What is negative
        is a plant that consumes, and counts as no generation.
    factors_g_per_kwh : array_like, shape (S,)
        What each emits [g/kWh].

    Returns
    -------
    ndarray, shape (...)
        [g/kWh]; NaN where a source is unknown or nothing was generated.

    Examples
    --------
    >>> mix_intensity([[60.0, 0.0, 5.0], [40.0, 0.0, float("nan")]], [490.0, 11.0]).tolist()
    [298.4, nan, nan]
    """
    power = np.maximum(np.asarray(generation_mw, dtype=np.float64), 0.0)
    factors = np.asarray(factors_g_per_kwh, dtype=np.float64)
    emitted = (power * factors.reshape(-1, *(1,) * (power.ndim - 1))).sum(axis=0)
    total = power.sum(axis=0)
    # A total of nothing gives NaN, and so does a NaN among the sources.
    return np.divide(emitted, total, out=np.full_like(total, np.nan), where=total > 0)

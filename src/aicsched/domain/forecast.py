"""A forecast of one grid zone's intensity: a centre line and quantiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from aicsched.domain.carbon import frozen_array
from aicsched.errors import ForecastError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.domain.carbon import IntensityKind
    from aicsched.slots import SlotGrid

__all__ = ["Forecast"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Forecast:
    """Expected intensity per slot, with quantiles.

    Parameters
    ----------
    grid_zone : str
        The electricity zone.
    kind : IntensityKind
        Average or marginal, as in the history.
    slots : SlotGrid
        The slots forecast (valid times).
    issue_time_s : int
        When the forecast was made, seconds since the epoch; nothing after it was used.
    mean_g_per_kwh : ndarray, shape (len(slots),)
        The centre of the forecast [g/kWh].
    levels : tuple of float
        Quantile levels, rising, each in (0, 1).
    quantiles_g_per_kwh : ndarray, shape (len(levels), len(slots))
        Never crossing [g/kWh].
    model : str
        Name of the model.
    source : str
        Id of the history's source.
    flags : tuple of str
        What a reader must know, e.g. ``"gaps-filled:12"``.
    synthetic : bool
        True when the history was made up.

    Raises
    ------
    ForecastError
        Shapes differ, a value is not finite, or quantiles cross.
    """

    grid_zone: str
    kind: IntensityKind
    slots: SlotGrid
    issue_time_s: int
    mean_g_per_kwh: NDArray[np.float64]
    levels: tuple[float, ...]
    quantiles_g_per_kwh: NDArray[np.float64]
    model: str
    source: str
    flags: tuple[str, ...] = ()
    synthetic: bool = False

    def __post_init__(self) -> None:
        mean = frozen_array(self.mean_g_per_kwh)
        quantiles = frozen_array(self.quantiles_g_per_kwh)
        if mean.shape != (len(self.slots),) or quantiles.shape != (len(self.levels), len(self.slots)):
            shapes = f"{mean.shape} and {quantiles.shape}"
            msg = f"{self.grid_zone}: a forecast of {shapes} for {len(self.slots)} slots"
            raise ForecastError(msg, hint="give one value a slot and level")
        if not (np.isfinite(mean).all() and np.isfinite(quantiles).all()):
            msg = f"{self.grid_zone}: {self.model} gave a forecast that is not finite"
            raise ForecastError(msg, hint="check the history for gaps")
        if len(self.levels) > 1 and bool((np.diff(quantiles, axis=0) < 0).any()):
            msg = f"{self.grid_zone}: quantiles of {self.model} cross"
            raise ForecastError(msg, hint="sort them over levels")
        object.__setattr__(self, "mean_g_per_kwh", mean)
        object.__setattr__(self, "quantiles_g_per_kwh", quantiles)

    def quantile(self, level: float) -> NDArray[np.float64]:
        """Return one quantile of the forecast.

        Parameters
        ----------
        level : float
            One of `levels`.

        Returns
        -------
        ndarray, shape (len(slots),)
            Intensity [g/kWh].

        Raises
        ------
        ForecastError
            The level was not forecast.
        """
        for index, known in enumerate(self.levels):
            if abs(known - level) < 1e-9:
                return self.quantiles_g_per_kwh[index]
        msg = f"no quantile {level} in this forecast"
        raise ForecastError(msg, hint=f"its levels are {self.levels}", value=level)

"""A forecast of one grid zone's intensity: a centre line, quantiles, and how errors hang together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from aicsched.domain.carbon import frozen_array
from aicsched.errors import ForecastError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.domain.carbon import IntensityKind
    from aicsched.slots import SlotGrid

__all__ = ["Forecast", "PastErrors"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PastErrors:
    """How a model's past errors followed each other from slot to slot, as ranks.

    Ranks tell of dependence only: how large errors are stands in the quantiles.

    Parameters
    ----------
    issue_times_s : ndarray of int, shape (m,)
        Past issue times, rising, seconds since the epoch.
    ranks : ndarray of uint16, shape (m, slots)
        For each slot the order of the errors there, 0 (lowest) to m - 1.

    Raises
    ------
    ForecastError
        Shapes differ, times don't rise, or a column is no order.

    Examples
    --------
    >>> past = PastErrors.of(np.array([0, 86_400]), np.array([[0.3, 0.1], [-0.2, 0.4]]))
    >>> past.ranks.tolist()
    [[1, 0], [0, 1]]
    """

    issue_times_s: NDArray[np.int64]
    ranks: NDArray[np.uint16]

    def __post_init__(self) -> None:
        times_s = frozen_array(self.issue_times_s, np.int64)
        ranks = frozen_array(self.ranks, np.uint16)
        if times_s.ndim != 1 or ranks.ndim != 2 or len(ranks) != len(times_s):
            msg = f"past errors of {ranks.shape} for issue times of {times_s.shape}"
            raise ForecastError(msg, hint="give one row an issue time")
        if (np.diff(times_s) <= 0).any():
            msg = "the issue times of past errors don't rise"
            raise ForecastError(msg, hint="sort them, and leave doubles out")
        if (np.sort(ranks, axis=0) != np.arange(len(ranks))[:, None]).any():
            msg = f"ranks of past errors are no order from 0 to {len(ranks) - 1} in each slot"
            raise ForecastError(msg, hint="make them with PastErrors.of")
        object.__setattr__(self, "issue_times_s", times_s)
        object.__setattr__(self, "ranks", ranks)

    @classmethod
    def of(cls, issue_times_s: NDArray[np.int64], errors: NDArray[np.float64]) -> Self:
        """Rank past errors slot by slot.

        Parameters
        ----------
        issue_times_s : ndarray of int, shape (m,)
            Past issue times, rising, seconds since the epoch.
        errors : ndarray, shape (m, slots)
            Actual minus forecast, in any unit; finite. Equal ones keep their order.

        Returns
        -------
        PastErrors
            Their order.
        """
        order = np.argsort(errors, axis=0, kind="stable")
        ranks = np.empty(errors.shape, dtype=np.uint16)
        np.put_along_axis(ranks, order, np.arange(len(errors), dtype=np.uint16)[:, None], axis=0)
        return cls(issue_times_s=issue_times_s, ranks=ranks)

    def behind(self, slots: int, step_s: int) -> Self:
        """Leave the first slots out, as if each forecast had been issued so much later.

        Parameters
        ----------
        slots : int
            How many.
        step_s : int
            Length of a slot [s].

        Returns
        -------
        PastErrors
            Over the slots behind them.
        """
        return type(self)(issue_times_s=self.issue_times_s + slots * step_s, ranks=self.ranks[:, slots:])


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
    past_errors : PastErrors, optional
        How the model's errors on days it hadn't learned from followed each other, which
        `aicsched.forecast.sample_scenarios` needs; None where the model doesn't tell.

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
    past_errors: PastErrors | None = None

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
        if self.past_errors is not None and self.past_errors.ranks.shape[1] != len(self.slots):
            told = self.past_errors.ranks.shape[1]
            msg = f"{self.grid_zone}: past errors over {told} slots for a forecast of {len(self.slots)}"
            raise ForecastError(msg, hint="cut both alike", value=told)
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

"""Models of the package statsforecast as forecasters of ours, with conformal bands.

The model sees logarithms of the last eight weeks. Its own intervals, Gaussian
formulae for most models, are not used: it is fitted once more without the last
weeks, and what it then misses by on these gives the bands. `update` filters new
values with the parameters as they are.
"""

from __future__ import annotations

import contextlib
import warnings
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

import numpy as np

from aicsched.errors import ForecastError, SourceUnavailable
from aicsched.forecast.base import LEVELS, History, need, prepare
from aicsched.forecast.intervals import residual_quantiles

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from numpy.typing import NDArray

    from aicsched.domain.carbon import CarbonSeries
    from aicsched.domain.forecast import Forecast
    from aicsched.forecast.base import Covariates

    Array = NDArray[np.float64]

__all__ = ["StatsForecastModel", "StatsForecastTheta"]

_MIN_DAYS: Final = 14
_USED_DAYS: Final = 56
_CALIBRATION_DAYS: Final = 21
_FEWEST_ORIGINS: Final = 3


class StatsForecastModel:
    """A model of statsforecast, by the name of its class.

    Parameters
    ----------
    levels : sequence of float
        Quantile levels to forecast, rising.
    model : str, optional
        Name of a class of ``statsforecast.models`` with `fit`, `predict` and
        `forward`, such as ``"AutoCES"``; subclasses have a default.
    **choices : object
        For its making, beside ``season_length``, which is a day unless it is given.

    Attributes
    ----------
    history_ : History
        What was learned from, or the newer one of `update`.

    Raises
    ------
    SourceUnavailable
        statsforecast is not installed (the extra ``statsforecast`` brings it).
    ForecastError
        It has no such model.

    Notes
    -----
    Needs 14 days of history. To make a plug-in of another model, subclass with a
    name of its own and a default.
    """

    name: str = "statsforecast"
    model: ClassVar[str] = ""

    def __init__(self, levels: Sequence[float] = LEVELS, *, model: str = "", **choices: object) -> None:
        models = _models()
        wanted = model or self.model
        if not hasattr(models, wanted):
            msg = f"statsforecast has no model '{wanted}'"
            raise ForecastError(
                msg, hint="give a class of statsforecast.models, such as AutoETS", value=wanted
            )
        self.levels = levels
        self.wanted = wanted
        self.choices = choices
        self.history_: History | None = None
        self._fit_end_s = 0
        self._covered: tuple[Any, Array] | None = None

    def fit(self, history: CarbonSeries, *, covariates: Covariates | None = None) -> Self:
        """Learn from a history.

        Parameters
        ----------
        history : CarbonSeries
            At least 14 days.
        covariates : Covariates, optional
            Not used.

        Returns
        -------
        StatsForecastModel
            Itself.

        Raises
        ------
        TooLittleHistory, SignalGap, SlotError
            The history can't be used.
        ForecastError
            The model fails on it.
        """
        del covariates
        self.history_ = prepare(history, min_days=_MIN_DAYS, model=self.name)
        self._fit_end_s = history.slots.end_s
        values, per_day = _used(self.history_), self.history_.per_day
        days = min(_CALIBRATION_DAYS, len(values) // per_day // 3)
        calibrating = self._learned(values[: -days * per_day], per_day)
        origins = len(values) - per_day * np.arange(days, 0, -1)
        missed = np.full((days, days * per_day), np.nan)
        for row, origin in enumerate(origins.tolist()):
            ahead = len(values) - origin
            foreseen = self._foreseen(calibrating, values[:origin], ahead)
            missed[row, :ahead] = values[origin:] - foreseen
        self._covered = (self._learned(values, per_day), missed)
        return self

    def update(self, history: CarbonSeries) -> Self:
        """Take a longer history with the parameters as they are.

        Parameters
        ----------
        history : CarbonSeries
            Starts as the one of `fit` did.

        Returns
        -------
        StatsForecastModel
            Itself.

        Raises
        ------
        NotFitted, TooLittleHistory, SignalGap, SlotError
            Before `fit`, or the history can't be used.
        """
        need(self.history_, self.name, 1)
        self.history_ = prepare(history, min_days=_MIN_DAYS, model=self.name)
        return self

    def predict(self, issue_time_s: int, horizon: int) -> Forecast:
        """Forecast the slots from the issue time on.

        Parameters
        ----------
        issue_time_s : int
            On the history's grid, not behind its end. An earlier one than the end
            of what was learned from is answered by learning anew from its past.
        horizon : int
            How many slots.

        Returns
        -------
        Forecast
            The model's own mean, with conformal bands.

        Raises
        ------
        NotFitted
            Before `fit`.
        SlotError
            The issue time is off the grid.
        TooLittleHistory
            The issue time leaves less than 14 days of past.
        ForecastError
            The model fails.
        """
        history = need(self.history_, self.name, horizon)
        if history.index_of(issue_time_s) < len(history.log_values):
            past = history.series.before(issue_time_s)
            if issue_time_s < self._fit_end_s:
                fresh = type(self)(self.levels, model=self.wanted, **self.choices)
                return fresh.fit(past).predict(issue_time_s, horizon)
            history = prepare(past, min_days=_MIN_DAYS, model=self.name)
        assert self._covered is not None  # noqa: S101 - told to the type checker: fit sets both
        learned, missed = self._covered
        centre = self._foreseen(learned, _used(history), horizon)
        per_day = history.per_day
        spread = [_quantiles(missed, per_day, day, self.levels) for day in range(-(-horizon // per_day))]
        return history.forecast(
            issue_time_s,
            centre,
            np.concatenate(spread, axis=1)[:, :horizon],
            levels=self.levels,
            model=self.name,
        )

    def _learned(self, values: Array, per_day: int) -> Any:  # noqa: ANN401 - a class of the package
        make = getattr(_models(), self.wanted)
        with _quietly(self.name):
            return make(**{"season_length": per_day, **self.choices}).fit(np.array(values))

    def _foreseen(self, learned: Any, values: Array, horizon: int) -> Array:  # noqa: ANN401 - see _learned
        with _quietly(self.name):
            made = learned.forward(np.array(values), horizon)["mean"]
        return np.asarray(made, dtype=np.float64)


class StatsForecastTheta(StatsForecastModel):
    """AutoTheta of statsforecast with a season of a day.

    Parameters
    ----------
    levels : sequence of float
        Quantile levels to forecast, rising.
    model : str, optional
        Not to be changed.
    **choices : object
        For its making.

    References
    ----------
    Fiorucci et al. 2016, doi:10.1016/j.ijforecast.2016.02.005.
    """

    name = "statsforecast-theta"
    model = "AutoTheta"


def _models() -> Any:  # noqa: ANN401 - a module without types
    try:
        from statsforecast import models  # noqa: PLC0415 - an extra, and it takes seconds
    except ImportError as error:
        msg = "statsforecast is not installed"
        raise SourceUnavailable(msg, hint="pip install 'aicsched[statsforecast]'") from error
    return models


@contextlib.contextmanager
def _quietly(name: str) -> Generator[None]:
    """Turn a stranger's faults into ours, and keep its warnings from users who can't act on them."""
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    except Exception as error:
        msg = f"{name} failed ({type(error).__name__}: {error})"
        raise ForecastError(msg, hint="give another history, or use the model 'seasonal'") from error


def _used(history: History) -> Array:
    return history.log_values[-_USED_DAYS * history.per_day :]


def _quantiles(missed: Array, per_day: int, day: int, levels: Sequence[float]) -> Array:
    """Return quantiles of what was missed on one lead day, shape (levels, per_day)."""
    furthest = missed.shape[1] // per_day - _FEWEST_ORIGINS
    if day > furthest:
        # A lead beyond the calibration: the furthest day stands in, wider as a random walk would be.
        return ((day + 1) / (furthest + 1)) ** 0.5 * _quantiles(missed, per_day, furthest, levels)
    cut = missed[:, day * per_day : (day + 1) * per_day]
    return residual_quantiles(cut[np.isfinite(cut).all(axis=1)], levels, age=day + 1)

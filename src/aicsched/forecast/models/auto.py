"""The model to take when nobody chooses: ridge, blend with weather, seasonal where history is short."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, Self

from aicsched.errors import NotFitted, SignalGap, TooLittleHistory
from aicsched.forecast.base import LEVELS
from aicsched.forecast.models.blend import LogBlend
from aicsched.forecast.models.ridge import LogRidge
from aicsched.forecast.models.seasonal import SeasonalProfile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aicsched.domain.carbon import CarbonSeries
    from aicsched.domain.forecast import Forecast
    from aicsched.forecast.base import Covariates

__all__ = ["AutoForecaster"]

SHORT_FLAG: Final = "short-history:seasonal"


class AutoForecaster:
    """Ridge, or the blend where weather is offered; the seasonal profile where history is too short.

    Parameters
    ----------
    levels : sequence of float
        Quantile levels to forecast, rising.

    Attributes
    ----------
    chosen_ : LogRidge or SeasonalProfile
        What `fit` settled on.

    Examples
    --------
    >>> from aicsched.testing import example_series
    >>> series = example_series(days=5)
    >>> forecast = AutoForecaster().fit(series).predict(series.slots.end_s, 24)
    >>> forecast.model, forecast.flags
    ('seasonal', ('short-history:seasonal',))
    """

    name = "auto"

    def __init__(self, levels: Sequence[float] = LEVELS) -> None:
        self.levels = levels
        self.chosen_: LogRidge | SeasonalProfile | None = None
        self._history: CarbonSeries | None = None

    def fit(self, history: CarbonSeries, *, covariates: Covariates | None = None) -> Self:
        """Learn from a history.

        Parameters
        ----------
        history : CarbonSeries
            At least two days.
        covariates : Covariates, optional
            Used where the history suffices for ridge.

        Returns
        -------
        AutoForecaster
            Itself.

        Raises
        ------
        TooLittleHistory, SignalGap, SlotError
            The history can't be used.
        """
        self._history = history
        try:
            model = LogRidge if covariates is None or covariates.weather is None else LogBlend
            self.chosen_ = model(self.levels).fit(history, covariates=covariates)
        except TooLittleHistory:
            self.chosen_ = SeasonalProfile(self.levels).fit(history)
        return self

    def update(self, history: CarbonSeries) -> Self:
        """Take a longer history without learning anew.

        Parameters
        ----------
        history : CarbonSeries
            Starts as the one of `fit` did.

        Returns
        -------
        AutoForecaster
            Itself.

        Raises
        ------
        NotFitted, SignalGap, SlotError
            Before `fit`, or the history can't be used.
        """
        self._chosen().update(history)
        self._history = history
        return self

    def predict(self, issue_time_s: int, horizon: int) -> Forecast:
        """Forecast the slots from the issue time on.

        Parameters
        ----------
        issue_time_s : int
            On the history's grid, not behind its end; later values are not read.
        horizon : int
            How many slots.

        Returns
        -------
        Forecast
            Its `model` says which it is; flagged ``short-history:seasonal`` where
            ridge had too little, be it for this horizon only, or since gaps left too little.

        Raises
        ------
        NotFitted, SlotError, TooLittleHistory, SignalGap
            As the chosen model's.
        """
        chosen = self._chosen()
        try:
            made = chosen.predict(issue_time_s, horizon)
        except (TooLittleHistory, SignalGap):
            if isinstance(chosen, SeasonalProfile):
                raise
            assert self._history is not None  # noqa: S101 - told to the type checker
            made = SeasonalProfile(self.levels).fit(self._history).predict(issue_time_s, horizon)
        short = made.model == SeasonalProfile.name
        return replace(made, flags=(*made.flags, SHORT_FLAG)) if short else made

    def _chosen(self) -> LogRidge | SeasonalProfile:
        if self.chosen_ is None:
            msg = f"{self.name} has learned nothing yet"
            raise NotFitted(msg, hint="call fit(history) first")
        return self.chosen_

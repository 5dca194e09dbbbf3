"""What a forecaster is, and what all of them do to their history first.

A forecaster stores its parameters when it is made, learns in `fit`, takes newer
history without learning in `update`, and answers in `predict`; it never reads
anything after the issue time. Missing values: gaps of up to six slots, and
longer ones while less than a quarter of the history is missing, are filled for
the features alone from the same hour of nearby days; the forecast says so in its
flags (``gaps-filled:n``). More than that is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, Self

import numpy as np

from aicsched.errors import NotFitted, SignalGap, SlotError, TooLittleHistory
from aicsched.slots import format_time

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.domain.carbon import CarbonSeries
    from aicsched.domain.forecast import Forecast
    from aicsched.forecast.weather import WeatherVintages

__all__ = ["DAY_S", "FLOOR_G_PER_KWH", "LEVELS", "Forecaster", "History", "prepare"]

DAY_S: Final = 86_400
LEVELS: Final = (0.1, 0.5, 0.9)
# Grids can touch zero; logarithms can't. Half a gram is below what any table resolves.
FLOOR_G_PER_KWH: Final = 0.5
MISSING_LIMIT_SHARE: Final = 0.25


class Forecaster(Protocol):
    """What learns from a carbon series and foresees it."""

    name: str

    def fit(self, history: CarbonSeries, *, weather: WeatherVintages | None = None) -> Self:
        """Learn from a history, and from weather forecasts as they were issued where given."""
        ...

    def update(self, history: CarbonSeries) -> Self:
        """Take a longer history without learning anew."""
        ...

    def predict(self, issue_time_s: int, horizon: int) -> Forecast:
        """Forecast the `horizon` slots from the issue time on."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """A history made ready for features.

    Parameters
    ----------
    series : CarbonSeries
        As given.
    log_values : ndarray, shape (len(series.slots),)
        Natural logarithm of the intensity [log g/kWh], without gaps.
    filled : int
        How many values were filled in.
    per_day : int
        Slots a day.
    """

    series: CarbonSeries
    log_values: NDArray[np.float64]
    filled: int
    per_day: int

    def index_of(self, issue_time_s: int) -> int:
        """Return how many slots lie before an issue time.

        Parameters
        ----------
        issue_time_s : int
            Seconds since the epoch.

        Returns
        -------
        int
            Number of slots known then.

        Raises
        ------
        SlotError
            The time is off the grid, or lies behind the history.
        """
        slots = self.series.slots
        index, rest = divmod(issue_time_s - slots.start_s, slots.step_s)
        if rest or not 0 <= index <= len(slots):
            msg = (
                f"{self.series.grid_zone}: the issue time {format_time(issue_time_s)} is no slot start of the history "
                f"{format_time(slots.start_s)} to {format_time(slots.end_s)}"
            )
            raise SlotError(msg, hint="issue at the end of the known intensities, or earlier", value=issue_time_s)
        return index

    def flags(self) -> tuple[str, ...]:
        """Return what a reader of a forecast must know of its history."""
        return (f"gaps-filled:{self.filled}",) if self.filled else ()


def _filled(values: NDArray[np.float64], per_day: int) -> NDArray[np.float64]:
    """Fill gaps from the same hour of nearby days, nearest first, else from the mean."""
    made = values.copy()
    holes = np.flatnonzero(np.isnan(values))
    for days in (1, 2, 3, 7, 14):
        for shift in (-days * per_day, days * per_day):
            holes = holes[np.isnan(made[holes])]
            source = holes + shift
            ok = (source >= 0) & (source < len(values))
            made[holes[ok]] = values[source[ok]]
    made[np.isnan(made)] = np.nanmean(values)
    return made


def prepare(history: CarbonSeries, *, min_days: float, model: str) -> History:
    """Make a history ready for features.

    Parameters
    ----------
    history : CarbonSeries
        Whole days' slots: the step must divide a day.
    min_days : float
        What the model needs [days].
    model : str
        Its name, for messages.

    Returns
    -------
    History
        Logarithms without gaps.

    Raises
    ------
    TooLittleHistory
        Shorter than `min_days`.
    SignalGap
        More than a quarter is missing, or the whole last day.
    """
    slots = history.slots
    if DAY_S % slots.step_s:
        msg = f"{history.grid_zone}: slots of {slots.step_s} s don't divide a day"
        raise SlotError(msg, hint="bring the series to hourly means", value=slots.step_s)
    per_day = DAY_S // slots.step_s
    if len(slots) < min_days * per_day:
        msg = f"{history.grid_zone}: {model} needs {min_days:g} days of history, there are {len(slots) / per_day:.1f}"
        raise TooLittleHistory(msg, hint="give more past, or use the seasonal model", value=len(slots))
    values = history.values_g_per_kwh
    if history.missing > MISSING_LIMIT_SHARE * len(slots) or bool(np.isnan(values[-per_day:]).all()):
        msg = f"{history.grid_zone}: {history.missing} of {len(slots)} slots are missing, or the whole last day is"
        raise SignalGap(msg, hint="mend the source, or forecast from before the gap", value=history.missing)
    whole = _filled(values, per_day) if history.missing else values
    return History(history, np.log(np.maximum(whole, FLOOR_G_PER_KWH)), history.missing, per_day)


def need(state: object | None, model: str) -> None:
    """Refuse to predict before fit."""
    if state is None:
        msg = f"{model} has learned nothing yet"
        raise NotFitted(msg, hint="call fit(history) first")

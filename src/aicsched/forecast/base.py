"""What a forecaster is, and what all of them do to their history first.

A forecaster stores its parameters when it is made, learns in `fit`, takes newer
history without learning in `update`, and answers in `predict`; it never reads
anything after the issue time.

**Steps.** Any step that divides a day and is at most six hours works as it is:
all counts are taken from the slots a day, and a lead day is 24 hours.

**Missing values.** They are filled for the features from the same hour of the
seven days before (at the very start: of the nearest day behind), and the forecast
says so (``gaps-filled:n``). A dropout, as `quarantine.dropouts` finds them, counts as
missing here (``dropouts:n``). A past origin teaches a model only where at least
7/8 of what it should have foreseen is known. Of a history of which more than a
quarter is missing, the newest part that is better is used (``history-cut:n``).
Refused is one with more than half missing in its last week or its last day.
Duplicates and irregular steps don't get here:
`CarbonSeries` is on a grid. docs/data-contract.md has the whole contract.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, Self

import numpy as np

from aicsched.domain.carbon import frozen_array
from aicsched.domain.flags import Flag
from aicsched.domain.forecast import Forecast
from aicsched.domain.quarantine import dropouts
from aicsched.domain.tidy import quality_flags
from aicsched.errors import ForecastError, NotFitted, SignalGap, SlotError, TooLittleHistory
from aicsched.slots import SlotGrid, format_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from aicsched.domain.carbon import CarbonSeries
    from aicsched.domain.forecast import PastErrors
    from aicsched.domain.source_mix import SourceMix
    from aicsched.forecast.weather import WeatherVintages

__all__ = [
    "DAY_S",
    "FLOOR_G_PER_KWH",
    "LEVELS",
    "Covariates",
    "Forecaster",
    "History",
    "filled",
    "need",
    "prepare",
]

DAY_S: Final = 86_400
LEVELS: Final = (0.1, 0.5, 0.9)
# Grids can touch zero; logarithms can't. Half a gram is below what any table resolves.
FLOOR_G_PER_KWH: Final = 0.5
_LONGEST_STEP_S: Final = DAY_S // 4
_MISSING_LIMIT_SHARE: Final = 0.25
# With half of the last day or week filled, 96-h forecasts of January to June 2021 of five grids missed by
# at most a tenth more, those of the first day by at most a sixth; what is left beyond is hearsay.
_RECENT_LIMIT_SHARE: Final = 0.5
_TEACHING_SHARE: Final = 7 / 8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Covariates:
    """What a forecaster may know beside the intensity of the past.

    Parameters
    ----------
    weather : WeatherVintages, optional
        Weather forecasts of the zone, each as it was issued.
    mix : SourceMix, optional
        What each source of the zone generated.
    """

    weather: WeatherVintages | None = None
    mix: SourceMix | None = None


class Forecaster(Protocol):
    """What learns from a carbon series and foresees it.

    Made without arguments, or with ``levels``, the quantile levels; what `fit`
    learns is kept in attributes that end in ``_``.
    """

    name: str

    def fit(self, history: CarbonSeries, *, covariates: Covariates | None = None) -> Self:
        """Learn from a history, and from covariates where given."""
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
        Natural logarithm of the intensity [log g/kWh], without gaps, read-only.
    known : ndarray of bool, same shape
        False where a value was filled in.
    per_day : int
        Slots a day.
    cut : int
        How many slots before `series` are not used, since too many are missing there.
    dropouts : int
        How many values were taken for dropouts.
    """

    series: CarbonSeries
    log_values: NDArray[np.float64]
    known: NDArray[np.bool_]
    per_day: int
    cut: int = 0
    dropouts: int = 0

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
            known = f"{format_time(slots.start_s)} to {format_time(slots.end_s)}"
            zone, when = self.series.grid_zone, format_time(issue_time_s)
            msg = f"{zone}: {when} is no slot start of the history {known}"
            raise SlotError(
                msg, hint="issue at the end of the known intensities, or earlier", value=issue_time_s
            )
        return index

    def teaching(self, origins: NDArray[np.int64], first: int, last: int) -> NDArray[np.bool_]:
        """Tell from which past origins a model may learn.

        Parameters
        ----------
        origins : ndarray of int, shape (n,)
            Slot indices.
        first, last : int
            The leads to be learned are ``[first, last)`` slots behind each origin.

        Returns
        -------
        ndarray of bool, shape (n,)
            True where at least 7/8 of them are known.
        """
        count = np.concatenate([[0], np.cumsum(self.known)])
        return count[origins + last] - count[origins + first] >= _TEACHING_SHARE * (last - first)

    def flags(self) -> tuple[str, ...]:
        """Return what a reader of a forecast must know of its history."""
        counts = (
            (Flag.GAPS_FILLED, int(len(self.known) - self.known.sum())),
            (Flag.DROPOUTS, self.dropouts),
            (Flag.HISTORY_CUT, self.cut),
        )
        return quality_flags(self.series) + tuple(flag.of(count) for flag, count in counts if count)

    def forecast(
        self,
        issue_time_s: int,
        centre: NDArray[np.float64],
        spread: NDArray[np.float64],
        *,
        levels: Sequence[float],
        model: str,
        flags: tuple[str, ...] = (),
        past_errors: PastErrors | None = None,
    ) -> Forecast:
        """Return what a model foresaw in log space as a forecast of this zone.

        Parameters
        ----------
        issue_time_s : int
            Seconds since the epoch.
        centre : ndarray, shape (h,)
            Logarithm of the expected intensity.
        spread : ndarray, shape (len(levels), h)
            Quantiles of the residuals, added to the centre.
        levels : sequence of float
            Quantile levels.
        model : str
            Name of the model.
        flags : tuple of str
            Added to the history's own.
        past_errors : PastErrors, optional
            Over the same slots.

        Returns
        -------
        Forecast
            Over the `h` slots from the issue time on.
        """
        return Forecast(
            grid_zone=self.series.grid_zone,
            kind=self.series.kind,
            slots=SlotGrid(issue_time_s, self.series.slots.step_s, len(centre)),
            issue_time_s=issue_time_s,
            mean_g_per_kwh=np.exp(centre),
            levels=tuple(levels),
            quantiles_g_per_kwh=np.exp(centre + spread),
            model=model,
            source=self.series.source,
            flags=self.flags() + flags,
            synthetic=self.series.synthetic,
            past_errors=past_errors,
        )


def filled(values: NDArray[np.float64], per_day: int) -> NDArray[np.float64]:
    """Fill gaps from the same hour of the week before, and at the start from the day behind.

    Parameters
    ----------
    values : ndarray, shape (n,)
        NaN where missing; some are known.
    per_day : int
        Slots a day.

    Returns
    -------
    ndarray, shape (n,)
        Without NaN.
    """
    made = values.copy()
    for hole in np.flatnonzero(np.isnan(values)):
        week = made[max(hole % per_day, hole - 7 * per_day) : hole : per_day]
        if len(week):
            made[hole] = np.nanmean(week) if np.isfinite(week).any() else np.nan
    for hole in np.flatnonzero(np.isnan(made)):
        behind = values[hole::per_day]
        found = behind[np.isfinite(behind)]
        made[hole] = found[0] if len(found) else np.nanmean(values)
    return made


def _refuse_bad_slots(history: CarbonSeries, min_days: float, model: str) -> int:
    """Return the slots a day, or say why there is nothing to learn from."""
    slots = history.slots
    if DAY_S % slots.step_s or slots.step_s > _LONGEST_STEP_S:
        msg = f"{history.grid_zone}: slots of {slots.step_s} s are no equal parts of a day of at most 6 h"
        raise SlotError(msg, hint="bring the series to hourly means", value=slots.step_s)
    per_day = DAY_S // slots.step_s
    if len(slots) < min_days * per_day:
        days = len(slots) / per_day
        msg = f"{history.grid_zone}: {model} needs {min_days:g} days of history, there are {days:.1f}"
        hint = "give more past" if model == "seasonal" else "give more past, or use the model 'seasonal'"
        raise TooLittleHistory(msg, hint=hint, value=len(slots))
    return per_day


def _usable(history: CarbonSeries, missing: NDArray[np.bool_], per_day: int) -> int:
    """Return how many slots at the start to leave out, in whole days, so that enough of the rest is known.

    Whole days, so that a slot's place in the day stays what it was.
    """
    if missing.all():
        msg = f"{history.grid_zone}: none of {len(missing)} slots is known"
        raise SignalGap(msg, hint="mend the source", value=len(missing))
    start = int(np.argmin(missing)) // per_day * per_day
    behind = np.cumsum(missing[::-1])[::-1] / np.arange(len(missing), 0, -1)
    good = np.flatnonzero(behind[start::per_day] <= _MISSING_LIMIT_SHARE)
    return start + int(good[0]) * per_day if len(good) else len(missing)


def _refuse_gaps(history: CarbonSeries, missing: NDArray[np.bool_], per_day: int) -> None:
    for part, words in ((missing[-7 * per_day :], "last week"), (missing[-per_day:], "last day")):
        if part.mean() > _RECENT_LIMIT_SHARE:
            msg = f"{history.grid_zone}: {int(part.sum())} of {len(part)} slots of the {words} are missing"
            raise SignalGap(
                msg, hint="mend the source, or forecast from before the gap", value=int(part.sum())
            )


def prepare(history: CarbonSeries, *, min_days: float, model: str) -> History:
    """Make a history ready for features.

    Parameters
    ----------
    history : CarbonSeries
        On slots that divide a day.
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
    SlotError
        The slots don't divide a day, or are longer than six hours.
    TooLittleHistory
        Shorter than `min_days`.
    SignalGap
        Too much is missing; see the module's contract.
    """
    per_day = _refuse_bad_slots(history, min_days, model)
    values = history.values_g_per_kwh
    dropped = dropouts(values)
    missing = np.isnan(values) | dropped
    cut = 0
    if missing.any():
        _refuse_gaps(history, missing, per_day)
        cut = _usable(history, missing, per_day)
        history = history.window(
            history.slots.between(history.slots.start_s + cut * history.slots.step_s, history.slots.end_s)
        )
        _refuse_bad_slots(history, min_days, model)
        missing, dropped = missing[cut:], dropped[cut:]
        values = filled(np.where(missing, np.nan, values[cut:]), per_day)
    logs = frozen_array(np.log(np.maximum(values, FLOOR_G_PER_KWH)))
    return History(history, logs, ~missing, per_day, cut, int(dropped.sum()))


def need(history: History | None, model: str, horizon: int) -> History:
    """Return what was learned from, or refuse to predict.

    Parameters
    ----------
    history : History or None
        None before `fit`.
    model : str
        Its name, for messages.
    horizon : int
        Slots asked for.

    Returns
    -------
    History
        The history.

    Raises
    ------
    NotFitted
        Before `fit`.
    ForecastError
        A horizon below 1.
    """
    if history is None:
        msg = f"{model} has learned nothing yet"
        raise NotFitted(msg, hint="call fit(history) first")
    if horizon < 1:
        msg = f"a horizon of {horizon} slots forecasts nothing"
        raise ForecastError(msg, hint="ask for at least 1 slot", value=horizon)
    return history

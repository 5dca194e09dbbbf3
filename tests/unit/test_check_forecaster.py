"""The suite for forecasters: it passes ours, and catches each of these wrong ones by its own rule."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pytest

from aicsched.domain.carbon import CarbonSeries, IntensityKind
from aicsched.errors import AicschedError, NotFitted, SignalGap
from aicsched.forecast.base import LEVELS, Covariates
from aicsched.forecast.models.auto import AutoForecaster
from aicsched.forecast.models.ridge import LogRidge
from aicsched.forecast.models.seasonal import SeasonalProfile
from aicsched.plugins import load_plugin, plugin_names
from aicsched.slots import HOUR_S, SlotGrid
from aicsched.testing import check_forecaster, example_series

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aicsched.domain.forecast import Forecast

DAY_S = 86_400


@pytest.mark.parametrize("name", plugin_names("aicsched.forecasters"))
def test_each_built_in_passes(name: str) -> None:
    check_forecaster(load_plugin("aicsched.forecasters", name))


def test_the_automatic_choice_passes_and_the_seasonal_update_is_a_fit() -> None:
    check_forecaster(AutoForecaster)
    check_forecaster(SeasonalProfile, update_equals_fit=True)


def test_an_update_that_is_no_fit_is_told_of_where_it_is_promised() -> None:
    with pytest.raises(AssertionError, match="update must give what fit on the longer history gives"):
        check_forecaster(LogRidge, update_equals_fit=True)


# ---------------------------------------------------------------- wrong ones
class Sound(SeasonalProfile):
    """Right but for what a test changes; keeps what it was given."""

    name = "sound"
    given: CarbonSeries | None = None
    covariates: Covariates | None = None

    def fit(self, history: CarbonSeries, *, covariates: Covariates | None = None) -> Self:
        self.given, self.covariates = history, covariates
        return super().fit(history)

    def times(self, made: Forecast, factor: Any) -> Forecast:
        return replace(
            made,
            mean_g_per_kwh=made.mean_g_per_kwh * factor,
            quantiles_g_per_kwh=made.quantiles_g_per_kwh * factor,
        )


class Changed(Sound):
    """Changes what it foresees."""

    def change(self, made: Forecast) -> Forecast:
        raise NotImplementedError

    def predict(self, issue_time_s: int, horizon: int) -> Forecast:
        return self.change(super().predict(issue_time_s, horizon))


class Nameless(Sound):
    name = ""


class AnswersUnfitted(Sound):
    def predict(self, issue_time_s: int, horizon: int) -> Forecast:
        if self.history_ is None:
            self.fit(example_series())
        return super().predict(issue_time_s, horizon)


class RawUnfitted(Sound):
    def predict(self, issue_time_s: int, horizon: int) -> Forecast:
        if self.history_ is None:
            msg = "history_"
            raise AttributeError(msg)
        return super().predict(issue_time_s, horizon)


class FitGivesNothing(Sound):
    def fit(self, history: CarbonSeries, *, covariates: Covariates | None = None) -> Any:
        super().fit(history)


class UpdateGivesNothing(Sound):
    def update(self, history: CarbonSeries) -> Any:
        super().update(history)


class NothingIsADay(Sound):
    def predict(self, issue_time_s: int, horizon: int) -> Forecast:
        return super().predict(issue_time_s, horizon or 24)


class RoundsTimes(Sound):
    def predict(self, issue_time_s: int, horizon: int) -> Forecast:
        late_s = 0 if self.given is None else issue_time_s % self.given.slots.step_s
        return super().predict(issue_time_s - late_s, horizon)


class ClampsTimes(Sound):
    def predict(self, issue_time_s: int, horizon: int) -> Forecast:
        if self.given is not None and issue_time_s % self.given.slots.step_s == 0:
            issue_time_s = min(issue_time_s, self.given.slots.end_s)
        return super().predict(issue_time_s, horizon)


class StartsLate(Changed):
    def change(self, made: Forecast) -> Forecast:
        return replace(made, slots=SlotGrid(made.slots.end_s, made.slots.step_s, len(made.slots)))


class WrongIssue(Changed):
    def change(self, made: Forecast) -> Forecast:
        return replace(made, issue_time_s=made.issue_time_s - DAY_S)


class AlwaysAverage(Changed):
    def change(self, made: Forecast) -> Forecast:
        return replace(made, kind=IntensityKind.AVERAGE)


class HidesSynthetic(Changed):
    def change(self, made: Forecast) -> Forecast:
        return replace(made, synthetic=False)


class Anonymous(Changed):
    def change(self, made: Forecast) -> Forecast:
        return replace(made, model="")


class Negative(Changed):
    def change(self, made: Forecast) -> Forecast:
        return self.times(made, 0.0)


class Crossing(Changed):
    def change(self, made: Forecast) -> Forecast:
        return replace(made, quantiles_g_per_kwh=made.quantiles_g_per_kwh[::-1])


class InKilograms(Changed):
    def change(self, made: Forecast) -> Forecast:
        return self.times(made, 1e-3)


class FixedLevel(Changed):
    """Thinks that every grid is like the one it was written for."""

    def change(self, made: Forecast) -> Forecast:
        return self.times(made, 300.0 / made.mean_g_per_kwh.mean())


class InLocalTime(Changed):
    def change(self, made: Forecast) -> Forecast:
        return replace(made, mean_g_per_kwh=np.roll(made.mean_g_per_kwh, 1))


class FromMidnight(Changed):
    """Thinks that every forecast starts at midnight."""

    def change(self, made: Forecast) -> Forecast:
        late = made.issue_time_s % DAY_S // made.slots.step_s
        return replace(made, mean_g_per_kwh=np.roll(made.mean_g_per_kwh, late))


class HourlyOnly(Changed):
    def change(self, made: Forecast) -> Forecast:
        return replace(made, slots=SlotGrid(made.slots.start_s, HOUR_S, len(made.slots)))


class FineIsFlat(Changed):
    """Takes the last 24 slots for a day, whatever their length."""

    def change(self, made: Forecast) -> Forecast:
        fine = made.slots.step_s < HOUR_S
        return replace(made, mean_g_per_kwh=np.roll(made.mean_g_per_kwh, 24 if fine else 0))


class NotFar(Sound):
    def predict(self, issue_time_s: int, horizon: int) -> Forecast:
        if horizon > 200:
            msg = "too far"
            raise IndexError(msg)
        return super().predict(issue_time_s, horizon)


class RefusesADay(Sound):
    def predict(self, issue_time_s: int, horizon: int) -> Forecast:
        if horizon > 20 and self.history_ is not None:
            msg = "a day is too far"
            raise SignalGap(msg)
        return super().predict(issue_time_s, horizon)


class LooksAhead(Sound):
    def predict(self, issue_time_s: int, horizon: int) -> Forecast:
        made = super().predict(issue_time_s, horizon)
        assert self.given is not None
        ahead = self.given.slots.between(issue_time_s, made.slots.end_s)
        if not len(ahead):
            return made
        seen = self.given.window(ahead).values_g_per_kwh
        mean = np.array(made.mean_g_per_kwh)
        mean[: len(seen)] = 0.5 * (mean[: len(seen)] + seen)
        return replace(made, mean_g_per_kwh=mean)


class LooksAheadLater(LooksAhead):
    """Only what `update` brings is looked at."""

    def fit(self, history: CarbonSeries, *, covariates: Covariates | None = None) -> Self:
        super().fit(history)
        self.given = history.before(history.slots.start_s)
        return self

    def update(self, history: CarbonSeries) -> Self:
        super().update(history)
        self.given = history
        return self


class RefusesByTheFuture(Sound):
    def predict(self, issue_time_s: int, horizon: int) -> Forecast:
        if self.given is not None and (self.given.values_g_per_kwh[-24:] > 800.0).any():
            if self.given.values_g_per_kwh.max() > 1200.0:
                return super().predict(issue_time_s, horizon)  # a dirty grid as such
            msg = "too dirty"
            raise SignalGap(msg)
        return super().predict(issue_time_s, horizon)


class LearnsFromAll(Changed):
    """Its weights come from the whole history, and only its features from the past: a shared mistake."""

    def change(self, made: Forecast) -> Forecast:
        assert self.given is not None
        return self.times(made, 1 + 1e-4 * np.nanmean(self.given.values_g_per_kwh[-48:]) / 300.0)


class AheadInAnyCase(Changed):
    """Answers from the end of the history, and says that it was the past."""

    def change(self, made: Forecast) -> Forecast:
        assert self.given is not None
        late = (self.given.slots.end_s - made.issue_time_s) // made.slots.step_s
        return self.times(made, 1.0 + 1e-3 * (late > 0))


class LaterWeather(Changed):
    def change(self, made: Forecast) -> Forecast:
        weather = None if self.covariates is None else self.covariates.weather
        if weather is None or np.isnan(weather.values).all():
            return made
        return self.times(made, 1 + 1e-4 * weather.values[-1].mean())


class LaterMix(Changed):
    def change(self, made: Forecast) -> Forecast:
        mix = None if self.covariates is None else self.covariates.mix
        if mix is None or np.isnan(mix.generation_mw).all():
            return made
        return self.times(made, 1 + 1e-4 * mix.generation_mw[0, -24:].mean() / 1000.0)


class MixOrNothing(Changed):
    def change(self, made: Forecast) -> Forecast:
        mix = None if self.covariates is None else self.covariates.mix
        factor = 1.0 if mix is None else 1.0 + 0.0 * float(mix.generation_mw.mean())
        return self.times(made, factor)


class WeatherOrNothing(Changed):
    def change(self, made: Forecast) -> Forecast:
        weather = None if self.covariates is None else self.covariates.weather
        factor = 1.0 if weather is None else 1.0 + 0.0 * float(weather.values[0].mean())
        return self.times(made, factor)


class TrustsUnknownWeather(Changed):
    def change(self, made: Forecast) -> Forecast:
        weather = None if self.covariates is None else self.covariates.weather
        return made if weather is None else self.times(made, 1.0 + 0.5 * np.isnan(weather.values).mean())


class NoWeatherIsWeather(Changed):
    def change(self, made: Forecast) -> Forecast:
        return self.times(
            made, 1.0 + 0.01 * (self.covariates is not None and self.covariates.weather is None)
        )


class Dice(Changed):
    def change(self, made: Forecast) -> Forecast:
        return self.times(made, 1 + 1e-3 * np.random.random())  # noqa: NPY002


class Tires(Changed):
    asked = 0

    def change(self, made: Forecast) -> Forecast:
        self.asked += 1
        return self.times(made, 1 + 1e-3 * self.asked)


class HoldsALock(Sound):
    def __init__(self, levels: Sequence[float] = LEVELS) -> None:
        super().__init__(levels)
        self.lock = threading.Lock()


class ForgetsWhenPickled(Sound):
    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"history_": None}


class DriftsWhenPickled(Changed):
    factor = 1.0

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.factor = 1.001

    def change(self, made: Forecast) -> Forecast:
        return self.times(made, self.factor)


class NeverForgets(Changed):
    fits = 0

    def fit(self, history: CarbonSeries, *, covariates: Covariates | None = None) -> Self:
        self.fits += 1
        return super().fit(history, covariates=covariates)

    def change(self, made: Forecast) -> Forecast:
        return self.times(made, 1 + 1e-3 * self.fits)


class OwnLevels(Sound):
    def __init__(self, levels: Sequence[float] = (0.2, 0.8)) -> None:
        super().__init__(levels)


class DeafToLevels(Sound):
    def __init__(self, levels: Sequence[float] = LEVELS) -> None:
        super().__init__(LEVELS)


class TooSure(Changed):
    def change(self, made: Forecast) -> Forecast:
        rows = len(made.levels)
        return replace(made, quantiles_g_per_kwh=np.tile(made.mean_g_per_kwh, (rows, 1)))


class TooUnsure(Changed):
    def change(self, made: Forecast) -> Forecast:
        factors = np.array([1 + 6 * (level - 0.5) if level > 0.5 else 2 * level for level in made.levels])
        return replace(made, quantiles_g_per_kwh=made.mean_g_per_kwh * factors[:, None])


class Rigid(Sound):
    """Takes in no new values: only the level of its first history counts."""

    def update(self, history: CarbonSeries) -> Self:
        assert self.given is not None
        per_day = DAY_S // history.slots.step_s
        first = self.given
        count = len(history.slots)
        if count <= len(first.slots):
            return self
        days = -(-(count - len(first.slots)) // per_day)
        more = np.tile(first.values_g_per_kwh[-per_day:], days)[: count - len(first.slots)]
        values = np.concatenate([first.values_g_per_kwh, more])
        super().update(replace(history, values_g_per_kwh=values, quality=None))
        return self


class Careless(Sound):
    """Answers whatever it is given."""

    least_slots = 0

    def fit(self, history: CarbonSeries, *, covariates: Covariates | None = None) -> Self:
        if self.wrong(history):
            values = np.full(21 * 24, 300.0)
            slots = SlotGrid(history.slots.end_s - 21 * DAY_S, HOUR_S, len(values))
            history = replace(history, slots=slots, values_g_per_kwh=values, quality=None)
        return super().fit(history, covariates=covariates)

    def wrong(self, history: CarbonSeries) -> bool:
        raise NotImplementedError


class AcceptsShort(Careless):
    def wrong(self, history: CarbonSeries) -> bool:
        return 0 < len(history.slots) < 24


class AcceptsEmpty(Careless):
    def wrong(self, history: CarbonSeries) -> bool:
        return len(history.slots) == 0


class AcceptsUnknown(Careless):
    def wrong(self, history: CarbonSeries) -> bool:
        return len(history.slots) > 24 and bool(np.isnan(history.values_g_per_kwh).all())


class RawShort(Sound):
    def fit(self, history: CarbonSeries, *, covariates: Covariates | None = None) -> Self:
        if len(history.slots) < 24:
            msg = "index -24 is out of bounds"
            raise ValueError(msg)
        return super().fit(history, covariates=covariates)


class GapsAreZero(Sound):
    def fit(self, history: CarbonSeries, *, covariates: Covariates | None = None) -> Self:
        values = history.values_g_per_kwh
        if len(values) and 0.0 < np.isnan(values).mean() < 0.03:
            values = np.where(np.isnan(values), 0.3 * np.nanmean(values), values)
            values[-24:] *= 0.5
            history = replace(history, values_g_per_kwh=values, quality=None)
        return super().fit(history, covariates=covariates)


class FillsInSilence(Sound):
    def fit(self, history: CarbonSeries, *, covariates: Covariates | None = None) -> Self:
        values = np.array(history.values_g_per_kwh)
        if len(values) and 0.03 < np.isnan(values).mean() < 0.5:
            while np.isnan(values[24:]).any():
                values[24:] = np.where(np.isnan(values[24:]), values[:-24], values[24:])
                values[:24] = np.nan_to_num(values[:24], nan=300.0)
        return super().fit(replace(history, values_g_per_kwh=values, quality=None), covariates=covariates)


class ZeroBreaks(Sound):
    def fit(self, history: CarbonSeries, *, covariates: Covariates | None = None) -> Self:
        if (history.values_g_per_kwh == 0).any():
            msg = "float division by zero"
            raise ZeroDivisionError(msg)
        return super().fit(history, covariates=covariates)


class ZeroTurnsNegative(Changed):
    def change(self, made: Forecast) -> Forecast:
        assert self.given is not None
        low = -1.0 if (self.given.values_g_per_kwh == 0).any() else 1.0
        return replace(made, mean_g_per_kwh=low * made.mean_g_per_kwh)


WRONG = [
    (Nameless, "must have a name"),
    (AnswersUnfitted, "predict before fit must raise NotFitted"),
    (RawUnfitted, "must raise NotFitted, not AttributeError"),
    (FitGivesNothing, "fit must return self"),
    (UpdateGivesNothing, "update must return self"),
    (NothingIsADay, "a horizon of 0 slots must be refused"),
    (RoundsTimes, "an issue time between two slots must be refused"),
    (ClampsTimes, "an issue time behind the history's end must be refused"),
    (StartsLate, "must cover just the slots from the issue time on"),
    (WrongIssue, "must carry its issue time"),
    (AlwaysAverage, "must carry the history's zone, kind"),
    (HidesSynthetic, "must carry the history's zone, kind"),
    (Anonymous, "must carry its model's name"),
    (Negative, "intensities must be positive"),
    (Crossing, "must be answered, and ForecastError came out .*cross"),
    (InKilograms, r"shape in g/kWh is missed by 100%"),
    (FixedLevel, "shape in g/kWh|shape of a clean grid is missed"),
    (InLocalTime, "shape in g/kWh is missed"),
    (FromMidnight, "shape issued at 13:00 is missed"),
    (HourlyOnly, "a forecast by half-hours must be on the history's slots"),
    (FineIsFlat, "shape by half-hours is missed"),
    (NotFar, "a horizon of 504 slots: IndexError came out"),
    (RefusesADay, "a horizon of 24 slots must be answered, and SignalGap came out"),
    (LooksAhead, "before the end of what fit was given: values behind it change the forecast"),
    (LooksAheadLater, "before the end of what update was given: values behind it change the forecast"),
    (RefusesByTheFuture, "values behind it decide whether it is refused"),
    (LearnsFromAll, "values behind it change the forecast"),
    (AheadInAnyCase, "the forecast must be that of its own past"),
    (LaterWeather, "a weather forecast issued after the issue time changes the forecast"),
    (LaterMix, "the source mix after the issue time changes the forecast"),
    (MixOrNothing, "mix of which nothing is known must be answered, and ForecastError came out"),
    (WeatherOrNothing, "weather of which nothing is known must be answered, and ForecastError came out"),
    (TrustsUnknownWeather, "weather of which nothing is known costs the forecast 50%"),
    (NoWeatherIsWeather, "empty covariates must count as none"),
    (Dice, "equal input must give equal output"),
    (Tires, "what was asked before must not change a forecast"),
    (HoldsALock, r"must survive pickling \(TypeError"),
    (ForgetsWhenPickled, "a pickled forecaster must be answered, and NotFitted came out"),
    (DriftsWhenPickled, "a pickled forecaster must forecast the same"),
    (NeverForgets, "fit must forget what it was fitted on before"),
    (OwnLevels, "without a choice quantiles must be at the levels"),
    (DeafToLevels, "quantiles must be at these"),
    (TooSure, "a 90 % band held 0% of the values"),
    (TooUnsure, "of the mean wide"),
    (Rigid, "update must take in new values"),
    (AcceptsShort, "two hours of history must be refused"),
    (AcceptsEmpty, "an empty history must be refused"),
    (AcceptsUnknown, "a history of which nothing is known must be refused"),
    (RawShort, "two hours of history: ValueError came out"),
    (GapsAreZero, "a few gaps cost the forecast"),
    (FillsInSilence, "a history without its last three days must leave a flag"),
    (ZeroBreaks, "intensities of 0: ZeroDivisionError came out"),
    (ZeroTurnsNegative, "intensities of 0 must not give negative ones"),
]


def test_the_basis_of_the_wrong_ones_is_sound() -> None:
    check_forecaster(Sound)


@pytest.mark.parametrize(("wrong", "rule"), WRONG, ids=lambda item: getattr(item, "__name__", ""))
def test_each_wrong_one_is_caught_by_its_rule(wrong: type[Sound], rule: str) -> None:
    with pytest.raises(AssertionError, match=rule):
        check_forecaster(wrong)


def test_wrong_ones_fail_for_no_other_reason() -> None:
    """A refusal of its own kind is no wrong one: errors of ours stay what they are."""
    model = AcceptsShort()
    with pytest.raises(NotFitted):
        model.predict(0, 24)
    assert issubclass(NotFitted, AicschedError)

"""The models: what they recover, what they refuse, and that no future reaches them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from aicsched import testing
from aicsched.domain.carbon import CarbonSeries, IntensityKind
from aicsched.errors import NotFitted, SignalGap, SlotError, TooLittleHistory
from aicsched.forecast.base import Covariates, prepare
from aicsched.forecast.models.auto import AutoForecaster
from aicsched.forecast.models.blend import LogBlend
from aicsched.forecast.models.features import Table, base_table, past_days
from aicsched.forecast.models.outside import Outside
from aicsched.forecast.models.regression import learn
from aicsched.forecast.models.ridge import LogRidge
from aicsched.forecast.models.seasonal import SeasonalProfile
from aicsched.forecast.weather import WeatherVintages
from aicsched.slots import HOUR_S, SlotGrid

DAY_S = 86_400
MODELS = (SeasonalProfile, LogRidge, LogBlend, AutoForecaster)


def series(values: object, *, start_s: int = 0, step_s: int = HOUR_S) -> CarbonSeries:
    array = np.asarray(values, dtype=float)
    return CarbonSeries(
        grid_zone="DE",
        kind=IntensityKind.AVERAGE,
        slots=SlotGrid(start_s, step_s, len(array)),
        values_g_per_kwh=array,
        source="test",
    )


def wavy(days: int, *, step_s: int = HOUR_S, noise: float = 0.02, seed: int = 0) -> CarbonSeries:
    per_day = DAY_S // step_s
    phase = 2 * np.pi * np.arange(days * per_day) / per_day
    noises = np.random.default_rng(seed).normal(0, noise, phase.size)
    return series(300 * np.exp(0.3 * np.cos(phase) + noises), step_s=step_s)


@pytest.mark.parametrize("model", MODELS)
def test_all_models_pass_the_public_suite(model: type[LogRidge]) -> None:
    testing.check_forecaster(model)


@pytest.mark.parametrize("model", MODELS)
def test_a_constant_grid_stays_constant(model: type[LogRidge]) -> None:
    flat = series(np.full(24 * 40, 250.0))
    made = model().fit(flat).predict(flat.slots.end_s, 96)
    np.testing.assert_allclose(made.mean_g_per_kwh, 250.0, rtol=1e-6)
    np.testing.assert_allclose(made.quantiles_g_per_kwh, 250.0, rtol=1e-6)


@pytest.mark.parametrize("model", MODELS)
def test_a_clean_daily_shape_is_foreseen(model: type[LogRidge]) -> None:
    whole = wavy(50, noise=0.0)
    past = whole.before(46 * DAY_S)
    made = model().fit(past).predict(46 * DAY_S, 96)
    np.testing.assert_allclose(made.mean_g_per_kwh, whole.values_g_per_kwh[46 * 24 :], rtol=0.02)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("step_s", [900, 1800, 3 * HOUR_S])
def test_other_steps_are_forecast_on_their_own(model: type[LogRidge], step_s: int) -> None:
    whole = wavy(40, step_s=step_s)
    per_day = DAY_S // step_s
    past = whole.before(38 * DAY_S)
    made = model().fit(past).predict(38 * DAY_S, 2 * per_day)
    assert made.slots == SlotGrid(38 * DAY_S, step_s, 2 * per_day)
    error = np.abs(made.mean_g_per_kwh / whole.values_g_per_kwh[38 * per_day :] - 1).mean()
    assert error < 0.05


@pytest.mark.parametrize("model", MODELS)
def test_a_forecast_from_an_earlier_time_ignores_all_behind_it(model: type[LogRidge]) -> None:
    whole, issue_s = wavy(45), 40 * DAY_S + 5 * HOUR_S
    late = model().fit(whole)
    late.predict(whole.slots.end_s, 24)
    one = late.predict(issue_s, 48)
    two = model().fit(whole.before(issue_s)).predict(issue_s, 48)
    np.testing.assert_array_equal(one.mean_g_per_kwh, two.mean_g_per_kwh)
    np.testing.assert_array_equal(one.quantiles_g_per_kwh, two.quantiles_g_per_kwh)


@pytest.mark.parametrize("model", MODELS)
def test_update_takes_new_values_and_needs_fit(model: type[LogRidge]) -> None:
    whole = wavy(45)
    with pytest.raises(NotFitted):
        model().update(whole)
    made = model().fit(whole.before(40 * DAY_S))
    first = made.predict(40 * DAY_S, 24)
    risen = series(
        np.concatenate([whole.values_g_per_kwh[: 40 * 24], 1.5 * whole.values_g_per_kwh[40 * 24 :]])
    )
    assert made.update(risen) is made
    later = made.predict(45 * DAY_S, 24)
    assert later.mean_g_per_kwh.mean() > 1.1 * first.mean_g_per_kwh.mean()


@pytest.mark.parametrize("model", MODELS)
def test_issue_times_off_the_grid_or_in_the_future_are_refused(model: type[LogRidge]) -> None:
    made = model().fit(wavy(30))
    for time_s in (30 * DAY_S + HOUR_S, 29 * DAY_S + 1):
        with pytest.raises(SlotError):
            made.predict(time_s, 24)


@pytest.mark.parametrize("model", MODELS)
def test_gaps_are_flagged_and_survived(model: type[LogRidge]) -> None:
    values = np.array(wavy(40).values_g_per_kwh)
    values[[500, 501, 930]] = np.nan
    made = model().fit(series(values)).predict(40 * DAY_S, 96)
    assert made.flags == ("gaps-filled:3",)
    clean = model().fit(wavy(40)).predict(40 * DAY_S, 96)
    np.testing.assert_allclose(made.mean_g_per_kwh, clean.mean_g_per_kwh, rtol=0.02)


@pytest.mark.parametrize("model", MODELS)
def test_levels_are_as_asked_and_never_cross(model: type[LogRidge]) -> None:
    levels = (0.05, 0.25, 0.5, 0.75, 0.95)
    made = model(levels).fit(wavy(40)).predict(40 * DAY_S, 120)
    assert made.levels == levels
    assert (np.diff(made.quantiles_g_per_kwh, axis=0) >= 0).all()


def test_a_new_model_only_stores_its_parameters() -> None:
    levels = [0.1, 0.9]
    for model in MODELS:
        assert model(levels).levels is levels


# ---------------------------------------------------------------- seasonal
def test_seasonal_answers_from_two_days_and_for_any_horizon() -> None:
    short = wavy(2)
    made = SeasonalProfile().fit(short).predict(2 * DAY_S, 24 * 21)
    assert len(made.mean_g_per_kwh) == 24 * 21
    width = np.log(made.quantile(0.9) / made.quantile(0.1))
    assert width[-24:].mean() >= width[:24].mean()
    with pytest.raises(TooLittleHistory, match="seasonal needs 2 days"):
        SeasonalProfile().fit(wavy(2).before(47 * HOUR_S))
    with pytest.raises(TooLittleHistory):
        SeasonalProfile().fit(short).predict(DAY_S, 24)


def test_seasonal_knows_weekends() -> None:
    days = 56
    weekday = (np.arange(days) + 3) % 7  # the epoch was a Thursday
    level = np.where(weekday >= 5, 200.0, 300.0)
    whole = series(np.repeat(level, 24))
    issue_s = (days - 6) * DAY_S
    made = SeasonalProfile().fit(whole.before(issue_s)).predict(issue_s, 96)
    actual = whole.values_g_per_kwh[(days - 6) * 24 : (days - 2) * 24]
    blind = np.abs(np.log(300 / 200)) * (actual < 250).mean()
    assert np.abs(np.log(made.mean_g_per_kwh / actual)).mean() < 0.6 * blind


# ---------------------------------------------------------------- regression
def by_normal_equations(inputs: np.ndarray, targets: np.ndarray, penalty: float) -> np.ndarray:
    rows, aims = inputs - inputs.mean(axis=0), targets - targets.mean(axis=0)
    return np.linalg.solve(rows.T @ rows + penalty * np.eye(rows.shape[1]), rows.T @ aims)


@pytest.mark.parametrize(("rows", "columns"), [(200, 12), (100, 150), (20, 40)])
def test_weights_are_the_ridge_solution(rows: int, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from aicsched.forecast.models import regression

    monkeypatch.setattr(regression, "_PENALTIES", np.array([700.0]))
    monkeypatch.setattr(regression, "_FEW_PENALTIES", np.array([700.0]))
    rng = np.random.default_rng(rows)
    values, targets = rng.normal(3.0, 2.0, (rows, columns)), rng.normal(size=(rows, 6))
    emphasis = rng.uniform(0.5, 2.0, columns)
    made = learn(Table(values, emphasis), targets, outputs_a_group=3, gap=1)
    inputs = (values - values.mean(axis=0)) / values.std(axis=0) * emphasis
    np.testing.assert_allclose(made.weights, by_normal_equations(inputs, targets, 700.0), atol=1e-9)
    np.testing.assert_allclose(made(values).mean(axis=0), targets.mean(axis=0), atol=1e-9)


def test_residuals_are_of_rows_that_were_not_learned_from(monkeypatch: pytest.MonkeyPatch) -> None:
    from aicsched.forecast.models import regression

    monkeypatch.setattr(regression, "_PENALTIES", np.array([5.0]))
    rng = np.random.default_rng(0)
    values, targets = rng.normal(size=(120, 4)), rng.normal(size=(120, 2))
    made = learn(Table(values, np.ones(4)), targets, outputs_a_group=2, gap=3)
    inputs = (values - values.mean(axis=0)) / values.std(axis=0)
    early, late = slice(0, 120 - 40 - 3), slice(80, 120)
    weights = by_normal_equations(inputs[early], targets[early], 5.0)
    foreseen = (inputs[late] - inputs[early].mean(axis=0)) @ weights + targets[early].mean(axis=0)
    np.testing.assert_allclose(made.residuals, targets[late] - foreseen, atol=1e-9)


def test_noise_is_shrunk_and_signal_is_kept() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=(400, 30))
    signal = values[:, :1] @ np.ones((1, 4))
    loud = learn(
        Table(values, np.ones(30)), signal + 0.01 * rng.normal(size=(400, 4)), outputs_a_group=4, gap=0
    )
    still = learn(Table(values, np.ones(30)), rng.normal(size=(400, 4)), outputs_a_group=4, gap=0)
    assert loud.weights[0, 0] == pytest.approx(values[:, 0].std(), abs=0.01)
    assert np.abs(still.weights).max() < 0.1


def test_a_constant_column_carries_nothing() -> None:
    values = np.random.default_rng(2).normal(size=(100, 3))
    values[:, 1] = 7.0
    made = learn(Table(values, np.ones(3)), values[:, :1], outputs_a_group=1, gap=0)
    assert made.weights[1, 0] == pytest.approx(0.0, abs=1e-9)


# ---------------------------------------------------------------- features
def test_past_days_are_newest_first_and_end_at_the_origin() -> None:
    history = prepare(series(np.exp(np.arange(1.0, 6.0).repeat(24) / 10)), min_days=2, model="m")
    days = past_days(history, np.array([96, 120]), 3)
    np.testing.assert_allclose(days[0, :, 0], [0.4, 0.3, 0.2])
    np.testing.assert_allclose(days[1, :, 5], [0.5, 0.4, 0.3])


@pytest.mark.parametrize("long", [False, True])
def test_features_do_not_see_the_origin_or_later(long: bool) -> None:
    whole = wavy(60)
    values = np.array(whole.values_g_per_kwh)
    values[40 * 24 :] *= 1.7
    rows = np.array([40 * 24])
    one = base_table(prepare(whole, min_days=2, model="m"), rows, long=long)
    two = base_table(prepare(series(values), min_days=2, model="m"), rows, long=long)
    np.testing.assert_array_equal(one.values, two.values)
    assert one.values.shape[1] == one.emphasis.size


def test_weekday_columns_start_on_monday() -> None:
    # 2026-01-05 was a Monday.
    whole = series(wavy(20).values_g_per_kwh, start_s=1_767_571_200 - 10 * DAY_S)
    table = base_table(prepare(whole, min_days=2, model="m"), np.array([240, 264]), long=False)
    assert table.values[0, 55:62].tolist() == [1, 0, 0, 0, 0, 0, 0]
    assert table.values[1, 55:62].tolist() == [0, 1, 0, 0, 0, 0, 0]


# ---------------------------------------------------------------- ridge
def test_ridge_works_from_21_days_and_says_what_it_needs() -> None:
    whole = wavy(25)
    made = LogRidge().fit(whole.before(21 * DAY_S)).predict(21 * DAY_S, 96)
    np.testing.assert_allclose(made.mean_g_per_kwh, whole.values_g_per_kwh[21 * 24 :], rtol=0.12)
    with pytest.raises(TooLittleHistory, match="ridge needs 21 days of history, there are 20"):
        LogRidge().fit(whole.before(20 * DAY_S))
    with pytest.raises(TooLittleHistory, match="ridge needs 25 days"):
        LogRidge().fit(whole.before(21 * DAY_S)).predict(21 * DAY_S, 97)


def test_ridge_foresees_21_days_with_widening_bands() -> None:
    whole = wavy(150, noise=0.05)
    made = LogRidge().fit(whole).predict(150 * DAY_S, 21 * 24)
    width = np.log(made.quantile(0.9) / made.quantile(0.1))
    assert width[-24:].mean() > width[:24].mean()


def test_ridge_needs_days_without_gaps_to_learn_from() -> None:
    values = np.array(wavy(22).values_g_per_kwh)
    for day in (8, 10, 12, 13):
        values[24 * day + 3 : 24 * day + 23] = np.nan
    with pytest.raises(SignalGap, match="days before 1970-01-23T00:00Z to learn from"):
        LogRidge().fit(series(values)).predict(22 * DAY_S, 96)


def test_ridge_uses_persistence_that_the_profile_misses() -> None:
    rng = np.random.default_rng(4)
    days = 300
    weather = np.zeros(days)
    for day in range(1, days):
        weather[day] = 0.9 * weather[day - 1] + rng.normal(0, 0.1)
    values = 300 * np.exp(np.repeat(weather, 24) + 0.01 * rng.normal(size=24 * days))
    whole = series(values)
    ridge, week = 0.0, 0.0
    model = LogRidge().fit(whole.before(260 * DAY_S))
    for day in range(260, 299):
        model.update(whole.before(day * DAY_S))
        actual = np.log(values[24 * day : 24 * day + 24])
        ridge += np.abs(np.log(model.predict(day * DAY_S, 24).mean_g_per_kwh) - actual).mean()
        week += np.abs(np.log(values[24 * day - 168 : 24 * day]).mean() - actual).mean()
    assert ridge < 0.75 * week


# ---------------------------------------------------------------- weather
def windy(days: int = 140) -> tuple[CarbonSeries, WeatherVintages]:
    """Make a grid that wind alone drives, and perfect forecasts of that wind."""
    rng = np.random.default_rng(7)
    wind = rng.uniform(1, 11, days + 6)
    values = 500 * np.exp(-1.0 / (1 + np.exp(-(wind[:days] - 6) / 1.5)))
    leads = np.stack([np.repeat(wind[day : day + 4], 8) for day in range(days)])
    vintages = WeatherVintages(
        variables=("wind_speed",),
        issue_times_s=DAY_S * np.arange(days, dtype=np.int64),
        step_h=3,
        values=leads[:, None, :],
        source="test",
    )
    return series(np.repeat(values, 24)), vintages


def test_weather_explains_what_the_past_can_not() -> None:
    whole, vintages = windy()
    issue_s = 136 * DAY_S
    past, actual = whole.before(issue_s), whole.values_g_per_kwh[136 * 24 :]
    blind = LogRidge().fit(past).predict(issue_s, 96)
    seeing = LogRidge().fit(past, covariates=Covariates(weather=vintages)).predict(issue_s, 96)
    assert seeing.flags == ()
    error = [np.abs(np.log(made.mean_g_per_kwh / actual)).mean() for made in (blind, seeing)]
    assert error[1] < 0.35 * error[0]


def test_stale_or_short_weather_falls_back_with_a_flag() -> None:
    whole, vintages = windy()
    issue_s = 136 * DAY_S
    past = whole.before(issue_s)
    stale = replace(vintages, issue_times_s=vintages.issue_times_s[:130], values=vintages.values[:130])
    made = LogRidge().fit(past, covariates=Covariates(weather=stale)).predict(issue_s, 96)
    assert made.flags == tuple(f"weather-unused:d{day}" for day in (1, 2, 3, 4))
    blind = LogRidge().fit(past).predict(issue_s, 96)
    np.testing.assert_array_equal(made.mean_g_per_kwh, blind.mean_g_per_kwh)
    recent = replace(vintages, issue_times_s=vintages.issue_times_s[110:], values=vintages.values[110:])
    assert len(LogRidge().fit(past, covariates=Covariates(weather=recent)).predict(issue_s, 24).flags) == 1


def test_beyond_the_weather_only_those_days_do_without() -> None:
    whole, vintages = windy()
    made = LogRidge().fit(whole, covariates=Covariates(weather=vintages)).predict(140 * DAY_S, 24)
    assert made.flags == ("weather-unused:d1",)  # the newest row is a day old by then
    short = replace(vintages, values=vintages.values[:, :, :16])
    issue_s = 139 * DAY_S
    made = LogRidge().fit(whole.before(issue_s), covariates=Covariates(weather=short)).predict(issue_s, 96)
    assert made.flags == ("weather-unused:d3", "weather-unused:d4")


def test_weather_columns_without_wind_or_temperature() -> None:
    whole, vintages = windy()
    for name in ("dewpoint", "temperature"):
        outside = Outside(replace(vintages, variables=(name,)), prepare(whole, min_days=2, model="m"), None)
        table = outside.table(np.array([20 * 24]), 0)
        assert table.values.shape[1] == table.emphasis.size == 9 + 4 * (name == "temperature")


# ---------------------------------------------------------------- auto
def test_auto_takes_ridge_where_it_can_and_says_where_it_could_not() -> None:
    whole = wavy(30)
    assert AutoForecaster().fit(whole).predict(30 * DAY_S, 96).model == "ridge"
    short = AutoForecaster().fit(whole.before(10 * DAY_S)).predict(10 * DAY_S, 96)
    assert (short.model, short.flags) == ("seasonal", ("short-history:seasonal",))
    far = AutoForecaster().fit(whole).predict(30 * DAY_S, 24 * 21)
    assert (far.model, far.flags) == ("seasonal", ("short-history:seasonal",))
    with pytest.raises(TooLittleHistory):
        AutoForecaster().fit(whole.before(DAY_S))
    with pytest.raises(TooLittleHistory):
        AutoForecaster().fit(whole.before(10 * DAY_S)).predict(DAY_S, 24)
    with pytest.raises(NotFitted):
        AutoForecaster().predict(0, 24)

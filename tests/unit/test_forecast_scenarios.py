"""Scenarios: marginals are the quantiles, and errors last as long as the model's own did."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
import pytest
from scipy.stats import norm, spearmanr

from aicsched.domain.carbon import CarbonSeries, IntensityKind
from aicsched.domain.forecast import Forecast, PastErrors
from aicsched.errors import ForecastError
from aicsched.forecast import forecast_zones, make_forecaster, sample_scenarios, sample_scenarios_of
from aicsched.forecast.base import DAY_S, LEVELS
from aicsched.forecast.intervals import AdaptiveBand
from aicsched.forecast.issue import foresee
from aicsched.slots import HOUR_S, SlotGrid, parse_time
from aicsched.testing import example_series

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Array = NDArray[np.float64]

SLOTS: Final = 96


def errors_that_last(rows: int, slots: int = SLOTS, *, seed: int = 0) -> Array:
    """Draw errors that stay for hours and come again a day later."""
    rng = np.random.default_rng(seed)
    hours = rng.normal(size=(rows, 24))
    again = sum(np.roll(hours, lag, axis=1) for lag in range(8))[:, np.arange(slots) % 24] / 3.0
    fresh = rng.normal(size=(rows, slots + 7))
    return again + sum(fresh[:, lag : lag + slots] for lag in range(8)) / 3.0


def past_of(errors: Array, *, first_day: int = 0) -> PastErrors:
    return PastErrors.of(DAY_S * (first_day + np.arange(len(errors), dtype=np.int64)), errors)


def forecast_of(
    past: PastErrors | None,
    *,
    slots: int = SLOTS,
    levels: tuple[float, ...] = LEVELS,
    step_s: int = HOUR_S,
    zone: str = "DE",
) -> Forecast:
    centre = 300 + 100 * np.sin(np.arange(slots) / 24 * 2 * np.pi)
    # Skewed: twice as wide above the middle as below.
    widths = np.array([0.1 * norm.ppf(level) * (2 if level > 0.5 else 1) for level in levels])
    quantiles = centre * np.exp(widths[:, None] * np.linspace(1, 3, slots))
    return Forecast(
        grid_zone=zone,
        kind=IntensityKind.AVERAGE,
        slots=SlotGrid(400 * DAY_S, step_s, slots),
        issue_time_s=400 * DAY_S,
        mean_g_per_kwh=centre,
        levels=levels,
        quantiles_g_per_kwh=quantiles,
        model="test",
        source="test",
        past_errors=past,
    )


def shuffled(past: PastErrors) -> PastErrors:
    """Return the same ranks without any order from slot to slot."""
    return replace(past, ranks=np.random.default_rng(0).permuted(past.ranks, axis=0))


def rank_correlation(rows: Array, lag: int) -> float:
    """Return the mean rank correlation between slots so far from each other."""
    slots = range(rows.shape[1] - lag)
    return float(np.mean([spearmanr(rows[:, slot], rows[:, slot + lag]).statistic for slot in slots]))


# ---------------------------------------------------------------- marginals
@pytest.mark.parametrize("levels", [LEVELS, (0.05, 0.25, 0.4, 0.6, 0.95), (0.2, 0.8)])
@pytest.mark.parametrize("kept", [True, False])
def test_marginals_are_the_quantiles(levels: tuple[float, ...], kept: bool) -> None:
    forecast = forecast_of(past_of(errors_that_last(120)) if kept else None, levels=levels)
    made = sample_scenarios(forecast, 12_000, 3)
    for level in levels:
        share = (made <= forecast.quantile(level)).mean(axis=0)
        # Five standard errors of a share.
        np.testing.assert_allclose(share, level, atol=5 * (level * (1 - level) / len(made)) ** 0.5)


def test_between_and_beyond_the_levels_values_are_as_stated() -> None:
    """With one width a side, values are a log-normal's of that width, to three standard deviations."""
    forecast = forecast_of(past_of(errors_that_last(500)))
    made = sample_scenarios(forecast, 20_000, 0)
    for slot in (0, 50, 95):
        width = np.log(forecast.quantile(0.9)[slot] / forecast.mean_g_per_kwh[slot]) / norm.ppf(0.9)
        above = np.log(np.quantile(made[:, slot], [0.7, 0.97, 0.995]) / forecast.mean_g_per_kwh[slot])
        np.testing.assert_allclose(above / width, norm.ppf([0.7, 0.97, 0.995]), rtol=0.06)
        below = np.log(np.quantile(made[:, slot], [0.03, 0.3]) / forecast.mean_g_per_kwh[slot])
        np.testing.assert_allclose(2 * below / width, norm.ppf([0.03, 0.3]), rtol=0.06)
        assert np.log(made[:, slot].max() / forecast.mean_g_per_kwh[slot]) <= 3.0 * width + 1e-9


def test_a_worse_rank_is_never_a_lower_value() -> None:
    past = past_of(errors_that_last(40))
    made = sample_scenarios(forecast_of(past), 40, 5)
    order = np.argsort(made, axis=0).argsort(axis=0)
    # As many scenarios as trajectories: each is used once, so the orders are the same up to the rows'.
    found = {tuple(row) for row in order.tolist()}
    assert found == {tuple(row) for row in past.ranks.tolist()}


def test_nothing_is_negative_where_quantiles_touch_zero() -> None:
    forecast = forecast_of(past_of(errors_that_last(30)))
    floor = np.array(forecast.quantiles_g_per_kwh)
    floor[:2] = 0.0
    low = replace(forecast, quantiles_g_per_kwh=floor, mean_g_per_kwh=floor[1])
    made = sample_scenarios(low, 500, 0)
    assert (made > 0).all()
    assert np.isfinite(made).all()
    flat = replace(forecast, quantiles_g_per_kwh=np.full_like(floor, 7.0))
    np.testing.assert_allclose(sample_scenarios(flat, 20, 0), 7.0)


# ---------------------------------------------------------------- dependence
@pytest.mark.parametrize("count", [120, 700])
def test_errors_last_as_those_of_the_past(count: int) -> None:
    errors = errors_that_last(120)
    for lag, at_least in ((1, 0.8), (24, 0.4)):
        wanted = rank_correlation(errors, lag)
        assert wanted > at_least
        made = sample_scenarios(forecast_of(past_of(errors)), count, 1)
        assert rank_correlation(made, lag) == pytest.approx(wanted, abs=0.04)
        mixed = sample_scenarios(forecast_of(shuffled(past_of(errors))), count, 1)
        assert rank_correlation(mixed, lag) != pytest.approx(wanted, abs=0.3)


def test_each_scenario_is_a_fair_draw_however_few_there_are() -> None:
    forecast = forecast_of(past_of(errors_that_last(60)))
    singles = np.concatenate([sample_scenarios(forecast, 1, seed) for seed in range(2000)])
    share = (singles <= forecast.quantile(0.5)).mean(axis=0)
    np.testing.assert_allclose(share, 0.5, atol=5 * 0.5 / 2000**0.5)
    assert rank_correlation(singles, 1) == pytest.approx(rank_correlation(errors_that_last(60), 1), abs=0.05)


def test_a_seed_gives_the_same_scenarios_and_more_of_them_start_alike() -> None:
    for past in (past_of(errors_that_last(50)), None):
        forecast = forecast_of(past)
        few, many = sample_scenarios(forecast, 80, 9), sample_scenarios(forecast, 200, 9)
        np.testing.assert_array_equal(few, sample_scenarios(forecast, 80, 9))
        assert (few != sample_scenarios(forecast, 80, 10)).mean() > 0.9
        if past is not None:
            np.testing.assert_array_equal(few, many[:80])


@pytest.mark.parametrize("past", [None, past_of(errors_that_last(9))], ids=["none", "too few"])
def test_without_past_errors_correlation_falls_as_stated(past: PastErrors | None) -> None:
    made = sample_scenarios(forecast_of(past), 6000, 0)
    for lag, wanted in ((1, 0.94), (6, 0.72), (24, 0.43), (72, 0.18)):
        # Of normal variables rank correlation is 6/π · arcsin(r/2).
        assert rank_correlation(made, lag) == pytest.approx(6 / np.pi * np.arcsin(wanted / 2), abs=0.03)
    quarters = sample_scenarios(forecast_of(None, step_s=900), 6000, 0)
    assert rank_correlation(quarters, 4) == pytest.approx(rank_correlation(made, 1), abs=0.01)


# ---------------------------------------------------------------- several zones
def test_zones_err_together_as_they_did() -> None:
    errors = errors_that_last(90)
    other = 0.9 * errors + 0.4 * errors_that_last(90, seed=1)
    pair = {
        "DE": forecast_of(past_of(errors)),
        "FR": forecast_of(past_of(other[20:], first_day=20), zone="FR"),
        "SE": forecast_of(None, zone="SE"),
    }
    made = sample_scenarios_of(pair, 400, 2)

    def between(one: str, two: str) -> float:
        return float(np.mean([spearmanr(made[one][:, s], made[two][:, s]).statistic for s in range(SLOTS)]))

    wanted = np.mean([spearmanr(errors[20:, s], other[20:, s]).statistic for s in range(SLOTS)])
    assert wanted > 0.8
    assert between("DE", "FR") == pytest.approx(wanted, abs=0.03)
    assert abs(between("DE", "SE")) < 0.1
    # Nothing in common: independent, and still right on their own.
    pair["FR"] = forecast_of(past_of(other, first_day=200), zone="FR")
    made = sample_scenarios_of(pair, 400, 2)
    assert abs(between("DE", "FR")) < 0.1
    assert rank_correlation(made["FR"], 1) == pytest.approx(rank_correlation(other, 1), abs=0.04)
    assert sample_scenarios_of({}, 5, 0) == {}


# ---------------------------------------------------------------- from models
@pytest.mark.parametrize(("model", "rows"), [("ridge", 20), ("seasonal", 25)])
@pytest.mark.parametrize("horizon", [5, 96, 130])
def test_models_tell_their_past_errors(model: str, rows: int, horizon: int) -> None:
    series = example_series(days=120)
    made = make_forecaster(model).fit(series).predict(series.slots.end_s, horizon)
    assert made.past_errors is not None
    times_s, ranks = made.past_errors.issue_times_s, made.past_errors.ranks
    assert ranks.shape == (len(times_s), horizon)
    assert len(times_s) >= rows
    # Issued at the same time of day, and all that they foresaw had happened.
    assert set((series.slots.end_s - times_s) % DAY_S) == {0}
    assert times_s[-1] + horizon * HOUR_S <= series.slots.end_s
    assert not ranks.flags.writeable
    again = pickle.loads(pickle.dumps(made))
    np.testing.assert_array_equal(again.past_errors.ranks, ranks)
    np.testing.assert_array_equal(sample_scenarios(again, 30, 4), sample_scenarios(made, 30, 4))


def test_the_seasonal_profile_errs_as_its_forecasts_from_the_past_did() -> None:
    """With the smoothing it has settled on: the ranks are those of forecasts made anew, nearly everywhere."""
    series = example_series(days=60)
    made = make_forecaster("seasonal").fit(series).predict(series.slots.end_s, 48)
    assert made.past_errors is not None
    errors = []
    for time_s in made.past_errors.issue_times_s.tolist():
        then = make_forecaster("seasonal").fit(series.before(time_s)).predict(time_s, 48)
        errors.append(np.log(series.window(then.slots).values_g_per_kwh / then.mean_g_per_kwh))
    ranks = made.past_errors.ranks
    found = [spearmanr(np.array(errors)[:, slot], ranks[:, slot]).statistic for slot in range(48)]
    assert np.median(found) > 0.9


def test_errors_of_all_lead_days_are_of_the_same_past_day() -> None:
    """Slots an hour apart across midnight hang together as well as those within a day."""
    rng = np.random.default_rng(8)
    noise = rng.normal(size=24 * 400 + 200)
    slow = np.zeros_like(noise)
    for hour in range(1, len(noise)):
        slow[hour] = 0.98 * slow[hour - 1] + noise[hour]
    values = 300 * np.exp(0.02 * slow[200:])
    series = replace(example_series(days=400), values_g_per_kwh=values)
    made = make_forecaster("ridge").fit(series).predict(series.slots.end_s, 168)
    assert made.past_errors is not None
    ranks = made.past_errors.ranks
    # Hour 96 is where the second regression takes over, from other origins.
    for seam in (24, 48, 72, 96, 120):
        assert spearmanr(ranks[:, seam - 1], ranks[:, seam]).statistic > 0.85


def test_a_late_forecast_keeps_the_errors_of_its_slots() -> None:
    series = example_series(days=90)
    whole = make_forecaster("ridge").fit(series).predict(series.slots.end_s, 26)
    late = foresee(
        make_forecaster("ridge").fit(series), series, at_s=series.slots.end_s + 2 * HOUR_S, horizon=24
    )
    assert whole.past_errors is not None
    assert late.past_errors is not None
    np.testing.assert_array_equal(late.past_errors.ranks, whole.past_errors.ranks[:, 2:])
    np.testing.assert_array_equal(
        late.past_errors.issue_times_s, whole.past_errors.issue_times_s + 2 * HOUR_S
    )
    np.testing.assert_array_equal(sample_scenarios(late, 9, 0), sample_scenarios(whole, 9, 0)[:, 2:])


def test_zones_of_different_lateness_still_err_together() -> None:
    """One zone's data end three hours before the other's: their past issue times meet all the same."""
    one = example_series(days=90, zone="DE")
    short = one.before(one.slots.end_s - 3 * HOUR_S)
    made = forecast_zones({"DE": one, "FR": replace(short, grid_zone="FR")}, at_s=one.slots.end_s, horizon=24)
    drawn = sample_scenarios_of(made, 300, 0)
    assert made["FR"].flags == ("degraded", "late:3")
    assert spearmanr(drawn["DE"][:, 12], drawn["FR"][:, 12]).statistic > 0.5


def test_a_wider_band_keeps_the_errors() -> None:
    forecast = forecast_of(past_of(errors_that_last(30)))
    band = AdaptiveBand(4, 24)
    band.log_widths_[:] = 0.5
    wide = band.widened(forecast)
    assert wide.past_errors is forecast.past_errors
    spread = [np.log(sample_scenarios(item, 90, 1)).std(axis=0) for item in (forecast, wide)]
    np.testing.assert_allclose(spread[1] / spread[0], np.exp(0.5), rtol=0.02)


# ---------------------------------------------------------------- refusals
def test_bad_requests_are_refused() -> None:
    forecast = forecast_of(None)
    for count, seed, words in ((0, 1, "are none"), (5, -1, "negative")):
        with pytest.raises(ForecastError, match=words):
            sample_scenarios(forecast, count, seed)
        with pytest.raises(ForecastError, match=words):
            sample_scenarios_of({"DE": forecast}, count, seed)
    with pytest.raises(ForecastError, match="no spread"):
        sample_scenarios(forecast_of(None, levels=(0.5,)), 5, 1)
    other = replace(forecast, issue_time_s=forecast.issue_time_s + HOUR_S)
    with pytest.raises(ForecastError, match="different issue times"):
        sample_scenarios_of({"DE": forecast, "FR": other}, 5, 1)


def test_past_errors_that_are_none_are_refused() -> None:
    times_s = np.array([0, 1], dtype=np.int64)
    order = np.array([[0], [1]], dtype=np.uint16)
    for times, ranks, words in (
        (times_s[:1], order, "issue times of"),
        (times_s[::-1], order, "don't rise"),
        (times_s, np.array([[0], [2]]), "no order"),
    ):
        with pytest.raises(ForecastError, match=words):
            PastErrors(issue_times_s=times, ranks=ranks)
    with pytest.raises(ForecastError, match="over 5 slots for a forecast of 96"):
        forecast_of(past_of(errors_that_last(12, 5)))


# ---------------------------------------------------------------- real grids, never the published window
def read_real(folder: Path, zone: str) -> CarbonSeries:
    parquet = pytest.importorskip("pyarrow.parquet")
    file = folder / "data" / "carbon" / f"ccast13_{zone}.parquet"
    values = parquet.read_table(file, columns=["ci_lifecycle"]).column(0).to_numpy().astype(float)
    return CarbonSeries(
        grid_zone=zone,
        kind=IntensityKind.AVERAGE,
        slots=SlotGrid(parse_time("2020-01-01T00:00Z"), HOUR_S, len(values)),
        values_g_per_kwh=values,
        source=f"ccast13:{zone}",
    )


def held(forecast: Forecast, actual: Array, windows: NDArray[np.int64]) -> float:
    """Return how often the 80 % band of means over windows, shape (n, length), holds the actual mean."""
    drawn = sample_scenarios(forecast, 240, 7)[:, windows].mean(axis=2)
    low, high = np.quantile(drawn, [0.1, 0.9], axis=0)
    found = actual[windows].mean(axis=1)
    return float(((found >= low) & (found <= high)).mean())


def test_real_windows_are_covered_as_promised(shared_data: Path) -> None:
    """What it is for: 80 % bands of the mean of four hours, at once and over four days."""
    at_once = np.arange(0, 93, 4)[:, None] + np.arange(4)
    over_days = np.arange(24)[:, None] + 24 * np.arange(4)
    shares: dict[tuple[str, str], list[float]] = {}
    for zone in ("DE", "CISO", "PJM"):
        series = read_real(shared_data, zone)
        model = make_forecaster("ridge")
        times_s = range(parse_time("2021-01-05T00:00Z"), parse_time("2021-06-26T00:00Z"), 2 * DAY_S)
        for index, time_s in enumerate(times_s):
            past = series.before(time_s)
            model = model.fit(past) if index % 14 == 0 else model.update(past)
            made = model.predict(time_s, SLOTS)
            actual = series.window(made.slots).values_g_per_kwh
            assert made.past_errors is not None
            ways = {"own": made.past_errors, "apart": shuffled(made.past_errors), "none": None}
            for name, past_errors in ways.items():
                given = replace(made, past_errors=past_errors)
                for kind, windows in (("at once", at_once), ("over days", over_days)):
                    shares.setdefault((name, kind), []).append(held(given, actual, windows))
    share = {key: float(np.mean(values)) for key, values in shares.items()}
    # Measured: 0.80 and 0.80; slot by slot 0.50 and 0.58; without past errors 0.79 and 0.73.
    for kind in ("at once", "over days"):
        assert 0.76 < share["own", kind] < 0.84, share
        assert share["apart", kind] < 0.65, share
    assert 0.76 < share["none", "at once"] < 0.84, share
    assert 0.68 < share["none", "over days"] < share["own", "over days"], share

"""Bands: right quantiles, honest margins, and coverage that survives drift."""

from __future__ import annotations

import numpy as np
import pytest

from aicsched.domain.carbon import CarbonSeries, IntensityKind
from aicsched.domain.forecast import Forecast
from aicsched.forecast.intervals import AdaptiveBand, adapt_width, debiased, residual_quantiles
from aicsched.slots import HOUR_S, SlotGrid


def test_many_residuals_give_plain_quantiles_of_the_leads_around() -> None:
    residuals = np.random.default_rng(0).normal(size=(20_000, 3))
    made = residual_quantiles(residuals, [0.1, 0.5, 0.9])
    np.testing.assert_allclose(made[:, 1], np.quantile(residuals, [0.1, 0.5, 0.9]), atol=2e-3)


def test_bands_cover_fresh_draws_as_promised() -> None:
    rng = np.random.default_rng(1)
    inside: list[float] = []
    for _ in range(300):
        band = residual_quantiles(rng.normal(size=(30, 4)), [0.1, 0.9])
        fresh = rng.normal(size=4)
        inside.append(float(((fresh >= band[0]) & (fresh <= band[1])).mean()))
    assert 0.78 < np.mean(inside) < 0.88


def test_few_and_old_residuals_widen_the_band() -> None:
    residuals = np.random.default_rng(2).normal(size=(20, 6))
    widths = [
        float(np.diff(residual_quantiles(residuals, [0.1, 0.9], age=age), axis=0).mean())
        for age in (1, 3, 99)
    ]
    assert widths[0] < widths[1] < widths[2] <= 2.0 * widths[0]


def test_one_residual_is_enough_to_answer() -> None:
    assert residual_quantiles(np.ones((1, 2)), [0.1, 0.5, 0.9]).tolist() == [[1.0, 1.0]] * 3


def test_debiasing_uses_only_what_was_known() -> None:
    residuals = np.array([[1.0], [3.0], [5.0], [7.0], [9.0]])
    # Known two rows later, mean of the newest two, half of it taken.
    wanted = [1.0, 3.0, 5.0 - 0.5 * 1.0, 7.0 - 0.5 * 2.0, 9.0 - 0.5 * 4.0]
    assert debiased(residuals, age=2, days=2, share=0.5)[:, 0].tolist() == wanted
    np.testing.assert_array_equal(debiased(residuals, age=1, days=5, share=0.0), residuals)


def test_widths_grow_on_misses_shrink_on_hits_and_stay_bounded() -> None:
    assert adapt_width(0.0, missed_share=1.0, target_share=0.2) == pytest.approx(0.08)
    assert adapt_width(0.0, missed_share=0.0, target_share=0.2) == pytest.approx(-0.02)
    assert adapt_width(0.9, missed_share=1.0, target_share=0.2) == 0.9


def constant_forecast(issue_s: int, half_width: float, levels: tuple[float, ...]) -> Forecast:
    centre = np.full(48, 100.0)
    offsets = np.array([0.0]) if len(levels) == 1 else np.linspace(-half_width, half_width, len(levels))
    return Forecast(
        grid_zone="z",
        kind=IntensityKind.AVERAGE,
        slots=SlotGrid(issue_s, HOUR_S, 48),
        issue_time_s=issue_s,
        mean_g_per_kwh=centre,
        levels=levels,
        quantiles_g_per_kwh=centre * np.exp(offsets)[:, None],
        model="m",
        source="s",
    )


@pytest.mark.parametrize("levels", [(0.1, 0.5, 0.9), (0.1, 0.9)])
@pytest.mark.parametrize("half_width", [0.08, 0.25])
def test_coverage_comes_back_to_its_level(half_width: float, levels: tuple[float, ...]) -> None:
    days = 160
    values = 100 * np.exp(0.1 * np.random.default_rng(3).normal(size=24 * days))
    series = CarbonSeries(
        grid_zone="z",
        kind=IntensityKind.AVERAGE,
        slots=SlotGrid(0, HOUR_S, 24 * days),
        values_g_per_kwh=values,
        source="s",
    )
    band, covered = AdaptiveBand(2, 24), np.zeros((days - 2, 2))
    for day in range(days - 2):
        issue_s = day * 86_400
        band.learn(series.before(issue_s))
        made = band.widened(constant_forecast(issue_s, half_width, levels))
        actual = values[24 * day : 24 * day + 48].reshape(2, 24)
        low, high = made.quantiles_g_per_kwh[0].reshape(2, 24), made.quantiles_g_per_kwh[-1].reshape(2, 24)
        covered[day] = ((actual >= low) & (actual <= high)).mean(axis=1)
    np.testing.assert_allclose(covered[80:].mean(axis=0), 0.8, atol=0.03)


def test_the_band_learns_from_nothing_that_is_not_yet_known() -> None:
    series = CarbonSeries(
        grid_zone="z",
        kind=IntensityKind.AVERAGE,
        slots=SlotGrid(0, HOUR_S, 96),
        values_g_per_kwh=np.full(96, 300.0),
        source="s",
    )
    band = AdaptiveBand(2, 24)
    band.widened(constant_forecast(0, 0.1, (0.1, 0.5, 0.9)))
    band.learn(series.before(23 * HOUR_S))
    assert band.log_widths_.tolist() == [0.0, 0.0]
    band.learn(series.before(24 * HOUR_S))
    assert band.log_widths_[0] > 0
    assert band.log_widths_[1] == 0.0


def test_unknown_outcomes_teach_nothing() -> None:
    series = CarbonSeries(
        grid_zone="z",
        kind=IntensityKind.AVERAGE,
        slots=SlotGrid(0, HOUR_S, 48),
        values_g_per_kwh=np.full(48, np.nan),
        source="s",
    )
    band = AdaptiveBand(2, 24)
    band.widened(constant_forecast(0, 0.1, (0.1, 0.5, 0.9)))
    band.learn(series)
    assert band.log_widths_.tolist() == [0.0, 0.0]

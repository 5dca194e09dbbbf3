"""From forecasts to figures, against sums written out by hand in plain numpy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from aicsched.errors import ForecastError
from aicsched.forecast.measure import ZoneRun, measure

DAY_S = 86_400
LEVELS = (0.05, 0.1, 0.5, 0.9)


def example(rows: int = 7, days: int = 2, first_h: int = 5) -> ZoneRun:
    rng = np.random.default_rng(8)
    shape = (rows, 24 * days)
    actual = rng.uniform(100, 400, shape)
    mean = actual * rng.uniform(0.7, 1.3, shape)
    spread = np.sort(rng.uniform(-100, 100, (rows, len(LEVELS), 24 * days)), axis=1)
    return ZoneRun(
        step_s=3600,
        issue_times_s=first_h * 3600 + DAY_S * np.arange(rows),
        actual_g_per_kwh=actual,
        mean_g_per_kwh=mean,
        levels=LEVELS,
        quantiles_g_per_kwh=mean[:, None] + spread,
        scale_g_per_kwh=31.0,
    )


def test_lead_days_are_means_over_origins_of_each_day() -> None:
    run = example()
    made = measure(run)
    a, m = run.actual_g_per_kwh, run.mean_g_per_kwh
    low, high = run.quantiles_g_per_kwh[:, 1], run.quantiles_g_per_kwh[:, 3]
    loss = (
        np.maximum(0.1 * (a - low), -0.9 * (a - low)) + np.maximum(0.9 * (a - high), -0.1 * (a - high))
    ) / 2
    for day in (0, 1):
        cut = slice(24 * day, 24 * day + 24)
        wanted = {
            "mape": (100 * np.abs(m - a) / a)[:, cut],
            "mae": np.abs(m - a)[:, cut],
            "mase": np.abs(m - a)[:, cut] / 31.0,
            "coverage80": ((a >= low) & (a <= high))[:, cut],
            "width80": (high - low)[:, cut],
            "pinball": loss[:, cut],
        }
        for name, values in wanted.items():
            assert getattr(made, name)[day] == pytest.approx(values.mean()), name
            np.testing.assert_allclose(made.per_origin[name][:, day], values.mean(axis=1))
        assert made.width80_percent[day] == pytest.approx(100 * (high - low)[:, cut].mean() / a.mean())
        assert made.pinball_percent[day] == pytest.approx(100 * loss[:, cut].mean() / a.mean())


def test_the_tail_is_the_95th_percentile_over_origins() -> None:
    run = example(rows=21)
    each = (100 * np.abs(run.mean_g_per_kwh / run.actual_g_per_kwh - 1)).mean(axis=1)
    # Of 21 sorted values the 95th percentile is the 20th.
    assert measure(run).mape_p95 == pytest.approx(np.sort(each)[19])


def test_calibration_counts_what_lies_below_each_level() -> None:
    run = example()
    made = measure(run)
    assert list(made.calibration) == ["0.05", "0.1", "0.5", "0.9"]
    for index, shares in enumerate(made.calibration.values()):
        below = run.actual_g_per_kwh <= run.quantiles_g_per_kwh[:, index]
        np.testing.assert_allclose(shares, [below[:, :24].mean(), below[:, 24:].mean()])


def test_coverage_by_hour_is_by_the_hour_of_the_slot_in_utc() -> None:
    run = example()
    inside = (run.actual_g_per_kwh >= run.quantiles_g_per_kwh[:, 1]) & (
        run.actual_g_per_kwh <= run.quantiles_g_per_kwh[:, 3]
    )
    # Issued at 05:00: the slot of 07:00 is the third of each day.
    assert measure(run).coverage80_by_hour[7] == pytest.approx(inside[:, [2, 26]].mean())
    assert measure(run).coverage80_by_hour[4] == pytest.approx(inside[:, [23, 47]].mean())


def test_half_hours_count_two_to_the_hour_and_eight_to_the_job() -> None:
    run = replace(example(), step_s=1800)
    made = measure(run)
    assert len(made.mape) == 1
    assert set(made.concordance) == {"24h"}
    a, m = run.actual_g_per_kwh, run.mean_g_per_kwh
    met = best = 0.0
    for actual, mean in zip(a, m, strict=True):
        costs = [actual[at : at + 8].mean() for at in range(41)]
        guesses = [mean[at : at + 8].mean() for at in range(41)]
        met, best = met + costs[int(np.argmin(guesses))], best + min(costs)
    assert made.regret["extra_share_24h"] == pytest.approx(met / best - 1)
    quarter = np.argsort(m, axis=1)[:, :12]
    paused = np.take_along_axis(a, quarter, axis=1).sum() / np.sort(a, axis=1)[:, :12].sum() - 1
    assert made.regret["interruptible_extra_share_24h"] == pytest.approx(paused)


def test_without_quantiles_bands_are_unknown_and_errors_are_not() -> None:
    run = example()
    bare = replace(run, levels=(), quantiles_g_per_kwh=run.quantiles_g_per_kwh[:, :0])
    made = measure(bare)
    assert made.mape == measure(run).mape
    for name in ("coverage80", "width80", "pinball", "width80_percent", "pinball_percent"):
        assert np.isnan(getattr(made, name)).all(), name
    assert np.isnan(made.coverage80_by_hour).all()
    assert made.calibration == {}


def test_slots_that_are_unknown_count_nowhere() -> None:
    run = example()
    holed = np.array(run.actual_g_per_kwh)
    holed[0, :24] = np.nan
    made = measure(replace(run, actual_g_per_kwh=holed))
    assert np.isnan(made.per_origin["mape"][0, 0])
    rest = measure(run).per_origin
    assert made.mape[0] == pytest.approx(rest["mape"][1:, 0].mean())
    assert made.coverage80[0] == pytest.approx(rest["coverage80"][1:, 0].mean())
    below = (run.actual_g_per_kwh <= run.quantiles_g_per_kwh[:, 3])[1:, :24].mean()
    assert made.calibration["0.9"][0] == pytest.approx(below)
    nothing = measure(replace(run, actual_g_per_kwh=np.full_like(holed, np.nan)))
    assert np.isnan(nothing.mape_p95)


@pytest.mark.parametrize("name", ["mean_g_per_kwh", "quantiles_g_per_kwh", "issue_times_s"])
def test_shapes_that_differ_are_refused(name: str) -> None:
    run = example()
    with pytest.raises(ForecastError, match="stand beside 7 forecasts of 48 slots"):
        replace(run, **{name: getattr(run, name)[1:]})

"""Metrics against figures worked out by hand and by brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from aicsched.forecast import metrics

NAN = float("nan")


def test_errors_by_hand() -> None:
    actual, forecast = np.array([100.0, 200.0, 50.0]), np.array([90.0, 220.0, 50.0])
    assert metrics.mape(actual, forecast) == pytest.approx((10 + 10 + 0) / 3)
    assert metrics.mae(actual, forecast) == pytest.approx(10.0)
    assert metrics.mase(actual, forecast, 4.0) == pytest.approx(2.5)


def test_unknown_actuals_are_left_out_and_zero_has_no_percentage() -> None:
    actual, forecast = np.array([NAN, 0.0, 10.0]), np.array([5.0, 5.0, 11.0])
    assert metrics.mape(actual, forecast) == pytest.approx(10.0)
    assert metrics.mae(actual, forecast) == pytest.approx(3.0)


def test_nothing_known_gives_nan_and_no_warning() -> None:
    none = np.array([NAN, NAN])
    one = np.ones(2)
    assert np.isnan(metrics.mape(none, one))
    assert np.isnan(metrics.mae(none, one))
    assert np.isnan(metrics.pinball(none, one, 0.5))
    assert np.isnan(metrics.coverage_share(none, one, one))
    assert np.isnan(metrics.mase(one, one, 0.0))
    assert np.isnan(metrics.seasonal_step(one, 24))


def test_pinball_weighs_misses_by_their_side() -> None:
    actual = np.array([10.0])
    assert metrics.pinball(actual, np.array([6.0]), 0.9) == pytest.approx(3.6)
    assert metrics.pinball(actual, np.array([14.0]), 0.9) == pytest.approx(0.4)


def test_the_median_minimises_its_pinball_loss() -> None:
    actual = np.random.default_rng(1).gamma(2.0, size=101)
    losses = [metrics.pinball(actual, np.full(101, guess), 0.5) for guess in np.sort(actual)]
    assert int(np.argmin(losses)) == 50


def test_coverage_counts_the_ends_as_inside() -> None:
    actual = np.array([1.0, 2.0, 3.0, 4.0])
    assert metrics.coverage_share(actual, np.full(4, 2.0), np.full(4, 3.0)) == 0.5
    assert metrics.mean_width(np.full(4, 2.0), np.full(4, 3.0)) == 1.0


def brute_concordance(actual: np.ndarray, forecast: np.ndarray) -> float:
    agree = pairs = 0.0
    for left, right in itertools.combinations(range(len(actual)), 2):
        truth, guess = actual[left] - actual[right], forecast[left] - forecast[right]
        if np.isnan(truth) or truth == 0:
            continue
        pairs += 1
        agree += 0.5 if guess == 0 else float((truth > 0) == (guess > 0))
    return agree / pairs if pairs else NAN


def test_concordance_equals_counting_all_pairs() -> None:
    rng = np.random.default_rng(3)
    actual = rng.integers(0, 6, (8, 20)).astype(float)
    actual[2, 4] = NAN
    actual[5] = 7.0
    forecast = rng.integers(0, 6, (8, 20)).astype(float)
    wanted = [brute_concordance(*pair) for pair in zip(actual, forecast, strict=True)]
    np.testing.assert_allclose(metrics.concordance(actual, forecast), wanted, equal_nan=True)


def test_concordance_of_perfect_reversed_and_flat_forecasts() -> None:
    actual = np.arange(9.0)[None]
    assert metrics.concordance(actual, actual)[0] == 1.0
    assert metrics.concordance(actual, -actual)[0] == 0.0
    assert metrics.concordance(actual, np.zeros((1, 9)))[0] == 0.5


def test_regret_equals_trying_every_start() -> None:
    rng = np.random.default_rng(5)
    actual, forecast = rng.uniform(50, 500, (12, 30)), rng.uniform(50, 500, (12, 30))
    met = best = now = 0.0
    for row in range(12):
        starts = range(30 - 4 + 1)
        cost = [actual[row, start : start + 4].mean() for start in starts]
        guess = [forecast[row, start : start + 4].mean() for start in starts]
        met, best, now = met + cost[int(np.argmin(guess))], best + min(cost), now + cost[0]
    made = metrics.window_regret(actual, forecast, 4)
    assert made.extra_share == pytest.approx(met / best - 1)
    assert made.now_extra_share == pytest.approx(now / best - 1)
    assert made.saving_share_of_oracle == pytest.approx((now - met) / (now - best))
    assert made.windows == 12


def test_the_oracle_has_no_regret_and_saves_all() -> None:
    actual = np.random.default_rng(6).uniform(50, 500, (5, 24))
    made = metrics.window_regret(actual, actual, 4)
    assert made.extra_share == pytest.approx(0.0)
    assert made.saving_share_of_oracle == pytest.approx(1.0)


def test_windows_with_an_unknown_value_are_left_out() -> None:
    actual = np.array([[4.0, 2.0, 1.0], [NAN, 1.0, 1.0]])
    assert metrics.window_regret(actual, np.ones((2, 3)), 1).windows == 1
    nothing = metrics.window_regret(np.full((1, 3), NAN), np.ones((1, 3)), 1)
    assert nothing.windows == 0
    assert np.isnan(nothing.extra_share)


def test_a_flat_grid_leaves_nothing_to_save() -> None:
    assert np.isnan(metrics.window_regret(np.ones((2, 5)), np.ones((2, 5)), 2).saving_share_of_oracle)


def test_the_scale_of_mase_survives_gaps() -> None:
    history = np.array([1.0, 2.0, NAN, 5.0, 4.0, 9.0])
    # Known pairs a period apart: 2 and 5, 5 and 9.
    assert metrics.seasonal_step(history, 2) == pytest.approx(3.5)
    assert np.isnan(metrics.seasonal_step(np.full(6, NAN), 2))


def brute_interruptible(actual: np.ndarray, forecast: np.ndarray, count: int) -> tuple[float, float, float]:
    """Try every choice of slots, the earliest first where the forecast is the same."""
    choices = list(itertools.combinations(range(len(actual)), count))
    met = min(choices, key=lambda slots: (sum(forecast[list(slots)]), slots))
    best = min(sum(actual[list(slots)]) for slots in choices)
    return sum(actual[list(met)]), best, sum(actual[:count])


@pytest.mark.parametrize("count", [1, 2, 4])
def test_interruptible_regret_equals_trying_every_choice(count: int) -> None:
    rng = np.random.default_rng(11)
    actual, forecast = rng.uniform(50, 500, (6, 9)), rng.integers(1, 6, (6, 9)) * 100.0
    each = [brute_interruptible(a, f, count) for a, f in zip(actual, forecast, strict=True)]
    met, best, now = np.sum(each, axis=0)
    made = metrics.interruptible_regret(actual, forecast, count)
    assert made.extra_share == pytest.approx(met / best - 1)
    assert made.now_extra_share == pytest.approx(now / best - 1)
    assert made.saving_share_of_oracle == pytest.approx((now - met) / (now - best))
    assert made.saving_share == pytest.approx((now - met) / now)
    assert made.oracle_saving_share == pytest.approx((now - best) / now)
    assert made.windows == 6


def test_interruptible_regret_leaves_out_rows_with_an_unknown_slot() -> None:
    actual = np.array([[3.0, 1.0, 2.0], [NAN, 1.0, 2.0]])
    forecast = np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]])
    made = metrics.interruptible_regret(actual, forecast, 1)
    assert (made.windows, made.extra_share, made.now_extra_share) == (1, 2.0, 2.0)
    assert np.isnan(metrics.interruptible_regret(actual[1:], forecast[1:], 1).extra_share)


def test_a_job_that_may_pause_never_does_worse_with_perfect_foresight() -> None:
    actual = np.random.default_rng(2).uniform(50, 500, (20, 24))
    whole, parts = metrics.window_regret(actual, actual, 6), metrics.interruptible_regret(actual, actual, 6)
    assert whole.extra_share == parts.extra_share == 0.0
    assert parts.now_extra_share > whole.now_extra_share


def test_coverage_by_hour_equals_counting() -> None:
    rng = np.random.default_rng(4)
    actual = rng.uniform(0, 10, (5, 30))
    actual[2, 3] = NAN
    low, high = rng.uniform(0, 4, (5, 30)), rng.uniform(6, 10, (5, 30))
    hours = rng.integers(0, 20, (5, 30))
    made = metrics.coverage_by_hour(actual, low, high, hours)
    for hour in range(24):
        inside = [
            bool(low[at] <= actual[at] <= high[at])
            for at in zip(*np.nonzero(hours == hour), strict=True)
            if np.isfinite(actual[at])
        ]
        if inside:
            assert made[hour] == pytest.approx(sum(inside) / len(inside))
        else:
            assert np.isnan(made[hour])

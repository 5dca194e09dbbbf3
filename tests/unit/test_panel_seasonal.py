"""Seasonal smoothing of many series: its recursion, its search, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from aicsched.errors import AicschedError, ForecastError, TooLittleHistory
from aicsched.forecast.kernels.seasonal_fit import SEASONAL_FIT
from aicsched.forecast.panel import fit_seasonal


def hourly(count: int, steps: int, *, seed: int = 0, gaps: float = 0.02) -> np.ndarray:
    rng = np.random.default_rng(seed)
    wave = 10 * np.sin(np.arange(steps) * 2 * np.pi / 24)
    walk = np.cumsum(rng.normal(size=(count, steps)), axis=1) * rng.uniform(0, 1, (count, 1))
    made = 50 + wave + walk + rng.normal(size=(count, steps)) * rng.uniform(0, 3, (count, 1))
    made[:, 48:][rng.random((count, steps - 48)) < gaps] = np.nan
    return made


def textbook(values: np.ndarray, period: int, alpha: float, gamma: float) -> tuple[float, float, list[float]]:
    """Run the component form as it stands in textbooks, on lists: squares, level, seasons by phase."""
    whole = values[: len(values) // period * period].reshape(-1, period)
    means = np.nanmean(whole, axis=1)
    seasons = np.nanmean(whole - means[:, None], axis=0).tolist()
    level, squares = float(means[0]), 0.0
    for step, value in enumerate(values.tolist()):
        season = seasons[step % period]
        if np.isnan(value):
            continue
        error = value - (level + season)
        squares += error**2 if step >= period else 0.0
        level = alpha * (value - season) + (1 - alpha) * level
        seasons[step % period] = gamma * (value - level) + (1 - gamma) * season
    return squares, level, seasons


@pytest.mark.parametrize("mode", ["numba", "numpy"])
@pytest.mark.parametrize(
    ("count", "steps", "period"), [(1, 49, 24), (5, 100, 7), (32, 200, 24), (70, 130, 2)]
)
def test_states_and_errors_are_the_textbooks(
    monkeypatch: pytest.MonkeyPatch, mode: str, count: int, steps: int, period: int
) -> None:
    monkeypatch.setenv("AICSCHED_KERNELS", mode)
    values = hourly(count, steps)
    found, seasons = SEASONAL_FIT(values, period)
    for row in range(0, count, 7):
        alpha, gamma, squares, level = found[row]
        expected = textbook(values[row], period, alpha, gamma)
        assert squares == pytest.approx(expected[0], rel=1e-9)
        assert level == pytest.approx(expected[1], rel=1e-9)
        phases = [expected[2][(steps + k) % period] for k in range(period)]
        np.testing.assert_allclose(seasons[row], phases, rtol=1e-7, atol=1e-9)


def test_compiled_loops_and_numpy_give_the_same_numbers() -> None:
    values = hourly(71, 24 * 14)
    values[3] = 4.0
    values[4] *= 1e-12
    values[5] *= 1e12
    values[6, 100:] = np.nan
    for mine, theirs in zip(SEASONAL_FIT.compiled()(values, 24), SEASONAL_FIT.twin(values, 24), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    for mine, theirs in zip(
        SEASONAL_FIT.loop(values[3:7, :60], 4), SEASONAL_FIT.twin(values[3:7, :60], 4), strict=True
    ):
        np.testing.assert_array_equal(mine, theirs)


def test_the_search_ends_by_the_least_error_that_scipy_finds() -> None:
    values = hourly(10, 24 * 14, seed=1)
    found, _ = SEASONAL_FIT.compiled()(values, 24)
    for row in range(10):

        def squares(roots: np.ndarray, row: int = row) -> float:
            return textbook(values[row], 24, roots[0] ** 2, roots[1] ** 2)[0]

        options = {"xatol": 1e-3, "fatol": 1e-6}
        runs = [
            minimize(squares, start, method="Nelder-Mead", bounds=[(0, 1)] * 2, options=options).fun
            for start in ((0.3, 0.3), (0.8, 0.2))
        ]
        assert found[row, 2] <= min(runs) * 1.0005


def test_it_foresees_better_than_the_day_before() -> None:
    values = hourly(60, 24 * 22, seed=2, gaps=0.0)
    past, future = values[:, : 24 * 21], values[:, 24 * 21 :]
    made = fit_seasonal(past, 24)
    ours = np.abs(made.forecast(24) - future).mean()
    assert ours < 0.9 * np.abs(past[:, -24:] - future).mean()
    assert made.forecast(30).shape == (60, 30)
    assert ((made.alpha >= 0) & (made.alpha <= 1) & (made.gamma >= 0) & (made.gamma <= 1)).all()
    assert (made.rmse > 0).all()


def test_series_without_later_values_have_no_error_known() -> None:
    values = hourly(2, 100)
    values[0, 24:] = np.nan
    made = fit_seasonal(values, 24)
    assert np.isnan(made.rmse[0])
    assert np.isfinite(made.rmse[1])
    assert np.isfinite(made.forecast(5)).all()


@pytest.mark.parametrize(
    ("values", "period", "error", "words"),
    [
        (np.zeros(50), 24, ForecastError, "no rows of series"),
        ([["a"]], 24, ForecastError, "no rows of numbers"),
        (np.zeros((1, 50)), 1, ForecastError, "season of 1"),
        (np.zeros((1, 48)), 24, TooLittleHistory, "48 steps are too few for seasons of 24"),
        (np.full((1, 50), np.inf), 24, ForecastError, "series 0: value inf at step 0"),
        (np.where(np.arange(50) < 25, np.nan, 1.0)[None], 24, TooLittleHistory, "first two periods"),
    ],
)
def test_what_can_not_be_fitted_is_refused(
    values: object, period: int, error: type[AicschedError], words: str
) -> None:
    with pytest.raises(error, match=words):
        fit_seasonal(values, period)


def test_a_horizon_of_nothing_is_refused() -> None:
    with pytest.raises(ForecastError, match="horizon of 0"):
        fit_seasonal(hourly(1, 60), 24).forecast(0)

"""Every kernel's numba form equals its numpy twin, on read-only input and with gaps."""

from __future__ import annotations

import numpy as np
import pytest

from aicsched.domain.carbon import frozen_array
from aicsched.forecast.kernels import CONCORDANCE, REGRET, SMOOTH


def windows(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    actual, forecast = rng.integers(1, 30, (6, 17)).astype(float), rng.uniform(1, 30, (6, 17))
    forecast[1] = 4.0  # all tied
    actual[2] = 4.0  # no pair differs
    actual[3, 5] = np.nan
    actual[4] = np.nan
    return frozen_array(actual), frozen_array(forecast)


@pytest.fixture(params=["numpy", "numba"])
def mode(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AICSCHED_KERNELS", request.param)
    return request.param


def test_concordance_in_both_modes(mode: str) -> None:
    actual, forecast = windows(0)
    np.testing.assert_allclose(
        CONCORDANCE(actual, forecast), CONCORDANCE.twin(actual, forecast), rtol=1e-6, equal_nan=True
    )


@pytest.mark.parametrize("length", [1, 4, 17])
def test_regret_in_both_modes(mode: str, length: int) -> None:
    actual, forecast = windows(1)
    made, twin = REGRET(actual, forecast, length), REGRET.twin(actual, forecast, length)
    np.testing.assert_allclose(made, twin, rtol=1e-6, equal_nan=True)
    assert np.isnan(made[3]).all()


def test_smoothing_in_both_modes(mode: str) -> None:
    rng = np.random.default_rng(2)
    values = frozen_array(5 + 0.1 * rng.normal(size=24 * 9))
    alphas, gammas = frozen_array([0.0, 0.1, 1.0]), frozen_array([0.3, 0.0, 1.0])
    made, twin = SMOOTH(values, alphas, gammas, 24), SMOOTH.twin(values, alphas, gammas, 24)
    np.testing.assert_allclose(made[0], twin[0], rtol=1e-6)
    np.testing.assert_allclose(made[1], twin[1], rtol=1e-6, atol=1e-12)


def test_smoothing_by_hand(mode: str) -> None:
    # Start level (1 + 3) / 2 = 2, profile (-1, +1); then 3 and 3 come, with alpha = gamma = 0.5.
    values, half = frozen_array([1.0, 3.0, 3.0, 3.0]), frozen_array([0.5])
    levels, seasons = SMOOTH(values, half, half, 2)
    np.testing.assert_allclose(levels[0], [2.0, 2.0, 3.0, 2.5])
    np.testing.assert_allclose(seasons[0], [-1.0, 1.0, -0.5, 0.75])


def test_plain_loops_agree_too() -> None:
    actual, forecast = windows(3)
    np.testing.assert_allclose(
        CONCORDANCE.loop(actual, forecast), CONCORDANCE.twin(actual, forecast), equal_nan=True
    )
    np.testing.assert_allclose(
        REGRET.loop(actual, forecast, 4), REGRET.twin(actual, forecast, 4), equal_nan=True
    )
    half = frozen_array([0.5])
    values = frozen_array(np.arange(7.0))
    for mine, theirs in zip(
        SMOOTH.loop(values, half, half, 3), SMOOTH.twin(values, half, half, 3), strict=True
    ):
        np.testing.assert_allclose(mine, theirs)


def test_small_work_stays_below_the_compiling_threshold() -> None:
    from aicsched.jit import AUTO_WORK

    actual, forecast = windows(4)
    assert CONCORDANCE.work(actual, forecast) < AUTO_WORK
    assert REGRET.work(actual, forecast, 4) < AUTO_WORK
    assert (
        SMOOTH.work(frozen_array(np.ones(1344)), frozen_array(np.ones(12)), frozen_array(np.ones(12)), 24)
        < AUTO_WORK
    )

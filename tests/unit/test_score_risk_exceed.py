"""Risk from past situations: its two forms, Monte Carlo of a known process, and whether odds come true."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from aicsched.errors import InputError
from aicsched.score.risk.exceed import exceedance, trailing_top
from aicsched.score.risk.kernels import CURVES, DESCRIBE, MOMENTS
from aicsched.score.risk.kernels import layout as at
from aicsched.score.risk.recalibrate import Odds, fit_odds, fit_shares, recalibrated
from aicsched.score.slo_risk import beta_tail

DAY = 24
DAILY, KEPT, SHOCK = 0.18, 0.8, 0.05


def profile(hours: np.ndarray) -> np.ndarray:
    return 0.45 + DAILY * np.sin(2 * np.pi * hours / DAY)


def panel(nodes: int, slots: int, seed: int) -> np.ndarray:
    """Make loads of a known process: a daily profile and an autoregression around it."""
    rng = np.random.default_rng(seed)
    off = np.zeros((nodes, slots))
    for slot in range(1, slots):
        off[:, slot] = KEPT * off[:, slot - 1] + SHOCK * rng.normal(size=nodes)
    return profile(np.arange(slots)) + off


def true_risk(past: np.ndarray, horizon: int, limit: float, runs: int = 4000) -> np.ndarray:
    """Simulate on from the present of each node, with the process known."""
    rng = np.random.default_rng(9)
    slots = past.shape[1]
    off = np.repeat((past[:, -1] - profile(np.array(slots - 1)))[:, None], runs, axis=1)
    broke = np.zeros(off.shape, dtype=bool)
    for ahead in range(horizon):
        off = KEPT * off + SHOCK * rng.normal(size=off.shape)
        broke |= profile(np.array(slots + ahead)) + off > limit
    return broke.mean(axis=1)


# ---------------------------------------------------------------- kernels
@pytest.mark.parametrize("horizon", [1, 5, 24, 30])
def test_loops_and_numpy_agree(horizon: int) -> None:
    rng = np.random.default_rng(horizon)
    past = np.clip(panel(20, 300, horizon), 0, 1)
    past[rng.random(past.shape) < 0.05] = np.nan
    past[0, :150] = past[1] = past[2, 280:] = np.nan
    past[3] = 0.4
    top = trailing_top(past, horizon)
    span = np.array([290, 7, horizon, max(1, horizon // 4)])
    inputs, twin = np.empty((20, 300, at.FEATURES)), np.empty((20, 300, at.FEATURES))
    DESCRIBE.loop(past, top, horizon, DAY, inputs)
    DESCRIBE.twin(past, top, horizon, DAY, twin)
    np.testing.assert_array_equal(inputs, twin)
    sums = np.empty((20, at.SUMS)), np.empty((20, at.SUMS))
    MOMENTS.loop(inputs, top, span, sums[0])
    MOMENTS.twin(inputs, top, span, sums[1])
    np.testing.assert_allclose(sums[0], sums[1], atol=1e-13)
    fits = np.zeros((20, at.FIT))
    fits[:, : at.SLOPES] = sums[0][:, : at.PRODUCT]
    fits[:, at.SLOPES :] = rng.normal(scale=0.1, size=(20, at.FEATURES))
    memory = np.exp(-np.arange(300)[:, None] / np.array([20.0, 500.0]))
    limits = np.where(np.arange(20) == 4, np.nan, 0.8)
    made = np.empty((20, 2, 33)), np.empty((20, 2, 33))
    for shift in (0.0, 1.0):
        CURVES.loop(inputs, top, span, fits, limits, memory, shift, made[0])
        CURVES.twin(inputs, top, span, fits, limits, memory, shift, made[1])
        np.testing.assert_allclose(made[0], made[1], atol=1e-12)
    assert np.isnan(made[0][[1, 4]]).all()
    assert not np.isnan(made[0][[0, 2, 3]]).any()


@pytest.mark.parametrize("horizon", [1, 2, 3, 7, 16])
def test_the_trailing_top_is_the_highest_known_value(horizon: int) -> None:
    rng = np.random.default_rng(0)
    past = rng.random((5, 60))
    past[rng.random(past.shape) < 0.3] = np.nan
    made = trailing_top(past, horizon)
    for row, slot in np.ndindex(past.shape):
        window = past[row, max(0, slot - horizon + 1) : slot + 1]
        known = window[~np.isnan(window)]
        if 2 * len(known) < horizon:
            assert np.isnan(made[row, slot])
        else:
            assert made[row, slot] == known.max()


# ---------------------------------------------------------------- the forecast
@pytest.mark.parametrize("horizon", [1, 6, 12])
def test_risk_is_near_that_of_simulating_on(horizon: int) -> None:
    past, limit = panel(60, 28 * DAY, 1), 0.62
    truth = true_risk(past, horizon, limit)
    made = exceedance(past, np.full(60, limit), horizon=horizon, per_day=DAY)
    # One mean and one deviation of the past know neither the hour nor the present.
    moments = beta_tail(past.mean(axis=1), past.std(axis=1), limit)
    error = np.abs(made.risk[:, 0] - truth).mean()
    assert error < 0.11
    assert error < 0.4 * np.abs(moments - truth).mean()
    loaded = true_risk(past, horizon, limit - 0.12)
    assert np.abs(made.risk[:, 12] - loaded).mean() < 0.11


def test_stated_odds_come_true() -> None:
    horizon, limit = 4, 0.6
    loads = panel(200, 24 * DAY, 2)
    stated, came = [], []
    for slots in range(20 * DAY, 23 * DAY, 7):
        made = exceedance(loads[:, :slots], np.full(200, limit), horizon=horizon, per_day=DAY)
        stated.append(made.risk[:, 0])
        came.append((loads[:, slots : slots + horizon] > limit).any(axis=1))
    risk, broke = np.concatenate(stated), np.concatenate(came).astype(float)
    place = np.minimum((risk * 10).astype(int), 9)
    for decile in range(10):
        chosen = place == decile
        if chosen.sum() >= 150:
            error = np.sqrt(0.25 / chosen.sum())
            assert abs(risk[chosen].mean() - broke[chosen].mean()) < 0.03 + 2 * error
    assert np.mean((risk - broke) ** 2) < 0.5 * np.mean((broke.mean() - broke) ** 2)


def test_a_fleet_that_calmed_down_is_believed_soon() -> None:
    """All loads were higher until two days ago: long memories overstate, and past forecasts tell so."""
    loads = panel(100, 20 * DAY, 3)
    loads[:, : 16 * DAY] += 0.1
    made = exceedance(loads, np.full(100, 0.7), horizon=6, per_day=DAY)
    truth = true_risk(loads, 6, 0.7)
    assert np.abs(made.risk[:, 0] - truth).mean() < 0.1


def test_what_is_flat_and_far_from_its_limit_is_safe_and_near_it_is_not() -> None:
    past = np.stack([np.full(600, 0.2), np.full(600, 0.79), np.full(600, 0.85)])
    risk = exceedance(past, np.full(3, 0.8), horizon=4, per_day=DAY).risk
    assert risk[0, 0] < 0.01
    assert risk[1, 0] < 0.2
    assert risk[1, 8] > 0.8
    assert risk[2, 0] > 0.97


def test_a_week_that_comes_again_is_known() -> None:
    """Shocks that come at the same slot of each week: no level and no time of day tells them."""
    rng = np.random.default_rng(8)
    week = np.where(rng.random(7 * DAY) < 0.15, 0.9, 0.3)
    loads = np.clip(np.tile(week, 9) + 0.005 * rng.normal(size=9 * 7 * DAY), 0, 1)[None, :]
    missed = []
    for slots in range(8 * 7 * DAY, 8 * 7 * DAY + 60, 3):
        made = exceedance(loads[:, :slots], np.array([0.8]), horizon=2, per_day=DAY).risk[0, 0]
        missed.append((made - float((loads[0, slots : slots + 2] > 0.8).any())) ** 2)
    assert np.mean(missed) < 0.02  # the base rate alone misses by 0.2


def test_a_load_that_stays_is_known_to_stay() -> None:
    """Memory that hardly moves and jumps at times: what counts is how far it moves, not where it was."""
    rng = np.random.default_rng(9)
    steps = np.where(rng.random((80, 600)) < 0.004, rng.normal(scale=0.2, size=(80, 600)), 0.0)
    loads = np.clip(0.5 + np.cumsum(steps, axis=1), 0.05, 0.95)
    made = exceedance(loads, loads[:, -1] + 0.005, horizon=5, per_day=288).risk[:, 0]
    # Some 2 % jump within five slots, half of them upwards.
    assert np.median(made) < 0.03
    assert np.quantile(made, 0.9) < 0.1


def test_what_is_equal_to_its_limit_has_not_passed_it() -> None:
    made = exceedance(np.full((3, 400), 0.7), np.full(3, 0.8), horizon=4, per_day=DAY).risk
    assert (made[:, 10] < 0.05).all()
    assert (made[:, 11] > 0.95).all()


def test_long_horizons_and_short_pasts() -> None:
    past = panel(4, 5 * DAY, 4)
    short, long = (
        exceedance(past, np.full(4, 0.8), horizon=horizon, per_day=DAY).risk for horizon in (24, 96)
    )
    assert (long >= short - 0.05).all()
    none = exceedance(past[:, :3], np.full(4, 0.8), horizon=1, per_day=DAY)
    assert np.isnan(none.risk).all()
    assert none.checks == 0
    assert exceedance(np.empty((0, 50)), np.empty(0), horizon=1, per_day=DAY).risk.shape == (0, 101)


@given(seed=st.integers(0, 10_000), horizon=st.integers(1, 12), limit=st.floats(-0.5, 1.5))
@settings(max_examples=25, deadline=None)
def test_curves_are_probabilities_that_rise(seed: int, horizon: int, limit: float) -> None:
    rng = np.random.default_rng(seed)
    past = np.clip(panel(3, 120, seed), 0, 1)
    past[rng.random(past.shape) < 0.2] = np.nan
    risk = exceedance(past, np.full(3, limit), horizon=horizon, per_day=DAY, points=17).risk
    assert ((risk >= 0) & (risk <= 1)).all()
    assert (np.diff(risk, axis=1) >= 0).all()


def test_what_is_no_question_is_refused() -> None:
    for past, limits, horizon in (
        (np.zeros((2, 50)), np.zeros(3), 1),
        (np.zeros(50), np.zeros(1), 1),
        (np.zeros((2, 50)), np.zeros(2), 0),
    ):
        with pytest.raises(InputError, match="a horizon of"):
            exceedance(past, limits, horizon=horizon, per_day=DAY)


# ---------------------------------------------------------------- corrections
def test_shares_solve_their_quadratic_programme() -> None:
    rng = np.random.default_rng(5)
    errors = rng.normal(size=(3, 500)) * np.array([[0.3], [0.2], [0.4]]) + rng.normal(size=500) * 0.1
    weights = rng.random(500)
    square = (errors * weights) @ errors.T
    matrix = square / (np.trace(square) / 3 / weights.sum()) + 10 * np.eye(3)
    done = minimize(
        lambda w: w @ matrix @ w, np.full(3, 1 / 3), bounds=[(0, 1)] * 3,
        constraints=[{"type": "eq", "fun": lambda w: w.sum() - 1}], options={"ftol": 1e-14},
    )  # fmt: skip
    np.testing.assert_allclose(fit_shares(errors, weights), done.x, atol=2e-3)
    np.testing.assert_array_equal(fit_shares(np.zeros((2, 3)), np.ones(3)), [0.5, 0.5])


def test_odds_solve_their_penalised_likelihood() -> None:
    rng = np.random.default_rng(6)
    risk, weights = rng.uniform(0.01, 0.99, 800), rng.random(800)
    broke = (rng.random(800) < recalibrated(risk, Odds(-0.7, 0.6))).astype(float)
    x = np.log(risk / (1 - risk))

    def loss(ab: np.ndarray) -> float:
        z = ab[0] + ab[1] * x
        fit = weights @ (np.logaddexp(0, z) - broke * z)
        return fit + 200 * (ab[0] ** 2 + (ab[1] - 1) ** 2)

    done = minimize(loss, np.array([0.0, 1.0]), tol=1e-12)
    np.testing.assert_allclose(fit_odds(risk, broke, weights), done.x, atol=1e-4)
    assert fit_odds(np.array([0.0, 1.0]), np.array([0.0, 1.0]), np.ones(2)) == Odds()


def test_corrections_keep_order_and_ends() -> None:
    risk = np.linspace(0, 1, 5001)
    for odds in (Odds(), Odds(-2.0, 0.5), Odds(3.0, 1.4)):
        made = recalibrated(risk, odds)
        assert (np.diff(made) >= 0).all()
        assert (made[0], made[-1]) == (0.0, 1.0)
    np.testing.assert_allclose(recalibrated(risk, Odds()), risk, atol=1e-12)
    assert np.isnan(recalibrated(np.array([np.nan]), Odds(1.0, 1.0))).all()

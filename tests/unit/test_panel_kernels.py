"""The panel's kernels: compiled, in plain loops and in numpy the same numbers, and right by other ways."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from aicsched.forecast.kernels.panel import PANEL_FORECAST, PANEL_UPDATE
from aicsched.forecast.kernels.panel import layout as at
from aicsched.forecast.kernels.panel import update as loops
from aicsched.forecast.kernels.panel import update_twin as twins
from aicsched.forecast.panel.geometry import Geometry

if TYPE_CHECKING:
    from collections.abc import Callable

STEPS = {"per minute": 60, "five minutes": 300, "hourly": 3600, "six hours": 21_600}


def hard_series(seed: int, steps: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    walk = np.cumsum(rng.normal(size=(16, steps)), axis=1)
    made = 5 + 0.2 * walk + 3 * np.sin(np.arange(steps) / 9) + rng.normal(size=(16, steps))
    made[0] = 7.0
    made[1] = np.where(rng.random(steps) < 0.05, 90.0, 0.0)
    made[2, steps // 2 :] += 50
    made[3] = np.round(made[3])
    made[4] *= 1e12
    made[5] *= 1e-12
    made[6] = np.cumsum(np.exp(rng.normal(size=steps) * 3))
    made[7] = (-1.0) ** np.arange(steps)
    made[8] = 0.0
    made[rng.random(made.shape) < 0.04] = np.nan
    made[9, : steps // 2] = np.nan
    made[10, steps // 3 :] = np.nan
    made[11] = np.nan
    return made


def led(form: Callable[..., int], geometry: Geometry, values: np.ndarray, first: int) -> np.ndarray:
    state = np.repeat(geometry.fresh[None], len(values), axis=0)
    with np.errstate(all="raise"):
        form(state, values, first, geometry.sizes, geometry.anchors, geometry.tracked)
    return state


def foreseen(
    form: Callable[..., int], geometry: Geometry, state: np.ndarray, time: int
) -> tuple[np.ndarray, np.ndarray]:
    leads, levels = geometry.horizon + 7, (geometry.levels[0], 0.5, geometry.levels[-1])
    median = np.empty((len(state), leads), np.float32)
    bands = np.empty((len(state), len(levels), leads), np.float32)
    bounds = np.tile([0.5, 60.0], (len(state), 1))
    bounds[::2] = -np.inf, np.inf
    positions, mixes = geometry.positions(leads), geometry.mixes(levels)
    form(state, time, geometry.sizes, geometry.anchors, positions, mixes, bounds, median, bands)
    return median, bands


@pytest.mark.parametrize("horizon", [1, 2, 5, 60])
@pytest.mark.parametrize("step_s", STEPS.values(), ids=STEPS)
def test_compiled_loops_and_numpy_give_the_same_numbers(step_s: int, horizon: int) -> None:
    geometry = Geometry(step_s, horizon, (0.1, 0.5, 0.9))
    values = hard_series(horizon, 400)
    compiled = led(PANEL_UPDATE.compiled(), geometry, values, 987)
    numpy = led(PANEL_UPDATE.twin, geometry, values, 987)
    np.testing.assert_array_equal(compiled, numpy)
    for mine, theirs in zip(
        foreseen(PANEL_FORECAST.compiled(), geometry, compiled, 987 + 400),
        foreseen(PANEL_FORECAST.twin, geometry, compiled, 987 + 400),
        strict=True,
    ):
        np.testing.assert_array_equal(mine, theirs)


def test_plain_loops_give_the_same_numbers() -> None:
    geometry = Geometry(1800, 6, (0.25, 0.75))
    values = hard_series(5, 120)
    plain = led(PANEL_UPDATE.loop, geometry, values, 0)
    numpy = led(PANEL_UPDATE.twin, geometry, values, 0)
    np.testing.assert_array_equal(plain, numpy)
    for mine, theirs in zip(
        foreseen(PANEL_FORECAST.loop, geometry, plain, 120),
        foreseen(PANEL_FORECAST.twin, geometry, plain, 120),
        strict=True,
    ):
        np.testing.assert_array_equal(mine, theirs)


def test_the_same_with_compiling_switched_off() -> None:
    code = (
        "import numpy as np; from aicsched.forecast.panel import UtilisationPanel as P;"
        "p = P(['a', 'b'], step_s=3600, horizon=5);"
        "p.update(np.random.default_rng(0).normal(size=(2, 60)), time_s=0);"
        "print(p.forecast().quantiles.tobytes().hex())"
    )
    runs = []
    for extra in ({"NUMBA_DISABLE_JIT": "1", "AICSCHED_KERNELS": "numba"}, {"AICSCHED_KERNELS": "numpy"}):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, **extra},
            capture_output=True,
            text=True,
            check=True,
        )
        runs.append(done.stdout)
    assert runs[0] == runs[1]


def test_rows_more_than_a_block_are_all_done() -> None:
    geometry = Geometry(3600, 4, (0.1, 0.9))
    values = np.random.default_rng(0).normal(size=(twins.ROWS + 7, 30))
    compiled = led(PANEL_UPDATE.compiled(), geometry, values, 3)
    np.testing.assert_array_equal(led(PANEL_UPDATE.twin, geometry, values, 3), compiled)
    np.testing.assert_array_equal(led(PANEL_UPDATE.twin, geometry, values[-9:], 3), compiled[-9:])


WEIGHTS = arrays(np.float64, at.EXPERTS, elements=st.floats(0.01, 1.0))
VALUES = arrays(np.float64, at.EXPERTS, elements=st.integers(-3, 3).map(float))


@settings(max_examples=200, deadline=None)
@given(WEIGHTS, VALUES, st.integers(0, at.EXPERTS - 1))
def test_the_weighted_median_by_sorting(weights: np.ndarray, values: np.ndarray, guess: int) -> None:
    weights = weights / weights.sum()
    order = np.argsort(values)
    reached = np.cumsum(weights[order]) >= 0.5 - 1e-8
    expected = values[order][np.argmax(reached)]
    below = np.array([weights[values <= value].sum() for value in values])
    if (np.abs(below - 0.5) < 1e-6).any():
        return  # either neighbour is a median then
    assert values[loops.weighted_median(values, weights, guess)] == expected
    columns = [np.array([value]) for value in values], [np.array([weight]) for weight in weights]
    assert twins.weighted_median(*columns)[0] == expected


def test_the_autoregression_is_least_squares_with_forgetting() -> None:
    rng = np.random.default_rng(6)
    inputs, target = rng.normal(size=(400, at.REGRESSORS)), rng.normal(size=400)
    target += inputs @ np.linspace(-1, 1, at.REGRESSORS)
    w = Geometry(3600, 4, (0.5,)).fresh.astype(np.float64)
    w[at.SPREAD], w[at.STEP_CHANGE] = 1.0, 1e9
    prior, moments = np.eye(at.REGRESSORS), np.zeros(at.REGRESSORS)
    for x, y in zip(inputs, target, strict=True):
        # The first value isn't forgotten yet: the covariance is as wide as it may get.
        trace = np.trace(np.linalg.inv(at.FORGETTING * (prior + np.outer(x, x) / at.FORGETTING)))
        kept = at.FORGETTING if trace <= at.REGRESSORS else 1.0
        loops.learn(w, x.copy(), np.empty(at.REGRESSORS), y)
        # The textbook's normal equations, each old value weighing less by the forgetting factor.
        prior = kept * (prior + np.outer(x, x) / at.FORGETTING)
        moments = kept * (moments + x * y / at.FORGETTING)
    found = w[at.COEFFICIENTS : at.COEFFICIENTS + at.REGRESSORS]
    np.testing.assert_allclose(found, np.linalg.solve(prior, moments), rtol=1e-9)


def test_the_smoothed_level_is_the_textbooks() -> None:
    values = np.random.default_rng(7).normal(size=50)
    geometry = Geometry(3600, 4, (0.5,))
    state = led(PANEL_UPDATE.twin, geometry, values[None], 0)
    level = values[0]
    for step, value in enumerate(values[1:], 1):
        gain = max(at.SES_GAIN, 1 / (step + 1))
        level = gain * value + (1 - gain) * level
    assert state[0, at.SES] == pytest.approx(level, rel=1e-5)
    assert state[0, at.WEEK_LEVEL] == pytest.approx(values.mean(), rel=1e-4)  # less than a week of it


def test_weights_add_up_and_bands_rise() -> None:
    geometry = Geometry(300, 60, (0.05, 0.3, 0.5, 0.8, 0.95))
    state = led(PANEL_UPDATE.twin, geometry, hard_series(8, 500), 0)
    for block in geometry.anchors[:, at.BLOCK]:
        weights = state[:, block + at.WEIGHTS : block + at.OFFSETS]
        np.testing.assert_allclose(weights.sum(axis=1), 1.0, rtol=1e-6)
        assert (weights >= at.FIXED_SHARE / at.EXPERTS * 0.999).all()
    leads = 30
    median = np.empty((16, leads), np.float32)
    bands = np.empty((16, 5, leads), np.float32)
    bounds = np.tile([-np.inf, np.inf], (16, 1))
    PANEL_FORECAST.twin(
        state, 500, geometry.sizes, geometry.anchors, geometry.positions(leads),
        geometry.mixes(geometry.levels), bounds, median, bands,
    )  # fmt: skip
    known = np.isfinite(bands).all(axis=(1, 2))
    assert known.sum() >= 14
    assert (np.diff(bands[known], axis=1) >= 0).all()
    np.testing.assert_array_equal(bands[known, 2], median[known])

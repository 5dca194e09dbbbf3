"""What must hold for any history: no future, no crossing, no unit, equal kernels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aicsched.domain.carbon import CarbonSeries, IntensityKind, frozen_array
from aicsched.forecast.intervals import residual_quantiles
from aicsched.forecast.kernels import CONCORDANCE, REGRET, SMOOTH
from aicsched.forecast.models.auto import AutoForecaster
from aicsched.forecast.models.ridge import LogRidge
from aicsched.forecast.models.seasonal import SeasonalProfile
from aicsched.slots import HOUR_S, SlotGrid

MODELS = (SeasonalProfile, LogRidge, AutoForecaster)
few = settings(max_examples=15, deadline=None)


def history(seed: int, days: int, *, scale: float = 1.0, gaps: int = 0) -> CarbonSeries:
    rng = np.random.default_rng(seed)
    hours = np.arange(24 * days)
    walk = np.cumsum(rng.normal(0, 0.02, hours.size))
    values = scale * 300 * np.exp(0.3 * np.cos(2 * np.pi * hours / 24) + 0.3 * np.tanh(walk))
    values[rng.choice(hours.size - 24, gaps, replace=False)] = np.nan
    return CarbonSeries(
        grid_zone="z",
        kind=IntensityKind.AVERAGE,
        slots=SlotGrid(0, HOUR_S, hours.size),
        values_g_per_kwh=values,
        source="s",
    )


seeds = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("model", MODELS)
@few
@given(seed=seeds, hour=st.integers(22 * 24, 30 * 24), gaps=st.integers(0, 20))
def test_nothing_behind_the_issue_time_changes_a_forecast(
    model: type[LogRidge], seed: int, hour: int, gaps: int
) -> None:
    whole = history(seed, 30, gaps=gaps)
    values = np.array(whole.values_g_per_kwh)
    values[hour:] = np.nan_to_num(values[hour:], nan=200.0)[::-1] * 1.3
    other = CarbonSeries(
        grid_zone="z", kind=whole.kind, slots=whole.slots, values_g_per_kwh=values, source="s"
    )
    issue_s = hour * HOUR_S
    if np.isnan(values[hour - 24 : hour]).sum() > 6:
        return
    one, two = (model().fit(item.before(issue_s)).predict(issue_s, 30) for item in (whole, other))
    three = model().fit(other).predict(issue_s, 30)
    np.testing.assert_array_equal(one.mean_g_per_kwh, two.mean_g_per_kwh)
    np.testing.assert_array_equal(one.quantiles_g_per_kwh, three.quantiles_g_per_kwh)


@pytest.mark.parametrize("model", MODELS)
@few
@given(seed=seeds, days=st.integers(21, 50), short=st.integers(1, 96), long=st.integers(1, 96))
def test_a_longer_horizon_starts_with_the_shorter_one(
    model: type[LogRidge], seed: int, days: int, short: int, long: int
) -> None:
    past = history(seed, days)
    first, second = sorted((short, long))
    one, two = (model().fit(past).predict(past.slots.end_s, horizon) for horizon in (first, second))
    np.testing.assert_allclose(one.mean_g_per_kwh, two.mean_g_per_kwh[:first], rtol=1e-12)
    np.testing.assert_allclose(one.quantiles_g_per_kwh, two.quantiles_g_per_kwh[:, :first], rtol=1e-12)


@pytest.mark.parametrize("model", MODELS)
@few
@given(seed=seeds, scale=st.floats(0.1, 4.0))
def test_forecasts_scale_with_the_unit(model: type[LogRidge], seed: int, scale: float) -> None:
    one, two = history(seed, 40), history(seed, 40, scale=scale)
    first, second = (model().fit(item).predict(item.slots.end_s, 48) for item in (one, two))
    np.testing.assert_allclose(second.mean_g_per_kwh, scale * first.mean_g_per_kwh, rtol=1e-6)
    np.testing.assert_allclose(second.quantiles_g_per_kwh, scale * first.quantiles_g_per_kwh, rtol=1e-6)


@few
@given(
    seed=seeds,
    rows=st.integers(1, 40),
    levels=st.lists(st.floats(0.01, 0.99), min_size=1, max_size=7, unique=True).map(sorted),
)
def test_quantiles_of_residuals_never_cross(seed: int, rows: int, levels: list[float]) -> None:
    residuals = np.random.default_rng(seed).standard_t(2, (rows, 5))
    made = residual_quantiles(residuals, levels)
    assert np.isfinite(made).all()
    assert (np.diff(made, axis=0) >= 0).all()


matrices = st.tuples(seeds, st.integers(1, 5), st.integers(1, 12), st.integers(0, 3))


@few
@given(matrices, st.data())
def test_kernels_equal_their_twins(shape: tuple[int, int, int, int], data: st.DataObject) -> None:
    seed, rows, slots, holes = shape
    rng = np.random.default_rng(seed)
    actual, forecast = rng.integers(0, 5, (rows, slots)).astype(float), rng.uniform(0, 5, (rows, slots))
    actual.flat[rng.choice(actual.size, min(holes, actual.size), replace=False)] = np.nan
    inputs = frozen_array(actual), frozen_array(forecast)
    length = data.draw(st.integers(1, slots))
    np.testing.assert_allclose(
        CONCORDANCE.compiled()(*inputs), CONCORDANCE.twin(*inputs), rtol=1e-6, equal_nan=True
    )
    np.testing.assert_allclose(
        REGRET.compiled()(*inputs, length), REGRET.twin(*inputs, length), rtol=1e-6, equal_nan=True
    )


@few
@given(seed=seeds, count=st.integers(4, 60), period=st.integers(1, 4), pairs=st.integers(1, 5))
def test_smoothing_equals_its_twin(seed: int, count: int, period: int, pairs: int) -> None:
    rng = np.random.default_rng(seed)
    inputs = (
        frozen_array(rng.normal(size=count)),
        frozen_array(rng.uniform(size=pairs)),
        frozen_array(rng.uniform(size=pairs)),
    )
    for mine, theirs in zip(SMOOTH.compiled()(*inputs, period), SMOOTH.twin(*inputs, period), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-6, atol=1e-9)

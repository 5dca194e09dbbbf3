"""The blend: boosted trees, the forecast through the sources, and what is used when."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from aicsched.domain.carbon import CarbonSeries, IntensityKind
from aicsched.domain.source_mix import SourceMix
from aicsched.errors import InputError
from aicsched.forecast.base import DAY_S, Covariates, prepare
from aicsched.forecast.kernels import BOOST
from aicsched.forecast.mix import read_mix
from aicsched.forecast.models.auto import AutoForecaster
from aicsched.forecast.models.blend import LogBlend
from aicsched.forecast.models.corrector import Corrector
from aicsched.forecast.models.features import Table
from aicsched.forecast.models.outside import known_mix
from aicsched.forecast.models.regression import learn
from aicsched.forecast.models.ridge import LogRidge
from aicsched.forecast.weather import WeatherVintages
from aicsched.slots import SlotGrid

if TYPE_CHECKING:
    from pathlib import Path

DAYS = 170
FACTORS = {"wind": 11.0, "solar": 45.0, "coal": 820.0, "gas": 490.0, "oil": 650.0}


def grid(days: int = DAYS) -> tuple[CarbonSeries, Covariates]:
    """Make a grid of five sources, and perfect forecasts of the wind and sun that drive two."""
    rng = np.random.default_rng(5)
    hours = np.arange(24 * (days + 5))
    smooth = np.convolve(rng.normal(size=len(hours) + 47), np.ones(48) / 7, mode="valid")
    wind = np.clip(6 + 2.5 * smooth, 0.2, 20)
    sun = np.clip(np.sin((hours % 24 - 6) / 12 * np.pi), 0, None) * (
        300 + 200 * rng.random(days + 5).repeat(24)
    )
    demand = 1000 + 150 * np.sin((hours % 24 - 9) / 24 * 2 * np.pi) + 20 * rng.normal(size=len(hours))
    power = {"wind": 500 / (1 + np.exp(-(wind - 6) / 1.5)), "solar": 0.5 * sun}
    rest = demand - sum(power.values())
    power |= {"coal": 0.3 * demand, "oil": np.full(len(hours), 8.0)}
    power["gas"] = rest - power["coal"] - 8.0
    table = np.stack([power[name] for name in FACTORS])
    values = np.array(list(FACTORS.values())) @ table / table.sum(axis=0)
    slots = SlotGrid(0, 3600, 24 * days)
    series = CarbonSeries(
        grid_zone="XX",
        kind=IntensityKind.AVERAGE,
        slots=slots,
        values_g_per_kwh=values[: len(slots)],
        source="test",
    )
    parts = np.stack([item.reshape(-1, 3).mean(axis=1) for item in (wind, sun)])
    vintages = WeatherVintages(
        variables=("wind_speed", "dswrf"),
        issue_times_s=DAY_S * np.arange(days, dtype=np.int64),
        step_h=3,
        values=np.stack([parts[:, 8 * day : 8 * day + 32] for day in range(days)]),
        source="test",
    )
    mix = SourceMix(sources=tuple(FACTORS), slots=slots, generation_mw=table[:, : len(slots)], source="test")
    return series, Covariates(weather=vintages, mix=mix)


def error(made: object, series: CarbonSeries) -> float:
    actual = series.window(made.slots).values_g_per_kwh  # type: ignore[attr-defined]
    return float(np.abs(np.log(made.mean_g_per_kwh / actual)).mean())  # type: ignore[attr-defined]


# ---------------------------------------------------------------- trees
def arguments(seed: int, depth: int) -> tuple[Any, ...]:
    rng = np.random.default_rng(seed)
    bins = rng.integers(0, 9, (6, 400)).astype(np.uint8)
    targets = np.where(bins[2] > 4, 1.0, -0.5) + 0.1 * rng.normal(size=400)
    samples = np.stack([np.sort(rng.choice(400, 150, replace=False)) for _ in range(3)])
    columns = np.stack([rng.choice(6, 4, replace=False) for _ in range(7)])
    return bins, targets, samples, columns, depth, 10, np.array([0.3, 5.0, 0.8])


@pytest.mark.parametrize("depth", [1, 3, 5])
@pytest.mark.parametrize("seed", [0, 1])
def test_trees_are_the_same_in_both_forms_to_the_last_bit(seed: int, depth: int) -> None:
    given = arguments(seed, depth)
    forms = [form(*given) for form in (BOOST.compiled(), BOOST.loop, BOOST.twin)]
    for compiled, plain, numpy in zip(*forms, strict=True):
        np.testing.assert_array_equal(compiled, numpy)
        np.testing.assert_array_equal(plain, numpy)


def test_a_stump_is_the_best_of_all_stumps() -> None:
    bins, targets, samples, columns, _, width, steering = arguments(3, 1)
    asked, cuts, values = BOOST.twin(bins, targets, samples[:1], columns[:1], 1, width, steering)
    sample, (rate, shrinkage, clip) = samples[0], steering
    wanted = np.clip(targets[sample], -clip, clip)
    gains = {}
    for column in columns[0]:
        for cut in range(width - 1):
            above = bins[column, sample] > cut
            if above.any() and not above.all():
                parts = [wanted[above], wanted[~above]]
                gains[column, cut] = sum(part.sum() ** 2 / (len(part) + shrinkage) for part in parts)
    best = max(gains, key=lambda key: gains[key])
    assert gains[asked[0, 0], cuts[0, 0]] == pytest.approx(gains[best])
    above = bins[asked[0, 0], sample] > cuts[0, 0]
    for side, value in ((~above, values[0, 0]), (above, values[0, 1])):
        assert value == pytest.approx(rate * wanted[side].sum() / (side.sum() + shrinkage))


def test_trees_learn_a_product_that_no_sum_can() -> None:
    rng = np.random.default_rng(0)
    table = rng.uniform(-1, 1, (12_000, 5))
    missed = 0.2 * np.sign(table[:, 0] * table[:, 1]) + 0.02 * rng.normal(size=12_000)
    trees = Corrector(table[:9000], missed[:9000])
    left = missed[9000:] - trees(table[9000:])
    assert left.std() < 0.75 * missed[9000:].std()


# ---------------------------------------------------------------- regression
def test_left_out_rows_are_what_learning_without_them_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    from aicsched.forecast.models import regression

    for rows, columns in ((120, 6), (60, 90)):
        monkeypatch.setattr(regression, "_PENALTIES", np.array([7.0]))
        monkeypatch.setattr(regression, "_FEW_PENALTIES", np.array([7.0]))
        rng = np.random.default_rng(rows)
        values, targets = rng.normal(size=(rows, columns)), rng.normal(size=(rows, 2))
        made = learn(Table(values, np.ones(columns)), targets, outputs_a_group=2, gap=0, leave_out=True)
        inputs = (values - values.mean(axis=0)) / values.std(axis=0)
        aims = targets - targets.mean(axis=0)
        for first in range(0, rows, 14):
            out = np.zeros(rows, dtype=bool)
            out[first : first + 14] = True
            gram = inputs[~out].T @ inputs[~out] + 7.0 * np.eye(columns)
            weights = np.linalg.solve(gram, inputs[~out].T @ aims[~out])
            np.testing.assert_allclose(made.left_out[out], aims[out] - inputs[out] @ weights, atol=1e-8)


def test_a_column_that_hardly_varied_can_not_run_away() -> None:
    rng = np.random.default_rng(4)
    values = rng.normal(size=(200, 3))
    values[:, 2] = 1e-6 * rng.normal(size=200)
    made = learn(
        Table(values, np.ones(3)), values[:, :1] + 0.1 * rng.normal(size=(200, 1)), outputs_a_group=1, gap=0
    )
    far = np.array([[0.0, 0.0, 50.0]])
    assert abs(float(made(far)[0, 0])) < 0.3


# ---------------------------------------------------------------- the mix
def test_a_mix_is_read_from_the_file_of_the_intensity(tmp_path: Path) -> None:
    rows = ["time,carbon_intensity,gen_wind,gen_coal"]
    rows += [f"2026-01-01T{hour:02d}:00Z,300,{hour},{-1 if hour == 3 else 7}" for hour in range(6)]
    (tmp_path / "x_DE.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    mix = read_mix([str(tmp_path / "x_DE.csv")])["DE"]
    assert (mix.sources, mix.slots.step_s, len(mix.slots)) == (("wind", "coal"), 3600, 6)
    np.testing.assert_array_equal(mix.generation_mw[1], [7, 7, 7, 0, 7, 7])


def test_what_is_no_mix_is_refused(tmp_path: Path) -> None:
    (tmp_path / "DE.csv").write_text("time,carbon_intensity\n2026-01-01T00:00Z,300\n", encoding="utf-8")
    with pytest.raises(InputError, match="no source mix"):
        read_mix([str(tmp_path / "DE.csv")])
    slots = SlotGrid(0, 3600, 2)
    for sources, values, words in (
        (("a",), [[1.0]], "shape"),
        ((), [], "shape"),
        (("a",), [[1.0, np.inf]], "infinite"),
    ):
        with pytest.raises(InputError, match=words):
            SourceMix(sources=sources, slots=slots, generation_mw=np.array(values), source="t")
    with pytest.raises(InputError, match="future"):
        SourceMix(
            sources=("a",), slots=slots, generation_mw=np.ones((1, 2)), source="t", availability_lag_s=-1
        )


def test_shares_are_those_of_the_slots_before_an_origin() -> None:
    series, given = grid(30)
    assert given.mix is not None
    history = prepare(series, min_days=2, model="m")
    mix = known_mix(given.mix, history)
    assert mix is not None
    total = given.mix.generation_mw.sum(axis=0)
    direct = (given.mix.generation_mw / total)[:, 276:300].mean(axis=1)
    np.testing.assert_allclose(mix.mean_shares(np.array([300]), 24)[0], direct, rtol=1e-12)
    late = known_mix(replace(given.mix, availability_lag_s=3600), history)
    assert late is not None
    np.testing.assert_allclose(late.mean_shares(np.array([324]), 24)[0], direct, rtol=1e-12)


# ---------------------------------------------------------------- the blend
def test_without_weather_the_blend_is_the_ridge() -> None:
    series, given = grid(60)
    issue_s = 50 * DAY_S
    past = series.before(issue_s)
    ridge = LogRidge().fit(past).predict(issue_s, 96)
    for covariates in (None, Covariates(), Covariates(mix=given.mix)):
        made = LogBlend().fit(past, covariates=covariates).predict(issue_s, 96)
        np.testing.assert_array_equal(made.mean_g_per_kwh, ridge.mean_g_per_kwh)
        np.testing.assert_array_equal(made.quantiles_g_per_kwh, ridge.quantiles_g_per_kwh)


def test_the_blend_foresees_a_mix_better_than_a_regression_does() -> None:
    series, given = grid()
    errors = []
    for issue_s in range(150 * DAY_S, 166 * DAY_S, 4 * DAY_S):
        past = series.before(issue_s)
        ridge = LogRidge().fit(past, covariates=given).predict(issue_s, 96)
        made = LogBlend().fit(past, covariates=given).predict(issue_s, 96)
        assert made.flags == ridge.flags == ()
        assert (np.diff(made.quantiles_g_per_kwh, axis=0) >= 0).all()
        errors.append((error(made, series), error(ridge, series)))
    blend, ridge_alone = np.mean(errors, axis=0)
    assert blend < 0.95 * ridge_alone


def test_nothing_after_the_issue_time_is_read() -> None:
    series, given = grid()
    issue_s = 150 * DAY_S
    assert given.mix is not None
    assert given.weather is not None
    spoilt = given.mix.generation_mw.copy()
    spoilt[:, 150 * 24 :] = 9e9
    weather = given.weather.values.copy()
    weather[151:] = 99.0
    poisoned = Covariates(
        weather=replace(given.weather, values=weather), mix=replace(given.mix, generation_mw=spoilt)
    )
    past = series.before(issue_s)
    clean = LogBlend().fit(past, covariates=given).predict(issue_s, 96)
    after = LogBlend().fit(past, covariates=poisoned).predict(issue_s, 96)
    np.testing.assert_array_equal(clean.mean_g_per_kwh, after.mean_g_per_kwh)
    np.testing.assert_array_equal(clean.quantiles_g_per_kwh, after.quantiles_g_per_kwh)


def test_a_late_mix_is_read_no_earlier_than_it_comes() -> None:
    series, given = grid()
    issue_s = 150 * DAY_S
    assert given.mix is not None
    late = replace(given.mix, availability_lag_s=5 * 3600)
    spoilt = late.generation_mw.copy()
    spoilt[:, 150 * 24 - 5 :] = 9e9
    past = series.before(issue_s)
    made = [
        LogBlend().fit(past, covariates=replace(given, mix=mix)).predict(issue_s, 96).mean_g_per_kwh
        for mix in (late, replace(late, generation_mw=spoilt), given.mix)
    ]
    np.testing.assert_array_equal(made[0], made[1])
    assert np.abs(made[0] - made[2]).max() > 0.0


def test_an_update_takes_new_values_and_keeps_what_was_learned() -> None:
    series, given = grid()
    model = LogBlend().fit(series.before(150 * DAY_S), covariates=given)
    model.predict(150 * DAY_S, 96)
    later = model.update(series.before(152 * DAY_S)).predict(152 * DAY_S, 96)
    anew = LogBlend().fit(series.before(152 * DAY_S), covariates=given).predict(152 * DAY_S, 96)
    assert error(later, series) < 1.5 * error(anew, series) + 0.01
    day = model.predict(152 * DAY_S, 24)
    np.testing.assert_array_equal(day.mean_g_per_kwh, later.mean_g_per_kwh[:24])


def test_a_mix_that_cannot_be_used_is_said() -> None:
    series, given = grid(80)
    issue_s = 70 * DAY_S
    past = series.before(issue_s)
    assert given.mix is not None
    holes = given.mix.generation_mw.copy()
    holes[:, 70 * 24 - 12 : 70 * 24] = np.nan
    shifted = SlotGrid(1800, 3600, len(given.mix.slots))
    for mix in (replace(given.mix, generation_mw=holes), replace(given.mix, slots=shifted)):
        made = LogBlend().fit(past, covariates=replace(given, mix=mix)).predict(issue_s, 48)
        assert made.flags == ("mix-unused",)
        without = LogBlend().fit(past, covariates=Covariates(weather=given.weather)).predict(issue_s, 48)
        np.testing.assert_array_equal(made.mean_g_per_kwh, without.mean_g_per_kwh)
    alone = LogRidge().fit(past, covariates=Covariates(mix=given.mix)).predict(issue_s, 48)
    assert alone.flags == ("mix-unused",)


def test_a_mix_that_does_not_make_the_intensity_is_not_followed() -> None:
    series, given = grid(100)
    values = series.values_g_per_kwh * (1 + 0.5 * np.sin(np.arange(len(series.slots)) / 7))
    other = replace(series, values_g_per_kwh=values)
    model = LogBlend().fit(other.before(90 * DAY_S), covariates=given)
    assert model.sources_ is None
    assert LogBlend().fit(series.before(90 * DAY_S), covariates=given).sources_ is not None


def test_auto_takes_the_blend_where_weather_is_offered() -> None:
    series, given = grid(60)
    past = series.before(55 * DAY_S)
    assert AutoForecaster().fit(past, covariates=given).predict(55 * DAY_S, 24).model == "blend"
    assert AutoForecaster().fit(past).predict(55 * DAY_S, 24).model == "ridge"

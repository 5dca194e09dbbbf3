"""The adapter for statsforecast: its means are the package's own, its bands are ours."""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING

import numpy as np
import pytest

from aicsched import testing
from aicsched.errors import ForecastError, SourceUnavailable, TooLittleHistory
from aicsched.forecast import make_forecaster
from aicsched.forecast.backtest import backtest
from aicsched.forecast.models.statsforecast import StatsForecastModel, StatsForecastTheta

if TYPE_CHECKING:
    from aicsched.domain.carbon import CarbonSeries

pytest.importorskip("statsforecast")
DAY_S = 86_400


def rival(name: str, series: CarbonSeries, horizon: int) -> np.ndarray:
    """Ask the package itself, as its manual says, on the same logarithms."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from statsforecast import models

        model = getattr(models, name)(season_length=24)
        return np.exp(model.forecast(y=np.log(series.values_g_per_kwh[-56 * 24 :]), h=horizon)["mean"])


@pytest.mark.parametrize("name", ["AutoTheta", "SeasonalNaive", "AutoETS"])
def test_means_are_those_of_the_package(name: str) -> None:
    series = testing.example_series(days=40)
    made = StatsForecastModel(model=name).fit(series).predict(series.slots.end_s, 72)
    np.testing.assert_allclose(made.mean_g_per_kwh, rival(name, series, 72), rtol=1e-6)
    assert made.model == "statsforecast"


def test_it_is_found_by_its_name_and_keeps_its_choices() -> None:
    series = testing.example_series(days=40)
    model = make_forecaster("statsforecast-theta", levels=(0.2, 0.8))
    assert isinstance(model, StatsForecastTheta)
    made = model.fit(series).predict(series.slots.end_s, 24)
    assert (made.model, made.levels) == ("statsforecast-theta", (0.2, 0.8))
    weekly = StatsForecastModel(model="SeasonalNaive", season_length=168).fit(series)
    expected = series.values_g_per_kwh[-168:-144]
    np.testing.assert_allclose(weekly.predict(series.slots.end_s, 24).mean_g_per_kwh, expected)
    # From the middle of what it learned from it learns anew, with the same choices.
    earlier = weekly.predict(series.slots.end_s - DAY_S, 24).mean_g_per_kwh
    np.testing.assert_allclose(earlier, series.values_g_per_kwh[-192:-168])


def test_bands_hold_about_what_they_promise() -> None:
    series = {"x": testing.example_series(zone="x", days=80)}
    start_s = series["x"].slots.start_s + 60 * DAY_S
    made = backtest(
        series, model="statsforecast-theta", start_s=start_s, end_s=start_s + 14 * DAY_S, refit_days=7
    ).zones["x"]
    assert all(0.68 < share < 0.93 for share in made.coverage80)
    assert made.fits == 3


def test_updating_costs_no_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    series = testing.example_series(days=40)
    model = StatsForecastModel(model="SeasonalNaive").fit(series.before(series.slots.end_s - DAY_S))
    monkeypatch.setattr(model, "_learned", None)
    made = model.update(series).predict(series.slots.end_s, 24)
    np.testing.assert_allclose(made.mean_g_per_kwh, series.values_g_per_kwh[-24:])


def test_what_can_not_work_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ForecastError, match="no model 'AutoTheater'"):
        StatsForecastModel(model="AutoTheater")
    with pytest.raises(TooLittleHistory, match="needs 14 days"):
        StatsForecastTheta().fit(testing.example_series(days=10))
    broken = StatsForecastModel(model="SeasonalNaive", season_length=-1)
    with pytest.raises(ForecastError, match=r"statsforecast failed \("):
        broken.fit(testing.example_series())
    monkeypatch.setitem(sys.modules, "statsforecast", None)
    with pytest.raises(SourceUnavailable, match=r"aicsched\[statsforecast\]"):
        StatsForecastTheta()

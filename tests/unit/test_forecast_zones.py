"""Many zones at once: late data, bad choices, and what the quick answer may import."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from aicsched import testing
from aicsched.errors import AicschedError, ConfigError, SignalGap, SlotError
from aicsched.forecast import forecast_zones, make_forecaster
from aicsched.forecast.base import Covariates
from aicsched.forecast.weather import WeatherVintages
from aicsched.slots import HOUR_S, SlotGrid


def test_each_zone_gets_its_forecast_on_the_slots_asked_for() -> None:
    series = {name: testing.example_series(zone=name, seed=seed) for seed, name in enumerate(("DE", "SE"))}
    at_s = series["DE"].slots.end_s - 48 * HOUR_S
    made = forecast_zones(series, at_s=at_s, horizon=48)
    assert list(made) == ["DE", "SE"]
    for name, item in made.items():
        assert (item.grid_zone, item.slots, item.model) == (name, SlotGrid(at_s, HOUR_S, 48), "ridge")
        assert item.synthetic
    assert not np.array_equal(made["DE"].mean_g_per_kwh, made["SE"].mean_g_per_kwh)


def test_covariates_reach_the_zone_that_they_are_given_for() -> None:
    series = {name: testing.example_series(zone=name) for name in ("DE", "SE")}
    old = WeatherVintages(
        variables=("wind_speed",),
        issue_times_s=np.array([0]),
        step_h=3,
        values=np.ones((1, 1, 8)),
        source="s",
    )
    offered = {"SE": Covariates(weather=old)}
    at_s = series["DE"].slots.end_s
    made = forecast_zones(series, at_s=at_s, horizon=24, model="ridge", covariates=offered)
    assert {name: item.flags for name, item in made.items()} == {"DE": (), "SE": ("weather-unused:d1",)}


def test_late_data_are_bridged_up_to_six_hours_and_flagged() -> None:
    series = testing.example_series(zone="DE")
    at_s = series.slots.end_s
    known = series.before(at_s - 6 * HOUR_S)
    made = forecast_zones({"DE": known}, at_s=at_s, horizon=24)["DE"]
    assert made.slots == SlotGrid(at_s, HOUR_S, 24)
    assert made.issue_time_s == at_s
    assert made.flags == ("degraded", "late:6")
    whole = make_forecaster("ridge").fit(known).predict(known.slots.end_s, 30)
    np.testing.assert_array_equal(made.mean_g_per_kwh, whole.mean_g_per_kwh[6:])
    with pytest.raises(SignalGap, match="more than 6 h before"):
        forecast_zones({"DE": series.before(at_s - 7 * HOUR_S)}, at_s=at_s, horizon=24)


def test_times_between_slots_are_refused() -> None:
    series = testing.example_series(zone="DE")
    with pytest.raises(SlotError, match=r"DE: .* is no slot start"):
        forecast_zones({"DE": series}, at_s=series.slots.end_s - 1800, horizon=24)


def test_levels_reach_the_model() -> None:
    series = testing.example_series()
    made = forecast_zones({"x": series}, at_s=series.slots.end_s, horizon=24, levels=(0.2, 0.8))["x"]
    assert made.levels == (0.2, 0.8)


@pytest.mark.parametrize("levels", [(), (0.9, 0.1), (0.5, 0.5), (0.0, 0.5), (0.5, 1.0)])
def test_levels_that_make_no_quantiles_are_refused(levels: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match="don't rise within 0 and 1"):
        make_forecaster("ridge", levels=levels)


def test_unknown_models_get_a_suggestion() -> None:
    with pytest.raises(ConfigError, match="there is no forecaster 'rigde'; did you mean ridge"):
        make_forecaster("rigde")


@pytest.mark.parametrize("name", ["auto", "ridge", "seasonal"])
def test_ours_are_made_by_name_without_scanning_plugins(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aicsched.plugins.plugin_names", lambda group: pytest.fail("scanned"))
    assert make_forecaster(name).name == name


class Strange:
    """A third party's model."""

    name = "strange"

    def __init__(self, levels: tuple[float, ...] = (0.1, 0.5, 0.9)) -> None:
        self.levels = levels


def test_a_plugin_gets_the_levels_only_where_they_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aicsched.plugins.plugin_names", lambda group: ("strange",))
    monkeypatch.setattr("aicsched.plugins.load_plugin", lambda group, name: Strange)
    assert make_forecaster("strange").levels == (0.1, 0.5, 0.9)
    assert make_forecaster("strange", levels=[0.3]).levels == (0.3,)


def test_the_first_bad_zone_is_named() -> None:
    series = {"good": testing.example_series(zone="good"), "bad": testing.example_series(zone="bad", days=1)}
    with pytest.raises(AicschedError, match="bad: "):
        forecast_zones(series, at_s=series["good"].slots.end_s, horizon=24)


def test_the_quick_answer_imports_nothing_heavy() -> None:
    code = (
        "import sys; from aicsched.testing import example_series;"
        "from aicsched.forecast import forecast_zones;"
        "s = example_series(days=60); f = forecast_zones({'x': s}, at_s=s.slots.end_s, horizon=96);"
        "f = forecast_zones({'x': s}, at_s=s.slots.end_s, horizon=96, model='seasonal');"
        "print([m for m in ('numba', 'pandas', 'scipy', 'ortools', 'pyarrow') if m in sys.modules])"
    )
    environment = {**os.environ, "AICSCHED_KERNELS": "auto"}
    made = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert made.stdout.strip() == "[]"

"""How much history suffices for what, how far it reaches, and in which steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from aicsched.domain.carbon import CarbonSeries, IntensityKind
from aicsched.domain.quarantine import dropouts
from aicsched.errors import SignalGap, TooLittleHistory
from aicsched.forecast import forecast_zones, make_forecaster
from aicsched.forecast.base import Covariates
from aicsched.forecast.weather import read_weather
from aicsched.signals.carbon.file import FileCarbon
from aicsched.slots import HOUR_S, SlotGrid, parse_time

if TYPE_CHECKING:
    from pathlib import Path

DAY_S = 24 * HOUR_S
THREE_WEEKS_H = 504


def grid(days: float, *, step_s: int = HOUR_S, seed: int = 1) -> CarbonSeries:
    """A grid with wind that lasts for days, in any step: a mean of five-minute values."""
    count = int(days * DAY_S) // 300
    rng = np.random.default_rng(seed)
    walk = np.zeros(count)
    kick = rng.normal(0, 0.012, count)
    for index in range(1, count):
        walk[index] = 0.9993 * walk[index - 1] + kick[index]
    angle = 2 * np.pi * np.arange(count) / 288
    fine = 300 * np.exp(0.25 * np.cos(angle) + walk)
    return CarbonSeries(
        grid_zone="z",
        kind=IntensityKind.AVERAGE,
        slots=SlotGrid(0, step_s, count * 300 // step_s),
        values_g_per_kwh=fine.reshape(-1, step_s // 300).mean(axis=1),
        source="s",
    )


WHOLE = grid(430)
HISTORIES = (
    # days, ridge, seasonal, auto: a model's name, or the error's words
    (1 / 24, "needs 21 days", "needs 2 days", "seasonal needs 2 days of history, there are 0.0"),
    (1, "needs 21 days", "needs 2 days", "seasonal needs 2 days of history, there are 1.0"),
    (2, "needs 21 days", "seasonal", "seasonal"),
    (7, "needs 21 days", "seasonal", "seasonal"),
    (21, "ridge", "seasonal", "ridge"),
    (60, "ridge", "seasonal", "ridge"),
    (365, "ridge", "seasonal", "ridge"),
)


@pytest.mark.parametrize(("days", "ridge", "seasonal", "auto"), HISTORIES)
def test_what_each_model_does_with_so_much_history(days: float, ridge: str, seasonal: str, auto: str) -> None:
    history = WHOLE.before(round(days * DAY_S))
    for model, wanted in (("ridge", ridge), ("seasonal", seasonal), ("auto", auto)):
        if "needs" in wanted:
            with pytest.raises(TooLittleHistory, match=wanted):
                forecast_zones({"z": history}, at_s=history.slots.end_s, horizon=96, model=model)
            continue
        made = forecast_zones({"z": history}, at_s=history.slots.end_s, horizon=96, model=model)["z"]
        assert made.model == wanted
        short = model == "auto" and wanted == "seasonal"
        assert made.flags == (("short-history:seasonal",) if short else ())


@pytest.mark.parametrize("days", [2, 3, 5, 9, 11, 16, 21, 24, 45, 60, 200])
def test_bands_of_three_weeks_widen_and_never_collapse(days: int) -> None:
    """At every length of history that auto takes, no lead day's band is narrower than the one before."""
    width = np.zeros((12, 21))
    for seed in range(12):
        history = grid(days, seed=seed)
        made = make_forecaster("auto").fit(history).predict(history.slots.end_s, THREE_WEEKS_H)
        assert len(made.slots) == THREE_WEEKS_H
        logs = np.log(made.quantiles_g_per_kwh)
        width[seed] = (logs[-1] - logs[0]).reshape(21, 24).mean(axis=1)
    mean = width.mean(axis=0)
    assert (mean > 0.1).all()
    assert mean[6] > 1.2 * mean[0]
    assert (np.diff(width, axis=1) > -1e-9).all()


@pytest.mark.parametrize("days", [2, 4, 7, 14, 28])
def test_bands_hold_what_they_promise_on_short_histories(days: int) -> None:
    """Eight in ten by design; between 0.6 and 0.95 on made-up wind, for lead days 1, 2, 4 and 10."""
    held = np.zeros((40, 4))
    for seed in range(40):
        whole = grid(days + 11, seed=100 + seed)
        history = whole.before(days * DAY_S)
        made = make_forecaster("auto").fit(history).predict(history.slots.end_s, 264)
        actual = whole.window(made.slots).values_g_per_kwh
        inside = (actual >= made.quantiles_g_per_kwh[0]) & (actual <= made.quantiles_g_per_kwh[-1])
        held[seed] = inside.reshape(11, 24).mean(axis=1)[[0, 1, 3, 9]]
    mean = held.mean(axis=0)
    assert (mean > 0.6).all(), mean.round(2)
    assert (mean < 0.95).all(), mean.round(2)


@pytest.mark.parametrize("model", ["auto", "ridge", "seasonal"])
@pytest.mark.parametrize("step_s", [900, 1800, 3 * HOUR_S])
def test_other_steps_give_about_the_forecast_of_hours(model: str, step_s: int) -> None:
    hours = grid(40, seed=7)
    other = grid(40, step_s=step_s, seed=7)
    at_s = 35 * DAY_S
    coarse = max(step_s, HOUR_S)
    means: list[np.ndarray] = []
    for series in (hours, other):
        slots = 4 * DAY_S // series.slots.step_s
        made = forecast_zones({"z": series}, at_s=at_s, horizon=slots, model=model)["z"]
        assert made.slots == SlotGrid(at_s, series.slots.step_s, slots)
        means.append(made.mean_g_per_kwh.reshape(-1, coarse // series.slots.step_s).mean(axis=1))
    np.testing.assert_allclose(means[1], means[0], rtol=0.12)


def test_auto_falls_back_where_gaps_leave_ridge_nothing() -> None:
    """A fifth missing every day, so that hardly a past forecast has an outcome to learn from."""
    whole = grid(30, seed=3)
    values = np.array(whole.values_g_per_kwh)
    values[np.arange(720) % 24 < 5] = np.nan
    values[-24:] = whole.values_g_per_kwh[-24:]
    holed = CarbonSeries(
        grid_zone="z", kind=whole.kind, slots=whole.slots, values_g_per_kwh=values, source="s"
    )
    with pytest.raises(SignalGap, match="use the model 'seasonal'"):
        forecast_zones({"z": holed}, at_s=30 * DAY_S, horizon=24, model="ridge")
    made = forecast_zones({"z": holed}, at_s=30 * DAY_S, horizon=24)["z"]
    assert made.model == "seasonal"
    assert made.flags == ("gaps-filled:145", "short-history:seasonal")


def test_a_constant_series_is_foreseen_as_it_is_and_said_to_be_flat() -> None:
    for days, model in ((3, "seasonal"), (40, "ridge")):
        still = CarbonSeries(
            grid_zone="z",
            kind=IntensityKind.AVERAGE,
            slots=SlotGrid(0, HOUR_S, 24 * days),
            values_g_per_kwh=np.full(24 * days, 240.0),
            source="s",
        )
        made = forecast_zones({"z": still}, at_s=days * DAY_S, horizon=48)["z"]
        assert made.model == model
        np.testing.assert_allclose(made.quantiles_g_per_kwh, 240.0)
        assert f"flat:{24 * days}" in made.flags


def test_zeros_of_a_clean_grid_give_positive_forecasts() -> None:
    hours = np.arange(24 * 40)
    values = np.maximum(0.0, 6.0 * np.cos(2 * np.pi * hours / 24) + 3.0)
    assert not dropouts(values).any()
    clean = CarbonSeries(
        grid_zone="z",
        kind=IntensityKind.AVERAGE,
        slots=SlotGrid(0, HOUR_S, 960),
        values_g_per_kwh=values,
        source="s",
    )
    made = forecast_zones({"z": clean}, at_s=40 * DAY_S, horizon=48)["z"]
    assert made.flags == ()
    assert (made.quantiles_g_per_kwh > 0).all()
    assert np.corrcoef(made.mean_g_per_kwh, values[:48])[0, 1] > 0.95


class TestRecordedData:
    """Real gaps and real missing weather."""

    def test_a_gap_of_456_hours_stops_forecasts_and_then_lets_them_go_on(self, shared_data: Path) -> None:
        series = FileCarbon([shared_data / "data" / "carbon" / "eia_FPL.parquet"]).read("FPL")
        lost = np.flatnonzero(np.isnan(series.values_g_per_kwh))
        start_s, end_s = (int(series.slots.starts_s()[lost[place]]) for place in (0, -1))
        assert len(lost) == 456

        def flags(at_s: int) -> tuple[str, ...]:
            return forecast_zones({"FPL": series}, at_s=at_s, horizon=96)["FPL"].flags

        assert flags(start_s + 4 * HOUR_S) == ("degraded", "late:4")
        with pytest.raises(SignalGap, match="more than 6 h before"):
            flags(start_s + 10 * HOUR_S)
        with pytest.raises(SignalGap, match="of the last week are missing"):
            flags(end_s + 2 * DAY_S)
        assert flags(end_s + HOUR_S + 5 * DAY_S) == ("gaps-filled:456",)

    def test_missing_weather_is_left_out_and_said(self, shared_data: Path) -> None:
        folder = shared_data / "data" / "carbon"
        series = FileCarbon([folder / "ccast13_AUS-QLD.parquet"], column="ci_lifecycle").read("AUS-QLD")
        weather = read_weather([str(folder / "ccast13_wx96_AUS-QLD.parquet")])["AUS-QLD"]
        holes = np.isnan(weather.values).any(axis=1)  # (issue, lead)
        issues = weather.issue_times_s
        late = issues > parse_time("2021-02-01T00:00Z")
        assert holes[late].any()
        broken = int(issues[late][np.argmax(holes[late].any(axis=1))])
        made = forecast_zones(
            {"AUS-QLD": series},
            at_s=broken,
            horizon=96,
            covariates={"AUS-QLD": Covariates(weather=weather)},
        )["AUS-QLD"]
        lost = {lead // 8 + 1 for lead in np.flatnonzero(holes[issues == broken][0])}
        named = {int(flag.removeprefix("weather-unused:d")) for flag in made.flags}
        assert lost <= named
        assert named

"""Nothing is used before it could have been known: lags, readings, late data."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from aicsched.cli import main
from aicsched.domain.carbon import CarbonSeries, IntensityKind
from aicsched.domain.readings import Readings
from aicsched.errors import SignalGap, SlotError, TooLittleHistory
from aicsched.forecast import forecast_zones
from aicsched.forecast.backtest import backtest
from aicsched.forecast.base import Covariates
from aicsched.forecast.issue import known_past, newest_issue_s
from aicsched.forecast.weather import WeatherVintages
from aicsched.slots import HOUR_S, SlotGrid
from aicsched.testing import example_series

if TYPE_CHECKING:
    from pathlib import Path

    from aicsched.domain.forecast import Forecast

DAY_S = 24 * HOUR_S
DAYS = 80


def wind(days: int) -> np.ndarray[Any, Any]:
    """Hourly wind, smooth in time [m/s]."""
    rng = np.random.default_rng(9)
    steps = np.convolve(rng.normal(size=24 * days + 47), np.ones(48) / 48**0.5, "valid")
    return 7.0 + 2.5 * steps


def windy(days: int = DAYS, **changes: Any) -> CarbonSeries:
    """Intensity that falls when the wind rises."""
    hours = np.arange(24 * days)
    values = 300 - 18 * (wind(days) - 7) + 40 * np.cos(2 * np.pi * hours / 24)
    values += np.random.default_rng(4).normal(0, 4, hours.size)
    return CarbonSeries(
        **{
            "grid_zone": "DE",
            "kind": IntensityKind.AVERAGE,
            "slots": SlotGrid(0, HOUR_S, hours.size),
            "values_g_per_kwh": np.maximum(values, 20),
            "source": "test",
            **changes,
        }
    )


def vintages(days: int = DAYS, *, lag_s: int = 0) -> WeatherVintages:
    """Weather foreseen exactly, four runs a day, 96 hours each."""
    issues = np.arange(0, (days - 5) * DAY_S, 6 * HOUR_S)
    blown = wind(days)
    leads = np.stack([blown[t // HOUR_S : t // HOUR_S + 96].reshape(32, 3).mean(axis=1) for t in issues])
    return WeatherVintages(
        variables=("wind_speed",),
        issue_times_s=issues,
        step_h=3,
        values=leads[:, None, :],
        source="test",
        availability_lag_s=lag_s,
    )


def same(one: Forecast, two: Forecast) -> None:
    assert one.mean_g_per_kwh.tobytes() == two.mean_g_per_kwh.tobytes()
    assert one.quantiles_g_per_kwh.tobytes() == two.quantiles_g_per_kwh.tobytes()
    assert (one.flags, one.slots, one.issue_time_s) == (two.flags, two.slots, two.issue_time_s)


AT_S = 70 * DAY_S


@pytest.mark.parametrize("model", ["seasonal", "ridge", "auto"])
@pytest.mark.parametrize("lag_h", [1, 5.5, 24, 30])
@pytest.mark.parametrize("poison", [17.0, np.nan, 2400.0])
def test_values_within_the_lag_change_nothing(model: str, lag_h: float, poison: float) -> None:
    clean = windy(availability_lag_s=int(lag_h * HOUR_S))
    values = np.array(clean.values_g_per_kwh)
    first_unknown = AT_S // HOUR_S - int(np.ceil(lag_h))
    values[first_unknown:] = poison
    poisoned = replace(clean, values_g_per_kwh=values, quality=None)
    one, two = (
        forecast_zones({"DE": item}, at_s=AT_S, horizon=48, model=model)["DE"] for item in (clean, poisoned)
    )
    same(one, two)
    assert f"late:{int(np.ceil(lag_h))}" in one.flags
    assert one.slots == SlotGrid(AT_S, HOUR_S, 48)
    # The slot before the lag does count, or this test would say nothing.
    values[first_unknown - 1] = 200.0
    other = replace(clean, values_g_per_kwh=values, quality=None)
    moved = forecast_zones({"DE": other}, at_s=AT_S, horizon=48, model=model)["DE"]
    assert not np.array_equal(moved.mean_g_per_kwh, one.mean_g_per_kwh)


def test_a_lag_is_the_same_as_data_that_end_so_much_earlier() -> None:
    whole = windy()
    told = forecast_zones({"DE": replace(whole, availability_lag_s=5 * HOUR_S)}, at_s=AT_S, horizon=48)
    ended = forecast_zones({"DE": whole.before(AT_S - 5 * HOUR_S)}, at_s=AT_S, horizon=48)
    np.testing.assert_array_equal(told["DE"].mean_g_per_kwh, ended["DE"].mean_g_per_kwh)
    # A lag that is told is usual; without it the same data are late, and trusted less.
    assert (told["DE"].flags, ended["DE"].flags) == (("late:5",), ("degraded", "late:5"))
    width, wider = (np.ptp(item["DE"].quantiles_g_per_kwh, axis=0) for item in (told, ended))
    assert (wider >= width).all()
    assert wider.mean() > width.mean()


def test_data_may_be_late_by_six_hours_beside_their_lag() -> None:
    lagged = windy(availability_lag_s=24 * HOUR_S)
    known = lagged.before(AT_S - 30 * HOUR_S)
    assert "late:30" in forecast_zones({"DE": known}, at_s=AT_S, horizon=24)["DE"].flags
    with pytest.raises(SignalGap, match="more than 6 h and the 24 h of its availability lag before"):
        forecast_zones({"DE": lagged.before(AT_S - 31 * HOUR_S)}, at_s=AT_S, horizon=24)
    with pytest.raises(TooLittleHistory, match="no intensity is known before 1970-01-02T00:00Z"):
        known_past(lagged, DAY_S)
    with pytest.raises(SlotError, match="is no slot start"):
        known_past(lagged, AT_S + 60)


def test_missing_values_at_the_end_are_late_and_not_filled() -> None:
    values = np.array(windy().values_g_per_kwh)
    values[AT_S // HOUR_S - 4 :] = np.nan
    made = forecast_zones({"DE": windy(values_g_per_kwh=values)}, at_s=AT_S, horizon=24)["DE"]
    assert made.flags == ("degraded", "late:4")


@pytest.mark.parametrize("weather_lag_h", [0, 5])
@pytest.mark.parametrize("lag_h", [0, 6, 24])
def test_weather_is_used_up_to_the_issue_time_and_no_further(weather_lag_h: int, lag_h: int) -> None:
    """Data may end a day before the issue time: the weather need not."""
    series = windy(availability_lag_s=lag_h * HOUR_S)
    weather = vintages(lag_s=weather_lag_h * HOUR_S)
    at_hand = weather.issue_times_s + weather_lag_h * HOUR_S <= AT_S

    def forecast(values: np.ndarray[Any, Any]) -> Forecast:
        offered = {"DE": Covariates(weather=replace(weather, values=values))}
        return forecast_zones({"DE": series}, at_s=AT_S, horizon=72, model="ridge", covariates=offered)["DE"]

    one = forecast(weather.values)
    assert not any(flag.startswith("weather-unused") for flag in one.flags)
    later = np.where(at_hand[:, None, None], weather.values, 99.0)
    same(one, forecast(later))
    newest = int(np.flatnonzero(at_hand)[-1])
    other = np.array(weather.values)
    other[newest] += 1.5
    assert not np.array_equal(forecast(other).mean_g_per_kwh, one.mean_g_per_kwh)


def test_a_backtest_uses_nothing_within_the_lag_and_is_worse_for_it() -> None:
    """The lag costs accuracy, and equals one by hand over forecasts from shorter histories."""
    plain = windy()
    run: dict[str, Any] = {"start_s": 40 * DAY_S, "end_s": 72 * DAY_S, "horizon": 12, "model": "seasonal"}
    scores = [
        backtest({"DE": replace(plain, availability_lag_s=lag_h * HOUR_S)}, **run).zones["DE"].mae[0]
        for lag_h in (0, 6, 36)
    ]
    assert scores[0] < scores[1] < scores[2]
    missed: list[float] = []
    for issue_s in range(40 * DAY_S, 72 * DAY_S + 1, DAY_S):
        ended = plain.before(issue_s - 36 * HOUR_S)
        made = forecast_zones({"DE": ended}, at_s=ended.slots.end_s, horizon=48, model="seasonal")["DE"]
        actual = plain.window(SlotGrid(issue_s, HOUR_S, 12)).values_g_per_kwh
        missed.append(float(np.abs(made.mean_g_per_kwh[36:] - actual).mean()))
    assert scores[2] == pytest.approx(np.mean(missed))


def test_a_backtest_sees_of_revised_values_what_had_been_read() -> None:
    """First readings are 20 % too high and mended after three days: the last value is never seen in time."""
    final = windy(40)
    starts_s = final.slots.starts_s()
    first = 1.2 * final.values_g_per_kwh
    read_s = np.concatenate([starts_s + HOUR_S, starts_s + HOUR_S + 3 * DAY_S])
    order = np.argsort(read_s, kind="stable")
    both = Readings(
        start_s=np.concatenate([starts_s, starts_s])[order],
        read_s=read_s[order],
        values_g_per_kwh=np.concatenate([first, final.values_g_per_kwh])[order],
        quality=np.zeros(len(order), dtype=np.int8),
    )
    revised = replace(final, readings=both)
    at_s = 35 * DAY_S
    known = revised.known_at(at_s)
    np.testing.assert_array_equal(known.values_g_per_kwh[-72:], first[: 35 * 24][-72:])
    np.testing.assert_array_equal(known.values_g_per_kwh[:-72], final.values_g_per_kwh[: 32 * 24])
    made = forecast_zones({"DE": revised}, at_s=at_s, horizon=24)["DE"]
    assert f"revised:{32 * 24}" in made.flags
    by_hand = replace(known, readings=None)
    np.testing.assert_array_equal(
        made.mean_g_per_kwh, forecast_zones({"DE": by_hand}, at_s=at_s, horizon=24)["DE"].mean_g_per_kwh
    )
    run: dict[str, Any] = {"start_s": 30 * DAY_S, "end_s": 36 * DAY_S, "horizon": 24, "model": "seasonal"}
    honest, hindsight = (backtest({"DE": item}, **run).zones["DE"].mape[0] for item in (revised, final))
    assert honest > hindsight + 5


def test_the_default_issue_time_is_when_the_newest_value_was_known() -> None:
    plain = example_series(days=3)
    end_s = plain.slots.end_s
    assert newest_issue_s([plain]) == end_s
    assert newest_issue_s([replace(plain, availability_lag_s=5 * HOUR_S + 60)]) == end_s + 5 * HOUR_S
    values = np.array(plain.values_g_per_kwh)
    values[-2:] = np.nan
    assert (
        newest_issue_s([plain, replace(plain, values_g_per_kwh=values, quality=None)]) == end_s - 2 * HOUR_S
    )
    read = Readings(
        start_s=plain.slots.starts_s(),
        read_s=plain.slots.starts_s() + 3 * HOUR_S,
        values_g_per_kwh=plain.values_g_per_kwh,
        quality=np.zeros(72, dtype=np.int8),
    )
    assert newest_issue_s([replace(plain, readings=read)]) == end_s + 2 * HOUR_S
    quarter = CarbonSeries(
        grid_zone="q",
        kind=plain.kind,
        slots=SlotGrid(plain.slots.start_s, 900, 101),
        values_g_per_kwh=np.full(101, 300.0),
        source="s",
    )
    assert newest_issue_s([quarter, plain]) == plain.slots.start_s + 25 * HOUR_S


def test_lags_of_the_command_line_are_those_of_the_backtest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    monkeypatch.chdir(tmp_path)
    series, weather = windy(), vintages()
    stamps = pa.array(series.slots.starts_s(), pa.timestamp("s", "UTC"))
    pq.write_table(pa.table({"time": stamps, "ci": series.values_g_per_kwh}), tmp_path / "DE.parquet")
    leads = {f"wind_speed_{3 * lead + 3}h": weather.values[:, 0, lead] for lead in range(32)}
    issues = pa.array(weather.issue_times_s, pa.timestamp("s", "UTC"))
    pq.write_table(pa.table({"issue": issues, **leads}), tmp_path / "wx_DE.parquet")
    span = (
        "--start",
        "1970-03-02T00:00Z",
        "--end",
        "1970-03-08T00:00Z",
        "--horizon",
        "48",
        "--model",
        "ridge",
    )
    files = ("--carbon", "DE.parquet", "--weather", "wx_DE.parquet", "--lag", "7", "--weather-lag", "5")
    with pytest.raises(SystemExit) as caught:
        main(["backtest", *files, *span, "--json"])
    assert not caught.value.code
    told = json.loads(capsys.readouterr().out)["zones"]["DE"]["mape"]
    wanted = backtest(
        {"DE": windy(availability_lag_s=7 * HOUR_S)},
        model="ridge",
        start_s=60 * DAY_S,
        end_s=66 * DAY_S,
        horizon=48,
        covariates={"DE": Covariates(weather=vintages(lag_s=5 * HOUR_S))},
    )
    np.testing.assert_allclose(told, wanted.zones["DE"].mape)

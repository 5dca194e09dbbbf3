"""The backtest: keys, honesty about time, refusals, and real grids where they are at hand."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Self

import numpy as np
import pytest

from aicsched import testing
from aicsched.domain.carbon import CarbonSeries, IntensityKind
from aicsched.domain.forecast import Forecast
from aicsched.errors import ConfigError, SignalGap, SlotError, TooLittleHistory
from aicsched.forecast import backtest as module
from aicsched.forecast.backtest import backtest
from aicsched.forecast.base import Covariates
from aicsched.forecast.models.seasonal import SeasonalProfile
from aicsched.forecast.weather import read_weather
from aicsched.slots import HOUR_S, SlotGrid, parse_time

if TYPE_CHECKING:
    from pathlib import Path

DAY_S = 86_400
BY_ORIGIN = ("mape", "mae", "mase", "coverage80", "width80", "pinball")
BY_DAY = (*BY_ORIGIN, "width80_percent", "pinball_percent")
SINGLE = {"mape_p95", "coverage80_by_hour", "calibration", "concordance", "regret"}


def example(days: int = 45) -> dict[str, CarbonSeries]:
    return {
        name: testing.example_series(zone=name, days=days, seed=seed)
        for seed, name in enumerate(("DE", "SE"))
    }


def window(series: dict[str, CarbonSeries], first: int, last: int) -> dict[str, int]:
    start_s = series["DE"].slots.start_s
    return {"start_s": start_s + first * DAY_S, "end_s": start_s + last * DAY_S}


def without_time(result: module.BacktestResult) -> dict[str, object]:
    return {name: value for name, value in result.as_dict().items() if not name.startswith("cpu_s")}


def test_the_keys_are_as_promised() -> None:
    series = example()
    made = backtest(series, model="seasonal", **window(series, 30, 40)).as_dict()
    times = {"cpu_s_per_fit", "cpu_s_per_forecast"}
    facts = {"model", "start", "end", "horizon", "origins", "synthetic"}
    assert set(made) == facts | {"zones", "mean", "worst"} | times
    assert made["synthetic"] is True
    assert (made["model"], made["horizon"], made["origins"]) == ("seasonal", 96, 11)
    assert (made["start"], made["end"]) == ("2026-01-31T00:00Z", "2026-02-10T00:00Z")
    windows = ("24h", "96h")
    for zone in [*made["zones"].values(), made["mean"]]:
        assert set(zone) - {"refused", "flags"} == {*BY_DAY, *SINGLE}
        assert all(len(zone[name]) == 4 for name in BY_DAY)
        assert len(zone["coverage80_by_hour"]) == 24
        assert {level: len(shares) for level, shares in zone["calibration"].items()} == {
            "0.1": 4, "0.5": 4, "0.9": 4
        }  # fmt: skip
        assert tuple(zone["concordance"]) == windows
        kinds = (
            "extra_share",
            "now_extra_share",
            "saving_share",
            "oracle_saving_share",
            "saving_share_of_oracle",
        )
        assert set(zone["regret"]) == {
            f"{job}{kind}_{hours}" for job in ("", "interruptible_") for kind in kinds for hours in windows
        }
    mean = np.mean([zone["mape"] for zone in made["zones"].values()], axis=0)
    np.testing.assert_allclose(made["mean"]["mape"], mean)
    assert made["worst"]["mape"] == np.max([zone["mape"] for zone in made["zones"].values()], axis=0).tolist()
    held = [zone["coverage80"] for zone in made["zones"].values()]
    assert made["worst"]["coverage80"] == np.min(held, axis=0).tolist()
    assert all(zone["refused"] == 0 and zone["flags"] == {} for zone in made["zones"].values())
    assert made["cpu_s_per_fit"] > 0
    assert made["cpu_s_per_forecast"] > 0
    json.dumps(made, allow_nan=False)


@pytest.mark.parametrize("model", ["seasonal", "ridge", "auto"])
def test_twice_gives_the_same(model: str) -> None:
    series = example()
    runs = [backtest(series, model=model, **window(series, 35, 40), refit_days=3) for _ in range(2)]
    assert without_time(runs[0]) == without_time(runs[1])
    assert runs[0].zones["DE"].fits == 2


def test_processes_change_nothing_and_report_each_part() -> None:
    series = example(75)
    told: list[tuple[str, int, int]] = []
    choices = {"model": "seasonal", **window(series, 30, 65), "refit_days": 16}
    one = backtest(series, **choices)
    two = backtest(series, **choices, jobs=2, progress=lambda *words: told.append(words))
    assert without_time(one) == without_time(two)
    # 36 days by 16: three learnings in three parts a zone, done in any order.
    assert one.zones["DE"].fits == 3
    assert [done for _, done, _ in told] == [1, 2, 3, 4, 5, 6]
    assert sorted((zone, total) for zone, _, total in told) == [("DE", 6)] * 3 + [("SE", 6)] * 3


def test_a_class_does_as_well_as_its_name() -> None:
    series = example()
    by_name = backtest(series, model="seasonal", **window(series, 38, 40))
    by_class = backtest(series, model=SeasonalProfile, **window(series, 38, 40))
    assert without_time(by_name) == without_time(by_class)


class Blinking(SeasonalProfile):
    """Refuses to forecast on every third day of the year, be it learning or not."""

    name = "blinking"

    def predict(self, issue_time_s: int, horizon: int) -> Forecast:
        if issue_time_s // DAY_S % 3 == 0:
            msg = "DE: the sensor is down"
            raise SignalGap(msg, hint="wait")
        return super().predict(issue_time_s, horizon)


def test_refused_forecasts_are_counted_and_the_rest_is_measured() -> None:
    series = example()
    made = backtest(series, model=Blinking, **window(series, 30, 40), refit_days=2)
    right = backtest(series, model=SeasonalProfile, **window(series, 30, 40), keep_forecasts=True)
    kept = [time_s // DAY_S % 3 != 0 for time_s in right.runs["DE"].issue_times_s.tolist()]
    zone = made.zones["DE"]
    assert (zone.refused, len(zone.issue_times_s)) == (kept.count(False), kept.count(True))
    np.testing.assert_allclose(zone.per_origin["mape"], right.zones["DE"].per_origin["mape"][kept])
    assert made.as_dict()["zones"]["DE"]["refused"] == kept.count(False)
    # Day 30 is such a day: where nothing at all can be forecast, the model says why.
    with pytest.raises(SignalGap, match="the sensor is down"):
        backtest(series, model=Blinking, **window(series, 30, 30))


def test_forecasts_are_kept_on_request_only() -> None:
    series = example()
    choices = {"model": "seasonal", **window(series, 38, 40)}
    assert backtest(series, **choices).runs == {}
    made = backtest(series, **choices, keep_forecasts=True)
    run = made.runs["DE"]
    actual = series["DE"].values_g_per_kwh[39 * 24 : 39 * 24 + 96]
    np.testing.assert_array_equal(run.actual_g_per_kwh[1], actual)
    assert run.quantiles_g_per_kwh.shape == (3, 3, 96)
    low, high = run.quantile(0.1), run.quantile(0.9)
    inside = ((run.actual_g_per_kwh >= low) & (run.actual_g_per_kwh <= high)).mean(axis=0)
    np.testing.assert_allclose(made.zones["DE"].coverage80, inside.reshape(4, 24).mean(axis=1))


class Prophet:
    """Knows the future of the series given: what a backtest must find perfect."""

    name = "prophet"
    future: CarbonSeries
    factor = 1.0

    def __init__(self) -> None:
        self.seen: list[int] = []

    def fit(self, history: CarbonSeries, *, covariates: object = None) -> Self:
        self.seen.append(history.slots.end_s)
        return self

    def update(self, history: CarbonSeries) -> Self:
        return self.fit(history)

    def predict(self, issue_time_s: int, horizon: int) -> Forecast:
        assert self.seen[-1] == issue_time_s, "history must end at the issue time"
        slots = SlotGrid(issue_time_s, self.future.slots.step_s, horizon)
        values = self.factor * np.nan_to_num(self.future.window(slots).values_g_per_kwh, nan=1.0)
        return Forecast(
            grid_zone="z",
            kind=IntensityKind.AVERAGE,
            slots=slots,
            issue_time_s=issue_time_s,
            mean_g_per_kwh=values,
            levels=(0.1, 0.5, 0.9),
            quantiles_g_per_kwh=np.stack([0.9 * values, values, 1.1 * values]),
            model=self.name,
            source="s",
        )


def prophesy(monkeypatch: pytest.MonkeyPatch, series: CarbonSeries, factor: float) -> None:
    monkeypatch.setattr(Prophet, "future", series, raising=False)
    monkeypatch.setattr(Prophet, "factor", factor)
    monkeypatch.setattr(module, "make_forecaster", lambda name, *, levels: Prophet())


def test_a_prophet_has_no_error_and_no_regret(monkeypatch: pytest.MonkeyPatch) -> None:
    series = example()
    prophesy(monkeypatch, series["DE"], 1.0)
    made = backtest({"DE": series["DE"]}, model="prophet", **window(series, 30, 34)).zones["DE"]
    assert made.mape == made.mae == made.mase == (0.0,) * 4
    assert made.coverage80 == (1.0,) * 4
    assert made.concordance == {"24h": 1.0, "96h": 1.0}
    assert made.regret["extra_share_24h"] == made.regret["extra_share_96h"] == 0.0
    assert made.regret["saving_share_of_oracle_96h"] == pytest.approx(1.0)
    assert made.regret["now_extra_share_24h"] > 0


def test_a_prophet_that_exaggerates_errs_by_that_and_still_ranks_right(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    series = example()
    prophesy(monkeypatch, series["DE"], 1.5)
    made = backtest({"DE": series["DE"]}, model="prophet", **window(series, 30, 34)).zones["DE"]
    np.testing.assert_allclose(made.mape, 50.0)
    assert made.coverage80[0] == 0.0
    assert made.concordance["96h"] == 1.0
    # MASE by hand: the mean error over the mean change from day to day before the start.
    past = series["DE"].values_g_per_kwh[: 30 * 24]
    assert made.mase[0] == pytest.approx(made.mae[0] / np.abs(past[24:] - past[:-24]).mean())


def test_unknown_values_are_left_out_and_what_can_not_be_known_is_null(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    series = example()["DE"]
    values = np.array(series.values_g_per_kwh)
    values[31 * 24 : 32 * 24] = np.nan
    holed = replace(series, values_g_per_kwh=values, quality=None)
    prophesy(monkeypatch, holed, 1.0)
    start_s = series.slots.start_s + 31 * DAY_S
    made = backtest({"DE": holed}, model="prophet", start_s=start_s, end_s=start_s).as_dict()["zones"]["DE"]
    assert made["mape"] == [None, 0.0, 0.0, 0.0]
    assert made["regret"]["extra_share_96h"] is None
    json.dumps(made, allow_nan=False)


def test_other_rhythms_and_short_horizons() -> None:
    series = example()
    made = backtest(series, model="ridge", **window(series, 38, 40), every_h=12, horizon=36).as_dict()
    assert made["origins"] == 5
    assert len(made["mean"]["mape"]) == 2
    assert list(made["mean"]["concordance"]) == ["24h", "36h"]
    tiny = backtest(series, model="seasonal", **window(series, 38, 39), horizon=3).as_dict()["mean"]
    assert list(tiny["concordance"]) == ["3h"]
    assert tiny["regret"] == {}


def test_the_frame_is_tidy() -> None:
    series = example()
    frame = backtest(series, model="seasonal", **window(series, 38, 40)).frame()
    assert list(frame.columns) == ["grid_zone", "lead_day", "metric", "value"]
    # By lead day 8 measures and 3 levels; of the whole: p95, 24 hours, 2 orders, 2 jobs of 10 figures.
    assert len(frame) == 2 * ((8 + 3) * 4 + 1 + 24 + 2 + 20)
    assert not frame.duplicated(["grid_zone", "lead_day", "metric"]).any()


def test_the_frame_of_origins_holds_what_the_means_are_of() -> None:
    series = example()
    made = backtest(series, model="seasonal", **window(series, 38, 40))
    frame = made.origins_frame()
    assert list(frame.columns) == ["grid_zone", "issue_time", "lead_day", "metric", "value"]
    assert len(frame) == 2 * 3 * 4 * 6
    assert not frame.duplicated(list(frame.columns[:4])).any()
    means = frame.groupby(["grid_zone", "metric", "lead_day"])["value"].mean()
    for zone, item in made.zones.items():
        for name in BY_ORIGIN:
            np.testing.assert_allclose(means[zone][name].to_numpy(), getattr(item, name))
    assert str(frame["issue_time"].iloc[0]) == "2026-02-08 00:00:00+00:00"


@pytest.mark.parametrize(
    ("first", "last", "changes", "error", "words"),
    [
        (40, 30, {}, SlotError, "before it starts"),
        (30, 42, {}, SlotError, "DE: forecasts from .* need values up to .*, known is 2026-01-01T00:00Z to"),
        (0, 30, {}, SlotError, "known is"),
        (30, 31, {"horizon": 0}, ConfigError, "must be positive"),
        (30, 31, {"every_h": 0}, ConfigError, "must be positive"),
        (30, 31, {"refit_days": 0}, ConfigError, "must be positive"),
        (30, 31, {"levels": (0.2, 0.8)}, ConfigError, "leave out 0.1 and 0.9"),
        (30, 31, {"model": "rigde"}, ConfigError, "did you mean ridge"),
        (10, 11, {"model": "ridge"}, TooLittleHistory, "DE: ridge needs 21 days"),
    ],
)
def test_bad_choices_are_refused(
    first: int, last: int, changes: dict[str, object], error: type[Exception], words: str
) -> None:
    series = example()
    with pytest.raises(error, match=words):
        backtest(series, **{"model": "seasonal", **window(series, first, last), **changes})


def test_issue_times_between_slots_and_no_series_are_refused() -> None:
    series = example()
    times = window(series, 30, 31)
    with pytest.raises(SlotError, match="no slot starts"):
        backtest(series, model="seasonal", **{**times, "start_s": times["start_s"] + 60})
    with pytest.raises(SlotError, match="no series"):
        backtest({}, model="seasonal", **times)


def test_zones_of_different_steps_are_refused() -> None:
    series = example()
    half = replace(series["SE"], slots=SlotGrid(series["SE"].slots.start_s, HOUR_S // 2, 45 * 24))
    with pytest.raises(SlotError, match=r"different steps \(1800 s, 3600 s\)"):
        backtest({"DE": series["DE"], "SE": half}, model="seasonal", **window(series, 10, 11))


# ------------------------------------------------------------ real grids, never the published window
def read_real(folder: Path, zone: str) -> CarbonSeries:
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(
        folder / "data" / "carbon" / f"ccast13_{zone}.parquet", columns=["ci_lifecycle"]
    )
    values = table.column(0).to_numpy().astype(float)
    slots = SlotGrid(parse_time("2020-01-01T00:00Z"), HOUR_S, len(values))
    return CarbonSeries(
        grid_zone=zone,
        kind=IntensityKind.AVERAGE,
        slots=slots,
        values_g_per_kwh=values,
        source=f"ccast13:{zone}",
    )


def test_real_grids_are_foreseen_as_measured(shared_data: Path) -> None:
    """Guards the measured order of models: weather over ridge over seasonal over yesterday."""
    zones = ("DE", "PJM", "SE")
    series = {zone: read_real(shared_data, zone) for zone in zones}
    weather = read_weather(
        [str(shared_data / "data" / "carbon" / f"ccast13_wx96_{zone}.parquet") for zone in zones]
    )
    offered = {zone: Covariates(weather=item) for zone, item in weather.items()}
    times = {"start_s": parse_time("2021-04-01T00:00Z"), "end_s": parse_time("2021-05-15T00:00Z")}
    made = {name: backtest(series, model=name, **times).as_dict()["mean"] for name in ("seasonal", "ridge")}
    made["weather"] = backtest(series, model="ridge", **times, covariates=offered).as_dict()["mean"]
    error = {name: float(np.mean(item["mape"])) for name, item in made.items()}
    assert error["weather"] < 0.75 * error["ridge"]
    assert error["ridge"] < 0.95 * error["seasonal"]
    assert np.mean(made["ridge"]["mase"]) < 1.2
    for item in made.values():
        assert all(0.72 < share < 0.88 for share in item["coverage80"])


def test_a_real_gap_of_19_days_is_survived(shared_data: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(shared_data / "data" / "carbon" / "eia_FPL.parquet", columns=["ci_lifecycle"])
    values = table.column(0).to_numpy().astype(float)
    series = CarbonSeries(
        grid_zone="FPL",
        kind=IntensityKind.AVERAGE,
        slots=SlotGrid(parse_time("2019-01-01T00:00Z"), HOUR_S, len(values)),
        values_g_per_kwh=values,
        source="eia:FPL",
    )
    assert series.missing >= 456
    start_s = parse_time("2022-03-15T00:00Z")
    made = backtest({"FPL": series}, model="ridge", start_s=start_s, end_s=start_s + 10 * DAY_S).zones["FPL"]
    assert np.mean(made.mape) < 8

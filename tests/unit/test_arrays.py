"""Frames to facts and back: equal facts, untouched frames, and refusals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from aicsched.domain.arrays import (
    forecast_frame,
    frame_from_series,
    placement_frame,
    series_from_frame,
    to_epoch_s,
)
from aicsched.domain.carbon import CarbonSeries, IntensityKind, Quality
from aicsched.domain.forecast import Forecast
from aicsched.domain.placement import Assignment, Certificate, Placement
from aicsched.errors import (
    AicschedError,
    InputError,
    SignalGap,
    SignalInvalid,
    SlotError,
    UnitError,
    UnknownZone,
)
from aicsched.slots import SlotGrid

if TYPE_CHECKING:
    from collections.abc import Callable

GRID = SlotGrid(1_609_459_200, 3600, 4)


def series(zone: str = "DE", **changes: Any) -> CarbonSeries:
    facts = {"grid_zone": zone, "kind": IntensityKind.AVERAGE, "slots": GRID, "source": "test"}
    return CarbonSeries(**{**facts, "values_g_per_kwh": [400.0, np.nan, 380.0, 390.0], **changes})


def same(one: CarbonSeries, two: CarbonSeries) -> None:
    for name in ("grid_zone", "kind", "slots", "source", "synthetic"):
        assert getattr(one, name) == getattr(two, name)
    np.testing.assert_array_equal(one.values_g_per_kwh, two.values_g_per_kwh)
    np.testing.assert_array_equal(one.quality, two.quality)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Asia/Kolkata"])
def test_times_of_any_resolution_and_zone_are_the_same_seconds(unit: str, zone: str) -> None:
    index = (
        pd.date_range("2021-10-30", "2021-11-01", freq="h", tz="Europe/Berlin").tz_convert(zone).as_unit(unit)
    )
    expected = [int(stamp.timestamp()) for stamp in index]
    assert to_epoch_s(index).tolist() == expected
    assert to_epoch_s(index.to_series()).tolist() == expected
    assert len(set(expected)) == 24 + 25 + 1  # the 31st had 25 hours; the end is part of the range


@pytest.mark.parametrize(
    ("times", "told"),
    [
        (pd.DatetimeIndex(["2021-01-01"]), "have no time zone; use for example"),
        (pd.Index([1, 2]), "are int64, not times"),
        (pd.DatetimeIndex(["2021-01-01", None], tz="UTC"), "time 1 is empty"),
        (pd.DatetimeIndex(["2021-01-01 00:00:00.5"], tz="UTC"), "time 0 falls between seconds"),
    ],
)
def test_times_that_are_none_are_refused(times: pd.Index[Any], told: str) -> None:
    with pytest.raises(SlotError, match=told):
        to_epoch_s(times)


def test_a_series_goes_into_a_tidy_frame_and_comes_back_equal() -> None:
    quality = [Quality.ACTUAL, Quality.MISSING, Quality.ESTIMATED, Quality.STALE]
    for item in (series(), series(quality=quality, synthetic=True, kind=IntensityKind.MARGINAL)):
        frame = frame_from_series(item)
        assert list(frame.columns) == [
            "grid_zone", "valid_time", "kind", "value_g_per_kwh", "quality", "source", "synthetic",
        ]  # fmt: skip
        assert str(frame["valid_time"].dtype) == "datetime64[ns, UTC]"
        same(series_from_frame(frame), item)


def test_a_slot_without_a_row_is_missing_and_not_actual() -> None:
    back = series_from_frame(frame_from_series(series(values_g_per_kwh=[1, 2, 3, 4])).drop(index=1))
    assert np.isnan(back.values_g_per_kwh[1])
    assert np.asarray(back.quality).tolist() == [
        Quality.ACTUAL,
        Quality.MISSING,
        Quality.ACTUAL,
        Quality.ACTUAL,
    ]


def test_several_zones_share_a_frame() -> None:
    both = frame_from_series([series(), series("SE", values_g_per_kwh=[1, 2, 3, 4])])
    same(series_from_frame(both, zone="DE"), series())
    assert series_from_frame(both, zone="SE").values_g_per_kwh.tolist() == [1, 2, 3, 4]
    with pytest.raises(InputError, match="'grid_zone' holds DE, SE; select one"):
        series_from_frame(both)
    with pytest.raises(UnknownZone, match="no grid zone 'D'; did you mean DE or SE"):
        series_from_frame(both, zone="D")
    with pytest.raises(InputError, match="no series"):
        frame_from_series([])


def test_a_plain_frame_with_a_time_index_needs_only_its_values() -> None:
    index = pd.date_range("2021-01-01", periods=3, freq="30min", tz="UTC")
    frame = pd.DataFrame({"ci": pd.array([4, None, 6], dtype="Int64"), "note": "x"}, index=index)
    with pytest.raises(SignalGap):
        series_from_frame(frame, zone="DE", column="ci")
    frame["ci"] = [4, 5, 6]
    got = series_from_frame(frame, zone="DE", column="ci", kind=IntensityKind.MARGINAL, source="mine")
    assert (got.slots, got.kind, got.source) == (
        SlotGrid(GRID.start_s, 1800, 3),
        IntensityKind.MARGINAL,
        "mine",
    )
    assert not got.values_g_per_kwh.flags.writeable


def test_shuffled_rows_give_the_same_series_and_stay_shuffled() -> None:
    frame = frame_from_series(series()).sample(frac=1, random_state=3)
    before = frame.copy(deep=True)
    same(series_from_frame(frame), series())
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        (lambda f: f.drop(columns="grid_zone"), InputError, "no column 'grid_zone'; say which zone"),
        (
            lambda f: f.set_axis(["grid_zone", "time", "kind", "value", *"qsx"], axis=1),
            InputError,
            "no column 'value_g_per_kwh'; did you mean value",
        ),
        (lambda f: f.iloc[:0], InputError, "holds"),
        (lambda f: f.assign(valid_time=f["valid_time"].dt.tz_localize(None)), SlotError, "no time zone"),
        (lambda f: f.assign(value_g_per_kwh=["a", "b", "c", "d"]), UnitError, "is no number"),
        (lambda f: f.assign(value_g_per_kwh=-1.0), SignalInvalid, "can't be true"),
        (lambda f: f.assign(valid_time=f["valid_time"].iloc[0]), SignalInvalid, "two different values"),
        (lambda f: f.assign(quality="good"), InputError, "'good' in column 'quality' can't be"),
        (
            lambda f: f.assign(kind="mean"),
            InputError,
            "'mean' is no kind of intensity; use average or marginal",
        ),
        (lambda f: f.assign(kind=["average", "marginal"] * 2), InputError, "'kind' holds average, marginal"),
        (lambda f: f.assign(source=["a", "b"] * 2), InputError, "'source' holds a, b"),
    ],
)
def test_frames_that_are_not_tidy_are_refused(
    change: Callable[[pd.DataFrame], pd.DataFrame], error: type[AicschedError], told: str
) -> None:
    with pytest.raises(error, match=told):
        series_from_frame(change(frame_from_series(series())))


def test_an_empty_frame_of_a_named_zone_is_refused() -> None:
    empty = pd.DataFrame({"ci": [1.0]}, index=pd.date_range("2021-01-01", periods=1, tz="UTC")).iloc[:0]
    with pytest.raises(InputError, match="holds no rows"):
        series_from_frame(empty, zone="DE", column="ci")


def test_a_forecast_becomes_one_row_a_slot() -> None:
    quantiles = np.array([[300.0] * 4, [500.0] * 4])
    forecast = Forecast(
        grid_zone="DE",
        kind=IntensityKind.AVERAGE,
        slots=GRID,
        issue_time_s=GRID.start_s - 7200,
        levels=(0.1, 0.975),
        mean_g_per_kwh=np.full(4, 400.0),
        quantiles_g_per_kwh=quantiles,
        model="ridge",
        source="test",
        synthetic=True,
    )
    frame = forecast_frame(forecast)
    assert frame["lead_h"].tolist() == [2, 3, 4, 5]
    assert frame["q10_g_per_kwh"].tolist() == [300] * 4
    assert frame["q97.5_g_per_kwh"].tolist() == [500] * 4
    assert to_epoch_s(frame["valid_time"]).tolist() == GRID.starts_s().tolist()
    assert set(to_epoch_s(frame["issue_time"])) == {GRID.start_s - 7200}
    assert frame["synthetic"].all()


def test_a_plan_becomes_one_row_a_job() -> None:
    rows = (
        Assignment(job_id="a", region="north", slot_indices=(0, 1), operational_g=10.0),
        Assignment(job_id="b", region="south", slot_indices=(0, 3), operational_g=5.0, transfer_g=2.0),
    )
    proof = Certificate(status="optimal", objective_g=17, lower_bound_g=17, method="test")
    plan = Placement(
        policy="optimal", slots=GRID, assignments=rows, certificate=proof, prices_g_per_vcpu_h={}
    )
    frame = placement_frame(plan)
    assert frame["job_id"].tolist() == ["a", "b"]
    assert (to_epoch_s(frame["start"]) - GRID.start_s).tolist() == [0, 0]
    assert (to_epoch_s(frame["end"]) - GRID.start_s).tolist() == [7200, 14400]
    assert frame["slots_h"].tolist() == [2, 2]
    assert frame["total_g"].sum() == plan.total_g

"""The data contract: steps, gaps, too little, and what may teach."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from aicsched.domain.carbon import CarbonSeries, IntensityKind
from aicsched.errors import ForecastError, NotFitted, SignalGap, SlotError, TooLittleHistory
from aicsched.forecast.base import need, prepare
from aicsched.slots import SlotGrid
from aicsched.testing import example_series


def series(values: object, step_s: int = 3600) -> CarbonSeries:
    array = np.asarray(values, dtype=float)
    return CarbonSeries(
        grid_zone="DE",
        kind=IntensityKind.AVERAGE,
        slots=SlotGrid(0, step_s, len(array)),
        values_g_per_kwh=array,
        source="test",
    )


def holed(days: int, *holes: slice) -> CarbonSeries:
    values = np.array(example_series(days=days).values_g_per_kwh)
    for hole in holes:
        values[hole] = np.nan
    return series(values)


def test_a_whole_history_is_its_logarithm() -> None:
    whole = example_series(days=3)
    made = prepare(whole, min_days=2, model="m")
    np.testing.assert_allclose(np.exp(made.log_values), whole.values_g_per_kwh)
    assert made.flags() == ()
    assert made.per_day == 24
    assert not made.log_values.flags.writeable


def test_zero_intensity_has_a_finite_logarithm() -> None:
    made = prepare(series(np.zeros(48)), min_days=2, model="m")
    assert np.isfinite(made.log_values).all()


def test_gaps_are_filled_from_the_same_hour_before_and_flagged() -> None:
    made = prepare(holed(10, slice(200, 206)), min_days=2, model="m")
    values = example_series(days=10).values_g_per_kwh
    wanted = np.mean([values[200 - 24 * age] for age in range(1, 8)])
    assert np.exp(made.log_values[200]) == pytest.approx(wanted)
    assert made.flags() == ("gaps-filled:6",)
    assert made.known.sum() == 234


def test_a_gap_at_the_start_is_filled_from_behind() -> None:
    made = prepare(holed(10, slice(0, 5)), min_days=2, model="m")
    assert np.exp(made.log_values[2]) == pytest.approx(example_series(days=10).values_g_per_kwh[26])


def test_an_hour_that_is_never_known_gets_the_mean() -> None:
    values = np.array(example_series(days=10).values_g_per_kwh)
    values[3::24] = np.nan
    made = prepare(series(values), min_days=2, model="m")
    assert np.exp(made.log_values[27]) == pytest.approx(np.nanmean(values))


@pytest.mark.parametrize(
    ("holes", "words"),
    [
        ((slice(0, 240),), "168 of 168 slots of the last week"),
        ((slice(90, 175),), "85 of 168 slots of the last week"),
        ((slice(227, 240),), "13 of 24 slots of the last day"),
    ],
)
def test_too_many_gaps_are_refused_with_their_place(holes: tuple[slice, ...], words: str) -> None:
    with pytest.raises(SignalGap, match=words):
        prepare(holed(10, *holes), min_days=2, model="m")


def test_a_long_gap_far_back_is_no_reason_to_refuse_but_teaches_nothing() -> None:
    made = prepare(holed(60, slice(480, 480 + 5 * 24)), min_days=21, model="m")
    origins = np.array([10 * 24, 20 * 24, 30 * 24])
    assert made.teaching(origins, 0, 96).tolist() == [True, False, True]


def test_of_a_history_with_too_many_gaps_the_newest_good_part_is_used() -> None:
    made = prepare(holed(60, slice(24 * 10, 24 * 10 + 30 * 24 + 5)), min_days=14, model="m")
    # From day 35 on 125 of 600 slots are missing, from day 34 on more than a quarter is... counted by hand:
    first = next(day for day in range(60) if max(0, 965 - 24 * day) <= 0.25 * (1440 - 24 * day))
    assert made.series.slots.start_s == first * 86_400
    assert made.flags() == (f"gaps-filled:{965 - 24 * first}", f"history-cut:{24 * first}")
    assert len(made.log_values) == len(made.known) == 1440 - 24 * first


def test_a_history_starts_with_its_first_known_day() -> None:
    made = prepare(holed(30, slice(0, 24 * 3 + 2)), min_days=14, model="m")
    assert made.series.slots.start_s == 3 * 86_400
    assert made.flags() == ("gaps-filled:2", "history-cut:72")


def test_what_is_cut_leaves_too_little() -> None:
    with pytest.raises(TooLittleHistory, match="m needs 14 days of history, there are 10"):
        prepare(holed(30, slice(0, 24 * 20)), min_days=14, model="m")


def test_dropouts_are_foreseen_instead_of_believed() -> None:
    values = np.array(example_series(days=10).values_g_per_kwh)
    clean = prepare(series(values), min_days=2, model="m")
    values[100:103] = [0.0, 0.4, 0.0]
    made = prepare(series(values), min_days=2, model="m")
    assert made.flags() == ("gaps-filled:3", "dropouts:3")
    np.testing.assert_allclose(made.log_values, clean.log_values, atol=0.3)
    assert made.series.values_g_per_kwh[100] == 0  # the fact itself stays


def test_short_histories_are_refused_by_name() -> None:
    with pytest.raises(TooLittleHistory, match=r"DE: m needs 3 days of history, there are 2\.0; give more"):
        prepare(series(np.ones(48)), min_days=3, model="m")


@pytest.mark.parametrize("step_s", [7 * 3600, 12 * 3600, 86_400, 5000])
def test_steps_that_make_no_day_are_refused(step_s: int) -> None:
    with pytest.raises(SlotError, match="no equal parts of a day"):
        prepare(series(np.ones(50), step_s), min_days=2, model="m")


@pytest.mark.parametrize("step_s", [300, 900, 1800, 3 * 3600, 6 * 3600])
def test_other_steps_work(step_s: int) -> None:
    assert (
        prepare(series(np.ones(2 * 86_400 // step_s), step_s), min_days=2, model="m").per_day
        == 86_400 // step_s
    )


def test_issue_times_lie_on_the_grid_of_the_history() -> None:
    made = prepare(example_series(days=3), min_days=2, model="m")
    slots = made.series.slots
    assert made.index_of(slots.end_s) == 72
    for time_s in (slots.start_s + 1, slots.start_s - 3600, slots.end_s + 3600):
        with pytest.raises(SlotError, match="no slot start"):
            made.index_of(time_s)


def test_nothing_is_foreseen_before_fit_or_for_no_slot() -> None:
    with pytest.raises(NotFitted, match="call fit"):
        need(None, "m", 24)
    history = prepare(example_series(days=3), min_days=2, model="m")
    assert need(history, "m", 24) is history
    with pytest.raises(ForecastError, match="horizon of 0"):
        need(history, "m", 0)


def test_quality_flags_do_not_change_values() -> None:
    whole = example_series(days=3)
    other = replace(whole, quality=np.ones(len(whole.slots), dtype=np.int8))
    one, two = prepare(whole, min_days=2, model="m"), prepare(other, min_days=2, model="m")
    np.testing.assert_array_equal(one.log_values, two.log_values)

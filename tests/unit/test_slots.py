"""The time grid at clock changes, leap days, year ends and its edges."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aicsched.errors import SlotError
from aicsched.slots import SlotGrid, format_time, parse_time, to_epoch_s

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("first", "last", "hours"),
    [
        (datetime(2026, 10, 25, tzinfo=BERLIN), datetime(2026, 10, 26, tzinfo=BERLIN), 25),
        (datetime(2026, 3, 29, tzinfo=BERLIN), datetime(2026, 3, 30, tzinfo=BERLIN), 23),
        (datetime(2024, 2, 28, tzinfo=UTC), datetime(2024, 3, 1, tzinfo=UTC), 48),
        (datetime(2026, 12, 31, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC), 24),
    ],
)
def test_days_have_as_many_slots_as_hours_passed(first: datetime, last: datetime, hours: int) -> None:
    assert len(SlotGrid.from_times(first, last)) == hours


@pytest.mark.parametrize("text", ["2021-07-01T00:00", "2021-07-01", "2021-07-01 00:00:00"])
def test_naive_times_are_refused_with_the_fix(text: str) -> None:
    with pytest.raises(SlotError, match=r"no time zone; add an offset, for example Z"):
        parse_time(text)


@pytest.mark.parametrize("text", ["", "yesterday", "2021-13-01T00:00Z", "2021-02-29T00:00Z"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(SlotError, match="ISO 8601"):
        parse_time(text)


def test_fractions_of_a_second_are_refused() -> None:
    with pytest.raises(SlotError, match="between seconds"):
        to_epoch_s(datetime(2021, 1, 1, 0, 0, 0, 5, tzinfo=UTC))


@given(st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1)), st.integers(-14 * 60, 14 * 60))  # noqa: DTZ001
def test_writing_and_reading_a_time_is_the_identity(moment: datetime, offset_minutes: int) -> None:
    aware = moment.replace(microsecond=0, tzinfo=timezone(timedelta(minutes=offset_minutes)))
    assert parse_time(format_time(to_epoch_s(aware))) == to_epoch_s(aware)
    assert parse_time(aware.isoformat()) == to_epoch_s(aware)


def test_a_grid_knows_its_slots() -> None:
    grid = SlotGrid(7200, 1800, 4)
    assert grid.starts_s().tolist() == [7200, 9000, 10800, 12600]
    assert grid.starts_s().dtype == np.int64
    assert (grid.end_s, grid.step_h, len(grid)) == (14400, 0.5, 4)
    assert grid.after(2) == SlotGrid(14400, 1800, 2)


@pytest.mark.parametrize("bad", [{"step_s": 0}, {"step_s": -3600}, {"count": -1}])
def test_what_is_no_grid_is_refused(bad: dict[str, int]) -> None:
    with pytest.raises(SlotError):
        SlotGrid(start_s=0, **bad)


def test_a_window_that_cuts_a_slot_is_refused() -> None:
    with pytest.raises(SlotError, match="no whole number"):
        SlotGrid.from_times("2021-01-01T00:00Z", "2021-01-01T01:30Z")
    with pytest.raises(SlotError):
        SlotGrid.from_times("2021-01-02T00:00Z", "2021-01-01T00:00Z")


grids = st.builds(SlotGrid, st.integers(-(10**6), 10**6), st.integers(1, 5000), st.integers(0, 60))


@given(grids, st.integers(-(10**6), 10**6), st.integers(0, 10**6))
def test_between_gives_exactly_the_whole_slots_inside(grid: SlotGrid, start_s: int, length_s: int) -> None:
    part = grid.between(start_s, start_s + length_s)
    inside = [
        start
        for start in grid.starts_s().tolist()
        if start >= start_s and start + grid.step_s <= start_s + length_s
    ]
    assert part.starts_s().tolist() == inside
    if inside:
        assert grid.contains(part)
        assert grid.starts_s()[grid.offset_of(part)] == inside[0]


@given(grids, st.integers(-(10**6), 10**6))
def test_index_at_finds_the_slot_that_holds_a_time(grid: SlotGrid, epoch_s: int) -> None:
    if grid.start_s <= epoch_s < grid.end_s:
        start = grid.starts_s()[grid.index_at(epoch_s)]
        assert start <= epoch_s < start + grid.step_s
    else:
        with pytest.raises(SlotError, match="lies outside"):
            grid.index_at(epoch_s)


def test_a_grid_off_the_labels_is_not_contained() -> None:
    grid = SlotGrid(0, 3600, 10)
    assert not grid.contains(SlotGrid(1800, 3600, 2))
    assert not grid.contains(SlotGrid(0, 1800, 2))
    assert not grid.contains(SlotGrid(0, 3600, 11))
    with pytest.raises(SlotError, match="are not all in"):
        grid.offset_of(SlotGrid(0, 3600, 11))


def test_seconds_show_only_when_there_are_some() -> None:
    assert format_time(61) == "1970-01-01T00:01:01Z"

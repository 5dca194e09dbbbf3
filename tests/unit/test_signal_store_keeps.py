"""What the store keeps: neither another year's file nor a clock that was ahead takes away what is held."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aicsched.domain.carbon import CarbonSeries, IntensityKind
from aicsched.signals.live import LastKnownGood
from aicsched.signals.store import SignalStore
from aicsched.slots import DAY_S, HOUR_S, SlotGrid
from tests.signals_kit import START_S, HandClock, MoodySource, truth

if TYPE_CHECKING:
    from pathlib import Path


def days(zone: str, start_s: int, count: int) -> CarbonSeries:
    slots = SlotGrid(start_s, HOUR_S, 24 * count)
    return CarbonSeries(
        grid_zone=zone,
        kind=IntensityKind.AVERAGE,
        slots=slots,
        values_g_per_kwh=truth(slots.starts_s()),
        source="test",
    )


def test_a_clock_that_was_ahead_takes_nothing_away(tmp_path: Path) -> None:
    with SignalStore(tmp_path / "s.db", retention_s=10 * DAY_S) as store:
        store.record(days("DE", START_S, 5), START_S + 5 * DAY_S)
        store.record(days("SE", START_S, 5), START_S + 4000 * DAY_S)
        held = {zone: store.read("test", zone) for zone in ("DE", "SE")}
    assert {len(series.slots) for series in held.values()} == {120}


def test_what_is_old_when_it_is_read_is_kept_as_it_was_told(tmp_path: Path) -> None:
    with SignalStore(tmp_path / "s.db", retention_s=10 * DAY_S) as store:
        assert store.record(days("DE", START_S - 700 * DAY_S, 2), START_S) == 48
        assert len(store.read("test", "DE").slots) == 48


def test_data_of_long_ago_are_old_and_no_error(tmp_path: Path) -> None:
    clock = HandClock()
    source = MoodySource(clock)
    with SignalStore(tmp_path / "s.db") as store:
        live = LastKnownGood(source, store, clock=clock)
        before = live.read("DE")
        source.twist = lambda _: before
        clock.sleep(400 * DAY_S)
        late = live.read("DE")
    assert late.slots.end_s == before.slots.end_s
    assert late.slots.end_s <= START_S

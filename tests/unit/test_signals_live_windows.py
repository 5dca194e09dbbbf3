"""Windows in longer slots than a source's own: one series is stored, and each reader gets its mean."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

from aicsched.errors import OutputError, SlotError, SourceUnavailable
from aicsched.signals.live import LastKnownGood
from aicsched.signals.staleness import newest_end_s
from aicsched.signals.store import SignalStore
from aicsched.slots import HOUR_S, SlotGrid
from tests.signals_kit import START_S, HandClock, MoodySource, Stepped

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from aicsched.domain.carbon import CarbonSeries

BACK = SlotGrid(START_S - 120 * HOUR_S, HOUR_S, 24)


@pytest.fixture
def clock() -> HandClock:
    return HandClock(START_S + 600)


@pytest.fixture
def store(tmp_path: Path) -> Generator[SignalStore]:
    with SignalStore(tmp_path / "signals.db") as made:
        yield made


def is_right(series: CarbonSeries, source: Stepped) -> None:
    wanted = [source.right(start_s, series.slots.step_s) for start_s in series.slots.starts_s().tolist()]
    np.testing.assert_allclose(series.values_g_per_kwh, wanted)


@pytest.mark.parametrize("step_s", [300, 1800])
@pytest.mark.parametrize("read_before", [True, False])
def test_longer_slots_are_means_of_what_is_stored(
    store: SignalStore, clock: HandClock, step_s: int, read_before: bool
) -> None:
    source = Stepped("fine", clock, step_s=step_s)
    live = LastKnownGood(source, store, clock=clock)
    if read_before:
        live.read("DE")
    is_right(live.read("DE", BACK), source)
    assert {key.step_s for key in store.series_keys()} == {step_s}
    # What was fetched by the hour is what a reader without a window gets.
    clock.sleep(HOUR_S)
    assert live.read("DE").slots.step_s == step_s
    source.fault = SourceUnavailable("fine answered 503")
    is_right(live.read("DE", BACK), source)
    clock.sleep(HOUR_S)
    late = live.read("DE", SlotGrid(START_S - 2 * HOUR_S, HOUR_S, 6))
    assert newest_end_s(late) == START_S + HOUR_S
    assert any(flag.startswith("stored:") for flag in late.flags)


def test_shorter_slots_than_its_own_are_refused(store: SignalStore, clock: HandClock) -> None:
    live = LastKnownGood(Stepped("coarse", clock), store, clock=clock)
    for fault in (None, SourceUnavailable("down")):
        live.source.fault = fault  # pyright: ignore[reportAttributeAccessIssue] - it is ours
        with pytest.raises(SlotError):
            live.read("DE", SlotGrid(START_S - 5 * HOUR_S, 900, 4))


def test_a_store_that_can_not_be_written_changes_no_slot(
    store: SignalStore, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object, **_named: object) -> int:
        msg = "the disk is full"
        raise OutputError(msg)

    monkeypatch.setattr(store, "record", full)
    source = Stepped("fine", clock, step_s=300)
    is_right(LastKnownGood(source, store, clock=clock).read("DE", BACK), source)


def test_a_zone_that_takes_long_holds_up_no_other(store: SignalStore, clock: HandClock) -> None:
    source = MoodySource(clock, zones=("DE", "FR"))
    asked, go_on = threading.Event(), threading.Event()

    def slow(series: CarbonSeries) -> CarbonSeries:
        if series.grid_zone == "DE":
            asked.set()
            assert go_on.wait(20)
        return series

    source.twist = slow
    live = LastKnownGood(source, store, clock=clock)
    reader = threading.Thread(target=live.read, args=("DE",))
    reader.start()
    try:
        assert asked.wait(20)
        done = threading.Thread(target=live.read, args=("FR",))
        done.start()
        done.join(20)
        assert not done.is_alive()
    finally:
        go_on.set()
        reader.join()
    assert {key.grid_zone for key in store.series_keys()} == {"DE", "FR"}

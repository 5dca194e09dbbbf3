"""Several sources as one, the first late or down: it never hides one that is up to date."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from aicsched.domain.carbon import Quality
from aicsched.errors import SourceUnavailable
from aicsched.forecast.live import forecast_live
from aicsched.signals.carbon.merge import MergedCarbon
from aicsched.signals.live import LastKnownGood
from aicsched.signals.staleness import Staleness, newest_end_s, staleness_of
from aicsched.signals.store import SignalStore
from aicsched.slots import HOUR_S
from tests.signals_kit import START_S, HandClock, Stepped

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from aicsched.domain.carbon import CarbonSeries

DAY_S = 24 * HOUR_S


@pytest.fixture
def clock() -> HandClock:
    return HandClock(START_S + 600)


@pytest.fixture
def store(tmp_path: Path) -> Generator[SignalStore]:
    with SignalStore(tmp_path / "signals.db") as made:
        yield made


def merged_of(store: SignalStore, clock: HandClock, *sources: Stepped) -> MergedCarbon:
    return MergedCarbon([LastKnownGood(each, store, clock=clock) for each in sources], clock=clock)


def each_right(series: CarbonSeries, merged: MergedCarbon, sources: tuple[Stepped, ...]) -> None:
    """Each slot has exactly what one source says of it."""
    again, provenance = merged.read_with_provenance("DE")
    assert again.slots == series.slots
    by_id = {each.source_id: each for each in sources}
    for slot, start_s in enumerate(series.slots.starts_s().tolist()):
        who = provenance.source_of(slot)
        if who is not None:
            wanted = by_id[who].right(start_s, series.slots.step_s)
            assert series.values_g_per_kwh[slot] == pytest.approx(wanted)


@pytest.mark.parametrize("how", ["down", "late"])
@pytest.mark.parametrize(("first_step_s", "second_step_s"), [(3600, 3600), (1800, 3600), (3600, 300)])
def test_the_second_goes_on_where_the_first_ends(
    store: SignalStore, clock: HandClock, how: str, first_step_s: int, second_step_s: int
) -> None:
    first = Stepped("a", clock, step_s=first_step_s)
    second = Stepped("b", clock, step_s=second_step_s, base=500.0)
    merged = merged_of(store, clock, first, second)
    assert merged.read("DE").slots.step_s == first_step_s
    assert second.asked == []
    clock.sleep(10 * HOUR_S)
    if how == "down":
        first.fault = SourceUnavailable("a answered 503")
    else:
        first.behind_s = 10 * HOUR_S
    series, provenance = merged.read_with_provenance("DE")
    assert newest_end_s(series) == START_S + 10 * HOUR_S
    assert staleness_of(series, clock.now_s()) is Staleness.FRESH
    assert provenance.source_of(0) == "a"
    assert provenance.source_of(len(series.slots) - 1) == "b"
    each_right(series, merged, (first, second))
    made = forecast_live(merged, ["DE"], now_s=clock.now_s(), horizon_h=6, model="seasonal")
    assert made.staleness == {"DE": Staleness.FRESH}
    first.fault, first.behind_s = None, 0
    clock.sleep(120)
    _, provenance = merged.read_with_provenance("DE")
    assert {provenance.source_of(slot) for slot in range(len(provenance.chosen))} == {"a"}


def test_where_all_are_late_the_newest_is_told_with_its_age(store: SignalStore, clock: HandClock) -> None:
    first, second, third = Stepped("a", clock), Stepped("b", clock, base=500.0), Stepped("c", clock, base=700)
    merged = merged_of(store, clock, first, second, third)
    first.behind_s, second.behind_s, third.behind_s = 9 * HOUR_S, 4 * HOUR_S, 7 * HOUR_S
    series = merged.read("DE")
    assert newest_end_s(series) == START_S - 4 * HOUR_S
    assert staleness_of(series, clock.now_s()) is Staleness.DEGRADED
    each_right(series, merged, (first, second, third))


def test_what_ended_long_ago_leaves_no_gap_of_months(store: SignalStore, clock: HandClock) -> None:
    first, second = Stepped("a", clock), Stepped("b", clock, base=500.0)
    merged = merged_of(store, clock, first, second)
    merged.read("DE")
    first.fault = SourceUnavailable("a is gone")
    clock.sleep(200 * DAY_S)
    series = merged.read("DE")
    assert (series.missing, newest_end_s(series)) == (0, START_S + 200 * DAY_S)
    assert staleness_of(series, clock.now_s()) is Staleness.FRESH


def test_a_lag_of_one_source_neither_hides_nor_excuses_another(store: SignalStore, clock: HandClock) -> None:
    first, second = Stepped("a", clock), Stepped("b", clock, base=500.0)
    first.lag_s = first.behind_s = DAY_S
    first.behind_s += 5 * HOUR_S  # later than it says to be
    merged = merged_of(store, clock, first, second)
    series = merged.read("DE")
    assert (newest_end_s(series), series.availability_lag_s) == (START_S, 0)
    assert newest_end_s(series.known_at(int(clock.now_s()))) == START_S
    second.fault = SourceUnavailable("b answered 503")
    clock.sleep(8 * HOUR_S)
    series = merged.read("DE")
    assert newest_end_s(series) == START_S
    assert staleness_of(series, clock.now_s()) is Staleness.DEGRADED  # the first is five hours overdue
    first.behind_s = DAY_S
    clock.sleep(120)
    assert staleness_of(merged.read("DE"), clock.now_s()) is Staleness.FRESH


def test_the_past_knows_of_each_source_what_it_had_said_by_then(clock: HandClock) -> None:
    first, second = Stepped("a", clock), Stepped("b", clock, base=500.0)
    first.lag_s = DAY_S
    first.behind_s = DAY_S + 5 * HOUR_S
    series = MergedCarbon([first, second], clock=clock).read("DE")
    assert series.availability_lag_s == 0
    # Of the first source's slots, those that ended a day before.
    assert newest_end_s(series.known_at(START_S - 10 * HOUR_S)) == START_S - 10 * HOUR_S
    known = series.known_at(START_S - 24 * HOUR_S)
    ages_h = (START_S - known.slots.starts_s()[np.isnan(known.values_g_per_kwh)]) // HOUR_S
    assert (ages_h.max(), ages_h.min(), len(ages_h)) == (48, 30, 19)


def test_without_a_store_a_late_source_hides_nothing_either(clock: HandClock) -> None:
    first, second = Stepped("a", clock), Stepped("b", clock, base=500.0)
    first.behind_s = 8 * HOUR_S
    series, provenance = MergedCarbon([first, second], clock=clock).read_with_provenance("DE")
    assert newest_end_s(series) == START_S
    assert [provenance.source_of(slot) for slot in (0, len(series.slots) - 1)] == ["a", "b"]
    assert not (np.asarray(series.quality) == Quality.STALE).any()

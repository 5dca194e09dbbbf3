"""A source beside its store: what comes out when the upstream, the clock or the disk fails."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from aicsched.domain.carbon import CarbonSeries, IntensityKind, Quality
from aicsched.errors import (
    ConfigError,
    SignalGap,
    SignalInvalid,
    SlotError,
    SourceUnavailable,
    UnknownZone,
)
from aicsched.signals.carbon.sample import SAMPLE_NOW_S, SampleCarbon
from aicsched.signals.live import LastKnownGood
from aicsched.signals.staleness import Staleness, newest_end_s, skew_s, staleness_of
from aicsched.signals.store import SignalStore
from aicsched.slots import HOUR_S, SlotGrid
from aicsched.testing import check_source, example_series
from tests.signals_kit import START_S, HandClock, MoodySource, changed, truth

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

DAY_S = 24 * HOUR_S
DOWN = SourceUnavailable("moody:v1 answered 503")


@pytest.fixture
def clock() -> HandClock:
    return HandClock(START_S + 600)


@pytest.fixture
def source(clock: HandClock) -> MoodySource:
    return MoodySource(clock)


@pytest.fixture
def store(tmp_path: Path) -> Generator[SignalStore]:
    with SignalStore(tmp_path / "signals.db") as made:
        yield made


@pytest.fixture
def live(source: MoodySource, store: SignalStore, clock: HandClock) -> LastKnownGood:
    return LastKnownGood(source, store, clock=clock)


def counted(live: LastKnownGood, name: str) -> dict[tuple[str, ...], float]:
    return {labels: value for metric, labels, value in live.health.samples() if metric.name == name}


def true_everywhere(series: CarbonSeries, version: int = 0) -> None:
    known = ~np.isnan(series.values_g_per_kwh)
    assert known.any()
    wanted = truth(series.slots.starts_s(), version=version)
    np.testing.assert_array_equal(series.values_g_per_kwh[known], wanted[known])


# ---------------------------------------------------------------- a source that answers
def test_it_is_a_carbon_source_by_the_published_suite(store: SignalStore) -> None:
    check_source(LastKnownGood(SampleCarbon(), store, clock=HandClock(SAMPLE_NOW_S)))


def test_answers_grow_with_the_store(live: LastKnownGood, clock: HandClock) -> None:
    assert len(live.read("DE").slots) == 72
    clock.sleep(48 * HOUR_S)
    series = live.read("DE")
    assert len(series.slots) == 120
    assert series.slots.end_s == START_S + 48 * HOUR_S
    assert series.flags == ()
    true_everywhere(series)
    assert staleness_of(series, clock.now_s()) is Staleness.FRESH
    assert counted(live, "aicsched_signal_reads_total") == {("moody:v1", "fresh"): 2.0}


def test_revisions_reach_the_answer_and_the_past_stays_what_it_was(
    live: LastKnownGood, source: MoodySource, clock: HandClock
) -> None:
    first = live.read("DE")
    clock.sleep(HOUR_S)
    source.version = 1
    series = live.read("DE")
    true_everywhere(series.window(first.slots.between(START_S - 71 * HOUR_S, START_S)), version=1)
    np.testing.assert_array_equal(series.known_at(START_S + 600).values_g_per_kwh, first.values_g_per_kwh)


def test_the_source_is_left_alone_for_a_minute(
    live: LastKnownGood, source: MoodySource, clock: HandClock
) -> None:
    live.read("DE")
    clock.sleep(59)
    live.read("DE")
    assert len(source.asked) == 1
    clock.sleep(1)
    live.read("DE")
    assert len(source.asked) == 2


# ---------------------------------------------------------------- a source that doesn't
def test_while_it_is_down_the_last_known_values_answer_with_their_age(
    live: LastKnownGood, source: MoodySource, clock: HandClock, store: SignalStore
) -> None:
    before = live.read("DE")
    source.fault = DOWN
    clock.sleep(3 * HOUR_S)
    series = live.read("DE")
    np.testing.assert_array_equal(series.values_g_per_kwh, before.values_g_per_kwh)
    assert series.flags == (f"stored:{3 * HOUR_S + 600}",)
    stale = np.asarray(series.quality) == Quality.STALE
    # What a read would have confirmed: the last day, of which three hours are missing.
    assert stale.sum() == 20
    assert stale[-20:].all()
    assert staleness_of(series, clock.now_s()) is Staleness.DEGRADED
    (told,) = store.tries()
    assert (told.failures, told.error, told.good_s) == (1, "moody:v1 answered 503", START_S + 600)
    assert counted(live, "aicsched_signal_age_seconds") == {("moody:v1",): 3.0 * HOUR_S + 600}
    clock.sleep(4 * HOUR_S)
    assert staleness_of(live.read("DE"), clock.now_s()) is Staleness.NEUTRAL


@pytest.mark.parametrize(
    "fault", [DOWN, SignalInvalid("no JSON"), ConfigError("refuses the token"), RuntimeError("a defect")]
)
def test_any_fault_of_a_source_is_survived_once_something_is_known(
    live: LastKnownGood, source: MoodySource, clock: HandClock, fault: Exception
) -> None:
    live.read("DE")
    source.fault = fault
    clock.sleep(HOUR_S)
    assert live.read("DE").flags == ("stored:4200",)
    true_everywhere(live.read("DE"))


def test_before_anything_is_known_a_fault_is_a_fault(live: LastKnownGood, source: MoodySource) -> None:
    source.fault = DOWN
    with pytest.raises(SourceUnavailable, match="503"):
        live.read("DE")
    with pytest.raises(UnknownZone, match="did you mean DE"):
        live.read("DEE")


def test_a_new_process_goes_on_from_the_store(
    live: LastKnownGood, source: MoodySource, store: SignalStore, clock: HandClock
) -> None:
    live.read("DE")
    source.fault = DOWN
    clock.sleep(HOUR_S)
    assert (
        live.read("DE").values_g_per_kwh.tobytes()
        == LastKnownGood(source, store, clock=clock).read("DE").values_g_per_kwh.tobytes()
    )


def test_after_a_long_outage_what_was_missed_is_asked_for(
    live: LastKnownGood, source: MoodySource, clock: HandClock
) -> None:
    live.read("DE")
    source.fault = DOWN
    clock.sleep(9 * DAY_S)
    assert staleness_of(live.read("DE"), clock.now_s()) is Staleness.NEUTRAL
    source.fault = None
    clock.sleep(HOUR_S)
    series = live.read("DE")
    assert source.asked[-1] == SlotGrid(START_S - DAY_S, HOUR_S, 10 * 24 + 1)
    assert series.missing == 0
    true_everywhere(series)


def test_zones_come_from_the_store_while_the_source_can_not_say(
    live: LastKnownGood, source: MoodySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    live.read("DE")

    def down() -> tuple[str, ...]:
        raise DOWN

    monkeypatch.setattr(source, "zones", down)
    assert live.zones() == ("DE",)


# ---------------------------------------------------------------- windows
def test_a_window_reaches_behind_what_is_known_and_stays_on_the_grid(
    live: LastKnownGood, source: MoodySource, clock: HandClock
) -> None:
    ahead = SlotGrid(START_S - 2 * HOUR_S, HOUR_S, 4)
    assert np.isnan(live.read("DE", ahead).values_g_per_kwh).tolist() == [False, False, True, True]
    source.fault = DOWN
    assert np.isnan(live.read("DE", ahead).values_g_per_kwh).tolist() == [False, False, True, True]
    with pytest.raises(SlotError, match="not on the grid"):
        live.read("DE", SlotGrid(START_S - 1800, HOUR_S, 2))
    with pytest.raises(SourceUnavailable):
        live.read("DE", SlotGrid(START_S + DAY_S, HOUR_S, 2))


def test_forecasts_of_a_source_are_for_windows_and_never_for_known(
    live: LastKnownGood, source: MoodySource, clock: HandClock
) -> None:
    ahead = SlotGrid(START_S - 4 * HOUR_S, HOUR_S, 8)
    source.twist = lambda series: replace(
        series,
        values_g_per_kwh=truth(series.slots.starts_s()),
        quality=np.where(series.slots.starts_s() < START_S - 2 * HOUR_S, Quality.ACTUAL, Quality.FORECAST),
    )
    foreseen = live.read("DE", ahead)
    assert foreseen.quality.tolist() == [0, 0, 2, 2, 2, 2, 2, 2]
    series = live.read("DE")
    assert newest_end_s(series) == START_S - 2 * HOUR_S
    assert newest_end_s(series.known_at(START_S)) == START_S - 2 * HOUR_S


# ---------------------------------------------------------------- what is not believed
def test_measured_values_of_the_future_are_taken_out_and_counted(
    live: LastKnownGood, source: MoodySource, clock: HandClock, store: SignalStore
) -> None:
    def ahead(series: CarbonSeries) -> CarbonSeries:
        slots = SlotGrid(series.slots.start_s, HOUR_S, len(series.slots) + 3)
        return replace(series, slots=slots, values_g_per_kwh=truth(slots.starts_s()), quality=None)

    source.twist = ahead
    series = live.read("DE")
    assert series.slots.end_s == START_S
    assert series.flags == ("future:2",)
    assert store.tries()[0].refusals == {"future": 2}
    assert counted(live, "aicsched_signal_refused_values_total") == {("moody:v1", "future"): 2.0}
    # The slot under way is kept as an estimate, which the next read replaces.
    kept = store.read("moody:v1", "DE")
    assert kept.slots.end_s == START_S + HOUR_S
    assert kept.quality[-1] == Quality.ESTIMATED


def test_another_kind_or_zone_is_refused_and_the_store_answers(
    live: LastKnownGood, source: MoodySource, clock: HandClock
) -> None:
    live.read("DE")
    for twist in (
        lambda series: replace(series, kind=IntensityKind.MARGINAL),
        lambda series: replace(series, grid_zone="SE"),
        lambda series: replace(series, synthetic=True),
    ):
        source.twist = twist
        clock.sleep(60)
        series = live.read("DE")
        assert (series.kind, series.grid_zone, series.synthetic) == (IntensityKind.AVERAGE, "DE", False)
        true_everywhere(series)


def test_answers_that_are_mostly_gaps_or_empty_are_refused(
    live: LastKnownGood, source: MoodySource, clock: HandClock, store: SignalStore
) -> None:
    live.read("DE")
    source.version = 1

    def holes(series: CarbonSeries, every: int) -> CarbonSeries:
        values = np.array(series.values_g_per_kwh)
        values[::every] = np.nan
        return replace(series, values_g_per_kwh=values, quality=None)

    for every in (1, 2, 3):
        source.twist = lambda series, every=every: holes(series, every)
        clock.sleep(60)
        series = live.read("DE")
        assert series.flags[0].startswith("stored:")
        true_everywhere(series, version=0)
    assert store.tries()[0].refusals == {"gaps": 3}
    source.twist = lambda series: holes(series, 5)
    clock.sleep(60)
    assert live.read("DE").flags == ()
    source.twist = lambda series: holes(series, 2)
    with SignalStore(store.path.with_name("empty.db")) as empty:
        anew = LastKnownGood(source, empty, clock=clock)
        with pytest.raises(SignalGap, match="slots of 'DE' from"):
            anew.read("DE")


def test_taken_out_by_the_source_is_counted_here_too(
    live: LastKnownGood, source: MoodySource, store: SignalStore
) -> None:
    source.twist = lambda series: changed(series, 5, np.nan, Quality.QUARANTINED)
    assert live.read("DE").flags == ("quarantined:1",)
    assert store.tries()[0].refusals == {"impossible": 1}


# ---------------------------------------------------------------- clocks
def test_clocks_that_differ_degrade_what_seems_new(
    live: LastKnownGood, source: MoodySource, clock: HandClock, store: SignalStore
) -> None:
    source.twist = lambda series: replace(series, flags=("clock-skew:-300",))
    series = live.read("DE")
    assert (series.flags, skew_s(series.flags)) == (("clock-skew:-300",), -300)
    assert staleness_of(series, clock.now_s()) is Staleness.DEGRADED
    assert store.tries()[0].skew_s == -300
    assert counted(live, "aicsched_signal_clock_skew_seconds") == {("moody:v1",): -300.0}


@pytest.mark.parametrize("jump_s", [-HOUR_S, -90, -5 * DAY_S])
def test_a_clock_that_goes_back_loses_nothing_and_hides_nothing(
    live: LastKnownGood, source: MoodySource, clock: HandClock, store: SignalStore, jump_s: int
) -> None:
    """A clock that ran ahead dated readings in what is now the future."""
    ahead = HandClock(clock.now_s() - jump_s)
    LastKnownGood(MoodySource(ahead), store, clock=ahead).read("DE")
    source.version = 2
    for _ in range(3):
        clock.sleep(61)
        series = live.read("DE")
        assert "unrecorded" not in series.flags
        true_everywhere(series.window(series.slots.between(START_S - 70 * HOUR_S, START_S)), version=2)
        assert series.slots.end_s <= clock.now_s()
        np.testing.assert_array_equal(
            series.known_at(int(clock.now_s())).values_g_per_kwh, series.values_g_per_kwh
        )


# ---------------------------------------------------------------- a store that fails
def test_a_full_disk_costs_the_past_and_not_the_present(
    live: LastKnownGood, source: MoodySource, clock: HandClock, store: SignalStore
) -> None:
    live.read("DE")
    store._database.execute("PRAGMA max_page_count = 1")  # SQLite takes what is used already
    pages = store._database.execute("PRAGMA page_count").fetchone()[0]
    store._database.execute(f"PRAGMA max_page_count = {pages}")
    for day in range(40):
        clock.sleep(DAY_S)
        source.version = day
        series = live.read("DE")
        assert staleness_of(series, clock.now_s()) is Staleness.FRESH
        true_everywhere(series.window(series.slots.between(int(clock.now_s()) - 20 * HOUR_S, 2**40)), day)
        if "unrecorded" in series.flags:
            break
    else:
        pytest.fail("the disk never got full")
    source.fault = DOWN
    clock.sleep(4 * HOUR_S)
    series = live.read("DE")
    assert series.flags == (f"stored:{4 * HOUR_S + 600}", "unrecorded") or series.flags == (
        "unrecorded",
        f"stored:{4 * HOUR_S + 600}",
    )
    source.fault = None
    store._database.execute("PRAGMA max_page_count = 100000")
    clock.sleep(60)
    assert live.read("DE").flags == ()


def test_a_store_that_breaks_on_the_way_is_set_aside(
    live: LastKnownGood, source: MoodySource, clock: HandClock, store: SignalStore
) -> None:
    live.read("DE")
    store._database.execute("UPDATE readings SET ci_g_per_kwh = 1.0")
    clock.sleep(HOUR_S)
    series = live.read("DE")
    true_everywhere(series)
    assert len(store.damaged) == 1
    assert store.verify() == 72
    store._database.execute("UPDATE readings SET ci_g_per_kwh = 1.0")
    source.fault = DOWN
    clock.sleep(HOUR_S)
    with pytest.raises(SourceUnavailable):  # no number rather than a wrong one
        live.read("DE")


def test_stores_without_any_number_are_told_by_staleness() -> None:
    series = example_series(days=1)
    nothing = replace(series, values_g_per_kwh=np.full(24, np.nan), quality=None)
    assert newest_end_s(nothing) is None
    assert staleness_of(nothing, series.slots.end_s) is Staleness.NEUTRAL
    lagged = replace(series, availability_lag_s=5 * HOUR_S)
    assert staleness_of(lagged, series.slots.end_s + 7 * HOUR_S) is Staleness.FRESH

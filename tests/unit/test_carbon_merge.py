"""Several sources as one: whose word counts where, and what may not meet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aicsched.domain.carbon import CarbonSeries, EmissionScope, IntensityKind, Quality
from aicsched.domain.readings import Readings
from aicsched.errors import (
    AicschedError,
    ConfigError,
    SignalInvalid,
    SlotError,
    SourceUnavailable,
    UnknownZone,
)
from aicsched.signals.base import refuse_unknown_zone
from aicsched.signals.carbon.merge import MergedCarbon
from aicsched.signals.carbon.sample import SampleCarbon
from aicsched.slots import HOUR_S, SlotGrid
from aicsched.testing import check_source
from tests.signals_kit import HandClock

if TYPE_CHECKING:
    from collections.abc import Sequence

NAN = float("nan")
GRID = SlotGrid(0, HOUR_S, 4)
A, E, F, S, M, Q = (
    Quality.ACTUAL,
    Quality.ESTIMATED,
    Quality.FORECAST,
    Quality.STALE,
    Quality.MISSING,
    Quality.QUARANTINED,
)


class Told:
    """A source that says what it was told to say."""

    def __init__(
        self,
        name: str,
        values: Sequence[float] = (),
        quality: Sequence[Quality] | None = None,
        *,
        kind: IntensityKind = IntensityKind.AVERAGE,
        scope: EmissionScope | None = EmissionScope.LIFECYCLE,
        zones: tuple[str, ...] = ("DE",),
        fails: BaseException | None = None,
        read_s: int | None = None,
        **facts: Any,
    ) -> None:
        self.source_id, self.kind, self.scope = name, kind, scope
        self._values, self._quality, self._zones = values, quality, zones
        self._fails, self._read_s, self._facts = fails, read_s, facts
        self.asked: list[SlotGrid | None] = []

    def zones(self) -> tuple[str, ...]:
        return self._zones

    def read(self, zone: str, window: SlotGrid | None = None) -> CarbonSeries:
        refuse_unknown_zone(zone, self._zones, self.source_id)
        self.asked.append(window)
        if self._fails is not None:
            raise self._fails
        readings = None
        known = ~np.isnan(np.array(self._values))
        if self._read_s is not None:
            readings = Readings(
                start_s=GRID.starts_s()[known],
                read_s=np.full(int(known.sum()), self._read_s),
                values_g_per_kwh=np.array(self._values)[known],
                quality=np.zeros(int(known.sum()), dtype=np.int8),
            )
        series = CarbonSeries(
            grid_zone=zone,
            kind=self.kind,
            slots=GRID,
            values_g_per_kwh=np.array(self._values),
            source=f"{self.source_id}#{zone}",
            quality=None if self._quality is None else np.array(self._quality, dtype=np.int8),
            readings=readings,
            **self._facts,
        )
        return series if window is None else series.window(window)


def _qualities(series: CarbonSeries) -> list[Quality]:
    return [Quality(int(each)) for each in np.asarray(series.quality)]


def test_each_slot_has_the_word_of_the_first_source_with_one() -> None:
    first, second = Told("a", [100.0, NAN, NAN, 130.0]), Told("b", [200.0, 210.0, NAN, 230.0])
    series, provenance = MergedCarbon([first, second]).read_with_provenance("DE")
    np.testing.assert_array_equal(series.values_g_per_kwh, [100.0, 210.0, NAN, 130.0])
    assert [provenance.source_of(slot) for slot in range(4)] == ["a", "b", None, "a"]
    assert _qualities(series) == [A, A, M, A]
    assert series.flags == ("merged:a=2", "merged:b=1")
    assert series.source == "merged:a>b#DE"


def test_who_is_not_needed_is_not_asked() -> None:
    first, second = Told("a", [1.0, 2.0, 3.0, 4.0]), Told("b", [5.0] * 4)
    assert MergedCarbon([first, second], clock=HandClock(GRID.end_s)).read("DE").flags == ("merged:a=4",)
    assert second.asked == []


def test_who_is_needed_is_asked_for_the_part_that_lacks() -> None:
    first, second = Told("a", [1.0, NAN, 3.0, 4.0]), Told("b", [5.0] * 4)
    third = Told("c", [6.0] * 4)
    clock = HandClock(GRID.end_s)
    series = MergedCarbon([first, second, third], clock=clock).read("DE")
    assert series.values_g_per_kwh.tolist() == [1.0, 5.0, 3.0, 4.0]
    assert (second.asked, third.asked) == ([SlotGrid(HOUR_S, HOUR_S, 1)], [])
    stale = Told("a", [1.0, 2.0, NAN, 4.0], [S, A, M, A])
    MergedCarbon([stale, second], clock=clock).read("DE")
    assert second.asked[-1] == SlotGrid(0, HOUR_S, 3)


def test_a_stale_value_gives_way_to_a_fresh_one_of_lower_precedence() -> None:
    first = Told("a", [100.0, 110.0, 120.0, 130.0], [S, S, A, A])
    second = Told("b", [200.0, NAN, 220.0, 230.0], [F, M, A, A])
    series = MergedCarbon([first, second]).read("DE")
    assert series.values_g_per_kwh.tolist() == [200.0, 110.0, 120.0, 130.0]
    assert _qualities(series) == [F, S, A, A]


def test_what_was_taken_out_is_told_where_nobody_has_a_value() -> None:
    first, second = Told("a", [NAN] * 4, [Q, Q, M, M]), Told("b", [NAN, 5.0, NAN, 5.0])
    assert _qualities(MergedCarbon([first, second]).read("DE")) == [Q, A, M, A]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SourceUnavailable("down"), "source-unavailable"),
        (SignalInvalid("drifted"), "signal-invalid"),
        (ConfigError("the token is refused"), "config"),
        (SlotError("by the hour only"), "slot"),
        (KeyError("a defect"), "plugin"),
    ],
)
def test_a_source_that_fails_is_passed_over_and_named(error: Exception, code: str) -> None:
    merged = MergedCarbon([Told("a", fails=error), Told("b", [5.0] * 4)])
    series, provenance = merged.read_with_provenance("DE")
    assert series.flags == ("merged:b=4", f"unavailable:a={code}")
    assert provenance.passed_over["a"].code == code


def test_where_all_fail_all_are_named() -> None:
    sources = [Told("a", fails=SourceUnavailable("a is down")), Told("b", fails=SignalInvalid("b drifted"))]
    with pytest.raises(SourceUnavailable, match=r"a is down.*b drifted"):
        MergedCarbon(sources).read("DE")
    both = [Told(name, fails=SlotError("no half-hours")) for name in "ab"]
    with pytest.raises(SlotError, match="no half-hours"):
        MergedCarbon(both).read("DE")
    alone = SlotError("no half-hours")
    with pytest.raises(SlotError) as caught:
        MergedCarbon([Told("a", fails=alone)]).read("DE")
    assert caught.value is alone


def test_average_and_marginal_are_refused_together() -> None:
    marginal = Told("m", [1.0] * 4, kind=IntensityKind.MARGINAL)
    with pytest.raises(ConfigError, match="average and marginal"):
        MergedCarbon([Told("a"), marginal])
    # Who doesn't say beforehand is found out by its answer.
    silent = Told("m", [1.0] * 4, kind=IntensityKind.MARGINAL)
    merged = MergedCarbon([Told("a", [NAN, 1.0, 1.0, 1.0]), _silent(silent)])
    with pytest.raises(ConfigError, match="marginal"):
        merged.read("DE")


class _silent:  # noqa: N801 - reads as a word
    """A source that tells neither its kind nor its scope; `scope` is declared for it."""

    scope = EmissionScope.LIFECYCLE

    def __init__(self, told: Told) -> None:
        self.source_id, self.zones, self.read = told.source_id, told.zones, told.read


def test_scopes_are_refused_together_unless_said() -> None:
    whole, direct = Told("a", [NAN, 1.0, 1.0, 1.0]), Told("b", [2.0] * 4, scope=EmissionScope.DIRECT)
    with pytest.raises(ConfigError, match="life cycle and burning only"):
        MergedCarbon([whole, direct])
    series = MergedCarbon([whole, direct], mixed_scopes=True).read("DE")
    assert "scopes-mixed" in series.flags
    assert MergedCarbon([whole, Told("b")]).scope is EmissionScope.LIFECYCLE


def test_a_scope_that_is_not_known_has_to_be_said() -> None:
    sources = [Told("a"), Told("b", scope=None)]
    with pytest.raises(ConfigError, match="not known whether b"):
        MergedCarbon(sources)
    assert MergedCarbon(sources, scopes={"b": "lifecycle"}).scope is EmissionScope.LIFECYCLE
    with pytest.raises(ConfigError, match="can't be merged"):
        MergedCarbon(sources, scopes={"b": "direct"})
    with pytest.raises(ConfigError, match="no scope"):
        MergedCarbon(sources, scopes={"b": "whole"})
    with pytest.raises(ConfigError, match="did you mean b"):
        MergedCarbon(sources, scopes={"bb": "direct"})


class Wrapped:
    """Something around a source, which says of itself only what it wraps."""

    def __init__(self, source: Told) -> None:
        self.source, self.source_id, self.zones, self.read = (
            source,
            source.source_id,
            source.zones,
            source.read,
        )


def test_what_a_wrapped_source_says_counts() -> None:
    with pytest.raises(ConfigError, match="average and marginal"):
        MergedCarbon([Wrapped(Told("a")), Told("m", kind=IntensityKind.MARGINAL)])


def test_sources_that_make_no_precedence_are_refused() -> None:
    with pytest.raises(ConfigError, match="no source"):
        MergedCarbon([])
    with pytest.raises(ConfigError, match="two sources"):
        MergedCarbon([Told("a"), Told("a")])


def test_zones_are_those_of_the_table_by_whatever_name_a_source_has_for_them() -> None:
    first = Told("maps", [1.0, NAN, 1.0, 1.0], zones=("US-CAL-CISO", "DE", "SE"))
    second = Told("eia", [2.0] * 4, zones=("CISO", "ERCO", "US-SE"))
    third = Told("entsoe", [3.0] * 4, zones=("DE_LU", "SE_3"))
    merged = MergedCarbon([first, second, third])
    assert merged.zones() == ("US-CAL-CISO", "DE", "SE", "US-TEX-ERCO", "US-SE", "SE-SE3")
    assert merged.read("US-CAL-CISO").values_g_per_kwh.tolist() == [1.0, 2.0, 1.0, 1.0]
    assert merged.read("DE").values_g_per_kwh.tolist() == [1.0, 3.0, 1.0, 1.0]
    assert merged.read("ERCO").grid_zone == "ERCO"
    # Sweden is not the south-east of the United States, nor one of its own four zones.
    assert merged.read("SE").missing == 1
    assert merged.read("SE-SE3").values_g_per_kwh.tolist() == [3.0] * 4
    with pytest.raises(UnknownZone, match="US-CAL-CISO"):
        merged.read("US-CAL-CIS0")


def test_zones_that_the_table_does_not_have_are_named_by_hand() -> None:
    first, second = (
        Told("a", fails=SourceUnavailable("down"), zones=("X",)),
        Told("b", [2.0] * 4, zones=("Y",)),
    )
    merged = MergedCarbon([first, second], names={"b": {"X": "Y"}})
    assert merged.zones() == ("X",)
    assert merged.read("X").flags == ("merged:b=4", "unavailable:a=source-unavailable")
    with pytest.raises(ConfigError, match="did you mean b"):
        MergedCarbon([first, second], names={"bb": {"X": "Y"}})


def test_a_source_that_can_not_list_its_zones_takes_none_away() -> None:
    class Mute(Told):
        def zones(self) -> tuple[str, ...]:
            msg = "down"
            raise SourceUnavailable(msg)

        def read(self, zone: str, window: SlotGrid | None = None) -> CarbonSeries:
            self.zones()
            raise AssertionError

    merged = MergedCarbon([Mute("a"), Told("b", [1.0] * 4)])
    assert merged.zones() == ("DE",)
    assert merged.read("DE").flags == ("merged:b=4", "unavailable:a=source-unavailable")
    # Whether it knows the zone can't be told: that it is down is said, not that the zone is unknown.
    with pytest.raises(SourceUnavailable):
        merged.read("SE")


def test_other_slots_than_asked_for_are_not_believed() -> None:
    class Elsewhere(Told):
        def read(self, zone: str, window: SlotGrid | None = None) -> CarbonSeries:
            return super().read(zone)

    merged = MergedCarbon([Elsewhere("a", [1.0] * 4), Told("b", [2.0] * 4)])
    series = merged.read("DE", SlotGrid(HOUR_S, HOUR_S, 2))
    assert series.flags == ("merged:b=2", "unavailable:a=signal-invalid")


def test_made_up_values_flags_and_lags_come_along_where_they_are_used() -> None:
    first = Told("a", [1.0, NAN, 1.0, 1.0], flags=("sorted",), availability_lag_s=60)
    second = Told("b", [2.0] * 4, synthetic=True, flags=("flat:4",), availability_lag_s=600)
    both = MergedCarbon([first, second]).read("DE")
    # The newest slot is the first source's, and so is the lag; that of the other is in its readings.
    assert (both.synthetic, both.availability_lag_s) == (True, 60)
    assert both.readings is not None
    known_s = dict(zip(both.readings.start_s.tolist(), both.readings.read_s.tolist(), strict=True))
    assert known_s == {0: 3660, HOUR_S: 7800, 2 * HOUR_S: 10_860, 3 * HOUR_S: 14_460}
    assert {"sorted", "flat:4"} <= set(both.flags)
    alone = MergedCarbon([Told("a", [1.0] * 4), second]).read("DE")
    assert (alone.synthetic, alone.availability_lag_s, alone.flags) == (False, 0, ("merged:a=4",))


def test_what_was_known_at_a_time_stays_known() -> None:
    first = Told("a", [1.0, NAN, NAN, 1.0], read_s=9 * HOUR_S)
    second = Told("b", [2.0, 2.0, NAN, 2.0], read_s=7 * HOUR_S)
    series = MergedCarbon([first, second]).read("DE")
    assert series.readings is not None
    assert series.readings.read_s.tolist() == [7 * HOUR_S, 9 * HOUR_S, 9 * HOUR_S]
    np.testing.assert_array_equal(series.known_at(8 * HOUR_S).values_g_per_kwh, [NAN, 2.0])
    mixed = MergedCarbon([first, Told("c", [3.0] * 4)]).read("DE")
    assert mixed.known_at(4 * HOUR_S).values_g_per_kwh[1:3].tolist() == [3.0, 3.0]


def test_the_published_suite_passes() -> None:
    check_source(MergedCarbon([SampleCarbon(), SampleCarbon(seed=7)]))


VALUES = st.lists(st.one_of(st.just(NAN), st.floats(0, 2000)), min_size=4, max_size=4)


@settings(max_examples=200, deadline=None)
@given(tables=st.lists(st.tuples(VALUES, st.booleans(), st.booleans()), min_size=1, max_size=4))
def test_beside_a_plain_loop(tables: list[tuple[list[float], bool, bool]]) -> None:
    """Each value is what a source said for that slot: the first fresh one, else the first stale one."""
    sources = [
        Told(
            f"s{index}",
            values,
            [M if np.isnan(value) else S if stale else A for value in values],
            fails=SourceUnavailable("down") if down else None,
        )
        for index, (values, stale, down) in enumerate(tables)
    ]
    try:
        series, provenance = MergedCarbon(sources).read_with_provenance("DE")
    except AicschedError:
        assert all(down for _, _, down in tables)
        return
    for slot in range(4):
        told = [
            (f"s{index}", values[slot], stale)
            for index, (values, stale, down) in enumerate(tables)
            if not down and not np.isnan(values[slot])
        ]
        # Stable: of equals the first stays first.
        found = sorted(told, key=lambda each: each[2])
        assert provenance.source_of(slot) == (found[0][0] if found else None)
        np.testing.assert_array_equal(series.values_g_per_kwh[slot], found[0][1] if found else NAN)

"""The store of signals beside a plain dictionary: whatever was recorded, it tells what was known when."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from aicsched.domain.carbon import CarbonSeries, IntensityKind, Quality
from aicsched.errors import SignalInvalid, UnknownZone
from aicsched.signals.store import SignalStore
from aicsched.slots import HOUR_S, SlotGrid

SOURCES, ZONES, KINDS = ("a:x", "b"), ("DE", "SE"), tuple(IntensityKind)
SLOTS = 6
TIMES = st.integers(0, 12)
VALUE = st.sampled_from([float("nan"), 0.0, 300.0, 310.5, 2500.0])
CELL = st.tuples(VALUE, st.sampled_from([Quality.ACTUAL, Quality.ESTIMATED, Quality.FORECAST]))


class StoreBesideDict(RuleBasedStateMachine):
    """Each rule is done to the store and to a dictionary of readings."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "signals.db"
        self.store = SignalStore(self.path)
        # By source, zone, kind and slot: what was read when.
        self.model: dict[tuple[str, str, str, int], dict[int, tuple[float, int]]] = {}

    def teardown(self) -> None:
        self.store.verify()
        self.store.close()
        self.folder.cleanup()

    @rule(
        source=st.sampled_from(SOURCES),
        zone=st.sampled_from(ZONES),
        kind=st.sampled_from(KINDS),
        first=st.integers(0, SLOTS - 1),
        cells=st.lists(CELL, min_size=1, max_size=SLOTS),
        read_s=TIMES,
    )
    def record(
        self, source: str, zone: str, kind: IntensityKind, first: int, cells: list[Any], read_s: int
    ) -> None:
        values = [cell[0] for cell in cells]
        series = CarbonSeries(
            grid_zone=zone,
            kind=kind,
            source=source,
            slots=SlotGrid(first * HOUR_S, HOUR_S, len(cells)),
            values_g_per_kwh=values,
            quality=np.array([Quality.MISSING if np.isnan(v) else q for v, q in cells]),
        )
        readings = [
            ((source, zone, str(kind), (first + index) * HOUR_S), (value, int(said)))
            for index, (value, said) in enumerate(cells)
            if not np.isnan(value)
        ]
        try:
            self.store.record(series, read_s)
        except SignalInvalid:
            assert any(self.contradicts(place, read_s, told) for place, told in readings)
            return
        for place, told in readings:
            assert self.model.get(place, {}).get(read_s, told) == told, "one reading time, two values"
            self.model.setdefault(place, {})[read_s] = told
        assert self.store.record(series, read_s) == 0

    @rule(value=st.sampled_from([300.0, 310.5]), slot=st.integers(0, SLOTS - 1), read_s=TIMES)
    def record_just_now(self, value: float, slot: int, read_s: int) -> None:
        """What is read just now is newer than all that stands there, whatever the clock says."""
        place = (SOURCES[0], ZONES[0], str(KINDS[0]), slot * HOUR_S)
        series = CarbonSeries(
            grid_zone=ZONES[0],
            kind=KINDS[0],
            source=SOURCES[0],
            slots=SlotGrid(slot * HOUR_S, HOUR_S, 1),
            values_g_per_kwh=[value],
        )
        self.store.record(series, read_s, follow=True)
        known = self.model.setdefault(place, {})
        known[max([read_s, *(time_s + 1 for time_s in known)])] = (value, int(Quality.ACTUAL))

    def contradicts(self, place: tuple[str, str, str, int], read_s: int, told: tuple[float, int]) -> bool:
        known = self.model.get(place, {})
        before = max((at_s for at_s in known if at_s <= read_s), default=None)
        after = min((at_s for at_s in known if at_s >= read_s), default=None)
        if before is None or after is None or known[before] == told:
            return False
        return known[before] == known[after]

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = SignalStore(self.path)

    @rule(before=st.integers(0, SLOTS // 2))
    def prune(self, before: int) -> None:
        self.store.prune(before * HOUR_S)
        self.model = {place: known for place, known in self.model.items() if place[3] >= before * HOUR_S}

    @rule(source=st.sampled_from(SOURCES), zone=st.sampled_from(ZONES), kind=st.sampled_from(KINDS))
    def tell(self, source: str, zone: str, kind: IntensityKind) -> None:
        window = SlotGrid(0, HOUR_S, 2 * SLOTS)
        for at_s in range(-1, 40):
            wanted = np.full(len(window), np.nan)
            said = np.full(len(window), int(Quality.MISSING))
            for slot in range(len(window)):
                known = self.model.get((source, zone, str(kind), slot * HOUR_S), {})
                seen = [time_s for time_s in known if time_s <= at_s]
                if seen:
                    wanted[slot], said[slot] = known[max(seen)]
            try:
                found = self.store.read(source, zone, window, kind=kind, known_at_s=at_s)
            except (UnknownZone, ValueError):
                assert np.isnan(wanted).all()
                continue
            np.testing.assert_array_equal(found.values_g_per_kwh, wanted)
            np.testing.assert_array_equal(found.quality, said)
            # What comes with it goes back in time by itself, as far as slots had ended by then.
            again = self.store.read(source, zone, window, kind=kind).readings.until(at_s)
            np.testing.assert_array_equal(again.newest(window)[0], wanted)

    @invariant()
    def counts_agree(self) -> None:
        for item in self.store.series():
            places = {
                place[3]: known
                for place, known in self.model.items()
                if place[:3] == (item.key.source, item.key.grid_zone, str(item.key.kind))
            }
            actual = [
                slot
                for slot, known in places.items()
                if any(q != Quality.FORECAST for _, q in known.values())
            ]
            assert item.slots == len(actual)
            if actual:
                assert (item.first_s, item.end_s) == (min(actual), max(actual) + HOUR_S)
                assert item.gaps == (item.end_s - item.first_s) // HOUR_S - len(actual)


StoreBesideDict.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestStoreBesideDict = pytest.mark.timeout(120)(StoreBesideDict.TestCase)

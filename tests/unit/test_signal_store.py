"""The last-known-good store: what it keeps, what it refuses, and what damage does to it."""

from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aicsched.domain.carbon import CarbonSeries, IntensityKind, Quality
from aicsched.domain.tidy import series_from_rows
from aicsched.errors import (
    ConfigError,
    InputError,
    OutputError,
    SignalInvalid,
    SlotError,
    StoreCorrupt,
    StoreError,
    UnknownZone,
)
from aicsched.signals.store import SignalStore
from aicsched.slots import HOUR_S, SlotGrid

DAY_S = 24 * HOUR_S
SOURCE = "test:source"


def readings(
    first: int = 0, values: tuple[float, ...] = (300.0, 310.0, 320.0), **changes: object
) -> CarbonSeries:
    facts: dict[str, object] = {
        "grid_zone": "DE",
        "kind": IntensityKind.AVERAGE,
        "source": SOURCE,
        "slots": SlotGrid(first * HOUR_S, HOUR_S, len(values)),
        "values_g_per_kwh": values,
    }
    return CarbonSeries(**(facts | changes))


def many(count: int, *, zone: str = "DE", level: float = 300.0) -> CarbonSeries:
    values = level + np.arange(count) % 97
    return readings(values=tuple(values.tolist()), grid_zone=zone)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "signals.db"
    with SignalStore(file) as store:
        store.record(many(500), 500 * HOUR_S)
    return file


# ---------------------------------------------------------------- what was known when
def test_revisions_are_kept_and_told_by_time(tmp_path: Path) -> None:
    with SignalStore(tmp_path / "s.db") as store:
        assert store.record(readings(values=(300.0, 310.0)), 2 * HOUR_S) == 2
        assert store.record(readings(values=(300.0, 355.0, 320.0)), 3 * HOUR_S) == 2
        found = store.read(SOURCE, "DE")
        assert found.values_g_per_kwh.tolist() == [300.0, 355.0, 320.0]
        assert found.known_at(2 * HOUR_S).values_g_per_kwh.tolist() == [300.0, 310.0]
        assert store.read(SOURCE, "DE", known_at_s=2 * HOUR_S).values_g_per_kwh.tolist() == [300.0, 310.0]
        assert len(store.read(SOURCE, "DE", known_at_s=HOUR_S).slots) == 0
        (told,) = store.series()
        assert (told.slots, told.gaps, told.revisions, told.read_s) == (3, 0, 1, 3 * HOUR_S)


def test_a_slot_that_is_no_longer_given_keeps_its_value(tmp_path: Path) -> None:
    with SignalStore(tmp_path / "s.db") as store:
        store.record(readings(values=(300.0, 310.0)), 10)
        store.record(readings(values=(float("nan"), 311.0)), 20)
        assert store.read(SOURCE, "DE").values_g_per_kwh.tolist() == [300.0, 311.0]


def test_rows_with_their_own_reading_times_are_recorded_with_these(tmp_path: Path) -> None:
    time_s = np.array([0, HOUR_S, 0, HOUR_S, 2 * HOUR_S])
    read_s = np.array([HOUR_S, 2 * HOUR_S, 9 * HOUR_S, 9 * HOUR_S, 9 * HOUR_S])
    values = np.array([300.0, 310.0, 305.0, 310.0, 320.0])
    series = series_from_rows(
        time_s, values, where="rows", zone="DE", kind=IntensityKind.AVERAGE, source=SOURCE, read_s=read_s
    )
    with SignalStore(tmp_path / "s.db") as store:
        assert store.record(series) == 4  # the second reading of 01:00 found nothing new
        assert store.record(series) == 0
        for at_s in range(0, 12 * HOUR_S, HOUR_S // 2):
            told, wanted = store.read(SOURCE, "DE", known_at_s=at_s), series.known_at(at_s)
            np.testing.assert_array_equal(
                told.before(at_s).values_g_per_kwh, wanted.before(at_s).values_g_per_kwh
            )
    with SignalStore(tmp_path / "s.db") as store, pytest.raises(InputError, match="when it was read"):
        store.record(readings())


def test_what_contradicts_a_reading_before_and_after_is_refused_whole(tmp_path: Path) -> None:
    with SignalStore(tmp_path / "s.db") as store:
        store.record(readings(values=(300.0,)), 100)
        store.record(readings(values=(300.0,)), 200)
        with pytest.raises(SignalInvalid, match=r"1970-01-01T00:00Z: read at .* as 301 .* but as 300"):
            store.record(readings(values=(301.0, 400.0)), 150)
        assert store.read(SOURCE, "DE").values_g_per_kwh.tolist() == [300.0]
        assert store.record(readings(values=(301.0, 400.0)), 201) == 2


def test_kinds_and_steps_never_meet(tmp_path: Path) -> None:
    with SignalStore(tmp_path / "s.db") as store:
        store.record(readings(), 100)
        store.record(readings(values=(800.0,), kind=IntensityKind.MARGINAL), 100)
        with pytest.raises(InputError, match="average and marginal"):
            store.read(SOURCE, "DE")
        assert store.read(SOURCE, "DE", kind=IntensityKind.MARGINAL).values_g_per_kwh.tolist() == [800.0]
        halves = readings(values=(1.0, 2.0), slots=SlotGrid(0, 1800, 2))
        store.record(halves, 200)
        average = IntensityKind.AVERAGE
        assert store.read(SOURCE, "DE", kind=average).slots.step_s == 1800  # read last
        assert store.read(SOURCE, "DE", kind=average, step_s=3600).slots.step_s == 3600
        with pytest.raises(SlotError, match="no slots of 900 s"):
            store.read(SOURCE, "DE", SlotGrid(0, 900, 4), kind=average)
        with pytest.raises(SlotError, match="not those that are stored"):
            store.read(SOURCE, "DE", SlotGrid(60, 3600, 2), kind=average)
        store.record(readings(grid_zone="SE"), 100)
        with pytest.raises(InputError, match="no marginal"):
            store.read(SOURCE, "SE", kind=IntensityKind.MARGINAL)


def test_unknown_zones_get_the_nearest(path: Path) -> None:
    with SignalStore(path) as store:
        with pytest.raises(UnknownZone, match="did you mean DE"):
            store.read(SOURCE, "DEE")
        with pytest.raises(UnknownZone, match="none is known"):
            store.read("other", "DE")


def test_made_up_values_never_join_measured_ones(path: Path) -> None:
    with SignalStore(path) as store, pytest.raises(SignalInvalid, match="made-up and measured"):
        store.record(replace(many(3), synthetic=True), 600 * HOUR_S)


def test_forecasts_are_kept_beside_and_not_counted_as_known(tmp_path: Path) -> None:
    series = readings(quality=np.array([Quality.ACTUAL, Quality.ESTIMATED, Quality.FORECAST]))
    with SignalStore(tmp_path / "s.db") as store:
        store.record(series, 100)
        (told,) = store.series()
        assert (told.slots, told.end_s) == (2, 2 * HOUR_S)
        assert store.read(SOURCE, "DE").quality.tolist() == [0, 1, 2]


def test_old_slots_go_with_their_revisions(tmp_path: Path) -> None:
    with SignalStore(tmp_path / "s.db", retention_s=10 * DAY_S) as store:
        for day in range(30):
            store.record(readings(first=24 * day), (day + 1) * DAY_S)
        (told,) = store.series()
        assert told.first_s == 20 * DAY_S  # pruned at the last record, at the end of day 30
        assert store.prune(29 * DAY_S) == 27
    with pytest.raises(ConfigError, match="keeps nothing"):
        SignalStore(tmp_path / "s.db", retention_s=0)


def test_tries_tell_how_reading_went(tmp_path: Path) -> None:
    with SignalStore(tmp_path / "s.db") as store:
        store.note_try(SOURCE, "DE", 100, skew_s=3.0)
        store.note_try(SOURCE, "DE", 200, error="no answer", refused={"future": 2})
        store.note_try(SOURCE, "DE", 300, error="x" * 9000, refused={"future": 1, "gaps": 5})
        (told,) = store.tries()
        assert (told.tried_s, told.good_s, told.failures, told.error_s) == (300, 100, 2, 300)
        assert (len(told.error), told.skew_s, told.refusals) == (500, 3.0, {"future": 3, "gaps": 5})
        store.note_try(SOURCE, "DE", 400)
        (told,) = store.tries()
        assert (told.failures, told.good_s, told.skew_s) == (0, 400, None)


# ---------------------------------------------------------------- who may do what
def test_reading_only_writes_nothing(path: Path, tmp_path: Path) -> None:
    before = path.read_bytes()
    with SignalStore(path, read_only=True) as store:
        assert len(store.read(SOURCE, "DE").slots) == 500
        for call in (
            lambda: store.record(readings(), 9),
            lambda: store.prune(9),
            lambda: store.note_try("a", "b", 1),
            store.set_aside,
        ):
            with pytest.raises(StoreError, match="reading only"):
                call()
    assert path.read_bytes() == before
    with pytest.raises(InputError, match="does not exist"):
        SignalStore(tmp_path / "absent.db", read_only=True)
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.read(SOURCE, "DE")


def test_threads_share_one_store(tmp_path: Path) -> None:
    zones = [f"Z{number}" for number in range(6)]
    with SignalStore(tmp_path / "s.db") as store, ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda zone: [store.record(many(n, zone=zone), n) for n in range(1, 9)], zones))
        assert [item.slots for item in store.series()] == [8] * 6
        assert store.verify() == 48


WRITER = """
import sys
sys.path.insert(0, sys.argv[2])
from test_signal_store import many
from aicsched.signals.store import SignalStore
with SignalStore(sys.argv[1]) as store:
    for hour in range(20, 60):
        store.record(many(hour, zone=sys.argv[3]), hour * 3600)
        store.record(many(hour, zone="shared"), 7 + hour * 3600)
"""


def test_processes_write_one_new_store(tmp_path: Path) -> None:
    path = tmp_path / "shared.db"
    command = [sys.executable, "-c", WRITER, str(path), str(Path(__file__).parent)]
    writers = [subprocess.Popen([*command, zone], stderr=subprocess.PIPE, text=True) for zone in "AB"]
    for writer in writers:
        _, fault = writer.communicate(timeout=60)
        assert writer.returncode == 0, fault
    with SignalStore(path) as store:
        assert [(item.key.grid_zone, item.slots, item.revisions) for item in store.series()] == [
            ("A", 59, 0),
            ("B", 59, 0),
            ("shared", 59, 0),
        ]
        assert store.verify() == 3 * 59


# ---------------------------------------------------------------- a full disk
def test_a_full_disk_leaves_what_was_there(path: Path) -> None:
    with SignalStore(path) as store:
        database = store._database
        pages = database.execute("PRAGMA page_count").fetchone()[0]
        database.execute(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(OutputError, match=r"full; nothing of this call was written; free some space"):
            store.record(many(9000, zone="SE"), 9000 * HOUR_S)
        assert [item.key.grid_zone for item in store.series()] == ["DE"]
        assert len(store.read(SOURCE, "DE").slots) == 500
        assert store.verify() == 500
        database.execute("PRAGMA max_page_count = 1000000")
        assert store.record(many(9000, zone="SE"), 9000 * HOUR_S) == 9000


# ---------------------------------------------------------------- damage
def damage(path: Path, how: str) -> None:
    raw = bytearray(path.read_bytes())
    if how == "cut":
        raw = raw[: len(raw) // 2 // 4096 * 4096 + 100]
    elif how == "header":
        raw[:100] = bytes(100)
    elif how == "magic":
        raw[:16] = b"\xff" * 16
    elif how == "pages":
        for page in range(2, len(raw) // 4096):
            raw[4096 * page : 4096 * page + 64] = b"\xff" * 64
    path.write_bytes(raw)


@pytest.mark.parametrize("how", ["cut", "header", "magic", "pages"])
def test_a_damaged_file_is_told_and_set_aside(path: Path, how: str, caplog: pytest.LogCaptureFixture) -> None:
    damage(path, how)
    before = path.read_bytes()
    with pytest.raises(StoreCorrupt, match=r"is damaged.*set aside"):
        SignalStore(path, read_only=True)
    assert path.read_bytes() == before
    with caplog.at_level(logging.ERROR, "aicsched"), SignalStore(path) as store:
        assert "was set aside as" in caplog.text
        assert store.series() == ()
        (kept,) = store.damaged
        assert kept.read_bytes() == before
        assert store.record(readings(), 100) == 3
    with SignalStore(path, read_only=True) as store:
        assert len(store.read(SOURCE, "DE").slots) == 3
        assert store.damaged == (kept,)


def test_no_flipped_bit_comes_out_as_a_value(path: Path) -> None:
    """SQLite finds such pages good: only our own check sums tell."""
    database = sqlite3.connect(path)
    database.execute(
        "UPDATE readings SET ci_g_per_kwh = ci_g_per_kwh + 16 WHERE start_s = ?", (250 * HOUR_S,)
    )
    database.commit()
    database.close()
    with SignalStore(path) as store:
        for call in (lambda: store.read(SOURCE, "DE"), store.verify, lambda: store.record(many(500), 2**40)):
            with pytest.raises(StoreCorrupt, match="a reading of 900000 was changed"):
                call()
        (kept,) = (store.set_aside(),)
        assert kept is not None
        assert kept.exists()
        assert store.series() == ()
        assert store.set_aside() is None  # all is well now
        assert store.damaged == (kept,)
    with SignalStore(path) as store:
        store.record(many(5), 100)
        store._database.execute("UPDATE series SET grid_zone = 'SE'")
        with pytest.raises(StoreCorrupt, match=r"the series of .* was changed"):
            store.read(SOURCE, "SE")


def test_other_files_are_refused_untouched(tmp_path: Path) -> None:
    garbage = tmp_path / "carbon.csv"
    garbage.write_bytes(b"time,ci_g_per_kwh\n" * 500)
    before = garbage.read_bytes()
    with pytest.raises(InputError, match="is no signal store"):
        SignalStore(garbage)
    assert garbage.read_bytes() == before
    foreign = tmp_path / "ledger.db"
    database = sqlite3.connect(foreign)
    database.execute("CREATE TABLE readings (x)")
    database.close()
    with pytest.raises(InputError, match="another program"):
        SignalStore(foreign)
    assert not list(tmp_path.glob("*.damaged-*"))


def test_a_store_that_another_process_set_aside_is_left_at_once(path: Path) -> None:
    with SignalStore(path) as one:
        assert len(one.read(SOURCE, "DE").slots) == 500
        damage(path, "pages")
        with SignalStore(path) as two:
            two.record(readings(values=(7.0,)), 100)
            assert one.read(SOURCE, "DE").values_g_per_kwh.tolist() == [7.0]
            one.record(readings(values=(7.0, 8.0)), 200)
            assert two.read(SOURCE, "DE").values_g_per_kwh.tolist() == [7.0, 8.0]


def test_two_that_find_the_damage_together_set_aside_one_file(path: Path) -> None:
    damage(path, "pages")
    code = "import sys; from aicsched.signals.store import SignalStore; SignalStore(sys.argv[1]).record"
    openers = [subprocess.Popen([sys.executable, "-c", code, str(path)]) for _ in range(3)]
    assert [opener.wait(timeout=60) for opener in openers] == [0, 0, 0]
    with SignalStore(path) as store:
        assert len(store.damaged) == 1

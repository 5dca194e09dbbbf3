"""The last-known-good store: every reading of every slot, and what was known when.

One SQLite file (WAL, ``synchronous=FULL``). A call of `SignalStore.record` is one
transaction: when it returns, its readings survive a killed process and a power cut;
when it raises, none of them is there. Several processes and threads may use one file.
All revisions of a slot are kept; a reading that finds a slot unchanged is remembered
without a row of its own. Each row has a check sum: a damaged file is told, renamed and
begun anew, and never gives a number.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from aicsched.database import transaction
from aicsched.domain.carbon import IntensityKind
from aicsched.errors import ConfigError, InputError, SignalInvalid, SlotError, StoreCorrupt, StoreError
from aicsched.signals.base import refuse_unknown_zone
from aicsched.signals.store_file import (
    check_rows,
    check_series,
    damaged_files,
    inode_of,
    open_file,
    put_aside,
    verify_all,
)
from aicsched.signals.store_rows import (
    READINGS,
    STORE,
    Run,
    SeriesKey,
    crc_of_series,
    merge,
    readings_of,
    series_of,
    write_runs,
)
from aicsched.signals.store_status import (
    StoredSeries,
    Tries,
    stored_series,
    stored_tries,
    write_refused,
    write_try,
)
from aicsched.slots import HOUR_S, format_time

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Generator
    from typing import Self

    from aicsched.domain.carbon import CarbonSeries
    from aicsched.slots import SlotGrid

__all__ = ["RETENTION_S", "SeriesKey", "SignalStore", "StoredSeries", "Tries"]

BUSY_S: Final = 30.0
DAY_S: Final = 24 * HOUR_S
# A year and a month: forecasts learn the seasons of a year.
RETENTION_S: Final = 400 * DAY_S
_NOT_YET: Final = -(2**62)


class SignalStore:
    """Readings of carbon signals in one SQLite file.

    Parameters
    ----------
    path : str or Path
        The file; it is made when absent, its folder is not.
    read_only : bool
        Open an existing store without writing anything.
    retention_s : int
        Slots older than this, reckoned from the newest reading, are dropped [s].
    busy_s : float
        How long to wait for another writer [s].

    Raises
    ------
    InputError
        There is no such store (`read_only`), or the file is something else.
    OutputError
        The file can't be made or written.
    StoreCorrupt
        The file is damaged, and open for reading only; otherwise it is set aside.

    Examples
    --------
    >>> import tempfile
    >>> from aicsched.testing import example_series
    >>> series = example_series(zone="DE", days=2)
    >>> end_s = series.slots.end_s
    >>> with tempfile.TemporaryDirectory() as folder, SignalStore(Path(folder) / "signals.db") as store:
    ...     added = store.record(series, end_s), store.record(series, end_s + 600)
    ...     again = store.read(series.source, "DE", known_at_s=end_s)
    ...     before = store.read(series.source, "DE", series.slots, known_at_s=end_s - 1).missing
    >>> added, bool((again.values_g_per_kwh == series.values_g_per_kwh).all()), before
    ((48, 0), True, 48)
    """

    def __init__(
        self,
        path: str | Path,
        *,
        read_only: bool = False,
        retention_s: int = RETENTION_S,
        busy_s: float = BUSY_S,
    ) -> None:
        if retention_s <= 0:
            msg = f"a retention of {retention_s} s keeps nothing"
            raise ConfigError(msg, hint="keep at least a day", value=retention_s)
        self.path: Final = Path(path)
        self.read_only: Final = read_only
        self.retention_s: Final = retention_s
        self._busy_s = busy_s
        self._lock = threading.RLock()
        self._database: sqlite3.Connection | None = None
        self._inode = (0, 0)
        self._pruned_s = _NOT_YET
        self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def __del__(self) -> None:
        with suppress(Exception):  # whatever is left of it
            self.close()

    def close(self) -> None:
        """Close the file; closing twice is fine."""
        with self._lock:
            if self._database is not None:
                self._database.close()
                self._database = None

    def _open(self) -> None:
        try:
            self._database = open_file(self.path, read_only=self.read_only, busy_s=self._busy_s)
        except StoreCorrupt as error:
            if self.read_only:
                raise
            put_aside(self.path, busy_s=self._busy_s, why=error.message)
            self._database = open_file(self.path, read_only=False, busy_s=self._busy_s)
        self._inode = inode_of(self.path)

    def set_aside(self) -> Path | None:
        """Check every row, and where one is damaged rename the file and begin a new one.

        Returns
        -------
        Path or None
            The new name of the damaged file; None where all is well, or another process was quicker.

        Raises
        ------
        OutputError
            It can't be renamed.
        StoreError
            The store is open for reading only, or another process holds it.
        """
        with self._lock:
            self._refuse_read_only()
            self.close()
            try:
                return put_aside(
                    self.path, busy_s=self._busy_s, why=f"the signal store {self.path} is damaged"
                )
            finally:
                self._open()

    @property
    def damaged(self) -> tuple[Path, ...]:
        """Files of this store that were damaged and set aside, oldest first."""
        return damaged_files(self.path)

    def _refuse_read_only(self) -> None:
        if self.read_only:
            msg = f"the signal store {self.path} is open for reading only"
            raise StoreError(msg, hint="open it without read_only")

    @contextmanager
    def _transaction(self, *, write: bool) -> Generator[sqlite3.Connection]:
        with self._lock:
            if write:
                self._refuse_read_only()
            if self._database is None:
                msg = f"the signal store {self.path} is closed"
                raise StoreError(msg, hint="open it again")
            if self._inode != inode_of(self.path):
                # Another process has set it aside, or it was restored: what we hold is no longer the store.
                self._database.close()
                self._open()
            database = self._database
            with STORE.guarded(self.path, "write" if write else "read"), transaction(database, write=write):
                yield database

    def record(self, series: CarbonSeries, read_s: int | None = None, *, follow: bool = False) -> int:
        """Add what was read, all or nothing.

        Parameters
        ----------
        series : CarbonSeries
            Its slots without a value say nothing: what was known of them before stays.
        read_s : int, optional
            When all of it was read, seconds since the epoch; without it the series' own readings count.
        follow : bool
            It was read just now, and so is newer than whatever stands there: where clocks went back, or
            two processes read in one second, it counts as a second after the last reading.

        Returns
        -------
        int
            How many values were new to the store; a repeated call adds none.

        Raises
        ------
        SignalInvalid
            A slot was read with another value both before and after, or twice at one time.
        InputError
            Neither the caller nor the series says when it was read.
        OutputError
            The disk is full or can't be written.
        StoreError
            The store is open for reading only, or another process holds it.
        """
        start_s, times_s, values, quality = readings_of(series, read_s)
        if not len(start_s):
            return 0
        key = SeriesKey(series.source, series.grid_zone, series.kind, series.slots.step_s)
        with self._transaction(write=True) as database:
            series_id = self._series_id(database, key, series)
            span = (int(start_s.min()), int(start_s.max()))
            runs = self._runs(database, series_id, span)
            if follow:
                last_s = max((run.seen_s for held in runs.values() for run in held), default=_NOT_YET)
                times_s = times_s.clip(last_s + 1)
            changed: dict[tuple[int, int], Run] = {}
            new: set[tuple[int, int]] = set()
            for slot, at_s, value, said in zip(
                start_s.tolist(), times_s.tolist(), values.tolist(), quality.tolist(), strict=True
            ):
                try:
                    made = merge(runs.setdefault(slot, []), at_s, value, said)
                except SignalInvalid as error:
                    msg = f"{series.source}, {series.grid_zone}, {format_time(slot)}: {error.message}"
                    raise SignalInvalid(msg, hint=error.hint, value=slot) from error
                if made is not None:
                    place = (slot, made.run.read_s)
                    changed[place] = made.run
                    if made.new:
                        new.add(place)
            write_runs(database, series_id, changed)
            self._prune_sometimes(database, int(times_s.max()))
        return len(new)

    def _series_id(self, database: sqlite3.Connection, key: SeriesKey, series: CarbonSeries) -> int:
        found = self._series_row(database, key)
        facts = (*key[:2], str(key.kind), key.step_s, int(series.synthetic), series.availability_lag_s)
        if found is not None and found[1:7] == facts:
            return found[0]
        if found is None:
            row = database.execute("SELECT coalesce(max(series_id), 0) + 1 FROM series").fetchone()
            series_id = int(row[0])
        elif found[5] != int(series.synthetic):
            msg = f"{key.source}, {key.grid_zone}: made-up and measured values can't be one series"
            raise SignalInvalid(msg, hint="give them different sources", value=key.source)
        else:
            series_id = found[0]
        row = (series_id, *facts, crc_of_series(series_id, facts))
        database.execute("INSERT OR REPLACE INTO series VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        return series_id

    def _series_row(self, database: sqlite3.Connection, key: SeriesKey) -> Any:  # noqa: ANN401 - a row
        query = "SELECT * FROM series WHERE source = ? AND grid_zone = ? AND kind = ? AND step_s = ?"
        row = database.execute(query, (*key[:2], str(key.kind), key.step_s)).fetchone()
        if row is not None:
            check_series(self.path, row)
        return row

    def _runs(
        self, database: sqlite3.Connection, series_id: int, span: tuple[int, int]
    ) -> dict[int, list[Run]]:
        rows = database.execute(
            f"{READINGS} AND start_s BETWEEN ? AND ? ORDER BY start_s, read_s",
            (series_id, *span),
        ).fetchall()
        check_rows(self.path, series_id, rows)
        runs: dict[int, list[Run]] = {}
        for start_s, *facts, _crc in rows:
            runs.setdefault(start_s, []).append(Run(*facts))
        return runs

    def read(
        self,
        source: str,
        zone: str,
        window: SlotGrid | None = None,
        *,
        kind: IntensityKind | None = None,
        step_s: int | None = None,
        known_at_s: int | None = None,
    ) -> CarbonSeries:
        """Return a series as it was known at a time.

        Parameters
        ----------
        source : str
            Id of the source.
        zone : str
            The grid zone.
        window : SlotGrid, optional
            Slots asked for, by default from the first to the last one known then.
        kind : IntensityKind, optional
            Needed where the source gave both.
        step_s : int, optional
            Length of the slots [s]; by default the window's, or that of the newest reading.
        known_at_s : int, optional
            Only what had been read by then, seconds since the epoch; by default everything.

        Returns
        -------
        CarbonSeries
            With all its readings; NaN where nothing was known.

        Raises
        ------
        UnknownZone
            The store knows no such source and zone.
        InputError
            Both kinds are there, and none was asked for.
        SlotError
            The window isn't on the grid of the stored slots.
        StoreCorrupt
            A row is damaged.
        """
        with self._transaction(write=False) as database:
            row = self._chosen(
                database, source, zone, kind, step_s or (None if window is None else window.step_s)
            )
            query = f"{READINGS} AND start_s >= ? AND start_s < ? AND read_s <= ? ORDER BY read_s, start_s"
            span = (-(2**62), 2**62) if window is None else (window.start_s, window.end_s)
            asked = (row[0], *span, 2**62 if known_at_s is None else known_at_s)
            rows = database.execute(query, asked).fetchall()
        check_rows(self.path, row[0], rows)
        return series_of(row, rows, window)

    def _chosen(
        self,
        database: sqlite3.Connection,
        source: str,
        zone: str,
        kind: IntensityKind | None,
        step_s: int | None,
    ) -> Any:  # noqa: ANN401 - a row
        rows = database.execute("SELECT * FROM series").fetchall()
        for row in rows:
            check_series(self.path, row)
        of_source = [row for row in rows if row[1] == source]
        refuse_unknown_zone(zone, [row[2] for row in of_source], f"the store's source '{source}'")
        found = [row for row in of_source if row[2] == zone and (kind is None or row[3] == str(kind))]
        kinds = sorted({row[3] for row in found})
        if len(kinds) != 1:
            msg = f"the store holds {' and '.join(kinds) or f'no {kind}'} intensity of {source} for '{zone}'"
            raise InputError(msg, hint="say which kind: average or marginal", value=zone)
        found = [row for row in found if step_s is None or row[4] == step_s]
        if not found:
            msg = f"the store holds no slots of {step_s} s of {source} for '{zone}'"
            raise SlotError(msg, hint="ask for the step that was recorded", value=step_s)
        if len(found) == 1:
            return found[0]
        newest = "SELECT max(seen_s) FROM readings WHERE series_id = ?"
        return max(found, key=lambda row: database.execute(newest, (row[0],)).fetchone()[0] or _NOT_YET)

    def series_keys(self) -> tuple[SeriesKey, ...]:
        """List the series in the store.

        Returns
        -------
        tuple of SeriesKey
            Sorted.
        """
        with self._transaction(write=False) as database:
            rows = database.execute("SELECT source, grid_zone, kind, step_s FROM series").fetchall()
        return tuple(sorted(SeriesKey(row[0], row[1], IntensityKind(row[2]), row[3]) for row in rows))

    def series(self, *, at_s: int | None = None) -> tuple[StoredSeries, ...]:
        """Tell what the store holds.

        Parameters
        ----------
        at_s : int, optional
            Or held at a time, by what had been read then, seconds since the epoch.

        Returns
        -------
        tuple of StoredSeries
            In the order of `series_keys`.
        """
        with self._transaction(write=False) as database:
            return stored_series(database, self.path, at_s)

    def tries(self) -> tuple[Tries, ...]:
        """Tell how reading from each source went.

        Returns
        -------
        tuple of Tries
            Sorted by source and zone.
        """
        with self._transaction(write=False) as database:
            return stored_tries(database)

    def note_try(
        self,
        source: str,
        zone: str,
        at_s: int,
        *,
        error: str = "",
        skew_s: float | None = None,
        refused: dict[str, int] | None = None,
    ) -> None:
        """Remember how reading from a source went.

        Parameters
        ----------
        source, zone : str
            What was read.
        at_s : int
            When, seconds since the epoch.
        error : str
            What failed, without secrets; empty when it succeeded.
        skew_s : float, optional
            By how much our clock is ahead of the source's [s].
        refused : dict of str to int, optional
            How many values were refused, by reason (few words): they are added up.
        """
        with self._transaction(write=True) as database:
            write_try(database, source, zone, at_s, error=error, skew_s=skew_s)
            write_refused(database, source, zone, at_s, refused or {})

    def prune(self, before_s: int) -> int:
        """Drop old slots with all their revisions.

        Parameters
        ----------
        before_s : int
            Slots that start before this are dropped, seconds since the epoch.

        Returns
        -------
        int
            How many readings went.
        """
        with self._transaction(write=True) as database:
            return database.execute("DELETE FROM readings WHERE start_s < ?", (before_s,)).rowcount

    def _prune_sometimes(self, database: sqlite3.Connection, read_s: int) -> None:
        if read_s - self._pruned_s >= DAY_S:
            # Behind each series' own newest slot: neither a clock that was ahead nor a file of another
            # year may take away what is held.
            database.execute(
                "DELETE FROM readings WHERE start_s < min(?, ("
                "SELECT max(newest.start_s) + series.step_s FROM readings AS newest "
                "JOIN series USING (series_id) WHERE newest.series_id = readings.series_id)) - ?",
                (read_s, self.retention_s),
            )
            self._pruned_s = read_s

    def verify(self) -> int:
        """Check every page and every row.

        Returns
        -------
        int
            How many readings there are.

        Raises
        ------
        StoreCorrupt
            Something was changed.
        """
        with self._lock:
            with self._transaction(write=False):
                pass  # follow a file that was replaced
            assert self._database is not None  # noqa: S101 - told to the type checker
            return verify_all(self._database, self.path)

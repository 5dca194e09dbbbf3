"""What the store of signals keeps: its tables, and how a reading joins what is there.

A row is a *run*: a value that a slot was read with at `read_s`, and found unchanged at
every reading up to `seen_s`. A poll that brings nothing new writes no rows then, and yet
what was known at any time can be told exactly.
"""

from __future__ import annotations

import struct
import zlib
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from aicsched.database import DatabaseKind
from aicsched.domain.carbon import CarbonSeries, IntensityKind, Quality
from aicsched.domain.readings import Readings
from aicsched.errors import InputError, SignalInvalid, SlotError, StoreCorrupt, StoreError
from aicsched.slots import SlotGrid, format_time

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

__all__ = [
    "READINGS",
    "STORE",
    "Merge",
    "Run",
    "SeriesKey",
    "crc_of_run",
    "crc_of_series",
    "merge",
    "readings_of",
    "series_of",
    "write_runs",
]

_SCHEMA: Final = (
    """CREATE TABLE series (
        series_id INTEGER PRIMARY KEY,
        source TEXT NOT NULL,
        grid_zone TEXT NOT NULL,
        kind TEXT NOT NULL,
        step_s INTEGER NOT NULL,
        synthetic INTEGER NOT NULL,
        lag_s INTEGER NOT NULL,
        crc INTEGER NOT NULL,
        UNIQUE (source, grid_zone, kind, step_s)
    )""",
    """CREATE TABLE readings (
        series_id INTEGER NOT NULL,
        start_s INTEGER NOT NULL,
        read_s INTEGER NOT NULL,
        seen_s INTEGER NOT NULL,
        ci_g_per_kwh REAL NOT NULL,
        quality INTEGER NOT NULL,
        crc INTEGER NOT NULL,
        PRIMARY KEY (series_id, start_s, read_s)
    ) WITHOUT ROWID""",
    """CREATE TABLE tries (
        source TEXT NOT NULL,
        grid_zone TEXT NOT NULL,
        tried_s INTEGER NOT NULL,
        good_s INTEGER,
        failures INTEGER NOT NULL,
        error TEXT NOT NULL,
        error_s INTEGER,
        skew_s REAL,
        PRIMARY KEY (source, grid_zone)
    ) WITHOUT ROWID""",
    """CREATE TABLE refusals (
        source TEXT NOT NULL,
        grid_zone TEXT NOT NULL,
        reason TEXT NOT NULL,
        count INTEGER NOT NULL,
        last_s INTEGER NOT NULL,
        PRIMARY KEY (source, grid_zone, reason)
    ) WITHOUT ROWID""",
)
STORE: Final = DatabaseKind(
    noun="signal store",
    application_id=0x41435347,  # "ACSG"
    version=1,
    schema=_SCHEMA,
    fault=StoreError,
    damaged=StoreCorrupt,
    damaged_hint="it is set aside when it is next opened for writing; fetch anew, or restore a backup",
    threads=True,
)
READINGS: Final = (
    "SELECT start_s, read_s, seen_s, ci_g_per_kwh, quality, crc FROM readings WHERE series_id = ?"
)
_PACKED: Final = struct.Struct("<qqqqdq")


class SeriesKey(NamedTuple):
    """What tells one stored series from others.

    Parameters
    ----------
    source : str
        Id of the source.
    grid_zone : str
        The electricity zone.
    kind : IntensityKind
        Average or marginal: never one series.
    step_s : int
        Length of its slots [s].
    """

    source: str
    grid_zone: str
    kind: IntensityKind
    step_s: int


class Run(NamedTuple):
    """A value of a slot, from its first reading to the last one that found it unchanged.

    Parameters
    ----------
    read_s, seen_s : int
        First and last reading, seconds since the epoch.
    ci_g_per_kwh : float
        Intensity [g/kWh].
    quality : int
        A `Quality`.
    """

    read_s: int
    seen_s: int
    ci_g_per_kwh: float
    quality: int


@dataclass(frozen=True, slots=True)
class Merge:
    """What a reading changes of a slot's runs.

    Parameters
    ----------
    run : Run
        As it is to be.
    new : bool
        A row of its own, or else the row of the same `read_s` with a later `seen_s`.
    """

    run: Run
    new: bool


def merge(runs: list[Run], read_s: int, ci_g_per_kwh: float, quality: int) -> Merge | None:
    """Tell what a reading changes.

    Parameters
    ----------
    runs : list of Run
        Of one slot, rising; changed as the reading demands.
    read_s : int
        When it was read, seconds since the epoch.
    ci_g_per_kwh : float
        Its value [g/kWh].
    quality : int
        Its `Quality`.

    Returns
    -------
    Merge or None
        None where all of it is known already.

    Raises
    ------
    SignalInvalid
        The slot was read with another value both before (or then) and after.

    Examples
    --------
    >>> runs = [Run(10, 20, 300.0, 0)]
    >>> merge(runs, 15, 300.0, 0) is None
    True
    >>> merge(runs, 30, 300.0, 0)
    Merge(run=Run(read_s=10, seen_s=30, ci_g_per_kwh=300.0, quality=0), new=False)
    >>> merge(runs, 40, 310.0, 0).new
    True
    """
    place = bisect_right(runs, read_s, key=lambda run: run.read_s)
    before = runs[place - 1] if place else None
    if before is not None and (before.ci_g_per_kwh, before.quality) == (ci_g_per_kwh, quality):
        if read_s <= before.seen_s:
            return None
        made = before._replace(seen_s=read_s)
        runs[place - 1] = made
        return Merge(made, new=False)
    if before is not None and read_s <= before.seen_s:
        msg = (
            f"read at {format_time(read_s)} as {ci_g_per_kwh:g} g/kWh "
            f"({Quality(quality).name.lower()}), but as {before.ci_g_per_kwh:g} "
            f"({Quality(before.quality).name.lower()}) from {format_time(before.read_s)} "
            f"to {format_time(before.seen_s)}"
        )
        raise SignalInvalid(msg, hint="record readings in the order of their times", value=read_s)
    made = Run(read_s, read_s, ci_g_per_kwh, quality)
    runs.insert(place, made)
    return Merge(made, new=True)


def crc_of_run(series_id: int, start_s: int, run: Run) -> int:
    """Return a check sum, so that a flipped bit on a disk never comes out as a value.

    Parameters
    ----------
    series_id : int
        Whose it is.
    start_s : int
        Start of the slot, seconds since the epoch.
    run : Run
        The value.

    Returns
    -------
    int
        CRC-32 of all of it.
    """
    return zlib.crc32(_PACKED.pack(series_id, start_s, run.read_s, run.seen_s, run.ci_g_per_kwh, run.quality))


def crc_of_series(series_id: int, facts: Iterable[object]) -> int:
    """Return a check sum of what a series is.

    Parameters
    ----------
    series_id : int
        Its number.
    facts : iterable
        Source, zone, kind, step, whether it is synthetic, lag.

    Returns
    -------
    int
        CRC-32.
    """
    return zlib.crc32("\x1f".join(map(str, (series_id, *facts))).encode())


def readings_of(
    series: CarbonSeries, read_s: int | None
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.int8]]:
    """Return a series as readings.

    Parameters
    ----------
    series : CarbonSeries
        What was read.
    read_s : int or None
        When, seconds since the epoch; None takes the series' own readings.

    Returns
    -------
    tuple of ndarray
        Slot starts, reading times, values and qualities, rising by reading time.

    Raises
    ------
    InputError
        Nobody says when it was read.
    """
    if read_s is None:
        if series.readings is None:
            msg = f"{series.source}, {series.grid_zone}: nobody says when it was read"
            raise InputError(msg, hint="give the time of reading", value=series.source)
        own = series.readings
        return own.start_s, own.read_s, own.values_g_per_kwh, own.quality
    known = np.flatnonzero(~np.isnan(series.values_g_per_kwh))
    times_s = np.full(len(known), read_s, dtype=np.int64)
    quality = np.asarray(series.quality)[known]
    return series.slots.starts_s()[known], times_s, series.values_g_per_kwh[known], quality


def write_runs(database: sqlite3.Connection, series_id: int, changed: dict[tuple[int, int], Run]) -> None:
    """Write runs, new ones and those that were seen again.

    Parameters
    ----------
    database : sqlite3.Connection
        In a transaction.
    series_id : int
        Whose they are.
    changed : dict of (int, int) to Run
        By slot start and reading time.
    """

    def rows() -> Iterator[tuple[object, ...]]:
        for (start_s, _read_s), run in changed.items():
            yield (series_id, start_s, *run, crc_of_run(series_id, start_s, run))

    database.executemany("INSERT OR REPLACE INTO readings VALUES (?, ?, ?, ?, ?, ?, ?)", rows())


def series_of(row: Any, rows: list[Any], window: SlotGrid | None) -> CarbonSeries:  # noqa: ANN401 - rows
    """Lay stored readings on a grid.

    Parameters
    ----------
    row : tuple
        Of the table ``series``.
    rows : list of tuple
        Slot start, first and last reading, value, quality, check sum; rising by reading time.
    window : SlotGrid or None
        The slots wanted; None for all that have a reading.

    Returns
    -------
    CarbonSeries
        With its readings.

    Raises
    ------
    SlotError
        The window isn't on the grid of the slots.
    """
    step_s = int(row[4])
    table = np.array([item[:2] for item in rows], dtype=np.int64).reshape(len(rows), 2)
    start_s, read_s = np.ascontiguousarray(table[:, 0]), np.ascontiguousarray(table[:, 1])
    if window is None:
        first_s = int(start_s.min()) if len(rows) else 0
        count = (int(start_s.max()) - first_s) // step_s + 1 if len(rows) else 0
        window = SlotGrid(first_s, step_s, count)
    if len(rows) and ((start_s - window.start_s) % step_s).any():
        msg = f"{row[1]}, {row[2]}: the slots asked for are not those that are stored"
        raise SlotError(msg, hint=f"start at {format_time(int(start_s[0]))} or whole slots from there")
    readings = Readings(
        start_s=start_s,
        read_s=read_s,
        values_g_per_kwh=np.array([item[3] for item in rows], dtype=np.float64),
        quality=np.array([item[4] for item in rows], dtype=np.int8),
    )
    values, quality, _ = readings.newest(window)
    return CarbonSeries(
        grid_zone=row[2],
        kind=IntensityKind(row[3]),
        slots=window,
        values_g_per_kwh=values,
        source=row[1],
        quality=np.where(np.isnan(values), Quality.MISSING, quality),
        synthetic=bool(row[5]),
        availability_lag_s=int(row[6]),
        readings=readings,
    )

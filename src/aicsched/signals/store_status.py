"""What the store can tell of itself: what it holds, and how reading from each source went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aicsched.domain.carbon import IntensityKind, Quality
from aicsched.signals.store_file import check_series
from aicsched.signals.store_rows import SeriesKey

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

__all__ = ["StoredSeries", "Tries", "stored_series", "stored_tries", "write_refused", "write_try"]

_ERROR_CHARS: Final = 500
_EVERY: Final = "SELECT * FROM series ORDER BY source, grid_zone, kind, step_s"
_SPAN: Final = (
    "SELECT min(start_s), max(start_s), count(DISTINCT start_s) FROM readings "
    "WHERE series_id = :series AND quality <> :forecast AND read_s <= :at"
)
_REVISED: Final = (
    "SELECT count(*) - count(DISTINCT start_s), max(min(seen_s, :at)) FROM readings "
    "WHERE series_id = :series AND read_s <= :at"
)
_ANY_TIME: Final = 2**62
_FAILED: Final = """INSERT INTO tries VALUES (?, ?, ?, NULL, 1, ?, ?, ?) ON CONFLICT DO UPDATE SET
    tried_s = excluded.tried_s, failures = failures + 1, error = excluded.error,
    error_s = excluded.error_s, skew_s = coalesce(excluded.skew_s, skew_s)"""
_WENT_WELL: Final = """INSERT INTO tries VALUES (?, ?, ?, ?, 0, '', NULL, ?) ON CONFLICT DO UPDATE SET
    tried_s = excluded.tried_s, good_s = excluded.good_s, failures = 0, skew_s = excluded.skew_s"""
_REFUSED: Final = """INSERT INTO refusals VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
    count = count + excluded.count, last_s = excluded.last_s"""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSeries:
    """What the store holds of one series.

    Parameters
    ----------
    key : SeriesKey
        Source, zone, kind and step.
    first_s, end_s : int
        Start of the first and end of the last slot with a value that is no forecast, seconds since
        the epoch; both 0 where there is none.
    slots : int
        Slots with a value, forecasts not counted.
    gaps : int
        Slots without one between the first and the last.
    revisions : int
        Values that were replaced by later readings.
    read_s : int
        The last reading, seconds since the epoch.
    lag_s : int
        Availability lag that the source was recorded with [s].
    synthetic : bool
        True when the values were made up.
    """

    key: SeriesKey
    first_s: int
    end_s: int
    slots: int
    gaps: int
    revisions: int
    read_s: int
    lag_s: int
    synthetic: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Tries:
    """How reading a zone from a source went.

    Parameters
    ----------
    source, grid_zone : str
        What was read.
    tried_s : int
        The last try, seconds since the epoch.
    good_s : int or None
        The last one that succeeded.
    failures : int
        How many have failed since.
    error : str
        Of the last one that failed; empty when none ever did.
    error_s : int or None
        When that was.
    skew_s : float or None
        By how much our clock was ahead of the source's [s], where that is more than two minutes.
    refusals : dict of str to int
        Values that were refused, by reason.
    """

    source: str
    grid_zone: str
    tried_s: int
    good_s: int | None
    failures: int
    error: str
    error_s: int | None
    skew_s: float | None
    refusals: dict[str, int]


def stored_series(
    database: sqlite3.Connection, path: Path, at_s: int | None = None
) -> tuple[StoredSeries, ...]:
    """Tell what a store holds.

    Parameters
    ----------
    database : sqlite3.Connection
        Open, in a transaction.
    path : Path
        The store, for messages.
    at_s : int, optional
        Only what had been read by then, seconds since the epoch.

    Returns
    -------
    tuple of StoredSeries
        Sorted by source, zone, kind and step; without those that were not yet read at `at_s`.
    """
    made: list[StoredSeries] = []
    for row in database.execute(_EVERY).fetchall():
        check_series(path, row)
        key = SeriesKey(row[1], row[2], IntensityKind(row[3]), row[4])
        asked = {
            "series": row[0],
            "forecast": int(Quality.FORECAST),
            "at": _ANY_TIME if at_s is None else at_s,
        }
        first_s, last_s, slots = database.execute(_SPAN, asked).fetchone()
        revisions, read_s = database.execute(_REVISED, asked).fetchone()
        if at_s is not None and read_s is None:
            continue
        end_s = 0 if last_s is None else last_s + key.step_s
        span = 0 if first_s is None else (end_s - first_s) // key.step_s
        made.append(
            StoredSeries(
                key=key,
                first_s=first_s or 0,
                end_s=end_s,
                slots=slots,
                gaps=span - slots,
                revisions=revisions,
                read_s=read_s or 0,
                lag_s=row[6],
                synthetic=bool(row[5]),
            )
        )
    return tuple(made)


def stored_tries(database: sqlite3.Connection) -> tuple[Tries, ...]:
    """Tell how reading from each source went.

    Parameters
    ----------
    database : sqlite3.Connection
        Open, in a transaction.

    Returns
    -------
    tuple of Tries
        Sorted by source and zone.
    """
    refused: dict[tuple[str, str], dict[str, int]] = {}
    for source, zone, reason, count in database.execute(
        "SELECT source, grid_zone, reason, count FROM refusals ORDER BY reason"
    ):
        refused.setdefault((source, zone), {})[reason] = count
    rows = database.execute("SELECT * FROM tries ORDER BY source, grid_zone").fetchall()
    names = ("source", "grid_zone", "tried_s", "good_s", "failures", "error", "error_s", "skew_s")
    return tuple(
        Tries(**dict(zip(names, row, strict=True)), refusals=refused.get(row[:2], {})) for row in rows
    )


def write_try(
    database: sqlite3.Connection, source: str, zone: str, at_s: int, *, error: str, skew_s: float | None
) -> None:
    """Remember how reading from a source went; see `SignalStore.note_try`."""
    if error:
        row = (source, zone, at_s, error[:_ERROR_CHARS], at_s, skew_s)
        database.execute(_FAILED, row)
    else:
        database.execute(_WENT_WELL, (source, zone, at_s, at_s, skew_s))


def write_refused(
    database: sqlite3.Connection, source: str, zone: str, at_s: int, counts: dict[str, int]
) -> None:
    """Count values that were refused; see `SignalStore.note_try`."""
    database.executemany(_REFUSED, [(source, zone, reason, count, at_s) for reason, count in counts.items()])

"""The file of the store: opened, checked, and set aside when it is damaged, never emptied."""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from aicsched.database import transaction
from aicsched.errors import InputError, OutputError, StoreCorrupt, StoreError
from aicsched.observe import get_logger
from aicsched.signals.store_rows import STORE, Run, crc_of_run, crc_of_series

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Generator

__all__ = [
    "check_rows",
    "check_series",
    "damaged_files",
    "inode_of",
    "open_file",
    "put_aside",
    "verify_all",
]

_log = get_logger("signals.store")
_MAGIC: Final = b"SQLite format 3\x00"
_HEADER_BYTES: Final = 100
_ID_AT: Final = slice(68, 72)
_HELPERS: Final = ("-wal", "-shm")
_DAMAGED: Final = ".damaged-"


def check_series(path: Path, row: tuple[int, str, str, str, int, int, int, int]) -> None:
    """Refuse a series whose check sum doesn't hold.

    Parameters
    ----------
    path : Path
        The store, for messages.
    row : tuple
        Of the table ``series``.

    Raises
    ------
    StoreCorrupt
        It was changed.
    """
    if crc_of_series(row[0], row[1:7]) != row[7]:
        _broken(path, f"the series of {row[1]} for '{row[2]}' was changed")


def check_rows(path: Path, series_id: int, rows: list[tuple[int, int, int, float, int, int]]) -> None:
    """Refuse readings whose check sums don't hold.

    Parameters
    ----------
    path : Path
        The store, for messages.
    series_id : int
        Whose they are.
    rows : list of tuple
        Slot start, first and last reading, value, quality and check sum.

    Raises
    ------
    StoreCorrupt
        One was changed.
    """
    for start_s, read_s, seen_s, value, quality, crc in rows:
        if crc_of_run(series_id, start_s, Run(read_s, seen_s, value, quality)) != crc:
            _broken(path, f"a reading of {start_s} was changed")


def _broken(path: Path, what: str) -> None:
    what = " ".join(what.replace("*** in database main ***", "").split())
    msg = f"the signal store {path} is damaged: {what}"
    raise StoreCorrupt(msg, hint=STORE.damaged_hint)


def _refuse_damaged_header(path: Path) -> None:
    """Tell a store whose header is lost from a file that never was one."""
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
    except OSError:
        return  # SQLite will say it better
    ours = header[_ID_AT] == STORE.application_id.to_bytes(4, "big")
    lost = bool(header) and not any(header)
    if not header.startswith(_MAGIC) and (ours or lost):
        _broken(path, "its header is gone")


def open_file(path: Path, *, read_only: bool, busy_s: float) -> sqlite3.Connection:
    """Open a store and look through its pages.

    Parameters
    ----------
    path : Path
        The file.
    read_only : bool
        Write nothing.
    busy_s : float
        How long to wait for another writer [s].

    Returns
    -------
    sqlite3.Connection
        In autocommit mode, for one thread at a time.

    Raises
    ------
    InputError, OutputError, StoreError
        As `DatabaseKind.connect`.
    StoreCorrupt
        The file is damaged.
    """
    _refuse_damaged_header(path)
    database = STORE.connect(path, read_only=read_only, busy_s=busy_s)
    try:
        with STORE.guarded(path, "read"):
            found = database.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            _broken(path, found)
    except BaseException:
        database.close()
        raise
    return database


def verify_all(database: sqlite3.Connection, path: Path) -> int:
    """Check every row of a store.

    Parameters
    ----------
    database : sqlite3.Connection
        Open.
    path : Path
        The store, for messages.

    Returns
    -------
    int
        How many readings there are.

    Raises
    ------
    StoreCorrupt
        Something was changed.
    """
    count = 0
    with STORE.guarded(path, "read"), transaction(database, write=False):
        found = database.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if found != "ok":
            _broken(path, found)
        for row in database.execute("SELECT * FROM series").fetchall():
            check_series(path, row)
            query = (
                "SELECT start_s, read_s, seen_s, ci_g_per_kwh, quality, crc FROM readings WHERE series_id = ?"
            )
            rows = database.execute(query, (row[0],)).fetchall()
            check_rows(path, row[0], rows)
            count += len(rows)
    return count


@contextmanager
def _alone(path: Path, busy_s: float) -> Generator[None]:
    """Hold the lock beside a store, so that of several processes one sets it aside."""
    try:
        import fcntl  # noqa: PLC0415 - not everywhere
    except ImportError:
        yield
        return
    with path.with_name(path.name + ".lock").open("a") as handle:
        until_s = time.monotonic() + busy_s
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if time.monotonic() > until_s:
                    msg = f"another process holds the signal store {path}"
                    raise StoreError(msg, hint="run it again when the other one has ended") from error
                time.sleep(0.02)
        yield


def _is_damaged(path: Path, busy_s: float) -> bool:
    try:
        database = open_file(path, read_only=True, busy_s=busy_s)
    except StoreCorrupt:
        return True
    except InputError:
        return False  # absent: someone else has set it aside
    try:
        verify_all(database, path)
    except StoreCorrupt:
        return True
    finally:
        database.close()
    return False


def put_aside(path: Path, *, busy_s: float, why: str) -> Path | None:
    """Rename a damaged store, so that a new one can begin and nothing is lost.

    Parameters
    ----------
    path : Path
        The store; close it first.
    busy_s : float
        How long to wait for others that do the same [s].
    why : str
        For the log.

    Returns
    -------
    Path or None
        Its new name; None where another process has done so already.

    Raises
    ------
    OutputError
        It can't be renamed.
    StoreError
        Another process holds it.
    """
    try:
        with _alone(path, busy_s):
            if not _is_damaged(path, busy_s):
                return None
            stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
            target = path.with_name(f"{path.name}{_DAMAGED}{stamp}")
            number = 0
            while target.exists():
                number += 1
                target = path.with_name(f"{path.name}{_DAMAGED}{stamp}-{number}")
            # The log goes first: without it the file can't be taken for whole by whoever looks in between.
            for ending in _HELPERS:
                with suppress(FileNotFoundError):
                    Path(f"{path}{ending}").replace(f"{target}{ending}")
            path.replace(target)
    except OSError as error:
        msg = f"the damaged signal store {path} can't be set aside ({error.strerror or error})"
        raise OutputError(msg, hint="move it away, or choose another store", value=str(path)) from error
    _log.error("%s; it was set aside as %s, and a new store begins", why, target)
    return target


def damaged_files(path: Path) -> tuple[Path, ...]:
    """List what was set aside of a store.

    Parameters
    ----------
    path : Path
        The store.

    Returns
    -------
    tuple of Path
        Sorted, oldest first.
    """
    found = path.parent.glob(f"{path.name}{_DAMAGED}*") if path.parent.is_dir() else ()
    return tuple(sorted(item for item in found if not item.name.endswith(_HELPERS)))


def inode_of(path: Path) -> tuple[int, int]:
    """Tell one file from another of the same name.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    tuple of int
        Device and number; zeros where there is none.
    """
    try:
        found = path.stat()
    except OSError:
        return (0, 0)
    return (found.st_dev, found.st_ino)

"""The ledger's SQLite file: opened, made and guarded; every fault becomes one of ours."""

from __future__ import annotations

import sqlite3
import time
from contextlib import contextmanager, suppress
from stat import S_ISDIR
from typing import TYPE_CHECKING, Final

from aicsched.account.entry import SCHEMA_VERSION
from aicsched.errors import InputError, LedgerCorrupt, LedgerError, OutputError

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

__all__ = ["ENTRIES", "connect", "guarded", "last_seq", "transaction"]

APPLICATION_ID: Final = 0x41434C47  # "ACLG" in the header tells this file from other SQLite files
ENTRIES: Final = "SELECT seq, decision_id, subject, body, prev_hash, hash FROM entries ORDER BY seq"

# AUTOINCREMENT makes SQLite remember the highest number ever given: a cut end shows.
_SCHEMA: Final = (
    """CREATE TABLE entries (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        decision_id TEXT NOT NULL UNIQUE,
        subject TEXT NOT NULL,
        body TEXT NOT NULL,
        prev_hash TEXT NOT NULL,
        hash TEXT NOT NULL
    )""",
    "CREATE INDEX entries_by_subject ON entries (subject)",
    """CREATE TRIGGER entries_stay BEFORE UPDATE ON entries
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: record a correction'); END""",
    """CREATE TRIGGER entries_are_kept BEFORE DELETE ON entries
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: record a correction'); END""",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)
_RETRY_S: Final = 0.02
_NO_ROOM: Final = (
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
)
_DAMAGED: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_BUSY: Final = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _primary_code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


@contextmanager
def guarded(path: Path, verb: str) -> Generator[None]:
    """Turn SQLite's faults into ours.

    Parameters
    ----------
    path : Path
        The ledger.
    verb : str
        ``"read"`` or ``"write"``.

    Yields
    ------
    None
        Run the statements inside.

    Raises
    ------
    OutputError
        The disk is full, broken or read-only.
    LedgerCorrupt
        The file's pages are damaged.
    LedgerError
        Another writer holds the ledger too long, or anything else.
    """
    try:
        yield
    except sqlite3.Error as error:
        raise _translated(error, path, verb) from error


def _translated(error: sqlite3.Error, path: Path, verb: str) -> LedgerError | OutputError:
    code = _primary_code(error)
    if code in _NO_ROOM:
        full = code == sqlite3.SQLITE_FULL
        msg = f"can't {verb} the ledger {path}: {error}"
        hint = "free some space and run it again" if full else "check the folder, its rights and the disk"
        return OutputError(msg, hint=f"nothing of this call was written; {hint}")
    if code in _DAMAGED:
        return LedgerCorrupt(f"the ledger {path} is damaged: {error}", hint="restore it from a backup")
    if code in _BUSY:
        msg = f"another process holds the ledger {path}"
        return LedgerError(msg, hint="nothing was written; run it again when the other one has ended")
    return LedgerError(f"can't {verb} the ledger {path}: {error}", hint="nothing of this call was written")


@contextmanager
def transaction(database: sqlite3.Connection, *, write: bool) -> Generator[None]:
    """Run statements as one transaction; whatever goes wrong leaves nothing behind.

    Parameters
    ----------
    database : sqlite3.Connection
        In autocommit mode.
    write : bool
        Take the write lock at once, so that what is read first stays true.

    Yields
    ------
    None
        Run the statements inside.
    """
    database.execute("BEGIN IMMEDIATE" if write else "BEGIN")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        # A full disk may have rolled back already: that is what was wanted.
        with suppress(sqlite3.Error):
            database.execute("ROLLBACK")
        raise


def last_seq(database: sqlite3.Connection) -> int:
    """Return the highest entry number ever given.

    Parameters
    ----------
    database : sqlite3.Connection
        An open ledger.

    Returns
    -------
    int
        0 before the first entry.
    """
    row = database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'entries'").fetchone()
    return 0 if row is None else int(row[0])


def connect(path: Path, *, read_only: bool, busy_s: float) -> sqlite3.Connection:
    """Open the file of a ledger, and make it when absent.

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
        In autocommit mode.

    Raises
    ------
    InputError
        There is no such ledger, or the file is something else.
    OutputError
        The file can't be made or written.
    """
    kind = _kind_of(path)
    if kind == "folder" or (read_only and kind == "absent"):
        msg = f"the ledger {path} {'is a folder' if kind == 'folder' else 'does not exist'}"
        raise InputError(msg, hint="give the path of a ledger file", value=str(path))
    opener = _open_to_read if read_only else _open_to_write
    with guarded(path, "open"):
        return opener(path, busy_s)


def _kind_of(path: Path) -> str:
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return "absent"
    except OSError as error:
        msg = f"can't look at the ledger {path}: {error.strerror}"
        raise OutputError(msg, hint="check the rights of its folder", value=str(path)) from error
    return "folder" if S_ISDIR(mode) else "file"


def _connect(path: Path, mode: str, busy_s: float) -> sqlite3.Connection:
    address = f"{path.absolute().as_uri()}?{mode}"
    return sqlite3.connect(address, uri=True, timeout=busy_s, isolation_level=None)


def _open_to_read(path: Path, busy_s: float) -> sqlite3.Connection:
    # Not mode=ro: only a connection that may write clears its helper files away when it closes.
    database = _connect(path, "mode=rw", busy_s)
    try:
        database.execute("PRAGMA query_only = ON")
        _check_ours(database, path)
    except sqlite3.OperationalError:
        database.close()
        log = path.with_name(path.name + "-wal")
        if log.exists() and log.stat().st_size:
            raise
        # WAL needs a shared-memory file beside the ledger even to read, which a read-only
        # folder refuses. Without a log the file itself is all there is.
        database = _connect(path, "mode=ro&immutable=1", busy_s)
        _check_ours(database, path)
    return database


def _open_to_write(path: Path, busy_s: float) -> sqlite3.Connection:
    database = _connect(path, "mode=rwc", busy_s)
    try:
        if not _is_empty(database, path):
            _check_ours(database, path)
        _use_wal(database, busy_s)
        database.execute("PRAGMA synchronous = FULL")
        with transaction(database, write=True):
            if _is_empty(database, path):
                for statement in _SCHEMA:
                    database.execute(statement)
    except BaseException:
        database.close()
        raise
    return database


def _is_empty(database: sqlite3.Connection, path: Path) -> bool:
    try:
        return database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    except sqlite3.DatabaseError as error:
        raise _not_ours(error, path) from error


def _check_ours(database: sqlite3.Connection, path: Path) -> None:
    try:
        found = database.execute("PRAGMA application_id").fetchone()[0]
        version = database.execute("PRAGMA user_version").fetchone()[0]
    except sqlite3.DatabaseError as error:
        raise _not_ours(error, path) from error
    if found != APPLICATION_ID:
        msg = f"{path} is a database of another program"
        raise InputError(msg, hint="give the path of a ledger", value=str(path))
    if version != SCHEMA_VERSION:
        msg = f"the ledger {path} has version {version}, this program reads version {SCHEMA_VERSION}"
        raise InputError(msg, hint="use the version of aicsched that wrote it", value=version)


def _not_ours(error: sqlite3.DatabaseError, path: Path) -> Exception:
    if _primary_code(error) != sqlite3.SQLITE_NOTADB:
        return error
    return InputError(f"{path} is no ledger: {error}", hint="give the path of a ledger", value=str(path))


def _use_wal(database: sqlite3.Connection, busy_s: float) -> None:
    # SQLite doesn't wait for its lock when two processes turn WAL on together: we do.
    for _ in range(max(1, int(busy_s / _RETRY_S))):
        try:
            database.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError as error:
            if _primary_code(error) not in _BUSY:
                raise
            time.sleep(_RETRY_S)
        else:
            return
    database.execute("PRAGMA journal_mode = WAL").fetchone()

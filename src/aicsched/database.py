"""SQLite files of ours: opened, made and guarded alike; every fault becomes one of ours.

A file carries our number in its header, so that a file of another program is never
taken for ours, let alone changed. Writers wait for one another, one transaction is
whole or not there, and what was committed survives a killed process and a power cut.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from stat import S_ISDIR
from typing import TYPE_CHECKING, Final

from aicsched.errors import AicschedError, InputError, OutputError

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

__all__ = ["DatabaseKind", "transaction", "use_wal"]

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


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseKind:
    """A kind of SQLite file: what marks it, what is in it, and what its faults are called.

    Parameters
    ----------
    noun : str
        For messages: ``"ledger"``.
    application_id : int
        In the header of the file, to tell it from other SQLite files.
    version : int
        Of the schema; another one is refused.
    schema : tuple of str
        Statements that make the tables.
    fault, damaged : type
        The errors for faults in general and for damaged pages.
    damaged_hint : str
        What to do about the latter.
    threads : bool
        Let several threads use a connection; the caller takes care that one does at a time.
    """

    noun: str
    application_id: int
    version: int
    schema: tuple[str, ...]
    fault: type[AicschedError]
    damaged: type[AicschedError]
    damaged_hint: str = "restore it from a backup"
    threads: bool = False

    @contextmanager
    def guarded(self, path: Path, verb: str) -> Generator[None]:
        """Turn SQLite's faults into ours.

        Parameters
        ----------
        path : Path
            The file.
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
        AicschedError
            `damaged`, where the file's pages are; `fault`, where another writer holds the file too
            long, or for anything else.
        """
        try:
            yield
        except sqlite3.Error as error:
            raise self._translated(error, path, verb) from error

    def _translated(self, error: sqlite3.Error, path: Path, verb: str) -> AicschedError:
        code = _primary_code(error)
        if code in _NO_ROOM:
            full = code == sqlite3.SQLITE_FULL
            msg = f"can't {verb} the {self.noun} {path}: {error}"
            hint = "free some space and run it again" if full else "check the folder, its rights and the disk"
            return OutputError(msg, hint=f"nothing of this call was written; {hint}")
        if code in _DAMAGED:
            return self.damaged(f"the {self.noun} {path} is damaged: {error}", hint=self.damaged_hint)
        if code in _BUSY:
            msg = f"another process holds the {self.noun} {path}"
            return self.fault(msg, hint="nothing was written; run it again when the other one has ended")
        msg = f"can't {verb} the {self.noun} {path}: {error}"
        return self.fault(msg, hint="nothing of this call was written")

    def connect(self, path: Path, *, read_only: bool, busy_s: float) -> sqlite3.Connection:
        """Open a file, and make it when absent.

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
            There is no such file, or it is something else.
        OutputError
            The file can't be made or written.
        """
        kind = self._kind_of(path)
        if kind == "folder" or (read_only and kind == "absent"):
            msg = f"the {self.noun} {path} {'is a folder' if kind == 'folder' else 'does not exist'}"
            raise InputError(msg, hint=f"give the path of a {self.noun} file", value=str(path))
        opener = self._open_to_read if read_only else self._open_to_write
        with self.guarded(path, "open"):
            return opener(path, busy_s)

    def _kind_of(self, path: Path) -> str:
        try:
            mode = path.stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            return "absent"
        except OSError as error:
            msg = f"can't look at the {self.noun} {path}: {error.strerror}"
            raise OutputError(msg, hint="check the rights of its folder", value=str(path)) from error
        return "folder" if S_ISDIR(mode) else "file"

    def _connect(self, path: Path, mode: str, busy_s: float) -> sqlite3.Connection:
        address = f"{path.absolute().as_uri()}?{mode}"
        return sqlite3.connect(
            address, uri=True, timeout=busy_s, isolation_level=None, check_same_thread=not self.threads
        )

    def _open_to_read(self, path: Path, busy_s: float) -> sqlite3.Connection:
        # Not mode=ro: only a connection that may write clears its helper files away when it closes.
        database = self._connect(path, "mode=rw", busy_s)
        try:
            database.execute("PRAGMA query_only = ON")
            self._check_ours(database, path)
        except sqlite3.OperationalError:
            database.close()
            log = path.with_name(path.name + "-wal")
            if log.exists() and log.stat().st_size:
                raise
            # WAL needs a shared-memory file beside the file even to read, which a read-only
            # folder refuses. Without a log the file itself is all there is.
            database = self._connect(path, "mode=ro&immutable=1", busy_s)
            self._check_ours(database, path)
        return database

    def _open_to_write(self, path: Path, busy_s: float) -> sqlite3.Connection:
        database = self._connect(path, "mode=rwc", busy_s)
        try:
            if not self._is_empty(database, path):
                self._check_ours(database, path)
            use_wal(database, busy_s)
            database.execute("PRAGMA synchronous = FULL")
            with transaction(database, write=True):
                if self._is_empty(database, path):
                    for statement in self.schema:
                        database.execute(statement)
                    database.execute(f"PRAGMA application_id = {self.application_id}")
                    database.execute(f"PRAGMA user_version = {self.version}")
        except BaseException:
            database.close()
            raise
        return database

    def _is_empty(self, database: sqlite3.Connection, path: Path) -> bool:
        try:
            return database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
        except sqlite3.DatabaseError as error:
            raise self._not_ours(error, path) from error

    def _check_ours(self, database: sqlite3.Connection, path: Path) -> None:
        try:
            found = database.execute("PRAGMA application_id").fetchone()[0]
            version = database.execute("PRAGMA user_version").fetchone()[0]
        except sqlite3.DatabaseError as error:
            raise self._not_ours(error, path) from error
        if found != self.application_id:
            msg = f"{path} is a database of another program"
            raise InputError(msg, hint=f"give the path of a {self.noun}", value=str(path))
        if version != self.version:
            msg = f"the {self.noun} {path} has version {version}, this program reads version {self.version}"
            raise InputError(msg, hint="use the version of aicsched that wrote it", value=version)

    def _not_ours(self, error: sqlite3.DatabaseError, path: Path) -> Exception:
        if _primary_code(error) != sqlite3.SQLITE_NOTADB:
            return error
        msg = f"{path} is no {self.noun}: {error}"
        return InputError(msg, hint=f"give the path of a {self.noun}", value=str(path))


def use_wal(database: sqlite3.Connection, busy_s: float) -> None:
    """Turn the write-ahead log on, waiting for others that do the same.

    Parameters
    ----------
    database : sqlite3.Connection
        In autocommit mode.
    busy_s : float
        How long to wait [s].
    """
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

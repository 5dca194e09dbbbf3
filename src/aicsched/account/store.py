"""The ledger's SQLite file: its tables, and that nothing in them is changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aicsched.account.entry import SCHEMA_VERSION
from aicsched.database import DatabaseKind
from aicsched.errors import LedgerCorrupt, LedgerError

if TYPE_CHECKING:
    import sqlite3

__all__ = ["ENTRIES", "LEDGER", "last_seq"]

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
)
LEDGER: Final = DatabaseKind(
    noun="ledger",
    application_id=0x41434C47,  # "ACLG"
    version=SCHEMA_VERSION,
    schema=_SCHEMA,
    fault=LedgerError,
    damaged=LedgerCorrupt,
)


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

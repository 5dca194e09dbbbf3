"""The ledger: an append-only file of decisions that can't be changed unnoticed.

SQLite in WAL mode with ``synchronous=FULL``: when `Ledger.record` returns, its
decisions survive a killed process and a power cut; when it raises, or dies in
the middle, none of them is there. One `record` is one transaction, so give it
many decisions at a time. Several processes may write one ledger: they wait for
one another. A correction is a new entry (see `aicsched.account.decisions.correct`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from aicsched.account.entry import GENESIS, chain, decode, encode
from aicsched.account.store import ENTRIES, LEDGER, last_seq
from aicsched.database import transaction
from aicsched.errors import LedgerConflict, LedgerCorrupt, LedgerError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable
    from typing import Self

    from aicsched.domain.decision import Decision

__all__ = ["Ledger", "VerifyReport"]

BUSY_S: Final = 30.0
_RESTORE: Final = "restore the ledger from a backup; the entries before it are intact"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What a verified ledger holds.

    Parameters
    ----------
    entries : int
        How many entries were checked.
    head : str
        Hash of the last entry: keep it elsewhere, and `Ledger.verify` finds a cut end too.
    """

    entries: int
    head: str


class Ledger:
    """A ledger in one SQLite file.

    Parameters
    ----------
    path : str or Path
        The file; it is made when absent, its folder is not.
    read_only : bool
        Open an existing ledger without writing anything.
    busy_s : float
        How long to wait for another writer [s].

    Raises
    ------
    InputError
        There is no such ledger (`read_only`), or the file is something else.
    OutputError
        The file can't be made or written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, Ledger(Path(folder) / "ledger.db") as ledger:
    ...     ledger.verify()
    VerifyReport(entries=0, head='c882826c279ad01b29077b784ab47d039301f5ce760fa5167de95f56db7fb5d3')
    """

    def __init__(self, path: str | Path, *, read_only: bool = False, busy_s: float = BUSY_S) -> None:
        self.path: Final = Path(path)
        self.read_only: Final = read_only
        self._database: sqlite3.Connection | None = LEDGER.connect(
            self.path, read_only=read_only, busy_s=busy_s
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; closing twice is fine."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def _open(self) -> sqlite3.Connection:
        if self._database is None:
            msg = f"the ledger {self.path} is closed"
            raise LedgerError(msg, hint="open it again")
        return self._database

    def record(self, decisions: Iterable[Decision]) -> int:
        """Append decisions, all or none.

        Parameters
        ----------
        decisions : iterable of Decision
            Those whose `decision_id` stands in the ledger with the same content are
            ignored, so that a repeated call does no harm.

        Returns
        -------
        int
            How many were new. They are on disk when this returns.

        Raises
        ------
        LedgerConflict
            An id stands in the ledger with another content.
        LedgerCorrupt
            The last entry is not what was written: nothing is added to a broken chain.
        LedgerError
            A decision has a number that is not finite, or the ledger is open for reading only.
        OutputError
            The disk is full or can't be written.
        """
        database = self._open()
        if self.read_only:
            msg = f"the ledger {self.path} is open for reading only"
            raise LedgerError(msg, hint="open it without read_only")
        # Encoded before the lock is taken: a bad decision or a slow caller holds nobody up.
        bodies = [(decision.decision_id, decision.subject, encode(decision)) for decision in decisions]
        if not bodies:
            return 0
        with LEDGER.guarded(self.path, "write"), transaction(database, write=True):
            return self._append(database, bodies)

    def _append(self, database: sqlite3.Connection, bodies: list[tuple[str, str, str]]) -> int:
        seq, head = self._tail(database)
        added = 0
        for decision_id, subject, body in bodies:
            found = database.execute(
                "SELECT seq, body FROM entries WHERE decision_id = ?", (decision_id,)
            ).fetchone()
            if found is None:
                added += 1
                previous, head = head, chain(head, body)
                row = (seq + added, decision_id, subject, body, previous, head)
                database.execute("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?)", row)
            elif found[1] != body:
                where = f"entry {found[0]} of {self.path}"
                msg = f"the decision {decision_id[:16]} on '{subject}' stands with other content in {where}"
                hint = "nothing was written; record what changed as a correction with an id of its own"
                raise LedgerConflict(msg, hint=hint, value=decision_id)
        return added

    def _tail(self, database: sqlite3.Connection) -> tuple[int, str]:
        last = database.execute(
            "SELECT seq, body, prev_hash, hash FROM entries ORDER BY seq DESC LIMIT 1"
        ).fetchone()
        written = last_seq(database)
        if last is None:
            if written:
                self._broken(1, "is missing")
            return 0, GENESIS
        seq, body, previous, digest = last
        if chain(previous, body) != digest:
            self._broken(seq, "was changed")
        if seq != written:
            self._broken(seq + 1, "is missing")
        return seq, digest

    def _broken(self, seq: int, what: str) -> None:
        msg = f"the ledger {self.path} is broken: entry {seq} {what}"
        raise LedgerCorrupt(msg, hint=_RESTORE, value=seq)

    def head(self) -> str:
        """Return the hash of the last entry.

        Returns
        -------
        str
            64 hexadecimal digits; equal decisions in equal order give equal heads.
        """
        database = self._open()
        with LEDGER.guarded(self.path, "read"):
            row = database.execute("SELECT hash FROM entries ORDER BY seq DESC LIMIT 1").fetchone()
        return GENESIS if row is None else row[0]

    def entries(self, *, limit: int | None = None, subject: str | None = None) -> tuple[Decision, ...]:
        """Return decisions in the order they were written.

        Parameters
        ----------
        limit : int, optional
            Only the last so many.
        subject : str, optional
            Only those on this job or node.

        Returns
        -------
        tuple of Decision
            Newest last.

        Raises
        ------
        LedgerCorrupt
            An entry can't be read.
        """
        database = self._open()
        count = -1 if limit is None else max(0, limit)
        where, values = ("", ()) if subject is None else (" WHERE subject = ?", (subject,))
        query = f"SELECT seq, body FROM entries{where} ORDER BY seq DESC LIMIT ?"  # noqa: S608 - a fixed text
        with LEDGER.guarded(self.path, "read"):
            rows = database.execute(query, (*values, count)).fetchall()
        return tuple(self._decoded(seq, body) for seq, body in reversed(rows))

    def _decoded(self, seq: int, body: str) -> Decision:
        try:
            return decode(body)
        except (ValueError, TypeError, KeyError) as error:
            msg = f"the ledger {self.path} is broken: entry {seq} can't be read"
            raise LedgerCorrupt(msg, hint=_RESTORE, value=seq) from error

    def verify(self, *, head: str | None = None) -> VerifyReport:
        """Recompute the whole chain.

        Parameters
        ----------
        head : str, optional
            A hash that was the head once, e.g. from a report: it must still be in the chain.

        Returns
        -------
        VerifyReport
            How many entries there are, and the head.

        Raises
        ------
        LedgerCorrupt
            An entry was changed, is missing or was moved; the first such entry is named.
        """
        database = self._open()
        with LEDGER.guarded(self.path, "read"), transaction(database, write=False):
            self._check_pages(database)
            count, last = self._walk(database, head)
            if last_seq(database) != count:
                self._broken(count + 1, "is missing")
        return VerifyReport(entries=count, head=last)

    def _check_pages(self, database: sqlite3.Connection) -> None:
        found = database.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if found != "ok":
            msg = f"the ledger {self.path} is damaged: {found}"
            raise LedgerCorrupt(msg, hint=_RESTORE, value=found)

    def _walk(self, database: sqlite3.Connection, wanted: str | None) -> tuple[int, str]:
        count, previous, seen = 0, GENESIS, wanted in {None, GENESIS}
        for row in database.execute(ENTRIES):
            count += 1
            self._check_entry(count, previous, row)
            previous = row[5]
            seen = seen or previous == wanted
        if not seen:
            msg = f"the ledger {self.path} doesn't hold the hash {wanted}: its end was cut, or it is another"
            raise LedgerCorrupt(msg, hint=_RESTORE, value=wanted)
        return count, previous

    def _check_entry(self, number: int, previous: str, row: tuple[int, str, str, str, str, str]) -> None:
        seq, decision_id, subject, body, previous_hash, digest = row
        if seq != number:
            self._broken(number, "is missing")
        if chain(previous_hash, body) != digest:
            self._broken(seq, "was changed")
        if previous_hash != previous:
            self._broken(seq, "doesn't follow the one before it")
        decision = self._decoded(seq, body)
        if (decision.decision_id, decision.subject) != (decision_id, subject):
            self._broken(seq, "is filed under another key")

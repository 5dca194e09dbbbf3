"""From what stands on a released object to the ledger: whoever sees it books it, and twice is once."""

from __future__ import annotations

import hashlib
import queue
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from aicsched.account.entry import decode, encode
from aicsched.account.ledger import Ledger
from aicsched.errors import AicschedError, LedgerConflict, UnitError
from aicsched.extender import names
from aicsched.extender.gates.waiting import read_time_s
from aicsched.observe import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from aicsched.domain.decision import Decision

__all__ = ["Bookkeeper", "decision_of"]

_log = get_logger("gates")
_SLOT_S: Final = 900.0
_BATCH: Final = 500
_KNOWN: Final = 100_000


def decision_of(item: Mapping[str, Any]) -> Decision | None:
    """Read the decision that an object was released by.

    Parameters
    ----------
    item : mapping
        A pod or Job.

    Returns
    -------
    Decision or None
        Its id is made from the object's uid alone, so that it is booked once. None where nothing was
        decided, or where the work started at another time than that: its grams don't hold then.
    """
    meta = item.get("metadata") or {}
    notes = meta.get("annotations") or {}
    text, released = notes.get(names.DECISION), notes.get(names.RELEASED_AT)
    if not text or not released:
        return None
    try:
        made = decode(str(text))
        encode(made)
        off_s = read_time_s(str(released)) - made.start_s
    except (ValueError, TypeError, KeyError, AttributeError, AicschedError, UnitError):
        return None
    if not -_SLOT_S <= off_s <= _SLOT_S or made.subject != f"{meta.get('namespace')}/{meta.get('name')}":
        return None
    key = hashlib.sha256(f"aicsched-deferral/{meta.get('uid')}".encode()).hexdigest()
    return replace(made, decision_id=key)


class Bookkeeper:
    """Books released work, from a thread of its own.

    Parameters
    ----------
    path : Path
        Of the ledger.
    leads : callable
        Whether this replica acts: only one books.
    failed : callable
        Told of each time that the ledger can't be written.
    """

    def __init__(
        self,
        path: Path,
        *,
        leads: Callable[[], bool] = lambda: True,
        failed: Callable[[], None] = lambda: None,
    ) -> None:
        # Opened once, so that a file that can't be used is told at the start.
        Ledger(path).close()
        self._path = path
        self._leads = leads
        self._failed = failed
        self._queue: queue.SimpleQueue[Decision | None] = queue.SimpleQueue()
        self._known: dict[str, None] = {}
        self._waiting: list[Decision] = []
        self._thread: threading.Thread | None = None

    def book(self, kind: str, item: Mapping[str, Any]) -> None:
        """Book an object some time soon, if it was released by a decision.

        Parameters
        ----------
        kind : str
            Of the object.
        item : mapping
            The object.
        """
        del kind
        if not self._leads():
            return
        decision = decision_of(item)
        if decision is not None and decision.decision_id not in self._known:
            self._queue.put(decision)

    def start(self) -> None:
        """Begin to book."""
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Book what waits, and end."""
        self._queue.put(None)
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        more = True
        while more:
            more = self._gather()
            try:
                self.flush()
            except AicschedError as error:
                self._failed()
                _log.warning("%d decisions are not booked yet: %s", len(self._waiting), error)

    def _gather(self) -> bool:
        """Take what is there; wait for the first, unless some are left from before."""
        try:
            first = self._queue.get(timeout=5.0 if self._waiting else None)
        except queue.Empty:
            return True
        while first is not None:
            self._waiting.append(first)
            if len(self._waiting) >= _BATCH or self._queue.empty():
                return True
            first = self._queue.get()
        return False

    def flush(self) -> None:
        """Write what waits.

        Raises
        ------
        LedgerError, OutputError
            The ledger can't be written; what waits is kept.
        """
        if not self._waiting:
            return
        with Ledger(self._path) as ledger:
            try:
                ledger.record(self._waiting)
            except LedgerConflict:
                self._one_by_one(ledger)
        self._known.update(dict.fromkeys(each.decision_id for each in self._waiting))
        while len(self._known) > _KNOWN:
            self._known.pop(next(iter(self._known)))
        self._waiting.clear()

    def _one_by_one(self, ledger: Ledger) -> None:
        for decision in self._waiting:
            try:
                ledger.record([decision])
            except LedgerConflict as error:
                # Somebody changed what stood on the object after it was booked: what is booked stays.
                self._failed()
                _log.warning("%s", error)

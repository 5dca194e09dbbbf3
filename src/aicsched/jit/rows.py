"""Sharing rows out to threads: each runs a serial kernel that lets go of the interpreter lock."""

from __future__ import annotations

import itertools
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from aicsched.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["over_rows", "thread_count"]

# Fewer rows than this aren't worth waking a thread.
MIN_ROWS: Final = 256


class _Pool:
    """The threads of this process; a forked child gets its own."""

    def __init__(self) -> None:
        self.guard = threading.Lock()
        self.threads = 0
        self.executor: ThreadPoolExecutor | None = None

    def of(self, threads: int) -> ThreadPoolExecutor:
        with self.guard:
            if self.executor is None or self.threads < threads:
                # An older, smaller pool ends by itself once its work is done.
                self.executor = ThreadPoolExecutor(threads, thread_name_prefix="aicsched-rows")
                self.threads = threads
            return self.executor


_pool = _Pool()


def _after_fork() -> None:
    global _pool  # noqa: PLW0603 - threads don't follow a fork
    _pool = _Pool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def thread_count() -> int:
    """Return how many threads to use.

    Returns
    -------
    int
        ``$AICSCHED_THREADS``, else the CPUs that this process may use, at most 16.

    Raises
    ------
    ConfigError
        The variable is no whole number from 1.
    """
    said = os.environ.get("AICSCHED_THREADS", "")
    if said:
        if not said.isdecimal() or int(said) < 1:
            msg = f"AICSCHED_THREADS is '{said}', which is no whole number from 1"
            raise ConfigError(msg, hint="unset it, or set it to how many CPUs to use", value=said)
        return int(said)
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(allowed, 16)


def over_rows(task: Callable[[int, int], None], rows: int, *, threads: int | None = None) -> None:
    """Run a task over ranges of rows, each in a thread of its own.

    Parameters
    ----------
    task : callable
        Called with ``(first, last)`` for the rows ``[first, last)``; ranges don't overlap
        and cover all rows. What it writes must depend on its own rows only: then the
        result doesn't depend on the number of threads.
    rows : int
        How many.
    threads : int, optional
        At most so many (default: `thread_count`).

    Raises
    ------
    ConfigError
        ``$AICSCHED_THREADS`` is no whole number from 1.

    Examples
    --------
    >>> import numpy as np
    >>> values = np.arange(1000.0)
    >>> def double(first, last):
    ...     values[first:last] *= 2
    >>> over_rows(double, 1000)
    >>> float(values.sum())
    999000.0
    """
    parts = min(threads or thread_count(), max(rows // MIN_ROWS, 1))
    if parts == 1:
        if rows:
            task(0, rows)
        return
    edges = [rows * part // parts for part in range(parts + 1)]
    executor = _pool.of(parts - 1)
    waiting = [executor.submit(task, first, last) for first, last in itertools.pairwise(edges[1:])]
    try:
        # The caller takes a share too, instead of waiting.
        task(edges[0], edges[1])
    finally:
        # The first fault is raised, but not before all have let go of the arrays.
        faults = [done.exception() for done in waiting]
    for fault in faults:
        if fault is not None:
            raise fault

"""Work that is done again and again in a thread of its own, at its own pace, whatever happens."""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING, Final

from aicsched.errors import AicschedError
from aicsched.observe import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Refresher"]

_log = get_logger("extender.live")
_LONGEST_WAIT_S: Final = 300.0


class Refresher:
    """Calls a function at a pace, sooner when woken, later after failures.

    Parameters
    ----------
    name : str
        In logs and metrics: ``"carbon"``.
    work : callable
        What is done. What it raises is logged once per kind of failure, and counted.
    every_s : float
        Time between the ends of two calls [s].
    first_wait_s : float
        Wait after a failure [s]; doubled each time, up to five minutes, with jitter.
    pause_s : float
        Least time between two calls, however often it is woken [s].
    failed : callable, optional
        Told the name, for a counter.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[], None],
        *,
        every_s: float,
        first_wait_s: float = 1.0,
        pause_s: float = 0.0,
        failed: Callable[[str], None] | None = None,
    ) -> None:
        self.name: Final = name
        self._work = work
        self._every_s = every_s
        self._first_wait_s = first_wait_s
        self._pause_s = pause_s
        self._failed = failed
        self._awake = threading.Event()
        self._stopping = threading.Event()
        self._told = ""
        self._thread: threading.Thread | None = None
        self.failures = 0
        self.well_s: float | None = None

    def start(self) -> None:
        """Begin, in a thread of its own."""
        self._thread = threading.Thread(target=self._run, name=f"aicsched-{self.name}", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Have the work done soon."""
        self._awake.set()

    def stop(self, within_s: float = 5.0) -> None:
        """End; work that is under way is waited for a little.

        Parameters
        ----------
        within_s : float
            How long at most [s].
        """
        self._stopping.set()
        self._awake.set()
        if self._thread is not None:
            self._thread.join(within_s)

    def age_s(self) -> float | None:
        """Tell how long ago the work was done well.

        Returns
        -------
        float or None
            [s]; None before the first time.
        """
        return None if self.well_s is None else time.monotonic() - self.well_s

    def once(self) -> bool:
        """Do the work, here and now.

        Returns
        -------
        bool
            Whether it went well.
        """
        try:
            self._work()
        except Exception as error:  # noqa: BLE001 - a refresher that ends would freeze what it refreshes
            self._note(error)
            return False
        if self._told:
            _log.info("%s: well again", self.name)
        self.failures, self._told, self.well_s = 0, "", time.monotonic()
        return True

    def _note(self, error: Exception) -> None:
        self.failures += 1
        if self._failed is not None:
            self._failed(self.name)
        said = str(error) if isinstance(error, AicschedError) else f"{type(error).__name__}: {error}"
        if said != self._told:
            self._told = said
            known = isinstance(error, AicschedError)
            _log.warning("%s: %s", self.name, said, exc_info=None if known else error)

    def _wait_s(self) -> float:
        if not self.failures:
            return self._every_s
        longest_s = min(self._first_wait_s * 2 ** min(self.failures - 1, 20), _LONGEST_WAIT_S)
        return longest_s * random.uniform(0.5, 1.0)  # noqa: S311 - spreads clients

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._awake.clear()
            self.once()
            if self._stopping.wait(self._pause_s):
                return
            self._awake.wait(self._wait_s())

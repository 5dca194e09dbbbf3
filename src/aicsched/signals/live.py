"""A carbon source that goes on when its upstream doesn't: the last known good values, and how old they are.

`LastKnownGood` asks a source, records what can be believed (`aicsched.signals.refusal`)
in a store, and answers from the store: all that is known, today's answer included. Where
the source can't be read, the answer is what was known before, flagged ``stored:AGE``
with the age of its newest value in seconds, and the slots that the failed read would have
confirmed are `Quality.STALE`. A broken store costs the past, not the present: what the
source just said still comes out, flagged ``unrecorded``.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.domain.flags import Flag
from aicsched.errors import (
    AicschedError,
    ConfigError,
    InputError,
    OutputError,
    SignalError,
    SignalGap,
    SignalInvalid,
    SlotError,
    SourceUnavailable,
    StoreCorrupt,
    StoreError,
    UnknownZone,
)
from aicsched.observe import get_logger
from aicsched.signals.clock import SystemClock
from aicsched.signals.health import SignalHealth
from aicsched.signals.known import joined, laid_on, measured, stale_from
from aicsched.signals.refusal import Refused, believed
from aicsched.signals.spans import averaged, fits, issued
from aicsched.signals.staleness import newest_end_s, skew_s
from aicsched.slots import HOUR_S, SlotGrid

if TYPE_CHECKING:
    from aicsched.domain.carbon import CarbonSeries, IntensityKind
    from aicsched.signals.base import CarbonSource
    from aicsched.signals.clock import Clock
    from aicsched.signals.store import SignalStore

__all__ = ["LastKnownGood"]

DAY_S: Final = 24 * HOUR_S
# What ridge learns from at most, see docs/data-contract.md, and a month to spare.
HISTORY_S: Final = 150 * DAY_S
# Sources revise the last day; older values hardly change.
_RECHECK_S: Final = DAY_S
# Behind so much the source's own default window no longer reaches.
_DEFAULT_REACH_S: Final = DAY_S
_TRIES: Final = 3
_log = get_logger("signals.live")


@dataclass(frozen=True, slots=True)
class _Poll:
    """How the last read of a zone went."""

    at_s: int
    fault: AicschedError | None = None
    notes: tuple[str, ...] = ()


class LastKnownGood:
    """A source beside its store.

    Parameters
    ----------
    source : CarbonSource
        What is asked.
    store : SignalStore
        What remembers; several sources, threads and processes may share one.
    clock : Clock, optional
        What tells the time.
    every_s : float
        Within so long after a read the source isn't asked again [s].
    history_s : int
        How much past an answer without a window holds [s].
    health : SignalHealth, optional
        Counts reads and refusals, for metrics.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from aicsched.signals.carbon.sample import SAMPLE_NOW_S, SampleCarbon
    >>> from aicsched.signals.store import SignalStore
    >>> class At:
    ...     now_s = staticmethod(lambda: float(SAMPLE_NOW_S))
    >>> with tempfile.TemporaryDirectory() as folder, SignalStore(Path(folder) / "signals.db") as store:
    ...     series = LastKnownGood(SampleCarbon(), store, clock=At()).read("syn-coal")
    >>> series.slots.end_s == SAMPLE_NOW_S, series.flags  # what the sample knows of the future is refused
    (True, ('future:191',))
    """

    def __init__(
        self,
        source: CarbonSource,
        store: SignalStore,
        *,
        clock: Clock | None = None,
        every_s: float = 60.0,
        history_s: int = HISTORY_S,
        health: SignalHealth | None = None,
    ) -> None:
        self.source = source
        self.store = store
        self.health = health or SignalHealth()
        self._clock = clock or SystemClock()
        self._every_s = every_s
        self._history_s = history_s
        # One a zone: a zone whose reading takes long holds up no other.
        self._locks: dict[str, threading.RLock] = {}
        self._polls: dict[str, _Poll] = {}
        self._kinds: dict[str, IntensityKind] = {}
        self._ends: dict[str, tuple[int, int]] = {}
        # What was read last and could not be recorded, and when: it is known all the same.
        self._loose: dict[str, tuple[CarbonSeries, int]] = {}

    @property
    def source_id(self) -> str:
        """Who says so: the source's own id."""
        return self.source.source_id

    def zones(self) -> tuple[str, ...]:
        """List the zones of the source, or while it can't say those in the store.

        Returns
        -------
        tuple of str
            Known zones.

        Raises
        ------
        SignalError
            The source can't say, and the store holds none.
        """
        try:
            return self.source.zones()
        except SignalError:
            stored = dict.fromkeys(
                key.grid_zone for key in self.store.series_keys() if key.source == self.source_id
            )
            if not stored:
                raise
            return tuple(stored)

    def read(self, zone: str, window: SlotGrid | None = None) -> CarbonSeries:
        """Return what is known of a zone.

        Parameters
        ----------
        zone : str
            One of `zones`.
        window : SlotGrid, optional
            By default all slots that are over, up to `history_s` back; forecasts of the source are in
            windows only. Longer slots than the source's own are averaged: those of the source are stored.

        Returns
        -------
        CarbonSeries
            With its readings. Flags tell whether the source could be read (``stored:AGE``), what was
            refused, whether clocks differ, and whether the store failed.

        Raises
        ------
        SignalError, ConfigError
            The source can't be read, and the store holds nothing of the zone.
        UnknownZone
            There is no such zone.
        SlotError
            The window isn't known, or not on the grid of the slots.
        """
        with self._locks.setdefault(zone, threading.RLock()):
            now_s = int(self._clock.now_s())
            if window is None:
                return self._answer(zone, None, self._polled(zone, now_s), now_s)
            native = self._native(zone, window, now_s)
            poll = self._polls[zone] = self._poll(zone, native, now_s)
            series = self._answer(zone, native, poll, now_s)
            return series if native == window else issued(averaged(series, window), now_s)

    def _polled(self, zone: str, now_s: int) -> _Poll:
        poll = self._polls.get(zone)
        if poll is None or not 0 <= now_s - poll.at_s < self._every_s:
            poll = self._polls[zone] = self._poll(zone, None, now_s)
        return poll

    def _native(self, zone: str, window: SlotGrid, now_s: int) -> SlotGrid:
        """Return a window in the source's own slots: of longer ones the store would make a series apart."""
        grid = self._grid(zone)
        if grid is None:
            self._polled(zone, now_s)
            grid = self._grid(zone)
        if grid is None or not fits(window, grid):
            return window
        return SlotGrid(window.start_s, grid.step_s, len(window) * (window.step_s // grid.step_s))

    def _grid(self, zone: str) -> SlotGrid | None:
        """Return the slots in which a zone is known."""
        held = self._held(zone)
        if held is not None and len(held.slots):
            return held.slots
        return self._loose[zone][0].slots if zone in self._loose else None

    # ------------------------------------------------------------ asking
    def _poll(self, zone: str, window: SlotGrid | None, now_s: int) -> _Poll:
        refused: dict[str, int] = {}
        try:
            series, refused = self._ask(zone, window, now_s)
        except SlotError:
            raise
        except UnknownZone:
            if self._stored_kind(zone) is None:
                raise
            fault: AicschedError = SourceUnavailable(f"{self.source_id} no longer knows '{zone}'")
        except (SignalError, ConfigError) as error:
            fault = error
            if isinstance(error, SignalGap | SignalInvalid):
                refused = {(Refused.GAPS if isinstance(error, SignalGap) else Refused.INVALID).value: 1}
        except Exception as error:  # noqa: BLE001 - see below
            # A plug-in may raise anything, and must not take down who reads signals.
            _log.exception("%s, %s: a defect of the source", self.source_id, zone)
            fault = SourceUnavailable(f"{self.source_id} failed ({type(error).__name__})")
        else:
            return self._recorded(zone, series, refused, now_s)
        return self._failed(zone, fault, refused, now_s)

    def _failed(self, zone: str, fault: AicschedError, refused: dict[str, int], now_s: int) -> _Poll:
        self._note(zone, now_s, error=fault.message, refused=refused)
        self._count("stored", refused)
        _log.warning("%s, %s: %s; the last known values answer", self.source_id, zone, fault.message)
        return _Poll(now_s, fault=fault)

    def _ask(self, zone: str, window: SlotGrid | None, now_s: int) -> tuple[CarbonSeries, dict[str, int]]:
        due = self._due(zone, now_s) if window is None else None
        try:
            series = self.source.read(zone, window or due)
        except SlotError:
            if due is None:
                raise
            series = self.source.read(zone)  # it no longer gives what was missed
        return believed(series, zone=zone, kind=self._stored_kind(zone), now_s=now_s)

    def _due(self, zone: str, now_s: int) -> SlotGrid | None:
        """Return what is to be asked for after an outage; None for the source's own default."""
        if zone not in self._ends:
            held = self._held(zone)
            end_s = None if held is None else newest_end_s(held)
            if held is None or end_s is None:
                return None
            self._ends[zone] = (end_s, held.slots.step_s)
        end_s, step_s = self._ends[zone]
        if now_s - end_s <= _DEFAULT_REACH_S:
            return None
        first_s = max(end_s - _RECHECK_S, end_s + (now_s - self._history_s - end_s) // step_s * step_s)
        return SlotGrid(first_s, step_s, (now_s - first_s) // step_s)

    def _stored_kind(self, zone: str) -> IntensityKind | None:
        if zone not in self._kinds:
            try:
                found = {
                    key.kind
                    for key in self.store.series_keys()
                    if (key.source, key.grid_zone) == (self.source_id, zone)
                }
            except (StoreError, OutputError):
                return None
            if len(found) == 1:
                self._kinds[zone] = found.pop()
        return self._kinds.get(zone)

    # ------------------------------------------------------------ remembering
    def _recorded(self, zone: str, series: CarbonSeries, refused: dict[str, int], now_s: int) -> _Poll:
        told = {Refused.FUTURE: Flag.FUTURE, Refused.IMPOSSIBLE: Flag.QUARANTINED}
        taken_out = [flag.of(refused[reason]) for reason, flag in told.items() if reason in refused]
        notes = (*series.flags, *taken_out)
        own = replace(series, source=self.source_id)
        self._kinds[zone] = series.kind
        skew = skew_s(series.flags)
        self.health.set("aicsched_signal_clock_skew_seconds", skew, self.source_id)
        try:
            self._record(own, now_s)
        except SignalInvalid as error:
            return self._failed(zone, error, {Refused.INVALID.value: 1}, now_s)
        except (StoreError, OutputError) as error:
            _log.error("%s, %s: not recorded: %s", self.source_id, zone, error.message)
            self._count("unrecorded", refused)
            self._loose[zone] = (own, now_s)
            return _Poll(now_s, notes=notes)
        self._loose.pop(zone, None)
        self._note(zone, now_s, skew_s=skew, refused=refused)
        self._count("fresh", refused)
        return _Poll(now_s, notes=notes)

    def _record(self, series: CarbonSeries, now_s: int) -> None:
        try:
            self.store.record(series, now_s, follow=True)
        except StoreCorrupt:
            self.store.set_aside()
            self.store.record(series, now_s, follow=True)

    def _note(
        self, zone: str, at_s: int, *, error: str = "", skew_s: float | None = None, refused: dict[str, int]
    ) -> None:
        try:
            self.store.note_try(self.source_id, zone, at_s, error=error, skew_s=skew_s, refused=refused)
        except (StoreError, OutputError) as fault:
            _log.warning("%s, %s: the try was not noted: %s", self.source_id, zone, fault.message)

    def _count(self, outcome: str, refused: dict[str, int]) -> None:
        self.health.add("aicsched_signal_reads_total", 1, self.source_id, outcome)
        for reason, count in refused.items():
            self.health.add("aicsched_signal_refused_values_total", count, self.source_id, reason)

    # ------------------------------------------------------------ answering
    def _held(self, zone: str, step_s: int | None = None) -> CarbonSeries | None:
        """Return what the store holds of a zone, None where that is nothing or can't be read."""
        for left in reversed(range(_TRIES)):
            try:
                return self.store.read(self.source_id, zone, kind=self._stored_kind(zone), step_s=step_s)
            except (UnknownZone, InputError):
                return None
            except StoreCorrupt as error:
                _log.error("%s", error.message)
                if left and not self.store.read_only:
                    self.store.set_aside()
            except (StoreError, OutputError) as error:
                _log.error("%s", error.message)
                return None
        return None

    def _answer(self, zone: str, window: SlotGrid | None, poll: _Poll, now_s: int) -> CarbonSeries:
        held = self._held(zone, None if window is None else window.step_s)
        flags = poll.notes
        if zone in self._loose:
            held = joined(held, *self._loose[zone])
            flags = (*flags, Flag.UNRECORDED.value)
        if held is None or not len(held.slots):
            if poll.fault is not None:
                raise poll.fault
            msg = f"{self.source_id}: nothing is known of '{zone}'"
            raise SourceUnavailable(msg, hint="try again later", value=zone)
        series = _until(held, now_s, self._history_s) if window is None else laid_on(held, window)
        end_s = newest_end_s(series)
        if poll.fault is not None:
            if np.isnan(series.values_g_per_kwh).all():
                raise poll.fault
            age_s = 0 if end_s is None else max(0, now_s - end_s)
            flags = (*flags, Flag.STORED.of(age_s))
            series = stale_from(series, now_s - _RECHECK_S)
        if end_s is not None and window is None:
            self._ends[zone] = (end_s, series.slots.step_s)
            self.health.set("aicsched_signal_age_seconds", max(0, now_s - end_s), self.source_id)
        return issued(replace(series, flags=flags), now_s)


def _until(held: CarbonSeries, now_s: int, history_s: int) -> CarbonSeries:
    """Return the slots that are over, of the last so many seconds."""
    known = measured(held)
    slots = known.slots
    # Of what ended long ago the last slot is left, to be told as old.
    first_s = max(slots.start_s, min(now_s - history_s, slots.end_s - slots.step_s))
    return known.window(slots.between(first_s, now_s))

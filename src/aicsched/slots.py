"""The time grid: equal slots in UTC, named by their start, half-open.

Slot i covers ``[start_s + i * step_s, start_s + (i + 1) * step_s)``. Everything
is in seconds since 1970-01-01T00:00Z, so that no daylight-saving change can make
a day of 23 or 25 slots; local time exists in reports only. Leap seconds follow
Unix time. A time without an offset is an error, since guessing one shifts a
carbon curve by hours.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from aicsched.errors import SlotError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["HOUR_S", "SlotGrid", "format_time", "parse_time", "to_epoch_s"]

HOUR_S: Final = 3600
DAY_S: Final = 86_400


def parse_time(text: str | datetime) -> int:
    """Read an ISO 8601 time that states its offset.

    Parameters
    ----------
    text : str or datetime
        For example ``"2021-07-01T00:00Z"`` or ``"2021-07-01 02:00+02:00"``.

    Returns
    -------
    int
        Whole seconds since the epoch, UTC.

    Raises
    ------
    SlotError
        The text is no time, has no offset, or falls between seconds.

    Examples
    --------
    >>> parse_time("2021-07-01T00:00Z") == parse_time("2021-07-01 02:00+02:00")
    True
    """
    try:
        moment = text if isinstance(text, datetime) else datetime.fromisoformat(text.strip())
    except ValueError as error:
        msg = f"'{text}' is not an ISO 8601 time"
        raise SlotError(msg, hint="write for example 2021-07-01T00:00Z", value=text) from error
    return to_epoch_s(moment)


def to_epoch_s(moment: datetime) -> int:
    """Turn an aware datetime into whole seconds since the epoch.

    Parameters
    ----------
    moment : datetime
        With a UTC offset.

    Returns
    -------
    int
        Seconds since 1970-01-01T00:00Z.

    Raises
    ------
    SlotError
        The time is naive or falls between seconds.

    Examples
    --------
    >>> to_epoch_s(datetime(1970, 1, 2, tzinfo=UTC))
    86400
    """
    if moment.tzinfo is None:
        msg = f"'{moment.isoformat()}' has no time zone"
        raise SlotError(msg, hint="add an offset, for example Z for UTC or +02:00", value=moment)
    if moment.microsecond:
        msg = f"'{moment.isoformat()}' falls between seconds"
        raise SlotError(msg, hint="round it to a whole second", value=moment)
    return int(moment.timestamp())


def format_time(epoch_s: float) -> str:
    """Write a time as ISO 8601 in UTC.

    Parameters
    ----------
    epoch_s : float
        Seconds since the epoch.

    Returns
    -------
    str
        For example ``"2021-07-01T00:00Z"``; seconds appear only when not zero.

    Examples
    --------
    >>> format_time(86400)
    '1970-01-02T00:00Z'
    """
    moment = datetime.fromtimestamp(epoch_s, tz=UTC)
    return moment.strftime("%Y-%m-%dT%H:%MZ" if moment.second == 0 else "%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True)
class SlotGrid:
    """Equal, adjoining slots in UTC.

    Parameters
    ----------
    start_s : int
        Start of the first slot, seconds since the epoch.
    step_s : int
        Length of a slot [s], positive.
    count : int
        How many slots; 0 is an empty grid.

    Raises
    ------
    SlotError
        A step or count that makes no grid.

    Examples
    --------
    >>> day = SlotGrid.from_times("2021-10-31T00:00+02:00", "2021-11-01T00:00+01:00")
    >>> len(day)  # Berlin's clocks went back that night: 25 hours
    25
    >>> day.index_at(day.start_s + 3 * HOUR_S)
    3
    """

    start_s: int
    step_s: int = HOUR_S
    count: int = 0

    def __post_init__(self) -> None:
        if self.step_s <= 0:
            msg = f"a slot of {self.step_s} s is not positive"
            raise SlotError(msg, hint="use for example 3600", value=self.step_s)
        if self.count < 0:
            msg = f"a grid can't have {self.count} slots"
            raise SlotError(msg, hint="let the end lie after the start", value=self.count)

    @classmethod
    def from_times(cls, start: str | datetime, end: str | datetime, *, step_s: int = HOUR_S) -> SlotGrid:
        """Make the grid that covers ``[start, end)``.

        Parameters
        ----------
        start, end : str or datetime
            With an offset; `end` is not part of the grid.
        step_s : int
            Length of a slot [s].

        Returns
        -------
        SlotGrid
            The grid.

        Raises
        ------
        SlotError
            `end` lies before `start`, or not a whole number of slots after it.
        """
        first, last = parse_time(start), parse_time(end)
        if (last - first) % step_s:
            msg = f"{format_time(first)} to {format_time(last)} is no whole number of {step_s} s slots"
            raise SlotError(msg, hint="move the end to a slot boundary", value=last)
        return cls(first, step_s, (last - first) // step_s)

    def __len__(self) -> int:
        return self.count

    @property
    def end_s(self) -> int:
        """End of the last slot (exclusive), seconds since the epoch."""
        return self.start_s + self.step_s * self.count

    @property
    def step_h(self) -> float:
        """Length of a slot [h]."""
        return self.step_s / HOUR_S

    def starts_s(self) -> NDArray[np.int64]:
        """Return the start of each slot.

        Returns
        -------
        ndarray of int64, shape (count,)
            Seconds since the epoch.
        """
        import numpy as np  # noqa: PLC0415 - the top level stays free of numpy

        return self.start_s + self.step_s * np.arange(self.count, dtype=np.int64)

    def index_at(self, epoch_s: int) -> int:
        """Return which slot holds a time.

        Parameters
        ----------
        epoch_s : int
            Seconds since the epoch.

        Returns
        -------
        int
            The slot's index in ``[0, count)``.

        Raises
        ------
        SlotError
            The time lies outside the grid.
        """
        index = (epoch_s - self.start_s) // self.step_s
        if not 0 <= index < self.count:
            where = f"{format_time(self.start_s)} to {format_time(self.end_s)}"
            msg = f"{format_time(epoch_s)} lies outside {where}"
            raise SlotError(msg, hint="ask for a time inside the grid", value=epoch_s)
        return index

    def contains(self, other: SlotGrid) -> bool:
        """Tell whether another grid's slots are all slots of this one.

        Parameters
        ----------
        other : SlotGrid
            The grid looked for.

        Returns
        -------
        bool
            True when steps agree, labels fall together and nothing sticks out.
        """
        aligned = other.step_s == self.step_s and (other.start_s - self.start_s) % self.step_s == 0
        return aligned and self.start_s <= other.start_s and other.end_s <= self.end_s

    def between(self, start_s: int, end_s: int) -> SlotGrid:
        """Return the part of the grid whose slots lie wholly inside a window.

        Parameters
        ----------
        start_s, end_s : int
            Seconds since the epoch, half-open.

        Returns
        -------
        SlotGrid
            Possibly empty.
        """
        first = max(0, -((self.start_s - start_s) // self.step_s))
        last = min(self.count, (end_s - self.start_s) // self.step_s)
        return SlotGrid(self.start_s + first * self.step_s, self.step_s, max(0, last - first))

    def after(self, count: int) -> SlotGrid:
        """Return the grid of the next `count` slots behind this one.

        Parameters
        ----------
        count : int
            How many slots.

        Returns
        -------
        SlotGrid
            It starts where this one ends.
        """
        return SlotGrid(self.end_s, self.step_s, count)

    def offset_of(self, other: SlotGrid) -> int:
        """Return at which index of this grid another one starts.

        Parameters
        ----------
        other : SlotGrid
            A grid contained in this one.

        Returns
        -------
        int
            So that ``values[offset : offset + other.count]`` are its values.

        Raises
        ------
        SlotError
            The other grid is not contained in this one.
        """
        if not self.contains(other):
            here = f"{format_time(self.start_s)} to {format_time(self.end_s)} by {self.step_s} s"
            there = f"{format_time(other.start_s)} to {format_time(other.end_s)} by {other.step_s} s"
            msg = f"the slots {there} are not all in {here}"
            raise SlotError(msg, hint="ask for a window inside it, with the same step", value=other)
        return (other.start_s - self.start_s) // self.step_s

"""Local times of files to UTC, where the user says which clock they are of.

Twice a year a clock jumps. The hour that it skips has no times, so that a value
there means another clock than the one that was said: refused. The hour that it
repeats is told apart by the order of the rows; where it stands only once, nobody
can tell which of the two it was, and both stay unknown.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import numpy as np

from aicsched.errors import ConfigError, SlotError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["local_seconds"]

_TWICE: Final = 2


def _clock(time_zone: str) -> ZoneInfo:
    try:
        return ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        msg = f"there is no time zone '{time_zone}'"
        raise ConfigError(
            msg, hint=did_you_mean(time_zone, available_timezones()), value=time_zone
        ) from error


def _moments(values: Sequence[Any] | NDArray[Any], where: str) -> list[datetime]:
    made: list[datetime] = []
    for row, value in enumerate(values, start=2):
        try:
            moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value).strip())
        except ValueError as error:
            msg = f"{where} row {row}: '{value}' is not an ISO 8601 time"
            raise SlotError(msg, hint="write for example 2021-07-01T00:00", value=value) from error
        if moment.tzinfo is not None or isinstance(value, np.datetime64):
            msg = f"{where} row {row}: '{value}' already says its offset"
            raise SlotError(msg, hint="leave the time zone out", value=value)
        if moment.microsecond:
            msg = f"{where} row {row}: '{value}' falls between seconds"
            raise SlotError(msg, hint="round it to a whole second", value=value)
        made.append(moment)
    return made


def local_seconds(
    values: Sequence[Any] | NDArray[Any],
    *,
    time_zone: str,
    groups: NDArray[Any],
    empty: NDArray[np.bool_],
    where: str,
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Turn a column of local times into seconds since the epoch.

    Parameters
    ----------
    values : sequence
        ISO 8601 text or datetimes, without offsets.
    time_zone : str
        Name of the clock, e.g. ``"Europe/Berlin"``.
    groups : ndarray, shape (rows,)
        What each row is of: the grid zone.
    empty : ndarray of bool, shape (rows,)
        True where a row has no value.
    where : str
        File and column, for messages.

    Returns
    -------
    ndarray of int64, shape (rows,)
        Seconds since the epoch.
    ndarray of bool, shape (rows,)
        True where a row can't be used: an empty one in the hour that the clock
        skips, or one in the hour that it repeats which stands only once.

    Raises
    ------
    ConfigError
        There is no such time zone; the nearest names are given.
    SlotError
        A time carries an offset, is no time, doesn't exist on that clock, or
        stands more than twice in the hour that the clock repeats.

    Examples
    --------
    >>> made, unclear = local_seconds(
    ...     ["2021-10-31T02:00", "2021-10-31T02:00"], time_zone="Europe/Berlin",
    ...     groups=np.zeros(2), empty=np.zeros(2, dtype=bool), where="rows")
    >>> int(made[1] - made[0]), bool(unclear.any())
    (3600, False)
    """
    clock = _clock(time_zone)
    moments = _moments(values, where)
    made = np.empty(len(moments), dtype=np.int64)
    unclear = np.zeros(len(moments), dtype=np.bool_)
    twice: dict[tuple[Any, datetime], list[int]] = {}
    for row, moment in enumerate(moments):
        early, late = moment.replace(tzinfo=clock), moment.replace(tzinfo=clock, fold=1)
        made[row] = int(early.astimezone(UTC).timestamp())
        if early.utcoffset() == late.utcoffset():
            continue
        if late.astimezone(UTC) < early.astimezone(UTC):
            unclear[row] = _skipped(moment, time_zone, f"{where} row {row + 2}", empty=bool(empty[row]))
        else:
            twice.setdefault((groups[row], moment), []).append(row)
    descending = len(moments) > 1 and moments[-1] < moments[0]
    for (_, moment), rows in twice.items():
        if len(rows) > _TWICE:
            msg = f"{where}: {moment.isoformat()} stands {len(rows)} times, but {time_zone} has it twice"
            raise SlotError(msg, hint="give times with offsets", value=moment)
        if len(rows) < _TWICE:
            unclear[rows[0]] = True
            continue
        second = rows[0] if descending else rows[1]
        made[second] = int(moment.replace(tzinfo=clock, fold=1).astimezone(UTC).timestamp())
    return made, unclear


def _skipped(moment: datetime, time_zone: str, where: str, *, empty: bool) -> bool:
    """Let an empty row in the hour that the clock skips go, and refuse a value there."""
    if not empty:
        msg = f"{where}: {moment.isoformat()} doesn't exist in {time_zone}, whose clock skips that hour"
        hint = "check the time zone; a clock that never changes is for example Etc/GMT-1 for UTC+1"
        raise SlotError(msg, hint=hint, value=moment)
    return True

"""From points, as an API gives them, to a carbon series on a slot grid: one path for all live sources.

A source decodes its bodies into `Points` (in g/kWh, with a quality and, where the API
tells it, a time of reading each), joins those of several requests and has them slotted.
What this does with values that can't be true is what files get: see `docs/data-contract.md`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.domain.carbon import CarbonSeries, IntensityKind, Quality
from aicsched.domain.quarantine import impossible, refuse_wrong_units
from aicsched.domain.readings import Readings
from aicsched.errors import SignalGap, SignalInvalid, SlotError
from aicsched.signals.clock import SKEW_LIMIT_S
from aicsched.slots import SlotGrid, format_time

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

__all__ = ["Points", "chunks", "grid_of", "in_full", "joined", "slotted", "whole_seconds"]

# A slot counts as known where at least this share of it is, as in files.
_KNOWN_SHARE: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Points:
    """Values as an API gives them, in any order.

    Parameters
    ----------
    start_s : ndarray of int64, shape (n,)
        Where each begins, seconds since the epoch.
    values_g_per_kwh : ndarray, shape (n,)
        Intensity [g/kWh], NaN where the API has none.
    quality : ndarray of int8, shape (n,)
        A `Quality` each.
    read_s : ndarray of int64, shape (n,)
        Since when each is known: what the API says, or else the time of the answer.
    lasts_s : int
        How long each lasts [s].
    """

    start_s: NDArray[np.int64]
    values_g_per_kwh: NDArray[np.float64]
    quality: NDArray[np.int8]
    read_s: NDArray[np.int64]
    lasts_s: int

    @classmethod
    def none(cls, lasts_s: int) -> Points:
        """Make no points.

        Parameters
        ----------
        lasts_s : int
            How long each would last [s].

        Returns
        -------
        Points
            Without any.
        """
        ints = np.empty(0, dtype=np.int64)
        quality = np.empty(0, dtype=np.int8)
        return cls(start_s=ints, values_g_per_kwh=np.empty(0), quality=quality, read_s=ints, lasts_s=lasts_s)

    def __len__(self) -> int:
        return len(self.start_s)

    def and_after(self, later: Points) -> Points:
        """Go on with points that begin after these, such as a forecast after what is known.

        Parameters
        ----------
        later : Points
            Lasting as long; what begins before the end of these is left out.

        Returns
        -------
        Points
            Both.

        Raises
        ------
        SignalInvalid
            They last differently.

        Examples
        --------
        >>> past, ahead = (Points(start_s=np.array(hours) * 3600, values_g_per_kwh=np.ones(2),
        ...                       quality=np.zeros(2, np.int8), read_s=np.zeros(2, np.int64),
        ...                       lasts_s=3600) for hours in ([0, 1], [1, 2]))
        >>> (past.and_after(ahead).start_s // 3600).tolist()
        [0, 1, 2]
        """
        known = self.start_s[np.isfinite(self.values_g_per_kwh)]
        if not len(known):
            return later
        if later.lasts_s != self.lasts_s:
            msg = f"values of {self.lasts_s} s are followed by values of {later.lasts_s} s"
            raise SignalInvalid(msg, hint="ask for one of them only", value=later.lasts_s)
        return joined([self, later.where(later.start_s > known.max())])

    def where(self, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> Points:
        """Choose some, or put all in order.

        Parameters
        ----------
        chosen : ndarray of bool, shape (n,), or of int
            Which, or in which order.

        Returns
        -------
        Points
            Those.
        """
        return Points(
            start_s=self.start_s[chosen],
            values_g_per_kwh=self.values_g_per_kwh[chosen],
            quality=self.quality[chosen],
            read_s=self.read_s[chosen],
            lasts_s=self.lasts_s,
        )


def joined(parts: list[Points]) -> Points:
    """Join the points of several answers.

    Parameters
    ----------
    parts : list of Points
        At least one, all lasting as long.

    Returns
    -------
    Points
        All of them.

    Raises
    ------
    SignalInvalid
        They last differently.
    """
    lasting = {part.lasts_s for part in parts}
    if len(lasting) > 1:
        msg = f"the steps of values change on the way: {', '.join(f'{each} s' for each in sorted(lasting))}"
        raise SignalInvalid(msg, hint="ask for windows with equal steps", value=sorted(lasting))
    return Points(
        start_s=np.concatenate([part.start_s for part in parts]),
        values_g_per_kwh=np.concatenate([part.values_g_per_kwh for part in parts]),
        quality=np.concatenate([part.quality for part in parts]),
        read_s=np.concatenate([part.read_s for part in parts]),
        lasts_s=parts[0].lasts_s,
    )


def whole_seconds(times: Sequence[datetime], source: str) -> NDArray[np.int64]:
    """Turn the times of an API into seconds.

    Parameters
    ----------
    times : sequence of datetime
        Starts of points, with offsets.
    source : str
        Who sent them, for messages.

    Returns
    -------
    ndarray of int64, shape (n,)
        Seconds since the epoch.

    Raises
    ------
    SignalInvalid
        One falls between two seconds.

    Examples
    --------
    >>> whole_seconds([datetime(1970, 1, 1, 1, tzinfo=UTC)], "a test").tolist()
    [3600]
    """
    if any(each.microsecond for each in times):
        msg = f"{source} sent a value that begins between two seconds"
        raise SignalInvalid(msg, hint="its API has changed, or another granularity was sent")
    return np.array([int(each.timestamp()) for each in times], dtype=np.int64)


def in_full(epoch_s: int) -> str:
    """Write a time as APIs ask for it: in UTC, with its seconds.

    Parameters
    ----------
    epoch_s : int
        Seconds since the epoch.

    Returns
    -------
    str
        ISO 8601.

    Examples
    --------
    >>> in_full(0)
    '1970-01-01T00:00:00Z'
    """
    return datetime.fromtimestamp(epoch_s, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def chunks(start_s: int, end_s: int, most_s: int) -> Iterator[tuple[int, int]]:
    """Cut a time into parts that an API allows.

    Parameters
    ----------
    start_s, end_s : int
        Seconds since the epoch, half-open.
    most_s : int
        The longest part [s].

    Yields
    ------
    tuple of int
        Start and end of a part, half-open.

    Examples
    --------
    >>> list(chunks(0, 25, 10))
    [(0, 10), (10, 20), (20, 25)]
    """
    for first_s in range(start_s, end_s, most_s):
        yield first_s, min(first_s + most_s, end_s)


def grid_of(points: Points, step_s: int, *, near_s: float, within_s: int) -> SlotGrid:
    """Return the grid of the points around a time, for a reader who asks for no window.

    Parameters
    ----------
    points : Points
        Some with values.
    step_s : int
        Of the grid [s].
    near_s : float
        Usually now, seconds since the epoch.
    within_s : int
        Points farther from it are none of those that were asked for [s].

    Returns
    -------
    SlotGrid
        From the first to the last slot that holds a value; empty where there is none.
    """
    near = np.isfinite(points.values_g_per_kwh) & (np.abs(points.start_s - near_s) <= within_s)
    found = points.start_s[near]
    if not len(found):
        return SlotGrid(int(near_s) // step_s * step_s, step_s, 0)
    first, last = int(found.min()) // step_s, int(found.max()) // step_s
    return SlotGrid(first * step_s, step_s, last - first + 1)


def slotted(
    points: Points,
    window: SlotGrid,
    *,
    zone: str,
    kind: IntensityKind,
    source: str,
    now_s: float,
    flags: tuple[str, ...] = (),
) -> CarbonSeries:
    """Average points over slots, take out what can't be true, and keep when each was read.

    Parameters
    ----------
    points : Points
        In any order; what begins outside the window is left out.
    window : SlotGrid
        Its slots hold a whole number of points.
    zone : str
        The grid zone.
    kind : IntensityKind
        Average or marginal.
    source : str
        Id of the source.
    now_s : float
        When the answer came, seconds since the epoch: an actual value that begins later can't be
        true, and one that hasn't ended yet is an estimate.
    flags : tuple of str
        What else a reader must know.

    Returns
    -------
    CarbonSeries
        On the window. A slot is known where half of it is; of several qualities the worst
        counts, and a slot known in part is an estimate at best. Of a slot that was read more
        than once the newest reading counts, and all are in `readings`.

    Raises
    ------
    SlotError
        The window's slots are shorter than the points, or lie across them.
    SignalInvalid
        More than a few values can't be true or are in another unit, or one reading gives two
        values for one time.
    SignalGap
        There is no value at all in the window.
    """
    where = f"{source} zone {zone}"
    _refuse_misfit(points, window, where)
    inside = (points.start_s >= window.start_s) & (points.start_s < window.end_s)
    points = _checked(points.where(inside), where, now_s)
    each = _newest(points, where)
    values, quality = _means(each, window)
    if len(window) and np.isnan(values).all() and not (quality == Quality.QUARANTINED).any():
        msg = f"{where} has no value from {format_time(window.start_s)} to {format_time(window.end_s)}"
        raise SignalGap(msg, hint="ask for another window, or another source", value=len(window))
    return CarbonSeries(
        grid_zone=zone,
        kind=kind,
        slots=window,
        values_g_per_kwh=values,
        source=source,
        quality=quality,
        flags=tuple(dict.fromkeys(flags)),
        readings=_readings(points, each, window, values, quality),
    )


def _refuse_misfit(points: Points, window: SlotGrid, where: str) -> None:
    if window.step_s % points.lasts_s or window.start_s % points.lasts_s:
        grid = f"slots of {window.step_s} s from {format_time(window.start_s)}"
        msg = f"{where} has values of {points.lasts_s} s, which don't fit {grid}"
        raise SlotError(msg, hint=f"ask for a multiple of {points.lasts_s} s, on the hour", value=window)
    off = points.start_s % points.lasts_s != 0
    if off.any():
        when = format_time(int(points.start_s[np.argmax(off)]))
        msg = f"{where}: a value at {when} is off its grid of {points.lasts_s} s"
        raise SignalInvalid(msg, hint="its API has changed, or another granularity was sent", value=when)


def _checked(points: Points, where: str, now_s: float) -> Points:
    """Take out what can't be true; downgrade what can't be final yet, as far as clocks may differ."""
    values, quality = points.values_g_per_kwh, points.quality
    refuse_wrong_units(points.start_s, values, where)
    said_known = (quality == Quality.ACTUAL) | (quality == Quality.ESTIMATED)
    ahead = (points.start_s > now_s + SKEW_LIMIT_S) & said_known
    unfinished = (points.start_s + points.lasts_s > now_s + SKEW_LIMIT_S) & said_known
    bad = impossible(values) | (ahead & (quality == Quality.ACTUAL))
    quality = np.where(unfinished, Quality.ESTIMATED, quality)
    # An estimate of what hasn't begun is a forecast by another name.
    quality = np.where(ahead, Quality.FORECAST, quality)
    return Points(
        start_s=points.start_s,
        values_g_per_kwh=np.where(bad, np.nan, values),
        quality=np.where(bad, Quality.QUARANTINED, quality).astype(np.int8),
        read_s=np.minimum(points.read_s, int(now_s)),
        lasts_s=points.lasts_s,
    )


def _newest(points: Points, where: str) -> Points:
    """Keep one point of each time: that with a value which was read last."""
    finite = np.isfinite(points.values_g_per_kwh)
    order = np.lexsort((points.read_s, finite, points.start_s))
    points = points.where(order)
    same = np.diff(points.start_s) == 0
    with np.errstate(invalid="ignore"):
        clash = same & (np.diff(points.read_s) == 0) & (np.abs(np.diff(points.values_g_per_kwh)) > 0)
    if clash.any():
        when = format_time(int(points.start_s[np.argmax(clash)]))
        msg = f"{where} has two different values for {when}, read at the same time"
        raise SignalInvalid(msg, hint="try again later", value=when)
    return points.where(np.append(~same, np.True_) if len(points) else np.zeros(0, dtype=np.bool_))


def _means(each: Points, window: SlotGrid) -> tuple[NDArray[np.float64], NDArray[np.int8]]:
    index = (each.start_s - window.start_s) // window.step_s
    finite = np.isfinite(each.values_g_per_kwh)
    count = np.bincount(index[finite], minlength=len(window))
    total = np.bincount(index[finite], each.values_g_per_kwh[finite], minlength=len(window))
    parts = window.step_s // each.lasts_s
    known = count >= _KNOWN_SHARE * parts
    values = np.where(known, total / np.maximum(count, 1), np.nan)
    quality = np.full(len(window), Quality.ACTUAL, dtype=np.int8)
    np.maximum.at(quality, index[finite], each.quality[finite])
    quality = np.where(count < parts, np.maximum(quality, Quality.ESTIMATED), quality)
    lost = np.bincount(index, each.quality == Quality.QUARANTINED, minlength=len(window)) > 0
    unknown = np.where(lost, Quality.QUARANTINED, Quality.MISSING)
    return values, np.where(known, quality, unknown).astype(np.int8)


def _readings(
    points: Points,
    each: Points,
    window: SlotGrid,
    values: NDArray[np.float64],
    quality: NDArray[np.int8],
) -> Readings:
    if points.lasts_s == window.step_s:
        kept = points.where(np.isfinite(points.values_g_per_kwh))
        start_s, read_s = kept.start_s, kept.read_s
        values, quality = kept.values_g_per_kwh, kept.quality
    else:
        # A mean is known since the last of its parts.
        read = np.full(len(window), np.iinfo(np.int64).min)
        finite = np.isfinite(each.values_g_per_kwh)
        index = (each.start_s - window.start_s) // window.step_s
        np.maximum.at(read, index[finite], each.read_s[finite])
        known = np.isfinite(values)
        start_s, read_s = window.starts_s()[known], read[known]
        values, quality = values[known], quality[known]
    order = np.lexsort((start_s, read_s))
    return Readings(
        start_s=start_s[order],
        read_s=read_s[order],
        values_g_per_kwh=values[order],
        quality=quality[order],
    )

"""What a source of prices is, and how its prices come onto slots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from aicsched.domain.carbon import Quality
from aicsched.domain.price import PriceSeries, PriceUnit, Purchase
from aicsched.errors import InputError, SignalGap, SignalInvalid, did_you_mean
from aicsched.slots import format_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from aicsched.domain.fleet import Fleet
    from aicsched.domain.price import PriceItem
    from aicsched.slots import SlotGrid

__all__ = ["PriceSource", "Spans", "fleet_prices", "laid", "refuse_unknown_item"]

# A slot has a price where at least this share of it has one, as with carbon.
_KNOWN_SHARE: Final = 0.5


class PriceSource(Protocol):
    """What knows the prices of some things."""

    @property
    def source_id(self) -> str:
        """Who says so."""
        ...

    def items(self) -> tuple[PriceItem, ...]:
        """List what it knows the price of."""
        ...

    def read(self, item: PriceItem, window: SlotGrid) -> PriceSeries:
        """Return the price of one thing in a window; what it doesn't know raises `InputError`."""
        ...


def refuse_unknown_item(item: PriceItem, known: Iterable[PriceItem], source: str) -> None:
    """Refuse what a source doesn't know the price of, naming the nearest that it does.

    Parameters
    ----------
    item : PriceItem
        Asked for.
    known : iterable of PriceItem
        Of the source.
    source : str
        Its id.

    Raises
    ------
    InputError
        The item is not among the known ones.
    """
    items = list(known)
    if item not in items:
        msg = f"{source} knows no price of {item}"
        raise InputError(msg, hint=did_you_mean(str(item), map(str, items)), value=str(item))


def fleet_prices(
    source: PriceSource,
    fleet: Fleet,
    window: SlotGrid,
    *,
    purchase: Purchase = Purchase.ON_DEMAND,
    rates: Mapping[str, float] | None = None,
) -> tuple[PriceSeries, ...]:
    """Read the prices that a fleet's regions meet.

    Parameters
    ----------
    source : PriceSource
        Who knows them.
    fleet : Fleet
        Threads are looked up by its regions' names, electricity by their grid zones.
    window : SlotGrid
        The slots.
    purchase : Purchase
        How threads are bought.
    rates : mapping of str to float, optional
        By currency, what one unit is worth in US dollars.

    Returns
    -------
    tuple of PriceSeries
        Those that the source has, converted where a rate is given.

    Raises
    ------
    SignalGap
        One of them has no price in the window.
    """
    regions = {region.name for region in fleet.regions}
    zones = {region.grid_zone for region in fleet.regions}
    made: list[PriceSeries] = []
    for item in source.items():
        thread = item.unit == PriceUnit.VCPU_H and item.place in regions and item.purchase == purchase
        if not (thread and not item.instance_type) and not (
            item.unit == PriceUnit.KWH and item.place in zones
        ):
            continue
        found = source.read(item, window)
        rate = (rates or {}).get(found.currency)
        made.append(found if rate is None else found.converted(rate, "USD", rate_source="given"))
    return tuple(made)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Spans:
    """Prices, and from when to when each holds.

    Parameters
    ----------
    start_s, end_s : ndarray of int64, shape (n,)
        Seconds since the epoch, half-open; spans don't overlap.
    prices : ndarray, shape (n,)
        NaN where there is none.
    quality : ndarray of int8, shape (n,)
        A `Quality` each.
    """

    start_s: NDArray[np.int64]
    end_s: NDArray[np.int64]
    prices: NDArray[np.float64]
    quality: NDArray[np.int8]

    @classmethod
    def from_changes(
        cls, start_s: NDArray[np.int64], prices: NDArray[np.float64], *, until_s: int, longest_s: int = 0
    ) -> Spans:
        """Make spans of prices that hold until the next one.

        Parameters
        ----------
        start_s : ndarray of int64, shape (n,)
            Since when each holds, in any order.
        prices : ndarray, shape (n,)
            The prices.
        until_s : int
            Until when the last one is known to hold.
        longest_s : int
            No price holds longer [s]; 0 for no limit.

        Returns
        -------
        Spans
            In order, all actual.

        Raises
        ------
        SignalInvalid
            One time has two prices.

        Examples
        --------
        >>> made = Spans.from_changes(np.array([3600, 0]), np.array([0.2, 0.1]), until_s=5400)
        >>> made.end_s.tolist(), made.prices.tolist()
        ([3600, 5400], [0.1, 0.2])
        """
        order = np.argsort(start_s, kind="stable")
        start, price = start_s[order], prices[order]
        same = np.diff(start) == 0
        with np.errstate(invalid="ignore"):
            clash = same & (np.diff(price) != 0)
        if clash.any():
            when = format_time(int(start[1:][clash][0]))
            msg = f"there are two prices for {when}"
            raise SignalInvalid(msg, hint="keep one price a time", value=when)
        kept = np.append(True, ~same) if len(start) else np.zeros(0, dtype=np.bool_)
        start, price = start[kept], price[kept]
        end = np.append(start[1:], max(until_s, int(start[-1]))) if len(start) else start
        if longest_s:
            end = np.minimum(end, start + longest_s)
        quality = np.where(np.isnan(price), Quality.MISSING, Quality.ACTUAL).astype(np.int8)
        return cls(start_s=start, end_s=end, prices=price, quality=quality)


def laid(  # noqa: PLR0913 - one keyword per fact
    spans: Spans,
    window: SlotGrid,
    *,
    item: PriceItem,
    currency: str,
    source: str,
    synthetic: bool = False,
    flags: tuple[str, ...] = (),
    now_s: float | None = None,
) -> PriceSeries:
    """Average prices over slots, weighted by how long each holds.

    Parameters
    ----------
    spans : Spans
        In order.
    window : SlotGrid
        The slots, of any length.
    item : PriceItem
        What has the price.
    currency : str
        ISO 4217 code.
    source : str
        Id of the source.
    synthetic : bool
        True when the prices were made up.
    flags : tuple of str
        What a reader must know.
    now_s : float, optional
        Prices of slots that begin later are foreseen to stay, seconds since the epoch; by default
        none is.

    Returns
    -------
    PriceSeries
        A slot has a price where half of it has one, and an estimate where not all of it has.

    Raises
    ------
    SignalGap
        No slot of the window has a price.

    Examples
    --------
    >>> from aicsched.domain.price import PriceItem, PriceUnit
    >>> from aicsched.slots import SlotGrid
    >>> quarters = Spans.from_changes(np.arange(8) * 900, np.arange(8.0) / 10, until_s=7200)
    >>> power = laid(quarters, SlotGrid(0, 3600, 2), item=PriceItem(place="DE", unit=PriceUnit.KWH),
    ...              currency="EUR", source="test")
    >>> power.prices.round(3).tolist()
    [0.15, 0.55]
    """
    have = np.isfinite(spans.prices) & (spans.end_s > spans.start_s)
    start, end, price, told = spans.start_s[have], spans.end_s[have], spans.prices[have], spans.quality[have]
    edges = window.start_s + window.step_s * np.arange(len(window) + 1, dtype=np.int64)
    cuts = np.unique(np.concatenate([start, end, edges]))
    cuts = cuts[(cuts >= edges[0]) & (cuts <= edges[-1])]
    length, first = np.diff(cuts), cuts[:-1]
    span = np.searchsorted(start, first, side="right") - 1
    held = span >= 0
    held[held] = first[held] < end[span[held]]
    slot, span, length = ((first - window.start_s) // window.step_s)[held], span[held], length[held]
    covered = np.bincount(slot, length, minlength=len(window))
    cost = np.bincount(slot, length * price[span], minlength=len(window))
    known = covered >= _KNOWN_SHARE * window.step_s
    if len(window) and not known.any():
        when = f"{format_time(window.start_s)} to {format_time(window.end_s)}"
        msg = f"{source} has no price of {item} from {when}"
        raise SignalGap(msg, hint="ask for another window, or another source", value=str(item))
    quality = np.full(len(window), Quality.ACTUAL, dtype=np.int8)
    np.maximum.at(quality, slot, told[span])
    quality = np.where(covered < window.step_s, np.maximum(quality, Quality.ESTIMATED), quality)
    if now_s is not None:
        quality = np.where(window.starts_s() > now_s, np.maximum(quality, Quality.FORECAST), quality)
    return PriceSeries(
        item=item,
        currency=currency,
        slots=window,
        prices=np.where(known, cost / np.maximum(covered, 1), np.nan),
        source=source,
        quality=np.where(known, quality, Quality.MISSING).astype(np.int8),
        synthetic=synthetic,
        flags=flags,
    )

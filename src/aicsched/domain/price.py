"""What power and machines cost: prices of one thing in one currency, over time.

A price is of a kilowatt-hour in a grid zone, or of an hour of an instance or of one
of its threads in a region. Power may cost less than nothing; machines may not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.domain.carbon import Quality, frozen_array
from aicsched.errors import InputError, SignalGap, SignalInvalid, UnitError
from aicsched.slots import format_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from aicsched.slots import SlotGrid

__all__ = ["PriceItem", "PriceSeries", "PriceUnit", "Purchase", "price_table"]

_CODE_LENGTH: Final = 3
# Currencies of a dollar's order: in these a price beyond a limit is in another unit. The highest market
# cap is Australia's, some 20 AUD/kWh; the dearest instances cost some hundreds an hour.
_NEAR_A_DOLLAR: Final = frozenset({"USD", "EUR", "GBP", "CHF", "AUD", "CAD", "NZD", "SGD"})


class PriceUnit(StrEnum):
    """What a price is paid for."""

    KWH = "kwh"
    """Electricity, in a grid zone."""
    INSTANCE_H = "instance_h"
    """An instance, for an hour, in a region."""
    VCPU_H = "vcpu_h"
    """One hardware thread, for an hour, in a region."""


_LIMITS: Final = {PriceUnit.KWH: 25.0, PriceUnit.INSTANCE_H: 2000.0, PriceUnit.VCPU_H: 50.0}


class Purchase(StrEnum):
    """How capacity is bought."""

    ON_DEMAND = "on-demand"
    SPOT = "spot"
    RESERVED = "reserved"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class PriceItem:
    """What has a price.

    Parameters
    ----------
    place : str
        The grid zone of electricity, the region of an instance or a thread.
    unit : PriceUnit
        What is paid for.
    instance_type : str
        For example ``"m6a.xlarge"``; "" for electricity, and for threads of no one type.
    purchase : Purchase, optional
        How it is bought; None for electricity alone.

    Raises
    ------
    InputError
        Electricity with an instance type or a purchase, or an instance without.

    Examples
    --------
    >>> str(PriceItem(place="DE", unit=PriceUnit.KWH))
    'DE electricity'
    >>> str(PriceItem(place="eu-central-1", unit=PriceUnit.INSTANCE_H, instance_type="m6a.xlarge",
    ...               purchase=Purchase.SPOT))
    'eu-central-1 m6a.xlarge spot'
    """

    place: str
    unit: PriceUnit
    instance_type: str = ""
    purchase: Purchase | None = None

    def __post_init__(self) -> None:
        power = self.unit == PriceUnit.KWH
        bought = self.purchase is not None
        typed = bool(self.instance_type)
        fits = not (typed or bought) if power else bought and (typed or self.unit == PriceUnit.VCPU_H)
        if not (self.place and fits):
            msg = f"a price per {self.unit.value} of '{self.place}' says too little or too much"
            hint = "electricity has a zone alone; an instance has a region, a type and a purchase"
            raise InputError(msg, hint=hint, value=(self.place, self.instance_type, self.purchase))

    def __str__(self) -> str:
        what = "electricity" if self.unit == PriceUnit.KWH else self.instance_type or "vcpu"
        how = "" if self.purchase is None else f" {self.purchase.value}"
        return f"{self.place} {what}{how}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PriceSeries:
    """The price of one thing on a slot grid.

    Parameters
    ----------
    item : PriceItem
        What has the price, and per what.
    currency : str
        ISO 4217 code, e.g. ``"USD"``.
    slots : SlotGrid
        The time grid.
    prices : ndarray, shape (len(slots),)
        Mean price in each slot [currency per unit]; NaN where missing.
    source : str
        Id of the source.
    quality : ndarray of int8, shape (len(slots),), optional
        A `Quality` per slot; by default actual, and missing where NaN.
    synthetic : bool
        True when the prices were made up: every output says so.
    flags : tuple of str
        What was put in order when it was read, and rates of exchange that were used.

    Raises
    ------
    UnitError
        The currency is no code of three capitals.
    SignalInvalid
        Lengths differ; a price is infinite, an instance's is negative, or so high
        that it must be in another unit.

    Notes
    -----
    Money is never added across currencies: `in_currency` refuses another one than the
    caller's, and `converted` is the one way between two, at a rate that somebody names.

    Examples
    --------
    >>> from aicsched.slots import SlotGrid
    >>> power = PriceSeries(item=PriceItem(place="DE", unit=PriceUnit.KWH), currency="EUR", source="test",
    ...                     slots=SlotGrid(0, 3600, 2), prices=[0.08, -0.01])
    >>> power.unit_name
    'EUR/kWh'
    >>> power.converted(1.1, "USD", rate_source="a treasury's plan").in_currency("USD").round(4).tolist()
    [0.088, -0.011]
    """

    item: PriceItem
    currency: str
    slots: SlotGrid
    prices: NDArray[np.float64]
    source: str
    quality: NDArray[np.int8] | None = None
    synthetic: bool = False
    flags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not (len(self.currency) == _CODE_LENGTH and self.currency.isascii() and self.currency.isupper()):
            msg = f"{self.item}: '{self.currency}' is no currency"
            raise UnitError(msg, hint="write its ISO 4217 code, e.g. USD or EUR", value=self.currency)
        prices = frozen_array(self.prices)
        if prices.shape != (len(self.slots),):
            msg = f"{self.item}: {prices.size} prices for {len(self.slots)} slots"
            raise SignalInvalid(msg, hint="give one price a slot", value=prices.shape)
        self._check_range(prices)
        quality = self.quality
        if quality is None:
            quality = np.where(np.isnan(prices), Quality.MISSING, Quality.ACTUAL)
        quality = frozen_array(quality, np.int8)
        if quality.shape != prices.shape:
            msg = f"{self.item}: {quality.size} qualities for {prices.size} prices"
            raise SignalInvalid(msg, hint="give one a slot", value=quality.shape)
        object.__setattr__(self, "prices", prices)
        object.__setattr__(self, "quality", quality)

    def _check_range(self, prices: NDArray[np.float64]) -> None:
        limit = _LIMITS[self.item.unit] if self.currency in _NEAR_A_DOLLAR else np.inf
        low = -limit if self.item.unit == PriceUnit.KWH else 0.0
        bad = (prices < low) | (prices > limit) | np.isinf(prices)
        if bad.any():
            first = int(np.argmax(bad))
            when = format_time(self.slots.start_s + first * self.slots.step_s)
            msg = f"{self.item}: {prices[first]:g} {self.unit_name} at {when} can't be true"
            hint = "check the unit: markets quote per MWh, and instances never cost less than nothing"
            raise SignalInvalid(msg, hint=hint, value=float(prices[first]))

    @property
    def unit_name(self) -> str:
        """Currency and unit, as people write them."""
        per = {PriceUnit.KWH: "kWh", PriceUnit.INSTANCE_H: "instance-h", PriceUnit.VCPU_H: "vCPU-h"}
        return f"{self.currency}/{per[self.item.unit]}"

    @property
    def missing(self) -> int:
        """How many slots have no price."""
        return int(np.isnan(self.prices).sum())

    def window(self, part: SlotGrid) -> PriceSeries:
        """Return the prices on a part of the grid.

        Parameters
        ----------
        part : SlotGrid
            Contained in ``self.slots``.

        Returns
        -------
        PriceSeries
            With the same source.

        Raises
        ------
        SlotError
            The part is not contained in the grid.
        """
        offset = self.slots.offset_of(part)
        cut = slice(offset, offset + len(part))
        return replace(self, slots=part, prices=self.prices[cut], quality=np.asarray(self.quality)[cut])

    def in_currency(self, currency: str) -> NDArray[np.float64]:
        """Return the prices, or refuse where they are in another currency.

        Parameters
        ----------
        currency : str
            ISO 4217 code of what they are to be added to.

        Returns
        -------
        ndarray, shape (len(slots),)
            Prices [currency per unit].

        Raises
        ------
        UnitError
            They are in another one.
        """
        if currency != self.currency:
            msg = f"{self.item} is priced in {self.currency}, not in {currency}"
            raise UnitError(msg, hint="convert it at a rate you name (`converted`)", value=self.currency)
        return self.prices

    def converted(self, rate: float, currency: str, *, rate_source: str) -> PriceSeries:
        """Return the prices in another currency.

        Parameters
        ----------
        rate : float
            What one unit of this currency is worth in the other, > 0.
        currency : str
            The other's ISO 4217 code.
        rate_source : str
            Who says so; kept among the flags.

        Returns
        -------
        PriceSeries
            With a flag that tells rate and source.

        Raises
        ------
        UnitError
            The rate is not a positive number.
        """
        if not 0 < rate < float("inf"):
            msg = f"{self.currency} to {currency} at {rate:g} is no rate of exchange"
            raise UnitError(msg, hint="give a positive number", value=rate)
        flag = f"exchange:{self.currency}{currency}={rate:g} ({rate_source})"
        return replace(self, currency=currency, prices=self.prices * rate, flags=(*self.flags, flag))

    def per_vcpu(self, vcpus: float) -> PriceSeries:
        """Return an instance's price as one of its threads.

        Parameters
        ----------
        vcpus : float
            Hardware threads of the instance type, > 0.

        Returns
        -------
        PriceSeries
            Per thread-hour; that of electricity is refused.

        Raises
        ------
        UnitError
            It is no price of an instance, or there are no threads.
        """
        if self.item.unit != PriceUnit.INSTANCE_H or not 0 < vcpus < float("inf"):
            msg = f"{self.unit_name} over {vcpus:g} threads is no price of a thread"
            raise UnitError(msg, hint="give the price of an instance and its threads", value=vcpus)
        item = replace(self.item, unit=PriceUnit.VCPU_H)
        return replace(self, item=item, prices=self.prices / vcpus)


def price_table(
    series: Sequence[PriceSeries], slots: SlotGrid, *, unit: PriceUnit, currency: str = "USD"
) -> NDArray[np.float64]:
    """Lay prices side by side, in one unit and one currency, without a gap.

    Parameters
    ----------
    series : sequence of PriceSeries
        One a region, in the order of the rows.
    slots : SlotGrid
        The columns; contained in each one's grid.
    unit : PriceUnit
        What all must be prices of.
    currency : str
        What all must be in.

    Returns
    -------
    ndarray, shape (len(series), len(slots))
        Prices [currency per unit], as `aicsched.place.objective.money_term` takes them.

    Raises
    ------
    UnitError
        Another unit or currency.
    SignalGap
        A slot without a price: no number rather than a wrong one.

    Examples
    --------
    >>> from aicsched.slots import SlotGrid
    >>> day = SlotGrid(0, 3600, 3)
    >>> power = PriceSeries(item=PriceItem(place="DE", unit=PriceUnit.KWH), currency="USD", source="test",
    ...                     slots=day, prices=[0.1, 0.2, 0.3])
    >>> price_table([power], SlotGrid(3600, 3600, 2), unit=PriceUnit.KWH).tolist()
    [[0.2, 0.3]]
    """
    table = np.empty((len(series), len(slots)))
    for row, one in enumerate(series):
        if one.item.unit != unit:
            msg = f"{one.item} is priced per {one.item.unit.value}, not per {unit.value}"
            raise UnitError(msg, hint="give prices of one unit", value=one.item.unit.value)
        here = one.window(slots)
        if here.missing:
            first = int(np.argmax(np.isnan(here.prices)))
            when = format_time(slots.start_s + first * slots.step_s)
            msg = f"{one.item}: {here.missing} of {len(slots)} slots have no price, the first at {when}"
            raise SignalGap(msg, hint="choose a window in which all prices are known", value=here.missing)
        table[row] = here.in_currency(currency)
    return frozen_array(table)

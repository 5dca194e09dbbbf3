"""Retail prices of Azure's virtual machines, from the Azure Retail Prices API.

Prices of Linux machines by size and region, on demand and spot, since the day that each
holds; the API is open and tells neither history nor future. Microsoft prices in US
dollars; other currencies are for reference.

Definitions: https://learn.microsoft.com/rest/api/cost-management/retail-prices/azure-retail-prices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urlsplit

import msgspec
import numpy as np

from aicsched.domain.price import PriceItem, PriceUnit, Purchase
from aicsched.errors import ConfigError, SignalGap, SignalInvalid, SlotError
from aicsched.signals.clock import SystemClock
from aicsched.signals.decoding import decode_json
from aicsched.signals.price.base import Spans, laid, refuse_unknown_item
from aicsched.signals.transport import Transport
from aicsched.slots import parse_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aicsched.domain.price import PriceSeries
    from aicsched.signals.clock import Clock
    from aicsched.slots import SlotGrid

__all__ = ["AZURE_PRICES_URL", "AzurePrices"]

AZURE_PRICES_URL: Final = "https://prices.azure.com/api/retail/prices"
_VERSION: Final = "2023-01-01-preview"
# One size in one region has some ten meters; more pages than this, and the filter was not heeded.
_MOST_PAGES: Final = 5
_HOUR: Final = "1 hour"
_CHANGED: Final = "try again later; if it stays so, its API has changed"
_EVER_S: Final = 2**40


class _Meter(msgspec.Struct, rename="camel"):
    currency_code: str
    retail_price: float
    arm_region_name: str
    arm_sku_name: str
    product_name: str
    sku_name: str
    unit_of_measure: str
    type: str
    effective_start_date: str


class _Page(msgspec.Struct):
    items: list[_Meter] = msgspec.field(name="Items")
    next_page: str | None = msgspec.field(name="NextPageLink", default=None)


class AzurePrices:
    """A source of Azure's retail prices.

    Parameters
    ----------
    regions : sequence of str
        Such as ``"westeurope"``.
    instance_types : sequence of str
        Such as ``"Standard_D4as_v5"``.
    currency : str
        ISO 4217 code.
    url : str
        Where the API is.
    transport : Transport, optional
        By default one to this source.
    clock : Clock, optional
        By default the machine's.

    Raises
    ------
    ConfigError
        A name that can't be one of Azure's.

    Examples
    --------
    >>> for item in AzurePrices(["westeurope"], ["Standard_D4as_v5"]).items():
    ...     print(item)
    westeurope Standard_D4as_v5 on-demand
    westeurope Standard_D4as_v5 spot
    """

    def __init__(
        self,
        regions: Sequence[str],
        instance_types: Sequence[str],
        *,
        currency: str = "USD",
        url: str = AZURE_PRICES_URL,
        transport: Transport | None = None,
        clock: Clock | None = None,
    ) -> None:
        for name in (*regions, *instance_types):
            # They go into the quotes of a filter.
            if not (name.isascii() and name.replace("_", "").replace("-", "").isalnum()):
                msg = f"{self.source_id}: '{name}' is no region or size of Azure's"
                raise ConfigError(msg, hint="write for example westeurope and Standard_D4as_v5", value=name)
        self._items = tuple(
            PriceItem(place=region, unit=PriceUnit.INSTANCE_H, instance_type=kind, purchase=how)
            for region in regions
            for kind in instance_types
            for how in (Purchase.ON_DEMAND, Purchase.SPOT)
        )
        self._currency = currency
        self._url = url.rstrip("/")
        self._clock = clock or SystemClock()
        self._transport = transport or Transport(self.source_id, clock=self._clock)

    @property
    def source_id(self) -> str:
        """Who says so."""
        return "azure-retail-prices"

    def items(self) -> tuple[PriceItem, ...]:
        """List what it was asked to know the price of.

        Returns
        -------
        tuple of PriceItem
            Each size in each region, on demand and spot.
        """
        return self._items

    def read(self, item: PriceItem, window: SlotGrid) -> PriceSeries:
        """Return the price of a size.

        Parameters
        ----------
        item : PriceItem
            One of `items`.
        window : SlotGrid
            The slots.

        Returns
        -------
        PriceSeries
            NaN before the day since when the price holds; slots that begin later than now are
            forecasts, since nobody promises that it stays.

        Raises
        ------
        InputError
            Another thing.
        SignalGap
            The API has no such price, or none in the window.
        SourceUnavailable
            It can't be reached.
        SignalInvalid
            What came is not what is documented, or not what was asked for.
        """
        refuse_unknown_item(item, self._items, self.source_id)
        found, flags = self._meters(item)
        meters = [meter for meter in found if _is(meter, item)]
        if any(meter.currency_code != self._currency for meter in meters):
            msg = f"{self.source_id}: field `currencyCode` is not {self._currency}, which was asked for"
            raise SignalInvalid(msg, hint=_CHANGED, value="currencyCode")
        prices = sorted({(_since_s(meter), meter.retail_price) for meter in meters})
        if not prices:
            msg = f"{self.source_id} has no price of {item}"
            raise SignalGap(msg, hint="not every size is sold in every region", value=str(item))
        since = np.array([since_s for since_s, _ in prices])
        spans = Spans.from_changes(since, np.array([price for _, price in prices]), until_s=_EVER_S)
        return laid(
            spans,
            window,
            item=item,
            currency=self._currency,
            source=f"{self.source_id}#{item}",
            now_s=self._clock.now_s(),
            flags=tuple(dict.fromkeys(flags)),
        )

    def _meters(self, item: PriceItem) -> tuple[list[_Meter], tuple[str, ...]]:
        wanted = (
            f"serviceName eq 'Virtual Machines' and armRegionName eq '{item.place}' "
            f"and armSkuName eq '{item.instance_type}' and priceType eq 'Consumption'"
        )
        params = {"api-version": _VERSION, "currencyCode": f"'{self._currency}'", "$filter": wanted}
        found: list[_Meter] = []
        flags: tuple[str, ...] = ()
        for _ in range(_MOST_PAGES):
            answer = self._transport.get(self._url, params=params)
            page = decode_json(answer.body, _Page, source=self.source_id)
            found += page.items
            flags += answer.flags()
            if not page.next_page:
                return found, flags
            # Only the query of the next address counts: the answer can't send us elsewhere.
            params = dict(parse_qsl(urlsplit(page.next_page).query))
        msg = f"{self.source_id} has more than {_MOST_PAGES} pages for {item}"
        raise SignalInvalid(msg, hint=_CHANGED, value=_MOST_PAGES)


def _is(meter: _Meter, item: PriceItem) -> bool:
    """Tell whether a meter is the hour of a Linux machine bought in this way."""
    words = f" {meter.sku_name.lower()} "
    spot = " spot " in words
    return (
        meter.arm_region_name == item.place
        and meter.arm_sku_name == item.instance_type
        and meter.type == "Consumption"
        and meter.unit_of_measure.lower() == _HOUR
        and "windows" not in meter.product_name.lower()
        and "cloud services" not in meter.product_name.lower()
        and "low priority" not in words
        and spot == (item.purchase == Purchase.SPOT)
        and meter.retail_price > 0  # what isn't sold any more stands at 0
    )


def _since_s(meter: _Meter) -> int:
    try:
        return parse_time(meter.effective_start_date)
    except SlotError:
        msg = "azure-retail-prices: field `effectiveStartDate` is no time with an offset"
        raise SignalInvalid(msg, hint=_CHANGED, value="effectiveStartDate") from None

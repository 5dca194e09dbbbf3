"""Day-ahead prices of electricity in Europe, from Energy-Charts of Fraunhofer ISE.

What the day-ahead auction of a bidding zone came to, from 2015 to tomorrow; hours, and since
October 2025 quarters. The API is open: no key. These zones are licensed CC BY 4.0
(Bundesnetzagentur, SMARD.de); others it has for private use only, so they are left out.

Definitions: https://api.energy-charts.info/.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from aicsched.domain.price import PriceItem, PriceUnit
from aicsched.errors import SignalInvalid
from aicsched.signals.clock import SystemClock
from aicsched.signals.decoding import decode_json
from aicsched.signals.price.base import Spans, laid, refuse_unknown_item
from aicsched.signals.transport import Transport
from aicsched.slots import HOUR_S

if TYPE_CHECKING:
    from aicsched.domain.price import PriceSeries
    from aicsched.signals.clock import Clock
    from aicsched.slots import SlotGrid

__all__ = ["ENERGY_CHARTS_URL", "EnergyChartsPrices", "decode_energy_charts"]

ENERGY_CHARTS_URL: Final = "https://api.energy-charts.info"
BIDDING_ZONES: Final = MappingProxyType(
    {
        "AT": "AT",
        "BE": "BE",
        "CH": "CH",
        "CZ": "CZ",
        "DE": "DE-LU",
        "DK-DK1": "DK1",
        "DK-DK2": "DK2",
        "FR": "FR",
        "HU": "HU",
        "IT-NO": "IT-North",
        "NL": "NL",
        "NO-NO2": "NO2",
        "PL": "PL",
        "SE-SE4": "SE4",
        "SI": "SI",
    }
)
_UNIT: Final = "EUR/MWh"
_KWH_PER_MWH: Final = 1000.0
_CHANGED: Final = "try again later; if it stays so, its API has changed"


class _Document(msgspec.Struct):
    unix_seconds: list[int]
    price: list[float | None]
    unit: str


class EnergyChartsPrices:
    """A source of day-ahead prices.

    Parameters
    ----------
    url : str
        Where the API is.
    transport : Transport, optional
        By default one to this source.
    clock : Clock, optional
        By default the machine's.

    Examples
    --------
    >>> str(EnergyChartsPrices().items()[4])
    'DE electricity'
    """

    def __init__(
        self,
        *,
        url: str = ENERGY_CHARTS_URL,
        transport: Transport | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._url = url.rstrip("/")
        self._transport = transport or Transport("energy-charts", clock=clock or SystemClock())

    @property
    def source_id(self) -> str:
        """Who says so."""
        return "energy-charts:day-ahead"

    def items(self) -> tuple[PriceItem, ...]:
        """List what it knows the price of.

        Returns
        -------
        tuple of PriceItem
            Electricity of the zones whose licence is open.
        """
        return tuple(PriceItem(place=zone, unit=PriceUnit.KWH) for zone in BIDDING_ZONES)

    def read(self, item: PriceItem, window: SlotGrid) -> PriceSeries:
        """Return a zone's prices.

        Parameters
        ----------
        item : PriceItem
            One of `items`.
        window : SlotGrid
            The slots, to the end of tomorrow at the latest.

        Returns
        -------
        PriceSeries
            In euros per kilowatt-hour; NaN where no auction has been yet.

        Raises
        ------
        InputError
            Another thing.
        SignalGap
            The API has nothing in the window.
        SourceUnavailable
            It can't be reached.
        SignalInvalid
            What came is not what is documented.
        """
        refuse_unknown_item(item, self.items(), self.source_id)
        params = {
            "bzn": BIDDING_ZONES[item.place],
            "start": str(window.start_s),
            "end": str(window.end_s),
        }
        answer = self._transport.get(f"{self._url}/price", params=params)
        spans = decode_energy_charts(answer.body, source=self.source_id)
        source = f"{self.source_id}#{BIDDING_ZONES[item.place]}"
        return laid(spans, window, item=item, currency="EUR", source=source, flags=answer.flags())


def decode_energy_charts(body: bytes, *, source: str) -> Spans:
    """Decode prices of a bidding zone.

    Parameters
    ----------
    body : bytes
        As the API answers.
    source : str
        Who sent it, for messages.

    Returns
    -------
    Spans
        In euros per kilowatt-hour, each holding to the next time and an hour at most.

    Raises
    ------
    SignalInvalid
        It is not of the documented shape, or in another unit.

    Examples
    --------
    >>> body = b'{"unix_seconds": [0, 3600], "price": [85.0, -3.1], "unit": "EUR / MWh"}'
    >>> decode_energy_charts(body, source="test").prices.tolist()
    [0.085, -0.0031]
    """
    found = decode_json(body, _Document, source=source)
    if found.unit.replace(" ", "").lower() != _UNIT.lower():
        msg = f"{source}: field `unit` is not {_UNIT}"
        raise SignalInvalid(msg, hint=_CHANGED, value=found.unit[:40])
    if len(found.unix_seconds) != len(found.price):
        msg = f"{source} sent {len(found.price)} prices for {len(found.unix_seconds)} times"
        raise SignalInvalid(msg, hint=_CHANGED, value=len(found.price))
    times = np.array(found.unix_seconds, dtype=np.int64)
    prices = np.array(found.price, dtype=np.float64) / _KWH_PER_MWH
    if not len(times):
        return Spans.from_changes(times, prices, until_s=0)
    step_s = int(np.median(np.diff(np.sort(times)))) if len(times) > 1 else HOUR_S
    until_s = int(times.max()) + min(max(step_s, 0), HOUR_S)
    return Spans.from_changes(times, prices, until_s=until_s, longest_s=HOUR_S)

"""Made-up prices of the embedded sample: deterministic, offline, and labelled synthetic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.data import load_table
from aicsched.domain.carbon import IntensityKind
from aicsched.domain.price import PriceItem, PriceSeries, PriceUnit, Purchase
from aicsched.signals.carbon.sample import SampleCarbon
from aicsched.signals.price.base import refuse_unknown_item
from aicsched.slots import HOUR_S

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.slots import SlotGrid

__all__ = ["SamplePrices"]

# The plant that runs last sets the price: coal some 0.11 USD/kWh, gas 0.06, and where the sun or the
# wind would have to be turned down a little less than nothing.
_USD_PER_KWH: Final = (-0.01, 0.00015)
# Spot machines are dearest when most people work.
_SPOT_SWING: Final = 0.15
_DEAREST_H: Final = 14


class SamplePrices:
    """Prices without a network: of electricity in the sample's zones, of threads in its regions.

    Examples
    --------
    >>> from aicsched.slots import SlotGrid
    >>> from aicsched.signals.carbon.sample import SAMPLE_NOW_S
    >>> power = SamplePrices().read(PriceItem(place="syn-central", unit=PriceUnit.KWH),
    ...                             SlotGrid(SAMPLE_NOW_S, 3600, 24))
    >>> power.synthetic, power.unit_name, bool(0 < power.prices.mean() < 0.2)
    (True, 'USD/kWh', True)
    """

    def __init__(self) -> None:
        self._carbon = SampleCarbon(kind=IntensityKind.MARGINAL)
        self._rows = {row["region"]: row for row in load_table("sample_prices")}

    @property
    def source_id(self) -> str:
        """Who says so."""
        return "sample-prices:v1"

    def items(self) -> tuple[PriceItem, ...]:
        """List what has a price.

        Returns
        -------
        tuple of PriceItem
            Electricity of each zone; threads of each region, on demand and spot.
        """
        power = (PriceItem(place=zone, unit=PriceUnit.KWH) for zone in self._carbon.zones())
        bought = (Purchase.ON_DEMAND, Purchase.SPOT)
        threads = (
            PriceItem(place=region, unit=PriceUnit.VCPU_H, purchase=how)
            for region in self._rows
            for how in bought
        )
        return (*power, *threads)

    def read(self, item: PriceItem, window: SlotGrid) -> PriceSeries:
        """Return the price of one thing.

        Parameters
        ----------
        item : PriceItem
            One of `items`.
        window : SlotGrid
            The slots; of electricity hours of the sample.

        Returns
        -------
        PriceSeries
            In US dollars, synthetic.

        Raises
        ------
        InputError
            The sample has no such thing.
        SlotError
            The window is not in the sample.
        """
        refuse_unknown_item(item, self.items(), self.source_id)
        return PriceSeries(
            item=item,
            currency="USD",
            slots=window,
            prices=self._power(item, window) if item.unit == PriceUnit.KWH else self._threads(item, window),
            source=f"{self.source_id}#{item}",
            synthetic=True,
        )

    def _power(self, item: PriceItem, window: SlotGrid) -> NDArray[np.float64]:
        base, per_g = _USD_PER_KWH
        return base + per_g * self._carbon.read(item.place, window).values_g_per_kwh

    def _threads(self, item: PriceItem, window: SlotGrid) -> NDArray[np.float64]:
        row = self._rows[item.place]
        price = float(row["on_demand_usd_per_vcpu_h"])
        if item.purchase == Purchase.ON_DEMAND:
            return np.full(len(window), price)
        hour = (window.starts_s() + window.step_s / 2) / HOUR_S % 24.0
        swing = 1.0 + _SPOT_SWING * np.cos((hour - _DEAREST_H) / 24.0 * 2.0 * np.pi)
        return price * float(row["spot_share"]) * swing

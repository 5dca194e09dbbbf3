"""The prices a request meets: electricity of a grid zone, machines and threads of a region."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.domain.price import PriceItem, PriceSeries, PriceUnit
from aicsched.errors import InputError
from aicsched.score.intensity import grid_shares

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from aicsched.domain.fleet import Node, Region

__all__ = ["INSTANCE_TYPE_LABELS", "MetPrices", "met_prices"]

CURRENCY: Final = "USD"
INSTANCE_TYPE_LABELS: Final = ("node.kubernetes.io/instance-type", "instance_type")
"""Where a node's labels say what it was sold as; Kubernetes' own label first."""

Key = tuple[str, PriceUnit, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class MetPrices:
    """Mean prices over the hours of a request.

    Parameters
    ----------
    usd : mapping of (str, PriceUnit, str) to float
        By place, unit and instance type [USD per unit]; what isn't in it is unknown.
    inputs : tuple of str
        Ids of the sources.
    synthetic : bool
        True when a price was made up.
    """

    usd: Mapping[Key, float] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    synthetic: bool = False

    def usd_per_kwh(self, region: Region) -> float:
        """Return the price of electricity in a region, NaN where it isn't known.

        Parameters
        ----------
        region : Region
            Its grid zone is looked up.

        Returns
        -------
        float
            [USD/kWh].
        """
        return self.usd.get((region.grid_zone, PriceUnit.KWH, ""), np.nan)

    def usd_per_vcpu_h(self, region: str, node: Node | None = None) -> float:
        """Return the price of a thread-hour, NaN where it isn't known.

        Parameters
        ----------
        region : str
            Where.
        node : Node, optional
            Its instance type's price comes before that of any thread in the region.

        Returns
        -------
        float
            [USD per thread-hour].
        """
        kind = "" if node is None else next(
            (node.labels[name] for name in INSTANCE_TYPE_LABELS if node.labels.get(name)), ""
        )  # fmt: skip
        if node is not None and kind:
            whole = self.usd.get((region, PriceUnit.INSTANCE_H, kind))
            if whole is not None:
                return whole / node.vcpus
            if (region, PriceUnit.VCPU_H, kind) in self.usd:
                return self.usd[region, PriceUnit.VCPU_H, kind]
        return self.usd.get((region, PriceUnit.VCPU_H, ""), np.nan)


def met_prices(prices: Iterable[PriceSeries], *, start_s: float, duration_s: float) -> MetPrices:
    """Return the mean prices over a run.

    Parameters
    ----------
    prices : iterable of PriceSeries
        In dollars; at most one for each thing.
    start_s, duration_s : float
        Start of the run, seconds since the epoch, and its length [s].

    Returns
    -------
    MetPrices
        A price that doesn't cover the run without a gap is left out: it is unknown.

    Raises
    ------
    UnitError
        A price is in another currency: convert it at a rate you name.
    InputError
        One thing has two prices, e.g. on demand and spot.

    Examples
    --------
    >>> from aicsched.slots import SlotGrid
    >>> power = PriceSeries(item=PriceItem(place="DE", unit=PriceUnit.KWH), currency="USD", source="test",
    ...                     slots=SlotGrid(0, 3600, 2), prices=[0.1, 0.3])
    >>> met_prices([power], start_s=1800, duration_s=3600).usd["DE", PriceUnit.KWH, ""]
    0.2
    """
    found: dict[Key, float] = {}
    told: dict[Key, PriceItem] = {}
    inputs: dict[str, None] = {}
    synthetic = False
    for series in prices:
        item = series.item
        key = (item.place, item.unit, item.instance_type)
        if key in told:
            msg = f"two prices of one thing: '{told[key]}' and '{item}'"
            raise InputError(msg, hint="give the one at which it would be bought", value=str(item))
        told[key] = item
        values = series.in_currency(CURRENCY)
        if start_s < series.slots.start_s or start_s + duration_s > series.slots.end_s:
            continue
        shares = grid_shares(series.slots, start_s, duration_s)
        mean = float(shares[shares > 0] @ values[shares > 0])
        if np.isfinite(mean):
            found[key] = mean
            inputs[series.source] = None
            synthetic |= series.synthetic
    return MetPrices(usd=found, inputs=tuple(inputs), synthetic=synthetic)

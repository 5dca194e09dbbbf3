"""The prices a request meets: electricity of a grid zone, machines and threads of a region."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.domain.price import PriceItem, PriceSeries, PriceUnit
from aicsched.errors import AicschedWarning, InputError, did_you_mean
from aicsched.score.intensity import grid_shares

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from aicsched.domain.fleet import Fleet, Node, Region

__all__ = ["INSTANCE_TYPE_LABELS", "MetPrices", "check_prices", "met_prices"]

CURRENCY: Final = "USD"
INSTANCE_TYPE_LABELS: Final = ("node.kubernetes.io/instance-type", "instance_type")
"""Where a node's labels say what it was sold as; Kubernetes' own label first."""

_NEAR: Final = 0.75  # difflib's likeness from which a name is taken as mistyped

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
        kind = "" if node is None else _instance_type(node)
        if node is not None and kind:
            whole = self.usd.get((region, PriceUnit.INSTANCE_H, kind))
            if whole is not None:
                return whole / node.vcpus
            if (region, PriceUnit.VCPU_H, kind) in self.usd:
                return self.usd[region, PriceUnit.VCPU_H, kind]
        return self.usd.get((region, PriceUnit.VCPU_H, ""), np.nan)


def _instance_type(node: Node) -> str:
    return next((node.labels[name] for name in INSTANCE_TYPE_LABELS if node.labels.get(name)), "")


def check_prices(items: Iterable[PriceItem], fleet: Fleet) -> None:
    """Refuse prices of which none is of anything in a fleet, and warn of names that look mistyped.

    Parameters
    ----------
    items : iterable of PriceItem
        What has a price.
    fleet : Fleet
        Electricity is paid by its grid zones, machines and threads by its regions and
        the instance types in its nodes' labels.

    Raises
    ------
    InputError
        There are prices, and none is of anything in the fleet; the nearest names are given.

    Warns
    -----
    AicschedWarning
        A price is of nothing in the fleet, and its name is near one that has no price. Other prices
        beyond the fleet are fine: a list may be longer than a fleet.
    """
    given = {(item.place, item.unit, item.instance_type): item for item in items}
    known: set[Key] = {(region.grid_zone, PriceUnit.KWH, "") for region in fleet.regions}
    known |= {(region.name, PriceUnit.VCPU_H, "") for region in fleet.regions}
    for node in fleet.nodes:
        if kind := _instance_type(node):
            known |= {(node.region, PriceUnit.INSTANCE_H, kind), (node.region, PriceUnit.VCPU_H, kind)}
    foreign = [item for key, item in given.items() if key not in known]
    if given and len(foreign) == len(given):
        item = foreign[0]
        places = {place for place, unit, _ in known if unit == item.unit}
        kinds = {kind for place, unit, kind in known if (place, unit) == (item.place, item.unit)}
        names, word = (kinds - {""}, item.instance_type) if item.place in places else (places, item.place)
        msg = f"none of {len(given)} prices is of anything in the fleet, e.g. '{item}'"
        raise InputError(msg, hint=did_you_mean(word, names), value=str(item))
    unpriced = known - set(given)
    for item in foreign:
        near = _near(item, unpriced)
        if near:
            msg = f"the price of '{item}' is of nothing in the fleet; did you mean '{near}', which has none?"
            warnings.warn(msg, AicschedWarning, stacklevel=3)


def _near(item: PriceItem, unpriced: set[Key]) -> str:
    """Return the name without a price that another one was probably meant to be."""
    places = [place for place, unit, kind in unpriced if (unit, kind) == (item.unit, item.instance_type)]
    kinds = [kind for place, unit, kind in unpriced if (place, unit) == (item.place, item.unit) and kind]
    near = get_close_matches(item.place, sorted(places), n=1, cutoff=_NEAR)
    if item.instance_type:
        near += get_close_matches(item.instance_type, sorted(kinds), n=1, cutoff=_NEAR)
    return near[0] if near else ""


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

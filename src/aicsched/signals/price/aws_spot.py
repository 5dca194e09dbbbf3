"""Spot prices of Amazon EC2, from what ``aws ec2 describe-spot-price-history`` prints.

The API wants requests signed with an account's keys, which are better left to Amazon's
own tools: run them, keep their JSON, and read it here. A row tells since when a price
holds in an availability zone; it holds until the next row.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import msgspec
import numpy as np

from aicsched.domain.price import PriceItem, PriceSeries, PriceUnit, Purchase
from aicsched.errors import InputError, SignalInvalid, SlotError
from aicsched.signals.decoding import decode_json
from aicsched.signals.price.base import Spans, laid, refuse_unknown_item
from aicsched.slots import parse_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aicsched.slots import SlotGrid

__all__ = ["AwsSpotPrices"]

_LINUX: Final = frozenset({"Linux/UNIX", "Linux/UNIX (Amazon VPC)"})


class _Row(msgspec.Struct, rename="pascal"):
    availability_zone: str
    instance_type: str
    product_description: str
    spot_price: str
    timestamp: str


class _Document(msgspec.Struct):
    rows: list[_Row] = msgspec.field(name="SpotPriceHistory")


class AwsSpotPrices:
    """A source of spot prices over files of ``aws ec2 describe-spot-price-history --output json``.

    Parameters
    ----------
    paths : sequence of str or Path
        JSON; pages of one answer may be several files.
    region : {"cheapest", "mean"}
        A region has as many spot prices as zones: its own price is that of the cheapest, where
        a scheduler would go, or their mean. Zones are priced as well.

    Raises
    ------
    InputError
        A file can't be read.
    SignalInvalid
        It is not what the command prints, or a time has two prices.

    Notes
    -----
    Linux only. The newest price of all is taken to hold until the newest time in the
    files and no longer.
    """

    def __init__(
        self, paths: Sequence[str | Path], *, region: Literal["cheapest", "mean"] = "cheapest"
    ) -> None:
        rows = [row for path in paths for row in _read(Path(path))]
        if not rows:
            msg = f"{self.source_id}: the files hold no price of a Linux machine"
            raise InputError(
                msg, hint="ask for --product-descriptions Linux/UNIX", value=[str(path) for path in paths]
            )
        self._region = region
        self._until_s = max(since_s for _, _, since_s, _ in rows)
        changes: dict[PriceItem, list[tuple[int, float]]] = {}
        for zone, kind, since_s, price in rows:
            changes.setdefault(_item(zone, kind), []).append((since_s, price))
        self._spans = {
            item: Spans.from_changes(
                np.array([since_s for since_s, _ in found]),
                np.array([price for _, price in found]),
                until_s=self._until_s,
            )
            for item, found in changes.items()
        }
        self._zones: dict[PriceItem, list[PriceItem]] = {}
        for item in self._spans:
            self._zones.setdefault(_item(item.place.rstrip("abcdefgh"), item.instance_type), []).append(item)

    @property
    def source_id(self) -> str:
        """Who says so."""
        return "aws-spot"

    def items(self) -> tuple[PriceItem, ...]:
        """List what has a price.

        Returns
        -------
        tuple of PriceItem
            Each type in each region, then in each zone.
        """
        return (*self._zones, *self._spans)

    def read(self, item: PriceItem, window: SlotGrid) -> PriceSeries:
        """Return a spot price.

        Parameters
        ----------
        item : PriceItem
            One of `items`.
        window : SlotGrid
            The slots.

        Returns
        -------
        PriceSeries
            In US dollars; NaN before the first row and after the newest. Of a region, a slot has a
            price where each of its zones has one.

        Raises
        ------
        InputError
            Another thing.
        SignalGap
            There is no price in the window.
        """
        refuse_unknown_item(item, self.items(), self.source_id)
        zones = self._zones.get(item, [item])
        each = [
            laid(self._spans[zone], window, item=item, currency="USD", source=f"{self.source_id}#{item}")
            for zone in zones
        ]
        if len(each) == 1:
            return each[0]
        prices = np.stack([one.prices for one in each])
        quality = np.stack([np.asarray(one.quality) for one in each]).max(axis=0)
        return PriceSeries(
            item=item,
            currency="USD",
            slots=window,
            prices=prices.min(axis=0) if self._region == "cheapest" else prices.mean(axis=0),
            quality=quality,
            source=f"{self.source_id}#{item} ({self._region} of {len(each)} zones)",
        )


def _item(place: str, kind: str) -> PriceItem:
    return PriceItem(place=place, unit=PriceUnit.INSTANCE_H, instance_type=kind, purchase=Purchase.SPOT)


def _read(path: Path) -> list[tuple[str, str, int, float]]:
    """Return zone, type, time and price of each row of a Linux machine."""
    try:
        body = path.read_bytes()
    except OSError as error:
        msg = f"'{path}' can't be read ({error.strerror})"
        raise InputError(msg, hint="check the path", value=str(path)) from error
    made: list[tuple[str, str, int, float]] = []
    for row in decode_json(body, _Document, source=f"'{path.name}'").rows:
        if row.product_description not in _LINUX:
            continue
        try:
            price, since_s = float(row.spot_price), parse_time(row.timestamp)
        except (ValueError, SlotError) as error:
            msg = f"'{path.name}': a SpotPrice or Timestamp of {row.availability_zone} can't be understood"
            raise SignalInvalid(msg, hint="keep what the command prints", value=row.instance_type) from error
        made.append((row.availability_zone, row.instance_type, since_s, price))
    return made

"""Prices from CSV and parquet files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from aicsched.domain.carbon import Quality
from aicsched.domain.columns import epoch_seconds, numbers, read_columns, texts
from aicsched.domain.price import PriceItem, PriceUnit, Purchase
from aicsched.domain.regular import lay_on_grid
from aicsched.domain.schema import refuse_columns
from aicsched.domain.signal_schemas import PRICES
from aicsched.domain.tidy import row_qualities
from aicsched.errors import InputError, UnitError, did_you_mean
from aicsched.signals.price.base import Spans, laid, refuse_unknown_item

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from aicsched.domain.price import PriceSeries
    from aicsched.slots import SlotGrid

__all__ = ["FilePrices"]

_MWH: Final = "mwh"
_UNITS: Final = (*(unit.value for unit in PriceUnit), _MWH)
# As long as anybody plans with one price.
_EVER_S: Final = (-(2**40), 2**40)


@dataclass(frozen=True, slots=True)
class _Priced:
    currency: str
    spans: Spans
    source: str
    flags: tuple[str, ...]


class FilePrices:
    r"""A source of prices over files.

    Parameters
    ----------
    paths : sequence of str or Path
        CSV or parquet, as ``aicsched schema prices`` says. Rows of one thing either
        have times, and make a grid, or it is one row without a time, which holds always.

    Raises
    ------
    InputError
        A file is absent or not what its schema says, or one thing stands in two files.
    UnitError
        One thing is priced in two currencies.

    Notes
    -----
    Electricity may be quoted per ``mwh``. Hours on a grid of quarters keep their price,
    quarters on a grid of hours are averaged.

    Examples
    --------
    >>> import tempfile
    >>> from aicsched.slots import SlotGrid
    >>> file = Path(tempfile.mkdtemp()) / "prices.csv"
    >>> _ = file.write_text("time,place,unit,price,currency\n"
    ...                     "1970-01-01T00:00Z,DE,mwh,80,EUR\n1970-01-01T01:00Z,DE,mwh,-5,EUR\n")
    >>> power = FilePrices([file]).read(PriceItem(place="DE", unit=PriceUnit.KWH), SlotGrid(0, 3600, 2))
    >>> power.unit_name, power.prices.tolist()
    ('EUR/kWh', [0.08, -0.005])
    """

    def __init__(self, paths: Sequence[str | Path]) -> None:
        self._priced: dict[PriceItem, _Priced] = {}
        for path in map(Path, paths):
            for item, priced in _read(path):
                if item in self._priced:
                    msg = f"the price of {item} is in two files, '{path.name}' among them"
                    raise InputError(msg, hint="give each thing's price once", value=str(item))
                self._priced[item] = priced

    @property
    def source_id(self) -> str:
        """Who says so."""
        return f"files:{len(self._priced)} prices"

    def items(self) -> tuple[PriceItem, ...]:
        """List what the files have prices of.

        Returns
        -------
        tuple of PriceItem
            In the order of the files.
        """
        return tuple(self._priced)

    def read(self, item: PriceItem, window: SlotGrid) -> PriceSeries:
        """Return the price of one thing.

        Parameters
        ----------
        item : PriceItem
            One of `items`.
        window : SlotGrid
            The slots.

        Returns
        -------
        PriceSeries
            NaN where the file has none.

        Raises
        ------
        InputError
            The files don't have its price.
        SignalGap
            They have none in the window.
        """
        refuse_unknown_item(item, self._priced, self.source_id)
        found = self._priced[item]
        return laid(
            found.spans, window, item=item, currency=found.currency, source=found.source, flags=found.flags
        )


def _read(path: Path) -> list[tuple[PriceItem, _Priced]]:
    columns = read_columns(path)
    where = f"'{path.name}'"
    refuse_columns(PRICES, list(columns), where)
    prices = numbers(columns["price"], where=f"{where} column 'price'")
    items, per_mwh = _items(columns, where)
    prices = np.where(per_mwh, prices / 1000.0, prices)
    currencies = [text.upper() for text in texts(columns, "currency", where=where)]
    time_s, has_time = _times(columns, len(prices), where)
    quality = np.where(np.isnan(prices), Quality.MISSING, Quality.ACTUAL).astype(np.int8)
    if "quality" in columns:
        quality = row_qualities([cell or "actual" for cell in _cells(columns, "quality")], "quality", where)
    rows_of: dict[PriceItem, list[int]] = {}
    for row, item in enumerate(items):
        rows_of.setdefault(item, []).append(row)
    made: list[tuple[PriceItem, _Priced]] = []
    for item, rows in rows_of.items():
        used = sorted({currencies[row] for row in rows})
        if len(used) > 1:
            msg = f"{where} {item} is priced in {' and '.join(used)}"
            raise UnitError(msg, hint="give one currency a thing, and convert at a rate you name", value=used)
        here = np.array(rows)
        spans, flags = _spans(time_s[here], prices[here], quality[here], has_time[here], f"{where} {item}")
        made.append((item, _Priced(used[0], spans, f"file:{path.name}#{item}", flags)))
    return made


def _cells(columns: dict[str, Any], name: str) -> list[str]:
    """Return a column as text, empty where it is absent."""
    if name not in columns:
        return [""] * len(columns["price"])
    return ["" if value is None or value != value else str(value).strip() for value in columns[name]]  # noqa: PLR0124 - NaN


def _times(columns: dict[str, Any], rows: int, where: str) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return when each row's price begins to hold, and which rows say so."""
    if "time" not in columns:
        return np.zeros(rows, np.int64), np.zeros(rows, np.bool_)
    raw = columns["time"]
    if isinstance(raw, np.ndarray) and raw.dtype.kind == "M":
        has = ~np.isnat(raw)
        return epoch_seconds(np.where(has, raw, np.datetime64(0, "s")), where=where), has
    has = np.array([bool(cell) for cell in _cells(columns, "time")])
    # A stand-in keeps the numbers of the rows in messages.
    filled = [cell if told else "1970-01-01T00:00Z" for cell, told in zip(raw, has, strict=True)]
    return epoch_seconds(filled, where=where), has


def _spans(
    time_s: NDArray[np.int64],
    prices: NDArray[np.float64],
    quality: NDArray[np.int8],
    has_time: NDArray[np.bool_],
    where: str,
) -> tuple[Spans, tuple[str, ...]]:
    """Return how long each price holds: always without a time, else for a step of its grid."""
    if not has_time.any():
        if len(prices) > 1:
            msg = f"{where} has {len(prices)} rows without a time"
            raise InputError(msg, hint="give each a time, or keep one that holds always", value=len(prices))
        start, end = np.array([_EVER_S[0]]), np.array([_EVER_S[1]])
        return Spans(start_s=start, end_s=end, prices=prices, quality=quality), ()
    if not has_time.all():
        msg = f"{where} has rows with and without a time"
        raise InputError(msg, hint="give all of them a time, or none", value=int((~has_time).sum()))
    grid = lay_on_grid(time_s, prices, where, quality=quality)
    starts = grid.slots.starts_s()
    made = Spans(start_s=starts, end_s=starts + grid.slots.step_s, prices=grid.values, quality=grid.quality)
    return made, grid.notes


def _items(columns: dict[str, Any], where: str) -> tuple[list[PriceItem], NDArray[np.bool_]]:
    """Return what each row prices, and whether it is per megawatt-hour."""
    places, units = texts(columns, "place", where=where), texts(columns, "unit", where=where)
    kinds, bought = _cells(columns, "instance_type"), _cells(columns, "purchase")
    made: dict[tuple[str, str, str, str], PriceItem] = {}
    items: list[PriceItem] = []
    for row, key in enumerate(zip(places, units, kinds, bought, strict=True), start=2):
        if key not in made:
            made[key] = _item(*key, where=f"{where} row {row}")
        items.append(made[key])
    return items, np.array([unit.lower() == _MWH for unit in units])


def _item(place: str, unit: str, kind: str, bought: str, *, where: str) -> PriceItem:
    unit, bought = unit.lower(), bought.lower().replace("_", "-")
    for value, known in ((unit, _UNITS), (bought, ("", *(each.value for each in Purchase)))):
        if value not in known:
            msg = f"{where}: '{value}' is none of {', '.join(filter(None, known))}"
            raise InputError(msg, hint=did_you_mean(value, filter(None, known)), value=value)
    try:
        return PriceItem(
            place=place,
            unit=PriceUnit.KWH if unit == _MWH else PriceUnit(unit),
            instance_type=kind,
            purchase=Purchase(bought) if bought else None,
        )
    except InputError as error:
        msg = f"{where}: {error.message}"
        raise InputError(msg, hint=error.hint, value=error.value) from error

"""Prices on the command line: which files, how capacity is bought, at which rates of exchange."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aicsched.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from aicsched.domain.price import PriceSeries
    from aicsched.signals.price.base import PriceSource

__all__ = ["Bought", "Exchange", "Prices", "open_prices"]

Prices = Annotated[
    list[str] | None,
    typer.Option(
        "--prices",
        metavar="FILE…",
        help="Prices (see `aicsched schema prices`), or `sample` for made-up ones.",
    ),
]
Bought = Annotated[
    str, typer.Option("--purchase", help="How machines are bought: on-demand, spot or reserved.")
]
Exchange = Annotated[
    list[str] | None,
    typer.Option("--exchange", metavar="EUR=1.1…", help="Dollars for one unit of another currency."),
]
_SAMPLE = "sample"


def open_prices(
    files: list[str] | None, *, purchase: str, exchange: list[str] | None, start_s: int, hours: float
) -> list[PriceSeries]:
    """Read the prices over the hours of a request, in dollars.

    Parameters
    ----------
    files : list of str or None
        CSV or parquet; ``sample`` for the embedded ones.
    purchase : str
        Of the prices of machines those that are bought so.
    exchange : list of str or None
        ``CODE=RATE``: what one unit is worth in dollars.
    start_s : int
        Start of the request, seconds since the epoch.
    hours : float
        Its length [h].

    Returns
    -------
    list of PriceSeries
        What has no price in these hours is left out: it is unknown.

    Raises
    ------
    InputError
        A file can't be used, or a purchase or rate is none.
    UnitError
        A price is in a currency without a rate.
    """
    from aicsched.domain.price import Purchase
    from aicsched.errors import SignalGap
    from aicsched.slots import HOUR_S, SlotGrid

    if purchase not in set(Purchase):
        msg = f"'{purchase}' is no way to buy a machine"
        raise InputError(msg, hint=did_you_mean(purchase, set(Purchase)), value=purchase)
    rates = _rates(exchange)
    first = start_s // HOUR_S
    last = math.ceil((start_s + hours * HOUR_S) / HOUR_S)
    window = SlotGrid(first * HOUR_S, HOUR_S, last - first)
    made: list[PriceSeries] = []
    for source in _sources(files or []):
        for item in source.items():
            if item.purchase not in {None, Purchase(purchase)}:
                continue
            try:
                series = source.read(item, window)
            except SignalGap:
                continue
            rate = rates.get(series.currency)
            made.append(series if rate is None else series.converted(rate, "USD", rate_source="--exchange"))
    return made


def _sources(files: list[str]) -> list[PriceSource]:
    from aicsched.signals.price.file import FilePrices
    from aicsched.signals.price.sample import SamplePrices

    paths = [Path(name) for name in files if name != _SAMPLE]
    made: list[PriceSource] = []
    if paths:
        made.append(FilePrices(paths))
    if _SAMPLE in files:
        made.append(SamplePrices())
    return made


def _rates(exchange: list[str] | None) -> dict[str, float]:
    made: dict[str, float] = {}
    for text in exchange or []:
        code, _, rate = text.partition("=")
        try:
            made[code.strip().upper()] = float(rate)
        except ValueError as error:
            msg = f"'{text}' is no rate of exchange"
            raise InputError(msg, hint="write for example: --exchange EUR=1.1", value=text) from error
    return made

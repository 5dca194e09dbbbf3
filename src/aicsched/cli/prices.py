"""Prices on the command line: which files, how capacity is bought, at which rates of exchange."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aicsched.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from aicsched.domain.price import PriceSeries, Purchase
    from aicsched.signals.price.base import PriceSource

__all__ = ["Bought", "Exchange", "Prices", "exchange_rates", "open_prices", "price_sources", "purchase_of"]

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
    from aicsched.errors import SignalGap
    from aicsched.slots import HOUR_S, SlotGrid

    bought = purchase_of(purchase)
    rates = exchange_rates(exchange)
    first = start_s // HOUR_S
    last = math.ceil((start_s + hours * HOUR_S) / HOUR_S)
    window = SlotGrid(first * HOUR_S, HOUR_S, last - first)
    made: list[PriceSeries] = []
    items = [(source, item) for source in price_sources(files) for item in source.items()]
    known = sorted({str(item.purchase) for _, item in items if item.purchase is not None})
    if known and str(bought) not in known:
        msg = f"--prices tells none of {bought} machines"
        raise InputError(msg, hint=f"use --purchase {known[0]}", value=purchase)
    for source, item in items:
        if item.purchase in {None, bought}:
            try:
                series = source.read(item, window)
            except SignalGap:
                continue
            rate = rates.get(series.currency)
            made.append(series if rate is None else series.converted(rate, "USD", rate_source="--exchange"))
    return made


def purchase_of(text: str) -> Purchase:
    """Return how machines are bought.

    Parameters
    ----------
    text : str
        As it was typed.

    Returns
    -------
    Purchase
        One of them.

    Raises
    ------
    InputError
        There is none of that name; the nearest are given.
    """
    from aicsched.domain.price import Purchase

    if text not in set(Purchase):
        msg = f"'{text}' is no way to buy a machine"
        raise InputError(msg, hint=did_you_mean(text, set(Purchase)), value=text)
    return Purchase(text)


def price_sources(files: list[str] | None) -> tuple[PriceSource, ...]:
    """Open files of prices.

    Parameters
    ----------
    files : list of str or None
        CSV or parquet; ``sample`` for the embedded ones.

    Returns
    -------
    tuple of PriceSource
        All files as one, and the sample.

    Raises
    ------
    InputError
        A file can't be used.
    """
    from aicsched.signals.price.file import FilePrices
    from aicsched.signals.price.sample import SamplePrices

    paths = [Path(name) for name in files or () if name != _SAMPLE]
    made: tuple[PriceSource, ...] = (FilePrices(paths),) if paths else ()
    return (*made, SamplePrices()) if _SAMPLE in (files or ()) else made


def exchange_rates(exchange: list[str] | None) -> dict[str, float]:
    """Read rates of exchange.

    Parameters
    ----------
    exchange : list of str or None
        ``CODE=RATE``: what one unit is worth in dollars.

    Returns
    -------
    dict of str to float
        By currency.

    Raises
    ------
    InputError
        One is no rate.
    """
    made: dict[str, float] = {}
    for text in exchange or ():
        code, _, rate = text.partition("=")
        try:
            name = code.strip().upper()
            made[name] = float(rate)
            # Prices are told in dollars: a rate for them would change what is meant.
            if name == "USD" and made[name] != 1.0:
                raise ValueError  # noqa: TRY301 - told below as what else is no rate
        except ValueError as error:
            msg = f"'{text}' is no rate of exchange"
            raise InputError(msg, hint="write for example: --exchange EUR=1.1", value=text) from error
    return made

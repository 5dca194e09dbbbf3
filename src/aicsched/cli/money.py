"""Money on the command line: options, what they mean for a plan, and what it costs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aicsched.cli.output import console, print_table
from aicsched.errors import ConfigError, InputError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aicsched.place.money import MoneyWeight
    from aicsched.signals.price.base import PriceSource

__all__ = ["Bought", "Exchange", "GramsPerDollar", "Prices", "money_weight", "print_money"]

GramsPerDollar = Annotated[
    float | None,
    typer.Option("--g-per-usd", min=0, help="Weigh money: how many grams of CO2 a dollar counts as."),
]
Prices = Annotated[
    list[Path] | None,
    typer.Option("--prices", help="Prices of threads or power (see `aicsched schema prices`); repeatable."),
]
Bought = Annotated[
    str, typer.Option("--purchase", help="How threads are bought: on-demand, spot or reserved.")
]
Exchange = Annotated[
    list[str] | None,
    typer.Option("--exchange", help="What a currency is worth in dollars, e.g. EUR=1.08; repeatable."),
]


def money_weight(
    g_per_usd: float | None,
    prices: Sequence[Path] | None,
    purchase: str,
    exchange: Sequence[str] | None,
    *,
    sample: bool,
) -> MoneyWeight | None:
    """Return how a plan is to weigh money, None where it isn't.

    Parameters
    ----------
    g_per_usd : float or None
        How many grams a dollar counts as.
    prices : sequence of Path or None
        Files.
    purchase : str
        How threads are bought.
    exchange : sequence of str or None
        ``CUR=RATE``.
    sample : bool
        Whether the fleet is made up: it has made-up prices then.

    Returns
    -------
    MoneyWeight or None
        For `plan_work`.

    Raises
    ------
    ConfigError
        Prices without a rate, or a rate of exchange that is none.
    InputError
        A file can't be used, or there is no such purchase.
    """
    if g_per_usd is None:
        if prices or exchange:
            msg = "prices alone change no plan"
            raise ConfigError(msg, hint="say with --g-per-usd how many grams a dollar counts as")
        return None
    from aicsched.domain.price import Purchase
    from aicsched.place.money import MoneyWeight

    known = [each.value for each in Purchase]
    if purchase not in known:
        msg = f"--purchase {purchase}: nothing is bought so"
        raise InputError(msg, hint=did_you_mean(purchase, known), value=purchase)
    return MoneyWeight(
        g_per_usd=g_per_usd, prices=_source(prices, sample=sample), purchase=Purchase(purchase),
        rates=_rates(exchange or ()),
    )  # fmt: skip


def _source(prices: Sequence[Path] | None, *, sample: bool) -> PriceSource | None:
    if prices:
        from aicsched.signals.price.file import FilePrices

        return FilePrices(prices)
    if sample:
        from aicsched.signals.price.sample import SamplePrices

        return SamplePrices()
    return None


def _rates(texts: Sequence[str]) -> dict[str, float]:
    made: dict[str, float] = {}
    for text in texts:
        currency, _, rate = text.partition("=")
        try:
            made[currency.strip().upper()] = float(rate)
        except ValueError as error:
            msg = f"--exchange {text} is no rate"
            raise ConfigError(msg, hint="write for example EUR=1.08", value=text) from error
    return made


def print_money(facts: Mapping[str, Any]) -> None:
    """Print what a plan costs, beside the plan of least grams.

    Parameters
    ----------
    facts : mapping
        Of `MoneyFacts`.
    """
    from aicsched.units import format_mass

    least = facts["least_g_plan"]
    emits_g = facts["weighed_g"] - facts["g_per_usd"] * facts["usd"]
    rows = [
        (
            "this plan",
            format_mass(emits_g),
            f"{facts['usd']:.2f}",
        ),
        ("least grams", format_mass(least["total_g"]), f"{least['usd']:.2f}"),
    ]
    title = f"Money, at {facts['g_per_usd']:g} g for a dollar"
    print_table(title, ("plan", "emits (forecast)", "costs USD"), rows)
    gap = (
        "without a bound" if facts["gap"] is None else f"at most {facts['gap']:.2%} above the least possible"
    )
    console().print(f"Grams and money together are {gap}; checked by an independent validator.")
    console().print(f"Prices: {', '.join(facts['sources'])}.")

"""Money in a plan on the command line: what it weighs, and what the plan costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from aicsched.cli.output import console, print_table
from aicsched.cli.prices import exchange_rates, price_sources, purchase_of
from aicsched.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aicsched.place.money import MoneyWeight

__all__ = ["GramsPerDollar", "money_weight", "print_money"]

GramsPerDollar = Annotated[
    float | None,
    typer.Option("--g-per-usd", min=0, help="Weigh money: how many grams of CO2 a dollar counts as."),
]


def money_weight(
    g_per_usd: float | None, prices: list[str] | None, purchase: str, exchange: list[str] | None
) -> MoneyWeight | None:
    """Return how a plan is to weigh money, None where it isn't.

    Parameters
    ----------
    g_per_usd : float or None
        How many grams a dollar counts as.
    prices : list of str or None
        Files, or ``sample``.
    purchase : str
        How threads are bought.
    exchange : list of str or None
        ``CODE=RATE``.

    Returns
    -------
    MoneyWeight or None
        For `plan_work`.

    Raises
    ------
    ConfigError
        Prices without a rate.
    InputError
        A file can't be used, or there is no such purchase or rate.
    """
    if g_per_usd is None:
        if prices or exchange:
            msg = "prices alone change no plan"
            raise ConfigError(msg, hint="say with --g-per-usd how many grams a dollar counts as")
        return None
    from aicsched.place.money import MoneyWeight

    return MoneyWeight(
        g_per_usd=g_per_usd,
        prices=price_sources(prices),
        purchase=purchase_of(purchase),
        rates=exchange_rates(exchange),
    )


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

"""Pictures of scores say what was worked out, and are the same for the same scores."""

from __future__ import annotations

import pytest

from aicsched.domain.score import ExchangeRates, Money, ScoreCard, ScoreTerm
from aicsched.errors import InputError
from aicsched.report.score_figures import front_picture, sensitivity_picture


def card(
    name: str, carbon_g: float, risk: float, usd: float | None = None, rates: ExchangeRates | None = None
) -> ScoreCard:
    chosen = rates or ExchangeRates()
    parts = {
        "operational": carbon_g,
        "slo_risk": risk * chosen.risk_g,
        "money": (usd or 0) * chosen.g_per_usd,
    }
    terms = tuple(ScoreTerm(name=key, low_g=value, mid_g=value, high_g=value) for key, value in parts.items())
    money = None if usd is None else Money(usd, usd, usd)
    return ScoreCard(
        candidate=name,
        candidate_kind="node",
        request="work",
        terms=terms,
        slo_risk=risk,
        money=money,
        rates=chosen,
    )


# They cross at (30 - 10) / (0.5 - 0.1) = 50 grams a breach.
PAIR = (card("clean", 10.0, 0.5), card("safe", 30.0, 0.1))


def test_the_rate_at_which_the_best_one_changes_is_written() -> None:
    text = sensitivity_picture(PAIR)
    assert "best: clean to 50; safe from 50" in text
    assert "grams that a certain breach counts as" in text
    assert "grams that a dollar counts as" not in text
    assert text == sensitivity_picture(PAIR)


def test_money_gets_a_row_of_its_own_where_it_is_known() -> None:
    rates = ExchangeRates(g_per_usd=20.0)
    cards = [card("clean", 10.0, 0.1, 3.0, rates), card("cheap", 110.0, 0.1, 1.0, rates)]
    text = sensitivity_picture(cards)
    assert "best: clean to 50; cheap from 50" in text
    assert "best at each of these rates: clean" in text
    assert "grams that a dollar counts as" in text


def test_a_rate_of_zero_and_costs_below_zero_are_drawn() -> None:
    free = ExchangeRates(risk_g=0.0, g_per_usd=10.0)
    text = sensitivity_picture([card("a", 10.0, 0.2, -5.0, free), card("b", 5.0, 0.1, 2.0, free)])
    assert text.startswith("<svg")


def test_the_front_is_named_and_counted() -> None:
    cards = [*PAIR, card("bad", 40.0, 0.6)]
    text = front_picture(cards)
    assert "blue: 2 of 3" in text
    assert ">clean<" in text
    assert ">safe<" in text
    assert ">bad<" not in text
    assert "30 USD" in front_picture([card("paid", 10.0, 0.5, 30.0), card("grid", 0.0, 0.9, 31.0)])


def test_many_names_are_thinned_out() -> None:
    cards = [card(f"n{at:03d}", float(at), 1 - at / 100) for at in range(100)]
    assert "blue: 100 of 100" in front_picture(cards)
    assert sensitivity_picture(cards).startswith("<svg")


def test_nothing_to_draw_is_an_error() -> None:
    full = ScoreCard(candidate="a", candidate_kind="node", request="work", terms=(), refusals=("full",))
    for picture in (sensitivity_picture, front_picture):
        with pytest.raises(InputError, match="nothing to draw"):
            picture([full])

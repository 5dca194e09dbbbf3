"""Who wins at which rate, against trying rates out; the front against comparing all pairs."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aicsched.domain.score import ExchangeRates, Money, ScoreCard, ScoreTerm
from aicsched.errors import InputError
from aicsched.score.sensitivity import Lines, crossings, lines_of, pareto_front, reigns

FACT = st.tuples(st.integers(0, 40), st.integers(-3, 40), st.integers(0, 20))


def card(
    name: str, carbon_g: float, usd: float | None, risk: float, *, refusals: tuple[str, ...] = (),
    rates: ExchangeRates = ExchangeRates(risk_g=50.0, g_per_usd=2.0),  # noqa: B008 - frozen
) -> ScoreCard:  # fmt: skip
    parts = {
        "operational": carbon_g,
        "money": (usd or 0.0) * rates.g_per_usd,
        "slo_risk": risk * rates.risk_g,
    }
    terms = tuple(ScoreTerm(name=key, low_g=value, mid_g=value, high_g=value) for key, value in parts.items())
    money = None if usd is None else Money(usd, usd, usd)
    return ScoreCard(
        candidate=name, candidate_kind="node", request="work", terms=terms, slo_risk=risk, money=money,
        rates=rates, refusals=refusals,
    )  # fmt: skip


def cards_of(facts: list[tuple[int, int, int]]) -> list[ScoreCard]:
    return [card(f"n{at}", carbon, usd, risk / 20) for at, (carbon, usd, risk) in enumerate(facts)]


@given(facts=st.lists(FACT, min_size=1, max_size=12), rate=st.sampled_from(["risk_g", "g_per_usd"]))
@settings(max_examples=200, deadline=None)
def test_reigns_are_who_wins_when_the_rate_is_tried(facts: list[tuple[int, int, int]], rate: str) -> None:
    cards = cards_of(facts)
    lines = lines_of(cards, rate)  # pyright: ignore[reportArgumentType]
    found = reigns(lines)
    assert found[0].low == 0
    assert found[-1].high == math.inf
    assert all(one.high == after.low for one, after in itertools.pairwise(found))
    for reign in found:
        inside = reign.low + 1.0 if math.isinf(reign.high) else (reign.low + reign.high) / 2
        at = inside if rate == "risk_g" else 50.0, inside if rate == "g_per_usd" else 2.0
        totals = {
            each.candidate: each.total_at(ExchangeRates(risk_g=at[0], g_per_usd=at[1])) for each in cards
        }
        assert totals[reign.candidate] == pytest.approx(min(totals.values()), abs=1e-9)


@given(facts=st.lists(FACT, min_size=2, max_size=8))
@settings(max_examples=100, deadline=None)
def test_between_crossings_the_order_stays_and_at_each_a_pair_changes(
    facts: list[tuple[int, int, int]],
) -> None:
    lines = lines_of(cards_of(facts), "risk_g")
    found = crossings(lines)
    edges = [0.0, *(each.rate for each in found)]
    index = {name: place for place, name in enumerate(lines.candidates)}
    for low, high in zip(edges, [*edges[1:], edges[-1] + 10], strict=True):
        if high - low < 1e-6:
            continue
        near, far = lines.at(low + (high - low) * 0.01), lines.at(low + (high - low) * 0.99)
        order = np.sign(np.subtract.outer(near, near).round(9))
        assert (order == np.sign(np.subtract.outer(far, far).round(9))).all()
    for each in found:
        one, other = index[each.below], index[each.above]
        assert lines.at(each.rate)[one] == pytest.approx(lines.at(each.rate)[other])
        assert lines.at(each.rate / 2)[one] < lines.at(each.rate / 2)[other]
        assert lines.at(each.rate * 2)[one] > lines.at(each.rate * 2)[other]
    most = edges[len(edges) // 2]
    assert crossings(lines, most=most) == tuple(each for each in found if each.rate <= most)


@given(facts=st.lists(FACT, min_size=1, max_size=14))
@settings(max_examples=150, deadline=None)
def test_the_front_is_what_no_other_card_dominates(facts: list[tuple[int, int, int]]) -> None:
    cards = cards_of(facts)
    wanted = {
        f"n{at}"
        for at, here in enumerate(facts)
        if not any(all(np.less_equal(other, here)) and other != here for other in facts)
    }
    front = pareto_front(cards)
    assert {each.candidate for each in front} == wanted
    assert [each.carbon_g for each in front] == sorted(each.carbon_g for each in front)


@given(
    facts=st.lists(FACT, min_size=1, max_size=10), risk_g=st.floats(0.1, 1e4), g_per_usd=st.floats(0.1, 1e4)
)
@settings(max_examples=100, deadline=None)
def test_whoever_wins_at_some_rates_is_on_the_front(
    facts: list[tuple[int, int, int]], risk_g: float, g_per_usd: float
) -> None:
    cards = cards_of(facts)
    rates = ExchangeRates(risk_g=risk_g, g_per_usd=g_per_usd)
    front = {each.candidate for each in pareto_front(cards)}
    least = min(each.total_at(rates) for each in cards)
    assert any(each.total_at(rates) == least and each.candidate in front for each in cards)


def test_what_can_not_take_it_or_has_no_price_is_left_out() -> None:
    cards = [card("a", 1, None, 0.1), card("b", 2, 3.0, 0.1), card("c", 0, 0.0, 0.0, refusals=("full",))]
    assert lines_of(cards, "g_per_usd").candidates == ("b",)
    assert lines_of(cards, "risk_g").candidates == ("a", "b")
    assert lines_of(cards, "risk_g").base_g.tolist() == [1, 2 + 6]
    assert [each.candidate for each in pareto_front(cards)] == ["a", "b"]
    assert reigns(lines_of([], "risk_g")) == ()
    assert pareto_front([]) == ()


def test_wrong_rates_are_named() -> None:
    with pytest.raises(InputError, match="did you mean risk_g"):
        lines_of([], "risk")  # pyright: ignore[reportArgumentType]
    other = card("b", 1, 1.0, 0.1, rates=ExchangeRates(risk_g=1.0))
    with pytest.raises(InputError, match="different exchange rates"):
        lines_of([card("a", 1, 1.0, 0.1), other], "risk_g")


def test_thousands_of_candidates_are_no_trouble() -> None:
    rng = np.random.default_rng(0)
    lines = Lines(
        candidates=tuple(f"n{at}" for at in range(5000)), base_g=rng.uniform(0, 100, 5000),
        slope=rng.uniform(0, 1, 5000), now=100.0,
    )  # fmt: skip
    found = reigns(lines)
    for each in found[:-1]:
        assert lines.at(each.high).min() == pytest.approx(
            lines.at(each.high)[lines.candidates.index(each.candidate)]
        )

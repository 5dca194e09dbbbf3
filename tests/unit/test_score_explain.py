"""Sentences about scores: complete, in order, and adding up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aicsched.domain.score import ScoreCard, ScoreTerm
from aicsched.score.explain import compare, explain

NAMES = ("operational", "idle_share", "transfer", "embodied", "slo_risk")


def card(name: str, grams: dict[str, float], refusals: tuple[str, ...] = ()) -> ScoreCard:
    terms = tuple(ScoreTerm(name=term, low_g=g, mid_g=g, high_g=g) for term, g in grams.items())
    return ScoreCard(candidate=name, candidate_kind="node", request="work", terms=terms, refusals=refusals)


GRAMS = st.dictionaries(st.sampled_from(NAMES), st.floats(0, 1e6), max_size=5)


@given(a=GRAMS, b=GRAMS)
def test_differences_add_up_to_the_difference(a: dict[str, float], b: dict[str, float]) -> None:
    one, other = card("one", a), card("other", b)
    found = compare(one, other)
    assert sum(term.saved_g for term in found.terms) == pytest.approx(
        found.saved_g, abs=1e-9 * max(1.0, one.mid_g + other.mid_g)
    )
    assert found.saved_g == other.mid_g - one.mid_g
    assert "one" in found.sentence
    assert explain(one, other) == found.sentence
    # Bands of no width: one is surely better, or both are equal.
    assert found.sure == (one.mid_g != other.mid_g)


def test_terms_stand_in_order_of_weight() -> None:
    words = explain(card("n", {"operational": 5.0, "transfer": 50.0, "slo_risk": 20.0}))
    assert words.index("transfer") < words.index("SLO risk") < words.index("operational")
    assert "75 g" in words


def test_a_refused_candidate_says_why() -> None:
    assert explain(card("n", {}, ("needs 8 vCPUs, has 4",))) == "n can't take work: needs 8 vCPUs, has 4."


def test_the_better_one_beats_the_worse() -> None:
    low, high = card("low", {"operational": 10.0, "transfer": 5.0}), card("high", {"operational": 30.0})
    words = explain(low, high)
    assert words.startswith("low beats high by 15 g")
    assert words.index("20 g less") < words.index("5 g more")


def test_what_can_not_take_it_never_wins() -> None:
    free, full = card("free", {"operational": 30.0}), card("full", {"operational": 1.0}, ("has 4 vCPUs",))
    for pair in ((free, full), (full, free)):
        assert explain(*pair) == "free beats full, which can't take work: has 4 vCPUs."
